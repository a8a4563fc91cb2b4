//! The layer: norm, matrix, bias, activation, residual.

use burn::tensor::{Tensor, activation};

use super::matrix::Matrix;
use super::{NormLayer, TensorDevice};
use crate::compute::{Activation, DenseSpec};

/// A layer's weights on a device.
#[derive(Debug)]
pub(crate) struct DenseLayer {
    matrix: Matrix,
    /// `[1, outputs]`.
    bias: Option<Tensor<2>>,
    norm: Option<NormLayer>,
    activation: Activation,
}

impl DenseLayer {
    pub(crate) fn new(device: &TensorDevice, spec: DenseSpec<'_>) -> Self {
        Self {
            matrix: Matrix::new(device, spec.weight, spec.precision),
            bias: spec.bias.map(|bias| device.upload(&bias, [1, bias.len()])),
            norm: spec.norm.map(|norm| NormLayer::new(&device.device, &norm)),
            activation: spec.activation,
        }
    }

    /// `input` `[count, inputs]`, `residual` and the result `[count, outputs]` (half that when gated).
    pub(crate) fn forward(&self, input: &Tensor<2>, residual: Option<&Tensor<2>>) -> Tensor<2> {
        let input = match &self.norm {
            None => input.clone(),
            Some(norm) => norm.forward(input.clone()),
        };
        let mut sums = self.matrix.product(input);
        if let Some(bias) = &self.bias {
            sums = sums + bias.clone();
        }
        let output = activate(self.activation, sums);
        match residual {
            None => output,
            Some(residual) => output + residual.clone(),
        }
    }
}

pub(super) fn activate(kind: Activation, x: Tensor<2>) -> Tensor<2> {
    match kind {
        Activation::None => x,
        Activation::Relu => activation::relu(x),
        Activation::GeluTanh => {
            // Not burn's own: it takes the cube by a power function, which some shaders refuse below zero.
            let cube = x.clone() * x.clone() * x.clone();
            let inner = (x.clone() + cube * 0.044_715)
                * (std::f32::consts::FRAC_2_SQRT_PI * std::f32::consts::FRAC_1_SQRT_2);
            (inner.tanh() + 1.0) * (x * 0.5)
        }
        Activation::Silu => activation::silu(x),
        Activation::SiluGated => {
            let [_, both] = x.dims();
            let half = both / 2;
            activation::silu(x.clone().narrow(1, 0, half)) * x.narrow(1, half, half)
        }
    }
}
