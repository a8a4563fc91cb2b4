//! Memory asked for before it is needed.

/// Bytes of a cache line.
const LINE_BYTES: usize = 64;

/// Two stretches of memory, such as the code and the data of a function, that are needed at the same time.
///
/// It holds addresses and nothing else, so that asking touches no memory that would have to come back first.
#[derive(Clone, Copy, Debug)]
pub struct Prefetch {
    starts: [*const u8; 2],
    lines: usize,
}

impl Prefetch {
    /// The `len` bytes from each start on. Any address will do: nothing is read, and what is not mapped is passed
    /// over.
    pub(crate) fn new(starts: [*const u8; 2], len: usize) -> Self {
        Self { starts, lines: len.div_ceil(LINE_BYTES) }
    }

    /// Asks the processor to bring both near, and does not wait for it.
    #[inline]
    pub fn issue(&self) {
        for line in 0..self.lines {
            for start in self.starts {
                prefetch_line(start.wrapping_add(line * LINE_BYTES));
            }
        }
    }
}

#[cfg(target_arch = "x86_64")]
#[inline]
#[allow(unsafe_code, reason = "a prefetch is an intrinsic")]
fn prefetch_line(address: *const u8) {
    use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
    // SAFETY: a hint, which faults at no address.
    unsafe { _mm_prefetch::<_MM_HINT_T0>(address.cast()) };
}

#[cfg(target_arch = "aarch64")]
#[inline]
#[allow(unsafe_code, reason = "a prefetch is an instruction")]
fn prefetch_line(address: *const u8) {
    // SAFETY: a hint, which faults at no address.
    unsafe {
        std::arch::asm!("prfm pldl1keep, [{0}]", in(reg) address, options(nomem, nostack, preserves_flags));
    }
}

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
fn prefetch_line(_address: *const u8) {}
