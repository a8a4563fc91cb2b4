//! What a pad says untouched.
//!
//! ```text
//! Taking(attempt 1) -- enough quiet frames --> Taken
//!     |        ^
//!     | a value moved more than the bound
//!     v        |
//! Taking(attempt n + 1) -- attempts used up --> Failed
//! ```
//!
//! A pad that has failed publishes nothing until the zero is asked for anew: a wrong zero looks like a
//! touch, or hides one.

/// Takes the mean of the first frames, if they are quiet.
#[derive(Clone, Debug)]
pub struct Baseline {
    frames: u32,
    spread: f32,
    attempts: u32,
    phase: Phase,
    zero: Vec<f32>,
    retries: u64,
}

#[derive(Clone, Debug)]
enum Phase {
    Taking { attempt: u32, taken: u32, values: Vec<Value> },
    Taken,
    Failed { spread: f32 },
}

/// One value so far.
#[derive(Clone, Copy, Debug)]
struct Value {
    sum: f64,
    low: f32,
    high: f32,
}

const NOTHING: Value = Value { sum: 0.0, low: f32::INFINITY, high: f32::NEG_INFINITY };

/// How far the zero is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum BaselineState {
    /// It is being taken.
    Taking {
        /// The attempt, from 1.
        attempt: u32,
        /// Frames so far.
        taken: u32,
    },
    /// It is there.
    Taken,
    /// The pad was not quiet in any attempt.
    Failed {
        /// What the worst value moved by in the last attempt, the device's unit.
        spread: f32,
    },
}

impl Baseline {
    /// The zero of `values` values is the mean of `frames` frames, within which no value may move by more
    /// than `spread`; after `attempts` attempts it is given up. With no frames, the zero is 0.
    #[must_use]
    pub fn new(values: usize, frames: u32, spread: f32, attempts: u32) -> Self {
        let mut baseline =
            Self { frames, spread, attempts, phase: Phase::Taken, zero: vec![0.0; values], retries: 0 };
        baseline.restart();
        baseline
    }

    /// Takes the zero anew, with all attempts.
    pub fn restart(&mut self) {
        self.phase = if self.frames == 0 { Phase::Taken } else { self.attempt(1) };
    }

    fn attempt(&self, attempt: u32) -> Phase {
        Phase::Taking { attempt, taken: 0, values: vec![NOTHING; self.zero.len()] }
    }

    /// Takes one frame of finite values. Returns the zero when it is there; the frame that completes it gets
    /// none yet.
    pub fn push(&mut self, frame: &[f32]) -> Option<&[f32]> {
        let Phase::Taking { attempt, taken, values } = &mut self.phase else {
            return matches!(self.phase, Phase::Taken).then_some(&self.zero);
        };
        for (value, now) in values.iter_mut().zip(frame) {
            value.sum += f64::from(*now);
            value.low = value.low.min(*now);
            value.high = value.high.max(*now);
        }
        *taken += 1;
        if *taken == self.frames {
            let spread = values.iter().map(|value| value.high - value.low).fold(0.0, f32::max);
            let next = *attempt + 1;
            if spread <= self.spread {
                for (zero, value) in self.zero.iter_mut().zip(values) {
                    *zero = (value.sum / f64::from(self.frames)) as f32;
                }
                self.phase = Phase::Taken;
            } else if next <= self.attempts {
                self.retries += 1;
                self.phase = self.attempt(next);
            } else {
                self.phase = Phase::Failed { spread };
            }
        }
        None
    }

    /// How far the zero is.
    #[must_use]
    pub fn state(&self) -> BaselineState {
        match self.phase {
            Phase::Taking { attempt, taken, .. } => BaselineState::Taking { attempt, taken },
            Phase::Taken => BaselineState::Taken,
            Phase::Failed { spread } => BaselineState::Failed { spread },
        }
    }

    /// Attempts begun anew because the pad was not quiet.
    #[must_use]
    pub fn retries(&self) -> u64 {
        self.retries
    }
}
