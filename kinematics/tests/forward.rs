//! Forward kinematics and Jacobians against pinocchio's figures (`tests/data/README.md`).
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests fail by panicking")]

use nalgebra::{Quaternion, UnitQuaternion, Vector3};
use reflexarc_kinematics::{ARM5_URDF, ARM7_HOME_RAD, ARM7_URDF, Chain, Joints};
use serde::Deserialize;

#[derive(Deserialize)]
struct Reference {
    base_link: String,
    tip_link: String,
    joint_names: Vec<String>,
    limits: Limits,
    configs: Vec<Configuration>,
}

#[derive(Deserialize)]
struct Limits {
    /// None for a continuous joint.
    lower: Vec<Option<f64>>,
    upper: Vec<Option<f64>>,
    velocity: Vec<f64>,
    effort: Vec<f64>,
}

#[derive(Deserialize)]
struct Configuration {
    q: Vec<f64>,
    pos: [f64; 3],
    quat: [f64; 4],
    jacobian: Vec<f64>,
}

/// A chain between any two links.
#[derive(Deserialize)]
struct Way {
    urdf: String,
    base_link: String,
    tip_link: String,
    joint_names: Vec<String>,
    configs: Vec<Configuration>,
}

fn reference(robot: &str) -> Reference {
    let text = match robot {
        "panda" => include_str!("data/panda_fk_jac.json"),
        "ur5" => include_str!("data/ur5_fk_jac.json"),
        "so101" => include_str!("data/so101_fk_jac.json"),
        "kinova" => include_str!("data/kinova_fk_jac.json"),
        _ => include_str!("data/pr2_fk_jac.json"),
    };
    serde_json::from_str(text).unwrap()
}

fn urdf(file: &str) -> &'static str {
    match file {
        "panda.urdf" => include_str!("data/panda.urdf"),
        "ur5_robot.urdf" => include_str!("data/ur5_robot.urdf"),
        "so101.urdf" => include_str!("data/so101.urdf"),
        "kinova.urdf" => include_str!("data/kinova.urdf"),
        _ => include_str!("data/pr2.urdf"),
    }
}

fn agrees(chain: &Chain, configs: &[Configuration]) {
    let n = chain.dof();
    for config in configs {
        assert_eq!(config.q.len(), n);
        assert_eq!(config.jacobian.len(), 6 * n);
        let pose = chain.base_from_tip(&config.q);
        let [x, y, z, w] = config.quat;
        let rotation = UnitQuaternion::from_quaternion(Quaternion::new(w, x, y, z));
        let position_error = (pose.translation.vector - Vector3::from(config.pos)).norm();
        assert!(position_error < 1e-9, "{position_error} m at {:?}", config.q);
        // The angle itself loses half its digits near zero in an arc cosine; the vector part does not.
        let turn = pose.rotation.rotation_to(&rotation).vector().norm();
        assert!(turn < 1e-9, "{turn} rad at {:?}", config.q);

        let (same_pose, jacobian) = chain.jacobian(&config.q);
        assert_eq!(nalgebra::convert::<_, nalgebra::Isometry3<f64>>(same_pose), pose);
        for (row, expected) in config.jacobian.chunks(n).enumerate() {
            for (column, expected) in expected.iter().enumerate() {
                let actual = jacobian.columns()[column][row];
                assert!(
                    (actual - expected).abs() < 1e-8,
                    "row {row} column {column}: {actual}, expected {expected}"
                );
            }
        }
    }
}

fn limits_agree(chain: &Chain, expected: &Limits) {
    for (i, limits) in chain.limits().iter().enumerate() {
        let lower = expected.lower[i].unwrap_or(f64::NEG_INFINITY);
        let upper = expected.upper[i].unwrap_or(f64::INFINITY);
        assert_eq!(
            (limits.lower_rad, limits.upper_rad, limits.velocity_rad_s, limits.effort),
            (lower, upper, expected.velocity[i], expected.effort[i])
        );
    }
}

#[test]
fn five_robots_agree_with_pinocchio() {
    for (robot, file) in [
        ("panda", "panda.urdf"),
        ("ur5", "ur5_robot.urdf"),
        ("so101", "so101.urdf"),
        ("kinova", "kinova.urdf"),
        ("pr2", "pr2.urdf"),
    ] {
        let mut reference = reference(robot);
        let chain = Chain::from_urdf(urdf(file), &reference.base_link, &reference.tip_link).unwrap();
        assert_eq!(chain.joint_names(), reference.joint_names, "{robot}");
        assert_eq!(reference.configs.len(), 100);
        agrees(&chain, &reference.configs);
        if robot == "pr2" {
            // The file's soft limits; pinocchio reports the hard ones. Two joints are continuous.
            let (lower, upper) = (&mut reference.limits.lower, &mut reference.limits.upper);
            let soft_lower = [0.0115, -2.1353981634, -0.3536, -3.75, -2.1213];
            let soft_upper = [0.305, 0.564601836603, 1.2963, 0.65, -0.15];
            for (index, joint) in [0, 1, 2, 3, 4].into_iter().enumerate() {
                lower[joint] = Some(soft_lower[index]);
                upper[joint] = Some(soft_upper[index]);
            }
            (lower[6], upper[6]) = (Some(-1.994), Some(-0.1));
        }
        limits_agree(&chain, &reference.limits);
    }
}

#[test]
fn chains_between_any_two_links_agree_with_pinocchio() {
    let ways: Vec<Way> = serde_json::from_str(include_str!("data/chains.json")).unwrap();
    assert_eq!(ways.len(), 13);
    for way in ways {
        let chain = Chain::from_urdf(urdf(&way.urdf), &way.base_link, &way.tip_link).unwrap();
        assert_eq!(chain.joint_names(), way.joint_names, "{} to {}", way.base_link, way.tip_link);
        assert_eq!(way.configs.len(), 12);
        agrees(&chain, &way.configs);
    }
}

#[test]
fn the_two_own_arms_are_the_ones_that_they_are_modelled_on() {
    for (robot, urdf) in [("panda", ARM7_URDF), ("so101", ARM5_URDF)] {
        let mut reference = reference(robot);
        let chain = Chain::from_urdf(urdf, "base", "tool").unwrap();
        if robot == "so101" {
            // The published URDF has placeholders for velocity and effort; ours has the servo's.
            reference.limits.velocity = vec![3.1; 5];
            reference.limits.effort = vec![2.94; 5];
        }
        limits_agree(&chain, &reference.limits);
        agrees(&chain, &reference.configs);
    }
}

#[test]
fn visited_links_end_at_the_tip() {
    let chain = Chain::from_urdf(ARM7_URDF, "base", "tool").unwrap();
    let mut seen = Vec::new();
    chain.visit_links(&ARM7_HOME_RAD, |name, pose| seen.push((name.to_owned(), *pose)));
    assert_eq!(seen.len(), 10);
    assert!(chain.link_names().eq(seen.iter().map(|(name, _)| name.as_str())));
    assert!((seen[1].1.translation.z - 0.333).abs() < 1e-12);
    let (name, tool) = seen.last().unwrap();
    assert_eq!(name, "tool");
    assert!(
        (tool.translation.vector - chain.base_from_tip(&ARM7_HOME_RAD).translation.vector).norm() < 1e-12
    );
}

/// Axes along every direction, and a prismatic joint after a turn: checked by finite differences, since the
/// reference robots turn about z only.
#[test]
fn jacobian_matches_finite_differences_for_any_axis() {
    let joint = |name: &str, kind: &str, parent: &str, child: &str, axis: &str| {
        format!(
            r#"<link name="{child}"/><joint name="{name}" type="{kind}"><origin xyz="0.1 -0.2 0.3" rpy="0.4 0.5 -0.6"/>
            <parent link="{parent}"/><child link="{child}"/><axis xyz="{axis}"/><limit lower="-2" upper="2" velocity="1" effort="1"/></joint>"#
        )
    };
    let urdf = [
        r#"<robot name="r"><link name="a"/>"#.to_owned(),
        joint("j1", "revolute", "a", "b", "0 0 -1"),
        joint("j2", "prismatic", "b", "c", "1 2 -2"),
        joint("j3", "continuous", "c", "d", "0 1 0"),
        joint("j4", "revolute", "d", "e", "-1 0 0"),
        "</robot>".to_owned(),
    ]
    .concat();
    let chain = Chain::from_urdf(&urdf, "a", "e").unwrap();
    assert!(chain.limits()[2].upper_rad.is_infinite());
    let q = [0.3, -0.7, 1.1, 0.9];
    let (_, jacobian) = chain.jacobian(&q);
    for i in 0..4 {
        let (mut above, mut below) = (q, q);
        above[i] += 1e-6;
        below[i] -= 1e-6;
        let (above, below) = (chain.base_from_tip(&above), chain.base_from_tip(&below));
        let linear = (above.translation.vector - below.translation.vector) / 2e-6;
        let angular = (above.rotation * below.rotation.inverse()).scaled_axis() / 2e-6;
        let column = jacobian.columns()[i];
        assert!((column.fixed_rows::<3>(0) - linear).norm() < 1e-8);
        assert!((column.fixed_rows::<3>(3) - angular).norm() < 1e-8);
    }
}

#[test]
fn clamp_makes_any_input_a_configuration() {
    let chain = Chain::from_urdf(ARM7_URDF, "base", "tool").unwrap();
    let q = chain.clamp(&[f64::NAN, 9.0, f64::NEG_INFINITY]);
    assert_eq!(q.len(), 7);
    assert_eq!(q[..3], [0.0, 1.7628, -2.8973]);
    assert_eq!(Joints::from_slice(&q), q);
}
