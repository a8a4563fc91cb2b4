//! The action expert: a narrow transformer over the chunk's actions that reads the prefix.

use std::ops::Range;

use super::prefix::{Cached, Rest};
use super::probe::Probe;
use super::source::{Source, reduced};
use crate::checkpoint::smolvla::EXPERT;
use crate::checkpoint::{Backbone, CheckpointError, SmolVlaConfig};
use crate::compute::{Activation, Attention, Columns, ComputeError, Dense, KeysValues, Rope, Rows, Sight};

#[derive(Debug)]
pub(super) struct Expert {
    layers: Vec<Layer>,
    attention: Attention,
}

#[derive(Debug)]
struct Layer {
    mixer: Mixer,
    rest: Rest,
}

/// What a layer attends to.
#[derive(Debug)]
enum Mixer {
    /// The prefix and the actions up to one's own.
    Joint { qkv: Dense },
    /// The prefix alone, through projections of its keys and values.
    Cross(Box<Crossing>),
}

/// The projections of a layer that reads the prefix alone.
#[derive(Debug)]
struct Crossing {
    queries: Dense,
    /// Of the prefix's keys.
    keys: Dense,
    /// Of the prefix's values.
    values: Dense,
}

/// Rotary tables of the actions.
#[derive(Debug)]
pub(super) struct ActionPositions {
    /// Counted on from the prefix.
    joint: Rope,
    /// Counted from zero.
    cross: Rope,
}

impl ActionPositions {
    /// For `actions` actions after `prefix` tokens; `table` makes the table of a run of positions.
    pub(super) fn new(prefix: usize, actions: usize, table: impl Fn(Range<usize>) -> Rope) -> Self {
        let table = |from: usize| table(from..from + actions);
        Self { joint: table(prefix), cross: table(0) }
    }
}

impl Expert {
    pub(super) fn load(source: &Source<'_>, config: &SmolVlaConfig) -> Result<Self, CheckpointError> {
        let sizes = &config.backbone;
        let load = |at: usize| {
            let layer = Layer::load(source, sizes, at, at.is_multiple_of(config.self_attn_every_n_layers));
            source.tensors.release();
            layer
        };
        Ok(Self {
            layers: (0..sizes.expert_layers).map(load).collect::<Result<_, _>>()?,
            attention: Attention {
                heads: sizes.heads,
                kv_heads: sizes.kv_heads,
                head_dim: sizes.head_dim,
                reduced: reduced(source.precision),
            },
        })
    }

    /// The prefix's keys and values as the layers attend to them: those of crossing layers projected,
    /// once for all steps.
    pub(super) fn project(&self, cache: Vec<Cached>) -> Vec<Cached> {
        let project = |(layer, cached): (&Layer, Cached)| match &layer.mixer {
            Mixer::Joint { .. } => cached,
            Mixer::Cross(cross) => Cached {
                keys: cross.keys.forward(&cached.keys),
                values: cross.values.forward(&cached.values),
            },
        };
        self.layers.iter().zip(cache).map(project).collect()
    }

    /// `x` `[actions, expert_hidden]` to the same. `cache` is what [`Expert::project`] gave.
    pub(super) fn forward(
        &self,
        mut x: Rows,
        cache: &[Cached],
        positions: &ActionPositions,
        mut probe: Option<&mut Probe<'_>>,
    ) -> Result<Rows, ComputeError> {
        for (at, (layer, cached)) in self.layers.iter().zip(cache).enumerate() {
            if let Some(probe) = &mut probe {
                probe.rows(|| format!("denoise.step0.expert_layer{at}_in"), &x)?;
            }
            let mixed = layer.mixer.forward(&x, &self.attention, cached, positions);
            x = layer.rest.forward(&x, &mixed);
        }
        Ok(x)
    }
}

impl Layer {
    fn load(source: &Source<'_>, sizes: &Backbone, at: usize, joint: bool) -> Result<Self, CheckpointError> {
        let prefix = format!("{EXPERT}layers.{at}.");
        let (hidden, query) = (sizes.expert_hidden, sizes.heads * sizes.head_dim);
        let key = sizes.kv_heads * sizes.head_dim;
        let norm = Some(source.rms(&format!("{prefix}input_layernorm"), hidden)?);
        let none = Activation::None;
        let (q, k, v) = (("self_attn.q_proj", query), ("self_attn.k_proj", key), ("self_attn.v_proj", key));
        let mixer = if joint {
            Mixer::Joint { qkv: source.dense(&prefix, &[q, k, v], hidden, norm, none)? }
        } else {
            Mixer::Cross(Box::new(Crossing {
                queries: source.dense(&prefix, &[q], hidden, norm, none)?,
                keys: source.dense(&prefix, &[k], key, None, none)?,
                values: source.dense(&prefix, &[v], key, None, none)?,
            }))
        };
        Ok(Self { mixer, rest: Rest::load(source, &prefix, hidden, query, sizes.expert_mlp)? })
    }
}

impl Mixer {
    fn forward(&self, x: &Rows, attention: &Attention, prefix: &Cached, positions: &ActionPositions) -> Rows {
        let Attention { heads, kv_heads, head_dim, .. } = *attention;
        match self {
            Self::Joint { qkv } => {
                let mut qkv = qkv.forward(x);
                positions.joint.turn(&mut qkv, 0, heads + kv_heads);
                let own = KeysValues {
                    keys: Columns::new(&qkv, heads * head_dim),
                    values: Columns::new(&qkv, (heads + kv_heads) * head_dim),
                };
                let sight = Sight::Causal { before: prefix.keys.count() };
                attention.forward(Columns::new(&qkv, 0), &[prefix.columns(), own], 1, sight)
            }
            Self::Cross(cross) => {
                let mut queries = cross.queries.forward(x);
                positions.cross.turn(&mut queries, 0, heads);
                attention.forward(Columns::new(&queries, 0), &[prefix.columns()], 1, Sight::All)
            }
        }
    }
}
