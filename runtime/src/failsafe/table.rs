//! The table: what is done about each cause, when, and what ends it.

use super::action::Action;
use super::cause::Cause;
use crate::config::FailsafeConfig;

/// What a cause leads to if it lasts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Escalation {
    /// From the moment that the cause was raised, ns.
    pub after_ns: u64,
    /// The stronger action.
    pub to: Action,
}

/// One row of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Row {
    /// What is wrong.
    pub cause: Cause,
    /// What is done about it.
    pub action: Action,
    /// How long it must have lasted before that, ns.
    pub delay_ns: u64,
    /// What is done if it lasts; absent where nothing more is.
    pub escalation: Option<Escalation>,
    /// How long it must be gone before it counts as gone, ns.
    pub clear_ns: u64,
    /// Whether an operator's `override` turns the action into a warning.
    pub overridable: bool,
}

impl Row {
    /// What is done about a cause that has lasted for `lasted_ns`. Never less for a longer time.
    ///
    /// `engaged`: whether motion has begun. Before that there is nothing to stop, so that only orders stop
    /// and everything else holds at most.
    #[must_use]
    pub fn action_after(&self, lasted_ns: u64, engaged: bool, overridden: bool) -> Action {
        let mut action = if lasted_ns >= self.delay_ns { self.action } else { Action::None };
        if let Some(escalation) = self.escalation.filter(|escalation| lasted_ns >= escalation.after_ns) {
            action = action.max(escalation.to);
        }
        if overridden && self.overridable {
            action = action.min(Action::Warn);
        }
        if engaged || self.cause.is_order() { action } else { action.min(Action::Hold) }
    }
}

/// A row for each cause.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Table {
    rows: [Row; Cause::COUNT],
    torque_off_ns: Option<u64>,
}

impl Table {
    /// The table under a configuration.
    #[must_use]
    pub fn new(config: &FailsafeConfig) -> Self {
        Self {
            rows: Cause::ALL.map(|cause| row(cause, config)),
            torque_off_ns: (config.torque_off_after_ms > 0).then(|| ns(config.torque_off_after_ms)),
        }
    }

    /// The row of a cause.
    #[must_use]
    pub const fn row(&self, cause: Cause) -> &Row {
        &self.rows[cause as usize]
    }

    /// All rows, in the order of the causes.
    pub fn rows(&self) -> impl DoubleEndedIterator<Item = &Row> {
        self.rows.iter()
    }

    /// How long a stop must have been latched before the drives are asked to let go, ns; absent: they never are.
    #[must_use]
    pub fn torque_off_ns(&self) -> Option<u64> {
        self.torque_off_ns
    }
}

const fn ns(ms: u64) -> u64 {
    ms.saturating_mul(1_000_000)
}

/// A stop after `ms` if it lasts; 0 means never.
fn stops_after(ms: u64) -> Option<Escalation> {
    (ms > 0).then(|| Escalation { after_ns: ns(ms), to: Action::ControlledStop })
}

fn row(cause: Cause, config: &FailsafeConfig) -> Row {
    let hold =
        Row { cause, action: Action::Hold, delay_ns: 0, escalation: None, clear_ns: 0, overridable: false };
    let warn = Row { action: Action::Warn, ..hold };
    let stop = Row { action: Action::ControlledStop, ..hold };
    let settle_ns = ns(config.clear_ms);
    match cause {
        Cause::Slip | Cause::ClockCorrected => Row { clear_ns: settle_ns, ..warn },
        Cause::OptionalLost => Row {
            escalation: Some(Escalation { after_ns: ns(config.optional_slow_ms), to: Action::Slow }),
            clear_ns: settle_ns,
            overridable: true,
            ..warn
        },
        // What is missing here is something to follow: nothing could be overridden, and nothing is broken.
        Cause::Settling
        | Cause::NoDecision
        | Cause::RanDry
        | Cause::DecisionExpired
        | Cause::Infeasible
        | Cause::PoseApart
        | Cause::ModelCold
        | Cause::NotCalibrated
        | Cause::NotEnabled => hold,
        Cause::DecisionRefused | Cause::PolicyFailed => {
            Row { escalation: stops_after(config.policy_stop_ms), ..hold }
        }
        Cause::MindStalled => Row { delay_ns: ns(config.mind_stall_ms), ..stop },
        Cause::LoopOverrun | Cause::ClockJump => Row {
            escalation: stops_after(config.sense_stop_ms),
            clear_ns: settle_ns,
            overridable: true,
            ..hold
        },
        Cause::CamerasBlack | Cause::SenseLost => {
            Row { escalation: stops_after(config.sense_stop_ms), clear_ns: ns(config.sense_clear_ms), ..hold }
        }
        Cause::Blocked => {
            Row { action: Action::Retract, escalation: stops_after(config.blocked_stop_ms), ..hold }
        }
        Cause::PadForce => Row {
            action: Action::Retract,
            escalation: stops_after(config.pad_stop_ms),
            clear_ns: ns(config.pad_clear_ms),
            ..hold
        },
        Cause::Shutdown | Cause::EmergencyStopSilent | Cause::EmergencyStop => stop,
    }
}
