//! Gel tactile sensors, which are cameras behind a soft skin (DIGIT, GelSight).
//!
//! What touches the skin is the difference between a frame and a frame without contact: the background, here
//! the mean of the first frames after the start, in which nothing may touch the sensor. Published is
//! 128 + frame − background for each channel, clamped to 0..=255, so that mid-grey is no contact. That goes
//! out on the camera's own topic, `camera/NAME/image_raw`, and nothing goes out while the background is taken.
//!
//! The background is kept when the device is reopened. It is taken at the published size: the mean over
//! pixels and the difference may be swapped.

/// Takes the background, then subtracts it.
#[derive(Clone, Debug)]
pub struct Gel {
    wanted: u32,
    seen: u32,
    /// While frames are missing: their sums; then the means.
    background: Vec<u32>,
}

impl Gel {
    /// The background will be the mean of `frames` frames, at least 1.
    #[must_use]
    pub fn new(frames: u32) -> Self {
        Self { wanted: frames.max(1), seen: 0, background: Vec::new() }
    }

    /// Replaces a frame by its difference from the background and says so; or takes it into the background,
    /// and there is nothing to publish. All frames must have one size.
    pub fn apply(&mut self, pixels: &mut [u8]) -> bool {
        if self.seen < self.wanted {
            self.background.resize(pixels.len(), 0);
            for (sum, pixel) in self.background.iter_mut().zip(pixels.iter()) {
                *sum += u32::from(*pixel);
            }
            self.seen += 1;
            if self.seen == self.wanted {
                for sum in &mut self.background {
                    *sum = (*sum + self.wanted / 2) / self.wanted;
                }
            }
            return false;
        }
        for (pixel, mean) in pixels.iter_mut().zip(&self.background) {
            let offset = 128 + u32::from(*pixel);
            // Clamped, hence a byte.
            *pixel = offset.saturating_sub(*mean).min(255) as u8;
        }
        true
    }
}
