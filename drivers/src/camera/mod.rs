//! Cameras: frames on the topic `camera/NAME/image_raw`, as `sensor_msgs/Image` of the encoding `rgb8`.
//!
//! ```text
//! device ──> newest frame ──> decode ──> cut, shrink, turn ──> [gel: subtract background] ──> publish
//! ```
//!
//! * [`CameraConfig`] says what is wanted, [`CameraNode`] does it, on one thread for each camera, so that one
//!   that hangs holds up no other. [`devices`] lists what could be had.
//! * A [`Device`] gives frames in buffers of its own: V4L2 cameras, a folder of pictures, a pattern, and in
//!   tests whatever misbehaves.
//! * [`decode`] makes pictures of bytes, [`Fitter`] the published size, [`gel`] a tactile image.
//!
//! **Time.** A frame is stamped with its time of capture as the kernel took it (`v4l2_buffer.timestamp`, on the
//! monotonic clock), moved into the link's clock by the difference between the two clocks at that moment. The
//! status says whether it is the start of the exposure or the end of the frame. A time that cannot be true, or
//! none, becomes that of the arrival and is counted.
//!
//! **Newest wins.** When decoding is slower than the camera, frames that waited are skipped and counted, and
//! the newest that the driver had a buffer for is decoded. Four buffers are asked for: a camera that is
//! faster than decoding by more than that loses frames in its driver, which are counted as gaps.
//!
//! **Faults.** A device that fails, or is silent for `timeout_ms`, is closed and opened again after 0.1 s, then
//! 0.2 s and so on up to 5 s; each is counted in [`CameraStats`]. What is published is always a whole frame.
//! A panic ends the camera, which the status then says.

mod capture;
mod config;
pub mod decode;
mod device;
mod devices;
mod folder;
pub mod gel;
mod node;
mod pacer;
mod picture;
mod report;
mod stamps;
pub mod synthetic;
mod v4l2;

pub use config::{CameraConfig, CameraSource, MAX_SIDE_PX, PixelFormat};
pub use device::{Device, DeviceError, Format, Frame, Stamp};
pub use devices::{DeviceInfo, devices};
pub use node::CameraNode;
pub use picture::{Fitter, Picture};
pub use report::CameraStats;

use crate::link::LinkError;

/// Why a camera cannot be started.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CameraError {
    /// A setting that cannot be.
    #[error("{key} = {value}: expected {expected}")]
    Config {
        /// The key.
        key: &'static str,
        /// Its value.
        value: String,
        /// What was expected.
        expected: &'static str,
    },
    /// The device cannot be had.
    #[error(transparent)]
    Device(#[from] DeviceError),
    /// The link refused the topic.
    #[error(transparent)]
    Link(#[from] LinkError),
    /// The system has no thread for it.
    #[error("camera thread: {reason}")]
    Thread {
        /// The system's words.
        reason: String,
    },
}
