//! Memory aligned to cache lines, which panels and rows need.
#![allow(unsafe_code, reason = "one block of memory seen as numbers of several widths")]

use super::Cpu;

/// A cache line.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
struct Line([u8; 64]);

/// Numbers for which every bit pattern is a value.
///
/// # Safety
/// The type has no padding, no invalid bit pattern, and an alignment of at most 64.
pub(super) unsafe trait Number: Copy + Send + Sync {}
// SAFETY: plain numbers.
unsafe impl Number for f32 {}
// SAFETY: plain numbers.
unsafe impl Number for i32 {}
// SAFETY: plain numbers.
unsafe impl Number for u32 {}
// SAFETY: plain numbers.
unsafe impl Number for u16 {}
// SAFETY: plain numbers.
unsafe impl Number for i8 {}
// SAFETY: plain numbers.
unsafe impl Number for u8 {}

/// Zeroed bytes, aligned to 64, seen as numbers.
#[derive(Default)]
pub(super) struct Memory(Vec<Line>);

impl Memory {
    /// Room for `len` values of `T`.
    pub(super) fn zeros<T: Number>(len: usize) -> Self {
        let mut memory = Self::default();
        memory.grow::<T>(len);
        memory
    }

    /// At least `len` values of `T`; what was there stays.
    pub(super) fn grow<T: Number>(&mut self, len: usize) {
        let lines = (len * size_of::<T>()).div_ceil(64);
        if lines > self.0.len() {
            self.0.resize(lines, Line([0; 64]));
        }
    }

    pub(super) fn bytes(&self) -> usize {
        self.0.len() * 64
    }

    pub(super) fn as_slice<T: Number>(&self) -> &[T] {
        // SAFETY: the lines are initialised, aligned enough, and any bits are a `T`.
        unsafe { std::slice::from_raw_parts(self.0.as_ptr().cast(), self.bytes() / size_of::<T>()) }
    }

    pub(super) fn as_mut_slice<T: Number>(&mut self) -> &mut [T] {
        // SAFETY: as above, and the borrow is exclusive.
        unsafe { std::slice::from_raw_parts_mut(self.0.as_mut_ptr().cast(), self.bytes() / size_of::<T>()) }
    }
}

impl std::fmt::Debug for Memory {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} bytes", self.bytes())
    }
}

/// What is done with a part's number and its pieces.
type Part<'a, A, B> = &'a (dyn Fn(usize, &mut [A], &mut [B]) + Sync);

/// Cuts `a` and `b` into `parts` equal pieces each and calls `task` with the number and the two pieces of
/// each, on all threads. What is left over stays as it is.
pub(super) fn split<A: Send, B: Send>(
    cpu: &Cpu,
    parts: usize,
    a: &mut [A],
    b: &mut [B],
    task: Part<'_, A, B>,
) {
    let lens = [a.len() / parts.max(1), b.len() / parts.max(1)];
    let (a, b) = (Shared(a.as_mut_ptr()), Shared(b.as_mut_ptr()));
    cpu.run(parts, &|part| {
        // SAFETY: each part is called once, and the pieces of different parts do not overlap.
        let (a, b) = unsafe {
            (
                std::slice::from_raw_parts_mut(a.get().add(part * lens[0]), lens[0]),
                std::slice::from_raw_parts_mut(b.get().add(part * lens[1]), lens[1]),
            )
        };
        task(part, a, b);
    });
}

/// A pointer into memory of which each thread takes its own part.
#[derive(Clone, Copy)]
pub(super) struct Shared<T>(pub(super) T);

// SAFETY: whoever uses the pointer answers for it.
unsafe impl<T> Send for Shared<T> {}
// SAFETY: as above.
unsafe impl<T> Sync for Shared<T> {}

impl<T: Copy> Shared<T> {
    pub(super) fn get(&self) -> T {
        self.0
    }
}
