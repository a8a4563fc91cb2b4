//! SmolVLA against what LeRobot computed, and what it promises to its caller.
#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use reflexarc_vla_model::checkpoint::{CheckpointError, PrefixSchedule, RtcConfig};
use reflexarc_vla_model::chunk::{ActionChunk, Ahead};
use reflexarc_vla_model::compute::{Backend, Precision};
use reflexarc_vla_model::observation::{Camera, Observation, ToolPose};
use reflexarc_vla_model::policy::{Output, Policy, PolicyError};
use reflexarc_vla_model::smolvla::{Precisions, SmolVla, SmolVlaOptions, Stage, noise, verify};
use reflexarc_vla_model::trace::Comparison;
use reflexarc_vla_model::units::{Unit, Units};

/// Of the largest value of a tensor. Wrong epsilons and wrong activations pass looser ones.
const TOLERANCE: f64 = 2e-5;
const ALL: [&str; 4] = ["smolvla_tiny", "smolvla_tiny_bf16", "smolvla_tiny_seed5", "smolvla_tiny_cameras3"];

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/lerobot").join(name)
}

fn options(precision: Precision) -> SmolVlaOptions {
    SmolVlaOptions { precision: Precisions::of(precision), ..Default::default() }
}

fn compared(name: &str, precision: Precision) -> Vec<Comparison> {
    verify(&fixture(name), &Backend::cpu(0), options(precision)).unwrap()
}

fn error(comparisons: &[Comparison], name: &str) -> f64 {
    comparisons.iter().find(|comparison| comparison.name == name).unwrap().largest_relative_error
}

#[test]
fn every_intermediate_result_agrees_with_lerobot() {
    for (name, count) in ALL.into_iter().zip([52, 46, 46, 58]) {
        let comparisons = compared(name, Precision::F32);
        assert_eq!(comparisons.len(), count, "{name}");
        for name in ["output.action_chunk", "rtc.action_chunk", "prefix.layer3.v", "denoise.step9.v"] {
            error(&comparisons, name);
        }
        for comparison in comparisons {
            assert!(comparison.largest_relative_error <= TOLERANCE, "{name}: {comparison:?}");
        }
    }
}

#[test]
fn rounded_weights_stay_near() {
    for name in ALL {
        for (precision, most) in [(Precision::Bf16, 0.02), (Precision::Int8, 0.1), (Precision::Int4, 0.6)] {
            let comparisons = compared(name, precision);
            let chunk = error(&comparisons, "output.action_chunk");
            assert!(chunk <= most, "{name} in {precision:?}: {chunk}");
            // It is no f32 in disguise.
            assert!(chunk > TOLERANCE, "{name} in {precision:?}: {chunk}");
        }
    }
}

/// Byte-level pair encoding that knows a few words.
fn tokenizer_json() -> String {
    let mut tokens: Vec<String> = (33..127_u8).map(|byte| char::from(byte).to_string()).collect();
    tokens.extend(["Ġ".to_owned(), "Ċ".to_owned()]);
    let mut merges = Vec::new();
    for word in ["pick", "Ġup", "Ġthe", "Ġred", "Ġblue", "Ġcube", "the"] {
        let mut letters = word.chars().map(String::from);
        let mut start = letters.next().unwrap();
        for letter in letters {
            merges.push([start.clone(), letter.clone()]);
            start += &letter;
            tokens.push(start.clone());
        }
    }
    let vocab: serde_json::Map<_, _> =
        tokens.into_iter().enumerate().map(|(id, token)| (token, id.into())).collect();
    let byte_level = serde_json::json!({ "type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true });
    serde_json::json!({
        "version": "1.0", "added_tokens": [], "pre_tokenizer": byte_level, "decoder": byte_level,
        "model": { "type": "BPE", "vocab": vocab, "merges": merges },
    })
    .to_string()
}

/// A checkpoint of the fixtures with a tokenizer of a few words, removed when dropped.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let unique =
            format!("reflexarc-smolvla-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let to = std::env::temp_dir().join(unique);
        std::fs::create_dir_all(&to).unwrap();
        for entry in std::fs::read_dir(fixture(name)).unwrap() {
            let entry = entry.unwrap();
            std::fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
        }
        std::fs::write(to.join("tokenizer.json"), tokenizer_json()).unwrap();
        Self(to)
    }

    fn load(&self, options: SmolVlaOptions) -> SmolVla {
        self.load_on(options, 0)
    }

    fn load_on(&self, options: SmolVlaOptions, threads: usize) -> SmolVla {
        let mut model = SmolVla::load(&self.0, &Backend::cpu(threads), options).unwrap();
        model.instruct("pick up the red cube");
        model
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn observation(time_ns: u64) -> Observation {
    let camera = |number: usize| {
        let rgb = (0..48 * 60 * 3).map(|at| (at * (number + 3) % 251) as u8).collect();
        Camera { name: format!("camera{number}"), width: 60, height: 48, rgb }
    };
    Observation {
        time_ns,
        cameras: (1..=3).map(camera).collect(),
        tactile: Vec::new(),
        joints_rad: vec![0.1, -0.2, 0.3, -0.4, 0.5],
        gripper_width_m: 0.04,
        base_from_tool: ToolPose { position_m: [0.3, 0.0, 0.2], rotation_xyzw: [0.0, 0.0, 0.0, 1.0] },
    }
}

fn chunk(model: &mut SmolVla) -> ActionChunk {
    model.predict(&observation(7), &Ahead::default()).unwrap()
}

fn cosine(a: &[f32], b: &[f32]) -> f64 {
    let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum::<f64>();
    dot(a, b) / (dot(a, a) * dot(b, b)).sqrt()
}

#[test]
fn a_chunk_is_a_function_of_its_inputs() {
    let folder = Folder::new("smolvla_tiny");
    let mut model = folder.load(SmolVlaOptions::default());
    let first = chunk(&mut model);
    assert_eq!((first.count(), first.width, first.observation_ns), (10, 6, 7));
    assert!(first.actions.iter().all(|value| value.is_finite()));
    // Not of what was computed between, nor of the model's age.
    model.instruct("the cube");
    let other = chunk(&mut model);
    assert_ne!(other, first);
    assert_eq!(model.text_tokens(), 3);
    model.predict(&observation(8), &Ahead::default()).unwrap();
    model.instruct("pick up the red cube");
    assert_eq!(chunk(&mut model), first);
    assert_eq!(chunk(&mut folder.load(SmolVlaOptions::default())), first);
    let Output::Chunk(decided) = model.decide(&observation(7), &Ahead::default()).unwrap() else {
        unreachable!()
    };
    assert_eq!(decided, first);
    // But of the seed and of the moment, through the noise.
    assert_ne!(
        chunk(&mut folder.load(SmolVlaOptions { seed: 1, ..Default::default() })).actions,
        first.actions
    );
    assert_ne!(model.predict(&observation(8), &Ahead::default()).unwrap().actions, first.actions);
}

#[test]
fn threads_do_not_change_a_bit() {
    let folder = Folder::new("smolvla_tiny_cameras3");
    for precision in [Precision::F32, Precision::Bf16, Precision::Int8, Precision::Int4] {
        let one = chunk(&mut folder.load_on(options(precision), 1));
        for threads in [2, 5] {
            assert_eq!(
                chunk(&mut folder.load_on(options(precision), threads)),
                one,
                "{precision:?}, {threads}"
            );
        }
    }
}

#[test]
fn integers_point_where_floats_do() {
    let folder = Folder::new("smolvla_tiny");
    let exact = chunk(&mut folder.load(options(Precision::F32)));
    for (precision, least) in [(Precision::Bf16, 0.9999), (Precision::Int8, 0.999), (Precision::Int4, 0.97)] {
        let rounded = chunk(&mut folder.load(options(precision)));
        let cosine = cosine(&exact.actions, &rounded.actions);
        assert!(cosine > least && rounded != exact, "{precision:?}: {cosine}");
    }
}

#[test]
fn the_chunk_before_is_continued() {
    let folder = Folder::new("smolvla_tiny");
    let free = chunk(&mut folder.load(SmolVlaOptions::default()));
    let ahead = Ahead { actions: noise(3, 3, 8 * 6), delay: 3 };
    let distance = |chunk: &ActionChunk, actions: std::ops::Range<usize>| {
        let values = actions.start * 6..actions.end * 6;
        chunk.actions[values.clone()]
            .iter()
            .zip(&ahead.actions[values])
            .map(|(a, b)| (a - b).abs())
            .sum::<f32>()
    };
    for schedule in [PrefixSchedule::Zeros, PrefixSchedule::Linear, PrefixSchedule::Exp, PrefixSchedule::Ones]
    {
        let rtc = Some(RtcConfig {
            prefix_attention_schedule: schedule,
            execution_horizon: 6,
            ..Default::default()
        });
        let mut model = folder.load(SmolVlaOptions { rtc, ..Default::default() });
        let guided = model.predict(&observation(7), &ahead).unwrap();
        assert!(distance(&guided, 0..3) < 0.2 * distance(&free, 0..3), "{schedule:?}");
        if schedule == PrefixSchedule::Ones {
            assert!(distance(&guided, 3..6) < 0.2 * distance(&free, 3..6));
        }
    }
    let off = Some(RtcConfig { enabled: false, ..Default::default() });
    let mut model = folder.load(SmolVlaOptions { rtc: off, ..Default::default() });
    assert_eq!(model.predict(&observation(7), &ahead).unwrap(), free);
}

#[test]
fn units_are_those_of_the_training_data_inside_and_the_robots_outside() {
    let folder = Folder::new("smolvla_tiny");
    let unit = |at: usize| Unit {
        gain: [2.0, -1.5, 0.7, 3.0, -0.4, 12.0][at],
        offset: [0.0, 0.3, -0.2, 0.1, 0.0, 0.0][at],
        low: f64::NEG_INFINITY,
        high: if at == 5 { 0.4 } else { f64::INFINITY },
    };
    let units = Units::new((0..6).map(unit).collect()).unwrap();
    let ahead = Ahead { actions: noise(3, 3, 8 * 6), delay: 3 };
    let found = folder
        .load(SmolVlaOptions { units: units.clone(), ..Default::default() })
        .predict(&observation(7), &ahead)
        .unwrap();

    let mut seen = observation(7);
    let mut state = [&seen.joints_rad[..], &[seen.gripper_width_m]].concat();
    units.to_policy(&mut state);
    seen.gripper_width_m = state.pop().unwrap();
    seen.joints_rad = state;
    let mut recorded = ahead;
    recorded.actions.chunks_exact_mut(6).for_each(|action| units.to_policy(action));
    let mut wanted = folder.load(SmolVlaOptions::default()).predict(&seen, &recorded).unwrap();
    wanted.actions.chunks_exact_mut(6).for_each(|action| units.from_policy(action));
    assert_eq!(found, wanted);

    let five = Units::new((0..5).map(unit).collect()).unwrap();
    let error =
        SmolVla::load(&folder.0, &Backend::cpu(1), SmolVlaOptions { units: five, ..Default::default() });
    assert!(error.unwrap_err().to_string().contains("units"));
}

#[test]
fn fewer_steps_are_coarser() {
    let folder = Folder::new("smolvla_tiny");
    let steps =
        |steps| chunk(&mut folder.load(SmolVlaOptions { steps: Some(steps), ..Default::default() })).actions;
    let ten = steps(10);
    assert_eq!(ten, chunk(&mut folder.load(SmolVlaOptions::default())).actions);
    let [five, one] = [cosine(&steps(5), &ten), cosine(&steps(1), &ten)];
    assert!(five > one && five > 0.9, "five steps {five}, one step {one}");
    for refused in [0, 100_000] {
        let options = SmolVlaOptions { steps: Some(refused), ..Default::default() };
        assert!(matches!(
            SmolVla::load(&folder.0, &Backend::cpu(1), options),
            Err(CheckpointError::Option { .. })
        ));
    }
}

#[test]
fn cameras_may_be_left_out_by_name() {
    let folder = Folder::new("smolvla_tiny_cameras3");
    let load = |names: &[&str]| {
        let without_cameras = names.iter().map(|name| (*name).to_owned()).collect();
        let options = SmolVlaOptions { without_cameras, ..Default::default() };
        SmolVla::load(&folder.0, &Backend::cpu(1), options)
    };
    let mut model = load(&["camera2"]).unwrap();
    assert_eq!(model.cameras(), ["camera1", "camera3"]);
    model.instruct("pick up the red cube");
    let mut seen = observation(7);
    seen.cameras.remove(1);
    model.predict(&seen, &Ahead::default()).unwrap();
    assert!(model.flops(Stage::Vision) > 0);
    for refused in [&["scene"][..], &["camera1", "camera2", "camera3"]] {
        assert!(matches!(load(refused), Err(CheckpointError::Option { .. })));
    }
}

#[test]
fn what_does_not_fit_is_said_and_does_no_harm() {
    let folder = Folder::new("smolvla_tiny");
    let mut model = SmolVla::load(&folder.0, &Backend::cpu(1), SmolVlaOptions::default()).unwrap();
    assert_eq!(model.predict(&observation(7), &Ahead::default()), Err(PolicyError::NoInstruction));
    model.instruct("pick up the red cube");
    let good = chunk(&mut model);

    let mut blind = observation(7);
    blind.cameras.remove(0);
    let mut short = observation(7);
    short.joints_rad.pop();
    let mut lost = observation(7);
    lost.joints_rad[0] = f32::NAN;
    let mut torn = observation(7);
    torn.cameras[0].rgb.pop();
    for observation in [blind, short, lost, torn] {
        assert!(matches!(model.predict(&observation, &Ahead::default()), Err(PolicyError::Observation(_))));
    }
    for actions in [vec![0.0; 7], vec![f32::NAN; 6]] {
        let ahead = Ahead { actions, delay: 0 };
        assert!(matches!(model.predict(&observation(7), &ahead), Err(PolicyError::Observation(_))));
    }
    assert_eq!(chunk(&mut model), good);
}

#[test]
fn stages_end_in_order() {
    let folder = Folder::new("smolvla_tiny");
    let mut model = folder.load(SmolVlaOptions::default());
    let mut stages = Vec::new();
    let staged =
        model.predict_staged(&observation(7), &Ahead::default(), &mut |stage| stages.push(stage)).unwrap();
    assert_eq!(stages, Stage::ALL);
    assert_eq!(staged, chunk(&mut model));
}

#[test]
fn folders_of_another_kind_or_without_a_tokenizer_are_refused() {
    let load = |name: &str| SmolVla::load(&fixture(name), &Backend::cpu(1), SmolVlaOptions::default());
    assert!(matches!(load("smolvla_tiny"), Err(CheckpointError::MissingFile { .. })));
    assert!(load("act_tiny").is_err());
    let act = verify(&fixture("act_tiny"), &Backend::cpu(1), SmolVlaOptions::default());
    assert!(act.unwrap_err().to_string().contains("smolvla"));
}
