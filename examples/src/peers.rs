//! Processes that a test starts, watches, harms and ends: the robot and the runtime as peers.
//!
//! A program that uses this calls [`as_peer`] first thing in `main`. Started again as `PROGRAM peer ROLE …` it is
//! then one of the peers itself, so that robot, runtime and test are always of the same build.

use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use clap::Parser;
use reflexarc_runtime::cli::{Cli, code_of};
use reflexarc_runtime::clockwork::monotonic_ns;
use rustix::process::{Pid, Signal, kill_process};

use crate::failing::{self, FailingArgs};
use crate::panel::{self, PanelArgs};
use crate::robot::{self, Line, RobotArgs, State};

/// The first argument of a program that is started as a peer.
const PEER: &str = "peer";
/// How often a condition is looked at.
const LOOK: Duration = Duration::from_millis(5);

/// Plays the role that the command line names, if this process was started as a peer: `robot`, `panel`, `reflexarc`
/// (what the binary of this name does), or `failing` (the runtime with a policy that fails).
#[must_use]
pub fn as_peer() -> Option<ExitCode> {
    let mut arguments = std::env::args_os().skip(1);
    if arguments.next()? != PEER {
        return None;
    }
    let role = arguments.next().unwrap_or_default();
    let line = || std::iter::once(role.clone()).chain(arguments);
    Some(match role.to_str() {
        Some("robot") => robot::main(&RobotArgs::parse_from(line())),
        Some("reflexarc") => exit_code(Cli::parse_from(line()).execute()),
        Some("panel") => exit_code(panel::attend(&PanelArgs::parse_from(line()))),
        Some("failing") => exit_code(failing::run(&FailingArgs::parse_from(line()))),
        _ => exit_code(Err(anyhow::anyhow!(
            "no peer plays {role:?}: expected robot, panel, reflexarc or failing"
        ))),
    })
}

/// What the binary's `main` does with a result.
fn exit_code(result: Result<u8>) -> ExitCode {
    result.map_or_else(
        |error| {
            eprintln!("reflexarc: {error:#}");
            ExitCode::from(code_of(&error))
        },
        ExitCode::from,
    )
}

/// Which programs the peers are.
#[derive(Debug, Clone)]
pub struct Cast {
    this: PathBuf,
    reflexarc: Option<PathBuf>,
    /// The goal model's weights.
    pub model: PathBuf,
}

impl Cast {
    /// This program in all roles, or the binary `reflexarc` in that of the runtime.
    ///
    /// # Errors
    /// When the program's own file cannot be found, or the weights.
    pub fn new(reflexarc: Option<&Path>) -> Result<Self> {
        let model = Path::new(env!("CARGO_MANIFEST_DIR")).join("../vla-model/weights/goal.safetensors");
        let model = model.canonicalize().with_context(|| format!("the weights {}", model.display()))?;
        Ok(Self { this: std::env::current_exe()?, reflexarc: reflexarc.map(Path::to_owned), model })
    }

    /// A command for a role.
    #[must_use]
    pub fn role(&self, role: &str) -> Command {
        match (role, &self.reflexarc) {
            ("reflexarc", Some(binary)) => Command::new(binary),
            _ => {
                let mut command = Command::new(&self.this);
                command.args([PEER, role]);
                command
            }
        }
    }

    /// A robot, ready to be reached.
    ///
    /// # Errors
    /// When it does not come up within ten seconds.
    pub fn robot(&self, arguments: &[&str]) -> Result<Robot> {
        let mut command = self.role("robot");
        command.args(["--state-every", "20"]).args(arguments);
        let peer = Peer::start("robot", command)?;
        let endpoints = peer.wait_for("its endpoints", Duration::from_secs(10), |peer| {
            peer.said().iter().find_map(|(_, text)| match serde_json::from_str(text) {
                Ok(Line::Listening { endpoints }) => Some(endpoints),
                _ => None,
            })
        })?;
        Ok(Robot { peer, endpoints })
    }

    /// The runtime, as `reflexarc run` (or the role `failing`) with the model, connected to `endpoints`.
    ///
    /// # Errors
    /// When the process cannot be started.
    pub fn runtime(&self, role: &str, endpoints: &[String], arguments: &[&str]) -> Result<Peer> {
        let mut command = self.role(role);
        if role == "reflexarc" {
            command.arg("run");
        }
        command.args(["--device", "cpu", "--keep-going", "--model"]).arg(&self.model);
        for endpoint in endpoints {
            command.args(["--connect", endpoint]);
        }
        command.args(arguments);
        Peer::start("runtime", command)
    }
}

type Lines = Arc<Mutex<Vec<(u64, String)>>>;

/// A process that belongs to the test. It is killed when it is dropped.
#[derive(Debug)]
pub struct Peer {
    name: &'static str,
    child: Child,
    said: Lines,
    cried: Lines,
}

impl Peer {
    /// Starts it. What it says on stdout and stderr is kept, each line with the monotonic instant of its arrival.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn start(name: &'static str, mut command: Command) -> Result<Self> {
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().with_context(|| format!("cannot start the {name}"))?;
        let (out, err) = (child.stdout.take(), child.stderr.take());
        let listen = |stream: Option<Box<dyn Read + Send>>| -> Result<Lines> {
            let lines = Lines::default();
            let kept = Arc::clone(&lines);
            std::thread::Builder::new().name(format!("hear-{name}")).spawn(move || {
                for line in BufReader::new(stream.into_iter().next()?).lines() {
                    let entry = (monotonic_ns(), line.ok()?);
                    kept.lock().unwrap_or_else(PoisonError::into_inner).push(entry);
                }
                Some(())
            })?;
            Ok(lines)
        };
        let said = listen(out.map(|out| Box::new(out) as _))?;
        let cried = listen(err.map(|err| Box::new(err) as _))?;
        Ok(Self { name, child, said, cried })
    }

    /// Its process id.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// The lines on stdout so far, with their monotonic instants.
    #[must_use]
    pub fn said(&self) -> Vec<(u64, String)> {
        self.said.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The newest line on stdout for which `read` has an answer.
    pub fn newest<T>(&self, read: impl Fn(&str) -> Option<T>) -> Option<T> {
        let said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        said.iter().rev().find_map(|(_, text)| read(text))
    }

    /// Forgets what it has said, except for the last lines: for watches that last for hours.
    pub fn forget(&self, kept: usize) {
        for lines in [&self.said, &self.cried] {
            let mut lines = lines.lock().unwrap_or_else(PoisonError::into_inner);
            let surplus = lines.len().saturating_sub(kept);
            lines.drain(..surplus);
        }
    }

    /// The lines on stderr so far.
    #[must_use]
    pub fn cried(&self) -> Vec<String> {
        let lines = self.cried.lock().unwrap_or_else(PoisonError::into_inner);
        lines.iter().map(|(_, text)| text.clone()).collect()
    }

    /// Waits until `look` has an answer.
    ///
    /// # Errors
    /// When it has none within `patience`; with the last words of the process.
    pub fn wait_for<T>(
        &self,
        what: &str,
        patience: Duration,
        look: impl Fn(&Self) -> Option<T>,
    ) -> Result<T> {
        let begun = Instant::now();
        loop {
            if let Some(found) = look(self) {
                return Ok(found);
            }
            if begun.elapsed() > patience {
                let last = self.said().pop().map_or_else(String::new, |(_, text)| text);
                let cried = self.cried().join(" | ");
                bail!("the {}: no {what} within {patience:?}; it said {last:?} and {cried:?}", self.name);
            }
            std::thread::sleep(LOOK);
        }
    }

    /// Sends a signal and gives the monotonic instant of it.
    ///
    /// # Errors
    /// When the process is gone already.
    pub fn signal(&self, signal: Signal) -> Result<u64> {
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        let pid = pid.with_context(|| format!("the {} has no process id", self.name))?;
        kill_process(pid, signal).with_context(|| format!("{signal:?} to the {}", self.name))?;
        Ok(monotonic_ns())
    }

    /// How it ended, if it ends within `patience`.
    ///
    /// # Errors
    /// When the system refuses to tell.
    pub fn ended(&mut self, patience: Duration) -> Result<Option<ExitStatus>> {
        let begun = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait()? {
                return Ok(Some(status));
            }
            if begun.elapsed() > patience {
                return Ok(None);
            }
            std::thread::sleep(LOOK);
        }
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        // Fails only where it has ended, and then there is nothing to do.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The robot's process.
#[derive(Debug)]
pub struct Robot {
    /// The process.
    pub peer: Peer,
    /// Where robot and panel can be reached.
    pub endpoints: Vec<String>,
}

impl Robot {
    /// Its newest state.
    #[must_use]
    pub fn state(&self) -> Option<State> {
        self.peer.newest(|text| match serde_json::from_str(text) {
            Ok(Line::State(state) | Line::End(state)) => Some(state),
            _ => None,
        })
    }

    /// Waits until a state is as `wanted`.
    ///
    /// # Errors
    /// When none is, within `patience`.
    pub fn wait_until(
        &self,
        what: &str,
        patience: Duration,
        wanted: impl Fn(&State) -> bool,
    ) -> Result<State> {
        self.peer.wait_for(what, patience, |_| self.state().filter(&wanted))
    }
}
