//! From noise to actions: flow matching (arXiv 2210.02747) by Euler's method.

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::expert::{ActionPositions, Expert};
use super::prefix::Cached;
use super::probe::Probe;
use super::rtc::Guidance;
use super::source::Source;
use crate::checkpoint::smolvla::EXPERT;
use crate::checkpoint::{CheckpointError, SmolVlaConfig};
use crate::compute::{Activation, ComputeError, Dense, DenseSpec, Rows, Weight};

/// Standard normal values, equal for equal arguments: ChaCha8 (D. J. Bernstein, 2008) with the key that
/// `seed` expands to and the stream `stream`, turned into pairs of normal values by G. Box and
/// M. Muller, 1958, in f64.
#[must_use]
pub fn noise(seed: u64, stream: u64, count: usize) -> Vec<f32> {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    random.set_stream(stream);
    // 53 bits, above 0 and at most 1, so that the logarithm is finite.
    let mut uniform = || ((random.next_u64() >> 11) + 1) as f64 / (1_u64 << 53) as f64;
    let mut values = Vec::with_capacity(count + 1);
    while values.len() < count {
        let radius = (-2.0 * uniform().ln()).sqrt();
        let (sine, cosine) = (std::f64::consts::TAU * uniform()).sin_cos();
        values.extend([(radius * cosine) as f32, (radius * sine) as f32]);
    }
    values.truncate(count);
    values
}

/// The layers around the expert, one set for each step.
#[derive(Debug)]
pub(super) struct Sampler {
    /// From noisy actions to the hidden layer of the action and time embedding; step `s` has the time of
    /// that step in its bias.
    embed: Vec<Dense>,
    embed_out: Dense,
    /// Norm and projection to minus the velocity times a step's length.
    advance: Dense,
}

impl Sampler {
    /// Prepares `steps` steps.
    pub(super) fn load(
        source: &Source<'_>,
        config: &SmolVlaConfig,
        steps: usize,
    ) -> Result<Self, CheckpointError> {
        let (hidden, width) = (config.backbone.expert_hidden, config.max_action_dim);
        let tensors = source.tensors;
        let inner = source.floats("model.action_in_proj.weight", hidden, width)?;
        let inner_bias = tensors.vector("model.action_in_proj.bias", hidden)?;
        let outer = source.floats("model.action_time_mlp_in.weight", hidden, 2 * hidden)?;
        let outer_bias = tensors.vector("model.action_time_mlp_in.bias", hidden)?;

        // Nothing bends between the two matrices, so they are one, and what they make of biases and time
        // is one bias for each step.
        let mut weight = Vec::with_capacity(hidden * width);
        for row in outer.chunks_exact(2 * hidden) {
            let mut sums = vec![0.0; width];
            for (factor, inner) in row.iter().zip(inner.chunks_exact(width)) {
                sums.iter_mut().zip(inner).for_each(|(sum, x)| *sum += f64::from(*factor) * f64::from(*x));
            }
            weight.extend(sums.into_iter().map(|sum| sum as f32));
        }
        let embed = (0..steps).map(|step| {
            let time = time_embedding(time(step, steps), hidden, [config.min_period, config.max_period]);
            let inputs: Vec<f64> = inner_bias.iter().map(|x| f64::from(*x)).chain(time).collect();
            let rows = outer.chunks_exact(2 * hidden).zip(&outer_bias);
            let bias = rows.map(|(row, bias)| {
                let dot: f64 = row.iter().zip(&inputs).map(|(a, b)| f64::from(*a) * b).sum();
                (dot + f64::from(*bias)) as f32
            });
            source.build(DenseSpec {
                bias: Some(bias.collect()),
                activation: Activation::Silu,
                ..DenseSpec::new(Weight::float(hidden, width, weight.as_slice()), source.precision)
            })
        });

        let shrink = -1.0 / steps as f32;
        let mut bias = tensors.vector("model.action_out_proj.bias", width)?;
        bias.iter_mut().for_each(|value| *value *= shrink);
        let out = tensors.weight("model.action_out_proj.weight", width, hidden)?.scaled(shrink);
        let norm = Some(source.rms(&format!("{EXPERT}norm"), hidden)?);
        let embed_out = [("action_time_mlp_out", hidden)];
        Ok(Self {
            embed: embed.collect(),
            embed_out: source.dense_biased("model.", &embed_out, hidden, None, Activation::None)?,
            advance: source.build(DenseSpec {
                bias: Some(bias),
                norm,
                ..DenseSpec::new(out, source.precision)
            }),
        })
    }

    /// Number of steps.
    pub(super) fn steps(&self) -> usize {
        self.embed.len()
    }

    /// `noise` `[actions, max_action_dim]` to actions of that shape, in the network's units.
    pub(super) fn run(
        &self,
        noise: Rows,
        expert: &Expert,
        cache: &[Cached],
        positions: &ActionPositions,
        guidance: Option<&Guidance>,
        probe: &mut Probe<'_>,
    ) -> Result<Rows, ComputeError> {
        let steps = self.embed.len();
        let mut x = noise;
        for (step, embed) in self.embed.iter().enumerate() {
            let mut hidden = self.embed_out.forward(&embed.forward(&x));
            let mut first = (step == 0).then_some(&mut *probe);
            if let Some(probe) = &mut first {
                probe.rows(|| "denoise.step0.suffix_embeds".into(), &hidden)?;
            }
            hidden = expert.forward(hidden, cache, positions, first)?;
            let mut next = self.advance.forward_plus(&hidden, &x);
            if let Some(guidance) = guidance {
                next = correct(guidance, &x, &next, time(step, steps), 1.0 / steps as f64)?;
            }
            probe.values(|| format!("denoise.step{step}.v"), || velocity(&x, &next, steps))?;
            probe.rows(|| format!("denoise.step{step}.x"), &next)?;
            x = next;
        }
        Ok(x)
    }
}

fn correct(guidance: &Guidance, x: &Rows, next: &Rows, t: f64, step: f64) -> Result<Rows, ComputeError> {
    let mut values = next.download()?;
    guidance.correct(&x.download()?, &mut values, t, step);
    Ok(Rows::upload(&x.backend, &values, next.count(), next.width()))
}

/// The velocity that has led from `x` to `next`.
fn velocity(x: &Rows, next: &Rows, steps: usize) -> Result<(Vec<usize>, Vec<f32>), ComputeError> {
    let (from, to) = (x.download()?, next.download()?);
    let velocity = from.iter().zip(&to).map(|(from, to)| (from - to) * steps as f32);
    Ok((vec![x.count(), x.width()], velocity.collect()))
}

/// The time of a step: 1 is noise, 0 would be the chunk.
fn time(step: usize, steps: usize) -> f64 {
    1.0 - step as f64 / steps as f64
}

/// Sines, then cosines, of `2πt / period` for periods from the shortest to the longest, evenly on a
/// logarithmic scale.
fn time_embedding(t: f64, width: usize, [shortest, longest]: [f64; 2]) -> Vec<f64> {
    // LeRobot keeps the time in f32, and a turn in the shortest period is short enough to show it.
    let t = f64::from(t as f32);
    let half = width / 2;
    let angle = |at: usize| {
        let fraction = at as f64 / (half.max(2) - 1) as f64;
        std::f64::consts::TAU * t / (shortest * (longest / shortest).powf(fraction))
    };
    (0..half).map(|at| angle(at).sin()).chain((0..half).map(|at| angle(at).cos())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn noise_is_normal_and_a_function_of_its_arguments() {
        let values = noise(7, 1, 100_001);
        assert_eq!(values.len(), 100_001);
        let count = values.len() as f64;
        let moment = |power: i32| values.iter().map(|x| f64::from(*x).powi(power)).sum::<f64>() / count;
        assert!(moment(1).abs() < 0.01);
        assert!((moment(2) - 1.0).abs() < 0.02);
        assert!(moment(3).abs() < 0.03);
        assert!((moment(4) - 3.0).abs() < 0.1);
        assert_eq!(noise(7, 1, 10), values[..10]);
        assert_ne!(noise(7, 2, 10), values[..10]);
        assert_ne!(noise(8, 1, 10), values[..10]);
    }

    #[test]
    fn time_runs_from_one_by_equal_steps() {
        let times: Vec<f64> = (0..4).map(|step| time(step, 4)).collect();
        assert_eq!(times, [1.0, 0.75, 0.5, 0.25]);
        let embedding = time_embedding(0.5, 4, [0.25, 1.0]);
        // Periods 0.25 and 1: two whole turns, and half a turn.
        for (value, expected) in embedding.iter().zip([0.0, 0.0, 1.0, -1.0]) {
            assert!((value - expected).abs() < 1e-12);
        }
    }
}
