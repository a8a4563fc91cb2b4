//! The order and the time of a device's frames.

use super::device::{Device, Stamp};
use super::report::StampKind;
use crate::clock::Clock;

/// A frame that seems older than this has a wrong stamp, ns.
const MAX_AGE_NS: u64 = 10_000_000_000;
/// Two clocks that are read within this time are read at once, ns.
const AT_ONCE_NS: u64 = 2_000;
/// How often that is tried.
const TRIES: usize = 4;

/// What the last frame of an opened device said.
#[derive(Debug, Default)]
pub(super) struct Stamps {
    sequence: Option<u32>,
    captured_ns: u64,
}

impl Stamps {
    /// How many frames the device lost between the last one and this. Devices that do not count repeat a
    /// number and lose none; a count that runs backwards is one loss, because there is no telling how many.
    pub(super) fn lost_before(&mut self, sequence: u32) -> u64 {
        let step = self.sequence.map_or(1, |last| sequence.wrapping_sub(last));
        self.sequence = Some(sequence);
        match step {
            0 => 0,
            1..=0x7fff_ffff => u64::from(step - 1),
            _ => 1,
        }
    }

    /// When a frame that is here now was captured, by the link's clock, and what that time is. A stamp that
    /// lies in the future, before the last one, or too far back cannot be true: the time is then now, that of
    /// its arrival.
    pub(super) fn in_link_time(
        &mut self,
        stamp: Stamp,
        device: &dyn Device,
        clock: &Clock,
    ) -> (u64, StampKind) {
        let (device_ns, link_ns) = at_once(device, clock);
        let (captured_ns, kind) = match stamp {
            Stamp::ExposureStart(captured_ns) => (captured_ns, StampKind::ExposureStart),
            Stamp::FrameEnd(captured_ns) => (captured_ns, StampKind::FrameEnd),
            Stamp::Unknown => return (link_ns, StampKind::Arrival),
        };
        let plausible = device_ns.checked_sub(captured_ns).filter(|age_ns| *age_ns <= MAX_AGE_NS);
        let Some(age_ns) = plausible else { return (link_ns, StampKind::Arrival) };
        let last_ns = std::mem::replace(&mut self.captured_ns, captured_ns);
        if captured_ns < last_ns {
            return (link_ns, StampKind::Arrival);
        }
        (link_ns.saturating_sub(age_ns), kind)
    }
}

/// The device's clock and the link's at one moment, ns: the closest of a few readings, because the thread may
/// lose its processor between two of them.
fn at_once(device: &dyn Device, clock: &Clock) -> (u64, u64) {
    let mut closest = (u64::MAX, 0, 0);
    for _ in 0..TRIES {
        let before_ns = device.now_ns();
        let link_ns = clock.now_ns();
        let apart_ns = device.now_ns().saturating_sub(before_ns);
        if apart_ns < closest.0 {
            closest = (apart_ns, before_ns + apart_ns / 2, link_ns);
        }
        if apart_ns <= AT_ONCE_NS {
            break;
        }
    }
    (closest.1, closest.2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lost_frames_are_counted_across_the_counters_end() {
        let mut stamps = Stamps::default();
        let lost: Vec<_> = [u32::MAX - 3, u32::MAX - 2, u32::MAX, 0, 0, 4, 3]
            .map(|sequence| stamps.lost_before(sequence))
            .into();
        assert_eq!(lost, [0, 0, 1, 0, 0, 3, 1]);
    }
}
