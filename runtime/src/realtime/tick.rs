//! The thread `reflex`: one tick per period, on time, without waiting for anybody.
//!
//! After its first ticks it neither allocates nor frees, takes no lock, writes no log and does not touch the
//! link (`tests/quiet.rs` proves the first three). What it does not have to free, others free: messages by the
//! transport ([`reflexarc_drivers::Keeper`]), thoughts by the mind, as its slot's writer.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::Thread;

use reflexarc_drivers::Clock;

use super::wires::{Flags, Outgoing, ReflexEnds, count};
use crate::clockwork::{Schedule, monotonic_ns, sleep_until};
use crate::ledger::TickRecord;
use crate::modes::StopCause;
use crate::runtime::tick_record;
use crate::spine::Spine;

/// How long the reflex keeps commanding a standstill at the end, at most, ns.
pub const SHUTDOWN_NS: u64 = 500_000_000;
/// The senses' counters go to the books every so many slots.
const TOPICS_EVERY: u64 = 64;

/// What the reflex works with.
pub(super) struct Reflexing {
    pub spine: Spine,
    pub ends: ReflexEnds,
    pub clock: Clock,
    pub sender: Thread,
}

impl Reflexing {
    /// Ticks until `stop` is true and the arm rests, [`SHUTDOWN_NS`] at most.
    pub(super) fn run(&mut self, mut schedule: Schedule, stop: &AtomicBool, flags: &Flags) {
        let period_ns = schedule.slot_ns(1).saturating_sub(schedule.slot_ns(0));
        let mut stopping_ns: Option<u64> = None;
        loop {
            sleep_until(schedule.deadline_ns());
            let woke_ns = monotonic_ns();
            let wake = schedule.wake(woke_ns);
            let now_ns = self.clock.now_ns();
            if stop.load(Ordering::Acquire) {
                let since_ns = *stopping_ns.get_or_insert(woke_ns);
                self.spine.stop(StopCause::Shutdown);
                let over = woke_ns.saturating_sub(since_ns) > SHUTDOWN_NS;
                if over || (since_ns != woke_ns && self.spine.at_rest()) {
                    return;
                }
            }
            let snapshot = self.spine.sense(now_ns);
            let handed = self.ends.thought.read().as_ref();
            let thought = handed.map(|handed| (handed.number, &handed.thought));
            let command = self.spine.act(now_ns, &snapshot, thought);
            let timing = handed
                .map(|handed| handed.timing)
                .filter(|timing| command.first && command.observation_ns == Some(timing.observation_ns));
            let outgoing = Outgoing { command, ready_ns: self.clock.now_ns(), timing };
            // Without joints it commands nothing, and what it says of the torque the next one says again.
            if self.ends.commands.push(outgoing).is_err() && command.joints.is_some() {
                count(&flags.commands_dropped);
            }
            self.sender.unpark();
            let told = tick_record(&command, &snapshot);
            self.ends.snapshot.write(Some(snapshot));
            if wake.slot.is_multiple_of(TOPICS_EVERY) {
                self.ends.topics.write(self.spine.topic_stats());
            }
            let record = TickRecord {
                lateness_ns: wake.lateness_ns,
                execution_ns: monotonic_ns().saturating_sub(woke_ns),
                skipped: wake.skipped,
                // The sender tells, when the link has taken it.
                observation_to_command_ns: None,
                ..told
            };
            if self.ends.ticks.push(record).is_err() {
                count(&flags.records_lost);
            }
            if record.lateness_ns + record.execution_ns > period_ns {
                count(&flags.late);
            }
            flags.skipped.fetch_add(wake.skipped, Ordering::Relaxed);
            count(&flags.ticks);
        }
    }
}
