//! What a run says about its failsafe.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::action::Action;
use super::cause::Cause;
use super::machine::{Standing, Transition};
use crate::spine::Spine;

/// Transitions kept for the report; later ones are counted only.
const KEPT: usize = 256;

/// Counts what the failsafe did, tick by tick.
#[derive(Clone, Debug, Default)]
pub struct Book {
    /// What stands now.
    pub standing: Standing,
    /// Ticks by action, in the order of [`Action::ALL`].
    pub actions: [u64; Action::ALL.len()],
    /// How often each cause became the one that decides, in the order of [`Cause::ALL`].
    pub causes: [u64; Cause::COUNT],
    /// All transitions.
    pub count: u64,
    /// The first transitions.
    pub transitions: Vec<Transition>,
}

impl Book {
    /// Books one tick.
    pub fn tick(&mut self, standing: Standing, transition: Option<Transition>) {
        self.standing = standing;
        self.actions[standing.action as usize] += 1;
        let Some(transition) = transition else { return };
        self.count += 1;
        if let Some(cause) = transition.to.cause {
            self.causes[cause as usize] += 1;
        }
        if self.transitions.len() < KEPT {
            self.transitions.push(transition);
        }
    }
}

/// What the failsafe did in a run.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct FailsafeReport {
    /// Ticks by action; those that never stood are absent.
    pub actions: BTreeMap<String, u64>,
    /// How often each cause became the one that decides; those that never did are absent.
    pub causes: BTreeMap<String, u64>,
    /// All transitions.
    pub transition_count: u64,
    /// The first 256 of them.
    pub transitions: Vec<Transition>,
    /// Stops latched.
    pub stops: u64,
    /// Resets refused because the cause lasted or nothing was latched.
    pub resets_refused: u64,
    /// Slips felt.
    pub slips: u64,
    /// Ticks in which a pad felt more than its limit.
    pub pressed_ticks: u64,
    /// From the tick that names a stop to rest, at the most, ms.
    pub promised_stop_ms: f64,
}

impl FailsafeReport {
    /// From the book and the spine at the end of a run, or in its midst.
    #[must_use]
    pub fn new(book: &Book, spine: &Spine) -> Self {
        let (stops, resets_refused) = spine.stops();
        let touch = spine.touch_counts();
        let named = |names: &mut dyn Iterator<Item = (&'static str, u64)>| {
            names.filter(|(_, count)| *count > 0).map(|(name, count)| (name.to_owned(), count)).collect()
        };
        Self {
            actions: named(&mut Action::ALL.iter().map(|action| action.name()).zip(book.actions)),
            causes: named(&mut Cause::ALL.iter().map(|cause| cause.name()).zip(book.causes)),
            transition_count: book.count,
            transitions: book.transitions.clone(),
            stops,
            resets_refused,
            slips: touch.slips,
            pressed_ticks: touch.pressed_ticks,
            promised_stop_ms: spine.promise().stop_ns() as f64 / 1e6,
        }
    }
}
