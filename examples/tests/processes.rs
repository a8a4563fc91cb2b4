//! Four of the cases of the `chaos` example, so that each run of the tests kills a process or two. Peers are this
//! program itself, therefore it has a `main` of its own.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "it stands in for the test harness")]

use std::process::ExitCode;

use reflexarc_examples::chaos::{Verdict, cases};
use reflexarc_examples::peers::{Cast, as_peer};

const SHORT: [&str; 4] =
    ["runtime-killed", "driver-runtime-killed", "driver-runtime-stopped", "policy-panics"];

fn main() -> ExitCode {
    if let Some(code) = as_peer() {
        return code;
    }
    let words: Vec<String> = std::env::args().skip(1).collect();
    let listing = words.iter().any(|word| word == "--list");
    let wanted = |name: &str| {
        let mut filters = words.iter().filter(|word| !word.starts_with('-')).peekable();
        filters.peek().is_none() || filters.any(|filter| name.contains(filter.as_str()))
    };
    let mut failed = false;
    for case in cases().into_iter().filter(|case| SHORT.contains(&case.name) && wanted(case.name)) {
        if listing {
            println!("{}: test", case.name);
            continue;
        }
        match Cast::new(None).and_then(|cast| (case.run)(&cast)) {
            Ok(Verdict::Found(_)) => println!("test {} ... ok", case.name),
            Ok(Verdict::Skipped(why)) => println!("test {} ... ignored, {why}", case.name),
            Err(error) => {
                failed = true;
                println!("test {} ... FAILED\n{error:#}", case.name);
            }
        }
    }
    if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}
