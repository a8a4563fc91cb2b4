//! The taxel frame: what a microcontroller of your own sends.
//!
//! All numbers are little-endian, without padding.
//!
//! | offset | bytes | what |
//! |---|---|---|
//! | 0 | 2 | `A5 5A` |
//! | 2 | 1 | version and encoding: `11` for `i16` values, `12` for `f32` values |
//! | 3 | 3 | rows, columns, channels: as configured, or the frame is refused |
//! | 6 | 2 | number of the frame: 0 first, one more each frame, 0 again after 65,535 |
//! | 8 | 2 n or 4 n | n = rows · columns · channels values, row by row, the channel fastest |
//! | 8 + 2 n or 4 n | 4 | CRC-32 of everything from offset 2 up to here |
//!
//! The CRC-32 is that of zlib, PNG and Ethernet (`zlib.crc32` in Python). A CRC-16 would let 1 broken frame in
//! 65,536 pass: on a bad cable, where one frame in a hundred is broken, that is a false touch a day at 100 Hz.
//! A frame with the number of the one before is refused, so a board that forgets to count is found out at once.
//!
//! For an Arduino with little-endian numbers (all common ones):
//!
//! ```cpp
//! const uint8_t ROWS = 4, COLUMNS = 4, CHANNELS = 1;
//! struct __attribute__((packed)) {
//!   uint8_t magic[2] = {0xA5, 0x5A}, kind = 0x11, rows = ROWS, columns = COLUMNS, channels = CHANNELS;
//!   uint16_t number = 0;
//!   int16_t value[ROWS * COLUMNS * CHANNELS];
//!   uint32_t crc;
//! } frame;
//!
//! void send() {  // after frame.value has been filled
//!   uint32_t crc = 0xFFFFFFFF;
//!   for (uint8_t *byte = (uint8_t *)&frame + 2; byte < (uint8_t *)&frame.crc; byte++) {
//!     crc ^= *byte;
//!     for (int bit = 0; bit < 8; bit++) crc = (crc >> 1) ^ (crc & 1 ? 0xEDB88320 : 0);
//!   }
//!   frame.crc = ~crc;
//!   Serial.write((uint8_t *)&frame, sizeof frame);
//!   frame.number++;
//! }
//! ```

/// What a frame begins with.
pub const MAGIC: [u8; 2] = [0xA5, 0x5A];
/// Bytes before the values.
pub const HEADER_BYTES: usize = 8;
/// Bytes of the checksum.
pub const CRC_BYTES: usize = 4;

/// How the values are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    /// Whole numbers of 16 bits.
    I16,
    /// Floating-point numbers of 32 bits.
    F32,
}

impl Encoding {
    /// The byte at offset 2.
    #[must_use]
    pub const fn byte(self) -> u8 {
        match self {
            Self::I16 => 0x11,
            Self::F32 => 0x12,
        }
    }

    /// The encoding that the byte at offset 2 stands for.
    #[must_use]
    pub const fn from_byte(byte: u8) -> Option<Self> {
        match byte {
            0x11 => Some(Self::I16),
            0x12 => Some(Self::F32),
            _ => None,
        }
    }

    /// Bytes of a frame with so many values.
    #[must_use]
    pub const fn frame_bytes(self, values: usize) -> usize {
        let each = match self {
            Self::I16 => 2,
            Self::F32 => 4,
        };
        HEADER_BYTES + each * values + CRC_BYTES
    }
}

/// Appends a frame to `out`. `values` should be as many as `shape` (rows, columns, channels) says, or no
/// reader takes it; `I16` rounds them and keeps them in its range.
pub fn encode(encoding: Encoding, shape: [u8; 3], number: u16, values: &[f32], out: &mut Vec<u8>) {
    let start = out.len();
    out.extend_from_slice(&MAGIC);
    out.push(encoding.byte());
    out.extend_from_slice(&shape);
    out.extend_from_slice(&number.to_le_bytes());
    for value in values {
        match encoding {
            // Saturates; not a number becomes 0.
            Encoding::I16 => out.extend_from_slice(&(value.round() as i16).to_le_bytes()),
            Encoding::F32 => out.extend_from_slice(&value.to_le_bytes()),
        }
    }
    let crc = crc32(out.get(start + MAGIC.len()..).unwrap_or_default());
    out.extend_from_slice(&crc.to_le_bytes());
}

/// CRC-32 as in zlib (reflected, polynomial `EDB88320`, all ones before and after).
#[must_use]
pub fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(u32::MAX, |crc, byte| {
        let entry = usize::from(crc as u8 ^ byte);
        (crc >> 8) ^ TABLE.get(entry).copied().unwrap_or_default()
    })
}

/// What each byte does to a CRC-32.
const TABLE: [u32; 256] = {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        let mut crc = byte as u32;
        let mut bit = 0;
        while bit < 8 {
            crc = (crc >> 1) ^ if crc & 1 == 1 { 0xEDB8_8320 } else { 0 };
            bit += 1;
        }
        table[byte] = crc;
        byte += 1;
    }
    table
};
