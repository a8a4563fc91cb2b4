//! Convolution as a matrix (arXiv 1410.0759): each output pixel's window is a row of the layer's input.
//! Rows are written when the layer asks for them, a band at a time, so the whole matrix never exists; in
//! int8, each window has a scale of its own.
#![allow(unsafe_code, reason = "a function compiled for an instruction set that was looked up before")]

use super::dense::DenseLayer;
use super::elementwise::for_rows;
use super::isa::isa_call;
use super::prepare::Source;
use super::{Cpu, Isa};
use crate::compute::{ConvSpec, DenseSpec, Maps};

#[derive(Debug)]
pub(crate) struct ConvLayer {
    dense: DenseLayer,
    kernel: usize,
    stride: usize,
    padding: usize,
}

impl ConvLayer {
    pub(crate) fn new(cpu: &Cpu, spec: ConvSpec<'_>) -> Self {
        let dense = DenseSpec {
            bias: spec.bias,
            activation: spec.activation,
            ..DenseSpec::new(spec.weight, spec.precision)
        };
        Self {
            dense: DenseLayer::new(cpu, dense).residual_first(),
            kernel: spec.kernel,
            stride: spec.stride,
            padding: spec.padding,
        }
    }

    pub(crate) fn forward(
        &self,
        cpu: &Cpu,
        input: &Maps,
        [height, width]: [usize; 2],
        residual: Option<&[f32]>,
        output: &mut [f32],
    ) {
        let values = input.rows.data.as_slice();
        let count = input.images * height * width;
        if (self.kernel, self.stride, self.padding) == (1, 1, 0) {
            return self.dense.forward(cpu, values, count, residual, output);
        }
        let fill = |at: usize, to: &mut [f32]| {
            let (image, y, x) = (at / (height * width), at / width % height, at % width);
            self.window(input, values, [image, y * self.stride, x * self.stride], to);
        };
        self.dense.forward_from(cpu, Source::Fill(&fill), count, residual, output);
    }

    /// Copies the window at `[image, y, x]` of the padded map, a run of pixels for each row of the kernel.
    fn window(&self, input: &Maps, values: &[f32], [image, y, x]: [usize; 3], to: &mut [f32]) {
        let channels = input.rows.width;
        // Columns of the window that lie on the map.
        let first = self.padding.saturating_sub(x).min(self.kernel);
        let last = (input.width + self.padding).saturating_sub(x).clamp(first, self.kernel);
        for (row, to) in (y..).zip(to.chunks_exact_mut(self.kernel * channels)) {
            let Some(row) = row.checked_sub(self.padding).filter(|row| *row < input.height && first < last)
            else {
                to.fill(0.0);
                continue;
            };
            let pixel = (image * input.height + row) * input.width + x + first - self.padding;
            let run = &values[pixel * channels..][..(last - first) * channels];
            to[..first * channels].fill(0.0);
            to[first * channels..last * channels].copy_from_slice(run);
            to[last * channels..].fill(0.0);
        }
    }
}

/// The largest of each window, NaN if one is there.
pub(crate) fn max_pool(
    cpu: &Cpu,
    input: &Maps,
    [height, width]: [usize; 2],
    [kernel, stride, padding]: [usize; 3],
    output: &mut [f32],
) {
    let channels = input.rows.width;
    for_rows(cpu, output, channels, &|first, rows| {
        for (at, out) in (first..).zip(rows.chunks_exact_mut(channels)) {
            let (image, y, x) = (at / (height * width), at / width % height, at % width);
            out.fill(f32::NEG_INFINITY);
            let inside = |at: usize, len: usize| {
                (at * stride..at * stride + kernel)
                    .filter_map(move |at| at.checked_sub(padding).filter(|at| *at < len))
            };
            for row in inside(y, input.height) {
                for column in inside(x, input.width) {
                    let pixel = (image * input.height + row) * input.width + column;
                    let values = &input.rows.data.as_slice()[pixel * channels..][..channels];
                    isa_call!(cpu.isa(), raise(out: &mut [f32], values: &[f32]) -> ());
                }
            }
        }
    });
}

#[inline(always)]
fn raise(tops: &mut [f32], values: &[f32]) {
    for (top, value) in tops.iter_mut().zip(values) {
        *top = if *value > *top || value.is_nan() { *value } else { *top };
    }
}
