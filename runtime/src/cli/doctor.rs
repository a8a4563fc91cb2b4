//! `reflexarc doctor`: what this board grants, and how to change what it does not.

use std::path::PathBuf;

use anyhow::{Result, bail};
use clap::Args;

use super::{EXIT_OK, EXIT_PROBLEM};
use crate::config::Config;
use crate::doctor::{Finding, Level, Roots, examine_board, examine_lateness, examine_program};

pub(super) const EXAMPLES: &str = "\
Looks at the kernel, its throttling of real-time threads, limits, CPUs, clocks, heat and idle states; asks \
the system for what the configuration's section [realtime] asks for, and gives it back; says which device a \
model would run on and who could reach the configured link; and measures for a few seconds how late the \
loop's way of waiting wakes, under FIFO too. Changes nothing, moves nothing.

Each finding is `ok`, a `note` (it works, and could be better) or `BAD` (what is configured is not given, \
or something is dangerous), with what to change. Exits with 1 if anything is BAD.

Example:
  reflexarc doctor
  reflexarc doctor --config robot.toml --seconds 10
  reflexarc doctor --json | jq '.[] | select(.level != \"good\")'";

#[derive(Debug, Args)]
pub(super) struct DoctorArgs {
    /// Configuration (TOML) whose requests and link are judged; the defaults without it.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// How long to measure, for each way of scheduling; 0 leaves it out.
    #[arg(long, value_name = "N", default_value_t = 3.0)]
    seconds: f64,
    /// Print JSON in place of text.
    #[arg(long)]
    json: bool,
}

/// Prints the findings and says by the exit code whether any is bad.
#[expect(clippy::print_stdout, reason = "telling is the purpose of this command")]
pub(super) fn doctor(args: &DoctorArgs) -> Result<u8> {
    if !(args.seconds >= 0.0 && args.seconds <= 3600.0) {
        bail!("--seconds {}: expected a number from 0 to 3600", args.seconds);
    }
    let config = match &args.config {
        Some(path) => Config::load(path)?,
        None => Config::default(),
    };
    let mut findings = examine_board(&Roots::default(), &config.realtime);
    findings.extend(examine_program(&config));
    findings.extend(examine_lateness(&config, args.seconds)?);
    if args.json {
        println!("{}", serde_json::to_string_pretty(&findings)?);
    } else {
        for finding in &findings {
            println!("{finding}");
        }
        println!("{}", verdict(&findings));
    }
    let bad = findings.iter().any(|finding| finding.level == Level::Bad);
    Ok(if bad { EXIT_PROBLEM } else { EXIT_OK })
}

fn verdict(findings: &[Finding]) -> String {
    let count = |level| findings.iter().filter(|finding| finding.level == level).count();
    format!("{} good, {} could be better, {} bad", count(Level::Good), count(Level::Note), count(Level::Bad))
}
