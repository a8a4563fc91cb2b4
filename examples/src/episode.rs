//! One episode in lockstep: a simulated robot and the whole runtime, joined by the in-process
//! link under a simulated clock, judged on the true world.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use anyhow::Result;
use reflexarc_drivers::arm::simulator::WireFaults;
use reflexarc_drivers::link::LinkFaults;
use reflexarc_drivers::topic::Topics;
use reflexarc_drivers::{Bus, Clock, Link};
use reflexarc_kinematics::{ARM7_HOME_RAD, ARM7_URDF};
use reflexarc_runtime::config::{ChunkConfig, Config};
use reflexarc_runtime::fault::{FaultProfile, Pace};
use reflexarc_runtime::modes::Mode;
use reflexarc_runtime::outcome::Outcome as Told;
use reflexarc_runtime::reflex::Command;
use reflexarc_runtime::report::Report;
use reflexarc_runtime::runtime::{Runtime, load_chain};
use reflexarc_runtime::watch::{CommandWatch, Judgement};
use reflexarc_sim::expert;
use reflexarc_sim::node::{Faults, SimNode, TICK_HZ};
use reflexarc_sim::scene::{IMAGE_SIDE, Scene};
use reflexarc_sim::task::{Outcome, PickTask};
use reflexarc_sim::world::{View, World};
use reflexarc_vla_model::chunk::Ahead;
use reflexarc_vla_model::decision::{Decision, Goal, Infeasible, Verdict};
use reflexarc_vla_model::grammar::{parse, tokens_from_verdict};
use reflexarc_vla_model::observation::Observation;
use reflexarc_vla_model::policy::{Output, Policy, PolicyError};
use serde::Serialize;

use crate::peaks::{PeakWatch, Peaks};
use crate::translate;

/// Nanoseconds since the epoch at which every simulated episode begins.
const START_NS: u64 = 1_000_000_000_000_000_000;
/// An infeasible instruction is held this long before the episode ends, seconds.
const HOLD_AFTER_INFEASIBLE_S: f64 = 1.0;
/// Joint motion that counts as moved, rad.
const MOVED_RAD: f64 = 0.02;

/// What to run.
#[derive(Debug, Clone)]
pub struct Episode {
    /// The scene.
    pub scene: Scene,
    /// What the robot is told.
    pub instruction: String,
    /// The object that must be lifted.
    pub target: usize,
    /// Longest duration, simulated seconds.
    pub limit_s: f64,
    /// Faults that are switched on from the start.
    pub faults: Faults,
    /// How action chunks are executed, for policies that speak in them.
    pub chunk: ChunkConfig,
    /// Faults of the runtime's link and of the policy; they begin with the episode.
    pub profile: FaultProfile,
    /// Simulated time from an observation to what the policy says about it, ms; absent: one period of the
    /// mind.
    pub delay_ms: Option<u64>,
    /// The arm's own driver and simulated servos in the place of ideal joints, with these faults of the wire.
    pub servos: Option<WireFaults>,
}

/// How it went; the same episode and policy give the same result, bit for bit.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct EpisodeResult {
    /// Seed of the scene.
    pub seed: u64,
    /// What the robot was told.
    pub instruction: String,
    /// `success`, `wrong_object`, `timeout`, or `infeasible: …` with the policy's reason.
    pub outcome: String,
    /// Simulated seconds until success.
    pub time_to_success_s: Option<f64>,
    /// The greatest height that the target's foot reached, metres.
    pub highest_m: f64,
    /// Whether the arm left its starting posture.
    pub moved: bool,
    /// The runtime's mode at the end, in words.
    pub mode: String,
    /// The last subtask decided on.
    pub last_subtask: String,
    /// Decisions made.
    pub decisions: u64,
    /// Decisions that the audit refused.
    pub refused: u64,
    /// Simulated seconds.
    pub duration_s: f64,
    /// How often the target was raised and came down again.
    pub drops: u32,
    /// Ticks spent in each mode.
    pub modes: BTreeMap<String, u64>,
    /// When motion was first held or stopped after it had begun, s.
    pub first_hold_s: Option<f64>,
    /// Messages that met a fault of the link.
    pub link_faults: u64,
    /// Answers of the policy that met a fault.
    pub policy_faults: u64,
    /// The largest velocity, acceleration and jerk that were commanded.
    pub peaks: Peaks,
    /// All commands against the limits.
    pub judgement: Judgement,
    /// Hash of the world's final state.
    pub digest: String,
}

/// Who decides in an episode.
pub enum Decider {
    /// A policy, which sees what the robot's sensors say.
    Policy(Box<dyn Policy>),
    /// The scripted expert, which sees the simulator's state: the bound of what can be learned.
    Expert,
}

/// What the expert would do now, passed to the runtime through the door that policies use.
struct Whisper(Arc<Mutex<Option<Verdict>>>);

impl Policy for Whisper {
    fn name(&self) -> &str {
        "scripted expert"
    }

    fn instruct(&mut self, _: &str) {}

    fn decide(&mut self, observation: &Observation, _: &Ahead) -> Result<Output, PolicyError> {
        let verdict = self.0.lock().ok().and_then(|verdict| verdict.clone());
        let verdict = verdict.unwrap_or(Verdict::Infeasible(Infeasible::Absent));
        let tokens = tokens_from_verdict(&verdict).unwrap_or_default();
        let verdict = parse(&tokens).unwrap_or(verdict);
        Ok(Output::Goals(Decision { tokens, verdict, confidence: 1.0, observation_ns: observation.time_ns }))
    }
}

fn advise(world: &World, target: usize) -> Option<Verdict> {
    let advice = expert::advise(world, target)?;
    let placed = world.placed(target);
    let (at_m, _) = expert::grasp(&placed.shape, &world.object(target), 0.0);
    let camera = world.camera(View::Scene);
    // Where the object cannot be seen, the middle stands in.
    let seen = camera.project(&nalgebra::Point3::from(at_m).cast()).unwrap_or([0.5 * IMAGE_SIDE as f32; 2]);
    Some(Verdict::Act {
        plan: vec![Goal::Pick {
            color: translate::color(placed.paint),
            object: translate::object(placed.kind()),
        }],
        subtask: translate::subtask(advice.step),
        target: translate::target(&advice),
        pixel_uv: seen.map(|pixels| pixels / IMAGE_SIDE as f32),
    })
}

/// A policy lent to one runtime after another, so that weights are loaded once.
pub struct Lent<P>(pub Arc<Mutex<P>>);

impl<P: Policy> Policy for Lent<P> {
    fn name(&self) -> &str {
        "goal"
    }

    fn instruct(&mut self, instruction: &str) {
        if let Ok(mut policy) = self.0.lock() {
            policy.instruct(instruction);
        }
    }

    fn decide(&mut self, observation: &Observation, ahead: &Ahead) -> Result<Output, PolicyError> {
        match self.0.lock() {
            Ok(mut policy) => policy.decide(observation, ahead),
            Err(_) => Err(PolicyError::NoInstruction),
        }
    }
}

/// Runs one episode.
///
/// # Errors
/// When the scene or the runtime cannot be built.
pub fn run(episode: &Episode, decider: Decider) -> Result<EpisodeResult> {
    run_watched(episode, decider, &mut |_, _, _| {})
}

/// Runs one episode and shows every tick to `look`: its number, the runtime as it is then, and the command.
///
/// # Errors
/// When the scene or the runtime cannot be built.
pub fn run_watched(
    episode: &Episode,
    decider: Decider,
    look: &mut dyn FnMut(u64, &Runtime, &Command),
) -> Result<EpisodeResult> {
    Ok(run_reported(episode, decider, look)?.0)
}

/// [`run_watched`], with the runtime's report, whose durations differ from run to run.
///
/// # Errors
/// When the scene or the runtime cannot be built.
pub fn run_reported(
    episode: &Episode,
    decider: Decider,
    look: &mut dyn FnMut(u64, &Runtime, &Command),
) -> Result<(EpisodeResult, Report)> {
    let whisper = Arc::new(Mutex::new(None));
    let whispers = matches!(decider, Decider::Expert);
    let policy = match decider {
        Decider::Policy(policy) => policy,
        Decider::Expert => Box::new(Whisper(Arc::clone(&whisper))),
    };
    let bus = Bus::new();
    let clock = Clock::manual(START_NS);
    let faults = LinkFaults::new(episode.profile.link_plan(), clock.clone())?;
    let spoilt = episode.profile.spoil(policy, START_NS, Pace::Lockstep);
    let policy_faults = spoilt.faults();
    let mut config = Config { chunk: episode.chunk.clone(), ..Config::default() };
    config.rates.lockstep_delay_ms = episode.delay_ms;
    episode.instruction.clone_into(&mut config.policy.instruction);
    let topics = Topics::new(&config.link.namespace);
    let world = World::new(episode.scene.clone(), ARM7_URDF, &ARM7_HOME_RAD, 0.08, 4)?;
    let robot = Link::in_process(&bus, clock.clone());
    let mut node = match episode.servos {
        Some(faults) => SimNode::with_servos(world, &robot, &topics, faults, START_NS)?,
        None => SimNode::new(world, &robot, &topics)?,
    };
    node.faults = episode.faults.clone();
    let mut judge = CommandWatch::new(load_chain(&config)?, &config);
    let link = faults.wrap(&Link::in_process(&bus, clock.clone()));
    let mut runtime = Runtime::new(config, link, Box::new(spoilt))?;
    let mut task = PickTask::new(episode.target);
    let ticks = (episode.limit_s * f64::from(TICK_HZ)) as u64;
    let mut outcome = Outcome::Running;
    let mut infeasible_since_s = None;
    let mut moved = false;
    let (mut active, mut first_hold_s) = (false, None);
    let mut watch = PeakWatch::new(1.0 / f64::from(TICK_HZ));
    let mut time_s = 0.0;
    for tick in 0..ticks {
        let now_ns = START_NS + tick * 1_000_000_000 / u64::from(TICK_HZ);
        time_s = tick as f64 / f64::from(TICK_HZ);
        clock.set_ns(now_ns);
        node.publish(now_ns)?;
        if whispers && let Ok(mut whisper) = whisper.lock() {
            // Where the expert has no advice its last word stands, as in the demonstrations.
            *whisper = advise(node.world(), episode.target).or(whisper.take());
        }
        faults.pump();
        let command = runtime.step(now_ns);
        judge.look(&command, runtime.snapshot().body.as_ref());
        active |= command.mode == Mode::Active;
        if active && matches!(command.mode, Mode::Holding(_) | Mode::Stopped(_)) {
            first_hold_s.get_or_insert(time_s);
        }
        watch.look(command.joints.as_ref().map(|joints| &joints.q[..]));
        look(tick, &runtime, &command);
        node.advance(now_ns);
        outcome = task.observe(node.world(), time_s);
        let (q, _) = node.world().joints();
        moved |= q.iter().zip(&ARM7_HOME_RAD).any(|(a, b)| (a - b).abs() > MOVED_RAD);
        if matches!(runtime.outcome(), Told::Infeasible(_)) {
            let since = *infeasible_since_s.get_or_insert(time_s);
            if time_s - since > HOLD_AFTER_INFEASIBLE_S {
                break;
            }
        } else {
            infeasible_since_s = None;
        }
        if outcome != Outcome::Running {
            break;
        }
    }
    let report = runtime.report();
    let (outcome, time_to_success_s) = match (outcome, runtime.outcome()) {
        (Outcome::Success { time_s }, _) => ("success".to_owned(), Some(time_s)),
        (Outcome::WrongObject { .. }, _) => ("wrong_object".to_owned(), None),
        (Outcome::Running, Told::Infeasible(reason)) => (format!("infeasible: {reason}"), None),
        (Outcome::Running, _) => ("timeout".to_owned(), None),
    };
    let result = EpisodeResult {
        seed: episode.scene.seed,
        instruction: episode.instruction.clone(),
        outcome,
        time_to_success_s,
        highest_m: task.highest_m(),
        moved,
        mode: runtime.mode().to_string(),
        last_subtask: report.timeline.last().map_or_else(String::new, |entry| entry.what.clone()),
        decisions: report.decisions,
        refused: report.audit.refused.values().sum(),
        duration_s: time_s,
        drops: task.drops(),
        modes: report.modes.clone(),
        first_hold_s,
        link_faults: faults.counts().done(),
        policy_faults: policy_faults.counts().faults.iter().sum(),
        peaks: *watch.peaks(),
        judgement: judge.judgement().clone(),
        digest: node.world().digest(),
    };
    Ok((result, report))
}
