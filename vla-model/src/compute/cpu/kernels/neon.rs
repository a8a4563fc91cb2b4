//! Arm with the int8 dot product: half a panel at a time, four vectors of four outputs.
//! (f32 needs nothing of its own: the portable loops compile to NEON's fused multiply-add.)

use std::arch::aarch64::*;
use std::arch::asm;

use super::{COLUMNS, Tile};
use crate::compute::weight::INT4_BLOCK;

const LANES: usize = 4;

/// For each lane, `total` plus the sum of four products.
#[inline]
#[target_feature(enable = "neon,dotprod")]
pub(in super::super) fn dot(mut total: int32x4_t, left: int8x16_t, right: int8x16_t) -> int32x4_t {
    // SAFETY: registers only. (The intrinsic is not stable yet.)
    unsafe {
        asm!(
            "sdot {total:v}.4s, {left:v}.16b, {right:v}.16b",
            total = inout(vreg) total,
            left = in(vreg) left,
            right = in(vreg) right,
            options(pure, nomem, nostack, preserves_flags),
        );
    }
    total
}

/// Four values of a row, four times.
#[inline]
#[target_feature(enable = "neon")]
unsafe fn quad_of(a: *const i8, at: usize) -> int8x16_t {
    // SAFETY: the caller's.
    vreinterpretq_s8_s32(vdupq_n_s32(unsafe { a.add(at).cast::<i32>().read_unaligned() }))
}

/// # Safety
/// `a` holds `R` rows of `4 · quads` values, `stride` apart; `b` is an int8 panel.
#[target_feature(enable = "neon,dotprod")]
pub(super) unsafe fn int8<const R: usize>(
    a: *const i8,
    stride: usize,
    b: *const i8,
    quads: usize,
    sums: &mut Tile<i32>,
) {
    for from in [0, 16] {
        let mut total = [[vdupq_n_s32(0); 4]; R];
        for quad in 0..quads {
            let mut right = [vdupq_n_s8(0); 4];
            for (vector, right) in right.iter_mut().enumerate() {
                // SAFETY: the caller's.
                *right = unsafe { vld1q_s8(b.add((quad * COLUMNS + from + vector * LANES) * 4)) };
            }
            for (r, total) in total.iter_mut().enumerate() {
                // SAFETY: the caller's.
                let left = unsafe { quad_of(a, r * stride + 4 * quad) };
                for (total, right) in total.iter_mut().zip(right) {
                    *total = dot(*total, left, right);
                }
            }
        }
        for (row, total) in sums.0.iter_mut().zip(total) {
            for (vector, total) in total.into_iter().enumerate() {
                // SAFETY: a row has 32 values.
                unsafe { vst1q_s32(row.as_mut_ptr().add(from + vector * LANES), total) };
            }
        }
    }
}

/// # Safety
/// `a` holds `R` rows of `32 · blocks` values, `stride` apart; `starts` has `R` rows of `blocks` values;
/// `b` is an int4 panel and `scales` has `[blocks][32]` values.
#[target_feature(enable = "neon,dotprod")]
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
    // A vector of bytes holds outputs `from..from + 4` in its low halves and those 16 further in its high.
    for from in (0..16).step_by(LANES) {
        let mut total = [[vdupq_n_f32(0.0); 2]; R];
        for block in 0..blocks {
            let mut part = [[vdupq_n_s32(0); 2]; R];
            for (r, part) in part.iter_mut().enumerate() {
                // SAFETY: the caller's.
                *part = [vdupq_n_s32(unsafe { *starts.add(r * blocks + block) }); 2];
            }
            for quad in block * QUADS..(block + 1) * QUADS {
                // SAFETY: the caller's.
                let pairs = unsafe { vld1q_u8(b.add((quad * 16 + from) * 4)) };
                let right = [
                    vreinterpretq_s8_u8(vandq_u8(pairs, vdupq_n_u8(15))),
                    vreinterpretq_s8_u8(vshrq_n_u8::<4>(pairs)),
                ];
                for (r, part) in part.iter_mut().enumerate() {
                    // SAFETY: the caller's.
                    let left = unsafe { quad_of(a, r * stride + 4 * quad) };
                    *part = [dot(part[0], left, right[0]), dot(part[1], left, right[1])];
                }
            }
            for half in 0..2 {
                // SAFETY: the caller's.
                let scale = unsafe { vld1q_f32(scales.add(block * COLUMNS + half * 16 + from)) };
                for (total, part) in total.iter_mut().zip(part) {
                    total[half] = vfmaq_f32(total[half], vcvtq_f32_s32(part[half]), scale);
                }
            }
        }
        for (row, total) in sums.0.iter_mut().zip(total) {
            for (half, total) in total.into_iter().enumerate() {
                // SAFETY: a row has 32 values.
                unsafe { vst1q_f32(row.as_mut_ptr().add(half * 16 + from), total) };
            }
        }
    }
}
