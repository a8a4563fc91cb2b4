//! Section C: the tracker's tick with collision avoidance, and goals that would collide.

use nalgebra::{Isometry3, Vector3};
use reflexarc_kinematics::collision::{CollisionModel, CollisionOptions, Obstacle, Shape};
use reflexarc_kinematics::track::{Tracker, TrackerConfig};
use reflexarc_kinematics::{ARM7_HOME_RAD, Chain};

use crate::common::judge::{Judge, Solid};
use crate::common::{ARM7, Random, Robot, keeps_limits};
use crate::measure::{Micros, timed};
use crate::table::{Table, Verdicts, figure};
use crate::{Failure, Size};

/// The Panda with capsules for collisions.
const PANDA: Robot = Robot {
    name: "panda",
    urdf: include_str!("../../tests/data/panda_collision.urdf"),
    base: "panda_link0",
    tip: "panda_hand_tcp",
};
const PANDA_HOME_RAD: [f64; 7] = [0.0, -0.785, 0.0, -2.356, 0.0, 1.571, 0.785];
/// How long the arm strives for one goal, ticks.
const TICKS_PER_GOAL: usize = 240;
/// Closer than this every tick is judged, m; else every thirtieth.
const CLOSE_M: f64 = 0.004;

/// A ball, a box and a table within reach.
fn surroundings() -> [(Shape, Solid, Isometry3<f64>); 3] {
    let half_extents_m = [0.06, 0.12, 0.15];
    [
        (
            Shape::Sphere { radius_m: 0.09 },
            Solid::Round { half: 0.0, radius: 0.09 },
            Isometry3::translation(0.45, 0.35, 0.45),
        ),
        (
            Shape::Box { half_extents_m },
            Solid::Box { half: Vector3::from(half_extents_m) },
            Isometry3::translation(0.45, -0.35, 0.2),
        ),
        (Shape::HalfSpace, Solid::Below, Isometry3::translation(0.0, 0.0, -0.12)),
    ]
}

/// An arm among its own links and, if asked for, things in its way.
struct Place {
    robot: Robot,
    chain: Chain,
    home: [f64; 7],
    model: CollisionModel,
    judge: Judge,
    obstacles: Vec<(Solid, Isometry3<f64>)>,
}

impl Place {
    fn new(robot: Robot, home: [f64; 7], crowded: bool) -> Result<Self, Failure> {
        let chain = robot.chain();
        let options = CollisionOptions { reference_q: &home, ..CollisionOptions::default() };
        let mut model = CollisionModel::from_urdf(robot.urdf, &chain, &options)?;
        let mut obstacles = Vec::new();
        for (shape, solid, base_from_obstacle) in surroundings().into_iter().filter(|_| crowded) {
            model.add_obstacle(Obstacle { name: "obstacle".to_owned(), shape, base_from_obstacle })?;
            obstacles.push((solid, base_from_obstacle));
        }
        let judge = Judge::new(&robot, &home, model.margin_m());
        Ok(Self { robot, chain, home, model, judge, obstacles })
    }
}

/// What was seen while an arm strove for goals that collide.
struct Seen {
    goals: usize,
    micros: Vec<f64>,
    /// Ticks that end with shapes inside each other.
    penetrating: usize,
    broken_limits: usize,
    /// The smallest distance by the model in every tick, and by the judge where it looked, m.
    smallest_m: f64,
    judged_m: f64,
}

/// Drives the arm from one colliding goal to the next.
fn drive(place: &Place, goals: usize, avoid: bool) -> Result<Seen, Failure> {
    let config = TrackerConfig::default();
    let mut tracker = Tracker::new(place.chain.clone(), config, &place.home);
    if avoid {
        tracker.set_collision(Some(place.model.clone()))?;
    }
    let mut random = Random(17);
    let mut q = place.chain.clamp(&place.home);
    tracker.reset(&q);
    let mut before = vec![0.0; place.chain.dof()];
    let mut seen = Seen {
        goals: 0,
        micros: Vec::with_capacity(goals * TICKS_PER_GOAL),
        penetrating: 0,
        broken_limits: 0,
        smallest_m: f64::INFINITY,
        judged_m: f64::INFINITY,
    };
    while seen.goals < goals {
        let goal_q = random.configuration(&place.chain);
        if place.judge.smallest(&goal_q, &place.obstacles) >= 0.0 {
            continue;
        }
        seen.goals += 1;
        let goal = place.chain.base_from_tip(&goal_q);
        for tick in 0..TICKS_PER_GOAL {
            let (step, took) = timed(|| tracker.step(&q, &goal));
            seen.micros.push(took);
            seen.broken_limits += usize::from(!keeps_limits(&place.chain, &config, &q, &before, &step));
            q = step.q_next;
            before.copy_from_slice(&step.qd);
            let distance_m = place.model.distance(&q).map_or(f64::NAN, |pair| pair.clearance.distance_m);
            seen.smallest_m = seen.smallest_m.min(distance_m);
            let mut inside = distance_m.is_nan() || distance_m < 0.0;
            if avoid && (distance_m < CLOSE_M || tick % 30 == 0) {
                let judged_m = place.judge.smallest(&q, &place.obstacles);
                seen.judged_m = seen.judged_m.min(judged_m);
                inside |= judged_m < 0.0;
            }
            seen.penetrating += usize::from(inside);
        }
    }
    Ok(seen)
}

/// Prints the section.
pub(crate) fn report(size: &Size, verdicts: &mut Verdicts) -> Result<(), Failure> {
    println!("\nC. The same tick with collision avoidance, 240 Hz, and goals that would collide");
    println!(
        "   goals: poses of random configurations in which shapes overlap, {TICKS_PER_GOAL} ticks each; distances by \
         the model in every tick,\n   and by a judge that shares no code with it in every thirtieth and all closer \
         than {:.0} mm\n",
        CLOSE_M * 1e3
    );
    let mut table = Table::new(&[
        "robot",
        "around it",
        "goals",
        "ticks",
        "mean µs",
        "p50",
        "p99",
        "inside",
        "limits broken",
        "least mm",
        "judged mm",
        "without avoidance",
    ]);
    let (mut goals, mut penetrating, mut broken) = (0, 0, 0);
    for (robot, home) in [(ARM7, ARM7_HOME_RAD), (PANDA, PANDA_HOME_RAD)] {
        for crowded in [false, true] {
            let place = Place::new(robot, home, crowded)?;
            let seen = drive(&place, size.colliding_goals.div_ceil(4), true)?;
            let without = drive(&place, seen.goals.div_ceil(20), false)?;
            let (micros, plain) = (Micros::of(&seen.micros), Micros::of(&without.micros));
            let (bodies, pairs) = place.model.size();
            goals += seen.goals;
            penetrating += seen.penetrating;
            broken += seen.broken_limits;
            table.row([
                format!("{}, {bodies} shapes, {pairs} pairs", place.robot.name),
                if crowded { "ball, box, table".to_owned() } else { "nothing".to_owned() },
                seen.goals.to_string(),
                seen.micros.len().to_string(),
                figure(micros.mean),
                figure(micros.p50),
                figure(micros.p99),
                seen.penetrating.to_string(),
                seen.broken_limits.to_string(),
                figure(seen.smallest_m * 1e3),
                figure(seen.judged_m * 1e3),
                format!(
                    "{} µs a tick, inside in {:.0} % of {} ticks",
                    figure(plain.mean),
                    100.0 * without.penetrating as f64 / without.micros.len().max(1) as f64,
                    without.micros.len()
                ),
            ]);
        }
    }
    table.print();
    println!();
    verdicts.say(
        Some(penetrating == 0 && broken == 0),
        format!(
            "{penetrating} ticks with penetration and {broken} broken limits over {goals} goals that collide, expected 0"
        ),
    );
    Ok(())
}
