//! Real time: what is asked of the system, what it gave, and whether the loop still moves.
//!
//! | module | owns |
//! |---|---|
//! | `grant` | one request with its answer, read back from the kernel |
//! | `process` | locked memory, CPU latency; kept while the run lasts |
//! | `thread` | the reflex's FIFO priority, CPU, timer slack and stack |
//! | `procfs` | what `/proc` says about a thread |
//! | `prefetch` | memory asked for before it is needed |
//! | `lateness` | the reflex's way of waiting, measured by itself |
//! | `stall` | a loop that no longer moves; whether the watchdog may be fed |
//! | `service` | readiness, status and watchdog of systemd |
//!
//! The order, which [`crate::realtime::run`] keeps: build everything, warm the policy up and start all other
//! threads while this is still an ordinary process; lock and thereby touch all memory; then let the reflex's
//! thread ask for itself, and read back. The heap needs no touching of its own: what exists is touched by
//! locking it, and a tick allocates nothing.
//!
//! Everything is off by default except the timer slack, because each of the others can harm a machine that
//! was not prepared for it.

mod grant;
mod lateness;
pub(crate) mod prefetch;
mod process;
pub(crate) mod procfs;
mod service;
mod stall;
mod thread;

use serde::{Deserialize, Serialize};

pub use grant::{Facility, Grant, Verdict};
pub use lateness::{Lateness, measure};
pub use process::ProcessGrants;
pub use procfs::ThreadUse;
pub use service::Service;
pub use stall::{Feeding, Look, StallWatch};
pub use thread::{ask, id};

/// What a run knows about its own real time.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct RealtimeReport {
    /// What was asked for and given; empty in lockstep.
    pub grants: Vec<Grant>,
    /// What the reflex's thread used, from its first second to its last.
    pub thread: Option<ThreadUse>,
    /// Ticks that ended after the next one was due.
    pub late_ticks: u64,
    /// Times that the reflex stood still for longer than `realtime.stall_ms`.
    pub stalls: u64,
    /// The longest of them, ms.
    pub longest_stall_ms: u64,
}

impl RealtimeReport {
    /// What was asked for and refused.
    pub fn refused(&self) -> impl Iterator<Item = &Grant> {
        self.grants.iter().filter(|grant| grant.refused())
    }
}
