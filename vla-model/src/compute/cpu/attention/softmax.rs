//! The part of a softmax that fits one block of scores, with the running maximum and sum that join blocks
//! (arXiv 1805.02867).

use super::{Isa, QUERIES};

/// Adding it rounds to an integer and leaves that, as the exponent of a float, in the low bits.
const ROUND: f32 = 12_582_912.0 + 127.0;

/// `2ˣ` for `x <= 0`; 0 below -127, NaN for NaN. A polynomial on -0.5..=0.5 with the factors given: with
/// [`FINE`] the relative error is at most 2.2e-7, with [`COARSE`] 1.1e-4, a twentieth of what bf16
/// resolves.
#[inline(always)]
fn exp2<const FUSED: bool, const FACTORS: usize>(x: f32, factors: &[f32; FACTORS]) -> f32 {
    let x = if -127.0 > x { -127.0 } else { x };
    let whole = x + ROUND;
    let part = x - (whole - ROUND);
    let mut power = factors[FACTORS - 1];
    for factor in factors[..FACTORS - 1].iter().rev() {
        power = multiply_add::<FUSED>(power, part, *factor);
    }
    power * f32::from_bits(whole.to_bits() << 23)
}

/// `a · b + c`, in one rounding where the processor has that.
#[inline(always)]
pub(super) fn multiply_add<const FUSED: bool>(a: f32, b: f32, c: f32) -> f32 {
    if FUSED { a.mul_add(b, c) } else { a * b + c }
}

const FINE: [f32; 6] = [1.000_000_1, 0.693_146_94, 0.240_221_2, 0.055_507_13, 0.009_675_542, 0.001_327_647_1];
#[cfg(any(target_arch = "x86_64", test))]
const COARSE: [f32; 4] = [0.999_928_06, 0.693_260_97, 0.242_611_14, 0.055_171_67];

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
/// 32) into `2^(score - top)`, and multiplies what was summed before by the fall of the top.
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
                #[cfg(target_arch = "x86_64")]
                Some(pairs) => {
                    let pairs = &mut pairs[row * self.stride..][..self.columns];
                    // SAFETY: bf16 is asked for only where the processor multiplies it.
                    unsafe { weigh_pairs(scores, top, pairs) }
                }
                #[cfg(not(target_arch = "x86_64"))]
                Some(_) => unreachable!("this processor multiplies no bf16"),
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
    for half in [8, 4, 2, 1] {
        for at in 0..half {
            tops[at] = if tops[at + half] > tops[at] { tops[at + half] } else { tops[at] };
        }
    }
    tops[0]
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

/// As [`weigh`], to bf16; two runs at a time.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bw,avx512bf16")]
fn weigh_pairs(scores: &[f32], top: f32, pairs: &mut [u16]) -> f32 {
    use std::arch::x86_64::{
        __m512, __m512bh, __m512i, _mm512_add_ps, _mm512_castps_si512, _mm512_castsi512_ps,
        _mm512_cvtne2ps_pbh, _mm512_fmadd_ps, _mm512_loadu_ps, _mm512_max_ps, _mm512_mul_ps,
        _mm512_reduce_add_ps, _mm512_set1_ps, _mm512_setzero_ps, _mm512_slli_epi32, _mm512_storeu_si512,
        _mm512_sub_ps,
    };
    let top = _mm512_set1_ps(top);
    let round = _mm512_set1_ps(ROUND);
    let factors = COARSE.map(|factor| _mm512_set1_ps(factor));
    let weigh = |score: __m512| {
        // Of two operands the second is taken when one is NaN.
        let x = _mm512_max_ps(_mm512_set1_ps(-127.0), _mm512_sub_ps(score, top));
        let whole = _mm512_add_ps(x, round);
        let part = _mm512_sub_ps(x, _mm512_sub_ps(whole, round));
        let power = _mm512_fmadd_ps(factors[3], part, factors[2]);
        let power = _mm512_fmadd_ps(power, part, factors[1]);
        let power = _mm512_fmadd_ps(power, part, factors[0]);
        let exponent = _mm512_slli_epi32::<23>(_mm512_castps_si512(whole));
        _mm512_mul_ps(power, _mm512_castsi512_ps(exponent))
    };
    let mut sums = [_mm512_setzero_ps(); 2];
    for (run, to) in scores.as_chunks::<32>().0.iter().zip(pairs.as_chunks_mut::<32>().0) {
        // SAFETY: a run holds 32 values.
        let (low, high) = unsafe { (_mm512_loadu_ps(run.as_ptr()), _mm512_loadu_ps(run.as_ptr().add(16))) };
        let (low, high) = (weigh(low), weigh(high));
        sums = [_mm512_add_ps(sums[0], low), _mm512_add_ps(sums[1], high)];
        // SAFETY: both are 512 bits; a run of 32 halves is as long.
        unsafe {
            let halves = std::mem::transmute::<__m512bh, __m512i>(_mm512_cvtne2ps_pbh(high, low));
            _mm512_storeu_si512(to.as_mut_ptr().cast(), halves);
        }
    }
    _mm512_reduce_add_ps(_mm512_add_ps(sums[0], sums[1]))
}

/// The nearest bf16, ties to even; NaN stays NaN.
#[cfg(any(target_arch = "x86_64", test))]
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
        for nan in [f32::NAN, -f32::NAN, f32::from_bits(0x7F80_0001), f32::from_bits(u32::MAX)] {
            assert!(exp2::<true, 6>(nan, &FINE).is_nan());
            assert!(exp2::<false, 4>(nan, &COARSE).is_nan());
        }
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
