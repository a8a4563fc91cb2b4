//! The goal policy at its boundary: every malformed observation is an error, never a panic.
#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

use reflexarc_vla_model::chunk::Ahead;
use reflexarc_vla_model::compute::Precision;
use reflexarc_vla_model::device::DeviceChoice;
use reflexarc_vla_model::goal::policy::{CpuOptions, GoalPolicy};
use reflexarc_vla_model::grammar;
use reflexarc_vla_model::observation::{Camera, Observation, Tactile, ToolPose};
use reflexarc_vla_model::policy::{Output, Policy, PolicyError};

fn observation() -> Observation {
    let camera = |name: &str, shade: u8| Camera {
        name: name.into(),
        width: 96,
        height: 96,
        rgb: (0..96 * 96 * 3).map(|at| (at % 251) as u8 ^ shade).collect(),
    };
    let pad = |name: &str| Tactile { name: name.into(), taxels_n: vec![0.5; 48] };
    Observation {
        time_ns: 42,
        cameras: vec![camera("wrist", 3), camera("scene", 90)],
        tactile: vec![pad("right"), pad("left")],
        joints_rad: vec![0.1; 7],
        gripper_width_m: 0.06,
        base_from_tool: ToolPose { position_m: [0.5, 0.1, 0.2], rotation_xyzw: [1.0, 0.0, 0.0, 0.0] },
    }
}

#[test]
fn a_policy_decides_in_grammar_and_decides_the_same_again() {
    let mut policy = GoalPolicy::random(5, DeviceChoice::Cpu).unwrap();
    assert_eq!(policy.decision(&observation()).unwrap_err(), PolicyError::NoInstruction);
    policy.warm_up().unwrap();
    assert_eq!(policy.decision(&observation()).unwrap_err(), PolicyError::NoInstruction);
    for text in ["pick up the red mug", "", "日本語", &"word ".repeat(500)] {
        policy.instruct(text);
        let decision = policy.decision(&observation()).unwrap();
        assert_eq!(decision.observation_ns, 42);
        assert_eq!(grammar::parse(&decision.tokens).unwrap(), decision.verdict);
        let again = policy.decide(&observation(), &Ahead::default()).unwrap();
        assert_eq!(again, Output::Goals(decision));
    }
    assert_eq!(policy.name(), "goal-random");
}

#[test]
fn malformed_observations_are_errors_and_the_policy_stays_usable() {
    let mut policy = GoalPolicy::random(5, DeviceChoice::Cpu).unwrap();
    policy.instruct("pick up the red mug");
    type Change = dyn Fn(&mut Observation);
    let refuse = |policy: &mut GoalPolicy, change: &Change| {
        let mut bad = observation();
        change(&mut bad);
        policy.decision(&bad).unwrap_err().to_string()
    };
    let cases: [(&str, &Change); 8] = [
        ("camera `scene` is missing", &|o| o.cameras.truncate(1)),
        ("camera `wrist` is 48 x 48", &|o| {
            (o.cameras[0].width, o.cameras[0].height) = (48, 48);
            o.cameras[0].rgb.truncate(48 * 48 * 3);
        }),
        ("has 5 values", &|o| o.cameras[0].rgb.truncate(5)),
        ("tactile pad `left` is missing", &|o| o.tactile.truncate(1)),
        ("has 47 values, expected 48", &|o| o.tactile[0].taxels_n.truncate(47)),
        ("not finite", &|o| o.tactile[1].taxels_n[3] = f32::INFINITY),
        ("joint positions", &|o| o.joints_rad[6] = f32::NAN),
        ("expected 7", &|o| o.joints_rad.push(0.0)),
    ];
    for (expected, change) in cases {
        let message = refuse(&mut policy, change);
        assert!(message.contains(expected), "expected `{expected}` in `{message}`");
    }
    policy.decision(&observation()).unwrap();
}

#[test]
fn the_shipped_file_decides_in_its_own_numbers_unless_told_otherwise() {
    let shipped = include_bytes!("../weights/goal.safetensors");
    let decide = |cpu: CpuOptions| {
        let mut policy = GoalPolicy::from_bytes(shipped, DeviceChoice::Cpu, cpu).unwrap();
        policy.instruct("pick up the red mug");
        (policy.name().to_owned(), policy.decision(&observation()).unwrap().tokens)
    };
    let (name, tokens) = decide(CpuOptions::default());
    assert_eq!(name, "goal-int8");
    assert_eq!(decide(CpuOptions { threads: 1, ..CpuOptions::default() }), (name, tokens));
    let exact = CpuOptions { precision: Some(Precision::F32), ..CpuOptions::default() };
    assert_eq!(decide(exact).0, "goal-f32");
}

#[test]
fn a_file_that_is_no_weights_file_is_refused() {
    assert!(GoalPolicy::from_bytes(b"nonsense", DeviceChoice::Cpu, CpuOptions::default()).is_err());
}
