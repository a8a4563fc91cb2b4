//! What can be wrong.

use std::fmt;

use serde::{Deserialize, Serialize};

/// What can be wrong. The order settles which of several causes of the same action is named: the later.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Cause {
    /// What is held slips; the grip has been tightened in the same tick.
    Slip,
    /// The clock of a source is off and its stamps are corrected.
    ClockCorrected,
    /// An optional sense is gone.
    OptionalLost,
    /// After a hold the arm comes to rest before a chunk goes on.
    Settling,
    /// The mind has not decided yet.
    NoDecision,
    /// All actions have been executed and no new chunk has come.
    RanDry,
    /// The newest decision is about something seen too long ago.
    DecisionExpired,
    /// The policy says that it cannot be done.
    Infeasible,
    /// The audit refused the newest decision.
    DecisionRefused,
    /// The policy could not decide.
    PolicyFailed,
    /// The senses are good and the mind says nothing.
    MindStalled,
    /// The first commanded pose is far from where the arm is.
    PoseApart,
    /// The model has not run yet.
    ModelCold,
    /// The loop itself was late by many periods.
    LoopOverrun,
    /// The clock of a source jumped.
    ClockJump,
    /// Every camera's newest frame is black.
    CamerasBlack,
    /// A required sense was never seen, is too old, or the cameras are too far apart in time.
    SenseLost,
    /// The robot is not the one described, or has not said that it is calibrated.
    NotCalibrated,
    /// `enable` is required and has not come, or has run out; or a reset still wants a fresh one.
    NotEnabled,
    /// A joint does not follow its commands.
    Blocked,
    /// A pad feels more than its limit.
    PadForce,
    /// The program is ending.
    Shutdown,
    /// `estop` has been silent for too long.
    EmergencyStopSilent,
    /// `estop` is true.
    EmergencyStop,
}

impl Cause {
    /// How many causes there are.
    pub const COUNT: usize = 24;
    /// All causes, in order.
    pub const ALL: [Self; Self::COUNT] = [
        Self::Slip,
        Self::ClockCorrected,
        Self::OptionalLost,
        Self::Settling,
        Self::NoDecision,
        Self::RanDry,
        Self::DecisionExpired,
        Self::Infeasible,
        Self::DecisionRefused,
        Self::PolicyFailed,
        Self::MindStalled,
        Self::PoseApart,
        Self::ModelCold,
        Self::LoopOverrun,
        Self::ClockJump,
        Self::CamerasBlack,
        Self::SenseLost,
        Self::NotCalibrated,
        Self::NotEnabled,
        Self::Blocked,
        Self::PadForce,
        Self::Shutdown,
        Self::EmergencyStopSilent,
        Self::EmergencyStop,
    ];

    /// The cause's name in reports.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Slip => "slip",
            Self::ClockCorrected => "clock_corrected",
            Self::OptionalLost => "optional_lost",
            Self::Settling => "settling",
            Self::NoDecision => "no_decision",
            Self::RanDry => "ran_dry",
            Self::DecisionExpired => "decision_expired",
            Self::Infeasible => "infeasible",
            Self::DecisionRefused => "decision_refused",
            Self::PolicyFailed => "policy_failed",
            Self::MindStalled => "mind_stalled",
            Self::PoseApart => "pose_apart",
            Self::ModelCold => "model_cold",
            Self::LoopOverrun => "loop_overrun",
            Self::ClockJump => "clock_jump",
            Self::CamerasBlack => "cameras_black",
            Self::SenseLost => "sense_lost",
            Self::NotCalibrated => "not_calibrated",
            Self::NotEnabled => "not_enabled",
            Self::Blocked => "blocked",
            Self::PadForce => "pad_force",
            Self::Shutdown => "shutdown",
            Self::EmergencyStopSilent => "emergency_stop_silent",
            Self::EmergencyStop => "emergency_stop",
        }
    }

    /// When it is there, in words; the table of the documentation shows them.
    #[must_use]
    pub const fn condition(self) -> &'static str {
        match self {
            Self::Slip => "shear or normal force of a gripping pad jumps",
            Self::ClockCorrected => "a source's clock is off, and corrected for",
            Self::OptionalLost => "an optional sense is never seen or too old",
            Self::Settling => "a chunk waits for the arm to come to rest",
            Self::NoDecision => "the mind has not decided yet",
            Self::RanDry => "no actions are left",
            Self::DecisionExpired => "the newest decision's observation is too old",
            Self::Infeasible => "the policy says that it cannot be done",
            Self::DecisionRefused => "the audit refused the newest decision",
            Self::PolicyFailed => "the policy gave an error",
            Self::MindStalled => "senses are good, and no decision comes",
            Self::PoseApart => "first action far from the measured pose",
            Self::ModelCold => "the model has not run yet",
            Self::LoopOverrun => "a gap between two ticks beyond the limit",
            Self::ClockJump => "a source's clock jumps, either way",
            Self::CamerasBlack => "every camera's newest frame is black",
            Self::SenseLost => "a required sense is never seen, too old, or out of step",
            Self::NotCalibrated => {
                "joint names, number or ranges are not the description's; `calibrated` is not true"
            }
            Self::NotEnabled => "`enable` is missing, has run out, or must be fresh after a reset",
            Self::Blocked => "a joint is further from its command than the limit",
            Self::PadForce => "a pad feels more than its limit",
            Self::Shutdown => "the program is ending",
            Self::EmergencyStopSilent => "`estop` is silent for longer than its timeout",
            Self::EmergencyStop => "`estop` is true, or one was lost",
        }
    }

    /// Whether a person asks for it, or the loss of one: such causes also stop an arm that has not moved yet.
    #[must_use]
    pub const fn is_order(self) -> bool {
        matches!(self, Self::Shutdown | Self::EmergencyStopSilent | Self::EmergencyStop)
    }

    const fn bit(self) -> u32 {
        1 << self as u32
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A set of causes.
#[derive(Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CauseSet(u32);

impl CauseSet {
    /// No cause.
    pub const EMPTY: Self = Self(0);

    /// The same set with `cause`.
    #[must_use]
    pub const fn with(self, cause: Cause) -> Self {
        Self(self.0 | cause.bit())
    }

    /// The same set with `cause`, if it is there.
    #[must_use]
    pub const fn with_if(self, there: bool, cause: Cause) -> Self {
        if there { self.with(cause) } else { self }
    }

    /// Whether `cause` is in it.
    #[must_use]
    pub const fn contains(self, cause: Cause) -> bool {
        self.0 & cause.bit() != 0
    }

    /// What is in either.
    #[must_use]
    pub const fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Its members, in order.
    pub fn iter(self) -> impl Iterator<Item = Cause> {
        Cause::ALL.into_iter().filter(move |cause| self.contains(*cause))
    }
}

impl FromIterator<Cause> for CauseSet {
    fn from_iter<I: IntoIterator<Item = Cause>>(causes: I) -> Self {
        causes.into_iter().fold(Self::EMPTY, Self::with)
    }
}

impl fmt::Debug for CauseSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_causes_are_listed_once_and_in_order() {
        for (index, cause) in Cause::ALL.into_iter().enumerate() {
            assert_eq!(cause as usize, index);
        }
        let every: CauseSet = Cause::ALL.into_iter().collect();
        assert_eq!(every.iter().count(), Cause::COUNT);
        assert!(!CauseSet::EMPTY.contains(Cause::Slip));
    }
}
