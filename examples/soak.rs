//! Long runs: the runtime beside the simulated robot in real time, and simulated hours in lockstep.
//!
//! `cargo run --release --example soak`
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a program that reports what it does")]

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Result, bail};
use clap::Parser;
use reflexarc_examples::contender::Contender;
use reflexarc_examples::peers::{Cast, as_peer};
use reflexarc_examples::soak::{RISE_LIMIT_MB, live, lockstep};
use reflexarc_vla_model::device::DeviceChoice;

const HELP: &str = "\
Examples:
  Half an hour in real time, then two simulated hours in lockstep (about 55 minutes on two cores):
    cargo run --release --example soak

  Three days on a board, real time only, recording nothing:
    cargo run --release --example soak -- --minutes 4320 --lockstep-hours 0 --tell-every 600

In real time the robot and the runtime are two processes; the robot's operator stops it, lays another table, resets
and enables it every --change-every seconds. At the end come the runtime's own report (with the latency from
observation to command and its parts), the books, and memory after warm-up: a line is laid through its samples.

Exit code 0: memory stayed, and every period, decision, command and message is in a book. 1: something was not,
and stderr says what.";

/// Runs for long, and looks whether anything grows or gets lost.
#[derive(Parser)]
#[command(after_help = HELP)]
struct Arguments {
    /// Real time, minutes; 0 leaves it out.
    #[arg(long, default_value_t = 30.0)]
    minutes: f64,
    /// Lockstep, simulated hours; 0 leaves it out.
    #[arg(long, default_value_t = 2.0)]
    lockstep_hours: f64,
    /// Another table and instruction this often, s of the robot's time.
    #[arg(long, default_value_t = 8.0)]
    change_every: f64,
    /// Memory counts from here on, s of the robot's time; at most a third of the run.
    #[arg(long, default_value_t = 120.0)]
    warm_up: f64,
    /// A progress line this often, s.
    #[arg(long, default_value_t = 30.0)]
    tell_every: f64,
    /// Decisions and camera frames per second in lockstep; 60 costs about three times the time.
    #[arg(long, default_value_t = 15)]
    lockstep_mind_hz: u32,
    /// Seed of the first table in lockstep.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Configuration of the runtime in real time.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Record into this file in real time: about 200 MB per minute.
    #[arg(long, value_name = "FILE")]
    record: Option<PathBuf>,
    /// The runtime's binary; otherwise this program does what it would.
    #[arg(long, value_name = "FILE")]
    reflexarc: Option<PathBuf>,
}

fn main() -> ExitCode {
    if let Some(code) = as_peer() {
        return code;
    }
    match play(&Arguments::parse()) {
        Ok(faults) if faults.is_empty() => ExitCode::SUCCESS,
        Ok(faults) => {
            for fault in faults {
                eprintln!("soak: {fault}");
            }
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("soak: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn play(arguments: &Arguments) -> Result<Vec<String>> {
    for (option, value) in [
        ("--minutes", arguments.minutes),
        ("--lockstep-hours", arguments.lockstep_hours),
        ("--change-every", arguments.change_every),
        ("--warm-up", arguments.warm_up),
        ("--tell-every", arguments.tell_every),
    ] {
        if !(value.is_finite() && value >= 0.0) {
            bail!("{option} {value}: expected a number, 0 or more");
        }
    }
    let cast = Cast::new(arguments.reflexarc.as_deref())?;
    let mut faults = Vec::new();
    let mut tell = |line: String| println!("{line}");
    let warm_up_s = |whole_s: f64| arguments.warm_up.min(whole_s / 3.0);
    println!("memory may rise by {RISE_LIMIT_MB} MB after warm-up");
    if arguments.minutes > 0.0 {
        let seconds = arguments.minutes * 60.0;
        let plan = live::Live {
            seconds,
            warm_up_s: warm_up_s(seconds),
            change_every_s: arguments.change_every,
            tell_every_s: arguments.tell_every,
            config: arguments.config.clone(),
            record: arguments.record.clone(),
        };
        println!("\nreal time, {} minutes, robot and runtime as two processes", arguments.minutes);
        let (lines, wrong) = live::run(&plan, &cast, &mut tell)?;
        println!("\nreal time, {} minutes:\n{}", arguments.minutes, lines.join("\n"));
        faults.extend(wrong);
    }
    if arguments.lockstep_hours > 0.0 {
        let plan = lockstep::Lockstep {
            hours: arguments.lockstep_hours,
            warm_up_s: warm_up_s(arguments.lockstep_hours * 3600.0),
            change_every_s: arguments.change_every,
            tell_every_s: arguments.tell_every,
            mind_hz: arguments.lockstep_mind_hz,
            seed: arguments.seed,
        };
        println!(
            "\nlockstep, {} simulated hours, one thread, {} decisions and camera frames per second",
            plan.hours, plan.mind_hz
        );
        let policy = Contender::goal(&cast.model, DeviceChoice::Cpu, None)?.policy;
        let (lines, wrong) = lockstep::run(&plan, policy, &mut tell)?;
        println!("\nlockstep, {} simulated hours:\n{}", plan.hours, lines.join("\n"));
        faults.extend(wrong);
    }
    println!(
        "\n{}",
        if faults.is_empty() { "all books balance, nothing grew" } else { "FAULTS, see stderr" }
    );
    Ok(faults)
}
