//! The grammar as two flat forms.
//!
//! Every sequence that the grammar allows has one of a few shapes, in which each place takes a run of
//! consecutive token ids. So whether sixteen tokens obey the grammar is sixteen comparisons with two numbers
//! each, all in two cache lines, and no state is carried from token to token. The forms are read off the
//! grammar's own automaton when the audit is made; where they say no, the automaton says why.

use reflexarc_vla_model::decision::{Decision, Goal, Infeasible, Subtask, ToolTarget, Verdict};
use reflexarc_vla_model::grammar::{Grammar, SEQUENCE_MAX};
use reflexarc_vla_model::number::{self, Axis};
use reflexarc_vla_model::token::{Token, TokenKind};

use super::event::{Refusal, Rule};

/// Places of the tokens that carry meaning; a test compares them with the grammar.
const REASON: usize = 2;
const COLOR: usize = 2;
const OBJECT: usize = 3;
pub(super) const LOOK_U: usize = 5;
pub(super) const SUBTASK: usize = 8;
pub(super) const X: usize = 9;
pub(super) const Z: usize = 11;
pub(super) const WIDTH: usize = 13;
pub(super) const FORCE: usize = 14;

/// One shape of a sequence: at each place a run of token ids.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Form {
    low: [u16; SEQUENCE_MAX],
    span: [u16; SEQUENCE_MAX],
    len: usize,
}

/// What a sequence means, without a plan on the heap.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Reading {
    Infeasible(Infeasible),
    Act(Act),
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Act {
    pub(super) goal: Goal,
    pub(super) subtask: Subtask,
    pub(super) target: ToolTarget,
    pub(super) pixel_uv: [f32; 2],
    /// Bins of x, y, z and yaw.
    pub(super) pose: [u8; 4],
}

/// The grammar's forms: the longer one acts, the shorter one says why it cannot.
#[derive(Clone, Copy, Debug)]
pub(super) struct Forms {
    act: Form,
    infeasible: Form,
}

impl Forms {
    /// Reads the forms off the grammar.
    pub(super) fn new() -> Self {
        Self { act: form(Token::PICK), infeasible: form(Token::INFEASIBLE) }
    }

    /// Grammar and meaning of a decision at once. At most [`SEQUENCE_MAX`] comparisons when it is in order.
    pub(super) fn read(&self, decision: &Decision, asked_ns: u64) -> Result<Reading, Refusal> {
        let tokens = decision.tokens.as_slice();
        let reading = match <&[Token; SEQUENCE_MAX]>::try_from(tokens) {
            Ok(tokens) if self.act.takes(tokens) => act(tokens),
            _ if self.infeasible.takes(tokens) => match tokens[REASON].kind() {
                TokenKind::Reason(reason) => Some(Reading::Infeasible(reason)),
                _ => None,
            },
            _ => None,
        };
        let reading = reading.ok_or_else(|| ungrammatical(tokens))?;
        let same = match (&reading, &decision.verdict) {
            (Reading::Infeasible(read), Verdict::Infeasible(said)) => read == said,
            (Reading::Act(read), Verdict::Act { plan, subtask, target, pixel_uv }) => {
                plan.as_slice() == [read.goal]
                    && *subtask == read.subtask
                    && *target == read.target
                    && *pixel_uv == read.pixel_uv
            }
            _ => false,
        };
        if !(same && decision.confidence.is_finite()) {
            return Err(misread(decision));
        }
        if decision.observation_ns != asked_ns {
            return Err(Refusal::new(Rule::Time, 0, decision.observation_ns as f64, asked_ns as f64));
        }
        Ok(reading)
    }
}

impl Form {
    fn takes(&self, tokens: &[Token]) -> bool {
        tokens.len() == self.len
            && tokens
                .iter()
                .zip(self.low.iter().zip(&self.span))
                .fold(true, |all, (token, (low, span))| all & (token.id().wrapping_sub(*low) < *span))
    }
}

/// The form of the sequences whose second token is `action`.
fn form(action: Token) -> Form {
    let mut form = Form { low: [0; SEQUENCE_MAX], span: [0; SEQUENCE_MAX], len: 0 };
    let mut grammar = Grammar::new();
    while !grammar.is_complete() && form.len < SEQUENCE_MAX {
        let allowed = grammar.expected();
        let first = if allowed.contains(action) { Some(action) } else { allowed.iter().next() };
        let Some((first, next)) = first.and_then(|first| Some((first, grammar.next(first)?))) else {
            break;
        };
        // Only ids that lead the same way belong to the form; were they not consecutive, it would refuse
        // more than the grammar, never less.
        let run =
            Token::all().skip(first.index()).take_while(|token| grammar.next(*token) == Some(next)).count();
        form.low[form.len] = first.id();
        form.span[form.len] = u16::try_from(run).unwrap_or(0);
        form.len += 1;
        grammar = next;
    }
    form
}

fn act(tokens: &[Token; SEQUENCE_MAX]) -> Option<Reading> {
    let (TokenKind::Color(color), TokenKind::Object(object), TokenKind::Subtask(subtask)) =
        (tokens[COLOR].kind(), tokens[OBJECT].kind(), tokens[SUBTASK].kind())
    else {
        return None;
    };
    let bin = |place: usize| tokens[place].bin().unwrap_or(0);
    let value = |axis: Axis, place: usize| number::decode(axis, bin(place));
    Some(Reading::Act(Act {
        goal: Goal::Pick { color, object },
        subtask,
        target: ToolTarget {
            position_m: [value(Axis::X, X), value(Axis::Y, X + 1), value(Axis::Z, Z)],
            yaw_rad: value(Axis::Yaw, Z + 1),
            gripper_width_m: value(Axis::Width, WIDTH),
            gripper_force_n: value(Axis::Force, FORCE),
        },
        pixel_uv: [value(Axis::U, LOOK_U) as f32, value(Axis::V, LOOK_U + 1) as f32],
        // Bins are below 128.
        pose: std::array::from_fn(|i| bin(X + i) as u8),
    }))
}

/// Where the sequence breaks the grammar.
#[cold]
fn ungrammatical(tokens: &[Token]) -> Refusal {
    let mut grammar = Grammar::new();
    for (place, token) in tokens.iter().enumerate() {
        match grammar.next(*token) {
            Some(next) => grammar = next,
            None => {
                let found = f64::from(token.id());
                return Refusal { token: Some(*token), ..Refusal::new(Rule::Grammar, place, found, 0.0) };
            }
        }
    }
    Refusal::new(Rule::Truncated, tokens.len(), 0.0, 0.0)
}

/// Why a decision whose tokens are in order does not say what they say.
#[cold]
fn misread(decision: &Decision) -> Refusal {
    if let Verdict::Act { plan, target, pixel_uv: [u, v], .. } = &decision.verdict {
        let [x, y, z] = target.position_m;
        let gripper = [target.gripper_width_m, target.gripper_force_n];
        let numbers = [f64::from(*u), f64::from(*v), x, y, z, target.yaw_rad];
        if let Some(number) = numbers.into_iter().chain(gripper).find(|number| !number.is_finite()) {
            return Refusal::new(Rule::NonFinite, 0, number, 0.0);
        }
        if plan.is_empty() {
            return Refusal::new(Rule::EmptyPlan, 0, 0.0, 1.0);
        }
    }
    if !decision.confidence.is_finite() {
        return Refusal::new(Rule::NonFinite, 0, f64::from(decision.confidence), 0.0);
    }
    Refusal::new(Rule::Meaning, 0, 0.0, 0.0)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests fail by panicking")]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use reflexarc_vla_model::grammar::parse;
    use reflexarc_vla_model::token::{VOCABULARY_SIZE, tokens_from_text};

    fn read(tokens: &[Token], verdict: Verdict) -> Result<Reading, Refusal> {
        let decision = Decision { tokens: tokens.to_vec(), verdict, confidence: 0.5, observation_ns: 3 };
        Forms::new().read(&decision, 3)
    }

    /// What the grammar itself makes of the tokens must be what the forms make of them.
    fn agree(tokens: &[Token]) -> Result<(), TestCaseError> {
        match parse(tokens) {
            Ok(verdict) => {
                let reading = read(tokens, verdict.clone());
                prop_assert!(reading.is_ok(), "{reading:?}");
                match (reading.unwrap(), verdict) {
                    (Reading::Act(act), Verdict::Act { plan, subtask, target, pixel_uv }) => {
                        prop_assert_eq!(plan, vec![act.goal]);
                        prop_assert_eq!((subtask, target, pixel_uv), (act.subtask, act.target, act.pixel_uv));
                    }
                    (Reading::Infeasible(read), Verdict::Infeasible(said)) => prop_assert_eq!(read, said),
                    (reading, verdict) => prop_assert!(false, "{reading:?} is not {verdict:?}"),
                }
            }
            Err(error) => {
                let refusal = read(tokens, Verdict::Infeasible(Infeasible::Absent)).unwrap_err();
                prop_assert_eq!(usize::from(refusal.place), error.position);
                prop_assert_eq!(refusal.token, error.found);
                let rule = if error.found.is_some() { Rule::Grammar } else { Rule::Truncated };
                prop_assert_eq!(refusal.rule, rule);
            }
        }
        Ok(())
    }

    fn any_token() -> impl Strategy<Value = Token> {
        (0..VOCABULARY_SIZE as u16).prop_map(|id| Token::new(id).unwrap())
    }

    proptest! {
        #[test]
        fn any_sequence_is_judged_as_the_grammar_judges_it(
            tokens in prop::collection::vec(any_token(), 0..=SEQUENCE_MAX + 2),
        ) {
            agree(&tokens)?;
        }

        #[test]
        fn sequences_near_the_grammar_too(
            infeasible in any::<bool>(),
            changes in prop::collection::vec((0..SEQUENCE_MAX, any_token()), 0..4),
            len in 0..=SEQUENCE_MAX,
            whole in any::<bool>(),
        ) {
            let text = if infeasible {
                "PLAN infeasible absent END"
            } else {
                "PLAN pick red mug LOOK u31 v40 DO reach x64 y12 z20 r64 w127 f20 END"
            };
            let mut tokens = tokens_from_text(text).unwrap();
            for (place, token) in changes {
                if let Some(at) = tokens.get_mut(place) {
                    *at = token;
                }
            }
            if !whole {
                tokens.truncate(len);
            }
            agree(&tokens)?;
        }
    }

    #[test]
    fn each_place_alone_takes_exactly_what_the_grammar_takes() {
        for text in [
            "PLAN pick red mug LOOK u31 v40 DO reach x64 y12 z20 r64 w127 f20 END",
            "PLAN infeasible absent END",
        ] {
            let tokens = tokens_from_text(text).unwrap();
            for place in 0..tokens.len() {
                for token in Token::all() {
                    let mut changed = tokens.clone();
                    changed[place] = token;
                    agree(&changed).unwrap();
                }
            }
        }
    }
}
