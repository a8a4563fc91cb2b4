//! ACT with LeRobot's default sizes.

use std::path::Path;

use serde_json::json;

use crate::file::{self, Tensor, Values};
use crate::processors::{self, device, json_file, step};
use crate::{DOF, Result};

const WIDTH: usize = 512;
const MLP: usize = 3200;
const LATENT: usize = 32;
const CHUNK: usize = 100;

struct List(Vec<Tensor>);

impl List {
    fn put(&mut self, name: &str, shape: &[usize], values: Values) {
        self.0.push(Tensor { name: format!("model.{name}"), shape: shape.to_vec(), values, bf16: false });
    }

    fn biased(&mut self, name: &str, shape: &[usize]) {
        self.put(&format!("{name}.weight"), shape, Values::Matrix);
        self.put(&format!("{name}.bias"), &shape[..1], Values::Small);
    }

    fn norm(&mut self, name: &str, width: usize) {
        self.put(&format!("{name}.weight"), &[width], Values::Scale);
        self.put(&format!("{name}.bias"), &[width], Values::Small);
    }

    fn attention(&mut self, name: &str) {
        self.put(&format!("{name}.in_proj_weight"), &[3 * WIDTH, WIDTH], Values::Matrix);
        self.put(&format!("{name}.in_proj_bias"), &[3 * WIDTH], Values::Small);
        self.biased(&format!("{name}.out_proj"), &[WIDTH, WIDTH]);
    }

    fn layer(&mut self, name: &str, attentions: &[&str]) {
        for (at, attention) in attentions.iter().enumerate() {
            self.attention(&format!("{name}.{attention}"));
            self.norm(&format!("{name}.norm{}", at + 1), WIDTH);
        }
        self.norm(&format!("{name}.norm{}", attentions.len() + 1), WIDTH);
        self.biased(&format!("{name}.linear1"), &[MLP, WIDTH]);
        self.biased(&format!("{name}.linear2"), &[WIDTH, MLP]);
    }

    fn convolution(&mut self, name: &str, norm: &str, shape: &[usize]) {
        self.put(&format!("{name}.weight"), shape, Values::Matrix);
        self.norm(norm, shape[0]);
        self.put(&format!("{norm}.running_mean"), &shape[..1], Values::Small);
        self.put(&format!("{norm}.running_var"), &shape[..1], Values::Variance);
    }

    fn backbone(&mut self) {
        self.convolution("backbone.conv1", "backbone.bn1", &[64, 3, 7, 7]);
        let mut inputs = 64;
        for (stage, outputs) in [64, 128, 256, 512].into_iter().enumerate() {
            for block in 0..2 {
                let name = format!("backbone.layer{}.{block}", stage + 1);
                let (first, second) = ([outputs, inputs, 3, 3], [outputs, outputs, 3, 3]);
                self.convolution(&format!("{name}.conv1"), &format!("{name}.bn1"), &first);
                self.convolution(&format!("{name}.conv2"), &format!("{name}.bn2"), &second);
                if inputs != outputs {
                    let shape = [outputs, inputs, 1, 1];
                    self.convolution(
                        &format!("{name}.downsample.0"),
                        &format!("{name}.downsample.1"),
                        &shape,
                    );
                }
                inputs = outputs;
            }
        }
    }
}

fn tensors() -> Vec<Tensor> {
    let mut list = List(Vec::new());
    list.backbone();
    for layer in 0..4 {
        list.layer(&format!("encoder.layers.{layer}"), &["self_attn"]);
        list.layer(&format!("vae_encoder.layers.{layer}"), &["self_attn"]);
    }
    list.layer("decoder.layers.0", &["self_attn", "multihead_attn"]);
    list.norm("decoder.norm", WIDTH);
    for (name, shape) in [
        ("encoder_robot_state_input_proj", &[WIDTH, DOF][..]),
        ("encoder_latent_input_proj", &[WIDTH, LATENT]),
        ("encoder_img_feat_input_proj", &[WIDTH, 512, 1, 1]),
        ("action_head", &[DOF, WIDTH]),
        ("vae_encoder_robot_state_input_proj", &[WIDTH, DOF]),
        ("vae_encoder_action_input_proj", &[WIDTH, DOF]),
        ("vae_encoder_latent_output_proj", &[2 * LATENT, WIDTH]),
    ] {
        list.biased(name, shape);
    }
    for (name, shape) in [
        ("encoder_1d_feature_pos_embed.weight", &[2, WIDTH][..]),
        ("decoder_pos_embed.weight", &[CHUNK, WIDTH]),
        ("vae_encoder_cls_embed.weight", &[1, WIDTH]),
        ("vae_encoder_pos_enc", &[1, CHUNK + 2, WIDTH]),
    ] {
        list.put(name, shape, Values::Small);
    }
    list.0
}

/// Writes the folder.
pub(crate) fn write(dir: &Path, cameras: usize, seed: u64) -> Result<()> {
    file::write(&dir.join("model.safetensors"), tensors(), seed)?;
    let config = json!({
        "type": "act", "n_obs_steps": 1,
        "input_features": processors::input_features(cameras), "output_features": processors::output_features(),
        "normalization_mapping": {"VISUAL": "MEAN_STD", "STATE": "MEAN_STD", "ACTION": "MEAN_STD"},
        "chunk_size": CHUNK, "n_action_steps": CHUNK, "vision_backbone": "resnet18",
        "pretrained_backbone_weights": null, "replace_final_stride_with_dilation": false, "pre_norm": false,
        "dim_model": WIDTH, "n_heads": 8, "dim_feedforward": MLP, "feedforward_activation": "relu",
        "n_encoder_layers": 4, "n_decoder_layers": 1, "use_vae": true, "latent_dim": LATENT,
        "n_vae_encoder_layers": 4, "temporal_ensemble_coeff": null, "dropout": 0.1, "kl_weight": 10.0,
        "device": "cpu",
    });
    json_file(&dir.join("config.json"), &config)?;
    let first = [
        step("rename_observations_processor", &json!({"rename_map": {}})),
        step("to_batch_processor", &json!({})),
        device(),
    ];
    processors::write(dir, cameras, seed, &first, "MEAN_STD")
}
