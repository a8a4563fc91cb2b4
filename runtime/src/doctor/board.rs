//! What the board's kernel says.

use std::path::PathBuf;

use super::{Finding, Roots, number, text};
use crate::config::RealtimeConfig;
use crate::rt::procfs::field;

/// The bits of capabilities(7) that matter here.
const CAP_IPC_LOCK: u32 = 14;
const CAP_SYS_NICE: u32 = 23;

/// Looks at everything that the kernel's files tell. Reads only.
#[must_use]
pub fn examine_board(roots: &Roots, config: &RealtimeConfig) -> Vec<Finding> {
    let mut findings = vec![kernel(roots), throttling_of_rt(roots)];
    findings.extend(limits(roots, config));
    findings.push(cpus(roots, config));
    findings.push(governor(roots));
    findings.push(heat(roots));
    findings.extend(raspberry_pi(roots));
    findings.push(clock_source(roots));
    findings.push(idle(roots, config));
    findings.extend(swap(roots, config));
    findings
}

fn kernel(roots: &Roots) -> Finding {
    let release = text(roots.proc.join("sys/kernel/osrelease")).unwrap_or_else(|| "unknown".to_owned());
    let version = text(roots.proc.join("version")).unwrap_or_default();
    if number(roots.sys.join("kernel/realtime")) == Some(1) || version.contains("PREEMPT_RT") {
        return Finding::good("kernel", format!("{release}, PREEMPT_RT"));
    }
    let kind = ["PREEMPT_DYNAMIC", "PREEMPT"].into_iter().find(|kind| version.contains(kind));
    Finding::note(
        "kernel",
        format!("{release}, {}, not PREEMPT_RT", kind.unwrap_or("no preemption in the kernel")),
        "FIFO gets most of what there is at 240 Hz; for bounded lateness install a PREEMPT_RT kernel \
         (Debian: linux-image-rt-amd64 or -rt-arm64; Ubuntu: pro enable realtime-kernel; Jetson: the RT packages)",
    )
}

/// How much of each period real-time threads may have (sched(7)).
fn throttling_of_rt(roots: &Roots) -> Finding {
    let subject = "rt throttling";
    let period_us = number(roots.proc.join("sys/kernel/sched_rt_period_us")).unwrap_or(1_000_000);
    match number(roots.proc.join("sys/kernel/sched_rt_runtime_us")) {
        Some(0) => Finding::bad(
            subject,
            "sched_rt_runtime_us = 0: no real-time thread may run at all",
            "sysctl kernel.sched_rt_runtime_us=950000",
        ),
        Some(runtime_us) if runtime_us < 0 => Finding::note(
            subject,
            "off (sched_rt_runtime_us = -1): a real-time thread that does not stop hangs its CPU",
            "sysctl kernel.sched_rt_runtime_us=950000, unless the reflex has an isolated CPU",
        ),
        Some(runtime_us) => Finding::good(
            subject,
            format!("at most {runtime_us} of each {period_us} µs (sched_rt_runtime_us)"),
        ),
        None => Finding::note(
            subject,
            "sched_rt_runtime_us is not there",
            "nothing, if FIFO is granted below; containers often hide this file",
        ),
    }
}

/// The soft and the hard limit of a line in `/proc/self/limits`; `None` is no limit.
fn limit(limits: &str, name: &str) -> Option<(Option<u64>, Option<u64>)> {
    let line = limits.lines().find_map(|line| line.strip_prefix(name))?;
    let mut words = line.split_whitespace();
    let mut next = || {
        let word = words.next()?;
        if word == "unlimited" { Some(None) } else { word.parse().ok().map(Some) }
    };
    Some((next()?, next()?))
}

fn limits(roots: &Roots, config: &RealtimeConfig) -> Vec<Finding> {
    let limits = text(roots.proc.join("self/limits")).unwrap_or_default();
    let status = text(roots.proc.join("self/status")).unwrap_or_default();
    let effective = field(&status, "CapEff").and_then(|hex| u64::from_str_radix(hex, 16).ok()).unwrap_or(0);
    let may = |bit: u32| effective & (1 << bit) != 0;
    let shown = |limit: Option<u64>| limit.map_or("unlimited".to_owned(), |limit| limit.to_string());
    let judged = |wanted: bool, subject: &str, found: String, fix: &str| {
        if wanted { Finding::bad(subject, found, fix) } else { Finding::note(subject, found, fix) }
    };

    let wanted = u64::from(config.fifo_priority);
    let subject = "rt priority";
    let priority = match limit(&limits, "Max realtime priority") {
        _ if may(CAP_SYS_NICE) => Finding::good(subject, "any (CAP_SYS_NICE)"),
        Some((_, hard)) if hard.is_none_or(|hard| hard >= wanted.max(1)) => {
            Finding::good(subject, format!("up to {} (RLIMIT_RTPRIO)", shown(hard)))
        }
        hard => judged(
            wanted > 0,
            subject,
            format!(
                "up to {} (RLIMIT_RTPRIO), and no CAP_SYS_NICE",
                hard.map_or("?".into(), |hard| shown(hard.1))
            ),
            "LimitRTPRIO=80 or AmbientCapabilities=CAP_SYS_NICE in the unit; --cap-add SYS_NICE --ulimit rtprio=80 \
             for a container; `* - rtprio 80` in /etc/security/limits.conf for a login",
        ),
    };
    let subject = "memory locking";
    let memory = match limit(&limits, "Max locked memory") {
        _ if may(CAP_IPC_LOCK) => Finding::good(subject, "any amount (CAP_IPC_LOCK)"),
        Some((_, None)) => Finding::good(subject, "unlimited (RLIMIT_MEMLOCK)"),
        limit => judged(
            config.lock_memory,
            subject,
            format!("up to {} bytes, and no CAP_IPC_LOCK", limit.map_or("?".into(), |limit| shown(limit.1))),
            "LimitMEMLOCK=infinity in the unit; --ulimit memlock=-1 for a container; `* - memlock unlimited` in \
             /etc/security/limits.conf for a login",
        ),
    };
    vec![priority, memory]
}

/// The CPUs of a list such as `0-3,7`.
fn parse_cpus(list: &str) -> Vec<usize> {
    let range = |part: &str| {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last) = (first.trim().parse().ok()?, last.trim().parse().ok()?);
        // No system has more; a broken file must not fill the memory.
        (first <= last && last < 65_536).then_some(first..=last)
    };
    list.split(',').filter_map(range).flatten().collect()
}

fn cpus(roots: &Roots, config: &RealtimeConfig) -> Finding {
    let subject = "cpus";
    let folder = roots.sys.join("devices/system/cpu");
    let online = text(folder.join("online")).unwrap_or_else(|| "unknown".to_owned());
    let isolated = text(folder.join("isolated"));
    let quiet = text(folder.join("nohz_full")).filter(|list| list != "(null)");
    let isolated_list = isolated.clone().unwrap_or_else(|| "none".to_owned());
    let mut found = format!("online {online}, isolated {isolated_list}");
    if let Some(quiet) = quiet {
        found += &format!(", without timer ticks {quiet}");
    }
    match (config.cpu, isolated) {
        (Some(cpu), _) if !parse_cpus(&online).contains(&cpu) => {
            Finding::bad(subject, found, format!("realtime.cpu = {cpu} is not online: take one that is"))
        }
        (Some(cpu), Some(list)) if parse_cpus(&list).contains(&cpu) => {
            Finding::good(subject, format!("{found}; the reflex has CPU {cpu} to itself"))
        }
        (_, Some(list)) => Finding::note(
            subject,
            found,
            format!("set realtime.cpu to one of the isolated CPUs {list}, or they stay idle"),
        ),
        (_, None) => Finding::note(
            subject,
            found,
            "boot with isolcpus=N nohz_full=N rcu_nocbs=N and set realtime.cpu = N, if a CPU can be spared",
        ),
    }
}

/// The folders `name0`, `name1`, … in `folder`.
fn numbered(folder: PathBuf, name: &str) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let mut paths: Vec<PathBuf> = entries
        .filter(|entry| {
            let found = entry.file_name();
            let rest = found.to_str().and_then(|found| found.strip_prefix(name)).unwrap_or("");
            !rest.is_empty() && rest.bytes().all(|byte| byte.is_ascii_digit())
        })
        .map(|entry| entry.path())
        .collect();
    paths.sort();
    paths
}

fn governor(roots: &Roots) -> Finding {
    let subject = "cpu clock";
    let mut governors: Vec<String> = Vec::new();
    let mut lowest_percent = 100;
    for cpu in numbered(roots.sys.join("devices/system/cpu"), "cpu") {
        let folder = cpu.join("cpufreq");
        if let Some(governor) = text(folder.join("scaling_governor"))
            && !governors.contains(&governor)
        {
            governors.push(governor);
        }
        let limit = number(folder.join("scaling_max_freq")).zip(number(folder.join("cpuinfo_max_freq")));
        if let Some((limit, most)) = limit.filter(|(_, most)| *most > 0) {
            lowest_percent = lowest_percent.min(limit * 100 / most);
        }
    }
    let found = format!("governor {}", governors.join(", "));
    let fix = "cpupower frequency-set -g performance (Jetson: nvpmodel -m 0 and jetson_clocks)";
    if governors.is_empty() {
        Finding::good(subject, "not scaled by the kernel (no cpufreq: a virtual machine, or a fixed clock)")
    } else if lowest_percent < 100 {
        Finding::note(subject, format!("{found}, capped at {lowest_percent} % of the highest clock"), fix)
    } else if governors.iter().any(|governor| governor != "performance") {
        Finding::note(subject, format!("{found}: the clock falls while the loop sleeps"), fix)
    } else {
        Finding::good(subject, found)
    }
}

fn heat(roots: &Roots) -> Finding {
    let subject = "heat";
    let class = roots.sys.join("class/thermal");
    let mut hottest: Option<(i64, String)> = None;
    for zone in numbered(class.clone(), "thermal_zone") {
        let Some(temperature) = number(zone.join("temp")) else { continue };
        let kind = text(zone.join("type")).unwrap_or_else(|| "zone".to_owned());
        for index in 0..16 {
            let trip = number(zone.join(format!("trip_point_{index}_temp")));
            let trip_kind = text(zone.join(format!("trip_point_{index}_type")));
            let (Some(trip), Some(trip_kind)) = (trip, trip_kind) else { continue };
            // An active trip starts a fan; the others slow the CPU down or switch it off.
            if trip_kind != "active" && trip > 0 && temperature >= trip {
                return Finding::bad(
                    subject,
                    format!(
                        "{kind} is at {} °C, its {trip_kind} trip at {} °C",
                        temperature / 1000,
                        trip / 1000
                    ),
                    "cool the board, or lower its power mode: it throttles, and figures taken now mean nothing",
                );
            }
        }
        if hottest.as_ref().is_none_or(|(most, _)| temperature > *most) {
            hottest = Some((temperature, kind));
        }
    }
    for device in numbered(class, "cooling_device") {
        let kind = text(device.join("type")).unwrap_or_default();
        let state = number(device.join("cur_state")).unwrap_or(0);
        if state > 0 && (kind.contains("cpufreq") || kind == "Processor") {
            return Finding::bad(
                subject,
                format!("the kernel slows the CPU down ({kind}, state {state})"),
                "cool the board, or lower its power mode",
            );
        }
    }
    match hottest {
        Some((temperature, kind)) => {
            Finding::good(subject, format!("hottest is {kind}, {} °C; nothing throttles", temperature / 1000))
        }
        None => Finding::good(subject, "the board has no thermal zones to read (a virtual machine?)"),
    }
}

/// The firmware's flags of a Raspberry Pi (documentation of `vcgencmd get_throttled`).
fn raspberry_pi(roots: &Roots) -> Option<Finding> {
    let subject = "pi throttling";
    let path = roots.sys.join("devices/platform/soc/soc:firmware/get_throttled");
    let flags = text(path)?;
    let bits = u32::from_str_radix(flags.trim_start_matches("0x"), 16).ok()?;
    let names = [(0, "under-voltage"), (1, "clock capped"), (2, "throttled"), (3, "soft temperature limit")];
    let said = |shift: u32| -> Vec<&str> {
        names.iter().filter(|(bit, _)| bits & (1 << (bit + shift)) != 0).map(|(_, name)| *name).collect()
    };
    let (now, since_boot) = (said(0), said(16));
    let fix = "a supply that holds 5.1 V at 5 A, a short cable, and a fan";
    Some(if !now.is_empty() {
        Finding::bad(subject, format!("now: {}", now.join(", ")), fix)
    } else if !since_boot.is_empty() {
        Finding::note(subject, format!("since boot: {}", since_boot.join(", ")), fix)
    } else {
        Finding::good(subject, "none since boot")
    })
}

fn clock_source(roots: &Roots) -> Finding {
    let subject = "clock source";
    let folder = roots.sys.join("devices/system/clocksource/clocksource0");
    let available = text(folder.join("available_clocksource")).unwrap_or_default();
    match text(folder.join("current_clocksource")) {
        Some(name) if ["hpet", "acpi_pm", "jiffies", "refined-jiffies"].contains(&name.as_str()) => {
            Finding::note(
                subject,
                format!("{name}: each reading of the clock is a slow system call"),
                format!("boot with tsc=reliable if the CPU's counter is sound; available here: {available}"),
            )
        }
        Some(name) => Finding::good(subject, name),
        None => Finding::good(subject, "not told by this kernel"),
    }
}

fn idle(roots: &Roots, config: &RealtimeConfig) -> Finding {
    let subject = "idle states";
    let states = numbered(roots.sys.join("devices/system/cpu/cpu0/cpuidle"), "state");
    let deepest = states
        .iter()
        .filter(|state| number(state.join("disable")).unwrap_or(0) == 0)
        .filter_map(|state| Some((number(state.join("latency"))?, text(state.join("name"))?)))
        .max();
    let writable = roots.dev.join("cpu_dma_latency").exists();
    match (deepest, config.cpu_dma_latency_us) {
        (None, _) => Finding::good(subject, "none that the kernel tells of"),
        (Some((us, name)), None) if us > 50 => Finding::note(
            subject,
            format!("the deepest ({name}) takes {us} µs to leave"),
            "realtime.cpu_dma_latency_us = 0 keeps the CPUs awake while the robot runs, and warm",
        ),
        (Some((us, name)), Some(limit)) if us > i64::from(limit) && !writable => Finding::bad(
            subject,
            format!("the deepest ({name}) takes {us} µs to leave, and /dev/cpu_dma_latency is not there"),
            "boot with processor.max_cstate=1, or let the container have the device",
        ),
        (Some((us, name)), _) => {
            Finding::good(subject, format!("the deepest ({name}) takes {us} µs to leave"))
        }
    }
}

fn swap(roots: &Roots, config: &RealtimeConfig) -> Option<Finding> {
    let meminfo = text(roots.proc.join("meminfo"))?;
    let total: u64 = field(&meminfo, "SwapTotal")?.trim().parse().ok()?;
    (total > 0 && !config.lock_memory).then(|| {
        Finding::note(
            "swap",
            format!("{} MB of swap, and memory is not locked: a tick may wait for the disk", total / 1024),
            "realtime.lock_memory = true, or swapoff -a",
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_cpus() {
        assert_eq!(parse_cpus("0-2,5"), [0, 1, 2, 5]);
        assert_eq!(parse_cpus(" 3 "), [3]);
        assert!(parse_cpus("").is_empty() && parse_cpus("x,9-2,0-99999999").is_empty());
    }

    #[test]
    fn limits_are_read_from_their_line() {
        let limits = "Limit                     Soft Limit           Hard Limit           Units     \n\
                      Max locked memory         8388608              unlimited            bytes     \n\
                      Max realtime priority     0                    80                   \n";
        assert_eq!(limit(limits, "Max locked memory"), Some((Some(8_388_608), None)));
        assert_eq!(limit(limits, "Max realtime priority"), Some((Some(0), Some(80))));
        assert_eq!(limit(limits, "Max nice"), None);
    }
}
