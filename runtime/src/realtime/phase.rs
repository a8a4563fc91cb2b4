//! Keeps the mind in step with the cameras.
//!
//! Cameras and mind have the same rate, mostly, but nobody started them together: a frame that comes just after the
//! mind has looked waits for a whole period. So how long frames had lain when they were taken is watched, and the
//! mind's periods are moved by a tick of the reflex now and then, until most frames wait for one tick or so. The rate
//! stays; where cameras have another one there is no step to keep, and the mind creeps on by a tick per window at most.

/// Frames looked at before the periods are moved: half a second of most cameras.
const WINDOW: usize = 32;

/// How long frames waited for the mind.
pub(super) struct Phase {
    tick_ns: u64,
    period_ns: u64,
    observation_ns: u64,
    waits_ns: Vec<u64>,
}

impl Phase {
    pub(super) fn new(reflex_hz: u32, mind_hz: u32) -> Self {
        let period_ns = |hz: u32| 1_000_000_000 / u64::from(hz.max(1));
        Self {
            tick_ns: period_ns(reflex_hz),
            period_ns: period_ns(mind_hz),
            observation_ns: 0,
            waits_ns: Vec::with_capacity(WINDOW),
        }
    }

    /// Notes that the observation made at `observation_ns` was taken `wait_ns` after it had come. Returns by how
    /// much the mind's periods should come later, ns; less than 0: earlier.
    pub(super) fn took(&mut self, observation_ns: u64, wait_ns: u64) -> i64 {
        // The same one again says nothing about when it could have been taken.
        if observation_ns == self.observation_ns || 2 * self.tick_ns > self.period_ns {
            return 0;
        }
        self.observation_ns = observation_ns;
        self.waits_ns.push(wait_ns);
        if self.waits_ns.len() < WINDOW {
            return 0;
        }
        self.waits_ns.sort_unstable();
        let (middle_ns, long_ns) = (self.waits_ns[WINDOW / 2], self.waits_ns[WINDOW * 9 / 10]);
        self.waits_ns.clear();
        let tick_ns = i64::try_from(self.tick_ns).unwrap_or(0);
        if middle_ns > self.tick_ns * 3 / 2 {
            -tick_ns
        } else if long_ns > self.period_ns - self.tick_ns {
            // Frames that are a little late miss the mind by a little.
            tick_ns
        } else {
            0
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clockwork::Schedule;
    use rand_chacha::ChaCha8Rng;
    use rand_chacha::rand_core::{Rng, SeedableRng};

    const TICK_NS: u64 = 4_166_666;
    const PERIOD_NS: u64 = 16_666_666;
    /// The mind wakes this long after a tick.
    const OFFSET_NS: u64 = 1_000_000;

    /// Mean wait in the last of ten seconds, and the times that periods were moved then, for a camera that begins at
    /// `begin_ns`, takes a frame each `frame_ns`, and delivers it up to `late_ns` late.
    fn settled(begin_ns: u64, frame_ns: u64, late_ns: u64, moves: bool) -> (u64, u32) {
        let mut rng = ChaCha8Rng::seed_from_u64(begin_ns);
        let come_ns: Vec<u64> = (0..1000)
            .map(|frame| begin_ns + frame * frame_ns + u64::from(rng.next_u32()) % (late_ns + 1))
            .collect();
        let (mut schedule, mut phase) = (Schedule::new(1_000_000_000 + OFFSET_NS, 60), Phase::new(240, 60));
        let (mut waited_ns, mut count, mut moved) = (0, 0, 0);
        for _ in 0..600 {
            let now_ns = schedule.deadline_ns();
            schedule.wake(now_ns);
            // What the last tick has seen.
            let ticks = (now_ns - OFFSET_NS - 1_000_000_000 + TICK_NS / 2) / TICK_NS;
            let seen_ns = 1_000_000_000 + ticks * TICK_NS;
            let Some(newest) = come_ns.iter().rposition(|at_ns| *at_ns <= seen_ns) else { continue };
            let wait_ns = now_ns - come_ns[newest];
            let shift_ns = phase.took(newest as u64 + 1, wait_ns);
            if now_ns > 10_000_000_000 {
                (waited_ns, count, moved) =
                    (waited_ns + wait_ns, count + 1, moved + u32::from(shift_ns != 0));
            }
            if moves {
                schedule.shift(shift_ns);
            }
        }
        (waited_ns / count, moved)
    }

    #[test]
    fn whenever_a_camera_begins_its_frames_wait_for_little_more_than_a_tick() {
        for begin_ns in (1_000_000_000..1_000_000_000 + PERIOD_NS).step_by(500_000) {
            for late_ns in [0, 1_000_000, 3_000_000] {
                let (wait_ns, moved) = settled(begin_ns, PERIOD_NS, late_ns, true);
                assert!(wait_ns < 2 * TICK_NS, "{begin_ns} {late_ns}: {wait_ns}");
                assert!(moved <= 1, "{begin_ns} {late_ns}: moved {moved} times in a second");
            }
        }
        // Without it some wait for a period.
        assert!(settled(1_003_500_000, PERIOD_NS, 0, false).0 > 3 * TICK_NS);
    }

    #[test]
    fn a_camera_of_another_rate_moves_it_little() {
        for frame_ns in [1_000_000_000 / 30, 1_000_000_000 / 50, 1_000_000_000 / 25, 1_000_000_000 / 120] {
            let (_, moved) = settled(1_005_000_000, frame_ns, 1_000_000, true);
            assert!(moved <= 2, "{frame_ns}: moved {moved} times in a second");
        }
    }
}
