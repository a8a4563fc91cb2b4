//! What a chain makes of mimic joints, soft limits, missing limits and joints travelled upwards.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests fail by panicking")]

mod common;

use common::{ARM7, Random, SO101, UR5};
use nalgebra::Vector6;
use proptest::prelude::*;
use reflexarc_kinematics::{Chain, JointLimits, UrdfError, ik};

const LIMIT: &str = r#"<limit lower="-1" upper="2" velocity="3" effort="4"/>"#;
const ORIGIN: &str = r#"<origin xyz="0.1 -0.2 0.3" rpy="0.4 -0.5 1.5"/>"#;

fn joint(name: &str, kind: &str, parent: &str, child: &str, rest: &str) -> String {
    format!(
        r#"<joint name="{name}" type="{kind}"><parent link="{parent}"/><child link="{child}"/>{ORIGIN}{rest}</joint>"#
    )
}

fn robot(version: &str, links: &[&str], joints: &[String]) -> String {
    let links: String = links.iter().map(|name| format!(r#"<link name="{name}"/>"#)).collect();
    format!(r#"<robot name="r" version="{version}">{links}{}</robot>"#, joints.concat())
}

fn one_joint(version: &str, kind: &str, rest: &str) -> JointLimits {
    let text = robot(version, &["a", "b"], &[joint("j", kind, "a", "b", rest)]);
    Chain::from_urdf(&text, "a", "b").unwrap().limits()[0]
}

fn jacobian_is_the_derivative(chain: &Chain, q: &[f64]) {
    let (_, jacobian) = chain.jacobian(q);
    for i in 0..chain.dof() {
        let moved = |by: f64| {
            let mut q = q.to_vec();
            q[i] += by;
            chain.base_from_tip(&q)
        };
        let (above, below) = (moved(1e-6), moved(-1e-6));
        let linear = (above.translation.vector - below.translation.vector) / 2e-6;
        let angular = (above.rotation * below.rotation.inverse()).scaled_axis() / 2e-6;
        let expected = Vector6::new(linear.x, linear.y, linear.z, angular.x, angular.y, angular.z);
        assert!((jacobian.columns()[i] - expected).norm() < 1e-8, "column {i}");
    }
}

/// The links a…e, with a mimic of j1, a mimic of that mimic, and a joint of its own.
fn mimicking() -> String {
    let joints = [
        joint("j1", "revolute", "a", "b", LIMIT),
        joint(
            "j2",
            "prismatic",
            "b",
            "c",
            r#"<axis xyz="0 1 0"/><limit lower="-0.4" upper="9" velocity="1"/><mimic joint="j1" multiplier="0.5" offset="0.1"/>"#,
        ),
        joint("j3", "revolute", "c", "d", r#"<axis xyz="0 0 1"/><limit lower="-9" upper="9" velocity="9"/>"#),
        joint(
            "j4",
            "revolute",
            "d",
            "e",
            r#"<axis xyz="1 1 0"/><limit lower="-2.5" upper="9" velocity="9"/><mimic joint="j2" multiplier="-4"/>"#,
        ),
    ];
    robot("1.0", &["a", "b", "c", "d", "e"], &joints)
}

#[test]
fn mimic_joints_move_with_their_master() {
    let chain = Chain::from_urdf(&mimicking(), "a", "e").unwrap();
    assert_eq!(chain.joint_names(), ["j1", "j3"]);
    // The same robot with four joints of its own, set to where the mimics should stand.
    let free = mimicking()
        .replace(r#"<mimic joint="j1" multiplier="0.5" offset="0.1"/>"#, "")
        .replace(r#"<mimic joint="j2" multiplier="-4"/>"#, "");
    let free = Chain::from_urdf(&free, "a", "e").unwrap();
    assert_eq!(free.dof(), 4);
    for (q1, q3) in [(0.0, 0.0), (0.7, -1.2), (-0.9, 2.0)] {
        let q2 = 0.5 * q1 + 0.1;
        let expected = free.base_from_tip(&[q1, q2, q3, -4.0 * q2]);
        let pose = chain.base_from_tip(&[q1, q3]);
        assert!((pose.to_homogeneous() - expected.to_homogeneous()).norm() < 1e-12);
        jacobian_is_the_derivative(&chain, &[q1, q3]);
        let (_, free) = free.jacobian(&[q1, q2, q3, -4.0 * q2]);
        let summed = free.columns()[0] + free.columns()[1] * 0.5 - free.columns()[3] * 2.0;
        assert!((chain.jacobian(&[q1, q3]).1.columns()[0] - summed).norm() < 1e-12);
    }
}

#[test]
fn inverse_kinematics_knows_of_mimics() {
    let chain = Chain::from_urdf(&mimicking(), "a", "e").unwrap();
    let mut random = Random(3);
    for _ in 0..100 {
        let target = chain.base_from_tip(&random.configuration(&chain));
        let solution = ik::solve(&chain, &target, &[0.1, 0.1], &ik::IkOptions::default());
        assert!(solution.reachable, "{solution}");
        let reached = chain.base_from_tip(&solution.q);
        assert!((reached.translation.vector - target.translation.vector).norm() < 1e-5);
    }
}

#[test]
fn a_master_keeps_to_what_its_mimics_can_do() {
    let chain = Chain::from_urdf(&mimicking(), "a", "e").unwrap();
    let master = chain.limits()[0];
    // j2 = 0.5 j1 + 0.1 >= -0.4 holds from j1 = -1 on; j4 = -2 j1 - 0.4 >= -2.5 up to 1.05.
    assert!((master.lower_rad + 1.0).abs() < 1e-12 && (master.upper_rad - 1.05).abs() < 1e-12, "{master:?}");
    // j2 moves half as fast as j1 and may do 1 m/s.
    assert_eq!(master.velocity_rad_s, 2.0);
    assert_eq!(chain.limits()[1].upper_rad, 9.0);
}

#[test]
fn a_master_beside_the_way_is_still_the_joint_that_moves_the_tip() {
    let chain = Chain::from_urdf(&mimicking(), "b", "c").unwrap();
    assert_eq!(chain.joint_names(), ["j1"]);
    assert_eq!(chain.limits()[0].upper_rad, 2.0);
    let moved =
        chain.base_from_tip(&[1.0]).translation.vector - chain.base_from_tip(&[0.0]).translation.vector;
    assert!((moved.norm() - 0.5).abs() < 1e-12);
}

#[test]
fn a_mimic_of_what_never_moves_is_held_at_its_offset() {
    for mimic in [r#"<mimic joint="j0" offset="0.7"/>"#, r#"<mimic joint="j2" multiplier="0" offset="0.7"/>"#]
    {
        let joints = [
            joint("j0", "fixed", "a", "b", ""),
            joint("j1", "revolute", "b", "c", &format!("{LIMIT}{mimic}")),
            joint("j2", "revolute", "c", "d", LIMIT),
        ];
        let text = robot("1.0", &["a", "b", "c", "d"], &joints);
        let chain = Chain::from_urdf(&text, "a", "d").unwrap();
        assert_eq!(chain.joint_names(), ["j2"]);
        let free = Chain::from_urdf(&text.replace(mimic, ""), "a", "d").unwrap();
        let (held, expected) = (chain.base_from_tip(&[0.3]), free.base_from_tip(&[0.7, 0.3]));
        assert!((held.to_homogeneous() - expected.to_homogeneous()).norm() < 1e-12);
        jacobian_is_the_derivative(&chain, &[0.3]);
    }
}

#[test]
fn eight_moving_joints_are_the_most_whether_they_mimic_or_not() {
    let links: Vec<String> = (0..=9).map(|i| format!("l{i}")).collect();
    let links: Vec<&str> = links.iter().map(String::as_str).collect();
    let joints: Vec<String> = (0..9)
        .map(|i| {
            let mimic = if i % 2 == 1 { format!(r#"<mimic joint="j{}"/>"#, i - 1) } else { String::new() };
            joint(&format!("j{i}"), "continuous", links[i], links[i + 1], &mimic)
        })
        .collect();
    let text = robot("1.0", &links, &joints);
    let chain = Chain::from_urdf(&text, "l0", "l8").unwrap();
    assert_eq!(chain.joint_names(), ["j0", "j2", "j4", "j6"]);
    jacobian_is_the_derivative(&chain, &[0.1, -0.2, 0.3, 0.4]);
    let error = Chain::from_urdf(&text, "l0", "l9").unwrap_err();
    assert!(matches!(error, UrdfError::JointCount { found: 9, .. }), "{error}");
}

#[test]
fn soft_limits_narrow_and_absent_ones_do_not() {
    let soft = |attributes: &str| {
        let text = format!(r#"{LIMIT}<safety_controller k_velocity="5" k_position="7" {attributes}/>"#);
        let limits = one_joint("1.0", "revolute", &text);
        assert_eq!((limits.velocity_rad_s, limits.effort), (3.0, 4.0));
        (limits.lower_rad, limits.upper_rad)
    };
    assert_eq!(soft(r#"soft_lower_limit="-0.5" soft_upper_limit="1.5""#), (-0.5, 1.5));
    // Wider than the hard ones.
    assert_eq!(soft(r#"soft_lower_limit="-5" soft_upper_limit="5""#), (-1.0, 2.0));
    // The reader fills absent ones with 0.
    assert_eq!(soft(""), (-1.0, 2.0));
    assert_eq!(soft(r#"soft_lower_limit="-0.5""#), (-0.5, 2.0));
    assert_eq!(soft(r#"soft_upper_limit="1.5""#), (-1.0, 1.5));
    assert_eq!(soft(r#"soft_lower_limit="0" soft_upper_limit="0""#), (-1.0, 2.0));
    assert_eq!(soft(r#"soft_lower_limit="0" soft_upper_limit="1""#), (0.0, 1.0));
}

#[test]
fn a_continuous_joint_is_never_read_as_zero_to_zero() {
    for rest in [
        "",
        r#"<limit velocity="2" effort="3"/>"#,
        r#"<limit lower="0" upper="0" velocity="0" effort="0"/>"#,
        r#"<limit lower="-3.14" upper="3.14" velocity="2" effort="3"/>"#,
        r#"<safety_controller k_velocity="1"/>"#,
        r#"<safety_controller k_velocity="1" soft_lower_limit="0" soft_upper_limit="0"/>"#,
    ] {
        for version in ["1.0", "1.2"] {
            let limits = one_joint(version, "continuous", rest);
            assert_eq!((limits.lower_rad, limits.upper_rad), (f64::NEG_INFINITY, f64::INFINITY), "{rest}");
            assert!(limits.velocity_rad_s == 2.0 || limits.velocity_rad_s.is_infinite());
        }
    }
}

#[test]
fn from_urdf_1_2_on_an_omitted_limit_is_none() {
    let limits = one_joint("1.2", "revolute", r#"<limit lower="-1"/>"#);
    assert_eq!((limits.lower_rad, limits.upper_rad), (-1.0, f64::INFINITY));
    assert!(limits.velocity_rad_s.is_infinite());
    let text = robot("1.2", &["a", "b"], &[joint("j", "revolute", "a", "b", r#"<limit upper="inf"/>"#)]);
    assert!(Chain::from_urdf(&text, "a", "b").is_err());
}

#[test]
fn half_a_range_is_kept() {
    let far = one_joint("1.2", "prismatic", r#"<limit lower="5" velocity="1"/>"#);
    assert_eq!((far.lower_rad, far.upper_rad, far.middle()), (5.0, f64::INFINITY, 5.0));
    let soft = r#"<safety_controller k_velocity="1" soft_upper_limit="-0.5"/>"#;
    let turning = one_joint("1.0", "continuous", soft);
    assert_eq!((turning.lower_rad, turning.upper_rad, turning.middle()), (f64::NEG_INFINITY, -0.5, -0.5));
    let wide = one_joint("1.0", "revolute", r#"<limit lower="-1e308" upper="1.5e308" velocity="1"/>"#);
    assert_eq!(wide.middle(), 2.5e307);
    let text = robot("1.0", &["a", "b"], &[joint("j", "continuous", "a", "b", soft)]);
    let chain = Chain::from_urdf(&text, "a", "b").unwrap();
    for q in [&[][..], &[f64::NAN], &[f64::INFINITY], &[f64::NEG_INFINITY]] {
        assert_eq!(chain.clamp(q)[..], [-0.5]);
    }
}

#[test]
fn every_link_may_be_the_tip() {
    let chain = ARM7.chain();
    let q = [0.1, -0.4, 0.2, -2.0, 0.3, 1.5, 0.6];
    chain.visit_links(&q, |name, pose| {
        let Ok(part) = Chain::from_urdf(ARM7.urdf, "base", name) else {
            // Only the base itself: no joint lies between.
            assert_eq!(name, "base");
            return;
        };
        let moved = part.base_from_tip(&q[..part.dof()]);
        assert!((moved.to_homogeneous() - pose.to_homogeneous()).norm() < 1e-12, "{name}");
    });
}

/// A robot with random shape, kinds, mimics and numbers, sound ones and others.
fn any_robot(random: &mut Random) -> (String, [String; 2]) {
    let number = |random: &mut Random| {
        let odd = ["0", "-1", "1e308", "-1e308", "1e-308", "1e6", "1e7", "inf", "-inf", "NaN", "x", ""];
        match random.bits() % 100 {
            pick if (pick as usize) < odd.len() => odd[pick as usize].to_owned(),
            _ => format!("{}", random.between(-2.0, 2.0)),
        }
    };
    let links = 2 + random.bits() % 8;
    let mut body = String::new();
    for link in 0..links {
        body += &format!(r#"<link name="l{link}"/>"#);
    }
    for link in 1..links {
        let kinds =
            ["revolute", "continuous", "prismatic", "revolute", "continuous", "prismatic", "fixed", "planar"];
        let kind = kinds[(random.bits() % 8) as usize];
        let mut rest = String::new();
        if !random.bits().is_multiple_of(4) {
            rest += &format!(r#"<axis xyz="{} {} {}"/>"#, number(random), number(random), number(random));
        }
        if !random.bits().is_multiple_of(8) {
            let (low, high) = (random.between(-3.0, 0.0), random.between(0.0, 3.0));
            rest +=
                &format!(r#"<limit lower="{low}" upper="{high}" velocity="{}"/>"#, random.between(0.0, 3.0));
        } else {
            let attributes = [number(random), number(random), number(random)];
            rest += &format!(
                r#"<limit lower="{}" upper="{}" velocity="{}"/>"#,
                attributes[0], attributes[1], attributes[2]
            );
        }
        if random.bits().is_multiple_of(4) {
            let master = random.bits() % (links + 1);
            rest += &format!(
                r#"<mimic joint="j{master}" multiplier="{}" offset="{}"/>"#,
                number(random),
                number(random)
            );
        }
        if random.bits().is_multiple_of(4) {
            rest += &format!(r#"<safety_controller k_velocity="1" soft_upper_limit="{}"/>"#, number(random));
        }
        body += &joint(
            &format!("j{link}"),
            kind,
            &format!("l{}", random.bits() % link),
            &format!("l{link}"),
            &rest,
        );
    }
    let version = if random.bits().is_multiple_of(4) { "1.2" } else { "1.0" };
    let text = format!(r#"<robot name="r" version="{version}">{body}</robot>"#);
    (text, [(); 2].map(|()| format!("l{}", random.bits() % links)))
}

#[test]
fn any_robot_is_refused_or_gives_a_sound_chain() {
    let mut random = Random(7);
    let (mut sound, mut refused) = (0, 0);
    for _ in 0..3000 {
        let (text, [base, tip]) = any_robot(&mut random);
        let Ok(chain) = Chain::from_urdf(&text, &base, &tip) else {
            refused += 1;
            continue;
        };
        sound += 1;
        for limits in chain.limits() {
            assert!(
                limits.lower_rad < limits.upper_rad && limits.velocity_rad_s > 0.0,
                "{limits:?} in {text}"
            );
        }
        let middle = chain.clamp(&[]);
        assert!(middle.iter().zip(chain.limits()).all(|(q, limits)| limits.contains(*q, 0.0)), "{text}");
        for q in [&middle[..], &[1e3; 8]] {
            let (pose, jacobian) = chain.jacobian(q);
            assert!(pose.to_homogeneous().iter().all(|value| value.is_finite()), "{text}");
            assert!(jacobian.columns().iter().flatten().all(|value| value.is_finite()), "{text}");
        }
        let back = Chain::from_urdf(&text, &tip, &base).unwrap();
        assert_eq!(back.dof(), chain.dof());
    }
    assert!(sound > 500 && refused > 500, "{sound} sound, {refused} refused");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, rng_seed: proptest::test_runner::RngSeed::Fixed(7), ..ProptestConfig::default() })]

    /// Base and tip swapped: the inverse pose, the same joints in the other order, the same limits.
    #[test]
    fn the_way_back_is_the_inverse(seed in any::<u64>(), which in 0..3_usize) {
        let robot = [ARM7, UR5, SO101][which];
        let there = robot.chain();
        let back = Chain::from_urdf(robot.urdf, robot.tip, robot.base).unwrap();
        let q = Random(seed).configuration(&there);
        let reversed: Vec<f64> = q.iter().rev().copied().collect();
        prop_assert!(there.joint_names().iter().eq(back.joint_names().iter().rev()));
        prop_assert!(there.limits().iter().eq(back.limits().iter().rev()));
        let around = there.base_from_tip(&q) * back.base_from_tip(&reversed);
        prop_assert!(around.translation.vector.norm() < 1e-12 && around.rotation.angle() < 1e-7);
        jacobian_is_the_derivative(&back, &reversed);
    }

    /// Over a link on the way or past it: the parts make up the whole.
    #[test]
    fn ways_compose(seed in any::<u64>()) {
        let q = Random(seed).configuration(&ARM7.chain());
        let (left, right) = ("left_finger", "right_finger");
        let to = |base, tip, q: &[f64]| Chain::from_urdf(ARM7.urdf, base, tip).unwrap().base_from_tip(q);
        let gap = 0.02;
        let through_base = to(left, "base", &[&[gap], &q.iter().rev().copied().collect::<Vec<_>>()[..]].concat())
            * to("base", right, &[&q[..], &[gap]].concat());
        let straight = to(left, right, &[gap]);
        prop_assert!((through_base.to_homogeneous() - straight.to_homogeneous()).norm() < 1e-12);
    }
}
