//! From URDF text to a robot whose links and joints form trees, with errors that name the faulty element.

use std::collections::BTreeMap;

use urdf_rs::{Joint, Robot};

use crate::chain::JointLimits;
use crate::motion::{self, Kind};
use crate::xml::{Document, Given};

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
    /// A link or joint lacks something or holds something else than URDF prescribes.
    #[error("{element} cannot be read: {message}")]
    Element {
        /// Kind and name, such as "joint `elbow`".
        element: String,
        /// What the reader said.
        message: String,
    },
    /// More of something than any robot needs; the bound keeps work and memory in proportion.
    #[error("the URDF text has {found} {what}, expected at most {capacity}")]
    TooLarge {
        /// What is counted.
        what: &'static str,
        /// How many there are, as far as they were counted.
        found: usize,
        /// The bound.
        capacity: usize,
    },
    /// The text is a template that was not expanded.
    #[error("line {line} holds {found}, which only xacro understands: expand the file with `xacro` first")]
    Xacro {
        /// The element or attribute.
        found: String,
        /// Its line, one-based.
        line: usize,
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
    /// Base and tip hang from different roots.
    #[error("links `{base}` and `{tip}` are not connected: their roots are `{base_root}` and `{tip_root}`")]
    NotConnected {
        /// The asked-for base.
        base: String,
        /// The asked-for tip.
        tip: String,
        /// Where the walk upwards from the base ended.
        base_root: String,
        /// Where the walk upwards from the tip ended.
        tip_root: String,
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
    /// A `<safety_controller>` that leaves no room within the joint's limits.
    #[error(
        "joint `{joint}` has soft limits [{soft_lower}, {soft_upper}] within limits [{lower}, {upper}]: \
         expected room between them"
    )]
    InvalidSoftLimits {
        /// The joint.
        joint: String,
        /// Lower soft limit, rad or m; −∞ where there is none.
        soft_lower: f64,
        /// Upper soft limit, rad or m; ∞ where there is none.
        soft_upper: f64,
        /// Lower limit, rad or m.
        lower: f64,
        /// Upper limit, rad or m.
        upper: f64,
    },
    /// A NaN, an infinity or an absurdly large number.
    #[error("{attribute} of joint `{joint}` is {value}, expected a finite number within ±{bound}")]
    OutOfRange {
        /// The joint.
        joint: String,
        /// The attribute, as in the file.
        attribute: &'static str,
        /// The value found.
        value: f64,
        /// The largest magnitude that is taken.
        bound: f64,
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
    /// A joint copies one that does not exist.
    #[error("joint `{joint}` mimics `{master}`, which is not declared")]
    UnknownMaster {
        /// The joint.
        joint: String,
        /// The undeclared joint.
        master: String,
    },
    /// Joints that copy each other in a circle.
    #[error("joint `{joint}` mimics itself, directly or through others")]
    MimicCycle {
        /// A joint that leads into the circle.
        joint: String,
    },
    /// A joint and the one that it copies leave each other no room or no speed.
    #[error(
        "joint `{joint}` mimics `{master}`; together their limits leave `{master}` [{lower}, {upper}] and \
         velocity {velocity}: expected lower < upper and velocity > 0"
    )]
    MimicLimits {
        /// The joint.
        joint: String,
        /// The joint that it copies.
        master: String,
        /// Lower position limit of the copied joint, rad or m.
        lower: f64,
        /// Upper position limit of the copied joint, rad or m.
        upper: f64,
        /// Velocity limit of the copied joint, rad/s or m/s.
        velocity: f64,
    },
    /// Fewer or more moving joints than a chain can hold. Mimic joints count, unless they never move.
    #[error("{found} moving joints between `{base}` and `{tip}`, expected 1 to {capacity}")]
    JointCount {
        /// The asked-for base.
        base: String,
        /// The asked-for tip.
        tip: String,
        /// Joints found.
        found: usize,
        /// The capacity, [`MAX_DOF`](crate::MAX_DOF).
        capacity: usize,
    },
}

/// A robot description: every element can be read; whether they fit together is for [`Tree`] to say.
pub(crate) struct Description {
    pub(crate) robot: Robot,
    /// One per joint.
    pub(crate) given: Vec<Given>,
}

impl Description {
    /// Reads a URDF text. Work is linear in its length but for one logarithm.
    pub(crate) fn read(text: &str) -> Result<Self, UrdfError> {
        let document = Document::read(text)?;
        let robot =
            urdf_rs::read_from_string(&document.text).map_err(|error| document.culprit(error.to_string()))?;
        Ok(Self { robot, given: document.given })
    }
}

/// A [`Description`] whose joints connect declared links to trees: who is who, by index into links and joints.
pub(crate) struct Tree<'a> {
    pub(crate) description: &'a Description,
    links: BTreeMap<&'a str, usize>,
    joints: BTreeMap<&'a str, usize>,
    /// The joint above each link and the parent link of that joint.
    above: Vec<Option<(usize, usize)>>,
}

impl<'a> Tree<'a> {
    /// Checks names and connections of the whole model.
    pub(crate) fn new(description: &'a Description) -> Result<Self, UrdfError> {
        let robot = &description.robot;
        let links = index_of_names("link", robot.links.iter().map(|link| link.name.as_str()))?;
        let joints = index_of_names("joint", robot.joints.iter().map(|joint| joint.name.as_str()))?;
        let mut above = vec![None; links.len()];
        for (index, joint) in robot.joints.iter().enumerate() {
            let declared = |link: &str| {
                links.get(link).copied().ok_or_else(|| UrdfError::UnknownLink {
                    joint: joint.name.clone(),
                    link: link.to_owned(),
                })
            };
            let (parent, child) = (declared(&joint.parent.link)?, declared(&joint.child.link)?);
            if let Some((first, _)) = above[child].replace((index, parent)) {
                let first: &Joint = &robot.joints[first];
                return Err(UrdfError::SeveralParents {
                    link: joint.child.link.clone(),
                    first: first.name.clone(),
                    second: joint.name.clone(),
                });
            }
        }
        let tree = Self { description, links, joints, above };
        tree.refuse_cycles()?;
        Ok(tree)
    }

    /// Each walk upwards stops where an earlier one passed, so every link is visited once.
    fn refuse_cycles(&self) -> Result<(), UrdfError> {
        let mut passed_by = vec![None; self.above.len()];
        for walk in 0..self.above.len() {
            let mut at = walk;
            while passed_by[at].is_none() {
                passed_by[at] = Some(walk);
                match self.above[at] {
                    Some((_, parent)) if passed_by[parent] == Some(walk) => {
                        let link = self.description.robot.links[parent].name.clone();
                        return Err(UrdfError::Cycle { link });
                    }
                    Some((_, parent)) => at = parent,
                    None => break,
                }
            }
        }
        Ok(())
    }

    /// The joint's own limits.
    pub(crate) fn limits(&self, joint: usize, kind: Kind) -> Result<JointLimits, UrdfError> {
        let given = self.description.given.get(joint).copied().unwrap_or_default();
        motion::limits(&self.description.robot.joints[joint], kind, given)
    }

    /// Index of the named joint.
    pub(crate) fn joint(&self, name: &str) -> Option<usize> {
        self.joints.get(name).copied()
    }

    pub(crate) fn link_name(&self, link: usize) -> &'a str {
        &self.description.robot.links[link].name
    }

    /// From the named link up to its root: each link, and the joint above it (none above the root).
    pub(crate) fn ancestry(&self, link: &str) -> Result<Vec<(usize, Option<usize>)>, UrdfError> {
        let Some(&link_index) = self.links.get(link) else {
            let most = 50;
            let mut known: Vec<&str> =
                self.description.robot.links.iter().map(|link| link.name.as_str()).take(most).collect();
            if self.links.len() > most {
                known.push("…");
            }
            return Err(UrdfError::MissingLink { link: link.to_owned(), known: known.join(", ") });
        };
        let mut ancestry = Vec::new();
        let mut at = link_index;
        while let Some((joint, parent)) = self.above[at] {
            ancestry.push((at, Some(joint)));
            at = parent;
        }
        ancestry.push((at, None));
        Ok(ancestry)
    }
}

fn index_of_names<'a>(
    kind: &'static str,
    names: impl Iterator<Item = &'a str>,
) -> Result<BTreeMap<&'a str, usize>, UrdfError> {
    let mut indices = BTreeMap::new();
    for (index, name) in names.enumerate() {
        if indices.insert(name, index).is_some() {
            return Err(UrdfError::Duplicate { kind, name: name.to_owned() });
        }
    }
    Ok(indices)
}
