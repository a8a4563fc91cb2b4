//! Whether the next subtask is plausible: from what was done before, from what the fingers feel, and from
//! where the tool is.

use reflexarc_vla_model::decision::Subtask;

use super::Facts;
use super::event::{Refusal, Rule};
use super::reading::{Act, SUBTASK, WIDTH, X};
use crate::config::Config;

/// Fingers opened wider than this part of the gripper's range are open, others are closed.
const OPEN_SHARE: f64 = 0.5;
/// A pad that feels this much touches something, N.
pub(super) const FELT_N: f64 = 0.1;

/// What has been done since the instruction was given.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Order {
    lifted: bool,
}

/// The bounds of nearness and of the gripper.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    pub(super) near_m: f64,
    pub(super) open_m: f64,
    pub(super) width_max_m: f64,
    pub(super) force_max_n: f64,
}

impl Bounds {
    pub(super) fn new(config: &Config) -> Self {
        let width_max_m = config.robot.gripper_max_width_m;
        Self {
            near_m: config.audit.near_m,
            open_m: OPEN_SHARE * width_max_m,
            width_max_m,
            force_max_n: config.limits.grip_force_n,
        }
    }

    /// The gripper's part of a target: within its limits, and what is held is not let go.
    pub(super) fn judge_gripper(&self, act: &Act) -> Result<(), Refusal> {
        let (width_m, force_n) = (act.target.gripper_width_m, act.target.gripper_force_n);
        if width_m > self.width_max_m {
            return Err(Refusal::new(Rule::Gripper, WIDTH, width_m, self.width_max_m));
        }
        if force_n > self.force_max_n {
            return Err(Refusal::new(Rule::Gripper, WIDTH + 1, force_n, self.force_max_n));
        }
        let holds = matches!(act.subtask, Subtask::Lift | Subtask::Done);
        if holds && width_m > self.open_m {
            return Err(Refusal::new(Rule::Hand, WIDTH, width_m, self.open_m));
        }
        Ok(())
    }
}

impl Order {
    /// Whether the subtask may come now.
    pub(super) fn judge(&self, act: &Act, facts: &Facts, bounds: &Bounds) -> Result<(), Refusal> {
        let (to_m, from_m) = (act.target.position_m, facts.tool_m);
        let square = |axis: usize| (to_m[axis] - from_m[axis]).powi(2);
        // Squares are compared: a root is needed only for what is said of a refusal.
        let near = |off_m2: f64| {
            if off_m2 <= bounds.near_m * bounds.near_m {
                Ok(())
            } else {
                Err(Refusal::new(Rule::Near, X, off_m2.sqrt(), bounds.near_m))
            }
        };
        let aside = || near(square(0) + square(1));
        let felt = facts.felt_n >= FELT_N;
        match act.subtask {
            Subtask::Reach => Ok(()),
            // How far up or down is not judged for a retreat: the table's rule bounds it.
            Subtask::Approach | Subtask::Retreat => aside(),
            Subtask::Grasp => near(square(0) + square(1) + square(2)),
            Subtask::Lift => {
                aside()?;
                let closed = facts.gripper_width_m <= bounds.open_m;
                if felt || closed || self.lifted {
                    Ok(())
                } else {
                    Err(Refusal::new(Rule::Order, SUBTASK, facts.gripper_width_m, bounds.open_m))
                }
            }
            Subtask::Done => {
                aside()?;
                if felt || self.lifted {
                    Ok(())
                } else {
                    Err(Refusal::new(Rule::Order, SUBTASK, facts.felt_n, FELT_N))
                }
            }
        }
    }

    /// Remembers a subtask that passed.
    #[inline(always)]
    pub(super) fn passed(&mut self, subtask: Subtask) {
        // Any but these two lets go of what was lifted. Not `||` and `&&`: the first look must not branch here.
        self.lifted = (subtask == Subtask::Lift) | ((subtask == Subtask::Done) & self.lifted);
    }

    /// Whether something was lifted and has not been let go.
    #[inline(always)]
    pub(super) fn lifted(&self) -> bool {
        self.lifted
    }
}
