//! The velocities that a joint may take in the next tick: the shared core of tracker and limiter.
//!
//! Time runs in ticks of `dt_s`; a velocity is held during a tick, so `q_next = q + v_next * dt_s`. The window
//! is built so that a joint which starts inside its limits at rest, and always picks a velocity from it, stays
//! inside the limits for ever, with `|v_next − v| ≤ a dt` in every tick: a velocity towards a limit is only
//! allowed if braking at full deceleration from it, tick by tick, stops in time.

use crate::chain::JointLimits;

/// What bounds the motion of one joint.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    pub(crate) lower: f64,
    pub(crate) upper: f64,
    pub(crate) speed: f64,
    pub(crate) acceleration: f64,
    pub(crate) dt_s: f64,
}

impl Bounds {
    pub(crate) fn new(limits: &JointLimits, speed_scale: f64, acceleration: f64, dt_s: f64) -> Self {
        Self {
            lower: limits.lower_rad,
            upper: limits.upper_rad,
            speed: limits.velocity_rad_s * speed_scale,
            acceleration,
            dt_s,
        }
    }

    /// Lowest and highest velocity for the next tick from position `q` and velocity `v`, both finite.
    ///
    /// Where not everything can hold (a position or velocity given from outside that breaks the invariant),
    /// the position limit wins over the velocity limit's approach, and both over the acceleration limit.
    /// From outside its limits a joint is led back to the nearer one, at no more than the speed limit.
    /// The room to a limit is used up at no more than the rate `approach_gain_per_s`, which may be infinite.
    pub(crate) fn window(&self, q: f64, v: f64, approach_gain_per_s: f64) -> (f64, f64) {
        let brake = |room: f64| braking_speed(room, self.acceleration, self.dt_s);
        let (room_below, room_above) = (q - self.lower, self.upper - q);
        // `min` passes over the NaN of an infinite rate and no room.
        let approach = |room: f64| brake(room).min(approach_gain_per_s * room);
        let mut lowest = -approach(room_below.max(0.0));
        let mut highest = approach(room_above.max(0.0));
        if room_above < 0.0 {
            highest = -brake(-room_above).min(self.speed).min(-lowest);
        } else if room_below < 0.0 {
            lowest = brake(-room_below).min(self.speed).min(highest);
        }
        let change = self.acceleration * self.dt_s;
        let slowest = (v - change).max(-self.speed).min(self.speed);
        let fastest = (v + change).max(-self.speed).min(self.speed);
        lowest = lowest.max(slowest).min(fastest);
        highest = highest.max(slowest).min(fastest);
        if room_above >= 0.0 && room_below >= 0.0 {
            let (down, up) = (-room_below / self.dt_s, room_above / self.dt_s);
            lowest = lowest.max(down).min(up);
            highest = highest.max(down).min(up);
        }
        (lowest, highest)
    }

    /// `q + v dt`, kept inside the limits against rounding if `q` is inside.
    pub(crate) fn advance(&self, q: f64, v: f64) -> f64 {
        let next = q + v * self.dt_s;
        if q >= self.lower && q <= self.upper { next.max(self.lower).min(self.upper) } else { next }
    }
}

/// The highest speed from which a joint can take one tick and then brake to rest within `room`.
///
/// In units of `a dt` for speed and `a dt²` for distance, one tick at speed `u` followed by `u − 1`, `u − 2`, …
/// covers `(m + 1) u − m (m + 1) / 2` with `m = ⌊u⌋`; this is that function's inverse.
pub(crate) fn braking_speed(room: f64, acceleration: f64, dt_s: f64) -> f64 {
    let unit = acceleration * dt_s * dt_s;
    if room == f64::INFINITY || unit == f64::INFINITY {
        return room / dt_s;
    }
    if unit.is_nan() || room.is_nan() || unit <= 0.0 || room <= 0.0 {
        return 0.0;
    }
    let distance = room / unit;
    let m = (((1.0 + 8.0 * distance).sqrt() - 1.0) * 0.5).floor();
    let speed = (distance + m * (m + 1.0) * 0.5) / (m + 1.0);
    // Never more than covers the room in this very tick.
    (speed * acceleration * dt_s).min(room / dt_s)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use proptest::test_runner::RngSeed;

    proptest! {
        #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, rng_seed: RngSeed::Fixed(7), ..ProptestConfig::default() })]

        #[test]
        fn braking_stops_exactly_at_the_end_of_the_room(
            room in 0.0_f64..2.0, acceleration in 0.5_f64..40.0, dt_s in 1e-3_f64..2e-2,
        ) {
            let mut speed = braking_speed(room, acceleration, dt_s);
            let mut covered = 0.0;
            while speed > 0.0 {
                covered += speed * dt_s;
                speed -= acceleration * dt_s;
            }
            prop_assert!((covered - room).abs() < 1e-9, "covered {covered} of {room}");
        }

        #[test]
        fn any_choice_from_the_window_keeps_all_limits(
            choices in prop::collection::vec(0.0_f64..=1.0, 400),
            start in 0.0_f64..=1.0, width in 0.01_f64..4.0, speed in 0.1_f64..5.0,
            acceleration in 0.5_f64..40.0, dt_s in 1e-3_f64..2e-2,
            careful: bool,
        ) {
            let approach_gain_per_s = if careful { (acceleration / speed).min(1.0 / dt_s) } else { f64::INFINITY };
            let bounds = Bounds { lower: -0.3, upper: -0.3 + width, speed, acceleration, dt_s };
            let (mut q, mut v) = (bounds.lower + start * width, 0.0_f64);
            for choice in choices {
                // Extremes more often than not: they are where limits break.
                let choice = if choice < 0.35 { 0.0 } else if choice > 0.65 { 1.0 } else { choice };
                let (lowest, highest) = bounds.window(q, v, approach_gain_per_s);
                prop_assert!(lowest <= highest);
                let next_v = lowest + choice * (highest - lowest);
                prop_assert!(next_v.abs() <= speed * (1.0 + 1e-12));
                prop_assert!((next_v - v).abs() <= acceleration * dt_s + 1e-9);
                q = bounds.advance(q, next_v);
                v = next_v;
                prop_assert!(q >= bounds.lower && q <= bounds.upper);
            }
        }

        #[test]
        fn from_outside_it_comes_back_at_an_allowed_speed(
            outside in 1e-6_f64..1.0, above: bool, width in 0.2_f64..4.0, v in -1.0_f64..1.0,
        ) {
            let bounds = Bounds { lower: 0.0, upper: width, speed: 1.0, acceleration: 10.0, dt_s: 0.004 };
            let (mut q, mut v) = (if above { width + outside } else { -outside }, v);
            for _ in 0..1500 {
                let (lowest, highest) = bounds.window(q, v, f64::INFINITY);
                prop_assert!(lowest <= highest);
                let next_v = if above { highest } else { lowest };
                prop_assert!((next_v - v).abs() <= 0.04 + 1e-9 && next_v.abs() <= 1.0);
                q = bounds.advance(q, next_v);
                v = next_v;
            }
            prop_assert!(q >= -1e-9 && q <= width + 1e-9, "still at {q}");
        }
    }
}
