//! What the actions of a chunk may say.
//!
//! A little outside a limit is how learned policies are: such values are executed at the limit. Far outside,
//! or a jump that no arm could follow, means that the policy was trained on another robot or that its
//! statistics are wrong, and then nothing of the chunk is executed.

use reflexarc_kinematics::JointLimits;
use reflexarc_vla_model::chunk::ActionChunk;

use super::MAX_ACTIONS;
use crate::audit::{Refusal, Rule};

/// An action further than this outside a joint's limits is no action for this arm, rad (or m).
pub const POSITION_SLACK_RAD: f64 = 0.2;
/// The same for the gripper's opening, m.
pub const WIDTH_SLACK_M: f64 = 0.02;
/// Steps of more than so many times what a joint can go in a period are no motion.
pub const STEP_FACTOR: f64 = 4.0;
/// Time between two actions, ns: from 1 ms to 1 s.
pub const PERIOD_NS: std::ops::RangeInclusive<u64> = 1_000_000..=1_000_000_000;

/// The bounds of one robot.
#[derive(Clone, Copy, Debug)]
pub struct Bounds<'a> {
    /// Limits of each joint.
    pub limits: &'a [JointLimits],
    /// Share of the joints' velocities that may be used.
    pub velocity_scale: f64,
    /// Widest opening of the gripper, m.
    pub width_max_m: f64,
}

/// What a chunk says beyond the limits, but not far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Excess {
    /// Values a little outside.
    pub clamped: u64,
    /// Steps faster than the joint may go.
    pub fast_steps: u64,
}

impl Bounds<'_> {
    /// Looks at every value once. `asked_ns` is the time of the observation that was put to the policy.
    ///
    /// # Errors
    /// The first fault, with what was found and what was expected.
    pub fn check(&self, chunk: &ActionChunk, asked_ns: u64) -> Result<Excess, Refusal> {
        let width = self.limits.len() + 1;
        if chunk.width != width {
            return refuse(Rule::Shape, 0, chunk.width as f64, width as f64);
        }
        if !chunk.actions.len().is_multiple_of(width) || chunk.actions.is_empty() {
            let whole = (chunk.actions.len() / width).max(1) * width;
            return refuse(Rule::Shape, 0, chunk.actions.len() as f64, whole as f64);
        }
        if chunk.count() > MAX_ACTIONS {
            return refuse(Rule::Shape, 0, chunk.count() as f64, MAX_ACTIONS as f64);
        }
        if !PERIOD_NS.contains(&chunk.period_ns) {
            let nearest = chunk.period_ns.clamp(*PERIOD_NS.start(), *PERIOD_NS.end());
            return refuse(Rule::Shape, 0, chunk.period_ns as f64, nearest as f64);
        }
        if let Some(at) = chunk.actions.iter().position(|value| !value.is_finite()) {
            return refuse(Rule::NonFinite, at / width, f64::from(chunk.actions[at]), 0.0);
        }
        if chunk.observation_ns != asked_ns {
            return refuse(Rule::Time, 0, chunk.observation_ns as f64, asked_ns as f64);
        }
        let mut excess = Excess::default();
        for (index, action) in chunk.actions.chunks_exact(width).enumerate() {
            self.check_place(index, action, &mut excess)?;
        }
        let period_s = chunk.period_ns as f64 / 1e9;
        let pairs = chunk.actions.chunks_exact(width).zip(chunk.actions.chunks_exact(width).skip(1));
        for (index, (from, to)) in pairs.enumerate() {
            self.check_step(index + 1, from, to, period_s, &mut excess)?;
        }
        Ok(excess)
    }

    fn check_place(&self, index: usize, action: &[f32], excess: &mut Excess) -> Result<(), Refusal> {
        for (value, joint) in action.iter().zip(self.limits) {
            let q = f64::from(*value);
            if !joint.contains(q, POSITION_SLACK_RAD) {
                return refuse(Rule::Position, index, q, joint.clamp(q));
            }
            excess.clamped += u64::from(!joint.contains(q, 0.0));
        }
        let width_m = f64::from(action[self.limits.len()]);
        let nearest_m = width_m.max(0.0).min(self.width_max_m);
        if (width_m - nearest_m).abs() > WIDTH_SLACK_M {
            return refuse(Rule::Gripper, index, width_m, nearest_m);
        }
        excess.clamped += u64::from(width_m != nearest_m);
        Ok(())
    }

    fn check_step(
        &self,
        index: usize,
        from: &[f32],
        to: &[f32],
        period_s: f64,
        excess: &mut Excess,
    ) -> Result<(), Refusal> {
        for ((from, to), joint) in from.iter().zip(to).zip(self.limits) {
            let step = (f64::from(*to) - f64::from(*from)).abs();
            let most = joint.velocity_rad_s * self.velocity_scale * period_s;
            if step > most * STEP_FACTOR {
                return refuse(Rule::Step, index, step, most);
            }
            excess.fast_steps += u64::from(step > most);
        }
        Ok(())
    }
}

fn refuse<T>(rule: Rule, action: usize, found: f64, bound: f64) -> Result<T, Refusal> {
    Err(Refusal::new(rule, action, found, bound))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests fail by panicking")]
mod tests {
    use super::*;

    fn limits() -> [JointLimits; 2] {
        [JointLimits { lower_rad: -1.0, upper_rad: 2.0, velocity_rad_s: 2.0, effort: 10.0 }; 2]
    }

    fn check(actions: Vec<f32>, change: impl FnOnce(&mut ActionChunk)) -> Result<Excess, Refusal> {
        let mut chunk = ActionChunk { observation_ns: 7, period_ns: 50_000_000, width: 3, actions };
        change(&mut chunk);
        Bounds { limits: &limits(), velocity_scale: 1.0, width_max_m: 0.08 }.check(&chunk, 7)
    }

    #[test]
    fn each_fault_is_named_with_what_was_expected() {
        let good = vec![0.0, 0.5, 0.04, 0.05, 0.5, 0.05];
        assert_eq!(check(good.clone(), |_| {}).unwrap(), Excess::default());
        let refusal = |change: &dyn Fn(&mut ActionChunk)| check(good.clone(), change).unwrap_err();
        type Change = dyn Fn(&mut ActionChunk);
        let cases: [(&Change, &str); 10] = [
            (&|chunk| chunk.width = 4, "shape: 4, expected 3"),
            (&|chunk| chunk.actions.truncate(5), "shape: 5, expected 3"),
            (&|chunk| chunk.actions.clear(), "shape: 0, expected 3"),
            (&|chunk| chunk.actions = vec![0.0; 3 * 513], "shape: 513, expected 512"),
            (&|chunk| chunk.period_ns = 0, "shape: 0, expected 1000000"),
            (&|chunk| chunk.actions[4] = f32::NAN, "non_finite: a number is NaN"),
            (&|chunk| chunk.observation_ns = 8, "time: answers 8 ns, asked about 7 ns"),
            (&|chunk| chunk.actions[3] = 2.5, "position: action 1 asks for 2.5 rad, the limit is 2"),
            (&|chunk| chunk.actions[5] = -0.5, "gripper: -0.5, the bound is 0"),
            (&|chunk| chunk.actions[3] = 1.5, "step: action 1 is 1.5 rad on, the joint can go 0.1"),
        ];
        for (change, expected) in cases {
            assert_eq!(refusal(change).to_string(), expected);
        }
    }

    #[test]
    fn a_little_too_much_is_counted() {
        let excess = check(vec![2.1, 0.0, 0.09, 2.1, 0.2, 0.08], |_| {}).unwrap();
        assert_eq!(excess, Excess { clamped: 3, fast_steps: 1 });
    }
}
