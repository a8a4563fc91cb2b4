//! Which scene an instruction is played in.
//!
//! A random table seldom has what somebody asks for, so the scene is chosen by the words: the first
//! seed whose table has the named object. This reading is for laying the table and for judging
//! only. It is crude (the first colour and the first object named), and the policy never sees it.

use anyhow::{Result, bail};
use reflexarc_sim::object::{Kind, Paint};
use reflexarc_sim::scene::Scene;

/// Seeds tried for one instruction. One scene in sixteen is about any given mug or cube.
const SEEDS: u64 = 4096;

/// What an instruction asks for, as far as laying the table goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wanted {
    /// The kind of object.
    pub kind: Kind,
    /// Its colour.
    pub paint: Paint,
}

fn kind_of(word: &str) -> Option<Kind> {
    Some(match word {
        "mug" | "cup" | "teacup" | "tankard" => Kind::Mug,
        "cube" | "block" | "box" | "brick" | "dice" => Kind::Cube,
        "bowl" | "dish" | "basin" => Kind::Bowl,
        _ => return None,
    })
}

fn paint_of(word: &str) -> Option<Paint> {
    Some(match word {
        "red" | "scarlet" | "crimson" | "ruby" => Paint::Red,
        "green" | "emerald" | "lime" => Paint::Green,
        "blue" | "navy" | "azure" | "cobalt" => Paint::Blue,
        "yellow" | "golden" | "lemon" => Paint::Yellow,
        "orange" | "tangerine" | "amber" => Paint::Orange,
        "purple" | "violet" | "lilac" => Paint::Purple,
        "white" | "ivory" | "snowy" => Paint::White,
        "black" | "ebony" => Paint::Black,
        _ => return None,
    })
}

/// The object that an instruction names; none when it names no colour or no object. What stands
/// between "not the" and "but" is not asked for.
#[must_use]
pub fn wanted(instruction: &str) -> Option<Wanted> {
    let (mut kind, mut paint) = (None, None);
    let (mut denied, mut unwanted) = (false, false);
    for word in instruction.split(|letter: char| !letter.is_alphanumeric()) {
        let word = word.to_lowercase();
        // "why not take the red mug" denies nothing.
        unwanted |= denied && matches!(word.as_str(), "the" | "a" | "an" | "that");
        denied = word == "not";
        if word == "but" {
            unwanted = false;
        }
        if !unwanted {
            kind = kind.or(kind_of(&word));
            paint = paint.or(paint_of(&word));
        }
    }
    Some(Wanted { kind: kind?, paint: paint? })
}

fn place_of(scene: &Scene, wanted: Wanted) -> Option<usize> {
    scene.objects.iter().position(|placed| placed.kind() == wanted.kind && placed.paint == wanted.paint)
}

/// The first scene from `seed` on that is about `wanted`: it is the scene's target, so that an
/// object of its shape and one of its colour stand beside it. (No scene is about a bowl: for one of
/// those, the first scene that has it.) With nothing wanted, the scene of `seed` itself.
///
/// # Errors
/// When none of 4096 scenes will do.
pub fn scene_with(wanted: Option<Wanted>, seed: u64) -> Result<Scene> {
    let Some(wanted) = wanted else { return Ok(Scene::pick(seed)) };
    for seed in seed..seed.saturating_add(SEEDS) {
        let mut scene = Scene::pick(seed);
        match place_of(&scene, wanted) {
            Some(place) if place == scene.target || wanted.kind == Kind::Bowl => {
                scene.target = place;
                return Ok(scene);
            }
            _ => {}
        }
    }
    bail!(
        "no scene of the seeds {seed} to {} has a {} {}",
        seed.saturating_add(SEEDS),
        wanted.paint.name(),
        wanted.kind.name()
    )
}

/// The first scene from `seed` on that lacks `wanted`, to see what a policy says to that.
///
/// # Errors
/// When each of 4096 scenes has it.
pub fn scene_without(wanted: Wanted, seed: u64) -> Result<Scene> {
    for seed in seed..seed.saturating_add(SEEDS) {
        let scene = Scene::pick(seed);
        if place_of(&scene, wanted).is_none() {
            return Ok(scene);
        }
    }
    bail!(
        "every scene of the seeds {seed} to {} has a {} {}",
        seed.saturating_add(SEEDS),
        wanted.paint.name(),
        wanted.kind.name()
    )
}

/// The table in words: "red mug, blue mug, red cube".
#[must_use]
pub fn contents(scene: &Scene) -> String {
    let names: Vec<String> =
        scene.objects.iter().map(|o| format!("{} {}", o.paint.name(), o.kind().name())).collect();
    names.join(", ")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests fail by panicking")]
    use super::*;
    use crate::translate;
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;
    use reflexarc_vla_model::phrasing::{Split, canonical, phrase_pick};

    #[test]
    fn whatever_the_phrasing_the_table_has_what_it_asks_for() {
        let mut rng = ChaCha8Rng::seed_from_u64(5);
        for round in 0..400 {
            let kind = Kind::ALL[round % 3];
            let paint = Paint::ALL[round / 3 % 8];
            let split = if round % 2 == 0 { Split::Train } else { Split::HeldOut };
            let phrase = phrase_pick(&mut rng, split, translate::color(paint), translate::object(kind));
            assert_eq!(wanted(&phrase.text), Some(Wanted { kind, paint }), "{}", phrase.text);
        }
    }

    #[test]
    fn every_object_has_its_scene_and_can_be_left_out() {
        for kind in Kind::ALL {
            for paint in Paint::ALL {
                let want = wanted(&canonical(translate::color(paint), translate::object(kind))).unwrap();
                let scene = scene_with(Some(want), 1).unwrap();
                assert_eq!((scene.target().kind(), scene.target().paint), (kind, paint));
                assert!(scene.objects.len() >= 3);
                assert_eq!(place_of(&scene_without(want, 1).unwrap(), want), None);
            }
        }
    }

    #[test]
    fn nothing_named_means_any_scene() {
        for text in ["", "sing me a song", "pick up the mug", "pick up something red", "kubek 杯子"] {
            assert_eq!(wanted(text), None, "{text}");
        }
        assert_eq!(scene_with(None, 7).unwrap().seed, 7);
        assert_eq!(contents(&scene_with(None, 7).unwrap()), contents(&Scene::pick(7)));
    }
}
