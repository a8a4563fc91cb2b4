//! Time: CPU time of the whole process, so that other work on the machine counts as little as it can.

use std::process::Command;

use rustix::time::{ClockId, clock_gettime};

/// CPU time that this process has used, ns; all threads count.
pub(crate) fn cpu_ns() -> u64 {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    u64::try_from(time.tv_sec).unwrap_or(0) * 1_000_000_000 + u64::try_from(time.tv_nsec).unwrap_or(0)
}

/// What `work` returns, and the µs that it took.
pub(crate) fn timed<T>(work: impl FnOnce() -> T) -> (T, f64) {
    let begin = cpu_ns();
    let result = std::hint::black_box(work());
    (result, (cpu_ns() - begin) as f64 * 1e-3)
}

/// What [`timed`] adds to each figure, µs.
pub(crate) fn clock_cost_us() -> f64 {
    let mut costs: Vec<f64> = (0..20_000).map(|_| timed(|| ()).1).collect();
    quantile(&mut costs, 0.5)
}

/// The least ns per item of `passes` passes over `items` items each; the clock stays outside the pass.
pub(crate) fn least_ns(passes: usize, items: usize, mut pass: impl FnMut()) -> f64 {
    (0..passes).map(|_| timed(&mut pass).1).fold(f64::INFINITY, f64::min) * 1e3 / items as f64
}

/// Figures of many measurements, µs.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Micros {
    pub(crate) mean: f64,
    pub(crate) p50: f64,
    pub(crate) p99: f64,
}

impl Micros {
    pub(crate) fn of(measured: &[f64]) -> Self {
        let mut sorted = measured.to_vec();
        Self {
            mean: measured.iter().sum::<f64>() / measured.len().max(1) as f64,
            p50: quantile(&mut sorted, 0.5),
            p99: quantile(&mut sorted, 0.99),
        }
    }
}

/// Sorts, and picks the value below which `share` of the values lie; NaN for none.
pub(crate) fn quantile(values: &mut [f64], share: f64) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    let last = values.len().saturating_sub(1);
    values.get((share * last as f64).round() as usize).copied().unwrap_or(f64::NAN)
}

/// Keeps this process, and those it starts, on one core. Says which, or why not.
#[cfg(target_os = "linux")]
pub(crate) fn pin() -> String {
    use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
    let Ok(allowed) = sched_getaffinity(None) else {
        return "not pinned".to_owned();
    };
    let Some(core) = (0..CpuSet::MAX_CPU).rev().find(|core| allowed.is_set(*core)) else {
        return "not pinned".to_owned();
    };
    let mut one = CpuSet::new();
    one.set(core);
    match sched_setaffinity(None, &one) {
        Ok(()) => format!("pinned to core {core}"),
        Err(error) => format!("not pinned ({error})"),
    }
}

#[cfg(not(target_os = "linux"))]
pub(crate) fn pin() -> String {
    "not pinned (only on Linux)".to_owned()
}

/// The machine and the compiler: to quote beside the figures.
pub(crate) fn machine() -> String {
    let cpuinfo = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpuinfo.lines().find_map(|line| line.strip_prefix("model name")?.split_once(':'));
    format!(
        "{}, {} cores; {}",
        model.map_or(std::env::consts::ARCH, |(_, name)| name.trim()),
        std::thread::available_parallelism().map_or(1, usize::from),
        said("rustc", &["--version"]),
    )
}

/// The time, and how busy the machine is.
pub(crate) fn moment() -> String {
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let load: Vec<&str> = load.split_whitespace().take(3).collect();
    let load = if load.is_empty() { "unknown".to_owned() } else { load.join(" ") };
    format!("{}, load {load}", said("date", &["-u", "+%Y-%m-%d %H:%M UTC"]))
}

fn said(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output().ok().filter(|output| output.status.success());
    output.map_or_else(
        || format!("{program} unknown"),
        |output| String::from_utf8_lossy(&output.stdout).trim().to_owned(),
    )
}
