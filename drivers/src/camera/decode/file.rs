//! Files: whatever PNG or JPEG somebody saved.

use std::io::Cursor;

use image::{ImageReader, Limits};

use super::super::picture::Picture;
use super::{DecodeError, MAX_PIXELS};

pub(super) fn decode(bytes: &[u8], out: &mut Picture) -> Result<(), DecodeError> {
    let content = |error: &dyn std::fmt::Display| DecodeError::Content { reason: error.to_string() };
    let mut limits = Limits::default();
    (limits.max_image_width, limits.max_image_height) = (Some(1 << 15), Some(1 << 15));
    // Up to eight bytes a pixel while decoding, and a copy.
    limits.max_alloc = Some(16 * MAX_PIXELS as u64);
    let mut reader =
        ImageReader::new(Cursor::new(bytes)).with_guessed_format().map_err(|error| content(&error))?;
    reader.limits(limits);
    let picture = reader.decode().map_err(|error| content(&error))?;
    super::checked_pixels(picture.width() as usize, picture.height() as usize)?;
    let rgb = picture.into_rgb8();
    (out.width_px, out.height_px) = (rgb.width() as usize, rgb.height() as usize);
    out.data = rgb.into_raw();
    Ok(())
}
