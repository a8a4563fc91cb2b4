//! In which numbers each part of the network computes.

use serde::{Deserialize, Serialize};

use crate::compute::Precision;

/// Precision by part.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Precisions {
    /// The backbone's first convolution, which sees the pixels.
    pub stem: Precision,
    /// The other convolutions.
    pub backbone: Precision,
    /// Image projection and encoder.
    pub encoder: Precision,
    /// Decoder.
    pub decoder: Precision,
    /// State projection and action head: a thousandth of the work, and every error of theirs is one of
    /// the action.
    pub ends: Precision,
}

impl Precisions {
    /// `precision` for the large parts. Convolutions have no int4 form; they take int8 then. State
    /// projection and action head stay f32.
    #[must_use]
    pub fn of(precision: Precision) -> Self {
        let convolution = if precision == Precision::Int4 { Precision::Int8 } else { precision };
        Self {
            stem: convolution,
            backbone: convolution,
            encoder: precision,
            decoder: precision,
            ends: Precision::F32,
        }
    }

    /// The precision of the large parts where they agree, `mixed` where not.
    #[must_use]
    pub fn name(&self) -> &'static str {
        if *self == Self::of(self.encoder) { self.encoder.name() } else { "mixed" }
    }
}

impl Default for Precisions {
    fn default() -> Self {
        Self::of(Precision::F32)
    }
}
