//! A run as one picture: what both cameras saw, with time and subtask written on each frame.

use std::path::Path;

use anyhow::{Context, Result, bail};
use image::imageops::{FilterType, resize};
use image::{ImageFormat, RgbImage};

use crate::lettering::{LETTER_HEIGHT, block, write};

/// Side of a camera picture, pixels.
const SIDE: u32 = reflexarc_sim::scene::IMAGE_SIDE as u32;
/// Camera pixels are drawn this large.
const ENLARGE: u32 = 2;
/// Frames side by side.
const COLUMNS: usize = 6;
/// Between frames, pixels.
const GAP: u32 = 6;
/// Above the frames, for the title, pixels.
const HEAD: u32 = 28;
/// The dark band with the words at the top of a frame, pixels.
const BAND: u32 = LETTER_HEIGHT * 2 + 6;
/// Frames on a strip at most.
const FRAMES: usize = 12;
/// Of these, how many may be changes of subtask; the rest are spread over the run.
const CHANGES: usize = 9;
/// Moments kept while a run goes on; beyond, every other one that is no change is let go.
const KEPT: usize = 256;

/// One moment of a run.
#[derive(Debug, Clone)]
struct Moment {
    time_s: f64,
    words: String,
    height_m: f64,
    change: bool,
    pictures: [Vec<u8>; 2],
}

/// Collects moments and draws some of them.
#[derive(Debug, Clone, Default)]
pub struct Filmstrip {
    moments: Vec<Moment>,
}

impl Filmstrip {
    /// Takes a moment: scene and wrist picture (96 × 96 rgb8; others are passed over), what the
    /// robot is at in a word or two, and how high the target is. Keeps at most 256 moments.
    pub fn take(&mut self, time_s: f64, words: &str, height_m: f64, pictures: [Vec<u8>; 2]) {
        let bytes = (SIDE * SIDE * 3) as usize;
        if pictures.iter().any(|picture| picture.len() != bytes) {
            return;
        }
        let change = self.moments.last().is_none_or(|last| last.words != words);
        self.moments.push(Moment { time_s, words: words.to_owned(), height_m, change, pictures });
        if self.moments.len() > KEPT {
            // A policy that keeps changing its mind has too many changes to keep them all.
            let keep_changes = self.moments.iter().filter(|moment| moment.change).count() <= KEPT / 4;
            let mut at = 0;
            self.moments.retain(|moment| {
                at += 1;
                at % 2 == 1 || (moment.change && keep_changes)
            });
        }
    }

    /// Moments kept so far.
    #[must_use]
    pub fn len(&self) -> usize {
        self.moments.len()
    }

    /// Whether there is nothing to draw yet.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.moments.is_empty()
    }

    /// Indices of the moments to draw, ascending: first, last, changes, and what lies between.
    fn chosen(&self) -> Vec<usize> {
        let count = self.moments.len();
        let mut chosen: Vec<usize> = (0..count).filter(|at| self.moments[*at].change).take(CHANGES).collect();
        if let Some(last) = count.checked_sub(1) {
            chosen.push(last);
        }
        // Each further one where the longest stretch without a frame is.
        while chosen.len() < FRAMES.min(count) {
            chosen.sort_unstable();
            chosen.dedup();
            let time_s = |at: usize| self.moments[at].time_s;
            let widest = chosen
                .windows(2)
                .filter(|pair| pair[1] - pair[0] > 1)
                .max_by(|a, b| (time_s(a[1]) - time_s(a[0])).total_cmp(&(time_s(b[1]) - time_s(b[0]))));
            let Some(&[from, to]) = widest else { break };
            chosen.push(from.midpoint(to));
        }
        chosen.sort_unstable();
        chosen.dedup();
        chosen
    }

    /// Draws the strip: scene pictures above, wrist pictures below, six moments in a row. Time and
    /// words stand in a band above each picture, yellow where they changed; the target's height in
    /// the scene picture's lower corner.
    ///
    /// # Errors
    /// When nothing was taken.
    pub fn draw(&self, title: &str) -> Result<RgbImage> {
        let chosen = self.chosen();
        if chosen.is_empty() {
            bail!("no camera frame was seen, so there is nothing to draw");
        }
        let (tile, frame) = (SIDE * ENLARGE, SIDE * ENLARGE + BAND);
        let rows = chosen.len().div_ceil(COLUMNS) as u32;
        let columns = chosen.len().min(COLUMNS) as u32;
        let width = (GAP + columns * (tile + GAP)).max(640);
        let height = HEAD + rows * (2 * frame + 3 * GAP);
        let mut strip = RgbImage::from_pixel(width, height, image::Rgb([24, 26, 30]));
        write(&mut strip, GAP, 7, 2, [235; 3], title);
        for (place, at) in chosen.into_iter().enumerate() {
            let moment = &self.moments[at];
            let x = GAP + (place % COLUMNS) as u32 * (tile + GAP);
            let y = HEAD + (place / COLUMNS) as u32 * (2 * frame + 3 * GAP);
            for (camera, pixels) in (0_u32..).zip(&moment.pictures) {
                let top = y + camera * (frame + GAP);
                if let Some(picture) = RgbImage::from_raw(SIDE, SIDE, pixels.clone()) {
                    let large = resize(&picture, tile, tile, FilterType::Nearest);
                    image::imageops::replace(&mut strip, &large, i64::from(x), i64::from(top + BAND));
                }
                block(&mut strip, x, top, tile, BAND, [16, 17, 20]);
                let said = format!("{:.1} {}", moment.time_s, moment.words);
                let rgb = if moment.change { [255, 214, 90] } else { [220; 3] };
                // Longer words than "12.3 approach" are written small.
                if said.chars().count() <= 15 {
                    write(&mut strip, x + 4, top + 3, 2, rgb, &said);
                } else {
                    write(&mut strip, x + 4, top + 7, 1, rgb, &said.chars().take(31).collect::<String>());
                }
            }
            // Adding zero turns a rounded -0.0 into 0.0.
            let height_cm = (moment.height_m * 1000.0).round() / 10.0 + 0.0;
            let bottom = y + frame - LETTER_HEIGHT - 4;
            block(&mut strip, x, bottom, 52, LETTER_HEIGHT + 4, [16, 17, 20]);
            write(&mut strip, x + 3, bottom + 2, 1, [220; 3], &format!("{height_cm:.1} cm"));
        }
        Ok(strip)
    }

    /// Draws the strip into a PNG file, making its folder if that is missing.
    ///
    /// # Errors
    /// When nothing was taken, or the file cannot be written.
    pub fn save(&self, path: &Path, title: &str) -> Result<()> {
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
        }
        self.draw(title)?
            .save_with_format(path, ImageFormat::Png)
            .with_context(|| format!("cannot write {}", path.display()))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests fail by panicking")]
    use super::*;

    fn grey() -> [Vec<u8>; 2] {
        std::array::from_fn(|_| vec![90; 96 * 96 * 3])
    }

    fn strip(words: &[&str]) -> Filmstrip {
        let mut strip = Filmstrip::default();
        for (at, word) in words.iter().enumerate() {
            strip.take(at as f64 * 0.25, word, 0.0, grey());
        }
        strip
    }

    #[test]
    fn changes_first_and_last_are_drawn() {
        let mut words = vec!["reach"; 20];
        words.extend(["approach", "grasp"]);
        words.extend(["lift"; 18]);
        let chosen = strip(&words).chosen();
        assert_eq!(chosen.len(), FRAMES);
        for at in [0, 20, 21, 22, 39] {
            assert!(chosen.contains(&at), "{chosen:?}");
        }
        assert!(chosen.windows(2).all(|pair| pair[0] < pair[1]));
    }

    #[test]
    fn a_long_or_restless_run_stays_bounded() {
        for words in [["lift"; 2], ["lift", "grasp"]] {
            let mut film = Filmstrip::default();
            for at in 0..3_000_u32 {
                film.take(f64::from(at) * 0.25, words[at as usize % 2], 0.0, grey());
                assert!(film.len() <= KEPT + 1, "{}", film.len());
            }
            let chosen = film.chosen();
            assert!(chosen.len() >= 10 && chosen.len() <= FRAMES, "{}", chosen.len());
            assert!(film.moments.last().unwrap().time_s > 749.0);
        }
    }

    #[test]
    fn few_or_no_moments_are_no_trouble() {
        assert!(Filmstrip::default().draw("nothing").is_err());
        let mut film = strip(&["reach"]);
        film.take(1.0, "reach", 0.0, [Vec::new(), Vec::new()]);
        assert_eq!(film.len(), 1);
        assert_eq!(film.draw("one").unwrap().height(), HEAD + 2 * (192 + BAND) + 18);
    }
}
