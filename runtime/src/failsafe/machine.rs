//! The state and its one step: a pure function of time, state and flags.

use serde::{Deserialize, Serialize};

use super::action::Action;
use super::cause::{Cause, CauseSet};
use super::table::Table;

/// What is known in one tick.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Flags {
    /// What is wrong now.
    pub causes: CauseSet,
    /// Whether motion has begun; see [`super::table::Row::action_after`].
    pub engaged: bool,
    /// Whether an operator overrides what may be overridden.
    pub overridden: bool,
}

/// What the failsafe asks for, and why: the part of a command that recordings and tests look at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Standing {
    /// The strongest action of all causes.
    pub action: Action,
    /// The cause that asks for it; of several the last in order, of a latched stop the first. Absent with
    /// [`Action::None`].
    pub cause: Option<Cause>,
    /// Since when it is this action for this cause, ns.
    pub since_ns: u64,
}

/// Why the standing changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// A cause came up.
    Raised,
    /// A cause lasted for too long.
    Escalated,
    /// The strongest cause is gone; what is left, if anything, stands now.
    Cleared,
    /// An operator reset a latched stop.
    Reset,
}

/// One change of the standing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Transition {
    /// When, ns.
    pub at_ns: u64,
    /// What stood before.
    pub from: Standing,
    /// What stands now.
    pub to: Standing,
    /// Why.
    pub reason: Reason,
}

/// How long a cause has been there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Span {
    since_ns: u64,
    seen_ns: u64,
}

/// A latched stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Latch {
    cause: Cause,
    since_ns: u64,
}

/// Why a reset was not accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ResetRefused {
    /// There is nothing to reset.
    #[error("nothing is latched")]
    NotStopped,
    /// A cause of the stop is still there.
    #[error("cannot reset while the cause lasts: {cause}")]
    CauseLasts {
        /// The cause.
        cause: Cause,
    },
}

/// All that the failsafe remembers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct State {
    spans: [Option<Span>; Cause::COUNT],
    latch: Option<Latch>,
    /// Set by a reset: whatever the configuration says, one fresh enable is needed.
    needs_enable: bool,
    /// Set by a reset until the next step, which reports it.
    was_reset: bool,
    standing: Standing,
}

impl Default for State {
    fn default() -> Self {
        Self {
            spans: [None; Cause::COUNT],
            latch: None,
            needs_enable: false,
            was_reset: false,
            standing: Standing::default(),
        }
    }
}

impl State {
    /// What stands since the last step.
    #[must_use]
    pub fn standing(&self) -> Standing {
        self.standing
    }

    /// The cause of a latched stop.
    #[must_use]
    pub fn latched(&self) -> Option<Cause> {
        self.latch.map(|latch| latch.cause)
    }

    /// Whether a cause stands: it is there, or has not been gone for long enough.
    #[must_use]
    pub fn stands(&self, cause: Cause) -> bool {
        self.spans[cause as usize].is_some()
    }

    /// Whether a reset still wants a fresh enable.
    #[must_use]
    pub fn needs_enable(&self) -> bool {
        self.needs_enable && self.latch.is_none()
    }

    /// After one `enable`. While stopped it counts for nothing.
    #[must_use]
    pub fn enabled(self) -> Self {
        Self { needs_enable: self.needs_enable && self.latch.is_some(), ..self }
    }

    /// After one tick at `now_ns` with `flags`, and the change that it made.
    #[must_use]
    pub fn step(&self, table: &Table, now_ns: u64, flags: Flags) -> (Self, Option<Transition>) {
        let mut next = Self { was_reset: false, ..*self };
        let causes = flags.causes.with_if(self.needs_enable(), Cause::NotEnabled);
        let mut strongest = (Action::None, None);
        for row in table.rows() {
            let span = &mut next.spans[row.cause as usize];
            if causes.contains(row.cause) {
                let since_ns = span.map_or(now_ns, |span| span.since_ns);
                *span = Some(Span { since_ns, seen_ns: now_ns });
            } else if span.is_some_and(|span| now_ns.saturating_sub(span.seen_ns) >= row.clear_ns) {
                *span = None;
            }
            if let Some(span) = span {
                let lasted_ns = now_ns.saturating_sub(span.since_ns);
                let action = row.action_after(lasted_ns, flags.engaged, flags.overridden);
                if action > Action::None {
                    strongest = strongest.max((action, Some(row.cause)));
                }
            }
        }
        next.latch = match (self.latch, strongest) {
            (None, (action, Some(cause))) if action.latches() => Some(Latch { cause, since_ns: now_ns }),
            // Whoever looks at the robot must see that the button is pressed.
            (Some(latch), (_, Some(Cause::EmergencyStop))) => {
                Some(Latch { cause: Cause::EmergencyStop, ..latch })
            }
            (latch, _) => latch,
        };
        if let Some(latch) = next.latch {
            let lasted_ns = now_ns.saturating_sub(latch.since_ns);
            let lets_go = table.torque_off_ns().is_some_and(|after_ns| lasted_ns >= after_ns);
            let action = if lets_go { Action::TorqueOffRequest } else { Action::ControlledStop };
            strongest = (action.max(strongest.0), Some(latch.cause));
        }
        let (action, cause) = strongest;
        let before = self.standing;
        if (action, cause) == (before.action, before.cause) {
            return (next, None);
        }
        next.standing = Standing { action, cause, since_ns: now_ns };
        let reason = if self.was_reset {
            Reason::Reset
        } else if action < before.action || cause.is_none() {
            Reason::Cleared
        } else if cause == before.cause || cause.is_some_and(|cause| self.stands(cause)) {
            if action == before.action { Reason::Cleared } else { Reason::Escalated }
        } else {
            Reason::Raised
        };
        (next, Some(Transition { at_ns: now_ns, from: before, to: next.standing, reason }))
    }

    /// After a reset; a fresh enable is needed then. `orders` are the orders in force at this moment, which
    /// may be fewer than in the last step: releasing the button and resetting may fall into one tick.
    ///
    /// # Errors
    /// [`ResetRefused`] if nothing is latched, or something that stops is still there.
    pub fn reset(self, table: &Table, now_ns: u64, orders: CauseSet) -> Result<Self, ResetRefused> {
        let latch = self.latch.ok_or(ResetRefused::NotStopped)?;
        let lasting = table.rows().rev().find(|row| {
            let cause = row.cause;
            match self.spans[cause as usize] {
                _ if cause.is_order() => orders.contains(cause),
                None => false,
                Some(span) => {
                    let lasted_ns = now_ns.saturating_sub(span.since_ns);
                    cause == latch.cause || row.action_after(lasted_ns, true, false).latches()
                }
            }
        });
        match lasting {
            Some(row) => Err(ResetRefused::CauseLasts { cause: row.cause }),
            None => Ok(Self { latch: None, needs_enable: true, was_reset: true, ..self }),
        }
    }
}
