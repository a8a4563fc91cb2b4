//! `reflexarc bench`: how long a model takes on this machine, where the time goes, what bounds it.

use std::fmt::Write as _;
use std::io::{IsTerminal, Write as _};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use clap::Args;
use reflexarc_vla_model::checkpoint::{
    Camera as TrainedCamera, Card, Checkpoint, CommonConfig, PolicyConfig,
};
use reflexarc_vla_model::chunk::Ahead;
use reflexarc_vla_model::compute::{Backend, Precision, Roofline};
use reflexarc_vla_model::device::{self, DeviceKind};
use reflexarc_vla_model::goal::policy::{CpuOptions, GoalPolicy};
use reflexarc_vla_model::observation::{Camera, Observation, ToolPose};
use reflexarc_vla_model::policy::Policy;
use reflexarc_vla_model::{act, goal, smolvla};
use serde::Serialize;

use super::{DeviceArg, EXIT_OK, PrecisionArg};

pub(super) const EXAMPLES: &str = "\
Feeds noise in the sizes that the checkpoint was trained on; values do not change the time. Each stage is \
shown with its arithmetic per second beside what the machine reaches in a loop of nothing else (the \
roofline, measured in the same run), and with what bounds it: arithmetic, the weights' way from memory, or \
what lies between the matrices (norms, softmax, conversions).

On a GPU the first chunks also compile and choose its kernels: `warm-up` says how long all that took, and it \
does not count.

Example:
  reflexarc bench my_checkpoint --precision int8
  reflexarc bench vla-model/weights/goal.safetensors --device gpu
  reflexarc bench my_checkpoint --precision int8 --steps 3 --reps 50 --json";

/// Chunks that are computed before the measured ones.
const WARM_UP: usize = 3;

/// The command's arguments.
#[derive(Debug, Args)]
pub(super) struct BenchArgs {
    /// The checkpoint's folder, as LeRobot or `reflexarc quantize` writes it, or a weights file of the goal model.
    #[arg(value_name = "MODEL")]
    model: PathBuf,
    /// In which numbers the model computes. A quantised folder keeps its integers.
    #[arg(long, value_enum, default_value_t = PrecisionArg::F32)]
    precision: PrecisionArg,
    /// Steps of SmolVLA's sampler in place of the checkpoint's.
    #[arg(long, value_name = "N")]
    steps: Option<usize>,
    /// What the model is told; ACT is told nothing.
    #[arg(long, value_name = "TEXT", default_value = "pick up the red mug")]
    instruction: String,
    /// Chunks to measure; three more come first and do not count.
    #[arg(long, value_name = "N", default_value_t = 20)]
    reps: usize,
    /// Threads of the CPU; 0 takes all.
    #[arg(long, value_name = "N", default_value_t = 0)]
    threads: usize,
    /// What the model runs on.
    #[arg(long, value_enum, default_value_t = DeviceArg::Cpu)]
    device: DeviceArg,
    /// Print JSON in place of a table.
    #[arg(long)]
    json: bool,
}

/// What was measured. Memory is that of the whole process, MiB.
#[derive(Debug, Serialize)]
struct Report {
    engine: &'static str,
    model: String,
    precision: Precision,
    /// Why it was computed in f32 instead; none where it was not.
    fallback: Option<String>,
    device: String,
    cameras: usize,
    reps: usize,
    load_s: f64,
    /// All that came before the measured chunks, the first of which compile a GPU's kernels.
    warm_up_s: f64,
    #[serde(flatten)]
    chunk: Quantiles,
    chunks_per_s: f64,
    /// None where a decision is a goal.
    actions_per_s: Option<f64>,
    parameters: u64,
    gflop: f64,
    resident_mib: f64,
    peak_rss_mib: f64,
    roofline: Option<Roofline>,
    stages: Vec<StageReport>,
}

/// Wall time, ms.
#[derive(Clone, Copy, Debug, Serialize)]
struct Quantiles {
    min_ms: f64,
    p50_ms: f64,
    p90_ms: f64,
    p99_ms: f64,
}

#[derive(Debug, Serialize)]
struct StageReport {
    stage: &'static str,
    #[serde(flatten)]
    time: Quantiles,
    gflop: f64,
    gflop_per_s: f64,
    weights_mib: f64,
    /// Part of the best rate of this machine's arithmetic; none where it was not measured.
    of_roofline: Option<f64>,
    /// What bounds it; none where the roofline was not measured.
    bound: Option<&'static str>,
}

/// What a stage consists of.
struct Stage {
    name: &'static str,
    flop: u64,
    weight_bytes: f64,
}

/// A model of either kind.
enum Subject {
    SmolVla(Box<smolvla::SmolVla>),
    Act(Box<act::Act>),
    Goal(Box<GoalPolicy>),
}

/// Measures and prints.
#[expect(clippy::print_stdout, reason = "telling is the purpose of this command")]
pub(super) fn bench(args: &BenchArgs) -> Result<u8> {
    if args.reps == 0 {
        bail!("--reps 0: expected at least 1");
    }
    let progress = Progress { terminal: std::io::stderr().is_terminal() };
    progress.say("loading");
    let chosen = device::choose(args.device.into())?;
    let backend = match chosen.kind {
        DeviceKind::Cpu => Backend::cpu(args.threads),
        _ => Backend::from(&chosen),
    };
    let begun = Instant::now();
    let (mut subject, observation) = Subject::load(args, &backend)?;
    let load_s = begun.elapsed().as_secs_f64();
    let resident_mib = memory_mib("VmRSS:");

    let (mut stage_times, mut totals, mut actions) = (Vec::new(), Vec::new(), None);
    let mut warm_up_s = 0.0;
    let begun = Instant::now();
    for rep in 0..WARM_UP + args.reps {
        let (times, count) = subject.run(&observation)?;
        actions = count;
        if rep < WARM_UP {
            warm_up_s = begun.elapsed().as_secs_f64();
            progress.say(&format!("warming up, {} of {WARM_UP}", rep + 1));
            continue;
        }
        progress.say(&format!("chunk {} of {}", rep + 1 - WARM_UP, args.reps));
        stage_times.resize_with(times.len(), Vec::new);
        totals.push(times.iter().sum());
        stage_times.iter_mut().zip(times).for_each(|(all, time): (&mut Vec<Duration>, _)| all.push(time));
    }
    // Before the roofline, which takes memory of its own.
    let peak_rss_mib = memory_mib("VmHWM:");
    progress.say("measuring what this machine can do at most");
    let roofline = Roofline::measure(&backend);
    progress.end();

    let precision = Precision::from(args.precision);
    let (stages, parameters) = subject.stages(args, precision)?;
    let gflop = stages.iter().map(|stage| stage.flop as f64 * 1e-9).sum();
    let stages = stages.into_iter().zip(stage_times);
    let chunk = Quantiles::of(totals);
    let report = Report {
        engine: "reflexarc",
        model: subject.name().to_owned(),
        precision,
        fallback: backend.fallback(precision),
        device: backend.description(),
        cameras: observation.cameras.len(),
        reps: args.reps,
        load_s,
        warm_up_s,
        chunk,
        chunks_per_s: 1e3 / chunk.p50_ms,
        actions_per_s: actions.map(|actions| actions as f64 * 1e3 / chunk.p50_ms),
        parameters,
        gflop,
        resident_mib,
        peak_rss_mib,
        roofline,
        stages: stages.map(|(stage, times)| stage.report(times, precision, roofline)).collect(),
    };
    if args.json {
        println!("{}", serde_json::to_string_pretty(&report)?);
    } else {
        print!("{}", report.to_text());
    }
    Ok(EXIT_OK)
}

impl Subject {
    fn load(args: &BenchArgs, backend: &Backend) -> Result<(Self, Observation)> {
        let precision = Precision::from(args.precision);
        if !args.model.is_dir() {
            return Self::load_goal(args, precision);
        }
        match Checkpoint::open(&args.model)?.config {
            PolicyConfig::SmolVla(_) => {
                let options = smolvla::SmolVlaOptions {
                    precision: smolvla::Precisions::of(precision),
                    steps: args.steps,
                    ..Default::default()
                };
                let mut model = smolvla::SmolVla::load(&args.model, backend, options)?;
                model.instruct(&args.instruction);
                let common = &model.config().common;
                let taken = |camera: &&TrainedCamera| model.cameras().contains(&camera.name);
                let observation = noise(common, common.cameras.iter().filter(taken));
                Ok((Self::SmolVla(Box::new(model)), observation))
            }
            PolicyConfig::Act(_) => {
                if args.steps.is_some() {
                    bail!("--steps: ACT has no sampler");
                }
                let options =
                    act::ActOptions { precision: act::Precisions::of(precision), ..Default::default() };
                let model = act::Act::load(&args.model, backend, options)?;
                let common = &model.config().common;
                let observation = noise(common, common.cameras.iter());
                Ok((Self::Act(Box::new(model)), observation))
            }
        }
    }

    fn load_goal(args: &BenchArgs, precision: Precision) -> Result<(Self, Observation)> {
        if args.steps.is_some() {
            bail!("--steps: the goal model has no sampler");
        }
        if !matches!(precision, Precision::F32 | Precision::Int8) {
            bail!("--precision {}: the goal model computes in f32 or int8", precision.name());
        }
        let bytes = std::fs::read(&args.model).with_context(|| args.model.display().to_string())?;
        let cpu = CpuOptions { precision: Some(precision), threads: args.threads };
        let mut policy = GoalPolicy::from_bytes(&bytes, args.device.into(), cpu)?;
        if policy.device().kind != DeviceKind::Cpu && precision != Precision::F32 {
            bail!("--precision {}: on a GPU the goal model computes in f32", precision.name());
        }
        policy.instruct(&args.instruction);
        let mut observation = policy.blank_observation();
        let mut byte = noisy_bytes();
        for camera in &mut observation.cameras {
            camera.rgb.fill_with(&mut byte);
        }
        Ok((Self::Goal(Box::new(policy)), observation))
    }

    fn name(&self) -> &str {
        match self {
            Self::Goal(policy) => policy.name(),
            Self::SmolVla(model) => model.name(),
            Self::Act(model) => model.name(),
        }
    }

    /// The time of each stage of one chunk, and its actions; none where it was a goal.
    fn run(&mut self, observation: &Observation) -> Result<(Vec<Duration>, Option<usize>)> {
        let mut last = Instant::now();
        let mut times = Vec::with_capacity(4);
        let mut lap = || {
            times.push(last.elapsed());
            last = Instant::now();
        };
        let chunk = match self {
            Self::SmolVla(model) => {
                model.predict_staged(observation, &Ahead::default(), &mut |_| lap()).context("SmolVLA")?
            }
            Self::Act(model) => model.predict_staged(observation, &mut |_| lap()).context("ACT")?,
            Self::Goal(policy) => {
                policy.decision(observation).context("the goal model")?;
                lap();
                return Ok((times, None));
            }
        };
        Ok((times, Some(chunk.count())))
    }

    /// The stages in the order in which they end, and the model's parameters.
    fn stages(&self, args: &BenchArgs, precision: Precision) -> Result<(Vec<Stage>, u64)> {
        let bytes = match precision {
            Precision::F32 => 4.0,
            Precision::Bf16 => 2.0,
            Precision::Int8 => 1.0,
            // A scale for each block of 32.
            Precision::Int4 => 0.5 + 4.0 / 32.0,
        };
        let (modules, parameters) = match self {
            Self::Goal(policy) => (Vec::new(), goal::parameters(policy.config())),
            Self::SmolVla(_) | Self::Act(_) => {
                let modules = Card::read(&args.model)?.modules;
                let parameters = modules.iter().map(|module| module.parameters).sum();
                (modules, parameters)
            }
        };
        let weights = |module: &str| {
            let parameters = modules.iter().filter(|m| m.name.starts_with(module)).map(|m| m.parameters);
            parameters.sum::<u64>() as f64 * bytes
        };
        let stages = match self {
            Self::SmolVla(model) => smolvla::Stage::ALL
                .map(|stage| Stage {
                    name: stage.name(),
                    flop: model.flops(stage),
                    weight_bytes: match stage {
                        smolvla::Stage::Images => 0.0,
                        smolvla::Stage::Vision => weights("vision") + weights("connector"),
                        smolvla::Stage::Prefix => weights("text layers"),
                        smolvla::Stage::Denoise => weights("action expert") * model.steps() as f64,
                    },
                })
                .into(),
            Self::Act(model) => act::Stage::ALL
                .map(|stage| Stage {
                    name: stage.name(),
                    flop: model.flops(stage),
                    weight_bytes: match stage {
                        act::Stage::Images => 0.0,
                        act::Stage::Backbone => weights("image backbone"),
                        act::Stage::Encoder => weights("encoder"),
                        act::Stage::Decoder => weights("decoder"),
                    },
                })
                .into(),
            Self::Goal(policy) => vec![Stage {
                name: "decision",
                flop: goal::flops(policy.config(), policy.words()),
                weight_bytes: parameters as f64 * bytes,
            }],
        };
        Ok((stages, parameters))
    }
}

impl Stage {
    fn report(self, times: Vec<Duration>, precision: Precision, roofline: Option<Roofline>) -> StageReport {
        let time = Quantiles::of(times);
        let (flop, time_s) = (self.flop as f64, time.p50_ms * 1e-3);
        let least_s = roofline.map(|roofline| {
            let best_per_s = match precision {
                Precision::F32 | Precision::Bf16 => roofline.float_per_s,
                Precision::Int8 | Precision::Int4 => roofline.int8_per_s,
            };
            [flop / best_per_s, self.weight_bytes / roofline.read_bytes_per_s]
        });
        StageReport {
            stage: self.name,
            time,
            gflop: flop * 1e-9,
            gflop_per_s: flop * 1e-9 / time_s,
            weights_mib: self.weight_bytes / f64::from(1 << 20),
            of_roofline: least_s.map(|[arithmetic_s, _]| arithmetic_s / time_s),
            // A bound that explains less than half of the time does not bound.
            bound: least_s.map(|[arithmetic_s, memory_s]| match arithmetic_s.max(memory_s) {
                least_s if 2.0 * least_s < time_s => "between matrices",
                least_s if least_s > memory_s => "arithmetic",
                _ => "memory",
            }),
        }
    }
}

impl Quantiles {
    fn of(mut times: Vec<Duration>) -> Self {
        times.sort_unstable();
        let last = times.len().saturating_sub(1);
        let at = |share: f64| {
            times.get((share * last as f64).round() as usize).map_or(0.0, |time| time.as_secs_f64() * 1e3)
        };
        Self { min_ms: at(0.0), p50_ms: at(0.5), p90_ms: at(0.9), p99_ms: at(0.99) }
    }
}

impl Report {
    fn to_text(&self) -> String {
        let mut text = String::new();
        let cameras = if self.cameras == 1 { "camera" } else { "cameras" };
        let _ = writeln!(text, "model     {}, {} {cameras}, on {}", self.model, self.cameras, self.device);
        let _ = writeln!(
            text,
            "memory    {:.0} MiB resident after {:.1} s of loading, {:.0} MiB at most; {:.1} s of warm-up",
            self.resident_mib, self.load_s, self.peak_rss_mib, self.warm_up_s
        );
        if let Some(reason) = &self.fallback {
            let _ = writeln!(text, "numbers   f32 in place of {}: {reason}", self.precision.name());
        }
        if let Some(roofline) = &self.roofline {
            let _ = writeln!(
                text,
                "roofline  {:.0} GFLOP/s in f32, {:.0} GOP/s in int8, {:.1} GB/s from memory",
                roofline.float_per_s * 1e-9,
                roofline.int8_per_s * 1e-9,
                roofline.read_bytes_per_s * 1e-9
            );
        }
        let _ = writeln!(
            text,
            "\n{:9} {:>8} {:>8} {:>8}  {:>7} {:>9}  {:>8}  {:>9}  bound by",
            "stage", "p50 ms", "p90", "p99", "GFLOP", "GFLOP/s", "roofline", "weights"
        );
        for stage in &self.stages {
            let share = stage.of_roofline.map_or_else(|| "–".to_owned(), |of| format!("{:.0} %", of * 100.0));
            let _ = writeln!(
                text,
                "{:9} {:8.2} {:8.2} {:8.2}  {:7.1} {:9.0}  {share:>8}  {:5.0} MiB  {}",
                stage.stage,
                stage.time.p50_ms,
                stage.time.p90_ms,
                stage.time.p99_ms,
                stage.gflop,
                stage.gflop_per_s,
                stage.weights_mib,
                stage.bound.unwrap_or("–")
            );
        }
        let _ = writeln!(
            text,
            "{:9} {:8.2} {:8.2} {:8.2}  {:7.1}\n\n{:.2} a second",
            "all", self.chunk.p50_ms, self.chunk.p90_ms, self.chunk.p99_ms, self.gflop, self.chunks_per_s
        );
        if let Some(actions_per_s) = self.actions_per_s {
            let _ = writeln!(text, "{actions_per_s:.0} actions/s");
        }
        text
    }
}

/// Bytes that look random; equal on every run.
fn noisy_bytes() -> impl FnMut() -> u8 {
    let mut state = 0x9e37_79b9_u32;
    move || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    }
}

/// One observation of noise in the sizes of the training data.
fn noise<'a>(common: &CommonConfig, cameras: impl Iterator<Item = &'a TrainedCamera>) -> Observation {
    let mut byte = noisy_bytes();
    Observation {
        time_ns: 0,
        cameras: cameras
            .map(|camera| Camera {
                name: camera.name.clone(),
                width: camera.width,
                height: camera.height,
                rgb: (0..camera.width * camera.height * 3).map(|_| byte()).collect(),
            })
            .collect(),
        tactile: Vec::new(),
        joints_rad: vec![0.0; common.state_len.saturating_sub(1)],
        gripper_width_m: 0.0,
        base_from_tool: ToolPose { position_m: [0.0; 3], rotation_xyzw: [0.0, 0.0, 0.0, 1.0] },
    }
}

/// A field of `/proc/self/status` in MiB; NaN on systems without it.
fn memory_mib(field: &str) -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix(field));
    let kib = line.and_then(|rest| rest.split_whitespace().next()?.parse::<f64>().ok());
    kib.map_or(f64::NAN, |kib| kib / 1024.0)
}

/// Says how far it is, on a terminal alone and in one line.
struct Progress {
    terminal: bool,
}

impl Progress {
    fn say(&self, what: &str) {
        if self.terminal {
            let mut err = std::io::stderr();
            let _ = write!(err, "\r\x1b[K{what}");
            let _ = err.flush();
        }
    }

    fn end(&self) {
        self.say("");
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests fail by panicking")]
mod tests {
    use super::*;

    fn args(name: &str) -> BenchArgs {
        let data = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../vla-model/tests/data/lerobot");
        BenchArgs {
            model: data.join(name),
            precision: PrecisionArg::Int8,
            steps: None,
            instruction: String::new(),
            reps: 2,
            threads: 1,
            device: DeviceArg::Cpu,
            json: false,
        }
    }

    #[test]
    fn every_stage_of_a_chunk_is_timed_and_counted() {
        let args = args("act_tiny");
        let (mut subject, observation) = Subject::load(&args, &Backend::cpu(1)).unwrap();
        let (times, actions) = subject.run(&observation).unwrap();
        let (stages, _) = subject.stages(&args, Precision::Int8).unwrap();
        assert_eq!((times.len(), actions), (stages.len(), Some(12)));
        assert!(stages.iter().skip(1).all(|stage| stage.flop > 0 && stage.weight_bytes > 0.0));
    }

    #[test]
    fn the_goal_model_is_one_stage_and_refuses_numbers_that_it_does_not_compute_in() {
        let weights = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../vla-model/weights/goal.safetensors");
        let args = BenchArgs { model: weights, instruction: "pick up the red mug".into(), ..args("") };
        let (mut subject, observation) = Subject::load(&args, &Backend::cpu(1)).unwrap();
        let (times, actions) = subject.run(&observation).unwrap();
        let (stages, parameters) = subject.stages(&args, Precision::Int8).unwrap();
        assert_eq!((times.len(), actions, parameters), (1, None, 3_437_630));
        assert_eq!(stages[0].flop, 230_525_184);
        let args = BenchArgs { precision: PrecisionArg::Int4, ..args };
        let error = Subject::load(&args, &Backend::cpu(1)).err().unwrap().to_string();
        assert!(error.contains("int4"), "{error}");
    }

    #[test]
    fn quantiles_are_those_of_the_sorted_times() {
        let times = (1..=101).rev().map(Duration::from_millis).collect();
        let Quantiles { min_ms, p50_ms, p90_ms, p99_ms } = Quantiles::of(times);
        let expected = [1.0, 51.0, 91.0, 100.0];
        for (is, should) in [min_ms, p50_ms, p90_ms, p99_ms].into_iter().zip(expected) {
            assert!((is - should).abs() < 1e-9, "{is} {should}");
        }
    }

    #[test]
    fn a_sampler_is_only_asked_of_a_model_that_has_one() {
        let args = BenchArgs { steps: Some(3), ..args("act_tiny") };
        let error = Subject::load(&args, &Backend::cpu(1)).err().unwrap().to_string();
        assert!(error.contains("--steps"), "{error}");
    }
}
