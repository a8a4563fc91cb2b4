//! The way from one link of a robot to another, as a list of moving joints with constant transforms between.
//!
//! The way goes up from the base to the nearest link that is above both, and down to the tip. A joint that is
//! travelled upwards moves its far side the other way: its transforms are inverted and its axis turned round,
//! so that its position keeps the meaning that it has in the file.
//!
//! A mimic joint has no position of its own: it stands at `multiplier · master + offset`. The master becomes
//! an independent joint of the chain, on the way or not, because the tip depends on it. (A master that is
//! fixed, or a multiplier of 0, holds the mimic joint at its offset.) An independent joint's limits are those
//! of the file, narrowed by its `<safety_controller>` and by what the limits of the mimic joints on the way
//! leave of it.

use nalgebra::Vector3;
use urdf_rs::JointType;

use crate::chain::JointLimits;
use crate::forward::Stage;
use crate::frame::{Frame, z_to};
use crate::joints::MAX_DOF;
use crate::motion::{self, Kind};
use crate::urdf::{Tree, UrdfError};

/// A link on the way.
#[derive(Clone, Debug)]
pub(crate) struct Waypoint {
    pub(crate) name: String,
    /// How many stages lie between the base and the link.
    pub(crate) stages_before: usize,
    /// From the frame after those stages.
    pub(crate) stage_from_link: Frame,
}

/// The way from a base link to a tip link.
#[derive(Clone, Debug, Default)]
pub(crate) struct Route {
    /// Names of the independent joints, in the order in which the way first depends on them.
    pub(crate) joint_names: Vec<String>,
    pub(crate) limits: Vec<JointLimits>,
    pub(crate) stages: Vec<Stage>,
    /// From base to tip, both included.
    pub(crate) links: Vec<Waypoint>,
}

/// A joint on the way and the link that it leads to.
struct Leg {
    joint: usize,
    to_link: usize,
    upwards: bool,
}

impl Route {
    /// Finds the way from `base` to `tip` and checks every joint on it.
    pub(crate) fn new(tree: &Tree<'_>, base: &str, tip: &str) -> Result<Self, UrdfError> {
        let legs = legs(tree, base, tip)?;
        let joints = &tree.description.robot.joints;
        let count_error = |found| UrdfError::JointCount {
            base: base.to_owned(),
            tip: tip.to_owned(),
            found,
            capacity: MAX_DOF,
        };
        // Before any work per joint that is not constant.
        let moving = legs.iter().filter(|leg| joints[leg.joint].joint_type != JointType::Fixed).count();
        if moving > MAX_DOF {
            return Err(count_error(moving));
        }
        let mut route = Self::default();
        route.links.push(Waypoint {
            name: base.to_owned(),
            stages_before: 0,
            stage_from_link: Frame::IDENTITY,
        });
        // Constant transform gathered since the last stage.
        let mut pending = Frame::IDENTITY;
        for leg in &legs {
            let joint = &joints[leg.joint];
            let parent_from_still = motion::origin(joint)?;
            if !leg.upwards {
                pending = pending.then(&parent_from_still);
            }
            if let Some(kind) = Kind::of(joint)? {
                pending = route.add_joint(tree, leg, kind, pending)?;
            }
            if leg.upwards {
                pending = pending.then(&parent_from_still.inverse());
            }
            route.links.push(Waypoint {
                name: tree.link_name(leg.to_link).to_owned(),
                stages_before: route.stages.len(),
                stage_from_link: pending,
            });
        }
        if route.stages.is_empty() {
            return Err(count_error(0));
        }
        Ok(route)
    }

    /// The constant transform after the last stage.
    pub(crate) fn last_from_tip(&self) -> Frame {
        self.links.last().map_or(Frame::IDENTITY, |tip| tip.stage_from_link)
    }

    /// Adds a moving joint to the stages and gives the transform that is pending after it.
    fn add_joint(
        &mut self,
        tree: &Tree<'_>,
        leg: &Leg,
        kind: Kind,
        pending: Frame,
    ) -> Result<Frame, UrdfError> {
        let joint = &tree.description.robot.joints[leg.joint];
        let axis = motion::axis(joint)? * if leg.upwards { -1.0 } else { 1.0 };
        let turn = Frame { rotation: z_to(&axis), translation: Vector3::zeros() };
        let before = pending.then(&turn);
        let limits = tree.limits(leg.joint, kind)?;
        let (master, scale, offset) = master_of(tree, leg.joint)?;
        let master_joint = &tree.description.robot.joints[master];
        let master_kind = if scale == 0.0 { None } else { Kind::of(master_joint)? };
        let Some(master_kind) = master_kind else {
            let held = match kind {
                Kind::Prismatic => before.moved(&Vector3::new(0.0, 0.0, offset)),
                Kind::Revolute | Kind::Continuous => before.turned_about_z(libm::sincos(offset)),
            };
            return Ok(held.then(&turn.inverse()));
        };
        let known = self.joint_names.iter().position(|name| *name == master_joint.name);
        let variable = match known {
            Some(variable) => variable,
            None => {
                self.joint_names.push(master_joint.name.clone());
                self.limits.push(tree.limits(master, master_kind)?);
                self.limits.len() - 1
            }
        };
        if master != leg.joint {
            motion::narrow_to_mimic(&mut self.limits[variable], &limits, scale, offset);
            let left = self.limits[variable];
            if left.lower_rad >= left.upper_rad || left.velocity_rad_s <= 0.0 {
                return Err(UrdfError::MimicLimits {
                    joint: joint.name.clone(),
                    master: master_joint.name.clone(),
                    lower: left.lower_rad,
                    upper: left.upper_rad,
                    velocity: left.velocity_rad_s,
                });
            }
        }
        self.stages.push(Stage { before, slides: kind == Kind::Prismatic, variable, scale, offset });
        Ok(turn.inverse())
    }
}

/// Up from the base to the nearest common ancestor, then down to the tip.
fn legs(tree: &Tree<'_>, base: &str, tip: &str) -> Result<Vec<Leg>, UrdfError> {
    let (mut from_base, mut from_tip) = (tree.ancestry(base)?, tree.ancestry(tip)?);
    let root =
        |ancestry: &[(usize, Option<usize>)]| ancestry.last().map_or("", |(link, _)| tree.link_name(*link));
    if root(&from_base) != root(&from_tip) {
        return Err(UrdfError::NotConnected {
            base: base.to_owned(),
            tip: tip.to_owned(),
            base_root: root(&from_base).to_owned(),
            tip_root: root(&from_tip).to_owned(),
        });
    }
    // What both have above the nearest common ancestor is not on the way.
    let mut top = from_base.last().map_or(0, |(link, _)| *link);
    while let (Some(a), Some(b)) = (from_base.last(), from_tip.last())
        && a.0 == b.0
    {
        top = a.0;
        from_base.pop();
        from_tip.pop();
    }
    let mut legs = Vec::with_capacity(from_base.len() + from_tip.len());
    for (index, (_, joint)) in from_base.iter().enumerate() {
        let to_link = from_base.get(index + 1).map_or(top, |(link, _)| *link);
        legs.extend(joint.map(|joint| Leg { joint, to_link, upwards: true }));
    }
    for (link, joint) in from_tip.iter().rev() {
        legs.extend(joint.map(|joint| Leg { joint, to_link: *link, upwards: false }));
    }
    Ok(legs)
}

/// The independent joint behind `joint`, and the scale and offset that make its position `joint`'s.
fn master_of(tree: &Tree<'_>, joint: usize) -> Result<(usize, f64, f64), UrdfError> {
    let joints = &tree.description.robot.joints;
    let (mut at, mut scale, mut offset) = (joint, 1.0, 0.0);
    // As many steps as there are joints can only be going round.
    for _ in 0..joints.len() {
        let Some((multiplier, shift, master)) = motion::mimic(&joints[at])? else {
            return Ok((at, scale, offset));
        };
        offset += scale * shift;
        scale *= multiplier;
        at = tree.joint(master).ok_or_else(|| UrdfError::UnknownMaster {
            joint: joints[at].name.clone(),
            master: master.to_owned(),
        })?;
        motion::check(&joints[joint], "mimic multiplier", motion::LARGEST, &[scale])?;
        motion::check(&joints[joint], "mimic offset", motion::LARGEST, &[offset])?;
    }
    Err(UrdfError::MimicCycle { joint: joints[joint].name.clone() })
}
