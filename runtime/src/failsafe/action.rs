//! What the failsafe can ask for, from nothing to the most drastic.

use std::fmt;

use serde::{Deserialize, Serialize};

/// What the failsafe asks for. The order is the ranking: of several, the greatest is done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// Nothing is wrong.
    #[default]
    None,
    /// Go on, and say so.
    Warn,
    /// Go on at a share of the speed.
    Slow,
    /// Brake to a standstill, keep place and grip; goes on by itself when the cause is gone.
    Hold,
    /// Give way to what the arm presses against, a bounded way, then hold.
    Retract,
    /// Brake to a standstill and stay there until reset and a fresh enable. Latched.
    ControlledStop,
    /// A controlled stop, and at rest the drives are asked to let go. Latched.
    TorqueOffRequest,
}

impl Action {
    /// All actions, the mildest first.
    pub const ALL: [Self; 7] = [
        Self::None,
        Self::Warn,
        Self::Slow,
        Self::Hold,
        Self::Retract,
        Self::ControlledStop,
        Self::TorqueOffRequest,
    ];

    /// The action's name in reports.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Warn => "warn",
            Self::Slow => "slow",
            Self::Hold => "hold",
            Self::Retract => "retract",
            Self::ControlledStop => "controlled_stop",
            Self::TorqueOffRequest => "torque_off_request",
        }
    }

    /// Whether decisions are still followed.
    #[must_use]
    pub const fn follows(self) -> bool {
        match self {
            Self::None | Self::Warn | Self::Slow => true,
            Self::Hold | Self::Retract | Self::ControlledStop | Self::TorqueOffRequest => false,
        }
    }

    /// Whether leaving it takes a reset and a fresh enable.
    #[must_use]
    pub const fn latches(self) -> bool {
        match self {
            Self::None | Self::Warn | Self::Slow | Self::Hold | Self::Retract => false,
            Self::ControlledStop | Self::TorqueOffRequest => true,
        }
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
