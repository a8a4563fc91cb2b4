//! The collision model measures rightly, and the tracker keeps shapes apart whatever the goals are.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests fail by panicking")]
#![allow(clippy::print_stdout, reason = "some tests print what they measured")]

mod common;

use common::judge::{Judge, Solid};
use common::{ARM7, Random, Robot, SO101};
use nalgebra::{Isometry3, Translation3, UnitQuaternion, Vector3};
use proptest::prelude::*;
use proptest::test_runner::RngSeed;
use reflexarc_kinematics::ARM7_HOME_RAD;
use reflexarc_kinematics::collision::{
    CollisionError, CollisionModel, CollisionOptions, MAX_OBSTACLES, Obstacle, Part, Shape,
};
use reflexarc_kinematics::track::{Tracker, TrackerConfig};

/// The Panda with the maker's capsules.
const PANDA: Robot = Robot {
    name: "panda",
    urdf: include_str!("data/panda_collision.urdf"),
    base: "panda_link0",
    tip: "panda_hand_tcp",
};
const PANDA_HOME_RAD: [f64; 7] = [0.0, -0.785, 0.0, -2.356, 0.0, 1.571, 0.785];
const MARGIN_M: f64 = 0.005;

fn model(robot: &Robot, reference_q: &[f64]) -> CollisionModel {
    let options = CollisionOptions { margin_m: MARGIN_M, reference_q, ..CollisionOptions::default() };
    CollisionModel::from_urdf(robot.urdf, &robot.chain(), &options).unwrap()
}

fn pose(xyz: [f64; 3], rpy: [f64; 3]) -> Isometry3<f64> {
    let [r, p, y] = rpy;
    Isometry3::from_parts(
        Translation3::new(xyz[0], xyz[1], xyz[2]),
        UnitQuaternion::from_euler_angles(r, p, y),
    )
}

/// A ball, a box, a post and a table within reach.
fn surroundings() -> Vec<(Shape, Isometry3<f64>)> {
    vec![
        (Shape::Sphere { radius_m: 0.09 }, pose([0.45, 0.35, 0.45], [0.0; 3])),
        (Shape::Box { half_extents_m: [0.06, 0.12, 0.15] }, pose([0.45, -0.35, 0.2], [0.1, 0.2, 0.4])),
        (Shape::Capsule { half_length_m: 0.3, radius_m: 0.04 }, pose([-0.35, 0.3, 0.4], [0.3, 0.0, 0.0])),
        (Shape::HalfSpace, pose([0.0, 0.0, -0.12], [0.0; 3])),
    ]
}

fn judged(shape: &Shape) -> Solid {
    match *shape {
        Shape::Sphere { radius_m } => Solid::Round { half: 0.0, radius: radius_m },
        Shape::Capsule { half_length_m, radius_m } => Solid::Round { half: half_length_m, radius: radius_m },
        Shape::Box { half_extents_m } => Solid::Box { half: Vector3::from(half_extents_m) },
        Shape::HalfSpace => Solid::Below,
    }
}

/// A tracker with the surroundings, and the judge of what it does.
fn scene(robot: &Robot, home: &[f64], config: TrackerConfig) -> (Tracker, CollisionModel, Judge) {
    let mut model = model(robot, home);
    for (shape, base_from_obstacle) in surroundings() {
        model.add_obstacle(Obstacle { name: "thing".to_owned(), shape, base_from_obstacle }).unwrap();
    }
    let mut tracker = Tracker::new(robot.chain(), config, home);
    tracker.set_collision(Some(model.clone())).unwrap();
    (tracker, model, Judge::new(robot, home, MARGIN_M))
}

fn clearance_m(model: &CollisionModel, q: &[f64]) -> f64 {
    model.distance(q).unwrap().clearance.distance_m
}

/// What came of driving an arm from goal to goal.
#[derive(Debug)]
struct Drive {
    /// Goals that cannot be had without touching something, or only around something.
    colliding: usize,
    ticks: usize,
    conflicts: usize,
    /// The smallest distance in any tick, by the model and by the judge (each tenth tick, and the close ones), m.
    smallest_m: f64,
    judged_m: f64,
    broken_limits: usize,
}

/// Drives one after the other, without a stop, to `colliding` goals and a third as many free ones, for one second
/// each: the arm is seldom at rest.
fn drive(robot: &Robot, home: &[f64], config: TrackerConfig, colliding: usize, seed: u64) -> Drive {
    let chain = robot.chain();
    let (mut tracker, model, judge) = scene(robot, home, config);
    let obstacles: Vec<_> = surroundings().iter().map(|(shape, pose)| (judged(shape), *pose)).collect();
    let mut random = Random(seed);
    let mut q = chain.clamp(home);
    tracker.reset(&q);
    let mut before = vec![0.0; chain.dof()];
    let mut report = Drive {
        colliding: 0,
        ticks: 0,
        conflicts: 0,
        smallest_m: f64::INFINITY,
        judged_m: f64::INFINITY,
        broken_limits: 0,
    };
    let ticks_per_goal = (1.0 / config.dt_s).round() as usize;
    for kind in (0..4).cycle() {
        if report.colliding >= colliding {
            break;
        }
        let around = obstacles[(random.bits() % 3) as usize].1;
        let goal = match kind {
            // Inside an obstacle.
            0 => Isometry3::from_parts(
                around.translation,
                chain.base_from_tip(&random.configuration(&chain)).rotation,
            ),
            // On the far side of one, straight through it.
            1 => {
                let tool = chain.base_from_tip(&q);
                let beyond =
                    around.translation.vector + (around.translation.vector - tool.translation.vector) * 0.6;
                Isometry3::from_parts(Translation3::from(beyond), tool.rotation)
            }
            // Where the configuration it was made of touches something, or does not.
            _ => loop {
                let goal_q = random.configuration(&chain);
                if (clearance_m(&model, &goal_q) > 2.0 * MARGIN_M) == (kind == 3) {
                    break chain.base_from_tip(&goal_q);
                }
            },
        };
        for tick in 0..ticks_per_goal {
            let step = tracker.step(&q, &goal);
            report.ticks += 1;
            report.conflicts += usize::from(step.conflict);
            report.broken_limits += usize::from(!common::keeps_limits(&chain, &config, &q, &before, &step));
            q = step.q_next;
            before.copy_from_slice(&step.qd);
            let distance_m = clearance_m(&model, &q);
            report.smallest_m = report.smallest_m.min(distance_m);
            if tick % 10 == 0 || distance_m < 0.5 * MARGIN_M {
                let judged_m = judge.smallest(&q, &obstacles);
                assert!((judged_m - distance_m).abs() < 1e-6, "{judged_m} m against {distance_m} m at {q:?}");
                report.judged_m = report.judged_m.min(judged_m);
            }
        }
        report.colliding += usize::from(kind != 3);
    }
    report
}

fn keeps_apart(report: &Drive) {
    assert!(report.smallest_m > 0.0 && report.judged_m > 0.0, "{report:?}");
    assert_eq!(report.broken_limits, 0, "{report:?}");
}

#[test]
fn nothing_touches_on_the_way_to_goals_that_would_collide() {
    for (robot, home) in [(ARM7, ARM7_HOME_RAD), (PANDA, PANDA_HOME_RAD)] {
        for dt_s in [1.0 / 240.0, 1.0 / 60.0] {
            let config = TrackerConfig { dt_s, ..TrackerConfig::default() };
            let report = drive(&robot, &home, config, 30, 11);
            keeps_apart(&report);
            assert!(report.conflicts * 100 < report.ticks, "{report:?}");
        }
    }
}

/// `cargo test --release -p reflexarc-kinematics --test collision -- --ignored --nocapture` prints the table.
#[test]
#[ignore = "some minutes: 10,000 goals for each robot and tick"]
fn nothing_touches_on_the_way_to_ten_thousand_goals_that_would_collide() {
    for (robot, home) in [(ARM7, ARM7_HOME_RAD), (PANDA, PANDA_HOME_RAD)] {
        let report = drive(&robot, &home, TrackerConfig::default(), 10_000, 12);
        println!("{} at 240 Hz: {report:?}", robot.name);
        keeps_apart(&report);
    }
}

/// Configurations that touch nothing.
fn free_configuration(random: &mut Random, robot: &Robot, model: &CollisionModel) -> Vec<f64> {
    loop {
        let q = random.configuration(&robot.chain());
        if clearance_m(model, &q) > 2.0 * MARGIN_M {
            return q;
        }
    }
}

/// A tracker is no planner: this only says what it does with poses anywhere, from anywhere.
#[test]
#[ignore = "a table, not a check"]
fn arrival_at_free_goals_anywhere() {
    for (robot, home) in [(ARM7, ARM7_HOME_RAD), (PANDA, PANDA_HOME_RAD)] {
        let chain = robot.chain();
        let (mut careful, model, _) = scene(&robot, &home, TrackerConfig::default());
        let mut plain = Tracker::new(chain.clone(), TrackerConfig::default(), &home);
        let mut random = Random(31);
        let (mut with, mut without, mut unharmed) = (0, 0, 0);
        for _ in 0..400 {
            let start = free_configuration(&mut random, &robot, &model);
            let goal = chain.base_from_tip(&free_configuration(&mut random, &robot, &model));
            with += u32::from(arrives(&mut careful, &start, &goal));
            let (there, nearest_m) = arrives_past(&mut plain, &start, &goal, Some(&model));
            without += u32::from(there);
            unharmed += u32::from(there && nearest_m > 0.0);
        }
        println!(
            "{}: of 400 goals {with} reached with avoidance; {without} without, {unharmed} of them touching nothing",
            robot.name
        );
    }
}

/// Starts, and goals near by with nothing between.
fn open_ways(
    robot: &Robot,
    model: &CollisionModel,
    count: usize,
    seed: u64,
) -> Vec<(Vec<f64>, Isometry3<f64>)> {
    let chain = robot.chain();
    let mut random = Random(seed);
    let mut ways = Vec::new();
    while ways.len() < count {
        let start = random.configuration(&chain);
        let end: Vec<f64> = start.iter().map(|q| q + random.between(-0.3, 0.3)).collect();
        let end = chain.clamp(&end);
        let open = (0..=10).all(|part| {
            let share = f64::from(part) / 10.0;
            let q: Vec<f64> = start.iter().zip(end.iter()).map(|(a, b)| a + share * (b - a)).collect();
            clearance_m(model, &q) > 0.01
        });
        if open {
            ways.push((start, chain.base_from_tip(&end)));
        }
    }
    ways
}

/// Whether the tracker gets from rest at `start` to `goal` in eight seconds, to 1 mm and 0.01 rad.
fn arrives(tracker: &mut Tracker, start: &[f64], goal: &Isometry3<f64>) -> bool {
    arrives_past(tracker, start, goal, None).0
}

/// The same, and the smallest distance of a model's shapes on the way, m.
fn arrives_past(
    tracker: &mut Tracker,
    start: &[f64],
    goal: &Isometry3<f64>,
    model: Option<&CollisionModel>,
) -> (bool, f64) {
    tracker.reset(start);
    let mut step = tracker.step(start, goal);
    let mut nearest_m = f64::INFINITY;
    for _ in 0..1920 {
        step = tracker.step(&step.q_next, goal);
        if let Some(model) = model {
            nearest_m = nearest_m.min(clearance_m(model, &step.q_next));
        }
    }
    (step.position_error_m < 1e-3 && step.rotation_error_rad < 1e-2, nearest_m)
}

#[test]
fn goals_with_an_open_way_are_reached_as_without_avoidance() {
    for (robot, home) in [(ARM7, ARM7_HOME_RAD), (PANDA, PANDA_HOME_RAD)] {
        let (mut careful, model, _) = scene(&robot, &home, TrackerConfig::default());
        let mut plain = Tracker::new(robot.chain(), TrackerConfig::default(), &home);
        let (mut with, mut without) = (0, 0);
        let ways = open_ways(&robot, &model, 120, 5);
        for (start, goal) in &ways {
            careful.reset(start);
            plain.reset(start);
            careful.set_posture(start);
            plain.set_posture(start);
            with += usize::from(arrives(&mut careful, start, goal));
            without += usize::from(arrives(&mut plain, start, goal));
        }
        println!("{}: {with} of {} arrive, {without} without avoidance", robot.name, ways.len());
        assert!(
            with * 100 >= without * 97 && with * 2 > ways.len(),
            "{with} and {without} of {}",
            ways.len()
        );
    }
}

#[test]
fn an_arm_that_starts_too_close_is_pushed_out() {
    let config = TrackerConfig::default();
    let chain = ARM7.chain();
    let mut model = model(&ARM7, &ARM7_HOME_RAD);
    let tool = chain.base_from_tip(&ARM7_HOME_RAD).translation.vector;
    // A ball that touches a finger, found only when the arm is already there.
    let mut base_from_ball = pose([tool.x + 0.064, tool.y, tool.z], [0.0; 3]);
    let ball = Obstacle {
        name: "ball".to_owned(),
        shape: Shape::Sphere { radius_m: 0.05 },
        base_from_obstacle: base_from_ball,
    };
    let id = model.add_obstacle(ball).unwrap();
    assert!((0.0..0.005).contains(&clearance_m(&model, &ARM7_HOME_RAD)));
    let closest = model.distance(&ARM7_HOME_RAD).unwrap();
    assert_eq!(closest.clearance.a, Part::Obstacle(id));
    assert_eq!(model.name(closest.clearance.a), "ball");
    assert!(model.name(closest.clearance.b).ends_with("finger"), "{}", model.name(closest.clearance.b));
    let apart_m = (closest.point_a_m - closest.point_b_m).norm();
    assert!((apart_m - closest.clearance.distance_m).abs() < 1e-9);

    // Even from a centimetre inside, while the target pulls the other way.
    base_from_ball.translation.x -= 0.015;
    model.move_obstacle(id, &base_from_ball).unwrap();
    assert!(clearance_m(&model, &ARM7_HOME_RAD) < -0.005);
    let mut tracker = Tracker::new(chain.clone(), config, &ARM7_HOME_RAD);
    tracker.set_collision(Some(model)).unwrap();
    let mut q = chain.clamp(&ARM7_HOME_RAD);
    tracker.reset(&q);
    let mut before = vec![0.0; 7];
    let goal = Isometry3::from_parts(
        Translation3::from(tool + Vector3::new(0.2, 0.0, 0.0)),
        chain.base_from_tip(&q).rotation,
    );
    let mut last_m = f64::NEG_INFINITY;
    for _ in 0..480 {
        let step = tracker.step(&q, &goal);
        assert!(common::keeps_limits(&chain, &config, &q, &before, &step));
        let seen = step.clearance.unwrap();
        assert!(seen.distance_m > last_m - 1e-5 || seen.distance_m > 0.0045, "{seen:?} after {last_m} m");
        last_m = seen.distance_m;
        before.copy_from_slice(&step.qd);
        q = step.q_next;
    }
    assert!(clearance_m(tracker.collision().unwrap(), &q) > 0.0045);
    // Without the ball the way is free.
    assert!(tracker.collision_mut().unwrap().remove_obstacle(id));
    for _ in 0..960 {
        q = tracker.step(&q, &goal).q_next;
    }
    assert!((chain.base_from_tip(&q).translation.vector - goal.translation.vector).norm() < 1e-3);
}

#[test]
fn a_model_tells_what_it_holds_and_what_it_leaves_out() {
    let arm7 = model(&ARM7, &ARM7_HOME_RAD);
    // Nothing of this arm touches at home; the two fingers move with one another.
    assert_eq!(arm7.ignored(), []);
    assert!(clearance_m(&arm7, &ARM7_HOME_RAD) > 0.01);
    assert_eq!(arm7.size().0, 27);
    // The maker's capsules of links 1 and 3 overlap at the shoulder; the balls at cylinder ends are inside them.
    let panda = model(&PANDA, &PANDA_HOME_RAD);
    let ignored: Vec<_> =
        panda.ignored().iter().map(|pair| (pair.link_a.as_str(), pair.link_b.as_str())).collect();
    assert_eq!(ignored, [("panda_link1", "panda_link3")]);
    assert_eq!(panda.size().0, 17);
    // Fingers held open are further apart than closed ones.
    let options =
        |held| CollisionOptions { held, reference_q: &PANDA_HOME_RAD, ..CollisionOptions::default() };
    let open = [("panda_finger_joint1", 0.04)];
    let mut open = CollisionModel::from_urdf(PANDA.urdf, &PANDA.chain(), &options(&open)).unwrap();
    let mut closed = panda;
    let tool = PANDA.chain().base_from_tip(&PANDA_HOME_RAD);
    let ball = Obstacle {
        name: "ball".to_owned(),
        shape: Shape::Sphere { radius_m: 0.005 },
        base_from_obstacle: tool,
    };
    open.add_obstacle(ball.clone()).unwrap();
    closed.add_obstacle(ball).unwrap();
    let (open_m, closed_m) = (clearance_m(&open, &PANDA_HOME_RAD), clearance_m(&closed, &PANDA_HOME_RAD));
    // The second finger mimics the first.
    assert!(open_m > 0.015 && closed_m < 0.005, "{open_m} m open, {closed_m} m closed");
    // Pairs that are named are left out.
    let ignore = [("link5", "link7")];
    let options =
        CollisionOptions { ignore: &ignore, reference_q: &ARM7_HOME_RAD, ..CollisionOptions::default() };
    let without = CollisionModel::from_urdf(ARM7.urdf, &ARM7.chain(), &options).unwrap();
    assert!(without.size().1 < arm7.size().1);
    assert!(clearance_m(&without, &ARM7_HOME_RAD) > clearance_m(&arm7, &ARM7_HOME_RAD));
    assert_eq!(arm7.distance(&[f64::NAN; 7]), None);
}

#[test]
fn faults_are_named() {
    let chain = ARM7.chain();
    let build = |urdf: &str, options: &CollisionOptions<'_>| CollisionModel::from_urdf(urdf, &chain, options);
    let plain = CollisionOptions::default();
    let says = |error: CollisionError, words: &[&str]| {
        let text = error.to_string();
        assert!(words.iter().all(|word| text.contains(word)), "{text}");
    };

    let error = CollisionModel::from_urdf(SO101.urdf, &SO101.chain(), &plain).unwrap_err();
    assert!(matches!(error, CollisionError::Mesh { .. }), "{error}");
    says(error, &["base_link", ".stl"]);
    let skip = CollisionOptions { skip_meshes: true, ..plain };
    let skipped = CollisionModel::from_urdf(SO101.urdf, &SO101.chain(), &skip).unwrap();
    assert!(skipped.skipped_meshes().len() > 10 && skipped.size() == (0, 0));
    assert!(skipped.skipped_meshes()[0].starts_with("base_link: "));
    assert_eq!(skipped.distance(&[0.0; 5]), None);

    let flat = ARM7.urdf.replace("<sphere radius=\"0.066\"/>", "<sphere radius=\"-1\"/>");
    says(build(&flat, &plain).unwrap_err(), &["sphere", "link1"]);
    says(build(ARM7.urdf, &CollisionOptions { margin_m: 0.0, ..plain }).unwrap_err(), &["margin_m is 0"]);
    let far = [f64::INFINITY];
    says(
        build(ARM7.urdf, &CollisionOptions { reference_q: &far, ..plain }).unwrap_err(),
        &["reference_q is inf"],
    );
    let held = [("joint3", 0.0)];
    says(build(ARM7.urdf, &CollisionOptions { held: &held, ..plain }).unwrap_err(), &["`joint3`", "hold"]);
    let ignore = [("link1", "arm")];
    says(
        build(ARM7.urdf, &CollisionOptions { ignore: &ignore, ..plain }).unwrap_err(),
        &["link `arm`", "ignore"],
    );
    says(build("<robot", &plain).unwrap_err(), &["URDF"]);

    let mut model = model(&ARM7, &ARM7_HOME_RAD);
    let ball = |radius_m: f64, x_m: f64| Obstacle {
        name: "ball".to_owned(),
        shape: Shape::Sphere { radius_m },
        base_from_obstacle: Isometry3::translation(x_m, 0.0, 0.0),
    };
    for (radius_m, x_m) in [(0.0, 1.0), (f64::NAN, 1.0), (0.1, f64::INFINITY)] {
        says(model.add_obstacle(ball(radius_m, x_m)).unwrap_err(), &["ball"]);
    }
    let first = model.add_obstacle(ball(0.1, 2.0)).unwrap();
    for _ in 1..MAX_OBSTACLES {
        model.add_obstacle(ball(0.1, 2.0)).unwrap();
    }
    says(model.add_obstacle(ball(0.1, 2.0)).unwrap_err(), &["16 obstacles"]);
    assert!(model.remove_obstacle(first) && !model.remove_obstacle(first));
    assert!(model.move_obstacle(first, &Isometry3::identity()).is_err());
    assert!(model.add_obstacle(ball(0.1, 2.0)).is_ok());

    let mut tracker = Tracker::new(PANDA.chain(), TrackerConfig::default(), &PANDA_HOME_RAD);
    says(tracker.set_collision(Some(model)).unwrap_err(), &["joint1, joint2", "panda_joint1"]);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, failure_persistence: None, rng_seed: RngSeed::Fixed(7), ..ProptestConfig::default() })]

    #[test]
    fn any_input_gives_a_finite_step_within_the_limits(
        start: u64,
        goals in prop::collection::vec((prop::array::uniform7(prop::num::f64::ANY), 1_usize..60), 1..6),
        obstacle in prop::array::uniform3(-0.8_f64..0.8),
        dt_s in prop::sample::select(vec![0.001, 1.0 / 240.0, 1.0 / 60.0]),
    ) {
        let chain = ARM7.chain();
        let config = TrackerConfig { dt_s, ..TrackerConfig::default() };
        let (mut tracker, ..) = scene(&ARM7, &ARM7_HOME_RAD, config);
        let [x, y, z] = obstacle;
        let block = Obstacle {
            name: "block".to_owned(),
            shape: Shape::Box { half_extents_m: [0.2, 0.1, 0.3] },
            base_from_obstacle: Isometry3::translation(x, y, z),
        };
        tracker.collision_mut().unwrap().add_obstacle(block).unwrap();
        // Wherever that is: in the block or the table, or the arm in itself.
        let mut q = chain.clamp(&Random(start).configuration(&chain));
        tracker.reset(&q);
        let mut before = vec![0.0; 7];
        for (numbers, ticks) in goals {
            let [x, y, z, i, j, k, w] = numbers;
            let turn = UnitQuaternion::new_unchecked(nalgebra::Quaternion::new(w, i, j, k));
            let goal = Isometry3::from_parts(Translation3::new(x, y, z), turn);
            for _ in 0..ticks {
                let step = tracker.step(&q, &goal);
                prop_assert!(common::keeps_limits(&chain, &config, &q, &before, &step));
                q = step.q_next;
                before.copy_from_slice(&step.qd);
            }
        }
    }
}
