//! A checkpoint described for people: what it is, what it needs, and what is wrong with it.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

use serde::Serialize;

use super::config::PolicyConfig;
use super::error::CheckpointError;
use super::parts::{Role, part};
use super::quantise::Quantisation;
use super::work::{Need, Stage, needs, stages, storage_name, total_flops};
use super::{BACKBONE, TOKENISER, json, open_model, processors, read_config, read_tokeniser};

/// A model card, made from the folder alone.
#[derive(Clone, Debug, Serialize)]
pub struct Card {
    /// `smolvla` or `act`.
    pub kind: &'static str,
    /// Cameras in the order in which the network takes them.
    pub cameras: Vec<CameraCard>,
    /// Values of the state.
    pub state_len: usize,
    /// Values of an action.
    pub action_len: usize,
    /// Actions of a chunk.
    pub chunk_size: usize,
    /// Actions that are executed before the next chunk.
    pub n_action_steps: usize,
    /// Steps of the sampler; 1 where there is none.
    pub steps: usize,
    /// The network's parts.
    pub modules: Vec<Module>,
    /// Bytes by how values are stored.
    pub bytes_by_storage: BTreeMap<String, u64>,
    /// Bytes of the model's file.
    pub file_bytes: u64,
    /// How its matrices were quantised, if they were.
    pub quantisation: Option<Quantisation>,
    /// The arithmetic of a chunk.
    pub stages: Vec<Stage>,
    /// Operations of a chunk.
    pub flops: u64,
    /// Bytes needed, by the precision of the matrices.
    pub needs: Vec<Need>,
    /// State of the statistics.
    pub statistics: String,
    /// State of the tokenizer.
    pub tokenizer: String,
    /// What keeps the checkpoint from being run.
    pub problems: Vec<String>,
}

/// A camera.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct CameraCard {
    /// What the robot calls it.
    pub name: String,
    /// The checkpoint's key.
    pub key: String,
    /// Height of the training images, pixels.
    pub height: usize,
    /// Width of the training images, pixels.
    pub width: usize,
}

/// A part of the network.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Module {
    /// Its name.
    pub name: &'static str,
    /// Tensors in it.
    pub tensors: usize,
    /// Values in them.
    pub parameters: u64,
    /// Bytes in the file.
    pub bytes: u64,
    /// Whether inference needs it.
    pub used: bool,
}

impl Card {
    /// Reads a folder. What can still be told of a faulty one is told, with the faults in
    /// [`Card::problems`].
    ///
    /// # Errors
    /// When its `config.json` or the header of its `model.safetensors` cannot be read.
    pub fn read(dir: &Path) -> Result<Self, CheckpointError> {
        let mut config = read_config(dir)?;
        let tensors = open_model(dir)?;
        let mut problems = Vec::new();
        let mut note = |result: Result<(), CheckpointError>| match result {
            Ok(()) => true,
            Err(error) => {
                problems.push(error.to_string());
                false
            }
        };
        let mut quantisation = None;
        note(Quantisation::read(&tensors).map(|read| quantisation = read));
        let sized = note(match &mut config {
            PolicyConfig::SmolVla(config) => config.size(&tensors, &dir.join(BACKBONE)),
            PolicyConfig::Act(config) => config.check(&tensors),
        });
        let read = processors::read_statistics(dir, &mut config, &tensors, json::read_if_there);
        let statistics = if note(read.map(drop)) { "complete" } else { "unusable" }.to_owned();
        let tokenizer = match &config {
            PolicyConfig::Act(_) => "none needed".to_owned(),
            PolicyConfig::SmolVla(_) if !sized => "not checked".to_owned(),
            PolicyConfig::SmolVla(_) => match read_tokeniser(dir, &config) {
                Ok(tokeniser) => format!("{TOKENISER}, {} tokens", tokeniser.count()),
                Err(error) => {
                    note(Err(error));
                    "unusable".to_owned()
                }
            },
        };

        let mut modules: Vec<Module> = Vec::new();
        let mut bytes_by_storage = BTreeMap::new();
        for tensor in tensors.infos() {
            *bytes_by_storage.entry(storage_name(tensor.storage)).or_insert(0) += tensor.bytes as u64;
            let part = part(&config, &tensor);
            let at = modules.iter().position(|module| module.name == part.module).unwrap_or_else(|| {
                let used = part.role != Role::Unused;
                modules.push(Module { name: part.module, tensors: 0, parameters: 0, bytes: 0, used });
                modules.len() - 1
            });
            if let Some(module) = modules.get_mut(at) {
                module.tensors += 1;
                module.parameters += tensor.count() as u64;
                module.bytes += tensor.bytes as u64;
            }
        }
        let stages = if sized { stages(&config, &tensors) } else { Vec::new() };
        let needs = if sized { needs(&config, &tensors, &stages) } else { Vec::new() };
        let common = config.common();
        let camera = |camera: &super::Camera| CameraCard {
            name: camera.name.clone(),
            key: camera.key.clone(),
            height: camera.height,
            width: camera.width,
        };
        Ok(Self {
            kind: config.kind(),
            cameras: common.cameras.iter().map(camera).collect(),
            state_len: common.state_len,
            action_len: common.action_len,
            chunk_size: common.chunk_size,
            n_action_steps: common.n_action_steps,
            steps: if let PolicyConfig::SmolVla(config) = &config { config.num_steps } else { 1 },
            modules,
            bytes_by_storage,
            file_bytes: tensors.size_bytes(),
            quantisation,
            flops: total_flops(&stages),
            stages,
            needs,
            statistics,
            tokenizer,
            problems,
        })
    }

    /// Parameters that inference uses.
    #[must_use]
    pub fn parameters_used(&self) -> u64 {
        self.modules.iter().filter(|module| module.used).map(|module| module.parameters).sum()
    }
}

/// 1234567 as `1.2 M`.
fn short(count: u64) -> String {
    let count = count as f64;
    match count {
        1e12.. => format!("{:.2} T", count / 1e12),
        1e9.. => format!("{:.2} G", count / 1e9),
        1e6.. => format!("{:.1} M", count / 1e6),
        1e3.. => format!("{:.1} k", count / 1e3),
        _ => format!("{count} "),
    }
}

impl fmt::Display for Card {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "kind         {}", self.kind)?;
        for (index, camera) in self.cameras.iter().enumerate() {
            let head = if index == 0 { "cameras" } else { "" };
            writeln!(
                f,
                "{head:<12} {}: {} × {} pixels ({})",
                camera.name, camera.width, camera.height, camera.key
            )?;
        }
        writeln!(f, "state        {} values", self.state_len)?;
        writeln!(f, "actions      {} values, chunks of {}", self.action_len, self.chunk_size)?;
        writeln!(f, "             {} executed before the next chunk", self.n_action_steps)?;
        if self.steps > 1 {
            writeln!(f, "sampler      {} steps", self.steps)?;
        }
        for (index, module) in self.modules.iter().enumerate() {
            let head = if index == 0 { "parameters" } else { "" };
            let (parameters, bytes) = (short(module.parameters), short(module.bytes));
            writeln!(
                f,
                "{head:<12} {:<30} {parameters:>9} in {:>3} tensors, {bytes}B",
                module.name, module.tensors
            )?;
        }
        writeln!(f, "             {:<30} {:>9}", "used by inference", short(self.parameters_used()))?;
        let stored: Vec<String> = self
            .bytes_by_storage
            .iter()
            .map(|(storage, bytes)| format!("{storage} {}B", short(*bytes)))
            .collect();
        writeln!(f, "stored       {}B: {}", short(self.file_bytes), stored.join(", "))?;
        if let Some(quantisation) = &self.quantisation {
            writeln!(
                f,
                "quantised    {} by {} from a model with SHA-256 {}",
                quantisation.scheme, quantisation.made_by, quantisation.source_sha256
            )?;
        }
        for (index, stage) in self.stages.iter().enumerate() {
            let head = if index == 0 { "arithmetic" } else { "" };
            writeln!(f, "{head:<12} {:<38} {:>8}FLOP × {}", stage.name, short(stage.flops), stage.passes)?;
        }
        if !self.stages.is_empty() {
            writeln!(f, "             {:<38} {:>8}FLOP", "a chunk", short(self.flops))?;
        }
        writeln!(f, "statistics   {}", self.statistics)?;
        writeln!(f, "tokenizer    {}", self.tokenizer)?;
        for (index, problem) in self.problems.iter().enumerate() {
            let head = if index == 0 { "problems" } else { "" };
            writeln!(f, "{head:<12} {problem}")?;
        }
        Ok(())
    }
}
