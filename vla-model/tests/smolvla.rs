//! SmolVLA against what LeRobot computed: every recorded intermediate result and the chunk.
#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

use std::path::{Path, PathBuf};

use reflexarc_vla_model::compute::{Backend, Precision};
use reflexarc_vla_model::smolvla::{Precisions, SmolVlaOptions, verify};
use reflexarc_vla_model::trace::Comparison;

/// Of the largest value of a tensor. Wrong epsilons and wrong activations pass looser ones.
const TOLERANCE: f64 = 2e-5;

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/lerobot").join(name)
}

fn compared(name: &str, options: SmolVlaOptions) -> Vec<Comparison> {
    verify(&fixture(name), &Backend::cpu(0), options).unwrap()
}

#[track_caller]
fn agrees(name: &str) {
    let comparisons = compared(name, SmolVlaOptions::default());
    assert!(comparisons.iter().any(|comparison| comparison.name == "output.action_chunk"));
    assert!(comparisons.iter().any(|comparison| comparison.name == "rtc.action_chunk"));
    assert!(comparisons.len() > 40);
    for comparison in comparisons {
        assert!(comparison.largest_relative_error <= TOLERANCE, "{comparison:?}");
    }
}

#[test]
fn two_cameras_agree_with_lerobot() {
    agrees("smolvla_tiny");
}

#[test]
fn a_file_in_bf16_agrees_with_lerobot() {
    agrees("smolvla_tiny_bf16");
}

#[test]
fn weights_kept_in_bf16_agree_where_the_file_has_them_so() {
    let bf16 = SmolVlaOptions { precision: Precisions::of(Precision::Bf16), ..Default::default() };
    for comparison in compared("smolvla_tiny_bf16", bf16) {
        println!("{comparison:?}");
    }
}
