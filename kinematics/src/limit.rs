//! The last gate before the actuators: whatever is asked for, what comes out keeps every joint limit.

use crate::chain::JointLimits;
use crate::joints::{Joints, MAX_DOF};
use crate::window::{Bounds, braking_speed};

/// How far output and wish may differ before the output counts as clamped, rad (or m).
const SAME: f64 = 1e-9;

/// One tick's output of a [`JointLimiter`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Limited {
    /// Joint positions to command, rad (or m).
    pub q: Joints,
    /// Whether the output differs from what was asked for.
    pub clamped: bool,
    /// Whether the input was refused as a whole: a NaN, an infinity or the wrong length. The joints brake to
    /// rest and hold.
    pub rejected_non_finite: bool,
}

/// Limits position, velocity and acceleration of every joint, tick by tick.
///
/// An input that keeps the limits passes through unchanged. A jump is turned into the fastest allowed motion
/// that does not overshoot the wish. A position limit is never exceeded, because no velocity is allowed that
/// could not be braked in time. From outside the limits the joints are led back at allowed speed.
#[derive(Clone, Debug)]
pub struct JointLimiter {
    bounds: [Bounds; MAX_DOF],
    q: Joints,
    velocity: Joints,
    /// The last accepted wish, to tell a moving one from a jump.
    last_wish: Option<Joints>,
    usable: bool,
}

impl JointLimiter {
    /// A limiter at rest at the allowed positions nearest to zero; call [`JointLimiter::reset`] with the
    /// measured positions before the first tick.
    ///
    /// At most [`MAX_DOF`] joints count. With a `dt_s` or an acceleration that is not finite and above 0 the
    /// limiter never moves.
    #[must_use]
    pub fn new(limits: &[JointLimits], dt_s: f64, max_acceleration_rad_s2: f64) -> Self {
        debug_assert!(limits.len() <= MAX_DOF, "{} joints, capacity {MAX_DOF}", limits.len());
        let still = Bounds { lower: 0.0, upper: 0.0, speed: 0.0, acceleration: 1.0, dt_s: 1.0 };
        let mut bounds = [still; MAX_DOF];
        for (to, from) in bounds.iter_mut().zip(limits) {
            *to = Bounds::new(from, 1.0, max_acceleration_rad_s2, dt_s);
        }
        let count = limits.len().min(MAX_DOF);
        let positive = |value: f64| value.is_finite() && value > 0.0;
        Self {
            bounds,
            q: Joints::from_fn(count, |i| limits[i].clamp(0.0)),
            velocity: Joints::zeros(count),
            last_wish: None,
            usable: positive(dt_s) && positive(max_acceleration_rad_s2),
        }
    }

    /// Takes `q` as the present positions, at rest. Returns whether it was accepted: the right number of
    /// finite values, which may lie outside the limits.
    pub fn reset(&mut self, q: &[f64]) -> bool {
        let Some(q) = self.readable(q) else {
            return false;
        };
        self.q = q;
        self.velocity = Joints::zeros(q.len());
        self.last_wish = None;
        true
    }

    /// The positions last put out (or given to [`JointLimiter::reset`]).
    #[must_use]
    pub fn position(&self) -> &Joints {
        &self.q
    }

    /// The velocities of the last tick, rad/s (or m/s).
    #[must_use]
    pub fn velocity(&self) -> &Joints {
        &self.velocity
    }

    /// The allowed positions for this tick that serve `desired` best. Constant work per joint.
    pub fn limit(&mut self, desired: &[f64]) -> Limited {
        let wish = self.readable(desired);
        let mut clamped = false;
        if self.usable {
            let mut kept = self.q;
            for i in 0..self.q.len() {
                let bounds = &self.bounds[i];
                let velocity = match &wish {
                    Some(wish) => {
                        let inside = wish[i].max(bounds.lower).min(bounds.upper);
                        kept[i] = inside;
                        self.towards(i, inside)
                    }
                    None => 0.0,
                };
                let (lowest, highest) = bounds.window(self.q[i], self.velocity[i]);
                let velocity = velocity.max(lowest).min(highest);
                self.q[i] = bounds.advance(self.q[i], velocity);
                self.velocity[i] = velocity;
            }
            self.last_wish = wish.map(|_| kept);
        }
        if let Some(wish) = &wish {
            clamped = wish.iter().zip(self.q.iter()).any(|(wish, q)| (wish - q).abs() > SAME);
        }
        Limited { q: self.q, clamped, rejected_non_finite: wish.is_none() }
    }

    /// The velocity that meets the wish without overshooting it, seen from the wish's own motion.
    fn towards(&self, i: usize, wish: f64) -> f64 {
        let bounds = &self.bounds[i];
        let wish_velocity = self.last_wish.map_or(0.0, |last| (wish - last[i]) / bounds.dt_s);
        // Faster than the joint: a jump, not a motion to keep up with.
        let wish_velocity = if wish_velocity.abs() <= bounds.speed { wish_velocity } else { 0.0 };
        let lag = wish - self.q[i] - wish_velocity * bounds.dt_s;
        wish_velocity + braking_speed(lag.abs(), bounds.acceleration, bounds.dt_s).copysign(lag)
    }

    fn readable(&self, q: &[f64]) -> Option<Joints> {
        let right_length = q.len() == self.q.len();
        right_length.then(|| Joints::from_slice(q)).filter(Joints::is_finite)
    }
}
