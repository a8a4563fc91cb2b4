//! Small files with one value each, and why they cannot be read.

use std::fs::File;
use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};

/// Nothing that sysfs says in one value is longer, bytes.
const LONGEST: u64 = 256;

/// Why a figure is not available.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Reason {
    /// The board or its kernel has no such sensor.
    #[error("no such file")]
    NoSuchFile,
    /// The sensor is there, and this user may not read it.
    #[error("permission denied")]
    PermissionDenied,
    /// The file says something else than a number.
    #[error("{found:?} is not a number")]
    Garbage {
        /// What it says.
        found: String,
    },
    /// The number cannot be true.
    #[error("{found} is outside {low} to {high}")]
    OutOfRange {
        /// The number.
        found: i64,
        /// The least that may be true.
        low: i64,
        /// The most that may be true.
        high: i64,
    },
    /// Energy takes two readings.
    #[error("fewer than two readings yet")]
    TooFew,
    /// An energy counter that has not moved although time has passed.
    #[error("the counter does not move")]
    Stuck,
    /// Rails are there, and none of them is known to be the total.
    #[error("none of the rails {found} is known to carry the total")]
    NoTotal {
        /// Their labels.
        found: String,
    },
    /// Another error of the system, such as a sensor that is switched off.
    #[error("{0}")]
    System(String),
}

impl From<&std::io::Error> for Reason {
    fn from(error: &std::io::Error) -> Self {
        match error.kind() {
            ErrorKind::NotFound => Self::NoSuchFile,
            ErrorKind::PermissionDenied => Self::PermissionDenied,
            _ => Self::System(error.to_string()),
        }
    }
}

/// A figure that the board does not tell, and why.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{path}: {reason}")]
pub struct Unavailable {
    /// The file or folder that was asked.
    pub path: PathBuf,
    /// Why it does not tell.
    pub reason: Reason,
}

impl Unavailable {
    pub(super) fn new(path: impl Into<PathBuf>, reason: Reason) -> Self {
        Self { path: path.into(), reason }
    }
}

/// The trimmed text of a small file; bytes that are not UTF-8 are replaced.
pub(super) fn text(path: &Path) -> Result<String, Unavailable> {
    let mut bytes = Vec::new();
    File::open(path)
        .and_then(|file| file.take(LONGEST).read_to_end(&mut bytes))
        .map_err(|error| Unavailable::new(path, Reason::from(&error)))?;
    Ok(String::from_utf8_lossy(&bytes).trim().to_owned())
}

/// The whole number in a small file, if it lies in `low..=high`.
pub(super) fn number(path: &Path, low: i64, high: i64) -> Result<i64, Unavailable> {
    let text = text(path)?;
    let found: i64 = text.parse().map_err(|_| Unavailable::new(path, Reason::Garbage { found: text }))?;
    if found < low || found > high {
        return Err(Unavailable::new(path, Reason::OutOfRange { found, low, high }));
    }
    Ok(found)
}

/// The entries of a folder whose names `wanted` accepts, in the order of their names (numbers count as
/// numbers).
pub(super) fn entries(folder: &Path, wanted: impl Fn(&str) -> bool) -> Result<Vec<PathBuf>, Unavailable> {
    let listing =
        std::fs::read_dir(folder).map_err(|error| Unavailable::new(folder, Reason::from(&error)))?;
    let mut paths: Vec<PathBuf> = listing
        .filter_map(Result::ok)
        .filter(|entry| entry.file_name().to_str().is_some_and(&wanted))
        .map(|entry| entry.path())
        .collect();
    paths.sort_by_key(|path| {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        // hwmon10 comes after hwmon9.
        (name.len(), name)
    });
    Ok(paths)
}

/// The last part of a path as text.
pub(super) fn name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}
