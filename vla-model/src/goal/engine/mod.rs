//! The goal model's inference on the CPU, on the operations of [`crate::compute`].
//!
//! The same network as [`super::model`], made from the same weights, for one observation at a time. An
//! int8 file's integers are multiplied as they are, with activations rounded to int8 row by row; tensors
//! that the file keeps in f32, norms, softmax and the grounding's geometry stay in f32. burn's form of the
//! network remains for training and for GPUs.

mod block;
mod grounding;
mod load;
mod text;
mod tower;

use crate::compute::{Backend, Dense, Precision, Rows};
use crate::weights::{WeightsError, WeightsInfo};

use super::config::{GoalModelConfig, PATCH_LEN};
use super::model::{ForwardError, HostInputs, check_len, check_words};
use block::Block;
use grounding::{Grounding, Sought};
use load::Loader;
use text::TextEncoder;
use tower::Tower;

/// The network on a CPU, ready to decide.
#[derive(Debug)]
pub struct Engine {
    backend: Backend,
    info: WeightsInfo,
    precision: Precision,
    scene: Tower,
    wrist: Tower,
    text: TextEncoder,
    scene_grounding: Grounding,
    wrist_grounding: Grounding,
    proprio: [Dense; 2],
    tactile: [Dense; 2],
    /// `[slots, width]`.
    slots: Rows,
    layers: Vec<Block>,
    head: Dense,
}

/// An encoded instruction: all that the network computes from the words alone. It belongs to the engine
/// that made it.
#[derive(Debug)]
pub struct EncodedInstruction {
    /// Keys, then values of the words, for each layer: `[words, 2 × width]`.
    memory: Vec<Rows>,
    scene: Sought,
    wrist: Sought,
}

impl Engine {
    /// Reads the bytes of a weights file. `precision` is f32 or int8; none takes the file's own.
    ///
    /// # Errors
    /// [`WeightsError`], whatever is wrong with the bytes.
    pub fn from_bytes(
        bytes: &[u8],
        backend: &Backend,
        precision: Option<Precision>,
    ) -> Result<Self, WeightsError> {
        let mut load = Loader::open(bytes, backend, precision)?;
        let c = load.config().clone();
        let width = c.width;
        let scene = Tower::load(&mut load, "scene", c.scene_grid(), c.scene_channels, None, c.scene_blocks)?;
        let merged = Some(c.wrist_channels);
        let wrist = Tower::load(&mut load, "wrist", c.wrist_grid(), c.wrist_embed, merged, c.wrist_blocks)?;
        let engine = Self {
            scene,
            wrist,
            text: TextEncoder::load(&mut load)?,
            scene_grounding: Grounding::load(&mut load, "scene_grounding", c.scene_grid(), c.scene_channels)?,
            wrist_grounding: Grounding::load(&mut load, "wrist_grounding", c.wrist_grid(), c.wrist_channels)?,
            proprio: load.two_layers("proprio", c.proprio_len, width, 2 * width)?,
            tactile: load.two_layers("tactile", c.tactile_len, width, width)?,
            slots: load.rows("slot_queries", c.slots, width)?,
            layers: (0..c.layers)
                .map(|at| Block::load(&mut load, &format!("layers.{at}")))
                .collect::<Result<_, _>>()?,
            head: load.head("norm", "head", width, c.token_vocabulary)?,
            backend: backend.clone(),
            precision: load.precision(),
            info: load.finish()?,
        };
        Ok(engine)
    }

    /// What the file says about itself.
    pub fn info(&self) -> &WeightsInfo {
        &self.info
    }

    /// The model's sizes.
    pub fn config(&self) -> &GoalModelConfig {
        &self.info.config
    }

    /// The numbers that the matrices are multiplied in.
    pub fn precision(&self) -> Precision {
        self.precision
    }

    /// Encodes one instruction, given as at most `max_words` word numbers; none at all is read as one
    /// padding word.
    ///
    /// # Errors
    /// [`ForwardError`] for too many words or a word outside the vocabulary.
    pub fn encode(&self, words: &[i32]) -> Result<EncodedInstruction, ForwardError> {
        let words = if words.is_empty() { &[0] } else { words };
        check_len("words", words.len().min(self.config().max_words), words.len())?;
        check_words(words, self.config().word_vocabulary)?;
        let text = self.text.encode(&self.backend, words)?;
        Ok(EncodedInstruction {
            memory: self.layers.iter().map(|layer| layer.remember(&text.memory)).collect(),
            scene: self.scene_grounding.seek(&self.backend, &text.pooled)?,
            wrist: self.wrist_grounding.seek(&self.backend, &text.pooled)?,
        })
    }

    /// Slot logits `[slots, vocabulary]` for a batch of one observation under an encoded instruction.
    ///
    /// # Errors
    /// [`ForwardError`] for inputs of the wrong length.
    pub fn logits(
        &self,
        inputs: &HostInputs,
        instruction: &EncodedInstruction,
    ) -> Result<Vec<f32>, ForwardError> {
        check_len("batch", 1, inputs.batch)?;
        inputs.check(self.config())?;
        let look = |tower: &Tower, patches: &[f32], grounding: &Grounding, sought: &Sought| {
            let map = tower.forward(&self.backend, patches, PATCH_LEN);
            grounding.look(&self.backend, &map, sought)
        };
        let scene = look(&self.scene, &inputs.scene, &self.scene_grounding, &instruction.scene)?;
        let wrist = look(&self.wrist, &inputs.wrist, &self.wrist_grounding, &instruction.wrist)?;
        let body = |values: &[f32], layers: &[Dense; 2]| {
            let row = Rows::upload(&self.backend, values, 1, values.len());
            layers[1].forward(&layers[0].forward(&row)).reshape(self.config().width)
        };
        let posture = body(&inputs.proprio, &self.proprio);
        let touch = body(&inputs.tactile, &self.tactile);
        let mut tokens = Rows::stack(&[&scene, &wrist, &posture, &touch, &self.slots]);
        for (layer, memory) in self.layers.iter().zip(&instruction.memory) {
            tokens = layer.forward(&tokens, Some(memory));
        }
        let slots = self.config().slots;
        Ok(self.head.forward(&tokens.narrow(tokens.count() - slots, slots)).download()?)
    }
}
