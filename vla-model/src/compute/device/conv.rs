//! Convolution and pooling. burn's maps are `[images, channels, height, width]`; ours, with the channels
//! last, are views of such.

use burn::tensor::ops::{ConvOptions, MaxPoolOptions};
use burn::tensor::{Tensor, module};

use super::TensorDevice;
use crate::compute::conv::Window;
use crate::compute::{Activation, ConvSpec, Maps};

/// A convolution's weights on a device, in f32 whatever was asked for: burn has no quantised one.
#[derive(Debug)]
pub(crate) struct ConvLayer {
    /// `[outputs, channels, kernel, kernel]`.
    weight: Tensor<4>,
    /// `[outputs]`.
    bias: Option<Tensor<1>>,
    window: Window,
    activation: Activation,
}

impl ConvLayer {
    pub(crate) fn new(device: &TensorDevice, spec: ConvSpec<'_>) -> Self {
        let window = Window { kernel: spec.kernel, stride: spec.stride, padding: spec.padding };
        let channels = spec.weight.inputs / (spec.kernel * spec.kernel);
        let shape = [spec.weight.outputs, spec.kernel, spec.kernel, channels];
        Self {
            weight: device.upload(&spec.weight.to_floats(), shape).permute([0, 3, 1, 2]),
            bias: spec.bias.map(|bias| device.upload(&bias, [bias.len()])),
            window,
            activation: spec.activation,
        }
    }

    /// The pixels of the new maps as rows.
    pub(crate) fn forward(&self, input: &Maps, residual: Option<&Maps>) -> Tensor<2> {
        let Window { stride, padding, .. } = self.window;
        let options = ConvOptions::new([stride; 2], [padding; 2], [1; 2], 1);
        let mut sums =
            to_rows(module::conv2d(to_maps(input), self.weight.clone(), self.bias.clone(), options));
        if let Some(residual) = residual {
            sums = sums + residual.rows.data.tensor().clone();
        }
        super::dense::activate(self.activation, sums)
    }
}

/// The pixels of the pooled maps as rows.
pub(crate) fn max_pool(input: &Maps, window: Window) -> Tensor<2> {
    let Window { kernel, stride, padding } = window;
    let options = MaxPoolOptions::new([kernel; 2]).with_stride([stride; 2]).with_padding([padding; 2]);
    to_rows(module::max_pool2d(to_maps(input), options))
}

fn to_maps(maps: &Maps) -> Tensor<4> {
    let pixels = maps.rows.data.tensor().clone();
    pixels.reshape([maps.images, maps.height, maps.width, maps.rows.width()]).permute([0, 3, 1, 2])
}

fn to_rows(maps: Tensor<4>) -> Tensor<2> {
    let [images, channels, height, width] = maps.dims();
    maps.permute([0, 2, 3, 1]).reshape([images * height * width, channels])
}
