//! The scripted expert bounds what can be learned, so it must succeed through the same runtime,
//! limits and link as the model will.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests fail by panicking")]

use reflexarc_examples::episode::{Decider, Episode, run};
use reflexarc_runtime::config::ChunkConfig;
use reflexarc_runtime::fault::FaultProfile;
use reflexarc_sim::node::Faults;
use reflexarc_sim::scene::Scene;

fn episode(seed: u64) -> Episode {
    let scene = Scene::pick(seed);
    let target = scene.target;
    Episode {
        scene,
        instruction: "pick it up".to_owned(),
        target,
        limit_s: 12.0,
        faults: Faults::default(),
        chunk: ChunkConfig::default(),
        profile: FaultProfile::default(),
        delay_ms: None,
        servos: None,
    }
}

#[test]
fn the_expert_lifts_at_least_19_of_20() {
    let failures: Vec<_> = (5000..5020)
        .map(|seed| run(&episode(seed), Decider::Expert).unwrap())
        .filter(|result| result.outcome != "success")
        .map(|result| (result.seed, result.outcome, result.last_subtask))
        .collect();
    assert!(failures.len() <= 1, "{failures:?}");
}

#[test]
fn lockstep_repeats_bit_for_bit() {
    let once = run(&episode(5003), Decider::Expert).unwrap();
    let again = run(&episode(5003), Decider::Expert).unwrap();
    assert_eq!(once, again);
}
