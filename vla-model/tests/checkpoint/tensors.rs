//! Safetensors files that are broken, by accident or on purpose.

use std::path::Path;

use proptest::prelude::*;
use proptest::test_runner::{Config, RngSeed, TestRunner};
use reflexarc_vla_model::checkpoint::{CheckpointError, Tensors};

use super::common::{Folder, Raw, fixture, with_header, write};

fn open(bytes: Vec<u8>) -> Result<Tensors, CheckpointError> {
    Tensors::from_bytes(Path::new("m.safetensors"), bytes)
}

fn refusal(bytes: Vec<u8>) -> String {
    open(bytes).expect_err("a refusal").to_string()
}

fn small() -> Vec<u8> {
    let tensors = [
        ("a".to_owned(), Raw::f32(&[2, 2], &[1.0, 2.0, 3.0, 4.0])),
        ("b".to_owned(), Raw::f32(&[3], &[5.0, 6.0, 7.0])),
    ];
    write(&tensors.into())
}

#[test]
fn truncated_at_every_byte() {
    let whole = small();
    assert!(open(whole.clone()).is_ok());
    for length in 0..whole.len() {
        refusal(whole[..length].to_vec());
    }
    let mut longer = whole.clone();
    longer.push(0);
    let error = refusal(longer);
    assert!(
        error.contains(&format!("accounts for {} bytes, it holds {}", whole.len(), whole.len() + 1)),
        "{error}"
    );
    assert!(refusal(whole[..whole.len() - 1].to_vec()).contains("truncated"));
}

#[test]
fn a_real_file_truncated_at_every_byte_of_its_header() {
    let whole = std::fs::read(fixture("smolvla_tiny_bf16/model.safetensors")).unwrap();
    let header = 8 + u64::from_le_bytes(whole[..8].try_into().unwrap()) as usize;
    let folder = Folder::empty();
    for length in (0..=header).step_by(41).chain(0..=9).chain(header - 1..=header) {
        let path = folder.path("m.safetensors");
        std::fs::write(&path, &whole[..length]).unwrap();
        let error = Tensors::open(&path).unwrap_err();
        assert!(matches!(error, CheckpointError::Truncated { .. }), "{length}: {error}");
    }
}

#[test]
fn every_byte_of_a_header_changed() {
    let whole = small();
    let header = 8 + u64::from_le_bytes(whole[..8].try_into().unwrap()) as usize;
    for index in 0..header {
        for value in [0, b' ', b'"', b'0', b'9', b'{', 0xff] {
            let mut bytes = whole.clone();
            bytes[index] = value;
            // Refused, or still a file whose tensors lie inside it.
            if let Ok(tensors) = open(bytes) {
                for info in tensors.infos() {
                    assert!(info.bytes <= whole.len());
                    drop(tensors.values(info.name, info.shape));
                }
            }
        }
    }
}

#[test]
fn hostile_headers() {
    let f32s = |shape: &str, offsets: &str| {
        format!("{{\"a\":{{\"dtype\":\"F32\",\"shape\":{shape},\"data_offsets\":{offsets}}}}}")
    };
    let entry = |name: &str, offsets: &str| {
        format!("\"{name}\":{{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":{offsets}}}")
    };
    let two = |first: &str, second: &str| format!("{{{},{}}}", entry("a", first), entry("b", second));
    let cases: [(String, &str); 18] = [
        (
            f32s("[18446744073709551615]", "[0,8]"),
            "tensor `a` of shape [18446744073709551615] in F32 lies at 0..8",
        ),
        (f32s("[4294967296,4294967296]", "[0,8]"), "lies at 0..8"),
        (f32s("[2]", "[8,0]"), "lies at 8..0"),
        (f32s("[2]", "[18446744073709551608,18446744073709551615]"), "lies at"),
        (f32s("[4611686018427387904]", "[0,8]"), "lies at"),
        (f32s("[3]", "[0,8]"), "lies at 0..8"),
        (f32s("[0]", "[0,0]"), "of shape [0]"),
        (f32s("[-2]", "[0,8]"), "invalid value: integer `-2`"),
        (f32s("[2]", "[-8,0]"), "invalid value: integer `-8`"),
        (f32s("[2.5]", "[0,8]"), "invalid type: floating point"),
        (f32s("[1,1,1,1,1,1,1,1,2]", "[0,8]"), "more than 8 dimensions"),
        (f32s("[4]", "[0,16]"), "truncated"),
        (f32s("[1]", "[4,8]"), "begins at byte"),
        (two("[0,4]", "[0,4]"), "may not overlap or leave gaps"),
        (two("[0,4]", "[6,10]"), "may not overlap or leave gaps"),
        (format!("{{{},{}}}", entry("a", "[0,4]"), entry("a", "[4,8]")), "tensor `a` comes twice"),
        ("{\"__metadata__\":{\"k\":\"v\",\"k\":\"w\"}}".to_owned(), "the key `k` comes twice"),
        (f32s("[2]", "[0,8]").replace("F32", "F8_E4M3"), "unknown variant `F8_E4M3`"),
    ];
    for (header, message) in cases {
        let error = refusal(with_header(&header, &[0; 8]));
        assert!(error.contains(message), "`{message}` is not in: {error}");
    }
    for header in ["", "null", "[]", "{\"a\":1}", "{\"a\":{}}", "{\"__metadata__\":1}"] {
        refusal(with_header(header, &[]));
    }
    let mut huge = u64::MAX.to_le_bytes().to_vec();
    huge.extend([b'{'; 64]);
    assert!(refusal(huge).contains("the header has 18446744073709551615 bytes, expected at most 16777216"));
    let mut longer = 1000_u64.to_le_bytes().to_vec();
    longer.extend([b' '; 64]);
    assert!(refusal(longer).contains("its header accounts for 1008 bytes, it holds 72"));
    refusal(with_header(&"[".repeat(1 << 20), &[]));
}

#[test]
fn values_that_no_sound_model_has() {
    let values = [1.0, f32::NAN, 2.0, f32::NEG_INFINITY];
    let tensors = open(write(&[("w".to_owned(), Raw::f32(&[2, 2], &values))].into())).unwrap();
    let message = "tensor `w` has the value NaN at index 1, expected finite values";
    assert_eq!(tensors.weight("w", 2, 2).unwrap_err().to_string(), message);
    assert_eq!(tensors.values("w", &[2, 2]).unwrap_err().to_string(), message);
    assert!(tensors.row("w", 1, 2).unwrap_err().to_string().contains("-inf at index 1"));
    assert!(tensors.row("w", 2, 2).is_err() && tensors.row("w", usize::MAX, 2).is_err());
    let message = "tensor `w` has shape [2, 2], expected [2, 3]";
    assert_eq!(tensors.weight("w", 2, 3).unwrap_err().to_string(), message);
    assert_eq!(tensors.vector("v", 2).unwrap_err().to_string(), "there is no tensor `v`");

    let count = Raw { dtype: "I64".to_owned(), shape: vec![1], bytes: vec![0; 8] };
    let tensors = open(write(&[("count".to_owned(), count)].into())).unwrap();
    let message = "tensor `count` holds I64, expected F32, BF16, F16 or F64";
    assert_eq!(tensors.vector("count", 1).unwrap_err().to_string(), message);
}

#[test]
fn unaligned_floats_are_read_as_well() {
    let odd = Raw { dtype: "U8".to_owned(), shape: vec![1], bytes: vec![9] };
    let tensors = [("a".to_owned(), odd), ("b".to_owned(), Raw::f32(&[2], &[1.5, -2.0]))];
    assert_eq!(open(write(&tensors.into())).unwrap().vector("b", 2).unwrap(), [1.5, -2.0]);
}

#[test]
fn hostile_integers() {
    let raw = |dtype: &str, shape: &[usize], bytes: Vec<u8>| Raw {
        dtype: dtype.to_owned(),
        shape: shape.to_vec(),
        bytes,
    };
    let file = |values: (&str, Raw), scale: Option<Raw>| {
        let mut tensors = std::collections::BTreeMap::from([(values.0.to_owned(), values.1)]);
        tensors.extend(scale.map(|scale| ("w.scale".to_owned(), scale)));
        write(&tensors)
    };
    let int8 = |bytes: [u8; 4]| ("w.int8", raw("I8", &[2, 2], bytes.to_vec()));
    let int4 = |byte: u8| ("w.int4", raw("U8", &[1, 16], vec![byte; 16]));
    let scales = Raw::f32(&[2], &[0.5, 0.25]);
    let tensors = open(file(int8([1, 255, 127, 129]), Some(scales.clone()))).unwrap();
    assert_eq!(*tensors.weight("w", 2, 2).unwrap().to_floats(), [0.5, -0.5, 31.75, -31.75]);
    assert_eq!(tensors.names().collect::<Vec<_>>(), ["w"]);
    assert!(tensors.values("w", &[2, 2]).unwrap_err().to_string().contains("holds quantised integers"));
    let tensors = open(file(int4(0x9f), Some(Raw::f32(&[1, 1], &[2.0])))).unwrap();
    assert_eq!(tensors.weight("w", 1, 32).unwrap().to_floats()[..2], [14.0, 2.0]);

    assert!(refusal(file(int8([0; 4]), None)).contains("quantised tensor `w` has no `.scale`"));
    assert!(
        refusal(file(int8([0; 4]), Some(Raw::f32(&[1], &[1.0]))))
            .contains("of shape [1] in F32, expected [2]")
    );
    assert!(
        refusal(file(("w.int4", raw("U8", &[1, 8], vec![0x88; 8])), Some(scales.clone())))
            .contains("no whole blocks")
    );
    assert!(
        refusal(file(("w.int8", raw("I8", &[4], vec![0; 4])), Some(scales.clone()))).contains("is no matrix")
    );
    let mut both = super::common::read(&file(int8([0; 4]), Some(scales.clone())));
    both.insert("w".to_owned(), Raw::f32(&[1], &[0.0]));
    assert!(refusal(write(&both)).contains("is there in two forms"));
    let weight = |bytes| open(bytes).unwrap().weight("w", 2, 2).map(drop).unwrap_err().to_string();
    assert!(
        weight(file(int8([0, 128, 0, 0]), Some(scales)))
            .contains("-128 at index 1, expected integers in -127..=127")
    );
    assert!(weight(file(int8([0; 4]), Some(Raw::f32(&[2], &[1.0, -1.0])))).contains("scales of at least 0"));
    assert!(weight(file(int8([0; 4]), Some(Raw::f32(&[2], &[1.0, f32::NAN])))).contains("NaN"));
    let tensors = open(file(int4(0x08), Some(Raw::f32(&[1, 1], &[1.0])))).unwrap();
    assert!(
        tensors
            .weight("w", 1, 32)
            .unwrap_err()
            .to_string()
            .contains("-8 at index 0, expected integers in -7..=7")
    );
}

#[test]
fn arbitrary_files_are_read_or_refused() {
    let config =
        Config { cases: 3000, rng_seed: RngSeed::Fixed(7), failure_persistence: None, ..Config::default() };
    let whole = small();
    let change = (0..whole.len(), any::<u8>());
    let strategy = (proptest::collection::vec(change, 0..6), 0..=whole.len());
    TestRunner::new(config)
        .run(&strategy, |(changes, length)| {
            let mut bytes = whole.clone();
            for (index, value) in changes {
                bytes[index] = value;
            }
            bytes.truncate(length);
            if let Ok(tensors) = open(bytes) {
                for info in tensors.infos() {
                    if let Ok(values) = tensors.values(info.name, info.shape) {
                        prop_assert_eq!(values.len(), info.count());
                    }
                }
            }
            Ok(())
        })
        .unwrap();
}
