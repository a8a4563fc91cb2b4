//! The operations on burn's tensors: on a GPU through wgpu, or on burn's own CPU backend in tests.
//!
//! Nothing here waits for the device but [`download`].

mod attention;
mod conv;
mod dense;
mod matrix;
mod norm;
mod rope;

use burn::tensor::{Device, Int, Tensor, TensorData};

pub(crate) use attention::attention;
pub(crate) use conv::{ConvLayer, max_pool};
pub(crate) use dense::DenseLayer;
pub(crate) use norm::NormLayer;
pub(crate) use rope::RopeTable;

use super::{ComputeError, Precision};

/// A device that holds tensors.
#[derive(Clone, Debug)]
pub(crate) struct TensorDevice {
    device: Device,
    description: String,
    masks: attention::Masks,
    /// Why no matrix of integers is kept here; none where burn's products of them work.
    no_integers: Option<&'static str>,
}

impl TensorDevice {
    pub(crate) fn new(device: &Device, description: &str) -> Self {
        Self {
            device: device.clone(),
            description: description.to_owned(),
            masks: attention::Masks::default(),
            no_integers: None,
        }
    }

    /// The same device, with all integers turned to f32 for the reason given.
    pub(crate) fn without_integers(self, reason: &'static str) -> Self {
        Self { no_integers: Some(reason), ..self }
    }

    pub(crate) fn description(&self) -> &str {
        &self.description
    }

    /// See [`super::Backend::fallback`].
    pub(crate) fn fallback(&self, precision: Precision) -> Option<String> {
        match (precision, self.no_integers) {
            (Precision::Int8 | Precision::Int4, Some(reason)) => Some(reason.to_owned()),
            _ => matrix::fallback(&self.device, precision),
        }
    }

    pub(crate) fn upload<const D: usize>(&self, values: &[f32], shape: [usize; D]) -> Tensor<D> {
        Tensor::from_data(TensorData::new(values.to_vec(), shape), &self.device)
    }
}

/// Waits for a tensor and gives its values.
pub(crate) fn download(tensor: Tensor<2>) -> Result<Vec<f32>, ComputeError> {
    let data = tensor.try_into_data().map_err(|error| ComputeError { reason: format!("{error:?}") })?;
    data.try_into_vec().map_err(|error| ComputeError { reason: format!("{error:?}") })
}

/// The rows that `indices` name, below each other.
pub(crate) fn gather(rows: Tensor<2>, indices: &[u32]) -> Tensor<2> {
    let device = rows.device();
    // Row numbers stay far below 2³¹: so many rows would not fit a device.
    let indices: Vec<i32> = indices.iter().map(|index| *index as i32).collect();
    let count = indices.len();
    rows.select(0, Tensor::<1, Int>::from_data(TensorData::new(indices, [count]), &device))
}

/// `rows` plus `other`, again and again.
pub(crate) fn add_repeated(rows: Tensor<2>, other: Tensor<2>) -> Tensor<2> {
    let [count, width] = rows.dims();
    let [period, _] = other.dims();
    (rows.reshape([count / period, period, width]) + other.unsqueeze()).reshape([count, width])
}
