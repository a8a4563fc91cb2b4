//! What a SmolVLA checkpoint loses to integers: its chunks in each precision, part by part, against f32.
//!
//! ```text
//! cargo run --release -p reflexarc-vla-model --example smolvla_precision -- DIR [--cameras N]... [--only NAME]...
//! ```
//!
//! Prints a row for each choice of precisions and number of cameras: the cosine with the first row's chunks
//! and the largest difference from them, in units of one standard deviation of the training data;
//! the time of each stage, best of three; and the most memory that the process has held so far, which
//! says something of one model with `--only`. Images are smooth random patterns, the noise is the same for
//! all.

#![allow(clippy::print_stdout, reason = "this is what the program is for")]

use std::path::PathBuf;
use std::time::{Duration, Instant};

use reflexarc_vla_model::checkpoint::{Checkpoint, PolicyConfig};
use reflexarc_vla_model::chunk::Ahead;
use reflexarc_vla_model::compute::{Backend, Precision};
use reflexarc_vla_model::observation::{Camera, Observation, ToolPose};
use reflexarc_vla_model::policy::Policy;
use reflexarc_vla_model::smolvla::{Precisions, SmolVla, SmolVlaOptions, Stage, noise};

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

/// Observations that each choice is tried on.
const OBSERVATIONS: u64 = 3;

fn choices() -> Vec<(String, Precisions)> {
    use Precision::{Bf16, F32, Int4, Int8};
    let mut choices: Vec<(String, Precisions)> =
        [("f32", F32), ("bf16", Bf16), ("int8", Int8), ("int4", Int4)]
            .map(|(name, precision)| (name.to_owned(), Precisions::of(precision)))
            .to_vec();
    for (suffix, precision) in [("int8", Int8), ("int4", Int4)] {
        let f32 = Precisions::of(F32);
        choices.extend([
            (format!("patches-{suffix}"), Precisions { patches: precision, ..f32 }),
            (format!("vision-{suffix}"), Precisions { vision: precision, ..f32 }),
            (format!("connector-{suffix}"), Precisions { connector: precision, ..f32 }),
            (format!("text-{suffix}"), Precisions { text: precision, ..f32 }),
            (format!("expert-{suffix}"), Precisions { expert: precision, ..f32 }),
            (format!("projections-{suffix}"), Precisions { projections: precision, ..f32 }),
        ]);
    }
    choices
}

fn main() -> Result<()> {
    let usage = "usage: smolvla_precision DIR [--cameras N]... [--only NAME]...";
    let mut arguments = std::env::args().skip(1);
    let dir = PathBuf::from(arguments.next().ok_or(usage)?);
    let (mut cameras, mut only) = (Vec::new(), Vec::new());
    while let Some(option) = arguments.next() {
        let value = arguments.next().ok_or(usage)?;
        match option.as_str() {
            "--cameras" => cameras.push(value.parse::<usize>()?),
            "--only" => only.push(value),
            _ => return Err(usage.into()),
        }
    }
    let PolicyConfig::SmolVla(config) = Checkpoint::open(&dir)?.config else {
        return Err("the folder holds another policy".into());
    };
    let all: Vec<String> = config.common.cameras.iter().map(|camera| camera.name.clone()).collect();
    if cameras.is_empty() {
        cameras.push(all.len());
    }
    let backend = Backend::cpu(0);
    println!("{}", backend.description());
    println!(
        "{:20} {:>7} {:>10} {:>10} {:>8} {:>8} {:>8} {:>8} {:>8}",
        "precision", "cameras", "cosine", "largest", "images", "vision", "prefix", "denoise", "MiB"
    );
    for count in cameras {
        let without = all.get(count..).ok_or("the checkpoint has fewer cameras")?;
        let mut exact = None;
        for (name, precision) in choices() {
            if !only.is_empty() && !only.contains(&name) {
                continue;
            }
            let options =
                SmolVlaOptions { precision, without_cameras: without.to_vec(), ..Default::default() };
            let mut model = SmolVla::load(&dir, &backend, options)?;
            model.instruct("pick up the red cube");
            let (chunks, times) = run(&mut model, &all[..count])?;
            drop(model);
            let exact = exact.get_or_insert_with(|| chunks.clone());
            let (cosine, largest) = compare(exact, &chunks);
            print!("{name:20} {count:7} {cosine:10.6} {largest:10.6}");
            times.iter().for_each(|time| print!(" {:8.1}", time.as_secs_f64() * 1e3));
            println!(" {:8.0}", peak_mib().unwrap_or(f64::NAN));
        }
    }
    Ok(())
}

/// The chunks, normalised, and the shortest time of each stage.
fn run(model: &mut SmolVla, cameras: &[String]) -> Result<(Vec<f32>, Vec<Duration>)> {
    let mut chunks = Vec::new();
    let mut best = vec![Duration::MAX; Stage::ALL.len()];
    for seed in 0..OBSERVATIONS {
        let observation = observation(cameras, seed);
        let mut last = Instant::now();
        let mut ended = |stage: Stage| {
            let now = Instant::now();
            let time = &mut best[stage as usize];
            *time = (*time).min(now - last);
            last = now;
        };
        let chunk = model.predict_staged(&observation, &Ahead::default(), &mut ended)?;
        let moments = model.action_moments();
        for action in chunk.actions.chunks_exact(chunk.width) {
            let mut action = action.to_vec();
            if let Some(moments) = moments {
                moments.normalise(&mut action, 0.0);
            }
            chunks.extend(action);
        }
    }
    Ok((chunks, best))
}

fn observation(cameras: &[String], seed: u64) -> Observation {
    let cameras = cameras.iter().enumerate().map(|(at, name)| {
        let waves = noise(seed + 1, at as u64, 12);
        let (width, height) = (640, 480);
        let value = |at: usize| {
            let (x, y, channel) = (at / 3 % width, at / 3 / width, at % 3);
            let wave = |k: usize| {
                let turn = waves[k] * x as f32 / 40.0
                    + waves[k + 1] * y as f32 / 40.0
                    + channel as f32 * waves[k + 2];
                turn.sin()
            };
            (127.5 + 42.0 * (wave(0) + wave(3) + wave(6))) as u8
        };
        Camera { name: name.clone(), width, height, rgb: (0..width * height * 3).map(value).collect() }
    });
    Observation {
        time_ns: seed,
        cameras: cameras.collect(),
        tactile: Vec::new(),
        joints_rad: noise(seed, 99, 5),
        gripper_width_m: 0.04,
        base_from_tool: ToolPose { position_m: [0.3, 0.0, 0.2], rotation_xyzw: [0.0, 0.0, 0.0, 1.0] },
    }
}

fn compare(exact: &[f32], other: &[f32]) -> (f64, f64) {
    let pairs = || exact.iter().zip(other).map(|(a, b)| (f64::from(*a), f64::from(*b)));
    let dot = |f: fn((f64, f64)) -> f64| pairs().map(f).sum::<f64>();
    let cosine = dot(|(a, b)| a * b) / (dot(|(a, _)| a * a) * dot(|(_, b)| b * b)).sqrt();
    (cosine, pairs().map(|(a, b)| (a - b).abs()).fold(0.0, f64::max))
}

/// The most memory that the process has held, where the system says it.
fn peak_mib() -> Option<f64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM"))?;
    Some(line.split_whitespace().nth(1)?.parse::<f64>().ok()? / 1024.0)
}
