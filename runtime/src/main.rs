//! `reflexarc`: runs a policy on a robot. See `reflexarc --help`.

use std::process::ExitCode;

use clap::Parser;
use reflexarc_runtime::cli::{Cli, EXIT_PROBLEM};

fn main() -> ExitCode {
    match Cli::parse().execute() {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            eprintln!("reflexarc: {error:#}");
            ExitCode::from(EXIT_PROBLEM)
        }
    }
}
