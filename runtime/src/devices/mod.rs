//! The robot's hardware: which drivers a configuration has, and running them beside the runtime.
//!
//! A driver is a process of its own (`reflexarc driver ...`) that speaks to the runtime over the link, exactly as the
//! simulator or any other node does. `reflexarc run` starts those of its configuration and starts one again that
//! ends. When the runtime dies or hangs, the arm's driver goes on: its commands become too old, and the arm comes to
//! rest and holds.

mod supervisor;

use std::collections::BTreeMap;
use std::fmt;

use reflexarc_drivers::arm::ArmConfig;
use reflexarc_drivers::camera::CameraConfig;
use reflexarc_drivers::link::Credentials;
use reflexarc_drivers::tactile::TactileConfig;
use reflexarc_kinematics::Chain;
use serde::{Deserialize, Serialize};

use crate::config::{Config, ConfigError, LimitConfig};

pub use supervisor::Supervisor;

/// The robot's hardware, as configured; nothing by default.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DriversConfig {
    /// The arm on its servo bus.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub arm: Option<ArmConfig>,
    /// The cameras, by their names in `senses.cameras`.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub cameras: BTreeMap<String, CameraConfig>,
    /// The tactile pads, by their names in `senses.tactile`.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub tactile: BTreeMap<String, TactileConfig>,
}

/// One driver.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Driver {
    /// The arm's.
    Arm,
    /// A camera's.
    Camera(String),
    /// A tactile pad's.
    Tactile(String),
}

impl Driver {
    /// The command line's words for it.
    #[must_use]
    pub fn words(&self) -> Vec<&str> {
        match self {
            Self::Arm => vec!["arm"],
            Self::Camera(name) => vec!["camera", name],
            Self::Tactile(name) => vec!["tactile", name],
        }
    }
}

impl fmt::Display for Driver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.words().join(" "))
    }
}

fn fault(key: String, value: String, expected: String) -> ConfigError {
    ConfigError::Value { key: key.into(), value, expected, at: String::new() }
}

impl DriversConfig {
    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.all().is_empty()
    }

    /// All drivers.
    #[must_use]
    pub fn all(&self) -> Vec<Driver> {
        let arm = self.arm.iter().map(|_| Driver::Arm);
        let cameras = self.cameras.keys().map(|name| Driver::Camera(name.clone()));
        let tactile = self.tactile.keys().map(|name| Driver::Tactile(name.clone()));
        arm.chain(cameras).chain(tactile).collect()
    }

    /// Checks every value, and that what the drivers publish is what `config` senses.
    pub(crate) fn validate(&self, config: &Config) -> Result<(), ConfigError> {
        let said = |key: &str, error: &dyn fmt::Display| {
            fault(format!("drivers.{key}"), "as it is".to_owned(), error.to_string())
        };
        if let (false, Some(Credentials::Users { .. })) =
            (self.is_empty(), config.link.secure.as_ref().map(|secure| &secure.credentials))
        {
            // Drivers connect with the runtime's own credentials, and a list of users is none.
            return Err(fault(
                "link.secure.credentials".to_owned(),
                "users".to_owned(),
                "tls, because the drivers of this configuration connect to this runtime".to_owned(),
            ));
        }
        if let Some(arm) = &self.arm {
            arm.validate().map_err(|error| said("arm", &error))?;
            let (found, wanted) = (&arm.gripper.name, &config.robot.gripper_joint);
            if found != wanted {
                return Err(fault(
                    "drivers.arm.gripper.name".to_owned(),
                    format!("{found:?}"),
                    format!("robot.gripper_joint, {wanted:?}"),
                ));
            }
        }
        let senses = &config.senses;
        for (name, camera) in &self.cameras {
            camera.validate().map_err(|error| said(&format!("cameras.{name}"), &error))?;
            let size = (camera.width_px, camera.height_px);
            let wanted = (senses.camera_width_px, senses.camera_height_px);
            if !senses.cameras.contains(name) {
                let expected = format!("a name in senses.cameras, {:?}", senses.cameras);
                return Err(fault(format!("drivers.cameras.{name}"), format!("{name:?}"), expected));
            }
            if size != wanted {
                return Err(fault(
                    format!("drivers.cameras.{name}.width_px, height_px"),
                    format!("{size:?}"),
                    format!("senses.camera_width_px and camera_height_px, {wanted:?}"),
                ));
            }
        }
        for (name, pad) in &self.tactile {
            pad.validate().map_err(|error| said(&format!("tactile.{name}"), &error))?;
            let shape = [pad.rows, pad.columns, pad.channels];
            if !senses.tactile.contains(name) {
                let expected = format!("a name in senses.tactile, {:?}", senses.tactile);
                return Err(fault(format!("drivers.tactile.{name}"), format!("{name:?}"), expected));
            }
            if shape.map(u64::from) != senses.tactile_shape.map(u64::from) {
                return Err(fault(
                    format!("drivers.tactile.{name}.rows, columns, channels"),
                    format!("{shape:?}"),
                    format!("senses.tactile_shape, {:?}", senses.tactile_shape),
                ));
            }
        }
        Ok(())
    }

    /// The arm's driver with no joint faster than the robot's description and `limits` allow: those bound what is
    /// commanded, and where commands were lost it is the driver that makes up for them.
    #[must_use]
    pub fn arm_within(&self, chain: &Chain, limits: &LimitConfig) -> Option<ArmConfig> {
        let mut arm = self.arm.clone()?;
        for joint in &mut arm.joints {
            let at = chain.joint_names().iter().position(|name| *name == joint.name);
            let allowed_rad_s = at.map_or(f64::INFINITY, |at| chain.limits()[at].velocity_rad_s);
            let own_rad_s = joint.max_speed_rad_s.unwrap_or(arm.max_speed_rad_s);
            joint.max_speed_rad_s = Some(own_rad_s.min(allowed_rad_s * limits.speed_scale));
        }
        Some(arm)
    }

    /// Checks that the arm's driver has exactly the joints of the robot's description.
    ///
    /// # Errors
    /// [`ConfigError::Value`] with both lists.
    pub fn check_joints(&self, chain: &Chain) -> Result<(), ConfigError> {
        let Some(arm) = &self.arm else { return Ok(()) };
        let mut found: Vec<&str> = arm.joints.iter().map(|joint| joint.name.as_str()).collect();
        let mut wanted: Vec<&str> = chain.joint_names().iter().map(String::as_str).collect();
        found.sort_unstable();
        wanted.sort_unstable();
        if found == wanted {
            return Ok(());
        }
        let expected = format!("the joints of the robot's description, {wanted:?}");
        Err(fault("drivers.arm.joints".to_owned(), format!("{found:?}"), expected))
    }
}
