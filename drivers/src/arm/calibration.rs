//! LeRobot's calibration files, read as they are.
//!
//! One JSON object, a joint's name to its servo's figures:
//!
//! ```json
//! {"shoulder_pan": {"id": 1, "drive_mode": 0, "homing_offset": -1470, "range_min": 758, "range_max": 3292}}
//! ```
//!
//! `homing_offset` lives in the servo: positions that it reports have it taken off already, and nobody takes it
//! off again. The formulas are those of LeRobot's `MotorsBus` (lerobot 7427f31, August 2026), quirks included: a
//! turn of 4096 steps counts as 4095 when degrees are meant, and only the ranges know a drive mode.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Deserialize;

/// Highest position of a servo with 4096 steps a turn.
const LAST_STEP: f64 = 4095.0;
/// A homing offset is a sign and eleven bits.
const HOMING_MAX: i32 = 2047;
/// Positions beyond this many turns are no calibration of a joint.
const STEPS_MAX: i32 = 1 << 16;
/// Larger files are no calibrations.
const FILE_MAX_BYTES: u64 = 1 << 20;

/// Why a calibration was refused.
#[derive(Debug, thiserror::Error)]
pub enum CalibrationError {
    /// The file could not be read.
    #[error("cannot read the calibration {path}: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The text is no calibration.
    #[error(
        "the calibration{origin} does not parse: {message}; expected {{\"JOINT\": {{\"id\", \"drive_mode\", \
         \"homing_offset\", \"range_min\", \"range_max\"}}}} as LeRobot writes it"
    )]
    Parse {
        /// ` FILE`, or empty.
        origin: String,
        /// The parser's words, with line and column.
        message: String,
    },
    /// A joint's figures cannot be.
    #[error("calibration of `{joint}`{origin}: {key} = {found}, expected {expected}")]
    Value {
        /// The joint.
        joint: String,
        /// ` in FILE`, or empty.
        origin: String,
        /// The key.
        key: &'static str,
        /// The value.
        found: i64,
        /// What would have been accepted.
        expected: String,
    },
    /// The file has no such joint.
    #[error("the calibration has no joint `{joint}`; it has {found}")]
    Missing {
        /// The joint.
        joint: String,
        /// The joints there are.
        found: String,
    },
}

/// How LeRobot scales a position.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scale {
    /// Degrees from the middle of the range.
    Degrees,
    /// -100..100 over the range.
    RangeM100To100,
    /// 0..100 over the range.
    Range0To100,
}

/// One servo's figures; positions in its steps, homing offset already in them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct JointCalibration {
    /// The servo's number on the bus, 0..=252.
    pub id: u8,
    /// 1: the ranges run the other way.
    pub drive_mode: u8,
    /// What the servo takes off its encoder, steps, -2047..=2047.
    pub homing_offset: i32,
    /// Lowest position, steps.
    pub range_min: i32,
    /// Highest position, steps.
    pub range_max: i32,
}

/// An arm's calibration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Calibration {
    joints: BTreeMap<String, JointCalibration>,
}

impl Calibration {
    /// Reads a file of LeRobot's, at most a megabyte.
    ///
    /// # Errors
    /// [`CalibrationError`], with the file's name.
    pub fn load(path: &Path) -> Result<Self, CalibrationError> {
        let read = |source| CalibrationError::Read { path: path.to_owned(), source };
        let bytes = std::fs::metadata(path).map_err(read)?.len();
        if bytes > FILE_MAX_BYTES {
            let message = format!("{bytes} bytes, expected at most {FILE_MAX_BYTES}");
            return Err(CalibrationError::Parse { origin: format!(" {}", path.display()), message });
        }
        Self::parse(&std::fs::read_to_string(path).map_err(read)?, &path.display().to_string())
    }

    /// Reads a text of LeRobot's.
    ///
    /// # Errors
    /// [`CalibrationError`].
    pub fn from_json(text: &str) -> Result<Self, CalibrationError> {
        Self::parse(text, "")
    }

    fn parse(text: &str, file: &str) -> Result<Self, CalibrationError> {
        let (before, within) =
            if file.is_empty() { Default::default() } else { (format!(" {file}"), format!(" in {file}")) };
        let joints: BTreeMap<String, JointCalibration> = serde_json::from_str(text)
            .map_err(|error| CalibrationError::Parse { origin: before, message: error.to_string() })?;
        for (name, joint) in &joints {
            let value = |key, found: i32, expected: String| CalibrationError::Value {
                joint: name.clone(),
                origin: within.clone(),
                key,
                found: i64::from(found),
                expected,
            };
            let twin = joints.iter().find(|(other, figures)| *other != name && figures.id == joint.id);
            if joint.id > 252 {
                return Err(value("id", joint.id.into(), "0 to 252".into()));
            }
            if let Some((twin, _)) = twin {
                return Err(value("id", joint.id.into(), format!("another than that of `{twin}`")));
            }
            if joint.drive_mode > 1 {
                return Err(value("drive_mode", joint.drive_mode.into(), "0 or 1".into()));
            }
            if joint.homing_offset.abs() > HOMING_MAX {
                return Err(value("homing_offset", joint.homing_offset, "-2047 to 2047".into()));
            }
            if joint.range_min.abs() > STEPS_MAX {
                return Err(value("range_min", joint.range_min, format!("at most {STEPS_MAX} either way")));
            }
            if joint.range_max <= joint.range_min || joint.range_max > STEPS_MAX {
                let expected = format!("above range_min = {}, at most {STEPS_MAX}", joint.range_min);
                return Err(value("range_max", joint.range_max, expected));
            }
        }
        Ok(Self { joints })
    }

    /// A joint's figures.
    ///
    /// # Errors
    /// [`CalibrationError::Missing`].
    pub fn joint(&self, name: &str) -> Result<JointCalibration, CalibrationError> {
        self.joints.get(name).copied().ok_or_else(|| CalibrationError::Missing {
            joint: name.to_owned(),
            found: self.joints.keys().map(String::as_str).collect::<Vec<_>>().join(", "),
        })
    }

    /// All joints, by name.
    pub fn joints(&self) -> impl Iterator<Item = (&str, JointCalibration)> {
        self.joints.iter().map(|(name, joint)| (name.as_str(), *joint))
    }
}

impl JointCalibration {
    fn middle(self) -> f64 {
        f64::from(self.range_min + self.range_max) / 2.0
    }

    fn span(self) -> f64 {
        f64::from(self.range_max - self.range_min)
    }

    /// How far -100..100 moves when LeRobot's degrees grow by one.
    pub(super) fn percent_per_degree(self) -> f64 {
        LAST_STEP / 360.0 * 200.0 / self.span() * if self.drive_mode == 1 { -1.0 } else { 1.0 }
    }

    /// Whether a value lies on a step of the servo, as every position that LeRobot reads does: to 1/200 of a step,
    /// which is coarser than f32. Degrees count from the middle, which may lie between two steps.
    #[must_use]
    pub fn on_a_step(self, scale: Scale, value: f64) -> bool {
        let steps = match scale {
            Scale::Degrees => value * LAST_STEP / 360.0 * 2.0,
            Scale::RangeM100To100 => (value + 100.0) / 200.0 * self.span(),
            Scale::Range0To100 => value / 100.0 * self.span(),
        };
        (steps - steps.round()).abs() <= 0.005
    }

    /// What LeRobot makes of a position, steps.
    #[must_use]
    pub fn normalise(self, scale: Scale, steps: i32) -> f64 {
        let share = || f64::from(steps.clamp(self.range_min, self.range_max) - self.range_min) / self.span();
        let turned = self.drive_mode == 1;
        match scale {
            Scale::Degrees => (f64::from(steps) - self.middle()) * 360.0 / LAST_STEP,
            Scale::RangeM100To100 => (share() * 200.0 - 100.0) * if turned { -1.0 } else { 1.0 },
            Scale::Range0To100 => {
                let value = share() * 100.0;
                if turned { 100.0 - value } else { value }
            }
        }
    }

    /// The position for a value, in parts of a step; `None` for a value that is no number. Degrees are not bounded
    /// by the range, as in LeRobot.
    #[must_use]
    pub fn position(self, scale: Scale, value: f64) -> Option<f64> {
        let turned = self.drive_mode == 1;
        value.is_finite().then(|| match scale {
            Scale::Degrees => value * LAST_STEP / 360.0 + self.middle(),
            Scale::RangeM100To100 => {
                let value = (if turned { -value } else { value }).clamp(-100.0, 100.0);
                (value + 100.0) / 200.0 * self.span() + f64::from(self.range_min)
            }
            Scale::Range0To100 => {
                let value = (if turned { 100.0 - value } else { value }).clamp(0.0, 100.0);
                value / 100.0 * self.span() + f64::from(self.range_min)
            }
        })
    }

    /// The step that LeRobot would send for a value: [`JointCalibration::position`], cut towards zero as Python's
    /// `int()` does.
    #[must_use]
    pub fn unnormalise(self, scale: Scale, value: f64) -> Option<i32> {
        // Beyond i32 it saturates.
        self.position(scale, value).map(|steps| steps as i32)
    }
}

/// Where LeRobot keeps the calibration `id` of a follower arm: `$HF_LEROBOT_CALIBRATION`, or
/// `$HF_LEROBOT_HOME/calibration`, or `~/.cache/huggingface/lerobot/calibration`, then `robots/NAME/ID.json` with
/// each name that the class has had. The first that exists, or `None`. `variable` looks up the environment.
#[must_use]
pub fn find(id: &str, variable: impl Fn(&str) -> Option<String>) -> Option<PathBuf> {
    let root = match (variable("HF_LEROBOT_CALIBRATION"), variable("HF_LEROBOT_HOME"), variable("HOME")) {
        (Some(root), _, _) => PathBuf::from(root),
        (None, Some(home), _) => Path::new(&home).join("calibration"),
        (None, None, Some(home)) => Path::new(&home).join(".cache/huggingface/lerobot/calibration"),
        (None, None, None) => return None,
    };
    ["so_follower", "so101_follower", "so100_follower"]
        .into_iter()
        .map(|robot| root.join("robots").join(robot).join(format!("{id}.json")))
        .find(|path| path.is_file())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests fail by panicking")]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const PAN: JointCalibration =
        JointCalibration { id: 1, drive_mode: 0, homing_offset: -1470, range_min: 758, range_max: 3292 };

    #[test]
    fn figures_are_those_of_lerobot() {
        // (steps, degrees, -100..100, 0..100), worked out by hand from LeRobot's formulas.
        for (steps, degrees, range, share) in [
            (758, -111.384_615, -100.0, 0.0),
            (2025, 0.0, 0.0, 50.0),
            (3292, 111.384_615, 100.0, 100.0),
            (3400, 120.879_121, 100.0, 100.0),
        ] {
            assert!((PAN.normalise(Scale::Degrees, steps) - degrees).abs() < 1e-5, "{steps}");
            assert!((PAN.normalise(Scale::RangeM100To100, steps) - range).abs() < 1e-9, "{steps}");
            assert!((PAN.normalise(Scale::Range0To100, steps) - share).abs() < 1e-9, "{steps}");
        }
        // int() of Python goes towards zero: 2025 + 11.375 = 2036.375.
        assert_eq!(PAN.unnormalise(Scale::Degrees, 1.0), Some(2036));
        assert_eq!(PAN.unnormalise(Scale::Range0To100, 250.0), Some(3292));
        assert_eq!(PAN.unnormalise(Scale::Degrees, f64::NAN), None);
        let turned = JointCalibration { drive_mode: 1, ..PAN };
        assert!((turned.normalise(Scale::RangeM100To100, 758) - 100.0).abs() < 1e-9);
        assert!((turned.normalise(Scale::Range0To100, 758) - 100.0).abs() < 1e-9);
        assert!((turned.normalise(Scale::Degrees, 758) + 111.384_615).abs() < 1e-5);
    }

    proptest! {
        #[test]
        fn there_and_back_is_within_a_step(steps in 758..=3292, drive_mode in 0..=1_u8) {
            let joint = JointCalibration { drive_mode, ..PAN };
            for scale in [Scale::Degrees, Scale::RangeM100To100, Scale::Range0To100] {
                let back = joint.unnormalise(scale, joint.normalise(scale, steps)).unwrap();
                prop_assert!((back - steps).abs() <= 1, "{scale:?}: {steps} became {back}");
            }
        }

        #[test]
        fn no_text_breaks_the_reader(text in any::<String>()) {
            let _refused_or_not = Calibration::from_json(&text);
        }
    }

    #[test]
    fn what_cannot_be_is_named() {
        let with = |id: i64, mode: i64, offset: i64, min: i64, max: i64| {
            format!(
                r#"{{"a": {{"id": 1, "drive_mode": 0, "homing_offset": 0, "range_min": 0, "range_max": 9}},
                "b": {{"id": {id}, "drive_mode": {mode}, "homing_offset": {offset}, "range_min": {min},
                "range_max": {max}}}}}"#
            )
        };
        assert!(Calibration::from_json(&with(2, 0, -1470, 758, 3292)).is_ok());
        for (text, said) in [
            (with(1, 0, 0, 0, 9), "id = 1, expected another than that of"),
            (with(253, 0, 0, 0, 9), "id = 253, expected 0 to 252"),
            (with(2, 2, 0, 0, 9), "drive_mode = 2, expected 0 or 1"),
            (with(2, 0, 2048, 0, 9), "homing_offset = 2048, expected -2047 to 2047"),
            (with(2, 0, 0, 9, 9), "range_max = 9, expected above range_min = 9"),
            (with(999, 0, 0, 0, 9), "line 2"),
            ("[]".into(), "expected {\"JOINT\""),
        ] {
            let error = Calibration::from_json(&text).unwrap_err().to_string();
            assert!(error.contains(said), "{error}");
        }
        let error = Calibration::from_json(&with(2, 0, 0, 0, 9)).unwrap().joint("c").unwrap_err();
        assert_eq!(error.to_string(), "the calibration has no joint `c`; it has a, b");
    }

    #[test]
    fn lerobots_folders_are_looked_through() {
        let folder = std::env::temp_dir().join(format!("reflexarc-calibration-{}", std::process::id()));
        let file = folder.join("calibration/robots/so101_follower/black.json");
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(&file, "{}").unwrap();
        let home = folder.display().to_string();
        let variable = |name: &str| (name == "HF_LEROBOT_HOME").then(|| home.clone());
        assert_eq!(find("black", variable), Some(file));
        assert_eq!(find("white", variable), None);
        std::fs::remove_dir_all(folder).unwrap();
    }
}
