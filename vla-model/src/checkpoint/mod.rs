//! Checkpoints as LeRobot publishes them: a folder with a policy's configuration, weights, and the
//! processors and statistics around it.
//!
//! | file of the folder | read by |
//! |---|---|
//! | `config.json` | [`config`], with the options of each kind in [`act`] and [`smolvla`] |
//! | `model.safetensors` | [`tensors`]: mapped, checked, in F32, BF16, F16 or this crate's own int8 and int4 |
//! | `policy_preprocessor.json`, `policy_postprocessor.json` | [`processors`] |
//! | the statistics that those name | [`statistics`] |
//! | `tokenizer.json` | [`tokeniser`] |
//! | `backbone.json` (optional) | [`smolvla`] |
//!
//! Nothing in a folder is trusted. Sizes, names, shapes and values are checked before a model exists,
//! every fault has a message of what was expected and what was found, and memory is bounded by the files'
//! own sizes. An option that would change what is computed and is not supported is refused, not ignored.
//! Pickles are never read.

pub mod act;
mod bytes;
pub mod card;
pub mod config;
pub mod error;
mod header;
mod json;
pub mod parts;
pub mod processors;
pub mod quantise;
pub mod robot;
pub mod smolvla;
pub mod statistics;
pub mod tensors;
pub mod tokeniser;
pub mod work;

use std::path::{Path, PathBuf};

pub use act::ActConfig;
pub use card::Card;
pub use config::{Camera, CommonConfig, Normalisation, PolicyConfig};
pub use error::CheckpointError;
pub use header::Dtype;
pub use quantise::{Quantisation, QuantiseOptions, Quantised, Scheme, quantise};
pub use robot::RobotSenses;
pub use smolvla::{Backbone, PrefixSchedule, RtcConfig, SmolVlaConfig};
pub use statistics::{Extent, Moments, Normaliser};
pub use tensors::{Storage, TensorInfo, Tensors};
pub use tokeniser::Tokeniser;

use config::CONFIG;
use json::{JSON_LIMIT_BYTES, read_limited};

const MODEL: &str = "model.safetensors";
const TOKENISER: &str = "tokenizer.json";
const BACKBONE: &str = "backbone.json";

/// A checkpoint's folder, read and checked.
#[derive(Debug)]
pub struct Checkpoint {
    /// The policy's options.
    pub config: PolicyConfig,
    /// How its values are scaled.
    pub statistics: Normaliser,
    /// Its weights.
    pub tensors: Tensors,
    /// How its matrices were quantised; `None` for a file as LeRobot writes it.
    pub quantisation: Option<Quantisation>,
    dir: PathBuf,
    /// The files of statistics that its processors name.
    state_files: Vec<PathBuf>,
}

impl Checkpoint {
    /// Opens a folder and checks everything but the weights' values and the tokenizer, which are read
    /// when they are asked for.
    ///
    /// # Errors
    /// When a file is missing, unsound, or asks for what is not supported.
    pub fn open(dir: &Path) -> Result<Self, CheckpointError> {
        let mut config = read_config(dir)?;
        let tensors = open_model(dir)?;
        let quantisation = Quantisation::read(&tensors)?;
        match &mut config {
            PolicyConfig::SmolVla(config) => config.size(&tensors, &dir.join(BACKBONE))?,
            PolicyConfig::Act(config) => config.check(&tensors)?,
        }
        let (statistics, state_files) =
            processors::read_statistics(dir, &mut config, &tensors, json::read_if_there)?;
        Ok(Self { config, statistics, tensors, quantisation, dir: dir.to_owned(), state_files })
    }

    /// The folder.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Reads the folder's `tokenizer.json`.
    ///
    /// # Errors
    /// When it is not there, does not fit the embedding table, or the policy takes no language.
    pub fn tokeniser(&self) -> Result<Tokeniser, CheckpointError> {
        read_tokeniser(&self.dir, &self.config)
    }
}

fn read_tokeniser(dir: &Path, config: &PolicyConfig) -> Result<Tokeniser, CheckpointError> {
    let path = dir.join(TOKENISER);
    match config {
        PolicyConfig::SmolVla(config) if path.exists() => {
            Tokeniser::open(&path, config.backbone.vocabulary, config.tokenizer_max_length)
        }
        PolicyConfig::SmolVla(config) => Err(CheckpointError::MissingFile {
            path,
            hint: format!(
                "checkpoints do not carry their tokenizer; copy the file tokenizer.json of the backbone \
                 {} into this folder",
                config.vlm_model_name
            ),
        }),
        PolicyConfig::Act(_) => Err(CheckpointError::Tokeniser {
            path,
            reason: "a policy of type act takes no instruction".to_owned(),
        }),
    }
}

fn read_config(dir: &Path) -> Result<PolicyConfig, CheckpointError> {
    let path = dir.join(CONFIG);
    if dir.is_dir() && !path.exists() {
        let hint = "expected the folder of a LeRobot checkpoint (often called `pretrained_model`)".to_owned();
        return Err(CheckpointError::MissingFile { path, hint });
    }
    PolicyConfig::parse(&path, &read_limited(&path, JSON_LIMIT_BYTES)?)
}

fn open_model(dir: &Path) -> Result<Tensors, CheckpointError> {
    let path = dir.join(MODEL);
    if path.exists() {
        return Tensors::open(&path);
    }
    let entries = std::fs::read_dir(dir).map_err(CheckpointError::io(dir))?;
    let names: Vec<String> =
        entries.filter_map(|entry| Some(entry.ok()?.file_name().to_string_lossy().into_owned())).collect();
    let pickle = names.iter().find(|name| {
        let extension = Path::new(name).extension().unwrap_or_default().to_string_lossy().to_lowercase();
        ["bin", "pt", "pth", "pkl", "pickle", "ckpt"].contains(&extension.as_str())
    });
    let hint = if let Some(pickle) = pickle {
        format!(
            "there is only `{pickle}`, a pickle, which can run any code when it is read and therefore never is; \
             save the policy again with LeRobot's save_pretrained, which writes safetensors"
        )
    } else if names.iter().any(|name| name == "model.safetensors.index.json") {
        "the weights are split over several files; save them as one".to_owned()
    } else {
        "expected the policy's weights".to_owned()
    };
    Err(CheckpointError::MissingFile { path, hint })
}
