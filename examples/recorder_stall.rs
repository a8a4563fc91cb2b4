//! Does the recorder slow the loop? The same robot in real time without a recording, with one, and with one on a
//! disk that stalls, in turns.
//!
//! `cargo run --release --example recorder_stall`
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a program that reports what it measures")]

use std::collections::BTreeMap;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use clap::Parser;
use reflexarc_examples::peers::{Cast, as_peer};
use reflexarc_examples::scratch::Scratch;
use reflexarc_examples::small_disk::SmallDisk;
use reflexarc_runtime::Report;
use reflexarc_runtime::ledger::LatencySummary;
use reflexarc_runtime::recorder::RecorderReport;

/// The disk stands still between these parts of a run.
const STALL: (f64, f64) = (0.25, 0.75);
/// Size of the disk that can stall.
const DISK_MB: u64 = 1024;

const HELP: &str = "\
Example:
  cargo run --release --example recorder_stall -- --rounds 3 --seconds 20

The disk that stalls is an ext4 file system in a file, frozen with fsfreeze for the middle half of each run: every
write to it waits. That takes root and a loop device; without them this part is left out, and the output says so.

Each run is a robot's and a runtime's process of their own. The table gives the median over the rounds, and in
brackets the smallest and the largest. `missing` is what the sequence numbers in the file say has been left out.
Exit code 1: what is missing in a file is not what the recorder confesses.";

/// Measures what recording costs the loop.
#[derive(Parser)]
#[command(after_help = HELP)]
struct Arguments {
    /// How often each way is run.
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// How long each run lasts.
    #[arg(long, default_value_t = 20.0)]
    seconds: f64,
    /// The runtime's binary; otherwise this program does what it would.
    #[arg(long, value_name = "FILE")]
    reflexarc: Option<std::path::PathBuf>,
    /// The runtime's configuration, such as one that asks for real time.
    #[arg(long, value_name = "FILE")]
    config: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Way {
    Off,
    On,
    Stalls,
}

impl Way {
    const ALL: [Self; 3] = [Self::Off, Self::On, Self::Stalls];

    fn name(self) -> &'static str {
        match self {
            Self::Off => "recorder off",
            Self::On => "recorder on",
            Self::Stalls => "recorder on, the disk stalls",
        }
    }
}

/// One run's result: the report, and how many messages the file lacks.
struct Run {
    report: Report,
    missing: Option<u64>,
}

fn main() -> ExitCode {
    if let Some(code) = as_peer() {
        return code;
    }
    match play(&Arguments::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("recorder_stall: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn play(arguments: &Arguments) -> Result<bool> {
    if !(arguments.seconds.is_finite() && arguments.seconds >= 4.0) {
        bail!("--seconds {}: expected at least 4", arguments.seconds);
    }
    let cast = Cast::new(arguments.reflexarc.as_deref())?;
    let folder = Scratch::new("recorder")?;
    let disk = SmallDisk::on_loop(DISK_MB)?;
    if let Err(why) = &disk {
        println!("no disk that stalls: {why}");
    }
    let disk = disk.ok();
    let mut runs: BTreeMap<Way, Vec<Run>> = BTreeMap::new();
    let mut honest = true;
    for round in 1..=arguments.rounds {
        for way in Way::ALL {
            let file = match (way, &disk) {
                (Way::Off, _) => None,
                (Way::On, _) => Some(folder.file("on.mcap")),
                (Way::Stalls, Some(disk)) => Some(disk.file("stalls.mcap")),
                (Way::Stalls, None) => continue,
            };
            let stalls = disk.as_ref().filter(|_| way == Way::Stalls);
            let run = measure(&cast, arguments, file.as_deref(), stalls)?;
            let recorder = run.report.recorder.as_ref();
            let dropped = recorder.map_or(0, RecorderReport::lost);
            println!(
                "round {round}, {}: lateness p50 {:.0} p99 {:.0} max {:.0} µs; {dropped} dropped, missing {:?}",
                way.name(),
                run.report.wake_lateness.p50_us,
                run.report.wake_lateness.p99_us,
                run.report.wake_lateness.max_us,
                run.missing
            );
            if run.missing.is_some_and(|missing| missing != dropped) {
                honest = false;
                eprintln!(
                    "the recorder confesses {dropped} dropped messages, the file lacks {:?}",
                    run.missing
                );
            }
            runs.entry(way).or_default().push(run);
        }
    }
    println!("\n{}", table(&runs));
    Ok(honest)
}

/// One run; the disk, if given, stands still for its middle.
fn measure(cast: &Cast, settings: &Arguments, file: Option<&str>, stalls: Option<&SmallDisk>) -> Result<Run> {
    let seconds = settings.seconds;
    let folder = Scratch::new("stall-run")?;
    let report_file = folder.file("report.json");
    let robot = cast.robot(&["--listen", "tcp/127.0.0.1:0"])?;
    let length = seconds.to_string();
    let mut arguments = vec!["--seconds", &length, "--report", &report_file];
    if let Some(file) = file {
        arguments.extend(["--record", file]);
    }
    if let Some(config) = &settings.config {
        arguments.extend(["--config", config]);
    }
    let mut runtime = cast.runtime("reflexarc", &robot.endpoints, &arguments)?;
    robot.wait_until("motion", Duration::from_secs(30), |state| state.obeyed > 10)?;
    if let Some(disk) = stalls {
        std::thread::sleep(Duration::try_from_secs_f64(seconds * STALL.0)?);
        disk.freeze()?;
        std::thread::sleep(Duration::try_from_secs_f64(seconds * (STALL.1 - STALL.0))?);
        disk.thaw()?;
    }
    let patience = Duration::try_from_secs_f64(seconds + 30.0)?;
    runtime.ended(patience)?.context("the runtime did not end")?;
    let text = std::fs::read_to_string(&report_file)
        .with_context(|| format!("the runtime left no report; it said {:?}", runtime.cried()))?;
    let report: Report = serde_json::from_str(&text)?;
    let missing = file.map(|file| missing_in(Path::new(file), &report)).transpose()?;
    if let Some(file) = file {
        std::fs::remove_file(file)?;
    }
    Ok(Run { report, missing })
}

/// What the file lacks between the first and the last message of each channel, by sequence numbers, without what
/// was lost before it reached the recorder.
fn missing_in(file: &Path, report: &Report) -> Result<u64> {
    let bytes = std::fs::read(file)?;
    // First, last and number of a channel's messages.
    let mut spans: BTreeMap<u16, (String, u64, u64, u64)> = BTreeMap::new();
    for message in mcap::MessageStream::new(&bytes)? {
        let message = message?;
        let sequence = u64::from(message.sequence);
        let entry = spans
            .entry(message.channel.id)
            .or_insert_with(|| (message.channel.topic.clone(), sequence, sequence, 0));
        entry.1 = entry.1.min(sequence);
        entry.2 = entry.2.max(sequence);
        entry.3 += 1;
    }
    let mut missing = 0;
    for (topic, first, last, count) in spans.into_values().filter(|(_, first, ..)| *first > 0) {
        let on_the_way = report
            .topics
            .iter()
            .find(|entry| entry.topic == topic.trim_start_matches('/'))
            .map_or(0, |entry| entry.gaps);
        missing += (last - first + 1).saturating_sub(count).saturating_sub(on_the_way);
    }
    Ok(missing)
}

fn table(runs: &BTreeMap<Way, Vec<Run>>) -> String {
    let mut rows = vec![
        "| | wake lateness p50, µs | p99 | largest | tick execution p50, µs | p99 | periods missed | dropped | missing |"
            .to_owned(),
        "|---|---|---|---|---|---|---|---|---|".to_owned(),
    ];
    for (way, runs) in runs {
        let spread = |pick: &dyn Fn(&Report) -> f64| {
            let mut values: Vec<f64> = runs.iter().map(|run| pick(&run.report)).collect();
            values.sort_by(f64::total_cmp);
            let middle = values.get(values.len() / 2).copied().unwrap_or_default();
            let (low, high) = (values.first().copied().unwrap_or(0.0), values.last().copied().unwrap_or(0.0));
            format!("{middle:.0} ({low:.0}–{high:.0})")
        };
        let late = |pick: fn(&LatencySummary) -> f64| spread(&move |report| pick(&report.wake_lateness));
        let work = |pick: fn(&LatencySummary) -> f64| spread(&move |report| pick(&report.tick_execution));
        let dropped: u64 =
            runs.iter().filter_map(|run| run.report.recorder.as_ref()).map(|recorder| recorder.dropped).sum();
        let missing: Vec<u64> = runs.iter().filter_map(|run| run.missing).collect();
        let missing =
            if missing.is_empty() { "–".to_owned() } else { missing.iter().sum::<u64>().to_string() };
        rows.push(format!(
            "| {} | {} | {} | {} | {} | {} | {} | {dropped} | {missing} |",
            way.name(),
            late(|summary| summary.p50_us),
            late(|summary| summary.p99_us),
            late(|summary| summary.max_us),
            work(|summary| summary.p50_us),
            work(|summary| summary.p99_us),
            spread(&|report| report.reflex_missed as f64),
        ));
    }
    rows.join("\n")
}
