//! The doctor: what this board grants a real-time program, what it does not, and how to change that.
//!
//! | module | owns |
//! |---|---|
//! | `board` | what `/proc`, `/sys` and `/dev` say: kernel, throttling, limits, CPUs, clocks, heat |
//! | `program` | what this program would do here: requests to the system, device, link, and how late it wakes |
//!
//! Everything in `board` reads files below [`Roots`] alone, so that tests give it trees of their own.

mod board;
mod program;

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

pub use board::examine_board;
pub use program::{examine_lateness, examine_program};

/// How a finding is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    /// As it should be.
    Good,
    /// It works, and could be better.
    Note,
    /// What is configured is not given, or something is dangerous.
    Bad,
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// What was looked at.
    pub subject: String,
    /// How it is meant.
    pub level: Level,
    /// What was found.
    pub found: String,
    /// What to change; absent only where all is good, or nothing can be done.
    pub fix: Option<String>,
}

impl Finding {
    fn good(subject: &str, found: impl Into<String>) -> Self {
        Self { subject: subject.to_owned(), level: Level::Good, found: found.into(), fix: None }
    }

    fn note(subject: &str, found: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { subject: subject.to_owned(), level: Level::Note, found: found.into(), fix: Some(fix.into()) }
    }

    fn bad(subject: &str, found: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { subject: subject.to_owned(), level: Level::Bad, found: found.into(), fix: Some(fix.into()) }
    }
}

impl std::fmt::Display for Finding {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mark = match self.level {
            Level::Good => "ok  ",
            Level::Note => "note",
            Level::Bad => "BAD ",
        };
        write!(f, "{mark}  {:<16} {}", self.subject, self.found)?;
        match &self.fix {
            Some(fix) => write!(f, "\n      {:<16} → {fix}", ""),
            None => Ok(()),
        }
    }
}

/// Where the kernel's files are.
#[derive(Clone, Debug)]
pub struct Roots {
    /// `/proc`
    pub proc: PathBuf,
    /// `/sys`
    pub sys: PathBuf,
    /// `/dev`
    pub dev: PathBuf,
}

impl Default for Roots {
    fn default() -> Self {
        Self { proc: "/proc".into(), sys: "/sys".into(), dev: "/dev".into() }
    }
}

impl Roots {
    /// The trees `proc`, `sys` and `dev` below `root`.
    #[must_use]
    pub fn below(root: &Path) -> Self {
        Self { proc: root.join("proc"), sys: root.join("sys"), dev: root.join("dev") }
    }
}

/// A file's text without outer blanks; `None` where it cannot be read or is empty.
fn text(path: impl AsRef<Path>) -> Option<String> {
    let text = std::fs::read_to_string(path).ok()?;
    let trimmed = text.trim();
    (!trimmed.is_empty()).then(|| trimmed.to_owned())
}

/// A file's number.
fn number(path: impl AsRef<Path>) -> Option<i64> {
    text(path)?.parse().ok()
}
