//! Sequence numbers of a topic's publishers: what was lost, repeated or late.

/// How many publishers of one topic are remembered; past that the one unheard for longest is forgotten.
const MAX_PUBLISHERS: usize = 64;

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
    publishers: Vec<([u8; 16], i64)>,
}

impl Tracker {
    /// Takes the number `sequence` of the publisher `gid`. A new publisher starts at any number: it may
    /// have been there before us, and a restarted one has another gid. Linear in the number of
    /// publishers, at most [`MAX_PUBLISHERS`].
    pub(super) fn track(&mut self, gid: [u8; 16], sequence: i64) -> Verdict {
        let Some(index) = self.publishers.iter().position(|(other, _)| *other == gid) else {
            if self.publishers.len() == MAX_PUBLISHERS {
                self.publishers.remove(0);
            }
            self.publishers.push((gid, sequence));
            return Verdict::New { lost: 0 };
        };
        let (_, newest) = self.publishers.remove(index);
        self.publishers.push((gid, newest.max(sequence)));
        match sequence.cmp(&newest) {
            std::cmp::Ordering::Equal => Verdict::Duplicate,
            std::cmp::Ordering::Less => Verdict::Reordered,
            std::cmp::Ordering::Greater => Verdict::New { lost: sequence.abs_diff(newest) - 1 },
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
