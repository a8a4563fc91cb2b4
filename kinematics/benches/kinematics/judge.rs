//! The robots, and the judge that every solver stands before: a forward kinematics straight from the URDF
//! file that shares no code with the crate nor with any peer.

use nalgebra::{DMatrix, Isometry3, Vector3};
use reflexarc_kinematics::{Chain, Task};

use crate::common::{PANDA, Random, Robot, SO101, UR5, angle_between};

/// What counts as solved, m and rad.
pub(crate) const POSITION_M: f64 = 1e-5;
pub(crate) const ROTATION_RAD: f64 = 1e-4;
/// Slack on position limits, rad: some peers round.
pub(crate) const LIMIT_SLACK_RAD: f64 = 1e-6;
/// What a radian weighs against a metre where the two are mixed, m/rad.
const LEVER_M: f64 = 0.3;

/// Pose of the tip in the base frame at joint positions.
type Forward = Box<dyn Fn(&[f64]) -> Isometry3<f64>>;

/// A robot, its chain, and its judge.
pub(crate) struct Subject {
    pub(crate) robot: Robot,
    pub(crate) chain: Chain,
    pub(crate) forward: Forward,
}

impl Subject {
    pub(crate) fn all() -> Vec<Self> {
        [PANDA, UR5, SO101]
            .into_iter()
            .map(|robot| Self { robot, chain: robot.chain(), forward: Box::new(robot.independent_forward()) })
            .collect()
    }

    /// What the arm can be asked for at all poses: five joints leave the turn about the tool's axis open.
    pub(crate) fn task(&self) -> Task {
        if self.chain.dof() < 6 { Task::PositionAndAxis } else { Task::Pose }
    }

    /// Uniform in the limits.
    pub(crate) fn configuration(&self, random: &mut Random) -> Vec<f64> {
        random.configuration(&self.chain)
    }

    pub(crate) fn within_limits(&self, q: &[f64]) -> bool {
        q.len() == self.chain.dof()
            && q.iter().zip(self.chain.limits()).all(|(q, limits)| limits.contains(*q, LIMIT_SLACK_RAD))
    }

    /// Errors of `q` for `task`: m and rad.
    pub(crate) fn errors(&self, task: Task, q: &[f64], target: &Isometry3<f64>) -> (f64, f64) {
        if q.len() != self.chain.dof() {
            return (f64::INFINITY, f64::INFINITY);
        }
        let reached = (self.forward)(q);
        let position_m = (reached.translation.vector - target.translation.vector).norm();
        let rotation_rad = match task {
            Task::Pose => angle_between(&reached, target),
            Task::PositionAndAxis => {
                let (a, b) = (reached.rotation * Vector3::z(), target.rotation * Vector3::z());
                a.cross(&b).norm().atan2(a.dot(&b))
            }
            Task::Position => 0.0,
        };
        (position_m, rotation_rad)
    }

    /// Smallest singular value of the task's Jacobian by central differences, a radian counting as
    /// [`LEVER_M`], and the direction of the tool's origin that it belongs to.
    pub(crate) fn weakest(&self, task: Task, q: &[f64]) -> (f64, Vector3<f64>) {
        const H: f64 = 1e-6;
        let at = (self.forward)(q);
        let (x, y) = (at.rotation * Vector3::x(), at.rotation * Vector3::y());
        let rows = if task == Task::Pose { 6 } else { 5 };
        let mut jacobian = DMatrix::zeros(rows, q.len());
        for joint in 0..q.len() {
            let (mut up, mut down) = (q.to_vec(), q.to_vec());
            up[joint] += H;
            down[joint] -= H;
            let (up, down) = ((self.forward)(&up), (self.forward)(&down));
            let linear = (up.translation.vector - down.translation.vector) / (2.0 * H);
            let angular = (up.rotation * down.rotation.inverse()).scaled_axis() / (2.0 * H) * LEVER_M;
            let turns = if rows == 6 {
                vec![angular.x, angular.y, angular.z]
            } else {
                vec![angular.dot(&x), angular.dot(&y)]
            };
            for (row, value) in linear.iter().chain(&turns).enumerate() {
                jacobian[(row, joint)] = *value;
            }
        }
        let svd = jacobian.svd(true, false);
        let least = svd.singular_values.imin();
        let direction =
            svd.u.map_or_else(Vector3::x, |u| Vector3::new(u[(0, least)], u[(1, least)], u[(2, least)]));
        (svd.singular_values[least], direction.try_normalize(1e-9).unwrap_or_else(Vector3::x))
    }
}

/// Name of a task in the table, and in what the peers are told.
pub(crate) fn task_name(task: Task) -> &'static str {
    match task {
        Task::Pose => "pose",
        Task::PositionAndAxis => "axis",
        Task::Position => "position",
    }
}
