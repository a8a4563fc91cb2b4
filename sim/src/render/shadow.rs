//! Drop shadows on the table, as a mask in the image.
//!
//! The mask holds the shadow of the whole table plane, also where something stands before it; so it can be
//! blurred in the image without bleeding across silhouettes.

use nalgebra::{Point3, Vector3};

use super::Instance;
use super::raster::{Affine, Lens, ScreenPoint, draw_mask, project_vertices};

/// Below this elevation (sine) shadows would be endless; none are drawn.
const LOWEST_LIGHT: f32 = 0.15;

/// Shadow of the table plane per pixel, 0 (lit) to 255.
#[derive(Clone, Debug, Default)]
pub(super) struct ShadowMask {
    /// Narrowly blurred: the shadow with its soft edge.
    pub(super) edge: Vec<u8>,
    /// Widely blurred: where the room's light is partly blocked.
    pub(super) around: Vec<u8>,
    buffers: BlurBuffers,
    camera_points: Vec<[f32; 3]>,
    screen_points: Vec<ScreenPoint>,
}

impl ShadowMask {
    /// Draws the mask for one view; `light` is the unit direction to the light.
    pub(super) fn draw(
        &mut self,
        lens: &Lens,
        instances: &[Instance<'_>],
        light: &Vector3<f32>,
        camera_z: f32,
    ) {
        let pixels = lens.width * lens.height;
        for buffer in [&mut self.edge, &mut self.around] {
            buffer.clear();
            buffer.resize(pixels, 0);
        }
        // From below, nothing shows the table.
        let visible = light.z >= LOWEST_LIGHT && camera_z > 0.0;
        if !visible {
            return;
        }
        let camera_from_shadow = lens.camera_from_world.after(&Affine::flatten(light));
        let mut any = false;
        for instance in instances.iter().filter(|instance| instance.casts_shadow) {
            let (centre, radius) = instance.mesh.bounding_sphere();
            let centre = instance.world_from_mesh * centre;
            let flat = Point3::new(
                centre.x - centre.z * light.x / light.z,
                centre.y - centre.z * light.y / light.z,
                0.0,
            );
            // What lies wholly below the table cannot darken it.
            if centre.z + radius <= 0.0 || !lens.sees(&flat, radius / light.z) {
                continue;
            }
            any = true;
            let camera_from_mesh =
                camera_from_shadow.after(&Affine::from_isometry(&instance.world_from_mesh));
            self.camera_points.clear();
            self.screen_points.clear();
            project_vertices(
                lens,
                &camera_from_mesh,
                instance.mesh.vertices(),
                &mut self.camera_points,
                &mut self.screen_points,
            );
            // Flattened, a triangle that faces the light faces up, and so the camera; the others add nothing.
            for corners in instance.mesh.triangles() {
                let corners = corners.map(|corner| corner as usize);
                draw_mask(&mut self.edge, lens, corners, &self.camera_points, &self.screen_points);
            }
        }
        if any {
            let narrow = (lens.height / 128).clamp(1, 40);
            blur(&mut self.edge, &mut self.buffers, lens.width, narrow);
            self.around.copy_from_slice(&self.edge);
            for _ in 0..2 {
                blur(&mut self.around, &mut self.buffers, lens.width, narrow * 3);
            }
        }
    }
}

/// Buffers of [`blur`].
#[derive(Clone, Debug, Default)]
struct BlurBuffers {
    rows: Vec<u8>,
    padded: Vec<u16>,
    sums: Vec<u16>,
}

/// Mean over a square of `2 * radius + 1` pixels (radius 1 to 120), in place; the border repeats outwards.
///
/// Sums run over whole rows, so that the compiler makes vector code of them.
fn blur(image: &mut [u8], buffers: &mut BlurBuffers, width: usize, radius: usize) {
    if width == 0 {
        return;
    }
    let window = 2 * radius + 1;
    // Division by the window as a product; exact on flat areas for windows below 256.
    let scale = ((1 << 16) / window + 1) as u32;
    let mean = |sum: u16| ((u32::from(sum) * scale) >> 16) as u8;
    let BlurBuffers { rows, padded, sums } = buffers;
    rows.clear();
    rows.resize(image.len(), 0);
    padded.clear();
    padded.resize(width + 2 * radius, 0);
    for (row, out) in image.chunks_exact(width).zip(rows.chunks_exact_mut(width)) {
        if row.iter().all(|&value| value == 0) {
            continue;
        }
        padded[..radius].fill(u16::from(row[0]));
        padded[radius..radius + width]
            .iter_mut()
            .zip(row)
            .for_each(|(wide, &value)| *wide = u16::from(value));
        padded[radius + width..].fill(u16::from(row[width - 1]));
        sums.clear();
        sums.resize(width, 0);
        for offset in 0..window {
            sums.iter_mut().zip(&padded[offset..]).for_each(|(sum, &value)| *sum += value);
        }
        out.iter_mut().zip(sums.iter()).for_each(|(value, &sum)| *value = mean(sum));
    }

    let height = image.len() / width;
    let line = |y: isize| {
        let start = y.clamp(0, height as isize - 1) as usize * width;
        &rows[start..start + width]
    };
    let reach = radius as isize;
    sums.clear();
    sums.resize(width, 0);
    for y in -reach..=reach {
        sums.iter_mut().zip(line(y)).for_each(|(sum, &value)| *sum += u16::from(value));
    }
    for (y, out) in image.chunks_exact_mut(width).enumerate() {
        let (entering, leaving) = (line(y as isize + reach + 1), line(y as isize - reach));
        for (((value, sum), &enter), &leave) in out.iter_mut().zip(sums.iter_mut()).zip(entering).zip(leaving)
        {
            *value = mean(*sum);
            *sum = *sum + u16::from(enter) - u16::from(leave);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blur_keeps_flat_areas_and_softens_edges() {
        let (width, height) = (16, 8);
        let mut image = vec![255u8; width * height];
        let mut buffers = BlurBuffers::default();
        blur(&mut image, &mut buffers, width, 2);
        assert!(image.iter().all(|&value| value == 255));
        for row in image.chunks_mut(width) {
            row[..8].fill(0);
        }
        blur(&mut image, &mut buffers, width, 1);
        assert_eq!(&image[..3], &[0, 0, 0]);
        assert_eq!(image[7], 85);
        assert_eq!(image[8], 170);
        assert_eq!(image[9], 255);
    }
}
