//! What each tensor of a checkpoint is for, by its name: which part of the network it belongs to, and
//! how it may be stored.

use super::config::PolicyConfig;
use super::smolvla::{CONNECTOR, EXPERT, TEXT, VISION};
use super::statistics::OLD_BUFFERS;
use super::tensors::TensorInfo;

/// What may be done to a tensor when a checkpoint is quantised.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// A large matrix or convolution: becomes integers.
    Matrix,
    /// A matrix at the network's inputs and outputs, small and with much depending on it: stays as it is
    /// unless asked for.
    Sensitive,
    /// A table of which single rows are read: becomes BF16.
    Table,
    /// Norms, biases, positions, statistics: stay as they are.
    Rest,
    /// Needed for training only: left out.
    Unused,
}

/// A tensor's place in its network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part {
    /// Name of the part, as a model card has it.
    pub module: &'static str,
    /// What may be done to it.
    pub role: Role,
}

/// Sensitive matrices of SmolVLA: the patch embedding, and the projections between the robot's numbers
/// and the expert.
const SMOLVLA_SENSITIVE: [&str; 6] = [
    "embeddings.patch_embedding.weight",
    "model.state_proj.weight",
    "model.action_in_proj.weight",
    "model.action_out_proj.weight",
    "model.action_time_mlp_in.weight",
    "model.action_time_mlp_out.weight",
];
/// Sensitive matrices of ACT: the first convolution, the projections of state and images, the action head.
const ACT_SENSITIVE: [&str; 6] = [
    "model.backbone.conv1.weight",
    "model.encoder_latent_input_proj.weight",
    "model.encoder_robot_state_input_proj.weight",
    "model.encoder_env_state_input_proj.weight",
    "model.encoder_img_feat_input_proj.weight",
    "model.action_head.weight",
];

/// The part of a tensor in a policy of that kind.
#[must_use]
pub fn part(config: &PolicyConfig, tensor: &TensorInfo<'_>) -> Part {
    let name = tensor.name;
    if OLD_BUFFERS.iter().any(|prefix| name.starts_with(prefix)) {
        return Part { module: "statistics", role: Role::Rest };
    }
    let (module, sensitive): (_, &[&str]) = match config {
        PolicyConfig::SmolVla(_) => (smolvla_module(name), &SMOLVLA_SENSITIVE),
        PolicyConfig::Act(_) => (act_module(name), &ACT_SENSITIVE),
    };
    let table = name.ends_with("embed_tokens.weight");
    let positions = name.contains("pos_embed") || name.contains("position_embedding");
    let role = if module.ends_with(UNUSED) {
        Role::Unused
    } else if table {
        Role::Table
    } else if sensitive.iter().any(|end| name.ends_with(end)) {
        Role::Sensitive
    } else if tensor.shape.len() >= 2 && !positions && module != OTHER {
        Role::Matrix
    } else {
        Role::Rest
    };
    Part { module, role }
}

const UNUSED: &str = "(unused)";
const OTHER: &str = "other";

fn smolvla_module(name: &str) -> &'static str {
    let text_norm = name.strip_prefix(TEXT) == Some("norm.weight");
    if text_norm || name.ends_with("vlm.lm_head.weight") {
        "text head (unused)"
    } else if name.starts_with(VISION) {
        "vision tower"
    } else if name == CONNECTOR {
        "connector"
    } else if name.strip_prefix(TEXT) == Some("embed_tokens.weight") {
        "token embeddings"
    } else if name.starts_with(TEXT) {
        "text layers"
    } else if name.starts_with(EXPERT) {
        "action expert"
    } else if name.starts_with("model.state_proj") || name.starts_with("model.action_") {
        "projections"
    } else {
        OTHER
    }
}

fn act_module(name: &str) -> &'static str {
    let Some(name) = name.strip_prefix("model.") else { return OTHER };
    if name.starts_with("vae_encoder") {
        "variational encoder (unused)"
    } else if name.starts_with("backbone.") {
        "image backbone"
    } else if name.starts_with("encoder.") {
        "encoder"
    } else if name.starts_with("decoder.") {
        "decoder"
    } else if name.starts_with("encoder_") || name.starts_with("decoder_") || name.starts_with("action_head")
    {
        "projections"
    } else {
        OTHER
    }
}
