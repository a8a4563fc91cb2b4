//! A layer of a model: rows in, panels of weights through the kernels, rows out.
//!
//! Many rows are cut into bands that stay in a core's cache, and each task takes a band through all
//! panels. Few rows are prepared once, and each task takes some panels through all of them, so that every
//! weight is read by one core only. No sum is ever split, so the cut does not show in the result.
#![allow(unsafe_code, reason = "tasks write disjoint parts of one output")]

use std::cell::Cell;
use std::ops::Range;

use super::finish::{self, Sums};
use super::kernels::{self, COLUMNS, MAX_ROWS, Session, Tile};
use super::memory::{self, Memory, Shared};
use super::pack::{self, Panels};
use super::prepare::{self, Form, Prepared, Scratch, Source, What, Writer};
use super::{Cpu, Isa};
use crate::compute::{Activation, DenseSpec, Norm};

/// Most bytes of prepared rows in a band: they share a core's second cache with a panel.
const BAND_BYTES: usize = 512 << 10;
/// Rows that every kernel's tiles divide.
const BAND_STEP: usize = 96;
/// Least multiplications that are worth handing to another thread.
const TASK_PRODUCTS: usize = 1 << 20;
/// Least values that are worth preparing on several threads.
const TASK_VALUES: usize = 1 << 15;

thread_local! {
    /// Rows of the layer that this thread is running; kept for their memory.
    static PREPARED: Cell<Prepared> = Cell::default();
    /// One row on its way.
    static ROW: Cell<Scratch> = Cell::default();
}

/// Packed weights with everything that is done before and after them.
#[derive(Debug)]
pub(crate) struct DenseLayer {
    isa: Isa,
    form: Form,
    inputs: usize,
    columns: pack::Columns,
    panels: Panels,
    bias: Memory,
    norm: Option<Norm>,
    activation: Activation,
    residual_first: bool,
}

/// Where a call's results go.
#[derive(Clone, Copy)]
struct Target {
    output: *mut f32,
    residual: *const f32,
}

impl DenseLayer {
    pub(crate) fn new(cpu: &Cpu, spec: DenseSpec<'_>) -> Self {
        // Sums of products of magnitudes up to 127 stay below 2³¹.
        assert!(spec.weight.inputs <= 1 << 17, "a layer has at most 131072 inputs");
        let (inputs, outputs) = (spec.weight.inputs, spec.weight.outputs);
        let columns = pack::Columns::new(outputs, spec.activation);
        let panels = Panels::new(cpu, spec.weight, spec.precision, columns);
        let bias = spec.bias.unwrap_or_else(|| vec![0.0; outputs]);
        Self {
            isa: cpu.isa(),
            form: match &panels {
                Panels::Float(_) | Panels::Bf16(_) => Form::Float,
                Panels::Int8 { .. } => kernels::int8_form(cpu.isa()),
                Panels::Int4 { .. } => Form::Blocks,
            },
            inputs,
            columns,
            panels,
            bias: columns.spread(&bias),
            norm: spec.norm,
            activation: spec.activation,
            residual_first: false,
        }
    }

    /// Adds the residual before the activation instead of after it, as convolutions want. The activation
    /// is none or ReLU.
    pub(crate) fn residual_first(mut self) -> Self {
        self.residual_first = true;
        self
    }

    /// Whether rows are rounded to integers.
    pub(super) fn rounds(&self) -> bool {
        self.form != Form::Float
    }

    /// Values in an output row.
    pub(crate) fn outputs(&self) -> usize {
        self.columns.width()
    }

    /// `input` `[count, inputs]`, `residual` and `output` `[count, outputs]`.
    pub(crate) fn forward(
        &self,
        cpu: &Cpu,
        input: &[f32],
        count: usize,
        residual: Option<&[f32]>,
        output: &mut [f32],
    ) {
        assert_eq!(input.len(), count * self.inputs);
        self.forward_from(cpu, Source::Rows(input), count, residual, output);
    }

    /// As [`DenseLayer::forward`], with `count` rows from anywhere.
    pub(crate) fn forward_from(
        &self,
        cpu: &Cpu,
        source: Source<'_>,
        count: usize,
        residual: Option<&[f32]>,
        output: &mut [f32],
    ) {
        assert_eq!(output.len(), count * self.outputs());
        assert!(residual.is_none_or(|residual| residual.len() == output.len()));
        let residual = residual.map_or(std::ptr::null(), <[f32]>::as_ptr);
        let target = Shared(Target { output: output.as_mut_ptr(), residual });
        let norm = self.norm.as_ref();
        let what = What { isa: self.isa, form: self.form, norm, source, inputs: self.inputs };

        let row_bytes =
            prepare::stride(self.form, self.inputs) * if self.form == Form::Float { 4 } else { 1 };
        let most = (BAND_BYTES / row_bytes / BAND_STEP).max(1) * BAND_STEP;
        let bands = count.div_ceil(most).max(1);
        let band = count.div_ceil(bands).next_multiple_of(BAND_STEP);
        let rows_of = |at: usize| (at * band).min(count)..((at + 1) * band).min(count);
        let panels = self.columns.panels();
        if bands >= 2 * cpu.threads() {
            cpu.run(bands, &|at| {
                let rows = rows_of(at);
                let mut prepared = PREPARED.take();
                let writer = prepared.writer(self.form, self.inputs, rows.len());
                // SAFETY: the rows are this thread's.
                unsafe { write_rows(writer, &what, rows.start, 0..rows.len()) };
                self.multiply(&prepared, 0..rows.len(), rows.start, 0..panels, target.get());
                PREPARED.set(prepared);
            });
            return;
        }
        let mut prepared = PREPARED.take();
        let writer = prepared.writer(self.form, self.inputs, count);
        let share = count.div_ceil(4 * cpu.threads()).max(TASK_VALUES / self.inputs.max(1)).max(1);
        cpu.run(count.div_ceil(share), &|at| {
            // SAFETY: each task writes its own rows, and `prepared` is not used otherwise meanwhile.
            unsafe { write_rows(writer, &what, 0, at * share..count.min((at + 1) * share)) };
        });
        let tasks = (count * self.inputs * panels * COLUMNS / TASK_PRODUCTS).clamp(1, 4 * cpu.threads());
        let groups = tasks.div_ceil(bands).min(panels);
        cpu.run(bands * groups, &|at| {
            let group = at % groups;
            let panels = group * panels / groups..(group + 1) * panels / groups;
            self.multiply(&prepared, rows_of(at / groups), 0, panels, target.get());
        });
        PREPARED.set(prepared);
    }

    /// Takes the prepared rows `rows` through some panels. Prepared row 0 is row `first` of the output.
    fn multiply(
        &self,
        prepared: &Prepared,
        rows: Range<usize>,
        first: usize,
        panels: Range<usize>,
        to: Target,
    ) {
        let _session = Session::new(self.isa);
        let mut floats = Tile([[0.0; COLUMNS]; MAX_ROWS]);
        let mut integers = Tile([[0; COLUMNS]; MAX_ROWS]);
        let width = self.outputs();
        for panel in panels {
            let start = panel * self.columns.per_panel();
            let columns = finish::Columns {
                bias: piece(&self.bias, panel),
                activation: self.activation,
                residual_first: self.residual_first,
            };
            let mut row = rows.start;
            while row < rows.end {
                let count = kernels::tile_rows(self.isa, self.form, rows.end - row);
                let at = (first + row) * width + start;
                let corner = finish::Corner {
                    output: to.output.wrapping_add(at),
                    residual: if to.residual.is_null() { to.residual } else { to.residual.wrapping_add(at) },
                    stride: width,
                    columns: self.columns.per_panel().min(width - start),
                };
                corner.prefetch(count);
                let sums = match &self.panels {
                    Panels::Float(values) => {
                        let panel = part(values, panel, self.inputs * COLUMNS);
                        kernels::float(
                            self.isa,
                            prepared.floats(row, count),
                            panel,
                            self.inputs,
                            &mut floats,
                        );
                        Sums::Float(&floats)
                    }
                    Panels::Bf16(values) => {
                        let panel = part(values, panel, self.inputs * COLUMNS / 2);
                        kernels::bf16(self.isa, prepared.floats(row, count), panel, self.inputs, &mut floats);
                        Sums::Float(&floats)
                    }
                    Panels::Int8 { values, scales, offsets } => {
                        let inputs = pack::int8_inputs(self.inputs);
                        let values = part(values, panel, inputs * COLUMNS);
                        let offsets = piece(offsets, panel);
                        let left = prepared.integers(row, count);
                        kernels::int8(self.isa, left, values, offsets, inputs / 4, &mut integers);
                        Sums::Int8(&integers, prepared.scales(row), piece(scales, panel))
                    }
                    Panels::Int4 { values, scales } => {
                        let values = part(values, panel, self.inputs * COLUMNS / 2);
                        let scales = part(scales, panel, prepared.blocks * COLUMNS);
                        let left = prepared.integers(row, count);
                        let starts = prepared.block_sums(row);
                        kernels::int4(self.isa, left, starts, values, scales, prepared.blocks, &mut floats);
                        Sums::Int4(&floats, prepared.scales(row))
                    }
                };
                // SAFETY: the tile lies in the output, and is this thread's.
                unsafe { finish::store(self.isa, sums, count, columns, corner) };
                row += count;
            }
        }
    }
}

/// `len` values for each panel: those of one.
fn part<T: memory::Number>(values: &Memory, panel: usize, len: usize) -> &[T] {
    &values.as_slice()[panel * len..(panel + 1) * len]
}

/// The values of one panel's columns.
fn piece<T: memory::Number>(values: &Memory, panel: usize) -> &[T; COLUMNS] {
    &values.as_slice::<T>().as_chunks().0[panel]
}

/// # Safety
/// As [`prepare::Writer::write`], for each of `rows`.
unsafe fn write_rows(writer: Writer, what: &What<'_>, from: usize, rows: Range<usize>) {
    let mut scratch = ROW.take();
    for row in rows {
        // SAFETY: the caller's.
        unsafe { writer.write(what, from, row, &mut scratch) };
    }
    ROW.set(scratch);
}

#[cfg(test)]
mod tests;
