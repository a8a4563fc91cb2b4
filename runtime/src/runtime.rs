//! One robot's runtime: spine and mind, and the lockstep that joins them tick by tick.
//!
//! Under the lockstep clock [`Runtime::step`] does one tick in this order: senses; every
//! `reflex_hz / mind_hz` ticks the mind, on this very snapshot; reflex; command. What the policy says
//! comes into force `lockstep_delay_ms` after the tick in which it was asked (by default one mind
//! period, the longest that thinking takes in real time without missing one), later where it imitates a
//! slow one, and until then it is not asked again. The same inputs give the same commands, bit for bit.
//!
//! [`crate::realtime::run`] takes the same two halves apart and gives each a thread.

use std::borrow::Cow;

use reflexarc_drivers::topic::Topics;
use reflexarc_drivers::{Link, LinkError};
use reflexarc_kinematics::collision::CollisionError;
use reflexarc_kinematics::{ARM7_URDF, Chain, UrdfError};
use reflexarc_vla_model::policy::{Policy, PolicyError};

use crate::audit::Audit;
use crate::config::{Config, ConfigError};
use crate::cost::{CostReport, Energy, Usage};
use crate::failsafe::{Failsafe, FailsafeReport, Promise, ResetRefused};
use crate::health::server::ServeError;
use crate::health::{Health, Vitals, Watcher};
use crate::journal::JournalEnds;
use crate::ledger::{Ledger, TickRecord};
use crate::mind::{Mind, Thought};
use crate::modes::{Mode, StopCause};
use crate::outcome::{Outcome, OutcomeWatch};
use crate::progress::Progress;
use crate::recorder::{RecordError, RecorderReport, Recording, RunInfo};
use crate::reflex::Command;
use crate::report::{ChunkReport, Report, TopicReport};
use crate::senses::{Senses, Snapshot};
use crate::spine::{CommandWriter, Spine};

/// Why a runtime could not be built or run.
#[derive(Debug, thiserror::Error)]
pub enum RuntimeError {
    /// A configuration value.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The robot's description could not be read.
    #[error("cannot read the robot description {path}: {source}")]
    Description {
        /// The file.
        path: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// The robot's description makes no chain.
    #[error("the robot description: {0}")]
    Urdf(#[from] UrdfError),
    /// The robot's shapes, which it must not touch itself with, are at fault.
    #[error("the robot description: {0}")]
    Shapes(#[from] CollisionError),
    /// The posture does not fit the robot.
    #[error("robot.posture_rad has {actual} angles, expected {expected}: one per joint from {base} to {tip}")]
    Posture {
        /// Joints of the chain.
        expected: usize,
        /// Angles given.
        actual: usize,
        /// First link.
        base: String,
        /// Last link.
        tip: String,
    },
    /// The link refused.
    #[error(transparent)]
    Link(#[from] LinkError),
    /// The policy cannot work with the configured senses.
    #[error("the policy does not run: {0}")]
    Policy(#[from] PolicyError),
    /// The recording could not be started.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// Real time was required, and the system refused some of it.
    #[error("realtime.require_realtime = true, and this was refused: {refused}")]
    RealtimeRefused {
        /// Each refusal: what, why, and what to change.
        refused: String,
    },
    /// The metrics page could not be served.
    #[error(transparent)]
    Metrics(#[from] ServeError),
    /// A thread could not be started.
    #[error("cannot start the thread `{name}`: {source}")]
    Thread {
        /// Its name.
        name: &'static str,
        /// What the system said.
        source: std::io::Error,
    },
}

/// Reads the robot that a configuration names.
///
/// # Errors
/// [`RuntimeError::Description`], [`RuntimeError::Urdf`] or [`RuntimeError::Posture`].
pub fn load_chain(config: &Config) -> Result<Chain, RuntimeError> {
    chain_of(config, &load_description(config)?)
}

/// The URDF text that a configuration names.
///
/// # Errors
/// [`RuntimeError::Description`].
pub fn load_description(config: &Config) -> Result<Cow<'static, str>, RuntimeError> {
    let path = &config.robot.urdf;
    if path == "arm7" {
        return Ok(Cow::Borrowed(ARM7_URDF));
    }
    std::fs::read_to_string(path)
        .map(Cow::Owned)
        .map_err(|source| RuntimeError::Description { path: path.clone(), source })
}

fn chain_of(config: &Config, description: &str) -> Result<Chain, RuntimeError> {
    let robot = &config.robot;
    let chain = Chain::from_urdf(description, &robot.base, &robot.tip)?;
    if robot.posture_rad.len() != chain.dof() {
        return Err(RuntimeError::Posture {
            expected: chain.dof(),
            actual: robot.posture_rad.len(),
            base: robot.base.clone(),
            tip: robot.tip.clone(),
        });
    }
    Ok(chain)
}

/// One robot's runtime.
pub struct Runtime {
    pub(crate) config: Config,
    pub(crate) link: Link,
    pub(crate) topics: Topics,
    pub(crate) dof: usize,
    pub(crate) spine: Spine,
    pub(crate) mind: Mind,
    pub(crate) writer: CommandWriter,
    pub(crate) ledger: Ledger,
    pub(crate) watch: OutcomeWatch,
    /// What `config.record` asks for. Drained by [`Runtime::step`]; in real time a thread takes it over.
    pub(crate) recording: Option<Recording>,
    /// The thought in force, with its number.
    thought: Option<(u64, Thought)>,
    /// The thought that comes into force at the tick given first.
    pending: Option<(u64, (u64, Thought))>,
    tick: u64,
    snapshot: Snapshot,
}

impl Runtime {
    /// Builds everything: reads the robot, subscribes, announces, instructs the policy.
    ///
    /// # Errors
    /// [`RuntimeError`]; each names what is wrong.
    pub fn new(config: Config, link: Link, policy: Box<dyn Policy>) -> Result<Self, RuntimeError> {
        config.validate()?;
        let description = load_description(&config)?;
        let chain = chain_of(&config, &description)?;
        let audit = Audit::new(chain.clone(), &config, &description)?;
        let topics = Topics::new(&config.link.namespace);
        let info = RunInfo::new(&config, policy.name());
        // Before any subscription, so that the first payload is in it.
        let (recording, journal) = Recording::begin(&config.record, &link, &info)?.unzip();
        let mut spine = Spine::new(&link, &topics, &config, chain.clone())?;
        let writer = CommandWriter::new(&link, &topics, &config, &chain)?;
        let dof = chain.dof();
        let mut mind = Mind::new(&link, &topics, &config, &chain, audit, policy)?;
        if let Some(JournalEnds { ticks, thoughts }) = journal {
            spine.record_into(ticks);
            mind.record_into(thoughts);
        }
        Ok(Self {
            dof,
            spine,
            writer,
            mind,
            recording,
            ledger: Ledger::default(),
            watch: OutcomeWatch::default(),
            thought: None,
            pending: None,
            tick: 0,
            snapshot: Snapshot::nothing(),
            topics,
            link,
            config,
        })
    }

    /// One period of the mind.
    fn decide(&mut self, now_ns: u64) {
        let Some((thought, record)) = self.mind.think(now_ns, &self.snapshot, 0) else {
            self.ledger.thoughts_idle += 1;
            return;
        };
        self.ledger.thought(&record);
        self.watch.thought(&record);
        let longer = u128::from(self.mind.imitated_delay_ns()) * u128::from(self.config.rates.reflex_hz);
        let longer = u64::try_from(longer.div_ceil(1_000_000_000)).unwrap_or(u64::MAX);
        let due = self.tick.saturating_add(self.config.lockstep_delay_ticks()).saturating_add(longer);
        self.pending = Some((due, (record.number, thought)));
        self.take_due();
    }

    /// One lockstep tick at `now_ns`; call it `reflex_hz` times per simulated second.
    ///
    /// The order within a tick is at the head of this module. Never sleeps.
    pub fn step(&mut self, now_ns: u64) -> Command {
        self.take_due();
        self.snapshot = self.spine.sense(now_ns);
        // A policy that is still at it is not asked again.
        if self.pending.is_none() && self.tick.is_multiple_of(self.config.ticks_per_decision()) {
            self.decide(now_ns);
        }
        let thought = self.thought.as_ref().map(|(number, thought)| (*number, thought));
        let command = self.spine.act(now_ns, &self.snapshot, thought);
        self.writer.write(&command);
        let record = tick_record(&command, &self.snapshot);
        self.ledger.tick(&record);
        self.watch.mode(command.mode);
        self.tick += 1;
        if let Some(recording) = &mut self.recording {
            recording.drain();
        }
        command
    }

    /// What the policy has finished saying comes into force.
    fn take_due(&mut self) {
        if let Some((_, thought)) = self.pending.take_if(|(due, _)| *due <= self.tick) {
            self.thought = Some(thought);
        }
    }

    /// The configuration.
    #[must_use]
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// The link.
    #[must_use]
    pub fn link(&self) -> &Link {
        &self.link
    }

    /// The thought in force in the last tick.
    #[must_use]
    pub fn thought(&self) -> Option<&Thought> {
        self.thought.as_ref().map(|(_, thought)| thought)
    }

    /// What was sensed in the last tick.
    #[must_use]
    pub fn snapshot(&self) -> &Snapshot {
        &self.snapshot
    }

    /// The mode of the last tick.
    #[must_use]
    pub fn mode(&self) -> Mode {
        self.spine.mode()
    }

    /// How the task stands, seen from the runtime.
    #[must_use]
    pub fn outcome(&self) -> Outcome {
        self.watch.outcome()
    }

    /// Name of the policy.
    #[must_use]
    pub fn policy_name(&self) -> &str {
        self.mind.policy_name()
    }

    /// Replaces the instruction, as a message on `instruction` would. Says whether it was taken.
    pub fn instruct(&mut self, instruction: &str) -> bool {
        self.mind.instruct(instruction)
    }

    /// The failsafe: state, table, last transitions.
    #[must_use]
    pub fn failsafe(&self) -> &Failsafe {
        self.spine.failsafe()
    }

    /// How long a stop may take from the tick that names it.
    #[must_use]
    pub fn promise(&self) -> Promise {
        self.spine.promise()
    }

    /// Orders a stop; the next tick latches it.
    pub fn stop(&mut self, cause: StopCause) {
        self.spine.stop(cause);
    }

    /// Unlatches a stop; an enable must follow.
    ///
    /// # Errors
    /// [`ResetRefused`] if nothing is latched or the cause lasts.
    pub fn reset(&mut self, now_ns: u64) -> Result<(), ResetRefused> {
        self.spine.reset(now_ns)
    }

    /// Gives one enable.
    pub fn enable(&mut self, now_ns: u64) {
        self.spine.enable(now_ns);
    }

    /// Lets the policy run on grey images, so that nothing happens for the first time later.
    ///
    /// # Errors
    /// [`RuntimeError::Policy`] if it does not run with the configured senses.
    pub fn warm_up(&mut self) -> Result<(), RuntimeError> {
        self.mind.warm_up(self.dof)?;
        self.spine.warm();
        Ok(())
    }

    /// Ends a lockstep run's recording; `None` where nothing is recorded.
    ///
    /// # Errors
    /// [`RecordError`] if writing failed at any time.
    pub fn finish_recording(&mut self) -> Result<Option<RecorderReport>, RecordError> {
        self.recording.take().map(Recording::finish).transpose()
    }

    /// How the run stands.
    #[must_use]
    pub fn progress(&self) -> Progress {
        Progress::new(&self.ledger, &self.watch, self.mode(), self.ledger.decisions_per_s())
    }

    /// The table of figures behind `diagnostics` and the metrics page, at the time of the last tick. Levels
    /// that speak of events speak of the whole run.
    #[must_use]
    pub fn health(&self) -> Health {
        let names = Senses::names(&self.config.senses);
        let topics: Vec<_> = names.into_iter().zip(self.spine.topic_stats()).collect();
        Watcher::default().table(&Vitals {
            now_ns: self.snapshot.now_ns,
            progress: &self.progress(),
            ledger: &self.ledger,
            topics: &topics,
            cost: &self.cost(),
            board: None,
            recorder_dropped: None,
        })
    }

    fn cost(&self) -> CostReport {
        CostReport::new(Usage::new(&self.ledger, &self.watch, Energy::not_measured()), &self.config.cost)
    }

    /// The report so far. Success is for the caller to judge, see [`Report::judge`].
    #[must_use]
    pub fn report(&self) -> Report {
        let names = Senses::names(&self.config.senses);
        Report {
            instruction: self.mind.instruction().to_owned(),
            policy: self.mind.policy_name().to_owned(),
            commands_dropped: self.writer.unsent(),
            stops: self.spine.stops().0,
            failsafe: FailsafeReport::new(&self.ledger.failsafe, &self.spine),
            chunks: ChunkReport::new(&self.spine.play_stats(), &self.ledger.audit),
            topics: names
                .iter()
                .zip(&self.spine.topic_stats())
                .map(|(name, stats)| TopicReport::new(name, stats))
                .collect(),
            cost: self.cost(),
            ..Report::from_ledger(&self.ledger, &self.watch)
        }
    }
}

/// The books' entry for a tick; times of waking and working are for the caller to add.
pub(crate) fn tick_record(command: &Command, snapshot: &Snapshot) -> TickRecord {
    let age_ns = command.observation_ns.map(|at_ns| command.stamp_ns.saturating_sub(at_ns));
    TickRecord {
        now_ns: command.stamp_ns,
        lateness_ns: 0,
        execution_ns: 0,
        skipped: 0,
        mode: command.mode,
        action_age_ns: age_ns,
        observation_age_ns: snapshot.observation_age_ns(),
        observation_to_command_ns: age_ns.filter(|_| command.first),
        commanded: command.joints.is_some(),
        limited: command.acted.any(),
        failsafe: command.failsafe,
        transition: command.transition,
    }
}
