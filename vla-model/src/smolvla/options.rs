//! What a user may choose about SmolVLA.

use serde::{Deserialize, Serialize};

use crate::checkpoint::RtcConfig;
use crate::compute::Precision;
use crate::units::Units;

/// Choices that the checkpoint leaves open.
#[derive(Clone, Debug, PartialEq)]
pub struct SmolVlaOptions {
    /// In which numbers each part works. Default: [`Precisions::of`] f32.
    pub precision: Precisions,
    /// Steps of the sampler, at least 1; none takes the checkpoint's (10 in the published model). Cost
    /// falls in proportion and the chunk becomes coarser.
    pub steps: Option<usize>,
    /// Seed of the sampler's noise. Default: 0.
    pub seed: u64,
    /// Real-time chunking; none takes the checkpoint's, or LeRobot's defaults where it says nothing.
    pub rtc: Option<RtcConfig>,
    /// Time between two actions, ns: one over the frame rate of the training data, which the checkpoint
    /// does not carry. Default: a thirtieth of a second.
    pub period_ns: u64,
    /// Cameras of the checkpoint, by their names in its configuration, that the robot does not have: they
    /// are masked out, as LeRobot does for a missing camera. Cameras called `empty_camera_…` always are.
    /// Default: none.
    pub without_cameras: Vec<String>,
    /// Units of the training data's states and actions. Default: rad and m.
    pub units: Units,
}

impl Default for SmolVlaOptions {
    fn default() -> Self {
        Self {
            precision: Precisions::of(Precision::F32),
            steps: None,
            seed: 0,
            rtc: None,
            period_ns: 1_000_000_000 / 30,
            without_cameras: Vec::new(),
            units: Units::default(),
        }
    }
}

/// In which numbers each part keeps its weights and multiplies. Weights that a file has as integers stay
/// integers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Precisions {
    /// Patch embedding: 0.6 million weights.
    pub patches: Precision,
    /// Vision tower: 85 million, two thirds of the arithmetic.
    pub vision: Precision,
    /// Connector: 12 million.
    pub connector: Precision,
    /// Text tower: 157 million.
    pub text: Precision,
    /// Action expert: 98 million, read once for each step.
    pub expert: Precision,
    /// Projections of state, actions and time: 1.6 million.
    pub projections: Precision,
}

impl Precisions {
    /// `precision` for the four large parts. Patch embedding and projections, which face the outside and
    /// weigh nothing, stay f32.
    #[must_use]
    pub fn of(precision: Precision) -> Self {
        Self {
            patches: Precision::F32,
            vision: precision,
            connector: precision,
            text: precision,
            expert: precision,
            projections: Precision::F32,
        }
    }

    /// The precision of the four large parts where they agree, `mixed` where not.
    #[must_use]
    pub fn name(&self) -> &'static str {
        if *self == Self::of(self.expert) { self.expert.name() } else { "mixed" }
    }
}

impl Default for Precisions {
    fn default() -> Self {
        Self::of(Precision::F32)
    }
}
