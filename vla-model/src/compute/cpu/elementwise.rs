//! Operations that read and write each value once: as fast as memory, once on all threads.
#![allow(unsafe_code, reason = "threads write disjoint rows; functions compiled for an instruction set")]

use super::isa::isa_call;
use super::memory::Shared;
use super::{Cpu, Isa, prepare};
use crate::compute::{Norm, Rope};

/// Least values that are worth handing to another thread.
const TASK_VALUES: usize = 1 << 15;

/// Calls `task` with runs of rows of `values`, and the number of the first, on all threads.
pub(super) fn for_rows(
    cpu: &Cpu,
    values: &mut [f32],
    width: usize,
    task: &(dyn Fn(usize, &mut [f32]) + Sync),
) {
    let rows = values.len() / width.max(1);
    let per_task = TASK_VALUES.div_ceil(width.max(1));
    let start = Shared(values.as_mut_ptr());
    cpu.run(rows.div_ceil(per_task), &|at| {
        let (from, to) = (at * per_task, rows.min((at + 1) * per_task));
        // SAFETY: the rows are inside, and each task has its own.
        let values =
            unsafe { std::slice::from_raw_parts_mut(start.get().add(from * width), (to - from) * width) };
        task(from, values);
    });
}

/// Normalises each row of `scale.len()` values.
pub(crate) fn norm(cpu: &Cpu, weights: &Norm, input: &[f32], output: &mut [f32]) {
    let width = weights.scale.len();
    assert_eq!(input.len(), output.len());
    for_rows(cpu, output, width, &|first, rows| {
        let input = &input[first * width..][..rows.len()];
        for (to, x) in rows.chunks_exact_mut(width).zip(input.chunks_exact(width)) {
            prepare::normalise(cpu.isa(), weights, x, to);
        }
    });
}

/// Turns `heads` heads of each row of `width` values, from column `from` on.
pub(crate) fn turn(cpu: &Cpu, rope: &Rope, values: &mut [f32], width: usize, from: usize, heads: usize) {
    let half = rope.head_dim / 2;
    for_rows(cpu, values, width, &|first, rows| {
        for (token, row) in (first..).zip(rows.chunks_exact_mut(width)) {
            let cos = &rope.cos[token * half..][..half];
            let sin = &rope.sin[token * half..][..half];
            for head in row[from..][..heads * rope.head_dim].chunks_exact_mut(rope.head_dim) {
                isa_call!(cpu.isa(), turn_head(head: &mut [f32], cos: &[f32], sin: &[f32]) -> ());
            }
        }
    });
}

#[inline(always)]
fn turn_head(head: &mut [f32], cos: &[f32], sin: &[f32]) {
    let (low, high) = head.split_at_mut(cos.len());
    for (((low, high), cos), sin) in low.iter_mut().zip(high).zip(cos).zip(sin) {
        (*low, *high) = (*low * cos - *high * sin, *high * cos + *low * sin);
    }
}

/// Adds `other` to each run of as many values.
pub(crate) fn add_repeated(cpu: &Cpu, values: &mut [f32], width: usize, other: &[f32]) {
    let period = other.len() / width.max(1);
    for_rows(cpu, values, width, &|first, rows| {
        for (at, row) in (first..).zip(rows.chunks_exact_mut(width)) {
            let other = &other[at % period * width..][..width];
            isa_call!(cpu.isa(), add(row: &mut [f32], other: &[f32]) -> ());
        }
    });
}

#[inline(always)]
fn add(values: &mut [f32], other: &[f32]) {
    values.iter_mut().zip(other).for_each(|(value, other)| *value += other);
}

/// Row `indices[i]` of `values` becomes row `i` of `output`.
pub(crate) fn gather(cpu: &Cpu, values: &[f32], width: usize, indices: &[u32], output: &mut [f32]) {
    for_rows(cpu, output, width, &|first, rows| {
        for (to, index) in rows.chunks_exact_mut(width).zip(&indices[first..]) {
            to.copy_from_slice(&values[*index as usize * width..][..width]);
        }
    });
}
