//! Arms on a servo bus: SO-100 and SO-101 (Feetech), and Dynamixel arms by the same path.
//!
//! | module | owns |
//! |---|---|
//! | [`calibration`] | LeRobot's calibration files and scales |
//! | [`servo`] | kinds of servos, what their registers mean |
//! | [`bus`] | one port: reads of all servos, goals to all, faults of the wire counted |
//! | [`config`] | what the driver is told; between radians, metres and steps |
//! | [`driver`] | the state machine: follow, hold, stop, release |
//! | [`setup`] | what must stand in the servos, and writing it with consent |
//! | [`node`] | the driver as a thread on a link |
//! | [`simulator`] | servos without hardware, down to the bytes |
//!
//! The angle of a joint is LeRobot's degrees in radians, so a policy trained on LeRobot's data means the same steps.
//! The driver is a process of its own in a deployed robot: a runtime that dies or hangs stops sending, and an arm whose
//! commands are too old comes to rest. (A Feetech servo has no timeout of its own: it keeps its last goal.)

pub mod bus;
pub mod calibration;
pub mod config;
pub mod driver;
pub mod node;
pub mod servo;
pub mod setup;
pub mod simulator;

pub use calibration::{Calibration, CalibrationError, JointCalibration};
pub use config::{ArmConfig, ArmConfigError, ArmGripperConfig, ArmJointConfig};
pub use driver::{ArmDriver, ArmError, ArmState, ArmStats, Command, HoldCause, Malformed, StopCause};
pub use node::ArmNode;
pub use servo::ServoKind;
