//! Checkpoints as LeRobot publishes them: a folder with a policy's configuration, weights, and the
//! processors and statistics around it.
//!
//! | file of the folder | read by |
//! |---|---|
//! | `config.json` | [`config`], with the options of each kind in [`act`] and [`smolvla`] |
//! | `model.safetensors` | [`tensors`]: mapped, checked, in F32, BF16, F16 or this crate's own int8 and int4 |
//! | `policy_preprocessor.json`, `policy_postprocessor.json` | `processors` |
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
pub mod config;
pub mod error;
mod header;
mod json;
mod processors;
pub mod robot;
pub mod smolvla;
pub mod statistics;
pub mod tensors;
pub mod tokeniser;

use std::path::{Path, PathBuf};

pub use act::ActConfig;
pub use config::{Camera, CommonConfig, Normalisation, PolicyConfig};
pub use error::CheckpointError;
pub use header::Dtype;
pub use robot::RobotSenses;
pub use smolvla::{Backbone, PrefixSchedule, RtcConfig, SmolVlaConfig};
pub use statistics::{Moments, Normaliser};
pub use tensors::{Storage, TensorInfo, Tensors};
pub use tokeniser::Tokeniser;

use config::CONFIG;
use json::{JSON_LIMIT_BYTES, read_limited};
use processors::{POSTPROCESSOR, PREPROCESSOR, Preprocessor};
use statistics::{Naming, OLD_BUFFERS, Source};

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
    dir: PathBuf,
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
        match &mut config {
            PolicyConfig::SmolVla(config) => config.size(&tensors, &dir.join(BACKBONE))?,
            PolicyConfig::Act(config) => config.check(&tensors)?,
        }
        let statistics = read_statistics(dir, &mut config, &tensors)?;
        Ok(Self { config, statistics, tensors, dir: dir.to_owned() })
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
        let path = self.dir.join(TOKENISER);
        match &self.config {
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

/// Reads the processors and the statistics that they name, and gives the cameras the names that the
/// robot has for them.
fn read_statistics(
    dir: &Path,
    config: &mut PolicyConfig,
    tensors: &Tensors,
) -> Result<Normaliser, CheckpointError> {
    let (before, after) = (dir.join(PREPROCESSOR), dir.join(POSTPROCESSOR));
    if !before.exists() && !after.exists() {
        let old = tensors.names().any(|name| OLD_BUFFERS.iter().any(|prefix| name.starts_with(prefix)));
        let common = config.common();
        return if !Normaliser::needed(common) {
            Ok(Normaliser::identity(common))
        } else if old {
            let inputs = Source { tensors, naming: Naming::Inputs };
            let outputs = Source { tensors, naming: Naming::Outputs };
            Normaliser::read(common, &inputs, &outputs, 1e-8)
        } else {
            let hint = "it names the statistics that config.json asks for, and model.safetensors has none of the \
                        buffers that older checkpoints keep there";
            Err(CheckpointError::MissingFile { path: before, hint: hint.to_owned() })
        };
    }
    for path in [&before, &after] {
        if !path.exists() {
            let hint = "a checkpoint has a preprocessor and a postprocessor".to_owned();
            return Err(CheckpointError::MissingFile { path: path.clone(), hint });
        }
    }
    let preprocessor = Preprocessor::parse(&before, &read_limited(&before, JSON_LIMIT_BYTES)?, config)?;
    let after_bytes = read_limited(&after, JSON_LIMIT_BYTES)?;
    let unnormaliser = processors::parse_postprocessor(&after, &after_bytes, config.common())?;
    for camera in &mut config.common_mut().cameras {
        if let Some(source) = preprocessor.renamed(&camera.key)? {
            camera.name = source.strip_prefix("observation.images.").unwrap_or(source).to_owned();
        }
    }
    let common = config.common();
    if !Normaliser::needed(common) {
        return Ok(Normaliser::identity(common));
    }
    let open = |step: Option<&processors::NormaliserStep>, file: &'static str, name: &str| {
        let Some(step) = step else {
            return Err(CheckpointError::option(file, "steps", format_args!("a step `{name}`"), "none"));
        };
        let Some(state_file) = &step.state_file else {
            let expected = "a file of statistics, which config.json asks for";
            return Err(CheckpointError::option(file, format!("{name}.state_file"), expected, "absent"));
        };
        statistics::open(&dir.join(state_file))
    };
    let before = open(preprocessor.normaliser.as_ref(), PREPROCESSOR, "normalizer_processor")?;
    let after = open(unnormaliser.as_ref(), POSTPROCESSOR, "unnormalizer_processor")?;
    let epsilon = preprocessor.normaliser.map_or(0.0, |step| step.epsilon);
    let source = |tensors| Source { tensors, naming: Naming::Feature };
    Normaliser::read(common, &source(&before), &source(&after), epsilon)
}
