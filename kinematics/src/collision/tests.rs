#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

use nalgebra::{Translation3, UnitQuaternion};

use super::*;
use crate::joints::MAX_DOF;
use crate::{ARM7_HOME_RAD, ARM7_URDF};

/// Some positions within the limits, the same for the same `round`.
fn some_q(chain: &Chain, round: u32) -> Vec<f64> {
    (0..chain.dof())
        .map(|i| {
            let limits = chain.limits()[i];
            let unit = 0.5 + 0.5 * (f64::from(round) * 1.7 + i as f64 * 2.3 + 0.1).sin();
            limits.lower_rad + unit * (limits.upper_rad - limits.lower_rad)
        })
        .collect()
}

/// Distance and gradient of one pair as the tracker's row has it.
fn row(found: &Contact, frames: &JointFrames, joints: std::ops::Range<usize>) -> [f64; MAX_DOF] {
    let (lowest, highest) = ([-1.0; MAX_DOF], [1.0; MAX_DOF]);
    let mut dampers = Dampers::new(1e-6, &lowest, &highest);
    let clearance = Clearance { distance_m: found.distance, a: Part::Link(0), b: Part::Link(1) };
    dampers.add(found, clearance, 0.0, frames, joints);
    dampers.rows().first().map_or([0.0; MAX_DOF], |row| row.a)
}

#[test]
fn gradients_of_distances_agree_with_differences() {
    const STEP_RAD: f64 = 1e-6;
    let chain = Chain::from_urdf(ARM7_URDF, "base", "tool").unwrap();
    let options = CollisionOptions { reference_q: &ARM7_HOME_RAD, ..CollisionOptions::default() };
    let mut model = CollisionModel::from_urdf(ARM7_URDF, &chain, &options).unwrap();
    let turned = UnitQuaternion::from_euler_angles(0.3, -0.8, 0.2);
    for (shape, x_m) in [
        (Shape::Sphere { radius_m: 0.1 }, 0.4),
        (Shape::Box { half_extents_m: [0.1, 0.2, 0.05] }, 0.5),
        (Shape::Capsule { half_length_m: 0.2, radius_m: 0.05 }, -0.4),
        (Shape::HalfSpace, -0.2),
    ] {
        let base_from_obstacle = Isometry3::from_parts(Translation3::new(x_m, 0.3, 0.3), turned);
        let name = String::new();
        model.add_obstacle(Obstacle { name, shape, base_from_obstacle }).unwrap();
    }
    let (mut compared, mut kinks) = (0, 0);
    let mut compare = |q: &[f64], joints: std::ops::Range<usize>, at: &dyn Fn(&JointFrames) -> Contact| {
        let frames = chain.joint_frames(q);
        let found = at(&frames);
        let gradient = row(&found, &frames, joints);
        for i in 0..chain.dof() {
            let moved = |by: f64| {
                let mut q = q.to_vec();
                q[i] += by;
                at(&chain.joint_frames(&q)).distance
            };
            let (forward, backward) = (
                (moved(STEP_RAD) - found.distance) / STEP_RAD,
                (found.distance - moved(-STEP_RAD)) / STEP_RAD,
            );
            // Where the closest points jump from one corner to another the distance has a kink.
            if (forward - backward).abs() > 1e-4 {
                kinks += 1;
                continue;
            }
            compared += 1;
            let expected = 0.5 * (forward + backward);
            assert!(
                (gradient[i] - expected).abs() < 1e-4,
                "joint {i}: {} instead of {expected} at {} m, {q:?}",
                gradient[i],
                found.distance
            );
        }
    };
    for round in 0..12 {
        let q = some_q(&chain, round);
        for group_pair in &model.group_pairs {
            let (shallow, deep) = (&model.groups[group_pair.shallow], &model.groups[group_pair.deep]);
            for &(a, b) in &group_pair.pairs {
                let (a, b) = (&model.bodies[a], &model.bodies[b]);
                compare(&q, shallow.depth..deep.depth, &|frames| {
                    contact(&a.solid, &a.place(frames, shallow), &b.solid, &b.place(frames, deep))
                });
            }
        }
        for slot in &model.obstacles {
            for group in model.groups.iter().filter(|group| group.depth > 0) {
                for body in &model.bodies[group.bodies.clone()] {
                    compare(&q, 0..group.depth, &|frames| {
                        contact(
                            &slot.solid,
                            &slot.base_from_obstacle,
                            &body.solid,
                            &body.place(frames, group),
                        )
                    });
                }
            }
        }
    }
    assert!(compared > 20_000 && kinks * 50 < compared, "{kinks} kinks, {compared} compared");
}

/// The pruning must not lose a pair: with rows made of all pairs, the same rows are found.
#[test]
fn what_is_passed_over_could_not_have_met() {
    let chain = Chain::from_urdf(ARM7_URDF, "base", "tool").unwrap();
    let options = CollisionOptions { reference_q: &ARM7_HOME_RAD, ..CollisionOptions::default() };
    let model = CollisionModel::from_urdf(ARM7_URDF, &chain, &options).unwrap();
    let mut rows = 0;
    for round in 0..400 {
        let q = some_q(&chain, round);
        let frames = chain.joint_frames(&q);
        let mut lowest = [0.0; MAX_DOF];
        let mut highest = [0.0; MAX_DOF];
        for i in 0..chain.dof() {
            let middle = (f64::from(round) * 0.9 + i as f64 * 1.3).sin();
            (lowest[i], highest[i]) = (middle - 0.1, middle + 0.1);
        }
        let mut pruned = Dampers::new(5.0, &lowest, &highest);
        model.dampers(&frames, &mut pruned);
        let mut all = Dampers::new(5.0, &lowest, &highest);
        for group_pair in &model.group_pairs {
            let (shallow, deep) = (&model.groups[group_pair.shallow], &model.groups[group_pair.deep]);
            for &(a, b) in &group_pair.pairs {
                let (a, b) = (&model.bodies[a], &model.bodies[b]);
                let found = contact(&a.solid, &a.place(&frames, shallow), &b.solid, &b.place(&frames, deep));
                let clearance =
                    Clearance { distance_m: found.distance, a: Part::Link(a.link), b: Part::Link(b.link) };
                all.add(&found, clearance, model.margin_m, &frames, shallow.depth..deep.depth);
            }
        }
        assert_eq!(pruned.rows().len(), all.rows().len(), "round {round}");
        for (a, b) in pruned.rows().iter().zip(all.rows()) {
            assert_eq!((a.a, a.b), (b.a, b.b));
        }
        rows += all.rows().len();
    }
    assert!(rows > 400, "only {rows} rows");
}
