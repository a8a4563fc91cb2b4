//! Drawing with soft edges: thick lines with round ends, discs and dashes on an `RgbImage`.

use image::{Rgb, RgbImage};

/// A point on the picture, pixels: x to the right, y down.
pub type Point = [f64; 2];

/// A line from `from` to `to` with round ends, `radius` to either side, pixels. With `round`, the colour
/// darkens towards the edge as on a rod.
pub fn capsule(picture: &mut RgbImage, from: Point, to: Point, radius: f64, rgb: [u8; 3], round: bool) {
    if ![from, to].iter().flatten().chain([&radius]).all(|value| value.is_finite()) {
        return;
    }
    let reach = radius + 1.0;
    let (x_range, y_range) = (
        pixels(from[0].min(to[0]) - reach, from[0].max(to[0]) + reach, picture.width()),
        pixels(from[1].min(to[1]) - reach, from[1].max(to[1]) + reach, picture.height()),
    );
    let (along_x, along_y) = (to[0] - from[0], to[1] - from[1]);
    let square = along_x * along_x + along_y * along_y;
    for y in y_range {
        for x in x_range.clone() {
            let (dx, dy) = (f64::from(x) + 0.5 - from[0], f64::from(y) + 0.5 - from[1]);
            let share =
                if square > 0.0 { ((dx * along_x + dy * along_y) / square).clamp(0.0, 1.0) } else { 0.0 };
            let distance = (dx - share * along_x).hypot(dy - share * along_y);
            let cover = (radius + 0.5 - distance).clamp(0.0, 1.0);
            if cover > 0.0 {
                let shade = if round {
                    0.62 + 0.38 * (1.0 - (distance / radius).min(1.0).powi(2)).sqrt()
                } else {
                    1.0
                };
                blend(picture.get_pixel_mut(x, y), rgb.map(|value| f64::from(value) * shade), cover);
            }
        }
    }
}

/// A disc.
pub fn disc(picture: &mut RgbImage, at: Point, radius: f64, rgb: [u8; 3]) {
    capsule(picture, at, at, radius, rgb, false);
}

/// A thin line through the points.
pub fn polyline(picture: &mut RgbImage, points: &[Point], radius: f64, rgb: [u8; 3]) {
    for pair in points.windows(2) {
        capsule(picture, pair[0], pair[1], radius, rgb, false);
    }
}

/// A line of dashes, 5 pixels each.
pub fn dashes(picture: &mut RgbImage, from: Point, to: Point, radius: f64, rgb: [u8; 3]) {
    let count = ((to[0] - from[0]).hypot(to[1] - from[1]) / 10.0).clamp(1.0, 1000.0).round();
    let at = |share: f64| [from[0] + share * (to[0] - from[0]), from[1] + share * (to[1] - from[1])];
    for dash in 0..count as u32 {
        let begin = f64::from(dash) / count;
        capsule(picture, at(begin), at(begin + 0.5 / count), radius, rgb, false);
    }
}

/// The pixels of `[low, high]` that lie on a side of `size` pixels.
fn pixels(low: f64, high: f64, size: u32) -> std::ops::Range<u32> {
    let limit = f64::from(size);
    low.floor().clamp(0.0, limit) as u32..high.ceil().clamp(0.0, limit) as u32
}

fn blend(pixel: &mut Rgb<u8>, rgb: [f64; 3], cover: f64) {
    for (to, from) in pixel.0.iter_mut().zip(rgb) {
        *to = (f64::from(*to) * (1.0 - cover) + from * cover).round() as u8;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn edges_are_soft_and_what_lies_outside_is_left_out() {
        let mut picture = RgbImage::new(20, 20);
        disc(&mut picture, [10.0, 10.0], 4.3, [200, 100, 0]);
        assert_eq!(picture.get_pixel(10, 10), &Rgb([200, 100, 0]));
        assert_eq!(picture.get_pixel(0, 0), &Rgb([0, 0, 0]));
        assert!((1..200).contains(&picture.get_pixel(14, 9).0[0]), "{:?}", picture.get_pixel(14, 9));
        let before = picture.clone();
        capsule(&mut picture, [-50.0, -9.0], [60.0, -9.0], 3.0, [255; 3], true);
        capsule(&mut picture, [f64::NAN, 0.0], [1e300, 5.0], 3.0, [255; 3], true);
        dashes(&mut picture, [100.0, 100.0], [1e6, 100.0], 1.0, [255; 3]);
        assert_eq!(picture, before);
    }
}
