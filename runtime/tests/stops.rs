//! Causes, seen from outside: what the arm does about each, within the promised time, and how it goes on.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests fail by panicking")]

mod common;

use common::{HZ, Rig, Say, act, decide, reach, tick_ns};
use reflexarc_drivers::Topics;
use reflexarc_drivers::msg::BoolMsg;
use reflexarc_kinematics::{ARM7_HOME_RAD, ARM7_URDF, Chain, Joints};
use reflexarc_runtime::config::SafetyConfig;
use reflexarc_runtime::failsafe::{Action, Cause, Standing};
use reflexarc_runtime::reflex::{Command, Intent, Reflex};
use reflexarc_runtime::safety::Gate;
use reflexarc_runtime::senses::{Body, Snapshot};
use reflexarc_runtime::{Config, HoldReason, Mode, StopCause};
use reflexarc_vla_model::decision::Subtask;
use reflexarc_vla_model::token::Token;

/// Actions of a second and more, at 50 a second, that turn the first joint at about 2 rad/s to and fro.
fn swinging() -> Say {
    let action = |index: usize| {
        let mut q = ARM7_HOME_RAD.map(|q| q as f32);
        q[0] = 0.6 * (2.0 * std::f32::consts::PI * index as f32 / 100.0).sin();
        q.into_iter().chain([0.05])
    };
    Say::Actions((0..100).flat_map(action).collect())
}

fn swinging_rig(config: Config) -> Rig {
    let mut config = config;
    config.chunk.rate_hz = 50.0;
    config.chunk.execution_horizon = 100;
    config.limits.max_tool_speed_m_s = 2.0;
    config.limits.workspace_min_m = [-1.0, -1.0, -0.5];
    config.limits.workspace_max_m = [1.0, 1.0, 1.5];
    let rig = Rig::new(config, reach());
    rig.script.says(swinging());
    rig
}

fn speed(command: &Command) -> f64 {
    command.joints.map_or(0.0, |joints| joints.qd.iter().fold(0.0, |most: f64, qd| most.max(qd.abs())))
}

/// What breaks, how, and within how many ticks the loop must see it.
type Break = (Cause, fn(&mut Rig), u64);

/// Some 130 ms without a tick, up to one with camera frames.
fn stumble(rig: &mut Rig) {
    rig.tick = (rig.tick + 32).next_multiple_of(4);
}

fn breaks() -> Vec<Break> {
    let ticks = |ms: u64| ms * HZ / 1000 + 2;
    vec![
        (Cause::EmergencyStop, |rig| rig.plant.estop.put(&BoolMsg::new(true)).unwrap(), 1),
        (Cause::Shutdown, |rig| rig.runtime.stop(StopCause::Shutdown), 1),
        (Cause::NotEnabled, |rig| rig.plant.enable.put(&BoolMsg::new(false)).unwrap(), 1),
        (Cause::SenseLost, |rig| rig.plant.sends.scene = false, ticks(100)),
        (Cause::SenseLost, |rig| rig.plant.sends.left = false, ticks(50)),
        (Cause::SenseLost, |rig| rig.plant.sends.joints = false, ticks(20)),
        (Cause::CamerasBlack, |rig| rig.plant.sends.pixel = 0, 5),
        (Cause::ClockJump, |rig| rig.plant.sends.behind_ns = 700_000_000, 1),
        (Cause::LoopOverrun, stumble, 1),
        (Cause::PadForce, |rig| rig.plant.sends.normal_n = 4.0, 2),
    ]
}

#[test]
fn every_stop_is_at_rest_within_its_promised_time() {
    let mut fastest = 0.0_f64;
    for (cause, spoil, seen_within) in breaks() {
        // At many moments of the swing: at full speed, speeding up, turning round.
        for moment in (60..200).step_by(7) {
            let safety =
                SafetyConfig { require_enable: true, enable_timeout_ms: 60_000, ..SafetyConfig::default() };
            let mut rig = swinging_rig(Config { safety, ..Config::default() });
            rig.plant.enable.put(&BoolMsg::new(true)).unwrap();
            rig.until_active();
            let before = rig.run(moment);
            assert_eq!(before.mode, Mode::Active, "{cause} at {moment}");
            fastest = fastest.max(speed(&before));
            let promise = rig.runtime.promise();
            spoil(&mut rig);
            let (mut waited, mut standing) = (0, Standing::default());
            while standing.action.follows() {
                let command = rig.step();
                standing = command.failsafe;
                waited += 1;
                assert!(waited <= seen_within, "{cause} at {moment}: not seen within {seen_within} ticks");
            }
            assert_eq!(standing.cause, Some(cause));
            // What retracts moves on purpose, and a gap in the loop is over in a moment; all others last.
            let lasts = standing.action != Action::Retract && cause != Cause::LoopOverrun;
            // A retract is not asked to stand still.
            let most = if standing.action == Action::Retract { 0 } else { promise.stop_ticks };
            let resting = (0..most).any(|_| {
                let command = rig.step();
                speed(&command) == 0.0 || (!lasts && command.failsafe.action.follows())
            });
            assert!(resting || most == 0, "{cause} at {moment}: not at rest within {promise:?}");
            for _ in 0..if lasts { 20 } else { 0 } {
                let command = rig.step();
                assert!(!command.failsafe.action.follows(), "{cause} at {moment}: {}", command.mode);
                assert_eq!(speed(&command), 0.0, "{cause} at {moment}");
            }
        }
    }
    assert!(fastest > 1.2, "the arm only reached {fastest} rad/s");
}

#[test]
fn what_lasts_becomes_a_stop_that_needs_reset_and_enable() {
    type Case = (Cause, u64, fn(&mut Rig), fn(&mut Rig));
    let cases: [Case; 5] = [
        (Cause::SenseLost, 2_000, |rig| rig.plant.sends.wrist = false, |rig| rig.plant.sends.wrist = true),
        (Cause::CamerasBlack, 2_000, |rig| rig.plant.sends.pixel = 0, |rig| rig.plant.sends.pixel = 90),
        (
            Cause::PolicyFailed,
            5_000,
            |rig| rig.script.says(Say::Error),
            |rig| rig.script.says(Say::Verdict(reach())),
        ),
        (
            Cause::DecisionRefused,
            5_000,
            |rig| {
                let mut lying = decide(reach(), 0);
                lying.tokens.push(Token::END);
                rig.script.says(Say::Raw(lying));
            },
            |rig| rig.script.says(Say::Verdict(reach())),
        ),
        (Cause::PadForce, 1_000, |rig| rig.plant.sends.normal_n = 4.0, |rig| rig.plant.sends.normal_n = 0.0),
    ];
    for (cause, after_ms, spoil, mend) in cases {
        let mut rig = Rig::new(Config::default(), reach());
        rig.until_active();
        rig.run(60);
        spoil(&mut rig);
        let mut since_ns = None;
        let stopped = loop {
            let command = rig.step();
            if command.failsafe.cause == Some(cause) {
                since_ns.get_or_insert(command.stamp_ns);
            }
            if command.failsafe.action.latches() {
                break command;
            }
            assert!(rig.tick < 10 * HZ, "{cause}: {}", command.mode);
        };
        assert_eq!(stopped.mode, Mode::Stopped(StopCause::Failsafe(cause)));
        let lasted_ms = (stopped.stamp_ns - since_ns.unwrap()) / 1_000_000;
        assert!((after_ms..after_ms + 6).contains(&lasted_ms), "{cause}: {lasted_ms} ms");
        rig.plant.reset.put(&BoolMsg::new(true)).unwrap();
        assert!(matches!(rig.run(4).mode, Mode::Stopped(_)), "{cause}: reset while it lasts");
        mend(&mut rig);
        assert!(matches!(rig.run(HZ).mode, Mode::Stopped(_)), "{cause}: latched");
        rig.plant.reset.put(&BoolMsg::new(true)).unwrap();
        assert_eq!(rig.run(4).failsafe.cause, Some(Cause::NotEnabled), "{cause}");
        rig.plant.enable.put(&BoolMsg::new(true)).unwrap();
        rig.until_active();
        let report = rig.runtime.report();
        assert_eq!((report.stops, report.failsafe.resets_refused), (1, 1));
        assert_eq!(report.failsafe.causes[cause.name()], 2, "raised, then escalated");
    }
}

#[test]
fn a_blocked_arm_that_stays_blocked_is_stopped() {
    let mut config = Config::default();
    config.failsafe.blocked_stop_ms = 100;
    let mut rig = Rig::new(config, reach());
    rig.until_active();
    rig.plant.sends.stuck = true;
    let mut seen = Vec::new();
    for _ in 0..2 * HZ {
        let standing = rig.step().failsafe;
        if seen.last() != Some(&(standing.action, standing.cause)) {
            seen.push((standing.action, standing.cause));
        }
    }
    let blocked = Some(Cause::Blocked);
    assert_eq!(seen[1..3], [(Action::Retract, blocked), (Action::ControlledStop, blocked)], "{seen:?}");
}

#[test]
fn a_mind_that_falls_silent_is_stopped() {
    let mut config = Config::default();
    config.failsafe.mind_stall_ms = 1_000;
    let chain = Chain::from_urdf(ARM7_URDF, "base", "tool").unwrap();
    let mut reflex = Reflex::new(chain.clone(), &config);
    let q = Joints::from_slice(&ARM7_HOME_RAD);
    let body =
        |now_ns| Body { stamp_ns: now_ns, q, gripper_width_m: 0.05, base_from_tool: chain.base_from_tip(&q) };
    let mut tick = 0;
    let mut step = |reflex: &mut Reflex, decided: bool| {
        let now_ns = tick_ns(tick);
        tick += 1;
        let decision = decide(reach(), now_ns);
        let intent = if decided { Intent::Follow(&decision) } else { Intent::Nothing };
        reflex.tick(now_ns, &Snapshot::of_body(now_ns, body(now_ns)), Gate::Open, intent)
    };
    // Before the first decision it may be silent for as long as it likes.
    for _ in 0..2 * HZ {
        assert!(!step(&mut reflex, false).failsafe.action.latches());
    }
    assert_eq!(step(&mut reflex, true).mode, Mode::Active);
    for _ in 0..HZ {
        assert_eq!(step(&mut reflex, false).mode, Mode::Holding(HoldReason::NoDecision));
    }
    step(&mut reflex, false);
    let command = step(&mut reflex, false);
    assert_eq!(command.mode, Mode::Stopped(StopCause::Failsafe(Cause::MindStalled)));
}

#[test]
fn an_overrun_holds_for_a_while_and_an_operator_may_override_it() {
    let mut rig = Rig::new(Config::default(), reach());
    rig.until_active();
    let last_ns = rig.now_ns() - 1_000_000_000 / HZ;
    stumble(&mut rig);
    let Mode::Holding(HoldReason::Overrun { gap_ns }) = rig.step().mode else {
        panic!("{}", rig.runtime.mode())
    };
    assert!(gap_ns.abs_diff(tick_ns(rig.tick - 1) - last_ns) < 10);
    assert!(matches!(rig.run(40).mode, Mode::Holding(HoldReason::Overrun { .. })));
    assert_eq!(rig.run(20).mode, Mode::Active);

    let operator = rig.plant.link.publisher(&Topics::new("").operator_override).unwrap();
    stumble(&mut rig);
    operator.put(&BoolMsg::new(true)).unwrap();
    let command = rig.step();
    assert_eq!((command.mode, command.failsafe.action), (Mode::Active, Action::Warn));
    // A dead-man: it runs out. And a lost sense is none of its business.
    rig.plant.sends.scene = false;
    operator.put(&BoolMsg::new(true)).unwrap();
    assert!(matches!(rig.run(40).mode, Mode::Holding(HoldReason::Sense(_))));
}

#[test]
fn a_silent_stop_topic_stops_where_it_has_a_timeout() {
    let safety = SafetyConfig { estop_timeout_ms: 200, ..SafetyConfig::default() };
    let mut rig = Rig::new(Config { safety, ..Config::default() }, reach());
    for _ in 0..HZ {
        rig.plant.estop.put(&BoolMsg::new(false)).unwrap();
        rig.step();
    }
    assert_eq!(rig.runtime.mode(), Mode::Active);
    let command = rig.run(50);
    assert_eq!(command.mode, Mode::Stopped(StopCause::EmergencyStopSilent));
    rig.plant.estop.put(&BoolMsg::new(false)).unwrap();
    assert!(matches!(rig.step().mode, Mode::Stopped(_)));
}

#[test]
fn a_stop_however_short_is_latched() {
    let mut rig = Rig::new(Config::default(), reach());
    rig.until_active();
    rig.plant.estop.put(&BoolMsg::new(true)).unwrap();
    rig.plant.estop.put(&BoolMsg::new(false)).unwrap();
    rig.plant.reset.put(&BoolMsg::new(true)).unwrap();
    assert_eq!(rig.step().mode, Mode::Stopped(StopCause::EmergencyStop));
    // More of them than the queue holds: what was lost was a stop too.
    let mut rig = Rig::new(Config::default(), reach());
    rig.until_active();
    for _ in 0..100 {
        rig.plant.estop.put(&BoolMsg::new(false)).unwrap();
    }
    assert_eq!(rig.step().mode, Mode::Stopped(StopCause::EmergencyStop));
}

#[test]
fn the_drives_are_asked_to_let_go_of_an_arm_at_rest_and_not_before() {
    let mut config = Config::default();
    // Sooner than the arm can be at rest: the request waits for it.
    config.failsafe.torque_off_after_ms = 10;
    let mut rig = swinging_rig(config);
    let mut torque_off = rig.plant.link.subscribe_queue(&Topics::new("").torque_off, 16).unwrap();
    rig.until_active();
    rig.run(80);
    rig.plant.estop.put(&BoolMsg::new(true)).unwrap();
    let mut asked = None;
    for _ in 0..HZ {
        let command = rig.step();
        if let Some(sample) = torque_off.try_recv() {
            assert!(sample.value.data && asked.is_none());
            assert_eq!(command.failsafe.action, Action::TorqueOffRequest);
            asked = Some(speed(&command));
        }
    }
    assert_eq!(asked, Some(0.0));
    rig.plant.estop.put(&BoolMsg::new(false)).unwrap();
    rig.plant.reset.put(&BoolMsg::new(true)).unwrap();
    rig.step();
    assert!(!torque_off.try_recv().unwrap().value.data);
}

/// A grip on something: closed, force on both pads.
fn gripping() -> Rig {
    let mut rig = Rig::new(Config::default(), reach());
    rig.run(4 * HZ);
    rig.script.says(Say::Verdict(act(Subtask::Grasp, [0.5, 0.1, 0.15], 0.3, 0.0, 20.0)));
    rig.plant.sends.normal_n = 1.0;
    rig.run(HZ);
    rig
}

#[test]
fn a_force_beyond_the_limit_backs_fingers_and_arm_off_in_the_tick_that_feels_it() {
    let mut rig = gripping();
    let before = rig.step();
    let joints = before.joints.unwrap();
    assert_eq!(before.mode, Mode::Active);
    // 16 taxels of 4 N on each pad: 64 N, more than the 60 N allowed. Pads speak each second tick.
    rig.tick += rig.tick % 2;
    rig.plant.sends.normal_n = 4.0;
    let command = rig.step();
    assert!(matches!(command.mode, Mode::Holding(HoldReason::PadForce { pad: 0 })));
    assert_eq!(command.failsafe.action, Action::Retract);
    let now = command.joints.unwrap();
    assert!(
        now.gripper_width_m > joints.gripper_width_m && now.gripper_force_n == 0.5 * joints.gripper_force_n
    );
    let chain = Chain::from_urdf(ARM7_URDF, "base", "tool").unwrap();
    let height_m = |command: &Command| chain.base_from_tip(&command.joints.unwrap().q).translation.vector.z;
    let last = rig.run(HZ / 2);
    // The tool points down, so back is up: 2 cm of it and no more.
    let risen_m = height_m(&last) - height_m(&before);
    assert!((0.015..0.021).contains(&risen_m), "{risen_m}");
    rig.plant.sends.normal_n = 0.5;
    rig.until_active();
    rig.run(HZ);
    assert!(rig.plant.width_m < 1e-3 && rig.plant.force_n == joints.gripper_force_n);
    assert!(rig.runtime.report().failsafe.pressed_ticks >= HZ / 2);
}

#[test]
fn a_slip_tightens_the_grip_in_the_tick_that_feels_it_and_the_task_goes_on() {
    let mut rig = gripping();
    let grip_n = rig.plant.force_n;
    rig.tick += rig.tick % 2;
    rig.plant.sends.shear_n = 0.8;
    let command = rig.step();
    assert_eq!((command.mode, command.failsafe.action), (Mode::Active, Action::Warn));
    assert_eq!(command.failsafe.cause, Some(Cause::Slip));
    assert_eq!(command.joints.unwrap().gripper_force_n, grip_n + 8.0);
    // Again and again: up to the limit and no further.
    for sign in [-1.0, 1.0, -1.0, 1.0] {
        rig.plant.sends.shear_n = 0.8 * sign;
        rig.run(2);
    }
    assert!(rig.plant.force_n <= 40.0 && rig.plant.force_n > 39.0);
    assert_eq!(rig.run(11 * HZ).joints.unwrap().gripper_force_n, grip_n);
    assert_eq!(rig.runtime.report().failsafe.slips, 5);
}
