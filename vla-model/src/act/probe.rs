//! The stages of a chunk, and what is recorded of them.

use crate::compute::{ComputeError, Rows};

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

/// Who wants to know what on the way.
pub(super) type Probe<'a> = crate::probe::Probe<'a, Stage>;

impl Probe<'_> {
    /// Records tokens as `[tokens, 1, dim]`.
    pub(super) fn put(&mut self, name: impl FnOnce() -> String, tokens: &Rows) -> Result<(), ComputeError> {
        self.values(name, || Ok((vec![tokens.count(), 1, tokens.width()], tokens.download()?)))
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
        self.values(name, || {
            let channels = rows.width();
            let pixels = rows.narrow(image * height * width, height * width).download()?;
            let plane = |channel| pixels.iter().skip(channel).step_by(channels).copied();
            Ok((vec![channels, height, width], (0..channels).flat_map(plane).collect()))
        })
    }
}
