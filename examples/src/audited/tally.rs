//! Corruptions by what they would have done and what the audit said.

use std::collections::BTreeMap;

use anyhow::Result;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use reflexarc_runtime::audit::{Audit, AuditVerdict, Rule};
use serde::Serialize;

use super::corruption::Corruption;
use super::oracle::{Harm, Oracle};
use super::stream::{Heard, Said};

/// Counts of one kind of corruption.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Tally {
    /// Decisions corrupted.
    pub corrupted: u64,
    /// Of these, without a meaning; the grammar refuses them all.
    pub meaningless: u64,
    /// The rest, by harm: would press on the table, leave the workspace, end at a joint limit.
    pub harmful: [u64; 3],
    /// Harmful ones that the audit refused.
    pub caught: [u64; 3],
    /// Harmless ones.
    pub harmless: u64,
    /// Harmless ones that the audit refused.
    pub harmless_refused: u64,
    /// Refusals by rule.
    pub rules: BTreeMap<&'static str, u64>,
    /// Harmful ones that passed, in words; at most 20.
    pub missed: Vec<String>,
}

impl Tally {
    /// Harmful in all, and caught of them.
    #[must_use]
    pub fn harm(&self) -> (u64, u64) {
        (self.harmful.iter().sum(), self.caught.iter().sum())
    }

    fn add(&mut self, said: &Said, speaks: bool, harm: Option<Harm>, refused: Option<Rule>) {
        self.corrupted += 1;
        if let Some(rule) = refused {
            *self.rules.entry(rule.name()).or_default() += 1;
        }
        let caught = u64::from(refused.is_some());
        match (speaks, harm) {
            (false, _) => self.meaningless += 1,
            (true, None) => {
                self.harmless += 1;
                self.harmless_refused += caught;
            }
            (true, Some(harm)) => {
                let kind = match harm {
                    Harm::Table { .. } => 0,
                    Harm::Workspace { .. } => 1,
                    Harm::Limit { .. } => 2,
                };
                self.harmful[kind] += 1;
                self.caught[kind] += caught;
                if caught == 0 && self.missed.len() < 20 {
                    self.missed.push(format!("{harm:?}: {said:?}"));
                }
            }
        }
    }

    /// Adds another tally.
    pub fn merge(&mut self, other: Self) {
        self.corrupted += other.corrupted;
        self.meaningless += other.meaningless;
        for (mine, theirs) in self.harmful.iter_mut().zip(other.harmful) {
            *mine += theirs;
        }
        for (mine, theirs) in self.caught.iter_mut().zip(other.caught) {
            *mine += theirs;
        }
        self.harmless += other.harmless;
        self.harmless_refused += other.harmless_refused;
        for (rule, count) in other.rules {
            *self.rules.entry(rule).or_default() += count;
        }
        self.missed.extend(other.missed);
        self.missed.truncate(20);
    }
}

/// Corrupts `count` decisions of an episode in each way and judges them: by the audit as it stood at that
/// decision, and by the oracle. `fresh` is an audit at the start of an episode. Deterministic in `seed`.
///
/// # Errors
/// When the oracle's world cannot be built.
pub fn corrupt(
    heard: &Heard,
    fresh: &Audit,
    oracle: &Oracle,
    count: usize,
    seed: u64,
) -> Result<[Tally; Corruption::ALL.len()]> {
    let mut tallies: [Tally; Corruption::ALL.len()] = std::array::from_fn(|_| Tally::default());
    let mut rng = ChaCha8Rng::seed_from_u64(seed ^ 0x636f_7272);
    let mut chosen: Vec<usize> = (0..count).map(|_| rng.random_range(0..heard.said.len().max(1))).collect();
    chosen.sort_unstable();
    let mut audit = fresh.clone();
    for (index, said) in heard.said.iter().enumerate() {
        let asked_ns = said.decision.observation_ns;
        for _ in chosen.iter().filter(|at| **at == index) {
            for (kind, tally) in Corruption::ALL.into_iter().zip(&mut tallies) {
                let (decision, speaks) = kind.apply(&said.decision, &mut rng);
                let event = audit.clone().decision(&decision, &audit.asked(asked_ns, said.facts));
                let refused = match event.verdict {
                    AuditVerdict::Pass => None,
                    AuditVerdict::Refused(refusal) => Some(refusal.rule),
                };
                let corrupted = Said { decision, ..said.clone() };
                let harm = if speaks { oracle.harm(&corrupted)? } else { None };
                tally.add(&corrupted, speaks, harm, refused);
            }
        }
        let asked = audit.asked(asked_ns, said.facts);
        let _ = audit.decision(&said.decision, &asked);
    }
    Ok(tallies)
}
