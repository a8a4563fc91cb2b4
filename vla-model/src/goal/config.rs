//! Sizes of the goal model.

use serde::{Deserialize, Serialize};

use super::features::{PROPRIO_LEN, TACTILE_PAIR_LEN};
use crate::grammar::SLOT_COUNT;
use crate::token::VOCABULARY_SIZE;

/// Values of one image patch: 4 × 4 pixels of three channels.
pub const PATCH_LEN: usize = PATCH_PX * PATCH_PX * 3;
/// Edge of one image patch, pixels.
pub const PATCH_PX: usize = 4;
/// Octaves of the Fourier features of a grounded pixel.
pub const PIXEL_OCTAVES: usize = 5;
/// Tokens that the main transformer sees beside the visual ones: two for the arm's posture and
/// one for the tactile pads.
pub const BODY_TOKENS: usize = 3;

/// Why a [`GoalModelConfig`] describes no model.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field} is {actual}, expected {expected}")]
pub struct ConfigError {
    /// Which size.
    pub field: &'static str,
    /// Its value.
    pub actual: usize,
    /// What it has to be.
    pub expected: String,
}

/// All sizes of the goal model. They travel inside the weights file, so that a file says by itself
/// which network it belongs to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GoalModelConfig {
    /// Edge of both square images, pixels; a multiple of 8.
    pub image_px: usize,
    /// Channels of the scene camera's feature map (one cell per 4 × 4 pixels).
    pub scene_channels: usize,
    /// Residual convolution blocks on the scene camera's feature map.
    pub scene_blocks: usize,
    /// Channels of the wrist camera's patch embedding, before four neighbours are merged.
    pub wrist_embed: usize,
    /// Channels of the wrist camera's feature map (one cell per 8 × 8 pixels).
    pub wrist_channels: usize,
    /// Residual convolution blocks on the wrist camera's feature map.
    pub wrist_blocks: usize,
    /// Grounding queries for each camera; the first one is supervised.
    pub queries: usize,
    /// Width of every token in the two transformers.
    pub width: usize,
    /// Attention heads; divides `width`.
    pub heads: usize,
    /// Layers of the main transformer.
    pub layers: usize,
    /// Layers of the instruction's transformer.
    pub text_layers: usize,
    /// Hidden units of each transformer MLP.
    pub mlp_width: usize,
    /// Longest instruction, words.
    pub max_words: usize,
    /// Size of the instruction vocabulary (row 0 pads).
    pub word_vocabulary: usize,
    /// Size of the decision vocabulary.
    pub token_vocabulary: usize,
    /// Slots of a decision.
    pub slots: usize,
    /// Numbers that describe the arm's posture, see [`super::features::proprio`].
    pub proprio_len: usize,
    /// Numbers of both tactile pads together.
    pub tactile_len: usize,
}

impl GoalModelConfig {
    /// The sizes that Reflexarc trains, for an instruction vocabulary of `word_vocabulary` words.
    pub fn standard(word_vocabulary: usize, max_words: usize) -> Self {
        Self {
            image_px: 96,
            scene_channels: 48,
            scene_blocks: 3,
            wrist_embed: 48,
            wrist_channels: 80,
            wrist_blocks: 3,
            queries: 4,
            width: 192,
            heads: 6,
            layers: 4,
            text_layers: 2,
            mlp_width: 768,
            max_words,
            word_vocabulary,
            token_vocabulary: VOCABULARY_SIZE,
            slots: SLOT_COUNT,
            proprio_len: PROPRIO_LEN,
            tactile_len: TACTILE_PAIR_LEN,
        }
    }

    /// Cells along one edge of the scene feature map.
    pub const fn scene_grid(&self) -> usize {
        self.image_px / PATCH_PX
    }

    /// Cells along one edge of the wrist feature map.
    pub const fn wrist_grid(&self) -> usize {
        self.image_px / (2 * PATCH_PX)
    }

    /// Width of one attention head.
    pub const fn head_width(&self) -> usize {
        self.width / self.heads
    }

    /// Checks that the sizes fit together and stay within what an edge machine can hold, so that a
    /// hostile file cannot ask for a terabyte.
    ///
    /// # Errors
    /// [`ConfigError`] naming the first size that is wrong.
    pub fn check(&self) -> Result<(), ConfigError> {
        let bounds: [(&'static str, usize, usize, usize); 17] = [
            ("image_px", self.image_px, 16, 512),
            ("scene_channels", self.scene_channels, 4, 512),
            ("scene_blocks", self.scene_blocks, 1, 16),
            ("wrist_embed", self.wrist_embed, 4, 512),
            ("wrist_channels", self.wrist_channels, 4, 512),
            ("wrist_blocks", self.wrist_blocks, 1, 16),
            ("queries", self.queries, 1, 16),
            ("width", self.width, 8, 1024),
            ("heads", self.heads, 1, 64),
            ("layers", self.layers, 1, 24),
            ("text_layers", self.text_layers, 1, 24),
            ("mlp_width", self.mlp_width, 8, 4096),
            ("max_words", self.max_words, 1, 256),
            ("word_vocabulary", self.word_vocabulary, 2, 65_536),
            ("token_vocabulary", self.token_vocabulary, 2, 65_536),
            ("slots", self.slots, 1, 256),
            ("proprio_len", self.proprio_len, 1, 4096),
        ];
        for (field, actual, low, high) in bounds {
            if !(low..=high).contains(&actual) {
                return Err(ConfigError { field, actual, expected: format!("{low} to {high}") });
            }
        }
        if !self.image_px.is_multiple_of(2 * PATCH_PX) {
            return Err(ConfigError {
                field: "image_px",
                actual: self.image_px,
                expected: format!("a multiple of {}", 2 * PATCH_PX),
            });
        }
        if !self.width.is_multiple_of(self.heads) {
            return Err(ConfigError {
                field: "heads",
                actual: self.heads,
                expected: format!("a divisor of the width {}", self.width),
            });
        }
        Ok(())
    }

    /// Fewer values than any model of these sizes has, from its large matrices alone. Saturates.
    pub(crate) fn least_parameters(&self) -> usize {
        let product =
            |factors: &[usize]| factors.iter().fold(1_usize, |all, factor| all.saturating_mul(*factor));
        [
            product(&[self.layers + self.text_layers, 4, self.width, self.width]),
            product(&[self.layers + self.text_layers, 2, self.width, self.mlp_width]),
            product(&[self.word_vocabulary, self.width]),
            product(&[self.token_vocabulary, self.width]),
            product(&[self.scene_blocks, 10, self.scene_channels, self.scene_channels]),
            product(&[self.wrist_blocks, 10, self.wrist_channels, self.wrist_channels]),
        ]
        .into_iter()
        .fold(0, usize::saturating_add)
    }

    /// Checks that this build can feed and read such a model: its slots, vocabulary and features
    /// are the ones compiled in.
    ///
    /// # Errors
    /// [`ConfigError`] naming the first size that differs.
    pub fn check_build(&self) -> Result<(), ConfigError> {
        self.check()?;
        for (field, actual, expected) in [
            ("slots", self.slots, SLOT_COUNT),
            ("token_vocabulary", self.token_vocabulary, VOCABULARY_SIZE),
            ("proprio_len", self.proprio_len, PROPRIO_LEN),
            ("tactile_len", self.tactile_len, TACTILE_PAIR_LEN),
        ] {
            if actual != expected {
                return Err(ConfigError { field, actual, expected: expected.to_string() });
            }
        }
        Ok(())
    }
}
