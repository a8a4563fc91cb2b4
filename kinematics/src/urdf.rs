//! From URDF text to the path of joints between two links, with errors that name the faulty element.

use std::collections::{BTreeMap, BTreeSet};

use urdf_rs::{Joint, JointType, Robot};

use crate::joints::MAX_DOF;

/// Why a URDF text cannot serve as a chain.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum UrdfError {
    /// Not well-formed XML, or not the shape that URDF prescribes.
    #[error("the URDF text cannot be read: {message}")]
    Parse {
        /// What the reader said.
        message: String,
    },
    /// The asked-for base or tip link is not in the model.
    #[error("there is no link `{link}`; the model has {known}")]
    MissingLink {
        /// The name that was asked for.
        link: String,
        /// The names that exist, comma separated.
        known: String,
    },
    /// A joint names a parent or child link that is not declared.
    #[error("joint `{joint}` refers to link `{link}`, which is not declared")]
    UnknownLink {
        /// The joint.
        joint: String,
        /// The undeclared link.
        link: String,
    },
    /// Two links or two joints share a name.
    #[error("two elements of kind {kind} are named `{name}`")]
    Duplicate {
        /// `link` or `joint`.
        kind: &'static str,
        /// The shared name.
        name: String,
    },
    /// A link is the child of two joints.
    #[error("link `{link}` is the child of both joint `{first}` and joint `{second}`")]
    SeveralParents {
        /// The link.
        link: String,
        /// Its first parent joint.
        first: String,
        /// Its second parent joint.
        second: String,
    },
    /// Following parents from a link comes back to it.
    #[error("the joints above link `{link}` form a cycle")]
    Cycle {
        /// A link on the cycle.
        link: String,
    },
    /// The tip does not hang below the base.
    #[error("link `{tip}` does not hang below `{base}`: its root is `{root}`")]
    NotConnected {
        /// The asked-for base.
        base: String,
        /// The asked-for tip.
        tip: String,
        /// Where the walk upwards from the tip ended.
        root: String,
    },
    /// A revolute or prismatic joint has no `<limit>`.
    #[error("joint `{joint}` is {kind} and has no <limit>")]
    MissingLimits {
        /// The joint.
        joint: String,
        /// Its kind.
        kind: &'static str,
    },
    /// Limits that leave no room or no speed.
    #[error(
        "joint `{joint}` has limits [{lower}, {upper}] and velocity {velocity}: expected lower < upper and velocity > 0"
    )]
    InvalidLimits {
        /// The joint.
        joint: String,
        /// Lower position limit, rad or m.
        lower: f64,
        /// Upper position limit, rad or m.
        upper: f64,
        /// Velocity limit, rad/s or m/s.
        velocity: f64,
    },
    /// A NaN or infinity where a finite number is needed.
    #[error("{attribute} of joint `{joint}` is {value}, expected a finite number")]
    NonFinite {
        /// The joint.
        joint: String,
        /// The attribute, as in the file.
        attribute: &'static str,
        /// The value found.
        value: f64,
    },
    /// A moving joint whose axis is the zero vector.
    #[error("joint `{joint}` has a zero axis")]
    ZeroAxis {
        /// The joint.
        joint: String,
    },
    /// A joint type that a serial chain cannot hold.
    #[error("joint `{joint}` is {kind}; a chain holds fixed, revolute, continuous and prismatic joints")]
    UnsupportedJoint {
        /// The joint.
        joint: String,
        /// Its kind.
        kind: &'static str,
    },
    /// A joint on the path copies another one; solving for it alone would be wrong.
    #[error("joint `{joint}` mimics `{master}`; mimic joints cannot be part of a chain")]
    Mimic {
        /// The joint.
        joint: String,
        /// The joint that it copies.
        master: String,
    },
    /// More moving joints than the fixed capacity.
    #[error("{found} moving joints between `{base}` and `{tip}`, expected 1 to {capacity}")]
    JointCount {
        /// The asked-for base.
        base: String,
        /// The asked-for tip.
        tip: String,
        /// Moving joints found.
        found: usize,
        /// The capacity, [`MAX_DOF`].
        capacity: usize,
    },
}

/// What a joint on the path does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Motion {
    Fixed,
    Turn,
    TurnUnbounded,
    Slide,
}

/// Reads the text and checks that the whole model is a forest of declared links.
pub(crate) fn read(text: &str) -> Result<Robot, UrdfError> {
    let robot =
        urdf_rs::read_from_string(text).map_err(|error| UrdfError::Parse { message: error.to_string() })?;
    let mut links = BTreeSet::new();
    for link in &robot.links {
        if !links.insert(link.name.as_str()) {
            return Err(UrdfError::Duplicate { kind: "link", name: link.name.clone() });
        }
    }
    let mut joints = BTreeSet::new();
    let mut above: BTreeMap<&str, &Joint> = BTreeMap::new();
    for joint in &robot.joints {
        if !joints.insert(joint.name.as_str()) {
            return Err(UrdfError::Duplicate { kind: "joint", name: joint.name.clone() });
        }
        for link in [&joint.parent.link, &joint.child.link] {
            if !links.contains(link.as_str()) {
                return Err(UrdfError::UnknownLink { joint: joint.name.clone(), link: link.clone() });
            }
        }
        if let Some(first) = above.insert(&joint.child.link, joint) {
            return Err(UrdfError::SeveralParents {
                link: joint.child.link.clone(),
                first: first.name.clone(),
                second: joint.name.clone(),
            });
        }
    }
    for link in &links {
        let mut at = *link;
        // With one parent each, a walk longer than the number of links can only be going round.
        for _ in 0..links.len() {
            match above.get(at) {
                Some(joint) => at = joint.parent.link.as_str(),
                None => break,
            }
        }
        if above.contains_key(at) {
            return Err(UrdfError::Cycle { link: at.to_owned() });
        }
    }
    Ok(robot)
}

/// The joints from `base` down to `tip`, in that order, each checked.
pub(crate) fn path<'a>(
    robot: &'a Robot,
    base: &str,
    tip: &str,
) -> Result<Vec<(&'a Joint, Motion)>, UrdfError> {
    for wanted in [base, tip] {
        if !robot.links.iter().any(|link| link.name == wanted) {
            let names: Vec<&str> = robot.links.iter().map(|link| link.name.as_str()).collect();
            return Err(UrdfError::MissingLink { link: wanted.to_owned(), known: names.join(", ") });
        }
    }
    let mut path = Vec::new();
    let mut at = tip;
    while at != base {
        let Some(joint) = robot.joints.iter().find(|joint| joint.child.link == at) else {
            return Err(UrdfError::NotConnected {
                base: base.to_owned(),
                tip: tip.to_owned(),
                root: at.to_owned(),
            });
        };
        path.push((joint, checked_motion(joint)?));
        at = &joint.parent.link;
    }
    path.reverse();
    let found = path.iter().filter(|(_, motion)| *motion != Motion::Fixed).count();
    if found == 0 || found > MAX_DOF {
        return Err(UrdfError::JointCount {
            base: base.to_owned(),
            tip: tip.to_owned(),
            found,
            capacity: MAX_DOF,
        });
    }
    Ok(path)
}

fn checked_motion(joint: &Joint) -> Result<Motion, UrdfError> {
    let finite =
        |attribute: &'static str, values: &[f64]| match values.iter().find(|value| !value.is_finite()) {
            Some(&value) => Err(UrdfError::NonFinite { joint: joint.name.clone(), attribute, value }),
            None => Ok(()),
        };
    finite("origin xyz", &*joint.origin.xyz)?;
    finite("origin rpy", &*joint.origin.rpy)?;
    let unsupported = |kind| UrdfError::UnsupportedJoint { joint: joint.name.clone(), kind };
    let (motion, kind) = match joint.joint_type {
        JointType::Fixed => return Ok(Motion::Fixed),
        JointType::Revolute => (Motion::Turn, "revolute"),
        JointType::Continuous => (Motion::TurnUnbounded, "continuous"),
        JointType::Prismatic => (Motion::Slide, "prismatic"),
        JointType::Floating => return Err(unsupported("floating")),
        JointType::Planar => return Err(unsupported("planar")),
        JointType::Spherical => return Err(unsupported("spherical")),
    };
    if let Some(mimic) = &joint.mimic {
        return Err(UrdfError::Mimic { joint: joint.name.clone(), master: mimic.joint.clone() });
    }
    finite("axis xyz", &*joint.axis.xyz)?;
    if joint.axis.xyz.iter().all(|value| value.abs() < 1e-12) {
        return Err(UrdfError::ZeroAxis { joint: joint.name.clone() });
    }
    if motion != Motion::TurnUnbounded {
        check_limits(joint, kind)?;
    } else if joint.limit.velocity.is_nan() || joint.limit.velocity < 0.0 {
        return Err(UrdfError::NonFinite {
            joint: joint.name.clone(),
            attribute: "limit velocity",
            value: joint.limit.velocity,
        });
    }
    Ok(motion)
}

fn check_limits(joint: &Joint, kind: &'static str) -> Result<(), UrdfError> {
    let limit = &joint.limit;
    // The reader fills an absent <limit> with zeros; a present one must carry a velocity.
    if limit.lower == 0.0 && limit.upper == 0.0 && limit.velocity == 0.0 {
        return Err(UrdfError::MissingLimits { joint: joint.name.clone(), kind });
    }
    let named =
        [("limit lower", limit.lower), ("limit upper", limit.upper), ("limit velocity", limit.velocity)];
    for (attribute, value) in named {
        if !value.is_finite() {
            return Err(UrdfError::NonFinite { joint: joint.name.clone(), attribute, value });
        }
    }
    if limit.lower >= limit.upper || limit.velocity <= 0.0 {
        return Err(UrdfError::InvalidLimits {
            joint: joint.name.clone(),
            lower: limit.lower,
            upper: limit.upper,
            velocity: limit.velocity,
        });
    }
    Ok(())
}
