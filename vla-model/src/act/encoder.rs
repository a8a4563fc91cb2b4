//! The encoder: layers that let latent, state and camera tokens see each other.

use super::layers::{FeedForward, SelfAttention, Source};
use super::probe::Probe;
use crate::checkpoint::CheckpointError;
use crate::compute::{ComputeError, Precision, Rows};

#[derive(Debug)]
pub(super) struct Encoder {
    layers: Vec<(SelfAttention, FeedForward)>,
}

impl Encoder {
    /// `positions` `[tokens, dim]`.
    pub(super) fn load(
        source: &Source<'_>,
        layers: usize,
        positions: &Rows,
        precision: Precision,
    ) -> Result<Self, CheckpointError> {
        let layer = |index| {
            let name = format!("model.encoder.layers.{index}");
            Ok((
                SelfAttention::load(source, &name, positions, precision)?,
                FeedForward::load(source, &name, "norm2", precision)?,
            ))
        };
        Ok(Self { layers: (0..layers).map(layer).collect::<Result<_, _>>()? })
    }

    /// `[tokens, dim]` to the same.
    pub(super) fn forward(&self, mut x: Rows, probe: &mut Probe<'_>) -> Result<Rows, ComputeError> {
        for (index, (attention, feed_forward)) in self.layers.iter().enumerate() {
            x = feed_forward.forward(&attention.forward(&x));
            probe.put(|| format!("encoder.layer{index}.out"), &x)?;
        }
        probe.put(|| "encoder.out".into(), &x)?;
        Ok(x)
    }
}
