//! What is said of a checkpoint without running it.

use std::collections::BTreeMap;
use std::fs;

use reflexarc_vla_model::checkpoint::card::Card;
use reflexarc_vla_model::compute::Precision;
use serde_json::json;

use super::common::{Folder, fixture};

/// Writes a model of that size without its data: the file is as long as they would be, and empty.
fn sparse(folder: &Folder, tensors: &BTreeMap<String, (&str, Vec<usize>)>) {
    let mut end = 0;
    let header: serde_json::Map<_, _> = tensors
        .iter()
        .map(|(name, (dtype, shape))| {
            let start = end;
            end += shape.iter().product::<usize>() * if *dtype == "F32" { 4 } else { 2 };
            (name.clone(), json!({ "dtype": dtype, "shape": shape, "data_offsets": [start, end] }))
        })
        .collect();
    let head = super::common::with_header(&serde_json::Value::Object(header).to_string(), &[]);
    let path = folder.path("model.safetensors");
    fs::write(&path, &head).unwrap();
    fs::OpenOptions::new().write(true).open(path).unwrap().set_len((head.len() + end) as u64).unwrap();
}

/// Every tensor of the published SmolVLA base model.
fn smolvla() -> BTreeMap<String, (&'static str, Vec<usize>)> {
    let mut all = BTreeMap::new();
    let mut add = |name: String, dtype, shape: &[usize]| drop(all.insert(name, (dtype, shape.to_vec())));
    let vlm = "model.vlm_with_expert.vlm.";
    let vision = format!("{vlm}model.vision_model.");
    add(format!("{vision}embeddings.patch_embedding.weight"), "BF16", &[768, 3, 16, 16]);
    add(format!("{vision}embeddings.patch_embedding.bias"), "BF16", &[768]);
    add(format!("{vision}embeddings.position_embedding.weight"), "BF16", &[1024, 768]);
    for end in ["weight", "bias"] {
        add(format!("{vision}post_layernorm.{end}"), "BF16", &[768]);
    }
    for layer in 0..12 {
        let layer = format!("{vision}encoder.layers.{layer}.");
        for (name, outputs, inputs) in [
            ("self_attn.q_proj", 768, 768),
            ("self_attn.k_proj", 768, 768),
            ("self_attn.v_proj", 768, 768),
            ("self_attn.out_proj", 768, 768),
            ("mlp.fc1", 3072, 768),
            ("mlp.fc2", 768, 3072),
        ] {
            add(format!("{layer}{name}.weight"), "BF16", &[outputs, inputs]);
            add(format!("{layer}{name}.bias"), "BF16", &[outputs]);
        }
        for norm in ["layer_norm1", "layer_norm2"] {
            add(format!("{layer}{norm}.weight"), "BF16", &[768]);
            add(format!("{layer}{norm}.bias"), "BF16", &[768]);
        }
    }
    add(format!("{vlm}model.connector.modality_projection.proj.weight"), "BF16", &[960, 12288]);
    add(format!("{vlm}model.text_model.embed_tokens.weight"), "BF16", &[49280, 960]);
    add(format!("{vlm}model.text_model.norm.weight"), "BF16", &[960]);
    add(format!("{vlm}lm_head.weight"), "BF16", &[49280, 960]);
    let expert = "model.vlm_with_expert.lm_expert.";
    add(format!("{expert}norm.weight"), "BF16", &[720]);
    for layer in 0..16 {
        for (tower, width, mlp) in
            [(format!("{vlm}model.text_model."), 960, 2560), (expert.to_owned(), 720, 2048)]
        {
            let cross = width == 720 && layer % 2 == 1;
            let (keys, dtype) = if cross { (320, "F32") } else { (width, "BF16") };
            let layer = format!("{tower}layers.{layer}.");
            for (name, dtype, outputs, inputs) in [
                ("self_attn.q_proj", "BF16", 960, width),
                ("self_attn.k_proj", dtype, 320, keys),
                ("self_attn.v_proj", dtype, 320, keys),
                ("self_attn.o_proj", "BF16", width, 960),
                ("mlp.gate_proj", "BF16", mlp, width),
                ("mlp.up_proj", "BF16", mlp, width),
                ("mlp.down_proj", "BF16", width, mlp),
            ] {
                add(format!("{layer}{name}.weight"), dtype, &[outputs, inputs]);
            }
            for norm in ["input_layernorm", "post_attention_layernorm"] {
                add(format!("{layer}{norm}.weight"), "BF16", &[width]);
            }
        }
    }
    for (name, outputs, inputs) in [
        ("state_proj", 960, 32),
        ("action_in_proj", 720, 32),
        ("action_time_mlp_in", 720, 1440),
        ("action_time_mlp_out", 720, 720),
        ("action_out_proj", 32, 720),
    ] {
        add(format!("model.{name}.weight"), "F32", &[outputs, inputs]);
        add(format!("model.{name}.bias"), "F32", &[outputs]);
    }
    all
}

/// Every tensor of an ACT policy of LeRobot's default size for six joints that inference uses.
fn act() -> BTreeMap<String, (&'static str, Vec<usize>)> {
    let mut all = BTreeMap::new();
    let mut add =
        |name: String, shape: &[usize]| drop(all.insert(format!("model.{name}"), ("F32", shape.to_vec())));
    let mut convolution = |name: &str, norm: &str, shape: [usize; 4]| {
        add(format!("backbone.{name}.weight"), &shape);
        for part in ["weight", "bias", "running_mean", "running_var"] {
            add(format!("backbone.{norm}.{part}"), &[shape[0]]);
        }
    };
    convolution("conv1", "bn1", [64, 3, 7, 7]);
    for (stage, width) in [(1, 64), (2, 128), (3, 256), (4, 512)] {
        let before = if stage == 1 { 64 } else { width / 2 };
        for block in 0..2 {
            let inputs = if block == 0 { before } else { width };
            let at = |part: &str| format!("layer{stage}.{block}.{part}");
            convolution(&at("conv1"), &at("bn1"), [width, inputs, 3, 3]);
            convolution(&at("conv2"), &at("bn2"), [width, width, 3, 3]);
            if block == 0 && stage > 1 {
                convolution(&at("downsample.0"), &at("downsample.1"), [width, inputs, 1, 1]);
            }
        }
    }
    let mut linear = |name: &str, outputs: usize, inputs: &[usize]| {
        add(format!("{name}.weight"), &[&[outputs], inputs].concat());
        add(format!("{name}.bias"), &[outputs]);
    };
    linear("encoder_latent_input_proj", 512, &[32]);
    linear("encoder_robot_state_input_proj", 512, &[6]);
    linear("encoder_img_feat_input_proj", 512, &[512, 1, 1]);
    linear("action_head", 6, &[512]);
    linear("decoder.norm", 512, &[]);
    let layers: Vec<(String, &[&str], usize)> = (0..4)
        .map(|layer| (format!("encoder.layers.{layer}"), &["self_attn"][..], 2))
        .chain([("decoder.layers.0".to_owned(), &["self_attn", "multihead_attn"][..], 3)])
        .collect();
    for (layer, attentions, norms) in &layers {
        linear(&format!("{layer}.linear1"), 3200, &[512]);
        linear(&format!("{layer}.linear2"), 512, &[3200]);
        for norm in 1..=*norms {
            linear(&format!("{layer}.norm{norm}"), 512, &[]);
        }
        for attention in *attentions {
            linear(&format!("{layer}.{attention}.out_proj"), 512, &[512]);
        }
    }
    for (layer, attentions, _) in &layers {
        for attention in *attentions {
            add(format!("{layer}.{attention}.in_proj_weight"), &[1536, 512]);
            add(format!("{layer}.{attention}.in_proj_bias"), &[1536]);
        }
    }
    add("encoder_1d_feature_pos_embed.weight".to_owned(), &[2, 512]);
    add("decoder_pos_embed.weight".to_owned(), &[100, 512]);
    all
}

/// A folder with the fixture's form and the full size.
fn full(fixture: &str, cameras: usize, fields: &[(&str, serde_json::Value)]) -> Folder {
    let folder = Folder::of(fixture);
    let features: serde_json::Map<_, _> = (1..=cameras)
        .map(|camera| format!("observation.images.camera{camera}"))
        .map(|key| (key, json!({ "type": "VISUAL", "shape": [3, 480, 640] })))
        .chain([("observation.state".to_owned(), json!({ "type": "STATE", "shape": [6] }))])
        .collect();
    folder.edit("config.json", |config| {
        config["input_features"] = features.into();
        for (field, value) in fields {
            config[*field] = value.clone();
        }
    });
    folder
}

fn giga(flops: u64) -> f64 {
    flops as f64 / 1e9
}

fn near(actual: f64, expected: f64) -> bool {
    (actual / expected - 1.0).abs() < 0.01
}

#[test]
fn the_arithmetic_of_the_published_smolvla() {
    // Counted by torch.utils.flop_counter while LeRobot 0.6.1 ran the full-size network.
    for (cameras, vision, prefix, step, total) in
        [(1, 215.3, 36.3, 10.6, 357.8), (2, 430.6, 57.6, 11.0, 598.4), (3, 646.0, 79.4, 11.4, 839.6)]
    {
        let fields = [
            ("num_vlm_layers", json!(16)),
            ("max_state_dim", json!(32)),
            ("max_action_dim", json!(32)),
            ("resize_imgs_with_padding", json!([512, 512])),
            ("tokenizer_max_length", json!(48)),
            ("chunk_size", json!(50)),
        ];
        let folder = full("smolvla_tiny", cameras, &fields);
        fs::remove_file(folder.path("backbone.json")).unwrap();
        sparse(&folder, &smolvla());
        let card = Card::read(&folder.0).unwrap();
        let tensors: usize = card.modules.iter().map(|module| module.tensors).sum();
        let parameters: u64 = card.modules.iter().map(|module| module.parameters).sum();
        assert_eq!((tensors, parameters), (500, 450_046_176));
        assert_eq!(card.parameters_used(), 450_046_176 - 47_308_800 - 960);
        let counts: BTreeMap<_, _> =
            card.modules.iter().map(|module| (module.name, module.parameters)).collect();
        assert_eq!(counts["vision tower"], 86_433_024);
        assert_eq!(counts["connector"], 11_796_480);
        assert_eq!(counts["text layers"], 157_317_120);
        assert_eq!(counts["action expert"], 98_245_840);
        assert_eq!(counts["projections"], 1_635_152);
        assert_eq!(card.bytes_by_storage["F32"], 4 * 3_273_552);

        let stages: Vec<f64> = card.stages.iter().map(|stage| giga(stage.flops)).collect();
        assert!(near(stages[0] * cameras as f64, vision), "{stages:?}");
        assert!(near(stages[1], prefix), "{stages:?}");
        assert!(near(stages[2], step), "{stages:?}");
        assert!(near(giga(card.flops), total), "{}", giga(card.flops));
        let need = |precision| card.needs.iter().find(|need| need.precision == precision).unwrap();
        // Vision, connector and text once, the expert ten times, each time with projections in f32:
        // 196 + 315 + 10 × (196 + 6.5) MB.
        assert!(near(need(Precision::Bf16).traffic_bytes as f64, 2.54e9), "{:?}", need(Precision::Bf16));
        assert!(need(Precision::Int8).memory_bytes < 700_000_000, "{:?}", need(Precision::Int8));
        assert!(need(Precision::Int4).memory_bytes < 500_000_000, "{:?}", need(Precision::Int4));
    }
}

#[test]
fn the_arithmetic_of_act() {
    for (cameras, backbone, total) in [(1, 22.2, 34.9), (2, 44.4, 70.3), (3, 66.6, 107.1)] {
        let fields = [
            ("chunk_size", json!(100)),
            ("n_action_steps", json!(100)),
            ("dim_model", json!(512)),
            ("n_heads", json!(8)),
            ("dim_feedforward", json!(3200)),
            ("n_encoder_layers", json!(4)),
            ("latent_dim", json!(32)),
        ];
        let folder = full("act_tiny", cameras, &fields);
        sparse(&folder, &act());
        let card = Card::read(&folder.0).unwrap();
        // With the frozen norms' four numbers for each of 4800 channels, which PyTorch does not count.
        assert_eq!(card.parameters_used(), 34_223_942 + 4 * 4800);
        assert!(near(giga(card.stages[0].flops) * cameras as f64, backbone), "{:?}", card.stages);
        assert!(near(giga(card.flops), total), "{}", giga(card.flops));
    }
}

#[test]
fn problems_are_listed_and_the_rest_is_told() {
    let card = Card::read(&fixture("act_tiny")).unwrap();
    assert!(card.problems.is_empty(), "{:?}", card.problems);
    assert_eq!(
        (card.kind, card.tokenizer.as_str(), card.statistics.as_str()),
        ("act", "none needed", "complete")
    );
    let text = card.to_string();
    for part in ["kind         act", "camera1: 96 × 64 pixels", "variational encoder (unused)", "encoder"] {
        assert!(text.contains(part), "`{part}` is not in:\n{text}");
    }
    let folder = Folder::of("smolvla_tiny");
    fs::remove_file(folder.path("policy_postprocessor.json")).unwrap();
    let card = Card::read(&folder.0).unwrap();
    assert_eq!(card.problems.len(), 2, "{:?}", card.problems);
    assert!(card.problems[0].contains("policy_postprocessor.json is missing"));
    assert!(card.problems[1].contains("tokenizer.json is missing"));
    assert!(card.flops > 0 && card.to_string().contains("problems     "));
    let json = serde_json::to_value(&card).unwrap();
    assert_eq!(json["modules"].as_array().unwrap().len(), card.modules.len());
}
