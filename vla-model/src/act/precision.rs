//! In which numbers each part of the network computes.

use crate::compute::Precision;

/// Precision by part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ActPrecision {
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

impl From<Precision> for ActPrecision {
    /// The default for each part. Convolutions have no int4 form; they take int8 then.
    fn from(precision: Precision) -> Self {
        let convolution = match precision {
            Precision::Int4 => Precision::Int8,
            other => other,
        };
        Self {
            stem: convolution,
            backbone: convolution,
            encoder: precision,
            decoder: precision,
            ends: Precision::F32,
        }
    }
}
