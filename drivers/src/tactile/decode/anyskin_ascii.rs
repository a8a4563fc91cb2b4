//! AnySkin and ReSkin without burst mode: a line of decimal numbers for each sample, with spaces, tabs or
//! commas between them and `\n` or `\r\n` at the end.
//!
//! A line is believed when a line end stands before it, and when it has exactly the expected number of
//! numbers, each of them possible. After noise, every line after the first line end is found.
//!
//! Not to be found out: lost or changed digits, and a piece of one line with a piece of another that
//! together have the expected number of numbers.

use super::{Look, Parse, Refusal};
use crate::tactile::TactileConfig;

/// No number is written longer, with what stands between it and the next, bytes.
const NUMBER_BYTES: usize = 24;

pub(super) struct AnySkinAscii {
    numbers: usize,
    temperature: bool,
    max_abs: f32,
    /// A line begins at the front of what is looked at.
    line_begins: bool,
}

impl AnySkinAscii {
    pub(super) fn new(config: &TactileConfig) -> Self {
        let each = if config.temperature { 4 } else { 3 };
        Self {
            numbers: each * (config.rows * config.columns) as usize,
            temperature: config.temperature,
            max_abs: config.max_abs,
            line_begins: false,
        }
    }

    /// All numbers of a line, in their order, to `values`. False if it is not a line of this pad.
    fn read(&self, line: &[u8], values: &mut Vec<f32>) -> bool {
        let words =
            line.split(|byte| matches!(byte, b' ' | b'\t' | b',' | b'\r')).filter(|word| !word.is_empty());
        for word in words {
            // Rust also reads `inf` and `nan`.
            let decimal =
                |byte: &u8| byte.is_ascii_digit() || matches!(byte, b'+' | b'-' | b'.' | b'e' | b'E');
            let number =
                std::str::from_utf8(word).ok().filter(|word| word.bytes().all(|byte| decimal(&byte)));
            match number.and_then(|word| word.parse().ok()) {
                Some(number) if values.len() < self.numbers => values.push(number),
                _ => return false,
            }
        }
        values.len() == self.numbers
    }
}

impl Parse for AnySkinAscii {
    fn look(&mut self, bytes: &[u8], values: &mut Vec<f32>) -> Look {
        let longest = self.reach();
        let Some(length) = bytes.iter().take(longest).position(|byte| *byte == b'\n') else {
            if bytes.len() < longest {
                return Look::More;
            }
            self.line_begins = false;
            return Look::Garbage { bytes: longest };
        };
        let (line, whole) = (bytes.get(..length).unwrap_or_default(), length + 1);
        if !std::mem::replace(&mut self.line_begins, true) || !self.read(line, values) {
            return Look::Garbage { bytes: whole };
        }
        // Not a number compares as false.
        if !values.iter().all(|value| value.abs() <= self.max_abs) {
            return Look::Refused { bytes: whole, why: Refusal::Implausible };
        }
        if self.temperature {
            let mut place = 0;
            values.retain(|_| {
                place += 1;
                place % 4 != 1
            });
        }
        Look::Frame { bytes: whole, sequence: None }
    }

    fn reach(&self) -> usize {
        NUMBER_BYTES * self.numbers + 2
    }
}
