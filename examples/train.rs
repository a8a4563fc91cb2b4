//! Trains the goal model from nothing: demonstrations in the simulator, training with progress
//! and a loss plot, rounds of the model's own rollouts relabelled by the expert (DAgger, Ross et
//! al. 2011), quantisation, a closed-loop check, and a model card.
//!
//! `cargo run --release --example train -- --help`
#![allow(clippy::print_stdout, reason = "a program that reports its progress")]

use std::path::{Path, PathBuf};
use std::sync::mpsc::sync_channel;
use std::time::Instant;

use anyhow::{Context, Result};
use clap::Parser;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use reflexarc_examples::dataset::Mix;
use reflexarc_examples::demo::{Disturbance, Pace, Sample};
use reflexarc_examples::plot::{Curve, save_log_plot};
use reflexarc_examples::training::{collect, fill};
use reflexarc_vla_model::device::{self, DeviceChoice, DeviceKind};
use reflexarc_vla_model::goal::batch::TrainBatch;
use reflexarc_vla_model::goal::config::GoalModelConfig;
use reflexarc_vla_model::goal::loss::{LossWeights, StepReport};
use reflexarc_vla_model::goal::model::GoalModel;
use reflexarc_vla_model::goal::train::{Schedule, Trainer, TrainerConfig};
use reflexarc_vla_model::grammar::SLOTS;
use reflexarc_vla_model::instruction::{INSTRUCTION_VOCABULARY_SIZE, MAX_WORDS};
use reflexarc_vla_model::weights::{self, Quantisation};
use serde_json::json;

/// Seeds of training scenes start here; evaluation uses seeds far below.
const TRAIN_SEED: u64 = 1_000_000;
/// Resolution of the learning rate's schedule.
const SCHEDULE_STEPS: u64 = 10_000;
/// Seeds of validation scenes.
const VALIDATION_SEED: u64 = 900_000_000;
/// Seeds of the closed-loop checks between rounds.
const CHECK_SEED: u64 = 800_000_000;
/// Episodes of a closed-loop check.
const CHECK_EPISODES: usize = 40;

/// Trains the goal model in the simulator and writes its weights.
#[derive(Parser)]
struct Arguments {
    /// Rollouts of the disturbed expert to start from (about 23 frames each).
    #[arg(long, default_value_t = 4000)]
    demos: usize,
    /// Rollouts of the model itself, relabelled by the expert, added in each round.
    #[arg(long, default_value_t = 400)]
    own: usize,
    /// Points of the training, as parts of the whole, at which the model's own rollouts are collected.
    #[arg(long, value_delimiter = ',', default_values_t = [0.35, 0.55, 0.75])]
    rounds: Vec<f64>,
    /// Training steps.
    #[arg(long, default_value_t = 6000)]
    steps: u64,
    /// Ends after this many minutes, demonstrations included, instead of after --steps; the
    /// learning rate then follows the clock.
    #[arg(long)]
    minutes: Option<f64>,
    /// Frames in a step.
    #[arg(long, default_value_t = 64)]
    batch: usize,
    /// Highest learning rate.
    #[arg(long, default_value_t = 1.5e-3)]
    lr: f64,
    /// Seed of weights, scenes and instructions.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Where weights, loss plot and model card go.
    #[arg(long, default_value = "out/train")]
    out: PathBuf,
    /// Goes on from these weights instead of random ones.
    #[arg(long)]
    start: Option<PathBuf>,
    /// Where to train: cpu, gpu or auto.
    #[arg(long, default_value = "auto")]
    device: DeviceChoice,
    /// Threads for rollouts and training.
    #[arg(long, default_value_t = std::thread::available_parallelism().map_or(1, usize::from))]
    threads: usize,
}

fn gather(
    what: &str,
    first_seed: u64,
    count: usize,
    arguments: &Arguments,
    disturbance: Disturbance,
    pace: Pace,
    policy: Option<&GoalModel>,
) -> Result<(Vec<Sample>, usize)> {
    let start = Instant::now();
    let (samples, lifted) =
        collect(first_seed, count, arguments.threads, disturbance, pace, policy, &|done| {
            if done % (count / 10).max(1) == 0 {
                println!("  {what}: {done}/{count} rollouts, {:.0} s", start.elapsed().as_secs_f64());
            }
        })?;
    println!(
        "{what}: {} frames of {count} rollouts, {lifted} lifted their object, {:.0} s",
        samples.len(),
        start.elapsed().as_secs_f64()
    );
    Ok((samples, lifted))
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    std::fs::create_dir_all(&arguments.out)
        .with_context(|| format!("cannot make {}", arguments.out.display()))?;
    let started = Instant::now();
    let disturbed = Disturbance { pushes_per_s: 0.6, random_start: 0.75 };
    let pace = Pace { length_s: 5.0, frame_every_s: 0.1 };
    let seed = TRAIN_SEED + arguments.seed * 10_000_000;
    let (mut samples, _) =
        gather("demonstrations", seed, arguments.demos, &arguments, disturbed, pace, None)?;
    let (held_out, _) = gather("validation", VALIDATION_SEED, 60, &arguments, disturbed, pace, None)?;

    let device = device::choose(arguments.device)?;
    println!("device: {} ({})", device.description, device.reason);
    let shards = if device.kind == DeviceKind::Cpu { arguments.threads } else { 1 };
    let settings = TrainerConfig { shards, ..TrainerConfig::default() };
    let config = GoalModelConfig::standard(INSTRUCTION_VOCABULARY_SIZE, MAX_WORDS);
    let mut trainer = match &arguments.start {
        Some(path) => Trainer::resume(weights::load(path, &device.device)?.model, settings)?,
        None => Trainer::new(&config, settings, &device.device, arguments.seed)?,
    };
    let parameters = trainer.model().parameters();
    println!("{parameters} parameters");
    let schedule =
        Schedule { peak: arguments.lr, floor: arguments.lr / 100.0, warmup: 300, total: SCHEDULE_STEPS };
    let budget = Budget {
        steps: arguments.steps,
        minutes: arguments.minutes,
        demos_s: started.elapsed().as_secs_f64(),
        started,
    };
    let mut validation = TrainBatch::default();
    let mix = Mix::default();
    fill(&mut validation, &config, &held_out, 384, &mix, &mut ChaCha8Rng::seed_from_u64(7))?;

    let mut curves = [[200, 30, 30], [30, 30, 200]].map(|rgb| Curve { rgb, points: Vec::new() });
    let stops: Vec<f64> = arguments.rounds.iter().copied().chain([1.0]).collect();
    for (round, stop) in stops.into_iter().enumerate() {
        train_until(
            stop,
            &mut trainer,
            &schedule,
            &budget,
            &samples,
            &mix,
            &arguments,
            &validation,
            &mut curves,
        )?;
        let model = trainer.averaged_model();
        let calm = Disturbance { pushes_per_s: 0.0, random_start: 0.0 };
        let check = Pace { length_s: 8.0, frame_every_s: 1e6 };
        let (_, lifted) = gather(
            &format!("closed-loop check {}", round + 1),
            CHECK_SEED,
            CHECK_EPISODES,
            &arguments,
            calm,
            check,
            Some(&model),
        )?;
        if stop < 1.0 {
            let first = seed + 5_000_000 + round as u64 * 100_000;
            let own = Disturbance { pushes_per_s: 0.25, random_start: 0.5 };
            let own_pace = Pace { length_s: 6.0, frame_every_s: 0.15 };
            let (more, _) =
                gather("own rollouts", first, arguments.own, &arguments, own, own_pace, Some(&model))?;
            samples.extend(more);
        }
        save_log_plot(&arguments.out.join("loss.png"), &curves)?;
        let facts = json!({
            "arguments": std::env::args().skip(1).collect::<Vec<_>>().join(" "),
            "seed": arguments.seed,
            "scene_seeds_from": seed,
            "frames": samples.len(),
            "steps": trainer.steps(),
            "batch": arguments.batch,
            "parameters": parameters,
            "device": device.description,
            "threads": arguments.threads,
            "train_loss": curves[0].points.last().map(|p| p.1),
            "validation_loss": curves[1].points.last().map(|p| p.1),
            "closed_loop_check": format!("{lifted} of {CHECK_EPISODES} lifted"),
            "version": env!("CARGO_PKG_VERSION"),
        });
        save(&arguments.out, &model, &facts, started.elapsed().as_secs_f64())?;
    }
    Ok(())
}

/// Writes the weights in both precisions and the model card.
fn save(folder: &Path, model: &GoalModel, facts: &serde_json::Value, spent_s: f64) -> Result<()> {
    let mut card =
        String::from("# Goal model\n\nMade by the `train` example; nothing in it was set by hand.\n\n");
    for (name, quantisation) in [
        ("goal.safetensors", Quantisation::Int8PerOutputChannel),
        ("goal-f32.safetensors", Quantisation::F32),
    ] {
        let path = folder.join(name);
        let hash = weights::save(&path, model, quantisation, facts)?;
        let bytes = std::fs::metadata(&path)?.len();
        println!("{}: {bytes} bytes, sha256 {hash}", path.display());
        card += &format!("- `{name}`: {} ({bytes} bytes), sha256 `{hash}`\n", quantisation.as_str());
    }
    card += &format!("- time: {:.0} minutes\n", spent_s / 60.0);
    for (key, value) in facts.as_object().into_iter().flatten() {
        card += &format!("- {}: {value}\n", key.replace('_', " "));
    }
    std::fs::write(folder.join("CARD.md"), card)?;
    Ok(())
}

#[expect(clippy::too_many_arguments, reason = "the whole state of a training run, used once")]
fn train_until(
    stop: f64,
    trainer: &mut Trainer,
    schedule: &Schedule,
    budget: &Budget,
    samples: &[Sample],
    mix: &Mix,
    arguments: &Arguments,
    validation: &TrainBatch,
    curves: &mut [Curve; 2],
) -> Result<()> {
    let config = trainer.model().config().clone();
    let weights = LossWeights::default();
    let first = trainer.steps();
    std::thread::scope(|scope| -> Result<()> {
        let (full, ready) = sync_channel::<Result<TrainBatch>>(2);
        let (give_back, empty) = sync_channel::<TrainBatch>(4);
        let (config, size, seed) = (&config, arguments.batch, arguments.seed);
        std::thread::Builder::new().name("batches".to_owned()).spawn_scoped(scope, move || {
            let mut rng = ChaCha8Rng::seed_from_u64(seed ^ (first << 20));
            loop {
                let mut batch = empty.try_recv().unwrap_or_default();
                let filled = fill(&mut batch, config, samples, size, mix, &mut rng).map(|()| batch);
                if full.send(filled).is_err() {
                    return;
                }
            }
        })?;
        let mut window = Mean::default();
        let mut part = budget.done(trainer.steps());
        while part < stop {
            let batch = ready.recv().context("the thread that fills batches is gone")??;
            let report = trainer.step(&batch, schedule.at((part * SCHEDULE_STEPS as f64) as u64))?;
            // A full channel only means that the buffer is not needed again.
            drop(give_back.try_send(batch));
            window.add(f64::from(report.loss(&weights)));
            let step = trainer.steps();
            part = budget.done(step);
            if step.is_multiple_of(100) || part >= stop {
                let test = trainer.evaluate(validation)?;
                curves[0].points.push((step as f64, window.take()));
                curves[1].points.push((step as f64, f64::from(test.loss(&weights))));
                let spent_s = budget.started.elapsed().as_secs_f64();
                println!(
                    "{step:>6} {:>3.0}% {spent_s:>5.0} s  train {:.3}  {}",
                    100.0 * part,
                    curves[0].points.last().map_or(0.0, |p| p.1),
                    summary(&test, &weights)
                );
            }
        }
        // The thread that fills batches ends when nobody takes them.
        drop(ready);
        Ok(())
    })
}

/// How long a training lasts.
struct Budget {
    steps: u64,
    minutes: Option<f64>,
    /// What the demonstrations took.
    demos_s: f64,
    started: Instant,
}

impl Budget {
    /// The part of the training that is done, 0 to 1.
    fn done(&self, steps: u64) -> f64 {
        match self.minutes {
            None => steps as f64 / self.steps.max(1) as f64,
            Some(minutes) => {
                let whole_s = (60.0 * minutes - self.demos_s).max(1.0);
                (self.started.elapsed().as_secs_f64() - self.demos_s) / whole_s
            }
        }
    }
}

/// The validation in one line.
fn summary(test: &StepReport, weights: &LossWeights) -> String {
    let slots: Vec<String> = SLOTS
        .iter()
        .zip(&test.slot_accuracy)
        .zip(&test.slot_error_bins)
        .map(|((slot, accuracy), error)| match slot {
            reflexarc_vla_model::grammar::Slot::Number(axis) => {
                format!("{}±{:.1}", axis.letter(), error.value())
            }
            _ => format!("{:.0}%", 100.0 * accuracy.value()),
        })
        .collect();
    format!(
        "test {:.3}  look {:.0}% {:.0}%  {}",
        test.loss(weights),
        100.0 * test.scene_hit.value(),
        100.0 * test.wrist_hit.value(),
        slots.join(" ")
    )
}

#[derive(Default)]
struct Mean {
    sum: f64,
    count: u64,
}

impl Mean {
    fn add(&mut self, value: f64) {
        self.sum += value;
        self.count += 1;
    }

    fn take(&mut self) -> f64 {
        let mean = self.sum / self.count.max(1) as f64;
        *self = Self::default();
        mean
    }
}
