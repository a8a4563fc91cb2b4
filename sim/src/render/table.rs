//! The table top and the room around it, computed from a pixel's ray.

use nalgebra::{Point3, Vector3};

/// How the two colours of a table top alternate.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum TablePattern {
    /// Only the first colour.
    Plain,
    /// Squares with an edge of `scale_m` metres.
    Checker {
        /// Edge length in metres.
        scale_m: f32,
    },
    /// Stripes along y, each `scale_m` metres wide.
    Stripes {
        /// Width in metres.
        scale_m: f32,
    },
    /// Smooth random patches of about `scale_m` metres.
    Noise {
        /// Size of a patch in metres.
        scale_m: f32,
    },
}

/// The look and extent of the table top, a rectangle in the plane `z = 0`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TableLook {
    /// First colour, linear, 0 to 1.
    pub rgb_a: [f32; 3],
    /// Second colour, linear, 0 to 1.
    pub rgb_b: [f32; 3],
    /// How the two alternate.
    pub pattern: TablePattern,
    /// Half the table's size along world x and y, metres.
    pub half_extent_m: [f32; 2],
    /// The table's centre in world x and y, metres.
    pub centre_m: [f32; 2],
}

impl Default for TableLook {
    fn default() -> Self {
        Self {
            rgb_a: [0.42, 0.36, 0.29],
            rgb_b: [0.36, 0.30, 0.24],
            pattern: TablePattern::Noise { scale_m: 0.05 },
            half_extent_m: [0.5, 0.6],
            centre_m: [0.45, 0.0],
        }
    }
}

impl TableLook {
    /// The colour midway between the two, which the table throws back onto what stands on it.
    pub(super) fn mean_rgb(&self) -> [f32; 3] {
        match self.pattern {
            TablePattern::Plain => self.rgb_a,
            _ => std::array::from_fn(|channel| (self.rgb_a[channel] + self.rgb_b[channel]) * 0.5),
        }
    }
}

/// Side of the repeating noise tile, in texels.
const TILE: usize = 256;
/// Texels per patch of noise; the tile repeats after 32 patches.
const TEXELS_PER_PATCH: usize = 8;

/// A tile of smooth noise, made once and the same on every machine.
#[derive(Clone, Debug)]
pub(super) struct NoiseTile {
    texels: Box<[u8; TILE * TILE]>,
}

impl NoiseTile {
    pub(super) fn new() -> Self {
        let coarse = Lattice::new(TILE / TEXELS_PER_PATCH, 0x2545_f491_4f6c_dd1d);
        let fine = Lattice::new(TILE / TEXELS_PER_PATCH * 2, 0x9e37_79b9_7f4a_7c15);
        let mut texels = Box::new([0; TILE * TILE]);
        for (index, texel) in texels.iter_mut().enumerate() {
            let patch = 1.0 / TEXELS_PER_PATCH as f32;
            let (x, y) = ((index % TILE) as f32 * patch, (index / TILE) as f32 * patch);
            let value = 0.65 * coarse.sample(x, y) + 0.35 * fine.sample(2.0 * x, 2.0 * y);
            *texel = (value * 255.0 + 0.5) as u8;
        }
        Self { texels }
    }

    /// The noise at a position in patches, 0 to 1, by bilinear interpolation.
    #[inline]
    fn sample(&self, x: f32, y: f32) -> f32 {
        // 1.5 * 2^23: adding it leaves an integer in the low bits, without a checked cast. Where the sum rounds up
        // at a whole number, the share is 1 of the texel before: the same value.
        const SHIFT: f32 = 12_582_912.0;
        let split = |value: f32| {
            let shifted = (value * TEXELS_PER_PATCH as f32 - 0.5) + SHIFT;
            let share = value * TEXELS_PER_PATCH as f32 - (shifted - SHIFT);
            (shifted.to_bits() as usize & (TILE - 1), share)
        };
        let ((left, fx), (row, fy)) = (split(x), split(y));
        let right = (left + 1) & (TILE - 1);
        let (upper, lower) = (row * TILE, ((row + 1) & (TILE - 1)) * TILE);
        let texel = |index: usize| f32::from(self.texels[index & (TILE * TILE - 1)]);
        let top = texel(upper + left) + (texel(upper + right) - texel(upper + left)) * fx;
        let bottom = texel(lower + left) + (texel(lower + right) - texel(lower + left)) * fx;
        (top + (bottom - top) * fy) * (1.0 / 255.0)
    }
}

/// Random numbers on a periodic grid.
struct Lattice {
    side: usize,
    values: Vec<f32>,
}

impl Lattice {
    fn new(side: usize, seed: u64) -> Self {
        let mut state = seed;
        let values = (0..side * side)
            .map(|_| {
                // Xorshift64 (Marsaglia 2003).
                state ^= state << 13;
                state ^= state >> 7;
                state ^= state << 17;
                (state >> 40) as f32 / (1u64 << 24) as f32
            })
            .collect();
        Self { side, values }
    }

    /// Smoothly interpolated; `x` and `y` are not negative.
    fn sample(&self, x: f32, y: f32) -> f32 {
        let (column, row) = (x as usize, y as usize);
        let ease = |share: f32| share * share * (3.0 - 2.0 * share);
        let (fx, fy) = (ease(x - column as f32), ease(y - row as f32));
        let at = |row: usize, column: usize| self.values[row % self.side * self.side + column % self.side];
        let top = at(row, column) + (at(row, column + 1) - at(row, column)) * fx;
        let bottom = at(row + 1, column) + (at(row + 1, column + 1) - at(row + 1, column)) * fx;
        top + (bottom - top) * fy
    }
}

/// Rounds down; the standard function is a call on processors without the instruction.
#[inline]
fn floor(value: f32) -> i32 {
    let cut = value as i32;
    cut - i32::from(cut as f32 > value)
}

/// The mean of a square wave (+1 and -1, half period 1) over `position` ± `width` / 2.
#[inline]
fn filtered_wave(position: f32, width: f32) -> f32 {
    let integral = |x: f32| {
        let phase = x * 0.5;
        let phase = (phase - floor(phase) as f32) * 2.0;
        1.0 - (phase - 1.0).abs()
    };
    let width = width.max(1e-3);
    ((integral(position + width * 0.5) - integral(position - width * 0.5)) / width).clamp(-1.0, 1.0)
}

/// What a view sees of the table plane.
#[derive(Clone, Copy, Debug)]
pub(super) struct TableView<'a> {
    look: &'a TableLook,
    noise: &'a NoiseTile,
    eye: Point3<f32>,
    inv_eye_z: f32,
    /// World direction of a ray (x, y, 1) is `forward + right * x + down * y`.
    right: Vector3<f32>,
    down: Vector3<f32>,
    forward: Vector3<f32>,
    inv_scale: f32,
    /// Size of a pixel on a plane at depth 1.
    pixel: f32,
    /// Whether the pattern has edges that need the pixel's footprint.
    filtered: bool,
}

/// What a ray sees where no mesh is, before light and shadow.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Ground {
    /// Reflectance of the table times its share of the pixel.
    pub(super) table: [f32; 3],
    /// Light from the room times its share of the pixel.
    pub(super) room: [f32; 3],
    /// Depth of the table in metres; infinite where it is missed.
    pub(super) depth_m: f32,
}

/// Where a pixel's ray meets the table.
#[derive(Clone, Copy, Debug)]
pub(super) struct TableHit {
    depth_m: f32,
    /// Position on the table, metres from its centre.
    local: [f32; 2],
    /// Extent of the pixel on the table along x and y, metres; 0 where nothing asks for it.
    footprint: [f32; 2],
    /// How much of the pixel the table covers, 0 to 1.
    pub(super) coverage: f32,
}

impl<'a> TableView<'a> {
    pub(super) fn new(
        look: &'a TableLook,
        noise: &'a NoiseTile,
        world_from_camera: &nalgebra::Isometry3<f32>,
        focal: f32,
    ) -> Self {
        let axes = world_from_camera.rotation.to_rotation_matrix();
        let eye = Point3::from(world_from_camera.translation.vector);
        let scale_m = match look.pattern {
            TablePattern::Plain => 1.0,
            TablePattern::Checker { scale_m }
            | TablePattern::Stripes { scale_m }
            | TablePattern::Noise { scale_m } => scale_m,
        };
        Self {
            look,
            noise,
            eye,
            inv_eye_z: 1.0 / eye.z,
            right: axes * Vector3::x(),
            down: axes * Vector3::y(),
            forward: axes * Vector3::z(),
            inv_scale: 1.0 / scale_m.max(1e-3),
            pixel: 1.0 / focal,
            filtered: matches!(look.pattern, TablePattern::Checker { .. } | TablePattern::Stripes { .. }),
        }
    }

    #[inline]
    fn direction(&self, ray: [f32; 2]) -> Vector3<f32> {
        self.forward + self.right * ray[0] + self.down * ray[1]
    }

    /// Table or room along a ray.
    #[inline(always)]
    pub(super) fn ground(&self, ray: [f32; 2], background: &[f32; 3]) -> Ground {
        let Some(hit) = self.hit(ray) else {
            return Ground { table: [0.0; 3], room: self.room(ray, background), depth_m: f32::INFINITY };
        };
        let mut ground = Ground { table: self.reflectance(&hit), room: [0.0; 3], depth_m: hit.depth_m };
        if hit.coverage < 1.0 {
            ground.table = ground.table.map(|value| value * hit.coverage);
            ground.room = self.room(ray, background).map(|value| value * (1.0 - hit.coverage));
        }
        ground
    }

    /// The table along a ray, unless it is missed.
    #[inline(always)]
    pub(super) fn hit(&self, ray: [f32; 2]) -> Option<TableHit> {
        let direction = self.direction(ray);
        let inv_depth = -direction.z * self.inv_eye_z;
        let ahead = self.eye.z > 0.0 && inv_depth > 1e-3;
        if !ahead {
            return None;
        }
        let depth = 1.0 / inv_depth;
        let local = [
            self.eye.x + direction.x * depth - self.look.centre_m[0],
            self.eye.y + direction.y * depth - self.look.centre_m[1],
        ];
        let margin = [0, 1].map(|axis| self.look.half_extent_m[axis] - local[axis].abs());
        let mut hit = TableHit { depth_m: depth, local, footprint: [0.0; 2], coverage: 1.0 };
        let well_inside = margin[0].min(margin[1]) > 16.0 * self.pixel * depth;
        if well_inside && !self.filtered {
            return Some(hit);
        }
        // Change of the hit point from one pixel to the next, by the quotient rule.
        let slide_x = self.right.z * self.inv_eye_z * depth;
        let slide_y = self.down.z * self.inv_eye_z * depth;
        let step = self.pixel * depth;
        hit.footprint = [
            ((self.right.x + direction.x * slide_x).abs() + (self.down.x + direction.x * slide_y).abs())
                * step,
            ((self.right.y + direction.y * slide_x).abs() + (self.down.y + direction.y * slide_y).abs())
                * step,
        ];
        if !well_inside {
            let share = |axis: usize| (margin[axis] / hit.footprint[axis] + 0.5).clamp(0.0, 1.0);
            hit.coverage = share(0) * share(1);
        }
        // Written so that NaN fails.
        (hit.coverage > 0.0).then_some(hit)
    }

    /// Reflectance of the table where it was hit.
    #[inline(always)]
    fn reflectance(&self, hit: &TableHit) -> [f32; 3] {
        let scaled = |axis: usize| (hit.local[axis] * self.inv_scale, hit.footprint[axis] * self.inv_scale);
        let share = match self.look.pattern {
            TablePattern::Plain => return self.look.rgb_a,
            TablePattern::Checker { .. } => {
                let ((x, width_x), (y, width_y)) = (scaled(0), scaled(1));
                0.5 - 0.5 * filtered_wave(x, width_x) * filtered_wave(y, width_y)
            }
            TablePattern::Stripes { .. } => {
                let (x, width) = scaled(0);
                0.5 - 0.5 * filtered_wave(x, width)
            }
            TablePattern::Noise { .. } => {
                self.noise.sample(hit.local[0] * self.inv_scale, hit.local[1] * self.inv_scale)
            }
        };
        let (a, b) = (&self.look.rgb_a, &self.look.rgb_b);
        std::array::from_fn(|channel| a[channel] + (b[channel] - a[channel]) * share)
    }

    /// The room along a ray that misses the table: a wall that brightens upwards, a darker floor.
    #[inline(never)]
    fn room(&self, ray: [f32; 2], background: &[f32; 3]) -> [f32; 3] {
        let direction = self.direction(ray);
        let rise = direction.z / direction.norm();
        // The seam between floor and wall lies a little below the horizon and is soft.
        let wall = ((rise + 0.30) * 12.0).clamp(0.0, 1.0);
        let shade = 0.34 - 0.10 * rise.min(0.0) + wall * (0.36 + 0.25 * rise);
        background.map(|value| value * shade)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wave_is_filtered_exactly() {
        assert!((filtered_wave(0.5, 0.1) - 1.0).abs() < 1e-5);
        assert!((filtered_wave(1.5, 0.1) + 1.0).abs() < 1e-5);
        assert!(filtered_wave(1.0, 0.5).abs() < 1e-5);
        assert!(filtered_wave(-0.5, 0.1) < -0.99);
        assert!(filtered_wave(0.7, 2.0).abs() < 1e-5);
    }

    #[test]
    fn noise_stays_in_range_and_varies() {
        let tile = NoiseTile::new();
        let samples: Vec<f32> =
            (0..1000).map(|step| tile.sample(step as f32 * 0.37 - 90.0, step as f32 * -0.11)).collect();
        assert!(samples.iter().all(|value| (0.0..=1.0).contains(value)));
        assert!(samples.iter().any(|&value| value < 0.3) && samples.iter().any(|&value| value > 0.7));
    }
}
