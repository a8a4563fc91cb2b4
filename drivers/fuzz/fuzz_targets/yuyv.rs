//! Arbitrary sizes and bytes as a frame of YUYV, then fitted: an error, or a picture of the size asked for.
#![no_main]

use libfuzzer_sys::fuzz_target;
use reflexarc_drivers::camera::decode::Decoder;
use reflexarc_drivers::camera::{Fitter, Format, Picture};

fuzz_target!(|input: (u16, u16, u16, u8, u8, u8, &[u8])| {
    let (width, height, stride, new_width, new_height, turns, bytes) = input;
    let (width_px, height_px, stride_bytes) = (width.into(), height.into(), stride.into());
    let mut picture = Picture::default();
    let format = Format::Yuyv { width_px, height_px, stride_bytes };
    if Decoder::default().decode(format, bytes, &mut picture).is_ok() {
        assert_eq!((picture.width_px, picture.height_px), (width_px, height_px));
        assert_eq!(picture.data.len(), width_px * height_px * 3);
        let (new_width, new_height) = (usize::from(new_width).max(1), usize::from(new_height).max(1));
        let mut out = Vec::new();
        Fitter::new(new_width, new_height, u16::from(turns % 4) * 90).fit(&picture, &mut out);
        assert_eq!(out.len(), new_width * new_height * 3);
    }
});
