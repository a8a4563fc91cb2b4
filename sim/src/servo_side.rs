//! The arm's own driver in the loop: servos simulated down to the bytes stand between the driver and the world's
//! joints, in place of the ideal interface of [`SimNode`](crate::node::SimNode).
//!
//! The driver reads and writes at [`DRIVER_HZ`]; what its servos are sent becomes the world's servo targets, in steps of
//! a 4096th of a turn.

use std::f64::consts::TAU;
use std::time::Duration;

use reflexarc_drivers::arm::bus::ServoBus;
use reflexarc_drivers::arm::config::Axis;
use reflexarc_drivers::arm::simulator::{ServoSimulator, WireFaults};
use reflexarc_drivers::arm::{
    ArmConfig, ArmDriver, ArmError, ArmGripperConfig, ArmJointConfig, ArmState, ArmStats, Calibration,
    CalibrationError, Command, HoldCause, Malformed,
};
use reflexarc_drivers::link::{Link, LinkError, Publisher, Subscription};
use reflexarc_drivers::msg::{JointState, JointTrajectory};
use reflexarc_drivers::topic::Topics;
use reflexarc_kinematics::{ARM7_URDF, Chain};
use thiserror::Error;

use crate::node::{Actuation, JOINT_NAMES};
use crate::world::World;

/// Cycles of the driver per second.
pub const DRIVER_HZ: u32 = 120;
/// Force between the fingers at the gripper servo's full torque, N.
const FULL_FORCE_N: f64 = 40.0;
/// Widest opening, m.
const MAX_WIDTH_M: f64 = 0.08;
/// The gripper's range, steps.
const GRIPPER_RANGE: [i32; 2] = [1024, 3071];
/// Time in which a servo's own controller takes up the velocity of its goals, s.
const FEED_FORWARD_S: f64 = 0.02;

/// Why the servos could not be set up.
#[derive(Debug, Error)]
pub enum ServoSideError {
    /// The built-in robot description is refused.
    #[error("robot description: {0}")]
    Description(String),
    /// The driver refuses its servos.
    #[error(transparent)]
    Arm(#[from] ArmError),
    /// The calibration made for them is refused.
    #[error(transparent)]
    Calibration(#[from] CalibrationError),
    /// The link refuses.
    #[error(transparent)]
    Link(#[from] LinkError),
}

/// Eight simulated servos and the driver that moves them.
pub struct ServoSide {
    driver: ArmDriver,
    servos: ServoSimulator,
    axes: Vec<Axis>,
    command: Subscription<JointTrajectory>,
    joint_states: Publisher<JointState>,
    newest: Option<Result<Command, Malformed>>,
    goals: [f64; 8],
    velocity: [f64; 8],
    force_n: f64,
    now_ns: u64,
}

impl ServoSide {
    /// Servos where `world` has its joints. The wire's faults begin after the driver's start.
    ///
    /// # Errors
    /// [`ServoSideError`].
    pub fn new(
        world: &World,
        link: &Link,
        topics: &Topics,
        faults: WireFaults,
        now_ns: u64,
    ) -> Result<Self, ServoSideError> {
        let config = config()?;
        let calibration = calibration()?;
        let axes = config.axes(&calibration)?;
        let figures: Vec<_> = axes.iter().map(|axis| axis.figures).collect();
        let servos = ServoSimulator::new(
            config.servos,
            &figures,
            WireFaults { seed: faults.seed, ..WireFaults::default() },
        );
        place(&servos, &axes, world);
        let timeout = Duration::from_millis(config.reply_timeout_ms);
        let bus = ServoBus::new(
            servos.port(),
            config.servos,
            figures.iter().map(|joint| joint.id).collect(),
            timeout,
        )
        .map_err(|error| ArmError::Port {
            port: "memory".to_owned(),
            reason: error.to_string(),
            hint: "",
        })?;
        let driver = ArmDriver::start(bus, &config, &calibration, now_ns)?;
        servos.set_faults(faults);
        let (q, _) = world.joints();
        let (width_m, _) = world.gripper();
        let goals = std::array::from_fn(|i| if i < 7 { q[i] } else { width_m });
        Ok(Self {
            driver,
            servos,
            axes,
            command: link.subscribe(&topics.joint_command)?,
            joint_states: link.publisher(&topics.joint_states)?,
            newest: None,
            goals,
            velocity: [0.0; 8],
            force_n: FULL_FORCE_N / 4.0,
            now_ns,
        })
    }

    /// What became of the commands on their way.
    #[must_use]
    pub fn command_subscription(&self) -> &Subscription<JointTrajectory> {
        &self.command
    }

    /// The driver's counters.
    #[must_use]
    pub fn stats(&self) -> ArmStats {
        self.driver.stats()
    }

    /// One cycle of the driver: reads where the world has its joints, publishes it unless `mute`, and sends the newest
    /// command's goals to the servos.
    ///
    /// # Errors
    /// When the link has gone.
    pub fn cycle(&mut self, world: &World, now_ns: u64, mute: bool) -> Result<(), LinkError> {
        place(&self.servos, &self.axes, world);
        if let Some(sample) = self.command.latest_unread() {
            let command = self.driver.command(&sample.value);
            if command.is_err() {
                self.driver.count_malformed();
            }
            self.newest = Some(command);
        }
        self.driver.cycle(now_ns, self.newest.as_ref().map(|newest| newest.as_ref().map_err(|none| *none)));
        let dt_s = (now_ns.saturating_sub(self.now_ns) as f64 * 1e-9).max(1e-3);
        self.now_ns = now_ns;
        let share = dt_s / (FEED_FORWARD_S + dt_s);
        for (i, axis) in self.axes.iter().enumerate() {
            // Without torque a servo stays where it is, as with brakes.
            let goal = self.servos.goal(i).map_or(self.goals[i], |steps| axis.value(steps));
            self.velocity[i] += share * ((goal - self.goals[i]) / dt_s - self.velocity[i]);
            self.goals[i] = goal;
        }
        self.force_n = self.servos.register(7, "torque_limit") as f64 / 1000.0 * FULL_FORCE_N;
        if mute { Ok(()) } else { self.joint_states.put(&self.driver.joint_state()) }
    }

    /// What the servos are after: joint positions (rad) and velocities (rad/s), opening (m) and force (N).
    #[must_use]
    pub fn goals(&self) -> ([f64; 7], [f64; 7], f64, f64) {
        let seven = |values: &[f64; 8]| std::array::from_fn(|i| values[i]);
        (seven(&self.goals), seven(&self.velocity), self.goals[7], self.force_n)
    }

    /// What the actuator side does, in the words of the ideal one.
    #[must_use]
    pub fn actuation(&self, now_ns: u64) -> Actuation {
        let age_ns = match &self.newest {
            Some(Ok(command)) => now_ns.saturating_sub(command.stamp_ns),
            _ => 0,
        };
        match self.driver.state() {
            ArmState::Following => Actuation::Obeyed { age_ns, q: self.goals().0 },
            ArmState::Holding(HoldCause::NoCommand) => Actuation::Waiting,
            ArmState::Holding(HoldCause::Malformed) => Actuation::RefusedMalformed,
            ArmState::Holding(HoldCause::Late | HoldCause::Far) => Actuation::RefusedLate { age_ns },
            ArmState::Stopped { .. } | ArmState::Released => Actuation::Unpowered,
        }
    }
}

/// The driver's configuration for the reference robot.
fn config() -> Result<ArmConfig, ServoSideError> {
    let chain = chain()?;
    let joints = chain.limits().iter().zip(JOINT_NAMES).map(|(limit, name)| ArmJointConfig {
        name: name.to_owned(),
        middle_rad: (limit.lower_rad + limit.upper_rad) / 2.0,
        max_speed_rad_s: Some(limit.velocity_rad_s),
        ..ArmJointConfig::default()
    });
    Ok(ArmConfig {
        rate_hz: DRIVER_HZ,
        joints: joints.collect(),
        gripper: ArmGripperConfig {
            name: JOINT_NAMES[7].to_owned(),
            max_width_m: MAX_WIDTH_M,
            full_force_n: FULL_FORCE_N,
            ..ArmGripperConfig::default()
        },
        ..ArmConfig::default()
    })
}

/// A calibration as LeRobot would write it: each range as wide as the joint's.
fn calibration() -> Result<Calibration, ServoSideError> {
    let chain = chain()?;
    let mut text = String::from("{");
    for (i, limit) in chain.limits().iter().enumerate() {
        let half = ((limit.upper_rad - limit.lower_rad) / 2.0 / TAU * 4095.0).ceil() as i32;
        text += &entry(JOINT_NAMES[i], i + 1, [2048 - half, 2048 + half]);
        text.push(',');
    }
    text += &entry(JOINT_NAMES[7], 8, GRIPPER_RANGE);
    text.push('}');
    Ok(Calibration::from_json(&text)?)
}

fn entry(name: &str, id: usize, [min, max]: [i32; 2]) -> String {
    format!(
        r#""{name}": {{"id": {id}, "drive_mode": 0, "homing_offset": 0, "range_min": {min}, "range_max": {max}}}"#
    )
}

fn chain() -> Result<Chain, ServoSideError> {
    Chain::from_urdf(ARM7_URDF, "base", "tool")
        .map_err(|error| ServoSideError::Description(error.to_string()))
}

/// The servos' encoders show what the world's joints are.
fn place(servos: &ServoSimulator, axes: &[Axis], world: &World) {
    let (q, qd) = world.joints();
    let (width_m, speed_m_s) = world.gripper();
    let grip_n = world.tactile().iter().map(crate::tactile::normal_n).sum::<f32>() / 2.0;
    for (i, axis) in axes.iter().enumerate() {
        let (value, velocity, load) =
            if i < 7 { (q[i], qd[i], 0.0) } else { (width_m, speed_m_s, f64::from(grip_n) / FULL_FORCE_N) };
        let steps = axis.steps(value).unwrap_or_default();
        servos.place(i, f64::from(steps), velocity / axis.value_per_step(), load);
    }
}
