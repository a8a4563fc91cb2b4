//! The recorder: every payload of a link into one MCAP file, on its own thread.
//!
//! The bytes are written as they were on the wire (`cdr`, with `ros2msg` schemas), so Foxglove,
//! Rerun and the ROS tools read the file. The loop never waits for the disk: between the link and
//! this thread stands a bounded queue, and what does not fit is dropped, counted, and confessed in
//! the file's metadata.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufWriter, Read, Seek, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use mcap::records::{MessageHeader, Metadata};
use mcap::{Compression, WriteOptions, Writer};
use reflexarc_drivers::{Tap, TapRecord};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::config::Config;
use crate::rt::Grant;

/// Uncompressed size of a chunk: about a quarter of a second of two small cameras.
const CHUNK_BYTES: u64 = 1 << 20;
/// How long the thread waits for a message before it looks whether it should end.
const PATIENCE: Duration = Duration::from_millis(50);

/// Why a recording could not be made.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// The file could not be created.
    #[error("cannot create the recording {path}: {source}")]
    Create {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The file could not be written; what came before is in it.
    #[error("cannot write the recording: {0}")]
    Write(#[from] mcap::McapError),
    /// The recorder's thread could not be started.
    #[error("cannot start the recorder's thread: {0}")]
    Thread(std::io::Error),
    /// The recorder's thread panicked.
    #[error("the recorder's thread panicked; the recording is incomplete")]
    Panicked,
}

/// What a recording has become.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecorderReport {
    /// The file.
    pub path: String,
    /// Messages written.
    pub messages: u64,
    /// Their size before compression, bytes.
    pub payload_bytes: u64,
    /// Messages dropped because the disk was too slow.
    pub dropped: u64,
    /// Channels, one per topic and direction.
    pub channels: u64,
}

/// What a recording says about the run that it is of.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RunInfo(BTreeMap<String, String>);

impl RunInfo {
    /// Configuration, program version, policy and the hash of the model file, if it can be read.
    #[must_use]
    pub fn new(config: &Config, policy: &str) -> Self {
        let mut entries = BTreeMap::new();
        let mut add = |key: &str, value: String| entries.insert(key.to_owned(), value);
        add("program", format!("reflexarc {}", env!("CARGO_PKG_VERSION")));
        add("instruction", config.policy.instruction.clone());
        add("policy", policy.to_owned());
        if let Ok(text) = config.to_toml() {
            add("config", text);
        }
        if let Some(model) = &config.policy.model {
            add("model", model.display().to_string());
            if let Some(hash) = file_sha256(model) {
                add("model_sha256", hash);
            }
        }
        Self(entries)
    }

    /// Adds what the system granted the reflex.
    #[must_use]
    pub fn with_grants(mut self, grants: &[Grant]) -> Self {
        for grant in grants {
            self.0.insert(format!("realtime.{}", grant.facility.key()), grant.to_string());
        }
        self
    }
}

/// SHA-256 of a model's weights as hexadecimal digits, of the file itself or of `model.safetensors` in a
/// folder; `None` if it cannot be read.
#[must_use]
pub fn file_sha256(path: &Path) -> Option<String> {
    let inside = path.join("model.safetensors");
    let mut file = File::open(if path.is_dir() { &inside } else { path }).ok()?;
    let mut hasher = Sha256::new();
    let mut block = vec![0; 1 << 16];
    loop {
        match file.read(&mut block).ok()? {
            0 => break,
            count => hasher.update(&block[..count]),
        }
    }
    Some(hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
}

/// Writes tap records to an MCAP file. [`Recorder`] drives one on a thread; lockstep programs may
/// call it themselves.
pub struct McapSink<W: Write + Seek> {
    writer: Writer<W>,
    channels: BTreeMap<(Arc<str>, &'static str, bool), u16>,
    report: RecorderReport,
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
        sink.report.path = path.display().to_string();
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
        writer.write_metadata(&Metadata { name: "reflexarc.run".into(), metadata: info.0.clone() })?;
        Ok(Self { writer, channels: BTreeMap::new(), report: RecorderReport::default() })
    }

    /// Writes one payload.
    ///
    /// # Errors
    /// [`RecordError::Write`].
    pub fn write(&mut self, record: &TapRecord) -> Result<(), RecordError> {
        let key = (Arc::clone(&record.topic_name), record.type_name, record.outgoing);
        let channel_id = match self.channels.get(&key) {
            Some(id) => *id,
            None => {
                let schema = self.writer.add_schema(record.type_name, "ros2msg", record.schema.as_bytes())?;
                let direction = if record.outgoing { "sent" } else { "received" };
                let about = BTreeMap::from([("direction".to_owned(), direction.to_owned())]);
                let topic = format!("/{}", record.topic_name);
                let id = self.writer.add_channel(schema, &topic, "cdr", &about)?;
                self.channels.insert(key, id);
                id
            }
        };
        let header = MessageHeader {
            channel_id,
            // MCAP has 32 bits here; the low ones keep gaps visible.
            sequence: record.sequence as u32,
            log_time: record.log_ns,
            publish_time: record.publish_ns,
        };
        self.writer.write_to_known_channel(&header, &record.bytes)?;
        self.report.messages += 1;
        self.report.payload_bytes += record.bytes.len() as u64;
        Ok(())
    }

    /// Writes what was dropped and the file's index, and flushes.
    ///
    /// # Errors
    /// [`RecordError::Write`]; the file can then still be read up to that point.
    pub fn finish(mut self, dropped: u64) -> Result<RecorderReport, RecordError> {
        self.report.dropped = dropped;
        self.report.channels = self.channels.len() as u64;
        let counters = BTreeMap::from([
            ("messages".to_owned(), self.report.messages.to_string()),
            ("dropped".to_owned(), dropped.to_string()),
        ]);
        self.writer.write_metadata(&Metadata { name: "reflexarc.recorder".into(), metadata: counters })?;
        self.writer.finish()?;
        self.writer.into_inner().flush().map_err(mcap::McapError::Io)?;
        Ok(self.report)
    }
}

/// A recording in progress on the thread `recorder`.
pub struct Recorder {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Result<RecorderReport, RecordError>>,
}

impl Recorder {
    /// Creates the file and starts the thread.
    ///
    /// # Errors
    /// [`RecordError`] if the file or the thread cannot be made.
    pub fn start(path: &Path, tap: Tap, info: &RunInfo) -> Result<Self, RecordError> {
        let sink = McapSink::create(path, info)?;
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = std::thread::Builder::new()
            .name("recorder".into())
            .spawn(move || record(sink, &tap, &stopped))
            .map_err(RecordError::Thread)?;
        Ok(Self { stop, thread })
    }

    /// Writes what still waits, closes the file and ends the thread.
    ///
    /// # Errors
    /// [`RecordError`] if writing failed at any time.
    pub fn finish(self) -> Result<RecorderReport, RecordError> {
        self.stop.store(true, Ordering::Release);
        self.thread.join().map_err(|_| RecordError::Panicked)?
    }
}

fn record(
    mut sink: McapSink<BufWriter<File>>,
    tap: &Tap,
    stop: &AtomicBool,
) -> Result<RecorderReport, RecordError> {
    loop {
        match tap.recv_timeout(PATIENCE) {
            Some(record) => sink.write(&record)?,
            None if stop.load(Ordering::Acquire) => return sink.finish(tap.dropped()),
            None => {}
        }
        if stop.load(Ordering::Acquire) {
            // Only what waits now: a link that goes on sending must not keep the file open.
            for _ in 0..tap.receiver().len() {
                if let Some(record) = tap.try_recv() {
                    sink.write(&record)?;
                }
            }
            return sink.finish(tap.dropped());
        }
    }
}
