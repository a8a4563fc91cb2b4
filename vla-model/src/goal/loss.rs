//! Losses and what else a training step reports.
//!
//! Cross-entropies are computed on the host together with their gradients with respect to the
//! scores: the scores are few, and the report needs them there anyway. The gradients then enter
//! the backward pass as constants.

use serde::{Deserialize, Serialize};

use super::batch::UNLABELLED;
use crate::grammar::{SLOT_COUNT, SLOTS, Slot};
use crate::token::Token;

/// How much each loss counts.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct LossWeights {
    /// Mean cross-entropy of the slots.
    pub slots: f32,
    /// Cross-entropy of the first query's heat map, each camera.
    pub heat: f32,
    /// Cross-entropy of kind plus that of colour over cells, each camera.
    pub dense: f32,
    /// How much a cell that shows nothing counts beside one that shows an object.
    pub background: f32,
}

impl Default for LossWeights {
    fn default() -> Self {
        Self { slots: 1.0, heat: 0.3, dense: 0.3, background: 0.2 }
    }
}

/// A sum of weighted values and the sum of the weights.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Mean {
    sum: f64,
    weight: f64,
}

impl Mean {
    /// Counts `value` with `weight`.
    pub fn add(&mut self, value: f32, weight: f32) {
        self.sum += f64::from(value) * f64::from(weight);
        self.weight += f64::from(weight);
    }

    /// Counts everything that `other` counted.
    pub fn merge(&mut self, other: &Self) {
        self.sum += other.sum;
        self.weight += other.weight;
    }

    /// The mean, or NaN where nothing was counted.
    pub fn value(&self) -> f32 {
        (self.sum / self.weight) as f32
    }
}

/// What one training or evaluation step measured, over the batch. Merge steps to smooth.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct StepReport {
    /// Cross-entropy of the slots, nats.
    pub slots: Mean,
    /// Cross-entropy of the scene heat map, nats.
    pub scene_heat: Mean,
    /// Cross-entropy of the wrist heat map, nats.
    pub wrist_heat: Mean,
    /// Cross-entropy of the scene cells' kinds and colours, nats.
    pub scene_dense: Mean,
    /// Cross-entropy of the wrist cells' kinds and colours, nats.
    pub wrist_dense: Mean,
    /// Fraction of right tokens, by slot; a number counts as right within one bin.
    pub slot_accuracy: [Mean; SLOT_COUNT],
    /// Mean distance of numbers from the truth, bins, by slot.
    pub slot_error_bins: [Mean; SLOT_COUNT],
    /// Fraction of scene images whose target was found within one cell, or rightly not found.
    pub scene_hit: Mean,
    /// The same for the wrist camera.
    pub wrist_hit: Mean,
    /// Norm of the gradient before clipping; zero in evaluation.
    pub gradient_norm: f32,
}

impl StepReport {
    /// The weighted sum that training minimises.
    pub fn loss(&self, weights: &LossWeights) -> f32 {
        let or_zero = |mean: &Mean| if mean.weight > 0.0 { mean.value() } else { 0.0 };
        weights.slots * or_zero(&self.slots)
            + weights.heat * (or_zero(&self.scene_heat) + or_zero(&self.wrist_heat))
            + weights.dense * (or_zero(&self.scene_dense) + or_zero(&self.wrist_dense))
    }

    /// Counts everything that `other` counted.
    pub fn merge(&mut self, other: &Self) {
        for (own, other) in [
            (&mut self.slots, &other.slots),
            (&mut self.scene_heat, &other.scene_heat),
            (&mut self.wrist_heat, &other.wrist_heat),
            (&mut self.scene_dense, &other.scene_dense),
            (&mut self.wrist_dense, &other.wrist_dense),
            (&mut self.scene_hit, &other.scene_hit),
            (&mut self.wrist_hit, &other.wrist_hit),
        ] {
            own.merge(other);
        }
        let pairs = self.slot_accuracy.iter_mut().zip(&other.slot_accuracy);
        pairs.for_each(|(own, other)| own.merge(other));
        let pairs = self.slot_error_bins.iter_mut().zip(&other.slot_error_bins);
        pairs.for_each(|(own, other)| own.merge(other));
        self.gradient_norm = self.gradient_norm.max(other.gradient_norm);
    }
}

/// By how much each loss's sum is multiplied: its weight over the sum of weights in the batch.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Factors {
    pub(crate) slots: f32,
    pub(crate) scene_heat: f32,
    pub(crate) wrist_heat: f32,
    pub(crate) scene_dense: f32,
    pub(crate) wrist_dense: f32,
}

impl Factors {
    pub(crate) fn new(batch: &super::batch::TrainBatch, weights: &LossWeights) -> Self {
        let over = |weight: f32, total: f32| if total > 0.0 { weight / total } else { 0.0 };
        let heat = |camera: usize| batch.heat_weights.iter().skip(camera).step_by(2).sum::<f32>();
        let cells =
            |kinds: &[u8]| kinds.iter().map(|kind| cell_weight(*kind, weights.background)).sum::<f32>();
        Self {
            slots: over(weights.slots, batch.slot_weights.iter().sum()),
            scene_heat: over(weights.heat, heat(0)),
            wrist_heat: over(weights.heat, heat(1)),
            scene_dense: over(weights.dense, cells(&batch.scene_kinds)),
            wrist_dense: over(weights.dense, cells(&batch.wrist_kinds)),
        }
    }
}

/// Weight of a cell in the dense losses.
pub(crate) fn cell_weight(kind: u8, background: f32) -> f32 {
    match kind {
        UNLABELLED => 0.0,
        0 => background,
        _ => 1.0,
    }
}

/// Replaces scores by `factor · (softmax − target)` and gives the cross-entropy. Scores outside
/// `range` get no gradient.
fn cross_entropy(scores: &mut [f32], target: &[f32], allowed: impl Fn(usize) -> bool, factor: f32) -> f32 {
    let picked = |i: usize, score: f32| if allowed(i) { score } else { f32::NEG_INFINITY };
    let max = scores.iter().enumerate().map(|(i, s)| picked(i, *s)).fold(f32::NEG_INFINITY, f32::max);
    let mut total = 0.0;
    for (i, score) in scores.iter().enumerate() {
        total += (picked(i, *score) - max).exp();
    }
    let log_total = total.ln();
    let mut loss = 0.0;
    for (i, (score, &target)) in scores.iter_mut().zip(target).enumerate() {
        if allowed(i) {
            let log_probability = *score - max - log_total;
            if target > 0.0 {
                loss -= target * log_probability;
            }
            *score = factor * (log_probability.exp() - target);
        } else {
            *score = 0.0;
        }
    }
    loss
}

/// Slot losses of some samples. `scores` `[samples, slots, vocabulary]` become their gradients.
pub(crate) fn slots(
    scores: &mut [f32],
    targets: &[f32],
    weights: &[f32],
    factor: f32,
    report: &mut StepReport,
) {
    let vocabulary = scores.len() / weights.len().max(1);
    let allowed: Vec<Vec<bool>> = SLOTS
        .iter()
        .map(|slot| {
            let mut flags = vec![false; vocabulary];
            for token in slot.tokens().iter() {
                if let Some(flag) = flags.get_mut(token.index()) {
                    *flag = true;
                }
            }
            flags
        })
        .collect();
    let rows = scores.chunks_exact_mut(vocabulary).zip(targets.chunks_exact(vocabulary)).zip(weights);
    for (row, ((scores, target), &weight)) in rows.enumerate() {
        if weight == 0.0 {
            scores.fill(0.0);
            continue;
        }
        let slot = row % SLOT_COUNT;
        let flags = &allowed[slot];
        let said = argmax(scores, |i| flags[i]);
        let truth = argmax(target, |i| flags[i]);
        let loss = cross_entropy(scores, target, |i| flags[i], factor * weight);
        report.slots.add(loss, weight);
        let right = match (SLOTS[slot], bin(said), bin(truth)) {
            (Slot::Number(axis), Some(said), Some(truth)) => {
                let error = axis.distance(said, truth);
                report.slot_error_bins[slot].add(error as f32, weight);
                error <= 1
            }
            _ => said == truth,
        };
        report.slot_accuracy[slot].add(if right { 1.0 } else { 0.0 }, weight);
    }
}

fn bin(index: usize) -> Option<usize> {
    u16::try_from(index).ok().and_then(|id| Token::new(id).ok()).and_then(Token::bin)
}

fn argmax(values: &[f32], allowed: impl Fn(usize) -> bool) -> usize {
    let mut best = (0, f32::NEG_INFINITY);
    for (i, &value) in values.iter().enumerate() {
        if allowed(i) && value > best.1 {
            best = (i, value);
        }
    }
    best.0
}

/// Heat-map losses of some samples of one camera. `scores` `[samples, padded cells + 1]` become
/// their gradients. `camera` is 0 for the scene, 1 for the wrist.
pub(crate) fn heat(
    scores: &mut [f32],
    targets: &[f32],
    weights: &[f32],
    (camera, grid): (usize, usize),
    factor: f32,
    (loss_out, hit_out): (&mut Mean, &mut Mean),
) {
    let cells = (grid + 1) * (grid + 1);
    let rows = scores.chunks_exact_mut(cells + 1).zip(targets.chunks_exact(cells + 1));
    for ((scores, target), weights) in rows.zip(weights.chunks_exact(2)) {
        let weight = weights[camera];
        if weight == 0.0 {
            scores.fill(0.0);
            continue;
        }
        let (said, truth) = (argmax(scores, |_| true), argmax(target, |_| true));
        let near = |a: usize, b: usize| a.abs_diff(b) <= 1;
        let hit = if said == cells || truth == cells {
            said == truth
        } else {
            near(said / (grid + 1), truth / (grid + 1)) && near(said % (grid + 1), truth % (grid + 1))
        };
        hit_out.add(if hit { 1.0 } else { 0.0 }, weight);
        loss_out.add(cross_entropy(scores, target, |_| true, factor * weight), weight);
    }
}

/// Dense losses of some samples of one camera. `scores` `[cells, kinds + colours]` become their
/// gradients.
pub(crate) fn dense(
    scores: &mut [f32],
    (kinds, colors): (&[u8], &[u8]),
    kind_count: usize,
    (factor, background): (f32, f32),
    report: &mut Mean,
) {
    let width = scores.len() / kinds.len().max(1);
    for ((scores, &kind), &color) in scores.chunks_exact_mut(width).zip(kinds).zip(colors) {
        let weight = cell_weight(kind, background);
        if weight == 0.0 {
            scores.fill(0.0);
            continue;
        }
        let (kind_scores, color_scores) = scores.split_at_mut(kind_count);
        let mut loss = hard_cross_entropy(kind_scores, usize::from(kind), factor * weight);
        if color == UNLABELLED {
            color_scores.fill(0.0);
        } else {
            loss += hard_cross_entropy(color_scores, usize::from(color), factor * weight);
        }
        report.add(loss, weight);
    }
}

fn hard_cross_entropy(scores: &mut [f32], truth: usize, factor: f32) -> f32 {
    let max = scores.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let right = scores.get(truth).copied().unwrap_or(max) - max;
    let mut total = 0.0;
    for score in scores.iter_mut() {
        *score = (*score - max).exp();
        total += *score;
    }
    for (i, score) in scores.iter_mut().enumerate() {
        *score = factor * (*score / total - if i == truth { 1.0 } else { 0.0 });
    }
    total.ln() - right
}
