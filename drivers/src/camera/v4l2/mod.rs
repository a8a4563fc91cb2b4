//! Cameras of the Linux kernel: Video4Linux 2, streaming into mapped buffers.
//!
//! The requests are our own, because the crates for them either run bindgen, and so need libclang, or hide
//! the stamps of the buffers. Source: the kernel's `userspace-api/media/v4l`. Devices with several planes
//! (most CSI cameras without their image processor) are refused.

#[cfg(all(target_os = "linux", target_pointer_width = "64"))]
mod abi;
#[cfg(all(target_os = "linux", target_pointer_width = "64"))]
mod mapping;
#[cfg(all(target_os = "linux", target_pointer_width = "64"))]
mod stream;

use std::path::{Path, PathBuf};

use super::config::PixelFormat;
use super::device::{Device, DeviceError};

/// What is asked of a camera.
#[derive(Clone, Debug)]
pub(super) struct Request {
    pub(super) device: PathBuf,
    pub(super) format: PixelFormat,
    pub(super) width_px: u32,
    pub(super) height_px: u32,
    pub(super) rate_hz: f64,
}

/// Opens a camera and lets it stream.
#[cfg(all(target_os = "linux", target_pointer_width = "64"))]
pub(super) fn open(request: &Request) -> Result<Box<dyn Device>, DeviceError> {
    Ok(Box::new(stream::Stream::open(request)?))
}

/// Whether a node captures video for this user.
#[cfg(all(target_os = "linux", target_pointer_width = "64"))]
pub(super) fn probe(node: &Path) -> Result<(), DeviceError> {
    stream::open_node(node).map(|_| ())
}

/// Always [`DeviceError::Platform`].
#[cfg(not(all(target_os = "linux", target_pointer_width = "64")))]
pub(super) fn open(_: &Request) -> Result<Box<dyn Device>, DeviceError> {
    Err(DeviceError::Platform)
}

/// Always [`DeviceError::Platform`].
#[cfg(not(all(target_os = "linux", target_pointer_width = "64")))]
pub(super) fn probe(_: &Path) -> Result<(), DeviceError> {
    Err(DeviceError::Platform)
}
