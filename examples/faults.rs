//! Random schedules of faults in lockstep: whatever goes wrong, limits hold, stops stop, and the robot
//! moves again afterwards.
//!
//! `cargo run --release --example faults -- --schedules 10000` takes some minutes on two cores. A
//! schedule that fails prints its seed; `--seed N --schedules 1` runs it again, alone and in words.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a program that reports its progress")]

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use anyhow::{Context, Result};
use clap::Parser;
use reflexarc_examples::schedule::{Schedule, Tally, run_many};
use reflexarc_runtime::failsafe::Promise;
use reflexarc_runtime::fault::{FaultProfile, PolicyFault};
use reflexarc_runtime::runtime::load_chain;

/// Runs random schedules of faults through the whole runtime, without a world.
#[derive(Parser)]
#[command(after_help = "Exit codes: 0 all held, 1 a schedule failed, 2 wrong arguments.

Each schedule: half a second to three of random faults of links (loss, delay, jitter, reordering,
duplicates, corruption, truncation, freezes, clock jumps, NaN) and of the policy (slow, failing,
panicking, hanging, frozen, garbage), sticking joints, and buttons pressed at random; then two
seconds without faults, in which an operator releases, resets and enables.

Checked at every tick: position, velocity, acceleration and jerk of every joint, speed of the tool,
workspace, gripper; that holds and stops come to rest in time, and that nothing moves after a stop.
Checked at the end: that the arm moves again, unless its policy hung or was given up.

Examples:
  faults --schedules 10000
  faults --seed 4711 --schedules 1
  faults --profiles")]
struct Arguments {
    /// How many schedules.
    #[arg(long, default_value_t = 1000)]
    schedules: u64,
    /// Seed of the first; the next ones follow.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Schedules at the same time.
    #[arg(long, default_value_t = std::thread::available_parallelism().map_or(1, usize::from))]
    threads: usize,
    /// Writes the figures here, as JSON.
    #[arg(long)]
    json: Option<PathBuf>,
    /// Only lists the fault profiles that ship, for `evaluate --faults`.
    #[arg(long)]
    profiles: bool,
}

fn main() -> Result<ExitCode> {
    let arguments = Arguments::parse();
    if arguments.profiles {
        for name in FaultProfile::names() {
            println!("{name:<18} {}", FaultProfile::load(&name)?.about);
        }
        return Ok(ExitCode::SUCCESS);
    }
    let alone = arguments.schedules == 1;
    if alone {
        println!("{:#?}", Schedule::random(arguments.seed));
    } else {
        // A policy's panics are part of the test; thousands of their traces would hide what matters.
        std::panic::set_hook(Box::new(|_| {}));
    }
    let begun = Instant::now();
    let done = AtomicU64::new(0);
    let tally = run_many(arguments.seed, arguments.schedules, arguments.threads, &|result| {
        let done = done.fetch_add(1, Ordering::Relaxed) + 1;
        if let Some(failure) = result.failure() {
            eprintln!("seed {}: {failure}", result.seed);
        }
        if alone {
            println!("{result:#?}");
        }
        if done.is_multiple_of(1000) {
            eprintln!("{done}/{} schedules, {:.0} s", arguments.schedules, begun.elapsed().as_secs_f64());
        }
    })?;
    report(&tally, begun.elapsed().as_secs_f64())?;
    if let Some(path) = &arguments.json {
        std::fs::write(path, serde_json::to_string_pretty(&tally)?)
            .with_context(|| format!("cannot write {}", path.display()))?;
    }
    for (seed, _) in tally.failures.iter().take(20) {
        println!("again: cargo run --release --example faults -- --seed {seed} --schedules 1");
    }
    Ok(if tally.failures.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn report(tally: &Tally, wall_s: f64) -> Result<()> {
    let config = reflexarc_examples::puppet::config();
    let bound_s = Promise::new(&load_chain(&config)?, &config).stop_ns() as f64 / 1e9;
    let simulated_s = tally.ticks as f64 / 240.0;
    println!(
        "{} schedules, {simulated_s:.0} s simulated in {wall_s:.0} s, {} commands judged",
        tally.schedules, tally.commands
    );
    println!("limits broken, or moved after a stop   {}", tally.broken);
    println!("runtime panicked                       {}", tally.panicked);
    println!("did not end as it should               {}", tally.stuck);
    println!("policy hung or given up, held          {}", tally.policies_gone);
    println!("faults of links                        {}", tally.link_faults);
    let kinds = PolicyFault::ALL.iter().zip(tally.policy_faults);
    let kinds: Vec<String> = kinds.map(|(fault, count)| format!("{fault:?} {count}")).collect();
    println!("faults of policies                     {}", kinds.join(", "));
    let [velocity, acceleration, jerk, tool] = tally.shares.map(|share| 100.0 * share);
    println!(
        "largest share of its limit             velocity {velocity:.2} %, acceleration {acceleration:.2} %, \
         jerk {jerk:.2} %, tool {tool:.2} %, {:.1} mm outside",
        tally.outside_m * 1e3
    );
    println!(
        "slowest to rest                        {:.3} s of {} holds, {:.3} s of {} stops, at most {bound_s:.3} s",
        tally.slowest_hold_s, tally.holds, tally.slowest_stop_s, tally.stops
    );
    Ok(())
}
