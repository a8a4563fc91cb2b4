//! Norms over a row.

use super::cpu::{self, Buffer};
use super::{Kind, Rows, device};

/// Which norm.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NormKind {
    /// Mean to zero, variance to one, then scale and shift (arXiv 1607.06450).
    Layer,
    /// Root mean square to one, then scale (arXiv 1910.07467).
    Rms,
}

/// A norm with its weights.
#[derive(Clone, Debug)]
pub struct Norm {
    /// Which.
    pub kind: NormKind,
    /// One factor for each column.
    pub scale: Vec<f32>,
    /// One summand for each column; empty for [`NormKind::Rms`].
    pub shift: Vec<f32>,
    /// Added to the variance or mean square.
    pub epsilon: f32,
}

impl Norm {
    /// Normalises every row.
    #[must_use]
    pub fn forward(&self, input: &Rows) -> Rows {
        let data = match &input.backend.kind {
            Kind::Cpu(cpu) => {
                let mut output = Buffer::unfilled(input.count * input.width);
                cpu::norm(cpu, self, input.data.as_slice(), output.as_mut_slice());
                output.into()
            }
            Kind::Device(_) => {
                let tensor = input.data.tensor();
                device::NormLayer::new(&tensor.device(), self).forward(tensor.clone()).into()
            }
        };
        Rows { count: input.count, width: input.width, data, backend: input.backend.clone() }
    }
}
