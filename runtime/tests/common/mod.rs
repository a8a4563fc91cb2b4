//! A robot made of nothing but joints that follow their commands, and a policy that says what it
//! is told: enough to watch the loop from outside.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    dead_code,
    missing_docs,
    unreachable_pub,
    reason = "tests fail by panicking, and not every test file uses every helper"
)]

use std::sync::{Arc, Mutex};

use reflexarc_drivers::msg::{
    BoolMsg, Float32MultiArray, Header, Image, JointState, JointTrajectory, StringMsg,
};
use reflexarc_drivers::{Bus, Clock, Link, Publisher, Subscription, Topics};
use reflexarc_kinematics::ARM7_HOME_RAD;
use reflexarc_runtime::audit::view::SceneCamera;
use reflexarc_runtime::reflex::Command;
use reflexarc_runtime::{Config, Mode, Runtime};
use reflexarc_vla_model::chunk::{ActionChunk, Ahead};
use reflexarc_vla_model::decision::{
    Color, Decision, Goal, Infeasible, Object, Subtask, ToolTarget, Verdict,
};
use reflexarc_vla_model::grammar::{parse, tokens_from_verdict};
use reflexarc_vla_model::observation::Observation;
use reflexarc_vla_model::policy::{Output, Policy, PolicyError};

pub const HZ: u64 = 240;
/// Not zero, so that ages cannot saturate at the epoch.
pub const START_NS: u64 = 1_000_000_000;

pub fn tick_ns(tick: u64) -> u64 {
    START_NS + tick * 1_000_000_000 / HZ
}

/// A decision whose tokens and meaning agree.
pub fn act(subtask: Subtask, position_m: [f64; 3], yaw_rad: f64, width_m: f64, force_n: f64) -> Verdict {
    // Above an object that stands on the table, or at it.
    let [x, y, z] = position_m;
    let seen_m = if subtask == Subtask::Reach { [x, y, z.min(0.05)] } else { position_m };
    let exact = Verdict::Act {
        plan: vec![Goal::Pick { color: Color::Red, object: Object::Mug }],
        subtask,
        target: ToolTarget { position_m, yaw_rad, gripper_width_m: width_m, gripper_force_n: force_n },
        pixel_uv: SceneCamera::new(&Config::default()).pixel_of(seen_m),
    };
    parse(&tokens_from_verdict(&exact).unwrap()).unwrap()
}

pub fn reach() -> Verdict {
    act(Subtask::Reach, [0.5, 0.1, 0.15], 0.3, 0.08, 10.0)
}

pub fn decide(verdict: Verdict, observation_ns: u64) -> Decision {
    let tokens = tokens_from_verdict(&verdict).unwrap();
    Decision { tokens, verdict, confidence: 0.9, observation_ns }
}

/// What the policy of a test says; the test may change it at any time.
#[derive(Clone)]
pub struct Script {
    pub say: Arc<Mutex<Say>>,
    pub log: Arc<Mutex<Log>>,
}

#[derive(Clone)]
pub enum Say {
    Verdict(Verdict),
    /// A decision passed on as it is, only its time filled in.
    Raw(Decision),
    /// A chunk of actions, values of one after those of the other, 50 a second.
    Actions(Vec<f32>),
    /// Any output, about an observation so much older than the one asked about, ns.
    Aged(Output, i64),
    Error,
    Panic,
}

#[derive(Default)]
pub struct Log {
    pub asked: u64,
    pub instructions: Vec<String>,
    /// Time of each observation, and what the policy was told to be ahead.
    pub ahead: Vec<(u64, Ahead)>,
}

impl Script {
    pub fn new(verdict: Verdict) -> Self {
        Self { say: Arc::new(Mutex::new(Say::Verdict(verdict))), log: Arc::default() }
    }

    pub fn says(&self, say: Say) {
        *self.say.lock().unwrap() = say;
    }

    pub fn asked(&self) -> u64 {
        self.log.lock().unwrap().asked
    }
}

impl Policy for Script {
    fn name(&self) -> &str {
        "script"
    }

    fn instruct(&mut self, instruction: &str) {
        self.log.lock().unwrap().instructions.push(instruction.to_owned());
    }

    fn decide(&mut self, observation: &Observation, ahead: &Ahead) -> Result<Output, PolicyError> {
        let mut log = self.log.lock().unwrap();
        log.asked += 1;
        log.ahead.push((observation.time_ns, ahead.clone()));
        // Not held while matching: one arm panics.
        let say = self.say.lock().unwrap().clone();
        match say {
            Say::Verdict(verdict) => Ok(Output::Goals(decide(verdict, observation.time_ns))),
            Say::Raw(decision) => {
                Ok(Output::Goals(Decision { observation_ns: observation.time_ns, ..decision }))
            }
            Say::Actions(actions) => Ok(Output::Chunk(ActionChunk {
                observation_ns: observation.time_ns,
                period_ns: 20_000_000,
                width: 8,
                actions,
            })),
            Say::Aged(mut output, age) => {
                let observation_ns = observation.time_ns.saturating_add_signed(age.saturating_neg());
                match &mut output {
                    Output::Goals(decision) => decision.observation_ns = observation_ns,
                    Output::Chunk(chunk) => chunk.observation_ns = observation_ns,
                }
                Ok(output)
            }
            Say::Error => Err(PolicyError::NoInstruction),
            Say::Panic => {
                // This lock is let go first: the test goes on.
                drop(log);
                panic!("a panic on purpose")
            }
        }
    }
}

/// Which senses the plant sends; a test switches them off one by one.
#[derive(Clone, Copy)]
pub struct Sends {
    pub scene: bool,
    pub wrist: bool,
    pub left: bool,
    pub right: bool,
    pub joints: bool,
    /// Brightness of the images.
    pub pixel: u8,
    /// Normal force on every taxel, N.
    pub normal_n: f32,
    /// Shear across the finger on every taxel, N.
    pub shear_n: f32,
    /// Joints stay where they are whatever is commanded.
    pub stuck: bool,
    /// Added to every stamp, ns.
    pub ahead_ns: u64,
    /// Taken off every stamp, ns.
    pub behind_ns: u64,
}

impl Default for Sends {
    fn default() -> Self {
        Self {
            scene: true,
            wrist: true,
            left: true,
            right: true,
            joints: true,
            pixel: 90,
            normal_n: 0.0,
            shear_n: 0.0,
            stuck: false,
            ahead_ns: 0,
            behind_ns: 0,
        }
    }
}

/// The robot's side of the link: perfect joints, grey cameras, quiet pads.
pub struct Plant {
    pub link: Link,
    pub sends: Sends,
    pub q: Vec<f64>,
    pub width_m: f64,
    pub force_n: f64,
    pub commands: u64,
    scene: Publisher<Image>,
    wrist: Publisher<Image>,
    left: Publisher<Float32MultiArray>,
    right: Publisher<Float32MultiArray>,
    joints: Publisher<JointState>,
    command: Subscription<JointTrajectory>,
    pub estop: Publisher<BoolMsg>,
    pub enable: Publisher<BoolMsg>,
    pub reset: Publisher<BoolMsg>,
    pub instruction: Publisher<StringMsg>,
    last_command: i64,
}

impl Plant {
    pub fn new(link: Link) -> Self {
        let topics = Topics::new("");
        Self {
            sends: Sends::default(),
            q: ARM7_HOME_RAD.to_vec(),
            width_m: 0.08,
            force_n: 0.0,
            commands: 0,
            scene: link.publisher(&topics.camera("scene")).unwrap(),
            wrist: link.publisher(&topics.camera("wrist")).unwrap(),
            left: link.publisher(&topics.tactile("left")).unwrap(),
            right: link.publisher(&topics.tactile("right")).unwrap(),
            joints: link.publisher(&topics.joint_states).unwrap(),
            command: link.subscribe(&topics.joint_command).unwrap(),
            estop: link.publisher(&topics.estop).unwrap(),
            enable: link.publisher(&topics.enable).unwrap(),
            reset: link.publisher(&topics.reset).unwrap(),
            instruction: link.publisher(&topics.instruction).unwrap(),
            last_command: 0,
            link,
        }
    }

    pub fn joint_state(&self, now_ns: u64) -> JointState {
        let mut name: Vec<String> = (1..=7).map(|joint| format!("joint{joint}")).collect();
        name.push("gripper".into());
        let mut position = self.q.clone();
        position.push(self.width_m);
        JointState {
            header: Header::new(now_ns, ""),
            name,
            velocity: vec![0.0; position.len()],
            effort: vec![0.0; position.len()],
            position,
        }
    }

    pub fn send_joints(&self, state: &JointState) {
        self.joints.put(state).unwrap();
    }

    /// Takes the newest command, then publishes the senses that are due at `tick`.
    pub fn step(&mut self, tick: u64, now_ns: u64) {
        if let Some(sample) = self.command.latest().filter(|sample| sample.sequence != self.last_command) {
            self.last_command = sample.sequence;
            self.commands += 1;
            let point = &sample.value.points[0];
            if !self.sends.stuck {
                self.q.copy_from_slice(&point.positions[..7]);
            }
            self.width_m = point.positions[7];
            self.force_n = point.effort[7];
        }
        let stamp_ns = now_ns + self.sends.ahead_ns - self.sends.behind_ns;
        let image = || {
            let data = vec![self.sends.pixel; 96 * 96 * 3];
            Image::rgb8(Header::new(stamp_ns, "camera"), 96, 96, data).unwrap()
        };
        let pad = || {
            let taxel = [self.sends.shear_n, 0.0, self.sends.normal_n];
            let data = (0..48).map(|i| taxel[i % 3]).collect();
            Float32MultiArray::new(&[("rows", 4), ("columns", 4), ("channels", 3)], data).unwrap()
        };
        if tick.is_multiple_of(4) {
            if self.sends.scene {
                self.scene.put(&image()).unwrap();
            }
            if self.sends.wrist {
                self.wrist.put(&image()).unwrap();
            }
        }
        if tick.is_multiple_of(2) {
            if self.sends.left {
                self.left.put(&pad()).unwrap();
            }
            if self.sends.right {
                self.right.put(&pad()).unwrap();
            }
        }
        if self.sends.joints {
            self.send_joints(&self.joint_state(stamp_ns));
        }
    }
}

/// Plant and runtime in lockstep on one bus.
pub struct Rig {
    pub clock: Clock,
    pub plant: Plant,
    pub runtime: Runtime,
    pub script: Script,
    pub tick: u64,
}

impl Rig {
    pub fn new(config: Config, verdict: Verdict) -> Self {
        let bus = Bus::new();
        let clock = Clock::manual(START_NS);
        let plant = Plant::new(Link::in_process(&bus, clock.clone()));
        let link = Link::in_process(&bus, clock.clone());
        let script = Script::new(verdict);
        let runtime = Runtime::new(config, link, Box::new(script.clone())).unwrap();
        Self { clock, plant, runtime, script, tick: 0 }
    }

    pub fn now_ns(&self) -> u64 {
        tick_ns(self.tick)
    }

    pub fn step(&mut self) -> Command {
        let now_ns = self.now_ns();
        self.clock.set_ns(now_ns);
        self.plant.step(self.tick, now_ns);
        self.tick += 1;
        self.runtime.step(now_ns)
    }

    pub fn run(&mut self, ticks: u64) -> Command {
        let mut last = None;
        for _ in 0..ticks {
            last = Some(self.step());
        }
        last.unwrap()
    }

    /// Runs until the mode is active, at most a second.
    pub fn until_active(&mut self) {
        for _ in 0..HZ {
            if self.step().mode == Mode::Active {
                return;
            }
        }
        panic!("not active after a second: {}", self.runtime.mode());
    }
}

pub fn infeasible(reason: Infeasible) -> Verdict {
    Verdict::Infeasible(reason)
}
