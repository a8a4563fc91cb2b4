//! Weights repacked into panels, once, when a layer is made.

use super::Cpu;
use super::kernels::{COLUMNS, int8_form};
use super::memory::{Memory, split};
use super::prepare::{Form, quantise};
use crate::compute::weight::{INT4_BLOCK, Weight, WeightValues, int4_block};
use crate::compute::{Activation, Precision};

/// The panels of a layer, in the layout that [`super::kernels`] gives.
#[derive(Debug)]
pub(super) enum Panels {
    Float(Memory),
    Bf16(Memory),
    /// With a scale for each column, and -128 times the sum of its integers.
    Int8 {
        values: Memory,
        scales: Memory,
        offsets: Memory,
    },
    /// With `[blocks][32]` scales for each panel.
    Int4 {
        values: Memory,
        scales: Memory,
    },
}

/// Which row of the weights each column of each panel is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Columns {
    outputs: usize,
    gated: bool,
}

impl Columns {
    pub(super) fn new(outputs: usize, activation: Activation) -> Self {
        Self { outputs, gated: activation == Activation::SiluGated }
    }

    /// Values in a row of the output.
    pub(super) fn width(self) -> usize {
        if self.gated { self.outputs / 2 } else { self.outputs }
    }

    /// Output values that come from a panel.
    pub(super) fn per_panel(self) -> usize {
        if self.gated { COLUMNS / 2 } else { COLUMNS }
    }

    pub(super) fn panels(self) -> usize {
        self.width().div_ceil(self.per_panel())
    }

    /// A gated panel has sixteen gates, then the sixteen values that they gate.
    fn row(self, panel: usize, column: usize) -> Option<usize> {
        let at = panel * self.per_panel() + column % self.per_panel();
        let part = column / self.per_panel();
        (at < self.width()).then_some(part * self.width() + at)
    }

    /// The columns that exist, with the row of the weights that each is.
    fn rows(self, panel: usize) -> impl Iterator<Item = (usize, usize)> {
        (0..COLUMNS).filter_map(move |column| Some((column, self.row(panel, column)?)))
    }

    /// `values`, one for each output, in the order of the panels, padded with zeros.
    pub(super) fn spread(self, values: &[f32]) -> Memory {
        let mut memory = Memory::zeros::<f32>(self.panels() * COLUMNS);
        for (at, value) in memory.as_mut_slice::<f32>()[..self.panels() * COLUMNS].iter_mut().enumerate() {
            *value = self.row(at / COLUMNS, at % COLUMNS).map_or(0.0, |row| values[row]);
        }
        memory
    }
}

/// Inputs of an int8 panel: whole tiles of 64.
pub(super) fn int8_inputs(inputs: usize) -> usize {
    inputs.next_multiple_of(64)
}

impl Panels {
    /// Float weights are turned into `precision`, quantised weights stay.
    pub(super) fn new(cpu: &Cpu, weight: &Weight<'_>, precision: Precision, columns: Columns) -> Self {
        let inputs = weight.inputs;
        match (&weight.values, precision) {
            (WeightValues::Float(values), Precision::F32) => float(cpu, values, inputs, columns),
            (WeightValues::Float(values), Precision::Bf16) => bf16(cpu, values, inputs, columns),
            (WeightValues::Float(values), Precision::Int8) => int8(cpu, inputs, columns, &|row, to| {
                let row = &values[row * inputs..(row + 1) * inputs];
                quantise(cpu.isa(), row, to, 0)
            }),
            (WeightValues::Int8 { values, scales }, _) => int8(cpu, inputs, columns, &|row, to| {
                for (to, value) in to.iter_mut().zip(&values[row * inputs..]) {
                    // -128 has no place in a symmetric range, and its magnitude none in a signed byte.
                    *to = (*value).max(-127) as u8;
                }
                scales[row]
            }),
            (WeightValues::Float(values), Precision::Int4) => {
                int4(cpu, inputs, columns, &|row, block, to| {
                    let from = row * inputs + block * INT4_BLOCK;
                    int4_block(&values[from..from + to.len()], to)
                })
            }
            (WeightValues::Int4 { packed, scales }, _) => int4(cpu, inputs, columns, &|row, block, to| {
                let at = row * inputs + block * INT4_BLOCK;
                for (pair, byte) in to.chunks_exact_mut(2).zip(&packed[at / 2..]) {
                    pair.copy_from_slice(&[byte & 15, byte >> 4]);
                }
                scales[at / INT4_BLOCK]
            }),
        }
    }
}

fn float(cpu: &Cpu, values: &[f32], inputs: usize, columns: Columns) -> Panels {
    let mut panels = Memory::zeros::<f32>(columns.panels() * inputs * COLUMNS);
    split(cpu, columns.panels(), panels.as_mut_slice::<f32>(), &mut [(); 0], &|panel, to, _| {
        for (column, row) in columns.rows(panel) {
            for (to, value) in to[column..].iter_mut().step_by(COLUMNS).zip(&values[row * inputs..]) {
                *to = *value;
            }
        }
    });
    Panels::Float(panels)
}

fn bf16(cpu: &Cpu, values: &[f32], inputs: usize, columns: Columns) -> Panels {
    let mut panels = Memory::zeros::<u32>(columns.panels() * inputs * COLUMNS / 2);
    split(cpu, columns.panels(), panels.as_mut_slice::<u32>(), &mut [(); 0], &|panel, to, _| {
        for (column, row) in columns.rows(panel) {
            let shift = column / 16 * 16;
            for (to, value) in to[column % 16..].iter_mut().step_by(16).zip(&values[row * inputs..]) {
                *to |= u32::from(half::bf16::from_f32(*value).to_bits()) << shift;
            }
        }
    });
    Panels::Bf16(panels)
}

/// `read` writes the integers of a row and returns its scale.
fn int8(
    cpu: &Cpu,
    inputs: usize,
    columns: Columns,
    read: &(dyn Fn(usize, &mut [u8]) -> f32 + Sync),
) -> Panels {
    let panels = columns.panels();
    let len = int8_inputs(inputs) * COLUMNS;
    let mut values = Memory::zeros::<i8>(panels * len);
    let mut scales = Memory::zeros::<f32>(panels * COLUMNS);
    split(cpu, panels, values.as_mut_slice::<u8>(), scales.as_mut_slice::<f32>(), &|panel, to, scales| {
        let mut integers = vec![0; inputs];
        for (column, row) in columns.rows(panel) {
            scales[column] = read(row, &mut integers);
            for (input, value) in integers.iter().enumerate() {
                to[(input / 4 * COLUMNS + column) * 4 + input % 4] = *value;
            }
        }
    });
    let mut offsets = Memory::zeros::<i32>(panels * COLUMNS);
    if int8_form(cpu.isa()) == Form::Offset {
        let values = values.as_slice::<i8>();
        split(cpu, panels, offsets.as_mut_slice::<i32>(), &mut [(); 0], &|panel, to, _| {
            for (at, value) in values[panel * len..(panel + 1) * len].iter().enumerate() {
                to[at / 4 % COLUMNS] -= 128 * i32::from(*value);
            }
        });
    }
    Panels::Int8 { values, scales, offsets }
}

/// `read` writes the integers plus 8 of a row's block (as many as the row has) and returns its scale.
fn int4(
    cpu: &Cpu,
    inputs: usize,
    columns: Columns,
    read: &(dyn Fn(usize, usize, &mut [u8]) -> f32 + Sync),
) -> Panels {
    let panels = columns.panels();
    let blocks = inputs.div_ceil(INT4_BLOCK);
    let mut values = Memory::zeros::<u8>(panels * blocks * INT4_BLOCK * COLUMNS / 2);
    let mut scales = Memory::zeros::<f32>(panels * blocks * COLUMNS);
    split(cpu, panels, values.as_mut_slice::<u8>(), scales.as_mut_slice::<f32>(), &|panel, to, scales| {
        let mut integers = [0; INT4_BLOCK];
        for (column, row) in columns.rows(panel) {
            for block in 0..blocks {
                let from = block * INT4_BLOCK;
                let integers = &mut integers[..INT4_BLOCK.min(inputs - from)];
                scales[block * COLUMNS + column] = read(row, block, integers);
                for (input, value) in (from..).zip(integers) {
                    to[(input / 4 * 16 + column % 16) * 4 + input % 4] |= *value << (column / 16 * 4);
                }
            }
        }
    });
    Panels::Int4 { values, scales }
}
