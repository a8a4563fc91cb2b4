//! What became of the chunks: counters, and the delay that the policy is told of.

use serde::{Deserialize, Serialize};

/// Why a chunk that passed the audit was not taken up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Late {
    /// Its observation is older than an action may be.
    Expired,
    /// Its observation is from before a stop.
    BeforeStop,
    /// Its observation is older than that of the chunk in force.
    OutOfOrder,
    /// All its actions were consumed while it was computed.
    Overtaken,
}

impl Late {
    /// All reasons, in the order in which they are looked for.
    pub const ALL: [Self; 4] = [Self::Expired, Self::BeforeStop, Self::OutOfOrder, Self::Overtaken];

    /// The reason's name in reports.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Expired => "expired",
            Self::BeforeStop => "before_stop",
            Self::OutOfOrder => "out_of_order",
            Self::Overtaken => "overtaken",
        }
    }
}

/// Counters of a [`Player`](super::Player).
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct PlayStats {
    /// Chunks taken up.
    pub taken: u64,
    /// Chunks not taken up, in the order of [`Late::ALL`].
    pub late: [u64; Late::ALL.len()],
    /// Actions skipped because they had been consumed already.
    pub skipped_actions: u64,
    /// Most actions skipped at one seam.
    pub longest_delay: u64,
    /// Largest distance of one joint at a seam, rad (or m).
    pub widest_seam_rad: f64,
    /// Starts from rest: the first one, and those after a hold, a stop or a dry queue.
    pub starts: u64,
    /// Ticks in motion or coming to rest in which no action was consumed, for want of one.
    pub starved_ticks: u64,
    /// Times that the arm came to rest because the actions had run out.
    pub ran_dry: u64,
}

/// Recent delays that the estimate is made from.
const RECENT: usize = 32;

/// The newest delays, in actions.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Delays {
    recent: [u16; RECENT],
    count: usize,
    usual: usize,
}

impl Delays {
    pub(super) fn add(&mut self, delay: u64) {
        self.recent[self.count % RECENT] = u16::try_from(delay).unwrap_or(u16::MAX);
        self.count += 1;
        let mut sorted = self.recent;
        let known = self.count.min(RECENT);
        let sorted = &mut sorted[..known];
        sorted.sort_unstable();
        // The 90th percentile, rounded up: too long an estimate costs little, too short a one tears the seam.
        self.usual = usize::from(sorted[(known * 9).div_ceil(10) - 1]);
    }

    /// What nine in ten of the newest delays do not exceed; 0 before the first.
    pub(super) fn usual(&self) -> usize {
        self.usual
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_usual_delay_forgets_and_ignores_the_odd_one() {
        let mut delays = Delays::default();
        assert_eq!(delays.usual(), 0);
        delays.add(7);
        assert_eq!(delays.usual(), 7);
        for _ in 0..30 {
            delays.add(3);
        }
        delays.add(1_000_000);
        assert_eq!(delays.usual(), 3);
        for _ in 0..RECENT {
            delays.add(5);
        }
        assert_eq!(delays.usual(), 5);
    }
}
