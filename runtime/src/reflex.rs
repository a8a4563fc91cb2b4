//! The reflex: from a moment of the senses and the newest decision to one command, every tick.
//!
//! It owns the mode (see [`crate::modes`] for the diagram), the smoothing of targets, the player of
//! chunks, the soft start and the gripper. It never waits, reads no clock and allocates nothing; the same inputs
//! give the same commands, bit for bit.
//!
//! Every tick: what is wrong ([`Findings`]) → what is done about it (the failsafe) → mode → motion → limiter. What is
//! held keeps its place and its grip; nothing ever opens the gripper but a decision, and a pad that feels too much.

use nalgebra::{Isometry3, Translation3, UnitQuaternion};
use reflexarc_kinematics::limit::Acted;
use reflexarc_kinematics::{Chain, Joints};
use reflexarc_vla_model::chunk::ActionChunk;
use reflexarc_vla_model::decision::{Decision, ToolTarget, Verdict};
use reflexarc_vla_model::exact;
use serde::{Deserialize, Serialize};

use crate::audit::base_from_tool;
use crate::blind::{Again, Sight};
use crate::chunk::{PlayStats, Player, Playing, Readiness};
use crate::config::Config;
use crate::failsafe::{
    Action, Cause, CauseSet, Failsafe, Flags, Promise, ResetRefused, Standing, Transition,
};
use crate::findings::{Details, Findings, Wish};
use crate::journal::exact_joints;
use crate::modes::{HoldReason, Mode, Rule, StopCause, WaitReason};
use crate::motion::Motion;
use crate::safety::Gate;
use crate::senses::{Body, Snapshot};
use crate::touch::{TouchCounts, TouchReflex};

/// How quickly a pause uses up what the soft start has gained, s.
const RAMP_DOWN_S: f64 = 0.2;
/// The soft start begins at this share of full speed.
const RAMP_FLOOR: f64 = 0.1;
/// A chunk is broken off when the limiter keeps the arm further than this from it, rad.
const ASTRAY_RAD: f64 = 0.1;
/// The arm backs off at this share of its speed.
const RETREAT_SHARE: f64 = 0.3;
/// A gripper that backs off holds with this share of its force in each tick of the last one's.
const LET_GO: f64 = 0.5;

/// What the mind wants, as far as the audit let it through.
#[derive(Clone, Copy, Debug)]
pub enum Intent<'a> {
    /// No decision yet.
    Nothing,
    /// The newest decision; it passed the audit.
    Follow(&'a Decision),
    /// The newest chunk; it passed the audit. Each chunk has a number higher than the one before.
    Execute(u64, &'a ActionChunk),
    /// The audit refused the newest decision or chunk. A chunk taken up before goes on.
    Refused(Rule),
    /// The policy could not decide. A chunk taken up before goes on.
    Failed,
}

/// What the actuators are told.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct JointCommand {
    /// Joint positions in the chain's order, rad.
    #[serde(with = "exact_joints")]
    pub q: Joints,
    /// Joint velocities, rad/s.
    #[serde(with = "exact_joints")]
    pub qd: Joints,
    /// Opening between the fingers, m.
    #[serde(with = "exact")]
    pub gripper_width_m: f64,
    /// Force limit of the gripper, N.
    #[serde(with = "exact")]
    pub gripper_force_n: f64,
}

/// One tick's result.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Command {
    /// Time of the tick, ns.
    pub stamp_ns: u64,
    /// What the loop is doing.
    pub mode: Mode,
    /// What to send; nothing before the first motion is allowed.
    pub joints: Option<JointCommand>,
    /// Which limits changed what was wanted.
    pub acted: Acted,
    /// Capture time of the observation behind the motion, ns; absent where nothing is followed.
    pub observation_ns: Option<u64>,
    /// Whether this is the first command that follows from that observation.
    pub first: bool,
    /// What the failsafe asks for, and why.
    pub failsafe: Standing,
    /// The change of that in this tick, if it changed.
    pub transition: Option<Transition>,
    /// All that is wrong in this tick.
    pub causes: CauseSet,
}

/// The smoothed target: straight down, like every target of the goal grammar.
#[derive(Clone, Copy, Debug)]
struct SetPoint {
    position_m: [f64; 3],
    yaw_rad: f64,
}

/// The reflex of one robot.
#[derive(Clone, Debug)]
pub struct Reflex {
    motion: Motion,
    player: Player,
    sight: Sight,
    dt_s: f64,
    low_m: [f64; 3],
    high_m: [f64; 3],
    width_max_m: f64,
    force_max_n: f64,
    chunk_force_n: f64,
    gripper_step_m: f64,
    tool_speed_m_s: f64,
    tool_turn_rad_s: f64,
    tracking_error_rad: f64,
    start_pose_rad: f64,
    soft_start_s: f64,
    filter_s: f64,
    slow_share: f64,
    retract_m: f64,
    decision_max_age_ns: u64,
    infeasible_confirm_ns: u64,
    overrun_ns: u64,
    failsafe: Failsafe,
    promise: Promise,
    touch: TouchReflex,
    details: Details,
    mode: Mode,
    anchored: bool,
    blocked: bool,
    warm: bool,
    overridden: bool,
    opens: bool,
    last_tick_ns: Option<u64>,
    retreat: Option<Isometry3<f64>>,
    ramp: f64,
    set_point: Option<SetPoint>,
    infeasible_since_ns: Option<u64>,
    gripper_width_m: f64,
    gripper_force_n: f64,
    followed_ns: Option<u64>,
    wanted: Option<Joints>,
}

impl Reflex {
    /// A reflex that waits.
    #[must_use]
    pub fn new(chain: Chain, config: &Config) -> Self {
        let limits = &config.limits;
        let dt_s = config.dt_s();
        Self {
            promise: Promise::new(&chain, config),
            motion: Motion::new(chain.clone(), config),
            player: Player::new(chain, config),
            failsafe: Failsafe::new(&config.failsafe),
            touch: TouchReflex::new(config),
            sight: Sight::new(config),
            dt_s,
            low_m: limits.workspace_min_m,
            high_m: limits.workspace_max_m,
            width_max_m: config.robot.gripper_max_width_m,
            force_max_n: limits.grip_force_n,
            chunk_force_n: config.chunk.grip_force_n,
            gripper_step_m: limits.gripper_speed_m_s * dt_s,
            tool_speed_m_s: limits.max_tool_speed_m_s,
            tool_turn_rad_s: limits.max_tool_turn_rad_s,
            tracking_error_rad: limits.max_tracking_error_rad,
            start_pose_rad: config.safety.start_pose_rad,
            soft_start_s: limits.soft_start_ms as f64 / 1e3,
            filter_s: limits.target_filter_ms as f64 / 1e3,
            slow_share: config.failsafe.slow_share,
            retract_m: config.touch.retract_m,
            decision_max_age_ns: config.safety.decision_max_age_ms.saturating_mul(1_000_000),
            infeasible_confirm_ns: config.safety.infeasible_confirm_ms.saturating_mul(1_000_000),
            overrun_ns: config.failsafe.overrun_ms.saturating_mul(1_000_000),
            details: Details::default(),
            mode: Mode::Waiting(WaitReason::NoDecision),
            anchored: false,
            blocked: false,
            warm: false,
            overridden: false,
            opens: false,
            last_tick_ns: None,
            retreat: None,
            ramp: RAMP_FLOOR,
            set_point: None,
            infeasible_since_ns: None,
            gripper_width_m: 0.0,
            gripper_force_n: 0.0,
            followed_ns: None,
            wanted: None,
        }
    }

    /// The mode of the last tick.
    #[must_use]
    pub fn mode(&self) -> Mode {
        self.mode
    }

    /// Whether the commands stand still.
    #[must_use]
    pub fn at_rest(&self) -> bool {
        self.motion.at_rest()
    }

    /// What of a chunk was being executed at `at_ns`, for the policy's next one.
    #[must_use]
    pub fn playing(&self, at_ns: u64) -> Option<Playing> {
        self.player.playing(at_ns)
    }

    /// Number of the newest chunk given so far, taken up or not.
    #[must_use]
    pub fn heard(&self) -> u64 {
        self.player.heard()
    }

    /// Joint positions that the chunk in force asked for in the last tick, before the limiter; absent where
    /// none is executed.
    #[must_use]
    pub fn wanted(&self) -> Option<&Joints> {
        self.wanted.as_ref()
    }

    /// What became of the chunks so far.
    #[must_use]
    pub fn play_stats(&self) -> PlayStats {
        self.player.stats()
    }

    /// The failsafe: state, table, last transitions.
    #[must_use]
    pub fn failsafe(&self) -> &Failsafe {
        &self.failsafe
    }

    /// How long a stop may take.
    #[must_use]
    pub fn promise(&self) -> Promise {
        self.promise
    }

    /// What was felt so far.
    #[must_use]
    pub fn touch_counts(&self) -> TouchCounts {
        self.touch.counts()
    }

    /// The model has run.
    pub fn warm(&mut self) {
        self.warm = true;
    }

    /// Takes one `enable`; while stopped it counts for nothing.
    pub fn enable(&mut self) {
        self.failsafe.enabled();
    }

    /// Whether an operator overrides what may be overridden.
    pub fn set_override(&mut self, overridden: bool) {
        self.overridden = overridden;
    }

    /// Unlatches a stop. Wherever the arm stands then, motion begins anew from what is measured.
    ///
    /// # Errors
    /// [`ResetRefused`] if nothing is latched, or what would stop again is still there.
    pub fn reset(&mut self, now_ns: u64, gate: Gate) -> Result<(), ResetRefused> {
        self.failsafe.reset(now_ns, gate.causes())?;
        self.anchored = false;
        Ok(())
    }

    /// One tick of `1 / reflex_hz`. Work is bounded: at most one tracker step or two of the player, and one
    /// of the limiter ([`reflexarc_kinematics::limit::JointLimiter::limit`]), which looks at the workspace
    /// at every eighth tick of at most thirteen stops.
    pub fn tick(&mut self, now_ns: u64, snapshot: &Snapshot, gate: Gate, intent: Intent<'_>) -> Command {
        match intent {
            Intent::Execute(number, chunk) => self.player.offer(now_ns, number, chunk),
            Intent::Follow(_) => self.player.clear(),
            Intent::Nothing | Intent::Refused(_) | Intent::Failed => {}
        }
        self.wanted = None;
        if let Some(again) = self.sight.look(now_ns, snapshot.body, self.motion.at_rest()) {
            self.begin_anew(again);
        }
        let findings = self.find(now_ns, snapshot, gate, intent);
        let flags = Flags { causes: findings.causes, engaged: self.anchored, overridden: self.overridden };
        let (standing, transition) = self.failsafe.step(now_ns, flags);
        self.mode = self.mode_of(now_ns, standing, &findings, snapshot);
        let may_move = gate == Gate::Open && snapshot.health.is_ok();
        let observation_ns = self.act(now_ns, snapshot, standing, &findings, may_move);
        let first = observation_ns.is_some() && self.followed_ns != observation_ns;
        self.followed_ns = observation_ns.or(self.followed_ns);
        Command {
            stamp_ns: now_ns,
            mode: self.mode,
            joints: (self.anchored && !self.sight.blind()).then(|| JointCommand {
                q: *self.motion.q(),
                qd: *self.motion.qd(),
                gripper_width_m: self.gripper_width_m,
                gripper_force_n: self.touch.grip_n(self.gripper_force_n),
            }),
            acted: if self.anchored { self.motion.acted() } else { Acted::default() },
            observation_ns,
            first,
            failsafe: standing,
            transition,
            causes: findings.causes,
        }
    }

    /// All that is wrong in this tick, and what is wished for.
    fn find(&mut self, now_ns: u64, snapshot: &Snapshot, gate: Gate, intent: Intent<'_>) -> Findings {
        self.warm |= matches!(intent, Intent::Follow(_) | Intent::Execute(..) | Intent::Refused(_));
        let wish = match intent {
            Intent::Follow(decision) => self.wish(now_ns, decision),
            _ => self.chunk_wish(now_ns, intent),
        };
        let stopped = self.failsafe.state().latched().is_some();
        let sound = gate == Gate::Open && snapshot.health.is_ok();
        let mut found = Findings::new(wish, gate);
        found.causes = found.causes.with_if(self.failsafe.state().needs_enable(), Cause::NotEnabled);
        // While stopped nothing is followed, and so there is nothing to miss.
        found.add_wish(stopped, sound);
        found.add_senses(snapshot, &mut self.details);
        let felt = self.touch.feel(&snapshot.touch, self.opens);
        found.causes = found.causes.with_if(felt.slips, Cause::Slip);
        if let Some(pad) = felt.pressed.filter(|_| self.anchored) {
            self.details.pad = pad;
            found.causes = found.causes.with(Cause::PadForce);
        }
        let gap_ns = self.last_tick_ns.replace(now_ns).map_or(0, |last_ns| now_ns.saturating_sub(last_ns));
        if gap_ns > self.overrun_ns {
            self.details.gap_ns = gap_ns;
            found.causes = found.causes.with(Cause::LoopOverrun);
        }
        if self.anchored {
            if let Some(joint) = if sound && !stopped { self.blocking_joint(snapshot) } else { None } {
                self.details.joint = joint;
                found.causes = found.causes.with(Cause::Blocked);
            }
        } else {
            found.causes = found.causes.with_if(!self.warm, Cause::ModelCold);
            if let Some(apart) = self.start_apart(snapshot, &found.wish) {
                self.details.apart = apart;
                found.causes = found.causes.with(Cause::PoseApart);
            }
        }
        found
    }

    /// The joint whose first action is furthest from where it is, and how far, mrad; if that is too far.
    fn start_apart(&self, snapshot: &Snapshot, wish: &Wish) -> Option<(u8, u32)> {
        let (Wish::Execute, Some(body)) = (wish, snapshot.body) else { return None };
        let first = self.player.first()?;
        let apart = first.iter().zip(body.q.iter()).map(|(first, q)| (first - q).abs());
        let (joint, apart_rad) = largest(apart);
        (apart_rad > self.start_pose_rad).then_some((joint, (apart_rad * 1e3) as u32))
    }

    /// What the failsafe's action makes of the mode. Takes the measured state as the start of motion where motion, or
    /// a hold that keeps the arm's place, begins.
    fn mode_of(&mut self, now_ns: u64, standing: Standing, findings: &Findings, snapshot: &Snapshot) -> Mode {
        let reason = match (standing.action, standing.cause, &findings.wish) {
            (Action::ControlledStop | Action::TorqueOffRequest, cause, _) => {
                self.player.forget(now_ns);
                return Mode::Stopped(StopCause::of(cause.unwrap_or(Cause::Shutdown)));
            }
            (Action::Hold | Action::Retract, Some(cause), wish) => self.details.reason(cause, wish),
            (_, _, Wish::Hold(reason)) => *reason,
            (_, _, Wish::Follow(..) | Wish::Execute) => {
                self.anchor(snapshot.body);
                return Mode::Active;
            }
        };
        match (self.anchored, waits(reason)) {
            (false, Some(reason)) => Mode::Waiting(reason),
            (true, _) | (false, None) => {
                self.anchor(snapshot.body);
                Mode::Holding(reason)
            }
        }
    }

    /// The tick's motion; the capture time of the observation behind it.
    fn act(
        &mut self,
        now_ns: u64,
        snapshot: &Snapshot,
        standing: Standing,
        findings: &Findings,
        may_move: bool,
    ) -> Option<u64> {
        if standing.cause != Some(Cause::PadForce) {
            self.retreat = None;
        }
        match (self.mode, &findings.wish) {
            (Mode::Active, Wish::Follow(target, observation_ns)) => {
                self.follow(target, standing.action);
                return Some(*observation_ns);
            }
            (Mode::Active, Wish::Execute) => return self.execute(now_ns, standing.action),
            (Mode::Active, Wish::Hold(_)) | (Mode::Waiting(_) | Mode::Holding(_) | Mode::Stopped(_), _) => {}
        }
        self.pause();
        self.opens = false;
        match (standing.action, standing.cause, snapshot.body) {
            (Action::Retract, Some(Cause::Blocked), Some(body)) if may_move => self.motion.yield_to(&body.q),
            (Action::Retract, Some(Cause::PadForce), _)
                if may_move && findings.causes.contains(Cause::PadForce) =>
            {
                self.back_off();
            }
            _ => self.motion.brake(),
        }
        None
    }

    /// Whether a chunk is there to be executed, and why not.
    fn chunk_wish(&self, now_ns: u64, intent: Intent<'_>) -> Wish {
        match (self.player.readiness(now_ns), intent) {
            (Readiness::Ready, _) if self.player.running() || self.motion.at_rest() => Wish::Execute,
            (Readiness::Ready, _) => Wish::Hold(HoldReason::Settling),
            (_, Intent::Refused(rule)) => Wish::Hold(HoldReason::Refused(rule)),
            (_, Intent::Failed) => Wish::Hold(HoldReason::PolicyFailed),
            (Readiness::Expired { age_ns }, _) => Wish::Hold(HoldReason::Expired { age_ns }),
            (Readiness::Dry, _) => Wish::Hold(HoldReason::RanDry),
            (Readiness::Nothing, _) => Wish::Hold(HoldReason::NoDecision),
        }
    }

    /// What the decision asks for, if it may still be followed.
    fn wish(&mut self, now_ns: u64, decision: &Decision) -> Wish {
        let age_ns = now_ns.saturating_sub(decision.observation_ns);
        if age_ns > self.decision_max_age_ns {
            self.infeasible_since_ns = None;
            return Wish::Hold(HoldReason::Expired { age_ns });
        }
        match &decision.verdict {
            Verdict::Infeasible(reason) => {
                let since_ns = *self.infeasible_since_ns.get_or_insert(now_ns);
                let confirmed = now_ns.saturating_sub(since_ns) >= self.infeasible_confirm_ns;
                Wish::Hold(HoldReason::Infeasible { reason: *reason, confirmed })
            }
            Verdict::Act { target, .. } => {
                self.infeasible_since_ns = None;
                // The audit has refused such a target already; here it costs eight comparisons.
                let finite = target.position_m.iter().all(|value| value.is_finite())
                    && target.yaw_rad.is_finite()
                    && target.gripper_width_m.is_finite()
                    && target.gripper_force_n.is_finite();
                if finite {
                    Wish::Follow(*target, decision.observation_ns)
                } else {
                    Wish::Hold(HoldReason::Refused(Rule::NonFinite))
                }
            }
        }
    }

    /// The joint that lags furthest behind its command, if that is too far.
    fn blocking_joint(&mut self, snapshot: &Snapshot) -> Option<u8> {
        let body = snapshot.body?;
        // Once blocked, the command must come back half way before motion goes on.
        let limit_rad = self.tracking_error_rad * if self.blocked { 0.5 } else { 1.0 };
        let errors = self.motion.q().iter().zip(body.q.iter()).map(|(q, measured)| (q - measured).abs());
        let (joint, error_rad) = largest(errors);
        self.blocked = error_rad > limit_rad;
        self.blocked.then_some(joint)
    }

    /// Takes the measured state as the start of motion, once.
    fn anchor(&mut self, body: Option<Body>) {
        let (false, Some(body)) = (self.anchored, body) else {
            return;
        };
        self.motion.anchor(&body.q);
        self.gripper_width_m = body.gripper_width_m.clamp(0.0, self.width_max_m);
        self.gripper_force_n = 0.0;
        self.set_point = None;
        self.ramp = RAMP_FLOOR;
        self.blocked = false;
        self.anchored = true;
    }

    /// Takes up an arm that had been out of sight, where it is now. What it held it goes on holding.
    fn begin_anew(&mut self, again: Again) {
        if !self.anchored {
            return;
        }
        let held = (self.gripper_width_m, self.gripper_force_n);
        self.anchored = false;
        self.anchor(Some(again.body));
        if again.same_grip {
            (self.gripper_width_m, self.gripper_force_n) = held;
        }
    }

    fn pause(&mut self) {
        self.player.interrupt();
        self.ramp = (self.ramp - self.dt_s / RAMP_DOWN_S).max(RAMP_FLOOR);
        self.set_point = None;
    }

    fn follow(&mut self, target: &ToolTarget, action: Action) {
        let tool = self.motion.base_from_tool();
        let set_point = self.smooth(target, &tool);
        self.set_point = Some(set_point);
        let wanted = base_from_tool(set_point.position_m, set_point.yaw_rad);
        let near = self.within_reach_of_ramp(&tool, &wanted, self.ramp);
        self.motion.move_to(&near);
        let quicker =
            if self.soft_start_s > 0.0 { (self.ramp + self.dt_s / self.soft_start_s).min(1.0) } else { 1.0 };
        let cap = self.share(action);
        self.ramp =
            if self.ramp > cap { (self.ramp - self.dt_s / RAMP_DOWN_S).max(cap) } else { quicker.min(cap) };
        self.grip(target.gripper_width_m, target.gripper_force_n);
    }

    /// Share of the speed that an action leaves.
    fn share(&self, action: Action) -> f64 {
        match action {
            Action::None | Action::Warn => 1.0,
            Action::Slow => self.slow_share,
            Action::Hold | Action::Retract | Action::ControlledStop | Action::TorqueOffRequest => 0.0,
        }
    }

    /// One tick of the chunk in force; the capture time of the observation behind it.
    fn execute(&mut self, now_ns: u64, action: Action) -> Option<u64> {
        self.player.limit_pace(self.share(action));
        if !self.player.running() {
            self.player.begin(now_ns, self.motion.q(), self.gripper_width_m);
        }
        let Some(sample) = self.player.step(now_ns) else {
            self.motion.brake();
            return None;
        };
        self.motion.move_joints(&sample.q);
        self.wanted = Some(sample.q);
        self.set_point = None;
        self.grip(sample.gripper_width_m, self.chunk_force_n);
        let errors = sample.q.iter().zip(self.motion.q().iter()).map(|(wanted, q)| (wanted - q).abs());
        if errors.fold(0.0, f64::max) > ASTRAY_RAD {
            self.player.interrupt();
        }
        Some(sample.observation_ns)
    }

    /// One tick away from what presses on a pad: the fingers open and hold less, and the arm goes back the way that
    /// the gripper points, a little.
    fn back_off(&mut self) {
        self.gripper_width_m = (self.gripper_width_m + self.gripper_step_m).min(self.width_max_m);
        self.gripper_force_n *= LET_GO;
        self.opens = true;
        let tool = self.motion.base_from_tool();
        let back = Translation3::new(0.0, 0.0, -self.retract_m);
        let retreat = *self.retreat.get_or_insert(tool * back);
        let near = self.within_reach_of_ramp(&tool, &retreat, RETREAT_SHARE);
        self.motion.move_to(&near);
    }

    /// The target, clamped to the workspace, turned the short way round, and low-pass filtered.
    fn smooth(&self, target: &ToolTarget, tool: &Isometry3<f64>) -> SetPoint {
        let mut position_m = target.position_m;
        for ((value, low), high) in position_m.iter_mut().zip(self.low_m).zip(self.high_m) {
            *value = value.clamp(low, high);
        }
        let from = self.set_point.unwrap_or(SetPoint { position_m, yaw_rad: yaw_of(tool) });
        let goal = SetPoint { position_m, yaw_rad: nearest_half_turn(target.yaw_rad, from.yaw_rad) };
        if self.set_point.is_none() || self.filter_s <= 0.0 {
            return goal;
        }
        let share = self.dt_s / (self.filter_s + self.dt_s);
        let mut blended = from;
        for (value, goal) in blended.position_m.iter_mut().zip(goal.position_m) {
            *value += share * (goal - *value);
        }
        blended.yaw_rad += share * (goal.yaw_rad - blended.yaw_rad);
        blended
    }

    /// A pose on the way to `wanted`, so near that the tracker goes no faster than the ramp allows.
    fn within_reach_of_ramp(
        &self,
        tool: &Isometry3<f64>,
        wanted: &Isometry3<f64>,
        ramp: f64,
    ) -> Isometry3<f64> {
        if ramp >= 1.0 {
            return *wanted;
        }
        let (braking_m_s2, braking_rad_s2) = self.motion.braking();
        let lead = |speed: f64, braking: f64| (ramp * speed).powi(2) / (2.0 * braking);
        let (lead_m, lead_rad) =
            (lead(self.tool_speed_m_s, braking_m_s2), lead(self.tool_turn_rad_s, braking_rad_s2));
        let way = wanted.translation.vector - tool.translation.vector;
        let share = (lead_m / way.norm().max(1e-12)).min(1.0);
        let turn = (tool.rotation.inverse() * wanted.rotation).scaled_axis();
        let turn_share = (lead_rad / turn.norm().max(1e-12)).min(1.0);
        Isometry3::from_parts(
            Translation3::from(tool.translation.vector + way * share),
            tool.rotation * UnitQuaternion::from_scaled_axis(turn * turn_share),
        )
    }

    /// Opening and force, at the limits' pace.
    fn grip(&mut self, width_m: f64, force_n: f64) {
        let wanted_m = width_m.clamp(0.0, self.width_max_m);
        let change_m = (wanted_m - self.gripper_width_m).clamp(-self.gripper_step_m, self.gripper_step_m);
        self.opens = change_m > 0.0;
        self.gripper_width_m += change_m;
        self.gripper_force_n = force_n.clamp(0.0, self.force_max_n);
    }
}

/// The index of the largest value, and the value; 0 of none.
fn largest(values: impl Iterator<Item = f64>) -> (u8, f64) {
    let (index, value) =
        values.enumerate().fold((0, 0.0_f64), |worst, next| if next.1 > worst.1 { next } else { worst });
    (index as u8, value)
}

/// Why an arm that has not moved yet waits; none where it takes its place all the same, and holds.
fn waits(reason: HoldReason) -> Option<WaitReason> {
    match reason {
        HoldReason::Sense(fault) => Some(WaitReason::Sense(fault)),
        HoldReason::NotEnabled => Some(WaitReason::NotEnabled),
        HoldReason::NoDecision => Some(WaitReason::NoDecision),
        HoldReason::Calibration(reason) => Some(WaitReason::Calibration(reason)),
        HoldReason::ModelCold => Some(WaitReason::ModelCold),
        HoldReason::PoseApart { joint, apart_mrad } => Some(WaitReason::PoseApart { joint, apart_mrad }),
        HoldReason::ClockJump { which } => Some(WaitReason::ClockJump { which }),
        HoldReason::Overrun { gap_ns } => Some(WaitReason::Overrun { gap_ns }),
        HoldReason::Expired { .. }
        | HoldReason::Refused(_)
        | HoldReason::PolicyFailed
        | HoldReason::RanDry
        | HoldReason::Settling
        | HoldReason::Infeasible { .. }
        | HoldReason::Blocked { .. }
        | HoldReason::PadForce { .. } => None,
    }
}

/// Turn of a tool about the vertical, rad, in the grammar's convention (0: fingers open along y).
fn yaw_of(base_from_tool: &Isometry3<f64>) -> f64 {
    let along_x = base_from_tool.rotation * nalgebra::Vector3::x();
    libm::atan2(along_x.y, along_x.x)
}

/// The turn equal to `yaw_rad` modulo π that is nearest to `near_rad`, but never more than 3π/4
/// away from straight, so that the wrist does not wind itself up.
fn nearest_half_turn(yaw_rad: f64, near_rad: f64) -> f64 {
    use std::f64::consts::PI;
    let straight = (yaw_rad + PI / 2.0).rem_euclid(PI) - PI / 2.0;
    [straight, straight - PI, straight + PI]
        .into_iter()
        .filter(|turn| turn.abs() <= 0.75 * PI)
        .min_by(|a, b| (a - near_rad).abs().total_cmp(&(b - near_rad).abs()))
        .unwrap_or(straight)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::f64::consts::PI;

    #[test]
    fn turns_go_the_short_way_and_do_not_wind_up() {
        assert!((nearest_half_turn(1.5, -1.5) - (1.5 - PI)).abs() < 1e-12);
        assert!((nearest_half_turn(0.3, 0.1) - 0.3).abs() < 1e-12);
        let mut near_rad = 0.0;
        for step in 0..1000 {
            near_rad = nearest_half_turn(f64::from(step) * 0.05, near_rad);
            assert!(near_rad.abs() <= 0.75 * PI + 1e-9);
        }
    }

    #[test]
    fn the_yaw_of_a_target_reads_back() {
        for yaw_rad in [-1.4, -0.3, 0.0, 0.7, 1.5] {
            assert!((yaw_of(&base_from_tool([0.5, 0.0, 0.2], yaw_rad)) - yaw_rad).abs() < 1e-12);
        }
    }
}
