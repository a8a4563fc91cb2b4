//! The doctor's judgement of boards, from trees of files like theirs.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests fail by panicking")]

use std::fs;
use std::path::{Path, PathBuf};

use reflexarc_runtime::config::RealtimeConfig;
use reflexarc_runtime::doctor::{Finding, Level, Roots, examine_board};

/// A board's files, in a folder of their own.
struct Board(PathBuf);

impl Drop for Board {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

impl Board {
    fn new(name: &str, files: &[(&str, &str)]) -> Self {
        let root = std::env::temp_dir().join(format!("reflexarc-{}-board-{name}", std::process::id()));
        let board = Self(root);
        for (path, text) in files {
            board.write(path, text);
        }
        board
    }

    fn write(&self, path: &str, text: &str) {
        let path = self.0.join(Path::new(path));
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn about(&self, subject: &str, config: &RealtimeConfig) -> Finding {
        let findings = examine_board(&Roots::below(&self.0), config);
        let found = findings.iter().find(|finding| finding.subject == subject);
        found.unwrap_or_else(|| panic!("nothing about {subject}")).clone()
    }
}

const LIMITS: &str = "Limit                     Soft Limit           Hard Limit           Units     \n\
    Max locked memory         65536                65536                bytes     \n\
    Max realtime priority     0                    0                    \n";
const NOBODY: &str = "Name:\treflexarc\nCapEff:\t0000000000000000\n";

/// An ordinary laptop's kernel, for an ordinary user.
const PLAIN: &[(&str, &str)] = &[
    ("proc/version", "Linux version 6.1.0 (gcc) #1 SMP PREEMPT_DYNAMIC Debian"),
    ("proc/sys/kernel/osrelease", "6.1.0-18-amd64\n"),
    ("proc/sys/kernel/sched_rt_period_us", "1000000\n"),
    ("proc/sys/kernel/sched_rt_runtime_us", "950000\n"),
    ("proc/self/limits", LIMITS),
    ("proc/self/status", NOBODY),
    ("proc/meminfo", "MemTotal: 16000000 kB\nSwapTotal:       2097148 kB\n"),
    ("sys/devices/system/cpu/online", "0-3\n"),
    ("sys/devices/system/cpu/isolated", "\n"),
    ("sys/devices/system/cpu/cpu0/cpufreq/scaling_governor", "schedutil\n"),
    ("sys/devices/system/cpu/cpu0/cpufreq/scaling_max_freq", "2400000\n"),
    ("sys/devices/system/cpu/cpu0/cpufreq/cpuinfo_max_freq", "2400000\n"),
    ("sys/devices/system/cpu/cpu0/cpuidle/state0/name", "POLL\n"),
    ("sys/devices/system/cpu/cpu0/cpuidle/state0/latency", "0\n"),
    ("sys/devices/system/cpu/cpu0/cpuidle/state1/name", "C6\n"),
    ("sys/devices/system/cpu/cpu0/cpuidle/state1/latency", "133\n"),
    ("sys/class/thermal/thermal_zone0/type", "x86_pkg_temp\n"),
    ("sys/class/thermal/thermal_zone0/temp", "51000\n"),
    ("sys/class/thermal/thermal_zone0/trip_point_0_type", "passive\n"),
    ("sys/class/thermal/thermal_zone0/trip_point_0_temp", "95000\n"),
    ("sys/devices/system/clocksource/clocksource0/current_clocksource", "tsc\n"),
];

#[test]
fn an_ordinary_machine_gets_notes_and_each_says_what_to_change() {
    let board = Board::new("plain", PLAIN);
    let findings = examine_board(&Roots::below(&board.0), &RealtimeConfig::default());
    assert!(findings.iter().all(|finding| finding.level != Level::Bad), "{findings:#?}");
    assert!(
        findings.iter().all(|finding| (finding.level == Level::Good) == finding.fix.is_none()),
        "whatever is not good says what to change: {findings:#?}"
    );
    let config = RealtimeConfig::default();
    for (subject, level, found) in [
        ("kernel", Level::Note, "6.1.0-18-amd64, PREEMPT_DYNAMIC, not PREEMPT_RT"),
        ("rt throttling", Level::Good, "950000 of each 1000000"),
        ("rt priority", Level::Note, "up to 0"),
        ("memory locking", Level::Note, "up to 65536 bytes"),
        ("cpus", Level::Note, "online 0-3, isolated none"),
        ("cpu clock", Level::Note, "schedutil"),
        ("heat", Level::Good, "51 °C"),
        ("clock source", Level::Good, "tsc"),
        ("idle states", Level::Note, "C6) takes 133 µs"),
        ("swap", Level::Note, "2047 MB of swap"),
    ] {
        let finding = board.about(subject, &config);
        assert_eq!(finding.level, level, "{finding}");
        assert!(finding.found.contains(found), "{finding}");
    }
}

#[test]
fn what_is_configured_and_not_given_is_bad() {
    let board = Board::new("wanting", PLAIN);
    let config = RealtimeConfig {
        fifo_priority: 80,
        cpu: Some(7),
        lock_memory: true,
        cpu_dma_latency_us: Some(0),
        ..RealtimeConfig::default()
    };
    for (subject, fix) in [
        ("rt priority", "LimitRTPRIO=80"),
        ("memory locking", "LimitMEMLOCK=infinity"),
        ("cpus", "realtime.cpu = 7 is not online"),
        ("idle states", "processor.max_cstate=1"),
    ] {
        let finding = board.about(subject, &config);
        assert_eq!(finding.level, Level::Bad, "{finding}");
        assert!(finding.fix.as_ref().unwrap().contains(fix), "{finding}");
    }
}

#[test]
fn a_board_made_for_it_is_good() {
    let board = Board::new("made", PLAIN);
    board.write("sys/kernel/realtime", "1\n");
    board.write("proc/self/status", "CapEff:\t0000000000804000\n");
    board.write("sys/devices/system/cpu/isolated", "2-3\n");
    board.write("sys/devices/system/cpu/cpu0/cpufreq/scaling_governor", "performance\n");
    board.write("dev/cpu_dma_latency", "");
    let config = RealtimeConfig {
        fifo_priority: 80,
        cpu: Some(3),
        lock_memory: true,
        cpu_dma_latency_us: Some(0),
        ..RealtimeConfig::default()
    };
    let findings = examine_board(&Roots::below(&board.0), &config);
    assert!(findings.iter().all(|finding| finding.level == Level::Good), "{findings:#?}");
}

#[test]
fn dangers_are_named() {
    let board = Board::new("hot", PLAIN);
    let config = RealtimeConfig::default();
    board.write("proc/sys/kernel/sched_rt_runtime_us", "-1\n");
    assert!(board.about("rt throttling", &config).found.contains("hangs its CPU"));
    board.write("proc/sys/kernel/sched_rt_runtime_us", "0\n");
    assert_eq!(board.about("rt throttling", &config).level, Level::Bad);
    board.write("sys/devices/system/cpu/cpu0/cpufreq/scaling_max_freq", "1200000\n");
    assert!(board.about("cpu clock", &config).found.contains("capped at 50 %"));
    board.write("sys/class/thermal/thermal_zone0/temp", "96000\n");
    assert!(board.about("heat", &config).found.contains("96 °C, its passive trip at 95 °C"));
    board.write("sys/class/thermal/thermal_zone0/temp", "60000\n");
    board.write("sys/class/thermal/cooling_device0/type", "cpufreq-cpu0\n");
    board.write("sys/class/thermal/cooling_device0/cur_state", "3\n");
    assert_eq!(board.about("heat", &config).level, Level::Bad);
    board.write("sys/devices/system/clocksource/clocksource0/current_clocksource", "hpet\n");
    assert_eq!(board.about("clock source", &config).level, Level::Note);
    for (flags, level, found) in [
        ("0x50005", Level::Bad, "now: under-voltage, throttled"),
        ("50000", Level::Note, "since boot: under-voltage, throttled"),
        ("0x0", Level::Good, "none since boot"),
    ] {
        board.write("sys/devices/platform/soc/soc:firmware/get_throttled", flags);
        let finding = board.about("pi throttling", &config);
        assert_eq!((finding.level, finding.found.as_str()), (level, found));
    }
}

#[test]
fn a_tree_without_anything_is_survived() {
    let board = Board::new("empty", &[]);
    let findings = examine_board(&Roots::below(&board.0), &RealtimeConfig::default());
    assert!(findings.len() >= 8);
    // And one with nonsense in every file.
    let nonsense = Board::new("nonsense", &[]);
    for (path, _) in PLAIN {
        nonsense.write(path, "\u{1}, - 99999999999999999999 -\n");
    }
    assert!(!examine_board(&Roots::below(&nonsense.0), &RealtimeConfig::default()).is_empty());
}
