//! What a recording says about the run that it is of.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::Path;

use sha2::{Digest, Sha256};

use crate::config::Config;

/// Name of the metadata record that holds a [`RunInfo`].
pub const RUN_METADATA: &str = "reflexarc.run";

/// What a recording says about the run that it is of.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RunInfo(pub(crate) BTreeMap<String, String>);

impl RunInfo {
    /// Configuration, program, machine, policy, and the hashes of the files that the run depends on, as far
    /// as they can be read.
    #[must_use]
    pub fn new(config: &Config, policy: &str) -> Self {
        let mut entries = BTreeMap::new();
        let mut add = |key: &str, value: String| entries.insert(key.to_owned(), value);
        add("program", format!("reflexarc {}", env!("CARGO_PKG_VERSION")));
        add("machine", format!("{} {}", std::env::consts::ARCH, std::env::consts::OS));
        if let Some(hash) = std::env::current_exe().ok().and_then(|path| file_sha256(&path)) {
            add("program_sha256", hash);
        }
        add("instruction", config.policy.instruction.clone());
        add("policy", policy.to_owned());
        if let Ok(text) = config.to_toml() {
            add("config", text);
        }
        if let Some(model) = &config.policy.model {
            add("model", model.display().to_string());
            if let Some(hash) = file_sha256(model) {
                add("model_sha256", hash);
            }
        }
        if let Some(hash) = file_sha256(Path::new(&config.robot.urdf)) {
            add("urdf_sha256", hash);
        }
        Self(entries)
    }

    /// One entry.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key).map(String::as_str)
    }
}

/// SHA-256 of a model's weights as hexadecimal digits, of the file itself or of `model.safetensors` in a
/// folder; `None` if it cannot be read.
#[must_use]
pub fn file_sha256(path: &Path) -> Option<String> {
    let inside = path.join("model.safetensors");
    let mut file = File::open(if path.is_dir() { &inside } else { path }).ok()?;
    let mut hasher = Sha256::new();
    let mut block = vec![0; 1 << 16];
    loop {
        match file.read(&mut block).ok()? {
            0 => break,
            count => hasher.update(&block[..count]),
        }
    }
    Some(hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
}
