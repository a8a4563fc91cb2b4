//! Attention, a block of queries and a block of keys at a time (arXiv 2205.14135): the scores of a block
//! stay in the first-level cache, and memory grows with the tokens, not with their square.
//!
//! Keys and values are packed once for each sequence and key head, then every (sequence, head, block of
//! queries) is a task of its own, so the result does not depend on the number of threads. Exact products
//! are f32. Reduced ones are bf16 with f32 sums, on processors that multiply bf16; maxima, sums and the
//! softmax are f32 in both. A key that a query does not see may still turn it to NaN by being NaN or
//! infinite.
#![allow(unsafe_code, reason = "instruction sets chosen at run time; tasks write their own rows")]

mod pack;
mod product;
mod softmax;
#[cfg(test)]
mod tests;

use std::cell::RefCell;

use self::product::Shape;
use self::softmax::{Block, Running};
use super::memory::{Memory, Shared};
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
    let (packed_keys, packed_values) = pack::pack(&plan, cpu, segments, sequences);
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
                &|row, values, share| {
                    let at = ((band.from + row) * shape.heads + head) * shape.head_dim;
                    // SAFETY: `output` has this head of this row, and no other task has it.
                    unsafe {
                        let to = std::slice::from_raw_parts_mut(to.get().add(at), shape.head_dim);
                        for (to, value) in to.iter_mut().zip(values) {
                            *to = value * share;
                        }
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

    /// One head of at most [`QUERIES`] queries over all keys, packed from block `first` on; `store` is
    /// given each row of weighted sums and what to multiply it by.
    fn attend(
        &self,
        queries: Band<'_>,
        seen: &[usize; QUERIES],
        first: usize,
        [keys, values]: [&Buffer; 2],
        scratch: &mut Scratch,
        store: &dyn Fn(usize, &[f32], f32),
    ) {
        let dim = self.shape.head_dim;
        scratch.scores.grow::<f32>(QUERIES * KEYS);
        scratch.weights.grow::<u16>(QUERIES * KEYS);
        scratch.sums.grow::<f32>(QUERIES * self.width);
        pack::queries(self, queries, &mut scratch.queries);
        #[cfg(target_arch = "x86_64")]
        let _tiles = (self.pairs && self.isa == Isa::Amx).then(tiles::Tiles::new);
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
                // SAFETY: the tiles are alive.
                unsafe { product::pairs(self.isa, score, q, k, scores) };
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
                let v = &values.as_words()[value_words];
                // SAFETY: the tiles are alive.
                unsafe { product::pairs(self.isa, sum, weights, v, sums) };
            } else {
                product::floats(self.isa, sum, scores, &values.as_slice()[value_words], sums);
            }
        }
        for (row, sums) in sums.chunks_exact(self.width).take(queries.rows).enumerate() {
            store(row, &sums[..dim], 1.0 / running.sum[row]);
        }
    }
}
