//! The time that links stamp messages with.

use std::sync::{
    Arc, OnceLock,
    atomic::{AtomicU64, Ordering},
};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// A source of time in nanoseconds since the Unix epoch. Clones share it.
#[derive(Clone, Debug)]
pub enum Clock {
    /// Real time: read once from the system's calendar, then advanced by the monotonic clock, so that
    /// a correction of the calendar never makes it jump or run backwards.
    System {
        /// The calendar's time at `anchor`, nanoseconds since the Unix epoch.
        anchor_unix_ns: u64,
        /// The monotonic instant that belongs to `anchor_unix_ns`.
        anchor: Instant,
    },
    /// Time set by its owner, for lockstep and tests, nanoseconds.
    Manual(Arc<AtomicU64>),
}

impl Clock {
    /// Real time. All system clocks of one process share one anchor, so their readings compare.
    #[must_use]
    pub fn system() -> Self {
        static ANCHOR: OnceLock<(u64, Instant)> = OnceLock::new();
        let (anchor_unix_ns, anchor) = *ANCHOR.get_or_init(|| {
            // A calendar before 1970 is a broken one: zero then, and only differences mean anything.
            let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
            (nanoseconds(since_epoch), Instant::now())
        });
        Self::System { anchor_unix_ns, anchor }
    }

    /// A clock that stands at `start_ns` until [`Clock::set_ns`] moves it.
    #[must_use]
    pub fn manual(start_ns: u64) -> Self {
        Self::Manual(Arc::new(AtomicU64::new(start_ns)))
    }

    /// The time now, nanoseconds since the Unix epoch.
    #[must_use]
    pub fn now_ns(&self) -> u64 {
        match self {
            Self::System { anchor_unix_ns, anchor } => {
                anchor_unix_ns.saturating_add(nanoseconds(anchor.elapsed()))
            }
            Self::Manual(now_ns) => now_ns.load(Ordering::Acquire),
        }
    }

    /// Moves a manual clock, and all its clones, to `now_ns`. Says whether it did: a system clock
    /// cannot be set.
    pub fn set_ns(&self, now_ns: u64) -> bool {
        match self {
            Self::System { .. } => false,
            Self::Manual(cell) => {
                cell.store(now_ns, Ordering::Release);
                true
            }
        }
    }
}

/// A duration in nanoseconds, at most `u64::MAX` (584 years).
fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn manual_clones_share_the_time() {
        let clock = Clock::manual(5);
        let other = clock.clone();
        assert!(clock.set_ns(17));
        assert_eq!(other.now_ns(), 17);
    }

    #[test]
    fn system_never_runs_backwards_and_cannot_be_set() {
        let (a, b) = (Clock::system(), Clock::system());
        let mut last_ns = 0;
        for _ in 0..1000 {
            for clock in [&a, &b] {
                let now_ns = clock.now_ns();
                assert!(now_ns >= last_ns);
                last_ns = now_ns;
            }
        }
        assert!(!a.set_ns(0));
        // Some time after 2020, or the calendar was not read.
        assert!(last_ns > 1_577_836_800_000_000_000);
    }
}
