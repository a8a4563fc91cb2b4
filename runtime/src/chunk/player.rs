//! The player: takes chunks up, keeps the count of what was consumed, and lays the knots of the motion.

use std::collections::VecDeque;

use nalgebra::Vector3;
use reflexarc_kinematics::limit::JointLimiter;
use reflexarc_kinematics::{Chain, Joints};
use reflexarc_vla_model::chunk::ActionChunk;

use super::seam::Seams;
use super::tally::{Delays, Late, PlayStats};
use super::{MAX_ACTIONS, spline};
use crate::config::Config;
use crate::motion::{FACE_M, limiter_config, outside_box_m};

/// A start from rest begins at this share of the actions' own pace.
const PACE_FLOOR: f64 = 0.1;
/// A joint that is nearer to its last target has arrived, rad (or m).
const ARRIVED_RAD: f64 = 1e-6;
/// So many periods pass between the laying of a knot and the moment that no motion depends on it.
const KNOT_LIFE: f64 = 4.0;

/// A point that the curve passes close to, one per period of the policy.
#[derive(Clone, Copy, Debug, Default)]
struct Knot {
    q: Joints,
    gripper_width_m: f64,
    /// Consumption at this point, s.
    played_s: f64,
    /// Whether there was no action left to consume on the way here.
    starved: bool,
    /// Capture time of the observation behind it, ns.
    observation_ns: u64,
}

/// One action as it will be executed.
#[derive(Clone, Copy, Debug)]
struct Action {
    q: Joints,
    gripper_width_m: f64,
}

/// The chunk in force.
#[derive(Clone, Debug)]
struct Stored {
    number: u64,
    observation_ns: u64,
    period_s: f64,
    /// Consumption at the moment of the observation, s: there the first action belongs.
    origin_s: f64,
    /// Filled in place.
    actions: Vec<Action>,
}

impl Stored {
    fn empty() -> Self {
        Self {
            number: 0,
            observation_ns: 0,
            period_s: 1.0,
            origin_s: 0.0,
            actions: Vec::with_capacity(MAX_ACTIONS),
        }
    }

    fn end_s(&self) -> f64 {
        self.origin_s + self.actions.len().saturating_sub(1) as f64 * self.period_s
    }

    /// Position in the chunk, in actions.
    fn position(&self, played_s: f64) -> f64 {
        (played_s - self.origin_s) / self.period_s
    }

    /// What the chunk says at a consumption, between two actions in proportion; `None` for no chunk.
    fn read(&self, played_s: f64) -> Option<Action> {
        let last = self.actions.len().checked_sub(1)?;
        let position = self.position(played_s).clamp(0.0, last as f64);
        // Not negative and at most `last`.
        let index = position as usize;
        let (from, to) = (self.actions[index], self.actions[(index + 1).min(last)]);
        let share = position - index as f64;
        Some(Action {
            q: Joints::from_fn(from.q.len(), |i| from.q[i] + share * (to.q[i] - from.q[i])),
            gripper_width_m: from.gripper_width_m + share * (to.gripper_width_m - from.gripper_width_m),
        })
    }
}

/// Whether there is something to execute.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Readiness {
    /// Actions are waiting or under way.
    Ready,
    /// No chunk has come since the start or the last stop.
    Nothing,
    /// All actions have been executed, and the motion rests.
    Dry,
    /// The next action is about something seen too long ago.
    Expired {
        /// Age of its observation, ns.
        age_ns: u64,
    },
}

/// One tick of a chunk's execution.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sample {
    /// Joint positions, rad (or m).
    pub q: Joints,
    /// Opening between the fingers, m.
    pub gripper_width_m: f64,
    /// Capture time of the newest observation that the motion now depends on, ns.
    pub observation_ns: u64,
}

/// What is being executed, for the policy's next chunk.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Playing {
    /// The chunk in force.
    pub number: u64,
    /// Position in it at the moment asked for, in actions.
    pub position: f64,
    /// Actions that are likely to be consumed between an observation and the chunk that answers it.
    pub delay: usize,
}

/// Executes chunks. See the head of [`crate::chunk`].
#[derive(Clone, Debug)]
pub struct Player {
    chain: Chain,
    limiter: JointLimiter,
    low_m: Vector3<f64>,
    high_m: Vector3<f64>,
    width_max_m: f64,
    tick_s: f64,
    knot_s: f64,
    soft_start_s: f64,
    brake_s: f64,
    pace_limit: f64,
    expiry_ns: u64,
    stored: Stored,
    /// The chunk before, whose place the next one takes.
    spare: Stored,
    newest: u64,
    not_before_ns: u64,
    exhausted: bool,
    running: bool,
    knots: [Knot; 4],
    /// Way from the second knot to the third, 0..1.
    u: f64,
    pace: f64,
    seams: Seams,
    played_s: f64,
    /// Consumption at each executed tick, oldest first.
    history: VecDeque<(u64, f64)>,
    delays: Delays,
    stats: PlayStats,
}

impl Player {
    /// A player without a chunk.
    #[must_use]
    pub fn new(chain: Chain, config: &Config) -> Self {
        let (limits, chunk) = (&config.limits, &config.chunk);
        let knot_s = 1.0 / chunk.rate_hz;
        let bounds = limiter_config(config, knot_s);
        let velocity = |i: usize| (chain.limits()[i].velocity_rad_s * limits.speed_scale).min(1e3);
        let window_s = (chunk.blend_ms as f64 / 1e3, chunk.blend_max_ms as f64 / 1e3);
        let velocity_rad_s = Joints::from_fn(chain.dof(), velocity);
        let remembered_s = chunk.expiry_ms as f64 / 1e3 + 1.0;
        let ticks = (remembered_s * f64::from(config.rates.reflex_hz)).ceil();
        Self {
            low_m: Vector3::from(limits.workspace_min_m),
            high_m: Vector3::from(limits.workspace_max_m),
            width_max_m: config.robot.gripper_max_width_m,
            tick_s: config.dt_s(),
            knot_s,
            soft_start_s: limits.soft_start_ms as f64 / 1e3,
            brake_s: window_s.0,
            pace_limit: 1.0,
            expiry_ns: chunk.expiry_ms.saturating_mul(1_000_000),
            stored: Stored::empty(),
            spare: Stored::empty(),
            newest: 0,
            not_before_ns: 0,
            exhausted: false,
            running: false,
            knots: [Knot::default(); 4],
            u: 0.0,
            pace: 0.0,
            seams: Seams::new(velocity_rad_s, limits.max_joint_acceleration_rad_s2, window_s),
            played_s: 0.0,
            // The validated configuration keeps this below twenty thousand.
            history: VecDeque::with_capacity(ticks as usize),
            delays: Delays::default(),
            stats: PlayStats::default(),
            limiter: JointLimiter::new(chain.clone(), bounds),
            chain,
        }
    }

    /// Takes a chunk up, unless it was offered before or is too late. It must have passed the audit.
    ///
    /// What was consumed since its observation is skipped. Does not allocate; the work is one pass over the
    /// actions.
    pub fn offer(&mut self, now_ns: u64, number: u64, chunk: &ActionChunk) {
        if number <= self.newest {
            return;
        }
        self.newest = number;
        // The audit has refused such a chunk already; looking again costs little.
        let usable = (1..=MAX_ACTIONS).contains(&chunk.count())
            && chunk.width == self.chain.dof() + 1
            && chunk.actions.iter().all(|value| value.is_finite());
        if !usable {
            return;
        }
        match self.take_up(now_ns, number, chunk) {
            Ok(()) => self.stats.taken += 1,
            Err(late) => self.stats.late[late as usize] += 1,
        }
    }

    fn take_up(&mut self, now_ns: u64, number: u64, chunk: &ActionChunk) -> Result<(), Late> {
        let observation_ns = chunk.observation_ns;
        if now_ns.saturating_sub(observation_ns) > self.expiry_ns {
            return Err(Late::Expired);
        }
        if observation_ns < self.not_before_ns {
            return Err(Late::BeforeStop);
        }
        if !self.stored.actions.is_empty() && observation_ns < self.stored.observation_ns {
            return Err(Late::OutOfOrder);
        }
        let origin_s = self.played_at(observation_ns);
        let period_s = (chunk.period_ns as f64 / 1e9).max(1e-6);
        // While moving, the knots laid already are as good as consumed.
        let reached_s = if self.running { self.knots[3].played_s } else { self.played_s };
        let consumed = (reached_s - origin_s) / period_s;
        let last = chunk.count() as f64 - 1.0;
        if consumed > last + 1e-6 {
            return Err(Late::Overtaken);
        }
        let skipped = (consumed - 1e-6).ceil().max(0.0) as u64;
        self.stats.skipped_actions += skipped;
        // From rest nothing is consumed meanwhile, which says nothing about the delay of the next one.
        if self.running {
            self.stats.longest_delay = self.stats.longest_delay.max(skipped);
            self.delays.add(skipped);
        }
        let dof = self.chain.dof();
        let (limits, width_max_m) = (self.chain.limits(), self.width_max_m);
        std::mem::swap(&mut self.stored, &mut self.spare);
        self.stored.actions.clear();
        self.stored.actions.extend(chunk.actions.chunks_exact(chunk.width.max(1)).map(|values| {
            let value = |i: usize| values.get(i).map_or(0.0, |value| f64::from(*value));
            Action {
                q: Joints::from_fn(dof, |i| limits[i].clamp(value(i))),
                gripper_width_m: value(dof).max(0.0).min(width_max_m),
            }
        }));
        self.stored.number = number;
        self.stored.observation_ns = observation_ns;
        self.stored.period_s = period_s;
        self.stored.origin_s = origin_s;
        self.exhausted = false;
        if self.running {
            self.join();
        }
        Ok(())
    }

    /// Opens the seam between the spare chunk, which was in force at the last two knots, and the one stored.
    fn join(&mut self) {
        let [.., before, last] = &self.knots;
        let apart = |played_s: f64| {
            let (old, new) = (self.spare.read(played_s)?, self.stored.read(played_s)?);
            Some(Joints::from_fn(new.q.len(), |i| old.q[i] - new.q[i]))
        };
        if let (Some(then), Some(now)) = (apart(before.played_s), apart(last.played_s)) {
            let drift = Joints::from_fn(now.len(), |i| (now[i] - then[i]) / self.knot_s);
            self.count_seam(&now);
            self.seams.join(now, &drift);
        }
    }

    fn count_seam(&mut self, offset: &Joints) {
        let widest = offset.iter().fold(0.0, |widest: f64, rad| widest.max(rad.abs()));
        self.stats.widest_seam_rad = self.stats.widest_seam_rad.max(widest);
    }

    /// Consumption at a moment of the past, s: that of the last tick executed until then.
    fn played_at(&self, at_ns: u64) -> f64 {
        let later = self.history.partition_point(|(now_ns, _)| *now_ns <= at_ns);
        match later.checked_sub(1).and_then(|index| self.history.get(index)) {
            Some((_, played_s)) => *played_s,
            // Older than all that is remembered.
            None => self.history.front().map_or(self.played_s, |(_, played_s)| *played_s),
        }
    }

    /// Whether there is something to execute at `now_ns`.
    #[must_use]
    pub fn readiness(&self, now_ns: u64) -> Readiness {
        if self.stored.actions.is_empty() {
            return Readiness::Nothing;
        }
        if self.exhausted {
            return Readiness::Dry;
        }
        // While moving, the oldest knot decides.
        let oldest_ns = if self.running {
            self.knots[0].observation_ns.min(self.stored.observation_ns)
        } else {
            self.stored.observation_ns
        };
        let age_ns = now_ns.saturating_sub(oldest_ns);
        if age_ns > self.expiry_ns { Readiness::Expired { age_ns } } else { Readiness::Ready }
    }

    /// Whether the motion is under way; if not, [`Player::begin`] must come before the next step.
    #[must_use]
    pub fn running(&self) -> bool {
        self.running
    }

    /// Begins from an arm at rest, softly.
    pub fn begin(&mut self, now_ns: u64, q: &Joints, gripper_width_m: f64) {
        if !self.limiter.reset(q) {
            return;
        }
        let observation_ns = self.stored.observation_ns;
        self.knots =
            [Knot { q: *q, gripper_width_m, played_s: self.played_s, starved: false, observation_ns }; 4];
        self.u = 0.0;
        self.pace = 0.0;
        self.running = true;
        self.stats.starts += 1;
        if let Some(first) = self.stored.read(self.played_s) {
            let offset = Joints::from_fn(q.len(), |i| q[i] - first.q[i]);
            self.count_seam(&offset);
            self.seams.begin(offset);
        }
        self.lay_knot(now_ns);
    }

    /// From now on no faster than this share of the actions' own pace, 0..1.
    pub fn limit_pace(&mut self, share: f64) {
        self.pace_limit = share;
    }

    /// Joint positions of the action that comes next; none without a chunk.
    #[must_use]
    pub fn first(&self) -> Option<Joints> {
        self.stored.read(self.played_s).map(|action| action.q)
    }

    /// Breaks off: something else moves the arm, or nothing does. What was consumed stays consumed.
    pub fn interrupt(&mut self) {
        self.running = false;
    }

    /// Breaks off and forgets the chunk in force.
    pub fn clear(&mut self) {
        self.running = false;
        self.stored.actions.clear();
    }

    /// Forgets the chunk in force, and those to come that answer observations before `now_ns`.
    pub fn forget(&mut self, now_ns: u64) {
        self.clear();
        self.not_before_ns = now_ns;
    }

    /// Executes one tick. `None` unless [`Player::running`].
    ///
    /// Work is bounded: one point of the spline, and at the end of a period one step of the limiter, which
    /// looks at the workspace at every eighth knot of at most thirteen stops.
    pub fn step(&mut self, now_ns: u64) -> Option<Sample> {
        if !self.running {
            return None;
        }
        let [first, second, third, fourth] = &self.knots;
        let between = |from: f64, to: f64| from + self.u * (to - from);
        let sample = Sample {
            q: spline::point([&first.q, &second.q, &third.q, &fourth.q], self.u),
            gripper_width_m: between(second.gripper_width_m, third.gripper_width_m),
            observation_ns: fourth.observation_ns,
        };
        self.stats.starved_ticks += u64::from(third.starved);
        self.played_s = between(second.played_s, third.played_s);
        if self.history.len() == self.history.capacity() {
            self.history.pop_front();
        }
        self.history.push_back((now_ns, self.played_s));
        self.u += self.tick_s / self.knot_s;
        while self.u >= 1.0 {
            self.u -= 1.0;
            self.lay_knot(now_ns);
        }
        Some(sample)
    }

    /// Lays the knot that comes after the last one.
    fn lay_knot(&mut self, now_ns: u64) {
        let last = self.knots[3];
        let left_s = (self.stored.end_s() - last.played_s).max(0.0);
        // Braking from full pace takes the shortest window, and half of that in actions.
        let by_end = (2.0 * left_s / self.brake_s).sqrt();
        let dies_ns = self.stored.observation_ns.saturating_add(self.expiry_ns);
        let lives_s = dies_ns.saturating_sub(now_ns) as f64 / 1e9 - KNOT_LIFE * self.knot_s;
        let by_age = (lives_s / self.brake_s).max(0.0);
        let quicker = if self.soft_start_s > 0.0 { self.pace + self.knot_s / self.soft_start_s } else { 1.0 };
        // A lower limit is come down to as gently as an end.
        let limit = self.pace_limit.max(self.pace - self.knot_s / self.brake_s);
        self.pace = quicker.clamp(PACE_FLOOR, 1.0).min(limit).min(by_end).min(by_age);
        let played_s = last.played_s + (self.pace * self.knot_s).min(left_s);
        let Some(wish) = self.stored.read(played_s) else {
            return;
        };
        let offset = self.seams.advance(self.knot_s);
        let wanted = Joints::from_fn(last.q.len(), |i| wish.q[i] + offset[i]);
        let (chain, low_m, high_m) = (&self.chain, &self.low_m, &self.high_m);
        let outside_m = |q: &Joints| outside_box_m(&chain.base_from_tip(q).translation.vector, low_m, high_m);
        let allowed_m = outside_m(&last.q).max(FACE_M);
        let q = self.limiter.limit_guarded(&wanted, |q| outside_m(q) <= allowed_m).q;
        let arrived =
            |q: &Joints| q.iter().zip(wish.q.iter()).all(|(q, wish)| (q - wish).abs() < ARRIVED_RAD);
        if left_s == 0.0 && self.seams.faded() && self.knots.iter().all(|knot| arrived(&knot.q)) {
            self.stats.ran_dry += u64::from(!self.exhausted);
            self.exhausted = true;
        }
        self.knots.rotate_left(1);
        self.knots[3] = Knot {
            q,
            gripper_width_m: wish.gripper_width_m,
            played_s,
            starved: played_s == last.played_s,
            observation_ns: self.stored.observation_ns,
        };
    }

    /// What was being executed at `at_ns`; `None` while there is nothing to execute.
    #[must_use]
    pub fn playing(&self, at_ns: u64) -> Option<Playing> {
        if self.stored.actions.is_empty() || self.exhausted {
            return None;
        }
        Some(Playing {
            number: self.stored.number,
            position: self.stored.position(self.played_at(at_ns)).max(0.0),
            delay: self.delays.usual(),
        })
    }

    /// Number of the newest chunk offered, taken up or not.
    #[must_use]
    pub fn heard(&self) -> u64 {
        self.newest
    }

    /// The counters so far.
    #[must_use]
    pub fn stats(&self) -> PlayStats {
        self.stats
    }
}
