//! Watches a running robot from outside, as any other node would: what it feels, what it thinks and
//! how it is, once per interval.
//!
//! `cargo run --release --example subscribe`
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a program that reports what it hears")]

use std::fmt::Write as _;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use clap::Parser;
use reflexarc_drivers::msg::{DiagnosticArray, Float32MultiArray, Goal, Image, JointState};
use reflexarc_drivers::{Clock, Link, Message, Sample, Subscription, SubscriptionStats, Topics, ZenohConfig};

const HELP: &str = "\
The example `sim` is two peers, runtime and simulator, each with its own endpoint; both are named to
hear both. Peers that are not there yet are waited for.

Examples:
  Beside a running `cargo run --release --example sim`:
    cargo run --release --example subscribe

  A robot elsewhere on this machine, twice a second, for a minute:
    cargo run --release --example subscribe -- --connect tcp/127.0.0.1:9000 --every 0.5 --seconds 60

Exit code 0: something arrived. 1: nothing did. 2: wrong arguments.";

/// Prints a robot's topics live: joints, touch, cameras, the model's goals, and health.
#[derive(Parser)]
#[command(after_help = HELP)]
struct Arguments {
    /// Endpoints of the robot's nodes (repeatable).
    #[arg(
        long,
        value_name = "ENDPOINT",
        default_values_t = ["tcp/127.0.0.1:7447".to_owned(), "tcp/127.0.0.1:7448".to_owned()]
    )]
    connect: Vec<String>,
    /// Seconds from one report to the next.
    #[arg(long, default_value_t = 1.0)]
    every: f64,
    /// Ends after this many seconds; otherwise when a signal comes.
    #[arg(long)]
    seconds: Option<f64>,
    /// The robot's namespace.
    #[arg(long, default_value = "")]
    namespace: String,
    /// Names of the cameras (repeatable).
    #[arg(long, default_values_t = ["scene".to_owned(), "wrist".to_owned()])]
    camera: Vec<String>,
    /// Names of the tactile pads (repeatable).
    #[arg(long, default_values_t = ["left".to_owned(), "right".to_owned()])]
    pad: Vec<String>,
    /// Endpoints beyond this machine are allowed.
    #[arg(long)]
    allow_remote: bool,
}

fn main() -> ExitCode {
    match watch(&Arguments::parse()) {
        Ok(0) => {
            eprintln!("subscribe: nothing arrived");
            ExitCode::FAILURE
        }
        Ok(_) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("subscribe: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// A topic with what was known of it at the last report.
struct Heard<M: Message> {
    name: String,
    subscription: Subscription<M>,
    before: SubscriptionStats,
}

impl<M: Message> Heard<M> {
    fn new(name: &str, subscription: Subscription<M>) -> Self {
        Self { name: name.to_owned(), subscription, before: SubscriptionStats::default() }
    }

    /// Writes name, rate, age and losses, then what `show` makes of the newest message.
    fn report(
        &mut self,
        now_ns: u64,
        span_s: f64,
        out: &mut String,
        show: impl FnOnce(&M, &mut String),
    ) -> u64 {
        let stats = self.subscription.stats();
        let fresh = stats.received - self.before.received;
        self.before = stats;
        let Some(sample) = self.subscription.latest() else {
            let why = self.subscription.last_error().unwrap_or_else(|| "nothing yet".to_owned());
            let _ = writeln!(out, "  {:<14} {why}", self.name);
            return stats.received;
        };
        let _ =
            write!(out, "  {:<14} {:6.1} Hz  {:>8}", self.name, fresh as f64 / span_s, age(&sample, now_ns));
        if stats.gaps + stats.malformed > 0 {
            let _ = write!(out, "  ({} lost, {} malformed)", stats.gaps, stats.malformed);
        }
        out.push_str("  ");
        show(&sample.value, out);
        out.push('\n');
        stats.received
    }
}

/// How long ago a message was sent, in ms or s.
fn age<M>(sample: &Arc<Sample<M>>, now_ns: u64) -> String {
    let age_ms = sample.age_ns(now_ns) as f64 / 1e6;
    if age_ms < 1000.0 { format!("{age_ms:.1} ms") } else { format!("{:.1} s", age_ms / 1e3) }
}

fn watch(arguments: &Arguments) -> Result<u64> {
    if !(arguments.every.is_finite() && arguments.every >= 0.05) {
        bail!("--every {}: expected a number of seconds, 0.05 or more", arguments.every);
    }
    let limit = match arguments.seconds {
        Some(seconds) => Some(Duration::try_from_secs_f64(seconds)?),
        None => None,
    };
    let clock = Clock::system();
    let config = ZenohConfig {
        listen: Vec::new(),
        connect: arguments.connect.clone(),
        allow_remote: arguments.allow_remote,
        node: "subscribe".to_owned(),
        ..ZenohConfig::default()
    };
    let link = Link::zenoh(config, clock.clone())?;
    let topics = Topics::new(&arguments.namespace);
    let mut joints = Heard::<JointState>::new("joint_states", link.subscribe(&topics.joint_states)?);
    let mut goal = Heard::<Goal>::new("goal", link.subscribe(&topics.goal)?);
    let mut health = Heard::<DiagnosticArray>::new("diagnostics", link.subscribe(&topics.diagnostics)?);
    let mut cameras = Vec::new();
    for name in &arguments.camera {
        cameras.push(Heard::<Image>::new(&format!("camera {name}"), link.subscribe(&topics.camera(name))?));
    }
    let mut pads = Vec::new();
    for name in &arguments.pad {
        pads.push(Heard::<Float32MultiArray>::new(
            &format!("tactile {name}"),
            link.subscribe(&topics.tactile(name))?,
        ));
    }

    let stop = Arc::new(AtomicBool::new(false));
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
        signal_hook::flag::register(signal, Arc::clone(&stop))?;
    }
    let begun = Instant::now();
    let every = Duration::try_from_secs_f64(arguments.every)?;
    let mut last = begun;
    loop {
        let over = limit.is_some_and(|limit| begun.elapsed() >= limit) || stop.load(Ordering::Acquire);
        if last.elapsed() < every && !over {
            std::thread::sleep(Duration::from_millis(10));
            continue;
        }
        let span_s = last.elapsed().as_secs_f64().max(1e-3);
        last = Instant::now();
        let now_ns = clock.now_ns();
        let mut out = format!("{:.1} s, {} peers\n", begun.elapsed().as_secs_f64(), link.peers());
        let mut counts = vec![joints.report(now_ns, span_s, &mut out, show_joints)];
        counts.extend(pads.iter_mut().map(|pad| pad.report(now_ns, span_s, &mut out, show_pad)));
        counts.extend(cameras.iter_mut().map(|camera| camera.report(now_ns, span_s, &mut out, show_image)));
        counts.push(goal.report(now_ns, span_s, &mut out, show_goal));
        counts.push(health.report(now_ns, span_s, &mut out, show_health));
        let received: u64 = counts.iter().sum();
        if received > 0 && counts.contains(&0) {
            out.push_str(
                "  What is missing may come from another node of the robot: name each with --connect.\n",
            );
        }
        println!("{out}");
        if over {
            return Ok(received);
        }
    }
}

fn show_joints(state: &JointState, out: &mut String) {
    for (name, position) in state.name.iter().zip(&state.position) {
        if name == "gripper" {
            let _ = write!(out, " {name} {:.1} mm", position * 1e3);
        } else {
            let _ = write!(out, " {name} {position:+.3}");
        }
    }
}

/// The pad's total force per channel. The last channel is normal to the pad.
fn show_pad(pad: &Float32MultiArray, out: &mut String) {
    let channels = pad.layout.dim.last().map_or(1, |dimension| dimension.size.max(1) as usize);
    let sum = |channel: usize| pad.data.iter().skip(channel).step_by(channels).sum::<f32>();
    let shear: Vec<String> =
        (0..channels.saturating_sub(1).min(8)).map(|channel| format!("{:+.2}", sum(channel))).collect();
    let _ = write!(out, "normal {:.2} N, shear [{}] N", sum(channels - 1), shear.join(", "));
}

fn show_image(image: &Image, out: &mut String) {
    let mean = image.data.iter().map(|byte| f64::from(*byte)).sum::<f64>() / image.data.len().max(1) as f64;
    let _ = write!(out, "{} x {} {}, mean {mean:.1}", image.width, image.height, image.encoding);
}

fn show_goal(goal: &Goal, out: &mut String) {
    let _ = write!(out, "decision {} on \"{}\": ", goal.decision, goal.instruction);
    if goal.infeasible_reason.is_empty() {
        let [x, y, z] = goal.target_position_m;
        let _ = write!(
            out,
            "{} → {}, tool to ({x:.3}, {y:.3}, {z:.3}) m, {:.0} mm open, {:.0} N, looks at ({:.2}, {:.2}), sure {:.2}",
            goal.plan.join(", "),
            goal.subtask,
            goal.gripper_width_m * 1e3,
            goal.gripper_force_n,
            goal.pixel_u,
            goal.pixel_v,
            goal.confidence
        );
    } else {
        let _ = write!(out, "infeasible, {}", goal.infeasible_reason);
    }
    let _ = write!(out, "\n{:35}{}", "", goal.tokens.join(" "));
}

fn show_health(health: &DiagnosticArray, out: &mut String) {
    let parts: Vec<String> = health
        .status
        .iter()
        .map(|part| {
            let level = match part.level {
                0 => "ok",
                1 => "WARN",
                2 => "ERROR",
                _ => "STALE",
            };
            let words = if part.message.is_empty() { String::new() } else { format!(" ({})", part.message) };
            format!("{} {level}{words}", part.name)
        })
        .collect();
    out.push_str(&parts.join(", "));
}
