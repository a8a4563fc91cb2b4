//! What a run says about itself while it goes on. Its health is in [`crate::health`].

use reflexarc_vla_model::decision::Subtask;

use crate::ledger::{LatencySummary, Ledger};
use crate::modes::Mode;
use crate::outcome::{Outcome, OutcomeWatch};

/// How a run stands.
#[derive(Clone, Debug, PartialEq)]
pub struct Progress {
    /// Since the first tick, s.
    pub time_s: f64,
    /// The subtask of the newest decision.
    pub subtask: Option<Subtask>,
    /// What the loop is doing.
    pub mode: Mode,
    /// How the task stands, seen from the runtime.
    pub outcome: Outcome,
    /// Decisions so far.
    pub decisions: u64,
    /// Decisions per second over the last second or so.
    pub decisions_per_s: f64,
    /// The policy's own time.
    pub model: LatencySummary,
    /// From the oldest camera frame of an observation to the first command that followed.
    pub observation_to_command: LatencySummary,
    /// Periods missed so far: mind and reflex.
    pub missed: (u64, u64),
    /// One line for people.
    pub message: String,
}

impl Progress {
    /// How things stand, from the books.
    #[must_use]
    pub fn new(ledger: &Ledger, watch: &OutcomeWatch, mode: Mode, decisions_per_s: f64) -> Self {
        let subtask = watch.subtask();
        let message = match (mode, subtask) {
            (Mode::Active, Some(subtask)) => subtask.to_string(),
            _ => mode.to_string(),
        };
        Self {
            time_s: ledger.duration_s(),
            subtask,
            mode,
            outcome: watch.outcome(),
            decisions: ledger.thoughts,
            decisions_per_s,
            model: ledger.model.summary(),
            observation_to_command: ledger.observation_to_command.summary(),
            missed: (ledger.thoughts_skipped, ledger.ticks_skipped),
            message,
        }
    }

    /// One status line for a terminal.
    #[must_use]
    pub fn line(&self) -> String {
        format!(
            "{:6.2} s  {:<28} {:5.1} decisions/s  model {:.1}/{:.1} ms  obs→cmd {:.1}/{:.1} ms  missed {}+{}",
            self.time_s,
            self.message,
            self.decisions_per_s,
            self.model.p50_us / 1e3,
            self.model.p99_us / 1e3,
            self.observation_to_command.p50_us / 1e3,
            self.observation_to_command.p99_us / 1e3,
            self.missed.0,
            self.missed.1,
        )
    }
}
