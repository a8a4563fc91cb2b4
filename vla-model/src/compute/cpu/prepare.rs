//! Input rows made ready for a kernel: normed, then quantised, in one pass while a row is in the cache.
//!
//! Sums run in sixteen lanes that are added in a fixed order, with operations that every processor has,
//! so the result has the same bits everywhere.
#![allow(unsafe_code, reason = "functions compiled for an instruction set that was looked up before")]

use super::Isa;

use super::isa::isa_call;
use super::kernels::{Left, MAX_ROWS};
use super::lanes::ROUND;
use super::memory::Memory;
use crate::compute::weight::INT4_BLOCK;
use crate::compute::{Norm, NormKind};

const LANES: usize = 16;
/// Bytes in a row of a tile register, and rows of it.
const TILE_BYTES: usize = 64;
const TILE_ROWS: usize = 16;

/// What a kernel wants its rows to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// f32.
    Float,
    /// Integers in -127..=127.
    Signed,
    /// The same, cut for tile registers: 64 inputs of sixteen rows, then the next 64 of these rows.
    Tiles,
    /// The same plus 128, for instructions that multiply unsigned by signed.
    Offset,
    /// Integers in -127..=127, and for each block of 32 of them -8 times their sum, which takes the
    /// offset of stored int4 weights out again.
    Blocks,
}

/// Where rows come from.
#[derive(Clone, Copy)]
pub(crate) enum Source<'a> {
    /// Rows below each other.
    Rows(&'a [f32]),
    /// Functions that write row `index`: windows of an image, say.
    Fill {
        /// As floats.
        floats: &'a (dyn Fn(usize, &mut [f32]) + Sync),
        /// As [`quantise`] would, given what to flip; returns the scale.
        integers: &'a (dyn Fn(usize, &mut [u8], u8) -> f32 + Sync),
    },
}

/// Rows ready for a kernel; kept from call to call for its memory.
#[derive(Debug, Default)]
pub(super) struct Prepared {
    /// f32 or i8, `stride` values to a row.
    values: Memory,
    /// One for each row: value = integer × scale.
    scales: Memory,
    /// `blocks` for each row.
    block_sums: Memory,
    /// Values from one row to the next.
    stride: usize,
    /// Blocks in a row.
    pub(super) blocks: usize,
}

/// Values from one prepared row to the next: whole cache lines, an odd number of them, lest the rows of a
/// tile compete for one set of the cache. ([`Form::Tiles`] has no rows: that many values in each.)
pub(super) fn stride(form: Form, inputs: usize) -> usize {
    if form == Form::Tiles {
        return inputs.next_multiple_of(TILE_BYTES);
    }
    let size = if form == Form::Float { size_of::<f32>() } else { 1 };
    ((inputs * size).div_ceil(64) | 1) * 64 / size
}

impl Prepared {
    /// Makes room for `count` rows and as many more as fill the last tile of [`MAX_ROWS`]. The writer
    /// writes them, from several threads.
    pub(super) fn writer(&mut self, form: Form, inputs: usize, count: usize) -> Writer {
        let padded = count.next_multiple_of(MAX_ROWS);
        self.stride = stride(form, inputs);
        self.blocks = if form == Form::Blocks { inputs / INT4_BLOCK } else { 0 };
        if form == Form::Float {
            self.values.grow::<f32>(padded * self.stride);
        } else {
            self.values.grow::<i8>(padded * self.stride);
            self.scales.grow::<f32>(padded);
            self.block_sums.grow::<i32>(padded * self.blocks);
        }
        Writer {
            values: self.values.as_mut_slice::<u8>().as_mut_ptr(),
            scales: self.scales.as_mut_slice().as_mut_ptr(),
            block_sums: self.block_sums.as_mut_slice().as_mut_ptr(),
            stride: self.stride,
            blocks: self.blocks,
        }
    }

    /// Rows `from..from + rows`, f32.
    pub(super) fn floats(&self, from: usize, rows: usize) -> Left<'_, f32> {
        Left { rows, values: &self.values.as_slice()[from * self.stride..], stride: self.stride }
    }

    /// Rows `from..from + rows`, integers.
    pub(super) fn integers(&self, from: usize, rows: usize) -> Left<'_, i8> {
        Left { rows, values: &self.values.as_slice()[from * self.stride..], stride: self.stride }
    }

    /// The scales of rows `from..`.
    pub(super) fn scales(&self, from: usize) -> &[f32] {
        &self.scales.as_slice()[from..]
    }

    /// The block sums of rows `from..`.
    pub(super) fn block_sums(&self, from: usize) -> &[i32] {
        &self.block_sums.as_slice()[from * self.blocks..]
    }
}

/// Writes rows into a [`Prepared`].
#[derive(Clone, Copy)]
pub(super) struct Writer {
    values: *mut u8,
    scales: *mut f32,
    block_sums: *mut i32,
    stride: usize,
    blocks: usize,
}

// SAFETY: `write` is unsafe to call and asks for rows to be written by one thread each.
unsafe impl Send for Writer {}
// SAFETY: as above.
unsafe impl Sync for Writer {}

impl Writer {
    /// Prepares row `from + at` of `source` as row `at`.
    ///
    /// # Safety
    /// The [`Prepared`] lives, has room for row `at` in this form, and nobody else uses that row now.
    pub(super) unsafe fn write(&self, what: &What<'_>, from: usize, at: usize, scratch: &mut Scratch) {
        let inputs = what.inputs;
        let Scratch { floats, integers } = scratch;
        floats.grow::<f32>(2 * inputs);
        integers.grow::<u8>(inputs);
        let (filled, normed) = floats.as_mut_slice::<f32>().split_at_mut(inputs);
        let x = match what.source {
            Source::Rows(rows) => {
                let (row, next) = rows[(from + at) * inputs..].split_at(inputs);
                prefetch(&next[..inputs.min(next.len())]);
                row
            }
            // A norm wants the row as floats first.
            Source::Fill { floats, .. } if what.norm.is_some() => {
                floats(from + at, filled);
                filled
            }
            Source::Fill { .. } => &[],
        };
        if what.form == Form::Float {
            // SAFETY: the row is inside and ours.
            let to = unsafe {
                std::slice::from_raw_parts_mut(self.values.cast::<f32>().add(at * self.stride), inputs)
            };
            match (what.norm, what.source) {
                (Some(norm), _) => normalise(what.isa, norm, x, to),
                (None, Source::Rows(_)) => to.copy_from_slice(x),
                (None, Source::Fill { floats, .. }) => floats(from + at, to),
            }
            return;
        }
        let x = match what.norm {
            Some(norm) => {
                normalise(what.isa, norm, x, &mut normed[..inputs]);
                &normed[..inputs]
            }
            None => x,
        };
        let quantised = |to: &mut [u8], flip: u8| match what.source {
            Source::Fill { integers, .. } if what.norm.is_none() => integers(from + at, to, flip),
            _ => quantise(what.isa, x, to, flip),
        };
        if what.form == Form::Tiles {
            let integers = &mut integers.as_mut_slice::<u8>()[..inputs];
            let scale = quantised(integers, 0);
            let block = at / TILE_ROWS * TILE_ROWS * self.stride + at % TILE_ROWS * TILE_BYTES;
            for (piece, values) in integers.chunks(TILE_BYTES).enumerate() {
                let to = block + piece * TILE_ROWS * TILE_BYTES;
                // SAFETY: the row's part of each tile is inside and ours.
                unsafe {
                    std::ptr::copy_nonoverlapping(values.as_ptr(), self.values.add(to), values.len());
                }
            }
            // SAFETY: as above.
            unsafe { *self.scales.add(at) = scale };
            return;
        }
        // SAFETY: the row is inside and ours.
        unsafe {
            let to = std::slice::from_raw_parts_mut(self.values.add(at * self.stride), inputs);
            let flip = if what.form == Form::Offset { 0x80 } else { 0 };
            *self.scales.add(at) = quantised(to, flip);
            for (block, values) in to.chunks_exact(INT4_BLOCK).take(self.blocks).enumerate() {
                let sum: i32 = values.iter().map(|value| i32::from(*value as i8)).sum();
                *self.block_sums.add(at * self.blocks + block) = -8 * sum;
            }
        }
    }
}

/// One row on its way.
#[derive(Debug, Default)]
pub(super) struct Scratch {
    floats: Memory,
    integers: Memory,
}

/// Asks for memory that is about to be read: rows are too short for the processor to see the pattern.
fn prefetch(values: &[f32]) {
    #[cfg(target_arch = "x86_64")]
    for line in values.chunks(16) {
        // SAFETY: a hint, on memory that exists.
        unsafe {
            use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
            _mm_prefetch::<_MM_HINT_T0>(line.as_ptr().cast());
        }
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = values;
}

/// What is made of which rows.
pub(super) struct What<'a> {
    pub(super) isa: Isa,
    pub(super) form: Form,
    pub(super) norm: Option<&'a Norm>,
    pub(super) source: Source<'a>,
    pub(super) inputs: usize,
}

/// `to = norm(x)`.
pub(super) fn normalise(isa: Isa, norm: &Norm, x: &[f32], to: &mut [f32]) {
    isa_call!(isa, normalise_body(norm: &Norm, x: &[f32], to: &mut [f32]) -> ());
}

#[inline(always)]
fn normalise_body(norm: &Norm, x: &[f32], to: &mut [f32]) {
    let n = x.len() as f32;
    let mean = match norm.kind {
        NormKind::Layer => sum(x, |x| x) / n,
        NormKind::Rms => 0.0,
    };
    let square = sum(x, |x| (x - mean) * (x - mean)) / n;
    let factor = 1.0 / (square + norm.epsilon).sqrt();
    if norm.shift.is_empty() {
        for ((to, x), scale) in to.iter_mut().zip(x).zip(&norm.scale) {
            *to = (x - mean) * factor * scale;
        }
    } else {
        for (((to, x), scale), shift) in to.iter_mut().zip(x).zip(&norm.scale).zip(&norm.shift) {
            *to = (x - mean) * factor * scale + shift;
        }
    }
}

#[inline(always)]
fn sum(x: &[f32], of: impl Fn(f32) -> f32) -> f32 {
    let mut lanes = [0.0; LANES];
    let (runs, rest) = x.as_chunks::<LANES>();
    for run in runs {
        for (lane, x) in lanes.iter_mut().zip(run) {
            *lane += of(*x);
        }
    }
    for (lane, x) in lanes.iter_mut().zip(rest) {
        *lane += of(*x);
    }
    lanes.iter().sum()
}

/// `to = round(x / scale)`, ties to even, with the sign bit flipped by `flip`; `scale = max|x| / 127`.
/// Rows whose values all lie below 1e-30 become zeros with scale 0; rows with NaN or infinity become
/// zeros with scale NaN.
pub(super) fn quantise(isa: Isa, x: &[f32], to: &mut [u8], flip: u8) -> f32 {
    let (factor, scale) = factor_and_scale(largest(isa, x));
    round(isa, x, factor, to, flip);
    scale
}

/// What to multiply values by before rounding, and the scale, when `top` is the largest magnitude.
pub(super) fn factor_and_scale(top: f32) -> (f32, f32) {
    if top < 1e-30 {
        (0.0, 0.0)
    } else if top.is_finite() {
        (127.0 / top, top / 127.0)
    } else {
        (0.0, f32::NAN)
    }
}

/// `to = round(x · factor)` as [`quantise`] does it; zeros for a factor of zero.
pub(super) fn round(isa: Isa, x: &[f32], factor: f32, to: &mut [u8], flip: u8) {
    assert!(to.len() >= x.len());
    if factor == 0.0 {
        return to.fill(flip);
    }
    #[cfg(target_arch = "x86_64")]
    if matches!(isa, Isa::Avx512 | Isa::Avx512Bf16 | Isa::Amx) {
        // SAFETY: an `Isa` other than the portable one is made only where the processor has it.
        return unsafe { round_512(x, factor, to, flip) };
    }
    isa_call!(isa, round_body(x: &[f32], factor: f32, to: &mut [u8], flip: u8) -> ());
}

#[inline(always)]
fn round_body(x: &[f32], factor: f32, to: &mut [u8], flip: u8) {
    for (to, x) in to.iter_mut().zip(x) {
        *to = (x * factor + ROUND).to_bits() as u8 ^ flip;
    }
}

/// The sixteen values from `at` on, those behind the end masked out.
#[cfg(target_arch = "x86_64")]
#[inline]
#[target_feature(enable = "avx512f")]
fn sixteen(x: &[f32], at: usize) -> (u16, std::arch::x86_64::__m512) {
    let mask = if x.len() - at < LANES { (1 << (x.len() - at)) - 1 } else { !0 };
    // SAFETY: the mask leaves out what is not there.
    (mask, unsafe { std::arch::x86_64::_mm512_maskz_loadu_ps(mask, x.as_ptr().add(at)) })
}

/// [`round_body`] with the rest of a row in masked vectors.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bw,avx512vl")]
fn round_512(x: &[f32], factor: f32, to: &mut [u8], flip: u8) {
    use std::arch::x86_64::*;
    let (factor, round) = (_mm512_set1_ps(factor), _mm512_set1_ps(ROUND));
    let flip = _mm_set1_epi8(flip.cast_signed());
    for at in (0..x.len()).step_by(LANES) {
        let (mask, values) = sixteen(x, at);
        let rounded = _mm512_castps_si512(_mm512_add_ps(_mm512_mul_ps(values, factor), round));
        let bytes = _mm_xor_si128(_mm512_cvtepi32_epi8(rounded), flip);
        // SAFETY: the mask leaves out what is not there, and `to` is at least as long as `x`.
        unsafe { _mm_mask_storeu_epi8(to.as_mut_ptr().add(at).cast(), mask, bytes) };
    }
}

/// The largest magnitude; NaN or infinity when one is there. As bits, magnitudes sort as integers do.
pub(super) fn largest(isa: Isa, x: &[f32]) -> f32 {
    #[cfg(target_arch = "x86_64")]
    if matches!(isa, Isa::Avx512 | Isa::Avx512Bf16 | Isa::Amx) {
        // SAFETY: an `Isa` other than the portable one is made only where the processor has it.
        return unsafe { largest_512(x) };
    }
    isa_call!(isa, largest_body(x: &[f32]) -> f32)
}

/// [`largest_body`] with the rest of a row in masked vectors.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f")]
fn largest_512(x: &[f32]) -> f32 {
    use std::arch::x86_64::*;
    let mut top = [_mm512_setzero_si512(); 4];
    for (run, at) in (0..x.len()).step_by(LANES).enumerate() {
        let magnitude = _mm512_castps_si512(_mm512_abs_ps(sixteen(x, at).1));
        top[run % 4] = _mm512_max_epu32(top[run % 4], magnitude);
    }
    let top = _mm512_max_epu32(_mm512_max_epu32(top[0], top[1]), _mm512_max_epu32(top[2], top[3]));
    f32::from_bits(_mm512_reduce_max_epu32(top))
}

#[inline(always)]
fn largest_body(x: &[f32]) -> f32 {
    const MAGNITUDE: u32 = 0x7FFF_FFFF;
    let mut lanes = [0; LANES];
    let (runs, rest) = x.as_chunks::<LANES>();
    for run in runs {
        for (lane, x) in lanes.iter_mut().zip(run) {
            *lane = (x.to_bits() & MAGNITUDE).max(*lane);
        }
    }
    for (lane, x) in lanes.iter_mut().zip(rest) {
        *lane = (x.to_bits() & MAGNITUDE).max(*lane);
    }
    f32::from_bits(lanes.into_iter().max().unwrap_or(0))
}
