//! Commanded motion: where the joints are told to be, how they brake, and where the tool may go.
//!
//! All motion of the arm passes through [`Motion::move_to`], [`Motion::move_joints`] or [`Motion::brake`],
//! and every command through the joint limiter, which comes last. So position, velocity, acceleration and jerk of every
//! joint and the speed of the tool keep their limits whatever was asked for.
//!
//! The workspace: a move is allowed only if the limiter's stop after it stays inside the box, or at
//! least goes no further outside than the tool is now. Otherwise the limiter takes back as much of the
//! move as it needs to. It looks at every eighth tick of the stop, and between looks the tool may bulge
//! out of the box by a little; [`WORKSPACE_SLACK_M`] is tested to cover it.

use nalgebra::{Isometry3, Vector3};
use reflexarc_kinematics::limit::{Acted, JointLimiter, Limited, LimiterConfig};
use reflexarc_kinematics::track::{Tracker, TrackerConfig};
use reflexarc_kinematics::{Chain, Joints};

use crate::config::Config;

/// How far the tool may leave the workspace for a moment while braking, m.
pub const WORKSPACE_SLACK_M: f64 = 0.01;
/// So far outside does not count: a tool on its way along a face of the box wavers, m.
pub(crate) const FACE_M: f64 = 1e-3;

/// The commanded state of the arm.
#[derive(Clone, Debug)]
pub struct Motion {
    chain: Chain,
    tracker: Tracker,
    limiter: JointLimiter,
    dt_s: f64,
    low_m: Vector3<f64>,
    high_m: Vector3<f64>,
    q: Joints,
    qd: Joints,
    acted: Acted,
}

/// The configured limits for ticks of `dt_s`.
pub(crate) fn limiter_config(config: &Config, dt_s: f64) -> LimiterConfig {
    let limits = &config.limits;
    LimiterConfig {
        dt_s,
        velocity_scale: limits.speed_scale,
        max_acceleration_rad_s2: limits.max_joint_acceleration_rad_s2,
        max_jerk_rad_s3: limits.max_joint_jerk_rad_s3,
        max_tool_speed_m_s: limits.max_tool_speed_m_s,
    }
}

impl Motion {
    /// An arm at rest in the configured posture; call [`Motion::anchor`] before the first move.
    #[must_use]
    pub fn new(chain: Chain, config: &Config) -> Self {
        let limits = &config.limits;
        let dt_s = config.dt_s();
        let settings = TrackerConfig {
            dt_s,
            velocity_scale: limits.speed_scale,
            max_tool_speed_m_s: limits.max_tool_speed_m_s,
            max_tool_turn_rad_s: limits.max_tool_turn_rad_s,
            max_acceleration_rad_s2: limits.max_joint_acceleration_rad_s2,
            ..TrackerConfig::default()
        };
        let posture = chain.clamp(&config.robot.posture_rad);
        let mut motion = Self {
            tracker: Tracker::new(chain.clone(), settings, &posture),
            limiter: JointLimiter::new(chain.clone(), limiter_config(config, dt_s)),
            dt_s,
            low_m: Vector3::from(limits.workspace_min_m),
            high_m: Vector3::from(limits.workspace_max_m),
            q: posture,
            qd: Joints::zeros(chain.dof()),
            acted: Acted::default(),
            chain,
        };
        motion.anchor(&posture);
        motion
    }

    /// Starts from measured positions, at rest.
    pub fn anchor(&mut self, q: &Joints) {
        if !self.limiter.reset(q) {
            return;
        }
        self.tracker.reset(q);
        self.q = *q;
        self.qd = Joints::zeros(q.len());
        self.acted = Acted::default();
    }

    /// Commanded positions, rad.
    #[must_use]
    pub fn q(&self) -> &Joints {
        &self.q
    }

    /// Velocities between the last two commands, rad/s.
    #[must_use]
    pub fn qd(&self) -> &Joints {
        &self.qd
    }

    /// Which limits changed what was wanted in the last tick.
    #[must_use]
    pub fn acted(&self) -> Acted {
        self.acted
    }

    /// Whether the commands have come to rest.
    #[must_use]
    pub fn at_rest(&self) -> bool {
        self.qd.iter().all(|qd| qd.abs() < 1e-6)
    }

    /// Pose of the tool at the commanded positions.
    #[must_use]
    pub fn base_from_tool(&self) -> Isometry3<f64> {
        self.chain.base_from_tip(&self.q)
    }

    /// Deceleration with which the tracker arrives at a target: tool, m/s², and turn, rad/s².
    #[must_use]
    pub fn braking(&self) -> (f64, f64) {
        (self.tracker.config().tool_braking_m_s2, self.tracker.config().tool_braking_rad_s2)
    }

    /// One tick towards a pose of the tool.
    pub fn move_to(&mut self, base_from_target: &Isometry3<f64>) {
        let step = self.tracker.step(&self.q, base_from_target);
        self.command_inside(&step.q_next);
    }

    /// One tick along a trajectory of the joints.
    pub fn move_joints(&mut self, q: &Joints) {
        self.command_inside(q);
        self.tracker.reset(&self.q);
    }

    /// One tick towards given positions, as far as the workspace allows.
    fn command_inside(&mut self, wanted: &Joints) {
        // Compared with where the tool is now, not with what was accepted before: a bulge that the
        // looks missed must not become the next tick's allowance.
        let allowed_m = self.outside_m(&self.q).max(FACE_M);
        let (chain, low_m, high_m) = (&self.chain, &self.low_m, &self.high_m);
        let out = self.limiter.limit_guarded(wanted, |q| {
            outside_box_m(&chain.base_from_tip(q).translation.vector, low_m, high_m) <= allowed_m
        });
        self.take(&out);
    }

    /// One tick towards given positions, slowly: to give way to what blocks the arm.
    pub fn yield_to(&mut self, q: &Joints) {
        const GAIN_PER_S: f64 = 5.0;
        const SPEED_RAD_S: f64 = 0.5;
        let wanted = Joints::from_fn(self.q.len(), |i| {
            let error = q.get(i).copied().unwrap_or(self.q[i]) - self.q[i];
            self.q[i] + (error * GAIN_PER_S).clamp(-SPEED_RAD_S, SPEED_RAD_S) * self.dt_s
        });
        self.tracker.reset(&self.q);
        self.command(&wanted);
    }

    /// One tick of braking: every joint slows as fast as it may, and then stays.
    pub fn brake(&mut self) {
        // An input of the wrong length is how the limiter is told to bring all joints to rest.
        let out = self.limiter.limit(&[]);
        self.take(&out);
        self.acted = Acted::default();
        self.tracker.reset(&self.q);
    }

    fn command(&mut self, wanted: &Joints) {
        let out = self.limiter.limit(wanted);
        self.take(&out);
    }

    fn take(&mut self, out: &Limited) {
        self.acted = out.acted;
        self.qd = self.limiter.velocity();
        self.q = out.q;
    }

    fn outside_m(&self, q: &Joints) -> f64 {
        outside_box_m(&self.chain.base_from_tip(q).translation.vector, &self.low_m, &self.high_m)
    }
}

/// Distance of a point from a box, 0 inside, m; infinite for a point that is not finite.
#[must_use]
pub fn outside_box_m(point_m: &Vector3<f64>, low_m: &Vector3<f64>, high_m: &Vector3<f64>) -> f64 {
    if !point_m.iter().all(|value| value.is_finite()) {
        return f64::INFINITY;
    }
    let nearest_m = point_m.sup(low_m).inf(high_m);
    (point_m - nearest_m).norm()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests fail by panicking")]
mod tests {
    use super::*;
    use crate::audit::base_from_tool;
    use reflexarc_kinematics::{ARM7_HOME_RAD, ARM7_URDF};

    fn motion() -> Motion {
        let chain = Chain::from_urdf(ARM7_URDF, "base", "tool").unwrap();
        let mut motion = Motion::new(chain, &Config::default());
        motion.anchor(&Joints::from_slice(&ARM7_HOME_RAD));
        motion
    }

    #[test]
    fn the_tool_arrives_and_rests() {
        let mut motion = motion();
        let target = base_from_tool([0.5, 0.1, 0.05], 0.4);
        for _ in 0..960 {
            motion.move_to(&target);
        }
        let error_m = (motion.base_from_tool().translation.vector - target.translation.vector).norm();
        assert!(error_m < 1e-3, "{error_m}");
        assert!(motion.qd().iter().all(|qd| qd.abs() < 1e-2));
    }

    #[test]
    fn targets_on_the_faces_of_the_box_are_reached() {
        let mut motion = motion();
        for position_m in [[0.5, 0.1, 0.0], [0.45, 0.35, 0.1], [0.25, 0.0, 0.3], [0.5, -0.2, 0.0]] {
            for _ in 0..720 {
                motion.move_to(&base_from_tool(position_m, 0.3));
            }
            let error_m = (motion.base_from_tool().translation.vector - Vector3::from(position_m)).norm();
            assert!(error_m < 1e-3, "{error_m} m from {position_m:?}");
        }
    }

    #[test]
    fn a_target_outside_the_box_is_not_followed_out_of_it() {
        let mut motion = motion();
        for (position_m, yaw_rad) in [
            ([0.5, 0.0, -0.3], 0.0),
            ([0.95, 0.0, 0.2], 1.0),
            ([0.3, 0.8, 0.2], -1.0),
            ([0.1, 0.0, 0.3], 0.0),
        ] {
            let target = base_from_tool(position_m, yaw_rad);
            for _ in 0..1200 {
                motion.move_to(&target);
                let tool_m = motion.base_from_tool().translation.vector;
                let outside_m = outside_box_m(&tool_m, &motion.low_m, &motion.high_m);
                assert!(outside_m < WORKSPACE_SLACK_M, "{outside_m} at {tool_m}");
            }
        }
    }

    #[test]
    fn braking_ends_at_rest_within_the_limits() {
        let mut motion = motion();
        for _ in 0..60 {
            motion.move_to(&base_from_tool([0.6, -0.2, 0.1], 1.0));
        }
        assert!(!motion.at_rest());
        let mut last = *motion.qd();
        // A joint that was speeding up goes on doing so for as long as its jerk limit takes.
        let run_on_rad_s = 10.0 * 10.0 / (2.0 * 2000.0);
        let most: Vec<f64> = last.iter().map(|qd| qd.abs() + run_on_rad_s).collect();
        let mut ticks = 0;
        while !motion.at_rest() {
            motion.brake();
            for ((now, before), most) in motion.qd().iter().zip(last.iter()).zip(&most) {
                assert!((now - before).abs() <= 10.0 / 240.0 + 1e-6);
                assert!(now.abs() <= *most);
            }
            last = *motion.qd();
            ticks += 1;
        }
        assert!(ticks < 120, "{ticks}");
        let q = *motion.q();
        motion.brake();
        assert_eq!(*motion.q(), q);
    }
}
