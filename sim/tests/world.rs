//! The simulated world: scenes, physics at rest, determinism, and the node's manners.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests fail by panicking")]

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use reflexarc_drivers::msg::{Header, Image, JointState, JointTrajectory, JointTrajectoryPoint};
use reflexarc_drivers::topic::Topics;
use reflexarc_drivers::{Bus, Clock, Link, Subscription};
use reflexarc_kinematics::{ARM7_HOME_RAD, ARM7_URDF};
use reflexarc_sim::node::{COMMAND_AGE_LIMIT_NS, JOINT_NAMES};
use reflexarc_sim::scene::OBJECT_AREA_M;
use reflexarc_sim::world::PHYSICS_HZ;
use reflexarc_sim::{Scene, SimNode, World};

const TICK_NS: u64 = 1_000_000_000 / 240;

fn world(seed: u64) -> World {
    World::new(Scene::pick(seed), ARM7_URDF, &ARM7_HOME_RAD, 0.08, 4).unwrap()
}

#[test]
fn every_scene_has_the_distractors_that_make_the_words_matter() {
    for seed in 0..300 {
        let scene = Scene::pick(seed);
        let target = scene.target();
        let others: Vec<_> = scene.objects.iter().skip(1).collect();
        assert!(others.iter().any(|o| o.kind() == target.kind() && o.paint != target.paint), "seed {seed}");
        assert!(others.iter().any(|o| o.kind() != target.kind() && o.paint == target.paint), "seed {seed}");
        for (i, a) in scene.objects.iter().enumerate() {
            for (axis, [low, high]) in OBJECT_AREA_M.iter().enumerate() {
                assert!((*low..=*high).contains(&f64::from(a.position_m[axis])), "seed {seed}");
            }
            assert!(
                scene.objects[..i].iter().all(|b| (a.kind(), a.paint) != (b.kind(), b.paint)),
                "seed {seed}"
            );
        }
    }
}

#[test]
fn objects_rest_where_they_were_put() {
    for seed in 0..6 {
        let mut world = world(seed);
        for _ in 0..PHYSICS_HZ {
            world.step();
        }
        for i in 0..world.object_count() {
            let (state, placed) = (world.object(i), world.placed(i));
            let moved = (state.position_m[0] - f64::from(placed.position_m[0]))
                .hypot(state.position_m[1] - f64::from(placed.position_m[1]));
            assert!(moved < 0.002 && state.tilt_rad < 0.02, "seed {seed}, object {i}: {state:?}");
        }
        let (q, _) = world.joints();
        assert!(q.iter().zip(&ARM7_HOME_RAD).all(|(a, b)| (a - b).abs() < 1e-3), "the arm sagged: {q:?}");
    }
}

#[test]
fn the_same_seed_gives_the_same_digest_and_another_seed_another() {
    let run = |seed| {
        let mut world = world(seed);
        let mut q = ARM7_HOME_RAD;
        for step in 0..400 {
            q[1] += 0.0005;
            world.command(&q, &[0.0; 7], 0.08 - f64::from(step) * 1e-4, 10.0);
            world.step();
        }
        world.digest()
    };
    assert_eq!(run(3), run(3));
    assert_ne!(run(3), run(4));
}

struct Bench {
    node: SimNode,
    link: Link,
    topics: Topics,
    clock: Clock,
    images: Subscription<Image>,
    joints: Subscription<JointState>,
    now_ns: u64,
}

fn bench() -> Bench {
    let (bus, clock, topics) = (Bus::new(), Clock::manual(1_000_000_000), Topics::new(""));
    let link = Link::in_process(&bus, clock.clone());
    let node = SimNode::new(world(1), &Link::in_process(&bus, clock.clone()), &topics).unwrap();
    let images = link.subscribe(&topics.camera("scene")).unwrap();
    let joints = link.subscribe(&topics.joint_states).unwrap();
    Bench { node, link, topics, clock, images, joints, now_ns: 1_000_000_000 }
}

impl Bench {
    fn tick(&mut self) {
        self.clock.set_ns(self.now_ns);
        self.node.publish(self.now_ns).unwrap();
        self.node.advance(self.now_ns);
        self.now_ns += TICK_NS;
    }

    fn command(&self, position: f64, stamp_ns: u64) -> JointTrajectory {
        let mut positions: Vec<f64> = ARM7_HOME_RAD.to_vec();
        positions[0] = position;
        positions.push(0.08);
        JointTrajectory {
            header: Header::new(stamp_ns, "base"),
            joint_names: JOINT_NAMES.iter().map(|n| (*n).to_owned()).collect(),
            points: vec![JointTrajectoryPoint {
                positions,
                velocities: vec![0.0; 8],
                effort: vec![0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 10.0],
                ..JointTrajectoryPoint::default()
            }],
        }
    }
}

#[test]
fn sensors_come_at_their_rates() {
    let mut bench = bench();
    for _ in 0..240 {
        bench.tick();
    }
    assert_eq!(bench.images.stats().received, 60);
    assert_eq!(bench.joints.stats().received, 240);
    let image = bench.images.latest().unwrap();
    assert_eq!((image.value.width, image.value.height, image.value.encoding.as_str()), (96, 96, "rgb8"));
}

#[test]
fn late_and_malformed_commands_do_not_move_the_arm() {
    let mut bench = bench();
    let commands = bench.link.publisher(&bench.topics.joint_command).unwrap();
    bench.tick();
    commands.put(&bench.command(0.02, bench.now_ns)).unwrap();
    bench.tick();
    assert_eq!(bench.node.actuator_stats().obeyed, 1);

    let late = bench.command(0.5, bench.now_ns - COMMAND_AGE_LIMIT_NS - 1);
    commands.put(&late).unwrap();
    bench.tick();
    commands.put(&bench.command(f64::NAN, bench.now_ns)).unwrap();
    bench.tick();
    let mut misnamed = bench.command(0.5, bench.now_ns);
    misnamed.joint_names.swap(0, 1);
    commands.put(&misnamed).unwrap();
    for _ in 0..240 {
        bench.tick();
    }
    let stats = bench.node.actuator_stats();
    assert_eq!((stats.obeyed, stats.refused_late, stats.refused_malformed), (1, 1, 2));
    let (q, _) = bench.node.world().joints();
    assert!((q[0] - 0.02).abs() < 2e-3, "the last good command holds: {q:?}");
}

/// The first joint to and fro between its limits of speed, with the jumps that lost commands leave: the arm itself keeps
/// the limit, and is back on its way soon after.
#[test]
fn lost_commands_are_made_up_for_within_the_speed_limit() {
    const LIMIT_RAD_S: f64 = 2.175;
    const ACCELERATION_RAD_S2: f64 = 10.0;
    for seed in 0..8 {
        let mut bench = bench();
        let commands = bench.link.publisher(&bench.topics.joint_command).unwrap();
        bench.node.set_camera_hz(1);
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let (mut q, mut qd, mut way) = (0.0_f64, 0.0_f64, 1.0);
        let (mut lost_ticks, mut since_lost, mut fastest_rad_s) = (0, 0, 0.0_f64);
        for _ in 0..960 {
            if q * way > 0.8 {
                way = -way;
            }
            let change = ACCELERATION_RAD_S2 / 240.0;
            qd += (way * LIMIT_RAD_S - qd).clamp(-change, change);
            q += qd / 240.0;
            if lost_ticks > 0 {
                (lost_ticks, since_lost) = (lost_ticks - 1, 0);
            } else {
                let mut command = bench.command(q, bench.now_ns);
                command.points[0].velocities[0] = qd;
                commands.put(&command).unwrap();
                since_lost += 1;
                if rng.random_bool(0.01) {
                    lost_ticks = rng.random_range(1..40);
                }
            }
            bench.tick();
            let (q_now, qd_now) = bench.node.world().joints();
            fastest_rad_s = fastest_rad_s.max(qd_now[0].abs());
            assert!(since_lost < 240 || (q_now[0] - q).abs() < 0.02, "seed {seed}: {} and not {q}", q_now[0]);
        }
        let share = fastest_rad_s / LIMIT_RAD_S;
        assert!((0.9..1.03).contains(&share), "seed {seed}: {share:.3} of the limit");
    }
}

#[test]
fn a_joint_without_a_velocity_limit_is_refused() {
    let urdf = ARM7_URDF.replacen(r#"velocity="2.175""#, r#"velocity="0""#, 1);
    let error = World::new(Scene::pick(0), &urdf, &ARM7_HOME_RAD, 0.08, 4).err().unwrap().to_string();
    assert!(error.contains("joint1") && error.contains("velocity limit of 0 rad/s"), "{error}");
}

#[test]
fn a_command_grows_too_old_by_itself() {
    let mut bench = bench();
    let commands = bench.link.publisher(&bench.topics.joint_command).unwrap();
    commands.put(&bench.command(0.02, bench.now_ns)).unwrap();
    for _ in 0..60 {
        bench.tick();
    }
    let stats = bench.node.actuator_stats();
    assert!(stats.refused_late >= 30, "{stats:?}");
}
