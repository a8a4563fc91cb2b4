//! Instructions as tokens, by the backbone's own `tokenizer.json`.

use std::fmt;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use tokenizers::{Tokenizer, TruncationParams};

use super::error::CheckpointError;
use super::json::read_limited;

/// Largest `tokenizer.json`; SmolVLM2's has 3.5 megabytes.
pub const TOKENISER_LIMIT_BYTES: u64 = 32 << 20;
/// Longest instruction, bytes.
pub const INSTRUCTION_LIMIT_BYTES: usize = 1 << 16;

/// Turns instructions into the token numbers that a backbone was trained with.
pub struct Tokeniser {
    path: PathBuf,
    tokenizer: Tokenizer,
}

/// The parts of a `tokenizer.json`, by their types alone. What byte-level BPE tokenizers are made of is
/// read; other parts are for other models, and not all of them are safe on hostile files.
#[derive(Deserialize)]
struct Form {
    model: Typed,
    normalizer: Option<Typed>,
    pre_tokenizer: Option<Typed>,
    post_processor: Option<Typed>,
}

#[derive(Deserialize)]
struct Typed {
    r#type: Option<String>,
    #[serde(default)]
    pretokenizers: Vec<Typed>,
    #[serde(default)]
    normalizers: Vec<Typed>,
    #[serde(default)]
    processors: Vec<Typed>,
}

impl Form {
    fn check(&self) -> Result<(), String> {
        let Self { model, normalizer, pre_tokenizer, post_processor } = self;
        model.check("model", &["BPE"])?;
        let optional = [
            (normalizer, "normalizer", &["Sequence", "NFC", "NFD", "NFKC", "NFKD"][..]),
            (pre_tokenizer, "pre_tokenizer", &["Sequence", "ByteLevel", "Digits", "Split"]),
            (post_processor, "post_processor", &["Sequence", "ByteLevel", "TemplateProcessing"]),
        ];
        for (part, field, known) in optional {
            if let Some(part) = part {
                part.check(field, known)?;
            }
        }
        Ok(())
    }
}

impl Typed {
    fn check(&self, field: &str, known: &[&str]) -> Result<(), String> {
        let actual = self.r#type.as_deref();
        if !actual.is_some_and(|actual| known.contains(&actual)) {
            let actual = actual.map_or_else(|| "absent".to_owned(), |actual| format!("{actual:?}"));
            let known: Vec<String> = known.iter().map(|known| format!("{known:?}")).collect();
            return Err(format!("`{field}.type` is {actual}, expected {}", known.join(" or ")));
        }
        let inner = self.pretokenizers.iter().chain(&self.normalizers).chain(&self.processors);
        inner.into_iter().try_for_each(|inner| inner.check(field, known))
    }
}

impl fmt::Debug for Tokeniser {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Tokeniser({})", self.path.display())
    }
}

impl Tokeniser {
    /// Reads a `tokenizer.json` for an embedding table of `vocabulary` rows. Instructions are cut to
    /// `max_length` tokens.
    ///
    /// # Errors
    /// When the file is too large, is no tokenizer, or has token numbers past the table.
    pub fn open(path: &Path, vocabulary: usize, max_length: usize) -> Result<Self, CheckpointError> {
        Self::from_bytes(path, &read_limited(path, TOKENISER_LIMIT_BYTES)?, vocabulary, max_length)
    }

    /// The same from bytes; `path` is what messages call them.
    ///
    /// # Errors
    /// When the bytes are no tokenizer, or it has token numbers past the table.
    pub fn from_bytes(
        path: &Path,
        bytes: &[u8],
        vocabulary: usize,
        max_length: usize,
    ) -> Result<Self, CheckpointError> {
        let fault = |reason: String| CheckpointError::Tokeniser { path: path.to_owned(), reason };
        let form: Form = serde_json::from_slice(bytes).map_err(|error| fault(error.to_string()))?;
        form.check().map_err(fault)?;
        // Written again from what was understood: the library panics on texts with half of a character. What
        // only turns tokens into text again is left out.
        let mut parts: serde_json::Map<String, serde_json::Value> =
            serde_json::from_slice(bytes).map_err(|error| fault(error.to_string()))?;
        parts.insert("decoder".to_owned(), serde_json::Value::Null);
        for field in ["continuing_subword_prefix", "end_of_word_suffix"] {
            let affix = parts.get("model").and_then(|model| model.get(field));
            if let Some(affix) = affix.filter(|affix| !affix.is_null() && affix.as_str() != Some("")) {
                return Err(fault(format!(
                    "`model.{field}` is {affix}, expected none: bytes have no such thing"
                )));
            }
        }
        let parts = serde_json::to_vec(&parts).map_err(|error| fault(error.to_string()))?;
        // What the library does not check, it panics about.
        let mut tokenizer = std::panic::catch_unwind(|| Tokenizer::from_bytes(parts))
            .map_err(|_| fault("its parts do not fit together".to_owned()))?
            .map_err(|error| fault(error.to_string()))?;
        let tokens = tokenizer.get_vocab(true);
        let Some((token, &last)) = tokens.iter().max_by_key(|(_, id)| **id) else {
            return Err(fault("it has no tokens".to_owned()));
        };
        if last as usize >= vocabulary {
            return Err(fault(format!(
                "its token {token:?} has number {last}, expected less than {vocabulary}, the rows of the checkpoint's \
                 embedding table: it belongs to another model"
            )));
        }
        tokenizer.with_padding(None);
        let truncation = TruncationParams { max_length, ..TruncationParams::default() };
        tokenizer.with_truncation(Some(truncation)).map_err(|error| fault(error.to_string()))?;
        Ok(Self { path: path.to_owned(), tokenizer })
    }

    /// How many tokens there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.tokenizer.get_vocab_size(true)
    }

    /// The tokens of an instruction, with the line's end that the policy was trained with, cut to the
    /// longest length, without padding.
    ///
    /// # Errors
    /// When the instruction is longer than [`INSTRUCTION_LIMIT_BYTES`] or has no tokens.
    pub fn encode(&self, task: &str) -> Result<Vec<u32>, CheckpointError> {
        let fault = |reason: String| CheckpointError::Tokeniser { path: self.path.clone(), reason };
        if task.len() > INSTRUCTION_LIMIT_BYTES {
            return Err(fault(format!(
                "the instruction has {} bytes, expected at most {INSTRUCTION_LIMIT_BYTES}",
                task.len()
            )));
        }
        let line = if task.ends_with('\n') { task.to_owned() } else { format!("{task}\n") };
        let encoding = self.tokenizer.encode(line, true).map_err(|error| fault(error.to_string()))?;
        if encoding.is_empty() {
            return Err(fault(format!("it has no tokens for {task:?}")));
        }
        Ok(encoding.get_ids().to_vec())
    }
}
