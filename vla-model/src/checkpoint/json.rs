//! JSON from files that nobody vouches for: bounded in size, in file order, without duplicate keys.

use std::fmt;
use std::fs::File;
use std::io::Read;
use std::marker::PhantomData;
use std::path::Path;

use serde::Deserialize;
use serde::de::{DeserializeOwned, Deserializer, Error as _, MapAccess, Visitor};

use super::error::CheckpointError;

/// Largest configuration or processor file; real ones have a few kilobytes.
pub(super) const JSON_LIMIT_BYTES: u64 = 1 << 20;

/// A JSON object in the order of the file. A key that comes twice is an error.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Ordered<V>(pub(super) Vec<(String, V)>);

impl<V> Default for Ordered<V> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<V> Ordered<V> {
    pub(super) fn get(&self, key: &str) -> Option<&V> {
        self.0.iter().find(|(name, _)| name == key).map(|(_, value)| value)
    }
}

impl<'de, V: Deserialize<'de>> Deserialize<'de> for Ordered<V> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Entries<V>(PhantomData<V>);
        impl<'de, V: Deserialize<'de>> Visitor<'de> for Entries<V> {
            type Value = Ordered<V>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut entries = Vec::new();
                let mut seen = std::collections::HashSet::new();
                while let Some((key, value)) = map.next_entry::<String, V>()? {
                    if !seen.insert(key.clone()) {
                        return Err(A::Error::custom(format!("the key `{key}` comes twice")));
                    }
                    entries.push((key, value));
                }
                Ok(Ordered(entries))
            }
        }
        deserializer.deserialize_map(Entries(PhantomData))
    }
}

/// A whole file of at most `limit_bytes`.
pub(super) fn read_limited(path: &Path, limit_bytes: u64) -> Result<Vec<u8>, CheckpointError> {
    let file = File::open(path).map_err(CheckpointError::io(path))?;
    let actual_bytes = file.metadata().map_err(CheckpointError::io(path))?.len();
    let too_large =
        |actual_bytes| CheckpointError::TooLarge { path: path.to_owned(), actual_bytes, limit_bytes };
    if actual_bytes > limit_bytes {
        return Err(too_large(actual_bytes));
    }
    let mut bytes = Vec::new();
    // The file may grow while it is read.
    file.take(limit_bytes + 1).read_to_end(&mut bytes).map_err(CheckpointError::io(path))?;
    if bytes.len() as u64 > limit_bytes {
        return Err(too_large(bytes.len() as u64));
    }
    Ok(bytes)
}

/// As [`read_limited`]; `None` where there is no such file.
pub(super) fn read_if_there(path: &Path, limit_bytes: u64) -> Result<Option<Vec<u8>>, CheckpointError> {
    if !path.exists() {
        return Ok(None);
    }
    read_limited(path, limit_bytes).map(Some)
}

/// A JSON file of at most [`JSON_LIMIT_BYTES`].
pub(super) fn read<T: DeserializeOwned>(path: &Path) -> Result<T, CheckpointError> {
    parse(path, &read_limited(path, JSON_LIMIT_BYTES)?)
}

/// The bytes of the JSON file at `path`.
pub(super) fn parse<T: DeserializeOwned>(path: &Path, bytes: &[u8]) -> Result<T, CheckpointError> {
    serde_json::from_slice(bytes).map_err(|error| CheckpointError::json(path, error))
}
