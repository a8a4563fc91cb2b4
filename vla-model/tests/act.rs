//! ACT against what LeRobot computed: the folders of `data/lerobot`, made by `gen_act_ref.py` there.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests fail by panicking")]

use std::fs;
use std::path::{Path, PathBuf};

use reflexarc_vla_model::act::{Act, ActOptions, Precisions, Stage, verify};
use reflexarc_vla_model::checkpoint::{Checkpoint, CheckpointError};
use reflexarc_vla_model::compute::{Backend, Precision};
use reflexarc_vla_model::observation::{Camera, Observation, ToolPose};
use reflexarc_vla_model::policy::{Policy, PolicyError};
use reflexarc_vla_model::trace::{Trace, largest_relative_error};

/// Largest error of f32 over the largest value. Wrong arithmetic that is nearly right (positions added to
/// values too, another epsilon) is a hundred times further off.
const TOLERANCE: f64 = 2e-5;

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/lerobot").join(name)
}

fn worst(dir: &Path, precision: Precision) -> f64 {
    let comparisons = verify(dir, &Backend::cpu(0), Precisions::of(precision)).unwrap();
    comparisons.iter().map(|comparison| comparison.largest_relative_error).fold(0.0, f64::max)
}

#[test]
fn every_intermediate_value_is_that_of_lerobot() {
    // Two, one and three cameras, of which one has another size; one and two decoder layers.
    for (name, values) in [("act_tiny", 15), ("act_deep", 14), ("act_mixed", 17)] {
        let comparisons = verify(&folder(name), &Backend::cpu(0), Precisions::default()).unwrap();
        for comparison in &comparisons {
            assert!(comparison.largest_relative_error <= TOLERANCE, "{name}: {comparison:?}");
        }
        let names: Vec<&str> = comparisons.iter().map(|comparison| comparison.name.as_str()).collect();
        assert_eq!(names.len(), values, "{name}: {names:?}");
        assert!(names.contains(&"output.action_chunk") && names.contains(&"ensemble.actions"));
    }
}

/// A copy of a checkpoint's folder, removed in the end.
struct Copy(PathBuf);

impl Copy {
    fn new(name: &str, of: &str) -> Self {
        let dir = std::env::temp_dir().join(format!("reflexarc-{name}-{}", std::process::id()));
        fs::create_dir_all(&dir).unwrap();
        for entry in fs::read_dir(folder(of)).unwrap() {
            let entry = entry.unwrap();
            fs::copy(entry.path(), dir.join(entry.file_name())).unwrap();
        }
        Self(dir)
    }

    /// Changes the first value of a tensor.
    fn change(&self, tensor: &str, change: impl Fn(f32) -> f32) {
        let path = self.0.join("model.safetensors");
        let mut bytes = fs::read(&path).unwrap();
        let length = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
        let header: serde_json::Value = serde_json::from_slice(&bytes[8..8 + length]).unwrap();
        let at = 8 + length + header[tensor]["data_offsets"][0].as_u64().unwrap() as usize;
        let value = f32::from_le_bytes(bytes[at..at + 4].try_into().unwrap());
        bytes[at..at + 4].copy_from_slice(&change(value).to_le_bytes());
        fs::write(&path, bytes).unwrap();
    }
}

impl Drop for Copy {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).unwrap();
    }
}

#[test]
fn a_changed_weight_is_noticed() {
    for tensor in [
        "backbone.conv1.weight",
        "backbone.bn1.running_var",
        "backbone.layer2.0.downsample.1.bias",
        "encoder_1d_feature_pos_embed.weight",
        "encoder.layers.1.self_attn.in_proj_bias",
        "decoder.layers.0.self_attn.out_proj.bias",
        "decoder.layers.0.multihead_attn.in_proj_weight",
        "decoder_pos_embed.weight",
        "action_head.bias",
    ] {
        let copy = Copy::new("changed", "act_tiny");
        copy.change(&format!("model.{tensor}"), |value| value + 0.1);
        assert!(worst(&copy.0, Precision::F32) > 2.0 * TOLERANCE, "{tensor}");
    }
    let copy = Copy::new("training", "act_tiny");
    copy.change("model.vae_encoder_cls_embed.weight", |_| f32::NAN);
    assert!(worst(&copy.0, Precision::F32) <= TOLERANCE, "the training's encoder is not read");
    copy.change("model.backbone.layer2.0.conv1.weight", |_| f32::NAN);
    let error = verify(&copy.0, &Backend::cpu(1), Precisions::default()).unwrap_err();
    assert!(error.to_string().contains("layer2.0.conv1.weight"), "{error}");
}

/// Observations as a robot has them, with LeRobot's actions for them.
struct Observed {
    observations: Vec<Observation>,
    chunks: Vec<Vec<f32>>,
    ensembled: Vec<Vec<f32>>,
}

fn observed(name: &str, cameras: usize, period_ns: u64) -> Observed {
    let file = Trace::open(&folder(name).join("observed.safetensors")).unwrap();
    let rows = |name: &str| -> Vec<Vec<f32>> {
        let (shape, values) = file.get(name).unwrap();
        values.chunks_exact(values.len() / shape[0]).map(<[f32]>::to_vec).collect()
    };
    let camera = |index: usize, at: usize| {
        let name = format!("camera{}", index + 1);
        let shape = file.get(&name).unwrap().0;
        let rgb = rows(&name)[at].iter().map(|value| *value as u8).collect();
        Camera { name, width: shape[2], height: shape[1], rgb }
    };
    let states = rows("state");
    let observation = |(at, state): (usize, &Vec<f32>)| Observation {
        time_ns: 5_000_000_000 + at as u64 * period_ns,
        cameras: (0..cameras).map(|index| camera(index, at)).collect(),
        tactile: Vec::new(),
        joints_rad: state[..state.len() - 1].to_vec(),
        gripper_width_m: state[state.len() - 1],
        base_from_tool: ToolPose { position_m: [0.4, 0.0, 0.3], rotation_xyzw: [1.0, 0.0, 0.0, 0.0] },
    };
    Observed {
        observations: states.iter().enumerate().map(observation).collect(),
        chunks: rows("chunk"),
        ensembled: rows("ensembled"),
    }
}

#[test]
fn an_observation_gives_the_chunk_of_lerobot() {
    for (name, cameras) in [("act_deep", 1), ("act_mixed", 3)] {
        let options = ActOptions::default();
        let Observed { observations, chunks, .. } = observed(name, cameras, options.period_ns);
        let mut act = Act::load(&folder(name), &Backend::cpu(0), options.clone()).unwrap();
        for (observation, expected) in observations.iter().zip(&chunks) {
            let chunk = act.predict(observation).unwrap();
            assert_eq!(chunk.observation_ns, observation.time_ns);
            assert_eq!(chunk.period_ns, options.period_ns);
            assert!(largest_relative_error(&chunk.actions, expected) <= TOLERANCE, "{name}");
        }
    }
}

#[test]
fn ensembled_actions_are_those_of_lerobot_whatever_the_jitter() {
    let options = ActOptions { temporal_ensemble_coeff: Some(0.01), ..ActOptions::default() };
    let Observed { mut observations, ensembled, .. } = observed("act_deep", 1, options.period_ns);
    for jitter_ns in [0, 12_000_000] {
        for (at, observation) in observations.iter_mut().enumerate() {
            observation.time_ns += at as u64 % 2 * jitter_ns;
        }
        let mut act = Act::load(&folder("act_deep"), &Backend::cpu(0), options.clone()).unwrap();
        for episode in 0..2 {
            act.instruct("");
            for (observation, expected) in observations.iter().zip(&ensembled) {
                let chunk = act.predict(observation).unwrap();
                let first = chunk.action(0).unwrap();
                assert!(largest_relative_error(first, expected) <= TOLERANCE, "{episode} {jitter_ns}");
            }
        }
    }
}

#[test]
fn equal_inputs_give_equal_bits_whatever_the_threads() {
    for precision in [Precision::F32, Precision::Bf16, Precision::Int8, Precision::Int4] {
        let options = ActOptions { precision: Precisions::of(precision), ..ActOptions::default() };
        let Observed { observations, .. } = observed("act_mixed", 3, options.period_ns);
        let chunk = |threads| {
            let mut act = Act::load(&folder("act_mixed"), &Backend::cpu(threads), options.clone()).unwrap();
            act.predict(&observations[0]).unwrap().actions
        };
        let once = chunk(1);
        assert!(once == chunk(2) && once == chunk(3), "{precision:?}");
    }
}

#[test]
fn int8_stays_close_to_f32() {
    for (name, cameras) in [("act_deep", 1), ("act_mixed", 3)] {
        let Observed { observations, .. } = observed(name, cameras, 1);
        let statistics = Checkpoint::open(&folder(name)).unwrap().statistics.action.unwrap();
        let normalised = |precision| {
            let options = ActOptions { precision: Precisions::of(precision), ..ActOptions::default() };
            let mut act = Act::load(&folder(name), &Backend::cpu(0), options).unwrap();
            let mut chunk = act.predict(&observations[0]).unwrap();
            chunk.actions.chunks_exact_mut(chunk.width).for_each(|action| statistics.normalise(action, 0.0));
            chunk.actions
        };
        let (exact, actual) = (normalised(Precision::F32), normalised(Precision::Int8));
        let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| f64::from(a * b)).sum::<f64>();
        let cosine = dot(&exact, &actual) / (dot(&exact, &exact) * dot(&actual, &actual)).sqrt();
        assert!(cosine > 0.999, "{name}: {cosine}");
        assert!(exact != actual, "int8 is not f32");
    }
}

#[test]
fn what_does_not_fit_is_refused_by_name() {
    let options = ActOptions::default();
    let Observed { observations, .. } = observed("act_mixed", 3, options.period_ns);
    let mut act = Act::load(&folder("act_mixed"), &Backend::cpu(1), options.clone()).unwrap();
    let mut refused = |change: &dyn Fn(&mut Observation)| {
        let mut observation = observations[0].clone();
        change(&mut observation);
        act.predict(&observation).unwrap_err()
    };

    let missing = refused(&|observation| observation.cameras[1].name = "wrist".into());
    assert_eq!(missing.to_string(), "the observation cannot be used: camera `camera2` is missing");
    let size = refused(&|observation| {
        observation.cameras[2] = observation.cameras[0].clone();
        observation.cameras[2].name = "camera3".into();
    });
    assert!(matches!(size, PolicyError::CameraSize { expected_width: 96, actual_width: 64, .. }), "{size}");
    let joints = refused(&|observation| observation.joints_rad.push(0.0));
    assert!(matches!(joints, PolicyError::Observation(_)), "{joints}");
    let gripper = refused(&|observation| observation.gripper_width_m = f32::NAN);
    assert!(matches!(gripper, PolicyError::Observation(_)), "{gripper}");
    act.predict(&observations[0]).unwrap();
}

#[test]
fn cameras_can_have_other_names_than_in_training() {
    let mut options = ActOptions::default();
    let Observed { mut observations, chunks, .. } = observed("act_deep", 1, options.period_ns);
    options.cameras.insert("camera1".into(), "wrist".into());
    observations[0].cameras[0].name = "wrist".into();
    let mut act = Act::load(&folder("act_deep"), &Backend::cpu(0), options.clone()).unwrap();
    let chunk = act.predict(&observations[0]).unwrap();
    assert!(largest_relative_error(&chunk.actions, &chunks[0]) <= TOLERANCE);
}

#[test]
fn a_checkpoint_of_another_kind_is_refused() {
    let copy = Copy::new("kind", "act_tiny");
    let config = copy.0.join("config.json");
    let text = fs::read_to_string(&config).unwrap();
    fs::write(&config, text.replace("\"pre_norm\": false", "\"pre_norm\": true")).unwrap();
    let error = Act::load(&copy.0, &Backend::cpu(1), ActOptions::default()).unwrap_err();
    assert!(matches!(error, CheckpointError::Option { .. }), "{error}");
}

#[test]
fn stages_are_timed_and_their_arithmetic_is_counted() {
    let options = ActOptions::default();
    let Observed { observations, .. } = observed("act_deep", 1, options.period_ns);
    let mut act = Act::load(&folder("act_deep"), &Backend::cpu(0), options.clone()).unwrap();
    let mut stages = Vec::new();
    act.predict_staged(&observations[0], &mut |stage| stages.push(stage)).unwrap();
    assert_eq!(stages, Stage::ALL);
    // What torch.utils.flop_counter counts in LeRobot's network, less what is computed at load here: the
    // first decoder layer's attention to itself and its queries.
    let load_time = 21_056;
    let counted = [0, 2_409_360, 98_304 + 6_144 + 160, 94_336 + 1_120 - load_time];
    assert_eq!(Stage::ALL.map(|stage| act.flops(stage)), counted);
}
