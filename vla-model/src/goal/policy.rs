//! The goal model as a policy: observation in, decision out.

use std::path::Path;

use super::config::GoalModelConfig;
use super::engine::{EncodedInstruction, Engine};
use super::features::{ARM_JOINTS, proprio, scene_patches, tactile_pair, wrist_patches};
use super::model::{ForwardError, GoalModel, HostInputs, InstructionCache};
use crate::chunk::Ahead;
use crate::compute::{Backend, Precision};
use crate::decision::Decision;
use crate::device::{self, ChosenDevice, DeviceChoice, DeviceError, DeviceKind};
use crate::grammar::decode_slots;
use crate::instruction::{self, INSTRUCTION_VOCABULARY_SIZE, MAX_WORDS};
use crate::observation::{Camera, Observation, Tactile, ToolPose};
use crate::policy::{Milestone, Output, Policy, PolicyError};
use crate::token;
use crate::weights::{self, Quantisation, WeightsError};

/// The camera that sees the table.
pub const SCENE_CAMERA: &str = "scene";
/// The camera at the gripper.
pub const WRIST_CAMERA: &str = "wrist";
/// The tactile pads, in the order in which the model reads them.
pub const TACTILE_PADS: [&str; 2] = ["left", "right"];

/// Why a goal policy could not be made.
#[derive(Debug, thiserror::Error)]
pub enum GoalPolicyError {
    /// No device.
    #[error(transparent)]
    Device(#[from] DeviceError),
    /// No weights.
    #[error(transparent)]
    Weights(#[from] WeightsError),
    /// Sizes that describe no model.
    #[error(transparent)]
    Config(#[from] super::config::ConfigError),
}

/// How a policy uses the CPU.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CpuOptions {
    /// Numbers that matrices are multiplied in, f32 or int8; none takes the weights file's own.
    pub precision: Option<Precision>,
    /// Threads in all, the caller's included; 0 takes all that the process may use.
    pub threads: usize,
}

/// The goal model with an instruction, deciding: on the CPU by the [`Engine`], elsewhere by burn's network.
///
/// Deciding is deterministic: the same weights on the same device, instruction and observation give
/// the same decision, and so do all CPUs with a fused multiply-add. It keeps no history.
#[derive(Debug)]
pub struct GoalPolicy {
    name: String,
    network: Network,
    device: ChosenDevice,
    model_hash: Option<String>,
    instruction: Option<String>,
    inputs: HostInputs,
}

/// The network with the instruction as it was last encoded.
#[derive(Debug)]
enum Network {
    Engine(Box<Engine>, Option<EncodedInstruction>),
    Tensors(Box<GoalModel>, Option<InstructionCache>),
}

impl Network {
    fn config(&self) -> &GoalModelConfig {
        match self {
            Self::Engine(engine, _) => engine.config(),
            Self::Tensors(model, _) => model.config(),
        }
    }

    fn encode(&mut self, text: &str) -> Result<(), ForwardError> {
        let tokens = instruction::encode(text);
        let words: Vec<i32> = tokens.ids.iter().map(|id| i32::from(*id)).collect();
        match self {
            Self::Engine(engine, encoded) => *encoded = Some(engine.encode(&words[..tokens.len])?),
            // A GPU compiles and tunes its kernels for each length anew: always use the longest.
            Self::Tensors(model, encoded) => {
                let real = tokens.len.max(1);
                let mask: Vec<f32> = (0..words.len()).map(|at| if at < real { 1.0 } else { 0.0 }).collect();
                *encoded = Some(model.encode_batch(&words, 1, Some(&mask))?);
            }
        }
        Ok(())
    }

    fn forget(&mut self) {
        match self {
            Self::Engine(_, encoded) => *encoded = None,
            Self::Tensors(_, encoded) => *encoded = None,
        }
    }

    /// None without an instruction.
    fn logits(&self, inputs: &HostInputs) -> Option<Result<Vec<f32>, ForwardError>> {
        match self {
            Self::Engine(engine, encoded) => Some(engine.logits(inputs, encoded.as_ref()?)),
            Self::Tensors(model, encoded) => Some(model.logits(inputs, encoded.as_ref()?)),
        }
    }
}

impl GoalPolicy {
    /// Reads a weights file and chooses a device.
    ///
    /// # Errors
    /// [`GoalPolicyError`].
    pub fn load(path: &Path, choice: DeviceChoice) -> Result<Self, GoalPolicyError> {
        let bytes =
            std::fs::read(path).map_err(|source| WeightsError::Io { path: path.to_owned(), source })?;
        Self::from_bytes(&bytes, choice, CpuOptions::default())
    }

    /// Reads the bytes of a weights file and chooses a device; `cpu` says how to use the CPU if it is that.
    ///
    /// # Errors
    /// [`GoalPolicyError`].
    pub fn from_bytes(bytes: &[u8], choice: DeviceChoice, cpu: CpuOptions) -> Result<Self, GoalPolicyError> {
        let mut device = device::choose(choice)?;
        let (network, numbers) = if device.kind == DeviceKind::Cpu {
            let backend = Backend::cpu(cpu.threads);
            device.description = backend.description();
            let engine = Engine::from_bytes(bytes, &backend, cpu.precision)?;
            let numbers = if engine.precision() == Precision::Int8 { "int8" } else { "f32" };
            (Network::Engine(Box::new(engine), None), numbers)
        } else {
            let loaded = weights::from_bytes(bytes, &device.device)?;
            let numbers = loaded.info.quantisation.as_str();
            (Network::Tensors(Box::new(loaded.model), None), numbers)
        };
        Ok(Self::new(format!("goal-{numbers}"), network, device, Some(token::sha256_hex(bytes))))
    }

    /// A policy with seeded random weights: what an untrained model achieves.
    ///
    /// # Errors
    /// [`GoalPolicyError`].
    pub fn random(seed: u64, choice: DeviceChoice) -> Result<Self, GoalPolicyError> {
        let device = device::choose(choice)?;
        let config = GoalModelConfig::standard(INSTRUCTION_VOCABULARY_SIZE, MAX_WORDS);
        let model = GoalModel::random(&config, seed, &device.device)?;
        Self::from_model("goal-random", model, device)
    }

    /// A policy around a model in memory, such as one in training, in f32.
    ///
    /// # Errors
    /// [`GoalPolicyError::Weights`] when its weights cannot be fetched or are not finite.
    pub fn from_model(
        name: &str,
        model: GoalModel,
        mut device: ChosenDevice,
    ) -> Result<Self, GoalPolicyError> {
        let network = if device.kind == DeviceKind::Cpu {
            let backend = Backend::from(&device);
            device.description = backend.description();
            let bytes = weights::to_bytes(&model, Quantisation::F32, &serde_json::Value::Null)?;
            Network::Engine(Box::new(Engine::from_bytes(&bytes, &backend, None)?), None)
        } else {
            Network::Tensors(Box::new(model), None)
        };
        Ok(Self::new(name.to_owned(), network, device, None))
    }

    fn new(name: String, network: Network, device: ChosenDevice, model_hash: Option<String>) -> Self {
        let inputs = HostInputs::zeros(network.config(), 1);
        Self { name, network, device, model_hash, instruction: None, inputs }
    }

    /// The device and why it was chosen.
    pub fn device(&self) -> &ChosenDevice {
        &self.device
    }

    /// SHA-256 of the weights file; none for weights that did not come from a file.
    pub fn model_hash(&self) -> Option<&str> {
        self.model_hash.as_deref()
    }

    /// The model's sizes.
    pub fn config(&self) -> &GoalModelConfig {
        self.network.config()
    }

    /// Words that the network attends to: the instruction's; always the longest instruction where the network
    /// runs on burn's tensors.
    pub fn words(&self) -> usize {
        match &self.network {
            Network::Engine(..) => {
                self.instruction.as_deref().map_or(1, |text| instruction::encode(text).len.max(1))
            }
            Network::Tensors(..) => MAX_WORDS,
        }
    }

    /// Decides a few times on a blank observation, so that a GPU compiles its kernels and the CPU
    /// fills its caches before the first deadline. Keeps the instruction.
    ///
    /// # Errors
    /// [`PolicyError`] when the model cannot run.
    pub fn warm_up(&mut self) -> Result<(), PolicyError> {
        let kept = self.instruction.take();
        self.instruct("pick up the red mug");
        let blank = self.blank_observation();
        let result = (0..3).try_for_each(|_| self.decision(&blank).map(|_| ()));
        match kept {
            Some(text) => self.instruct(&text),
            None => {
                self.instruction = None;
                self.network.forget();
            }
        }
        result
    }

    /// Decides what to do now: [`Policy::decide`] for those who know which policy they have.
    ///
    /// # Errors
    /// [`PolicyError`] when the observation cannot be used or the model fails.
    pub fn decision(&mut self, observation: &Observation) -> Result<Decision, PolicyError> {
        self.decision_staged(observation, &mut |_| {})
    }

    fn decision_staged(
        &mut self,
        observation: &Observation,
        reached: &mut dyn FnMut(Milestone),
    ) -> Result<Decision, PolicyError> {
        self.read_observation(observation)?;
        reached(Milestone::Input);
        let logits = self
            .network
            .logits(&self.inputs)
            .ok_or(PolicyError::NoInstruction)?
            .map_err(|error| self.failed(error.to_string()))?;
        reached(Milestone::Output);
        Ok(decode_slots(&logits)?.into_decision(observation.time_ns))
    }

    /// An observation of the sizes that the model reads, with nothing in it.
    pub fn blank_observation(&self) -> Observation {
        let edge = self.config().image_px;
        let camera = |name: &str| Camera {
            name: name.to_owned(),
            width: edge,
            height: edge,
            rgb: vec![0; edge * edge * 3],
        };
        Observation {
            time_ns: 0,
            cameras: vec![camera(SCENE_CAMERA), camera(WRIST_CAMERA)],
            tactile: TACTILE_PADS
                .iter()
                .map(|name| Tactile {
                    name: (*name).to_owned(),
                    taxels_n: vec![0.0; crate::observation::TACTILE_LEN],
                })
                .collect(),
            joints_rad: vec![0.0; ARM_JOINTS],
            gripper_width_m: 0.08,
            base_from_tool: ToolPose { position_m: [0.5, 0.0, 0.3], rotation_xyzw: [1.0, 0.0, 0.0, 0.0] },
        }
    }

    fn camera<'a>(&self, observation: &'a Observation, name: &str) -> Result<&'a Camera, PolicyError> {
        let camera = observation.camera(name)?;
        let edge = self.network.config().image_px;
        if camera.width == edge && camera.height == edge {
            Ok(camera)
        } else {
            Err(PolicyError::CameraSize {
                name: name.to_owned(),
                expected_width: edge,
                expected_height: edge,
                actual_width: camera.width,
                actual_height: camera.height,
            })
        }
    }

    /// Turns the observation into the model's numbers, in buffers that are kept.
    fn read_observation(&mut self, observation: &Observation) -> Result<(), PolicyError> {
        observation.check_body(ARM_JOINTS)?;
        let scene = self.camera(observation, SCENE_CAMERA)?;
        let wrist = self.camera(observation, WRIST_CAMERA)?;
        let left = observation.tactile(TACTILE_PADS[0])?;
        let right = observation.tactile(TACTILE_PADS[1])?;
        let edge = self.network.config().image_px;
        let fits = scene_patches(&scene.rgb, edge, &mut self.inputs.scene)
            && wrist_patches(&wrist.rgb, edge, &mut self.inputs.wrist)
            && tactile_pair(&left.taxels_n, &right.taxels_n, &mut self.inputs.tactile);
        self.inputs.proprio.copy_from_slice(&proprio(observation));
        if fits { Ok(()) } else { Err(self.failed("its buffers do not fit the observation".to_owned())) }
    }

    fn failed(&self, reason: String) -> PolicyError {
        PolicyError::Device { device: self.device.description.clone(), reason }
    }
}

impl Policy for GoalPolicy {
    fn name(&self) -> &str {
        &self.name
    }

    fn instruct(&mut self, instruction: &str) {
        self.instruction = Some(instruction.to_owned());
        // Word numbers come from the table that the weights were checked against, so only a failing
        // device can end up here; the next decision then says that there is no instruction.
        if self.network.encode(instruction).is_err() {
            self.network.forget();
        }
    }

    fn decide(&mut self, observation: &Observation, _: &Ahead) -> Result<Output, PolicyError> {
        self.decision(observation).map(Output::Goals)
    }

    fn decide_staged(
        &mut self,
        observation: &Observation,
        _: &Ahead,
        reached: &mut dyn FnMut(Milestone),
    ) -> Result<Output, PolicyError> {
        self.decision_staged(observation, reached).map(Output::Goals)
    }
}
