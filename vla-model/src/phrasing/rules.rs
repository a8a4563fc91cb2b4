//! The weighted grammar of pick instructions, as tables.
//!
//! A rule has a name and weighted options. In an option, `{name}` stands for an option of that
//! rule. Some names are filled from the target instead: `{hue}` and `{noun}` are ways of saying
//! its colour and kind, `{other_hue}` and `{other_noun}` another colour or kind, `{other}` an
//! object that differs in at least one of the two, `{invented}` a word that does not exist.
//! Options marked `held` are kept out of training; their words occur in others that are not.

use crate::decision::{Color, Object};

/// One way to expand a rule.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Choice {
    pub(crate) weight: u32,
    pub(crate) held_out: bool,
    pub(crate) body: &'static str,
}

/// A name and what it may stand for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rule {
    pub(crate) name: &'static str,
    /// Whether the words are such as the robot need not know; they stay out of the word table.
    pub(crate) foreign: bool,
    pub(crate) choices: &'static [Choice],
}

pub(crate) const fn o(weight: u32, body: &'static str) -> Choice {
    Choice { weight, held_out: false, body }
}

pub(crate) const fn held(weight: u32, body: &'static str) -> Choice {
    Choice { weight, held_out: true, body }
}

pub(crate) const fn rule(name: &'static str, choices: &'static [Choice]) -> Rule {
    Rule { name, foreign: false, choices }
}

/// The rules of instructions that can be carried out; the first is where they start.
pub(crate) const PICK_RULES: &[Rule] = &[
    rule(
        "pick",
        &[
            o(44, "{open} {verb} {np} {close}"),
            o(16, "{open} {lift} {np} up {close}"),
            o(9, "{open} {give} {np} {close}"),
            o(4, "{mind} {lifting} {np} {close}"),
            o(3, "{mind} {raising} {np} up {close}"),
            o(6, "{want} {np} {close}"),
            o(3, "{want} {np} {lifted} {close}"),
            o(2, "{np}: {verb} it {close}"),
            o(2, "{np}, {lift} it up {close}"),
            o(2, "there is {np} on the table, {verb} it {close}"),
            o(1, "look, there is {np}, {lift} it up"),
            o(2, "do you see {np}? {verb} it {close}"),
            o(1, "see {np}? {lift} it up"),
            o(2, "find {np} and {verb} it {close}"),
            o(2, "{open} find {np}, then {verb} it {close}"),
            o(1, "{np} is the one i want, {verb} it"),
            o(1, "i need {np}, so {verb} it {close}"),
            o(1, "look at {np} and {lift} it up"),
            held(3, "look for {np} and {verb} it"),
            held(3, "find {np} and {lift} it up {close}"),
            held(3, "{np} is the one i need, so {lift} it up"),
            held(3, "{open} grasp {np}, then {lift} it up"),
            held(2, "i want {np}, so {verb} it"),
            held(2, "do you see {np}? {lift} it up {close}"),
            held(2, "there is {np} in front of you, {lift} it up"),
        ],
    ),
    rule(
        "open",
        &[
            o(70, ""),
            o(8, "please"),
            o(5, "could you please"),
            o(4, "can you"),
            o(4, "could you"),
            o(3, "would you"),
            o(3, "would you kindly"),
            o(2, "kindly"),
            o(4, "robot,"),
            o(2, "hey robot,"),
            o(2, "hey,"),
            o(2, "ok robot,"),
            o(1, "okay, now"),
            o(2, "now"),
            o(2, "can you please"),
            o(1, "will you please"),
            o(2, "go ahead and"),
            o(1, "go and"),
            o(2, "i want you to"),
            o(2, "i would like you to"),
            o(1, "i'd like you to"),
            o(1, "i need you to"),
            o(1, "you should"),
            o(1, "you must"),
            o(1, "let's"),
            o(2, "try to"),
            o(1, "your task is to"),
            o(1, "your job is to"),
            o(1, "the next task is to"),
            o(1, "be so kind and"),
            o(1, "be nice and"),
            o(1, "hi, can you"),
            o(1, "hello robot, please"),
            o(1, "well,"),
            o(1, "um,"),
            o(1, "so, first"),
            o(1, "just"),
            o(1, "i think you should"),
            o(1, "please could you"),
            o(1, "you can"),
            o(1, "you may"),
            o(1, "it is time to"),
            o(1, "we need to"),
            o(1, "the robot should"),
            o(1, "i would be happy if you could"),
            o(1, "my friend, please"),
            held(2, "robot, would you please"),
            held(2, "hello, i need you to"),
            held(2, "your next job is to"),
            held(1, "it would be nice if you could"),
            held(2, "hey robot, go and"),
        ],
    ),
    rule(
        "close",
        &[
            o(80, ""),
            o(7, "please"),
            o(6, "for me"),
            o(4, "now"),
            o(2, "right now"),
            o(4, "from the table"),
            o(4, "off the table"),
            o(2, "from the desk"),
            o(2, "off the desk"),
            o(2, "for me, please"),
            o(2, "thanks"),
            o(2, "thank you"),
            o(2, "and hold it"),
            o(2, "and hold it up"),
            o(1, "and keep it there"),
            o(1, "and lift it"),
            o(1, "quickly"),
            o(2, "carefully"),
            o(1, "gently"),
            o(1, "slowly"),
            o(1, "if you can"),
            o(1, "if it is possible"),
            o(1, "with your gripper"),
            o(1, "with the gripper"),
            o(1, "in front of you"),
            o(1, "on the table"),
            o(1, "over there"),
            o(1, "into the air"),
            o(1, "on the left"),
            o(1, "on your right"),
            o(1, "again"),
            o(1, "immediately"),
            o(1, "at once"),
            o(1, "as soon as you can"),
            o(1, "using your gripper"),
            o(1, "with your hand"),
            o(1, "with your arm"),
            o(1, "first"),
            o(1, "would you"),
            o(1, "will you"),
            held(2, "from the table, please"),
            held(2, "if you can, please"),
            held(2, "and hold it for me"),
            held(2, "off the table, thanks"),
            held(2, "for me, now"),
        ],
    ),
    rule(
        "verb",
        &[
            o(24, "pick up"),
            o(10, "grab"),
            o(7, "grasp"),
            o(8, "take"),
            o(7, "lift"),
            o(4, "lift up"),
            o(7, "get"),
            o(5, "fetch"),
            o(4, "raise"),
            o(3, "collect"),
            o(3, "hold up"),
            o(2, "hold"),
            o(2, "grip"),
            o(2, "seize"),
            o(2, "snatch"),
            o(2, "retrieve"),
            o(2, "hoist"),
            o(2, "gather"),
            o(1, "pluck"),
            o(2, "scoop up"),
            o(1, "elevate"),
            o(1, "clasp"),
            o(1, "clutch"),
            o(1, "snag"),
            o(1, "acquire"),
            o(1, "pick"),
            o(2, "go get"),
            o(1, "get hold of"),
            o(2, "take hold of"),
            o(2, "reach for"),
            o(1, "bring up"),
            o(1, "take up"),
            o(1, "select and lift"),
            o(1, "obtain"),
            o(1, "secure"),
            o(1, "catch"),
            o(1, "nab"),
            o(1, "heft"),
            o(1, "capture"),
            o(1, "grab hold of"),
            o(1, "hold onto"),
            o(1, "choose"),
        ],
    ),
    rule(
        "lift",
        &[
            o(20, "pick"),
            o(8, "lift"),
            o(3, "hold"),
            o(3, "raise"),
            o(2, "scoop"),
            o(2, "take"),
            o(1, "pull"),
            o(2, "bring"),
            o(1, "hoist"),
            o(1, "snatch"),
        ],
    ),
    rule(
        "give",
        &[
            o(5, "hand me"),
            o(6, "give me"),
            o(4, "pass me"),
            o(5, "bring me"),
            o(4, "get me"),
            o(3, "fetch me"),
            o(2, "grab me"),
            o(2, "hand over"),
            o(1, "gimme"),
        ],
    ),
    rule(
        "mind",
        &[
            o(4, "would you mind"),
            o(2, "do you mind"),
            o(2, "how about"),
            o(2, "start by"),
            o(2, "try"),
            o(1, "please start by"),
            held(1, "robot, would you mind"),
        ],
    ),
    rule(
        "lifting",
        &[
            o(8, "picking up"),
            o(3, "grabbing"),
            o(2, "grasping"),
            o(2, "taking"),
            o(4, "lifting"),
            o(2, "lifting up"),
            o(2, "getting"),
            o(2, "fetching"),
            o(2, "raising"),
            o(1, "collecting"),
            o(1, "holding up"),
        ],
    ),
    rule("raising", &[o(5, "picking"), o(3, "lifting"), o(1, "holding"), o(1, "raising")]),
    rule(
        "lifted",
        &[
            o(5, "picked up"),
            o(3, "lifted"),
            o(2, "lifted up"),
            o(1, "grabbed"),
            o(1, "raised"),
            o(1, "taken"),
        ],
    ),
    rule(
        "want",
        &[
            o(5, "i want"),
            o(3, "i need"),
            o(3, "i would like"),
            o(2, "i'd like"),
            o(1, "let me have"),
            o(2, "can i have"),
            o(2, "could i get"),
            o(1, "may i have"),
            o(1, "i'd love to have"),
            held(2, "could i please have"),
        ],
    ),
    rule(
        "np",
        &[
            o(60, "{det} {adj} {hue} {noun}"),
            o(6, "{det} {noun} that is {hue}"),
            o(5, "{det} {noun} which is {hue}"),
            o(3, "{det} {noun} that's {hue}"),
            o(2, "{det} {noun} which is {coloured} {hue}"),
            o(2, "{det} {noun} that is {coloured} {hue}"),
            o(3, "{det} {hue} {coloured} {noun}"),
            o(3, "the thing that looks like a {noun} and is {hue}"),
            o(2, "the {hue} thing that looks like a {noun}"),
            o(1, "the {noun} with the {hue} {colour}"),
            o(1, "the {noun} that has a {hue} {colour}"),
            o(1, "the {noun} with {hue} {colour}"),
            o(1, "the {noun} in {hue}"),
            o(1, "the {noun} painted {hue}"),
            o(1, "the {noun} of {hue} {colour}"),
            o(1, "the {noun} whose {colour} is {hue}"),
            o(1, "the {hue} {noun} that you see"),
            o(1, "the {hue} {noun} which is standing on the table"),
            o(2, "the {noun}, the {hue} one"),
            o(2, "the {hue} one that is a {noun}"),
            o(2, "the object that is a {hue} {noun}"),
            o(1, "the item which is a {hue} {noun}"),
            o(1, "the only {noun} that is {hue}"),
            o(5, "{det} {hue} {noun} {near} the {other}"),
            o(2, "the {noun} that is {hue} {near} the {other}"),
            o(2, "{det} {hue} {noun} {near} the {other_noun}"),
            o(3, "{det} {hue} {noun}, not the {other_hue} one"),
            o(2, "{det} {hue} {noun}, not the {other_noun}"),
            o(2, "{det} {hue} {noun}, not the {other}"),
            o(1, "{det} {hue} {noun} and not the {other}"),
            o(2, "{det} {hue} {noun} {instead} the {other}"),
            o(1, "not the {other} but the {hue} {noun}"),
            o(1, "not the {other_hue} one but the {hue} {noun}"),
            held(3, "the {noun} which has the {hue} {colour}"),
            held(3, "the {hue} object that looks like a {noun}"),
            held(3, "the only {noun} which is {coloured} {hue}"),
            held(2, "the {noun} that is {hue}, not the {other_hue} one"),
            held(2, "the {hue} {coloured} {noun} {near} the {other}"),
            held(2, "the item that looks like a {noun} and is {hue}"),
            held(2, "the {noun}, the {hue} one, not the {other_hue} one"),
        ],
    ),
    rule("det", &[o(70, "the"), o(7, "a"), o(5, "that"), o(4, "this"), o(3, "my"), o(2, "your"), o(7, "")]),
    rule(
        "adj",
        &[
            o(90, ""),
            o(2, "small"),
            o(2, "little"),
            o(1, "big"),
            o(1, "large"),
            o(1, "nice"),
            o(1, "shiny"),
            o(1, "plain"),
            o(1, "bright"),
            o(1, "dark"),
            o(1, "light"),
            o(1, "old"),
            o(1, "new"),
            o(1, "empty"),
        ],
    ),
    rule("coloured", &[o(1, "coloured"), o(1, "colored")]),
    rule("colour", &[o(1, "colour"), o(1, "color")]),
    rule(
        "near",
        &[
            o(4, "next to"),
            o(2, "beside"),
            o(2, "near"),
            o(2, "behind"),
            o(2, "in front of"),
            o(1, "to the left of"),
            o(1, "to the right of"),
            o(1, "by"),
            o(1, "close to"),
        ],
    ),
    rule("instead", &[o(2, "instead of"), o(1, "rather than"), o(1, "but not")]),
];

/// Ways of naming a kind of object; the plain one first.
pub(crate) const fn nouns(object: Object) -> &'static [Choice] {
    match object {
        Object::Mug => {
            const {
                &[
                    o(24, "mug"),
                    o(7, "cup"),
                    o(3, "coffee mug"),
                    o(3, "coffee cup"),
                    o(1, "tankard"),
                    o(1, "teacup"),
                    o(1, "tea mug"),
                ]
            }
        }
        Object::Cube => {
            const {
                &[
                    o(24, "cube"),
                    o(6, "block"),
                    o(5, "box"),
                    o(2, "brick"),
                    o(2, "toy block"),
                    o(1, "dice"),
                    o(1, "building block"),
                ]
            }
        }
        Object::Bowl => {
            const { &[o(24, "bowl"), o(5, "dish"), o(3, "basin"), o(2, "soup bowl"), o(1, "cereal bowl")] }
        }
    }
}

/// Ways of naming a colour; the plain one first.
pub(crate) const fn hues(color: Color) -> &'static [Choice] {
    match color {
        Color::Red => const { &[o(24, "red"), o(2, "scarlet"), o(2, "crimson"), o(1, "ruby")] },
        Color::Green => const { &[o(24, "green"), o(2, "emerald"), o(1, "lime")] },
        Color::Blue => const { &[o(24, "blue"), o(2, "navy"), o(1, "azure"), o(1, "cobalt")] },
        Color::Yellow => const { &[o(24, "yellow"), o(2, "golden"), o(1, "lemon")] },
        Color::Orange => const { &[o(24, "orange"), o(2, "tangerine"), o(1, "amber")] },
        Color::Purple => const { &[o(24, "purple"), o(3, "violet"), o(1, "lilac")] },
        Color::White => const { &[o(24, "white"), o(1, "ivory"), o(1, "snowy")] },
        Color::Black => const { &[o(24, "black"), o(1, "ebony"), o(1, "jet black")] },
    }
}
