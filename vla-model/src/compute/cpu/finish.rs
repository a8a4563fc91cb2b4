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
            unsafe { by_activation::<__m256>(sums, rows, columns, corner) }
        }
        #[target_feature(enable = "avx512f")]
        unsafe fn avx512(sums: Sums<'_>, rows: usize, columns: Columns<'_>, corner: Corner) {
            // SAFETY: the caller's.
            unsafe { by_activation::<__m512>(sums, rows, columns, corner) }
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
    unsafe { by_activation::<[f32; 8]>(sums, rows, columns, corner) }
}

// No closures below: only functions that are inlined for certain are compiled for the processor.

#[inline(always)]
unsafe fn by_activation<L: Lanes>(sums: Sums<'_>, rows: usize, columns: Columns<'_>, corner: Corner) {
    // SAFETY: the caller's.
    unsafe {
        match columns.activation {
            Activation::None => corner.store_rows::<L, NONE>(sums, rows, columns),
            Activation::Relu => corner.store_rows::<L, RELU>(sums, rows, columns),
            Activation::GeluTanh => corner.store_rows::<L, GELU>(sums, rows, columns),
            Activation::Silu => corner.store_rows::<L, SILU>(sums, rows, columns),
            Activation::SiluGated => corner.store_rows::<L, GATED>(sums, rows, columns),
        }
    }
}

const NONE: u8 = 0;
const RELU: u8 = 1;
const GELU: u8 = 2;
const SILU: u8 = 3;
const GATED: u8 = 4;

impl Sums<'_> {
    /// The numbers at a place of a tile, with their bias.
    #[inline(always)]
    unsafe fn biased<L: Lanes>(self, row: usize, at: usize, bias: &[f32; COLUMNS]) -> L {
        // SAFETY: tiles, scales and bias have all rows and columns.
        unsafe {
            let number = match self {
                Sums::Float(tile) => L::load(tile.0[row].as_ptr().add(at)),
                Sums::Int8(tile, row_scales, scales) => {
                    let sum = L::from_integers(tile.0[row].as_ptr().add(at));
                    sum.mul(L::splat(row_scales[row])).mul(L::load(scales.as_ptr().add(at)))
                }
                Sums::Int4(tile, row_scales) => {
                    L::load(tile.0[row].as_ptr().add(at)).mul(L::splat(row_scales[row]))
                }
            };
            number.add(L::load(bias.as_ptr().add(at)))
        }
    }

    /// The outputs at a place of a tile.
    #[inline(always)]
    unsafe fn output<L: Lanes, const ACTIVATION: u8>(
        self,
        row: usize,
        at: usize,
        columns: Columns<'_>,
        residual: L,
    ) -> L {
        // SAFETY: as above; a gated panel has its values in the right half.
        unsafe {
            let x: L = self.biased(row, at, columns.bias);
            match ACTIVATION {
                RELU if columns.residual_first => relu(x.add(residual)),
                RELU => relu(x).add(residual),
                GELU => gelu_tanh(x).add(residual),
                SILU => silu(x).add(residual),
                GATED => silu(x).mul(self.biased(row, COLUMNS / 2 + at, columns.bias)).add(residual),
                _ => x.add(residual),
            }
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

    /// Stores rows `rows` of a tile. Where columns are missing, through a row of its own.
    #[inline(always)]
    unsafe fn store_rows<L: Lanes, const ACTIVATION: u8>(
        self,
        sums: Sums<'_>,
        rows: usize,
        columns: Columns<'_>,
    ) {
        let width = if ACTIVATION == GATED { COLUMNS / 2 } else { COLUMNS };
        let (mut some, mut added) = ([0.0; COLUMNS], [0.0; COLUMNS]);
        let whole = self.columns == width;
        for row in 0..rows {
            let to = self.output.wrapping_add(row * self.stride);
            let mut residual = added.as_ptr();
            // SAFETY: the caller's.
            unsafe {
                if !self.residual.is_null() {
                    residual = self.residual.wrapping_add(row * self.stride);
                    if !whole {
                        std::ptr::copy_nonoverlapping(residual, added.as_mut_ptr(), self.columns);
                        residual = added.as_ptr();
                    }
                }
                let output = if whole { to } else { some.as_mut_ptr() };
                for at in (0..width).step_by(L::COUNT) {
                    let residual = L::load(residual.add(at));
                    sums.output::<L, ACTIVATION>(row, at, columns, residual).store(output.add(at));
                }
                if !whole {
                    std::ptr::copy_nonoverlapping(some.as_ptr(), to, self.columns);
                }
            }
        }
    }
}
