//! Robots for the tests, and a forward kinematics that shares no code with the crate.
#![allow(dead_code, reason = "each test file uses its own part")]

pub(crate) mod judge;

use nalgebra::{Isometry3, Translation3, Unit, UnitQuaternion, Vector3};
use reflexarc_kinematics::track::{TrackStep, TrackerConfig};
use reflexarc_kinematics::{ARM7_URDF, Chain};
use urdf_rs::JointType;

/// A robot of the tests: name, URDF text, base link and tip link.
#[derive(Clone, Copy)]
pub(crate) struct Robot {
    pub(crate) name: &'static str,
    pub(crate) urdf: &'static str,
    pub(crate) base: &'static str,
    pub(crate) tip: &'static str,
}

pub(crate) const ARM7: Robot = Robot { name: "arm7", urdf: ARM7_URDF, base: "base", tip: "tool" };
pub(crate) const PANDA: Robot = Robot {
    name: "panda",
    urdf: include_str!("../data/panda.urdf"),
    base: "panda_link0",
    tip: "panda_hand_tcp",
};
pub(crate) const UR5: Robot =
    Robot { name: "ur5", urdf: include_str!("../data/ur5_robot.urdf"), base: "base_link", tip: "tool0" };
pub(crate) const SO101: Robot = Robot {
    name: "so101",
    urdf: include_str!("../data/so101.urdf"),
    base: "base_link",
    tip: "gripper_frame_link",
};

impl std::fmt::Debug for Robot {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name)
    }
}

impl Robot {
    pub(crate) fn chain(&self) -> Chain {
        Chain::from_urdf(self.urdf, self.base, self.tip).unwrap()
    }

    /// Forward kinematics straight from the file, one joint after the other.
    pub(crate) fn independent_forward(&self) -> impl Fn(&[f64]) -> Isometry3<f64> + use<> {
        let robot = urdf_rs::read_from_string(self.urdf).unwrap();
        let mut path = Vec::new();
        let mut link = self.tip.to_owned();
        while link != self.base {
            let joint = robot.joints.iter().find(|joint| joint.child.link == link).unwrap().clone();
            link = joint.parent.link.clone();
            path.push(joint);
        }
        path.reverse();
        move |q| {
            let mut pose = Isometry3::identity();
            let mut positions = q.iter();
            for joint in &path {
                let [r, p, y] = *joint.origin.rpy;
                let translation = Translation3::from(Vector3::from(*joint.origin.xyz));
                pose *= Isometry3::from_parts(translation, UnitQuaternion::from_euler_angles(r, p, y));
                let axis = Unit::new_normalize(Vector3::from(*joint.axis.xyz));
                match joint.joint_type {
                    JointType::Fixed => {}
                    JointType::Prismatic => {
                        pose *= Translation3::from(axis.into_inner() * *positions.next().unwrap());
                    }
                    _ => pose *= UnitQuaternion::from_axis_angle(&axis, *positions.next().unwrap()),
                }
            }
            pose
        }
    }
}

/// SplitMix64: seeded numbers without a dependency.
pub(crate) struct Random(pub u64);

impl Random {
    pub(crate) fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    pub(crate) fn between(&mut self, low: f64, high: f64) -> f64 {
        low + (high - low) * (self.bits() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// A configuration uniform in the limits (±π where there are none).
    pub(crate) fn configuration(&mut self, chain: &Chain) -> Vec<f64> {
        chain
            .limits()
            .iter()
            .map(|limits| {
                let pi = std::f64::consts::PI;
                let bounded = limits.lower_rad.is_finite();
                if bounded { self.between(limits.lower_rad, limits.upper_rad) } else { self.between(-pi, pi) }
            })
            .collect()
    }
}

/// Angle between two rotations, rad, exact near zero.
pub(crate) fn angle_between(a: &Isometry3<f64>, b: &Isometry3<f64>) -> f64 {
    let between = a.rotation.rotation_to(&b.rotation);
    2.0 * between.imag().norm().atan2(between.scalar().abs())
}

const ROUNDING: f64 = 1e-9;

/// Whether one tick kept the limits of position, velocity and acceleration, from a start within them.
pub(crate) fn keeps_limits(
    chain: &Chain,
    config: &TrackerConfig,
    q: &[f64],
    before: &[f64],
    step: &TrackStep,
) -> bool {
    chain.limits().iter().enumerate().all(|(i, limits)| {
        let speed = (step.q_next[i] - q[i]) / config.dt_s;
        let change = (step.qd[i] - before[i]).abs();
        limits.contains(step.q_next[i], 0.0)
            && (speed - step.qd[i]).abs() < 1e-6
            && speed.abs() <= limits.velocity_rad_s * config.velocity_scale + 1e-7
            && change <= config.max_acceleration_rad_s2 * config.dt_s + ROUNDING
    })
}
