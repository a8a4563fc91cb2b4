//! The simulated robot as a process of its own, for the runtime to drive like hardware.
//!
//! `cargo run --release --example robot -- --listen tcp/127.0.0.1:7448`

use std::process::ExitCode;

use clap::Parser;
use reflexarc_examples::robot::{RobotArgs, main as play};

fn main() -> ExitCode {
    play(&RobotArgs::parse())
}
