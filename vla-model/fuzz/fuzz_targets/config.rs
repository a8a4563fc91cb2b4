//! Arbitrary bytes as a `config.json`: an error, or a configuration with sizes that can be used.
#![no_main]

use std::path::Path;

use libfuzzer_sys::fuzz_target;
use reflexarc_vla_model::checkpoint::PolicyConfig;
use reflexarc_vla_model_fuzz::bounded;

fuzz_target!(|bytes: &[u8]| {
    bounded(64 * bytes.len() + (64 << 10), || match PolicyConfig::parse(Path::new("config.json"), bytes) {
        Ok(config) => {
            let common = config.common();
            assert!((1..=common.chunk_size).contains(&common.n_action_steps));
            assert!((1..=1 << 20).contains(&common.action_len));
            assert!(common.cameras.iter().all(|camera| camera.height > 0 && camera.width > 0));
            match config {
                PolicyConfig::SmolVla(config) => {
                    assert!(config.num_steps > 0 && config.self_attn_every_n_layers > 0);
                    assert!(config.max_state_dim >= config.common.state_len);
                    assert!(config.max_action_dim >= config.common.action_len);
                    assert!(config.min_period > 0.0 && config.max_period.is_finite());
                }
                PolicyConfig::Act(config) => assert_eq!(config.dim_model % config.n_heads, 0),
            }
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    });
});
