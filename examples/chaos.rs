//! Kills, stops and starves the processes of a robot at work, and writes down what happens.
//!
//! `cargo run --release --example chaos`
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a program that reports what it does")]

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use clap::Parser;
use reflexarc_examples::chaos::{Verdict, cases, table};
use reflexarc_examples::peers::{Cast, as_peer};

const HELP: &str = "\
Examples:
  All cases, about two minutes; writes docs/faults-processes.md:
    cargo run --release --example chaos

  Two of them, with the binary itself:
    cargo run --release --example chaos -- --only runtime-killed --only disk-full \\
        --reflexarc target/release/reflexarc

A case that the system does not permit (a file system of its own takes root) is skipped, and the page says so.
Exit code 0: every promise held. 1: one did not; the page and stderr say which.";

/// Kills, stops and starves the processes of a robot at work, and writes down what happens.
#[derive(Parser)]
#[command(after_help = HELP)]
struct Arguments {
    /// Where the table goes.
    #[arg(long, value_name = "FILE", default_value = "docs/faults-processes.md")]
    page: PathBuf,
    /// Only this case (repeatable); then nothing is written.
    #[arg(long, value_name = "CASE")]
    only: Vec<String>,
    /// The runtime's binary; otherwise this program does what it would.
    #[arg(long, value_name = "FILE")]
    reflexarc: Option<PathBuf>,
    /// Name the cases and do nothing.
    #[arg(long)]
    list: bool,
}

fn main() -> ExitCode {
    if let Some(code) = as_peer() {
        return code;
    }
    match play(&Arguments::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("chaos: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn play(arguments: &Arguments) -> Result<bool> {
    let all = cases();
    if arguments.list {
        for case in &all {
            println!("{:<26} {}", case.name, case.harm);
        }
        return Ok(true);
    }
    if let Some(unknown) = arguments.only.iter().find(|name| all.iter().all(|case| case.name != **name)) {
        bail!("no case is called {unknown:?}; --list names them");
    }
    let cast = Cast::new(arguments.reflexarc.as_deref())?;
    let mut rows = Vec::new();
    for case in all {
        if !arguments.only.is_empty() && !arguments.only.iter().any(|name| name == case.name) {
            continue;
        }
        let result = (case.run)(&cast).map_err(|error| format!("{error:#}"));
        match &result {
            Ok(Verdict::Found(found)) => println!("{:<26} {found:?}", case.name),
            Ok(Verdict::Skipped(why)) => println!("{:<26} not done: {why}", case.name),
            Err(why) => eprintln!("{:<26} PROMISE BROKEN: {why}", case.name),
        }
        rows.push((case, result));
    }
    if arguments.only.is_empty() {
        let runtime = arguments.reflexarc.as_ref().map_or_else(
            || "the code of `reflexarc`, in the program's own build".to_owned(),
            |path| format!("`{}`", path.file_name().unwrap_or_default().display()),
        );
        if let Some(folder) = arguments.page.parent() {
            std::fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
        }
        std::fs::write(&arguments.page, table::page(&rows, &runtime))
            .with_context(|| format!("cannot write {}", arguments.page.display()))?;
        println!("wrote {}", arguments.page.display());
    }
    Ok(rows.iter().all(|(_, result)| result.is_ok()))
}
