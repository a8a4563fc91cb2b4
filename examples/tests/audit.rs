//! The audit on a clean episode and on its decisions with tokens corrupted: `audit_check` in small.
#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

use std::path::Path;

use reflexarc_examples::audited::corruption::Corruption;
use reflexarc_examples::audited::oracle::{Harm, Oracle};
use reflexarc_examples::audited::stream::{Said, listen};
use reflexarc_examples::audited::tally::{Tally, corrupt};
use reflexarc_examples::contender::Contender;
use reflexarc_examples::episode::Episode;
use reflexarc_examples::translate;
use reflexarc_kinematics::{ARM7_HOME_RAD, ARM7_URDF, Chain};
use reflexarc_runtime::Config;
use reflexarc_runtime::audit::{Audit, Facts};
use reflexarc_runtime::config::ChunkConfig;
use reflexarc_runtime::fault::FaultProfile;
use reflexarc_runtime::runtime::{load_chain, load_description};
use reflexarc_sim::node::Faults;
use reflexarc_sim::scene::{SCENE_CAMERA_FOV_DEG, SCENE_CAMERA_LOOKS_AT_M, SCENE_CAMERA_M, Scene};
use reflexarc_vla_model::decision::{Color, Decision, Goal, Object, Subtask, ToolTarget, Verdict};
use reflexarc_vla_model::device::DeviceChoice;
use reflexarc_vla_model::phrasing;

fn audit() -> Audit {
    let config = Config::default();
    Audit::new(load_chain(&config).unwrap(), &config, &load_description(&config).unwrap()).unwrap()
}

#[test]
fn the_runtime_knows_the_reference_rig_s_camera() {
    let audit = Config::default().audit;
    let near = |a: f64, b: f32| (a - f64::from(b)).abs() < 1e-3;
    assert!((0..3).all(|i| near(audit.camera_position_m[i], SCENE_CAMERA_M[i])));
    assert!((0..3).all(|i| near(audit.camera_looks_at_m[i], SCENE_CAMERA_LOOKS_AT_M[i])));
    assert!(near(audit.camera_fov_rad, SCENE_CAMERA_FOV_DEG.to_radians()));
}

#[test]
fn harmful_goals_are_caught_and_a_clean_episode_is_left_alone() {
    let scene = Scene::pick(1000);
    let target = scene.target();
    let instruction = phrasing::canonical(translate::color(target.paint), translate::object(target.kind()));
    let episode = Episode {
        target: scene.target,
        instruction,
        limit_s: 12.0,
        faults: Faults::default(),
        chunk: ChunkConfig::default(),
        profile: FaultProfile::default(),
        delay_ms: None,
        servos: None,
        scene,
    };
    let weights = Path::new(env!("CARGO_MANIFEST_DIR")).join("../vla-model/weights/goal.safetensors");
    let policy = Contender::goal(&weights, DeviceChoice::Cpu, None).unwrap().policy;
    let heard = listen(&episode, policy).unwrap();
    assert_eq!(heard.result.outcome, "success");
    assert_eq!(heard.result.refused, 0, "{:?}", heard.audit);
    assert_eq!(heard.said.len() as u64, heard.result.decisions);

    let tallies = corrupt(&heard, &audit(), &Oracle::new().unwrap(), 50, 1).unwrap();
    let mut all = Tally::default();
    for (kind, tally) in Corruption::ALL.into_iter().zip(tallies) {
        assert_eq!(tally.corrupted, 50, "{}", kind.name());
        all.merge(tally);
    }
    let (harmful, caught) = all.harm();
    assert!(harmful >= 10, "{all:?}");
    assert_eq!(caught, harmful, "{all:?}");
    assert!(all.meaningless > 0 && all.harmless > 10, "{all:?}");
}

/// The oracle judges by itself: it must find harm where there is some, and none where there is none.
#[test]
fn the_oracle_tells_harm_from_none() {
    let oracle = Oracle::new().unwrap();
    let chain = Chain::from_urdf(ARM7_URDF, "base", "tool").unwrap();
    let tool_m = chain.base_from_tip(&ARM7_HOME_RAD).translation.vector.into();
    let harm = |position_m: [f64; 3]| {
        let verdict = Verdict::Act {
            plan: vec![Goal::Pick { color: Color::Red, object: Object::Mug }],
            subtask: Subtask::Reach,
            target: ToolTarget { position_m, yaw_rad: 0.2, gripper_width_m: 0.08, gripper_force_n: 10.0 },
            pixel_uv: [0.5, 0.5],
        };
        let decision = Decision { tokens: Vec::new(), verdict, confidence: 1.0, observation_ns: 0 };
        let facts = Facts { tool_m, gripper_width_m: 0.08, felt_n: 0.0 };
        oracle.harm(&Said { decision, facts, q: ARM7_HOME_RAD }).unwrap()
    };
    assert_eq!(harm([0.5, 0.1, 0.2]), None);
    assert_eq!(harm([0.5, 0.1, 0.024]), None);
    assert!(matches!(harm([0.5, 0.1, 0.01]), Some(Harm::Table { .. })));
    assert!(matches!(harm([0.74, 0.34, 0.3]), Some(Harm::Limit { .. })));
}
