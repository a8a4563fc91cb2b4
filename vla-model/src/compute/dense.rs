//! The layer: `activation(norm(x) · Wᵀ + bias) + residual`, in one pass over the data.

use super::cpu::{self, Buffer};
use super::{Backend, Kind, Norm, Rows, Weight, device};

/// In which numbers a layer keeps its weights and multiplies.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Precision {
    /// f32 weights, f32 products.
    #[default]
    F32,
    /// bf16 weights, f32 products.
    Bf16,
    /// int8 weights with a scale for each output, int8 activations with a scale for each row, exact
    /// integer sums.
    Int8,
    /// int4 weights with a scale for each block of 32 inputs, int8 activations with a scale for each row.
    /// A matrix whose inputs are no multiple of 32 is kept as int8.
    Int4,
}

impl Precision {
    /// Its name in reports and options.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::Bf16 => "bf16",
            Self::Int8 => "int8",
            Self::Int4 => "int4",
        }
    }
}

/// What is done to each sum.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Activation {
    /// Nothing.
    #[default]
    None,
    /// Negative values become zero.
    Relu,
    /// `x/2 · (1 + tanh(√(2/π)(x + 0.044715x³)))` (arXiv 1606.08415).
    GeluTanh,
    /// `x / (1 + e⁻ˣ)`.
    Silu,
    /// The matrix has the gate's rows, then the values': `silu(gate) · value`, half as wide
    /// (arXiv 2002.05202).
    SiluGated,
}

/// What a layer is made of.
#[derive(Debug)]
pub struct DenseSpec<'a> {
    /// The matrix.
    pub weight: Weight<'a>,
    /// One summand for each output, or none.
    pub bias: Option<Vec<f32>>,
    /// Applied to each input row first.
    pub norm: Option<Norm>,
    /// Applied to each sum.
    pub activation: Activation,
    /// Into which numbers float weights are turned; quantised weights stay as they are.
    pub precision: Precision,
}

impl<'a> DenseSpec<'a> {
    /// A bare matrix.
    #[must_use]
    pub fn new(weight: Weight<'a>, precision: Precision) -> Self {
        Self { weight, bias: None, norm: None, activation: Activation::None, precision }
    }
}

/// A layer, ready on its backend.
#[derive(Debug)]
pub struct Dense {
    inputs: usize,
    outputs: usize,
    layer: Layer,
    backend: Backend,
}

#[derive(Debug)]
enum Layer {
    Cpu(cpu::Cpu, cpu::DenseLayer),
    Device(device::DenseLayer),
}

impl Dense {
    /// Packs the weights for the backend's kernels.
    #[must_use]
    pub fn new(backend: &Backend, spec: DenseSpec<'_>) -> Self {
        let halves = if spec.activation == Activation::SiluGated { 2 } else { 1 };
        Self {
            inputs: spec.weight.inputs,
            outputs: spec.weight.outputs / halves,
            layer: match &backend.kind {
                Kind::Cpu(cpu) => Layer::Cpu(cpu.clone(), cpu::DenseLayer::new(cpu, spec)),
                Kind::Device(device) => Layer::Device(device::DenseLayer::new(device, spec)),
            },
            backend: backend.clone(),
        }
    }

    /// Values in an input row.
    #[must_use]
    pub fn inputs(&self) -> usize {
        self.inputs
    }

    /// Values in an output row.
    #[must_use]
    pub fn outputs(&self) -> usize {
        self.outputs
    }

    /// `input` `[rows, inputs]` to `[rows, outputs]`. `2 · rows · inputs · outputs` operations (twice
    /// that for a gated layer).
    #[must_use]
    pub fn forward(&self, input: &Rows) -> Rows {
        self.run(input, None)
    }

    /// As [`Dense::forward`], plus `residual` `[rows, outputs]`.
    #[must_use]
    pub fn forward_plus(&self, input: &Rows, residual: &Rows) -> Rows {
        self.run(input, Some(residual))
    }

    fn run(&self, input: &Rows, residual: Option<&Rows>) -> Rows {
        assert_eq!(input.width, self.inputs);
        let data = match &self.layer {
            Layer::Cpu(cpu, layer) => {
                let mut output = Buffer::unfilled(input.count * self.outputs);
                let residual = residual.map(|rows| rows.data.as_slice());
                layer.forward(cpu, input.data.as_slice(), input.count, residual, output.as_mut_slice());
                output.into()
            }
            Layer::Device(layer) => {
                layer.forward(input.data.tensor(), residual.map(|rows| rows.data.tensor())).into()
            }
        };
        Rows { count: input.count, width: self.outputs, data, backend: self.backend.clone() }
    }
}
