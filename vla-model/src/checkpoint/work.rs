//! What one chunk costs: arithmetic, weights read, memory. Counted from the sizes, nothing is run.

use serde::Serialize;

use super::act::ActConfig;
use super::config::PolicyConfig;
use super::parts::{Role, part};
use super::smolvla::SmolVlaConfig;
use super::tensors::{Storage, Tensors};
use crate::compute::Precision;

/// A stage of one chunk.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Stage {
    /// Its name.
    pub name: &'static str,
    /// Floating-point operations of one pass, a multiply-add counting as two. Matrices, convolutions and
    /// attention, as LeRobot computes them: padding and repeated projections included, which are upper
    /// bounds for an implementation that saves them.
    pub flops: u64,
    /// Passes for a chunk.
    pub passes: usize,
    /// The parts (see [`super::parts`]) whose weights a pass reads.
    #[serde(skip)]
    modules: &'static [&'static str],
    /// Whether all passes go through the weights together.
    #[serde(skip)]
    batched: bool,
}

/// Bytes that a policy needs with its matrices in one precision.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Need {
    /// The precision of the matrices.
    pub precision: Precision,
    /// Resident memory: weights and the largest buffers. An estimate.
    pub memory_bytes: u64,
    /// Weights read for a chunk, all cameras in one pass.
    pub traffic_bytes: u64,
}

fn matrix(rows: usize, inputs: usize, outputs: usize) -> f64 {
    2.0 * product(&[rows, inputs, outputs])
}

/// Scores and weighted sums, `width` over all heads.
fn attention(queries: usize, keys: usize, width: usize) -> f64 {
    4.0 * product(&[queries, keys, width])
}

/// In floating point, since a configuration may name sizes whose product no integer holds; casts back
/// saturate.
fn product(sizes: &[usize]) -> f64 {
    sizes.iter().map(|&size| size as f64).product()
}

/// The stages of a chunk.
#[must_use]
pub fn stages(config: &PolicyConfig, tensors: &Tensors) -> Vec<Stage> {
    match config {
        PolicyConfig::SmolVla(config) => smolvla(config),
        PolicyConfig::Act(config) => act(config, tensors),
    }
}

/// Operations of a whole chunk.
#[must_use]
pub fn total_flops(stages: &[Stage]) -> u64 {
    stages.iter().fold(0, |sum, stage| sum.saturating_add(stage.flops.saturating_mul(stage.passes as u64)))
}

fn prefix_tokens(config: &SmolVlaConfig) -> usize {
    config.common.cameras.len() * config.backbone.tokens_per_camera() + config.tokenizer_max_length + 1
}

fn smolvla(config: &SmolVlaConfig) -> Vec<Stage> {
    let sizes = &config.backbone;
    let (patches, width) = (sizes.patches(), sizes.vision_hidden);
    let vision_layer = matrix(patches, width, 4 * width)
        + attention(patches, patches, width)
        + 2.0 * matrix(patches, width, sizes.vision_mlp);
    let vision = matrix(patches, 3 * sizes.patch_size * sizes.patch_size, width)
        + sizes.vision_layers as f64 * vision_layer
        + matrix(patches, width, sizes.hidden);

    let tokens = prefix_tokens(config);
    let (query, key) = (sizes.heads * sizes.head_dim, sizes.kv_heads * sizes.head_dim);
    let prefix_layer = matrix(tokens, sizes.hidden, 2 * query + 2 * key)
        + attention(tokens, tokens, query)
        + 3.0 * matrix(tokens, sizes.hidden, sizes.mlp);

    let (actions, hidden) = (config.common.chunk_size, sizes.expert_hidden);
    let expert_layer = |at: usize| {
        let mixing = if at.is_multiple_of(config.self_attn_every_n_layers) {
            matrix(actions, hidden, 2 * key) + attention(actions, tokens + actions, query)
        } else {
            matrix(tokens, key, 2 * key) + attention(actions, tokens, query)
        };
        mixing + matrix(actions, hidden, 2 * query) + 3.0 * matrix(actions, hidden, sizes.expert_mlp)
    };
    let step = (0..sizes.expert_layers).map(expert_layer).sum::<f64>()
        + 2.0 * matrix(actions, config.max_action_dim, hidden)
        + matrix(actions, 3 * hidden, hidden);
    vec![
        Stage {
            name: "vision tower and connector, one camera",
            flops: vision as u64,
            passes: config.common.cameras.len(),
            modules: &["vision tower", "connector"],
            batched: true,
        },
        Stage {
            name: "prefix",
            flops: (sizes.layers as f64 * prefix_layer) as u64,
            passes: 1,
            modules: &["text layers"],
            batched: false,
        },
        Stage {
            name: "step of the action expert",
            flops: step as u64,
            passes: config.num_steps,
            modules: &["action expert", "projections"],
            batched: false,
        },
    ]
}

/// Size of a map after a window of stride 2 with "same" padding: both of ResNet's kinds.
fn halved(size: usize) -> usize {
    size.div_ceil(2)
}

/// Height and width of the backbone's last map.
fn last_map(height: usize, width: usize) -> (usize, usize) {
    let shrink = |size| (0..5).fold(size, |size, _| halved(size));
    (shrink(height), shrink(width))
}

fn backbone_flops(tensors: &Tensors, height: usize, width: usize) -> f64 {
    // Pixels of each layer's output: conv1, then the four stages, the first behind the pooling.
    let mut pixels = vec![halved(height) * halved(width)];
    let (mut h, mut w) = (halved(height), halved(width));
    for _ in 0..4 {
        (h, w) = (halved(h), halved(w));
        pixels.push(h * w);
    }
    tensors
        .infos()
        .filter_map(|tensor| {
            let name = tensor.name.strip_prefix("model.backbone.")?;
            let at = match name.strip_prefix("layer") {
                Some(rest) => rest.split('.').next()?.parse().ok()?,
                None => 0,
            };
            let convolution = name.contains("conv") || name.ends_with("downsample.0.weight");
            if !convolution {
                return None;
            }
            Some(2.0 * product(&[*pixels.get(at)?, tensor.count()]))
        })
        .sum()
}

fn act(config: &ActConfig, tensors: &Tensors) -> Vec<Stage> {
    let common = &config.common;
    let dim = config.dim_model;
    let maps: Vec<usize> = common
        .cameras
        .iter()
        .map(|camera| {
            let (height, width) = last_map(camera.height, camera.width);
            height * width
        })
        .collect();
    let pixels: usize = maps.iter().sum();
    let inputs = 1 + usize::from(common.state_len > 0) + usize::from(common.environment_len > 0);
    let tokens = inputs + pixels;
    let channels = tensors
        .shape("model.encoder_img_feat_input_proj.weight")
        .map_or(0, |shape| shape.iter().skip(1).product());
    let feed_forward = |rows| 2.0 * matrix(rows, dim, config.dim_feedforward);
    let encoder = matrix(pixels, channels, dim)
        + config.n_encoder_layers as f64
            * (matrix(tokens, dim, 4 * dim) + attention(tokens, tokens, dim) + feed_forward(tokens));
    let chunk = common.chunk_size;
    let decoder = config.n_decoder_layers as f64
        * (matrix(chunk, dim, 6 * dim)
            + attention(chunk, chunk, dim)
            + matrix(tokens, dim, 2 * dim)
            + attention(chunk, tokens, dim)
            + feed_forward(chunk))
        + matrix(chunk, dim, common.action_len);
    let mut stages = Vec::new();
    if let Some(camera) = common.cameras.first() {
        // One backbone for all; where cameras differ in size, the mean.
        let all: f64 =
            common.cameras.iter().map(|camera| backbone_flops(tensors, camera.height, camera.width)).sum();
        let same =
            common.cameras.iter().all(|other| (other.height, other.width) == (camera.height, camera.width));
        stages.push(Stage {
            name: if same { "image backbone, one camera" } else { "image backbone, mean of the cameras" },
            flops: (all / common.cameras.len() as f64) as u64,
            passes: common.cameras.len(),
            modules: &["image backbone"],
            batched: true,
        });
    }
    stages.push(Stage {
        name: "encoder",
        flops: encoder as u64,
        passes: 1,
        modules: &["encoder", "projections"],
        batched: false,
    });
    stages.push(Stage {
        name: "decoder",
        flops: decoder as u64,
        passes: 1,
        modules: &["decoder"],
        batched: false,
    });
    stages
}

/// Largest buffers of a chunk in f32, bytes.
fn buffers(config: &PolicyConfig) -> u64 {
    match config {
        PolicyConfig::SmolVla(config) => {
            let sizes = &config.backbone;
            let cameras = config.common.cameras.len();
            // The stream, its norm, queries, keys, values, and inside the feed-forward layer.
            let vision = product(&[cameras * sizes.patches(), 5 * sizes.vision_hidden + sizes.vision_mlp]);
            let key = sizes.kv_heads * sizes.head_dim;
            let tokens = prefix_tokens(config);
            let prefix = product(&[tokens, 3 * sizes.hidden + 2 * key + 2 * sizes.mlp]);
            let cache = product(&[tokens, 2 * key, sizes.layers]);
            (4.0 * (vision.max(prefix) + cache)) as u64
        }
        PolicyConfig::Act(config) => {
            let common = &config.common;
            // Two maps behind the first convolution, which has 64 channels.
            let map = |height: usize, width: usize| product(&[2 * 64, halved(height), halved(width)]);
            let maps: f64 = common.cameras.iter().map(|camera| map(camera.height, camera.width)).sum();
            (4.0 * maps) as u64
        }
    }
}

/// What the policy needs in each precision.
#[must_use]
pub fn needs(config: &PolicyConfig, tensors: &Tensors, stages: &[Stage]) -> Vec<Need> {
    [Precision::F32, Precision::Bf16, Precision::Int8, Precision::Int4]
        .map(|precision| {
            let (mut memory_bytes, mut traffic_bytes) = (buffers(config), 0_u64);
            for tensor in tensors.infos() {
                let part = part(config, &tensor);
                let bytes = match part.role {
                    Role::Matrix => {
                        let count = tensor.count() as u64;
                        match precision {
                            Precision::F32 => 4 * count,
                            Precision::Bf16 => 2 * count,
                            Precision::Int8 => count,
                            // A scale for each block of 32.
                            Precision::Int4 => count * 5 / 8,
                        }
                    }
                    Role::Sensitive | Role::Rest => 4 * tensor.count() as u64,
                    // Stays on disk: only the rows of the instruction are read.
                    Role::Table | Role::Unused => 0,
                };
                memory_bytes = memory_bytes.saturating_add(bytes);
                for stage in stages.iter().filter(|stage| stage.modules.contains(&part.module)) {
                    let passes = if stage.batched { 1 } else { stage.passes as u64 };
                    traffic_bytes = traffic_bytes.saturating_add(passes.saturating_mul(bytes));
                }
            }
            Need { precision, memory_bytes, traffic_bytes }
        })
        .to_vec()
}

/// The name of a storage form.
pub(super) fn storage_name(storage: Storage) -> String {
    match storage {
        Storage::Plain(dtype) => dtype.to_string(),
        Storage::Int8 => "int8".to_owned(),
        Storage::Int4 => "int4".to_owned(),
    }
}
