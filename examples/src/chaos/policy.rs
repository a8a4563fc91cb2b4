//! Harm to the policy, as a GPU does that is taken away.

use anyhow::{Result, ensure};
use reflexarc_runtime::clockwork::monotonic_ns;
use rustix::process::Signal;

use super::{Case, Finding, Scene, Verdict, ended, last_cry, states_since};
use crate::chaos::table::within;
use crate::peers::Cast;

pub(super) const CASES: &[Case] = &[
    Case {
        name: "policy-panics",
        harm: "The GPU is revoked (played: the policy panics, as burn's backends do)",
        run: |cast| fails(cast, "panic"),
    },
    Case {
        name: "policy-errors",
        harm: "The GPU is revoked (played: each inference ends in an error)",
        run: |cast| fails(cast, "error"),
    },
    Case {
        name: "policy-hangs",
        harm: "The GPU's driver hangs (played: one inference never returns)",
        run: |cast| fails(cast, "hang"),
    },
];

fn fails(cast: &Cast, how: &str) -> Result<Verdict> {
    let begun_ns = monotonic_ns();
    let mut scene = Scene::at_work(cast, "failing", &["--how", how, "--after", "60"])?;
    // The harm is done when the runtime says so; the arm rests after that.
    let harm_ns = scene.runtime.wait_for("word that it holds", super::START_LIMIT, |runtime| {
        let said = runtime.said();
        let worked =
            said.iter().position(|(_, text)| super::message_of(text).is_some_and(|m| !m.contains(':')))?;
        let (at_ns, _) = said
            .iter()
            .skip(worked)
            .find(|(_, text)| super::message_of(text).is_some_and(|message| message.contains(": ")))?;
        Some(*at_ns)
    })?;
    let rest = scene.rest_after(harm_ns)?;
    ensure!(scene.runtime.ended(std::time::Duration::from_secs(1))?.is_none(), "the runtime ended by itself");
    let said = states_since(&scene.runtime, begun_ns);
    let told_ns = scene.runtime.signal(Signal::TERM)?;
    let exit = ended(&mut scene.runtime, told_ns)?;
    let cry = last_cry(&scene.runtime);
    let cry = if cry.is_empty() { String::new() } else { format!("; at the end: {cry}") };
    Ok(Verdict::Found(Finding {
        other: format!(
            "the reflex goes on and holds the arm; on SIGTERM the runtime ends {}",
            within(exit.took)
        ),
        rest: Some(rest),
        after: "those that hold the arm at rest".to_owned(),
        exit: exit.words(),
        said: format!("{said}{cry}"),
    }))
}
