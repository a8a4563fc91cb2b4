//! Instructions as people might say them, each with its meaning: what the model learns language
//! from, and what it is tested on.
//!
//! A small weighted grammar (`rules`, `refusals`) is expanded at random. A part of it
//! is kept out of training and belongs to [`Split::HeldOut`] alone: whole sentence frames, object
//! phrases and politenesses that are marked so, and about one in eight combinations of frame,
//! action and object phrase, and one in five of frame, object phrase and synonym. The words of
//! held-out sentences all occur in training, in other company; what is measured is whether the
//! model understands sentences, not whether it guesses words.
//!
//! # What an instruction means
//!
//! Judged in this order:
//! 1. Nothing but fillers, or nothing at all: `unclear`.
//! 2. It asks for something other than lifting an object, forbids it, asks a question, or asks
//!    for a further action ("… and wash it"): `unknown action`.
//! 3. The object or its colour is a word that is not known ("teapot", "pink mug"): `unknown object`.
//! 4. The action, the colour or the kind is missing, or two objects are asked for: `unclear`.
//! 5. Otherwise the object that is asked for is to be picked up. Objects that only say where it
//!    is, or which one is not meant, change nothing.
//!
//! Whether such an object is in sight (`absent`), and whether anything is (`blind`), is not a
//! matter of words; the trainer adds those labels.

mod expand;
mod refusals;
mod rules;

use rand::{Rng, RngExt};

use crate::decision::{Color, Infeasible, Object};
use crate::instruction::{MAX_WORDS, split_words};
use expand::{Filling, Sentence, expand, invented_word};

/// Which part of the grammar an instruction comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Split {
    /// What models are trained on.
    Train,
    /// What models are tested on; shares no template with training.
    HeldOut,
}

/// What an instruction asks for, as far as words tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Meaning {
    /// Pick this object up.
    Pick {
        /// Colour of the object.
        color: Color,
        /// Kind of the object.
        object: Object,
    },
    /// Cannot be carried out in any scene: [`Infeasible::UnknownAction`],
    /// [`Infeasible::UnknownObject`] or [`Infeasible::Unclear`].
    Infeasible(Infeasible),
}

/// An instruction with its meaning.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Phrase {
    /// The instruction, with capitals, punctuation and stray words as they come.
    pub text: String,
    /// What it asks for.
    pub meaning: Meaning,
    /// The options of the grammar that led to it, without plain colours and objects. The two
    /// splits have no template in common.
    pub template: String,
}

/// Draws tried for one phrase. About four in five are of the training split and one in five of the
/// other, so the fallback is never seen with a working generator.
const DRAWS_MAX: usize = 1000;

/// The plainest wording: "pick up the red mug".
#[must_use]
pub fn canonical(color: Color, object: Object) -> String {
    format!("pick up the {color} {object}")
}

/// An instruction that asks to pick this object up. The same generator state gives the same
/// phrase. At most [`MAX_WORDS`] words long.
pub fn phrase_pick<R: Rng + ?Sized>(rng: &mut R, split: Split, color: Color, object: Object) -> Phrase {
    let meaning = Meaning::Pick { color, object };
    let sentence = draw(rng, split, "pick", Some((color, object)), Stray::Anything);
    sentence.map_or_else(
        || Phrase { text: canonical(color, object), meaning, template: "canonical".to_owned() },
        |Sentence { text, template, .. }| Phrase { text, meaning, template },
    )
}

/// An instruction that can be carried out in no scene: an unknown action, an unknown object or
/// an unclear demand.
pub fn phrase_infeasible<R: Rng + ?Sized>(rng: &mut R, split: Split) -> Phrase {
    let reason = match rng.random_range(0..100_u32) {
        0..38 => Infeasible::UnknownAction,
        38..72 => Infeasible::UnknownObject,
        _ => Infeasible::Unclear,
    };
    let start = match reason {
        Infeasible::UnknownAction => "unknown_action",
        Infeasible::UnknownObject => "unknown_object",
        Infeasible::Unclear | Infeasible::Absent | Infeasible::Blind => "unclear",
    };
    // Where an unknown word makes the meaning, no other unknown word may be strewn in.
    draw(rng, split, start, None, Stray::Filler).map_or_else(
        || Phrase {
            text: String::new(),
            meaning: Meaning::Infeasible(Infeasible::Unclear),
            template: "empty".to_owned(),
        },
        |Sentence { text, template, .. }| Phrase { text, meaning: Meaning::Infeasible(reason), template },
    )
}

/// Which stray words may slip into a sentence.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Stray {
    /// Any word, known or not, anywhere.
    Anything,
    /// A known filler, before or after the sentence.
    Filler,
}

fn draw<R: Rng + ?Sized>(
    rng: &mut R,
    split: Split,
    start: &str,
    target: Option<(Color, Object)>,
    stray: Stray,
) -> Option<Sentence> {
    for _ in 0..DRAWS_MAX {
        let (color, object) = target.unwrap_or_else(|| {
            (
                Color::ALL[rng.random_range(0..Color::ALL.len())],
                Object::ALL[rng.random_range(0..Object::ALL.len())],
            )
        });
        let filling = Filling::draw(rng, color, object);
        let mut sentence = expand(rng, start, &filling);
        if sentence.held_out != (split == Split::HeldOut) {
            continue;
        }
        sentence.text = dress(rng, &sentence.text, stray);
        if split_words(&sentence.text).count() <= MAX_WORDS {
            return Some(sentence);
        }
    }
    None
}

/// Adds what people add: a stray word, capitals, a full stop.
fn dress<R: Rng + ?Sized>(rng: &mut R, text: &str, stray: Stray) -> String {
    let mut words: Vec<String> = text.split_whitespace().map(str::to_owned).collect();
    if rng.random_range(0..100_u32) < 13 {
        let filler = ["um", "uh", "well"][rng.random_range(0..3_usize)].to_owned();
        match stray {
            Stray::Filler if rng.random_range(0..2_u32) == 0 => words.push(filler),
            Stray::Filler => words.insert(0, filler),
            Stray::Anything => {
                let place = rng.random_range(0..=words.len());
                let word = if rng.random_range(0..3_u32) == 0 { filler } else { invented_word(rng) };
                words.insert(place, word);
            }
        }
    }
    let mut text = match rng.random_range(0..100_u32) {
        0..50 => words.join(" "),
        50..85 => capitalised(&words.join(" ")),
        85..93 => words.join(" ").to_uppercase(),
        _ => words.iter().map(|word| capitalised(word)).collect::<Vec<_>>().join(" "),
    };
    match rng.random_range(0..100_u32) {
        0..25 => text.push('.'),
        25..35 => text.push('!'),
        35..42 => text.push('?'),
        _ => {}
    }
    text
}

fn capitalised(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}

#[cfg(test)]
mod tests;
