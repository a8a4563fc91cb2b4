//! Every operation by its definition, in f32, on one thread: what the kernels are tested against.

use super::{Cpu, DenseLayer};
use crate::compute::{
    Activation, Attention, Columns, ConvSpec, DenseSpec, KeysValues, Maps, Norm, NormKind, Sight,
};

fn activate(activation: Activation, x: f32) -> f32 {
    match activation {
        Activation::None | Activation::SiluGated => x,
        Activation::Relu => x.max(0.0),
        Activation::GeluTanh => 0.5 * x * (1.0 + (0.797_884_6 * (x + 0.044_715 * x * x * x)).tanh()),
        Activation::Silu => x / (1.0 + (-x).exp()),
    }
}

/// Normalises each run of `scale.len()` values in place.
pub(crate) fn norm(weights: &Norm, values: &mut [f32]) {
    let width = weights.scale.len();
    for row in values.chunks_exact_mut(width) {
        let n = width as f32;
        let mean = match weights.kind {
            NormKind::Layer => row.iter().sum::<f32>() / n,
            NormKind::Rms => 0.0,
        };
        let square = row.iter().map(|x| (x - mean) * (x - mean)).sum::<f32>() / n;
        let factor = 1.0 / (square + weights.epsilon).sqrt();
        for (at, x) in row.iter_mut().enumerate() {
            *x = (*x - mean) * factor * weights.scale[at] + weights.shift.get(at).copied().unwrap_or(0.0);
        }
    }
}

pub(crate) fn attention(
    _cpu: &Cpu,
    shape: &Attention,
    queries: Columns<'_>,
    segments: &[KeysValues<'_>],
    sequences: usize,
    sight: Sight,
    output: &mut [f32],
) {
    let dim = shape.head_dim;
    let scale = 1.0 / (dim as f32).sqrt();
    let group = shape.heads / shape.kv_heads;
    let per_query = queries.rows.count / sequences;
    let head = |band: Columns<'_>, row: usize, head: usize| -> Vec<f32> {
        let from = row * band.rows.width + band.from + head * dim;
        band.rows.data.as_slice()[from..from + dim].to_vec()
    };
    for row in 0..queries.rows.count {
        let (sequence, query) = (row / per_query, row % per_query);
        for h in 0..shape.heads {
            let q = head(queries, row, h);
            let (mut scores, mut values) = (Vec::new(), Vec::new());
            for segment in segments {
                let count = segment.keys.rows.count / sequences;
                for key in sequence * count..(sequence + 1) * count {
                    let k = head(segment.keys, key, h / group);
                    scores.push(q.iter().zip(&k).map(|(a, b)| a * b).sum::<f32>() * scale);
                    values.push(head(segment.values, key, h / group));
                }
            }
            let seen = match sight {
                Sight::All => scores.len(),
                Sight::Causal { before } => before + query + 1,
                Sight::LastHidden => scores.len() - usize::from(query + 1 < per_query),
            };
            let top = scores[..seen].iter().copied().fold(f32::NEG_INFINITY, f32::max);
            let weights: Vec<f32> = scores[..seen].iter().map(|score| (score - top).exp()).collect();
            let total: f32 = weights.iter().sum();
            for i in 0..dim {
                let sum: f32 = weights.iter().zip(&values).map(|(weight, value)| weight * value[i]).sum();
                output[(row * shape.heads + h) * dim + i] = sum / total;
            }
        }
    }
}

#[derive(Debug)]
pub(crate) struct ConvLayer {
    dense: DenseLayer,
    kernel: usize,
    stride: usize,
    padding: usize,
    activation: Activation,
}

impl ConvLayer {
    pub(crate) fn new(cpu: &Cpu, spec: ConvSpec<'_>) -> Self {
        let dense = DenseSpec { bias: spec.bias, ..DenseSpec::new(spec.weight, spec.precision) };
        Self {
            dense: DenseLayer::new(cpu, dense),
            kernel: spec.kernel,
            stride: spec.stride,
            padding: spec.padding,
            activation: spec.activation,
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
        let channels = input.rows.width;
        let mut patch = vec![0.0; self.kernel * self.kernel * channels];
        for (at, out) in output.chunks_exact_mut(self.dense.outputs()).enumerate() {
            let (image, y, x) = (at / (height * width), at / width % height, at % width);
            patch.fill(0.0);
            for (tap, to) in patch.chunks_exact_mut(channels).enumerate() {
                let row = y * self.stride + tap / self.kernel;
                let column = x * self.stride + tap % self.kernel;
                let inside = |at: usize, len: usize| at >= self.padding && at - self.padding < len;
                if inside(row, input.height) && inside(column, input.width) {
                    let pixel =
                        (image * input.height + row - self.padding) * input.width + column - self.padding;
                    to.copy_from_slice(&input.rows.data.as_slice()[pixel * channels..(pixel + 1) * channels]);
                }
            }
            let residual = residual.map(|all| &all[at * out.len()..(at + 1) * out.len()]);
            self.dense.forward(cpu, &patch, 1, residual, out);
            out.iter_mut().for_each(|value| *value = activate(self.activation, *value));
        }
    }
}

pub(crate) fn max_pool(
    _cpu: &Cpu,
    input: &Maps,
    [height, width]: [usize; 2],
    [kernel, stride, padding]: [usize; 3],
    output: &mut [f32],
) {
    let channels = input.rows.width;
    for (at, out) in output.chunks_exact_mut(channels).enumerate() {
        let (image, y, x) = (at / (height * width), at / width % height, at % width);
        out.fill(f32::NEG_INFINITY);
        for tap in 0..kernel * kernel {
            let (row, column) = (y * stride + tap / kernel, x * stride + tap % kernel);
            if row < padding
                || column < padding
                || row - padding >= input.height
                || column - padding >= input.width
            {
                continue;
            }
            let pixel = (image * input.height + row - padding) * input.width + column - padding;
            let values = &input.rows.data.as_slice()[pixel * channels..(pixel + 1) * channels];
            out.iter_mut().zip(values).for_each(|(top, value)| *top = top.max(*value));
        }
    }
}
