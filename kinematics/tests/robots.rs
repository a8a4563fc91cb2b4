//! The project's own arms: where home is, what the grippers do, and that nothing touches at home.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests fail by panicking")]

use std::collections::BTreeMap;

use nalgebra::{Isometry3, Point3, Translation3, UnitQuaternion, Vector3};
use reflexarc_kinematics::{ARM5_HOME_RAD, ARM5_URDF, ARM7_HOME_RAD, ARM7_URDF, Chain};
use urdf_rs::Geometry;

#[test]
fn arm7_home_points_straight_down_with_fingers_along_y() {
    let chain = Chain::from_urdf(ARM7_URDF, "base", "tool").unwrap();
    let tool = chain.base_from_tip(&ARM7_HOME_RAD);
    let half_turn = UnitQuaternion::from_axis_angle(&Vector3::x_axis(), std::f64::consts::PI);
    assert!(tool.rotation.angle_to(&half_turn) < 1e-3, "{}", tool.rotation);
    let p = tool.translation;
    assert!(p.z > 0.3 && p.x > 0.36 && p.x < 0.66 && p.y.abs() < 1e-3, "{p}");
    assert!(chain.limits().iter().zip(ARM7_HOME_RAD).all(|(limits, q)| limits.contains(q, 0.0)));
}

#[test]
fn arm5_home_points_straight_down_in_front_of_the_base() {
    let chain = Chain::from_urdf(ARM5_URDF, "base", "tool").unwrap();
    let tool = chain.base_from_tip(&ARM5_HOME_RAD);
    assert!((tool.rotation * Vector3::z() + Vector3::z()).norm() < 1e-3, "{}", tool.rotation);
    let p = tool.translation;
    assert!(p.z > 0.05 && p.x > 0.18 && p.x < 0.25 && p.y.abs() < 1e-3, "{p}");
    // Room on both sides of every joint.
    assert!(chain.limits().iter().zip(ARM5_HOME_RAD).all(|(limits, q)| limits.contains(q, -0.15)));
}

#[test]
fn arm7_fingers_slide_apart_along_y_of_the_tool() {
    let finger = Chain::from_urdf(ARM7_URDF, "hand", "left_finger").unwrap();
    let open = finger.base_from_tip(&[0.04]).translation.vector;
    assert!((open - Vector3::new(0.0, 0.04, 0.0584)).norm() < 1e-12);
    let (_, jacobian) = finger.jacobian(&[0.02]);
    assert_eq!(jacobian.twist(&[0.1])[1], 0.1);
}

#[test]
fn one_finger_seen_from_the_other_moves_twice_as_fast() {
    let chain = Chain::from_urdf(ARM7_URDF, "left_finger", "right_finger").unwrap();
    assert_eq!(chain.joint_names(), ["left_finger_joint"]);
    assert!((chain.base_from_tip(&[0.03]).translation.vector - Vector3::new(0.0, -0.06, 0.0)).norm() < 1e-12);
    assert_eq!(chain.jacobian(&[0.03]).1.twist(&[0.1])[1], -0.2);
}

#[test]
fn arm5_jaw_opens_along_minus_x_of_the_tool() {
    let chain = Chain::from_urdf(ARM5_URDF, "tool", "jaw").unwrap();
    assert_eq!(chain.joint_names(), ["jaw_joint"]);
    // A point near the tip of the jaw, in front of its pivot.
    let tip = |angle: f64| chain.base_from_tip(&[angle]) * Point3::new(0.0, -0.075, 0.0188);
    let motion = tip(0.01) - tip(0.0);
    assert!(motion.x < -5e-4 && motion.y.abs() < 1e-5, "{motion}");
}

/// A point's distance to a shape, negative inside.
fn distance(shape: &Geometry, point: &Point3<f64>) -> f64 {
    match shape {
        Geometry::Box { size } => {
            let beyond = point.coords.abs() - Vector3::from(**size) / 2.0;
            beyond.sup(&Vector3::zeros()).norm() + beyond.max().min(0.0)
        }
        Geometry::Cylinder { radius, length } => {
            let (across, along) = (point.coords.xy().norm() - radius, point.z.abs() - length / 2.0);
            across.max(0.0).hypot(along.max(0.0)) + across.max(along).min(0.0)
        }
        Geometry::Sphere { radius } => point.coords.norm() - radius,
        _ => panic!("the own arms are made of boxes, cylinders and spheres"),
    }
}

/// Points on the surface of a shape, at most 4 mm apart: where a grid around it meets it.
fn surface(shape: &Geometry) -> Vec<Point3<f64>> {
    let half = match shape {
        Geometry::Box { size } => Vector3::from(**size) / 2.0,
        Geometry::Cylinder { radius, length } => Vector3::new(*radius, *radius, length / 2.0),
        Geometry::Sphere { radius } => Vector3::repeat(*radius),
        _ => panic!("the own arms are made of boxes, cylinders and spheres"),
    };
    let counts = half.map(|half| (half / 0.002).ceil());
    let at = |axis: usize, step: usize| half[axis] * (2.0 * step as f64 / counts[axis] - 1.0);
    let steps = |axis: usize| 0..=counts[axis] as usize;
    let mut points = Vec::new();
    for x in steps(0) {
        for y in steps(1) {
            for z in steps(2) {
                let point = Point3::new(at(0, x), at(1, y), at(2, z));
                if distance(shape, &point).abs() < 0.004 {
                    points.push(point);
                }
            }
        }
    }
    points
}

#[test]
fn nothing_touches_at_home() {
    for (urdf, home, ends) in [
        (ARM5_URDF, &ARM5_HOME_RAD[..], vec!["tool", "jaw"]),
        (ARM7_URDF, &ARM7_HOME_RAD[..], vec!["tool", "left_finger", "right_finger"]),
    ] {
        let robot = urdf_rs::read_from_string(urdf).unwrap();
        let mut poses = BTreeMap::new();
        for end in ends {
            let chain = Chain::from_urdf(urdf, "base", end).unwrap();
            // The gripper a little open: closed fingers touch.
            chain.visit_links(&[home, &[0.01]].concat(), |name, pose| {
                poses.insert(name.to_owned(), *pose);
            });
        }
        let shapes: Vec<(&str, Isometry3<f64>, &Geometry)> = robot
            .links
            .iter()
            .flat_map(|link| link.collision.iter().map(|collision| (link.name.as_str(), collision)))
            .map(|(link, collision)| {
                let ([x, y, z], [roll, pitch, yaw]) = (*collision.origin.xyz, *collision.origin.rpy);
                let rotation = UnitQuaternion::from_euler_angles(roll, pitch, yaw);
                let origin = Isometry3::from_parts(Translation3::new(x, y, z), rotation);
                (link, poses[link] * origin, &collision.geometry)
            })
            .collect();
        let joined = |a: &str, b: &str| {
            robot.joints.iter().any(|joint| {
                let (parent, child) = (joint.parent.link.as_str(), joint.child.link.as_str());
                (parent, child) == (a, b) || (parent, child) == (b, a)
            })
        };
        for (a, base_from_a, shape_a) in &shapes {
            for (b, base_from_b, shape_b) in &shapes {
                if a == b || joined(a, b) {
                    continue;
                }
                let b_from_a = base_from_b.inverse() * base_from_a;
                let nearest = surface(shape_a)
                    .iter()
                    .map(|point| distance(shape_b, &(b_from_a * point)))
                    .fold(f64::INFINITY, f64::min);
                assert!(nearest > 0.005, "{a} and {b} are {nearest} m apart");
            }
        }
    }
}
