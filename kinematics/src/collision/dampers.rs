//! Which pairs could meet in this tick, and the rows that keep them apart.

use nalgebra::Vector3;

use super::Clearance;
use super::shape::Contact;
use crate::chain::{JointFrames, Move};
use crate::joints::MAX_DOF;
use crate::linalg::Column;
use crate::qp::{MAX_ROWS, Row};

/// Fastest at which shapes that are too close are pushed apart, m/s.
const PUSH_OUT_M_S: f64 = 0.1;
/// How much less than possible a row asks for, so that rounding does not make it impossible, m/s.
const ROUNDING_M_S: f64 = 1e-9;

/// The velocity-damper rows of one tick.
pub(crate) struct Dampers<'a> {
    gain_per_s: f64,
    pub(super) lowest: &'a Column,
    pub(super) highest: &'a Column,
    rows: [Row; MAX_ROWS],
    /// By how much the worst velocities of the box would violate each row, m/s.
    excess: [f64; MAX_ROWS],
    count: usize,
    pub(crate) clearance: Option<Clearance>,
}

impl<'a> Dampers<'a> {
    /// For the joint velocities of the box `lowest ≤ q̇ ≤ highest`.
    pub(crate) fn new(gain_per_s: f64, lowest: &'a Column, highest: &'a Column) -> Self {
        Self {
            gain_per_s,
            lowest,
            highest,
            rows: [Row::default(); MAX_ROWS],
            excess: [0.0; MAX_ROWS],
            count: 0,
            clearance: None,
        }
    }

    pub(crate) fn rows(&self) -> &[Row] {
        &self.rows[..self.count]
    }

    /// Lowers what each row asks for by `share` of the way to what the velocities `at` give, where they give less.
    pub(crate) fn concede(&mut self, share: f64, at: &Column, n: usize) {
        for row in &mut self.rows[..self.count] {
            let given = row.a.iter().zip(at).take(n).fold(0.0, |sum, (a, x)| sum + a * x);
            row.b -= share * (row.b - given + ROUNDING_M_S).max(0.0);
        }
    }

    /// Whether two things, at least `gap` above their margin and nearing each other by at most `speed`, can
    /// break their row.
    pub(super) fn matters(&self, gap: f64, speed: f64) -> bool {
        self.gain_per_s * gap < speed
    }

    /// Takes in the pair of `contact`, moved against each other by the joints `joints`.
    pub(super) fn add(
        &mut self,
        contact: &Contact,
        clearance: Clearance,
        margin_m: f64,
        frames: &JointFrames,
        joints: std::ops::Range<usize>,
    ) {
        if self.clearance.is_none_or(|closest| clearance.distance_m < closest.distance_m) {
            self.clearance = Some(clearance);
        }
        let mut row = Row { a: [0.0; MAX_DOF], b: -self.gain_per_s * (contact.distance - margin_m) };
        let (mut least, mut most) = (0.0, 0.0);
        for joint in joints {
            let (axis, origin) = frames.axis(joint);
            let motion = &frames.moves[joint];
            let velocity = if motion.slides { axis } else { axis.cross(&(contact.point_b - origin)) };
            row.a[motion.variable] += motion.scale * contact.normal.dot(&velocity);
        }
        for i in 0..MAX_DOF {
            let (low, high) = (row.a[i] * self.lowest[i], row.a[i] * self.highest[i]);
            least += low.min(high);
            most += low.max(high);
        }
        row.b = row.b.min(PUSH_OUT_M_S).min(most - ROUNDING_M_S);
        let excess = row.b - least;
        if excess.is_nan() || excess <= 0.0 {
            return;
        }
        let place = if self.count < MAX_ROWS {
            self.count += 1;
            self.count - 1
        } else {
            let (mildest, _) = self
                .excess
                .iter()
                .enumerate()
                .fold((0, f64::INFINITY), |least, (i, e)| if *e < least.1 { (i, *e) } else { least });
            if self.excess[mildest] >= excess {
                return;
            }
            mildest
        };
        self.rows[place] = row;
        self.excess[place] = excess;
    }
}

/// How fast things on the chain can move in this tick.
pub(super) struct Motion<'a> {
    frames: &'a JointFrames,
    /// Velocity of the base's origin as if fixed to the frame after `k` joints, and its turning, in the middle
    /// of the box.
    twists: [(Vector3<f64>, Vector3<f64>); MAX_DOF + 1],
    /// Half the width of the window of each joint's speed.
    half: [f64; MAX_DOF],
}

impl<'a> Motion<'a> {
    pub(super) fn new(frames: &'a JointFrames, dampers: &Dampers<'_>) -> Self {
        let mut motion = Self {
            frames,
            twists: [(Vector3::zeros(), Vector3::zeros()); MAX_DOF + 1],
            half: [0.0; MAX_DOF],
        };
        for joint in 0..frames.count {
            let Move { slides, variable, scale } = frames.moves[joint];
            let (low, high) = (dampers.lowest[variable], dampers.highest[variable]);
            let middle = 0.5 * (low + high) * scale;
            motion.half[joint] = 0.5 * (high - low) * scale.abs();
            let (axis, origin) = frames.axis(joint);
            let (linear, angular) = motion.twists[joint];
            motion.twists[joint + 1] = if slides {
                (linear + axis * middle, angular)
            } else {
                (linear + origin.cross(&axis) * middle, angular + axis * middle)
            };
        }
        motion
    }

    /// Highest speed in this tick of any point within `radius` of `centre` on the link after `deep` joints, as
    /// seen from the link after `shallow` joints, m/s.
    pub(super) fn speed(&self, shallow: usize, deep: usize, centre: &Vector3<f64>, radius: f64) -> f64 {
        let linear = self.twists[deep].0 - self.twists[shallow].0;
        let angular = self.twists[deep].1 - self.twists[shallow].1;
        let mut speed = (linear + angular.cross(centre)).norm() + angular.norm() * radius;
        for joint in shallow..deep {
            let origin = self.frames.after[joint + 1].translation;
            let lever = if self.frames.moves[joint].slides { 1.0 } else { (centre - origin).norm() + radius };
            speed += self.half[joint] * lever;
        }
        speed
    }
}
