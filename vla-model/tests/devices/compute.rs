//! Every backend of `compute`: the same operations, the same numbers.

use burn::tensor::Device;
use reflexarc_vla_model::compute::weight::{INT4_BLOCK, WeightValues};
use reflexarc_vla_model::compute::{
    Activation, Attention, Backend, Columns, Conv2d, ConvSpec, Dense, DenseSpec, KeysValues, Maps, Norm,
    NormKind, Precision, Rope, Rows, Sight, Weight,
};

use reflexarc_vla_model::device::{ChosenDevice, DeviceKind};

use super::graphics;

/// Of the largest value: f32 sums in another order.
const EXACT: f32 = 2e-5;

fn backends() -> Vec<Backend> {
    let mut backends = vec![Backend::cpu(0), Backend::burn(&Device::flex(), "burn on the CPU")];
    backends.extend(graphics::gpu().map(|chosen| Backend::from(&chosen)));
    backends
}

/// Values in -1..1 that look random; equal on every run.
fn noise(count: usize, seed: u32) -> Vec<f32> {
    let mut state = seed.wrapping_mul(2_654_435_761).wrapping_add(12_345);
    (0..count)
        .map(|_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 8) as f32 / (1 << 23) as f32 - 1.0
        })
        .collect()
}

/// The largest difference as a share of the largest expected value.
fn error(expected: &[f32], actual: &[f32]) -> f32 {
    assert_eq!(expected.len(), actual.len());
    let largest = expected.iter().fold(f32::MIN_POSITIVE, |top, value| top.max(value.abs()));
    let worst = expected.iter().zip(actual).map(|(a, b)| (a - b).abs());
    // A NaN is the worst of all, not the least.
    worst.fold(0.0, |top: f32, off| if off > top || off.is_nan() { off } else { top }) / largest
}

/// Runs `compute` on every backend and holds the others to the first.
fn alike(what: &str, tolerance: f32, compute: impl Fn(&Backend) -> Rows) {
    let mut first: Option<(usize, usize, Vec<f32>)> = None;
    for backend in backends() {
        let rows = compute(&backend);
        let values = rows.download().unwrap();
        match &first {
            None => first = Some((rows.count(), rows.width(), values)),
            Some((count, width, expected)) => {
                assert_eq!((rows.count(), rows.width()), (*count, *width), "{what}");
                let off = error(expected, &values);
                println!("{what}, {}: {off:.1e}", backend.description());
                assert!(off <= tolerance, "{what}, {}: {off}", backend.description());
                assert_eq!(compute(&backend).download().unwrap(), values, "{what} again");
            }
        }
    }
}

fn rows(backend: &Backend, count: usize, width: usize, seed: u32) -> Rows {
    Rows::upload(backend, &noise(count * width, seed), count, width)
}

fn layer_norm(width: usize) -> Norm {
    let scale = noise(width, 70).iter().map(|x| 1.0 + 0.3 * x).collect();
    Norm { kind: NormKind::Layer, scale, shift: noise(width, 71), epsilon: 1e-6 }
}

fn rms_norm(width: usize) -> Norm {
    Norm { kind: NormKind::Rms, shift: Vec::new(), ..layer_norm(width) }
}

fn int8(outputs: usize, inputs: usize, seed: u32) -> Weight<'static> {
    let values: Vec<i8> = noise(outputs * inputs, seed).iter().map(|x| (x * 127.0) as i8).collect();
    let scales: Vec<f32> = noise(outputs, seed + 1).iter().map(|x| 0.01 + 0.005 * x).collect();
    let values = WeightValues::Int8 { values: values.into(), scales: scales.into() };
    Weight { outputs, inputs, values }
}

fn int4(outputs: usize, inputs: usize, seed: u32) -> Weight<'static> {
    let half = |x: f32| (x * 7.0) as i8 + 8;
    let packed: Vec<u8> = noise(outputs * inputs, seed)
        .chunks_exact(2)
        .map(|pair| (half(pair[0]) | half(pair[1]) << 4).cast_unsigned())
        .collect();
    let blocks = outputs * inputs / INT4_BLOCK;
    let scales: Vec<f32> = noise(blocks, seed + 1).iter().map(|x| 0.2 + 0.1 * x).collect();
    let values = WeightValues::Int4 { packed: packed.into(), scales: scales.into() };
    Weight { outputs, inputs, values }
}

#[test]
fn rows_are_cut_stacked_gathered_and_added() {
    alike("rows", 0.0, |backend| {
        let (a, b) = (rows(backend, 5, 12, 1), rows(backend, 3, 12, 2));
        let mut all = Rows::stack(&[&a, &b, &a.narrow(1, 4)]);
        all.add_repeated(&rows(backend, 4, 12, 3));
        let table: Vec<u32> = vec![11, 0, 3, 3, 7, 8];
        assert_eq!(all.gather(&table, 1).width(), 12);
        let columns = all.columns(2, 9);
        Rows::stack(&[&all.gather(&table, 3).reshape(9), &columns])
    });
}

#[test]
fn norms() {
    for norm in [layer_norm(48), rms_norm(48)] {
        alike("norm", EXACT, |backend| norm.forward(&rows(backend, 9, 48, 4)));
    }
}

#[test]
fn dense_layers_in_floats() {
    let activations =
        [Activation::None, Activation::Relu, Activation::GeluTanh, Activation::Silu, Activation::SiluGated];
    for (seed, activation) in activations.into_iter().enumerate() {
        for (precision, tolerance) in [(Precision::F32, EXACT), (Precision::Bf16, 1e-2)] {
            alike(&format!("dense {activation:?} {precision:?}"), tolerance, |backend| {
                let weight = Weight::float(64, 96, noise(64 * 96, 10 + seed as u32));
                let dense = Dense::new(
                    backend,
                    DenseSpec {
                        bias: Some(noise(64, 5)),
                        norm: Some(layer_norm(96)),
                        activation,
                        ..DenseSpec::new(weight, precision)
                    },
                );
                let input = rows(backend, 7, 96, 6);
                let plain = dense.forward(&input);
                let plus = dense.forward_plus(&input, &rows(backend, 7, dense.outputs(), 7));
                Rows::stack(&[&plain, &plus])
            });
        }
    }
}

#[test]
fn one_row_and_odd_sizes() {
    for (outputs, inputs, count) in [(1, 7, 1), (33, 5, 3), (50, 100, 1)] {
        alike("odd dense", EXACT, |backend| {
            let weight = Weight::float(outputs, inputs, noise(outputs * inputs, 8));
            Dense::new(backend, DenseSpec::new(weight, Precision::F32))
                .forward(&rows(backend, count, inputs, 9))
        });
    }
}

/// The CPU rounds activations to int8, a device does not: near each other, not equal.
#[test]
fn dense_layers_in_integers() {
    for (outputs, inputs, count) in [(64, 96, 7), (40, 64, 1), (33, 32, 2)] {
        for (weight, precision) in
            [(int8(outputs, inputs, 12), Precision::Int8), (int4(outputs, inputs, 14), Precision::Int4)]
        {
            alike(&format!("dense {precision:?}"), 2e-2, |backend| {
                Dense::new(backend, DenseSpec::new(weight.clone(), precision))
                    .forward(&rows(backend, count, inputs, 15))
            });
        }
    }
}

/// What a device makes of integer weights is what the integers and scales mean.
#[test]
fn a_device_reads_integers_exactly() {
    for backend in backends().into_iter().skip(1) {
        for weight in [int8(64, 96, 16), int4(64, 96, 18)] {
            let input = rows(&backend, 5, 96, 20);
            let floats = Weight::float(64, 96, weight.to_floats().into_owned());
            let expected = Dense::new(&backend, DenseSpec::new(floats, Precision::F32)).forward(&input);
            let precision = if matches!(weight.values, WeightValues::Int8 { .. }) {
                Precision::Int8
            } else {
                Precision::Int4
            };
            let actual = Dense::new(&backend, DenseSpec::new(weight, precision)).forward(&input);
            let off = error(&expected.download().unwrap(), &actual.download().unwrap());
            println!("{precision:?}, {}: {off:.1e}", backend.description());
            assert!(off <= EXACT, "{precision:?}, {}: {off}", backend.description());
        }
    }
}

/// What a layer of float weights makes of some rows, computed in `precision`.
fn layer(backend: &Backend, precision: Precision) -> Vec<f32> {
    let weight = noise(64 * 96, 21);
    let spec = DenseSpec::new(Weight::float(64, 96, weight.as_slice()), precision);
    Dense::new(backend, spec).forward(&rows(backend, 5, 96, 22)).download().unwrap()
}

/// Float weights asked for in integers are rounded when the layer is made, on every backend alike.
#[test]
fn float_weights_are_quantised_when_asked_for() {
    for (precision, tolerance) in [(Precision::Int8, 2e-2), (Precision::Int4, 2e-1)] {
        for backend in backends() {
            let off = error(&layer(&backend, Precision::F32), &layer(&backend, precision));
            println!("float as {precision:?}, {}: {off:.1e}", backend.description());
            assert!(off <= tolerance, "{precision:?}, {}: {off}", backend.description());
        }
    }
}

#[test]
fn a_backend_says_what_it_computes_in_f32_instead() {
    for backend in backends() {
        for precision in [Precision::F32, Precision::Bf16, Precision::Int8, Precision::Int4] {
            println!("{precision:?}, {}: {:?}", backend.description(), backend.fallback(precision));
        }
        assert_eq!(backend.fallback(Precision::F32), None);
    }
    assert_eq!(Backend::cpu(1).fallback(Precision::Int4), None);
    let flex = Backend::burn(&Device::flex(), "burn on the CPU");
    assert!(flex.fallback(Precision::Int8).is_some_and(|reason| reason.contains("floats")));
    // A graphics card, played by another device: integers are computed, and it says that they are floats.
    let card = ChosenDevice {
        device: Device::flex(),
        kind: DeviceKind::Gpu,
        description: "a card".to_owned(),
        reason: "a test".to_owned(),
    };
    let card = Backend::from(&card);
    for (precision, tolerance) in [(Precision::Int8, 2e-2), (Precision::Int4, 2e-1)] {
        assert!(card.fallback(precision).is_some_and(|reason| reason.contains("workgroup memory")));
        let off = error(&layer(&Backend::cpu(1), precision), &layer(&card, precision));
        assert!(off <= tolerance, "{precision:?}: {off}");
    }
}

#[test]
fn attention_over_segments_heads_and_sequences() {
    let shape = Attention { heads: 6, kv_heads: 2, head_dim: 8, reduced: false };
    for sight in [Sight::All, Sight::Causal { before: 5 }, Sight::LastHidden] {
        for sequences in [1, 2] {
            alike(&format!("attention {sight:?} {sequences}"), EXACT, |backend| {
                // Queries, keys and values side by side, as one fused layer gives them.
                let own = rows(backend, sequences * 4, 48 + 16 + 16, 30);
                let cached = rows(backend, sequences * 5, 32, 31);
                let pair = |rows, keys, values| KeysValues {
                    keys: Columns::new(rows, keys),
                    values: Columns::new(rows, values),
                };
                shape.forward(
                    Columns::new(&own, 0),
                    &[pair(&cached, 16, 0), pair(&own, 48, 64)],
                    sequences,
                    sight,
                )
            });
        }
    }
}

#[test]
fn rotary_positions_turn_a_band_of_columns() {
    let positions: Vec<u32> = vec![0, 1, 2, 7, 60];
    for (from, heads, width) in [(0, 3, 24), (8, 2, 30), (6, 3, 30)] {
        alike("rope", EXACT, |backend| {
            let mut values = rows(backend, 5, width, 32);
            Rope::new(backend, &positions, 8, 10_000.0).turn(&mut values, from, heads);
            values
        });
    }
}

#[test]
fn convolutions_and_pools() {
    for (kernel, stride, padding) in [(3, 1, 1), (7, 2, 3), (1, 2, 0), (3, 2, 0)] {
        for precision in [Precision::F32, Precision::Int8] {
            let tolerance = if precision == Precision::F32 { EXACT } else { 2e-2 };
            alike(&format!("conv {kernel}/{stride}+{padding} {precision:?}"), tolerance, |backend| {
                let maps = Maps { rows: rows(backend, 2 * 11 * 13, 6, 33), images: 2, height: 11, width: 13 };
                let taps = kernel * kernel * 6;
                let conv = Conv2d::new(
                    backend,
                    ConvSpec {
                        weight: Weight::float(10, taps, noise(10 * taps, 34)),
                        bias: Some(noise(10, 35)),
                        kernel,
                        stride,
                        padding,
                        activation: Activation::Relu,
                        precision,
                    },
                );
                let once = conv.forward(&maps, None);
                let residual = Maps { rows: rows(backend, once.rows.count(), 10, 36), ..once.clone() };
                conv.forward(&maps, Some(&residual)).max_pool(3, 2, 1).rows
            });
        }
    }
}
