//! A matrix of activations.

use super::cpu::Buffer;
use super::{Backend, ComputeError};

/// `count` rows of `width` f32 each, row after row, on its backend. A row is a token, or a pixel of a
/// feature map.
#[derive(Clone, Debug)]
pub struct Rows {
    pub(crate) count: usize,
    pub(crate) width: usize,
    pub(crate) data: Buffer,
    pub(crate) backend: Backend,
}

impl Rows {
    /// Takes `values`, `count × width` of them, to the backend.
    #[must_use]
    pub fn upload(backend: &Backend, values: &[f32], count: usize, width: usize) -> Self {
        assert_eq!(values.len(), count * width);
        Self { count, width, data: Buffer::from_slice(values), backend: backend.clone() }
    }

    /// Brings the values to the host. Blocks until they are computed.
    ///
    /// # Errors
    /// [`ComputeError`] when a GPU failed; never on the CPU.
    pub fn download(&self) -> Result<Vec<f32>, ComputeError> {
        Ok(self.data.as_slice().to_vec())
    }

    /// Number of rows.
    #[must_use]
    pub fn count(&self) -> usize {
        self.count
    }

    /// Values in a row.
    #[must_use]
    pub fn width(&self) -> usize {
        self.width
    }

    /// The parts below each other; all of one width.
    #[must_use]
    pub fn stack(parts: &[&Rows]) -> Self {
        let first = parts[0];
        let count = parts.iter().map(|part| part.count).sum();
        let mut data = Buffer::zeros(count * first.width);
        let mut at = 0;
        for part in parts {
            assert_eq!(part.width, first.width);
            let values = part.data.as_slice();
            data.as_mut_slice()[at..at + values.len()].copy_from_slice(values);
            at += values.len();
        }
        Self { count, width: first.width, data, backend: first.backend.clone() }
    }

    /// Rows `from..from + count`.
    #[must_use]
    pub fn narrow(&self, from: usize, count: usize) -> Self {
        let values = &self.data.as_slice()[from * self.width..(from + count) * self.width];
        Self { count, width: self.width, data: Buffer::from_slice(values), backend: self.backend.clone() }
    }

    /// Each new row is `per_row` old ones side by side, `indices` naming them in order: pixel shuffle,
    /// patches, look-up in a table (`per_row` 1).
    #[must_use]
    pub fn gather(&self, indices: &[u32], per_row: usize) -> Self {
        assert_eq!(indices.len() % per_row, 0);
        let mut data = Buffer::zeros(indices.len() * self.width);
        for (to, index) in data.as_mut_slice().chunks_exact_mut(self.width).zip(indices) {
            let from = *index as usize * self.width;
            to.copy_from_slice(&self.data.as_slice()[from..from + self.width]);
        }
        Self {
            count: indices.len() / per_row,
            width: self.width * per_row,
            data,
            backend: self.backend.clone(),
        }
    }

    /// Adds `other` to every run of `other.count()` rows: position tables, residuals.
    pub fn add_repeated(&mut self, other: &Rows) {
        assert!(self.width == other.width && self.count.is_multiple_of(other.count));
        let other = other.data.as_slice();
        for run in self.data.as_mut_slice().chunks_exact_mut(other.len()) {
            run.iter_mut().zip(other).for_each(|(value, add)| *value += add);
        }
    }
}
