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
}

/// Rounds a block of at most [`INT4_BLOCK`] values to integers in -7..=7, plus 8, and returns their scale:
/// the largest magnitude divided by 7. Ties to even. A block with NaN or infinity has scale NaN.
pub(crate) fn int4_block(values: &[f32], to: &mut [u8]) -> f32 {
    // As bits, magnitudes sort as integers do, and NaN comes out on top.
    let top = values.iter().map(|value| value.abs().to_bits()).max().map_or(0.0, f32::from_bits);
    if !top.is_finite() || top < 1e-30 {
        to.fill(8);
        return if top.is_finite() { 0.0 } else { f32::NAN };
    }
    let factor = 7.0 / top;
    for (to, value) in to.iter_mut().zip(values) {
        *to = ((value * factor).round_ties_even() + 8.0) as u8;
    }
    top / 7.0
}
