//! The goal model: two cameras, touch, posture and an instruction in, slot logits out.

use burn::module::{Module, Param};
use burn::tensor::{Device, Int, Tensor, TensorData, activation};

use super::config::{BODY_TOKENS, ConfigError, GoalModelConfig, PATCH_LEN};
use super::features::padded_cells;
use super::grounding::{GridConstants, Grounding, GroundingQueries};
use super::init::Init;
use super::text::{TextEncoder, score_bias};
use super::transformer::{Block, Dense, KeysValues, RmsNorm};
use super::vision::Tower;
use crate::compute::ComputeError;

/// The network's parameters.
#[derive(Module, Debug)]
pub(crate) struct GoalNet {
    pub(crate) scene: Tower,
    pub(crate) wrist: Tower,
    pub(crate) text: TextEncoder,
    pub(crate) scene_grounding: Grounding,
    pub(crate) wrist_grounding: Grounding,
    pub(crate) proprio_in: Dense,
    pub(crate) proprio_out: Dense,
    pub(crate) tactile_in: Dense,
    pub(crate) tactile_out: Dense,
    /// `[slots, width]`.
    pub(crate) slot_queries: Param<Tensor<2>>,
    pub(crate) layers: Vec<Block>,
    pub(crate) norm: RmsNorm,
    pub(crate) head: Dense,
    /// Kind and colour of what each scene cell shows; read in training only.
    pub(crate) scene_dense: Dense,
    /// The same for the wrist camera.
    pub(crate) wrist_dense: Dense,
}

/// Kinds that the dense heads tell apart: nothing, mug, cube, bowl.
pub const DENSE_KINDS: usize = 4;
/// Colours that the dense heads tell apart: none, and the eight colours.
pub const DENSE_COLORS: usize = 9;

/// Observations as tensors; each field's first dimension is the batch.
#[derive(Clone, Debug)]
pub(crate) struct Inputs {
    /// `[batch × padded cells, 48]`.
    pub(crate) scene: Tensor<2>,
    /// `[batch × padded cells × 4, 48]`.
    pub(crate) wrist: Tensor<2>,
    /// `[batch, tactile numbers]`.
    pub(crate) tactile: Tensor<2>,
    /// `[batch, posture numbers]`.
    pub(crate) proprio: Tensor<2>,
}

/// Everything that depends on the instruction alone.
#[derive(Clone, Debug)]
pub(crate) struct Context {
    memory: Vec<KeysValues>,
    /// `[batch, 1, 1, words + own tokens]`, absent when no word is padding.
    bias: Option<Tensor<4>>,
    scene: GroundingQueries,
    wrist: GroundingQueries,
}

/// What the transformer half of the network computes.
#[cfg_attr(not(feature = "train"), allow(dead_code, reason = "only training reads the heat maps"))]
pub(crate) struct Outputs {
    /// `[batch, slots, vocabulary]`.
    pub(crate) logits: Tensor<3>,
    /// `[batch, queries, padded cells + 1]`.
    pub(crate) scene_scores: Tensor<3>,
    /// `[batch, queries, padded cells + 1]`.
    pub(crate) wrist_scores: Tensor<3>,
}

/// Constants of both grids on one device.
#[derive(Clone, Debug)]
pub(crate) struct Constants {
    scene: GridConstants,
    wrist: GridConstants,
}

impl Constants {
    pub(crate) fn new(config: &GoalModelConfig, device: &Device) -> Self {
        Self {
            scene: GridConstants::new(config.scene_grid(), device),
            wrist: GridConstants::new(config.wrist_grid(), device),
        }
    }
}

impl GoalNet {
    /// Seeded random weights; the same seed gives the same weights on every device.
    pub(crate) fn init(config: &GoalModelConfig, seed: u64, device: &Device) -> Self {
        Self::build(&mut Init::new(seed, device), config)
    }

    /// All weights zero, to be replaced by those of a file.
    pub(crate) fn blank(config: &GoalModelConfig, device: &Device) -> Self {
        Self::build(&mut Init::blank(device), config)
    }

    fn build(init: &mut Init<'_>, c: &GoalModelConfig) -> Self {
        let dense_classes = DENSE_KINDS + DENSE_COLORS;
        Self {
            scene: Tower::init(init, c.scene_grid(), PATCH_LEN, c.scene_channels, None, c.scene_blocks),
            wrist: Tower::init(
                init,
                c.wrist_grid(),
                PATCH_LEN,
                c.wrist_embed,
                Some(c.wrist_channels),
                c.wrist_blocks,
            ),
            text: TextEncoder::init(init, c),
            scene_grounding: Grounding::init(init, c, c.scene_grid(), c.scene_channels),
            wrist_grounding: Grounding::init(init, c, c.wrist_grid(), c.wrist_channels),
            proprio_in: Dense::init(init, c.proprio_len, c.width, std::f32::consts::SQRT_2),
            proprio_out: Dense::init(init, c.width, 2 * c.width, 1.0),
            tactile_in: Dense::init(init, c.tactile_len, c.width, std::f32::consts::SQRT_2),
            tactile_out: Dense::init(init, c.width, c.width, 1.0),
            slot_queries: init.normal([c.slots, c.width], 0.5),
            layers: (0..c.layers)
                .map(|_| Block::init(init, c.width, c.heads, c.mlp_width, c.layers))
                .collect(),
            norm: RmsNorm::init(init, c.width),
            head: Dense::init(init, c.width, c.token_vocabulary, 0.5),
            scene_dense: Dense::init(init, c.scene_channels, dense_classes, 1.0),
            wrist_dense: Dense::init(init, c.wrist_channels, dense_classes, 1.0),
        }
    }

    /// Encodes instructions: `words` `[batch, words]`, `mask` as in [`TextEncoder::forward`].
    pub(crate) fn context(&self, words: Tensor<2, Int>, mask: Option<Tensor<2>>) -> Context {
        let text = self.text.forward(words, mask.as_ref());
        let [batch, count, _] = text.memory.dims();
        let memory = self.layers.iter().map(|layer| layer.keys_values(text.memory.clone())).collect();
        let bias = mask.map(|mask| {
            let own = self.own_tokens();
            let padding = score_bias(&mask);
            let none = Tensor::zeros([batch, own], &padding.device());
            Tensor::cat(vec![padding, none], 1).reshape([batch, 1, 1, count + own])
        });
        let [_, scene_channels] = self.scene_map_shape();
        let [_, wrist_channels] = self.wrist_map_shape();
        Context {
            memory,
            bias,
            scene: self.scene_grounding.queries(&text, scene_channels),
            wrist: self.wrist_grounding.queries(&text, wrist_channels),
        }
    }

    /// The transformer half: feature maps `[batch, padded cells, channels]`, body and instruction
    /// to logits.
    pub(crate) fn decide(
        &self,
        scene_map: Tensor<3>,
        wrist_map: Tensor<3>,
        inputs: &Inputs,
        context: &Context,
        constants: &Constants,
    ) -> Outputs {
        let [batch, _, _] = scene_map.dims();
        let [slots, width] = self.slot_queries.dims();
        let (scene, scene_scores) = self.scene_grounding.forward(scene_map, &context.scene, &constants.scene);
        let (wrist, wrist_scores) = self.wrist_grounding.forward(wrist_map, &context.wrist, &constants.wrist);
        let posture =
            self.proprio_out.forward(activation::relu(self.proprio_in.forward(inputs.proprio.clone())));
        let touch =
            self.tactile_out.forward(activation::relu(self.tactile_in.forward(inputs.tactile.clone())));
        let own = self.slot_queries.val().unsqueeze::<3>().expand([batch, slots, width]);
        let mut tokens = Tensor::cat(
            vec![scene, wrist, posture.reshape([batch, 2, width]), touch.reshape([batch, 1, width]), own],
            1,
        );
        for (layer, memory) in self.layers.iter().zip(&context.memory) {
            tokens = layer.forward(tokens, Some(memory), context.bias.as_ref());
        }
        let count = self.own_tokens();
        let states = self.norm.forward(tokens.narrow(1, count - slots, slots));
        Outputs { logits: self.head.forward(states), scene_scores, wrist_scores }
    }

    /// The whole network without gradients.
    pub(crate) fn forward(&self, inputs: &Inputs, context: &Context, constants: &Constants) -> Outputs {
        let [batch, _] = inputs.proprio.dims();
        let [scene_cells, scene_channels] = self.scene_map_shape();
        let [wrist_cells, wrist_channels] = self.wrist_map_shape();
        let scene = self.scene.forward(inputs.scene.clone(), batch);
        let wrist = self.wrist.forward(inputs.wrist.clone(), batch);
        self.decide(
            scene.reshape([batch, scene_cells, scene_channels]),
            wrist.reshape([batch, wrist_cells, wrist_channels]),
            inputs,
            context,
            constants,
        )
    }

    /// Padded cells and channels of the scene map.
    pub(crate) fn scene_map_shape(&self) -> [usize; 2] {
        [padded_cells(self.scene.grid), self.scene_dense.weight.dims()[0]]
    }

    /// Padded cells and channels of the wrist map.
    pub(crate) fn wrist_map_shape(&self) -> [usize; 2] {
        [padded_cells(self.wrist.grid), self.wrist_dense.weight.dims()[0]]
    }

    /// Tokens of the main transformer beside the instruction's.
    fn own_tokens(&self) -> usize {
        let [slots, _] = self.slot_queries.dims();
        self.scene_grounding.queries + self.wrist_grounding.queries + BODY_TOKENS + slots
    }
}

/// A goal model on a device, ready for inference.
#[derive(Clone, Debug)]
pub struct GoalModel {
    pub(crate) net: GoalNet,
    pub(crate) config: GoalModelConfig,
    pub(crate) constants: Constants,
    pub(crate) device: Device,
}

/// An encoded instruction: all that the network computes from the words alone. It belongs to the
/// weights that made it.
#[derive(Clone, Debug)]
pub struct InstructionCache(pub(crate) Context);

/// Observations of one batch as plain numbers, in the network's layouts.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct HostInputs {
    /// Number of observations.
    pub batch: usize,
    /// Scene images, `[batch, padded cells, 48]`, see [`super::features::scene_patches`].
    pub scene: Vec<f32>,
    /// Wrist images, `[batch, padded cells, 4, 48]`, see [`super::features::wrist_patches`].
    pub wrist: Vec<f32>,
    /// Tactile pads, `[batch, 96]`, see [`super::features::tactile_pair`].
    pub tactile: Vec<f32>,
    /// Posture, `[batch, posture numbers]`, see [`super::features::proprio`].
    pub proprio: Vec<f32>,
}

/// Inputs whose lengths do not fit the model.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what} holds {actual} values, expected {expected}")]
pub struct ShapeError {
    /// Which input.
    pub what: &'static str,
    /// Length that was needed.
    pub expected: usize,
    /// Length that came.
    pub actual: usize,
}

impl HostInputs {
    /// Zeroed buffers for `batch` observations.
    pub fn zeros(config: &GoalModelConfig, batch: usize) -> Self {
        let [scene, wrist] = image_lens(config);
        Self {
            batch,
            scene: vec![0.0; batch * scene],
            wrist: vec![0.0; batch * wrist],
            tactile: vec![0.0; batch * config.tactile_len],
            proprio: vec![0.0; batch * config.proprio_len],
        }
    }

    /// Checks all lengths.
    ///
    /// # Errors
    /// [`ShapeError`] naming the first one that does not fit.
    pub fn check(&self, config: &GoalModelConfig) -> Result<(), ShapeError> {
        let [scene, wrist] = image_lens(config);
        check_len("batch", 1, self.batch.min(1))?;
        check_len("scene", self.batch * scene, self.scene.len())?;
        check_len("wrist", self.batch * wrist, self.wrist.len())?;
        check_len("tactile", self.batch * config.tactile_len, self.tactile.len())?;
        check_len("proprio", self.batch * config.proprio_len, self.proprio.len())
    }

    /// Uploads observations `from..to`; lengths have been checked.
    pub(crate) fn tensors(&self, from: usize, to: usize, device: &Device) -> Inputs {
        let rows = |values: &[f32], width: usize| {
            let each = values.len() / self.batch.max(1);
            let part = values[from * each..to * each].to_vec();
            let count = part.len() / width;
            Tensor::<2>::from_data(TensorData::new(part, [count, width]), device)
        };
        let width = |values: &[f32]| values.len() / self.batch.max(1);
        Inputs {
            scene: rows(&self.scene, PATCH_LEN),
            wrist: rows(&self.wrist, PATCH_LEN),
            tactile: rows(&self.tactile, width(&self.tactile)),
            proprio: rows(&self.proprio, width(&self.proprio)),
        }
    }
}

/// Numbers of one scene image and of one wrist image.
pub(crate) fn image_lens(config: &GoalModelConfig) -> [usize; 2] {
    [padded_cells(config.scene_grid()) * PATCH_LEN, padded_cells(config.wrist_grid()) * 4 * PATCH_LEN]
}

pub(crate) fn check_len(what: &'static str, expected: usize, actual: usize) -> Result<(), ShapeError> {
    if expected == actual { Ok(()) } else { Err(ShapeError { what, expected, actual }) }
}

/// Why a forward pass gave nothing.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum ForwardError {
    /// An input of the wrong length.
    #[error("the model cannot read its input: {0}")]
    Shape(#[from] ShapeError),
    /// A word that the vocabulary does not have.
    #[error("word {word} is outside the vocabulary of {vocabulary} words")]
    Word {
        /// The word's number.
        word: i32,
        /// Size of the vocabulary.
        vocabulary: usize,
    },
    /// The device could not deliver the result.
    #[error("the device failed: {reason}")]
    Device {
        /// What it said.
        reason: String,
    },
}

impl From<ComputeError> for ForwardError {
    fn from(error: ComputeError) -> Self {
        Self::Device { reason: error.reason }
    }
}

impl GoalModel {
    /// A model with seeded random weights; the same seed gives the same weights on every device.
    ///
    /// # Errors
    /// [`ConfigError`] when the sizes describe no model.
    pub fn random(config: &GoalModelConfig, seed: u64, device: &Device) -> Result<Self, ConfigError> {
        config.check()?;
        Ok(Self::from_net(GoalNet::init(config, seed, device), config.clone(), device))
    }

    pub(crate) fn from_net(net: GoalNet, config: GoalModelConfig, device: &Device) -> Self {
        let constants = Constants::new(&config, device);
        Self { net, config, constants, device: device.clone() }
    }

    /// The model's sizes.
    pub fn config(&self) -> &GoalModelConfig {
        &self.config
    }

    /// Number of trained values.
    pub fn parameters(&self) -> usize {
        self.net.num_params()
    }

    /// Encodes one instruction, given as at most `max_words` word numbers; none at all is read as
    /// one padding word.
    ///
    /// # Errors
    /// [`ForwardError`] for too many words or a word outside the vocabulary.
    pub fn encode(&self, words: &[i32]) -> Result<InstructionCache, ForwardError> {
        let padding = [0];
        let words = if words.is_empty() { &padding } else { words };
        self.encode_batch(words, 1, None)
    }

    /// Encodes `batch` instructions of the same padded length; `mask` `[batch, words]` has one on
    /// words and zero on padding.
    ///
    /// # Errors
    /// [`ForwardError`] for lengths that do not fit or a word outside the vocabulary.
    pub fn encode_batch(
        &self,
        words: &[i32],
        batch: usize,
        mask: Option<&[f32]>,
    ) -> Result<InstructionCache, ForwardError> {
        let count = words.len() / batch.max(1);
        check_len("words", batch * count.clamp(1, self.config.max_words), words.len())?;
        check_words(words, self.config.word_vocabulary)?;
        if let Some(mask) = mask {
            check_len("word mask", words.len(), mask.len())?;
        }
        let ids = Tensor::<2, Int>::from_data(TensorData::new(words.to_vec(), [batch, count]), &self.device);
        let mask =
            mask.map(|mask| Tensor::from_data(TensorData::new(mask.to_vec(), [batch, count]), &self.device));
        Ok(InstructionCache(self.net.context(ids, mask)))
    }

    /// Slot logits `[batch, slots, vocabulary]` for observations under encoded instructions, whose
    /// batch must be the same. Waits for the device.
    ///
    /// # Errors
    /// [`ForwardError`] for inputs of the wrong length or a failing device.
    pub fn logits(
        &self,
        inputs: &HostInputs,
        instruction: &InstructionCache,
    ) -> Result<Vec<f32>, ForwardError> {
        inputs.check(&self.config)?;
        let [encoded, ..] = instruction.0.memory[0].keys.dims();
        check_len("encoded instructions", inputs.batch, encoded)?;
        let tensors = inputs.tensors(0, inputs.batch, &self.device);
        let outputs = self.net.forward(&tensors, &instruction.0, &self.constants);
        read(outputs.logits)
    }
}

pub(crate) fn check_words(words: &[i32], vocabulary: usize) -> Result<(), ForwardError> {
    match words.iter().find(|word| usize::try_from(**word).map_or(true, |word| word >= vocabulary)) {
        Some(&word) => Err(ForwardError::Word { word, vocabulary }),
        None => Ok(()),
    }
}

/// Waits for a tensor and gives its values.
pub(crate) fn read<const D: usize>(tensor: Tensor<D>) -> Result<Vec<f32>, ForwardError> {
    let data =
        tensor.try_into_data().map_err(|error| ForwardError::Device { reason: format!("{error:?}") })?;
    data.try_into_vec().map_err(|error| ForwardError::Device { reason: format!("{error:?}") })
}
