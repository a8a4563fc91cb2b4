//! A file's bytes without a copy of them, and bytes as numbers.
#![allow(unsafe_code, reason = "mapping a file and viewing its bytes as numbers")]

use std::fs::File;
use std::io;

/// The bytes of a file: mapped, or read.
pub(super) enum Bytes {
    Mapped(memmap2::Mmap),
    Owned(Vec<u8>),
}

impl std::fmt::Debug for Bytes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Bytes({})", self.as_slice().len())
    }
}

impl Bytes {
    /// Maps a file. Whoever shortens it while it is mapped ends the process with a bus error: that is
    /// the price of not reading a gigabyte, and every mapping reader's.
    pub(super) fn map(file: &File) -> io::Result<Self> {
        // SAFETY: the mapping is read-only and private. Another process that writes to the file could
        // change the numbers under us, not the bounds; no reference outlives the map.
        unsafe { memmap2::Mmap::map(file) }.map(Self::Mapped)
    }

    pub(super) fn as_slice(&self) -> &[u8] {
        match self {
            Self::Mapped(map) => map,
            Self::Owned(bytes) => bytes,
        }
    }

    /// Lets the system take back the pages that have been read. They come back from the file.
    pub(super) fn release(&self) {
        #[cfg(unix)]
        if let Self::Mapped(map) = self {
            // SAFETY: the map is read-only and backed by a file, so that a dropped page is read again
            // with the same bytes. A refusal changes nothing.
            drop(unsafe { map.unchecked_advise(memmap2::UncheckedAdvice::DontNeed) });
        }
    }
}

/// Little-endian floats in place; `None` where the bytes are not aligned or the machine's order is another.
pub(super) fn as_f32(bytes: &[u8]) -> Option<&[f32]> {
    if cfg!(target_endian = "big") || !bytes.len().is_multiple_of(4) {
        return None;
    }
    // SAFETY: every bit pattern is a float; `align_to` splits off what is not aligned.
    let (before, values, after) = unsafe { bytes.align_to::<f32>() };
    (before.is_empty() && after.is_empty()).then_some(values)
}

/// Bytes as signed integers.
pub(super) fn as_i8(bytes: &[u8]) -> &[i8] {
    // SAFETY: both types have one byte, every bit pattern and no alignment.
    unsafe { std::slice::from_raw_parts(bytes.as_ptr().cast::<i8>(), bytes.len()) }
}
