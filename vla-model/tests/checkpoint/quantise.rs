//! The quantised form: what is written, that it reads back, and what is refused.

use std::fs;

use reflexarc_vla_model::checkpoint::{Checkpoint, QuantiseOptions, Scheme, Storage, quantise};
use reflexarc_vla_model::compute::Precision;
use reflexarc_vla_model::compute::weight::WeightValues;

use super::common::{Folder, Raw, fixture};

fn options(scheme: Scheme) -> QuantiseOptions {
    QuantiseOptions { scheme, keep: Vec::new(), sensitive: false, force: false }
}

fn open(name: &str) -> Checkpoint {
    Checkpoint::open(&fixture(name)).unwrap()
}

#[test]
fn what_is_written_reads_back_as_the_same_integers() {
    for name in ["smolvla_tiny", "smolvla_tiny_bf16", "act_tiny"] {
        for (scheme, precision) in [(Scheme::Int8, Precision::Int8), (Scheme::Int4, Precision::Int4)] {
            let folder = Folder::empty();
            let source = open(name);
            let out = folder.path("out");
            let mut last = (0, 0);
            let written = quantise(&source, &out, &options(scheme), |done, of| {
                assert!(done >= last.0 && done <= of);
                last = (done, of);
            })
            .unwrap();
            assert_eq!(last.0, last.1);
            let copy = Checkpoint::open(&out).unwrap();
            assert_eq!(copy.config, source.config);
            assert_eq!(copy.statistics, source.statistics);
            let info = copy.quantisation.as_ref().unwrap();
            assert_eq!((info.scheme, info.sensitive), (scheme, false));
            assert_eq!(info.source_sha256, source.tensors.sha256(|_| ()));
            assert_eq!(written.bytes, fs::metadata(out.join("model.safetensors")).unwrap().len());
            assert!(written.bytes < written.source_bytes);

            let (mut int8, mut int4) = (0, 0);
            for tensor in source.tensors.infos() {
                let Some(shape) = copy.tensors.shape(tensor.name) else {
                    assert!(written.dropped.contains(&tensor.name.to_owned()), "{}", tensor.name);
                    continue;
                };
                let [outputs, rest @ ..] = tensor.shape else { panic!("no scalars here") };
                let inputs: usize = rest.iter().product();
                let read = copy.tensors.weight(tensor.name, *outputs, inputs).unwrap();
                let source = source.tensors.weight(tensor.name, *outputs, inputs).unwrap();
                let expected = match &read.values {
                    WeightValues::Float(_) => {
                        assert_eq!(shape, tensor.shape);
                        source
                    }
                    WeightValues::Int8 { .. } => {
                        int8 += 1;
                        source.quantised(Precision::Int8)
                    }
                    WeightValues::Int4 { .. } => {
                        int4 += 1;
                        assert_eq!(precision, Precision::Int4);
                        source.quantised(Precision::Int4)
                    }
                };
                let table = tensor.name.ends_with("embed_tokens.weight");
                for (read, expected) in read.to_floats().iter().zip(expected.to_floats().iter()) {
                    // Eight bits of mantissa.
                    let slack = if table { expected.abs() / 256.0 } else { 0.0 };
                    assert!((read - expected).abs() <= slack, "{}", tensor.name);
                }
            }
            assert_eq!((int8, int4), (written.int8, written.int4));
            assert!(if scheme == Scheme::Int8 { int8 > 20 && int4 == 0 } else { int4 > 5 }, "{int8} {int4}");
        }
    }
}

#[test]
fn the_same_folder_gives_the_same_bytes() {
    let folder = Folder::empty();
    for scheme in [Scheme::Int8, Scheme::Int4] {
        let [first, second] = ["first", "second"].map(|name| {
            let out = folder.path(&format!("{name}-{scheme:?}"));
            quantise(&open("act_tiny"), &out, &options(scheme), |_, _| ()).unwrap();
            fs::read(out.join("model.safetensors")).unwrap()
        });
        assert!(first == second);
    }
}

#[test]
fn what_inference_does_not_use_is_left_out_and_said() {
    let folder = Folder::empty();
    let written =
        quantise(&open("act_tiny"), &folder.path("act"), &options(Scheme::Int8), |_, _| ()).unwrap();
    assert!(
        !written.dropped.is_empty()
            && written.dropped.iter().all(|name| name.starts_with("model.vae_encoder"))
    );
    assert!(written.kept.contains(&"model.action_head.weight".to_owned()), "{:?}", written.kept);
    assert!(written.kept.contains(&"model.backbone.conv1.weight".to_owned()), "{:?}", written.kept);
    let text = written.to_string();
    assert!(
        text.contains("left out, as inference does not use them") && text.contains("vae_encoder"),
        "{text}"
    );

    let written =
        quantise(&open("smolvla_tiny"), &folder.path("smolvla"), &options(Scheme::Int8), |_, _| ()).unwrap();
    assert_eq!(
        written.dropped,
        [
            "model.vlm_with_expert.vlm.lm_head.weight",
            "model.vlm_with_expert.vlm.model.text_model.norm.weight"
        ]
    );
    assert_eq!(written.kept.len(), 6, "{:?}", written.kept);
    let copy = Checkpoint::open(&folder.path("smolvla")).unwrap();
    let table = copy.tensors.infos().find(|tensor| tensor.name.ends_with("embed_tokens.weight")).unwrap();
    assert_eq!(table.storage, Storage::Plain(reflexarc_vla_model::checkpoint::Dtype::BF16));
}

#[test]
fn sensitive_matrices_on_request() {
    let folder = Folder::empty();
    let all = QuantiseOptions { sensitive: true, ..options(Scheme::Int8) };
    assert_eq!(quantise(&open("smolvla_tiny"), &folder.path("all"), &all, |_, _| ()).unwrap().kept.len(), 0);
    // The patch embedding is a convolution; its sizes are still understood.
    let copy = Checkpoint::open(&folder.path("all")).unwrap();
    assert_eq!(copy.config, open("smolvla_tiny").config);
    let keep = vec!["connector".to_owned(), "lm_expert.layers.0.".to_owned()];
    let some = QuantiseOptions { keep: keep.clone(), ..options(Scheme::Int4) };
    let written = quantise(&open("smolvla_tiny"), &folder.path("some"), &some, |_, _| ()).unwrap();
    assert_eq!(written.kept.len(), 6 + 1 + 7, "{:?}", written.kept);
    assert_eq!(Checkpoint::open(&folder.path("some")).unwrap().quantisation.unwrap().keep, keep);
    let none = QuantiseOptions { keep: vec!["conector".to_owned()], ..options(Scheme::Int8) };
    let error =
        quantise(&open("smolvla_tiny"), &folder.path("none"), &none, |_, _| ()).unwrap_err().to_string();
    assert!(error.contains("no tensor's name has \"conector\" in it"), "{error}");
}

#[test]
fn a_folder_appears_whole_or_not_at_all() {
    let folder = Folder::of("act_tiny");
    folder.edit_tensors("model.safetensors", |tensors| {
        let name = "model.encoder.layers.1.linear2.weight";
        let mut values = vec![0.5; 32 * 48];
        values[7] = f32::NAN;
        tensors.insert(name.to_owned(), Raw::f32(&[32, 48], &values));
    });
    let parent = Folder::empty();
    let source = Checkpoint::open(&folder.0).unwrap();
    let error =
        quantise(&source, &parent.path("out"), &options(Scheme::Int8), |_, _| ()).unwrap_err().to_string();
    assert!(
        error.contains("`model.encoder.layers.1.linear2.weight` has the value NaN at index 7"),
        "{error}"
    );
    assert_eq!(fs::read_dir(&parent.0).unwrap().count(), 0, "nothing is left behind");
}

#[test]
fn nothing_is_overwritten_unasked() {
    let parent = Folder::empty();
    let out = parent.path("out");
    let source = open("act_tiny");
    let force = QuantiseOptions { force: true, ..options(Scheme::Int4) };
    let refused = |options: &QuantiseOptions, out: &std::path::Path| {
        quantise(&source, out, options, |_, _| ()).unwrap_err().to_string()
    };
    quantise(&source, &out, &options(Scheme::Int8), |_, _| ()).unwrap();
    let before = fs::read(out.join("model.safetensors")).unwrap();
    assert!(refused(&options(Scheme::Int4), &out).contains("exists; --force replaces it"));
    assert!(fs::read(out.join("model.safetensors")).unwrap() == before);
    quantise(&source, &out, &force, |_, _| ()).unwrap();
    assert_eq!(Checkpoint::open(&out).unwrap().quantisation.unwrap().scheme, Scheme::Int4);
    assert_eq!(fs::read_dir(&parent.0).unwrap().count(), 1, "the old one is gone");

    let precious = parent.path("precious");
    fs::create_dir(&precious).unwrap();
    fs::write(precious.join("thesis.tex"), "dear reader").unwrap();
    assert!(refused(&force, &precious).contains("is no checkpoint; it is not replaced"));
    assert!(precious.join("thesis.tex").exists());
    assert!(refused(&force, &fixture("act_tiny")).contains("lie within each other"));
    assert!(refused(&force, &fixture("act_tiny").join("inside")).contains("lie within each other"));
    assert!(refused(&force, &fixture("act_tiny").join("..")).contains("is no name for a new folder"));

    let again = Checkpoint::open(&out).unwrap();
    let error =
        quantise(&again, &parent.path("again"), &options(Scheme::Int8), |_, _| ()).unwrap_err().to_string();
    assert!(error.contains("is quantised already"), "{error}");
}

#[test]
fn other_versions_are_refused() {
    let parent = Folder::empty();
    let out = parent.path("out");
    quantise(&open("act_tiny"), &out, &options(Scheme::Int8), |_, _| ()).unwrap();
    let model = out.join("model.safetensors");
    let bytes = fs::read(&model).unwrap();
    let edit = |from: &str, to: &str| {
        assert_eq!(from.len(), to.len());
        let at = bytes.windows(from.len()).position(|window| window == from.as_bytes()).unwrap();
        let mut changed = bytes.clone();
        changed[at..at + to.len()].copy_from_slice(to.as_bytes());
        fs::write(&model, changed).unwrap();
        Checkpoint::open(&out).unwrap_err().to_string()
    };
    assert!(
        edit("\\\"version\\\":1", "\\\"version\\\":2").contains("has version 2, this build reads version 1")
    );
    assert!(
        edit("reflexarc-checkpoint", "reflexarc-goal-model").contains("expected a `reflexarc-checkpoint`")
    );
    assert!(edit("\\\"int8\\\"", "\\\"int9\\\"").contains("unknown variant `int9`"));
}
