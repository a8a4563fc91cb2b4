//! The camera as a node: one thread that waits, takes the newest frame, decodes and publishes it.

use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use crossbeam::channel::{Sender, bounded};

use super::capture::Capture;
use super::config::{CameraConfig, CameraSource};
use super::device::{Device, DeviceError};
use super::folder::Folder;
use super::report::{CameraStats, Report, State, lock};
use super::synthetic::Synthetic;
use super::{CameraError, v4l2};
use crate::clock::Clock;
use crate::link::Link;
use crate::msg::DiagnosticStatus;
use crate::topic::Topics;

/// The kernel keeps this much of a thread's name, bytes.
const THREAD_NAME_BYTES: usize = 15;

/// A running camera. Dropping it stops its thread, within 0.2 s where the device does not hang.
#[derive(Debug)]
pub struct CameraNode {
    name: String,
    report: Arc<Mutex<Report>>,
    /// Closing it stops the thread.
    running: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl CameraNode {
    /// Opens the camera and publishes its frames on `topics.camera(name)`, from a thread `camera-NAME`.
    ///
    /// A camera that goes away later is no error: it is counted and opened again.
    ///
    /// # Errors
    /// [`CameraError::Config`]; [`CameraError::Device`] when there is no such camera now, it is in use, or it
    /// has no such pixel format; [`CameraError::Link`] for a name that cannot be in a topic.
    pub fn start(
        name: &str,
        config: &CameraConfig,
        link: &Link,
        topics: &Topics,
    ) -> Result<Self, CameraError> {
        let (config_copy, clock) = (config.clone(), link.clock().clone());
        Self::start_with(name, config, link, topics, move || open(&config_copy, &clock))
    }

    /// The same with devices of one's own, whatever the source in `config` is: `open` gives the first, and
    /// a new one each time that the last has failed.
    ///
    /// # Errors
    /// As [`CameraNode::start`].
    pub fn start_with(
        name: &str,
        config: &CameraConfig,
        link: &Link,
        topics: &Topics,
        mut open: impl FnMut() -> Result<Box<dyn Device>, DeviceError> + Send + 'static,
    ) -> Result<Self, CameraError> {
        config.validate()?;
        let publisher = link.publisher(&topics.camera(name))?;
        let device = open()?;
        let report = Arc::new(Mutex::new(Report::new(device.describe())));
        let (running, stop) = bounded(0);
        let capture =
            Capture::new(name, config, link.clock().clone(), publisher, Arc::clone(&report), stop, open);
        // The topic's name has passed, so these are single bytes.
        let mut thread_name = format!("camera-{name}");
        thread_name.truncate(THREAD_NAME_BYTES);
        let thread = std::thread::Builder::new()
            .name(thread_name)
            .spawn(move || capture.run(device))
            .map_err(|error| CameraError::Thread { reason: error.to_string() })?;
        Ok(Self { name: name.to_owned(), report, running: Some(running), thread: Some(thread) })
    }

    /// What became of the frames so far.
    #[must_use]
    pub fn stats(&self) -> CameraStats {
        lock(&self.report).stats
    }

    /// How the camera is, with all counters.
    #[must_use]
    pub fn status(&self) -> DiagnosticStatus {
        let mut report = lock(&self.report);
        // A thread that ends by itself has played all, and said so, or panicked.
        if report.state != State::Ended && self.thread.as_ref().is_some_and(JoinHandle::is_finished) {
            report.state = State::Crashed;
        }
        report.status(&self.name)
    }
}

impl Drop for CameraNode {
    fn drop(&mut self) {
        drop(self.running.take());
        if let Some(thread) = self.thread.take() {
            // It has nothing to tell; a panic there was reported by the panic hook.
            let _ = thread.join();
        }
    }
}

fn open(config: &CameraConfig, clock: &Clock) -> Result<Box<dyn Device>, DeviceError> {
    match &config.source {
        CameraSource::V4l2 { device, format, capture_width_px, capture_height_px } => {
            v4l2::open(&v4l2::Request {
                device: device.clone(),
                format: *format,
                width_px: *capture_width_px,
                height_px: *capture_height_px,
                rate_hz: config.rate_hz,
            })
        }
        CameraSource::Folder { folder, repeat } => {
            Ok(Box::new(Folder::open(folder, *repeat, config.rate_hz, clock)?))
        }
        CameraSource::Synthetic => {
            let (width_px, height_px) = (config.width_px as usize, config.height_px as usize);
            // Drawn so that it needs no resizing, which would blur the counter.
            let (width_px, height_px) =
                if config.swaps_sides() { (height_px, width_px) } else { (width_px, height_px) };
            Ok(Box::new(Synthetic::new(width_px, height_px, config.rate_hz, clock)))
        }
    }
}
