//! `reflexarc operate`: the operator's side of the link, from a terminal.

use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use clap::{Args, Subcommand};
use reflexarc_drivers::link::Ros;
use reflexarc_drivers::msg::{BoolMsg, DiagnosticArray, DiagnosticStatus, StringMsg};
use reflexarc_drivers::{Clock, Link, Subscription, Topics};

use super::{EXIT_OK, EXIT_PROBLEM, stop_on_signal};
use crate::config::Config;
use crate::say;

pub(super) const EXAMPLES: &str = "\
Says what a panel or a node of yours would say, and prints what the robot answers (its `diagnostics`, once a second). \
`enable` is a dead-man's switch: the robot may move while the command runs, and holds when it ends: at once, or after \
safety.enable_timeout_ms where it was killed. Leaving a stop takes `reset` (after `operate stop` with --release), and then `enable` anew.

This reaches the robot over the link, like everything else here. It is not an emergency stop: wire one in hardware.

Example:
  reflexarc operate enable --connect tcp/127.0.0.1:7447
  reflexarc operate tell \"pick up the blue cube\" --config robot.toml
  reflexarc operate stop

Exit code 0: the robot confirmed it. 1: it did not.";

/// How often a message is said again.
const PERIOD: Duration = Duration::from_millis(50);
/// How long an answer is waited for; the robot speaks once a second.
const PATIENCE: Duration = Duration::from_secs(10);
/// Messages that take an `enable` back.
const FAREWELLS: u32 = 3;

#[derive(Debug, Args)]
pub(super) struct OperateArgs {
    #[command(subcommand)]
    act: Act,
    /// Endpoint of the runtime (repeatable) [default: link.listen or link.connect of --config, or
    /// tcp/127.0.0.1:7447].
    #[arg(long, value_name = "ENDPOINT", global = true)]
    connect: Vec<String>,
    /// A configuration for the link: endpoint, credentials, namespace.
    #[arg(long, value_name = "FILE", global = true)]
    config: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
enum Act {
    /// Let the robot move for as long as this runs.
    Enable {
        /// End after this many seconds; otherwise when a signal comes.
        #[arg(long, value_name = "N")]
        seconds: Option<f64>,
    },
    /// Stop the robot; ends when it says that it has.
    Stop,
    /// Leave a stop whose cause is gone; nothing moves before `enable` comes anew.
    Reset {
        /// Take back the `estop` = true of `operate stop` first, and of whoever else has not repeated it.
        #[arg(long)]
        release: bool,
    },
    /// Tell the robot what to do.
    Tell {
        /// The instruction.
        instruction: String,
    },
}

/// What the robot says about itself.
struct Robot {
    diagnostics: Subscription<DiagnosticArray>,
    said: String,
    /// Whether a stop is latched; `None` before the robot has spoken.
    stopped: Option<bool>,
    /// How often it has spoken. What it says first may be older than what it has been told.
    reports: u32,
}

impl Robot {
    /// Whether it says, since it has been spoken to, that a stop is latched, or is not.
    fn confirms(&self, stopped: bool) -> bool {
        self.reports > 1 && self.stopped == Some(stopped)
    }

    /// Takes what has come, and prints it where it is new.
    fn listen(&mut self) {
        let Some(array) = self.diagnostics.latest_unread() else { return };
        let part = |name: &str| array.value.status.iter().find(|part| part.name == name);
        let (Some(failsafe), Some(mind)) = (part("failsafe"), part("mind")) else { return };
        self.stopped = Some(failsafe.level >= 2);
        self.reports += 1;
        let words = |part: &DiagnosticStatus| format!("{} {}", part.name, part.message);
        let line = format!("{} | {}", words(mind), words(failsafe));
        if line != self.said {
            say::out(format_args!("{line}"));
            self.said = line;
        }
    }
}

pub(super) fn operate(args: &OperateArgs) -> Result<u8> {
    let config = match &args.config {
        Some(path) => Config::load(path)?,
        None => Config::default(),
    };
    let mut zenoh = super::zenoh(&config.link);
    zenoh.listen = Vec::new();
    if zenoh.ros == Ros::Host {
        // The robot's router, not one of this command's own.
        zenoh.ros = Ros::Join;
    }
    zenoh.node = "operate".to_owned();
    let usual = vec!["tcp/127.0.0.1:7447".to_owned()];
    let named = [&args.connect, &config.link.listen, &config.link.connect];
    zenoh.connect = named.into_iter().find(|endpoints| !endpoints.is_empty()).unwrap_or(&usual).clone();
    let endpoints = zenoh.connect.clone();
    let limit = match args.act {
        Act::Enable { seconds } => seconds.map(Duration::try_from_secs_f64).transpose()?,
        _ => Some(PATIENCE),
    };

    let end = stop_on_signal()?;
    let link = Link::zenoh(zenoh, Clock::system())?;
    let topics = Topics::new(&config.link.namespace);
    let diagnostics = link.subscribe(&topics.diagnostics)?;
    let mut robot = Robot { diagnostics, said: String::new(), stopped: None, reports: 0 };
    let [estop, enable, reset] =
        [link.publisher(&topics.estop)?, link.publisher(&topics.enable)?, link.publisher(&topics.reset)?];
    let instruction = link.publisher(&topics.instruction)?;
    let flag = |data| BoolMsg { data };

    let begun = Instant::now();
    let mut told = None;
    let confirmed = loop {
        robot.listen();
        let over = end.load(Ordering::Acquire) || limit.is_some_and(|limit| begun.elapsed() >= limit);
        match &args.act {
            Act::Enable { .. } => {
                enable.put(&flag(!over))?;
                if over {
                    // One of them may be lost.
                    for _ in 1..FAREWELLS {
                        std::thread::sleep(PERIOD);
                        enable.put(&flag(false))?;
                    }
                    break robot.stopped.is_some();
                }
            }
            Act::Stop => {
                estop.put(&flag(true))?;
                if robot.confirms(true) {
                    break true;
                }
            }
            Act::Reset { release } => {
                if *release {
                    estop.put(&flag(false))?;
                }
                reset.put(&flag(true))?;
                if robot.confirms(false) {
                    break true;
                }
            }
            Act::Tell { instruction: words } => match told {
                None if robot.stopped.is_some() => {
                    instruction.put(&StringMsg { data: words.clone() })?;
                    told = Some(Instant::now());
                }
                // Sent means handed over; the session must live until it is on its way.
                Some(at) if at.elapsed() >= 4 * PERIOD => break true,
                _ => {}
            },
        }
        if over {
            break false;
        }
        std::thread::sleep(PERIOD);
    };
    if robot.stopped.is_none() {
        let hint = match &config.link.secure {
            Some(_) => "; link.secure.robots must name the robot, or its word is not taken",
            None => "",
        };
        bail!("no robot is heard at {endpoints:?}: expected its `diagnostics`, once a second{hint}");
    }
    match (&args.act, confirmed) {
        (Act::Stop, false) => bail!("the robot does not say that it has stopped: {}", robot.said),
        (Act::Reset { release }, false) => bail!(
            "the stop stands: {}{}",
            robot.said,
            if *release { "" } else { "; an `estop` that is still true is taken back with --release" }
        ),
        _ => Ok(if confirmed { EXIT_OK } else { EXIT_PROBLEM }),
    }
}
