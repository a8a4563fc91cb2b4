//! SmolVLA as its base model is published.

use std::path::Path;

use serde_json::{Map, Value, json};

use crate::Result;
use crate::file::{self, Tensor, Values};
use crate::processors::{self, device, json_file, step};

const VLM: &str = "model.vlm_with_expert.vlm";
const EXPERT: &str = "model.vlm_with_expert.lm_expert";

/// Widths: vision tower, its feed-forward layers, text tower, its feed-forward layers, expert, its own.
const VISION: usize = 768;
const VISION_MLP: usize = 3072;
const TEXT: usize = 960;
const TEXT_MLP: usize = 2560;
const WIDTH: usize = 720;
const MLP: usize = 2048;
/// Query and key widths: 15 and 5 heads of 64.
const QUERY: usize = 960;
const KEY: usize = 320;
const VISION_LAYERS: usize = 12;
const LAYERS: usize = 16;
const VOCABULARY: usize = 49_280;
const PADDED: usize = 32;

struct List(Vec<Tensor>);

impl List {
    fn put(&mut self, name: String, shape: &[usize], values: Values, bf16: bool) {
        self.0.push(Tensor { name, shape: shape.to_vec(), values, bf16 });
    }

    fn scale(&mut self, name: &str, width: usize) {
        self.put(format!("{name}.weight"), &[width], Values::Scale, true);
    }

    fn matrix(&mut self, name: &str, outputs: usize, inputs: usize) {
        self.put(format!("{name}.weight"), &[outputs, inputs], Values::Matrix, true);
    }

    fn biased(&mut self, name: &str, outputs: usize, inputs: usize) {
        self.matrix(name, outputs, inputs);
        self.put(format!("{name}.bias"), &[outputs], Values::Small, true);
    }

    fn decoder_layer(&mut self, name: &str, width: usize, mlp: usize) {
        self.scale(&format!("{name}.input_layernorm"), width);
        self.scale(&format!("{name}.post_attention_layernorm"), width);
        self.matrix(&format!("{name}.self_attn.q_proj"), QUERY, width);
        self.matrix(&format!("{name}.self_attn.o_proj"), width, QUERY);
        self.matrix(&format!("{name}.mlp.gate_proj"), mlp, width);
        self.matrix(&format!("{name}.mlp.up_proj"), mlp, width);
        self.matrix(&format!("{name}.mlp.down_proj"), width, mlp);
    }
}

fn tensors() -> Vec<Tensor> {
    let mut list = List(Vec::new());
    let vision = format!("{VLM}.model.vision_model");
    let patches = format!("{vision}.embeddings.patch_embedding");
    list.put(format!("{patches}.weight"), &[VISION, 3, 16, 16], Values::Matrix, true);
    list.put(format!("{patches}.bias"), &[VISION], Values::Small, true);
    let positions = format!("{vision}.embeddings.position_embedding.weight");
    list.put(positions, &[1024, VISION], Values::Small, true);
    let mut norms = vec![format!("{vision}.post_layernorm")];
    for layer in 0..VISION_LAYERS {
        let name = format!("{vision}.encoder.layers.{layer}");
        for part in ["q_proj", "k_proj", "v_proj", "out_proj"] {
            list.biased(&format!("{name}.self_attn.{part}"), VISION, VISION);
        }
        list.biased(&format!("{name}.mlp.fc1"), VISION_MLP, VISION);
        list.biased(&format!("{name}.mlp.fc2"), VISION, VISION_MLP);
        norms.extend(["layer_norm1", "layer_norm2"].map(|norm| format!("{name}.{norm}")));
    }
    for norm in norms {
        list.scale(&norm, VISION);
        list.put(format!("{norm}.bias"), &[VISION], Values::Small, true);
    }
    list.matrix(&format!("{VLM}.model.connector.modality_projection.proj"), TEXT, 16 * VISION);

    let text = format!("{VLM}.model.text_model");
    list.put(format!("{text}.embed_tokens.weight"), &[VOCABULARY, TEXT], Values::Small, true);
    list.matrix(&format!("{VLM}.lm_head"), VOCABULARY, TEXT);
    list.scale(&format!("{text}.norm"), TEXT);
    list.scale(&format!("{EXPERT}.norm"), WIDTH);
    for layer in 0..LAYERS {
        let name = format!("{text}.layers.{layer}");
        list.decoder_layer(&name, TEXT, TEXT_MLP);
        let expert = format!("{EXPERT}.layers.{layer}");
        list.decoder_layer(&expert, WIDTH, MLP);
        let crossing = layer % 2 == 1;
        for part in ["k_proj", "v_proj"] {
            list.matrix(&format!("{name}.self_attn.{part}"), KEY, TEXT);
            let inputs = if crossing { KEY } else { WIDTH };
            let projection = format!("{expert}.self_attn.{part}.weight");
            list.put(projection, &[KEY, inputs], Values::Matrix, !crossing);
        }
    }
    for (name, outputs, inputs) in [
        ("state_proj", TEXT, PADDED),
        ("action_in_proj", WIDTH, PADDED),
        ("action_out_proj", PADDED, WIDTH),
        ("action_time_mlp_in", WIDTH, 2 * WIDTH),
        ("action_time_mlp_out", WIDTH, WIDTH),
    ] {
        list.put(format!("model.{name}.weight"), &[outputs, inputs], Values::Matrix, false);
        list.put(format!("model.{name}.bias"), &[outputs], Values::Small, false);
    }
    list.0
}

/// Writes the folder.
pub(crate) fn write(dir: &Path, cameras: usize, seed: u64) -> Result<()> {
    file::write(&dir.join("model.safetensors"), tensors(), seed)?;
    let config = json!({
        "type": "smolvla", "n_obs_steps": 1,
        "input_features": processors::input_features(cameras), "output_features": processors::output_features(),
        "normalization_mapping": {"VISUAL": "IDENTITY", "STATE": "MEAN_STD", "ACTION": "MEAN_STD"},
        "chunk_size": 50, "n_action_steps": 50, "max_state_dim": PADDED, "max_action_dim": PADDED,
        "resize_imgs_with_padding": [512, 512], "empty_cameras": 0,
        "adapt_to_pi_aloha": false, "use_delta_joint_actions_aloha": false,
        "tokenizer_max_length": 48, "num_steps": 10, "use_cache": true,
        "vlm_model_name": "HuggingFaceTB/SmolVLM2-500M-Video-Instruct", "load_vlm_weights": true,
        "add_image_special_tokens": false, "attention_mode": "cross_attn", "prefix_length": 0,
        "pad_language_to": "max_length", "num_expert_layers": 0, "num_vlm_layers": LAYERS,
        "self_attn_every_n_layers": 2, "expert_width_multiplier": 0.75, "min_period": 0.004, "max_period": 4.0,
        "rtc_config": null, "device": "cpu",
    });
    json_file(&dir.join("config.json"), &config)?;
    let tokenise = json!({
        "max_length": 48, "task_key": "task", "padding_side": "right", "padding": "max_length",
        "truncation": true, "tokenizer_name": "HuggingFaceTB/SmolVLM2-500M-Video-Instruct",
    });
    let first = [
        step("rename_observations_processor", &json!({"rename_map": {}})),
        step("to_batch_processor", &json!({})),
        step("smolvla_new_line_processor", &json!({})),
        step("tokenizer_processor", &tokenise),
        device(),
    ];
    processors::write(dir, cameras, seed, &first, "IDENTITY")?;
    json_file(&dir.join("tokenizer.json"), &tokenizer())
}

/// Byte-level pair encoding with the bytes and some pairs of common English.
fn tokenizer() -> Value {
    let mut vocabulary = Map::new();
    // The usual letters for bytes that have none of their own begin at 256.
    let mut strange = 256_u32;
    for byte in 0..=255_u32 {
        let own = matches!(byte, 0x21..=0x7e | 0xa1..=0xac | 0xae..=0xff);
        let code = if own { byte } else { strange };
        strange += u32::from(!own);
        let letter = char::from_u32(code).unwrap_or('?').to_string();
        let number = vocabulary.len();
        vocabulary.insert(letter, json!(number));
    }
    let pairs = [
        ("t", "h"),
        ("th", "e"),
        ("i", "n"),
        ("e", "r"),
        ("a", "n"),
        ("c", "k"),
        ("u", "p"),
        ("e", "d"),
        ("\u{120}", "the"),
        ("\u{120}", "up"),
        ("r", "ed"),
        ("\u{120}", "red"),
        ("i", "ck"),
        ("p", "ick"),
        ("c", "u"),
        ("b", "e"),
        ("cu", "be"),
        ("\u{120}", "cube"),
    ];
    for (left, right) in pairs {
        let number = vocabulary.len();
        vocabulary.insert(format!("{left}{right}"), json!(number));
    }
    let byte_level =
        json!({"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true});
    json!({
        "version": "1.0", "truncation": null, "padding": null, "added_tokens": [], "normalizer": null,
        "pre_tokenizer": byte_level, "post_processor": null, "decoder": byte_level,
        "model": {
            "type": "BPE", "dropout": null, "unk_token": null, "continuing_subword_prefix": null,
            "end_of_word_suffix": null, "fuse_unk": false, "byte_fallback": false, "ignore_merges": false,
            "vocab": vocabulary, "merges": pairs.map(|(left, right)| [left, right]),
        },
    })
}
