//! The findings as a page.

use std::fmt::Write as _;
use std::time::Duration;

use super::{Case, Verdict};

/// Times are told in these classes, s, so that the page stays as it is from run to run.
const CLASSES_S: [f64; 9] = [0.1, 0.2, 0.3, 0.5, 1.0, 2.0, 3.0, 5.0, 10.0];

/// "within 0.3 s": the class that a time is in.
#[must_use]
pub fn within(time: Duration) -> String {
    let s = time.as_secs_f64();
    CLASSES_S
        .iter()
        .find(|class| s <= **class)
        .map_or_else(|| "after more than 10 s".to_owned(), |class| format!("within {class} s"))
}

/// One row's result.
pub type Result = std::result::Result<Verdict, String>;

/// The page.
#[must_use]
pub fn page(rows: &[(Case, Result)], runtime: &str) -> String {
    let mut text = String::from(HEAD);
    // Writing to a string cannot fail.
    let _ = writeln!(text, "Runtime: {runtime}. Machine: {}.\n", machine());
    text.push_str(
        "| harm | what the other side did | the arm rests | commands obeyed afterwards | exit code | said |\n\
         |---|---|---|---|---|---|\n",
    );
    for (case, result) in rows {
        let cells = match result {
            Ok(Verdict::Found(found)) => [
                found.other.clone(),
                found.rest.map_or_else(|| "–".to_owned(), within),
                found.after.clone(),
                found.exit.clone(),
                found.said.clone(),
            ],
            Ok(Verdict::Skipped(why)) => {
                [format!("not done: {why}"), "–".into(), "–".into(), "–".into(), "–".into()]
            }
            Err(why) => {
                [format!("**PROMISE BROKEN**: {why}"), "–".into(), "–".into(), "–".into(), "–".into()]
            }
        };
        let cells = cells.map(|cell| cell.replace('|', "\\|").replace('\n', " "));
        let _ = writeln!(text, "| {} | {} |", case.harm, cells.join(" | "));
    }
    text
}

const HEAD: &str = "\
# What happens when a process is killed, stopped or starved

Made by `cargo run --release --example chaos`, which starts the simulated robot and the runtime as processes, lets
the arm reach for a mug with the shipped model, does the harm and looks. Times are told in classes (0.1, 0.2, 0.3,
0.5, 1, 2, 3, 5, 10 s). The command fails if a promise does not hold: no command older than 100 ms is ever obeyed,
the arm comes to rest where the work ends, nothing hangs, exit codes are those of `reflexarc --help`.

The exit code is that of the runtime. \"Rests\" is by the robot's own encoders: every joint slower than 0.02 rad/s,
counted from the harm (for the policy's failures, from the first word about it).

";

fn machine() -> String {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let model = std::fs::read_to_string("/proc/cpuinfo").ok().and_then(|text| {
        let line = text.lines().find(|line| line.starts_with("model name"))?;
        Some(line.split_once(':')?.1.trim().to_owned())
    });
    format!("{cores} cores, {}", model.as_deref().unwrap_or("unknown processor"))
}
