//! Hardware in a configuration, and a runtime that drives it through processes of its own.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests fail by panicking")]

use reflexarc_runtime::Config;
use reflexarc_runtime::devices::Driver;

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
        ("camera_width_px = 320", "camera_width_px = 640", "drivers.cameras.front.width_px"),
    ] {
        assert!(SO101.contains(from), "{from}");
        let error = Config::parse(&SO101.replacen(from, to, 1)).unwrap_err().to_string();
        assert!(error.contains(said), "`{error}` does not say `{said}`");
    }
}
