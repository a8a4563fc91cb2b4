//! The parts of a transformer layer, as ACT's encoder and decoder have them: post-norm, ReLU, positions
//! in queries and keys alone.

use std::ops::Range;

use crate::checkpoint::{CheckpointError, Tensors};
use crate::compute::{
    Activation, Attention, Backend, Columns, Dense, DenseSpec, KeysValues, Norm, NormKind, Precision, Rows,
    Sight, Weight,
};

const NORM_EPSILON: f32 = 1e-5;

/// Bands of an attention's input projection.
pub(super) const QUERIES: Range<usize> = 0..1;
pub(super) const KEYS_VALUES: Range<usize> = 1..3;
pub(super) const ALL: Range<usize> = 0..3;
/// The values' band: the only one without positions.
const VALUES: usize = 2;

/// Where layers come from and where they go.
#[derive(Clone, Copy)]
pub(super) struct Source<'a> {
    pub(super) tensors: &'a Tensors,
    pub(super) backend: &'a Backend,
    /// Width of a token.
    pub(super) dim: usize,
    pub(super) heads: usize,
    pub(super) feed_forward: usize,
}

impl Source<'_> {
    /// `activation(x · Wᵀ + b)` from `name.weight` and `name.bias`.
    pub(super) fn dense(
        &self,
        name: &str,
        [inputs, outputs]: [usize; 2],
        activation: Activation,
        precision: Precision,
    ) -> Result<Dense, CheckpointError> {
        let weight = self.tensors.weight(&format!("{name}.weight"), outputs, inputs)?;
        let bias = Some(self.tensors.vector(&format!("{name}.bias"), outputs)?);
        Ok(Dense::new(self.backend, DenseSpec { bias, activation, ..DenseSpec::new(weight, precision) }))
    }

    pub(super) fn norm(&self, name: &str) -> Result<Norm, CheckpointError> {
        Ok(Norm {
            kind: NormKind::Layer,
            scale: self.tensors.vector(&format!("{name}.weight"), self.dim)?,
            shift: self.tensors.vector(&format!("{name}.bias"), self.dim)?,
            epsilon: NORM_EPSILON,
        })
    }

    /// `[count, dim]` values of a table.
    pub(super) fn table(&self, name: &str, count: usize) -> Result<Rows, CheckpointError> {
        let values = self.tensors.values(name, &[count, self.dim])?;
        Ok(Rows::upload(self.backend, &values, count, self.dim))
    }
}

/// Some bands of an attention's input projection, with the tokens' positions folded in: queries and keys
/// are `(x + p) Wᵀ + b = x Wᵀ + (p Wᵀ + b)`, and the summand does not depend on the input.
#[derive(Debug)]
pub(super) struct Projection {
    matrix: Dense,
    /// `[tokens, bands × dim]`.
    summand: Rows,
}

impl Projection {
    pub(super) fn load(
        source: &Source<'_>,
        attention: &str,
        bands: Range<usize>,
        positions: &Rows,
        precision: Precision,
    ) -> Result<Self, CheckpointError> {
        let dim = source.dim;
        let weight = source.tensors.weight(&format!("{attention}.in_proj_weight"), 3 * dim, dim)?;
        let bias = source.tensors.vector(&format!("{attention}.in_proj_bias"), 3 * dim)?;
        let rows = |bands: &Range<usize>| bands.start * dim..bands.end * dim;

        // Exact, and once: in floats. The values' rows of the matrix are zero here, they take no positions.
        let mut placed = weight.rows(rows(&bands)).to_floats().into_owned();
        let values_from = rows(&(bands.start..VALUES)).len().min(placed.len() / dim) * dim;
        placed[values_from..].fill(0.0);
        let spec = DenseSpec {
            bias: Some(bias[rows(&bands)].to_vec()),
            ..DenseSpec::new(Weight::float(bands.len() * dim, dim, placed), Precision::F32)
        };
        let summand = Dense::new(source.backend, spec).forward(positions);
        let matrix = DenseSpec::new(weight.rows(rows(&bands)), precision);
        Ok(Self { matrix: Dense::new(source.backend, matrix), summand })
    }

    pub(super) fn forward(&self, tokens: &Rows) -> Rows {
        self.matrix.forward_plus(tokens, &self.summand)
    }
}

/// What follows the scores: the output matrix, the residual, the norm.
#[derive(Debug)]
pub(super) struct Attended {
    shape: Attention,
    output: Dense,
    norm: Norm,
}

impl Attended {
    pub(super) fn load(
        source: &Source<'_>,
        attention: &str,
        norm: &str,
        precision: Precision,
    ) -> Result<Self, CheckpointError> {
        let dims = [source.dim, source.dim];
        Ok(Self {
            shape: Attention {
                heads: source.heads,
                kv_heads: source.heads,
                head_dim: source.dim / source.heads,
                reduced: precision != Precision::F32,
            },
            output: source.dense(&format!("{attention}.out_proj"), dims, Activation::None, precision)?,
            norm: source.norm(norm)?,
        })
    }

    /// `norm(x + output(attention(queries, keys, values)))`.
    pub(super) fn forward(
        &self,
        x: &Rows,
        queries: Columns<'_>,
        keys: Columns<'_>,
        values: Columns<'_>,
    ) -> Rows {
        let seen = self.shape.forward(queries, &[KeysValues { keys, values }], 1, Sight::All);
        self.norm.forward(&self.output.forward_plus(&seen, x))
    }
}

/// `norm(x + attention of x over itself)`.
#[derive(Debug)]
pub(super) struct SelfAttention {
    projection: Projection,
    attended: Attended,
}

impl SelfAttention {
    pub(super) fn load(
        source: &Source<'_>,
        layer: &str,
        positions: &Rows,
        precision: Precision,
    ) -> Result<Self, CheckpointError> {
        let name = format!("{layer}.self_attn");
        Ok(Self {
            projection: Projection::load(source, &name, ALL, positions, precision)?,
            attended: Attended::load(source, &name, &format!("{layer}.norm1"), precision)?,
        })
    }

    pub(super) fn forward(&self, x: &Rows) -> Rows {
        let dim = x.width();
        let qkv = self.projection.forward(x);
        let band = |at| Columns::new(&qkv, at * dim);
        self.attended.forward(x, band(0), band(1), band(2))
    }
}

/// `norm(x + W₂ relu(W₁ x))`.
#[derive(Debug)]
pub(super) struct FeedForward {
    first: Dense,
    second: Dense,
    norm: Norm,
}

impl FeedForward {
    pub(super) fn load(
        source: &Source<'_>,
        layer: &str,
        norm: &str,
        precision: Precision,
    ) -> Result<Self, CheckpointError> {
        let (dim, inner) = (source.dim, source.feed_forward);
        Ok(Self {
            first: source.dense(&format!("{layer}.linear1"), [dim, inner], Activation::Relu, precision)?,
            second: source.dense(&format!("{layer}.linear2"), [inner, dim], Activation::None, precision)?,
            norm: source.norm(&format!("{layer}.{norm}"))?,
        })
    }

    pub(super) fn forward(&self, x: &Rows) -> Rows {
        self.norm.forward(&self.second.forward_plus(&self.first.forward(x), x))
    }
}
