//! The intermediate results of a model, by name, and how far they are from recorded ones.

use std::collections::BTreeMap;
use std::path::Path;

use safetensors::{Dtype, SafeTensors};

use crate::checkpoint::CheckpointError;
use crate::compute::{ComputeError, Rows};

/// Named tensors: what a model computed on the way to its chunk, or what another one recorded.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Trace(BTreeMap<String, (Vec<usize>, Vec<f32>)>);

/// Why a trace was not recorded, read or compared.
#[derive(Debug, thiserror::Error)]
pub enum TraceError {
    /// The device that holds the values failed.
    #[error(transparent)]
    Compute(#[from] ComputeError),
    /// The file could not be read.
    #[error("cannot read {path}: {source}")]
    Io {
        /// The file.
        path: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// The file is no safetensors file, or holds numbers of another kind.
    #[error("{path} cannot be used: {reason}")]
    Format {
        /// The file.
        path: String,
        /// What is wrong.
        reason: String,
    },
    /// A tensor that one side has and the other lacks.
    #[error("the {side} has no tensor `{name}`")]
    Missing {
        /// `reference` or `trace`.
        side: &'static str,
        /// Its name.
        name: String,
    },
    /// A tensor of another shape on the other side.
    #[error("`{name}` has shape {actual:?}, expected {expected:?}")]
    Shape {
        /// Its name.
        name: String,
        /// The shape that fits.
        expected: Vec<usize>,
        /// The shape that it has.
        actual: Vec<usize>,
    },
}

/// Why a checkpoint was not verified against recorded tensors.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// The checkpoint cannot be loaded.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// The recorded tensors cannot be used, or the model has none like them.
    #[error(transparent)]
    Trace(#[from] TraceError),
    /// The model did not run.
    #[error("the model did not run: {reason}")]
    Run {
        /// Why not.
        reason: String,
    },
}

/// How far one tensor is from its reference.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct Comparison {
    /// Its name.
    pub name: String,
    /// Its shape, without a leading batch of one.
    pub shape: Vec<usize>,
    /// Largest absolute difference over the reference's largest absolute value; infinite when a value is
    /// not finite.
    pub largest_relative_error: f64,
}

impl Trace {
    /// Reads all tensors of a safetensors file as f32: floats, integers, and truth values as 0 and 1.
    ///
    /// # Errors
    /// [`TraceError::Io`] or [`TraceError::Format`]. Reads the whole file.
    pub fn open(path: &Path) -> Result<Self, TraceError> {
        let shown = path.display().to_string();
        let bytes = std::fs::read(path).map_err(|source| TraceError::Io { path: shown.clone(), source })?;
        let format = |reason: String| TraceError::Format { path: shown.clone(), reason };
        let file = SafeTensors::deserialize(&bytes).map_err(|error| format(error.to_string()))?;
        let mut trace = Self::default();
        for (name, view) in file.iter() {
            let data = view.data();
            let values: Vec<f32> = match view.dtype() {
                Dtype::F32 => data.as_chunks::<4>().0.iter().map(|b| f32::from_le_bytes(*b)).collect(),
                Dtype::F64 => data.as_chunks::<8>().0.iter().map(|b| f64::from_le_bytes(*b) as f32).collect(),
                Dtype::I64 => data.as_chunks::<8>().0.iter().map(|b| i64::from_le_bytes(*b) as f32).collect(),
                Dtype::BOOL | Dtype::U8 => data.iter().map(|byte| f32::from(*byte)).collect(),
                other => {
                    return Err(format(format!("`{name}` holds {other:?}, expected F32, F64, I64 or BOOL")));
                }
            };
            trace.put_values(name, view.shape(), values);
        }
        Ok(trace)
    }

    /// Records `rows` as `[count, width]`.
    ///
    /// # Errors
    /// [`TraceError::Compute`] when the values cannot be brought to the host.
    pub fn put(&mut self, name: impl Into<String>, rows: &Rows) -> Result<(), ComputeError> {
        self.put_values(name, &[rows.count(), rows.width()], rows.download()?);
        Ok(())
    }

    /// Records `values` of the given shape; leading dimensions of one are dropped.
    pub fn put_values(&mut self, name: impl Into<String>, shape: &[usize], values: Vec<f32>) {
        let ones = shape.iter().take_while(|size| **size == 1).count().min(shape.len().saturating_sub(1));
        self.0.insert(name.into(), (shape[ones..].to_vec(), values));
    }

    /// The shape and values of a tensor.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<(&[usize], &[f32])> {
        self.0.get(name).map(|(shape, values)| (shape.as_slice(), values.as_slice()))
    }

    /// Takes a tensor out.
    ///
    /// # Errors
    /// [`TraceError::Missing`].
    pub fn take(&mut self, name: &str) -> Result<(Vec<usize>, Vec<f32>), TraceError> {
        self.0.remove(name).ok_or_else(|| TraceError::Missing { side: "reference", name: name.to_owned() })
    }

    /// Names of all tensors, sorted.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }
}

/// Compares every tensor of `reference` with the one of that name in `trace`. What only `trace` has is
/// left aside.
///
/// # Errors
/// [`TraceError::Missing`] or [`TraceError::Shape`] when `trace` has none like it.
pub fn compare(trace: &Trace, reference: &Trace) -> Result<Vec<Comparison>, TraceError> {
    let pairs = reference.0.iter().map(|(name, (shape, expected))| {
        let (actual_shape, actual) =
            trace.0.get(name).ok_or_else(|| TraceError::Missing { side: "trace", name: name.clone() })?;
        if actual_shape != shape || actual.len() != expected.len() {
            return Err(TraceError::Shape {
                name: name.clone(),
                expected: shape.clone(),
                actual: actual_shape.clone(),
            });
        }
        let largest_relative_error = largest_relative_error(actual, expected);
        Ok(Comparison { name: name.clone(), shape: shape.clone(), largest_relative_error })
    });
    pairs.collect()
}

/// Largest absolute difference over the largest absolute value of `expected`. Infinite when anything is
/// not finite; zero for two empty slices.
#[must_use]
pub fn largest_relative_error(actual: &[f32], expected: &[f32]) -> f64 {
    if actual.iter().chain(expected).any(|value| !value.is_finite()) {
        return f64::INFINITY;
    }
    let difference =
        actual.iter().zip(expected).map(|(a, b)| (f64::from(*a) - f64::from(*b)).abs()).fold(0.0, f64::max);
    let largest = expected.iter().map(|value| f64::from(value.abs())).fold(0.0, f64::max);
    if difference == 0.0 { 0.0 } else { difference / largest }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests fail by panicking")]
    use super::*;

    fn trace(name: &str, shape: &[usize], values: &[f32]) -> Trace {
        let mut trace = Trace::default();
        trace.put_values(name, shape, values.to_vec());
        trace
    }

    #[test]
    fn the_error_is_relative_to_the_largest_value() {
        let reference = trace("a", &[1, 1, 3], &[4.0, -8.0, 0.0]);
        let ours = trace("a", &[3], &[4.0, -8.0, 0.002]);
        let comparison = compare(&ours, &reference).unwrap();
        assert_eq!(comparison[0].shape, [3]);
        assert!((comparison[0].largest_relative_error - 0.00025).abs() < 1e-9);
    }

    #[test]
    fn nothing_is_close_to_nan_or_to_zero() {
        assert_eq!(largest_relative_error(&[f32::NAN], &[1.0]), f64::INFINITY);
        assert_eq!(largest_relative_error(&[1.0], &[f32::INFINITY]), f64::INFINITY);
        assert_eq!(largest_relative_error(&[1.0], &[0.0]), f64::INFINITY);
        assert_eq!(largest_relative_error(&[0.0], &[0.0]), 0.0);
    }

    #[test]
    fn a_tensor_that_is_not_there_or_of_another_shape_is_an_error() {
        let reference = trace("a", &[2, 2], &[0.0; 4]);
        assert!(matches!(compare(&Trace::default(), &reference), Err(TraceError::Missing { .. })));
        assert!(matches!(compare(&trace("a", &[4], &[0.0; 4]), &reference), Err(TraceError::Shape { .. })));
    }
}
