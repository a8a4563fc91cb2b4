//! The text tower (SmolLM2, arXiv 2502.02737): images, instruction and state in, keys and values out.

use super::probe::Probe;
use super::source::{Source, reduced};
use crate::checkpoint::smolvla::TEXT;
use crate::checkpoint::{Backbone, CheckpointError};
use crate::compute::{
    Activation, Attention, Columns, ComputeError, Dense, KeysValues, Norm, Rope, Rows, Sight,
};

/// The keys, after their rotation, and values of one layer, `[tokens, kv_heads × head_dim]` each.
#[derive(Debug)]
pub(super) struct Cached {
    pub(super) keys: Rows,
    pub(super) values: Rows,
}

impl Cached {
    pub(super) fn columns(&self) -> KeysValues<'_> {
        KeysValues { keys: Columns::new(&self.keys, 0), values: Columns::new(&self.values, 0) }
    }
}

/// What follows attention in a layer, and is the same in text tower and expert.
#[derive(Debug)]
pub(super) struct Rest {
    out: Dense,
    gate_up: Dense,
    down: Dense,
}

impl Rest {
    pub(super) fn load(
        source: &Source<'_>,
        prefix: &str,
        hidden: usize,
        attended: usize,
        mlp: usize,
    ) -> Result<Self, CheckpointError> {
        let norm = source.rms(&format!("{prefix}post_attention_layernorm"), hidden)?;
        let gate_up = [("mlp.gate_proj", mlp), ("mlp.up_proj", mlp)];
        let none = Activation::None;
        Ok(Self {
            out: source.dense(prefix, &[("self_attn.o_proj", hidden)], attended, None, none)?,
            gate_up: source.dense(prefix, &gate_up, hidden, Some(norm), Activation::SiluGated)?,
            down: source.dense(prefix, &[("mlp.down_proj", hidden)], mlp, None, none)?,
        })
    }

    pub(super) fn forward(&self, x: &Rows, mixed: &Rows) -> Rows {
        let x = self.out.forward_plus(mixed, x);
        self.down.forward_plus(&self.gate_up.forward(&x), &x)
    }
}

#[derive(Debug)]
struct Layer {
    qkv: Dense,
    rest: Rest,
}

#[derive(Debug)]
pub(super) struct TextTower {
    layers: Vec<Layer>,
    attention: Attention,
    final_norm: Norm,
}

impl TextTower {
    pub(super) fn load(source: &Source<'_>, sizes: &Backbone) -> Result<Self, CheckpointError> {
        let (hidden, query) = (sizes.hidden, sizes.heads * sizes.head_dim);
        let key = sizes.kv_heads * sizes.head_dim;
        let load = |layer: usize| -> Result<Layer, CheckpointError> {
            let prefix = format!("{TEXT}layers.{layer}.");
            let norm = source.rms(&format!("{prefix}input_layernorm"), hidden)?;
            let qkv = [("self_attn.q_proj", query), ("self_attn.k_proj", key), ("self_attn.v_proj", key)];
            let layer = Layer {
                qkv: source.dense(&prefix, &qkv, hidden, Some(norm), Activation::None)?,
                rest: Rest::load(source, &prefix, hidden, query, sizes.mlp)?,
            };
            source.tensors.release();
            Ok(layer)
        };
        Ok(Self {
            layers: (0..sizes.layers).map(load).collect::<Result<_, _>>()?,
            attention: Attention {
                heads: sizes.heads,
                kv_heads: sizes.kv_heads,
                head_dim: sizes.head_dim,
                reduced: reduced(source.precision),
            },
            final_norm: source.rms(&format!("{TEXT}norm"), hidden)?,
        })
    }

    /// `embeddings` `[tokens, hidden]`, the state last, at the positions of `rope`, to each layer's keys
    /// and values. What follows the last layer's keys and values is left out: no action depends on it.
    pub(super) fn forward(
        &self,
        embeddings: Rows,
        rope: &Rope,
        probe: &mut Probe<'_>,
    ) -> Result<Vec<Cached>, ComputeError> {
        let Attention { heads, kv_heads, head_dim, .. } = self.attention;
        let (query, key) = (heads * head_dim, kv_heads * head_dim);
        let mut cache = Vec::with_capacity(self.layers.len());
        let mut x = embeddings;
        for (at, layer) in self.layers.iter().enumerate() {
            let mut qkv = layer.qkv.forward(&x);
            rope.turn(&mut qkv, 0, heads + kv_heads);
            if at + 1 < self.layers.len() || probe.traces() {
                let own =
                    KeysValues { keys: Columns::new(&qkv, query), values: Columns::new(&qkv, query + key) };
                // The state, the last token, sees all; nothing but itself sees it.
                let mixed = self.attention.forward(Columns::new(&qkv, 0), &[own], 1, Sight::LastHidden);
                x = layer.rest.forward(&x, &mixed);
            }
            // Without the queries beside them.
            let cached = Cached { keys: qkv.columns(query, key), values: qkv.columns(query + key, key) };
            probe.values(|| format!("prefix.layer{at}.k"), || by_head(&cached.keys, head_dim))?;
            probe.values(|| format!("prefix.layer{at}.v"), || by_head(&cached.values, head_dim))?;
            cache.push(cached);
        }
        if probe.traces() {
            probe.rows(|| "prefix.final_hidden".into(), &self.final_norm.forward(&x))?;
        }
        Ok(cache)
    }
}

/// `[heads, tokens, head_dim]`, as LeRobot keeps them.
fn by_head(rows: &Rows, head_dim: usize) -> Result<(Vec<usize>, Vec<f32>), ComputeError> {
    let values = rows.download()?;
    let (heads, tokens) = (rows.width() / head_dim, rows.count());
    let mut turned = Vec::with_capacity(values.len());
    for head in 0..heads {
        for row in values.chunks_exact(rows.width()) {
            turned.extend_from_slice(&row[head * head_dim..(head + 1) * head_dim]);
        }
    }
    Ok((vec![heads, tokens, head_dim], turned))
}
