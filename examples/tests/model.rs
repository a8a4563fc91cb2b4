//! The shipped model does the work: it lifts what it is told to, random weights do not, and what it
//! cannot ground it does not touch. Each episode runs the whole runtime in lockstep; the full
//! evaluation is the `evaluate` example.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests fail by panicking")]

use std::path::Path;
use std::sync::{Arc, Mutex};

use reflexarc_examples::episode::{Decider, Episode, EpisodeResult, Lent, run};
use reflexarc_examples::translate;
use reflexarc_runtime::config::ChunkConfig;
use reflexarc_runtime::fault::FaultProfile;
use reflexarc_sim::node::Faults;
use reflexarc_sim::object::Kind;
use reflexarc_sim::scene::Scene;
use reflexarc_vla_model::device::DeviceChoice;
use reflexarc_vla_model::goal::policy::GoalPolicy;
use reflexarc_vla_model::phrasing;

/// Scenes that neither training nor the published evaluation uses.
const FIRST_SEED: u64 = 6000;

fn shipped() -> Arc<Mutex<GoalPolicy>> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../vla-model/weights/goal.safetensors");
    Arc::new(Mutex::new(GoalPolicy::load(&path, DeviceChoice::Cpu).unwrap()))
}

/// A scene and the instruction that names object `target` of it.
fn told(scene: Scene, target: usize) -> Episode {
    let placed = &scene.objects[target];
    let instruction = phrasing::canonical(translate::color(placed.paint), translate::object(placed.kind()));
    Episode {
        scene,
        instruction,
        target,
        limit_s: 10.0,
        faults: Faults::default(),
        chunk: ChunkConfig::default(),
        profile: FaultProfile::default(),
        delay_ms: None,
        servos: None,
    }
}

fn go(episode: &Episode, policy: &Arc<Mutex<GoalPolicy>>) -> EpisodeResult {
    run(episode, Decider::Policy(Box::new(Lent(Arc::clone(policy))))).unwrap()
}

fn successes(results: &[EpisodeResult]) -> usize {
    results.iter().filter(|result| result.outcome == "success").count()
}

#[test]
fn it_lifts_what_it_is_told_to() {
    let policy = shipped();
    let results: Vec<_> =
        (0..10).map(|i| Scene::pick(FIRST_SEED + i)).map(|s| go(&told(s, 0), &policy)).collect();
    assert!(successes(&results) >= 8, "{results:#?}");
}

#[test]
fn told_of_another_object_it_lifts_that_one() {
    let policy = shipped();
    let results: Vec<_> = (0..6)
        .map(|i| Scene::pick(FIRST_SEED + i))
        .filter_map(|scene| {
            let other = (1..scene.objects.len()).find(|o| scene.objects[*o].kind() != Kind::Bowl)?;
            Some(go(&told(scene, other), &policy))
        })
        .collect();
    assert!(successes(&results) + 1 >= results.len(), "{results:#?}");
}

#[test]
fn random_weights_lift_nothing() {
    let policy = Arc::new(Mutex::new(GoalPolicy::random(1, DeviceChoice::Cpu).unwrap()));
    let results: Vec<_> =
        (0..6).map(|i| Scene::pick(FIRST_SEED + i)).map(|s| go(&told(s, 0), &policy)).collect();
    assert_eq!(successes(&results), 0, "{results:#?}");
}

#[test]
fn what_cannot_be_done_is_said_and_not_attempted() {
    let policy = shipped();
    for (instruction, reason) in [
        ("sing me a song", "unknown_action"),
        ("pick up the red teapot", "unknown_object"),
        ("pick up the mug", "unclear"),
    ] {
        let mut episode = told(Scene::pick(FIRST_SEED), 0);
        instruction.clone_into(&mut episode.instruction);
        let result = go(&episode, &policy);
        let said = result.outcome.replace(' ', "_");
        assert!(said.contains("infeasible") && said.contains(reason), "{instruction}: {result:#?}");
        assert!(!result.moved, "{instruction}: {result:#?}");
    }
}

#[test]
fn with_black_cameras_it_holds_and_says_why() {
    let policy = shipped();
    let mut episode = told(Scene::pick(FIRST_SEED), 0);
    episode.faults.cameras_black = true;
    episode.limit_s = 3.0;
    let result = go(&episode, &policy);
    assert!(!result.moved, "{result:#?}");
    assert!(result.mode.contains("black") || result.outcome.contains("blind"), "{result:#?}");
}
