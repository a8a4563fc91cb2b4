//! What a policy says in an episode, with what the audit is told of the world at that moment.

use std::sync::{Arc, Mutex};

use anyhow::{Result, anyhow};
use reflexarc_runtime::audit::Facts;
use reflexarc_runtime::report::AuditReport;
use reflexarc_sim::tactile;
use reflexarc_vla_model::chunk::Ahead;
use reflexarc_vla_model::decision::Decision;
use reflexarc_vla_model::observation::Observation;
use reflexarc_vla_model::policy::{Output, Policy, PolicyError};

use crate::episode::{self, Decider, Episode, EpisodeResult};

/// One decision and the state that it was made in.
#[derive(Debug, Clone, PartialEq)]
pub struct Said {
    /// The decision.
    pub decision: Decision,
    /// What the audit is told.
    pub facts: Facts,
    /// The arm's joints, rad.
    pub q: [f64; 7],
}

/// One episode: everything that was said, and how it ended.
#[derive(Debug, Clone)]
pub struct Heard {
    /// Decisions in order.
    pub said: Vec<Said>,
    /// The result.
    pub result: EpisodeResult,
    /// What the runtime's audit said and cost.
    pub audit: AuditReport,
}

/// A policy that is listened to.
struct Overheard {
    policy: Box<dyn Policy>,
    said: Arc<Mutex<Vec<Said>>>,
}

impl Policy for Overheard {
    fn name(&self) -> &str {
        self.policy.name()
    }

    fn instruct(&mut self, instruction: &str) {
        self.policy.instruct(instruction);
    }

    fn decide(&mut self, observation: &Observation, ahead: &Ahead) -> Result<Output, PolicyError> {
        let output = self.policy.decide(observation, ahead)?;
        if let (Output::Goals(decision), Ok(mut said)) = (&output, self.said.lock()) {
            said.push(Said { decision: decision.clone(), facts: facts(observation), q: joints(observation) });
        }
        Ok(output)
    }
}

fn facts(observation: &Observation) -> Facts {
    let normal_n = |taxels: &[f32]| taxels.iter().skip(2).step_by(tactile::CHANNELS).sum::<f32>();
    Facts {
        tool_m: observation.base_from_tool.position_m.map(f64::from),
        gripper_width_m: f64::from(observation.gripper_width_m),
        felt_n: observation
            .tactile
            .iter()
            .fold(0.0, |most, pad| f64::max(most, f64::from(normal_n(&pad.taxels_n)))),
    }
}

fn joints(observation: &Observation) -> [f64; 7] {
    std::array::from_fn(|joint| observation.joints_rad.get(joint).copied().map_or(0.0, f64::from))
}

/// Runs an episode and keeps what was said.
///
/// # Errors
/// When the episode cannot be run.
pub fn listen(episode: &Episode, policy: Box<dyn Policy>) -> Result<Heard> {
    let said = Arc::new(Mutex::new(Vec::new()));
    let overheard = Overheard { policy, said: Arc::clone(&said) };
    let decider = Decider::Policy(Box::new(overheard));
    let (result, report) = episode::run_reported(episode, decider, &mut |_, _, _| {})?;
    let said = std::mem::take(&mut *said.lock().map_err(|_| anyhow!("the policy panicked"))?);
    Ok(Heard { said, result, audit: report.audit })
}
