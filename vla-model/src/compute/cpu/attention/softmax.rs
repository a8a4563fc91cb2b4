//! The part of a softmax that fits one block of scores, with the running maximum and sum that join blocks
//! (arXiv 1805.02867).

use super::{Isa, QUERIES};

/// `2ˣ` for `x <= 0`; 0 below -126, NaN for NaN. A polynomial on -0.5..=0.5 with the factors given: with
/// [`FINE`] the relative error is at most 2.2e-7, with [`COARSE`] 1.1e-4, a twentieth of what bf16
/// resolves.
#[inline(always)]
pub(super) fn exp2<const FUSED: bool, const FACTORS: usize>(x: f32, factors: &[f32; FACTORS]) -> f32 {
    // Adding it rounds to an integer, left in the low bits.
    const ROUND: f32 = 12_582_912.0;
    let whole = x + ROUND;
    let part = x - (whole - ROUND);
    let mut power = factors[FACTORS - 1];
    for factor in factors[..FACTORS - 1].iter().rev() {
        power = multiply_add::<FUSED>(power, part, *factor);
    }
    let power = f32::from_bits(power.to_bits().wrapping_add(whole.to_bits() << 23));
    if x < -126.0 { 0.0 } else { power }
}

/// `a · b + c`, in one rounding where the processor has that.
#[inline(always)]
pub(super) fn multiply_add<const FUSED: bool>(a: f32, b: f32, c: f32) -> f32 {
    if FUSED { a.mul_add(b, c) } else { a * b + c }
}

pub(super) const FINE: [f32; 6] =
    [1.000_000_1, 0.693_146_94, 0.240_221_2, 0.055_507_13, 0.009_675_542, 0.001_327_647_1];
pub(super) const COARSE: [f32; 4] = [0.999_928_06, 0.693_260_97, 0.242_611_14, 0.055_171_67];

/// What is known of each query after some blocks.
pub(super) struct Running {
    /// Largest score so far.
    pub(super) top: [f32; QUERIES],
    /// Sum of `2^(score - top)`.
    pub(super) sum: [f32; QUERIES],
}

impl Running {
    pub(super) fn new() -> Self {
        Self { top: [f32::NEG_INFINITY; QUERIES], sum: [0.0; QUERIES] }
    }
}

/// Turns `scores` (rows of `stride`, in units of log₂; the first `columns` of each count, a multiple of
/// 16) into `2^(score - top)`, and multiplies what was summed before by the fall of the top.
pub(super) struct Block<'a> {
    pub(super) scores: &'a mut [f32],
    /// Where the weights go in bf16 instead of over the scores, rows of as many words as `stride`.
    pub(super) pairs: Option<&'a mut [u16]>,
    pub(super) stride: usize,
    pub(super) rows: usize,
    pub(super) columns: usize,
    /// Columns that each row sees.
    pub(super) seen: &'a [usize; QUERIES],
    pub(super) running: &'a mut Running,
    /// Weighted values so far, rows of `width`.
    pub(super) sums: &'a mut [f32],
    pub(super) width: usize,
}

impl Block<'_> {
    pub(super) fn apply(self, isa: Isa) {
        #[cfg(target_arch = "x86_64")]
        {
            #[target_feature(enable = "avx2,fma")]
            fn avx2(block: Block<'_>) {
                block.apply_body::<true>();
            }
            #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")]
            fn avx512(block: Block<'_>) {
                block.apply_body::<true>();
            }
            match isa {
                // SAFETY: an `Isa` other than the portable one is made only where the processor has it.
                Isa::Avx2 | Isa::AvxVnni => unsafe { avx2(self) },
                // SAFETY: as above.
                Isa::Avx512 | Isa::Avx512Bf16 | Isa::Amx => unsafe { avx512(self) },
                Isa::Portable | Isa::NeonDot => self.apply_body::<false>(),
            }
        }
        #[cfg(not(target_arch = "x86_64"))]
        {
            let _ = isa;
            // Arm has fused multiply-adds; others may have to call for them.
            self.apply_body::<{ cfg!(target_arch = "aarch64") }>();
        }
    }

    #[inline(always)]
    fn apply_body<const FUSED: bool>(mut self) {
        for row in 0..self.rows {
            let scores = &mut self.scores[row * self.stride..][..self.columns];
            if self.seen[row] < self.columns {
                scores[self.seen[row]..].fill(f32::NEG_INFINITY);
            }
            let before = self.running.top[row];
            let top = largest(scores, before);
            let sum = match &mut self.pairs {
                None => weigh::<FUSED>(scores, top),
                Some(pairs) => {
                    let pairs = &mut pairs[row * self.stride..][..self.columns];
                    weigh_pairs::<FUSED>(scores, top, pairs)
                }
            };
            self.running.top[row] = top;
            // `before - top` is NaN when a row has seen nothing yet: then there is nothing to shrink.
            let fall = if before == f32::NEG_INFINITY { 0.0 } else { exp2::<FUSED, 6>(before - top, &FINE) };
            self.running.sum[row] = multiply_add::<FUSED>(self.running.sum[row], fall, sum);
            if fall != 1.0 {
                for value in &mut self.sums[row * self.width..][..self.width] {
                    *value *= fall;
                }
            }
        }
    }
}

#[inline(always)]
fn largest(scores: &[f32], before: f32) -> f32 {
    let mut tops = [before; 16];
    for run in scores.as_chunks::<16>().0 {
        for (top, score) in tops.iter_mut().zip(run) {
            *top = if *score > *top { *score } else { *top };
        }
    }
    tops.into_iter().fold(before, |top, score| if score > top { score } else { top })
}

#[inline(always)]
fn weigh<const FUSED: bool>(scores: &mut [f32], top: f32) -> f32 {
    let mut sums = [0.0; 16];
    for run in scores.as_chunks_mut::<16>().0 {
        for (sum, score) in sums.iter_mut().zip(run) {
            *score = exp2::<FUSED, 6>(*score - top, &FINE);
            *sum += *score;
        }
    }
    sums.iter().sum()
}

#[inline(always)]
fn weigh_pairs<const FUSED: bool>(scores: &[f32], top: f32, pairs: &mut [u16]) -> f32 {
    let mut sums = [0.0; 16];
    for (run, to) in scores.as_chunks::<16>().0.iter().zip(pairs.as_chunks_mut::<16>().0) {
        for ((sum, score), to) in sums.iter_mut().zip(run).zip(to) {
            let weight = exp2::<FUSED, 4>(*score - top, &COARSE);
            *sum += weight;
            *to = bf16(weight);
        }
    }
    sums.iter().sum()
}

/// The nearest bf16, ties to even; NaN stays NaN.
#[inline(always)]
pub(super) fn bf16(x: f32) -> u16 {
    let bits = x.to_bits();
    let rounded = bits.wrapping_add(0x7FFF + (bits >> 16 & 1)) >> 16;
    let quiet = bits >> 16 | 0x40;
    (if x.is_nan() { quiet } else { rounded }) as u16
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn powers_are_as_near_as_they_say() {
        let mut worst = [0.0_f64; 2];
        for at in 0..2_000_000 {
            let x = -(at as f32) * 126.0 / 2_000_000.0;
            let exact = f64::from(x).exp2();
            for (worst, power) in worst
                .iter_mut()
                .zip([f64::from(exp2::<true, 6>(x, &FINE)), f64::from(exp2::<false, 4>(x, &COARSE))])
            {
                *worst = worst.max((power / exact - 1.0).abs());
            }
        }
        assert!(worst[0] < 2.2e-7, "{worst:?}");
        assert!(worst[1] < 1.1e-4, "{worst:?}");
        assert_eq!(exp2::<true, 6>(f32::NEG_INFINITY, &FINE), 0.0);
        assert_eq!(exp2::<true, 6>(-1e30, &FINE), 0.0);
        assert!(exp2::<true, 6>(f32::NAN, &FINE).is_nan());
        assert!(exp2::<false, 4>(f32::NAN, &COARSE).is_nan());
    }

    #[test]
    fn bf16_rounds_as_the_half_crate_does() {
        for bits in (0..=u32::MAX).step_by(7919) {
            let x = f32::from_bits(bits);
            let (ours, theirs) = (bf16(x), half::bf16::from_f32(x));
            assert!(ours == theirs.to_bits() || (x.is_nan() && half::bf16::from_bits(ours).is_nan()));
        }
    }
}
