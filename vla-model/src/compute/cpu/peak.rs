//! What the processor can do at best: the instruction that a kernel rests on, alone, in registers.
#![allow(unsafe_code, reason = "loops of single instructions")]

use super::Isa;

/// Operations of one call of [`float`] or [`int8`], and how they are done. A multiplication and an
/// addition are two.
pub(crate) struct Peak {
    pub(crate) operations: u64,
    pub(crate) run: fn(),
}

const ROUNDS: u64 = 200_000;
/// Sums in flight: enough to hide the latency of any of the instructions.
const SUMS: usize = 12;

/// f32 multiply-adds.
pub(crate) fn float(isa: Isa) -> Peak {
    match isa {
        #[cfg(target_arch = "x86_64")]
        Isa::Avx512 | Isa::Avx512Bf16 | Isa::Amx => peak(2 * 16 * SUMS, || {
            // SAFETY: an `Isa` is made only where the processor has it.
            unsafe { x86::float_512() }
        }),
        #[cfg(target_arch = "x86_64")]
        Isa::Avx2 | Isa::AvxVnni => peak(2 * 8 * SUMS, || {
            // SAFETY: as above.
            unsafe { x86::float_256() }
        }),
        _ => peak(2 * 4 * SUMS, portable_float),
    }
}

/// int8 products into 32-bit sums. Portable loops, for which no instruction is made, count as f32.
pub(crate) fn int8(isa: Isa) -> Peak {
    match isa {
        #[cfg(target_arch = "x86_64")]
        Isa::Amx => peak(2 * 16 * 16 * 64 * 4, || {
            let _tiles = super::tiles::Tiles::new();
            // SAFETY: as above, and the tiles are configured.
            unsafe { x86::tiles() }
        }),
        #[cfg(target_arch = "x86_64")]
        Isa::Avx512 | Isa::Avx512Bf16 => peak(2 * 64 * SUMS, || {
            // SAFETY: as above.
            unsafe { x86::vnni_512() }
        }),
        #[cfg(target_arch = "x86_64")]
        Isa::AvxVnni => peak(2 * 32 * SUMS, || {
            // SAFETY: as above.
            unsafe { x86::vnni_256() }
        }),
        #[cfg(target_arch = "x86_64")]
        Isa::Avx2 => peak(2 * 32 * SUMS, || {
            // SAFETY: as above.
            unsafe { x86::multiply_add_256() }
        }),
        #[cfg(target_arch = "aarch64")]
        Isa::NeonDot => peak(2 * 16 * SUMS, || {
            // SAFETY: as above.
            unsafe { dot_product() }
        }),
        _ => float(isa),
    }
}

fn peak(operations_per_round: usize, run: fn()) -> Peak {
    Peak { operations: operations_per_round as u64 * ROUNDS, run }
}

fn portable_float() {
    let [a, b] = std::hint::black_box([[0.5_f32; 4], [1.0; 4]]);
    let mut sums = [[0.0_f32; 4]; SUMS];
    for _ in 0..ROUNDS {
        for sum in &mut sums {
            for lane in 0..4 {
                sum[lane] = sum[lane] * a[lane] + b[lane];
            }
        }
    }
    std::hint::black_box(sums);
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::asm;
    use std::arch::x86_64::*;
    use std::hint::black_box;

    use super::{ROUNDS, SUMS};

    #[target_feature(enable = "avx512f")]
    pub(super) fn float_512() {
        let [a, b] = black_box([_mm512_set1_ps(0.5), _mm512_set1_ps(1.0)]);
        let mut sums = [_mm512_setzero_ps(); SUMS];
        for _ in 0..ROUNDS {
            sums = sums.map(|sum| _mm512_fmadd_ps(sum, a, b));
        }
        black_box(sums);
    }

    #[target_feature(enable = "avx2,fma")]
    pub(super) fn float_256() {
        let [a, b] = black_box([_mm256_set1_ps(0.5), _mm256_set1_ps(1.0)]);
        let mut sums = [_mm256_setzero_ps(); SUMS];
        for _ in 0..ROUNDS {
            sums = sums.map(|sum| _mm256_fmadd_ps(sum, a, b));
        }
        black_box(sums);
    }

    #[target_feature(enable = "avx512f,avx512vnni")]
    pub(super) fn vnni_512() {
        let [a, b] = black_box([_mm512_set1_epi8(3), _mm512_set1_epi8(-5)]);
        let mut sums = [_mm512_setzero_si512(); SUMS];
        for _ in 0..ROUNDS {
            sums = sums.map(|sum| _mm512_dpbusd_epi32(sum, a, b));
        }
        black_box(sums);
    }

    #[target_feature(enable = "avx2,avxvnni")]
    pub(super) fn vnni_256() {
        let [a, b] = black_box([_mm256_set1_epi8(3), _mm256_set1_epi8(-5)]);
        let mut sums = [_mm256_setzero_si256(); SUMS];
        for _ in 0..ROUNDS {
            sums = sums.map(|sum| _mm256_dpbusd_avx_epi32(sum, a, b));
        }
        black_box(sums);
    }

    /// The three instructions that take the place of one dot product.
    #[target_feature(enable = "avx2")]
    pub(super) fn multiply_add_256() {
        let [a, b, ones] = black_box([_mm256_set1_epi8(3), _mm256_set1_epi8(-5), _mm256_set1_epi16(1)]);
        let mut sums = [_mm256_setzero_si256(); SUMS];
        for _ in 0..ROUNDS {
            // The left side hangs on the sum, lest the products be taken out of the loop.
            sums = sums.map(|sum| {
                let pairs = _mm256_maddubs_epi16(_mm256_xor_si256(a, sum), b);
                _mm256_add_epi32(sum, _mm256_madd_epi16(pairs, ones))
            });
        }
        black_box(sums);
    }

    /// # Safety
    /// The tiles are configured.
    pub(super) unsafe fn tiles() {
        // SAFETY: tile registers only, which are the caller's.
        unsafe {
            asm!(
                "tilezero tmm0",
                "tilezero tmm1",
                "tilezero tmm2",
                "tilezero tmm3",
                "tilezero tmm4",
                "tilezero tmm5",
                "tilezero tmm6",
                "tilezero tmm7",
                "2:",
                "tdpbssd tmm0, tmm4, tmm6",
                "tdpbssd tmm1, tmm4, tmm7",
                "tdpbssd tmm2, tmm5, tmm6",
                "tdpbssd tmm3, tmm5, tmm7",
                "dec {rounds}",
                "jnz 2b",
                rounds = inout(reg) ROUNDS => _,
                options(nomem, nostack),
            );
        }
    }
}

#[cfg(target_arch = "aarch64")]
#[target_feature(enable = "neon,dotprod")]
fn dot_product() {
    use std::arch::aarch64::{vdupq_n_s8, vdupq_n_s32};
    let [a, b] = std::hint::black_box([vdupq_n_s8(3), vdupq_n_s8(-5)]);
    let mut sums = [vdupq_n_s32(0); SUMS];
    for _ in 0..ROUNDS {
        sums = sums.map(|sum| super::kernels::neon::dot(sum, a, b));
    }
    std::hint::black_box(sums);
}
