//! AVX-512 with VNNI: twelve rows by two vectors of sixteen outputs.

use std::arch::x86_64::*;

use super::{COLUMNS, Tile};
use crate::compute::weight::INT4_BLOCK;

const LANES: usize = 16;

/// # Safety
/// `a` holds `R` rows of `inputs` values, `stride` apart; `b` is a panel of f32 or, when `BF16`, of bf16.
#[target_feature(enable = "avx512f")]
pub(super) unsafe fn float<const R: usize, const BF16: bool>(
    a: *const f32,
    stride: usize,
    b: *const u32,
    inputs: usize,
    sums: &mut Tile<f32>,
) {
    let mut total = [[_mm512_setzero_ps(); 2]; R];
    let high = _mm512_set1_epi32(0xFFFF_0000_u32 as i32);
    let step = if BF16 { LANES } else { COLUMNS };
    for i in 0..inputs {
        // SAFETY: the caller's.
        let right = unsafe {
            let at = b.add(i * step);
            if BF16 {
                let pairs = _mm512_loadu_si512(at.cast());
                let low = _mm512_castsi512_ps(_mm512_slli_epi32::<16>(pairs));
                [low, _mm512_castsi512_ps(_mm512_and_si512(pairs, high))]
            } else {
                [_mm512_loadu_ps(at.cast()), _mm512_loadu_ps(at.add(LANES).cast())]
            }
        };
        for r in 0..R {
            // SAFETY: the caller's.
            let left = _mm512_set1_ps(unsafe { *a.add(r * stride + i) });
            total[r][0] = _mm512_fmadd_ps(left, right[0], total[r][0]);
            total[r][1] = _mm512_fmadd_ps(left, right[1], total[r][1]);
        }
    }
    for (row, total) in sums.0.iter_mut().zip(total) {
        // SAFETY: a row has 32 values.
        unsafe {
            _mm512_storeu_ps(row.as_mut_ptr(), total[0]);
            _mm512_storeu_ps(row.as_mut_ptr().add(LANES), total[1]);
        }
    }
}

/// Rows carry an offset of 128, which `offsets` takes out.
///
/// # Safety
/// `a` holds `R` rows of `4 · quads` values, `stride` apart; `b` is an int8 panel.
#[target_feature(enable = "avx512f,avx512vnni")]
pub(super) unsafe fn int8<const R: usize>(
    a: *const i8,
    stride: usize,
    b: *const i8,
    offsets: &[i32; COLUMNS],
    quads: usize,
    sums: &mut Tile<i32>,
) {
    // SAFETY: 32 values.
    let start = unsafe {
        [_mm512_loadu_si512(offsets.as_ptr().cast()), _mm512_loadu_si512(offsets.as_ptr().add(LANES).cast())]
    };
    let mut total = [start; R];
    for quad in 0..quads {
        // SAFETY: the caller's.
        let right = unsafe {
            let at = b.add(quad * 4 * COLUMNS);
            [_mm512_loadu_si512(at.cast()), _mm512_loadu_si512(at.add(4 * LANES).cast())]
        };
        for r in 0..R {
            // SAFETY: the caller's.
            let left = unsafe { quad_of(a, r * stride + 4 * quad) };
            total[r][0] = _mm512_dpbusd_epi32(total[r][0], left, right[0]);
            total[r][1] = _mm512_dpbusd_epi32(total[r][1], left, right[1]);
        }
    }
    for (row, total) in sums.0.iter_mut().zip(total) {
        // SAFETY: a row has 32 values.
        unsafe {
            _mm512_storeu_si512(row.as_mut_ptr().cast(), total[0]);
            _mm512_storeu_si512(row.as_mut_ptr().add(LANES).cast(), total[1]);
        }
    }
}

/// # Safety
/// `a` holds `R` rows of `32 · blocks` values, `stride` apart; `starts` has `R` rows of `blocks` values;
/// `b` is an int4 panel and `scales` has `[blocks][32]` values.
#[target_feature(enable = "avx512f,avx512vnni")]
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
    let low = _mm512_set1_epi32(0x0F0F_0F0F);
    let mut total = [[_mm512_setzero_ps(); 2]; R];
    for block in 0..blocks {
        let mut part = [[_mm512_setzero_si512(); 2]; R];
        for r in 0..R {
            // SAFETY: the caller's.
            part[r] = [_mm512_set1_epi32(unsafe { *starts.add(r * blocks + block) }); 2];
        }
        for quad in block * QUADS..(block + 1) * QUADS {
            // SAFETY: the caller's.
            let pairs = unsafe { _mm512_loadu_si512(b.add(quad * 4 * LANES).cast()) };
            let right = [_mm512_and_si512(pairs, low), _mm512_and_si512(_mm512_srli_epi32::<4>(pairs), low)];
            for r in 0..R {
                // SAFETY: the caller's.
                let left = unsafe { quad_of(a, r * stride + 4 * quad) };
                part[r][0] = _mm512_dpbusd_epi32(part[r][0], right[0], left);
                part[r][1] = _mm512_dpbusd_epi32(part[r][1], right[1], left);
            }
        }
        for half in 0..2 {
            // SAFETY: the caller's.
            let scale = unsafe { _mm512_loadu_ps(scales.add(block * COLUMNS + half * LANES)) };
            for r in 0..R {
                total[r][half] = _mm512_fmadd_ps(_mm512_cvtepi32_ps(part[r][half]), scale, total[r][half]);
            }
        }
    }
    for (row, total) in sums.0.iter_mut().zip(total) {
        // SAFETY: a row has 32 values.
        unsafe {
            _mm512_storeu_ps(row.as_mut_ptr(), total[0]);
            _mm512_storeu_ps(row.as_mut_ptr().add(LANES), total[1]);
        }
    }
}

/// Four values of a row, sixteen times.
#[inline]
#[target_feature(enable = "avx512f")]
unsafe fn quad_of(a: *const i8, at: usize) -> __m512i {
    // SAFETY: the caller's.
    _mm512_set1_epi32(unsafe { a.add(at).cast::<i32>().read_unaligned() })
}
