//! A serial chain: forward kinematics and the Jacobian, without allocation.

use nalgebra::{Isometry3, IsometryMatrix3, Vector3, Vector6};

use crate::forward::{Step, Way, with_step_count};
use crate::frame::Frame;
use crate::joints::{Joints, MAX_DOF};
use crate::route::{Route, Waypoint};
use crate::urdf::{Description, Tree, UrdfError};

/// The limits of one joint, from its URDF `<limit>` and `<safety_controller>`.
///
/// For a prismatic joint read m for rad. A continuous joint has infinite position limits unless it has soft ones;
/// where it has no `<limit>` element, or one with velocity 0, its velocity and effort limits are infinite too. So
/// are limits that a file of URDF 1.2 or later omits.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct JointLimits {
    /// Lowest position, rad (or m).
    pub lower_rad: f64,
    /// Highest position, rad (or m).
    pub upper_rad: f64,
    /// Highest speed, rad/s (or m/s), above 0.
    pub velocity_rad_s: f64,
    /// Highest effort, N m (or N).
    pub effort: f64,
}

impl JointLimits {
    /// `position` moved into `[lower_rad, upper_rad]`. NaN stays NaN.
    #[must_use]
    pub fn clamp(&self, position: f64) -> f64 {
        position.max(self.lower_rad).min(self.upper_rad)
    }

    /// Whether `position` lies in `[lower_rad, upper_rad]`, widened by `slack` on both sides.
    #[must_use]
    pub fn contains(&self, position: f64, slack: f64) -> bool {
        position >= self.lower_rad - slack && position <= self.upper_rad + slack
    }

    /// The middle of the range; where a side is open, the position nearest to 0.
    #[must_use]
    pub fn middle(&self) -> f64 {
        let middle = 0.5 * self.lower_rad + 0.5 * self.upper_rad;
        if middle.is_finite() { middle } else { self.clamp(0.0) }
    }
}

/// The 6×N world-aligned Jacobian of a chain's tip: rows 0–2 linear (m per joint unit), rows 3–5 angular
/// (rad per joint unit), both along the axes of the base, taken at the tip's origin.
#[derive(Clone, Copy, Debug, Default)]
pub struct Jacobian {
    columns: [Vector6<f64>; MAX_DOF],
    dof: usize,
}

impl Jacobian {
    /// Number of columns.
    #[must_use]
    pub fn dof(&self) -> usize {
        self.dof
    }

    /// The columns, one per joint.
    #[must_use]
    pub fn columns(&self) -> &[Vector6<f64>] {
        self.columns.get(..self.dof).unwrap_or(&self.columns)
    }

    /// Tip twist (m/s, rad/s) for joint velocities; missing velocities count as 0.
    #[must_use]
    pub fn twist(&self, joint_velocities: &[f64]) -> Vector6<f64> {
        let mut twist = Vector6::zeros();
        for (column, velocity) in self.columns().iter().zip(joint_velocities) {
            twist += column * *velocity;
        }
        twist
    }
}

/// A serial chain between two links of a robot, with at most [`MAX_DOF`] moving joints on the way.
#[derive(Clone, Debug)]
pub struct Chain {
    joint_names: Vec<String>,
    limits: Vec<JointLimits>,
    way: Way,
    reach_m: f64,
    links: Vec<Waypoint>,
}

impl Chain {
    /// Builds the chain from link `base` to link `tip` of a URDF text: any two links under one root.
    ///
    /// Joints on the way may be travelled from child to parent; their positions keep the meaning that they have
    /// in the file. Fixed joints are folded away. A mimic joint moves with the joint that it copies, which is an
    /// independent joint of the chain even where it lies beside the way. Joints elsewhere in the model need only
    /// name declared links.
    ///
    /// Position limits are those of `<limit>`, narrowed by the soft limits of `<safety_controller>` where the
    /// file gives any (0 and 0, the format's default, count as none), and for a joint that others copy by what
    /// the limits of those on the way leave.
    ///
    /// Work is linear in the length of the text, which may have 64 MiB and 2^20 elements.
    ///
    /// # Errors
    /// See [`UrdfError`]; each names the element at fault.
    pub fn from_urdf(urdf: &str, base: &str, tip: &str) -> Result<Self, UrdfError> {
        let description = Description::read(urdf)?;
        let route = Route::new(&Tree::new(&description)?, base, tip)?;
        let mut chain = Self {
            way: Way::new(&route.stages, &route.last_from_tip()),
            joint_names: route.joint_names,
            limits: route.limits,
            reach_m: 0.0,
            links: route.links,
        };
        chain.reach_m = chain.longest_reach_m();
        Ok(chain)
    }

    /// Number of independent joints, 1 to [`MAX_DOF`].
    #[must_use]
    pub fn dof(&self) -> usize {
        self.limits.len()
    }

    /// Names of the independent joints, base first.
    #[must_use]
    pub fn joint_names(&self) -> &[String] {
        &self.joint_names
    }

    /// Limits of the independent joints, base first.
    #[must_use]
    pub fn limits(&self) -> &[JointLimits] {
        &self.limits
    }

    /// Names of the links from base to tip, both included.
    pub fn link_names(&self) -> impl ExactSizeIterator<Item = &str> {
        self.links.iter().map(|link| link.name.as_str())
    }

    /// Pose of the tip in the base frame.
    ///
    /// `q` holds `dof()` positions; missing ones count as 0, extra ones are ignored. A NaN gives a NaN pose.
    #[must_use]
    pub fn base_from_tip(&self, q: &[f64]) -> Isometry3<f64> {
        self.tip_frame(q).to_isometry()
    }

    /// Calls `visit` with the name and `base_from_link` pose of every link from base to tip.
    pub fn visit_links(&self, q: &[f64], mut visit: impl FnMut(&str, &Isometry3<f64>)) {
        let after = with_step_count!(self.way, Way::after_stages(&self.way, q));
        for link in &self.links {
            let frame = link.stages_before.checked_sub(1).map_or(Frame::IDENTITY, |last| after[last]);
            visit(&link.name, &frame.then(&link.stage_from_link).to_isometry());
        }
    }

    /// Pose of the tip, as a rotation matrix and a translation, and its Jacobian. Same rules for `q` as
    /// [`Chain::base_from_tip`].
    #[must_use]
    pub fn jacobian(&self, q: &[f64]) -> (IsometryMatrix3<f64>, Jacobian) {
        let mut jacobian = Jacobian::default();
        (self.jacobian_into(q, &mut jacobian), jacobian)
    }

    /// [`Chain::jacobian`] with the Jacobian in a place of the caller's: copying it would cost a quarter of the
    /// whole.
    pub fn jacobian_into(&self, q: &[f64], jacobian: &mut Jacobian) -> IsometryMatrix3<f64> {
        self.tip_and_jacobian(q, jacobian).to_isometry_matrix()
    }

    /// `q` brought to the chain's length and into its limits; a missing or NaN entry becomes the middle of its
    /// range, an infinite one the nearest limit (or [`JointLimits::middle`], where there is none).
    #[must_use]
    pub fn clamp(&self, q: &[f64]) -> Joints {
        Joints::from_fn(self.dof(), |index| {
            let limits = &self.limits[index];
            let wanted = q.get(index).copied().unwrap_or(f64::NAN);
            let inside = limits.clamp(wanted);
            if wanted.is_nan() || !inside.is_finite() { limits.middle() } else { inside }
        })
    }

    /// The way from base to tip.
    #[inline(always)]
    pub(crate) fn way(&self) -> &Way {
        &self.way
    }

    fn longest_reach_m(&self) -> f64 {
        let length = |step: &Step| {
            let limits = &self.limits[step.variable];
            let furthest = |position: f64| (step.scale * position + step.offset).abs();
            let extended = furthest(limits.lower_rad).max(furthest(limits.upper_rad));
            step.slide.norm() + if step.slides { extended } else { 0.0 }
        };
        self.way.steps().iter().map(length).sum::<f64>() + self.way.last_from_tip.translation.norm()
    }

    /// No configuration takes the tip further from the base's origin, m; infinite for a slide without limits.
    pub(crate) fn reach_m(&self) -> f64 {
        self.reach_m
    }

    /// Whether whole turns of a variable leave every link where it is.
    pub(crate) fn turns_freely(&self, variable: usize) -> bool {
        self.way
            .steps()
            .iter()
            .filter(|step| step.variable == variable)
            .all(|step| !step.slides && step.scale.abs() == 1.0)
    }

    /// For each joint a bound on how far the tip's origin moves per movement of the joint, m per rad (or m): the
    /// length of the chain beyond it, stretched out. `furthest` bounds each joint's distance from zero.
    ///
    /// Times the sum of all joints' movements it also bounds how much the joint's linear Jacobian column changes.
    /// That is why no lever is below 1 in a chain that slides, and why all grow where one joint moves several.
    pub(crate) fn lever_bounds_m(&self, furthest: &[f64]) -> [f64; MAX_DOF] {
        let steps = self.way.steps();
        let least_m = if steps.iter().any(|step| step.slides) { 1.0 } else { 0.0 };
        let (mut levers_m, mut moves) = ([0.0; MAX_DOF], [0.0_f64; MAX_DOF]);
        let mut beyond_m = self.way.last_from_tip.translation.norm();
        for step in steps.iter().rev() {
            let lever_m = if step.slides { 1.0 } else { beyond_m.max(least_m) };
            levers_m[step.variable] += step.scale.abs() * lever_m;
            moves[step.variable] += step.scale.abs();
            beyond_m += step.slide.norm();
            if step.slides {
                let furthest = furthest.get(step.variable).copied().unwrap_or(0.0);
                beyond_m += step.scale.abs() * furthest + step.offset.abs();
            }
        }
        let most_moves = moves.into_iter().fold(1.0, f64::max);
        levers_m.map(|lever_m| lever_m * most_moves)
    }

    pub(crate) fn tip_frame(&self, q: &[f64]) -> Frame {
        with_step_count!(self.way, Way::tip(&self.way, q))
    }

    pub(crate) fn tip_and_jacobian(&self, q: &[f64], jacobian: &mut Jacobian) -> Frame {
        jacobian.dof = self.dof();
        with_step_count!(self.way, Way::tip_and_jacobian(&self.way, q, &mut jacobian.columns))
    }

    /// Name, number of moving joints before, and frame after those, of the links from base to tip.
    pub(crate) fn link_frames(&self) -> impl Iterator<Item = (&str, usize, &Frame)> {
        self.links.iter().map(|link| (link.name.as_str(), link.stages_before, &link.stage_from_link))
    }

    /// How every moving joint stands, for what hangs on the links between base and tip.
    pub(crate) fn joint_frames(&self, q: &[f64]) -> JointFrames {
        let after = with_step_count!(self.way, Way::after_stages(&self.way, q));
        let mut frames = JointFrames {
            after: [Frame::IDENTITY; MAX_DOF + 1],
            moves: [Move::default(); MAX_DOF],
            count: self.way.steps().len(),
        };
        frames.after[1..].copy_from_slice(&after);
        for (to, step) in frames.moves.iter_mut().zip(self.way.steps()) {
            *to = Move { slides: step.slides, variable: step.variable, scale: step.scale };
        }
        frames
    }
}

/// What [`Chain::joint_frames`] gives, all in the base frame.
#[derive(Clone, Copy, Debug)]
pub(crate) struct JointFrames {
    /// `base_from_joint` after the motion of the first `k` joints; the base itself for `k = 0`. The z axis of
    /// the frame after a joint is its axis.
    pub(crate) after: [Frame; MAX_DOF + 1],
    /// How each joint moves; joint `k` leads to frame `k + 1`.
    pub(crate) moves: [Move; MAX_DOF],
    /// Number of joints.
    pub(crate) count: usize,
}

/// How one joint moves.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Move {
    /// Whether it slides along its axis instead of turning about it.
    pub(crate) slides: bool,
    /// The chain's variable that moves it.
    pub(crate) variable: usize,
    /// The joint's speed per speed of the variable.
    pub(crate) scale: f64,
}

impl JointFrames {
    /// Unit axis of a joint, and a point on it.
    pub(crate) fn axis(&self, joint: usize) -> (Vector3<f64>, Vector3<f64>) {
        let frame = &self.after[joint + 1];
        (frame.rotation.column(2).into_owned(), frame.translation)
    }
}
