//! The type hashes, computed from the definitions that the types carry (REP-2016), so that a
//! definition, its hash and the golden bytes cannot part ways.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests fail by panicking")]

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use reflexarc_drivers::Message;
use reflexarc_drivers::msg::{
    BoolMsg, CompressedImage, DiagnosticArray, DiagnosticStatus, Float32MultiArray, Goal, Header, Image,
    JointState, JointTrajectory, JointTrajectoryPoint, KeyValue, StringMsg,
};
use sha2::{Digest, Sha256};

/// One field as the hash sees it.
struct Field {
    name: String,
    kind: u8,
    capacity: u64,
    nested: String,
}

/// `package/Name` as `package/msg/Name`.
fn full_name(name: &str) -> String {
    match name.split('/').collect::<Vec<_>>()[..] {
        [package, name] => format!("{package}/msg/{name}"),
        _ => name.to_owned(),
    }
}

fn field(line: &str) -> Option<Field> {
    let line = line.split('#').next()?.trim();
    // Constants are no part of the type.
    if line.is_empty() || line.contains('=') {
        return None;
    }
    let (kind, name) = line.split_once(' ').unwrap();
    let (base, suffix) = kind.split_once('[').map_or((kind, None), |(base, rest)| (base, Some(rest)));
    let (nested, scalar) = match base {
        "uint8" => ("", 3),
        "int32" => ("", 6),
        "uint32" => ("", 7),
        "int64" => ("", 8),
        "uint64" => ("", 9),
        "float32" => ("", 10),
        "float64" => ("", 11),
        "bool" => ("", 15),
        "byte" => ("", 16),
        "string" => ("", 17),
        nested => (nested, 1),
    };
    let (offset, capacity) = match suffix {
        None => (0, 0),
        Some("]") => (144, 0),
        Some(length) => (48, length.trim_end_matches(']').parse().unwrap()),
    };
    Some(Field { name: name.trim().to_owned(), kind: scalar + offset, capacity, nested: full_name(nested) })
}

fn description(name: &str, fields: &[Field]) -> String {
    let mut text = format!("{{\"type_name\": \"{name}\", \"fields\": [");
    for (index, Field { name, kind, capacity, nested }) in fields.iter().enumerate() {
        let comma = if index == 0 { "" } else { ", " };
        write!(
            text,
            "{comma}{{\"name\": \"{name}\", \"type\": {{\"type_id\": {kind}, \"capacity\": {capacity}, \
             \"string_capacity\": 0, \"nested_type_name\": \"{nested}\"}}}}"
        )
        .unwrap();
    }
    text + "]}"
}

/// The hash of a schema in the `ros2msg` form.
fn hash(type_name: &str, schema: &str) -> String {
    let separator = format!("{}\n", "=".repeat(80));
    let mut definitions = BTreeMap::new();
    for (index, part) in schema.split(&separator).enumerate() {
        let (name, text) = if index == 0 {
            (type_name.to_owned(), part)
        } else {
            let (head, text) = part.split_once('\n').unwrap();
            (full_name(head.strip_prefix("MSG: ").unwrap()), text)
        };
        definitions.insert(name, text.lines().filter_map(field).collect::<Vec<_>>());
    }
    let referred: BTreeSet<&String> =
        definitions.values().flatten().map(|field| &field.nested).filter(|name| !name.is_empty()).collect();
    let given: BTreeSet<&String> = definitions.keys().filter(|name| *name != type_name).collect();
    assert_eq!(
        referred, given,
        "{type_name}: the schema has every definition that it refers to, and no other"
    );
    let others: Vec<String> = given.iter().map(|name| description(name, &definitions[*name])).collect();
    let json = format!(
        "{{\"type_description\": {}, \"referenced_type_descriptions\": [{}]}}",
        description(type_name, &definitions[type_name]),
        others.join(", ")
    );
    let digest = Sha256::digest(json.as_bytes());
    digest.iter().fold("RIHS01_".to_owned(), |text, byte| text + &format!("{byte:02x}"))
}

/// Hashes by the type's name.
type Hashes = BTreeMap<&'static str, &'static str>;

fn hashes(text: &'static str) -> Hashes {
    text.lines().map(|line| line.split_once(' ').unwrap()).collect()
}

/// Compares a type's hash with what its definition gives, with rosbags, and with the published one. Only our
/// own types are published nowhere.
fn check<M: Message>(checked: &mut BTreeSet<&str>, rosbags: &Hashes, published: &Hashes) {
    assert_eq!(hash(M::TYPE_NAME, M::SCHEMA), M::TYPE_HASH, "{}", M::TYPE_NAME);
    assert_eq!(rosbags.get(M::TYPE_NAME), Some(&M::TYPE_HASH), "{}", M::TYPE_NAME);
    let ours = M::TYPE_NAME.starts_with("reflexarc_msgs/");
    assert_eq!(published.get(M::TYPE_NAME).copied(), (!ours).then_some(M::TYPE_HASH), "{}", M::TYPE_NAME);
    checked.insert(M::TYPE_NAME);
}

/// The names of all types that the sources define.
fn defined() -> BTreeSet<String> {
    let sources = std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/src/msg")).unwrap();
    let texts = sources.map(|file| std::fs::read_to_string(file.unwrap().path()).unwrap());
    let mark = "const TYPE_NAME: &'static str = \"";
    let names = |text: String| -> Vec<String> {
        text.split(mark).skip(1).map(|rest| rest.split('"').next().unwrap().to_owned()).collect()
    };
    texts.flat_map(names).collect()
}

#[test]
fn hashes_follow_from_the_definitions_and_are_those_of_ros() {
    // golden/generate.py makes the first; the second is a list of ROS 2's hashes that is kept by hand.
    let rosbags = hashes(include_str!("golden/hashes.txt"));
    let published = hashes(include_str!("golden/published_hashes.txt"));
    let mut checked = BTreeSet::new();
    check::<StringMsg>(&mut checked, &rosbags, &published);
    check::<BoolMsg>(&mut checked, &rosbags, &published);
    check::<Header>(&mut checked, &rosbags, &published);
    check::<Float32MultiArray>(&mut checked, &rosbags, &published);
    check::<Image>(&mut checked, &rosbags, &published);
    check::<CompressedImage>(&mut checked, &rosbags, &published);
    check::<JointState>(&mut checked, &rosbags, &published);
    check::<JointTrajectory>(&mut checked, &rosbags, &published);
    check::<JointTrajectoryPoint>(&mut checked, &rosbags, &published);
    check::<DiagnosticArray>(&mut checked, &rosbags, &published);
    check::<DiagnosticStatus>(&mut checked, &rosbags, &published);
    check::<KeyValue>(&mut checked, &rosbags, &published);
    check::<Goal>(&mut checked, &rosbags, &published);
    assert_eq!(checked, defined().iter().map(String::as_str).collect(), "no type is left out");
    assert_eq!(checked, rosbags.keys().copied().collect(), "each has its golden bytes");
}
