//! Tactile pads' bytes: golden frames, noise, and ten minutes of faults in simulated time.
#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stdout, reason = "tests fail by panicking")]

use std::collections::HashSet;

use proptest::prelude::*;
use reflexarc_drivers::tactile::baseline::{Baseline, BaselineState};
use reflexarc_drivers::tactile::simulator::{FaultInjector, StreamFaults, encode, felt};
use reflexarc_drivers::tactile::taxels::{self, Encoding};
use reflexarc_drivers::tactile::{DecodeCounts, Decoder, TactileConfig, TactileFormat};

const FORMATS: [TactileFormat; 3] =
    [TactileFormat::Anyskin, TactileFormat::AnyskinAscii, TactileFormat::Taxels];

fn config(format: TactileFormat, rows: u32, columns: u32, channels: u32) -> TactileConfig {
    let config =
        TactileConfig { port: "/dev/null".into(), format, rows, columns, channels, ..Default::default() };
    config.validate().unwrap();
    config
}

fn hex(text: &str) -> Vec<u8> {
    let digits = text.trim().as_bytes();
    digits.chunks(2).map(|two| u8::from_str_radix(std::str::from_utf8(two).unwrap(), 16).unwrap()).collect()
}

/// All frames in `bytes`, given in pieces of `piece`.
fn decode(decoder: &mut Decoder, bytes: &[u8], piece: usize) -> Vec<Vec<f32>> {
    let mut frames = Vec::new();
    for piece in bytes.chunks(piece) {
        decoder.push(piece, 0, |frame| frames.push(frame.values.to_vec()));
        assert!(decoder.held() <= decoder.capacity());
    }
    frames
}

#[test]
fn golden_taxel_frames_are_read_and_written() {
    let frame = hex(include_str!("tactile/taxels_i16.hex"));
    let values = vec![0.0, 1.0, -1.0, 300.0, 32767.0, -32768.0];
    let mut decoder = Decoder::new(&config(TactileFormat::Taxels, 2, 3, 1));
    assert_eq!(decode(&mut decoder, &frame, 100), std::slice::from_ref(&values));
    let mut written = Vec::new();
    taxels::encode(Encoding::I16, [2, 3, 1], 513, &values, &mut written);
    assert_eq!(written, frame);

    let frame = hex(include_str!("tactile/taxels_f32.hex"));
    let values = vec![0.0, 0.5, -1.25, 1e-3, 40.0, 3.5];
    let mut decoder = Decoder::new(&config(TactileFormat::Taxels, 1, 2, 3));
    assert_eq!(decode(&mut decoder, &frame, 1), std::slice::from_ref(&values));
    assert_eq!(decoder.counts(), DecodeCounts { frames: 1, ..DecodeCounts::default() });
    let mut written = Vec::new();
    taxels::encode(Encoding::F32, [1, 2, 3], 65535, &values, &mut written);
    assert_eq!(written, frame);
    assert_eq!(taxels::crc32(b"123456789"), 0xCBF4_3926);
}

#[test]
fn a_golden_anyskin_frame_is_read_without_temperatures() {
    let frame = hex(include_str!("tactile/anyskin.hex"));
    let mut decoder = Decoder::new(&config(TactileFormat::Anyskin, 1, 2, 3));
    let frames = decode(&mut decoder, &frame.repeat(5), 7);
    // The first one has no line end before it.
    assert_eq!(frames, vec![vec![1.0, -2.0, 3.25, 100.0, 200.0, -300.0]; 4]);
    assert_eq!(decoder.counts().discarded_bytes, 34);
}

#[test]
fn lines_of_text_are_read_with_tabs_commas_and_spaces() {
    let text = b"9 9 9\r\n25 1 2 3 26 4 5 6\r\n25,1.5,-2,3e1,26,4,5,6\n25\t1\t2\t3\t26\t4\t5\t6\t\r\n";
    let mut decoder = Decoder::new(&config(TactileFormat::AnyskinAscii, 2, 1, 3));
    let first = vec![1.0, 2.0, 3.0, 4.0, 5.0, 6.0];
    let second = vec![1.5, -2.0, 30.0, 4.0, 5.0, 6.0];
    assert_eq!(decode(&mut decoder, text, 3), [first.clone(), second, first]);
    // Too few, too many, no number, infinite, too much.
    for bad in [
        "25 1 2 3 26 4 5",
        "1 2 3 4 5 6 7 8 9",
        "25 x 2 3 26 4 5 6",
        "25 inf 2 3 26 4 5 6",
        "25 1e39 2 3 26 4 5 6",
    ] {
        assert!(decode(&mut decoder, format!("{bad}\n").as_bytes(), 50).is_empty(), "{bad}");
    }
    assert_eq!(decoder.counts().implausible, 1);

    let bare = TactileConfig { temperature: false, ..config(TactileFormat::AnyskinAscii, 1, 1, 3) };
    assert_eq!(decode(&mut Decoder::new(&bare), b"\n1 2 3\n", 50), [[1.0, 2.0, 3.0]]);
}

#[test]
fn numbers_tell_of_lost_and_repeated_frames_and_other_shapes() {
    let mut decoder = Decoder::new(&config(TactileFormat::Taxels, 1, 1, 1));
    let mut bytes = Vec::new();
    // Three lost; one twice; over the end without loss; a device that begins anew.
    for number in [7, 8, 12, 12, 65535, 0, 40000, 1] {
        taxels::encode(Encoding::F32, [1, 1, 1], number, &[0.5], &mut bytes);
    }
    assert_eq!(decode(&mut decoder, &bytes, 9).len(), 7);
    let counts = decoder.counts();
    // 12 → 65535 and 0 → 40000 run back by less than half the range: the device began anew.
    assert_eq!((counts.sequence_gaps, counts.repeated), (3 + 1 + 1 + (65536 - 40000), 1));

    bytes.clear();
    taxels::encode(Encoding::F32, [8, 8, 1], 0, &[0.5; 64], &mut bytes);
    assert!(decode(&mut decoder, &bytes, 9).is_empty());
    assert_eq!((decoder.counts().wrong_shape, decoder.found_shape()), (1, Some([8, 8, 1])));

    bytes.clear();
    taxels::encode(Encoding::F32, [1, 1, 1], 2, &[f32::NAN], &mut bytes);
    taxels::encode(Encoding::F32, [1, 1, 1], 3, &[2e5], &mut bytes);
    assert!(decode(&mut decoder, &bytes, 9).is_empty());
    assert_eq!(decoder.counts().implausible, 2);
}

#[test]
fn a_stamp_is_the_arrival_of_the_first_byte() {
    for format in FORMATS {
        let config = config(format, 1, 2, 3);
        let (mut bytes, mut starts) = (Vec::new(), Vec::new());
        for number in 0..20 {
            starts.push(bytes.len() as u64);
            encode(&config, number, &felt(&config, 100, number), &mut bytes);
        }
        for piece in [1, 5, 13, 1000] {
            let mut decoder = Decoder::new(&config);
            let mut stamps = Vec::new();
            for (index, piece_bytes) in bytes.chunks(piece).enumerate() {
                decoder.push(piece_bytes, (index * piece) as u64, |frame| stamps.push(frame.arrival_ns));
            }
            let expected: Vec<u64> = starts.iter().map(|start| start - start % piece as u64).collect();
            assert_eq!(stamps, expected[20 - stamps.len()..], "{format:?} in pieces of {piece}");
            assert!(stamps.len() >= 19);
        }
    }
}

#[test]
fn a_line_end_among_the_values_misleads_nobody() {
    // The bytes 0D 0A at the same place in each frame, as a value that does not change has them.
    let config = config(TactileFormat::Anyskin, 1, 2, 3);
    let sly = f32::from_le_bytes([0x0D, 0x0A, 0x80, 0x41]);
    let values = [sly, 2.0, 3.0, 4.0, sly, 6.0];
    let mut frame = Vec::new();
    encode(&config, 0, &values, &mut frame);
    for cut in 0..frame.len() {
        let mut decoder = Decoder::new(&config);
        let frames = decode(&mut decoder, &frame.repeat(10)[cut..], 11);
        assert!(frames.len() >= 6, "cut {cut}: {}", frames.len());
        assert!(frames.iter().all(|found| found == &values), "cut {cut}");
    }
}

/// 60,000 frames (10 min at 100 Hz) with faults.
fn ten_minutes(format: TactileFormat, faults: StreamFaults) -> (DecodeCounts, Vec<String>) {
    const FRAMES: u64 = 60_000;
    let config = config(format, 1, 5, 3);
    let mut injector = FaultInjector::new(faults);
    let mut decoder = Decoder::new(&config);
    let (mut frame, mut bytes) = (Vec::new(), Vec::new());
    let mut whole = 0_u64;
    let bits = |values: &[f32]| -> Vec<u32> { values.iter().map(|value| value.to_bits()).collect() };
    let mut sent = HashSet::new();
    let (mut found, mut wrong, mut sent_bytes) = (0_u64, 0_u64, 0_u64);
    for number in 0..FRAMES {
        let mut values = felt(&config, 100, number);
        if format == TactileFormat::AnyskinAscii {
            // Two digits are sent.
            values = values.iter().map(|value| format!("{value:.2}").parse().unwrap()).collect();
        }
        sent.insert(bits(&values));
        frame.clear();
        bytes.clear();
        encode(&config, number, &values, &mut frame);
        whole += u64::from(injector.send(&frame, &mut bytes));
        sent_bytes += bytes.len() as u64;
        decoder.push(&bytes, number * 10_000_000, |frame| {
            found += 1;
            wrong += u64::from(!sent.contains(&bits(frame.values)));
        });
    }
    let (counts, done) = (decoder.counts(), injector.done());
    println!("{format:?}: {done:?}\n  {counts:?}\n  whole {whole}, found {found}, wrong {wrong}");
    assert_eq!(found, counts.frames);
    assert_eq!(whole + done.damaged, FRAMES);
    let mut faults = Vec::new();
    if wrong > 0 {
        faults.push(format!("{wrong} wrong frames"));
    }
    if format == TactileFormat::Taxels {
        let size = frame.len() as u64;
        // Nothing is lost but what was damaged: each whole frame is believed or known as repeated.
        let last_waits = u64::from(decoder.held() > 0);
        assert!(counts.frames >= whole - last_waits, "{} of {whole}", counts.frames);
        // Each byte is part of a frame, discarded, or held.
        let in_frames = (counts.frames + counts.repeated) * size;
        assert_eq!(in_frames + counts.discarded_bytes + decoder.held() as u64, sent_bytes);
        // Each lost frame is missing from the numbers.
        let lost = FRAMES - counts.frames;
        assert!(counts.sequence_gaps.abs_diff(lost) <= 1 + last_waits, "{} of {lost}", counts.sequence_gaps);
    }
    (counts, faults)
}

#[test]
fn ten_minutes_of_faults_give_no_wrong_taxels() {
    let faults = StreamFaults {
        seed: 1,
        drop_byte: 5e-4,
        corrupt_byte: 5e-4,
        duplicate_frame: 0.01,
        delay_frame: 0.02,
        ..StreamFaults::default()
    };
    let (counts, wrong) = ten_minutes(TactileFormat::Taxels, faults);
    assert!(wrong.is_empty(), "{wrong:?}");
    assert!(counts.crc_errors > 1000 && counts.resyncs > 1000 && counts.repeated > 300, "{counts:?}");
}

#[test]
fn ten_minutes_of_lost_bytes_give_no_wrong_anyskin_frames() {
    let faults = StreamFaults { seed: 2, drop_byte: 1e-3, delay_frame: 0.02, ..StreamFaults::default() };
    let (counts, wrong) = ten_minutes(TactileFormat::Anyskin, faults);
    assert!(wrong.is_empty(), "{wrong:?}");
    assert!(counts.frames > 45_000 && counts.resyncs > 1000, "{counts:?}");
    // Text says less about itself: lost digits show only where the line loses a number.
    let (counts, _) = ten_minutes(TactileFormat::AnyskinAscii, faults);
    assert!(counts.frames > 45_000 && counts.resyncs > 100, "{counts:?}");
    // Changed bytes cannot be found out here; they must not stop the stream either.
    let faults = StreamFaults { corrupt_byte: 1e-4, ..faults };
    for format in [TactileFormat::Anyskin, TactileFormat::AnyskinAscii] {
        let (counts, _) = ten_minutes(format, faults);
        assert!(counts.frames > 45_000 && counts.frames <= 60_000, "{counts:?}");
    }
}

proptest! {
    #[test]
    fn any_bytes_in_any_pieces_give_the_same_and_no_panic(
        bytes in prop::collection::vec(prop_oneof![any::<u8>(), Just(b'\r'), Just(b'\n'), Just(0xA5), Just(0x5A), Just(b'1'), Just(b' ')], 0..3000),
        piece in 1_usize..200,
    ) {
        for format in FORMATS {
            let config = config(format, 1, 1, 3);
            let (mut whole, mut pieces) = (Decoder::new(&config), Decoder::new(&config));
            let frames = decode(&mut whole, &bytes, 4000);
            prop_assert_eq!(&decode(&mut pieces, &bytes, piece), &frames);
            prop_assert_eq!(whole.counts(), pieces.counts());
            prop_assert!(frames.iter().flatten().all(|value| value.abs() <= 100_000.0));
            if format == TactileFormat::Taxels {
                prop_assert!(frames.is_empty());
            }
        }
    }

    #[test]
    fn after_any_noise_every_frame_is_found_again(
        noise in prop::collection::vec(any::<u8>(), 0..600),
        piece in 1_usize..300,
        first in 0_u64..1000,
    ) {
        for format in FORMATS {
            let config = config(format, 1, 5, 3);
            let mut decoder = Decoder::new(&config);
            let mut bytes = noise.clone();
            let mut expected = Vec::new();
            for number in first..first + 12 {
                let values: Vec<f32> =
                    felt(&config, 100, number).iter().map(|value| format!("{value:.2}").parse().unwrap()).collect();
                encode(&config, number, &values, &mut bytes);
                expected.push(values);
            }
            // What the noise begins may take as much as the longest that is waited for.
            bytes.extend([0; 300]);
            let frames = decode(&mut decoder, &bytes, piece);
            let lost = match format {
                TactileFormat::Taxels => 0,
                TactileFormat::AnyskinAscii => 1,
                TactileFormat::Anyskin => 4,
            };
            prop_assert!(frames.len() >= 12 - lost, "{:?}: {}", format, frames.len());
            let tail = &frames[frames.len() - (12 - lost)..];
            prop_assert_eq!(tail, &expected[lost..], "{:?}", format);
        }
    }

    #[test]
    fn no_change_to_a_taxel_frame_is_believed(place in 0_usize..192, change in 1_u8.., cut in any::<bool>()) {
        let config = config(TactileFormat::Taxels, 4, 4, 3);
        let mut frame = Vec::new();
        encode(&config, 3, &felt(&config, 100, 3), &mut frame);
        if cut {
            frame.remove(place);
        } else {
            frame[place] ^= change;
        }
        let mut decoder = Decoder::new(&config);
        frame.extend([0; 300]);
        prop_assert!(decode(&mut decoder, &frame, 17).is_empty());
    }
}

#[test]
fn a_quiet_pad_has_a_zero_and_a_touched_one_has_none() {
    let mut zero = Baseline::new(2, 4, 0.5, 3);
    for frame in [[1.0, -2.0], [1.2, -2.0], [0.8, -2.0]] {
        assert_eq!(zero.push(&frame), None);
    }
    assert_eq!(zero.state(), BaselineState::Taking { attempt: 1, taken: 3 });
    assert_eq!(zero.push(&[1.0, -2.0]), None);
    assert_eq!(zero.state(), BaselineState::Taken);
    assert_eq!(zero.push(&[9.0, 9.0]), Some(&[1.0, -2.0][..]));

    zero.restart();
    for _ in 0..6 {
        assert_eq!(zero.push(&[0.0, 0.0]), None);
        assert_eq!(zero.push(&[0.0, 0.6]), None);
    }
    assert_eq!(zero.state(), BaselineState::Failed { spread: 0.6 });
    assert_eq!(zero.retries(), 2);
    assert_eq!(zero.push(&[0.0, 0.0]), None, "nothing without a zero");
    zero.restart();
    assert_eq!(zero.state(), BaselineState::Taking { attempt: 1, taken: 0 });
    assert_eq!(Baseline::new(1, 0, 1.0, 1).push(&[5.0]), Some(&[0.0][..]), "no zero asked for");
}

#[test]
fn wrong_configurations_name_the_key() {
    let right = config(TactileFormat::Taxels, 4, 4, 3);
    let wrong = |key: &str, change: fn(&mut TactileConfig)| {
        let mut config = right.clone();
        change(&mut config);
        assert_eq!(config.validate().unwrap_err().key, key);
    };
    wrong("port", |config| config.port = "".into());
    wrong("baud", |config| config.baud = 300);
    wrong("rows", |config| config.rows = 0);
    wrong("columns", |config| config.columns = 65);
    wrong("channels", |config| config.channels = 9);
    wrong("channels", |config| (config.format, config.channels) = (TactileFormat::Anyskin, 1));
    wrong("rows × columns × channels", |config| (config.rows, config.columns) = (64, 64));
    wrong("scale", |config| config.scale = vec![1.0]);
    wrong("scale", |config| config.scale = vec![1.0, f32::NAN, 1.0]);
    wrong("max_abs", |config| config.max_abs = f32::INFINITY);
    wrong("baseline_frames", |config| config.baseline_frames = 10_001);
    wrong("baseline_spread", |config| config.baseline_spread = Some(-1.0));
    wrong("baseline_attempts", |config| config.baseline_attempts = 0);
    wrong("max_age_ms", |config| config.max_age_ms = 0);
    let text =
        serde_json::json!({"port": "/dev/ttyACM0", "format": "anyskin_ascii", "rows": 1, "columns": 5});
    let config: TactileConfig = serde_json::from_value(text).unwrap();
    assert_eq!((config.format, config.columns), (TactileFormat::AnyskinAscii, 5));
    assert!(serde_json::from_str::<TactileConfig>(r#"{"port": "x", "rowz": 1}"#).is_err());
}
