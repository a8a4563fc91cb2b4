//! What training does besides the step itself: collecting demonstrations on all cores, filling
//! batches ahead of the trainer, and trying the model in closed loop.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::{Context, Result};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use reflexarc_vla_model::decision::{ToolTarget, Verdict};
use reflexarc_vla_model::goal::batch::{CellLabels, PixelLabel, Sample as Labelled, TrainBatch};
use reflexarc_vla_model::goal::config::GoalModelConfig;
use reflexarc_vla_model::goal::features::{self, scene_patches, tactile_pair, wrist_patches};
use reflexarc_vla_model::goal::model::{GoalModel, HostInputs, InstructionCache};
use reflexarc_vla_model::grammar::{SLOT_COUNT, decode_slots};
use reflexarc_vla_model::instruction;
use reflexarc_vla_model::observation::{Observation, ToolPose};
use reflexarc_vla_model::phrasing;

use crate::dataset::{self, Label, Mix};
use crate::demo::{Disturbance, Driver, Pace, Sample, rollout};
use crate::translate;

/// How much each slot counts: action, colour, object, u, v, subtask, x, y, z, yaw, width, force.
const SLOT_WEIGHTS: [f32; SLOT_COUNT] = [1.0, 1.0, 1.0, 0.3, 0.3, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 0.3];

/// Runs `count` rollouts with seeds from `first_seed` on `threads` threads and gives their frames
/// in the order of the seeds, and how many lifted their object. `policy` drives if given, the
/// expert otherwise.
///
/// # Errors
/// When a rollout fails to start.
pub fn collect(
    first_seed: u64,
    count: usize,
    threads: usize,
    disturbance: Disturbance,
    pace: Pace,
    policy: Option<&GoalModel>,
    progress: &(dyn Fn(usize) + Sync),
) -> Result<(Vec<Sample>, usize)> {
    let next = AtomicUsize::new(0);
    let results: Mutex<Vec<(usize, Vec<Sample>, bool)>> = Mutex::new(Vec::new());
    let work = || -> Result<()> {
        // Each thread's model has one core for itself: two small models side by side are faster
        // than one spread over two cores.
        let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build()?;
        loop {
            let index = next.fetch_add(1, Ordering::Relaxed);
            if index >= count {
                return Ok(());
            }
            let seed = first_seed + index as u64;
            let mut kept = Vec::new();
            let mut keep = |sample| kept.push(sample);
            let lifted = pool.install(|| match policy {
                None => rollout(seed, disturbance, pace, Driver::Expert, &mut keep),
                Some(model) => {
                    let mut words = ChaCha8Rng::seed_from_u64(seed);
                    let mut cache: Option<InstructionCache> = None;
                    let mut drive = |sample: &Sample| drive(model, sample, &mut cache, &mut words);
                    rollout(seed, disturbance, pace, Driver::Policy(&mut drive), &mut keep)
                }
            })?;
            if let Ok(mut results) = results.lock() {
                results.push((index, kept, lifted));
                progress(results.len());
            }
        }
    };
    std::thread::scope(|scope| -> Result<()> {
        let workers: Vec<_> = (0..threads)
            .map(|i| std::thread::Builder::new().name(format!("rollout-{i}")).spawn_scoped(scope, work))
            .collect::<std::io::Result<_>>()?;
        for worker in workers {
            worker.join().map_err(|_| anyhow::anyhow!("a rollout thread panicked"))??;
        }
        Ok(())
    })?;
    let mut results = results.into_inner().map_err(|_| anyhow::anyhow!("a rollout thread panicked"))?;
    results.sort_by_key(|(index, ..)| *index);
    let lifted = results.iter().filter(|(.., lifted)| *lifted).count();
    Ok((results.into_iter().flat_map(|(_, samples, _)| samples).collect(), lifted))
}

/// The tool target that `model` decides on for a frame, asked in training's words for the object
/// that the rollout is after.
fn drive(
    model: &GoalModel,
    sample: &Sample,
    cache: &mut Option<InstructionCache>,
    rng: &mut ChaCha8Rng,
) -> Option<ToolTarget> {
    match decode_slots(&decide(model, sample, cache, rng)?).ok()?.verdict {
        Verdict::Act { target, .. } => Some(target),
        Verdict::Infeasible(_) => None,
    }
}

/// The model's logits for a frame; the instruction is drawn on the first call.
pub fn decide(
    model: &GoalModel,
    sample: &Sample,
    cache: &mut Option<InstructionCache>,
    rng: &mut ChaCha8Rng,
) -> Option<Vec<f32>> {
    if cache.is_none() {
        let seen = &sample.objects[sample.target];
        let (color, object) = (translate::color(seen.paint), translate::object(seen.kind));
        let text = phrasing::phrase_pick(rng, phrasing::Split::Train, color, object).text;
        let tokens = instruction::encode(&text);
        let words: Vec<i32> = tokens.ids[..tokens.len].iter().map(|id| i32::from(*id)).collect();
        *cache = model.encode(&words).ok();
    }
    model.logits(&host_inputs(model.config(), sample), cache.as_ref()?).ok()
}

fn host_inputs(config: &GoalModelConfig, sample: &Sample) -> HostInputs {
    let mut inputs = HostInputs::zeros(config, 1);
    scene_patches(&sample.scene, config.image_px, &mut inputs.scene);
    wrist_patches(&sample.wrist, config.image_px, &mut inputs.wrist);
    tactile_pair(&sample.tactile[0], &sample.tactile[1], &mut inputs.tactile);
    inputs.proprio = proprio(sample);
    inputs
}

fn proprio(sample: &Sample) -> Vec<f32> {
    features::proprio(&Observation {
        time_ns: 0,
        cameras: Vec::new(),
        tactile: Vec::new(),
        joints_rad: sample.joints_rad.to_vec(),
        gripper_width_m: sample.width_m,
        base_from_tool: ToolPose { position_m: sample.tool_m, rotation_xyzw: sample.tool_xyzw },
    })
    .to_vec()
}

/// Fills a batch of `size` from `samples` with freshly drawn instructions.
///
/// # Errors
/// When a sample does not fit the model.
pub fn fill(
    batch: &mut TrainBatch,
    config: &GoalModelConfig,
    samples: &[Sample],
    size: usize,
    mix: &Mix,
    rng: &mut ChaCha8Rng,
) -> Result<()> {
    batch.clear();
    let black = vec![0_u8; config.image_px * config.image_px * 3];
    while batch.inputs.batch < size {
        let sample = &samples[rng.random_range(0..samples.len())];
        let Some(label) = dataset::draw(rng, sample, mix)? else { continue };
        push(batch, config, sample, &label, &black).context("a demonstration does not fit the model")?;
    }
    Ok(())
}

fn push(
    batch: &mut TrainBatch,
    config: &GoalModelConfig,
    sample: &Sample,
    label: &Label,
    black: &[u8],
) -> Result<()> {
    let words: Vec<i32> = label.words.ids[..label.words.len].iter().map(|id| i32::from(*id)).collect();
    let classes = |cells: &[u8]| -> (Vec<u8>, Vec<u8>) {
        cells
            .iter()
            .map(|cell| match sample.objects.get(usize::from(*cell)).filter(|_| !label.black) {
                Some(seen) => (
                    1 + translate::object(seen.kind).index() as u8,
                    1 + translate::color(seen.paint).index() as u8,
                ),
                None => (0, 0),
            })
            .unzip()
    };
    let (scene_kinds, scene_colors) = classes(&sample.scene_cells);
    let (wrist_kinds, wrist_colors) = classes(&sample.wrist_cells);
    let pixel = |uv: Option<[f32; 2]>| uv.map_or(PixelLabel::Absent, PixelLabel::At);
    batch.push(
        config,
        &Labelled {
            scene_rgb: if label.black { black } else { &sample.scene },
            wrist_rgb: if label.black { black } else { &sample.wrist },
            left_n: &sample.tactile[0],
            right_n: &sample.tactile[1],
            proprio: &proprio(sample),
            words: &words,
            slots: &label.slots,
            slot_weights: &SLOT_WEIGHTS,
            scene_pixel: pixel(label.scene_uv),
            wrist_pixel: pixel(label.wrist_uv),
            scene_cells: CellLabels { kinds: &scene_kinds, colors: &scene_colors },
            wrist_cells: CellLabels { kinds: &wrist_kinds, colors: &wrist_colors },
        },
    )?;
    Ok(())
}
