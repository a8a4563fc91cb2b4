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
    assert_eq!(
        error,
        UrdfError::NotConnected {
            base: "a".into(),
            tip: "b".into(),
            base_root: "a".into(),
            tip_root: "c".into()
        }
    );
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
        (r#"<limit lower="-1" upper="1" velocity="1" effort="NaN"/>"#.to_owned(), "limit effort"),
    ] {
        let error = one_joint("revolute", &rest).unwrap_err();
        assert!(
            matches!(&error, UrdfError::OutOfRange { joint, attribute, .. } if joint == "j" && *attribute == wanted),
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

#[test]
fn an_element_that_cannot_be_read_is_named() {
    for (rest, wanted) in [
        (r#"<limit lower="-1" upper="1"/>"#, "velocity"),
        (r#"<limit lower="minus one" upper="1" velocity="1"/>"#, "float"),
        (r#"<origin xyz="1 2"/><limit lower="-1" upper="1" velocity="1"/>"#, "expected 3"),
        (r#"<origin xyz="1 2 3 m"/><limit lower="-1" upper="1" velocity="1"/>"#, "`m`"),
        (r#"<safety_controller soft_lower_limit="-1"/>"#, "k_velocity"),
        (r#"<mimic multiplier="2"/>"#, "joint"),
        (r#"<limit velocity="1"/><limit velocity="2"/>"#, "duplicate"),
    ] {
        // A sound joint and an extension before it, so that the first is not simply blamed.
        let joints = [
            joint("sound", "fixed", "a", "b", ""),
            "<gazebo><joint/></gazebo>".to_owned(),
            joint("ill", "revolute", "b", "c", rest),
        ];
        let error = Chain::from_urdf(&robot(&["a", "b", "c"], &joints), "a", "c").unwrap_err();
        assert!(
            matches!(&error, UrdfError::Element { element, message } if element == "joint `ill`" && message.contains(wanted)),
            "{error}"
        );
    }
    let text = r#"<robot><link name="a"/><link name="b"><collision><geometry><box/></geometry></collision></link></robot>"#;
    let error = Chain::from_urdf(text, "a", "b").unwrap_err();
    assert!(matches!(&error, UrdfError::Element { element, .. } if element == "link `b`"), "{error}");
    let error = Chain::from_urdf("<robot><link name='a'/><joint/></robot>", "a", "b").unwrap_err();
    assert!(matches!(&error, UrdfError::Element { element, .. } if element == "<joint> number 2"), "{error}");
}

#[test]
fn malformed_text_is_named_with_its_line() {
    for (text, wanted) in [
        ("", "line 1: there is no <robot>"),
        ("hello", "line 1: text outside"),
        ("<robot>\n<link name='a'>\n</robot>", "line 3: "),
        ("<robot>\n<link name='a'/>", "line 2: it ends inside"),
        ("<robot/>\n<robot/>", "line 2: expected one <robot>"),
        ("<robot/> and more", "line 1: text outside"),
        ("\n\n<sdf/>", "line 3: expected one <robot> element, found <sdf>"),
        ("<robot>\n<link name='a' name='b'/></robot>", "line 2: "),
        ("<robot>\n<link name='&unknown;'/></robot>", "line 2: "),
        ("<robot>\n<link 1='a'/></robot>", "line 2: `1` is not the name"),
        ("<!DOCTYPE r [<!ENTITY e 'x'>]><robot>\n<link name='&e;'/></robot>", "line 2: "),
    ] {
        let error = Chain::from_urdf(text, "a", "b").unwrap_err();
        assert!(
            matches!(&error, UrdfError::Parse { message } if message.starts_with(wanted)),
            "{text}: {error}"
        );
    }
}

#[test]
fn xacro_that_was_not_expanded_is_recognised() {
    let head = r#"<robot name="r" xmlns:xacro="http://www.ros.org/wiki/xacro">"#;
    for (body, wanted) in [
        (r#"<xacro:include filename="a"/>"#, "<xacro:include>"),
        (r#"<gazebo><xacro:if value="1"/></gazebo>"#, "<xacro:if>"),
        (r#"<link name="${prefix}a"/>"#, "${prefix}a"),
        (r#"<link name="$(arg prefix)a"/>"#, "$(arg prefix)a"),
    ] {
        let error = Chain::from_urdf(&format!("{head}\n{body}</robot>"), "a", "b").unwrap_err();
        assert!(
            matches!(&error, UrdfError::Xacro { found, line: 2 } if found.contains(wanted))
                && error.to_string().contains("expand"),
            "{error}"
        );
    }
    // Expanded files keep the namespace.
    let expanded =
        robot(&["a", "b"], &[joint("j", "revolute", "a", "b", LIMIT)]).replace(r#"<robot name="r">"#, head);
    assert_eq!(Chain::from_urdf(&expanded, "a", "b").unwrap().dof(), 1);
}

#[test]
fn namespaces_comments_extensions_and_looks_do_not_matter() {
    let text = r#"<?xml version='1.0'?><!DOCTYPE robot><robot name="r" xmlns="u" xmlns:joint="v" xmlns:e="">
        <!-- <link name="no"/> --><joint:slider name="s"/><gazebo><a:b xmlns=""><joint name="j"/></a:b></gazebo>
        <link name="a &lt;1&gt;" e:x="1">text<![CDATA[<data>]]></link><link name='b "2"' xmlns:p=""/><x:link name="n"/>
        <link name="looks"><visual><geometry><cone/></geometry><material><texture/></material></visual><inertial/></link>
        <joint name="j&#x41;" type="continuous"><dynamics damping=""/><calibration rising="?"/><parent link='a &lt;1>' xmlns="w"/><child link="b &quot;2&quot;"/></joint>
        </robot>"#;
    let chain = Chain::from_urdf(text, "a <1>", "b \"2\"").unwrap();
    assert_eq!(chain.joint_names(), ["jA"]);
}

#[test]
fn work_is_bounded() {
    let nested = format!("<robot>{}", "<a>".repeat(200_000));
    let many = format!("<robot>{}</robot>", "<a/>".repeat(1 << 20));
    let wide = format!("<robot {}/>", (0..100).map(|i| format!("a{i}='' ")).collect::<String>());
    let long = " ".repeat((64 << 20) + 1);
    for (text, wanted) in [
        (nested, "nested elements"),
        (many, "elements"),
        (wide, "attributes of one element"),
        (long, "bytes"),
    ] {
        let error = Chain::from_urdf(&text, "a", "b").unwrap_err();
        assert!(matches!(error, UrdfError::TooLarge { what, .. } if what == wanted), "{error}");
    }
}

/// A step quadratic in the number of links would show here.
#[test]
fn ten_thousand_links_are_no_trouble() {
    let count = 10_000;
    let mut text = "<robot name='r'>".to_owned();
    for i in 0..count {
        text += &format!("<link name='l{i}'/>");
        if i > 0 {
            text += &joint(&format!("j{i}"), "fixed", &format!("l{}", i - 1), &format!("l{i}"), "");
        }
    }
    text += r#"<link name="hand"/>"#;
    let hand = joint("wrist", "continuous", "l0", "hand", r#"<origin xyz="1 0 0"/>"#);
    let chain =
        Chain::from_urdf(&(text.clone() + &hand + "</robot>"), &format!("l{}", count - 1), "hand").unwrap();
    assert_eq!(chain.link_names().len(), count + 1);
    assert!((chain.base_from_tip(&[0.3]).translation.x - 1.0).abs() < 1e-12);
    // The same with a ring, with a joint that cannot be read, and with too many moving joints.
    let ring = joint("ring", "fixed", &format!("l{}", count - 1), "l0", "");
    let error = Chain::from_urdf(&(text.clone() + &ring + "</robot>"), "l0", "hand").unwrap_err();
    assert!(matches!(error, UrdfError::Cycle { .. }), "{error}");
    let error = Chain::from_urdf(&(text.clone() + "<joint name='ill'/></robot>"), "l0", "hand").unwrap_err();
    assert!(matches!(error, UrdfError::Element { .. }), "{error}");
    let turning = text.replace("fixed", "continuous") + &hand + "</robot>";
    let error = Chain::from_urdf(&turning, "l0", "l1000").unwrap_err();
    assert!(matches!(error, UrdfError::JointCount { found: 1000, .. }), "{error}");
}

#[test]
fn unsound_mimic_joints_are_named() {
    let mimics = |first: &str, second: &str| {
        let joints = [
            joint("j1", "revolute", "a", "b", &format!("{LIMIT}{first}")),
            joint("j2", "revolute", "b", "c", &format!("{LIMIT}{second}")),
        ];
        Chain::from_urdf(&robot(&["a", "b", "c"], &joints), "a", "c")
    };
    let error = mimics("", r#"<mimic joint="j9"/>"#).unwrap_err();
    assert_eq!(error, UrdfError::UnknownMaster { joint: "j2".into(), master: "j9".into() });
    let error = mimics(r#"<mimic joint="j2"/>"#, r#"<mimic joint="j1"/>"#).unwrap_err();
    assert_eq!(error, UrdfError::MimicCycle { joint: "j1".into() });
    let error = mimics("", r#"<mimic joint="j2"/>"#).unwrap_err();
    assert_eq!(error, UrdfError::MimicCycle { joint: "j2".into() });
    let error = mimics("", r#"<mimic joint="j1" offset="2"/>"#).unwrap_err();
    assert!(
        matches!(&error, UrdfError::MimicLimits { joint, master, .. } if joint == "j2" && master == "j1")
    );
    for (mimic, wanted) in [
        (r#"<mimic joint="j1" multiplier="NaN"/>"#, "mimic multiplier"),
        (r#"<mimic joint="j1" multiplier="-1e9"/>"#, "mimic multiplier"),
        (r#"<mimic joint="j1" offset="inf"/>"#, "mimic offset"),
    ] {
        let error = mimics("", mimic).unwrap_err();
        assert!(
            matches!(&error, UrdfError::OutOfRange { joint, attribute, .. } if joint == "j2" && *attribute == wanted),
            "{error}"
        );
    }
}

#[test]
fn soft_limits_that_leave_no_room_are_named() {
    for soft in [
        r#"soft_lower_limit="0.5" soft_upper_limit="-0.5""#,
        r#"soft_lower_limit="1""#,
        r#"soft_upper_limit="-3""#,
        r#"soft_lower_limit="2" soft_upper_limit="3""#,
    ] {
        let error = one_joint("revolute", &format!(r#"{LIMIT}<safety_controller k_velocity="1" {soft}/>"#));
        let error = error.unwrap_err();
        assert!(matches!(&error, UrdfError::InvalidSoftLimits { joint, .. } if joint == "j"), "{error}");
    }
    let nan = r#"<safety_controller k_velocity="1" soft_lower_limit="NaN"/>"#;
    let error = one_joint("revolute", &format!("{LIMIT}{nan}")).unwrap_err();
    assert!(matches!(&error, UrdfError::OutOfRange { attribute: "soft_lower_limit", .. }), "{error}");
}

#[test]
fn numbers_beyond_any_robot_are_named() {
    for (rest, wanted) in [
        (r#"<origin xyz="0 1e7 0"/>"#, "origin xyz"),
        (r#"<origin rpy="0 0 1e300"/>"#, "origin rpy"),
        (r#"<axis xyz="0 0 -1e200"/>"#, "axis xyz"),
    ] {
        let error = one_joint("continuous", rest).unwrap_err();
        assert!(matches!(&error, UrdfError::OutOfRange { attribute, .. } if *attribute == wanted), "{error}");
    }
}
