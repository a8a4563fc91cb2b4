//! A steady rate for sources without hardware, which have one buffer.

use std::time::Duration;

use crate::clock::Clock;

/// Says when the next frame is due. Real time, whatever the link's clock is.
#[derive(Debug)]
pub(super) struct Pacer {
    clock: Clock,
    period_ns: u64,
    due_ns: u64,
    /// The one buffer is being read, so nothing may be written into it.
    held: bool,
}

impl Pacer {
    /// The first frame is due now.
    pub(super) fn new(rate_hz: f64) -> Self {
        let clock = Clock::system();
        let due_ns = clock.now_ns();
        // A rate that passed validation gives periods of 1 ms to 10 s.
        Self { clock, period_ns: (1e9 / rate_hz) as u64, due_ns, held: false }
    }

    /// Waits until a frame is due, at most `timeout`; says whether one is.
    pub(super) fn wait(&self, timeout: Duration) -> bool {
        let ahead = Duration::from_nanos(self.due_ns.saturating_sub(self.clock.now_ns()));
        std::thread::sleep(ahead.min(timeout));
        self.is_due()
    }

    /// Takes the frame that is due, if one is and the last was released: being late delays frames and skips
    /// none. Afterwards they are apart by a period again.
    pub(super) fn take(&mut self) -> bool {
        let due = !self.held && self.is_due();
        if due {
            self.held = true;
            let next_ns = self.due_ns.saturating_add(self.period_ns);
            let now_ns = self.clock.now_ns();
            self.due_ns = if next_ns > now_ns { next_ns } else { now_ns.saturating_add(self.period_ns) };
        }
        due
    }

    /// Gives the buffer back.
    pub(super) fn release(&mut self) {
        self.held = false;
    }

    fn is_due(&self) -> bool {
        self.clock.now_ns() >= self.due_ns
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_that_is_being_read_is_not_overwritten() {
        let mut pacer = Pacer::new(1000.0);
        assert!(pacer.take());
        assert!(pacer.wait(Duration::from_secs(1)));
        assert!(!pacer.take(), "due, and not released");
        pacer.release();
        assert!(pacer.take());
    }
}
