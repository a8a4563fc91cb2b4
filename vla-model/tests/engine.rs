//! The goal model's two forms: burn's network, and the engine that decides on the CPU.
#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stdout, reason = "tests fail by panicking")]

mod recorded;

use std::time::Instant;

use burn::tensor::Device;
use reflexarc_vla_model::compute::{Backend, Isa, Precision};
use reflexarc_vla_model::goal::config::GoalModelConfig;
use reflexarc_vla_model::goal::engine::Engine;
use reflexarc_vla_model::goal::model::{GoalModel, HostInputs};
use reflexarc_vla_model::grammar::decode_slots;
use reflexarc_vla_model::instruction::{self, INSTRUCTION_VOCABULARY_SIZE, MAX_WORDS};
use reflexarc_vla_model::weights::{self, Quantisation, WeightsError, to_bytes};

const SHIPPED: &[u8] = include_bytes!("../weights/goal.safetensors");
/// Of the largest logit: f32 sums in another order.
const EXACT: f32 = 2e-5;

fn words(text: &str) -> Vec<i32> {
    let encoded = instruction::encode(text);
    encoded.ids[..encoded.len].iter().map(|id| i32::from(*id)).collect()
}

/// The largest difference as a share of the largest expected value.
fn error(expected: &[f32], actual: &[f32]) -> f32 {
    assert_eq!(expected.len(), actual.len());
    let largest = expected.iter().fold(f32::MIN_POSITIVE, |top, value| top.max(value.abs()));
    let worst = expected.iter().zip(actual).map(|(a, b)| (a - b).abs());
    worst.fold(0.0, |top: f32, off| if off > top || off.is_nan() { off } else { top }) / largest
}

#[test]
fn in_f32_the_engine_says_what_the_network_says() {
    let network = weights::from_bytes(SHIPPED, &Device::flex()).unwrap().model;
    let (told, moments) = recorded::episode();
    for threads in [1, 2] {
        let engine = Engine::from_bytes(SHIPPED, &Backend::cpu(threads), Some(Precision::F32)).unwrap();
        for text in [told.as_str(), "put the blue cube into the green bowl", "x"] {
            let expected = network.encode(&words(text)).unwrap();
            let encoded = engine.encode(&words(text)).unwrap();
            for moment in &moments {
                let inputs = recorded::inputs(network.config(), moment);
                let expected = network.logits(&inputs, &expected).unwrap();
                let actual = engine.logits(&inputs, &encoded).unwrap();
                let off = error(&expected, &actual);
                assert!(off <= EXACT, "{text}: {off}");
                assert_eq!(actual, engine.logits(&inputs, &encoded).unwrap(), "the same bits again");
            }
        }
    }
}

#[test]
fn every_processor_with_a_fused_multiply_add_says_the_same_to_the_bit() {
    let (told, moments) = recorded::episode();
    for precision in [Precision::Int8, Precision::F32] {
        let mut first: Option<(Isa, Vec<Vec<f32>>)> = None;
        for isa in
            Isa::available().iter().filter(|isa| cfg!(target_arch = "aarch64") || **isa > Isa::Portable)
        {
            let backend = Backend::cpu_with(2, *isa).unwrap();
            let engine = Engine::from_bytes(SHIPPED, &backend, Some(precision)).unwrap();
            let encoded = engine.encode(&words(&told)).unwrap();
            let inputs = moments.iter().map(|moment| recorded::inputs(engine.config(), moment));
            let said: Vec<_> = inputs.map(|inputs| engine.logits(&inputs, &encoded).unwrap()).collect();
            let (like, expected) = first.get_or_insert_with(|| (*isa, said.clone()));
            assert!(said == *expected, "{precision:?}: {} is not as {}", isa.name(), like.name());
        }
    }
}

#[test]
fn the_shipped_integers_decide_nearly_as_floats_do() {
    let exact = Engine::from_bytes(SHIPPED, &Backend::cpu(0), Some(Precision::F32)).unwrap();
    let engine = Engine::from_bytes(SHIPPED, &Backend::cpu(0), None).unwrap();
    assert_eq!(engine.precision(), Precision::Int8);
    let (told, moments) = recorded::episode();
    let (mut equal, mut all) = (0, 0);
    for text in [told.as_str(), "put the blue cube into the green bowl", "give me the yellow mug"] {
        let (expected, encoded) = (exact.encode(&words(text)).unwrap(), engine.encode(&words(text)).unwrap());
        for moment in &moments {
            let inputs = recorded::inputs(engine.config(), moment);
            let expected = exact.logits(&inputs, &expected).unwrap();
            let actual = engine.logits(&inputs, &encoded).unwrap();
            let off = error(&expected, &actual);
            let (expected, actual) = (decode_slots(&expected).unwrap(), decode_slots(&actual).unwrap());
            println!("{off:.3}: {:?}", actual.tokens);
            equal += expected.tokens.iter().zip(&actual.tokens).filter(|(a, b)| a == b).count();
            all += expected.tokens.len().max(actual.tokens.len());
            assert!(off < 0.1, "{off}");
        }
    }
    println!("{equal} of {all} tokens are the same");
    assert!(equal * 20 >= all * 19, "{equal} of {all} tokens are the same");
}

#[test]
fn other_sizes_and_files_in_f32_work_as_well() {
    let config = GoalModelConfig {
        image_px: 64,
        scene_channels: 20,
        scene_blocks: 1,
        wrist_embed: 12,
        wrist_channels: 28,
        wrist_blocks: 2,
        queries: 3,
        width: 40,
        heads: 5,
        layers: 1,
        text_layers: 1,
        mlp_width: 56,
        ..GoalModelConfig::standard(INSTRUCTION_VOCABULARY_SIZE, MAX_WORDS)
    };
    let network = GoalModel::random(&config, 5, &Device::flex()).unwrap();
    let bytes = to_bytes(&network, Quantisation::F32, &serde_json::Value::Null).unwrap();
    let mut inputs = HostInputs::zeros(&config, 1);
    for values in [&mut inputs.scene, &mut inputs.wrist, &mut inputs.tactile, &mut inputs.proprio] {
        values.iter_mut().enumerate().for_each(|(at, value)| *value = (at as f32 * 0.7).sin());
    }
    blank_padding(&mut inputs.scene, config.scene_grid());
    blank_padding(&mut inputs.wrist, config.wrist_grid());
    let expected = network.logits(&inputs, &network.encode(&[3, 1, 4]).unwrap()).unwrap();
    let logits = |precision| {
        let engine = Engine::from_bytes(&bytes, &Backend::cpu(0), precision).unwrap();
        engine.logits(&inputs, &engine.encode(&[3, 1, 4]).unwrap()).unwrap()
    };
    assert!(error(&expected, &logits(None)) <= EXACT);
    let off = error(&expected, &logits(Some(Precision::Int8)));
    assert!(off < 0.1, "{off}");
}

fn blank_padding(values: &mut [f32], grid: usize) {
    let cell = values.len() / ((grid + 1) * (grid + 1));
    for (at, values) in values.chunks_exact_mut(cell).enumerate() {
        if at / (grid + 1) == grid || at % (grid + 1) == grid {
            values.fill(0.0);
        }
    }
}

#[test]
fn bad_input_and_bad_files_are_errors() {
    let engine = Engine::from_bytes(SHIPPED, &Backend::cpu(1), None).unwrap();
    assert!(engine.encode(&[-1]).is_err());
    assert!(engine.encode(&[i32::MAX]).is_err());
    assert!(engine.encode(&[1; MAX_WORDS + 1]).is_err());
    let none = engine.encode(&[]).unwrap();
    let mut inputs = HostInputs::zeros(engine.config(), 1);
    assert!(engine.logits(&inputs, &none).is_ok());
    assert!(engine.logits(&HostInputs::zeros(engine.config(), 2), &none).is_err());
    inputs.wrist.pop();
    assert!(engine.logits(&inputs, &none).is_err());
    let cut = Engine::from_bytes(&SHIPPED[..SHIPPED.len() - 1], &Backend::cpu(1), None).unwrap_err();
    assert!(matches!(cut, WeightsError::Truncated { .. }), "{cut}");
}

/// Prints what a decision costs: burn's network, the engine in f32, the engine in int8.
#[test]
#[ignore = "a measurement"]
fn latency() {
    let (told, moments) = recorded::episode();
    let network = weights::from_bytes(SHIPPED, &Device::flex()).unwrap().model;
    let inputs: Vec<_> = moments.iter().map(|moment| recorded::inputs(network.config(), moment)).collect();
    let time = |name: &str, decide: &mut dyn FnMut(&HostInputs)| {
        let mut times: Vec<f64> = Vec::new();
        for round in 0..400 {
            let begun = Instant::now();
            decide(&inputs[round % inputs.len()]);
            times.push(begun.elapsed().as_secs_f64() * 1e3);
        }
        let mut times = times.split_off(50);
        times.sort_by(f64::total_cmp);
        let at = |share: f64| times[(times.len() as f64 * share) as usize];
        println!(
            "{name}: p50 {:.3} ms, p90 {:.3}, p99 {:.3}, least {:.3}",
            at(0.5),
            at(0.9),
            at(0.99),
            at(0.0)
        );
    };
    let cache = network.encode(&words(&told)).unwrap();
    time("burn, f32", &mut |inputs| assert!(network.logits(inputs, &cache).is_ok()));
    for precision in [Precision::F32, Precision::Int8] {
        for threads in [1, 2] {
            let engine = Engine::from_bytes(SHIPPED, &Backend::cpu(threads), Some(precision)).unwrap();
            let encoded = engine.encode(&words(&told)).unwrap();
            let name = format!("engine, {precision:?}, {threads} threads");
            time(&name, &mut |inputs| assert!(engine.logits(inputs, &encoded).is_ok()));
        }
    }
}
