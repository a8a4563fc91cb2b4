//! Real-time chunking (arXiv 2506.07339) as LeRobot runs it: each step of the sampler is drawn towards
//! the actions of the chunk before that are not executed yet.
//!
//! The paper multiplies the correction by the network's Jacobian. LeRobot takes the velocity before it
//! begins to record gradients, so its Jacobian is the identity; so is ours, and no backward pass is needed.

use crate::checkpoint::{PrefixSchedule, RtcConfig};

/// How much each of `count` actions is bound to the chunk before: 1 for the `delay` actions that will be
/// executed before the new chunk can be, 0 from `horizon` on, and by `schedule` between.
#[must_use]
pub fn prefix_weights(schedule: PrefixSchedule, delay: usize, horizon: usize, count: usize) -> Vec<f32> {
    let delay = delay.min(horizon);
    let ramp = (horizon.min(count) - delay.min(count)) as f64;
    let weight = |at: usize| {
        if at < delay {
            return 1.0;
        }
        if at >= horizon {
            return 0.0;
        }
        let falling = 1.0 - (at - delay + 1) as f64 / (ramp + 1.0);
        match schedule {
            PrefixSchedule::Zeros => 0.0,
            PrefixSchedule::Ones => 1.0,
            PrefixSchedule::Linear => falling,
            PrefixSchedule::Exp => falling * falling.exp_m1() / 1_f64.exp_m1(),
        }
    };
    (0..count).map(|at| weight(at) as f32).collect()
}

/// The pull towards the chunk before, in the network's units.
#[derive(Clone, Debug)]
pub(super) struct Guidance {
    /// `actions × width`; zero where the chunk before has ended.
    target: Vec<f32>,
    /// One for each action.
    pub(super) weights: Vec<f32>,
    width: usize,
    most: f64,
}

impl Guidance {
    /// Towards `previous`, some actions of `previous_width` values (the others are zero), for a chunk of
    /// `[count, width]`.
    pub(super) fn new(
        config: &RtcConfig,
        previous: &[f32],
        previous_width: usize,
        delay: usize,
        [count, width]: [usize; 2],
    ) -> Self {
        let mut target = vec![0.0; count * width];
        let previous = previous.chunks_exact(previous_width.max(1));
        let horizon = config.execution_horizon.min(previous.len());
        for (to, from) in target.chunks_exact_mut(width).zip(previous) {
            to.iter_mut().zip(from).for_each(|(to, from)| *to = *from);
        }
        let weights = prefix_weights(config.prefix_attention_schedule, delay, horizon, count);
        Self { target, weights, width, most: config.max_guidance_weight }
    }

    /// Corrects one Euler step of length `step` from `x` at time `t` (1 is noise, 0 the chunk) to `next`.
    pub(super) fn correct(&self, x: &[f32], next: &mut [f32], t: f64, step: f64) {
        let pull = self.pull(t);
        for (at, (x, next)) in x.iter().zip(next).enumerate() {
            let x = f64::from(*x);
            let velocity = (x - f64::from(*next)) / step;
            let end = x - t * velocity;
            let error = (f64::from(self.target[at]) - end) * f64::from(self.weights[at / self.width]);
            *next = (f64::from(*next) + step * pull * error) as f32;
        }
    }

    /// The guidance weight: large at the start, bounded.
    fn pull(&self, t: f64) -> f64 {
        let tau = 1.0 - t;
        let pull = t / tau * (t * t + tau * tau) / (t * t);
        if pull.is_finite() { pull.min(self.most) } else { self.most }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// By LeRobot 0.6.1's `get_prefix_weights(2, 6, 8)`.
    #[test]
    fn schedules_fall_as_lerobots_do() {
        let close = |schedule, expected: [f32; 8]| {
            for (ours, expected) in prefix_weights(schedule, 2, 6, 8).iter().zip(expected) {
                assert!((ours - expected).abs() < 1e-6, "{schedule:?}: {ours} for {expected}");
            }
        };
        close(PrefixSchedule::Linear, [1.0, 1.0, 0.8, 0.6, 0.4, 0.2, 0.0, 0.0]);
        close(PrefixSchedule::Exp, [1.0, 1.0, 0.570_589, 0.287_072_4, 0.114_492_2, 0.025_770_25, 0.0, 0.0]);
        close(PrefixSchedule::Zeros, [1.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0]);
        close(PrefixSchedule::Ones, [1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 0.0, 0.0]);
    }

    #[test]
    fn the_horizon_bounds_the_delay_and_the_chunk_bounds_both() {
        assert_eq!(prefix_weights(PrefixSchedule::Linear, 5, 3, 4), [1.0, 1.0, 1.0, 0.0]);
        assert_eq!(prefix_weights(PrefixSchedule::Linear, 9, 9, 2), [1.0, 1.0]);
        assert_eq!(prefix_weights(PrefixSchedule::Linear, 0, 0, 2), [0.0, 0.0]);
        assert_eq!(prefix_weights(PrefixSchedule::Ones, 0, 7, 2), [1.0, 1.0]);
    }

    #[test]
    fn the_pull_is_bounded_at_both_ends() {
        let guidance = Guidance::new(&RtcConfig::default(), &[0.0; 4], 2, 1, [4, 2]);
        assert_eq!(guidance.pull(1.0), 10.0);
        assert!((guidance.pull(0.5) - 2.0).abs() < 1e-12);
        assert!(guidance.pull(0.1).is_finite());
        assert_eq!(guidance.weights, [1.0, 0.5, 0.0, 0.0]);
    }

    #[test]
    fn a_full_weight_pulls_onto_the_target() {
        // At t = 1 with one step and a pull of one, the corrected end is the target itself.
        let config = RtcConfig { max_guidance_weight: 1.0, ..RtcConfig::default() };
        let guidance = Guidance::new(&config, &[3.0, -3.0], 2, 1, [1, 2]);
        let mut next = [0.5, 0.25];
        guidance.correct(&[1.0, 2.0], &mut next, 1.0, 1.0);
        assert_eq!(next, [3.0, -3.0]);
    }
}
