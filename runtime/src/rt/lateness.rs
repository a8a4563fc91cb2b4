//! How late the reflex's own way of waiting wakes, without anything to do on a tick.

use std::thread::Builder;

use super::grant::Grant;
use super::thread::ask;
use crate::clockwork::{Schedule, monotonic_ns, sleep_until};
use crate::config::RealtimeConfig;
use crate::ledger::Latency;

/// What a measurement found.
#[derive(Clone, Debug)]
pub struct Lateness {
    /// What the measuring thread asked for and got.
    pub grants: Vec<Grant>,
    /// Wake lateness.
    pub lateness: Latency,
    /// Periods slept through.
    pub skipped: u64,
}

/// Wakes `count` times at `hz` on a thread of its own, with what `config` asks for that thread, and adds up
/// how late each time was. It is the reflex's own waiting code, without a tick.
///
/// # Errors
/// If the thread cannot be started.
pub fn measure(config: &RealtimeConfig, hz: u32, count: u64) -> std::io::Result<Lateness> {
    let config = config.clone();
    let thread = Builder::new().name("lateness".into()).spawn(move || {
        let grants = ask(&config).to_vec();
        let mut lateness = Latency::new();
        let mut schedule = Schedule::new(monotonic_ns() + 1_000_000, hz);
        while schedule.run() < count {
            sleep_until(schedule.deadline_ns());
            lateness.record_ns(schedule.wake(monotonic_ns()).lateness_ns);
        }
        Lateness { grants, lateness, skipped: schedule.skipped() }
    })?;
    thread.join().map_err(|_| std::io::Error::other("the measuring thread panicked"))
}
