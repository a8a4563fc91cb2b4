//! A checkpoint's folder again, with its matrices as integers.
//!
//! The written folder has the form of the read one; only `model.safetensors` differs:
//!
//! | tensors | stored as |
//! |---|---|
//! | matrices and convolutions of the networks, `int8` | `NAME.int8` I8 `[outputs, inputs]` with `NAME.scale` F32 `[outputs]` |
//! | the same, `int4` | `NAME.int4` U8 `[outputs, inputs / 2]` with `NAME.scale` F32 `[outputs, inputs / 32]`; where inputs are no multiple of 32, as int8 |
//! | the token embeddings | BF16 |
//! | norms, biases, positions and the sensitive matrices (see `parts`) | as they were |
//! | what inference does not use: the text head, the variational encoder | not at all |
//!
//! What the integers mean is said at [`WeightValues`]. A convolution's `[outputs, channels, height, width]` is
//! flattened along the inputs. The metadata hold one key, `reflexarc`, with [`Quantisation`] as JSON. The same
//! folder gives the same bytes, whatever the machine.

use std::fs::{self, File};
use std::io::{self, BufWriter, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use half::bf16;
use serde::{Deserialize, Serialize};

use super::error::{CheckpointError, Few};
use super::header::{self, Dtype};
use super::parts::{Role, part};
use super::tensors::{Storage, TensorInfo, Tensors};
use super::{BACKBONE, Checkpoint, MODEL, TOKENISER};
use crate::compute::Precision;
use crate::compute::weight::{INT4_BLOCK, Weight, WeightValues};

/// Version of the file form that this build reads and writes.
pub const FORMAT_VERSION: u32 = 1;
const FORMAT_NAME: &str = "reflexarc-checkpoint";
pub(super) const METADATA_KEY: &str = "reflexarc";
/// Values that are converted at a time.
const RUN: usize = 1 << 18;

/// What matrices become.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Scheme {
    /// Eight bits, a scale for each output.
    Int8,
    /// Four bits, a scale for each block of 32 inputs.
    Int4,
}

impl std::fmt::Display for Scheme {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Int8 => "int8",
            Self::Int4 => "int4",
        })
    }
}

/// What a quantised checkpoint says about itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Quantisation {
    format: String,
    version: u32,
    /// What its matrices are.
    pub scheme: Scheme,
    /// SHA-256 of the `model.safetensors` that it was made from.
    pub source_sha256: String,
    /// What made it.
    pub made_by: String,
    /// Whether the sensitive matrices became integers as well.
    pub sensitive: bool,
    /// Parts of names of which matrices were kept as they were.
    pub keep: Vec<String>,
}

/// What to write.
#[derive(Clone, Debug)]
pub struct QuantiseOptions {
    /// What matrices become.
    pub scheme: Scheme,
    /// Matrices whose name has one of these in it stay as they are, besides the sensitive ones.
    pub keep: Vec<String>,
    /// Turns the sensitive matrices into integers too.
    pub sensitive: bool,
    /// Replaces a checkpoint that is there already.
    pub force: bool,
}

/// What was written.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Quantised {
    /// Bytes of the model before.
    pub source_bytes: u64,
    /// Bytes of the model after.
    pub bytes: u64,
    /// Matrices that became int8.
    pub int8: usize,
    /// Matrices that became int4.
    pub int4: usize,
    /// Matrices that stayed as they were, as sensitive or as asked.
    pub kept: Vec<String>,
    /// Tensors that were left out, as inference does not use them.
    pub dropped: Vec<String>,
    /// Values in them.
    pub dropped_values: u64,
}

impl Quantisation {
    /// Reads the metadata of a model; `None` where it is as LeRobot writes it.
    pub(super) fn read(tensors: &Tensors) -> Result<Option<Self>, CheckpointError> {
        let Some(text) = tensors.metadata().get(METADATA_KEY) else { return Ok(None) };
        let unsound = |reason: String| CheckpointError::safetensors(tensors.path(), reason);
        // The version first: another version may have other fields.
        #[derive(Deserialize)]
        struct Version {
            format: String,
            version: u64,
        }
        let wrong = |error: serde_json::Error| unsound(format!("its metadata `{METADATA_KEY}`: {error}"));
        let Version { format, version } = serde_json::from_str(text).map_err(wrong)?;
        if format != FORMAT_NAME {
            return Err(unsound(format!("it is a `{format}`, expected a `{FORMAT_NAME}`")));
        }
        if version != u64::from(FORMAT_VERSION) {
            return Err(unsound(format!(
                "its quantised form has version {version}, this build reads version {FORMAT_VERSION}"
            )));
        }
        serde_json::from_str(text).map(Some).map_err(wrong)
    }
}

/// How a tensor is written.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Plan {
    Copy,
    Bf16,
    Integers(Scheme),
}

/// A tensor of the new file and where its bytes go, counted from the end of the header.
struct Place {
    name: String,
    dtype: Dtype,
    shape: Vec<usize>,
    start: u64,
}

impl Place {
    fn new(name: String, dtype: Dtype, shape: Vec<usize>) -> Self {
        Self { name, dtype, shape, start: 0 }
    }

    fn bytes(&self) -> u64 {
        self.shape.iter().product::<usize>() as u64 * self.dtype.bytes() as u64
    }
}

/// Writes the checkpoint in `checkpoint` to the folder `out` as [`QuantiseOptions`] say. `progress` is told, after each
/// tensor, how many bytes of the model have been read, of how many. Memory is that of one matrix; the folder appears when it
/// is complete, or not at all.
///
/// # Errors
/// When the checkpoint is quantised already, a value is not finite, `out` exists and is not to be
/// replaced or is no checkpoint, or the system refuses to write.
pub fn quantise(
    checkpoint: &Checkpoint,
    out: &Path,
    options: &QuantiseOptions,
    mut progress: impl FnMut(u64, u64),
) -> Result<Quantised, CheckpointError> {
    let tensors = &checkpoint.tensors;
    if checkpoint.quantisation.is_some() || tensors.infos().any(|tensor| integers(tensor.storage)) {
        let reason = format!(
            "{} is quantised already; quantise the checkpoint that it was made from",
            tensors.path().display()
        );
        return Err(CheckpointError::Write { reason });
    }
    let mut done = Quantised { source_bytes: tensors.size_bytes(), ..Quantised::default() };
    let plans = plan(checkpoint, options, &mut done)?;
    let folder = NewFolder::create(checkpoint.dir(), out, options.force)?;

    let total = 2 * done.source_bytes;
    let source_sha256 = tensors.sha256(|read| progress(read, total));
    let info = Quantisation {
        format: FORMAT_NAME.to_owned(),
        version: FORMAT_VERSION,
        scheme: options.scheme,
        source_sha256,
        made_by: concat!("reflexarc ", env!("CARGO_PKG_VERSION")).to_owned(),
        sensitive: options.sensitive,
        keep: options.keep.clone(),
    };
    let path = folder.partial.join(MODEL);
    let mut read = 0;
    done.bytes = write_model(&path, tensors, &plans, &info, |bytes| {
        read += bytes;
        progress(done.source_bytes + read, total);
    })?;
    for file in checkpoint.files() {
        let from = checkpoint.dir().join(&file);
        if from.exists() {
            let to = folder.partial.join(&file);
            fs::copy(&from, &to).map_err(CheckpointError::io(&to))?;
        }
    }
    folder.finish()?;
    progress(total, total);
    Ok(done)
}

fn integers(storage: Storage) -> bool {
    matches!(storage, Storage::Int8 | Storage::Int4)
}

/// Decides about every tensor.
fn plan<'a>(
    checkpoint: &'a Checkpoint,
    options: &QuantiseOptions,
    done: &mut Quantised,
) -> Result<Vec<(TensorInfo<'a>, Plan)>, CheckpointError> {
    let mut plans = Vec::new();
    for pattern in &options.keep {
        if pattern.is_empty() || !checkpoint.tensors.names().any(|name| name.contains(pattern)) {
            let reason = format!("no tensor's name has {pattern:?} in it, which was to be kept");
            return Err(CheckpointError::Write { reason });
        }
    }
    for tensor in checkpoint.tensors.infos() {
        let kept = options.keep.iter().any(|pattern| tensor.name.contains(pattern));
        let role = part(&checkpoint.config, &tensor).role;
        let plan = match role {
            Role::Unused => {
                done.dropped.push(tensor.name.to_owned());
                done.dropped_values += tensor.count() as u64;
                continue;
            }
            Role::Table if !kept && tensor.storage == Storage::Plain(Dtype::F32) => Plan::Bf16,
            Role::Table | Role::Rest => Plan::Copy,
            Role::Sensitive if !options.sensitive => {
                done.kept.push(tensor.name.to_owned());
                Plan::Copy
            }
            Role::Matrix | Role::Sensitive if kept => {
                done.kept.push(tensor.name.to_owned());
                Plan::Copy
            }
            Role::Matrix | Role::Sensitive => {
                let [_, inputs] = matrix(&tensor);
                let scheme = match options.scheme {
                    Scheme::Int4 if inputs.is_multiple_of(INT4_BLOCK) => Scheme::Int4,
                    Scheme::Int4 | Scheme::Int8 => Scheme::Int8,
                };
                match scheme {
                    Scheme::Int8 => done.int8 += 1,
                    Scheme::Int4 => done.int4 += 1,
                }
                Plan::Integers(scheme)
            }
        };
        plans.push((tensor, plan));
    }
    Ok(plans)
}

/// `[outputs, inputs]` of a matrix or convolution.
fn matrix(tensor: &TensorInfo<'_>) -> [usize; 2] {
    let (outputs, rest) = tensor.shape.split_first().unwrap_or((&0, &[]));
    [*outputs, rest.iter().product()]
}

/// The tensors of the new file that a tensor of the old one becomes.
fn places(tensor: &TensorInfo<'_>, plan: Plan) -> Vec<Place> {
    let name = tensor.name;
    let [outputs, inputs] = matrix(tensor);
    let dtype = match tensor.storage {
        Storage::Plain(dtype) => dtype,
        Storage::Int8 | Storage::Int4 => Dtype::U8,
    };
    match plan {
        Plan::Copy => vec![Place::new(name.to_owned(), dtype, tensor.shape.to_vec())],
        Plan::Bf16 => vec![Place::new(name.to_owned(), Dtype::BF16, tensor.shape.to_vec())],
        Plan::Integers(Scheme::Int8) => vec![
            Place::new(format!("{name}.int8"), Dtype::I8, vec![outputs, inputs]),
            Place::new(format!("{name}.scale"), Dtype::F32, vec![outputs]),
        ],
        Plan::Integers(Scheme::Int4) => vec![
            Place::new(format!("{name}.int4"), Dtype::U8, vec![outputs, inputs / 2]),
            Place::new(format!("{name}.scale"), Dtype::F32, vec![outputs, inputs / INT4_BLOCK]),
        ],
    }
}

fn write_model(
    path: &Path,
    tensors: &Tensors,
    plans: &[(TensorInfo<'_>, Plan)],
    info: &Quantisation,
    mut read: impl FnMut(u64),
) -> Result<u64, CheckpointError> {
    let mut of_plan: Vec<Vec<Place>> = plans.iter().map(|(tensor, plan)| places(tensor, *plan)).collect();
    // Wide values first, so that each begins at a multiple of its width; then by name.
    let mut order: Vec<&mut Place> = of_plan.iter_mut().flatten().collect();
    order.sort_by(|a, b| b.dtype.bytes().cmp(&a.dtype.bytes()).then_with(|| a.name.cmp(&b.name)));
    let mut end = 0;
    for place in &mut order {
        place.start = end;
        end += place.bytes();
    }
    let metadata = serde_json::to_string(info).map_err(|error| CheckpointError::json(path, error))?;
    let listed = order.iter().map(|place| {
        (place.name.as_str(), place.dtype, place.shape.as_slice(), [place.start, place.start + place.bytes()])
    });
    let head = header::encode(METADATA_KEY, &metadata, listed);

    let io = |result: io::Result<()>| result.map_err(CheckpointError::io(path));
    let mut file =
        BufWriter::with_capacity(1 << 20, File::create_new(path).map_err(CheckpointError::io(path))?);
    io(file.write_all(&head))?;
    for ((tensor, plan), places) in plans.iter().zip(&of_plan) {
        let at = |place: &Place| SeekFrom::Start(head.len() as u64 + place.start);
        match (plan, places.as_slice()) {
            (Plan::Integers(scheme), [values, scales]) => {
                let [outputs, inputs] = matrix(tensor);
                let weight = tensors.weight(tensor.name, outputs, inputs)?;
                let bytes = quantised(weight, *scheme);
                io(file.seek(at(values)).and_then(|_| file.write_all(&bytes.0)))?;
                io(file.seek(at(scales)).and_then(|_| file.write_all(&bytes.1)))?;
            }
            (Plan::Bf16, [place]) => {
                io(file.seek(at(place)).map(drop))?;
                let mut run = Vec::with_capacity(2 * RUN);
                for values in tensors.raw(tensor.name).chunks(4 * RUN) {
                    let (values, _) = values.as_chunks::<4>();
                    run.clear();
                    run.extend(
                        values
                            .iter()
                            .flat_map(|value| bf16::from_f32(f32::from_le_bytes(*value)).to_le_bytes()),
                    );
                    io(file.write_all(&run))?;
                }
            }
            (_, places) => {
                for place in places {
                    io(file.seek(at(place)).and_then(|_| file.write_all(tensors.raw(tensor.name))))?;
                }
            }
        }
        tensors.release();
        read(tensor.bytes as u64);
    }
    io(file.flush())?;
    io(file.get_ref().sync_all())?;
    Ok(head.len() as u64 + end)
}

/// The bytes of the integers and of their scales.
fn quantised(weight: Weight<'_>, scheme: Scheme) -> (Vec<u8>, Vec<u8>) {
    let precision = match scheme {
        Scheme::Int8 => Precision::Int8,
        Scheme::Int4 => Precision::Int4,
    };
    let little = |scales: &[f32]| scales.iter().flat_map(|scale| scale.to_le_bytes()).collect();
    match weight.quantised(precision).values {
        WeightValues::Int8 { values, scales } => {
            (values.iter().map(|value| value.cast_unsigned()).collect(), little(&scales))
        }
        WeightValues::Int4 { packed, scales } => (packed.into_owned(), little(&scales)),
        // Never: the plan has asked only for what the matrix can become.
        WeightValues::Float(_) => (Vec::new(), Vec::new()),
    }
}

/// A folder that is filled beside the place where it will appear.
struct NewFolder {
    partial: PathBuf,
    out: PathBuf,
    replaces: bool,
}

impl NewFolder {
    fn create(source: &Path, out: &Path, force: bool) -> Result<Self, CheckpointError> {
        let refuse = |reason: String| Err(CheckpointError::Write { reason });
        let (Some(name), parent) = (out.file_name(), out.parent()) else {
            return refuse(format!("{} is no name for a new folder", out.display()));
        };
        let parent = match parent {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        fs::create_dir_all(parent).map_err(CheckpointError::io(parent))?;
        let whole = |path: &Path| path.canonicalize().map_err(CheckpointError::io(path));
        let (source, parent) = (whole(source)?, whole(parent)?);
        let out = parent.join(name);
        let replaces = fs::symlink_metadata(&out).is_ok();
        let target = if replaces { whole(&out)? } else { out.clone() };
        if target.starts_with(&source) || source.starts_with(&target) {
            return refuse(format!(
                "{} and {} lie within each other; choose another folder to write to",
                source.display(),
                target.display()
            ));
        }
        if replaces && !force {
            return refuse(format!("{} exists; --force replaces it", out.display()));
        }
        // Whatever else the folder is, it is not ours to remove.
        if replaces && !(out.join(super::config::CONFIG).is_file() && out.join(MODEL).is_file()) {
            return refuse(format!("{} exists and is no checkpoint; it is not replaced", out.display()));
        }
        let partial = parent.join(format!("{}.partial-{}", name.to_string_lossy(), std::process::id()));
        fs::create_dir(&partial).map_err(CheckpointError::io(&partial))?;
        Ok(Self { partial, out, replaces })
    }

    fn finish(self) -> Result<(), CheckpointError> {
        let rename = |from: &Path, to: &Path| fs::rename(from, to).map_err(CheckpointError::io(to));
        if self.replaces {
            let old = self.partial.with_extension(format!("replaced-{}", std::process::id()));
            rename(&self.out, &old)?;
            if let Err(error) = rename(&self.partial, &self.out) {
                rename(&old, &self.out)?;
                return Err(error);
            }
            fs::remove_dir_all(&old).map_err(CheckpointError::io(&old))
        } else {
            rename(&self.partial, &self.out)
        }
    }
}

impl Drop for NewFolder {
    fn drop(&mut self) {
        // Already renamed when all went well. Nobody is left to tell of a failure to tidy up.
        drop(fs::remove_dir_all(&self.partial));
    }
}

impl Checkpoint {
    /// Files of the folder beside the model that belong to the checkpoint, whether or not it has them.
    fn files(&self) -> Vec<PathBuf> {
        let fixed = [
            super::config::CONFIG,
            super::processors::PREPROCESSOR,
            super::processors::POSTPROCESSOR,
            TOKENISER,
            BACKBONE,
            "README.md",
            "LICENSE",
            // What `verify` compares with.
            "reference.safetensors",
        ];
        let mut files: Vec<PathBuf> = fixed.into_iter().map(PathBuf::from).collect();
        files.extend(self.state_files.iter().cloned());
        files
    }
}

impl std::fmt::Display for Quantised {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let share = 100.0 * self.bytes as f64 / self.source_bytes.max(1) as f64;
        writeln!(f, "{} bytes instead of {} ({share:.0} %)", self.bytes, self.source_bytes)?;
        writeln!(f, "matrices in int8: {}, in int4: {}", self.int8, self.int4)?;
        writeln!(f, "kept as they were: {}", Few(&self.kept))?;
        write!(
            f,
            "left out, as inference does not use them: {} ({} values)",
            Few(&self.dropped),
            self.dropped_values
        )
    }
}
