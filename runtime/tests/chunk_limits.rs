//! Whatever chunks say, and whenever they come, no command leaves the limits; nor does what is asked of the
//! limiter, as long as the limiter lets it pass. The audit is left out on purpose: the player must hold by
//! itself.
#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

use proptest::prelude::*;
use reflexarc_kinematics::{ARM7_HOME_RAD, ARM7_URDF, Chain, Joints};
use reflexarc_runtime::Config;
use reflexarc_runtime::reflex::{Intent, Reflex};
use reflexarc_runtime::safety::Gate;
use reflexarc_runtime::senses::{Body, Snapshot};
use reflexarc_vla_model::chunk::ActionChunk;

const START_NS: u64 = 20_000_000_000;

/// A chunk, how old its observation is on arrival, and for how many ticks it stays the newest.
#[derive(Clone, Debug)]
struct Event {
    actions: Vec<f32>,
    width: usize,
    period_ns: u64,
    age_ns: u64,
    ticks: u64,
    open: bool,
}

fn value() -> impl Strategy<Value = f32> {
    prop_oneof![
        8 => -3.0..3.0f32,
        1 => prop_oneof![Just(1e30f32), Just(-1e30), Just(100.0), Just(-100.0)],
    ]
}

/// Motions, alternating extremes, noise, and what is no chunk at all.
fn actions() -> impl Strategy<Value = (Vec<f32>, usize)> {
    let smooth = (1..120usize, -0.05..0.05f32, -0.3..0.3f32).prop_map(|(count, step, from)| {
        let joint = |index: usize, joint: usize| ARM7_HOME_RAD[joint] as f32 + from + step * index as f32;
        (0..count).flat_map(|index| (0..8).map(move |j| if j < 7 { joint(index, j) } else { 0.04 })).collect()
    });
    let extremes = (1..40usize, value(), value())
        .prop_map(|(count, a, b)| (0..count * 8).map(|at| if at / 8 % 2 == 0 { a } else { b }).collect());
    let noise = (1..20usize).prop_flat_map(|count| prop::collection::vec(value(), count * 8));
    let broken = prop::collection::vec(prop::num::f32::ANY, 0..40);
    prop_oneof![
        4 => smooth.prop_map(|actions: Vec<f32>| (actions, 8)),
        2 => extremes.prop_map(|actions: Vec<f32>| (actions, 8)),
        2 => noise.prop_map(|actions| (actions, 8)),
        1 => (broken, prop_oneof![Just(0usize), Just(1), Just(8), Just(9), Just(usize::MAX)]),
    ]
}

fn event() -> impl Strategy<Value = Event> {
    let period_ns = prop_oneof![4 => 5_000_000..60_000_000u64, 1 => Just(0), 1 => Just(u64::MAX)];
    let age_ns = prop_oneof![6 => 0..300_000_000u64, 1 => 0..5_000_000_000u64];
    (actions(), period_ns, age_ns, 1..120u64, prop::bool::weighted(0.9)).prop_map(
        |((actions, width), period_ns, age_ns, ticks, open)| Event {
            actions,
            width,
            period_ns,
            age_ns,
            ticks,
            open,
        },
    )
}

/// Position, speed, acceleration and jerk of positions given tick by tick.
fn check(chain: &Chain, config: &Config, history: &[Joints]) -> Result<(), TestCaseError> {
    let (hz, limits) = (f64::from(config.rates.reflex_hz), &config.limits);
    let Some(now) = history.last() else { return Ok(()) };
    for (joint, bound) in chain.limits().iter().enumerate() {
        prop_assert!(bound.contains(now[joint], 1e-9), "position of joint {joint}");
        let mut values: Vec<f64> = history.iter().rev().take(4).map(|q| q[joint]).collect();
        for most in [bound.velocity_rad_s, limits.max_joint_acceleration_rad_s2, limits.max_joint_jerk_rad_s3]
        {
            values = values.windows(2).map(|two| (two[0] - two[1]) * hz).collect();
            // Rounding of positions shows in third differences.
            let rounding = 1e-9 * most + 1e-14 * hz * hz * hz;
            if let Some(value) = values.first() {
                prop_assert!(value.abs() <= most + rounding, "joint {joint}: {value}, at most {most}");
            }
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 150,
        failure_persistence: None,
        rng_seed: proptest::test_runner::RngSeed::Fixed(41),
        ..ProptestConfig::default()
    })]

    #[test]
    fn no_chunk_whatever_makes_a_command_leave_the_limits(
        events in prop::collection::vec(event(), 1..12),
        rate_hz in prop_oneof![Just(20.0), Just(30.0), Just(50.0), 10.0..100.0f64],
        reflex_hz in prop_oneof![Just(60u32), Just(240), Just(1000)],
        boxed in any::<bool>(),
    ) {
        let mut config = Config::default();
        (config.rates.mind_hz, config.rates.reflex_hz) = (20, reflex_hz);
        config.chunk.rate_hz = rate_hz;
        // The interlock would keep most of these chunks from beginning at all.
        config.safety.start_pose_rad = 100.0;
        if !boxed {
            config.limits.workspace_min_m = [-2.0; 3];
            config.limits.workspace_max_m = [2.0; 3];
            config.limits.max_tool_speed_m_s = 5.0;
        }
        config.validate().unwrap();
        let chain = Chain::from_urdf(ARM7_URDF, "base", "tool").unwrap();
        let mut reflex = Reflex::new(chain.clone(), &config);
        let mut q = Joints::from_slice(&ARM7_HOME_RAD);
        let (mut wanted, mut commanded) = (Vec::new(), Vec::new());
        let mut tick = 0;
        for (number, event) in (1..).zip(events) {
            let now_ns = |tick: u64| START_NS + tick * 1_000_000_000 / u64::from(reflex_hz);
            let chunk = ActionChunk {
                observation_ns: now_ns(tick) - event.age_ns,
                period_ns: event.period_ns,
                width: event.width,
                actions: event.actions,
            };
            for _ in 0..event.ticks {
                let body = Body {
                    stamp_ns: now_ns(tick),
                    q,
                    gripper_width_m: 0.04,
                    base_from_tool: chain.base_from_tip(&q),
                };
                let gate = if event.open { Gate::Open } else { Gate::NotEnabled };
                let snapshot = Snapshot::of_body(now_ns(tick), body);
                let command = reflex.tick(now_ns(tick), &snapshot, gate, Intent::Execute(number, &chunk));
                tick += 1;
                match reflex.wanted() {
                    Some(q) => {
                        wanted.push(*q);
                        check(&chain, &config, &wanted)?;
                    }
                    None => wanted.clear(),
                }
                let Some(joints) = command.joints else { continue };
                prop_assert!(joints.q.is_finite() && joints.qd.is_finite());
                prop_assert!((0.0..=0.08).contains(&joints.gripper_width_m));
                if let Some(observation_ns) = command.observation_ns {
                    prop_assert!(command.stamp_ns - observation_ns <= config.chunk.expiry_ms * 1_000_000);
                }
                q = joints.q;
                commanded.push(q);
                check(&chain, &config, &commanded)?;
                // Held back at the workspace's edge, the player begins anew from where the arm is.
                if wanted.last().is_some_and(|wanted| *wanted != q) {
                    wanted.clear();
                }
            }
        }
    }
}
