//! The stages of a chunk.

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

/// Who wants to know what on the way.
pub(super) type Probe<'a> = crate::probe::Probe<'a, Stage>;
