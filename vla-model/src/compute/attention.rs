//! Scaled dot-product attention (arXiv 1706.03762) with shared key heads (arXiv 2305.13245).

use super::cpu::{self, Buffer};
use super::{Kind, Rows, device};

/// A band of columns of a matrix, from `from` on: one of q, k, v side by side.
#[derive(Clone, Copy, Debug)]
pub struct Columns<'a> {
    /// The matrix.
    pub rows: &'a Rows,
    /// First column.
    pub from: usize,
}

impl<'a> Columns<'a> {
    /// The band of `rows` that begins at column `from`.
    #[must_use]
    pub fn new(rows: &'a Rows, from: usize) -> Self {
        Self { rows, from }
    }
}

/// Keys and values of some tokens; `kv_heads × head_dim` columns each.
#[derive(Clone, Copy, Debug)]
pub struct KeysValues<'a> {
    /// Keys.
    pub keys: Columns<'a>,
    /// Values.
    pub values: Columns<'a>,
}

/// Which keys a query sees; keys are counted over all segments in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Sight {
    /// All of them.
    All,
    /// Query `i` sees keys `0..before + i + 1`.
    Causal {
        /// Keys before the queries' own.
        before: usize,
    },
    /// All but the last, which only the last query sees.
    LastHidden,
}

/// The shape of an attention.
#[derive(Clone, Copy, Debug)]
pub struct Attention {
    /// Heads of the queries.
    pub heads: usize,
    /// Heads of keys and values; query head `h` reads head `h / (heads / kv_heads)`.
    pub kv_heads: usize,
    /// Values of a head; scores are scaled by `1/√head_dim`.
    pub head_dim: usize,
    /// Whether products may be taken in reduced precision (bf16 or int8, softmax in f32), as beside
    /// quantised layers. Exact f32 otherwise.
    pub reduced: bool,
}

impl Attention {
    /// `queries` `[rows, heads × head_dim]` over the keys and values of all `segments` to
    /// `[rows, heads × head_dim]`. With `sequences` above one, queries and every segment are that many
    /// sequences of the same length one after another, which do not see each other.
    #[must_use]
    pub fn forward(
        &self,
        queries: Columns<'_>,
        segments: &[KeysValues<'_>],
        sequences: usize,
        sight: Sight,
    ) -> Rows {
        let (count, width) = (queries.rows.count, self.heads * self.head_dim);
        let backend = &queries.rows.backend;
        let data = match &backend.kind {
            Kind::Cpu(cpu) => {
                let mut data = Buffer::unfilled(count * width);
                cpu::attention(cpu, self, queries, segments, sequences, sight, data.as_mut_slice());
                data.into()
            }
            Kind::Device(device) => {
                device::attention(device, self, queries, segments, sequences, sight).into()
            }
        };
        Rows { count, width, data, backend: backend.clone() }
    }
}
