//! What must stand in an arm's servos before it is driven, and writing it with consent.
//!
//! The driver itself writes nothing that outlives the power. The values are LeRobot's (`configure` of its SO follower,
//! lerobot 7427f31); the calibration is the file's.

use super::bus::{BusError, ServoBus};
use super::config::{Axis, AxisKind};
use super::driver::calibration_registers;
use super::servo::ServoKind;

/// Bit of the register `phase` that LeRobot clears.
const PHASE_BIT: i64 = 1 << 4;

/// A register that should hold something else.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setting {
    /// The servo's number.
    pub id: u8,
    /// Its axis.
    pub axis: String,
    /// The register.
    pub register: &'static str,
    /// What it holds.
    pub found: i64,
    /// What it should hold.
    pub wanted: i64,
}

impl std::fmt::Display for Setting {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { id, axis, register, found, wanted } = self;
        write!(f, "servo {id} ({axis}): {register} is {found}, should be {wanted}")
    }
}

/// Every register that should hold something else. Writes nothing.
///
/// # Errors
/// [`BusError`] for the first servo that does not answer.
pub fn differences(bus: &mut ServoBus, axes: &[Axis]) -> Result<Vec<Setting>, BusError> {
    let mut found = Vec::new();
    for axis in axes {
        let id = axis.figures.id;
        for (register, wanted) in wanted(bus.kind(), axis) {
            let holds = bus.register(id, register)?;
            let wanted = if register == "phase" { holds & !PHASE_BIT } else { wanted };
            if holds != wanted {
                found.push(Setting { id, axis: axis.name.clone(), register, found: holds, wanted });
            }
        }
    }
    Ok(found)
}

/// Writes the settings. The torque of all servos goes off first, so somebody must hold the arm.
///
/// # Errors
/// [`BusError`] for the first servo that does not take it.
pub fn apply(bus: &mut ServoBus, settings: &[Setting]) -> Result<(), BusError> {
    bus.set_torque(false)?;
    for setting in settings {
        bus.set_register(setting.id, setting.register, setting.wanted)?;
    }
    Ok(())
}

fn wanted(kind: ServoKind, axis: &Axis) -> Vec<(&'static str, i64)> {
    let mut wanted = Vec::new();
    match kind {
        ServoKind::Sts3215 => {
            wanted.extend([
                ("return_delay_time", 0),
                ("operating_mode", 0),
                ("maximum_acceleration", 254),
                ("phase", 0),
                ("p_coefficient", 16),
                ("i_coefficient", 0),
                ("d_coefficient", 32),
            ]);
            if matches!(axis.kind, AxisKind::Width { .. }) {
                wanted.extend([
                    ("max_torque_limit", 500),
                    ("protection_current", 250),
                    ("overload_torque", 25),
                ]);
            }
        }
        ServoKind::Xl330 | ServoKind::Xl430 => {
            wanted.extend([("return_delay_time", 0), ("operating_mode", 3)])
        }
    }
    wanted.extend(calibration_registers(axis));
    wanted
}
