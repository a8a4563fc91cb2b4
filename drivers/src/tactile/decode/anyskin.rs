//! AnySkin and ReSkin in burst mode: `4 · magnetometers` little-endian `f32` and `\r\n`.
//!
//! `\r\n` may occur among the values, so a frame is believed only between two line ends, each at its place,
//! and after a loss only where three line ends stand a frame apart with possible values between them. If
//! two such places are found the bytes are given up rather than guessed at. After noise, it takes four
//! frames at most until every whole frame is found again; the two that proved the place are handed out too.
//!
//! Not to be found out: changed bytes that leave a possible value, and lost bytes that are whole frames in
//! number, where the head of one sample and the tail of a later one make up a frame.

use super::{Look, Parse, Refusal};
use crate::tactile::TactileConfig;

const END: &[u8; 2] = b"\r\n";
/// Nearer to zero (but for zero itself) no magnetometer resolves, µT; bytes out of place mostly do.
const LEAST_ABS: f32 = 1e-6;
/// After so many impossible frames in a row the place is doubted.
const MOST_IMPLAUSIBLE: u32 = 3;

pub(super) struct AnySkin {
    magnetometers: usize,
    max_abs: f32,
    /// Frames begin at the front of what is looked at.
    locked: bool,
    implausible_in_a_row: u32,
}

impl AnySkin {
    pub(super) fn new(config: &TactileConfig) -> Self {
        Self {
            magnetometers: (config.rows * config.columns) as usize,
            max_abs: config.max_abs,
            locked: false,
            implausible_in_a_row: 0,
        }
    }

    fn frame_bytes(&self) -> usize {
        16 * self.magnetometers + END.len()
    }

    fn possible(&self, frame: &[u8]) -> bool {
        // The line end is too short to be a number.
        frame.as_chunks().0.iter().copied().map(f32::from_le_bytes).all(|value| {
            // Not a number compares as false.
            value == 0.0 || (LEAST_ABS..=self.max_abs).contains(&value.abs())
        })
    }

    /// Looks for the one place in the first frame's length where frames begin.
    fn search(&mut self, bytes: &[u8]) -> Look {
        let length = self.frame_bytes();
        if bytes.len() < self.reach() {
            return Look::More;
        }
        let end_before = |at: usize| bytes.get(at - END.len()..at) == Some(END);
        let frame = |at: usize| bytes.get(at..at + length).unwrap_or_default();
        let mut starts = (END.len()..END.len() + length).filter(|&at| {
            end_before(at)
                && end_before(at + length)
                && end_before(at + 2 * length)
                && self.possible(frame(at))
                && self.possible(frame(at + length))
        });
        match (starts.next(), starts.next()) {
            (Some(start), None) => {
                self.locked = true;
                self.implausible_in_a_row = 0;
                Look::Garbage { bytes: start }
            }
            _ => Look::Garbage { bytes: length },
        }
    }
}

impl Parse for AnySkin {
    fn look(&mut self, bytes: &[u8], values: &mut Vec<f32>) -> Look {
        if !self.locked {
            return self.search(bytes);
        }
        let length = self.frame_bytes();
        let Some(frame) = bytes.get(..length) else { return Look::More };
        if !frame.ends_with(END) {
            self.locked = false;
            return Look::Garbage { bytes: 0 };
        }
        if !self.possible(frame) {
            self.implausible_in_a_row += 1;
            self.locked = self.implausible_in_a_row < MOST_IMPLAUSIBLE;
            return Look::Refused { bytes: length, why: Refusal::Implausible };
        }
        self.implausible_in_a_row = 0;
        // Each magnetometer's first number is its temperature.
        for magnetometer in frame.as_chunks::<16>().0 {
            values.extend(magnetometer.as_chunks().0.iter().skip(1).copied().map(f32::from_le_bytes));
        }
        Look::Frame { bytes: length, sequence: None }
    }

    fn reach(&self) -> usize {
        3 * self.frame_bytes() + END.len()
    }
}
