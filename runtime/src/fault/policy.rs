//! A policy that goes wrong on purpose.

use std::sync::{
    Arc, Mutex, PoisonError,
    atomic::{AtomicBool, Ordering},
};
use std::time::Duration;

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use reflexarc_drivers::link::Window;
use reflexarc_vla_model::chunk::Ahead;
use reflexarc_vla_model::observation::Observation;
use reflexarc_vla_model::policy::{Output, Policy, PolicyError};
use serde::{Deserialize, Serialize};

use super::garbage;
use super::profile::ProfileError;

/// How often a policy that hangs looks whether it has been released.
const HANG_LOOK: Duration = Duration::from_millis(5);

/// What a policy can do wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PolicyFault {
    /// It takes longer, by `delay_ms` and up to `jitter_ms` more.
    Slow,
    /// It gives an error.
    Fail,
    /// It panics.
    Panic,
    /// It never answers: to the rest of the robot, its thread is dead. In real time it ends when
    /// [`PolicyFaults::release`] says so; in lockstep the run goes on without an answer.
    Hang,
    /// Its last answer again, with the old time.
    Freeze,
    /// NaN and infinities in the place of numbers.
    NotFinite,
    /// At one end of the workspace after another; in chunks, from one end of the joints to the other.
    Extremes,
    /// Answers an observation of long ago.
    Stale,
    /// Answers an observation that has not been made.
    Future,
    /// A target that no joint angles reach.
    Unreachable,
    /// A target in the table or in the robot itself.
    Colliding,
    /// Some of its tokens are others; where they still have a meaning, the decision says it too.
    Tokens,
}

impl PolicyFault {
    /// All of them.
    pub const ALL: [Self; 12] = [
        Self::Slow,
        Self::Fail,
        Self::Panic,
        Self::Hang,
        Self::Freeze,
        Self::NotFinite,
        Self::Extremes,
        Self::Stale,
        Self::Future,
        Self::Unreachable,
        Self::Colliding,
        Self::Tokens,
    ];
}

/// One fault of a policy, with its chance and time.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PolicyRule {
    /// What goes wrong.
    pub fault: PolicyFault,
    /// Chance per answer, 0 to 1.
    #[serde(default = "always")]
    pub chance: f64,
    /// When it begins, ms after the start of the run.
    #[serde(default)]
    pub from_ms: u64,
    /// How long it lasts, ms; absent: for ever.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub for_ms: Option<u64>,
    /// It comes back this long after each beginning, ms; absent: once only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub every_ms: Option<u64>,
    /// For [`PolicyFault::Slow`]: how much longer it takes at the least, ms.
    #[serde(default)]
    pub delay_ms: u64,
    /// For [`PolicyFault::Slow`]: and up to so much more, evenly distributed, ms.
    #[serde(default)]
    pub jitter_ms: u64,
}

fn always() -> f64 {
    1.0
}

impl PolicyRule {
    /// `fault` with every answer, from the start on.
    #[must_use]
    pub fn new(fault: PolicyFault) -> Self {
        Self { fault, chance: 1.0, from_ms: 0, for_ms: None, every_ms: None, delay_ms: 0, jitter_ms: 0 }
    }

    fn window(&self) -> Window {
        Window { from_ms: self.from_ms, for_ms: self.for_ms, every_ms: self.every_ms }
    }

    pub(super) fn validate(&self, rule: usize) -> Result<(), ProfileError> {
        let refused = |key, value, expected| Err(ProfileError::Policy { rule, key, value, expected });
        if !(0.0..=1.0).contains(&self.chance) {
            return refused("chance", self.chance, "a chance from 0 to 1");
        }
        match self.every_ms {
            Some(every_ms) if self.for_ms.is_none_or(|for_ms| for_ms >= every_ms) => {
                refused("every_ms", every_ms as f64, "more than for_ms, which must be given")
            }
            _ => Ok(()),
        }
    }
}

/// How time passes for a policy that is slow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pace {
    /// It says how long it would have taken, see [`Policy::imitated_delay_ns`].
    Lockstep,
    /// It sleeps.
    RealTime,
}

/// How often each fault happened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PolicyFaultCounts {
    /// Answers asked for.
    pub asked: u64,
    /// Faults, in the order of [`PolicyFault::ALL`].
    pub faults: [u64; PolicyFault::ALL.len()],
}

impl PolicyFaultCounts {
    /// How often `fault` happened.
    #[must_use]
    pub fn of(&self, fault: PolicyFault) -> u64 {
        self.faults[fault as usize]
    }
}

/// Watches a [`FaultyPolicy`] from outside, and lets it go where it hangs.
#[derive(Clone, Debug, Default)]
pub struct PolicyFaults {
    counts: Arc<Mutex<PolicyFaultCounts>>,
    released: Arc<AtomicBool>,
}

impl PolicyFaults {
    /// What happened so far.
    #[must_use]
    pub fn counts(&self) -> PolicyFaultCounts {
        *self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends every [`PolicyFault::Hang`] in real time, so that the policy's thread can end.
    pub fn release(&self) {
        self.released.store(true, Ordering::Release);
    }
}

/// A policy behind faults.
pub struct FaultyPolicy {
    policy: Box<dyn Policy>,
    rules: Vec<PolicyRule>,
    rng: ChaCha8Rng,
    start_ns: u64,
    pace: Pace,
    last: Option<Output>,
    imitated_ns: u64,
    faults: PolicyFaults,
}

impl FaultyPolicy {
    /// `policy` behind `rules`, which begin at `start_ns` of the observations' time.
    #[must_use]
    pub fn new(policy: Box<dyn Policy>, rules: &[PolicyRule], seed: u64, start_ns: u64, pace: Pace) -> Self {
        Self {
            policy,
            rules: rules.to_vec(),
            rng: ChaCha8Rng::seed_from_u64(seed ^ 0x90_11c7),
            start_ns,
            pace,
            last: None,
            imitated_ns: 0,
            faults: PolicyFaults::default(),
        }
    }

    /// For watching it once the runtime has it.
    #[must_use]
    pub fn faults(&self) -> PolicyFaults {
        self.faults.clone()
    }

    /// Lets `delay_ns` pass.
    fn pass_time(&mut self, delay_ns: u64) {
        self.imitated_ns = self.imitated_ns.saturating_add(delay_ns);
        if self.pace == Pace::RealTime {
            std::thread::sleep(Duration::from_nanos(delay_ns));
        }
    }

    fn hang(&mut self) -> PolicyError {
        self.imitated_ns = u64::MAX;
        while self.pace == Pace::RealTime && !self.faults.released.load(Ordering::Acquire) {
            std::thread::sleep(HANG_LOOK);
        }
        failure("hung until it was released")
    }
}

fn failure(reason: &str) -> PolicyError {
    PolicyError::Device { device: "a faulty device".to_owned(), reason: reason.to_owned() }
}

impl Policy for FaultyPolicy {
    fn name(&self) -> &str {
        self.policy.name()
    }

    fn instruct(&mut self, instruction: &str) {
        self.last = None;
        self.policy.instruct(instruction);
    }

    #[expect(clippy::panic, reason = "a panic on purpose")]
    fn decide(&mut self, observation: &Observation, ahead: &Ahead) -> Result<Output, PolicyError> {
        self.imitated_ns = 0;
        // Before the start lies the warm-up.
        let Some(elapsed_ns) = observation.time_ns.checked_sub(self.start_ns) else {
            return self.policy.decide(observation, ahead);
        };
        let mut garbage = Vec::new();
        let mut frozen = false;
        {
            let mut counts = self.faults.counts.lock().unwrap_or_else(PoisonError::into_inner);
            counts.asked += 1;
        }
        for rule in self.rules.clone() {
            if !rule.window().contains(elapsed_ns) || !self.rng.random_bool(rule.chance) {
                continue;
            }
            self.faults.counts.lock().unwrap_or_else(PoisonError::into_inner).faults[rule.fault as usize] +=
                1;
            match rule.fault {
                PolicyFault::Slow => {
                    let delay_ms = rule.delay_ms.saturating_add(self.rng.random_range(0..=rule.jitter_ms));
                    self.pass_time(delay_ms.saturating_mul(1_000_000));
                }
                PolicyFault::Fail => return Err(failure("failed on purpose")),
                PolicyFault::Panic => panic!("a fault on purpose"),
                PolicyFault::Hang => return Err(self.hang()),
                PolicyFault::Freeze => frozen = true,
                PolicyFault::NotFinite
                | PolicyFault::Extremes
                | PolicyFault::Stale
                | PolicyFault::Future
                | PolicyFault::Unreachable
                | PolicyFault::Colliding
                | PolicyFault::Tokens => garbage.push(rule.fault),
            }
        }
        let mut output = match (&self.last, frozen) {
            (Some(last), true) => last.clone(),
            _ => {
                let fresh = self.policy.decide(observation, ahead)?;
                self.last = Some(fresh.clone());
                fresh
            }
        };
        for fault in garbage {
            garbage::spoil(&mut self.rng, fault, &mut output);
        }
        Ok(output)
    }

    fn imitated_delay_ns(&self) -> u64 {
        match self.pace {
            Pace::Lockstep => self.imitated_ns.saturating_add(self.policy.imitated_delay_ns()),
            Pace::RealTime => 0,
        }
    }
}
