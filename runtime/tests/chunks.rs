//! A policy that speaks in joint targets, in lockstep with a plant: what becomes of its chunks.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests fail by panicking")]

mod common;

use std::path::Path;

use common::{HZ, Rig, Say, reach, tick_ns};
use reflexarc_drivers::msg::BoolMsg;
use reflexarc_drivers::{Bus, Clock, Link, Topics};
use reflexarc_kinematics::ARM7_HOME_RAD;
use reflexarc_runtime::config::{DeviceChoice, UnitsChoice};
use reflexarc_runtime::load::load_policy;
use reflexarc_runtime::{Config, HoldReason, Mode, Outcome, Rule, Runtime, StopCause, WaitReason};
use sha2::{Digest, Sha256};

const RATE_HZ: f64 = 50.0;

fn config() -> Config {
    let mut config = Config::default();
    config.chunk.rate_hz = RATE_HZ;
    config.rates.lockstep_delay_ms = Some(100);
    config
}

/// `count` actions that turn the first joint from `from_rad` by `step_rad` each and close the gripper.
fn turning(from_rad: f64, step_rad: f64, count: usize) -> Say {
    let action = |index: usize| {
        let mut q = ARM7_HOME_RAD.map(|q| q as f32);
        q[0] = (from_rad + step_rad * index as f64) as f32;
        q.into_iter().chain([0.02])
    };
    Say::Actions((0..count).flat_map(action).collect())
}

fn rig(config: Config, say: Say) -> Rig {
    let rig = Rig::new(config, reach());
    rig.script.says(say);
    rig
}

#[test]
fn the_arm_goes_where_the_actions_say_and_the_report_says_so() {
    let mut rig = rig(config(), turning(0.0, 0.0, 50));
    let mut announced = rig.plant.link.subscribe(&Topics::new("").action_chunk).unwrap();
    rig.run(HZ);
    rig.script.says(turning(0.3, 0.0, 50));
    rig.run(3 * HZ);
    assert_eq!(rig.runtime.mode(), Mode::Active);
    assert!((rig.plant.q[0] - 0.3).abs() < 1e-4, "{}", rig.plant.q[0]);
    assert!((rig.plant.width_m - 0.02).abs() < 1e-6);
    assert_eq!(rig.plant.force_n, 20.0);
    // It cannot say that it is done.
    assert_eq!(rig.runtime.outcome(), Outcome::Running);
    let report = rig.runtime.report();
    let chunks = report.chunks.clone().unwrap();
    assert_eq!((chunks.starts, chunks.ran_dry, chunks.starved_ticks), (1, 0, 0));
    assert!(chunks.late.is_empty() && chunks.widest_seam_rad > 0.29);
    assert_eq!(report.audit.passed, report.decisions);
    assert_eq!((report.mind_missed, report.limited_ticks), (0, 0));
    // Asked with a frame of this very tick; the policy takes 100 ms.
    assert!((report.observation_to_command.p50_us - 100_000.0).abs() < 22_000.0, "{report:?}");
    assert!(report.action_age.max_us < 250_000.0);
    assert_eq!(report.timeline.len(), 1);
    assert!(report.to_text().contains("chunks"));
    serde_json::from_str::<reflexarc_runtime::Report>(&serde_json::to_string(&report).unwrap()).unwrap();

    let message = &announced.latest().unwrap().value;
    let (asked_ns, _) = rig.script.log.lock().unwrap().ahead.last().cloned().unwrap();
    assert!(message.header.stamp.as_ns() == asked_ns);
    assert_eq!((message.joint_names.len(), message.points.len()), (8, 50));
    assert_eq!(message.points[2].time_from_start.as_ns(), 40_000_000);
    assert!((message.points[2].positions[0] - 0.3).abs() < 1e-6);
}

#[test]
fn the_policy_is_told_what_will_be_executed_meanwhile() {
    let mut rig = rig(config(), turning(0.0, 0.002, 50));
    rig.runtime.warm_up().unwrap();
    let warm = rig.script.log.lock().unwrap().ahead.len();
    rig.run(2 * HZ);
    let log = rig.script.log.lock().unwrap();
    let told: Vec<_> = log.ahead.iter().skip(warm).collect();
    // Nothing is ahead of the first two: the first is under way when the second is asked for.
    assert!(told[0].1.actions.is_empty() && told[0].1.delay == 0);
    let (_, last) = told.last().unwrap();
    // 100 ms, and up to three periods that are laid ahead, at 50 a second.
    assert!((5..=9).contains(&last.delay), "{}", last.delay);
    assert_eq!(last.actions.len() % 8, 0);
    // What is left of 50 actions after those consumed since the chunk's own observation.
    let left = last.actions.len() / 8;
    assert!((38..=45).contains(&left), "{left}");
}

#[test]
fn a_new_chunk_skips_what_was_really_consumed_and_no_more() {
    // The same delay by the clock; but during it, the arm is held for half of the time.
    let skipped = |held: bool| {
        let mut rig = rig(config(), turning(0.0, 0.001, 100));
        rig.run(HZ);
        let asked = rig.script.asked();
        while rig.script.asked() == asked {
            rig.step();
        }
        let before = rig.runtime.report().chunks.unwrap();
        if held {
            rig.plant.sends.joints = false;
        }
        // 20 ms of silence are tolerated.
        rig.run(15);
        rig.plant.sends.joints = true;
        rig.run(15);
        let after = rig.runtime.report().chunks.unwrap();
        assert_eq!(after.taken, before.taken + 1);
        (after.skipped_each * after.taken as f64 - before.skipped_each * before.taken as f64).round()
    };
    assert!(skipped(false) >= 5.0);
    assert!(skipped(true) < skipped(false) - 1.0, "{} {}", skipped(true), skipped(false));
}

#[test]
fn a_policy_that_falls_silent_leads_to_rest_at_its_last_action() {
    let mut rig = rig(config(), turning(0.0, 0.01, 50));
    rig.run(HZ / 2);
    rig.script.says(Say::Error);
    let mut furthest = 0.0_f64;
    for _ in 0..2 * HZ {
        rig.step();
        furthest = furthest.max(rig.plant.q[0]);
    }
    // The reason that there is nothing more to do.
    assert_eq!(rig.runtime.mode(), Mode::Holding(HoldReason::PolicyFailed));
    assert!((rig.plant.q[0] - 0.49).abs() < 1e-3, "{}", rig.plant.q[0]);
    assert!(furthest < 0.49 + 1e-3, "the last action was overshot: {furthest}");
    assert_eq!(rig.runtime.report().chunks.unwrap().ran_dry, 1);
    // And on from there.
    rig.script.says(turning(0.49, -0.01, 20));
    rig.run(HZ / 2);
    assert!(rig.plant.q[0] < 0.45);
}

#[test]
fn no_action_outlives_its_limit() {
    let mut config = config();
    config.chunk.expiry_ms = 500;
    let mut rig = rig(config, turning(0.0, 0.004, 100));
    rig.run(HZ / 2);
    rig.script.says(Say::Error);
    let mut last_ns = 0;
    for _ in 0..HZ {
        let command = rig.step();
        if let Some(observation_ns) = command.observation_ns {
            last_ns = command.stamp_ns - observation_ns;
        }
    }
    assert!(last_ns <= 500_000_000 && last_ns > 300_000_000, "{last_ns}");
    assert!(rig.plant.q[0] < 0.25, "{}", rig.plant.q[0]);

    // Too old on arrival.
    let mut config = self::config();
    config.chunk.expiry_ms = 200;
    config.rates.lockstep_delay_ms = Some(250);
    let mut rig = self::rig(config, turning(0.0, 0.004, 100));
    rig.run(2 * HZ);
    let chunks = rig.runtime.report().chunks.unwrap();
    assert_eq!(chunks.taken, 0);
    assert!(chunks.late["expired"] > 3);
    assert_eq!(rig.plant.commands, 0);
}

#[test]
fn a_refused_chunk_is_counted_and_the_one_before_goes_on() {
    let mut rig = rig(config(), turning(0.0, 0.0, 100));
    rig.run(HZ);
    for (actions, rule) in [
        (vec![f32::NAN; 16], Rule::NonFinite),
        (vec![0.0; 15], Rule::Shape),
        (Vec::new(), Rule::Shape),
        (vec![50.0; 8], Rule::Position),
    ] {
        rig.script.says(Say::Actions(actions));
        for _ in 0..HZ / 4 {
            assert_eq!(rig.step().mode, Mode::Active);
        }
        assert!(rig.runtime.report().audit.refused[rule.name()] > 0);
        rig.script.says(turning(0.0, 0.0, 100));
        rig.run(HZ / 4);
    }
    // With nothing else to do, the refusal is the reason.
    let mut rig = self::rig(config(), Say::Actions(vec![f32::INFINITY; 8]));
    rig.run(HZ);
    assert_eq!(rig.runtime.mode(), Mode::Holding(HoldReason::Refused(Rule::NonFinite)));
}

#[test]
fn after_a_stop_only_new_observations_count_and_the_start_is_soft() {
    let mut rig = rig(config(), turning(0.0, 0.0, 100));
    rig.run(HZ);
    rig.plant.estop.put(&BoolMsg::new(true)).unwrap();
    assert_eq!(rig.step().mode, Mode::Stopped(StopCause::EmergencyStop));
    rig.run(10);
    // Somebody moves the arm by hand.
    rig.plant.sends.stuck = true;
    rig.plant.q[1] += 0.1;
    let stood = rig.plant.q[1];
    rig.plant.estop.put(&BoolMsg::new(false)).unwrap();
    rig.plant.reset.put(&BoolMsg::new(true)).unwrap();
    rig.step();
    rig.plant.enable.put(&BoolMsg::new(true)).unwrap();
    let reset_ns = tick_ns(rig.tick);
    let mut waited = false;
    let mut first = None;
    for _ in 0..HZ {
        let command = rig.step();
        waited |= command.mode == Mode::Waiting(WaitReason::NoDecision);
        if let (Mode::Active, None) = (command.mode, first) {
            first = Some(command);
        }
    }
    let first = first.unwrap();
    assert!(waited);
    assert!(first.observation_ns.unwrap() >= reset_ns - 10_000_000);
    assert!((first.joints.unwrap().q[1] - stood).abs() < 1e-9, "it begins where the arm is");
    assert!(rig.runtime.report().chunks.unwrap().starts == 2);
}

#[test]
fn a_horizon_spares_the_policy() {
    let mut config = config();
    let asked = |config: &Config| {
        let mut rig = rig(config.clone(), turning(0.0, 0.001, 100));
        rig.run(4 * HZ);
        assert_eq!(rig.runtime.report().chunks.unwrap().starved_ticks, 0);
        rig.script.asked()
    };
    let eager = asked(&config);
    config.chunk.execution_horizon = 50;
    let sparing = asked(&config);
    assert!((30..=41).contains(&eager), "{eager}");
    assert!((4..=6).contains(&sparing), "{sparing}");
}

#[test]
fn the_same_events_give_the_same_commands() {
    let run = || {
        let mut rig = rig(config(), turning(0.0, 0.004, 30));
        let mut digest = Sha256::new();
        for tick in 0..3 * HZ {
            match tick {
                200 => rig.script.says(turning(0.4, -0.006, 16)),
                300 => rig.plant.sends.scene = false,
                360 => rig.plant.sends.scene = true,
                400 => rig.script.says(Say::Actions(vec![9.0; 8])),
                450 => rig.script.says(turning(-0.2, 0.02, 8)),
                600 => rig.plant.sends.stuck = true,
                _ => {}
            }
            let command = rig.step();
            digest.update(command.mode.key());
            if let Some(joints) = command.joints {
                for value in joints.q.iter().chain(joints.qd.iter()).chain(&[joints.gripper_width_m]) {
                    digest.update(value.to_bits().to_le_bytes());
                }
            }
        }
        digest.finalize()
    };
    assert_eq!(run(), run());
}

#[test]
fn a_checkpoint_of_act_loads_for_its_robot_and_runs() {
    let crates = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut config = Config::default();
    config.robot.urdf = crates.join("kinematics/robots/arm5.urdf").to_str().unwrap().to_owned();
    config.robot.posture_rad = vec![0.0; 5];
    config.senses.cameras = vec!["camera1".into(), "camera2".into()];
    (config.senses.camera_width_px, config.senses.camera_height_px) = (96, 64);
    config.policy.device = DeviceChoice::Cpu;
    // Its random statistics open the gripper by 1.4 m, which `auto` does not believe.
    config.policy.units = UnitsChoice::Radians;
    config.validate().unwrap();
    let folder = crates.join("vla-model/tests/data/lerobot/act_tiny");
    let loaded = load_policy(&folder, &config).unwrap();
    let link = Link::in_process(&Bus::new(), Clock::manual(0));
    Runtime::new(config, link, loaded.policy).unwrap().warm_up().unwrap();
}
