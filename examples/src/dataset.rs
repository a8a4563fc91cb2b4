//! From labelled frames to what the network is trained on: an instruction in random words, the
//! tokens of the right decision, and where to look.

use rand::seq::IndexedRandom;
use rand::{Rng, RngExt};
use reflexarc_sim::object::{Kind, Paint};
use reflexarc_vla_model::decision::{Goal, Infeasible, Verdict};
use reflexarc_vla_model::grammar::{SLOT_COUNT, TargetError, targets_from_verdict};
use reflexarc_vla_model::instruction::{self, InstructionTokens};
use reflexarc_vla_model::phrasing::{Meaning, Phrase, Split, phrase_infeasible, phrase_pick};
use reflexarc_vla_model::token::Token;

use crate::demo::{Sample, Seen};
use crate::translate;

/// How instructions are mixed; the rest of the chance asks for an object that is there.
#[derive(Debug, Clone, Copy)]
pub struct Mix {
    /// Chance of asking for an object that is not on the table.
    pub absent: f64,
    /// Chance of asking for something that cannot be understood or done.
    pub infeasible: f64,
    /// Chance that both cameras are black.
    pub blind: f64,
    /// Among feasible instructions, chance of another object than the rollout was after.
    pub other_object: f64,
}

impl Default for Mix {
    fn default() -> Self {
        Self { absent: 0.09, infeasible: 0.10, blind: 0.015, other_object: 0.30 }
    }
}

/// One training example's text and answers.
#[derive(Debug, Clone)]
pub struct Label {
    /// The instruction.
    pub words: InstructionTokens,
    /// The right token for each slot; `None` where the decision leaves it unused.
    pub slots: [Option<Token>; SLOT_COUNT],
    /// Where to look in the scene image (0..1); `None` for nowhere.
    pub scene_uv: Option<[f32; 2]>,
    /// Where to look in the wrist image (0..1); `None` for nowhere.
    pub wrist_uv: Option<[f32; 2]>,
    /// Whether both images are to be blacked out.
    pub black: bool,
}

fn infeasible(phrase: &Phrase, reason: Infeasible, black: bool) -> Result<Label, TargetError> {
    Ok(Label {
        words: instruction::encode(&phrase.text),
        slots: targets_from_verdict(&Verdict::Infeasible(reason))?,
        scene_uv: None,
        wrist_uv: None,
        black,
    })
}

fn feasible(phrase: &Phrase, seen: &Seen) -> Option<Result<Label, TargetError>> {
    let advice = seen.advice.as_ref()?;
    let verdict = Verdict::Act {
        plan: vec![Goal::Pick { color: translate::color(seen.paint), object: translate::object(seen.kind) }],
        subtask: translate::subtask(advice.step),
        target: translate::target(advice),
        pixel_uv: seen.scene_uv,
    };
    Some(targets_from_verdict(&verdict).map(|slots| Label {
        words: instruction::encode(&phrase.text),
        slots,
        scene_uv: seen.in_scene.then_some(seen.scene_uv),
        wrist_uv: seen.wrist_uv,
        black: false,
    }))
}

/// A random kind and colour that are not on the table together; half of the time one of the two
/// is there in another combination.
fn absent_pair(rng: &mut impl Rng, objects: &[Seen]) -> (Kind, Paint) {
    loop {
        let any_kind = *Kind::ALL.choose(rng).unwrap_or(&Kind::Mug);
        let any_paint = *Paint::ALL.choose(rng).unwrap_or(&Paint::Red);
        let near = objects.choose(rng).filter(|_| rng.random_bool(0.6));
        let pair = match near {
            Some(seen) if rng.random_bool(0.5) => (seen.kind, any_paint),
            Some(seen) => (any_kind, seen.paint),
            None => (any_kind, any_paint),
        };
        if !objects.iter().any(|o| (o.kind, o.paint) == pair) {
            return pair;
        }
    }
}

/// Draws an instruction for `sample` and the answers to it. `None` when the frame has no answer
/// to the instruction drawn: an object that has toppled.
///
/// # Errors
/// When a label holds a number that is not finite: a fault of the simulator.
pub fn draw(rng: &mut impl Rng, sample: &Sample, mix: &Mix) -> Result<Option<Label>, TargetError> {
    let dice: f64 = rng.random();
    if dice < mix.infeasible {
        let phrase = phrase_infeasible(rng, Split::Train);
        return match phrase.meaning {
            Meaning::Infeasible(reason) => infeasible(&phrase, reason, false).map(Some),
            Meaning::Pick { .. } => Ok(None),
        };
    }
    if dice < mix.infeasible + mix.absent {
        let (kind, paint) = absent_pair(rng, &sample.objects);
        let phrase = phrase_pick(rng, Split::Train, translate::color(paint), translate::object(kind));
        return infeasible(&phrase, Infeasible::Absent, false).map(Some);
    }
    let index = if rng.random_bool(mix.other_object) {
        rng.random_range(0..sample.objects.len())
    } else {
        sample.target
    };
    let seen = &sample.objects[index];
    let phrase = phrase_pick(rng, Split::Train, translate::color(seen.paint), translate::object(seen.kind));
    if dice < mix.infeasible + mix.absent + mix.blind {
        return infeasible(&phrase, Infeasible::Blind, true).map(Some);
    }
    feasible(&phrase, seen).transpose()
}
