//! The tracker keeps every limit in every tick whatever the target does, and gets where it can get.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests fail by panicking")]
#![allow(clippy::print_stdout, reason = "some tests print what they measured")]

mod common;

use common::{ARM7, PANDA, Random, Robot, SO101, UR5, angle_between};
use nalgebra::{Isometry3, Translation3, UnitQuaternion, Vector3};
use proptest::prelude::*;
use proptest::test_runner::RngSeed;
use reflexarc_kinematics::track::{TrackStep, Tracker, TrackerConfig};
use reflexarc_kinematics::{ARM7_HOME_RAD, Chain, Task};

const ROUNDING: f64 = 1e-9;

/// Checks one tick against the limits; `inside` says that the joints started within their position limits.
fn keeps_limits(
    chain: &Chain,
    config: &TrackerConfig,
    q: &[f64],
    before: &[f64],
    step: &TrackStep,
    inside: bool,
) {
    for (i, limits) in chain.limits().iter().enumerate() {
        let speed = (step.q_next[i] - q[i]) / config.dt_s;
        assert!(step.q_next[i].is_finite());
        assert!((speed - step.qd[i]).abs() < 1e-6, "joint {i}: qd {} but moved {speed}", step.qd[i]);
        assert!(
            speed.abs() <= limits.velocity_rad_s * config.velocity_scale + 1e-7,
            "joint {i}: {speed} rad/s"
        );
        let change = (step.qd[i] - before[i]).abs();
        assert!(
            change <= config.max_acceleration_rad_s2 * config.dt_s + ROUNDING,
            "joint {i}: change {change}"
        );
        if inside {
            assert!(limits.contains(step.q_next[i], 0.0), "joint {i} at {}", step.q_next[i]);
        }
    }
}

fn target(kind: u8, numbers: [f64; 6], chain: &Chain) -> Isometry3<f64> {
    let [x, y, z, a, b, c] = numbers;
    let rotation = UnitQuaternion::from_euler_angles(3.0 * a, 3.0 * b, 3.0 * c);
    let at = |scale: f64| Isometry3::from_parts(Translation3::new(scale * x, scale * y, scale * z), rotation);
    match kind {
        0 => at(0.6),
        1 => at(50.0),
        2 => Isometry3::translation(f64::NAN, y, z),
        3 => Isometry3::translation(x, f64::INFINITY, z),
        4 => Isometry3::from_parts(
            Translation3::new(x, y, z),
            UnitQuaternion::new_unchecked(nalgebra::Quaternion::new(f64::NAN, 0.0, 0.0, 1.0)),
        ),
        // Deep in a corner of the joint limits: where bounds, braking and the task quarrel.
        5 => chain.base_from_tip(
            &chain
                .limits()
                .iter()
                .map(|l| if x > 0.0 { l.upper_rad } else { l.lower_rad })
                .collect::<Vec<_>>(),
        ),
        6 => at(f64::MAX),
        _ => at(0.9),
    }
}

fn any_robot() -> impl Strategy<Value = Robot> {
    prop::sample::select(vec![ARM7, UR5, SO101])
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, failure_persistence: None, rng_seed: RngSeed::Fixed(7), ..ProptestConfig::default() })]

    #[test]
    fn limits_hold_for_any_target(
        robot in any_robot(),
        start: u64,
        targets in prop::collection::vec((0_u8..8, prop::array::uniform6(-1.0_f64..1.0), 1_usize..250), 1..12),
        acceleration in prop::sample::select(vec![2.0, 10.0, 60.0]),
        follow_target_velocity: bool,
        dt_s in prop::sample::select(vec![0.001, 1.0 / 240.0, 1.0 / 60.0]),
    ) {
        let chain = robot.chain();
        let config = TrackerConfig { max_acceleration_rad_s2: acceleration, dt_s, follow_target_velocity, ..TrackerConfig::default() };
        let mut q = Random(start).configuration(&chain);
        let mut tracker = Tracker::new(chain.clone(), config, &q);
        tracker.reset(&q);
        let mut before = vec![0.0; chain.dof()];
        for (kind, numbers, ticks) in targets {
            let wanted = target(kind, numbers, &chain);
            for _ in 0..ticks {
                let step = tracker.step(&q, &wanted);
                keeps_limits(&chain, &config, &q, &before, &step, true);
                prop_assert_eq!(step.rejected_non_finite, matches!(kind, 2..=4));
                q = step.q_next.to_vec();
                before = step.qd.to_vec();
            }
        }
    }

    #[test]
    fn position_and_velocity_limits_hold_with_noisy_measured_positions(start: u64, numbers in prop::array::uniform6(-1.0_f64..1.0)) {
        let chain = ARM7.chain();
        let config = TrackerConfig::default();
        let mut random = Random(start);
        let mut q = random.configuration(&chain);
        let mut tracker = Tracker::new(chain.clone(), config, &q);
        let wanted = target(0, numbers, &chain);
        for tick in 0..600 {
            let step = tracker.step(&q, &wanted);
            for (i, limits) in chain.limits().iter().enumerate() {
                prop_assert!(limits.contains(step.q_next[i], 0.0));
                prop_assert!((step.q_next[i] - q[i]).abs() <= limits.velocity_rad_s * 0.8 * config.dt_s + ROUNDING);
            }
            // Sensor noise, and a joint pushed by hand now and then.
            q = step.q_next.iter().zip(chain.limits()).map(|(q, limits)| {
                let noise = if tick % 100 == 99 { 0.3 } else { 2e-3 };
                limits.clamp(q + random.between(-noise, noise))
            }).collect();
        }
    }

    #[test]
    fn it_recovers_from_any_start_within_twice_the_limits_as_fast_as_it_may(
        robot in any_robot(),
        start in prop::array::uniform8(-1.0_f64..=1.0),
        goal: u64,
        task in prop::sample::select(vec![Task::Pose, Task::PositionAndAxis, Task::Position]),
        dt_s in prop::sample::select(vec![0.001, 1.0 / 240.0]),
    ) {
        let chain = robot.chain();
        let config = TrackerConfig { task, dt_s, ..TrackerConfig::default() };
        let goal = chain.base_from_tip(&Random(goal).configuration(&chain));
        let mut q: Vec<f64> = chain.limits().iter().zip(start).map(|(limits, share)| {
            limits.middle() + share * (limits.upper_rad - limits.lower_rad)
        }).collect();
        // Never further out than before.
        let excess = |i: usize, q: f64| {
            let limits = chain.limits()[i];
            (limits.lower_rad - q).max(q - limits.upper_rad).max(0.0)
        };
        // From rest to rest at the limit: full acceleration, full speed, full braking.
        let due_s: Vec<f64> = (0..chain.dof()).map(|i| {
            let (room, a) = (excess(i, q[i]), config.max_acceleration_rad_s2);
            let v = chain.limits()[i].velocity_rad_s * config.velocity_scale;
            if room * a > v * v { room / v + v / a } else { 2.0 * (room / a).sqrt() }
        }).collect();
        let mut tracker = Tracker::new(chain.clone(), config, &q);
        tracker.reset(&q);
        let mut before = vec![0.0; chain.dof()];
        let slowest_s = due_s.iter().fold(0.0_f64, |most, due| most.max(*due));
        for tick in 0..(slowest_s / dt_s) as usize + 4 {
            let step = tracker.step(&q, &goal);
            keeps_limits(&chain, &config, &q, &before, &step, false);
            for i in 0..chain.dof() {
                prop_assert!(excess(i, step.q_next[i]) <= excess(i, q[i]));
                let late_ticks = tick as f64 - due_s[i] / dt_s;
                prop_assert!(late_ticks < 3.0 || excess(i, step.q_next[i]) < 1e-9,
                    "joint {i} is {} out, {late_ticks} ticks late", excess(i, step.q_next[i]));
            }
            q = step.q_next.to_vec();
            before = step.qd.to_vec();
        }
    }
}

fn straight_down(position: Vector3<f64>, yaw_rad: f64) -> Isometry3<f64> {
    let down = UnitQuaternion::from_axis_angle(&Vector3::x_axis(), std::f64::consts::PI);
    let turn = UnitQuaternion::from_axis_angle(&Vector3::z_axis(), yaw_rad);
    Isometry3::from_parts(Translation3::from(position), turn * down)
}

/// A random straight-down pose over the work area.
fn workspace_pose(random: &mut Random) -> Isometry3<f64> {
    let position =
        Vector3::new(random.between(0.36, 0.66), random.between(-0.22, 0.22), random.between(0.02, 0.35));
    straight_down(position, random.between(-1.57, 1.57))
}

#[test]
fn it_settles_on_static_targets_over_the_work_area() {
    let chain = ARM7.chain();
    let config = TrackerConfig::default();
    let mut random = Random(21);
    let mut tracker = Tracker::new(chain.clone(), config, &ARM7_HOME_RAD);
    let mut q = chain.clamp(&ARM7_HOME_RAD);
    tracker.reset(&q);
    let mut before = vec![0.0; 7];
    // One target after the other, without going home in between.
    for round in 0..200 {
        let goal = workspace_pose(&mut random);
        let mut worst_speed: f64 = 0.0;
        for _ in 0..720 {
            let step = tracker.step(&q, &goal);
            keeps_limits(&chain, &config, &q, &before, &step, true);
            let (_, jacobian) = chain.jacobian(&q);
            worst_speed = worst_speed.max(jacobian.twist(&step.qd).fixed_rows::<3>(0).norm());
            q = step.q_next;
            before = step.qd.to_vec();
        }
        let reached = chain.base_from_tip(&q);
        let miss = (reached.translation.vector - goal.translation.vector).norm();
        let turn = angle_between(&reached, &goal);
        assert!(miss < 1e-4 && turn < 1e-3, "round {round}: {miss} m, {turn} rad from {goal}, at {q:?}");
        assert!(
            worst_speed < 1.3 * config.max_tool_speed_m_s,
            "round {round}: the tool moved at {worst_speed} m/s"
        );
    }
}

#[test]
fn it_follows_a_smooth_path_closely() {
    let chain = ARM7.chain();
    let config = TrackerConfig { follow_target_velocity: true, ..TrackerConfig::default() };
    let mut tracker = Tracker::new(chain.clone(), config, &ARM7_HOME_RAD);
    let mut q = chain.clamp(&ARM7_HOME_RAD);
    tracker.reset(&q);
    let mut worst: f64 = 0.0;
    for tick in 0..2400 {
        let phase = 1.5 * f64::from(tick) * config.dt_s;
        let centre = Vector3::new(0.5, 0.0, 0.25);
        let goal = straight_down(
            centre + Vector3::new(0.1 * phase.cos(), 0.12 * phase.sin(), 0.05 * (0.7 * phase).sin()),
            0.5 * phase.sin(),
        );
        q = tracker.step(&q, &goal).q_next;
        if tick > 480 {
            let reached = chain.base_from_tip(&q);
            worst = worst.max((reached.translation.vector - goal.translation.vector).norm());
        }
    }
    assert!(worst < 1e-3, "lags by {worst} m");
}

#[test]
fn a_target_out_of_reach_is_approached_and_then_the_arm_rests() {
    let chain = ARM7.chain();
    let config = TrackerConfig::default();
    let mut tracker = Tracker::new(chain.clone(), config, &ARM7_HOME_RAD);
    let mut q = chain.clamp(&ARM7_HOME_RAD);
    tracker.reset(&q);
    let goal = straight_down(Vector3::new(1.5, 0.0, 0.4), 0.0);
    let mut last_speed: f64 = 0.0;
    for tick in 0..3600 {
        let step = tracker.step(&q, &goal);
        if tick > 3300 {
            last_speed = step.qd.iter().fold(last_speed, |most, qd| most.max(qd.abs()));
        }
        q = step.q_next;
    }
    assert!(last_speed < 0.02, "still moving at {last_speed} rad/s");
    let reached = chain.base_from_tip(&q).translation.x;
    assert!(reached > 0.7, "stopped at x = {reached} m");
}

#[test]
fn spare_motion_goes_to_the_posture_and_leaves_the_tool_alone() {
    let chain = ARM7.chain();
    let goal = chain.base_from_tip(&ARM7_HOME_RAD);
    let mut posture = ARM7_HOME_RAD;
    posture[0] += 0.5;
    posture[2] -= 0.5;
    let mut tracker = Tracker::new(chain.clone(), TrackerConfig::default(), &posture);
    let mut q = chain.clamp(&ARM7_HOME_RAD);
    tracker.reset(&q);
    let distance = |q: &[f64]| q.iter().zip(posture).map(|(q, p)| (q - p).powi(2)).sum::<f64>();
    let before = distance(&q);
    for _ in 0..1200 {
        let step = tracker.step(&q, &goal);
        assert!(step.position_error_m < 1e-3, "the tool was moved by {} m", step.position_error_m);
        q = step.q_next;
    }
    assert!(distance(&q) < 0.5 * before, "{} of {before} left", distance(&q));
    assert!(tracker.step(&q, &goal).position_error_m < 2e-5);
}

#[test]
fn positions_that_are_not_finite_brake_the_arm_and_bad_settings_hold_it() {
    let chain = ARM7.chain();
    let config = TrackerConfig::default();
    let goal = straight_down(Vector3::new(0.4, 0.2, 0.2), 0.0);
    let mut tracker = Tracker::new(chain.clone(), config, &ARM7_HOME_RAD);
    let mut q = chain.clamp(&ARM7_HOME_RAD);
    for _ in 0..60 {
        q = tracker.step(&q, &goal).q_next;
    }
    let mut broken = q.to_vec();
    broken[3] = f64::NAN;
    for bad in [&broken[..], &q[..3], &[]] {
        let step = tracker.step(bad, &goal);
        assert!(step.rejected_non_finite);
        assert!(step.q_next.is_finite());
    }
    let mut step = tracker.step(&broken, &goal);
    for _ in 0..240 {
        step = tracker.step(&broken, &goal);
    }
    assert!(step.qd.iter().all(|qd| *qd == 0.0));

    for config in [
        TrackerConfig { dt_s: 0.0, ..config },
        TrackerConfig { max_acceleration_rad_s2: f64::NAN, ..config },
        TrackerConfig { velocity_scale: 1.5, ..config },
        TrackerConfig { posture_weight: -1.0, ..config },
        TrackerConfig { manipulability_gain_rad2_per_s: f64::INFINITY, ..config },
    ] {
        let error = config.check().unwrap_err();
        assert!(error.to_string().contains(error.field), "{error}");
        let mut tracker = Tracker::new(chain.clone(), config, &ARM7_HOME_RAD);
        assert_eq!(tracker.step(&ARM7_HOME_RAD, &goal).q_next[..], ARM7_HOME_RAD);
    }
    assert_eq!(config.check(), Ok(()));
}

#[test]
fn it_plans_on_from_what_was_really_commanded() {
    let chain = ARM7.chain();
    let config = TrackerConfig::default();
    let goal = straight_down(Vector3::new(0.4, 0.2, 0.2), 0.0);
    let mut tracker = Tracker::new(chain.clone(), config, &ARM7_HOME_RAD);
    let mut q = chain.clamp(&ARM7_HOME_RAD);
    for _ in 0..60 {
        q = tracker.step(&q, &goal).q_next;
    }
    // A later stage stopped the arm dead.
    tracker.commanded(&[0.0; 7]);
    let step = tracker.clone().step(&q, &goal);
    keeps_limits(&chain, &config, &q, &[0.0; 7], &step, true);
    // What cannot be a velocity is passed over.
    for bad in [&[f64::NAN; 7][..], &[1.0; 3]] {
        tracker.commanded(bad);
        assert_eq!(tracker.clone().step(&q, &goal), step);
    }
}

/// Joint positions at a singularity, and the joint that carries the arm through it.
struct Crossing {
    name: &'static str,
    robot: Robot,
    task: Task,
    at_rad: &'static [f64],
    through: usize,
}

const CROSSINGS: [Crossing; 9] = [
    // Axes 1 and 3 in line.
    Crossing {
        name: "panda shoulder",
        robot: PANDA,
        task: Task::Pose,
        at_rad: &[0.2, 0.0, 0.3, -1.6, 0.0, 1.6, 0.5],
        through: 1,
    },
    // As straight as its limit allows, there and back.
    Crossing {
        name: "panda elbow",
        robot: PANDA,
        task: Task::Pose,
        at_rad: &[0.2, 0.4, 0.1, -0.45, 0.3, 1.2, 0.5],
        through: 3,
    },
    // Axes 5 and 7 in line.
    Crossing {
        name: "panda wrist",
        robot: PANDA,
        task: Task::Pose,
        at_rad: &[0.2, -0.3, 0.1, -2.0, 0.2, 0.35, 0.5],
        through: 5,
    },
    Crossing {
        name: "ur5 wrist",
        robot: UR5,
        task: Task::Pose,
        at_rad: &[0.3, -1.2, 1.4, -0.8, 0.0, 0.4],
        through: 4,
    },
    Crossing {
        name: "ur5 elbow",
        robot: UR5,
        task: Task::Pose,
        at_rad: &[0.3, -0.8, 0.0, -0.8, 1.2, 0.4],
        through: 2,
    },
    // The wrist passes over the first axis.
    Crossing {
        name: "ur5 shoulder",
        robot: UR5,
        task: Task::Pose,
        at_rad: &[0.3, -1.833, 0.52, -0.8, 1.2, 0.4],
        through: 1,
    },
    Crossing {
        name: "so101 elbow",
        robot: SO101,
        task: Task::PositionAndAxis,
        at_rad: &[0.2, -0.3, -1.35, 0.5, 0.3],
        through: 2,
    },
    Crossing {
        name: "so101 shoulder",
        robot: SO101,
        task: Task::PositionAndAxis,
        at_rad: &[0.2, -0.9, 0.2, 0.4, 0.3],
        through: 1,
    },
    Crossing {
        name: "so101 wrist",
        robot: SO101,
        task: Task::PositionAndAxis,
        at_rad: &[0.2, 0.2, 0.3, 0.0, 0.3],
        through: 3,
    },
];

/// Follows a tool path through every singularity, at a pace that the joints could keep. The tool may lag where it
/// is weak; no limit may break, and in the end the tool is where it should be.
#[test]
fn through_singularities_it_never_leaps() {
    for Crossing { name, robot, task, at_rad, through } in CROSSINGS {
        for dt_s in [1.0 / 240.0, 0.001] {
            let chain = robot.chain();
            let config =
                TrackerConfig { task, dt_s, follow_target_velocity: true, ..TrackerConfig::default() };
            // There in three seconds, resting at both ends; the other joints move a little, too.
            let along = |time_s: f64| {
                let share = (time_s / 3.0).min(1.0);
                let swing = -0.35 * (std::f64::consts::PI * share).cos();
                let q: Vec<f64> = at_rad
                    .iter()
                    .enumerate()
                    .map(|(i, q)| q + if i == through { swing } else { 0.2 * swing * (i as f64).cos() })
                    .collect();
                chain.clamp(&q)
            };
            let mut q = along(0.0);
            let mut tracker = Tracker::new(chain.clone(), config, &q);
            tracker.reset(&q);
            let mut before = vec![0.0; chain.dof()];
            let (mut worst_m, mut worst_rad, mut fastest) = (0.0_f64, 0.0_f64, 0.0_f64);
            let mut last = None;
            for tick in 1..=(6.0 / dt_s) as u32 {
                let goal = chain.base_from_tip(&along(f64::from(tick) * dt_s));
                let step = tracker.step(&q, &goal);
                keeps_limits(&chain, &config, &q, &before, &step, true);
                q = step.q_next;
                before = step.qd.to_vec();
                let after = tracker.clone().step(&q, &goal);
                worst_m = worst_m.max(after.position_error_m);
                worst_rad = worst_rad.max(after.rotation_error_rad);
                fastest = step.qd.iter().fold(fastest, |most, qd| most.max(qd.abs()));
                last = Some(after);
            }
            let last = last.unwrap();
            println!(
                "{name}, {:.0} Hz: {:.3} mm, {:.2} mrad at worst, {fastest:.2} rad/s; {:.4} mm, {:.4} mrad at the end",
                1.0 / dt_s,
                worst_m * 1e3,
                worst_rad * 1e3,
                last.position_error_m * 1e3,
                last.rotation_error_rad * 1e3
            );
            assert!(worst_m < 0.02 && worst_rad < 0.1, "{name}: {worst_m} m, {worst_rad} rad");
            assert!(last.position_error_m < 1e-3 && last.rotation_error_rad < 1e-2, "{name}");
        }
    }
}

#[test]
fn what_a_task_leaves_free_is_left_alone() {
    for (robot, task) in [
        (SO101, Task::PositionAndAxis),
        (SO101, Task::Position),
        (ARM7, Task::PositionAndAxis),
        (ARM7, Task::Position),
        (UR5, Task::PositionAndAxis),
    ] {
        let chain = robot.chain();
        let config = TrackerConfig { task, ..TrackerConfig::default() };
        let mut random = Random(9);
        let (mut reached, rounds) = (0, 40);
        for _ in 0..rounds {
            let start = random.configuration(&chain);
            let near: Vec<f64> = start.iter().map(|q| q + random.between(-0.3, 0.3)).collect();
            let mut goal = chain.base_from_tip(&chain.clamp(&near));
            // Turned by what does not count.
            let turn = match task {
                Task::Position => UnitQuaternion::from_euler_angles(2.0, 1.0, -2.0),
                _ => UnitQuaternion::from_axis_angle(&Vector3::z_axis(), 2.0),
            };
            goal.rotation *= turn;
            let mut tracker = Tracker::new(chain.clone(), config, &start);
            let mut step = tracker.step(&start, &goal);
            for _ in 0..720 {
                step = tracker.step(&step.q_next, &goal);
            }
            let at = chain.base_from_tip(&step.q_next);
            let miss_m = (at.translation.vector - goal.translation.vector).norm();
            let miss_rad = match task {
                Task::Position => 0.0,
                _ => (at.rotation * Vector3::z()).angle(&(goal.rotation * Vector3::z())),
            };
            assert!(miss_rad <= step.rotation_error_rad + 1e-3);
            reached += u32::from(miss_m < 1e-3 && miss_rad < 1e-2);
        }
        println!("{} {task:?}: {reached} of {rounds}", robot.name);
        assert!(reached * 10 >= rounds * 9, "{} {task:?}: {reached} of {rounds} reached", robot.name);
    }
}

#[test]
fn spare_motion_climbs_to_where_the_tool_moves_well() {
    let chain = ARM7.chain();
    let start = [0.4, 0.3, 0.9, -1.9, 0.8, 1.1, 0.5];
    let goal = chain.base_from_tip(&start);
    let measure = |q: &[f64]| {
        let (_, jacobian) = chain.jacobian(q);
        let mut gram = nalgebra::Matrix6::zeros();
        for column in jacobian.columns() {
            gram += column * column.transpose();
        }
        gram.determinant().sqrt()
    };
    let settle = |gain: f64| {
        let config = TrackerConfig {
            manipulability_gain_rad2_per_s: gain,
            posture_gain_per_s: 0.0,
            ..TrackerConfig::default()
        };
        let mut tracker = Tracker::new(chain.clone(), config, &start);
        let mut step = tracker.step(&start, &goal);
        for _ in 0..2400 {
            step = tracker.step(&step.q_next, &goal);
            assert!(step.position_error_m < 1e-3, "the tool was moved by {} m", step.position_error_m);
        }
        measure(&step.q_next)
    };
    let (before, without, with) = (measure(&start), settle(0.0), settle(0.5));
    println!("manipulability {before:.4} at the start, {without:.4} without and {with:.4} with the gain");
    assert!((without - before).abs() < 1e-3 * before && with > 1.1 * before);
}

/// `cargo test --release -p reflexarc-kinematics --test tracking -- --ignored --nocapture`
#[test]
#[ignore = "a million ticks"]
fn a_million_ticks_break_no_limit() {
    let mut ticks = 0;
    for (robot, dt_s) in [(PANDA, 1.0 / 240.0), (PANDA, 0.001), (UR5, 0.001), (SO101, 1.0 / 240.0)] {
        let chain = robot.chain();
        let config = TrackerConfig { dt_s, ..TrackerConfig::default() };
        let mut random = Random(77);
        let mut q = chain.clamp(&random.configuration(&chain));
        let mut tracker = Tracker::new(chain.clone(), config, &q);
        tracker.reset(&q);
        let mut before = vec![0.0; chain.dof()];
        let mut broken = 0;
        for round in 0..1000 {
            let numbers = std::array::from_fn(|_| random.between(-1.0, 1.0));
            let wanted = if round % 4 == 0 {
                target((round / 4 % 8) as u8, numbers, &chain)
            } else {
                chain.base_from_tip(&random.configuration(&chain))
            };
            for _ in 0..250 {
                let step = tracker.step(&q, &wanted);
                broken += u32::from(!common::keeps_limits(&chain, &config, &q, &before, &step));
                q = step.q_next;
                before.copy_from_slice(&step.qd);
                ticks += 1;
            }
        }
        println!("{} at {:.0} Hz: {broken} violations", robot.name, 1.0 / dt_s);
        assert_eq!(broken, 0);
    }
    assert_eq!(ticks, 1_000_000);
}
