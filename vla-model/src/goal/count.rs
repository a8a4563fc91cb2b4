//! The parameters, and the arithmetic of one decision, counted.

use super::config::{BODY_TOKENS, GoalModelConfig, PATCH_LEN, PATCH_PX};
use super::grounding::EXTRA;
use super::model::{DENSE_COLORS, DENSE_KINDS};

/// Floating-point operations of one decision under an instruction of `words` words that has been encoded, a
/// multiply-add counting as two. Matrices, convolutions and attention alone, on cells without padding.
#[must_use]
pub fn flops(c: &GoalModelConfig, words: usize) -> u64 {
    let matrix = |rows: usize, inputs: usize, outputs: usize| 2 * (rows * inputs * outputs) as u64;
    let (scene_cells, wrist_cells) = (c.scene_grid().pow(2), c.wrist_grid().pow(2));
    let tower = |cells: usize, channels: usize, blocks: usize| {
        blocks as u64 * (matrix(cells, 9 * channels, channels) + matrix(cells, channels, channels))
    };
    let scene = matrix(scene_cells, PATCH_LEN, c.scene_channels)
        + tower(scene_cells, c.scene_channels, c.scene_blocks);
    let wrist = matrix(4 * wrist_cells, PATCH_LEN, c.wrist_embed)
        + matrix(wrist_cells, 4 * c.wrist_embed, c.wrist_channels)
        + tower(wrist_cells, c.wrist_channels, c.wrist_blocks);
    // Scores, what the scored cells look like, where they are; then the token.
    let grounding = |cells: usize, channels: usize| {
        matrix(c.queries, channels, cells)
            + matrix(c.queries, cells, channels + 2)
            + matrix(c.queries, channels + EXTRA, c.width)
            + matrix(c.queries, c.width, c.width)
    };
    let body = matrix(1, c.proprio_len, c.width)
        + matrix(1, c.width, 2 * c.width)
        + matrix(1, c.tactile_len, c.width)
        + matrix(1, c.width, c.width);
    let tokens = 2 * c.queries + BODY_TOKENS + c.slots;
    let layer = matrix(tokens, c.width, 4 * c.width)
        + 2 * matrix(tokens, words + tokens, c.width)
        + 2 * matrix(tokens, c.width, c.mlp_width);
    scene
        + wrist
        + grounding(scene_cells, c.scene_channels)
        + grounding(wrist_cells, c.wrist_channels)
        + body
        + c.layers as u64 * layer
        + matrix(c.slots, c.width, c.token_vocabulary)
}

/// Trained values of a model of these sizes.
#[must_use]
pub fn parameters(c: &GoalModelConfig) -> u64 {
    let dense = |inputs: usize, outputs: usize| (inputs + 1) * outputs;
    let tower = |embed: usize, channels: usize, blocks: usize| {
        let patches = (c.image_px / PATCH_PX).pow(2);
        (PATCH_LEN + patches) * embed + blocks * (10 * channels + 1) * channels
    };
    let grounding = |channels: usize| {
        dense(c.width, c.queries * channels)
            + dense(c.width, c.queries)
            + (channels + EXTRA + c.queries) * c.width
            + dense(c.width, c.width)
    };
    let block =
        4 * c.width * c.width + 2 * c.width + dense(c.width, c.mlp_width) + dense(c.mlp_width, c.width);
    let text = (c.word_vocabulary + c.max_words + 2) * c.width;
    let body = dense(c.proprio_len, c.width)
        + dense(c.width, 2 * c.width)
        + dense(c.tactile_len, c.width)
        + dense(c.width, c.width);
    let all = tower(c.scene_channels, c.scene_channels, c.scene_blocks)
        + tower(c.wrist_embed, c.wrist_channels, c.wrist_blocks)
        + 4 * c.wrist_embed * c.wrist_channels
        + grounding(c.scene_channels)
        + grounding(c.wrist_channels)
        + (c.layers + c.text_layers) * block
        + text
        + body
        + (c.slots + 1) * c.width
        + dense(c.width, c.token_vocabulary)
        + dense(c.scene_channels + c.wrist_channels + 1, DENSE_KINDS + DENSE_COLORS);
    all as u64
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests fail by panicking")]
    use burn::tensor::Device;

    use super::super::model::GoalModel;
    use super::*;

    /// What PyTorch counts for the twin in `benches/peers/goal_twin.py`.
    #[test]
    fn the_model_that_ships_has_the_arithmetic_that_pytorch_counts() {
        let config = GoalModelConfig::standard(258, 20);
        assert_eq!(flops(&config, 5), 230_525_184);
        assert_eq!(flops(&config, 20), 231_585_024);
        assert_eq!(parameters(&config), 3_437_630);
    }

    #[test]
    fn parameters_are_those_of_the_network() {
        let config =
            GoalModelConfig { layers: 2, scene_blocks: 1, queries: 3, ..GoalModelConfig::standard(90, 7) };
        let model = GoalModel::random(&config, 1, &Device::flex()).unwrap();
        assert_eq!(parameters(&config), model.parameters() as u64);
    }
}
