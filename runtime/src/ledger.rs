//! The ledger: what each tick and each decision cost, and how old things were.
//!
//! The loops emit small `Copy` records; whoever keeps the ledger turns them into histograms with
//! fixed bounds, off the hot path. Durations are measured with the machine's clock and never
//! influence what the robot does.

use std::collections::{BTreeMap, VecDeque};

use hdrhistogram::Histogram;
use reflexarc_vla_model::decision::{Infeasible, Subtask};
use serde::{Deserialize, Serialize};

use crate::audit::{AuditCounts, AuditEvent, AuditVerdict, Refusal};
use crate::failsafe::{Book, Standing, Transition};
use crate::modes::{Mode, Rule};
use crate::stages::{StageBook, Stages, Timing};

/// Histograms count up to a minute; longer counts as a minute.
const LONGEST_NS: u64 = 60_000_000_000;
/// Refusals of the audit that are kept in full.
const REFUSALS_KEPT: usize = 8;

/// One tick of the reflex.
#[derive(Clone, Copy, Debug)]
pub struct TickRecord {
    /// Time of the tick, ns.
    pub now_ns: u64,
    /// How late the tick began against its schedule, ns; 0 in lockstep.
    pub lateness_ns: u64,
    /// How long the tick took, ns.
    pub execution_ns: u64,
    /// Periods skipped before this tick.
    pub skipped: u64,
    /// What the loop was doing.
    pub mode: Mode,
    /// Age of the observation behind what is followed, ns.
    pub action_age_ns: Option<u64>,
    /// Age of the newest observation, followed or not, ns.
    pub observation_age_ns: Option<u64>,
    /// The same, only in the first tick that follows from the observation. Absent in real time, where the
    /// command's way to the link belongs to it: see [`SentRecord`].
    pub observation_to_command_ns: Option<u64>,
    /// Whether a command was sent.
    pub commanded: bool,
    /// Whether a limit changed what was wanted.
    pub limited: bool,
    /// What the failsafe asked for.
    pub failsafe: Standing,
    /// The change of that, if it changed.
    pub transition: Option<Transition>,
}

/// One command that the link has taken, in real time.
#[derive(Clone, Copy, Debug)]
pub struct SentRecord {
    /// From the command until then, ns.
    pub publish_ns: u64,
    /// From the capture of the oldest camera frame until then, ns; only of the first command that follows
    /// from an observation.
    pub observation_to_command_ns: Option<u64>,
    /// The same in its parts.
    pub stages: Option<Stages>,
}

/// What came of one period of the mind.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ThoughtKind {
    /// A decision that may be followed.
    Act(Subtask),
    /// A chunk of actions that may be executed.
    Chunk,
    /// The policy says that it cannot be done.
    Infeasible(Infeasible),
    /// The audit refused the decision.
    Refused(Rule),
    /// The policy gave an error.
    Failed,
}

/// One decision of the mind.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct ThoughtRecord {
    /// Its number, from 1.
    pub number: u64,
    /// When it was ready, ns.
    pub now_ns: u64,
    /// What came of it.
    pub kind: ThoughtKind,
    /// How long the policy took, ns.
    pub model_ns: u64,
    /// How long the audit took, ns; one reading of the clock is in it.
    pub audit_ns: u64,
    /// Tokens decoded.
    pub tokens: u32,
    /// Mind periods skipped before this one.
    pub skipped: u64,
    /// Panics of the policy so far.
    pub policy_panics: u32,
    /// Number of the instruction in force; counts changes of the words.
    pub instruction: u64,
    /// What the audit said; absent where the policy gave nothing to audit.
    pub audit: Option<AuditEvent>,
    /// When it was captured, arrived and was taken, and what it cost.
    pub timing: Timing,
}

/// Percentiles of a duration.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct LatencySummary {
    /// How many were measured.
    pub count: u64,
    /// Median, µs.
    pub p50_us: f64,
    /// 99th percentile, µs.
    pub p99_us: f64,
    /// 99.9th percentile, µs.
    #[serde(default)]
    pub p999_us: f64,
    /// Largest, µs.
    pub max_us: f64,
}

/// A histogram of durations up to a minute with two significant digits; 30 KB, never grows.
#[derive(Clone, Debug)]
pub struct Latency(Histogram<u64>);

impl Latency {
    /// An empty histogram.
    #[must_use]
    pub fn new() -> Self {
        #[expect(
            clippy::expect_used,
            reason = "fails only for a low bound of 0, a high bound below twice the low, or more than 5 digits"
        )]
        Self(Histogram::new_with_bounds(1, LONGEST_NS, 2).expect("constant bounds are valid"))
    }

    /// Adds a duration, ns.
    pub fn record_ns(&mut self, duration_ns: u64) {
        self.0.saturating_record(duration_ns.max(1));
    }

    /// Adds a duration, ns, that came `times` times.
    pub fn record_many_ns(&mut self, duration_ns: u64, times: u64) {
        self.0.saturating_record_n(duration_ns.max(1), times);
    }

    /// Adds what another histogram has counted.
    pub fn add(&mut self, other: &Self) {
        // Fails only for values beyond the bounds, which are the same.
        let _ = self.0.add(&other.0);
    }

    /// The percentiles so far; all zero when nothing was measured.
    #[must_use]
    pub fn summary(&self) -> LatencySummary {
        if self.0.is_empty() {
            return LatencySummary::default();
        }
        let us = |ns: u64| ns as f64 / 1e3;
        LatencySummary {
            count: self.0.len(),
            p50_us: us(self.0.value_at_quantile(0.5)),
            p99_us: us(self.0.value_at_quantile(0.99)),
            p999_us: us(self.0.value_at_quantile(0.999)),
            max_us: us(self.0.max()),
        }
    }
}

impl Default for Latency {
    fn default() -> Self {
        Self::new()
    }
}

/// All figures of a run.
#[derive(Clone, Debug, Default)]
pub struct Ledger {
    /// First and last time seen, ns.
    pub span_ns: Option<(u64, u64)>,
    /// Reflex ticks.
    pub ticks: u64,
    /// Reflex periods skipped.
    pub ticks_skipped: u64,
    /// Commands sent.
    pub commands: u64,
    /// Ticks in which a limit changed what was wanted.
    pub limited: u64,
    /// Ticks by mode.
    pub modes: BTreeMap<&'static str, u64>,
    /// What the failsafe did.
    pub failsafe: Book,
    /// Answers of the mind, refused and failed ones included.
    pub thoughts: u64,
    /// First and last decision, ns.
    pub thinking_ns: Option<(u64, u64)>,
    /// Mind periods skipped.
    pub thoughts_skipped: u64,
    /// Periods of the mind with nothing to decide about: senses were bad, nothing new had come, or a chunk still lasts.
    pub thoughts_idle: u64,
    /// By how much the mind's periods were moved to keep step with the cameras, in all, ns; less than 0: earlier.
    pub mind_moved_ns: i64,
    /// Policy errors.
    pub failed: u64,
    /// Panics of the policy.
    pub policy_panics: u32,
    /// Tokens decoded.
    pub tokens: u64,
    /// Records lost because the ledger was read too slowly.
    pub lost: u64,
    /// What the audit said, counted.
    pub audit: AuditCounts,
    /// The newest refusals and when they came, ns; the oldest first.
    pub refusals: VecDeque<(u64, Refusal)>,
    /// Wake lateness of the reflex.
    pub lateness: Latency,
    /// Execution time of a tick.
    pub execution: Latency,
    /// Age of the observation behind each command.
    pub action_age: Latency,
    /// Age of the newest observation in each tick, followed or not.
    pub observation_age: Latency,
    /// From the oldest camera frame of an observation to the first command that follows it.
    pub observation_to_command: Latency,
    /// The same in its parts; only in real time.
    pub stages: StageBook,
    /// From each command until the link has taken it; only in real time.
    pub publish: Latency,
    /// The policy's own time.
    pub model: Latency,
    /// The audit's time.
    pub audit_time: Latency,
    /// Sums for the share: policy, audit, ns.
    pub cost_ns: [u64; 2],
}

impl Ledger {
    /// Books one tick.
    pub fn tick(&mut self, record: &TickRecord) {
        let first_ns = self.span_ns.map_or(record.now_ns, |(first_ns, _)| first_ns);
        self.span_ns = Some((first_ns, record.now_ns));
        self.ticks += 1;
        self.ticks_skipped += record.skipped;
        self.commands += u64::from(record.commanded);
        self.limited += u64::from(record.limited);
        *self.modes.entry(record.mode.key()).or_default() += 1;
        self.failsafe.tick(record.failsafe, record.transition);
        self.lateness.record_ns(record.lateness_ns);
        self.execution.record_ns(record.execution_ns);
        if let Some(age_ns) = record.action_age_ns {
            self.action_age.record_ns(age_ns);
        }
        if let Some(age_ns) = record.observation_age_ns {
            self.observation_age.record_ns(age_ns);
        }
        if let Some(latency_ns) = record.observation_to_command_ns {
            self.observation_to_command.record_ns(latency_ns);
        }
    }

    /// Books one command that was sent.
    pub fn sent(&mut self, record: &SentRecord) {
        self.publish.record_ns(record.publish_ns);
        if let Some(latency_ns) = record.observation_to_command_ns {
            self.observation_to_command.record_ns(latency_ns);
        }
        if let Some(stages) = &record.stages {
            self.stages.record(stages);
        }
    }

    /// Books one decision.
    pub fn thought(&mut self, record: &ThoughtRecord) {
        let first_ns = self.thinking_ns.map_or(record.now_ns, |(first_ns, _)| first_ns);
        self.thinking_ns = Some((first_ns, record.now_ns));
        self.thoughts += 1;
        self.thoughts_skipped += record.skipped;
        self.failed += u64::from(record.kind == ThoughtKind::Failed);
        self.policy_panics = record.policy_panics;
        self.tokens += u64::from(record.tokens);
        self.model.record_ns(record.model_ns);
        if let Some(event) = &record.audit {
            self.audit.add(event);
            self.audit_time.record_ns(record.audit_ns);
            for (sum, ns) in self.cost_ns.iter_mut().zip([record.model_ns, record.audit_ns]) {
                *sum = sum.saturating_add(ns);
            }
            if let AuditVerdict::Refused(refusal) = event.verdict {
                if self.refusals.len() == REFUSALS_KEPT {
                    self.refusals.pop_front();
                }
                self.refusals.push_back((record.now_ns, refusal));
            }
        }
    }

    /// Time between the first and the last tick, s.
    #[must_use]
    pub fn duration_s(&self) -> f64 {
        self.span_ns.map_or(0.0, |(first_ns, last_ns)| last_ns.saturating_sub(first_ns) as f64 / 1e9)
    }

    /// Decisions per second between the first and the last one.
    #[must_use]
    pub fn decisions_per_s(&self) -> f64 {
        match self.thinking_ns {
            Some((first_ns, last_ns)) if last_ns > first_ns => {
                (self.thoughts - 1) as f64 / ((last_ns - first_ns) as f64 / 1e9)
            }
            _ => 0.0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_within_one_percent_and_saturate() {
        let mut latency = Latency::new();
        assert_eq!(latency.summary(), LatencySummary::default());
        for us in 1..=1000_u64 {
            latency.record_ns(us * 1000);
        }
        let summary = latency.summary();
        assert!((summary.p50_us - 500.0).abs() < 6.0, "{summary:?}");
        assert!((summary.p99_us - 990.0).abs() < 11.0, "{summary:?}");
        latency.record_ns(u64::MAX);
        latency.record_ns(0);
        assert!(latency.summary().max_us >= 59.0e6);
    }

    #[test]
    fn decisions_per_second_count_intervals() {
        let mut ledger = Ledger::default();
        for index in 0..=60_u64 {
            ledger.thought(&ThoughtRecord {
                number: index + 1,
                now_ns: 5_000_000_000 + index * 1_000_000_000 / 60,
                kind: ThoughtKind::Act(Subtask::Reach),
                model_ns: 4_000_000,
                audit_ns: 200,
                tokens: 16,
                skipped: 0,
                policy_panics: 0,
                instruction: 0,
                audit: None,
                timing: Timing::default(),
            });
        }
        assert!((ledger.decisions_per_s() - 60.0).abs() < 1e-6);
        assert_eq!(ledger.tokens, 61 * 16);
    }
}
