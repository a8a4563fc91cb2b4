//! Whether the loop still moves, judged from outside by its tick counter.
//!
//! ```text
//!            counter moved                 no move for longer than the limit
//!   ┌────────┐◀──────────────┐          ┌───────────────────────────────────┐
//!   │ Moving │               │          │                                   ▼
//!   └────────┘───────────────┴──────────┘                             ┌─────────┐
//!        ▲                       counter moved                        │ Stalled │
//!        └────────────────────────────────────────────────────────────└─────────┘
//! ```
//!
//! Pure functions of counters and time; the thread that calls them is in [`crate::realtime`].

/// What a look at the counter found out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Look {
    /// Nothing new.
    Same,
    /// The loop has stood still for longer than the limit, seen for the first time.
    Stalled,
    /// It moves again, after so long, ns.
    Moves {
        /// How long it stood still, within one look's period.
        after_ns: u64,
    },
}

#[derive(Clone, Copy, Debug)]
enum State {
    Moving { ticks: u64, since_ns: u64 },
    Stalled { ticks: u64, since_ns: u64 },
}

/// Watches one counter.
#[derive(Clone, Debug)]
pub struct StallWatch {
    limit_ns: u64,
    state: State,
    stalls: u64,
    longest_ns: u64,
}

impl StallWatch {
    /// A counter at 0 that should move from `now_ns` on.
    #[must_use]
    pub fn new(limit_ns: u64, now_ns: u64) -> Self {
        Self { limit_ns, state: State::Moving { ticks: 0, since_ns: now_ns }, stalls: 0, longest_ns: 0 }
    }

    /// Looks at the counter.
    pub fn look(&mut self, ticks: u64, now_ns: u64) -> Look {
        let moved = State::Moving { ticks, since_ns: now_ns };
        match self.state {
            State::Moving { ticks: before, .. } if ticks != before => {
                self.state = moved;
                Look::Same
            }
            State::Moving { ticks, since_ns } => {
                if now_ns.saturating_sub(since_ns) <= self.limit_ns {
                    return Look::Same;
                }
                self.state = State::Stalled { ticks, since_ns };
                self.stalls += 1;
                self.longest_ns = self.longest_ns.max(now_ns.saturating_sub(since_ns));
                Look::Stalled
            }
            State::Stalled { ticks: before, since_ns } => {
                let after_ns = now_ns.saturating_sub(since_ns);
                self.longest_ns = self.longest_ns.max(after_ns);
                if ticks == before {
                    return Look::Same;
                }
                self.state = moved;
                Look::Moves { after_ns }
            }
        }
    }

    /// Whether it stands still now.
    #[must_use]
    pub fn stalled(&self) -> bool {
        matches!(self.state, State::Stalled { .. })
    }

    /// How often it has stood still, and the longest time, ns.
    #[must_use]
    pub fn stalls(&self) -> (u64, u64) {
        (self.stalls, self.longest_ns)
    }
}

/// Whether a watchdog may be fed: only by a loop that has moved since it was last asked, and that met most
/// of its deadlines meanwhile.
#[derive(Clone, Copy, Debug, Default)]
pub struct Feeding {
    ticks: u64,
    missed: u64,
}

impl Feeding {
    /// `ticks` served so far and `missed` so far: ticks that ended after the next one was due, and periods
    /// that were skipped.
    pub fn allowed(&mut self, ticks: u64, missed: u64) -> bool {
        let served = ticks.saturating_sub(self.ticks);
        let late = missed.saturating_sub(self.missed);
        *self = Self { ticks, missed };
        served > 0 && late <= served / 2
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    #[test]
    fn a_stall_is_counted_once_and_its_end_is_seen() {
        let mut watch = StallWatch::new(500 * MS, 0);
        for look in 0..100 {
            assert_eq!(watch.look(look + 1, look * 50 * MS), Look::Same);
        }
        // From 4950 ms on it stands still.
        assert_eq!(watch.look(100, 5_450 * MS), Look::Same);
        assert!(!watch.stalled());
        assert_eq!(watch.look(100, 5_451 * MS), Look::Stalled);
        assert_eq!(watch.look(100, 5_600 * MS), Look::Same);
        assert!(watch.stalled());
        assert_eq!(watch.look(101, 5_950 * MS), Look::Moves { after_ns: 1_000 * MS });
        assert_eq!(watch.look(102, 6_000 * MS), Look::Same);
        assert_eq!(watch.stalls(), (1, 1_000 * MS));
    }

    #[test]
    fn a_loop_that_never_starts_is_stalled() {
        let mut watch = StallWatch::new(500 * MS, 7 * MS);
        assert_eq!(watch.look(0, 507 * MS), Look::Same);
        assert_eq!(watch.look(0, 508 * MS), Look::Stalled);
    }

    #[test]
    fn only_a_loop_that_moves_on_time_feeds() {
        let mut feeding = Feeding::default();
        assert!(!feeding.allowed(0, 0), "it has not begun");
        assert!(feeding.allowed(120, 0));
        assert!(!feeding.allowed(120, 0), "it stands still");
        assert!(feeding.allowed(240, 60), "half of the ticks may be late");
        assert!(!feeding.allowed(360, 121), "but not more");
        assert!(!feeding.allowed(361, 200), "many periods skipped");
        assert!(feeding.allowed(481, 200), "and then it is well again");
    }
}
