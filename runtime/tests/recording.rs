//! A recording can be read back by the mcap crate, and says what it lacks.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests fail by panicking")]

mod common;

use std::io::Cursor;

use common::{HZ, Rig, Script, reach};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use reflexarc_drivers::msg::{Image, JointTrajectory};
use reflexarc_drivers::{Bus, Clock, Link, Message};
use reflexarc_runtime::recorder::channels::Counters;
use reflexarc_runtime::recorder::file::{FileEnd, RecordReader};
use reflexarc_runtime::recorder::{McapSink, RunInfo};
use reflexarc_runtime::{Config, Runtime};

fn scratch(name: &str) -> std::path::PathBuf {
    std::env::temp_dir().join(format!("reflexarc-{}-{name}", std::process::id()))
}

/// A rig whose runtime records into `path`.
fn recording_rig(path: &std::path::Path) -> Rig {
    let mut config = Config::default();
    config.record.path = Some(path.into());
    Rig::new(config, reach())
}

#[test]
fn a_recording_reads_back_and_counts() {
    let path = scratch("whole.mcap");
    let mut rig = recording_rig(&path);
    rig.run(HZ);
    let report = rig.runtime.finish_recording().unwrap().unwrap();
    assert_eq!((report.dropped, report.dropped_ticks, report.dropped_thoughts), (0, 0, 0));
    assert_eq!((report.ticks, report.thoughts), (HZ, 60));

    let bytes = std::fs::read(&path).unwrap();
    let summary = mcap::Summary::read(&bytes).unwrap().unwrap();
    let statistics = summary.stats.as_ref().unwrap();
    let mut first_ns = u64::MAX;
    let mut counts = std::collections::BTreeMap::<String, u64>::new();
    for message in mcap::MessageStream::new(&bytes).unwrap() {
        let message = message.unwrap();
        let schema = message.channel.schema.as_ref().unwrap();
        let encodings = (schema.encoding.as_str(), message.channel.message_encoding.as_str());
        match message.channel.topic.as_str() {
            "/camera/scene/image_raw" => {
                assert_eq!(encodings, ("ros2msg", "cdr"));
                assert_eq!(schema.name, Image::TYPE_NAME);
                assert_eq!(Image::decode(&message.data).unwrap().data.len(), 96 * 96 * 3);
                assert_eq!(message.channel.metadata["direction"], "received");
            }
            "/joint_command" => {
                let command = JointTrajectory::decode(&message.data).unwrap();
                assert_eq!(command.stamp_ns(), Some(message.log_time));
                assert_eq!(message.channel.metadata["direction"], "sent");
            }
            topic if topic.starts_with("/reflexarc/") => {
                assert_eq!(encodings, ("jsonschema", "json"));
                let described: serde_json::Value = serde_json::from_slice(&schema.data).unwrap();
                let value: serde_json::Value = serde_json::from_slice(&message.data).unwrap();
                for key in value.as_object().unwrap().keys() {
                    assert!(
                        described["properties"].get(key).is_some(),
                        "{topic}: `{key}` is not in the schema"
                    );
                }
            }
            _ => {}
        }
        if message.channel.topic != "/reflexarc/recorder" {
            first_ns = first_ns.min(message.log_time);
        }
        *counts.entry(message.channel.topic.clone()).or_default() += 1;
    }
    // Viewers begin here.
    assert_eq!(statistics.message_start_time, first_ns);
    assert_eq!(counts["/camera/scene/image_raw"], 60);
    assert_eq!(counts["/tactile/left/taxels"], 120);
    assert_eq!(counts["/joint_states"], 240);
    assert_eq!(counts["/goal"], 60);
    assert_eq!(counts["/joint_command"], rig.runtime.report().commands);
    assert_eq!((counts["/reflexarc/tick"], counts["/reflexarc/thought"]), (240, 60));
    let own: u64 = counts.iter().filter(|(topic, _)| topic.starts_with("/reflexarc/")).map(|(_, n)| n).sum();
    assert_eq!(statistics.message_count, report.messages + own);

    let described: Vec<_> =
        summary.metadata_indexes.iter().map(|index| mcap::read::metadata(&bytes, index).unwrap()).collect();
    let run = &described.iter().find(|metadata| metadata.name == "reflexarc.run").unwrap().metadata;
    assert_eq!(run["policy"], "script");
    assert_eq!(Config::parse(&run["config"]).unwrap(), *rig.runtime.config());
    assert_eq!(run["program_sha256"].len(), 64);
    let recorder = described.iter().find(|metadata| metadata.name == "reflexarc.recorder").unwrap();
    assert_eq!(recorder.metadata["dropped"], "0");
    std::fs::remove_file(&path).unwrap();
}

#[test]
fn what_was_dropped_is_confessed() {
    let mut rig = Rig::new(Config::default(), reach());
    let tap = rig.runtime.link().tap(16);
    rig.run(60);
    let dropped = tap.dropped();
    assert!(dropped > 0);
    let mut sink = McapSink::new(Cursor::new(Vec::new()), &RunInfo::default()).unwrap();
    while let Some(record) = tap.try_recv() {
        sink.payload(&record).unwrap();
    }
    sink.dropped(dropped, 2, 1);
    // Said where it happened, not only at the end: a file may be cut.
    sink.flush().unwrap();
    let (report, out) = sink.finish().unwrap();
    assert_eq!((report.messages, report.dropped, report.dropped_ticks), (16, dropped, 2));
    let bytes = out.into_inner();
    let mut said = 0;
    for message in mcap::MessageStream::new(&bytes).unwrap() {
        let message = message.unwrap();
        if message.channel.topic == "/reflexarc/recorder" {
            let counters: Counters = serde_json::from_slice(&message.data).unwrap();
            assert_eq!((counters.dropped, counters.incomplete()), (dropped, true));
            said += 1;
        }
    }
    assert_eq!(said, 2);
}

#[test]
fn a_recording_that_cannot_be_made_is_an_error() {
    let mut config = Config::default();
    config.record.path = Some(std::env::temp_dir());
    let link = Link::in_process(&Bus::new(), Clock::manual(0));
    let error = Runtime::new(config, link, Box::new(Script::new(reach()))).err().unwrap();
    assert!(error.to_string().contains("cannot create the recording"), "{error}");
}

/// Whatever stands in a file, reading it ends with words, and needs no more memory than its records.
#[test]
fn hostile_bytes_are_refused_with_words() {
    let path = scratch("hostile.mcap");
    let mut rig = recording_rig(&path);
    rig.run(120);
    rig.runtime.finish_recording().unwrap();
    let good = std::fs::read(&path).unwrap();
    std::fs::remove_file(&path).unwrap();
    let mut random = ChaCha8Rng::seed_from_u64(11);
    let mut ends = std::collections::BTreeMap::<&str, u32>::new();
    for case in 0..600 {
        let mut bytes = good.clone();
        match case % 4 {
            // A few bytes changed, anywhere or where lengths stand.
            0 | 1 => {
                for _ in 0..1 + random.next_u32() % 8 {
                    let reach = if case % 4 == 0 { bytes.len() } else { 4096 };
                    let at = random.next_u32() as usize % reach;
                    bytes[at] = random.next_u32() as u8;
                }
            }
            // The largest lengths.
            2 => {
                let at = 8 + random.next_u32() as usize % 2048;
                bytes[at..at + 8].fill(0xff);
            }
            // Noise after an honest beginning.
            _ => {
                let from = random.next_u32() as usize % 2048;
                bytes[from..].iter_mut().for_each(|byte| *byte = random.next_u32() as u8);
            }
        }
        let mut reader = RecordReader::new(Cursor::new(bytes));
        let mut messages = 0;
        while let Some(message) = reader.next_message() {
            assert!(message.data.len() <= 16 << 20);
            messages += 1;
        }
        assert!(messages <= 5_000, "{messages} messages from a file of fewer");
        let end = match reader.end().unwrap() {
            FileEnd::Whole => "whole",
            FileEnd::Cut => "cut",
            FileEnd::Broken(why) => {
                assert!(!why.is_empty());
                "broken"
            }
        };
        *ends.entry(end).or_default() += 1;
    }
    assert!(ends["broken"] > 100, "{ends:?}");
}
