//! The last gate before the actuators: whatever is asked for, what comes out keeps every limit.
//!
//! **Limits.** Position, velocity, acceleration and jerk of every joint and the speed of the tool's origin, all
//! taken as finite differences of the positions put out: what an observer of the commands measures.
//!
//! **Principle.** A position is only put out if the stop that could follow it keeps every limit to its end. That
//! stop's own next tick is therefore always at hand, whatever is asked for next, and safe by induction. Each tick:
//! 1. the change of velocity that serves the wish best, within jerk, acceleration and velocity;
//! 2. less, if a joint would otherwise overshoot a wish at rest;
//! 3. less, if its stop would leave the position limits;
//! 4. all joints blended with their stops by one factor, if the tool would become too fast.
//!
//! **Next to ros2_control.** Its `joint_limits` package (`JointSaturationLimiter`, `JointSoftLimiter`) clamps each
//! commanded field by itself. Read next to it, for a position command:
//!
//! | | ros2_control | here |
//! |---|---|---|
//! | reference | the previous command (as here), and the measured velocity | the previous output alone |
//! | position limit | the command is clamped; only the trajectory-point variant looks at the stopping distance, `v²/2a`, and brakes all joints | the simulated stop stays within, tick by tick, also under a jerk limit; only the joint concerned brakes |
//! | soft limits | speed falls in proportion to the distance from them | none: the exact stop does their work |
//! | velocity | window around the previous command | the same, and no later tick of the stop breaks it |
//! | acceleration | widens the window by the measured speed; `max_deceleration` may differ | holds between outputs; one value for both |
//! | jerk | bounds only a commanded jerk | bounds the third difference of the positions |
//! | no limit | flag `has_…_limits` = false | infinity |
//! | NaN, infinity | saturation passes a NaN on; soft puts the measured position | the input is refused as a whole and all joints stop |
//! | outside the limits | an error beyond 0.0087 rad, no velocity beyond 0.002 rad | led back within all limits, never further out |
//! | tool speed | – | one factor for all joints |
//! | answer | whether a limit acted | which limits acted |

use serde::{Deserialize, Serialize};

use crate::chain::Chain;
use crate::joints::{Joints, MAX_DOF};
use crate::stop::{Brakes, MAX_STOP_TICKS, Moving, edge};
use crate::toolspeed::{Reference, ToolSpeed};
use crate::track::ConfigError;

/// Output and wish that differ by no more are taken to be the same, rad (or m): what rounding may add up to while a
/// wish rides on a limit.
const SAME: f64 = 1e-9;
/// A wish at rest is overshot by at most this much, rad (or m).
const LANDING: f64 = 1e-12;
/// Where no joint is held to be: beyond, positions would be too coarse to show a jerk. Rad (or m).
const FURTHEST: f64 = 1e6;
/// What is cut keeps so far from the bound on its position, rad (or m), and is not cut again by its own rounding.
const MARGIN: f64 = 1e-12;
/// So near to the tool's speed limit is on it, as a share of it.
const AT_THE_SPEED: f64 = 1e-4;
/// What the tool's speed may exceed its limit by, as a share of it; what is cut does not use it.
const TOOL_MARGIN: f64 = 5e-10;
/// A guard sees every so-manieth tick of a stop, and its first and last.
const GUARD_STRIDE: usize = 8;

/// Settings of a [`JointLimiter`]. All values must be above 0; infinity switches a limit off.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LimiterConfig {
    /// Length of a tick, s, from 1e-5 to 1. Default 1/240.
    pub dt_s: f64,
    /// Share of each joint's velocity limit that may be used, in (0, 1]. Default 1.
    pub velocity_scale: f64,
    /// Acceleration limit of every joint, rad/s² (or m/s²). Default 10. More reacts and stops faster and shakes
    /// the arm more. With so little that a stop would take more than 4096 ticks, the velocity limit falls to
    /// what stops within them.
    pub max_acceleration_rad_s2: f64,
    /// Jerk limit of every joint, rad/s³ (or m/s³). Default 2000: from rest to an acceleration of 10 rad/s² in
    /// 5 ms. Less is gentler on gears and excites the arm's elasticity less; motions take longer by about
    /// `acceleration / jerk`. Above `2 max_acceleration_rad_s2 / dt_s` it has no effect.
    pub max_jerk_rad_s3: f64,
    /// Speed limit of the tool's origin, m/s. Default infinite. All joints slow together to keep it.
    pub max_tool_speed_m_s: f64,
}

impl Default for LimiterConfig {
    fn default() -> Self {
        Self {
            dt_s: 1.0 / 240.0,
            velocity_scale: 1.0,
            max_acceleration_rad_s2: 10.0,
            max_jerk_rad_s3: 2000.0,
            max_tool_speed_m_s: f64::INFINITY,
        }
    }
}

impl LimiterConfig {
    /// Checks every field's range.
    ///
    /// # Errors
    /// The first field outside its range.
    pub fn check(&self) -> Result<(), ConfigError> {
        let check = |field, actual: f64, holds: bool, expected| {
            if holds { Ok(()) } else { Err(ConfigError { field, expected, actual }) }
        };
        let (dt_s, scale) = (self.dt_s, self.velocity_scale);
        check("dt_s", dt_s, (1e-5..=1.0).contains(&dt_s), "from 1e-5 to 1")?;
        check("velocity_scale", scale, scale > 0.0 && scale <= 1.0, "above 0 and at most 1")?;
        for (field, actual) in [
            ("max_acceleration_rad_s2", self.max_acceleration_rad_s2),
            ("max_jerk_rad_s3", self.max_jerk_rad_s3),
            ("max_tool_speed_m_s", self.max_tool_speed_m_s),
        ] {
            check(field, actual, actual >= 1e-6, "at least 1e-6; infinite for none")?;
        }
        Ok(())
    }
}

/// Which limits kept an output from being what was asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Acted {
    /// A wish outside the position limits, or a motion that could not have stopped before them.
    pub position: bool,
    /// A joint's velocity.
    pub velocity: bool,
    /// A joint's acceleration.
    pub acceleration: bool,
    /// A joint's jerk.
    pub jerk: bool,
    /// Braking in time for the wish itself.
    pub landing: bool,
    /// The speed of the tool.
    pub tool_speed: bool,
    /// The caller's guard; see [`JointLimiter::limit_guarded`].
    pub guard: bool,
    /// The input was refused as a whole: a NaN, an infinity or the wrong length. The joints brake to rest.
    pub rejected: bool,
}

impl Acted {
    /// Whether anything acted.
    #[must_use]
    pub fn any(&self) -> bool {
        *self != Self::default()
    }
}

/// One tick's output of a [`JointLimiter`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Limited {
    /// Joint positions to command, rad (or m).
    pub q: Joints,
    /// What kept them from being what was asked for.
    pub acted: Acted,
}

/// A caller's own condition on the positions of a stop.
type Guard<'a> = &'a mut dyn FnMut(&Joints) -> bool;

/// Position limits of one joint, and how far out it may still be after a start outside them.
#[derive(Clone, Copy, Debug, Default)]
struct Span {
    lower: f64,
    upper: f64,
    floor: f64,
    ceiling: f64,
}

/// Limits position, velocity, acceleration and jerk of every joint and the speed of the tool, tick by tick.
///
/// An input that keeps the limits, and whose stops would, passes through unchanged. A jump is turned into a fast
/// motion that lands on the wish without overshoot (to 1e-9), if the wish was at rest before and after. Only a jump
/// below `2 max_jerk dt³` cannot be told from the beginning of a motion in time, and may be overshot by half of
/// that. From outside the position limits the joints are led back. A wish should be as fine as the limits: noise of
/// `e` between ticks looks like a speed of `e / dt` and an acceleration of `e / dt²`.
///
/// Limits hold but for rounding: 1e-9 of the limit, and what the 2⁻⁵³ of relative precision that each position has
/// makes of the differences that an observer computes (of a jerk, `4·2⁻⁵² q / dt³`). A position inside its limits
/// never leaves them, not by one bit. A joint without position limits stays within 10⁶ rad.
#[derive(Clone, Debug)]
pub struct JointLimiter {
    chain: Chain,
    brakes: [Brakes; MAX_DOF],
    spans: [Span; MAX_DOF],
    tool: ToolSpeed,
    dt_s: f64,
    usable: bool,
    now: [Moving; MAX_DOF],
    q: Joints,
    /// The last readable wish, within the limits, and its motion.
    wish: Option<[Moving; MAX_DOF]>,
}

impl JointLimiter {
    /// A limiter at rest at the allowed positions nearest to zero; call [`JointLimiter::reset`] with the
    /// measured positions before the first tick.
    ///
    /// With a configuration that [`LimiterConfig::check`] refuses, the limiter never moves.
    #[must_use]
    pub fn new(chain: Chain, config: LimiterConfig) -> Self {
        let dt_s = config.dt_s;
        let mut brakes = [Brakes::new(1.0, 1.0, 1.0, 1.0); MAX_DOF];
        let mut spans = [Span::default(); MAX_DOF];
        for (i, limits) in chain.limits().iter().enumerate() {
            let (lower, upper) = (limits.lower_rad.max(-FURTHEST), limits.upper_rad.min(FURTHEST));
            spans[i] = Span { lower, upper, floor: lower, ceiling: upper };
            brakes[i] = Brakes::new(
                limits.velocity_rad_s * config.velocity_scale * dt_s,
                config.max_acceleration_rad_s2 * dt_s * dt_s,
                config.max_jerk_rad_s3 * dt_s * dt_s * dt_s,
                upper - lower,
            );
        }
        let q = Joints::from_fn(chain.dof(), |i| chain.limits()[i].clamp(0.0));
        let mut limiter = Self {
            tool: ToolSpeed::new(&chain, config.max_tool_speed_m_s * dt_s, &q),
            chain,
            brakes,
            spans,
            dt_s,
            usable: config.check().is_ok(),
            now: [Moving::default(); MAX_DOF],
            q,
            wish: None,
        };
        limiter.reset(&q);
        limiter
    }

    /// Takes `q` as the present positions, at rest. Returns whether it was accepted: the right number of
    /// finite values, which may lie outside the limits, but not beyond 10⁶.
    pub fn reset(&mut self, q: &[f64]) -> bool {
        let Some(q) = self.readable(q).filter(|q| q.iter().all(|q| q.abs() <= FURTHEST)) else {
            return false;
        };
        for i in 0..q.len() {
            self.now[i] = Moving::at_rest(q[i]);
            self.spans[i].floor = self.spans[i].lower.min(q[i]);
            self.spans[i].ceiling = self.spans[i].upper.max(q[i]);
        }
        let furthest = Joints::from_fn(q.len(), |i| self.spans[i].ceiling.max(-self.spans[i].floor));
        self.tool = ToolSpeed::new(&self.chain, self.tool.step_m, &furthest);
        self.q = q;
        self.wish = None;
        self.wish = Some(self.observe(&q));
        true
    }

    /// The positions last put out (or given to [`JointLimiter::reset`]).
    #[must_use]
    pub fn position(&self) -> &Joints {
        &self.q
    }

    /// The velocities of the last tick, rad/s (or m/s).
    #[must_use]
    pub fn velocity(&self) -> Joints {
        Joints::from_fn(self.q.len(), |i| self.now[i].step / self.dt_s)
    }

    /// The most ticks that a stop takes: of every joint's, from full speed and from the motions that run up to it.
    /// At most 4096. For promises that are made once: it simulates some hundred stops for each joint.
    #[must_use]
    pub fn longest_stop_ticks(&self) -> usize {
        self.brakes[..self.q.len()].iter().map(Brakes::longest_ticks).max().unwrap_or(0)
    }

    /// The allowed positions for this tick that serve `desired` best.
    ///
    /// Work is bounded: up to 28 simulated stops per joint and 13 of all joints together, these with at most two
    /// forward kinematics a tick; a stop takes about `velocity / (acceleration dt)` ticks, and never more than 4096
    /// (8192 seen from a moving wish). Most ticks need no simulation, because a bound shows that the stop is harmless.
    pub fn limit(&mut self, desired: &[f64]) -> Limited {
        self.advance(desired, None)
    }

    /// [`JointLimiter::limit`] under one more condition: `guard` must hold at the next positions, at every eighth
    /// tick of the stop that could follow them, and where it ends.
    ///
    /// Where it does not, the joints keep to their stops as far as it needs. It is not asked about the stop that it
    /// accepted before, so what it accepts must not shrink along that.
    pub fn limit_guarded(&mut self, desired: &[f64], mut guard: impl FnMut(&Joints) -> bool) -> Limited {
        self.advance(desired, Some(&mut guard))
    }

    fn advance(&mut self, desired: &[f64], guard: Option<Guard<'_>>) -> Limited {
        let mut acted = Acted::default();
        let wish = self.readable(desired);
        acted.rejected = wish.is_none();
        if self.usable {
            let stop = Joints::from_fn(self.q.len(), |i| {
                self.brakes[i].stop_change(self.now[i].step, self.now[i].change)
            });
            let mut change = stop;
            let inside = wish.map(|wish| self.observe(&wish));
            if let (Some(wish), Some(inside)) = (&wish, &inside) {
                for i in 0..stop.len() {
                    change[i] = self.serve(i, wish[i], inside[i], stop[i], &mut acted);
                }
                change = self.blend(&stop, change, guard, &mut acted);
            }
            self.wish = inside;
            self.take(&change);
        } else if let Some(wish) = &wish {
            acted.velocity = wish.iter().zip(self.q.iter()).any(|(wish, q)| (wish - q).abs() > SAME);
        }
        Limited { q: self.q, acted }
    }

    /// The change for joint `i` that serves its wish best and keeps its own limits for good.
    fn serve(&self, i: usize, wish: f64, inside: Moving, stop: f64, acted: &mut Acted) -> f64 {
        let (brakes, now) = (&self.brakes[i], self.now[i]);
        let window = brakes.window(now.step, now.change);
        let exact = (self.target(i, inside) - now.q) - now.step;
        // A wish on a limit must not be cut by its own rounding: what is lost would be made good beyond the limit.
        let rounding = 4.0 * f64::EPSILON * (now.q.abs().max(inside.q.abs()) + now.step.abs());
        let passes = exact >= window.0 - rounding && exact <= window.1 + rounding;
        let direct = if passes { exact } else { exact.max(window.0).min(window.1) };
        let landing = self.land(i, inside, direct, window);
        let change = self.stay_within(i, landing, stop);
        if (now.after(change).q - wish).abs() > SAME {
            acted.position |= (wish - inside.q).abs() > SAME || change != landing;
            acted.landing |= landing != direct;
            if direct != exact {
                acted.acceleration |= exact.abs() > brakes.change;
                acted.jerk |= (exact - now.change).abs() > brakes.jolt;
                acted.velocity |= (now.step + exact).abs() > brakes.step
                    || (exact.abs() <= brakes.change && (exact - now.change).abs() <= brakes.jolt);
            }
        }
        change
    }

    /// The wish itself; or, where the joint follows a moving wish but for rounding, what lets the rest fade.
    ///
    /// Made good at once, an error would need three times as much of the jerk limit as made it, and would grow while
    /// the wish rides on the limit.
    fn target(&self, i: usize, wish: Moving) -> f64 {
        const KEPT: f64 = 0.7;
        const KEPT_2: f64 = KEPT * KEPT;
        const KEPT_3: f64 = KEPT * KEPT * KEPT;
        let Some(last) = self.wish.map(|wish| wish[i]).filter(|_| !wish.is_at_rest()) else {
            return wish.q;
        };
        let now = &self.now[i];
        let behind = last.q - now.q;
        let (slower, lazier) = (last.step - now.step, last.change - now.change);
        if behind.abs().max(slower.abs()).max(lazier.abs()) > SAME {
            return wish.q;
        }
        // All three poles of the error at `KEPT`.
        wish.q
            - behind * (3.0 * KEPT - 3.0 * KEPT_2 + KEPT_3)
            - slower * (3.0 * KEPT_2 - 2.0 * KEPT_3)
            - lazier * KEPT_3
    }

    /// `direct`, or what is nearest to it without overshooting the wish, which has a motion of its own.
    fn land(&self, i: usize, wish: Moving, direct: f64, window: (f64, f64)) -> f64 {
        let (brakes, now) = (&self.brakes[i], self.now[i]);
        if self.wish.is_some_and(|last| (last[i].q - now.q).abs() <= SAME) {
            return direct;
        }
        let ahead = if wish.q - wish.step < now.q { -1.0 } else { 1.0 };
        let overshoot = |change: f64| brakes.overshoot(now.after(change), wish, ahead) - LANDING;
        let wild = overshoot(direct);
        if wild <= 0.0 {
            return direct;
        }
        let easing = brakes.easing_change(now, wish).max(window.0).min(window.1);
        let calm = overshoot(easing);
        if calm > 0.0 { easing } else { edge((easing, calm), (direct, wild), (MARGIN, MARGIN), overshoot) }
    }

    /// `change`, or what is nearest to it with a stop that stays within the position limits. `stop` does.
    fn stay_within(&self, i: usize, change: f64, stop: f64) -> f64 {
        let excess = |change: f64| self.excess(i, change);
        let wild = excess(change);
        if wild <= 0.0 || change == stop {
            return change;
        }
        let calm = excess(stop);
        if calm > 0.0 { stop } else { edge((stop, calm), (change, wild), (MARGIN, MARGIN), excess) }
    }

    /// How far the stop after `change` leaves the position limits; at most 0 if it does not.
    fn excess(&self, i: usize, change: f64) -> f64 {
        let (next, span) = (self.now[i].after(change), &self.spans[i]);
        let reach = self.brakes[i].travel_bound(next.step, next.change);
        let loose = (next.q + reach - span.ceiling).max(span.floor - (next.q - reach));
        if loose <= 0.0 {
            return loose;
        }
        let (lowest, highest) = self.brakes[i].extent(next);
        (highest - span.ceiling).max(span.floor - lowest)
    }

    /// `change`, blended with `stop` as far as tool speed and guard need.
    fn blend(
        &self,
        stop: &Joints,
        change: Joints,
        mut guard: Option<Guard<'_>>,
        acted: &mut Acted,
    ) -> Joints {
        if change == *stop || (self.tool.step_m == f64::INFINITY && guard.is_none()) {
            return change;
        }
        let mut reference = None;
        let wild = self.coupled_excess(&change, &mut reference, &mut guard, acted);
        if wild <= 0.0 {
            return change;
        }
        let blended = |share: f64| Joints::from_fn(stop.len(), |i| stop[i] + share * (change[i] - stop[i]));
        // How far below the limits the stop keeps is not worth its simulation.
        let share = edge((0.0, -wild), (1.0, wild), (2.0 * TOOL_MARGIN, AT_THE_SPEED), |share| {
            let tried = blended(share);
            if (0..stop.len()).any(|i| self.excess(i, tried[i]) > 0.0) {
                return wild;
            }
            self.coupled_excess(&tried, &mut reference, &mut guard, acted)
        });
        if share > 0.0 { blended(share) } else { *stop }
    }

    /// How much too fast the tool is, at most, in the next tick with these changes or in the stop that could
    /// follow, as a share of its limit; at most 0 if it is not. A refusal of the guard counts as 1.
    fn coupled_excess(
        &self,
        change: &Joints,
        reference: &mut Option<Reference>,
        guard: &mut Option<Guard<'_>>,
        acted: &mut Acted,
    ) -> f64 {
        let n = self.q.len();
        let mut at = self.now;
        for i in 0..n {
            at[i] = at[i].after(change[i]);
        }
        let (mut before, mut worst) = (self.q, -1.0_f64);
        let mut tool_is_slow = false;
        let mut looked_at: Option<Reference> = None;
        for tick in 0..MAX_STOP_TICKS {
            let here = Joints::from_fn(n, |i| at[i].q);
            tool_is_slow = tool_is_slow || self.tool.is_slow_to_the_end(&at[..n], &self.brakes);
            if !tool_is_slow {
                let first = reference.get_or_insert_with(|| Reference::at(&self.chain, &self.q));
                let reference = looked_at.get_or_insert(*first);
                let moved_m = self.tool.movement_m(&self.chain, &before, &here, &at[..n], reference);
                worst = worst.max(moved_m / self.tool.step_m - 1.0 - TOOL_MARGIN);
            }
            let rests = at[..n].iter().all(Moving::is_at_rest);
            if let Some(guard) = guard {
                if (rests || tick % GUARD_STRIDE == 0) && !guard(&here) {
                    acted.guard = true;
                    return 1.0;
                }
            } else if tool_is_slow {
                break;
            }
            if rests {
                break;
            }
            before = here;
            for (at, brakes) in at[..n].iter_mut().zip(&self.brakes) {
                *at = at.after(brakes.stop_change(at.step, at.change));
            }
        }
        acted.tool_speed |= worst > 0.0;
        worst
    }

    fn take(&mut self, change: &Joints) {
        for i in 0..change.len() {
            let (next, span) = (self.now[i].after(change[i]), &mut self.spans[i]);
            if span.ceiling > span.upper || span.floor < span.lower {
                // What the verified stop no longer needs of the room outside is given up.
                let (lowest, highest) = self.brakes[i].extent(next);
                span.ceiling = span.ceiling.min(highest.max(span.upper));
                span.floor = span.floor.max(lowest.min(span.lower));
            }
            self.now[i] = next;
            self.q[i] = next.q;
        }
    }

    /// The wish within the limits, and how it moves as far as the joints could: a jump is taken for a start.
    fn observe(&self, wish: &Joints) -> [Moving; MAX_DOF] {
        let mut observed = [Moving::default(); MAX_DOF];
        for (i, wish) in wish.iter().enumerate() {
            let (span, brakes) = (&self.spans[i], &self.brakes[i]);
            let q = wish.max(span.lower).min(span.upper);
            let last = self.wish.map_or(Moving::at_rest(q), |last| last[i]);
            let step = (q - last.q).max(-brakes.step).min(brakes.step);
            let change = (step - last.step).max(-brakes.change).min(brakes.change);
            observed[i] = Moving { q, step, change };
        }
        observed
    }

    fn readable(&self, q: &[f64]) -> Option<Joints> {
        let right_length = q.len() == self.q.len();
        right_length.then(|| Joints::from_slice(q)).filter(Joints::is_finite)
    }
}
