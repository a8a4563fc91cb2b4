//! Every faulty description is refused with an error that names the element.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests fail by panicking")]

use reflexarc_kinematics::{ARM7_URDF, Chain, UrdfError};

const LIMIT: &str = r#"<limit lower="-1" upper="1" velocity="2" effort="3"/>"#;

fn joint(name: &str, kind: &str, parent: &str, child: &str, rest: &str) -> String {
    format!(
        r#"<joint name="{name}" type="{kind}"><parent link="{parent}"/><child link="{child}"/>{rest}</joint>"#
    )
}

fn robot(links: &[&str], joints: &[String]) -> String {
    let links: String = links.iter().map(|name| format!(r#"<link name="{name}"/>"#)).collect();
    format!(r#"<robot name="r">{links}{}</robot>"#, joints.concat())
}

fn one_joint(kind: &str, rest: &str) -> Result<Chain, UrdfError> {
    Chain::from_urdf(&robot(&["a", "b"], &[joint("j", kind, "a", "b", rest)]), "a", "b")
}

#[test]
fn a_missing_link_is_named_with_what_there_is() {
    let error = Chain::from_urdf(ARM7_URDF, "base", "tol").unwrap_err();
    let text = error.to_string();
    assert!(text.contains("`tol`") && text.contains("tool"), "{text}");
    let error =
        Chain::from_urdf(&robot(&["a"], &[joint("j", "revolute", "a", "b", LIMIT)]), "a", "a").unwrap_err();
    assert_eq!(error, UrdfError::UnknownLink { joint: "j".into(), link: "b".into() });
}

#[test]
fn cycles_second_parents_and_loose_ends_are_named() {
    let cycle = robot(
        &["a", "b", "c"],
        &[
            joint("j1", "revolute", "b", "a", LIMIT),
            joint("j2", "revolute", "c", "b", LIMIT),
            joint("j3", "fixed", "a", "c", ""),
        ],
    );
    assert!(matches!(Chain::from_urdf(&cycle, "a", "b").unwrap_err(), UrdfError::Cycle { .. }));
    let two = robot(
        &["a", "b"],
        &[joint("j1", "revolute", "a", "b", LIMIT), joint("j2", "revolute", "a", "b", LIMIT)],
    );
    assert_eq!(
        Chain::from_urdf(&two, "a", "b").unwrap_err(),
        UrdfError::SeveralParents { link: "b".into(), first: "j1".into(), second: "j2".into() }
    );
    let loose = robot(&["a", "b", "c"], &[joint("j1", "revolute", "c", "b", LIMIT)]);
    let error = Chain::from_urdf(&loose, "a", "b").unwrap_err();
    assert_eq!(error, UrdfError::NotConnected { base: "a".into(), tip: "b".into(), root: "c".into() });
    let twice = robot(&["a", "b", "b"], &[]);
    assert_eq!(
        Chain::from_urdf(&twice, "a", "b").unwrap_err(),
        UrdfError::Duplicate { kind: "link", name: "b".into() }
    );
}

#[test]
fn missing_and_impossible_limits_are_named() {
    for kind in ["revolute", "prismatic"] {
        let error = one_joint(kind, "").unwrap_err();
        assert!(matches!(&error, UrdfError::MissingLimits { joint, .. } if joint == "j"), "{error}");
    }
    for limit in [
        r#"<limit lower="1" upper="-1" velocity="2"/>"#,
        r#"<limit lower="-1" upper="1" velocity="0"/>"#,
        r#"<limit lower="-1" upper="1" velocity="-2"/>"#,
        r#"<limit velocity="2"/>"#,
    ] {
        let error = one_joint("revolute", limit).unwrap_err();
        assert!(matches!(&error, UrdfError::InvalidLimits { joint, .. } if joint == "j"), "{error}");
    }
}

#[test]
fn numbers_that_are_not_finite_are_named() {
    for (rest, wanted) in [
        (format!(r#"<origin xyz="0 NaN 0"/>{LIMIT}"#), "origin xyz"),
        (format!(r#"<origin rpy="inf 0 0"/>{LIMIT}"#), "origin rpy"),
        (format!(r#"<axis xyz="0 0 NaN"/>{LIMIT}"#), "axis xyz"),
        (r#"<limit lower="NaN" upper="1" velocity="2"/>"#.to_owned(), "limit lower"),
        (r#"<limit lower="-1" upper="inf" velocity="2"/>"#.to_owned(), "limit upper"),
        (r#"<limit lower="-1" upper="1" velocity="NaN"/>"#.to_owned(), "limit velocity"),
    ] {
        let error = one_joint("revolute", &rest).unwrap_err();
        assert!(
            matches!(&error, UrdfError::NonFinite { joint, attribute, .. } if joint == "j" && *attribute == wanted),
            "{error}"
        );
    }
    let error = one_joint("revolute", &format!(r#"<axis xyz="0 0 0"/>{LIMIT}"#)).unwrap_err();
    assert_eq!(error, UrdfError::ZeroAxis { joint: "j".into() });
}

#[test]
fn joints_that_a_chain_cannot_hold_are_named() {
    for kind in ["floating", "planar"] {
        let error = one_joint(kind, "").unwrap_err();
        assert!(matches!(&error, UrdfError::UnsupportedJoint { joint, .. } if joint == "j"), "{error}");
    }
    assert!(matches!(one_joint("fixed", "").unwrap_err(), UrdfError::JointCount { found: 0, .. }));
    let names: Vec<String> = (0..10).map(|i| format!("l{i}")).collect();
    let links: Vec<&str> = names.iter().map(String::as_str).collect();
    let joints: Vec<String> =
        (0..9).map(|i| joint(&format!("j{i}"), "revolute", links[i], links[i + 1], LIMIT)).collect();
    let error = Chain::from_urdf(&robot(&links, &joints), "l0", "l9").unwrap_err();
    assert!(matches!(error, UrdfError::JointCount { found: 9, .. }), "{error}");
}

#[test]
fn text_that_is_no_urdf_is_an_error() {
    for text in ["", "hello", "<robot", "<robot name='r'><joint/></robot>"] {
        assert!(Chain::from_urdf(text, "a", "b").is_err(), "{text}");
    }
    // Every truncation of a real file: an error, never a panic. (Whole lines, to keep it quick.)
    let lines: Vec<&str> = ARM7_URDF.lines().collect();
    for kept in (0..lines.len()).step_by(7) {
        assert!(Chain::from_urdf(&lines[..kept].join("\n"), "base", "tool").is_err());
    }
}

#[test]
fn a_continuous_joint_is_unbounded_with_or_without_a_limit_element() {
    let plain = one_joint("continuous", "").unwrap();
    assert!(plain.limits()[0].lower_rad.is_infinite() && plain.limits()[0].velocity_rad_s.is_infinite());
    let limited = one_joint("continuous", r#"<limit velocity="2" effort="3"/>"#).unwrap();
    assert!(limited.limits()[0].upper_rad.is_infinite());
    assert_eq!(limited.limits()[0].velocity_rad_s, 2.0);
}
