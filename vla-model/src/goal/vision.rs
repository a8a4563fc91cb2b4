//! The convolution towers that turn an image's patches into a map of features.
//!
//! Maps live on the padded grid of [`super::features`]. A 3 × 3 convolution is three matrix
//! products over overlapping views of one buffer: a view's row is three neighbouring cells, so
//! nothing is copied nine times as im2col would. Measured on two CPU cores this beats the
//! backend's own convolution several times over at these sizes.
//!
//! The backward pass is written out here instead of being recorded: differentiating the
//! overlapping views through the tape would cost one operation for each cell. A test compares it
//! with finite differences.

use burn::module::{Module, Param};
use burn::tensor::{Device, Tensor, activation};

use super::features::padded_cells;
use super::init::Init;

/// One residual block: `x + pointwise(relu(conv3x3(x) + bias))`, zero on the padding.
#[derive(Module, Debug)]
pub(crate) struct ConvBlock {
    /// `[3 rows, 3 columns × channels in, channels out]`.
    pub(crate) conv: Param<Tensor<3>>,
    /// `[channels]`.
    pub(crate) bias: Param<Tensor<1>>,
    /// `[channels in, channels out]`.
    pub(crate) pointwise: Param<Tensor<2>>,
}

/// Patch embedding with learned positions, an optional merge of four neighbours, residual blocks.
#[derive(Module, Debug)]
pub(crate) struct Tower {
    /// `[48, embedding]`.
    pub(crate) embed: Param<Tensor<2>>,
    /// `[real cells × patches per cell, embedding]`; it holds the embedding's bias as well.
    pub(crate) position: Param<Tensor<2>>,
    /// `[4 × embedding, channels]`, after a rectifier; absent where a cell is one patch.
    pub(crate) merge: Option<Param<Tensor<2>>>,
    pub(crate) blocks: Vec<ConvBlock>,
    #[module(skip)]
    pub(crate) grid: usize,
}

/// What the backward pass needs of a forward pass.
pub(crate) struct TowerTape {
    patches: Tensor<2>,
    merged: Option<Tensor<2>>,
    blocks: Vec<(Tensor<1>, Tensor<2>)>,
}

/// Gradients of one tower, in the order of its fields.
#[cfg_attr(not(feature = "train"), allow(dead_code, reason = "only training reads gradients"))]
pub(crate) struct TowerGrads {
    pub(crate) embed: Tensor<2>,
    pub(crate) position: Tensor<2>,
    pub(crate) merge: Option<Tensor<2>>,
    pub(crate) blocks: Vec<(Tensor<3>, Tensor<1>, Tensor<2>)>,
}

impl Tower {
    pub(crate) fn init(
        init: &mut Init<'_>,
        grid: usize,
        patch_len: usize,
        embed: usize,
        merge_to: Option<usize>,
        blocks: usize,
    ) -> Self {
        let channels = merge_to.unwrap_or(embed);
        let patches = if merge_to.is_some() { 4 } else { 1 };
        // Pixels span about ±2 with a deviation near 1.
        let residual = 1.0 / (blocks as f32).sqrt();
        Self {
            embed: init.weight([patch_len, embed], patch_len, 1.0),
            position: init.normal([grid * grid * patches, embed], 0.1),
            merge: merge_to.map(|to| init.weight([4 * embed, to], 4 * embed, std::f32::consts::SQRT_2)),
            blocks: (0..blocks)
                .map(|_| ConvBlock {
                    conv: init.weight([3, 3 * channels, channels], 9 * channels, 1.0),
                    bias: init.constant([channels], 0.0),
                    pointwise: init.weight([channels, channels], channels, residual),
                })
                .collect(),
            grid,
        }
    }

    /// Patches per cell.
    fn group(&self) -> usize {
        if self.merge.is_some() { 4 } else { 1 }
    }

    /// `patches` is `[batch × padded cells × group, 48]`, zero on the padding; the result is
    /// `[batch × padded cells, channels]`, zero on the padding.
    pub(crate) fn forward(&self, patches: Tensor<2>, batch: usize) -> Tensor<2> {
        self.run(patches, batch, None)
    }

    /// As [`Self::forward`], and what [`Self::backward`] needs.
    #[cfg_attr(not(feature = "train"), allow(dead_code, reason = "only training needs the tape"))]
    pub(crate) fn forward_taped(&self, patches: Tensor<2>, batch: usize) -> (Tensor<2>, TowerTape) {
        let mut tape = TowerTape {
            patches: patches.clone(),
            merged: None,
            blocks: Vec::with_capacity(self.blocks.len()),
        };
        let map = self.run(patches, batch, Some(&mut tape));
        (map, tape)
    }

    fn run(&self, patches: Tensor<2>, batch: usize, mut tape: Option<&mut TowerTape>) -> Tensor<2> {
        let cells = padded_cells(self.grid);
        let group = self.group();
        let embedded = patches.matmul(self.embed.val());
        let [_, embed] = embedded.dims();
        let embedded = embedded.reshape([batch, cells * group * embed]) + self.padded_position();
        let mut map = match &self.merge {
            None => embedded.reshape([batch * cells, embed]),
            Some(merge) => {
                let joined = activation::relu(embedded.reshape([batch * cells, 4 * embed]));
                if let Some(tape) = tape.as_deref_mut() {
                    tape.merged = Some(joined.clone());
                }
                joined.matmul(merge.val())
            }
        };
        let mask = self.mask(&map);
        for block in &self.blocks {
            let [rows, channels] = map.dims();
            let buffer = pad_rows(map.clone(), self.grid);
            let hidden = conv(&buffer, &block.conv.val(), rows, self.grid) + block.bias.val().unsqueeze();
            let hidden = activation::relu(hidden);
            if let Some(tape) = tape.as_deref_mut() {
                tape.blocks.push((buffer, hidden.clone()));
            }
            let step = hidden.matmul(block.pointwise.val()).reshape([batch, cells, channels]);
            map = map + (step * mask.clone()).reshape([rows, channels]);
        }
        map
    }

    /// Gradients for `d_map` = ∂loss/∂map `[batch × padded cells, channels]`, zero on the padding.
    #[cfg_attr(not(feature = "train"), allow(dead_code, reason = "only training goes backward"))]
    pub(crate) fn backward(&self, tape: TowerTape, d_map: Tensor<2>, batch: usize) -> TowerGrads {
        let cells = padded_cells(self.grid);
        let mask = self.mask(&d_map);
        let mut d_map = d_map;
        let mut blocks = Vec::with_capacity(self.blocks.len());
        for (block, (buffer, hidden)) in self.blocks.iter().zip(tape.blocks).rev() {
            let [rows, channels] = d_map.dims();
            let d_pointwise = hidden.clone().transpose().matmul(d_map.clone());
            let d_hidden = d_map.clone().matmul(block.pointwise.val().transpose());
            let d_hidden = d_hidden.mask_fill(hidden.lower_equal_elem(0.0), 0.0);
            let d_bias = d_hidden.clone().sum_dim(0).reshape([channels]);
            let d_conv = (0..3)
                .map(|row| {
                    view(&buffer, row, rows, channels, self.grid)
                        .transpose()
                        .matmul(d_hidden.clone())
                        .unsqueeze::<3>()
                })
                .collect();
            let d_buffer = pad_rows(d_hidden, self.grid);
            let turned = turn(block.conv.val(), channels);
            let d_input = conv(&d_buffer, &turned, rows, self.grid).reshape([batch, cells, channels]);
            d_map = d_map + (d_input * mask.clone()).reshape([rows, channels]);
            blocks.push((Tensor::cat(d_conv, 0), d_bias, d_pointwise));
        }
        blocks.reverse();
        let group = self.group();
        let [_, embed] = self.embed.val().dims();
        let (d_embedded, d_merge) = match (&self.merge, tape.merged) {
            (Some(merge), Some(joined)) => {
                let d_merge = joined.clone().transpose().matmul(d_map.clone());
                let d_joined = d_map.matmul(merge.val().transpose());
                (d_joined.mask_fill(joined.lower_equal_elem(0.0), 0.0), Some(d_merge))
            }
            _ => (d_map, None),
        };
        let d_embedded = d_embedded.reshape([batch * cells * group, embed]);
        let d_embed = tape.patches.transpose().matmul(d_embedded.clone());
        let padded = self.grid + 1;
        let d_position = d_embedded
            .reshape([batch, cells * group * embed])
            .sum_dim(0)
            .reshape([padded, padded, group * embed])
            .slice([0..self.grid, 0..self.grid])
            .reshape([self.grid * self.grid * group, embed]);
        TowerGrads { embed: d_embed, position: d_position, merge: d_merge, blocks }
    }

    /// The learned positions on the padded grid, `[1, padded cells × group × embedding]`.
    fn padded_position(&self) -> Tensor<2> {
        let position = self.position.val();
        let [_, embed] = position.dims();
        let width = self.group() * embed;
        let device = position.device();
        let square = position.reshape([self.grid, self.grid, width]);
        let right = Tensor::zeros([self.grid, 1, width], &device);
        let below = Tensor::zeros([1, self.grid + 1, width], &device);
        Tensor::cat(vec![Tensor::cat(vec![square, right], 1), below], 0)
            .reshape([1, padded_cells(self.grid) * width])
    }

    /// One on real cells, zero on the padding: `[1, padded cells, 1]`.
    fn mask(&self, like: &Tensor<2>) -> Tensor<3> {
        let device = like.device();
        let real = Tensor::<2>::ones([self.grid, self.grid], &device);
        let right = Tensor::zeros([self.grid, 1], &device);
        let below = Tensor::zeros([1, self.grid + 1], &device);
        Tensor::cat(vec![Tensor::cat(vec![real, right], 1), below], 0).reshape([
            1,
            padded_cells(self.grid),
            1,
        ])
    }
}

/// `map` between zeros enough for a neighbourhood of its first and last row, flattened.
fn pad_rows(map: Tensor<2>, grid: usize) -> Tensor<1> {
    let [rows, channels] = map.dims();
    let margin = Tensor::zeros([grid + 2, channels], &map.device());
    Tensor::cat(vec![margin.clone(), map, margin], 0).reshape([(rows + 2 * (grid + 2)) * channels])
}

/// The three cells of neighbourhood row `row` (0 above, 1 level, 2 below) of each of `rows` cells:
/// `[rows, 3 × channels]`, an overlapping view of the buffer of [`pad_rows`] where the backend can.
fn view(buffer: &Tensor<1>, row: usize, rows: usize, channels: usize, grid: usize) -> Tensor<2> {
    let start = row * (grid + 1);
    if buffer.device() == Device::flex() {
        let (start, len) = (start * channels, (rows + 2) * channels);
        return buffer.clone().narrow(0, start, len).unfold(0, 3 * channels, channels);
    }
    // The shader backend's matrix product wants rows that do not overlap.
    let [len] = buffer.dims();
    let cells = buffer.clone().reshape([len / channels, channels]);
    Tensor::cat((0..3).map(|column| cells.clone().narrow(0, start + column, rows)).collect(), 1)
}

fn conv(buffer: &Tensor<1>, weight: &Tensor<3>, rows: usize, grid: usize) -> Tensor<2> {
    let [_, wide, channels_out] = weight.dims();
    let part = |row: usize| {
        let weight = weight.clone().narrow(0, row, 1).reshape([wide, channels_out]);
        view(buffer, row, rows, wide / 3, grid).matmul(weight)
    };
    part(0) + part(1) + part(2)
}

/// The weight with which a gradient flows back: turned by half a turn, inputs and outputs swapped.
fn turn(weight: Tensor<3>, channels: usize) -> Tensor<3> {
    weight.reshape([3, 3, channels, channels]).flip([0, 1]).swap_dims(2, 3).reshape([
        3,
        3 * channels,
        channels,
    ])
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests fail by panicking")]
    use burn::tensor::TensorData;

    use super::super::features::padded_index;
    use super::*;

    const GRID: usize = 3;
    const BATCH: usize = 2;
    const PATCH: usize = 5;

    fn wave(count: usize, phase: f32) -> Vec<f32> {
        (0..count).map(|at| (at as f32 * 0.7 + phase).sin()).collect()
    }

    /// Patches with zero padding, `[batch × padded cells × group, PATCH]`.
    fn patches(group: usize, device: &Device) -> Tensor<2> {
        let cells = padded_cells(GRID);
        let mut values = wave(BATCH * cells * group * PATCH, 0.3);
        for sample in 0..BATCH {
            for row in 0..=GRID {
                for column in 0..=GRID {
                    if row == GRID || column == GRID {
                        let at = (sample * cells + padded_index(GRID, row, column)) * group * PATCH;
                        values[at..at + group * PATCH].fill(0.0);
                    }
                }
            }
        }
        Tensor::from_data(TensorData::new(values, [BATCH * cells * group, PATCH]), device)
    }

    fn tower(merge: bool, device: &Device) -> Tower {
        let mut tower = Tower::init(&mut Init::new(9, device), GRID, PATCH, 4, merge.then_some(6), 2);
        for block in &mut tower.blocks {
            let [channels] = block.bias.dims();
            let bias = TensorData::new(wave(channels, 1.0), [channels]);
            block.bias = Param::from_tensor(Tensor::from_data(bias, device));
        }
        tower
    }

    fn values<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
        tensor.into_data().try_into_vec().unwrap()
    }

    /// A loss that weighs all real cells differently, and its gradient (zero on the padding).
    fn probe(map: &Tensor<2>) -> Tensor<2> {
        let [rows, channels] = map.dims();
        let cells = padded_cells(GRID);
        let mut weights = wave(rows * channels, 0.9);
        for (at, value) in weights.iter_mut().enumerate() {
            let cell = at / channels % cells;
            if cell / (GRID + 1) == GRID || cell % (GRID + 1) == GRID {
                *value = 0.0;
            }
        }
        Tensor::from_data(TensorData::new(weights, [rows, channels]), &map.device())
    }

    /// Convolution by its definition, on the unpadded map.
    #[test]
    fn the_convolution_is_the_textbook_one() {
        let device = Device::flex();
        let channels = 2;
        let cells = padded_cells(GRID);
        let real = |row: usize, column: usize| row < GRID && column < GRID;
        let mut map = wave(BATCH * cells * channels, 0.1);
        for (at, value) in map.iter_mut().enumerate() {
            let cell = at / channels % cells;
            if !real(cell / (GRID + 1), cell % (GRID + 1)) {
                *value = 0.0;
            }
        }
        let weight = wave(3 * 3 * channels * 3, 0.4);
        let shape = [BATCH * cells, channels];
        let tensor = Tensor::<2>::from_data(TensorData::new(map.clone(), shape), &device);
        let kernel = Tensor::from_data(TensorData::new(weight.clone(), [3, 3 * channels, 3]), &device);
        let out = values(conv(&pad_rows(tensor, GRID), &kernel, BATCH * cells, GRID));
        for sample in 0..BATCH {
            for (row, column, to) in (0..27_usize).map(|i| (i / 9, i / 3 % 3, i % 3)) {
                let mut expected = 0.0;
                for (dy, dx, from) in (0..18_usize).map(|i| (i / 6, i / 2 % 3, i % 2)) {
                    let (y, x) = ((row + dy).wrapping_sub(1), (column + dx).wrapping_sub(1));
                    if real(y, x) {
                        let cell = sample * cells + padded_index(GRID, y, x);
                        expected +=
                            map[cell * channels + from] * weight[((dy * 3 + dx) * channels + from) * 3 + to];
                    }
                }
                let actual = out[(sample * cells + padded_index(GRID, row, column)) * 3 + to];
                assert!((actual - expected).abs() < 1e-4, "{actual} {expected}");
            }
        }
    }

    #[test]
    fn the_map_is_zero_on_the_padding() {
        let device = Device::flex();
        for merge in [false, true] {
            let map = tower(merge, &device).forward(patches(if merge { 4 } else { 1 }, &device), BATCH);
            let padding = probe(&map).equal_elem(0.0).float();
            assert!(values((map * padding).abs().sum())[0] < 1e-6);
        }
    }

    /// Moves one weight of a parameter and compares the change of the loss with the gradient.
    #[test]
    fn the_written_gradient_agrees_with_finite_differences() {
        let device = Device::flex();
        for merge in [false, true] {
            let tower = tower(merge, &device);
            let input = patches(if merge { 4 } else { 1 }, &device);
            let loss = |tower: &Tower| {
                let map = tower.forward(input.clone(), BATCH);
                let weights = probe(&map);
                f64::from(values((map * weights).sum())[0])
            };
            let (map, tape) = tower.forward_taped(input.clone(), BATCH);
            let grads = tower.backward(tape, probe(&map), BATCH);
            let mut checked = 0;
            let mut check = |gradient: Vec<f32>, moved: &dyn Fn(usize, f32) -> Tower| {
                for at in (0..gradient.len()).step_by(gradient.len() / 5 + 1) {
                    let step = 2e-3;
                    let slope = (loss(&moved(at, step)) - loss(&moved(at, -step))) / (2.0 * f64::from(step));
                    let written = f64::from(gradient[at]);
                    assert!((slope - written).abs() < 0.03 * (1.0 + slope.abs()), "{slope} {written}");
                    checked += 1;
                }
            };
            check(values(grads.embed), &|at, by| Tower {
                embed: moved(&tower.embed, at, by),
                ..tower.clone()
            });
            check(values(grads.position), &|at, by| Tower {
                position: moved(&tower.position, at, by),
                ..tower.clone()
            });
            if let (Some(gradient), Some(merge)) = (grads.merge, &tower.merge) {
                check(values(gradient), &|at, by| Tower {
                    merge: Some(moved(merge, at, by)),
                    ..tower.clone()
                });
            }
            for (index, (conv, bias, pointwise)) in grads.blocks.into_iter().enumerate() {
                let block = |change: &dyn Fn(&mut ConvBlock)| {
                    let mut tower = tower.clone();
                    change(&mut tower.blocks[index]);
                    tower
                };
                check(values(conv), &|at, by| block(&|block| block.conv = moved(&block.conv, at, by)));
                check(values(bias), &|at, by| block(&|block| block.bias = moved(&block.bias, at, by)));
                check(values(pointwise), &|at, by| {
                    block(&|block| block.pointwise = moved(&block.pointwise, at, by))
                });
            }
            assert!(checked >= 30);
        }
    }

    fn moved<const D: usize>(param: &Param<Tensor<D>>, at: usize, by: f32) -> Param<Tensor<D>> {
        let value = param.val();
        let shape = value.dims();
        let mut numbers = values(value.clone());
        numbers[at] += by;
        Param::from_tensor(Tensor::from_data(TensorData::new(numbers, shape), &value.device()))
    }
}
