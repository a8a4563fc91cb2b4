#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

use std::collections::{BTreeMap, BTreeSet};

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

use super::expand::find_rule;
use super::refusals::REFUSAL_RULES;
use super::rules::{Choice, PICK_RULES, hues, nouns};
use super::*;
use crate::instruction::{UNKNOWN, encode, text_of, word_id};
use crate::words::WORDS;

const FILLED: [&str; 6] = ["hue", "noun", "other_hue", "other_noun", "other", "invented"];
const STARTS: [&str; 4] = ["pick", "unknown_action", "unknown_object", "unclear"];

fn samples(split: Split, count: usize) -> Vec<Phrase> {
    let mut rng = ChaCha8Rng::seed_from_u64(if split == Split::Train { 1 } else { 2 });
    (0..count)
        .map(|index| {
            if index % 3 == 2 {
                phrase_infeasible(&mut rng, split)
            } else {
                let color = Color::ALL[index / 3 % Color::ALL.len()];
                phrase_pick(&mut rng, split, color, Object::ALL[index / 24 % Object::ALL.len()])
            }
        })
        .collect()
}

/// The words as the model reads them, with plain colours and objects replaced by placeholders.
fn abstracted(phrase: &Phrase) -> String {
    let read = text_of(&encode(&phrase.text));
    let words = read.split(' ').map(|word| match word {
        word if word.parse::<Color>().is_ok() => "COLOUR",
        word if word.parse::<Object>().is_ok() => "OBJECT",
        "um" | "uh" | "well" => "",
        word => word,
    });
    words.filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ")
}

fn names_in(body: &str) -> Vec<&str> {
    body.split('{').skip(1).filter_map(|part| part.split_once('}')).map(|(name, _)| name).collect()
}

fn literal_words(body: &str) -> Vec<String> {
    let literal: String = body
        .split('{')
        .enumerate()
        .map(|(index, part)| if index == 0 { part } else { part.split_once('}').unwrap().1 })
        .collect::<Vec<_>>()
        .join(" ");
    split_words(&literal).collect()
}

/// Every word that the tables use, but for those that the robot need not know.
fn words_of_the_tables() -> BTreeSet<String> {
    let rules = PICK_RULES.iter().chain(REFUSAL_RULES).filter(|rule| !rule.foreign);
    let synonyms = Object::ALL.iter().map(|object| nouns(*object));
    let synonyms = synonyms.chain(Color::ALL.iter().map(|color| hues(*color)));
    let choices = rules.map(|rule| rule.choices).chain(synonyms).flatten();
    let mut words: BTreeSet<String> = choices.flat_map(|choice| literal_words(choice.body)).collect();
    words.insert("an".to_owned());
    words
}

#[test]
fn every_name_has_a_rule_and_every_rule_is_used() {
    let mut used: BTreeSet<&str> = STARTS.into_iter().collect();
    for rule in PICK_RULES.iter().chain(REFUSAL_RULES) {
        for Choice { weight, body, .. } in rule.choices {
            assert!(*weight > 0);
            for name in names_in(body) {
                assert!(FILLED.contains(&name) || find_rule(name).is_some(), "{name}");
                used.insert(name);
            }
        }
        assert!(rule.choices.iter().any(|choice| !choice.held_out), "{} has nothing to train on", rule.name);
    }
    for rule in PICK_RULES.iter().chain(REFUSAL_RULES) {
        assert!(used.contains(rule.name), "{} is never used", rule.name);
    }
}

#[test]
fn the_word_table_is_that_of_the_rules() {
    let expected = words_of_the_tables();
    let expected: Vec<&str> = expected.iter().map(String::as_str).collect();
    assert_eq!(WORDS, expected, "the table in words.rs should be:\n{expected:?}");
}

#[test]
fn foreign_words_are_not_in_the_word_table() {
    for rule in PICK_RULES.iter().chain(REFUSAL_RULES).filter(|rule| rule.foreign) {
        for choice in rule.choices.iter().filter(|choice| names_in(choice.body).is_empty()) {
            let unknown = literal_words(choice.body).iter().any(|word| word_id(word) == UNKNOWN);
            assert!(unknown || rule.name == "chatter", "`{}` is known", choice.body);
        }
    }
}

#[test]
fn the_same_seed_gives_the_same_phrases() {
    assert_eq!(samples(Split::Train, 300), samples(Split::Train, 300));
}

#[test]
fn the_splits_share_no_template_and_no_sentence() {
    let (train, held_out) = (samples(Split::Train, 40_000), samples(Split::HeldOut, 40_000));
    let templates =
        |phrases: &[Phrase]| phrases.iter().map(|phrase| phrase.template.clone()).collect::<BTreeSet<_>>();
    let (a, b) = (templates(&train), templates(&held_out));
    assert!(a.len() > 3000 && b.len() > 3000, "{} and {} templates", a.len(), b.len());
    assert_eq!(a.intersection(&b).next(), None);
    let sentences = |phrases: &[Phrase]| phrases.iter().map(abstracted).collect::<BTreeSet<_>>();
    let (a, b) = (sentences(&train), sentences(&held_out));
    let shared: Vec<_> = a.intersection(&b).collect();
    assert!(shared.is_empty(), "{} shared: {:#?}", shared.len(), &shared[..shared.len().min(40)]);
}

#[test]
fn every_word_is_learnt_in_training() {
    let known = |split| -> BTreeSet<u16> {
        let ids = samples(split, 60_000);
        ids.iter().flat_map(|phrase| encode(&phrase.text).ids).collect()
    };
    let train = known(Split::Train);
    for word in WORDS {
        assert!(train.contains(&word_id(word)), "`{word}` does not occur in training");
    }
}

#[test]
fn what_reads_the_same_means_the_same() {
    let mut meanings: BTreeMap<String, Phrase> = BTreeMap::new();
    let mut conflicts = Vec::new();
    for split in [Split::Train, Split::HeldOut] {
        for phrase in samples(split, 60_000) {
            let read = text_of(&encode(&phrase.text));
            let first = meanings.entry(read).or_insert_with(|| phrase.clone());
            if first.meaning != phrase.meaning {
                conflicts.push((first.clone(), phrase));
            }
        }
    }
    assert!(
        conflicts.is_empty(),
        "{} conflicts, such as {:#?}",
        conflicts.len(),
        &conflicts[..conflicts.len().min(12)]
    );
}

#[test]
fn phrases_name_their_target_and_fit() {
    for split in [Split::Train, Split::HeldOut] {
        for phrase in samples(split, 20_000) {
            let words: Vec<String> = split_words(&phrase.text).collect();
            assert!(words.len() <= MAX_WORDS, "{}", phrase.text);
            assert!(!phrase.text.contains(['{', '}']), "{}", phrase.text);
            let Meaning::Pick { color, object } = phrase.meaning else { continue };
            let read = format!(" {} ", words.join(" "));
            let named = |choices: &[Choice]| {
                choices.iter().any(|choice| read.contains(&format!(" {} ", choice.body)))
            };
            // A stray word may part a name of two words, so its last word is enough.
            let tail = |choices: &[Choice]| {
                choices
                    .iter()
                    .filter_map(|choice| choice.body.split(' ').next_back())
                    .any(|word| read.contains(&format!(" {word} ")))
            };
            assert!(named(nouns(object)) || tail(nouns(object)), "{}", phrase.text);
            assert!(named(hues(color)) || tail(hues(color)), "{}", phrase.text);
        }
    }
}

#[test]
fn the_plainest_wording_is_in_training() {
    let canonical: BTreeSet<String> = Color::ALL
        .iter()
        .flat_map(|color| Object::ALL.iter().map(|object| canonical(*color, *object)))
        .collect();
    let read: BTreeSet<String> =
        samples(Split::Train, 60_000).iter().map(|phrase| text_of(&encode(&phrase.text))).collect();
    let seen = canonical.intersection(&read).count();
    assert!(seen >= 20, "{seen} of {} seen", canonical.len());
}
