//! Recorded inputs in, differences from the recorded results out.

use std::path::Path;

use super::probe::Probe;
use super::rtc::Guidance;
use super::source::Constants;
use super::{Inputs, SmolVla, SmolVlaOptions};
use crate::checkpoint::Checkpoint;
use crate::compute::Backend;
use crate::image::Image;
use crate::trace::{Comparison, Trace, TraceError, VerifyError, compare};

/// Runs the checkpoint in `dir` on the inputs that its `reference.safetensors` holds, and compares every
/// intermediate result, the chunk, and a chunk that continues another one where the file has such.
/// Padded text, which never enters this implementation, is left out of the comparison. The options' seed
/// is not used: the noise is an input. Neither is a tokenizer.
///
/// # Errors
/// [`VerifyError`] when checkpoint or reference cannot be used, or do not fit each other.
pub fn verify(
    dir: &Path,
    backend: &Backend,
    options: SmolVlaOptions,
) -> Result<Vec<Comparison>, VerifyError> {
    verify_with(dir, backend, options, Constants::default())
}

fn verify_with(
    dir: &Path,
    backend: &Backend,
    options: SmolVlaOptions,
    constants: Constants,
) -> Result<Vec<Comparison>, VerifyError> {
    let mut reference = Trace::open(&dir.join("reference.safetensors"))?;
    let mut model = SmolVla::build(Checkpoint::open(dir)?, None, backend, options, constants)?;
    let recorded = Recorded::take(&mut reference, &model)?;
    let tokens = model.embed(&recorded.tokens)?;
    model.instruction = Some(Ok(tokens));

    let mut trace = Trace::default();
    let failed = |error: super::RunError| VerifyError::Run { reason: error.to_string() };
    let width = model.config.common.action_len;
    let shape = [model.config.common.chunk_size, width];
    let inputs = recorded.inputs(None)?;
    let chunk = model.run(&inputs, &mut Probe { trace: Some(&mut trace), ended: None }).map_err(failed)?;
    trace.put_values("output.action_chunk", &shape, model.cut(&chunk));
    if let Some(continued) = &recorded.continued {
        let guidance = continued.guidance(&model);
        trace.put_values("rtc.prefix_weights", &[guidance.weights.len()], guidance.weights.clone());
        let inputs = recorded.inputs(Some(guidance))?;
        let chunk = model.run(&inputs, &mut Probe::default()).map_err(failed)?;
        trace.put_values("rtc.action_chunk", &shape, model.cut(&chunk));
    }
    let positions = (0..recorded.kept.len()).map(|position| position as f32).collect();
    trace.put_values("prefix.position_ids", &[recorded.kept.len()], positions);
    Ok(compare(&trace, &reference)?)
}

/// What the reference gives to the network.
struct Recorded {
    /// Width, height and pixels, row by row.
    images: Vec<(usize, usize, Vec<f32>)>,
    state: Vec<f32>,
    tokens: Vec<u32>,
    noise: Vec<f32>,
    continued: Option<Continued>,
    /// Indices of the prefix tokens that are not padding.
    kept: Vec<usize>,
}

/// The chunk before.
struct Continued {
    left_over: Vec<f32>,
    width: usize,
    delay: usize,
    horizon: usize,
}

impl Recorded {
    /// Takes the inputs out of `reference`, and the padded tokens out of what remains.
    fn take(reference: &mut Trace, model: &SmolVla) -> Result<Self, TraceError> {
        let config = &model.config;
        let mut images = Vec::new();
        for camera in &config.common.cameras {
            let name = format!("input.{}", camera.key);
            let (shape, planes) = reference.take(&name)?;
            let &[3, height, width] = shape.as_slice() else {
                return Err(TraceError::Shape {
                    name,
                    expected: vec![3, camera.height, camera.width],
                    actual: shape,
                });
            };
            let pixels = height * width;
            images.push((
                width,
                height,
                (0..3 * pixels).map(|at| planes[at % 3 * pixels + at / 3]).collect(),
            ));
        }
        let state = sized(reference, "input.observation.state", config.common.state_len)?;
        let noise = sized(reference, "input.noise", config.common.chunk_size * config.max_action_dim)?;
        let (_, ids) = reference.take("input.observation.language.tokens")?;
        let mask = sized(reference, "input.observation.language.attention_mask", ids.len())?;
        let tokens =
            ids.iter().zip(&mask).filter(|(_, mask)| **mask != 0.0).map(|(id, _)| *id as u32).collect();

        let (_, mask) = reference.take("prefix.pad_mask")?;
        let kept: Vec<usize> = (0..mask.len()).filter(|at| mask[*at] != 0.0).collect();
        // Which tokens see which follows from the order of tokens here and is no tensor.
        for name in ["prefix.att_mask", "prefix.att_2d"] {
            reference.take(name)?;
        }
        let names: Vec<String> =
            reference.names().filter(|name| name.starts_with("prefix.")).map(Into::into).collect();
        for name in names {
            let (shape, values) = reference.take(&name)?;
            let (shape, values) = without_padding(&shape, &values, mask.len(), &kept);
            reference.put_values(name, &shape, values);
        }
        let continued = Continued::take(reference, config.max_action_dim)?;
        Ok(Self { images, state, tokens, noise, continued, kept })
    }

    fn inputs(&self, guidance: Option<Guidance>) -> Result<Inputs<'_>, VerifyError> {
        let image = |(width, height, pixels)| Image::floats(width, height, pixels);
        let images = self.images.iter().map(|(width, height, pixels)| image((*width, *height, pixels)));
        let images = images.collect::<Option<Vec<_>>>();
        let empty = || VerifyError::Run { reason: "an image of the reference has no pixels".into() };
        Ok(Inputs {
            images: images.ok_or_else(empty)?,
            state: self.state.clone(),
            noise: self.noise.clone(),
            guidance,
        })
    }
}

impl Continued {
    fn take(reference: &mut Trace, width: usize) -> Result<Option<Self>, TraceError> {
        if !reference.names().any(|name| name == "rtc.action_chunk") {
            return Ok(None);
        }
        let (shape, left_over) = reference.take("rtc.prev_chunk_left_over")?;
        let (delay, horizon) =
            (sized(reference, "rtc.inference_delay", 1)?, sized(reference, "rtc.execution_horizon", 1)?);
        Ok(Some(Self {
            left_over,
            width: shape.last().copied().unwrap_or(width),
            delay: delay[0] as usize,
            horizon: horizon[0] as usize,
        }))
    }

    fn guidance(&self, model: &SmolVla) -> Guidance {
        let config = crate::checkpoint::RtcConfig { execution_horizon: self.horizon, ..model.rtc };
        let shape = [model.config.common.chunk_size, model.config.max_action_dim];
        Guidance::new(&config, &self.left_over, self.width, self.delay, shape)
    }
}

/// Takes a tensor of `len` values.
fn sized(reference: &mut Trace, name: &str, len: usize) -> Result<Vec<f32>, TraceError> {
    let (shape, values) = reference.take(name)?;
    if values.len() == len {
        return Ok(values);
    }
    Err(TraceError::Shape { name: name.to_owned(), expected: vec![len], actual: shape })
}

/// The `kept` indices of the dimension that has `tokens` of them.
fn without_padding(shape: &[usize], values: &[f32], tokens: usize, kept: &[usize]) -> (Vec<usize>, Vec<f32>) {
    let Some(dimension) = shape.iter().position(|size| *size == tokens) else {
        return (shape.to_vec(), values.to_vec());
    };
    let inner: usize = shape[dimension + 1..].iter().product();
    let mut remaining = Vec::with_capacity(values.len());
    for outer in values.chunks_exact(tokens * inner) {
        for token in kept {
            remaining.extend_from_slice(&outer[token * inner..(token + 1) * inner]);
        }
    }
    let mut shape = shape.to_vec();
    shape[dimension] = kept.len();
    (shape, remaining)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests fail by panicking")]
    use super::*;

    fn largest(constants: Constants) -> f64 {
        let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/lerobot/smolvla_tiny");
        let compared = verify_with(&dir, &Backend::cpu(0), SmolVlaOptions::default(), constants).unwrap();
        compared.iter().map(|comparison| comparison.largest_relative_error).fold(0.0, f64::max)
    }

    /// The mistakes that are easiest to make and hardest to see are above the tolerance of the tests.
    #[test]
    fn wrong_constants_show() {
        let right = Constants::default();
        assert!(largest(right) <= 2e-5);
        assert!(largest(Constants { rms_epsilon: 1e-6, ..right }) > 2e-5);
        assert!(largest(Constants { layer_epsilon: 1e-5, ..right }) > 2e-5);
        assert!(largest(Constants { rope_base: 100_000.0, ..right }) > 1e-2);
    }

    #[test]
    fn padding_goes_and_the_rest_keeps_its_order() {
        let values: Vec<f32> = (0..12).map(|value| value as f32).collect();
        let (shape, kept) = without_padding(&[2, 3, 2], &values, 3, &[0, 2]);
        assert_eq!(
            (shape.as_slice(), kept.as_slice()),
            (&[2, 2, 2][..], &[0.0, 1.0, 4.0, 5.0, 6.0, 7.0, 10.0, 11.0][..])
        );
    }
}
