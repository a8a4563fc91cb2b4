//! LeRobot's models on burn's tensors: every value that LeRobot recorded, as on the CPU's own kernels (see
//! `../smolvla.rs` and `../act.rs`).

use std::path::{Path, PathBuf};
use std::time::Instant;

use burn::tensor::Device;
use reflexarc_vla_model::act::{self, Precisions};
use reflexarc_vla_model::compute::Backend;
use reflexarc_vla_model::smolvla::{self, SmolVlaOptions};
use reflexarc_vla_model::trace::Comparison;

use super::graphics;

/// Of the largest value of a tensor.
const TOLERANCE: f64 = 2e-5;

fn backends() -> Vec<Backend> {
    let mut backends = vec![Backend::burn(&Device::flex(), "burn on the CPU")];
    backends.extend(graphics::gpu().map(|chosen| Backend::from(&chosen)));
    backends
}

fn agree(name: &str, compare: impl Fn(&Path, &Backend) -> Vec<Comparison>) {
    let folder: PathBuf = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/lerobot").join(name);
    for backend in backends() {
        let begun = Instant::now();
        let comparisons = compare(&folder, &backend);
        let description = backend.description();
        println!("{name}, {description}: {:.1} s", begun.elapsed().as_secs_f64());
        assert!(comparisons.iter().any(|comparison| comparison.name == "output.action_chunk"));
        let worst =
            comparisons.iter().max_by(|a, b| a.largest_relative_error.total_cmp(&b.largest_relative_error));
        println!("{name}, {description}: {worst:?}");
        for comparison in &comparisons {
            assert!(comparison.largest_relative_error <= TOLERANCE, "{description}: {comparison:?}");
        }
    }
}

#[test]
fn smolvla_is_lerobots_on_every_device() {
    agree("smolvla_tiny", |dir, backend| smolvla::verify(dir, backend, SmolVlaOptions::default()).unwrap());
}

#[test]
fn act_is_lerobots_on_every_device() {
    agree("act_tiny", |dir, backend| act::verify(dir, backend, Precisions::default()).unwrap());
}
