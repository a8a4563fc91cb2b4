//! Light on surfaces.

use nalgebra::{Isometry3, Vector3};

use super::table::Ground;
use super::{Instance, Light};

/// How far above the table a surface must be to receive the room's full light, metres.
const CONTACT_M: f32 = 0.04;
/// Share of the direct light that a full shadow takes away; the rest is scattered into it.
const SHADOW_DEPTH: f32 = 0.82;
/// Share of the room's light that objects standing close take from the table.
const CONTACT_DEPTH: f32 = 0.38;

/// The frame's light, prepared once.
#[derive(Clone, Copy, Debug)]
pub(super) struct Lighting {
    /// Unit direction to the light, in the world.
    pub(super) to_light: Vector3<f32>,
    /// Its height above the horizon as a sine, at least 0.
    elevation: f32,
    direct: [f32; 3],
    sky: [f32; 3],
    bounce: [f32; 3],
}

impl Lighting {
    pub(super) fn new(light: &Light, table_rgb: [f32; 3]) -> Self {
        let to_light = light.direction_to_light.try_normalize(1e-9).unwrap_or_else(Vector3::z);
        let direct = light.tint.map(|tint| tint * light.intensity);
        let sky = [light.ambient; 3];
        // Light that the table throws back from below.
        let bounce = std::array::from_fn(|channel| {
            table_rgb[channel] * (0.6 * light.ambient + 0.35 * direct[channel] * to_light.z.max(0.0))
        });
        Self { to_light, elevation: to_light.z.max(0.0), direct, sky, bounce }
    }

    /// The colour of table and room under `edge` and `around` of shadow, both 0 to 255.
    #[inline(always)]
    pub(super) fn ground(&self, ground: &Ground, edge: u8, around: u8) -> [f32; 3] {
        let lit = self.elevation * (1.0 - SHADOW_DEPTH / 255.0 * f32::from(edge));
        let open = 1.0 - CONTACT_DEPTH / 255.0 * f32::from(around);
        std::array::from_fn(|channel| {
            ground.table[channel] * (self.direct[channel] * lit + self.sky[channel] * open)
                + ground.room[channel]
        })
    }
}

/// One instance's view of the light and the camera, in its own frame, so that vertex normals need no rotation.
#[derive(Clone, Copy, Debug)]
pub(super) struct LocalLight {
    to_light: Vector3<f32>,
    up: Vector3<f32>,
    height_m: f32,
    eye: Vector3<f32>,
    /// Index of the instance's first vertex in the frame's list of projected vertices.
    pub(super) first_vertex: u32,
}

impl LocalLight {
    pub(super) fn new(
        lighting: &Lighting,
        world_from_mesh: &Isometry3<f32>,
        eye: &Vector3<f32>,
        first_vertex: u32,
    ) -> Self {
        let mesh_from_world = world_from_mesh.inverse();
        Self {
            to_light: mesh_from_world.rotation * lighting.to_light,
            up: mesh_from_world.rotation * Vector3::z(),
            height_m: world_from_mesh.translation.vector.z,
            eye: (mesh_from_world * nalgebra::Point3::from(*eye)).coords,
            first_vertex,
        }
    }
}

/// A share brought into 0 to `limit`. NaN, from a triangle seen edge-on, becomes 0.
#[inline]
fn at_most(share: f32, limit: f32) -> f32 {
    let share = if share > 0.0 { share } else { 0.0 };
    if share < limit { share } else { limit }
}

/// A point on a mesh, by its weights in a triangle.
#[derive(Clone, Copy, Debug)]
pub(super) struct SurfacePoint<'a> {
    instance: &'a Instance<'a>,
    corners: [usize; 3],
    weights: [f32; 3],
    position: Vector3<f32>,
    /// Height above the table, metres.
    pub(super) height_m: f32,
}

impl<'a> SurfacePoint<'a> {
    /// Where the ray (x, y, 1) in the camera frame meets a triangle, given the triangle's corners as numbers of
    /// the mesh and as points in the camera frame. Outside the triangle the nearest weights are taken.
    #[inline]
    pub(super) fn new(
        instance: &'a Instance<'a>,
        local: &LocalLight,
        corners: [usize; 3],
        camera_points: [[f32; 3]; 3],
        ray: [f32; 2],
    ) -> Self {
        // Möller and Trumbore 1997, for a ray from the origin.
        let [a, b, c] = camera_points.map(Vector3::from);
        let (edge_b, edge_c) = (b - a, c - a);
        let direction = Vector3::new(ray[0], ray[1], 1.0);
        let across = direction.cross(&edge_c);
        let inv = 1.0 / edge_b.dot(&across);
        let share_b = -a.dot(&across) * inv;
        let share_c = -direction.dot(&a.cross(&edge_b)) * inv;
        let share_b = at_most(share_b, 1.0);
        let share_c = at_most(share_c, 1.0 - share_b);
        let weights = [1.0 - share_b - share_c, share_b, share_c];
        let vertices = instance.mesh.vertices();
        let position = vertices[corners[0]].coords * weights[0]
            + vertices[corners[1]].coords * weights[1]
            + vertices[corners[2]].coords * weights[2];
        let height_m = local.height_m + local.up.dot(&position);
        Self { instance, corners, weights, position, height_m }
    }

    /// The light this point sends to the camera.
    #[inline]
    pub(super) fn shade(&self, lighting: &Lighting, local: &LocalLight) -> [f32; 3] {
        let [a, b, c] = self.corners;
        let [weight_a, weight_b, weight_c] = self.weights;
        let normals = self.instance.mesh.normals();
        let normal = normals[a] * weight_a + normals[b] * weight_b + normals[c] * weight_c;
        let normal = normal * (1.0 / normal.norm_squared().max(1e-12).sqrt());
        let openness = self.instance.mesh.openness();
        let open = openness[a] * weight_a + openness[b] * weight_b + openness[c] * weight_c;

        let facing = normal.dot(&local.to_light);
        let upward = normal.dot(&local.up);
        let material = &self.instance.material;
        let mut highlight = 0.0;
        if facing > 0.0 && material.specular > 0.0 {
            let towards = local.eye - self.position;
            let mirrored = normal * (2.0 * facing) - local.to_light;
            let along = mirrored.dot(&towards);
            if along > 0.0 {
                let cosine_squared = along * along / towards.norm_squared().max(1e-12);
                let fourth = cosine_squared * cosine_squared;
                let eighth = fourth * fourth;
                highlight = eighth * eighth * eighth * material.specular * 0.6;
            }
        }
        // A little light reaches past the terminator, as from a lamp with a size.
        let lit = ((facing + 0.12) * (1.0 / 1.12)).max(0.0) * open;
        let from_above = 0.5 + 0.5 * upward;
        let near_table = (1.0 - self.height_m * (1.0 / CONTACT_M)).clamp(0.0, 1.0);
        let ambient = open * (1.0 - 0.3 * near_table * (1.0 - upward.max(0.0)));
        std::array::from_fn(|channel| {
            let room = lighting.sky[channel] * from_above + lighting.bounce[channel] * (1.0 - from_above);
            let direct = lighting.direct[channel];
            material.rgb[channel] * (direct * lit + room * ambient) + direct * highlight
        })
    }
}
