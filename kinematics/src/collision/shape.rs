//! Shapes, and the distance between two of them.
//!
//! Spheres and capsules are segments with a radius, so that what is left are distances between segments,
//! boxes and planes. Those of the library fail where cores meet; there the axis of least penetration
//! (separating-axis test) takes over, so that a distance has a sign and always a direction.

use nalgebra::{Matrix3, Vector3};
use parry3d_f64::math::{Pose, Rotation, Vector};
use parry3d_f64::query::gjk::{GJKResult, VoronoiSimplex};
use parry3d_f64::query::{details, sat};
use parry3d_f64::shape::{Cuboid, Segment, SupportMap};

use crate::frame::Frame;

/// A shape with its own frame.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Shape {
    /// A ball about the origin.
    Sphere {
        /// Above 0, m.
        radius_m: f64,
    },
    /// All points within a radius of a piece of the z axis, which has its middle at the origin.
    Capsule {
        /// Half the length of the axis, without the round ends, at least 0, m.
        half_length_m: f64,
        /// Above 0, m.
        radius_m: f64,
    },
    /// A box about the origin, along the axes.
    Box {
        /// Half its size along x, y and z, above 0, m.
        half_extents_m: [f64; 3],
    },
    /// All points with z ≤ 0: a floor, table or wall. Only for obstacles.
    HalfSpace,
}

impl Shape {
    /// Whether all measures are finite and in range.
    #[must_use]
    pub fn is_valid(&self) -> bool {
        let positive = |value: f64| value.is_finite() && value > 0.0;
        match *self {
            Self::Sphere { radius_m } => positive(radius_m),
            Self::Capsule { half_length_m, radius_m } => {
                positive(radius_m) && half_length_m.is_finite() && half_length_m >= 0.0
            }
            Self::Box { half_extents_m } => half_extents_m.iter().all(|&value| positive(value)),
            Self::HalfSpace => true,
        }
    }

    pub(super) fn solid(&self) -> Solid {
        match *self {
            Self::Sphere { radius_m } => Solid { core: Core::Segment(0.0), radius: radius_m },
            Self::Capsule { half_length_m, radius_m } => {
                Solid { core: Core::Segment(half_length_m), radius: radius_m }
            }
            Self::Box { half_extents_m } => {
                Solid { core: Core::Box(Vector3::from(half_extents_m)), radius: 0.0 }
            }
            Self::HalfSpace => Solid { core: Core::HalfSpace, radius: 0.0 },
        }
    }
}

/// A core widened by a radius.
#[derive(Clone, Copy, Debug)]
pub(super) struct Solid {
    pub(super) core: Core,
    pub(super) radius: f64,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Core {
    /// Along z, by half its length.
    Segment(f64),
    Box(Vector3<f64>),
    HalfSpace,
}

/// Where two solids are closest.
#[derive(Clone, Copy, Debug)]
pub(super) struct Contact {
    /// Negative when they overlap, m.
    pub(super) distance: f64,
    /// Unit vector from the first to the second: the direction in which the second gets away.
    pub(super) normal: Vector3<f64>,
    pub(super) point_a: Vector3<f64>,
    pub(super) point_b: Vector3<f64>,
}

impl Solid {
    /// Radius of the smallest ball about the origin that holds the solid, m.
    pub(super) fn bound(&self) -> f64 {
        match self.core {
            Core::Segment(half) => half + self.radius,
            Core::Box(half) => half.norm() + self.radius,
            Core::HalfSpace => f64::INFINITY,
        }
    }

    /// How far the solid reaches from its origin along a unit vector, m.
    fn reach(&self, base_from_self: &Frame, along: &Vector3<f64>) -> f64 {
        let local = base_from_self.rotation.tr_mul(along);
        self.radius
            + match self.core {
                Core::Segment(half) => half * local.z.abs(),
                Core::Box(half) => half.dot(&local.abs()),
                Core::HalfSpace => f64::INFINITY,
            }
    }

    /// The corners of the core.
    pub(super) fn corners(&self) -> impl Iterator<Item = Vector3<f64>> {
        let (half, count) = match self.core {
            Core::Segment(half) => (Vector3::new(0.0, 0.0, half), 2),
            Core::Box(half) => (half, 8),
            Core::HalfSpace => (Vector3::zeros(), 0),
        };
        (0..count).map(move |i| {
            let sign = |bit: usize| if i & bit == 0 { 1.0 } else { -1.0 };
            Vector3::new(sign(2) * half.x, sign(4) * half.y, sign(1) * half.z)
        })
    }
}

/// A lower bound of the distance, from one direction: that between the origins.
pub(super) fn gap(a: &Solid, base_from_a: &Frame, b: &Solid, base_from_b: &Frame) -> f64 {
    let between = base_from_b.translation - base_from_a.translation;
    let length = between.norm();
    if length == 0.0 {
        return f64::NEG_INFINITY;
    }
    let along = between / length;
    length - a.reach(base_from_a, &along) - b.reach(base_from_b, &along)
}

/// The closest points of two solids in the frames `base_from_a` and `base_from_b`, in the base frame.
pub(super) fn contact(a: &Solid, base_from_a: &Frame, b: &Solid, base_from_b: &Frame) -> Contact {
    let cores = match (a.core, b.core) {
        (Core::Segment(half_a), Core::Segment(half_b)) => {
            segment_segment(&ends(base_from_a, half_a), &ends(base_from_b, half_b))
        }
        (Core::Box(half_a), Core::Segment(half_b)) => {
            box_segment(&half_a, base_from_a, &ends(base_from_b, half_b))
        }
        (Core::Segment(half_a), Core::Box(half_b)) => {
            box_segment(&half_b, base_from_b, &ends(base_from_a, half_a)).turned()
        }
        (Core::Box(half_a), Core::Box(half_b)) => box_box(&half_a, base_from_a, &half_b, base_from_b),
        (Core::HalfSpace, _) => half_space(base_from_a, b, base_from_b),
        (_, Core::HalfSpace) => half_space(base_from_b, a, base_from_a).turned(),
    };
    Contact {
        distance: cores.distance - a.radius - b.radius,
        normal: cores.normal,
        point_a: cores.point_a + cores.normal * a.radius,
        point_b: cores.point_b - cores.normal * b.radius,
    }
}

impl Contact {
    /// With the roles of the two exchanged.
    fn turned(self) -> Self {
        Self { normal: -self.normal, point_a: self.point_b, point_b: self.point_a, ..self }
    }

    /// From two points that do not coincide; `None` if they do.
    fn between(point_a: Vector3<f64>, point_b: Vector3<f64>) -> Option<Self> {
        let apart = point_b - point_a;
        let distance = apart.norm();
        (distance > 1e-9).then(|| Self { distance, normal: apart / distance, point_a, point_b })
    }
}

fn ends(base_from_segment: &Frame, half: f64) -> [Vector3<f64>; 2] {
    let along = base_from_segment.rotation.column(2) * half;
    [base_from_segment.translation - along, base_from_segment.translation + along]
}

fn to_parry(v: &Vector3<f64>) -> Vector {
    Vector::new(v.x, v.y, v.z)
}

fn from_parry(v: Vector) -> Vector3<f64> {
    Vector3::new(v.x, v.y, v.z)
}

fn segment_segment(a: &[Vector3<f64>; 2], b: &[Vector3<f64>; 2]) -> Contact {
    let (on_a, on_b) = details::closest_points_segment_segment_with_locations_nD(
        (&to_parry(&a[0]), &to_parry(&a[1])),
        (&to_parry(&b[0]), &to_parry(&b[1])),
    );
    let at = |ends: &[Vector3<f64>; 2], [first, second]: [f64; 2]| ends[0] * first + ends[1] * second;
    let point_a = at(a, on_a.barycentric_coordinates());
    let point_b = at(b, on_b.barycentric_coordinates());
    Contact::between(point_a, point_b).unwrap_or_else(|| {
        // Crossing axes: the way out is across both.
        let across = (a[1] - a[0]).cross(&(b[1] - b[0]));
        let normal = across.try_normalize(1e-12).unwrap_or_else(Vector3::z);
        Contact { distance: 0.0, normal, point_a, point_b }
    })
}

fn box_segment(half: &Vector3<f64>, base_from_box: &Frame, segment: &[Vector3<f64>; 2]) -> Contact {
    let box_from_base = base_from_box.inverse();
    let [start, end] =
        segment.map(|point| to_parry(&(box_from_base.rotation * point + box_from_base.translation)));
    let (cuboid, segment) = (Cuboid::new(to_parry(half)), Segment::new(start, end));
    let apart = Pose::IDENTITY;
    let local = closest(&apart, &cuboid, &segment).unwrap_or_else(|| {
        let face = sat::cuboid_support_map_find_local_separating_normal_oneway(&cuboid, &segment, &apart);
        let edge = sat::cuboid_segment_find_local_separating_edge_twoway(&cuboid, &segment, &apart);
        let (depth, normal) = if edge.0 > face.0 { edge } else { face };
        least_penetration(depth, normal, segment.local_support_point(-normal))
    });
    in_base(&local, base_from_box)
}

fn box_box(
    half_a: &Vector3<f64>,
    base_from_a: &Frame,
    half_b: &Vector3<f64>,
    base_from_b: &Frame,
) -> Contact {
    let a_from_b = base_from_a.inverse().then(base_from_b);
    let (a, b) = (Cuboid::new(to_parry(half_a)), Cuboid::new(to_parry(half_b)));
    let pose = to_pose(&a_from_b);
    let local = closest(&pose, &a, &b).unwrap_or_else(|| {
        let face_a = sat::cuboid_cuboid_find_local_separating_normal_oneway(&a, &b, &pose);
        let back = sat::cuboid_cuboid_find_local_separating_normal_oneway(&b, &a, &pose.inverse());
        let face_b = (back.0, -(pose.rotation * back.1));
        let edge = sat::cuboid_cuboid_find_local_separating_edge_twoway(&a, &b, &pose);
        let mut best = face_a;
        for other in [face_b, edge] {
            if other.0 > best.0 {
                best = other;
            }
        }
        let support = pose.transform_point(b.local_support_point(pose.rotation.inverse() * -best.1));
        least_penetration(best.0, best.1, support)
    });
    in_base(&local, base_from_a)
}

/// Closest points in the frame of the first shape, or `None` where they overlap.
fn closest(pose: &Pose, a: &impl SupportMap, b: &impl SupportMap) -> Option<Contact> {
    let mut simplex = VoronoiSimplex::new();
    match details::closest_points_support_map_support_map_with_params(
        pose,
        a,
        b,
        f64::MAX,
        &mut simplex,
        None,
    ) {
        GJKResult::ClosestPoints(on_a, on_b, _) => Contact::between(from_parry(on_a), from_parry(on_b)),
        _ => None,
    }
}

fn least_penetration(separation: f64, normal: Vector, deepest: Vector) -> Contact {
    let (normal, point_b) = (from_parry(normal), from_parry(deepest));
    Contact { distance: separation, normal, point_a: point_b - normal * separation, point_b }
}

fn in_base(local: &Contact, base_from_local: &Frame) -> Contact {
    let point = |p: &Vector3<f64>| base_from_local.rotation * p + base_from_local.translation;
    Contact {
        distance: local.distance,
        normal: base_from_local.rotation * local.normal,
        point_a: point(&local.point_a),
        point_b: point(&local.point_b),
    }
}

fn to_pose(frame: &Frame) -> Pose {
    let rotation: Matrix3<f64> = frame.rotation;
    let unit =
        nalgebra::UnitQuaternion::from_rotation_matrix(&nalgebra::Rotation3::from_matrix_unchecked(rotation));
    Pose::from_parts(to_parry(&frame.translation), Rotation::from_xyzw(unit.i, unit.j, unit.k, unit.w))
}

fn half_space(base_from_plane: &Frame, body: &Solid, base_from_body: &Frame) -> Contact {
    let normal = base_from_plane.rotation.column(2).into_owned();
    let mut distance = f64::INFINITY;
    let mut deepest = base_from_body.translation;
    for corner in body.corners() {
        let point = base_from_body.rotation * corner + base_from_body.translation;
        let above = normal.dot(&(point - base_from_plane.translation));
        if above < distance {
            (distance, deepest) = (above, point);
        }
    }
    Contact { distance, normal, point_a: deepest - normal * distance, point_b: deepest }
}
