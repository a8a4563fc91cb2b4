//! Judging the task "pick up the {colour} {object}": a pure function of observed states.

use crate::world::World;

/// The target must be this far above the table, metres.
pub const LIFT_M: f64 = 0.10;
/// ... and stay there this long, seconds.
pub const HOLD_S: f64 = 1.0;
/// Another object raised this far by the gripper counts as a wrong grasp, metres.
pub const WRONG_LIFT_M: f64 = 0.03;
/// The target was dropped if it had been raised this far, metres, ...
pub const DROPPED_FROM_M: f64 = 0.03;
/// ... and then is this near to the table again, metres.
pub const DROPPED_TO_M: f64 = 0.01;

/// How an episode stands.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Outcome {
    /// Under way.
    Running,
    /// The target was lifted and held.
    Success {
        /// Seconds from the start to the end of the hold.
        time_s: f64,
    },
    /// Another object was lifted.
    WrongObject {
        /// Index of that object.
        object: usize,
        /// Seconds from the start.
        time_s: f64,
    },
}

/// Watches one episode.
#[derive(Debug, Clone)]
pub struct PickTask {
    target: usize,
    lifted_since_s: Option<f64>,
    outcome: Outcome,
    highest_m: f64,
    raised: bool,
    drops: u32,
}

impl PickTask {
    /// A task for object `target` of the scene.
    #[must_use]
    pub fn new(target: usize) -> Self {
        Self {
            target,
            lifted_since_s: None,
            outcome: Outcome::Running,
            highest_m: 0.0,
            raised: false,
            drops: 0,
        }
    }

    /// Looks at the world at `time_s`; once decided, the outcome stays.
    pub fn observe(&mut self, world: &World, time_s: f64) -> Outcome {
        let target = world.object(self.target);
        let height_m = target.position_m[2];
        self.highest_m = self.highest_m.max(height_m);
        if height_m > DROPPED_FROM_M {
            self.raised = true;
        } else if height_m < DROPPED_TO_M && std::mem::take(&mut self.raised) {
            self.drops += 1;
        }
        if self.outcome != Outcome::Running {
            return self.outcome;
        }
        let held = |o: &crate::world::ObjectState| o.pads_n.iter().any(|f| *f > 0.1);
        let wrong = (0..world.object_count()).filter(|i| *i != self.target).find(|i| {
            let o = world.object(*i);
            o.position_m[2] > WRONG_LIFT_M && held(&o)
        });
        if let Some(object) = wrong {
            self.outcome = Outcome::WrongObject { object, time_s };
        } else if target.position_m[2] >= LIFT_M && held(&target) {
            let since = *self.lifted_since_s.get_or_insert(time_s);
            if time_s - since >= HOLD_S {
                self.outcome = Outcome::Success { time_s };
            }
        } else {
            self.lifted_since_s = None;
        }
        self.outcome
    }

    /// How often the target was raised and came down again.
    #[must_use]
    pub fn drops(&self) -> u32 {
        self.drops
    }

    /// Greatest height that the target's foot has reached, metres.
    #[must_use]
    pub fn highest_m(&self) -> f64 {
        self.highest_m
    }
}
