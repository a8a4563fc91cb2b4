//! Arbitrary bytes as a frame of motion JPEG: an error, or a picture of the agreed size.
#![no_main]

use std::cell::RefCell;

use libfuzzer_sys::fuzz_target;
use reflexarc_drivers::camera::decode::{Decoder, mjpeg};
use reflexarc_drivers::camera::{Format, Picture};

/// Larger pictures take long and show nothing new.
const MAX_PIXELS: usize = 1 << 18;

thread_local! {
    /// Kept between the runs, as a camera keeps it between frames.
    static KEPT: RefCell<(Decoder, Picture)> = RefCell::default();
}

fuzz_target!(|bytes: &[u8]| {
    let header = match mjpeg::Header::parse(bytes) {
        Ok(header) => header,
        Err(error) => return assert!(!error.to_string().is_empty()),
    };
    assert!(header.scan_at < header.end && header.end <= bytes.len());
    let (width_px, height_px) = (header.width_px, header.height_px);
    KEPT.with_borrow_mut(|(decoder, picture)| {
        let other = Format::Mjpeg { width_px: width_px + 1, height_px };
        assert!(decoder.decode(other, bytes, picture).is_err());
        if width_px * height_px <= MAX_PIXELS
            && decoder.decode(Format::Mjpeg { width_px, height_px }, bytes, picture).is_ok()
        {
            assert_eq!((picture.width_px, picture.height_px), (width_px, height_px));
            assert_eq!(picture.data.len(), width_px * height_px * 3);
        }
    });
});
