//! Folders and files to test with.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::Value;

pub(crate) fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/lerobot").join(name)
}

/// A folder that goes away.
pub(crate) struct Folder(pub(crate) PathBuf);

impl Folder {
    pub(crate) fn empty() -> Self {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("reflexarc-checkpoint-{}-{count}", std::process::id()));
        fs::create_dir(&path).unwrap();
        Self(path)
    }

    /// A copy of a fixture.
    pub(crate) fn of(name: &str) -> Self {
        let folder = Self::empty();
        for entry in fs::read_dir(fixture(name)).unwrap() {
            let entry = entry.unwrap();
            fs::copy(entry.path(), folder.0.join(entry.file_name())).unwrap();
        }
        folder
    }

    pub(crate) fn path(&self, file: &str) -> PathBuf {
        self.0.join(file)
    }

    pub(crate) fn edit(&self, file: &str, edit: impl FnOnce(&mut Value)) {
        let mut json: Value = serde_json::from_slice(&fs::read(self.path(file)).unwrap()).unwrap();
        edit(&mut json);
        fs::write(self.path(file), json.to_string()).unwrap();
    }

    /// Replaces a safetensors file by one with other tensors.
    pub(crate) fn edit_tensors(&self, file: &str, edit: impl FnOnce(&mut BTreeMap<String, Raw>)) {
        let mut tensors = read(&fs::read(self.path(file)).unwrap());
        edit(&mut tensors);
        fs::write(self.path(file), write(&tensors)).unwrap();
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).unwrap();
    }
}

/// A tensor as the file has it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Raw {
    pub(crate) dtype: String,
    pub(crate) shape: Vec<usize>,
    pub(crate) bytes: Vec<u8>,
}

impl Raw {
    pub(crate) fn f32(shape: &[usize], values: &[f32]) -> Self {
        let bytes = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        Self { dtype: "F32".to_owned(), shape: shape.to_vec(), bytes }
    }
}

pub(crate) fn read(file: &[u8]) -> BTreeMap<String, Raw> {
    let length = u64::from_le_bytes(file[..8].try_into().unwrap()) as usize;
    let header: BTreeMap<String, Value> = serde_json::from_slice(&file[8..8 + length]).unwrap();
    let size = |value: &Value| value.as_u64().unwrap() as usize;
    header
        .into_iter()
        .filter(|(name, _)| name != "__metadata__")
        .map(|(name, entry)| {
            let offset = |index: usize| 8 + length + size(&entry["data_offsets"][index]);
            let raw = Raw {
                dtype: entry["dtype"].as_str().unwrap().to_owned(),
                shape: entry["shape"].as_array().unwrap().iter().map(size).collect(),
                bytes: file[offset(0)..offset(1)].to_vec(),
            };
            (name, raw)
        })
        .collect()
}

pub(crate) fn write(tensors: &BTreeMap<String, Raw>) -> Vec<u8> {
    let mut header = serde_json::Map::new();
    let mut data = Vec::new();
    for (name, raw) in tensors {
        let offsets = [data.len(), data.len() + raw.bytes.len()];
        let entry = serde_json::json!({ "dtype": raw.dtype, "shape": raw.shape, "data_offsets": offsets });
        header.insert(name.clone(), entry);
        data.extend_from_slice(&raw.bytes);
    }
    with_header(&Value::Object(header).to_string(), &data)
}

pub(crate) fn with_header(header: &str, data: &[u8]) -> Vec<u8> {
    let mut header = header.as_bytes().to_vec();
    header.resize(header.len().next_multiple_of(8), b' ');
    [&(header.len() as u64).to_le_bytes()[..], &header, data].concat()
}
