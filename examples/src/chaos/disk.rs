//! Harm to the disk that the recording goes to: the arm must not notice.

use std::time::Duration;

use anyhow::{Result, ensure};

use super::{Case, Finding, START_LIMIT, Scene, Verdict, last_cry, states_since};
use crate::peers::Cast;
use crate::scratch::Scratch;
use crate::small_disk::SmallDisk;

pub(super) const CASES: &[Case] = &[
    Case { name: "disk-full", harm: "The disk of the recording is full (a tmpfs of 4 MB)", run: full },
    Case {
        name: "recording-removed",
        harm: "The recording's folder is removed while it is written",
        run: removed,
    },
    Case {
        name: "recording-impossible",
        harm: "The recording cannot be created (its path is a folder)",
        run: impossible,
    },
];

/// Lets the arm work on for a while; that it does is the promise.
fn works_on(scene: &Scene) -> Result<()> {
    let before = scene.state()?.obeyed;
    std::thread::sleep(Duration::from_secs(3));
    let state = scene.state()?;
    super::fresh_only(&state)?;
    ensure!(state.obeyed > before + 300, "only {} commands were obeyed in 3 s", state.obeyed - before);
    Ok(())
}

fn full(cast: &Cast) -> Result<Verdict> {
    let disk = match SmallDisk::in_memory(4)? {
        Ok(disk) => disk,
        Err(reason) => return Ok(Verdict::Skipped(format!("a tmpfs cannot be mounted here: {reason}"))),
    };
    let file = disk.file("run.mcap");
    let mut scene = Scene::at_work(cast, "reflexarc", &["--record", &file])?;
    works_on(&scene)?;
    let said = states_since(&scene.runtime, 0);
    let exit = scene.terminate()?;
    let cry = last_cry(&scene.runtime);
    ensure!(exit.code != Some(0), "a recording that is not whole ended in exit code 0");
    ensure!(cry.contains("recording"), "the recording is not named: {cry}");
    let left = std::fs::metadata(&file)?.len();
    Ok(Verdict::Found(Finding {
        other: format!("the arm works on; {} MB of the recording remain", left / 1_000_000),
        rest: None,
        after: "all, fresh".to_owned(),
        exit: exit.words(),
        said: format!("{said}; at the end: {}", cry.replace(&file, "run.mcap")),
    }))
}

fn removed(cast: &Cast) -> Result<Verdict> {
    let folder = Scratch::new("removed")?;
    std::fs::create_dir_all(folder.path().join("in"))?;
    let file = folder.file("in/run.mcap");
    let mut scene = Scene::at_work(cast, "reflexarc", &["--record", &file])?;
    std::fs::remove_dir_all(folder.path().join("in"))?;
    works_on(&scene)?;
    let exit = scene.terminate()?;
    let cry = last_cry(&scene.runtime);
    let cry = if cry.is_empty() { "nothing".to_owned() } else { cry.replace(&file, "run.mcap") };
    Ok(Verdict::Found(Finding {
        other: "the arm works on; the system keeps the nameless file until the end, then it is gone"
            .to_owned(),
        rest: None,
        after: "all, fresh".to_owned(),
        exit: exit.words(),
        said: format!("at the end: {cry}"),
    }))
}

fn impossible(cast: &Cast) -> Result<Verdict> {
    let folder = Scratch::new("impossible")?;
    let path = folder.file("");
    let robot = cast.robot(&["--listen", "tcp/127.0.0.1:0"])?;
    let mut runtime = cast.runtime("reflexarc", &robot.endpoints, &["--record", &path])?;
    let code = runtime.ended(START_LIMIT)?.and_then(|status| status.code());
    ensure!(code == Some(1), "exit code {code:?}, expected 1");
    ensure!(robot.state().is_some_and(|state| state.obeyed == 0), "the arm was commanded");
    Ok(Verdict::Found(Finding {
        other: "the runtime does not start; nothing moves".to_owned(),
        rest: None,
        after: "none".to_owned(),
        exit: "1".to_owned(),
        said: last_cry(&runtime).replace(&path, "FOLDER"),
    }))
}
