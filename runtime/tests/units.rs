//! Checkpoints that were trained in LeRobot's units drive the arm as those in rad and m do.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests fail by panicking")]

use std::path::{Path, PathBuf};

use reflexarc_drivers::arm::ArmJointConfig;
use reflexarc_drivers::arm::config::Axis;
use reflexarc_runtime::config::{Config, DeviceChoice};
use reflexarc_runtime::load::load_policy;
use reflexarc_runtime::units::UnitsChoice;
use reflexarc_vla_model::chunk::Ahead;
use reflexarc_vla_model::observation::{Camera, Observation, ToolPose};
use reflexarc_vla_model::policy::Output;

const MEAN: [[f64; 6]; 2] = [[0.1, -0.2, 0.3, 0.0, -0.1, 0.04], [0.0, -0.1, 0.2, 0.1, -0.2, 0.045]];
const STD: [[f64; 6]; 2] = [[0.3, 0.4, 0.5, 0.3, 0.2, 0.01], [0.25, 0.35, 0.45, 0.3, 0.2, 0.008]];

/// A statistic of value `i`, from its axis and its unit: (gain, offset).
type Statistic<'a> = &'a dyn Fn(usize, &Axis, (f64, f64)) -> f64;

struct Robot {
    folder: PathBuf,
    config: Config,
    axes: Vec<Axis>,
}

impl Drop for Robot {
    fn drop(&mut self) {
        let _gone = std::fs::remove_dir_all(&self.folder);
    }
}

fn crates() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// A desktop arm with LeRobot's calibration, each joint with a range and a middle of its own.
fn robot(name: &str) -> Robot {
    let folder = std::env::temp_dir().join(format!("reflexarc-units-{name}-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let joint = |name: &str, id: i32| {
        let figures = format!(
            r#"{{"id": {id}, "drive_mode": 0, "homing_offset": 0, "range_min": {}, "range_max": {}}}"#,
            800 + 7 * id,
            3300 - 11 * id
        );
        format!("\"{name}\": {figures}")
    };
    let mut joints: Vec<String> = (1..=5).map(|id| joint(&format!("joint{id}"), id)).collect();
    joints.push(joint("gripper", 6));
    std::fs::write(folder.join("arm.json"), format!("{{{}}}", joints.join(", "))).unwrap();

    let mut config = Config::default();
    config.robot.urdf = crates().join("kinematics/robots/arm5.urdf").to_str().unwrap().to_owned();
    config.robot.posture_rad = vec![0.0; 5];
    config.senses.cameras = vec!["camera1".into(), "camera2".into()];
    (config.senses.camera_width_px, config.senses.camera_height_px) = (96, 64);
    config.policy.device = DeviceChoice::Cpu;
    let mut arm = reflexarc_drivers::arm::ArmConfig {
        calibration: Some(folder.join("arm.json")),
        joints: (1..=5)
            .map(|i| ArmJointConfig {
                name: format!("joint{i}"),
                middle_rad: 0.1 * f64::from(i) - 0.3,
                ..ArmJointConfig::default()
            })
            .collect(),
        ..reflexarc_drivers::arm::ArmConfig::default()
    };
    arm.gripper.name.clone_from(&config.robot.gripper_joint);
    let axes = arm.axes(&arm.load_calibration(|_| None).unwrap().1).unwrap();
    config.drivers.arm = Some(arm);
    Robot { folder, config, axes }
}

/// The tiny ACT checkpoint with other statistics: those of `MEAN` and `STD` after `map` from rad and m, and
/// extremes that servos of `axes` read.
fn checkpoint(robot: &Robot, name: &str, map: impl Fn(usize, &Axis) -> (f64, f64)) -> PathBuf {
    let from = crates().join("vla-model/tests/data/lerobot/act_tiny");
    let to = robot.folder.join(name);
    std::fs::create_dir_all(&to).unwrap();
    for file in ["config.json", "model.safetensors", "policy_preprocessor.json", "policy_postprocessor.json"]
    {
        std::fs::copy(from.join(file), to.join(file)).unwrap();
    }
    let mapped = |of: Statistic<'_>| -> Vec<f32> {
        robot.axes.iter().enumerate().map(|(i, axis)| of(i, axis, map(i, axis)) as f32).collect()
    };
    let mut tensors = Vec::new();
    for (feature, (mean, std)) in ["observation.state", "action"].iter().zip(MEAN.iter().zip(&STD)) {
        let line = |value: f64, (gain, offset): (f64, f64)| gain * value + offset;
        tensors.push((format!("{feature}.mean"), mapped(&|i, _, by| line(mean[i], by))));
        tensors.push((format!("{feature}.std"), mapped(&|i, _, by| std[i] * by.0)));
        tensors.push((
            format!("{feature}.min"),
            mapped(&|i, axis, by| line(axis.value(1013 + 50 * i as i32), by)),
        ));
        tensors.push((
            format!("{feature}.max"),
            mapped(&|i, axis, by| line(axis.value(2905 - 30 * i as i32), by)),
        ));
    }
    for camera in ["camera1", "camera2"] {
        tensors.push((format!("observation.images.{camera}.mean"), vec![0.485, 0.456, 0.406]));
        tensors.push((format!("observation.images.{camera}.std"), vec![0.229, 0.224, 0.225]));
    }
    let mut header = serde_json::Map::new();
    let mut bytes = Vec::new();
    for (name, values) in &tensors {
        let begin = bytes.len();
        values.iter().for_each(|value| bytes.extend(value.to_le_bytes()));
        let tensor = serde_json::json!({"dtype": "F32", "shape": [values.len()], "data_offsets": [begin, bytes.len()]});
        header.insert(name.clone(), tensor);
    }
    let header = serde_json::to_vec(&header).unwrap();
    let file = [&(header.len() as u64).to_le_bytes()[..], &header, &bytes].concat();
    for step in ["preprocessor_step_3_normalizer", "postprocessor_step_0_unnormalizer"] {
        std::fs::write(to.join(format!("policy_{step}_processor.safetensors")), &file).unwrap();
    }
    to
}

fn actions(robot: &Robot, folder: &Path) -> (String, Vec<f32>) {
    let mut loaded = load_policy(folder, &robot.config).unwrap();
    let camera = |name: &str| Camera {
        name: name.into(),
        width: 96,
        height: 64,
        rgb: (0..96 * 64 * 3).map(|i| (i * 7 % 251) as u8).collect(),
    };
    let observation = Observation {
        time_ns: 1,
        cameras: vec![camera("camera1"), camera("camera2")],
        tactile: vec![],
        joints_rad: vec![0.2, -0.3, 0.1, 0.25, -0.05],
        gripper_width_m: 0.05,
        base_from_tool: ToolPose { position_m: [0.2, 0.0, 0.2], rotation_xyzw: [1.0, 0.0, 0.0, 0.0] },
    };
    match loaded.policy.decide(&observation, &Ahead::default()).unwrap() {
        Output::Chunk(chunk) => (loaded.units.unwrap(), chunk.actions),
        other => panic!("expected a chunk, found {other:?}"),
    }
}

#[test]
fn degrees_and_percent_are_told_by_the_statistics_and_mean_the_same_motion() {
    let robot = robot("same");
    let si = checkpoint(&robot, "si", |_, _| (1.0, 0.0));
    let degrees = checkpoint(&robot, "degrees", |_, axis| axis.lerobot(true));
    let percent = checkpoint(&robot, "percent", |_, axis| axis.lerobot(false));
    let (told, wanted) = actions(&robot, &si);
    assert!(told.starts_with("rad and m, because"), "{told}");
    for (folder, name) in
        [(&degrees, "LeRobot's degrees, because"), (&percent, "LeRobot's -100..100, because")]
    {
        let (told, found) = actions(&robot, folder);
        assert!(told.starts_with(name), "{told}");
        let furthest = wanted.iter().zip(&found).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        assert!(furthest < 1e-5, "{name}: {furthest} apart");
    }
    assert!(wanted.iter().any(|value| value.abs() > 0.05), "{wanted:?}");
}

#[test]
fn wrong_units_are_refused_before_anything_moves() {
    let mut robot = robot("wrong");
    let degrees = checkpoint(&robot, "degrees", |_, axis| axis.lerobot(true));
    robot.config.policy.units = UnitsChoice::Radians;
    let error = load_policy(&degrees, &robot.config).err().unwrap().to_string();
    assert!(error.contains("policy.units = \"radians\"") && error.contains("beyond three turns"), "{error}");
    robot.config.policy.units = UnitsChoice::Auto;
    robot.config.drivers.arm = None;
    let error = load_policy(&degrees, &robot.config).err().unwrap().to_string();
    assert!(error.contains("expected [drivers.arm]"), "{error}");
}
