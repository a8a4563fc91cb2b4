//! What the runtime itself can say about how the task went: a timeline of subtasks and an end.
//!
//! It sees decisions only. Whether the mug is really up is for the caller to judge.

use std::fmt;

use reflexarc_vla_model::decision::{Infeasible, Subtask};
use serde::{Deserialize, Serialize};

use crate::ledger::{ThoughtKind, ThoughtRecord};
use crate::modes::{HoldReason, Mode};

/// How long the policy must keep saying `done` before the task counts as finished, ns.
pub const DONE_FOR_NS: u64 = 1_000_000_000;
/// Entries kept in the timeline; later changes are counted only.
const TIMELINE_MAX: usize = 256;

/// How the task stands, seen from the runtime.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Still at it; or the policy speaks in joint targets, and does not say how its task stands.
    #[default]
    Running,
    /// The policy has said `done` for a second.
    Finished,
    /// The policy has said for long enough that it cannot be done.
    Infeasible(Infeasible),
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Running => f.write_str("running"),
            Self::Finished => f.write_str("finished"),
            Self::Infeasible(reason) => write!(f, "infeasible: {reason}"),
        }
    }
}

/// One change of subtask.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TimelineEntry {
    /// Since the first decision, s.
    pub time_s: f64,
    /// Subtask, `actions`, `infeasible: …`, `refused: …` or `failed`.
    pub what: String,
}

/// Follows decisions and modes, and says how the task stands.
#[derive(Clone, Debug, Default)]
pub struct OutcomeWatch {
    started_ns: Option<u64>,
    done_since_ns: Option<u64>,
    finished_ns: Option<u64>,
    last: Option<ThoughtKind>,
    outcome: Outcome,
    timeline: Vec<TimelineEntry>,
    changes: u64,
    instruction: Option<u64>,
    completed: u64,
    credited: Option<u64>,
}

impl OutcomeWatch {
    /// Takes one decision.
    pub fn thought(&mut self, record: &ThoughtRecord) {
        let started_ns = *self.started_ns.get_or_insert(record.now_ns);
        if self.instruction.replace(record.instruction).is_some_and(|before| before != record.instruction) {
            // What was done under other words says nothing about these.
            self.done_since_ns = None;
            self.outcome = Outcome::Running;
        }
        if self.last != Some(record.kind) {
            self.last = Some(record.kind);
            self.changes += 1;
            if self.timeline.len() < TIMELINE_MAX {
                self.timeline.push(TimelineEntry {
                    time_s: record.now_ns.saturating_sub(started_ns) as f64 / 1e9,
                    what: describe(record.kind),
                });
            }
        }
        match record.kind {
            ThoughtKind::Act(Subtask::Done) => {
                let since_ns = *self.done_since_ns.get_or_insert(record.now_ns);
                if record.now_ns.saturating_sub(since_ns) >= DONE_FOR_NS {
                    self.finished_ns.get_or_insert(since_ns);
                    self.outcome = Outcome::Finished;
                    // A policy that goes back and forth completes a task once.
                    if self.credited.replace(record.instruction) != Some(record.instruction) {
                        self.completed += 1;
                    }
                }
            }
            // Whether a chunk ends the task, it does not say.
            ThoughtKind::Act(_) | ThoughtKind::Chunk => {
                self.done_since_ns = None;
                self.outcome = Outcome::Running;
            }
            ThoughtKind::Infeasible(_) | ThoughtKind::Refused(_) | ThoughtKind::Failed => {
                self.done_since_ns = None;
            }
        }
    }

    /// Takes the mode of one tick.
    pub fn mode(&mut self, mode: Mode) {
        if let Mode::Holding(HoldReason::Infeasible { reason, confirmed: true }) = mode {
            self.outcome = Outcome::Infeasible(reason);
        }
    }

    /// How the task stands.
    #[must_use]
    pub fn outcome(&self) -> Outcome {
        self.outcome
    }

    /// Tasks completed: instructions under which the policy has said `done` for a second, each counted once.
    #[must_use]
    pub fn completed(&self) -> u64 {
        self.completed
    }

    /// The subtask of the newest decision, if it had one.
    #[must_use]
    pub fn subtask(&self) -> Option<Subtask> {
        match self.last {
            Some(ThoughtKind::Act(subtask)) => Some(subtask),
            _ => None,
        }
    }

    /// From the first decision to the `done` that lasted, s.
    #[must_use]
    pub fn time_to_done_s(&self) -> Option<f64> {
        let span_ns = self.finished_ns?.saturating_sub(self.started_ns?);
        Some(span_ns as f64 / 1e9)
    }

    /// Changes of subtask so far; more than the timeline holds if it is full.
    #[must_use]
    pub fn changes(&self) -> u64 {
        self.changes
    }

    /// The first 256 changes of subtask.
    #[must_use]
    pub fn timeline(&self) -> &[TimelineEntry] {
        &self.timeline
    }
}

fn describe(kind: ThoughtKind) -> String {
    match kind {
        ThoughtKind::Act(subtask) => subtask.to_string(),
        ThoughtKind::Chunk => "actions".into(),
        ThoughtKind::Infeasible(reason) => format!("infeasible: {reason}"),
        ThoughtKind::Refused(rule) => format!("refused: {}", rule.name()),
        ThoughtKind::Failed => "failed".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stages::Timing;

    fn thought(now_ms: u64, kind: ThoughtKind) -> ThoughtRecord {
        ThoughtRecord {
            number: now_ms,
            now_ns: now_ms * 1_000_000,
            kind,
            model_ns: 1,
            audit_ns: 1,
            tokens: 16,
            skipped: 0,
            policy_panics: 0,
            instruction: 0,
            audit: None,
            timing: Timing::default(),
        }
    }

    #[test]
    fn done_must_last_a_second() {
        let mut watch = OutcomeWatch::default();
        watch.thought(&thought(0, ThoughtKind::Act(Subtask::Reach)));
        watch.thought(&thought(2_000, ThoughtKind::Act(Subtask::Done)));
        watch.thought(&thought(2_999, ThoughtKind::Act(Subtask::Done)));
        assert_eq!(watch.outcome(), Outcome::Running);
        watch.thought(&thought(2_999, ThoughtKind::Act(Subtask::Lift)));
        watch.thought(&thought(3_000, ThoughtKind::Act(Subtask::Done)));
        watch.thought(&thought(4_000, ThoughtKind::Act(Subtask::Done)));
        assert_eq!(watch.outcome(), Outcome::Finished);
        assert_eq!(watch.time_to_done_s(), Some(3.0));
        assert_eq!(watch.timeline().len(), 4);
        assert_eq!(watch.subtask(), Some(Subtask::Done));
    }

    #[test]
    fn a_task_is_completed_once_for_each_instruction() {
        let mut watch = OutcomeWatch::default();
        let say = |watch: &mut OutcomeWatch, now_ms, instruction, subtask| {
            watch.thought(&ThoughtRecord { instruction, ..thought(now_ms, ThoughtKind::Act(subtask)) });
        };
        say(&mut watch, 0, 0, Subtask::Done);
        say(&mut watch, 1_000, 0, Subtask::Done);
        assert_eq!((watch.completed(), watch.outcome()), (1, Outcome::Finished));
        // Back and forth.
        say(&mut watch, 1_100, 0, Subtask::Reach);
        say(&mut watch, 1_200, 0, Subtask::Done);
        say(&mut watch, 2_200, 0, Subtask::Done);
        assert_eq!(watch.completed(), 1);
        // New words: what was done before does not count for them.
        say(&mut watch, 2_300, 1, Subtask::Done);
        assert_eq!((watch.completed(), watch.outcome()), (1, Outcome::Running));
        say(&mut watch, 3_300, 1, Subtask::Done);
        assert_eq!(watch.completed(), 2);
    }

    #[test]
    fn infeasible_counts_once_the_reflex_confirms_it() {
        let mut watch = OutcomeWatch::default();
        watch.thought(&thought(0, ThoughtKind::Infeasible(Infeasible::Absent)));
        let reason = Infeasible::Absent;
        watch.mode(Mode::Holding(HoldReason::Infeasible { reason, confirmed: false }));
        assert_eq!(watch.outcome(), Outcome::Running);
        watch.mode(Mode::Holding(HoldReason::Infeasible { reason, confirmed: true }));
        assert_eq!(watch.outcome(), Outcome::Infeasible(Infeasible::Absent));
        watch.thought(&thought(900, ThoughtKind::Act(Subtask::Reach)));
        assert_eq!(watch.outcome(), Outcome::Running);
    }
}
