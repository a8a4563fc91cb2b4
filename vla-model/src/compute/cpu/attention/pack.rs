//! Queries, keys and values as the products want them.

use super::super::isa::isa_call;
#[cfg(target_arch = "x86_64")]
use super::Isa;
#[cfg(target_arch = "x86_64")]
use super::softmax::bf16;
use super::{Band, Buffer, Cpu, KEYS, Memory, Plan, QUERIES, head_of};
use crate::compute::KeysValues;
use crate::compute::cpu::memory::split;

/// A block of queries, [`QUERIES`] rows padded with zeros, scaled so that scores are logarithms to base 2.
pub(super) fn queries(plan: &Plan<'_>, band: Band<'_>, to: &mut Memory) {
    let (dim, len) = (plan.shape.head_dim, QUERIES * plan.depth);
    to.grow::<f32>(len);
    let scale = std::f32::consts::LOG2_E / (dim as f32).sqrt();
    let rows = (0..band.rows).map(|row| head_of(band.columns, band.from + row, band.head, dim));
    if plan.pairs {
        let to = &mut to.as_mut_slice::<u16>()[..len];
        to.fill(0);
        for (to, row) in to.chunks_exact_mut(plan.depth).zip(rows) {
            // SAFETY: bf16 is asked for only where the processor multiplies it.
            unsafe { halves(row, scale, &mut to[..dim]) };
        }
    } else {
        let to = &mut to.as_mut_slice::<f32>()[..len];
        to.fill(0.0);
        for (to, row) in to.chunks_exact_mut(plan.depth).zip(rows) {
            to.iter_mut().zip(row).for_each(|(to, x)| *to = x * scale);
        }
    }
}

/// Keys and values of every sequence, key head and block of keys. Of the last block only whole runs of 32
/// keys, padded with zeros, are filled.
pub(super) fn pack(
    plan: &Plan<'_>,
    cpu: &Cpu,
    segments: &[KeysValues<'_>],
    sequences: usize,
) -> (Buffer, Buffer) {
    let parts = sequences * plan.shape.kv_heads * plan.key_blocks;
    let mut keys = Buffer::unfilled(parts * plan.key_words());
    let mut values = Buffer::unfilled(parts * plan.value_words());
    split(cpu, parts, keys.as_mut_words(), values.as_mut_words(), &|part, keys, values| {
        let rows = &Rows::find(plan, segments, sequences, part);
        if plan.pairs {
            // SAFETY: bf16 is asked for only where the processor multiplies it.
            unsafe { pairs_block(plan, rows, keys, values) };
        } else {
            isa_call!(plan.isa, block(plan: &Plan<'_>, rows: &Rows<'_>, keys: &mut [u32], values: &mut [u32]) -> ());
        }
    });
    (keys, values)
}

/// One head of the keys and values of a block.
struct Rows<'a> {
    keys: [&'a [f32]; KEYS],
    values: [&'a [f32]; KEYS],
    count: usize,
}

impl<'a> Rows<'a> {
    fn find(plan: &Plan<'_>, segments: &[KeysValues<'a>], sequences: usize, part: usize) -> Self {
        let (heads, dim) = (plan.shape.kv_heads, plan.shape.head_dim);
        let (block, head) = (part % plan.key_blocks, part / plan.key_blocks % heads);
        let sequence = part / plan.key_blocks / heads;
        let first = block * KEYS;
        let count = (plan.keys - first).min(KEYS);
        let mut rows = Self { keys: [&[]; KEYS], values: [&[]; KEYS], count };
        let mut before = 0;
        for segment in segments {
            let own = segment.keys.rows.count / sequences;
            for key in first.max(before)..(first + count).min(before + own) {
                let row = sequence * own + key - before;
                rows.keys[key - first] = head_of(segment.keys, row, head, dim);
                rows.values[key - first] = head_of(segment.values, row, head, dim);
            }
            before += own;
        }
        rows
    }
}

#[inline(always)]
fn block(plan: &Plan<'_>, rows: &Rows<'_>, keys: &mut [u32], values: &mut [u32]) {
    let (dim, padded) = (plan.shape.head_dim, rows.count.next_multiple_of(32));
    keys[..padded * dim].fill(0);
    for (key, row) in rows.keys[..rows.count].iter().enumerate() {
        let to = &mut keys[key / 16 * 16 * dim..][..16 * dim];
        to[key % 16..].iter_mut().step_by(16).zip(*row).for_each(|(to, value)| *to = value.to_bits());
    }
    for first in (0..plan.width).step_by(16) {
        let to = values[first * KEYS..][..padded * 16].as_chunks_mut::<16>().0;
        for (row, to) in rows.values.iter().zip(to) {
            *to = [0; 16];
            let from = &row[first.min(row.len())..(first + 16).min(row.len())];
            to.iter_mut().zip(from).for_each(|(to, value)| *to = value.to_bits());
        }
    }
}

/// As [`block`], in pairs of bf16: neighbours in a key's row, and neighbouring keys' values.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bw,avx512bf16")]
fn pairs_block(plan: &Plan<'_>, rows: &Rows<'_>, keys: &mut [u32], values: &mut [u32]) {
    let (dim, padded, words) = (plan.shape.head_dim, rows.count.next_multiple_of(32), plan.depth / 2);
    keys[..padded * words].fill(0);
    for (key, row) in rows.keys[..rows.count].iter().enumerate() {
        let to = &mut keys[key / 16 * 16 * words..][..16 * words];
        for (row, to) in row.chunks(128).zip(to.chunks_mut(64 * 16)) {
            let mut packed = [0; 128];
            halves(row, 1.0, &mut packed[..row.len()]);
            let pairs = packed.as_chunks::<2>().0[..row.len().div_ceil(2)].iter();
            for (to, pair) in to[key % 16..].iter_mut().step_by(16).zip(pairs) {
                *to = u32::from(pair[0]) | u32::from(pair[1]) << 16;
            }
        }
    }
    let zeros = vec![0.0; dim];
    let row = |at: usize| if at < rows.count { rows.values[at] } else { &zeros };
    for first in (0..plan.width).step_by(16) {
        let columns = first.min(dim)..(first + 16).min(dim);
        let to = values[first * KEYS / 2..][..padded * 8].as_chunks_mut::<16>().0;
        for (pair, to) in to.iter_mut().enumerate() {
            let both = [row(2 * pair), row(2 * pair + 1)].map(|row| {
                let mut values = [0.0; 16];
                match row[columns.clone()].as_array::<16>() {
                    Some(whole) => values = *whole,
                    None => values[..columns.len()].copy_from_slice(&row[columns.clone()]),
                }
                values
            });
            *to = interleave(&both[0], &both[1]);
        }
    }
}

#[cfg(not(target_arch = "x86_64"))]
unsafe fn pairs_block(_: &Plan<'_>, _: &Rows<'_>, _: &mut [u32], _: &mut [u32]) {
    unreachable!("this processor multiplies no bf16");
}

/// `row · scale` in bf16.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bw,avx512bf16")]
fn halves(row: &[f32], scale: f32, to: &mut [u16]) {
    use std::arch::x86_64::{
        __m512bh, __m512i, _mm512_cvtne2ps_pbh, _mm512_loadu_ps, _mm512_mul_ps, _mm512_set1_ps,
        _mm512_storeu_si512,
    };
    let (runs, rest) = row.as_chunks::<32>();
    let (to, to_rest) = to.as_chunks_mut::<32>();
    let factor = _mm512_set1_ps(scale);
    for (run, to) in runs.iter().zip(to) {
        // SAFETY: a run holds 32 values, of 32 bits and of 16; all bits are values.
        unsafe {
            let low = _mm512_mul_ps(_mm512_loadu_ps(run.as_ptr()), factor);
            let high = _mm512_mul_ps(_mm512_loadu_ps(run.as_ptr().add(16)), factor);
            let halves = std::mem::transmute::<__m512bh, __m512i>(_mm512_cvtne2ps_pbh(high, low));
            _mm512_storeu_si512(to.as_mut_ptr().cast(), halves);
        }
    }
    to_rest.iter_mut().zip(rest).for_each(|(to, x)| *to = bf16(x * scale));
}

#[cfg(not(target_arch = "x86_64"))]
unsafe fn halves(_: &[f32], _: f32, _: &mut [u16]) {
    unreachable!("this processor multiplies no bf16");
}

/// Pairs of bf16, `even` in the low halves.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bw,avx512bf16")]
fn interleave(even: &[f32; 16], odd: &[f32; 16]) -> [u32; 16] {
    use std::arch::x86_64::{
        __m512bh, __m512i, _mm512_cvtne2ps_pbh, _mm512_loadu_ps, _mm512_loadu_si512, _mm512_permutexvar_epi16,
    };
    const ORDER: [u16; 32] = {
        let mut order = [0; 32];
        let mut at = 0;
        while at < 32 {
            order[at] = (at / 2 + at % 2 * 16) as u16;
            at += 1;
        }
        order
    };
    // SAFETY: sixteen values are 512 bits, all of which are values of the other types.
    unsafe {
        let both = _mm512_cvtne2ps_pbh(_mm512_loadu_ps(odd.as_ptr()), _mm512_loadu_ps(even.as_ptr()));
        let order = _mm512_loadu_si512(ORDER.as_ptr().cast());
        let words = _mm512_permutexvar_epi16(order, std::mem::transmute::<__m512bh, __m512i>(both));
        std::mem::transmute::<__m512i, [u32; 16]>(words)
    }
}
