//! YUYV to RGB: ITU-R BT.601 with limited range (Y 16..=235, U and V 16..=240), as UVC cameras send it.

use super::super::picture::Picture;
use super::{DecodeError, checked_pixels};

/// The factors of BT.601 in units of 2⁻¹⁶: 255/219, and those of V and U for red, green and blue, × 255/224.
const Y: i32 = 76_309;
const RED_V: i32 = 104_597;
const GREEN_U: i32 = -25_675;
const GREEN_V: i32 = -53_279;
const BLUE_U: i32 = 132_201;

pub(super) fn decode(
    bytes: &[u8],
    width_px: usize,
    height_px: usize,
    stride_bytes: usize,
    out: &mut Picture,
) -> Result<(), DecodeError> {
    checked_pixels(width_px, height_px)?;
    let row_bytes = width_px * 2;
    if !width_px.is_multiple_of(2) {
        return Err(DecodeError::Size { width_px, height_px });
    }
    if stride_bytes < row_bytes {
        return Err(DecodeError::Length { expected: row_bytes, found: stride_bytes });
    }
    let expected = stride_bytes.saturating_mul(height_px - 1).saturating_add(row_bytes);
    if bytes.len() < expected {
        return Err(DecodeError::Length { expected, found: bytes.len() });
    }
    out.resize(width_px, height_px);
    for (row, new) in bytes.chunks(stride_bytes).zip(out.data.chunks_exact_mut(width_px * 3)) {
        for ([y0, u, y1, v], pair) in row.as_chunks::<4>().0.iter().zip(new.as_chunks_mut::<6>().0) {
            let [r0, g0, b0] = rgb(*y0, *u, *v);
            let [r1, g1, b1] = rgb(*y1, *u, *v);
            *pair = [r0, g0, b0, r1, g1, b1];
        }
    }
    Ok(())
}

fn rgb(y: u8, u: u8, v: u8) -> [u8; 3] {
    let light = (i32::from(y) - 16) * Y + (1 << 15);
    let (u, v) = (i32::from(u) - 128, i32::from(v) - 128);
    // Clamped, hence bytes.
    let byte = |value: i32| (value >> 16).clamp(0, 255) as u8;
    [byte(light + v * RED_V), byte(light + u * GREEN_U + v * GREEN_V), byte(light + u * BLUE_U)]
}
