//! Whether something holds the clocks back: a figure measured meanwhile is not what the board can do.

use std::path::{Path, PathBuf};

use super::ina3221;
use super::sysfs::{self, Reason, Unavailable};

/// Highest clock that is believed, kHz.
const MAX_KHZ: i64 = 20_000_000;

/// What kind of sign it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ThrottleKind {
    /// A power monitor has seen too much current.
    OverCurrent,
    /// The kernel's thermal management limits a processor through a cooling device.
    Cooling,
    /// The highest allowed clock has sunk since the watch began.
    Clock,
    /// The processor's own count of thermal throttling has grown.
    Counter,
    /// A Raspberry Pi's firmware reports under-voltage, a capped clock or throttling.
    Firmware,
}

impl ThrottleKind {
    /// Its name in reports.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::OverCurrent => "over_current",
            Self::Cooling => "cooling",
            Self::Clock => "clock",
            Self::Counter => "counter",
            Self::Firmware => "firmware",
        }
    }
}

/// One sign of throttling, as it stands now.
#[derive(Clone, Debug, PartialEq)]
pub struct Throttle {
    /// What kind of sign it is.
    pub kind: ThrottleKind,
    /// Rail, cooling device, clock domain or processor.
    pub name: String,
    /// Whether it holds something back now.
    pub active: bool,
    /// What was read, in words.
    pub detail: String,
}

#[derive(Clone, Debug)]
enum Sign {
    Alarm { rail: String, path: PathBuf },
    Cooling { name: String, folder: PathBuf },
    Clock { name: String, folder: PathBuf, cap_khz: i64 },
    Counter { path: PathBuf, name: String, last: i64 },
    Firmware { path: PathBuf },
}

/// Follows all signs that the board offers.
#[derive(Clone, Debug)]
pub struct ThrottleWatch {
    signs: Vec<Sign>,
    missing: Vec<Unavailable>,
}

/// Cooling devices that slow a processor down; the others (fans above all) cool without cost.
fn slows(kind: &str) -> bool {
    let kind = kind.to_ascii_lowercase();
    ["cpufreq", "devfreq", "processor", "powerclamp", "cpu-cluster", "gpu"]
        .iter()
        .any(|part| kind.contains(part))
}

impl ThrottleWatch {
    /// Looks for signs below `root` (`/sys`), and remembers how clocks and counters stand.
    #[must_use]
    pub fn open(root: &Path) -> Self {
        let (mut signs, mut missing) = (Vec::new(), Vec::new());
        for rail in ina3221::rails(root).unwrap_or_default() {
            for path in rail.alarms().into_iter().filter(|path| path.exists()) {
                signs.push(Sign::Alarm { rail: rail.label.clone(), path });
            }
        }
        let thermal = root.join("class/thermal");
        for folder in sysfs::entries(&thermal, |name| name.starts_with("cooling_device")).unwrap_or_default()
        {
            let kind = sysfs::text(&folder.join("type")).unwrap_or_default();
            if slows(&kind) {
                signs.push(Sign::Cooling { name: format!("{kind} ({})", sysfs::name(&folder)), folder });
            }
        }
        let cpu = root.join("devices/system/cpu");
        match sysfs::entries(&cpu.join("cpufreq"), |name| name.starts_with("policy")) {
            Ok(policies) => {
                for folder in policies {
                    match sysfs::number(&folder.join("scaling_max_freq"), 1, MAX_KHZ) {
                        Ok(cap_khz) => {
                            signs.push(Sign::Clock { name: sysfs::name(&folder), folder, cap_khz })
                        }
                        Err(fault) => missing.push(fault),
                    }
                }
            }
            Err(fault) => missing.push(fault),
        }
        let is_cpu = |name: &str| {
            name.strip_prefix("cpu")
                .is_some_and(|rest| !rest.is_empty() && rest.bytes().all(|b| b.is_ascii_digit()))
        };
        for folder in sysfs::entries(&cpu, is_cpu).unwrap_or_default() {
            for file in ["core_throttle_count", "package_throttle_count"] {
                let path = folder.join("thermal_throttle").join(file);
                if let Ok(last) = sysfs::number(&path, 0, i64::MAX) {
                    signs.push(Sign::Counter {
                        name: format!("{} {file}", sysfs::name(&folder)),
                        path,
                        last,
                    });
                }
            }
        }
        let firmware = root.join("devices/platform/soc/soc:firmware/get_throttled");
        if firmware.exists() {
            signs.push(Sign::Firmware { path: firmware });
        }
        if signs.is_empty() && missing.is_empty() {
            missing.push(Unavailable::new(cpu.join("cpufreq/policy*"), Reason::NoSuchFile));
        }
        Self { signs, missing }
    }

    /// How every sign stands now, and what did not tell. Work is bounded by the number of signs.
    pub fn poll(&mut self) -> (Vec<Throttle>, Vec<Unavailable>) {
        let (mut throttles, mut faults) = (Vec::new(), self.missing.clone());
        for sign in &mut self.signs {
            match sign.read() {
                Ok(throttle) => throttles.push(throttle),
                Err(fault) => faults.push(fault),
            }
        }
        (throttles, faults)
    }
}

impl Sign {
    fn read(&mut self) -> Result<Throttle, Unavailable> {
        let throttle =
            |kind, name: &str, active, detail| Throttle { kind, name: name.to_owned(), active, detail };
        match self {
            Self::Alarm { rail, path } => {
                let file = sysfs::name(path);
                let active = sysfs::number(path, 0, 1)? == 1;
                let name = format!("{rail} {file}");
                Ok(throttle(
                    ThrottleKind::OverCurrent,
                    &name,
                    active,
                    format!("{file} = {}", u8::from(active)),
                ))
            }
            Self::Cooling { name, folder } => {
                // An idle injector that is off says -1.
                let state = sysfs::number(&folder.join("cur_state"), -1, i64::MAX)?;
                let most = sysfs::number(&folder.join("max_state"), 0, i64::MAX)?;
                Ok(throttle(ThrottleKind::Cooling, name, state > 0, format!("state {state} of {most}")))
            }
            Self::Clock { name, folder, cap_khz } => {
                let cap = sysfs::number(&folder.join("scaling_max_freq"), 1, MAX_KHZ)?;
                let now = sysfs::number(&folder.join("scaling_cur_freq"), 0, MAX_KHZ)?;
                let detail = format!(
                    "{} MHz, at most {} MHz allowed, {} MHz at the start",
                    now / 1000,
                    cap / 1000,
                    *cap_khz / 1000
                );
                Ok(throttle(ThrottleKind::Clock, name, cap < *cap_khz, detail))
            }
            Self::Counter { path, name, last } => {
                let count = sysfs::number(path, 0, i64::MAX)?;
                let grown = count > *last;
                *last = count;
                Ok(throttle(ThrottleKind::Counter, name, grown, format!("{count} times since boot")))
            }
            Self::Firmware { path } => {
                let text = sysfs::text(path)?;
                let bits = u32::from_str_radix(text.trim_start_matches("0x"), 16)
                    .map_err(|_| Unavailable::new(&*path, Reason::Garbage { found: text }))?;
                let words = ["under-voltage", "clock capped", "throttled", "soft temperature limit"];
                let now: Vec<&str> = words
                    .iter()
                    .enumerate()
                    .filter(|(bit, _)| bits >> bit & 1 == 1)
                    .map(|(_, word)| *word)
                    .collect();
                let before = if bits >> 16 & 0xf == 0 { "" } else { ", has happened since boot" };
                let detail = format!("0x{bits:x} {}{before}", now.join(", "));
                Ok(throttle(ThrottleKind::Firmware, "get_throttled", !now.is_empty(), detail))
            }
        }
    }
}
