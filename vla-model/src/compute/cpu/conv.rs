//! Convolution as a matrix (arXiv 1410.0759): each output pixel's window is a row of the layer's input.
//! Rows are written when the layer asks for them, a band at a time, so the whole matrix never exists. In
//! int8, each window has a scale of its own, from the largest magnitudes of its pixels, which are looked
//! up once.
#![allow(unsafe_code, reason = "a function compiled for an instruction set that was looked up before")]

use std::cell::RefCell;
use std::ops::Range;

#[cfg(target_arch = "x86_64")]
use super::Isa;
use super::dense::DenseLayer;
use super::elementwise::for_rows;
use super::isa::isa_call;
use super::memory::Memory;
use super::prepare::{Source, factor_and_scale, largest, quantise, round};
use super::{Buffer, Cpu};
use crate::compute::{ConvSpec, DenseSpec, Maps};

/// Windows with shorter runs than this are joined before they are looked at, in whole vectors.
const SHORT_RUN: usize = 64;

thread_local! {
    static JOINED: RefCell<Memory> = RefCell::default();
}

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
        let channels = input.rows.width;
        let window = |at: usize| Window {
            maps: input,
            image: at / (height * width),
            y: at / width % height * self.stride,
            x: at % width * self.stride,
            kernel: self.kernel,
            padding: self.padding,
        };
        let short = self.kernel * channels < SHORT_RUN;
        let mut tops = Buffer::unfilled(if self.dense.rounds() && !short { input.rows.count } else { 0 });
        for_rows(cpu, tops.as_mut_slice(), 1, channels, &|first, tops| {
            let pixels = values[first * channels..].chunks_exact(channels);
            tops.iter_mut().zip(pixels).for_each(|(top, pixel)| *top = largest(cpu.isa(), pixel));
        });
        let tops = tops.as_slice();
        let floats = |at: usize, to: &mut [f32]| {
            window(at).runs(|places, run| {
                let to = &mut to[places.start * channels..places.end * channels];
                match run {
                    Some(pixel) => to.copy_from_slice(&values[pixel * channels..][..to.len()]),
                    None => to.fill(0.0),
                }
            });
        };
        let integers = |at: usize, to: &mut [u8], flip: u8| {
            if short {
                return JOINED.with_borrow_mut(|joined| {
                    joined.grow::<f32>(to.len());
                    let joined = &mut joined.as_mut_slice()[..to.len()];
                    floats(at, joined);
                    quantise(cpu.isa(), joined, to, flip)
                });
            }
            // Magnitudes sort as their bits do, NaN above all.
            let mut top = 0;
            window(at).runs(|places, run| {
                let pixels = run.map_or(&[][..], |pixel| &tops[pixel..pixel + places.len()]);
                top = pixels.iter().fold(top, |top: u32, pixel| top.max(pixel.to_bits()));
            });
            let (factor, scale) = factor_and_scale(f32::from_bits(top));
            window(at).runs(|places, run| {
                let to = &mut to[places.start * channels..places.end * channels];
                match run {
                    Some(pixel) => {
                        let values = &values[pixel * channels..][..to.len()];
                        round(cpu.isa(), values, factor, to, flip);
                    }
                    None => to.fill(flip),
                }
            });
            scale
        };
        let source = Source::Fill { floats: &floats, integers: &integers };
        self.dense.forward_from(cpu, source, count, residual, output);
    }
}

/// A window on a map with zeros around it; its upper left corner is at `(y, x)` of the padded map.
struct Window<'a> {
    maps: &'a Maps,
    image: usize,
    y: usize,
    x: usize,
    kernel: usize,
    padding: usize,
}

impl Window<'_> {
    /// The window's places in order, in runs: neighbouring pixels of the map, of which the first is named,
    /// or places off the map.
    fn runs(&self, mut run: impl FnMut(Range<usize>, Option<usize>)) {
        let [left, right] = [self.padding, self.maps.width + self.padding]
            .map(|edge| edge.saturating_sub(self.x).min(self.kernel));
        for row in 0..self.kernel {
            let start = row * self.kernel;
            let y = (self.y + row).checked_sub(self.padding).filter(|y| *y < self.maps.height);
            let Some(y) = y.filter(|_| left < right) else {
                run(start..start + self.kernel, None);
                continue;
            };
            if left > 0 {
                run(start..start + left, None);
            }
            let pixel = (self.image * self.maps.height + y) * self.maps.width;
            run(start + left..start + right, Some(pixel + self.x + left - self.padding));
            if right < self.kernel {
                run(start + right..start + self.kernel, None);
            }
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
    for_rows(cpu, output, channels, channels * kernel * kernel, &|first, rows| {
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

#[cfg(test)]
mod tests;
