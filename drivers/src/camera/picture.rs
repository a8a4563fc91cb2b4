//! Pictures: cut to an aspect ratio, made smaller, turned.

/// Red, green, blue, row by row from the top, without padding.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Picture {
    /// Columns, pixels.
    pub width_px: usize,
    /// Rows, pixels.
    pub height_px: usize,
    /// `[height_px, width_px, 3]`.
    pub data: Vec<u8>,
}

impl Picture {
    /// Makes it that size; the pixels are whatever they were, or black. Keeps the allocation.
    pub(super) fn resize(&mut self, width_px: usize, height_px: usize) {
        (self.width_px, self.height_px) = (width_px, height_px);
        self.data.resize(width_px * height_px * 3, 0);
    }
}

/// Makes `width_px × height_px` of pictures of any size, turned clockwise by `rotate_deg`.
///
/// The middle of the picture with the right aspect ratio is kept. Each new pixel is the mean of what it
/// covers, pixels on its border counting by their share. (This is a box filter of our own, because in whole
/// numbers it gives the same bytes on every processor, and because it is all that making smaller needs.
/// Larger pictures come out blocky.) Work is linear in the pixels of the old and the new picture.
#[derive(Clone, Debug)]
pub struct Fitter {
    width_px: usize,
    height_px: usize,
    rotate_deg: u16,
    /// One old row, its columns already taken together: sums, `[columns, 3]`.
    row: Vec<u32>,
    /// One new row: sums, `[columns, 3]`.
    sums: Vec<u64>,
    upright: Vec<u8>,
}

impl Fitter {
    /// A side of 0 is 1, and an angle other than 90, 180 and 270 degrees is 0.
    #[must_use]
    pub fn new(width_px: usize, height_px: usize, rotate_deg: u16) -> Self {
        let (width_px, height_px) = (width_px.max(1), height_px.max(1));
        Self { width_px, height_px, rotate_deg, row: Vec::new(), sums: Vec::new(), upright: Vec::new() }
    }

    /// Replaces `out` by the new picture, `[height_px, width_px, 3]`. An empty picture, or one
    /// without all of its pixels, becomes black.
    pub fn fit(&mut self, picture: &Picture, out: &mut Vec<u8>) {
        out.resize(self.width_px * self.height_px * 3, 0);
        let old_bytes = picture.width_px.saturating_mul(picture.height_px).saturating_mul(3);
        if old_bytes == 0 || picture.data.len() != old_bytes {
            return out.fill(0);
        }
        if self.rotate_deg == 0 {
            return self.shrink(picture, self.width_px, self.height_px, out);
        }
        let (columns, rows) = match self.rotate_deg {
            90 | 270 => (self.height_px, self.width_px),
            _ => (self.width_px, self.height_px),
        };
        let mut upright = std::mem::take(&mut self.upright);
        upright.resize(out.len(), 0);
        self.shrink(picture, columns, rows, &mut upright);
        for (index, pixel) in out.chunks_exact_mut(3).enumerate() {
            let (x, y) = (index % self.width_px, index / self.width_px);
            let (from_x, from_y) = match self.rotate_deg {
                90 => (y, rows - 1 - x),
                180 => (columns - 1 - x, rows - 1 - y),
                270 => (columns - 1 - y, x),
                _ => (x, y),
            };
            let at = (from_y * columns + from_x) * 3;
            pixel.copy_from_slice(&upright[at..at + 3]);
        }
        self.upright = upright;
    }

    /// Cuts and takes the means: `out` is `[rows, columns, 3]`.
    fn shrink(&mut self, picture: &Picture, columns: usize, rows: usize, out: &mut [u8]) {
        let (old_width, old_height) = (picture.width_px, picture.height_px);
        if (old_width, old_height) == (columns, rows) {
            return out.copy_from_slice(&picture.data);
        }
        let (width, height) = if old_width * rows > old_height * columns {
            ((old_height * columns / rows).max(1), old_height)
        } else {
            (old_width, (old_width * rows / columns).max(1))
        };
        let (left, top) = ((old_width - width) / 2, (old_height - height) / 2);
        let total = width as u64 * height as u64;
        for (y, new_row) in out.chunks_exact_mut(columns * 3).enumerate() {
            self.sums.clear();
            self.sums.resize(columns * 3, 0);
            for (old_y, share) in covered(y, rows, height) {
                let start = ((top + old_y) * old_width + left) * 3;
                self.gather(&picture.data[start..start + width * 3], columns, width);
                for (sum, value) in self.sums.iter_mut().zip(&self.row) {
                    *sum += u64::from(*value) * share as u64;
                }
            }
            for (new, sum) in new_row.iter_mut().zip(&self.sums) {
                // A mean of bytes is one.
                *new = ((sum + total / 2) / total) as u8;
            }
        }
    }

    /// Takes the columns of one old row together.
    fn gather(&mut self, old_row: &[u8], columns: usize, width: usize) {
        self.row.clear();
        for x in 0..columns {
            let mut sum = [0_u32; 3];
            for (old_x, share) in covered(x, columns, width) {
                for (sum, value) in sum.iter_mut().zip(&old_row[old_x * 3..old_x * 3 + 3]) {
                    *sum += u32::from(*value) * share as u32;
                }
            }
            self.row.extend_from_slice(&sum);
        }
    }
}

/// The old pixels that the new pixel `index` of `new` covers, of `old` in all, and by which share: in units
/// such that each old pixel is `new` long and each new one `old`.
fn covered(index: usize, new: usize, old: usize) -> impl Iterator<Item = (usize, usize)> {
    let (start, end) = (index * old, (index + 1) * old);
    (start / new..end.div_ceil(new))
        .map(move |pixel| (pixel, end.min((pixel + 1) * new) - start.max(pixel * new)))
}
