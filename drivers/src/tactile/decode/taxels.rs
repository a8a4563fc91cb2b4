//! The frame of [`taxels`](crate::tactile::taxels).
//!
//! After noise, every whole frame is found, at once: what looks like a beginning costs the wait for one
//! frame's length at most, and what is looked at again begins one byte later. A wrong frame is believed once
//! in 2³² broken ones.

use super::{Look, Parse, Refusal};
use crate::tactile::TactileConfig;
use crate::tactile::taxels::{CRC_BYTES, Encoding, HEADER_BYTES, MAGIC, crc32};

/// Numbers that seem to run back by less than this are frames lost; by more, a device that began anew.
const MOST_LOST: u16 = 0x8000;

pub(super) struct Taxels {
    shape: [u8; 3],
    values: usize,
    max_abs: f32,
    last: Option<u16>,
    gaps: u64,
    found_shape: Option<[u8; 3]>,
}

impl Taxels {
    pub(super) fn new(config: &TactileConfig) -> Self {
        // A valid configuration has no side above 64.
        let side = |side: u32| u8::try_from(side).unwrap_or(u8::MAX);
        Self {
            shape: [side(config.rows), side(config.columns), side(config.channels)],
            values: config.values(),
            max_abs: config.max_abs,
            last: None,
            gaps: 0,
            found_shape: None,
        }
    }
}

impl Parse for Taxels {
    fn look(&mut self, bytes: &[u8], values: &mut Vec<f32>) -> Look {
        let begins = bytes.iter().position(|byte| *byte == MAGIC[0]).unwrap_or(bytes.len());
        if begins > 0 {
            return Look::Garbage { bytes: begins };
        }
        let Some((header, rest)) = bytes.split_first_chunk::<HEADER_BYTES>() else {
            let wrong = bytes.get(1).is_some_and(|byte| *byte != MAGIC[1]);
            return if wrong { Look::Garbage { bytes: 1 } } else { Look::More };
        };
        let [_, magic, encoding, rows, columns, channels, low, high] = *header;
        let encoding = match Encoding::from_byte(encoding) {
            Some(encoding) if magic == MAGIC[1] => encoding,
            _ => return Look::Garbage { bytes: 1 },
        };
        let shape = [rows, columns, channels];
        if shape != self.shape {
            self.found_shape = Some(shape);
            return Look::Refused { bytes: 1, why: Refusal::WrongShape };
        }
        let length = encoding.frame_bytes(self.values);
        let (Some(checked), Some((payload, crc))) = (
            bytes.get(MAGIC.len()..length - CRC_BYTES),
            rest.get(..length - HEADER_BYTES).and_then(|rest| rest.split_last_chunk::<CRC_BYTES>()),
        ) else {
            return Look::More;
        };
        if crc32(checked) != u32::from_le_bytes(*crc) {
            return Look::Refused { bytes: 1, why: Refusal::Crc };
        }
        let number = u16::from_le_bytes([low, high]);
        self.gaps += match self.last.replace(number).map(|last| number.wrapping_sub(last)) {
            Some(0) => return Look::Refused { bytes: length, why: Refusal::Repeated },
            Some(step) if step < MOST_LOST => u64::from(step) - 1,
            Some(_) => 1,
            None => 0,
        };
        match encoding {
            Encoding::I16 => {
                values.extend(payload.as_chunks().0.iter().map(|pair| f32::from(i16::from_le_bytes(*pair))));
            }
            Encoding::F32 => {
                values.extend(payload.as_chunks().0.iter().map(|four| f32::from_le_bytes(*four)));
            }
        }
        // Not a number compares as false.
        if !values.iter().all(|value| value.abs() <= self.max_abs) {
            return Look::Refused { bytes: length, why: Refusal::Implausible };
        }
        Look::Frame { bytes: length, sequence: Some(number) }
    }

    fn reach(&self) -> usize {
        Encoding::F32.frame_bytes(self.values)
    }

    fn take_gaps(&mut self) -> u64 {
        std::mem::take(&mut self.gaps)
    }

    fn found_shape(&self) -> Option<[u8; 3]> {
        self.found_shape
    }
}
