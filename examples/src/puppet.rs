//! A robot without a world: joints that do what they are told, grey cameras, quiet pads. Thousands of
//! simulated seconds a minute, for tests that are about the loop and not about the task.

use anyhow::Result;
use reflexarc_drivers::msg::{BoolMsg, Float32MultiArray, Header, Image, JointState, JointTrajectory};
use reflexarc_drivers::topic::{Topic, Topics};
use reflexarc_drivers::{Link, Publisher, Subscription};
use reflexarc_kinematics::{ARM7_HOME_RAD, Chain, JointLimits};
use reflexarc_runtime::audit::view::SceneCamera;
use reflexarc_runtime::config::Config;
use reflexarc_sim::node::{COMMAND_AGE_LIMIT_NS, JOINT_NAMES, TICK_HZ};
use reflexarc_vla_model::chunk::{ActionChunk, Ahead};
use reflexarc_vla_model::decision::{Color, Decision, Goal, Object, Subtask, ToolTarget, Verdict};
use reflexarc_vla_model::grammar::{parse, tokens_from_verdict};
use reflexarc_vla_model::observation::Observation;
use reflexarc_vla_model::policy::{Output, Policy, PolicyError};

/// Side of the cameras' images, pixels: as small as a test wants them.
pub const SIDE_PX: u32 = 8;

/// How much faster the servos are than the runtime may ask for.
const SERVO_RESERVE: f64 = 1.5;

/// The robot's side of the link, and the operator's buttons.
pub struct Puppet {
    /// Where the joints are, rad, then the opening, m.
    pub positions: [f64; 8],
    /// The joints stay where they are, whatever they are told.
    pub stuck: bool,
    /// The stop button.
    pub estop: Publisher<BoolMsg>,
    /// The enabling switch.
    pub enable: Publisher<BoolMsg>,
    /// The reset button.
    pub reset: Publisher<BoolMsg>,
    cameras: [Publisher<Image>; 2],
    pads: [Publisher<Float32MultiArray>; 2],
    joints: Publisher<JointState>,
    command: Subscription<JointTrajectory>,
    limits: Vec<JointLimits>,
    image: Image,
    pad: Float32MultiArray,
    refused: u64,
}

/// A configuration for cameras as small as a puppet's.
#[must_use]
pub fn config() -> Config {
    let mut config = Config::default();
    (config.senses.camera_width_px, config.senses.camera_height_px) = (SIDE_PX, SIDE_PX);
    config
}

impl Puppet {
    /// A robot in its home posture.
    ///
    /// # Errors
    /// When the link refuses.
    pub fn new(link: &Link, topics: &Topics, chain: &Chain) -> Result<Self> {
        let mut positions = [0.08; 8];
        positions[..7].copy_from_slice(&ARM7_HOME_RAD);
        let safety = |topic: &Topic<BoolMsg>| link.publisher(topic);
        Ok(Self {
            positions,
            stuck: false,
            estop: safety(&topics.estop)?,
            enable: safety(&topics.enable)?,
            reset: safety(&topics.reset)?,
            cameras: [link.publisher(&topics.camera("scene"))?, link.publisher(&topics.camera("wrist"))?],
            pads: [link.publisher(&topics.tactile("left"))?, link.publisher(&topics.tactile("right"))?],
            joints: link.publisher(&topics.joint_states)?,
            command: link.subscribe(&topics.joint_command)?,
            limits: chain.limits().to_vec(),
            image: Image::rgb8(
                Header::default(),
                SIDE_PX,
                SIDE_PX,
                vec![90; (SIDE_PX * SIDE_PX * 3) as usize],
            )?,
            pad: Float32MultiArray::new(&[("rows", 4), ("columns", 4), ("channels", 3)], vec![0.0; 48])?,
            refused: 0,
        })
    }

    /// Commands that were too old or malformed, tick by tick.
    #[must_use]
    pub fn refused(&self) -> u64 {
        self.refused
    }

    /// As servos do: no faster than they can, and never beyond their stops.
    fn follow(&mut self, wanted: &[f64]) {
        if self.stuck {
            return;
        }
        let tick_s = 1.0 / f64::from(TICK_HZ);
        for ((q, wanted), limits) in self.positions.iter_mut().zip(wanted).zip(&self.limits) {
            let most = SERVO_RESERVE * limits.velocity_rad_s * tick_s;
            *q = (*q + (wanted - *q).clamp(-most, most)).clamp(limits.lower_rad, limits.upper_rad);
        }
        self.positions[7] = wanted[7].clamp(0.0, 0.08);
    }

    /// Obeys the newest command if it is fresh and sound, as the simulator does; then publishes the senses
    /// that are due at `tick`.
    ///
    /// # Errors
    /// When the link has gone.
    pub fn step(&mut self, tick: u64, now_ns: u64) -> Result<()> {
        if let Some(sample) = self.command.latest() {
            let point = sample.value.points.first();
            let sound = point
                .filter(|point| point.positions.len() == 8 && point.positions.iter().all(|q| q.is_finite()));
            let age_ns = now_ns.saturating_sub(sample.value.header.stamp_ns());
            match sound {
                Some(point) if age_ns <= COMMAND_AGE_LIMIT_NS => {
                    self.follow(&point.positions);
                }
                _ => self.refused += 1,
            }
        }
        if tick.is_multiple_of(4) {
            self.image.header = Header::new(now_ns, "camera");
            for camera in &self.cameras {
                camera.put(&self.image)?;
            }
        }
        if tick.is_multiple_of(2) {
            for pad in &self.pads {
                pad.put(&self.pad)?;
            }
        }
        self.joints.put(&JointState {
            header: Header::new(now_ns, "base"),
            name: JOINT_NAMES.iter().map(|name| (*name).to_owned()).collect(),
            position: self.positions.to_vec(),
            velocity: vec![0.0; 8],
            effort: vec![0.0; 8],
        })?;
        Ok(())
    }
}

/// What a puppet's policy wants: one reachable target after another, for a second each.
#[derive(Clone, Debug)]
pub struct Wanderer {
    /// Says chunks of joint targets instead of goals.
    pub chunks: bool,
    /// The targets, in turn.
    pub targets: Vec<[f64; 3]>,
}

impl Wanderer {
    fn target(&self, time_ns: u64) -> [f64; 3] {
        let index = (time_ns / 1_000_000_000) as usize;
        self.targets.get(index % self.targets.len().max(1)).copied().unwrap_or([0.5, 0.0, 0.2])
    }
}

impl Policy for Wanderer {
    fn name(&self) -> &str {
        "wanderer"
    }

    fn instruct(&mut self, _: &str) {}

    fn decide(&mut self, observation: &Observation, _: &Ahead) -> Result<Output, PolicyError> {
        let position_m = self.target(observation.time_ns);
        if self.chunks {
            // A slow sway of all joints about the home posture, 50 actions a second.
            let period_ns = 20_000_000;
            let actions = (0..100_u64).flat_map(|index| {
                let t_s = (observation.time_ns + index * period_ns) as f64 / 1e9;
                let sway = 0.2 * (t_s * 1.5).sin();
                ARM7_HOME_RAD.iter().map(move |q| (q + sway) as f32).chain([0.05])
            });
            return Ok(Output::Chunk(ActionChunk {
                observation_ns: observation.time_ns,
                period_ns,
                width: 8,
                actions: actions.collect(),
            }));
        }
        let [x, y, z] = position_m;
        // As if an object stood below the target: the audit compares the two.
        let exact = Verdict::Act {
            plan: vec![Goal::Pick { color: Color::Red, object: Object::Mug }],
            subtask: Subtask::Reach,
            target: ToolTarget { position_m, yaw_rad: 0.3, gripper_width_m: 0.06, gripper_force_n: 10.0 },
            pixel_uv: SceneCamera::new(&Config::default()).pixel_of([x, y, z.min(0.05)]),
        };
        let tokens = tokens_from_verdict(&exact)
            .map_err(|error| PolicyError::Instruction { reason: error.to_string() })?;
        let verdict = parse(&tokens).unwrap_or(exact);
        Ok(Output::Goals(Decision { tokens, verdict, confidence: 0.9, observation_ns: observation.time_ns }))
    }
}
