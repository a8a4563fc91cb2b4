//! Why a checkpoint was not read.

use std::fmt;
use std::path::{Path, PathBuf};

/// Why a checkpoint was not read or written. Each says what was expected and what was found.
#[derive(Debug, thiserror::Error)]
pub enum CheckpointError {
    /// A file or folder could not be read or written.
    #[error("cannot access {}: {source}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A file that a checkpoint needs is not in its folder.
    #[error("{} is missing: {hint}", path.display())]
    MissingFile {
        /// Where it was expected.
        path: PathBuf,
        /// What to do about it.
        hint: String,
    },
    /// A file that is larger than any of its kind.
    #[error("{} holds {actual_bytes} bytes, expected at most {limit_bytes}", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// Bytes it has.
        actual_bytes: u64,
        /// Bytes it may have.
        limit_bytes: u64,
    },
    /// A tensor file that ends before its tensors do, or goes on after them.
    #[error("{} is truncated or has surplus bytes: its header accounts for {expected_bytes} bytes, it holds {actual_bytes}", path.display())]
    Truncated {
        /// The file.
        path: PathBuf,
        /// Bytes that its header accounts for.
        expected_bytes: u64,
        /// Bytes it has.
        actual_bytes: u64,
    },
    /// The bytes are no safetensors file, or no sound one.
    #[error("{} is not a sound safetensors file: {reason}", path.display())]
    NotSafetensors {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// A JSON file that cannot be understood.
    #[error("{} is not as expected: {reason}", path.display())]
    Json {
        /// The file.
        path: PathBuf,
        /// What is wrong, with line and column.
        reason: String,
    },
    /// An option with a value that this build does not carry out.
    #[error("{file}: `{field}` is {actual}, expected {expected}")]
    Option {
        /// The file that says it.
        file: &'static str,
        /// The option.
        field: String,
        /// What is supported.
        expected: String,
        /// What the file has.
        actual: String,
    },
    /// A tensor that the model needs is not in the file.
    #[error("there is no tensor `{name}`")]
    MissingTensor {
        /// Its name.
        name: String,
    },
    /// A tensor of another shape than the configuration or the other tensors say.
    #[error("tensor `{name}` has shape {actual:?}, expected {expected:?}")]
    Shape {
        /// Its name.
        name: String,
        /// The shape that fits.
        expected: Vec<usize>,
        /// The shape it has.
        actual: Vec<usize>,
    },
    /// A tensor of numbers that cannot be used in its place.
    #[error("tensor `{name}` holds {actual}, expected {expected}")]
    Dtype {
        /// Its name.
        name: String,
        /// What can be read here.
        expected: &'static str,
        /// What it holds.
        actual: String,
    },
    /// A value that no sound tensor has.
    #[error("tensor `{name}` has the value {actual} at index {index}, expected {expected}")]
    Value {
        /// The tensor's name.
        name: String,
        /// Index of the first such value, counted over the flattened tensor.
        index: usize,
        /// What values there may be.
        expected: &'static str,
        /// The value.
        actual: String,
    },
    /// The sizes of a backbone that fit neither the file nor each other.
    #[error("the sizes of the model do not fit: {what} is {actual}, expected {expected}")]
    Size {
        /// Which size.
        what: String,
        /// What would fit.
        expected: String,
        /// What was found.
        actual: String,
    },
    /// Statistics that the configuration asks for and the files do not have.
    #[error("{0}")]
    MissingStatistics(MissingStatistics),
    /// Statistics that cannot be right.
    #[error("the statistics of `{feature}` are unusable: {reason}")]
    Statistics {
        /// The feature.
        feature: String,
        /// What is wrong.
        reason: String,
    },
    /// A tokenizer that cannot be used with the checkpoint.
    #[error("the tokenizer {} cannot be used: {reason}", path.display())]
    Tokeniser {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// The robot's senses or joints are not those of the checkpoint.
    #[error("{0}")]
    Robot(Box<super::robot::Mismatch>),
    /// Something asked of the writer that it does not do.
    #[error("{reason}")]
    Write {
        /// Why not.
        reason: String,
    },
}

/// Names of files or tensors, at most eight of them.
pub(super) struct Few<'a, T>(pub(super) &'a [T]);

impl<T: fmt::Display> fmt::Display for Few<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const SHOWN: usize = 8;
        if self.0.is_empty() {
            return f.write_str("none");
        }
        for (index, item) in self.0.iter().take(SHOWN).enumerate() {
            let comma = if index == 0 { "" } else { ", " };
            write!(f, "{comma}`{item}`")?;
        }
        match self.0.len().saturating_sub(SHOWN) {
            0 => Ok(()),
            more => write!(f, " and {more} more"),
        }
    }
}

/// Statistics that are not there under the names that the configuration gives.
///
/// LeRobot leaves such features unscaled without a word (its issue 1763: the published SmolVLA base
/// model has its statistics under `so100.buffer.action` and so on), and the arm moves wrongly.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MissingStatistics {
    /// The feature: `observation.state`, `action` or a camera's key.
    pub feature: String,
    /// Its normalisation by the configuration.
    pub mode: String,
    /// The tensors that were looked for.
    pub expected: Vec<String>,
    /// The tensors that there are.
    pub found: Vec<String>,
    /// The file that was searched.
    pub file: String,
}

impl fmt::Display for MissingStatistics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "config.json wants `{}` normalised by {}, and {} has no statistics for it: expected {}, found {}. \
             Without them the values would pass unscaled and the arm would move wrongly (LeRobot issue 1763). \
             Fine-tune the checkpoint on a dataset of this robot, or save it again with that dataset's statistics",
            self.feature,
            self.mode,
            self.file,
            Few(&self.expected),
            Few(&self.found),
        )
    }
}

impl CheckpointError {
    pub(super) fn io(path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { path, source }
    }

    pub(super) fn safetensors(path: &Path, reason: impl Into<String>) -> Self {
        Self::NotSafetensors { path: path.to_owned(), reason: reason.into() }
    }

    pub(super) fn json(path: &Path, reason: impl fmt::Display) -> Self {
        Self::Json { path: path.to_owned(), reason: reason.to_string() }
    }

    pub(super) fn option(
        file: &'static str,
        field: impl Into<String>,
        expected: impl fmt::Display,
        actual: impl fmt::Display,
    ) -> Self {
        Self::Option { file, field: field.into(), expected: expected.to_string(), actual: actual.to_string() }
    }

    pub(super) fn size(
        what: impl Into<String>,
        expected: impl fmt::Display,
        actual: impl fmt::Display,
    ) -> Self {
        Self::Size { what: what.into(), expected: expected.to_string(), actual: actual.to_string() }
    }
}
