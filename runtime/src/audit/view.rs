//! Whether the object is seen where the hand is sent.
//!
//! Before a grasp the model says twice where the object is: as a pixel of the scene image (LOOK) and as the
//! target of the tool. A calibrated camera makes the two comparable: the target, or for a target above the
//! object the upright line below it, must appear near the pixel. How near is a matter of how well the
//! camera's place is known.

use reflexarc_vla_model::decision::Subtask;

use super::event::{Refusal, Rule};
use super::reading::{Act, LOOK_U};
use crate::config::Config;

/// Heights above the table at which objects are gripped, m.
const GRIP_HEIGHTS_M: [f64; 2] = [0.02, 0.10];

/// Leaves room for two ways of rounding the same pixel.
const ROUNDING: f32 = 0.999;
/// Farther from its pixel, as a part of the image's side, than any point that is not all but beside the eye.
const ANYWHERE: f32 = 1e6;

/// A calibrated pinhole camera with square pixels, in single precision: one cache line.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SceneCamera {
    eye_m: [f32; 3],
    right: [f32; 3],
    down: [f32; 3],
    forward: [f32; 3],
    /// Focal length as a part of the image's width and height.
    focal: [f32; 2],
    /// How far apart the two may be, as a part of the image's side; 0: never compared.
    tolerance: f32,
}

impl SceneCamera {
    /// The camera that the configuration describes.
    #[must_use]
    pub fn new(config: &Config) -> Self {
        let audit = &config.audit;
        let eye = nalgebra::Vector3::from(audit.camera_position_m);
        let forward = (nalgebra::Vector3::from(audit.camera_looks_at_m) - eye).normalize();
        // Validated not to look straight up or down.
        let right = forward.cross(&nalgebra::Vector3::z()).normalize();
        let down = forward.cross(&right);
        let focal_v = 0.5 / libm::tan(0.5 * audit.camera_fov_rad);
        let aspect =
            f64::from(config.senses.camera_height_px) / f64::from(config.senses.camera_width_px.max(1));
        let single =
            |vector: nalgebra::Vector3<f64>| [vector.x, vector.y, vector.z].map(|value| value as f32);
        Self {
            eye_m: single(eye),
            right: single(right),
            down: single(down),
            forward: single(forward),
            focal: [(focal_v * aspect) as f32, focal_v as f32],
            tolerance: audit.view_tolerance as f32,
        }
    }

    /// Where a point (base frame, m) appears, as parts of width and height from the upper left corner; NaN
    /// or infinite for a point at or behind the camera.
    #[must_use]
    pub fn pixel_of(&self, position_m: [f64; 3]) -> [f32; 2] {
        let away: [f32; 3] = std::array::from_fn(|i| position_m[i] as f32 - self.eye_m[i]);
        let along = |axis: &[f32; 3]| axis[0] * away[0] + axis[1] * away[1] + axis[2] * away[2];
        let depth = along(&self.forward).max(0.0);
        [0.5 + self.focal[0] * along(&self.right) / depth, 0.5 + self.focal[1] * along(&self.down) / depth]
    }

    /// How far from its pixel the target is seen, as a part of the image's side.
    #[must_use]
    pub fn apart(&self, subtask: Subtask, position_m: [f64; 3], table_z_m: f64, pixel_uv: [f32; 2]) -> f32 {
        let [x, y, z] = position_m;
        let (low_m, high_m) = match subtask {
            // Above the object; how far below it is, the target does not say.
            Subtask::Reach => {
                let [low_m, high_m] = GRIP_HEIGHTS_M.map(|height_m| table_z_m + height_m);
                (low_m.min(z), high_m.min(z))
            }
            _ => (z, z),
        };
        let (foot, head) = (self.pixel_of([x, y, low_m]), self.pixel_of([x, y, high_m]));
        // NaN (behind the camera) must not count as near.
        let outside = |value: f32, a: f32, b: f32| {
            let (low, high) = if a < b { (a, b) } else { (b, a) };
            (low - value).max(value - high).max(0.0)
        };
        let (u, v) = (outside(pixel_uv[0], foot[0], head[0]), outside(pixel_uv[1], foot[1], head[1]));
        if foot.iter().chain(&head).all(|value| value.is_finite()) { u.max(v) } else { f32::INFINITY }
    }

    /// What each of x, y, z and 1 of a point in the base frame adds to its column times its depth, to its row times its
    /// depth, to its depth, and to how far from its pixel it may be seen, a little less than the tolerance, times its
    /// depth, m.
    pub(super) fn image_from_base(&self) -> [[f32; 4]; 4] {
        let row = |axis: &[f32; 3], focal: f32, centre: f32| {
            let [x, y, z]: [f32; 3] = std::array::from_fn(|i| focal * axis[i] + centre * self.forward[i]);
            [x, y, z, -(x * self.eye_m[0] + y * self.eye_m[1] + z * self.eye_m[2])]
        };
        let columns = row(&self.right, self.focal[0], 0.5);
        let rows = row(&self.down, self.focal[1], 0.5);
        let depths = row(&self.forward, 1.0, 0.0);
        let tolerance = if self.tolerance > 0.0 { self.tolerance * ROUNDING } else { ANYWHERE };
        std::array::from_fn(|i| [columns[i], rows[i], depths[i], depths[i] * tolerance])
    }

    /// The middle of the heights at which objects are gripped, m.
    pub(super) fn grip_z_m(&self, table_z_m: f64) -> f32 {
        (table_z_m + 0.5 * (GRIP_HEIGHTS_M[0] + GRIP_HEIGHTS_M[1])) as f32
    }

    pub(super) fn judge(&self, act: &Act, table_z_m: f64) -> Result<(), Refusal> {
        let compared = matches!(act.subtask, Subtask::Reach | Subtask::Approach | Subtask::Grasp);
        if !compared || self.tolerance <= 0.0 {
            return Ok(());
        }
        let apart = self.apart(act.subtask, act.target.position_m, table_z_m, act.pixel_uv);
        if apart <= self.tolerance {
            return Ok(());
        }
        Err(Refusal::new(Rule::Grounding, LOOK_U, f64::from(apart), f64::from(self.tolerance)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_middle_of_the_image_is_where_the_camera_looks() {
        let config = Config::default();
        let camera = SceneCamera::new(&config);
        let [u, v] = camera.pixel_of(config.audit.camera_looks_at_m);
        assert!((u - 0.5).abs() < 1e-5 && (v - 0.5).abs() < 1e-5);
        // It looks back at the base: left of the robot is right in the image, nearer the base is higher up.
        let [right, _] = camera.pixel_of([0.5, 0.1, 0.03]);
        let [_, higher] = camera.pixel_of([0.4, 0.0, 0.03]);
        assert!(right > 0.6 && higher < 0.45, "{right} {higher}");
        assert!(!camera.pixel_of([3.0, 0.0, 3.0]).iter().all(|value| value.is_finite()));
    }

    #[test]
    fn a_target_must_be_seen_at_its_pixel() {
        let camera = SceneCamera::new(&Config::default());
        let target_m = [0.55, -0.1, 0.09];
        let seen = camera.pixel_of(target_m);
        assert!(camera.apart(Subtask::Grasp, target_m, 0.0, seen) < 1e-6);
        let above_m = [0.55, -0.1, 0.19];
        assert!(camera.apart(Subtask::Reach, above_m, 0.0, seen) < 1e-6);
        assert!(camera.apart(Subtask::Reach, [0.55, 0.05, 0.19], 0.0, seen) > 0.2);
        assert!(camera.apart(Subtask::Grasp, [2.0, 0.0, 3.0], 0.0, seen).is_infinite());
    }
}
