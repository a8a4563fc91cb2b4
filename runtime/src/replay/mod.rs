//! Replay: a recorded run again, from what it had received, with every decision and command compared bit for
//! bit.
//!
//! The same [`Spine`](crate::spine::Spine) and [`Mind`](crate::mind::Mind) run as in real time and in
//! lockstep, on a clock that stands where the recording says. What no second run would repeat comes from the
//! journal ([`crate::journal`]): before each tick the loop is given the payloads that it had looked at then,
//! by their number of arrival, and no others; each thought is put to the policy with the snapshot of the tick
//! that it was about, and comes into force in the tick in which it did. Everything else must follow from
//! that, or the replay says where it does not.
//!
//! | file | owns |
//! |---|---|
//! | `source` | the recording, in the order of the file |
//! | `inlets` | payloads, given to the loop when they are due |
//! | `player` | the loop on the recording's clock |
//! | `compare`, `wire` | results and sent bytes, beside those of the recording |
//! | `recorded_policy` | a policy that says what was recorded |
//! | `explain` | why the robot did what it did at a moment |
//!
//! Exactness ends where the recording has a gap: a tick, a thought or a payload that the loop used was
//! dropped, or the file begins in the middle (a black box). From there on nothing is compared, and that is
//! said. It also takes the same program on the same kind of processor: kernels for other instruction sets
//! round differently.

mod compare;
mod explain;
mod inlets;
mod player;
mod recorded_policy;
mod source;
mod wire;

use std::fmt;
use std::path::PathBuf;

use reflexarc_drivers::LinkError;
use serde::Serialize;

pub use compare::{Place, first_difference};
pub use explain::explain;
pub use inlets::Missing;
pub use player::{Decisions, replay};
pub use source::Recorded;

use crate::config::ConfigError;
use crate::recorder::file::FileEnd;
use crate::runtime::RuntimeError;

/// Why a recording could not be replayed at all.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    /// The file could not be read.
    #[error("cannot read the recording {path}: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The file is no recording of a run, or too little of one.
    #[error("cannot replay {path}: {reason}")]
    Unfit {
        /// The file.
        path: PathBuf,
        /// What was expected and found.
        reason: String,
    },
    /// The configuration in the file is not one.
    #[error("cannot replay {path}: its configuration: {source}")]
    Config {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: ConfigError,
    },
    /// The loop could not be built.
    #[error(transparent)]
    Runtime(#[from] RuntimeError),
    /// The in-process link refused.
    #[error(transparent)]
    Link(#[from] LinkError),
    /// A result has no JSON form.
    #[error("cannot compare: {0}")]
    Json(#[from] serde_json::Error),
}

/// A result that is not what was recorded.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// `tick 17` or `thought 4`.
    pub what: String,
    /// When, s since the first tick.
    pub time_s: String,
    /// The first field that differs, with both sides.
    pub place: Place,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { what, time_s, place } = self;
        write!(
            f,
            "{what} at {time_s} s: {} was recorded as {}, replayed as {}",
            if place.field.is_empty() { "the result" } else { &place.field },
            place.recorded,
            place.replayed
        )
    }
}

/// Where and why exactness ends.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Gap {
    /// The last tick that was compared; 0 for none.
    pub after_tick: u64,
    /// When that was, s since the first tick.
    pub time_s: String,
    /// What is missing.
    pub why: String,
}

/// How a replay went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReplayReport {
    /// Ticks compared.
    pub ticks: u64,
    /// Thoughts compared.
    pub thoughts: u64,
    /// Ticks that came out otherwise.
    pub ticks_differ: u64,
    /// Thoughts that came out otherwise.
    pub thoughts_differ: u64,
    /// The first difference.
    pub first: Option<Difference>,
    /// Sent messages whose bytes are the same.
    pub wire_same: u64,
    /// Sent messages whose bytes differ.
    pub wire_differ: u64,
    /// What is said about the first of those.
    pub wire_first: Option<String>,
    /// Where exactness ends, if it does.
    pub gap: Option<Gap>,
    /// Ticks and thoughts in the file that were not compared: behind a gap, or later than asked for.
    pub not_compared: (u64, u64),
    /// How the file ends.
    pub end: FileEnd,
}

impl ReplayReport {
    /// Whether all that was compared is the same, and anything was.
    #[must_use]
    pub fn same(&self) -> bool {
        self.ticks > 0 && self.ticks_differ + self.thoughts_differ + self.wire_differ == 0
    }

    /// The report for people.
    #[must_use]
    pub fn to_text(&self) -> String {
        let mut text = format!(
            "compared    {} ticks, {} thoughts, {} sent messages\n",
            self.ticks,
            self.thoughts,
            self.wire_same + self.wire_differ
        );
        let verdict = if self.same() {
            "the same, bit for bit".to_owned()
        } else if self.ticks == 0 {
            "nothing could be compared".to_owned()
        } else {
            format!(
                "{} ticks, {} thoughts and {} sent messages differ",
                self.ticks_differ, self.thoughts_differ, self.wire_differ
            )
        };
        let mut line = |name: &str, words: &str| text.push_str(&format!("{name:<12}{words}\n"));
        line("result", &verdict);
        if let Some(first) = &self.first {
            line("first", &first.to_string());
        }
        if let Some(words) = &self.wire_first {
            line("sent", words);
        }
        if let Some(gap) = &self.gap {
            line(
                "gap",
                &format!("exact until tick {} ({} s), then: {}", gap.after_tick, gap.time_s, gap.why),
            );
        }
        if self.not_compared != (0, 0) {
            line("left out", &format!("{} ticks and {} thoughts", self.not_compared.0, self.not_compared.1));
        }
        if self.end != FileEnd::Whole {
            line("file", &self.end.to_string());
        }
        text
    }
}
