//! What one joint of a description does and within which limits, each number checked.

use nalgebra::Vector3;
use urdf_rs::{Joint, JointType};

use crate::chain::JointLimits;
use crate::frame::Frame;
use crate::urdf::UrdfError;
use crate::xml::Given;

/// The largest magnitude of lengths, angles and mimic factors: far beyond any robot, and small enough that no
/// sum or product of a chain's numbers overflows.
pub(crate) const LARGEST: f64 = 1e6;

/// How a moving joint moves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Revolute,
    Continuous,
    Prismatic,
}

impl Kind {
    /// None for a fixed joint.
    pub(crate) fn of(joint: &Joint) -> Result<Option<Self>, UrdfError> {
        let unsupported = |kind| Err(UrdfError::UnsupportedJoint { joint: joint.name.clone(), kind });
        match joint.joint_type {
            JointType::Fixed => Ok(None),
            JointType::Revolute => Ok(Some(Self::Revolute)),
            JointType::Continuous => Ok(Some(Self::Continuous)),
            JointType::Prismatic => Ok(Some(Self::Prismatic)),
            JointType::Floating => unsupported("floating"),
            JointType::Planar => unsupported("planar"),
            JointType::Spherical => unsupported("spherical"),
        }
    }
}

/// Refuses what is not finite or beyond `bound`.
pub(crate) fn check(
    joint: &Joint,
    attribute: &'static str,
    bound: f64,
    values: &[f64],
) -> Result<(), UrdfError> {
    match values.iter().find(|value| !(value.is_finite() && value.abs() <= bound)) {
        Some(&value) => Err(UrdfError::OutOfRange { joint: joint.name.clone(), attribute, value, bound }),
        None => Ok(()),
    }
}

/// `parent_from_child` while the joint is at 0.
pub(crate) fn origin(joint: &Joint) -> Result<Frame, UrdfError> {
    check(joint, "origin xyz", LARGEST, &*joint.origin.xyz)?;
    check(joint, "origin rpy", LARGEST, &*joint.origin.rpy)?;
    Ok(Frame::from_xyz_rpy(*joint.origin.xyz, *joint.origin.rpy))
}

/// The unit vector along which the joint slides or about which it turns, in the child's frame.
pub(crate) fn axis(joint: &Joint) -> Result<Vector3<f64>, UrdfError> {
    check(joint, "axis xyz", LARGEST, &*joint.axis.xyz)?;
    if joint.axis.xyz.iter().all(|value| value.abs() < 1e-12) {
        return Err(UrdfError::ZeroAxis { joint: joint.name.clone() });
    }
    Ok(Vector3::from(*joint.axis.xyz).normalize())
}

/// Multiplier and offset of a mimic joint, and the name of the joint that it copies.
pub(crate) fn mimic(joint: &Joint) -> Result<Option<(f64, f64, &str)>, UrdfError> {
    let Some(mimic) = joint.mimic.as_ref().filter(|_| joint.joint_type != JointType::Fixed) else {
        return Ok(None);
    };
    let (multiplier, offset) = (mimic.multiplier.unwrap_or(1.0), mimic.offset.unwrap_or(0.0));
    check(joint, "mimic multiplier", LARGEST, &[multiplier])?;
    check(joint, "mimic offset", LARGEST, &[offset])?;
    Ok(Some((multiplier, offset, &mimic.joint)))
}

/// The joint's own limits: its `<limit>`, narrowed by its `<safety_controller>`.
///
/// A continuous joint has no position limits but soft ones, and without a velocity, or with 0, no velocity
/// limit. From URDF 1.2 on an omitted limit of any joint means that there is none.
pub(crate) fn limits(joint: &Joint, kind: Kind, given: Given) -> Result<JointLimits, UrdfError> {
    let limit = &joint.limit;
    let unless_zero = |value: f64| if value == 0.0 { f64::INFINITY } else { value };
    let mut limits = JointLimits {
        lower_rad: limit.lower,
        upper_rad: limit.upper,
        velocity_rad_s: limit.velocity,
        effort: limit.effort,
    };
    if limit.effort.is_nan() {
        check(joint, "limit effort", f64::MAX, &[limit.effort])?;
    }
    // What the reader filled in for an omitted limit is infinite from URDF 1.2 on.
    let omitted = |given: bool, value: f64| !given && value.is_infinite();
    if kind == Kind::Continuous {
        limits.lower_rad = f64::NEG_INFINITY;
        limits.upper_rad = f64::INFINITY;
        limits.velocity_rad_s = unless_zero(limit.velocity);
        limits.effort = unless_zero(limit.effort);
        if limits.velocity_rad_s.is_nan() || limits.velocity_rad_s < 0.0 {
            check(joint, "limit velocity", f64::MAX, &[limit.velocity])?;
            return Err(invalid(joint, &limits));
        }
    } else {
        if !given.limit {
            let kind = if kind == Kind::Revolute { "revolute" } else { "prismatic" };
            return Err(UrdfError::MissingLimits { joint: joint.name.clone(), kind });
        }
        for (attribute, given, value) in [
            ("limit lower", given.lower, limit.lower),
            ("limit upper", given.upper, limit.upper),
            ("limit velocity", given.velocity, limit.velocity),
        ] {
            if !omitted(given, value) {
                check(joint, attribute, f64::MAX, &[value])?;
            }
        }
        if limit.lower >= limit.upper || limit.velocity <= 0.0 {
            return Err(invalid(joint, &limits));
        }
    }
    narrow_to_soft(joint, given, &mut limits)?;
    Ok(limits)
}

fn invalid(joint: &Joint, limits: &JointLimits) -> UrdfError {
    UrdfError::InvalidLimits {
        joint: joint.name.clone(),
        lower: limits.lower_rad,
        upper: limits.upper_rad,
        velocity: limits.velocity_rad_s,
    }
}

/// Only soft limits that are in the file count: the reader fills in 0 for absent ones. Both at 0 is the
/// format's default and counts as absent too. Gains are not limits and are ignored.
fn narrow_to_soft(joint: &Joint, given: Given, limits: &mut JointLimits) -> Result<(), UrdfError> {
    let Some(soft) = &joint.safety_controller else { return Ok(()) };
    if soft.soft_lower_limit == 0.0 && soft.soft_upper_limit == 0.0 {
        return Ok(());
    }
    check(joint, "soft_lower_limit", f64::MAX, &[soft.soft_lower_limit])?;
    check(joint, "soft_upper_limit", f64::MAX, &[soft.soft_upper_limit])?;
    let soft_lower = if given.soft_lower { soft.soft_lower_limit } else { f64::NEG_INFINITY };
    let soft_upper = if given.soft_upper { soft.soft_upper_limit } else { f64::INFINITY };
    let (lower, upper) = (limits.lower_rad.max(soft_lower), limits.upper_rad.min(soft_upper));
    if lower >= upper {
        return Err(UrdfError::InvalidSoftLimits {
            joint: joint.name.clone(),
            soft_lower,
            soft_upper,
            lower: limits.lower_rad,
            upper: limits.upper_rad,
        });
    }
    (limits.lower_rad, limits.upper_rad) = (lower, upper);
    Ok(())
}

/// Narrows a master's limits to those under which a joint at `scale · master + offset` keeps its own.
/// `scale` is not 0.
pub(crate) fn narrow_to_mimic(master: &mut JointLimits, mimic: &JointLimits, scale: f64, offset: f64) {
    let (a, b) = ((mimic.lower_rad - offset) / scale, (mimic.upper_rad - offset) / scale);
    master.lower_rad = master.lower_rad.max(a.min(b));
    master.upper_rad = master.upper_rad.min(a.max(b));
    master.velocity_rad_s = master.velocity_rad_s.min(mimic.velocity_rad_s / scale.abs());
}
