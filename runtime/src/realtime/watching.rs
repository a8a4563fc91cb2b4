//! The thread `watch`: sees whether the reflex moves, and feeds the service's watchdog only if it does.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::wires::{Flags, read};
use crate::clockwork::monotonic_ns;
use crate::rt::{Feeding, Service, StallWatch};

/// Bounds of the time between two looks; within them a tenth of the limit.
const LOOK_NS: (u64, u64) = (5_000_000, 50_000_000);

/// Watches until the reflex is done.
pub(super) fn watch(flags: &Flags, limit_ns: u64, service: Service, stop: &AtomicBool) {
    let Some(start_ns) = flags.await_start() else {
        return;
    };
    let look = Duration::from_nanos((limit_ns / 10).clamp(LOOK_NS.0, LOOK_NS.1));
    let mut stall = StallWatch::new(limit_ns, start_ns);
    let mut feeding = Feeding::default();
    let (mut ready, mut stopping, mut fed_ns) = (false, false, start_ns);
    while !flags.reflex_done.load(Ordering::Acquire) {
        let now_ns = monotonic_ns();
        let ticks = read(&flags.ticks);
        stall.look(ticks, now_ns);
        flags.stalled.store(stall.stalled(), Ordering::Relaxed);
        let (stalls, longest_ns) = stall.stalls();
        flags.stalls.store(stalls, Ordering::Relaxed);
        flags.longest_stall_ns.store(longest_ns, Ordering::Relaxed);
        if !ready && ticks > 0 {
            ready = true;
            service.ready();
        }
        if let Some(every_ns) = service.feeding_ns()
            && now_ns.saturating_sub(fed_ns) >= every_ns
        {
            fed_ns = now_ns;
            let missed = read(&flags.late) + read(&flags.skipped);
            if feeding.allowed(ticks, missed) && !stall.stalled() {
                service.feed();
            }
        }
        if !stopping && stop.load(Ordering::Acquire) {
            stopping = true;
            service.stopping();
        }
        std::thread::sleep(look);
    }
    if !stopping {
        service.stopping();
    }
}
