//! A judge of emitted commands that trusts nothing but the commands themselves: for tests and
//! evaluations, never part of the loop.
//!
//! It takes finite differences of consecutive commands, tick by tick, and compares them with the
//! configuration: position, velocity, acceleration and jerk of every joint, speed of the tool, the
//! workspace, the gripper. It also judges how motion ends: a hold or a stop must come to rest within the
//! promised time ([`Promise`]), and after a stop nothing may be commanded but braking and standing still.

use nalgebra::Vector3;
use reflexarc_kinematics::{Chain, Joints};
use serde::Serialize;

use crate::config::Config;
use crate::failsafe::Promise;
use crate::modes::{HoldReason, Mode};
use crate::motion::{WORKSPACE_SLACK_M, outside_box_m};
use crate::reflex::{Command, JointCommand};
use crate::senses::Body;

/// Violations kept in words; further ones are counted only.
const KEPT: usize = 16;

/// What emitted commands came to.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Judgement {
    /// Commands judged.
    pub commands: u64,
    /// Limits broken, of whatever kind.
    pub violations: u64,
    /// The first of them, in words.
    pub first: Vec<String>,
    /// Largest share of its limit that any joint reached: velocity.
    pub velocity_share: f64,
    /// Largest share of its limit that any joint reached: acceleration.
    pub acceleration_share: f64,
    /// Largest share of its limit that any joint reached: jerk.
    pub jerk_share: f64,
    /// Largest share of its limit that the tool's speed reached.
    pub tool_speed_share: f64,
    /// Furthest that the tool got out of the workspace, m.
    pub outside_m: f64,
    /// Holds, and how long the slowest took from the mode's change to standstill, s.
    pub holds: u64,
    /// See `holds`.
    pub slowest_hold_s: f64,
    /// Stops, and how long the slowest took from the mode's change to standstill, s.
    pub stops: u64,
    /// See `stops`.
    pub slowest_stop_s: f64,
}

/// How motion is ending.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Ending {
    /// Motion is allowed.
    No,
    /// Told to rest since so many ticks, and not there yet.
    Braking { stop: bool, ticks: u64 },
    /// At rest.
    Rests { stop: bool },
}

/// Watches one robot's commands.
#[derive(Clone, Debug)]
pub struct CommandWatch {
    chain: Chain,
    config: Config,
    low_m: Vector3<f64>,
    high_m: Vector3<f64>,
    bound_ticks: u64,
    last: Option<Last>,
    ending: Ending,
    judgement: Judgement,
}

#[derive(Clone, Copy, Debug)]
struct Last {
    joints: JointCommand,
    tool_m: Vector3<f64>,
    velocity: Option<Joints>,
    acceleration: Option<Joints>,
    /// Where motion began. An arm that was outside its limits then need not jump back in.
    start: Joints,
    /// How far outside the workspace the tool may be, m.
    allowed_m: f64,
}

impl CommandWatch {
    /// A watch on a robot's commands under one configuration.
    #[must_use]
    pub fn new(chain: Chain, config: &Config) -> Self {
        Self {
            low_m: Vector3::from(config.limits.workspace_min_m),
            high_m: Vector3::from(config.limits.workspace_max_m),
            // One more, in which the last acceleration is seen to be over.
            bound_ticks: u64::from(Promise::new(&chain, config).stop_ticks) + 1,
            config: config.clone(),
            chain,
            last: None,
            ending: Ending::No,
            judgement: Judgement::default(),
        }
    }

    /// What it came to.
    #[must_use]
    pub fn judgement(&self) -> &Judgement {
        &self.judgement
    }

    fn violation(&mut self, stamp_ns: u64, what: impl FnOnce() -> String) {
        self.judgement.violations += 1;
        if self.judgement.first.len() < KEPT {
            self.judgement.first.push(format!("at {stamp_ns} ns: {}", what()));
        }
    }

    /// Takes a tick's command, and where the arm was measured to be; every tick must be shown.
    pub fn look(&mut self, command: &Command, body: Option<&Body>) {
        let stamp_ns = command.stamp_ns;
        // After a stop the loop begins again from where the arm really is.
        let stopped =
            matches!(self.ending, Ending::Braking { stop: true, .. } | Ending::Rests { stop: true });
        if command.joints.is_none() || (stopped && !matches!(command.mode, Mode::Stopped(_))) {
            self.last = None;
        }
        // Pushed out of the workspace by something else, the arm is not commanded back in against it.
        if let (Mode::Holding(HoldReason::Blocked { .. }), Some(body), Some(last)) =
            (command.mode, body, &mut self.last)
        {
            let tool_m = body.base_from_tool.translation.vector;
            let outside_m = outside_box_m(&tool_m, &self.low_m, &self.high_m);
            last.allowed_m = last.allowed_m.max(outside_m + WORKSPACE_SLACK_M);
        }
        let moved = match &command.joints {
            Some(joints) => {
                self.judgement.commands += 1;
                self.limits(stamp_ns, joints)
            }
            None => false,
        };
        self.endings(stamp_ns, command.mode, moved);
    }

    /// Judges one command against the limits. Returns whether the arm is told to move.
    fn limits(&mut self, stamp_ns: u64, joints: &JointCommand) -> bool {
        let hz = f64::from(self.config.rates.reflex_hz);
        let limits = self.config.limits.clone();
        let finite = joints.q.is_finite()
            && joints.qd.is_finite()
            && joints.gripper_width_m.is_finite()
            && joints.gripper_force_n.is_finite();
        if !finite {
            self.violation(stamp_ns, || format!("a number that is none: {joints:?}"));
            self.last = None;
            return true;
        }
        let bounds: Vec<_> = self.chain.limits().to_vec();
        let start = self.last.map_or(joints.q, |last| last.start);
        for (joint, bound) in bounds.iter().enumerate() {
            let lowest = bound.lower_rad.min(start[joint]) - 1e-9;
            let highest = bound.upper_rad.max(start[joint]) + 1e-9;
            if !(lowest..=highest).contains(&joints.q[joint]) {
                self.violation(stamp_ns, || format!("joint {} at {} rad", joint + 1, joints.q[joint]));
            }
        }
        let tool_m = self.chain.base_from_tip(&joints.q).translation.vector;
        let outside_m = outside_box_m(&tool_m, &self.low_m, &self.high_m);
        let (width_m, force_n) = (joints.gripper_width_m, joints.gripper_force_n);
        let width_max_m = self.config.robot.gripper_max_width_m;
        if !(0.0..=width_max_m).contains(&width_m) || !(0.0..=limits.grip_force_n).contains(&force_n) {
            self.violation(stamp_ns, || format!("the gripper at {width_m} m, {force_n} N"));
        }
        let Some(last) = self.last else {
            self.last = Some(Last {
                joints: *joints,
                tool_m,
                velocity: None,
                acceleration: None,
                start,
                allowed_m: outside_m + WORKSPACE_SLACK_M,
            });
            return false;
        };

        self.judgement.outside_m = self.judgement.outside_m.max(outside_m);
        if outside_m > last.allowed_m {
            self.violation(stamp_ns, || format!("the tool {outside_m} m outside the workspace"));
        }
        let speed_m_s = (tool_m - last.tool_m).norm() * hz;
        let share = speed_m_s / limits.max_tool_speed_m_s;
        self.judgement.tool_speed_share = self.judgement.tool_speed_share.max(share);
        if speed_m_s > limits.max_tool_speed_m_s + 1e-6 {
            self.violation(stamp_ns, || format!("the tool at {speed_m_s} m/s"));
        }
        let change_m = (width_m - last.joints.gripper_width_m).abs();
        if change_m * hz > limits.gripper_speed_m_s + 1e-6 {
            self.violation(stamp_ns, || format!("the gripper at {} m/s", change_m * hz));
        }

        let difference = |now: &Joints, before: &Joints| {
            Joints::from_fn(now.len(), |joint| (now[joint] - before[joint]) * hz)
        };
        let velocity = difference(&joints.q, &last.joints.q);
        let acceleration = last.velocity.map(|before| difference(&velocity, &before));
        let jerk = acceleration.zip(last.acceleration).map(|(now, before)| difference(&now, &before));
        for (joint, bound) in bounds.iter().enumerate() {
            let most = [
                bound.velocity_rad_s * limits.speed_scale,
                limits.max_joint_acceleration_rad_s2,
                limits.max_joint_jerk_rad_s3,
            ];
            let found =
                [Some(velocity), acceleration, jerk].map(|all| all.map_or(0.0, |all| all[joint].abs()));
            let shares = [
                &mut self.judgement.velocity_share,
                &mut self.judgement.acceleration_share,
                &mut self.judgement.jerk_share,
            ];
            for ((found, most), share) in found.iter().zip(most).zip(shares) {
                *share = share.max(found / most);
            }
            for ((what, found), most) in ["rad/s", "rad/s²", "rad/s³"].iter().zip(found).zip(most) {
                // Rounding of positions shows in third differences.
                if found > most + 1e-9 * most + 1e-14 * hz * hz * hz {
                    self.violation(stamp_ns, || {
                        format!("joint {} at {found} {what}, at most {most}", joint + 1)
                    });
                }
            }
        }
        self.last = Some(Last {
            joints: *joints,
            tool_m,
            velocity: Some(velocity),
            acceleration,
            start,
            allowed_m: last.allowed_m,
        });
        // A joint that turns round stands still for a moment, and does not rest.
        velocity.iter().any(|speed| speed.abs() > 1e-6)
            || acceleration.is_some_and(|rates| rates.iter().any(|rate| rate.abs() > 1e-3))
    }

    /// Judges how motion ends: told to rest, an arm rests in time and stays there.
    fn endings(&mut self, stamp_ns: u64, mode: Mode, moved: bool) {
        let told = match mode {
            // An arm that gives way to what blocks it, or to what presses on it, moves on purpose.
            Mode::Waiting(_)
            | Mode::Active
            | Mode::Holding(HoldReason::Blocked { .. } | HoldReason::PadForce { .. }) => None,
            Mode::Holding(_) => Some(false),
            Mode::Stopped(_) => Some(true),
        };
        self.ending = match (told, self.ending) {
            (None, _) => Ending::No,
            (Some(stop), Ending::Braking { stop: before, ticks }) if stop == before => {
                self.brakes(stamp_ns, stop, ticks + 1, moved)
            }
            (Some(stop), Ending::Rests { stop: before }) if stop == before => {
                if moved {
                    self.violation(stamp_ns, || format!("moves again: {mode}"));
                }
                Ending::Rests { stop }
            }
            (Some(stop), Ending::No | Ending::Braking { .. } | Ending::Rests { .. }) => {
                let count = if stop { &mut self.judgement.stops } else { &mut self.judgement.holds };
                *count += 1;
                self.brakes(stamp_ns, stop, 1, moved)
            }
        };
    }

    fn brakes(&mut self, stamp_ns: u64, stop: bool, ticks: u64, moved: bool) -> Ending {
        if !moved {
            let slowest =
                if stop { &mut self.judgement.slowest_stop_s } else { &mut self.judgement.slowest_hold_s };
            *slowest = slowest.max(ticks as f64 * self.config.dt_s());
            return Ending::Rests { stop };
        }
        if ticks == self.bound_ticks + 1 {
            let bound_ticks = self.bound_ticks;
            self.violation(stamp_ns, || format!("still moves {bound_ticks} ticks after it was told to rest"));
        }
        Ending::Braking { stop, ticks }
    }
}
