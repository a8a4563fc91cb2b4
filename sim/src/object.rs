//! The things on the table: mugs with handles, cubes and bowls, in named colours.

use nalgebra::{Isometry3, Vector3};
use rapier3d::prelude as rp;

use crate::render::Mesh;

/// A kind of object; its name is the everyday noun.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// A mug with one handle.
    Mug,
    /// A cube.
    Cube,
    /// A bowl, open at the top.
    Bowl,
}

impl Kind {
    /// Every kind, in a fixed order.
    pub const ALL: [Self; 3] = [Self::Mug, Self::Cube, Self::Bowl];

    /// The lower-case noun.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Mug => "mug",
            Self::Cube => "cube",
            Self::Bowl => "bowl",
        }
    }
}

/// A colour by its everyday name; the exact shade varies around it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Paint {
    /// Red.
    Red,
    /// Green.
    Green,
    /// Blue.
    Blue,
    /// Yellow.
    Yellow,
    /// Orange.
    Orange,
    /// Purple.
    Purple,
    /// White.
    White,
    /// Black.
    Black,
}

impl Paint {
    /// Every colour, in a fixed order.
    pub const ALL: [Self; 8] = [
        Self::Red,
        Self::Green,
        Self::Blue,
        Self::Yellow,
        Self::Orange,
        Self::Purple,
        Self::White,
        Self::Black,
    ];

    /// The lower-case adjective.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Red => "red",
            Self::Green => "green",
            Self::Blue => "blue",
            Self::Yellow => "yellow",
            Self::Orange => "orange",
            Self::Purple => "purple",
            Self::White => "white",
            Self::Black => "black",
        }
    }

    /// The shade that the name stands for, linear RGB in 0..1.
    #[must_use]
    pub fn rgb(self) -> [f32; 3] {
        match self {
            Self::Red => [0.62, 0.03, 0.03],
            Self::Green => [0.04, 0.36, 0.06],
            Self::Blue => [0.03, 0.10, 0.60],
            Self::Yellow => [0.80, 0.65, 0.03],
            Self::Orange => [0.85, 0.24, 0.01],
            Self::Purple => [0.26, 0.04, 0.42],
            Self::White => [0.86, 0.86, 0.84],
            Self::Black => [0.012, 0.012, 0.014],
        }
    }
}

/// Exact dimensions of one object. The object's frame has its origin in the middle of the
/// footprint on the table, z up; a mug's handle points along +x.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Shape {
    /// What it is.
    pub kind: Kind,
    /// Outer radius (mug, bowl) or half the edge (cube), metres.
    pub radius_m: f32,
    /// Height, metres.
    pub height_m: f32,
    /// Mass, kilograms.
    pub mass_kg: f32,
}

const MUG_WALL_M: f32 = 0.004;
const MUG_WALL_BOXES: usize = 12;
const HANDLE_ROD_M: f32 = 0.0045;
const BOWL_WALL_M: f32 = 0.005;

impl Shape {
    /// A nominal object scaled by `scale` (about 0.9 to 1.1).
    #[must_use]
    pub fn new(kind: Kind, scale: f32) -> Self {
        let (radius_m, height_m, mass_kg) = match kind {
            Kind::Mug => (0.028, 0.080, 0.20),
            Kind::Cube => (0.021, 0.042, 0.06),
            Kind::Bowl => (0.048, 0.040, 0.12),
        };
        Self { kind, radius_m: radius_m * scale, height_m: height_m * scale, mass_kg: mass_kg * scale }
    }

    /// Radius of the circle about the origin that holds the whole footprint, handle included.
    #[must_use]
    pub fn footprint_m(&self) -> f32 {
        match self.kind {
            Kind::Mug => self.radius_m + self.handle_m(),
            Kind::Cube => self.radius_m * std::f32::consts::SQRT_2,
            Kind::Bowl => self.radius_m,
        }
    }

    /// How far the handle stands out from the wall, metres.
    fn handle_m(&self) -> f32 {
        self.handle_rise_m() + HANDLE_ROD_M - MUG_WALL_M / 2.0
    }

    /// Half the handle's height, metres.
    fn handle_rise_m(&self) -> f32 {
        0.28 * self.height_m
    }

    /// Height of the tool above the table when the object is grasped, metres.
    #[must_use]
    pub fn grasp_height_m(&self) -> f32 {
        match self.kind {
            // By the rim, above the handle, which then may point anywhere.
            Kind::Mug => self.height_m + 0.006,
            Kind::Cube => 0.024,
            Kind::Bowl => 0.75 * self.height_m,
        }
    }

    /// The drawn surface, in the object's frame.
    #[must_use]
    pub fn mesh(&self) -> Mesh {
        let half = self.height_m / 2.0;
        let centred = match self.kind {
            Kind::Cube => Mesh::cuboid(Vector3::new(self.radius_m, self.radius_m, half)),
            Kind::Mug => Mesh::mug(
                self.radius_m,
                self.radius_m - MUG_WALL_M,
                half,
                0.006,
                self.handle_rise_m(),
                HANDLE_ROD_M,
                20,
            ),
            Kind::Bowl => Mesh::bowl(self.radius_m, 0.55 * self.radius_m, half, BOWL_WALL_M, 20),
        };
        Mesh::merge(&[(&centred, Isometry3::translation(0.0, 0.0, half))])
    }

    /// The solid that physics sees: one compound per object, in the object's frame, with
    /// explicit mass properties. Twelve wall boxes make a mug round enough to be held.
    pub fn collider(&self) -> rp::ColliderBuilder {
        let half = self.height_m / 2.0;
        let pose = |x: f32, y: f32, z: f32, yaw: f32| {
            rp::Pose::new(rp::Vector::new(x, y, z), rp::Vector::new(0.0, 0.0, yaw))
        };
        let ring = |radius: f32, wall: f32, boxes: usize, half_height: f32, centre_z: f32| {
            (0..boxes)
                .map(|i| {
                    let angle = (i as f32 + 0.5) / boxes as f32 * std::f32::consts::TAU;
                    let middle = radius - wall / 2.0;
                    let half_chord = radius * (std::f32::consts::PI / boxes as f32).tan();
                    (
                        pose(middle * angle.cos(), middle * angle.sin(), centre_z, angle),
                        rp::SharedShape::cuboid(wall / 2.0, half_chord, half_height),
                    )
                })
                .collect::<Vec<_>>()
        };
        let (builder, inertia) = match self.kind {
            Kind::Cube => (
                rp::ColliderBuilder::compound(vec![(
                    pose(0.0, 0.0, half, 0.0),
                    rp::SharedShape::cuboid(self.radius_m, self.radius_m, half),
                )]),
                self.mass_kg * (2.0 * self.radius_m).powi(2) / 6.0,
            ),
            Kind::Mug => {
                let mut parts = ring(self.radius_m, MUG_WALL_M, MUG_WALL_BOXES, half, half);
                parts.push((
                    rp::Pose::new(
                        rp::Vector::new(0.0, 0.0, 0.003),
                        rp::Vector::new(std::f32::consts::FRAC_PI_2, 0.0, 0.0),
                    ),
                    rp::SharedShape::cylinder(0.003, self.radius_m - MUG_WALL_M),
                ));
                let (reach, rise) = (self.handle_m(), self.handle_rise_m());
                let x = self.radius_m + reach / 2.0;
                for z in [half - rise, half + rise] {
                    parts.push((
                        pose(x, 0.0, z, 0.0),
                        rp::SharedShape::cuboid(reach / 2.0, HANDLE_ROD_M, HANDLE_ROD_M),
                    ));
                }
                parts.push((
                    pose(self.radius_m + reach - HANDLE_ROD_M, 0.0, half, 0.0),
                    rp::SharedShape::cuboid(HANDLE_ROD_M, HANDLE_ROD_M, rise),
                ));
                (
                    rp::ColliderBuilder::compound(parts),
                    2.0e-4_f32.max(self.mass_kg * self.height_m.powi(2) / 6.0),
                )
            }
            Kind::Bowl => {
                let mut parts = ring(self.radius_m, BOWL_WALL_M, 16, half, half);
                parts.push((
                    rp::Pose::new(
                        rp::Vector::new(0.0, 0.0, 0.003),
                        rp::Vector::new(std::f32::consts::FRAC_PI_2, 0.0, 0.0),
                    ),
                    rp::SharedShape::cylinder(0.003, self.radius_m - BOWL_WALL_M),
                ));
                (rp::ColliderBuilder::compound(parts), self.mass_kg * self.radius_m.powi(2) / 2.0)
            }
        };
        let centre_z = if self.kind == Kind::Cube { half } else { 0.42 * self.height_m };
        builder
            .density(0.0)
            .mass_properties(rp::MassProperties::new(
                rp::Vector::new(0.0, 0.0, centre_z),
                self.mass_kg,
                rp::Vector::new(inertia, inertia, inertia),
            ))
            .friction(0.8)
            .restitution(0.0)
    }
}
