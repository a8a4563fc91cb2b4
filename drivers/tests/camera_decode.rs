//! From bytes to pixels: goldens of independent decoders (`camera/golden.py` makes them), and whatever else
//! may come over USB.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests fail by panicking")]

use proptest::prelude::*;
use reflexarc_drivers::camera::decode::{DecodeError, Decoder, MAX_PIXELS, mjpeg};
use reflexarc_drivers::camera::{Fitter, Format, Picture};

const WIDTH: usize = 32;
const HEIGHT: usize = 16;
const MJPEG: Format = Format::Mjpeg { width_px: WIDTH, height_px: HEIGHT };

macro_rules! golden {
    ($name:literal) => {
        (
            $name,
            include_bytes!(concat!("camera/", $name, ".mjpeg")).as_slice(),
            include_bytes!(concat!("camera/", $name, ".rgb")).as_slice(),
        )
    };
}

const FRAMES: [(&str, &[u8], &[u8]); 5] = [
    golden!("tables-444"),
    golden!("bare-422"),
    golden!("bare-420"),
    golden!("bare-422-restarts"),
    golden!("grey"),
];

fn decode(format: Format, bytes: &[u8]) -> Result<Picture, DecodeError> {
    let mut picture = Picture::default();
    Decoder::default().decode(format, bytes, &mut picture).map(|()| picture)
}

/// The mean and the largest difference.
fn differences(a: &[u8], b: &[u8]) -> (f64, u8) {
    assert_eq!(a.len(), b.len());
    let each = || a.iter().zip(b).map(|(a, b)| a.abs_diff(*b));
    (each().map(f64::from).sum::<f64>() / a.len() as f64, each().max().unwrap())
}

#[test]
fn jpegs_with_and_without_tables_look_as_libjpeg_sees_them() {
    for (name, bytes, golden) in FRAMES {
        let picture = decode(MJPEG, bytes).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!((picture.width_px, picture.height_px), (WIDTH, HEIGHT));
        let (mean, most) = differences(&picture.data, golden);
        // The standard leaves rounding free, and how colours between two samples are found.
        assert!(mean < 1.0 && most <= 8, "{name}: mean {mean}, most {most}");
    }
}

#[test]
fn a_header_says_what_is_there() {
    let (_, tables, _) = FRAMES[0];
    let header = mjpeg::Header::parse(tables).unwrap();
    assert_eq!((header.width_px, header.height_px, header.has_huffman_tables), (WIDTH, HEIGHT, true));
    assert_eq!(header.end, tables.len());
    let (_, bare, _) = FRAMES[1];
    let header = mjpeg::Header::parse(bare).unwrap();
    assert!(!header.has_huffman_tables);
    assert_eq!(header.end, bare.len() - 37, "padding is not picture");
}

#[test]
fn what_is_cut_off_is_an_error() {
    for (name, bytes, _) in FRAMES {
        let end = mjpeg::Header::parse(bytes).unwrap().end;
        for length in 0..end {
            assert!(decode(MJPEG, &bytes[..length]).is_err(), "{name} cut to {length} bytes");
        }
    }
}

#[test]
fn a_scan_that_lacks_its_middle_is_an_error() {
    let (name, bytes, _) = FRAMES[1];
    let header = mjpeg::Header::parse(bytes).unwrap();
    // The scan's header and four more bytes stay.
    let start = header.scan_at + 18;
    let lacking = [&bytes[..start], &bytes[header.end - 2..]].concat();
    assert!(mjpeg::Header::parse(&lacking).is_ok(), "its structure is whole");
    assert!(matches!(decode(MJPEG, &lacking), Err(DecodeError::Content { .. })), "{name}");
}

#[test]
fn sizes_that_were_not_agreed_are_errors() {
    let (_, bytes, _) = FRAMES[0];
    let error = decode(Format::Mjpeg { width_px: 16, height_px: 32 }, bytes).unwrap_err();
    assert_eq!(error.to_string(), "expected 16 x 32 pixels, found 32 x 16");
    // A header that claims 65,535 columns and rows.
    let at = bytes.windows(2).position(|pair| pair == [0xff, 0xc0]).unwrap();
    let mut huge = bytes.to_vec();
    huge[at + 5..at + 9].fill(0xff);
    let size = DecodeError::Size { width_px: 65_535, height_px: 65_535 };
    assert_eq!(decode(MJPEG, &huge), Err(size.clone()));
    assert_eq!(decode(Format::Mjpeg { width_px: 65_535, height_px: 65_535 }, &huge), Err(size));
    let mut progressive = bytes.to_vec();
    progressive[at + 1] = 0xc2;
    let error = decode(MJPEG, &progressive).unwrap_err();
    assert!(error.to_string().ends_with("expected one sequential JPEG, found marker 0xc2"), "{error}");
}

const YUYV: Format = Format::Yuyv { width_px: WIDTH, height_px: HEIGHT, stride_bytes: 2 * WIDTH };

#[test]
fn yuyv_looks_as_bt601_has_it() {
    let (bytes, golden) = (include_bytes!("camera/noise.yuyv"), include_bytes!("camera/noise.rgb"));
    let picture = decode(YUYV, bytes).unwrap();
    let (mean, most) = differences(&picture.data, golden);
    assert!(mean < 0.001 && most <= 1, "mean {mean}, most {most}");
    // Black, white, and the pure colours of the standard's bars at 100 %.
    let pixel = |y: u8, u: u8, v: u8| {
        let format = Format::Yuyv { width_px: 2, height_px: 1, stride_bytes: 4 };
        let data = decode(format, &[y, u, y, v]).unwrap().data;
        [data[3], data[4], data[5]]
    };
    assert_eq!(pixel(16, 128, 128), [0, 0, 0]);
    assert_eq!(pixel(235, 128, 128), [255, 255, 255]);
    assert_eq!(pixel(81, 90, 240), [254, 0, 0]);
    assert_eq!(pixel(145, 54, 34), [0, 255, 1]);
    assert_eq!(pixel(41, 240, 110), [0, 0, 255]);
}

#[test]
fn yuyv_rows_may_have_padding() {
    let bytes = include_bytes!("camera/noise.yuyv");
    let padded: Vec<u8> = bytes.chunks(2 * WIDTH).flat_map(|row| [row, &[7; 12]].concat()).collect();
    let format = Format::Yuyv { width_px: WIDTH, height_px: HEIGHT, stride_bytes: 2 * WIDTH + 12 };
    assert_eq!(decode(format, &padded), decode(YUYV, bytes));
    // The padding of the last row may be missing, its pixels may not.
    assert!(decode(format, &padded[..padded.len() - 12]).is_ok());
    assert!(matches!(decode(format, &padded[..padded.len() - 13]), Err(DecodeError::Length { .. })));
}

fn sizes() -> impl Strategy<Value = usize> {
    prop_oneof![0..40_usize, Just(65_536), Just(usize::MAX), any::<usize>()]
}

fn formats() -> impl Strategy<Value = Format> {
    (0..4, sizes(), sizes(), sizes()).prop_map(|(kind, width_px, height_px, stride_bytes)| match kind {
        0 => Format::Mjpeg { width_px, height_px },
        1 => Format::Yuyv { width_px, height_px, stride_bytes },
        2 => Format::Rgb8 { width_px, height_px },
        _ => Format::File,
    })
}

proptest! {
    #[test]
    fn garbage_is_a_picture_of_the_right_size_or_an_error(
        format in formats(),
        bytes in prop::collection::vec(any::<u8>(), 0..4096),
    ) {
        if let Ok(picture) = decode(format, &bytes) {
            prop_assert!((1..=MAX_PIXELS).contains(&(picture.width_px * picture.height_px)));
            prop_assert_eq!(picture.data.len(), picture.width_px * picture.height_px * 3);
        }
    }

    #[test]
    fn broken_jpegs_are_pictures_of_the_right_size_or_errors(
        frame in 0..FRAMES.len(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
        cut in any::<prop::sample::Index>(),
    ) {
        let mut bytes = FRAMES[frame].1.to_vec();
        for (at, byte) in changes {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        for bytes in [&bytes[..], &bytes[..cut.index(bytes.len())]] {
            if let Ok(picture) = decode(MJPEG, bytes) {
                prop_assert_eq!(picture.data.len(), WIDTH * HEIGHT * 3);
            }
        }
    }

    #[test]
    fn a_picture_of_one_colour_keeps_it_at_any_size(
        colour in any::<[u8; 3]>(),
        old in (1..50_usize, 1..50_usize),
        new in (1..50_usize, 1..50_usize),
        quarter_turns in 0..4_u16,
    ) {
        let picture = Picture { width_px: old.0, height_px: old.1, data: colour.repeat(old.0 * old.1) };
        let mut out = Vec::new();
        Fitter::new(new.0, new.1, quarter_turns * 90).fit(&picture, &mut out);
        prop_assert_eq!(out, colour.repeat(new.0 * new.1));
    }

    #[test]
    fn what_fits_evenly_keeps_its_mean(
        rows in prop::collection::vec(any::<[u8; 24]>(), 8),
        quarter_turns in 0..4_u16,
    ) {
        // 8 × 8 to 4 × 4 and 2 × 2: means of whole pixels, each rounded.
        let picture = Picture { width_px: 8, height_px: 8, data: rows.concat() };
        let mean = |pixels: &[u8]| pixels.iter().map(|byte| f64::from(*byte)).sum::<f64>() / pixels.len() as f64;
        for side in [4, 2, 1] {
            let mut out = Vec::new();
            Fitter::new(side, side, quarter_turns * 90).fit(&picture, &mut out);
            prop_assert!((mean(&out) - mean(&picture.data)).abs() <= 0.5 + 1e-9);
        }
    }
}

/// A picture of one row of numbers each, `[rows][columns]`, as grey.
fn grey<const W: usize, const H: usize>(rows: [[u8; W]; H]) -> Picture {
    let data = rows.concat().iter().flat_map(|level| [*level; 3]).collect();
    Picture { width_px: W, height_px: H, data }
}

fn fitted(picture: &Picture, width: usize, height: usize, rotate_deg: u16) -> Vec<u8> {
    let mut out = Vec::new();
    Fitter::new(width, height, rotate_deg).fit(picture, &mut out);
    out.chunks(3).map(|pixel| pixel[1]).collect()
}

#[test]
fn turns_are_clockwise() {
    let picture = grey([[1, 2, 3], [4, 5, 6]]);
    assert_eq!(fitted(&picture, 3, 2, 0), [1, 2, 3, 4, 5, 6]);
    assert_eq!(fitted(&picture, 2, 3, 90), [4, 1, 5, 2, 6, 3]);
    assert_eq!(fitted(&picture, 3, 2, 180), [6, 5, 4, 3, 2, 1]);
    assert_eq!(fitted(&picture, 2, 3, 270), [3, 6, 2, 5, 1, 4]);
}

#[test]
fn the_middle_is_kept_and_shares_count() {
    // Wide and high to square.
    assert_eq!(fitted(&grey([[1, 2, 3, 4], [5, 6, 7, 8]]), 2, 2, 0), [2, 3, 6, 7]);
    assert_eq!(fitted(&grey([[1, 2], [3, 4], [5, 6], [7, 8]]), 2, 2, 0), [3, 4, 5, 6]);
    // Three columns in two: the middle one counts half in each; (2·10 + 40) / 3 and (40 + 2·90) / 3.
    assert_eq!(fitted(&grey([[10, 40, 90]; 3]), 2, 2, 0), [20, 73, 20, 73]);
    // Larger: blocks.
    assert_eq!(fitted(&grey([[1, 9]; 2]), 4, 4, 0), [1, 1, 9, 9].repeat(4));
    // No pixels to show.
    assert_eq!(fitted(&Picture::default(), 2, 1, 0), [0, 0]);
}
