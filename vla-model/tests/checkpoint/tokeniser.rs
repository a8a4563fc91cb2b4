//! Instructions as tokens.

use std::path::Path;

use reflexarc_vla_model::checkpoint::{Checkpoint, CheckpointError, Tokeniser};
use serde_json::{Value, json};

use super::common::{Folder, fixture};

/// A byte-level BPE of the form that SmolVLM2 has, for printable ASCII: every character is a token, and
/// ` the`, `pi` and `ck` are.
pub(crate) fn tokenizer_json() -> Value {
    let mut vocab: Vec<String> = (33..127_u8).map(|byte| char::from(byte).to_string()).collect();
    vocab.extend(["Ġ", "Ċ", "th", "the", "Ġthe", "pi", "ck"].map(str::to_owned));
    let end = vocab.len();
    let vocab: serde_json::Map<String, Value> =
        vocab.into_iter().enumerate().map(|(id, token)| (token, id.into())).collect();
    json!({
        "version": "1.0", "truncation": null, "padding": null, "normalizer": null,
        "added_tokens": [{ "id": end, "content": "<end>", "single_word": false, "lstrip": false,
            "rstrip": false, "normalized": false, "special": true }],
        "pre_tokenizer": { "type": "Sequence", "pretokenizers": [
            { "type": "Digits", "individual_digits": true },
            { "type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true } ] },
        "post_processor": null,
        "decoder": { "type": "ByteLevel", "add_prefix_space": true, "trim_offsets": true, "use_regex": true },
        "model": { "type": "BPE", "dropout": null, "unk_token": null, "continuing_subword_prefix": null,
            "end_of_word_suffix": null, "fuse_unk": false, "byte_fallback": false, "ignore_merges": false,
            "vocab": vocab,
            "merges": [["t", "h"], ["th", "e"], ["Ġ", "the"], ["p", "i"], ["c", "k"]] },
    })
}

fn read(json: &Value, vocabulary: usize, max_length: usize) -> Result<Tokeniser, CheckpointError> {
    Tokeniser::from_bytes(Path::new("tokenizer.json"), json.to_string().as_bytes(), vocabulary, max_length)
}

fn ascii(text: &str) -> Vec<u32> {
    text.bytes().map(|byte| u32::from(byte) - 33).collect()
}

const NEWLINE: u32 = 95;
const SPACE: u32 = 94;

#[test]
fn an_instruction_ends_with_its_line() {
    let tokeniser = read(&tokenizer_json(), 128, 48).unwrap();
    assert_eq!(tokeniser.count(), 102);
    let tokens = tokeniser.encode("pick the 12").unwrap();
    let expected = [&[99, 100][..], &[98, SPACE], &ascii("12"), &[NEWLINE]].concat();
    assert_eq!(tokens, expected);
    assert_eq!(tokeniser.encode("pick the 12\n").unwrap(), expected);
    assert_eq!(tokeniser.encode("").unwrap(), [NEWLINE]);
}

#[test]
fn long_instructions_are_cut_and_short_ones_not_padded() {
    let mut json = tokenizer_json();
    json["padding"] = json!({ "strategy": { "Fixed": 40 }, "direction": "Right", "pad_to_multiple_of": null,
        "pad_id": 0, "pad_type_id": 0, "pad_token": "!" });
    json["truncation"] =
        json!({ "direction": "Left", "max_length": 3, "strategy": "LongestFirst", "stride": 0 });
    let tokeniser = read(&json, 128, 5).unwrap();
    assert_eq!(tokeniser.encode("abcdefgh").unwrap(), ascii("abcde"));
    assert_eq!(tokeniser.encode("ab").unwrap(), [&ascii("ab")[..], &[NEWLINE]].concat());
    let error = tokeniser.encode(&"a".repeat(1 << 17)).unwrap_err().to_string();
    assert!(error.contains("the instruction has 131072 bytes, expected at most 65536"), "{error}");
}

#[test]
fn the_tokenizer_of_another_model_is_refused() {
    let error = read(&tokenizer_json(), 100, 48).unwrap_err().to_string();
    for part in ["token \"<end>\" has number 101", "expected less than 100", "belongs to another model"] {
        assert!(error.contains(part), "{error}");
    }
    let mut wordpiece = tokenizer_json();
    wordpiece["model"] = json!({ "type": "WordPiece", "vocab": { "a": 0 }, "unk_token": "a",
        "continuing_subword_prefix": "##", "max_input_chars_per_word": 100 });
    let error = read(&wordpiece, 128, 48).unwrap_err().to_string();
    assert!(error.contains("`model.type` is \"WordPiece\", expected \"BPE\""), "{error}");
    let mut precompiled = tokenizer_json();
    precompiled["normalizer"] = json!({ "type": "Precompiled", "precompiled_charsmap": "AAAA" });
    let error = read(&precompiled, 128, 48).unwrap_err().to_string();
    assert!(error.contains("`normalizer.type` is \"Precompiled\""), "{error}");
    for text in ["", "{}", "[]", "{\"model\": 7}"] {
        Tokeniser::from_bytes(Path::new("t"), text.as_bytes(), 128, 48).unwrap_err();
    }
}

#[test]
fn a_checkpoint_says_whose_tokenizer_it_needs() {
    let error = Checkpoint::open(&fixture("smolvla_tiny")).unwrap().tokeniser().unwrap_err().to_string();
    for part in
        ["tokenizer.json is missing", "HuggingFaceTB/SmolVLM2-500M-Video-Instruct", "into this folder"]
    {
        assert!(error.contains(part), "{error}");
    }
    let folder = Folder::of("smolvla_tiny");
    std::fs::write(folder.path("tokenizer.json"), tokenizer_json().to_string()).unwrap();
    let tokeniser = Checkpoint::open(&folder.0).unwrap().tokeniser().unwrap();
    assert_eq!(tokeniser.encode("a long instruction indeed").unwrap().len(), 12);
    let error = Checkpoint::open(&fixture("act_tiny")).unwrap().tokeniser().unwrap_err().to_string();
    assert!(error.contains("type act takes no instruction"), "{error}");
}

#[test]
fn half_of_a_character_is_an_error() {
    let text = tokenizer_json().to_string().replace("\"<end>\"", "\"\\ud800\"");
    let error = Tokeniser::from_bytes(Path::new("tokenizer.json"), text.as_bytes(), 128, 48).unwrap_err();
    assert!(error.to_string().contains("tokenizer.json"), "{error}");
    // Also where nothing is read that this model needs.
    let text = tokenizer_json().to_string().replace("\"trim_offsets\"", "\"\\ud800\"");
    assert!(Tokeniser::from_bytes(Path::new("tokenizer.json"), text.as_bytes(), 128, 48).is_err());
}

#[test]
fn parts_of_words_without_bytes_are_refused() {
    for field in ["continuing_subword_prefix", "end_of_word_suffix"] {
        let mut json = tokenizer_json();
        json["model"][field] = "I8".into();
        let error = read(&json, 128, 48).unwrap_err().to_string();
        assert!(error.contains(field) && error.contains("I8"), "{error}");
    }
}
