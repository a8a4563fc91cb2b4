//! Whether a checkpoint and a robot have the same cameras and joints.

use std::fmt;

use super::Checkpoint;
use super::error::CheckpointError;
use crate::units::Units;

/// What a robot offers to a policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RobotSenses {
    /// Names of its cameras. More than the checkpoint needs is no fault.
    pub cameras: Vec<String>,
    /// Values of its state: joint positions, then the gripper.
    pub state_len: usize,
    /// Values of an action: joint targets, then the gripper.
    pub action_len: usize,
}

/// A robot and a checkpoint that do not fit, both sides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mismatch {
    /// What the checkpoint was trained with.
    pub checkpoint: RobotSenses,
    /// What the robot has.
    pub robot: RobotSenses,
}

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { checkpoint, robot } = self;
        write!(f, "the checkpoint does not fit the robot:")?;
        let missing: Vec<&String> =
            checkpoint.cameras.iter().filter(|name| !robot.cameras.contains(name)).collect();
        if !missing.is_empty() {
            write!(f, " no camera {missing:?};")?;
        }
        write!(
            f,
            " the checkpoint has cameras {:?}, {} values of state, {} of an action; the robot has cameras {:?}, \
             {} values of state, {} of an action",
            checkpoint.cameras,
            checkpoint.state_len,
            checkpoint.action_len,
            robot.cameras,
            robot.state_len,
            robot.action_len,
        )
    }
}

impl Checkpoint {
    /// What the checkpoint was trained with.
    #[must_use]
    pub fn senses(&self) -> RobotSenses {
        let common = self.config.common();
        RobotSenses {
            cameras: common.cameras.iter().map(|camera| camera.name.clone()).collect(),
            state_len: common.state_len,
            action_len: common.action_len,
        }
    }

    /// Checks that a robot has every camera of the checkpoint, and states and actions of its lengths. A
    /// checkpoint without a state takes any.
    ///
    /// # Errors
    /// When not; the message lists both sides.
    pub fn check_robot(&self, robot: &RobotSenses) -> Result<(), CheckpointError> {
        let checkpoint = self.senses();
        let fits = checkpoint.cameras.iter().all(|name| robot.cameras.contains(name))
            && (checkpoint.state_len == robot.state_len || checkpoint.state_len == 0)
            && checkpoint.action_len == robot.action_len;
        if fits {
            return Ok(());
        }
        Err(CheckpointError::Robot(Box::new(Mismatch { checkpoint, robot: robot.clone() })))
    }

    /// Checks that there is a unit for each value of a state and of an action.
    pub(crate) fn check_units(&self, units: &Units) -> Result<(), CheckpointError> {
        let common = self.config.common();
        for (what, len) in [("state", common.state_len), ("action", common.action_len)] {
            if len > 0 && !units.fit(len) {
                return Err(CheckpointError::Size {
                    what: format!("the number of units of the option `units` for a {what}"),
                    expected: format!("{len}, one for each value"),
                    actual: "another".to_owned(),
                });
            }
        }
        Ok(())
    }
}
