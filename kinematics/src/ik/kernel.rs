//! Levenberg–Marquardt on four configurations at once, one in each lane of a vector register.

use nalgebra::Vector3;
use wide::f64x4;

use crate::chain::Chain;
use crate::forward::Step;
use crate::frame::Frame;
use crate::sincos::sin_cos4;
use crate::task::Task;

/// Configurations that are worked on at once.
pub(super) const LANES: usize = 4;
/// One number per lane.
type Lanes = f64x4;
type Vector = [Lanes; 3];

const ZERO: Lanes = Lanes::splat(0.0);

/// Damping, as a share of the residual. One that falls with success gains nothing: the residual falls.
const DAMPING: f64 = 5e-2;
/// Growth of the damping after a step that did not get nearer.
const MORE_DAMPING: f64 = 4.0;
/// Keeps the systems solvable at the solution, m².
const FLOOR: f64 = 1e-9;
/// Least `cos²` of half an angle error: keeps the error finite at half a turn.
const HALF_TURN: f64 = 1e-12;

/// A frame in each lane: the columns of its rotation, and its origin.
#[derive(Clone, Copy)]
struct Frames {
    axes: [Vector; 3],
    origin: Vector,
}

impl Frames {
    fn splat(frame: &Frame) -> Self {
        let vector = |v: &Vector3<f64>| [v.x, v.y, v.z].map(Lanes::splat);
        let axis = |index: usize| vector(&frame.rotation.column(index).into_owned());
        Self { axes: [axis(0), axis(1), axis(2)], origin: vector(&frame.translation) }
    }

    /// The direction `v`, given along this frame's axes, along the base's.
    #[inline(always)]
    fn turn(&self, v: &Vector) -> Vector {
        let [x, y, z] = &self.axes;
        [
            x[0] * v[0] + y[0] * v[1] + z[0] * v[2],
            x[1] * v[0] + y[1] * v[1] + z[1] * v[2],
            x[2] * v[0] + y[2] * v[1] + z[2] * v[2],
        ]
    }

    #[inline(always)]
    fn then(&self, next: &Self) -> Self {
        let [x, y, z] = &next.axes;
        let moved = self.moved(&next.origin);
        Self { axes: [self.turn(x), self.turn(y), self.turn(z)], origin: moved.origin }
    }

    #[inline(always)]
    fn moved(&self, by: &Vector) -> Self {
        Self { axes: self.axes, origin: add(&self.origin, &self.turn(by)) }
    }

    #[inline(always)]
    fn turned_about_z(&self, sine: Lanes, cosine: Lanes) -> Self {
        let [x, y, z] = &self.axes;
        let turned_x = add(&scaled(x, cosine), &scaled(y, sine));
        Self { axes: [turned_x, sub(&scaled(y, cosine), &scaled(x, sine)), *z], origin: self.origin }
    }

    #[inline(always)]
    fn tilted_about_x(&self, sine: Lanes, cosine: Lanes) -> Self {
        let [x, y, z] = &self.axes;
        let tilted_y = add(&scaled(y, cosine), &scaled(z, sine));
        Self { axes: [*x, tilted_y, sub(&scaled(z, cosine), &scaled(y, sine))], origin: self.origin }
    }

    #[inline(always)]
    fn moved_along_z(&self, distance: Lanes) -> Self {
        Self { axes: self.axes, origin: add(&self.origin, &scaled(&self.axes[2], distance)) }
    }
}

#[inline(always)]
fn add(a: &Vector, b: &Vector) -> Vector {
    [a[0] + b[0], a[1] + b[1], a[2] + b[2]]
}

#[inline(always)]
fn sub(a: &Vector, b: &Vector) -> Vector {
    [a[0] - b[0], a[1] - b[1], a[2] - b[2]]
}

#[inline(always)]
fn scaled(a: &Vector, factor: Lanes) -> Vector {
    [a[0] * factor, a[1] * factor, a[2] * factor]
}

#[inline(always)]
fn dot(a: &Vector, b: &Vector) -> Lanes {
    a[0] * b[0] + a[1] * b[1] + a[2] * b[2]
}

#[inline(always)]
fn cross(a: &Vector, b: &Vector) -> Vector {
    [a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]]
}

/// Four configurations with their weighted errors.
///
/// Rows 0–2 of an error or column are metres; rows 3–5 are radians times the square root of the rotation
/// weight, so that their squares add up to the cost.
#[derive(Clone, Copy)]
pub(super) struct Points<const S: usize> {
    pub(super) q: [Lanes; S],
    columns: [[Lanes; 6]; S],
    error: [Lanes; 6],
    pub(super) cost: Lanes,
}

impl<const S: usize> Points<S> {
    pub(super) const EMPTY: Self =
        Self { q: [ZERO; S], columns: [[ZERO; 6]; S], error: [ZERO; 6], cost: ZERO };

    /// Takes the lanes of `other` where the mask is set.
    fn take(&mut self, mask: Lanes, other: &Self) {
        for i in 0..S {
            self.q[i] = mask.bitselect(other.q[i], self.q[i]);
            for r in 0..6 {
                self.columns[i][r] = mask.bitselect(other.columns[i][r], self.columns[i][r]);
            }
        }
        for r in 0..6 {
            self.error[r] = mask.bitselect(other.error[r], self.error[r]);
        }
        self.cost = mask.bitselect(other.cost, self.cost);
    }
}

/// What one search needs of chain, target and options, spread over the lanes.
pub(super) struct Kernel<const S: usize> {
    first: Frames,
    steps: [LaneStep; S],
    last_from_tip: Frames,
    target: Frames,
    task: Task,
    /// Square root of the rotation weight.
    lever: Lanes,
    lower: [Lanes; S],
    upper: [Lanes; S],
    /// Largest squared errors of a solution, weighted like a point's.
    position_tolerance: Lanes,
    rotation_tolerance: Lanes,
    /// Whether every joint is its own variable.
    plain: bool,
}

/// One joint's constants in every lane; see [`Step`].
#[derive(Clone, Copy)]
struct LaneStep {
    slide: Vector,
    tilt: [Lanes; 2],
    turn: Lanes,
    tilted: bool,
    slides: bool,
    variable: usize,
    scale: Lanes,
    offset: Lanes,
}

impl LaneStep {
    fn splat(step: &Step) -> Self {
        Self {
            slide: [step.slide.x, step.slide.y, step.slide.z].map(Lanes::splat),
            tilt: [Lanes::splat(step.tilt.0), Lanes::splat(step.tilt.1)],
            turn: Lanes::splat(step.turn_rad),
            tilted: step.tilted,
            slides: step.slides,
            variable: step.variable,
            scale: Lanes::splat(step.scale),
            offset: Lanes::splat(step.offset),
        }
    }
}

/// What a [`Kernel`] looks for.
pub(super) struct Goal<'a> {
    pub(super) base_from_target: &'a Frame,
    pub(super) task: Task,
    pub(super) rotation_weight_m2_per_rad2: f64,
    pub(super) position_tolerance_m: f64,
    pub(super) rotation_tolerance_rad: f64,
}

impl<const S: usize> Kernel<S> {
    /// `lower` and `upper` bound the variables; what they lack is unbounded.
    pub(super) fn new(chain: &Chain, goal: &Goal<'_>, lower: &[f64], upper: &[f64]) -> Self {
        let way = chain.way();
        let mut steps = [LaneStep::splat(&Step::NONE); S];
        for (to, from) in steps.iter_mut().zip(way.steps()) {
            *to = LaneStep::splat(from);
        }
        let bound = |ends: &[f64], i: usize, other: f64| Lanes::splat(ends.get(i).copied().unwrap_or(other));
        // An error is twice the sine of half the angle; see `evaluate`.
        let chord = 2.0 * libm::sin(0.5 * goal.rotation_tolerance_rad.clamp(0.0, std::f64::consts::PI));
        let lever = goal.rotation_weight_m2_per_rad2.max(0.0).sqrt();
        // A little stricter than asked, so that the answer's own error, computed otherwise, passes.
        let square = |tolerance: f64| Lanes::splat(tolerance * tolerance * (1.0 - 1e-9));
        Self {
            first: Frames::splat(&way.first),
            steps,
            last_from_tip: Frames::splat(&way.last_from_tip),
            target: Frames::splat(goal.base_from_target),
            task: goal.task,
            lever: Lanes::splat(lever),
            lower: std::array::from_fn(|i| bound(lower, i, f64::NEG_INFINITY)),
            upper: std::array::from_fn(|i| bound(upper, i, f64::INFINITY)),
            position_tolerance: square(goal.position_tolerance_m),
            rotation_tolerance: square(lever * chord),
            plain: way.plain,
        }
    }

    /// Fills in errors and Jacobians at `points.q`.
    ///
    /// The rotation error is the axis times twice the sine of half the angle: the angle itself where it is
    /// small, growing all the way to half a turn, and cheaper than a logarithm.
    #[inline(always)]
    pub(super) fn evaluate(&self, points: &mut Points<S>) {
        let mut frame = self.first;
        for i in 0..S {
            let step = &self.steps[i];
            let position =
                if self.plain { points.q[i] } else { points.q[step.variable] * step.scale + step.offset };
            if i > 0 {
                frame = frame.moved(&step.slide);
                if step.tilted {
                    frame = frame.tilted_about_x(step.tilt[0], step.tilt[1]);
                }
            }
            // For the moment, where the joint is and how it points.
            let ([a, b, c], [d, e, f]) = (frame.origin, frame.axes[2]);
            points.columns[i] = [a, b, c, d, e, f];
            let turn = if step.slides {
                frame = frame.moved_along_z(position);
                step.turn
            } else {
                position + step.turn
            };
            let (sine, cosine) = sin_cos4(turn);
            frame = frame.turned_about_z(sine, cosine);
        }
        let tip = frame.then(&self.last_from_tip);
        let position = sub(&self.target.origin, &tip.origin);
        let (rotation, falls_by) = self.rotation_error(&tip);
        let lever = self.lever * falls_by;
        for i in 0..S {
            let [a, b, c, d, e, f] = points.columns[i];
            let axis = [d, e, f];
            let (linear, angular) = if self.steps[i].slides {
                (axis, [ZERO; 3])
            } else {
                (cross(&axis, &sub(&tip.origin, &[a, b, c])), axis)
            };
            let angular = match self.task {
                Task::Pose => angular,
                Task::PositionAndAxis => sub(&angular, &scaled(&tip.axes[2], dot(&angular, &tip.axes[2]))),
                Task::Position => [ZERO; 3],
            };
            let ([a, b, c], [d, e, f]) = (linear, scaled(&angular, lever));
            points.columns[i] = [a, b, c, d, e, f];
        }
        if !self.plain {
            self.gather(&mut points.columns);
        }
        points.cost = dot(&position, &position) + dot(&rotation, &rotation);
        let ([a, b, c], [d, e, f]) = (position, rotation);
        points.error = [a, b, c, d, e, f];
    }

    /// Turns columns per joint into columns per variable.
    fn gather(&self, columns: &mut [[Lanes; 6]; S]) {
        let mut sums = [[ZERO; 6]; S];
        for (step, column) in self.steps.iter().zip(columns.iter()) {
            for (sum, part) in sums[step.variable].iter_mut().zip(column) {
                *sum += *part * step.scale;
            }
        }
        *columns = sums;
    }

    /// The weighted rotation error, and how much of a turn about its axis it falls by: the cosine of half the
    /// angle.
    #[inline(always)]
    fn rotation_error(&self, tip: &Frames) -> (Vector, Lanes) {
        let (half, one) = (Lanes::splat(0.5), Lanes::splat(1.0));
        let ([x, y, z], target) = (&tip.axes, &self.target.axes);
        let (skew, cos_squared) = match self.task {
            Task::Pose => {
                let skew = add(&add(&cross(x, &target[0]), &cross(y, &target[1])), &cross(z, &target[2]));
                let trace = dot(x, &target[0]) + dot(y, &target[1]) + dot(z, &target[2]);
                (scaled(&skew, half), (trace + one) * Lanes::splat(0.25))
            }
            Task::PositionAndAxis => (cross(z, &target[2]), (dot(z, &target[2]) + one) * half),
            Task::Position => return ([ZERO; 3], ZERO),
        };
        let cos = cos_squared.fast_max(Lanes::splat(HALF_TURN)).sqrt();
        (scaled(&skew, self.lever / cos), cos)
    }

    /// The mask of the lanes whose errors are within the tolerances.
    #[inline(always)]
    pub(super) fn reached(&self, points: &Points<S>) -> Lanes {
        let [a, b, c, d, e, f] = points.error;
        (a * a + b * b + c * c).simd_le(self.position_tolerance)
            & (d * d + e * e + f * f).simd_le(self.rotation_tolerance)
    }

    /// Damping of a fresh attempt.
    pub(super) fn damping() -> Lanes {
        Lanes::splat(DAMPING)
    }

    /// One damped step in every lane, from `points` to `next`; a lane that would not get nearer stays where it
    /// is and is damped more the next time.
    ///
    /// Joints at a bound that the gradient pushes outwards are held.
    #[inline(never)]
    #[expect(clippy::needless_range_loop, reason = "several arrays over the same joints")]
    pub(super) fn step(&self, points: &Points<S>, next: &mut Points<S>, damping: &mut Lanes) {
        let mut columns = points.columns;
        let mut x = [ZERO; S];
        for i in 0..S {
            let c = &mut columns[i];
            let e = &points.error;
            let g = (c[0] * e[0] + c[1] * e[1] + c[2] * e[2]) + (c[3] * e[3] + c[4] * e[4] + c[5] * e[5]);
            x[i] = g;
            let held = (g.simd_lt(ZERO) & points.q[i].simd_le(self.lower[i]))
                | (g.simd_gt(ZERO) & points.q[i].simd_ge(self.upper[i]));
            if held.any() {
                x[i] = held.bitselect(ZERO, g);
                for part in c {
                    *part = held.bitselect(ZERO, *part);
                }
            }
        }
        let shift = *damping * points.cost + Lanes::splat(FLOOR);
        let mut h = [[ZERO; S]; S];
        for i in 0..S {
            for k in 0..=i {
                let (a, b) = (&columns[i], &columns[k]);
                h[i][k] =
                    (a[0] * b[0] + a[1] * b[1] + a[2] * b[2]) + (a[3] * b[3] + a[4] * b[4] + a[5] * b[5]);
            }
            h[i][i] += shift;
        }
        solve_system(&mut h, &mut x);
        for i in 0..S {
            next.q[i] = (points.q[i] + x[i]).fast_max(self.lower[i]).fast_min(self.upper[i]);
        }
        self.evaluate(next);
        let nearer = next.cost.simd_lt(points.cost);
        *damping = nearer.bitselect(Lanes::splat(DAMPING), *damping * Lanes::splat(MORE_DAMPING));
        if !nearer.all() {
            next.take(!nearer, points);
        }
    }
}

/// Replaces `x` by `h⁻¹ x`, by way of `L D Lᵀ` for positive definite `h`, of which the lower triangle is read.
#[inline(always)]
#[expect(clippy::needless_range_loop, reason = "triangular loops read best in index notation")]
fn solve_system<const S: usize>(h: &mut [[Lanes; S]; S], x: &mut [Lanes; S]) {
    for j in 0..S {
        let mut scaled = [Lanes::splat(0.0); S];
        for k in 0..j {
            scaled[k] = h[j][k] * h[k][k];
            h[j][j] -= h[j][k] * scaled[k];
        }
        let inverse = Lanes::splat(1.0) / h[j][j];
        for i in j + 1..S {
            for k in 0..j {
                h[i][j] -= h[i][k] * scaled[k];
            }
            h[i][j] *= inverse;
        }
    }
    for i in 0..S {
        for k in 0..i {
            x[i] -= h[i][k] * x[k];
        }
    }
    for i in 0..S {
        x[i] /= h[i][i];
    }
    for i in (0..S).rev() {
        for k in i + 1..S {
            x[i] -= h[k][i] * x[k];
        }
    }
}
