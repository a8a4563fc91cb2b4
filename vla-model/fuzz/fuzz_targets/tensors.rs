//! Arbitrary bytes as a safetensors file: an error, or tensors whose every value can be asked for.
#![no_main]

use std::path::Path;

use libfuzzer_sys::fuzz_target;
use reflexarc_vla_model::checkpoint::Tensors;
use reflexarc_vla_model_fuzz::bounded;

fuzz_target!(|bytes: &[u8]| {
    // An entry of the header has some fifty bytes as JSON and a few hundred in the index; values grow
    // from four bits to a float.
    bounded(32 * bytes.len() + (64 << 10), || {
        let tensors = match Tensors::from_bytes(Path::new("model.safetensors"), bytes.to_vec()) {
            Ok(tensors) => tensors,
            Err(error) => return assert!(!error.to_string().is_empty()),
        };
        for info in tensors.infos() {
            assert_eq!(tensors.shape(info.name), Some(info.shape));
            assert!(info.bytes <= bytes.len());
            let finite = |values: &[f32]| assert!(values.iter().all(|value| value.is_finite()));
            if let Ok(values) = tensors.values(info.name, info.shape) {
                assert_eq!(values.len(), info.count());
                finite(&values);
            }
            if let [outputs, rest @ ..] = info.shape {
                let inputs = rest.iter().product();
                if let Ok(weight) = tensors.weight(info.name, *outputs, inputs) {
                    assert_eq!(weight.to_floats().len(), info.count());
                }
                assert!(tensors.weight(info.name, outputs + 1, inputs).is_err());
                assert!(tensors.row(info.name, *outputs, inputs).is_err());
                if let Ok(row) = tensors.row(info.name, outputs - 1, inputs) {
                    assert_eq!(row.len(), inputs);
                    finite(&row);
                }
            }
        }
        assert!(tensors.values("no such tensor", &[1]).is_err());
    });
});
