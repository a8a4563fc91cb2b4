//! Global inverse kinematics, judged by a forward kinematics of its own and by the limits.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests fail by panicking")]
#![allow(clippy::print_stdout, reason = "the figures are the point of the success test")]

mod common;

use common::{ARM7, PANDA, Random, Robot, SO101, UR5, angle_between};
use nalgebra::{Isometry3, Translation3, UnitQuaternion, Vector3};
use reflexarc_kinematics::{ARM7_HOME_RAD, Joints, Task, ik};

fn success(robot: Robot, poses: usize, seed: u64, task: Task) -> (usize, f64) {
    let chain = robot.chain();
    let forward = robot.independent_forward();
    let mut random = Random(seed);
    let options = ik::IkOptions { task, ..ik::IkOptions::default() };
    let (mut solved, mut iterations) = (0, 0);
    for _ in 0..poses {
        let target = forward(&random.configuration(&chain));
        let start = random.configuration(&chain);
        let solution = ik::solve(&chain, &target, &start, &options);
        let reached = forward(&solution.q);
        let position_error = (reached.translation.vector - target.translation.vector).norm();
        let rotation_error = task_angle(task, &reached, &target);
        let inside = chain.limits().iter().zip(solution.q.iter()).all(|(limits, q)| limits.contains(*q, 0.0));
        assert!(inside, "{} left its limits", robot.name);
        // What it says about itself is true.
        assert!((position_error - solution.position_error_m).abs() < 1e-9);
        assert!((rotation_error - solution.rotation_error_rad).abs() < 1e-7);
        let good = position_error <= 1e-5 + 1e-9 && rotation_error <= 1e-4 + 1e-7;
        assert_eq!(good, solution.reachable);
        solved += usize::from(good);
        iterations += solution.iterations;
    }
    (solved, iterations as f64 / poses as f64)
}

#[test]
fn random_reachable_poses_are_solved() {
    let cases = [
        (PANDA, Task::Pose),
        (UR5, Task::Pose),
        (SO101, Task::Pose),
        (ARM7, Task::Pose),
        (SO101, Task::PositionAndAxis),
        (UR5, Task::PositionAndAxis),
        (SO101, Task::Position),
        (PANDA, Task::Position),
    ];
    for (seed, (robot, task)) in (11..).zip(cases) {
        let (solved, iterations) = success(robot, 2000, seed, task);
        println!("{} {task:?}: {solved} of 2000 solved, {iterations:.1} steps each", robot.name);
        assert_eq!(solved, 2000, "{} {task:?}", robot.name);
    }
}

/// The angle that the task cares for, rad.
fn task_angle(task: Task, a: &Isometry3<f64>, b: &Isometry3<f64>) -> f64 {
    match task {
        Task::Pose => angle_between(a, b),
        Task::PositionAndAxis => (a.rotation * Vector3::z()).angle(&(b.rotation * Vector3::z())),
        Task::Position => 0.0,
    }
}

#[test]
fn a_five_joint_arm_points_its_tool_where_no_pose_would_do() {
    // Straight down over the table, turned about the tool's axis by an angle that the arm cannot choose.
    let chain = SO101.chain();
    let target = grasp(Vector3::new(0.22, 0.08, 0.05), 0.7);
    let pose = ik::solve(&chain, &target, &[], &ik::IkOptions::default());
    assert!(!pose.reachable);
    assert!(pose.to_string().starts_with("unreachable"), "{pose}");
    let options = ik::IkOptions { task: Task::PositionAndAxis, ..ik::IkOptions::default() };
    let axis = ik::solve(&chain, &target, &[], &options);
    assert!(axis.reachable, "{axis}");
    let tip = chain.base_from_tip(&axis.q);
    assert!((tip.rotation * Vector3::z() + Vector3::z()).norm() < 2e-4);
}

#[test]
fn the_nearest_of_several_solutions_is_no_farther_than_the_first() {
    for robot in [UR5, PANDA, SO101] {
        let chain = robot.chain();
        let mut random = Random(21);
        let (mut first_sum, mut nearest_sum) = (0.0, 0.0);
        for _ in 0..300 {
            let target = chain.base_from_tip(&random.configuration(&chain));
            let start = random.configuration(&chain);
            let first = ik::IkOptions::default();
            let nearest = ik::IkOptions { prefer: ik::Prefer::NearestToSeed, ..first };
            let away = |options| {
                let solution = ik::solve(&chain, &target, &start, &options);
                assert!(solution.reachable);
                solution.q.iter().zip(&start).map(|(a, b)| (a - b).powi(2)).sum::<f64>().sqrt()
            };
            first_sum += away(first);
            nearest_sum += away(nearest);
        }
        println!("{}: {:.3} and {:.3} rad from the seed", robot.name, first_sum / 300.0, nearest_sum / 300.0);
        assert!(nearest_sum <= first_sum, "{}", robot.name);
    }
}

#[test]
fn a_joint_that_can_turn_further_stays_near_its_seed() {
    let chain = UR5.chain();
    let q = [-0.3, -1.0, 1.2, 0.4, 0.9, 0.2];
    let mut start = q;
    start[0] += 2.0 * std::f64::consts::PI;
    start[5] -= 2.0 * std::f64::consts::PI - 0.01;
    let solution = ik::solve(&chain, &chain.base_from_tip(&q), &start, &ik::IkOptions::default());
    assert!(solution.reachable);
    assert!(
        (solution.q[0] - start[0]).abs() < 1e-3 && (solution.q[5] - start[5]).abs() < 0.02,
        "{solution:?}"
    );
}

#[test]
fn distinct_solutions_are_distinct_and_all_of_them_are_solutions() {
    let chain = UR5.chain();
    let q = [0.3, -1.0, 1.2, 0.4, 0.9, 0.2];
    let target = chain.base_from_tip(&q);
    // Each joint within half a turn, so that the eight postures of this arm are all there is.
    let half_turn = Joints::from_slice(&[std::f64::consts::PI; 6]);
    let limits = ik::JointBox { lower: Joints::from_fn(6, |i| -half_turn[i]), upper: half_turn };
    let options = ik::IkOptions { limits: Some(limits), max_restarts: 2000, ..ik::IkOptions::default() };
    let found = ik::solve_distinct(&chain, &target, &q, &options, 64);
    assert_eq!(found.len(), 8, "{found:#?}");
    assert!(found[0].q.iter().zip(&q).all(|(a, b)| (a - b).abs() < 1e-3));
    for (i, a) in found.iter().enumerate() {
        assert!(a.reachable);
        for b in &found[..i] {
            assert!(a.q.iter().zip(b.q.iter()).any(|(a, b)| (a - b).abs() > 0.1));
        }
    }
    assert_eq!(ik::solve_distinct(&chain, &target, &q, &options, 3).len(), 3);
    assert!(ik::solve_distinct(&chain, &grasp(Vector3::new(3.0, 0.0, 0.0), 0.0), &q, &options, 3).is_empty());
}

#[test]
fn limits_of_one_call_hold_and_may_leave_nothing() {
    let chain = ARM7.chain();
    let mut random = Random(31);
    let lower = Joints::from_slice(&[-0.5, f64::NAN, -0.5]);
    let upper = Joints::from_slice(&[0.5, f64::INFINITY, 0.5]);
    let options = ik::IkOptions { limits: Some(ik::JointBox { lower, upper }), ..ik::IkOptions::default() };
    let mut reached = 0;
    for _ in 0..200 {
        let q = random.configuration(&chain);
        let inside = q[0].abs() <= 0.5 && q[2].abs() <= 0.5;
        let solution = ik::solve(&chain, &chain.base_from_tip(&q), &[], &options);
        assert!(solution.q[0].abs() <= 0.5 && solution.q[2].abs() <= 0.5);
        assert!(chain.limits().iter().zip(solution.q.iter()).all(|(limits, q)| limits.contains(*q, 0.0)));
        assert!(solution.reachable || !inside);
        reached += usize::from(solution.reachable);
    }
    assert!(reached > 20 && reached < 200, "{reached}");
    let nothing = ik::JointBox { lower: Joints::from_slice(&[2.0]), upper: Joints::from_slice(&[1.0]) };
    let options = ik::IkOptions { limits: Some(nothing), ..ik::IkOptions::default() };
    let home = chain.base_from_tip(&ARM7_HOME_RAD);
    assert!(!ik::solve(&chain, &home, &ARM7_HOME_RAD, &options).reachable);
}

#[test]
fn straight_down_grasps_over_the_work_area_are_solved_from_home() {
    let chain = ARM7.chain();
    for x in 0..=6 {
        for y in 0..=8 {
            for yaw in 0..8 {
                for z in [0.02, 0.15, 0.3] {
                    let position = Vector3::new(0.36 + 0.05 * f64::from(x), -0.22 + 0.055 * f64::from(y), z);
                    let yaw_rad = (f64::from(yaw) / 8.0 - 0.5) * std::f64::consts::PI;
                    let target = grasp(position, yaw_rad);
                    let solution = ik::solve(&chain, &target, &ARM7_HOME_RAD, &ik::IkOptions::default());
                    assert!(solution.reachable, "{position:?} yaw {yaw_rad}");
                }
            }
        }
    }
}

fn grasp(position: Vector3<f64>, yaw_rad: f64) -> Isometry3<f64> {
    let down = UnitQuaternion::from_axis_angle(&Vector3::x_axis(), std::f64::consts::PI);
    let turn = UnitQuaternion::from_axis_angle(&Vector3::z_axis(), yaw_rad);
    Isometry3::from_parts(Translation3::from(position), turn * down)
}

#[test]
fn a_target_out_of_reach_gets_an_honest_answer_close_by() {
    let chain = ARM7.chain();
    let target = grasp(Vector3::new(2.0, 0.5, 0.3), 0.0);
    let solution = ik::solve(&chain, &target, &ARM7_HOME_RAD, &ik::IkOptions::default());
    assert!(!solution.reachable);
    assert!(chain.limits().iter().zip(solution.q.iter()).all(|(limits, q)| limits.contains(*q, 0.0)));
    let reached = ARM7.independent_forward()(&solution.q);
    let miss = (reached.translation.vector - target.translation.vector).norm();
    assert!((miss - solution.position_error_m).abs() < 1e-9);
    // Stretched towards it: from the shoulder (0, 0, 0.333) the tool reaches about 0.96 m at most.
    let shoulder_to_target = (target.translation.vector - Vector3::new(0.0, 0.0, 0.333)).norm();
    assert!(miss < shoulder_to_target - 0.75, "misses by {miss} m");

    // No small change of the joints is better, the angle counting as its chord.
    let cost = |q: &[f64]| {
        let pose = chain.base_from_tip(q);
        let chord = 2.0 * (0.5 * angle_between(&pose, &target)).sin();
        (pose.translation.vector - target.translation.vector).norm_squared() + 0.1 * chord.powi(2)
    };
    for i in 0..7 {
        for change in [-0.01, 0.01] {
            let mut q = solution.q;
            q[i] = chain.limits()[i].clamp(q[i] + change);
            assert!(cost(&q) >= cost(&solution.q) - 1e-9);
        }
    }
}

#[test]
fn input_that_is_not_finite_is_answered_without_search() {
    let chain = ARM7.chain();
    let target = Isometry3::translation(f64::NAN, 0.0, 0.5);
    let solution = ik::solve(&chain, &target, &ARM7_HOME_RAD, &ik::IkOptions::default());
    assert!(!solution.reachable && solution.position_error_m.is_infinite());
    assert_eq!(solution.q[..], ARM7_HOME_RAD);
    // A bad seed only costs its advantage.
    let target = chain.base_from_tip(&ARM7_HOME_RAD);
    let solution = ik::solve(&chain, &target, &[f64::NAN, f64::INFINITY], &ik::IkOptions::default());
    assert!(solution.reachable);
}

#[test]
fn equal_inputs_give_equal_bits_and_a_seed_at_the_goal_stays() {
    let chain = ARM7.chain();
    let mut random = Random(5);
    for _ in 0..50 {
        let target = chain.base_from_tip(&random.configuration(&chain));
        let start = random.configuration(&chain);
        let options = ik::IkOptions::default();
        let bits = |q: &[f64]| q.iter().map(|value| value.to_bits()).collect::<Vec<_>>();
        let (a, b) =
            (ik::solve(&chain, &target, &start, &options), ik::solve(&chain, &target, &start, &options));
        assert_eq!(bits(&a.q), bits(&b.q));
        let again = ik::solve(&chain, &target, &a.q, &options);
        assert_eq!((bits(&again.q), again.iterations), (bits(&a.q), 0));
    }
}
