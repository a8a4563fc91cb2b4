//! `reflexarc driver`: one device on the link, without the runtime.

use std::io::Read as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use clap::{Args, ValueEnum};
use reflexarc_drivers::arm::ArmNode;
use reflexarc_drivers::camera::CameraNode;
use reflexarc_drivers::msg::{DiagnosticArray, DiagnosticStatus, Header};
use reflexarc_drivers::tactile::TactileNode;
use reflexarc_drivers::{Clock, Link, Topics};

use super::{EXIT_OK, stop_on_signal};
use crate::config::Config;
use crate::devices::Driver;
use crate::runtime::load_chain;
use crate::say;

pub(super) const EXAMPLES: &str = "\
The configuration's section [drivers] says which device it is; runtime/so101.toml shows one of each kind. \
`reflexarc run` starts all of them by itself; this command runs one alone, for instance as a service of its own, on \
another board, or to look at it.

A driver stamps what it publishes with the time of capture, obeys only fresh commands, and says on `diagnostics`, \
once a second, how it is. An arm comes to rest and holds when commands stop, and keeps its torque when the driver ends.

Example:
  reflexarc driver arm --config robot.toml --connect tcp/127.0.0.1:7447
  reflexarc driver camera scene --config robot.toml --connect tcp/127.0.0.1:7447";

/// How often the end is looked for.
const LOOK: Duration = Duration::from_millis(50);
/// Looks between two reports.
const REPORT_LOOKS: u32 = 20;

#[derive(Debug, Args)]
pub(super) struct DriverArgs {
    /// What to drive.
    #[arg(value_enum)]
    kind: Kind,
    /// The camera's or the pad's name, as in the configuration.
    #[arg(required_if_eq_any([("kind", "camera"), ("kind", "tactile")]))]
    name: Option<String>,
    /// Configuration with a section [drivers].
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// Endpoint of the runtime (repeatable) [default: link.listen of the configuration].
    #[arg(long, value_name = "ENDPOINT")]
    connect: Vec<String>,
    /// Endpoint to listen on (repeatable).
    #[arg(long, value_name = "ENDPOINT")]
    listen: Vec<String>,
    /// End when the standard input ends: with the process that holds its other end.
    #[arg(long)]
    until_stdin_ends: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Kind {
    /// The arm on its servo bus.
    Arm,
    /// A camera.
    Camera,
    /// A tactile pad.
    Tactile,
}

enum Node {
    Arm(ArmNode),
    Camera(CameraNode),
    Tactile(TactileNode),
}

impl Node {
    fn start(driver: &Driver, config: &Config, link: &Link, topics: &Topics) -> Result<Self> {
        let missing = || anyhow!("the configuration has no [drivers.{}]", driver.words().join("."));
        let drivers = &config.drivers;
        Ok(match driver {
            Driver::Arm => {
                let chain = load_chain(config)?;
                drivers.check_joints(&chain)?;
                let arm = drivers.arm_within(&chain, &config.limits).ok_or_else(missing)?;
                let (path, calibration) = arm.load_calibration(|name| std::env::var(name).ok())?;
                say::err(format_args!("arm: calibration {}", path.display()));
                Self::Arm(ArmNode::start(&arm, &calibration, link, topics)?)
            }
            Driver::Camera(name) => {
                let camera = drivers.cameras.get(name).ok_or_else(missing)?;
                Self::Camera(CameraNode::start(name, camera, link, topics)?)
            }
            Driver::Tactile(name) => {
                let pad = drivers.tactile.get(name).ok_or_else(missing)?;
                Self::Tactile(TactileNode::start(name, pad, link, topics)?)
            }
        })
    }

    fn status(&self) -> DiagnosticStatus {
        match self {
            Self::Arm(node) => node.status(),
            Self::Camera(node) => node.status(),
            Self::Tactile(node) => node.status(),
        }
    }
}

pub(super) fn driver(args: &DriverArgs) -> Result<u8> {
    let config = Config::load(&args.config)?;
    let named = || args.name.clone().unwrap_or_default();
    let driver = match args.kind {
        Kind::Arm => Driver::Arm,
        Kind::Camera => Driver::Camera(named()),
        Kind::Tactile => Driver::Tactile(named()),
    };
    let mut zenoh = super::zenoh(&config.link);
    zenoh.connect = if args.connect.is_empty() { config.link.listen.clone() } else { args.connect.clone() };
    zenoh.listen.clone_from(&args.listen);
    zenoh.node = format!("driver_{}", driver.words().join("_"));
    if zenoh.connect.is_empty() && zenoh.listen.is_empty() {
        bail!(
            "nobody could hear this driver: give --connect an endpoint of the runtime, such as tcp/127.0.0.1:7447"
        );
    }
    let stop = stop_on_signal()?;
    if args.until_stdin_ends {
        end_with_stdin(Arc::clone(&stop))?;
    }
    let clock = Clock::system();
    let link = Link::zenoh(zenoh, clock.clone())?;
    let topics = Topics::new(&config.link.namespace);
    let node = Node::start(&driver, &config, &link, &topics).with_context(|| format!("driver {driver}"))?;
    let diagnostics = link.publisher(&topics.diagnostics)?;
    let (mut said, mut unpublished) = (String::new(), 0_u64);
    for look in 0_u32.. {
        let ended = stop.load(Ordering::Acquire);
        let status = node.status();
        if status.message != said {
            say::err(format_args!("{}: {}", status.name, status.message));
            said.clone_from(&status.message);
        }
        if ended || look % REPORT_LOOKS == 0 {
            let header = Header::new(clock.now_ns(), "");
            let status = status.with("reports_lost", unpublished);
            let array = DiagnosticArray { header, status: vec![status] };
            unpublished += u64::from(diagnostics.put(&array).is_err());
        }
        if ended {
            break;
        }
        std::thread::sleep(LOOK);
    }
    // An arm comes to rest here.
    drop(node);
    Ok(EXIT_OK)
}

/// Raises `stop` when the standard input ends.
fn end_with_stdin(stop: Arc<AtomicBool>) -> Result<()> {
    std::thread::Builder::new().name("stdin".into()).spawn(move || {
        let mut input = std::io::stdin().lock();
        let mut scratch = [0; 64];
        while matches!(input.read(&mut scratch), Ok(bytes) if bytes > 0) {}
        stop.store(true, Ordering::Release);
    })?;
    Ok(())
}
