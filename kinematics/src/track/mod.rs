//! Differential inverse kinematics: one exact constrained least-squares problem per tick.
//!
//! Each tick asks for a tool twist that closes the pose error at a bounded speed, and finds the joint
//! velocities that come closest to it within the box of each joint's velocity window (velocity limit ∩
//! position limit with braking distance ∩ acceleration limit), and beyond the rows that keep shapes apart if
//! the tracker has a collision model. The spare degrees of freedom drift towards a posture and, if asked, to
//! where the tool moves well. Near singularities the damping grows. Because the limits are part of the
//! problem, joints that hit a bound are made up for by the others, and no limit is ever exceeded; see `window`
//! for the invariant of the box and [`collision`](crate::collision) for that of the rows.
//!
//! # When the rows and the box conflict
//! The box is hard; then come the rows, then the task. Each row asks for no more than the box can give it.
//! If several still conflict, they are lowered in step, some of the way or all of it, to what the *proportional
//! brake* gives: all joints slow in proportion, the fastest as fast as it may. So no shape nears another faster
//! than it would in braking.

mod config;
mod objective;

use nalgebra::{Isometry3, Vector3};

pub use config::{ConfigError, TrackerConfig};
use objective::{ROTATION_WEIGHT, TaskRows, task_error};

use crate::chain::{Chain, Jacobian};
use crate::collision::{Clearance, CollisionError, CollisionModel, Dampers};
use crate::frame::Frame;
use crate::joints::{Joints, MAX_DOF};
use crate::linalg::Column;
use crate::qp::{self, Outcome, Problem, Side};
use crate::window::{Bounds, braking_speed};

/// The least damping, m²/rad².
const LEAST_DAMPING: f64 = 1e-6;
/// The task error at which half of the damping acts on an arm without spare joints, m.
const CALM_ERROR_M: f64 = 0.01;

/// With a collision model, no joint is slower to stop from its full speed than this, s: see
/// [`Tracker::set_collision`].
const LONGEST_STOP_S: f64 = 1.0;

/// How much of the way to what the proportional brake gives the rows are lowered in a conflict, each time.
const CONCESSIONS: [f64; 4] = [0.125, 0.25, 0.5, 1.0];

/// One tick's answer.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TrackStep {
    /// Where to command the joints, rad (or m).
    pub q_next: Joints,
    /// The velocity of this tick, rad/s (or m/s): `q_next = q + qd dt`.
    pub qd: Joints,
    /// Distance of the tool from the target at `q`, before this tick's motion, m; infinite for a target that
    /// is not finite.
    pub position_error_m: f64,
    /// Angle between tool and target at `q`, as far as the task asks for it, rad; infinite for a target that
    /// is not finite.
    pub rotation_error_rad: f64,
    /// Whether `q` or the target held a NaN or infinity (or `q` was too short). The joints then brake to rest.
    pub rejected_non_finite: bool,
    /// The closest shapes at `q` among those that could have met in this tick; `None` if none could, or
    /// without a collision model.
    pub clearance: Option<Clearance>,
    /// Whether the distances to keep and the joint limits could not all be had, and the former gave way.
    pub conflict: bool,
}

/// Follows a target pose within the limits of the joints.
///
/// Feed each [`step`](Tracker::step) the positions that the last one commanded, and all limits hold in every
/// tick whatever the target does. With measured positions instead, position and velocity limits still hold;
/// the acceleration limit then holds between the tracker's own velocities, save where keeping a position limit
/// needs more.
///
/// If something behind the tracker changes what is commanded (a limiter, say), tell it by
/// [`commanded`](Tracker::commanded), or it plans on with velocities that the arm does not have.
#[derive(Clone, Debug)]
pub struct Tracker {
    chain: Chain,
    config: TrackerConfig,
    config_ok: bool,
    bounds: [Bounds; MAX_DOF],
    posture: Joints,
    velocity: Joints,
    /// Stands in for a position that is not finite.
    last_q: Joints,
    /// The target of the last tick, to tell its velocity.
    last_target: Option<Frame>,
    /// Which velocity bounds held in the last tick.
    side: [Side; MAX_DOF],
    collision: Option<CollisionModel>,
    /// Rate at which a distance that is left may be used up, 1/s.
    approach_gain_per_s: f64,
}

impl Tracker {
    /// A tracker at rest. `posture` is brought into the limits (missing or NaN entries: mid-range).
    ///
    /// With a configuration that [`TrackerConfig::check`] refuses, the tracker never moves.
    #[must_use]
    pub fn new(chain: Chain, config: TrackerConfig, posture: &[f64]) -> Self {
        let posture = chain.clamp(posture);
        let velocity = Joints::zeros(chain.dof());
        Self {
            config_ok: config.check().is_ok(),
            bounds: bounds(&chain, &config, f64::INFINITY),
            chain,
            config,
            posture,
            velocity,
            last_q: posture,
            last_target: None,
            side: [Side::Free; MAX_DOF],
            collision: None,
            approach_gain_per_s: f64::INFINITY,
        }
    }

    /// The chain that is tracked.
    #[must_use]
    pub fn chain(&self) -> &Chain {
        &self.chain
    }

    /// The settings.
    #[must_use]
    pub fn config(&self) -> &TrackerConfig {
        &self.config
    }

    /// Forgets the motion: the arm rests at `q`. Call it before the first step and after every pause.
    pub fn reset(&mut self, q: &[f64]) {
        self.velocity = Joints::zeros(self.chain.dof());
        self.last_q = self.readable(q).unwrap_or(self.last_q);
        self.last_target = None;
    }

    /// Says that the last tick ended with the velocities `qd` (rad/s) instead of the step's own.
    ///
    /// Velocities that are not finite, or too few, are passed over.
    pub fn commanded(&mut self, qd: &[f64]) {
        self.velocity = self.readable(qd).unwrap_or(self.velocity);
    }

    /// Changes where spare degrees of freedom drift to; same rules as in [`Tracker::new`].
    pub fn set_posture(&mut self, posture: &[f64]) {
        self.posture = self.chain.clamp(posture);
    }

    /// Keeps the shapes of `model` apart from now on; `None` switches that off.
    ///
    /// Distances, and the room to position limits, are then used up at a rate of at most `k = a / v` per second,
    /// for the acceleration limit `a` and the highest of the scaled velocity limits `v`: the slowest joint to
    /// stop sets it. Velocity limits above `a` times one second count as that much, so that `k` is at least
    /// 1/s.
    ///
    /// # Errors
    /// [`CollisionError::OtherChain`] when the model was made for a chain with other joints.
    pub fn set_collision(&mut self, model: Option<CollisionModel>) -> Result<(), CollisionError> {
        if let Some(model) = &model {
            model.check_chain(&self.chain)?;
        }
        let acceleration = self.config.max_acceleration_rad_s2;
        let fastest = (0..self.chain.dof()).fold(0.0, |most: f64, i| {
            most.max(self.chain.limits()[i].velocity_rad_s * self.config.velocity_scale)
        });
        self.approach_gain_per_s = if model.is_some() {
            (acceleration / fastest).max(1.0 / LONGEST_STOP_S).min(1.0 / self.config.dt_s)
        } else {
            f64::INFINITY
        };
        let longest_stop_s = if model.is_some() { LONGEST_STOP_S } else { f64::INFINITY };
        self.bounds = bounds(&self.chain, &self.config, longest_stop_s);
        self.collision = model;
        Ok(())
    }

    /// The collision model, if there is one.
    #[must_use]
    pub fn collision(&self) -> Option<&CollisionModel> {
        self.collision.as_ref()
    }

    /// The collision model, to add, move and remove obstacles between ticks.
    pub fn collision_mut(&mut self) -> Option<&mut CollisionModel> {
        self.collision.as_mut()
    }

    /// The next joint positions on the way to `base_from_target`.
    ///
    /// Work is bounded: one Jacobian, one factorisation and at most 100 pairs in the quadratic programme (rarely
    /// more than five; in a conflict five times as many), none larger than 8 × 8, and with a collision model one
    /// distance for each pair of shapes that could meet in this tick; no allocation.
    pub fn step(&mut self, q: &[f64], base_from_target: &Isometry3<f64>) -> TrackStep {
        let readable = self.readable(q);
        let at = readable.unwrap_or(self.last_q);
        let target_ok = base_from_target.translation.vector.iter().all(|value| value.is_finite())
            && base_from_target.rotation.coords.iter().all(|value| value.is_finite());
        let n = self.chain.dof();
        let mut step = TrackStep {
            q_next: at,
            qd: Joints::zeros(n),
            position_error_m: f64::INFINITY,
            rotation_error_rad: f64::INFINITY,
            rejected_non_finite: readable.is_none() || !target_ok,
            clearance: None,
            conflict: false,
        };
        let (lowest, highest) = self.windows(&at);
        // The way to rest: the velocity nearest to zero that the window has, or in step with the others.
        let mut wanted = if self.collision.is_some() {
            self.proportional_brake(&lowest, &highest)
        } else {
            [0.0; MAX_DOF]
        };
        if target_ok {
            let mut jacobian = Jacobian::default();
            let tip = self.chain.tip_and_jacobian(&at, &mut jacobian);
            let target = Frame::from_isometry(base_from_target);
            let error = task_error(self.config.task, &target, &tip);
            (step.position_error_m, step.rotation_error_rad) = (error.0.norm(), error.1.norm());
            if readable.is_some() && self.config_ok {
                let (linear, angular) = self.task_twist(&target, &error.0, &error.1);
                let rows = TaskRows::new(self.config.task, &jacobian, &tip);
                wanted =
                    self.follow(&at, &jacobian, &rows, [&linear, &angular], (&lowest, &highest), &mut step);
            }
            self.last_target = Some(target);
        } else {
            self.last_target = None;
        }
        if self.config_ok {
            for i in 0..n {
                let finite = if wanted[i].is_finite() { wanted[i] } else { 0.0 };
                step.qd[i] = finite.max(lowest[i]).min(highest[i]);
                step.q_next[i] = self.bounds[i].advance(at[i], step.qd[i]);
            }
        }
        self.velocity = step.qd;
        self.last_q = step.q_next;
        step
    }

    fn readable(&self, q: &[f64]) -> Option<Joints> {
        let q = Joints::from_slice(q.get(..self.chain.dof())?);
        q.is_finite().then_some(q)
    }

    fn windows(&self, q: &Joints) -> (Column, Column) {
        let mut lowest = [0.0; MAX_DOF];
        let mut highest = [0.0; MAX_DOF];
        for i in 0..self.chain.dof() {
            (lowest[i], highest[i]) = self.bounds[i].window(q[i], self.velocity[i], self.approach_gain_per_s);
        }
        (lowest, highest)
    }

    /// The tool's twist to ask for: linear (m/s) and angular (rad/s).
    fn task_twist(
        &self,
        target: &Frame,
        position_error: &Vector3<f64>,
        rotation_error: &Vector3<f64>,
    ) -> (Vector3<f64>, Vector3<f64>) {
        let config = &self.config;
        let (mut linear, mut angular) = (Vector3::zeros(), Vector3::zeros());
        if let Some(last) = self.last_target.filter(|_| config.follow_target_velocity) {
            (linear, angular) = task_error(config.task, target, &last);
            (linear, angular) = (linear / config.dt_s, angular / config.dt_s);
            // Faster than the tool may move: a jump, not a motion to go along with.
            if linear.norm() > config.max_tool_speed_m_s || angular.norm() > config.max_tool_turn_rad_s {
                (linear, angular) = (Vector3::zeros(), Vector3::zeros());
            }
        }
        (
            self.approach(position_error, &linear, config.max_tool_speed_m_s, config.tool_braking_m_s2),
            self.approach(rotation_error, &angular, config.max_tool_turn_rad_s, config.tool_braking_rad_s2),
        )
    }

    /// Velocity that closes the error, seen from a target that moves: proportional for a small error, then
    /// what can still brake in time, and never above the cap.
    fn approach(
        &self,
        error: &Vector3<f64>,
        target_velocity: &Vector3<f64>,
        cap: f64,
        braking: f64,
    ) -> Vector3<f64> {
        let dt_s = self.config.dt_s;
        let lag = error - target_velocity * dt_s;
        let distance = lag.norm();
        let mut velocity = *target_velocity;
        if distance > 0.0 {
            let gain = self.config.task_gain_per_s.min(1.0 / dt_s);
            let speed = (distance * gain).min(cap).min(braking_speed(distance, braking, dt_s));
            velocity += lag * (speed / distance);
        }
        let speed = velocity.norm();
        if speed > cap { velocity * (cap / speed) } else { velocity }
    }

    /// The velocities within box and rows that serve task and posture best.
    fn follow(
        &mut self,
        q: &Joints,
        jacobian: &Jacobian,
        task: &TaskRows,
        [linear, angular]: [&Vector3<f64>; 2],
        (lowest, highest): (&Column, &Column),
        step: &mut TrackStep,
    ) -> Column {
        let n = self.chain.dof();
        let (mut h, mut g) = task.normal_equations(linear, angular);
        let drift = self.drift(q, task, jacobian);
        let share = if task.spare() { 1.0 } else { calm(step) };
        let damping = (share * (self.config.posture_weight + task.singular_damping())).max(LEAST_DAMPING);
        for i in 0..n {
            h[i][i] += damping;
            g[i] += damping * drift[i];
        }
        let problem = Problem { h: &h, g: &g, lower: lowest, upper: highest, rows: &[], n };
        let Some(model) = &self.collision else {
            let found = qp::solve(&problem, &self.side);
            self.side = found.side;
            return found.x;
        };
        let frames = self.chain.joint_frames(q);
        let mut dampers = Dampers::new(self.approach_gain_per_s, lowest, highest);
        model.dampers(&frames, &mut dampers);
        step.clearance = dampers.clearance;
        let found = qp::solve(&Problem { rows: dampers.rows(), ..problem }, &self.side);
        if found.outcome == Outcome::Optimal {
            self.side = found.side;
            return found.x;
        }
        step.conflict = true;
        let brake = self.proportional_brake(lowest, highest);
        for share in CONCESSIONS {
            dampers.concede(share, &brake, n);
            let found = qp::solve(&Problem { rows: dampers.rows(), ..problem }, &self.side);
            if found.outcome == Outcome::Optimal {
                return found.x;
            }
        }
        brake
    }

    /// All joints slowed in proportion, the fastest one as fast as it may.
    fn proportional_brake(&self, lowest: &Column, highest: &Column) -> Column {
        let fastest = self.velocity.iter().fold(0.0, |most: f64, v| most.max(v.abs()));
        let change = self.config.max_acceleration_rad_s2 * self.config.dt_s;
        let share = if fastest > change { 1.0 - change / fastest } else { 0.0 };
        let mut brake = [0.0; MAX_DOF];
        for (i, v) in self.velocity.iter().enumerate() {
            brake[i] = (share * v).max(lowest[i]).min(highest[i]);
        }
        brake
    }

    /// Velocity of the spare motion: towards the posture and up the manipulability, leaving the task alone.
    fn drift(&self, q: &Joints, task: &TaskRows, jacobian: &Jacobian) -> Column {
        let gain = self.config.manipulability_gain_rad2_per_s;
        let mut drift = if gain > 0.0 { task.manipulability_gradient(jacobian) } else { [0.0; MAX_DOF] };
        for i in 0..self.chain.dof() {
            let cap = 0.5 * self.bounds[i].speed;
            let wanted = self.config.posture_gain_per_s * (self.posture[i] - q[i]) + gain * drift[i];
            drift[i] = wanted.max(-cap).min(cap);
        }
        task.project(&mut drift);
        drift
    }
}

/// The share of the damping that acts on an arm without spare joints, from 0 on the target to 1 far from it.
///
/// So such an arm follows a path through a near-singularity more closely where it can, and stays calm where it
/// cannot (Sugihara 2011 scales the damping of a search by its residual in the same spirit). With spare joints
/// the damping is also what keeps their motion quiet, and acts in full.
fn calm(step: &TrackStep) -> f64 {
    let (position_m, rotation_rad) = (step.position_error_m, step.rotation_error_rad);
    let residual_m = (position_m * position_m + ROTATION_WEIGHT * rotation_rad * rotation_rad).sqrt();
    residual_m / (residual_m + CALM_ERROR_M)
}

fn bounds(chain: &Chain, config: &TrackerConfig, longest_stop_s: f64) -> [Bounds; MAX_DOF] {
    let (scale, acceleration) = (config.velocity_scale, config.max_acceleration_rad_s2);
    std::array::from_fn(|index| {
        // Beyond the last joint an entry is only a filler.
        let limits = &chain.limits()[index.min(chain.dof() - 1)];
        let mut bounds = Bounds::new(limits, scale, acceleration, config.dt_s);
        bounds.speed = bounds.speed.min(acceleration * longest_stop_s);
        bounds
    })
}
