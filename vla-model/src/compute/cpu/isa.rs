//! What the processor can do.
#![allow(unsafe_code, reason = "cpuid and the permission for tile registers")]

use std::sync::OnceLock;

/// An instruction set that kernels are written for, from least to most.
///
/// Every one gives the same integers in int8 and int4 layers, and the same bits after them. f32 and bf16
/// layers give the same bits on all that have a fused multiply-add, that is on all but
/// [`Isa::Portable`] on x86-64.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Isa {
    /// What the compiler assumes: SSE2 on x86-64, NEON on Arm.
    Portable,
    /// Arm with the int8 dot product (`FEAT_DotProd`).
    NeonDot,
    /// AVX2 with FMA and half-float conversion.
    Avx2,
    /// The same with 256-bit int8 dot products (AVX-VNNI).
    AvxVnni,
    /// AVX-512 F, BW, DQ, VL and VNNI.
    Avx512,
    /// The same with bf16 dot products.
    Avx512Bf16,
    /// The same with tile registers for int8 and bf16, which the system has granted to this process.
    Amx,
}

impl Isa {
    /// Every one, least first.
    pub const ALL: [Self; 7] =
        [Self::Portable, Self::NeonDot, Self::Avx2, Self::AvxVnni, Self::Avx512, Self::Avx512Bf16, Self::Amx];

    /// The most that this process may use; looked up once.
    #[must_use]
    pub fn detect() -> Self {
        Self::available().last().copied().unwrap_or(Self::Portable)
    }

    /// All that this process may use, least first. The first call asks the system for tile registers.
    #[must_use]
    pub fn available() -> &'static [Self] {
        static AVAILABLE: OnceLock<Vec<Isa>> = OnceLock::new();
        AVAILABLE.get_or_init(|| Self::ALL.into_iter().filter(|isa| has(*isa)).collect())
    }

    /// In words: `AVX-512 VNNI`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Portable => "portable",
            Self::NeonDot => "NEON dot product",
            Self::Avx2 => "AVX2",
            Self::AvxVnni => "AVX-VNNI",
            Self::Avx512 => "AVX-512 VNNI",
            Self::Avx512Bf16 => "AVX-512 VNNI BF16",
            Self::Amx => "AMX",
        }
    }
}

#[cfg(target_arch = "x86_64")]
fn has(isa: Isa) -> bool {
    use std::arch::is_x86_feature_detected as has;
    let avx2 = has!("avx2") && has!("fma") && has!("f16c");
    let foundation = has!("avx512f") && has!("avx512bw") && has!("avx512dq") && has!("avx512vl");
    let avx512 = avx2 && foundation && has!("avx512vnni");
    match isa {
        Isa::Portable => true,
        Isa::NeonDot => false,
        Isa::Avx2 => avx2,
        Isa::AvxVnni => avx2 && has!("avxvnni"),
        Isa::Avx512 => avx512,
        Isa::Avx512Bf16 => avx512 && has!("avx512bf16"),
        Isa::Amx => avx512 && has!("avx512bf16") && amx_granted(),
    }
}

#[cfg(target_arch = "aarch64")]
fn has(isa: Isa) -> bool {
    match isa {
        Isa::Portable => true,
        Isa::NeonDot => std::arch::is_aarch64_feature_detected!("dotprod"),
        _ => false,
    }
}

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
fn has(isa: Isa) -> bool {
    isa == Isa::Portable
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
    // SAFETY: the call takes two integers and changes only what this process may use. It fails where the
    // system does not save tile registers.
    unsafe { libc::syscall(libc::SYS_arch_prctl, ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA) == 0 }
}

#[cfg(all(target_arch = "x86_64", not(target_os = "linux")))]
fn amx_granted() -> bool {
    false
}

/// Calls a function that is `#[inline(always)]` and has no instructions of its own, compiled for `isa`.
/// It must give the same bits however it is compiled.
macro_rules! isa_call {
    ($isa:expr, $body:ident($($name:ident: $type:ty),*) -> $result:ty) => {{
        #[cfg(target_arch = "x86_64")]
        {
            #[target_feature(enable = "avx2,fma")]
            fn avx2($($name: $type),*) -> $result {
                $body($($name),*)
            }
            #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")]
            fn avx512($($name: $type),*) -> $result {
                $body($($name),*)
            }
            match $isa {
                // SAFETY: an `Isa` other than the portable one is made only where the processor has it.
                Isa::Avx2 | Isa::AvxVnni => unsafe { avx2($($name),*) },
                // SAFETY: as above.
                Isa::Avx512 | Isa::Avx512Bf16 | Isa::Amx => unsafe { avx512($($name),*) },
                Isa::Portable | Isa::NeonDot => $body($($name),*),
            }
        }
        #[cfg(not(target_arch = "x86_64"))]
        {
            let _ = $isa;
            $body($($name),*)
        }
    }};
}
pub(super) use isa_call;
