//! `reflexarc quantize`: a checkpoint with its matrices as integers.

use std::io::{IsTerminal, Write};
use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::Args;
use reflexarc_vla_model::checkpoint::{Checkpoint, QuantiseOptions, Scheme, quantise};

use super::EXIT_OK;

pub(super) const EXAMPLES: &str = "\
Writes the folder OUT with the same configuration, statistics and tokenizer, and a model.safetensors \
whose matrices are integers: int8 with a scale for each output, or int4 with a scale for each 32 inputs. \
Token embeddings become bf16. Norms and biases stay as they are, and so do, unless --sensitive is given, \
the few matrices between the robot's numbers or pixels and the network. Tensors that inference does not \
use are left out. OUT appears when it is complete, and the same DIR always gives the same bytes.

Example:
  reflexarc quantize my_checkpoint my_checkpoint_int8 --int8
  reflexarc quantize my_checkpoint my_checkpoint_int4 --int4 --keep connector";

#[derive(Debug, Args)]
#[group(id = "scheme", required = true, args = ["int8", "int4"])]
pub(super) struct QuantizeArgs {
    /// The checkpoint's folder.
    #[arg(value_name = "DIR")]
    dir: PathBuf,
    /// The folder to write.
    #[arg(value_name = "OUT")]
    out: PathBuf,
    /// Eight bits for a weight: results barely change.
    #[arg(long)]
    int8: bool,
    /// Four bits for a weight: half of that memory, larger changes.
    #[arg(long)]
    int4: bool,
    /// Leave matrices as they are whose name has PART in it (repeatable).
    #[arg(long, value_name = "PART")]
    keep: Vec<String>,
    /// Make integers of the sensitive matrices as well.
    #[arg(long)]
    sensitive: bool,
    /// Replace OUT if it is a checkpoint.
    #[arg(long)]
    force: bool,
}

/// Writes the folder, shows how far it is, and says what became of the tensors.
#[expect(clippy::print_stdout, reason = "telling is the purpose of this command")]
pub(super) fn quantize(args: QuantizeArgs) -> Result<u8> {
    let scheme = if args.int4 { Scheme::Int4 } else { Scheme::Int8 };
    let options = QuantiseOptions { scheme, keep: args.keep, sensitive: args.sensitive, force: args.force };
    let context = || format!("cannot quantize {}", args.dir.display());
    let checkpoint = Checkpoint::open(&args.dir).with_context(context)?;
    let mut progress = Progress::default();
    let written = quantise(&checkpoint, &args.out, &options, |done, total| progress.show(done, total));
    progress.end();
    println!("{}: {}", args.out.display(), written.with_context(context)?);
    Ok(EXIT_OK)
}

/// A percentage on stderr: one line that changes on a terminal, every tenth elsewhere.
#[derive(Default)]
struct Progress {
    shown: Option<u64>,
}

impl Progress {
    fn show(&mut self, done: u64, total: u64) {
        let terminal = std::io::stderr().is_terminal();
        let step = if terminal { 1 } else { 10 };
        let percent = (u128::from(done) * 100 / u128::from(total.max(1))) as u64 / step * step;
        if self.shown == Some(percent) {
            return;
        }
        self.shown = Some(percent);
        let (start, end) = if terminal { ("\r", "") } else { ("", "\n") };
        let mut stderr = std::io::stderr().lock();
        // Whoever has closed stderr does not want to see it.
        let _ = write!(stderr, "{start}quantizing {percent:>3} %{end}").and_then(|()| stderr.flush());
    }

    fn end(&self) {
        if self.shown.is_some() && std::io::stderr().is_terminal() {
            let _ = writeln!(std::io::stderr());
        }
    }
}
