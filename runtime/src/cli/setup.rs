//! `reflexarc setup so101`: from a plugged-in arm to a section of the configuration.

use std::io::{BufRead as _, IsTerminal as _, Write as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Result, bail};
use clap::{Args, ValueEnum};
use reflexarc_drivers::arm::bus::ServoBus;
use reflexarc_drivers::arm::config::Axis;
use reflexarc_drivers::arm::node::open;
use reflexarc_drivers::arm::{ArmConfig, setup};
use reflexarc_drivers::serial;

use super::{EXIT_OK, EXIT_PROBLEM};
use crate::health::SYSFS;

pub(super) const EXAMPLES: &str = "\
Finds the port, asks each servo who it is, and compares what the servos hold with LeRobot's calibration file and \
with what the driver needs. Nothing moves and nothing is written unless you say --write, and then only after a \
question; while it writes, the torque is off, so hold the arm. Calibrate with LeRobot first:
  lerobot-calibrate --robot.type=so101_follower --robot.port=/dev/ttyACM0 --robot.id=black

Example:
  reflexarc setup so101 --calibration-id black
  reflexarc setup so101 --port /dev/ttyACM0 --calibration black.json --write";

#[derive(Debug, Args)]
pub(super) struct SetupArgs {
    /// Which arm.
    #[arg(value_enum)]
    arm: Arm,
    /// The serial port [default: the only one on USB].
    #[arg(long, value_name = "PATH")]
    port: Option<PathBuf>,
    /// LeRobot's calibration file.
    #[arg(long, value_name = "FILE")]
    calibration: Option<PathBuf>,
    /// The id that the arm was calibrated under.
    #[arg(long, value_name = "ID", default_value = "")]
    calibration_id: String,
    /// Write what differs into the servos, after asking.
    #[arg(long)]
    write: bool,
    /// Do not ask.
    #[arg(long, requires = "write")]
    yes: bool,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Arm {
    /// SO-101 follower.
    So101,
    /// SO-100 follower.
    So100,
}

#[expect(clippy::print_stdout, reason = "telling is the purpose of this command")]
pub(super) fn setup(args: &SetupArgs) -> Result<u8> {
    let SetupArgs { arm: Arm::So101 | Arm::So100, .. } = args;
    let port = match &args.port {
        Some(port) => port.clone(),
        None => only_port()?,
    };
    println!("port         {}", port.display());
    let config = ArmConfig {
        port,
        calibration: args.calibration.clone(),
        calibration_id: args.calibration_id.clone(),
        // Setting up is in no hurry.
        reply_timeout_ms: 20,
        ..ArmConfig::default()
    };
    let (path, calibration) = config.load_calibration(|name| std::env::var(name).ok())?;
    println!("calibration  {}", path.display());
    let axes = config.axes(&calibration)?;
    let ids: Vec<u8> = axes.iter().map(|axis| axis.figures.id).collect();
    let timeout = Duration::from_millis(config.reply_timeout_ms);
    let mut bus = ServoBus::new(open(&config)?, config.servos, ids, timeout)?;
    if !roll_call(&mut bus, &axes) {
        println!("not all servos answer: look at the power supply, the cables, and each servo's id");
        return Ok(EXIT_PROBLEM);
    }
    let settings = setup::differences(&mut bus, &axes)?;
    for setting in &settings {
        println!("  {setting}");
    }
    if settings.is_empty() {
        println!("all servos hold what they should");
    } else if !args.write {
        println!("nothing was written; --write writes these {} values", settings.len());
        return Ok(EXIT_PROBLEM);
    } else {
        if !args.yes && !consent(settings.len())? {
            println!("nothing was written");
            return Ok(EXIT_PROBLEM);
        }
        setup::apply(&mut bus, &settings)?;
        let left = setup::differences(&mut bus, &axes)?;
        if let Some(first) = left.first() {
            bail!("a servo did not keep what was written: {first}");
        }
        println!("written and read back: {} values", settings.len());
    }
    println!("\nFor the configuration:\n\n[drivers.arm]\nport = {:?}", config.port);
    println!("calibration = {path:?}");
    Ok(EXIT_OK)
}

/// Each servo's name, model, position, supply and temperature; whether all answered.
#[expect(clippy::print_stdout, reason = "telling is the purpose of this command")]
fn roll_call(bus: &mut ServoBus, axes: &[Axis]) -> bool {
    let mut readings = vec![None; axes.len()];
    // Servos that are silent at first are asked apart then.
    for _ in 0..=axes.len() {
        bus.read(&mut readings);
    }
    for (axis, reading) in axes.iter().zip(&readings) {
        let id = axis.figures.id;
        match reading {
            Some(telemetry) => println!(
                "  servo {id} {:<14} position {:>5} = {:>8.3}, {:.1} V, {} °C",
                axis.name,
                telemetry.position,
                axis.value(telemetry.position),
                telemetry.supply_v,
                telemetry.temperature_c
            ),
            None => println!("  servo {id} {:<14} does not answer", axis.name),
        }
    }
    readings.iter().all(Option::is_some)
}

fn only_port() -> Result<PathBuf> {
    let ports = serial::ports(Path::new(SYSFS), Path::new("/dev"));
    let mut usb = ports.iter().filter(|port| port.usb.is_some());
    match (usb.next(), usb.next()) {
        (Some(port), None) => Ok(port.stable_path().to_owned()),
        (None, _) => bail!("no serial port on USB: plug the arm's adapter in, or give --port"),
        (Some(_), Some(_)) => {
            bail!("several serial ports on USB: give --port (`reflexarc devices` lists them)")
        }
    }
}

#[expect(clippy::print_stdout, reason = "asking is the purpose of this function")]
fn consent(values: usize) -> Result<bool> {
    if !std::io::stdin().is_terminal() {
        bail!("expected a terminal to ask on, found none: give --yes");
    }
    print!("The torque goes off now: HOLD THE ARM. Write {values} values into the servos? [y/N] ");
    std::io::stdout().flush()?;
    let mut answer = String::new();
    std::io::stdin().lock().read_line(&mut answer)?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}
