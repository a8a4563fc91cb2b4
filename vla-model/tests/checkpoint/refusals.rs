//! What is refused, and how that is said.

use std::fs;

use reflexarc_vla_model::checkpoint::Checkpoint;
use serde_json::{Value, json};

use super::common::{Folder, Raw};

const BEFORE: &str = "policy_preprocessor.json";
const AFTER: &str = "policy_postprocessor.json";
const SMOLVLA_STATE: &str = "policy_preprocessor_step_5_normalizer_processor.safetensors";
const SMOLVLA_ACTION: &str = "policy_postprocessor_step_0_unnormalizer_processor.safetensors";

fn refusal(folder: &Folder) -> String {
    Checkpoint::open(&folder.0).expect_err("a refusal").to_string()
}

/// Opens a fixture with one edit and expects all parts of the message.
fn refused(fixture: &str, file: &str, edit: impl FnOnce(&mut Value), message: &[&str]) {
    let folder = Folder::of(fixture);
    folder.edit(file, edit);
    let error = refusal(&folder);
    for part in message {
        assert!(error.contains(part), "`{part}` is not in: {error}");
    }
}

#[test]
fn options_that_are_not_carried_out() {
    let smolvla: [(&str, Value, &str); 22] = [
        ("adapt_to_pi_aloha", json!(true), "`adapt_to_pi_aloha` is true, expected false"),
        ("use_delta_joint_actions_aloha", json!(true), "is true, expected false"),
        ("add_image_special_tokens", json!(true), "`add_image_special_tokens` is true, expected false"),
        ("attention_mode", json!("self_attn"), "`attention_mode` is \"self_attn\", expected \"cross_attn\""),
        ("n_obs_steps", json!(2), "`n_obs_steps` is 2, expected 1"),
        ("use_peft", json!(true), "merge the adapter"),
        ("type", json!("pi0"), "`type` is \"pi0\", expected \"smolvla\" or \"act\""),
        ("type", json!(null), "`type` is absent"),
        ("chunk_size", json!(0), "`chunk_size` is 0, expected 1..="),
        ("n_action_steps", json!(11), "`n_action_steps` is 11, expected 1..=10"),
        ("num_steps", json!(0), "`num_steps` is 0"),
        ("self_attn_every_n_layers", json!(-1), "`self_attn_every_n_layers` is 0, expected 1..="),
        ("max_state_dim", json!(5), "`input_features.observation.state` is 6, expected 1..=5"),
        ("max_action_dim", json!(9), "the inputs of action_in_proj is 8, expected 9"),
        ("num_vlm_layers", json!(3), "the number of text layers is 4, expected 3"),
        ("num_expert_layers", json!(2), "the number of expert layers is 4, expected 2"),
        (
            "expert_width_multiplier",
            json!(0.5),
            "expert's width (hidden size × expert_width_multiplier) is 36, expected 24",
        ),
        (
            "resize_imgs_with_padding",
            json!([64, 32]),
            "is [64, 32], expected [64, 64], the size of the vision tower",
        ),
        ("min_period", json!(0.0), "expected 0 < min_period <= max_period"),
        ("rtc_config", json!({ "max_guidance_weight": -1.0 }), "`rtc_config.max_guidance_weight` is -1"),
        ("num_steps", json!("ten"), "invalid type: string \"ten\""),
        ("rtc_config", json!({ "prefix_attention_schedule": "SQUARE" }), "unknown variant `SQUARE`"),
    ];
    for (field, value, message) in smolvla {
        refused("smolvla_tiny", "config.json", |json| json[field] = value, &[message]);
    }
    let act: [(&str, Value, &str); 13] = [
        ("pre_norm", json!(true), "`pre_norm` is true, expected false"),
        ("vision_backbone", json!("resnet50"), "`vision_backbone` is \"resnet50\", expected \"resnet18\""),
        ("replace_final_stride_with_dilation", json!(true), "`replace_final_stride_with_dilation` is true"),
        ("replace_final_stride_with_dilation", json!(1), "`replace_final_stride_with_dilation` is 1"),
        ("feedforward_activation", json!("gelu"), "is \"gelu\", expected \"relu\""),
        ("n_heads", json!(5), "a multiple of 4 and of n_heads = 5"),
        ("dim_model", json!(64), "expected [12, 64]"),
        ("n_encoder_layers", json!(3), "`model.encoder.layers.2.linear1.weight`"),
        (
            "latent_dim",
            json!(9),
            "`model.encoder_latent_input_proj.weight` has shape [32, 8], expected [32, 9]",
        ),
        ("temporal_ensemble_coeff", json!(0.01), "(with temporal_ensemble_coeff)` is 12, expected 1"),
        ("chunk_size", json!(13), "`model.decoder_pos_embed.weight` has shape [12, 32], expected [13, 32]"),
        (
            "dim_feedforward",
            json!(50),
            "`model.encoder.layers.0.linear1.weight` has shape [48, 32], expected [50, 32]",
        ),
        ("n_decoder_layers", json!(1_u64 << 40), "`n_decoder_layers` is 1099511627776, expected 1..=64"),
    ];
    for (field, value, message) in act {
        refused("act_tiny", "config.json", |json| json[field] = value, &[message]);
    }
}

#[test]
fn features_that_are_not_known() {
    let features: [(&str, Value, &str); 5] = [
        (
            "observation.images.camera1",
            json!({ "type": "VISUAL", "shape": [4, 48, 60] }),
            "VISUAL of shape [4, 48, 60]",
        ),
        (
            "observation.images.camera1",
            json!({ "type": "VISUAL", "shape": [3, 0, 60] }),
            "VISUAL of shape [3, 0, 60]",
        ),
        ("observation.state", json!({ "type": "STATE", "shape": [2, 3] }), "STATE of shape [2, 3]"),
        ("observation.effort", json!({ "type": "STATE", "shape": [6] }), "input_features.observation.effort"),
        ("observation.sound", json!({ "type": "AUDIO", "shape": [6] }), "AUDIO of shape [6]"),
    ];
    for (key, feature, message) in features {
        refused("smolvla_tiny", "config.json", |json| json["input_features"][key] = feature, &[message]);
    }
    refused(
        "act_tiny",
        "config.json",
        |json| json["output_features"]["gripper"] = json!({ "type": "ACTION", "shape": [1] }),
        &[
            "`output_features` is action: ACTION [6], gripper: ACTION [1], expected `action` of shape [count] alone",
        ],
    );
    refused("act_tiny", "config.json", |json| json["input_features"] = json!({}), &["at least one camera"]);
}

#[test]
fn normalisation_modes_that_are_not_known() {
    for mode in ["MIN_MAX", "QUANTILES", "QUANTILE10", "mean_std"] {
        refused(
            "act_tiny",
            "config.json",
            |json| json["normalization_mapping"]["STATE"] = mode.into(),
            &["`normalization_mapping.STATE`", mode, "expected MEAN_STD or IDENTITY"],
        );
    }
    refused(
        "smolvla_tiny",
        "config.json",
        |json| json["normalization_mapping"]["VISUAL"] = "MEAN_STD".into(),
        &["`normalization_mapping.VISUAL` is MeanStd, expected Identity"],
    );
}

#[test]
fn statistics_under_other_names_are_missing() {
    // As the published SmolVLA base model has them.
    let folder = Folder::of("smolvla_tiny");
    for file in [SMOLVLA_STATE, SMOLVLA_ACTION] {
        folder.edit_tensors(file, |tensors| {
            *tensors = std::mem::take(tensors)
                .into_iter()
                .map(|(name, raw)| (format!("so100.buffer.{}", name.trim_start_matches("observation.")), raw))
                .collect();
        });
    }
    let error = refusal(&folder);
    for part in [
        "config.json wants `observation.state` normalised by MEAN_STD",
        SMOLVLA_STATE,
        "expected `observation.state.mean`, `observation.state.std`",
        "found `so100.buffer.action.mean`, `so100.buffer.action.std`, `so100.buffer.state.mean`",
        "LeRobot issue 1763",
    ] {
        assert!(error.contains(part), "`{part}` is not in: {error}");
    }
}

#[test]
fn statistics_that_cannot_be_right() {
    let edits: [(&str, Raw, &str); 6] = [
        (
            "observation.state.mean",
            Raw::f32(&[5], &[0.0; 5]),
            "`observation.state.mean` has shape [5], expected [6]",
        ),
        (
            "observation.state.std",
            Raw::f32(&[6], &[1.0, 1.0, 0.0, 1.0, 1.0, 1.0]),
            "standard deviation of value 2 is 0, expected a positive number",
        ),
        (
            "observation.state.std",
            Raw::f32(&[6], &[1.0, 1.0, 1.0, 1.0, 1.0, -0.5]),
            "standard deviation of value 5 is -0.5",
        ),
        (
            "observation.state.mean",
            Raw::f32(&[6], &[0.0, f32::NAN, 0.0, 0.0, 0.0, 0.0]),
            "`observation.state.mean` has the value NaN at index 1",
        ),
        (
            "observation.state.std",
            Raw::f32(&[6], &[f32::INFINITY; 6]),
            "has the value inf at index 0, expected finite values",
        ),
        ("action.mean", Raw::f32(&[6], &[9.0; 6]), "disagree"),
    ];
    for (name, raw, message) in edits {
        let folder = Folder::of("smolvla_tiny");
        folder.edit_tensors(SMOLVLA_STATE, |tensors| {
            tensors.insert(name.to_owned(), raw);
        });
        let error = refusal(&folder);
        assert!(error.contains(message), "{error}");
    }
}

#[test]
fn processors_that_are_not_known() {
    let normaliser = |json: &mut Value, key: &str, value: Value| json["steps"][5]["config"][key] = value;
    refused(
        "smolvla_tiny",
        BEFORE,
        |json| json["steps"][1]["registry_name"] = "image_crop_resize_processor".into(),
        &[
            "`steps[1].registry_name` is `image_crop_resize_processor`, expected one of [\"rename_observations_processor\"",
        ],
    );
    refused(
        "smolvla_tiny",
        BEFORE,
        |json| json["steps"][1] = json!({ "class": "my.module.Step" }),
        &["`my.module.Step`"],
    );
    refused(
        "smolvla_tiny",
        BEFORE,
        |json| json["steps"].as_array_mut().unwrap().swap(4, 5),
        &["in the order"],
    );
    refused(
        "smolvla_tiny",
        BEFORE,
        |json| json["steps"][3]["config"]["padding_side"] = "left".into(),
        &["`tokenizer_processor.padding_side` is \"left\", expected \"right\""],
    );
    refused(
        "smolvla_tiny",
        BEFORE,
        |json| json["steps"][3]["config"]["max_length"] = 48.into(),
        &["is 48, expected 12"],
    );
    refused(
        "smolvla_tiny",
        BEFORE,
        |json| drop(json["steps"].as_array_mut().unwrap().remove(3)),
        &["tokenizer_processor", "is none, expected one"],
    );
    refused(
        "smolvla_tiny",
        BEFORE,
        |json| json["steps"][4]["config"]["float_dtype"] = "float16".into(),
        &["`device_processor.float_dtype` is \"float16\""],
    );
    refused(
        "smolvla_tiny",
        BEFORE,
        |json| normaliser(json, "eps", json!(-1.0)),
        &["normalizer_processor.eps"],
    );
    refused(
        "smolvla_tiny",
        BEFORE,
        |json| normaliser(json, "norm_map", json!({ "ACTION": "MEAN_STD" })),
        &[
            "`normalizer_processor.norm_map.STATE` is IDENTITY, expected MEAN_STD, as normalization_mapping of config.json",
        ],
    );
    refused(
        "smolvla_tiny",
        BEFORE,
        |json| normaliser(json, "features", json!({})),
        &["`observation.state` among them"],
    );
    refused(
        "smolvla_tiny",
        BEFORE,
        |json| normaliser(json, "normalize_observation_keys", json!(["observation.other"])),
        &["normalize_observation_keys", "`observation.state` among them"],
    );
    refused(
        "smolvla_tiny",
        BEFORE,
        |json| drop(json["steps"][5].as_object_mut().unwrap().remove("state_file")),
        &["`normalizer_processor.state_file` is absent"],
    );
    refused(
        "smolvla_tiny",
        AFTER,
        |json| json["steps"] = json!([]),
        &["expected a step `unnormalizer_processor`"],
    );
    refused(
        "smolvla_tiny",
        BEFORE,
        |json| {
            json["steps"][0]["config"]["rename_map"] =
                json!({ "a": "observation.images.camera1", "b": "observation.images.camera1" });
        },
        &["`a` and `b`"],
    );
}

#[test]
fn files_outside_the_folder_are_not_touched() {
    for file in [
        "../other.safetensors",
        "/etc/passwd",
        "/etc/statistics.safetensors",
        "sub/statistics.safetensors",
        "..\\statistics.safetensors",
        "..",
        "",
        "statistics.pt",
    ] {
        refused(
            "smolvla_tiny",
            BEFORE,
            |json| json["steps"][5]["state_file"] = file.into(),
            &[
                "normalizer_processor.state_file",
                "expected the name of a .safetensors file in the checkpoint's folder",
            ],
        );
    }
}

#[test]
fn files_that_are_missing() {
    let without = |file: &str| {
        let folder = Folder::of("smolvla_tiny");
        fs::remove_file(folder.path(file)).unwrap();
        refusal(&folder)
    };
    for (file, message) in [
        ("config.json", "expected the folder of a LeRobot checkpoint"),
        ("model.safetensors", "expected the policy's weights"),
        (BEFORE, "policy_preprocessor.json is missing: a checkpoint has a preprocessor and a postprocessor"),
        (AFTER, "policy_postprocessor.json is missing"),
        (SMOLVLA_STATE, "policy_preprocessor.json names it as the statistics"),
    ] {
        let error = without(file);
        assert!(error.contains(message), "{error}");
    }
    let folder = Folder::of("smolvla_tiny");
    for file in [BEFORE, AFTER] {
        fs::remove_file(folder.path(file)).unwrap();
    }
    assert!(refusal(&folder).contains("none of the buffers that older checkpoints keep there"));
    let nowhere = Checkpoint::open(&folder.path("nowhere")).unwrap_err().to_string();
    assert!(nowhere.contains("cannot access"), "{nowhere}");
}

#[test]
fn pickles_are_never_read() {
    for pickle in ["pytorch_model.bin", "model.pt", "policy.pkl"] {
        let folder = Folder::of("act_tiny");
        fs::rename(folder.path("model.safetensors"), folder.path(pickle)).unwrap();
        let error = refusal(&folder);
        assert!(error.contains(&format!("there is only `{pickle}`, a pickle")), "{error}");
        assert!(error.contains("save_pretrained"), "{error}");
    }
    let folder = Folder::of("act_tiny");
    fs::rename(folder.path("model.safetensors"), folder.path("model.safetensors.index.json")).unwrap();
    assert!(refusal(&folder).contains("split over several files"));
}

#[test]
fn json_that_is_none() {
    for (text, message) in [
        ("", "EOF"),
        ("[1, 2]", "invalid"),
        ("{\"type\": \"act\", \"type\": \"smolvla\"}", "duplicate field"),
        (
            "{\"type\": \"act\", \"input_features\": {\"a\": {\"type\": \"VISUAL\", \"shape\": []}, \"a\": {\"type\": \"STATE\", \"shape\": []}}, \"output_features\": {}}",
            "`a` comes twice",
        ),
        ("{\"type\": \"act\"}", "missing field `input_features`"),
    ] {
        let folder = Folder::of("act_tiny");
        fs::write(folder.path("config.json"), text).unwrap();
        let error = refusal(&folder);
        assert!(error.contains(message), "{error}");
    }
    let folder = Folder::of("act_tiny");
    fs::write(folder.path("config.json"), vec![b' '; 2 << 20]).unwrap();
    assert!(refusal(&folder).contains("holds 2097152 bytes, expected at most 1048576"));
    fs::write(folder.path("config.json"), "[".repeat(100_000)).unwrap();
    refusal(&folder);
}

#[test]
fn tensors_that_are_missing_or_of_another_size() {
    let folder = Folder::of("smolvla_tiny");
    folder.edit_tensors("model.safetensors", |tensors| {
        tensors.remove("model.state_proj.weight");
    });
    assert_eq!(refusal(&folder), "there is no tensor `model.state_proj.weight`");
    let folder = Folder::of("smolvla_tiny");
    folder.edit_tensors("model.safetensors", |tensors| {
        let name = "model.vlm_with_expert.vlm.model.vision_model.embeddings.position_embedding.weight";
        tensors.insert(name.to_owned(), Raw::f32(&[63, 32], &[0.0; 63 * 32]));
    });
    assert!(refusal(&folder).contains("the number of patches is 63, expected a square"));
    for (heads, message) in [
        (
            json!({ "vit_heads": 5, "heads": 6, "kv_heads": 2, "head_dim": 8 }),
            "vision heads is 5, expected a divisor of 32",
        ),
        (
            json!({ "vit_heads": 4, "heads": 6, "kv_heads": 2, "head_dim": 7 }),
            "head_dim is 7, expected a positive even number",
        ),
        (
            json!({ "vit_heads": 4, "heads": 6, "kv_heads": 0, "head_dim": 8 }),
            "key heads × head_dim is 0, expected 16",
        ),
        (json!({ "vit_heads": 4, "heads": usize::MAX, "kv_heads": 2, "head_dim": 8 }), "too large"),
    ] {
        let folder = Folder::of("smolvla_tiny");
        fs::write(folder.path("backbone.json"), heads.to_string()).unwrap();
        let error = refusal(&folder);
        assert!(error.contains(message), "{error}");
    }
}
