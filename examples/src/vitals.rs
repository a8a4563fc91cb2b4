//! A process's memory, threads and files as the system counts them, and whether they grow.

use std::fs;

/// What Linux says about a process; see proc(5).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Vitals {
    /// Resident memory, MB.
    pub resident_mb: f64,
    /// The part of it that no file stands behind: heap and stacks, MB.
    pub anonymous_mb: f64,
    /// Threads.
    pub threads: usize,
    /// Open files.
    pub files: usize,
}

impl Vitals {
    /// Reads them; none where the process is gone, or on other systems than Linux.
    #[must_use]
    pub fn of(process: u32) -> Option<Self> {
        let folder = format!("/proc/{process}");
        let status = fs::read_to_string(format!("{folder}/status")).ok()?;
        let field = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name))?;
            line.split_whitespace().next()?.parse::<f64>().ok()
        };
        Some(Self {
            resident_mb: field("VmRSS:")? / 1024.0,
            anonymous_mb: field("RssAnon:")? / 1024.0,
            threads: fs::read_dir(format!("{folder}/task")).ok()?.count(),
            files: fs::read_dir(format!("{folder}/fd")).ok()?.count(),
        })
    }
}

/// A line through samples, by least squares, in constant memory.
#[derive(Debug, Clone, Copy, Default)]
pub struct Trend {
    count: f64,
    first: Option<f64>,
    last: f64,
    mean: (f64, f64),
    xx: f64,
    xy: f64,
}

impl Trend {
    /// Adds a sample.
    pub fn add(&mut self, time_s: f64, value: f64) {
        self.first.get_or_insert(time_s);
        self.last = time_s;
        self.count += 1.0;
        let (dx, dy) = (time_s - self.mean.0, value - self.mean.1);
        self.mean.0 += dx / self.count;
        self.mean.1 += dy / self.count;
        self.xx += dx * (time_s - self.mean.0);
        self.xy += dx * (value - self.mean.1);
    }

    /// Slope of the line, 1/h; 0 for fewer than two samples.
    #[must_use]
    pub fn per_hour(&self) -> f64 {
        if self.xx > 0.0 { self.xy / self.xx * 3600.0 } else { 0.0 }
    }

    /// How far the line rises over the time that was sampled.
    #[must_use]
    pub fn rise(&self) -> f64 {
        self.per_hour() * (self.last - self.first.unwrap_or(self.last)) / 3600.0
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests fail by panicking")]
    use super::*;

    #[test]
    fn a_straight_line_is_found_and_a_flat_one_does_not_rise() {
        let (mut steep, mut flat) = (Trend::default(), Trend::default());
        for second in 60..1860 {
            let t = f64::from(second);
            steep.add(t, 100.0 + t / 360.0);
            flat.add(t, 100.0 + f64::from(second % 2));
        }
        assert!((steep.per_hour() - 10.0).abs() < 1e-6);
        assert!((steep.rise() - 1799.0 / 360.0).abs() < 1e-6);
        assert!(flat.rise().abs() < 0.01, "{}", flat.rise());
        assert_eq!(Trend::default().per_hour(), 0.0);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn this_process_has_vitals() {
        let vitals = Vitals::of(std::process::id()).unwrap();
        assert!(vitals.resident_mb >= vitals.anonymous_mb && vitals.anonymous_mb > 0.0);
        assert!(vitals.threads >= 1 && vitals.files >= 3);
        assert_eq!(Vitals::of(u32::MAX), None);
    }
}
