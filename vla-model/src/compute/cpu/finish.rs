//! What is done to a tile of sums before it is stored: scales, bias, activation, residual.
//!
//! The same arithmetic in the same order on every processor.
#![allow(unsafe_code, reason = "tiles of one output are written by several threads")]

use super::Isa;
use super::activate::{gelu_tanh, relu, silu};
use super::isa::isa_call;
use super::kernels::{COLUMNS, Tile};
use crate::compute::Activation;

/// Everything that one panel's columns need.
pub(super) struct Columns<'a> {
    /// Factors of int8 weights; not looked at otherwise.
    pub(super) scales: &'a [f32; COLUMNS],
    pub(super) bias: &'a [f32; COLUMNS],
    pub(super) activation: Activation,
    /// The residual comes before the activation.
    pub(super) residual_first: bool,
}

/// Where a tile goes: the upper left corner of it in the whole output.
#[derive(Clone, Copy)]
pub(super) struct Corner {
    pub(super) output: *mut f32,
    /// The same corner of the residual, or null.
    pub(super) residual: *const f32,
    /// Values from one row to the next.
    pub(super) stride: usize,
    /// Columns that exist, at most 32 (16 when gated).
    pub(super) columns: usize,
}

/// `scale · column scale · sum`, for exact int8 sums.
///
/// # Safety
/// `corner` has room for a row of `columns` values for each of `row_scales`, ours alone.
pub(super) unsafe fn int8(
    isa: Isa,
    sums: &Tile<i32>,
    row_scales: &[f32],
    columns: &Columns<'_>,
    corner: Corner,
) {
    isa_call!(isa, int8_body(sums: &Tile<i32>, row_scales: &[f32], columns: &Columns<'_>, corner: Corner) -> ());
}

/// `scale · sum`, for int4 sums, whose blocks are scaled already.
///
/// # Safety
/// As [`int8`].
pub(super) unsafe fn int4(
    isa: Isa,
    sums: &Tile<f32>,
    row_scales: &[f32],
    columns: &Columns<'_>,
    corner: Corner,
) {
    isa_call!(isa, int4_body(sums: &Tile<f32>, row_scales: &[f32], columns: &Columns<'_>, corner: Corner) -> ());
}

/// Sums as they are.
///
/// # Safety
/// As [`int8`], for `rows` rows.
pub(super) unsafe fn float(isa: Isa, sums: &Tile<f32>, rows: usize, columns: &Columns<'_>, corner: Corner) {
    isa_call!(isa, float_body(sums: &Tile<f32>, rows: usize, columns: &Columns<'_>, corner: Corner) -> ());
}

#[inline(always)]
fn int8_body(sums: &Tile<i32>, row_scales: &[f32], columns: &Columns<'_>, corner: Corner) {
    let scaled = |row: usize| {
        let mut values = [0.0; COLUMNS];
        for (at, value) in values.iter_mut().enumerate() {
            *value = sums.0[row][at] as f32 * row_scales[row] * columns.scales[at];
        }
        values
    };
    by_activation(row_scales.len(), scaled, columns, corner);
}

#[inline(always)]
fn int4_body(sums: &Tile<f32>, row_scales: &[f32], columns: &Columns<'_>, corner: Corner) {
    by_activation(row_scales.len(), |row| sums.0[row].map(|sum| sum * row_scales[row]), columns, corner);
}

#[inline(always)]
fn float_body(sums: &Tile<f32>, rows: usize, columns: &Columns<'_>, corner: Corner) {
    by_activation(rows, |row| sums.0[row], columns, corner);
}

#[inline(always)]
fn by_activation(
    rows: usize,
    scaled: impl Fn(usize) -> [f32; COLUMNS],
    columns: &Columns<'_>,
    corner: Corner,
) {
    match columns.activation {
        Activation::None => store(rows, scaled, |x| x, columns, corner),
        Activation::Relu => store(rows, scaled, relu, columns, corner),
        Activation::GeluTanh => store(rows, scaled, gelu_tanh, columns, corner),
        Activation::Silu => store(rows, scaled, silu, columns, corner),
        Activation::SiluGated => {
            for row in 0..rows {
                let mut values = biased(scaled(row), columns);
                for at in 0..COLUMNS / 2 {
                    values[at] = silu(values[at]) * values[COLUMNS / 2 + at];
                }
                let mut residual = [0.0; COLUMNS / 2];
                // SAFETY: the caller's, of `int8` and its like.
                unsafe {
                    corner.residual(row, &mut residual);
                    for at in 0..COLUMNS / 2 {
                        values[at] += residual[at];
                    }
                    corner.store(row, &values[..COLUMNS / 2]);
                }
            }
        }
    }
}

#[inline(always)]
fn biased(mut values: [f32; COLUMNS], columns: &Columns<'_>) -> [f32; COLUMNS] {
    for (value, bias) in values.iter_mut().zip(columns.bias) {
        *value += bias;
    }
    values
}

#[inline(always)]
fn store(
    rows: usize,
    scaled: impl Fn(usize) -> [f32; COLUMNS],
    activation: impl Fn(f32) -> f32,
    columns: &Columns<'_>,
    corner: Corner,
) {
    for row in 0..rows {
        let mut values = biased(scaled(row), columns);
        let mut residual = [0.0; COLUMNS];
        // SAFETY: the caller's, of `int8` and its like.
        unsafe { corner.residual(row, &mut residual) };
        if columns.residual_first {
            for (value, residual) in values.iter_mut().zip(residual) {
                *value = activation(*value + residual);
            }
        } else {
            for (value, residual) in values.iter_mut().zip(residual) {
                *value = activation(*value) + residual;
            }
        }
        // SAFETY: the caller's, of `int8` and its like.
        unsafe { corner.store(row, &values) };
    }
}

impl Corner {
    /// Copies a row of the residual, where there is one.
    #[inline(always)]
    unsafe fn residual(&self, row: usize, to: &mut [f32]) {
        if self.residual.is_null() {
            return;
        }
        // SAFETY: the caller's.
        unsafe {
            let from = self.residual.add(row * self.stride);
            if self.columns == to.len() {
                std::ptr::copy_nonoverlapping(from, to.as_mut_ptr(), to.len());
            } else {
                std::ptr::copy_nonoverlapping(from, to.as_mut_ptr(), self.columns);
            }
        }
    }

    /// Writes a row: all of `values` at once, if they all exist.
    #[inline(always)]
    unsafe fn store(&self, row: usize, values: &[f32]) {
        // SAFETY: the caller's.
        unsafe {
            let to = self.output.add(row * self.stride);
            if self.columns == values.len() {
                std::ptr::copy_nonoverlapping(values.as_ptr(), to, values.len());
            } else {
                std::ptr::copy_nonoverlapping(values.as_ptr(), to, self.columns);
            }
        }
    }
}
