//! What the audit says: rules, refusals, verdicts, and their counts. All of it is small, `Copy` and
//! serialisable, so that every verdict travels with its decision into the books and into a recording.

use std::fmt;

use reflexarc_vla_model::exact;
use reflexarc_vla_model::token::Token;
use serde::{Deserialize, Serialize};

/// A rule of the audit. Every refused decision or chunk broke exactly one, the first that was looked at.
/// The table at the head of [`crate::audit`] says what each compares with what.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Rule {
    /// A token that the grammar does not allow at its place.
    Grammar,
    /// A sequence that stops before its end.
    Truncated,
    /// A number of the decision is NaN or infinite.
    NonFinite,
    /// The decision says something else than its tokens do.
    Meaning,
    /// Nothing is planned.
    EmptyPlan,
    /// The decision answers an observation that was never made.
    Time,
    /// The target, or the tool at an action, lies outside the workspace.
    Workspace,
    /// The gripper's opening or force is outside its limits.
    Gripper,
    /// No joint angles reach the target.
    Unreachable,
    /// The arm would touch itself.
    Collision,
    /// The fingers would reach into the table.
    Table,
    /// The way leads sideways at a height at which things stand.
    Sideways,
    /// The object is seen somewhere else than where the hand is sent.
    Grounding,
    /// The subtask happens where the tool is, and the tool is somewhere else.
    Near,
    /// The subtask cannot follow from what was done and felt so far.
    Order,
    /// The hand would open while it holds something.
    Hand,
    /// A chunk without actions, with too many, of another width, or with an impossible period.
    Shape,
    /// An action far outside a joint's limits.
    Position,
    /// Two actions in a row so far apart that no joint could follow.
    Step,
}

impl Rule {
    /// All rules.
    pub const ALL: [Self; 19] = [
        Self::Grammar,
        Self::Truncated,
        Self::NonFinite,
        Self::Meaning,
        Self::EmptyPlan,
        Self::Time,
        Self::Workspace,
        Self::Gripper,
        Self::Unreachable,
        Self::Collision,
        Self::Table,
        Self::Sideways,
        Self::Grounding,
        Self::Near,
        Self::Order,
        Self::Hand,
        Self::Shape,
        Self::Position,
        Self::Step,
    ];

    /// The rule's name in reports.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Grammar => "grammar",
            Self::Truncated => "truncated",
            Self::NonFinite => "non_finite",
            Self::Meaning => "meaning",
            Self::EmptyPlan => "empty_plan",
            Self::Time => "time",
            Self::Workspace => "workspace",
            Self::Gripper => "gripper",
            Self::Unreachable => "unreachable",
            Self::Collision => "collision",
            Self::Table => "table",
            Self::Sideways => "sideways",
            Self::Grounding => "grounding",
            Self::Near => "near",
            Self::Order => "order",
            Self::Hand => "hand",
            Self::Shape => "shape",
            Self::Position => "position",
            Self::Step => "step",
        }
    }
}

/// Why a decision or a chunk was refused.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Refusal {
    /// The rule that it broke.
    pub rule: Rule,
    /// Place of the token (or action) at fault, counted from 0; 0 where the fault is not in one.
    pub place: u16,
    /// The token at fault; absent where the fault is not in one.
    pub token: Option<Token>,
    /// What was found, in the rule's unit (m, N, rad, ns; a count for shape; parts of the image's side for
    /// grounding).
    #[serde(with = "exact")]
    pub found: f64,
    /// The bound that it should have kept to.
    #[serde(with = "exact")]
    pub bound: f64,
}

impl Refusal {
    /// A refusal that is not about one token.
    #[must_use]
    pub fn new(rule: Rule, place: usize, found: f64, bound: f64) -> Self {
        Self { rule, place: u16::try_from(place).unwrap_or(u16::MAX), token: None, found, bound }
    }

    /// The refusal with the token at its place. None stands at place 0 unless the grammar said so.
    pub(super) fn naming(self, tokens: &[Token]) -> Self {
        match (self.token, self.place) {
            (None, 1..) => Self { token: tokens.get(usize::from(self.place)).copied(), ..self },
            _ => self,
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { rule, place, token, found, bound } = self;
        let name = rule.name();
        match rule {
            Rule::Grammar => write!(f, "{name}: at token {place}"),
            Rule::Truncated => write!(f, "{name}: after {place} tokens"),
            Rule::Meaning => write!(f, "{name}: the tokens say something else than the decision"),
            Rule::EmptyPlan => write!(f, "{name}: nothing is planned"),
            Rule::NonFinite => write!(f, "{name}: a number is {found}"),
            Rule::Time => write!(f, "{name}: answers {found} ns, asked about {bound} ns"),
            Rule::Workspace | Rule::Gripper => write!(f, "{name}: {found}, the bound is {bound}"),
            Rule::Shape => write!(f, "{name}: {found}, expected {bound}"),
            Rule::Position => write!(f, "{name}: action {place} asks for {found} rad, the limit is {bound}"),
            Rule::Step => write!(f, "{name}: action {place} is {found} rad on, the joint can go {bound}"),
            Rule::Unreachable => write!(f, "{name}: {found} m off, {bound} m is allowed"),
            Rule::Collision => {
                write!(f, "{name}: the arm is {found} m from itself, at least {bound} m is kept")
            }
            Rule::Table => write!(f, "{name}: the fingers reach to {found} m, the table is at {bound} m"),
            Rule::Sideways => write!(f, "{name}: {found} m among what stands there, at most {bound} m"),
            Rule::Grounding => {
                write!(
                    f,
                    "{name}: the target is seen {found} of the image away from the object, at most {bound}"
                )
            }
            Rule::Near => write!(f, "{name}: the tool is {found} m off, at most {bound} m for this subtask"),
            Rule::Order => write!(f, "{name}: it does not follow from what came before"),
            Rule::Hand => {
                write!(f, "{name}: an opening of {found} m while something is held, at most {bound} m")
            }
        }?;
        match token {
            Some(token) => write!(f, " (token {place} is `{token}`)"),
            None => Ok(()),
        }
    }
}

/// What the audit says of one decision or chunk.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AuditVerdict {
    /// It may be followed.
    Pass,
    /// It must not be followed.
    Refused(Refusal),
}

/// One verdict with what it took.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct AuditEvent {
    /// The verdict.
    pub verdict: AuditVerdict,
    /// Inverse kinematics solutions that it needed; 0 for nearly all.
    pub reach_solves: u32,
    /// Values of a passed chunk a little outside a limit; they are executed at the limit.
    pub clamped: u32,
    /// Steps of a passed chunk that are faster than a joint may go; they are followed more slowly.
    pub fast_steps: u32,
}

/// Counts over a run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditCounts {
    /// Decisions and chunks passed.
    pub passed: u64,
    /// Decisions and chunks refused, in the order of [`Rule::ALL`].
    pub refused: [u64; Rule::ALL.len()],
    /// Inverse kinematics solutions.
    pub reach_solves: u64,
    /// See [`AuditEvent::clamped`].
    pub clamped: u64,
    /// See [`AuditEvent::fast_steps`].
    pub fast_steps: u64,
}

impl AuditCounts {
    /// Adds one verdict.
    pub fn add(&mut self, event: &AuditEvent) {
        match event.verdict {
            AuditVerdict::Pass => self.passed += 1,
            AuditVerdict::Refused(refusal) => self.refused[refusal.rule as usize] += 1,
        }
        self.reach_solves += u64::from(event.reach_solves);
        self.clamped += u64::from(event.clamped);
        self.fast_steps += u64::from(event.fast_steps);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_rules_are_listed_once_in_their_order() {
        for (index, rule) in Rule::ALL.into_iter().enumerate() {
            assert_eq!(rule as usize, index);
        }
    }
}
