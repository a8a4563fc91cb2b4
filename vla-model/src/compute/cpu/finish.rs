//! What is done to a tile of sums before it is stored: scales, bias, activation, residual.
//!
//! The same arithmetic in the same order on every processor.
#![allow(unsafe_code, reason = "tiles of one output are written by several threads")]

use super::Isa;
use super::activate::{gelu_tanh, relu, silu};
use super::kernels::{COLUMNS, Tile};
use super::lanes::Lanes;
use crate::compute::Activation;

/// Sums of one tile, and what makes numbers of them.
#[derive(Clone, Copy)]
pub(super) enum Sums<'a> {
    /// As they are.
    Float(&'a Tile<f32>),
    /// Exact sums; times a scale for each row, times a scale for each column.
    Int8(&'a Tile<i32>, &'a [f32], &'a [f32; COLUMNS]),
    /// Sums whose blocks are scaled already; times a scale for each row.
    Int4(&'a Tile<f32>, &'a [f32]),
}

/// What a panel's columns need.
#[derive(Clone, Copy)]
pub(super) struct Columns<'a> {
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

/// Stores rows `rows` of a tile.
///
/// # Safety
/// `corner` has room for these rows of `columns` values, ours alone; the processor has `isa`.
pub(super) unsafe fn store(isa: Isa, sums: Sums<'_>, rows: usize, columns: Columns<'_>, corner: Corner) {
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::x86_64::{__m256, __m512};
        #[target_feature(enable = "avx2,fma")]
        unsafe fn avx2(sums: Sums<'_>, rows: usize, columns: Columns<'_>, corner: Corner) {
            // SAFETY: the caller's.
            unsafe { by_sums::<__m256>(sums, rows, columns, corner) }
        }
        #[target_feature(enable = "avx512f")]
        unsafe fn avx512(sums: Sums<'_>, rows: usize, columns: Columns<'_>, corner: Corner) {
            // SAFETY: the caller's.
            unsafe { by_sums::<__m512>(sums, rows, columns, corner) }
        }
        match isa {
            // SAFETY: the caller's.
            Isa::Avx2 | Isa::AvxVnni => return unsafe { avx2(sums, rows, columns, corner) },
            // SAFETY: the caller's.
            Isa::Avx512 | Isa::Avx512Bf16 | Isa::Amx => {
                return unsafe { avx512(sums, rows, columns, corner) };
            }
            Isa::Portable | Isa::NeonDot => {}
        }
    }
    let _ = isa;
    // SAFETY: the caller's.
    unsafe { by_sums::<[f32; 8]>(sums, rows, columns, corner) }
}

#[inline(always)]
unsafe fn by_sums<L: Lanes>(sums: Sums<'_>, rows: usize, columns: Columns<'_>, corner: Corner) {
    // SAFETY: tiles and scales have all rows and columns; the rest is the caller's.
    unsafe {
        match sums {
            Sums::Float(tile) => {
                by_activation(|row, at| L::load(tile.0[row].as_ptr().add(at)), rows, columns, corner);
            }
            Sums::Int8(tile, row_scales, scales) => {
                let number = |row: usize, at: usize| {
                    let sum = L::from_integers(tile.0[row].as_ptr().add(at));
                    sum.mul(L::splat(row_scales[row])).mul(L::load(scales.as_ptr().add(at)))
                };
                by_activation(number, rows, columns, corner);
            }
            Sums::Int4(tile, row_scales) => {
                let number = |row: usize, at: usize| {
                    L::load(tile.0[row].as_ptr().add(at)).mul(L::splat(row_scales[row]))
                };
                by_activation(number, rows, columns, corner);
            }
        }
    }
}

#[inline(always)]
unsafe fn by_activation<L: Lanes>(
    number: impl Fn(usize, usize) -> L,
    rows: usize,
    columns: Columns<'_>,
    corner: Corner,
) {
    // SAFETY: the bias has all columns; the rest is the caller's.
    unsafe {
        let biased = |row, at| number(row, at).add(L::load(columns.bias.as_ptr().add(at)));
        match (columns.activation, columns.residual_first) {
            (Activation::None, _) => {
                corner.store_rows::<_, COLUMNS>(rows, |row, at, residual: L| biased(row, at).add(residual))
            }
            (Activation::Relu, true) => {
                corner.store_rows::<_, COLUMNS>(rows, |row, at, residual: L| {
                    relu(biased(row, at).add(residual))
                });
            }
            (Activation::Relu, false) => {
                corner.store_rows::<_, COLUMNS>(rows, |row, at, residual: L| {
                    relu(biased(row, at)).add(residual)
                });
            }
            (Activation::GeluTanh, _) => {
                corner.store_rows::<_, COLUMNS>(rows, |row, at, residual: L| {
                    gelu_tanh(biased(row, at)).add(residual)
                });
            }
            (Activation::Silu, _) => {
                corner.store_rows::<_, COLUMNS>(rows, |row, at, residual: L| {
                    silu(biased(row, at)).add(residual)
                });
            }
            (Activation::SiluGated, _) => corner
                .store_rows::<_, { COLUMNS / 2 }>(rows, |row, at, residual: L| {
                    silu(biased(row, at)).mul(biased(row, COLUMNS / 2 + at)).add(residual)
                }),
        }
    }
}

impl Corner {
    /// Asks for the memory of a tile that is about to be written, while its sums are being made.
    pub(super) fn prefetch(self, rows: usize) {
        #[cfg(target_arch = "x86_64")]
        for row in 0..rows {
            for at in (0..self.columns).step_by(16) {
                use std::arch::x86_64::{_MM_HINT_ET0, _MM_HINT_T0, _mm_prefetch};
                let index = row * self.stride + at;
                // SAFETY: a hint, which may be given for any address.
                unsafe {
                    _mm_prefetch::<_MM_HINT_ET0>(self.output.wrapping_add(index).cast());
                    if !self.residual.is_null() {
                        _mm_prefetch::<_MM_HINT_T0>(self.residual.wrapping_add(index).cast());
                    }
                }
            }
        }
        #[cfg(not(target_arch = "x86_64"))]
        let _ = rows;
    }

    /// Stores what `value` makes of row, column and residual. `WIDTH` columns are the usual case.
    #[inline(always)]
    unsafe fn store_rows<L: Lanes, const WIDTH: usize>(
        self,
        rows: usize,
        value: impl Fn(usize, usize, L) -> L,
    ) {
        for row in 0..rows {
            let output = self.output.wrapping_add(row * self.stride);
            let residual = self.residual.wrapping_add(row * self.stride);
            // SAFETY: the caller's.
            unsafe {
                if self.columns < WIDTH {
                    let (mut some, mut added) = ([0.0; WIDTH], [0.0; WIDTH]);
                    if !self.residual.is_null() {
                        std::ptr::copy_nonoverlapping(residual, added.as_mut_ptr(), self.columns);
                    }
                    for at in (0..WIDTH).step_by(L::COUNT) {
                        let residual = L::load(added.as_ptr().add(at));
                        value(row, at, residual).store(some.as_mut_ptr().add(at));
                    }
                    std::ptr::copy_nonoverlapping(some.as_ptr(), output, self.columns);
                } else if self.residual.is_null() {
                    for at in (0..WIDTH).step_by(L::COUNT) {
                        value(row, at, L::splat(0.0)).store(output.add(at));
                    }
                } else {
                    for at in (0..WIDTH).step_by(L::COUNT) {
                        value(row, at, L::load(residual.add(at))).store(output.add(at));
                    }
                }
            }
        }
    }
}
