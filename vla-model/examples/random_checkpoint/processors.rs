//! The files around the weights: features, processors, statistics.

use std::path::Path;

use reflexarc_vla_model::smolvla::noise;
use serde_json::{Value, json};

use crate::file::write_vectors;
use crate::{DOF, IMAGE, Result};

/// The input features of `config.json`, cameras before the state.
pub(crate) fn input_features(cameras: usize) -> Value {
    let mut features = serde_json::Map::new();
    for camera in 1..=cameras {
        let feature = json!({"type": "VISUAL", "shape": [3, IMAGE[0], IMAGE[1]]});
        features.insert(format!("observation.images.camera{camera}"), feature);
    }
    features.insert("observation.state".into(), json!({"type": "STATE", "shape": [DOF]}));
    Value::Object(features)
}

/// The output features of `config.json`.
pub(crate) fn output_features() -> Value {
    json!({"action": {"type": "ACTION", "shape": [DOF]}})
}

/// Writes both processors and their statistics. `first` are the steps before normalisation, `visual` how
/// images are normalised.
pub(crate) fn write(dir: &Path, cameras: usize, seed: u64, first: &[Value], visual: &str) -> Result<()> {
    let map = json!({"VISUAL": visual, "STATE": "MEAN_STD", "ACTION": "MEAN_STD"});
    let before = format!("policy_preprocessor_step_{}_normalizer_processor.safetensors", first.len());
    let after = "policy_postprocessor_step_0_unnormalizer_processor.safetensors";
    let mut features = input_features(cameras);
    features["action"] = output_features()["action"].clone();
    let normalise = json!({
        "registry_name": "normalizer_processor",
        "config": {"eps": 1e-8, "features": features, "norm_map": map},
        "state_file": before,
    });
    let restore = json!({
        "registry_name": "unnormalizer_processor",
        "config": {"eps": 1e-8, "features": output_features(), "norm_map": map},
        "state_file": after,
    });
    let steps: Vec<&Value> = first.iter().chain([&normalise]).collect();
    json_file(
        &dir.join("policy_preprocessor.json"),
        &json!({"name": "policy_preprocessor", "steps": steps}),
    )?;
    let device = device();
    let post = json!({"name": "policy_postprocessor", "steps": [restore, device]});
    json_file(&dir.join("policy_postprocessor.json"), &post)?;

    let mut vectors = Vec::new();
    for (stream, feature) in ["observation.state", "action"].into_iter().enumerate() {
        let mean = noise(seed, u64::MAX - stream as u64, DOF);
        let std = (0..DOF).map(|joint| 0.5 + 0.1 * joint as f32).collect();
        vectors.push((format!("{feature}.mean"), vec![DOF], mean));
        vectors.push((format!("{feature}.std"), vec![DOF], std));
    }
    for camera in (1..=cameras).filter(|_| visual == "MEAN_STD") {
        // Those of ImageNet.
        let key = format!("observation.images.camera{camera}");
        vectors.push((format!("{key}.mean"), vec![3, 1, 1], vec![0.485, 0.456, 0.406]));
        vectors.push((format!("{key}.std"), vec![3, 1, 1], vec![0.229, 0.224, 0.225]));
    }
    write_vectors(&dir.join(before), &vectors)?;
    write_vectors(&dir.join(after), &vectors)
}

/// A step without effect.
pub(crate) fn step(name: &str, config: &Value) -> Value {
    json!({"registry_name": name, "config": config})
}

/// The step that moves tensors in LeRobot.
pub(crate) fn device() -> Value {
    step("device_processor", &json!({"device": "cpu", "float_dtype": null}))
}

/// Writes a JSON file.
pub(crate) fn json_file(path: &Path, value: &Value) -> Result<()> {
    Ok(std::fs::write(path, serde_json::to_string_pretty(value)? + "\n")?)
}
