//! What stands between the threads of a running robot.
//!
//! Each wire has one writer and one reader. Those that end at the reflex are wait-free at both ends and free
//! nothing at its end, so that it never waits for a thread that it has interrupted:
//!
//! * a *slot* (`triple_buffer`) holds the newest value; its writer frees the older ones;
//! * a *ring* (`rtrb`) holds records that are `Copy`; what does not fit is dropped and counted.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::thread::Thread;

use rtrb::{Consumer, Producer, RingBuffer};
use triple_buffer::{Input, Output, triple_buffer};

use crate::ledger::{SentRecord, ThoughtRecord, TickRecord};
use crate::mind::Thought;
use crate::reflex::Command;
use crate::rt::Grant;
use crate::senses::{MAX_SENSES, Snapshot, TopicStats};
use crate::stages::Timing;

/// Commands waiting for the link at most: past that it is stuck, and older ones would be of no use.
const COMMANDS: usize = 8;
/// Ticks waiting for the books at most: four seconds of the fastest loop.
const TICKS: usize = 4096;
/// Thoughts waiting for the books at most.
const THOUGHTS: usize = 1024;

/// A thought on its way to the reflex.
#[derive(Clone)]
pub(super) struct Handed {
    /// Its number.
    pub number: u64,
    pub thought: Thought,
    pub timing: Timing,
}

/// A command on its way to the link.
#[derive(Clone, Copy)]
pub(super) struct Outgoing {
    pub command: Command,
    /// When it was ready, ns.
    pub ready_ns: u64,
    /// Of the thought behind it, if this is the first command that follows from that.
    pub timing: Option<Timing>,
}

/// What every thread may look at.
#[derive(Debug, Default)]
pub(super) struct Flags {
    /// When the first tick is due, ns of the monotonic clock; `None`: there will be none.
    pub start: OnceLock<Option<u64>>,
    pub reflex_done: AtomicBool,
    pub mind_done: AtomicBool,
    /// Ticks served.
    pub ticks: AtomicU64,
    /// Ticks that ended after the next one was due.
    pub late: AtomicU64,
    /// Periods skipped.
    pub skipped: AtomicU64,
    /// The reflex stands still now.
    pub stalled: AtomicBool,
    pub stalls: AtomicU64,
    pub longest_stall_ns: AtomicU64,
    /// The kernel's number of the reflex's thread.
    pub reflex_id: OnceLock<i32>,
    /// What the system granted.
    pub grants: OnceLock<Vec<Grant>>,
    /// Commands that the sender was too slow for.
    pub commands_dropped: AtomicU64,
    /// Periods of the mind with nothing to decide about.
    pub mind_idle: AtomicU64,
    /// By how much the mind's periods were moved in all, ns; less than 0: earlier.
    pub mind_moved_ns: AtomicI64,
    /// Records that the books were too slow for.
    pub records_lost: AtomicU64,
}

impl Flags {
    /// Waits until it is known when to start; `None`: never.
    pub(super) fn await_start(&self) -> Option<u64> {
        *self.start.wait()
    }

    /// Lets threads that wait for the start end instead, if it has not come yet.
    pub(super) fn call_off(&self) {
        // Set already: then they have started, and end by the other flags.
        let _ = self.start.set(None);
        self.reflex_done.store(true, Ordering::Release);
        self.mind_done.store(true, Ordering::Release);
    }
}

pub(super) fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

pub(super) fn read(counter: &AtomicU64) -> u64 {
    counter.load(Ordering::Relaxed)
}

/// The ends that belong to the reflex.
pub(super) struct ReflexEnds {
    pub thought: Output<Option<Handed>>,
    pub snapshot: Input<Option<Snapshot>>,
    pub topics: Input<[TopicStats; MAX_SENSES]>,
    pub ticks: Producer<TickRecord>,
    pub commands: Producer<Outgoing>,
}

/// The ends that belong to the mind.
pub(super) struct MindEnds {
    pub snapshot: Output<Option<Snapshot>>,
    pub thought: Input<Option<Handed>>,
    pub thoughts: Producer<ThoughtRecord>,
}

/// The ends that belong to the sender.
pub(super) struct SenderEnds {
    pub commands: Consumer<Outgoing>,
    pub sent: Producer<SentRecord>,
}

/// The ends that belong to the books.
pub(super) struct BookEnds {
    pub ticks: Consumer<TickRecord>,
    pub thoughts: Consumer<ThoughtRecord>,
    pub topics: Output<[TopicStats; MAX_SENSES]>,
    pub sent: Consumer<SentRecord>,
}

/// All wires.
pub(super) fn wires() -> (ReflexEnds, MindEnds, SenderEnds, BookEnds) {
    let (thought_in, thought_out) = triple_buffer(&None);
    let (snapshot_in, snapshot_out) = triple_buffer(&None);
    let (topics_in, topics_out) = triple_buffer(&[TopicStats::default(); MAX_SENSES]);
    let (ticks_in, ticks_out) = RingBuffer::new(TICKS);
    let (thoughts_in, thoughts_out) = RingBuffer::new(THOUGHTS);
    let (commands_in, commands_out) = RingBuffer::new(COMMANDS);
    let (sent_in, sent_out) = RingBuffer::new(TICKS);
    (
        ReflexEnds {
            thought: thought_out,
            snapshot: snapshot_in,
            topics: topics_in,
            ticks: ticks_in,
            commands: commands_in,
        },
        MindEnds { snapshot: snapshot_out, thought: thought_in, thoughts: thoughts_in },
        SenderEnds { commands: commands_out, sent: sent_in },
        BookEnds { ticks: ticks_out, thoughts: thoughts_out, topics: topics_out, sent: sent_out },
    )
}

/// Sets a flag also when the thread that holds it panics, so that the others end.
pub(super) struct SetOnDrop<'a>(pub &'a AtomicBool, pub Option<Thread>);

impl Drop for SetOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Release);
        if let Some(waiting) = &self.1 {
            waiting.unpark();
        }
    }
}
