//! What reduced precision costs an ACT checkpoint: the chunks of each choice against those of f32, by the
//! part that is reduced, and the time of each stage.
//!
//! ```sh
//! cargo run --release -p reflexarc-vla-model --example act_error -- DIR [bf16|int8|int4] [THREADS]
//! ```
//!
//! `DIR` also holds `observed.safetensors` with raw observations (`tests/data/lerobot/gen_act_ref.py
//! fixture --observed`). Errors are in normalised units: a joint's standard deviation is 1.
#![allow(clippy::print_stdout, reason = "its purpose")]

use std::path::PathBuf;
use std::time::{Duration, Instant};

use reflexarc_vla_model::act::{Act, ActOptions, Precisions, Stage};
use reflexarc_vla_model::checkpoint::{Checkpoint, CommonConfig};
use reflexarc_vla_model::compute::{Backend, Precision};
use reflexarc_vla_model::observation::{Camera, Observation, ToolPose};
use reflexarc_vla_model::trace::Trace;

type Error = Box<dyn std::error::Error>;

fn main() -> Result<(), Error> {
    let mut arguments = std::env::args().skip(1);
    let dir = PathBuf::from(arguments.next().ok_or("usage: act_error DIR [THREADS]")?);
    let name = arguments.next().unwrap_or_else(|| "int8".to_owned());
    let reduced = match name.as_str() {
        "bf16" => Precision::Bf16,
        "int8" => Precision::Int8,
        "int4" => Precision::Int4,
        other => return Err(format!("precision `{other}`, expected bf16, int8 or int4").into()),
    };
    let threads = arguments.next().map_or(Ok(0), |text| text.parse())?;
    let backend = Backend::cpu(threads);
    println!("{}; {}", dir.display(), backend.description());

    let checkpoint = Checkpoint::open(&dir)?;
    let observed = Trace::open(&dir.join("observed.safetensors"))?;
    let observations = observations(&observed, checkpoint.config.common())?;
    let chunks = |precision: Precisions| -> Result<(Vec<f32>, String), Error> {
        let mut act = Act::load(&dir, &backend, ActOptions { precision, ..ActOptions::default() })?;
        let width = checkpoint.config.common().action_len;
        let mut times = [Duration::MAX; Stage::ALL.len()];
        let mut chunks = Vec::new();
        for observation in &observations {
            let mut begun = Instant::now();
            let chunk = act.predict_staged(observation, &mut |stage| {
                let time = &mut times[stage as usize];
                *time = (*time).min(begun.elapsed());
                begun = Instant::now();
            })?;
            chunks.extend(chunk.actions);
        }
        if let Some(moments) = &checkpoint.statistics.action {
            chunks.chunks_exact_mut(width).for_each(|action| moments.normalise(action, 0.0));
        }
        let stage = |(stage, time): (Stage, Duration)| {
            let gflops = act.flops(stage) as f64 / time.as_nanos() as f64;
            format!("{} {:.1} ms ({gflops:.0} GFLOP/s)", stage.name(), time.as_secs_f64() * 1e3)
        };
        let stages: Vec<String> = Stage::ALL.into_iter().zip(times).map(stage).collect();
        let total: Duration = times.iter().sum();
        Ok((chunks, format!("{:.1} ms: {}", total.as_secs_f64() * 1e3, stages.join(", "))))
    };

    let exact = Precisions::default();
    let (expected, times) = chunks(exact)?;
    println!("{:<20} {:>10} {:>9}  fastest of {}: {times}", "f32", "1", "0", observations.len());
    let (_, recorded) = tensor(&observed, "chunk")?;
    let mut recorded = recorded.to_vec();
    if let Some(moments) = &checkpoint.statistics.action {
        let width = checkpoint.config.common().action_len;
        recorded.chunks_exact_mut(width).for_each(|action| moments.normalise(action, 0.0));
    }
    let (cosine, largest) = error(&expected, &recorded);
    println!("{:<20} {cosine:>10.7} {largest:>9.6}", "f32 by LeRobot's");
    let all = Precisions::of(reduced);
    for (part, precision) in [
        ("all parts", all),
        ("stem alone", Precisions { stem: all.stem, ..exact }),
        ("backbone alone", Precisions { backbone: all.backbone, ..exact }),
        ("encoder alone", Precisions { encoder: all.encoder, ..exact }),
        ("decoder alone", Precisions { decoder: all.decoder, ..exact }),
        ("ends alone", Precisions { ends: reduced, ..exact }),
    ] {
        let (actual, times) = chunks(precision)?;
        let (cosine, largest) = error(&actual, &expected);
        println!("{:<20} {cosine:>10.7} {largest:>9.6}  {times}", format!("{name}, {part}"));
    }
    Ok(())
}

/// Cosine, and largest absolute difference.
fn error(actual: &[f32], expected: &[f32]) -> (f64, f64) {
    let dot =
        |a: &[f32], b: &[f32]| -> f64 { a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum() };
    let cosine = dot(actual, expected) / (dot(actual, actual) * dot(expected, expected)).sqrt();
    let largest = actual.iter().zip(expected).map(|(a, b)| f64::from((a - b).abs())).fold(0.0, f64::max);
    (cosine, largest)
}

fn tensor<'a>(file: &'a Trace, name: &str) -> Result<(&'a [usize], &'a [f32]), String> {
    file.get(name).ok_or_else(|| format!("observed.safetensors has no `{name}`"))
}

fn observations(file: &Trace, common: &CommonConfig) -> Result<Vec<Observation>, Error> {
    let (_, states) = tensor(file, "state")?;
    let moments = states.chunks_exact(common.state_len).enumerate().map(|(at, state)| {
        let cameras = common.cameras.iter().map(|camera| {
            let bytes = camera.height * camera.width * 3;
            let (_, values) = tensor(file, &camera.name)?;
            let rgb = values.get(at * bytes..(at + 1) * bytes).ok_or("too few images")?;
            Ok(Camera {
                name: camera.name.clone(),
                width: camera.width,
                height: camera.height,
                rgb: rgb.iter().map(|value| *value as u8).collect(),
            })
        });
        let (gripper, joints) = state.split_last().ok_or("an empty state")?;
        Ok(Observation {
            time_ns: at as u64,
            cameras: cameras.collect::<Result<_, Error>>()?,
            tactile: Vec::new(),
            joints_rad: joints.to_vec(),
            gripper_width_m: *gripper,
            base_from_tool: ToolPose { position_m: [0.0; 3], rotation_xyzw: [0.0, 0.0, 0.0, 1.0] },
        })
    });
    moments.collect()
}
