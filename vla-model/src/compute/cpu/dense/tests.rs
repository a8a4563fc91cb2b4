//! Every kernel against the definition of a layer, in f64.
#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

use proptest::prelude::*;

use super::*;
use crate::compute::weight::{INT4_BLOCK, Weight, WeightValues};
use crate::compute::{NormKind, Precision};

/// Reproducible values in -1..1.
fn values(seed: u64, len: usize) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    (0..len)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 40) as f32 / (1 << 23) as f32 - 1.0
        })
        .collect()
}

/// The numbers that a layer multiplies by, which are not those that it was given.
fn kept(weight: Weight<'_>, precision: Precision) -> Vec<f32> {
    let mut weight = weight.quantised(precision);
    if precision == Precision::Int4 {
        weight = weight.quantised(Precision::Int8);
    }
    let rounded = |x: &f32| if precision == Precision::Bf16 { half::bf16::from_f32(*x).to_f32() } else { *x };
    weight.to_floats().iter().map(rounded).collect()
}

fn normed(norm: &Norm, row: &mut [f64]) {
    let n = row.len() as f64;
    let mean = if norm.kind == NormKind::Layer { row.iter().sum::<f64>() / n } else { 0.0 };
    let square = row.iter().map(|x| (x - mean) * (x - mean)).sum::<f64>() / n;
    let factor = 1.0 / (square + f64::from(norm.epsilon)).sqrt();
    for (at, x) in row.iter_mut().enumerate() {
        let shift = norm.shift.get(at).copied().unwrap_or(0.0);
        *x = (*x - mean) * factor * f64::from(norm.scale[at]) + f64::from(shift);
    }
}

fn activated(activation: Activation, x: f64) -> f64 {
    match activation {
        Activation::None => x,
        Activation::Relu => x.max(0.0),
        Activation::GeluTanh => {
            0.5 * x * (1.0 + ((2.0 / std::f64::consts::PI).sqrt() * (x + 0.044_715 * x * x * x)).tanh())
        }
        Activation::Silu | Activation::SiluGated => x / (1.0 + (-x).exp()),
    }
}

/// A layer by its definition. Returns the outputs and, for each, the sum of the magnitudes that went in.
fn by_definition(
    spec: &DenseSpec<'_>,
    residual_first: bool,
    input: &[f32],
    residual: Option<&[f32]>,
) -> Vec<(f64, f64)> {
    let (inputs, outputs) = (spec.weight.inputs, spec.weight.outputs);
    let weights = kept(spec.weight.clone(), spec.precision);
    let width = if spec.activation == Activation::SiluGated { outputs / 2 } else { outputs };
    let quantised = matches!(spec.weight.values, WeightValues::Int8 { .. } | WeightValues::Int4 { .. })
        || matches!(spec.precision, Precision::Int8 | Precision::Int4);
    let mut all = Vec::new();
    for (at, row) in input.chunks(inputs).enumerate() {
        let mut row: Vec<f64> = row.iter().map(|x| f64::from(*x)).collect();
        if let Some(norm) = &spec.norm {
            normed(norm, &mut row);
        }
        if quantised {
            // In f32, as it is defined: a value may fall exactly between two integers.
            let top = row.iter().fold(0.0_f32, |top, x| top.max(x.abs() as f32));
            let factor = if top > 0.0 { 127.0 / top } else { 0.0 };
            let integer = |x: f64| f64::from((x as f32 * factor).round_ties_even());
            row.iter_mut().for_each(|x| *x = integer(*x) * f64::from(top / 127.0));
        }
        let sum = |out: usize| {
            let weights = &weights[out * inputs..(out + 1) * inputs];
            let bias = spec.bias.as_ref().map_or(0.0, |bias| f64::from(bias[out]));
            let sum: f64 = row.iter().zip(weights).map(|(a, b)| a * f64::from(*b)).sum();
            let magnitude: f64 = row.iter().zip(weights).map(|(a, b)| (a * f64::from(*b)).abs()).sum();
            (sum + bias, magnitude + bias.abs())
        };
        for out in 0..width {
            let added = residual.map_or(0.0, |residual| f64::from(residual[at * width + out]));
            let (x, magnitude) = sum(out);
            let magnitude = magnitude + added.abs() + 1e-6;
            all.push(if spec.activation == Activation::SiluGated {
                let (y, other) = sum(width + out);
                (activated(spec.activation, x) * y + added, magnitude * (1.0 + other))
            } else if residual_first {
                (activated(spec.activation, x + added), magnitude)
            } else {
                (activated(spec.activation, x) + added, magnitude)
            });
        }
    }
    all
}

fn run(
    isa: Isa,
    threads: usize,
    spec: DenseSpec<'_>,
    first: bool,
    input: &[f32],
    residual: Option<&[f32]>,
) -> Vec<f32> {
    let cpu = Cpu::with_isa(threads, isa);
    let inputs = spec.weight.inputs;
    let mut layer = DenseLayer::new(&cpu, spec);
    if first {
        layer = layer.residual_first();
    }
    let count = input.len() / inputs;
    let mut output = vec![7.0; count * layer.outputs()];
    layer.forward(&cpu, input, count, residual, &mut output);
    output
}

/// What a random test needs to build a layer, twice.
#[derive(Clone, Debug)]
struct Case {
    count: usize,
    inputs: usize,
    outputs: usize,
    precision: Precision,
    activation: Activation,
    norm: Option<NormKind>,
    bias: bool,
    residual: bool,
    residual_first: bool,
    stored: bool,
    seed: u64,
}

impl Case {
    fn weight(&self) -> Weight<'static> {
        let len = self.outputs * self.inputs;
        let floats = values(self.seed, len);
        let values = match self.precision {
            Precision::Int8 if self.stored => WeightValues::Int8 {
                values: floats.iter().map(|x| (x * 127.9) as i8).collect(),
                scales: values(self.seed + 9, self.outputs).iter().map(|x| x.abs() / 90.0).collect(),
            },
            Precision::Int4 if self.stored && self.inputs.is_multiple_of(INT4_BLOCK) => WeightValues::Int4 {
                packed: floats
                    .chunks(2)
                    .map(|x| {
                        let half = |x: f32| (x * 7.9) as i8 + 8;
                        half(x[0]) as u8 | (half(x[1]) as u8) << 4
                    })
                    .collect(),
                scales: values(self.seed + 9, len / INT4_BLOCK).iter().map(|x| x.abs() / 7.0).collect(),
            },
            _ => WeightValues::Float(floats.into()),
        };
        Weight { outputs: self.outputs, inputs: self.inputs, values }
    }

    fn spec(&self) -> DenseSpec<'static> {
        DenseSpec {
            weight: self.weight(),
            bias: self.bias.then(|| values(self.seed + 1, self.outputs)),
            norm: self.norm.map(|kind| Norm {
                kind,
                scale: values(self.seed + 2, self.inputs),
                shift: if kind == NormKind::Layer { values(self.seed + 3, self.inputs) } else { Vec::new() },
                epsilon: 1e-5,
            }),
            activation: self.activation,
            precision: self.precision,
        }
    }

    fn width(&self) -> usize {
        if self.activation == Activation::SiluGated { self.outputs / 2 } else { self.outputs }
    }

    fn input(&self) -> Vec<f32> {
        values(self.seed + 4, self.count * self.inputs)
    }

    fn residual(&self) -> Option<Vec<f32>> {
        self.residual.then(|| values(self.seed + 5, self.count * self.width()))
    }

    fn run(&self, isa: Isa, threads: usize, input: &[f32]) -> Vec<f32> {
        run(isa, threads, self.spec(), self.residual_first, input, self.residual().as_deref())
    }
}

fn case() -> impl Strategy<Value = Case> {
    let shape = (1_usize..70, 1_usize..200, 1_usize..75);
    let precision = prop_oneof![
        Just(Precision::F32),
        Just(Precision::Bf16),
        Just(Precision::Int8),
        Just(Precision::Int4)
    ];
    let activation = prop_oneof![
        Just(Activation::None),
        Just(Activation::Relu),
        Just(Activation::GeluTanh),
        Just(Activation::Silu),
        Just(Activation::SiluGated),
    ];
    let norm = prop_oneof![Just(None), Just(Some(NormKind::Layer)), Just(Some(NormKind::Rms))];
    (shape, precision, activation, norm, any::<[bool; 4]>(), any::<bool>(), 1_u64..1_000_000).prop_map(
        |((count, inputs, outputs), precision, activation, norm, flags, blocks, seed)| {
            let gated = activation == Activation::SiluGated;
            Case {
                count,
                inputs: if blocks { inputs.next_multiple_of(INT4_BLOCK) } else { inputs },
                outputs: if gated { 2 * outputs } else { outputs },
                precision,
                activation,
                norm,
                bias: flags[0],
                residual: flags[1],
                residual_first: flags[2] && matches!(activation, Activation::None | Activation::Relu),
                stored: flags[3],
                seed,
            }
        },
    )
}

fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|value| value.to_bits()).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, rng_seed: proptest::test_runner::RngSeed::Fixed(11), ..ProptestConfig::default() })]

    #[test]
    fn a_layer_does_what_it_is_defined_to_do_on_every_path(case in case()) {
        let input = case.input();
        let expected = by_definition(&case.spec(), case.residual_first, &input, case.residual().as_deref());
        // A norm rounds, so a quantised activation can fall on the other side of a half.
        let steps = matches!(case.precision, Precision::Int8 | Precision::Int4);
        let tolerance = if steps && case.norm.is_some() { 0.02 } else { 2e-6 };
        let mut first: Option<Vec<f32>> = None;
        for isa in Isa::available() {
            let output = case.run(*isa, 1, &input);
            for (at, (got, (value, magnitude))) in output.iter().zip(&expected).enumerate() {
                let error = (f64::from(*got) - value).abs();
                prop_assert!(error <= tolerance * magnitude, "{isa:?}, {at}: {got} for {value} of {magnitude}");
            }
            let fused = steps || *isa != Isa::Portable || cfg!(target_arch = "aarch64");
            if fused {
                let first = first.get_or_insert_with(|| output.clone());
                prop_assert_eq!(bits(first), bits(&output), "{:?} gives other bits", isa);
            }
            prop_assert_eq!(bits(&case.run(*isa, 3, &input)), bits(&output), "threads change the bits");
        }
    }
}

/// Rows in many bands, which each take all panels, and in few, whose panels are shared out.
#[test]
fn the_cut_into_tasks_does_not_show() {
    for precision in [Precision::F32, Precision::Bf16, Precision::Int8, Precision::Int4] {
        let case = Case {
            count: 1500,
            inputs: 2080,
            outputs: 70,
            precision,
            activation: Activation::GeluTanh,
            norm: Some(NormKind::Layer),
            bias: true,
            residual: true,
            residual_first: false,
            stored: false,
            seed: 3,
        };
        let input = case.input();
        let alone = case.run(Isa::detect(), 1, &input);
        for threads in [2, 16] {
            assert_eq!(bits(&case.run(Isa::detect(), threads, &input)), bits(&alone), "{precision:?}");
        }
        let few = Case { count: 100, ..case };
        let first = few.run(Isa::detect(), 2, &input[..100 * few.inputs]);
        // The residual of row r is the same in both: it is drawn row after row.
        assert_eq!(bits(&first), bits(&alone[..first.len()]), "{precision:?}");
    }
}

/// All products at their largest, which a 16-bit intermediate sum would not survive, and sums exact.
#[test]
fn extreme_integers_are_summed_exactly() {
    for (inputs, weight) in [(64, 127_i8), (1000, -127), (12_288, 127), (100, -128)] {
        let integers = vec![weight; 33 * inputs];
        for x in [1.0, -1.0] {
            let input = vec![x; 2 * inputs];
            for isa in Isa::available() {
                let weight = Weight {
                    outputs: 33,
                    inputs,
                    values: WeightValues::Int8 {
                        values: integers.as_slice().into(),
                        scales: vec![1.0; 33].into(),
                    },
                };
                let output = run(*isa, 1, DenseSpec::new(weight, Precision::Int8), false, &input, None);
                let integer = i32::from(integers[0].max(-127)) * 127 * inputs as i32;
                let expected = (integer as f32 * x) * (1.0 / 127.0);
                assert!(
                    output.iter().all(|value| *value == expected),
                    "{isa:?}: {} for {expected}",
                    output[0]
                );
            }
        }
    }
}

#[test]
fn rows_of_zeros_give_the_bias_and_rows_with_nan_or_infinity_give_nan() {
    let inputs = 70;
    for precision in [Precision::Int8, Precision::Int4] {
        for isa in Isa::available() {
            for activation in [Activation::None, Activation::Relu, Activation::GeluTanh, Activation::Silu] {
                let weight = Weight::float(40, inputs, values(5, 40 * inputs));
                let spec =
                    DenseSpec { bias: Some(vec![2.0; 40]), activation, ..DenseSpec::new(weight, precision) };
                let mut input = values(6, 5 * inputs);
                input[..inputs].fill(0.0);
                input[inputs + 3] = f32::NAN;
                input[2 * inputs + 69] = f32::NEG_INFINITY;
                input[3 * inputs + 1] = 3e38;
                input[4 * inputs..].fill(1e-38);
                let output = run(*isa, 1, spec, false, &input, None);
                let two = activated(activation, 2.0) as f32;
                let close = |value: &f32| (value - two).abs() < 1e-5;
                assert!(output[..40].iter().all(close), "{isa:?} {precision:?}");
                assert!(
                    output[40..120].iter().all(|value| value.is_nan()),
                    "{isa:?} {precision:?} {activation:?}"
                );
                assert!(output[120..160].iter().all(|value| !value.is_nan()));
                assert!(output[160..].iter().all(close));
            }
        }
    }
}

/// The row in front is not looked at through the row with NaN behind it.
#[test]
fn a_float_layer_keeps_nan_to_its_row() {
    for isa in Isa::available() {
        let weight = Weight::float(3, 5, values(5, 15));
        let mut input = values(6, 15);
        input[7] = f32::NAN;
        let output = run(*isa, 1, DenseSpec::new(weight, Precision::F32), false, &input, None);
        let nan: Vec<bool> = output.iter().map(|value| value.is_nan()).collect();
        assert_eq!(nan, [false, false, false, true, true, true, false, false, false]);
    }
}

#[test]
fn no_rows_are_no_work() {
    for precision in [Precision::F32, Precision::Int8] {
        let weight = Weight::float(3, 5, values(5, 15));
        assert!(run(Isa::detect(), 2, DenseSpec::new(weight, precision), false, &[], None).is_empty());
    }
}
