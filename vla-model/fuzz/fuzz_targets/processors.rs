//! Arbitrary bytes as the files of processors and statistics of a real checkpoint, one after another
//! with a byte 0xff between: an error, or statistics that can be used.
#![no_main]

use std::path::{Component, Path};

use libfuzzer_sys::fuzz_target;
use reflexarc_vla_model::checkpoint::{PolicyConfig, Tensors, processors};
use reflexarc_vla_model_fuzz::bounded;

const CONFIGS: [&[u8]; 2] = [
    include_bytes!("../../tests/data/lerobot/act_tiny/config.json"),
    include_bytes!("../../tests/data/lerobot/smolvla_tiny/config.json"),
];

fuzz_target!(|bytes: &[u8]| {
    let Some((choice, bytes)) = bytes.split_first() else { return };
    let mut config = PolicyConfig::parse(Path::new("config.json"), CONFIGS[usize::from(choice % 2)]).unwrap();
    let empty = Tensors::from_bytes(Path::new("model.safetensors"), b"\x02\0\0\0\0\0\0\0{}".to_vec()).unwrap();
    let mut parts = bytes.splitn(4, |byte| *byte == 0xff);
    let [before, after, before_state, after_state] = [(); 4].map(|()| parts.next());
    // Whatever name a step has for its statistics, it gets some.
    let read = |path: &Path, limit: u64| {
        let name = path.to_str().unwrap();
        let parts: Vec<Component<'_>> = path.components().collect();
        assert!(matches!(parts[..], [Component::Normal(folder), Component::Normal(_)] if folder == "folder"), "{name}");
        let part = match &name["folder/".len()..] {
            "policy_preprocessor.json" => before,
            "policy_postprocessor.json" => after,
            name if name.contains("un") => after_state.or(before_state),
            _ => before_state,
        };
        Ok(part.map(<[u8]>::to_vec).filter(|part| part.len() as u64 <= limit))
    };
    bounded(64 * bytes.len() + (64 << 10), || {
        match processors::read_statistics(Path::new("folder"), &mut config, &empty, read) {
            Ok((statistics, _)) => {
                let common = config.common();
                assert_eq!(statistics.cameras.len(), common.cameras.len());
                let all = [(&statistics.state, common.state_len), (&statistics.action, common.action_len)];
                for (moments, len) in all.into_iter().chain(statistics.cameras.iter().map(|camera| (camera, 3))) {
                    let Some(moments) = moments else { continue };
                    assert!(moments.mean.len() == len && moments.std.len() == len);
                    assert!(moments.mean.iter().all(|mean| mean.is_finite()));
                    assert!(moments.std.iter().all(|std| std.is_finite() && *std > 0.0));
                }
            }
            Err(error) => assert!(!error.to_string().is_empty()),
        }
    });
});
