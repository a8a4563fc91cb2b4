//! What the senses make of bad messages, bad clocks and senses that go: each fault detected and counted.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests fail by panicking")]

mod common;

use std::sync::{Arc, Mutex};

use common::{HZ, Plant, Rig, START_NS, decide, reach, tick_ns};
use reflexarc_drivers::msg::{Float32MultiArray, Header, Image, Message, Time};
use reflexarc_drivers::{Attachment, Bus, Clock, Link, Topics};
use reflexarc_runtime::failsafe::{Action, Cause};
use reflexarc_runtime::{Config, HoldReason, Mode, Runtime, SenseFault, SenseId};
use reflexarc_vla_model::chunk::Ahead;
use reflexarc_vla_model::observation::Observation;
use reflexarc_vla_model::policy::{Output, Policy, PolicyError};

const MS: u64 = 1_000_000;

fn rig() -> Rig {
    let mut rig = Rig::new(Config::default(), reach());
    rig.until_active();
    rig
}

/// A counter of a topic, by the name that reports use; 0 if it is not there.
fn count(rig: &Rig, topic: &str, name: &str) -> u64 {
    let report = rig.runtime.report();
    let topic = report.topics.iter().find(|found| found.topic == topic).unwrap();
    match name {
        "malformed" => topic.malformed,
        "gaps" => topic.gaps,
        "duplicates" => topic.duplicates,
        "reordered" => topic.reordered,
        _ => topic.counts.get(name).copied().unwrap_or(0),
    }
}

#[test]
fn each_fault_of_a_joint_state_has_its_counter() {
    type Spoil = fn(&mut reflexarc_drivers::msg::JointState);
    let mut rig = rig();
    rig.plant.sends.joints = false;
    let faults: [(&str, Spoil); 8] = [
        ("non_finite", |state| state.position[3] = f64::NAN),
        ("non_finite", |state| state.position[7] = f64::INFINITY),
        ("shape", |state| state.position.truncate(7)),
        ("names", |state| state.name[2] = "joint9".into()),
        ("names", |state| state.name[2] = "joint1".into()),
        ("range", |state| state.position[1] = 40.0),
        ("range", |state| state.position[7] = -0.5),
        ("future", |state| state.header.stamp = Time::from_ns(state.header.stamp_ns() + 60 * MS)),
    ];
    for (name, spoil) in faults {
        let before = count(&rig, "joint_states", name);
        let mut state = rig.plant.joint_state(rig.now_ns());
        spoil(&mut state);
        rig.plant.send_joints(&state);
        rig.step();
        assert_eq!(count(&rig, "joint_states", name), before + 1, "{name}");
        rig.plant.send_joints(&rig.plant.joint_state(rig.now_ns()));
        rig.step();
    }
    for (name, back_ns) in [("repeated", 0), ("backwards", 8 * MS)] {
        let good = rig.plant.joint_state(rig.now_ns());
        rig.plant.send_joints(&good);
        rig.step();
        let mut again = good;
        again.header.stamp = Time::from_ns(again.header.stamp_ns() - back_ns);
        rig.plant.send_joints(&again);
        rig.step();
        assert_eq!(count(&rig, "joint_states", name), 1, "{name}");
    }
}

#[test]
fn each_fault_of_a_picture_and_of_a_pad_has_its_counter() {
    let mut rig = rig();
    let topics = Topics::new("");
    rig.plant.sends.scene = false;
    let scene = rig.plant.link.publisher(&topics.camera("scene")).unwrap();
    let header = |rig: &Rig| Header::new(rig.now_ns(), "camera");
    let good = Image::rgb8(Header::default(), 96, 96, vec![90; 96 * 96 * 3]).unwrap();
    let small = Image::rgb8(Header::default(), 64, 96, vec![90; 64 * 96 * 3]).unwrap();
    let cut = Image { data: good.data[..999].to_vec(), ..good.clone() };
    let grey = Image { encoding: "mono8".into(), ..good };
    for (index, image) in [small, cut, grey].into_iter().enumerate() {
        scene.put(&Image { header: header(&rig), ..image }).unwrap();
        rig.step();
        assert_eq!(count(&rig, "camera/scene/image_raw", "shape"), index as u64 + 1);
    }
    rig.plant.sends.left = false;
    rig.run(2);
    let left = rig.plant.link.publisher(&topics.tactile("left")).unwrap();
    let pad = |shape: [(&str, u32); 3], value: f32| {
        let len = shape.iter().map(|(_, side)| *side as usize).product();
        Float32MultiArray::new(&shape, vec![value; len]).unwrap()
    };
    left.put(&pad([("rows", 4), ("columns", 4), ("channels", 2)], 0.1)).unwrap();
    rig.step();
    assert_eq!(count(&rig, "tactile/left/taxels", "shape"), 1);
    left.put(&pad([("rows", 4), ("columns", 4), ("channels", 3)], f32::NAN)).unwrap();
    rig.step();
    assert_eq!(count(&rig, "tactile/left/taxels", "non_finite"), 1);
}

#[test]
fn gaps_duplicates_reordering_and_garbage_are_counted() {
    let mut rig = rig();
    rig.plant.sends.joints = false;
    let topics = Topics::new("");
    let send = |rig: &mut Rig, sequence: i64, garbage: bool| {
        let state = rig.plant.joint_state(rig.now_ns());
        let payload = if garbage { vec![7; 40] } else { state.encode() };
        let attachment = Attachment { sequence, source_ns: rig.now_ns(), gid: [9; 16] }.encode();
        rig.plant.link.inject(&topics.joint_states, &payload, Some(&attachment)).unwrap();
        rig.step();
    };
    for (sequence, garbage) in [(1, false), (2, false), (6, false), (6, false), (5, false), (7, true)] {
        send(&mut rig, sequence, garbage);
    }
    let counts =
        ["gaps", "duplicates", "reordered", "malformed"].map(|name| count(&rig, "joint_states", name));
    assert_eq!(counts, [3, 1, 1, 1]);
}

#[test]
fn a_source_whose_clock_went_back_is_believed_again_and_said_to_be_corrected() {
    let mut rig = rig();
    rig.run(HZ / 2);
    rig.plant.sends.behind_ns = 600 * MS;
    let mut held = 0;
    let mut named = std::collections::BTreeSet::new();
    while held < HZ {
        let command = rig.step();
        named.insert(command.mode.key());
        if command.mode == Mode::Active {
            break;
        }
        held += 1;
    }
    // 500 ms until the clocks are believed, 200 ms until that counts as settled.
    let held_ms = held * 1000 / HZ;
    assert!((650..=800).contains(&held_ms), "{held_ms} ms");
    assert!(named.contains("holding_clock_jump") && named.contains("holding_stale"), "{named:?}");
    for topic in ["joint_states", "camera/scene/image_raw", "camera/wrist/image_raw"] {
        assert_eq!(
            (count(&rig, topic, "clock_jumps"), count(&rig, topic, "clock_resyncs")),
            (1, 1),
            "{topic}"
        );
    }
    let command = rig.run(HZ);
    assert_eq!(command.mode, Mode::Active);
    assert_eq!(
        (command.failsafe.action, command.failsafe.cause),
        (Action::Warn, Some(Cause::ClockCorrected))
    );
    // What it sees is as old as it is.
    let age_ns = command.stamp_ns - rig.runtime.snapshot().observation_ns;
    assert!(age_ns < 20 * MS, "{age_ns}");

    // Set right again: another jump, another hold, and nothing is corrected any more.
    rig.plant.sends.behind_ns = 0;
    assert!(matches!(rig.run(4).mode, Mode::Holding(HoldReason::ClockJump { .. })));
    rig.until_active();
    assert_eq!(rig.run(HZ).failsafe.action, Action::None);
}

#[test]
fn a_clock_that_runs_ahead_does_not_make_old_values_look_fresh() {
    let mut rig = Rig::new(Config::default(), reach());
    rig.plant.sends.ahead_ns = 9 * MS;
    rig.until_active();
    rig.run(60);
    rig.plant.sends.joints = false;
    let mut ticks = 0;
    while rig.step().mode == Mode::Active {
        ticks += 1;
    }
    // 20 ms since the last arrival, not 29.
    assert!(ticks * 1000 / HZ <= 20, "{ticks}");
}

#[test]
fn cameras_too_far_apart_in_time_hold_and_are_counted() {
    let mut config = Config::default();
    config.senses.camera_skew_ms = 30;
    let mut rig = Rig::new(config, reach());
    rig.until_active();
    rig.plant.sends.wrist = false;
    let wrist = rig.plant.link.publisher(&Topics::new("").camera("wrist")).unwrap();
    for _ in 0..60 {
        let header = Header::new(rig.now_ns() - 40 * MS, "camera");
        wrist.put(&Image::rgb8(header, 96, 96, vec![90; 96 * 96 * 3]).unwrap()).unwrap();
        rig.step();
    }
    let Mode::Holding(HoldReason::Sense(SenseFault::Skewed { which, skew_ns, limit_ns })) =
        rig.runtime.mode()
    else {
        panic!("{}", rig.runtime.mode());
    };
    assert_eq!((which, limit_ns), (SenseId::Camera(1), 30 * MS));
    assert!((30 * MS..=41 * MS).contains(&skew_ns));
    assert!(count(&rig, "camera/wrist/image_raw", "unaligned") > 10);
    rig.plant.sends.wrist = true;
    rig.until_active();
}

#[test]
fn an_optional_camera_may_go_the_arm_warns_slows_and_recovers() {
    let mut config = Config::default();
    config.senses.optional_cameras = vec!["wrist".into()];
    let mut rig = Rig::new(config, reach());
    rig.plant.sends.wrist = false;
    rig.until_active();
    let command = rig.step();
    assert_eq!((command.failsafe.action, command.failsafe.cause), (Action::Warn, Some(Cause::OptionalLost)));
    let command = rig.run(HZ);
    assert_eq!((command.mode, command.failsafe.action), (Mode::Active, Action::Slow));
    rig.plant.sends.wrist = true;
    assert_eq!(rig.run(40).failsafe.action, Action::Slow, "gone for too short a time");
    assert_eq!(rig.run(20).failsafe.action, Action::None);
    // Gone again: at once with what is seen of it, and never with an old picture.
    rig.plant.sends.wrist = false;
    assert_eq!(rig.run(40).failsafe.cause, Some(Cause::OptionalLost));
    assert!(count(&rig, "camera/wrist/image_raw", "went_stale") == 1);
}

#[test]
fn slow_is_slow() {
    let fastest = |optional: bool| {
        let mut config = Config::default();
        config.senses.optional_cameras = vec!["wrist".into()];
        let far =
            common::act(reflexarc_vla_model::decision::Subtask::Reach, [0.6, 0.3, 0.15], 0.3, 0.08, 10.0);
        let mut rig = Rig::new(
            config.clone(),
            common::act(reflexarc_vla_model::decision::Subtask::Reach, [0.45, -0.3, 0.3], 0.3, 0.08, 10.0),
        );
        rig.plant.sends.wrist = !optional;
        rig.run(3 * HZ);
        rig.script.says(common::Say::Verdict(far));
        let chain = reflexarc_runtime::runtime::load_chain(&config).unwrap();
        let (mut before, mut fastest_m_s) = (None, 0.0_f64);
        for _ in 0..2 * HZ {
            let tool = chain.base_from_tip(&rig.step().joints.unwrap().q).translation.vector;
            if let Some(before) = before.replace(tool) {
                fastest_m_s = fastest_m_s.max((tool - before).norm() * HZ as f64);
            }
        }
        fastest_m_s
    };
    let (normal, slow) = (fastest(false), fastest(true));
    assert!(normal > 0.3, "{normal}");
    assert!(slow < 0.4 * normal, "{slow} of {normal}");
}

/// Remembers what it was shown.
#[derive(Clone, Default)]
struct Watcher(Arc<Mutex<Vec<Observation>>>);

impl Policy for Watcher {
    fn name(&self) -> &str {
        "watcher"
    }

    fn instruct(&mut self, _: &str) {}

    fn decide(&mut self, observation: &Observation, _: &Ahead) -> Result<Output, PolicyError> {
        self.0.lock().unwrap().push(observation.clone());
        Ok(Output::Goals(decide(reach(), observation.time_ns)))
    }
}

fn watched(config: Config, mut arrange: impl FnMut(u64, &mut Plant)) -> Vec<Observation> {
    let (bus, clock) = (Bus::new(), Clock::manual(START_NS));
    let mut plant = Plant::new(Link::in_process(&bus, clock.clone()));
    let watcher = Watcher::default();
    let link = Link::in_process(&bus, clock.clone());
    let mut runtime = Runtime::new(config, link, Box::new(watcher.clone())).unwrap();
    for tick in 0..HZ {
        clock.set_ns(tick_ns(tick));
        arrange(tick, &mut plant);
        plant.step(tick, tick_ns(tick));
        runtime.step(tick_ns(tick));
    }
    let seen = watcher.0.lock().unwrap();
    seen.clone()
}

#[test]
fn the_policy_gets_the_joints_of_the_moment_that_its_cameras_show() {
    let topics = Topics::new("");
    let mut cameras = None;
    // The first joint turns at 0.24 rad/s; frames show what was 10 ms, that is 2.4 ticks, ago.
    let q_at = |ns: u64| (ns - START_NS) as f64 / 1e9 * 0.24;
    let seen = watched(Config::default(), |tick, plant| {
        plant.sends = common::Sends { stuck: true, scene: false, wrist: false, ..plant.sends };
        plant.q[0] = q_at(tick_ns(tick));
        let cameras = cameras.get_or_insert_with(|| {
            ["scene", "wrist"].map(|name| plant.link.publisher(&topics.camera(name)).unwrap())
        });
        if tick.is_multiple_of(4) && tick >= 4 {
            for camera in cameras {
                let header = Header::new(tick_ns(tick) - 10 * MS, "camera");
                camera.put(&Image::rgb8(header, 96, 96, vec![90; 96 * 96 * 3]).unwrap()).unwrap();
            }
        }
    });
    assert!(seen.len() > 40);
    for observation in &seen {
        let expected = q_at(observation.time_ns);
        assert!((f64::from(observation.joints_rad[0]) - expected).abs() < 1e-6);
    }
    let last = seen.last().unwrap();
    assert!(
        (f64::from(last.joints_rad[0]) - q_at(tick_ns(HZ - 1))).abs() > 1e-3,
        "the newest would be wrong"
    );
}

#[test]
fn a_camera_that_is_gone_is_shown_as_black_never_as_it_was() {
    let mut config = Config::default();
    config.senses.optional_cameras = vec!["wrist".into()];
    config.senses.optional_tactile = vec!["left".into()];
    let seen = watched(config, |tick, plant| {
        plant.sends.wrist = tick < HZ / 2;
        plant.sends.left = tick < HZ / 2;
        plant.sends.normal_n = 0.5;
    });
    let (first, last) = (seen.first().unwrap(), seen.last().unwrap());
    assert!(first.cameras[1].rgb.iter().all(|byte| *byte == 90));
    assert_eq!(last.cameras[1].rgb, vec![0; 96 * 96 * 3]);
    assert_eq!(last.cameras[1].name, "wrist");
    assert!(first.tactile[0].taxels_n[2] > 0.0 && last.tactile[0].taxels_n == vec![0.0; 48]);
    assert!(last.cameras[0].rgb.iter().all(|byte| *byte == 90));
    assert!(last.tactile[1].taxels_n[2] > 0.0);
}
