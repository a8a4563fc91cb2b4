//! Power and energy sensors of the kernel's hardware monitoring that are not an INA3221.
//!
//! Source: the kernel's `Documentation/hwmon/sysfs-interface.rst`.

use std::path::{Path, PathBuf};

use super::sysfs::{self, Reason, Unavailable};
use super::{PowerReading, Source};

/// More than a robot's computer draws, µW.
const MAX_UW: i64 = 10_000_000_000;
/// Sensors of one device at most.
const MAX_SENSORS: u8 = 16;

/// What a sensor counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Quantity {
    /// Power now, or averaged by the sensor.
    Power,
    /// Energy since some moment.
    Energy,
}

/// One sensor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sensor {
    /// The device's name, and the sensor's label if it has one.
    pub name: String,
    /// What it counts.
    pub quantity: Quantity,
    device: String,
    path: PathBuf,
}

impl Sensor {
    /// Its power now; for sensors of [`Quantity::Power`].
    ///
    /// # Errors
    /// [`Unavailable`] with the file that does not tell.
    pub fn read_power(&self) -> Result<PowerReading, Unavailable> {
        let uw = sysfs::number(&self.path, 0, MAX_UW)?;
        Ok(PowerReading { source: Source::Hwmon, name: self.name.clone(), power_w: uw as f64 * 1e-6 })
    }

    /// Its counter now, µJ; for sensors of [`Quantity::Energy`].
    ///
    /// # Errors
    /// [`Unavailable`] with the file that does not tell.
    pub fn read_uj(&self) -> Result<u64, Unavailable> {
        Ok(sysfs::number(&self.path, 0, i64::MAX)?.unsigned_abs())
    }

    /// What it covers, in words.
    #[must_use]
    pub fn scope(&self) -> String {
        match self.device.as_str() {
            "power_meter" => "the whole computer (ACPI power meter)".to_owned(),
            _ => format!("what the sensor {} is wired to", self.name),
        }
    }

    /// Sensors of whole computers come first.
    pub(super) fn is_total(&self) -> bool {
        self.device == "power_meter"
    }
}

/// All sensors below `root` (`/sys`).
///
/// # Errors
/// [`Unavailable`] if there are none.
pub fn sensors(root: &Path) -> Result<Vec<Sensor>, Unavailable> {
    let class = root.join("class/hwmon");
    let mut sensors = Vec::new();
    for folder in sysfs::entries(&class, |name| name.starts_with("hwmon"))? {
        let device = sysfs::text(&folder.join("name")).unwrap_or_else(|_| sysfs::name(&folder));
        if device == "ina3221" {
            continue;
        }
        for index in 1..=MAX_SENSORS {
            for (kind, quantity, files) in [
                ("power", Quantity::Power, ["input", "average"]),
                ("energy", Quantity::Energy, ["input", "input"]),
            ] {
                let candidates = files.map(|file| folder.join(format!("{kind}{index}_{file}")));
                if let Some(path) = candidates.into_iter().find(|path| path.exists()) {
                    let label = sysfs::text(&folder.join(format!("{kind}{index}_label")));
                    let label = label.unwrap_or_else(|_| format!("{kind}{index}"));
                    let name = format!("{device} {label}");
                    sensors.push(Sensor { name, quantity, device: device.clone(), path });
                }
            }
        }
    }
    if sensors.is_empty() {
        return Err(Unavailable::new(class.join("hwmon*/power*_input"), Reason::NoSuchFile));
    }
    Ok(sensors)
}
