//! Grounding: where in an image the thing is that the instruction speaks of.
//!
//! A few queries, computed from the instruction alone, score every cell of a feature map and one
//! learned "not in view". Each query yields a token: what the scored cells look like, where they
//! are (to a fraction of a cell), and how sure the model is that it is there at all.

use burn::module::{Module, Param};
use burn::tensor::{Tensor, TensorData, activation};

use super::config::{GoalModelConfig, PIXEL_OCTAVES};
use super::features::{padded_cells, padded_index};
use super::init::Init;
use super::text::EncodedText;
use super::transformer::{Dense, MASKED};

/// Sharpens the distribution over cells before its mean is taken, so that a little mass on a far
/// distractor does not pull the mean away.
pub(crate) const SHARPNESS: f32 = 2.0;
/// Numbers beside the features in a query's description: u, v, their octaves, the probability and
/// the scaled logarithm of "not in view".
pub(crate) const EXTRA: usize = 2 + 4 * PIXEL_OCTAVES + 2;

/// The grounding head of one camera.
#[derive(Module, Debug)]
pub(crate) struct Grounding {
    /// Pooled instruction to all queries: `[width, queries × channels]`.
    pub(crate) query: Dense,
    /// Pooled instruction to each query's score of "not in view".
    pub(crate) absent: Dense,
    /// `[channels + extra, width]`.
    pub(crate) describe: Param<Tensor<2>>,
    /// One for each query: `[queries, width]`.
    pub(crate) describe_bias: Param<Tensor<2>>,
    pub(crate) token: Dense,
    #[module(skip)]
    pub(crate) queries: usize,
    #[module(skip)]
    pub(crate) grid: usize,
}

/// What depends on the instruction alone.
#[derive(Clone, Debug)]
pub(crate) struct GroundingQueries {
    /// `[batch, queries, channels]`, already scaled.
    queries: Tensor<3>,
    /// `[batch, queries, 1]`.
    absent: Tensor<3>,
}

/// Constants of a grid, kept on the device.
#[derive(Clone, Debug)]
pub(crate) struct GridConstants {
    /// Zero on real cells, [`MASKED`] on padding: `[1, 1, padded cells]`.
    bias: Tensor<3>,
    /// Cell centres u and v in 0..1: `[1, padded cells, 2]`.
    centres: Tensor<3>,
    /// `[1, octaves]` angular frequencies.
    frequencies: Tensor<3>,
}

impl GridConstants {
    pub(crate) fn new(grid: usize, device: &burn::tensor::Device) -> Self {
        let cells = padded_cells(grid);
        let mut bias = vec![MASKED; cells];
        let mut centres = vec![0.0_f32; cells * 2];
        for row in 0..grid {
            for column in 0..grid {
                let cell = padded_index(grid, row, column);
                bias[cell] = 0.0;
                centres[2 * cell] = (column as f32 + 0.5) / grid as f32;
                centres[2 * cell + 1] = (row as f32 + 0.5) / grid as f32;
            }
        }
        let frequencies = (0..PIXEL_OCTAVES).map(|octave| std::f32::consts::PI * (1_u32 << octave) as f32);
        Self {
            bias: Tensor::from_data(TensorData::new(bias, [1, 1, cells]), device),
            centres: Tensor::from_data(TensorData::new(centres, [1, cells, 2]), device),
            frequencies: Tensor::from_data(
                TensorData::new(frequencies.collect::<Vec<f32>>(), [1, 1, PIXEL_OCTAVES]),
                device,
            ),
        }
    }
}

impl Grounding {
    pub(crate) fn init(init: &mut Init<'_>, config: &GoalModelConfig, grid: usize, channels: usize) -> Self {
        let width = config.width;
        let inputs = channels + EXTRA;
        Self {
            query: Dense::init(init, width, config.queries * channels, 1.0),
            absent: Dense::init(init, width, config.queries, 0.1),
            describe: init.weight([inputs, width], inputs, std::f32::consts::SQRT_2),
            describe_bias: init.normal([config.queries, width], 0.5),
            token: Dense::init(init, width, width, 1.0),
            queries: config.queries,
            grid,
        }
    }

    fn width(&self) -> usize {
        let [_, width] = self.describe_bias.dims();
        width
    }

    pub(crate) fn queries(&self, text: &EncodedText, channels: usize) -> GroundingQueries {
        let [batch, _] = text.pooled.dims();
        let scale = (channels as f32).sqrt().recip();
        let queries = self.query.forward(text.pooled.clone()) * scale;
        GroundingQueries {
            queries: queries.reshape([batch, self.queries, channels]),
            absent: self.absent.forward(text.pooled.clone()).reshape([batch, self.queries, 1]),
        }
    }

    /// `map` is `[batch, padded cells, channels]`.
    ///
    /// Returns the tokens `[batch, queries, width]` and the scores
    /// `[batch, queries, padded cells + 1]`, the last one "not in view".
    pub(crate) fn forward(
        &self,
        map: Tensor<3>,
        queries: &GroundingQueries,
        constants: &GridConstants,
    ) -> (Tensor<3>, Tensor<3>) {
        let [batch, cells, channels] = map.dims();
        let count = self.queries;
        let scores = queries.queries.clone().matmul(map.clone().swap_dims(1, 2)) + constants.bias.clone();
        let weights = activation::softmax(scores.clone() * SHARPNESS, 2);
        let seen = weights.clone().matmul(map);
        let centres = constants.centres.clone().expand([batch, cells, 2]);
        let pixel = weights.matmul(centres);
        let scores = Tensor::cat(vec![scores, queries.absent.clone()], 2);
        let absent_log = activation::log_softmax(scores.clone(), 2).narrow(2, cells, 1);
        let angles = pixel.clone().reshape([batch * count, 2, 1]) * constants.frequencies.clone();
        let waves = Tensor::cat(vec![angles.clone().sin(), angles.cos()], 2).reshape([
            batch,
            count,
            4 * PIXEL_OCTAVES,
        ]);
        let absent = absent_log.clone().exp();
        let absent_log = absent_log.clamp_min(-10.0) * 0.1;
        let description = Tensor::cat(vec![seen, pixel * 2.0 - 1.0, waves, absent, absent_log], 2);
        let hidden = description
            .reshape([batch * count, channels + EXTRA])
            .matmul(self.describe.val())
            .reshape([batch, count, self.width()])
            + self.describe_bias.val().unsqueeze::<3>();
        (self.token.forward(activation::relu(hidden)), scores)
    }
}
