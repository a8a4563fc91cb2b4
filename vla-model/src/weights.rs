//! Weights files of the goal model.
//!
//! One form: [safetensors](https://github.com/huggingface/safetensors) whose metadata holds a
//! single key, `reflexarc`, with a JSON object: format name and version, the model's sizes, the
//! hashes of both vocabularies, the quantisation scheme, and where the weights come from.
//!
//! | scheme | stored as |
//! |---|---|
//! | `f32` | every tensor under its name, F32 |
//! | `int8_per_output_channel` | tensors of two or more dimensions and at least 1024 values as `NAME.q` (I8) and `NAME.scale` (F32, one for each index of the last dimension), the others as F32 |
//!
//! An int8 value q of channel c means q · scale\[c\], with q in −127..=127. Files are a quarter of the
//! size. On the CPU, inference multiplies these integers as they are (see [`crate::goal::engine`]); a GPU
//! and training turn them into f32.
//!
//! Reading trusts nothing: sizes, names, shapes, vocabularies and values are checked before a model
//! exists, and each fault has an error of its own.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param};
use burn::tensor::{Device, Tensor, TensorData};
use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensorError, SafeTensors};
use serde::{Deserialize, Serialize};

use crate::goal::config::{ConfigError, GoalModelConfig};
use crate::goal::model::{ForwardError, GoalModel, GoalNet, read};
use crate::{instruction, token};

/// Version of the file form that this build reads and writes.
pub const FORMAT_VERSION: u32 = 1;
const FORMAT_NAME: &str = "reflexarc-goal-model";
const METADATA_KEY: &str = "reflexarc";
/// Tensors with fewer values stay f32: biases and norms matter most and weigh least.
pub(crate) const QUANTISED_FROM: usize = 1024;

/// How the values of a file are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Quantisation {
    /// Everything as 32-bit floats.
    F32,
    /// Matrices as 8-bit integers with a scale for each output channel.
    Int8PerOutputChannel,
}

impl Quantisation {
    /// Short form for names and reports.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::Int8PerOutputChannel => "int8",
        }
    }
}

/// What a weights file says about itself.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct WeightsInfo {
    format: String,
    version: u32,
    /// The model's sizes.
    pub config: GoalModelConfig,
    /// Hash of the decision vocabulary that the model speaks.
    pub token_vocabulary: String,
    /// Hash of the instruction vocabulary that the model reads.
    pub instruction_vocabulary: String,
    /// How the values are stored.
    pub quantisation: Quantisation,
    /// Where the weights come from: data seeds, steps, scores.
    pub provenance: serde_json::Value,
}

/// Why a weights file was not read or written.
#[derive(Debug, thiserror::Error)]
pub enum WeightsError {
    /// The file could not be read or written.
    #[error("cannot access weights file {path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The file ends before its tensors do, or holds more than its header says.
    #[error(
        "the weights file is truncated or has surplus bytes: it holds {actual_bytes} bytes, which its header does not account for"
    )]
    Truncated {
        /// Bytes there are.
        actual_bytes: usize,
    },
    /// The bytes are no safetensors file.
    #[error("not a safetensors file: {reason}")]
    NotSafetensors {
        /// What is wrong.
        reason: String,
    },
    /// A safetensors file of something else.
    #[error("not a Reflexarc goal model: {reason}")]
    NotAGoalModel {
        /// What is missing or wrong.
        reason: String,
    },
    /// A version of the file form that this build does not know.
    #[error("the weights file has format version {actual}, this build reads version {expected}")]
    Version {
        /// Version that this build reads.
        expected: u32,
        /// Version of the file.
        actual: u64,
    },
    /// Sizes that this build cannot run.
    #[error("the weights file describes a model that this build cannot run: {0}")]
    Config(#[from] ConfigError),
    /// The model was trained with another vocabulary.
    #[error(
        "the weights were trained with another {which} vocabulary: the file has {actual}, this build has {expected}"
    )]
    Vocabulary {
        /// `token` or `instruction`.
        which: &'static str,
        /// Hash or size of this build's.
        expected: String,
        /// Hash or size of the file's.
        actual: String,
    },
    /// A tensor of the model is not in the file.
    #[error("the weights file has no tensor `{name}`")]
    Missing {
        /// Its name.
        name: String,
    },
    /// The file has a tensor that the model does not.
    #[error("the weights file has a tensor `{name}` that the model does not know ({count} in all)")]
    Extra {
        /// The first one's name.
        name: String,
        /// How many there are.
        count: usize,
    },
    /// A tensor has another shape than the model's.
    #[error("tensor `{name}` has shape {actual:?}, expected {expected:?}")]
    Shape {
        /// Its name.
        name: String,
        /// Shape in the model.
        expected: Vec<usize>,
        /// Shape in the file.
        actual: Vec<usize>,
    },
    /// A tensor is stored as another type than the scheme says.
    #[error("tensor `{name}` is stored as {actual}, expected {expected}")]
    Type {
        /// Its name.
        name: String,
        /// Type that the scheme asks for.
        expected: &'static str,
        /// Type in the file.
        actual: String,
    },
    /// A value is NaN or infinite.
    #[error("tensor `{name}` holds a value that is not finite, at index {index}")]
    NotFinite {
        /// Its name.
        name: String,
        /// Place of the first such value.
        index: usize,
    },
    /// An int8 value is −128, which no quantiser of this form writes and some kernels cannot negate.
    #[error("tensor `{name}` holds -128 at index {index}, expected -127 to 127")]
    OutOfRange {
        /// Its name.
        name: String,
        /// Place of the first such value.
        index: usize,
    },
    /// The weights could not be fetched from their device.
    #[error(transparent)]
    Device(#[from] ForwardError),
}

/// A model from a file, and what the file says.
#[derive(Debug)]
pub struct Loaded {
    /// The model, on its device.
    pub model: GoalModel,
    /// What the file says about itself.
    pub info: WeightsInfo,
    /// SHA-256 of the file, 64 lower-case hexadecimal digits.
    pub model_hash: String,
}

/// A tensor as it goes to a file.
struct Stored {
    name: String,
    dtype: Dtype,
    shape: Vec<usize>,
    bytes: Vec<u8>,
}

/// The bytes of a weights file for `model`. The same weights and provenance give the same bytes.
///
/// # Errors
/// [`WeightsError::Device`] when the weights cannot be fetched, [`WeightsError::NotFinite`] when
/// they should not be kept.
pub fn to_bytes(
    model: &GoalModel,
    quantisation: Quantisation,
    provenance: &serde_json::Value,
) -> Result<Vec<u8>, WeightsError> {
    let mut collect = Collect { path: Vec::new(), tensors: Vec::new(), failure: None };
    model.net.visit(&mut collect);
    if let Some(failure) = collect.failure {
        return Err(failure.into());
    }
    let mut stored = Vec::with_capacity(collect.tensors.len());
    for (name, shape, values) in collect.tensors {
        check_finite(&name, &values)?;
        store(name, shape, &values, quantisation, &mut stored);
    }
    let info = WeightsInfo {
        format: FORMAT_NAME.to_owned(),
        version: FORMAT_VERSION,
        config: model.config.clone(),
        token_vocabulary: token::vocabulary_hash(),
        instruction_vocabulary: instruction::vocabulary_hash().to_owned(),
        quantisation,
        provenance: provenance.clone(),
    };
    let not_a_model = |reason: String| WeightsError::NotAGoalModel { reason };
    let json = serde_json::to_string(&info).map_err(|error| not_a_model(error.to_string()))?;
    let views = stored
        .iter()
        .map(|tensor| Ok((&tensor.name, TensorView::new(tensor.dtype, tensor.shape.clone(), &tensor.bytes)?)))
        .collect::<Result<Vec<_>, SafeTensorError>>()
        .map_err(|error| not_a_model(error.to_string()))?;
    safetensors::serialize(views, Some(HashMap::from([(METADATA_KEY.to_owned(), json)])))
        .map_err(|error| not_a_model(error.to_string()))
}

/// Writes a weights file and gives the SHA-256 of its bytes. A file of that name appears whole or
/// not at all.
///
/// # Errors
/// As [`to_bytes`], and [`WeightsError::Io`].
pub fn save(
    path: &Path,
    model: &GoalModel,
    quantisation: Quantisation,
    provenance: &serde_json::Value,
) -> Result<String, WeightsError> {
    let bytes = to_bytes(model, quantisation, provenance)?;
    let io = |source| WeightsError::Io { path: path.to_owned(), source };
    let mut partial = path.as_os_str().to_owned();
    partial.push(".partial");
    std::fs::write(&partial, &bytes).map_err(io)?;
    std::fs::rename(&partial, path).map_err(io)?;
    Ok(token::sha256_hex(&bytes))
}

/// Reads a weights file onto a device.
///
/// # Errors
/// [`WeightsError`], whatever is wrong with the file.
pub fn load(path: &Path, device: &Device) -> Result<Loaded, WeightsError> {
    let bytes = std::fs::read(path).map_err(|source| WeightsError::Io { path: path.to_owned(), source })?;
    from_bytes(&bytes, device)
}

/// What a weights file says about itself, checked against this build, without its tensors' values.
///
/// # Errors
/// [`WeightsError`] for everything that does not concern single tensors.
pub fn inspect(bytes: &[u8]) -> Result<WeightsInfo, WeightsError> {
    let (_, header) = SafeTensors::read_metadata(bytes).map_err(|error| container(error, bytes.len()))?;
    let not_a_model = |reason: String| WeightsError::NotAGoalModel { reason };
    let json = header
        .metadata()
        .as_ref()
        .and_then(|metadata| metadata.get(METADATA_KEY))
        .ok_or_else(|| not_a_model(format!("the metadata has no key `{METADATA_KEY}`")))?;
    let value: serde_json::Value =
        serde_json::from_str(json).map_err(|error| not_a_model(error.to_string()))?;
    let format = value.get("format").and_then(serde_json::Value::as_str).unwrap_or("nothing");
    if format != FORMAT_NAME {
        return Err(not_a_model(format!("the format is `{format}`, expected `{FORMAT_NAME}`")));
    }
    // Before the rest: another version may have other fields.
    let version = value.get("version").and_then(serde_json::Value::as_u64).unwrap_or(0);
    if version != u64::from(FORMAT_VERSION) {
        return Err(WeightsError::Version { expected: FORMAT_VERSION, actual: version });
    }
    let info: WeightsInfo = serde_json::from_value(value).map_err(|error| not_a_model(error.to_string()))?;
    check_vocabulary("token", token::vocabulary_hash(), &info.token_vocabulary)?;
    check_vocabulary("instruction", instruction::vocabulary_hash().to_owned(), &info.instruction_vocabulary)?;
    check_vocabulary(
        "instruction",
        format!("{} words", instruction::INSTRUCTION_VOCABULARY_SIZE),
        &format!("{} words", info.config.word_vocabulary),
    )?;
    info.config.check_build()?;
    Ok(info)
}

/// Reads a weights file's bytes onto a device.
///
/// # Errors
/// [`WeightsError`], whatever is wrong with the bytes.
pub fn from_bytes(bytes: &[u8], device: &Device) -> Result<Loaded, WeightsError> {
    let mut fill = Fill { path: Vec::new(), reader: Reader::open(bytes)?, failure: None };
    let net = GoalNet::blank(&fill.reader.info.config, device).map(&mut fill);
    if let Some(failure) = fill.failure {
        return Err(failure);
    }
    let info = fill.reader.finish()?;
    let model = GoalModel::from_net(net, info.config.clone(), device);
    Ok(Loaded { model, info, model_hash: token::sha256_hex(bytes) })
}

/// The tensors of a file, each checked when it is asked for.
pub(crate) struct Reader<'a> {
    tensors: SafeTensors<'a>,
    pub(crate) info: WeightsInfo,
    unused: Vec<String>,
}

/// A tensor as a file has it.
pub(crate) enum Values {
    Float(Vec<f32>),
    /// With one scale for each index of the last dimension.
    Int8(Vec<i8>, Vec<f32>),
}

impl Values {
    pub(crate) fn into_floats(self) -> Vec<f32> {
        match self {
            Self::Float(values) => values,
            Self::Int8(values, scales) => {
                let scale = |index: usize| scales[index % scales.len()];
                values.iter().enumerate().map(|(index, value)| f32::from(*value) * scale(index)).collect()
            }
        }
    }
}

impl<'a> Reader<'a> {
    /// Reads the header of `bytes` and checks all that does not concern single tensors.
    pub(crate) fn open(bytes: &'a [u8]) -> Result<Self, WeightsError> {
        let info = inspect(bytes)?;
        let tensors = SafeTensors::deserialize(bytes).map_err(|error| container(error, bytes.len()))?;
        let least = info.config.least_parameters();
        // Each value takes a byte at least: refuse to allocate what the file cannot hold.
        if least > bytes.len() {
            return Err(WeightsError::Truncated { actual_bytes: bytes.len() });
        }
        let mut unused: Vec<String> = tensors.names().into_iter().map(str::to_owned).collect();
        unused.sort_unstable();
        Ok(Self { tensors, info, unused })
    }

    /// What the file says about itself, once all its tensors have been asked for.
    pub(crate) fn finish(self) -> Result<WeightsInfo, WeightsError> {
        match self.unused.first() {
            None => Ok(self.info),
            Some(name) => Err(WeightsError::Extra { name: name.clone(), count: self.unused.len() }),
        }
    }

    /// A tensor of `shape` in the numbers that the file holds it in.
    pub(crate) fn stored(&mut self, name: &str, shape: &[usize]) -> Result<Values, WeightsError> {
        if !is_quantised(self.info.quantisation, shape) {
            let values = self.stored_floats(name, shape)?;
            return Ok(Values::Float(values));
        }
        let bytes = self.bytes(&format!("{name}.q"), shape, Dtype::I8, "I8")?;
        let channels = shape.last().copied().unwrap_or(1);
        let scales = self.stored_floats(&format!("{name}.scale"), &[channels])?;
        let values: Vec<i8> = bytes.iter().map(|byte| byte.cast_signed()).collect();
        match values.iter().position(|value| *value == i8::MIN) {
            None => Ok(Values::Int8(values, scales)),
            Some(index) => Err(WeightsError::OutOfRange { name: name.to_owned(), index }),
        }
    }

    /// A tensor of `shape` as floats.
    pub(crate) fn floats(&mut self, name: &str, shape: &[usize]) -> Result<Vec<f32>, WeightsError> {
        self.stored(name, shape).map(Values::into_floats)
    }

    fn stored_floats(&mut self, name: &str, shape: &[usize]) -> Result<Vec<f32>, WeightsError> {
        let bytes = self.bytes(name, shape, Dtype::F32, "F32")?;
        let values: Vec<f32> = bytes.as_chunks().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect();
        check_finite(name, &values)?;
        Ok(values)
    }

    fn bytes(
        &mut self,
        name: &str,
        shape: &[usize],
        dtype: Dtype,
        expected: &'static str,
    ) -> Result<&'a [u8], WeightsError> {
        let view = self.tensors.tensor(name).map_err(|_| WeightsError::Missing { name: name.to_owned() })?;
        if view.dtype() != dtype {
            let actual = format!("{:?}", view.dtype());
            return Err(WeightsError::Type { name: name.to_owned(), expected, actual });
        }
        if view.shape() != shape {
            return Err(WeightsError::Shape {
                name: name.to_owned(),
                expected: shape.to_vec(),
                actual: view.shape().to_vec(),
            });
        }
        if let Ok(index) = self.unused.binary_search_by(|unused| unused.as_str().cmp(name)) {
            self.unused.remove(index);
        }
        Ok(view.data())
    }
}

fn container(error: SafeTensorError, actual_bytes: usize) -> WeightsError {
    match error {
        SafeTensorError::MetadataIncompleteBuffer
        | SafeTensorError::InvalidHeaderLength
        | SafeTensorError::HeaderTooSmall => WeightsError::Truncated { actual_bytes },
        error => WeightsError::NotSafetensors { reason: error.to_string() },
    }
}

fn check_vocabulary(which: &'static str, expected: String, actual: &str) -> Result<(), WeightsError> {
    if expected == actual {
        Ok(())
    } else {
        Err(WeightsError::Vocabulary { which, expected, actual: actual.to_owned() })
    }
}

fn check_finite(name: &str, values: &[f32]) -> Result<(), WeightsError> {
    match values.iter().position(|value| !value.is_finite()) {
        Some(index) => Err(WeightsError::NotFinite { name: name.to_owned(), index }),
        None => Ok(()),
    }
}

fn is_quantised(scheme: Quantisation, shape: &[usize]) -> bool {
    scheme == Quantisation::Int8PerOutputChannel
        && shape.len() >= 2
        && shape.iter().product::<usize>() >= QUANTISED_FROM
}

fn f32_bytes(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}

fn store(name: String, shape: Vec<usize>, values: &[f32], scheme: Quantisation, out: &mut Vec<Stored>) {
    if !is_quantised(scheme, &shape) {
        out.push(Stored { name, dtype: Dtype::F32, shape, bytes: f32_bytes(values) });
        return;
    }
    let channels = shape.last().copied().unwrap_or(1);
    let (quantised, scales) = quantise(values, channels);
    let bytes = quantised.iter().map(|value| value.to_le_bytes()[0]).collect();
    out.push(Stored { name: format!("{name}.q"), dtype: Dtype::I8, shape, bytes });
    out.push(Stored {
        name: format!("{name}.scale"),
        dtype: Dtype::F32,
        shape: vec![channels],
        bytes: f32_bytes(&scales),
    });
}

/// Symmetric 8-bit integers with one scale for each index of the last dimension, `channels` long.
/// The largest magnitude of a channel becomes ±127; the error is at most half a scale.
pub fn quantise(values: &[f32], channels: usize) -> (Vec<i8>, Vec<f32>) {
    let channels = channels.max(1);
    let mut scales = vec![0.0_f32; channels];
    for row in values.chunks(channels) {
        for (scale, value) in scales.iter_mut().zip(row) {
            *scale = scale.max(value.abs());
        }
    }
    scales.iter_mut().for_each(|scale| *scale /= 127.0);
    let round = |value: f32, scale: f32| {
        if scale > 0.0 { (value / scale).round().clamp(-127.0, 127.0) as i8 } else { 0 }
    };
    let quantised =
        values.iter().enumerate().map(|(index, value)| round(*value, scales[index % channels])).collect();
    (quantised, scales)
}

/// The model with each matrix rounded to int8 and back, as an int8 file would bring it: to measure
/// what quantisation costs before a file is written.
///
/// # Errors
/// As [`to_bytes`] and [`from_bytes`].
pub fn round_trip(model: &GoalModel, quantisation: Quantisation) -> Result<GoalModel, WeightsError> {
    let bytes = to_bytes(model, quantisation, &serde_json::Value::Null)?;
    Ok(from_bytes(&bytes, &model.device)?.model)
}

/// Fetches all tensors with their names.
struct Collect {
    path: Vec<String>,
    tensors: Vec<(String, Vec<usize>, Vec<f32>)>,
    failure: Option<ForwardError>,
}

impl ModuleVisitor for Collect {
    fn enter_module(&mut self, name: &str, _container_type: &str) {
        self.path.push(name.to_owned());
    }

    fn exit_module(&mut self, _name: &str, _container_type: &str) {
        self.path.pop();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let value = param.val();
        let shape = value.dims().to_vec();
        match read(value) {
            Ok(values) => self.tensors.push((self.path.join("."), shape, values)),
            Err(error) => self.failure = Some(self.failure.take().unwrap_or(error)),
        }
    }
}

/// Replaces all tensors by those of a file.
struct Fill<'a> {
    path: Vec<String>,
    reader: Reader<'a>,
    failure: Option<WeightsError>,
}

impl ModuleMapper for Fill<'_> {
    fn enter_module(&mut self, name: &str, _container_type: &str) {
        self.path.push(name.to_owned());
    }

    fn exit_module(&mut self, _name: &str, _container_type: &str) {
        self.path.pop();
    }

    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        if self.failure.is_some() {
            return param;
        }
        let (name, shape) = (self.path.join("."), param.dims());
        match self.reader.floats(&name, &shape) {
            Ok(values) => param.map(|old| Tensor::from_data(TensorData::new(values, shape), &old.device())),
            Err(error) => {
                self.failure = Some(error);
                param
            }
        }
    }
}
