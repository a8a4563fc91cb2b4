//! Periods on an absolute schedule: skipped and counted when missed, never made up in a burst.
//!
//! [`Schedule`] is pure arithmetic, so that it runs under any clock; only [`monotonic_ns`] and
//! [`sleep_until`] touch the system, and only the real-time driver calls them.

/// A fixed rate counted from an origin. Slot `k` is due at `origin + k / hz`, computed from `k`
/// each time, so that rounding never accumulates.
#[derive(Clone, Debug)]
pub struct Schedule {
    origin_ns: u64,
    hz: u32,
    next_slot: u64,
    run: u64,
    skipped: u64,
}

/// What [`Schedule::wake`] says about one wake-up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wake {
    /// Number of the slot being served.
    pub slot: u64,
    /// How late the wake-up is against the time that it was to happen, which is that of the first slot not
    /// yet served: a stall over several periods counts with its whole length, ns.
    pub lateness_ns: u64,
    /// Slots passed over since the last wake-up.
    pub skipped: u64,
}

impl Schedule {
    /// A schedule whose first slot is due at `origin_ns`; `hz` of 0 counts as 1.
    #[must_use]
    pub fn new(origin_ns: u64, hz: u32) -> Self {
        Self { origin_ns, hz: hz.max(1), next_slot: 0, run: 0, skipped: 0 }
    }

    /// When slot `slot` is due, ns.
    #[must_use]
    pub fn slot_ns(&self, slot: u64) -> u64 {
        let offset = u128::from(slot) * 1_000_000_000 / u128::from(self.hz);
        self.origin_ns.saturating_add(u64::try_from(offset).unwrap_or(u64::MAX))
    }

    /// When the next slot is due, ns.
    #[must_use]
    pub fn deadline_ns(&self) -> u64 {
        self.slot_ns(self.next_slot)
    }

    /// Takes the newest slot that is due at `now_ns`; those before it are skipped and counted.
    /// Called too early, it serves the next slot with a lateness of 0.
    pub fn wake(&mut self, now_ns: u64) -> Wake {
        let elapsed_ns = u128::from(now_ns.saturating_sub(self.origin_ns));
        // Rounded up, because a slot's time is rounded down to whole nanoseconds.
        let due = (elapsed_ns * u128::from(self.hz) + u128::from(self.hz - 1)) / 1_000_000_000;
        let mut slot = u64::try_from(due).unwrap_or(u64::MAX).max(self.next_slot);
        if slot > self.next_slot && self.slot_ns(slot) > now_ns {
            slot -= 1;
        }
        let skipped = slot - self.next_slot;
        let lateness_ns = now_ns.saturating_sub(self.deadline_ns());
        self.next_slot = slot.saturating_add(1);
        self.run += 1;
        self.skipped += skipped;
        Wake { slot, lateness_ns, skipped }
    }

    /// Moves all slots to come by so much, ns; less than 0: they come earlier.
    pub fn shift(&mut self, later_ns: i64) {
        self.origin_ns = self.origin_ns.saturating_add_signed(later_ns);
    }

    /// Slots served so far.
    #[must_use]
    pub fn run(&self) -> u64 {
        self.run
    }

    /// Slots skipped so far. `run + skipped` is the number of slots that have been due.
    #[must_use]
    pub fn skipped(&self) -> u64 {
        self.skipped
    }
}

/// The monotonic clock, ns since an arbitrary origin.
#[must_use]
pub fn monotonic_ns() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    let seconds = u64::try_from(now.tv_sec).unwrap_or(0);
    let nanos = u64::try_from(now.tv_nsec).unwrap_or(0);
    seconds.saturating_mul(1_000_000_000).saturating_add(nanos)
}

/// Sleeps until the monotonic clock reads `deadline_ns`; returns at once if it already does.
pub fn sleep_until(deadline_ns: u64) {
    #[cfg(target_os = "linux")]
    {
        let request = rustix::time::Timespec {
            tv_sec: i64::try_from(deadline_ns / 1_000_000_000).unwrap_or(i64::MAX),
            tv_nsec: i64::try_from(deadline_ns % 1_000_000_000).unwrap_or(0),
        };
        let clock = rustix::thread::ClockId::Monotonic;
        // A signal ends the sleep early; the deadline stays what it was.
        while let Err(error) = rustix::thread::clock_nanosleep_absolute(clock, &request) {
            if error != rustix::io::Errno::INTR {
                break;
            }
        }
    }
    #[cfg(not(target_os = "linux"))]
    {
        let left_ns = deadline_ns.saturating_sub(monotonic_ns());
        std::thread::sleep(std::time::Duration::from_nanos(left_ns));
    }
}

/// Asks the kernel to wake this thread on time instead of within 50 µs; harmless if refused.
pub fn tighten_timer_slack() {
    #[cfg(target_os = "linux")]
    {
        // Refused only on ancient kernels; the wake lateness that is reported shows the effect.
        let _ = rustix::thread::set_current_timer_slack(std::num::NonZeroU64::new(1));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn on_time_wakes_skip_nothing_and_do_not_drift() {
        let mut schedule = Schedule::new(1_000, 240);
        for slot in 0..240 * 3600 {
            let deadline_ns = schedule.deadline_ns();
            let wake = schedule.wake(deadline_ns);
            assert_eq!(wake, Wake { slot, lateness_ns: 0, skipped: 0 });
        }
        assert_eq!(schedule.deadline_ns(), 1_000 + 3_600_000_000_000);
    }

    #[test]
    fn a_stall_is_skipped_and_counted_not_made_up() {
        let mut schedule = Schedule::new(0, 100);
        assert_eq!(schedule.wake(0).slot, 0);
        // Asleep until 57 ms instead of 10: slots 1 to 4 are gone, slot 5 (due at 50 ms) is served.
        let wake = schedule.wake(57_000_000);
        assert_eq!(wake, Wake { slot: 5, lateness_ns: 47_000_000, skipped: 4 });
        assert_eq!(schedule.deadline_ns(), 60_000_000);
        assert_eq!((schedule.run(), schedule.skipped()), (2, 4));
    }

    #[test]
    fn every_slot_is_served_or_skipped() {
        let mut schedule = Schedule::new(0, 60);
        let mut now_ns = 0_u64;
        for step in 0..10_000_u64 {
            now_ns += (step * 7_919) % 40_000_000;
            if now_ns >= schedule.deadline_ns() {
                let wake = schedule.wake(now_ns);
                assert!(wake.lateness_ns <= 16_666_667 * (wake.skipped + 1), "{wake:?}");
            }
        }
        assert_eq!(schedule.run() + schedule.skipped(), now_ns * 60 / 1_000_000_000 + 1);
    }

    #[test]
    fn sleeping_reaches_the_deadline() {
        let deadline_ns = monotonic_ns() + 2_000_000;
        sleep_until(deadline_ns);
        assert!(monotonic_ns() >= deadline_ns);
        sleep_until(0);
    }
}
