//! Energy over time: counters are subtracted, power is integrated, and the reading says which.
//!
//! All ways to a total that the board offers are followed at the same time; the first that works is told.
//! Two trapezoids are never laid over a hole: time in which a sensor did not tell, or was not asked for too
//! long, is counted as uncovered.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::Source;
use super::hwmon::{self, Quantity, Sensor};
use super::ina3221::{self, Rail};
use super::rapl::{self, Domain, difference_uj};
use super::sysfs::{Reason, Unavailable};

/// Longest time between two readings of power that a straight line may bridge, ns.
pub const MAX_GAP_NS: u64 = 2_000_000_000;
/// No computer on a robot draws more for long, W: tells after how long a counter may have wrapped twice.
const MAX_POWER_W: f64 = 2_000.0;
/// A counter that has not moved for this long is stuck, ns.
const STUCK_NS: u64 = 3_000_000_000;

/// How energy is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Method {
    /// The difference of an energy counter of the hardware.
    Counter,
    /// Power readings, joined by straight lines and integrated.
    Trapezoid,
}

impl Method {
    /// Its name in reports.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Trapezoid => "trapezoid",
        }
    }
}

/// Energy since the meter was opened.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EnergyReading {
    /// Energy, J.
    pub energy_j: f64,
    /// Power, W: at the last reading, or over the last interval of a counter.
    pub power_w: f64,
    /// Where it comes from.
    pub source: Source,
    /// What it covers, in words.
    pub scope: String,
    /// How it was found.
    pub method: Method,
    /// Good readings.
    pub readings: u64,
    /// Time that the energy is about, s.
    pub covered_s: f64,
    /// Time that it is not about, because there was no reading, s.
    pub uncovered_s: f64,
}

/// The sensors that make up one total.
#[derive(Clone, Debug)]
enum Parts {
    Rails(Vec<Rail>),
    Domains(Vec<(Domain, Option<u64>)>),
    Power(Sensor),
    Energy(Sensor, Option<u64>),
}

/// One way to a total, with what it has found so far.
#[derive(Clone, Debug)]
struct Way {
    source: Source,
    scope: String,
    parts: Parts,
    energy_j: f64,
    power_w: f64,
    readings: u64,
    /// The last good reading.
    last_ns: Option<u64>,
    /// The last reading at all.
    asked_ns: Option<u64>,
    covered_ns: u64,
    uncovered_ns: u64,
    fault: Option<Unavailable>,
}

impl Way {
    fn new(source: Source, scope: String, parts: Parts) -> Self {
        Self {
            source,
            scope,
            parts,
            energy_j: 0.0,
            power_w: 0.0,
            readings: 0,
            last_ns: None,
            asked_ns: None,
            covered_ns: 0,
            uncovered_ns: 0,
            fault: None,
        }
    }

    fn method(&self) -> Method {
        match self.parts {
            Parts::Rails(_) | Parts::Power(_) => Method::Trapezoid,
            Parts::Domains(_) | Parts::Energy(..) => Method::Counter,
        }
    }

    fn poll(&mut self, now_ns: u64) {
        match self.read(now_ns) {
            Ok(()) => {
                self.readings += 1;
                self.last_ns = Some(now_ns);
                self.fault = None;
            }
            Err(fault) => {
                // What a counter missed it will tell the next time; power that was not read is lost.
                if self.method() == Method::Trapezoid {
                    self.uncovered_ns += since(self.asked_ns, now_ns);
                    self.last_ns = None;
                }
                self.fault = Some(fault);
            }
        }
        self.asked_ns = Some(now_ns);
    }

    fn read(&mut self, now_ns: u64) -> Result<(), Unavailable> {
        let (last_ns, asked_ns) = (self.last_ns, self.asked_ns);
        match &mut self.parts {
            Parts::Rails(rails) => {
                let mut power_w = 0.0;
                for rail in rails.iter() {
                    power_w += rail.read()?.power_w;
                }
                self.integrate(last_ns, asked_ns, now_ns, power_w);
            }
            Parts::Power(sensor) => {
                let power_w = sensor.read_power()?.power_w;
                self.integrate(last_ns, asked_ns, now_ns, power_w);
            }
            Parts::Domains(domains) => {
                let mut values = Vec::with_capacity(domains.len());
                let mut least_range_uj = u64::MAX;
                for (domain, _) in domains.iter() {
                    values.push(domain.read_uj()?);
                    least_range_uj = least_range_uj.min(domain.range_uj);
                }
                let mut difference = Some(0);
                for ((domain, last), value) in domains.iter_mut().zip(values) {
                    let step = last.map(|last| difference_uj(last, value, domain.range_uj));
                    difference = difference.zip(step).map(|(sum, step)| sum + step);
                    *last = Some(value);
                }
                let longest_s = least_range_uj as f64 * 1e-6 / MAX_POWER_W;
                self.count(now_ns, difference, longest_s);
            }
            Parts::Energy(sensor, last) => {
                let value = sensor.read_uj()?;
                // These count in 64 bits: a smaller value is a counter set back, not one that wrapped.
                let difference = last.and_then(|last| value.checked_sub(last));
                *last = Some(value);
                self.count(now_ns, difference, f64::INFINITY);
            }
        }
        Ok(())
    }

    fn integrate(&mut self, last_ns: Option<u64>, asked_ns: Option<u64>, now_ns: u64, power_w: f64) {
        match last_ns {
            Some(last_ns) if now_ns.saturating_sub(last_ns) <= MAX_GAP_NS => {
                let gap_ns = now_ns.saturating_sub(last_ns);
                self.energy_j += 0.5 * (self.power_w + power_w) * gap_ns as f64 * 1e-9;
                self.covered_ns += gap_ns;
            }
            _ => self.uncovered_ns += since(asked_ns, now_ns),
        }
        self.power_w = power_w;
    }

    fn count(&mut self, now_ns: u64, difference_uj: Option<u64>, longest_s: f64) {
        let gap_ns = since(self.last_ns, now_ns);
        let gap_s = gap_ns as f64 * 1e-9;
        match difference_uj {
            Some(difference_uj) if gap_s <= longest_s => {
                let energy_j = difference_uj as f64 * 1e-6;
                self.energy_j += energy_j;
                self.covered_ns += gap_ns;
                if gap_ns > 0 {
                    self.power_w = energy_j / gap_s;
                }
            }
            _ => self.uncovered_ns += gap_ns,
        }
    }

    fn reading(&self) -> Result<EnergyReading, Unavailable> {
        if self.covered_ns == 0 {
            let waiting = || Unavailable::new(self.scope.clone(), Reason::TooFew);
            return Err(self.fault.clone().unwrap_or_else(waiting));
        }
        if self.energy_j <= 0.0 && self.covered_ns >= STUCK_NS {
            return Err(Unavailable::new(self.scope.clone(), Reason::Stuck));
        }
        // A counter's last stretch is not known while it does not tell.
        let open_ns = match (self.method(), &self.fault) {
            (Method::Counter, Some(_)) => self.asked_ns.map_or(0, |asked_ns| since(self.last_ns, asked_ns)),
            _ => 0,
        };
        Ok(EnergyReading {
            energy_j: self.energy_j,
            power_w: self.power_w,
            source: self.source,
            scope: self.scope.clone(),
            method: self.method(),
            readings: self.readings,
            covered_s: self.covered_ns as f64 * 1e-9,
            uncovered_s: (self.uncovered_ns + open_ns) as f64 * 1e-9,
        })
    }
}

fn since(earlier_ns: Option<u64>, now_ns: u64) -> u64 {
    earlier_ns.map_or(0, |earlier_ns| now_ns.saturating_sub(earlier_ns))
}

/// Follows every way to a total that the board offers.
#[derive(Clone, Debug)]
pub struct EnergyMeter {
    ways: Vec<Way>,
    missing: Vec<Unavailable>,
}

impl EnergyMeter {
    /// Looks for sensors below `root` (`/sys`). Finding none is no error: the readings will say so.
    #[must_use]
    pub fn open(root: &Path) -> Self {
        let (mut ways, mut missing) = (Vec::new(), Vec::new());
        match ina3221::rails(root).and_then(|rails| ina3221::total(root, &rails)) {
            Ok((rails, scope)) => ways.push(Way::new(Source::Ina3221, scope, Parts::Rails(rails))),
            Err(fault) => missing.push(fault),
        }
        let others = hwmon::sensors(root).unwrap_or_else(|fault| {
            missing.push(fault);
            Vec::new()
        });
        let way = |sensor: &Sensor| {
            let parts = match sensor.quantity {
                Quantity::Power => Parts::Power(sensor.clone()),
                Quantity::Energy => Parts::Energy(sensor.clone(), None),
            };
            Way::new(Source::Hwmon, sensor.scope(), parts)
        };
        ways.extend(others.iter().filter(|sensor| sensor.is_total()).map(way));
        let (domains, faults) = rapl::domains(root);
        missing.extend(faults);
        ways.extend(rapl::totals(&domains).into_iter().map(|(domains, scope)| {
            let domains = domains.into_iter().map(|domain| (domain, None)).collect();
            Way::new(Source::Rapl, scope, Parts::Domains(domains))
        }));
        ways.extend(others.iter().filter(|sensor| !sensor.is_total()).map(way));
        Self { ways, missing }
    }

    /// Reads every sensor once. `now_ns` is monotonic. Work is bounded by the number of sensors.
    pub fn poll(&mut self, now_ns: u64) {
        for way in &mut self.ways {
            way.poll(now_ns);
        }
    }

    /// Energy since the first poll, by the most complete way that works.
    ///
    /// # Errors
    /// Why each way does not work, if none does.
    pub fn reading(&self) -> Result<EnergyReading, Vec<Unavailable>> {
        let mut faults = Vec::new();
        for way in &self.ways {
            match way.reading() {
                Ok(reading) => return Ok(reading),
                Err(fault) => faults.push(fault),
            }
        }
        faults.extend(self.missing.iter().cloned());
        Err(faults)
    }
}
