//! Motion JPEG as UVC cameras send it: baseline JPEGs, often without Huffman tables and padded behind their
//! end.
//!
//! The structure (ITU-T T.81, annex B) is checked here before `zune-jpeg` sees anything: one sequential frame
//! with eight bits and one or three components, one scan with all of them, and an end. So the work of decoding
//! is bounded by the agreed size, and a frame that the USB transfer cut off is an error instead of a picture
//! with a grey lower half.

use zune_jpeg::JpegDecoder;
use zune_jpeg::zune_core::bytestream::ZCursor;
use zune_jpeg::zune_core::colorspace::ColorSpace;
use zune_jpeg::zune_core::options::DecoderOptions;

use super::super::picture::Picture;
use super::{DecodeError, checked_pixels, huffman};

/// The end marker, bytes. `zune-jpeg` does not get to see it, because past it there are zeros without end: a scan
/// that lacks its middle would become a grey picture. Past the last byte there is an error, found out at the
/// next row of blocks.
const END_BYTES: usize = 2;
/// As much of nothing, because the decoder reads up to eight bytes ahead of what it needs.
const AHEAD_BYTES: usize = 16;

/// What a JPEG says before its pixels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Columns, pixels.
    pub width_px: usize,
    /// Rows, pixels.
    pub height_px: usize,
    /// Whether it brings Huffman tables.
    pub has_huffman_tables: bool,
    /// Where the scan's header begins, from the start, bytes.
    pub scan_at: usize,
    /// Where the picture ends, from the start, bytes; what follows is padding.
    pub end: usize,
}

/// Reads one byte after the other and knows where it is.
struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Cursor<'_> {
    fn byte(&mut self) -> Result<u8, DecodeError> {
        let found = self.bytes.len();
        let byte = *self.bytes.get(self.at).ok_or(DecodeError::Length { expected: self.at + 1, found })?;
        self.at += 1;
        Ok(byte)
    }

    /// The next marker's code, with its fill bytes skipped.
    fn marker(&mut self) -> Result<u8, DecodeError> {
        let at = self.at;
        let first = self.byte()?;
        let mut code = first;
        while code == 0xff {
            code = self.byte()?;
        }
        if first != 0xff || code == 0 {
            return Err(marker_error(at, "a marker", format!("{first:#04x} {code:#04x}")));
        }
        Ok(code)
    }

    /// The content of the segment whose marker has just been read.
    fn segment(&mut self) -> Result<&[u8], DecodeError> {
        let at = self.at;
        let length = usize::from(u16::from_be_bytes([self.byte()?, self.byte()?]));
        let content = self.bytes.get(at + 2..at + length);
        match content {
            Some(content) => {
                self.at = at + length;
                Ok(content)
            }
            None if length < 2 => Err(marker_error(at, "a length of 2 or more", length.to_string())),
            None => Err(DecodeError::Length { expected: at + length, found: self.bytes.len() }),
        }
    }

    /// Runs through what is entropy-coded, up to and past the end marker.
    fn scan(&mut self) -> Result<(), DecodeError> {
        loop {
            while self.byte()? != 0xff {}
            let at = self.at - 1;
            let mut code = self.byte()?;
            while code == 0xff {
                code = self.byte()?;
            }
            match code {
                0x00 | 0xd0..=0xd7 => {}
                0xd9 => return Ok(()),
                _ => return Err(marker_error(at, "the end or a restart", format!("marker {code:#04x}"))),
            }
        }
    }
}

fn marker_error(at: usize, expected: &'static str, found: String) -> DecodeError {
    DecodeError::Marker { at, expected, found }
}

impl Header {
    /// Reads the structure of a JPEG, all but its pixels.
    ///
    /// # Errors
    /// [`DecodeError::Marker`] and [`DecodeError::Length`] with the place, [`DecodeError::Size`].
    pub fn parse(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut cursor = Cursor { bytes, at: 0 };
        let start = [cursor.byte()?, cursor.byte()?];
        if start != [0xff, 0xd8] {
            return Err(marker_error(0, "the start of an image", format!("{start:02x?}")));
        }
        let mut frame: Option<(usize, usize, u8)> = None;
        let mut has_huffman_tables = false;
        loop {
            let at = cursor.at;
            let code = cursor.marker()?;
            match code {
                // Sequential, baseline or extended.
                0xc0 | 0xc1 if frame.is_none() => frame = Some(frame_header(cursor.segment()?, at)?),
                0xc4 => {
                    has_huffman_tables = true;
                    cursor.segment()?;
                }
                0xda => {
                    let Some((width_px, height_px, components)) = frame else {
                        return Err(marker_error(at, "a frame before its scan", "none".to_owned()));
                    };
                    let scanned = cursor.segment()?.first().copied();
                    if scanned != Some(components) {
                        let found = format!("{scanned:?} of {components}");
                        return Err(marker_error(at, "one scan of all components", found));
                    }
                    cursor.scan()?;
                    return Ok(Self { width_px, height_px, has_huffman_tables, scan_at: at, end: cursor.at });
                }
                // Quantisation tables, restart interval, applications' segments, comments.
                0xdb | 0xdd | 0xe0..=0xef | 0xfe => {
                    cursor.segment()?;
                }
                _ => return Err(marker_error(at, "one sequential JPEG", format!("marker {code:#04x}"))),
            }
        }
    }
}

/// Columns, rows and components.
fn frame_header(content: &[u8], at: usize) -> Result<(usize, usize, u8), DecodeError> {
    let &[bits, h1, h0, w1, w0, components, ref details @ ..] = content else {
        return Err(marker_error(at, "a frame header", format!("{} bytes", content.len())));
    };
    if bits != 8 || !matches!(components, 1 | 3) || details.len() != 3 * usize::from(components) {
        let found = format!("{bits} bits, {components} components in {} bytes", details.len());
        return Err(marker_error(at, "8 bits and 1 or 3 components", found));
    }
    let sampling = details.iter().skip(1).step_by(3);
    for factors in sampling {
        if !matches!(factors >> 4, 1 | 2 | 4) || !matches!(factors & 15, 1 | 2 | 4) {
            return Err(marker_error(at, "sampling factors 1, 2 or 4", format!("{factors:#04x}")));
        }
    }
    let side = |high, low| usize::from(u16::from_be_bytes([high, low]));
    let (width_px, height_px) = (side(w1, w0), side(h1, h0));
    checked_pixels(width_px, height_px)?;
    Ok((width_px, height_px, components))
}

/// Decodes frames, keeping what it allocates.
#[derive(Clone, Debug, Default)]
pub struct Decoder {
    completed: Vec<u8>,
}

impl Decoder {
    /// Replaces `out` by the picture of `bytes`, which must have the size that the camera agreed to.
    ///
    /// # Errors
    /// [`DecodeError`].
    pub fn decode(
        &mut self,
        bytes: &[u8],
        width_px: usize,
        height_px: usize,
        out: &mut Picture,
    ) -> Result<(), DecodeError> {
        let header = Header::parse(bytes)?;
        if (header.width_px, header.height_px) != (width_px, height_px) {
            return Err(DecodeError::OtherSize {
                expected_width_px: width_px,
                expected_height_px: height_px,
                width_px: header.width_px,
                height_px: header.height_px,
            });
        }
        let (head, scan) = bytes[..header.end - END_BYTES].split_at(header.scan_at);
        let tables: &[u8] = if header.has_huffman_tables { &[] } else { &huffman::STANDARD };
        self.completed.clear();
        for part in [head, tables, scan, &[0; AHEAD_BYTES]] {
            self.completed.extend_from_slice(part);
        }
        // Strict: what cannot be decoded is an error, not grey.
        let options = DecoderOptions::default()
            .set_strict_mode(true)
            .set_max_width(width_px)
            .set_max_height(height_px)
            .jpeg_set_out_colorspace(ColorSpace::RGB);
        let mut decoder = JpegDecoder::new_with_options(ZCursor::new(&self.completed), options);
        let content = |error: &dyn std::fmt::Display| DecodeError::Content { reason: error.to_string() };
        decoder.decode_headers().map_err(|error| content(&error))?;
        out.resize(width_px, height_px);
        match decoder.output_buffer_size() {
            Some(size) if size == out.data.len() => {}
            size => return Err(content(&format!("expected {} bytes, found {size:?}", out.data.len()))),
        }
        decoder.decode_into(&mut out.data).map_err(|error| content(&error))
    }
}
