//! The threads beside the reflex: `mind` thinks, `sender` puts commands on the link.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use reflexarc_drivers::Clock;

use super::phase::Phase;
use super::wires::{Flags, Handed, MindEnds, Outgoing, SenderEnds, count};
use crate::clockwork::{Schedule, monotonic_ns, sleep_until, tighten_timer_slack};
use crate::ledger::SentRecord;
use crate::mind::Mind;
use crate::spine::CommandWriter;
use crate::stages::Stages;

/// The sender looks at least this often whether the run is over.
const SENDER_PATIENCE: Duration = Duration::from_millis(20);

/// Thinks once per period until the run ends. Thoughts that have served are freed here.
pub(super) fn run_mind(
    mind: &mut Mind,
    mut ends: MindEnds,
    mut schedule: Schedule,
    mut phase: Phase,
    clock: &Clock,
    stop: &AtomicBool,
    flags: &Flags,
) {
    tighten_timer_slack();
    // Periods missed while there was something to decide about.
    let mut skipped = 0;
    while !stop.load(Ordering::Acquire) && !flags.reflex_done.load(Ordering::Acquire) {
        sleep_until(schedule.deadline_ns());
        skipped += schedule.wake(monotonic_ns()).skipped;
        if !ends.snapshot.update() {
            count(&flags.mind_idle);
            continue;
        }
        let Some(snapshot) = ends.snapshot.output_buffer() else {
            count(&flags.mind_idle);
            continue;
        };
        let now_ns = clock.now_ns();
        let Some((thought, record)) = mind.think(now_ns, snapshot, skipped) else {
            flags.mind_idle.fetch_add(1 + std::mem::take(&mut skipped), Ordering::Relaxed);
            continue;
        };
        skipped = 0;
        if let Some(received_ns) = snapshot.received_ns {
            let later_ns = phase.took(snapshot.observation_ns, now_ns.saturating_sub(received_ns));
            schedule.shift(later_ns);
            flags.mind_moved_ns.fetch_add(later_ns, Ordering::Relaxed);
        }
        ends.thought.write(Some(Handed { number: record.number, thought, timing: record.timing }));
        if ends.thoughts.push(record).is_err() {
            count(&flags.records_lost);
        }
    }
}

/// Sends every command, in order, until the reflex is done. The reflex unparks this thread.
pub(super) fn send_commands(mut ends: SenderEnds, writer: &mut CommandWriter, clock: &Clock, flags: &Flags) {
    loop {
        // Before the ring, so that what was queued last is still sent.
        let done = flags.reflex_done.load(Ordering::Acquire);
        while let Ok(outgoing) = ends.commands.pop() {
            writer.write(&outgoing.command);
            if outgoing.command.joints.is_some() && ends.sent.push(sent(&outgoing, clock.now_ns())).is_err() {
                count(&flags.records_lost);
            }
        }
        if done {
            return;
        }
        std::thread::park_timeout(SENDER_PATIENCE);
    }
}

/// The books' entry for a command that the link had taken at `sent_ns`.
fn sent(outgoing: &Outgoing, sent_ns: u64) -> SentRecord {
    let Outgoing { command, ready_ns, timing } = outgoing;
    SentRecord {
        publish_ns: sent_ns.saturating_sub(*ready_ns),
        observation_to_command_ns: command
            .observation_ns
            .filter(|_| command.first)
            .map(|at_ns| sent_ns.saturating_sub(at_ns)),
        stages: timing.map(|timing| Stages::new(&timing, command.stamp_ns, *ready_ns, sent_ns)),
    }
}
