//! Primitive shapes. Solids of revolution stand on the z axis and are centred on the origin.

use nalgebra::{Isometry3, Point3, Vector3};

use super::mesh::Mesh;

/// A point of a profile that is turned around the z axis.
#[derive(Clone, Copy)]
struct Rim {
    radius: f64,
    z: f64,
    /// Outward normal in the (radius, z) half-plane; any length.
    normal: [f64; 2],
    openness: f32,
}

fn rim(radius: f64, z: f64, normal: [f64; 2]) -> Rim {
    Rim { radius, z, normal, openness: 1.0 }
}

/// Sine and cosine in f64, rounded to f32 later, so that meshes do not hang on a platform's f32 functions.
fn circle(step: usize, steps: usize) -> (f64, f64) {
    (std::f64::consts::TAU * (step % steps) as f64 / steps as f64).sin_cos()
}

#[derive(Default)]
struct Builder {
    vertices: Vec<Point3<f32>>,
    normals: Vec<Vector3<f32>>,
    openness: Vec<f32>,
    triangles: Vec<[u32; 3]>,
}

impl Builder {
    fn vertex(&mut self, position: [f64; 3], normal: [f64; 3], openness: f32) -> u32 {
        let normal = Vector3::from(normal).try_normalize(1e-12).unwrap_or_else(Vector3::z);
        self.vertices.push(Point3::from(position.map(|value| value as f32)));
        self.normals.push(normal.map(|value| value as f32));
        self.openness.push(openness);
        self.vertices.len() as u32 - 1
    }

    /// Adds a triangle turned the way its vertex normals point; drops it when it has no area.
    fn triangle(&mut self, corners: [u32; 3]) {
        let [a, b, c] = corners.map(|corner| self.vertices[corner as usize].cast::<f64>());
        let face = (b - a).cross(&(c - a));
        if face.norm() < 1e-14 {
            return;
        }
        let outward =
            corners.iter().fold(Vector3::zeros(), |sum, &corner| sum + self.normals[corner as usize]);
        let [a, b, c] = corners;
        self.triangles.push(if face.dot(&outward.cast()) >= 0.0 { [a, b, c] } else { [a, c, b] });
    }

    fn quad(&mut self, [a, b, c, d]: [u32; 4]) {
        self.triangle([a, b, c]);
        self.triangle([a, c, d]);
    }

    /// Turns a smooth stretch of profile around z. A crease is the end of one stretch and the start of the next.
    fn revolve(&mut self, profile: &[Rim], segments: usize) {
        let segments = segments.max(3);
        let base = self.vertices.len() as u32;
        for point in profile {
            for step in 0..segments {
                let (sin, cos) = circle(step, segments);
                let [outward, upward] = point.normal;
                self.vertex(
                    [point.radius * cos, point.radius * sin, point.z],
                    [outward * cos, outward * sin, upward],
                    point.openness,
                );
            }
        }
        let segments = segments as u32;
        for ring in 0..(profile.len() as u32).saturating_sub(1) {
            for step in 0..segments {
                let next = (step + 1) % segments;
                let [low, high] = [base + ring * segments, base + (ring + 1) * segments];
                self.quad([low + step, low + next, high + next, high + step]);
            }
        }
    }

    fn build(self) -> Mesh {
        Mesh::assemble(self.vertices, self.normals, self.openness, self.triangles)
    }
}

/// A quarter circle of profile around (`radius`, `z`), between two angles in radians (0 outward, pi/2 up).
fn fillet(radius: f64, z: f64, fillet_radius: f64, from_rad: f64, to_rad: f64, steps: usize) -> Vec<Rim> {
    (0..=steps)
        .map(|step| {
            let (sin, cos) = (from_rad + (to_rad - from_rad) * step as f64 / steps as f64).sin_cos();
            // Exactly on the axis, so that a dome closes without slivers.
            let on_axis = (radius + fillet_radius * cos).max(0.0);
            rim(if on_axis < 1e-9 { 0.0 } else { on_axis }, z + fillet_radius * sin, [cos, sin])
        })
        .collect()
}

const QUARTER: f64 = std::f64::consts::FRAC_PI_2;

impl Mesh {
    /// A box with the given half extents in metres; 12 triangles.
    pub fn cuboid(half_extents: Vector3<f32>) -> Self {
        let half = half_extents.map(f64::from);
        let mut builder = Builder::default();
        for axis in 0..3 {
            for side in [-1.0, 1.0] {
                let (u, v) = ((axis + 1) % 3, (axis + 2) % 3);
                let mut normal = [0.0; 3];
                normal[axis] = side;
                let corner = |signs: [f64; 2]| {
                    let mut position = [0.0; 3];
                    position[axis] = side * half[axis];
                    position[u] = signs[0] * half[u];
                    position[v] = signs[1] * half[v];
                    position
                };
                let corners = [[-1.0, -1.0], [1.0, -1.0], [1.0, 1.0], [-1.0, 1.0]]
                    .map(|signs| builder.vertex(corner(signs), normal, 1.0));
                builder.quad(corners);
            }
        }
        builder.build()
    }

    /// A solid cylinder along z; metres; 4 triangles per segment.
    pub fn cylinder(radius: f32, half_height: f32, segments: usize) -> Self {
        Self::frustum(radius, radius, half_height, segments)
    }

    /// A solid cone stump along z, with its own radius at the bottom and at the top; metres.
    pub fn frustum(bottom_radius: f32, top_radius: f32, half_height: f32, segments: usize) -> Self {
        let [bottom, top, half] = [bottom_radius, top_radius, half_height].map(f64::from);
        let side = [2.0 * half, bottom - top];
        let mut builder = Builder::default();
        builder.revolve(&[rim(0.0, -half, [0.0, -1.0]), rim(bottom, -half, [0.0, -1.0])], segments);
        builder.revolve(&[rim(bottom, -half, side), rim(top, half, side)], segments);
        builder.revolve(&[rim(top, half, [0.0, 1.0]), rim(0.0, half, [0.0, 1.0])], segments);
        builder.build()
    }

    /// A solid cylinder along z whose edges are rounded by `fillet_radius`; metres.
    pub fn rounded_cylinder(radius: f32, half_height: f32, fillet_radius: f32, segments: usize) -> Self {
        let [radius, half] = [radius, half_height].map(f64::from);
        let round = f64::from(fillet_radius).clamp(0.0, radius.min(half));
        let mut profile = vec![rim(0.0, -half, [0.0, -1.0])];
        profile.extend(fillet(radius - round, round - half, round, -QUARTER, 0.0, 3));
        profile.extend(fillet(radius - round, half - round, round, 0.0, QUARTER, 3));
        profile.push(rim(0.0, half, [0.0, 1.0]));
        let mut builder = Builder::default();
        builder.revolve(&profile, segments);
        builder.build()
    }

    /// A sphere; metres; about `segments`² triangles.
    pub fn sphere(radius: f32, segments: usize) -> Self {
        Self::capsule(radius, 0.0, segments)
    }

    /// A capsule along z: a cylinder of the given half height with a half sphere on each end; metres.
    pub fn capsule(radius: f32, half_height: f32, segments: usize) -> Self {
        let [radius, half] = [radius, half_height].map(f64::from);
        let steps = (segments / 4).max(2);
        let mut profile = fillet(0.0, -half, radius, -QUARTER, 0.0, steps);
        let upper = fillet(0.0, half, radius, 0.0, QUARTER, steps);
        profile.extend(upper.into_iter().skip(usize::from(half == 0.0)));
        let mut builder = Builder::default();
        builder.revolve(&profile, segments);
        builder.build()
    }

    /// A pipe along z, open at both ends; metres; 8 triangles per segment.
    pub fn tube(outer_radius: f32, inner_radius: f32, half_height: f32, segments: usize) -> Self {
        let [outer, inner, half] = [outer_radius, inner_radius, half_height].map(f64::from);
        let mut builder = Builder::default();
        builder.revolve(&[rim(outer, -half, [1.0, 0.0]), rim(outer, half, [1.0, 0.0])], segments);
        builder.revolve(&[rim(outer, half, [0.0, 1.0]), rim(inner, half, [0.0, 1.0])], segments);
        let inside = |z| Rim { openness: 0.8, ..rim(inner, z, [-1.0, 0.0]) };
        builder.revolve(&[inside(half), inside(-half)], segments);
        builder.revolve(&[rim(inner, -half, [0.0, -1.0]), rim(outer, -half, [0.0, -1.0])], segments);
        builder.build()
    }

    /// A cup along z: a pipe with a floor of the given thickness; metres; 12 triangles per segment.
    ///
    /// The inside is darker towards the floor, where less of the room's light arrives.
    pub fn cup(
        outer_radius: f32,
        inner_radius: f32,
        half_height: f32,
        floor_thickness: f32,
        segments: usize,
    ) -> Self {
        let [outer, inner, half] = [outer_radius, inner_radius, half_height].map(f64::from);
        let floor = f64::from(floor_thickness) - half;
        let inside = |z, openness| Rim { openness, ..rim(inner, z, [-1.0, 0.0]) };
        let ground = |radius, openness| Rim { openness, ..rim(radius, floor, [0.0, 1.0]) };
        let mut builder = Builder::default();
        builder.revolve(&[rim(0.0, -half, [0.0, -1.0]), rim(outer, -half, [0.0, -1.0])], segments);
        builder.revolve(&[rim(outer, -half, [1.0, 0.0]), rim(outer, half, [1.0, 0.0])], segments);
        builder.revolve(&[rim(outer, half, [0.0, 1.0]), rim(inner, half, [0.0, 1.0])], segments);
        builder
            .revolve(&[inside(half, 0.8), inside((half + floor) * 0.5, 0.5), inside(floor, 0.34)], segments);
        builder.revolve(&[ground(inner, 0.36), ground(0.0, 0.5)], segments);
        builder.build()
    }

    /// A cup with a handle on its +x side, a half ring in the x-z plane; metres.
    ///
    /// `handle_major` is the radius of the half ring's centre line, `handle_minor` that of its rod.
    pub fn mug(
        outer_radius: f32,
        inner_radius: f32,
        half_height: f32,
        floor_thickness: f32,
        handle_major: f32,
        handle_minor: f32,
        segments: usize,
    ) -> Self {
        let cup = Self::cup(outer_radius, inner_radius, half_height, floor_thickness, segments);
        let quarter = std::f32::consts::FRAC_PI_2;
        let handle = Self::torus_arc(handle_major, handle_minor, -quarter, quarter, (segments / 2).max(6), 8);
        // The rod ends inside the wall: hidden from outside and not through it.
        let wall_centre = (outer_radius + inner_radius) * 0.5;
        Self::merge(&[
            (&cup, Isometry3::identity()),
            (&handle, Isometry3::translation(wall_centre, 0.0, 0.0)),
        ])
    }

    /// An open bowl along z, its wall a curve from a flat foot to the rim; metres; 4 triangles per segment and ring.
    pub fn bowl(rim_radius: f32, foot_radius: f32, half_height: f32, wall: f32, segments: usize) -> Self {
        let [rim_radius, foot, half, wall] = [rim_radius, foot_radius, half_height, wall].map(f64::from);
        let rings = 6;
        // A quarter ellipse from the foot to the rim, whose tangent at the rim is upright.
        let ellipse = |start_radius: f64, end_radius: f64, low: f64, high: f64, ring: usize| {
            let (sin, cos) = (QUARTER * ring as f64 / f64::from(rings)).sin_cos();
            let (width, height) = (end_radius - start_radius, high - low);
            (start_radius + width * sin, high - height * cos, [sin * height, -cos * width])
        };
        let outside: Vec<Rim> = (0..=rings as usize)
            .map(|ring| {
                let (radius, z, normal) = ellipse(foot, rim_radius, -half, half, ring);
                rim(radius, z, normal)
            })
            .collect();
        let inside: Vec<Rim> = (0..=rings as usize)
            .rev()
            .map(|ring| {
                let (radius, z, normal) = ellipse(foot * 0.6, rim_radius - wall, wall - half, half, ring);
                let height = ((z + half) / (2.0 * half)) as f32;
                Rim { openness: 0.55 + 0.3 * height, ..rim(radius, z, normal.map(|value| -value)) }
            })
            .collect();
        let mut builder = Builder::default();
        builder.revolve(&[rim(0.0, -half, [0.0, -1.0]), rim(foot, -half, [0.0, -1.0])], segments);
        builder.revolve(&outside, segments);
        builder.revolve(
            &[rim(rim_radius, half, [0.0, 1.0]), rim(rim_radius - wall, half, [0.0, 1.0])],
            segments,
        );
        builder.revolve(&inside, segments);
        let ground = |radius| Rim { openness: 0.55, ..rim(radius, wall - half, [0.0, 1.0]) };
        builder.revolve(&[ground(foot * 0.6), ground(0.0)], segments);
        builder.build()
    }

    /// A bent rod in the x-z plane: a piece of a torus around the origin, from one angle to another (radians,
    /// 0 along +x, pi/2 along +z), with flat ends; metres; `2 * segments * sides` triangles and the ends.
    pub fn torus_arc(
        major_radius: f32,
        minor_radius: f32,
        from_rad: f32,
        to_rad: f32,
        segments: usize,
        sides: usize,
    ) -> Self {
        let [major, minor, from, to] = [major_radius, minor_radius, from_rad, to_rad].map(f64::from);
        let (segments, sides) = (segments.max(1), sides.max(3));
        let mut builder = Builder::default();
        for ring in 0..=segments {
            let (sin, cos) = (from + (to - from) * ring as f64 / segments as f64).sin_cos();
            for side in 0..sides {
                let (aside, outward) = circle(side, sides);
                let reach = major + minor * outward;
                builder.vertex(
                    [reach * cos, minor * aside, reach * sin],
                    [outward * cos, aside, outward * sin],
                    1.0,
                );
            }
        }
        let sides = sides as u32;
        for ring in 0..segments as u32 {
            for side in 0..sides {
                let next = (side + 1) % sides;
                let [low, high] = [ring * sides, (ring + 1) * sides];
                builder.quad([low + side, low + next, high + next, high + side]);
            }
        }
        let direction = if to >= from { 1.0 } else { -1.0 };
        for (angle, ring, sign) in [(from, 0, -direction), (to, segments as u32, direction)] {
            let (sin, cos) = angle.sin_cos();
            let normal = [-sin * sign, 0.0, cos * sign];
            let centre = builder.vertex([major * cos, 0.0, major * sin], normal, 1.0);
            let edge: Vec<u32> = (0..sides)
                .map(|side| {
                    let position = builder.vertices[(ring * sides + side) as usize].coords.cast::<f64>();
                    builder.vertex(position.into(), normal, 1.0)
                })
                .collect();
            for side in 0..edge.len() {
                builder.triangle([centre, edge[side], edge[(side + 1) % edge.len()]]);
            }
        }
        builder.build()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Six times the signed volume over six: positive only if the mesh is closed and turned outwards.
    fn volume(mesh: &Mesh) -> f64 {
        let corner = |index: u32| mesh.vertices()[index as usize].coords.cast::<f64>();
        mesh.triangles().iter().map(|&[a, b, c]| corner(a).dot(&corner(b).cross(&corner(c)))).sum::<f64>()
            / 6.0
    }

    #[test]
    fn volumes_are_right() {
        use std::f64::consts::PI;
        let near = |mesh: Mesh, expected: f64| {
            let actual = volume(&mesh);
            assert!((actual / expected - 1.0).abs() < 0.02, "volume {actual}, expected {expected}");
        };
        near(Mesh::cuboid(Vector3::new(0.1, 0.2, 0.3)), 8.0 * 0.006);
        near(Mesh::cylinder(0.1, 0.2, 64), PI * 0.01 * 0.4);
        near(Mesh::frustum(0.1, 0.05, 0.2, 64), PI * 0.4 / 3.0 * (0.01 + 0.005 + 0.0025));
        near(Mesh::sphere(0.1, 64), 4.0 / 3.0 * PI * 0.001);
        near(Mesh::capsule(0.1, 0.2, 64), 4.0 / 3.0 * PI * 0.001 + PI * 0.01 * 0.4);
        near(Mesh::tube(0.1, 0.08, 0.2, 64), PI * (0.01 - 0.0064) * 0.4);
        near(Mesh::cup(0.1, 0.08, 0.2, 0.04, 64), PI * (0.01 * 0.4 - 0.0064 * 0.36));
        near(Mesh::torus_arc(0.1, 0.02, -1.0, 1.0, 32, 48), PI * 0.0004 * 0.2);
        assert!(volume(&Mesh::bowl(0.08, 0.03, 0.03, 0.005, 32)) > 0.0);
        assert!(volume(&Mesh::rounded_cylinder(0.05, 0.05, 0.01, 32)) > 0.0);
    }

    #[test]
    fn triangles_face_along_their_normals() {
        let mug = Mesh::mug(0.04, 0.035, 0.045, 0.006, 0.026, 0.006, 24);
        for mesh in [mug, Mesh::bowl(0.07, 0.03, 0.025, 0.004, 24), Mesh::sphere(0.1, 16)] {
            for &[a, b, c] in mesh.triangles() {
                let [p, q, r] = [a, b, c].map(|index| mesh.vertices()[index as usize]);
                assert!((q - p).cross(&(r - p)).dot(&mesh.normals()[a as usize]) > 0.0);
            }
            assert!(mesh.normals().iter().all(|normal| (normal.norm() - 1.0).abs() < 1e-5));
        }
    }
}
