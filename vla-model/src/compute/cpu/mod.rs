//! Kernels for the CPU.

mod buffer;
mod reference;

pub(crate) use buffer::Buffer;
pub(crate) use reference::{ConvLayer, DenseLayer, attention, max_pool, norm};

/// The processor: its threads and what it can do.
#[derive(Clone, Debug)]
pub(crate) struct Cpu {
    threads: usize,
}

impl Cpu {
    pub(crate) fn new(threads: usize) -> Self {
        let all = std::thread::available_parallelism().map_or(1, usize::from);
        Self { threads: if threads == 0 { all } else { threads } }
    }

    /// Calls `task` for each of `0..tasks`, on all threads, and waits for the last. Tasks are claimed one
    /// by one; which thread runs which is not fixed, so they must not depend on each other.
    #[allow(dead_code, reason = "for the kernels to come")]
    pub(crate) fn run(&self, tasks: usize, task: &(dyn Fn(usize) + Sync)) {
        (0..tasks).for_each(task);
    }

    pub(crate) fn description(&self) -> String {
        format!("CPU, {} threads", self.threads)
    }
}
