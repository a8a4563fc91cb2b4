//! Convolution and pooling on feature maps.

use super::cpu::{self, Buffer};
use super::{Activation, Backend, Precision, Rows, Weight};

/// `images` feature maps of `height × width` pixels; a row of `rows` is one pixel's channels, pixels
/// row-major, images one after another.
#[derive(Clone, Debug)]
pub struct Maps {
    /// The pixels.
    pub rows: Rows,
    /// Number of images.
    pub images: usize,
    /// Rows of pixels.
    pub height: usize,
    /// Columns of pixels.
    pub width: usize,
}

/// What a convolution is made of.
#[derive(Debug)]
pub struct ConvSpec<'a> {
    /// `[outputs, kernel × kernel × channels]`: kernel row, then kernel column, then channel (PyTorch's
    /// `[outputs, channels, rows, columns]` with the channels moved to the end).
    pub weight: Weight<'a>,
    /// One summand for each output.
    pub bias: Option<Vec<f32>>,
    /// Edge of the square kernel, pixels.
    pub kernel: usize,
    /// Pixels between two windows.
    pub stride: usize,
    /// Zero pixels around the map.
    pub padding: usize,
    /// Applied to each sum, after the residual.
    pub activation: Activation,
    /// As in a dense layer.
    pub precision: Precision,
}

/// A convolution, ready on its backend.
#[derive(Debug)]
pub struct Conv2d {
    layer: cpu::ConvLayer,
    kernel: usize,
    stride: usize,
    padding: usize,
    backend: Backend,
}

impl Conv2d {
    /// Packs the weights for the backend's kernels. The activation is none or ReLU.
    #[must_use]
    pub fn new(backend: &Backend, spec: ConvSpec<'_>) -> Self {
        let (kernel, stride, padding) = (spec.kernel, spec.stride, spec.padding);
        Self {
            layer: cpu::ConvLayer::new(&backend.cpu, spec),
            kernel,
            stride,
            padding,
            backend: backend.clone(),
        }
    }

    /// `activation(conv(input) + bias + residual)`.
    #[must_use]
    pub fn forward(&self, input: &Maps, residual: Option<&Maps>) -> Maps {
        let size = |pixels: usize| (pixels + 2 * self.padding - self.kernel) / self.stride + 1;
        let (height, width) = (size(input.height), size(input.width));
        let outputs = self.layer.outputs();
        let count = input.images * height * width;
        let mut data = Buffer::zeros(count * outputs);
        let residual = residual.map(|maps| maps.rows.data.as_slice());
        self.layer.forward(&self.backend.cpu, input, [height, width], residual, data.as_mut_slice());
        let rows = Rows { count, width: outputs, data, backend: self.backend.clone() };
        Maps { rows, images: input.images, height, width }
    }
}

impl Maps {
    /// Largest value in each `kernel × kernel` window; outside the map counts as minus infinity.
    #[must_use]
    pub fn max_pool(&self, kernel: usize, stride: usize, padding: usize) -> Maps {
        let size = |pixels: usize| (pixels + 2 * padding - kernel) / stride + 1;
        let (height, width) = (size(self.height), size(self.width));
        let channels = self.rows.width;
        let count = self.images * height * width;
        let mut data = Buffer::zeros(count * channels);
        let backend = &self.rows.backend;
        cpu::max_pool(&backend.cpu, self, [height, width], [kernel, stride, padding], data.as_mut_slice());
        let rows = Rows { count, width: channels, data, backend: backend.clone() };
        Maps { rows, images: self.images, height, width }
    }
}
