//! A folder of pictures, played like a camera.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::device::{Device, DeviceError, Format, Frame, Stamp};
use super::pacer::Pacer;
use crate::clock::Clock;

/// The largest file that is read, bytes; the rest of a larger one is missing, and it does not decode.
const MAX_FILE_BYTES: u64 = 64 << 20;

/// Plays files in the order of their names.
pub(super) struct Folder {
    files: Vec<PathBuf>,
    repeat: bool,
    next: usize,
    bytes: Vec<u8>,
    pacer: Pacer,
    clock: Clock,
    describe: String,
}

impl Folder {
    /// Lists the pictures of `folder`; files that come later are not seen.
    pub(super) fn open(
        folder: &Path,
        repeat: bool,
        rate_hz: f64,
        clock: &Clock,
    ) -> Result<Self, DeviceError> {
        let listing = std::fs::read_dir(folder)
            .map_err(|error| DeviceError::Call { call: "read_dir", reason: error.to_string() })?;
        let mut files: Vec<PathBuf> = listing
            .filter_map(Result::ok)
            .map(|entry| entry.path())
            .filter(|path| is_picture(path))
            .collect();
        files.sort();
        if files.is_empty() {
            return Err(DeviceError::NoPictures { folder: folder.to_owned() });
        }
        Ok(Self {
            describe: format!("{} pictures of {}", files.len(), folder.display()),
            files,
            repeat,
            next: 0,
            bytes: Vec::new(),
            pacer: Pacer::new(rate_hz),
            clock: clock.clone(),
        })
    }
}

fn is_picture(path: &Path) -> bool {
    let extension = path.extension().and_then(|extension| extension.to_str()).unwrap_or_default();
    ["png", "jpg", "jpeg"].iter().any(|known| extension.eq_ignore_ascii_case(known))
}

impl Device for Folder {
    fn wait(&mut self, timeout: Duration) -> Result<bool, DeviceError> {
        if self.next >= self.files.len() && !self.repeat {
            return Err(DeviceError::Ended);
        }
        Ok(self.pacer.wait(timeout))
    }

    fn dequeue(&mut self) -> Result<Option<Frame>, DeviceError> {
        let at = if self.repeat { self.next % self.files.len() } else { self.next };
        let Some(path) = self.files.get(at) else { return Ok(None) };
        if !self.pacer.take() {
            return Ok(None);
        }
        self.bytes.clear();
        let read = File::open(path).and_then(|file| file.take(MAX_FILE_BYTES).read_to_end(&mut self.bytes));
        if read.is_err() {
            // A file that went away is a frame that does not decode, no reason to begin from the first.
            self.bytes.clear();
        }
        let frame = Frame {
            slot: 0,
            used_bytes: self.bytes.len(),
            format: Format::File,
            // Wraps, as the counters of cameras do.
            sequence: self.next as u32,
            stamp: Stamp::FrameEnd(self.now_ns()),
            broken: false,
        };
        self.next += 1;
        Ok(Some(frame))
    }

    fn bytes(&self, _: &Frame) -> &[u8] {
        &self.bytes
    }

    fn release(&mut self, _: Frame) -> Result<(), DeviceError> {
        self.pacer.release();
        Ok(())
    }

    fn now_ns(&self) -> u64 {
        self.clock.now_ns()
    }

    fn describe(&self) -> String {
        self.describe.clone()
    }
}
