//! The audit: every token against the grammar, then what it means against the world; of a chunk, every
//! action.
//!
//! It stands between the mind and the reflex and trusts nothing that the policy says about itself. A
//! refused decision never becomes motion. Each verdict is an [`AuditEvent`] in the decision's
//! [`ThoughtRecord`](crate::ledger::ThoughtRecord).
//!
//! # Rules
//! In the order in which they are looked at; the first that is broken is the verdict.
//!
//! | rule | compares | bound | where the bound comes from |
//! |---|---|---|---|
//! | `grammar`, `truncated` | each token with those that may stand at its place | – | the grammar's automaton |
//! | `meaning`, `non_finite`, `empty_plan` | what the decision claims with what its tokens say | equal | – |
//! | `time` | the observation answered with the one asked about | equal | – |
//! | `gripper` | opening and force | `robot.gripper_max_width_m`, `limits.grip_force_n` | the robot |
//! | `hand` | the opening while something is held (lift, done) | half the range | an open hand drops it |
//! | `workspace` | the target with the box | `limits.workspace_*` | the cell |
//! | `table` | the fingertips at the target with the table | `audit.table_z_m`, `audit.tool_reach_m` | the table, the hand |
//! | `sideways` | the part of the straight way below `audit.clear_height_m`, sideways | `audit.sideways_max_m` | tallest object; clean episodes |
//! | `unreachable`, `collision` | joint angles for the target; distance of the arm from itself | 2 mm, 0.02 rad; 0 | the arm ([`reach`]) |
//! | `grounding` | LOOK's pixel with where a calibrated camera sees the target (reach, approach, grasp) | `audit.view_tolerance` | the camera's mounting; clean episodes |
//! | `near` | where the tool is with where the subtask happens (all but reach) | `audit.near_m` | clean episodes |
//! | `order` | lift wants closed fingers, a touch, or a lift before; done wants a touch or a lift before | – | what the words mean |
//! | `shape`, `time`, `non_finite` | a chunk's form | see [`crate::chunk::bounds`] | the robot |
//! | `position`, `gripper`, `step` | every action with the joints' limits and the one before | the same | the robot |
//! | `workspace`, `table` | the tool at every action | 0.05 m, 0.01 m beyond | learned policies stray a little; the motion keeps the box |
//!
//! A pixel outside the image and a number beyond its axis have no token, so no rule is needed for them. How
//! fast the arm follows a goal is not the model's to say: the tracker and the limiter bound it. Bounds that come
//! from clean episodes were chosen with `cargo run --release --example audit_check -- --calibrate`, which
//! prints what the shipped model says when all is well; they are wide enough that what they refuse is
//! implausible and not merely rare.
//!
//! # Cost
//! The work is some two hundred instructions, 50 to 100 ns: table look-ups and comparisons in few cache lines,
//! nothing allocated, a hundred-thousandth of the inference that it audits. Whether a target is reached was
//! worked out before ([`reach`]); what the map leaves open costs two inverse kinematics solutions once, and is
//! counted ([`AuditEvent::reach_solves`]).
//!
//! In its place in the loop it takes longer, 0.5 to 2 µs, because a model's weights have just passed through the
//! caches and its own instructions have to come back from memory. That figure is measured at each decision,
//! with one reading of the clock in it, and reported. So the rules are written once and compiled twice
//! ([`event::Complaint`]): a kilobyte that only says whether, and the words in another place, read when needed.
//! Asking for the lines ahead (prefetch instructions) gained nothing: what is left are page walks and branches
//! that the processor has forgotten. `cargo bench --workspace --bench audit` shows both figures.

mod actions;
mod event;
mod form;
mod order;
mod path;
pub mod reach;
pub mod view;

use std::sync::Arc;

use nalgebra::{Isometry3, Translation3, UnitQuaternion, Vector3};
use reflexarc_kinematics::Chain;
use reflexarc_kinematics::collision::{CollisionError, CollisionModel, CollisionOptions};
use reflexarc_vla_model::chunk::ActionChunk;
use reflexarc_vla_model::decision::Decision;

use actions::Levers;
pub use actions::{BOX_SLACK_M, TABLE_SLACK_M};
use event::Complaint;
pub use event::{AuditCounts, AuditEvent, AuditVerdict, Refusal, Rule};
use form::{Forms, Reading, unreadable};
use order::Order;
use path::Path;
use reach::{Reach, ReachMap};
use view::SceneCamera;

use crate::chunk::bounds::Bounds;
use crate::config::Config;
use crate::senses::Body;

/// What is known of the world at the time of the observation, as far as rules compare with it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Facts {
    /// Where the tool is, base frame, m.
    pub tool_m: [f64; 3],
    /// Opening between the fingers, m.
    pub gripper_width_m: f64,
    /// Normal force on the pad that feels the most, N.
    pub felt_n: f64,
}

impl Facts {
    /// From the arm's state and the normal force on each pad, N.
    #[must_use]
    pub fn new(body: &Body, pad_normal_n: &[f64]) -> Self {
        Self {
            tool_m: body.base_from_tool.translation.vector.into(),
            gripper_width_m: body.gripper_width_m,
            felt_n: pad_normal_n.iter().fold(0.0, |most, normal_n| most.max(*normal_n)),
        }
    }
}

/// The audit of one policy on one robot.
#[derive(Clone, Debug)]
pub struct Audit {
    rules: Rules,
    chain: Chain,
    levers: Levers,
    velocity_scale: f64,
    width_max_m: f64,
}

/// Everything that the audit of a decision looks at, in one piece of memory.
#[derive(Clone, Debug)]
struct Rules {
    forms: Forms,
    camera: SceneCamera,
    path: Path,
    hand: order::Bounds,
    order: Order,
    reach: Reach,
}

/// Pose of the tool that a target means: straight down, turned about the vertical.
#[must_use]
pub fn base_from_tool(position_m: [f64; 3], yaw_rad: f64) -> Isometry3<f64> {
    let turn = UnitQuaternion::from_axis_angle(&Vector3::z_axis(), yaw_rad)
        * UnitQuaternion::from_axis_angle(&Vector3::x_axis(), std::f64::consts::PI);
    Isometry3::from_parts(Translation3::from(Vector3::from(position_m)), turn)
}

impl Audit {
    /// An audit for one robot under one configuration. `description` is the URDF text that `chain` was made
    /// from; its primitive shapes are what the arm must not touch itself with, meshes are left out.
    ///
    /// The first one for a robot in a process makes the map of its reach, some tenths of a second.
    ///
    /// # Errors
    /// [`CollisionError`] if the shapes in the description are at fault.
    pub fn new(chain: Chain, config: &Config, description: &str) -> Result<Self, CollisionError> {
        let posture = &config.robot.posture_rad;
        let options =
            CollisionOptions { reference_q: posture, skip_meshes: true, ..CollisionOptions::default() };
        // Read each time, so that a description at fault is refused each time.
        let shapes = CollisionModel::from_urdf(description, &chain, &options)?;
        let path = Path::new(config);
        let rules = Rules {
            forms: Forms::new(),
            camera: SceneCamera::new(config),
            path,
            hand: order::Bounds::new(config),
            order: Order::default(),
            reach: Reach::new(ReachMap::shared(&chain, posture, || Some(shapes))),
        };
        Ok(Self {
            rules,
            levers: Levers::new(&chain, path.tool_reach_m()),
            velocity_scale: config.limits.speed_scale,
            width_max_m: config.robot.gripper_max_width_m,
            chain,
        })
    }

    /// Forgets what has been done so far; called with each new instruction.
    pub fn begin(&mut self) {
        self.rules.order = Order::default();
    }

    /// The map of the arm's reach.
    #[must_use]
    pub fn reach_map(&self) -> &Arc<ReachMap> {
        self.rules.reach.map()
    }

    /// The whole of it for a decision. `asked_ns` is the time of the observation that was put to the policy.
    pub fn decision(&mut self, decision: &Decision, asked_ns: u64, facts: &Facts) -> AuditEvent {
        let mut reach_solves = 0;
        let verdict = match self.rules.judge::<()>(decision, asked_ns, facts, &mut reach_solves) {
            Ok(()) => AuditVerdict::Pass,
            Err(()) => AuditVerdict::Refused(self.rules.explain(decision, asked_ns, facts)),
        };
        AuditEvent { verdict, reach_solves, clamped: 0, fast_steps: 0 }
    }

    /// The whole of it for a chunk: its shape, and every action against the joints, the gripper, the
    /// workspace and the table.
    pub fn chunk(&mut self, chunk: &ActionChunk, asked_ns: u64) -> AuditEvent {
        let bounds = Bounds {
            limits: self.chain.limits(),
            velocity_scale: self.velocity_scale,
            width_max_m: self.width_max_m,
        };
        let judged = bounds.check(chunk, asked_ns).and_then(|excess| {
            self.levers.judge(chunk, &self.chain, &self.rules.path)?;
            Ok(excess)
        });
        let count = |count: u64| u32::try_from(count).unwrap_or(u32::MAX);
        let (verdict, clamped, fast_steps) = match judged {
            Ok(excess) => (AuditVerdict::Pass, count(excess.clamped), count(excess.fast_steps)),
            Err(refusal) => (AuditVerdict::Refused(refusal), 0, 0),
        };
        AuditEvent { verdict, reach_solves: 0, clamped, fast_steps }
    }
}

impl Rules {
    /// One function with everything in it, so that its code is fetched in one piece.
    #[inline(never)]
    fn judge<C: Complaint>(
        &mut self,
        decision: &Decision,
        asked_ns: u64,
        facts: &Facts,
        reach_solves: &mut u32,
    ) -> Result<(), C> {
        match self.forms.read(decision, asked_ns) {
            None => Err(C::new(Rule::Meaning, 0, 0.0, 0.0)),
            Some(Reading::Infeasible(_)) => Ok(()),
            Some(Reading::Act(act)) => {
                self.hand.judge_gripper(&act)?;
                self.path.judge(facts.tool_m, act.target.position_m)?;
                self.reach.judge(&act, reach_solves)?;
                self.camera.judge(&act, self.path.table_z_m())?;
                self.order.judge(&act, facts, &self.hand)?;
                self.order.passed(act.subtask);
                Ok(())
            }
        }
    }

    /// Why a decision was refused.
    #[cold]
    #[inline(never)]
    fn explain(&mut self, decision: &Decision, asked_ns: u64, facts: &Facts) -> Refusal {
        if self.forms.read(decision, asked_ns).is_none() {
            return unreadable(decision, asked_ns);
        }
        match self.judge::<Refusal>(decision, asked_ns, facts, &mut 0) {
            Err(refusal) => refusal.naming(&decision.tokens),
            // The same rules on the same numbers: it cannot come to this.
            Ok(()) => Refusal::new(Rule::Meaning, 0, 0.0, 0.0),
        }
    }
}
