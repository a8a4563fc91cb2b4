//! The options of SmolVLA, and the sizes of its backbone.

use std::path::Path;

use serde::Deserialize;

use super::config::{CONFIG, CommonConfig, Normalisation, only, parse_options, within};
use super::error::CheckpointError;
use super::json;
use super::tensors::Tensors;

/// The options of SmolVLA that change what it computes. Names are LeRobot's.
#[derive(Clone, Debug, PartialEq)]
pub struct SmolVlaConfig {
    /// What every policy has.
    pub common: CommonConfig,
    /// Width that states are padded to.
    pub max_state_dim: usize,
    /// Width that actions are padded to.
    pub max_action_dim: usize,
    /// Width and height that images are resized and padded to, pixels.
    pub image_size: (usize, usize),
    /// Cameras that LeRobot feeds as masked blanks. Masked tokens change nothing, so that these are not
    /// among the cameras here.
    pub empty_cameras: usize,
    /// Most tokens of an instruction.
    pub tokenizer_max_length: usize,
    /// Euler steps of the sampler.
    pub num_steps: usize,
    /// A self-attention layer every so many expert layers; the others attend to the prefix.
    pub self_attn_every_n_layers: usize,
    /// Shortest period of the time embedding.
    pub min_period: f64,
    /// Longest period of the time embedding.
    pub max_period: f64,
    /// The name of the backbone: whose tokenizer is needed.
    pub vlm_model_name: String,
    /// Real-time chunking as the checkpoint asks for it.
    pub rtc: Option<RtcConfig>,
    /// Sizes of the networks.
    pub backbone: Backbone,
    num_vlm_layers: i64,
    num_expert_layers: i64,
    expert_width_multiplier: f64,
}

/// How the weights of the actions before fall off, over the execution horizon.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum PrefixSchedule {
    /// Nothing after the delay.
    Zeros,
    /// All the same.
    Ones,
    /// Straight down.
    #[default]
    Linear,
    /// Exponentially down.
    Exp,
}

/// Real-time chunking (arXiv 2506.07339).
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
#[serde(default)]
pub struct RtcConfig {
    /// Whether it is on.
    pub enabled: bool,
    /// How weights fall off.
    pub prefix_attention_schedule: PrefixSchedule,
    /// Bound of the guidance weight.
    pub max_guidance_weight: f64,
    /// Actions over which the chunk before has a say.
    pub execution_horizon: usize,
}

/// LeRobot's defaults.
impl Default for RtcConfig {
    fn default() -> Self {
        Self {
            enabled: true,
            prefix_attention_schedule: PrefixSchedule::Linear,
            max_guidance_weight: 10.0,
            execution_horizon: 10,
        }
    }
}

/// Sizes of SmolVLA's three networks: vision tower, text tower, action expert.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Backbone {
    /// Side of the tower's square image, pixels.
    pub image_size: usize,
    /// Side of a patch, pixels.
    pub patch_size: usize,
    /// Width of the vision tower.
    pub vision_hidden: usize,
    /// Width inside its feed-forward layers.
    pub vision_mlp: usize,
    /// Its layers.
    pub vision_layers: usize,
    /// Its heads.
    pub vision_heads: usize,
    /// Side of the square of patches that makes one token.
    pub pixel_shuffle: usize,
    /// Width of the text tower.
    pub hidden: usize,
    /// Width inside its feed-forward layers.
    pub mlp: usize,
    /// Its layers.
    pub layers: usize,
    /// Query heads of the text tower and of the expert.
    pub heads: usize,
    /// Heads of keys and values.
    pub kv_heads: usize,
    /// Width of a head.
    pub head_dim: usize,
    /// Rows of the embedding table.
    pub vocabulary: usize,
    /// Width of the action expert.
    pub expert_hidden: usize,
    /// Width inside its feed-forward layers.
    pub expert_mlp: usize,
    /// Its layers.
    pub expert_layers: usize,
}

impl Backbone {
    /// Tokens that one camera takes in the prefix.
    #[must_use]
    pub fn tokens_per_camera(&self) -> usize {
        (self.image_size / self.patch_size.max(1) / self.pixel_shuffle.max(1)).pow(2)
    }

    /// Patches of one image.
    #[must_use]
    pub fn patches(&self) -> usize {
        (self.image_size / self.patch_size.max(1)).pow(2)
    }
}

#[derive(Deserialize)]
#[serde(default)]
struct Raw {
    max_state_dim: usize,
    max_action_dim: usize,
    resize_imgs_with_padding: [usize; 2],
    empty_cameras: usize,
    adapt_to_pi_aloha: bool,
    use_delta_joint_actions_aloha: bool,
    tokenizer_max_length: usize,
    num_steps: usize,
    add_image_special_tokens: bool,
    attention_mode: String,
    num_expert_layers: i64,
    num_vlm_layers: i64,
    self_attn_every_n_layers: i64,
    expert_width_multiplier: f64,
    min_period: f64,
    max_period: f64,
    vlm_model_name: String,
    rtc_config: Option<RtcConfig>,
}

/// LeRobot's defaults.
impl Default for Raw {
    fn default() -> Self {
        Self {
            max_state_dim: 32,
            max_action_dim: 32,
            resize_imgs_with_padding: [512, 512],
            empty_cameras: 0,
            adapt_to_pi_aloha: false,
            use_delta_joint_actions_aloha: false,
            tokenizer_max_length: 48,
            num_steps: 10,
            add_image_special_tokens: false,
            attention_mode: "cross_attn".to_owned(),
            num_expert_layers: -1,
            num_vlm_layers: 16,
            self_attn_every_n_layers: 2,
            expert_width_multiplier: 0.75,
            min_period: 4e-3,
            max_period: 4.0,
            vlm_model_name: "HuggingFaceTB/SmolVLM2-500M-Video-Instruct".to_owned(),
            rtc_config: None,
        }
    }
}

impl SmolVlaConfig {
    pub(super) fn parse(path: &Path, bytes: &[u8]) -> Result<Self, CheckpointError> {
        let mut common = CommonConfig::parse(path, bytes, 50, Normalisation::Identity)?;
        let raw: Raw = parse_options(path, bytes)?;
        only("adapt_to_pi_aloha", false, raw.adapt_to_pi_aloha)?;
        only("use_delta_joint_actions_aloha", false, raw.use_delta_joint_actions_aloha)?;
        only("add_image_special_tokens", false, raw.add_image_special_tokens)?;
        only("attention_mode", "cross_attn", raw.attention_mode.as_str())?;
        only("normalization_mapping.VISUAL", Normalisation::Identity, common.normalisation.visual)?;
        only("input_features.observation.environment_state", 0, common.environment_len)?;
        within("max_state_dim", raw.max_state_dim, 1 << 16)?;
        within("max_action_dim", raw.max_action_dim, 1 << 16)?;
        within("input_features.observation.state", common.state_len, raw.max_state_dim)?;
        within("output_features.action", common.action_len, raw.max_action_dim)?;
        within("tokenizer_max_length", raw.tokenizer_max_length, 1 << 16)?;
        within("num_steps", raw.num_steps, 10_000)?;
        let [width, height] = raw.resize_imgs_with_padding;
        within("resize_imgs_with_padding[0]", width, 1 << 14)?;
        within("resize_imgs_with_padding[1]", height, 1 << 14)?;
        if raw.empty_cameras > 64 {
            return Err(CheckpointError::option(CONFIG, "empty_cameras", "0..=64", raw.empty_cameras));
        }
        let blanks: Vec<String> =
            (0..raw.empty_cameras).map(|index| format!("empty_camera_{index}")).collect();
        common.cameras.retain(|camera| !blanks.contains(&camera.name));
        if common.cameras.is_empty() {
            return Err(CheckpointError::option(CONFIG, "input_features", "at least one camera", "none"));
        }
        let self_attn_every_n_layers = usize::try_from(raw.self_attn_every_n_layers).unwrap_or(0);
        within("self_attn_every_n_layers", self_attn_every_n_layers, 1 << 10)?;
        let periods = [raw.min_period, raw.max_period];
        if !(raw.min_period > 0.0 && raw.max_period >= raw.min_period && raw.max_period.is_finite()) {
            return Err(CheckpointError::option(
                CONFIG,
                "min_period, max_period",
                "0 < min_period <= max_period",
                format_args!("{periods:?}"),
            ));
        }
        if let Some(rtc) = raw.rtc_config
            && !(rtc.max_guidance_weight > 0.0 && rtc.max_guidance_weight.is_finite())
        {
            return Err(CheckpointError::option(
                CONFIG,
                "rtc_config.max_guidance_weight",
                "a positive number",
                rtc.max_guidance_weight,
            ));
        }
        Ok(Self {
            common,
            max_state_dim: raw.max_state_dim,
            max_action_dim: raw.max_action_dim,
            image_size: (width, height),
            empty_cameras: raw.empty_cameras,
            tokenizer_max_length: raw.tokenizer_max_length,
            num_steps: raw.num_steps,
            self_attn_every_n_layers,
            min_period: raw.min_period,
            max_period: raw.max_period,
            vlm_model_name: raw.vlm_model_name,
            rtc: raw.rtc_config,
            backbone: Backbone::default(),
            num_vlm_layers: raw.num_vlm_layers,
            num_expert_layers: raw.num_expert_layers,
            expert_width_multiplier: raw.expert_width_multiplier,
        })
    }

    /// Fills [`SmolVlaConfig::backbone`] from the tensors' shapes and, where shapes do not tell, from
    /// `backbone.json` or the published model; checks all of them against each other.
    pub(super) fn size(&mut self, tensors: &Tensors, backbone: &Path) -> Result<(), CheckpointError> {
        let heads = if backbone.exists() { json::read(backbone)? } else { Heads::default() };
        self.backbone = self.sizes(tensors, &heads)?;
        Ok(())
    }

    fn sizes(&self, tensors: &Tensors, heads: &Heads) -> Result<Backbone, CheckpointError> {
        let shape = |name: &str| -> Result<[usize; 2], CheckpointError> {
            let shape = tensors
                .shape(name)
                .ok_or_else(|| CheckpointError::MissingTensor { name: name.to_owned() })?;
            match *shape {
                [rows, columns] => Ok([rows, columns]),
                [outputs, channels, height, width] => Ok([outputs, channels * height * width]),
                _ => Err(CheckpointError::size(
                    format!("the number of dimensions of `{name}`"),
                    "2 or 4",
                    shape.len(),
                )),
            }
        };
        let same = |what: &str, expected: usize, actual: usize| {
            if expected == actual { Ok(()) } else { Err(CheckpointError::size(what, expected, actual)) }
        };
        let [vision_hidden, patch_inputs] = shape(&format!("{VISION}embeddings.patch_embedding.weight"))?;
        let [patches, position_width] = shape(&format!("{VISION}embeddings.position_embedding.weight"))?;
        same("the width of the position table", vision_hidden, position_width)?;
        let patch_size = root(patch_inputs / 3, "the number of pixels of a patch")?;
        same("the number of inputs of the patch embedding", 3 * patch_size * patch_size, patch_inputs)?;
        let grid = root(patches, "the number of patches")?;
        let image_size = grid * patch_size;
        let (width, height) = self.image_size;
        if (width, height) != (image_size, image_size) {
            return Err(CheckpointError::option(
                CONFIG,
                "resize_imgs_with_padding",
                format_args!("[{image_size}, {image_size}], the size of the vision tower"),
                format_args!("[{width}, {height}]"),
            ));
        }
        let vision_layers = layers(tensors, &format!("{VISION}encoder.layers."));
        within_size("vision layers", vision_layers)?;
        let [vision_mlp, _] = shape(&format!("{VISION}encoder.layers.0.mlp.fc1.weight"))?;

        let [hidden, shuffled] = shape(CONNECTOR)?;
        let pixel_shuffle =
            root(shuffled / vision_hidden.max(1), "the number of patches that make one token")?;
        same("the connector's inputs", vision_hidden * pixel_shuffle * pixel_shuffle, shuffled)?;
        if !grid.is_multiple_of(pixel_shuffle) {
            return Err(CheckpointError::size(
                "the patch grid's side",
                format_args!("a multiple of {pixel_shuffle}"),
                grid,
            ));
        }

        let [vocabulary, text_width] = shape(&format!("{TEXT}embed_tokens.weight"))?;
        same("the width of the embedding table", hidden, text_width)?;
        let text_layers = layers(tensors, &format!("{TEXT}layers."));
        let wanted = usize::try_from(self.num_vlm_layers).ok().filter(|&layers| layers > 0);
        if let Some(wanted) = wanted {
            same("the number of text layers", wanted, text_layers)?;
        }
        within_size("text layers", text_layers)?;
        let [mlp, _] = shape(&format!("{TEXT}layers.0.mlp.gate_proj.weight"))?;
        let [query_width, _] = shape(&format!("{TEXT}layers.0.self_attn.q_proj.weight"))?;
        let [kv_width, _] = shape(&format!("{TEXT}layers.0.self_attn.k_proj.weight"))?;

        let expert_layers = layers(tensors, &format!("{EXPERT}layers."));
        let wanted = usize::try_from(self.num_expert_layers).ok().filter(|&layers| layers > 0);
        same("the number of expert layers", wanted.unwrap_or(text_layers), expert_layers)?;
        if !text_layers.is_multiple_of(expert_layers.max(1)) {
            return Err(CheckpointError::size(
                "the number of text layers",
                format_args!("a multiple of the {expert_layers} expert layers"),
                text_layers,
            ));
        }
        let [expert_mlp, expert_hidden] = shape(&format!("{EXPERT}layers.0.mlp.gate_proj.weight"))?;
        let wanted = (hidden as f64 * self.expert_width_multiplier) as usize;
        same("the expert's width (hidden size × expert_width_multiplier)", wanted, expert_hidden)?;
        same("the inputs of state_proj", self.max_state_dim, shape("model.state_proj.weight")?[1])?;
        same("the inputs of action_in_proj", self.max_action_dim, shape("model.action_in_proj.weight")?[1])?;

        let sizes = Backbone {
            image_size,
            patch_size,
            vision_hidden,
            vision_mlp,
            vision_layers,
            vision_heads: heads.vit_heads,
            pixel_shuffle,
            hidden,
            mlp,
            layers: text_layers,
            heads: heads.heads,
            kv_heads: heads.kv_heads,
            head_dim: heads.head_dim,
            vocabulary,
            expert_hidden,
            expert_mlp,
            expert_layers,
        };
        heads.check(&sizes, query_width, kv_width)?;
        Ok(sizes)
    }
}

pub(crate) const VISION: &str = "model.vlm_with_expert.vlm.model.vision_model.";
pub(crate) const TEXT: &str = "model.vlm_with_expert.vlm.model.text_model.";
pub(crate) const EXPERT: &str = "model.vlm_with_expert.lm_expert.";
pub(crate) const CONNECTOR: &str =
    "model.vlm_with_expert.vlm.model.connector.modality_projection.proj.weight";

/// What shapes do not tell: how widths divide into heads. The published checkpoint takes it from its
/// backbone's configuration; a `backbone.json` beside `config.json` says it for another one.
#[derive(Deserialize)]
#[serde(default)]
struct Heads {
    vit_heads: usize,
    heads: usize,
    kv_heads: usize,
    head_dim: usize,
}

/// Those of SmolVLM2-500M-Video-Instruct.
impl Default for Heads {
    fn default() -> Self {
        Self { vit_heads: 12, heads: 15, kv_heads: 5, head_dim: 64 }
    }
}

impl Heads {
    fn check(&self, sizes: &Backbone, query_width: usize, kv_width: usize) -> Result<(), CheckpointError> {
        let hint = "as the shapes say (a backbone.json beside config.json gives vit_heads, heads, kv_heads and \
                    head_dim where they are not those of SmolVLM2-500M)";
        let width = |heads: usize| heads.checked_mul(self.head_dim);
        if self.head_dim == 0 || !self.head_dim.is_multiple_of(2) {
            return Err(CheckpointError::size("head_dim", "a positive even number", self.head_dim));
        }
        for (what, actual, expected) in [
            ("query heads × head_dim", width(self.heads), query_width),
            ("key heads × head_dim", width(self.kv_heads), kv_width),
        ] {
            if actual != Some(expected) {
                let actual = actual.map_or_else(|| "too large".to_owned(), |actual| actual.to_string());
                return Err(CheckpointError::size(what, format_args!("{expected}, {hint}"), actual));
            }
        }
        if self.vit_heads == 0 || !sizes.vision_hidden.is_multiple_of(self.vit_heads) {
            return Err(CheckpointError::size(
                "the number of vision heads",
                format_args!("a divisor of {}, {hint}", sizes.vision_hidden),
                self.vit_heads,
            ));
        }
        if self.kv_heads == 0 || !self.heads.is_multiple_of(self.kv_heads) {
            return Err(CheckpointError::size(
                "the number of query heads",
                format_args!("a multiple of the {} key heads, {hint}", self.kv_heads),
                self.heads,
            ));
        }
        Ok(())
    }
}

/// Layers `prefix0.…`, `prefix1.…` up to the first that is not there.
fn layers(tensors: &Tensors, prefix: &str) -> usize {
    let found: std::collections::BTreeSet<usize> = tensors
        .names()
        .filter_map(|name| name.strip_prefix(prefix)?.split('.').next()?.parse().ok())
        .collect();
    found.iter().enumerate().take_while(|(expected, found)| expected == *found).count()
}

fn within_size(what: &str, actual: usize) -> Result<(), CheckpointError> {
    if actual > 0 {
        Ok(())
    } else {
        Err(CheckpointError::size(format!("the number of {what}"), "at least 1", 0))
    }
}

/// The whole root of a square.
fn root(square: usize, what: &str) -> Result<usize, CheckpointError> {
    let root = square.isqrt();
    if root > 0 && root * root == square {
        return Ok(root);
    }
    Err(CheckpointError::size(what, "a square", square))
}
