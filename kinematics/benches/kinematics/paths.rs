//! Cartesian paths through a near-singularity, for the trackers.
//!
//! Two per robot. The *loop* is the tool's path while all joints swing around a nearly singular configuration;
//! so it can be followed within every limit, by construction. The *line* leads straight to that
//! configuration's pose and on, along the direction in which the arm can hardly move there, and back; it can
//! not be followed all the way.

use std::f64::consts::TAU;

use nalgebra::{Isometry3, Translation3};

use crate::Failure;
use crate::common::Random;
use crate::judge::Subject;
use crate::measure::quantile;

/// Acceleration limit of every joint, rad/s².
pub(crate) const ACCELERATION_RAD_S2: f64 = 10.0;
/// Share of the velocity and acceleration limits that the loop needs at most.
const SHARE: f64 = 0.6;
/// How far each joint swings on the loop at most, rad.
const SWING_RAD: f64 = 0.5;
/// Smallest singular value of the task's Jacobian in the middle of the loop, as a share of the arm's usual one.
const NEARLY_SINGULAR: std::ops::Range<f64> = 0.02..0.1;
/// The same at the loop's start, at least.
const FAR_FROM_SINGULAR: f64 = 0.5;
/// How far the line goes on beyond the singular pose, m.
const BEYOND_M: f64 = 0.05;

/// A nearly singular configuration, and a swing around it.
pub(crate) struct Swing {
    middle: Vec<f64>,
    amplitude: Vec<f64>,
    period_s: u32,
    /// Smallest singular value in the middle and at the start, m/rad, where a radian of turn counts as 0.3 m;
    /// and the usual one: the median of random configurations.
    pub(crate) weakest: [f64; 3],
}

/// A closed path at a tick rate: `poses[k]` is wanted at the end of tick `k`, and the last one is the first
/// configuration's.
pub(crate) struct Path {
    pub(crate) name: String,
    pub(crate) feasible: bool,
    pub(crate) rate_hz: u32,
    pub(crate) start: Vec<f64>,
    pub(crate) poses: Vec<Isometry3<f64>>,
}

impl Swing {
    /// The first random configuration that is nearly singular for the robot's task, away from the joint
    /// limits, with a random swing that starts well away from the singularity.
    pub(crate) fn find(subject: &Subject) -> Result<Self, Failure> {
        let mut random = Random(3);
        let limits = subject.chain.limits();
        let weakest = |q: &[f64]| subject.weakest(subject.task(), q).0;
        let mut usual: Vec<f64> = (0..501).map(|_| weakest(&subject.configuration(&mut random))).collect();
        let usual = quantile(&mut usual, 0.5);
        for _ in 0..200_000 {
            let middle = subject.configuration(&mut random);
            let amplitude: Vec<f64> = middle.iter().map(|_| random.between(-SWING_RAD, SWING_RAD)).collect();
            let inside = middle.iter().zip(&amplitude).zip(limits).all(|((q, swing), joint)| {
                let margin = swing.abs() + 0.05;
                *q >= joint.lower_rad + margin && *q <= joint.upper_rad - margin
            });
            if !inside || !NEARLY_SINGULAR.contains(&(weakest(&middle) / usual)) {
                continue;
            }
            let mut swing = Self { middle, amplitude, period_s: 1, weakest: [0.0; 3] };
            swing.weakest = [weakest(&swing.middle), weakest(&swing.at(0.0)), usual];
            if swing.weakest[1] < FAR_FROM_SINGULAR * usual {
                continue;
            }
            // Whole seconds, so that both tick rates divide the period.
            let speed = swing.amplitude.iter().zip(limits).enumerate().map(|(i, (swing, joint))| {
                let turns = turns(i);
                let by_speed = SHARE * joint.velocity_rad_s / (swing.abs() * turns);
                let by_acceleration = (SHARE * ACCELERATION_RAD_S2 / (swing.abs() * turns * turns)).sqrt();
                by_speed.min(by_acceleration)
            });
            swing.period_s = (TAU / speed.fold(f64::INFINITY, f64::min)).ceil() as u32;
            return Ok(swing);
        }
        Err(format!("no nearly singular configuration of {} was found", subject.robot.name).into())
    }

    /// Joint positions at a phase of the swing: at rest at 0, through the middle at π/2 and 3π/2.
    fn at(&self, phase: f64) -> Vec<f64> {
        let joints = self.middle.iter().zip(&self.amplitude).enumerate();
        joints.map(|(i, (middle, swing))| middle + swing * (turns(i) * phase).cos()).collect()
    }

    pub(crate) fn loop_path(&self, subject: &Subject, rate_hz: u32) -> Path {
        let ticks = self.period_s * rate_hz;
        let poses = (1..=ticks).map(|k| (subject.forward)(&self.at(TAU * f64::from(k) / f64::from(ticks))));
        Path {
            name: format!("loop {rate_hz} Hz"),
            feasible: true,
            rate_hz,
            start: self.at(0.0),
            poses: poses.collect(),
        }
    }

    /// Two seconds to the singular pose, half a second beyond it, the same back, and a second of rest.
    pub(crate) fn line_path(&self, subject: &Subject, rate_hz: u32) -> Path {
        let start = self.at(0.0);
        let (from, singular) = ((subject.forward)(&start), (subject.forward)(&self.middle));
        let (_, weak) = subject.weakest(subject.task(), &self.middle);
        let beyond = Isometry3::from_parts(
            Translation3::from(singular.translation.vector + weak * BEYOND_M),
            singular.rotation,
        );
        let pose = |time_s: f64| {
            let out_s = if time_s < 2.5 { time_s } else { (5.0 - time_s).max(0.0) };
            if out_s < 2.0 {
                from.lerp_slerp(&singular, smooth(out_s / 2.0))
            } else {
                singular.lerp_slerp(&beyond, smooth((out_s - 2.0) / 0.5))
            }
        };
        let poses = (1..=6 * rate_hz).map(|k| pose(f64::from(k) / f64::from(rate_hz)));
        Path { name: format!("line {rate_hz} Hz"), feasible: false, rate_hz, start, poses: poses.collect() }
    }
}

/// Turns per period: odd, so that all joints pass the middle together.
fn turns(joint: usize) -> f64 {
    if joint.is_multiple_of(2) { 1.0 } else { 3.0 }
}

/// From 0 to 1 with rest at both ends.
fn smooth(share: f64) -> f64 {
    share * share * share * (10.0 - 15.0 * share + 6.0 * share * share)
}
