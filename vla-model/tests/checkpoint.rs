//! Checkpoints of LeRobot: what is read, and what is refused.

use std::path::{Path, PathBuf};

use reflexarc_vla_model::checkpoint::{Checkpoint, PolicyConfig};

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/lerobot").join(name)
}

#[test]
fn opens_the_fixtures() {
    for name in ["smolvla_tiny", "smolvla_tiny_bf16", "act_tiny"] {
        let checkpoint = Checkpoint::open(&fixture(name)).expect(name);
        println!("{:#?} {:?}", checkpoint.config, checkpoint.statistics);
        for info in checkpoint.tensors.infos() {
            if let [outputs, rest @ ..] = info.shape {
                let weight = checkpoint.tensors.weight(info.name, *outputs, rest.iter().product()).unwrap();
                assert_eq!(weight.to_floats().len(), info.count());
            }
        }
        assert!(matches!(checkpoint.config, PolicyConfig::Act(_)) == (name == "act_tiny"));
    }
}
