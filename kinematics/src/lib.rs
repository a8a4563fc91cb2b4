//! Robot descriptions, forward kinematics, Jacobians, inverse kinematics and joint limits.
//!
//! The crate turns a URDF text into a [`Chain`] between any two links of the robot and answers three questions
//! about it: where the tool is ([`Chain::base_from_tip`]), which joint positions put it at a pose
//! ([`ik::solve`], from anywhere, with restarts), and what to command in the next tick to follow a moving pose
//! within every limit ([`track::Tracker`]), apart from itself and a few obstacles
//! ([`collision::CollisionModel`]).
//! [`limit::JointLimiter`] is the last gate before actuators and holds for any input.
//!
//! It knows neither I/O nor clocks nor models. All functions are deterministic, and those of the control loop
//! neither allocate nor lock.
//!
//! # Terms
//! * `a_from_b`: the transform that takes coordinates in frame b to coordinates in frame a.
//! * *tip*, *tool*: the link at the end of a chain. *base*: the link at its beginning.
//! * *world-aligned*: a twist of the tip's origin along the axes of the base.
//! * Units: m, rad, s; a prismatic joint has m wherever a name says rad.
//!
//! # Example
//! ```
//! use reflexarc_kinematics::{ARM7_HOME_RAD, ARM7_URDF, Chain, ik, track::{Tracker, TrackerConfig}};
//!
//! let chain = Chain::from_urdf(ARM7_URDF, "base", "tool")?;
//! let base_from_tool = chain.base_from_tip(&ARM7_HOME_RAD);
//!
//! // Where must the joints be for the tool to stand 5 cm lower?
//! let mut base_from_target = base_from_tool;
//! base_from_target.translation.z -= 0.05;
//! let solution = ik::solve(&chain, &base_from_target, &ARM7_HOME_RAD, &ik::IkOptions::default());
//! assert!(solution.reachable);
//!
//! // Or go there, one tick of 1/240 s at a time.
//! let mut tracker = Tracker::new(chain, TrackerConfig::default(), &ARM7_HOME_RAD);
//! let mut step = tracker.step(&ARM7_HOME_RAD, &base_from_target);
//! for _ in 0..240 {
//!     step = tracker.step(&step.q_next, &base_from_target);
//! }
//! assert!(step.position_error_m < 1e-4);
//! # Ok::<(), reflexarc_kinematics::UrdfError>(())
//! ```

mod chain;
pub mod collision;
mod forward;
mod frame;
pub mod ik;
mod joints;
pub mod limit;
mod linalg;
mod motion;
mod qp;
mod route;
mod sincos;
mod stop;
mod task;
mod toolspeed;
pub mod track;
mod urdf;
mod window;
mod xml;

pub use chain::{Chain, Jacobian, JointLimits};
pub use joints::{Joints, MAX_DOF};
pub use task::Task;
pub use urdf::UrdfError;

/// The URDF text of the project's own arm: seven joints with the published numbers of the Franka Emika Panda,
/// a parallel gripper, primitive shapes. Links `base`, `link1`…`link7`, `hand`, `left_finger`,
/// `right_finger`, `tool`.
pub const ARM7_URDF: &str = include_str!("../robots/arm7.urdf");

/// Home configuration of the arm in [`ARM7_URDF`], rad: the tool points straight down above the work area.
pub const ARM7_HOME_RAD: [f64; 7] = [0.0, -0.55, 0.0, -2.25, 0.0, 1.70, 0.785];

/// The URDF text of a desktop arm: five joints and a one-jaw gripper with the published numbers of the SO-101 and
/// the speed and torque of its servos, primitive shapes. Links `base`, `link1`…`link5`, `jaw`, `tool`.
pub const ARM5_URDF: &str = include_str!("../robots/arm5.urdf");

/// Home configuration of the arm in [`ARM5_URDF`], rad: the tool points straight down in front of the base.
pub const ARM5_HOME_RAD: [f64; 5] = [0.0, -0.15, 0.25, 1.4708, 0.0];
