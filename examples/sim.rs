//! The main job: a simulated robot and the runtime as two zenoh peers, one instruction, and a
//! trained model that decides sixty times a second.
//!
//! `cargo run --release --example sim -- "pick up the red mug"`
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a program that reports what it does")]

use std::io::{IsTerminal, Write};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use anyhow::{Result, bail};
use clap::{Parser, ValueEnum};
use reflexarc_examples::casting::{contents, scene_with, scene_without, wanted};
use reflexarc_examples::job::{Job, JobReport, News, run};
use reflexarc_examples::stage::{Mishaps, View};
use reflexarc_runtime::config::DeviceChoice;
use reflexarc_runtime::load::load_policy;
use reflexarc_runtime::{Config, Progress};
use reflexarc_vla_model::decision::Subtask;

/// Where a robot's messages are looked for by custom; the simulator takes the next port.
const PORT: u16 = 7447;
/// A hold that lasts this long ends the job, s.
const HOLD_PATIENCE_S: f64 = 2.0;
/// Plain progress lines come this far apart, s; more often when something changes.
const PLAIN_EVERY_S: f64 = 0.5;

const HELP: &str = "\
Examples:
  The whole arc, live; writes out/sim.mcap and out/sim-filmstrip.png:
    cargo run --release --example sim -- \"pick up the red mug\"

  Another table, your own words, plain lines for a log:
    cargo run --release --example sim -- --headless --seed 40 \"would you grab the cup that is blue\"

  Sixty decisions a second for a minute, whatever happens on the table:
    cargo run --release --example sim -- --seconds 60 --sustain

  What cannot be done is said aloud, and nothing moves:
    cargo run --release --example sim -- \"sing me a song\"
    cargo run --release --example sim -- --absent \"pick up the red mug\"

  What goes wrong leads to a hold and a clear end:
    cargo run --release --example sim -- --freeze-cameras-after 2
    cargo run --release --example sim -- --kill-sim-after 2

While it runs, another node can watch: cargo run --release --example subscribe

Exit code 0: the object was lifted 10 cm and held for a second. 1: it was not, and the last line
says why. 2: wrong arguments.";

/// Plays one instruction: the simulator and the runtime as two zenoh peers, and a trained model
/// between them. Success is judged on the true world, which only the simulator knows.
#[derive(Parser)]
#[command(after_help = HELP)]
struct Arguments {
    /// What the robot is told, in your own words. The table is laid so that it has what is named.
    #[arg(default_value = "pick up the red mug")]
    instruction: String,
    /// Plain lines instead of a status line that rewrites itself.
    #[arg(long)]
    headless: bool,
    /// Scenes are tried from this seed on, until one has the named object.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// The job ends after this many seconds at the latest.
    #[arg(long, default_value_t = 20.0)]
    seconds: f64,
    /// Go on until --seconds are over, also after success: to measure rates and latencies.
    #[arg(long)]
    sustain: bool,
    /// Recording of everything the runtime sends and receives (MCAP) [default: OUT/sim.mcap].
    #[arg(long, value_name = "FILE")]
    record: Option<PathBuf>,
    /// What the model runs on.
    #[arg(long, value_enum, default_value = "auto")]
    device: DeviceArg,
    /// The model's weights [default: vla-model/weights/goal.safetensors].
    #[arg(long, value_name = "FILE")]
    model: Option<PathBuf>,
    /// Folder for the filmstrip, and for the recording unless --record names a file.
    #[arg(long, value_name = "DIR", default_value = "out")]
    out: PathBuf,
    /// Where the runtime listens for other nodes [default: tcp/127.0.0.1:7447, or a free port].
    #[arg(long, value_name = "ENDPOINT")]
    listen: Option<String>,
    /// Fault to show: a table that lacks the named object.
    #[arg(long)]
    absent: bool,
    /// Fault to show: both cameras deliver nothing any more after this many seconds.
    #[arg(long, value_name = "SECONDS")]
    freeze_cameras_after: Option<f64>,
    /// Fault to show: both cameras deliver black frames after this many seconds.
    #[arg(long, value_name = "SECONDS")]
    black_cameras_after: Option<f64>,
    /// Fault to show: the simulator's peer vanishes after this many seconds.
    #[arg(long, value_name = "SECONDS")]
    kill_sim_after: Option<f64>,
}

#[derive(Clone, Copy, ValueEnum)]
enum DeviceArg {
    /// A real GPU if there is one, otherwise the CPU.
    Auto,
    /// The CPU.
    Cpu,
    /// A GPU, or an error.
    Gpu,
}

fn main() -> ExitCode {
    match play(Arguments::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            // Some errors have their cause in their own words already.
            let mut words = error.to_string();
            for cause in error.chain().skip(1).map(ToString::to_string) {
                if !words.contains(&cause) {
                    words = format!("{words}: {cause}");
                }
            }
            eprintln!("sim: {words}");
            ExitCode::FAILURE
        }
    }
}

/// The weights that ship with the project, whether or not it is the current folder.
fn shipped_model() -> PathBuf {
    let relative = Path::new("vla-model/weights/goal.safetensors");
    if relative.exists() {
        return relative.to_owned();
    }
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).parent();
    workspace.map(|folder| folder.join(relative)).filter(|path| path.exists()).unwrap_or(relative.to_owned())
}

/// The endpoint with this port, or with a free one if another program has it.
fn endpoint(port: u16) -> String {
    let free = TcpListener::bind(("127.0.0.1", port)).is_ok();
    format!("tcp/127.0.0.1:{}", if free { port } else { 0 })
}

fn play(arguments: Arguments) -> Result<bool> {
    for (option, value) in [
        ("--seconds", Some(arguments.seconds)),
        ("--freeze-cameras-after", arguments.freeze_cameras_after),
        ("--black-cameras-after", arguments.black_cameras_after),
        ("--kill-sim-after", arguments.kill_sim_after),
    ] {
        if value.is_some_and(|s| !(s.is_finite() && s >= 0.0)) {
            bail!("{option} {}: expected a number of seconds, 0 or more", value.unwrap_or_default());
        }
    }
    let want = wanted(&arguments.instruction);
    let scene = match want {
        Some(want) if arguments.absent => scene_without(want, arguments.seed)?,
        None if arguments.absent => {
            bail!("--absent: the instruction names no colour and object that could be absent")
        }
        want => scene_with(want, arguments.seed)?,
    };

    let mut config = Config::default();
    config.policy.instruction.clone_from(&arguments.instruction);
    config.policy.device = match arguments.device {
        DeviceArg::Auto => DeviceChoice::Auto,
        DeviceArg::Cpu => DeviceChoice::Cpu,
        DeviceArg::Gpu => DeviceChoice::Gpu,
    };
    let model = arguments.model.clone().unwrap_or_else(shipped_model);
    let loaded = load_policy(&model, &config)?;
    config.policy.model = Some(model.clone());
    let recording = arguments.record.clone().unwrap_or_else(|| arguments.out.join("sim.mcap"));
    config.record.path = Some(recording);
    config.link.listen = vec![arguments.listen.clone().unwrap_or_else(|| endpoint(PORT))];

    println!("told      \"{}\"", arguments.instruction);
    println!("model     {} ({})", loaded.policy.name(), model.display());
    println!("device    {}", loaded.device);
    let object = if arguments.absent {
        "what is named is left out".to_owned()
    } else {
        want.map_or("the instruction names no object of ours".to_owned(), |want| {
            format!("the task is about the {} {}", want.paint.name(), want.kind.name())
        })
    };
    println!("scene     seed {}: {}; {object}", scene.seed, contents(&scene));

    let job = Job {
        config,
        scene,
        sim_listen: endpoint(PORT + 1),
        limit_s: arguments.seconds,
        sustain: arguments.sustain,
        hold_patience_s: HOLD_PATIENCE_S,
        mishaps: Mishaps {
            freeze_cameras_after_s: arguments.freeze_cameras_after,
            black_cameras_after_s: arguments.black_cameras_after,
            vanish_after_s: arguments.kill_sim_after,
        },
    };
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
        // The second signal ends the program at once, the first brings the arm to rest.
        signal_hook::flag::register_conditional_shutdown(signal, 1, Arc::clone(&stop))?;
        signal_hook::flag::register(signal, Arc::clone(&stop))?;
    }
    let mut teller = Teller::new(!arguments.headless && std::io::stdout().is_terminal());
    let done = run(job, loaded.policy, &stop, |news| teller.tell(&news))?;
    teller.end();
    conclude(&done, &arguments)
}

/// Rounded to 1 mm; adding zero turns -0.0 into 0.0.
fn centimetres(height_m: f64) -> f64 {
    (height_m * 1000.0).round() / 10.0 + 0.0
}

/// Shows progress: one line that rewrites itself, or plain lines.
struct Teller {
    live: bool,
    last_s: f64,
    /// Mode and subtask that were shown last.
    last: Option<(&'static str, Option<Subtask>)>,
}

impl Teller {
    fn new(live: bool) -> Self {
        Self { live, last_s: f64::NEG_INFINITY, last: None }
    }

    fn tell(&mut self, news: &News<'_>) {
        match news {
            News::Met { runtime, sim } => {
                println!("peers     runtime {}, simulator {}", runtime.join(" "), sim.join(" "));
                let connect: Vec<String> =
                    runtime.iter().chain(*sim).map(|at| format!("--connect {at}")).collect();
                println!("watch     cargo run --release --example subscribe -- {}", connect.join(" "));
            }
            News::Progress(progress, view) => self.progress(progress, view),
        }
    }

    fn progress(&mut self, progress: &Progress, view: &View) {
        let now = Some((progress.mode.key(), progress.subtask));
        let changed = self.last != now;
        if !self.live && !changed && progress.time_s - self.last_s < PLAIN_EVERY_S {
            return;
        }
        let height_cm = centimetres(view.height_m);
        let command_ms = progress.observation_to_command.p50_us / 1e3;
        let model_ms = progress.model.p50_us / 1e3;
        if self.live {
            // A change leaves the line before it on the screen. Must fit a terminal of 80 columns.
            let start = if changed && self.last.is_some() { "\n" } else { "\r\x1b[K" };
            let words: String = progress.message.chars().take(17).collect();
            print!(
                "{start}{:5.1} s {words:<17} {height_cm:4.1} cm {:4.1}/s  cmd {command_ms:4.1} ms  model {model_ms:4.1} ms",
                progress.time_s, progress.decisions_per_s,
            );
            // A terminal that is gone must not end the run.
            let _ = std::io::stdout().flush();
        } else {
            println!(
                "{:6.2} s  {:<20} target {height_cm:5.1} cm  {:4.1} decisions/s  obs→cmd p50 {command_ms:4.1} ms  \
                 model p50 {model_ms:4.1} ms  missed {}+{}",
                progress.time_s,
                progress.message,
                progress.decisions_per_s,
                progress.missed.0,
                progress.missed.1,
            );
        }
        self.last_s = progress.time_s;
        self.last = now;
    }

    fn end(&self) {
        if self.live {
            println!();
        }
    }
}

/// Prints the report, writes the filmstrip, and says whether it is a success.
fn conclude(done: &JobReport, arguments: &Arguments) -> Result<bool> {
    let JobReport { ending, report, view, film } = done;
    println!();
    print!("{}", report.to_text());
    let gaps: u64 = report.topics.iter().map(|topic| topic.gaps).sum();
    println!(
        "drops             {gaps} messages on the way, {} commands not sent, {} messages not recorded",
        report.commands_dropped,
        report.recorder.as_ref().map_or(0, |recorder| recorder.dropped)
    );
    println!(
        "simulator         {} ticks, {} lost, {} commands obeyed, {} refused as late, {} as malformed; target at {:.1} cm, {:.1} cm at most",
        view.ticks,
        view.lost_ticks,
        view.actuator.obeyed,
        view.actuator.refused_late,
        view.actuator.refused_malformed,
        centimetres(view.height_m),
        centimetres(view.highest_m)
    );
    let path = arguments.out.join("sim-filmstrip.png");
    let result = if ending.is_success() { "success" } else { "failure" };
    match film.save(&path, &format!("\"{}\" - {result}", arguments.instruction)) {
        Ok(()) => println!("filmstrip         {}", path.display()),
        Err(error) => println!("filmstrip         none: {error:#}"),
    }
    println!();
    println!("{}: {ending}", result.to_uppercase());
    if !report.problems.is_empty() {
        bail!("{}", report.problems.join("; "));
    }
    Ok(ending.is_success())
}
