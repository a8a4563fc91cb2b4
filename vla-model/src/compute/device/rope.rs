//! Rotary positions.

use burn::tensor::Tensor;

use super::TensorDevice;

/// Sines and cosines on a device, each `[tokens, 1, head_dim / 2]`.
#[derive(Clone, Debug)]
pub(crate) struct RopeTable {
    cos: Tensor<3>,
    sin: Tensor<3>,
}

impl RopeTable {
    pub(crate) fn new(device: &TensorDevice, cos: &[f32], sin: &[f32], half: usize) -> Self {
        let upload = |values: &[f32]| device.upload(values, [values.len() / half, 1, half]);
        Self { cos: upload(cos), sin: upload(sin) }
    }

    /// `rows` with `heads` heads turned, which begin at column `from`.
    pub(crate) fn turn(&self, rows: Tensor<2>, from: usize, heads: usize) -> Tensor<2> {
        let [count, width] = rows.dims();
        let [_, _, half] = self.cos.dims();
        let band = 2 * half * heads;
        let turned = rows.clone().narrow(1, from, band).reshape([count, heads, 2 * half]);
        let (low, high) = (turned.clone().narrow(2, 0, half), turned.narrow(2, half, half));
        let (cos, sin) = (self.cos.clone(), self.sin.clone());
        let turned = Tensor::cat(
            vec![low.clone() * cos.clone() - high.clone() * sin.clone(), high * cos + low * sin],
            2,
        )
        .reshape([count, band]);
        let mut parts = vec![turned];
        if from > 0 {
            parts.insert(0, rows.clone().narrow(1, 0, from));
        }
        let after = from + band;
        if after < width {
            parts.push(rows.narrow(1, after, width - after));
        }
        Tensor::cat(parts, 1)
    }
}
