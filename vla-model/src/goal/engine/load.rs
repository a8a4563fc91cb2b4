//! From a weights file to layers.

use crate::compute::weight::WeightValues;
use crate::compute::{
    Activation, Backend, Conv2d, ConvSpec, Dense, DenseSpec, Norm, NormKind, Precision, Rows, Weight,
};
use crate::goal::config::GoalModelConfig;
use crate::goal::model::{DENSE_COLORS, DENSE_KINDS};
use crate::goal::transformer::NORM_EPSILON;
use crate::weights::{QUANTISED_FROM, Quantisation, Reader, Values, WeightsError, WeightsInfo};

/// Takes one tensor after another out of a file.
pub(super) struct Loader<'a> {
    reader: Reader<'a>,
    backend: Backend,
    precision: Precision,
}

impl<'a> Loader<'a> {
    pub(super) fn open(
        bytes: &'a [u8],
        backend: &Backend,
        precision: Option<Precision>,
    ) -> Result<Self, WeightsError> {
        let reader = Reader::open(bytes)?;
        let of_file = match reader.info.quantisation {
            Quantisation::F32 => Precision::F32,
            Quantisation::Int8PerOutputChannel => Precision::Int8,
        };
        Ok(Self { reader, backend: backend.clone(), precision: precision.unwrap_or(of_file) })
    }

    pub(super) fn config(&self) -> &GoalModelConfig {
        &self.reader.info.config
    }

    pub(super) fn precision(&self) -> Precision {
        self.precision
    }

    /// The dense heads are read in training only, but belong to the file.
    pub(super) fn finish(mut self) -> Result<WeightsInfo, WeightsError> {
        let (scene, wrist) = (self.config().scene_channels, self.config().wrist_channels);
        let classes = DENSE_KINDS + DENSE_COLORS;
        for (name, channels) in [("scene_dense", scene), ("wrist_dense", wrist)] {
            self.floats(&format!("{name}.weight"), &[channels, classes])?;
            self.floats(&format!("{name}.bias"), &[classes])?;
        }
        self.reader.finish()
    }

    pub(super) fn floats(&mut self, name: &str, shape: &[usize]) -> Result<Vec<f32>, WeightsError> {
        self.reader.floats(name, shape)
    }

    pub(super) fn rows(&mut self, name: &str, count: usize, width: usize) -> Result<Rows, WeightsError> {
        let values = self.floats(name, &[count, width])?;
        Ok(Rows::upload(&self.backend, &values, count, width))
    }

    pub(super) fn norm(&mut self, name: &str, width: usize) -> Result<Norm, WeightsError> {
        let scale = self.floats(&format!("{name}.scale"), &[width])?;
        Ok(Norm { kind: NormKind::Rms, scale, shift: Vec::new(), epsilon: NORM_EPSILON as f32 })
    }

    /// The matrix `name` of shape `[inputs …, outputs]`, outputs first.
    pub(super) fn weight(&mut self, name: &str, shape: &[usize]) -> Result<Weight<'static>, WeightsError> {
        let outputs = shape.last().copied().unwrap_or(1);
        let inputs = shape.iter().product::<usize>() / outputs;
        Ok(match self.reader.stored(name, shape)? {
            Values::Int8(values, scales) if self.precision == Precision::Int8 => {
                let values = transposed(&values, outputs).into();
                Weight { outputs, inputs, values: WeightValues::Int8 { values, scales: scales.into() } }
            }
            stored => Weight::float(outputs, inputs, transposed(&stored.into_floats(), outputs)),
        })
    }

    /// A layer of `weight` alone.
    pub(super) fn bare(&self, weight: Weight<'static>) -> DenseSpec<'static> {
        let precision = self.precision_of(&weight);
        DenseSpec::new(weight, precision)
    }

    pub(super) fn dense(&self, spec: DenseSpec<'_>) -> Dense {
        Dense::new(&self.backend, spec)
    }

    /// `activation(x · weight + bias)`.
    pub(super) fn linear(
        &mut self,
        name: &str,
        inputs: usize,
        outputs: usize,
    ) -> Result<DenseSpec<'static>, WeightsError> {
        let weight = self.weight(&format!("{name}.weight"), &[inputs, outputs])?;
        let bias = Some(self.floats(&format!("{name}.bias"), &[outputs])?);
        Ok(DenseSpec { bias, ..self.bare(weight) })
    }

    /// A rectified layer and one after it.
    pub(super) fn two_layers(
        &mut self,
        name: &str,
        inputs: usize,
        hidden: usize,
        outputs: usize,
    ) -> Result<[Dense; 2], WeightsError> {
        let first = self.linear(&format!("{name}_in"), inputs, hidden)?;
        let second = self.linear(&format!("{name}_out"), hidden, outputs)?;
        Ok([self.dense(DenseSpec { activation: Activation::Relu, ..first }), self.dense(second)])
    }

    /// A layer on normalised rows.
    pub(super) fn head(
        &mut self,
        norm: &str,
        name: &str,
        inputs: usize,
        outputs: usize,
    ) -> Result<Dense, WeightsError> {
        let norm = Some(self.norm(norm, inputs)?);
        let spec = self.linear(name, inputs, outputs)?;
        Ok(self.dense(DenseSpec { norm, ..spec }))
    }

    /// A rectified convolution that keeps the map's size; with a kernel of one, a layer that is rectified
    /// after its residual.
    pub(super) fn conv(&self, weight: Weight<'static>, bias: Option<Vec<f32>>, kernel: usize) -> Conv2d {
        let precision = self.precision_of(&weight);
        Conv2d::new(
            &self.backend,
            ConvSpec {
                weight,
                bias,
                kernel,
                stride: 1,
                padding: kernel / 2,
                activation: Activation::Relu,
                precision,
            },
        )
    }

    /// Small matrices stay f32, as in a file.
    fn precision_of(&self, weight: &Weight<'_>) -> Precision {
        if weight.outputs * weight.inputs < QUANTISED_FROM { Precision::F32 } else { self.precision }
    }
}

/// `[inputs, outputs]` to `[outputs, inputs]`.
fn transposed<T: Copy>(values: &[T], outputs: usize) -> Vec<T> {
    (0..outputs).flat_map(|output| values.iter().skip(output).step_by(outputs).copied()).collect()
}
