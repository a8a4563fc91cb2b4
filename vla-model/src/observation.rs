//! What a policy sees: one moment of the robot's senses.

use serde::{Deserialize, Serialize};

/// Rows of taxels on one tactile pad.
pub const TACTILE_ROWS: usize = 4;
/// Columns of taxels on one tactile pad.
pub const TACTILE_COLUMNS: usize = 4;
/// Channels of one taxel: shear along the pad's x, shear along its y, normal force.
pub const TACTILE_CHANNELS: usize = 3;
/// Numbers in one tactile frame.
pub const TACTILE_LEN: usize = TACTILE_ROWS * TACTILE_COLUMNS * TACTILE_CHANNELS;

/// A sense whose data does not have the shape that it claims, or is not finite.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ObservationError {
    /// A camera that the policy needs is not there.
    #[error("camera `{name}` is missing")]
    MissingCamera {
        /// Name of the camera.
        name: String,
    },
    /// A tactile pad that the policy needs is not there.
    #[error("tactile pad `{name}` is missing")]
    MissingTactile {
        /// Name of the pad.
        name: String,
    },
    /// A list of the wrong length.
    #[error("{what} has {actual} values, expected {expected}")]
    WrongLength {
        /// Which sense.
        what: String,
        /// Length that was needed.
        expected: usize,
        /// Length that came.
        actual: usize,
    },
    /// A value that is NaN or infinite.
    #[error("{what} holds a value that is not finite, at index {index}")]
    NotFinite {
        /// Which sense.
        what: String,
        /// Place of the first such value.
        index: usize,
    },
}

/// One colour image.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Camera {
    /// Name of the camera, such as `scene` or `wrist`.
    pub name: String,
    /// Width in pixels.
    pub width: usize,
    /// Height in pixels.
    pub height: usize,
    /// Pixels row by row from the top left, three bytes each (red, green, blue):
    /// `[height, width, 3]`, no padding.
    pub rgb: Vec<u8>,
}

impl Camera {
    /// Checks that there are as many bytes as the size promises.
    ///
    /// # Errors
    /// [`ObservationError::WrongLength`] otherwise. Constant time.
    pub fn check(&self) -> Result<(), ObservationError> {
        let expected = self.width.saturating_mul(self.height).saturating_mul(3);
        if self.rgb.len() == expected && expected > 0 {
            Ok(())
        } else {
            Err(ObservationError::WrongLength {
                what: format!("camera `{}` ({} x {} rgb)", self.name, self.width, self.height),
                expected,
                actual: self.rgb.len(),
            })
        }
    }
}

/// One frame of a tactile pad.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Tactile {
    /// Name of the pad, such as `left` or `right`.
    pub name: String,
    /// Forces in newtons, `[rows, columns, channels]` with
    /// [`TACTILE_ROWS`] × [`TACTILE_COLUMNS`] × [`TACTILE_CHANNELS`].
    pub taxels_n: Vec<f32>,
}

impl Tactile {
    /// Checks shape and finiteness.
    ///
    /// # Errors
    /// [`ObservationError::WrongLength`] or [`ObservationError::NotFinite`].
    pub fn check(&self) -> Result<(), ObservationError> {
        check_values(&format!("tactile pad `{}`", self.name), &self.taxels_n, TACTILE_LEN)
    }
}

/// Pose of the tool frame in the robot's base frame.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct ToolPose {
    /// Origin of the tool in the base frame, metres.
    pub position_m: [f32; 3],
    /// Unit quaternion from the tool frame to the base frame, x, y, z, w.
    pub rotation_xyzw: [f32; 4],
}

/// Everything that a policy may look at when it decides, taken at one time.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Observation {
    /// Time of the observation, nanoseconds on the caller's clock. A decision carries it back.
    pub time_ns: u64,
    /// The cameras' newest images.
    pub cameras: Vec<Camera>,
    /// The tactile pads' newest frames.
    pub tactile: Vec<Tactile>,
    /// Arm joint positions from the base outwards, radians.
    pub joints_rad: Vec<f32>,
    /// Opening between the fingers, metres.
    pub gripper_width_m: f32,
    /// Where the tool is, by forward kinematics of [`Self::joints_rad`].
    pub base_from_tool: ToolPose,
}

impl Observation {
    /// The camera of that name, checked.
    ///
    /// # Errors
    /// [`ObservationError::MissingCamera`], or what [`Camera::check`] finds.
    pub fn camera(&self, name: &str) -> Result<&Camera, ObservationError> {
        let camera = self
            .cameras
            .iter()
            .find(|camera| camera.name == name)
            .ok_or_else(|| ObservationError::MissingCamera { name: name.to_owned() })?;
        camera.check()?;
        Ok(camera)
    }

    /// The tactile pad of that name, checked.
    ///
    /// # Errors
    /// [`ObservationError::MissingTactile`], or what [`Tactile::check`] finds.
    pub fn tactile(&self, name: &str) -> Result<&Tactile, ObservationError> {
        let pad = self
            .tactile
            .iter()
            .find(|pad| pad.name == name)
            .ok_or_else(|| ObservationError::MissingTactile { name: name.to_owned() })?;
        pad.check()?;
        Ok(pad)
    }

    /// Checks the robot's own state: `joints` joint positions, all values finite.
    ///
    /// # Errors
    /// [`ObservationError::WrongLength`] or [`ObservationError::NotFinite`].
    pub fn check_body(&self, joints: usize) -> Result<(), ObservationError> {
        check_values("joint positions", &self.joints_rad, joints)?;
        check_values("gripper width", &[self.gripper_width_m], 1)?;
        check_values("tool position", &self.base_from_tool.position_m, 3)?;
        check_values("tool rotation", &self.base_from_tool.rotation_xyzw, 4)
    }
}

fn check_values(what: &str, values: &[f32], expected: usize) -> Result<(), ObservationError> {
    if values.len() != expected {
        return Err(ObservationError::WrongLength { what: what.to_owned(), expected, actual: values.len() });
    }
    match values.iter().position(|value| !value.is_finite()) {
        Some(index) => Err(ObservationError::NotFinite { what: what.to_owned(), index }),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests fail by panicking")]
    use super::*;

    fn observation() -> Observation {
        Observation {
            time_ns: 1,
            cameras: vec![Camera { name: "scene".into(), width: 2, height: 1, rgb: vec![0; 6] }],
            tactile: vec![Tactile { name: "left".into(), taxels_n: vec![0.0; TACTILE_LEN] }],
            joints_rad: vec![0.0; 7],
            gripper_width_m: 0.04,
            base_from_tool: ToolPose { position_m: [0.4, 0.0, 0.3], rotation_xyzw: [1.0, 0.0, 0.0, 0.0] },
        }
    }

    #[test]
    fn a_well_formed_observation_passes() {
        let observation = observation();
        assert_eq!(observation.camera("scene").unwrap().width, 2);
        assert_eq!(observation.tactile("left").unwrap().taxels_n.len(), 48);
        observation.check_body(7).unwrap();
    }

    #[test]
    fn faults_are_named() {
        let mut observation = observation();
        assert_eq!(observation.camera("wrist").unwrap_err().to_string(), "camera `wrist` is missing");
        observation.cameras[0].rgb.pop();
        assert_eq!(
            observation.camera("scene").unwrap_err().to_string(),
            "camera `scene` (2 x 1 rgb) has 5 values, expected 6"
        );
        observation.tactile[0].taxels_n[5] = f32::NAN;
        assert!(matches!(observation.tactile("left"), Err(ObservationError::NotFinite { index: 5, .. })));
        observation.joints_rad.pop();
        assert!(matches!(
            observation.check_body(7),
            Err(ObservationError::WrongLength { expected: 7, actual: 6, .. })
        ));
    }

    #[test]
    fn an_empty_or_impossibly_large_image_is_refused() {
        let empty = Camera { name: "scene".into(), width: 0, height: 0, rgb: vec![] };
        assert!(empty.check().is_err());
        let large = Camera { name: "scene".into(), width: usize::MAX, height: usize::MAX, rgb: vec![0; 3] };
        assert!(large.check().is_err());
    }
}
