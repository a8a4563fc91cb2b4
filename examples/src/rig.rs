//! The simulated arm under the same tracking and limits as the runtime's reflex, driven by tool
//! targets directly: what demonstrations are recorded with.

use anyhow::{Result, anyhow};
use reflexarc_kinematics::limit::{JointLimiter, LimiterConfig};
use reflexarc_kinematics::track::{Tracker, TrackerConfig};
use reflexarc_kinematics::{ARM7_HOME_RAD, ARM7_URDF, Chain, ik};
use reflexarc_sim::expert::{base_from_grasp, fold_yaw, tool_yaw};
use reflexarc_sim::{Scene, World};
use reflexarc_vla_model::decision::ToolTarget;

/// Ticks per second.
pub const TICK_HZ: f64 = 240.0;
/// How fast a commanded opening changes, m/s.
const GRIPPER_SPEED_M_S: f64 = 0.2;

/// A world and the controller that moves its arm.
pub struct Rig {
    /// The world.
    pub world: World,
    chain: Chain,
    tracker: Tracker,
    limiter: JointLimiter,
    q_rad: [f64; 7],
    width_m: f64,
}

fn seven(q: &[f64]) -> Result<[f64; 7]> {
    q.try_into().map_err(|_| anyhow!("expected 7 joints, found {}", q.len()))
}

impl Rig {
    /// The scene with the arm at `start`: a tool pose above the table, or home.
    ///
    /// # Errors
    /// When the built-in robot description is refused.
    pub fn new(scene: Scene, start: Option<&ToolTarget>, solver_iterations: usize) -> Result<Self> {
        let chain = Chain::from_urdf(ARM7_URDF, "base", "tool")?;
        let mut q_rad = ARM7_HOME_RAD;
        let mut width_m = 0.08;
        if let Some(target) = start {
            let pose = base_from_grasp(target.position_m, target.yaw_rad);
            let found = ik::solve(&chain, &pose, &ARM7_HOME_RAD, &ik::IkOptions::default());
            // A far branch of the solution would swing through the table.
            let near = found.q.iter().zip(&ARM7_HOME_RAD).all(|(a, b)| (a - b).abs() < 1.9);
            if found.reachable && near {
                q_rad = seven(&found.q)?;
            }
            width_m = target.gripper_width_m;
        }
        let world = World::new(scene, ARM7_URDF, &q_rad, width_m, solver_iterations)?;
        let config = TrackerConfig { dt_s: 1.0 / TICK_HZ, ..TrackerConfig::default() };
        let limits = LimiterConfig {
            dt_s: 1.0 / TICK_HZ,
            max_acceleration_rad_s2: config.max_acceleration_rad_s2,
            max_tool_speed_m_s: config.max_tool_speed_m_s,
            ..LimiterConfig::default()
        };
        let mut limiter = JointLimiter::new(chain.clone(), limits);
        limiter.reset(&q_rad);
        let mut tracker = Tracker::new(chain.clone(), config, &ARM7_HOME_RAD);
        tracker.reset(&q_rad);
        Ok(Self { world, chain, tracker, limiter, q_rad, width_m })
    }

    /// One tick towards `target`.
    pub fn tick(&mut self, target: &ToolTarget) {
        let yaw_now = tool_yaw(&self.chain.base_from_tip(&self.q_rad));
        // The gripper is symmetric: take the nearer of the two equivalent turns.
        let x = self.chain.base_from_tip(&self.q_rad).rotation * nalgebra::Vector3::x();
        let yaw = x.y.atan2(x.x) + fold_yaw(target.yaw_rad - yaw_now);
        let pose = base_from_grasp(target.position_m, yaw);
        let step = self.tracker.step(&self.q_rad, &pose);
        let limited = self.limiter.limit(&step.q_next);
        let mut qd = [0.0; 7];
        for (i, q) in limited.q.iter().enumerate().take(7) {
            qd[i] = (q - self.q_rad[i]) * TICK_HZ;
            self.q_rad[i] = *q;
        }
        let change = GRIPPER_SPEED_M_S / TICK_HZ;
        self.width_m += (target.gripper_width_m - self.width_m).clamp(-change, change);
        self.world.command(&self.q_rad, &qd, self.width_m, target.gripper_force_n);
        self.world.step();
        self.world.step();
    }
}
