//! What the board says about its own power and heat, read from sysfs.
//!
//! Every figure has a unit, a source and a scope, or it is an [`Unavailable`] with the reason. Nothing is
//! estimated here: a board without a meter has no joules.
//!
//! | module | reads | unit of the file |
//! |---|---|---|
//! | [`ina3221`] | rails of a Jetson module, over-current alarms | mV, mA |
//! | [`rapl`] | energy counters of x86 processors | µJ, wrapping |
//! | [`hwmon`] | any other power or energy sensor of the kernel | µW, µJ |
//! | [`thermal`] | temperatures and their trip points, cooling devices | m°C |
//! | [`throttle`] | whether something holds the clocks back | flags and counters |
//! | [`meter`] | power → energy over time, and by which method | – |
//! | [`board`] | all of it, as one reading | – |
//!
//! The root (`/sys`) is a parameter, and time an argument, so that tests read trees of their own. Reading
//! sysfs may wait for an I²C bus for milliseconds: poll from a thread that may wait, a few times a second.
//!
//! Not read: discrete NVIDIA GPUs (they need NVML), a Raspberry Pi's power (its firmware tells it through a
//! mailbox only), and what is drawn outside the measured rail.

pub mod board;
pub mod hwmon;
pub mod ina3221;
pub mod meter;
pub mod rapl;
mod sysfs;
pub mod thermal;
pub mod throttle;

pub use board::{Board, BoardReading};
pub use meter::{EnergyMeter, EnergyReading, Method};
pub use sysfs::{Reason, Unavailable};
pub use thermal::Temperature;
pub use throttle::{Throttle, ThrottleKind};

use serde::{Deserialize, Serialize};

/// Where a power or energy figure comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    /// The INA3221 monitors of a Jetson module.
    Ina3221,
    /// The running average power limit counters of an x86 processor.
    Rapl,
    /// Another sensor of the kernel's hardware monitoring.
    Hwmon,
}

impl Source {
    /// Its name in reports.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ina3221 => "ina3221",
            Self::Rapl => "rapl",
            Self::Hwmon => "hwmon",
        }
    }
}

/// Power of one rail at one moment.
#[derive(Clone, Debug, PartialEq)]
pub struct PowerReading {
    /// Where it comes from.
    pub source: Source,
    /// The rail or sensor.
    pub name: String,
    /// Power, W.
    pub power_w: f64,
}
