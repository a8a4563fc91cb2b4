//! The camera's thread.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use crossbeam::channel::{Receiver, RecvTimeoutError, TryRecvError};

use super::config::CameraConfig;
use super::decode::Decoder;
use super::device::{Device, DeviceError, Frame};
use super::gel::Gel;
use super::picture::{Fitter, Picture};
use super::report::{Report, StampKind, State, lock};
use super::stamps::Stamps;
use crate::clock::Clock;
use crate::link::Publisher;
use crate::msg::{Header, Image, Time};

/// How long one wait for a frame is, so that stopping is prompt.
const SLICE: Duration = Duration::from_millis(100);
/// The rest after a device said that a frame is there and had none.
const IDLE: Duration = Duration::from_millis(1);
/// Frames taken in a row at most, more than a device has buffers: one that never runs dry must not hold us.
const MAX_DRAIN: usize = 64;

/// Pauses before opening a device again: doubled from 0.1 s to 5 s while there are no frames.
struct Backoff(Duration);

impl Backoff {
    const FIRST: Duration = Duration::from_millis(100);
    const LONGEST: Duration = Duration::from_secs(5);

    /// The next pause.
    fn next(&mut self) -> Duration {
        let pause = self.0;
        self.0 = (pause * 2).min(Self::LONGEST);
        pause
    }

    fn reset(&mut self) {
        self.0 = Self::FIRST;
    }
}

pub(super) struct Capture<F> {
    clock: Clock,
    publisher: Publisher<Image>,
    report: Arc<Mutex<Report>>,
    stop: Receiver<()>,
    open: F,
    backoff: Backoff,
    /// The longest time without a frame.
    patience: Duration,
    decoder: Decoder,
    picture: Picture,
    fitter: Fitter,
    gel: Option<Gel>,
    image: Image,
}

impl<F: FnMut() -> Result<Box<dyn Device>, DeviceError>> Capture<F> {
    pub(super) fn new(
        name: &str,
        config: &CameraConfig,
        clock: Clock,
        publisher: Publisher<Image>,
        report: Arc<Mutex<Report>>,
        stop: Receiver<()>,
        open: F,
    ) -> Self {
        let (width, height) = (config.width_px, config.height_px);
        // A rate that passed validation gives 30 s at the most.
        let periods = Duration::from_micros((3e6 / config.rate_hz) as u64);
        Self {
            clock,
            publisher,
            report,
            stop,
            open,
            backoff: Backoff(Backoff::FIRST),
            patience: Duration::from_millis(config.timeout_ms).max(periods),
            decoder: Decoder::default(),
            picture: Picture::default(),
            fitter: Fitter::new(width as usize, height as usize, config.rotate_deg),
            gel: (config.background_frames > 0).then(|| Gel::new(config.background_frames)),
            image: Image {
                header: Header::new(0, name),
                height,
                width,
                encoding: "rgb8".to_owned(),
                is_bigendian: 0,
                step: 3 * width,
                data: Vec::new(),
            },
        }
    }

    /// Runs until the node is dropped, or all has been played.
    pub(super) fn run(mut self, mut device: Box<dyn Device>) {
        loop {
            match self.stream(device.as_mut()) {
                Ok(()) => return,
                Err(DeviceError::Ended) => {
                    lock(&self.report).state = State::Ended;
                    return;
                }
                Err(error) => self.lost(error),
            }
            // Closed first: most devices can be open only once.
            drop(device);
            device = loop {
                let pause = self.backoff.next();
                if self.stopped_within(pause) {
                    return;
                }
                match (self.open)() {
                    Ok(device) => break device,
                    Err(error) => self.lost(error),
                }
            };
            let mut report = lock(&self.report);
            report.stats.reopened += 1;
            report.state = State::Opened;
            report.device = device.describe();
        }
    }

    fn lost(&self, error: DeviceError) {
        let mut report = lock(&self.report);
        match error {
            DeviceError::Frozen { .. } => report.stats.frozen += 1,
            _ => report.stats.device_errors += 1,
        }
        report.state = State::Lost(error);
    }

    /// Waits for `pause`; says whether the node was stopped meanwhile.
    fn stopped_within(&self, pause: Duration) -> bool {
        self.stop.recv_timeout(pause) == Err(RecvTimeoutError::Disconnected)
    }

    /// Publishes the frames of one opened device, until the node is stopped or the device fails.
    fn stream(&mut self, device: &mut dyn Device) -> Result<(), DeviceError> {
        let mut stamps = Stamps::default();
        let mut silent = Duration::ZERO;
        let slice = SLICE.min(self.patience);
        while self.stop.try_recv() != Err(TryRecvError::Disconnected) {
            let ready = device.wait(slice)?;
            if !ready {
                silent += slice;
            } else if self.drain(device, &mut stamps)? {
                silent = Duration::ZERO;
                self.backoff.reset();
            } else {
                // Ready, and nothing there: no reason to spin.
                silent += IDLE;
                let _ = self.stopped_within(IDLE);
            }
            if silent >= self.patience {
                let silent_ms = u64::try_from(self.patience.as_millis()).unwrap_or(u64::MAX);
                return Err(DeviceError::Frozen { silent_ms });
            }
        }
        Ok(())
    }

    /// Takes all frames that are there and works on the newest good one; says whether there were any.
    fn drain(&mut self, device: &mut dyn Device, stamps: &mut Stamps) -> Result<bool, DeviceError> {
        let mut newest: Option<Frame> = None;
        let mut taken = 0;
        while taken < MAX_DRAIN {
            let Some(frame) = device.dequeue()? else { break };
            taken += 1;
            let mut report = lock(&self.report);
            report.stats.captured += 1;
            report.stats.sequence_gaps += stamps.lost_before(frame.sequence);
            let unwanted = if frame.broken {
                report.stats.error_frames += 1;
                report.state = State::Faulty("the device says that it is broken".to_owned());
                Some(frame)
            } else {
                let older = newest.replace(frame);
                report.stats.skipped_older += u64::from(older.is_some());
                older
            };
            drop(report);
            if let Some(frame) = unwanted {
                device.release(frame)?;
            }
        }
        if let Some(frame) = newest {
            self.work(device, &frame, stamps);
            device.release(frame)?;
        }
        Ok(taken > 0)
    }

    /// Decodes, fits, subtracts the background and publishes.
    fn work(&mut self, device: &dyn Device, frame: &Frame, stamps: &mut Stamps) {
        let (stamp_ns, kind) = stamps.in_link_time(frame.stamp, device, &self.clock);
        {
            let mut report = lock(&self.report);
            report.stamps = kind;
            report.stats.unstamped += u64::from(kind == StampKind::Arrival);
        }
        let decoded = self.decoder.decode(frame.format, device.bytes(frame), &mut self.picture);
        if let Err(error) = decoded {
            let mut report = lock(&self.report);
            report.stats.decode_errors += 1;
            report.state = State::Faulty(error.to_string());
            return;
        }
        self.fitter.fit(&self.picture, &mut self.image.data);
        if let Some(gel) = &mut self.gel
            && !gel.apply(&mut self.image.data)
        {
            let mut report = lock(&self.report);
            report.stats.background += 1;
            report.state = State::Background;
            return;
        }
        self.image.header.stamp = Time::from_ns(stamp_ns);
        let sent = self.publisher.put(&self.image);
        let mut report = lock(&self.report);
        match sent {
            Ok(()) => {
                report.stats.published += 1;
                report.state = State::Streaming;
            }
            Err(error) => {
                report.stats.publish_errors += 1;
                report.state = State::Faulty(error.to_string());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_a_bound_and_begin_anew() {
        let mut backoff = Backoff(Backoff::FIRST);
        let pauses_ms: Vec<_> = (0..9).map(|_| backoff.next().as_millis()).collect();
        assert_eq!(pauses_ms, [100, 200, 400, 800, 1600, 3200, 5000, 5000, 5000]);
        backoff.reset();
        assert_eq!(backoff.next(), Backoff::FIRST);
    }
}
