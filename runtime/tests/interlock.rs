//! The start-up interlock: each condition taken away in turn, and nothing moves.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests fail by panicking")]

mod common;

use common::{HZ, Rig, Say, decide, reach, tick_ns};
use reflexarc_drivers::Topics;
use reflexarc_drivers::msg::BoolMsg;
use reflexarc_kinematics::{ARM7_HOME_RAD, ARM7_URDF, Chain, Joints};
use reflexarc_runtime::failsafe::Cause;
use reflexarc_runtime::interlock::{CONDITIONS, Uncalibrated, missing};
use reflexarc_runtime::reflex::{Intent, Reflex};
use reflexarc_runtime::safety::Gate;
use reflexarc_runtime::senses::{Body, Snapshot};
use reflexarc_runtime::{Config, Mode, SenseId, WaitReason};

/// One condition less.
struct Less {
    cause: Cause,
    mode: &'static str,
    configure: fn(&mut Config),
    /// Before each tick.
    spoil: fn(&mut Rig),
    mend: fn(&mut Rig),
}

fn nothing(_: &mut Rig) {}

/// Joint states by hand: as they are, but for what `spoil` does to them.
fn send(rig: &mut Rig, spoil: impl FnOnce(&mut reflexarc_drivers::msg::JointState)) {
    rig.plant.sends.joints = false;
    let mut state = rig.plant.joint_state(rig.now_ns());
    spoil(&mut state);
    rig.plant.send_joints(&state);
}

fn chunk_from(q0_rad: f32) -> Say {
    let mut q = ARM7_HOME_RAD.map(|q| q as f32);
    q[0] = q0_rad;
    Say::Actions((0..100).flat_map(|_| q.into_iter().chain([0.05])).collect())
}

fn cases() -> Vec<Less> {
    let less = |cause, mode, spoil, mend| Less { cause, mode, configure: |_| {}, spoil, mend };
    let joints_back: fn(&mut Rig) = |rig| rig.plant.sends.joints = true;
    vec![
        less(
            Cause::SenseLost,
            "waiting_senses",
            |rig| rig.plant.sends.scene = false,
            |rig| rig.plant.sends.scene = true,
        ),
        less(
            Cause::SenseLost,
            "waiting_senses",
            |rig| rig.plant.sends.wrist = false,
            |rig| rig.plant.sends.wrist = true,
        ),
        less(
            Cause::SenseLost,
            "waiting_senses",
            |rig| rig.plant.sends.left = false,
            |rig| rig.plant.sends.left = true,
        ),
        less(Cause::SenseLost, "waiting_senses", |rig| rig.plant.sends.joints = false, joints_back),
        less(
            Cause::CamerasBlack,
            "waiting_senses",
            |rig| rig.plant.sends.pixel = 0,
            |rig| rig.plant.sends.pixel = 90,
        ),
        less(
            Cause::NotCalibrated,
            "waiting_calibration",
            |rig| send(rig, |s| s.name[0] = "elbow".into()),
            joints_back,
        ),
        less(
            Cause::NotCalibrated,
            "waiting_calibration",
            |rig| send(rig, |s| s.position[1] = 4.0),
            joints_back,
        ),
        less(
            Cause::NotCalibrated,
            "waiting_calibration",
            |rig| {
                send(rig, |s| {
                    s.name.push("joint8".into());
                    s.position.push(0.0);
                });
            },
            joints_back,
        ),
        Less {
            cause: Cause::NotCalibrated,
            mode: "waiting_calibration",
            configure: |config| config.safety.require_calibrated = true,
            spoil: nothing,
            mend: |rig| {
                let topic = Topics::new("").calibrated;
                rig.plant.link.publisher(&topic).unwrap().put(&BoolMsg::new(true)).unwrap();
            },
        },
        Less {
            cause: Cause::NotEnabled,
            mode: "waiting_not_enabled",
            configure: |config| {
                config.safety.require_enable = true;
                config.safety.enable_timeout_ms = 10_000;
            },
            spoil: nothing,
            mend: |rig| rig.plant.enable.put(&BoolMsg::new(true)).unwrap(),
        },
        less(
            Cause::PoseApart,
            "waiting_pose_apart",
            |rig| rig.script.says(chunk_from(1.0)),
            |rig| rig.script.says(chunk_from(0.2)),
        ),
    ]
}

#[test]
fn nothing_moves_while_a_condition_is_missing_and_everything_once_it_is_there() {
    for (index, case) in cases().into_iter().enumerate() {
        let mut config = Config::default();
        (case.configure)(&mut config);
        let mut rig = Rig::new(config, reach());
        let home = rig.plant.q.clone();
        let mut named = std::collections::BTreeSet::new();
        for _ in 0..HZ {
            (case.spoil)(&mut rig);
            let command = rig.step();
            named.insert(command.mode.key());
            assert!(matches!(command.mode, Mode::Waiting(_)), "{index}: {}", command.mode);
            assert!(command.joints.is_none());
        }
        assert_eq!(rig.plant.q, home, "{index}: moved");
        assert_eq!(rig.plant.commands, 0, "{index}: commanded");
        assert!(named.contains(case.mode), "{index}: {named:?}");
        (case.spoil)(&mut rig);
        let command = rig.step();
        assert!(missing(command.causes).contains(case.cause), "{index}: {:?}", command.causes);
        assert_eq!(command.mode.key(), case.mode);
        (case.mend)(&mut rig);
        rig.until_active();
        // From where the arm is, softly.
        let first = rig.runtime.report();
        assert!(first.commands <= 2, "{index}: {}", first.commands);
        assert!(rig.plant.q.iter().zip(&home).all(|(q, home)| (q - home).abs() < 1e-3));
    }
}

/// A reflex before its first motion, and a moment at the home posture.
fn unmoved() -> (Reflex, impl Fn(u64) -> Snapshot) {
    let chain = Chain::from_urdf(ARM7_URDF, "base", "tool").unwrap();
    let reflex = Reflex::new(chain.clone(), &Config::default());
    let q = Joints::from_slice(&ARM7_HOME_RAD);
    let base_from_tool = chain.base_from_tip(&q);
    let moment = move |now_ns| {
        Snapshot::of_body(now_ns, Body { stamp_ns: now_ns, q, gripper_width_m: 0.05, base_from_tool })
    };
    (reflex, moment)
}

#[test]
fn a_model_that_has_not_run_keeps_the_arm_where_it_is() {
    let (mut reflex, moment) = unmoved();
    for tick in 0..HZ {
        let command = reflex.tick(tick_ns(tick), &moment(tick_ns(tick)), Gate::Open, Intent::Failed);
        assert!(missing(command.causes).contains(Cause::ModelCold));
        assert_eq!(command.mode, Mode::Waiting(WaitReason::ModelCold));
        assert!(command.joints.is_none());
    }
    reflex.warm();
    let command = reflex.tick(tick_ns(HZ), &moment(tick_ns(HZ)), Gate::Open, Intent::Nothing);
    assert_eq!(missing(command.causes).iter().collect::<Vec<_>>(), [Cause::NoDecision]);
}

#[test]
fn a_clock_that_jumps_and_a_loop_that_stumbles_keep_the_arm_where_it_is() {
    let (mut reflex, moment) = unmoved();
    let mut tick = |now_ns, jumped| {
        let mut snapshot = moment(now_ns);
        snapshot.clock_jumped = jumped;
        let decision = decide(reach(), now_ns);
        reflex.tick(now_ns, &snapshot, Gate::Open, Intent::Follow(&decision))
    };
    let which = SenseId::Camera(1);
    for index in 0..HZ {
        assert_eq!(tick(tick_ns(index), Some(which)).mode, Mode::Waiting(WaitReason::ClockJump { which }));
    }
    // Ticks 250 ms apart: the clock has settled by the first.
    for index in 1..20 {
        let command = tick(tick_ns(HZ) + index * 250_000_000, None);
        assert!(matches!(command.mode, Mode::Waiting(WaitReason::Overrun { .. })), "{}", command.mode);
        assert!(command.joints.is_none());
    }
}

#[test]
fn what_is_wrong_with_the_robot_is_said_in_words() {
    for (reason, words) in [
        (Uncalibrated::NotSaid, "`calibrated`"),
        (Uncalibrated::Names, "other joints"),
        (Uncalibrated::Count { expected: 8, found: 9 }, "names 9 joints, expected 8"),
        (Uncalibrated::Range, "ranges"),
    ] {
        let mode = Mode::Waiting(WaitReason::Calibration(reason));
        assert!(mode.to_string().contains(words), "{mode}");
    }
    assert!(CONDITIONS.into_iter().all(|cause| !cause.is_order()));
}
