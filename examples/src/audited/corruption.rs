//! Decisions with tokens replaced at random, as bit errors, a broken decoder or a confused model would.

use rand::seq::IndexedRandom;
use rand::{Rng, RngExt};
use reflexarc_vla_model::decision::Decision;
use reflexarc_vla_model::grammar::{Grammar, parse};
use reflexarc_vla_model::token::Token;

/// How a decision is corrupted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Corruption {
    /// One to three tokens become others of the vocabulary.
    Any,
    /// One to three tokens become others that the grammar allows at their place.
    SameClass,
    /// All of x, y, z and yaw become other numbers.
    Pose,
    /// The height becomes another number, one of the sixteen lowest.
    Low,
}

impl Corruption {
    /// All kinds.
    pub const ALL: [Self; 4] = [Self::Any, Self::SameClass, Self::Pose, Self::Low];

    /// The kind's name in tables.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Any => "any token, 1 to 3",
            Self::SameClass => "same class, 1 to 3",
            Self::Pose => "whole pose",
            Self::Low => "low height",
        }
    }

    /// The decision with other tokens; what it claims is what the tokens say, where they say anything. The
    /// second value tells whether they do.
    pub fn apply(self, decision: &Decision, rng: &mut impl Rng) -> (Decision, bool) {
        let mut tokens = decision.tokens.clone();
        let original = tokens.clone();
        // Sequences that say why nothing can be done have no pose.
        let acts = tokens.len() > FIRST_POSE + 3;
        match self {
            Self::Any | Self::SameClass => {
                for _ in 0..rng.random_range(1..=3) {
                    let place = rng.random_range(0..tokens.len());
                    let others = others(&original, place, self == Self::Any);
                    if let Some(other) = others.choose(rng) {
                        tokens[place] = *other;
                    }
                }
            }
            Self::Pose if acts => {
                for (place, token) in tokens.iter_mut().enumerate().skip(FIRST_POSE).take(4) {
                    if let Some(other) = others(&original, place, false).choose(rng) {
                        *token = *other;
                    }
                }
            }
            Self::Low if acts => tokens[FIRST_POSE + 2] = Token::number(rng.random_range(0..16)),
            Self::Pose | Self::Low => {}
        }
        let meaning = parse(&tokens);
        let speaks = meaning.is_ok();
        let verdict = meaning.unwrap_or_else(|_| decision.verdict.clone());
        (Decision { tokens, verdict, ..decision.clone() }, speaks)
    }
}

/// Place of x in a sequence; y, z and yaw follow.
const FIRST_POSE: usize = 9;

fn others(tokens: &[Token], place: usize, any: bool) -> Vec<Token> {
    let allowed = Grammar::allowed(&tokens[..place]);
    let others = Token::all().filter(|token| *token != tokens[place]);
    others.filter(|token| any || allowed.contains(*token)).collect()
}
