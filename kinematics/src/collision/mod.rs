//! Keeps a robot's shapes apart from each other and from a few obstacles.
//!
//! A [`CollisionModel`] holds the primitive shapes of a URDF's `<collision>` elements, hung onto the joints of a
//! chain, and up to [`MAX_OBSTACLES`] obstacles in the base frame. It answers how close the robot is to
//! anything at a configuration ([`CollisionModel::distance`]), and within a
//! [`Tracker`](crate::track::Tracker) it adds rows to the quadratic programme of every tick.
//!
//! # What the rows ask for
//! For a pair at distance `d` a *velocity damper* (Faverjon and Tournassoud, "A local based approach for path
//! planning of manipulators with a high number of degrees of freedom", 1987) bounds how fast the distance may
//! shrink: `ḋ ≥ −k (d − margin)`. With closest points `p_a`, `p_b` and unit normal `n` from a to b,
//! `ḋ = n · (J_b(p_b) − J_a(p_a)) q̇`; joints above both move both alike and drop out.
//!
//! # Why it stays possible
//! The joints cannot stop at once, so a row that is kept now must be possible to keep in the next tick. With
//! `k ≤ a / v`, for an acceleration limit `a` and a highest joint speed `v`, it is: let `w = ḋ < 0` be the rate
//! of a pair with `h = d − margin` left, and `w ≥ −k h` kept. A tick later `h` has become `h + w dt`. Slow all
//! joints in proportion, the fastest by `a dt`: that is a factor `s ≤ 1 − a dt / v ≤ 1 − k dt`, so
//! `s w ≥ w − k w dt ≥ −k (h + w dt)`. The row is kept again. The room to each position limit is used up at the
//! same rate, so that this *proportional brake* also keeps the joints' own limits. To first order, then, box
//! and rows always have a common point. What is of second order (the way that shapes turn about each other
//! within a tick) is what the margin is for; a pair found inside its margin is pushed out again, slowly.
//!
//! The argument holds for things at rest in the base frame, and for what the tracker gives out being what is
//! commanded: a stage behind it that brakes more gently takes more room than was planned for.
//!
//! # Which pairs a row is made for
//! No distance of influence is needed: a pair matters in a tick if some velocity in the box would break its
//! row. Balls around links and shapes, and a bound on how fast they near each other, settle that for nearly all
//! pairs without a distance. Should more than 16 rows be left, those that the box could break the most are taken.

mod build;
mod dampers;
mod shape;

use nalgebra::{Isometry3, Vector3};

pub use build::CollisionOptions;
pub(crate) use dampers::Dampers;
use dampers::Motion;
pub use shape::Shape;
use shape::{Contact, Solid, contact, gap as gap_between};

use crate::chain::{Chain, JointFrames};
use crate::frame::Frame;
use crate::urdf::UrdfError;

/// The most obstacles a [`CollisionModel`] holds at a time.
pub const MAX_OBSTACLES: usize = 16;

/// Why a collision model cannot be made or changed.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum CollisionError {
    /// The URDF text is at fault.
    #[error(transparent)]
    Urdf(#[from] UrdfError),
    /// A mesh where a primitive shape is needed.
    #[error(
        "link `{link}` has the mesh `{file}` for collisions; expected boxes, cylinders, spheres, capsules"
    )]
    Mesh {
        /// The link.
        link: String,
        /// The mesh file.
        file: String,
    },
    /// A shape with a measure that is not above 0, or a pose that is not finite.
    #[error("the {shape} of `{owner}` has a measure or pose that is not finite or not above 0")]
    InvalidShape {
        /// The link or obstacle.
        owner: String,
        /// What kind of shape.
        shape: &'static str,
    },
    /// A link whose place cannot be told from the chain's joints and the held positions.
    #[error("link `{link}` has shapes but no known place: {reason}")]
    Unplaced {
        /// The link.
        link: String,
        /// Why.
        reason: String,
    },
    /// A name that the model does not have.
    #[error("there is no {kind} `{name}` to {purpose}")]
    UnknownName {
        /// `link` or `joint`.
        kind: &'static str,
        /// The name.
        name: String,
        /// What it was named for.
        purpose: &'static str,
    },
    /// A setting outside its range.
    #[error("{field} is {actual}, expected {expected}")]
    InvalidOption {
        /// The field's name.
        field: &'static str,
        /// What it must be.
        expected: &'static str,
        /// What it is.
        actual: f64,
    },
    /// All places for obstacles are taken.
    #[error("there are {MAX_OBSTACLES} obstacles already, as many as a model holds")]
    Full,
    /// No obstacle has this number.
    #[error("there is no obstacle number {}", .0.0)]
    NoSuchObstacle(ObstacleId),
    /// The model belongs to another chain than the tracker.
    #[error("the collision model is for the joints {model}, the chain has {chain}")]
    OtherChain {
        /// The model's joints.
        model: String,
        /// The chain's joints.
        chain: String,
    },
}

/// Something in the world that the robot must not touch; at rest in the base frame.
#[derive(Clone, Debug, PartialEq)]
pub struct Obstacle {
    /// For messages.
    pub name: String,
    /// Its shape.
    pub shape: Shape,
    /// Where the shape's frame stands.
    pub base_from_obstacle: Isometry3<f64>,
}

/// Names an obstacle of one model.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ObstacleId(u32);

/// One side of a pair.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// A link of the robot; see [`CollisionModel::name`].
    Link(usize),
    /// An obstacle.
    Obstacle(ObstacleId),
}

/// How far two parts are from each other.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Clearance {
    /// Negative when they overlap, m.
    pub distance_m: f64,
    /// One of them.
    pub a: Part,
    /// The other, always a link.
    pub b: Part,
}

/// The closest pair of a configuration, with the points where it is closest, in the base frame, m.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ClosestPair {
    /// Who, and how far.
    pub clearance: Clearance,
    /// On the surface of part a.
    pub point_a_m: Vector3<f64>,
    /// On the surface of part b.
    pub point_b_m: Vector3<f64>,
}

/// A pair of shapes that is not kept apart because it is too close at the reference configuration.
#[derive(Clone, Debug, PartialEq)]
pub struct IgnoredPair {
    /// The one link.
    pub link_a: String,
    /// The other link.
    pub link_b: String,
    /// Distance at the reference configuration, m.
    pub distance_m: f64,
}

/// One shape of the robot.
#[derive(Clone, Debug)]
struct Body {
    /// Index into the names of the links.
    link: usize,
    joint_from_body: Frame,
    solid: Solid,
    bound: f64,
}

/// What hangs on the frame after the same number of joints.
#[derive(Clone, Debug)]
struct Group {
    /// Number of joints above.
    depth: usize,
    bodies: std::ops::Range<usize>,
    /// Centre and radius of a ball that holds them all, in the frame after those joints.
    centre: Vector3<f64>,
    bound: f64,
}

/// The pairs of bodies between two groups, the shallower first.
#[derive(Clone, Debug)]
struct GroupPair {
    shallow: usize,
    deep: usize,
    pairs: Vec<(usize, usize)>,
}

#[derive(Clone, Debug)]
struct Slot {
    id: ObstacleId,
    name: String,
    solid: Solid,
    base_from_obstacle: Frame,
    bound: f64,
}

/// The shapes of a robot and of the world around it.
#[derive(Clone, Debug)]
pub struct CollisionModel {
    chain: Chain,
    link_names: Vec<String>,
    /// Sorted by group.
    bodies: Vec<Body>,
    groups: Vec<Group>,
    group_pairs: Vec<GroupPair>,
    obstacles: Vec<Slot>,
    next_id: u32,
    margin_m: f64,
    ignored: Vec<IgnoredPair>,
    skipped_meshes: Vec<String>,
}

impl CollisionModel {
    /// The shapes of all links of a URDF text that hang together with `chain`, which was made from the same text.
    ///
    /// Cylinders are taken as the capsules that hold them. Not kept apart: shapes that no joint of the chain moves
    /// against each other, those of two links joined by one joint, those of the links in `options.ignore`, and
    /// those closer than the margin at the reference configuration ([`CollisionModel::ignored`] lists the
    /// latter).
    ///
    /// # Errors
    /// A fault in the text, a mesh (unless they are to be skipped), a shape without a size, a link that cannot be
    /// placed, or an option with an unknown name or a value out of range.
    pub fn from_urdf(
        urdf: &str,
        chain: &Chain,
        options: &CollisionOptions<'_>,
    ) -> Result<Self, CollisionError> {
        build::model(urdf, chain, options)
    }

    /// The pairs that are not kept apart because of the reference configuration.
    #[must_use]
    pub fn ignored(&self) -> &[IgnoredPair] {
        &self.ignored
    }

    /// `link: file` of the meshes that were skipped.
    #[must_use]
    pub fn skipped_meshes(&self) -> &[String] {
        &self.skipped_meshes
    }

    /// Number of shapes of the robot, and of pairs of them that are kept apart.
    #[must_use]
    pub fn size(&self) -> (usize, usize) {
        (self.bodies.len(), self.group_pairs.iter().map(|group| group.pairs.len()).sum())
    }

    /// The distance that is kept, m.
    #[must_use]
    pub fn margin_m(&self) -> f64 {
        self.margin_m
    }

    /// The name of a link or obstacle; `?` for one that is not in the model (any more).
    #[must_use]
    pub fn name(&self, part: Part) -> &str {
        match part {
            Part::Link(link) => self.link_names.get(link).map_or("?", String::as_str),
            Part::Obstacle(id) => {
                self.obstacles.iter().find(|slot| slot.id == id).map_or("?", |slot| slot.name.as_str())
            }
        }
    }

    /// Adds an obstacle. Links that no joint of the chain moves are not kept away from it.
    ///
    /// # Errors
    /// A shape or pose that is not finite or has no size; more than [`MAX_OBSTACLES`].
    pub fn add_obstacle(&mut self, obstacle: Obstacle) -> Result<ObstacleId, CollisionError> {
        let Obstacle { name, shape, base_from_obstacle } = obstacle;
        if !(shape.is_valid() && is_finite(&base_from_obstacle)) {
            return Err(CollisionError::InvalidShape { owner: name, shape: "shape" });
        }
        if self.obstacles.len() >= MAX_OBSTACLES {
            return Err(CollisionError::Full);
        }
        let id = ObstacleId(self.next_id);
        self.next_id = self.next_id.wrapping_add(1);
        let solid = shape.solid();
        self.obstacles.push(Slot {
            id,
            name,
            solid,
            base_from_obstacle: Frame::from_isometry(&base_from_obstacle),
            bound: solid.bound(),
        });
        Ok(id)
    }

    /// Puts an obstacle somewhere else. It counts as at rest there: what moves towards the arm may hit it.
    ///
    /// # Errors
    /// No such obstacle, or a pose that is not finite.
    pub fn move_obstacle(
        &mut self,
        id: ObstacleId,
        base_from_obstacle: &Isometry3<f64>,
    ) -> Result<(), CollisionError> {
        let slot =
            self.obstacles.iter_mut().find(|slot| slot.id == id).ok_or(CollisionError::NoSuchObstacle(id))?;
        if !is_finite(base_from_obstacle) {
            return Err(CollisionError::InvalidShape { owner: slot.name.clone(), shape: "shape" });
        }
        slot.base_from_obstacle = Frame::from_isometry(base_from_obstacle);
        Ok(())
    }

    /// Takes an obstacle away; whether it was there.
    pub fn remove_obstacle(&mut self, id: ObstacleId) -> bool {
        let before = self.obstacles.len();
        self.obstacles.retain(|slot| slot.id != id);
        self.obstacles.len() < before
    }

    /// The closest of all pairs that are kept apart, at the joint positions `q`, rad (missing ones count as 0);
    /// `None` if there is no such pair, or `q` is not finite (or overflows the links' positions).
    ///
    /// Work: at most one distance for each pair.
    #[must_use]
    pub fn distance(&self, q: &[f64]) -> Option<ClosestPair> {
        if !q.iter().all(|value| value.is_finite()) {
            return None;
        }
        let frames = self.chain.joint_frames(q);
        if !is_placed(&frames) {
            return None;
        }
        let mut closest: Option<ClosestPair> = None;
        for group_pair in &self.group_pairs {
            let (shallow, deep) = (&self.groups[group_pair.shallow], &self.groups[group_pair.deep]);
            for &(a, b) in &group_pair.pairs {
                let (a, b) = (&self.bodies[a], &self.bodies[b]);
                let gap = (a.centre(&frames, shallow) - b.centre(&frames, deep)).norm() - a.bound - b.bound;
                if closest.is_none_or(|closest| gap < closest.clearance.distance_m) {
                    let (place_a, place_b) = (a.place(&frames, shallow), b.place(&frames, deep));
                    let gap = gap_between(&a.solid, &place_a, &b.solid, &place_b);
                    if closest.is_none_or(|closest| gap < closest.clearance.distance_m) {
                        let found = contact(&a.solid, &place_a, &b.solid, &place_b);
                        ClosestPair::keep(&mut closest, &found, Part::Link(a.link), Part::Link(b.link));
                    }
                }
            }
        }
        for slot in &self.obstacles {
            for group in self.groups.iter().filter(|group| group.depth > 0) {
                for body in &self.bodies[group.bodies.clone()] {
                    let gap = slot.gap(&body.centre(&frames, group), body.bound);
                    if closest.is_none_or(|closest| gap < closest.clearance.distance_m) {
                        let place = body.place(&frames, group);
                        let found = contact(&slot.solid, &slot.base_from_obstacle, &body.solid, &place);
                        ClosestPair::keep(
                            &mut closest,
                            &found,
                            Part::Obstacle(slot.id),
                            Part::Link(body.link),
                        );
                    }
                }
            }
        }
        closest
    }

    pub(crate) fn check_chain(&self, chain: &Chain) -> Result<(), CollisionError> {
        if self.chain.joint_names() == chain.joint_names() && self.chain.limits() == chain.limits() {
            return Ok(());
        }
        let list = |chain: &Chain| chain.joint_names().join(", ");
        Err(CollisionError::OtherChain { model: list(&self.chain), chain: list(chain) })
    }

    /// The rows of all pairs that could break theirs in this tick.
    pub(crate) fn dampers(&self, frames: &JointFrames, dampers: &mut Dampers<'_>) {
        if !is_placed(frames) {
            return;
        }
        let motion = Motion::new(frames, dampers);
        let margin_m = self.margin_m;
        for group_pair in &self.group_pairs {
            let (shallow, deep) = (&self.groups[group_pair.shallow], &self.groups[group_pair.deep]);
            let (at_a, at_b) = (shallow.middle(frames), deep.middle(frames));
            let speed = motion.speed(shallow.depth, deep.depth, &at_b, deep.bound);
            let gap = (at_b - at_a).norm() - shallow.bound - deep.bound - margin_m;
            if !dampers.matters(gap, speed) {
                continue;
            }
            for &(a, b) in &group_pair.pairs {
                let (a, b) = (&self.bodies[a], &self.bodies[b]);
                let (at_a, at_b) = (a.centre(frames, shallow), b.centre(frames, deep));
                let gap = (at_b - at_a).norm() - a.bound - b.bound - margin_m;
                if !dampers.matters(gap, speed) {
                    continue;
                }
                let (place_a, place_b) = (a.place(frames, shallow), b.place(frames, deep));
                let gap = gap_between(&a.solid, &place_a, &b.solid, &place_b) - margin_m;
                if dampers.matters(gap, motion.speed(shallow.depth, deep.depth, &at_b, b.bound)) {
                    let found = contact(&a.solid, &place_a, &b.solid, &place_b);
                    let clearance = Clearance {
                        distance_m: found.distance,
                        a: Part::Link(a.link),
                        b: Part::Link(b.link),
                    };
                    dampers.add(&found, clearance, margin_m, frames, shallow.depth..deep.depth);
                }
            }
        }
        for slot in &self.obstacles {
            for group in self.groups.iter().filter(|group| group.depth > 0) {
                let centre = group.middle(frames);
                let speed = motion.speed(0, group.depth, &centre, group.bound);
                if !dampers.matters(slot.gap(&centre, group.bound) - margin_m, speed) {
                    continue;
                }
                for body in &self.bodies[group.bodies.clone()] {
                    let centre = body.centre(frames, group);
                    let gap = slot.gap(&centre, body.bound) - margin_m;
                    if !dampers.matters(gap, motion.speed(0, group.depth, &centre, body.bound)) {
                        continue;
                    }
                    let place = body.place(frames, group);
                    let found = contact(&slot.solid, &slot.base_from_obstacle, &body.solid, &place);
                    let (a, b) = (Part::Obstacle(slot.id), Part::Link(body.link));
                    let clearance = Clearance { distance_m: found.distance, a, b };
                    dampers.add(&found, clearance, margin_m, frames, 0..group.depth);
                }
            }
        }
    }
}

impl ClosestPair {
    fn keep(closest: &mut Option<Self>, found: &Contact, a: Part, b: Part) {
        if closest.is_none_or(|closest| found.distance < closest.clearance.distance_m) {
            let clearance = Clearance { distance_m: found.distance, a, b };
            *closest = Some(Self { clearance, point_a_m: found.point_a, point_b_m: found.point_b });
        }
    }
}

impl Body {
    /// `base_from_body`.
    fn place(&self, frames: &JointFrames, group: &Group) -> Frame {
        frames.after[group.depth].then(&self.joint_from_body)
    }

    fn centre(&self, frames: &JointFrames, group: &Group) -> Vector3<f64> {
        let frame = &frames.after[group.depth];
        frame.rotation * self.joint_from_body.translation + frame.translation
    }
}

impl Group {
    fn middle(&self, frames: &JointFrames) -> Vector3<f64> {
        let frame = &frames.after[self.depth];
        frame.rotation * self.centre + frame.translation
    }
}

impl Slot {
    /// A lower bound of the distance from a ball, m.
    fn gap(&self, centre: &Vector3<f64>, radius: f64) -> f64 {
        let apart = centre - self.base_from_obstacle.translation;
        if self.bound.is_finite() {
            apart.norm() - self.bound - radius
        } else {
            self.base_from_obstacle.rotation.column(2).dot(&apart) - radius
        }
    }
}

/// Whether all positions are finite: the distance queries assert that.
fn is_placed(frames: &JointFrames) -> bool {
    frames.after.iter().all(|frame| frame.translation.iter().all(|value| value.is_finite()))
}

fn is_finite(pose: &Isometry3<f64>) -> bool {
    pose.translation.vector.iter().chain(pose.rotation.coords.iter()).all(|value| value.is_finite())
}

#[cfg(test)]
mod tests;
