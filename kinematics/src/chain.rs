//! A serial chain: forward kinematics and the Jacobian, without allocation.

use nalgebra::{Isometry3, IsometryMatrix3, Vector3, Vector6};

use crate::forward::{Stage, Step, Way, with_step_count};
use crate::frame::{Frame, z_to};
use crate::joints::{Joints, MAX_DOF};
use crate::urdf::{self, Motion, UrdfError};

/// The limits of one joint, from its URDF `<limit>`.
///
/// For a prismatic joint read m for rad. A continuous joint has infinite position limits; where it has no
/// `<limit>` element, or one with velocity 0, its velocity and effort limits are infinite too.
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

    /// The middle of the range, or 0 for an unbounded joint.
    #[must_use]
    pub fn middle(&self) -> f64 {
        let middle = 0.5 * (self.lower_rad + self.upper_rad);
        if middle.is_finite() { middle } else { 0.0 }
    }
}

/// The 6×N world-aligned Jacobian of a chain's tip: rows 0–2 linear (m per joint unit), rows 3–5 angular
/// (rad per joint unit), both along the axes of the base, taken at the tip's origin.
#[derive(Clone, Copy, Debug)]
pub struct Jacobian {
    columns: [Vector6<f64>; MAX_DOF],
    dof: usize,
}

impl Jacobian {
    fn zeros(dof: usize) -> Self {
        Self { columns: [Vector6::zeros(); MAX_DOF], dof }
    }

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

#[derive(Clone, Debug)]
struct Link {
    name: String,
    /// How many moving joints lie above the link.
    stages_above: usize,
    /// From the frame after those joints.
    joint_from_link: Frame,
}

/// A serial chain of at most [`MAX_DOF`] moving joints between two links of a robot.
#[derive(Clone, Debug)]
pub struct Chain {
    joint_names: Vec<String>,
    limits: Vec<JointLimits>,
    way: Way,
    reach_m: f64,
    links: Vec<Link>,
}

impl Chain {
    /// Builds the chain from link `base` down to link `tip` of a URDF text.
    ///
    /// Joints elsewhere in the model need only name declared links. Fixed joints are folded away.
    ///
    /// # Errors
    /// See [`UrdfError`]; each names the element at fault.
    pub fn from_urdf(urdf: &str, base: &str, tip: &str) -> Result<Self, UrdfError> {
        let robot = urdf::read(urdf)?;
        let path = urdf::path(&robot, base, tip)?;
        let mut chain = Self {
            joint_names: Vec::new(),
            limits: Vec::new(),
            way: Way::new(&[], &Frame::IDENTITY),
            reach_m: 0.0,
            links: vec![Link { name: base.to_owned(), stages_above: 0, joint_from_link: Frame::IDENTITY }],
        };
        let mut stages = Vec::new();
        // Constant transform gathered since the last moving joint.
        let mut pending = Frame::IDENTITY;
        for (joint, motion) in path {
            pending = pending.then(&Frame::from_xyz_rpy(*joint.origin.xyz, *joint.origin.rpy));
            if motion != Motion::Fixed {
                let axis = Vector3::from(*joint.axis.xyz).normalize();
                let turn = Frame { rotation: z_to(&axis), translation: Vector3::zeros() };
                stages.push(Stage {
                    before: pending.then(&turn),
                    slides: motion == Motion::Slide,
                    variable: stages.len(),
                    scale: 1.0,
                    offset: 0.0,
                });
                chain.joint_names.push(joint.name.clone());
                chain.limits.push(limits_of(joint, motion));
                pending = Frame { rotation: turn.rotation.transpose(), translation: Vector3::zeros() };
            }
            chain.links.push(Link {
                name: joint.child.link.clone(),
                stages_above: stages.len(),
                joint_from_link: pending,
            });
        }
        // `urdf::path` bounds the number of moving joints by MAX_DOF.
        chain.way = Way::new(&stages, &pending);
        chain.reach_m = chain.longest_reach_m();
        Ok(chain)
    }

    /// Number of moving joints, 1 to [`MAX_DOF`].
    #[must_use]
    pub fn dof(&self) -> usize {
        self.limits.len()
    }

    /// Names of the moving joints, base first.
    #[must_use]
    pub fn joint_names(&self) -> &[String] {
        &self.joint_names
    }

    /// Limits of the moving joints, base first.
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
            let frame = link.stages_above.checked_sub(1).map_or(Frame::IDENTITY, |last| after[last]);
            visit(&link.name, &frame.then(&link.joint_from_link).to_isometry());
        }
    }

    /// Pose of the tip, as a rotation matrix and a translation, and its Jacobian. Same rules for `q` as
    /// [`Chain::base_from_tip`].
    #[must_use]
    pub fn jacobian(&self, q: &[f64]) -> (IsometryMatrix3<f64>, Jacobian) {
        let mut jacobian = Jacobian::zeros(self.dof());
        let tip = with_step_count!(self.way, Way::tip_and_jacobian(&self.way, q, &mut jacobian.columns));
        (tip.to_isometry_matrix(), jacobian)
    }

    /// `q` brought to the chain's length and into its limits; a missing or NaN entry becomes the middle of its
    /// range, an infinite one the nearest limit (or the middle, where there is none).
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

    pub(crate) fn tip_frame(&self, q: &[f64]) -> Frame {
        with_step_count!(self.way, Way::tip(&self.way, q))
    }

    pub(crate) fn tip_and_jacobian(&self, q: &[f64]) -> (Frame, Jacobian) {
        let mut jacobian = Jacobian::zeros(self.dof());
        let tip = with_step_count!(self.way, Way::tip_and_jacobian(&self.way, q, &mut jacobian.columns));
        (tip, jacobian)
    }
}

fn limits_of(joint: &urdf_rs::Joint, motion: Motion) -> JointLimits {
    let unless_zero = |value: f64| if value == 0.0 { f64::INFINITY } else { value };
    if motion == Motion::TurnUnbounded {
        JointLimits {
            lower_rad: f64::NEG_INFINITY,
            upper_rad: f64::INFINITY,
            velocity_rad_s: unless_zero(joint.limit.velocity),
            effort: unless_zero(joint.limit.effort),
        }
    } else {
        JointLimits {
            lower_rad: joint.limit.lower,
            upper_rad: joint.limit.upper,
            velocity_rad_s: joint.limit.velocity,
            effort: joint.limit.effort,
        }
    }
}
