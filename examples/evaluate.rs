//! Evaluates a model in closed loop on scenes that it was never trained on, in lockstep.
//!
//! `cargo run --release --example evaluate -- --help` documents the keys of the JSON file.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a program that reports its progress")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use anyhow::{Context, Result, anyhow};
use clap::{Parser, ValueEnum};
use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use reflexarc_drivers::arm::simulator::WireFaults;
use reflexarc_examples::contender::{Contender, Timed};
use reflexarc_examples::episode::{self, Decider, Episode, EpisodeResult, Lent};
use reflexarc_examples::lerobot::{record, verify};
use reflexarc_examples::peaks::Peaks;
use reflexarc_examples::sweep::{self, Row};
use reflexarc_examples::{translate, wilson};
use reflexarc_runtime::Config;
use reflexarc_runtime::config::ChunkConfig;
use reflexarc_runtime::fault::FaultProfile;
use reflexarc_runtime::ledger::{Latency, LatencySummary};
use reflexarc_runtime::runtime::load_chain;
use reflexarc_sim::node::Faults;
use reflexarc_sim::object::{Kind, Paint};
use reflexarc_sim::scene::Scene;
use reflexarc_vla_model::compute::Precision;
use reflexarc_vla_model::device::DeviceChoice;
use reflexarc_vla_model::phrasing::{self, Split};
use reflexarc_vla_model::policy::Policy;
use serde::Serialize;

/// What the robot is to do.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Suite {
    /// "pick up the {colour} {mug|cube}" among distractors, in every light.
    Pick,
    /// "pick up the red cube", alone near the middle of the table: for small policies of short training.
    PickOne,
}

/// The words in which the robot is told.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Phrasing {
    /// "pick up the red mug".
    Canonical,
    /// Random phrasings of the kind that training used.
    Train,
    /// Random phrasings from the part of the grammar that was kept out of training.
    HeldOut,
}

/// What is taken away to see whether the model does the work.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Ablation {
    /// Nothing.
    None,
    /// The model altogether: the scripted expert decides from the simulator's state instead, through
    /// the same runtime. It bounds what can be learned.
    Expert,
    /// Random weights of the same shape.
    RandomWeights,
    /// The instruction names another object of the scene; that one must be lifted.
    OtherObject,
    /// Both cameras deliver black frames; the arm must hold.
    BlackCameras,
    /// The instruction names an object that is not there; the arm must hold.
    AbsentObject,
}

/// What the wire between the arm's driver and its servos does.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Wire {
    /// Carries everything.
    Clean,
    /// Loses one reply in a hundred, breaks one in a hundred, and is late with one in five hundred.
    Noisy,
}

impl Wire {
    fn faults(self, seed: u64) -> WireFaults {
        let quiet = WireFaults { seed, ..WireFaults::default() };
        match self {
            Self::Clean => quiet,
            Self::Noisy => WireFaults {
                drop_reply: 0.01,
                corrupt_reply: 0.01,
                delay_reply: 0.002,
                delay_max_ms: 8,
                ..quiet
            },
        }
    }
}

/// Evaluates the goal model: "pick up the {colour} {mug|cube}" among distractors.
#[derive(Parser)]
#[command(after_help = "Keys of the JSON file:
  suite, phrasing, ablation, seed, model, model_hash   what was run
  episodes         number of episodes
  successes        target lifted 10 cm and held for 1 s
  success_rate     successes / episodes
  wilson_low, wilson_high   95 % interval of the success rate
  wrong_object     episodes in which another object was lifted
  outcomes         how many episodes ended in each way
  held             episodes in which the arm never left its starting posture
  mean_time_to_success_s    simulated seconds
  decisions, refused        decisions made, and refused by the audit
  max_joint_velocity_rad_s, max_joint_acceleration_rad_s2, max_joint_jerk_rad_s3
                   the largest that was commanded to each joint in any episode, by finite
                   differences of consecutive commands
  joint_velocity_limit_rad_s, joint_acceleration_limit_rad_s2, joint_jerk_limit_rad_s3
                   what the runtime's configuration and the robot's description allow
  faults           the fault profile, where there was one
  drops            how often a target was raised and came down again
  limits_broken    commands beyond a limit, holds and stops that came to rest too late, motion after a
                   stop; not 0: exit code 1
  digest           hash over all episodes' results and final states
  results          for each episode: seed, instruction, outcome, time_to_success_s, ...
  timing           wall-clock figures, the model's time for a decision among them; all else is
                   the same on each run

Examples:
  evaluate --suite pick --episodes 200 --seed 1000 --json out/pick.json
  evaluate --episodes 20 --instruction 'would you hand me the {colour} {object}'
  evaluate --episodes 50 --ablation random-weights
  evaluate --episodes 20 --faults lossy-network
  evaluate --suite pick --faults sweep
  evaluate --suite pick --servos clean
  evaluate --suite pick-one --seed 1000000 --episodes 100 --export-lerobot out/pick-one")]
struct Arguments {
    /// The task suite.
    #[arg(long, value_enum, default_value = "pick")]
    suite: Suite,
    /// Number of episodes (50 by default); each has a scene of its own. In a sweep, those of a cell (4).
    #[arg(long)]
    episodes: Option<usize>,
    /// Seed of the first scene (1000 by default, 4000 in a sweep); the next ones follow. Training uses seeds
    /// from 1,000,000 on.
    #[arg(long)]
    seed: Option<u64>,
    /// What goes wrong: a fault profile that ships (`faults --profiles` lists them), the file of one, or
    /// `sweep` for the whole table of lost frames, late decisions and frozen senses.
    #[arg(long)]
    faults: Option<String>,
    /// The table that a sweep is compared with.
    #[arg(long, default_value = "examples/tests/data/faults-sweep.tsv")]
    golden: PathBuf,
    /// Writes the sweep's table instead of comparing it, and docs/faults-sweep.md for people.
    #[arg(long)]
    bless: bool,
    /// Weights file of the goal model, or the folder of a LeRobot checkpoint.
    #[arg(long, default_value = "vla-model/weights/goal.safetensors")]
    model: PathBuf,
    /// Where to run the model.
    #[arg(long, default_value = "cpu", value_parser = ["cpu", "gpu", "auto"])]
    device: String,
    /// Numbers in which a CPU multiplies the model's matrices; the weights file's own by default.
    #[arg(long, value_parser = ["f32", "int8"])]
    precision: Option<String>,
    /// Writes the results here.
    #[arg(long)]
    json: Option<PathBuf>,
    /// What to tell the robot, with {colour} and {object} filled in from the scene's target.
    #[arg(long)]
    instruction: Option<String>,
    /// Which phrasings to use where --instruction gives none.
    #[arg(long, value_enum, default_value = "canonical")]
    phrasing: Phrasing,
    /// What to take away.
    #[arg(long, value_enum, default_value = "none")]
    ablation: Ablation,
    /// The arm's own driver with servos simulated down to the bytes, in the place of ideal joints; on such a wire.
    #[arg(long, value_enum, value_name = "WIRE")]
    servos: Option<Wire>,
    /// Longest episode, simulated seconds.
    #[arg(long, default_value_t = 12.0)]
    limit_s: f64,
    /// Evaluates nothing: writes the expert's demonstrations as a LeRobotDataset v3.0 into this folder.
    #[arg(long)]
    export_lerobot: Option<PathBuf>,
    /// Frames per second of demonstrations: of those exported (a divisor of 60), and of those that a policy
    /// of action chunks was trained on.
    #[arg(long, default_value_t = 20)]
    fps: u32,
    /// Actions of a chunk to execute before the next one is asked for; 0: at every decision.
    #[arg(long, default_value_t = 0)]
    execution_horizon: usize,
    /// The policy is this command's process, asked over its standard streams; see
    /// `examples/lerobot/policy_server.py`.
    #[arg(long, conflicts_with = "model")]
    policy_command: Option<String>,
    /// Episodes at the same time.
    #[arg(long, default_value_t = std::thread::available_parallelism().map_or(1, usize::from))]
    threads: usize,
}

#[derive(Serialize)]
struct Summary {
    suite: String,
    phrasing: String,
    ablation: String,
    seed: u64,
    faults: Option<String>,
    model: String,
    model_hash: Option<String>,
    episodes: usize,
    successes: usize,
    success_rate: f64,
    wilson_low: f64,
    wilson_high: f64,
    wrong_object: usize,
    outcomes: BTreeMap<String, usize>,
    held: usize,
    mean_time_to_success_s: Option<f64>,
    decisions: u64,
    refused: u64,
    drops: u32,
    limits_broken: u64,
    max_joint_velocity_rad_s: [f64; 7],
    joint_velocity_limit_rad_s: Vec<f64>,
    max_joint_acceleration_rad_s2: [f64; 7],
    joint_acceleration_limit_rad_s2: Vec<f64>,
    max_joint_jerk_rad_s3: [f64; 7],
    joint_jerk_limit_rad_s3: Vec<f64>,
    digest: String,
    results: Vec<EpisodeResult>,
    timing: Timing,
}

#[derive(Serialize)]
struct Timing {
    wall_s: f64,
    simulated_s: f64,
    times_real_time: f64,
    threads: usize,
    device: String,
    model: LatencySummary,
}

fn main() -> Result<ExitCode> {
    let arguments = Arguments::parse();
    if let Some(folder) = &arguments.export_lerobot {
        return export(&arguments, folder).map(|()| ExitCode::SUCCESS);
    }
    let device = match arguments.device.as_str() {
        "gpu" => DeviceChoice::Gpu,
        "auto" => DeviceChoice::Auto,
        _ => DeviceChoice::Cpu,
    };
    let precision = arguments.precision.as_deref().map(|numbers| match numbers {
        "f32" => Precision::F32,
        _ => Precision::Int8,
    });
    let rate_hz = f64::from(arguments.fps);
    let contender = || match (&arguments.policy_command, arguments.ablation) {
        (Some(command), _) => Contender::outside(command, rate_hz),
        (None, Ablation::RandomWeights | Ablation::Expert) => Contender::random(device),
        (None, _) if arguments.model.is_dir() => Contender::lerobot(&arguments.model, rate_hz, precision),
        (None, _) => Contender::goal(&arguments.model, device, precision),
    };
    let Contender { policy, device, hash } = contender()?;
    println!("device: {device}");
    let start = Instant::now();
    if arguments.faults.as_deref() == Some("sweep") {
        return run_sweep(&arguments, policy, &contender);
    }
    let profile = arguments.faults.as_deref().map(FaultProfile::load).transpose()?.unwrap_or_default();
    let (episodes, seed) = (arguments.episodes.unwrap_or(50), arguments.seed.unwrap_or(1000));
    let (results, model) = run_all(&arguments, policy, &contender, episodes, &|index, decider| {
        let mut episode = prepare(&arguments, seed + index as u64);
        episode.profile = profile.clone().with_seed(profile.seed ^ episode.scene.seed);
        episode::run(&episode, decider)
    })?;
    let summary = summarise(&arguments, (device, hash), results, start.elapsed().as_secs_f64(), model)?;
    println!(
        "{} of {} succeeded: {:.1} % (95 % interval {:.1} to {:.1}), {} wrong object, {:.1} times real time",
        summary.successes,
        summary.episodes,
        100.0 * summary.success_rate,
        100.0 * summary.wilson_low,
        100.0 * summary.wilson_high,
        summary.wrong_object,
        summary.timing.times_real_time
    );
    println!(
        "model: p50 {:.2} ms, p99 {:.2} ms, {} at a time",
        summary.timing.model.p50_us / 1e3,
        summary.timing.model.p99_us / 1e3,
        summary.timing.threads
    );
    for (outcome, count) in &summary.outcomes {
        println!("  {count:>4}  {outcome}");
    }
    println!("  {:>4}  held still throughout", summary.held);
    print_peaks(&summary);
    println!("digest {}", summary.digest);
    if let Some(path) = &arguments.json {
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
        }
        std::fs::write(path, serde_json::to_string_pretty(&summary)?)
            .with_context(|| format!("cannot write {}", path.display()))?;
    }
    if let Some(faults) = &summary.faults {
        let met: u64 = summary.results.iter().map(|r| r.link_faults + r.policy_faults).sum();
        println!("faults {faults}: {met} happened, {} drops", summary.drops);
    }
    if summary.limits_broken > 0 {
        let first = summary.results.iter().flat_map(|r| &r.judgement.first).take(5);
        println!("LIMITS BROKEN {} times: {:#?}", summary.limits_broken, first.collect::<Vec<_>>());
        return Ok(ExitCode::FAILURE);
    }
    Ok(ExitCode::SUCCESS)
}

/// Runs the whole table of faults and compares it with the one in the repository.
fn run_sweep(
    arguments: &Arguments,
    policy: Box<dyn Policy>,
    contender: &(impl Fn() -> Result<Contender> + Sync),
) -> Result<ExitCode> {
    anyhow::ensure!(arguments.suite == Suite::Pick, "the sweep of faults is defined for the suite `pick`");
    let begun = Instant::now();
    let cells = sweep::cells();
    let per_cell = arguments.episodes.unwrap_or(sweep::EPISODES);
    let seed = arguments.seed.unwrap_or(sweep::SEED);
    let (rows, _) = run_all(arguments, policy, contender, cells.len() * per_cell, &|index, decider| {
        cells[index / per_cell].run(seed + (index % per_cell) as u64, decider)
    })?;
    let config = Config::default();
    let table = sweep::table(&rows)?;
    println!("{table}");
    let broken: Vec<String> = rows
        .iter()
        .filter_map(|row: &Row| Some(format!("{}: {}", row.line(), row.broken(&config)?)))
        .collect();
    println!(
        "{} episodes in {:.0} s, {} broke a promise",
        rows.len(),
        begun.elapsed().as_secs_f64(),
        broken.len()
    );
    for line in &broken {
        println!("BROKEN {line}");
    }
    let mut ok = broken.is_empty();
    if arguments.bless {
        std::fs::write(&arguments.golden, sweep::golden(&rows))
            .with_context(|| format!("cannot write {}", arguments.golden.display()))?;
        std::fs::write("docs/faults-sweep.md", table).context("cannot write docs/faults-sweep.md")?;
    } else {
        let differences = sweep::differences(&sweep::read_golden(&arguments.golden)?, &rows)?;
        println!("{} rows differ from {}", differences.len(), arguments.golden.display());
        for difference in differences.iter().take(20) {
            println!("{difference}");
        }
        ok &= differences.is_empty();
    }
    Ok(if ok { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Writes demonstrations of the suite for LeRobot, then reads them back.
fn export(arguments: &Arguments, folder: &Path) -> Result<()> {
    let begun = Instant::now();
    let (seed, episodes) = (arguments.seed.unwrap_or(1000), arguments.episodes.unwrap_or(50));
    let episode = |index: usize| prepare(arguments, seed + index as u64);
    record::export(folder, arguments.fps, episodes, &episode, &mut |done, kept, frames| {
        if done % 10 == 0 || done == episodes {
            let elapsed_s = begun.elapsed().as_secs_f64();
            eprintln!("{done}/{episodes} episodes, {kept} kept, {frames} frames, {elapsed_s:.0} s",);
        }
    })?;
    let contents = verify::verify(folder).context("the dataset does not read back")?;
    println!(
        "{}: {} episodes, {} frames, {} instruction(s), read back and checked",
        folder.display(),
        contents.episodes,
        contents.frames,
        contents.tasks.len()
    );
    Ok(())
}

/// The largest commanded motion of each joint beside its limits.
fn print_peaks(summary: &Summary) {
    println!("largest commanded to any joint, beside its limit:");
    println!("  joint  velocity, rad/s    acceleration, rad/s2  jerk, rad/s3");
    for joint in 0..summary.max_joint_velocity_rad_s.len() {
        let limit = |limits: &[f64]| limits.get(joint).copied().unwrap_or(f64::INFINITY);
        println!(
            "  {:>5}  {:>7.3} of {:<7.3}  {:>8.3} of {:<8.3}  {:>6.0} of {:<6.0}",
            joint + 1,
            summary.max_joint_velocity_rad_s[joint],
            limit(&summary.joint_velocity_limit_rad_s),
            summary.max_joint_acceleration_rad_s2[joint],
            limit(&summary.joint_acceleration_limit_rad_s2),
            summary.max_joint_jerk_rad_s3[joint],
            limit(&summary.joint_jerk_limit_rad_s3),
        );
    }
}

/// Runs `count` episodes on several threads; the results in the order of their numbers.
fn run_all<T: Send>(
    arguments: &Arguments,
    first: Box<dyn Policy>,
    contender: &(impl Fn() -> Result<Contender> + Sync),
    count: usize,
    run: &(impl Fn(usize, Decider) -> Result<T> + Sync),
) -> Result<(Vec<T>, LatencySummary)> {
    let latency = Arc::new(Mutex::new(Latency::new()));
    let next = AtomicUsize::new(0);
    let results: Mutex<BTreeMap<usize, T>> = Mutex::new(BTreeMap::new());
    let first = Mutex::new(Some(first));
    let work = || -> Result<()> {
        let loaded = first.lock().map_err(|_| anyhow!("another episode panicked"))?.take();
        let policy = loaded.map_or_else(|| Ok(contender()?.policy), anyhow::Ok)?;
        let timed = Timed { policy, latency: Arc::clone(&latency) };
        let policy = Arc::new(Mutex::new(timed));
        loop {
            let index = next.fetch_add(1, Ordering::Relaxed);
            if index >= count {
                return Ok(());
            }
            let decider = match arguments.ablation {
                Ablation::Expert => Decider::Expert,
                _ => Decider::Policy(Box::new(Lent(Arc::clone(&policy)))),
            };
            let result = run(index, decider)?;
            let mut results = results.lock().map_err(|_| anyhow!("another episode panicked"))?;
            results.insert(index, result);
            let done = results.len();
            if done % 10 == 0 || done == count {
                eprintln!("{done}/{count} episodes");
            }
        }
    };
    std::thread::scope(|scope| -> Result<()> {
        let workers = (0..arguments.threads.max(1))
            .map(|i| std::thread::Builder::new().name(format!("episodes-{i}")).spawn_scoped(scope, work))
            .collect::<std::io::Result<Vec<_>>>()?;
        for worker in workers {
            worker.join().map_err(|_| anyhow!("an episode panicked"))??;
        }
        Ok(())
    })?;
    let results = results.into_inner().map_err(|_| anyhow!("an episode panicked"))?.into_values().collect();
    let model = latency.lock().map_err(|_| anyhow!("an episode panicked"))?.summary();
    Ok((results, model))
}

fn prepare(arguments: &Arguments, seed: u64) -> Episode {
    let scene = match arguments.suite {
        Suite::Pick => Scene::pick(seed),
        Suite::PickOne => Scene::pick_one(seed),
    };
    let mut rng = ChaCha8Rng::seed_from_u64(seed ^ 0x0077_6f72_6473);
    let mut target = scene.target;
    if arguments.ablation == Ablation::OtherObject {
        // The distractor of the target's shape, or the mug or cube of its colour.
        let graspable: Vec<usize> = (0..scene.objects.len())
            .filter(|i| *i != scene.target && scene.objects[*i].kind() != Kind::Bowl)
            .collect();
        target = graspable.choose(&mut rng).copied().unwrap_or(target);
    }
    let (mut kind, mut paint) = (scene.objects[target].kind(), scene.objects[target].paint);
    if arguments.ablation == Ablation::AbsentObject {
        let absent: Vec<(Kind, Paint)> = [Kind::Mug, Kind::Cube]
            .into_iter()
            .flat_map(|k| Paint::ALL.map(|p| (k, p)))
            .filter(|pair| !scene.objects.iter().any(|o| (o.kind(), o.paint) == *pair))
            .collect();
        (kind, paint) = absent[rng.random_range(0..absent.len())];
    }
    let (color, object) = (translate::color(paint), translate::object(kind));
    let instruction = match (&arguments.instruction, arguments.phrasing) {
        (Some(text), _) => text
            .replace("{colour}", paint.name())
            .replace("{color}", paint.name())
            .replace("{object}", kind.name()),
        (None, Phrasing::Canonical) => phrasing::canonical(color, object),
        (None, Phrasing::Train) => phrasing::phrase_pick(&mut rng, Split::Train, color, object).text,
        (None, Phrasing::HeldOut) => phrasing::phrase_pick(&mut rng, Split::HeldOut, color, object).text,
    };
    let faults = Faults { cameras_black: arguments.ablation == Ablation::BlackCameras, ..Faults::default() };
    let chunk = ChunkConfig {
        rate_hz: arguments.fps.into(),
        execution_horizon: arguments.execution_horizon,
        ..ChunkConfig::default()
    };
    Episode {
        scene,
        instruction,
        target,
        limit_s: arguments.limit_s,
        faults,
        chunk,
        profile: FaultProfile::default(),
        delay_ms: None,
        servos: arguments.servos.map(|wire| wire.faults(seed)),
    }
}

fn name_of<T: ValueEnum>(value: T) -> String {
    value.to_possible_value().map_or_else(String::new, |v| v.get_name().to_owned())
}

fn summarise(
    arguments: &Arguments,
    (device, model_hash): (String, Option<String>),
    results: Vec<EpisodeResult>,
    wall_s: f64,
    model: LatencySummary,
) -> Result<Summary> {
    use sha2::{Digest, Sha256};
    let successes = results.iter().filter(|r| r.outcome == "success").count();
    let (wilson_low, wilson_high) = wilson::interval(successes, results.len());
    let mut outcomes = BTreeMap::new();
    for result in &results {
        *outcomes.entry(result.outcome.clone()).or_insert(0) += 1;
    }
    let times: Vec<f64> = results.iter().filter_map(|r| r.time_to_success_s).collect();
    let mut hash = Sha256::new();
    for r in &results {
        hash.update(format!("{} {} {} {}\n", r.seed, r.outcome, r.decisions, r.digest));
    }
    let peaks = results.iter().fold(Peaks::default(), |peaks, result| peaks.max(&result.peaks));
    // As in every episode.
    let config = Config::default();
    let chain = load_chain(&config)?;
    let simulated_s: f64 = results.iter().map(|r| r.duration_s).sum();
    Ok(Summary {
        suite: name_of(arguments.suite),
        phrasing: arguments.instruction.clone().unwrap_or_else(|| name_of(arguments.phrasing)),
        ablation: name_of(arguments.ablation),
        seed: arguments.seed.unwrap_or(1000),
        faults: arguments.faults.clone(),
        model: arguments.policy_command.clone().unwrap_or_else(|| arguments.model.display().to_string()),
        model_hash,
        episodes: results.len(),
        successes,
        success_rate: successes as f64 / results.len().max(1) as f64,
        wilson_low,
        wilson_high,
        wrong_object: results.iter().filter(|r| r.outcome == "wrong_object").count(),
        outcomes,
        held: results.iter().filter(|r| !r.moved).count(),
        mean_time_to_success_s: (!times.is_empty()).then(|| times.iter().sum::<f64>() / times.len() as f64),
        decisions: results.iter().map(|r| r.decisions).sum(),
        refused: results.iter().map(|r| r.refused).sum(),
        drops: results.iter().map(|r| r.drops).sum(),
        limits_broken: results.iter().map(|r| r.judgement.violations).sum(),
        max_joint_velocity_rad_s: peaks.velocity_rad_s,
        joint_velocity_limit_rad_s: chain
            .limits()
            .iter()
            .map(|joint| joint.velocity_rad_s * config.limits.speed_scale)
            .collect(),
        max_joint_acceleration_rad_s2: peaks.acceleration_rad_s2,
        joint_acceleration_limit_rad_s2: vec![config.limits.max_joint_acceleration_rad_s2; chain.dof()],
        max_joint_jerk_rad_s3: peaks.jerk_rad_s3,
        joint_jerk_limit_rad_s3: vec![config.limits.max_joint_jerk_rad_s3; chain.dof()],
        digest: hash.finalize().iter().map(|b| format!("{b:02x}")).collect(),
        timing: Timing {
            wall_s,
            simulated_s,
            times_real_time: simulated_s / wall_s.max(1e-9),
            threads: arguments.threads,
            device,
            model,
        },
        results,
    })
}
