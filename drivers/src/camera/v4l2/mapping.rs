//! A driver's buffer in our memory.
#![allow(unsafe_code, reason = "memory that a driver writes is mapped")]

use std::ffi::c_void;
use std::os::fd::BorrowedFd;
use std::ptr::{NonNull, null_mut};

use rustix::io::Errno;
use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};

/// The mapping of one buffer, unmapped when dropped.
pub(super) struct Mapping {
    start: NonNull<c_void>,
    length_bytes: usize,
}

// SAFETY: the mapping belongs to the process, not to a thread, and this is its only owner.
unsafe impl Send for Mapping {}

impl Mapping {
    pub(super) fn new(fd: BorrowedFd<'_>, offset: u32, length_bytes: usize) -> Result<Self, Errno> {
        // SAFETY: the kernel chooses a free place, so no memory in use is replaced.
        let start = unsafe {
            mmap(null_mut(), length_bytes, ProtFlags::READ, MapFlags::SHARED, fd, u64::from(offset))?
        };
        Ok(Self { start: NonNull::new(start).ok_or(Errno::NOMEM)?, length_bytes })
    }

    pub(super) fn length_bytes(&self) -> usize {
        self.length_bytes
    }

    /// The first `used_bytes` bytes, or all if there are fewer.
    ///
    /// # Safety
    /// The driver must not own the buffer while the slice lives: it must have been dequeued, and not queued
    /// again.
    pub(super) unsafe fn bytes(&self, used_bytes: usize) -> &[u8] {
        // SAFETY: the mapping is readable over `length_bytes` as long as `self` lives, and nobody writes into it,
        // as the caller promises.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr().cast(), used_bytes.min(self.length_bytes)) }
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: the mapping is ours and whole, and slices of it have ended with the borrow. A failure would
        // leave it mapped, which harms nobody.
        let _ = unsafe { munmap(self.start.as_ptr(), self.length_bytes) };
    }
}
