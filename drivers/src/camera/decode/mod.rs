//! Bytes from a camera to pixels.
//!
//! Whatever the bytes, decoding ends with a picture or a [`DecodeError`]: at most [`MAX_PIXELS`] pixels, and
//! work linear in the bytes and the pixels.

mod file;
mod huffman;
pub mod mjpeg;
mod yuyv;

use super::device::Format;
use super::picture::Picture;

/// Pixels of the largest picture that is decoded.
pub const MAX_PIXELS: usize = 1 << 24;

/// Why bytes are not the picture that was expected.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// A picture without pixels, with too many, or with a size that the format does not have.
    #[error("expected 1 to {MAX_PIXELS} pixels, for YUYV in even columns, found {width_px} x {height_px}")]
    Size {
        /// Columns.
        width_px: usize,
        /// Rows.
        height_px: usize,
    },
    /// A picture of another size than the camera had agreed to.
    #[error("expected {expected_width_px} x {expected_height_px} pixels, found {width_px} x {height_px}")]
    OtherSize {
        /// Columns expected.
        expected_width_px: usize,
        /// Rows expected.
        expected_height_px: usize,
        /// Columns found.
        width_px: usize,
        /// Rows found.
        height_px: usize,
    },
    /// Too few bytes.
    #[error("expected at least {expected} bytes, found {found}")]
    Length {
        /// Bytes needed.
        expected: usize,
        /// Bytes present.
        found: usize,
    },
    /// The structure of a JPEG is broken.
    #[error("byte {at}: expected {expected}, found {found}")]
    Marker {
        /// Where, from the start.
        at: usize,
        /// What was expected there.
        expected: &'static str,
        /// What is there.
        found: String,
    },
    /// What is compressed is broken.
    #[error("{reason}")]
    Content {
        /// The decoder's words.
        reason: String,
    },
}

/// Decodes frames of any format, keeping what it allocates.
#[derive(Clone, Debug, Default)]
pub struct Decoder {
    mjpeg: mjpeg::Decoder,
}

impl Decoder {
    /// Replaces `out` by the picture that `bytes` are. On an error, what `out` holds means nothing.
    ///
    /// # Errors
    /// [`DecodeError`].
    pub fn decode(&mut self, format: Format, bytes: &[u8], out: &mut Picture) -> Result<(), DecodeError> {
        match format {
            Format::Mjpeg { width_px, height_px } => self.mjpeg.decode(bytes, width_px, height_px, out),
            Format::Yuyv { width_px, height_px, stride_bytes } => {
                yuyv::decode(bytes, width_px, height_px, stride_bytes, out)
            }
            Format::Rgb8 { width_px, height_px } => rgb8(bytes, width_px, height_px, out),
            Format::File => file::decode(bytes, out),
        }
    }
}

fn rgb8(bytes: &[u8], width_px: usize, height_px: usize, out: &mut Picture) -> Result<(), DecodeError> {
    let expected = checked_pixels(width_px, height_px)? * 3;
    let pixels = bytes.get(..expected).ok_or(DecodeError::Length { expected, found: bytes.len() })?;
    out.resize(width_px, height_px);
    out.data.copy_from_slice(pixels);
    Ok(())
}

/// The number of pixels, if a picture may have that many.
fn checked_pixels(width_px: usize, height_px: usize) -> Result<usize, DecodeError> {
    match width_px.checked_mul(height_px) {
        Some(pixels) if (1..=MAX_PIXELS).contains(&pixels) => Ok(pixels),
        _ => Err(DecodeError::Size { width_px, height_px }),
    }
}
