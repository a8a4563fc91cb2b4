//! Which policy a weights file holds: the only place that knows particular models.

use std::path::{Path, PathBuf};

use reflexarc_vla_model::goal::policy::{GoalPolicy, GoalPolicyError};
use reflexarc_vla_model::policy::Policy;

use crate::config::DeviceChoice;

/// A policy ready to decide.
pub struct LoadedPolicy {
    /// The policy.
    pub policy: Box<dyn Policy>,
    /// The device that it runs on, and why that one, in one line.
    pub device: String,
}

/// Why a model could not be loaded.
#[derive(Debug, thiserror::Error)]
#[error("cannot load the model {path}: {source}")]
pub struct LoadError {
    /// The file.
    pub path: PathBuf,
    /// What is wrong with it, or with the device.
    pub source: GoalPolicyError,
}

/// Loads the policy in a weights file onto a device.
///
/// # Errors
/// [`LoadError`] for a file that is missing, truncated, of another shape or vocabulary, and for a
/// device that is not there.
pub fn load_policy(path: &Path, device: DeviceChoice) -> Result<LoadedPolicy, LoadError> {
    let policy = GoalPolicy::load(path, device).map_err(|source| LoadError { path: path.into(), source })?;
    let device = format!("{} ({})", policy.device().description, policy.device().reason);
    Ok(LoadedPolicy { policy: Box::new(policy), device })
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests fail by panicking")]
mod tests {
    use super::*;

    #[test]
    fn a_missing_or_broken_file_is_an_error_that_names_it() {
        let missing = std::env::temp_dir().join("reflexarc-no-such-model");
        let error = load_policy(&missing, DeviceChoice::Cpu).err().unwrap().to_string();
        assert!(error.contains("reflexarc-no-such-model"), "{error}");
        let broken = std::env::temp_dir().join(format!("reflexarc-{}-broken", std::process::id()));
        std::fs::write(&broken, b"these are no weights").unwrap();
        let error = load_policy(&broken, DeviceChoice::Cpu).err().unwrap().to_string();
        std::fs::remove_file(&broken).unwrap();
        assert!(error.contains("-broken"), "{error}");
    }
}
