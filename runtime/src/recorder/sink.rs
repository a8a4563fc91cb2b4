//! Writing one MCAP file.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufWriter, Seek, Write};
use std::path::Path;
use std::sync::Arc;

use mcap::records::{MessageHeader, Metadata};
use mcap::{Compression, WriteOptions, Writer};
use reflexarc_drivers::attachment::ATTACHMENT_BYTES;
use reflexarc_drivers::{Attachment, TapRecord};

use super::channels::{ARRIVAL, Arrival, COUNTERS, Counters, OwnChannel, THOUGHT, TICK, to_hex};
use super::info::{RUN_METADATA, RunInfo};
use super::{RecordError, RecorderReport};
use crate::journal::{ThoughtEntry, Tick};

/// Uncompressed size of a chunk: about a quarter of a second of two small cameras.
const CHUNK_BYTES: u64 = 1 << 20;
/// A chunk is closed after this long at the latest, by the stamps of what is written, ns: what a cut file can
/// lack at its end.
const CHUNK_NS: u64 = 1_000_000_000;
/// Name of the metadata record with the counters at the end.
const RECORDER_METADATA: &str = "reflexarc.recorder";

/// A topic, its type, and whether the link sent it.
type Key = (Arc<str>, &'static str, bool);

/// One channel, and what its next payload is unless something else is said.
struct Track {
    channel_id: u16,
    topic: String,
    next_arrival: u64,
    gid: Option<[u8; 16]>,
}

/// A message of any channel, copied from another recording.
#[derive(Clone, Copy, Debug)]
pub(super) struct Copied<'a> {
    pub(super) topic: &'a str,
    pub(super) schema: (&'a str, &'a str, &'a [u8]),
    pub(super) encoding: &'a str,
    pub(super) metadata: &'a BTreeMap<String, String>,
    pub(super) sequence: u32,
    pub(super) log_ns: u64,
    pub(super) publish_ns: u64,
    pub(super) data: &'a [u8],
}

/// Writes tap records and the journal to an MCAP file.
pub struct McapSink<W: Write + Seek> {
    writer: Writer<W>,
    tracks: BTreeMap<Key, Track>,
    own: BTreeMap<&'static str, u16>,
    path: String,
    payload_bytes: u64,
    counters: Counters,
    newest_ns: u64,
    flushed_ns: Option<u64>,
}

impl McapSink<BufWriter<File>> {
    /// Creates the file, and its folder if that is missing.
    ///
    /// # Errors
    /// [`RecordError::Create`] or [`RecordError::Write`].
    pub fn create(path: &Path, info: &RunInfo) -> Result<Self, RecordError> {
        let failed = |source| RecordError::Create { path: path.into(), source };
        if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
            std::fs::create_dir_all(folder).map_err(failed)?;
        }
        let file = File::create(path).map_err(failed)?;
        let mut sink = Self::new(BufWriter::new(file), info)?;
        sink.path = path.display().to_string();
        // A file that is cut after this says at least what it is of.
        sink.flush()?;
        Ok(sink)
    }
}

impl<W: Write + Seek> McapSink<W> {
    /// Writes the head of the file and the run's description.
    ///
    /// # Errors
    /// [`RecordError::Write`].
    pub fn new(out: W, info: &RunInfo) -> Result<Self, RecordError> {
        let mut writer = WriteOptions::new()
            .profile("ros2")
            .library(concat!("reflexarc ", env!("CARGO_PKG_VERSION")))
            .compression(Some(Compression::Lz4))
            .chunk_size(Some(CHUNK_BYTES))
            .create(out)?;
        writer.write_metadata(&Metadata { name: RUN_METADATA.into(), metadata: info.0.clone() })?;
        Ok(Self {
            writer,
            tracks: BTreeMap::new(),
            own: BTreeMap::new(),
            path: String::new(),
            payload_bytes: 0,
            counters: Counters::default(),
            newest_ns: 0,
            flushed_ns: None,
        })
    }

    /// Writes one payload, and before it an [`Arrival`] where it does not follow from the one before.
    ///
    /// # Errors
    /// [`RecordError::Write`].
    pub fn payload(&mut self, record: &TapRecord) -> Result<(), RecordError> {
        let key = (Arc::clone(&record.topic_name), record.type_name, record.outgoing);
        if !self.tracks.contains_key(&key) {
            let schema = self.writer.add_schema(record.type_name, "ros2msg", record.schema.as_bytes())?;
            let direction = if record.outgoing { "sent" } else { "received" };
            let about = BTreeMap::from([("direction".to_owned(), direction.to_owned())]);
            let topic = format!("/{}", record.topic_name);
            let channel_id = self.writer.add_channel(schema, &topic, "cdr", &about)?;
            self.tracks.insert(key.clone(), Track { channel_id, topic, next_arrival: 1, gid: None });
        }
        let Some(track) = self.tracks.get_mut(&key) else { return Ok(()) };
        let channel_id = track.channel_id;
        if !record.outgoing {
            let attachment = record.attachment.and_then(|bytes| Attachment::decode(Some(&bytes)).ok());
            let fits = attachment.filter(|attachment| u32::try_from(attachment.sequence).is_ok());
            let follows = record.arrival == track.next_arrival
                && fits.is_some_and(|attachment| Some(attachment.gid) == track.gid);
            track.next_arrival = record.arrival.saturating_add(1);
            // What follows is read with the publisher that was named last.
            track.gid = fits.map(|attachment| attachment.gid).or(track.gid);
            if !follows {
                let said = Arrival {
                    topic: track.topic.clone(),
                    arrival: record.arrival,
                    attachment: record.attachment.map(|bytes: [u8; ATTACHMENT_BYTES]| to_hex(&bytes)),
                };
                self.json(ARRIVAL, record.log_ns, 0, &said)?;
            }
        }
        let header = MessageHeader {
            channel_id,
            // MCAP has 32 bits here; the low ones keep gaps visible.
            sequence: record.sequence as u32,
            log_time: record.log_ns,
            publish_time: record.publish_ns,
        };
        self.writer.write_to_known_channel(&header, &record.bytes)?;
        self.counters.messages += 1;
        self.payload_bytes += record.bytes.len() as u64;
        self.wrote(record.log_ns)
    }

    /// Writes one tick.
    ///
    /// # Errors
    /// [`RecordError::Write`].
    pub fn tick(&mut self, tick: &Tick) -> Result<(), RecordError> {
        self.counters.ticks += 1;
        self.json(TICK, tick.command.stamp_ns, tick.inputs.tick, tick)
    }

    /// Writes one thought.
    ///
    /// # Errors
    /// [`RecordError::Write`].
    pub fn thought(&mut self, entry: &ThoughtEntry) -> Result<(), RecordError> {
        self.counters.thoughts += 1;
        self.json(THOUGHT, entry.now_ns, entry.number, entry)
    }

    /// Takes over what has been dropped so far: payloads, ticks, thoughts.
    pub fn dropped(&mut self, payloads: u64, ticks: u64, thoughts: u64) {
        self.counters.dropped = payloads;
        self.counters.dropped_ticks = ticks;
        self.counters.dropped_thoughts = thoughts;
    }

    /// Copies a message as it is, except for another recorder's counters.
    ///
    /// # Errors
    /// [`RecordError::Write`].
    pub(super) fn copy(&mut self, message: &Copied<'_>) -> Result<(), RecordError> {
        match message.topic {
            topic if topic == COUNTERS.topic => return Ok(()),
            topic if topic == ARRIVAL.topic => {}
            topic if topic == TICK.topic => self.counters.ticks += 1,
            topic if topic == THOUGHT.topic => self.counters.thoughts += 1,
            _ => {
                self.counters.messages += 1;
                self.payload_bytes += message.data.len() as u64;
            }
        }
        let (name, encoding, definition) = message.schema;
        // The writer knows schemas and channels that it has seen.
        let schema = self.writer.add_schema(name, encoding, definition)?;
        let channel_id =
            self.writer.add_channel(schema, message.topic, message.encoding, message.metadata)?;
        let header = MessageHeader {
            channel_id,
            sequence: message.sequence,
            log_time: message.log_ns,
            publish_time: message.publish_ns,
        };
        self.writer.write_to_known_channel(&header, message.data)?;
        self.wrote(message.log_ns)
    }

    fn json(
        &mut self,
        channel: OwnChannel,
        log_ns: u64,
        sequence: u64,
        value: &impl serde::Serialize,
    ) -> Result<(), RecordError> {
        let channel_id = match self.own.get(channel.topic) {
            Some(id) => *id,
            None => {
                let schema =
                    self.writer.add_schema(channel.schema_name, "jsonschema", channel.schema.as_bytes())?;
                let id = self.writer.add_channel(schema, channel.topic, "json", &BTreeMap::new())?;
                self.own.insert(channel.topic, id);
                id
            }
        };
        let data = serde_json::to_vec(value).map_err(RecordError::Json)?;
        let header =
            MessageHeader { channel_id, sequence: sequence as u32, log_time: log_ns, publish_time: log_ns };
        self.writer.write_to_known_channel(&header, &data)?;
        if channel == COUNTERS { Ok(()) } else { self.wrote(log_ns) }
    }

    /// Closes the chunk when it is old enough.
    fn wrote(&mut self, log_ns: u64) -> Result<(), RecordError> {
        self.newest_ns = self.newest_ns.max(log_ns);
        let since_ns = *self.flushed_ns.get_or_insert(self.newest_ns);
        if self.newest_ns.saturating_sub(since_ns) >= CHUNK_NS { self.flush() } else { Ok(()) }
    }

    /// Writes a metadata record.
    ///
    /// # Errors
    /// [`RecordError::Write`].
    pub fn describe(&mut self, name: &str, entries: &BTreeMap<String, String>) -> Result<(), RecordError> {
        Ok(self.writer.write_metadata(&Metadata { name: name.into(), metadata: entries.clone() })?)
    }

    /// Writes the counters and closes the chunk, so that a file that is cut after this has all that was
    /// written before. Counters bear the newest message's time, so there are none before the first message: a viewer
    /// would begin in 1970.
    ///
    /// # Errors
    /// [`RecordError::Write`].
    pub fn flush(&mut self) -> Result<(), RecordError> {
        if let Some(flushed_ns) = &mut self.flushed_ns {
            *flushed_ns = self.newest_ns;
            let counters = self.counters;
            self.json(COUNTERS, self.newest_ns, 0, &counters)?;
        }
        Ok(self.writer.flush()?)
    }

    /// Writes the counters and the file's index, and flushes. Gives the output back.
    ///
    /// # Errors
    /// [`RecordError::Write`]; the file can then still be read up to that point.
    pub fn finish(mut self) -> Result<(RecorderReport, W), RecordError> {
        self.flush()?;
        let Counters { messages, ticks, thoughts, dropped, dropped_ticks, dropped_thoughts } = self.counters;
        let entries = [
            ("messages", messages),
            ("ticks", ticks),
            ("thoughts", thoughts),
            ("dropped", dropped),
            ("dropped_ticks", dropped_ticks),
            ("dropped_thoughts", dropped_thoughts),
        ];
        let metadata = entries.map(|(key, value)| (key.to_owned(), value.to_string())).into();
        self.writer.write_metadata(&Metadata { name: RECORDER_METADATA.into(), metadata })?;
        self.writer.finish()?;
        let report = RecorderReport {
            path: self.path,
            messages,
            ticks,
            thoughts,
            payload_bytes: self.payload_bytes,
            dropped,
            dropped_ticks,
            dropped_thoughts,
            channels: self.tracks.len() as u64,
            black_box: None,
        };
        let mut out = self.writer.into_inner();
        out.flush().map_err(mcap::McapError::Io)?;
        Ok((report, out))
    }
}
