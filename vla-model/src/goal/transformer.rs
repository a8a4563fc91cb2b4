//! Transformer blocks: attention over the block's own tokens and, in the main transformer, over
//! the instruction's memory, whose keys and values can be computed once and kept.
//!
//! Pre-norm residual layers (Xiong et al., "On Layer Normalization in the Transformer
//! Architecture", 2020) with RMS norms (Zhang and Sennrich, 2019) and rectified MLPs: the smooth
//! activations cost more than the matrix products at this size on a CPU.

use burn::module::{Module, Param};
use burn::tensor::{Tensor, activation, module};

use super::init::Init;

pub(crate) const NORM_EPSILON: f64 = 1e-5;
/// Added to the score of a key that does not exist. Large enough to vanish, small enough for any
/// float.
pub(crate) const MASKED: f32 = -1e4;

/// `x · weight + bias`.
#[derive(Module, Debug)]
pub(crate) struct Dense {
    /// `[inputs, outputs]`.
    pub(crate) weight: Param<Tensor<2>>,
    /// `[outputs]`.
    pub(crate) bias: Param<Tensor<1>>,
}

impl Dense {
    pub(crate) fn init(init: &mut Init<'_>, inputs: usize, outputs: usize, gain: f32) -> Self {
        Self { weight: init.weight([inputs, outputs], inputs, gain), bias: init.constant([outputs], 0.0) }
    }

    /// `[…, inputs]` to `[…, outputs]`.
    pub(crate) fn forward<const D: usize>(&self, x: Tensor<D>) -> Tensor<D> {
        module::linear(x, self.weight.val(), Some(self.bias.val()))
    }
}

/// `x / rms(x) · scale` over the last dimension.
#[derive(Module, Debug)]
pub(crate) struct RmsNorm {
    /// `[width]`.
    pub(crate) scale: Param<Tensor<1>>,
}

impl RmsNorm {
    pub(crate) fn init(init: &Init<'_>, width: usize) -> Self {
        Self { scale: init.constant([width], 1.0) }
    }

    pub(crate) fn forward<const D: usize>(&self, x: Tensor<D>) -> Tensor<D> {
        let square = (x.clone() * x.clone()).mean_dim(D - 1);
        let rms = (square + NORM_EPSILON).sqrt();
        x / rms * self.scale.val().unsqueeze()
    }
}

/// Keys and values, each `[batch, heads, tokens, head width]`.
#[derive(Clone, Debug)]
pub(crate) struct KeysValues {
    pub(crate) keys: Tensor<4>,
    pub(crate) values: Tensor<4>,
}

/// One layer: attention, then an MLP, each on normalised input and added to the tokens.
#[derive(Module, Debug)]
pub(crate) struct Block {
    pub(crate) attention_norm: RmsNorm,
    /// `[width, width]`.
    pub(crate) query: Param<Tensor<2>>,
    /// `[width, 2 × width]`: keys, then values.
    pub(crate) key_value: Param<Tensor<2>>,
    /// `[width, width]`.
    pub(crate) out: Param<Tensor<2>>,
    pub(crate) mlp_norm: RmsNorm,
    pub(crate) up: Dense,
    pub(crate) down: Dense,
    #[module(skip)]
    pub(crate) heads: usize,
}

impl Block {
    pub(crate) fn init(
        init: &mut Init<'_>,
        width: usize,
        heads: usize,
        hidden: usize,
        layers: usize,
    ) -> Self {
        let residual = 1.0 / (2.0 * layers as f32).sqrt();
        Self {
            attention_norm: RmsNorm::init(init, width),
            query: init.weight([width, width], width, 1.0),
            key_value: init.weight([width, 2 * width], width, 1.0),
            out: init.weight([width, width], width, residual),
            mlp_norm: RmsNorm::init(init, width),
            up: Dense::init(init, width, hidden, std::f32::consts::SQRT_2),
            down: Dense::init(init, hidden, width, residual),
            heads,
        }
    }

    /// Keys and values of tokens `[batch, tokens, width]`.
    pub(crate) fn keys_values(&self, tokens: Tensor<3>) -> KeysValues {
        let [_, _, width] = tokens.dims();
        let both = matmul_wide(tokens, self.key_value.val());
        KeysValues {
            keys: self.split(both.clone().narrow(2, 0, width)),
            values: self.split(both.narrow(2, width, width)),
        }
    }

    /// `tokens` is `[batch, tokens, width]`. They attend to themselves and to `memory`, if any.
    /// `bias`, if any, is added to all scores: `[batch, 1, 1, memory + own tokens]`.
    pub(crate) fn forward(
        &self,
        tokens: Tensor<3>,
        memory: Option<&KeysValues>,
        bias: Option<&Tensor<4>>,
    ) -> Tensor<3> {
        let [batch, count, width] = tokens.dims();
        let normal = self.attention_norm.forward(tokens.clone());
        // Scaling the queries costs less than scaling the scores.
        let scale = ((width / self.heads) as f32).sqrt().recip();
        let queries = self.split(matmul_wide(normal.clone(), self.query.val()) * scale);
        let own = self.keys_values(normal);
        let (keys, values) = match memory {
            None => (own.keys, own.values),
            Some(memory) => (
                Tensor::cat(vec![memory.keys.clone(), own.keys], 2),
                Tensor::cat(vec![memory.values.clone(), own.values], 2),
            ),
        };
        let mut scores = queries.matmul(keys.swap_dims(2, 3));
        if let Some(bias) = bias {
            scores = scores + bias.clone();
        }
        let mixed = activation::softmax(scores, 3).matmul(values);
        let mixed = mixed.swap_dims(1, 2).reshape([batch, count, width]);
        let tokens = tokens + matmul_wide(mixed, self.out.val());
        let hidden = activation::relu(self.up.forward(self.mlp_norm.forward(tokens.clone())));
        tokens + self.down.forward(hidden)
    }

    /// `[batch, tokens, width]` to `[batch, heads, tokens, head width]`.
    fn split(&self, x: Tensor<3>) -> Tensor<4> {
        let [batch, count, width] = x.dims();
        x.reshape([batch, count, self.heads, width / self.heads]).swap_dims(1, 2)
    }
}

/// `[batch, tokens, inputs] · [inputs, outputs]` as one matrix product over all tokens.
pub(crate) fn matmul_wide(x: Tensor<3>, weight: Tensor<2>) -> Tensor<3> {
    let [batch, count, inputs] = x.dims();
    let [_, outputs] = weight.dims();
    x.reshape([batch * count, inputs]).matmul(weight).reshape([batch, count, outputs])
}
