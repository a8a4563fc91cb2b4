//! The steps around a policy: `policy_preprocessor.json` and `policy_postprocessor.json`.

use std::path::{Component, Path, PathBuf};

use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::config::{CommonConfig, IMAGES, Normalisation, PolicyConfig};
use super::error::CheckpointError;
use super::json::{self, JSON_LIMIT_BYTES, Ordered};
use super::statistics::{Naming, Normaliser, OLD_BUFFERS, STATISTICS_LIMIT_BYTES, Source};
use super::tensors::Tensors;

pub(super) const PREPROCESSOR: &str = "policy_preprocessor.json";
pub(super) const POSTPROCESSOR: &str = "policy_postprocessor.json";

/// Reads the processors of the folder `dir` and the statistics that they name, and gives the cameras of
/// `config` the names that the robot has for them. Also says which files of statistics the processors
/// name. `read` gets a file's bytes, `None` where it is not there, an error past the given number of bytes.
///
/// # Errors
/// When a step is unknown or differs from the configuration, or statistics that the configuration asks
/// for are missing or unusable.
pub fn read_statistics(
    dir: &Path,
    config: &mut PolicyConfig,
    tensors: &Tensors,
    read: impl Fn(&Path, u64) -> Result<Option<Vec<u8>>, CheckpointError>,
) -> Result<(Normaliser, Vec<PathBuf>), CheckpointError> {
    let (before, after) = (dir.join(PREPROCESSOR), dir.join(POSTPROCESSOR));
    let missing = |path: &Path, hint: &str| CheckpointError::MissingFile {
        path: path.to_owned(),
        hint: hint.to_owned(),
    };
    let incomplete = |path| missing(path, "a checkpoint has a preprocessor and a postprocessor");
    let (before_bytes, after_bytes) = match (
        read(&before, JSON_LIMIT_BYTES)?,
        read(&after, JSON_LIMIT_BYTES)?,
    ) {
        (Some(before), Some(after)) => (before, after),
        (Some(_), None) => return Err(incomplete(&after)),
        (None, Some(_)) => return Err(incomplete(&before)),
        (None, None) => {
            let common = config.common();
            let old = tensors.names().any(|name| OLD_BUFFERS.iter().any(|prefix| name.starts_with(prefix)));
            return if !Normaliser::needed(common) {
                Ok((Normaliser::identity(common), Vec::new()))
            } else if old {
                let inputs = Source { tensors, naming: Naming::Inputs };
                let outputs = Source { tensors, naming: Naming::Outputs };
                Ok((Normaliser::read(common, &inputs, &outputs, 1e-8)?, Vec::new()))
            } else {
                Err(missing(
                    &before,
                    "it names the statistics that config.json asks for, and model.safetensors has none of the \
                     buffers that older checkpoints keep there",
                ))
            };
        }
    };
    let preprocessor = Preprocessor::parse(&before, &before_bytes, config)?;
    let unnormaliser = parse_postprocessor(&after, &after_bytes, config.common())?;
    for camera in &mut config.common_mut().cameras {
        if let Some(source) = preprocessor.renamed(&camera.key)? {
            camera.name = source.strip_prefix(IMAGES).unwrap_or(source).to_owned();
        }
    }
    let steps = [preprocessor.normaliser.as_ref(), unnormaliser.as_ref()];
    let files: Vec<PathBuf> = steps.iter().filter_map(|step| step.as_ref()?.state_file.clone()).collect();
    let common = config.common();
    if !Normaliser::needed(common) {
        return Ok((Normaliser::identity(common), files));
    }
    let open = |step: Option<&NormaliserStep>, file: &'static str, name: &str| {
        let Some(step) = step else {
            return Err(CheckpointError::option(file, "steps", format_args!("a step `{name}`"), "none"));
        };
        let Some(state_file) = &step.state_file else {
            let expected = "a file of statistics, which config.json asks for";
            return Err(CheckpointError::option(file, format!("{name}.state_file"), expected, "absent"));
        };
        let path = dir.join(state_file);
        match read(&path, STATISTICS_LIMIT_BYTES)? {
            Some(bytes) => Tensors::from_bytes(&path, bytes),
            None => Err(missing(&path, &format!("{file} names it as the statistics"))),
        }
    };
    let [before, after] = [
        open(steps[0], PREPROCESSOR, "normalizer_processor")?,
        open(steps[1], POSTPROCESSOR, "unnormalizer_processor")?,
    ];
    let epsilon = steps[0].map_or(0.0, |step| step.epsilon);
    let source = |tensors| Source { tensors, naming: Naming::Feature };
    Ok((Normaliser::read(common, &source(&before), &source(&after), epsilon)?, files))
}

/// The steps that are known, in the order in which LeRobot has them.
const BEFORE: [&str; 6] = [
    "rename_observations_processor",
    "to_batch_processor",
    "smolvla_new_line_processor",
    "tokenizer_processor",
    "device_processor",
    "normalizer_processor",
];
const AFTER: [&str; 2] = ["unnormalizer_processor", "device_processor"];

#[derive(Deserialize)]
struct Pipeline {
    steps: Vec<Step>,
}

#[derive(Deserialize)]
struct Step {
    registry_name: Option<String>,
    class: Option<String>,
    #[serde(default)]
    config: serde_json::Value,
    state_file: Option<String>,
}

/// What a normalising step says.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct NormaliserStep {
    pub(super) epsilon: f32,
    /// Name of the file with its statistics, inside the folder.
    pub(super) state_file: Option<PathBuf>,
}

/// The steps before the network.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Preprocessor {
    pub(super) normaliser: Option<NormaliserStep>,
    /// Pairs of (the robot's key, the checkpoint's key).
    pub(super) renames: Vec<(String, String)>,
}

#[derive(Deserialize)]
struct RenameOptions {
    #[serde(default)]
    rename_map: Ordered<String>,
}

#[derive(Deserialize)]
struct DeviceOptions {
    #[serde(default)]
    float_dtype: Option<String>,
}

#[derive(Deserialize)]
struct TokenizerOptions {
    #[serde(default = "lerobots_max_length")]
    max_length: usize,
    #[serde(default = "task")]
    task_key: String,
    #[serde(default = "right")]
    padding_side: String,
    #[serde(default = "yes")]
    truncation: bool,
}

fn lerobots_max_length() -> usize {
    512
}

fn task() -> String {
    "task".to_owned()
}

fn right() -> String {
    "right".to_owned()
}

fn yes() -> bool {
    true
}

#[derive(Deserialize)]
struct NormaliserOptions {
    #[serde(default = "lerobots_epsilon")]
    eps: f64,
    features: Ordered<serde::de::IgnoredAny>,
    norm_map: Ordered<String>,
    normalize_observation_keys: Option<Vec<String>>,
}

fn lerobots_epsilon() -> f64 {
    1e-8
}

impl Preprocessor {
    /// Reads the bytes of a `policy_preprocessor.json`.
    pub(super) fn parse(path: &Path, bytes: &[u8], config: &PolicyConfig) -> Result<Self, CheckpointError> {
        let mut this = Self::default();
        let mut tokenises = false;
        for step in steps(path, bytes, PREPROCESSOR, &BEFORE)? {
            let at = Place { path, file: PREPROCESSOR, step: step.name() };
            match step.name() {
                "rename_observations_processor" => {
                    this.renames = at.options::<RenameOptions>(&step)?.rename_map.0;
                }
                "device_processor" => at.device(&step)?,
                "tokenizer_processor" => {
                    let options: TokenizerOptions = at.options(&step)?;
                    at.only("task_key", "task", &options.task_key)?;
                    at.only("padding_side", "right", &options.padding_side)?;
                    at.only("truncation", true, options.truncation)?;
                    if let PolicyConfig::SmolVla(config) = config {
                        let field = "max_length (by tokenizer_max_length of config.json)";
                        at.only(field, config.tokenizer_max_length, options.max_length)?;
                    }
                    tokenises = true;
                }
                "normalizer_processor" => {
                    this.normaliser = Some(at.normaliser(&step, config.common(), true)?);
                }
                // A batch of one and a line's end are what this crate does anyway.
                _ => {}
            }
        }
        if tokenises != matches!(config, PolicyConfig::SmolVla(_)) {
            let (expected, actual) = if tokenises { ("none", "one") } else { ("one", "none") };
            let field = format!("tokenizer_processor (of a policy of type {})", config.kind());
            return Err(CheckpointError::option(PREPROCESSOR, field, expected, actual));
        }
        Ok(this)
    }

    /// The robot's name for the checkpoint's camera `key`, where another one is renamed to it.
    pub(super) fn renamed(&self, key: &str) -> Result<Option<&str>, CheckpointError> {
        let mut sources = self.renames.iter().filter(|(_, to)| to == key).map(|(from, _)| from.as_str());
        match (sources.next(), sources.next()) {
            (Some(first), Some(second)) => Err(CheckpointError::option(
                PREPROCESSOR,
                "rename_map",
                format_args!("one key for `{key}`"),
                format_args!("`{first}` and `{second}`"),
            )),
            (source, _) => Ok(source),
        }
    }
}

/// Reads the bytes of a `policy_postprocessor.json`: its unnormalising step.
pub(super) fn parse_postprocessor(
    path: &Path,
    bytes: &[u8],
    common: &CommonConfig,
) -> Result<Option<NormaliserStep>, CheckpointError> {
    let mut normaliser = None;
    for step in steps(path, bytes, POSTPROCESSOR, &AFTER)? {
        let at = Place { path, file: POSTPROCESSOR, step: step.name() };
        if step.name() == "unnormalizer_processor" {
            normaliser = Some(at.normaliser(&step, common, false)?);
        } else {
            at.device(&step)?;
        }
    }
    Ok(normaliser)
}

impl Step {
    fn name(&self) -> &str {
        self.registry_name.as_deref().or(self.class.as_deref()).unwrap_or("")
    }
}

/// The steps of a file, each of them known, at most once and in the known order.
fn steps(
    path: &Path,
    bytes: &[u8],
    file: &'static str,
    known: &[&str],
) -> Result<Vec<Step>, CheckpointError> {
    let pipeline: Pipeline = json::parse(path, bytes)?;
    let mut next = 0;
    for (index, step) in pipeline.steps.iter().enumerate() {
        let field = || format!("steps[{index}].registry_name");
        let name = format!("`{}`", step.name());
        let Some(place) = known.iter().position(|known| *known == step.name()) else {
            return Err(CheckpointError::option(file, field(), format_args!("one of {known:?}"), name));
        };
        if place < next {
            return Err(CheckpointError::option(
                file,
                field(),
                format_args!("each step at most once, in the order {known:?}"),
                format_args!("{name} after a later one"),
            ));
        }
        next = place + 1;
    }
    Ok(pipeline.steps)
}

/// Where an option stands, for messages.
struct Place<'a> {
    path: &'a Path,
    file: &'static str,
    step: &'a str,
}

impl Place<'_> {
    fn options<T: DeserializeOwned>(&self, step: &Step) -> Result<T, CheckpointError> {
        serde_json::from_value(step.config.clone())
            .map_err(|error| CheckpointError::json(self.path, format_args!("{}: {error}", self.step)))
    }

    fn only<T: PartialEq + std::fmt::Debug>(
        &self,
        field: &str,
        expected: T,
        actual: T,
    ) -> Result<(), CheckpointError> {
        if actual == expected {
            return Ok(());
        }
        Err(self.refused(field, format_args!("{expected:?}"), format_args!("{actual:?}")))
    }

    fn refused(
        &self,
        field: &str,
        expected: impl std::fmt::Display,
        actual: impl std::fmt::Display,
    ) -> CheckpointError {
        CheckpointError::option(self.file, format!("{}.{field}", self.step), expected, actual)
    }

    fn device(&self, step: &Step) -> Result<(), CheckpointError> {
        match self.options::<DeviceOptions>(step)?.float_dtype.as_deref() {
            None | Some("float32") => Ok(()),
            Some(other) => Err(self.refused("float_dtype", "null or \"float32\"", format_args!("{other:?}"))),
        }
    }

    fn normaliser(
        &self,
        step: &Step,
        common: &CommonConfig,
        before: bool,
    ) -> Result<NormaliserStep, CheckpointError> {
        let options: NormaliserOptions = self.options(step)?;
        if !(0.0..1.0).contains(&options.eps) {
            return Err(self.refused("eps", "0 <= eps < 1", options.eps));
        }
        let modes = common.normalisation;
        for (kind, mode) in [("VISUAL", modes.visual), ("STATE", modes.state), ("ACTION", modes.action)] {
            let used = match kind {
                "VISUAL" => before && !common.cameras.is_empty(),
                "STATE" => before && common.state_len > 0,
                _ => true,
            };
            // What the map leaves out is not scaled.
            let actual = options.norm_map.get(kind).map_or("IDENTITY", String::as_str);
            if used && actual != mode.to_string() {
                let expected = format!("{mode}, as normalization_mapping of config.json");
                return Err(self.refused(&format!("norm_map.{kind}"), expected, actual));
            }
        }
        // An observation that is not listed passes unscaled; actions need no listing.
        let scaled = |mode: Normalisation| before && mode == Normalisation::MeanStd;
        let state = (scaled(modes.state) && common.state_len > 0).then_some("observation.state");
        let cameras =
            common.cameras.iter().filter(|_| scaled(modes.visual)).map(|camera| camera.key.as_str());
        for key in state.into_iter().chain(cameras) {
            if options.features.get(key).is_none() {
                let expected = format!("`{key}` among them, which config.json wants scaled");
                return Err(self.refused("features", expected, "without it"));
            }
            if let Some(keys) = &options.normalize_observation_keys
                && !keys.iter().any(|name| name == key)
            {
                let expected = format!("`{key}` among them, which config.json wants scaled");
                return Err(self.refused("normalize_observation_keys", expected, format_args!("{keys:?}")));
            }
        }
        let state_file = step.state_file.as_deref().map(|file| self.inside(file)).transpose()?;
        Ok(NormaliserStep { epsilon: options.eps as f32, state_file })
    }

    /// A file name that stays in the checkpoint's folder.
    fn inside(&self, file: &str) -> Result<PathBuf, CheckpointError> {
        let path = Path::new(file);
        let plain = matches!(path.components().collect::<Vec<_>>().as_slice(), [Component::Normal(_)]);
        if plain && file.ends_with(".safetensors") && !file.contains(['/', '\\', '\0']) {
            return Ok(path.to_owned());
        }
        let expected = "the name of a .safetensors file in the checkpoint's folder";
        Err(self.refused("state_file", expected, format_args!("{file:?}")))
    }
}
