//! SmolVLA (arXiv 2506.01844) as LeRobot publishes it: camera images, an instruction and the robot's
//! state in, a chunk of joint targets out.
//!
//! ```text
//! images ─ vision tower ─ connector ─┐
//! instruction ─ embedding table ─────┼─ prefix ─ text tower ─ keys and values of each layer
//! state ─ projection ────────────────┘                              │
//! noise ─ embedding with time ─ action expert (reads them) ─ velocity ─ … ─ chunk
//!            └──────────────── once for each step ─────────────┘
//! ```
//!
//! | file | owns |
//! |---|---|
//! | `options` | what the user chooses: precision, steps, seed, real-time chunking |
//! | `source` | from tensors to layers |
//! | `vision` | vision tower and connector |
//! | `prefix` | text tower |
//! | `expert` | action expert |
//! | `sampler` | noise, time, Euler's steps |
//! | [`rtc`] | continuing the chunk before |
//! | `probe` | stages and traces |
//! | `flops` | the arithmetic of a chunk |
//! | `verify` | recorded inputs in, differences out |
//!
//! Glossary: the *prefix* is what the policy knows, as tokens: images, text, state; the *expert* is the
//! narrow transformer that turns noise into actions; a *step* is one evaluation of it; *guidance* is the
//! pull towards the chunk before.
//!
//! What depends on weights alone is computed when the model is loaded (norms and scales folded into
//! matrices, one bias for the time of each step), what depends on the instruction alone when it is given,
//! and the expert's projections of the prefix once for each chunk. Padded text and masked cameras never
//! become tokens: nothing may attend to them, so the result is the same.

mod expert;
mod flops;
mod options;
mod prefix;
mod probe;
pub mod rtc;
mod sampler;
mod source;
mod verify;
mod vision;

use std::ops::Range;
use std::path::Path;

pub use flops::flops;
pub use options::{Precisions, SmolVlaOptions};
pub use probe::Stage;
pub use sampler::noise;
pub use verify::verify;

use crate::checkpoint::smolvla::TEXT;
use crate::checkpoint::{
    Checkpoint, CheckpointError, Moments, Normaliser, PolicyConfig, RtcConfig, SmolVlaConfig, Tensors,
    Tokeniser,
};
use crate::chunk::{ActionChunk, Ahead};
use crate::compute::{Activation, Backend, ComputeError, Dense, Rope, Rows};
use crate::image::{Image, resize_with_pad};
use crate::observation::{Observation, ObservationError};
use crate::policy::{Milestone, Output, Policy, PolicyError};
use expert::{ActionPositions, Expert};
use prefix::TextTower;
use probe::Probe;
use rtc::Guidance;
use sampler::Sampler;
use source::{Constants, Source};
use vision::VisionTower;

/// SmolVLA, ready to run.
#[derive(Debug)]
pub struct SmolVla {
    name: String,
    backend: Backend,
    config: SmolVlaConfig,
    normaliser: Normaliser,
    tokeniser: Option<Tokeniser>,
    /// The embedding table stays in its file.
    tensors: Tensors,
    options: SmolVlaOptions,
    constants: Constants,
    rtc: RtcConfig,
    /// The robot's names of the cameras that are fed, in the network's order.
    cameras: Vec<String>,
    vision: VisionTower,
    state: Dense,
    text: TextTower,
    expert: Expert,
    sampler: Sampler,
    instruction: Option<Result<Rows, String>>,
    positions: Option<Positions>,
}

/// Rotary tables for a prefix of some length.
#[derive(Debug)]
struct Positions {
    tokens: usize,
    prefix: Rope,
    actions: ActionPositions,
}

/// What one run of the network is given, in its units.
struct Inputs<'a> {
    images: Vec<Image<'a>>,
    /// As many values as the state has.
    state: Vec<f32>,
    /// `chunk_size × max_action_dim`.
    noise: Vec<f32>,
    guidance: Option<Guidance>,
}

impl SmolVla {
    /// Loads the checkpoint in the folder `dir`, tokenizer included. Weights are turned into the chosen
    /// precision one matrix at a time; the token embeddings stay in the file, which must not be changed
    /// while the model is in use.
    ///
    /// # Errors
    /// [`CheckpointError`] when a file is missing or malformed, a size does not fit, or the checkpoint
    /// wants what this implementation does not do.
    pub fn load(dir: &Path, backend: &Backend, options: SmolVlaOptions) -> Result<Self, CheckpointError> {
        let checkpoint = Checkpoint::open(dir)?;
        let tokeniser = checkpoint.tokeniser()?;
        Self::build(checkpoint, Some(tokeniser), backend, options, Constants::default())
    }

    fn build(
        checkpoint: Checkpoint,
        tokeniser: Option<Tokeniser>,
        backend: &Backend,
        options: SmolVlaOptions,
        constants: Constants,
    ) -> Result<Self, CheckpointError> {
        checkpoint.check_units(&options.units)?;
        let Checkpoint { config, statistics: normaliser, tensors, .. } = checkpoint;
        let PolicyConfig::SmolVla(config) = config else {
            return Err(refused("type", "\"smolvla\"", &format!("{:?}", config.kind())));
        };
        check_sizes(&config)?;
        let steps = options.steps.unwrap_or(config.num_steps);
        if !(1..=MAX_STEPS).contains(&steps) {
            return Err(refused("num_steps", &format!("1..={MAX_STEPS}"), &steps.to_string()));
        }
        let cameras = cameras(&config, &options)?;
        let precision = options.precision;
        let source = |precision| Source { backend, tensors: &tensors, constants, precision };
        let sizes = &config.backbone;
        let vision = VisionTower::load(
            &source(precision.vision),
            sizes,
            cameras.len(),
            [precision.patches, precision.connector],
        )?;
        let text = TextTower::load(&source(precision.text), sizes)?;
        let expert = Expert::load(&source(precision.expert), &config)?;
        let projections = source(precision.projections);
        let sampler = Sampler::load(&projections, &config, steps)?;
        let state = projections.dense_biased(
            "model.",
            &[("state_proj", sizes.hidden)],
            config.max_state_dim,
            None,
            Activation::None,
        )?;
        tensors.release();
        Ok(Self {
            name: format!("smolvla-{}", precision.name()),
            backend: backend.clone(),
            rtc: options.rtc.or(config.rtc).unwrap_or_default(),
            config,
            normaliser,
            tokeniser,
            tensors,
            options,
            constants,
            cameras,
            vision,
            state,
            text,
            expert,
            sampler,
            instruction: None,
            positions: None,
        })
    }

    /// The checkpoint's configuration.
    #[must_use]
    pub fn config(&self) -> &SmolVlaConfig {
        &self.config
    }

    /// The robot's names of the cameras that must be in each observation.
    #[must_use]
    pub fn cameras(&self) -> &[String] {
        &self.cameras
    }

    /// Means and standard deviations of the actions, by which the network's become the robot's; none where
    /// they are the same.
    #[must_use]
    pub fn action_moments(&self) -> Option<&Moments> {
        self.normaliser.action.as_ref()
    }

    /// Steps of the sampler.
    #[must_use]
    pub fn steps(&self) -> usize {
        self.sampler.steps()
    }

    /// Tokens of the instruction that was given, 0 without one.
    #[must_use]
    pub fn text_tokens(&self) -> usize {
        self.instruction.as_ref().and_then(|rows| rows.as_ref().ok()).map_or(0, Rows::count)
    }

    /// Floating-point operations of a stage of one chunk, with the instruction that was given. See
    /// [`flops`].
    #[must_use]
    pub fn flops(&self, stage: Stage) -> u64 {
        flops(&self.config, stage, self.cameras.len(), self.text_tokens(), self.sampler.steps())
    }

    /// The chunk that answers `observation`, continuing what is `ahead`. The noise is a function of the
    /// seed and the observation's time, so equal arguments give an equal chunk.
    ///
    /// # Errors
    /// [`PolicyError`] when the observation lacks a camera or has another number of joints, no
    /// instruction was given, or the device fails.
    pub fn predict(&mut self, observation: &Observation, ahead: &Ahead) -> Result<ActionChunk, PolicyError> {
        self.predict_probed(observation, ahead, &mut Probe::default())
    }

    /// As [`SmolVla::predict`]; calls `ended` when a stage has ended, so that the caller can measure it.
    ///
    /// # Errors
    /// As [`SmolVla::predict`].
    pub fn predict_staged(
        &mut self,
        observation: &Observation,
        ahead: &Ahead,
        ended: &mut dyn FnMut(Stage),
    ) -> Result<ActionChunk, PolicyError> {
        self.predict_probed(observation, ahead, &mut Probe { trace: None, ended: Some(ended) })
    }

    fn predict_probed(
        &mut self,
        observation: &Observation,
        ahead: &Ahead,
        probe: &mut Probe<'_>,
    ) -> Result<ActionChunk, PolicyError> {
        let inputs = self.inputs(observation, ahead)?;
        let actions = self.run(&inputs, probe).map_err(|error| self.failed(error))?;
        let mut actions = self.cut(&actions);
        let width = self.config.common.action_len;
        if let Some(moments) = &self.normaliser.action {
            actions.chunks_exact_mut(width).for_each(|action| moments.restore(action));
        }
        actions.chunks_exact_mut(width).for_each(|action| self.options.units.from_policy(action));
        Ok(ActionChunk {
            observation_ns: observation.time_ns,
            period_ns: self.options.period_ns,
            width,
            actions,
        })
    }

    fn inputs<'a>(&self, observation: &'a Observation, ahead: &Ahead) -> Result<Inputs<'a>, PolicyError> {
        let common = &self.config.common;
        let images = self
            .cameras
            .iter()
            .map(|name| observation.camera(name).map(Image::from))
            .collect::<Result<_, _>>()?;
        let joints = common.state_len.saturating_sub(1);
        let mut state = Vec::new();
        if common.state_len > 0 {
            observation.check_body(joints)?;
            state.extend_from_slice(&observation.joints_rad);
            state.push(observation.gripper_width_m);
            self.options.units.to_policy(&mut state);
        }
        if let Some(moments) = &self.normaliser.state {
            moments.normalise(&mut state, self.normaliser.epsilon);
        }
        let shape = [common.chunk_size, self.config.max_action_dim];
        Ok(Inputs {
            images,
            state,
            noise: noise(self.options.seed, observation.time_ns, shape[0] * shape[1]),
            guidance: self.guidance(ahead)?,
        })
    }

    /// The guidance that continues `ahead`; none without actions, or when real-time chunking is off.
    fn guidance(&self, ahead: &Ahead) -> Result<Option<Guidance>, PolicyError> {
        let width = self.config.common.action_len;
        if ahead.actions.is_empty() || !self.rtc.enabled {
            return Ok(None);
        }
        let what = "the actions ahead";
        if !ahead.actions.len().is_multiple_of(width) {
            let expected = ahead.actions.len().next_multiple_of(width);
            let actual = ahead.actions.len();
            return Err(ObservationError::WrongLength { what: what.into(), expected, actual }.into());
        }
        if let Some(index) = ahead.actions.iter().position(|value| !value.is_finite()) {
            return Err(ObservationError::NotFinite { what: what.into(), index }.into());
        }
        let mut previous = ahead.actions.clone();
        previous.chunks_exact_mut(width).for_each(|action| self.options.units.to_policy(action));
        if let Some(moments) = &self.normaliser.action {
            previous.chunks_exact_mut(width).for_each(|action| moments.normalise(action, 0.0));
        }
        let shape = [self.config.common.chunk_size, self.config.max_action_dim];
        Ok(Some(Guidance::new(&self.rtc, &previous, width, ahead.delay, shape)))
    }

    /// Runs the network: `chunk_size × max_action_dim` values in its units.
    fn run(&mut self, inputs: &Inputs<'_>, probe: &mut Probe<'_>) -> Result<Vec<f32>, RunError> {
        let text = match &self.instruction {
            None => return Err(RunError::NoInstruction),
            Some(Err(reason)) => return Err(RunError::Instruction(reason.clone())),
            Some(Ok(rows)) => rows,
        };
        let pixels = self.pixels(&inputs.images, probe)?;
        let images = self.vision.forward(&pixels, inputs.images.len(), probe)?;
        probe.end(Stage::Vision, &images)?;

        let mut state = inputs.state.clone();
        state.resize(self.config.max_state_dim, 0.0);
        let state = Rows::upload(&self.backend, &state, 1, self.config.max_state_dim);
        probe.rows(|| "prep.state".into(), &state)?;
        let prefix = Rows::stack(&[&images, text, &self.state.forward(&state)]);
        probe.rows(|| "prefix.embeds".into(), &prefix)?;
        let tokens = prefix.count();
        let positions = match self.positions.take() {
            Some(positions) if positions.tokens == tokens => positions,
            _ => self.positions(tokens),
        };
        let positions = self.positions.insert(positions);
        let cache = self.text.forward(prefix, &positions.prefix, probe)?;
        let cache = self.expert.project(cache);
        if let Some(last) = cache.last() {
            probe.end(Stage::Prefix, &last.keys)?;
        }

        let shape = [self.config.common.chunk_size, self.config.max_action_dim];
        let noise = Rows::upload(&self.backend, &inputs.noise, shape[0], shape[1]);
        let guidance = inputs.guidance.as_ref();
        let actions = self.sampler.run(noise, &self.expert, &cache, &positions.actions, guidance, probe)?;
        probe.end(Stage::Denoise, &actions)?;
        Ok(actions.download()?)
    }

    fn positions(&self, tokens: usize) -> Positions {
        let sizes = &self.config.backbone;
        let table = |positions: Range<usize>| {
            let positions: Vec<u32> = positions.map(|position| position as u32).collect();
            Rope::new(&self.backend, &positions, sizes.head_dim, self.constants.rope_base)
        };
        let actions = ActionPositions::new(tokens, self.config.common.chunk_size, table);
        Positions { tokens, prefix: table(0..tokens), actions }
    }

    /// All images as the vision tower takes them, a row being a patch's width of pixels.
    fn pixels(&self, images: &[Image<'_>], probe: &mut Probe<'_>) -> Result<Rows, RunError> {
        let sizes = &self.config.backbone;
        let side = sizes.image_size;
        let mut pixels = vec![0.0; images.len() * side * side * 3];
        for (at, (image, to)) in images.iter().zip(pixels.chunks_exact_mut(side * side * 3)).enumerate() {
            resize_with_pad(image, [side, side], to);
            let planes = || (0..3).flat_map(|plane| to.iter().skip(plane).step_by(3).copied()).collect();
            probe.values(|| format!("prep.image{at}"), || Ok((vec![3, side, side], planes())))?;
        }
        let width = sizes.patch_size * 3;
        let rows = Rows::upload(&self.backend, &pixels, pixels.len() / width, width);
        probe.end(Stage::Images, &rows)?;
        Ok(rows)
    }

    /// The robot's own values of each action.
    fn cut(&self, actions: &[f32]) -> Vec<f32> {
        let actions = actions.chunks_exact(self.config.max_action_dim);
        actions.flat_map(|action| &action[..self.config.common.action_len]).copied().collect()
    }

    /// Takes an instruction as token ids. Each is looked up in the embedding table, on the file.
    fn embed(&self, tokens: &[u32]) -> Result<Rows, CheckpointError> {
        let width = self.config.backbone.hidden;
        let scale = (width as f32).sqrt();
        let mut values = Vec::with_capacity(tokens.len() * width);
        for token in tokens {
            let row = self.tensors.row(&format!("{TEXT}embed_tokens.weight"), *token as usize, width)?;
            values.extend(row.into_iter().map(|value| value * scale));
        }
        self.tensors.release();
        Ok(Rows::upload(&self.backend, &values, tokens.len(), width))
    }

    fn failed(&self, error: RunError) -> PolicyError {
        match error {
            RunError::NoInstruction => PolicyError::NoInstruction,
            RunError::Instruction(reason) => PolicyError::Instruction { reason },
            RunError::Compute(error) => {
                PolicyError::Device { device: self.backend.description(), reason: error.reason }
            }
        }
    }
}

impl Policy for SmolVla {
    fn name(&self) -> &str {
        &self.name
    }

    fn instruct(&mut self, instruction: &str) {
        let tokens = match &self.tokeniser {
            Some(tokeniser) => tokeniser.encode(instruction),
            None => return,
        };
        let rows = tokens.and_then(|tokens| self.embed(&tokens));
        self.instruction = Some(rows.map_err(|error| error.to_string()));
    }

    fn decide(&mut self, observation: &Observation, ahead: &Ahead) -> Result<Output, PolicyError> {
        self.predict(observation, ahead).map(Output::Chunk)
    }

    fn decide_staged(
        &mut self,
        observation: &Observation,
        ahead: &Ahead,
        reached: &mut dyn FnMut(Milestone),
    ) -> Result<Output, PolicyError> {
        let mut ended = |stage| {
            if matches!(stage, Stage::Images) {
                reached(Milestone::Input);
            }
        };
        self.predict_staged(observation, ahead, &mut ended).map(Output::Chunk)
    }
}

/// Why the network did not run.
#[derive(Debug, thiserror::Error)]
enum RunError {
    #[error("no instruction has been given")]
    NoInstruction,
    #[error("the instruction cannot be used: {0}")]
    Instruction(String),
    #[error(transparent)]
    Compute(#[from] ComputeError),
}

/// Most steps of the sampler: each keeps a small matrix of its own.
const MAX_STEPS: usize = 1000;

/// Sizes that the checkpoint may have and this implementation does not handle.
fn check_sizes(config: &SmolVlaConfig) -> Result<(), CheckpointError> {
    let sizes = &config.backbone;
    let size = |what: &str, expected: &str, actual: usize| {
        Err(CheckpointError::Size {
            what: what.into(),
            expected: expected.into(),
            actual: actual.to_string(),
        })
    };
    if sizes.expert_layers != sizes.layers {
        return size(
            "the number of expert layers",
            &format!("{}, one for each text layer", sizes.layers),
            sizes.expert_layers,
        );
    }
    let grid = sizes.image_size / sizes.patch_size;
    // The backbone finds a patch's row in the position table through fractions of the image's side, which
    // are exact for powers of two alone.
    if !grid.is_power_of_two() {
        return size("the patch grid's side", "a power of two", grid);
    }
    if !sizes.expert_hidden.is_multiple_of(2) {
        return size("the expert's width", "an even number", sizes.expert_hidden);
    }
    Ok(())
}

/// The robot's names of the cameras to feed.
fn cameras(config: &SmolVlaConfig, options: &SmolVlaOptions) -> Result<Vec<String>, CheckpointError> {
    let all = &config.common.cameras;
    let names = || all.iter().map(|camera| camera.name.as_str()).collect::<Vec<_>>().join(", ");
    for without in &options.without_cameras {
        if !all.iter().any(|camera| camera.name == *without) {
            return Err(refused("without_cameras", &format!("cameras among {}", names()), without));
        }
    }
    let fed = all.iter().filter(|camera| {
        !options.without_cameras.contains(&camera.name)
            && !camera.key.starts_with("observation.images.empty_camera_")
    });
    let fed: Vec<String> = fed.map(|camera| camera.name.clone()).collect();
    if fed.is_empty() {
        return Err(refused("without_cameras", &format!("at least one left of {}", names()), "all"));
    }
    Ok(fed)
}

fn refused(field: &str, expected: &str, actual: &str) -> CheckpointError {
    CheckpointError::Option {
        file: "the options of SmolVLA",
        field: field.into(),
        expected: expected.into(),
        actual: actual.into(),
    }
}
