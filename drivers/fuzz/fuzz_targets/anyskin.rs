//! Arbitrary bytes as the stream of a tactile pad of the format `anyskin`. The first two bytes choose the size of
//! the pieces and the number of taxels.
#![no_main]

use libfuzzer_sys::fuzz_target;
use reflexarc_drivers::tactile::{Decoder, TactileConfig, TactileFormat};

fuzz_target!(|input: &[u8]| {
    let [piece, taxels, bytes @ ..] = input else { return };
    let config = TactileConfig {
        port: "/dev/null".into(),
        format: TactileFormat::Anyskin,
        rows: 1,
        columns: u32::from(taxels % 8) + 1,
        ..TactileConfig::default()
    };
    let (mut decoder, mut whole) = (Decoder::new(&config), Decoder::new(&config));
    let (mut frames, mut frames_of_whole) = (Vec::new(), Vec::new());
    for (index, piece) in bytes.chunks(usize::from(*piece) + 1).enumerate() {
        decoder.push(piece, index as u64, |frame| {
            assert_eq!(frame.values.len(), config.values());
            assert!(frame.values.iter().all(|value| value.abs() <= config.max_abs));
            assert!(frame.arrival_ns <= index as u64);
            frames.push(frame.values.to_vec());
        });
        assert!(decoder.held() <= decoder.capacity());
    }
    whole.push(bytes, 0, |frame| frames_of_whole.push(frame.values.to_vec()));
    assert_eq!(frames, frames_of_whole);
    assert_eq!(decoder.counts(), whole.counts());
    assert_eq!(decoder.counts().frames, frames.len() as u64);
    assert!(decoder.counts().discarded_bytes <= bytes.len() as u64);
});
