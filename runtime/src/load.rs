//! Which policy a model file or a checkpoint's folder holds: the only place that knows particular models.

use std::path::{Path, PathBuf};

use reflexarc_vla_model::act::{self, Act, ActOptions};
use reflexarc_vla_model::checkpoint::{Checkpoint, CheckpointError, PolicyConfig, RobotSenses};
use reflexarc_vla_model::compute::Backend;
use reflexarc_vla_model::device::{self, DeviceError};
use reflexarc_vla_model::goal::policy::{GoalPolicy, GoalPolicyError};
use reflexarc_vla_model::policy::Policy;
use reflexarc_vla_model::smolvla::{self, SmolVla, SmolVlaOptions};

use crate::config::Config;
use crate::units::{UnitsFault, units_of};

/// A policy ready to decide.
pub struct LoadedPolicy {
    /// The policy.
    pub policy: Box<dyn Policy>,
    /// The device that it runs on, and why that one, in one line.
    pub device: String,
    /// Of a checkpoint: the units that it was trained in and how they are known, in one line.
    pub units: Option<String>,
}

/// What is wrong with a model, or with the device for it.
#[derive(Debug, thiserror::Error)]
pub enum LoadFault {
    /// A weights file of the goal model.
    #[error(transparent)]
    Goal(#[from] GoalPolicyError),
    /// A LeRobot checkpoint, by itself or beside this robot.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// A checkpoint in units that are not known.
    #[error(transparent)]
    Units(#[from] UnitsFault),
    /// No device.
    #[error(transparent)]
    Device(#[from] DeviceError),
}

/// Why a model could not be loaded.
#[derive(Debug, thiserror::Error)]
#[error("cannot load the model {path}: {source}")]
pub struct LoadError {
    /// The file or folder.
    pub path: PathBuf,
    /// What is wrong with it, or with the device.
    pub source: Box<LoadFault>,
}

/// Loads the policy at `path` for the robot that `config` describes: from a folder a LeRobot checkpoint
/// (SmolVLA or ACT), from a file the goal model.
///
/// # Errors
/// [`LoadError`] for a file that is missing, truncated, of another shape or vocabulary, for a checkpoint
/// whose cameras or joints are not the robot's or whose units are not known, and for a device that is not there.
pub fn load_policy(path: &Path, config: &Config) -> Result<LoadedPolicy, LoadError> {
    let loaded = if path.is_dir() { load_checkpoint(path, config) } else { load_goal(path, config) };
    loaded.map_err(|source| LoadError { path: path.into(), source: Box::new(source) })
}

fn load_goal(path: &Path, config: &Config) -> Result<LoadedPolicy, LoadFault> {
    let policy = GoalPolicy::load(path, config.policy.device)?;
    let device = format!("{} ({})", policy.device().description, policy.device().reason);
    Ok(LoadedPolicy { policy: Box::new(policy), device, units: None })
}

fn load_checkpoint(path: &Path, config: &Config) -> Result<LoadedPolicy, LoadFault> {
    let checkpoint = Checkpoint::open(path)?;
    let values = config.robot.posture_rad.len() + 1;
    checkpoint.check_robot(&RobotSenses {
        cameras: config.senses.cameras.clone(),
        state_len: values,
        action_len: values,
    })?;
    let (units, told) = units_of(&checkpoint.statistics, config)?;
    let chosen = device::choose(config.policy.device)?;
    let backend = Backend::from(&chosen);
    let precision = config.policy.precision;
    // The validated rate is between 1 and 200 Hz.
    let period_ns = (1e9 / config.chunk.rate_hz).round() as u64;
    let policy: Box<dyn Policy> = match checkpoint.config {
        PolicyConfig::SmolVla(_) => {
            let precision = smolvla::Precisions::of(precision);
            let options = SmolVlaOptions { precision, period_ns, units, ..SmolVlaOptions::default() };
            Box::new(SmolVla::load(path, &backend, options)?)
        }
        PolicyConfig::Act(_) => {
            let precision = act::Precisions::of(precision);
            let options = ActOptions { precision, period_ns, units, ..ActOptions::default() };
            Box::new(Act::load(path, &backend, options)?)
        }
    };
    let device = format!("{} ({})", backend.description(), chosen.reason);
    Ok(LoadedPolicy { policy, device, units: Some(told) })
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests fail by panicking")]
mod tests {
    use super::*;
    use crate::config::DeviceChoice;

    fn config() -> Config {
        let mut config = Config::default();
        config.policy.device = DeviceChoice::Cpu;
        config
    }

    #[test]
    fn a_missing_or_broken_file_is_an_error_that_names_it() {
        let missing = std::env::temp_dir().join("reflexarc-no-such-model");
        let error = load_policy(&missing, &config()).err().unwrap().to_string();
        assert!(error.contains("reflexarc-no-such-model"), "{error}");
        let broken = std::env::temp_dir().join(format!("reflexarc-{}-broken", std::process::id()));
        std::fs::write(&broken, b"these are no weights").unwrap();
        let error = load_policy(&broken, &config()).err().unwrap().to_string();
        std::fs::remove_file(&broken).unwrap();
        assert!(error.contains("-broken"), "{error}");
    }

    #[test]
    fn a_checkpoint_of_another_robot_is_refused_with_both_sides() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../vla-model/tests/data/lerobot/act_tiny");
        let error = load_policy(&folder, &config()).err().unwrap().to_string();
        assert!(error.contains("the checkpoint has cameras"), "{error}");
        assert!(error.contains("the robot has cameras [\"scene\", \"wrist\"], 8 values"), "{error}");
    }
}
