//! A training step learns, is deterministic, and says what is wrong with a batch.
#![cfg(feature = "train")]
#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

use burn::tensor::Device;
use reflexarc_vla_model::decision::{Color, Object, Subtask};
use reflexarc_vla_model::goal::batch::{CellLabels, PixelLabel, Sample, TrainBatch};
use reflexarc_vla_model::goal::config::GoalModelConfig;
use reflexarc_vla_model::goal::train::{Schedule, TrainError, Trainer, TrainerConfig};
use reflexarc_vla_model::grammar::SLOT_COUNT;
use reflexarc_vla_model::instruction::{INSTRUCTION_VOCABULARY_SIZE, MAX_WORDS};
use reflexarc_vla_model::token::Token;
use reflexarc_vla_model::weights::{Quantisation, from_bytes, to_bytes};

fn config() -> GoalModelConfig {
    GoalModelConfig {
        scene_channels: 16,
        scene_blocks: 1,
        wrist_embed: 16,
        wrist_channels: 16,
        wrist_blocks: 1,
        queries: 2,
        width: 64,
        heads: 2,
        layers: 1,
        text_layers: 1,
        mlp_width: 128,
        ..GoalModelConfig::standard(INSTRUCTION_VOCABULARY_SIZE, MAX_WORDS)
    }
}

/// Scenes with a red and a blue square; the second word says which one is meant.
fn batch(config: &GoalModelConfig, count: usize) -> TrainBatch {
    let px = config.image_px;
    let grid = config.scene_grid();
    let mut batch = TrainBatch::default();
    for index in 0..count {
        let (red, blue) = ([4 + 3 * (index % 5), 5], [16 - 2 * (index % 4), 17]);
        let wants_red = index % 2 == 0;
        let mut rgb = vec![90_u8; px * px * 3];
        let (mut kinds, mut colors) = (vec![0; grid * grid], vec![0; grid * grid]);
        for (cell, color, channel) in [(red, 1, 0), (blue, 3, 2)] {
            kinds[cell[1] * grid + cell[0]] = 2;
            colors[cell[1] * grid + cell[0]] = color;
            for at in 0..16 {
                let pixel = (cell[1] * 4 + at / 4) * px + cell[0] * 4 + at % 4;
                rgb[pixel * 3..pixel * 3 + 3].copy_from_slice(&[30; 3]);
                rgb[pixel * 3 + channel] = 230;
            }
        }
        let target = if wants_red { red } else { blue };
        let uv = [(target[0] as f32 + 0.5) / grid as f32, (target[1] as f32 + 0.5) / grid as f32];
        let slots: [Option<Token>; SLOT_COUNT] = std::array::from_fn(|slot| {
            Some(match slot {
                0 => Token::PICK,
                1 => Token::color(if wants_red { Color::Red } else { Color::Blue }),
                2 => Token::object(Object::Cube),
                3 => Token::number((uv[0] * 128.0) as usize),
                4 => Token::number((uv[1] * 128.0) as usize),
                5 => Token::subtask(Subtask::Reach),
                _ => Token::number(8 * slot),
            })
        });
        let coarse = config.wrist_grid() * config.wrist_grid();
        batch
            .push(
                config,
                &Sample {
                    scene_rgb: &rgb,
                    wrist_rgb: &rgb,
                    left_n: &[0.0; 48],
                    right_n: &[0.0; 48],
                    proprio: &vec![0.1; config.proprio_len],
                    words: &[7, if wants_red { 9 } else { 10 }],
                    slots: &slots,
                    slot_weights: &[1.0; SLOT_COUNT],
                    scene_pixel: PixelLabel::At(uv),
                    wrist_pixel: PixelLabel::Unlabelled,
                    scene_cells: CellLabels { kinds: &kinds, colors: &colors },
                    wrist_cells: CellLabels { kinds: &vec![0; coarse], colors: &vec![0; coarse] },
                },
            )
            .unwrap();
    }
    batch
}

fn trainer(shards: usize, seed: u64) -> Trainer {
    let settings = TrainerConfig { shards, ..TrainerConfig::default() };
    Trainer::new(&config(), settings, &Device::flex(), seed).unwrap()
}

#[test]
fn it_learns_to_find_what_the_words_name() {
    let data = batch(&config(), 20);
    let mut trainer = trainer(2, 1);
    let before = trainer.evaluate(&data).unwrap();
    let schedule = Schedule { peak: 4e-3, floor: 4e-4, warmup: 10, total: 120 };
    for step in 0..120 {
        trainer.step(&data, schedule.at(step)).unwrap();
    }
    let after = trainer.evaluate(&data).unwrap();
    assert!(after.slots.value() < 0.5 * before.slots.value());
    assert!(after.scene_hit.value() > 0.9, "{:?}", after.scene_hit.value());
    assert!(after.slot_accuracy[1].value() > 0.9, "colour {}", after.slot_accuracy[1].value());
    assert!(after.slot_accuracy[3].value() > 0.8, "u {}", after.slot_accuracy[3].value());

    // What was learnt survives a file, in int8 too; training goes on from there.
    let bytes =
        to_bytes(&trainer.averaged_model(), Quantisation::Int8PerOutputChannel, &serde_json::Value::Null)
            .unwrap();
    let loaded = from_bytes(&bytes, &Device::flex()).unwrap();
    let resumed = Trainer::resume(loaded.model, TrainerConfig::default()).unwrap();
    let again = resumed.evaluate(&data).unwrap();
    assert!(again.scene_hit.value() > 0.85, "{}", again.scene_hit.value());
}

#[test]
fn runs_repeat_bit_for_bit_and_shards_hardly_matter() {
    let data = batch(&config(), 6);
    let run = |shards| {
        let mut trainer = trainer(shards, 7);
        let reports: Vec<_> = (0..3).map(|_| trainer.step(&data, 1e-3).unwrap()).collect();
        let bytes = to_bytes(&trainer.model(), Quantisation::F32, &serde_json::Value::Null).unwrap();
        (reports[2].slots.value(), bytes)
    };
    let (first, second, other) = (run(2), run(2), run(1));
    assert_eq!(first.1, second.1);
    assert!((first.0 - other.0).abs() < 1e-2, "{} {}", first.0, other.0);
}

#[test]
fn a_batch_that_does_not_fit_is_an_error_and_changes_nothing() {
    let data = batch(&config(), 2);
    let mut trainer = trainer(1, 3);
    let mut short = data.clone();
    short.scene_heat.pop();
    assert!(matches!(trainer.step(&short, 1e-3), Err(TrainError::Forward(_))));
    let mut strange = data.clone();
    strange.words[0] = 60_000;
    assert!(matches!(trainer.step(&strange, 1e-3), Err(TrainError::Forward(_))));
    let mut infinite = data.clone();
    infinite.inputs.proprio[0] = f32::NAN;
    assert!(matches!(trainer.step(&infinite, 1e-3), Err(TrainError::Diverged { .. })));
    trainer.step(&data, 1e-3).unwrap();
}

#[test]
fn the_schedule_rises_and_falls() {
    let schedule = Schedule { peak: 1.0, floor: 0.1, warmup: 10, total: 110 };
    assert!((schedule.at(0) - 0.1).abs() < 1e-12);
    assert!((schedule.at(10) - 1.0).abs() < 1e-12);
    assert!((schedule.at(60) - 0.55).abs() < 1e-12);
    assert!((schedule.at(500) - 0.1).abs() < 1e-12);
}
