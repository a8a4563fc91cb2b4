//! The boundary between a learned policy and the loop that runs it.

use crate::chunk::{ActionChunk, Ahead};
use crate::decision::Decision;
use crate::grammar::DecodeError;
use crate::observation::{Observation, ObservationError};

/// Why a policy gave no decision. The caller holds still on any of these.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum PolicyError {
    /// The observation lacks something or is malformed.
    #[error("the observation cannot be used: {0}")]
    Observation(#[from] ObservationError),
    /// A camera whose images have another size than the model was trained on.
    #[error(
        "camera `{name}` is {actual_width} x {actual_height} pixels, the model wants {expected_width} x {expected_height}"
    )]
    CameraSize {
        /// Name of the camera.
        name: String,
        /// Width that the model wants, pixels.
        expected_width: usize,
        /// Height that the model wants, pixels.
        expected_height: usize,
        /// Width that came, pixels.
        actual_width: usize,
        /// Height that came, pixels.
        actual_height: usize,
    },
    /// No instruction has been given yet.
    #[error("no instruction has been given")]
    NoInstruction,
    /// The instruction cannot be turned into tokens.
    #[error("the instruction cannot be used: {reason}")]
    Instruction {
        /// Why not.
        reason: String,
    },
    /// The model's output cannot be read as tokens.
    #[error("the model's output cannot be decoded: {0}")]
    Decode(#[from] DecodeError),
    /// The device that runs the model failed.
    #[error("the model could not run on {device}: {reason}")]
    Device {
        /// The device, in words.
        device: String,
        /// What it said.
        reason: String,
    },
    /// A policy failed in a run that is replayed.
    #[error("{reason}")]
    Recorded {
        /// What the policy said then.
        reason: String,
    },
    /// The policy panicked, now or too often before to be asked again.
    #[error("the policy has panicked {times} times: {message}")]
    Panicked {
        /// How often so far.
        times: u32,
        /// What it said last.
        message: String,
    },
}

/// What a policy says to one observation.
#[derive(Clone, Debug, PartialEq)]
pub enum Output {
    /// What to do, in goals; the caller finds the motion.
    Goals(Decision),
    /// The motion itself, in joint targets.
    Chunk(ActionChunk),
}

impl Output {
    /// Capture time of the observation that this answers, ns.
    #[must_use]
    pub fn observation_ns(&self) -> u64 {
        match self {
            Self::Goals(decision) => decision.observation_ns,
            Self::Chunk(chunk) => chunk.observation_ns,
        }
    }
}

/// How far a decision has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Milestone {
    /// The observation has become the network's input.
    Input,
    /// The network's output is there; what is left is to read it.
    Output,
}

/// A learned policy: it turns an observation into a decision.
///
/// One thread owns a policy and calls it; it may keep state between calls (the encoded
/// instruction, a history). It reads no clock and does no I/O: the time of the observation comes
/// with it and goes back in [`Output::observation_ns`]. It is never trusted: what it says is
/// audited and limited by its caller.
pub trait Policy: Send {
    /// A short name for logs and reports, such as `goal-int8`.
    fn name(&self) -> &str;

    /// Sets the instruction for the decisions that follow and forgets what came before. Any text
    /// is accepted; one that makes no sense leads to an infeasible verdict, not to an error. Work
    /// that depends on the instruction alone is done here, once.
    fn instruct(&mut self, instruction: &str);

    /// Decides what to do now. `ahead` is what will be executed meanwhile, for policies that
    /// continue their own chunks; others leave it unread.
    ///
    /// # Errors
    /// [`PolicyError`] when the observation cannot be used or the model fails; the policy stays
    /// usable, and the next call may succeed.
    fn decide(&mut self, observation: &Observation, ahead: &Ahead) -> Result<Output, PolicyError>;

    /// As [`Policy::decide`]; calls `reached` on the way, so that a caller with a clock can tell the parts
    /// apart. A policy that does not do so reaches [`Milestone::Input`] at once and passes the rest in silence.
    ///
    /// # Errors
    /// As [`Policy::decide`]; `reached` may not have been called then.
    fn decide_staged(
        &mut self,
        observation: &Observation,
        ahead: &Ahead,
        reached: &mut dyn FnMut(Milestone),
    ) -> Result<Output, PolicyError> {
        reached(Milestone::Input);
        self.decide(observation, ahead)
    }

    /// By how much longer than usual the last decision would have taken, ns: for policies that imitate
    /// slow ones under a simulated clock, where nothing takes any time. `u64::MAX`: it never comes.
    fn imitated_delay_ns(&self) -> u64 {
        0
    }
}
