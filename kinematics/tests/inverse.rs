//! Global inverse kinematics, judged by a forward kinematics of its own and by the limits.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests fail by panicking")]
#![allow(clippy::print_stdout, reason = "the figures are the point of the success test")]

mod common;

use common::{ARM7, PANDA, Random, Robot, SO101, UR5, angle_between};
use nalgebra::{Isometry3, Translation3, UnitQuaternion, Vector3};
use reflexarc_kinematics::{ARM7_HOME_RAD, ik};

fn success(robot: Robot, poses: usize, seed: u64) -> (usize, f64) {
    let chain = robot.chain();
    let forward = robot.independent_forward();
    let mut random = Random(seed);
    let options = ik::IkOptions::default();
    let (mut solved, mut iterations) = (0, 0);
    for _ in 0..poses {
        let target = forward(&random.configuration(&chain));
        let start = random.configuration(&chain);
        let solution = ik::solve(&chain, &target, &start, &options);
        let reached = forward(&solution.q);
        let position_error = (reached.translation.vector - target.translation.vector).norm();
        let rotation_error = angle_between(&reached, &target);
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
    for (robot, seed) in [(PANDA, 11), (UR5, 12), (SO101, 13), (ARM7, 14)] {
        let (solved, iterations) = success(robot, 2000, seed);
        println!("{}: {solved} of 2000 solved, {iterations:.1} steps each", robot.name);
        assert!(solved >= 1998, "{}: {solved} of 2000", robot.name);
    }
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

    // No small change of the joints is better.
    let cost = |q: &[f64]| {
        let pose = chain.base_from_tip(q);
        (pose.translation.vector - target.translation.vector).norm_squared()
            + 0.1 * angle_between(&pose, &target).powi(2)
    };
    for i in 0..7 {
        for change in [-0.01, 0.01] {
            let mut q = solution.q;
            q[i] = chain.limits()[i].clamp(q[i] + change);
            assert!(cost(&q) >= cost(&solution.q) - 1e-6);
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
