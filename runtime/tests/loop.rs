//! The loop seen from outside, in lockstep: a plant and a policy on one in-process bus.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests fail by panicking")]

mod common;

use common::{HZ, Rig, Say, act, decide, infeasible, reach};
use reflexarc_drivers::msg::BoolMsg;
use reflexarc_runtime::audit::{Refusal, base_from_tool};
use reflexarc_runtime::config::SafetyConfig;
use reflexarc_runtime::mind::Thought;
use reflexarc_runtime::{
    Config, HoldReason, Mode, Outcome, Rule, SenseFault, SenseId, StopCause, WaitReason,
};
use reflexarc_vla_model::decision::{Infeasible, Subtask, Verdict};
use reflexarc_vla_model::token::Token;
use sha2::{Digest, Sha256};

fn rig() -> Rig {
    Rig::new(Config::default(), reach())
}

#[test]
fn the_arm_goes_where_the_policy_says_and_the_report_says_so() {
    let mut rig = rig();
    rig.run(4 * HZ);
    let Verdict::Act { target, .. } = reach() else { unreachable!() };
    let wanted = base_from_tool(target.position_m, target.yaw_rad);
    let tool = rig.runtime.snapshot().body.unwrap().base_from_tool;
    let error_m = (tool.translation.vector - wanted.translation.vector).norm();
    assert!(error_m < 2e-3, "{error_m} m off");
    assert!(tool.rotation.angle_to(&wanted.rotation) < 0.02);
    assert!((rig.plant.width_m - target.gripper_width_m).abs() < 1e-6);
    assert!((rig.plant.force_n - target.gripper_force_n).abs() < 1e-6);

    rig.script.says(Say::Verdict(act(Subtask::Grasp, [0.5, 0.1, 0.15], 0.3, 0.02, 20.0)));
    rig.run(HZ);
    rig.script.says(Say::Verdict(act(Subtask::Lift, [0.5, 0.1, 0.25], 0.3, 0.02, 20.0)));
    rig.run(HZ);
    rig.script.says(Say::Verdict(act(Subtask::Done, [0.5, 0.1, 0.25], 0.3, 0.02, 20.0)));
    rig.run(HZ + 8);
    assert_eq!(rig.runtime.outcome(), Outcome::Finished);
    let report = rig.runtime.report();
    assert_eq!(report.ticks, 7 * HZ + 8);
    assert_eq!(report.decisions, (7 * HZ + 8) / 4);
    assert!((report.decisions_per_s - 60.0).abs() < 0.1, "{}", report.decisions_per_s);
    assert_eq!(report.tokens, report.decisions * 16);
    assert_eq!(report.audit.passed, report.decisions);
    assert_eq!((report.audit.time.count, report.audit.reach_solves), (report.decisions, 0));
    assert!(report.audit.cost_percent > 0.0 && report.audit.refusals.is_empty());
    // Decided on a frame of this very tick, in force one mind period later.
    assert!((report.observation_to_command.p50_us - 16_667.0).abs() < 170.0);
    let steps: Vec<_> = report.timeline.iter().map(|entry| entry.what.as_str()).collect();
    assert_eq!(steps, ["reach", "grasp", "lift", "done"]);
    assert!(report.time_to_done_s.unwrap() > 5.9);
    assert!(report.topics.iter().all(|topic| topic.received > 0 && topic.refused == 0));
    assert!(report.to_text().contains("finished"));
    serde_json::from_str::<reflexarc_runtime::Report>(&serde_json::to_string(&report).unwrap()).unwrap();
}

#[test]
fn nothing_is_commanded_before_all_senses_have_been_seen() {
    let mut rig = rig();
    rig.plant.sends.wrist = false;
    for _ in 0..HZ {
        let command = rig.step();
        assert!(command.joints.is_none());
        let which = SenseId::Camera(1);
        assert_eq!(command.mode, Mode::Waiting(WaitReason::Sense(SenseFault::NeverSeen { which })));
    }
    assert_eq!(rig.script.asked(), 0);
    assert_eq!(rig.plant.commands, 0);
    rig.plant.sends.wrist = true;
    rig.until_active();
    // The first command is where the arm is.
    let command = rig.runtime.report();
    assert!(command.commands > 0);
}

#[test]
fn each_sense_that_goes_stale_leads_to_a_hold_and_back() {
    for (which, limit_ms) in [
        (SenseId::Camera(0), 100),
        (SenseId::Camera(1), 100),
        (SenseId::Pad(0), 50),
        (SenseId::Pad(1), 50),
        (SenseId::Joints, 20),
    ] {
        let mut rig = rig();
        rig.until_active();
        rig.run(60);
        let sends = rig.plant.sends;
        match which {
            SenseId::Camera(0) => rig.plant.sends.scene = false,
            SenseId::Camera(_) => rig.plant.sends.wrist = false,
            SenseId::Pad(0) => rig.plant.sends.left = false,
            SenseId::Pad(_) => rig.plant.sends.right = false,
            SenseId::Joints => rig.plant.sends.joints = false,
        }
        let mut held_after = None;
        for tick in 0..HZ {
            match rig.step().mode {
                Mode::Active => assert!(held_after.is_none(), "{which} came back by itself"),
                Mode::Holding(HoldReason::Sense(SenseFault::Stale { which: found, limit_ns, .. })) => {
                    assert_eq!((found, limit_ns), (which, limit_ms * 1_000_000));
                    held_after.get_or_insert(tick);
                }
                mode => panic!("{which}: {mode}"),
            }
        }
        let held_ms = held_after.unwrap() * 1000 / HZ;
        assert!((limit_ms - 20..=limit_ms + 5).contains(&held_ms), "{which}: after {held_ms} ms");
        // The policy is not fed stale input, and the arm has come to rest.
        let asked = rig.script.asked();
        let q = rig.step().joints.map(|joints| joints.q);
        // What cannot be seen is not commanded.
        assert_eq!(q.is_none(), which == SenseId::Joints);
        assert_eq!(rig.run(40).joints.map(|joints| joints.q), q);
        assert_eq!(rig.script.asked(), asked);
        rig.plant.sends = sends;
        rig.until_active();
    }
}

#[test]
fn malformed_joint_states_are_refused_and_counted() {
    let mut rig = rig();
    rig.until_active();
    let before = rig.runtime.report().topics[0].clone();
    rig.plant.sends.joints = false;
    let good = rig.plant.joint_state(rig.now_ns());
    let mut nan = good.clone();
    nan.position[3] = f64::NAN;
    let mut short = good.clone();
    short.position.pop();
    let mut unnamed = good.clone();
    unnamed.name[2] = "joint9".into();
    let mut twice = good.clone();
    twice.name[2] = "joint1".into();
    let mut far = good.clone();
    far.position[1] = 40.0;
    let mut early = good.clone();
    early.header.stamp = reflexarc_drivers::msg::Time::from_ns(rig.now_ns() + 60_000_000);
    for state in [nan, short, unnamed, twice, far, early] {
        rig.plant.send_joints(&state);
        rig.step();
    }
    let report = rig.runtime.report();
    assert_eq!(report.topics[0].refused, before.refused + 6);
    assert_eq!(report.topics[0].accepted, before.accepted);
    // Six ticks are 25 ms: the last good state is too old by now.
    assert!(matches!(rig.step().mode, Mode::Holding(HoldReason::Sense(_))));
    rig.plant.sends.joints = true;
    rig.until_active();
}

#[test]
fn stamps_from_the_future_are_refused() {
    let mut rig = rig();
    rig.plant.sends.ahead_ns = 9_000_000;
    rig.until_active();
    rig.plant.sends.ahead_ns = 11_000_000;
    rig.run(HZ);
    assert!(matches!(rig.runtime.mode(), Mode::Holding(HoldReason::Sense(_))));
    assert!(rig.runtime.report().topics[0].refused > 200);
}

#[test]
fn black_cameras_hold_and_say_so_one_alone_does_not() {
    let mut rig = rig();
    rig.until_active();
    rig.plant.sends.pixel = 7;
    rig.run(8);
    let mode = rig.runtime.mode();
    assert_eq!(mode, Mode::Holding(HoldReason::Sense(SenseFault::Black)));
    assert!(mode.to_string().contains("cameras are black"));
    rig.plant.sends.pixel = 8;
    rig.until_active();
}

#[test]
fn an_emergency_stop_latches_within_one_tick_and_needs_release_reset_and_enable() {
    let mut rig = rig();
    rig.until_active();
    rig.run(60);
    rig.plant.estop.put(&BoolMsg::new(true)).unwrap();
    assert_eq!(rig.step().mode, Mode::Stopped(StopCause::EmergencyStop));
    let mut last = rig.step().joints.unwrap();
    for _ in 0..HZ {
        let joints = rig.step().joints.unwrap();
        for (now, before) in joints.qd.iter().zip(last.qd.iter()) {
            assert!(now.abs() <= before.abs() + 1e-9, "speeds up while stopping");
        }
        last = joints;
    }
    assert!(last.qd.iter().all(|qd| *qd == 0.0));
    let stopped = |rig: &mut Rig| matches!(rig.run(4).mode, Mode::Stopped(_));
    rig.plant.enable.put(&BoolMsg::new(true)).unwrap();
    rig.plant.reset.put(&BoolMsg::new(true)).unwrap();
    assert!(stopped(&mut rig), "reset while the button is pressed");
    rig.plant.estop.put(&BoolMsg::new(false)).unwrap();
    assert!(stopped(&mut rig), "release alone");
    rig.plant.enable.put(&BoolMsg::new(true)).unwrap();
    assert!(stopped(&mut rig), "enable without reset");
    rig.plant.reset.put(&BoolMsg::new(true)).unwrap();
    assert_eq!(rig.run(4).mode, Mode::Waiting(WaitReason::NotEnabled));
    rig.plant.enable.put(&BoolMsg::new(true)).unwrap();
    rig.until_active();
    assert_eq!(rig.runtime.report().stops, 1);
}

#[test]
fn a_required_enable_is_a_dead_man() {
    let safety = SafetyConfig { require_enable: true, ..SafetyConfig::default() };
    let mut rig = Rig::new(Config { safety, ..Config::default() }, reach());
    assert_eq!(rig.run(60).mode, Mode::Waiting(WaitReason::NotEnabled));
    rig.plant.enable.put(&BoolMsg::new(true)).unwrap();
    rig.until_active();
    assert_eq!(rig.run(HZ).mode, Mode::Holding(HoldReason::NotEnabled));
}

#[test]
fn a_decision_expires() {
    let mut rig = rig();
    rig.until_active();
    rig.script.says(Say::Error);
    assert_eq!(rig.run(12).mode, Mode::Holding(HoldReason::PolicyFailed));
    rig.script.says(Say::Verdict(reach()));
    rig.until_active();
    assert!(rig.runtime.report().policy_errors > 0);

    // The mind asked only every tenth of a second and the decision good for 30 ms: active, then not.
    let mut config = Config::default();
    config.rates.mind_hz = 10;
    config.safety.decision_max_age_ms = 110;
    let mut rig = Rig::new(config, reach());
    let mut modes = std::collections::BTreeSet::new();
    for _ in 0..HZ {
        modes.insert(rig.step().mode.key());
    }
    assert!(modes.contains("active") && modes.contains("holding_expired"), "{modes:?}");
}

#[test]
fn infeasible_stops_motion_at_once_and_is_reported_after_a_while() {
    let mut rig = rig();
    rig.until_active();
    rig.script.says(Say::Verdict(infeasible(Infeasible::Absent)));
    let mode = rig.run(9).mode;
    let reason = Infeasible::Absent;
    assert_eq!(mode, Mode::Holding(HoldReason::Infeasible { reason, confirmed: false }));
    assert_eq!(rig.runtime.outcome(), Outcome::Running);
    let mode = rig.run(80).mode;
    assert_eq!(mode, Mode::Holding(HoldReason::Infeasible { reason, confirmed: true }));
    assert_eq!(rig.runtime.outcome(), Outcome::Infeasible(Infeasible::Absent));
    rig.script.says(Say::Verdict(reach()));
    rig.until_active();
    assert_eq!(rig.runtime.outcome(), Outcome::Running);

    // From the start: the arm never moves.
    let mut rig = Rig::new(Config::default(), infeasible(Infeasible::UnknownAction));
    let home = rig.plant.q.clone();
    rig.run(HZ);
    assert_eq!(rig.plant.q, home);
    assert_eq!(rig.runtime.outcome(), Outcome::Infeasible(Infeasible::UnknownAction));
}

#[test]
fn refused_decisions_never_become_motion() {
    let ordinary = decide(reach(), 0);
    let mut unknown_order = ordinary.clone();
    unknown_order.tokens.swap(1, 2);
    let mut truncated = ordinary.clone();
    truncated.tokens.pop();
    let mut overlong = ordinary.clone();
    overlong.tokens.push(Token::END);
    let mut lying = ordinary.clone();
    let mut not_finite = ordinary.clone();
    let mut planless = ordinary.clone();
    if let Verdict::Act { target, .. } = &mut lying.verdict {
        target.position_m[2] += 0.1;
    }
    if let Verdict::Act { target, .. } = &mut not_finite.verdict {
        target.yaw_rad = f64::NAN;
    }
    if let Verdict::Act { plan, .. } = &mut planless.verdict {
        plan.clear();
    }
    for (decision, rule) in [
        (unknown_order, Rule::Grammar),
        (overlong, Rule::Grammar),
        (truncated, Rule::Truncated),
        (lying, Rule::Meaning),
        (not_finite, Rule::NonFinite),
        (planless, Rule::EmptyPlan),
    ] {
        let mut rig = rig();
        let home = rig.plant.q.clone();
        rig.script.says(Say::Raw(decision));
        assert_eq!(rig.run(40).mode, Mode::Holding(HoldReason::Refused(rule)));
        assert_eq!(rig.plant.q, home);
        let report = rig.runtime.report();
        assert_eq!(report.audit.passed, 0);
        assert_eq!(report.audit.refused[rule.name()], 10);
    }
}

#[test]
fn targets_outside_the_limits_are_refused() {
    let mut config = Config::default();
    config.limits.workspace_max_m = [0.6, 0.35, 0.4];
    config.limits.grip_force_n = 15.0;
    for (verdict, rule) in [
        (act(Subtask::Reach, [0.7, 0.0, 0.2], 0.0, 0.08, 10.0), Some(Rule::Workspace)),
        (act(Subtask::Reach, [0.5, 0.0, 0.45], 0.0, 0.08, 10.0), Some(Rule::Workspace)),
        (act(Subtask::Reach, [0.5, 0.0, 0.2], 0.0, 0.08, 30.0), Some(Rule::Gripper)),
        (act(Subtask::Reach, [0.5, 0.0, 0.2], 0.0, 0.08, 10.0), None),
    ] {
        let mut rig = Rig::new(config.clone(), verdict);
        let mode = rig.run(40).mode;
        match rule {
            Some(rule) => assert_eq!(mode, Mode::Holding(HoldReason::Refused(rule))),
            None => assert_eq!(mode, Mode::Active),
        }
    }
}

/// What a decision is refused for when the arm has reached [`reach`]'s target with an open hand.
fn refused_after_reaching(verdict: Verdict) -> Option<Rule> {
    let mut rig = rig();
    rig.run(4 * HZ);
    rig.script.says(Say::Verdict(verdict));
    match rig.run(9).mode {
        Mode::Active => None,
        Mode::Holding(HoldReason::Refused(rule)) => Some(rule),
        mode => panic!("{mode}"),
    }
}

#[test]
fn what_cannot_come_next_is_refused() {
    // The tool is at 0.5, 0.1, 0.15.
    for (verdict, rule) in [
        (act(Subtask::Approach, [0.52, 0.09, 0.03], 0.3, 0.08, 10.0), None),
        (act(Subtask::Approach, [0.5, 0.1, 0.015], 0.3, 0.08, 10.0), Some(Rule::Table)),
        (act(Subtask::Reach, [0.7, 0.1, 0.03], 0.3, 0.08, 10.0), Some(Rule::Sideways)),
        (act(Subtask::Reach, [0.74, 0.34, 0.15], 0.3, 0.08, 10.0), Some(Rule::Unreachable)),
        (act(Subtask::Approach, [0.34, 0.1, 0.15], 0.3, 0.08, 10.0), Some(Rule::Near)),
        (act(Subtask::Grasp, [0.5, 0.26, 0.15], 0.3, 0.0, 20.0), Some(Rule::Near)),
        (act(Subtask::Retreat, [0.5, 0.1, 0.1], 0.3, 0.08, 10.0), None),
        (act(Subtask::Retreat, [0.5, 0.26, 0.15], 0.3, 0.08, 10.0), Some(Rule::Near)),
        (act(Subtask::Lift, [0.5, 0.1, 0.25], 0.3, 0.0, 20.0), Some(Rule::Order)),
        (act(Subtask::Done, [0.5, 0.1, 0.25], 0.3, 0.0, 20.0), Some(Rule::Order)),
        (act(Subtask::Lift, [0.5, 0.1, 0.25], 0.3, 0.08, 10.0), Some(Rule::Hand)),
    ] {
        assert_eq!(refused_after_reaching(verdict.clone()), rule, "{verdict:?}");
    }
    // The same pixel, but the hand is sent to another place.
    let mut elsewhere = act(Subtask::Reach, [0.5, -0.1, 0.15], 0.3, 0.08, 10.0);
    if let (Verdict::Act { pixel_uv, .. }, Verdict::Act { pixel_uv: seen_uv, .. }) = (&mut elsewhere, reach())
    {
        *pixel_uv = seen_uv;
    }
    assert_eq!(refused_after_reaching(elsewhere), Some(Rule::Grounding));
}

#[test]
fn a_refusal_is_told_with_its_token_and_its_numbers() {
    let mut rig = rig();
    rig.run(4 * HZ);
    rig.script.says(Say::Verdict(act(Subtask::Approach, [0.5, 0.1, 0.015], 0.3, 0.08, 10.0)));
    rig.run(9);
    let Some(Thought::Refused(refusal)) = rig.runtime.thought() else {
        panic!("{:?}", rig.runtime.thought())
    };
    // Bin 3 of 128 in half a metre; the fingers reach 20 mm beyond the tool.
    assert_eq!((refusal.rule, refusal.place, refusal.token), (Rule::Table, 11, Some(Token::number(3))));
    assert!((refusal.found - (3.5 / 256.0 - 0.02)).abs() < 1e-12 && refusal.bound == 0.0, "{refusal:?}");
    let text = serde_json::to_string(refusal).unwrap();
    assert_eq!(serde_json::from_str::<Refusal>(&text).unwrap(), *refusal);
    let report = rig.runtime.report();
    assert!(report.audit.refusals[0].what.contains("token 11 is `n3`"), "{:?}", report.audit.refusals);
}

#[test]
fn a_blocked_arm_holds_and_gives_way() {
    let mut rig = rig();
    rig.until_active();
    rig.plant.sends.stuck = true;
    let mut blocked = false;
    for _ in 0..2 * HZ {
        let command = rig.step();
        blocked |= matches!(command.mode, Mode::Holding(HoldReason::Blocked { .. }));
        let joints = command.joints.unwrap();
        for (q, measured) in joints.q.iter().zip(&rig.plant.q) {
            // 0.35 rad, and at most the way that braking from full speed takes.
            assert!((q - measured).abs() < 0.6);
        }
    }
    assert!(blocked);
}

#[test]
fn instructions_arrive_once_and_nonsense_is_refused() {
    let mut rig = rig();
    rig.until_active();
    for text in ["pick up the blue cube", "pick up the blue cube", "  ", &"x".repeat(600)] {
        rig.plant.instruction.put(&reflexarc_drivers::msg::StringMsg::new(text)).unwrap();
    }
    rig.run(8);
    let told = rig.script.log.lock().unwrap().instructions.clone();
    assert_eq!(told, ["pick up the red mug", "pick up the blue cube"]);
    assert_eq!(rig.runtime.report().instruction, "pick up the blue cube");
}

#[test]
fn the_same_inputs_give_the_same_commands() {
    let run = || {
        let mut rig = rig();
        let mut digest = Sha256::new();
        for tick in 0..3 * HZ {
            match tick {
                200 => {
                    rig.script.says(Say::Verdict(act(Subtask::Reach, [0.42, -0.1, 0.12], -1.2, 0.08, 25.0)))
                }
                300 => rig.plant.sends.scene = false,
                360 => rig.plant.sends.scene = true,
                500 => rig.plant.estop.put(&BoolMsg::new(true)).unwrap(),
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
