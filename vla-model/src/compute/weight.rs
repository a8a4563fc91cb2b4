//! A matrix of weights, as a file holds it.

use std::borrow::Cow;

/// Values of one int4 block, along the inputs.
pub const INT4_BLOCK: usize = 32;

/// A `[outputs, inputs]` matrix, row after row, as PyTorch's `Linear` stores it.
#[derive(Clone, Debug)]
pub struct Weight<'a> {
    /// Rows of the matrix.
    pub outputs: usize,
    /// Columns of the matrix.
    pub inputs: usize,
    /// The numbers.
    pub values: WeightValues<'a>,
}

/// The numbers of a matrix.
#[derive(Clone, Debug)]
pub enum WeightValues<'a> {
    /// `outputs × inputs` floats.
    Float(Cow<'a, [f32]>),
    /// `outputs × inputs` integers in -127..=127 with one scale for each output.
    Int8 {
        /// The integers.
        values: Cow<'a, [i8]>,
        /// `outputs` scales; weight = integer × scale.
        scales: Cow<'a, [f32]>,
    },
    /// Integers in -7..=7 (stored plus 8), two to a byte (the even input in the low half), with one
    /// scale for each block of [`INT4_BLOCK`] inputs. `inputs` is a multiple of the block.
    Int4 {
        /// `outputs × inputs / 2` bytes.
        packed: Cow<'a, [u8]>,
        /// `outputs × inputs / 32` scales.
        scales: Cow<'a, [f32]>,
    },
}

impl<'a> Weight<'a> {
    /// A matrix of floats.
    #[must_use]
    pub fn float(outputs: usize, inputs: usize, values: impl Into<Cow<'a, [f32]>>) -> Self {
        Self { outputs, inputs, values: WeightValues::Float(values.into()) }
    }

    /// The matrix as floats, borrowed where it is such.
    #[must_use]
    pub fn to_floats(&self) -> Cow<'_, [f32]> {
        match &self.values {
            WeightValues::Float(values) => Cow::Borrowed(values),
            WeightValues::Int8 { values, scales } => {
                let scale = |at: usize| scales[at / self.inputs];
                values.iter().enumerate().map(|(at, value)| f32::from(*value) * scale(at)).collect()
            }
            WeightValues::Int4 { packed, scales } => (0..self.outputs * self.inputs)
                .map(|at| {
                    let half = packed[at / 2] >> (4 * (at % 2)) & 15;
                    (f32::from(half) - 8.0) * scales[at / INT4_BLOCK]
                })
                .collect(),
        }
    }
}
