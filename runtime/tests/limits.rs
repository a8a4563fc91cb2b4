//! Whatever a policy says, no command leaves the limits. The audit is left out on purpose: the
//! reflex must hold by itself.
#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

mod common;

use common::{decide, reach, tick_ns};
use nalgebra::Vector3;
use proptest::prelude::*;
use reflexarc_kinematics::{ARM7_HOME_RAD, ARM7_URDF, Chain, Joints};
use reflexarc_runtime::Config;
use reflexarc_runtime::modes::Rule;
use reflexarc_runtime::motion::{WORKSPACE_SLACK_M, outside_box_m};
use reflexarc_runtime::reflex::{Intent, JointCommand, Reflex};
use reflexarc_runtime::safety::Gate;
use reflexarc_runtime::senses::{Body, Snapshot};
use reflexarc_vla_model::decision::{Infeasible, ToolTarget, Verdict};

#[derive(Clone, Debug)]
enum Said {
    Target(ToolTarget),
    Infeasible,
    Refused,
    Nothing,
    Disabled,
}

fn any_number() -> impl Strategy<Value = f64> {
    prop_oneof![4 => -1.0..1.5f64, 1 => prop::num::f64::ANY, 1 => Just(f64::NAN)]
}

fn any_target() -> impl Strategy<Value = ToolTarget> {
    let wild = (prop::array::uniform3(any_number()), any_number(), any_number(), any_number());
    let plausible = ((0.2..0.8f64, -0.4..0.4f64, -0.05..0.65f64), -4.0..4.0f64, 0.0..0.1f64, 0.0..60.0f64);
    let target = |(position_m, yaw_rad, gripper_width_m, gripper_force_n)| ToolTarget {
        position_m,
        yaw_rad,
        gripper_width_m,
        gripper_force_n,
    };
    prop_oneof![
        1 => wild.prop_map(target),
        2 => plausible.prop_map(move |((x, y, z), yaw, width, force)| target(([x, y, z], yaw, width, force))),
    ]
}

fn any_said() -> impl Strategy<Value = Said> {
    prop_oneof![
        8 => any_target().prop_map(Said::Target),
        1 => Just(Said::Infeasible),
        1 => Just(Said::Refused),
        1 => Just(Said::Nothing),
        1 => Just(Said::Disabled),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn no_decision_whatever_makes_a_command_leave_the_limits(
        said in prop::collection::vec((any_said(), 1..240usize), 1..12),
        offset in prop::array::uniform7(-0.15..0.15f64),
    ) {
        let config = Config::default();
        let limits = &config.limits;
        let chain = Chain::from_urdf(ARM7_URDF, "base", "tool").unwrap();
        let mut reflex = Reflex::new(chain.clone(), &config);
        let (low_m, high_m) = (Vector3::from(limits.workspace_min_m), Vector3::from(limits.workspace_max_m));
        let dt_s = config.dt_s();
        let mut q = Joints::from_fn(7, |i| ARM7_HOME_RAD[i] + offset[i]);
        let outside_at_start_m = outside_box_m(&chain.base_from_tip(&q).translation.vector, &low_m, &high_m);
        let mut width_m = 0.05;
        let mut last: Option<JointCommand> = None;
        let mut acceleration_before = Joints::zeros(7);
        let mut tick = 0;
        for (said, ticks) in said {
            for _ in 0..ticks {
                let now_ns = tick_ns(tick);
                tick += 1;
                let body = Body {
                    stamp_ns: now_ns,
                    q,
                    gripper_width_m: width_m,
                    base_from_tool: chain.base_from_tip(&q),
                };
                let snapshot = Snapshot::of_body(now_ns, body);
                let mut decision = decide(reach(), now_ns);
                let (intent, gate) = match &said {
                    Said::Target(wanted) => {
                        if let Verdict::Act { target, .. } = &mut decision.verdict {
                            *target = *wanted;
                        }
                        (Intent::Follow(&decision), Gate::Open)
                    }
                    Said::Infeasible => {
                        decision.verdict = Verdict::Infeasible(Infeasible::Absent);
                        (Intent::Follow(&decision), Gate::Open)
                    }
                    Said::Refused => (Intent::Refused(Rule::Workspace), Gate::Open),
                    Said::Nothing => (Intent::Nothing, Gate::Open),
                    Said::Disabled => (Intent::Nothing, Gate::NotEnabled),
                };
                let Some(joints) = reflex.tick(now_ns, &snapshot, gate, intent).joints else {
                    prop_assert!(last.is_none(), "commands must not stop coming");
                    continue;
                };
                prop_assert!(joints.q.is_finite() && joints.qd.is_finite());
                let before = last.map_or(Joints::zeros(7), |last| last.qd);
                for (i, joint) in chain.limits().iter().enumerate() {
                    prop_assert!(joint.contains(joints.q[i], 1e-9), "position of joint {i}");
                    prop_assert!(joints.qd[i].abs() <= joint.velocity_rad_s * limits.speed_scale + 1e-9, "speed of joint {i}");
                    let change = (joints.qd[i] - before[i]).abs();
                    prop_assert!(change <= limits.max_joint_acceleration_rad_s2 * dt_s + 1e-6, "acceleration of joint {i}: {}", change / dt_s);
                    let acceleration = (joints.qd[i] - before[i]) / dt_s;
                    let jerk = (acceleration - acceleration_before[i]) / dt_s;
                    prop_assert!(jerk.abs() <= limits.max_joint_jerk_rad_s3 + 1e-6, "jerk of joint {i}: {jerk}");
                    acceleration_before[i] = acceleration;
                    prop_assert!((joints.q[i] - q[i]).abs() <= joint.velocity_rad_s * dt_s + 1e-9);
                }
                let tool_m = chain.base_from_tip(&joints.q).translation.vector;
                let moved_m = (tool_m - chain.base_from_tip(&q).translation.vector).norm();
                prop_assert!(moved_m <= limits.max_tool_speed_m_s * dt_s + 1e-9, "tool at {} m/s", moved_m / dt_s);
                let outside_m = outside_box_m(&tool_m, &low_m, &high_m);
                prop_assert!(outside_m <= outside_at_start_m + WORKSPACE_SLACK_M, "{outside_m} m outside");
                prop_assert!((0.0..=0.08).contains(&joints.gripper_width_m));
                prop_assert!((0.0..=limits.grip_force_n).contains(&joints.gripper_force_n));
                prop_assert!((joints.gripper_width_m - width_m).abs() <= limits.gripper_speed_m_s * dt_s + 1e-9);
                q = joints.q;
                width_m = joints.gripper_width_m;
                last = Some(joints);
            }
        }
    }
}
