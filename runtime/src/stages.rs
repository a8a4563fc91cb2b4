//! Where the time from an observation to its first command goes.
//!
//! ```text
//! capture ─transport─▶ arrival ─wait─▶ taken ─preprocess─▶ ─model─▶ ─audit─▶ ready
//!                           ready ─hand-over─▶ tick ─motion─▶ command ─publish─▶ on the link
//! ```
//!
//! The stages follow one another without gaps, so for each observation they add up to the whole latency.

use serde::{Deserialize, Serialize};

use crate::ledger::{Latency, LatencySummary};

/// One part of the way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    /// From the capture of the oldest camera frame to its arrival here: exposure, driver, link.
    Transport,
    /// From its arrival until the mind takes it.
    Wait,
    /// Making the network's input of it.
    Preprocess,
    /// The network.
    Model,
    /// The audit of what it said.
    Audit,
    /// From a thought that is ready until the tick that uses it; announcing the goal is in it.
    HandOver,
    /// That tick: senses, safety, inverse kinematics, limits.
    Motion,
    /// From the command until the link has taken it.
    Publish,
}

impl Stage {
    /// All of them, in order.
    pub const ALL: [Self; 8] = [
        Self::Transport,
        Self::Wait,
        Self::Preprocess,
        Self::Model,
        Self::Audit,
        Self::HandOver,
        Self::Motion,
        Self::Publish,
    ];

    /// A short name, for programs.
    #[must_use]
    pub fn key(self) -> &'static str {
        match self {
            Self::Transport => "transport",
            Self::Wait => "wait",
            Self::Preprocess => "preprocess",
            Self::Model => "model",
            Self::Audit => "audit",
            Self::HandOver => "hand_over",
            Self::Motion => "motion",
            Self::Publish => "publish",
        }
    }
}

/// What is known when a thought is ready. Times of the link's clock, durations measured by the machine's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Timing {
    /// Capture of the observation, ns.
    pub observation_ns: u64,
    /// Its arrival, ns.
    pub received_ns: u64,
    /// When the mind took it, ns.
    pub taken_ns: u64,
    /// Making the network's input, ns.
    pub preprocess_ns: u64,
    /// The network, ns.
    pub model_ns: u64,
    /// The audit, ns.
    pub audit_ns: u64,
}

/// Durations of all stages of one observation, ns, in the order of [`Stage::ALL`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stages([u64; Stage::ALL.len()]);

impl Stages {
    /// From what was known of the thought, the times of the tick that first used it, of its command, and of
    /// the moment when the link had taken that, ns.
    #[must_use]
    pub fn new(timing: &Timing, tick_ns: u64, command_ns: u64, published_ns: u64) -> Self {
        let ready_ns = timing.taken_ns + timing.preprocess_ns + timing.model_ns + timing.audit_ns;
        Self([
            timing.received_ns.saturating_sub(timing.observation_ns),
            timing.taken_ns.saturating_sub(timing.received_ns),
            timing.preprocess_ns,
            timing.model_ns,
            timing.audit_ns,
            tick_ns.saturating_sub(ready_ns),
            command_ns.saturating_sub(tick_ns),
            published_ns.saturating_sub(command_ns),
        ])
    }

    /// Each stage with its duration, ns.
    pub fn iter(&self) -> impl Iterator<Item = (Stage, u64)> {
        Stage::ALL.into_iter().zip(self.0)
    }

    /// All of them together, ns.
    #[must_use]
    pub fn total_ns(&self) -> u64 {
        self.0.iter().sum()
    }
}

/// What the percentiles of one stage were.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StageReport {
    /// The stage.
    pub stage: Stage,
    /// Its durations.
    pub latency: LatencySummary,
}

/// A histogram of each stage.
#[derive(Clone, Debug, Default)]
pub struct StageBook([Latency; Stage::ALL.len()]);

impl StageBook {
    /// Adds one observation.
    pub fn record(&mut self, stages: &Stages) {
        for (latency, ns) in self.0.iter_mut().zip(stages.0) {
            latency.record_ns(ns);
        }
    }

    /// The percentiles so far, in the order of [`Stage::ALL`].
    pub fn summaries(&self) -> impl Iterator<Item = StageReport> {
        Stage::ALL
            .into_iter()
            .zip(&self.0)
            .map(|(stage, latency)| StageReport { stage, latency: latency.summary() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_stages_add_up() {
        let timing = Timing {
            observation_ns: 1_000,
            received_ns: 1_100,
            taken_ns: 1_300,
            preprocess_ns: 50,
            model_ns: 4_000,
            audit_ns: 7,
        };
        let stages = Stages::new(&timing, 6_000, 6_090, 6_200);
        assert_eq!(stages.total_ns(), 6_200 - 1_000);
        let named: Vec<_> = stages.iter().map(|(stage, ns)| (stage.key(), ns)).collect();
        assert_eq!(named[5], ("hand_over", 6_000 - 1_300 - 50 - 4_000 - 7));
        let mut book = StageBook::default();
        book.record(&stages);
        assert!(book.summaries().all(|stage| stage.latency.count == 1));
    }

    #[test]
    fn clocks_that_disagree_cost_a_stage_and_break_nothing() {
        let timing = Timing { observation_ns: 9_000, received_ns: 1_000, taken_ns: 500, ..Timing::default() };
        assert_eq!(Stages::new(&timing, 400, 500, 450).total_ns(), 100);
    }
}
