//! Differential inverse kinematics: one exact box-constrained least-squares problem per tick.
//!
//! Each tick asks for a tool twist that closes the pose error at a bounded speed, and finds the joint
//! velocities that come closest to it within the box of each joint's velocity window (velocity limit ∩
//! position limit with braking distance ∩ acceleration limit). The spare degrees of freedom drift towards a
//! posture. Near singularities the damping grows. Because the box is part of the problem, joints that hit a
//! bound are made up for by the others, and no limit is ever exceeded; see `window` for the invariant.

use nalgebra::{Isometry3, Vector3};

use crate::chain::{Chain, Jacobian};
use crate::frame::{Frame, rotation_log};
use crate::joints::{Joints, MAX_DOF};
use crate::linalg::{Column, Square, factor, normal_equations, solve};
use crate::qp::solve_box;
use crate::window::{Bounds, braking_speed};

/// What a squared radian weighs against a squared metre, m²/rad²: a lever of about 0.3 m.
const ROTATION_WEIGHT: f64 = 0.1;
/// Regularisation of the projection into the null space.
const PROJECTION_DAMPING: f64 = 1e-6;
/// Below this squared pivot of the weighted Gram matrix (m²) the arm counts as near a singularity.
const SINGULAR_PIVOT: f64 = 1e-3;
/// Damping added at a singularity, m².
const SINGULAR_DAMPING: f64 = 5e-3;

/// Settings of a [`Tracker`]. All values must be finite and above 0 unless said otherwise.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TrackerConfig {
    /// Length of a tick, s. Default 1/240.
    pub dt_s: f64,
    /// Share of each joint's velocity limit that may be used, in (0, 1]. Default 0.8.
    pub velocity_scale: f64,
    /// Weight of the posture, and base damping, against the task, m²/rad², ≥ 0. Default 1e-3. More is calmer
    /// near singularities and slower along weak directions; it does not bias where the tool comes to rest.
    pub posture_weight: f64,
    /// Rate at which the posture error closes where the task leaves room, 1/s, ≥ 0. Default 1.
    pub posture_gain_per_s: f64,
    /// Speed that the task may ask of the tool's origin, m/s. Default 0.5.
    pub max_tool_speed_m_s: f64,
    /// Turning speed that the task may ask of the tool, rad/s. Default 2.
    pub max_tool_turn_rad_s: f64,
    /// Deceleration of the tool's origin planned on arrival, m/s². Default 2. Above what the joints can do,
    /// the tool overshoots.
    pub tool_braking_m_s2: f64,
    /// Deceleration of the tool's turning planned on arrival, rad/s². Default 6.
    pub tool_braking_rad_s2: f64,
    /// Rate at which a small pose error closes, 1/s; at most one error per tick is asked. Default 40. Less is
    /// smoother with a noisy target and lags more behind a moving one (lag = speed / gain).
    pub task_gain_per_s: f64,
    /// Whether to move along with a target that moves no faster than the tool may, instead of lagging behind
    /// it. Default false: right for targets that come in steps or with noise. True needs a new, smooth target
    /// in every tick.
    pub follow_target_velocity: bool,
    /// Acceleration limit of every joint, rad/s² (or m/s²). Default 10.
    pub max_acceleration_rad_s2: f64,
}

impl Default for TrackerConfig {
    fn default() -> Self {
        Self {
            dt_s: 1.0 / 240.0,
            velocity_scale: 0.8,
            posture_weight: 1e-3,
            posture_gain_per_s: 1.0,
            max_tool_speed_m_s: 0.5,
            max_tool_turn_rad_s: 2.0,
            tool_braking_m_s2: 2.0,
            tool_braking_rad_s2: 6.0,
            task_gain_per_s: 40.0,
            follow_target_velocity: false,
            max_acceleration_rad_s2: 10.0,
        }
    }
}

/// A setting outside its range.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("{field} is {actual}, expected {expected}")]
pub struct ConfigError {
    /// The field's name.
    pub field: &'static str,
    /// What it must be.
    pub expected: &'static str,
    /// What it is.
    pub actual: f64,
}

impl TrackerConfig {
    /// Checks every field's range.
    ///
    /// # Errors
    /// The first field outside its range.
    pub fn check(&self) -> Result<(), ConfigError> {
        let positive = [
            ("dt_s", self.dt_s),
            ("max_tool_speed_m_s", self.max_tool_speed_m_s),
            ("max_tool_turn_rad_s", self.max_tool_turn_rad_s),
            ("tool_braking_m_s2", self.tool_braking_m_s2),
            ("tool_braking_rad_s2", self.tool_braking_rad_s2),
            ("task_gain_per_s", self.task_gain_per_s),
            ("max_acceleration_rad_s2", self.max_acceleration_rad_s2),
        ];
        for (field, actual) in positive {
            if !(actual.is_finite() && actual > 0.0) {
                return Err(ConfigError { field, expected: "a finite number above 0", actual });
            }
        }
        let scale = self.velocity_scale;
        if !(scale > 0.0 && scale <= 1.0) {
            return Err(ConfigError {
                field: "velocity_scale",
                expected: "above 0 and at most 1",
                actual: scale,
            });
        }
        for (field, actual) in
            [("posture_weight", self.posture_weight), ("posture_gain_per_s", self.posture_gain_per_s)]
        {
            if !(actual.is_finite() && actual >= 0.0) {
                return Err(ConfigError { field, expected: "a finite number of at least 0", actual });
            }
        }
        Ok(())
    }
}

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
    /// Angle between tool and target at `q`, rad; infinite for a target that is not finite.
    pub rotation_error_rad: f64,
    /// Whether `q` or the target held a NaN or infinity (or `q` was too short). The joints then brake to rest.
    pub rejected_non_finite: bool,
}

/// Follows a target pose within the limits of the joints.
///
/// Feed each [`step`](Tracker::step) the positions that the last one commanded, and all limits hold in every
/// tick whatever the target does. With measured positions instead, position and velocity limits still hold;
/// the acceleration limit then holds between the tracker's own velocities, save where keeping a position limit
/// needs more.
#[derive(Clone, Debug)]
pub struct Tracker {
    chain: Chain,
    config: TrackerConfig,
    config_ok: bool,
    posture: Joints,
    velocity: Joints,
    /// Stands in for a position that is not finite.
    last_q: Joints,
    /// The target of the last tick, to tell its velocity.
    last_target: Option<Frame>,
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
            chain,
            config,
            posture,
            velocity,
            last_q: posture,
            last_target: None,
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

    /// Changes where spare degrees of freedom drift to; same rules as in [`Tracker::new`].
    pub fn set_posture(&mut self, posture: &[f64]) {
        self.posture = self.chain.clamp(posture);
    }

    /// The next joint positions on the way to `base_from_target`.
    ///
    /// Work is bounded: one Jacobian, two factorisations and at most 60 in the box problem (rarely more than
    /// five), none larger than 8 × 8; no allocation.
    pub fn step(&mut self, q: &[f64], base_from_target: &Isometry3<f64>) -> TrackStep {
        let readable = self.readable(q);
        let at = readable.unwrap_or(self.last_q);
        let target_ok = base_from_target.translation.vector.iter().all(|value| value.is_finite())
            && base_from_target.rotation.coords.iter().all(|value| value.is_finite());
        let n = self.chain.dof();
        let (lowest, highest) = self.windows(&at);

        let mut qd = Joints::zeros(n);
        let (mut position_error_m, mut rotation_error_rad) = (f64::INFINITY, f64::INFINITY);
        if target_ok {
            let (tip, jacobian) = self.chain.tip_and_jacobian(&at);
            let target = Frame::from_isometry(base_from_target);
            let position_error = target.translation - tip.translation;
            let rotation_error = rotation_log(&(target.rotation * tip.rotation.transpose()));
            (position_error_m, rotation_error_rad) = (position_error.norm(), rotation_error.norm());
            if readable.is_some() && self.config_ok {
                let (linear, angular) = self.task_twist(&target, &position_error, &rotation_error);
                qd = self.follow(&at, &jacobian, &linear, &angular, &lowest, &highest);
            }
            self.last_target = Some(target);
        } else {
            self.last_target = None;
        }
        // Also the way to rest: the velocity nearest to zero that the window has.
        for i in 0..n {
            let wanted = if qd[i].is_finite() { qd[i] } else { 0.0 };
            qd[i] = wanted.max(lowest[i]).min(highest[i]);
        }
        let q_next = Joints::from_fn(n, |i| self.bounds(i).advance(at[i], qd[i]));
        let step = if self.config_ok {
            TrackStep {
                q_next,
                qd,
                position_error_m,
                rotation_error_rad,
                rejected_non_finite: readable.is_none() || !target_ok,
            }
        } else {
            TrackStep {
                q_next: at,
                qd: Joints::zeros(n),
                position_error_m,
                rotation_error_rad,
                rejected_non_finite: readable.is_none() || !target_ok,
            }
        };
        self.velocity = step.qd;
        self.last_q = step.q_next;
        step
    }

    fn readable(&self, q: &[f64]) -> Option<Joints> {
        let q = Joints::from_slice(q.get(..self.chain.dof())?);
        q.is_finite().then_some(q)
    }

    fn bounds(&self, index: usize) -> Bounds {
        Bounds::new(
            &self.chain.limits()[index],
            self.config.velocity_scale,
            self.config.max_acceleration_rad_s2,
            self.config.dt_s,
        )
    }

    fn windows(&self, q: &Joints) -> (Column, Column) {
        let mut lowest = [0.0; MAX_DOF];
        let mut highest = [0.0; MAX_DOF];
        for i in 0..self.chain.dof() {
            (lowest[i], highest[i]) = self.bounds(i).window(q[i], self.velocity[i]);
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
            linear = (target.translation - last.translation) / config.dt_s;
            angular = rotation_log(&(target.rotation * last.rotation.transpose())) / config.dt_s;
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

    /// The velocities in the box that serve task and posture best.
    fn follow(
        &self,
        q: &Joints,
        jacobian: &Jacobian,
        linear: &Vector3<f64>,
        angular: &Vector3<f64>,
        lowest: &Column,
        highest: &Column,
    ) -> Joints {
        let n = self.chain.dof();
        let (mut h, mut g) = normal_equations(jacobian, linear, angular, ROTATION_WEIGHT);
        let drift = self.posture_drift(q, &h);
        let damping = self.config.posture_weight.max(1e-9) + singular_damping(jacobian, &h, n);
        for i in 0..n {
            h[i][i] += damping;
            g[i] += damping * drift[i];
        }
        Joints::from_slice(&solve_box(&h, &g, lowest, highest, n).x[..n])
    }

    /// Velocity towards the posture, projected onto motions that leave the tool where it is.
    ///
    /// `I − J⁺J` in its damped form `μ (JᵀWJ + μ)⁻¹`.
    fn posture_drift(&self, q: &Joints, h: &Square) -> Column {
        let n = self.chain.dof();
        let mut drift = [0.0; MAX_DOF];
        let mut a = *h;
        for i in 0..n {
            let cap = 0.5 * self.bounds(i).speed;
            let wanted = self.config.posture_gain_per_s * (self.posture[i] - q[i]);
            drift[i] = PROJECTION_DAMPING * wanted.max(-cap).min(cap);
            a[i][i] += PROJECTION_DAMPING;
        }
        if factor(&mut a, n).is_none() {
            return [0.0; MAX_DOF];
        }
        solve(&a, &mut drift, n);
        drift
    }
}

/// Damping that grows from 0 as the smallest pivot of the Gram matrix of the task falls below its threshold.
fn singular_damping(jacobian: &Jacobian, h: &Square, n: usize) -> f64 {
    let (mut gram, size) = if n > 6 { (row_gram(jacobian), 6) } else { (*h, n) };
    let pivot = factor(&mut gram, size).unwrap_or(0.0);
    let depth = (1.0 - pivot / SINGULAR_PIVOT).max(0.0);
    SINGULAR_DAMPING * depth * depth
}

/// `√W J Jᵀ √W`, 6 × 6.
fn row_gram(jacobian: &Jacobian) -> Square {
    let lever = ROTATION_WEIGHT.sqrt();
    let weight = [1.0, 1.0, 1.0, lever, lever, lever];
    let mut gram = [[0.0; MAX_DOF]; MAX_DOF];
    for column in jacobian.columns() {
        for i in 0..6 {
            for k in 0..6 {
                gram[i][k] += weight[i] * column[i] * weight[k] * column[k];
            }
        }
    }
    gram
}
