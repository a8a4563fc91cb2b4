//! What the loop can be doing, and why: the words that reports, tests and messages share.
//!
//! The mode follows from the failsafe's action ([`crate::failsafe`]): up to *slow* the loop is active, *hold* and
//! *retract* are a hold, what latches is a stop; before the first motion a hold is a wait.
//!
//! ```text
//!              senses fresh, gate open, a decision
//!   ┌─────────┐ ─────────────────────────────────▶ ┌────────┐
//!   │ Waiting │                                     │ Active │ ◀──┐
//!   └─────────┘                                     └────────┘    │ cause gone
//!        ▲  reset + fresh enable                       │  │       │
//!        │                               any HoldReason│  └────▶ ┌─────────┐
//!   ┌─────────┐ ◀──────────────────────────────────────┼──────── │ Holding │
//!   │ Stopped │        StopCause, from every mode      └───────▶ └─────────┘
//!   └─────────┘
//! ```

use std::fmt;

use reflexarc_vla_model::decision::Infeasible;
use serde::{Deserialize, Serialize};

use crate::failsafe::Cause;
use crate::interlock::Uncalibrated;

pub use crate::audit::Rule;

/// One of the robot's senses; the numbers are positions in the configuration's lists.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SenseId {
    /// Joint positions and the gripper.
    Joints,
    /// A camera.
    Camera(u8),
    /// A tactile pad.
    Pad(u8),
}

/// Why the senses are not good enough to act on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SenseFault {
    /// Nothing usable has come from it yet.
    NeverSeen {
        /// Which sense.
        which: SenseId,
    },
    /// The newest usable value is too old.
    Stale {
        /// Which sense.
        which: SenseId,
        /// How old, by its source's stamp, ns.
        age_ns: u64,
        /// How old it may be, ns.
        limit_ns: u64,
    },
    /// Every camera's newest frame is black.
    Black,
    /// The newest frames of two cameras are too far apart in time.
    Skewed {
        /// The camera that is behind.
        which: SenseId,
        /// How far it is behind the newest frame, ns.
        skew_ns: u64,
        /// How far it may be, ns.
        limit_ns: u64,
    },
}

/// Why motion has not begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WaitReason {
    /// The senses are not good enough.
    Sense(SenseFault),
    /// `enable` is required and has not come, or has run out.
    NotEnabled,
    /// The mind has not decided yet.
    NoDecision,
    /// The robot is not the one described, or has not said that it is calibrated.
    Calibration(Uncalibrated),
    /// The model has not run yet.
    ModelCold,
    /// The first action is far from where the arm is.
    PoseApart {
        /// Joint with the largest distance, counted from the base.
        joint: u8,
        /// The distance, mrad (or mm).
        apart_mrad: u32,
    },
    /// The clock of a source jumped and has not settled.
    ClockJump {
        /// The sense.
        which: SenseId,
    },
    /// The loop itself was late.
    Overrun {
        /// Between the last two ticks that were too far apart, ns.
        gap_ns: u64,
    },
}

/// Why motion is held. The arm stays powered and keeps its place and its grip.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HoldReason {
    /// The senses are not good enough.
    Sense(SenseFault),
    /// `enable` is required and has run out.
    NotEnabled,
    /// There is no decision to follow.
    NoDecision,
    /// The newest decision is about something seen too long ago.
    Expired {
        /// Age of the observation that it answers, ns.
        age_ns: u64,
    },
    /// The audit refused the newest decision.
    Refused(Rule),
    /// The policy could not decide.
    PolicyFailed,
    /// All actions have been executed and no new chunk has come.
    RanDry,
    /// The arm comes to rest after a hold, before a chunk goes on.
    Settling,
    /// The policy says that it cannot be done.
    Infeasible {
        /// Its reason.
        reason: Infeasible,
        /// Whether it has said so long enough to be reported as the outcome.
        confirmed: bool,
    },
    /// The arm does not follow its commands; something blocks it.
    Blocked {
        /// Joint with the largest deviation, counted from the base.
        joint: u8,
    },
    /// The robot is not the one described, or does not say any more that it is calibrated.
    Calibration(Uncalibrated),
    /// The model has not run yet.
    ModelCold,
    /// The first action is far from where the arm is.
    PoseApart {
        /// Joint with the largest distance, counted from the base.
        joint: u8,
        /// The distance, mrad (or mm).
        apart_mrad: u32,
    },
    /// The clock of a source jumped and has not settled.
    ClockJump {
        /// The sense.
        which: SenseId,
    },
    /// The loop itself was late.
    Overrun {
        /// Between the last two ticks that were too far apart, ns.
        gap_ns: u64,
    },
    /// A pad feels more than its limit; fingers and arm back off.
    PadForce {
        /// The pad, in the order of the configuration.
        pad: u8,
    },
}

/// Why the robot was stopped. Stays until reset.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StopCause {
    /// `estop` was true.
    EmergencyStop,
    /// `estop` has been silent for too long.
    EmergencyStopSilent,
    /// The program is ending.
    Shutdown,
    /// Something that the arm held for has lasted for too long; see the failsafe's table.
    Failsafe(Cause),
}

impl StopCause {
    /// The stop that a cause of the failsafe makes.
    #[must_use]
    pub const fn of(cause: Cause) -> Self {
        match cause {
            Cause::EmergencyStop => Self::EmergencyStop,
            Cause::EmergencyStopSilent => Self::EmergencyStopSilent,
            Cause::Shutdown => Self::Shutdown,
            other => Self::Failsafe(other),
        }
    }

    /// The cause of the failsafe behind the stop.
    #[must_use]
    pub const fn cause(self) -> Cause {
        match self {
            Self::EmergencyStop => Cause::EmergencyStop,
            Self::EmergencyStopSilent => Cause::EmergencyStopSilent,
            Self::Shutdown => Cause::Shutdown,
            Self::Failsafe(cause) => cause,
        }
    }
}

/// What the loop is doing. See the diagram at the head of the module.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// No motion yet and no command sent.
    Waiting(WaitReason),
    /// Following decisions.
    Active,
    /// Braked to a standstill, or on the way there; goes on by itself when the reason is gone.
    Holding(HoldReason),
    /// Braked and latched; leaving takes a reset and a fresh enable.
    Stopped(StopCause),
}

impl Mode {
    /// Short key for counting, such as `holding_stale`.
    #[must_use]
    pub const fn key(self) -> &'static str {
        match self {
            Self::Waiting(WaitReason::Sense(_)) => "waiting_senses",
            Self::Waiting(WaitReason::NotEnabled) => "waiting_not_enabled",
            Self::Waiting(WaitReason::NoDecision) => "waiting_no_decision",
            Self::Waiting(WaitReason::Calibration(_)) => "waiting_calibration",
            Self::Waiting(WaitReason::ModelCold) => "waiting_model_cold",
            Self::Waiting(WaitReason::PoseApart { .. }) => "waiting_pose_apart",
            Self::Waiting(WaitReason::ClockJump { .. }) => "waiting_clock_jump",
            Self::Waiting(WaitReason::Overrun { .. }) => "waiting_overrun",
            Self::Active => "active",
            Self::Holding(HoldReason::Sense(SenseFault::Black)) => "holding_black",
            Self::Holding(HoldReason::Sense(SenseFault::Skewed { .. })) => "holding_skewed",
            Self::Holding(HoldReason::Sense(_)) => "holding_stale",
            Self::Holding(HoldReason::NotEnabled) => "holding_not_enabled",
            Self::Holding(HoldReason::NoDecision) => "holding_no_decision",
            Self::Holding(HoldReason::Expired { .. }) => "holding_expired",
            Self::Holding(HoldReason::Refused(_)) => "holding_refused",
            Self::Holding(HoldReason::PolicyFailed) => "holding_policy_failed",
            Self::Holding(HoldReason::RanDry) => "holding_ran_dry",
            Self::Holding(HoldReason::Settling) => "holding_settling",
            Self::Holding(HoldReason::Infeasible { .. }) => "holding_infeasible",
            Self::Holding(HoldReason::Blocked { .. }) => "holding_blocked",
            Self::Holding(HoldReason::Calibration(_)) => "holding_calibration",
            Self::Holding(HoldReason::ModelCold) => "holding_model_cold",
            Self::Holding(HoldReason::PoseApart { .. }) => "holding_pose_apart",
            Self::Holding(HoldReason::ClockJump { .. }) => "holding_clock_jump",
            Self::Holding(HoldReason::Overrun { .. }) => "holding_overrun",
            Self::Holding(HoldReason::PadForce { .. }) => "holding_pad_force",
            Self::Stopped(_) => "stopped",
        }
    }
}

impl Mode {
    /// Whether something has failed, rather than just not begun, ended, or been asked for: what freezes the
    /// black box.
    #[must_use]
    pub const fn is_failure(self) -> bool {
        match self {
            Self::Waiting(_) | Self::Active | Self::Stopped(StopCause::Shutdown) => false,
            Self::Stopped(
                StopCause::EmergencyStop | StopCause::EmergencyStopSilent | StopCause::Failsafe(_),
            ) => true,
            Self::Holding(reason) => match reason {
                HoldReason::Sense(_)
                | HoldReason::Expired { .. }
                | HoldReason::Refused(_)
                | HoldReason::PolicyFailed
                | HoldReason::Blocked { .. }
                | HoldReason::ClockJump { .. }
                | HoldReason::Overrun { .. }
                | HoldReason::PadForce { .. } => true,
                HoldReason::NotEnabled
                | HoldReason::NoDecision
                | HoldReason::RanDry
                | HoldReason::Settling
                | HoldReason::Infeasible { .. }
                | HoldReason::Calibration(_)
                | HoldReason::ModelCold
                | HoldReason::PoseApart { .. } => false,
            },
        }
    }
}

fn write_apart(f: &mut fmt::Formatter<'_>, joint: u8, apart_mrad: u32) -> fmt::Result {
    write!(f, "the first action is {:.2} rad from where joint {} is", f64::from(apart_mrad) / 1e3, joint + 1)
}

fn milliseconds(ns: u64) -> u64 {
    ns / 1_000_000
}

impl fmt::Display for SenseId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Joints => f.write_str("joint_states"),
            Self::Camera(index) => write!(f, "camera {index}"),
            Self::Pad(index) => write!(f, "tactile pad {index}"),
        }
    }
}

impl fmt::Display for SenseFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NeverSeen { which } => write!(f, "nothing from {which} yet"),
            Self::Stale { which, age_ns, limit_ns } => write!(
                f,
                "{which} is {} ms old, at most {} ms is allowed",
                milliseconds(*age_ns),
                milliseconds(*limit_ns)
            ),
            Self::Black => f.write_str("cameras are black"),
            Self::Skewed { which, skew_ns, limit_ns } => write!(
                f,
                "{which} is {} ms behind, at most {} ms is allowed",
                milliseconds(*skew_ns),
                milliseconds(*limit_ns)
            ),
        }
    }
}

impl fmt::Display for WaitReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sense(fault) => fault.fmt(f),
            Self::NotEnabled => f.write_str("not enabled"),
            Self::NoDecision => f.write_str("no decision yet"),
            Self::Calibration(reason) => reason.fmt(f),
            Self::ModelCold => f.write_str("the model has not run yet"),
            Self::PoseApart { joint, apart_mrad } => write_apart(f, *joint, *apart_mrad),
            Self::ClockJump { which } => write!(f, "the clock of {which} jumped"),
            Self::Overrun { gap_ns } => write!(f, "the loop stood still for {} ms", milliseconds(*gap_ns)),
        }
    }
}

impl fmt::Display for HoldReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sense(fault) => fault.fmt(f),
            Self::NotEnabled => f.write_str("no longer enabled"),
            Self::NoDecision => f.write_str("no decision to follow"),
            Self::Expired { age_ns } => {
                write!(f, "the newest decision is {} ms old", milliseconds(*age_ns))
            }
            Self::Refused(rule) => write!(f, "the audit refused a decision: {}", rule.name()),
            Self::PolicyFailed => f.write_str("the policy could not decide"),
            Self::RanDry => f.write_str("no actions left"),
            Self::Settling => f.write_str("coming to rest"),
            Self::Infeasible { reason, .. } => write!(f, "infeasible: {reason}"),
            Self::Blocked { joint } => write!(f, "joint {} does not follow its commands", joint + 1),
            Self::Calibration(reason) => reason.fmt(f),
            Self::ModelCold => f.write_str("the model has not run yet"),
            Self::PoseApart { joint, apart_mrad } => write_apart(f, *joint, *apart_mrad),
            Self::ClockJump { which } => write!(f, "the clock of {which} jumped"),
            Self::Overrun { gap_ns } => write!(f, "the loop stood still for {} ms", milliseconds(*gap_ns)),
            Self::PadForce { pad } => write!(f, "tactile pad {pad} feels more than its limit"),
        }
    }
}

impl fmt::Display for StopCause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::EmergencyStop => f.write_str("emergency stop"),
            Self::EmergencyStopSilent => f.write_str("the emergency stop's topic is silent"),
            Self::Shutdown => f.write_str("shutting down"),
            Self::Failsafe(cause) => write!(f, "for too long: {}", cause.condition()),
        }
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Waiting(reason) => write!(f, "waiting: {reason}"),
            Self::Active => f.write_str("active"),
            Self::Holding(reason) => write!(f, "holding: {reason}"),
            Self::Stopped(cause) => write!(f, "stopped: {cause}"),
        }
    }
}
