//! Labelled observations for training, on the host.

use super::config::GoalModelConfig;
use super::features::{padded_cells, padded_index, scene_patches, tactile_pair, wrist_patches};
use super::model::{HostInputs, ShapeError, check_len};
use crate::grammar::{SLOT_COUNT, SLOTS, Slot};
use crate::number::NUMBER_BINS;
use crate::token::Token;

/// Deviation of a number's target over neighbouring bins, bins.
const NUMBER_SPREAD_BINS: f32 = 1.0;
/// Deviation of the target pixel's heat map, cells.
const HEAT_SPREAD_CELLS: f32 = 0.7;
/// A cell label that bears no loss.
pub const UNLABELLED: u8 = u8::MAX;

/// Where the target is in one camera's image.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum PixelLabel {
    /// In view, at these fractions of width and height from the upper left.
    At([f32; 2]),
    /// Not in view, or there is no target.
    Absent,
    /// Unknown: bears no loss.
    Unlabelled,
}

/// What each cell of a feature map mainly shows, row by row without padding.
#[derive(Clone, Copy, Debug)]
pub struct CellLabels<'a> {
    /// 0 nothing, 1 mug, 2 cube, 3 bowl, or [`UNLABELLED`].
    pub kinds: &'a [u8],
    /// 0 none, 1 + index of the colour, or [`UNLABELLED`].
    pub colors: &'a [u8],
}

/// One labelled observation.
#[derive(Clone, Copy, Debug)]
pub struct Sample<'a> {
    /// Scene image, `[px, px, 3]`.
    pub scene_rgb: &'a [u8],
    /// Wrist image, `[px, px, 3]`.
    pub wrist_rgb: &'a [u8],
    /// Left tactile pad, newtons.
    pub left_n: &'a [f32],
    /// Right tactile pad, newtons.
    pub right_n: &'a [f32],
    /// Posture, from [`super::features::proprio`].
    pub proprio: &'a [f32],
    /// The instruction's word numbers; longer ones are cut.
    pub words: &'a [i32],
    /// What each slot should say; slots without a token bear no loss.
    pub slots: &'a [Option<Token>; SLOT_COUNT],
    /// How much each slot counts.
    pub slot_weights: &'a [f32; SLOT_COUNT],
    /// The target in the scene image.
    pub scene_pixel: PixelLabel,
    /// The target in the wrist image.
    pub wrist_pixel: PixelLabel,
    /// What the scene image shows, one label for each of its (px / 4)² cells.
    pub scene_cells: CellLabels<'a>,
    /// What the wrist image shows, one label for each of its (px / 8)² cells.
    pub wrist_cells: CellLabels<'a>,
}

/// A batch for one training step. Fill it with [`Self::push`], or write the fields.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TrainBatch {
    /// The observations.
    pub inputs: HostInputs,
    /// Word numbers, `[batch, max_words]`, zero on padding.
    pub words: Vec<i32>,
    /// One on words, zero on padding, `[batch, max_words]`.
    pub word_mask: Vec<f32>,
    /// What each slot should say, a distribution: `[batch, slots, vocabulary]`.
    pub slot_targets: Vec<f32>,
    /// How much each slot counts: `[batch, slots]`.
    pub slot_weights: Vec<f32>,
    /// Where the target is in the scene image, a distribution:
    /// `[batch, padded cells + 1]`, the last one "not in view".
    pub scene_heat: Vec<f32>,
    /// The same for the wrist image.
    pub wrist_heat: Vec<f32>,
    /// How much the heat maps count: `[batch, 2]`, scene and wrist.
    pub heat_weights: Vec<f32>,
    /// Kinds of the scene's cells, `[batch, padded cells]`, [`UNLABELLED`] on padding.
    pub scene_kinds: Vec<u8>,
    /// Colours of the scene's cells.
    pub scene_colors: Vec<u8>,
    /// Kinds of the wrist camera's cells.
    pub wrist_kinds: Vec<u8>,
    /// Colours of the wrist camera's cells.
    pub wrist_colors: Vec<u8>,
}

impl TrainBatch {
    /// Removes all samples and keeps the memory.
    pub fn clear(&mut self) {
        let inputs = &mut self.inputs;
        inputs.batch = 0;
        for values in [&mut inputs.scene, &mut inputs.wrist, &mut inputs.tactile, &mut inputs.proprio] {
            values.clear();
        }
        self.words.clear();
        for values in [
            &mut self.word_mask,
            &mut self.slot_targets,
            &mut self.slot_weights,
            &mut self.scene_heat,
            &mut self.wrist_heat,
            &mut self.heat_weights,
        ] {
            values.clear();
        }
        for labels in
            [&mut self.scene_kinds, &mut self.scene_colors, &mut self.wrist_kinds, &mut self.wrist_colors]
        {
            labels.clear();
        }
    }

    /// Adds one sample.
    ///
    /// # Errors
    /// [`ShapeError`] when a length does not fit the model; the batch is then as it was.
    pub fn push(&mut self, config: &GoalModelConfig, sample: &Sample<'_>) -> Result<(), ShapeError> {
        let (scene_grid, wrist_grid) = (config.scene_grid(), config.wrist_grid());
        let pixels = config.image_px * config.image_px * 3;
        check_len("scene image", pixels, sample.scene_rgb.len())?;
        check_len("wrist image", pixels, sample.wrist_rgb.len())?;
        check_len("posture", config.proprio_len, sample.proprio.len())?;
        check_len("left tactile pad", config.tactile_len / 2, sample.left_n.len())?;
        check_len("right tactile pad", config.tactile_len / 2, sample.right_n.len())?;
        for (labels, grid) in [(&sample.scene_cells, scene_grid), (&sample.wrist_cells, wrist_grid)] {
            check_len("kinds of cells", grid * grid, labels.kinds.len())?;
            check_len("colours of cells", grid * grid, labels.colors.len())?;
        }

        let [scene_len, wrist_len] = super::model::image_lens(config);
        scene_patches(sample.scene_rgb, config.image_px, grow(&mut self.inputs.scene, scene_len));
        wrist_patches(sample.wrist_rgb, config.image_px, grow(&mut self.inputs.wrist, wrist_len));
        tactile_pair(sample.left_n, sample.right_n, grow(&mut self.inputs.tactile, config.tactile_len));
        self.inputs.proprio.extend_from_slice(sample.proprio);
        self.inputs.batch += 1;

        let count = sample.words.len().min(config.max_words);
        for at in 0..config.max_words {
            self.words.push(if at < count { sample.words[at] } else { 0 });
            // An empty instruction still needs one token to attend to.
            self.word_mask.push(if at < count.max(1) { 1.0 } else { 0.0 });
        }
        for ((slot, token), &weight) in SLOTS.iter().zip(sample.slots).zip(sample.slot_weights) {
            let targets = grow(&mut self.slot_targets, config.token_vocabulary);
            let weight = match token {
                Some(token) => {
                    soft_target(*slot, *token, targets);
                    weight
                }
                None => 0.0,
            };
            self.slot_weights.push(weight);
        }
        let scene =
            heat(sample.scene_pixel, scene_grid, grow(&mut self.scene_heat, padded_cells(scene_grid) + 1));
        let wrist =
            heat(sample.wrist_pixel, wrist_grid, grow(&mut self.wrist_heat, padded_cells(wrist_grid) + 1));
        self.heat_weights.extend([scene, wrist]);
        pad_labels(sample.scene_cells.kinds, scene_grid, &mut self.scene_kinds);
        pad_labels(sample.scene_cells.colors, scene_grid, &mut self.scene_colors);
        pad_labels(sample.wrist_cells.kinds, wrist_grid, &mut self.wrist_kinds);
        pad_labels(sample.wrist_cells.colors, wrist_grid, &mut self.wrist_colors);
        Ok(())
    }

    /// Checks that all lengths belong together.
    ///
    /// # Errors
    /// [`ShapeError`] naming the first one that does not fit.
    pub fn check(&self, config: &GoalModelConfig) -> Result<(), ShapeError> {
        self.inputs.check(config)?;
        let batch = self.inputs.batch;
        let scene = padded_cells(config.scene_grid());
        let wrist = padded_cells(config.wrist_grid());
        check_len("words", batch * config.max_words, self.words.len())?;
        check_len("word mask", batch * config.max_words, self.word_mask.len())?;
        check_len("slot targets", batch * config.slots * config.token_vocabulary, self.slot_targets.len())?;
        check_len("slot weights", batch * config.slots, self.slot_weights.len())?;
        check_len("scene heat", batch * (scene + 1), self.scene_heat.len())?;
        check_len("wrist heat", batch * (wrist + 1), self.wrist_heat.len())?;
        check_len("heat weights", batch * 2, self.heat_weights.len())?;
        check_len("scene kinds", batch * scene, self.scene_kinds.len())?;
        check_len("scene colours", batch * scene, self.scene_colors.len())?;
        check_len("wrist kinds", batch * wrist, self.wrist_kinds.len())?;
        check_len("wrist colours", batch * wrist, self.wrist_colors.len())
    }
}

/// Appends `count` zeros and gives them.
fn grow(values: &mut Vec<f32>, count: usize) -> &mut [f32] {
    let start = values.len();
    values.resize(start + count, 0.0);
    &mut values[start..]
}

/// One for a word; for a number a bell over its neighbours, cut at the ends of the range or
/// wrapped round it.
fn soft_target(slot: Slot, token: Token, out: &mut [f32]) {
    let (Slot::Number(axis), Some(bin)) = (slot, token.bin()) else {
        if let Some(value) = out.get_mut(token.index()) {
            *value = 1.0;
        }
        return;
    };
    let mut total = 0.0;
    for other in 0..NUMBER_BINS {
        let distance = axis.distance(bin, other) as f32 / NUMBER_SPREAD_BINS;
        if distance < 4.0 {
            let weight = (-0.5 * distance * distance).exp();
            if let Some(value) = out.get_mut(Token::number(other).index()) {
                *value = weight;
                total += weight;
            }
        }
    }
    out.iter_mut().for_each(|value| *value /= total);
}

/// Writes the distribution over cells and gives its weight.
fn heat(label: PixelLabel, grid: usize, out: &mut [f32]) -> f32 {
    match label {
        PixelLabel::Unlabelled => 0.0,
        PixelLabel::At([u, v]) if (0.0..=1.0).contains(&u) && (0.0..=1.0).contains(&v) => {
            let (column, row) = (u * grid as f32 - 0.5, v * grid as f32 - 0.5);
            let mut total = 0.0;
            for y in 0..grid {
                for x in 0..grid {
                    let (dx, dy) =
                        ((x as f32 - column) / HEAT_SPREAD_CELLS, (y as f32 - row) / HEAT_SPREAD_CELLS);
                    let weight = (-0.5 * (dx * dx + dy * dy)).exp();
                    let weight = if weight > 1e-3 { weight } else { 0.0 };
                    out[padded_index(grid, y, x)] = weight;
                    total += weight;
                }
            }
            out.iter_mut().for_each(|value| *value /= total);
            1.0
        }
        PixelLabel::At(_) | PixelLabel::Absent => {
            if let Some(absent) = out.last_mut() {
                *absent = 1.0;
            }
            1.0
        }
    }
}

fn pad_labels(labels: &[u8], grid: usize, out: &mut Vec<u8>) {
    for row in labels.chunks_exact(grid) {
        out.extend_from_slice(row);
        out.push(UNLABELLED);
    }
    out.extend(std::iter::repeat_n(UNLABELLED, grid + 1));
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests fail by panicking")]
    use super::*;
    use crate::number::Axis;

    #[test]
    fn a_yaw_at_the_end_of_its_range_wraps() {
        let mut out = vec![0.0; crate::token::VOCABULARY_SIZE];
        soft_target(Slot::Number(Axis::Yaw), Token::number(0), &mut out);
        let at = |bin: usize| out[Token::number(bin).index()];
        assert!((at(1) - at(NUMBER_BINS - 1)).abs() < 1e-6 && at(1) > 0.2);
        assert!((out.iter().sum::<f32>() - 1.0).abs() < 1e-5);
        out.fill(0.0);
        soft_target(Slot::Number(Axis::X), Token::number(0), &mut out);
        assert_eq!(out[Token::number(NUMBER_BINS - 1).index()], 0.0);
    }

    #[test]
    fn the_heat_map_peaks_at_the_pixel_or_says_absent() {
        let mut out = vec![0.0; padded_cells(4) + 1];
        assert_eq!(heat(PixelLabel::At([0.4, 0.9]), 4, &mut out), 1.0);
        let best = out.iter().enumerate().max_by(|a, b| a.1.total_cmp(b.1)).unwrap().0;
        assert_eq!(best, padded_index(4, 3, 1));
        let mut out = vec![0.0; padded_cells(4) + 1];
        heat(PixelLabel::At([1.4, 0.9]), 4, &mut out);
        assert_eq!(out.last(), Some(&1.0));
    }
}
