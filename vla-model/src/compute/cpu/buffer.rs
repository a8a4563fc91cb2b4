//! Memory of activations.

/// f32 values.
#[derive(Clone, Debug)]
pub(crate) struct Buffer(Vec<f32>);

impl Buffer {
    pub(crate) fn zeros(len: usize) -> Self {
        Self(vec![0.0; len])
    }

    pub(crate) fn from_slice(values: &[f32]) -> Self {
        Self(values.to_vec())
    }

    pub(crate) fn as_slice(&self) -> &[f32] {
        &self.0
    }

    pub(crate) fn as_mut_slice(&mut self) -> &mut [f32] {
        &mut self.0
    }
}
