//! Norms over a row.

use burn::tensor::{Device, Tensor, TensorData, module};

use crate::compute::{Norm, NormKind};

/// A norm's weights on a device.
#[derive(Debug)]
pub(crate) struct NormLayer {
    /// `[width]`.
    scale: Tensor<1>,
    /// `[width]`; none for a root-mean-square norm.
    shift: Option<Tensor<1>>,
    kind: NormKind,
    epsilon: f64,
}

impl NormLayer {
    pub(crate) fn new(device: &Device, norm: &Norm) -> Self {
        let upload =
            |values: &[f32]| Tensor::from_data(TensorData::new(values.to_vec(), [values.len()]), device);
        Self {
            scale: upload(&norm.scale),
            shift: (!norm.shift.is_empty()).then(|| upload(&norm.shift)),
            kind: norm.kind,
            epsilon: f64::from(norm.epsilon),
        }
    }

    /// `[count, width]` to the same.
    pub(crate) fn forward(&self, rows: Tensor<2>) -> Tensor<2> {
        match self.kind {
            NormKind::Layer => module::layer_norm(rows, self.scale.clone(), self.shift.clone(), self.epsilon),
            NormKind::Rms => {
                let square = (rows.clone() * rows.clone()).mean_dim(1);
                rows / (square + self.epsilon).sqrt() * self.scale.clone().unsqueeze()
            }
        }
    }
}
