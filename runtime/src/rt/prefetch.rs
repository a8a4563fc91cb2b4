//! Memory asked for before it is needed.

use std::hint::black_box;

/// Bytes of a cache line.
const LINE_BYTES: usize = 64;

/// Asks the processor to bring the `len` bytes from an address on near, and does not wait for it. Any address will do:
/// nothing is read, and what is not mapped is passed over.
#[inline]
pub(crate) fn prefetch(start: *const u8, len: usize) {
    // A length that the compiler cannot see: written out, the loop would be as long as what it fetches.
    for offset in (0..black_box(len)).step_by(LINE_BYTES) {
        prefetch_line(start.wrapping_add(offset));
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
