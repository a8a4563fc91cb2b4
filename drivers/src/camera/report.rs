//! What a camera has done and how it is.

use std::sync::{Mutex, MutexGuard, PoisonError};

use super::device::DeviceError;
use crate::msg::{DiagnosticLevel, DiagnosticStatus};

/// What became of the frames of one camera, since its start.
///
/// Each captured frame is in one of `published`, `skipped_older`, `error_frames`, `decode_errors`,
/// `background` and `publish_errors`, unless it is just being worked on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CameraStats {
    /// Frames that the device gave.
    pub captured: u64,
    /// Frames that were published.
    pub published: u64,
    /// Frames that were not looked at, because a newer one was there too.
    pub skipped_older: u64,
    /// Frames that the device itself called broken.
    pub error_frames: u64,
    /// Frames that could not be decoded.
    pub decode_errors: u64,
    /// Frames that went into the background of a gel.
    pub background: u64,
    /// Frames that the link refused.
    pub publish_errors: u64,
    /// Frames that the device lost before us, by its own count; a count that runs backwards is one.
    pub sequence_gaps: u64,
    /// Frames without a plausible time of capture, published with that of their arrival.
    pub unstamped: u64,
    /// Times that no frame came for too long.
    pub frozen: u64,
    /// Calls of the device that failed, opening it included; unplugging is one.
    pub device_errors: u64,
    /// Times that the device was opened again.
    pub reopened: u64,
}

impl CameraStats {
    /// All counters with their names.
    fn named(&self) -> [(&'static str, u64); 12] {
        [
            ("captured", self.captured),
            ("published", self.published),
            ("skipped_older", self.skipped_older),
            ("error_frames", self.error_frames),
            ("decode_errors", self.decode_errors),
            ("background", self.background),
            ("publish_errors", self.publish_errors),
            ("sequence_gaps", self.sequence_gaps),
            ("unstamped", self.unstamped),
            ("frozen", self.frozen),
            ("device_errors", self.device_errors),
            ("reopened", self.reopened),
        ]
    }
}

/// What the stamps of the frames mean.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum StampKind {
    #[default]
    None,
    ExposureStart,
    FrameEnd,
    Arrival,
}

impl StampKind {
    fn text(self) -> &'static str {
        match self {
            Self::None => "none yet",
            Self::ExposureStart => "start of exposure",
            Self::FrameEnd => "end of frame",
            Self::Arrival => "arrival",
        }
    }
}

/// How a camera is.
///
/// ```text
/// Opened ──> Background ──> Streaming <──> Faulty        (frames come)
///    ^            any of them ──> Lost ──> Opened         (reopened)
///                 any of them ──> Ended                   (folders only)
///                 any of them ──> Crashed                 (a defect of a decoder or a device)
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// Open, without a frame yet.
    Opened,
    /// Frames go into the background of the gel.
    Background,
    /// Frames are published.
    Streaming,
    /// Frames come, and the last could not be published.
    Faulty(String),
    /// No frames; it will be opened again.
    Lost(DeviceError),
    /// All has been played.
    Ended,
    /// Its thread has panicked.
    Crashed,
}

/// What the camera's thread and its owner share.
#[derive(Debug)]
pub(super) struct Report {
    pub(super) stats: CameraStats,
    pub(super) state: State,
    pub(super) stamps: StampKind,
    /// What the device is, as it says.
    pub(super) device: String,
}

impl Report {
    pub(super) fn new(device: String) -> Self {
        Self { stats: CameraStats::default(), state: State::Opened, stamps: StampKind::None, device }
    }

    /// The report of the camera `name`.
    pub(super) fn status(&self, name: &str) -> DiagnosticStatus {
        let (level, message) = match &self.state {
            State::Opened => (DiagnosticLevel::Warn, "Open, and no frame has come yet.".to_owned()),
            State::Background => {
                (DiagnosticLevel::Warn, "Takes the background; nothing may touch the gel.".to_owned())
            }
            State::Streaming => (DiagnosticLevel::Ok, "Frames are published.".to_owned()),
            State::Faulty(reason) => (DiagnosticLevel::Warn, format!("The last frame is bad: {reason}.")),
            State::Lost(reason) => {
                (DiagnosticLevel::Error, format!("No frames, and it will be opened again: {reason}."))
            }
            State::Ended => (DiagnosticLevel::Stale, "All frames have been played.".to_owned()),
            State::Crashed => {
                (DiagnosticLevel::Error, "No frames: its thread has panicked; start it anew.".to_owned())
            }
        };
        let status = DiagnosticStatus::new(level, format!("camera: {name}"), message);
        let status = status.with("device", &self.device).with("stamps", self.stamps.text());
        self.stats.named().into_iter().fold(status, |status, (key, value)| status.with(key, value))
    }
}

/// Locks, also after a panic elsewhere: each field is whole between any two statements.
pub(super) fn lock(report: &Mutex<Report>) -> MutexGuard<'_, Report> {
    report.lock().unwrap_or_else(PoisonError::into_inner)
}
