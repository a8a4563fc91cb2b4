//! `config.json`: which policy a checkpoint is, and the options that change what it computes.

use std::fmt;
use std::path::Path;

use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::act::ActConfig;
use super::error::CheckpointError;
use super::json::{self, Ordered};
use super::smolvla::SmolVlaConfig;

pub(super) const CONFIG: &str = "config.json";
const STATE: &str = "observation.state";
const ENVIRONMENT: &str = "observation.environment_state";
pub(super) const IMAGES: &str = "observation.images.";
const ACTION: &str = "action";
/// Bound on every size that a configuration names; real ones are a hundredth of it.
const MAX_SIZE: usize = 1 << 20;

/// What kind of policy a checkpoint holds, with its options.
#[derive(Clone, Debug, PartialEq)]
pub enum PolicyConfig {
    /// SmolVLA (arXiv 2506.01844).
    SmolVla(SmolVlaConfig),
    /// ACT (arXiv 2304.13705).
    Act(ActConfig),
}

impl PolicyConfig {
    /// The options that every kind has.
    #[must_use]
    pub fn common(&self) -> &CommonConfig {
        match self {
            Self::SmolVla(config) => &config.common,
            Self::Act(config) => &config.common,
        }
    }

    pub(super) fn common_mut(&mut self) -> &mut CommonConfig {
        match self {
            Self::SmolVla(config) => &mut config.common,
            Self::Act(config) => &mut config.common,
        }
    }

    /// LeRobot's word for the kind: `smolvla`, `act`.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::SmolVla(_) => "smolvla",
            Self::Act(_) => "act",
        }
    }

    /// Reads the bytes of a `config.json`; `path` is what messages call it.
    ///
    /// # Errors
    /// For an unknown kind, and for every option that would change what is computed and is not supported.
    pub fn parse(path: &Path, bytes: &[u8]) -> Result<Self, CheckpointError> {
        #[derive(Deserialize)]
        struct Kind {
            r#type: Option<String>,
        }
        match json::parse::<Kind>(path, bytes)?.r#type.as_deref() {
            Some("smolvla") => SmolVlaConfig::parse(path, bytes).map(Self::SmolVla),
            Some("act") => ActConfig::parse(path, bytes).map(Self::Act),
            other => Err(CheckpointError::option(
                CONFIG,
                "type",
                "\"smolvla\" or \"act\"",
                other.map_or_else(|| "absent".to_owned(), |other| format!("{other:?}")),
            )),
        }
    }
}

/// A camera that a checkpoint was trained with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Camera {
    /// What the robot calls it: the last part of the key, or what the preprocessor renames to the key.
    pub name: String,
    /// The checkpoint's own key: `observation.images.<name>`.
    pub key: String,
    /// Height of the training images, pixels.
    pub height: usize,
    /// Width of the training images, pixels.
    pub width: usize,
}

/// How values of one type are scaled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Normalisation {
    /// Not at all.
    Identity,
    /// By mean and standard deviation.
    MeanStd,
}

impl fmt::Display for Normalisation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Identity => "IDENTITY",
            Self::MeanStd => "MEAN_STD",
        })
    }
}

/// How each type of value is scaled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Normalisations {
    /// Images.
    pub visual: Normalisation,
    /// The robot's state.
    pub state: Normalisation,
    /// Actions.
    pub action: Normalisation,
}

/// The options that every kind of policy has.
#[derive(Clone, Debug, PartialEq)]
pub struct CommonConfig {
    /// The cameras in the order in which the network takes them.
    pub cameras: Vec<Camera>,
    /// Values of the state; 0 where the policy takes none.
    pub state_len: usize,
    /// Values of the environment's state; 0 where the policy takes none, as nearly always.
    pub environment_len: usize,
    /// Values of an action.
    pub action_len: usize,
    /// Actions of a chunk.
    pub chunk_size: usize,
    /// Actions of a chunk that are executed before the next, 1..=`chunk_size`.
    pub n_action_steps: usize,
    /// How values are scaled.
    pub normalisation: Normalisations,
}

#[derive(Deserialize)]
struct Feature {
    r#type: String,
    shape: Vec<usize>,
}

/// The part of `config.json` that all kinds share.
#[derive(Deserialize)]
struct RawCommon {
    #[serde(default = "one")]
    n_obs_steps: usize,
    input_features: Ordered<Feature>,
    output_features: Ordered<Feature>,
    chunk_size: Option<usize>,
    n_action_steps: Option<usize>,
    #[serde(default)]
    normalization_mapping: Option<Ordered<String>>,
    #[serde(default)]
    use_peft: bool,
}

fn one() -> usize {
    1
}

impl CommonConfig {
    /// Reads the shared options; `chunk_size` and `visual` are LeRobot's defaults for the kind.
    pub(super) fn parse(
        path: &Path,
        bytes: &[u8],
        chunk_size: usize,
        visual: Normalisation,
    ) -> Result<Self, CheckpointError> {
        let raw: RawCommon = json::parse(path, bytes)?;
        let option = |field: &str, expected: &str, actual: &dyn fmt::Display| {
            Err(CheckpointError::option(CONFIG, field, expected, actual))
        };
        if raw.n_obs_steps != 1 {
            return option("n_obs_steps", "1", &raw.n_obs_steps);
        }
        if raw.use_peft {
            return option("use_peft", "false (merge the adapter into the weights first)", &"true");
        }

        let mut cameras = Vec::new();
        let (mut state_len, mut environment_len) = (0, 0);
        for (key, feature) in &raw.input_features.0 {
            let field = format!("input_features.{key}");
            let found = format!("{} of shape {:?}", feature.r#type, feature.shape);
            match (feature.r#type.as_str(), key.as_str(), feature.shape.as_slice()) {
                ("VISUAL", _, &[3, height, width])
                    if sized(height) && sized(width) && key.starts_with(IMAGES) =>
                {
                    let name = key.strip_prefix(IMAGES).unwrap_or(key).to_owned();
                    cameras.push(Camera { name, key: key.clone(), height, width });
                }
                ("STATE", STATE, &[len]) if sized(len) => state_len = len,
                ("ENV", ENVIRONMENT, &[len]) if sized(len) => environment_len = len,
                _ => {
                    let expected = "VISUAL `observation.images.<camera>` of shape [3, height, width], STATE \
                                    `observation.state` or ENV `observation.environment_state` of shape [count]";
                    return option(&field, expected, &found);
                }
            }
        }
        let action_len = match raw.output_features.0.as_slice() {
            [(key, Feature { r#type, shape })] if key == ACTION && r#type == "ACTION" && shape.len() == 1 => {
                shape.iter().product()
            }
            features => {
                let names: Vec<String> =
                    features.iter().map(|(key, f)| format!("{key}: {} {:?}", f.r#type, f.shape)).collect();
                return option("output_features", "`action` of shape [count] alone", &names.join(", "));
            }
        };
        within("output_features.action", action_len, MAX_SIZE)?;

        let chunk_size = raw.chunk_size.unwrap_or(chunk_size);
        within("chunk_size", chunk_size, MAX_SIZE)?;
        let n_action_steps = raw.n_action_steps.unwrap_or(chunk_size);
        within("n_action_steps", n_action_steps, chunk_size)?;
        let normalisation = normalisations(raw.normalization_mapping.as_ref(), visual)?;
        Ok(Self {
            cameras,
            state_len,
            environment_len,
            action_len,
            chunk_size,
            n_action_steps,
            normalisation,
        })
    }
}

fn sized(size: usize) -> bool {
    (1..=MAX_SIZE).contains(&size)
}

/// Refuses a size that is 0 or larger than `most`.
pub(super) fn within(field: &str, actual: usize, most: usize) -> Result<(), CheckpointError> {
    if (1..=most.min(MAX_SIZE)).contains(&actual) {
        return Ok(());
    }
    Err(CheckpointError::option(CONFIG, field, format_args!("1..={}", most.min(MAX_SIZE)), actual))
}

fn normalisations(
    mapping: Option<&Ordered<String>>,
    visual: Normalisation,
) -> Result<Normalisations, CheckpointError> {
    let mut modes = Normalisations { visual, state: Normalisation::MeanStd, action: Normalisation::MeanStd };
    let Some(mapping) = mapping else {
        return Ok(modes);
    };
    // A mapping replaces the default whole: a type that it leaves out is not scaled.
    modes.visual = Normalisation::Identity;
    modes.state = Normalisation::Identity;
    modes.action = Normalisation::Identity;
    for (kind, mode) in &mapping.0 {
        let field = format!("normalization_mapping.{kind}");
        let parsed = match mode.as_str() {
            "IDENTITY" => Normalisation::Identity,
            "MEAN_STD" => Normalisation::MeanStd,
            other => {
                return Err(CheckpointError::option(CONFIG, field, "MEAN_STD or IDENTITY", other));
            }
        };
        match kind.as_str() {
            "VISUAL" => modes.visual = parsed,
            "STATE" => modes.state = parsed,
            "ACTION" => modes.action = parsed,
            "ENV" if parsed == Normalisation::Identity => {}
            other => {
                return Err(CheckpointError::option(
                    CONFIG,
                    field,
                    "VISUAL, STATE or ACTION",
                    format_args!("{other} {parsed}"),
                ));
            }
        }
    }
    Ok(modes)
}

/// Parses the options of one kind.
pub(super) fn parse_options<T: DeserializeOwned>(path: &Path, bytes: &[u8]) -> Result<T, CheckpointError> {
    json::parse(path, bytes)
}

/// Refuses an option that has another value than the only one that is supported.
pub(super) fn only<T: PartialEq + fmt::Debug>(
    field: &str,
    expected: T,
    actual: T,
) -> Result<(), CheckpointError> {
    if actual == expected {
        return Ok(());
    }
    Err(CheckpointError::option(CONFIG, field, format_args!("{expected:?}"), format_args!("{actual:?}")))
}
