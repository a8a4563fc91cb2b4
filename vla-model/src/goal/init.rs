//! Seeded initial weights, drawn on the host so that a seed means the same weights on every device.

use burn::module::Param;
use burn::tensor::{Device, Tensor, TensorData};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// Draws parameters one after another from one stream.
pub(crate) struct Init<'a> {
    /// Absent where the weights will be replaced anyway: drawing them takes a while.
    rng: Option<ChaCha8Rng>,
    device: &'a Device,
}

impl<'a> Init<'a> {
    pub(crate) fn new(seed: u64, device: &'a Device) -> Self {
        Self { rng: Some(ChaCha8Rng::seed_from_u64(seed)), device }
    }

    /// All weights zero.
    pub(crate) fn blank(device: &'a Device) -> Self {
        Self { rng: None, device }
    }

    /// Normally distributed values of the given standard deviation.
    pub(crate) fn normal<const D: usize>(&mut self, shape: [usize; D], deviation: f32) -> Param<Tensor<D>> {
        let count: usize = shape.iter().product();
        let Some(rng) = &mut self.rng else {
            return self.constant(shape, 0.0);
        };
        let mut values = Vec::with_capacity(count + 1);
        while values.len() < count {
            // Box and Muller, "A note on the generation of random normal deviates", 1958.
            let radius = (-2.0 * (1.0 - unit(rng)).ln()).sqrt();
            let (sin, cos) = (std::f64::consts::TAU * unit(rng)).sin_cos();
            values.push((radius * cos) as f32 * deviation);
            values.push((radius * sin) as f32 * deviation);
        }
        values.truncate(count);
        Param::from_tensor(Tensor::from_data(TensorData::new(values, shape), self.device))
    }

    /// A weight `[inputs, …, outputs]` whose outputs have about the variance of its `fan_in` inputs
    /// times `gain`².
    pub(crate) fn weight<const D: usize>(
        &mut self,
        shape: [usize; D],
        fan_in: usize,
        gain: f32,
    ) -> Param<Tensor<D>> {
        self.normal(shape, gain / (fan_in.max(1) as f32).sqrt())
    }

    pub(crate) fn constant<const D: usize>(&self, shape: [usize; D], value: f32) -> Param<Tensor<D>> {
        let count = shape.iter().product();
        Param::from_tensor(Tensor::from_data(TensorData::new(vec![value; count], shape), self.device))
    }
}

/// Uniform in 0..1.
fn unit(rng: &mut ChaCha8Rng) -> f64 {
    (rng.next_u64() >> 11) as f64 / (1_u64 << 53) as f64
}
