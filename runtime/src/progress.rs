//! What a run says about itself while it goes on, and the health messages made from it.

use reflexarc_drivers::msg::{DiagnosticArray, DiagnosticLevel, DiagnosticStatus, Header};
use reflexarc_vla_model::decision::Subtask;

use crate::failsafe::{Action, Cause};
use crate::ledger::{LatencySummary, Ledger};
use crate::modes::Mode;
use crate::outcome::{Outcome, OutcomeWatch};
use crate::senses::TopicStats;

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

/// The health of a run as `diagnostics`: mind, reflex and every sense.
#[must_use]
pub fn diagnostics(
    now_ns: u64,
    progress: &Progress,
    ledger: &Ledger,
    topics: &[(String, TopicStats)],
) -> DiagnosticArray {
    let level = match progress.mode {
        Mode::Active => DiagnosticLevel::Ok,
        Mode::Waiting(_) | Mode::Holding(_) => DiagnosticLevel::Warn,
        Mode::Stopped(_) => DiagnosticLevel::Error,
    };
    let lateness = ledger.lateness.summary();
    let refused: u64 = ledger.audit.refused.iter().sum();
    let mut status = vec![
        DiagnosticStatus::new(level, "reflex", progress.mode.to_string())
            .with("ticks", ledger.ticks)
            .with("missed", ledger.ticks_skipped)
            .with("wake_lateness_p50_us", lateness.p50_us)
            .with("wake_lateness_p99_us", lateness.p99_us)
            .with("observation_to_command_p50_us", progress.observation_to_command.p50_us)
            .with("observation_to_command_p99_us", progress.observation_to_command.p99_us),
        DiagnosticStatus::new(DiagnosticLevel::Ok, "mind", progress.outcome.to_string())
            .with("decisions", ledger.thoughts)
            .with("decisions_per_s", format!("{:.2}", progress.decisions_per_s))
            .with("missed", ledger.thoughts_skipped)
            .with("model_p50_us", progress.model.p50_us)
            .with("model_p99_us", progress.model.p99_us)
            .with("tokens", ledger.tokens)
            .with("audit_refused", refused),
    ];
    let standing = ledger.failsafe.standing;
    let level = match standing.action {
        Action::None => DiagnosticLevel::Ok,
        Action::Warn | Action::Slow | Action::Hold | Action::Retract => DiagnosticLevel::Warn,
        Action::ControlledStop | Action::TorqueOffRequest => DiagnosticLevel::Error,
    };
    status.push(
        DiagnosticStatus::new(level, "failsafe", standing.action.to_string())
            .with("cause", standing.cause.map_or("-", Cause::name))
            .with("for_ms", now_ns.saturating_sub(standing.since_ns) / 1_000_000)
            .with("transitions", ledger.failsafe.count),
    );
    for (name, stats) in topics {
        let level = if stats.sense.accepted == 0 { DiagnosticLevel::Stale } else { DiagnosticLevel::Ok };
        let topic = DiagnosticStatus::new(level, name.clone(), "")
            .with("received", stats.link.received)
            .with("malformed", stats.link.malformed)
            .with("gaps", stats.link.gaps)
            .with("duplicates", stats.link.duplicates)
            .with("reordered", stats.link.reordered)
            .with("refused", stats.sense.refused());
        status.push(
            stats.sense.named().into_iter().fold(topic, |topic, (name, count)| topic.with(name, count)),
        );
    }
    DiagnosticArray { header: Header::new(now_ns, ""), status }
}
