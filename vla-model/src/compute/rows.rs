//! A matrix of activations.

use burn::tensor::Tensor;

use super::cpu::{self, Buffer};
use super::{Backend, ComputeError, Kind, device};

/// `count` rows of `width` f32 each, row after row, on its backend. A row is a token, or a pixel of a
/// feature map. Operations on several of them want all on one backend.
#[derive(Clone, Debug)]
pub struct Rows {
    pub(crate) count: usize,
    pub(crate) width: usize,
    pub(crate) data: Data,
    pub(crate) backend: Backend,
}

/// Where the values are.
#[derive(Clone, Debug)]
pub(crate) enum Data {
    Cpu(Buffer),
    /// `[count, width]`.
    Device(Tensor<2>),
}

impl Data {
    pub(crate) fn as_slice(&self) -> &[f32] {
        match self {
            Self::Cpu(values) => values.as_slice(),
            Self::Device(_) => unreachable!("rows of a device among rows of the CPU"),
        }
    }

    pub(crate) fn as_mut_slice(&mut self) -> &mut [f32] {
        match self {
            Self::Cpu(values) => values.as_mut_slice(),
            Self::Device(_) => unreachable!("rows of a device among rows of the CPU"),
        }
    }

    pub(crate) fn tensor(&self) -> &Tensor<2> {
        match self {
            Self::Cpu(_) => unreachable!("rows of the CPU among rows of a device"),
            Self::Device(tensor) => tensor,
        }
    }
}

impl From<Buffer> for Data {
    fn from(values: Buffer) -> Self {
        Self::Cpu(values)
    }
}

impl From<Tensor<2>> for Data {
    fn from(tensor: Tensor<2>) -> Self {
        Self::Device(tensor)
    }
}

impl Rows {
    /// Takes `values`, `count × width` of them, to the backend.
    #[must_use]
    pub fn upload(backend: &Backend, values: &[f32], count: usize, width: usize) -> Self {
        assert_eq!(values.len(), count * width);
        let data = match &backend.kind {
            Kind::Cpu(_) => Buffer::from_slice(values).into(),
            Kind::Device(device) => device.upload(values, [count, width]).into(),
        };
        Self { count, width, data, backend: backend.clone() }
    }

    /// Brings the values to the host. Blocks until they are computed.
    ///
    /// # Errors
    /// [`ComputeError`] when a device failed; never on the CPU.
    pub fn download(&self) -> Result<Vec<f32>, ComputeError> {
        match &self.data {
            Data::Cpu(values) => Ok(values.as_slice().to_vec()),
            Data::Device(tensor) => device::download(tensor.clone()),
        }
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
        assert!(parts.iter().all(|part| part.width == first.width));
        let data = match &first.data {
            Data::Cpu(_) => {
                let mut data = Buffer::unfilled(count * first.width);
                let mut at = 0;
                for part in parts {
                    let values = part.data.as_slice();
                    data.as_mut_slice()[at..at + values.len()].copy_from_slice(values);
                    at += values.len();
                }
                data.into()
            }
            Data::Device(_) => {
                Tensor::cat(parts.iter().map(|part| part.data.tensor().clone()).collect(), 0).into()
            }
        };
        Self { count, width: first.width, data, backend: first.backend.clone() }
    }

    /// Rows `from..from + count`.
    #[must_use]
    pub fn narrow(&self, from: usize, count: usize) -> Self {
        let data = match &self.data {
            Data::Cpu(values) => {
                let values = &values.as_slice()[from * self.width..(from + count) * self.width];
                Buffer::from_slice(values).into()
            }
            Data::Device(tensor) => tensor.clone().narrow(0, from, count).into(),
        };
        Self { count, width: self.width, data, backend: self.backend.clone() }
    }

    /// Columns `from..from + width` of every row.
    #[must_use]
    pub fn columns(&self, from: usize, width: usize) -> Self {
        let data = match &self.data {
            Data::Cpu(values) => {
                let mut data = Buffer::unfilled(self.count * width);
                let rows = values.as_slice().chunks_exact(self.width);
                for (to, row) in data.as_mut_slice().chunks_exact_mut(width).zip(rows) {
                    to.copy_from_slice(&row[from..from + width]);
                }
                data.into()
            }
            // A product by one is a copy: without the rows around it, read again and again, no other is made.
            Data::Device(tensor) => (tensor.clone().narrow(1, from, width) * 1.0).into(),
        };
        Self { count: self.count, width, data, backend: self.backend.clone() }
    }

    /// Each new row is `per_row` old ones side by side, `indices` naming them in order: pixel shuffle,
    /// patches, look-up in a table (`per_row` 1).
    #[must_use]
    pub fn gather(&self, indices: &[u32], per_row: usize) -> Self {
        assert!(indices.len().is_multiple_of(per_row));
        let (count, width) = (indices.len() / per_row, self.width * per_row);
        let data = match &self.backend.kind {
            Kind::Cpu(cpu) => {
                let mut data = Buffer::unfilled(indices.len() * self.width);
                cpu::gather(cpu, self.data.as_slice(), self.width, indices, data.as_mut_slice());
                data.into()
            }
            Kind::Device(_) => {
                device::gather(self.data.tensor().clone(), indices).reshape([count, width]).into()
            }
        };
        Self { count, width, data, backend: self.backend.clone() }
    }

    /// The same values as rows of `width`: a row's parts as rows of their own, or rows joined.
    #[must_use]
    pub fn reshape(mut self, width: usize) -> Self {
        assert!((self.count * self.width).is_multiple_of(width));
        let count = self.count * self.width / width;
        if let Data::Device(tensor) = self.data {
            self.data = tensor.reshape([count, width]).into();
        }
        Self { count, width, ..self }
    }

    /// Adds `other` to every run of `other.count()` rows: position tables, residuals.
    pub fn add_repeated(&mut self, other: &Rows) {
        assert!(self.width == other.width && self.count.is_multiple_of(other.count));
        match &self.backend.kind {
            Kind::Cpu(cpu) => {
                cpu::add_repeated(cpu, self.data.as_mut_slice(), self.width, other.data.as_slice());
            }
            Kind::Device(_) => {
                let sum = device::add_repeated(self.data.tensor().clone(), other.data.tensor().clone());
                self.data = sum.into();
            }
        }
    }
}
