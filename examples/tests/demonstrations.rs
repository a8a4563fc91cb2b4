//! Demonstrations: repeatable, labelled in any state, and in the policy's own grammar.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests fail by panicking")]

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use reflexarc_examples::dataset::{Mix, draw};
use reflexarc_examples::demo::{Disturbance, Driver, Pace, Sample, rollout};
use reflexarc_sim::expert::Step;
use reflexarc_vla_model::token::Token;

fn frames(seed: u64) -> Vec<Sample> {
    let mut kept = Vec::new();
    let disturbance = Disturbance { pushes_per_s: 0.6, random_start: 0.75 };
    let pace = Pace { length_s: 4.0, frame_every_s: 0.1 };
    rollout(seed, disturbance, pace, Driver::Expert, &mut |sample| kept.push(sample)).unwrap();
    kept
}

#[test]
fn the_same_seed_gives_the_same_frames() {
    let (once, again) = (frames(1_000_003), frames(1_000_003));
    assert!(once.len() > 10);
    assert_eq!(once.len(), again.len());
    for (a, b) in once.iter().zip(&again) {
        assert_eq!((&a.scene, &a.wrist, a.joints_rad), (&b.scene, &b.wrist, b.joints_rad));
        assert_eq!(a.objects[a.target].advice, b.objects[b.target].advice);
    }
}

#[test]
fn disturbed_rollouts_visit_every_step_and_every_label_is_a_decision() {
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    let (mut steps, mut feasible, mut infeasible) = (Vec::new(), 0, 0);
    for sample in (0..12).flat_map(|i| frames(1_000_100 + i)) {
        steps.extend(sample.objects[sample.target].advice.map(|advice| advice.step));
        let Some(label) = draw(&mut rng, &sample, &Mix::default()).unwrap() else { continue };
        let filled = label.slots.iter().flatten().count();
        if label.slots[0] == Some(Token::INFEASIBLE) {
            infeasible += 1;
            assert_eq!((filled, label.scene_uv, label.wrist_uv), (2, None, None));
        } else {
            feasible += 1;
            assert_eq!(filled, label.slots.len());
        }
    }
    for step in [Step::Reach, Step::Approach, Step::Grasp, Step::Lift, Step::Retreat, Step::Done] {
        assert!(steps.contains(&step), "{step:?} never happened");
    }
    assert!(feasible > 3 * infeasible && infeasible > 10, "{feasible} feasible, {infeasible} infeasible");
}
