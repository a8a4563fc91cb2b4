//! Transformer blocks: see [`crate::goal`]'s `transformer`.

use super::load::Loader;
use crate::compute::{Activation, Attention, Columns, Dense, DenseSpec, KeysValues, Rows, Sight, Weight};
use crate::weights::WeightsError;

/// Attention over the block's own tokens and, if there is one, a memory; then an MLP.
#[derive(Debug)]
pub(super) struct Block {
    /// Normalised tokens to queries, keys and values side by side.
    own: Dense,
    /// Memory to keys and values side by side.
    memory: Dense,
    out: Dense,
    up: Dense,
    down: Dense,
    attention: Attention,
}

impl Block {
    pub(super) fn load(load: &mut Loader<'_>, name: &str) -> Result<Self, WeightsError> {
        let (width, heads, hidden) = (load.config().width, load.config().heads, load.config().mlp_width);
        let part = |field: &str| format!("{name}.{field}");
        let query = load.weight(&part("query"), &[width, width])?;
        let key_value = load.weight(&part("key_value"), &[width, 2 * width])?;
        let own = load.bare(Weight::stack(vec![query, key_value.clone()]));
        let norm = Some(load.norm(&part("attention_norm"), width)?);
        let out = load.weight(&part("out"), &[width, width])?;
        let mlp_norm = Some(load.norm(&part("mlp_norm"), width)?);
        let up = load.linear(&part("up"), width, hidden)?;
        let down = load.linear(&part("down"), hidden, width)?;
        Ok(Self {
            own: load.dense(DenseSpec { norm, ..own }),
            memory: load.dense(load.bare(key_value)),
            out: load.dense(load.bare(out)),
            up: load.dense(DenseSpec { norm: mlp_norm, activation: Activation::Relu, ..up }),
            down: load.dense(down),
            // Few words: bf16 would save a hundredth of the time where the processor has it, and make the model
            // decide otherwise there. So it decides alike wherever there is a fused multiply-add.
            attention: Attention { heads, kv_heads: heads, head_dim: width / heads, reduced: false },
        })
    }

    /// Keys and values of `memory` `[words, width]`: `[words, 2 × width]`.
    pub(super) fn remember(&self, memory: &Rows) -> Rows {
        self.memory.forward(memory)
    }

    /// `tokens` `[tokens, width]` attend to `memory`, as [`Self::remember`] gave it, and to themselves.
    pub(super) fn forward(&self, tokens: &Rows, memory: Option<&Rows>) -> Rows {
        let width = tokens.width();
        let pair = |rows, from| KeysValues {
            keys: Columns::new(rows, from),
            values: Columns::new(rows, from + width),
        };
        let own = self.own.forward(tokens);
        let mut segments = Vec::with_capacity(2);
        segments.extend(memory.map(|memory| pair(memory, 0)));
        segments.push(pair(&own, width));
        let mixed = self.attention.forward(Columns::new(&own, 0), &segments, 1, Sight::All);
        let tokens = self.out.forward_plus(&mixed, tokens);
        self.down.forward_plus(&self.up.forward(&tokens), &tokens)
    }
}
