//! The dependencies between the top folders run one way only.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests fail by panicking")]

use std::path::Path;

/// For each folder, the folders that it may use.
const ALLOWED: [(&str, &[&str]); 6] = [
    ("kinematics", &[]),
    ("vla-model", &[]),
    ("drivers", &[]),
    ("sim", &["drivers", "kinematics"]),
    ("runtime", &["vla-model", "kinematics", "drivers"]),
    ("examples", &["vla-model", "kinematics", "drivers", "sim", "runtime"]),
];

#[test]
fn dependencies_point_one_way() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    for (folder, allowed) in ALLOWED {
        let text = std::fs::read_to_string(root.join(folder).join("Cargo.toml")).unwrap();
        let manifest: toml::Table = text.parse().unwrap();
        for section in ["dependencies", "dev-dependencies", "build-dependencies"] {
            let Some(table) = manifest.get(section).and_then(toml::Value::as_table) else { continue };
            for used in table.keys().filter_map(|name| name.strip_prefix("reflexarc-")) {
                assert!(
                    allowed.contains(&used),
                    "{folder} has {used} in its [{section}]; it may use {allowed:?} only"
                );
            }
        }
    }
}
