//! A world on a link: to the runtime, exactly what hardware would be.

use reflexarc_drivers::link::{Link, LinkError, Publisher, Subscription, SubscriptionStats};
use reflexarc_drivers::msg::{
    Dimension, Float32MultiArray, Header, Image, JointState, JointTrajectory, Layout,
};
use reflexarc_drivers::topic::Topics;

use reflexarc_drivers::arm::simulator::WireFaults;

use crate::render::Frame;
use crate::scene::IMAGE_SIDE;
use crate::servo_side::{DRIVER_HZ, ServoSide, ServoSideError};
use crate::tactile::{CHANNELS, COLUMNS, ROWS};
use crate::world::{PHYSICS_HZ, View, World};

/// Ticks per second: the rate of joint states and of commands.
pub const TICK_HZ: u32 = 240;
/// A tactile frame each this many ticks (120 Hz).
const TACTILE_TICKS: u64 = 2;
/// Camera frames per second.
const CAMERA_HZ: u32 = 60;
/// A command older than this is refused, nanoseconds.
pub const COMMAND_AGE_LIMIT_NS: u64 = 100_000_000;

/// Names of the seven arm joints and of the gripper, as on the topics.
pub const JOINT_NAMES: [&str; 8] =
    ["joint1", "joint2", "joint3", "joint4", "joint5", "joint6", "joint7", "gripper"];

/// What a test may break.
#[derive(Debug, Clone, Default)]
pub struct Faults {
    /// The cameras deliver nothing any more.
    pub cameras_frozen: bool,
    /// The cameras deliver black frames.
    pub cameras_black: bool,
    /// The tactile pads deliver nothing any more.
    pub tactile_frozen: bool,
    /// The joint encoders deliver nothing any more.
    pub joints_frozen: bool,
    /// The motors have no power for moving: commands are ignored and the brakes hold the arm.
    pub power_off: bool,
}

/// What the actuator side counts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ActuatorStats {
    /// Ticks on which a fresh command was obeyed.
    pub obeyed: u64,
    /// Ticks on which the newest command was too old: the arm held.
    pub refused_late: u64,
    /// Commands that did not name the joints or held a value that is no number.
    pub refused_malformed: u64,
    /// Ticks before the first command.
    pub waiting: u64,
    /// Ticks without power.
    pub unpowered: u64,
    /// Age of the oldest command that was obeyed, nanoseconds.
    pub oldest_obeyed_ns: u64,
}

/// What the actuators did in one tick.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Actuation {
    /// No command has come yet: the arm holds.
    Waiting,
    /// A fresh command was obeyed.
    Obeyed {
        /// Its age, nanoseconds.
        age_ns: u64,
        /// The joint positions asked for, rad.
        q: [f64; 7],
    },
    /// The newest command was too old: the arm holds.
    RefusedLate {
        /// Its age, nanoseconds.
        age_ns: u64,
    },
    /// The newest command is none for this robot: the arm holds.
    RefusedMalformed,
    /// The motors have no power: the brakes hold.
    Unpowered,
}

/// A robot and its world as a node.
pub struct SimNode {
    world: World,
    images: [Publisher<Image>; 2],
    pads: [Publisher<Float32MultiArray>; 2],
    joint_states: Publisher<JointState>,
    command: Subscription<JointTrajectory>,
    frames: [Frame; 2],
    held: ([f64; 7], f64, f64),
    servos: Option<Box<ServoSide>>,
    tick: u64,
    camera_ticks: u64,
    powered: bool,
    last_malformed: Option<i64>,
    /// Faults that are switched on.
    pub faults: Faults,
    stats: ActuatorStats,
}

impl SimNode {
    /// Puts `world` on `link`.
    ///
    /// # Errors
    /// When the link refuses a publisher or the subscription.
    pub fn new(world: World, link: &Link, topics: &Topics) -> Result<Self, LinkError> {
        let (q, _) = world.joints();
        let (width, _) = world.gripper();
        Ok(Self {
            images: [link.publisher(&topics.camera("scene"))?, link.publisher(&topics.camera("wrist"))?],
            pads: [link.publisher(&topics.tactile("left"))?, link.publisher(&topics.tactile("right"))?],
            joint_states: link.publisher(&topics.joint_states)?,
            command: link.subscribe(&topics.joint_command)?,
            frames: std::array::from_fn(|_| Frame::default()),
            held: (q, width, 10.0),
            servos: None,
            tick: 0,
            camera_ticks: u64::from(TICK_HZ / CAMERA_HZ),
            powered: true,
            last_malformed: None,
            faults: Faults::default(),
            stats: ActuatorStats::default(),
            world,
        })
    }

    /// The same with the arm's own driver and servos simulated down to the bytes in the place of the ideal joints; see
    /// [`ServoSide`].
    ///
    /// # Errors
    /// [`ServoSideError`].
    pub fn with_servos(
        world: World,
        link: &Link,
        topics: &Topics,
        faults: WireFaults,
        now_ns: u64,
    ) -> Result<Self, ServoSideError> {
        let servos = ServoSide::new(&world, link, topics, faults, now_ns)?;
        Ok(Self { servos: Some(Box::new(servos)), ..Self::new(world, link, topics)? })
    }

    /// The servos and their driver, if there are any.
    #[must_use]
    pub fn servos(&self) -> Option<&ServoSide> {
        self.servos.as_deref()
    }

    /// The world behind the node: for judging, never for the runtime.
    #[must_use]
    pub fn world(&self) -> &World {
        &self.world
    }

    /// Puts another world in the place of this one, as an operator does who clears the table and guides the
    /// unpowered arm back by hand. The session, the counters and the faults stay; the arm holds where the
    /// new world has it, until the next command.
    pub fn lay(&mut self, world: World) {
        self.world = world;
        self.hold_here();
    }

    /// What is held from now on is where the arm stands.
    fn hold_here(&mut self) {
        let (q, _) = self.world.joints();
        let (width, _) = self.world.gripper();
        self.held = (q, width, self.held.2);
    }

    /// The newest noisy camera images, scene and wrist.
    #[must_use]
    pub fn frames(&self) -> &[Frame; 2] {
        &self.frames
    }

    /// The actuator side's counters.
    #[must_use]
    pub fn actuator_stats(&self) -> ActuatorStats {
        self.stats
    }

    /// Camera frames per second from now on, instead of 60; rounded down to a whole number of ticks. 0 counts
    /// as 1. Drawing is most of a simulation's cost.
    pub fn set_camera_hz(&mut self, hz: u32) {
        self.camera_ticks = u64::from(TICK_HZ / hz.clamp(1, TICK_HZ));
    }

    /// What became of the commands on their way.
    #[must_use]
    pub fn command_stats(&self) -> SubscriptionStats {
        self.command.stats()
    }

    /// Publishes the sensors that are due at this tick, stamped `now_ns`.
    ///
    /// # Errors
    /// When the link has gone.
    pub fn publish(&mut self, now_ns: u64) -> Result<(), LinkError> {
        let header = |frame: &str| Header::new(now_ns, frame);
        if self.tick.is_multiple_of(self.camera_ticks) {
            for (i, view) in View::ALL.into_iter().enumerate() {
                self.world.render(view, &mut self.frames[i]);
                if self.faults.cameras_black {
                    self.frames[i].rgb.fill(0);
                }
                if !self.faults.cameras_frozen {
                    self.images[i].put(&Image {
                        header: header(view.name()),
                        height: IMAGE_SIDE as u32,
                        width: IMAGE_SIDE as u32,
                        encoding: "rgb8".to_owned(),
                        is_bigendian: 0,
                        step: 3 * IMAGE_SIDE as u32,
                        data: self.frames[i].rgb.clone(),
                    })?;
                }
            }
        }
        if self.tick.is_multiple_of(TACTILE_TICKS) && !self.faults.tactile_frozen {
            for (publisher, taxels) in self.pads.iter().zip(self.world.tactile()) {
                let dimension = |label: &str, size: usize, stride: usize| Dimension {
                    label: label.to_owned(),
                    size: size as u32,
                    stride: stride as u32,
                };
                publisher.put(&Float32MultiArray {
                    layout: Layout {
                        dim: vec![
                            dimension("rows", ROWS, ROWS * COLUMNS * CHANNELS),
                            dimension("columns", COLUMNS, COLUMNS * CHANNELS),
                            dimension("channels", CHANNELS, CHANNELS),
                        ],
                        data_offset: 0,
                    },
                    data: taxels.to_vec(),
                })?;
            }
        }
        if let Some(servos) = &mut self.servos {
            if self.tick.is_multiple_of(u64::from(TICK_HZ / DRIVER_HZ)) {
                servos.cycle(&self.world, now_ns, self.faults.joints_frozen)?;
            }
        } else if !self.faults.joints_frozen {
            let (q, qd) = self.world.joints();
            let (width, speed) = self.world.gripper();
            let grip_n = self.world.tactile().iter().map(crate::tactile::normal_n).sum::<f32>() / 2.0;
            self.joint_states.put(&JointState {
                header: header("base"),
                name: JOINT_NAMES.iter().map(|n| (*n).to_owned()).collect(),
                position: q.iter().copied().chain([width]).collect(),
                velocity: qd.iter().copied().chain([speed]).collect(),
                effort: std::iter::repeat_n(0.0, 7).chain([f64::from(grip_n)]).collect(),
            })?;
        }
        Ok(())
    }

    /// Obeys the newest command if it is fresh at `now_ns`, holds otherwise, and lets 1/240 s pass.
    ///
    /// In real time `now_ns` must be read right before the call: a clock that was read earlier lets a command
    /// pass that has become too old in between.
    pub fn advance(&mut self, now_ns: u64) -> Actuation {
        if let Some(servos) = &self.servos {
            let (actuation, (q, qd, width_m, force_n)) = (servos.actuation(now_ns), servos.goals());
            let arm = servos.stats();
            self.stats.obeyed = arm.obeyed;
            self.stats.refused_late = arm.refused_late;
            self.stats.refused_malformed = arm.refused_malformed;
            self.stats.oldest_obeyed_ns = arm.oldest_obeyed_ns;
            self.stats.waiting += u64::from(actuation == Actuation::Waiting);
            self.move_world(&q, &qd, width_m, force_n);
            return actuation;
        }
        let mut qd = [0.0; 7];
        let actuation = if self.faults.power_off {
            if self.powered {
                self.hold_here();
            }
            self.stats.unpowered += 1;
            Actuation::Unpowered
        } else {
            match self.command.latest() {
                None => {
                    self.stats.waiting += 1;
                    Actuation::Waiting
                }
                Some(sample) => match decode(&sample.value) {
                    None => {
                        if self.last_malformed != Some(sample.sequence) {
                            self.stats.refused_malformed += 1;
                            self.last_malformed = Some(sample.sequence);
                        }
                        Actuation::RefusedMalformed
                    }
                    Some((q, velocity, width, force)) => {
                        let age_ns = now_ns.saturating_sub(sample.value.header.stamp_ns());
                        if age_ns > COMMAND_AGE_LIMIT_NS {
                            self.stats.refused_late += 1;
                            Actuation::RefusedLate { age_ns }
                        } else {
                            self.stats.obeyed += 1;
                            self.stats.oldest_obeyed_ns = self.stats.oldest_obeyed_ns.max(age_ns);
                            self.held = (q, width, force);
                            qd = velocity;
                            Actuation::Obeyed { age_ns, q }
                        }
                    }
                },
            }
        };
        self.powered = !self.faults.power_off;
        let (q, width, force) = self.held;
        self.move_world(&q, &qd, width, force);
        actuation
    }

    fn move_world(&mut self, q: &[f64; 7], qd: &[f64; 7], width_m: f64, force_n: f64) {
        self.world.command(q, qd, width_m, force_n);
        for _ in 0..PHYSICS_HZ / TICK_HZ {
            self.world.step();
        }
        self.tick += 1;
    }
}

type Command = ([f64; 7], [f64; 7], f64, f64);

/// Joint positions, velocities, opening and force of a one-point trajectory; `None` if it is not
/// one for this robot.
fn decode(message: &JointTrajectory) -> Option<Command> {
    let point = message.points.first()?;
    let names_match = message.joint_names.iter().map(String::as_str).eq(JOINT_NAMES);
    let complete = [&point.positions, &point.velocities, &point.effort].iter().all(|v| v.len() == 8);
    if !names_match || !complete {
        return None;
    }
    let finite = point.positions.iter().chain(&point.velocities).chain(&point.effort).all(|v| v.is_finite());
    if !finite {
        return None;
    }
    let q = std::array::from_fn(|i| point.positions[i]);
    let qd = std::array::from_fn(|i| point.velocities[i]);
    Some((q, qd, point.positions[7].clamp(0.0, 0.08), point.effort[7].clamp(0.0, 40.0)))
}
