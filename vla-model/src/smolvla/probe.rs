//! Looking on while a chunk is computed.

use crate::compute::{ComputeError, Rows};
use crate::trace::Trace;

/// A part of the work on one chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    /// Camera frames to the vision tower's input.
    Images,
    /// Vision tower and connector, all cameras.
    Vision,
    /// Text tower over the prefix.
    Prefix,
    /// All steps of the sampler.
    Denoise,
}

impl Stage {
    /// All stages in their order.
    pub const ALL: [Self; 4] = [Self::Images, Self::Vision, Self::Prefix, Self::Denoise];

    /// Its name in reports.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Images => "images",
            Self::Vision => "vision",
            Self::Prefix => "prefix",
            Self::Denoise => "denoise",
        }
    }
}

/// Who wants to know what on the way; nobody and nothing by default.
#[derive(Default)]
pub(super) struct Probe<'a> {
    /// Where intermediate results go.
    pub(super) trace: Option<&'a mut Trace>,
    /// Called when a stage has ended.
    pub(super) ended: Option<&'a mut dyn FnMut(Stage)>,
}

impl Probe<'_> {
    pub(super) fn traces(&self) -> bool {
        self.trace.is_some()
    }

    pub(super) fn rows(&mut self, name: impl FnOnce() -> String, rows: &Rows) -> Result<(), ComputeError> {
        match &mut self.trace {
            Some(trace) => trace.put(name(), rows),
            None => Ok(()),
        }
    }

    /// Records values that only a trace needs.
    pub(super) fn values(
        &mut self,
        name: impl FnOnce() -> String,
        values: impl FnOnce() -> Result<(Vec<usize>, Vec<f32>), ComputeError>,
    ) -> Result<(), ComputeError> {
        if let Some(trace) = &mut self.trace {
            let (shape, values) = values()?;
            trace.put_values(name(), &shape, values);
        }
        Ok(())
    }

    /// Says that a stage has ended, once `result` has been computed.
    pub(super) fn end(&mut self, stage: Stage, result: &Rows) -> Result<(), ComputeError> {
        if let Some(ended) = &mut self.ended {
            result.narrow(0, 1).download()?;
            ended(stage);
        }
        Ok(())
    }
}
