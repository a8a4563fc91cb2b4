//! Attention, a block of queries and a block of keys at a time (arXiv 2205.14135): the scores of a block
//! stay in the first-level cache, and memory grows with the tokens, not with their square.
//!
//! Keys and values are packed once for each sequence and key head, then every (sequence, head, block of
//! queries) is a task of its own, so the result does not depend on the number of threads. Exact products
//! are f32. Reduced ones are bf16 with f32 sums, on processors that multiply bf16; maxima, sums and the
//! softmax are f32 in both. A key that a query does not see may still turn it to NaN by being NaN or
//! infinite.
#![allow(unsafe_code, reason = "instruction sets chosen at run time; tasks write their own rows")]

mod product;
mod softmax;
#[cfg(test)]
mod tests;

use std::cell::RefCell;

use self::product::Shape;
use self::softmax::{Block, Running, bf16};
use super::memory::{Memory, Shared, split};
#[cfg(target_arch = "x86_64")]
use super::tiles;
use super::{Buffer, Cpu, Isa};
use crate::compute::{Attention, Columns, KeysValues, Sight};

/// Most queries in a block.
const QUERIES: usize = 32;
/// Keys in a block.
const KEYS: usize = 128;

thread_local! {
    static SCRATCH: RefCell<Scratch> = RefCell::default();
}

/// One task's memory.
#[derive(Default)]
struct Scratch {
    queries: Memory,
    scores: Memory,
    weights: Memory,
    sums: Memory,
}

/// Sizes that packing and tasks share.
struct Plan<'a> {
    isa: Isa,
    /// bf16 products.
    pairs: bool,
    shape: &'a Attention,
    /// Keys of a sequence, over all segments.
    keys: usize,
    key_blocks: usize,
    /// Values of a head in scores, padded.
    depth: usize,
    /// Values of a head in sums, padded.
    width: usize,
}

pub(crate) fn attention(
    cpu: &Cpu,
    shape: &Attention,
    queries: Columns<'_>,
    segments: &[KeysValues<'_>],
    sequences: usize,
    sight: Sight,
    output: &mut [f32],
) {
    let keys = segments.iter().map(|segment| segment.keys.rows.count).sum::<usize>() / sequences;
    let pairs = shape.reduced && product::has_pairs(cpu.isa());
    let plan = Plan {
        isa: cpu.isa(),
        pairs,
        shape,
        keys,
        key_blocks: keys.div_ceil(KEYS),
        depth: if pairs { shape.head_dim.next_multiple_of(32) } else { shape.head_dim },
        width: shape.head_dim.next_multiple_of(32),
    };
    let per_sequence = queries.rows.count / sequences;
    let group = shape.heads / shape.kv_heads;
    assert_eq!(output.len(), queries.rows.count * shape.heads * shape.head_dim);
    assert!(sequences * per_sequence == queries.rows.count && group * shape.kv_heads == shape.heads);
    if per_sequence == 0 {
        return;
    }
    let (packed_keys, packed_values) = plan.pack(cpu, segments, sequences);
    let blocks = per_sequence.div_ceil(QUERIES);
    let block = per_sequence.div_ceil(blocks);
    let to = Shared(output.as_mut_ptr());
    cpu.run(sequences * shape.heads * blocks, &|task| {
        let (sequence, head) = (task / blocks / shape.heads, task / blocks % shape.heads);
        let from = (task % blocks * block).min(per_sequence);
        let rows = block.min(per_sequence - from);
        let seen = |query: usize| match sight {
            Sight::All => keys,
            Sight::Causal { before } => (before + query + 1).min(keys),
            Sight::LastHidden => keys - usize::from(query + 1 < per_sequence).min(keys),
        };
        let mut seen_by = [0; QUERIES];
        (0..rows).for_each(|row| seen_by[row] = seen(from + row));
        let band = Band { columns: queries, head, from: sequence * per_sequence + from, rows };
        let kv = sequence * shape.kv_heads + head / group;
        SCRATCH.with_borrow_mut(|scratch| {
            plan.attend(
                band,
                &seen_by,
                kv * plan.key_blocks,
                [&packed_keys, &packed_values],
                scratch,
                &|row, values| {
                    let at = ((band.from + row) * shape.heads + head) * shape.head_dim;
                    // SAFETY: `output` has this head of this row, and no other task has it.
                    unsafe {
                        let to = std::slice::from_raw_parts_mut(to.get().add(at), shape.head_dim);
                        to.copy_from_slice(values);
                    }
                },
            );
        });
    });
}

/// One head of some rows.
#[derive(Clone, Copy)]
struct Band<'a> {
    columns: Columns<'a>,
    head: usize,
    from: usize,
    rows: usize,
}

/// `head` of row `row`.
fn head_of<'a>(columns: Columns<'a>, row: usize, head: usize, dim: usize) -> &'a [f32] {
    let rows = columns.rows;
    &rows.data.as_slice()[row * rows.width + columns.from + head * dim..][..dim]
}

impl Plan<'_> {
    /// Words of a block of packed keys.
    fn key_words(&self) -> usize {
        KEYS * self.depth / if self.pairs { 2 } else { 1 }
    }

    /// Words of a block of packed values.
    fn value_words(&self) -> usize {
        KEYS * self.width / if self.pairs { 2 } else { 1 }
    }

    /// Keys and values of every sequence, key head and block of keys, as [`product`] wants them. Of the
    /// last block only whole runs of 32 keys, padded with zeros, are filled.
    fn pack(&self, cpu: &Cpu, segments: &[KeysValues<'_>], sequences: usize) -> (Buffer, Buffer) {
        let (heads, dim) = (self.shape.kv_heads, self.shape.head_dim);
        let parts = sequences * heads * self.key_blocks;
        let mut keys = Buffer::unfilled(parts * self.key_words());
        let mut values = Buffer::unfilled(parts * self.value_words());
        let task = |part: usize, keys: &mut [u32], values: &mut [u32]| {
            let (block, head) = (part % self.key_blocks, part / self.key_blocks % heads);
            let sequence = part / self.key_blocks / heads;
            let count = (self.keys - block * KEYS).min(KEYS);
            let padded = count.next_multiple_of(32);
            // Which row of which segment each key is.
            let mut before = 0;
            let mut found = [(0, 0); KEYS];
            for (at, segment) in segments.iter().enumerate() {
                let own = segment.keys.rows.count / sequences;
                for key in (block * KEYS).max(before)..(block * KEYS + count).min(before + own) {
                    found[key - block * KEYS] = (at, sequence * own + key - before);
                }
                before += own;
            }
            let found = &found[..count];
            let key_of = |(segment, row): (usize, usize)| head_of(segments[segment].keys, row, head, dim);
            let value_of = |(segment, row): (usize, usize)| head_of(segments[segment].values, row, head, dim);
            if self.pairs {
                keys[..padded * self.depth / 2].fill(0);
                for (key, row) in found.iter().map(|at| key_of(*at)).enumerate() {
                    let to = &mut keys[key / 16 * 16 * self.depth / 2..][..16 * self.depth / 2];
                    for (to, pair) in to[key % 16..].iter_mut().step_by(16).zip(row.chunks(2)) {
                        *to = word(pair[0], pair.get(1).copied().unwrap_or(0.0));
                    }
                }
                let zeros = vec![0.0; if count.is_multiple_of(2) { 0 } else { dim }];
                for pair in 0..padded / 2 {
                    let row = |at: usize| found.get(at).map(|at| value_of(*at));
                    let even = row(2 * pair);
                    let odd = row(2 * pair + 1).unwrap_or(&zeros);
                    for block in 0..self.width / 16 {
                        let to = &mut values[block * KEYS / 2 * 16 + pair * 16..][..16];
                        to.fill(0);
                        if let Some(even) = even {
                            let columns = (block * 16).min(dim)..(block * 16 + 16).min(dim);
                            let rows = even[columns.clone()].iter().zip(&odd[columns]);
                            for (to, (even, odd)) in to.iter_mut().zip(rows) {
                                *to = word(*even, *odd);
                            }
                        }
                    }
                }
            } else {
                keys[..padded * dim].fill(0);
                for (key, row) in found.iter().map(|at| key_of(*at)).enumerate() {
                    let to = &mut keys[key / 16 * 16 * dim..][..16 * dim];
                    for (to, value) in to[key % 16..].iter_mut().step_by(16).zip(row) {
                        *to = value.to_bits();
                    }
                }
                for key in 0..padded {
                    let row = found.get(key).map_or(&[][..], |at| value_of(*at));
                    for block in 0..self.width / 16 {
                        let to = &mut values[block * KEYS * 16 + key * 16..][..16];
                        to.fill(0);
                        let from = &row[(block * 16).min(row.len())..(block * 16 + 16).min(row.len())];
                        to.iter_mut().zip(from).for_each(|(to, value)| *to = value.to_bits());
                    }
                }
            }
        };
        split(cpu, parts, keys.as_mut_words(), values.as_mut_words(), &task);
        (keys, values)
    }

    /// One head of at most [`QUERIES`] queries over all keys, packed from block `first` on; `store` is
    /// given each row of the result.
    fn attend(
        &self,
        queries: Band<'_>,
        seen: &[usize; QUERIES],
        first: usize,
        [keys, values]: [&Buffer; 2],
        scratch: &mut Scratch,
        store: &dyn Fn(usize, &[f32]),
    ) {
        let dim = self.shape.head_dim;
        scratch.queries.grow::<f32>(QUERIES * self.depth);
        scratch.scores.grow::<f32>(QUERIES * KEYS);
        scratch.weights.grow::<u16>(QUERIES * KEYS);
        scratch.sums.grow::<f32>(QUERIES * self.width);
        let scale = std::f32::consts::LOG2_E / (dim as f32).sqrt();
        let rows = (0..queries.rows)
            .map(|row| head_of(queries.columns, queries.from + row, queries.head, dim))
            .enumerate();
        if self.pairs {
            let to = &mut scratch.queries.as_mut_slice::<u16>()[..QUERIES * self.depth];
            to.fill(0);
            for (at, row) in rows {
                to[at * self.depth..].iter_mut().zip(row).for_each(|(to, x)| *to = bf16(x * scale));
            }
        } else {
            let to = &mut scratch.queries.as_mut_slice::<f32>()[..QUERIES * self.depth];
            to.fill(0.0);
            for (at, row) in rows {
                to[at * self.depth..].iter_mut().zip(row).for_each(|(to, x)| *to = x * scale);
            }
        }
        let sums = &mut scratch.sums.as_mut_slice::<f32>()[..QUERIES * self.width];
        sums.fill(0.0);
        let mut running = Running::new();
        let last = seen[..queries.rows].iter().copied().max().unwrap_or(0);
        for block in 0..last.div_ceil(KEYS).max(1).min(self.key_blocks) {
            let columns = (last.max(1) - block * KEYS).min(KEYS).next_multiple_of(32);
            let mut seen_here = [0; QUERIES];
            for (here, seen) in seen_here.iter_mut().zip(seen) {
                *here = seen.saturating_sub(block * KEYS).min(columns);
            }
            let per_word = if self.pairs { 2 } else { 1 };
            let key_words = (first + block) * self.key_words()..(first + block + 1) * self.key_words();
            let value_words = (first + block) * self.value_words()..(first + block + 1) * self.value_words();
            let score = Shape {
                rows: queries.rows,
                a_stride: self.depth,
                b_stride: 16 * self.depth / per_word,
                depth: self.depth / per_word,
                blocks: columns / 16,
                c_stride: KEYS,
                add: false,
            };
            let sum = Shape {
                a_stride: KEYS,
                b_stride: 16 * KEYS / per_word,
                depth: columns / per_word,
                blocks: self.width / 16,
                c_stride: self.width,
                add: true,
                ..score
            };
            let scores = &mut scratch.scores.as_mut_slice::<f32>()[..QUERIES * KEYS];
            if self.pairs {
                let (q, k) = (scratch.queries.as_slice(), &keys.as_words()[key_words]);
                product::pairs(self.isa, score, q, k, scores);
            } else {
                let (q, k) = (scratch.queries.as_slice(), &keys.as_slice()[key_words]);
                product::floats(self.isa, score, q, k, scores);
            }
            let weights = &mut scratch.weights.as_mut_slice::<u16>()[..QUERIES * KEYS];
            Block {
                scores,
                pairs: self.pairs.then_some(&mut *weights),
                stride: KEYS,
                rows: queries.rows,
                columns,
                seen: &seen_here,
                running: &mut running,
                sums,
                width: self.width,
            }
            .apply(self.isa);
            if self.pairs {
                product::pairs(self.isa, sum, weights, &values.as_words()[value_words], sums);
            } else {
                product::floats(self.isa, sum, scores, &values.as_slice()[value_words], sums);
            }
        }
        for (row, sums) in sums.chunks_exact_mut(self.width).take(queries.rows).enumerate() {
            let sums = &mut sums[..dim];
            let share = 1.0 / running.sum[row];
            sums.iter_mut().for_each(|value| *value *= share);
            store(row, sums);
        }
    }
}

/// Two neighbours in depth.
fn word(even: f32, odd: f32) -> u32 {
    u32::from(bf16(even)) | u32::from(bf16(odd)) << 16
}
