//! Recording demonstrations: the scripted expert moves the simulated robot through the runtime, and what a
//! policy would have been shown is kept beside what was commanded.

use std::path::Path;

use anyhow::{Result, ensure};
use reflexarc_runtime::reflex::Command;
use reflexarc_runtime::{Config, Runtime};
use reflexarc_sim::node::{JOINT_NAMES, TICK_HZ};

use super::dataset::{Frame, Recording, Writer};
use crate::episode::{self, Decider, Episode};

/// Frames per second of the simulated cameras.
const CAMERA_HZ: u32 = 60;

/// Records one episode of the expert at `fps` frames per second, a divisor of the cameras' 60. The action of a
/// frame is the command of the same tick, so that a policy which repeats the actions at their times repeats
/// the motion. `None` when the expert failed.
///
/// # Errors
/// When the scene or the runtime cannot be built.
pub fn record(episode: &Episode, fps: u32) -> Result<Option<Recording>> {
    ensure!(
        fps > 0 && CAMERA_HZ.is_multiple_of(fps),
        "{fps} frames per second, expected a divisor of {CAMERA_HZ}"
    );
    let senses = Config::default().senses;
    let period = u64::from(TICK_HZ / fps);
    let mut frames = Vec::new();
    let mut look = |tick: u64, runtime: &Runtime, command: &Command| {
        // Until the first decision nothing is commanded.
        let (true, Some(joints)) = (tick.is_multiple_of(period), &command.joints) else { return };
        if let Some(observation) = runtime.snapshot().observation(&senses) {
            let action = joints.q.iter().chain([&joints.gripper_width_m]).map(|v| *v as f32).collect();
            frames.push(Frame { observation, action });
        }
    };
    let result = episode::run_watched(episode, Decider::Expert, &mut look)?;
    let recording = Recording { task: episode.instruction.clone(), frames };
    Ok((result.outcome == "success").then_some(recording))
}

/// Records the successes among `count` episodes into a dataset in `folder`, and says how it goes. Returns
/// how many were kept.
///
/// # Errors
/// When the folder is not empty, an episode cannot run, or the disk refuses.
pub fn export(
    folder: &Path,
    fps: u32,
    count: usize,
    prepare: &dyn Fn(usize) -> Episode,
    progress: &mut dyn FnMut(usize, usize, usize),
) -> Result<usize> {
    let mut writer = Writer::create(folder, fps, &JOINT_NAMES)?;
    let mut kept = 0;
    for index in 0..count {
        if let Some(recording) = record(&prepare(index), fps)? {
            writer.push(&recording)?;
            kept += 1;
        }
        progress(index + 1, kept, writer.frames());
    }
    writer.finish()?;
    Ok(kept)
}
