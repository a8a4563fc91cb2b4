//! How one joint comes to rest: the manoeuvre with which the limiter verifies whatever it puts out.
//!
//! Everything is counted in ticks. A position moves by a *step* per tick, the step alters by a *change* per tick,
//! and the change by at most a *jolt* per tick; with ticks of `dt` a speed `v` is a step of `v dt`, an
//! acceleration `a` a change of `a dt²`, a jerk `j` a jolt of `j dt³`. So all limits are limits on finite
//! differences of the positions, which is what an observer of the commands can measure, and no integration
//! error stands between the two.
//!
//! The stop is memoryless: the next change depends on step and change alone. It brakes as hard as jolt and change
//! allow until it meets the ramp on which the change runs out together with the step. A simulated stop and a
//! stop that is carried out go through the same operations on the same numbers, so they agree bit for bit, and
//! what was verified in one tick needs no tolerance in the next.

/// The most ticks that a stop takes; [`Brakes::new`] lowers step and change to what stops within them.
pub(crate) const MAX_STOP_TICKS: usize = 4096;
/// Rounds of [`edge`] at most.
const ROUNDS: usize = 12;

/// Position, step and change of one joint after a tick.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Moving {
    pub(crate) q: f64,
    pub(crate) step: f64,
    pub(crate) change: f64,
}

impl Moving {
    pub(crate) fn at_rest(q: f64) -> Self {
        Self { q, step: 0.0, change: 0.0 }
    }

    /// One tick later, with the given change.
    pub(crate) fn after(self, change: f64) -> Self {
        let step = self.step + change;
        Self { q: self.q + step, step, change }
    }

    pub(crate) fn is_at_rest(&self) -> bool {
        self.step == 0.0 && self.change == 0.0
    }
}

/// Limits of one joint per tick; all finite and above 0.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Brakes {
    pub(crate) step: f64,
    pub(crate) change: f64,
    pub(crate) jolt: f64,
    /// What a ramp from the full change to none takes off the step.
    full_ramp: f64,
}

impl Brakes {
    /// Infinite limits mean none. `range` is how far the joint can move at all, finite.
    ///
    /// A limit that cannot bind beside the others is lowered to where it could, so that all are finite; and
    /// step and change to what stops within [`MAX_STOP_TICKS`].
    pub(crate) fn new(step: f64, change: f64, jolt: f64, range: f64) -> Self {
        let ticks = MAX_STOP_TICKS as f64;
        let step = step.min(range.max(f64::MIN_POSITIVE));
        let change = change.min(2.0 * step);
        let jolt = jolt.min(2.0 * change);
        let change = change.min(jolt * (ticks / 8.0));
        let step = step.min(change * (ticks / 2.0));
        let full_ramp = ramp(change, jolt);
        Self { step, change, jolt, full_ramp }
    }

    /// The change of the next tick on the way to rest.
    pub(crate) fn stop_change(&self, step: f64, change: f64) -> f64 {
        if step < 0.0 { -self.stop_forward(-step, -change) } else { self.stop_forward(step, change) }
    }

    /// [`Brakes::stop_change`] for a step of at least 0.
    fn stop_forward(&self, step: f64, change: f64) -> f64 {
        let hardest = (change - self.jolt).max(-self.change);
        // Most ticks of a stop end here, without a square root.
        if hardest >= 0.0 || (hardest == -self.change && step >= self.full_ramp) {
            return hardest;
        }
        (-ramp_start(step, self.jolt)).max(hardest).min(change + self.jolt)
    }

    /// Lowest and highest change for the next tick that keep jolt, change and step limits for good: a change is
    /// only allowed if running it out keeps the step limit.
    pub(crate) fn window(&self, step: f64, change: f64) -> (f64, f64) {
        let lowest = (change - self.jolt).max(-self.change);
        let highest = (change + self.jolt).min(self.change);
        (
            lowest.max(-self.run_up(self.step + step)).min(highest),
            highest.min(self.run_up(self.step - step)).max(lowest),
        )
    }

    /// The largest change that may start when the step has `room` left.
    fn run_up(&self, room: f64) -> f64 {
        if room >= self.full_ramp { self.change } else { ramp_start(room.max(0.0), self.jolt) }
    }

    /// How far `at` at most gets ahead of `wish` if it eases into the wish's motion from here on; `ahead` is 1 if that
    /// is upwards, −1 if downwards.
    pub(crate) fn overshoot(&self, at: Moving, wish: Moving, ahead: f64) -> f64 {
        let (stops, settled) = self.foresee(wish);
        let mut seen = Moving { q: at.q - wish.q, step: at.step - settled, change: at.change };
        let mut wish = Moving { q: 0.0, step: wish.step - settled, change: wish.change };
        let reach = self.travel_bound(seen.step, seen.change) + self.travel_bound(wish.step, wish.change);
        let mut most = ahead * seen.q;
        if most + reach <= 0.0 {
            return most + reach;
        }
        // Seen from the wish, the start may be at twice the step limit.
        for _ in 0..2 * MAX_STOP_TICKS {
            if seen.is_at_rest() && wish.change == 0.0 {
                return most;
            }
            seen = seen.after(self.stop_change(seen.step, seen.change));
            wish = wish.after(if stops {
                self.stop_change(wish.step, wish.change)
            } else {
                (wish.change.abs() - self.jolt).max(0.0).copysign(wish.change)
            });
            most = most.max(ahead * (seen.q - wish.q));
        }
        f64::INFINITY
    }

    /// The change of the next tick with which a joint eases into the wish's motion.
    pub(crate) fn easing_change(&self, at: Moving, wish: Moving) -> f64 {
        self.stop_change(at.step - self.foresee(wish).1, at.change)
    }

    /// What the wish is taken to do next: whether it comes to rest, as a joint would, and the step that it settles at.
    ///
    /// A wish that brakes hard is on its way to rest; any other keeps its step when its change has run out.
    fn foresee(&self, wish: Moving) -> (bool, f64) {
        let change = wish.change.abs();
        if wish.change * wish.step < 0.0 && change >= 0.5 * self.change {
            return (true, 0.0);
        }
        (false, wish.step + (ramp(change, self.jolt) - change).copysign(wish.change))
    }

    /// Ticks from here to rest; at most [`MAX_STOP_TICKS`].
    pub(crate) fn ticks(&self, mut at: Moving) -> usize {
        let mut ticks = 0;
        while !at.is_at_rest() && ticks < MAX_STOP_TICKS {
            at = at.after(self.stop_change(at.step, at.change));
            ticks += 1;
        }
        ticks
    }

    /// The most ticks from any motion within the limits to rest.
    ///
    /// The longest stops begin where running out the change would just reach the full step. What lies between
    /// two of the motions looked at takes at most a tick more.
    pub(crate) fn longest_ticks(&self) -> usize {
        const LOOKED_AT: usize = 256;
        let longest = (0..=LOOKED_AT)
            .map(|share| {
                let change = self.change * (share as f64 / LOOKED_AT as f64);
                let run_up = ramp(change, self.jolt) - change;
                self.ticks(Moving { q: 0.0, step: (self.step - run_up).max(0.0), change })
            })
            .max();
        (longest.unwrap_or(0) + 1).min(MAX_STOP_TICKS)
    }

    /// A bound on the largest step, either way, from here to rest.
    pub(crate) fn peak_bound(&self, step: f64, change: f64) -> f64 {
        let change = change.abs();
        step.abs() + change * (1.0 + 0.5 * change / self.jolt)
    }

    /// A bound on the way to rest, either way.
    pub(crate) fn travel_bound(&self, step: f64, change: f64) -> f64 {
        let peak = self.peak_bound(step, change);
        peak * (3.0 + 0.5 * peak / self.change + (self.change + change.abs()) / self.jolt)
    }

    /// Lowest and highest position from here to rest, both included; at most [`MAX_STOP_TICKS`] ticks.
    pub(crate) fn extent(&self, mut at: Moving) -> (f64, f64) {
        let (mut lowest, mut highest) = (at.q, at.q);
        for _ in 0..MAX_STOP_TICKS {
            at = at.after(self.stop_change(at.step, at.change));
            if at.is_at_rest() {
                return (lowest, highest);
            }
            lowest = lowest.min(at.q);
            highest = highest.max(at.q);
        }
        (f64::NEG_INFINITY, f64::INFINITY)
    }
}

/// What a change that starts at `change` and shrinks by `jolt` per tick takes off the step.
fn ramp(change: f64, jolt: f64) -> f64 {
    let ticks = (change / jolt).floor();
    (ticks + 1.0) * (change - 0.5 * ticks * jolt)
}

/// The change from which such a ramp takes off `step` exactly: the inverse of [`ramp`].
fn ramp_start(step: f64, jolt: f64) -> f64 {
    if step <= jolt {
        return step;
    }
    let ratio = step / jolt;
    let ticks = (0.5 * (1.0 + 8.0 * ratio).sqrt() - 0.5).floor();
    jolt * (ratio + 0.5 * ticks * (ticks + 1.0)) / (ticks + 1.0)
}

/// The value nearest to `bad` that was found to be good, between `good` and `bad`, which come with their excess.
///
/// A value is good if its `excess` is at most `-margin`, and near enough if that is by no more than `close`. `good` is
/// taken to be. Regula falsi (Illinois variant), at most [`ROUNDS`] calls.
pub(crate) fn edge(
    good: (f64, f64),
    bad: (f64, f64),
    (margin, close): (f64, f64),
    mut excess: impl FnMut(f64) -> f64,
) -> f64 {
    let (mut inside, mut below) = (good.0, good.1 + margin);
    let (mut outside, mut above) = (bad.0, bad.1 + margin);
    let mut last_was_good = None;
    for _ in 0..ROUNDS {
        if below >= -close {
            break;
        }
        let share = below / (below - above);
        let share = if share.is_finite() { share.clamp(0.02, 0.98) } else { 0.5 };
        let middle = inside + share * (outside - inside);
        let found = excess(middle) + margin;
        let is_good = found <= 0.0;
        if is_good {
            (inside, below) = (middle, found);
            if last_was_good == Some(true) {
                above *= 0.5;
            }
        } else {
            (outside, above) = (middle, found);
            if last_was_good == Some(false) {
                below *= 0.5;
            }
        }
        last_was_good = Some(is_good);
    }
    inside
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use proptest::test_runner::RngSeed;

    /// Any limits: from those of slow to those of fast arms, from 60 Hz to 1 kHz, and none.
    fn any_brakes() -> impl Strategy<Value = Brakes> {
        let rate = prop::sample::select(vec![60.0, 240.0, 1000.0]);
        let maybe_none = |low: f64, high: f64| prop_oneof![5 => (low.ln()..high.ln()).prop_map(f64::exp), 1 => Just(f64::INFINITY)];
        (rate, maybe_none(0.05, 10.0), maybe_none(0.5, 100.0), maybe_none(5.0, 1e5)).prop_map(
            |(hz, v, a, j): (f64, f64, f64, f64)| Brakes::new(v / hz, a / hz.powi(2), j / hz.powi(3), 6.0),
        )
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 3000, failure_persistence: None, rng_seed: RngSeed::Fixed(7), ..ProptestConfig::default() })]

        #[test]
        fn a_ramp_and_its_start_are_inverse(step in 0.0_f64..50.0, jolt in 0.01_f64..10.0) {
            let start = ramp_start(step, jolt);
            prop_assert!((ramp(start, jolt) - step).abs() < 1e-12 * (1.0 + step));
        }

        #[test]
        fn any_choice_from_the_window_and_any_stop_keep_all_limits(
            brakes in any_brakes(),
            choices in prop::collection::vec((0.0_f64..=1.0, 1_usize..30), 1..40),
        ) {
            let slack = 1.0 + 1e-12;
            let mut at = Moving::at_rest(0.0);
            let longest = brakes.longest_ticks();
            let held = |from: Moving, to: Moving| {
                to.step.abs() <= brakes.step * slack
                    && to.change.abs() <= brakes.change * slack
                    && (to.change - from.change).abs() <= brakes.jolt * slack
            };
            for (choice, ticks) in choices {
                // Extremes more often than not: they are where limits break.
                let choice = if choice < 0.35 { 0.0 } else if choice > 0.65 { 1.0 } else { choice };
                for _ in 0..ticks {
                    let (lowest, highest) = brakes.window(at.step, at.change);
                    prop_assert!(lowest <= highest);
                    let next = at.after(lowest + choice * (highest - lowest));
                    prop_assert!(held(at, next), "{at:?} to {next:?} under {brakes:?}");
                    at = next;
                }
                let (bound, (lowest, highest)) = (brakes.travel_bound(at.step, at.change), brakes.extent(at));
                prop_assert!(highest - at.q <= bound && at.q - lowest <= bound, "{bound} for {lowest}..{highest} from {at:?}");
                let (peak, start) = (brakes.peak_bound(at.step, at.change), at);
                let mut ticks = 0;
                let (mut stopping, mut worst) = (at, 0.0_f64);
                while !stopping.is_at_rest() {
                    let next = stopping.after(brakes.stop_change(stopping.step, stopping.change));
                    prop_assert!(held(stopping, next), "{stopping:?} to {next:?} under {brakes:?}");
                    worst = worst.max(next.step.abs());
                    stopping = next;
                    ticks += 1;
                    prop_assert!(ticks <= MAX_STOP_TICKS);
                }
                prop_assert!(worst <= peak * slack, "{worst} above {peak} from {start:?}");
                prop_assert!(ticks <= longest, "{ticks} above {longest} from {start:?} under {brakes:?}");
            }
        }
    }
}
