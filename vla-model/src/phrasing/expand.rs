//! Expansion of the weighted grammar into sentences, and the rule that keeps some out of training.

use rand::{Rng, RngExt};

use super::refusals::REFUSAL_RULES;
use super::rules::{Choice, PICK_RULES, Rule, hues, nouns};
use crate::decision::{Color, Object};
use crate::instruction;

/// Rules that say what is to be done; together they are the action of a sentence.
const ACTION_RULES: [&str; 6] = ["verb", "lift", "give", "lifting", "raising", "lifted"];
/// The plainest action and object phrase; their combination always belongs to training.
const PLAIN_ACTION: &str = "pick up";
const PLAIN_NP: &str = "{det} {adj} {hue} {noun}";
/// One combination of frame, action and object phrase in so many is kept out of training.
const HELD_OUT_COMBINATIONS: u64 = 8;
/// One combination of frame, object phrase and synonym in so many is kept out of training.
const HELD_OUT_SYNONYMS: u64 = 5;
/// Nesting of the tables is 4 deep; the bound only guards against a rule that names itself.
const DEPTH_MAX: usize = 8;

/// What fills the names that no rule expands.
#[derive(Clone, Copy, Debug)]
pub(super) struct Filling {
    pub(super) color: Color,
    pub(super) object: Object,
    pub(super) other_color: Color,
    pub(super) other_object: Object,
    pub(super) other: (Color, Object),
}

impl Filling {
    /// The target, and others that differ from it, at random.
    pub(super) fn draw<R: Rng + ?Sized>(rng: &mut R, color: Color, object: Object) -> Self {
        let other_color = pick_other(rng, Color::ALL, color.index());
        let other_object = pick_other(rng, Object::ALL, object.index());
        let other = match rng.random_range(0..3_u32) {
            0 => (other_color, object),
            1 => (color, other_object),
            _ => (other_color, other_object),
        };
        Self { color, object, other_color, other_object, other }
    }
}

fn pick_other<R: Rng + ?Sized, T: Copy>(rng: &mut R, all: &[T], index: usize) -> T {
    all[(index + rng.random_range(1..all.len())) % all.len()]
}

/// One sentence, before noise.
#[derive(Clone, Debug)]
pub(super) struct Sentence {
    pub(super) text: String,
    /// Every option that was taken, without the plain names of colours and objects.
    pub(super) template: String,
    pub(super) held_out: bool,
}

/// Expands one rule into a sentence.
pub(super) fn expand<R: Rng + ?Sized>(rng: &mut R, start: &str, filling: &Filling) -> Sentence {
    let mut expansion = Expansion { rng, filling, text: String::new(), derivation: Derivation::default() };
    expansion.rule(start, 0);
    let text = tidy(&expansion.text);
    let derivation = expansion.derivation;
    Sentence { text, held_out: derivation.is_held_out(), template: derivation.template }
}

/// The rule of that name.
pub(super) fn find_rule(name: &str) -> Option<&'static Rule> {
    PICK_RULES.iter().chain(REFUSAL_RULES).find(|rule| rule.name == name)
}

/// What was chosen on the way to a sentence.
#[derive(Default)]
struct Derivation {
    template: String,
    frame: &'static str,
    action: String,
    np: &'static str,
    synonyms: Vec<&'static str>,
    marked: bool,
}

impl Derivation {
    /// Whether the sentence is kept out of training: by an option marked so, or because its
    /// combination of parts is among those chosen by a hash. Depends on nothing but the
    /// derivation, so the two splits share no template.
    fn is_held_out(&self) -> bool {
        if self.marked {
            return true;
        }
        let plain = self.action == PLAIN_ACTION && (self.np == PLAIN_NP || self.np.is_empty());
        let combination = !self.action.is_empty()
            && !plain
            && hash(&[self.frame, &self.action, self.np]).is_multiple_of(HELD_OUT_COMBINATIONS);
        combination
            || self
                .synonyms
                .iter()
                .any(|synonym| hash(&[self.frame, self.np, synonym]).is_multiple_of(HELD_OUT_SYNONYMS))
    }

    fn note(&mut self, rule: &Rule, choice: &Choice) {
        self.marked |= choice.held_out;
        if self.frame.is_empty() {
            self.frame = choice.body;
        } else if rule.name == "np" {
            self.np = choice.body;
        } else if ACTION_RULES.contains(&rule.name) {
            if !self.action.is_empty() {
                self.action.push_str(" + ");
            }
            self.action.push_str(choice.body);
        }
        self.trace(rule.name, if rule.foreign { "*" } else { choice.body });
    }

    fn trace(&mut self, name: &str, body: &str) {
        if !self.template.is_empty() {
            self.template.push_str(" | ");
        }
        self.template.push_str(name);
        self.template.push('=');
        self.template.push_str(body);
    }
}

struct Expansion<'a, R: ?Sized> {
    rng: &'a mut R,
    filling: &'a Filling,
    text: String,
    derivation: Derivation,
}

impl<R: Rng + ?Sized> Expansion<'_, R> {
    fn rule(&mut self, name: &str, depth: usize) {
        let filling = *self.filling;
        match name {
            "noun" => self.synonym(name, nouns(filling.object)),
            "hue" => self.synonym(name, hues(filling.color)),
            "other_noun" => self.text.push_str(filling.other_object.as_str()),
            "other_hue" => self.text.push_str(filling.other_color.as_str()),
            "other" => {
                self.text.push_str(filling.other.0.as_str());
                self.text.push(' ');
                self.text.push_str(filling.other.1.as_str());
            }
            "invented" => {
                let word = invented_word(self.rng);
                self.text.push_str(&word);
            }
            _ => {
                if let Some(rule) = find_rule(name).filter(|_| depth < DEPTH_MAX) {
                    let choice = choose(self.rng, rule.choices);
                    self.derivation.note(rule, choice);
                    self.body(choice.body, depth + 1);
                }
            }
        }
    }

    fn synonym(&mut self, name: &str, choices: &'static [Choice]) {
        let choice = choose(self.rng, choices);
        if choices.first().is_some_and(|plain| plain.body != choice.body) {
            self.derivation.synonyms.push(choice.body);
            self.derivation.trace(name, choice.body);
        }
        self.text.push_str(choice.body);
    }

    fn body(&mut self, mut rest: &str, depth: usize) {
        while let Some((before, after)) = rest.split_once('{') {
            self.text.push_str(before);
            let Some((name, after)) = after.split_once('}') else { break };
            self.rule(name, depth);
            rest = after;
        }
        self.text.push_str(rest);
    }
}

fn choose<'c, R: Rng + ?Sized>(rng: &mut R, choices: &'c [Choice]) -> &'c Choice {
    let total: u32 = choices.iter().map(|choice| choice.weight).sum();
    let mut left = if total == 0 { 0 } else { rng.random_range(0..total) };
    for choice in choices {
        if left < choice.weight {
            return choice;
        }
        left -= choice.weight;
    }
    const EMPTY: &Choice = &Choice { weight: 0, held_out: false, body: "" };
    EMPTY
}

/// FNV-1a over the parts; fixed for ever, because it decides what is kept out of training.
fn hash(parts: &[&str]) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for byte in parts.iter().flat_map(|part| part.bytes().chain([0])) {
        hash = (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
    }
    // The low bits of FNV mix badly; fold the high ones in.
    hash ^ (hash >> 32)
}

/// A pronounceable word that no table knows.
pub(super) fn invented_word<R: Rng + ?Sized>(rng: &mut R) -> String {
    const STARTS: [&str; 20] = [
        "b", "bl", "d", "dr", "f", "fl", "g", "gr", "k", "l", "m", "n", "p", "pr", "r", "s", "st", "t", "v",
        "z",
    ];
    const VOWELS: [&str; 8] = ["a", "e", "i", "o", "u", "oo", "ea", "ai"];
    const ENDS: [&str; 10] = ["", "n", "r", "s", "ck", "l", "m", "t", "p", "x"];
    for _ in 0..20 {
        let mut word = String::new();
        for _ in 0..rng.random_range(1..=3_u32) {
            for part in [&STARTS[..], &VOWELS[..], &ENDS[..]] {
                word.push_str(part[rng.random_range(0..part.len())]);
            }
        }
        if instruction::word_id(&word) == instruction::UNKNOWN {
            return word;
        }
    }
    "zorbleflick".to_owned()
}

/// Puts spaces, commas and articles in order.
fn tidy(text: &str) -> String {
    let mut tidy = String::with_capacity(text.len());
    let words: Vec<&str> = text.split_whitespace().collect();
    for (index, word) in words.iter().enumerate() {
        if matches!(*word, "," | ":" | "?") {
            tidy.push_str(word);
            continue;
        }
        if !tidy.is_empty() {
            tidy.push(' ');
        }
        let before_vowel =
            words.get(index + 1).is_some_and(|next| next.starts_with(['a', 'e', 'i', 'o', 'u']));
        tidy.push_str(if *word == "a" && before_vowel { "an" } else { word });
    }
    tidy.trim_end_matches([',', ':']).to_owned()
}
