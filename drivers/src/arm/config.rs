//! What an arm's driver is told.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::calibration::{self, Calibration, CalibrationError, JointCalibration, Scale};
use super::servo::ServoKind;

/// Most servos of one arm.
pub const MAX_SERVOS: usize = 16;

/// Why a configuration was refused.
#[derive(Debug, thiserror::Error)]
pub enum ArmConfigError {
    /// A key's value has no sensible meaning.
    #[error("{key} = {found}: expected {expected}")]
    Value {
        /// The key, below the arm's table.
        key: String,
        /// The value.
        found: String,
        /// What would have been accepted.
        expected: &'static str,
    },
    /// No calibration is there.
    #[error(
        "no calibration: set `calibration` to LeRobot's file, or `calibration_id` to the id that the arm was \
         calibrated under (lerobot-calibrate --robot.id=ID); looked for {looked_for}"
    )]
    NoCalibration {
        /// Where it was looked for.
        looked_for: String,
    },
    /// The calibration is at fault.
    #[error(transparent)]
    Calibration(#[from] CalibrationError),
}

/// An arm on a servo bus.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ArmConfig {
    /// The serial port. `/dev/serial/by-id/...` names stay the same after a restart.
    pub port: PathBuf,
    /// Which servos.
    pub servos: ServoKind,
    /// Bits per second on the bus.
    pub baud: u32,
    /// Cycles per second: one read of all servos, one write.
    pub rate_hz: u32,
    /// How long a reply may take, ms.
    pub reply_timeout_ms: u64,
    /// LeRobot's calibration file; overrides `calibration_id`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub calibration: Option<PathBuf>,
    /// The id of a calibration in LeRobot's folder; empty: none.
    pub calibration_id: String,
    /// The arm's joints, in any order.
    pub joints: Vec<ArmJointConfig>,
    /// The gripper.
    pub gripper: ArmGripperConfig,
    /// A command older than this is refused, ms.
    pub command_max_age_ms: u64,
    /// Time in which a motion comes to rest when commands stop or a servo fails, ms.
    pub brake_ms: u64,
    /// A servo that has not answered for this long is dead: the arm comes to rest and stops, ms.
    pub servo_dead_ms: u64,
    /// Following begins only when the command is this near to every joint, rad.
    pub engage_rad: f64,
    /// Fastest that any joint's goal moves, rad/s.
    pub max_speed_rad_s: f64,
    /// Hottest a servo may be, °C.
    pub max_temperature_c: u8,
}

/// One joint and its servo.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ArmJointConfig {
    /// Its name in `joint_states` and `joint_command`, which is that of the URDF.
    pub name: String,
    /// Its name in the calibration file; empty: the same.
    pub servo: String,
    /// The servo's positions grow where the joint's angle falls.
    pub reversed: bool,
    /// The joint's angle in the middle of the calibrated range, rad.
    pub middle_rad: f64,
    /// Fastest that its goal moves, rad/s, where that is slower than the arm's; absent: as fast as the arm's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_speed_rad_s: Option<f64>,
}

/// The gripper and its servo.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ArmGripperConfig {
    /// Its name in `joint_states` and `joint_command`; empty: the arm has none.
    pub name: String,
    /// Its name in the calibration file; empty: the same.
    pub servo: String,
    /// Opening at the range's upper end, m (closed at the lower end).
    pub max_width_m: f64,
    /// Fastest opening and closing, m/s.
    pub max_speed_m_s: f64,
    /// Force between the fingers at the servo's full torque, N. 0: unknown, and the torque limit stays as it is.
    pub full_force_n: f64,
}

impl Default for ArmConfig {
    /// An SO-101 with its joints named as in its URDF.
    fn default() -> Self {
        let joint = |name: &str| ArmJointConfig { name: name.to_owned(), ..ArmJointConfig::default() };
        Self {
            port: PathBuf::from("/dev/ttyACM0"),
            servos: ServoKind::Sts3215,
            baud: 1_000_000,
            rate_hz: 100,
            reply_timeout_ms: 3,
            calibration: None,
            calibration_id: String::new(),
            joints: ["shoulder_pan", "shoulder_lift", "elbow_flex", "wrist_flex", "wrist_roll"]
                .map(joint)
                .into(),
            gripper: ArmGripperConfig::default(),
            command_max_age_ms: 100,
            brake_ms: 100,
            servo_dead_ms: 100,
            engage_rad: 0.2,
            max_speed_rad_s: 3.0,
            max_temperature_c: 65,
        }
    }
}

impl Default for ArmGripperConfig {
    fn default() -> Self {
        Self {
            name: "gripper".to_owned(),
            servo: String::new(),
            max_width_m: 0.08,
            max_speed_m_s: 0.3,
            full_force_n: 0.0,
        }
    }
}

impl ArmConfig {
    /// Checks every value.
    ///
    /// # Errors
    /// The first that has no sensible meaning.
    pub fn validate(&self) -> Result<(), ArmConfigError> {
        let fault = |key: &str, found: String, expected| {
            Err(ArmConfigError::Value { key: key.to_owned(), found, expected })
        };
        let between = |key: &str, found: f64, low: f64, high: f64, expected: &'static str| {
            if found >= low && found <= high {
                Ok(())
            } else {
                Err(ArmConfigError::Value { key: key.to_owned(), found: found.to_string(), expected })
            }
        };
        let count = self.joints.len() + usize::from(!self.gripper.name.is_empty());
        if self.joints.is_empty() || count > MAX_SERVOS {
            return fault("joints", format!("{count} servos"), "1 to 16, the gripper counted");
        }
        let mut names: Vec<&str> = self.joints.iter().map(|joint| joint.name.as_str()).collect();
        names.push(&self.gripper.name);
        for (i, name) in names.iter().enumerate() {
            if name.is_empty() && i + 1 < names.len() || names[..i].contains(name) {
                return fault(&format!("joints[{i}].name"), format!("{name:?}"), "a name of its own");
            }
        }
        for (i, joint) in self.joints.iter().enumerate() {
            let key = format!("joints[{i}].middle_rad");
            between(&key, joint.middle_rad, -6.3, 6.3, "-6.3 to 6.3 rad")?;
            if let Some(speed_rad_s) = joint.max_speed_rad_s {
                let key = format!("joints[{i}].max_speed_rad_s");
                between(&key, speed_rad_s, 1e-3, 20.0, "0.001 to 20 rad/s")?;
            }
        }
        if !(9_600..=4_500_000).contains(&self.baud) {
            return fault("baud", self.baud.to_string(), "9600 to 4500000");
        }
        if !(10..=500).contains(&self.rate_hz) {
            return fault("rate_hz", self.rate_hz.to_string(), "10 to 500");
        }
        let period_ms = u64::from(1000 / self.rate_hz);
        if !(1..=100).contains(&self.reply_timeout_ms) {
            return fault("reply_timeout_ms", self.reply_timeout_ms.to_string(), "1 to 100");
        }
        if !(10..=1000).contains(&self.command_max_age_ms) {
            return fault("command_max_age_ms", self.command_max_age_ms.to_string(), "10 to 1000");
        }
        if !(20..=1000).contains(&self.brake_ms) {
            return fault("brake_ms", self.brake_ms.to_string(), "20 to 1000");
        }
        if !(3 * period_ms..=2000).contains(&self.servo_dead_ms) {
            return fault("servo_dead_ms", self.servo_dead_ms.to_string(), "three cycles to 2000");
        }
        between("engage_rad", self.engage_rad, 0.01, 1.0, "0.01 to 1 rad")?;
        between("max_speed_rad_s", self.max_speed_rad_s, 0.01, 20.0, "0.01 to 20 rad/s")?;
        if !(30..=90).contains(&self.max_temperature_c) {
            return fault("max_temperature_c", self.max_temperature_c.to_string(), "30 to 90");
        }
        between("gripper.max_width_m", self.gripper.max_width_m, 1e-3, 1.0, "0.001 to 1 m")?;
        between("gripper.max_speed_m_s", self.gripper.max_speed_m_s, 1e-3, 10.0, "0.001 to 10 m/s")?;
        between("gripper.full_force_n", self.gripper.full_force_n, 0.0, 1000.0, "0 to 1000 N")
    }

    /// Reads the calibration that is configured. `variable` looks up the environment.
    ///
    /// # Errors
    /// [`ArmConfigError::NoCalibration`], [`ArmConfigError::Calibration`].
    pub fn load_calibration(
        &self,
        variable: impl Fn(&str) -> Option<String>,
    ) -> Result<(PathBuf, Calibration), ArmConfigError> {
        let path = match &self.calibration {
            Some(path) => path.clone(),
            None if self.calibration_id.is_empty() => {
                return Err(ArmConfigError::NoCalibration {
                    looked_for: "nothing, both are empty".to_owned(),
                });
            }
            None => calibration::find(&self.calibration_id, variable).ok_or_else(|| {
                let looked_for =
                    format!("robots/so*_follower/{}.json in LeRobot's folder", self.calibration_id);
                ArmConfigError::NoCalibration { looked_for }
            })?,
        };
        let calibration = Calibration::load(&path)?;
        Ok((path, calibration))
    }

    /// The axes, joints first, the gripper last.
    ///
    /// # Errors
    /// [`CalibrationError::Missing`].
    pub fn axes(&self, calibration: &Calibration) -> Result<Vec<Axis>, CalibrationError> {
        let or = |servo: &str, name: &str| if servo.is_empty() { name.to_owned() } else { servo.to_owned() };
        let mut axes = Vec::new();
        for joint in &self.joints {
            axes.push(Axis {
                name: joint.name.clone(),
                figures: calibration.joint(&or(&joint.servo, &joint.name))?,
                kind: AxisKind::Angle { reversed: joint.reversed, middle_rad: joint.middle_rad },
                max_speed: joint.max_speed_rad_s.unwrap_or(f64::INFINITY).min(self.max_speed_rad_s),
            });
        }
        if !self.gripper.name.is_empty() {
            axes.push(Axis {
                name: self.gripper.name.clone(),
                figures: calibration.joint(&or(&self.gripper.servo, &self.gripper.name))?,
                kind: AxisKind::Width {
                    max_width_m: self.gripper.max_width_m,
                    full_force_n: self.gripper.full_force_n,
                },
                max_speed: self.gripper.max_speed_m_s,
            });
        }
        Ok(axes)
    }
}

/// One joint or the gripper: between its value (rad or m) and its servo's steps.
#[derive(Clone, Debug, PartialEq)]
pub struct Axis {
    /// Its name on the topics.
    pub name: String,
    /// Its servo.
    pub figures: JointCalibration,
    /// What its value means.
    pub kind: AxisKind,
    /// Fastest that its goal moves, rad/s or m/s.
    pub max_speed: f64,
}

/// What an axis' value means.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum AxisKind {
    /// An angle, rad: LeRobot's degrees, turned and shifted.
    Angle {
        /// Positions grow where the angle falls.
        reversed: bool,
        /// The angle in the middle of the range, rad.
        middle_rad: f64,
    },
    /// An opening, m: LeRobot's 0..100, stretched.
    Width {
        /// Opening at 100, m.
        max_width_m: f64,
        /// Force at full torque, N; 0: unknown.
        full_force_n: f64,
    },
}

impl Axis {
    /// The value at a position, rad or m.
    #[must_use]
    pub fn value(&self, steps: i32) -> f64 {
        match self.kind {
            AxisKind::Angle { reversed, middle_rad } => {
                let angle = self.figures.normalise(Scale::Degrees, steps).to_radians();
                middle_rad + if reversed { -angle } else { angle }
            }
            AxisKind::Width { max_width_m, .. } => {
                self.figures.normalise(Scale::Range0To100, steps) / 100.0 * max_width_m
            }
        }
    }

    /// The nearest position for a value, within the calibrated range, steps; `None` for a value that is no number.
    #[must_use]
    pub fn steps(&self, value: f64) -> Option<i32> {
        let steps = match self.kind {
            AxisKind::Angle { reversed, middle_rad } => {
                let angle = if reversed { middle_rad - value } else { value - middle_rad };
                self.figures.position(Scale::Degrees, angle.to_degrees())
            }
            AxisKind::Width { max_width_m, .. } => {
                self.figures.position(Scale::Range0To100, value / max_width_m * 100.0)
            }
        }?;
        let (low, high) = (self.figures.range_min, self.figures.range_max);
        Some(steps.round().clamp(f64::from(low), f64::from(high)) as i32)
    }

    /// How LeRobot's value follows from this axis' own (rad or m): `gain · value + offset`, as (gain, offset). Joints
    /// in degrees or in -100..100 of their calibrated range, as `in_degrees` says; the gripper in 0..100 always.
    #[must_use]
    pub fn lerobot(&self, in_degrees: bool) -> (f64, f64) {
        match self.kind {
            AxisKind::Angle { reversed, middle_rad } => {
                let per_degree = if in_degrees { 1.0 } else { self.figures.percent_per_degree() };
                let sign = if reversed { -1.0 } else { 1.0 };
                let gain = sign * per_degree * 1f64.to_degrees();
                (gain, -gain * middle_rad)
            }
            AxisKind::Width { max_width_m, .. } => (100.0 / max_width_m, 0.0),
        }
    }

    /// Values of one step, rad or m.
    #[must_use]
    pub fn value_per_step(&self) -> f64 {
        self.value(self.figures.range_min + 1) - self.value(self.figures.range_min)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests fail by panicking")]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn figures() -> impl Strategy<Value = JointCalibration> {
        (0..=1_u8, 0..2000_i32, 100..2000_i32).prop_map(|(drive_mode, range_min, span)| JointCalibration {
            id: 1,
            drive_mode,
            homing_offset: 0,
            range_min,
            range_max: range_min + span,
        })
    }

    proptest! {
        #[test]
        fn lerobots_values_follow_from_ours(
            figures in figures(),
            share in 0.0..=1.0_f64,
            reversed: bool,
            middle_rad in -2.0..2.0_f64,
        ) {
            let steps = figures.range_min + (share * f64::from(figures.range_max - figures.range_min)) as i32;
            let joint = AxisKind::Angle { reversed, middle_rad };
            let gripper = AxisKind::Width { max_width_m: 0.07, full_force_n: 0.0 };
            for (kind, in_degrees, scale) in [
                (joint, true, Scale::Degrees),
                (joint, false, Scale::RangeM100To100),
                (gripper, true, Scale::Range0To100),
                (gripper, false, Scale::Range0To100),
            ] {
                let axis = Axis { name: "axis".into(), figures, kind, max_speed: 1.0 };
                let (gain, offset) = axis.lerobot(in_degrees);
                let (found, wanted) = (gain * axis.value(steps) + offset, figures.normalise(scale, steps));
                prop_assert!((found - wanted).abs() < 1e-9, "{scale:?}: {found}, expected {wanted}");
            }
        }
    }
}
