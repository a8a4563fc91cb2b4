//! Harm to the robot's process: the runtime must hold, say so, and not make up for lost time.

use std::time::Duration;

use anyhow::{Result, ensure};
use rustix::process::Signal;

use super::{Case, Finding, START_LIMIT, Scene, Verdict, fresh_only, states_since};
use crate::chaos::table::within;
use crate::peers::{Cast, Peer};

pub(super) const CASES: &[Case] = &[
    Case { name: "robot-late", harm: "The robot is started five seconds after the runtime", run: late },
    Case { name: "robot-killed", harm: "`kill -9` of the robot", run: killed },
    Case {
        name: "robot-restarted", harm: "… and the robot is started again, at its start", run: restarted
    },
    Case { name: "robot-stopped", harm: "SIGSTOP of the robot for 500 ms", run: stopped },
];

/// Waits until the runtime says after `since_ns` that it holds, or more than that.
fn holds(runtime: &Peer, since_ns: u64) -> Result<()> {
    runtime.wait_for("word that it holds", START_LIMIT, |runtime| {
        states_since(runtime, since_ns).contains(": ").then_some(())
    })
}

fn late(cast: &Cast) -> Result<Verdict> {
    let early = cast.robot(&["--listen", "tcp/127.0.0.1:0"])?;
    let endpoints = early.endpoints.clone();
    // Only its port was wanted.
    drop(early);
    let runtime = cast.runtime("reflexarc", &endpoints, &[])?;
    std::thread::sleep(Duration::from_secs(5));
    let listen = endpoints.first().cloned().unwrap_or_default();
    let mut scene = Scene { robot: cast.robot(&["--listen", &listen])?, runtime };
    scene.wait_for_work()?;
    let said = states_since(&scene.runtime, 0);
    let exit = scene.terminate()?;
    ensure!(exit.code == Some(0), "exit code {}", exit.words());
    Ok(Verdict::Found(Finding {
        other: "the runtime waits, sends nothing, and starts once all senses are fresh".to_owned(),
        rest: None,
        after: "fresh ones only".to_owned(),
        exit: format!("{} at the end", exit.words()),
        said,
    }))
}

fn killed(cast: &Cast) -> Result<Verdict> {
    let mut scene = Scene::at_work(cast, "reflexarc", &[])?;
    let harm_ns = scene.robot.peer.signal(Signal::KILL)?;
    holds(&scene.runtime, harm_ns)?;
    std::thread::sleep(Duration::from_secs(3));
    ensure!(scene.runtime.ended(Duration::ZERO)?.is_none(), "the runtime ended by itself");
    let said = states_since(&scene.runtime, harm_ns);
    let exit = scene.terminate()?;
    ensure!(exit.code == Some(0), "exit code {}", exit.words());
    Ok(Verdict::Found(Finding {
        other: format!(
            "the runtime brakes, and waits for the robot; on SIGTERM it ends {}",
            within(exit.took)
        ),
        rest: None,
        after: "nobody is there to obey".to_owned(),
        exit: exit.words(),
        said,
    }))
}

fn restarted(cast: &Cast) -> Result<Verdict> {
    let mut scene = Scene::at_work(cast, "reflexarc", &[])?;
    // Well on its way, so that the new robot's start is somewhere else.
    std::thread::sleep(Duration::from_secs(1));
    let harm_ns = scene.robot.peer.signal(Signal::KILL)?;
    holds(&scene.runtime, harm_ns)?;
    let listen = scene.robot.endpoints.first().cloned().unwrap_or_default();
    scene.robot = cast.robot(&["--listen", &listen])?;
    let since = scene.robot.wait_until("a command", START_LIMIT, |state| state.obeyed > 0);
    // Whatever the runtime makes of it, it must not pull the arm to where it stood in another life.
    std::thread::sleep(Duration::from_secs(4));
    let state = scene.state()?;
    fresh_only(&state)?;
    ensure!(
        state.lead_rad <= 0.1,
        "the new robot was commanded {:.2} rad away from where it stood",
        state.lead_rad
    );
    ensure!(state.speed_share <= 1.05, "a joint went at {:.2} of its limit", state.speed_share);
    let said = states_since(&scene.runtime, harm_ns);
    let exit = scene.terminate()?;
    ensure!(exit.code == Some(0), "exit code {}", exit.words());
    let (other, after) = if since.is_ok() {
        ("the runtime finds it by itself and goes on from where the new arm stands", "fresh ones only")
    } else {
        ("the runtime finds it by itself, and stays stopped until it is reset", "none")
    };
    Ok(Verdict::Found(Finding {
        other: other.to_owned(),
        rest: None,
        after: after.to_owned(),
        exit: format!("{} at the end", exit.words()),
        said,
    }))
}

fn stopped(cast: &Cast) -> Result<Verdict> {
    let mut scene = Scene::at_work(cast, "reflexarc", &[])?;
    let harm_ns = scene.robot.peer.signal(Signal::STOP)?;
    std::thread::sleep(Duration::from_millis(500));
    let continued_ns = scene.robot.peer.signal(Signal::CONT)?;
    let resumed = scene.goes_on(continued_ns)?;
    let state = scene.state()?;
    ensure!(state.speed_share <= 1.05, "a joint went at {:.2} of its limit", state.speed_share);
    let said = states_since(&scene.runtime, harm_ns);
    let exit = scene.terminate()?;
    ensure!(exit.code == Some(0), "exit code {}", exit.words());
    Ok(Verdict::Found(Finding {
        other: format!(
            "the runtime brakes; it goes on {} after the robot does, when senses and decisions are fresh",
            within(resumed)
        ),
        rest: None,
        after: "fresh ones only; those sent meanwhile are refused by their age".to_owned(),
        exit: format!("{} at the end", exit.words()),
        said,
    }))
}
