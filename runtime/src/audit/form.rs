//! The grammar as two flat forms.
//!
//! Every sequence that the grammar allows has one of a few shapes, in which each place takes a run of
//! consecutive token ids. So whether sixteen tokens obey the grammar is sixteen comparisons with two numbers
//! each, all in two cache lines, and no state is carried from token to token. The forms are read off the
//! grammar's own automaton when the audit is made; where they say no, the automaton says why.
//!
//! What the decision claims is then held against its tokens, place by place: what agrees is what it means.

use reflexarc_vla_model::decision::{Decision, Goal, Infeasible, Subtask, ToolTarget, Verdict};
use reflexarc_vla_model::grammar::{Grammar, SEQUENCE_MAX};
use reflexarc_vla_model::number::{Axis, NUMBER_BINS};
use reflexarc_vla_model::token::Token;

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
    pub(super) subtask: Subtask,
    pub(super) target: ToolTarget,
    pub(super) pixel_uv: [f32; 2],
    /// Bins of x, y, z and yaw.
    pub(super) pose: [u8; 4],
}

/// What the bins of every axis stand for, in the order of [`Axis::ALL`].
#[derive(Clone, Copy, Debug)]
struct Scale {
    low: [f64; Axis::ALL.len()],
    range: [f64; Axis::ALL.len()],
}

/// The grammar's forms: the longer one acts, the shorter one says why it cannot.
#[derive(Clone, Copy, Debug)]
pub(super) struct Forms {
    act: Form,
    infeasible: Form,
    scale: Scale,
}

impl Forms {
    /// Reads the forms off the grammar.
    pub(super) fn new() -> Self {
        let ranges = Axis::ALL.map(Axis::range);
        let scale = Scale { low: ranges.map(|(low, _)| low), range: ranges.map(|(low, high)| high - low) };
        Self { act: form(Token::PICK), infeasible: form(Token::INFEASIBLE), scale }
    }

    /// Grammar and meaning of a decision at once. At most [`SEQUENCE_MAX`] comparisons.
    #[inline]
    pub(super) fn read(&self, decision: &Decision, asked_ns: u64) -> Option<Reading> {
        let reading = match <&[Token; SEQUENCE_MAX]>::try_from(decision.tokens.as_slice()) {
            Ok(tokens) if self.act.takes(tokens) => self.act(tokens, &decision.verdict),
            _ => self.infeasible(&decision.tokens, &decision.verdict),
        };
        let in_order = decision.confidence.is_finite() & (decision.observation_ns == asked_ns);
        reading.filter(|_| in_order)
    }

    /// What the verdict claims, if the tokens say the same.
    #[inline]
    fn act(&self, tokens: &[Token; SEQUENCE_MAX], verdict: &Verdict) -> Option<Reading> {
        let Verdict::Act { plan, subtask, target, pixel_uv } = verdict else {
            return None;
        };
        let [Goal::Pick { color, object }] = plan.as_slice() else {
            return None;
        };
        let offset = |place: usize| tokens[place].id().wrapping_sub(self.act.low[place]);
        let words = [(COLOR, color.index()), (OBJECT, object.index()), (SUBTASK, subtask.index())];
        let said = [
            f64::from(pixel_uv[0]),
            f64::from(pixel_uv[1]),
            target.position_m[0],
            target.position_m[1],
            target.position_m[2],
            target.yaw_rad,
            target.gripper_width_m,
            target.gripper_force_n,
        ];
        let bins: [u16; Axis::ALL.len()] =
            std::array::from_fn(|axis| offset(if axis < 2 { LOOK_U + axis } else { X - 2 + axis }));
        // The centres of the bins, in the order of operations of `number::decode`: the same to the last bit.
        let read: [f64; Axis::ALL.len()] = std::array::from_fn(|axis| {
            let share = (f64::from(bins[axis]) + 0.5) / NUMBER_BINS as f64;
            let value = self.scale.low[axis] + share * self.scale.range[axis];
            if axis < 2 { f64::from(value as f32) } else { value }
        });
        let same =
            words.iter().fold(true, |all, (place, index)| all & (usize::from(offset(*place)) == *index))
                & said.iter().zip(&read).fold(true, |all, (said, read)| all & (said == read));
        // Bins are below 128.
        let pose = std::array::from_fn(|i| bins[2 + i] as u8);
        same.then_some(Reading::Act(Act { subtask: *subtask, target: *target, pixel_uv: *pixel_uv, pose }))
    }

    #[inline(never)]
    fn infeasible(&self, tokens: &[Token], verdict: &Verdict) -> Option<Reading> {
        if !self.infeasible.takes(tokens) {
            return None;
        }
        let said = tokens[REASON].id() - self.infeasible.low[REASON];
        match verdict {
            Verdict::Infeasible(reason) if reason.index() == usize::from(said) => {
                Some(Reading::Infeasible(*reason))
            }
            _ => None,
        }
    }
}

impl Form {
    #[inline]
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

/// Why a decision has no reading: its tokens break the grammar, it does not say what they say, or it answers
/// something else.
pub(super) fn unreadable(decision: &Decision, asked_ns: u64) -> Refusal {
    let mut grammar = Grammar::new();
    for (place, token) in decision.tokens.iter().enumerate() {
        match grammar.next(*token) {
            Some(next) => grammar = next,
            None => {
                let found = f64::from(token.id());
                return Refusal { token: Some(*token), ..Refusal::new(Rule::Grammar, place, found, 0.0) };
            }
        }
    }
    if !grammar.is_complete() {
        return Refusal::new(Rule::Truncated, decision.tokens.len(), 0.0, 0.0);
    }
    let mut numbers = vec![f64::from(decision.confidence)];
    if let Verdict::Act { plan, target, pixel_uv: [u, v], .. } = &decision.verdict {
        numbers.extend([f64::from(*u), f64::from(*v), target.yaw_rad]);
        numbers.extend(target.position_m);
        numbers.extend([target.gripper_width_m, target.gripper_force_n]);
        if plan.is_empty() {
            return Refusal::new(Rule::EmptyPlan, 0, 0.0, 1.0);
        }
    }
    if let Some(number) = numbers.into_iter().find(|number| !number.is_finite()) {
        return Refusal::new(Rule::NonFinite, 0, number, 0.0);
    }
    if decision.observation_ns == asked_ns {
        Refusal::new(Rule::Meaning, 0, 0.0, 0.0)
    } else {
        Refusal::new(Rule::Time, 0, decision.observation_ns as f64, asked_ns as f64)
    }
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
        Forms::new().read(&decision, 3).ok_or_else(|| unreadable(&decision, 3))
    }

    /// What the grammar itself makes of the tokens must be what the forms make of them.
    fn agree(tokens: &[Token]) -> Result<(), TestCaseError> {
        match parse(tokens) {
            Ok(verdict) => {
                let reading = read(tokens, verdict.clone());
                prop_assert!(reading.is_ok(), "{reading:?}");
                match (reading.unwrap(), verdict) {
                    (Reading::Act(act), Verdict::Act { plan, subtask, target, pixel_uv }) => {
                        prop_assert_eq!(plan.len(), 1);
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

    /// The tokens are in order, and the decision claims another goal or subtask than they say.
    #[test]
    fn a_claim_that_its_tokens_do_not_make_is_refused() {
        let tokens =
            tokens_from_text("PLAN pick red mug LOOK u31 v40 DO reach x64 y12 z20 r64 w127 f20 END").unwrap();
        for other in [
            "PLAN pick blue mug LOOK u31 v40 DO reach x64 y12 z20 r64 w127 f20 END",
            "PLAN pick red cube LOOK u31 v40 DO reach x64 y12 z20 r64 w127 f20 END",
            "PLAN pick red mug LOOK u31 v40 DO lift x64 y12 z20 r64 w127 f20 END",
            "PLAN pick red mug LOOK u32 v40 DO reach x64 y12 z20 r64 w127 f20 END",
            "PLAN infeasible absent END",
        ] {
            let claimed = parse(&tokens_from_text(other).unwrap()).unwrap();
            assert_eq!(read(&tokens, claimed).unwrap_err().rule, Rule::Meaning, "{other}");
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
