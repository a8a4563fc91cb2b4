//! Random schedules of faults: what a seed makes of links, policy and operator, and what must hold
//! whatever it makes.
//!
//! A schedule has two parts. First, faults come and go: messages get lost, late, mixed up and broken on
//! any topic, the policy is slow, fails, panics, hangs or talks garbage, the arm sticks, buttons are
//! pressed. Then all faults are over, and an operator releases the stop, resets and enables. All the
//! time every command must keep the limits, and stops must be stops; and in the end the robot must move
//! again, unless its policy is gone for good.

use std::panic::{AssertUnwindSafe, catch_unwind};

use anyhow::{Result, anyhow};
use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use reflexarc_drivers::link::{Direction, FaultRule, Freeze, LinkFaults};
use reflexarc_drivers::msg::BoolMsg;
use reflexarc_drivers::topic::Topics;
use reflexarc_drivers::{Bus, Clock, Link};
use reflexarc_runtime::config::Config;
use reflexarc_runtime::fault::{FaultProfile, Pace, PolicyFault, PolicyRule};
use reflexarc_runtime::modes::Mode;
use reflexarc_runtime::runtime::{Runtime, load_chain};
use reflexarc_runtime::watch::{CommandWatch, Judgement};
use serde::Serialize;

use crate::puppet::{self, Puppet, Wanderer};

const HZ: u64 = 240;
/// Nanoseconds since the epoch at which every schedule begins.
const START_NS: u64 = 1_000_000_000_000_000_000;
/// Simulated time after the last fault, s: enough to reset, enable, settle and move.
const RECOVERY_S: u64 = 2;
/// Joint motion that counts as moving again, rad.
const MOVED_RAD: f64 = 0.005;

/// What the operator or the world does at one tick.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Event {
    /// The stop button goes down, or up.
    Estop(bool),
    /// The enabling switch.
    Enable(bool),
    /// The reset button.
    Reset,
    /// The joints stick, or come loose.
    Stuck(bool),
}

/// What a seed makes.
#[derive(Clone, Debug)]
pub struct Schedule {
    /// The seed.
    pub seed: u64,
    /// Faults of links and policy.
    pub profile: FaultProfile,
    /// What happens when, by ticks.
    pub events: Vec<(u64, Event)>,
    /// The policy speaks in chunks.
    pub chunks: bool,
    /// The configuration.
    pub config: Config,
    /// Ticks in which faults may happen.
    pub faulty_ticks: u64,
}

/// How it went.
#[derive(Clone, Debug, Default, Serialize)]
pub struct ScheduleResult {
    /// The seed.
    pub seed: u64,
    /// Ticks run.
    pub ticks: u64,
    /// What the commands came to.
    pub judgement: Judgement,
    /// Faults of links that happened.
    pub link_faults: u64,
    /// Faults of the policy that happened, in the order of [`PolicyFault::ALL`].
    pub policy_faults: [u64; PolicyFault::ALL.len()],
    /// Stops that were latched.
    pub stops: u64,
    /// The mode at the end, in words.
    pub mode: String,
    /// Whether it moved again after the faults.
    pub recovered: bool,
    /// Whether it followed its policy at the end.
    pub active: bool,
    /// The policy hung, or panicked too often to be asked again: nothing may move any more.
    pub policy_gone: bool,
    /// What the runtime panicked with, if it did.
    pub panic: Option<String>,
}

impl ScheduleResult {
    /// What was wrong, if anything was.
    #[must_use]
    pub fn failure(&self) -> Option<String> {
        if let Some(words) = &self.panic {
            return Some(format!("panicked: {words}"));
        }
        if self.judgement.violations > 0 {
            let first = self.judgement.first.first().map_or("", String::as_str);
            return Some(format!("{} violations, the first {first}", self.judgement.violations));
        }
        if !self.policy_gone && !self.recovered {
            return Some(format!("did not move again: {}", self.mode));
        }
        // By now what it said last, chunks too, has expired or been executed.
        (self.policy_gone && self.active).then(|| "follows a policy that is gone".to_owned())
    }
}

const TOPICS: [&str; 10] = [
    "*",
    "camera/*",
    "camera/scene/*",
    "tactile/*",
    "tactile/left/*",
    "joint_states",
    "joint_command",
    "estop",
    "enable",
    "reset",
];

impl Schedule {
    /// The schedule of a seed.
    #[must_use]
    pub fn random(seed: u64) -> Self {
        let rng = &mut ChaCha8Rng::seed_from_u64(seed);
        let faulty_ms: u64 = rng.random_range(500..3000);
        let link = (0..rng.random_range(0..=4)).map(|_| link_rule(rng, faulty_ms)).collect();
        let policy = (0..rng.random_range(0..=3)).map(|_| policy_rule(rng, faulty_ms)).collect();
        let faulty_ticks = faulty_ms * HZ / 1000;
        let mut events: Vec<(u64, Event)> = (0..rng.random_range(0..=6_usize))
            .map(|_| {
                let event = match rng.random_range(0..8) {
                    0 | 1 => Event::Estop(true),
                    2 => Event::Estop(false),
                    3 => Event::Enable(false),
                    4 => Event::Enable(true),
                    5 => Event::Reset,
                    6 => Event::Stuck(true),
                    _ => Event::Stuck(false),
                };
                (rng.random_range(0..faulty_ticks), event)
            })
            .collect();
        events.sort_by_key(|(tick, _)| *tick);
        let mut config = puppet::config();
        config.safety.require_enable = rng.random_bool(0.3);
        config.safety.estop_timeout_ms = if rng.random_bool(0.3) { 200 } else { 0 };
        config.rates.lockstep_delay_ms = rng.random_bool(0.3).then(|| rng.random_range(0..120));
        let chunks = rng.random_bool(0.25);
        if chunks {
            config.chunk.rate_hz = 50.0;
        }
        Self {
            seed,
            profile: FaultProfile { about: String::new(), seed, link, policy },
            events,
            chunks,
            config,
            faulty_ticks,
        }
    }

    /// Runs it. A panic of the runtime is a result, not a panic.
    ///
    /// # Errors
    /// When the runtime cannot be built.
    pub fn run(&self) -> Result<ScheduleResult> {
        match catch_unwind(AssertUnwindSafe(|| self.run_unguarded())) {
            Ok(result) => result,
            Err(payload) => {
                let text = payload.downcast_ref::<&str>().map(|text| (*text).to_owned());
                let text = text.or_else(|| payload.downcast_ref::<String>().cloned());
                let panic = Some(text.unwrap_or_else(|| "no message".to_owned()));
                Ok(ScheduleResult { seed: self.seed, panic, ..ScheduleResult::default() })
            }
        }
    }

    fn run_unguarded(&self) -> Result<ScheduleResult> {
        let (bus, clock) = (Bus::new(), Clock::manual(START_NS));
        let topics = Topics::new("");
        let chain = load_chain(&self.config)?;
        let mut robot = Puppet::new(&Link::in_process(&bus, clock.clone()), &topics, &chain)?;
        let faults = LinkFaults::new(self.profile.link_plan(), clock.clone())?;
        let targets = vec![[0.5, 0.1, 0.15], [0.42, -0.2, 0.3], [0.6, 0.0, 0.1], [0.35, 0.2, 0.4]];
        let policy = Wanderer { chunks: self.chunks, targets };
        let policy = self.profile.spoil(Box::new(policy), START_NS, Pace::Lockstep);
        let happened = policy.faults();
        let link = faults.wrap(&Link::in_process(&bus, clock.clone()));
        let mut runtime = Runtime::new(self.config.clone(), link, Box::new(policy))?;
        let mut watch = CommandWatch::new(chain, &self.config);
        let mut events = self.events.iter().peekable();
        let (mut pressed, mut enabling) = (false, true);
        let mut over_tick = self.faulty_ticks;
        let mut rest_rad: Option<Vec<f64>> = None;
        let mut recovered = false;
        let mut tick = 0;
        while tick < over_tick + RECOVERY_S * HZ {
            let now_ns = START_NS + tick * 1_000_000_000 / HZ;
            clock.set_ns(now_ns);
            if tick == self.faulty_ticks
                && let Some(last_ns) = faults.waiting().1
            {
                // Messages delayed by the last fault are still on their way, and later ones behind them.
                over_tick = (last_ns - START_NS) * HZ / 1_000_000_000 + 1;
            }
            let over = tick >= over_tick;
            while let Some((_, event)) = events.next_if(|(at, _)| *at <= tick) {
                match event {
                    Event::Estop(down) => {
                        pressed = *down;
                        robot.estop.put(&BoolMsg::new(*down))?;
                    }
                    Event::Enable(on) => {
                        enabling = *on;
                        robot.enable.put(&BoolMsg::new(*on))?;
                    }
                    Event::Reset => robot.reset.put(&BoolMsg::new(true))?,
                    Event::Stuck(stuck) => robot.stuck = *stuck,
                }
            }
            if over {
                (pressed, enabling, robot.stuck) = (false, true, false);
            }
            // The buttons say how they are twenty times a second.
            if tick.is_multiple_of(12) {
                robot.estop.put(&BoolMsg::new(pressed))?;
                if enabling {
                    robot.enable.put(&BoolMsg::new(true))?;
                }
                if over && matches!(runtime.mode(), Mode::Stopped(_)) {
                    robot.reset.put(&BoolMsg::new(true))?;
                }
            }
            robot.step(tick, now_ns)?;
            faults.pump();
            let command = runtime.step(now_ns);
            watch.look(&command, runtime.snapshot().body.as_ref());
            // The second half of the recovery must see motion.
            if tick >= over_tick + RECOVERY_S * HZ / 2 && command.mode == Mode::Active {
                let q: Vec<f64> = command.joints.iter().flat_map(|joints| joints.q.iter().copied()).collect();
                match &rest_rad {
                    None => rest_rad = Some(q),
                    Some(from) => {
                        recovered |= from.iter().zip(&q).any(|(a, b)| (a - b).abs() > MOVED_RAD);
                    }
                }
            }
            tick += 1;
        }
        let counts = happened.counts();
        let report = runtime.report();
        Ok(ScheduleResult {
            seed: self.seed,
            ticks: tick,
            judgement: watch.judgement().clone(),
            link_faults: faults.counts().done(),
            policy_faults: counts.faults,
            stops: report.stops,
            mode: runtime.mode().to_string(),
            recovered,
            active: runtime.mode() == Mode::Active,
            policy_gone: counts.of(PolicyFault::Hang) > 0 || counts.of(PolicyFault::Panic) >= 3,
            panic: None,
        })
    }
}

/// A time within `faulty_ms`: when it begins, and how long it lasts.
fn window(rng: &mut ChaCha8Rng, faulty_ms: u64) -> (u64, u64) {
    let from_ms = rng.random_range(0..faulty_ms);
    (from_ms, rng.random_range(1..=faulty_ms - from_ms))
}

fn link_rule(rng: &mut ChaCha8Rng, faulty_ms: u64) -> FaultRule {
    let (from_ms, for_ms) = window(rng, faulty_ms);
    let mut rule = FaultRule {
        topics: vec![(*TOPICS.choose(rng).unwrap_or(&"*")).to_owned()],
        direction: *[Direction::In, Direction::Out, Direction::Both].choose(rng).unwrap_or(&Direction::Both),
        from_ms,
        for_ms: Some(for_ms),
        ..FaultRule::default()
    };
    for _ in 0..rng.random_range(1..=3) {
        let chance = if rng.random_bool(0.2) { 1.0 } else { rng.random_range(0.0..0.5) };
        match rng.random_range(0..12) {
            0 | 1 => rule.loss = chance,
            2 => rule.delay_ms = rng.random_range(0..400),
            3 => rule.jitter_ms = rng.random_range(0..200),
            4 => (rule.reorder, rule.reorder_ms) = (chance, rng.random_range(1..200)),
            5 => rule.duplicate = chance,
            6 => rule.corrupt = chance,
            7 => rule.corrupt_attachment = chance,
            8 => rule.truncate = chance,
            9 => rule.not_finite = chance,
            10 => rule.clock_shift_ms = rng.random_range(-2000..2000),
            _ => {
                let kinds = [Freeze::Silent, Freeze::Repeat, Freeze::Stuck];
                rule.freeze = kinds.choose(rng).copied();
            }
        }
    }
    rule
}

fn policy_rule(rng: &mut ChaCha8Rng, faulty_ms: u64) -> PolicyRule {
    let (from_ms, for_ms) = window(rng, faulty_ms);
    // Those from which there is no way back are rare, or nothing else would be seen.
    let fault = match rng.random_range(0..40) {
        0 => PolicyFault::Hang,
        1 => PolicyFault::Panic,
        _ => {
            let others =
                PolicyFault::ALL.iter().filter(|f| !matches!(f, PolicyFault::Hang | PolicyFault::Panic));
            *others.collect::<Vec<_>>().choose(rng).copied().unwrap_or(&PolicyFault::Fail)
        }
    };
    PolicyRule {
        chance: if rng.random_bool(0.3) { 1.0 } else { rng.random_range(0.0..0.5) },
        from_ms,
        for_ms: Some(for_ms),
        delay_ms: rng.random_range(0..500),
        jitter_ms: rng.random_range(0..300),
        ..PolicyRule::new(fault)
    }
}

/// What many schedules came to.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Tally {
    /// Schedules run.
    pub schedules: u64,
    /// Simulated ticks.
    pub ticks: u64,
    /// Commands judged.
    pub commands: u64,
    /// Schedules with a broken limit or a command after a stop.
    pub broken: u64,
    /// Schedules in which the runtime panicked.
    pub panicked: u64,
    /// Schedules that did not move again, or did although their policy was gone.
    pub stuck: u64,
    /// Schedules whose policy was gone for good.
    pub policies_gone: u64,
    /// Faults of links.
    pub link_faults: u64,
    /// Faults of policies, in the order of [`PolicyFault::ALL`].
    pub policy_faults: [u64; PolicyFault::ALL.len()],
    /// Holds and stops that were timed, and the slowest of each, s.
    pub holds: u64,
    /// See `holds`.
    pub slowest_hold_s: f64,
    /// See `holds`.
    pub stops: u64,
    /// See `holds`.
    pub slowest_stop_s: f64,
    /// Largest shares of their limits: velocity, acceleration, jerk, speed of the tool.
    pub shares: [f64; 4],
    /// Furthest out of the workspace, m.
    pub outside_m: f64,
    /// Seed and failure of each schedule that failed.
    pub failures: Vec<(u64, String)>,
}

impl Tally {
    /// Adds one result.
    pub fn add(&mut self, result: &ScheduleResult) {
        let judged = &result.judgement;
        self.schedules += 1;
        self.ticks += result.ticks;
        self.commands += judged.commands;
        self.link_faults += result.link_faults;
        for (sum, count) in self.policy_faults.iter_mut().zip(result.policy_faults) {
            *sum += count;
        }
        self.policies_gone += u64::from(result.policy_gone);
        self.holds += judged.holds;
        self.stops += judged.stops;
        self.slowest_hold_s = self.slowest_hold_s.max(judged.slowest_hold_s);
        self.slowest_stop_s = self.slowest_stop_s.max(judged.slowest_stop_s);
        let shares =
            [judged.velocity_share, judged.acceleration_share, judged.jerk_share, judged.tool_speed_share];
        for (most, share) in self.shares.iter_mut().zip(shares) {
            *most = most.max(share);
        }
        self.outside_m = self.outside_m.max(judged.outside_m);
        if let Some(failure) = result.failure() {
            self.panicked += u64::from(result.panic.is_some());
            self.broken += u64::from(judged.violations > 0);
            self.stuck += u64::from(result.panic.is_none() && judged.violations == 0);
            self.failures.push((result.seed, failure));
        }
    }
}

/// Runs the schedules of the seeds from `first` on, on `threads` threads; `each` sees every result.
///
/// # Errors
/// When a runtime cannot be built.
pub fn run_many(
    first: u64,
    count: u64,
    threads: usize,
    each: &(impl Fn(&ScheduleResult) + Sync),
) -> Result<Tally> {
    let next = std::sync::atomic::AtomicU64::new(0);
    let tally = std::sync::Mutex::new(Tally::default());
    let work = || -> Result<()> {
        loop {
            let index = next.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            if index >= count {
                return Ok(());
            }
            let result = Schedule::random(first + index).run()?;
            each(&result);
            tally.lock().map_err(|_| anyhow!("another thread panicked"))?.add(&result);
        }
    };
    std::thread::scope(|scope| -> Result<()> {
        let workers: Vec<_> = (0..threads.max(1)).map(|_| scope.spawn(work)).collect();
        workers.into_iter().try_for_each(|worker| {
            worker.join().map_err(|_| anyhow!("a thread of the schedules panicked"))?
        })
    })?;
    let mut tally = tally.into_inner().map_err(|_| anyhow!("a thread of the schedules panicked"))?;
    tally.failures.sort();
    Ok(tally)
}
