//! Queries, keys and values as the products want them.

use super::super::isa::isa_call;
use super::softmax::bf16;
use super::{Band, Buffer, Cpu, Isa, KEYS, Memory, Plan, QUERIES, head_of};
use crate::compute::KeysValues;
use crate::compute::cpu::memory::split;

/// A block of queries, [`QUERIES`] rows padded with zeros, scaled so that scores are logarithms to base 2.
pub(super) fn queries(plan: &Plan<'_>, band: Band<'_>, to: &mut Memory) {
    isa_call!(plan.isa, queries_body(plan: &Plan<'_>, band: Band<'_>, to: &mut Memory) -> ());
}

#[inline(always)]
fn queries_body(plan: &Plan<'_>, band: Band<'_>, to: &mut Memory) {
    let (dim, len) = (plan.shape.head_dim, QUERIES * plan.depth);
    to.grow::<f32>(len);
    let scale = std::f32::consts::LOG2_E / (dim as f32).sqrt();
    let rows = (0..band.rows).map(|row| head_of(band.columns, band.from + row, band.head, dim));
    if plan.pairs {
        let to = &mut to.as_mut_slice::<u16>()[..len];
        to.fill(0);
        for (to, row) in to.chunks_exact_mut(plan.depth).zip(rows) {
            to.iter_mut().zip(row).for_each(|(to, x)| *to = bf16(x * scale));
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
        isa_call!(plan.isa, block(plan: &Plan<'_>, rows: &Rows<'_>, keys: &mut [u32], values: &mut [u32]) -> ());
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
    let column = if plan.pairs { plan.depth / 2 } else { plan.depth };
    keys[..padded * column].fill(0);
    let mut words = [0; 64];
    for (key, row) in rows.keys[..rows.count].iter().enumerate() {
        let to = &mut keys[key / 16 * 16 * column..][..16 * column];
        if plan.pairs {
            for (row, to) in row.chunks(128).zip(to.chunks_mut(16 * 64)) {
                let (pairs, rest) = row.as_chunks::<2>();
                words.iter_mut().zip(pairs).for_each(|(word, pair)| *word = join(pair[0], pair[1]));
                rest.iter().for_each(|last| words[pairs.len()] = join(*last, 0.0));
                let words = &words[..row.len().div_ceil(2)];
                to[key % 16..].iter_mut().step_by(16).zip(words).for_each(|(to, word)| *to = *word);
            }
        } else {
            to[key % 16..].iter_mut().step_by(16).zip(*row).for_each(|(to, value)| *to = value.to_bits());
        }
    }
    let zeros = vec![0.0; dim];
    let row = |at: usize| if at < rows.count { rows.values[at] } else { &zeros };
    for first in (0..plan.width).step_by(16) {
        let columns = first.min(dim)..(first + 16).min(dim);
        if plan.pairs {
            let to = values[first * KEYS / 2..][..padded * 8].as_chunks_mut::<16>().0;
            for (pair, to) in to.iter_mut().enumerate() {
                let (even, odd) = (&row(2 * pair)[columns.clone()], &row(2 * pair + 1)[columns.clone()]);
                *to = sixteen(even.iter().zip(odd).map(|(even, odd)| join(*even, *odd)));
            }
        } else {
            let to = values[first * KEYS..][..padded * 16].as_chunks_mut::<16>().0;
            for (key, to) in to.iter_mut().enumerate() {
                *to = sixteen(row(key)[columns.clone()].iter().map(|value| value.to_bits()));
            }
        }
    }
}

/// The words, then zeros.
#[inline(always)]
fn sixteen(from: impl Iterator<Item = u32>) -> [u32; 16] {
    let mut words = [0; 16];
    words.iter_mut().zip(from).for_each(|(word, from)| *word = from);
    words
}

/// Two neighbours in depth.
#[inline(always)]
fn join(even: f32, odd: f32) -> u32 {
    u32::from(bf16(even)) | u32::from(bf16(odd)) << 16
}
