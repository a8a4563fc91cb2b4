//! The start-up interlock: what must be there before the first command is sent, and again after each stop.
//!
//! | condition | missing shows as |
//! |---|---|
//! | the robot is the one described: names, number and ranges of its joints; and calibrated, where `safety.require_calibrated` asks for it | [`Cause::NotCalibrated`] |
//! | every required sense is fresh, the cameras are in step and not black | [`Cause::SenseLost`], [`Cause::CamerasBlack`] |
//! | no source's clock is unsettled, and the loop keeps its rate | [`Cause::ClockJump`], [`Cause::LoopOverrun`] |
//! | the model has run: a warm-up, or a decision | [`Cause::ModelCold`] |
//! | motion is enabled | [`Cause::NotEnabled`] |
//! | there is a decision | [`Cause::NoDecision`] |
//! | a chunk begins near the measured pose | [`Cause::PoseApart`] |
//!
//! Motion then begins at the measured positions, at rest, and speeds up over `limits.soft_start_ms`. What is missing
//! now is in [`crate::reflex::Command::causes`]; the mode names the gravest with its numbers.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::failsafe::{Cause, CauseSet};

/// What keeps an arm that has not moved yet from its first motion.
pub const CONDITIONS: [Cause; 9] = [
    Cause::NotCalibrated,
    Cause::SenseLost,
    Cause::CamerasBlack,
    Cause::ClockJump,
    Cause::LoopOverrun,
    Cause::ModelCold,
    Cause::NotEnabled,
    Cause::NoDecision,
    Cause::PoseApart,
];

/// What of the interlock is missing, out of all that is wrong.
#[must_use]
pub fn missing(causes: CauseSet) -> CauseSet {
    CONDITIONS.into_iter().filter(|cause| causes.contains(*cause)).collect()
}

/// Why the robot does not count as calibrated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Uncalibrated {
    /// It has to say so, and does not.
    NotSaid,
    /// Its joint states name other joints than the description.
    Names,
    /// Its joint states name further joints.
    Count {
        /// Joints of the description and the gripper.
        expected: u8,
        /// Joints named.
        found: u16,
    },
    /// Its joint states lie outside what the description allows.
    Range,
}

impl fmt::Display for Uncalibrated {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotSaid => f.write_str("`calibrated` is not true"),
            Self::Names => f.write_str("joint_states names other joints than the description"),
            Self::Count { expected, found } => {
                write!(f, "joint_states names {found} joints, expected {expected} with the gripper")
            }
            Self::Range => f.write_str("joint_states is outside the ranges of the description"),
        }
    }
}
