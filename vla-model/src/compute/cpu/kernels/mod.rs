//! The innermost loops: a tile of sums from a few prepared rows and one panel of weights.
//!
//! A panel holds [`COLUMNS`] outputs, padded with zeros, input after input, so that a kernel reads it from
//! front to back:
//!
//! | weights | panel |
//! |---|---|
//! | f32 | `[inputs][32]` |
//! | bf16 | `[inputs][16]` words: output `i` in the low half, output `16 + i` in the high half |
//! | int8 | `[inputs / 4][32][4]`, inputs padded to 64 |
//! | int4 | `[inputs / 4][16][4]` bytes: output `i` in the low half, output `16 + i` in the high half, plus 8; inputs padded to 32 |
//!
//! Each of an f32 tile's sums runs over the inputs in order, in one accumulator.
#![allow(unsafe_code, reason = "instructions of one processor, on tiles read by pointer")]
#![allow(clippy::needless_range_loop, reason = "one index runs over rows, sums and pointers at once")]

#[cfg(target_arch = "x86_64")]
mod amx;
#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
#[cfg(target_arch = "aarch64")]
pub(super) mod neon;
mod portable;

use super::Isa;
use super::prepare::Form;
use crate::compute::weight::INT4_BLOCK;

/// Outputs in a panel.
pub(super) const COLUMNS: usize = 32;
/// Most rows in a tile.
pub(super) const MAX_ROWS: usize = 32;

/// Sums of one tile.
#[repr(C, align(64))]
pub(super) struct Tile<T>(pub(super) [[T; COLUMNS]; MAX_ROWS]);

/// Rows of a tile, each `stride` values after the one before.
#[derive(Clone, Copy)]
pub(super) struct Left<'a, T> {
    pub(super) rows: usize,
    pub(super) values: &'a [T],
    pub(super) stride: usize,
}

impl<T> Left<'_, T> {
    /// That a kernel which reads whole tiles of `rows` rows by `inputs` stays inside.
    fn check(&self, rows: usize, inputs: usize) {
        assert!(inputs <= self.stride && self.values.len() >= rows * self.stride);
    }
}

/// The form in which int8 rows are wanted.
pub(super) fn int8_form(isa: Isa) -> Form {
    match isa {
        Isa::AvxVnni | Isa::Avx512 | Isa::Avx512Bf16 => Form::Offset,
        Isa::Amx => Form::Tiles,
        Isa::Portable | Isa::NeonDot | Isa::Avx2 => Form::Signed,
    }
}

/// Rows that a tile should have, `rest` being left.
pub(super) fn tile_rows(isa: Isa, form: Form, rest: usize) -> usize {
    let most = match (isa, form) {
        (_, Form::Tiles) => return rest.min(MAX_ROWS),
        (Isa::Avx512 | Isa::Avx512Bf16 | Isa::Amx, Form::Float | Form::Offset) => 12,
        (Isa::Avx512 | Isa::Avx512Bf16 | Isa::Amx, _) => 6,
        (Isa::Avx2 | Isa::AvxVnni, Form::Float | Form::Offset) => 6,
        _ => 4,
    };
    // Even tiles rather than full ones and a thin last one.
    rest.div_ceil(rest.div_ceil(most))
}

/// `$call` with the constant `$rows` equal to a run-time number.
macro_rules! with_rows {
    ($number:expr, [$($value:literal)*], $rows:ident => $call:expr) => {
        match $number {
            $($value => { const $rows: usize = $value; $call })*
            rows => unreachable!("a tile of {rows} rows"),
        }
    };
}

/// `sums = left · panel`, f32. The processor must have `isa`.
pub(super) fn float(isa: Isa, left: Left<'_, f32>, panel: &[f32], inputs: usize, sums: &mut Tile<f32>) {
    left.check(left.rows, inputs);
    assert!(panel.len() >= inputs * COLUMNS);
    // SAFETY: the slices hold what the kernels read.
    unsafe { any_float::<false>(isa, left, panel.as_ptr().cast(), inputs, sums) }
}

/// `sums = left · panel`, bf16 weights. The processor must have `isa`.
pub(super) fn bf16(isa: Isa, left: Left<'_, f32>, panel: &[u32], inputs: usize, sums: &mut Tile<f32>) {
    left.check(left.rows, inputs);
    assert!(panel.len() >= inputs * COLUMNS / 2);
    // SAFETY: the slices hold what the kernels read.
    unsafe { any_float::<true>(isa, left, panel.as_ptr(), inputs, sums) }
}

/// The panel is of f32 or, when `BF16`, of pairs of bf16.
unsafe fn any_float<const BF16: bool>(
    isa: Isa,
    left: Left<'_, f32>,
    b: *const u32,
    inputs: usize,
    sums: &mut Tile<f32>,
) {
    let (a, s) = (left.values.as_ptr(), left.stride);
    // SAFETY: the caller's.
    unsafe {
        match isa {
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512 | Isa::Avx512Bf16 | Isa::Amx => with_rows!(
                left.rows, [1 2 3 4 5 6 7 8 9 10 11 12],
                R => avx512::float::<R, BF16>(a, s, b, inputs, sums)
            ),
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2 | Isa::AvxVnni => with_rows!(
                left.rows, [1 2 3 4 5 6],
                R => avx2::float::<R, BF16>(a, s, b, inputs, sums)
            ),
            _ => with_rows!(left.rows, [1 2 3 4], R => portable::float::<R, BF16>(a, s, b, inputs, sums)),
        }
    }
}

/// `sums = left · panel` of int8, `quads` times four inputs. `offsets` (-128 times the sum of each
/// output's weights) takes the rows' offset out where they have one. The processor must have `isa`, and
/// its tiles be configured.
#[cfg_attr(
    not(target_arch = "x86_64"),
    expect(
        unused_variables,
        reason = "only AVX-512 and AVX-VNNI multiply unsigned rows, which have an offset"
    )
)]
pub(super) fn int8(
    isa: Isa,
    left: Left<'_, i8>,
    panel: &[i8],
    offsets: &[i32; COLUMNS],
    quads: usize,
    sums: &mut Tile<i32>,
) {
    let read = if isa == Isa::Amx { left.rows.next_multiple_of(16) } else { left.rows };
    left.check(read, quads * 4);
    assert!(panel.len() >= quads * 4 * COLUMNS && (isa != Isa::Amx || quads.is_multiple_of(16)));
    let (a, s, b) = (left.values.as_ptr(), left.stride, panel.as_ptr());
    // SAFETY: the slices hold what the kernels read.
    unsafe {
        match isa {
            #[cfg(target_arch = "x86_64")]
            Isa::Amx => amx::int8(left.rows, a, s * 16, b, quads, sums),
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512 | Isa::Avx512Bf16 => with_rows!(
                left.rows, [1 2 3 4 5 6 7 8 9 10 11 12],
                R => avx512::int8::<R>(a, s, b, offsets, quads, sums)
            ),
            #[cfg(target_arch = "x86_64")]
            Isa::AvxVnni => {
                with_rows!(left.rows, [1 2 3 4 5 6], R => avx2::int8_vnni::<R>(a, s, b, offsets, quads, sums))
            }
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2 => with_rows!(left.rows, [1 2 3 4], R => avx2::int8::<R>(a, s, b, quads, sums)),
            #[cfg(target_arch = "aarch64")]
            Isa::NeonDot => with_rows!(left.rows, [1 2 3 4], R => neon::int8::<R>(a, s, b, quads, sums)),
            _ => with_rows!(left.rows, [1 2 3 4], R => portable::int8::<R>(a, s, b, quads, sums)),
        }
    }
}

/// `sums = left · panel` of int4: for each block of 32 inputs the exact sum of integers, starting from
/// `block_sums`, times `scales`, added in f32 in the order of the blocks. The processor must have `isa`.
pub(super) fn int4(
    isa: Isa,
    left: Left<'_, i8>,
    block_sums: &[i32],
    panel: &[u8],
    scales: &[f32],
    blocks: usize,
    sums: &mut Tile<f32>,
) {
    left.check(left.rows, blocks * INT4_BLOCK);
    assert!(block_sums.len() >= left.rows * blocks);
    assert!(panel.len() >= blocks * INT4_BLOCK * COLUMNS / 2 && scales.len() >= blocks * COLUMNS);
    let (a, s, b) = (left.values.as_ptr(), left.stride, panel.as_ptr());
    let (starts, scales) = (block_sums.as_ptr(), scales.as_ptr());
    // SAFETY: the slices hold what the kernels read.
    unsafe {
        match isa {
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512 | Isa::Avx512Bf16 | Isa::Amx => with_rows!(
                left.rows, [1 2 3 4 5 6],
                R => avx512::int4::<R>(a, s, starts, b, scales, blocks, sums)
            ),
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2 | Isa::AvxVnni => with_rows!(
                left.rows, [1 2 3 4],
                R => avx2::int4::<R>(a, s, starts, b, scales, blocks, sums)
            ),
            #[cfg(target_arch = "aarch64")]
            Isa::NeonDot => with_rows!(
                left.rows, [1 2 3 4],
                R => neon::int4::<R>(a, s, starts, b, scales, blocks, sums)
            ),
            _ => with_rows!(
                left.rows, [1 2 3 4],
                R => portable::int4::<R>(a, s, starts, b, scales, blocks, sums)
            ),
        }
    }
}

/// What a thread must set up before it runs int8 kernels, and takes down when dropped.
pub(super) struct Session {
    #[cfg(target_arch = "x86_64")]
    _tiles: Option<super::tiles::Tiles>,
}

impl Session {
    pub(super) fn new(isa: Isa) -> Self {
        let _ = isa;
        Self {
            #[cfg(target_arch = "x86_64")]
            _tiles: (isa == Isa::Amx).then(super::tiles::Tiles::new),
        }
    }
}
