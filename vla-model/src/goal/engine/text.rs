//! The instruction's encoder: see [`crate::goal`]'s `text`.

use super::block::Block;
use super::load::Loader;
use crate::compute::{Backend, ComputeError, Norm, Rows};
use crate::weights::WeightsError;

/// Word embedding, positions, bidirectional layers, attention pooling.
#[derive(Debug)]
pub(super) struct TextEncoder {
    /// `[word vocabulary, width]`.
    words: Vec<f32>,
    /// `[longest instruction, width]`.
    positions: Vec<f32>,
    layers: Vec<Block>,
    norm: Norm,
    /// `[width]`: which words matter to the pooled vector.
    pool: Vec<f32>,
}

/// An encoded instruction.
pub(super) struct EncodedText {
    /// `[words, width]`.
    pub(super) memory: Rows,
    /// `[1, width]`.
    pub(super) pooled: Rows,
}

impl TextEncoder {
    pub(super) fn load(load: &mut Loader<'_>) -> Result<Self, WeightsError> {
        let c = load.config().clone();
        Ok(Self {
            words: load.floats("text.words", &[c.word_vocabulary, c.width])?,
            positions: load.floats("text.positions", &[c.max_words, c.width])?,
            layers: (0..c.text_layers)
                .map(|at| Block::load(load, &format!("text.layers.{at}")))
                .collect::<Result<_, _>>()?,
            norm: load.norm("text.norm", c.width)?,
            pool: load.floats("text.pool", &[c.width, 1])?,
        })
    }

    /// `words` have been checked: at least one, at most the longest instruction, all in the vocabulary.
    pub(super) fn encode(&self, backend: &Backend, words: &[i32]) -> Result<EncodedText, ComputeError> {
        let width = self.pool.len();
        let embedded: Vec<f32> = words
            .iter()
            .zip(self.positions.chunks_exact(width))
            .flat_map(|(word, position)| {
                let row = &self.words[word.unsigned_abs() as usize * width..][..width];
                row.iter().zip(position).map(|(word, position)| word + position)
            })
            .collect();
        let tokens = Rows::upload(backend, &embedded, words.len(), width);
        let tokens = self.layers.iter().fold(tokens, |tokens, layer| layer.forward(&tokens, None));
        let memory = self.norm.forward(&tokens);
        let values = memory.download()?;
        let rows = || values.chunks_exact(width);
        let scores: Vec<f32> = rows()
            .map(|row| row.iter().zip(&self.pool).map(|(value, weight)| value * weight).sum())
            .collect();
        let top = scores.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let weights: Vec<f32> = scores.iter().map(|score| (score - top).exp()).collect();
        let total: f32 = weights.iter().sum();
        let mut pooled = vec![0.0; width];
        for (row, weight) in rows().zip(&weights) {
            pooled.iter_mut().zip(row).for_each(|(sum, value)| *sum += value * weight / total);
        }
        Ok(EncodedText { memory, pooled: Rows::upload(backend, &pooled, 1, width) })
    }
}
