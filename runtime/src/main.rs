//! `reflexarc`: runs a policy on a robot. See `reflexarc --help`.

use std::process::ExitCode;

use clap::Parser;
use reflexarc_runtime::cli::{Cli, code_of};

fn main() -> ExitCode {
    match Cli::parse().execute() {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            // Many errors quote their cause already; it is not said twice.
            let mut said = error.to_string();
            for cause in error.chain().skip(1).map(ToString::to_string) {
                if !said.contains(&cause) {
                    said = format!("{said}: {cause}");
                }
            }
            eprintln!("reflexarc: {said}");
            ExitCode::from(code_of(&error))
        }
    }
}
