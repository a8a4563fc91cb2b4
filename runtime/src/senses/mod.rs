//! The senses: newest values from the link, checked once each, with their ages.
//!
//! Each new message is judged when it is first seen: its stamp ([`stamps`]) and its content ([`content`]). What fails
//! is counted and otherwise ignored, so the last good value simply grows old; what is too old is a
//! [`SenseFault`]. Age counts from capture and from arrival, whichever is more.
//!
//! **Presence.** A *required* sense that is not fresh makes the whole snapshot unfit: nothing is fed to the policy and
//! the arm holds. An *optional* one may go: the policy gets a black image or an untouched pad in its place, so that
//! what it sees keeps its layout, and the failsafe warns and slows. Joint states are always required, and so is one
//! camera at least.
//!
//! **Time.** An observation is dated by the oldest of its camera frames, and the joint state that goes with it is that
//! of the same moment, out of a ring of past states ([`history`]): measured then, or in proportion between the two
//! states around it. Frames too far apart are a fault ([`SenseFault::Skewed`]). In lockstep frames and joint states are
//! of one moment, and alignment changes nothing.
//!
//! [`Senses::read`] neither allocates nor blocks. Its work is bounded by the number of senses and,
//! for a frame that has just arrived, by the frame's size.

mod content;
mod history;
mod sense;
mod stamps;

use std::sync::Arc;

use nalgebra::Isometry3;
use reflexarc_drivers::msg::{BoolMsg, Float32MultiArray, Image, JointState};
use reflexarc_drivers::topic::Topics;
use reflexarc_drivers::{Link, LinkError, Sample, Subscription, SubscriptionStats};
use reflexarc_kinematics::{Chain, Joints};
use reflexarc_vla_model::observation::{Camera, Observation, Tactile, ToolPose};
use serde::{Deserialize, Serialize};

use crate::chunk::Playing;
use crate::config::{Config, MAX_CAMERAS, MAX_PADS, SenseConfig};
use crate::interlock::Uncalibrated;
use crate::modes::{SenseFault, SenseId};
use content::{Refused, read_image, read_joints, read_pad};
use history::{History, Met};
use sense::Sense;
use stamps::StampRules;

/// Most senses a robot can have: joints, cameras, pads.
pub const MAX_SENSES: usize = 1 + MAX_CAMERAS + MAX_PADS;

/// What became of the messages of one sense that were looked at. Messages that were replaced by a
/// newer one before the loop looked are in [`SubscriptionStats`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SenseCounts {
    /// Good and used.
    pub accepted: u64,
    /// Refused: stamp too far in the future.
    pub future: u64,
    /// Refused: stamp before the last accepted one.
    pub backwards: u64,
    /// Refused: wrong size, encoding or layout.
    pub shape: u64,
    /// Refused: a joint is missing or named twice.
    pub names: u64,
    /// Refused: NaN or infinity.
    pub non_finite: u64,
    /// Refused: far outside the possible.
    pub range: u64,
    /// Refused: the stamp of the last accepted one again.
    pub repeated: u64,
    /// Times that the source's clock jumped, either way.
    pub jumps: u64,
    /// Times that a source whose clock had jumped was believed again, with or without a correction.
    pub resyncs: u64,
    /// Times that the newest value became too old.
    pub went_stale: u64,
    /// Observations for which it was out of step: a camera further behind another one than allowed; joint states none
    /// of which belong to the time of the camera frames.
    pub unaligned: u64,
}

impl SenseCounts {
    /// All refusals.
    #[must_use]
    pub fn refused(&self) -> u64 {
        self.future + self.backwards + self.repeated + self.shape + self.names + self.non_finite + self.range
    }

    /// Every counter by name, in a fixed order.
    #[must_use]
    pub fn named(&self) -> [(&'static str, u64); 12] {
        [
            ("accepted", self.accepted),
            ("future", self.future),
            ("backwards", self.backwards),
            ("repeated", self.repeated),
            ("shape", self.shape),
            ("names", self.names),
            ("non_finite", self.non_finite),
            ("range", self.range),
            ("clock_jumps", self.jumps),
            ("clock_resyncs", self.resyncs),
            ("went_stale", self.went_stale),
            ("unaligned", self.unaligned),
        ]
    }
}

/// Which message of a sense was looked at last, and what it led to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seen {
    /// Number of the newest message looked at, as in [`Sample::arrival`]; 0 for none.
    pub arrival: u64,
    /// Capture time of the newest good one by our clock, ns; 0 for none.
    pub stamp_ns: u64,
}

/// Counters of one topic: what the link saw and what the senses made of it.
#[derive(Clone, Copy, Debug, Default)]
pub struct TopicStats {
    /// The sense's own counters.
    pub sense: SenseCounts,
    /// The link's counters.
    pub link: SubscriptionStats,
    /// Capture time of the newest usable value, ns; absent where there has been none.
    pub newest_ns: Option<u64>,
    /// How old it may be, ns.
    pub limit_ns: u64,
}

/// The arm's own state.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Body {
    /// Stamp of the reading, ns.
    pub stamp_ns: u64,
    /// Joint positions in the chain's order, rad.
    pub q: Joints,
    /// Opening between the fingers, m.
    pub gripper_width_m: f64,
    /// Pose of the tool by forward kinematics.
    pub base_from_tool: Isometry3<f64>,
}

/// What a pad feels as a whole.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Touch {
    /// Sum of the normal forces, N.
    pub normal_n: f64,
    /// Sum of the shear forces across and along the finger, N; zero for pads without shear channels.
    pub shear_n: [f64; 2],
    /// Number of the frame that says so; 0 for a pad not seen.
    pub frame: u64,
}

/// One moment of all senses. Cloning it copies references, not images.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// Number of the tick that took it, from 1; 0 outside of a loop.
    pub tick: u64,
    /// When it was taken, ns.
    pub now_ns: u64,
    /// The arm's state, if ever seen.
    pub body: Option<Body>,
    /// Whether all of it is good enough to act on.
    pub health: Result<(), SenseFault>,
    /// An optional sense that is not fresh, if one is.
    pub optional_lost: Option<SenseId>,
    /// A sense whose source's clock jumped or has not settled since, if one did.
    pub clock_jumped: Option<SenseId>,
    /// A sense whose source's stamps are corrected, if they are.
    pub clock_corrected: Option<SenseId>,
    /// Whether the robot is the one described, and says that it is calibrated where that is asked for.
    pub calibration: Result<(), Uncalibrated>,
    /// What each pad feels; nothing for a pad that is not fresh.
    pub touch: [Touch; MAX_PADS],
    /// The arm's state at [`Snapshot::observation_ns`]: what the policy gets.
    pub aligned: Option<Body>,
    /// Capture time of the oldest of the newest camera frames, ns: the time that a decision answers.
    pub observation_ns: u64,
    /// When that frame arrived, by the link's clock, ns; absent before the first one.
    pub received_ns: Option<u64>,
    /// What of a chunk was being executed at the time of the observation.
    pub playing: Option<Playing>,
    /// Number of the newest chunk that the reflex has been given.
    pub heard: u64,
    cameras: [Option<Arc<Sample<Image>>>; MAX_CAMERAS],
    pads: [Option<Arc<Sample<Float32MultiArray>>>; MAX_PADS],
}

impl Snapshot {
    /// A moment without any cameras or pads: for the reflex, which does not look at them.
    #[must_use]
    pub fn of_body(now_ns: u64, body: Body) -> Self {
        Self {
            now_ns,
            body: Some(body),
            aligned: Some(body),
            health: Ok(()),
            observation_ns: now_ns,
            ..Self::nothing()
        }
    }

    /// A moment in which nothing has ever been sensed.
    #[must_use]
    pub fn nothing() -> Self {
        Self {
            tick: 0,
            now_ns: 0,
            body: None,
            health: Err(SenseFault::NeverSeen { which: SenseId::Joints }),
            optional_lost: None,
            clock_jumped: None,
            clock_corrected: None,
            calibration: Ok(()),
            touch: [Touch::default(); MAX_PADS],
            aligned: None,
            observation_ns: 0,
            received_ns: None,
            playing: None,
            heard: 0,
            cameras: [const { None }; MAX_CAMERAS],
            pads: [const { None }; MAX_PADS],
        }
    }

    /// How old the observation is, ns; absent before the first one.
    #[must_use]
    pub fn observation_age_ns(&self) -> Option<u64> {
        self.received_ns.map(|_| self.now_ns.saturating_sub(self.observation_ns))
    }

    /// What the policy gets to see, or `None` while the senses are not good enough.
    /// Copies the images; off the hot path.
    #[must_use]
    pub fn observation(&self, config: &SenseConfig) -> Option<Observation> {
        self.health.ok()?;
        let body = self.aligned?;
        let (width, height) = (config.camera_width_px as usize, config.camera_height_px as usize);
        let pad_len = config.tactile_shape.iter().map(|side| *side as usize).product();
        let position = body.base_from_tool.translation.vector;
        let rotation = body.base_from_tool.rotation.coords;
        Some(Observation {
            time_ns: self.observation_ns,
            cameras: config
                .cameras
                .iter()
                .zip(&self.cameras)
                .map(|(name, sample)| Camera {
                    name: name.clone(),
                    width,
                    height,
                    rgb: sample
                        .as_ref()
                        .map_or_else(|| vec![0; width * height * 3], |sample| sample.value.data.clone()),
                })
                .collect(),
            tactile: config
                .tactile
                .iter()
                .zip(&self.pads)
                .map(|(name, sample)| Tactile {
                    name: name.clone(),
                    taxels_n: sample
                        .as_ref()
                        .map_or_else(|| vec![0.0; pad_len], |sample| sample.value.data.clone()),
                })
                .collect(),
            joints_rad: body.q.iter().map(|q| *q as f32).collect(),
            gripper_width_m: body.gripper_width_m as f32,
            base_from_tool: ToolPose {
                position_m: [position.x as f32, position.y as f32, position.z as f32],
                rotation_xyzw: [rotation.x as f32, rotation.y as f32, rotation.z as f32, rotation.w as f32],
            },
        })
    }
}

/// All senses of one robot.
pub struct Senses {
    chain: Chain,
    config: SenseConfig,
    gripper_joint: String,
    gripper_max_width_m: f64,
    joints: Sense<JointState, Body>,
    history: History,
    cameras: Vec<Sense<Image, bool>>,
    pads: Vec<Sense<Float32MultiArray, Touch>>,
    calibrated: Option<Subscription<BoolMsg>>,
    /// The message of `calibrated` that was looked at last, as in [`Sample::arrival`].
    calibrated_seen: u64,
    aligned_ns: u64,
}

impl Senses {
    /// Subscribes to everything that the configuration names.
    ///
    /// # Errors
    /// [`LinkError`] if the link refuses a subscription.
    pub fn new(link: &Link, topics: &Topics, config: &Config, chain: Chain) -> Result<Self, LinkError> {
        let senses = &config.senses;
        let ns = |ms: u64| ms.saturating_mul(1_000_000);
        let rules = |limit_ms: u64| StampRules {
            future_ns: ns(senses.future_tolerance_ms),
            jump_ns: ns(senses.clock_jump_ms),
            resync_ns: ns(senses.clock_resync_ms),
            limit_ns: ns(limit_ms),
        };
        let mut cameras = Vec::new();
        for (index, name) in senses.cameras.iter().enumerate().take(MAX_CAMERAS) {
            let required = !senses.optional_cameras.contains(name);
            let subscription = link.subscribe(&topics.camera(name))?;
            let id = SenseId::Camera(index as u8);
            cameras.push(Sense::new(id, required, subscription, rules(senses.camera_max_age_ms)));
        }
        let mut pads = Vec::new();
        for (index, name) in senses.tactile.iter().enumerate().take(MAX_PADS) {
            let required = !senses.optional_tactile.contains(name);
            let subscription = link.subscribe(&topics.tactile(name))?;
            let id = SenseId::Pad(index as u8);
            pads.push(Sense::new(id, required, subscription, rules(senses.tactile_max_age_ms)));
        }
        let joints = link.subscribe(&topics.joint_states)?;
        let calibrated = match config.safety.require_calibrated {
            true => Some(link.subscribe(&topics.calibrated)?),
            false => None,
        };
        Ok(Self {
            chain,
            config: senses.clone(),
            gripper_joint: config.robot.gripper_joint.clone(),
            gripper_max_width_m: config.robot.gripper_max_width_m,
            joints: Sense::new(SenseId::Joints, true, joints, rules(senses.joints_max_age_ms)),
            history: History::new(),
            cameras,
            pads,
            calibrated,
            calibrated_seen: 0,
            aligned_ns: 0,
        })
    }

    /// Takes the newest values and judges the new ones.
    pub fn read(&mut self, now_ns: u64) -> Snapshot {
        let mut snapshot = Snapshot { now_ns, health: Ok(()), ..Snapshot::nothing() };
        let (chain, gripper) = (&self.chain, self.gripper_joint.as_str());
        let width_max_m = self.gripper_max_width_m;
        let look = self.joints.look(now_ns, |state| read_joints(chain, gripper, width_max_m, state));
        snapshot.body =
            self.joints.accepted().map(|joints| Body { stamp_ns: joints.capture_ns, ..joints.extract });
        if let (true, Some(body)) = (look.new, snapshot.body) {
            self.history.push(body);
        }
        note(&mut snapshot, &self.joints, look);
        self.read_cameras(now_ns, &mut snapshot);
        self.align(&mut snapshot);
        let config = &self.config;
        for (index, sense) in self.pads.iter_mut().enumerate() {
            let look = sense.look(now_ns, |array| read_pad(config, array));
            note(&mut snapshot, sense, look);
            if let (Some(pad), Ok(())) = (sense.accepted(), look.health) {
                snapshot.touch[index] = Touch { frame: sense.counts.accepted, ..pad.extract };
                snapshot.pads[index] = Some(Arc::clone(&pad.sample));
            }
        }
        snapshot.calibration = self.calibration();
        snapshot
    }

    fn read_cameras(&mut self, now_ns: u64, snapshot: &mut Snapshot) {
        let config = &self.config;
        let (mut fresh, mut black) = (0, 0);
        let (mut oldest_ns, mut newest_ns) = (u64::MAX, 0);
        let mut behind = 0;
        for (index, sense) in self.cameras.iter_mut().enumerate() {
            let look = sense.look(now_ns, |image| read_image(config, image));
            note(snapshot, sense, look);
            if let (Some(camera), Ok(())) = (sense.accepted(), look.health) {
                if camera.capture_ns < oldest_ns {
                    (oldest_ns, behind) = (camera.capture_ns, index);
                    snapshot.received_ns = Some(camera.sample.received_ns);
                }
                newest_ns = newest_ns.max(camera.capture_ns);
                fresh += 1;
                black += usize::from(camera.extract);
                snapshot.cameras[index] = Some(Arc::clone(&camera.sample));
            }
        }
        snapshot.observation_ns = oldest_ns.min(now_ns);
        let skew_ns = newest_ns.saturating_sub(oldest_ns);
        let limit_ns = config.camera_skew_ms.saturating_mul(1_000_000);
        if skew_ns > limit_ns {
            if snapshot.observation_ns != self.aligned_ns {
                self.cameras[behind].counts.unaligned += 1;
            }
            let which = self.cameras[behind].id;
            snapshot.health = snapshot.health.and(Err(SenseFault::Skewed { which, skew_ns, limit_ns }));
        }
        if fresh > 0 && black == fresh {
            snapshot.health = snapshot.health.and(Err(SenseFault::Black));
        }
    }

    /// The arm's state at the time of the observation, unless none is known that is near enough.
    fn align(&mut self, snapshot: &mut Snapshot) {
        let limit_ns = self.config.joints_max_age_ms.saturating_mul(1_000_000);
        let met = self.history.at(snapshot.observation_ns, &self.chain);
        snapshot.aligned = match met {
            Some((body, Met::Exactly | Met::Between)) => Some(body),
            Some((body, Met::Beside(apart_ns))) if apart_ns <= limit_ns => Some(body),
            Some((_, Met::Beside(_))) | None => None,
        };
        if snapshot.observation_ns != self.aligned_ns {
            self.aligned_ns = snapshot.observation_ns;
            self.joints.counts.unaligned += u64::from(met.is_some() && snapshot.aligned.is_none());
        }
    }

    fn calibration(&mut self) -> Result<(), Uncalibrated> {
        if let Some(calibrated) = &mut self.calibrated {
            let said = calibrated.latest();
            self.calibrated_seen = said.as_ref().map_or(0, |said| said.arrival);
            if !said.is_some_and(|said| said.value.data) {
                return Err(Uncalibrated::NotSaid);
            }
        }
        match (self.joints.accepted(), self.joints.last_refused) {
            (Some(joints), _) => {
                let (expected, found) = (self.chain.dof() + 1, joints.sample.value.name.len());
                if found == expected {
                    return Ok(());
                }
                let found = u16::try_from(found).unwrap_or(u16::MAX);
                Err(Uncalibrated::Count { expected: expected as u8, found })
            }
            (None, Some(Refused::Names | Refused::Shape)) => Err(Uncalibrated::Names),
            (None, Some(Refused::Range | Refused::NonFinite)) => Err(Uncalibrated::Range),
            (None, None) => Ok(()),
        }
    }

    /// The counters of every sense, in the order of [`Senses::names`]; unused entries are zero.
    #[must_use]
    pub fn stats(&self) -> [TopicStats; MAX_SENSES] {
        let mut all = [TopicStats::default(); MAX_SENSES];
        let stats = std::iter::once(self.joints.stats())
            .chain(self.cameras.iter().map(Sense::stats))
            .chain(self.pads.iter().map(Sense::stats));
        for (entry, stats) in all.iter_mut().zip(stats) {
            *entry = stats;
        }
        all
    }

    /// Which message of every sense was looked at last, in the order of [`Senses::names`]; unused entries
    /// are zero.
    #[must_use]
    pub fn seen(&self) -> [Seen; MAX_SENSES] {
        let mut all = [Seen::default(); MAX_SENSES];
        let seen = std::iter::once(self.joints.seen())
            .chain(self.cameras.iter().map(Sense::seen))
            .chain(self.pads.iter().map(Sense::seen));
        for (entry, seen) in all.iter_mut().zip(seen) {
            *entry = seen;
        }
        all
    }

    /// Number of arrival of the message on `calibrated` that was looked at last; 0 for none.
    #[must_use]
    pub fn calibrated_seen(&self) -> u64 {
        self.calibrated_seen
    }

    /// Topic of every sense: joints, cameras, pads.
    #[must_use]
    pub fn names(config: &SenseConfig) -> Vec<String> {
        std::iter::once("joint_states".to_owned())
            .chain(config.cameras.iter().map(|name| format!("camera/{name}/image_raw")))
            .chain(config.tactile.iter().map(|name| format!("tactile/{name}/taxels")))
            .collect()
    }
}

/// Writes down what one look brought.
fn note<M: reflexarc_drivers::Message, T>(snapshot: &mut Snapshot, sense: &Sense<M, T>, look: sense::Look) {
    if look.jumped {
        snapshot.clock_jumped.get_or_insert(sense.id);
    }
    if sense.corrected() {
        snapshot.clock_corrected.get_or_insert(sense.id);
    }
    match look.health {
        Ok(()) => {}
        Err(fault) if sense.required => snapshot.health = snapshot.health.and(Err(fault)),
        Err(_) => {
            snapshot.optional_lost.get_or_insert(sense.id);
        }
    }
}
