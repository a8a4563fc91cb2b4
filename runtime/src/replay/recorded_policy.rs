//! A policy that says what a recording says: to replay audit, reflex and safety without the model.

use std::sync::{Arc, Mutex, PoisonError};

use reflexarc_vla_model::chunk::Ahead;
use reflexarc_vla_model::observation::Observation;
use reflexarc_vla_model::policy::{Output, Policy, PolicyError};

use crate::journal::Said;

/// What is to be said next.
pub(super) type Prompt = Arc<Mutex<Option<Said>>>;

/// Says what it is prompted.
pub(super) struct RecordedPolicy {
    pub(super) name: String,
    pub(super) prompt: Prompt,
}

impl Policy for RecordedPolicy {
    fn name(&self) -> &str {
        &self.name
    }

    fn instruct(&mut self, _: &str) {}

    fn decide(&mut self, _: &Observation, _: &Ahead) -> Result<Output, PolicyError> {
        match self.prompt.lock().unwrap_or_else(PoisonError::into_inner).take() {
            Some(Said::Goals(decision)) => Ok(Output::Goals(decision)),
            Some(Said::Chunk(chunk)) => Ok(Output::Chunk(chunk)),
            Some(Said::Error(reason)) => Err(PolicyError::Recorded { reason }),
            None => Err(PolicyError::Recorded { reason: "the recording has nothing more to say".into() }),
        }
    }
}
