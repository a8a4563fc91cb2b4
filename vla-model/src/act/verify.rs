//! Comparing a checkpoint's intermediate values with those that LeRobot recorded for it.

use std::path::Path;

use super::Precisions;
use super::ensemble::Ensemble;
use super::network::Network;
use super::policy::act_config;
use super::probe::Probe;
use crate::checkpoint::Checkpoint;
use crate::compute::Backend;
use crate::trace::{Comparison, Trace, TraceError, VerifyError, compare};

const REFERENCE: &str = "reference.safetensors";

/// Puts the inputs recorded in `dir/reference.safetensors` to the checkpoint in `dir` and compares every
/// tensor that is recorded there.
///
/// The file holds `input.<feature>` (normalised, images as `[1, 3, height, width]`), the intermediate
/// values and `output.action_chunk`; and, if there, an episode of temporal ensembling: `ensemble.coeff`,
/// `ensemble.chunks` `[steps, 1, chunk, action]` and `ensemble.actions` `[steps, 1, action]`.
///
/// # Errors
/// [`VerifyError`] when the checkpoint or the file cannot be used, or do not fit each other.
pub fn verify(dir: &Path, backend: &Backend, precision: Precisions) -> Result<Vec<Comparison>, VerifyError> {
    let checkpoint = Checkpoint::open(dir)?;
    let config = act_config(&checkpoint)?;
    let mut reference = Trace::open(&dir.join(REFERENCE))?;
    let mut trace = Trace::default();

    let mut pixels = Vec::new();
    for camera in &config.common.cameras {
        let values = input(&mut reference, &camera.key, &[3, camera.height, camera.width])?;
        let size = camera.height * camera.width;
        pixels.extend((0..3 * size).map(|at| values[at % 3 * size + at / 3]));
    }
    let state = match config.common.state_len {
        0 => Vec::new(),
        len => input(&mut reference, "observation.state", &[len])?,
    };
    let network = Network::load(config, &checkpoint.tensors, backend, precision)?;
    network
        .forward(&pixels, &state, &mut Probe { trace: Some(&mut trace), ended: None })
        .map_err(|error| VerifyError::Run { reason: error.to_string() })?;

    if reference.get("ensemble.actions").is_some() {
        let [horizon, width] = [config.common.chunk_size, config.common.action_len];
        let (_, coefficient) = reference.take("ensemble.coeff")?;
        let (shape, chunks) = reference.take("ensemble.chunks")?;
        if !matches!(*shape, [_, 1, h, w] if [h, w] == [horizon, width]) || coefficient.len() != 1 {
            let expected = vec![shape.first().copied().unwrap_or(0), 1, horizon, width];
            let name = "ensemble.chunks".to_owned();
            return Err(TraceError::Shape { name, expected, actual: shape }.into());
        }
        let mut ensemble = Ensemble::new(f64::from(coefficient[0]), horizon, width);
        let first = |chunk: &[f32]| ensemble.update(1, chunk)[..width].to_vec();
        let actions: Vec<f32> = chunks.chunks_exact(horizon * width).flat_map(first).collect();
        trace.put_values("ensemble.actions", &[shape[0], 1, width], actions);
    }
    Ok(compare(&trace, &reference)?)
}

/// The recorded input of a feature.
fn input(reference: &mut Trace, feature: &str, expected: &[usize]) -> Result<Vec<f32>, TraceError> {
    let name = format!("input.{feature}");
    let (actual, values) = reference.take(&name)?;
    if actual != expected {
        return Err(TraceError::Shape { name, expected: expected.to_vec(), actual });
    }
    Ok(values)
}
