//! The black box: the last seconds of a run in memory, written to a file at the first failure.
//!
//! It is a queue of small recordings of about a second each, compressed as they are closed; the oldest goes
//! when the time or the memory is used up. A failure ([`crate::modes::Mode::is_failure`]) freezes it: one
//! more second is taken in, then everything is written to the file, and the box is done. What comes later is
//! not worth losing the first failure for.

use std::collections::{BTreeMap, VecDeque};
use std::io::Cursor;
use std::path::PathBuf;

use reflexarc_drivers::TapRecord;

use super::info::RunInfo;
use super::sink::{Copied, McapSink};
use super::{RecordError, file};
use crate::config::RecordConfig;
use crate::journal::{ThoughtEntry, Tick};

/// A part is closed after this long, ns.
const PART_NS: u64 = 1_000_000_000;
/// A part is closed when so many bytes are in it, before compression.
const PART_BYTES: usize = 4 << 20;
/// What happens after the failure is kept for this long, ns.
const AFTERMATH_NS: u64 = 1_000_000_000;
/// Rough size of a journal entry, bytes.
const ENTRY_BYTES: usize = 1024;

/// A closed part.
struct Part {
    bytes: Vec<u8>,
    newest_ns: u64,
}

/// The last seconds of a run.
pub(super) struct BlackBox {
    folder: PathBuf,
    info: RunInfo,
    keep_ns: u64,
    max_bytes: usize,
    parts: VecDeque<Part>,
    held_bytes: usize,
    open: McapSink<Cursor<Vec<u8>>>,
    open_bytes: usize,
    open_since_ns: Option<u64>,
    newest_ns: u64,
    failed: Option<(u64, String)>,
    dropped: (u64, u64, u64),
}

/// Whether a box goes on.
#[derive(Debug)]
pub(super) enum Frozen {
    /// Nothing has failed, or the second after it is not over.
    NotYet,
    /// The file is written.
    Written(PathBuf),
}

impl BlackBox {
    /// An empty box; `None` if the configuration names no folder for it.
    pub(super) fn new(config: &RecordConfig, info: &RunInfo) -> Result<Option<Self>, RecordError> {
        let Some(folder) = config.black_box.clone() else { return Ok(None) };
        Ok(Some(Self {
            folder,
            info: info.clone(),
            keep_ns: config.black_box_s.saturating_mul(1_000_000_000),
            max_bytes: config.black_box_mb.saturating_mul(1 << 20),
            parts: VecDeque::new(),
            held_bytes: 0,
            open: McapSink::new(Cursor::default(), &RunInfo::default())?,
            open_bytes: 0,
            open_since_ns: None,
            newest_ns: 0,
            failed: None,
            dropped: (0, 0, 0),
        }))
    }

    pub(super) fn payload(&mut self, record: &TapRecord) -> Result<(), RecordError> {
        self.open.payload(record)?;
        self.took(record.log_ns, record.bytes.len())
    }

    pub(super) fn thought(&mut self, entry: &ThoughtEntry) -> Result<(), RecordError> {
        self.open.thought(entry)?;
        self.took(entry.now_ns, ENTRY_BYTES)
    }

    pub(super) fn tick(&mut self, tick: &Tick) -> Result<(), RecordError> {
        self.open.tick(tick)?;
        if self.failed.is_none() && tick.command.mode.is_failure() {
            self.failed = Some((tick.command.stamp_ns, tick.command.mode.to_string()));
        }
        self.took(tick.command.stamp_ns, ENTRY_BYTES)
    }

    /// Adds to what is said about the run.
    pub(super) fn describe(&mut self, entries: &BTreeMap<String, String>) -> Result<(), RecordError> {
        self.info.0.extend(entries.clone());
        Ok(())
    }

    /// Takes over what has been dropped so far: payloads, ticks, thoughts.
    pub(super) fn dropped(&mut self, payloads: u64, ticks: u64, thoughts: u64) {
        self.dropped = (payloads, ticks, thoughts);
    }

    fn took(&mut self, log_ns: u64, bytes: usize) -> Result<(), RecordError> {
        self.newest_ns = self.newest_ns.max(log_ns);
        self.open_bytes += bytes;
        let since_ns = *self.open_since_ns.get_or_insert(self.newest_ns);
        if self.newest_ns.saturating_sub(since_ns) >= PART_NS || self.open_bytes >= PART_BYTES {
            self.close_part()?;
        }
        Ok(())
    }

    fn close_part(&mut self) -> Result<(), RecordError> {
        let empty = McapSink::new(Cursor::default(), &RunInfo::default())?;
        let (_, out) = std::mem::replace(&mut self.open, empty).finish()?;
        self.held_bytes += out.get_ref().len();
        self.parts.push_back(Part { bytes: out.into_inner(), newest_ns: self.newest_ns });
        self.open_bytes = 0;
        self.open_since_ns = None;
        // What happens after the failure takes nothing from the time before it.
        let until_ns = self.failed.as_ref().map_or(self.newest_ns, |(failed_ns, _)| *failed_ns);
        while let Some(oldest) = self.parts.front() {
            let old = until_ns.saturating_sub(oldest.newest_ns) > self.keep_ns;
            // Room is left for the next part, so that the bound holds at any time.
            if !old && self.held_bytes + PART_BYTES <= self.max_bytes {
                break;
            }
            self.held_bytes -= oldest.bytes.len();
            self.parts.pop_front();
        }
        Ok(())
    }

    /// Writes the file when a failure is a second old, or at the `end` at once.
    pub(super) fn turn(&mut self, end: bool) -> Result<Frozen, RecordError> {
        let Some((failed_ns, why)) = self.failed.clone() else { return Ok(Frozen::NotYet) };
        if !end && self.newest_ns.saturating_sub(failed_ns) < AFTERMATH_NS {
            return Ok(Frozen::NotYet);
        }
        self.close_part()?;
        let mut info = self.info.clone();
        info.0.insert("black_box".into(), format!("frozen at {failed_ns}: {why}"));
        // With the stamp in its name, so that the next run's failure does not overwrite this one.
        let path = self.folder.join(format!("black-box-{failed_ns}.mcap"));
        let mut sink = McapSink::create(&path, &info)?;
        let (payloads, ticks, thoughts) = self.dropped;
        sink.dropped(payloads, ticks, thoughts);
        for part in self.parts.drain(..) {
            let mut reader = file::RecordReader::new(Cursor::new(part.bytes));
            while let Some(message) = reader.next_message() {
                let schema = &message.channel.schema;
                sink.copy(&Copied {
                    topic: &message.channel.topic,
                    schema: (&schema.name, &schema.encoding, &schema.data),
                    encoding: &message.channel.encoding,
                    metadata: &message.channel.metadata,
                    sequence: message.sequence,
                    log_ns: message.log_ns,
                    publish_ns: message.publish_ns,
                    data: message.data,
                })?;
            }
        }
        sink.finish()?;
        Ok(Frozen::Written(path))
    }

    /// Memory that is held, bytes.
    #[cfg(test)]
    fn bytes(&self) -> usize {
        self.held_bytes + self.open_bytes
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests fail by panicking")]
mod tests {
    use super::*;
    use reflexarc_drivers::Message;
    use reflexarc_drivers::msg::StringMsg;

    fn record(log_ns: u64, bytes: usize) -> TapRecord {
        // Not compressible, as a camera's noise is not.
        let mut state = log_ns | 1;
        let noise = |_| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (state >> 56) as u8
        };
        TapRecord {
            topic_name: "camera".into(),
            type_name: StringMsg::TYPE_NAME,
            schema: StringMsg::SCHEMA,
            log_ns,
            publish_ns: log_ns,
            sequence: 1,
            outgoing: false,
            arrival: log_ns,
            attachment: None,
            bytes: (0..bytes).map(noise).collect(),
        }
    }

    #[test]
    fn memory_and_time_are_bounded() {
        let config = RecordConfig {
            black_box: Some("never".into()),
            black_box_s: 5,
            black_box_mb: 16,
            ..RecordConfig::default()
        };
        let mut held = BlackBox::new(&config, &RunInfo::default()).unwrap().unwrap();
        let mut most = 0;
        for step in 0..4_000_u64 {
            held.payload(&record(step * 10_000_000, 30_000)).unwrap();
            most = most.max(held.bytes());
            assert!(matches!(held.turn(false).unwrap(), Frozen::NotYet));
        }
        assert!((8 << 20..=16 << 20).contains(&most), "{most} bytes");
        for step in 4_000..8_000_u64 {
            held.payload(&record(step * 10_000_000, 100)).unwrap();
        }
        let oldest_ns = held.parts.front().unwrap().newest_ns;
        assert!(held.newest_ns - oldest_ns <= 5_000_000_000);
        assert!(matches!(held.turn(true).unwrap(), Frozen::NotYet), "nothing has failed");
    }
}
