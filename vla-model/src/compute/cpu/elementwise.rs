//! Operations that read and write each value once: as fast as memory, once on all threads.
#![allow(unsafe_code, reason = "threads write disjoint rows; functions compiled for an instruction set")]

#[cfg(any(test, target_arch = "x86_64"))]
use super::Isa;
use super::isa::isa_call;
use super::memory::Shared;
use super::{Cpu, prepare};
use crate::compute::{Norm, Rope};

/// Least values that are worth handing to another thread.
const TASK_VALUES: usize = 1 << 15;

/// Calls `task` with runs of rows of `values`, and the number of the first, on all threads. Each row takes
/// `work` values to read.
pub(super) fn for_rows(
    cpu: &Cpu,
    values: &mut [f32],
    width: usize,
    work: usize,
    task: &(dyn Fn(usize, &mut [f32]) + Sync),
) {
    let rows = values.len() / width.max(1);
    let per_task = TASK_VALUES.div_ceil(work.max(1));
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
    for_rows(cpu, output, width, width, &|first, rows| {
        let input = &input[first * width..][..rows.len()];
        for (to, x) in rows.chunks_exact_mut(width).zip(input.chunks_exact(width)) {
            prepare::normalise(cpu.isa(), weights, x, to);
        }
    });
}

/// Turns `heads` heads of each row of `width` values, from column `from` on.
pub(crate) fn turn(cpu: &Cpu, rope: &Rope, values: &mut [f32], width: usize, from: usize, heads: usize) {
    let half = rope.head_dim / 2;
    for_rows(cpu, values, width, width, &|first, rows| {
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
    for_rows(cpu, values, width, width, &|first, rows| {
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
    for_rows(cpu, output, width, width, &|first, rows| {
        for (to, index) in rows.chunks_exact_mut(width).zip(&indices[first..]) {
            to.copy_from_slice(&values[*index as usize * width..][..width]);
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compute::cpu::reference;
    use crate::compute::{Backend, NormKind};

    /// Enough rows for several tasks, and a last one that is not full.
    const COUNT: usize = 1501;
    const WIDTH: usize = 70;

    fn values(seed: usize) -> Vec<f32> {
        (0..COUNT * WIDTH).map(|at| ((at * 7919 + seed) % 1009) as f32 / 504.0 - 1.0).collect()
    }

    #[test]
    fn every_row_is_treated_once_on_every_processor() {
        let weights = Norm {
            kind: NormKind::Layer,
            scale: (0..WIDTH).map(|at| 1.0 + at as f32 * 0.01).collect(),
            shift: (0..WIDTH).map(|at| at as f32 * 0.1).collect(),
            epsilon: 1e-6,
        };
        let input = values(1);
        let mut normed = input.clone();
        reference::norm(&weights, &mut normed);
        let indices: Vec<u32> = (0..COUNT as u32).map(|at| at * 31 % COUNT as u32).collect();
        for isa in Isa::available() {
            let cpu = Cpu::with_isa(3, *isa);
            let mut output = vec![f32::NAN; input.len()];
            norm(&cpu, &weights, &input, &mut output);
            assert!(output.iter().zip(&normed).all(|(a, b)| (a - b).abs() < 1e-4), "{isa:?}");

            gather(&cpu, &input, WIDTH, &indices, &mut output);
            for (row, index) in output.chunks_exact(WIDTH).zip(&indices) {
                assert_eq!(row, &input[*index as usize * WIDTH..][..WIDTH]);
            }

            let other = &values(2)[..19 * WIDTH];
            let mut sum = input[..1501 / 19 * 19 * WIDTH].to_vec();
            add_repeated(&cpu, &mut sum, WIDTH, other);
            for (at, sum) in sum.iter().enumerate() {
                assert_eq!(*sum, input[at] + other[at % other.len()]);
            }
        }
    }

    #[test]
    fn each_token_turns_by_its_own_angle() {
        let positions: Vec<u32> = (0..COUNT as u32).collect();
        let rope = Rope::new(&Backend::cpu(1), &positions, 12, 10_000.0);
        let mut expected = values(3);
        for (token, row) in expected.chunks_exact_mut(WIDTH).enumerate() {
            for (head, i) in (0..4).flat_map(|head| (0..6).map(move |i| (head, i))) {
                let (low, high) = (5 + head * 12 + i, 5 + head * 12 + 6 + i);
                let (sin, cos) = (rope.sin[token * 6 + i], rope.cos[token * 6 + i]);
                let (a, b) = (row[low], row[high]);
                (row[low], row[high]) = (a * cos - b * sin, b * cos + a * sin);
            }
        }
        for isa in Isa::available() {
            let mut turned = values(3);
            turn(&Cpu::with_isa(3, *isa), &rope, &mut turned, WIDTH, 5, 4);
            assert!(turned.iter().zip(&expected).all(|(a, b)| (a - b).abs() < 1e-6), "{isa:?}");
        }
    }
}
