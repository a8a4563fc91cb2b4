//! Harm to the runtime's process: the robot must look after itself.

use std::time::Duration;

use anyhow::{Result, ensure};
use reflexarc_runtime::cli::EXIT_LINK;
use rustix::process::Signal;

use super::{Case, Finding, START_LIMIT, Scene, Verdict, ended, fresh_only, last_cry, states_since};
use crate::chaos::table::within;
use crate::peers::{Cast, Peer};
use crate::scratch::Scratch;

pub(super) const CASES: &[Case] = &[
    Case { name: "runtime-killed", harm: "`kill -9` of the runtime", run: killed },
    Case { name: "runtime-restarted", harm: "… and the runtime is started again", run: restarted },
    Case {
        name: "runtime-restarted-enable",
        harm: "… and started again with `safety.require_enable = true`",
        run: restarted_with_enable,
    },
    Case { name: "runtime-stopped", harm: "SIGSTOP of the runtime for 500 ms", run: stopped },
    Case {
        name: "driver-runtime-killed",
        harm: "`kill -9` of the runtime, the arm's own driver and its servos (`robot --servos`) alive",
        run: |cast| killed_beside(cast, SERVOS),
    },
    Case {
        name: "driver-runtime-stopped",
        harm: "SIGSTOP of the runtime for 500 ms, the arm's own driver and its servos alive",
        run: |cast| stopped_beside(cast, SERVOS),
    },
    Case { name: "runtime-terminated", harm: "SIGTERM to the runtime", run: terminated },
    Case { name: "panel-killed", harm: "`kill -9` of the operator's panel", run: panel_killed },
    Case { name: "port-taken", harm: "The runtime's port is taken", run: port_taken },
];

/// A robot whose joints are servos behind the arm's own driver.
const SERVOS: &[&str] = &["--servos"];

fn killed(cast: &Cast) -> Result<Verdict> {
    killed_beside(cast, &[])
}

fn killed_beside(cast: &Cast, robot: &[&str]) -> Result<Verdict> {
    let mut scene = Scene::with_robot(cast, robot, "reflexarc", &[])?;
    let harm_ns = scene.runtime.signal(Signal::KILL)?;
    let rest = scene.rest_after(harm_ns)?;
    let after = scene.nothing_obeyed_since(harm_ns)?;
    let exit = ended(&mut scene.runtime, harm_ns)?.words();
    Ok(Verdict::Found(Finding {
        other: "the robot refuses commands older than 100 ms and holds, its grip too".to_owned(),
        rest: Some(rest),
        after,
        exit,
        said: "nothing more".to_owned(),
    }))
}

/// Kills the runtime at work, waits for rest, and starts another.
fn again(cast: &Cast, arguments: &[&str]) -> Result<(Scene, u64)> {
    let mut scene = Scene::at_work(cast, "reflexarc", &[])?;
    let harm_ns = scene.runtime.signal(Signal::KILL)?;
    scene.rest_after(harm_ns)?;
    scene.runtime = cast.runtime("reflexarc", &scene.robot.endpoints, arguments)?;
    Ok((scene, harm_ns))
}

fn restarted(cast: &Cast) -> Result<Verdict> {
    let (mut scene, harm_ns) = again(cast, &[])?;
    let lead_before = scene.state()?.lead_rad;
    scene.goes_on(harm_ns + 500_000_000)?;
    let state = scene.state()?;
    ensure!(
        state.lead_rad <= lead_before.max(0.1),
        "the new runtime's commands began {:.2} rad away from the arm",
        state.lead_rad
    );
    let said = states_since(&scene.runtime, harm_ns);
    let exit = scene.terminate()?;
    ensure!(exit.code == Some(0), "exit code {}", exit.words());
    Ok(Verdict::Found(Finding {
        other: "the new runtime begins from where the arm stands, with the soft start".to_owned(),
        rest: None,
        after: "the new runtime's, all fresh".to_owned(),
        exit: format!("{} at the end", exit.words()),
        said,
    }))
}

fn restarted_with_enable(cast: &Cast) -> Result<Verdict> {
    let folder = Scratch::new("enable")?;
    let config = folder.write("enable.toml", "[safety]\nrequire_enable = true\n")?;
    let (mut scene, harm_ns) = again(cast, &["--config", &config])?;
    let obeyed = scene.state()?.obeyed;
    let waits = |peer: &Peer| states_since(peer, harm_ns).contains("enable").then_some(());
    scene.runtime.wait_for("word about enable", START_LIMIT, waits)?;
    std::thread::sleep(Duration::from_secs(1));
    ensure!(scene.state()?.obeyed == obeyed, "the arm was commanded without an enable");
    let said = states_since(&scene.runtime, harm_ns);
    let exit = scene.terminate()?;
    ensure!(exit.code == Some(0), "exit code {}", exit.words());
    Ok(Verdict::Found(Finding {
        other: "the new runtime waits for `enable`; the arm stays at rest".to_owned(),
        rest: None,
        after: "none".to_owned(),
        exit: format!("{} at the end", exit.words()),
        said,
    }))
}

fn stopped(cast: &Cast) -> Result<Verdict> {
    stopped_beside(cast, &[])
}

fn stopped_beside(cast: &Cast, robot: &[&str]) -> Result<Verdict> {
    let mut scene = Scene::with_robot(cast, robot, "reflexarc", &[])?;
    let late_before = scene.state()?.refused_late;
    let harm_ns = scene.runtime.signal(Signal::STOP)?;
    std::thread::sleep(Duration::from_millis(500));
    let state = scene.state()?;
    let rest_ns = state.rest_since_ns.filter(|since_ns| *since_ns > harm_ns);
    let continued_ns = scene.runtime.signal(Signal::CONT)?;
    ensure!(state.refused_late > late_before, "the robot did not refuse the late commands");
    let rest_ns = match rest_ns {
        Some(rest_ns) => rest_ns,
        None => anyhow::bail!("the arm did not rest within the 500 ms"),
    };
    let resumed = scene.goes_on(continued_ns)?;
    let said = states_since(&scene.runtime, harm_ns);
    let exit = scene.terminate()?;
    ensure!(exit.code == Some(0), "exit code {}", exit.words());
    fresh_only(&scene.state()?)?;
    Ok(Verdict::Found(Finding {
        other: format!(
            "the robot holds after 100 ms; the runtime skips the missed periods, counts them, and goes on {}",
            within(resumed)
        ),
        rest: Some(Duration::from_nanos(rest_ns - harm_ns)),
        after: "fresh ones only; what was under way is refused".to_owned(),
        exit: format!("{} at the end", exit.words()),
        said,
    }))
}

fn terminated(cast: &Cast) -> Result<Verdict> {
    let mut scene = Scene::at_work(cast, "reflexarc", &[])?;
    let harm_ns = scene.runtime.signal(Signal::TERM)?;
    let exit = ended(&mut scene.runtime, harm_ns)?;
    let rest = scene.rest_after(harm_ns)?;
    ensure!(exit.code == Some(0), "exit code {}", exit.words());
    let after = scene.nothing_obeyed_since(harm_ns + u64::try_from(exit.took.as_nanos())?)?;
    Ok(Verdict::Found(Finding {
        other: format!("the runtime brakes the arm along its limits, then ends {}", within(exit.took)),
        rest: Some(rest),
        after,
        exit: exit.words(),
        said: states_since(&scene.runtime, harm_ns),
    }))
}

fn panel_killed(cast: &Cast) -> Result<Verdict> {
    let folder = Scratch::new("panel")?;
    let config = folder.write("panel.toml", "[safety]\nrequire_enable = true\nestop_timeout_ms = 300\n")?;
    let robot = cast.robot(&["--listen", "tcp/127.0.0.1:0"])?;
    let panel_at = |listen: &str| -> Result<(Peer, String)> {
        let mut command = cast.role("panel");
        command.args(["--listen", listen]);
        let panel = Peer::start("panel", command)?;
        let endpoint = panel.wait_for("its endpoint", START_LIMIT, |panel| {
            panel.newest(|line| line.starts_with("tcp/").then(|| line.to_owned()))
        })?;
        Ok((panel, endpoint))
    };
    let (panel, endpoint) = panel_at("tcp/127.0.0.1:0")?;
    let mut endpoints = robot.endpoints.clone();
    endpoints.push(endpoint.clone());
    let runtime = cast.runtime("reflexarc", &endpoints, &["--config", &config])?;
    let mut scene = Scene { robot, runtime };
    scene.wait_for_work()?;
    let harm_ns = panel.signal(Signal::KILL)?;
    let rest = scene.rest_after(harm_ns)?;
    drop(panel);
    // Back again, it must not set the robot in motion: somebody has to press reset.
    let (_panel, _) = panel_at(&endpoint)?;
    std::thread::sleep(Duration::from_millis(2500));
    ensure!(
        scene.state()?.rest_since_ns.is_some(),
        "the arm moved again when the panel came back, without a reset"
    );
    let said = states_since(&scene.runtime, harm_ns);
    let exit = scene.terminate()?;
    ensure!(exit.code == Some(0), "exit code {}", exit.words());
    Ok(Verdict::Found(Finding {
        other:
            "the silence of `estop` (here 300 ms) latches a stop; a panel that comes back does not undo it: \
                that takes `reset` and a fresh `enable`"
                .to_owned(),
        rest: Some(rest),
        after: "those that hold the arm at rest".to_owned(),
        exit: format!("{} at the end", exit.words()),
        said,
    }))
}

fn port_taken(cast: &Cast) -> Result<Verdict> {
    let robot = cast.robot(&["--listen", "tcp/127.0.0.1:0"])?;
    let taken = robot.endpoints.first().cloned().unwrap_or_default();
    let mut runtime = cast.runtime("reflexarc", &robot.endpoints, &["--listen", &taken])?;
    let status = runtime.ended(START_LIMIT)?;
    let code = status.and_then(|status| status.code());
    ensure!(code == Some(EXIT_LINK.into()), "exit code {code:?}, expected {EXIT_LINK}");
    let cry = last_cry(&runtime);
    ensure!(cry.contains(&taken), "the port is not named: {cry}");
    ensure!(robot.state().is_some_and(|state| state.obeyed == 0), "the arm was commanded");
    let said = cry.replace(&taken, "tcp/127.0.0.1:PORT");
    let cut = said.char_indices().nth(120).map_or(said.len(), |(at, _)| at);
    Ok(Verdict::Found(Finding {
        other: "the runtime does not start; the robot waits".to_owned(),
        rest: None,
        after: "none".to_owned(),
        exit: EXIT_LINK.to_string(),
        said: format!("{} …", said.get(..cut).unwrap_or_default()),
    }))
}
