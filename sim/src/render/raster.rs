//! Projection, clipping and scan conversion.

use nalgebra::{Isometry3, Point3, Vector3};

use super::camera::Camera;

/// Surfaces nearer to the camera than this depth are cut away, in metres.
pub const NEAR_M: f32 = 0.03;

/// A rigid or affine map of points, as three rows of a 3×4 matrix.
#[derive(Clone, Copy, Debug)]
pub(super) struct Affine {
    rows: [[f32; 4]; 3],
}

impl Affine {
    pub(super) fn from_isometry(isometry: &Isometry3<f32>) -> Self {
        let rotation = isometry.rotation.to_rotation_matrix();
        let shift = isometry.translation.vector;
        let row =
            |index: usize| [rotation[(index, 0)], rotation[(index, 1)], rotation[(index, 2)], shift[index]];
        Self { rows: [row(0), row(1), row(2)] }
    }

    /// The map that flattens the world onto `z = 0` along the light; `light.z` must be positive.
    pub(super) fn flatten(light: &Vector3<f32>) -> Self {
        Self { rows: [[1.0, 0.0, -light.x / light.z, 0.0], [0.0, 1.0, -light.y / light.z, 0.0], [0.0; 4]] }
    }

    /// First `inner`, then `self`.
    pub(super) fn after(&self, inner: &Self) -> Self {
        let rows = self.rows.map(|row| {
            let mut out = [0.0, 0.0, 0.0, row[3]];
            for (weight, from) in row.iter().zip(&inner.rows) {
                for (value, part) in out.iter_mut().zip(from) {
                    *value += weight * part;
                }
            }
            out
        });
        Self { rows }
    }

    #[inline]
    pub(super) fn apply(&self, point: &Point3<f32>) -> [f32; 3] {
        self.rows.map(|row| row[0] * point.x + row[1] * point.y + row[2] * point.z + row[3])
    }
}

/// The camera's projection at the resolution of one buffer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Lens {
    pub(super) camera_from_world: Affine,
    pub(super) focal: f32,
    inv_focal: f32,
    pub(super) centre: [f32; 2],
    pub(super) width: usize,
    pub(super) height: usize,
    /// Outward normals, in (x, z) and (y, z), of the view's right and lower sides.
    side: [[f32; 2]; 2],
}

impl Lens {
    pub(super) fn new(camera: &Camera, scale: usize) -> Self {
        let (width, height) = (camera.width * scale, camera.height * scale);
        let focal = camera.focal_px() * scale as f32;
        let centre = [width as f32 * 0.5, height as f32 * 0.5];
        let side = centre.map(|half| {
            let length = (half * half + focal * focal).sqrt();
            [focal / length, -half / length]
        });
        Self {
            camera_from_world: Affine::from_isometry(&camera.world_from_camera.inverse()),
            focal,
            inv_focal: 1.0 / focal,
            centre,
            width,
            height,
            side,
        }
    }

    /// Whether a sphere in the world may touch the view.
    pub(super) fn sees(&self, centre: &Point3<f32>, radius: f32) -> bool {
        let [x, y, z] = self.camera_from_world.apply(centre);
        z + radius > NEAR_M
            && x.abs() * self.side[0][0] + z * self.side[0][1] <= radius
            && y.abs() * self.side[1][0] + z * self.side[1][1] <= radius
    }

    #[inline]
    fn project(&self, [x, y, z]: [f32; 3]) -> ScreenPoint {
        let inv_depth = 1.0 / z;
        let scale = self.focal * inv_depth;
        ScreenPoint { x: self.centre[0] + x * scale, y: self.centre[1] + y * scale, inv_depth }
    }

    /// The ray through a buffer position, scaled to depth 1, in the camera frame.
    #[inline]
    pub(super) fn ray(&self, x: f32, y: f32) -> [f32; 2] {
        [(x - self.centre[0]) * self.inv_focal, (y - self.centre[1]) * self.inv_focal]
    }
}

/// A projected vertex; `inv_depth` is 0 where the vertex lies nearer than [`NEAR_M`].
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct ScreenPoint {
    x: f32,
    y: f32,
    inv_depth: f32,
}

/// Projects vertices into the camera frame and onto the screen, appending to both lists.
pub(super) fn project_vertices(
    lens: &Lens,
    camera_from_mesh: &Affine,
    vertices: &[Point3<f32>],
    camera_points: &mut Vec<[f32; 3]>,
    screen_points: &mut Vec<ScreenPoint>,
) {
    let first = camera_points.len();
    camera_points.extend(vertices.iter().map(|vertex| camera_from_mesh.apply(vertex)));
    screen_points.extend(
        camera_points[first..]
            .iter()
            .map(|&point| if point[2] >= NEAR_M { lens.project(point) } else { ScreenPoint::default() }),
    );
}

/// The first pixel whose centre is not before `value`, from 0 to `limit`.
#[inline]
fn to_pixel(value: f32, limit: f32) -> usize {
    // Comparisons and a signed cast, because they cost one instruction each; NaN ends at 0.
    let value = if value > 0.0 { value } else { 0.0 };
    let value = if value < limit { value } else { limit };
    (value + 0.5) as i32 as usize
}

/// Visits the front-facing rows of a triangle: `row(y, x_start, x_end, first inverse depth, its step)`, the ends
/// half-open and inside the buffer. Pixels are covered when their centre is.
///
/// Edges shared by two triangles are walked from the same end by the same sums, so no pixel between them is missed.
#[inline]
fn scan(
    points: [ScreenPoint; 3],
    width: usize,
    height: usize,
    mut row: impl FnMut(usize, usize, usize, f32, f32),
) {
    let [a, b, c] = points;
    // Counter-clockwise from outside is clockwise on a screen whose y runs down.
    let area = (c.x - a.x) * (b.y - a.y) - (b.x - a.x) * (c.y - a.y);
    if area.is_nan() || area <= 0.0 {
        return;
    }
    let (mut top, mut middle, mut bottom) = (a, b, c);
    if middle.y < top.y {
        std::mem::swap(&mut middle, &mut top);
    }
    if bottom.y < middle.y {
        std::mem::swap(&mut bottom, &mut middle);
        if middle.y < top.y {
            std::mem::swap(&mut middle, &mut top);
        }
    }
    let (width_f, height_f) = (width as f32, height as f32);
    let (y_start, y_end) = (to_pixel(top.y, height_f), to_pixel(bottom.y, height_f).min(height));
    if y_start >= y_end || a.x.max(b.x).max(c.x) < 0.0 || a.x.min(b.x).min(c.x) > width_f {
        return;
    }
    let slope = |from: ScreenPoint, to: ScreenPoint| (to.x - from.x) / (to.y - from.y);
    let (long, upper, lower) = (slope(top, bottom), slope(top, middle), slope(middle, bottom));

    let inv_area = 1.0 / area;
    let (ab, ac) = (b.inv_depth - a.inv_depth, c.inv_depth - a.inv_depth);
    let step_x = (ac * (b.y - a.y) - ab * (c.y - a.y)) * inv_area;
    let step_y = (ab * (c.x - a.x) - ac * (b.x - a.x)) * inv_area;

    for y in y_start..y_end {
        let centre_y = y as f32 + 0.5;
        let on_long = top.x + (centre_y - top.y) * long;
        let on_short = if centre_y < middle.y {
            top.x + (centre_y - top.y) * upper
        } else {
            middle.x + (centre_y - middle.y) * lower
        };
        let (left, right) = if on_long < on_short { (on_long, on_short) } else { (on_short, on_long) };
        let (x_start, x_end) = (to_pixel(left, width_f), to_pixel(right, width_f).min(width));
        if x_start < x_end {
            let first = a.inv_depth + (x_start as f32 + 0.5 - a.x) * step_x + (centre_y - a.y) * step_y;
            row(y, x_start, x_end, first, step_x);
        }
    }
}

/// Calls `draw` with one triangle's screen points: as they are, or the pieces left by the near plane.
#[inline]
fn clipped(
    lens: &Lens,
    corners: [usize; 3],
    camera_points: &[[f32; 3]],
    screen_points: &[ScreenPoint],
    mut draw: impl FnMut([ScreenPoint; 3]),
) {
    let screen = corners.map(|corner| screen_points[corner]);
    let visible = screen.iter().filter(|point| point.inv_depth > 0.0).count();
    match visible {
        3 => draw(screen),
        0 => {}
        _ => {
            let (pieces, count) = clip_near(corners.map(|corner| camera_points[corner]));
            let mut points = [ScreenPoint::default(); 4];
            for (point, piece) in points.iter_mut().zip(&pieces[..count]) {
                *point = lens.project(*piece);
            }
            for last in 2..count {
                draw([points[0], points[last - 1], points[last]]);
            }
        }
    }
}

/// Cuts a triangle at the near plane; three or four corners remain when one or two lie behind it.
fn clip_near(triangle: [[f32; 3]; 3]) -> ([[f32; 3]; 4], usize) {
    let mut out = [[0.0; 3]; 4];
    let mut count = 0;
    let mut push = |point: [f32; 3]| {
        if count < 4 {
            out[count] = point;
            count += 1;
        }
    };
    for index in 0..3 {
        let (from, to) = (triangle[index], triangle[(index + 1) % 3]);
        if from[2] >= NEAR_M {
            push(from);
        }
        if (from[2] >= NEAR_M) != (to[2] >= NEAR_M) {
            let share = (NEAR_M - from[2]) / (to[2] - from[2]);
            push([from[0] + (to[0] - from[0]) * share, from[1] + (to[1] - from[1]) * share, NEAR_M]);
        }
    }
    (out, count)
}

/// The nearest surface per pixel: inverse depth and a one-based triangle number, 0 for none.
#[derive(Clone, Debug, Default)]
pub(super) struct DepthBuffer {
    pub(super) inv_depth: Vec<f32>,
    pub(super) winner: Vec<u32>,
}

impl DepthBuffer {
    pub(super) fn clear(&mut self, pixels: usize) {
        self.inv_depth.clear();
        self.inv_depth.resize(pixels, 0.0);
        self.winner.clear();
        self.winner.resize(pixels, 0);
    }

    /// Draws a triangle into the buffer; returns whether it won a pixel.
    #[inline]
    pub(super) fn draw(
        &mut self,
        lens: &Lens,
        corners: [usize; 3],
        camera_points: &[[f32; 3]],
        screen_points: &[ScreenPoint],
        number: u32,
    ) -> bool {
        let mut won = false;
        clipped(lens, corners, camera_points, screen_points, |points| {
            let [a, b, c] = points.map(|point| point.inv_depth);
            // A sliver's gradient is ill-conditioned: never nearer than its nearest corner.
            let nearest = a.max(b).max(c);
            scan(points, lens.width, lens.height, |y, x_start, x_end, first, step| {
                let row = y * lens.width;
                let depths = &mut self.inv_depth[row + x_start..row + x_end];
                let winners = &mut self.winner[row + x_start..row + x_end];
                let mut inv_depth = first;
                for (depth, winner) in depths.iter_mut().zip(winners) {
                    let candidate = if inv_depth < nearest { inv_depth } else { nearest };
                    if candidate > *depth {
                        *depth = candidate;
                        *winner = number;
                        won = true;
                    }
                    inv_depth += step;
                }
            });
        });
        won
    }
}

/// Marks the pixels that a front-facing triangle covers.
#[inline]
pub(super) fn draw_mask(
    mask: &mut [u8],
    lens: &Lens,
    corners: [usize; 3],
    camera_points: &[[f32; 3]],
    screen_points: &[ScreenPoint],
) {
    clipped(lens, corners, camera_points, screen_points, |points| {
        scan(points, lens.width, lens.height, |y, x_start, x_end, _, _| {
            mask[y * lens.width + x_start..y * lens.width + x_end].fill(255);
        });
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clipping_keeps_the_far_side() {
        let (points, count) = clip_near([[0.0, 0.0, -1.0], [1.0, 0.0, 1.0], [-1.0, 0.0, 1.0]]);
        assert_eq!(count, 4);
        assert!(points.iter().all(|point| point[2] >= NEAR_M));
        let (_, count) = clip_near([[0.0, 0.0, 1.0], [1.0, 0.0, -1.0], [-1.0, 0.0, -1.0]]);
        assert_eq!(count, 3);
    }

    #[test]
    fn neighbours_share_no_pixel_and_miss_none() {
        let point = |x: f32, y: f32| ScreenPoint { x, y, inv_depth: 1.0 };
        let corners = [point(1.3, 0.7), point(30.2, 2.9), point(28.4, 27.1), point(3.3, 30.6)];
        let mut hits = vec![0u8; 32 * 32];
        for triangle in [[corners[0], corners[2], corners[1]], [corners[0], corners[3], corners[2]]] {
            scan(triangle, 32, 32, |y, x_start, x_end, _, _| {
                hits[y * 32 + x_start..y * 32 + x_end].iter_mut().for_each(|hit| *hit += 1);
            });
        }
        assert!(hits.iter().all(|&hit| hit <= 1));
        let inside = (4..27).all(|y| (5..27).all(|x| hits[y * 32 + x] == 1));
        assert!(inside);
    }

    #[test]
    fn composition_is_first_inner_then_outer() {
        let outer = Isometry3::new(Vector3::new(0.1, -0.2, 0.3), Vector3::new(0.4, 0.5, -0.6));
        let inner = Isometry3::new(Vector3::new(-1.0, 0.5, 0.2), Vector3::new(-0.3, 0.9, 0.1));
        let point = Point3::new(0.3, -0.7, 1.1);
        let expected = outer * (inner * point);
        let actual = Affine::from_isometry(&outer).after(&Affine::from_isometry(&inner)).apply(&point);
        assert!((Point3::from(actual) - expected).norm() < 1e-5);
    }
}
