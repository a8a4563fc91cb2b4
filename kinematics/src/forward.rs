//! The inner loops of forward kinematics, of a size known when they are compiled.
//!
//! Every moving joint is given with its axis turned onto z. The rotation between two joints is then split into
//! a turn about z, a tilt about x and another turn about z (Euler angles z-x-z); the turns are folded into the
//! joints' own. That leaves, from joint to joint, a slide to the next origin, a tilt and a turn: little more
//! than half the arithmetic of a general transform, and unlike Denavit–Hartenberg parameters it is as accurate
//! for axes that are almost parallel.

use nalgebra::{Matrix3, Vector3, Vector6};
use wide::f64x4;

use crate::frame::Frame;
use crate::joints::MAX_DOF;
use crate::sincos::sin_cos;

/// A tilt by less than this is none, rad.
const NO_TILT: f64 = 1e-15;

/// One moving joint on the way from base to tip.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stage {
    /// Constant transform before the joint; its z axis is the joint's axis.
    pub(crate) before: Frame,
    /// Whether the joint slides along its axis instead of turning about it.
    pub(crate) slides: bool,
    /// Index of the chain's variable that moves it. Joints that mimic one another share a variable.
    pub(crate) variable: usize,
    /// The joint's position is `scale * variable + offset`.
    pub(crate) scale: f64,
    pub(crate) offset: f64,
}

/// A [`Stage`] in the form that is quick to compute with.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Step {
    /// From the last joint's origin to this one's, along the axes of the last turned frame, m.
    pub(crate) slide: Vector3<f64>,
    /// Sine and cosine of the tilt about x after that.
    pub(crate) tilt: (f64, f64),
    pub(crate) tilted: bool,
    pub(crate) slides: bool,
    pub(crate) variable: usize,
    pub(crate) scale: f64,
    pub(crate) offset: f64,
    /// Constant turn about z on top of the joint's own, rad.
    pub(crate) turn_rad: f64,
    /// Sine and cosine of the part of it that belongs to the next joint.
    ahead: (f64, f64),
}

impl Step {
    pub(crate) const NONE: Self = Self {
        slide: Vector3::new(0.0, 0.0, 0.0),
        tilt: (0.0, 1.0),
        tilted: false,
        slides: false,
        variable: 0,
        scale: 1.0,
        offset: 0.0,
        turn_rad: 0.0,
        ahead: (0.0, 1.0),
    };

    /// Position of the joint, rad or m, for its variable.
    #[inline(always)]
    fn position(&self, q: &[f64]) -> f64 {
        self.scale * q.get(self.variable).copied().unwrap_or(0.0) + self.offset
    }
}

/// The way of a chain from base to tip.
#[derive(Clone, Debug)]
pub(crate) struct Way {
    /// From the base to the first joint, tilted, before its turn.
    pub(crate) first: Frame,
    steps: [Step; MAX_DOF],
    count: usize,
    pub(crate) last_from_tip: Frame,
    /// Whether every joint is its own variable.
    pub(crate) plain: bool,
}

impl Way {
    /// The way through the first [`MAX_DOF`] of the stages.
    pub(crate) fn new(stages: &[Stage], last_from_tip: &Frame) -> Self {
        let mut way = Self {
            first: Frame::IDENTITY,
            steps: [Step::NONE; MAX_DOF],
            count: stages.len().min(MAX_DOF),
            last_from_tip: *last_from_tip,
            plain: stages
                .iter()
                .enumerate()
                .all(|(i, stage)| stage.variable == i && stage.scale == 1.0 && stage.offset == 0.0),
        };
        for (index, stage) in stages.iter().enumerate().take(MAX_DOF) {
            let (ahead_rad, tilt_rad, turn_rad) = turn_tilt_turn(&stage.before.rotation);
            let turned = Frame::IDENTITY.turned_about_z(libm::sincos(ahead_rad));
            let tilt = libm::sincos(tilt_rad);
            match index.checked_sub(1) {
                Some(last) => {
                    way.steps[last].turn_rad += ahead_rad;
                    way.steps[last].ahead = libm::sincos(ahead_rad);
                }
                None => {
                    way.first =
                        Frame { translation: stage.before.translation, ..turned.tilted_about_x(tilt) };
                }
            }
            way.steps[index] = Step {
                slide: turned.rotation.transpose() * stage.before.translation,
                tilt,
                tilted: tilt_rad > NO_TILT,
                slides: stage.slides,
                variable: stage.variable,
                scale: stage.scale,
                offset: stage.offset,
                turn_rad,
                ahead: (0.0, 1.0),
            };
        }
        way
    }

    /// The steps, one per moving joint, base first.
    #[inline(always)]
    pub(crate) fn steps(&self) -> &[Step] {
        self.steps.get(..self.count).unwrap_or(&self.steps)
    }

    /// Walks the way. Calls `visit` with each step's index, and the frames before and after its motion.
    #[inline(always)]
    fn walk<const S: usize>(&self, q: &[f64], mut visit: impl FnMut(usize, &Columns, &Columns)) -> Columns {
        let mut frame = Columns::of(&self.first);
        for (index, step) in self.first_steps::<S>().iter().enumerate() {
            let turn = sin_cos(if step.slides { step.turn_rad } else { step.position(q) + step.turn_rad });
            if index > 0 {
                frame = frame.moved(&step.slide);
                if step.tilted {
                    frame = frame.tilted_about_x(step.tilt);
                }
            }
            let still = frame;
            if step.slides {
                frame = frame.moved(&Vector3::new(0.0, 0.0, step.position(q)));
            }
            frame = frame.turned_about_z(turn);
            visit(index, &still, &frame);
        }
        frame
    }

    /// Base from tip.
    pub(crate) fn tip<const S: usize>(&self, q: &[f64]) -> Frame {
        self.walk::<S>(q, |_, _, _| {}).then(&self.last_from_tip).frame()
    }

    /// Base from tip, and the columns of its Jacobian.
    pub(crate) fn tip_and_jacobian<const S: usize>(
        &self,
        q: &[f64],
        columns: &mut [Vector6<f64>; MAX_DOF],
    ) -> Frame {
        let mut axes = [(f64x4::ZERO, f64x4::ZERO); S];
        let last = self.walk::<S>(q, |index, still, _| axes[index] = (still.z, still.origin));
        let tip = last.then(&self.last_from_tip);
        let steps = self.first_steps::<S>();
        let motion = |index: usize| {
            let (axis, origin) = axes[index];
            let ([x, y, z, _], [a, b, c, _]) = (axis.to_array(), (tip.origin - origin).to_array());
            if steps[index].slides {
                Vector6::new(x, y, z, 0.0, 0.0, 0.0)
            } else {
                Vector6::new(y * c - z * b, z * a - x * c, x * b - y * a, x, y, z)
            }
        };
        if self.plain {
            for (index, column) in columns.iter_mut().enumerate().take(S) {
                *column = motion(index);
            }
        } else {
            *columns = [Vector6::zeros(); MAX_DOF];
            for (index, step) in steps.iter().enumerate() {
                columns[step.variable] += motion(index) * step.scale;
            }
        }
        tip.frame()
    }

    /// Base from the frame after each stage's motion; the identity beyond the last.
    pub(crate) fn after_stages<const S: usize>(&self, q: &[f64]) -> [Frame; MAX_DOF] {
        let mut after = [Frame::IDENTITY; MAX_DOF];
        self.walk::<S>(q, |index, _, frame| {
            // Without what belongs to the next joint.
            let (sine, cosine) = self.steps[index].ahead;
            after[index] = frame.turned_about_z((-sine, cosine)).frame();
        });
        after
    }

    /// The steps, as many as were counted.
    #[inline(always)]
    fn first_steps<const S: usize>(&self) -> &[Step; S] {
        self.steps.first_chunk().unwrap_or(&[Step::NONE; S])
    }
}

/// A frame as columns of four numbers, of which the last is idle: they fill vector registers.
#[derive(Clone, Copy)]
struct Columns {
    x: f64x4,
    y: f64x4,
    z: f64x4,
    origin: f64x4,
}

impl Columns {
    #[inline(always)]
    fn of(frame: &Frame) -> Self {
        let r = &frame.rotation;
        let column = |k: usize| f64x4::new([r[(0, k)], r[(1, k)], r[(2, k)], 0.0]);
        let [a, b, c] = frame.translation.into();
        Self { x: column(0), y: column(1), z: column(2), origin: f64x4::new([a, b, c, 0.0]) }
    }

    #[inline(always)]
    fn frame(&self) -> Frame {
        let vector = |column: f64x4| {
            let [x, y, z, _] = column.to_array();
            Vector3::new(x, y, z)
        };
        Frame {
            rotation: Matrix3::from_columns(&[vector(self.x), vector(self.y), vector(self.z)]),
            translation: vector(self.origin),
        }
    }

    /// The direction `v`, given along this frame's axes, along the base's.
    #[inline(always)]
    fn turn(&self, v: [f64; 3]) -> f64x4 {
        self.x * f64x4::splat(v[0]) + self.y * f64x4::splat(v[1]) + self.z * f64x4::splat(v[2])
    }

    #[inline(always)]
    fn moved(&self, by: &Vector3<f64>) -> Self {
        Self { origin: self.origin + self.turn([by.x, by.y, by.z]), ..*self }
    }

    #[inline(always)]
    fn turned_about_z(&self, (sine, cosine): (f64, f64)) -> Self {
        let (sine, cosine) = (f64x4::splat(sine), f64x4::splat(cosine));
        Self { x: self.x * cosine + self.y * sine, y: self.y * cosine - self.x * sine, ..*self }
    }

    #[inline(always)]
    fn tilted_about_x(&self, (sine, cosine): (f64, f64)) -> Self {
        let (sine, cosine) = (f64x4::splat(sine), f64x4::splat(cosine));
        Self { y: self.y * cosine + self.z * sine, z: self.z * cosine - self.y * sine, ..*self }
    }

    #[inline(always)]
    fn then(&self, next: &Frame) -> Self {
        let r = &next.rotation;
        let column = |k: usize| self.turn([r[(0, k)], r[(1, k)], r[(2, k)]]);
        Self { x: column(0), y: column(1), z: column(2), ..self.moved(&next.translation) }
    }
}

/// Calls a method of a chain's [`Way`] with its number of steps as a constant.
macro_rules! with_step_count {
    ($way:expr, $($function:ident)::+ ( $($argument:expr),* )) => {
        match $way.steps().len() {
            1 => $($function)::+::<1>($($argument),*),
            2 => $($function)::+::<2>($($argument),*),
            3 => $($function)::+::<3>($($argument),*),
            4 => $($function)::+::<4>($($argument),*),
            5 => $($function)::+::<5>($($argument),*),
            6 => $($function)::+::<6>($($argument),*),
            7 => $($function)::+::<7>($($argument),*),
            _ => $($function)::+::<8>($($argument),*),
        }
    };
}
pub(crate) use with_step_count;

/// The angles z-x-z of a rotation, rad: `R = Rz(first) Rx(tilt) Rz(second)`, the tilt in `0..=π`.
fn turn_tilt_turn(r: &Matrix3<f64>) -> (f64, f64, f64) {
    let sine = (r[(0, 2)] * r[(0, 2)] + r[(1, 2)] * r[(1, 2)]).sqrt();
    let tilt_rad = libm::atan2(sine, r[(2, 2)]);
    // Without a tilt the two turns are one.
    let first_rad = if tilt_rad > NO_TILT && sine > 0.0 { libm::atan2(r[(0, 2)], -r[(1, 2)]) } else { 0.0 };
    let frame = Frame::IDENTITY.turned_about_z(libm::sincos(first_rad));
    let rest = frame.tilted_about_x(libm::sincos(tilt_rad)).rotation.transpose() * r;
    (first_rad, tilt_rad, libm::atan2(rest[(1, 0)], rest[(0, 0)]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use nalgebra::Rotation3;
    use std::f64::consts::{FRAC_PI_2, PI};

    #[test]
    fn any_rotation_is_a_turn_a_tilt_and_a_turn() {
        let angles = [0.0, 1e-12, -1e-6, 0.4, FRAC_PI_2 - 1e-6, 1.6, PI - 1e-7, -PI];
        for roll in angles {
            for pitch in angles {
                for yaw in angles {
                    let r = Rotation3::from_euler_angles(roll, pitch, yaw).into_inner();
                    let (first, tilt, second) = turn_tilt_turn(&r);
                    let again = Frame::IDENTITY
                        .turned_about_z(first.sin_cos())
                        .tilted_about_x(tilt.sin_cos())
                        .turned_about_z(second.sin_cos());
                    assert!((again.rotation - r).norm() < 2e-15, "{roll} {pitch} {yaw}");
                }
            }
        }
    }
}
