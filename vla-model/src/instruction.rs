//! Instructions as numbers: words in, word ids out.
//!
//! The table holds the words that mean something to the goal model. Every other word, from any
//! language or none, becomes `<unk>`; the model learns that an unknown word where the object
//! should be is an unknown object, whatever the word. So nothing has to be listed that the robot
//! does not know.

use std::sync::LazyLock;

use serde::{Deserialize, Serialize};

use crate::token::sha256_hex;
use crate::words::WORDS;

/// Word ids that one instruction can have.
pub const MAX_WORDS: usize = 20;
/// Fills the places after the last word.
pub const PAD: u16 = 0;
/// Stands for one or more words that are not in the table.
pub const UNKNOWN: u16 = 1;
/// Ids before the first word of the table.
const SPECIAL: usize = 2;
/// How many word ids there are, `<pad>` and `<unk>` among them; ids are below it.
pub const INSTRUCTION_VOCABULARY_SIZE: usize = WORDS.len() + SPECIAL;

/// Bytes of an instruction that are looked at; no sentence that fits [`MAX_WORDS`] is longer.
const MAX_BYTES: usize = 4096;

/// An instruction as word ids.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct InstructionTokens {
    /// The word ids, then [`PAD`].
    pub ids: [u16; MAX_WORDS],
    /// How many of them are words.
    pub len: usize,
}

/// Turns a text into word ids.
///
/// Letters are lowered; apostrophes vanish (`that's` → `thats`); every other character that is
/// neither letter nor digit parts two words (`coffee-mug` → `coffee mug`). A run of words that
/// are not in the table becomes a single [`UNKNOWN`], so that "a rubber duck" reads as "a duck"
/// would. Of what is still longer than [`MAX_WORDS`], the first [`MAX_WORDS`] are kept. Any text
/// is accepted: the empty one has `len` 0, and only the first 4096 bytes are looked at.
#[must_use]
pub fn encode(instruction: &str) -> InstructionTokens {
    let mut tokens = InstructionTokens { ids: [PAD; MAX_WORDS], len: 0 };
    let mut previous = None;
    for word in split_words(instruction) {
        let id = word_id(&word);
        if id == UNKNOWN && previous == Some(UNKNOWN) {
            continue;
        }
        previous = Some(id);
        match tokens.ids.get_mut(tokens.len) {
            Some(place) => *place = id,
            None => break,
        }
        tokens.len += 1;
    }
    tokens
}

/// The words of an id sequence, for people: known words, `<unk>`, nothing for padding.
#[must_use]
pub fn text_of(tokens: &InstructionTokens) -> String {
    let words: Vec<&str> = tokens.ids.iter().take(tokens.len).map(|id| word_of(*id)).collect();
    words.join(" ")
}

/// The id of one lower-case word; [`UNKNOWN`] when it is not in the table.
#[must_use]
pub fn word_id(word: &str) -> u16 {
    WORDS.binary_search(&word).map_or(UNKNOWN, |index| (index + SPECIAL) as u16)
}

/// The word of an id; `<unk>` for ids outside the table.
#[must_use]
pub fn word_of(id: u16) -> &'static str {
    match id {
        PAD => "<pad>",
        id => {
            (id as usize).checked_sub(SPECIAL).and_then(|index| WORDS.get(index)).copied().unwrap_or("<unk>")
        }
    }
}

/// SHA-256 of the table (special ids, words in the order of ids, longest length), 64 lower-case
/// hexadecimal digits. Weights store it, so that a model never reads with another table than the
/// one it learnt.
#[must_use]
pub fn vocabulary_hash() -> &'static str {
    static HASH: LazyLock<String> =
        LazyLock::new(|| sha256_hex(format!("<pad>\n<unk>\n{}\n{MAX_WORDS}\n", WORDS.join("\n")).as_bytes()));
    &HASH
}

/// Splits a text into lower-case words; see [`encode`].
pub(crate) fn split_words(text: &str) -> impl Iterator<Item = String> {
    let mut end = text.len().min(MAX_BYTES);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text[..end]
        .split(|letter: char| !letter.is_alphanumeric() && !is_apostrophe(letter))
        .map(|word| {
            word.chars().filter(|letter| !is_apostrophe(*letter)).flat_map(char::to_lowercase).collect()
        })
        .filter(|word: &String| !word.is_empty())
}

const fn is_apostrophe(letter: char) -> bool {
    matches!(letter, '\'' | '\u{2019}' | '\u{2018}' | '\u{02bc}')
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(text: &str) -> String {
        text_of(&encode(text))
    }

    #[test]
    fn case_punctuation_and_hyphens_do_not_matter() {
        assert_eq!(read("PICK up, the Red mug!!"), "pick up the red mug");
        assert_eq!(read("pick-up the red coffee-mug."), "pick up the red coffee mug");
        assert_eq!(read("the mug that's red"), "the mug thats red");
        assert_eq!(read("the mug that\u{2019}s red"), "the mug thats red");
    }

    #[test]
    fn runs_of_unknown_words_are_one() {
        assert_eq!(read("pick up the red rubber duck"), "pick up the red <unk>");
        assert_eq!(read("żółty 杯子 🫖 mug"), "<unk> mug");
    }

    #[test]
    fn empty_and_huge_texts_are_safe() {
        assert_eq!(encode("").len, 0);
        assert_eq!(encode(" \t\n ... 🫖").len, 0);
        let huge = encode(&"pick up ".repeat(1_000_000));
        assert_eq!(huge.len, MAX_WORDS);
        assert_eq!(encode(&"é".repeat(10_000)).len, 1);
        assert_eq!(read(&format!("{}the red mug", "glorp ".repeat(30))), "<unk> the red mug");
    }

    #[test]
    fn the_table_is_sorted_without_repetition_and_reads_back() {
        assert!(WORDS.windows(2).all(|pair| pair[0] < pair[1]));
        for word in WORDS {
            assert_eq!(word_of(word_id(word)), *word);
        }
        assert_eq!(word_of(u16::MAX), "<unk>");
    }

    #[test]
    fn the_table_has_not_changed() {
        // Committed weights store this hash: changing the table orphans them.
        assert_eq!(vocabulary_hash(), "e1db73c03b03defd16bc5adea63ddb4cb44507d5ce3175c88d007a3fe0932104");
    }

    proptest! {
        #[test]
        fn any_text_is_read(text in ".{0,300}") {
            let tokens = encode(&text);
            prop_assert!(tokens.len <= MAX_WORDS);
            prop_assert!(tokens.ids.iter().all(|id| (*id as usize) < INSTRUCTION_VOCABULARY_SIZE));
            prop_assert!(tokens.ids[..tokens.len].iter().all(|id| *id != PAD));
            prop_assert!(tokens.ids[tokens.len..].iter().all(|id| *id == PAD));
        }
    }
}
