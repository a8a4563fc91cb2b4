//! Checkpoints of LeRobot: what is read, what is refused and how that is said, and the quantised form.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests fail by panicking")]

mod card;
mod common;
mod folder;
mod quantise;
mod refusals;
mod tensors;
mod tokeniser;
