//! The command line of `reflexarc`.

mod bench;
mod devices;
mod doctor;
mod driver;
mod exit;
mod inspect;
mod operate;
mod quantize;
mod replay;
mod selftest;
mod setup;
mod verify;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use clap::{Args, Parser, Subcommand, ValueEnum};
use reflexarc_drivers::link::{Exposure, Ros};
use reflexarc_drivers::power::Board;
use reflexarc_drivers::{Clock, Link, ZenohConfig};
use reflexarc_vla_model::compute::Precision;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::clockwork::monotonic_ns;
use crate::config::{Config, DeviceChoice, LinkConfig};
use crate::cost::Energy;
use crate::devices::Supervisor;
use crate::health::SYSFS;
use crate::load::load_policy;
use crate::outcome::Outcome;
use crate::realtime;
use crate::recorder::file_sha256;
use crate::runtime::{Runtime, load_chain};
use crate::say;
use crate::senses::Senses;

pub use exit::{
    EXIT_CONFIG, EXIT_DIFFERS, EXIT_INCOMPLETE, EXIT_INFEASIBLE, EXIT_LINK, EXIT_MODEL, EXIT_OK,
    EXIT_PROBLEM, EXIT_REALTIME, EXIT_STALLED, EXIT_USAGE, code_of, code_of_run,
};

const ABOUT: &str = "Runs a vision-language-action policy on a robot: cameras, touch and joints in, \
limited joint commands out, sixty decisions a second.";

const EXAMPLES: &str = "\
Examples:
  Say what would be done, and whether all of it can be loaded:
    reflexarc check --config robot.toml --model vla-model/weights/goal.safetensors

  Drive the robot whose messages arrive at this machine's port 7447, for half a minute:
    reflexarc run --model vla-model/weights/goal.safetensors --listen tcp/127.0.0.1:7447 \\
        --instruction \"pick up the red mug\" --seconds 30 --record run.mcap

The stop in this program is not a safety function: wire a hardware emergency stop as well.";

/// The command line.
#[derive(Debug, Parser)]
#[command(name = "reflexarc", version, about = ABOUT, after_help = format!("{EXAMPLES}\n\n{}", exit::TABLE))]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Drive the robot until the task is done, the time is over, or a signal comes.
    #[command(after_help = "\
The robot's side (hardware drivers or the simulator) publishes camera/*/image_raw, tactile/*/taxels \
and joint_states, and takes joint_command. Motion begins when all required senses are fresh and ends with a \
braked hold; a hold that lasts becomes a stop (docs/failsafe.md). Publish `estop` = true to stop; leaving a \
stop takes its cause gone, `reset` = true and then `enable` = true.

Example:
  reflexarc run --model vla-model/weights/goal.safetensors --connect tcp/127.0.0.1:7447 \\
      --instruction \"please pick up the blue cube\"")]
    Run(RunArgs),
    /// Load everything, say what would be done, and move nothing.
    #[command(after_help = "\
Says why and exits with the code for it (see reflexarc --help) if anything is wrong: an unknown or \
impossible configuration key, a robot description that makes no chain, weights that are truncated or of \
another vocabulary, a device that is not there.

Example:
  reflexarc check --config robot.toml --model vla-model/weights/goal.safetensors --device cpu")]
    Check(Common),
    /// Close the whole loop on this machine's loopback, without a robot, and measure it.
    #[command(after_help = selftest::EXAMPLES)]
    Selftest(selftest::SelftestArgs),
    /// Run a recording again, compare bit for bit, and tell why the robot did what it did.
    #[command(after_help = replay::EXAMPLES)]
    Replay(replay::ReplayArgs),
    /// Say what this board grants, what it does not, and what to change.
    #[command(after_help = doctor::EXAMPLES)]
    Doctor(doctor::DoctorArgs),
    /// List the serial ports and cameras that are attached, and what of them can be used.
    #[command(after_help = devices::EXAMPLES)]
    Devices(devices::DevicesArgs),
    /// Bring an arm's servos in order, and say what belongs into the configuration.
    #[command(after_help = setup::EXAMPLES)]
    Setup(setup::SetupArgs),
    /// Run one device of the configuration on the link: the arm, a camera, a tactile pad.
    #[command(after_help = driver::EXAMPLES)]
    Driver(driver::DriverArgs),
    /// Enable, stop, reset or instruct a running robot, and hear what it answers.
    #[command(after_help = operate::EXAMPLES)]
    Operate(operate::OperateArgs),
    /// Describe a LeRobot checkpoint: cameras, sizes, arithmetic, memory, problems.
    #[command(after_help = inspect::EXAMPLES)]
    Inspect(inspect::InspectArgs),
    /// Write a LeRobot checkpoint again with its matrices as integers.
    #[command(after_help = quantize::EXAMPLES)]
    Quantize(quantize::QuantizeArgs),
    /// Compare a LeRobot checkpoint's results with recorded ones, tensor by tensor.
    #[command(after_help = verify::EXAMPLES)]
    Verify(verify::VerifyArgs),
    /// Measure a model: latency by stage, memory, arithmetic against what the machine can do.
    #[command(after_help = bench::EXAMPLES)]
    Bench(bench::BenchArgs),
}

#[derive(Debug, Args)]
struct Common {
    /// Configuration (TOML); every key is optional, see runtime/reflexarc.toml.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Weights file of the goal model, or folder of a LeRobot checkpoint; overrides policy.model.
    #[arg(long, value_name = "PATH")]
    model: Option<PathBuf>,
    /// What the policy runs on; overrides policy.device.
    #[arg(long, value_enum)]
    device: Option<DeviceArg>,
    /// What the robot is told; overrides policy.instruction.
    #[arg(long, value_name = "TEXT")]
    instruction: Option<String>,
}

#[derive(Debug, Args)]
struct RunArgs {
    #[command(flatten)]
    common: Common,
    /// Record everything sent and received into this MCAP file; overrides record.path.
    #[arg(long, value_name = "FILE")]
    record: Option<PathBuf>,
    /// Where to write the last half minute at the first failure, as black-box-STAMP.mcap; overrides
    /// record.black_box [default: the current folder].
    #[arg(long, value_name = "FOLDER")]
    black_box: Option<PathBuf>,
    /// Keep no black box.
    #[arg(long, conflicts_with = "black_box")]
    no_black_box: bool,
    /// End after this many seconds; otherwise when the task is done or a signal comes.
    #[arg(long, value_name = "N")]
    seconds: Option<f64>,
    /// Go on after the task is done, until the time is over or a signal comes.
    #[arg(long)]
    keep_going: bool,
    /// Endpoint to listen on (repeatable), such as tcp/127.0.0.1:7447; adds to link.listen.
    #[arg(long, value_name = "ENDPOINT")]
    listen: Vec<String>,
    /// Endpoint to connect to (repeatable); adds to link.connect.
    #[arg(long, value_name = "ENDPOINT")]
    connect: Vec<String>,
    /// Write the report as JSON into this file as well.
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum DeviceArg {
    /// A real GPU if there is one, otherwise the CPU.
    Auto,
    /// The CPU.
    Cpu,
    /// A GPU, or an error.
    Gpu,
}

impl From<DeviceArg> for DeviceChoice {
    fn from(arg: DeviceArg) -> Self {
        match arg {
            DeviceArg::Auto => Self::Auto,
            DeviceArg::Cpu => Self::Cpu,
            DeviceArg::Gpu => Self::Gpu,
        }
    }
}

/// In which numbers matrices are kept and multiplied.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum PrecisionArg {
    /// f32 throughout.
    F32,
    /// bf16 weights, f32 arithmetic.
    Bf16,
    /// int8 weights and activations.
    Int8,
    /// int4 weights, int8 activations.
    Int4,
}

impl From<PrecisionArg> for Precision {
    fn from(arg: PrecisionArg) -> Self {
        match arg {
            PrecisionArg::F32 => Self::F32,
            PrecisionArg::Bf16 => Self::Bf16,
            PrecisionArg::Int8 => Self::Int8,
            PrecisionArg::Int4 => Self::Int4,
        }
    }
}

impl Common {
    fn into_config(self) -> Result<Config> {
        let mut config = match &self.config {
            Some(path) => Config::load(path)?,
            None => Config::default(),
        };
        if let Some(model) = self.model {
            config.policy.model = Some(model);
        }
        if let Some(instruction) = self.instruction {
            config.policy.instruction = instruction;
        }
        if let Some(device) = self.device {
            config.policy.device = device.into();
        }
        config.validate()?;
        Ok(config)
    }
}

fn model_path(config: &Config) -> Result<&Path> {
    config
        .policy
        .model
        .as_deref()
        .context("no model: give --model FILE or set policy.model in the configuration")
}

impl Cli {
    /// Does what the command line asks and returns the exit code.
    ///
    /// # Errors
    /// Anything that ends in [`EXIT_PROBLEM`]; it has not been printed yet.
    pub fn execute(self) -> Result<u8> {
        match self.command {
            Command::Run(args) => run(args),
            Command::Check(common) => check(common),
            Command::Selftest(args) => selftest::selftest(args),
            Command::Replay(args) => replay::replay(&args),
            Command::Doctor(args) => doctor::doctor(&args),
            Command::Devices(args) => devices::devices(&args),
            Command::Setup(args) => setup::setup(&args),
            Command::Driver(args) => driver::driver(&args),
            Command::Operate(args) => operate::operate(&args),
            Command::Inspect(args) => inspect::inspect(&args),
            Command::Quantize(args) => quantize::quantize(args),
            Command::Verify(args) => verify::verify(&args),
            Command::Bench(args) => bench::bench(&args),
        }
    }
}

#[expect(clippy::print_stdout, reason = "telling is the purpose of this command")]
fn check(common: Common) -> Result<u8> {
    let config = common.into_config()?;
    let chain = load_chain(&config)?;
    let limits = &config.limits;
    println!(
        "robot        {}: {} joints from {} to {}",
        config.robot.urdf,
        chain.dof(),
        config.robot.base,
        config.robot.tip
    );
    println!("rates        {} decisions/s, {} commands/s", config.rates.mind_hz, config.rates.reflex_hz);
    println!("senses       {}", Senses::names(&config.senses).join(", "));
    println!(
        "limits       tool {} m/s in the box {:?} to {:?} m, joints {} rad/s² and {} rad/s³, grip {} N",
        limits.max_tool_speed_m_s,
        limits.workspace_min_m,
        limits.workspace_max_m,
        limits.max_joint_acceleration_rad_s2,
        limits.max_joint_jerk_rad_s3,
        limits.grip_force_n
    );
    println!(
        "link         listens on {:?}, connects to {:?}, domain {}, namespace {:?}",
        config.link.listen, config.link.connect, config.link.domain, config.link.namespace
    );
    say_exposure(&config.link)?;
    for driver in config.drivers.all() {
        println!("driver       {driver}");
    }
    if let Some(arm) = &config.drivers.arm {
        config.drivers.check_joints(&chain)?;
        let (path, calibration) = arm.load_calibration(|name| std::env::var(name).ok())?;
        arm.axes(&calibration)?;
        println!("calibration  {}", path.display());
    }
    match config.metrics.address() {
        Some(address) => println!("metrics      http://{address}/metrics and /healthz"),
        None => println!("metrics      no page (metrics.listen is empty)"),
    }
    println!("energy       {}", energy_here(&config));
    println!("instruction  \"{}\"", config.policy.instruction);
    let path = model_path(&config)?;
    let loaded = load_policy(path, &config)?;
    println!("model        {} ({})", path.display(), loaded.policy.name());
    if let Some(hash) = file_sha256(path) {
        println!("model hash   {hash}");
    }
    println!("device       {}", loaded.device);
    if let Some(units) = &loaded.units {
        println!("units        {units}");
    }
    // On a bus of its own: nothing is sent anywhere.
    let link = Link::in_process(&reflexarc_drivers::Bus::new(), Clock::system());
    let mut runtime = Runtime::new(config, link, loaded.policy)?;
    runtime.warm_up().context("the model does not fit the configured senses")?;
    println!("ok: everything loads, and the model decides");
    Ok(EXIT_OK)
}

/// How the link is opened that a configuration describes.
fn zenoh(link: &LinkConfig) -> ZenohConfig {
    ZenohConfig {
        listen: link.listen.clone(),
        connect: link.connect.clone(),
        allow_remote: link.allow_remote,
        secure: link.secure.clone(),
        ros: link.ros,
        ros_router: link.ros_router.clone(),
        domain: link.domain,
        ..ZenohConfig::default()
    }
}

/// Who can command the robot; credentials are read for it.
#[expect(clippy::print_stdout, reason = "telling is the purpose of this command")]
fn say_exposure(link: &LinkConfig) -> Result<()> {
    let zenoh = zenoh(link);
    zenoh.validate()?;
    let who = match zenoh.exposure() {
        Exposure::Loopback => "programs of this machine only",
        Exposure::Credentials => "those with an operator's credentials (docs/secure.md)",
        Exposure::Router => {
            "programs of this machine, and WHOEVER REACHES THE ROS ROUTER: rmw_zenohd listens on all interfaces \
             unless its configuration says otherwise"
        }
        Exposure::Open => {
            "WARNING: ANYBODY ON THE NETWORK: set link.secure (docs/secure.md), or leave link.allow_remote off"
        }
    };
    println!("commands     from {who}");
    Ok(())
}

/// What this board says about its energy, over a moment.
fn energy_here(config: &Config) -> Energy {
    let mut board = Board::open(Path::new(SYSFS));
    board.poll(monotonic_ns());
    std::thread::sleep(Duration::from_millis(300));
    let energy = Energy::from_board(board.poll(monotonic_ns()).energy);
    energy.or_assumed(config.cost.assumed_watts, 0.0)
}

/// A flag that the first SIGINT or SIGTERM raises, so that the run ends in a braked hold; the second ends the
/// process at once, with the shell's code for that signal.
///
/// One thread takes both in turn: two handlers that run side by side could each believe to be the first.
fn stop_on_signal() -> Result<Arc<AtomicBool>> {
    let mut signals = Signals::new([SIGINT, SIGTERM])?;
    let stop = Arc::new(AtomicBool::new(false));
    let told = Arc::clone(&stop);
    std::thread::Builder::new().name("signals".into()).spawn(move || {
        let mut taken = signals.forever();
        if taken.next().is_some() {
            told.store(true, Ordering::Release);
        }
        if let Some(signal) = taken.next() {
            std::process::exit(128 + signal);
        }
    })?;
    Ok(stop)
}

fn run(args: RunArgs) -> Result<u8> {
    let config_file = args.common.config.clone();
    let mut config = args.common.into_config()?;
    config.link.listen.extend(args.listen);
    config.link.connect.extend(args.connect);
    config.record.path = args.record.or(config.record.path);
    let black_box = args.black_box.or(config.record.black_box).unwrap_or_else(|| ".".into());
    config.record.black_box = (!args.no_black_box).then_some(black_box);
    config.validate()?;
    let limit_s = args.seconds;
    if limit_s.is_some_and(|s| !(s > 0.0 && s.is_finite())) {
        bail!("--seconds {}: expected a number above 0", limit_s.unwrap_or_default());
    }
    let drivers = config.drivers.all();
    if config.link.listen.is_empty() && !drivers.is_empty() {
        // Where the drivers find this process.
        config.link.listen.push("tcp/127.0.0.1:0".to_owned());
    }
    if config.link.listen.is_empty() && config.link.connect.is_empty() && config.link.ros == Ros::Off {
        bail!(
            "nobody could reach this runtime: give --listen or --connect an endpoint such as tcp/127.0.0.1:7447"
        );
    }
    let loaded = load_policy(model_path(&config)?, &config)?;
    say::out(format_args!("model   {} on {}", loaded.policy.name(), loaded.device));
    if let Some(units) = &loaded.units {
        say::out(format_args!("units   {units}"));
    }

    let stop = stop_on_signal()?;
    let clock = Clock::system();
    let link = Link::zenoh(zenoh(&config.link), clock.clone())?;
    say::out(format_args!("link    listens on {:?}, connects to {:?}", link.locators(), config.link.connect));
    if let Some(address) = config.metrics.address() {
        say::out(format_args!("metrics http://{address}/metrics"));
    }
    say::out(format_args!("told    \"{}\"", config.policy.instruction));
    let _supervisor = match (&config_file, link.locators().first()) {
        (Some(file), Some(endpoint)) if !drivers.is_empty() => {
            say::out(format_args!(
                "drivers {}",
                drivers.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
            ));
            Some(Supervisor::start(drivers, file, endpoint).context("cannot start the drivers")?)
        }
        _ => None,
    };

    let runtime = Runtime::new(config, link, loaded.policy)?;
    let keep_going = args.keep_going;
    let report = realtime::run(runtime, &clock, &stop, |progress| {
        say::out(format_args!("{}", progress.line()));
        let over = limit_s.is_some_and(|limit_s| progress.time_s >= limit_s);
        let ended = progress.outcome != Outcome::Running && !keep_going;
        if over || ended {
            stop.store(true, Ordering::Release);
        }
    })?;
    say::out(format_args!("{}", report.to_text().trim_end()));
    if let Some(path) = &args.report {
        let json = serde_json::to_string_pretty(&report)?;
        std::fs::write(path, json).with_context(|| format!("cannot write {}", path.display()))?;
    }
    for problem in &report.problems {
        say::err(format_args!("reflexarc: {problem}"));
    }
    if let Outcome::Infeasible(reason) = report.outcome {
        say::out(format_args!("not done: {reason}"));
    }
    Ok(code_of_run(&report))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests fail by panicking")]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_well_formed_and_teaches() {
        Cli::command().debug_assert();
        for name in [
            "run", "check", "selftest", "doctor", "devices", "setup", "driver", "operate", "replay",
            "inspect", "verify", "quantize", "bench",
        ] {
            let mut command = Cli::command().find_subcommand(name).unwrap().clone();
            let help = command.render_long_help().to_string();
            assert!(help.contains("Example:"), "{name} lacks an example");
        }
        assert!(Cli::command().render_long_help().to_string().contains("Exit codes"));
    }

    #[test]
    fn arguments_override_the_configuration() {
        let cli = Cli::try_parse_from([
            "reflexarc",
            "check",
            "--model",
            "m.safetensors",
            "--device",
            "gpu",
            "--instruction",
            "hello",
        ])
        .unwrap();
        let Command::Check(common) = cli.command else { unreachable!() };
        let config = common.into_config().unwrap();
        assert_eq!(config.policy.model.as_deref(), Some(Path::new("m.safetensors")));
        assert_eq!(config.policy.device, DeviceChoice::Gpu);
        assert_eq!(config.policy.instruction, "hello");
    }

    #[test]
    fn a_missing_model_is_said() {
        let error = model_path(&Config::default()).unwrap_err().to_string();
        assert!(error.contains("--model"), "{error}");
    }
}
