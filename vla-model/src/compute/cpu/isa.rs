//! What the processor can do.
#![allow(unsafe_code, reason = "cpuid and the permission for tile registers")]

use std::sync::OnceLock;

/// Instruction sets that kernels are written for, from least to most: a processor that has one has all
/// before it of its architecture.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Isa {
    /// What the compiler assumes.
    Portable,
    /// Arm with the int8 dot product (`FEAT_DotProd`).
    NeonDot,
    /// AVX2 with FMA and half-float conversion.
    Avx2,
    /// AVX-512 F, BW, DQ, VL and VNNI.
    Avx512,
    /// The same with bf16 dot products.
    Avx512Bf16,
    /// The same with tile registers for int8 and bf16, which the system has granted to this process.
    Amx,
}

impl Isa {
    /// The most that this process may use; looked up once.
    pub(crate) fn detect() -> Self {
        static BEST: OnceLock<Isa> = OnceLock::new();
        *BEST.get_or_init(detect)
    }

    /// All that this process may use, least first.
    #[cfg(test)]
    pub(crate) fn available() -> Vec<Self> {
        let best = Self::detect();
        let arm = cfg!(target_arch = "aarch64");
        let all = [Self::Portable, Self::NeonDot, Self::Avx2, Self::Avx512, Self::Avx512Bf16, Self::Amx];
        all.into_iter().filter(|isa| *isa <= best && (arm || *isa != Self::NeonDot)).collect()
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Portable => "portable",
            Self::NeonDot => "NEON dot product",
            Self::Avx2 => "AVX2",
            Self::Avx512 => "AVX-512 VNNI",
            Self::Avx512Bf16 => "AVX-512 VNNI BF16",
            Self::Amx => "AMX",
        }
    }
}

#[cfg(target_arch = "x86_64")]
fn detect() -> Isa {
    use std::arch::is_x86_feature_detected as has;
    if !(has!("avx2") && has!("fma") && has!("f16c")) {
        return Isa::Portable;
    }
    let foundation = has!("avx512f") && has!("avx512bw") && has!("avx512dq") && has!("avx512vl");
    if !(foundation && has!("avx512vnni")) {
        return Isa::Avx2;
    }
    if !has!("avx512bf16") {
        return Isa::Avx512;
    }
    if amx_granted() { Isa::Amx } else { Isa::Avx512Bf16 }
}

#[cfg(target_arch = "aarch64")]
fn detect() -> Isa {
    if std::arch::is_aarch64_feature_detected!("dotprod") { Isa::NeonDot } else { Isa::Portable }
}

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
fn detect() -> Isa {
    Isa::Portable
}

/// Tile registers are large, so Linux gives them only to a process that asks (since 5.16); once granted,
/// all of its threads have them.
#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
fn amx_granted() -> bool {
    use std::arch::x86_64::{__cpuid, __cpuid_count};
    const ARCH_REQ_XCOMP_PERM: libc::c_long = 0x1023;
    const XFEATURE_XTILEDATA: libc::c_long = 18;
    const BF16_TILE_INT8: u32 = 1 << 22 | 1 << 24 | 1 << 25;
    #[allow(unused_unsafe, reason = "safe in some toolchains")]
    // SAFETY: every x86-64 processor has `cpuid`; leaf 7 is asked for only where it exists.
    let features = unsafe { if __cpuid(0).eax < 7 { 0 } else { __cpuid_count(7, 0).edx } };
    if features & BF16_TILE_INT8 != BF16_TILE_INT8 {
        return false;
    }
    // SAFETY: the call takes two integers and changes only what this process may use.
    unsafe { libc::syscall(libc::SYS_arch_prctl, ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA) == 0 }
}

#[cfg(all(target_arch = "x86_64", not(target_os = "linux")))]
fn amx_granted() -> bool {
    false
}
