//! AMX: up to 32 rows by 32 outputs in four tile registers.
//!
//! The compiler knows nothing of tile registers, so each loop is one piece of assembly that leaves
//! nothing in them.

use std::arch::asm;

use super::Tile;

/// # Safety
/// The tile registers are in use on this thread. `a` holds `rows` rows, rounded up to 16, of `4 · quads`
/// values, in tiles of sixteen rows and 64 values, the next sixteen rows `below` bytes further; `b` is an
/// int8 panel; `quads` is a multiple of 16 and not zero.
pub(super) unsafe fn int8(
    rows: usize,
    a: *const i8,
    below: usize,
    b: *const i8,
    quads: usize,
    sums: &mut Tile<i32>,
) {
    let steps = quads / 16;
    if rows > 16 {
        // SAFETY: the caller's; the assembly reads the two sides and writes the whole of `sums`.
        unsafe {
            asm!(
                "tilezero tmm0",
                "tilezero tmm1",
                "tilezero tmm2",
                "tilezero tmm3",
                "2:",
                "tileloadd tmm4, [{b} + {line}]",
                "tileloadd tmm6, [{a} + {row}]",
                "tdpbssd tmm0, tmm6, tmm4",
                "tileloadd tmm7, [{lower} + {row}]",
                "tdpbssd tmm2, tmm7, tmm4",
                "tileloadd tmm5, [{b} + {line} + 64]",
                "tdpbssd tmm1, tmm6, tmm5",
                "tdpbssd tmm3, tmm7, tmm5",
                "add {a}, 1024",
                "add {lower}, 1024",
                "add {b}, 2048",
                "dec {steps}",
                "jnz 2b",
                "tilestored [{sums} + {line}], tmm0",
                "tilestored [{sums} + {line} + 64], tmm1",
                "tilestored [{sums} + {line} + 2048], tmm2",
                "tilestored [{sums} + {line} + 2112], tmm3",
                a = inout(reg) a => _,
                lower = inout(reg) a.add(below) => _,
                b = inout(reg) b => _,
                steps = inout(reg) steps => _,
                sums = in(reg) sums,
                row = in(reg) 64_usize,
                line = in(reg) 128_usize,
                options(nostack),
            );
        }
    } else {
        // SAFETY: as above, for the upper half of `sums`.
        unsafe {
            asm!(
                "tilezero tmm0",
                "tilezero tmm1",
                "2:",
                "tileloadd tmm4, [{b} + {line}]",
                "tileloadd tmm6, [{a} + {row}]",
                "tileloadd tmm5, [{b} + {line} + 64]",
                "tdpbssd tmm0, tmm6, tmm4",
                "tdpbssd tmm1, tmm6, tmm5",
                "add {a}, 1024",
                "add {b}, 2048",
                "dec {steps}",
                "jnz 2b",
                "tilestored [{sums} + {line}], tmm0",
                "tilestored [{sums} + {line} + 64], tmm1",
                a = inout(reg) a => _,
                b = inout(reg) b => _,
                steps = inout(reg) steps => _,
                sums = in(reg) sums,
                row = in(reg) 64_usize,
                line = in(reg) 128_usize,
                options(nostack),
            );
        }
    }
}
