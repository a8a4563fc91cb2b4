//! `reflexarc replay`: a recorded run again, and why the robot did what it did.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use clap::{Args, ValueEnum};

use super::{DeviceArg, EXIT_DIFFERS, EXIT_INCOMPLETE, EXIT_OK};
use crate::load::load_policy;
use crate::recorder::file_sha256;
use crate::replay::{self, Decisions, Recorded};

pub(super) const EXAMPLES: &str = "\
Runs the loop again on what the recording says it received, and compares every decision, every command and \
every message that was sent, bit for bit. Exits with 0 if all of it is the same, with 9 if anything differs \
(the first place is named, with both sides), with 10 if it is the same as far as it goes but the recording \
has a gap: something was dropped, or it begins in the middle, as a black box does.

Exactness takes the same program on the same kind of processor. --decisions recorded replays audit, reflex \
and safety without the model.

Example:
  reflexarc replay out/sim.mcap
  reflexarc replay out/sim.mcap --explain 3.2
  reflexarc replay run.mcap --until 12.5 --decisions recorded";

#[derive(Debug, Args)]
pub(super) struct ReplayArgs {
    /// A recording made with --record or --black-box; it may be cut.
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Where decisions come from.
    #[arg(long, value_enum, default_value = "model")]
    decisions: DecisionsArg,
    /// The model, if it is not where it was; its hash must be that of the recording.
    #[arg(long, value_name = "PATH")]
    model: Option<PathBuf>,
    /// Take a model whose hash is another one: to see what it would have decided.
    #[arg(long)]
    allow_other_model: bool,
    /// What the model runs on; overrides what the recording says.
    #[arg(long, value_enum)]
    device: Option<DeviceArg>,
    /// Stop after this moment and tell about it: seconds since the first tick, or a stamp in ns.
    #[arg(long, value_name = "T")]
    until: Option<String>,
    /// Only tell why the robot did what it did at this moment: mode, senses, decision, audit, limits.
    #[arg(long, value_name = "T", conflicts_with_all = ["until", "model", "decisions"])]
    explain: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum DecisionsArg {
    /// The model decides again.
    Model,
    /// They are taken from the recording.
    Recorded,
}

fn moment(recorded: &Recorded, option: &str, words: &str) -> Result<u64> {
    recorded
        .moment_ns(words)
        .with_context(|| format!("{option} {words}: expected seconds since the first tick, or a stamp in ns"))
}

/// The model of the recording, or the one that was named instead.
fn policy(args: &ReplayArgs, recorded: &Recorded) -> Result<Decisions> {
    let recorded_path = recorded.info.get("model").map(Path::new);
    let path = args.model.as_deref().or(recorded_path).context(
        "the recording names no model file (its policy was built into a program): \
         give --model PATH or --decisions recorded",
    )?;
    if !path.exists() {
        bail!("the model {} is not there: give --model PATH or --decisions recorded", path.display());
    }
    let found = file_sha256(path);
    let wanted = recorded.info.get("model_sha256");
    if !args.allow_other_model && found.as_deref() != wanted {
        bail!(
            "the model {} is another one: expected the hash {}, found {}; --allow-other-model takes it anyway",
            path.display(),
            wanted.unwrap_or("(none recorded)"),
            found.as_deref().unwrap_or("(unreadable)")
        );
    }
    let mut config = recorded.config.clone();
    if let Some(device) = args.device {
        config.policy.device = device.into();
    }
    Ok(Decisions::Model(load_policy(path, &config)?.policy))
}

#[expect(clippy::print_stdout, reason = "telling is the purpose of this command")]
pub(super) fn replay(args: &ReplayArgs) -> Result<u8> {
    let recorded = Recorded::open(&args.file)?;
    if let Some(words) = &args.explain {
        print!("{}", replay::explain(&recorded, moment(&recorded, "--explain", words)?)?);
        return Ok(EXIT_OK);
    }
    let until_ns = args.until.as_deref().map(|words| moment(&recorded, "--until", words)).transpose()?;
    let (from_ns, to_ns) = recorded.span_ns;
    println!(
        "recording   {}: {} ticks, {} thoughts, {:.2} s, by {} ({}), told \"{}\"",
        args.file.display(),
        recorded.ticks,
        recorded.thoughts,
        to_ns.saturating_sub(from_ns) as f64 / 1e9,
        recorded.info.get("program").unwrap_or("an unknown program"),
        recorded.info.get("policy").unwrap_or("an unknown policy"),
        recorded.config.policy.instruction
    );
    if let Some(counters) = recorded.counters.filter(|counters| counters.incomplete()) {
        println!(
            "dropped     {} messages, {} ticks, {} thoughts were dropped while it was recorded",
            counters.dropped, counters.dropped_ticks, counters.dropped_thoughts
        );
    }
    let decisions = match args.decisions {
        DecisionsArg::Model => policy(args, &recorded)?,
        DecisionsArg::Recorded => Decisions::Recorded,
    };
    let report = replay::replay(&recorded, decisions, until_ns)?;
    print!("{}", report.to_text());
    if !report.same() && report.ticks > 0 {
        hints(&recorded);
    }
    if let Some(until_ns) = until_ns {
        print!("\n{}", replay::explain(&recorded, until_ns)?);
    }
    Ok(if report.ticks_differ + report.thoughts_differ + report.wire_differ > 0 {
        EXIT_DIFFERS
    } else if report.gap.is_some() || report.ticks == 0 {
        EXIT_INCOMPLETE
    } else {
        EXIT_OK
    })
}

/// What may be behind a difference.
#[expect(clippy::print_stdout, reason = "telling is the purpose of this command")]
fn hints(recorded: &Recorded) {
    let now = crate::recorder::RunInfo::new(&recorded.config, "");
    for (key, what) in [
        ("program", "the program's version"),
        ("program_sha256", "the program's file"),
        ("machine", "the machine"),
        ("urdf_sha256", "the robot description"),
    ] {
        if now.get(key) != recorded.info.get(key) {
            println!(
                "note        {what} is another one: recorded {}, now {}",
                recorded.info.get(key).unwrap_or("nothing"),
                now.get(key).unwrap_or("nothing")
            );
        }
    }
}
