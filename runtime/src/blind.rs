//! An arm that cannot be seen: without joint states it is braked, and then nothing is commanded any more.
//!
//! The drives hold by themselves then, as they do when this program is gone. What comes back may be another arm,
//! or the same one where somebody has put it: it must not be pulled to where the old one stood. So motion begins
//! anew from what is measured then.
//!
//! ```text
//!   seen ──joint states too old──▶ unseen, braking ──at rest──▶ blind ──joint states again──▶ seen, anew
//!     ▲───────────joint states again────────┘
//! ```

use crate::config::Config;
use crate::senses::Body;

/// A gripper whose opening has not altered by more than this still holds what it held, m.
const SAME_GRIP_M: f64 = 0.005;

/// Whether the arm is seen.
#[derive(Clone, Debug)]
pub(crate) struct Sight {
    limit_ns: u64,
    blind: bool,
    width_m: f64,
}

/// The arm is seen again.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Again {
    /// As it is now.
    pub(crate) body: Body,
    /// Whether the gripper stands as it did when it was last seen.
    pub(crate) same_grip: bool,
}

impl Sight {
    pub(crate) fn new(config: &Config) -> Self {
        Self {
            limit_ns: config.senses.joints_max_age_ms.saturating_mul(1_000_000),
            blind: false,
            width_m: 0.0,
        }
    }

    /// Once per tick; says when the arm is seen again after it had been lost and braked.
    pub(crate) fn look(&mut self, now_ns: u64, body: Option<Body>, at_rest: bool) -> Option<Again> {
        let Some(body) = body.filter(|body| now_ns.saturating_sub(body.stamp_ns) <= self.limit_ns) else {
            self.blind |= at_rest;
            return None;
        };
        let same_grip = (body.gripper_width_m - self.width_m).abs() <= SAME_GRIP_M;
        self.width_m = body.gripper_width_m;
        std::mem::take(&mut self.blind).then_some(Again { body, same_grip })
    }

    /// Whether nothing may be commanded.
    pub(crate) fn blind(&self) -> bool {
        self.blind
    }
}
