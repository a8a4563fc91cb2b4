//! The simulated robot as a program of its own, which the runtime drives like hardware: it publishes its
//! senses, obeys fresh commands, holds when they stop, and says what happened in lines of JSON.
//!
//! With an operator's panel it also changes the table by itself, in the way that a person would:
//!
//! ```text
//!  work ──▶ estop ──▶ power off, another table, arm back at its start ──▶ estop released, reset
//!   ▲                                                                            │
//!   └──────────── power on, enable, the new table's instruction ◀────────────────┘
//! ```

use std::io::{ErrorKind, Write};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use clap::Parser;
use reflexarc_drivers::Clock;
use reflexarc_drivers::arm::simulator::WireFaults;
use reflexarc_runtime::clockwork::monotonic_ns;
use reflexarc_sim::Scene;
use reflexarc_vla_model::phrasing::canonical;
use serde::{Deserialize, Serialize};

use crate::casting::{contents, scene_with, wanted};
use crate::panel::Panel;
use crate::stage::{Mishaps, Stage, View};
use crate::translate;

/// How often the program looks at the world and at its panel.
const LOOK: Duration = Duration::from_millis(10);
/// How often the panel repeats what it says.
const REPEAT: Duration = Duration::from_millis(50);

const HELP: &str = "\
Example, in two terminals:
  cargo run --release --example robot -- --listen tcp/127.0.0.1:7448
  target/release/reflexarc run --model vla-model/weights/goal.safetensors --connect tcp/127.0.0.1:7448

A robot whose operator lays another table every 20 s (the runtime connects to both peers):
  cargo run --release --example robot -- --operator tcp/127.0.0.1:7449 --change-every 20
  target/release/reflexarc run --model vla-model/weights/goal.safetensors --keep-going \\
      --connect tcp/127.0.0.1:7448 --connect tcp/127.0.0.1:7449

Each line on stdout is one JSON object; `event` is listening, table, state or end. In a state, mono_ns is the
monotonic clock; rest_since_ns is null while the arm moves; speed_share is the largest measured joint speed as
a share of that joint's limit; lead_rad is the largest distance of an obeyed command from where the joint was;
oldest_obeyed_ns is the age of the oldest command that was obeyed (never above 100 ms).
Ends with exit code 0 on SIGINT, SIGTERM, or after --seconds; with 1 if it cannot go on.";

/// A simulated arm on its table, as a zenoh peer of its own.
#[derive(Debug, Parser)]
#[command(name = "robot", after_help = HELP)]
pub struct RobotArgs {
    /// Where the robot listens for the runtime; port 0 takes a free one.
    #[arg(long, value_name = "ENDPOINT", default_value = "tcp/127.0.0.1:7448")]
    pub listen: String,
    /// What the table shall have on it.
    #[arg(long, value_name = "TEXT", default_value = "pick up the red mug")]
    pub instruction: String,
    /// Tables are tried from this seed on, until one has the named object.
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// An operator's panel that listens here: repeats `estop` = false and `enable` = true, and gives the
    /// instruction.
    #[arg(long, value_name = "ENDPOINT")]
    pub operator: Option<String>,
    /// Another table with another instruction after each so many seconds.
    #[arg(long, value_name = "SECONDS", requires = "operator")]
    pub change_every: Option<f64>,
    /// The arm's own driver and servos simulated down to the bytes, in the place of ideal joints.
    #[arg(long, conflicts_with = "change_every")]
    pub servos: bool,
    /// A state line this often, ms.
    #[arg(long, value_name = "MS", default_value_t = 250, overrides_with = "state_every")]
    pub state_every: u64,
    /// End after this many seconds.
    #[arg(long, value_name = "N")]
    pub seconds: Option<f64>,
}

/// What the robot says about itself, one line each.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Line {
    /// The peers can be reached.
    Listening {
        /// The robot's endpoint, then the panel's if there is one.
        endpoints: Vec<String>,
    },
    /// A table has been laid.
    Table {
        /// The scene's seed.
        seed: u64,
        /// What stands on it.
        objects: String,
        /// What is to be done.
        instruction: String,
    },
    /// How things stand.
    State(State),
    /// How things stood at the end.
    End(State),
}

/// The robot's own record so far; see [`crate::stage::ArmRecord`] and the simulator's counters.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct State {
    /// Monotonic clock, ns.
    pub mono_ns: u64,
    /// Ticks of 1/240 s, and those that were lost because the machine was too slow.
    pub ticks: u64,
    /// See `ticks`.
    pub lost_ticks: u64,
    /// Ticks on which a command was obeyed.
    pub obeyed: u64,
    /// Ticks on which the newest command was too old.
    pub refused_late: u64,
    /// Commands that were none for this robot.
    pub refused_malformed: u64,
    /// Ticks before the first command.
    pub waiting: u64,
    /// Commands that arrived, and that were lost on the way.
    pub commands: u64,
    /// See `commands`.
    pub commands_lost: u64,
    /// Age of the oldest command that was obeyed, ns.
    pub oldest_obeyed_ns: u64,
    /// When a command was obeyed last, monotonic, ns.
    pub last_obeyed_ns: Option<u64>,
    /// Since when the arm rests, monotonic, ns.
    pub rest_since_ns: Option<u64>,
    /// Largest measured joint speed, as a share of the joint's limit.
    pub speed_share: f64,
    /// Largest distance of an obeyed command from where the joint was, rad.
    pub lead_rad: f64,
    /// Targets lifted 10 cm and held for a second.
    pub lifted: u64,
}

impl State {
    fn of(view: &View) -> Self {
        let (actuator, arm) = (&view.actuator, &view.arm);
        Self {
            mono_ns: monotonic_ns(),
            ticks: view.ticks,
            lost_ticks: view.lost_ticks,
            obeyed: actuator.obeyed,
            refused_late: actuator.refused_late,
            refused_malformed: actuator.refused_malformed,
            waiting: actuator.waiting,
            commands: view.commands.received,
            commands_lost: view.commands.gaps,
            oldest_obeyed_ns: actuator.oldest_obeyed_ns,
            last_obeyed_ns: arm.last_obeyed_ns,
            rest_since_ns: arm.rest_since_ns,
            speed_share: arm.speed_share,
            lead_rad: arm.lead_rad,
            lifted: arm.lifted,
        }
    }
}

/// The program `robot`.
#[must_use]
pub fn main(args: &RobotArgs) -> ExitCode {
    match play(args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("robot: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Whether somebody still reads what is said.
fn say(line: &Line) -> Result<bool> {
    let text = serde_json::to_string(line)?;
    match writeln!(std::io::stdout(), "{text}") {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(false),
        Err(error) => Err(error.into()),
    }
}

fn play(args: &RobotArgs) -> Result<()> {
    for (option, value) in [("--change-every", args.change_every), ("--seconds", args.seconds)] {
        if value.is_some_and(|s| !(s.is_finite() && s > 0.0)) {
            bail!("{option} {}: expected a number of seconds above 0", value.unwrap_or_default());
        }
    }
    let end = Arc::new(AtomicBool::new(false));
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
        signal_hook::flag::register(signal, Arc::clone(&end))?;
    }
    let scene = scene_with(wanted(&args.instruction), args.seed)?;
    let table =
        Line::Table { seed: scene.seed, objects: contents(&scene), instruction: args.instruction.clone() };
    let clock = Clock::system();
    let mut seed = scene.seed;
    let servos = args.servos.then(WireFaults::default);
    let stage = Stage::start(scene, &args.listen, &clock, Mishaps::default(), servos)?;
    stage.begin(clock.now_ns());
    let panel = args.operator.as_deref().map(|listen| Panel::open(listen, &clock)).transpose()?;
    let mut endpoints = stage.locators().to_vec();
    endpoints.extend(panel.iter().flat_map(|panel| panel.locators().to_vec()));
    let mut heard = say(&Line::Listening { endpoints })? && say(&table)?;
    if let Some(panel) = &panel {
        panel.instruct(&args.instruction)?;
    }
    let mut operator = panel.map(|panel| Operator::new(panel, args.change_every));
    let begun = Instant::now();
    let mut told: Option<Instant> = None;
    while heard && !end.load(Ordering::Acquire) {
        let view = stage.view();
        if view.ended {
            bail!(
                "the robot's peer is gone: {}",
                view.trouble.unwrap_or_else(|| "no reason given".to_owned())
            );
        }
        if let Some(operator) = &mut operator
            && let Some(line) = operator.attend(&stage, &mut seed)?
        {
            heard = say(&line)?;
        }
        if told.is_none_or(|told| told.elapsed() >= Duration::from_millis(args.state_every)) {
            told = Some(Instant::now());
            heard &= say(&Line::State(State::of(&view)))?;
        }
        if args.seconds.is_some_and(|seconds| begun.elapsed().as_secs_f64() >= seconds) {
            break;
        }
        std::thread::sleep(LOOK);
    }
    let view = stage.end();
    say(&Line::End(State::of(&view)))?;
    Ok(())
}

/// What the operator is at; each phase with its beginning.
#[derive(Debug, Clone, Copy)]
enum Phase {
    /// The robot may work.
    Work(Instant),
    /// The stop is pressed; the arm comes to rest.
    Stopping(Instant),
    /// The power is off and the table is new; the stop is released.
    Released(Instant),
    /// The stop has been reset. What was commanded before it is too old by the end of this.
    Reset(Instant),
}

/// Attends a robot: lays another table from time to time, in safety.
struct Operator {
    panel: Panel,
    change_every_s: Option<f64>,
    phase: Phase,
    said: Option<Instant>,
}

impl Operator {
    fn new(panel: Panel, change_every_s: Option<f64>) -> Self {
        Self { panel, change_every_s, phase: Phase::Work(Instant::now()), said: None }
    }

    /// Does what is due.
    fn attend(&mut self, stage: &Stage, seed: &mut u64) -> Result<Option<Line>> {
        let mut news = None;
        let over = |since: Instant, s: f64| since.elapsed().as_secs_f64() >= s;
        let next = match self.phase {
            Phase::Work(since) if self.change_every_s.is_some_and(|s| over(since, s)) => {
                Some(Phase::Stopping(Instant::now()))
            }
            Phase::Stopping(since) if over(since, 0.6) => {
                *seed += 1;
                let scene = Scene::pick(*seed);
                let target = scene.target();
                let instruction = canonical(translate::color(target.paint), translate::object(target.kind()));
                news = Some(Line::Table {
                    seed: *seed,
                    objects: contents(&scene),
                    instruction: instruction.clone(),
                });
                stage.set_power(false);
                stage.lay(scene)?;
                self.panel.instruct(&instruction).context("the operator's panel")?;
                Some(Phase::Released(Instant::now()))
            }
            Phase::Released(since) if over(since, 0.2) => {
                self.panel.reset()?;
                Some(Phase::Reset(Instant::now()))
            }
            Phase::Reset(since) if over(since, 0.2) => {
                stage.set_power(true);
                Some(Phase::Work(Instant::now()))
            }
            Phase::Work(_) | Phase::Stopping(_) | Phase::Released(_) | Phase::Reset(_) => None,
        };
        if let Some(next) = next {
            self.phase = next;
            self.said = None;
        }
        if self.said.is_none_or(|said| said.elapsed() >= REPEAT) {
            self.said = Some(Instant::now());
            let (estop, enable) = match self.phase {
                Phase::Work(_) => (false, true),
                Phase::Stopping(_) => (true, false),
                Phase::Released(_) | Phase::Reset(_) => (false, false),
            };
            self.panel.say(estop, enable)?;
        }
        Ok(news)
    }
}
