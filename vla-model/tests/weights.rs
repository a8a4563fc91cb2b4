//! Weights files: what goes in comes out, and every kind of broken file has its own clear error.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests fail by panicking")]

use std::collections::HashMap;

use burn::tensor::Device;
use reflexarc_vla_model::goal::config::GoalModelConfig;
use reflexarc_vla_model::goal::model::{GoalModel, HostInputs};
use reflexarc_vla_model::instruction::{INSTRUCTION_VOCABULARY_SIZE, MAX_WORDS};
use reflexarc_vla_model::weights::{
    Quantisation, WeightsError, from_bytes, inspect, load, quantise, save, to_bytes,
};
use safetensors::tensor::{TensorView, serialize};
use safetensors::{Dtype, SafeTensors};

/// As small as the form allows, so that the suite stays quick.
fn small() -> GoalModelConfig {
    GoalModelConfig {
        scene_channels: 16,
        scene_blocks: 1,
        wrist_embed: 8,
        wrist_channels: 16,
        wrist_blocks: 1,
        queries: 2,
        width: 32,
        heads: 2,
        layers: 1,
        text_layers: 1,
        mlp_width: 64,
        ..GoalModelConfig::standard(INSTRUCTION_VOCABULARY_SIZE, MAX_WORDS)
    }
}

fn model(seed: u64) -> GoalModel {
    GoalModel::random(&small(), seed, &Device::flex()).unwrap()
}

fn file(quantisation: Quantisation) -> Vec<u8> {
    to_bytes(&model(3), quantisation, &serde_json::json!({"seed": 3})).unwrap()
}

fn logits(model: &GoalModel) -> Vec<f32> {
    let mut inputs = HostInputs::zeros(model.config(), 1);
    for (index, value) in inputs.scene.iter_mut().enumerate() {
        *value = ((index * 7) % 13) as f32 / 6.5 - 1.0;
    }
    let cache = model.encode(&[2, 5, 9]).unwrap();
    model.logits(&inputs, &cache).unwrap()
}

type Tensors = Vec<(String, Dtype, Vec<usize>, Vec<u8>)>;

/// The file taken apart, changed, and put together again.
fn doctored(bytes: &[u8], change: impl FnOnce(&mut serde_json::Value, &mut Tensors)) -> Vec<u8> {
    let (_, header) = SafeTensors::read_metadata(bytes).unwrap();
    let mut info = serde_json::from_str(&header.metadata().as_ref().unwrap()["reflexarc"]).unwrap();
    let parsed = SafeTensors::deserialize(bytes).unwrap();
    let mut tensors: Tensors = parsed
        .tensors()
        .into_iter()
        .map(|(name, view)| (name, view.dtype(), view.shape().to_vec(), view.data().to_vec()))
        .collect();
    tensors.sort_by(|a, b| a.0.cmp(&b.0));
    change(&mut info, &mut tensors);
    let views = tensors
        .iter()
        .map(|(name, dtype, shape, data)| (name, TensorView::new(*dtype, shape.clone(), data).unwrap()));
    serialize(views, Some(HashMap::from([("reflexarc".to_owned(), info.to_string())]))).unwrap()
}

fn refusal(bytes: &[u8]) -> WeightsError {
    from_bytes(bytes, &Device::flex()).expect_err("a broken file must be refused")
}

#[test]
fn f32_comes_back_bit_for_bit_and_int8_nearly() {
    let original = logits(&model(3));
    let exact = from_bytes(&file(Quantisation::F32), &Device::flex()).unwrap();
    assert_eq!(logits(&exact.model), original);
    assert_eq!(exact.info.provenance["seed"], 3);
    assert_eq!(exact.model_hash.len(), 64);
    let rounded = from_bytes(&file(Quantisation::Int8PerOutputChannel), &Device::flex()).unwrap();
    let worst = logits(&rounded.model).iter().zip(&original).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    assert!(worst < 0.1, "logits moved by {worst}");
    assert!(file(Quantisation::Int8PerOutputChannel).len() * 2 < file(Quantisation::F32).len());
}

#[test]
fn the_same_weights_give_the_same_bytes() {
    assert_eq!(file(Quantisation::Int8PerOutputChannel), file(Quantisation::Int8PerOutputChannel));
    assert_ne!(
        to_bytes(&model(4), Quantisation::F32, &serde_json::Value::Null).unwrap(),
        file(Quantisation::F32)
    );
}

#[test]
fn a_saved_file_loads_and_a_missing_one_says_its_name() {
    let folder = std::env::temp_dir().join(format!("reflexarc-weights-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let path = folder.join("model.safetensors");
    let hash = save(&path, &model(3), Quantisation::F32, &serde_json::Value::Null).unwrap();
    assert_eq!(load(&path, &Device::flex()).unwrap().model_hash, hash);
    let missing = load(&folder.join("none.safetensors"), &Device::flex()).unwrap_err();
    assert!(missing.to_string().contains("none.safetensors"), "{missing}");
    std::fs::remove_dir_all(&folder).unwrap();
}

#[test]
fn quantisation_errs_by_half_a_step_at_most() {
    let values = [0.5, -3.0, 0.0, 1.0, 0.1, 0.0, -0.25, 2.0, 0.0];
    let (quantised, scales) = quantise(&values, 3);
    assert_eq!(quantised[1], -127);
    assert_eq!((quantised[2], scales[2]), (0, 0.0));
    for (index, value) in values.iter().enumerate() {
        let back = f32::from(quantised[index]) * scales[index % 3];
        assert!((back - value).abs() <= scales[index % 3] * 0.5 + 1e-6);
    }
}

#[test]
fn truncation_at_any_length_is_an_error() {
    let bytes = file(Quantisation::Int8PerOutputChannel);
    for length in [0, 7, 8, 100, bytes.len() / 2, bytes.len() - 1] {
        let error = refusal(&bytes[..length]);
        assert!(matches!(error, WeightsError::Truncated { .. }), "{length}: {error}");
    }
    let mut longer = bytes;
    longer.push(0);
    assert!(matches!(refusal(&longer), WeightsError::Truncated { .. }));
}

#[test]
fn other_files_are_told_apart() {
    assert!(matches!(
        refusal(&[b'x'; 5000]),
        WeightsError::NotSafetensors { .. } | WeightsError::Truncated { .. }
    ));
    let mut garbled = file(Quantisation::F32);
    garbled[10] = b'!';
    assert!(matches!(refusal(&garbled), WeightsError::NotSafetensors { .. }));
    let stranger = serialize([("a", TensorView::new(Dtype::F32, vec![1], &[0; 4]).unwrap())], None).unwrap();
    let error = refusal(&stranger);
    assert!(matches!(error, WeightsError::NotAGoalModel { .. }), "{error}");
}

#[test]
fn another_version_format_or_vocabulary_is_refused() {
    let bytes = file(Quantisation::F32);
    let version = doctored(&bytes, |info, _| {
        info["version"] = 2.into();
        info["something_new"] = 1.into();
    });
    assert!(matches!(refusal(&version), WeightsError::Version { expected: 1, actual: 2 }));
    let format = doctored(&bytes, |info, _| info["format"] = "act".into());
    assert!(matches!(refusal(&format), WeightsError::NotAGoalModel { .. }));
    for (field, which) in [("token_vocabulary", "token"), ("instruction_vocabulary", "instruction")] {
        let other = doctored(&bytes, |info, _| info[field] = "0".repeat(64).into());
        let error = refusal(&other);
        assert!(
            matches!(&error, WeightsError::Vocabulary { which: found, .. } if *found == which),
            "{error}"
        );
    }
    let words = doctored(&bytes, |info, _| info["config"]["word_vocabulary"] = 7.into());
    assert!(matches!(refusal(&words), WeightsError::Vocabulary { .. }));
    assert!(inspect(&bytes).is_ok());
}

#[test]
fn sizes_that_cannot_be_run_or_do_not_fit_the_file_are_refused() {
    let bytes = file(Quantisation::F32);
    let heads = doctored(&bytes, |info, _| info["config"]["heads"] = 5.into());
    assert!(matches!(refusal(&heads), WeightsError::Config(_)));
    let slots = doctored(&bytes, |info, _| info["config"]["slots"] = 13.into());
    assert!(matches!(refusal(&slots), WeightsError::Config(_)));
    let huge = doctored(&bytes, |info, _| {
        info["config"]["width"] = 1024.into();
        info["config"]["layers"] = 24.into();
    });
    assert!(matches!(refusal(&huge), WeightsError::Truncated { .. }));
}

#[test]
fn missing_surplus_misshapen_and_mistyped_tensors_are_named() {
    let bytes = file(Quantisation::Int8PerOutputChannel);
    let missing = doctored(&bytes, |_, tensors| tensors.retain(|tensor| tensor.0 != "head.bias"));
    assert!(matches!(refusal(&missing), WeightsError::Missing { name } if name == "head.bias"));
    let surplus = doctored(&bytes, |_, tensors| tensors.push(("spare".into(), Dtype::U8, vec![1], vec![0])));
    assert!(matches!(refusal(&surplus), WeightsError::Extra { name, count: 1 } if name == "spare"));
    let misshapen = doctored(&bytes, |_, tensors| {
        let tensor = tensors.iter_mut().find(|tensor| tensor.0 == "head.weight.q").unwrap();
        tensor.2.reverse();
    });
    let error = refusal(&misshapen);
    assert!(matches!(&error, WeightsError::Shape { name, .. } if name == "head.weight.q"), "{error}");
    let mistyped = doctored(&bytes, |_, tensors| {
        let tensor = tensors.iter_mut().find(|tensor| tensor.0 == "head.weight.q").unwrap();
        tensor.1 = Dtype::U8;
    });
    assert!(matches!(refusal(&mistyped), WeightsError::Type { expected: "I8", .. }));
    let other_scheme = doctored(&bytes, |info, _| info["quantisation"] = "f32".into());
    assert!(matches!(refusal(&other_scheme), WeightsError::Missing { .. }));
}

#[test]
fn values_that_are_not_finite_are_refused() {
    for (quantisation, name) in
        [(Quantisation::F32, "norm.scale"), (Quantisation::Int8PerOutputChannel, "head.weight.scale")]
    {
        let bad = doctored(&file(quantisation), |_, tensors| {
            let tensor = tensors.iter_mut().find(|tensor| tensor.0 == name).unwrap();
            tensor.3[8..12].copy_from_slice(&f32::NAN.to_le_bytes());
        });
        let error = refusal(&bad);
        assert!(
            matches!(&error, WeightsError::NotFinite { name: found, index: 2 } if found == name),
            "{error}"
        );
    }
}
