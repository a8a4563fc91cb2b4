//! The vocabulary of decisions: what each token id stands for, and how a sequence is written.
//!
//! The table is fixed and ordered: structure words, colours, objects, subtasks, reasons, then the
//! [`NUMBER_BINS`] numbers. Weights store its [`vocabulary_hash`], so that a model never speaks
//! with another table than the one it learnt.

use std::fmt::{self, Write as _};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::decision::{Color, Infeasible, Object, Subtask};
use crate::grammar::Grammar;
use crate::number::{Axis, NUMBER_BINS};

const STRUCTURE: usize = 6;
const FIRST_COLOR: usize = STRUCTURE;
const FIRST_OBJECT: usize = FIRST_COLOR + Color::ALL.len();
const FIRST_SUBTASK: usize = FIRST_OBJECT + Object::ALL.len();
const FIRST_REASON: usize = FIRST_SUBTASK + Subtask::ALL.len();
const FIRST_NUMBER: usize = FIRST_REASON + Infeasible::ALL.len();

/// How many tokens there are; ids are below it.
pub const VOCABULARY_SIZE: usize = FIRST_NUMBER + NUMBER_BINS;

/// The id of one token, always below [`VOCABULARY_SIZE`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "u16", into = "u16")]
pub struct Token(u16);

/// What a token stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TokenKind {
    /// Opens every sequence.
    Plan,
    /// The goal is to pick an object up.
    Pick,
    /// There is nothing that may be done; a reason follows.
    Infeasible,
    /// The place of the object in the scene image follows.
    Look,
    /// The subtask and the tool's target follow.
    Do,
    /// Closes every sequence.
    End,
    /// A colour.
    Color(Color),
    /// A kind of object.
    Object(Object),
    /// A subtask.
    Subtask(Subtask),
    /// Why nothing may be done.
    Reason(Infeasible),
    /// A bin; what it measures depends on the place in the sequence.
    Number(usize),
}

/// A number that is not the id of a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("token id {id} is outside the vocabulary of {VOCABULARY_SIZE}")]
pub struct UnknownToken {
    /// The id that was given.
    pub id: u16,
}

/// A text that is not a token sequence.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("word {position} of the token text, `{found}`, is no token")]
pub struct TokenTextError {
    /// Place of the word, counted from 0.
    pub position: usize,
    /// The word, cut to 40 characters.
    pub found: String,
}

impl Token {
    /// Opens every sequence.
    pub const PLAN: Self = Self(0);
    /// The goal is to pick an object up.
    pub const PICK: Self = Self(1);
    /// Nothing may be done.
    pub const INFEASIBLE: Self = Self(2);
    /// Announces the place in the scene image.
    pub const LOOK: Self = Self(3);
    /// Announces the subtask and the tool's target.
    pub const DO: Self = Self(4);
    /// Closes every sequence.
    pub const END: Self = Self(5);

    /// The token of an id.
    ///
    /// # Errors
    /// [`UnknownToken`] when the id is [`VOCABULARY_SIZE`] or more.
    pub const fn new(id: u16) -> Result<Self, UnknownToken> {
        if (id as usize) < VOCABULARY_SIZE { Ok(Self(id)) } else { Err(UnknownToken { id }) }
    }

    /// Every token in the order of ids.
    pub fn all() -> impl Iterator<Item = Self> {
        (0..VOCABULARY_SIZE as u16).map(Self)
    }

    /// The id, below [`VOCABULARY_SIZE`].
    #[must_use]
    pub const fn id(self) -> u16 {
        self.0
    }

    /// The id as an index into a table of [`VOCABULARY_SIZE`] entries.
    #[must_use]
    pub const fn index(self) -> usize {
        self.0 as usize
    }

    /// The token of a colour.
    #[must_use]
    pub const fn color(color: Color) -> Self {
        Self((FIRST_COLOR + color.index()) as u16)
    }

    /// The token of a kind of object.
    #[must_use]
    pub const fn object(object: Object) -> Self {
        Self((FIRST_OBJECT + object.index()) as u16)
    }

    /// The token of a subtask.
    #[must_use]
    pub const fn subtask(subtask: Subtask) -> Self {
        Self((FIRST_SUBTASK + subtask.index()) as u16)
    }

    /// The token of a reason.
    #[must_use]
    pub const fn reason(reason: Infeasible) -> Self {
        Self((FIRST_REASON + reason.index()) as u16)
    }

    /// The token of a bin; a bin past the last one counts as the last.
    #[must_use]
    pub const fn number(bin: usize) -> Self {
        let bin = if bin < NUMBER_BINS { bin } else { NUMBER_BINS - 1 };
        Self((FIRST_NUMBER + bin) as u16)
    }

    /// The bin of a number token, or `None` for any other token.
    #[must_use]
    pub const fn bin(self) -> Option<usize> {
        self.index().checked_sub(FIRST_NUMBER)
    }

    /// What the token stands for.
    #[must_use]
    pub const fn kind(self) -> TokenKind {
        let index = self.index();
        if index >= FIRST_NUMBER {
            TokenKind::Number(index - FIRST_NUMBER)
        } else if index >= FIRST_REASON {
            TokenKind::Reason(Infeasible::ALL[index - FIRST_REASON])
        } else if index >= FIRST_SUBTASK {
            TokenKind::Subtask(Subtask::ALL[index - FIRST_SUBTASK])
        } else if index >= FIRST_OBJECT {
            TokenKind::Object(Object::ALL[index - FIRST_OBJECT])
        } else if index >= FIRST_COLOR {
            TokenKind::Color(Color::ALL[index - FIRST_COLOR])
        } else {
            match index {
                0 => TokenKind::Plan,
                1 => TokenKind::Pick,
                2 => TokenKind::Infeasible,
                3 => TokenKind::Look,
                4 => TokenKind::Do,
                _ => TokenKind::End,
            }
        }
    }

    fn write(self, out: &mut impl fmt::Write, axis: Option<Axis>) -> fmt::Result {
        match self.kind() {
            TokenKind::Plan => out.write_str("PLAN"),
            TokenKind::Pick => out.write_str("pick"),
            TokenKind::Infeasible => out.write_str("infeasible"),
            TokenKind::Look => out.write_str("LOOK"),
            TokenKind::Do => out.write_str("DO"),
            TokenKind::End => out.write_str("END"),
            TokenKind::Color(color) => out.write_str(color.as_str()),
            TokenKind::Object(object) => out.write_str(object.as_str()),
            TokenKind::Subtask(subtask) => out.write_str(subtask.as_str()),
            TokenKind::Reason(reason) => {
                reason.as_str().chars().try_for_each(|c| out.write_char(if c == ' ' { '_' } else { c }))
            }
            TokenKind::Number(bin) => write!(out, "{}{bin}", axis.map_or('n', Axis::letter)),
        }
    }
}

impl TryFrom<u16> for Token {
    type Error = UnknownToken;

    fn try_from(id: u16) -> Result<Self, UnknownToken> {
        Self::new(id)
    }
}

impl From<Token> for u16 {
    fn from(token: Token) -> Self {
        token.0
    }
}

impl fmt::Display for Token {
    /// The token by itself; a number is written `n31`, because only its place gives it a meaning.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.write(f, None)
    }
}

/// Writes a sequence for people: `PLAN pick red mug LOOK u31 v40 DO reach x64 … END`.
///
/// The letter before a number tells what it measures at that place. Sequences that break the
/// grammar are written too: from the first fault on, numbers are `n31`.
#[must_use]
pub fn format_tokens(tokens: &[Token]) -> String {
    let mut text = String::with_capacity(tokens.len() * 5);
    let mut grammar = Some(Grammar::new());
    for token in tokens {
        if !text.is_empty() {
            text.push(' ');
        }
        // Writing to a string cannot fail.
        let _ = token.write(&mut text, grammar.and_then(|grammar| grammar.axis()));
        grammar = grammar.and_then(|grammar| grammar.next(*token));
    }
    text
}

/// Reads what [`format_tokens`] wrote. Checks the words, not the grammar; the letter before a
/// number is not compared with its place.
///
/// # Errors
/// [`TokenTextError`] at the first word that is no token.
pub fn tokens_from_text(text: &str) -> Result<Vec<Token>, TokenTextError> {
    text.split_whitespace()
        .enumerate()
        .map(|(position, word)| {
            token_from_word(word)
                .ok_or_else(|| TokenTextError { position, found: word.chars().take(40).collect() })
        })
        .collect()
}

fn token_from_word(word: &str) -> Option<Token> {
    let mut letters = word.chars();
    let letter = letters.next()?;
    let digits = letters.as_str();
    if !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit()) {
        let known = letter == 'n' || Axis::ALL.iter().any(|axis| axis.letter() == letter);
        let bin: usize = digits.parse().ok()?;
        return (known && bin < NUMBER_BINS).then(|| Token::number(bin));
    }
    Token::all().take(FIRST_NUMBER).find(|token| token.to_string() == word)
}

/// The whole table as text, one token or range per line: what the hash is taken of.
#[must_use]
pub fn vocabulary_table() -> String {
    let mut table = String::new();
    for token in Token::all() {
        let _ = writeln!(table, "{} {token}", token.id());
    }
    // A number means nothing without its range, so a changed range is a changed vocabulary.
    for axis in Axis::ALL {
        let (low, high) = axis.range();
        let _ = writeln!(table, "{} {low} {high}", axis.letter());
    }
    table
}

/// SHA-256 of [`vocabulary_table`], 64 lower-case hexadecimal digits.
#[must_use]
pub fn vocabulary_hash() -> String {
    sha256_hex(vocabulary_table().as_bytes())
}

pub(crate) fn sha256_hex(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().fold(String::with_capacity(64), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests fail by panicking")]
    use super::*;

    #[test]
    fn every_id_has_a_meaning_that_leads_back_to_it() {
        for token in Token::all() {
            let back = match token.kind() {
                TokenKind::Plan => Token::PLAN,
                TokenKind::Pick => Token::PICK,
                TokenKind::Infeasible => Token::INFEASIBLE,
                TokenKind::Look => Token::LOOK,
                TokenKind::Do => Token::DO,
                TokenKind::End => Token::END,
                TokenKind::Color(color) => Token::color(color),
                TokenKind::Object(object) => Token::object(object),
                TokenKind::Subtask(subtask) => Token::subtask(subtask),
                TokenKind::Reason(reason) => Token::reason(reason),
                TokenKind::Number(bin) => Token::number(bin),
            };
            assert_eq!(back, token);
            assert_eq!(tokens_from_text(&token.to_string()).unwrap(), [token]);
        }
        assert_eq!(Token::all().count(), VOCABULARY_SIZE);
        assert_eq!(VOCABULARY_SIZE, 156);
    }

    #[test]
    fn ids_outside_the_table_are_refused() {
        assert_eq!(Token::new(155).unwrap(), Token::number(127));
        assert_eq!(Token::new(156), Err(UnknownToken { id: 156 }));
        assert!(serde_json::from_str::<Token>("65535").is_err());
        assert_eq!(serde_json::from_str::<Token>("2").unwrap(), Token::INFEASIBLE);
    }

    #[test]
    fn numbers_are_written_by_their_place() {
        let text = "PLAN pick red mug LOOK u31 v40 DO reach x64 y12 z20 r64 w127 f20 END";
        let tokens = tokens_from_text(text).unwrap();
        assert_eq!(tokens.len(), 16);
        assert_eq!(format_tokens(&tokens), text);
        assert_eq!(format_tokens(&tokens[5..7]), "n31 n40");
        let text = "PLAN infeasible unknown_action END";
        assert_eq!(format_tokens(&tokens_from_text(text).unwrap()), text);
    }

    #[test]
    fn texts_that_are_no_tokens_are_refused_with_their_place() {
        let error = tokens_from_text("PLAN pick red teapot").unwrap_err();
        assert_eq!(error, TokenTextError { position: 3, found: "teapot".into() });
        for word in ["u128", "u", "q3", "ü3", "u-1", "u99999999999999999999"] {
            assert!(tokens_from_text(word).is_err(), "{word}");
        }
    }

    #[test]
    fn the_table_has_not_changed() {
        // Committed weights store this hash: changing the table orphans them.
        assert_eq!(vocabulary_hash(), "a4bb2d4a5e15d5c5dbcab4599ce86a91d4bed7fda2118f696c9f4a9049880a18");
    }
}
