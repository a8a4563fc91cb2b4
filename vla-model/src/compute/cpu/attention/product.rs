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
    match isa {
        // SAFETY: an `Isa` other than the portable one is made only where the processor has it.
        Isa::Avx2 | Isa::AvxVnni => unsafe { product.avx2() },
        // SAFETY: as above.
        Isa::Avx512 | Isa::Avx512Bf16 | Isa::Amx => unsafe { product.avx512() },
        Isa::Portable | Isa::NeonDot => product.portable::<false>(),
    }
    #[cfg(not(target_arch = "x86_64"))]
    {
        let _ = isa;
        product.portable::<{ cfg!(target_arch = "aarch64") }>();
    }
}

/// bf16 products, where [`has_pairs`]; on [`Isa::Amx`] the depth is a multiple of 16.
///
/// # Safety
/// On [`Isa::Amx`], [`super::tiles::Tiles`] are alive on this thread.
pub(super) unsafe fn pairs(isa: Isa, shape: Shape, a: &[u16], b: &[u32], c: &mut [f32]) {
    shape.check(2, [a.len(), b.len(), c.len()]);
    let product = Product { shape, a, b, c };
    #[cfg(target_arch = "x86_64")]
    match isa {
        // SAFETY: the caller's.
        Isa::Amx => unsafe { product.tiles() },
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
    /// Tiles of 8 rows by 32 columns.
    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx512f")]
    fn avx512(self) {
        use std::arch::x86_64::{
            _mm512_fmadd_ps, _mm512_loadu_ps, _mm512_set1_ps, _mm512_setzero_ps, _mm512_storeu_ps,
        };
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
                        let left = _mm512_loadu_ps(b.add(depth * 16));
                        let right = _mm512_loadu_ps(b.add(shape.b_stride + depth * 16));
                        for (row, sums) in sums.iter_mut().enumerate() {
                            let a = _mm512_set1_ps(*a.add(row * shape.a_stride + depth));
                            sums[0] = _mm512_fmadd_ps(a, left, sums[0]);
                            sums[1] = _mm512_fmadd_ps(a, right, sums[1]);
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

    /// Tiles of 4 rows by 16 columns.
    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx2,fma")]
    fn avx2(self) {
        use std::arch::x86_64::{
            _mm256_fmadd_ps, _mm256_loadu_ps, _mm256_set1_ps, _mm256_setzero_ps, _mm256_storeu_ps,
        };
        const ROWS: usize = 4;
        let shape = self.shape;
        for from in (0..shape.rows).step_by(ROWS) {
            for block in (0..shape.blocks).step_by(1) {
                let a = self.a[from * shape.a_stride..].as_ptr();
                let b = self.b[block * shape.b_stride..].as_ptr();
                let c = self.c[from * shape.c_stride + block * 16..].as_mut_ptr();
                // SAFETY: `check` holds all that is read and written inside its slice: `ROWS` more rows of
                // `a` and `c`, one column block of `b` and `c`.
                unsafe {
                    let mut sums = [[_mm256_setzero_ps(); 2]; ROWS];
                    if shape.add {
                        for (row, sums) in sums.iter_mut().enumerate() {
                            sums[0] = _mm256_loadu_ps(c.add(row * shape.c_stride));
                            sums[1] = _mm256_loadu_ps(c.add(row * shape.c_stride + 8));
                        }
                    }
                    for depth in 0..shape.depth {
                        let left = _mm256_loadu_ps(b.add(depth * 16));
                        let right = _mm256_loadu_ps(b.add(depth * 16 + 8));
                        for (row, sums) in sums.iter_mut().enumerate() {
                            let a = _mm256_set1_ps(*a.add(row * shape.a_stride + depth));
                            sums[0] = _mm256_fmadd_ps(a, left, sums[0]);
                            sums[1] = _mm256_fmadd_ps(a, right, sums[1]);
                        }
                    }
                    for (row, sums) in sums.iter().enumerate() {
                        _mm256_storeu_ps(c.add(row * shape.c_stride), sums[0]);
                        _mm256_storeu_ps(c.add(row * shape.c_stride + 8), sums[1]);
                    }
                }
            }
        }
    }

    /// Two rows by sixteen columns at a time, which compilers keep in registers.
    fn portable<const FUSED: bool>(self) {
        let shape = self.shape;
        for from in (0..shape.rows).step_by(2) {
            let row = |row: usize| &self.a[(from + row) * shape.a_stride..][..shape.depth];
            let (upper, lower) = (row(0), row(1));
            for block in 0..shape.blocks {
                let at = [0, 1].map(|row| (from + row) * shape.c_stride + block * 16);
                let (mut top, mut bottom) = ([0.0; 16], [0.0; 16]);
                if shape.add {
                    top.copy_from_slice(&self.c[at[0]..][..16]);
                    bottom.copy_from_slice(&self.c[at[1]..][..16]);
                }
                let b = &self.b[block * shape.b_stride..][..shape.depth * 16];
                for ((upper, lower), b) in upper.iter().zip(lower).zip(b.as_chunks::<16>().0) {
                    for lane in 0..16 {
                        top[lane] = multiply_add::<FUSED>(*upper, b[lane], top[lane]);
                        bottom[lane] = multiply_add::<FUSED>(*lower, b[lane], bottom[lane]);
                    }
                }
                self.c[at[0]..][..16].copy_from_slice(&top);
                self.c[at[1]..][..16].copy_from_slice(&bottom);
            }
        }
    }
}

#[cfg(target_arch = "x86_64")]
impl Product<'_, u16, u32> {
    /// # Safety
    /// [`super::tiles::Tiles`] are alive on this thread.
    unsafe fn tiles(self) {
        use std::arch::asm;
        let shape = self.shape;
        assert!(shape.depth.is_multiple_of(16) && shape.depth > 0);
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
