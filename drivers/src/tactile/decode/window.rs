//! The bytes that are not done with, and when they came.

use std::collections::VecDeque;

/// A bounded run of a stream's bytes.
pub(super) struct Window {
    buffer: Vec<u8>,
    /// Done with, at the front of `buffer`.
    done: usize,
    capacity: usize,
    /// Pieces by the stream's offset of their first byte, the oldest first; the first one covers the
    /// first byte not done with. No more than there are bytes.
    pieces: VecDeque<(u64, u64)>,
    /// The stream's offset of `buffer[0]`.
    offset: u64,
}

impl Window {
    /// Holds twice `reach` bytes, so that bytes are moved seldom.
    pub(super) fn new(reach: usize) -> Self {
        let capacity = 2 * reach.max(1);
        Self { buffer: Vec::with_capacity(capacity), done: 0, capacity, pieces: VecDeque::new(), offset: 0 }
    }

    /// Takes from `bytes` what fits, and says how many that were: one at least after [`Window::tidy`], as
    /// long as no more than `reach` bytes are left over each time.
    pub(super) fn fill(&mut self, bytes: &[u8], arrival_ns: u64) -> usize {
        let taken = bytes.len().min(self.capacity - self.buffer.len());
        if taken > 0 {
            self.pieces.push_back((self.offset + self.buffer.len() as u64, arrival_ns));
            self.buffer.extend_from_slice(bytes.get(..taken).unwrap_or_default());
        }
        taken
    }

    pub(super) fn bytes(&self) -> &[u8] {
        self.buffer.get(self.done..).unwrap_or_default()
    }

    /// When the first byte came.
    pub(super) fn arrival_ns(&self) -> u64 {
        self.pieces.front().map_or(0, |(_, arrival_ns)| *arrival_ns)
    }

    pub(super) fn advance(&mut self, bytes: usize) {
        self.done = (self.done + bytes).min(self.buffer.len());
        let at = self.offset + self.done as u64;
        while self.pieces.get(1).is_some_and(|(start, _)| *start <= at) {
            self.pieces.pop_front();
        }
    }

    /// Frees the room of what is done with.
    pub(super) fn tidy(&mut self) {
        self.buffer.drain(..self.done);
        self.offset += self.done as u64;
        self.done = 0;
        if self.buffer.is_empty() {
            self.pieces.clear();
        }
    }

    pub(super) fn capacity(&self) -> usize {
        self.capacity
    }
}
