//! Temperatures, the trip points at which the kernel acts, and its cooling devices.
//!
//! Source: the kernel's `Documentation/driver-api/thermal/sysfs-api.rst`.

use std::path::{Path, PathBuf};

use super::sysfs::{self, Reason, Unavailable};

/// What a sensor near a chip may say, m°C; switched-off sensors say -273 °C or worse.
const RANGE_MC: (i64, i64) = (-60_000, 200_000);
/// Trip points of one zone at most.
const MAX_TRIPS: usize = 16;

/// A temperature with the points at which the kernel acts.
#[derive(Clone, Debug, PartialEq)]
pub struct Temperature {
    /// The zone's type, such as `cpu-thermal`; with its number where a type comes twice.
    pub zone: String,
    /// Temperature, °C.
    pub temperature_c: f64,
    /// From here on the kernel slows the chip down, °C.
    pub passive_c: Option<f64>,
    /// Here the kernel switches the board off, °C.
    pub critical_c: Option<f64>,
}

/// One thermal zone.
#[derive(Clone, Debug, PartialEq)]
pub struct Zone {
    name: String,
    folder: PathBuf,
    passive_c: Option<f64>,
    critical_c: Option<f64>,
}

impl Zone {
    /// Its temperature now.
    ///
    /// # Errors
    /// [`Unavailable`], for instance because the sensor is switched off.
    pub fn read(&self) -> Result<Temperature, Unavailable> {
        let mc = sysfs::number(&self.folder.join("temp"), RANGE_MC.0, RANGE_MC.1)?;
        Ok(Temperature {
            zone: self.name.clone(),
            temperature_c: mc as f64 / 1e3,
            passive_c: self.passive_c,
            critical_c: self.critical_c,
        })
    }
}

/// All zones below `root` (`/sys`).
///
/// # Errors
/// [`Unavailable`] if there are none.
pub fn zones(root: &Path) -> Result<Vec<Zone>, Unavailable> {
    let class = root.join("class/thermal");
    let mut zones: Vec<Zone> = Vec::new();
    for folder in sysfs::entries(&class, |name| name.starts_with("thermal_zone"))? {
        let kind = sysfs::text(&folder.join("type")).unwrap_or_else(|_| sysfs::name(&folder));
        let taken = zones.iter().any(|zone| zone.name == kind);
        let name = if taken { format!("{kind} ({})", sysfs::name(&folder)) } else { kind };
        let lowest = |kinds: &[&str]| {
            let trips = (0..MAX_TRIPS).filter_map(|index| {
                let kind = sysfs::text(&folder.join(format!("trip_point_{index}_type"))).ok()?;
                let path = folder.join(format!("trip_point_{index}_temp"));
                // A trip point of 0 °C or less is one that is not set.
                let mc = sysfs::number(&path, 1, RANGE_MC.1).ok()?;
                kinds.contains(&kind.as_str()).then_some(mc as f64 / 1e3)
            });
            trips.reduce(f64::min)
        };
        let (passive_c, critical_c) = (lowest(&["passive", "hot"]), lowest(&["critical"]));
        zones.push(Zone { name, passive_c, critical_c, folder });
    }
    if zones.is_empty() {
        return Err(Unavailable::new(class.join("thermal_zone*"), Reason::NoSuchFile));
    }
    Ok(zones)
}
