//! Plain loops, which compilers turn into what vectors there are: SSE2 on x86-64, NEON on Arm.

use super::{COLUMNS, Tile};
use crate::compute::weight::INT4_BLOCK;

const LANES: usize = 8;

/// One rounding where the processor has the instruction: a library call would take fifty times as long.
#[inline(always)]
fn multiply_add(a: f32, b: f32, c: f32) -> f32 {
    if cfg!(any(target_arch = "aarch64", target_feature = "fma")) { a.mul_add(b, c) } else { a * b + c }
}

/// # Safety
/// `a` holds `R` rows of `inputs` values, `stride` apart; `b` is a panel of f32 or, when `BF16`, of bf16.
pub(super) unsafe fn float<const R: usize, const BF16: bool>(
    a: *const f32,
    stride: usize,
    b: *const u32,
    inputs: usize,
    sums: &mut Tile<f32>,
) {
    for from in (0..COLUMNS).step_by(LANES) {
        let mut total = [[0.0; LANES]; R];
        for i in 0..inputs {
            let mut right = [0.0; LANES];
            for (lane, right) in right.iter_mut().enumerate() {
                let column = from + lane;
                // SAFETY: the caller's.
                *right = f32::from_bits(unsafe {
                    if BF16 {
                        let pair = *b.add(i * COLUMNS / 2 + column % 16);
                        if column < 16 { pair << 16 } else { pair & 0xFFFF_0000 }
                    } else {
                        *b.add(i * COLUMNS + column)
                    }
                });
            }
            for (r, total) in total.iter_mut().enumerate() {
                // SAFETY: the caller's.
                let left = unsafe { *a.add(r * stride + i) };
                for (total, right) in total.iter_mut().zip(right) {
                    *total = multiply_add(left, right, *total);
                }
            }
        }
        for (row, total) in sums.0.iter_mut().zip(total) {
            row[from..from + LANES].copy_from_slice(&total);
        }
    }
}

/// # Safety
/// `a` holds `R` rows of `4 · quads` values, `stride` apart; `b` is an int8 panel.
pub(super) unsafe fn int8<const R: usize>(
    a: *const i8,
    stride: usize,
    b: *const i8,
    quads: usize,
    sums: &mut Tile<i32>,
) {
    for from in (0..COLUMNS).step_by(LANES) {
        let mut total = [[0; LANES]; R];
        for quad in 0..quads {
            for (r, total) in total.iter_mut().enumerate() {
                for (lane, total) in total.iter_mut().enumerate() {
                    // SAFETY: the caller's.
                    let (left, right) =
                        unsafe { (a.add(r * stride + 4 * quad), b.add((quad * COLUMNS + from + lane) * 4)) };
                    for at in 0..4 {
                        // SAFETY: the caller's.
                        *total += unsafe { i32::from(*left.add(at)) * i32::from(*right.add(at)) };
                    }
                }
            }
        }
        for (row, total) in sums.0.iter_mut().zip(total) {
            row[from..from + LANES].copy_from_slice(&total);
        }
    }
}

/// # Safety
/// `a` holds `R` rows of `32 · blocks` values, `stride` apart; `starts` has `R` rows of `blocks` values;
/// `b` is an int4 panel and `scales` has `[blocks][32]` values.
pub(super) unsafe fn int4<const R: usize>(
    a: *const i8,
    stride: usize,
    starts: *const i32,
    b: *const u8,
    scales: *const f32,
    blocks: usize,
    sums: &mut Tile<f32>,
) {
    for (r, row) in sums.0.iter_mut().enumerate().take(R) {
        for (column, sum) in row.iter_mut().enumerate() {
            *sum = 0.0;
            for block in 0..blocks {
                // SAFETY: the caller's.
                let mut part = unsafe { *starts.add(r * blocks + block) };
                for input in block * INT4_BLOCK..(block + 1) * INT4_BLOCK {
                    // SAFETY: the caller's.
                    let (left, byte) = unsafe {
                        (*a.add(r * stride + input), *b.add((input / 4 * 16 + column % 16) * 4 + input % 4))
                    };
                    let right = if column < 16 { byte & 15 } else { byte >> 4 };
                    part += i32::from(left) * i32::from(right);
                }
                // Rounded once, as the instructions of other processors do: once in 32 products, even a
                // library call does not matter.
                // SAFETY: the caller's.
                *sum = (part as f32).mul_add(unsafe { *scales.add(block * COLUMNS + column) }, *sum);
            }
        }
    }
}
