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
    let mut guard = Guard::new(limit_ns, service.feeding_ns(), start_ns);
    while !flags.reflex_done.load(Ordering::Acquire) {
        let missed = read(&flags.late) + read(&flags.skipped);
        let tell = guard.look(monotonic_ns(), read(&flags.ticks), missed, stop.load(Ordering::Acquire));
        let (stalls, longest_ns) = guard.stall.stalls();
        flags.stalled.store(guard.stall.stalled(), Ordering::Relaxed);
        flags.stalls.store(stalls, Ordering::Relaxed);
        flags.longest_stall_ns.store(longest_ns, Ordering::Relaxed);
        if tell.ready {
            service.ready();
        }
        if tell.feed {
            service.feed();
        }
        if tell.stopping {
            service.stopping();
        }
        std::thread::sleep(look);
    }
    if !guard.stopping {
        service.stopping();
    }
}

/// What the service manager is to be told after a look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Tell {
    ready: bool,
    feed: bool,
    stopping: bool,
}

/// Everything that is remembered from look to look.
struct Guard {
    stall: StallWatch,
    feeding: Feeding,
    every_ns: Option<u64>,
    fed_ns: u64,
    ready: bool,
    stopping: bool,
}

impl Guard {
    fn new(limit_ns: u64, every_ns: Option<u64>, now_ns: u64) -> Self {
        let stall = StallWatch::new(limit_ns, now_ns);
        let feeding = Feeding::default();
        Self { stall, feeding, every_ns, fed_ns: now_ns, ready: false, stopping: false }
    }

    fn look(&mut self, now_ns: u64, ticks: u64, missed: u64, stop: bool) -> Tell {
        self.stall.look(ticks, now_ns);
        let mut tell =
            Tell { ready: !self.ready && ticks > 0, feed: false, stopping: !self.stopping && stop };
        self.ready |= tell.ready;
        self.stopping |= tell.stopping;
        if self.every_ns.is_some_and(|every_ns| now_ns.saturating_sub(self.fed_ns) >= every_ns) {
            self.fed_ns = now_ns;
            tell.feed = self.feeding.allowed(ticks, missed) && !self.stall.stalled();
        }
        tell
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    /// A loop of 100 Hz that stands still from 3 s to 6 s, looked at every 50 ms, with a watchdog of 2 s.
    #[test]
    fn a_stalled_loop_is_not_fed_until_it_moves_again() {
        let mut guard = Guard::new(500 * MS, Some(500 * MS), 0);
        let (mut fed, mut ready_ms, mut stopping_ms) = (Vec::new(), None, None);
        for now_ms in (0..10_000).step_by(50) {
            let moved_ms = if now_ms < 3_000 { now_ms } else { 3_000 + u64::saturating_sub(now_ms, 6_000) };
            let tell = guard.look(now_ms * MS, moved_ms / 10, 0, now_ms >= 9_000);
            if tell.feed {
                fed.push(now_ms);
            }
            if tell.ready {
                assert_eq!(ready_ms.replace(now_ms), None, "once");
            }
            if tell.stopping {
                assert_eq!(stopping_ms.replace(now_ms), None, "once");
            }
            assert_eq!(guard.stall.stalled(), (3_550..=6_000).contains(&now_ms), "{now_ms}");
        }
        assert_eq!((ready_ms, stopping_ms), (Some(50), Some(9_000)));
        assert_eq!(guard.stall.stalls().0, 1);
        assert!(fed.iter().all(|at_ms| !(3_001..=6_000).contains(at_ms)), "{fed:?}");
        assert_eq!(fed.iter().filter(|at_ms| **at_ms <= 3_000).count(), 6);
        assert!(fed.iter().filter(|at_ms| **at_ms > 6_000).count() >= 6, "{fed:?}");
    }

    #[test]
    fn without_a_watchdog_nobody_is_fed() {
        let mut guard = Guard::new(500 * MS, None, 0);
        assert!((1..100).all(|look| !guard.look(look * 50 * MS, look, 0, false).feed));
    }
}
