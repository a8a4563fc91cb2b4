//! `reflexarc selftest`: the whole loop on this machine's loopback, without a robot.

mod stand_in;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow, bail};
use clap::Args;
use reflexarc_drivers::{Clock, Link, ZenohConfig};

use super::{Common, EXIT_OK, EXIT_PROBLEM, model_path, stop_on_signal};
use crate::config::{Config, LinkConfig};
use crate::devices::DriversConfig;
use crate::load::load_policy;
use crate::realtime;
use crate::report::Report;
use crate::runtime::{Runtime, load_chain};
use crate::say;
use stand_in::{Heard, StandIn, Still};

pub(super) const EXAMPLES: &str = "\
Runs what `reflexarc run` would: the configured model on frames of the configured cameras, audit, limits, the loop with \
the configured scheduling, and all messages over zenoh on this machine's loopback. A stand-in takes the robot's place: \
it sees noise, and is at once where it is told to be. So that nobody takes for a result what a model says about noise, \
its chunks are computed and then replaced by \"stay\". Nothing outside this process is reached: no arm, camera or other \
node, whatever the configuration says.

Says how often the model decided, how old what the arm was told was, and how late the loop woke, on this board. Exits \
with 1 if the loop did not close.

Example:
  reflexarc selftest --config /etc/reflexarc/robot.toml
  reflexarc selftest --model my_checkpoint --config so101.toml --seconds 30";

/// How long the parts may take to find each other, and the model to speak for the first time.
const PATIENCE: Duration = Duration::from_secs(60);
/// Oldest command that an arm's driver obeys by default, ns.
const COMMAND_AGE_LIMIT_NS: u64 = 100_000_000;
/// Share of the loop's periods that may be missed, percent.
const MISSED_PERCENT: f64 = 1.0;
/// A command that says "stay" and is further off than this does not say it, rad or m.
const STILL: f64 = 1e-3;

#[derive(Debug, Args)]
pub(super) struct SelftestArgs {
    #[command(flatten)]
    common: Common,
    /// How long to run after the first command.
    #[arg(long, value_name = "N", default_value_t = 5.0)]
    seconds: f64,
    /// Print the run's report as JSON in place of text.
    #[arg(long)]
    json: bool,
}

#[expect(clippy::print_stdout, reason = "telling is the purpose of this command")]
pub(super) fn selftest(args: SelftestArgs) -> Result<u8> {
    let seconds = args.seconds;
    if !(0.5..=3600.0).contains(&seconds) {
        bail!("--seconds {seconds}: expected a number from 0.5 to 3600");
    }
    let config = args.common.into_config()?;
    let chain = load_chain(&config)?;
    let loaded = load_policy(model_path(&config)?, &config)?;
    if !args.json {
        println!("model             {} on {}", loaded.policy.name(), loaded.device);
    }
    let period_ns = (1e9 / config.chunk.rate_hz).round() as u64;
    let policy = Still { model: loaded.policy, period_ns };
    let config = alone(config);

    let stop = stop_on_signal()?;
    let clock = Clock::system();
    let loopback = |node: &str, listen: Vec<String>, connect: Vec<String>| {
        let zenoh = ZenohConfig { listen, connect, node: node.to_owned(), ..ZenohConfig::default() };
        Link::zenoh(zenoh, clock.clone())
    };
    let robot_link = loopback("stand_in", vec!["tcp/127.0.0.1:0".to_owned()], Vec::new())?;
    let runtime_link = loopback("selftest", Vec::new(), robot_link.locators().to_vec())?;
    let robot_stop = Arc::new(AtomicBool::new(false));
    let robot = StandIn::new(&robot_link, &config, chain.joint_names())?.start(Arc::clone(&robot_stop))?;

    let runtime = Runtime::new(config, runtime_link, Box::new(policy))?;
    let begun = Instant::now();
    let mut first_s = None;
    let ran = realtime::run(runtime, &clock, &stop, |progress| {
        if progress.observation_to_command.count > 0 {
            first_s.get_or_insert(progress.time_s);
        }
        let enough = first_s.is_some_and(|first_s| progress.time_s - first_s >= seconds);
        if enough || (first_s.is_none() && begun.elapsed() > PATIENCE) {
            stop.store(true, Ordering::Release);
        }
    });
    robot_stop.store(true, Ordering::Release);
    let heard = robot.join().map_err(|_| anyhow!("the stand-in for the robot has failed"))??;
    let report = ran?;
    let faults = faults(&report, &heard);
    if args.json {
        println!("{}", serde_json::to_string_pretty(&report)?);
    } else {
        print!("{}", figures(&report, &heard));
    }
    for fault in &faults {
        say::err(format_args!("selftest: {fault}"));
    }
    if !args.json && faults.is_empty() {
        println!("ok: the loop closes");
    }
    Ok(if faults.is_empty() { EXIT_OK } else { EXIT_PROBLEM })
}

/// The configuration without anything that reaches out of this process or waits for a person.
fn alone(mut config: Config) -> Config {
    config.drivers = DriversConfig::default();
    config.link = LinkConfig { namespace: config.link.namespace, ..LinkConfig::default() };
    config.metrics.listen.clear();
    config.record.path = None;
    config.record.black_box = None;
    config.safety.require_enable = false;
    config.safety.require_calibrated = false;
    config.safety.estop_timeout_ms = 0;
    config
}

fn faults(report: &Report, heard: &Heard) -> Vec<String> {
    let mut faults = report.problems.clone();
    let mut expect = |sound: bool, fault: String| {
        if !sound {
            faults.push(fault);
        }
    };
    let modes = &report.modes;
    expect(heard.commands > 0, format!("the stand-in was commanded nothing; ticks by mode: {modes:?}"));
    expect(report.policy_errors == 0, format!("{} errors of the model", report.policy_errors));
    expect(report.audit.refused.is_empty(), format!("the audit refused {:?}", report.audit.refusals));
    expect(
        report.reflex_missed_percent <= MISSED_PERCENT,
        format!(
            "{:.2} % of the loop's periods were missed, expected at most {MISSED_PERCENT} %; `reflexarc doctor` says \
             why",
            report.reflex_missed_percent
        ),
    );
    expect(
        heard.oldest_ns <= COMMAND_AGE_LIMIT_NS,
        format!("a command was {:.0} ms old, expected at most 100", heard.oldest_ns as f64 / 1e6),
    );
    expect(
        heard.furthest <= STILL,
        format!("told to stay, the arm was sent {:.4} rad (or m) away at once", heard.furthest),
    );
    faults
}

/// What was measured, line by line.
fn figures(report: &Report, heard: &Heard) -> String {
    let mut lines = vec![format!(
        "decisions         {} ({:.1}/s), {} periods missed",
        report.decisions, report.decisions_per_s, report.mind_missed
    )];
    lines.push(format!(
        "loop              {} ticks, {} missed ({:.2} %), {} commands; {} reached the stand-in, the oldest {:.1} ms old",
        report.ticks,
        report.reflex_missed,
        report.reflex_missed_percent,
        report.commands,
        heard.commands,
        heard.oldest_ns as f64 / 1e6
    ));
    for (name, latency) in [
        ("model", &report.model),
        ("observation→cmd", &report.observation_to_command),
        ("wake lateness", &report.wake_lateness),
    ] {
        let [p50, p99, max] = [latency.p50_us, latency.p99_us, latency.max_us].map(|us| us / 1e3);
        lines.push(format!("{name:<17} p50 {p50:.2} ms, p99 {p99:.2} ms, max {max:.2} ms"));
    }
    lines.join("\n") + "\n"
}
