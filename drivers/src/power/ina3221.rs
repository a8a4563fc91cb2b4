//! The INA3221 power monitors of NVIDIA Jetson modules.
//!
//! Source: the kernel's `Documentation/hwmon/ina3221.rst`; rails after NVIDIA's Jetson Linux developer guide.
//! Channels are found by their labels, because their numbers differ between modules and boots.

use std::path::{Path, PathBuf};

use super::sysfs::{self, Reason, Unavailable};
use super::{PowerReading, Source};

/// Voltage that a channel can measure at the most, mV.
const MAX_MV: i64 = 30_000;
/// More current than any rail of a module carries, mA. Noise around zero may be a little negative.
const MAX_MA: i64 = 100_000;

/// Labels of rails that carry all that a module draws.
const TOTALS: [&str; 2] = ["VDD_IN", "POM_5V_IN"];
/// Modules without such a rail: separately supplied rails that together make up the module.
const SUMS: [&[&str]; 2] =
    [&["VDD_GPU_SOC", "VDD_CPU_CV", "VIN_SYS_5V0"], &["GPU", "CPU", "SOC", "CV", "VDDRQ", "SYS5V"]];

/// One channel of one monitor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rail {
    /// Its label.
    pub label: String,
    folder: PathBuf,
    channel: u8,
}

impl Rail {
    /// Its power now.
    ///
    /// # Errors
    /// [`Unavailable`] with the file that does not tell.
    pub fn read(&self) -> Result<PowerReading, Unavailable> {
        let channel = self.channel;
        let mv = sysfs::number(&self.folder.join(format!("in{channel}_input")), 0, MAX_MV)?;
        let ma = sysfs::number(&self.folder.join(format!("curr{channel}_input")), -1_000, MAX_MA)?;
        Ok(PowerReading {
            source: Source::Ina3221,
            name: self.label.clone(),
            power_w: (mv * ma.max(0)) as f64 * 1e-6,
        })
    }

    /// The files that say whether too much current has made the module slow down; `1` means yes.
    pub(super) fn alarms(&self) -> [PathBuf; 2] {
        ["crit", "max"].map(|kind| self.folder.join(format!("curr{}_{kind}_alarm", self.channel)))
    }
}

/// All rails below `root` (`/sys`).
///
/// # Errors
/// [`Unavailable`] if there is no such monitor.
pub fn rails(root: &Path) -> Result<Vec<Rail>, Unavailable> {
    let driver = root.join("bus/i2c/drivers/ina3221");
    let mut rails = Vec::new();
    for device in sysfs::entries(&driver, |name| name.contains("-00"))? {
        for folder in sysfs::entries(&device.join("hwmon"), |name| name.starts_with("hwmon"))? {
            for channel in 1..=3_u8 {
                // A channel without a label is not connected; newer kernels say so.
                if let Ok(label) = sysfs::text(&folder.join(format!("in{channel}_label")))
                    && !label.is_empty()
                    && label != "NC"
                {
                    rails.push(Rail { label, folder: folder.clone(), channel });
                }
            }
        }
    }
    if rails.is_empty() {
        return Err(Unavailable::new(driver, Reason::NoSuchFile));
    }
    Ok(rails)
}

/// The rails that together carry all that the module draws, and what that is in words.
///
/// # Errors
/// [`Unavailable`] if none of the rails is known to be the total: adding up unknown rails could count some
/// power twice.
pub fn total(root: &Path, rails: &[Rail]) -> Result<(Vec<Rail>, String), Unavailable> {
    let find = |label: &&str| rails.iter().find(|rail| rail.label == **label).cloned();
    if let Some(rail) = TOTALS.iter().find_map(find) {
        let scope = format!("the module without its carrier board (rail {})", rail.label);
        return Ok((vec![rail], scope));
    }
    for labels in SUMS {
        let parts: Vec<Rail> = labels.iter().filter_map(find).collect();
        if parts.len() == labels.len() {
            return Ok((parts, format!("the module's rails {} added up", labels.join(" + "))));
        }
    }
    let found: Vec<&str> = rails.iter().map(|rail| rail.label.as_str()).collect();
    Err(Unavailable::new(root.join("bus/i2c/drivers/ina3221"), Reason::NoTotal { found: found.join(", ") }))
}
