//! What a decision means, if its tokens obey the grammar and it claims nothing else than they say.

use reflexarc_vla_model::decision::{Decision, Infeasible, Subtask, ToolTarget, Verdict};
use reflexarc_vla_model::grammar::parse;

use super::event::{Refusal, Rule};

/// Places of the tokens that carry meaning; a test compares them with the grammar.
pub(super) const COLOR: usize = 2;
pub(super) const OBJECT: usize = 3;
pub(super) const LOOK_U: usize = 5;
pub(super) const SUBTASK: usize = 8;
pub(super) const X: usize = 9;
pub(super) const Z: usize = 11;
pub(super) const WIDTH: usize = 13;
pub(super) const FORCE: usize = 14;

/// What a sequence means, without its plan.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Reading {
    Infeasible(Infeasible),
    Act(Act),
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Act {
    pub(super) subtask: Subtask,
    pub(super) target: ToolTarget,
    pub(super) pixel_uv: [f32; 2],
    /// Bins of x, y, z and yaw.
    pub(super) pose: [u8; 4],
}

/// Reads a decision that answers the observation made at `asked_ns`.
///
/// # Errors
/// A [`Refusal`] if its tokens break the grammar, if it does not say what they say, or if it answers something
/// else.
pub(super) fn read(decision: &Decision, asked_ns: u64) -> Result<Reading, Refusal> {
    let said = parse(&decision.tokens).map_err(|error| match error.found {
        Some(token) => {
            let found = f64::from(token.id());
            Refusal { token: Some(token), ..Refusal::new(Rule::Grammar, error.position, found, 0.0) }
        }
        None => Refusal::new(Rule::Truncated, error.position, 0.0, 0.0),
    })?;
    let mut numbers = vec![f64::from(decision.confidence)];
    if let Verdict::Act { plan, target, pixel_uv: [u, v], .. } = &decision.verdict {
        numbers.extend([f64::from(*u), f64::from(*v), target.yaw_rad]);
        numbers.extend(target.position_m);
        numbers.extend([target.gripper_width_m, target.gripper_force_n]);
        if plan.is_empty() {
            return Err(Refusal::new(Rule::EmptyPlan, 0, 0.0, 1.0));
        }
    }
    if let Some(number) = numbers.into_iter().find(|number| !number.is_finite()) {
        return Err(Refusal::new(Rule::NonFinite, 0, number, 0.0));
    }
    if decision.observation_ns != asked_ns {
        return Err(Refusal::new(Rule::Time, 0, decision.observation_ns as f64, asked_ns as f64));
    }
    if decision.verdict != said {
        return Err(Refusal::new(Rule::Meaning, 0, 0.0, 0.0));
    }
    Ok(match said {
        Verdict::Infeasible(reason) => Reading::Infeasible(reason),
        Verdict::Act { subtask, target, pixel_uv, .. } => {
            // Bins are below 128.
            let bin =
                |place: usize| decision.tokens.get(place).and_then(|token| token.bin()).unwrap_or(0) as u8;
            Reading::Act(Act { subtask, target, pixel_uv, pose: std::array::from_fn(|i| bin(X + i)) })
        }
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests fail by panicking")]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use reflexarc_vla_model::grammar::SEQUENCE_MAX;
    use reflexarc_vla_model::number::{Axis, NUMBER_BINS, decode};
    use reflexarc_vla_model::token::{Token, VOCABULARY_SIZE, tokens_from_text};

    const ACT: &str = "PLAN pick red mug LOOK u31 v40 DO reach x64 y12 z20 r65 w127 f21 END";

    fn refusal(tokens: &[Token], claimed: &str) -> Option<Refusal> {
        let verdict = parse(&tokens_from_text(claimed).unwrap()).unwrap();
        let decision = Decision { tokens: tokens.to_vec(), verdict, confidence: 0.5, observation_ns: 3 };
        read(&decision, 3).err()
    }

    #[test]
    fn the_places_are_those_of_the_grammar() {
        let tokens = tokens_from_text(ACT).unwrap();
        for (place, text) in [
            (COLOR, "red"),
            (LOOK_U, "u31"),
            (SUBTASK, "reach"),
            (X, "x64"),
            (Z, "z20"),
            (WIDTH, "w127"),
            (FORCE, "f21"),
        ] {
            assert_eq!(ACT.split(' ').nth(place), Some(text));
        }
        let decision =
            Decision { verdict: parse(&tokens).unwrap(), tokens, confidence: 0.5, observation_ns: 3 };
        let Ok(Reading::Act(act)) = read(&decision, 3) else { unreachable!() };
        assert_eq!((act.subtask, act.pose), (Subtask::Reach, [64, 12, 20, 65]));
        assert_eq!(act.target.position_m[2], decode(Axis::Z, 20));
        assert!(act.pose.iter().all(|bin| usize::from(*bin) < NUMBER_BINS));
    }

    #[test]
    fn a_claim_that_its_tokens_do_not_make_is_refused() {
        let tokens = tokens_from_text(ACT).unwrap();
        assert_eq!(refusal(&tokens, ACT), None);
        for other in [
            ACT.replace("red", "blue"),
            ACT.replace("mug", "cube"),
            ACT.replace("reach", "lift"),
            ACT.replace("u31", "u32"),
            ACT.replace("f21", "f20"),
            "PLAN infeasible absent END".to_owned(),
        ] {
            assert_eq!(refusal(&tokens, &other).unwrap().rule, Rule::Meaning, "{other}");
        }
    }

    proptest! {
        #[test]
        fn where_the_grammar_is_broken_is_said(
            tokens in prop::collection::vec((0..VOCABULARY_SIZE as u16).prop_map(|id| Token::new(id).unwrap()), 0..20),
            kept in 0..=SEQUENCE_MAX,
        ) {
            let mut all = tokens_from_text(ACT).unwrap();
            all.truncate(kept);
            all.extend(tokens);
            if let Err(error) = parse(&all) {
                let refusal = refusal(&all, ACT).unwrap();
                prop_assert_eq!(usize::from(refusal.place), error.position);
                prop_assert_eq!(refusal.token, error.found);
                let rule = if error.found.is_some() { Rule::Grammar } else { Rule::Truncated };
                prop_assert_eq!(refusal.rule, rule);
            }
        }
    }
}
