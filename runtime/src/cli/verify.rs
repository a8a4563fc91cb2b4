//! `reflexarc verify`: a checkpoint against the tensors that were recorded with it.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use clap::Args;
use reflexarc_vla_model::checkpoint::{Checkpoint, PolicyConfig};
use reflexarc_vla_model::compute::{Backend, Precision};
use reflexarc_vla_model::trace::Comparison;
use reflexarc_vla_model::{act, device, smolvla};
use serde::Serialize;

use super::{DeviceArg, EXIT_OK, EXIT_PROBLEM, PrecisionArg};

pub(super) const EXAMPLES: &str = "\
The folder holds a checkpoint and reference.safetensors: inputs, and what another implementation made \
of them on the way and at the end. Every recorded tensor is compared. An error is the largest absolute \
difference over the largest absolute value of the recorded tensor. f32 keeps within 2e-5 where both \
sides compute the same; wrong norms or activations show above that and below 1e-3.

Exits with 1 when an error is above the tolerance, or nothing could be compared.

Example:
  reflexarc verify vla-model/tests/data/lerobot/smolvla_tiny
  reflexarc verify my_checkpoint --precision int8 --tolerance 0.1 --json";

#[derive(Debug, Args)]
pub(super) struct VerifyArgs {
    /// The checkpoint's folder.
    #[arg(value_name = "DIR")]
    dir: PathBuf,
    /// Largest error that passes.
    #[arg(long, value_name = "X", default_value_t = 2e-5)]
    tolerance: f64,
    /// In which numbers the model computes.
    #[arg(long, value_enum, default_value_t = PrecisionArg::F32)]
    precision: PrecisionArg,
    /// What the model runs on.
    #[arg(long, value_enum, default_value_t = DeviceArg::Cpu)]
    device: DeviceArg,
    /// Print JSON in place of a table.
    #[arg(long)]
    json: bool,
}

/// What the comparison has found.
#[derive(Debug, Serialize)]
struct Report {
    policy: &'static str,
    device: String,
    precision: Precision,
    tolerance: f64,
    passed: bool,
    /// The tensor that is furthest off.
    worst: Option<String>,
    tensors: Vec<Comparison>,
}

/// Compares, prints, and says by the exit code whether all is within the tolerance.
#[expect(clippy::print_stdout, reason = "telling is the purpose of this command")]
pub(super) fn verify(args: &VerifyArgs) -> Result<u8> {
    if args.tolerance.is_nan() || args.tolerance < 0.0 {
        bail!("--tolerance {}: expected a number of at least 0", args.tolerance);
    }
    let backend = Backend::from(&device::choose(args.device.into())?);
    let report = compare(&args.dir, &backend, args.precision.into(), args.tolerance)
        .with_context(|| format!("cannot verify {}", args.dir.display()))?;
    if args.json {
        println!("{}", serde_json::to_string_pretty(&report)?);
    } else {
        print!("{}", report.to_text());
    }
    Ok(if report.passed { EXIT_OK } else { EXIT_PROBLEM })
}

fn compare(dir: &Path, backend: &Backend, precision: Precision, tolerance: f64) -> Result<Report> {
    let config = Checkpoint::open(dir)?.config;
    let tensors = match &config {
        PolicyConfig::SmolVla(_) => {
            let precision = smolvla::Precisions::of(precision);
            smolvla::verify(dir, backend, smolvla::SmolVlaOptions { precision, ..Default::default() })?
        }
        PolicyConfig::Act(_) => act::verify(dir, backend, act::Precisions::of(precision))?,
    };
    let by_error =
        |a: &&Comparison, b: &&Comparison| a.largest_relative_error.total_cmp(&b.largest_relative_error);
    let worst = tensors.iter().max_by(by_error);
    let passed = worst.is_some_and(|worst| worst.largest_relative_error <= tolerance);
    Ok(Report {
        policy: config.kind(),
        device: backend.description(),
        precision,
        tolerance,
        passed,
        worst: worst.map(|worst| worst.name.clone()),
        tensors,
    })
}

impl Report {
    fn to_text(&self) -> String {
        let mut text = format!("{} on {}\n\n", self.policy, self.device);
        let width =
            self.tensors.iter().map(|tensor| tensor.name.len()).max().unwrap_or(0).max("tensor".len());
        let mut line = |name: &str, shape: &str, error: &str, mark: &str| {
            let _ = writeln!(text, "{}", format!("{name:width$}  {shape:16}  {error:>9}  {mark}").trim_end());
        };
        line("tensor", "shape", "error", "");
        for tensor in &self.tensors {
            let error = tensor.largest_relative_error;
            let mark = if error <= self.tolerance { "" } else { "above the tolerance" };
            line(&tensor.name, &format!("{:?}", tensor.shape), &format!("{error:.1e}"), mark);
        }
        let above =
            self.tensors.iter().filter(|tensor| tensor.largest_relative_error > self.tolerance).count();
        let _ = match (&self.worst, above) {
            (None, _) => writeln!(text, "\nfailed: the reference records nothing"),
            (Some(worst), 0) => {
                writeln!(
                    text,
                    "\nok: all {} within {:.0e}, furthest off {worst}",
                    self.tensors.len(),
                    self.tolerance
                )
            }
            (Some(worst), above) => writeln!(
                text,
                "\nfailed: {above} of {} above {:.0e}, furthest off {worst}",
                self.tensors.len(),
                self.tolerance
            ),
        };
        text
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests fail by panicking")]
mod tests {
    use super::*;

    fn fixture(name: &str) -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../vla-model/tests/data/lerobot").join(name)
    }

    #[test]
    fn both_kinds_of_policy_pass_and_a_table_says_so() {
        for name in ["smolvla_tiny", "act_tiny"] {
            let report = compare(&fixture(name), &Backend::cpu(1), Precision::F32, 2e-5).unwrap();
            assert!(report.passed, "{}", report.to_text());
            assert!(report.to_text().contains("output.action_chunk"));
            assert!(report.to_text().contains("ok: all"));
        }
    }

    #[test]
    fn the_tolerance_decides() {
        let report = compare(&fixture("smolvla_tiny"), &Backend::cpu(1), Precision::F32, 1e-9).unwrap();
        assert!(!report.passed);
        assert!(report.to_text().contains("failed: "));
        assert!(report.to_text().contains("above the tolerance"));
    }

    #[test]
    fn a_folder_without_a_reference_is_an_error_that_names_the_file() {
        let empty = std::env::temp_dir();
        assert!(
            compare(&empty.join("reflexarc-no-such-folder"), &Backend::cpu(1), Precision::F32, 1.0).is_err()
        );
    }
}
