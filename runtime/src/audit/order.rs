//! Whether the next subtask is plausible: from what was done before, from what the fingers feel, and from
//! where the tool is.

use reflexarc_vla_model::decision::Subtask;

use super::Facts;
use super::event::{Refusal, Rule};
use super::form::{Act, SUBTASK, WIDTH, X};
use crate::config::Config;

/// Fingers opened wider than this part of the gripper's range are open, others are closed.
const OPEN_SHARE: f64 = 0.5;
/// A pad that feels this much touches something, N.
const FELT_N: f64 = 0.1;
/// Retreating means up, or at least no further down than the tokens' grain, m.
const SINK_M: f64 = 0.02;

/// What has been done since the instruction was given.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Order {
    lifted: bool,
}

/// The bounds of nearness and of the gripper.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    near_m: f64,
    open_m: f64,
    width_max_m: f64,
    force_max_n: f64,
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

    /// The gripper's part of a target: within its limits, and open or closed as the subtask means it.
    pub(super) fn judge_gripper(&self, act: &Act) -> Result<(), Refusal> {
        let (width_m, force_n) = (act.target.gripper_width_m, act.target.gripper_force_n);
        if width_m > self.width_max_m {
            return Err(Refusal::new(Rule::Gripper, WIDTH, width_m, self.width_max_m));
        }
        if force_n > self.force_max_n {
            return Err(Refusal::new(Rule::Gripper, WIDTH + 1, force_n, self.force_max_n));
        }
        let opens = match act.subtask {
            Subtask::Reach | Subtask::Approach | Subtask::Retreat => true,
            Subtask::Grasp | Subtask::Lift | Subtask::Done => false,
        };
        if opens == (width_m > self.open_m) {
            return Ok(());
        }
        Err(Refusal::new(Rule::Hand, WIDTH, width_m, if opens { self.width_max_m } else { 0.0 }))
    }
}

impl Order {
    /// Whether the subtask may come now.
    pub(super) fn judge(&self, act: &Act, facts: &Facts, bounds: &Bounds) -> Result<(), Refusal> {
        let (to_m, from_m) = (act.target.position_m, facts.tool_m);
        let aside_m = || (to_m[0] - from_m[0]).hypot(to_m[1] - from_m[1]);
        let near = |off_m: f64| {
            if off_m <= bounds.near_m {
                Ok(())
            } else {
                Err(Refusal::new(Rule::Near, X, off_m, bounds.near_m))
            }
        };
        let felt = facts.felt_n >= FELT_N;
        match act.subtask {
            Subtask::Reach => Ok(()),
            Subtask::Approach => near(aside_m()),
            Subtask::Grasp => near(aside_m().hypot(to_m[2] - from_m[2])),
            Subtask::Lift => {
                near(aside_m())?;
                let closed = facts.gripper_width_m <= bounds.open_m;
                if felt || closed || self.lifted {
                    Ok(())
                } else {
                    Err(Refusal::new(Rule::Order, SUBTASK, facts.gripper_width_m, bounds.open_m))
                }
            }
            Subtask::Done => {
                near(aside_m())?;
                if felt || self.lifted {
                    Ok(())
                } else {
                    Err(Refusal::new(Rule::Order, SUBTASK, facts.felt_n, FELT_N))
                }
            }
            Subtask::Retreat => {
                near(aside_m())?;
                let sinks_m = from_m[2] - to_m[2];
                if sinks_m <= SINK_M { Ok(()) } else { Err(Refusal::new(Rule::Near, X + 2, sinks_m, SINK_M)) }
            }
        }
    }

    /// Remembers a subtask that passed.
    pub(super) fn passed(&mut self, subtask: Subtask) {
        match subtask {
            Subtask::Lift => self.lifted = true,
            Subtask::Done => {}
            // What was lifted has been let go.
            Subtask::Reach | Subtask::Approach | Subtask::Grasp | Subtask::Retreat => self.lifted = false,
        }
    }
}
