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
//! Nearly every sound decision is passed by a first look, conditions a little narrower than the rules: some ten
//! nanoseconds of work, a hundred-thousandth of the inference that it audits. What does not pass at first look is judged
//! by the rules, one after the other. Whether a target is reached was worked out before ([`reach`]); what the map
//! leaves open costs two inverse kinematics solutions once, and is counted ([`AuditEvent::reach_solves`]).
//!
//! In its place in the loop it would take ten times as long, because a model's weights have just passed through the
//! caches and the audit's own code and numbers have to come back from memory, page tables and all. Hence a first look
//! in few lines and one straight run, all of it in one function ([`Audit::answer`]), and [`Asked::call_up`], which asks
//! for them while the policy reads its network's output. The figure is measured at each decision, with one reading of
//! the clock in it, and reported. It leaves out what calling up costs; `cargo bench --workspace --bench audit` shows
//! both.

mod actions;
mod event;
mod first_look;
mod order;
mod path;
pub mod reach;
mod reading;
pub mod view;

use std::hint::cold_path;
use std::sync::Arc;
use std::time::Instant;

use nalgebra::{Isometry3, Translation3, UnitQuaternion, Vector3};
use reflexarc_kinematics::Chain;
use reflexarc_kinematics::collision::{CollisionError, CollisionModel, CollisionOptions};
use reflexarc_vla_model::chunk::ActionChunk;
use reflexarc_vla_model::decision::Decision;
use reflexarc_vla_model::policy::Output;

use actions::Levers;
pub use actions::{BOX_SLACK_M, TABLE_SLACK_M};
pub use event::{AuditCounts, AuditEvent, AuditVerdict, Refusal, Rule};
use first_look::FirstLook;
use order::Order;
use path::Path;
use reach::{Reach, ReachMap};
use reading::Reading;
use view::SceneCamera;

use crate::chunk::bounds::Bounds;
use crate::config::Config;
use crate::rt::prefetch::prefetch;
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

/// What a policy was asked, as the audit holds its answer against it. One cache line.
#[derive(Clone, Copy, Debug)]
#[repr(align(64))]
pub struct Asked {
    facts: Facts,
    observation_ns: u64,
    /// Where the audit's numbers and its code are.
    needs: [*const u8; 2],
}

impl Asked {
    /// Has the processor fetch what [`Audit::decision`] will need, and does not wait for it: worth calling some
    /// microseconds before, while a policy reads its network's output. Reads only what lies in this line, because
    /// whatever else it read would have to come back first.
    #[inline]
    pub fn call_up(&self) {
        let [numbers, code] = self.needs;
        prefetch(code, CODE_BYTES);
        prefetch(numbers, size_of::<FirstLook>());
    }
}

/// How much of [`Audit::answer`] a decision that passes at first look runs through: 1,168 bytes on x86-64, and the rest
/// of a line.
const CODE_BYTES: usize = 1216;

/// The audit of one policy on one robot.
#[derive(Clone, Debug)]
pub struct Audit {
    first_look: FirstLook,
    hand: order::Bounds,
    path: Path,
    camera: SceneCamera,
    reach: Reach,
    levers: Levers,
    chain: Chain,
    velocity_scale: f64,
    width_max_m: f64,
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
        let (map, path) = (ReachMap::shared(&chain, posture, || Some(shapes)), Path::new(config));
        let (hand, camera) = (order::Bounds::new(config), SceneCamera::new(config));
        Ok(Self {
            first_look: FirstLook::new(&hand, &path, &camera, &map),
            hand,
            levers: Levers::new(&chain, path.tool_reach_m()),
            path,
            camera,
            reach: Reach::new(map),
            velocity_scale: config.limits.speed_scale,
            width_max_m: config.robot.gripper_max_width_m,
            chain,
        })
    }

    /// Notes what a policy is about to be asked: the time of the observation, and what is known then.
    #[must_use]
    pub fn asked(&self, observation_ns: u64, facts: Facts) -> Asked {
        let code = Self::answer as fn(&mut Self, &Output, &Asked) -> (AuditEvent, u64);
        Asked { facts, observation_ns, needs: [(&raw const self.first_look).cast(), code as *const u8] }
    }

    /// Forgets what has been done so far; called with each new instruction.
    pub fn begin(&mut self) {
        self.first_look.order = Order::default();
    }

    /// The map of the arm's reach.
    #[must_use]
    pub fn reach_map(&self) -> &Arc<ReachMap> {
        self.reach.map()
    }

    /// The whole of it for a decision that answers what was asked. Always inlined, so that it is a part of
    /// [`Self::answer`].
    #[inline(always)]
    pub fn decision(&mut self, decision: &Decision, asked: &Asked) -> AuditEvent {
        let Asked { facts, observation_ns: asked_ns, .. } = asked;
        if self.first_look.passes(decision, *asked_ns, facts) {
            return AuditEvent { verdict: AuditVerdict::Pass, reach_solves: 0, clamped: 0, fast_steps: 0 };
        }
        cold_path();
        self.look_closely(decision, *asked_ns, facts)
    }

    /// [`Self::decision`] or [`Self::chunk`], and how long it took, ns. This function is what [`Asked::call_up`]
    /// fetches, and so it reads the clock itself: around a call of it, a cold line or two of the caller's own code
    /// would count, which was half of the figure. A reading of the clock right before fetches the clock's own memory.
    #[inline(never)]
    pub fn answer(&mut self, output: &Output, asked: &Asked) -> (AuditEvent, u64) {
        let begun = Instant::now();
        let event = match output {
            Output::Goals(decision) => self.decision(decision, asked),
            Output::Chunk(chunk) => {
                // Its own code is elsewhere.
                cold_path();
                self.chunk(chunk, asked.observation_ns)
            }
        };
        let took = Instant::now().duration_since(begun);
        (event, u64::try_from(took.as_nanos()).unwrap_or(u64::MAX))
    }

    /// All rules, one after the other.
    #[cold]
    #[inline(never)]
    fn look_closely(&mut self, decision: &Decision, asked_ns: u64, facts: &Facts) -> AuditEvent {
        let mut reach_solves = 0;
        let verdict = match self.judge(decision, asked_ns, facts, &mut reach_solves) {
            Ok(()) => AuditVerdict::Pass,
            Err(refusal) => AuditVerdict::Refused(refusal.naming(&decision.tokens)),
        };
        AuditEvent { verdict, reach_solves, clamped: 0, fast_steps: 0 }
    }

    fn judge(
        &mut self,
        decision: &Decision,
        asked_ns: u64,
        facts: &Facts,
        reach_solves: &mut u32,
    ) -> Result<(), Refusal> {
        let act = match reading::read(decision, asked_ns)? {
            Reading::Infeasible(_) => return Ok(()),
            Reading::Act(act) => act,
        };
        self.hand.judge_gripper(&act)?;
        self.path.judge(facts.tool_m, act.target.position_m)?;
        self.reach.judge(&act, reach_solves)?;
        self.camera.judge(&act, self.path.table_z_m())?;
        self.first_look.order.judge(&act, facts, &self.hand)?;
        self.first_look.order.passed(act.subtask);
        Ok(())
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
            self.levers.judge(chunk, &self.chain, &self.path)?;
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
