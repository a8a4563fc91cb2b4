//! Recorded inputs in, differences from the recorded results out.

use std::path::Path;

use super::probe::Probe;
use super::rtc::Guidance;
use super::{Inputs, RunError, SmolVla, SmolVlaOptions};
use crate::checkpoint::{Checkpoint, CheckpointError};
use crate::compute::Backend;
use crate::image::Image;
use crate::trace::{Comparison, Trace, TraceError, compare};

/// Why a checkpoint was not verified.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// The checkpoint cannot be loaded.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// The recorded tensors cannot be used, or the model has none like them.
    #[error(transparent)]
    Trace(#[from] TraceError),
    /// The model did not run.
    #[error("the model did not run: {0}")]
    Run(String),
}
