//! From the tensors of a checkpoint to layers.

use std::borrow::Cow;

use crate::checkpoint::{CheckpointError, Tensors};
use crate::compute::{Activation, Backend, Dense, DenseSpec, Norm, NormKind, Precision, Weight};

/// Numbers that no file of a checkpoint gives.
#[derive(Clone, Copy, Debug)]
pub(super) struct Constants {
    /// Of the text tower's and the expert's norms.
    pub(super) rms_epsilon: f32,
    /// Of the vision tower's norms.
    pub(super) layer_epsilon: f32,
    /// Of all rotary positions; the policy overrules the backbone's own.
    pub(super) rope_base: f64,
}

impl Default for Constants {
    fn default() -> Self {
        Self { rms_epsilon: 1e-5, layer_epsilon: 1e-6, rope_base: 10_000.0 }
    }
}

/// Where a network comes from and goes to, and in which precision.
pub(super) struct Source<'a> {
    pub(super) backend: &'a Backend,
    pub(super) tensors: &'a Tensors,
    pub(super) constants: Constants,
    pub(super) precision: Precision,
}

impl<'a> Source<'a> {
    /// Matrices `prefix + part + .weight`, of that many outputs each, as one.
    pub(super) fn stacked(
        &self,
        prefix: &str,
        parts: &[(&str, usize)],
        inputs: usize,
    ) -> Result<Weight<'a>, CheckpointError> {
        let weight = |(part, outputs): &(&str, usize)| {
            self.tensors.weight(&format!("{prefix}{part}.weight"), *outputs, inputs)
        };
        if let [only] = parts {
            return weight(only);
        }
        Ok(Weight::stack(parts.iter().map(weight).collect::<Result<_, _>>()?))
    }

    /// Biases `prefix + part + .bias` one after another.
    pub(super) fn biases(&self, prefix: &str, parts: &[(&str, usize)]) -> Result<Vec<f32>, CheckpointError> {
        let mut all = Vec::with_capacity(parts.iter().map(|(_, outputs)| outputs).sum());
        for (part, outputs) in parts {
            all.extend(self.tensors.vector(&format!("{prefix}{part}.bias"), *outputs)?);
        }
        Ok(all)
    }

    /// A layer without bias: norm, matrices side by side, activation.
    pub(super) fn dense(
        &self,
        prefix: &str,
        parts: &[(&str, usize)],
        inputs: usize,
        norm: Option<Norm>,
        activation: Activation,
    ) -> Result<Dense, CheckpointError> {
        let weight = self.stacked(prefix, parts, inputs)?;
        Ok(self.build(DenseSpec { norm, activation, ..DenseSpec::new(weight, self.precision) }))
    }

    /// The same with biases.
    pub(super) fn dense_biased(
        &self,
        prefix: &str,
        parts: &[(&str, usize)],
        inputs: usize,
        norm: Option<Norm>,
        activation: Activation,
    ) -> Result<Dense, CheckpointError> {
        let weight = self.stacked(prefix, parts, inputs)?;
        let bias = Some(self.biases(prefix, parts)?);
        Ok(self.build(DenseSpec { bias, norm, activation, ..DenseSpec::new(weight, self.precision) }))
    }

    pub(super) fn build(&self, spec: DenseSpec<'_>) -> Dense {
        Dense::new(self.backend, spec)
    }

    /// A root-mean-square norm.
    pub(super) fn rms(&self, name: &str, width: usize) -> Result<Norm, CheckpointError> {
        let scale = self.tensors.vector(&format!("{name}.weight"), width)?;
        Ok(Norm { kind: NormKind::Rms, scale, shift: Vec::new(), epsilon: self.constants.rms_epsilon })
    }

    /// A layer norm.
    pub(super) fn layer_norm(&self, name: &str, width: usize) -> Result<Norm, CheckpointError> {
        let scale = self.tensors.vector(&format!("{name}.weight"), width)?;
        let shift = self.tensors.vector(&format!("{name}.bias"), width)?;
        Ok(Norm { kind: NormKind::Layer, scale, shift, epsilon: self.constants.layer_epsilon })
    }

    /// A small matrix as floats.
    pub(super) fn floats(
        &self,
        name: &str,
        outputs: usize,
        inputs: usize,
    ) -> Result<Cow<'a, [f32]>, CheckpointError> {
        Ok(Cow::Owned(self.tensors.weight(name, outputs, inputs)?.to_floats().into_owned()))
    }
}

/// Whether attention beside matrices of this precision may be rounded as well.
pub(super) fn reduced(precision: Precision) -> bool {
    matches!(precision, Precision::Int8 | Precision::Int4)
}
