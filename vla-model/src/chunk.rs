//! Action chunks: what policies say that were trained on demonstrations of joint motion.

use serde::{Deserialize, Serialize};

/// A timed sequence of joint targets, answering one observation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ActionChunk {
    /// Capture time of the observation that this answers, ns; the first action is for that moment.
    pub observation_ns: u64,
    /// Time between two actions, ns: the rate of the data that the policy was trained on.
    pub period_ns: u64,
    /// Values of one action: the arm's joints, rad, then the gripper, m.
    pub width: usize,
    /// `count × width` values, action after action.
    #[serde(with = "crate::exact")]
    pub actions: Vec<f32>,
}

impl ActionChunk {
    /// Number of actions.
    #[must_use]
    pub fn count(&self) -> usize {
        self.actions.len().checked_div(self.width).unwrap_or(0)
    }

    /// Action `index`, `width` values.
    #[must_use]
    pub fn action(&self, index: usize) -> Option<&[f32]> {
        self.actions.chunks_exact(self.width.max(1)).nth(index)
    }
}

/// What is still to be executed while a policy computes: the rest of the chunk before, so that the next
/// one can continue it (real-time chunking, arXiv 2506.07339). The default is the start: nothing.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Ahead {
    /// Unexecuted actions, in the units of [`ActionChunk::actions`], action after action. The first one
    /// is for the moment of the observation.
    pub actions: Vec<f32>,
    /// Actions that are expected to be consumed before the new chunk arrives.
    pub delay: usize,
}
