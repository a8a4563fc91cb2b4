//! One suite for every device: the same operations, the same numbers, the same decisions.
//!
//! The CPU's kernels and burn's tensors on the CPU are always tested. A GPU is tested where this build has it
//! (feature `gpu`) and an adapter is found; a software adapter only when `REFLEXARC_TEST_SOFTWARE_GPU` is set:
//! it runs the same shaders, but takes its time (see `.ci/device-suite`).
#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stdout, reason = "tests fail by panicking")]

mod compute;
mod goal;
mod graphics;
mod lerobot;
#[path = "../recorded/mod.rs"]
mod recorded;
