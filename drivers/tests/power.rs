//! The board's power and heat, on trees of files such as each kind of board has.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests fail by panicking")]

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use proptest::prelude::*;
use reflexarc_drivers::power::rapl::difference_uj;
use reflexarc_drivers::power::{Board, BoardReading, Method, Reason, Source, ThrottleKind, Unavailable};

const SECOND_NS: u64 = 1_000_000_000;

/// A sysfs of our own.
struct Tree(PathBuf);

impl Tree {
    fn new(files: &[(&str, &str)]) -> Self {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let root = std::env::temp_dir().join(format!("reflexarc-sysfs-{}-{count}", std::process::id()));
        std::fs::create_dir_all(&root).unwrap();
        let tree = Self(root);
        for (path, text) in files {
            tree.set(path, text);
        }
        tree
    }

    fn set(&self, path: &str, text: &str) {
        let path = self.0.join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, format!("{text}\n")).unwrap();
    }

    fn remove(&self, path: &str) {
        std::fs::remove_file(self.0.join(path)).unwrap();
    }

    fn board(&self) -> Board {
        Board::open(&self.0)
    }
}

impl Drop for Tree {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

const JETSON: &str = "bus/i2c/drivers/ina3221/1-0040/hwmon/hwmon12";

/// An Orin NX: the module's total, and two parts of it.
fn orin_nx() -> Tree {
    let tree = Tree::new(&[]);
    for (channel, label, mv, ma) in
        [(1, "VDD_IN", "5000", "2000"), (2, "VDD_CPU_GPU_CV", "5000", "900"), (3, "VDD_SOC", "5000", "500")]
    {
        tree.set(&format!("{JETSON}/in{channel}_label"), label);
        tree.set(&format!("{JETSON}/in{channel}_input"), mv);
        tree.set(&format!("{JETSON}/curr{channel}_input"), ma);
        tree.set(&format!("{JETSON}/curr{channel}_crit_alarm"), "0");
    }
    tree
}

fn rapl(folder: &str, name: &str, energy_uj: &str, range_uj: &str) -> [(String, String); 3] {
    let at = |file: &str| format!("class/powercap/{folder}/{file}");
    [
        (at("name"), name.into()),
        (at("energy_uj"), energy_uj.into()),
        (at("max_energy_range_uj"), range_uj.into()),
    ]
}

/// A desktop: one package with its cores as a part, memory, and the same package over MMIO.
fn desktop() -> Tree {
    let tree = Tree::new(&[]);
    for files in [
        rapl("intel-rapl:0", "package-0", "1000000", "10000000"),
        rapl("intel-rapl:0:0", "core", "500000", "10000000"),
        rapl("intel-rapl:0:1", "dram", "100000", "10000000"),
        rapl("intel-rapl-mmio:0", "package-0", "1000000", "10000000"),
    ] {
        for (path, text) in files {
            tree.set(&path, &text);
        }
    }
    tree
}

fn energy_j(reading: &BoardReading) -> f64 {
    reading.energy.as_ref().unwrap().energy_j
}

fn why(reading: &BoardReading) -> &[Unavailable] {
    reading.energy.as_ref().unwrap_err()
}

#[test]
fn a_board_without_sensors_says_so_and_nothing_else() {
    let tree = Tree::new(&[]);
    let mut board = tree.board();
    let reading = board.poll(0);
    assert!(reading.rails.is_empty() && reading.temperatures.is_empty() && reading.throttles.is_empty());
    let reasons = why(&reading);
    assert_eq!(reasons.len(), 3);
    assert!(reasons.iter().all(|fault| fault.reason == Reason::NoSuchFile), "{reasons:?}");
    let words: Vec<String> = reading.unavailable.iter().map(ToString::to_string).collect();
    assert!(words.iter().any(|word| word.contains("class/thermal: no such file")), "{words:?}");
    assert!(words.iter().any(|word| word.contains("cpufreq: no such file")), "{words:?}");
}

#[test]
fn a_jetson_is_measured_at_the_rail_that_carries_everything() {
    let tree = orin_nx();
    let mut board = tree.board();
    let first = board.poll(0);
    assert_eq!(first.rails.len(), 3);
    assert_eq!(first.rails[1].name, "VDD_CPU_GPU_CV");
    assert!((first.rails[1].power_w - 4.5).abs() < 1e-12);
    assert_eq!(why(&first)[0].reason, Reason::TooFew);
    // 10 W to 20 W in a second is 15 J, by a straight line.
    tree.set(&format!("{JETSON}/curr1_input"), "4000");
    let energy = board.poll(SECOND_NS).energy.unwrap();
    assert_eq!((energy.source, energy.method), (Source::Ina3221, Method::Trapezoid));
    assert!((energy.energy_j - 15.0).abs() < 1e-9, "{energy:?}");
    assert!((energy.power_w - 20.0).abs() < 1e-9);
    assert!(energy.scope.contains("VDD_IN") && energy.scope.contains("without its carrier"), "{energy:?}");
}

#[test]
fn time_without_a_reading_is_uncovered_and_never_bridged() {
    let tree = orin_nx();
    let mut board = tree.board();
    board.poll(0);
    board.poll(SECOND_NS);
    // Garbage, then a pause too long for a straight line.
    tree.set(&format!("{JETSON}/curr1_input"), "many");
    board.poll(2 * SECOND_NS);
    tree.set(&format!("{JETSON}/curr1_input"), "2000");
    board.poll(3 * SECOND_NS);
    board.poll(4 * SECOND_NS);
    let energy = board.poll(14 * SECOND_NS).energy.unwrap();
    assert!((energy.energy_j - 20.0).abs() < 1e-9, "{energy:?}");
    assert!((energy.covered_s - 2.0).abs() < 1e-9 && (energy.uncovered_s - 12.0).abs() < 1e-9, "{energy:?}");
}

#[test]
fn rails_that_might_count_twice_are_not_added_up() {
    let tree = orin_nx();
    tree.set(&format!("{JETSON}/in1_label"), "NC");
    let reading = tree.board().poll(0);
    let fault = &why(&reading)[0];
    assert_eq!(fault.reason, Reason::NoTotal { found: "VDD_CPU_GPU_CV, VDD_SOC".into() });
    // An AGX Orin has no single rail, and three that make up the module.
    let tree = orin_nx();
    for (channel, label) in [(1, "VDD_GPU_SOC"), (2, "VDD_CPU_CV"), (3, "VIN_SYS_5V0")] {
        tree.set(&format!("{JETSON}/in{channel}_label"), label);
    }
    let mut board = tree.board();
    board.poll(0);
    let energy = board.poll(SECOND_NS).energy.unwrap();
    assert!((energy.energy_j - 17.0).abs() < 1e-9, "{energy:?}");
    assert!(energy.scope.contains("VDD_GPU_SOC + VDD_CPU_CV + VIN_SYS_5V0"));
}

#[test]
fn a_counter_that_begins_anew_loses_nothing() {
    let tree = desktop();
    let mut board = tree.board();
    board.poll(0);
    tree.set("class/powercap/intel-rapl:0/energy_uj", "9000000");
    tree.set("class/powercap/intel-rapl:0:1/energy_uj", "600000");
    // 8 J of the package and 0.5 J of the memory in 4 s; the cores are in the package.
    let energy = board.poll(4_000_000).energy.unwrap();
    assert_eq!((energy.source, energy.method), (Source::Rapl, Method::Counter));
    assert!((energy.energy_j - 8.5).abs() < 1e-9, "{energy:?}");
    assert!(energy.scope.contains("package-0 + dram") && !energy.scope.contains("core"), "{energy:?}");
    tree.set("class/powercap/intel-rapl:0/energy_uj", "2000000");
    let energy = board.poll(8_000_000).energy.unwrap();
    assert!((energy.energy_j - 11.5).abs() < 1e-9, "{energy:?}");
    assert!((energy.covered_s - 0.008).abs() < 1e-12);
    // After a pause in which it may have begun anew twice, nothing is claimed.
    tree.set("class/powercap/intel-rapl:0/energy_uj", "3000000");
    let energy = board.poll(60 * SECOND_NS).energy.unwrap();
    assert!((energy.energy_j - 11.5).abs() < 1e-9 && energy.uncovered_s > 59.0, "{energy:?}");
}

#[test]
fn a_counter_tells_afterwards_what_it_could_not_tell_meanwhile() {
    let tree = desktop();
    for (path, text) in rapl("intel-rapl:0", "package-0", "1000000", "262143328850") {
        tree.set(&path, &text);
    }
    tree.remove("class/powercap/intel-rapl:0:1/name");
    let mut board = tree.board();
    board.poll(0);
    tree.set("class/powercap/intel-rapl:0/energy_uj", "11000000");
    board.poll(SECOND_NS);
    tree.set("class/powercap/intel-rapl:0/energy_uj", "");
    let energy = board.poll(2 * SECOND_NS).energy.unwrap();
    assert!((energy.energy_j - 10.0).abs() < 1e-9 && (energy.uncovered_s - 1.0).abs() < 1e-9, "{energy:?}");
    tree.set("class/powercap/intel-rapl:0/energy_uj", "31000000");
    let energy = board.poll(3 * SECOND_NS).energy.unwrap();
    assert!((energy.energy_j - 30.0).abs() < 1e-9 && energy.uncovered_s == 0.0, "{energy:?}");
    assert!((energy.power_w - 10.0).abs() < 1e-9);
}

#[test]
fn a_counter_that_only_root_may_read_is_named() {
    // Root may read everything: what the system says is then checked by itself.
    let denied = std::io::Error::from(std::io::ErrorKind::PermissionDenied);
    assert_eq!(Reason::from(&denied), Reason::PermissionDenied);
    let tree = desktop();
    let path = tree.0.join("class/powercap/intel-rapl:0/energy_uj");
    let mut permissions = std::fs::metadata(&path).unwrap().permissions();
    std::os::unix::fs::PermissionsExt::set_mode(&mut permissions, 0o000);
    std::fs::set_permissions(&path, permissions).unwrap();
    if std::fs::read(&path).is_err() {
        let mut board = tree.board();
        board.poll(0);
        let reading = board.poll(SECOND_NS);
        let fault = &why(&reading)[0];
        assert_eq!((&fault.path, &fault.reason), (&path, &Reason::PermissionDenied));
        assert!(fault.to_string().ends_with("intel-rapl:0/energy_uj: permission denied"));
    }
}

#[test]
fn a_platform_counter_that_does_not_move_gives_way_to_the_package() {
    let tree = desktop();
    for (path, text) in rapl("intel-rapl:1", "psys", "0", "262143328850") {
        tree.set(&path, &text);
    }
    for (path, text) in rapl("intel-rapl:0", "package-0", "0", "262143328850") {
        tree.set(&path, &text);
    }
    for (path, text) in rapl("intel-rapl:0:1", "dram", "0", "262143328850") {
        tree.set(&path, &text);
    }
    let mut board = tree.board();
    board.poll(0);
    tree.set("class/powercap/intel-rapl:0/energy_uj", "40000000");
    let energy = board.poll(4 * SECOND_NS).energy.unwrap();
    assert!((energy.energy_j - 40.0).abs() < 1e-9 && energy.scope.contains("package-0"), "{energy:?}");
    tree.set("class/powercap/intel-rapl:1/energy_uj", "90000000");
    let energy = board.poll(8 * SECOND_NS).energy.unwrap();
    assert!((energy.energy_j - 90.0).abs() < 1e-9 && energy.scope.contains("psys"), "{energy:?}");
}

#[test]
fn other_sensors_say_what_they_are_wired_to() {
    let tree = Tree::new(&[
        ("class/hwmon/hwmon0/name", "nvme"),
        ("class/hwmon/hwmon1/name", "ina226"),
        ("class/hwmon/hwmon1/power1_input", "12500000"),
        ("class/hwmon/hwmon1/power1_label", "supply"),
        ("class/hwmon/hwmon2/name", "ina3221"),
        ("class/hwmon/hwmon2/power1_input", "99000000"),
    ]);
    let mut board = tree.board();
    board.poll(0);
    let energy = board.poll(2 * SECOND_NS).energy.unwrap();
    assert!((energy.energy_j - 25.0).abs() < 1e-9, "{energy:?}");
    assert_eq!((energy.source, energy.method), (Source::Hwmon, Method::Trapezoid));
    assert_eq!(energy.scope, "what the sensor ina226 supply is wired to");
    // A meter of the whole computer is better than any of them.
    tree.set("class/hwmon/hwmon10/name", "power_meter");
    tree.set("class/hwmon/hwmon10/power1_average", "100000000");
    let mut board = tree.board();
    board.poll(0);
    let energy = board.poll(SECOND_NS).energy.unwrap();
    assert!((energy.energy_j - 100.0).abs() < 1e-9 && energy.scope.contains("whole computer"), "{energy:?}");
    // A counter of the kernel's own, set back in between.
    let tree = Tree::new(&[
        ("class/hwmon/hwmon0/name", "amd_energy"),
        ("class/hwmon/hwmon0/energy1_input", "5000000"),
    ]);
    let mut board = tree.board();
    board.poll(0);
    tree.set("class/hwmon/hwmon0/energy1_input", "8000000");
    assert!((energy_j(&board.poll(SECOND_NS)) - 3.0).abs() < 1e-9);
    tree.set("class/hwmon/hwmon0/energy1_input", "1000000");
    let energy = board.poll(2 * SECOND_NS).energy.unwrap();
    assert!((energy.energy_j - 3.0).abs() < 1e-9 && (energy.uncovered_s - 1.0).abs() < 1e-9, "{energy:?}");
}

#[test]
fn temperatures_come_with_the_points_at_which_the_kernel_acts() {
    let zone = |file: &str| format!("class/thermal/thermal_zone0/{file}");
    let tree = Tree::new(&[
        (&zone("type"), "cpu-thermal"),
        (&zone("temp"), "71500"),
        (&zone("trip_point_0_type"), "critical"),
        (&zone("trip_point_0_temp"), "104500"),
        (&zone("trip_point_1_type"), "passive"),
        (&zone("trip_point_1_temp"), "99000"),
        (&zone("trip_point_2_type"), "active"),
        (&zone("trip_point_2_temp"), "51000"),
        ("class/thermal/thermal_zone1/type", "cpu-thermal"),
        ("class/thermal/thermal_zone1/temp", "-274000"),
        ("class/thermal/thermal_zone2/type", "gpu-thermal"),
    ]);
    let reading = tree.board().poll(0);
    assert_eq!(reading.temperatures.len(), 1);
    let cpu = &reading.temperatures[0];
    assert_eq!((cpu.zone.as_str(), cpu.temperature_c), ("cpu-thermal", 71.5));
    assert_eq!((cpu.passive_c, cpu.critical_c), (Some(99.0), Some(104.5)));
    let words: Vec<String> = reading.unavailable.iter().map(ToString::to_string).collect();
    assert!(words.iter().any(|word| word.contains("thermal_zone1/temp: -274000 is outside")), "{words:?}");
    assert!(words.iter().any(|word| word.contains("thermal_zone2/temp: no such file")), "{words:?}");
}

#[test]
fn whatever_holds_the_clocks_back_is_told() {
    let tree = orin_nx();
    for (path, text) in [
        ("class/thermal/cooling_device0/type", "pwm-fan"),
        ("class/thermal/cooling_device0/cur_state", "3"),
        ("class/thermal/cooling_device0/max_state", "4"),
        ("class/thermal/cooling_device1/type", "thermal-cpufreq-0"),
        ("class/thermal/cooling_device1/cur_state", "0"),
        ("class/thermal/cooling_device1/max_state", "10"),
        ("devices/system/cpu/cpufreq/policy0/scaling_max_freq", "2000000"),
        ("devices/system/cpu/cpufreq/policy0/scaling_cur_freq", "800000"),
        ("devices/system/cpu/cpu0/thermal_throttle/core_throttle_count", "7"),
        ("devices/platform/soc/soc:firmware/get_throttled", "50000"),
    ] {
        tree.set(path, text);
    }
    let mut board = tree.board();
    let active = |reading: &BoardReading| -> Vec<ThrottleKind> {
        reading.throttles.iter().filter(|throttle| throttle.active).map(|throttle| throttle.kind).collect()
    };
    let calm = board.poll(0);
    assert_eq!(active(&calm), []);
    // A fan cools at no cost, and an idle clock is not a throttled one; neither is told as throttling.
    assert_eq!(calm.throttles.len(), 3 + 4);
    tree.set(&format!("{JETSON}/curr1_crit_alarm"), "1");
    tree.set("class/thermal/cooling_device1/cur_state", "4");
    tree.set("devices/system/cpu/cpufreq/policy0/scaling_max_freq", "1200000");
    tree.set("devices/system/cpu/cpu0/thermal_throttle/core_throttle_count", "9");
    tree.set("devices/platform/soc/soc:firmware/get_throttled", "50005");
    let hot = board.poll(SECOND_NS);
    assert_eq!(
        active(&hot),
        [
            ThrottleKind::OverCurrent,
            ThrottleKind::Cooling,
            ThrottleKind::Clock,
            ThrottleKind::Counter,
            ThrottleKind::Firmware
        ]
    );
    let words: Vec<&str> = hot.throttles.iter().map(|throttle| throttle.detail.as_str()).collect();
    assert!(words.contains(&"state 4 of 10"), "{words:?}");
    assert!(words.contains(&"800 MHz, at most 1200 MHz allowed, 2000 MHz at the start"), "{words:?}");
    assert!(words.contains(&"0x50005 under-voltage, throttled, has happened since boot"), "{words:?}");
    assert_eq!((hot.polls, hot.throttled_polls), (2, 1));
    // The counter has not grown again.
    tree.set("devices/platform/soc/soc:firmware/get_throttled", "nonsense");
    let later = board.poll(2 * SECOND_NS);
    assert!(!active(&later).contains(&ThrottleKind::Counter));
    assert!(later.unavailable.iter().any(|fault| fault.to_string().contains("\"nonsense\" is not a number")));
}

/// Files with anything in them.
fn scribbled() -> impl Strategy<Value = Vec<(usize, Vec<u8>)>> {
    proptest::collection::vec((0..64_usize, proptest::collection::vec(any::<u8>(), 0..40)), 0..24)
}

fn files(root: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(root).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { found.extend(files(&path)) } else { found.push(path) }
    }
    found.sort();
    found
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// Whatever the files say, reading them gives finite figures or reasons, and energy never shrinks.
    #[test]
    fn garbage_gives_reasons_and_no_panic(scribbles in scribbled(), steps in proptest::collection::vec(0..5_000_000_000_u64, 6)) {
        let tree = orin_nx();
        for (path, text) in rapl("intel-rapl:0", "package-0", "1000000", "10000000") {
            tree.set(&path, &text);
        }
        tree.set("class/thermal/thermal_zone0/type", "cpu");
        tree.set("class/thermal/thermal_zone0/temp", "50000");
        tree.set("class/thermal/cooling_device0/type", "Processor");
        tree.set("class/thermal/cooling_device0/cur_state", "0");
        tree.set("class/thermal/cooling_device0/max_state", "3");
        let all = files(&tree.0);
        let mut board = tree.board();
        let (mut now_ns, mut last) = (0_u64, None::<(Source, f64)>);
        for (index, step_ns) in steps.iter().enumerate() {
            for (which, bytes) in scribbles.iter().skip(index).step_by(6) {
                std::fs::write(&all[which % all.len()], bytes).unwrap();
            }
            now_ns += step_ns;
            let reading = board.poll(now_ns);
            for temperature in &reading.temperatures {
                prop_assert!(temperature.temperature_c.is_finite());
            }
            match reading.energy {
                Ok(energy) => {
                    prop_assert!(energy.energy_j.is_finite() && energy.energy_j >= 0.0);
                    prop_assert!(energy.covered_s + energy.uncovered_s <= now_ns as f64 * 1e-9 + 1e-6);
                    if let Some((source, last_j)) = last && source == energy.source {
                        prop_assert!(energy.energy_j >= last_j);
                    }
                    last = Some((energy.source, energy.energy_j));
                }
                Err(faults) => prop_assert!(!faults.is_empty()),
            }
        }
    }

    /// What a wrapping counter counts is what went through it.
    #[test]
    fn a_wrapping_counter_adds_up(range in 1_000_u64..1_000_000, steps in proptest::collection::vec(0..999_u64, 1..200)) {
        let (mut counter, mut counted, mut true_sum) = (0_u64, 0, 0);
        for step in steps {
            // The hardware counts modulo its range.
            let next = (counter + step) % range;
            counted += difference_uj(counter, next, range);
            true_sum += step;
            counter = next;
        }
        prop_assert_eq!(counted, true_sum);
    }
}
