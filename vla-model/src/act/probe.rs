//! Looking on while a chunk is computed.

use crate::compute::{ComputeError, Rows};
use crate::trace::Trace;

/// A part of the work on one chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    /// Camera frames to normalised pixels.
    Images,
    /// The residual network, all cameras.
    Backbone,
    /// Tokens and encoder.
    Encoder,
    /// Decoder and action head.
    Decoder,
}

impl Stage {
    /// All stages in their order.
    pub const ALL: [Self; 4] = [Self::Images, Self::Backbone, Self::Encoder, Self::Decoder];

    /// Its name in reports.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Images => "images",
            Self::Backbone => "backbone",
            Self::Encoder => "encoder",
            Self::Decoder => "decoder",
        }
    }
}

/// Who wants to know what on the way; nobody and nothing by default.
#[derive(Default)]
pub(super) struct Probe<'a> {
    /// Where intermediate values go.
    pub(super) trace: Option<&'a mut Trace>,
    /// Called when a stage has ended.
    pub(super) ended: Option<&'a mut dyn FnMut(Stage)>,
}

impl Probe<'_> {
    /// Records tokens as `[tokens, 1, dim]`.
    pub(super) fn put(&mut self, name: impl FnOnce() -> String, tokens: &Rows) -> Result<(), ComputeError> {
        if let Some(trace) = &mut self.trace {
            trace.put_values(name(), &[tokens.count(), 1, tokens.width()], tokens.download()?);
        }
        Ok(())
    }

    /// Records feature map `image` of those in `rows`, `height × width` pixels each, as
    /// `[channels, height, width]`.
    pub(super) fn put_map(
        &mut self,
        name: impl FnOnce() -> String,
        rows: &Rows,
        image: usize,
        [height, width]: [usize; 2],
    ) -> Result<(), ComputeError> {
        if let Some(trace) = &mut self.trace {
            let channels = rows.width();
            let pixels = rows.narrow(image * height * width, height * width).download()?;
            let plane = |channel| pixels.iter().skip(channel).step_by(channels).copied();
            let values = (0..channels).flat_map(plane).collect();
            trace.put_values(name(), &[channels, height, width], values);
        }
        Ok(())
    }

    /// Says that a stage has ended, once `result` has been computed.
    pub(super) fn end(&mut self, stage: Stage, result: &Rows) -> Result<(), ComputeError> {
        if let Some(ended) = &mut self.ended {
            // Waits for a device that only has been told to.
            result.narrow(0, 1).download()?;
            ended(stage);
        }
        Ok(())
    }
}
