//! Real time: the runtime's process beside the simulated robot's.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use reflexarc_runtime::{Config, Report};

use super::{Watch, balance};
use crate::peers::Cast;
use crate::robot::State;
use crate::scratch::Scratch;

/// Lines of the peers that are kept.
const KEPT_LINES: usize = 200;
/// Longer than this after its time the runtime has not ended: a hang.
const END_LIMIT: Duration = Duration::from_secs(30);

/// What to run.
#[derive(Debug, Clone)]
pub struct Live {
    /// How long, s.
    pub seconds: f64,
    /// Not counted for memory, s.
    pub warm_up_s: f64,
    /// Another table this often, s.
    pub change_every_s: f64,
    /// A progress line this often, s.
    pub tell_every_s: f64,
    /// Configuration of the runtime, if not the default.
    pub config: Option<std::path::PathBuf>,
    /// Record into this file.
    pub record: Option<std::path::PathBuf>,
}

/// Runs it. Returns what is to be said at the end, and what was wrong.
///
/// # Errors
/// When the peers cannot be started or the report cannot be read.
pub fn run(live: &Live, cast: &Cast, tell: &mut dyn FnMut(String)) -> Result<(Vec<String>, Vec<String>)> {
    let folder = Scratch::new("soak")?;
    let report_file = folder.file("report.json");
    let change = live.change_every_s.to_string();
    let robot = cast.robot(&[
        "--listen",
        "tcp/127.0.0.1:0",
        "--operator",
        "tcp/127.0.0.1:0",
        "--change-every",
        &change,
        "--state-every",
        "500",
    ])?;
    let seconds = live.seconds.to_string();
    let config = live.config.as_deref().map(Path::display).map(|path| path.to_string());
    let record = live.record.as_deref().map(Path::display).map(|path| path.to_string());
    let mut arguments = vec!["--seconds", &seconds, "--report", &report_file];
    if let Some(config) = &config {
        arguments.extend(["--config", config]);
    }
    if let Some(record) = &record {
        arguments.extend(["--record", record]);
    }
    let mut runtime = cast.runtime("reflexarc", &robot.endpoints, &arguments)?;
    let mut watches = [
        Watch::new("runtime", runtime.id(), live.warm_up_s),
        Watch::new("robot", robot.peer.id(), live.warm_up_s),
    ];
    let begun = Instant::now();
    let mut told_s = 0.0;
    while runtime.ended(Duration::from_secs(1))?.is_none() {
        let time_s = begun.elapsed().as_secs_f64();
        for watch in &mut watches {
            watch.look(time_s);
        }
        runtime.forget(KEPT_LINES);
        robot.peer.forget(KEPT_LINES);
        if time_s - told_s >= live.tell_every_s {
            told_s = time_s;
            let line = runtime.newest(|text| text.contains("decisions/s").then(|| text.to_owned()));
            tell(line.unwrap_or_default());
            tell(format!("{:9} {}; {}", "", watches[0].now(), watches[1].now()));
        }
        ensure!(
            time_s < live.seconds + live.warm_up_s + END_LIMIT.as_secs_f64(),
            "the runtime did not end after its {} s",
            live.seconds
        );
    }
    // The robot still tells how it ended.
    std::thread::sleep(Duration::from_millis(700));
    let state = robot.state().context("the robot has said nothing")?;
    let text = std::fs::read_to_string(&report_file)
        .with_context(|| format!("the runtime left no report; it said {:?}", runtime.cried()))?;
    let report: Report = serde_json::from_str(&text)?;
    let config = match &live.config {
        Some(path) => Config::load(path)?,
        None => Config::default(),
    };
    let mut lines: Vec<String> = report.to_text().lines().map(str::to_owned).collect();
    let mut faults = Vec::new();
    books(&report, &config, &state, &mut lines, &mut faults);
    for watch in &watches {
        lines.push(watch.summary());
        watch.faults(&mut faults);
    }
    Ok((lines, faults))
}

/// Periods that begin within `span_s`. Both ends of it were late by less than a period each.
fn slots(span_s: f64, hz: u32) -> u64 {
    (span_s * f64::from(hz)).round() as u64 + 1
}

/// Whether everything that did not arrive was counted.
fn books(report: &Report, config: &Config, state: &State, lines: &mut Vec<String>, faults: &mut Vec<String>) {
    let periods = slots(report.duration_s, config.rates.reflex_hz);
    let counted = report.ticks + report.reflex_missed;
    lines.push(format!(
        "periods of the reflex: {periods} by the clock, {} served + {} missed",
        report.ticks, report.reflex_missed
    ));
    if counted.abs_diff(periods) > 1 {
        faults.push(format!("{} periods of the reflex are in no book", counted.abs_diff(periods)));
    }
    mind_books(report, config, lines, faults);
    balance(
        lines,
        faults,
        "commands",
        report.commands,
        &[
            ("arrived", state.commands),
            ("lost on the way", state.commands_lost),
            ("not taken by the sender or the link", report.commands_dropped),
        ],
    );
    if report.records_lost > 0 {
        faults.push(format!("{} records of the books were lost", report.records_lost));
    }
    faults.extend(report.problems.iter().cloned());
    lines.push(format!(
        "robot: {} ticks ({} lost), {} obeyed, {} refused late, {} malformed; oldest command obeyed {:.1} ms; \
         fastest joint {:.1} % of its limit; largest lead {:.3} rad; {} lifted",
        state.ticks,
        state.lost_ticks,
        state.obeyed,
        state.refused_late,
        state.refused_malformed,
        state.oldest_obeyed_ns as f64 / 1e6,
        state.speed_share * 100.0,
        state.lead_rad,
        state.lifted
    ));
    if state.oldest_obeyed_ns > reflexarc_sim::node::COMMAND_AGE_LIMIT_NS {
        faults.push(format!("a command was obeyed at an age of {} ns", state.oldest_obeyed_ns));
    }
    if state.speed_share > 1.05 {
        faults.push(format!("a joint went at {:.2} of its speed limit", state.speed_share));
    }
}

/// The mind is not asked any more while the arm is braked at the end; that takes a second at most.
fn mind_books(report: &Report, config: &Config, lines: &mut Vec<String>, faults: &mut Vec<String>) {
    let hz = config.rates.mind_hz;
    let periods = slots(report.duration_s - report.mind_moved_ms / 1e3, hz);
    let counted = report.decisions + report.mind_missed + report.mind_idle;
    lines.push(format!(
        "periods of the mind: {periods} by the clock, {} decided + {} missed + {} idle; moved by {:.0} ms in all",
        report.decisions, report.mind_missed, report.mind_idle, report.mind_moved_ms
    ));
    if counted > periods + 1 || counted + u64::from(hz) < periods {
        faults.push(format!("the mind's books have {counted} periods of {periods}"));
    }
}
