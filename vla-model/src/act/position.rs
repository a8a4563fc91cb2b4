//! Where a token stands: fixed sinusoids over the rows and columns of a feature map.

use std::f64::consts::TAU;

/// `[height × width, dim]`, pixels row-major: the first half of the values encodes the row, the second the
/// column, each as sines and cosines in turn of `2π (index + 1) / (count + 1e-6)` over wavelengths from 1 to
/// 10 000 (DETR, arXiv 2005.12872).
pub(super) fn sinusoid_2d(height: usize, width: usize, dim: usize) -> Vec<f32> {
    let half = dim / 2;
    let axis = |index: usize, count: usize| {
        let angle = (index + 1) as f64 / (count as f64 + 1e-6) * TAU;
        (0..half).map(move |i| {
            let angle = angle / 10_000_f64.powf((i / 2 * 2) as f64 / half as f64);
            (if i % 2 == 0 { angle.sin() } else { angle.cos() }) as f32
        })
    };
    (0..height * width).flat_map(|at| axis(at / width, height).chain(axis(at % width, width))).collect()
}
