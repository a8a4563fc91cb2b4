//! Distances between the shapes of a robot and around it, from forward kinematics and closed forms that share no
//! code with the crate: along a segment the distance from a convex shape is convex, so halving finds it.

use std::collections::BTreeMap;

use nalgebra::{Isometry3, Point3, Translation3, Unit, UnitQuaternion, Vector3};
use urdf_rs::{Geometry, JointType};

use super::Robot;

/// A box (radius 0) or a segment along z widened by a radius, or all below a plane.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Solid {
    Round { half: f64, radius: f64 },
    Box { half: Vector3<f64> },
    Below,
}

struct Part {
    link: String,
    /// The joint of the chain that moves it, counted from 1; 0 for what stands still.
    depth: usize,
    link_from_part: Isometry3<f64>,
    solid: Solid,
}

pub(crate) struct Judge {
    robot: urdf_rs::Robot,
    base: String,
    joint_names: Vec<String>,
    parts: Vec<Part>,
    pairs: Vec<(usize, usize)>,
}

impl Judge {
    /// Leaves out pairs of one link, of links joined by a joint, and those closer than the margin at `reference_q`.
    pub(crate) fn new(robot: &Robot, reference_q: &[f64], margin_m: f64) -> Self {
        let chain = robot.chain();
        let description = urdf_rs::read_from_string(robot.urdf).unwrap();
        let mut judge = Self {
            base: robot.base.to_owned(),
            joint_names: chain.joint_names().to_vec(),
            robot: description,
            parts: Vec::new(),
            pairs: Vec::new(),
        };
        for link in &judge.robot.links {
            for collision in &link.collision {
                let [r, p, y] = *collision.origin.rpy;
                let turn = UnitQuaternion::from_euler_angles(r, p, y);
                let link_from_part =
                    Isometry3::from_parts(Translation3::from(Vector3::from(*collision.origin.xyz)), turn);
                let solid = match &collision.geometry {
                    Geometry::Box { size } => Solid::Box { half: Vector3::from(**size) / 2.0 },
                    Geometry::Cylinder { radius, length } | Geometry::Capsule { radius, length } => {
                        Solid::Round { half: length / 2.0, radius: *radius }
                    }
                    Geometry::Sphere { radius } => Solid::Round { half: 0.0, radius: *radius },
                    Geometry::Mesh { .. } => panic!("no meshes here"),
                };
                let depth = judge.depth(&link.name);
                judge.parts.push(Part { link: link.name.clone(), depth, link_from_part, solid });
            }
        }
        let places = judge.places(reference_q);
        for a in 0..judge.parts.len() {
            for b in a + 1..judge.parts.len() {
                let [part_a, part_b] = [&judge.parts[a], &judge.parts[b]];
                let joined = judge.robot.joints.iter().any(|joint| {
                    let ends = [&joint.parent.link, &joint.child.link];
                    ends == [&part_a.link, &part_b.link] || ends == [&part_b.link, &part_a.link]
                });
                let apart = distance(&part_a.solid, &places[a], &part_b.solid, &places[b]);
                if part_a.depth != part_b.depth && !joined && apart >= margin_m {
                    judge.pairs.push((a, b));
                }
            }
        }
        judge
    }

    fn depth(&self, link: &str) -> usize {
        let mut at = link.to_owned();
        loop {
            let Some(joint) = self.robot.joints.iter().find(|joint| joint.child.link == at) else { return 0 };
            if let Some(index) = self.joint_names.iter().position(|name| *name == joint.name) {
                return index + 1;
            }
            at = joint.parent.link.clone();
        }
    }

    /// `base_from_part` of every part.
    fn places(&self, q: &[f64]) -> Vec<Isometry3<f64>> {
        let mut known: BTreeMap<&str, Isometry3<f64>> = BTreeMap::new();
        known.insert(&self.base, Isometry3::identity());
        // The base is the root of these files.
        while known.len() < self.robot.links.len() {
            for joint in &self.robot.joints {
                let Some(parent) = known.get(joint.parent.link.as_str()) else { continue };
                let [r, p, y] = *joint.origin.rpy;
                let origin = Isometry3::from_parts(
                    Translation3::from(Vector3::from(*joint.origin.xyz)),
                    UnitQuaternion::from_euler_angles(r, p, y),
                );
                let mut pose = parent * origin;
                if let Some(index) = self.joint_names.iter().position(|name| *name == joint.name) {
                    let axis = Unit::new_normalize(Vector3::from(*joint.axis.xyz));
                    if joint.joint_type == JointType::Prismatic {
                        pose *= Translation3::from(axis.into_inner() * q[index]);
                    } else {
                        pose *= UnitQuaternion::from_axis_angle(&axis, q[index]);
                    }
                }
                known.insert(&joint.child.link, pose);
            }
        }
        self.parts.iter().map(|part| known[part.link.as_str()] * part.link_from_part).collect()
    }

    /// The smallest distance of any pair, or of any moving part from an obstacle.
    pub(crate) fn smallest(&self, q: &[f64], obstacles: &[(Solid, Isometry3<f64>)]) -> f64 {
        let places = self.places(q);
        let mut smallest = f64::INFINITY;
        for &(a, b) in &self.pairs {
            let (part_a, part_b) = (&self.parts[a].solid, &self.parts[b].solid);
            let lower = (places[a].translation.vector - places[b].translation.vector).norm()
                - bound(part_a)
                - bound(part_b);
            if lower < smallest {
                smallest = smallest.min(distance(part_a, &places[a], part_b, &places[b]));
            }
        }
        for (part, place) in self.parts.iter().zip(&places).filter(|(part, _)| part.depth > 0) {
            for (solid, base_from_obstacle) in obstacles {
                smallest = smallest.min(distance(solid, base_from_obstacle, &part.solid, place));
            }
        }
        smallest
    }
}

fn bound(solid: &Solid) -> f64 {
    match solid {
        Solid::Round { half, radius } => half + radius,
        Solid::Box { half } => half.norm(),
        Solid::Below => f64::INFINITY,
    }
}

/// Distance of two solids; negative, but not exact, where they overlap.
pub(crate) fn distance(a: &Solid, at_a: &Isometry3<f64>, b: &Solid, at_b: &Isometry3<f64>) -> f64 {
    match (a, b) {
        (Solid::Below, _) => {
            corners(b).iter().map(|corner| (at_a.inverse() * at_b * corner).z).fold(f64::INFINITY, f64::min)
                - if let Solid::Round { radius, .. } = b { *radius } else { 0.0 }
        }
        (_, Solid::Below) => distance(b, at_b, a, at_a),
        (Solid::Round { radius, .. }, _) => {
            let ends = corners(a);
            along(&(at_a * ends[0]), &(at_a * ends[1]), b, at_b) - radius
        }
        (_, Solid::Round { .. }) => distance(b, at_b, a, at_a),
        (Solid::Box { .. }, Solid::Box { .. }) => edges(a, at_a, b, at_b).min(edges(b, at_b, a, at_a)),
    }
}

/// The edges of a box against another solid.
fn edges(a: &Solid, at_a: &Isometry3<f64>, b: &Solid, at_b: &Isometry3<f64>) -> f64 {
    let corners = corners(a);
    let mut smallest = f64::INFINITY;
    for i in 0..8 {
        for bit in [1, 2, 4] {
            if i & bit == 0 {
                smallest = smallest.min(along(&(at_a * corners[i]), &(at_a * corners[i | bit]), b, at_b));
            }
        }
    }
    smallest
}

fn corners(solid: &Solid) -> Vec<Point3<f64>> {
    match solid {
        Solid::Round { half, .. } => vec![Point3::new(0.0, 0.0, -half), Point3::new(0.0, 0.0, *half)],
        Solid::Box { half } => (0..8)
            .map(|i| {
                let sign = |bit: usize| if i & bit == 0 { -1.0 } else { 1.0 };
                Point3::new(sign(1) * half.x, sign(2) * half.y, sign(4) * half.z)
            })
            .collect(),
        Solid::Below => Vec::new(),
    }
}

/// The smallest signed distance from a solid along a segment.
fn along(start: &Point3<f64>, end: &Point3<f64>, solid: &Solid, at: &Isometry3<f64>) -> f64 {
    let (start, end) = (at.inverse_transform_point(start), at.inverse_transform_point(end));
    let value = |share: f64| signed(&(start + (end - start) * share), solid);
    let (mut low, mut high) = (0.0, 1.0);
    for _ in 0..60 {
        let (left, right) = (low + (high - low) * 0.382, low + (high - low) * 0.618);
        if value(left) < value(right) { high = right } else { low = left }
    }
    value(0.5 * (low + high)).min(value(0.0)).min(value(1.0))
}

/// Signed distance of a point in the solid's frame.
fn signed(point: &Point3<f64>, solid: &Solid) -> f64 {
    match solid {
        Solid::Round { half, radius } => {
            let mut beyond = point.coords;
            beyond.z -= beyond.z.clamp(-half, *half);
            beyond.norm() - radius
        }
        Solid::Box { half } => {
            let beyond = point.coords.abs() - half;
            beyond.sup(&Vector3::zeros()).norm() + beyond.max().min(0.0)
        }
        Solid::Below => point.z,
    }
}
