//! The instruction's encoder: words to a memory that the main transformer attends to, and to one
//! vector that says what to look for in the images.

use burn::module::{Module, Param};
use burn::tensor::{Int, Tensor, activation, module};

use super::config::GoalModelConfig;
use super::init::Init;
use super::transformer::{Block, MASKED, RmsNorm};

/// Word embedding, positions, bidirectional layers, attention pooling.
#[derive(Module, Debug)]
pub(crate) struct TextEncoder {
    /// `[word vocabulary, width]`.
    pub(crate) words: Param<Tensor<2>>,
    /// `[longest instruction, width]`.
    pub(crate) positions: Param<Tensor<2>>,
    pub(crate) layers: Vec<Block>,
    pub(crate) norm: RmsNorm,
    /// `[width, 1]`: which words matter to the pooled vector.
    pub(crate) pool: Param<Tensor<2>>,
}

/// An encoded instruction.
pub(crate) struct EncodedText {
    /// `[batch, words, width]`.
    pub(crate) memory: Tensor<3>,
    /// `[batch, width]`.
    pub(crate) pooled: Tensor<2>,
}

impl TextEncoder {
    pub(crate) fn init(init: &mut Init<'_>, config: &GoalModelConfig) -> Self {
        Self {
            words: init.normal([config.word_vocabulary, config.width], 0.5),
            positions: init.normal([config.max_words, config.width], 0.1),
            layers: (0..config.text_layers)
                .map(|_| Block::init(init, config.width, config.heads, config.mlp_width, config.text_layers))
                .collect(),
            norm: RmsNorm::init(init, config.width),
            pool: init.weight([config.width, 1], config.width, 1.0),
        }
    }

    /// `words` is `[batch, words]`, at most the longest instruction; `mask`, if any, is
    /// `[batch, words]` with one on words and zero on padding.
    pub(crate) fn forward(&self, words: Tensor<2, Int>, mask: Option<&Tensor<2>>) -> EncodedText {
        let [batch, count] = words.dims();
        let positions = self.positions.val().narrow(0, 0, count).unsqueeze::<3>();
        let mut tokens = module::embedding(self.words.val(), words) + positions;
        let bias = mask.map(score_bias);
        let attention_bias = bias.clone().map(|bias| bias.reshape([batch, 1, 1, count]));
        for layer in &self.layers {
            tokens = layer.forward(tokens, None, attention_bias.as_ref());
        }
        let memory = self.norm.forward(tokens);
        let [_, _, width] = memory.dims();
        let scores = memory.clone().reshape([batch * count, width]).matmul(self.pool.val());
        let mut scores = scores.reshape([batch, count]);
        if let Some(bias) = bias {
            scores = scores + bias;
        }
        let weights = activation::softmax(scores, 1).reshape([batch, 1, count]);
        let pooled = weights.matmul(memory.clone()).reshape([batch, width]);
        EncodedText { memory, pooled }
    }
}

/// From a mask of ones and zeros to what is added to scores: zero on words, [`MASKED`] on padding.
pub(crate) fn score_bias(mask: &Tensor<2>) -> Tensor<2> {
    (mask.clone() - 1.0) * -MASKED
}
