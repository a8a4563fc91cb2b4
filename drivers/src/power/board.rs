//! Everything that the board tells, as one reading.

use std::path::Path;

use super::PowerReading;
use super::ina3221::{self, Rail};
use super::meter::{EnergyMeter, EnergyReading};
use super::sysfs::Unavailable;
use super::thermal::{self, Temperature, Zone};
use super::throttle::{Throttle, ThrottleWatch};

/// One reading of the board.
#[derive(Clone, Debug)]
pub struct BoardReading {
    /// Energy since the first poll; or why there is none.
    pub energy: Result<EnergyReading, Vec<Unavailable>>,
    /// Power of each rail, where the board has rails.
    pub rails: Vec<PowerReading>,
    /// Temperatures.
    pub temperatures: Vec<Temperature>,
    /// Signs of throttling, active or not.
    pub throttles: Vec<Throttle>,
    /// Polls in which something held the clocks back.
    pub throttled_polls: u64,
    /// Polls so far.
    pub polls: u64,
    /// What the board does not tell about rails, heat and clocks.
    pub unavailable: Vec<Unavailable>,
}

/// The sensors of one board.
#[derive(Clone, Debug)]
pub struct Board {
    meter: EnergyMeter,
    rails: Vec<Rail>,
    zones: Vec<Zone>,
    throttle: ThrottleWatch,
    missing: Vec<Unavailable>,
    polls: u64,
    throttled_polls: u64,
}

impl Board {
    /// Looks for sensors below `root` (`/sys`). Finding none is no error: the readings will say so.
    #[must_use]
    pub fn open(root: &Path) -> Self {
        let mut missing = Vec::new();
        let zones = thermal::zones(root).unwrap_or_else(|fault| {
            missing.push(fault);
            Vec::new()
        });
        Self {
            meter: EnergyMeter::open(root),
            // Their absence is among the meter's reasons.
            rails: ina3221::rails(root).unwrap_or_default(),
            zones,
            throttle: ThrottleWatch::open(root),
            missing,
            polls: 0,
            throttled_polls: 0,
        }
    }

    /// Reads everything once; `now_ns` is monotonic. May wait for a bus for milliseconds.
    pub fn poll(&mut self, now_ns: u64) -> BoardReading {
        self.meter.poll(now_ns);
        let mut unavailable = self.missing.clone();
        let mut temperatures = Vec::new();
        for zone in &self.zones {
            match zone.read() {
                Ok(temperature) => temperatures.push(temperature),
                Err(fault) => unavailable.push(fault),
            }
        }
        let mut rails = Vec::new();
        for rail in &self.rails {
            match rail.read() {
                Ok(reading) => rails.push(reading),
                Err(fault) => unavailable.push(fault),
            }
        }
        let (throttles, faults) = self.throttle.poll();
        unavailable.extend(faults);
        self.polls += 1;
        self.throttled_polls += u64::from(throttles.iter().any(|throttle| throttle.active));
        BoardReading {
            energy: self.meter.reading(),
            rails,
            temperatures,
            throttles,
            throttled_polls: self.throttled_polls,
            polls: self.polls,
            unavailable,
        }
    }
}
