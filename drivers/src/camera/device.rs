//! What a camera is to the node: a source of stamped frames in buffers of its own.

use std::path::PathBuf;
use std::time::Duration;

/// Why a device gives no frames.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DeviceError {
    /// There is no such file.
    #[error("{path}: no such device")]
    Missing {
        /// The path.
        path: PathBuf,
    },
    /// This user may not open it.
    #[error("{path}: permission denied; expected a user of the group video")]
    Permission {
        /// The path.
        path: PathBuf,
    },
    /// It is a device of another kind.
    #[error("{path}: expected a device that captures video into mapped memory, found {found}")]
    NotCapture {
        /// The path.
        path: PathBuf,
        /// What it does instead.
        found: String,
    },
    /// The camera has no such pixel format.
    #[error("{path}: expected the pixel format {expected}, found {found}")]
    NoFormat {
        /// The path.
        path: PathBuf,
        /// What was asked for.
        expected: &'static str,
        /// What the camera has.
        found: String,
    },
    /// A call of the system failed.
    #[error("{call}: {reason}")]
    Call {
        /// The call.
        call: &'static str,
        /// The system's words.
        reason: String,
    },
    /// It was there and is no more: unplugged, or its driver gave up.
    #[error("the device is gone")]
    Gone,
    /// No frame for too long.
    #[error("no frame for {silent_ms} ms")]
    Frozen {
        /// How long there was none, ms.
        silent_ms: u64,
    },
    /// A folder without pictures.
    #[error("{folder}: expected .png, .jpg or .jpeg files, found none")]
    NoPictures {
        /// The folder.
        folder: PathBuf,
    },
    /// All has been played. Not a fault: the node ends there.
    #[error("played to its end")]
    Ended,
    /// Only Linux on 64-bit processors has this kind of camera.
    #[error("source \"v4l2\": expected Linux on a 64-bit processor")]
    Platform,
}

/// What the bytes of a frame are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// A JPEG of that size, possibly without its Huffman tables, as UVC cameras send it.
    Mjpeg {
        /// Columns, pixels.
        width_px: usize,
        /// Rows, pixels.
        height_px: usize,
    },
    /// Y U Y V for every two pixels, BT.601, limited range.
    Yuyv {
        /// Columns, pixels; even.
        width_px: usize,
        /// Rows, pixels.
        height_px: usize,
        /// From one row to the next, bytes.
        stride_bytes: usize,
    },
    /// Red, green, blue, without padding.
    Rgb8 {
        /// Columns, pixels.
        width_px: usize,
        /// Rows, pixels.
        height_px: usize,
    },
    /// A PNG or JPEG file of any size.
    File,
}

/// When a frame was captured, in the device's clock, ns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stamp {
    /// When its exposure began.
    ExposureStart(u64),
    /// When its last pixel had come.
    FrameEnd(u64),
    /// The device does not say.
    Unknown,
}

/// A filled buffer, to be given back by [`Device::release`].
#[derive(Debug)]
pub struct Frame {
    /// Which buffer.
    pub slot: usize,
    /// How much of it is the frame, bytes.
    pub used_bytes: usize,
    /// What the bytes are.
    pub format: Format,
    /// The device's count of frames, which begins anew after 2³².
    pub sequence: u32,
    /// When it was captured.
    pub stamp: Stamp,
    /// The device says that something in it is broken.
    pub broken: bool,
}

/// An open camera. Dropping it closes it.
pub trait Device: Send {
    /// Waits until a frame is there, at most `timeout`; says whether one is.
    ///
    /// # Errors
    /// [`DeviceError`]; the device is then to be reopened, or has [`DeviceError::Ended`].
    fn wait(&mut self, timeout: Duration) -> Result<bool, DeviceError>;

    /// The next frame, the oldest first; none if none is there. Never waits.
    ///
    /// # Errors
    /// [`DeviceError`], as for [`Device::wait`].
    fn dequeue(&mut self) -> Result<Option<Frame>, DeviceError>;

    /// The bytes of a frame that has not been given back.
    fn bytes(&self, frame: &Frame) -> &[u8];

    /// Gives a buffer back, to be filled again.
    ///
    /// # Errors
    /// [`DeviceError`], as for [`Device::wait`].
    fn release(&mut self, frame: Frame) -> Result<(), DeviceError>;

    /// The clock of the frames' stamps, ns.
    fn now_ns(&self) -> u64;

    /// What it is, in a few words.
    fn describe(&self) -> String;
}
