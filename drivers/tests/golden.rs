//! Our bytes against those of rosbags, literally, both ways. `golden/generate.py` makes the files.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests fail by panicking")]

use reflexarc_drivers::msg::{
    BoolMsg, CompressedImage, DiagnosticArray, DiagnosticLevel, DiagnosticStatus, Duration,
    Float32MultiArray, Goal, Header, Image, JointState, JointTrajectory, JointTrajectoryPoint, KeyValue,
    StringMsg, Time,
};
use reflexarc_drivers::{CdrError, Message};

const STAMP_NS: u64 = 1_763_650_000_123_456_789;

fn from_hex(text: &str) -> Vec<u8> {
    let digits: String = text.split_whitespace().collect();
    (0..digits.len()).step_by(2).map(|at| u8::from_str_radix(&digits[at..at + 2], 16).unwrap()).collect()
}

/// Compares `message` with its golden bytes, and sees that no shortened form of them is accepted.
fn check<M: Message + PartialEq + std::fmt::Debug>(golden: &str, message: &M) {
    let golden = from_hex(golden);
    assert_eq!(message.encode(), golden, "{}", M::TYPE_NAME);
    assert_eq!(M::decode(&golden).as_ref(), Ok(message), "{}", M::TYPE_NAME);
    for length in 0..golden.len() {
        let error = M::decode(&golden[..length]).unwrap_err();
        assert!(
            matches!(error, CdrError::Truncated { .. } | CdrError::Header { .. } | CdrError::Count { .. }),
            "{} cut to {length} bytes: {error}",
            M::TYPE_NAME
        );
    }
    let mut longer = golden.clone();
    longer.extend([0; 3]);
    assert_eq!(M::decode(&longer).as_ref(), Ok(message), "{}: padding is allowed", M::TYPE_NAME);
    longer.push(0);
    assert_eq!(M::decode(&longer), Err(CdrError::Trailing { found_bytes: 4 }), "{}", M::TYPE_NAME);
    let mut big_endian = golden;
    big_endian[1] = 0;
    assert_eq!(M::decode(&big_endian), Err(CdrError::Header { found: vec![0, 0] }), "{}", M::TYPE_NAME);
}

fn strings(words: &[&str]) -> Vec<String> {
    words.iter().map(|&word| word.to_owned()).collect()
}

#[test]
fn std_msgs() {
    check(include_str!("golden/string.hex"), &StringMsg::new("pick up the röd mug"));
    check(include_str!("golden/string_empty.hex"), &StringMsg::default());
    check(include_str!("golden/bool.hex"), &BoolMsg::new(true));
    let header = Header { stamp: Time { sec: -1, nanosec: 999_999_999 }, frame_id: "base".into() };
    check(include_str!("golden/header.hex"), &header);
    let axes = [("rows", 1), ("columns", 2), ("channels", 3)];
    let array = Float32MultiArray::new(&axes, vec![0.0, 0.25, -0.5, 1.0, 2.0, 3.5]).unwrap();
    check(include_str!("golden/float32_multi_array.hex"), &array);
}

#[test]
fn sensor_msgs() {
    let image = Image::rgb8(Header::new(STAMP_NS, "scene"), 3, 2, (0..18).collect()).unwrap();
    check(include_str!("golden/image.hex"), &image);
    assert_eq!(image.stamp_ns(), Some(STAMP_NS));
    let compressed = CompressedImage {
        header: Header::new(STAMP_NS, "wrist"),
        format: "jpeg".into(),
        data: vec![255, 216, 255],
    };
    check(include_str!("golden/compressed_image.hex"), &compressed);
    let joints = JointState {
        header: Header::new(STAMP_NS, ""),
        name: strings(&["joint1", "gripper"]),
        position: vec![0.5, 0.08],
        velocity: vec![],
        effort: vec![-1.25, 20.0],
    };
    check(include_str!("golden/joint_state.hex"), &joints);
    let empty = JointState { header: Header::new(STAMP_NS, "b"), ..JointState::default() };
    check(include_str!("golden/joint_state_empty.hex"), &empty);
}

#[test]
fn trajectory_msgs() {
    let command = JointTrajectory {
        header: Header::new(STAMP_NS, "base"),
        joint_names: strings(&["joint1", "joint2", "gripper"]),
        points: vec![
            JointTrajectoryPoint {
                positions: vec![0.1, -0.2, 0.04],
                velocities: vec![1.0, 2.0, 0.0],
                accelerations: vec![],
                effort: vec![0.0, 0.0, 15.0],
                time_from_start: Duration::from_ns(4_166_667),
            },
            JointTrajectoryPoint {
                time_from_start: Duration::from_ns(1_000_000_005),
                ..JointTrajectoryPoint::default()
            },
        ],
    };
    check(include_str!("golden/joint_trajectory.hex"), &command);
    let point = JointTrajectoryPoint {
        positions: vec![3.0],
        accelerations: vec![9.5],
        time_from_start: Duration { sec: 2, nanosec: 1 },
        ..JointTrajectoryPoint::default()
    };
    check(include_str!("golden/joint_trajectory_point.hex"), &point);
}

#[test]
fn diagnostic_msgs() {
    let late =
        DiagnosticStatus::new(DiagnosticLevel::Warn, "reflex", "late").with("missed", 3).with("p99_us", 512);
    let mut camera = DiagnosticStatus::new(DiagnosticLevel::Ok, "camera/scene", "ok");
    camera.hardware_id = "cam0".into();
    let array = DiagnosticArray { header: Header::new(STAMP_NS, ""), status: vec![late, camera] };
    check(include_str!("golden/diagnostic_array.hex"), &array);
    let mut stale = DiagnosticStatus::new(DiagnosticLevel::Stale, "wrist", "stale").with("age_ms", 250);
    stale.hardware_id = "w1".into();
    check(include_str!("golden/diagnostic_status.hex"), &stale);
    check(include_str!("golden/key_value.hex"), &KeyValue { key: "a".into(), value: "bc".into() });
}

#[test]
fn goal() {
    let goal = Goal {
        header: Header::new(STAMP_NS, "base"),
        instruction: "pick up the red mug".into(),
        plan: strings(&["pick(red mug)"]),
        subtask: "reach".into(),
        tokens: strings(&["PLAN", "PICK", "red", "mug"]),
        infeasible_reason: String::new(),
        target_position_m: [0.5, -0.1, 0.12],
        target_orientation_xyzw: [1.0, 0.0, 0.0, 0.0],
        gripper_width_m: 0.08,
        gripper_force_n: 20.0,
        pixel_u: 0.25,
        pixel_v: 0.75,
        confidence: 0.5,
        decision: 42,
        observation_stamp_ns: 1_763_650_000_000_000_000,
    };
    check(include_str!("golden/goal.hex"), &goal);
}
