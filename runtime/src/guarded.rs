//! A policy that may panic, kept from taking the runtime down with it.
//!
//! This is the one place where a panic is caught. It becomes an error like any other, so the arm holds; a
//! policy that has panicked [`MAX_PANICS`] times is not asked again, because what it left behind half done
//! cannot be trusted.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};

use reflexarc_vla_model::chunk::Ahead;
use reflexarc_vla_model::observation::Observation;
use reflexarc_vla_model::policy::{Milestone, Output, Policy, PolicyError};

/// After so many panics the policy is not asked any more.
pub(crate) const MAX_PANICS: u32 = 3;

/// A policy whose panics are errors.
pub(crate) struct Guarded {
    policy: Box<dyn Policy>,
    name: String,
    panics: u32,
    last_words: String,
}

impl Guarded {
    pub(crate) fn new(policy: Box<dyn Policy>) -> Self {
        let name = catch_unwind(AssertUnwindSafe(|| policy.name().to_owned()));
        let (name, panics) = name.map_or_else(|_| ("a policy that panics".to_owned(), 1), |name| (name, 0));
        Self { policy, name, panics, last_words: String::new() }
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Panics so far.
    pub(crate) fn panics(&self) -> u32 {
        self.panics
    }

    pub(crate) fn instruct(&mut self, instruction: &str) {
        // A policy that fails here says so again when it is asked.
        let _counted = self.call(|policy| policy.instruct(instruction));
    }

    pub(crate) fn decide(&mut self, observation: &Observation, ahead: &Ahead) -> Result<Output, PolicyError> {
        self.decide_staged(observation, ahead, &mut |_| {})
    }

    /// See [`Policy::decide_staged`].
    pub(crate) fn decide_staged(
        &mut self,
        observation: &Observation,
        ahead: &Ahead,
        reached: &mut dyn FnMut(Milestone),
    ) -> Result<Output, PolicyError> {
        self.call(|policy| policy.decide_staged(observation, ahead, reached))?
    }

    /// See [`Policy::imitated_delay_ns`].
    pub(crate) fn imitated_delay_ns(&mut self) -> u64 {
        self.call(|policy| policy.imitated_delay_ns()).unwrap_or(0)
    }

    fn call<T>(&mut self, work: impl FnOnce(&mut dyn Policy) -> T) -> Result<T, PolicyError> {
        if self.panics < MAX_PANICS {
            match catch_unwind(AssertUnwindSafe(|| work(&mut *self.policy))) {
                Ok(result) => return Ok(result),
                Err(payload) => {
                    self.panics += 1;
                    self.last_words = words(&*payload);
                }
            }
        }
        Err(PolicyError::Panicked { times: self.panics, message: self.last_words.clone() })
    }
}

fn words(payload: &(dyn Any + Send)) -> String {
    let text = payload.downcast_ref::<&str>().copied();
    let text = text.or_else(|| payload.downcast_ref::<String>().map(String::as_str));
    text.unwrap_or("no message").chars().take(200).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic, reason = "tests fail by panicking")]
    use super::*;
    use reflexarc_vla_model::observation::ToolPose;

    struct Clumsy {
        asked: u32,
    }

    impl Policy for Clumsy {
        fn name(&self) -> &str {
            "clumsy"
        }

        fn instruct(&mut self, instruction: &str) {
            assert!(!instruction.is_empty(), "nothing to do");
        }

        fn decide(&mut self, _: &Observation, _: &Ahead) -> Result<Output, PolicyError> {
            self.asked += 1;
            match self.asked {
                1 => Err(PolicyError::NoInstruction),
                asked => panic!("fell over at {asked}"),
            }
        }
    }

    #[test]
    fn panics_become_errors_and_after_some_the_policy_rests() {
        let observation = Observation {
            time_ns: 0,
            cameras: Vec::new(),
            tactile: Vec::new(),
            joints_rad: Vec::new(),
            gripper_width_m: 0.0,
            base_from_tool: ToolPose { position_m: [0.0; 3], rotation_xyzw: [0.0, 0.0, 0.0, 1.0] },
        };
        let mut guarded = Guarded::new(Box::new(Clumsy { asked: 0 }));
        assert_eq!(guarded.name(), "clumsy");
        let ask = |guarded: &mut Guarded| guarded.decide(&observation, &Ahead::default()).unwrap_err();
        assert_eq!(ask(&mut guarded), PolicyError::NoInstruction);
        let panicked = |times, message: &str| PolicyError::Panicked { times, message: message.to_owned() };
        assert_eq!(ask(&mut guarded), panicked(1, "fell over at 2"));
        guarded.instruct("");
        assert_eq!(ask(&mut guarded), panicked(3, "fell over at 3"));
        assert_eq!(ask(&mut guarded), panicked(3, "fell over at 3"), "not asked again");
        assert_eq!(guarded.panics(), 3);
    }
}
