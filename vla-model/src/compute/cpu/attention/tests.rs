use proptest::prelude::*;

use super::super::reference;
use super::*;
use crate::compute::{Backend, Rows};

fn noise(count: usize, seed: u64) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    (0..count)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 40) as f32 / (1 << 23) as f32 - 1.0
        })
        .collect()
}

/// Queries, and segments of keys and values side by side, of some shape.
struct Case {
    shape: Attention,
    queries: Rows,
    segments: Vec<Rows>,
    sequences: usize,
    sight: Sight,
}

impl Case {
    fn new(shape: Attention, [sequences, queries]: [usize; 2], segments: &[usize], sight: Sight) -> Self {
        let backend = Backend::cpu(1);
        let rows = |per_sequence: usize, width: usize, seed: u64| {
            let count = sequences * per_sequence;
            let values: Vec<f32> = noise(count * width, seed).iter().map(|x| 3.0 * x).collect();
            Rows::upload(&backend, &values, count, width)
        };
        let kv_width = 2 * shape.kv_heads * shape.head_dim + 3;
        Self {
            shape,
            queries: rows(queries, shape.heads * shape.head_dim + 5, 1),
            segments: segments.iter().zip(2..).map(|(count, seed)| rows(*count, kv_width, seed)).collect(),
            sequences,
            sight,
        }
    }

    fn with(&self, compute: impl Fn(&Attention, Columns<'_>, &[KeysValues<'_>], &mut [f32])) -> Vec<f32> {
        let segments: Vec<_> = self
            .segments
            .iter()
            .map(|rows| KeysValues {
                keys: Columns::new(rows, 1),
                values: Columns::new(rows, 2 + self.shape.kv_heads * self.shape.head_dim),
            })
            .collect();
        let mut output = vec![f32::NAN; self.queries.count * self.shape.heads * self.shape.head_dim];
        compute(&self.shape, Columns::new(&self.queries, 5), &segments, &mut output);
        output
    }

    fn expected(&self) -> Vec<f32> {
        let cpu = Cpu::with_isa(1, Isa::Portable);
        self.with(|shape, queries, segments, output| {
            reference::attention(&cpu, shape, queries, segments, self.sequences, self.sight, output);
        })
    }

    fn actual(&self, isa: Isa, threads: usize) -> Vec<f32> {
        let cpu = Cpu::with_isa(threads, isa);
        self.with(|shape, queries, segments, output| {
            attention(&cpu, shape, queries, segments, self.sequences, self.sight, output);
        })
    }

    fn check(&self) {
        let expected = self.expected();
        let tolerance = if self.shape.reduced { 4e-2 } else { 2e-5 };
        for isa in Isa::available() {
            let actual = self.actual(*isa, 1);
            for (at, (a, b)) in expected.iter().zip(&actual).enumerate() {
                assert!((a - b).abs() <= tolerance || a.is_nan() && b.is_nan(), "{isa:?} at {at}: {a} {b}");
            }
            assert_eq!(bits(&actual), bits(&self.actual(*isa, 3)), "{isa:?} on three threads");
        }
    }
}

fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|value| value.to_bits()).collect()
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 48,
        failure_persistence: None,
        rng_seed: proptest::test_runner::RngSeed::Fixed(11),
        ..ProptestConfig::default()
    })]

    #[test]
    fn every_kernel_gives_what_the_definition_gives(
        [kv_heads, group, sequences] in [1..4_usize, 1..4_usize, 1..3_usize],
        head_dim in prop_oneof![1..40_usize, Just(64), Just(80)],
        queries in 1..70_usize,
        segments in prop::collection::vec(0..200_usize, 1..4),
        own in 1..70_usize,
        sight in 0..3,
        reduced: bool,
    ) {
        let mut segments = segments;
        segments.push(own.max(queries));
        let before = segments.iter().sum::<usize>() - own.max(queries);
        let sight = match sight {
            0 => Sight::All,
            1 => Sight::Causal { before },
            _ => Sight::LastHidden,
        };
        let shape = Attention { heads: kv_heads * group, kv_heads, head_dim, reduced };
        Case::new(shape, [sequences, queries], &segments, sight).check();
    }
}

#[test]
fn the_shapes_of_the_models() {
    let shape = |heads, kv_heads, reduced| Attention { heads, kv_heads, head_dim: 64, reduced };
    for reduced in [false, true] {
        Case::new(shape(1, 1, reduced), [2, 256], &[256], Sight::All).check();
        Case::new(shape(15, 5, reduced), [1, 65], &[65], Sight::LastHidden).check();
        Case::new(shape(15, 5, reduced), [1, 50], &[113, 50], Sight::Causal { before: 113 }).check();
    }
}

#[test]
fn a_query_that_sees_nothing_or_nan_gives_nan() {
    for reduced in [false, true] {
        let shape = Attention { heads: 1, kv_heads: 1, head_dim: 8, reduced };
        let alone = Case::new(shape, [1, 3], &[1], Sight::LastHidden);
        for isa in Isa::available() {
            let actual = alone.actual(*isa, 1);
            assert!(actual[..16].iter().all(|value| value.is_nan()), "{isa:?}");
            assert!(actual[16..].iter().all(|value| value.is_finite()), "{isa:?}");
        }
        for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            let mut case = Case::new(shape, [1, 40], &[300], Sight::All);
            let row = 35;
            case.queries.data.as_mut_slice()[row * 13 + 5] = bad;
            for isa in Isa::available() {
                let actual = case.actual(*isa, 1);
                assert!(actual[row * 8..][..8].iter().all(|value| value.is_nan()), "{isa:?} {bad}");
                assert!(actual[..row * 8].iter().all(|value| value.is_finite()), "{isa:?} {bad}");
            }
        }
    }
}
