//! Long runs: does memory stay, do the books balance, is any loss uncounted?
//!
//! [`live`] runs robot and runtime as processes against the wall clock, [`lockstep`] runs simulated hours in one
//! thread. Both lay another table every so often, by the operator's way: stop, table, reset, enable.

pub mod live;
pub mod lockstep;

use crate::vitals::{Trend, Vitals};

/// Memory may rise this far over the time after warm-up, by the line through its samples, MB. It is what an
/// allocator's arenas wander by; a leak of one small record per decision is several times more in half an hour.
pub const RISE_LIMIT_MB: f64 = 2.0;

/// Follows one process.
#[derive(Debug, Clone)]
pub struct Watch {
    name: &'static str,
    process: u32,
    warm_up_s: f64,
    resident: Trend,
    anonymous: Trend,
    first: Option<Vitals>,
    last: Option<Vitals>,
}

impl Watch {
    /// Follows `process`; what happens before `warm_up_s` does not count.
    #[must_use]
    pub fn new(name: &'static str, process: u32, warm_up_s: f64) -> Self {
        Self {
            name,
            process,
            warm_up_s,
            resident: Trend::default(),
            anonymous: Trend::default(),
            first: None,
            last: None,
        }
    }

    /// Takes a sample at `time_s`.
    pub fn look(&mut self, time_s: f64) {
        let Some(vitals) = Vitals::of(self.process) else { return };
        self.last = Some(vitals);
        if time_s >= self.warm_up_s {
            self.first.get_or_insert(vitals);
            self.resident.add(time_s, vitals.resident_mb);
            self.anonymous.add(time_s, vitals.anonymous_mb);
        }
    }

    /// How it stands, for a progress line.
    #[must_use]
    pub fn now(&self) -> String {
        self.last.map_or_else(
            || format!("{}: gone", self.name),
            |v| {
                format!(
                    "{}: {:.1} MB ({:.1} anonymous), {} threads, {} files",
                    self.name, v.resident_mb, v.anonymous_mb, v.threads, v.files
                )
            },
        )
    }

    /// The figures after warm-up.
    #[must_use]
    pub fn summary(&self) -> String {
        let (Some(first), Some(last)) = (self.first, self.last) else {
            return format!("{}: too short to say anything about memory", self.name);
        };
        format!(
            "{}: resident {:.1} → {:.1} MB ({:+.2} MB/h, {:+.2} MB in all), heap and stacks {:.1} → {:.1} MB \
             ({:+.2} MB/h, {:+.2} MB in all), threads {} → {}, files {} → {}",
            self.name,
            first.resident_mb,
            last.resident_mb,
            self.resident.per_hour(),
            self.resident.rise(),
            first.anonymous_mb,
            last.anonymous_mb,
            self.anonymous.per_hour(),
            self.anonymous.rise(),
            first.threads,
            last.threads,
            first.files,
            last.files
        )
    }

    /// What has grown that should not.
    pub fn faults(&self, faults: &mut Vec<String>) {
        let (Some(first), Some(last)) = (self.first, self.last) else { return };
        for (what, trend) in [("resident memory", &self.resident), ("heap and stacks", &self.anonymous)] {
            if trend.rise() > RISE_LIMIT_MB {
                faults.push(format!(
                    "{}: {what} rose by {:.2} MB after warm-up, more than {RISE_LIMIT_MB} MB",
                    self.name,
                    trend.rise()
                ));
            }
        }
        for (what, first, last) in
            [("threads", first.threads, last.threads), ("open files", first.files, last.files)]
        {
            if last > first {
                faults.push(format!("{}: {what} rose from {first} to {last}", self.name));
            }
        }
    }
}

/// Books an equation: says it, and faults it if it does not hold.
pub(crate) fn balance(
    lines: &mut Vec<String>,
    faults: &mut Vec<String>,
    what: &str,
    whole: u64,
    parts: &[(&str, u64)],
) {
    let sum: u64 = parts.iter().map(|(_, part)| part).sum();
    let words: Vec<String> = parts.iter().map(|(name, part)| format!("{part} {name}")).collect();
    let sign = if sum == whole { "=" } else { "≠" };
    let line = format!("{what}: {whole} {sign} {}", words.join(" + "));
    if sum != whole {
        faults.push(line.clone());
    }
    lines.push(line);
}
