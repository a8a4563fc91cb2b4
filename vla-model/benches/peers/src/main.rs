//! Matrix kernels of Reflexarc beside those of the `gemm` crate (f32) and of candle (quantised), in one
//! process, over the shapes that the models have: `cargo run --release [-- THREADS]`.
//!
//! Each figure is the best of many calls within a third of a second, in 10⁹ operations a second (a
//! multiply-add is two), activations already there, weights packed. Candle quantises activations in
//! blocks of 32; its thread pool takes `RAYON_NUM_THREADS`. Its Q4K is left out: it keeps tiles configured
//! between calls, which another user of tiles in the process undoes.

use std::error::Error;
use std::hint::black_box;
use std::time::{Duration, Instant};

use candle_core::quantized::{GgmlDType, QMatMul, QTensor};
use candle_core::{Device, Module, Tensor};
use reflexarc_vla_model::compute::{Backend, Dense, DenseSpec, Isa, Precision, Roofline, Rows, Weight};

/// What, rows, inputs, outputs.
const SHAPES: [(&str, usize, usize, usize); 16] = [
    ("SmolVLA vision q, k, v", 1024, 768, 2304),
    ("SmolVLA vision fc1", 1024, 768, 3072),
    ("SmolVLA vision fc2", 1024, 3072, 768),
    ("SmolVLA vision, 2 cameras", 2048, 768, 768),
    ("SmolVLA connector", 64, 12_288, 960),
    ("SmolVLA text q, k, v", 177, 960, 1600),
    ("SmolVLA text gate, up", 177, 960, 5120),
    ("SmolVLA text down", 177, 2560, 960),
    ("SmolVLA expert q", 50, 720, 960),
    ("SmolVLA expert gate, up", 50, 720, 4096),
    ("SmolVLA expert down", 50, 2048, 720),
    ("ACT encoder FFN", 602, 512, 3200),
    ("ACT decoder", 100, 512, 512),
    ("goal model", 64, 128, 512),
    ("six rows", 6, 720, 2048),
    ("one row", 1, 720, 2048),
];

/// One contender: its name and what it does with a shape, prepared for timing.
type Contender<'a> = (String, Box<dyn FnMut() + 'a>);

fn main() -> Result<(), Box<dyn Error>> {
    let threads = match std::env::args().nth(1) {
        Some(text) => text.parse()?,
        None => std::thread::available_parallelism()?.get(),
    };
    println!("{threads} threads\n");
    println!("| instructions | f32 GFLOP/s | int8 GOP/s | read GB/s |\n|---|---|---|---|");
    for isa in Isa::available() {
        let roofline = Backend::cpu_with(threads, *isa).as_ref().and_then(Roofline::measure);
        let Some(roofline) = roofline else { continue };
        let [float, int8, read] =
            [roofline.float_per_s, roofline.int8_per_s, roofline.read_bytes_per_s].map(|rate| rate / 1e9);
        println!("| {} | {float:.0} | {int8:.0} | {read:.0} |", isa.name());
    }
    let mut header = false;
    for (what, rows, inputs, outputs) in SHAPES {
        let input = values(rows * inputs);
        let weight = values(outputs * inputs);
        let mut results = Vec::new();
        for (name, mut run) in contenders(threads, &input, &weight, [rows, inputs, outputs])? {
            let rate = 2e-9 * (rows * inputs * outputs) as f64 / best_s(&mut run);
            results.push((name, rate));
        }
        if !header {
            let names: Vec<&str> = results.iter().map(|(name, _)| name.as_str()).collect();
            println!(
                "\n| shape | rows × inputs × outputs | {} | f32 : gemm | int8 : Q8_0 | int4 : Q4_0 |",
                names.join(" | ")
            );
            println!("|---|---|{}", "---|".repeat(results.len() + 3));
            header = true;
        }
        let rate = |name: &str| results.iter().find(|(at, _)| at == name).map_or(f64::NAN, |(_, rate)| *rate);
        let best = Isa::detect().name();
        let ratios = [
            rate(&format!("f32 {best}")) / rate("gemm f32"),
            rate(&format!("int8 {best}")) / rate("candle Q8_0"),
            rate(&format!("int4 {best}")) / rate("candle Q4_0"),
        ];
        let cells: Vec<String> = results
            .iter()
            .map(|(_, rate)| if rate.is_nan() { "–".to_owned() } else { format!("{rate:.0}") })
            .chain(ratios.iter().map(|ratio| format!("{ratio:.1}")))
            .collect();
        println!("| {what} | {rows} × {inputs} × {outputs} | {} |", cells.join(" | "));
    }
    Ok(())
}

fn contenders<'a>(
    threads: usize,
    input: &'a [f32],
    weight: &'a [f32],
    [rows, inputs, outputs]: [usize; 3],
) -> Result<Vec<Contender<'a>>, Box<dyn Error>> {
    let mut all: Vec<Contender<'a>> = Vec::new();
    for precision in [Precision::F32, Precision::Bf16, Precision::Int8, Precision::Int4] {
        for isa in Isa::available().iter().rev() {
            // What this instruction set adds nothing to, the next one stands for.
            let own = match precision {
                Precision::Int8 => *isa != Isa::Avx512Bf16,
                _ => *isa == Isa::detect(),
            };
            let Some(backend) = Backend::cpu_with(threads, *isa).filter(|_| own) else { continue };
            let matrix = Weight::float(outputs, inputs, weight);
            let layer = Dense::new(&backend, DenseSpec::new(matrix, precision));
            let input = Rows::upload(&backend, input, rows, inputs);
            let name = format!("{} {}", format!("{precision:?}").to_lowercase(), isa.name());
            all.push((name, Box::new(move || drop(black_box(layer.forward(&input))))));
        }
    }
    let mut output = vec![0.0_f32; rows * outputs];
    all.push((
        "gemm f32".to_owned(),
        Box::new(move || {
            let parallelism =
                if threads > 1 { gemm::Parallelism::Rayon(threads) } else { gemm::Parallelism::None };
            // SAFETY: the matrices are as large as the sizes and strides say.
            unsafe {
                gemm::gemm(
                    rows,
                    outputs,
                    inputs,
                    output.as_mut_ptr(),
                    1,
                    outputs as isize,
                    false,
                    input.as_ptr(),
                    1,
                    inputs as isize,
                    weight.as_ptr(),
                    inputs as isize,
                    1,
                    0.0,
                    1.0,
                    false,
                    false,
                    false,
                    parallelism,
                );
            }
            black_box(&mut output);
        }),
    ));
    let weight = Tensor::from_slice(weight, (outputs, inputs), &Device::Cpu)?;
    for (name, kind) in
        [("candle Q8_0", GgmlDType::Q8_0), ("candle Q4_0", GgmlDType::Q4_0)]
    {
        if !inputs.is_multiple_of(kind.block_size()) {
            all.push((name.to_owned(), Box::new(|| ())));
            continue;
        }
        let matrix = QMatMul::from_qtensor(QTensor::quantize(&weight, kind)?)?;
        let input = Tensor::from_slice(input, (rows, inputs), &Device::Cpu)?;
        all.push((name.to_owned(), Box::new(move || drop(black_box(matrix.forward(&input))))));
    }
    Ok(all)
}

/// Seconds of the quickest call; NaN for one that does nothing.
fn best_s(run: &mut dyn FnMut()) -> f64 {
    let start = Instant::now();
    let mut best = f64::INFINITY;
    while start.elapsed() < Duration::from_millis(333) {
        let before = Instant::now();
        run();
        best = best.min(before.elapsed().as_secs_f64());
    }
    if best < 2e-7 { f64::NAN } else { best }
}

/// Reproducible numbers in -1..1.
fn values(len: usize) -> Vec<f32> {
    let mut state = 0x9E37_79B9_7F4A_7C15_u64;
    (0..len)
        .map(|_| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (state >> 40) as f32 / (1 << 23) as f32 - 1.0
        })
        .collect()
}
