//! Arbitrary bytes as a `tokenizer.json`: an error, or a tokenizer whose tokens are rows of the table.
#![no_main]

use std::path::Path;

use libfuzzer_sys::fuzz_target;
use reflexarc_vla_model::checkpoint::Tokeniser;
use reflexarc_vla_model_fuzz::bounded;

const VOCABULARY: usize = 300;
const LONGEST: usize = 12;

fuzz_target!(|bytes: &[u8]| {
    bounded(256 * bytes.len() + (16 << 20), || {
        match Tokeniser::from_bytes(Path::new("tokenizer.json"), bytes, VOCABULARY, LONGEST) {
            Ok(tokeniser) => {
                for task in ["pick up the red mug", "", "0123 456\n", "Grüße, 手 🤖!", "aaaaaaaaaaaaaaaaaaaaaaaa"] {
                    match tokeniser.encode(task) {
                        Ok(tokens) => {
                            assert!((1..=LONGEST).contains(&tokens.len()));
                            assert!(tokens.iter().all(|token| (*token as usize) < VOCABULARY));
                        }
                        Err(error) => assert!(!error.to_string().is_empty()),
                    }
                }
            }
            Err(error) => assert!(!error.to_string().is_empty()),
        }
    });
});
