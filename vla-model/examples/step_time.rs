//! Times the goal model on random data: inference, and with the feature `train` a training step.
//!
//! `cargo run --release -p reflexarc-vla-model --features train --example step_time -- [batch] [steps]`
#![allow(clippy::print_stdout, reason = "a measuring tool prints its measurements")]

use std::time::Instant;

use burn::tensor::Device;
use reflexarc_vla_model::goal::config::GoalModelConfig;
use reflexarc_vla_model::goal::features::{scene_patches, wrist_patches};
use reflexarc_vla_model::goal::model::{GoalModel, HostInputs};
use reflexarc_vla_model::grammar::decode_slots;

const WORDS: usize = 120;
const MAX_WORDS: usize = 20;

/// Small pseudo-random numbers in -1..1, enough for timing.
fn fill(values: &mut [f32], seed: u32) {
    let mut state = seed.wrapping_mul(2_654_435_761).wrapping_add(12_345);
    for value in values {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        *value = (state >> 8) as f32 / (1 << 23) as f32 - 1.0;
    }
}

fn random_inputs(config: &GoalModelConfig, batch: usize) -> HostInputs {
    let mut inputs = HostInputs::zeros(config, batch);
    fill(&mut inputs.scene, 1);
    fill(&mut inputs.wrist, 2);
    fill(&mut inputs.tactile, 3);
    fill(&mut inputs.proprio, 4);
    inputs
}

fn percentile(times: &mut [f64], share: f64) -> f64 {
    times.sort_by(f64::total_cmp);
    times[((times.len() - 1) as f64 * share) as usize]
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1).filter_map(|text| text.parse::<usize>().ok());
    let batch = arguments.next().unwrap_or(32);
    let steps = arguments.next().unwrap_or(10);
    let device = Device::flex();
    let config = GoalModelConfig::standard(WORDS, MAX_WORDS);
    let model = GoalModel::random(&config, 1, &device)?;
    println!("{} parameters", model.parameters());

    let inputs = random_inputs(&config, 1);
    let words = [3, 17, 4, 9, 30];
    let started = Instant::now();
    let cache = model.encode(&words)?;
    println!("encode the instruction: {:.2} ms", started.elapsed().as_secs_f64() * 1e3);
    let mut times = Vec::new();
    for _ in 0..220 {
        let started = Instant::now();
        let logits = model.logits(&inputs, &cache)?;
        assert_eq!(logits.len(), config.slots * config.token_vocabulary);
        times.push(started.elapsed().as_secs_f64() * 1e3);
    }
    let mut times = times.split_off(20);
    println!(
        "inference: p50 {:.2} ms, p99 {:.2} ms, least {:.2} ms",
        percentile(&mut times, 0.5),
        percentile(&mut times, 0.99),
        percentile(&mut times, 0.0)
    );
    stages(&config, &model)?;
    #[cfg(feature = "train")]
    train(&config, batch, steps, &device)?;
    let _ = (batch, steps);
    Ok(())
}

/// What surrounds the network, and what parts of it cost: each line repeats one thing.
fn stages(config: &GoalModelConfig, model: &GoalModel) -> Result<(), Box<dyn std::error::Error>> {
    let time = |name: &str, run: &mut dyn FnMut()| {
        let mut times: Vec<f64> = (0..100)
            .map(|_| {
                let started = Instant::now();
                run();
                started.elapsed().as_secs_f64() * 1e3
            })
            .collect();
        println!("{name}: p50 {:.3} ms", percentile(&mut times, 0.5));
    };
    let mut inputs = HostInputs::zeros(config, 1);
    let rgb = vec![77_u8; config.image_px * config.image_px * 3];
    time("patches of both images", &mut || {
        scene_patches(&rgb, config.image_px, &mut inputs.scene);
        wrist_patches(&rgb, config.image_px, &mut inputs.wrist);
    });
    let cache = model.encode(&[3, 17, 4, 9, 30])?;
    let logits = model.logits(&inputs, &cache)?;
    time("grammar", &mut || assert!(decode_slots(&logits).is_ok()));
    let fewer: [(&str, GoalModelConfig); 3] = [
        ("without three main layers", GoalModelConfig { layers: config.layers - 3, ..config.clone() }),
        ("without two scene blocks", GoalModelConfig { scene_blocks: 1, ..config.clone() }),
        ("without two wrist blocks", GoalModelConfig { wrist_blocks: 1, ..config.clone() }),
    ];
    for (name, config) in fewer {
        let model = GoalModel::random(&config, 1, &Device::flex())?;
        let cache = model.encode(&[3, 17, 4, 9, 30])?;
        time(name, &mut || assert!(model.logits(&inputs, &cache).is_ok()));
    }
    Ok(())
}

#[cfg(feature = "train")]
fn train(
    config: &GoalModelConfig,
    batch: usize,
    steps: usize,
    device: &Device,
) -> Result<(), Box<dyn std::error::Error>> {
    use reflexarc_vla_model::goal::batch::{CellLabels, PixelLabel, Sample, TrainBatch};
    use reflexarc_vla_model::goal::train::{Trainer, TrainerConfig};
    use reflexarc_vla_model::grammar::SLOT_COUNT;
    use reflexarc_vla_model::token::Token;

    let mut data = TrainBatch::default();
    let mut noise = vec![0.0_f32; config.image_px * config.image_px * 3];
    let slots: [Option<Token>; SLOT_COUNT] = std::array::from_fn(|slot| {
        Some(match slot {
            0 => Token::PICK,
            1 => Token::color(reflexarc_vla_model::decision::Color::ALL[2]),
            2 => Token::object(reflexarc_vla_model::decision::Object::ALL[0]),
            5 => Token::subtask(reflexarc_vla_model::decision::Subtask::ALL[1]),
            _ => Token::number(10 * slot),
        })
    });
    for index in 0..batch {
        fill(&mut noise, index as u32 + 7);
        let rgb: Vec<u8> = noise.iter().map(|value| (value * 127.0 + 128.0) as u8).collect();
        let uv = [0.1 + 0.8 * (index as f32 / batch as f32), 0.4];
        data.push(
            config,
            &Sample {
                scene_rgb: &rgb,
                wrist_rgb: &rgb,
                left_n: &[0.5; 48],
                right_n: &[0.2; 48],
                proprio: &vec![0.3; config.proprio_len],
                words: &[5, 6, 7, 8 + (index % 8) as i32, 20],
                slots: &slots,
                slot_weights: &[1.0; SLOT_COUNT],
                scene_pixel: PixelLabel::At(uv),
                wrist_pixel: if index % 3 == 0 { PixelLabel::Absent } else { PixelLabel::At(uv) },
                scene_cells: CellLabels { kinds: &[1; 576], colors: &[3; 576] },
                wrist_cells: CellLabels { kinds: &[0; 144], colors: &[0; 144] },
            },
        )?;
    }
    for shards in [1, 2] {
        let settings = TrainerConfig { shards, ..TrainerConfig::default() };
        let mut trainer = Trainer::new(config, settings.clone(), device, 1)?;
        let mut times = Vec::new();
        let (mut first, mut last) = (0.0, 0.0);
        for step in 0..steps {
            let started = Instant::now();
            let report = trainer.step(&data, 1e-3)?;
            times.push(started.elapsed().as_secs_f64() * 1e3);
            last = report.loss(&settings.weights);
            if step == 0 {
                first = last;
            }
        }
        println!(
            "training step, batch {batch}, {shards} shard(s): p50 {:.0} ms, least {:.0} ms; loss {first:.3} to {last:.3}",
            percentile(&mut times, 0.5),
            percentile(&mut times, 0.0)
        );
    }
    Ok(())
}
