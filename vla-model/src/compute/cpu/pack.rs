//! Weights repacked into panels, once, when a layer is made.

use super::Cpu;
use super::kernels::{COLUMNS, int8_form};
use super::memory::{Memory, split};
use super::prepare::Form;
use crate::compute::weight::{INT4_BLOCK, Weight, WeightValues};
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
    pub(super) fn new(cpu: &Cpu, weight: Weight<'_>, precision: Precision, columns: Columns) -> Self {
        let inputs = weight.inputs;
        let mut weight = weight.quantised(precision);
        if precision == Precision::Int4 {
            // Only a matrix that does not fill blocks of int4 is still one of floats.
            weight = weight.quantised(Precision::Int8);
        }
        match &weight.values {
            WeightValues::Float(values) if precision == Precision::Bf16 => bf16(cpu, values, inputs, columns),
            WeightValues::Float(values) => float(cpu, values, inputs, columns),
            WeightValues::Int8 { values, scales } => int8(cpu, values, scales, inputs, columns),
            WeightValues::Int4 { packed, scales } => int4(cpu, packed, scales, inputs, columns),
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

fn int8(cpu: &Cpu, integers: &[i8], scales: &[f32], inputs: usize, columns: Columns) -> Panels {
    let panels = columns.panels();
    let mut values = Memory::zeros::<i8>(panels * int8_inputs(inputs) * COLUMNS);
    let mut offsets = Memory::zeros::<i32>(panels * COLUMNS);
    let offset = int8_form(cpu.isa()) == Form::Offset;
    split(cpu, panels, values.as_mut_slice::<i8>(), offsets.as_mut_slice::<i32>(), &|panel, to, offsets| {
        for (column, row) in columns.rows(panel) {
            let integers = &integers[row * inputs..(row + 1) * inputs];
            for (input, value) in integers.iter().enumerate() {
                // -128 has no place in a symmetric range, and its magnitude none in a signed byte.
                to[(input / 4 * COLUMNS + column) * 4 + input % 4] = (*value).max(-127);
            }
            if offset {
                offsets[column] =
                    -128 * integers.iter().map(|value| i32::from((*value).max(-127))).sum::<i32>();
            }
        }
    });
    Panels::Int8 { values, scales: columns.spread(scales), offsets }
}

fn int4(cpu: &Cpu, packed: &[u8], block_scales: &[f32], inputs: usize, columns: Columns) -> Panels {
    let panels = columns.panels();
    let blocks = inputs / INT4_BLOCK;
    let mut values = Memory::zeros::<u8>(panels * inputs * COLUMNS / 2);
    let mut scales = Memory::zeros::<f32>(panels * blocks * COLUMNS);
    split(cpu, panels, values.as_mut_slice::<u8>(), scales.as_mut_slice::<f32>(), &|panel, to, scales| {
        for (column, row) in columns.rows(panel) {
            let shift = column / 16 * 4;
            let bytes = &packed[row * inputs / 2..(row + 1) * inputs / 2];
            for (input, value) in bytes.iter().flat_map(|pair| [pair & 15, pair >> 4]).enumerate() {
                to[(input / 4 * 16 + column % 16) * 4 + input % 4] |= value << shift;
            }
            for (to, scale) in scales[column..].iter_mut().step_by(COLUMNS).zip(&block_scales[row * blocks..])
            {
                *to = *scale;
            }
        }
    });
    Panels::Int4 { values, scales }
}
