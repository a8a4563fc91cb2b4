//! Kernels for the CPU.

mod activate;
mod attention;
mod buffer;
mod conv;
mod dense;
mod elementwise;
mod finish;
mod isa;
mod kernels;
mod lanes;
mod memory;
mod pack;
mod peak;
mod pool;
mod prepare;
#[cfg(test)]
mod reference;
#[cfg(target_arch = "x86_64")]
mod tiles;

use std::sync::Arc;

pub(crate) use attention::attention;
pub(crate) use buffer::Buffer;
pub(crate) use conv::{ConvLayer, max_pool};
pub(crate) use dense::DenseLayer;
pub(crate) use elementwise::{add_repeated, gather, norm, turn};
pub use isa::Isa;
pub(crate) use peak::{Peak, float as float_peak, int8 as int8_peak};

/// The processor: its threads and what it can do.
#[derive(Clone, Debug)]
pub(crate) struct Cpu {
    threads: usize,
    isa: Isa,
    pool: Arc<pool::Pool>,
}

impl Cpu {
    pub(crate) fn new(threads: usize) -> Self {
        let all = std::thread::available_parallelism().map_or(1, usize::from);
        Self::with_isa(if threads == 0 { all } else { threads }, Isa::detect())
    }

    /// As if the processor had no more than `isa`, which it must have.
    pub(crate) fn with_isa(threads: usize, isa: Isa) -> Self {
        Self { threads, isa, pool: Arc::new(pool::Pool::new(threads - 1)) }
    }

    /// Calls `task` for each of `0..tasks`, on all threads, and waits for the last. Tasks are claimed one
    /// by one; which thread runs which is not fixed, so they must not depend on each other.
    pub(crate) fn run(&self, tasks: usize, task: &(dyn Fn(usize) + Sync)) {
        self.pool.run(tasks, task);
    }

    /// Threads in all, the caller's included.
    pub(crate) fn threads(&self) -> usize {
        self.threads
    }

    /// The instructions that kernels may use.
    pub(crate) fn isa(&self) -> Isa {
        self.isa
    }

    pub(crate) fn description(&self) -> String {
        format!("CPU, {} threads, {}", self.threads, self.isa.name())
    }
}
