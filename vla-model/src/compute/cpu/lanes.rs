//! A vector of floats, as wide as the processor has them.
//!
//! Additions, multiplications and fused multiply-adds, which round alike everywhere: what is written on
//! it has the same bits on every processor.
#![allow(unsafe_code, reason = "vectors are loaded and stored by pointer")]

/// Adding it to a small float rounds that to an integer, ties to even, and leaves it in the low bits.
pub(super) const ROUND: f32 = 12_582_912.0;

/// See the module. Methods are to be called, inlined, in a function that is compiled for the processor.
pub(super) trait Lanes: Copy {
    const COUNT: usize;

    /// # Safety
    /// `from` holds [`Lanes::COUNT`] values.
    unsafe fn load(from: *const f32) -> Self;

    /// # Safety
    /// As [`Lanes::load`].
    unsafe fn from_integers(from: *const i32) -> Self;

    /// # Safety
    /// `to` has room for [`Lanes::COUNT`] values.
    unsafe fn store(self, to: *mut f32);

    fn splat(value: f32) -> Self;
    fn add(self, other: Self) -> Self;
    fn mul(self, other: Self) -> Self;
    /// `self · factor + summand`, rounded once.
    fn mul_add(self, factor: Self, summand: Self) -> Self;
    /// The lesser; `bound` for NaN.
    fn at_most(self, bound: Self) -> Self;
    /// The greater; `self` for NaN.
    fn or_greater(self, bound: Self) -> Self;
    /// Adds the integer in the low bits of `whole`, see [`ROUND`], to the exponent.
    fn scale_exp2(self, whole: Self) -> Self;
    /// `1 / self` within 12 %, by mirroring the exponent. For 1..=2¹²¹.
    fn guess_reciprocal(self) -> Self;
}

/// As [`Lanes::guess_reciprocal`] subtracts from.
const MIRROR: u32 = 0x7EF3_11C7;

impl Lanes for [f32; 8] {
    const COUNT: usize = 8;

    #[inline(always)]
    unsafe fn load(from: *const f32) -> Self {
        // SAFETY: the caller's.
        unsafe { from.cast::<Self>().read_unaligned() }
    }

    #[inline(always)]
    unsafe fn from_integers(from: *const i32) -> Self {
        // SAFETY: the caller's.
        unsafe { from.cast::<[i32; 8]>().read_unaligned() }.map(|integer| integer as f32)
    }

    #[inline(always)]
    unsafe fn store(self, to: *mut f32) {
        // SAFETY: the caller's.
        unsafe { to.cast::<Self>().write_unaligned(self) }
    }

    #[inline(always)]
    fn splat(value: f32) -> Self {
        [value; 8]
    }

    #[inline(always)]
    fn add(self, other: Self) -> Self {
        std::array::from_fn(|at| self[at] + other[at])
    }

    #[inline(always)]
    fn mul(self, other: Self) -> Self {
        std::array::from_fn(|at| self[at] * other[at])
    }

    #[inline(always)]
    fn mul_add(self, factor: Self, summand: Self) -> Self {
        std::array::from_fn(|at| self[at].mul_add(factor[at], summand[at]))
    }

    #[inline(always)]
    fn at_most(self, bound: Self) -> Self {
        std::array::from_fn(|at| if self[at] < bound[at] { self[at] } else { bound[at] })
    }

    #[inline(always)]
    fn or_greater(self, bound: Self) -> Self {
        std::array::from_fn(|at| if bound[at] > self[at] { bound[at] } else { self[at] })
    }

    #[inline(always)]
    fn scale_exp2(self, whole: Self) -> Self {
        std::array::from_fn(|at| f32::from_bits(self[at].to_bits().wrapping_add(whole[at].to_bits() << 23)))
    }

    #[inline(always)]
    fn guess_reciprocal(self) -> Self {
        self.map(|value| f32::from_bits(MIRROR.wrapping_sub(value.to_bits())))
    }
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::x86_64::*;

    use super::{Lanes, MIRROR};

    /// Writes [`Lanes`] for one width of vector.
    macro_rules! lanes {
        ($type:ty, $count:literal, $load:ident, $load_integers:ident, $convert:ident, $store:ident,
         $splat:ident, $add:ident, $mul:ident, $mul_add:ident, $min:ident, $max:ident, $bits:ident, $floats:ident,
         $shift:ident, $add_integers:ident, $sub_integers:ident, $splat_integer:ident) => {
            // SAFETY (of all blocks): pointers are the caller's; the instructions exist, for these methods
            // are called only where the processor has been asked.
            impl Lanes for $type {
                const COUNT: usize = $count;

                #[inline(always)]
                unsafe fn load(from: *const f32) -> Self {
                    // SAFETY: see above.
                    unsafe { $load(from) }
                }

                #[inline(always)]
                unsafe fn from_integers(from: *const i32) -> Self {
                    // SAFETY: see above.
                    unsafe { $convert($load_integers(from.cast())) }
                }

                #[inline(always)]
                unsafe fn store(self, to: *mut f32) {
                    // SAFETY: see above.
                    unsafe { $store(to, self) }
                }

                #[inline(always)]
                fn splat(value: f32) -> Self {
                    // SAFETY: see above.
                    unsafe { $splat(value) }
                }

                #[inline(always)]
                fn add(self, other: Self) -> Self {
                    // SAFETY: see above.
                    unsafe { $add(self, other) }
                }

                #[inline(always)]
                fn mul(self, other: Self) -> Self {
                    // SAFETY: see above.
                    unsafe { $mul(self, other) }
                }

                #[inline(always)]
                fn mul_add(self, factor: Self, summand: Self) -> Self {
                    // SAFETY: see above.
                    unsafe { $mul_add(self, factor, summand) }
                }

                #[inline(always)]
                fn at_most(self, bound: Self) -> Self {
                    // SAFETY: see above. The second operand where one is NaN.
                    unsafe { $min(self, bound) }
                }

                #[inline(always)]
                fn or_greater(self, bound: Self) -> Self {
                    // SAFETY: see above. The second operand where one is NaN.
                    unsafe { $max(bound, self) }
                }

                #[inline(always)]
                fn scale_exp2(self, whole: Self) -> Self {
                    // SAFETY: see above.
                    unsafe { $floats($add_integers($bits(self), $shift::<23>($bits(whole)))) }
                }

                #[inline(always)]
                fn guess_reciprocal(self) -> Self {
                    // SAFETY: see above.
                    unsafe { $floats($sub_integers($splat_integer(MIRROR.cast_signed()), $bits(self))) }
                }
            }
        };
    }

    lanes!(
        __m256,
        8,
        _mm256_loadu_ps,
        _mm256_loadu_si256,
        _mm256_cvtepi32_ps,
        _mm256_storeu_ps,
        _mm256_set1_ps,
        _mm256_add_ps,
        _mm256_mul_ps,
        _mm256_fmadd_ps,
        _mm256_min_ps,
        _mm256_max_ps,
        _mm256_castps_si256,
        _mm256_castsi256_ps,
        _mm256_slli_epi32,
        _mm256_add_epi32,
        _mm256_sub_epi32,
        _mm256_set1_epi32
    );
    lanes!(
        __m512,
        16,
        _mm512_loadu_ps,
        _mm512_loadu_si512,
        _mm512_cvtepi32_ps,
        _mm512_storeu_ps,
        _mm512_set1_ps,
        _mm512_add_ps,
        _mm512_mul_ps,
        _mm512_fmadd_ps,
        _mm512_min_ps,
        _mm512_max_ps,
        _mm512_castps_si512,
        _mm512_castsi512_ps,
        _mm512_slli_epi32,
        _mm512_add_epi32,
        _mm512_sub_epi32,
        _mm512_set1_epi32
    );
}
