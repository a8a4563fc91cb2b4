//! What happens when a process of the robot is killed, stopped or starved: cases that do it and look.
//!
//! Each case starts robot and runtime as processes, lets the arm work, does harm, and gives a [`Finding`]; a
//! promise that does not hold is an error. [`table`] writes them down. Promises that each case asserts:
//!
//! * no command older than 100 ms is obeyed, by the robot's own record;
//! * the arm rests within [`REST_LIMIT`] of the harm, where the harm ends the work;
//! * a runtime that is told to end does so within [`END_LIMIT`];
//! * exit codes are those that `reflexarc --help` documents.

mod disk;
mod policy;
mod robot_side;
mod runtime_side;
pub mod table;

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use reflexarc_runtime::clockwork::monotonic_ns;
use reflexarc_sim::node::COMMAND_AGE_LIMIT_NS;
use rustix::process::Signal;

use crate::peers::{Cast, Peer, Robot};
use crate::robot::State;

/// The arm rests this long after a harm that ends the work, at the latest. Far longer than it takes: machines are
/// busy, and what is promised is that it happens.
pub const REST_LIMIT: Duration = Duration::from_secs(3);
/// A runtime that is told to end has ended after this long.
pub const END_LIMIT: Duration = Duration::from_secs(10);
/// Peers find each other and the arm moves within this.
const START_LIMIT: Duration = Duration::from_secs(30);
/// After the last command's time is over the robot may still be in the middle of a tick.
const TICK_GRACE_NS: u64 = 150_000_000;

/// What was found.
#[derive(Debug, Clone, Default)]
pub struct Finding {
    /// What the other side did.
    pub other: String,
    /// How long after the harm the arm rested; absent where it did not have to.
    pub rest: Option<Duration>,
    /// What became of commands afterwards.
    pub after: String,
    /// How the process that was harmed, or that suffered, ended.
    pub exit: String,
    /// What was said.
    pub said: String,
}

/// What came of a case.
#[derive(Debug, Clone)]
pub enum Verdict {
    /// It was done, and the promises held.
    Found(Finding),
    /// It could not be done here, and why.
    Skipped(String),
}

/// One case.
#[derive(Clone, Copy)]
pub struct Case {
    /// For the command line.
    pub name: &'static str,
    /// The harm, in words.
    pub harm: &'static str,
    /// Does it.
    pub run: fn(&Cast) -> Result<Verdict>,
}

/// All cases, in the order of the table.
#[must_use]
pub fn cases() -> Vec<Case> {
    [runtime_side::CASES, robot_side::CASES, policy::CASES, disk::CASES].concat()
}

/// A robot and a runtime at work.
struct Scene {
    robot: Robot,
    runtime: Peer,
}

impl Scene {
    /// Starts both and waits until the arm has been moving for a while.
    fn at_work(cast: &Cast, role: &str, arguments: &[&str]) -> Result<Self> {
        Self::with_robot(cast, &[], role, arguments)
    }

    fn with_robot(cast: &Cast, robot: &[&str], role: &str, arguments: &[&str]) -> Result<Self> {
        let robot = cast.robot(&[&["--listen", "tcp/127.0.0.1:0"], robot].concat())?;
        let runtime = cast.runtime(role, &robot.endpoints, arguments)?;
        let scene = Self { robot, runtime };
        scene.wait_for_work()?;
        Ok(scene)
    }

    fn wait_for_work(&self) -> Result<State> {
        let at_work = |state: &State| state.obeyed > 150 && state.rest_since_ns.is_none();
        self.robot.wait_until("motion", START_LIMIT, at_work)
    }

    /// Waits for the arm to rest and for the commands to have ended after the harm at `harm_ns`.
    fn rest_after(&self, harm_ns: u64) -> Result<Duration> {
        let state = self.robot.wait_until("rest", REST_LIMIT + START_LIMIT, |state| {
            let quiet = |ns: u64| state.mono_ns.saturating_sub(ns) > 300_000_000;
            quiet(harm_ns) && state.rest_since_ns.is_some_and(quiet)
        })?;
        fresh_only(&state)?;
        let rest = Duration::from_nanos(state.rest_since_ns.unwrap_or(0).saturating_sub(harm_ns));
        ensure!(rest <= REST_LIMIT, "the arm rested only {rest:?} after the harm");
        Ok(rest)
    }

    /// That no command was obeyed once those given before `harm_ns` were too old, and none is now.
    fn nothing_obeyed_since(&self, harm_ns: u64) -> Result<String> {
        let last = self.state()?.last_obeyed_ns.unwrap_or(0);
        ensure!(
            last <= harm_ns + COMMAND_AGE_LIMIT_NS + TICK_GRACE_NS,
            "a command was obeyed {} ms after the harm",
            last.saturating_sub(harm_ns) / 1_000_000
        );
        Ok("none after their 100 ms".to_owned())
    }

    /// Waits until commands are obeyed again and the arm moves, after `since_ns`.
    fn goes_on(&self, since_ns: u64) -> Result<Duration> {
        let state = self.robot.wait_until("motion again", START_LIMIT, |state| {
            state.last_obeyed_ns.is_some_and(|last| last > since_ns + 100_000_000)
                && state.rest_since_ns.is_none()
        })?;
        fresh_only(&state)?;
        Ok(Duration::from_nanos(state.mono_ns.saturating_sub(since_ns)))
    }

    fn state(&self) -> Result<State> {
        self.robot.state().context("the robot has not said how it is")
    }

    /// Ends the runtime as a service manager does; how it ended.
    fn terminate(&mut self) -> Result<Ended> {
        let told_ns = self.runtime.signal(Signal::TERM)?;
        ended(&mut self.runtime, told_ns)
    }
}

/// How a process ended.
struct Ended {
    code: Option<i32>,
    took: Duration,
}

impl Ended {
    fn words(&self) -> String {
        self.code.map_or_else(|| "by a signal".to_owned(), |code| code.to_string())
    }
}

fn ended(peer: &mut Peer, told_ns: u64) -> Result<Ended> {
    let status = peer.ended(END_LIMIT)?;
    let took = Duration::from_nanos(monotonic_ns().saturating_sub(told_ns));
    let status =
        status.with_context(|| format!("the process had not ended {END_LIMIT:?} after it was told"))?;
    Ok(Ended { code: status.code(), took })
}

/// The promise that holds in every case.
fn fresh_only(state: &State) -> Result<()> {
    ensure!(
        state.oldest_obeyed_ns <= COMMAND_AGE_LIMIT_NS,
        "a command was obeyed that was {} ms old",
        state.oldest_obeyed_ns / 1_000_000
    );
    Ok(())
}

/// What the runtime said after `since_ns`, each state once: "works → holding: …".
fn states_since(runtime: &Peer, since_ns: u64) -> String {
    let mut states: Vec<String> = Vec::new();
    for (at_ns, text) in runtime.said() {
        let Some(message) = message_of(&text).filter(|_| at_ns > since_ns) else { continue };
        let words = if message.contains(':') { without_figures(message) } else { "works".to_owned() };
        if states.last() != Some(&words) {
            states.push(words);
        }
    }
    let shown = states.len().min(4);
    let more = if states.len() > shown { " → …" } else { "" };
    format!("{}{more}", states.get(..shown).unwrap_or_default().join(" → "))
}

/// The message of a line by [`reflexarc_runtime::Progress::line`].
fn message_of(line: &str) -> Option<&str> {
    let (head, _) = line.split_once(" decisions/s")?;
    let (_, rest) = head.trim_start().split_once(" s ")?;
    let (message, _rate) = rest.trim().rsplit_once(' ')?;
    Some(message.trim())
}

/// Measured numbers would change the table from run to run.
fn without_figures(message: &str) -> String {
    let mut words: Vec<&str> = message.split(' ').collect();
    for at in 1..words.len() {
        if words.get(at) == Some(&"ms") && words.get(at + 1).is_some_and(|next| next.starts_with("old")) {
            words[at - 1] = "N";
        }
    }
    words.join(" ")
}

/// The last line of what a process cried, without its own name.
fn last_cry(peer: &Peer) -> String {
    let cried = peer.cried();
    let line = cried.iter().rev().find(|line| !line.trim().is_empty());
    line.map_or_else(String::new, |line| line.trim_start_matches("reflexarc: ").to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_message_of_a_progress_line_is_found() {
        let line = "  1.23 s  holding: joint_states is 104 ms old, at most 20 ms is allowed  60.0 decisions/s  model";
        let message = message_of(line).unwrap_or_default();
        assert_eq!(message, "holding: joint_states is 104 ms old, at most 20 ms is allowed");
        assert_eq!(without_figures(message), "holding: joint_states is N ms old, at most 20 ms is allowed");
        assert_eq!(message_of("  0.50 s  reach                         60.0 decisions/s"), Some("reach"));
        assert_eq!(message_of("model   goal on the CPU"), None);
    }
}
