//! Memory of activations.
//!
//! A fresh large block costs a page fault for every 4 KiB that is touched, which for a quick operation is
//! more than the operation. So blocks go back to a list that the whole process shares: after the first
//! forward pass of a model, the next ones allocate nothing.
#![allow(unsafe_code, reason = "whole cache lines seen as their values")]

use std::sync::{Mutex, PoisonError};

/// Blocks below this go through the allocator, which keeps them itself.
const SMALL_LINES: usize = 16 * 1024 / size_of::<Line>();
/// Most memory in the list; the blocks that have waited longest are given back first.
const FREE_LINES: usize = 128 * 1024 * 1024 / size_of::<Line>();

static FREE: Mutex<Vec<Vec<Line>>> = Mutex::new(Vec::new());

/// A cache line of f32 values.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
struct Line([f32; 16]);

/// f32 values, aligned to 64 bytes.
pub(crate) struct Buffer {
    lines: Vec<Line>,
    len: usize,
}

impl Buffer {
    /// Holds whatever an earlier buffer left there: for an operation that writes every value.
    pub(crate) fn unfilled(len: usize) -> Self {
        let need = len.div_ceil(16);
        let lines = recycled(need).unwrap_or_else(|| vec![Line([0.0; 16]); need]);
        Self { lines, len }
    }

    pub(crate) fn from_slice(values: &[f32]) -> Self {
        let mut buffer = Self::unfilled(values.len());
        buffer.as_mut_slice().copy_from_slice(values);
        buffer
    }

    pub(crate) fn as_slice(&self) -> &[f32] {
        // SAFETY: the lines hold at least `len` values, one after another.
        unsafe { std::slice::from_raw_parts(self.lines.as_ptr().cast(), self.len) }
    }

    pub(crate) fn as_mut_slice(&mut self) -> &mut [f32] {
        // SAFETY: as above, and the borrow is exclusive.
        unsafe { std::slice::from_raw_parts_mut(self.lines.as_mut_ptr().cast(), self.len) }
    }

    /// The same memory as words, for packed forms.
    pub(super) fn as_words(&self) -> &[u32] {
        // SAFETY: as above; any bits are a word.
        unsafe { std::slice::from_raw_parts(self.lines.as_ptr().cast(), self.len) }
    }

    /// See [`Buffer::as_words`].
    pub(super) fn as_mut_words(&mut self) -> &mut [u32] {
        // SAFETY: as above, and the borrow is exclusive.
        unsafe { std::slice::from_raw_parts_mut(self.lines.as_mut_ptr().cast(), self.len) }
    }
}

/// The free block that fits best and wastes at most half of itself.
fn recycled(need: usize) -> Option<Vec<Line>> {
    if need < SMALL_LINES {
        return None;
    }
    let mut free = FREE.lock().unwrap_or_else(PoisonError::into_inner);
    let fits = |block: &Vec<Line>| (need..=2 * need).contains(&block.len());
    let best = (0..free.len()).filter(|at| fits(&free[*at])).min_by_key(|at| free[*at].len())?;
    Some(free.remove(best))
}

impl Drop for Buffer {
    fn drop(&mut self) {
        let block = std::mem::take(&mut self.lines);
        if block.len() < SMALL_LINES || block.len() > FREE_LINES {
            return;
        }
        let mut free = FREE.lock().unwrap_or_else(PoisonError::into_inner);
        free.push(block);
        let mut held: usize = free.iter().map(Vec::len).sum();
        let surplus = free.iter().take_while(|block| {
            let over = held > FREE_LINES;
            held -= block.len();
            over
        });
        let surplus = surplus.count();
        let given_back: Vec<_> = free.drain(..surplus).collect();
        drop(free);
        drop(given_back);
    }
}

impl Clone for Buffer {
    fn clone(&self) -> Self {
        Self::from_slice(self.as_slice())
    }
}

impl std::fmt::Debug for Buffer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} values", self.len)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buffers_are_aligned_and_of_the_length_asked_for() {
        for len in [0, 1, 17, 5000, 100_000] {
            let mut buffer = Buffer::unfilled(len);
            assert!(buffer.as_slice().as_ptr().cast::<Line>().is_aligned());
            assert_eq!(buffer.as_slice().len(), len);
            buffer.as_mut_slice().fill(f32::NAN);
            let copy = buffer.clone();
            buffer.as_mut_slice().fill(1.0);
            assert!(copy.as_slice().iter().all(|value| value.is_nan()));
            assert!(buffer.as_words().iter().all(|word| *word == 1.0_f32.to_bits()));
        }
    }

    #[test]
    fn the_list_is_bounded() {
        let blocks: Vec<_> = (0..40).map(|_| Buffer::unfilled(FREE_LINES * 16 / 30)).collect();
        drop(blocks);
        let held: usize = FREE.lock().unwrap_or_else(PoisonError::into_inner).iter().map(Vec::len).sum();
        assert!(held <= FREE_LINES);
        // Larger than the list may hold.
        drop(Buffer::unfilled((FREE_LINES + 1) * 16));
        let free = FREE.lock().unwrap_or_else(PoisonError::into_inner);
        assert!(free.iter().all(|block| block.len() <= FREE_LINES));
    }
}
