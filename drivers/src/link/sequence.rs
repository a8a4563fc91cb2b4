//! Sequence numbers of a topic's publishers: what was lost, repeated or late.

/// How many publishers of one topic are remembered; past that the one unheard for longest is forgotten.
const MAX_PUBLISHERS: usize = 64;
/// A payload further behind the newest than this is not one that was overtaken on the way.
const FAR_BEHIND: u64 = 32;
/// So many of them in a row, each later than the one before, and the publisher counts from there: the high
/// number was a broken one, and must not silence the topic for good.
const RESUME_AFTER: u32 = 4;

/// What a sequence number says about a payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// The next one, or the first from this publisher; `lost` payloads before it did not arrive.
    New {
        /// Payloads missing before it.
        lost: u64,
    },
    /// The number of the newest payload, again.
    Duplicate,
    /// Older than the newest payload of its publisher.
    Reordered,
}

/// Remembers the newest number of each publisher of one topic.
#[derive(Debug, Default)]
pub(super) struct Tracker {
    /// In the order in which they were last heard.
    publishers: Vec<Heard>,
}

#[derive(Debug)]
struct Heard {
    gid: [u8; 16],
    newest: i64,
    /// The last number far behind the newest, and how many there have been in a row.
    behind: (i64, u32),
}

impl Tracker {
    /// Takes the number `sequence` of the publisher `gid`. A new publisher starts at any number: it may
    /// have been there before us, and a restarted one has another gid. Linear in the number of
    /// publishers, at most [`MAX_PUBLISHERS`].
    pub(super) fn track(&mut self, gid: [u8; 16], sequence: i64) -> Verdict {
        let Some(index) = self.publishers.iter().position(|heard| heard.gid == gid) else {
            if self.publishers.len() == MAX_PUBLISHERS {
                self.publishers.remove(0);
            }
            self.publishers.push(Heard { gid, newest: sequence, behind: (0, 0) });
            return Verdict::New { lost: 0 };
        };
        let mut heard = self.publishers.remove(index);
        let verdict = heard.track(sequence);
        self.publishers.push(heard);
        verdict
    }
}

impl Heard {
    fn track(&mut self, sequence: i64) -> Verdict {
        match sequence.cmp(&self.newest) {
            std::cmp::Ordering::Equal => Verdict::Duplicate,
            std::cmp::Ordering::Less => {
                let (last, in_a_row) = self.behind;
                let far = self.newest.abs_diff(sequence) > FAR_BEHIND;
                self.behind = match (far, sequence > last) {
                    (true, true) => (sequence, in_a_row + 1),
                    (true, false) => (sequence, 1),
                    (false, _) => (0, 0),
                };
                if self.behind.1 < RESUME_AFTER {
                    return Verdict::Reordered;
                }
                (self.newest, self.behind) = (sequence, (0, 0));
                Verdict::New { lost: 0 }
            }
            std::cmp::Ordering::Greater => {
                let lost = sequence.abs_diff(self.newest) - 1;
                (self.newest, self.behind) = (sequence, (0, 0));
                Verdict::New { lost }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gaps_duplicates_and_late_ones_are_told_apart() {
        let mut tracker = Tracker::default();
        let (a, b) = ([1; 16], [2; 16]);
        assert_eq!(tracker.track(a, 7), Verdict::New { lost: 0 });
        assert_eq!(tracker.track(a, 8), Verdict::New { lost: 0 });
        assert_eq!(tracker.track(b, 1), Verdict::New { lost: 0 }, "a restart is not a gap");
        assert_eq!(tracker.track(a, 11), Verdict::New { lost: 2 });
        assert_eq!(tracker.track(a, 11), Verdict::Duplicate);
        assert_eq!(tracker.track(a, 10), Verdict::Reordered);
        assert_eq!(tracker.track(a, 12), Verdict::New { lost: 0 });
        assert_eq!(tracker.track(b, i64::MAX), Verdict::New { lost: i64::MAX as u64 - 2 });
    }

    #[test]
    fn one_broken_number_does_not_silence_a_publisher_for_good() {
        let mut tracker = Tracker::default();
        let gid = [1; 16];
        tracker.track(gid, 1);
        assert!(matches!(tracker.track(gid, 1 << 40), Verdict::New { .. }));
        for sequence in 3..6 {
            assert_eq!(tracker.track(gid, sequence), Verdict::Reordered);
        }
        assert_eq!(tracker.track(gid, 6), Verdict::New { lost: 0 });
        assert_eq!(tracker.track(gid, 7), Verdict::New { lost: 0 });
        // What was overtaken on the way stays late, however often that happens.
        assert_eq!(tracker.track(gid, 40), Verdict::New { lost: 32 });
        for sequence in 8..40 {
            assert_eq!(tracker.track(gid, sequence), Verdict::Reordered);
        }
    }

    #[test]
    fn memory_is_bounded() {
        let mut tracker = Tracker::default();
        for number in 0..200u8 {
            tracker.track([number; 16], 1);
            tracker.track([0; 16], i64::from(number) + 1);
        }
        assert_eq!(tracker.publishers.len(), MAX_PUBLISHERS);
        assert_eq!(tracker.track([0; 16], 202), Verdict::New { lost: 1 }, "the busy one is not forgotten");
    }
}
