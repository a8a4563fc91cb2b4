//! Convolution and pooling on feature maps.

use super::cpu::{self, Buffer};
use super::{Activation, Backend, Kind, Precision, Rows, Weight, device};

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
    layer: Layer,
    outputs: usize,
    window: Window,
    backend: Backend,
}

#[derive(Debug)]
enum Layer {
    Cpu(cpu::Cpu, cpu::ConvLayer),
    Device(device::ConvLayer),
}

/// A square window that moves over a map.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Window {
    /// Its edge, pixels.
    pub(crate) kernel: usize,
    /// Pixels between two of its places.
    pub(crate) stride: usize,
    /// Pixels around the map.
    pub(crate) padding: usize,
}

impl Window {
    /// Rows and columns of its places on `maps`.
    fn places(self, maps: &Maps) -> [usize; 2] {
        [maps.height, maps.width].map(|pixels| (pixels + 2 * self.padding - self.kernel) / self.stride + 1)
    }
}

impl Conv2d {
    /// Packs the weights for the backend's kernels. The activation is none or ReLU.
    #[must_use]
    pub fn new(backend: &Backend, spec: ConvSpec<'_>) -> Self {
        Self {
            outputs: spec.weight.outputs,
            window: Window { kernel: spec.kernel, stride: spec.stride, padding: spec.padding },
            layer: match &backend.kind {
                Kind::Cpu(cpu) => Layer::Cpu(cpu.clone(), cpu::ConvLayer::new(cpu, spec)),
                Kind::Device(device) => Layer::Device(device::ConvLayer::new(device, spec)),
            },
            backend: backend.clone(),
        }
    }

    /// `activation(conv(input) + bias + residual)`.
    #[must_use]
    pub fn forward(&self, input: &Maps, residual: Option<&Maps>) -> Maps {
        let [height, width] = self.window.places(input);
        let count = input.images * height * width;
        let data = match &self.layer {
            Layer::Cpu(cpu, layer) => {
                let mut output = Buffer::unfilled(count * self.outputs);
                let residual = residual.map(|maps| maps.rows.data.as_slice());
                layer.forward(cpu, input, [height, width], residual, output.as_mut_slice());
                output.into()
            }
            Layer::Device(layer) => layer.forward(input, residual).into(),
        };
        let rows = Rows { count, width: self.outputs, data, backend: self.backend.clone() };
        Maps { rows, images: input.images, height, width }
    }
}

impl Maps {
    /// Largest value in each `kernel × kernel` window; outside the map counts as minus infinity.
    #[must_use]
    pub fn max_pool(&self, kernel: usize, stride: usize, padding: usize) -> Maps {
        let window = Window { kernel, stride, padding };
        let [height, width] = window.places(self);
        let channels = self.rows.width;
        let count = self.images * height * width;
        let backend = &self.rows.backend;
        let data = match &backend.kind {
            Kind::Cpu(cpu) => {
                let mut output = Buffer::unfilled(count * channels);
                cpu::max_pool(cpu, self, [height, width], [kernel, stride, padding], output.as_mut_slice());
                output.into()
            }
            Kind::Device(_) => device::max_pool(self, window).into(),
        };
        let rows = Rows { count, width: channels, data, backend: backend.clone() };
        Maps { rows, images: self.images, height, width }
    }
}
