use proptest::prelude::*;

use super::*;
use crate::compute::cpu::reference;
use crate::compute::weight::INT4_BLOCK;
use crate::compute::{Activation, Backend, Precision, Rows, Weight};

fn noise(count: usize, seed: u32) -> Vec<f32> {
    let mut state = seed.wrapping_mul(747_796_405) | 1;
    (0..count)
        .map(|_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 8) as f32 / (1 << 23) as f32 - 1.0
        })
        .collect()
}

/// Kernel, stride, padding; images, rows, columns, channels; outputs.
type Case = ([usize; 3], [usize; 4], usize);

fn maps([images, height, width, channels]: [usize; 4]) -> Maps {
    let count = images * height * width;
    let rows = Rows::upload(&Backend::cpu(1), &noise(count * channels, 1), count, channels);
    Maps { rows, images, height, width }
}

fn spec(
    [kernel, stride, padding]: [usize; 3],
    channels: usize,
    outputs: usize,
    precision: Precision,
) -> ConvSpec<'static> {
    let inputs = kernel * kernel * channels;
    ConvSpec {
        weight: Weight::float(outputs, inputs, noise(outputs * inputs, 2)),
        bias: Some(noise(outputs, 3)),
        kernel,
        stride,
        padding,
        activation: Activation::Relu,
        precision,
    }
}

fn places([kernel, stride, padding]: [usize; 3], maps: &Maps) -> [usize; 2] {
    [maps.height, maps.width].map(|pixels| (pixels + 2 * padding - kernel) / stride + 1)
}

/// Every window, cut out value by value.
fn windows([kernel, stride, padding]: [usize; 3], maps: &Maps) -> Vec<f32> {
    let ([height, width], channels) = (places([kernel, stride, padding], maps), maps.rows.width);
    let mut all = Vec::new();
    for at in 0..maps.images * height * width {
        let (image, y, x) = (at / (height * width), at / width % height, at % width);
        for tap in 0..kernel * kernel {
            let (row, column) = (y * stride + tap / kernel, x * stride + tap % kernel);
            let on_map = row >= padding
                && column >= padding
                && row < maps.height + padding
                && column < maps.width + padding;
            for channel in 0..channels {
                let pixel = |()| (image * maps.height + row - padding) * maps.width + column - padding;
                all.push(if on_map {
                    maps.rows.data.as_slice()[pixel(()) * channels + channel]
                } else {
                    0.0
                });
            }
        }
    }
    all
}

fn check((window, [images, height, width, channels], outputs): Case) {
    let maps = maps([images, height, width, channels]);
    let shape = places(window, &maps);
    let count = images * shape[0] * shape[1];
    let residual = noise(count * outputs, 4);
    let one = Cpu::with_isa(1, Isa::Portable);
    let mut expected = vec![f32::NAN; count * outputs];
    let layer = reference::ConvLayer::new(&one, spec(window, channels, outputs, Precision::F32));
    layer.forward(&one, &maps, shape, Some(&residual), &mut expected);
    let mut pooled = vec![f32::NAN; count * channels];
    reference::max_pool(&one, &maps, shape, window, &mut pooled);
    for isa in Isa::available() {
        let cpu = Cpu::with_isa(2, *isa);
        let mut actual = vec![f32::NAN; count * outputs];
        ConvLayer::new(&cpu, spec(window, channels, outputs, Precision::F32)).forward(
            &cpu,
            &maps,
            shape,
            Some(&residual),
            &mut actual,
        );
        for (a, b) in expected.iter().zip(&actual) {
            assert!((a - b).abs() < 1e-4, "{isa:?}: {a} {b}");
        }
        let inputs = window[0] * window[0] * channels;
        let whole_blocks = inputs.is_multiple_of(INT4_BLOCK).then_some(Precision::Int4);
        for precision in [Some(Precision::Int8), whole_blocks].into_iter().flatten() {
            let layer = ConvLayer::new(&cpu, spec(window, channels, outputs, precision));
            layer.forward(&cpu, &maps, shape, Some(&residual), &mut actual);
            let mut rounded = vec![f32::NAN; count * outputs];
            layer.dense.forward(&cpu, &windows(window, &maps), count, Some(&residual), &mut rounded);
            assert_eq!(actual, rounded, "{isa:?} {precision:?}");
        }
        let mut actual = vec![f32::NAN; count * channels];
        max_pool(&cpu, &maps, shape, window, &mut actual);
        assert_eq!(actual, pooled, "{isa:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 32,
        failure_persistence: None,
        rng_seed: proptest::test_runner::RngSeed::Fixed(12),
        ..ProptestConfig::default()
    })]

    #[test]
    fn every_kernel_gives_what_the_definition_gives(
        [kernel, stride, padding] in [1..8_usize, 1..4_usize, 0..4_usize],
        [images, height, width, channels] in [1..3_usize, 1..15_usize, 1..15_usize, 1..40_usize],
        outputs in 1..40_usize,
    ) {
        // At least one window, and none that lies off the map.
        let least = kernel.saturating_sub(2 * padding.min(kernel - 1)).max(1);
        let map = [images, height.max(least), width.max(least), channels];
        check(([kernel, stride, padding.min(kernel - 1)], map, outputs));
    }
}

#[test]
fn bad_pixels_spoil_their_windows_alone() {
    let mut maps = maps([1, 8, 8, 5]);
    maps.rows.data.as_mut_slice()[5 * 9] = f32::NAN;
    for isa in Isa::available() {
        let cpu = Cpu::with_isa(1, *isa);
        for precision in [Precision::F32, Precision::Int8] {
            let mut actual = vec![0.0; 64 * 7];
            let none = ConvSpec { activation: Activation::None, ..spec([3, 1, 1], 5, 7, precision) };
            ConvLayer::new(&cpu, none).forward(&cpu, &maps, [8, 8], None, &mut actual);
            assert!(actual[..7].iter().all(|value| value.is_nan()), "{isa:?} {precision:?}");
            assert!(actual[3 * 7..8 * 7].iter().all(|value| value.is_finite()), "{isa:?} {precision:?}");
        }
        let mut pooled = vec![0.0; 64 * 5];
        max_pool(&cpu, &maps, [8, 8], [3, 1, 1], &mut pooled);
        assert!(pooled[0].is_nan() && pooled[3 * 5].is_finite());
    }
}
