//! What a self-test puts in the robot's place, and in the place of what its model says.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{Builder, JoinHandle};

use anyhow::{Context, Result};
use reflexarc_drivers::link::Publisher;
use reflexarc_drivers::msg::{Float32MultiArray, Header, Image, JointState, JointTrajectory};
use reflexarc_drivers::{Clock, Link, LinkError, Subscription, Topics};
use reflexarc_vla_model::chunk::{ActionChunk, Ahead};
use reflexarc_vla_model::observation::Observation;
use reflexarc_vla_model::policy::{Milestone, Output, Policy, PolicyError};

use crate::clockwork::{Schedule, monotonic_ns, sleep_until};
use crate::config::Config;

/// How often the stand-in says where its joints are.
const JOINTS_HZ: u32 = 240;
/// One frame of each camera in so many of those periods.
const PERIODS_PER_FRAME: u64 = 4;
/// One frame of each pad likewise.
const PERIODS_PER_TOUCH: u64 = 2;
/// Actions of a chunk that stands still.
const ACTIONS: usize = 50;

/// A robot that is at once where it is told to be, sees noise and feels nothing.
pub(super) struct StandIn {
    cameras: Vec<Publisher<Image>>,
    pads: Vec<Publisher<Float32MultiArray>>,
    joints: Publisher<JointState>,
    commands: Subscription<JointTrajectory>,
    clock: Clock,
    image: Image,
    pad: Float32MultiArray,
    state: JointState,
    heard: Heard,
}

/// What a stand-in was told.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Heard {
    /// Commands that were the newest when it looked.
    pub(super) commands: u64,
    /// The oldest of them on arrival, ns.
    pub(super) oldest_ns: u64,
    /// The furthest that one was from the posture, rad or m.
    pub(super) furthest: f64,
}

impl StandIn {
    /// A robot as `config` describes it, in its posture, with these joints.
    pub(super) fn new(link: &Link, config: &Config, joint_names: &[String]) -> Result<Self> {
        let topics = Topics::new(&config.link.namespace);
        let senses = &config.senses;
        let cameras = senses.cameras.iter().map(|name| link.publisher(&topics.camera(name)));
        let pads = senses.tactile.iter().map(|name| link.publisher(&topics.tactile(name)));
        let (width, height) = (senses.camera_width_px, senses.camera_height_px);
        // The high byte of a linear congruential generator: all that noise must be here is unlike a picture.
        let noise = std::iter::successors(Some(1_u32), |x| Some(x.wrapping_mul(747_796_405).wrapping_add(1)));
        let pixels = noise.map(|x| (x >> 24) as u8).take(width as usize * height as usize * 3).collect();
        let [rows, columns, channels] = senses.tactile_shape;
        let shape = [("rows", rows), ("columns", columns), ("channels", channels)];
        let taxels = rows as usize * columns as usize * channels as usize;
        let mut position = config.robot.posture_rad.clone();
        position.push(config.robot.gripper_max_width_m / 2.0);
        let still = vec![0.0; position.len()];
        let mut name = joint_names.to_vec();
        name.push(config.robot.gripper_joint.clone());
        Ok(Self {
            cameras: cameras.collect::<Result<_, LinkError>>()?,
            pads: pads.collect::<Result<_, LinkError>>()?,
            joints: link.publisher(&topics.joint_states)?,
            commands: link.subscribe(&topics.joint_command)?,
            clock: link.clock().clone(),
            image: Image::rgb8(Header::default(), width, height, pixels)?,
            pad: Float32MultiArray::new(&shape, vec![0.0; taxels])?,
            state: JointState {
                header: Header::default(),
                name,
                position,
                velocity: still.clone(),
                effort: still,
            },
            heard: Heard::default(),
        })
    }

    /// Lives on a thread of its own until `stop`; what it was told comes back.
    pub(super) fn start(mut self, stop: Arc<AtomicBool>) -> Result<JoinHandle<Result<Heard>>> {
        let live = move || {
            let mut schedule = Schedule::new(monotonic_ns(), JOINTS_HZ);
            while !stop.load(Ordering::Acquire) {
                sleep_until(schedule.deadline_ns());
                let slot = schedule.wake(monotonic_ns()).slot;
                self.step(slot)?;
            }
            Ok(self.heard)
        };
        Builder::new().name("stand-in".into()).spawn(live).context("cannot start a thread")
    }

    fn step(&mut self, slot: u64) -> Result<()> {
        if let Some(command) = self.commands.latest_unread()
            && let Some(point) = command.value.points.first()
            && point.positions.len() == self.state.position.len()
        {
            self.heard.commands += 1;
            self.heard.oldest_ns = self.heard.oldest_ns.max(command.age_ns(self.clock.now_ns()));
            for (is, wanted) in self.state.position.iter_mut().zip(&point.positions) {
                self.heard.furthest = self.heard.furthest.max((wanted - *is).abs());
                *is = *wanted;
            }
        }
        let now_ns = self.clock.now_ns();
        if slot.is_multiple_of(PERIODS_PER_FRAME) {
            self.image.header = Header::new(now_ns, "camera");
            self.cameras.iter().try_for_each(|camera| camera.put(&self.image))?;
        }
        if slot.is_multiple_of(PERIODS_PER_TOUCH) {
            self.pads.iter().try_for_each(|pad| pad.put(&self.pad))?;
        }
        self.state.header = Header::new(now_ns, "base");
        Ok(self.joints.put(&self.state)?)
    }
}

/// A policy that computes as its model does and then says: stay where you are. So the loop closes through a model
/// that sees noise, and nobody takes what it says about noise for a result.
pub(super) struct Still {
    /// What computes.
    pub(super) model: Box<dyn Policy>,
    /// Time between two actions, ns.
    pub(super) period_ns: u64,
}

impl Policy for Still {
    fn name(&self) -> &str {
        self.model.name()
    }

    fn instruct(&mut self, instruction: &str) {
        self.model.instruct(instruction);
    }

    fn decide(&mut self, observation: &Observation, ahead: &Ahead) -> Result<Output, PolicyError> {
        self.decide_staged(observation, ahead, &mut |_| ())
    }

    fn decide_staged(
        &mut self,
        observation: &Observation,
        ahead: &Ahead,
        reached: &mut dyn FnMut(Milestone),
    ) -> Result<Output, PolicyError> {
        let _what_it_says = self.model.decide_staged(observation, ahead, reached)?;
        let mut here = observation.joints_rad.clone();
        here.push(observation.gripper_width_m);
        Ok(Output::Chunk(ActionChunk {
            observation_ns: observation.time_ns,
            period_ns: self.period_ns,
            width: here.len(),
            actions: here.repeat(ACTIONS),
        }))
    }
}
