//! The decoder: one query for each action of the chunk, looking at the encoder's tokens.

use super::layers::{Attended, FeedForward, KEYS_VALUES, Projection, QUERIES, SelfAttention, Source};
use super::probe::Probe;
use crate::checkpoint::CheckpointError;
use crate::compute::{Columns, ComputeError, Norm, Precision, Rows};

#[derive(Debug)]
pub(super) struct Decoder {
    /// Hidden state and queries of the first layer. It starts from zeros at constant positions, so that
    /// its attention to itself does not depend on the observation.
    start: Rows,
    queries: Rows,
    first: Crossing,
    later: Vec<(SelfAttention, Projection, Crossing)>,
    norm: Norm,
}

impl Decoder {
    /// For chunks of `chunk` actions, with at least one layer; `positions` `[tokens, dim]` are the
    /// encoder's.
    pub(super) fn load(
        source: &Source<'_>,
        layers: usize,
        chunk: usize,
        positions: &Rows,
        precision: Precision,
    ) -> Result<Self, CheckpointError> {
        let places = source.table("model.decoder_pos_embed.weight", chunk)?;
        let to_itself = |index, precision| SelfAttention::load(source, &layer(index), &places, precision);
        let to_queries = |index, precision| {
            Projection::load(source, &format!("{}.multihead_attn", layer(index)), QUERIES, &places, precision)
        };
        let crossing = |index| Crossing::load(source, &layer(index), positions, precision);

        let zeros = Rows::upload(source.backend, &vec![0.0; chunk * source.dim], chunk, source.dim);
        let start = to_itself(0, Precision::F32)?.forward(&zeros);
        let later = (1..layers)
            .map(|index| Ok((to_itself(index, precision)?, to_queries(index, precision)?, crossing(index)?)));
        Ok(Self {
            queries: to_queries(0, Precision::F32)?.forward(&start),
            start,
            first: crossing(0)?,
            later: later.collect::<Result<_, CheckpointError>>()?,
            norm: source.norm("model.decoder.norm")?,
        })
    }

    /// `memory` `[tokens, dim]` to `[chunk, dim]`.
    pub(super) fn forward(&self, memory: &Rows, probe: &mut Probe<'_>) -> Result<Rows, ComputeError> {
        let mut x = self.first.forward(&self.start, &self.queries, memory);
        probe.put(|| "decoder.layer0.out".into(), &x)?;
        for (index, (to_itself, to_queries, crossing)) in self.later.iter().enumerate() {
            x = to_itself.forward(&x);
            x = crossing.forward(&x, &to_queries.forward(&x), memory);
            probe.put(|| format!("decoder.layer{}.out", index + 1), &x)?;
        }
        let x = self.norm.forward(&x);
        probe.put(|| "decoder.out".into(), &x)?;
        Ok(x)
    }
}

fn layer(index: usize) -> String {
    format!("model.decoder.layers.{index}")
}

/// The part of a layer that looks at the encoder's tokens.
#[derive(Debug)]
struct Crossing {
    keys_values: Projection,
    attended: Attended,
    feed_forward: FeedForward,
}

impl Crossing {
    fn load(
        source: &Source<'_>,
        layer: &str,
        positions: &Rows,
        precision: Precision,
    ) -> Result<Self, CheckpointError> {
        let name = format!("{layer}.multihead_attn");
        Ok(Self {
            keys_values: Projection::load(source, &name, KEYS_VALUES, positions, precision)?,
            attended: Attended::load(source, &name, &format!("{layer}.norm2"), precision)?,
            feed_forward: FeedForward::load(source, layer, "norm3", precision)?,
        })
    }

    fn forward(&self, x: &Rows, queries: &Rows, memory: &Rows) -> Rows {
        let pairs = self.keys_values.forward(memory);
        let band = |at| Columns::new(&pairs, at * x.width());
        self.feed_forward.forward(&self.attended.forward(x, Columns::new(queries, 0), band(0), band(1)))
    }
}
