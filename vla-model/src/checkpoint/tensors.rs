//! The tensors of one safetensors file, mapped.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};

use half::{bf16, f16};
use sha2::{Digest, Sha256};

use super::bytes::{Bytes, as_f32, as_i8};
use super::error::CheckpointError;
use super::header::{Dtype, Entry, Header};
use crate::compute::weight::{INT4_BLOCK, Weight, WeightValues};

/// One memory-mapped safetensors file. Its header is checked when it is opened, its values when they are
/// asked for.
#[derive(Debug)]
pub struct Tensors {
    bytes: Bytes,
    path: PathBuf,
    metadata: BTreeMap<String, String>,
    tensors: BTreeMap<String, Stored>,
}

/// A tensor as models know it, and the form that the file has it in.
#[derive(Debug)]
struct Stored {
    shape: Vec<usize>,
    entry: Entry,
    form: Form,
}

#[derive(Debug)]
enum Form {
    Plain,
    /// Integers with a scale for each output.
    Int8 {
        scale: Entry,
    },
    /// Nibbles with a scale for each block of inputs.
    Int4 {
        scale: Entry,
    },
}

/// How the file stores a tensor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Storage {
    /// One number after another.
    Plain(Dtype),
    /// Eight-bit integers with a scale for each output.
    Int8,
    /// Four-bit integers with a scale for each block of inputs.
    Int4,
}

/// What there is to say about a tensor without reading it.
#[derive(Clone, Copy, Debug)]
pub struct TensorInfo<'a> {
    /// Its name.
    pub name: &'a str,
    /// Its shape.
    pub shape: &'a [usize],
    /// How the file stores it.
    pub storage: Storage,
    /// Bytes in the file, scales included.
    pub bytes: usize,
}

impl TensorInfo<'_> {
    /// Number of values.
    #[must_use]
    pub fn count(&self) -> usize {
        // No overflow: the header's check has bounded the product by the file's length, times two for nibbles.
        self.shape.iter().product()
    }
}

impl Tensors {
    /// Maps a file and checks its header. Nothing else is read yet.
    ///
    /// # Errors
    /// When the file cannot be opened, or its header does not describe its bytes.
    pub fn open(path: &Path) -> Result<Self, CheckpointError> {
        let file = File::open(path).map_err(CheckpointError::io(path))?;
        let length = file.metadata().map_err(CheckpointError::io(path))?.len();
        if length < 8 {
            // An empty file cannot be mapped.
            return Err(CheckpointError::Truncated {
                path: path.to_owned(),
                expected_bytes: 8,
                actual_bytes: length,
            });
        }
        let bytes = Bytes::map(&file).map_err(CheckpointError::io(path))?;
        Self::new(path, bytes)
    }

    /// The same from bytes in memory; `path` is what messages call them.
    ///
    /// # Errors
    /// When the header does not describe the bytes.
    pub fn from_bytes(path: &Path, bytes: Vec<u8>) -> Result<Self, CheckpointError> {
        Self::new(path, Bytes::Owned(bytes))
    }

    fn new(path: &Path, bytes: Bytes) -> Result<Self, CheckpointError> {
        let Header { mut entries, metadata } = Header::parse(path, bytes.as_slice())?;
        let mut tensors = BTreeMap::new();
        let quantised: Vec<(String, Dtype)> = entries
            .iter()
            .filter_map(|(name, entry)| {
                let kind = [(".int8", Dtype::I8), (".int4", Dtype::U8)];
                let (suffix, dtype) = kind
                    .into_iter()
                    .find(|(suffix, dtype)| name.ends_with(suffix) && entry.dtype == *dtype)?;
                Some((name.strip_suffix(suffix)?.to_owned(), dtype))
            })
            .collect();
        for (name, dtype) in quantised {
            let int8 = dtype == Dtype::I8;
            let unsound = |reason: &str| {
                CheckpointError::safetensors(path, format!("quantised tensor `{name}` {reason}"))
            };
            let entry = entries.remove(&format!("{name}{}", if int8 { ".int8" } else { ".int4" }));
            let scale = entries.remove(&format!("{name}.scale"));
            let (Some(entry), Some(scale)) = (entry, scale) else {
                return Err(unsound("has no `.scale`"));
            };
            let &[outputs, stored_inputs] = entry.shape.as_slice() else {
                return Err(unsound("is no matrix"));
            };
            let (inputs, scales) = if int8 {
                (stored_inputs, vec![outputs])
            } else {
                let Some(inputs) = stored_inputs.checked_mul(2).filter(|n| n.is_multiple_of(INT4_BLOCK))
                else {
                    return Err(unsound("has rows that are no whole blocks"));
                };
                (inputs, vec![outputs, inputs / INT4_BLOCK])
            };
            if scale.dtype != Dtype::F32 || scale.shape != scales {
                return Err(unsound(&format!(
                    "has scales of shape {:?} in {}, expected {scales:?} in F32",
                    scale.shape, scale.dtype
                )));
            }
            let form = if int8 { Form::Int8 { scale } } else { Form::Int4 { scale } };
            let stored = Stored { shape: vec![outputs, inputs], entry, form };
            if entries.contains_key(&name) || tensors.contains_key(&name) {
                return Err(unsound("is there in two forms"));
            }
            tensors.insert(name, stored);
        }
        tensors.extend(
            entries
                .into_iter()
                .map(|(name, entry)| (name, Stored { shape: entry.shape.clone(), entry, form: Form::Plain })),
        );
        Ok(Self { bytes, path: path.to_owned(), metadata, tensors })
    }

    /// The file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The file's metadata.
    #[must_use]
    pub fn metadata(&self) -> &BTreeMap<String, String> {
        &self.metadata
    }

    /// Names of all tensors, sorted. A quantised matrix appears under its own name.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.tensors.keys().map(String::as_str)
    }

    /// All tensors, sorted by name.
    pub fn infos(&self) -> impl Iterator<Item = TensorInfo<'_>> {
        self.tensors.iter().map(|(name, stored)| {
            let length = |entry: &Entry| entry.end - entry.start;
            let (storage, scale) = match &stored.form {
                Form::Plain => (Storage::Plain(stored.entry.dtype), 0),
                Form::Int8 { scale } => (Storage::Int8, length(scale)),
                Form::Int4 { scale } => (Storage::Int4, length(scale)),
            };
            TensorInfo { name, shape: &stored.shape, storage, bytes: length(&stored.entry) + scale }
        })
    }

    /// Shape of a tensor; of a quantised matrix `[outputs, inputs]`.
    #[must_use]
    pub fn shape(&self, name: &str) -> Option<&[usize]> {
        self.tensors.get(name).map(|stored| stored.shape.as_slice())
    }

    /// Whether there is such a tensor.
    #[must_use]
    pub fn contains(&self, name: &str) -> bool {
        self.tensors.contains_key(name)
    }

    /// The matrix `[outputs, inputs]` in the form that the file has: floats (borrowed from the file
    /// where they are aligned F32, converted where they are BF16 or F16), int8 or int4. A convolution's
    /// `[outputs, channels, height, width]` counts as `inputs = channels × height × width`.
    ///
    /// # Errors
    /// When it is not there, of another shape or kind, or has a value that is not finite.
    pub fn weight(&self, name: &str, outputs: usize, inputs: usize) -> Result<Weight<'_>, CheckpointError> {
        let stored = self.stored(name)?;
        let fits = match stored.shape.split_first() {
            Some((&first, rest)) => first == outputs && rest.iter().product::<usize>() == inputs,
            None => false,
        };
        if !fits {
            return Err(shape_error(name, &[outputs, inputs], &stored.shape));
        }
        let values = match &stored.form {
            Form::Plain => WeightValues::Float(self.floats(name, &stored.entry)?),
            Form::Int8 { scale } => {
                let values = as_i8(self.slice(&stored.entry));
                if let Some(index) = values.iter().position(|&value| value == i8::MIN) {
                    return Err(value_error(name, index, "integers in -127..=127", i8::MIN));
                }
                WeightValues::Int8 { values: Cow::Borrowed(values), scales: self.scales(name, scale)? }
            }
            Form::Int4 { scale } => {
                let packed = self.slice(&stored.entry);
                if let Some(index) = packed.iter().position(|&pair| pair & 0x0f == 0 || pair & 0xf0 == 0) {
                    return Err(value_error(name, index * 2, "integers in -7..=7", -8));
                }
                WeightValues::Int4 { packed: Cow::Borrowed(packed), scales: self.scales(name, scale)? }
            }
        };
        Ok(Weight { outputs, inputs, values })
    }

    /// A vector of `len` floats.
    ///
    /// # Errors
    /// When it is not there, of another shape or kind, or has a value that is not finite.
    pub fn vector(&self, name: &str, len: usize) -> Result<Vec<f32>, CheckpointError> {
        self.values(name, &[len])
    }

    /// All values of a tensor of that shape, as floats.
    ///
    /// # Errors
    /// When it is not there, of another shape or kind, quantised, or has a value that is not finite.
    pub fn values(&self, name: &str, shape: &[usize]) -> Result<Vec<f32>, CheckpointError> {
        let stored = self.stored(name)?;
        if stored.shape != shape {
            return Err(shape_error(name, shape, &stored.shape));
        }
        Ok(self.floats(name, self.plain(name)?)?.into_owned())
    }

    /// Row `row` of a table with `width` columns. Only that row is read from the file.
    ///
    /// # Errors
    /// When the table is not there, of another width or kind, quantised, shorter, or the row has a value
    /// that is not finite.
    pub fn row(&self, name: &str, row: usize, width: usize) -> Result<Vec<f32>, CheckpointError> {
        let stored = self.stored(name)?;
        let entry = self.plain(name)?;
        let rows = stored.shape.first().copied().unwrap_or(0);
        if row >= rows || stored.shape != [rows, width] {
            return Err(shape_error(name, &[rows.max(row.saturating_add(1)), width], &stored.shape));
        }
        let row_bytes = width * entry.dtype.bytes();
        let start = entry.start + row * row_bytes;
        let entry = Entry { dtype: entry.dtype, shape: vec![width], start, end: start + row_bytes };
        Ok(self.floats(name, &entry)?.into_owned())
    }

    /// Tells the system that the pages read so far are not needed, so that a loaded model does not count
    /// twice in resident memory.
    pub fn release(&self) {
        self.bytes.release();
    }

    /// Bytes of the whole file.
    #[must_use]
    pub fn size_bytes(&self) -> u64 {
        self.bytes.as_slice().len() as u64
    }

    /// SHA-256 of the whole file, in hexadecimal. `progress` is told how many bytes have been read.
    pub fn sha256(&self, mut progress: impl FnMut(u64)) -> String {
        const RUN: usize = 16 << 20;
        let mut hash = Sha256::new();
        let mut read = 0;
        for run in self.bytes.as_slice().chunks(RUN) {
            hash.update(run);
            read += run.len() as u64;
            self.release();
            progress(read);
        }
        hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// A plain tensor's bytes; nothing for others.
    pub(super) fn raw(&self, name: &str) -> &[u8] {
        self.plain(name).map_or(&[], |entry| self.slice(entry))
    }

    fn stored(&self, name: &str) -> Result<&Stored, CheckpointError> {
        self.tensors.get(name).ok_or_else(|| CheckpointError::MissingTensor { name: name.to_owned() })
    }

    fn plain(&self, name: &str) -> Result<&Entry, CheckpointError> {
        let stored = self.stored(name)?;
        match stored.form {
            Form::Plain => Ok(&stored.entry),
            Form::Int8 { .. } | Form::Int4 { .. } => Err(CheckpointError::Dtype {
                name: name.to_owned(),
                expected: "floats",
                actual: "quantised integers".to_owned(),
            }),
        }
    }

    fn slice(&self, entry: &Entry) -> &[u8] {
        // Never empty by mistake: the header's check puts every entry inside the bytes.
        self.bytes.as_slice().get(entry.start..entry.end).unwrap_or(&[])
    }

    fn scales(&self, name: &str, entry: &Entry) -> Result<Cow<'_, [f32]>, CheckpointError> {
        let scales = self.floats(name, entry)?;
        match scales.iter().position(|&scale| scale < 0.0) {
            Some(index) => Err(value_error(name, index, "scales of at least 0", scales[index])),
            None => Ok(scales),
        }
    }

    /// The entry's values as finite floats.
    fn floats(&self, name: &str, entry: &Entry) -> Result<Cow<'_, [f32]>, CheckpointError> {
        let bytes = self.slice(entry);
        let values: Cow<'_, [f32]> = match entry.dtype {
            Dtype::F32 => match as_f32(bytes) {
                Some(values) => Cow::Borrowed(values),
                None => convert(bytes, f32::from_le_bytes),
            },
            Dtype::BF16 => convert(bytes, |pair| bf16::from_le_bytes(pair).to_f32()),
            Dtype::F16 => convert(bytes, |pair| f16::from_le_bytes(pair).to_f32()),
            // Statistics computed by NumPy come so.
            Dtype::F64 => convert(bytes, |value| f64::from_le_bytes(value) as f32),
            other => {
                return Err(CheckpointError::Dtype {
                    name: name.to_owned(),
                    expected: "F32, BF16, F16 or F64",
                    actual: other.to_string(),
                });
            }
        };
        match values.iter().position(|value| !value.is_finite()) {
            Some(index) => Err(value_error(name, index, "finite values", values[index])),
            None => Ok(values),
        }
    }
}

fn convert<'a, const N: usize>(bytes: &[u8], value: impl Fn([u8; N]) -> f32) -> Cow<'a, [f32]> {
    let (parts, _) = bytes.as_chunks::<N>();
    Cow::Owned(parts.iter().map(|part| value(*part)).collect())
}

fn shape_error(name: &str, expected: &[usize], actual: &[usize]) -> CheckpointError {
    CheckpointError::Shape { name: name.to_owned(), expected: expected.to_owned(), actual: actual.to_owned() }
}

fn value_error(
    name: &str,
    index: usize,
    expected: &'static str,
    actual: impl std::fmt::Display,
) -> CheckpointError {
    CheckpointError::Value { name: name.to_owned(), index, expected, actual: actual.to_string() }
}
