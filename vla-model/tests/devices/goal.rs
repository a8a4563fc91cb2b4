//! The goal model: same weights, same decisions. The CPU alone is held to what must be true of any device.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Instant;

use reflexarc_vla_model::decision::{Decision, Verdict};
use reflexarc_vla_model::device::{ChosenDevice, DeviceChoice, choose};
use reflexarc_vla_model::goal::config::GoalModelConfig;
use reflexarc_vla_model::goal::features::{scene_patches, wrist_patches};
use reflexarc_vla_model::goal::model::{GoalModel, HostInputs};
use reflexarc_vla_model::goal::policy::GoalPolicy;
use reflexarc_vla_model::grammar::decode_slots;
use reflexarc_vla_model::instruction::{self, INSTRUCTION_VOCABULARY_SIZE, MAX_WORDS};
use reflexarc_vla_model::policy::Policy;
use reflexarc_vla_model::weights;

use super::{graphics, recorded};

const TOLERANCE: f32 = 2e-2;
const SEED: u64 = 11;
fn config() -> GoalModelConfig {
    GoalModelConfig {
        scene_blocks: 2,
        wrist_blocks: 1,
        layers: 2,
        text_layers: 1,
        ..GoalModelConfig::standard(INSTRUCTION_VOCABULARY_SIZE, MAX_WORDS)
    }
}

fn devices() -> Vec<ChosenDevice> {
    let mut devices = vec![choose(DeviceChoice::Cpu).unwrap()];
    devices.extend(graphics::gpu());
    devices
}

/// Pseudo-random observations with zero padding, as the host would lay them out.
fn observations(config: &GoalModelConfig, batch: usize) -> HostInputs {
    let px = config.image_px;
    let mut inputs = HostInputs::zeros(config, batch);
    let mut state = 1_u32;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    };
    let (scene, wrist) = (inputs.scene.len() / batch, inputs.wrist.len() / batch);
    for sample in 0..batch {
        let rgb: Vec<u8> = (0..px * px * 3).map(|_| next()).collect();
        assert!(scene_patches(&rgb, px, &mut inputs.scene[sample * scene..(sample + 1) * scene]));
        assert!(wrist_patches(&rgb, px, &mut inputs.wrist[sample * wrist..(sample + 1) * wrist]));
    }
    inputs.tactile.iter_mut().for_each(|value| *value = f32::from(next()) / 64.0);
    inputs.proprio.iter_mut().for_each(|value| *value = f32::from(next()) / 128.0 - 1.0);
    inputs
}

/// Sample `index` of a batch as a batch of its own.
fn only(inputs: &HostInputs, index: usize) -> HostInputs {
    let part = |values: &[f32]| {
        let each = values.len() / inputs.batch;
        values[index * each..(index + 1) * each].to_vec()
    };
    HostInputs {
        batch: 1,
        scene: part(&inputs.scene),
        wrist: part(&inputs.wrist),
        tactile: part(&inputs.tactile),
        proprio: part(&inputs.proprio),
    }
}

fn worst(a: &[f32], b: &[f32]) -> f32 {
    assert_eq!(a.len(), b.len());
    a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
}

#[test]
fn all_devices_decide_alike() {
    let config = config();
    let inputs = observations(&config, 3);
    let mut reference: Option<Vec<Vec<f32>>> = None;
    for device in devices() {
        let model = GoalModel::random(&config, SEED, &device.device).unwrap();
        let mut mask = [0.0; MAX_WORDS];
        mask[..4].fill(1.0);
        let mut words = [0; MAX_WORDS];
        words[..4].copy_from_slice(&[4, 8, 15, 16]);
        let cache = model.encode_batch(&words, 1, Some(&mask)).unwrap();
        let all: Vec<Vec<f32>> =
            (0..3).map(|index| model.logits(&only(&inputs, index), &cache).unwrap()).collect();
        // The same question again: the same answer, bit for bit.
        assert_eq!(model.logits(&only(&inputs, 0), &cache).unwrap(), all[0], "{}", device.description);
        match &reference {
            None => reference = Some(all),
            Some(reference) => {
                for (expected, actual) in reference.iter().zip(&all) {
                    let distance = worst(expected, actual);
                    println!("{}: logits differ by {distance}", device.description);
                    assert!(distance < TOLERANCE, "{}: {distance}", device.description);
                    assert_eq!(decode_slots(expected).unwrap().tokens, decode_slots(actual).unwrap().tokens);
                }
            }
        }
    }
}

#[test]
fn the_shipped_weights_decide_alike_on_every_device() {
    let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("weights/goal.safetensors");
    let (told, moments) = recorded::episode();
    let words = instruction::encode(&told);
    let words: Vec<i32> = words.ids[..words.len].iter().map(|id| i32::from(*id)).collect();
    let subtask = |decision: &Decision| match decision.verdict {
        Verdict::Act { subtask, .. } => Some(subtask),
        Verdict::Infeasible(_) => None,
    };
    let mut reference = None;
    for device in devices() {
        let name = device.description.clone();
        let model = weights::load(&shipped, &device.device).unwrap().model;
        let cache = model.encode(&words).unwrap();
        let logits: Vec<Vec<f32>> = moments
            .iter()
            .map(|moment| model.logits(&recorded::inputs(model.config(), moment), &cache).unwrap())
            .collect();
        let mut policy = GoalPolicy::from_model("goal", model, device).unwrap();
        policy.instruct(&told);
        policy.warm_up().unwrap();
        let begun = Instant::now();
        let decisions: Vec<_> = moments.iter().map(|moment| policy.decision(moment).unwrap()).collect();
        let each_ms = begun.elapsed().as_secs_f64() * 1e3 / moments.len() as f64;
        println!("{name}: {each_ms:.1} ms for each of {} decisions", moments.len());
        let (expected_logits, expected_decisions) =
            reference.get_or_insert_with(|| (logits.clone(), decisions.clone()));
        for (moment, expected) in expected_decisions.iter().enumerate() {
            let distance = worst(&expected_logits[moment], &logits[moment]);
            println!("{name}: {:?}, logits differ by {distance}", subtask(&decisions[moment]));
            assert!(distance < TOLERANCE, "{name}, moment {moment}: {distance}");
            assert_eq!(decisions[moment].tokens, expected.tokens, "{name}, moment {moment}");
            // The policy adds nothing to what the model says.
            assert_eq!(decode_slots(&logits[moment]).unwrap().tokens, expected.tokens, "{name}");
        }
        let subtasks: BTreeSet<_> = decisions.iter().filter_map(subtask).collect();
        assert!(subtasks.len() >= 3, "{name}: the moments should differ in what to do: {subtasks:?}");
    }
}

#[test]
fn a_batch_of_one_is_a_row_of_a_batch_and_padding_words_change_nothing() {
    let config = config();
    let inputs = observations(&config, 2);
    let device = choose(DeviceChoice::Cpu).unwrap();
    let model = GoalModel::random(&config, SEED, &device.device).unwrap();
    let words = [3, 9, 27, 0, 0, 0, 5, 6, 7, 8, 9, 10];
    let mask = [1.0, 1.0, 1.0, 0.0, 0.0, 0.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0];
    let together = model.encode_batch(&words, 2, Some(&mask)).unwrap();
    let both = model.logits(&inputs, &together).unwrap();
    for (index, real) in [&words[..3], &words[6..]].into_iter().enumerate() {
        let alone = model.logits(&only(&inputs, index), &model.encode(real).unwrap()).unwrap();
        let row = &both[index * alone.len()..(index + 1) * alone.len()];
        assert!(worst(&alone, row) < 1e-3, "row {index}: {}", worst(&alone, row));
    }
}

#[test]
fn the_image_the_instruction_and_the_posture_all_matter() {
    let config = config();
    let inputs = observations(&config, 1);
    let device = choose(DeviceChoice::Cpu).unwrap();
    let model = GoalModel::random(&config, SEED, &device.device).unwrap();
    let cache = model.encode(&[4, 8, 15]).unwrap();
    let base = model.logits(&inputs, &cache).unwrap();
    let changed = |change: &dyn Fn(&mut HostInputs)| {
        let mut other = inputs.clone();
        change(&mut other);
        worst(&base, &model.logits(&other, &cache).unwrap())
    };
    assert!(changed(&|inputs| inputs.scene.fill(0.0)) > 1e-3);
    assert!(changed(&|inputs| inputs.wrist.fill(0.0)) > 1e-3);
    assert!(changed(&|inputs| inputs.proprio.fill(0.0)) > 1e-3);
    assert!(changed(&|inputs| inputs.tactile.fill(0.0)) > 1e-3);
    let other = model.logits(&inputs, &model.encode(&[4, 8, 16]).unwrap()).unwrap();
    assert!(worst(&base, &other) > 1e-3);
}

#[test]
fn the_same_seed_gives_the_same_model_and_bad_input_an_error() {
    let config = config();
    let device = choose(DeviceChoice::Cpu).unwrap();
    let model = |seed| GoalModel::random(&config, seed, &device.device).unwrap();
    let inputs = observations(&config, 1);
    let logits = |model: &GoalModel| model.logits(&inputs, &model.encode(&[1, 2]).unwrap()).unwrap();
    assert_eq!(logits(&model(SEED)), logits(&model(SEED)));
    assert_ne!(logits(&model(SEED)), logits(&model(SEED + 1)));
    let model = model(SEED);
    assert!(model.encode(&[-1]).is_err());
    assert!(model.encode(&[i32::MAX]).is_err());
    assert!(model.encode(&[1; MAX_WORDS + 1]).is_err());
    assert!(model.encode(&[]).is_ok());
    let mut short = inputs.clone();
    short.scene.pop();
    assert!(model.logits(&short, &model.encode(&[1]).unwrap()).is_err());
}
