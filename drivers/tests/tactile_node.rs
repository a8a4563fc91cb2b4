//! Tactile pads on pseudo terminals: what is published, faults, unplugging.
#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stdout, reason = "tests fail by panicking")]

use std::collections::HashSet;
use std::path::PathBuf;
use std::time::Duration;

use reflexarc_drivers::link::{Bus, Link};
use reflexarc_drivers::tactile::simulator::{SimulatedPad, StreamFaults, felt};
use reflexarc_drivers::tactile::{TactileConfig, TactileError, TactileFormat, TactileNode, TactileStats};
use reflexarc_drivers::{Clock, Topics};

const RATE_HZ: u32 = 100;

fn config(test: &str, format: TactileFormat) -> TactileConfig {
    let name = format!("reflexarc-{test}-{}", std::process::id());
    TactileConfig {
        port: std::env::temp_dir().join(name),
        format,
        rows: 1,
        columns: 5,
        baseline_frames: 20,
        // A busy machine delays frames at will.
        max_age_ms: 10_000,
        ..TactileConfig::default()
    }
}

fn link() -> Link {
    Link::in_process(&Bus::new(), Clock::system())
}

/// Waits until `done`, 20 s at most.
fn until(what: &str, mut done: impl FnMut() -> bool) {
    for _ in 0..2000 {
        if done() {
            return;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    panic!("not within 20 s: {what}");
}

fn assert_each_frame_is_accounted_for(stats: &TactileStats) {
    let used = stats.published + stats.skipped_older + stats.too_old + stats.without_zero;
    assert!(stats.frames - used <= 1, "{stats:?}");
    assert_eq!(stats.publish_errors, 0);
}

#[test]
fn every_format_is_published_less_its_zero_and_scaled() {
    for format in [TactileFormat::Anyskin, TactileFormat::AnyskinAscii, TactileFormat::Taxels] {
        let config = TactileConfig { scale: vec![0.5, 0.5, 0.01], ..config("formats", format) };
        let pad = SimulatedPad::start(&config, RATE_HZ, StreamFaults::default()).unwrap();
        let (link, topics) = (link(), Topics::new(""));
        let mut taxels = link.subscribe(&topics.tactile("left")).unwrap();
        let node = TactileNode::start("left", &config, &link, &topics).unwrap();
        let begun_ns = link.clock().now_ns();
        let mut samples = 0;
        until("5 samples", || {
            if let Some(sample) = taxels.latest_unread() {
                samples += 1;
                let layout = &sample.value.layout.dim;
                let labels: Vec<_> =
                    layout.iter().map(|dim| (dim.label.as_str(), dim.size, dim.stride)).collect();
                assert_eq!(labels, [("rows", 1, 15), ("columns", 5, 15), ("channels", 3, 3)]);
                // Offsets of 10 and more are gone; noise of 5 µT and a touch of 2 N remain.
                let normal_n: f32 = sample.value.data.iter().skip(2).step_by(3).sum();
                assert!((-0.6..2.6).contains(&normal_n), "{normal_n}");
                assert!(sample.value.data.iter().all(|value| value.abs() < 6.0), "{:?}", sample.value.data);
                assert!(
                    sample.source_ns >= begun_ns - 1_000_000_000 && sample.source_ns <= link.clock().now_ns()
                );
            }
            samples >= 5
        });
        let (stats, status) = (node.stats(), node.status());
        assert_each_frame_is_accounted_for(&stats);
        assert!(stats.without_zero >= 20 && stats.device_errors == 0, "{stats:?}");
        assert_eq!((status.level, status.name.as_str()), (0, "tactile: left"), "{status:?}");
        assert_eq!(status.values.len(), stats.named().len());
        drop(node);
        drop(pad);
        assert!(!config.port.is_symlink());
    }
}

#[test]
fn a_pad_that_is_never_quiet_publishes_nothing_and_says_so() {
    let config = TactileConfig {
        baseline_frames: 10,
        baseline_attempts: 3,
        ..config("restless", TactileFormat::Taxels)
    };
    let pad = SimulatedPad::start(&config, RATE_HZ, StreamFaults::default()).unwrap();
    // The simulator's noise is a tenth of its own bound, 1.
    let strict = TactileConfig { baseline_spread: Some(1e-3), ..config };
    let (link, topics) = (link(), Topics::new(""));
    let mut taxels = link.subscribe(&topics.tactile("right")).unwrap();
    let node = TactileNode::start("right", &strict, &link, &topics).unwrap();
    until("failure", || node.status().message.starts_with("No zero"));
    assert_eq!(node.status().level, 2);
    assert_eq!((node.stats().baseline_retries, node.stats().published), (2, 0));
    assert!(taxels.latest().is_none());
    node.rebaseline();
    until("second failure", || node.stats().baseline_retries == 4);
    drop(pad);
}

#[test]
fn what_cannot_be_started_says_why() {
    let (link, topics) = (link(), Topics::new(""));
    let missing = config("missing", TactileFormat::Taxels);
    let error = TactileNode::start("left", &missing, &link, &topics).unwrap_err();
    assert!(matches!(&error, TactileError::Open { port, .. } if *port == missing.port), "{error}");
    let none = TactileConfig { port: PathBuf::new(), ..missing.clone() };
    assert!(matches!(TactileNode::start("left", &none, &link, &topics), Err(TactileError::Config { .. })));
    assert!(matches!(TactileNode::start("a b", &missing, &link, &topics), Err(TactileError::Link { .. })));
}

#[test]
fn a_pad_of_another_shape_is_named() {
    let config = config("shape", TactileFormat::Taxels);
    let _pad = SimulatedPad::start(&config, RATE_HZ, StreamFaults::default()).unwrap();
    let (link, topics) = (link(), Topics::new(""));
    let other = TactileConfig { columns: 4, ..config };
    let node = TactileNode::start("left", &other, &link, &topics).unwrap();
    until("the shape", || node.status().message.contains("1 × 5 × 3 values instead of 1 × 4 × 3"));
    assert_eq!((node.status().level, node.stats().published), (3, 0));
}

#[test]
fn an_unplugged_pad_comes_back_with_a_new_zero() {
    let config = config("unplug", TactileFormat::Taxels);
    let pad = SimulatedPad::start(&config, RATE_HZ, StreamFaults::default()).unwrap();
    let (link, topics) = (link(), Topics::new(""));
    let node = TactileNode::start("left", &config, &link, &topics).unwrap();
    until("publishing", || node.stats().published > 5);
    drop(pad);
    until("away", || node.status().message.starts_with("The device is away"));
    let before = node.stats();
    let pad = SimulatedPad::start(&config, RATE_HZ, StreamFaults::default()).unwrap();
    until("publishing again", || node.stats().published > before.published + 5);
    let stats = node.stats();
    assert_eq!(stats.reopened, 1);
    assert!(stats.device_errors >= 1);
    assert!(stats.without_zero >= before.without_zero + 20, "{stats:?}");
    assert_each_frame_is_accounted_for(&stats);
    // Dropped while the device is away, it ends all the same.
    drop(pad);
    until("away", || node.status().level == 2);
    drop(node);
}

/// A pad with faults of all kinds for `seconds`: every value published was sent.
fn live(seconds: u64, unplug_frame: f64) {
    let config =
        TactileConfig { baseline_frames: 0, ..config(&format!("live{seconds}"), TactileFormat::Taxels) };
    let faults = StreamFaults {
        seed: 7,
        drop_byte: 5e-4,
        corrupt_byte: 5e-4,
        duplicate_frame: 0.01,
        delay_frame: 0.02,
        unplug_frame,
        unplugged_ms: 300,
    };
    let bits = |values: &[f32]| -> Vec<u32> { values.iter().map(|value| value.to_bits()).collect() };
    let sent: HashSet<Vec<u32>> = (0..seconds * u64::from(RATE_HZ) + 1000)
        .map(|number| bits(&felt(&config, RATE_HZ, number)))
        .collect();
    let pad = SimulatedPad::start(&config, RATE_HZ, faults).unwrap();
    let (link, topics) = (link(), Topics::new(""));
    let mut taxels = link.subscribe_queue(&topics.tactile("left"), 1024).unwrap();
    let node = TactileNode::start("left", &config, &link, &topics).unwrap();
    let clock = Clock::system();
    let end_ns = clock.now_ns() + seconds * 1_000_000_000;
    let (mut received, mut wrong, mut last_ns, mut disordered) = (0_u64, 0_u64, 0, 0_u64);
    while clock.now_ns() < end_ns {
        while let Some(sample) = taxels.try_recv() {
            received += 1;
            wrong += u64::from(!sent.contains(&bits(&sample.value.data)));
            disordered += u64::from(sample.source_ns < last_ns);
            last_ns = sample.source_ns;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    let (stats, done) = (node.stats(), pad.done());
    println!(
        "{seconds} s: sent {done:?}\n  {stats:?}\n  received {received}, wrong {wrong}, disordered {disordered}"
    );
    assert_eq!((wrong, disordered), (0, 0));
    assert_each_frame_is_accounted_for(&stats);
    assert!(received > 0 && stats.published + 1 >= received);
    assert!(stats.crc_errors > 0 && stats.resyncs > 0 && stats.sequence_gaps > 0, "{stats:?}");
    // Unplugged again before it was opened again, it is opened once.
    assert!(stats.reopened + done.unplugged / 4 + 1 >= done.unplugged, "{stats:?}");
    // Nothing believed but whole frames; what an unplugged device took along is missing.
    assert!(stats.frames <= done.frames - done.damaged + done.duplicated, "{stats:?} {done:?}");
}

#[test]
fn a_live_stream_with_faults_gives_no_wrong_value() {
    live(5, 0.004);
}

/// `cargo test --release -p reflexarc-drivers --test tactile_node -- --ignored --nocapture`
#[test]
#[ignore = "takes ten minutes"]
fn ten_live_minutes_with_faults_give_no_wrong_value() {
    live(600, 0.0005);
}
