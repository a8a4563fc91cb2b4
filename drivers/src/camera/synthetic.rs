//! A camera without hardware: a moving pattern, with the number of the frame in it.
//!
//! The top eighth of the picture is a strip of 32 cells, white for 1 and black for 0, the highest bit at the
//! left: the counter, from 0. Below, red grows to the right, green grows downwards, and both move by one
//! level with each frame; a blue bar runs to the right by one column with each frame.

use std::time::Duration;

use super::device::{Device, DeviceError, Format, Frame, Stamp};
use super::pacer::Pacer;
use crate::clock::Clock;

const BITS: usize = 32;

/// Draws the frame `counter` into `pixels`, `[height, width, 3]` with at least 32 columns and 8 rows;
/// anything smaller stays as it is.
pub fn draw(counter: u32, width_px: usize, pixels: &mut [u8]) {
    let Some(cell) = width_px.checked_div(BITS).filter(|cell| *cell > 0) else { return };
    let rows = pixels.len() / 3 / width_px;
    let phase = counter as usize;
    for (y, row) in pixels.chunks_exact_mut(width_px * 3).enumerate() {
        for (x, pixel) in row.as_chunks_mut::<3>().0.iter_mut().enumerate() {
            *pixel = if y < rows / 8 {
                let bit = BITS - 1 - (x / cell).min(BITS - 1);
                [if (counter >> bit) & 1 == 1 { 255 } else { 0 }; 3]
            } else {
                // Levels begin anew past 255.
                [(x + phase) as u8, (y + phase) as u8, if x == phase % width_px { 255 } else { 0 }]
            };
        }
    }
}

/// Reads the counter out of a frame that was not turned; none if a cell is neither black nor white.
#[must_use]
pub fn counter(width_px: usize, pixels: &[u8]) -> Option<u32> {
    let cell = width_px.checked_div(BITS).filter(|cell| *cell > 0)?;
    (0..BITS).try_fold(0_u32, |counter, index| {
        let at = (index * cell + cell / 2) * 3;
        match pixels.get(at..at + 3)? {
            [0, 0, 0] => Some(counter << 1),
            [255, 255, 255] => Some((counter << 1) | 1),
            _ => None,
        }
    })
}

/// The pattern as a device.
pub(super) struct Synthetic {
    width_px: usize,
    height_px: usize,
    next: u32,
    pixels: Vec<u8>,
    pacer: Pacer,
    clock: Clock,
}

impl Synthetic {
    pub(super) fn new(width_px: usize, height_px: usize, rate_hz: f64, clock: &Clock) -> Self {
        let pixels = vec![0; width_px * height_px * 3];
        Self { width_px, height_px, next: 0, pixels, pacer: Pacer::new(rate_hz), clock: clock.clone() }
    }
}

impl Device for Synthetic {
    fn wait(&mut self, timeout: Duration) -> Result<bool, DeviceError> {
        Ok(self.pacer.wait(timeout))
    }

    fn dequeue(&mut self) -> Result<Option<Frame>, DeviceError> {
        if !self.pacer.take() {
            return Ok(None);
        }
        draw(self.next, self.width_px, &mut self.pixels);
        let frame = Frame {
            slot: 0,
            used_bytes: self.pixels.len(),
            format: Format::Rgb8 { width_px: self.width_px, height_px: self.height_px },
            sequence: self.next,
            stamp: Stamp::FrameEnd(self.now_ns()),
            broken: false,
        };
        self.next = self.next.wrapping_add(1);
        Ok(Some(frame))
    }

    fn bytes(&self, _: &Frame) -> &[u8] {
        &self.pixels
    }

    fn release(&mut self, _: Frame) -> Result<(), DeviceError> {
        self.pacer.release();
        Ok(())
    }

    fn now_ns(&self) -> u64 {
        self.clock.now_ns()
    }

    fn describe(&self) -> String {
        format!("synthetic pattern, {} x {} pixels", self.width_px, self.height_px)
    }
}
