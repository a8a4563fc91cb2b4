//! The pinhole camera.

use nalgebra::{Isometry3, Matrix3, Point3, Rotation3, Translation3, UnitQuaternion, Vector3};

use super::raster::NEAR_M;

/// An ideal camera with square pixels and its principal point in the image centre.
///
/// The camera frame is the optical one: x right, y down, z forward. Pixel coordinates are continuous, from the
/// image's upper left corner; the centre of the first pixel is at (0.5, 0.5).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Camera {
    /// Pose of the optical frame in the world, metres.
    pub world_from_camera: Isometry3<f32>,
    /// Image width in pixels.
    pub width: usize,
    /// Image height in pixels.
    pub height: usize,
    /// Opening angle from the top edge to the bottom edge, in radians; kept within 0.01 to 3.0.
    pub vertical_fov_rad: f32,
}

impl Camera {
    /// A camera at `eye` that looks at `target`, with `up` (world) upwards in the image.
    ///
    /// Where the three leave the roll or the direction undefined, one is chosen; the pose is always a rotation.
    pub fn look_at(
        eye: Point3<f32>,
        target: Point3<f32>,
        up: Vector3<f32>,
        width: usize,
        height: usize,
        vertical_fov_rad: f32,
    ) -> Self {
        let forward = (target - eye).try_normalize(1e-6).unwrap_or_else(|| -Vector3::z());
        let right = forward
            .cross(&up)
            .try_normalize(1e-6)
            .or_else(|| forward.cross(&Vector3::x()).try_normalize(1e-3))
            .or_else(|| forward.cross(&Vector3::y()).try_normalize(1e-3))
            .unwrap_or_else(Vector3::x);
        let down = forward.cross(&right);
        let rotation = Rotation3::from_matrix_unchecked(Matrix3::from_columns(&[right, down, forward]));
        Self {
            world_from_camera: Isometry3::from_parts(
                Translation3::from(eye.coords),
                UnitQuaternion::from_rotation_matrix(&rotation),
            ),
            width,
            height,
            vertical_fov_rad,
        }
    }

    /// Focal length in pixels.
    pub fn focal_px(&self) -> f32 {
        // In f64, so that the last bit does not hang on the platform's tangent.
        let half_rad = f64::from(self.vertical_fov_rad.clamp(0.01, 3.0)) * 0.5;
        (self.height as f64 * 0.5 / half_rad.tan()) as f32
    }

    /// Where a world point (metres) appears, in pixels; also outside the image. `None` when the point is nearer
    /// than [`NEAR_M`] or behind the camera.
    pub fn project(&self, world_point: &Point3<f32>) -> Option<[f32; 2]> {
        self.project_with_depth(world_point).map(|([x, y], _)| [x, y])
    }

    /// [`Camera::project`], together with the depth in metres.
    pub fn project_with_depth(&self, world_point: &Point3<f32>) -> Option<([f32; 2], f32)> {
        let point = self.world_from_camera.inverse_transform_point(world_point);
        if point.z.is_nan() || point.z < NEAR_M {
            return None;
        }
        let scale = self.focal_px() / point.z;
        let [centre_x, centre_y] = self.centre_px();
        Some(([centre_x + point.x * scale, centre_y + point.y * scale], point.z))
    }

    /// The world direction (unit length) seen at a pixel position.
    pub fn world_ray(&self, pixel: [f32; 2]) -> Vector3<f32> {
        let focal = self.focal_px();
        let [centre_x, centre_y] = self.centre_px();
        let ray = Vector3::new((pixel[0] - centre_x) / focal, (pixel[1] - centre_y) / focal, 1.0);
        self.world_from_camera.rotation * (ray / ray.norm())
    }

    /// Whether a pixel position lies in the image.
    pub fn contains(&self, pixel: [f32; 2]) -> bool {
        let [x, y] = pixel;
        x >= 0.0 && y >= 0.0 && x < self.width as f32 && y < self.height as f32
    }

    fn centre_px(&self) -> [f32; 2] {
        [self.width as f32 * 0.5, self.height as f32 * 0.5]
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests fail by panicking")]
    use super::*;

    #[test]
    fn looks_where_it_is_told() {
        let eye = Point3::new(1.0, 0.2, 0.6);
        let target = Point3::new(0.5, 0.0, 0.0);
        let camera = Camera::look_at(eye, target, Vector3::z(), 96, 64, 0.8);
        let [x, y] = camera.project(&target).unwrap();
        assert!((x - 48.0).abs() < 1e-2 && (y - 32.0).abs() < 1e-2);
        // Higher points appear higher, that is at smaller y; the camera faces -x, so +y is to its right.
        assert!(camera.project(&Point3::new(0.5, 0.0, 0.1)).unwrap()[1] < y);
        assert!(camera.project(&Point3::new(0.5, 0.1, 0.0)).unwrap()[0] > x);
        assert!(camera.project(&Point3::new(2.0, 0.4, 1.2)).is_none());
    }

    #[test]
    fn ray_inverts_projection() {
        let camera = Camera::look_at(
            Point3::new(0.2, 0.0, 0.9),
            Point3::new(0.5, 0.0, 0.0),
            Vector3::z(),
            96,
            96,
            1.0,
        );
        let point = Point3::new(0.55, 0.11, 0.03);
        let ray = camera.world_ray(camera.project(&point).unwrap());
        let towards = (point - Point3::from(camera.world_from_camera.translation.vector)).normalize();
        assert!((ray - towards).norm() < 1e-4);
    }

    #[test]
    fn degenerate_up_still_gives_a_rotation() {
        let camera =
            Camera::look_at(Point3::new(0.5, 0.0, 1.0), Point3::new(0.5, 0.0, 0.0), Vector3::z(), 8, 8, 0.8);
        assert!(
            camera
                .project(&Point3::new(0.5, 0.0, 0.0))
                .is_some_and(|[x, y]| (x - 4.0).abs() + (y - 4.0).abs() < 1e-3)
        );
        let camera = Camera::look_at(Point3::origin(), Point3::origin(), Vector3::zeros(), 8, 8, 0.8);
        assert!(camera.world_from_camera.rotation.coords.iter().all(|value| value.is_finite()));
    }
}
