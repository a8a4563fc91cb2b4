//! The limiter keeps every limit for every input, and changes nothing that keeps them already.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests fail by panicking")]

mod common;

use common::{ARM7, Random};
use proptest::prelude::*;
use proptest::test_runner::RngSeed;
use reflexarc_kinematics::limit::JointLimiter;
use reflexarc_kinematics::track::{Tracker, TrackerConfig};
use reflexarc_kinematics::{ARM7_HOME_RAD, JointLimits};

const DT_S: f64 = 1.0 / 240.0;
const ACCELERATION: f64 = 12.0;

/// Two joints and a gripper-like slide.
fn limits() -> Vec<JointLimits> {
    let joint = |lower_rad, upper_rad, velocity_rad_s| JointLimits {
        lower_rad,
        upper_rad,
        velocity_rad_s,
        effort: 1.0,
    };
    vec![joint(-1.0, 1.5, 2.0), joint(f64::NEG_INFINITY, f64::INFINITY, 3.0), joint(0.0, 0.04, 0.2)]
}

fn any_wish() -> impl Strategy<Value = f64> {
    prop_oneof![
        4 => -2.0_f64..2.0,
        2 => -0.01_f64..0.05,
        1 => prop::sample::select(vec![f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 1e300, -1e300, f64::MIN_POSITIVE]),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, rng_seed: RngSeed::Fixed(7), ..ProptestConfig::default() })]

    #[test]
    fn every_limit_holds_for_any_input(wishes in prop::collection::vec((prop::array::uniform3(any_wish()), 1_usize..60), 1..30)) {
        let limits = limits();
        let mut limiter = JointLimiter::new(&limits, DT_S, ACCELERATION);
        let (mut q, mut v) = (*limiter.position(), *limiter.velocity());
        for (wish, ticks) in wishes {
            for _ in 0..ticks {
                let out = limiter.limit(&wish);
                prop_assert_eq!(out.rejected_non_finite, wish.iter().any(|w| !w.is_finite()));
                for i in 0..3 {
                    let speed = (out.q[i] - q[i]) / DT_S;
                    prop_assert!(limits[i].contains(out.q[i], 0.0), "joint {} at {}", i, out.q[i]);
                    prop_assert!(speed.abs() <= limits[i].velocity_rad_s + 1e-9, "joint {} at {} rad/s", i, speed);
                    prop_assert!((speed - v[i]).abs() <= ACCELERATION * DT_S + 1e-9, "joint {} jerks by {}", i, speed - v[i]);
                    v[i] = speed;
                }
                q = out.q;
            }
        }
    }

    #[test]
    fn a_jump_is_reached_without_overshoot(from in -1.0_f64..1.5, to in -1.0_f64..1.5) {
        let mut limiter = JointLimiter::new(&limits(), DT_S, ACCELERATION);
        prop_assert!(limiter.reset(&[from, 0.0, 0.02]));
        for tick in 0..600 {
            let out = limiter.limit(&[to, 0.0, 0.02]);
            prop_assert!((out.q[0] - to) * (from - to) >= -1e-12, "overshot to {}", out.q[0]);
            prop_assert!(out.clamped || tick > 0 || (from - to).abs() < 1e-3);
        }
        prop_assert!((limiter.position()[0] - to).abs() < 1e-9);
    }

    #[test]
    fn from_outside_it_returns_at_an_allowed_speed(outside in 0.0_f64..1.0) {
        let mut limiter = JointLimiter::new(&limits(), DT_S, ACCELERATION);
        prop_assert!(limiter.reset(&[1.5 + outside, 0.0, 0.02]));
        let mut q = 1.5 + outside;
        for _ in 0..480 {
            let out = limiter.limit(&[9.0, 0.0, 0.02]);
            prop_assert!(out.q[0] <= q + 1e-12 && (q - out.q[0]) <= 2.0 * DT_S + 1e-12);
            q = out.q[0];
        }
        prop_assert!((q - 1.5).abs() < 1e-9);
    }
}

#[test]
fn a_smooth_motion_within_the_limits_passes_unchanged() {
    let mut limiter = JointLimiter::new(&limits(), DT_S, ACCELERATION);
    limiter.reset(&[0.0, 0.0, 0.02]);
    for tick in 0..2400 {
        let t = f64::from(tick) * DT_S;
        let wish = [0.5 * (1.0 - t.cos()), 0.5 * (1.0 - (0.7 * t).cos()), 0.02];
        let out = limiter.limit(&wish);
        assert!(!out.clamped && !out.rejected_non_finite, "tick {tick}: {:?} for {wish:?}", out.q);
    }
}

#[test]
fn what_the_tracker_commands_passes_unchanged() {
    let chain = ARM7.chain();
    let config = TrackerConfig::default();
    let mut tracker = Tracker::new(chain.clone(), config, &ARM7_HOME_RAD);
    let mut limiter = JointLimiter::new(chain.limits(), config.dt_s, config.max_acceleration_rad_s2);
    limiter.reset(&ARM7_HOME_RAD);
    let mut random = Random(3);
    let mut q = chain.clamp(&ARM7_HOME_RAD);
    for _ in 0..20 {
        let goal = chain.base_from_tip(&random.configuration(&chain));
        for _ in 0..300 {
            q = tracker.step(&q, &goal).q_next;
            let out = limiter.limit(&q);
            let worst = out.q.iter().zip(q.iter()).fold(0.0_f64, |most, (a, b)| most.max((a - b).abs()));
            assert!(worst < 1e-9, "changed by {worst}");
        }
    }
}

#[test]
fn wrong_lengths_and_nan_brake_and_hold() {
    let mut limiter = JointLimiter::new(&limits(), DT_S, ACCELERATION);
    assert!(!limiter.reset(&[0.0]));
    assert!(!limiter.reset(&[0.0, f64::NAN, 0.0]));
    assert!(limiter.reset(&[0.5, 0.0, 0.01]));
    for _ in 0..30 {
        limiter.limit(&[-1.0, 2.0, 0.04]);
    }
    for bad in [&[0.0][..], &[f64::NAN, 0.0, 0.0][..], &[][..]] {
        assert!(limiter.limit(bad).rejected_non_finite);
    }
    for _ in 0..100 {
        limiter.limit(&[f64::NAN; 3]);
    }
    let held = *limiter.position();
    assert_eq!(limiter.limit(&[f64::NAN; 3]).q, held);
    assert!(limiter.velocity().iter().all(|v| *v == 0.0));

    let mut useless = JointLimiter::new(&limits(), f64::NAN, ACCELERATION);
    assert_eq!(useless.limit(&[1.0, 1.0, 0.02]).q[..], [0.0, 0.0, 0.0]);
}
