//! The failsafe: what is wrong → what is done about it. This is its design.
//!
//! **Ranked.** Every cause asks for one [`Action`]; the strongest one decides the tick. Nothing weighs causes
//! against each other: one more cause never makes the action weaker.
//!
//! ```text
//!   None < Warn < Slow < Hold < Retract │ < ControlledStop < TorqueOffRequest
//!   ───────── follows ─┘ └── stands ────┘ └──────────── latched ────────────
//!
//!                 a cause stands, delay over             lasts: escalation
//!   ┌──────────┐ ──────────────────────────▶ ┌─────────┐ ───────────────▶ ┌─────────────────┐
//!   │ follows  │                             │ stands  │                  │ ControlledStop  │──┐ lasts, if
//!   │ (≤ Slow) │ ◀────────────────────────── │ (Hold,  │     an order     │ latched         │  │ configured
//!   └──────────┘  gone for the clear time    │ Retract)│ ───────────────▶ └─────────────────┘  ▼
//!        ▲                                   └─────────┘                     │  ▲    ┌──────────────────┐
//!        │       the interlock, from the measured pose, softly               │  └────│ TorqueOffRequest │
//!        └──────────────── fresh enable ◀── reset ◀── causes gone ◀──────────┘       └──────────────────┘
//! ```
//!
//! **Pure.** [`State::step`] is a function of the state, the time and the [`Flags`]; it reads no clock and
//! touches nothing. So each row of the table is walked in a test, and a recorded run decides the same again.
//! [`Failsafe`] around it keeps the counters and the last transitions.
//!
//! **Who finds causes.** The senses ([`crate::senses`]): lost, black, jumped. The reflex ([`crate::reflex`]):
//! nothing to follow, blocked, touch, a gap between two ticks. The signals ([`crate::safety`]): orders and the
//! enable. They only say what is; what is done about it stands in [`table`] and nowhere else.
//!
//! **Before motion** (at the start and after a reset) there is nothing to stop: causes hold at most, and only
//! orders latch. What must be there before the first command is the [`crate::interlock`].
//!
//! **Latched.** A stop is latched within the tick that sees its cause. Leaving it takes three things in this
//! order: everything that would stop is gone, someone says reset, and then an `enable` that came after the
//! reset. An order overrides the name of the cause, never the latch.
//!
//! **Torque off** is a request, asked for only when configured, when a stop has been latched for that long and
//! the commands rest: an arm without brakes falls.
//!
//! **Promised times.** [`Promise`]: how many ticks the slowest joint takes from the worst motion that the limits
//! allow to rest. Every hold and stop is at rest within that many ticks after the tick that names it.
//!
//! `docs/failsafe.md` holds the table with the defaults; a test writes it by walking this machine.
//!
//! This is a software stop and not a safety function: wire a hardware emergency stop as well.

mod action;
mod book;
mod cause;
mod machine;
mod promise;
pub mod table;

pub use action::Action;
pub use book::{Book, FailsafeReport};
pub use cause::{Cause, CauseSet};
pub use machine::{Flags, Reason, ResetRefused, Standing, State, Transition};
pub use promise::Promise;
pub use table::{Escalation, Row, Table};

use crate::config::FailsafeConfig;

/// Transitions that are remembered; older ones are only counted.
pub const REMEMBERED: usize = 32;

/// The failsafe of one robot: table, state, counters.
#[derive(Clone, Debug)]
pub struct Failsafe {
    table: Table,
    state: State,
    recent: [Option<Transition>; REMEMBERED],
    transitions: u64,
    stops: u64,
}

impl Failsafe {
    /// Nothing is wrong yet.
    #[must_use]
    pub fn new(config: &FailsafeConfig) -> Self {
        Self {
            table: Table::new(config),
            state: State::default(),
            recent: [None; REMEMBERED],
            transitions: 0,
            stops: 0,
        }
    }

    /// One tick; see [`State::step`]. Work is one pass over the table.
    pub fn step(&mut self, now_ns: u64, flags: Flags) -> (Standing, Option<Transition>) {
        let (next, transition) = self.state.step(&self.table, now_ns, flags);
        if let Some(transition) = transition {
            self.recent[(self.transitions % REMEMBERED as u64) as usize] = Some(transition);
            self.transitions += 1;
        }
        self.stops += u64::from(self.state.latched().is_none() && next.latched().is_some());
        self.state = next;
        (next.standing(), transition)
    }

    /// Unlatches a stop; see [`State::reset`].
    ///
    /// # Errors
    /// [`ResetRefused`].
    pub fn reset(&mut self, now_ns: u64, orders: CauseSet) -> Result<(), ResetRefused> {
        self.state = self.state.reset(&self.table, now_ns, orders)?;
        Ok(())
    }

    /// Takes one `enable`; see [`State::enabled`].
    pub fn enabled(&mut self) {
        self.state = self.state.enabled();
    }

    /// The state.
    #[must_use]
    pub fn state(&self) -> &State {
        &self.state
    }

    /// The table.
    #[must_use]
    pub fn table(&self) -> &Table {
        &self.table
    }

    /// How often a stop was latched.
    #[must_use]
    pub fn stops(&self) -> u64 {
        self.stops
    }

    /// How often the standing changed.
    #[must_use]
    pub fn transitions(&self) -> u64 {
        self.transitions
    }

    /// The last transitions, the oldest first; at most [`REMEMBERED`].
    pub fn recent(&self) -> impl Iterator<Item = &Transition> {
        let oldest = (self.transitions % REMEMBERED as u64) as usize;
        self.recent[oldest..].iter().chain(&self.recent[..oldest]).flatten()
    }
}
