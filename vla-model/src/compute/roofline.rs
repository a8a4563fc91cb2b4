//! The bounds that a machine sets to any kernel, measured (Williams, Waterman and Patterson 2009).

use std::time::{Duration, Instant};

use super::cpu::{self, Isa};
use super::{Backend, Kind};

/// Best rates of a backend's threads, all at once.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize)]
pub struct Roofline {
    /// The instructions that were measured.
    pub isa: Isa,
    /// How many threads, the caller's included.
    pub threads: usize,
    /// f32 operations in a second; a multiply-add is two.
    pub float_per_s: f64,
    /// int8 operations in a second, with the instruction that this `isa`'s int8 layers rest on. Where it
    /// has none, the rate of f32.
    pub int8_per_s: f64,
    /// Bytes in a second that are read from 256 MiB, one after another: memory, or a cache so large.
    pub read_bytes_per_s: f64,
}

impl Roofline {
    /// Measures a CPU for about half a second; none on another device. The best of many short runs, so
    /// that others on the machine disturb it little.
    #[must_use]
    pub fn measure(backend: &Backend) -> Option<Self> {
        let Kind::Cpu(cpu) = &backend.kind else { return None };
        let threads = cpu.threads();
        let rate = |peak: &cpu::Peak| {
            let runs = 4 * threads;
            let seconds = best_of(Duration::from_millis(150), || cpu.run(runs, &|_| (peak.run)()));
            (peak.operations * runs as u64) as f64 / seconds
        };
        let memory = vec![1_u64; (256 << 20) / size_of::<u64>()];
        let part = memory.len() / (16 * threads);
        let seconds = best_of(Duration::from_millis(200), || {
            cpu.run(16 * threads, &|at| {
                std::hint::black_box(sum(&memory[at * part..(at + 1) * part]));
            });
        });
        Some(Self {
            isa: cpu.isa(),
            threads,
            float_per_s: rate(&cpu::float_peak(cpu.isa())),
            int8_per_s: rate(&cpu::int8_peak(cpu.isa())),
            read_bytes_per_s: (part * 16 * threads * size_of::<u64>()) as f64 / seconds,
        })
    }
}

fn sum(values: &[u64]) -> u64 {
    let mut lanes = [0_u64; 32];
    for run in values.as_chunks::<32>().0 {
        for (lane, value) in lanes.iter_mut().zip(run) {
            *lane = lane.wrapping_add(*value);
        }
    }
    lanes.iter().fold(0, |sum, lane| sum.wrapping_add(*lane))
}

/// Seconds of the quickest run within about `time`, three at least.
fn best_of(time: Duration, mut run: impl FnMut()) -> f64 {
    let start = Instant::now();
    let mut best = f64::INFINITY;
    let mut runs = 0;
    while runs < 3 || start.elapsed() < time {
        let before = Instant::now();
        run();
        best = best.min(before.elapsed().as_secs_f64());
        runs += 1;
    }
    best
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests fail by panicking")]
mod tests {
    use super::*;

    #[test]
    fn the_least_and_the_most_instruction_set_have_bounds() {
        for isa in [Isa::Portable, Isa::detect()] {
            let backend = Backend::cpu_with(2, isa).unwrap();
            let roofline = Roofline::measure(&backend).unwrap();
            assert_eq!((roofline.isa, roofline.threads), (isa, 2));
            for rate in [roofline.float_per_s, roofline.int8_per_s, roofline.read_bytes_per_s] {
                assert!(rate > 1e6 && rate.is_finite(), "{roofline:?}");
            }
        }
    }
}
