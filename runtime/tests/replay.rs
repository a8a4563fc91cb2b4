//! A recorded run comes out the same again, bit for bit, whatever went wrong in it; where it cannot, replay
//! says so; and a file that is cut is a shorter recording.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests fail by panicking")]

mod common;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use common::{HZ, Plant, Rig, Say, act, reach, tick_ns};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use reflexarc_drivers::msg::{BoolMsg, StringMsg};
use reflexarc_drivers::{Bus, Clock, Link, Topics};
use reflexarc_runtime::clockwork::{Schedule, monotonic_ns, sleep_until};
use reflexarc_runtime::recorder::RecorderReport;
use reflexarc_runtime::recorder::file::{FileEnd, RecordReader};
use reflexarc_runtime::replay::{Decisions, Recorded, ReplayReport, explain, replay};
use reflexarc_runtime::{Config, Mode, Runtime, StopCause, realtime};
use reflexarc_vla_model::chunk::{ActionChunk, Ahead};
use reflexarc_vla_model::decision::Subtask;
use reflexarc_vla_model::observation::Observation;
use reflexarc_vla_model::policy::{Output, Policy, PolicyError};

/// A file that is gone with its test.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Self {
        Self(std::env::temp_dir().join(format!("reflexarc-{}-{name}.mcap", std::process::id())))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // A test that failed early has no file.
        let _ = std::fs::remove_file(&self.0).or_else(|_| std::fs::remove_dir_all(&self.0));
    }
}

/// Decides by what it sees and was told, so that a wrong input shows in what it says.
struct Mirror {
    offset_m: f64,
    told: f64,
    chunks: bool,
}

impl Mirror {
    fn new(offset_m: f64) -> Self {
        Self { offset_m, told: 0.0, chunks: false }
    }
}

impl Policy for Mirror {
    fn name(&self) -> &str {
        "mirror"
    }

    fn instruct(&mut self, instruction: &str) {
        self.told = f64::from(instruction.bytes().fold(0_u8, u8::wrapping_add)) / 2550.0;
    }

    fn decide(&mut self, observation: &Observation, ahead: &Ahead) -> Result<Output, PolicyError> {
        let light = f64::from(observation.cameras[0].rgb[0]) / 2550.0;
        let touch = f64::from(observation.tactile[0].taxels_n.iter().sum::<f32>()) / 1e3;
        if light > 0.095 {
            return Err(PolicyError::NoInstruction);
        }
        if self.chunks {
            let joints = observation.joints_rad.iter().copied();
            let first: Vec<f32> = joints.chain([observation.gripper_width_m]).collect();
            let actions =
                (0..30).flat_map(|step| first.clone().into_iter().map(move |q| q + step as f32 * 0.002));
            let actions = actions.map(|q| q + ahead.actions.first().copied().unwrap_or(0.0) * 1e-4).collect();
            let chunk =
                ActionChunk { observation_ns: observation.time_ns, period_ns: 33_333_333, width: 8, actions };
            return Ok(Output::Chunk(chunk));
        }
        // A value beyond the workspace is refused by the audit.
        let x_m = 0.45 + light + self.offset_m;
        let y_m = f64::from(observation.joints_rad[0]) / 10.0 + touch;
        let verdict = act(Subtask::Reach, [x_m, y_m, 0.15 + self.told], 0.3, 0.08, 10.0);
        Ok(Output::Goals(common::decide(verdict, observation.time_ns)))
    }
}

fn recording(config: Config, path: &Path) -> Config {
    let mut config = config;
    config.record.path = Some(path.into());
    config
}

/// Replays with the same policy, and with the recorded decisions.
fn replay_both(path: &Path, policy: impl Fn() -> Mirror) -> [ReplayReport; 2] {
    let recorded = Recorded::open(path).unwrap();
    [Decisions::Model(Box::new(policy())), Decisions::Recorded]
        .map(|decisions| replay(&recorded, decisions, None).unwrap())
}

/// Runs `ticks` in lockstep; `disturb` may do anything before each of them.
fn record_lockstep(
    path: &Path,
    config: Config,
    policy: Mirror,
    ticks: u64,
    mut disturb: impl FnMut(u64, &mut Plant, &mut Runtime),
) -> RecorderReport {
    let bus = Bus::new();
    let clock = Clock::manual(tick_ns(0));
    let mut plant = Plant::new(Link::in_process(&bus, clock.clone()));
    let link = Link::in_process(&bus, clock.clone());
    let mut runtime = Runtime::new(recording(config, path), link, Box::new(policy)).unwrap();
    for tick in 0..ticks {
        clock.set_ns(tick_ns(tick));
        disturb(tick, &mut plant, &mut runtime);
        plant.step(tick, tick_ns(tick));
        runtime.step(tick_ns(tick));
    }
    runtime.finish_recording().unwrap().unwrap()
}

fn assert_same(report: &ReplayReport, ticks: u64) {
    assert!(report.same(), "{}", report.to_text());
    assert_eq!((report.ticks, &report.gap, report.not_compared), (ticks, &None, (0, 0)));
    assert!(report.thoughts > ticks / 10 && report.wire_same > ticks / 2, "{}", report.to_text());
}

#[test]
fn a_quiet_run_comes_out_the_same() {
    let file = Scratch::new("quiet");
    record_lockstep(&file.0, Config::default(), Mirror::new(0.0), 2 * HZ, |_, _, _| {});
    for report in replay_both(&file.0, || Mirror::new(0.0)) {
        assert_same(&report, 2 * HZ);
        assert_eq!(report.end, FileEnd::Whole);
    }
}

/// Everything that a robot's side and a program can do, at moments drawn from a seed.
#[test]
fn runs_with_faults_come_out_the_same() {
    for seed in 0..12 {
        let file = Scratch::new(&format!("faults-{seed}"));
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let mut config = Config::default();
        config.safety.require_enable = seed % 3 == 0;
        config.rates.lockstep_delay_ms = [None, Some(0), Some(40)][(seed % 3) as usize];
        let mut chatter = None;
        let policy = || Mirror { chunks: seed % 4 == 3, ..Mirror::new(0.0) };
        record_lockstep(&file.0, config, policy(), 3 * HZ, |tick, plant, runtime| {
            let topics = Topics::new("");
            if tick % 48 == 0 {
                plant.enable.put(&BoolMsg::new(true)).unwrap();
            }
            match random.next_u32() % 60 {
                0 => plant.sends.scene = !plant.sends.scene,
                1 => plant.sends.joints = !plant.sends.joints,
                2 => plant.sends.left = !plant.sends.left,
                3 => plant.sends.pixel = [0, 90, 200, 250][random.next_u32() as usize % 4],
                4 => plant.sends.normal_n = (random.next_u32() % 8) as f32,
                5 => plant.sends.stuck = !plant.sends.stuck,
                6 => plant.sends.ahead_ns = u64::from(random.next_u32() % 3) * 8_000_000,
                7 => plant.estop.put(&BoolMsg::new(true)).unwrap(),
                8..=10 => {
                    plant.estop.put(&BoolMsg::new(false)).unwrap();
                    plant.reset.put(&BoolMsg::new(true)).unwrap();
                }
                11 => {
                    let words = StringMsg::new(format!("pick up number {}", random.next_u32() % 5));
                    plant.instruction.put(&words).unwrap();
                }
                // Bytes that are no message, no attachment, or none at all.
                12 => plant.link.inject(&topics.joint_states, &[7; 40], None).unwrap(),
                13 => plant.link.inject(&topics.estop, &[1, 2], Some(&[9; 33])).unwrap(),
                14 => plant.link.inject(&topics.camera("wrist"), &[0; 64], Some(&[1; 5])).unwrap(),
                15 => {
                    let mut state = plant.joint_state(tick_ns(tick));
                    state.position[2] = f64::NAN;
                    plant.send_joints(&state);
                }
                // A second publisher of the same topic, with a reading of its own.
                16 => {
                    let other =
                        chatter.get_or_insert_with(|| plant.link.publisher(&topics.joint_states).unwrap());
                    other.put(&plant.joint_state(tick_ns(tick).saturating_sub(3_000_000))).unwrap();
                }
                17 => runtime.stop(StopCause::EmergencyStop),
                18 | 19 => {
                    let _ = runtime.reset(tick_ns(tick));
                    runtime.enable(tick_ns(tick));
                }
                20 => {
                    runtime.instruct("something else");
                }
                _ => {}
            }
        });
        for report in replay_both(&file.0, policy) {
            assert!(report.same() && report.gap.is_none(), "seed {seed}:\n{}", report.to_text());
            assert_eq!((report.ticks, report.not_compared), (3 * HZ, (0, 0)), "seed {seed}");
        }
    }
}

#[test]
fn decisions_that_the_audit_refuses_come_out_the_same_with_their_nan() {
    let file = Scratch::new("nan");
    let mut rig = Rig::new(recording(Config::default(), &file.0), reach());
    rig.run(120);
    let mut wrong = common::decide(reach(), 0);
    if let reflexarc_vla_model::decision::Verdict::Act { target, .. } = &mut wrong.verdict {
        target.position_m = [f64::NAN, f64::INFINITY, -0.0];
    }
    wrong.confidence = f32::NEG_INFINITY;
    rig.script.says(Say::Raw(wrong));
    rig.run(120);
    rig.runtime.finish_recording().unwrap();
    let recorded = Recorded::open(&file.0).unwrap();
    let report = replay(&recorded, Decisions::Recorded, None).unwrap();
    assert_same(&report, 240);
    let text = explain(&recorded, tick_ns(239)).unwrap();
    assert!(text.contains("refused") && text.contains("the audit refused a decision"), "{text}");
}

#[test]
fn another_model_is_found_out_at_its_first_word() {
    let file = Scratch::new("other");
    record_lockstep(&file.0, Config::default(), Mirror::new(0.0), HZ, |_, _, _| {});
    let recorded = Recorded::open(&file.0).unwrap();
    let report = replay(&recorded, Decisions::Model(Box::new(Mirror::new(0.04))), None).unwrap();
    let first = report.first.clone().unwrap();
    assert_eq!(first.what, "thought 1");
    assert!(first.place.field.starts_with("said.goals") || first.place.field == "tokens", "{first}");
    assert_eq!(report.thoughts_differ, report.thoughts);
    assert!(report.ticks_differ > 0 && report.wire_differ > 0 && !report.same());
}

#[test]
fn a_replay_until_a_moment_stops_there() {
    let file = Scratch::new("until");
    record_lockstep(&file.0, Config::default(), Mirror::new(0.0), HZ, |_, _, _| {});
    let recorded = Recorded::open(&file.0).unwrap();
    let until_ns = recorded.moment_ns("0.5").unwrap();
    assert_eq!(recorded.moment_ns("1763650000123456789"), Some(1_763_650_000_123_456_789));
    let report = replay(&recorded, Decisions::Recorded, Some(until_ns)).unwrap();
    assert!(report.same() && report.gap.is_none());
    assert_eq!((report.ticks, report.not_compared.0), (121, 119));
    for wrong in ["soon", "-1", "NaN", "inf", ""] {
        assert_eq!(recorded.moment_ns(wrong), None, "{wrong:?}");
    }
}

#[test]
fn a_moment_is_explained_from_what_was_seen_to_what_was_commanded() {
    let file = Scratch::new("explain");
    record_lockstep(&file.0, Config::default(), Mirror::new(0.0), 2 * HZ, |tick, plant, _| {
        plant.sends.joints = tick < HZ;
        if tick == HZ + HZ / 2 {
            plant.estop.put(&BoolMsg::new(true)).unwrap();
        }
    });
    let recorded = Recorded::open(&file.0).unwrap();
    let told = |moment: &str| explain(&recorded, recorded.moment_ns(moment).unwrap()).unwrap();
    let moving = told("0.9");
    for words in [
        "mode        active",
        "failsafe    ",
        "waiting_no_decision →",
        "joint_states: 0.0 ms old, looked at message",
        "tokens      PLAN pick red mug",
        "pick(red mug) → reach: tool to",
        "audit       passed",
        "chain       seen 0.8",
        "in force since tick",
        "this tick follows it",
        "limits      ",
    ] {
        assert!(moving.contains(words), "`{words}` is not in\n{moving}");
    }
    assert!(told("1.2").contains("holding: joint_states is"), "{}", told("1.2"));
    assert!(told("1.9").contains("stopped: emergency stop"), "{}", told("1.9"));
    assert!(told("99").contains("after the last tick"));
    assert!(told("0").contains("none in force"));
}

/// Cut anywhere, a recording opens, and what is left of it is the same as before and replays the same.
#[test]
fn a_recording_cut_anywhere_is_a_shorter_recording() {
    let file = Scratch::new("cut");
    record_lockstep(&file.0, Config::default(), Mirror::new(0.0), 6 * HZ, |tick, plant, _| {
        plant.sends.scene = tick % 400 < 350;
    });
    let bytes = std::fs::read(&file.0).unwrap();
    let whole = messages(&bytes);
    let cut_file = Scratch::new("cut-short");
    let mut random = ChaCha8Rng::seed_from_u64(5);
    let (mut replayed, mut most) = (0, 0);
    for _ in 0..100 {
        let length = random.next_u32() as usize % bytes.len();
        let kept = messages(&bytes[..length]);
        assert_eq!(kept.0, whole.0[..kept.0.len()], "a prefix at {length}");
        assert_eq!(kept.1, FileEnd::Cut, "at {length}");
        // At most the open chunk is missing: a megabyte or a second, and here about 40 KB compressed.
        most = most.max(kept.0.len());
        std::fs::write(&cut_file.0, &bytes[..length]).unwrap();
        match Recorded::open(&cut_file.0) {
            Ok(recorded) => {
                let report = replay(&recorded, Decisions::Recorded, None).unwrap();
                assert!(report.same() && report.gap.is_none(), "{length}: {}", report.to_text());
                assert_eq!(report.ticks, recorded.ticks);
                assert!(explain(&recorded, u64::MAX).unwrap().contains("mode"));
                replayed += 1;
            }
            Err(error) => assert!(error.to_string().contains("the file is cut"), "{error}"),
        }
    }
    assert!(replayed > 80 && most > whole.0.len() / 2, "{replayed} of 100, {most} of {}", whole.0.len());
}

/// Topic, time and size of every message, and how the file ends.
fn messages(bytes: &[u8]) -> (Vec<(String, u64, usize)>, FileEnd) {
    let mut reader = RecordReader::new(bytes);
    let mut all = Vec::new();
    while let Some(message) = reader.next_message() {
        all.push((message.channel.topic.clone(), message.log_ns, message.data.len()));
    }
    (all, reader.end().unwrap().clone())
}

#[test]
fn a_gap_ends_exactness_and_is_said() {
    let file = Scratch::new("gap");
    let mut config = Config::default();
    config.record.queue = 40;
    let report = record_lockstep(&file.0, config, Mirror::new(0.0), HZ, |tick, plant, _| {
        // More within one tick than the recorder may keep waiting: events are lost to it, and what follows.
        let burst = if tick == 100 { 60 } else { 0 };
        for _ in 0..burst {
            plant.estop.put(&BoolMsg::new(false)).unwrap();
        }
    });
    assert!(report.dropped > 0);
    let recorded = Recorded::open(&file.0).unwrap();
    assert!(recorded.counters.unwrap().incomplete());
    let report = replay(&recorded, Decisions::Recorded, None).unwrap();
    let gap = report.gap.clone().unwrap();
    assert_eq!(gap.after_tick, 100);
    assert!(gap.why.contains("was used and is not in the file"), "{}", gap.why);
    assert!(report.same() && report.ticks == 100 && report.not_compared.0 == 140, "{}", report.to_text());
}

#[test]
fn the_black_box_keeps_the_seconds_around_the_first_failure() {
    let folder = Scratch::new("black-box");
    let mut config = Config::default();
    config.record.black_box = Some(folder.0.clone());
    config.record.black_box_s = 2;
    let mut rig = Rig::new(config, reach());
    rig.run(5 * HZ);
    assert!(!folder.0.exists(), "nothing has failed");
    rig.plant.sends.scene = false;
    rig.run(2 * HZ);
    let written = std::fs::read_dir(&folder.0).unwrap().count();
    assert_eq!(written, 1, "written a second after the failure, not at the end");
    let report = rig.runtime.finish_recording().unwrap().unwrap();
    assert_eq!(report.path, "");
    let path = PathBuf::from(report.black_box.unwrap());
    assert!(path.starts_with(&folder.0), "{}", path.display());

    let recorded = Recorded::open(&path).unwrap();
    assert!(recorded.info.get("black_box").unwrap().contains("camera 0 is"), "{:?}", recorded.info);
    let (from_ns, to_ns) = recorded.span_ns;
    assert!((2_900_000_000..5_000_000_000).contains(&(to_ns - from_ns)), "{} ns", to_ns - from_ns);
    let text = explain(&recorded, to_ns).unwrap();
    assert!(text.contains("holding: camera 0 is"), "{text}");
    // What the loop knew before is not in it, and that is said.
    let report = replay(&recorded, Decisions::Recorded, None).unwrap();
    assert_eq!(report.ticks, 0);
    assert!(report.gap.unwrap().why.contains("the file begins with tick"));
}

/// Threads, zenoh's place taken by a plant on a thread of its own: nothing is in step with anything.
#[test]
fn a_run_in_real_time_comes_out_the_same() {
    let file = Scratch::new("realtime");
    let mut config = recording(Config::default(), &file.0);
    // Limits that a busy machine sometimes keeps and sometimes does not: both come out the same.
    config.senses.joints_max_age_ms = 40;
    let (bus, clock) = (Bus::new(), Clock::system());
    let mut plant = Plant::new(Link::in_process(&bus, clock.clone()));
    let runtime =
        Runtime::new(config, Link::in_process(&bus, clock.clone()), Box::new(Mirror::new(0.0))).unwrap();
    let stop = Arc::new(AtomicBool::new(false));
    let (plant_stop, plant_clock) = (Arc::clone(&stop), clock.clone());
    let thread = std::thread::Builder::new()
        .name("plant".into())
        .spawn(move || {
            let mut schedule = Schedule::new(monotonic_ns(), HZ as u32);
            let mut random = ChaCha8Rng::seed_from_u64(1);
            let mut tick = 0;
            while !plant_stop.load(Ordering::Acquire) {
                sleep_until(schedule.deadline_ns());
                schedule.wake(monotonic_ns());
                match tick {
                    200 => plant.estop.put(&BoolMsg::new(true)).unwrap(),
                    260 => {
                        plant.estop.put(&BoolMsg::new(false)).unwrap();
                        plant.reset.put(&BoolMsg::new(true)).unwrap();
                        plant.enable.put(&BoolMsg::new(true)).unwrap();
                    }
                    300 => plant.instruction.put(&StringMsg::new("pick up another")).unwrap(),
                    _ => plant.sends.pixel = 60 + (random.next_u32() % 30) as u8,
                }
                plant.step(tick, plant_clock.now_ns());
                tick += 1;
            }
        })
        .unwrap();
    let report = realtime::run(runtime, &clock, &stop, |progress| {
        if progress.time_s > 2.0 {
            stop.store(true, Ordering::Release);
        }
    })
    .unwrap();
    thread.join().unwrap();
    let recorder = report.recorder.unwrap();
    assert_eq!((recorder.dropped, recorder.dropped_ticks, recorder.dropped_thoughts), (0, 0, 0));
    for report in replay_both(&file.0, || Mirror::new(0.0)) {
        assert_eq!(report.ticks, recorder.ticks);
        assert!(report.same() && report.gap.is_none(), "{}", report.to_text());
        assert!(report.thoughts > 10);
    }
    let recorded = Recorded::open(&file.0).unwrap();
    assert!(explain(&recorded, u64::MAX).unwrap().contains(&Mode::Stopped(StopCause::Shutdown).to_string()));
}
