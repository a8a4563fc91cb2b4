//! A recording as replay sees it: what it says about its run, and its entries in the order of the file.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::BufReader;
use std::path::{Path, PathBuf};

use super::ReplayError;
use crate::config::Config;
use crate::journal::{ThoughtEntry, Tick};
use crate::recorder::channels::{ARRIVAL, Arrival, COUNTERS, Counters, THOUGHT, TICK};
use crate::recorder::file::{FileEnd, FileMessage, RecordReader};
use crate::recorder::{RUN_METADATA, RunInfo};

/// A journal entry or a payload.
pub(super) enum Entry<'a> {
    Tick(Box<Tick>),
    Thought(Box<ThoughtEntry>),
    Arrival(Arrival),
    Counters(Counters),
    Payload(FileMessage<'a>),
}

/// The entries of a file, from front to back.
pub(super) struct Entries {
    reader: RecordReader<BufReader<File>>,
    end: Option<FileEnd>,
}

impl Entries {
    pub(super) fn open(path: &Path) -> Result<Self, ReplayError> {
        let file = File::open(path).map_err(|source| ReplayError::Read { path: path.into(), source })?;
        Ok(Self { reader: RecordReader::new(BufReader::new(file)), end: None })
    }

    /// The next entry; `None` at the end. An entry of ours that cannot be read is the end: what comes after
    /// it could not be trusted.
    pub(super) fn next(&mut self) -> Option<Entry<'_>> {
        if self.end.is_some() {
            return None;
        }
        let message = self.reader.next_message()?;
        let entry = match message.channel.topic.as_str() {
            topic if topic == TICK.topic => serde_json::from_slice(message.data).map(Entry::Tick),
            topic if topic == THOUGHT.topic => serde_json::from_slice(message.data).map(Entry::Thought),
            topic if topic == ARRIVAL.topic => serde_json::from_slice(message.data).map(Entry::Arrival),
            topic if topic == COUNTERS.topic => serde_json::from_slice(message.data).map(Entry::Counters),
            _ => return Some(Entry::Payload(message)),
        };
        match entry {
            Ok(entry) => Some(entry),
            Err(error) => {
                self.end = Some(FileEnd::Broken(format!("an entry on {}: {error}", message.channel.topic)));
                None
            }
        }
    }

    /// How the file ended, after its last entry.
    pub(super) fn end(&self) -> FileEnd {
        self.end.clone().or_else(|| self.reader.end().cloned()).unwrap_or(FileEnd::Cut)
    }

    fn info(&self) -> Option<RunInfo> {
        self.reader.metadata(RUN_METADATA).map(|entries| RunInfo(entries.clone()))
    }
}

/// What is known of a recording after one look through it.
#[derive(Clone, Debug)]
pub struct Recorded {
    /// The file.
    pub path: PathBuf,
    /// What it says about the run.
    pub info: RunInfo,
    /// The run's configuration.
    pub config: Config,
    /// Ticks in it.
    pub ticks: u64,
    /// Thoughts in it.
    pub thoughts: u64,
    /// Number of its first tick; not 1 for a black box.
    pub first_tick: u64,
    /// Times of its first and last tick, ns.
    pub span_ns: (u64, u64),
    /// The newest counters in it, if any.
    pub counters: Option<Counters>,
    /// How it ends.
    pub end: FileEnd,
    /// The ticks whose snapshots were put to the policy.
    pub(super) asked: BTreeSet<u64>,
}

impl Recorded {
    /// Looks through a file, whole or cut. Memory is a few bytes per thought.
    ///
    /// # Errors
    /// [`ReplayError`] if it cannot be opened, or holds too little to say anything.
    pub fn open(path: &Path) -> Result<Self, ReplayError> {
        let mut entries = Entries::open(path)?;
        let (mut ticks, mut thoughts, mut counters) = (0, 0, None);
        let mut span: Option<(u64, u64, u64)> = None;
        let mut asked = BTreeSet::new();
        while let Some(entry) = entries.next() {
            match entry {
                Entry::Tick(tick) => {
                    ticks += 1;
                    let now_ns = tick.command.stamp_ns;
                    let (number, from_ns, _) = span.unwrap_or((tick.inputs.tick, now_ns, now_ns));
                    span = Some((number, from_ns, now_ns));
                }
                Entry::Thought(thought) => {
                    thoughts += 1;
                    asked.insert(thought.tick);
                }
                Entry::Counters(newest) => counters = Some(newest),
                Entry::Arrival(_) | Entry::Payload(_) => {}
            }
        }
        let end = entries.end();
        let unfit = |reason: String| ReplayError::Unfit { path: path.into(), reason };
        let info = entries.info().ok_or_else(|| {
            unfit(format!("expected the description of a run by reflexarc, found none; the file is {end}"))
        })?;
        let (first_tick, from_ns, to_ns) =
            span.ok_or_else(|| unfit(format!("expected ticks of the loop, found none; the file is {end}")))?;
        let text = info.get("config").ok_or_else(|| unfit("it has no configuration".into()))?;
        let config =
            Config::parse(text).map_err(|source| ReplayError::Config { path: path.into(), source })?;
        let span_ns = (from_ns, to_ns);
        let path = path.into();
        Ok(Self { path, info, config, ticks, thoughts, first_tick, span_ns, counters, end, asked })
    }

    /// A moment in words, seconds since the first tick or a stamp in ns, as a stamp; `None` for anything else.
    #[must_use]
    pub fn moment_ns(&self, words: &str) -> Option<u64> {
        // No run takes an hour of nanoseconds in seconds (a hundred thousand years).
        const SMALLEST_STAMP_NS: u64 = 3_600_000_000_000;
        if let Some(stamp_ns) = words.parse().ok().filter(|stamp_ns| *stamp_ns >= SMALLEST_STAMP_NS) {
            return Some(stamp_ns);
        }
        let since_s: f64 = words.parse().ok().filter(|s: &f64| s.is_finite() && *s >= 0.0)?;
        Some(self.span_ns.0.saturating_add((since_s * 1e9).round() as u64))
    }
}
