//! AVX2 with FMA, and AVX-VNNI: half a panel at a time, two vectors of eight outputs.

use std::arch::x86_64::*;

use super::{COLUMNS, Tile};
use crate::compute::weight::INT4_BLOCK;

const LANES: usize = 8;

/// # Safety
/// `a` holds `R` rows of `inputs` values, `stride` apart; `b` is a panel of f32 or, when `BF16`, of bf16.
#[target_feature(enable = "avx2,fma")]
pub(super) unsafe fn float<const R: usize, const BF16: bool>(
    a: *const f32,
    stride: usize,
    b: *const u32,
    inputs: usize,
    sums: &mut Tile<f32>,
) {
    let high = _mm256_set1_epi32(0xFFFF_0000_u32 as i32);
    let step = if BF16 { COLUMNS / 2 } else { COLUMNS };
    for half in 0..2 {
        // The outputs at which the two vectors start.
        let from = if BF16 { [half * LANES, half * LANES + 16] } else { [half * 16, half * 16 + LANES] };
        let mut total = [[_mm256_setzero_ps(); 2]; R];
        for i in 0..inputs {
            // SAFETY: the caller's.
            let right = unsafe {
                let at = b.add(i * step + from[0]);
                if BF16 {
                    let pairs = _mm256_loadu_si256(at.cast());
                    let low = _mm256_castsi256_ps(_mm256_slli_epi32::<16>(pairs));
                    [low, _mm256_castsi256_ps(_mm256_and_si256(pairs, high))]
                } else {
                    [_mm256_loadu_ps(at.cast()), _mm256_loadu_ps(at.add(LANES).cast())]
                }
            };
            for r in 0..R {
                // SAFETY: the caller's.
                let left = _mm256_set1_ps(unsafe { *a.add(r * stride + i) });
                total[r][0] = _mm256_fmadd_ps(left, right[0], total[r][0]);
                total[r][1] = _mm256_fmadd_ps(left, right[1], total[r][1]);
            }
        }
        for (row, total) in sums.0.iter_mut().zip(total) {
            for (from, total) in from.into_iter().zip(total) {
                // SAFETY: a row has 32 values.
                unsafe { _mm256_storeu_ps(row.as_mut_ptr().add(from), total) };
            }
        }
    }
}

/// Rows carry an offset of 128, which `offsets` takes out.
///
/// # Safety
/// `a` holds `R` rows of `4 · quads` values, `stride` apart; `b` is an int8 panel.
#[target_feature(enable = "avx2,avxvnni")]
pub(super) unsafe fn int8_vnni<const R: usize>(
    a: *const i8,
    stride: usize,
    b: *const i8,
    offsets: &[i32; COLUMNS],
    quads: usize,
    sums: &mut Tile<i32>,
) {
    for from in [0, 16] {
        // SAFETY: 32 values.
        let start = unsafe {
            let at = offsets.as_ptr().add(from);
            [_mm256_loadu_si256(at.cast()), _mm256_loadu_si256(at.add(LANES).cast())]
        };
        let mut total = [start; R];
        for quad in 0..quads {
            // SAFETY: the caller's.
            let right = unsafe { pair_of(b, quad, from) };
            for r in 0..R {
                // SAFETY: the caller's.
                let left = unsafe { quad_of(a, r * stride + 4 * quad) };
                total[r][0] = _mm256_dpbusd_avx_epi32(total[r][0], left, right[0]);
                total[r][1] = _mm256_dpbusd_avx_epi32(total[r][1], left, right[1]);
            }
        }
        store(sums, from, &total);
    }
}

/// The sign of the left side is moved to the right one, for a product of unsigned by signed. Two products
/// of magnitudes up to 127 fit 16 bits, so nothing saturates.
///
/// # Safety
/// `a` holds `R` rows of `4 · quads` values in -127..=127, `stride` apart; `b` is an int8 panel.
#[target_feature(enable = "avx2")]
pub(super) unsafe fn int8<const R: usize>(
    a: *const i8,
    stride: usize,
    b: *const i8,
    quads: usize,
    sums: &mut Tile<i32>,
) {
    let ones = _mm256_set1_epi16(1);
    for from in [0, 16] {
        let mut total = [[_mm256_setzero_si256(); 2]; R];
        for quad in 0..quads {
            // SAFETY: the caller's.
            let right = unsafe { pair_of(b, quad, from) };
            for r in 0..R {
                // SAFETY: the caller's.
                let left = unsafe { quad_of(a, r * stride + 4 * quad) };
                let magnitude = _mm256_abs_epi8(left);
                for (total, right) in total[r].iter_mut().zip(right) {
                    let pairs = _mm256_maddubs_epi16(magnitude, _mm256_sign_epi8(right, left));
                    *total = _mm256_add_epi32(*total, _mm256_madd_epi16(pairs, ones));
                }
            }
        }
        store(sums, from, &total);
    }
}

/// Stored weights are in 1..=15 and activations in -127..=127: eight times two products fit 16 bits.
///
/// # Safety
/// `a` holds `R` rows of `32 · blocks` values, `stride` apart; `starts` has `R` rows of `blocks` values;
/// `b` is an int4 panel and `scales` has `[blocks][32]` values.
#[target_feature(enable = "avx2,fma")]
pub(super) unsafe fn int4<const R: usize>(
    a: *const i8,
    stride: usize,
    starts: *const i32,
    b: *const u8,
    scales: *const f32,
    blocks: usize,
    sums: &mut Tile<f32>,
) {
    const QUADS: usize = INT4_BLOCK / 4;
    let low = _mm256_set1_epi8(0x0F);
    let ones = _mm256_set1_epi16(1);
    for from in [0, LANES] {
        for row in &mut sums.0[..R] {
            row[from..from + LANES].fill(0.0);
            row[16 + from..16 + from + LANES].fill(0.0);
        }
        for block in 0..blocks {
            let mut part = [[_mm256_setzero_si256(); 2]; R];
            for quad in block * QUADS..(block + 1) * QUADS {
                // SAFETY: the caller's.
                let pairs = unsafe { _mm256_loadu_si256(b.add(quad * 64 + from * 4).cast()) };
                let right =
                    [_mm256_and_si256(pairs, low), _mm256_and_si256(_mm256_srli_epi16::<4>(pairs), low)];
                for r in 0..R {
                    // SAFETY: the caller's.
                    let left = unsafe { quad_of(a, r * stride + 4 * quad) };
                    for (part, right) in part[r].iter_mut().zip(right) {
                        *part = _mm256_add_epi16(*part, _mm256_maddubs_epi16(right, left));
                    }
                }
            }
            for half in 0..2 {
                let column = from + 16 * half;
                for r in 0..R {
                    // SAFETY: the caller's, and a row has 32 values.
                    unsafe {
                        let start = _mm256_set1_epi32(*starts.add(r * blocks + block));
                        let whole = _mm256_add_epi32(start, _mm256_madd_epi16(part[r][half], ones));
                        let scale = _mm256_loadu_ps(scales.add(block * COLUMNS + column));
                        let at = sums.0[r].as_mut_ptr().add(column);
                        let total = _mm256_fmadd_ps(_mm256_cvtepi32_ps(whole), scale, _mm256_loadu_ps(at));
                        _mm256_storeu_ps(at, total);
                    }
                }
            }
        }
    }
}

/// Four values of a row, eight times.
#[inline]
#[target_feature(enable = "avx2")]
unsafe fn quad_of(a: *const i8, at: usize) -> __m256i {
    // SAFETY: the caller's.
    _mm256_set1_epi32(unsafe { a.add(at).cast::<i32>().read_unaligned() })
}

/// Four inputs of sixteen outputs.
#[inline]
#[target_feature(enable = "avx2")]
unsafe fn pair_of(b: *const i8, quad: usize, from: usize) -> [__m256i; 2] {
    // SAFETY: the caller's.
    unsafe {
        let at = b.add((quad * COLUMNS + from) * 4);
        [_mm256_loadu_si256(at.cast()), _mm256_loadu_si256(at.add(4 * LANES).cast())]
    }
}

#[inline]
#[target_feature(enable = "avx2")]
fn store<const R: usize>(sums: &mut Tile<i32>, from: usize, total: &[[__m256i; 2]; R]) {
    for (row, total) in sums.0.iter_mut().zip(total) {
        for (half, total) in total.iter().enumerate() {
            // SAFETY: a row has 32 values.
            unsafe { _mm256_storeu_si256(row.as_mut_ptr().add(from + half * LANES).cast(), *total) };
        }
    }
}
