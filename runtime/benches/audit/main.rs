//! What the audit costs beside the inference that it audits, in one run.
//!
//! ```text
//! cargo bench --workspace --bench audit
//! ```
//!
//! The work: audits one after the other, everything in the caches. And in place: the shipped goal model decides about
//! noise again and again; after each inference, with its weights in the caches in place of everything else, one
//! decision of recorded episodes is audited whole: grammar, meaning, world. Figures of it:
//!
//! - in place: as the audit times itself and the report shows it; one reading of the clock is in it;
//! - in all: how much later the caller goes on, from the model's last layer to after the audit, in rounds that audit than
//!   in rounds that don't, drawn at random. So calling up is in it, and the caller's own code that has to come back; two
//!   readings of the clock, by which the audit times itself, are taken off. Of both kinds of rounds the slowest
//!   hundredth is left out: an interrupt in one of them is a hundred times the difference.
//! - in all, not called up: the same of a third kind of rounds, to see what calling up is worth.
//!
//! What the model itself says to noise, that nothing can be done, is audited in between.
//!
//! `decisions.txt` was written by
//! `cargo run --release --example audit_check -- --episodes 4 --corruptions 0 --write-stream FILE`.
#![allow(clippy::print_stdout, clippy::unwrap_used, reason = "a benchmark prints, and fails by panicking")]

use std::fmt;
use std::hint::black_box;
use std::path::Path;
use std::time::Instant;

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use reflexarc_kinematics::ARM7_HOME_RAD;
use reflexarc_runtime::Config;
use reflexarc_runtime::audit::{Audit, AuditVerdict, Facts};
use reflexarc_runtime::config::DeviceChoice;
use reflexarc_runtime::runtime::{load_chain, load_description};
use reflexarc_vla_model::chunk::{ActionChunk, Ahead};
use reflexarc_vla_model::compute::Precision;
use reflexarc_vla_model::decision::{Decision, Verdict};
use reflexarc_vla_model::goal::policy::{CpuOptions, GoalPolicy};
use reflexarc_vla_model::grammar::parse;
use reflexarc_vla_model::observation::{Camera, Observation, TACTILE_LEN, Tactile, ToolPose};
use reflexarc_vla_model::policy::{Milestone, Output, Policy};
use reflexarc_vla_model::token::tokens_from_text;

/// More than any cache of the processors that this runs on.
const FLUSH_BYTES: usize = 64 << 20;
/// Rounds through the recorded decisions, beside inferences.
const ROUNDS: usize = 12;
/// One in so many is followed by a decision of the model's own.
const OWN_EVERY: usize = 4;
/// Chunks audited for each figure.
const CHUNKS: usize = 200;

/// What is done with a decision.
#[derive(Clone, Copy, PartialEq)]
enum Round {
    Unaudited,
    NotCalledUp,
    /// As the mind does it.
    Audited,
}

/// A decision, what was known when it was made, and whether an episode begins with it.
type Said = (Decision, Facts, bool);

fn main() {
    let config = Config::default();
    let chain = load_chain(&config).unwrap();
    let begun = Instant::now();
    let audit = Audit::new(chain, &config, &load_description(&config).unwrap()).unwrap();
    println!(
        "start-up: {:.0} ms, most of it the map of the arm's reach",
        begun.elapsed().as_secs_f64() * 1e3
    );
    let clock_ns = clock_ns();
    println!("clock: one reading takes {clock_ns:.0} ns");

    let said = stream(include_str!("decisions.txt"));
    println!("goal model, {} decisions of recorded episodes", said.len());
    let hot = hot_ns(&audit, &said);
    println!("  the work: {hot:.0} ns a decision");
    for threads in [1, 0] {
        beside_inference(&audit, &said, threads, hot, clock_ns);
    }

    println!("chunks of 8 values an action, {CHUNKS} each, caches emptied before each");
    for (name, count, step_rad) in [
        ("50 actions in the free, as SmolVLA's", 50, 0.006),
        ("100 actions in the free, as ACT's", 100, 0.006),
        ("100 actions at rest", 100, 0.0),
    ] {
        let (mean_ns, p99_ns) = chunk_ns(&audit, count, step_rad);
        println!("  {name:<38} {:.1} us, p99 {:.1} us", mean_ns / 1e3, p99_ns / 1e3);
    }
}

/// Cost of one reading of the clock, ns.
fn clock_ns() -> f64 {
    const READINGS: u32 = 100_000;
    let begun = Instant::now();
    for _ in 0..READINGS {
        black_box(Instant::now());
    }
    begun.elapsed().as_nanos() as f64 / f64::from(READINGS)
}

fn stream(text: &str) -> Vec<Said> {
    let mut first = true;
    let mut said = Vec::new();
    for line in text.lines() {
        if line.is_empty() {
            first = true;
            continue;
        }
        let mut words = line.splitn(6, ' ');
        let mut number = || words.next().unwrap().parse::<f64>().unwrap();
        let facts =
            Facts { tool_m: [number(), number(), number()], gripper_width_m: number(), felt_n: number() };
        let tokens = tokens_from_text(words.next().unwrap()).unwrap();
        let verdict = parse(&tokens).unwrap();
        said.push((Decision { tokens, verdict, confidence: 0.9, observation_ns: 7 }, facts, first));
        first = false;
    }
    said
}

fn beside_inference(audit: &Audit, said: &[Said], threads: usize, hot_ns: f64, clock_ns: f64) {
    let weights = Path::new(env!("CARGO_MANIFEST_DIR")).join("../vla-model/weights/goal.safetensors");
    let cpu = CpuOptions { precision: Some(Precision::Int8), threads };
    let bytes = std::fs::read(weights).unwrap();
    let mut policy = GoalPolicy::from_bytes(&bytes, DeviceChoice::Cpu, cpu).unwrap();
    policy.instruct("pick up the red mug");
    let mut audit = audit.clone();
    let observation = observation();
    for _ in 0..20 {
        policy.decision(&observation).unwrap();
    }
    let mut rng = ChaCha8Rng::seed_from_u64(7);
    // By kind of round.
    let (mut audit_ns, mut after_ns) = ([vec![], vec![], vec![]], [vec![], vec![], vec![]]);
    let mut model_ns = Vec::new();
    // Of what the model itself says to noise: that nothing can be done.
    let mut own_ns = Vec::new();
    let (mut refused, mut solves) = (0, 0);
    for (index, (decision, facts, first)) in said.iter().cycle().take(ROUNDS * said.len()).enumerate() {
        if *first {
            audit.begin();
        }
        if index % OWN_EVERY == 0 {
            let asked = audit.asked(7, *facts);
            let mut reached = |milestone| {
                if milestone == Milestone::Output {
                    asked.call_up();
                }
            };
            let own = policy.decide_staged(&observation, &Ahead::default(), &mut reached).unwrap();
            black_box(Instant::now());
            let (event, took_ns) = audit.answer(&own, &asked);
            own_ns.push(took_ns as f64);
            let infeasible =
                matches!(&own, Output::Goals(own) if matches!(own.verdict, Verdict::Infeasible(_)));
            assert!(infeasible && event.verdict == AuditVerdict::Pass);
        }
        let round = [Round::Unaudited, Round::NotCalledUp, Round::Audited][rng.next_u32() as usize % 3];
        let begun = Instant::now();
        let mut computed = begun;
        let asked = audit.asked(7, *facts);
        let mut reached = |milestone| {
            if milestone == Milestone::Output {
                computed = Instant::now();
                if round == Round::Audited {
                    asked.call_up();
                }
            }
        };
        black_box(policy.decide_staged(&observation, &Ahead::default(), &mut reached).unwrap());
        // In place of what the decoder has just written.
        let output = black_box(Output::Goals(decision.clone()));
        let answered = Instant::now();
        let judged = (round != Round::Unaudited).then(|| audit.answer(&output, &asked));
        let done = Instant::now();
        let ns = |from: Instant, to: Instant| to.duration_since(from).as_nanos() as f64;
        model_ns.push(ns(begun, answered));
        after_ns[round as usize].push(ns(computed, done));
        if let Some((event, took_ns)) = judged {
            audit_ns[round as usize].push(took_ns as f64);
            refused += u64::from(event.verdict != AuditVerdict::Pass);
            solves += event.reach_solves;
        }
    }
    let model = Figures::of(model_ns);
    println!("  {}", policy.device().description);
    println!("    inference              {model}");
    let [_, cold, called_up] = audit_ns.map(Figures::of);
    println!("    audit, not called up   {cold}");
    println!("    audit                  {called_up}");
    println!("    the same, infeasible   {}", Figures::of(own_ns));
    let [bare, late, later] = after_ns.map(Figures::of);
    println!("    from the last layer on {bare}");
    println!("    with an audit          {later}");
    println!("    {refused} refused, {solves} reach solutions");
    for (what, ns) in [
        ("the work", hot_ns),
        ("in place", called_up.mean),
        ("in all, not called up", late.most - bare.most - 2.0 * clock_ns),
        ("in all", later.most - bare.most - 2.0 * clock_ns),
    ] {
        let ratio = ns / model.mean;
        let holds = if ratio < 1e-4 { "below" } else { "NOT below" };
        println!("    {what} over inference: {ns:.0} ns, {ratio:.2e}, {holds} 1e-4");
    }
}

fn hot_ns(audit: &Audit, said: &[Said]) -> f64 {
    const ROUNDS: u32 = 50;
    let mut audit = audit.clone();
    let begun = Instant::now();
    for _ in 0..ROUNDS {
        for (decision, facts, first) in said {
            if *first {
                audit.begin();
            }
            let asked = audit.asked(7, *facts);
            black_box(audit.decision(black_box(decision), &asked));
        }
    }
    begun.elapsed().as_nanos() as f64 / f64::from(ROUNDS) / said.len() as f64
}

/// Mean and 99th percentile for a chunk that turns each joint by `step_rad` an action, ns.
fn chunk_ns(audit: &Audit, count: usize, step_rad: f64) -> (f64, f64) {
    let mut audit = audit.clone();
    let mut flush = vec![1_u8; FLUSH_BYTES];
    let action = |index: usize| {
        let turn = move |q: f64| (q + step_rad * (index as f64 * 0.1).sin() * 10.0) as f32;
        ARM7_HOME_RAD.map(turn).into_iter().chain([0.04])
    };
    let actions: Vec<f32> = (0..count).flat_map(action).collect();
    let mut times = Vec::new();
    for _ in 0..CHUNKS {
        let chunk =
            ActionChunk { observation_ns: 7, period_ns: 33_333_333, width: 8, actions: actions.clone() };
        flush.iter_mut().step_by(64).for_each(|byte| *byte = byte.wrapping_add(1));
        black_box(&flush);
        let begun = Instant::now();
        let event = audit.chunk(&chunk, 7);
        times.push(begun.elapsed().as_nanos() as f64);
        assert_eq!(event.verdict, AuditVerdict::Pass);
    }
    let figures = Figures::of(times);
    (figures.mean, figures.p99)
}

/// Noise in the sizes that the model takes; values do not change the time.
fn observation() -> Observation {
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    let mut rgb = || {
        let mut rgb = vec![0; 96 * 96 * 3];
        rng.fill_bytes(&mut rgb);
        rgb
    };
    let camera = |name: &str, rgb: Vec<u8>| Camera { name: name.into(), width: 96, height: 96, rgb };
    let pad = |name: &str| Tactile { name: name.into(), taxels_n: vec![0.1; TACTILE_LEN] };
    Observation {
        time_ns: 7,
        cameras: vec![camera("scene", rgb()), camera("wrist", rgb())],
        tactile: vec![pad("left"), pad("right")],
        joints_rad: ARM7_HOME_RAD.map(|q| q as f32).to_vec(),
        gripper_width_m: 0.08,
        base_from_tool: ToolPose { position_m: [0.5, 0.0, 0.3], rotation_xyzw: [1.0, 0.0, 0.0, 0.0] },
    }
}

struct Figures {
    mean: f64,
    /// Mean of all but the slowest hundredth.
    most: f64,
    p50: f64,
    p99: f64,
}

impl Figures {
    fn of(mut values: Vec<f64>) -> Self {
        values.sort_by(f64::total_cmp);
        let at = |share: f64| ((values.len().max(1) - 1) as f64 * share).round() as usize;
        let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len() as f64;
        let quantile = |share: f64| values.get(at(share)).copied().unwrap_or(f64::NAN);
        Self { mean: mean(&values), most: mean(&values[..at(0.99)]), p50: quantile(0.5), p99: quantile(0.99) }
    }
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { mean, p50, p99, .. } = self;
        write!(f, "mean {mean:>9.0} ns, p50 {p50:>9.0}, p99 {p99:>9.0}")
    }
}
