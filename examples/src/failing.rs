//! The runtime with a policy that fails after a while, as one does whose device is taken away.
//!
//! A GPU cannot be revoked from outside on every machine, so what it leads to is played instead: burn's backends
//! panic when the device is lost, other libraries report an error at each call, and a wedged driver does not
//! return. Up to then the shipped model decides.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use anyhow::{Result, bail};
use clap::{Parser, ValueEnum};
use reflexarc_drivers::{Clock, Link, ZenohConfig};
use reflexarc_runtime::cli::EXIT_OK;
use reflexarc_runtime::load::load_policy;
use reflexarc_runtime::{Config, Runtime, realtime};
use reflexarc_vla_model::chunk::Ahead;
use reflexarc_vla_model::observation::Observation;
use reflexarc_vla_model::policy::{Output, Policy, PolicyError};

/// What the policy does instead of deciding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Failure {
    /// It panics.
    Panic,
    /// It says that its device is lost.
    Error,
    /// It does not return.
    Hang,
}

/// The runtime with a policy that fails.
#[derive(Debug, Parser)]
pub struct FailingArgs {
    /// How.
    #[arg(long, value_enum)]
    how: Failure,
    /// After so many decisions.
    #[arg(long, default_value_t = 60)]
    after: u64,
    /// As of `reflexarc run`.
    #[arg(long)]
    model: PathBuf,
    /// As of `reflexarc run`.
    #[arg(long)]
    connect: Vec<String>,
    /// As of `reflexarc run`; always so here.
    #[arg(long = "keep-going")]
    _keep_going: bool,
    /// As of `reflexarc run`; always the CPU here.
    #[arg(long = "device")]
    _device: Option<String>,
}

struct Failing {
    inner: Box<dyn Policy>,
    how: Failure,
    left: u64,
}

impl Policy for Failing {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn instruct(&mut self, instruction: &str) {
        self.inner.instruct(instruction);
    }

    #[expect(clippy::panic, reason = "it plays a library that panics")]
    fn decide(&mut self, observation: &Observation, ahead: &Ahead) -> Result<Output, PolicyError> {
        if self.left > 0 {
            self.left -= 1;
            return self.inner.decide(observation, ahead);
        }
        match self.how {
            Failure::Panic => panic!("the device is lost"),
            Failure::Error => Err(PolicyError::Device {
                device: "played".to_owned(),
                reason: "the device is lost".to_owned(),
            }),
            Failure::Hang => loop {
                std::thread::sleep(Duration::from_secs(3600));
            },
        }
    }
}

/// Does what `reflexarc run` does, with a policy that fails.
///
/// # Errors
/// As of `reflexarc run`.
#[expect(clippy::print_stdout, reason = "it plays a program that tells")]
pub fn run(args: &FailingArgs) -> Result<u8> {
    let mut config = Config::default();
    config.policy.model = Some(args.model.clone());
    let inner = load_policy(&args.model, &config)?.policy;
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
        signal_hook::flag::register(signal, Arc::clone(&stop))?;
    }
    let clock = Clock::system();
    let zenoh = ZenohConfig { listen: Vec::new(), connect: args.connect.clone(), ..ZenohConfig::default() };
    let link = Link::zenoh(zenoh, clock.clone())?;
    let policy = Failing { inner, how: args.how, left: args.after };
    let runtime = Runtime::new(config, link, Box::new(policy))?;
    let report = realtime::run(runtime, &clock, &stop, |progress| println!("{}", progress.line()))?;
    print!("{}", report.to_text());
    if !report.problems.is_empty() {
        bail!("{}", report.problems.join("; "));
    }
    Ok(EXIT_OK)
}
