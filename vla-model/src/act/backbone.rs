//! The image backbone: a residual network of basic blocks (ResNet-18, arXiv 1512.03385) up to its last
//! feature map, its frozen norms folded into the convolutions.

use crate::checkpoint::{CheckpointError, Tensors};
use crate::compute::weight::WeightValues;
use crate::compute::{Activation, Backend, Conv2d, ConvSpec, Maps, Precision, Weight};

const NORM_EPSILON: f32 = 1e-5;
const COLOURS: usize = 3;
const STAGES: usize = 4;

/// Kernel edge and stride of a convolution; the padding keeps `ceil(pixels / stride)` of them.
type Window = [usize; 2];
const STEM: Window = [7, 2];

#[derive(Debug)]
pub(super) struct Backbone {
    stem: Conv2d,
    blocks: Vec<Block>,
    channels: usize,
    work: Vec<Work>,
}

/// `relu(second(first(x)) + shortcut(x))`, where `first` ends in a ReLU.
#[derive(Debug)]
struct Block {
    first: Conv2d,
    second: Conv2d,
    shortcut: Option<Conv2d>,
}

/// Floating-point operations of one convolution for each pixel that it gives.
#[derive(Debug)]
struct Work {
    /// Pixels of the image to one of its own, along an edge.
    stride: usize,
    flops: u64,
}

impl Backbone {
    /// Sizes are read off the tensors. `stem_precision` is for the first convolution.
    pub(super) fn load(
        tensors: &Tensors,
        backend: &Backend,
        stem_precision: Precision,
        precision: Precision,
    ) -> Result<Self, CheckpointError> {
        let mut loader = Loader { tensors, backend, work: Vec::new() };
        let (stem, mut channels) =
            loader.convolution(["conv1", "bn1"], STEM, COLOURS, 2, Activation::Relu, stem_precision)?;
        let mut blocks = Vec::new();
        let mut scale = 4;
        for stage in 1..=STAGES {
            let mut index = 0;
            while index == 0 || tensors.contains(&format!("model.backbone.layer{stage}.{index}.conv1.weight"))
            {
                let stride = if stage > 1 && index == 0 { 2 } else { 1 };
                scale *= stride;
                let name = format!("layer{stage}.{index}");
                let part = |part: &str| format!("{name}.{part}");
                let mut convolution = |names: [&str; 2], window, inputs, activation| {
                    let names = names.map(part);
                    let names = [names[0].as_str(), names[1].as_str()];
                    loader.convolution(names, window, inputs, scale, activation, precision)
                };
                let (first, inner) = convolution(["conv1", "bn1"], [3, stride], channels, Activation::Relu)?;
                let (second, outputs) = convolution(["conv2", "bn2"], [3, 1], inner, Activation::Relu)?;
                let shortcut = if stride == 1 && outputs == channels {
                    None
                } else {
                    let names = ["downsample.0", "downsample.1"];
                    Some(convolution(names, [1, stride], channels, Activation::None)?.0)
                };
                blocks.push(Block { first, second, shortcut });
                channels = outputs;
                index += 1;
            }
        }
        Ok(Self { stem, blocks, channels, work: loader.work })
    }

    /// Channels of the feature map.
    pub(super) fn channels(&self) -> usize {
        self.channels
    }

    /// Height and width of the feature map of an image.
    pub(super) fn map_size(size: [usize; 2]) -> [usize; 2] {
        size.map(|pixels| pixels.div_ceil(4 << (STAGES - 1)))
    }

    /// Floating-point flops for an image, a multiply-add counting as two.
    pub(super) fn flops(&self, [height, width]: [usize; 2]) -> u64 {
        let each =
            |work: &Work| work.flops * (height.div_ceil(work.stride) * width.div_ceil(work.stride)) as u64;
        self.work.iter().map(each).sum()
    }

    /// Images to feature maps.
    pub(super) fn forward(&self, images: &Maps) -> Maps {
        let mut x = self.stem.forward(images, None).max_pool(3, 2, 1);
        for block in &self.blocks {
            let inner = block.first.forward(&x, None);
            x = match &block.shortcut {
                Some(shortcut) => block.second.forward(&inner, Some(&shortcut.forward(&x, None))),
                None => block.second.forward(&inner, Some(&x)),
            };
        }
        x
    }
}

struct Loader<'a> {
    tensors: &'a Tensors,
    backend: &'a Backend,
    work: Vec<Work>,
}

impl Loader<'_> {
    /// A convolution with the norm after it, and its number of outputs. `scale` is how many pixels of the
    /// image become one of the output, along an edge.
    fn convolution(
        &mut self,
        [convolution, norm]: [&str; 2],
        [kernel, stride]: Window,
        inputs: usize,
        scale: usize,
        activation: Activation,
        precision: Precision,
    ) -> Result<(Conv2d, usize), CheckpointError> {
        let name = format!("model.backbone.{convolution}.weight");
        let taps = kernel * kernel;
        let shape = self.tensors.shape(&name);
        let outputs = shape
            .and_then(|shape| shape.first().copied())
            .ok_or_else(|| CheckpointError::MissingTensor { name: name.clone() })?;
        let weight = self.tensors.weight(&name, outputs, inputs * taps)?;

        let part = |part| self.tensors.vector(&format!("model.backbone.{norm}.{part}"), outputs);
        let variance = part("running_var")?;
        if let Some(index) = variance.iter().position(|value| *value < 0.0) {
            return Err(CheckpointError::Value {
                name: format!("model.backbone.{norm}.running_var"),
                index,
                expected: "variances of at least 0",
                actual: variance[index].to_string(),
            });
        }
        let root = |(scale, variance): (f32, &f32)| scale / (variance + NORM_EPSILON).sqrt();
        let factors: Vec<f32> = part("weight")?.into_iter().zip(&variance).map(root).collect();
        let means = part("running_mean")?;
        let bias = part("bias")?.into_iter().zip(means.iter().zip(&factors));

        self.work.push(Work { stride: scale, flops: 2 * (outputs * inputs * taps) as u64 });
        let spec = ConvSpec {
            weight: folded(&name, &weight, taps, &factors)?,
            bias: Some(bias.map(|(bias, (mean, factor))| bias - mean * factor).collect()),
            kernel,
            stride,
            padding: kernel / 2,
            activation,
            precision,
        };
        Ok((Conv2d::new(self.backend, spec), outputs))
    }
}

/// PyTorch's `[outputs, channels, taps]` as `[outputs, taps, channels]`, each output times its factor.
fn folded(
    name: &str,
    weight: &Weight<'_>,
    taps: usize,
    factors: &[f32],
) -> Result<Weight<'static>, CheckpointError> {
    let channels = weight.inputs / taps;
    let from = |to: usize| to % channels * taps + to / channels;
    let values = match &weight.values {
        WeightValues::Float(values) => {
            let rows = values.chunks_exact(weight.inputs).zip(factors);
            let row = |(row, factor): (&[f32], &f32)| -> Vec<f32> {
                (0..row.len()).map(|to| row[from(to)] * factor).collect()
            };
            WeightValues::Float(rows.flat_map(row).collect())
        }
        WeightValues::Int8 { values, scales } => {
            // A scale is never negative.
            let rows = values.chunks_exact(weight.inputs).zip(factors);
            let row = |(row, factor): (&[i8], &f32)| -> Vec<i8> {
                let sign = if *factor < 0.0 { -1 } else { 1 };
                (0..row.len()).map(|to| row[from(to)] * sign).collect()
            };
            WeightValues::Int8 {
                values: rows.flat_map(row).collect(),
                scales: scales.iter().zip(factors).map(|(scale, factor)| scale * factor.abs()).collect(),
            }
        }
        WeightValues::Int4 { .. } => {
            return Err(CheckpointError::Dtype {
                name: name.to_owned(),
                expected: "floats or int8 in a convolution",
                actual: "int4".to_owned(),
            });
        }
    };
    Ok(Weight { outputs: weight.outputs, inputs: weight.inputs, values })
}
