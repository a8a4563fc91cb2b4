//! Writes a checkpoint of full size with random weights, in LeRobot's form: to measure time and memory
//! without a download.
//!
//! ```text
//! cargo run --release -p reflexarc-vla-model --example random_checkpoint -- smolvla DIR [--cameras N] [--seed N]
//! cargo run --release -p reflexarc-vla-model --example random_checkpoint -- act DIR [--cameras N] [--seed N]
//! ```
//!
//! Names, shapes and storage types are those of the published SmolVLA base model (450 million parameters,
//! 0.9 GB) and of LeRobot's default ACT (52 million, 0.2 GB), both for an arm of five joints and a gripper.
//! The weights are normal, scaled by the number of inputs, norms around one, biases a tenth, so that every
//! part takes part. The tokenizer knows bytes and a few pairs. An existing folder is written over.

mod act;
mod file;
mod processors;
mod smolvla;

use std::path::PathBuf;

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

/// Joints and gripper.
const DOF: usize = 6;
/// Height and width of the cameras' images, pixels.
const IMAGE: [usize; 2] = [480, 640];

fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    let usage = "usage: random_checkpoint smolvla|act DIR [--cameras N] [--seed N]";
    let kind = arguments.next().ok_or(usage)?;
    let dir = PathBuf::from(arguments.next().ok_or(usage)?);
    let (mut cameras, mut seed) = (2, 0);
    while let Some(option) = arguments.next() {
        let value = arguments.next().ok_or(usage)?;
        match option.as_str() {
            "--cameras" => cameras = value.parse()?,
            "--seed" => seed = value.parse()?,
            _ => return Err(usage.into()),
        }
    }
    std::fs::create_dir_all(&dir)?;
    match kind.as_str() {
        "smolvla" => smolvla::write(&dir, cameras, seed),
        "act" => act::write(&dir, cameras, seed),
        _ => Err(usage.into()),
    }
}
