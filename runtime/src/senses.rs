//! The senses: newest values from the link, checked once each, with their ages.
//!
//! Each new message is judged when it is first seen: its stamp must not lie in the future or
//! before the last one, its names and shape must be the configured ones, and every number must be
//! finite. What fails is counted and otherwise ignored, so the last good value simply grows old;
//! what is too old is a [`SenseFault`], and then nothing is fed to the policy and the arm holds.
//!
//! [`Senses::read`] neither allocates nor blocks. Its work is bounded by the number of senses and,
//! for a frame that has just arrived, by the frame's size.

use std::sync::Arc;

use nalgebra::Isometry3;
use reflexarc_drivers::msg::{Float32MultiArray, Image, JointState};
use reflexarc_drivers::topic::Topics;
use reflexarc_drivers::{Link, LinkError, Message, Sample, Subscription, SubscriptionStats};
use reflexarc_kinematics::{Chain, Joints};
use reflexarc_vla_model::observation::{Camera, Observation, Tactile, ToolPose};

use crate::chunk::Playing;
use crate::config::{Config, MAX_CAMERAS, MAX_PADS, SenseConfig};
use crate::modes::{SenseFault, SenseId};

/// Most senses a robot can have: joints, cameras, pads.
pub const MAX_SENSES: usize = 1 + MAX_CAMERAS + MAX_PADS;
/// A joint reading further than this outside its limits is garbage, rad.
const RANGE_SLACK_RAD: f64 = 0.2;
/// The same for the gripper's opening, m.
const WIDTH_SLACK_M: f64 = 0.02;

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
}

impl SenseCounts {
    /// All refusals.
    #[must_use]
    pub fn refused(&self) -> u64 {
        self.future + self.backwards + self.shape + self.names + self.non_finite + self.range
    }
}

/// Counters of one topic: what the link saw and what the senses made of it.
#[derive(Clone, Copy, Debug, Default)]
pub struct TopicStats {
    /// The sense's own counters.
    pub sense: SenseCounts,
    /// The link's counters.
    pub link: SubscriptionStats,
    /// Stamp of the newest usable value, ns; absent where there has been none.
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

/// One moment of all senses. Cloning it copies references, not images.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// When it was taken, ns.
    pub now_ns: u64,
    /// The arm's state, if ever seen.
    pub body: Option<Body>,
    /// Whether all of it is good enough to act on.
    pub health: Result<(), SenseFault>,
    /// Sum of the normal forces on each pad, N; 0 for a pad not seen.
    pub pad_normal_n: [f64; MAX_PADS],
    /// Stamp of the oldest of the newest camera frames, ns: the time that a decision answers.
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
        Self { now_ns, body: Some(body), health: Ok(()), observation_ns: now_ns, ..Self::nothing() }
    }

    /// A moment in which nothing has ever been sensed.
    #[must_use]
    pub fn nothing() -> Self {
        Self {
            now_ns: 0,
            body: None,
            health: Err(SenseFault::NeverSeen { which: SenseId::Joints }),
            pad_normal_n: [0.0; MAX_PADS],
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
        let body = self.body?;
        let cameras = self.cameras.iter().flatten().zip(&config.cameras);
        let pads = self.pads.iter().flatten().zip(&config.tactile);
        let position = body.base_from_tool.translation.vector;
        let rotation = body.base_from_tool.rotation.coords;
        Some(Observation {
            time_ns: self.observation_ns,
            cameras: cameras
                .map(|(sample, name)| Camera {
                    name: name.clone(),
                    width: sample.value.width as usize,
                    height: sample.value.height as usize,
                    rgb: sample.value.data.clone(),
                })
                .collect(),
            tactile: pads
                .map(|(sample, name)| Tactile { name: name.clone(), taxels_n: sample.value.data.clone() })
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

enum Refused {
    Shape,
    Names,
    NonFinite,
    Range,
}

/// One subscription with its newest good value.
struct Sense<M: Message, T> {
    id: SenseId,
    subscription: Subscription<M>,
    examined: Option<Arc<Sample<M>>>,
    accepted: Option<(Arc<Sample<M>>, u64, T)>,
    limit_ns: u64,
    counts: SenseCounts,
}

impl<M: Message, T> Sense<M, T> {
    fn new(id: SenseId, subscription: Subscription<M>, limit_ms: u64) -> Self {
        Self {
            id,
            subscription,
            examined: None,
            accepted: None,
            limit_ns: limit_ms.saturating_mul(1_000_000),
            counts: SenseCounts::default(),
        }
    }

    /// Looks at the newest message if it is new; `check` judges it and extracts what is needed.
    fn poll(
        &mut self,
        now_ns: u64,
        future_ns: u64,
        check: impl FnOnce(&M) -> Result<T, Refused>,
    ) -> Result<(), SenseFault> {
        if let Some(sample) = self.subscription.latest() {
            let new = self.examined.as_ref().is_none_or(|old| !Arc::ptr_eq(old, &sample));
            if new {
                // A header that was never filled in says nothing; the link's own stamp does.
                let header_ns = sample.value.stamp_ns().filter(|stamp_ns| *stamp_ns > 0);
                let stamp_ns = header_ns.unwrap_or(sample.source_ns);
                let last_ns = self.accepted.as_ref().map_or(0, |(_, last_ns, _)| *last_ns);
                if stamp_ns > now_ns.saturating_add(future_ns) {
                    self.counts.future += 1;
                } else if stamp_ns < last_ns {
                    self.counts.backwards += 1;
                } else {
                    match check(&sample.value) {
                        Ok(extract) => {
                            self.counts.accepted += 1;
                            self.accepted = Some((Arc::clone(&sample), stamp_ns, extract));
                        }
                        Err(Refused::Shape) => self.counts.shape += 1,
                        Err(Refused::Names) => self.counts.names += 1,
                        Err(Refused::NonFinite) => self.counts.non_finite += 1,
                        Err(Refused::Range) => self.counts.range += 1,
                    }
                }
                self.examined = Some(sample);
            }
        }
        let which = self.id;
        let Some((_, stamp_ns, _)) = &self.accepted else {
            return Err(SenseFault::NeverSeen { which });
        };
        let age_ns = now_ns.saturating_sub(*stamp_ns);
        if age_ns > self.limit_ns {
            return Err(SenseFault::Stale { which, age_ns, limit_ns: self.limit_ns });
        }
        Ok(())
    }

    fn stats(&self) -> TopicStats {
        TopicStats {
            sense: self.counts,
            link: self.subscription.stats(),
            newest_ns: self.accepted.as_ref().map(|(_, stamp_ns, _)| *stamp_ns),
            limit_ns: self.limit_ns,
        }
    }
}

/// All senses of one robot.
pub struct Senses {
    chain: Chain,
    config: SenseConfig,
    gripper_joint: String,
    gripper_max_width_m: f64,
    joints: Sense<JointState, Body>,
    cameras: Vec<Sense<Image, bool>>,
    pads: Vec<Sense<Float32MultiArray, f64>>,
}

impl Senses {
    /// Subscribes to everything that the configuration names.
    ///
    /// # Errors
    /// [`LinkError`] if the link refuses a subscription.
    pub fn new(link: &Link, topics: &Topics, config: &Config, chain: Chain) -> Result<Self, LinkError> {
        let senses = &config.senses;
        let mut cameras = Vec::new();
        for (index, name) in senses.cameras.iter().enumerate().take(MAX_CAMERAS) {
            let subscription = link.subscribe(&topics.camera(name))?;
            let id = SenseId::Camera(index as u8);
            cameras.push(Sense::new(id, subscription, senses.camera_max_age_ms));
        }
        let mut pads = Vec::new();
        for (index, name) in senses.tactile.iter().enumerate().take(MAX_PADS) {
            let subscription = link.subscribe(&topics.tactile(name))?;
            pads.push(Sense::new(SenseId::Pad(index as u8), subscription, senses.tactile_max_age_ms));
        }
        let joints = link.subscribe(&topics.joint_states)?;
        Ok(Self {
            chain,
            config: senses.clone(),
            gripper_joint: config.robot.gripper_joint.clone(),
            gripper_max_width_m: config.robot.gripper_max_width_m,
            joints: Sense::new(SenseId::Joints, joints, senses.joints_max_age_ms),
            cameras,
            pads,
        })
    }

    /// Takes the newest values and judges the new ones.
    pub fn read(&mut self, now_ns: u64) -> Snapshot {
        let future_ns = self.config.future_tolerance_ms.saturating_mul(1_000_000);
        let mut snapshot = Snapshot { now_ns, ..Snapshot::nothing() };
        let (chain, gripper) = (&self.chain, self.gripper_joint.as_str());
        let width_max_m = self.gripper_max_width_m;
        let mut health =
            self.joints.poll(now_ns, future_ns, |state| read_joints(chain, gripper, width_max_m, state));
        snapshot.body =
            self.joints.accepted.as_ref().map(|(_, stamp_ns, body)| Body { stamp_ns: *stamp_ns, ..*body });

        let (config, black_below) = (&self.config, self.config.black_below);
        let mut black = 0;
        let mut oldest_ns = u64::MAX;
        for (sense, slot) in self.cameras.iter_mut().zip(&mut snapshot.cameras) {
            let fresh = sense.poll(now_ns, future_ns, |image| {
                check_image(config, image)?;
                Ok(image.data.iter().all(|byte| *byte < black_below))
            });
            health = health.and(fresh);
            if let Some((sample, stamp_ns, is_black)) = &sense.accepted {
                if *stamp_ns < oldest_ns {
                    oldest_ns = *stamp_ns;
                    snapshot.received_ns = Some(sample.received_ns);
                }
                black += usize::from(*is_black);
                *slot = Some(Arc::clone(sample));
            }
        }
        snapshot.observation_ns = oldest_ns.min(now_ns);

        let pads = self.pads.iter_mut().zip(&mut snapshot.pads).zip(&mut snapshot.pad_normal_n);
        for ((sense, slot), normal_n) in pads {
            let fresh = sense.poll(now_ns, future_ns, |array| read_pad(config, array));
            health = health.and(fresh);
            if let Some((sample, _, sum_n)) = &sense.accepted {
                *normal_n = *sum_n;
                *slot = Some(Arc::clone(sample));
            }
        }
        if health.is_ok() && black == self.cameras.len() {
            health = Err(SenseFault::Black);
        }
        snapshot.health = health;
        snapshot
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

    /// Topic of every sense: joints, cameras, pads.
    #[must_use]
    pub fn names(config: &SenseConfig) -> Vec<String> {
        std::iter::once("joint_states".to_owned())
            .chain(config.cameras.iter().map(|name| format!("camera/{name}/image_raw")))
            .chain(config.tactile.iter().map(|name| format!("tactile/{name}/taxels")))
            .collect()
    }
}

fn read_joints(chain: &Chain, gripper: &str, width_max_m: f64, state: &JointState) -> Result<Body, Refused> {
    if state.name.len() != state.position.len() {
        return Err(Refused::Shape);
    }
    let position = |wanted: &str| {
        let mut found = state.name.iter().zip(&state.position).filter(|(name, _)| *name == wanted);
        match (found.next(), found.next()) {
            (Some((_, position)), None) => Ok(*position),
            _ => Err(Refused::Names),
        }
    };
    let mut q = Joints::zeros(chain.dof());
    for (q, name) in q.iter_mut().zip(chain.joint_names()) {
        *q = position(name)?;
    }
    let width_m = position(gripper)?;
    if !q.is_finite() || !width_m.is_finite() {
        return Err(Refused::NonFinite);
    }
    let outside = q.iter().zip(chain.limits()).any(|(q, limits)| !limits.contains(*q, RANGE_SLACK_RAD));
    if outside || width_m < -WIDTH_SLACK_M || width_m > width_max_m + WIDTH_SLACK_M {
        return Err(Refused::Range);
    }
    Ok(Body {
        stamp_ns: 0,
        q,
        gripper_width_m: width_m.clamp(0.0, width_max_m),
        base_from_tool: chain.base_from_tip(&q),
    })
}

fn check_image(config: &SenseConfig, image: &Image) -> Result<(), Refused> {
    let (width, height) = (config.camera_width_px, config.camera_height_px);
    let row = u64::from(width) * 3;
    let right = image.encoding == "rgb8"
        && (image.width, image.height) == (width, height)
        && u64::from(image.step) == row
        && image.data.len() as u64 == row * u64::from(height);
    if right { Ok(()) } else { Err(Refused::Shape) }
}

/// The sum of a pad's normal forces, N.
fn read_pad(config: &SenseConfig, array: &Float32MultiArray) -> Result<f64, Refused> {
    let shape = config.tactile_shape;
    let dims = &array.layout.dim;
    let right = dims.len() == shape.len()
        && dims.iter().zip(shape).all(|(dim, side)| dim.size == side)
        && array.layout.data_offset == 0
        && array.data.len() == shape.iter().map(|side| *side as usize).product::<usize>();
    if !right {
        return Err(Refused::Shape);
    }
    if !array.data.iter().all(|value| value.is_finite()) {
        return Err(Refused::NonFinite);
    }
    let channels = shape[2] as usize;
    Ok(array.data.iter().skip(channels - 1).step_by(channels).map(|n| f64::from(*n)).sum())
}
