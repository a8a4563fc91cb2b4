//! A matrix of weights, as a file holds it.

use std::borrow::Cow;
use std::ops::Range;

use super::Precision;

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

    /// Rows `range` of the matrix, borrowed.
    #[must_use]
    pub fn rows(&self, range: Range<usize>) -> Weight<'_> {
        let part = |per_row: usize| range.start * per_row..range.end * per_row;
        let values = match &self.values {
            WeightValues::Float(values) => WeightValues::Float(Cow::Borrowed(&values[part(self.inputs)])),
            WeightValues::Int8 { values, scales } => WeightValues::Int8 {
                values: Cow::Borrowed(&values[part(self.inputs)]),
                scales: Cow::Borrowed(&scales[range.clone()]),
            },
            WeightValues::Int4 { packed, scales } => WeightValues::Int4 {
                packed: Cow::Borrowed(&packed[part(self.inputs / 2)]),
                scales: Cow::Borrowed(&scales[part(self.inputs / INT4_BLOCK)]),
            },
        };
        Weight { outputs: range.len(), inputs: self.inputs, values }
    }

    /// The matrices one below the other, as one: the fused form of layers with the same inputs. Where
    /// their forms differ, all become floats.
    ///
    /// # Panics
    /// When there are none, or their inputs differ.
    #[must_use]
    pub fn stack(parts: Vec<Self>) -> Self {
        let inputs = parts.first().map_or(0, |part| part.inputs);
        assert!(
            !parts.is_empty() && parts.iter().all(|part| part.inputs == inputs),
            "matrices of equal inputs"
        );
        let outputs = parts.iter().map(|part| part.outputs).sum();
        let all = |form: fn(&WeightValues<'_>) -> bool| parts.iter().all(|part| form(&part.values));
        let values = if all(|values| matches!(values, WeightValues::Int8 { .. })) {
            let (mut all_values, mut all_scales) = (Vec::new(), Vec::new());
            for part in &parts {
                if let WeightValues::Int8 { values, scales } = &part.values {
                    all_values.extend_from_slice(values);
                    all_scales.extend_from_slice(scales);
                }
            }
            WeightValues::Int8 { values: all_values.into(), scales: all_scales.into() }
        } else if all(|values| matches!(values, WeightValues::Int4 { .. })) {
            let (mut all_packed, mut all_scales) = (Vec::new(), Vec::new());
            for part in &parts {
                if let WeightValues::Int4 { packed, scales } = &part.values {
                    all_packed.extend_from_slice(packed);
                    all_scales.extend_from_slice(scales);
                }
            }
            WeightValues::Int4 { packed: all_packed.into(), scales: all_scales.into() }
        } else {
            let mut all = Vec::with_capacity(outputs * inputs);
            for part in &parts {
                all.extend_from_slice(&part.to_floats());
            }
            WeightValues::Float(all.into())
        };
        Self { outputs, inputs, values }
    }

    /// The matrix times a factor.
    #[must_use]
    pub fn scaled(mut self, factor: f32) -> Self {
        let numbers = match &mut self.values {
            WeightValues::Float(values) => values,
            WeightValues::Int8 { scales, .. } | WeightValues::Int4 { scales, .. } => scales,
        };
        numbers.to_mut().iter_mut().for_each(|number| *number *= factor);
        self
    }

    /// The matrix as floats: `outputs × inputs`, row after row.
    #[must_use]
    pub fn to_floats(&self) -> Cow<'_, [f32]> {
        match &self.values {
            WeightValues::Float(values) => Cow::Borrowed(values),
            WeightValues::Int8 { values, scales } => values
                .chunks(self.inputs.max(1))
                .zip(scales.iter())
                .flat_map(|(row, &scale)| row.iter().map(move |&value| f32::from(value) * scale))
                .collect(),
            WeightValues::Int4 { packed, scales } => packed
                .chunks(INT4_BLOCK / 2)
                .zip(scales.iter())
                .flat_map(|(block, &scale)| {
                    let integers = block.iter().flat_map(|&pair| [pair & 0x0f, pair >> 4]);
                    integers.map(move |value| (f32::from(value) - 8.0) * scale)
                })
                .collect(),
        }
    }

    /// Float values rounded to the integers of `precision`: each output's largest magnitude becomes
    /// ±127 (int8), each block's ±7 (int4; a matrix whose inputs are no multiple of [`INT4_BLOCK`] stays
    /// as it is). Float precisions and integers change nothing.
    #[must_use]
    pub fn quantised(self, precision: Precision) -> Self {
        let WeightValues::Float(floats) = &self.values else { return self };
        let values = match precision {
            Precision::Int8 if self.inputs > 0 => {
                let (values, scales) = round_runs(floats, self.inputs, 127.0);
                WeightValues::Int8 { values: values.into(), scales: scales.into() }
            }
            Precision::Int4 if self.inputs > 0 && self.inputs.is_multiple_of(INT4_BLOCK) => {
                let (values, scales) = round_runs(floats, INT4_BLOCK, 7.0);
                let half = |value: i8| (value + 8).cast_unsigned();
                let packed: Vec<u8> =
                    values.chunks_exact(2).map(|pair| half(pair[0]) | half(pair[1]) << 4).collect();
                WeightValues::Int4 { packed: packed.into(), scales: scales.into() }
            }
            _ => return self,
        };
        Self { values, ..self }
    }
}

/// Integers up to ±`top`, and a scale for each run of `run` values.
fn round_runs(values: &[f32], run: usize, top: f32) -> (Vec<i8>, Vec<f32>) {
    let mut rounded = Vec::with_capacity(values.len());
    let scales = values.chunks(run).map(|values| {
        let scale = values.iter().fold(0.0_f32, |most, value| most.max(value.abs())) / top;
        let step = if scale > 0.0 { scale.recip() } else { 0.0 };
        rounded.extend(values.iter().map(|value| (value * step).round().clamp(-top, top) as i8));
        scale
    });
    let scales = scales.collect();
    (rounded, scales)
}
