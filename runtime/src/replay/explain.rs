//! Why the robot did what it did at a moment: read off the journal alone, so that it works on black boxes and
//! cut files too.

use std::collections::{BTreeMap, VecDeque};
use std::fmt::Write;

use reflexarc_kinematics::limit::Acted;
use reflexarc_vla_model::decision::Verdict;

use super::ReplayError;
use super::source::{Entries, Entry, Recorded};
use crate::failsafe::{Cause, Standing};
use crate::journal::{Call, Said, ThoughtEntry, Tick};
use crate::modes::Mode;
use crate::senses::Senses;

/// Changes of mode that are told.
const CHANGES: usize = 6;
/// Thoughts that are kept until it is known whether they were in force.
const THOUGHTS: usize = 4096;

/// What happened up to a moment.
#[derive(Default)]
struct Story {
    tick: Option<Box<Tick>>,
    /// When each of the last modes began, ns.
    changes: VecDeque<(u64, Mode)>,
    thoughts: BTreeMap<u64, ThoughtEntry>,
    /// The first tick that had the thought in force, and its time, ns.
    in_force_since: Option<(u64, u64, u64)>,
    /// The last call of the program, and when, ns.
    called: Option<(u64, Call)>,
}

impl Story {
    fn tick(&mut self, tick: Box<Tick>) {
        let now_ns = tick.command.stamp_ns;
        let mode = tick.command.mode;
        // Not every age that a reason carries is a change.
        if self.changes.back().is_none_or(|(_, last)| last.key() != mode.key()) {
            if self.changes.len() == CHANGES {
                self.changes.pop_front();
            }
            self.changes.push_back((now_ns, mode));
        }
        if self.in_force_since.is_none_or(|(number, ..)| number != tick.thought) {
            self.in_force_since = Some((tick.thought, tick.inputs.tick, now_ns));
            self.thoughts = self.thoughts.split_off(&tick.thought);
        }
        if let Some(call) = tick.inputs.calls.iter().last() {
            self.called = Some((now_ns, call));
        }
        self.tick = Some(tick);
    }

    fn thought(&mut self, entry: ThoughtEntry) {
        if self.thoughts.len() == THOUGHTS {
            self.thoughts.pop_first();
        }
        self.thoughts.insert(entry.number, entry);
    }
}

/// Tells about the last tick at or before the stamp `at_ns`; of the first one for a moment before it.
///
/// # Errors
/// [`ReplayError`] if the file cannot be read.
pub fn explain(recorded: &Recorded, at_ns: u64) -> Result<String, ReplayError> {
    let mut entries = Entries::open(&recorded.path)?;
    let mut story = Story::default();
    while let Some(entry) = entries.next() {
        match entry {
            Entry::Tick(tick) if tick.command.stamp_ns > at_ns && story.tick.is_some() => break,
            Entry::Tick(tick) => story.tick(tick),
            Entry::Thought(thought) => story.thought(*thought),
            Entry::Arrival(_) | Entry::Counters(_) | Entry::Payload(_) => {}
        }
    }
    Ok(tell(recorded, &story, at_ns))
}

/// A time, as s since the first tick.
struct Since(u64);

impl Since {
    fn s(&self, at_ns: u64) -> String {
        let (sign, span_ns) =
            if at_ns < self.0 { ("-", self.0 - at_ns) } else { ("", at_ns.saturating_sub(self.0)) };
        format!("{sign}{:.4} s", span_ns as f64 / 1e9)
    }
}

fn ms(span_ns: u64) -> String {
    format!("{:.1} ms", span_ns as f64 / 1e6)
}

fn numbers(values: &[f64]) -> String {
    values.iter().map(|value| format!("{value:.4}")).collect::<Vec<_>>().join(" ")
}

fn tell(recorded: &Recorded, story: &Story, at_ns: u64) -> String {
    let since = Since(recorded.span_ns.0);
    let Some(tick) = &story.tick else { return "no tick is recorded\n".to_owned() };
    let command = &tick.command;
    let now_ns = command.stamp_ns;
    let mut text = String::new();
    let mut line = |name: &str, words: &str| {
        // Writing to a string does not fail.
        let _ = writeln!(text, "{name:<12}{words}");
    };
    line("moment", &format!("{} (tick {}, stamp {now_ns})", since.s(now_ns), tick.inputs.tick));
    if at_ns > recorded.span_ns.1 {
        line("", &format!("asked about {}, after the last tick", since.s(at_ns)));
    }
    line("mode", &command.mode.to_string());
    let history: Vec<String> =
        story.changes.iter().map(|(from_ns, mode)| format!("{} {}", since.s(*from_ns), mode.key())).collect();
    line("before", &history.join(" → "));
    let Standing { action, cause, since_ns } = command.failsafe;
    match cause {
        None => line("failsafe", &action.to_string()),
        Some(cause) => line("failsafe", &format!("{action} because of {cause}, since {}", since.s(since_ns))),
    }
    let causes: Vec<&str> = command.causes.iter().map(Cause::name).collect();
    if !causes.is_empty() {
        line("causes", &causes.join(", "));
    }
    if let Some((called_ns, call)) = &story.called {
        line("called", &format!("{call:?} before the tick at {}", since.s(*called_ns)));
    }
    match &command.joints {
        None => line("command", "none: motion has not been allowed yet"),
        Some(joints) => {
            line("command", &format!("joints {} rad", numbers(&joints.q)));
            line("", &format!("speeds {} rad/s", numbers(&joints.qd)));
            line(
                "",
                &format!("gripper {:.4} m, at most {:.1} N", joints.gripper_width_m, joints.gripper_force_n),
            );
        }
    }
    line("limits", &limits(command.acted));
    for (name, seen) in Senses::names(&recorded.config.senses).iter().zip(&tick.inputs.seen) {
        let words = match (seen.stamp_ns, seen.arrival) {
            (0, 0) => "nothing yet".to_owned(),
            (0, arrival) => format!("message {arrival} and none before it could be used"),
            (stamp_ns, arrival) => {
                format!("{} old, looked at message {arrival}", ms(now_ns.saturating_sub(stamp_ns)))
            }
        };
        line("sense", &format!("{name}: {words}"));
    }
    match (tick.thought, story.thoughts.get(&tick.thought)) {
        (0, _) => line("thought", "none in force"),
        (number, None) => line("thought", &format!("{number} is in force; it is not in the file")),
        (_, Some(entry)) => thought(&mut line, &since, story, tick, entry),
    }
    text
}

/// The names of the limits that acted.
fn limits(acted: Acted) -> String {
    let Acted { position, velocity, acceleration, jerk, landing, tool_speed, guard, rejected } = acted;
    let names: Vec<&str> = [
        (position, "joint position"),
        (velocity, "joint velocity"),
        (acceleration, "joint acceleration"),
        (jerk, "joint jerk"),
        (landing, "braking in time for the target"),
        (tool_speed, "speed of the tool"),
        (guard, "workspace"),
        (rejected, "input refused: the joints brake"),
    ]
    .iter()
    .filter_map(|(acted, name)| acted.then_some(*name))
    .collect();
    if names.is_empty() { "none acted".to_owned() } else { names.join(", ") }
}

fn thought(
    line: &mut impl FnMut(&str, &str),
    since: &Since,
    story: &Story,
    tick: &Tick,
    entry: &ThoughtEntry,
) {
    let now_ns = tick.command.stamp_ns;
    line("thought", &format!("{} for \"{}\"", entry.number, entry.instruction));
    let observed_ns = match &entry.said {
        Said::Goals(decision) => {
            line("tokens", &entry.tokens);
            match &decision.verdict {
                Verdict::Infeasible(reason) => line("means", &format!("infeasible: {reason}")),
                Verdict::Act { plan, subtask, target, .. } => {
                    let plan: Vec<String> = plan.iter().map(ToString::to_string).collect();
                    line(
                        "means",
                        &format!(
                            "{} → {subtask}: tool to {} m, turned {:.3} rad, gripper {:.4} m with {:.1} N; \
                             confidence {:.2}",
                            plan.join(", "),
                            numbers(&target.position_m),
                            target.yaw_rad,
                            target.gripper_width_m,
                            target.gripper_force_n,
                            decision.confidence
                        ),
                    );
                }
            }
            Some(decision.observation_ns)
        }
        Said::Chunk(chunk) => {
            line("means", &format!("a chunk of {} actions, {} apart", chunk.count(), ms(chunk.period_ns)));
            Some(chunk.observation_ns)
        }
        Said::Error(reason) => {
            line("means", &format!("the policy failed: {reason}"));
            None
        }
    };
    match (&entry.refused, &entry.said) {
        (Some(refusal), _) => line("audit", &format!("refused, {refusal}")),
        (None, Said::Error(_)) => line("audit", "nothing to audit"),
        (None, _) => line("audit", "passed"),
    }
    if let Some(observed_ns) = observed_ns {
        line(
            "chain",
            &format!(
                "seen {} ({} before this moment)",
                since.s(observed_ns),
                ms(now_ns.saturating_sub(observed_ns))
            ),
        );
    }
    line(
        "",
        &format!(
            "asked {} with the senses of tick {}; the model took {}, the audit {:.1} µs",
            since.s(entry.now_ns),
            entry.tick,
            ms(entry.model_ns),
            entry.audit_ns as f64 / 1e3
        ),
    );
    if let Some((_, since_tick, since_ns)) = story.in_force_since {
        line("", &format!("in force since tick {since_tick}, {}", since.s(since_ns)));
    }
    match tick.command.observation_ns {
        None => line("", "this tick follows nothing"),
        Some(followed_ns) if Some(followed_ns) == observed_ns => {
            let first = if tick.command.first { " (the first command that does)" } else { "" };
            line("", &format!("this tick follows it{first}"));
        }
        Some(followed_ns) => {
            line(
                "",
                &format!("this tick follows an earlier one, about what was seen {}", since.s(followed_ns)),
            );
        }
    }
}
