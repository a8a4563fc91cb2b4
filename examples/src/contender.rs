//! The policies that can be evaluated: where each comes from, and on what it runs.

use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use anyhow::{Context, Result};
use reflexarc_runtime::ledger::Latency;
use reflexarc_vla_model::act::{self, Act, ActOptions};
use reflexarc_vla_model::checkpoint::{Checkpoint, CheckpointError, PolicyConfig};
use reflexarc_vla_model::chunk::Ahead;
use reflexarc_vla_model::compute::{Backend, Precision};
use reflexarc_vla_model::device::DeviceChoice;
use reflexarc_vla_model::goal::policy::{CpuOptions, GoalPolicy};
use reflexarc_vla_model::observation::Observation;
use reflexarc_vla_model::policy::{Output, Policy, PolicyError};
use reflexarc_vla_model::smolvla::{self, SmolVla, SmolVlaOptions};

use crate::lerobot::outside::Outside;

/// A policy and what is to be said about it.
pub struct Contender {
    /// The policy.
    pub policy: Box<dyn Policy>,
    /// What it runs on, in words.
    pub device: String,
    /// Hash of its weights, where it has one.
    pub hash: Option<String>,
}

impl From<GoalPolicy> for Contender {
    fn from(policy: GoalPolicy) -> Self {
        Self {
            device: format!("{} ({})", policy.device().description, policy.device().reason),
            hash: policy.model_hash().map(str::to_owned),
            policy: Box::new(policy),
        }
    }
}

impl Contender {
    /// The goal model in a weights file, on one thread of a CPU; `precision` where it is not the file's own.
    ///
    /// # Errors
    /// When there is no such file, it is not sound, or the device is not there.
    pub fn goal(weights: &Path, device: DeviceChoice, precision: Option<Precision>) -> Result<Self> {
        let cpu = CpuOptions { precision, threads: 1 };
        let read = || Ok::<_, anyhow::Error>(GoalPolicy::from_bytes(&std::fs::read(weights)?, device, cpu)?);
        Ok(read().with_context(|| format!("cannot load the model {}", weights.display()))?.into())
    }

    /// A LeRobot checkpoint, on one thread; `rate_hz` actions per second, f32 unless told otherwise.
    ///
    /// # Errors
    /// When the folder holds no sound checkpoint.
    pub fn lerobot(folder: &Path, rate_hz: f64, precision: Option<Precision>) -> Result<Self> {
        let load = || -> Result<Box<dyn Policy>, CheckpointError> {
            let (backend, period_ns) = (Backend::cpu(1), period_ns(rate_hz));
            let precision = precision.unwrap_or(Precision::F32);
            Ok(match Checkpoint::open(folder)?.config {
                PolicyConfig::Act(_) => {
                    let precision = act::Precisions::of(precision);
                    let options = ActOptions { precision, period_ns, ..ActOptions::default() };
                    Box::new(Act::load(folder, &backend, options)?)
                }
                PolicyConfig::SmolVla(_) => {
                    let precision = smolvla::Precisions::of(precision);
                    let options = SmolVlaOptions { precision, period_ns, ..SmolVlaOptions::default() };
                    Box::new(SmolVla::load(folder, &backend, options)?)
                }
            })
        };
        let policy = load().with_context(|| format!("cannot load the checkpoint {}", folder.display()))?;
        Ok(Self { policy, device: format!("CPU, one thread, {}", folder.display()), hash: None })
    }

    /// The goal model with random weights.
    ///
    /// # Errors
    /// When the device is not there.
    pub fn random(device: DeviceChoice) -> Result<Self> {
        Ok(GoalPolicy::random(1, device).context("cannot make random weights")?.into())
    }

    /// A process of its own, see [`Outside`]; `rate_hz` actions per second.
    ///
    /// # Errors
    /// When it does not start.
    pub fn outside(command: &str, rate_hz: f64) -> Result<Self> {
        let policy = Outside::start(command, period_ns(rate_hz))?;
        Ok(Self { policy: Box::new(policy), device: format!("a process of its own: {command}"), hash: None })
    }
}

/// Time between two actions, ns.
fn period_ns(rate_hz: f64) -> u64 {
    (1e9 / rate_hz.max(1e-3)).round() as u64
}

/// A policy whose decisions are timed.
pub struct Timed {
    /// The policy.
    pub policy: Box<dyn Policy>,
    /// Where the times go.
    pub latency: Arc<Mutex<Latency>>,
}

impl Policy for Timed {
    fn name(&self) -> &str {
        self.policy.name()
    }

    fn instruct(&mut self, instruction: &str) {
        self.policy.instruct(instruction);
    }

    fn decide(&mut self, observation: &Observation, ahead: &Ahead) -> Result<Output, PolicyError> {
        let begun = Instant::now();
        let output = self.policy.decide(observation, ahead);
        let duration_ns = u64::try_from(begun.elapsed().as_nanos()).unwrap_or(u64::MAX);
        if let Ok(mut latency) = self.latency.lock() {
            latency.record_ns(duration_ns);
        }
        output
    }
}
