//! The crate beside its peers, measured in one run: `cargo bench -p reflexarc-kinematics`.
//!
//! `benches/README.md` says how each figure is made. `-- --quick` measures less, `-- --section A` (B, C, D; may
//! be given several times) only a part. Without the Python peers the rest still runs, and says so.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a program that prints a table")]

mod collision;
#[path = "../../tests/common/mod.rs"]
#[allow(clippy::unwrap_used, clippy::panic, reason = "shared with the tests: robots that are known to load")]
mod common;
mod forward;
mod global_ik;
mod judge;
mod measure;
mod paths;
mod peers;
mod table;
mod tracking;

use judge::Subject;
use peers::{Job, Workshop};
use table::Verdicts;

/// Any error: it ends the program with its words.
pub(crate) type Failure = Box<dyn std::error::Error>;

/// How much to measure.
pub(crate) struct Size {
    /// Goals for our solver, for a fast peer, and for the slow ones.
    goals: usize,
    fast_goals: usize,
    slow_goals: usize,
    /// Ticks of our tracker over all paths.
    ticks: usize,
    /// Goals that collide, over all arms.
    colliding_goals: usize,
    /// Passes over the batch of forward kinematics.
    passes: usize,
}

const FULL: Size = Size {
    goals: 10_000,
    fast_goals: 2000,
    slow_goals: 500,
    ticks: 1_000_000,
    colliding_goals: 10_000,
    passes: 2000,
};
const QUICK: Size =
    Size { goals: 2000, fast_goals: 400, slow_goals: 100, ticks: 100_000, colliding_goals: 400, passes: 200 };

struct Arguments {
    size: Size,
    sections: String,
}

/// `--bench` is what cargo adds.
fn arguments() -> Result<Arguments, Failure> {
    let mut arguments = Arguments { size: FULL, sections: String::new() };
    let mut given = std::env::args().skip(1);
    while let Some(argument) = given.next() {
        match argument.as_str() {
            "--bench" => {}
            "--quick" => arguments.size = QUICK,
            "--section" => {
                let section = given.next().unwrap_or_default().to_uppercase();
                if !matches!(section.as_str(), "A" | "B" | "C" | "D") {
                    return Err(format!("--section is `{section}`, expected A, B, C or D").into());
                }
                arguments.sections += &section;
            }
            other => return Err(format!("`{other}` is unknown, expected --quick or --section A").into()),
        }
    }
    if arguments.sections.is_empty() {
        arguments.sections = "ABCD".to_owned();
    }
    Ok(arguments)
}

fn main() -> Result<(), Failure> {
    let Arguments { size, sections } = arguments()?;
    let wants = |section: char| sections.contains(section);
    println!("Reflexarc kinematics beside its peers");
    println!("{}", measure::machine());
    println!("{}", measure::moment());
    println!(
        "CPU time of the process, all threads, {}; the clock costs {:.2} µs per timed call, included",
        measure::pin(),
        measure::clock_cost_us()
    );
    let workshop = Workshop::open()?;
    let subjects = Subject::all();
    let goals: Vec<_> = subjects.iter().map(|subject| global_ik::goals(subject, size.goals)).collect();
    let paths = subjects.iter().map(tracking::paths).collect::<Result<Vec<_>, _>>()?;

    let mut job = Job { slow_goals: size.slow_goals, ..Job::default() };
    for ((subject, goals), (_, paths)) in subjects.iter().zip(&goals).zip(&paths) {
        let mut robot = workshop.robot_job(subject)?;
        if wants('A') {
            global_ik::ask(&mut robot, subject, goals, size.fast_goals);
        }
        if wants('B') {
            tracking::ask(&mut robot, subject, paths);
        }
        if wants('D') {
            forward::ask(&mut robot, subject);
        }
        job.robots.push(robot);
    }
    let answers = workshop.run(&job, &sections)?;
    for missing in &answers.missing {
        println!("peers: {missing}");
    }

    let mut verdicts = Verdicts::default();
    if wants('A') {
        global_ik::report(&workshop, &subjects, &goals, &answers, &size, &mut verdicts)?;
    }
    if wants('B') {
        tracking::report(&subjects, &paths, &answers, &size, &mut verdicts);
    }
    if wants('C') {
        collision::report(&size, &mut verdicts)?;
    }
    if wants('D') {
        forward::report(&workshop, &subjects, &answers, &size, &mut verdicts)?;
    }
    verdicts.summary();
    println!("{}", measure::moment());
    Ok(())
}
