//! The audit: every token against the grammar, then every number against the world; of a chunk, every
//! action.
//!
//! It stands between the mind and the reflex and trusts nothing that the policy says about
//! itself: the tokens are read again from the start, what they mean must be what the decision
//! claims, and the target must be finite, inside the workspace, within the gripper's limits and
//! reachable by the arm. A refused decision never becomes motion.
//!
//! Work per chunk is one pass over its values. Work per decision is bounded: at most [`SEQUENCE_MAX`](grammar::SEQUENCE_MAX) + 1 token
//! checks, a dozen comparisons, and, for a target unlike the ones that were found reachable
//! lately, one inverse kinematics solution with a bounded number of restarts.

use nalgebra::{Isometry3, Translation3, UnitQuaternion, Vector3};
use reflexarc_kinematics::ik::{self, IkOptions};
use reflexarc_kinematics::{Chain, Joints};
use reflexarc_vla_model::chunk::ActionChunk;
use reflexarc_vla_model::decision::{Decision, Subtask, ToolTarget, Verdict};
use reflexarc_vla_model::exact;
use reflexarc_vla_model::grammar::{self, Grammar};
use serde::{Deserialize, Serialize};

use crate::chunk::bounds::Bounds;
use crate::config::Config;
use crate::modes::Rule;

/// Targets this close to one found reachable lately count as reachable, m.
const NEAR_M: f64 = 0.01;
/// Turns this close to one found reachable lately count as reachable, rad.
const NEAR_RAD: f64 = 0.1;
/// How far off the best joint angles may be for a target to count as reachable, m.
const REACH_TOLERANCE_M: f64 = 2e-3;
/// The same for the turn, rad.
const REACH_TOLERANCE_RAD: f64 = 0.02;
const REMEMBERED: usize = 32;

/// Why a decision was refused.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Refusal {
    /// The rule that it broke.
    pub rule: Rule,
    /// The token (or action) at fault, counted from 0; 0 where the fault is not in one.
    pub token: usize,
    /// What was found, in the rule's unit (m, N, rad, ns; a count for grammar and shape).
    #[serde(with = "exact")]
    pub found: f64,
    /// The bound that it should have kept to.
    #[serde(with = "exact")]
    pub bound: f64,
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { rule, token, found, bound } = self;
        let name = rule.name();
        match rule {
            Rule::Grammar | Rule::Truncated => write!(f, "{name}: at token {token}"),
            Rule::Meaning => write!(f, "{name}: the tokens say something else than the decision"),
            Rule::EmptyPlan => write!(f, "{name}: nothing is planned"),
            Rule::NonFinite => write!(f, "{name}: a number is {found}"),
            Rule::Time => write!(f, "{name}: answers {found} ns, asked about {bound} ns"),
            Rule::Workspace | Rule::Gripper => write!(f, "{name}: {found}, the bound is {bound}"),
            Rule::Shape => write!(f, "{name}: {found}, expected {bound}"),
            Rule::Position => write!(f, "{name}: action {token} asks for {found} rad, the limit is {bound}"),
            Rule::Step => write!(f, "{name}: action {token} is {found} rad on, the joint can go {bound}"),
            Rule::Unreachable => write!(f, "{name}: {found} m off, {bound} m is allowed"),
        }
    }
}

/// What the audit says of one decision.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum AuditVerdict {
    /// It may be followed.
    Pass,
    /// It must not be followed.
    Refused(Refusal),
}

/// Counters of an [`Audit`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AuditCounts {
    /// Decisions passed.
    pub passed: u64,
    /// Decisions refused, in the order of [`Rule::ALL`].
    pub refused: [u64; Rule::ALL.len()],
    /// Tokens read.
    pub tokens: u64,
    /// Times that the subtask became `done` although nothing had been lifted. Only a warning:
    /// the object may have been in the hand already.
    pub implausible: u64,
    /// Values of passed chunks that lay a little outside a limit; they are executed at the limit.
    pub clamped: u64,
    /// Steps of passed chunks that are faster than a joint may go; they are followed more slowly.
    pub fast_steps: u64,
    /// Inverse kinematics solutions needed; all other targets were near a remembered one.
    pub reach_solves: u64,
}

/// The audit of one policy on one robot.
#[derive(Debug)]
pub struct Audit {
    chain: Chain,
    posture: Joints,
    ik: IkOptions,
    low_m: [f64; 3],
    high_m: [f64; 3],
    width_max_m: f64,
    force_max_n: f64,
    velocity_scale: f64,
    reachable: [Option<([f64; 3], f64)>; REMEMBERED],
    oldest: usize,
    lifted: bool,
    done: bool,
    counts: AuditCounts,
}

/// Pose of the tool that a target means: straight down, turned about the vertical.
#[must_use]
pub fn base_from_tool(position_m: [f64; 3], yaw_rad: f64) -> Isometry3<f64> {
    let turn = UnitQuaternion::from_axis_angle(&Vector3::z_axis(), yaw_rad)
        * UnitQuaternion::from_axis_angle(&Vector3::x_axis(), std::f64::consts::PI);
    Isometry3::from_parts(Translation3::from(Vector3::from(position_m)), turn)
}

impl Audit {
    /// An audit for one robot under one configuration.
    #[must_use]
    pub fn new(chain: Chain, config: &Config) -> Self {
        Self {
            chain,
            posture: Joints::from_slice(&config.robot.posture_rad),
            ik: IkOptions { max_restarts: 8, ..IkOptions::default() },
            low_m: config.limits.workspace_min_m,
            high_m: config.limits.workspace_max_m,
            width_max_m: config.robot.gripper_max_width_m,
            force_max_n: config.limits.grip_force_n,
            velocity_scale: config.limits.speed_scale,
            reachable: [None; REMEMBERED],
            oldest: 0,
            lifted: false,
            done: false,
            counts: AuditCounts::default(),
        }
    }

    /// Forgets what has been done so far; called with each new instruction.
    pub fn begin(&mut self) {
        self.lifted = false;
        self.done = false;
    }

    /// The counters so far.
    #[must_use]
    pub fn counts(&self) -> AuditCounts {
        self.counts
    }

    /// First half: every token against the grammar, and what the tokens mean against what the
    /// decision claims. `asked_ns` is the time of the observation that was put to the policy.
    #[must_use]
    pub fn tokens(&mut self, decision: &Decision, asked_ns: u64) -> AuditVerdict {
        let verdict = self.read_tokens(decision, asked_ns);
        if let AuditVerdict::Refused(refusal) = verdict {
            self.count(refusal.rule);
        }
        verdict
    }

    /// Second half, for a decision whose tokens passed: its numbers against the world.
    #[must_use]
    pub fn world(&mut self, decision: &Decision) -> AuditVerdict {
        let verdict = match &decision.verdict {
            Verdict::Infeasible(_) => AuditVerdict::Pass,
            Verdict::Act { subtask, target, .. } => {
                self.judge_order(*subtask);
                self.judge_target(target)
            }
        };
        match verdict {
            AuditVerdict::Pass => self.counts.passed += 1,
            AuditVerdict::Refused(refusal) => self.count(refusal.rule),
        }
        verdict
    }

    /// The whole of it for a chunk: its shape, and every action against the joints and the gripper.
    #[must_use]
    pub fn chunk(&mut self, chunk: &ActionChunk, asked_ns: u64) -> AuditVerdict {
        let bounds = Bounds {
            limits: self.chain.limits(),
            velocity_scale: self.velocity_scale,
            width_max_m: self.width_max_m,
        };
        match bounds.check(chunk, asked_ns) {
            Ok(excess) => {
                self.counts.passed += 1;
                self.counts.clamped += excess.clamped;
                self.counts.fast_steps += excess.fast_steps;
                AuditVerdict::Pass
            }
            Err(refusal) => {
                self.count(refusal.rule);
                AuditVerdict::Refused(refusal)
            }
        }
    }

    fn read_tokens(&mut self, decision: &Decision, asked_ns: u64) -> AuditVerdict {
        let mut grammar = Grammar::new();
        for (index, token) in decision.tokens.iter().enumerate() {
            self.counts.tokens += 1;
            match grammar.next(*token) {
                Some(next) => grammar = next,
                None => return refused(Rule::Grammar, index, f64::from(token.id()), 0.0),
            }
        }
        if !grammar.is_complete() {
            return refused(Rule::Truncated, decision.tokens.len(), 0.0, 0.0);
        }
        if let Verdict::Act { plan, target, pixel_uv, .. } = &decision.verdict {
            let [u, v] = *pixel_uv;
            let [x, y, z] = target.position_m;
            let numbers = [
                f64::from(u),
                f64::from(v),
                x,
                y,
                z,
                target.yaw_rad,
                target.gripper_width_m,
                target.gripper_force_n,
                f64::from(decision.confidence),
            ];
            if let Some(number) = numbers.into_iter().find(|number| !number.is_finite()) {
                return refused(Rule::NonFinite, 0, number, 0.0);
            }
            if plan.is_empty() {
                return refused(Rule::EmptyPlan, 0, 0.0, 1.0);
            }
        }
        match grammar::parse(&decision.tokens) {
            Ok(meaning) if meaning == decision.verdict => {}
            Ok(_) | Err(_) => return refused(Rule::Meaning, 0, 0.0, 0.0),
        }
        if decision.observation_ns != asked_ns {
            return refused(Rule::Time, 0, decision.observation_ns as f64, asked_ns as f64);
        }
        AuditVerdict::Pass
    }

    fn judge_order(&mut self, subtask: Subtask) {
        match subtask {
            Subtask::Lift => self.lifted = true,
            Subtask::Done => {
                if !self.lifted && !self.done {
                    self.counts.implausible += 1;
                }
                self.done = true;
            }
            Subtask::Reach | Subtask::Approach | Subtask::Grasp | Subtask::Retreat => {
                self.done = false;
            }
        }
    }

    fn judge_target(&mut self, target: &ToolTarget) -> AuditVerdict {
        // The order of tokens in a sequence puts x, y, z at 8, 9, 10; width and force at 12, 13.
        for axis in 0..3 {
            let (found, low, high) = (target.position_m[axis], self.low_m[axis], self.high_m[axis]);
            if found < low {
                return refused(Rule::Workspace, 8 + axis, found, low);
            }
            if found > high {
                return refused(Rule::Workspace, 8 + axis, found, high);
            }
        }
        for (token, found, high) in
            [(12, target.gripper_width_m, self.width_max_m), (13, target.gripper_force_n, self.force_max_n)]
        {
            if found < 0.0 {
                return refused(Rule::Gripper, token, found, 0.0);
            }
            if found > high {
                return refused(Rule::Gripper, token, found, high);
            }
        }
        self.judge_reach(target)
    }

    fn judge_reach(&mut self, target: &ToolTarget) -> AuditVerdict {
        let known = self.reachable.iter().flatten().any(|(position_m, yaw_rad)| {
            let moved = Vector3::from(*position_m) - Vector3::from(target.position_m);
            moved.norm() < NEAR_M && half_turn_distance(*yaw_rad, target.yaw_rad) < NEAR_RAD
        });
        if known {
            return AuditVerdict::Pass;
        }
        self.counts.reach_solves += 1;
        // Either way round will do: a parallel gripper turned by half a turn is the same.
        let mut best_m = f64::INFINITY;
        for turn in [0.0, -std::f64::consts::PI.copysign(target.yaw_rad)] {
            let pose = base_from_tool(target.position_m, target.yaw_rad + turn);
            let solution = ik::solve(&self.chain, &pose, &self.posture, &self.ik);
            if solution.position_error_m <= REACH_TOLERANCE_M
                && solution.rotation_error_rad <= REACH_TOLERANCE_RAD
            {
                self.reachable[self.oldest] = Some((target.position_m, target.yaw_rad));
                self.oldest = (self.oldest + 1) % REMEMBERED;
                return AuditVerdict::Pass;
            }
            best_m = best_m.min(solution.position_error_m);
        }
        refused(Rule::Unreachable, 8, best_m, REACH_TOLERANCE_M)
    }

    fn count(&mut self, rule: Rule) {
        self.counts.refused[rule as usize] += 1;
    }
}

fn refused(rule: Rule, token: usize, found: f64, bound: f64) -> AuditVerdict {
    AuditVerdict::Refused(Refusal { rule, token, found, bound })
}

/// Distance of two turns that are the same modulo π, rad.
fn half_turn_distance(a_rad: f64, b_rad: f64) -> f64 {
    let turn = (a_rad - b_rad).rem_euclid(std::f64::consts::PI);
    turn.min(std::f64::consts::PI - turn)
}
