//! The options of ACT.

use std::path::Path;

use serde::Deserialize;

use super::config::{CONFIG, CommonConfig, Normalisation, only, parse_options, within};
use super::error::CheckpointError;
use super::tensors::Tensors;

/// The options of ACT that change what it computes. Names are LeRobot's.
#[derive(Clone, Debug, PartialEq)]
pub struct ActConfig {
    /// What every policy has.
    pub common: CommonConfig,
    /// Width of the transformer.
    pub dim_model: usize,
    /// Attention heads; divides `dim_model`.
    pub n_heads: usize,
    /// Width inside the feed-forward layers.
    pub dim_feedforward: usize,
    /// Encoder layers.
    pub n_encoder_layers: usize,
    /// Decoder layers.
    pub n_decoder_layers: usize,
    /// Width of the latent, which is zero at inference.
    pub latent_dim: usize,
    /// Coefficient of temporal ensembling, per step; `None` executes chunks.
    pub temporal_ensemble_coeff: Option<f64>,
}

#[derive(Deserialize)]
#[serde(default)]
struct Raw {
    vision_backbone: String,
    replace_final_stride_with_dilation: serde_json::Value,
    pre_norm: bool,
    dim_model: usize,
    n_heads: usize,
    dim_feedforward: usize,
    feedforward_activation: String,
    n_encoder_layers: usize,
    n_decoder_layers: usize,
    latent_dim: usize,
    temporal_ensemble_coeff: Option<f64>,
}

/// LeRobot's defaults.
impl Default for Raw {
    fn default() -> Self {
        Self {
            vision_backbone: "resnet18".to_owned(),
            replace_final_stride_with_dilation: false.into(),
            pre_norm: false,
            dim_model: 512,
            n_heads: 8,
            dim_feedforward: 3200,
            feedforward_activation: "relu".to_owned(),
            n_encoder_layers: 4,
            n_decoder_layers: 1,
            latent_dim: 32,
            temporal_ensemble_coeff: None,
        }
    }
}

const MAX_LAYERS: usize = 64;

impl ActConfig {
    pub(super) fn parse(path: &Path, bytes: &[u8]) -> Result<Self, CheckpointError> {
        let common = CommonConfig::parse(path, bytes, 100, Normalisation::MeanStd)?;
        let raw: Raw = parse_options(path, bytes)?;
        only("vision_backbone", "resnet18", raw.vision_backbone.as_str())?;
        // LeRobot declares a number and writes a boolean.
        if !matches!(raw.replace_final_stride_with_dilation, serde_json::Value::Bool(false))
            && raw.replace_final_stride_with_dilation != 0
        {
            return Err(CheckpointError::option(
                CONFIG,
                "replace_final_stride_with_dilation",
                false,
                &raw.replace_final_stride_with_dilation,
            ));
        }
        only("pre_norm", false, raw.pre_norm)?;
        only("feedforward_activation", "relu", raw.feedforward_activation.as_str())?;
        for (field, size) in [
            ("dim_model", raw.dim_model),
            ("dim_feedforward", raw.dim_feedforward),
            ("latent_dim", raw.latent_dim),
        ] {
            within(field, size, 1 << 16)?;
        }
        within("n_encoder_layers", raw.n_encoder_layers, MAX_LAYERS)?;
        within("n_decoder_layers", raw.n_decoder_layers, MAX_LAYERS)?;
        within("n_heads", raw.n_heads, raw.dim_model)?;
        if !raw.dim_model.is_multiple_of(raw.n_heads) || !raw.dim_model.is_multiple_of(4) {
            return Err(CheckpointError::option(
                CONFIG,
                "dim_model",
                format_args!("a multiple of 4 and of n_heads = {}", raw.n_heads),
                raw.dim_model,
            ));
        }
        if let Some(coefficient) = raw.temporal_ensemble_coeff {
            if !coefficient.is_finite() {
                return Err(CheckpointError::option(
                    CONFIG,
                    "temporal_ensemble_coeff",
                    "a finite number",
                    coefficient,
                ));
            }
            only("n_action_steps (with temporal_ensemble_coeff)", 1, common.n_action_steps)?;
        }
        if common.cameras.is_empty() && common.environment_len == 0 {
            return Err(CheckpointError::option(
                CONFIG,
                "input_features",
                "at least one camera or the environment's state",
                "neither",
            ));
        }
        Ok(Self {
            common,
            dim_model: raw.dim_model,
            n_heads: raw.n_heads,
            dim_feedforward: raw.dim_feedforward,
            n_encoder_layers: raw.n_encoder_layers,
            n_decoder_layers: raw.n_decoder_layers,
            latent_dim: raw.latent_dim,
            temporal_ensemble_coeff: raw.temporal_ensemble_coeff,
        })
    }

    /// Checks the sizes that the configuration gives against the tensors.
    pub(super) fn check(&self, tensors: &Tensors) -> Result<(), CheckpointError> {
        let expect = |name: &str, expected: &[usize]| {
            let actual = tensors
                .shape(name)
                .ok_or_else(|| CheckpointError::MissingTensor { name: name.to_owned() })?;
            if actual == expected {
                return Ok(());
            }
            let (expected, actual) = (expected.to_owned(), actual.to_owned());
            Err(CheckpointError::Shape { name: name.to_owned(), expected, actual })
        };
        let (common, width) = (&self.common, self.dim_model);
        expect("model.decoder_pos_embed.weight", &[common.chunk_size, width])?;
        expect("model.action_head.weight", &[common.action_len, width])?;
        expect("model.encoder_latent_input_proj.weight", &[width, self.latent_dim])?;
        if common.state_len > 0 {
            expect("model.encoder_robot_state_input_proj.weight", &[width, common.state_len])?;
        }
        if common.environment_len > 0 {
            expect("model.encoder_env_state_input_proj.weight", &[width, common.environment_len])?;
        }
        for layer in 0..self.n_encoder_layers {
            expect(&format!("model.encoder.layers.{layer}.linear1.weight"), &[self.dim_feedforward, width])?;
        }
        for layer in 0..self.n_decoder_layers {
            expect(&format!("model.decoder.layers.{layer}.linear1.weight"), &[self.dim_feedforward, width])?;
        }
        Ok(())
    }
}
