//! From the `<collision>` elements of a URDF to a collision model.

use std::collections::BTreeMap;

use nalgebra::{Unit, UnitQuaternion, Vector3};
use urdf_rs::{Geometry, Joint, JointType, Robot};

use super::shape::{Core, Shape, Solid, contact};
use super::{Body, CollisionError, CollisionModel, Group, GroupPair, IgnoredPair, MAX_OBSTACLES};
use crate::chain::Chain;
use crate::frame::Frame;
use crate::joints::MAX_DOF;
use crate::urdf::{self, Description};

/// How to make a [`CollisionModel`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct CollisionOptions<'a> {
    /// Distance to keep, m, above 0. Default 0.005. It takes up what the velocity dampers neglect; less than
    /// some mm lets fast motions touch, more keeps the arm from narrow places.
    pub margin_m: f64,
    /// Joint positions at which shapes that are closer than the margin are taken to belong together, rad; missing
    /// ones count as 0. Default empty.
    pub reference_q: &'a [f64],
    /// Positions of moving joints that are not part of the chain, by name, rad or m (a gripper's fingers, say).
    /// Others are held at 0, or at their nearer limit if 0 lies outside.
    pub held: &'a [(&'a str, f64)],
    /// Pairs of links that are not kept apart.
    pub ignore: &'a [(&'a str, &'a str)],
    /// Whether to go on without the meshes ([`CollisionModel::skipped_meshes`] lists them) instead of refusing
    /// the file. Default false.
    pub skip_meshes: bool,
}

impl Default for CollisionOptions<'_> {
    fn default() -> Self {
        Self { margin_m: 0.005, reference_q: &[], held: &[], ignore: &[], skip_meshes: false }
    }
}

/// A shape on its way into the model.
struct Draft {
    depth: usize,
    body: Body,
}

pub(super) fn model(
    text: &str,
    chain: &Chain,
    options: &CollisionOptions<'_>,
) -> Result<CollisionModel, CollisionError> {
    if !(options.margin_m.is_finite() && options.margin_m > 0.0) {
        return Err(CollisionError::InvalidOption {
            field: "margin_m",
            expected: "a finite number above 0",
            actual: options.margin_m,
        });
    }
    if let Some(&actual) = options.reference_q.iter().find(|value| !value.is_finite()) {
        let (field, expected) = ("reference_q", "finite numbers");
        return Err(CollisionError::InvalidOption { field, expected, actual });
    }
    let description = Description::read(text)?;
    // Refuses what does not hang together.
    urdf::Tree::new(&description)?;
    let robot = &description.robot;
    let tree = Tree::new(robot, chain, options)?;
    let mut model = CollisionModel {
        chain: chain.clone(),
        link_names: robot.links.iter().map(|link| link.name.clone()).collect(),
        bodies: Vec::new(),
        groups: Vec::new(),
        group_pairs: Vec::new(),
        obstacles: Vec::with_capacity(MAX_OBSTACLES),
        next_id: 0,
        margin_m: options.margin_m,
        ignored: Vec::new(),
        skipped_meshes: Vec::new(),
    };
    let mut drafts = Vec::new();
    for (index, link) in robot.links.iter().enumerate() {
        let mut solids = Vec::new();
        for collision in &link.collision {
            let Some(shape) = primitive(&link.name, &collision.geometry, options, &mut model.skipped_meshes)?
            else {
                continue;
            };
            let link_from_shape = Frame::from_xyz_rpy(*collision.origin.xyz, *collision.origin.rpy);
            solids.push((link_from_shape, shape.solid()));
        }
        if solids.is_empty() {
            continue;
        }
        let (depth, joint_from_link) = tree.place(&link.name)?;
        for (joint_from_shape, solid) in without_contained(solids) {
            let joint_from_body = joint_from_link.then(&joint_from_shape);
            if !joint_from_body
                .translation
                .iter()
                .chain(joint_from_body.rotation.iter())
                .all(|v| v.is_finite())
            {
                return Err(CollisionError::InvalidShape { owner: link.name.clone(), shape: "origin" });
            }
            drafts.push(Draft {
                depth,
                body: Body { link: index, joint_from_body, solid, bound: solid.bound() },
            });
        }
    }
    gather(&mut model, drafts);
    pair_up(&mut model, robot, options)?;
    Ok(model)
}

/// The shape of one element; `None` for a mesh that is skipped.
fn primitive(
    link: &str,
    geometry: &Geometry,
    options: &CollisionOptions<'_>,
    skipped: &mut Vec<String>,
) -> Result<Option<Shape>, CollisionError> {
    let (shape, kind) = match geometry {
        Geometry::Box { size } => (Shape::Box { half_extents_m: size.map(|edge| 0.5 * edge) }, "box"),
        Geometry::Cylinder { radius, length } => {
            (Shape::Capsule { half_length_m: 0.5 * length, radius_m: *radius }, "cylinder")
        }
        Geometry::Capsule { radius, length } => {
            (Shape::Capsule { half_length_m: 0.5 * length, radius_m: *radius }, "capsule")
        }
        Geometry::Sphere { radius } => (Shape::Sphere { radius_m: *radius }, "sphere"),
        Geometry::Mesh { filename, .. } if options.skip_meshes => {
            skipped.push(format!("{link}: {filename}"));
            return Ok(None);
        }
        Geometry::Mesh { filename, .. } => {
            return Err(CollisionError::Mesh { link: link.to_owned(), file: filename.clone() });
        }
    };
    if shape.is_valid() {
        Ok(Some(shape))
    } else {
        Err(CollisionError::InvalidShape { owner: link.to_owned(), shape: kind })
    }
}

/// Leaves out what lies wholly inside a capsule of the same link, such as the ball at the end of a cylinder.
fn without_contained(solids: Vec<(Frame, Solid)>) -> Vec<(Frame, Solid)> {
    let mut kept: Vec<(Frame, Solid)> = Vec::new();
    for (index, inner) in solids.iter().enumerate() {
        let contained = |(other, outer): (usize, &(Frame, Solid))| {
            // Of two that hold each other, the first stays.
            other != index && holds(outer, inner) && !(other > index && holds(inner, outer))
        };
        if !solids.iter().enumerate().any(contained) {
            kept.push(*inner);
        }
    }
    kept
}

fn holds(outer: &(Frame, Solid), inner: &(Frame, Solid)) -> bool {
    let Core::Segment(half) = outer.1.core else { return false };
    let outer_from_inner = outer.0.inverse().then(&inner.0);
    inner.1.corners().all(|corner| {
        let mut point = outer_from_inner.rotation * corner + outer_from_inner.translation;
        point.z -= point.z.max(-half).min(half);
        point.norm() + inner.1.radius <= outer.1.radius + 1e-9
    })
}

/// Sorts the shapes into groups.
fn gather(model: &mut CollisionModel, mut drafts: Vec<Draft>) {
    drafts.sort_by_key(|draft| draft.depth);
    for depth in 0..=MAX_DOF {
        let first = model.bodies.len();
        model
            .bodies
            .extend(drafts.iter().filter(|draft| draft.depth == depth).map(|draft| draft.body.clone()));
        let bodies = &model.bodies[first..];
        if bodies.is_empty() {
            continue;
        }
        let mut low = Vector3::repeat(f64::INFINITY);
        let mut high = -low;
        for body in bodies {
            low = low.inf(&body.joint_from_body.translation.add_scalar(-body.bound));
            high = high.sup(&body.joint_from_body.translation.add_scalar(body.bound));
        }
        let centre = (low + high) * 0.5;
        let bound = bodies
            .iter()
            .map(|body| (body.joint_from_body.translation - centre).norm() + body.bound)
            .fold(0.0, f64::max);
        model.groups.push(Group { depth, bodies: first..model.bodies.len(), centre, bound });
    }
}

/// Lists the pairs that are kept apart, and those that are not because of the reference configuration.
fn pair_up(
    model: &mut CollisionModel,
    robot: &Robot,
    options: &CollisionOptions<'_>,
) -> Result<(), CollisionError> {
    for name in options.ignore.iter().flat_map(|(a, b)| [a, b]) {
        if !model.link_names.iter().any(|link| link == name) {
            let name = (*name).to_owned();
            return Err(CollisionError::UnknownName { kind: "link", name, purpose: "ignore" });
        }
    }
    let apart = |a: &str, b: &str| {
        let joined = robot.joints.iter().any(|joint| {
            let (parent, child) = (joint.parent.link.as_str(), joint.child.link.as_str());
            (parent, child) == (a, b) || (parent, child) == (b, a)
        });
        let ignored = options.ignore.iter().any(|&pair| pair == (a, b) || pair == (b, a));
        !joined && !ignored
    };
    let frames = model.chain.joint_frames(options.reference_q);
    for shallow in 0..model.groups.len() {
        for deep in shallow + 1..model.groups.len() {
            let mut pairs = Vec::new();
            let (group_a, group_b) = (&model.groups[shallow], &model.groups[deep]);
            for a in group_a.bodies.clone() {
                for b in group_b.bodies.clone() {
                    let (body_a, body_b) = (&model.bodies[a], &model.bodies[b]);
                    let [link_a, link_b] = [body_a, body_b].map(|body| &model.link_names[body.link]);
                    if !apart(link_a, link_b) {
                        continue;
                    }
                    let found = contact(
                        &body_a.solid,
                        &body_a.place(&frames, group_a),
                        &body_b.solid,
                        &body_b.place(&frames, group_b),
                    );
                    if found.distance < model.margin_m {
                        model.ignored.push(IgnoredPair {
                            link_a: link_a.clone(),
                            link_b: link_b.clone(),
                            distance_m: found.distance,
                        });
                    } else {
                        pairs.push((a, b));
                    }
                }
            }
            if !pairs.is_empty() {
                model.group_pairs.push(GroupPair { shallow, deep, pairs });
            }
        }
    }
    Ok(())
}

/// Where links hang, seen from the chain.
struct Tree<'a> {
    above: BTreeMap<&'a str, &'a Joint>,
    joints: BTreeMap<&'a str, &'a Joint>,
    on_chain: BTreeMap<&'a str, (usize, Frame)>,
    chain_joints: &'a [String],
    /// The link of the chain that no other link of it is above.
    highest: &'a str,
    held: &'a [(&'a str, f64)],
}

impl<'a> Tree<'a> {
    fn new(
        robot: &'a Robot,
        chain: &'a Chain,
        options: &'a CollisionOptions<'a>,
    ) -> Result<Self, CollisionError> {
        let above: BTreeMap<&str, &Joint> =
            robot.joints.iter().map(|joint| (joint.child.link.as_str(), joint)).collect();
        let joints: BTreeMap<&str, &Joint> =
            robot.joints.iter().map(|joint| (joint.name.as_str(), joint)).collect();
        let on_chain: BTreeMap<&str, (usize, Frame)> =
            chain.link_frames().map(|(name, depth, frame)| (name, (depth, *frame))).collect();
        let unknown = |kind, name: &str, purpose| {
            Err(CollisionError::UnknownName { kind, name: name.to_owned(), purpose })
        };
        for name in on_chain.keys() {
            if !robot.links.iter().any(|link| link.name == *name) {
                return unknown("link", name, "hang shapes on");
            }
        }
        for &(name, actual) in options.held {
            if !joints.contains_key(name) || chain.joint_names().iter().any(|joint| joint == name) {
                return unknown("joint outside of the chain", name, "hold");
            }
            if !actual.is_finite() {
                let (field, expected) = ("held", "finite numbers");
                return Err(CollisionError::InvalidOption { field, expected, actual });
            }
        }
        let below = |link: &str| {
            above.get(link).is_some_and(|joint: &&Joint| on_chain.contains_key(joint.parent.link.as_str()))
        };
        let highest = chain.link_names().find(|link| !below(link)).unwrap_or("");
        Ok(Self { above, joints, on_chain, chain_joints: chain.joint_names(), highest, held: options.held })
    }

    /// The number of the chain's joints before a link, and its frame after those.
    fn place(&self, link: &str) -> Result<(usize, Frame), CollisionError> {
        let (top, top_from_link) = self.climb(link)?;
        if let Some((depth, joint_from_top)) = self.on_chain.get(top) {
            return Ok((*depth, joint_from_top.then(&top_from_link)));
        }
        // Not below the chain: both hang from the same root, and the link goes with the chain's highest link.
        let (root, root_from_highest) = match self.above.get(self.highest) {
            Some(joint) => {
                let (root, root_from_parent) = self.climb(&joint.parent.link)?;
                (root, root_from_parent.then(&self.motion(joint, self.highest)?))
            }
            None => (self.highest, Frame::IDENTITY),
        };
        if root != top {
            let reason = format!("it hangs from `{top}`, the chain from `{root}`");
            return Err(CollisionError::Unplaced { link: link.to_owned(), reason });
        }
        let Some((depth, joint_from_highest)) = self.on_chain.get(self.highest) else {
            return Ok((0, top_from_link));
        };
        Ok((*depth, joint_from_highest.then(&root_from_highest.inverse()).then(&top_from_link)))
    }

    /// Upwards to the first link of the chain, or else to the root.
    fn climb<'b>(&'b self, link: &'b str) -> Result<(&'b str, Frame), CollisionError> {
        let mut frame = Frame::IDENTITY;
        let mut at = link;
        loop {
            let joint = match self.above.get(at) {
                Some(joint) if !self.on_chain.contains_key(at) => joint,
                _ => return Ok((at, frame)),
            };
            frame = self.motion(joint, link)?.then(&frame);
            at = &joint.parent.link;
        }
    }

    /// `parent_from_child` of a joint outside of the chain.
    fn motion(&self, joint: &Joint, link: &str) -> Result<Frame, CollisionError> {
        let origin = Frame::from_xyz_rpy(*joint.origin.xyz, *joint.origin.rpy);
        if joint.joint_type == JointType::Fixed {
            return Ok(origin);
        }
        let axis = Vector3::from(*joint.axis.xyz);
        let position = self.position(joint, link)?;
        if position == 0.0 {
            return Ok(origin);
        }
        let Some(axis) = Unit::try_new(axis, 1e-12) else {
            let reason = format!("joint `{}` has a zero axis", joint.name);
            return Err(CollisionError::Unplaced { link: link.to_owned(), reason });
        };
        let moved = match joint.joint_type {
            JointType::Revolute | JointType::Continuous => Frame {
                rotation: UnitQuaternion::from_axis_angle(&axis, position).to_rotation_matrix().into_inner(),
                translation: Vector3::zeros(),
            },
            JointType::Prismatic => Frame { translation: axis.into_inner() * position, ..Frame::IDENTITY },
            _ => {
                let reason =
                    format!("joint `{}` is not fixed, revolute, continuous or prismatic", joint.name);
                return Err(CollisionError::Unplaced { link: link.to_owned(), reason });
            }
        };
        Ok(origin.then(&moved))
    }

    /// Where a joint outside of the chain is held.
    fn position(&self, joint: &Joint, link: &str) -> Result<f64, CollisionError> {
        let (mut joint, mut factor, mut shift) = (joint, 1.0, 0.0);
        // Each step leads to another joint, unless the mimicry goes round.
        for _ in 0..=self.joints.len() {
            if self.chain_joints.contains(&joint.name) {
                let reason =
                    format!("it moves with joint `{}`, and the chain does not lead there", joint.name);
                return Err(CollisionError::Unplaced { link: link.to_owned(), reason });
            }
            if let Some((_, position)) = self.held.iter().find(|(name, _)| *name == joint.name) {
                return Ok(factor * position + shift);
            }
            let Some(mimic) = &joint.mimic else {
                let limited = matches!(joint.joint_type, JointType::Revolute | JointType::Prismatic);
                let limit = &joint.limit;
                let position = if limited && limit.lower <= limit.upper {
                    0.0_f64.max(limit.lower).min(limit.upper)
                } else {
                    0.0
                };
                return Ok(factor * position + shift);
            };
            shift += factor * mimic.offset.unwrap_or(0.0);
            factor *= mimic.multiplier.unwrap_or(1.0);
            joint = match self.joints.get(mimic.joint.as_str()) {
                Some(master) => master,
                None => {
                    let reason =
                        format!("joint `{}` follows joint `{}`, which is not there", joint.name, mimic.joint);
                    return Err(CollisionError::Unplaced { link: link.to_owned(), reason });
                }
            };
        }
        let reason = format!("joint `{}` follows itself", joint.name);
        Err(CollisionError::Unplaced { link: link.to_owned(), reason })
    }
}
