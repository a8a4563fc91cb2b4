//! The grammar of decisions: which token may follow which, and what a whole sequence means.
//!
//! ```text
//! PLAN ─┬─ PICK color object LOOK u v DO subtask x y z yaw width force ─┬─ END
//!       └─ INFEASIBLE reason ────────────────────────────────────────────┘
//! ```
//!
//! The model fills twelve slots in one pass; the grammar supplies the structure words between
//! them and forbids everything that has no meaning at its place. So whatever the model outputs,
//! what is decoded can be parsed, and each token can be checked before it means anything.
//! All functions do a bounded amount of work: at most [`SEQUENCE_MAX`] steps.

use std::fmt;

use crate::decision::{Color, Decision, Goal, Infeasible, Object, Subtask, ToolTarget, Verdict};
use crate::number::{self, Axis, NumberError};
use crate::token::{Token, TokenKind, VOCABULARY_SIZE};

/// Tokens in the longest sequence.
pub const SEQUENCE_MAX: usize = 16;
/// How many slots the model fills.
pub const SLOT_COUNT: usize = 12;
/// Numbers in the model's output: [`SLOT_COUNT`] × [`VOCABULARY_SIZE`], row by row.
pub const LOGITS_LEN: usize = SLOT_COUNT * VOCABULARY_SIZE;

/// Bins beside the chosen one that count as agreeing with it in the confidence: neighbouring bins
/// differ by a few millimetres, and a model that hesitates between them is not unsure.
const AGREEING_BINS: usize = 2;

const WORDS: usize = VOCABULARY_SIZE.div_ceil(64);

/// A set of tokens, as a bit set.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct TokenSet([u64; WORDS]);

impl TokenSet {
    /// The set without members.
    pub const EMPTY: Self = Self([0; WORDS]);

    /// Adds a token.
    pub const fn insert(&mut self, token: Token) {
        self.0[token.index() / 64] |= 1 << (token.index() % 64);
    }

    /// Whether the token is in the set.
    #[must_use]
    pub const fn contains(self, token: Token) -> bool {
        self.0[token.index() / 64] >> (token.index() % 64) & 1 == 1
    }

    /// How many tokens the set has.
    #[must_use]
    pub fn len(self) -> usize {
        self.0.iter().map(|word| word.count_ones() as usize).sum()
    }

    /// Whether the set has no tokens.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self == Self::EMPTY
    }

    /// The tokens in the order of ids.
    pub fn iter(self) -> impl Iterator<Item = Token> {
        Token::all().filter(move |token| self.contains(*token))
    }
}

impl FromIterator<Token> for TokenSet {
    fn from_iter<I: IntoIterator<Item = Token>>(tokens: I) -> Self {
        let mut set = Self::EMPTY;
        tokens.into_iter().for_each(|token| set.insert(token));
        set
    }
}

impl fmt::Debug for TokenSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{{{self}}}")
    }
}

impl fmt::Display for TokenSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_empty() {
            return f.write_str("nothing");
        }
        let mut separator = "";
        for token in self.iter().filter(|token| token.bin().is_none()) {
            write!(f, "{separator}{token}")?;
            separator = ", ";
        }
        if self.iter().any(|token| token.bin().is_some()) {
            write!(f, "{separator}a number")?;
        }
        Ok(())
    }
}

/// One of the twelve places that the model fills, in the order of its output.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Slot {
    /// What to do, or that nothing can be done.
    Action,
    /// The target's colour; the reason when nothing can be done.
    ColorOrReason,
    /// The target's kind.
    Object,
    /// The subtask.
    Subtask,
    /// A number.
    Number(Axis),
}

/// The slots in the order of the model's output.
pub const SLOTS: [Slot; SLOT_COUNT] = [
    Slot::Action,
    Slot::ColorOrReason,
    Slot::Object,
    Slot::Number(Axis::U),
    Slot::Number(Axis::V),
    Slot::Subtask,
    Slot::Number(Axis::X),
    Slot::Number(Axis::Y),
    Slot::Number(Axis::Z),
    Slot::Number(Axis::Yaw),
    Slot::Number(Axis::Width),
    Slot::Number(Axis::Force),
];

impl Slot {
    /// Row of the slot in the model's output.
    #[must_use]
    pub const fn row(self) -> usize {
        match self {
            Self::Action => 0,
            Self::ColorOrReason => 1,
            Self::Object => 2,
            Self::Number(Axis::U) => 3,
            Self::Number(Axis::V) => 4,
            Self::Subtask => 5,
            Self::Number(Axis::X) => 6,
            Self::Number(Axis::Y) => 7,
            Self::Number(Axis::Z) => 8,
            Self::Number(Axis::Yaw) => 9,
            Self::Number(Axis::Width) => 10,
            Self::Number(Axis::Force) => 11,
        }
    }

    /// Every token that some sequence has in this slot. Training may mask all others out.
    #[must_use]
    pub fn tokens(self) -> TokenSet {
        match self {
            Self::Action => State::Action.allowed(),
            Self::ColorOrReason => {
                State::Color.allowed().iter().chain(State::Reason.allowed().iter()).collect()
            }
            Self::Object => State::Object.allowed(),
            Self::Subtask => State::Subtask.allowed(),
            Self::Number(axis) => State::Number(axis).allowed(),
        }
    }
}

/// What the grammar waits for. See the diagram at the head of this module.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Plan,
    Action,
    Reason,
    Color,
    Object,
    Look,
    Do,
    Subtask,
    Number(Axis),
    End,
    Complete,
}

impl State {
    fn allowed(self) -> TokenSet {
        match self {
            Self::Plan => [Token::PLAN].into_iter().collect(),
            Self::Action => [Token::PICK, Token::INFEASIBLE].into_iter().collect(),
            Self::Reason => Infeasible::ALL.iter().copied().map(Token::reason).collect(),
            Self::Color => Color::ALL.iter().copied().map(Token::color).collect(),
            Self::Object => Object::ALL.iter().copied().map(Token::object).collect(),
            Self::Look => [Token::LOOK].into_iter().collect(),
            Self::Do => [Token::DO].into_iter().collect(),
            Self::Subtask => Subtask::ALL.iter().copied().map(Token::subtask).collect(),
            Self::Number(_) => (0..number::NUMBER_BINS).map(Token::number).collect(),
            Self::End => [Token::END].into_iter().collect(),
            Self::Complete => TokenSet::EMPTY,
        }
    }

    /// The one transition function; `None` where the token has no meaning in this state.
    fn next(self, token: Token) -> Option<Self> {
        match (self, token.kind()) {
            (Self::Plan, TokenKind::Plan) => Some(Self::Action),
            (Self::Action, TokenKind::Pick) => Some(Self::Color),
            (Self::Action, TokenKind::Infeasible) => Some(Self::Reason),
            (Self::Reason, TokenKind::Reason(_)) => Some(Self::End),
            (Self::Color, TokenKind::Color(_)) => Some(Self::Object),
            (Self::Object, TokenKind::Object(_)) => Some(Self::Look),
            (Self::Look, TokenKind::Look) => Some(Self::Number(Axis::U)),
            (Self::Do, TokenKind::Do) => Some(Self::Subtask),
            (Self::Subtask, TokenKind::Subtask(_)) => Some(Self::Number(Axis::X)),
            (Self::Number(axis), TokenKind::Number(_)) => Some(match axis {
                Axis::U => Self::Number(Axis::V),
                Axis::V => Self::Do,
                Axis::X => Self::Number(Axis::Y),
                Axis::Y => Self::Number(Axis::Z),
                Axis::Z => Self::Number(Axis::Yaw),
                Axis::Yaw => Self::Number(Axis::Width),
                Axis::Width => Self::Number(Axis::Force),
                Axis::Force => Self::End,
            }),
            (Self::End, TokenKind::End) => Some(Self::Complete),
            _ => None,
        }
    }

    const fn slot(self) -> Option<Slot> {
        match self {
            Self::Action => Some(Slot::Action),
            Self::Reason | Self::Color => Some(Slot::ColorOrReason),
            Self::Object => Some(Slot::Object),
            Self::Subtask => Some(Slot::Subtask),
            Self::Number(axis) => Some(Slot::Number(axis)),
            Self::Plan | Self::Look | Self::Do | Self::End | Self::Complete => None,
        }
    }
}

/// The grammar as an automaton, standing at some place of a sequence. Copying it is free.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Grammar {
    state: State,
}

impl Default for Grammar {
    fn default() -> Self {
        Self::new()
    }
}

impl Grammar {
    /// The grammar before the first token.
    #[must_use]
    pub const fn new() -> Self {
        Self { state: State::Plan }
    }

    /// The grammar after a prefix.
    ///
    /// # Errors
    /// [`GrammarError`] at the first token that breaks it.
    pub fn after(prefix: &[Token]) -> Result<Self, GrammarError> {
        let mut grammar = Self::new();
        for (position, token) in prefix.iter().enumerate() {
            grammar = grammar.next(*token).ok_or_else(|| GrammarError {
                position,
                expected: grammar.expected(),
                found: Some(*token),
            })?;
        }
        Ok(grammar)
    }

    /// The tokens that may follow a prefix; none after a complete sequence or a broken one.
    #[must_use]
    pub fn allowed(prefix: &[Token]) -> TokenSet {
        Self::after(prefix).map_or(TokenSet::EMPTY, Self::expected)
    }

    /// The tokens that may come now.
    #[must_use]
    pub fn expected(self) -> TokenSet {
        self.state.allowed()
    }

    /// The grammar after one more token, or `None` when the token may not come now.
    #[must_use]
    pub fn next(self, token: Token) -> Option<Self> {
        self.state.next(token).map(|state| Self { state })
    }

    /// The slot of the model's output that decides the token to come; `None` where the grammar
    /// leaves no choice.
    #[must_use]
    pub const fn slot(self) -> Option<Slot> {
        self.state.slot()
    }

    /// What the token to come measures, when it is a number.
    #[must_use]
    pub const fn axis(self) -> Option<Axis> {
        match self.state {
            State::Number(axis) => Some(axis),
            _ => None,
        }
    }

    /// Whether the sequence is finished.
    #[must_use]
    pub const fn is_complete(self) -> bool {
        matches!(self.state, State::Complete)
    }
}

/// A token sequence that breaks the grammar.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("token {position}: expected {expected}, found {}", describe(*.found))]
pub struct GrammarError {
    /// Place of the fault, counted from 0.
    pub position: usize,
    /// What could have stood there.
    pub expected: TokenSet,
    /// What stood there; `None` when the sequence ended too early.
    pub found: Option<Token>,
}

fn describe(found: Option<Token>) -> String {
    found.map_or_else(|| "the end".to_owned(), |token| format!("`{token}`"))
}

/// Reads the meaning of a complete sequence.
///
/// # Errors
/// [`GrammarError`] at the first token that breaks the grammar, at a token after the end, or
/// where the sequence stops too early.
pub fn parse(tokens: &[Token]) -> Result<Verdict, GrammarError> {
    let mut reading = Reading::default();
    let mut grammar = Grammar::new();
    for (position, token) in tokens.iter().enumerate() {
        let next = grammar.next(*token).ok_or_else(|| GrammarError {
            position,
            expected: grammar.expected(),
            found: Some(*token),
        })?;
        reading.take(*token, grammar.axis());
        grammar = next;
    }
    // A complete sequence has filled every part of its branch, so only its end can be missing.
    reading.verdict().filter(|_| grammar.is_complete()).ok_or_else(|| GrammarError {
        position: tokens.len(),
        expected: grammar.expected(),
        found: None,
    })
}

#[derive(Default)]
struct Reading {
    reason: Option<Infeasible>,
    color: Option<Color>,
    object: Option<Object>,
    subtask: Option<Subtask>,
    values: [f64; Axis::ALL.len()],
}

impl Reading {
    fn take(&mut self, token: Token, axis: Option<Axis>) {
        match token.kind() {
            TokenKind::Reason(reason) => self.reason = Some(reason),
            TokenKind::Color(color) => self.color = Some(color),
            TokenKind::Object(object) => self.object = Some(object),
            TokenKind::Subtask(subtask) => self.subtask = Some(subtask),
            TokenKind::Number(bin) => {
                if let Some(axis) = axis {
                    self.values[axis as usize] = number::decode(axis, bin);
                }
            }
            TokenKind::Plan
            | TokenKind::Pick
            | TokenKind::Infeasible
            | TokenKind::Look
            | TokenKind::Do
            | TokenKind::End => {}
        }
    }

    fn verdict(self) -> Option<Verdict> {
        if let Some(reason) = self.reason {
            return Some(Verdict::Infeasible(reason));
        }
        let [u, v, x, y, z, yaw_rad, gripper_width_m, gripper_force_n] = self.values;
        Some(Verdict::Act {
            plan: vec![Goal::Pick { color: self.color?, object: self.object? }],
            subtask: self.subtask?,
            target: ToolTarget { position_m: [x, y, z], yaw_rad, gripper_width_m, gripper_force_n },
            pixel_uv: [u as f32, v as f32],
        })
    }
}

/// A model's output that cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
pub enum DecodeError {
    /// The output has another size than the slots and the vocabulary ask for.
    #[error("the model put out {actual} numbers, expected {expected}")]
    WrongLength {
        /// Always [`LOGITS_LEN`].
        expected: usize,
        /// Length that came.
        actual: usize,
    },
    /// The output has a NaN or an infinity.
    #[error("the model's output for slot {slot}, token {token}, is {value}")]
    NotFinite {
        /// Row of the output.
        slot: usize,
        /// Column of the output.
        token: usize,
        /// The value.
        value: f32,
    },
    /// The decoded sequence breaks the grammar; the masks rule this out.
    #[error("the decoded sequence breaks the grammar: {0}")]
    Grammar(#[from] GrammarError),
}

/// A token sequence decoded from a model's output.
#[derive(Clone, Debug, PartialEq)]
pub struct Decoded {
    /// The tokens; they obey the grammar.
    pub tokens: Vec<Token>,
    /// For each token its probability among those allowed at its place; 1 where there is no choice.
    pub probabilities: Vec<f32>,
    /// What the tokens mean.
    pub verdict: Verdict,
    /// The weakest choice, 0..=1: the least of the probabilities, where a number counts together
    /// with the two bins on either side of it.
    pub confidence: f32,
}

impl Decoded {
    /// The decision that answers the observation of that time.
    #[must_use]
    pub fn into_decision(self, observation_ns: u64) -> Decision {
        Decision { tokens: self.tokens, verdict: self.verdict, confidence: self.confidence, observation_ns }
    }
}

/// Decodes the twelve slots of a model's output, `[SLOT_COUNT, VOCABULARY_SIZE]` row by row.
///
/// In each slot the likeliest of the allowed tokens is taken (of equals, the one with the lowest
/// id), where what is allowed follows from the tokens before. Nothing else may come out, so every
/// result can be parsed. Slots that the chosen branch does not use are not looked at.
///
/// # Errors
/// [`DecodeError::WrongLength`], or [`DecodeError::NotFinite`] if any number of the output, used
/// or not, is NaN or infinite.
pub fn decode_slots(logits: &[f32]) -> Result<Decoded, DecodeError> {
    if logits.len() != LOGITS_LEN {
        return Err(DecodeError::WrongLength { expected: LOGITS_LEN, actual: logits.len() });
    }
    if let Some(index) = logits.iter().position(|value| !value.is_finite()) {
        return Err(DecodeError::NotFinite {
            slot: index / VOCABULARY_SIZE,
            token: index % VOCABULARY_SIZE,
            value: logits[index],
        });
    }
    let mut tokens = Vec::with_capacity(SEQUENCE_MAX);
    let mut probabilities = Vec::with_capacity(SEQUENCE_MAX);
    let mut confidence = 1.0_f32;
    let mut grammar = Grammar::new();
    while !grammar.is_complete() {
        let choice = match grammar.slot() {
            None => grammar.expected().iter().next().map(|token| (token, 1.0, 1.0)),
            Some(slot) => {
                let row = &logits[slot.row() * VOCABULARY_SIZE..(slot.row() + 1) * VOCABULARY_SIZE];
                choose(row, grammar.expected(), grammar.axis())
            }
        };
        let step = choice.and_then(|choice| Some((choice, grammar.next(choice.0)?)));
        let Some(((token, probability, support), next)) = step else {
            return Err(
                GrammarError { position: tokens.len(), expected: grammar.expected(), found: None }.into()
            );
        };
        tokens.push(token);
        probabilities.push(probability);
        confidence = confidence.min(support);
        grammar = next;
    }
    let verdict = parse(&tokens)?;
    Ok(Decoded { tokens, probabilities, verdict, confidence })
}

/// The likeliest allowed token, its probability, and the probability of all that agree with it.
fn choose(row: &[f32], allowed: TokenSet, axis: Option<Axis>) -> Option<(Token, f32, f32)> {
    let mut best: Option<Token> = None;
    for token in allowed.iter() {
        if best.is_none_or(|best| row[token.index()] > row[best.index()]) {
            best = Some(token);
        }
    }
    let best = best?;
    let agrees = |token: Token| match (axis, token.bin(), best.bin()) {
        (Some(axis), Some(a), Some(b)) => axis.distance(a, b) <= AGREEING_BINS,
        _ => token == best,
    };
    let (mut total, mut support) = (0.0_f32, 0.0_f32);
    for token in allowed.iter() {
        let weight = (row[token.index()] - row[best.index()]).exp();
        total += weight;
        if agrees(token) {
            support += weight;
        }
    }
    // `total` is at least 1: the best token itself weighs exp(0).
    Some((best, 1.0 / total, (support / total).min(1.0)))
}

/// A verdict that has no token sequence.
#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
pub enum TargetError {
    /// The grammar has room for one goal.
    #[error("a plan of {actual} goals cannot be written, expected 1")]
    PlanLength {
        /// Goals in the plan.
        actual: usize,
    },
    /// A number that is not finite.
    #[error(transparent)]
    Number(#[from] NumberError),
}

/// The token that each slot should have for a verdict: the labels for training. `None` where the
/// verdict leaves the slot unused; such slots bear no loss.
///
/// # Errors
/// [`TargetError`] when the verdict cannot be written in tokens.
pub fn targets_from_verdict(verdict: &Verdict) -> Result<[Option<Token>; SLOT_COUNT], TargetError> {
    let mut targets = [None; SLOT_COUNT];
    match verdict {
        Verdict::Infeasible(reason) => {
            targets[Slot::Action.row()] = Some(Token::INFEASIBLE);
            targets[Slot::ColorOrReason.row()] = Some(Token::reason(*reason));
        }
        Verdict::Act { plan, subtask, target, pixel_uv } => {
            let [Goal::Pick { color, object }] = plan.as_slice() else {
                return Err(TargetError::PlanLength { actual: plan.len() });
            };
            targets[Slot::Action.row()] = Some(Token::PICK);
            targets[Slot::ColorOrReason.row()] = Some(Token::color(*color));
            targets[Slot::Object.row()] = Some(Token::object(*object));
            targets[Slot::Subtask.row()] = Some(Token::subtask(*subtask));
            let [x, y, z] = target.position_m;
            let numbers = [
                (Axis::U, f64::from(pixel_uv[0])),
                (Axis::V, f64::from(pixel_uv[1])),
                (Axis::X, x),
                (Axis::Y, y),
                (Axis::Z, z),
                (Axis::Yaw, target.yaw_rad),
                (Axis::Width, target.gripper_width_m),
                (Axis::Force, target.gripper_force_n),
            ];
            for (axis, value) in numbers {
                targets[Slot::Number(axis).row()] = Some(Token::number(number::encode(axis, value)?));
            }
        }
    }
    Ok(targets)
}

/// The token sequence that says a verdict; numbers are rounded to their bins.
///
/// # Errors
/// [`TargetError`] when the verdict cannot be written in tokens.
pub fn tokens_from_verdict(verdict: &Verdict) -> Result<Vec<Token>, TargetError> {
    let targets = targets_from_verdict(verdict)?;
    let mut tokens = Vec::with_capacity(SEQUENCE_MAX);
    let mut grammar = Grammar::new();
    loop {
        let token = match grammar.slot() {
            Some(slot) => targets[slot.row()],
            None => grammar.expected().iter().next(),
        };
        let Some((token, next)) = token.and_then(|token| Some((token, grammar.next(token)?))) else {
            return Ok(tokens);
        };
        tokens.push(token);
        grammar = next;
    }
}
