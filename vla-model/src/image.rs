//! Camera images as models want them.

use crate::observation::Camera;

/// A colour image, pixels row by row from the top left, red, green and blue side by side.
#[derive(Clone, Copy, Debug)]
pub struct Image<'a> {
    width: usize,
    height: usize,
    pixels: Pixels<'a>,
}

#[derive(Clone, Copy, Debug)]
enum Pixels<'a> {
    /// 0 to 255.
    Bytes(&'a [u8]),
    /// 0 to 1.
    Floats(&'a [f32]),
}

impl<'a> Image<'a> {
    /// An image of `width × height × 3` values from 0 (dark) to 1. None when there are not as many
    /// values, or none at all.
    #[must_use]
    pub fn floats(width: usize, height: usize, values: &'a [f32]) -> Option<Self> {
        let fits = !values.is_empty() && Some(values.len()) == width.checked_mul(height)?.checked_mul(3);
        fits.then_some(Self { width, height, pixels: Pixels::Floats(values) })
    }

    /// Writes row `y` as floats from 0 to 1.
    fn row(&self, y: usize, to: &mut [f32]) {
        let (from, len) = (y * self.width * 3, self.width * 3);
        match self.pixels {
            Pixels::Bytes(values) => {
                to.iter_mut()
                    .zip(&values[from..from + len])
                    .for_each(|(to, value)| *to = f32::from(*value) / 255.0);
            }
            Pixels::Floats(values) => to.copy_from_slice(&values[from..from + len]),
        }
    }
}

impl<'a> From<&'a Camera> for Image<'a> {
    /// The camera's picture; [`Camera::check`] must have passed.
    fn from(camera: &'a Camera) -> Self {
        Self { width: camera.width, height: camera.height, pixels: Pixels::Bytes(&camera.rgb) }
    }
}

/// Where a line of output samples falls between the samples of a line of input.
struct Taps {
    /// Left neighbour, right neighbour, weight of the right one.
    taps: Vec<(usize, usize, f32)>,
}

impl Taps {
    /// Half-pixel centres, edges clamped.
    fn new(from: usize, to: usize) -> Self {
        let scale = from as f64 / to as f64;
        let taps = (0..to).map(|at| {
            let source = ((at as f64 + 0.5) * scale - 0.5).max(0.0);
            let low = (source as usize).min(from - 1);
            (low, (low + 1).min(from - 1), (source - low as f64) as f32)
        });
        Self { taps: taps.collect() }
    }
}

/// `image` scaled to fit `[width, height]` with its proportions kept, as SmolVLA was trained: bilinear
/// with half-pixel centres and no anti-aliasing; what remains free is black, at the top and at the left;
/// then brightness 0 to 1 becomes -1 to 1.
///
/// Fills `output`, `height × width × 3` values laid out as in [`Image`]. Work: a few operations for each
/// value of the output and each value of the input's rows that are used. An image so thin that nothing
/// would remain of it is kept one pixel thick.
pub fn resize_with_pad(image: &Image<'_>, [width, height]: [usize; 2], output: &mut [f32]) {
    assert_eq!(output.len(), width * height * 3);
    let ratio = (image.width as f64 / width as f64).max(image.height as f64 / height as f64);
    let inner_width = ((image.width as f64 / ratio) as usize).clamp(1, width);
    let inner_height = ((image.height as f64 / ratio) as usize).clamp(1, height);
    output.fill(-1.0);
    let (columns, rows) = (Taps::new(image.width, inner_width), Taps::new(image.height, inner_height));
    let (top, left) = (height - inner_height, width - inner_width);

    let mut above = Line::new(image);
    let mut below = Line::new(image);
    let mut blend = vec![0.0; image.width * 3];
    for (out, (high, low, weight)) in output.chunks_exact_mut(width * 3).skip(top).zip(&rows.taps) {
        if below.is(*high) {
            std::mem::swap(&mut above, &mut below);
        }
        let (above, below) = (above.load(image, *high), below.load(image, *low));
        for (blend, (a, b)) in blend.iter_mut().zip(above.iter().zip(below)) {
            *blend = a * (1.0 - weight) + b * weight;
        }
        let (pixels, _) = blend.as_chunks::<3>();
        let (out, _) = out[left * 3..].as_chunks_mut::<3>();
        for (out, (near, far, weight)) in out.iter_mut().zip(&columns.taps) {
            for channel in 0..3 {
                let value = pixels[*near][channel] * (1.0 - weight) + pixels[*far][channel] * weight;
                out[channel] = value * 2.0 - 1.0;
            }
        }
    }
}

/// One row of the input, as floats.
struct Line {
    row: Option<usize>,
    values: Vec<f32>,
}

impl Line {
    fn new(image: &Image<'_>) -> Self {
        Self { row: None, values: vec![0.0; image.width * 3] }
    }

    fn is(&self, row: usize) -> bool {
        self.row == Some(row)
    }

    fn load(&mut self, image: &Image<'_>, row: usize) -> &[f32] {
        if !self.is(row) {
            image.row(row, &mut self.values);
            self.row = Some(row);
        }
        &self.values
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests fail by panicking")]
    use super::*;

    fn resized(image: &Image<'_>, size: [usize; 2]) -> Vec<f32> {
        let mut output = vec![f32::NAN; size[0] * size[1] * 3];
        resize_with_pad(image, size, &mut output);
        output
    }

    fn grey(values: &[f32]) -> Vec<f32> {
        values.iter().flat_map(|value| [*value; 3]).collect()
    }

    #[test]
    fn an_image_of_the_right_size_is_only_shifted() {
        let values: Vec<f32> = (0..12).map(|at| at as f32 / 11.0).collect();
        let image = Image::floats(2, 2, &values).unwrap();
        let expected: Vec<f32> = values.iter().map(|value| value * 2.0 - 1.0).collect();
        assert_eq!(resized(&image, [2, 2]), expected);
    }

    #[test]
    fn a_wide_image_is_padded_at_the_top() {
        let values = grey(&[0.0, 1.0, 0.0, 1.0]);
        let image = Image::floats(4, 1, &values).unwrap();
        let output = resized(&image, [4, 2]);
        assert_eq!(output[..12], [-1.0; 12]);
        assert_eq!(output[12..], grey(&[-1.0, 1.0, -1.0, 1.0]));
    }

    #[test]
    fn a_tall_image_is_padded_at_the_left_and_sampled_between_pixels() {
        let values = grey(&[0.0, 0.25, 0.5, 1.0]);
        let image = Image::floats(1, 4, &values).unwrap();
        let output = resized(&image, [2, 2]);
        // Output rows fall on source rows 0.5 and 2.5; the width of half a pixel is kept at one.
        assert_eq!(output, grey(&[-1.0, -0.75, -1.0, 0.5]));
    }

    #[test]
    fn enlarging_clamps_at_the_edges() {
        let values = grey(&[0.0, 1.0, 0.0, 1.0]);
        let image = Image::floats(2, 2, &values).unwrap();
        let output = resized(&image, [4, 4]);
        assert_eq!(output[..12], grey(&[-1.0, -0.5, 0.5, 1.0]));
    }

    #[test]
    fn bytes_and_floats_agree() {
        let rgb: Vec<u8> = (0..7 * 5 * 3).map(|at| (at * 37 % 256) as u8).collect();
        let camera = Camera { name: "scene".into(), width: 7, height: 5, rgb: rgb.clone() };
        let floats: Vec<f32> = rgb.iter().map(|value| f32::from(*value) / 255.0).collect();
        let image = Image::floats(7, 5, &floats).unwrap();
        assert_eq!(resized(&Image::from(&camera), [16, 16]), resized(&image, [16, 16]));
    }

    #[test]
    fn values_that_are_no_image_are_none() {
        assert!(Image::floats(2, 2, &[0.0; 11]).is_none());
        assert!(Image::floats(0, 0, &[]).is_none());
        assert!(Image::floats(usize::MAX, 2, &[0.0; 3]).is_none());
    }
}
