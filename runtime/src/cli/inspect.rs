//! `reflexarc inspect`: what a checkpoint is, what it needs, and what is wrong with it.

use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::Args;
use reflexarc_vla_model::checkpoint::card::Card;
use reflexarc_vla_model::checkpoint::work::Need;
use serde::Serialize;

use super::{EXIT_OK, EXIT_PROBLEM};

pub(super) const EXAMPLES: &str = "\
Prints a model card from the folder alone; no weight is read and nothing is run. The arithmetic is that \
of LeRobot's own implementation: multiplications and additions of matrices, convolutions and attention. \
Memory is an estimate: the weights in each precision and the largest buffers. Token embeddings stay on \
disk and are not counted.

Exits with 1 when something keeps the checkpoint from being run; the card says what.

Example:
  reflexarc inspect vla-model/tests/data/lerobot/act_tiny
  reflexarc inspect my_checkpoint --json | jq .needs";

#[derive(Debug, Args)]
pub(super) struct InspectArgs {
    /// The checkpoint's folder.
    #[arg(value_name = "DIR")]
    dir: PathBuf,
    /// Print JSON in place of a card.
    #[arg(long)]
    json: bool,
}

/// The card, beside what this machine has.
#[derive(Debug, Serialize)]
struct Report {
    #[serde(flatten)]
    card: Card,
    /// Memory that processes can still get, bytes; absent where the system does not say.
    available_bytes: Option<u64>,
}

/// Prints the card and says by the exit code whether the checkpoint can be run.
#[expect(clippy::print_stdout, reason = "telling is the purpose of this command")]
pub(super) fn inspect(args: &InspectArgs) -> Result<u8> {
    let card = Card::read(&args.dir).with_context(|| format!("cannot inspect {}", args.dir.display()))?;
    let available_bytes = fs::read_to_string("/proc/meminfo").ok().as_deref().and_then(available);
    let report = Report { card, available_bytes };
    if args.json {
        println!("{}", serde_json::to_string_pretty(&report)?);
    } else {
        print!("{}", report.to_text());
    }
    Ok(if report.card.problems.is_empty() { EXIT_OK } else { EXIT_PROBLEM })
}

/// `MemAvailable` of Linux's `/proc/meminfo`, bytes.
fn available(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kibibytes.checked_mul(1024)
}

fn mega(bytes: u64) -> f64 {
    bytes as f64 / 1e6
}

impl Report {
    fn to_text(&self) -> String {
        let mut text = self.card.to_string();
        let fits = |need: &Need| match self.available_bytes {
            Some(available) if need.memory_bytes <= available => ", fits",
            Some(_) => ", does not fit",
            None => "",
        };
        for (index, need) in self.card.needs.iter().enumerate() {
            let head = if index == 0 { "needs" } else { "" };
            let precision = format!("{:?}", need.precision).to_lowercase();
            let (memory, traffic) = (mega(need.memory_bytes), mega(need.traffic_bytes));
            // Writing into a string does not fail.
            let _ = writeln!(
                text,
                "{head:<12} {precision:<5} {memory:>8.0} MB of memory{}; a chunk reads {traffic:.0} MB of weights",
                fits(need)
            );
        }
        if let Some(available) = self.available_bytes {
            let _ = writeln!(text, "machine      {:.0} MB of memory available", mega(available));
        }
        text
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests fail by panicking")]
mod tests {
    use super::*;
    use std::path::Path;

    #[test]
    fn the_memory_that_is_available() {
        let meminfo = "MemTotal:  16384 kB\nMemAvailable:    2048 kB\nBuffers: 1 kB\n";
        assert_eq!(available(meminfo), Some(2048 * 1024));
        assert_eq!(available("MemTotal: 5 kB"), None);
        assert_eq!(available("MemAvailable: 18446744073709551615 kB"), None);
    }

    #[test]
    fn what_fits_is_said() {
        let folder = "../vla-model/tests/data/lerobot/act_tiny";
        let card = Card::read(&Path::new(env!("CARGO_MANIFEST_DIR")).join(folder)).unwrap();
        let text = |available_bytes| Report { card: card.clone(), available_bytes }.to_text();
        assert!(text(Some(1 << 30)).contains("int8") && !text(Some(1 << 30)).contains("does not fit"));
        assert!(text(Some(1000)).contains("does not fit"));
        assert!(!text(None).contains("fit"));
        let json = serde_json::to_value(Report { card, available_bytes: Some(7) }).unwrap();
        assert_eq!((json["kind"].as_str(), json["available_bytes"].as_u64()), (Some("act"), Some(7)));
    }
}
