//! The head of a safetensors file: which tensors there are, and where.
//!
//! The form (<https://github.com/huggingface/safetensors>): eight bytes with the length of the header, the
//! header in JSON, the tensors. Every tensor's bytes must follow the one before without gap or overlap,
//! up to the end of the file.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

use serde::Deserialize;
use serde::de::{Deserializer, Error as _, MapAccess, SeqAccess, Visitor};

use super::error::CheckpointError;
use super::json::Ordered;

/// Longest header; that of a published SmolVLA has 60 kilobytes.
pub(super) const HEADER_LIMIT_BYTES: u64 = 16 << 20;
/// Most dimensions of a tensor.
const MAX_DIMENSIONS: usize = 8;
const LENGTH_BYTES: usize = 8;
const METADATA: &str = "__metadata__";

/// How a tensor's values are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
#[allow(missing_docs, reason = "the names are those of the file form")]
pub enum Dtype {
    Bool,
    U8,
    I8,
    U16,
    I16,
    F16,
    BF16,
    U32,
    I32,
    F32,
    U64,
    I64,
    F64,
}

impl Dtype {
    /// Bytes of one value.
    #[must_use]
    pub const fn bytes(self) -> usize {
        match self {
            Self::Bool | Self::U8 | Self::I8 => 1,
            Self::U16 | Self::I16 | Self::F16 | Self::BF16 => 2,
            Self::U32 | Self::I32 | Self::F32 => 4,
            Self::U64 | Self::I64 | Self::F64 => 8,
        }
    }
}

impl fmt::Display for Dtype {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", format!("{self:?}").to_uppercase())
    }
}

/// One tensor of the file.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) dtype: Dtype,
    pub(super) shape: Vec<usize>,
    /// Range in the whole file.
    pub(super) start: usize,
    pub(super) end: usize,
}

/// The whole header.
#[derive(Debug)]
pub(super) struct Header {
    pub(super) entries: BTreeMap<String, Entry>,
    pub(super) metadata: BTreeMap<String, String>,
}

impl Header {
    /// Reads the header of a file that holds `bytes`.
    ///
    /// # Errors
    /// When the header does not describe exactly these bytes. Work and memory are bounded by the
    /// header's own length.
    pub(super) fn parse(path: &Path, bytes: &[u8]) -> Result<Self, CheckpointError> {
        let truncated = |expected_bytes: u64| CheckpointError::Truncated {
            path: path.to_owned(),
            expected_bytes,
            actual_bytes: bytes.len() as u64,
        };
        let unsound = |reason: String| CheckpointError::safetensors(path, reason);
        let (length, rest) = bytes.split_first_chunk::<LENGTH_BYTES>().ok_or_else(|| truncated(8))?;
        let length = u64::from_le_bytes(*length);
        if length > HEADER_LIMIT_BYTES {
            return Err(unsound(format!(
                "its first eight bytes say that the header has {length} bytes, expected at most {HEADER_LIMIT_BYTES}"
            )));
        }
        // Lossless: at most 16 MiB.
        let length = length as usize;
        let data_start = LENGTH_BYTES + length;
        let header = rest.get(..length).ok_or_else(|| truncated(data_start as u64))?;
        let Raw { tensors, metadata } =
            serde_json::from_slice(header).map_err(|error| unsound(format!("its header: {error}")))?;

        let mut entries = BTreeMap::new();
        for (name, raw) in tensors {
            let [start, end] = raw.data_offsets;
            // Without empty tensors, every product of sizes is bounded by the file's length.
            let sizes = raw.shape.0.iter().map(|&size| Some(size).filter(|&size| size > 0));
            let count = sizes.into_iter().try_fold(1_u64, |count, size| count.checked_mul(size?));
            let expected = count.and_then(|count| count.checked_mul(raw.dtype.bytes() as u64));
            if end.checked_sub(start) != expected || expected.is_none() {
                return Err(unsound(format!(
                    "tensor `{name}` of shape {:?} in {} lies at {start}..{end}",
                    raw.shape.0, raw.dtype
                )));
            }
            let place =
                |offset: u64| usize::try_from(offset).ok().and_then(|offset| offset.checked_add(data_start));
            let sizes: Option<Vec<usize>> =
                raw.shape.0.iter().map(|&size| usize::try_from(size).ok()).collect();
            let (Some(start), Some(end), Some(shape)) = (place(start), place(end), sizes) else {
                return Err(truncated(end));
            };
            if entries.insert(name.clone(), Entry { dtype: raw.dtype, shape, start, end }).is_some() {
                return Err(unsound(format!("tensor `{name}` comes twice")));
            }
        }

        let mut places: Vec<(&str, &Entry)> =
            entries.iter().map(|(name, entry)| (name.as_str(), entry)).collect();
        places.sort_by_key(|(_, entry)| (entry.start, entry.end));
        let mut next = data_start;
        for (name, entry) in places {
            if entry.start != next {
                return Err(unsound(format!(
                    "tensor `{name}` begins at byte {}, expected {next}: tensors may not overlap or leave gaps",
                    entry.start
                )));
            }
            next = entry.end;
        }
        if next != bytes.len() {
            return Err(truncated(next as u64));
        }
        Ok(Self { entries, metadata })
    }
}

/// The head of a file: its length, and in JSON one key of metadata and each tensor's name, type, shape
/// and range, padded so that the data begin at a multiple of eight.
pub(super) fn encode<'a>(
    key: &str,
    metadata: &str,
    tensors: impl Iterator<Item = (&'a str, Dtype, &'a [usize], [u64; 2])>,
) -> Vec<u8> {
    let quoted = |text: &str| serde_json::Value::from(text).to_string();
    let mut json = format!("{{\"{METADATA}\":{{{}:{}}}", quoted(key), quoted(metadata));
    for (name, dtype, shape, [start, end]) in tensors {
        json += &format!(
            ",{}:{{\"dtype\":\"{dtype}\",\"shape\":{shape:?},\"data_offsets\":[{start},{end}]}}",
            quoted(name)
        );
    }
    json.push('}');
    let length = json.len().next_multiple_of(LENGTH_BYTES);
    let mut head = (length as u64).to_le_bytes().to_vec();
    head.extend_from_slice(json.as_bytes());
    head.resize(LENGTH_BYTES + length, b' ');
    head
}

/// The header's JSON.
struct Raw {
    tensors: Vec<(String, RawEntry)>,
    metadata: BTreeMap<String, String>,
}

#[derive(Deserialize)]
struct RawEntry {
    dtype: Dtype,
    shape: Sizes,
    data_offsets: [u64; 2],
}

impl<'de> Deserialize<'de> for Raw {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Entries;
        impl<'de> Visitor<'de> for Entries {
            type Value = Raw;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of tensors")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Raw, A::Error> {
                let mut raw = Raw { tensors: Vec::new(), metadata: BTreeMap::new() };
                let mut metadata_seen = false;
                while let Some(key) = map.next_key::<String>()? {
                    if key == METADATA {
                        if std::mem::replace(&mut metadata_seen, true) {
                            return Err(A::Error::custom("the metadata comes twice"));
                        }
                        raw.metadata = map.next_value::<Ordered<String>>()?.0.into_iter().collect();
                    } else {
                        raw.tensors.push((key, map.next_value()?));
                    }
                }
                Ok(raw)
            }
        }
        deserializer.deserialize_map(Entries)
    }
}

/// A shape, bounded while it is read.
struct Sizes(Vec<u64>);

impl<'de> Deserialize<'de> for Sizes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Elements;
        impl<'de> Visitor<'de> for Elements {
            type Value = Sizes;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "at most {MAX_DIMENSIONS} sizes")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<Sizes, A::Error> {
                let mut sizes = Vec::new();
                while let Some(size) = sequence.next_element()? {
                    if sizes.len() == MAX_DIMENSIONS {
                        return Err(A::Error::custom(format!(
                            "a shape of more than {MAX_DIMENSIONS} dimensions"
                        )));
                    }
                    sizes.push(size);
                }
                Ok(Sizes(sizes))
            }
        }
        deserializer.deserialize_seq(Elements)
    }
}
