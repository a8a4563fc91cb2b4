//! A small line chart as a PNG: enough to see whether a training went down.

use std::path::Path;

use anyhow::Result;
use image::{Rgb, RgbImage};

/// One curve.
#[derive(Debug, Clone)]
pub struct Curve {
    /// Its colour.
    pub rgb: [u8; 3],
    /// Its points, x ascending.
    pub points: Vec<(f64, f64)>,
}

const WIDTH: u32 = 960;
const HEIGHT: u32 = 480;
const MARGIN: u32 = 24;

/// Draws the curves over a common x axis with a logarithmic y axis; a grid line at each power of
/// ten and at its double and fivefold.
///
/// # Errors
/// When the file cannot be written.
pub fn save_log_plot(path: &Path, curves: &[Curve]) -> Result<()> {
    let mut picture = RgbImage::from_pixel(WIDTH, HEIGHT, Rgb([255; 3]));
    let points = || curves.iter().flat_map(|c| &c.points).filter(|p| p.1.is_finite() && p.1 > 0.0);
    let last_x = points().map(|p| p.0).fold(1.0, f64::max);
    let low = points().map(|p| p.1.ln()).fold(f64::INFINITY, f64::min).min(0.0);
    let high = points().map(|p| p.1.ln()).fold(f64::NEG_INFINITY, f64::max).max(low + 1.0);
    let x_of = |x: f64| f64::from(MARGIN) + x / last_x * f64::from(WIDTH - 2 * MARGIN);
    let y_of =
        |y: f64| f64::from(HEIGHT - MARGIN) - (y.ln() - low) / (high - low) * f64::from(HEIGHT - 2 * MARGIN);
    for power in -6..6 {
        for (digit, grey) in [(1.0, 170), (2.0, 225), (5.0, 225)] {
            let y = y_of(digit * 10_f64.powi(power));
            if y >= f64::from(MARGIN) && y <= f64::from(HEIGHT - MARGIN) {
                line(&mut picture, (f64::from(MARGIN), y), (f64::from(WIDTH - MARGIN), y), [grey; 3]);
            }
        }
    }
    for curve in curves {
        let mut previous: Option<(f64, f64)> = None;
        for (x, y) in curve.points.iter().filter(|p| p.1.is_finite() && p.1 > 0.0) {
            let here = (x_of(*x), y_of(*y));
            if let Some(from) = previous {
                line(&mut picture, from, here, curve.rgb);
            }
            previous = Some(here);
        }
    }
    picture.save(path)?;
    Ok(())
}

fn line(picture: &mut RgbImage, from: (f64, f64), to: (f64, f64), rgb: [u8; 3]) {
    let steps = (to.0 - from.0).abs().max((to.1 - from.1).abs()).ceil().max(1.0) as usize;
    for step in 0..=steps {
        let t = step as f64 / steps as f64;
        let (x, y) = (from.0 + t * (to.0 - from.0), from.1 + t * (to.1 - from.1));
        if x >= 0.0 && y >= 0.0 && (x as u32) < WIDTH && (y as u32) < HEIGHT {
            picture.put_pixel(x as u32, y as u32, Rgb(rgb));
        }
    }
}
