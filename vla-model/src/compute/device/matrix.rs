//! A matrix of weights on a device: floats, or integers that the product reads as they are.

use burn::tensor::quantization::{QuantScheme, QuantStore, QuantValue, ScaleDtype};
use burn::tensor::{Bytes, DType, Device, FloatDType, Tensor, TensorData};

use super::TensorDevice;
use crate::compute::weight::{INT4_BLOCK, WeightValues};
use crate::compute::{Precision, Weight};

/// `[inputs, outputs]`.
#[derive(Debug)]
pub(super) enum Matrix {
    /// f32.
    Float(Tensor<2>),
    /// bf16, f32 again in each product.
    Bf16(Tensor<2>),
    /// int8, and the scale of each output, `[1, outputs]`.
    Int8(Tensor<2>, Tensor<2>),
    /// int4 with the scales of its blocks.
    Int4(Tensor<2>),
}

impl Matrix {
    /// `weight` in the numbers of `precision`, or in f32 where the device has none of these.
    pub(super) fn new(device: &TensorDevice, weight: Weight<'_>, precision: Precision) -> Self {
        let weight = match device.fallback(precision) {
            None => weight.quantised(precision),
            Some(_) => weight,
        };
        let (outputs, inputs) = (weight.outputs, weight.inputs);
        match &weight.values {
            WeightValues::Int8 { values, scales } if packs(device, Precision::Int8, inputs) => {
                let bytes = values.iter().map(|value| value.cast_unsigned()).collect();
                let one = [1.0];
                Self::Int8(
                    integers(&device.device, [outputs, inputs], int8(), bytes, &one),
                    device.upload(scales, [1, outputs]),
                )
            }
            WeightValues::Int4 { packed, scales } if packs(device, Precision::Int4, inputs) => {
                // Two's complement instead of a surplus of eight.
                let bytes = packed.iter().map(|pair| pair ^ 0x88).collect();
                Self::Int4(integers(&device.device, [outputs, inputs], int4(), bytes, scales))
            }
            _ => {
                let floats = device.upload(&weight.to_floats(), [outputs, inputs]).transpose();
                match precision {
                    Precision::Bf16 if device.fallback(precision).is_none() => {
                        Self::Bf16(floats.cast(FloatDType::BF16))
                    }
                    _ => Self::Float(floats),
                }
            }
        }
    }

    /// `input · self`, `[count, inputs]` to `[count, outputs]`.
    pub(super) fn product(&self, input: Tensor<2>) -> Tensor<2> {
        match self {
            Self::Float(weight) | Self::Int4(weight) => input.matmul(weight.clone()),
            Self::Bf16(weight) => input.matmul(weight.clone().cast(FloatDType::F32)),
            Self::Int8(weight, scales) => input.matmul(weight.clone()) * scales.clone(),
        }
    }
}

/// int8 with one scale, which is one: an output's own scale multiplies its sums.
fn int8() -> QuantScheme {
    QuantScheme::default()
        .with_value(QuantValue::Q8S)
        .with_store(QuantStore::PackedU32(0))
        .per_tensor(ScaleDtype::F32)
}

/// int4 with a scale for each block of inputs.
fn int4() -> QuantScheme {
    QuantScheme::default()
        .with_value(QuantValue::Q4S)
        .with_store(QuantStore::PackedU32(0))
        .per_block([1, INT4_BLOCK as u8], ScaleDtype::F32)
}

/// `shape` is `[outputs, inputs]`; `bytes` are the integers, `scales` follow them.
fn integers(
    device: &Device,
    shape: [usize; 2],
    scheme: QuantScheme,
    mut bytes: Vec<u8>,
    scales: &[f32],
) -> Tensor<2> {
    bytes.extend(scales.iter().flat_map(|scale| scale.to_le_bytes()));
    let data = TensorData::from_bytes(Bytes::from_bytes_vec(bytes), shape, DType::QFloat(scheme));
    Tensor::<2>::from_data(data, device).transpose()
}

/// Whether the device multiplies such integers, and rows of them fill whole words.
fn packs(device: &TensorDevice, precision: Precision, inputs: usize) -> bool {
    let per_word = if precision == Precision::Int4 { 8 } else { 4 };
    device.fallback(precision).is_none() && inputs.is_multiple_of(per_word)
}

/// Why `device` computes in f32 what is asked for in `precision`; none where it does as asked.
pub(super) fn fallback(device: &Device, precision: Precision) -> Option<String> {
    let dtype = match precision {
        Precision::F32 => return None,
        Precision::Bf16 => DType::BF16,
        Precision::Int8 => DType::QFloat(int8()),
        Precision::Int4 => DType::QFloat(int4()),
    };
    if precision != Precision::Bf16 && *device == Device::flex() {
        return Some(
            "burn's CPU backend multiplies no integers, it turns them to floats each time".to_owned(),
        );
    }
    (!device.supports_dtype(dtype)).then(|| format!("the device has no arithmetic in {dtype:?}"))
}
