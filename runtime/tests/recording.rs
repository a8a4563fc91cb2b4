//! A recording can be read back by the mcap crate, and says what it lacks.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests fail by panicking")]

mod common;

use std::io::Cursor;

use common::{HZ, Rig, reach};
use reflexarc_drivers::Message;
use reflexarc_drivers::msg::{Image, JointTrajectory};
use reflexarc_runtime::Config;
use reflexarc_runtime::recorder::{McapSink, Recorder, RunInfo};

fn scratch(name: &str) -> std::path::PathBuf {
    std::env::temp_dir().join(format!("reflexarc-{}-{name}", std::process::id()))
}

#[test]
fn a_recording_reads_back_and_counts() {
    let path = scratch("whole.mcap");
    let mut rig = Rig::new(Config::default(), reach());
    let tap = rig.runtime.link().tap(100_000);
    let info = RunInfo::new(rig.runtime.config(), "script");
    let recorder = Recorder::start(&path, tap, &info).unwrap();
    rig.run(HZ);
    let report = recorder.finish().unwrap();
    assert_eq!(report.dropped, 0);

    let bytes = std::fs::read(&path).unwrap();
    let summary = mcap::Summary::read(&bytes).unwrap().unwrap();
    let statistics = summary.stats.as_ref().unwrap();
    assert_eq!(statistics.message_count, report.messages);
    let mut counts = std::collections::BTreeMap::<String, u64>::new();
    for message in mcap::MessageStream::new(&bytes).unwrap() {
        let message = message.unwrap();
        let schema = message.channel.schema.as_ref().unwrap();
        assert_eq!((schema.encoding.as_str(), message.channel.message_encoding.as_str()), ("ros2msg", "cdr"));
        match message.channel.topic.as_str() {
            "/camera/scene/image_raw" => {
                assert_eq!(schema.name, Image::TYPE_NAME);
                assert_eq!(Image::decode(&message.data).unwrap().data.len(), 96 * 96 * 3);
                assert_eq!(message.channel.metadata["direction"], "received");
            }
            "/joint_command" => {
                let command = JointTrajectory::decode(&message.data).unwrap();
                assert_eq!(command.stamp_ns(), Some(message.log_time));
                assert_eq!(message.channel.metadata["direction"], "sent");
            }
            _ => {}
        }
        *counts.entry(message.channel.topic.clone()).or_default() += 1;
    }
    assert_eq!(counts["/camera/scene/image_raw"], 60);
    assert_eq!(counts["/tactile/left/taxels"], 120);
    assert_eq!(counts["/joint_states"], 240);
    assert_eq!(counts["/goal"], 60);
    assert_eq!(counts["/joint_command"], rig.runtime.report().commands);

    let described: Vec<_> =
        summary.metadata_indexes.iter().map(|index| mcap::read::metadata(&bytes, index).unwrap()).collect();
    let run = &described.iter().find(|metadata| metadata.name == "reflexarc.run").unwrap().metadata;
    assert_eq!(run["policy"], "script");
    assert_eq!(Config::parse(&run["config"]).unwrap(), Config::default());
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
        sink.write(&record).unwrap();
    }
    let report = sink.finish(dropped).unwrap();
    assert_eq!((report.messages, report.dropped), (16, dropped));
}

#[test]
fn a_recording_that_cannot_be_made_is_an_error() {
    let rig = Rig::new(Config::default(), reach());
    let folder = std::env::temp_dir();
    let error = Recorder::start(&folder, rig.runtime.link().tap(16), &RunInfo::default());
    assert!(error.err().unwrap().to_string().contains("cannot create the recording"));
}
