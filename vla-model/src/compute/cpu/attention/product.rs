//! Small matrix products: a block of queries with packed keys, its weights with packed values.
//!
//! The packed side is in column blocks of sixteen: `[block][depth][16]`, where a bf16 word holds two
//! neighbours in depth, the even one in the low half.

use super::softmax::multiply_add;
use super::{Isa, QUERIES};

/// `c += a · b`, or `c = a · b`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shape {
    /// Rows that count, of [`QUERIES`]; those after may be overwritten.
    pub(super) rows: usize,
    /// Values from one row of `a` to the next.
    pub(super) a_stride: usize,
    /// Words from one column block of `b` to the next.
    pub(super) b_stride: usize,
    /// Words of a column: values, or pairs of them.
    pub(super) depth: usize,
    /// Column blocks; even.
    pub(super) blocks: usize,
    /// Values from one row of `c` to the next.
    pub(super) c_stride: usize,
    /// Whether `c` is added to.
    pub(super) add: bool,
}

/// A product with its two sides and its sums.
struct Product<'a, A, B> {
    shape: Shape,
    a: &'a [A],
    b: &'a [B],
    c: &'a mut [f32],
}

/// f32 products.
pub(super) fn floats(isa: Isa, shape: Shape, a: &[f32], b: &[f32], c: &mut [f32]) {
    shape.check(1, [a.len(), b.len(), c.len()]);
    let product = Product { shape, a, b, c };
    #[cfg(target_arch = "x86_64")]
    {
        #[target_feature(enable = "avx2,fma")]
        fn avx2(product: Product<'_, f32, f32>) {
            product.floats::<true, 4, 1>();
        }
        #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")]
        fn avx512(product: Product<'_, f32, f32>) {
            product.floats::<true, 8, 2>();
        }
        match isa {
            // SAFETY: an `Isa` other than the portable one is made only where the processor has it.
            Isa::Avx2 | Isa::AvxVnni => unsafe { avx2(product) },
            // SAFETY: as above.
            Isa::Avx512 | Isa::Avx512Bf16 | Isa::Amx => unsafe { avx512(product) },
            Isa::Portable | Isa::NeonDot => product.floats::<false, 2, 1>(),
        }
    }
    #[cfg(not(target_arch = "x86_64"))]
    {
        let _ = isa;
        product.floats::<{ cfg!(target_arch = "aarch64") }, 4, 1>();
    }
}

/// bf16 products, where [`has_pairs`]; on [`Isa::Amx`] the depth is a multiple of 16.
pub(super) fn pairs(isa: Isa, shape: Shape, a: &[u16], b: &[u32], c: &mut [f32]) {
    shape.check(2, [a.len(), b.len(), c.len()]);
    let product = Product { shape, a, b, c };
    #[cfg(target_arch = "x86_64")]
    match isa {
        Isa::Amx => product.tiles(),
        // SAFETY: the processor has it.
        Isa::Avx512Bf16 => unsafe { product.dots() },
        _ => unreachable!("{} multiplies no bf16", isa.name()),
    }
    #[cfg(not(target_arch = "x86_64"))]
    unreachable!("{} multiplies no bf16: {:?}", isa.name(), product.shape);
}

/// Whether the processor multiplies bf16.
pub(super) fn has_pairs(isa: Isa) -> bool {
    matches!(isa, Isa::Avx512Bf16 | Isa::Amx)
}

impl Shape {
    /// That the kernels, which read and write by pointer, stay inside.
    fn check(&self, values_per_word: usize, [a, b, c]: [usize; 3]) {
        assert!(self.rows <= QUERIES && self.blocks.is_multiple_of(2));
        assert!(self.depth * values_per_word <= self.a_stride && a >= QUERIES * self.a_stride);
        assert!(self.depth * 16 <= self.b_stride && b >= self.blocks * self.b_stride);
        assert!(self.blocks * 16 <= self.c_stride && c >= QUERIES * self.c_stride);
    }
}

impl Product<'_, f32, f32> {
    /// In tiles of `ROWS` rows, a divisor of [`QUERIES`], and `WIDE` column blocks.
    #[inline(always)]
    fn floats<const FUSED: bool, const ROWS: usize, const WIDE: usize>(self) {
        let shape = self.shape;
        for from in (0..shape.rows).step_by(ROWS) {
            for block in (0..shape.blocks).step_by(WIDE) {
                let mut sums = [[[0.0; 16]; WIDE]; ROWS];
                if shape.add {
                    for (row, sums) in sums.iter_mut().enumerate() {
                        let c = &self.c[(from + row) * shape.c_stride + block * 16..];
                        for (sums, c) in sums.iter_mut().zip(c.as_chunks().0) {
                            *sums = *c;
                        }
                    }
                }
                let a: [&[f32]; ROWS] =
                    std::array::from_fn(|row| &self.a[(from + row) * shape.a_stride..][..shape.depth]);
                let b: [&[[f32; 16]]; WIDE] = std::array::from_fn(|at| {
                    let block = &self.b[(block + at) * shape.b_stride..][..shape.depth * 16];
                    block.as_chunks().0
                });
                for depth in 0..shape.depth {
                    for row in 0..ROWS {
                        // SAFETY: every slice of `a` and `b` has `shape.depth` entries.
                        let left = unsafe { *a[row].get_unchecked(depth) };
                        for at in 0..WIDE {
                            // SAFETY: as above.
                            let right = unsafe { b[at].get_unchecked(depth) };
                            for lane in 0..16 {
                                let sum = &mut sums[row][at][lane];
                                *sum = multiply_add::<FUSED>(left, right[lane], *sum);
                            }
                        }
                    }
                }
                for (row, sums) in sums.iter().enumerate() {
                    let c = &mut self.c[(from + row) * shape.c_stride + block * 16..];
                    for (sums, c) in sums.iter().zip(c.as_chunks_mut().0) {
                        *c = *sums;
                    }
                }
            }
        }
    }
}

#[cfg(target_arch = "x86_64")]
impl Product<'_, u16, u32> {
    fn tiles(self) {
        use std::arch::asm;
        let shape = self.shape;
        assert!(shape.depth.is_multiple_of(16) && shape.depth > 0);
        let _tiles = super::tiles::Tiles::new();
        for block in (0..shape.blocks).step_by(2) {
            let b = self.b[block * shape.b_stride..].as_ptr();
            let c = self.c[block * 16..].as_mut_ptr();
            let (a_line, c_line) = (shape.a_stride * 2, shape.c_stride * 4);
            // SAFETY: `check` holds all that is read and written inside its slice: 32 rows of `a` and `c`,
            // two column blocks of `b` and `c`.
            unsafe {
                asm!(
                    "test {add}, {add}",
                    "jz 3f",
                    "tileloadd tmm0, [{c} + {c_line}]",
                    "tileloadd tmm1, [{c} + {c_line} + 64]",
                    "tileloadd tmm2, [{c_lower} + {c_line}]",
                    "tileloadd tmm3, [{c_lower} + {c_line} + 64]",
                    "jmp 2f",
                    "3:",
                    "tilezero tmm0",
                    "tilezero tmm1",
                    "tilezero tmm2",
                    "tilezero tmm3",
                    "2:",
                    "tileloadd tmm4, [{b} + {line}]",
                    "tileloadd tmm6, [{a} + {a_line}]",
                    "tileloadd tmm5, [{b_next} + {line}]",
                    "tdpbf16ps tmm0, tmm6, tmm4",
                    "tileloadd tmm7, [{a_lower} + {a_line}]",
                    "tdpbf16ps tmm1, tmm6, tmm5",
                    "tdpbf16ps tmm2, tmm7, tmm4",
                    "tdpbf16ps tmm3, tmm7, tmm5",
                    "add {a}, 64",
                    "add {a_lower}, 64",
                    "add {b}, 1024",
                    "add {b_next}, 1024",
                    "dec {steps}",
                    "jnz 2b",
                    "tilestored [{c} + {c_line}], tmm0",
                    "tilestored [{c} + {c_line} + 64], tmm1",
                    "tilestored [{c_lower} + {c_line}], tmm2",
                    "tilestored [{c_lower} + {c_line} + 64], tmm3",
                    add = in(reg) usize::from(shape.add),
                    a = inout(reg) self.a.as_ptr() => _,
                    a_lower = inout(reg) self.a.as_ptr().add(16 * shape.a_stride) => _,
                    a_line = in(reg) a_line,
                    b = inout(reg) b => _,
                    b_next = inout(reg) b.add(shape.b_stride) => _,
                    c = in(reg) c,
                    c_lower = in(reg) c.add(16 * shape.c_stride),
                    c_line = in(reg) c_line,
                    line = in(reg) 64_usize,
                    steps = inout(reg) shape.depth / 16 => _,
                    options(nostack),
                );
            }
        }
    }

    #[target_feature(enable = "avx512f,avx512bf16")]
    fn dots(self) {
        use std::arch::x86_64::{
            __m512bh, __m512i, _mm512_dpbf16_ps, _mm512_loadu_ps, _mm512_loadu_si512, _mm512_set1_epi32,
            _mm512_setzero_ps, _mm512_storeu_ps,
        };
        // SAFETY: both are 512 bits of which all patterns are values.
        let pairs = |words: __m512i| unsafe { std::mem::transmute::<__m512i, __m512bh>(words) };
        const ROWS: usize = 8;
        let shape = self.shape;
        for from in (0..shape.rows).step_by(ROWS) {
            for block in (0..shape.blocks).step_by(2) {
                let a = self.a[from * shape.a_stride..].as_ptr();
                let b = self.b[block * shape.b_stride..].as_ptr();
                let c = self.c[from * shape.c_stride + block * 16..].as_mut_ptr();
                // SAFETY: `check` holds all that is read and written inside its slice: `ROWS` more rows of
                // `a` and `c`, two column blocks of `b` and `c`.
                unsafe {
                    let mut sums = [[_mm512_setzero_ps(); 2]; ROWS];
                    if shape.add {
                        for (row, sums) in sums.iter_mut().enumerate() {
                            sums[0] = _mm512_loadu_ps(c.add(row * shape.c_stride));
                            sums[1] = _mm512_loadu_ps(c.add(row * shape.c_stride + 16));
                        }
                    }
                    for depth in 0..shape.depth {
                        let left = pairs(_mm512_loadu_si512(b.add(depth * 16).cast()));
                        let right = pairs(_mm512_loadu_si512(b.add(shape.b_stride + depth * 16).cast()));
                        for (row, sums) in sums.iter_mut().enumerate() {
                            let word = a.add(row * shape.a_stride + 2 * depth).cast::<i32>().read_unaligned();
                            let a = pairs(_mm512_set1_epi32(word));
                            sums[0] = _mm512_dpbf16_ps(sums[0], a, left);
                            sums[1] = _mm512_dpbf16_ps(sums[1], a, right);
                        }
                    }
                    for (row, sums) in sums.iter().enumerate() {
                        _mm512_storeu_ps(c.add(row * shape.c_stride), sums[0]);
                        _mm512_storeu_ps(c.add(row * shape.c_stride + 16), sums[1]);
                    }
                }
            }
        }
    }
}
