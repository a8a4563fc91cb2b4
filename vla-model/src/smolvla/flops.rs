//! The arithmetic of one chunk, counted.

use super::probe::Stage;
use crate::checkpoint::SmolVlaConfig;

/// Floating-point operations of `stage`, a multiply-add counting as two, for `cameras` images and an
/// instruction of `text_tokens`, with `steps` steps of the sampler. Matrices and attention alone; what
/// the implementation leaves out (padding, repeated projections, the last layer's rest) is not counted.
#[must_use]
pub fn flops(config: &SmolVlaConfig, stage: Stage, cameras: usize, text_tokens: usize, steps: usize) -> u64 {
    let sizes = &config.backbone;
    let matrix = |rows: usize, inputs: usize, outputs: usize| 2 * (rows * inputs * outputs) as u64;
    // Scores and sums; causal halves are counted whole, as they are computed in blocks.
    let attention = |queries: usize, keys: usize, width: usize| 4 * (queries * keys * width) as u64;
    let tokens = cameras * sizes.tokens_per_camera() + text_tokens + 1;
    let (query, key) = (sizes.heads * sizes.head_dim, sizes.kv_heads * sizes.head_dim);
    match stage {
        Stage::Images => 0,
        Stage::Vision => {
            let (patches, width) = (sizes.patches(), sizes.vision_hidden);
            let embed = matrix(patches, 3 * sizes.patch_size * sizes.patch_size, width);
            let layer = matrix(patches, width, 4 * width)
                + 2 * matrix(patches, width, sizes.vision_mlp)
                + attention(patches, patches, width);
            let connector = matrix(patches, width, sizes.hidden);
            cameras as u64 * (embed + sizes.vision_layers as u64 * layer + connector)
        }
        Stage::Prefix => {
            let keys = matrix(tokens, sizes.hidden, query + 2 * key);
            let rest = attention(tokens, tokens, query)
                + matrix(tokens, query, sizes.hidden)
                + 3 * matrix(tokens, sizes.hidden, sizes.mlp);
            matrix(1, config.max_state_dim, sizes.hidden)
                + sizes.layers as u64 * keys
                + (sizes.layers as u64 - 1) * rest
        }
        Stage::Denoise => {
            let (actions, width) = (config.common.chunk_size, sizes.expert_hidden);
            let embed = matrix(actions, config.max_action_dim, width) + matrix(actions, width, width);
            let joint = |at: &usize| at.is_multiple_of(config.self_attn_every_n_layers);
            let layer = |at: usize| {
                let rest = matrix(actions, query, width) + 3 * matrix(actions, width, sizes.expert_mlp);
                rest + if joint(&at) {
                    matrix(actions, width, query + 2 * key) + attention(actions, tokens + actions, query)
                } else {
                    matrix(actions, width, query) + attention(actions, tokens, query)
                }
            };
            let crossing = (0..sizes.expert_layers).filter(|at| !joint(at)).count() as u64;
            let step: u64 = embed
                + (0..sizes.expert_layers).map(layer).sum::<u64>()
                + matrix(actions, width, config.max_action_dim);
            crossing * 2 * matrix(tokens, key, key) + steps as u64 * step
        }
    }
}
