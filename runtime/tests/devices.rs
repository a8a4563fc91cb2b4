//! Hardware in a configuration, and a runtime that drives it through processes of its own.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests fail by panicking")]

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use reflexarc_runtime::devices::Driver;
use reflexarc_runtime::{Config, load_chain};

const SO101: &str = include_str!("../so101.toml");

#[test]
fn the_sample_of_an_so101_is_right() {
    let config = Config::parse(SO101).unwrap();
    assert_eq!(
        config.drivers.all(),
        [Driver::Arm, Driver::Camera("front".into()), Driver::Camera("wrist".into())]
    );
    assert_eq!(Config::parse(&config.to_toml().unwrap()).unwrap(), config);
}

#[test]
fn hardware_that_does_not_fit_is_named() {
    for (from, to, said) in [
        ("servos = \"sts3215\"", "servos = \"sts\"", "drivers.arm.servos"),
        ("servos = \"sts3215\"", "baud = 7", "baud = 7: expected 9600 to 4500000"),
        ("servos = \"sts3215\"", "bauds = 7", "drivers.arm.bauds"),
        ("[drivers.cameras.front]", "[drivers.cameras.back]", "drivers.cameras.back"),
        ("rate_hz = 30\n\n", "rate_hz = 0\n\n", "drivers.cameras.front"),
        ("name = \"gripper\"\n", "name = \"jaw\"\n", "robot.gripper_joint, \"gripper\""),
        (
            "[safety]\n",
            "[link.secure]\ncredentials = { users = { file = \"users\" } }\n[safety]\n",
            "link.secure.credentials",
        ),
        ("camera_width_px = 320", "camera_width_px = 640", "drivers.cameras.front.width_px"),
    ] {
        assert!(SO101.contains(from), "{from}");
        let error = Config::parse(&SO101.replacen(from, to, 1)).unwrap_err().to_string();
        assert!(error.contains(said), "`{error}` does not say `{said}`");
    }
}

/// A folder of this test's own, gone with it.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("reflexarc-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _gone = std::fs::remove_dir_all(&self.0);
    }
}

/// A desktop arm with simulated servos and drawn cameras, for the tiny ACT checkpoint of the model's tests, whose
/// random weights may send the arm anywhere.
fn simulated_robot(folder: &Path) -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let joint = |i: usize| {
        format!(
            r#""joint{i}": {{"id": {i}, "drive_mode": 0, "homing_offset": 0, "range_min": 900, "range_max": 3200}},"#
        )
    };
    let calibration = format!(
        r#"{{{} "gripper": {{"id": 6, "drive_mode": 0, "homing_offset": 0, "range_min": 2000, "range_max": 3500}}}}"#,
        (1..=5).map(joint).collect::<String>()
    );
    std::fs::write(folder.join("arm.json"), calibration).unwrap();
    let joints: String = (1..=5).map(|i| format!("[[drivers.arm.joints]]\nname = \"joint{i}\"\n")).collect();
    let camera = |name: &str| {
        format!(
            "[drivers.cameras.{name}]\nsource = \"synthetic\"\nwidth_px = 96\nheight_px = 64\nrate_hz = 30\n"
        )
    };
    let text = format!(
        r#"
[robot]
urdf = {urdf:?}
posture_rad = [0.0, 0.0, 0.0, 0.0, 0.0]

[senses]
cameras = ["camera1", "camera2"]
camera_width_px = 96
camera_height_px = 64
camera_max_age_ms = 1000
joints_max_age_ms = 500
tactile = []

[limits]
workspace_min_m = [-9.0, -9.0, -9.0]
workspace_max_m = [9.0, 9.0, 9.0]

[audit]
table_z_m = -9.0

[safety]
start_pose_rad = 100.0
require_calibrated = true

[policy]
units = "radians"

[drivers.arm]
port = "simulated"
calibration = {calibration:?}
reply_timeout_ms = 50
servo_dead_ms = 2000
{joints}
{one}
{two}
"#,
        urdf = here.join("../kinematics/robots/arm5.urdf"),
        calibration = folder.join("arm.json"),
        one = camera("camera1"),
        two = camera("camera2"),
    );
    let path = folder.join("robot.toml");
    std::fs::write(&path, text).unwrap();
    path
}

/// Commands keep the limits; what a driver makes up for after lost ones must too.
#[test]
fn the_arms_driver_moves_no_joint_faster_than_the_robots_limits() {
    let folder = Folder::new("devices-speed");
    let mut config = Config::load(&simulated_robot(&folder.0)).unwrap();
    let chain = load_chain(&config).unwrap();
    config.drivers.arm.as_mut().unwrap().joints[1].max_speed_rad_s = Some(0.3);
    let mut speeds_at = |speed_scale| {
        config.limits.speed_scale = speed_scale;
        let arm = config.drivers.arm_within(&chain, &config.limits).unwrap();
        arm.joints.iter().map(|joint| joint.max_speed_rad_s.unwrap()).collect::<Vec<_>>()
    };
    // The description allows 3.1 rad/s, the driver's configuration 3.
    assert_eq!(speeds_at(1.0), [3.0, 0.3, 3.0, 3.0, 3.0]);
    assert_eq!(speeds_at(0.5), [1.55, 0.3, 1.55, 1.55, 1.55]);
}

/// The whole way round with the drivers as processes: the servos' bytes, joint states, the model, commands, servos.
#[test]
fn a_run_starts_its_drivers_and_the_arm_follows() {
    let folder = Folder::new("devices");
    let config = simulated_robot(&folder.0);
    let model = Path::new(env!("CARGO_MANIFEST_DIR")).join("../vla-model/tests/data/lerobot/act_tiny");
    let report = folder.0.join("report.json");
    let output = Command::new(env!("CARGO_BIN_EXE_reflexarc"))
        .arg("run")
        .args([Path::new("--config"), &config, Path::new("--model"), &model])
        .args([Path::new("--report"), &report, Path::new("--black-box"), &folder.0])
        .args(["--seconds", "6", "--keep-going"])
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let (said, cried) = (
        String::from_utf8_lossy(&output.stdout).into_owned(),
        String::from_utf8_lossy(&output.stderr).into_owned(),
    );
    assert!(said.contains("drivers arm, camera camera1, camera camera2"), "{said}\n{cried}");
    assert!(cried.contains("arm: follows"), "{said}\n{cried}");
    let report: serde_json::Value = serde_json::from_str(&std::fs::read_to_string(&report).unwrap()).unwrap();
    assert!(report["decisions"].as_u64().unwrap() > 0, "{report}");
    // The drivers have ended with it: the terminal's path could be taken again at once.
    assert!(!cried.contains("starts again"), "{cried}");
}

/// A run of its own process, killed where the test ends early.
struct Run(Child);

impl Drop for Run {
    fn drop(&mut self) {
        let _ended = (self.0.kill(), self.0.wait());
    }
}

#[test]
fn an_operator_at_a_terminal_stops_the_robot_and_lets_it_go_again() {
    let folder = Folder::new("operate");
    let config = simulated_robot(&folder.0);
    let model = Path::new(env!("CARGO_MANIFEST_DIR")).join("../vla-model/tests/data/lerobot/act_tiny");
    let mut run = Run(Command::new(env!("CARGO_BIN_EXE_reflexarc"))
        .args(["run", "--keep-going", "--no-black-box", "--listen", "tcp/127.0.0.1:0"])
        .args([Path::new("--config"), &config, Path::new("--model"), &model])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap());
    // Read to the end, so that the run never waits for a reader.
    let lines = BufReader::new(run.0.stdout.take().unwrap()).lines();
    let (send, heard) = std::sync::mpsc::channel();
    let reader = move || lines.map_while(Result::ok).for_each(|line| drop(send.send(line)));
    std::thread::Builder::new().name("reader".into()).spawn(reader).unwrap();
    let endpoint = heard
        .iter()
        .find_map(|line| Some(line.strip_prefix("link    listens on [\"")?.split('"').next()?.to_owned()))
        .unwrap();
    let operate = |words: &[&str]| {
        let output = Command::new(env!("CARGO_BIN_EXE_reflexarc"))
            .arg("operate")
            .args(words)
            .args(["--connect", &endpoint])
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        (output.status.success(), said + &String::from_utf8_lossy(&output.stderr))
    };
    let (stopped, said) = operate(&["stop"]);
    assert!(stopped && said.contains("controlled_stop"), "{said}");
    let (told, said) = operate(&["tell", "pick up the blue cube"]);
    assert!(told && said.contains("stopped: emergency stop"), "{said}");
    let (reset, said) = operate(&["reset", "--release"]);
    assert!(reset, "{said}");
}

#[test]
fn a_self_test_closes_the_loop_without_the_robot() {
    let folder = Folder::new("selftest");
    let config = simulated_robot(&folder.0);
    let model = Path::new(env!("CARGO_MANIFEST_DIR")).join("../vla-model/tests/data/lerobot/act_tiny");
    let output = Command::new(env!("CARGO_BIN_EXE_reflexarc"))
        .args(["selftest", "--json", "--seconds", "1"])
        .args([Path::new("--config"), &config, Path::new("--model"), &model])
        .output()
        .unwrap();
    let cried = String::from_utf8_lossy(&output.stderr);
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(report["commands"].as_u64().unwrap() > 0, "{cried}{report}");
    assert!(report["observation_to_command"]["count"].as_u64().unwrap() > 0, "{cried}{report}");
    // A busy machine may miss periods, which it says; none of the other faults may be there.
    for fault in ["commanded nothing", "errors of the model", "refused", "sent"] {
        assert!(!cried.contains(fault), "{cried}");
    }
}
