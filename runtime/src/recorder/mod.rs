//! The recorder: every payload of a link and the loop's journal, in one MCAP file and in a black box.
//!
//! Payloads are written as they were on the wire (`cdr`, with `ros2msg` schemas), so Foxglove, Rerun and the
//! ROS tools read the file; the journal is JSON with JSON schemas on `/reflexarc/*`, which the same viewers
//! show. With both, [`crate::replay`] runs the loop again.
//!
//! | file | owns |
//! |---|---|
//! | `mod` | a recording, drained by its own thread in real time and by each tick in lockstep |
//! | `sink` | one MCAP file |
//! | `channels` | what is on `/reflexarc/*` |
//! | `info` | what is said about the run: configuration, hashes, versions |
//! | `black_box` | the last seconds in memory, written at the first failure |
//! | `file` | reading recordings, cut ones too |
//!
//! The loop never waits for the disk: between it and this stand bounded queues, and what does not fit is
//! dropped, counted, and confessed in the file: about once per second on `/reflexarc/recorder`, at the place
//! of each gap on `/reflexarc/arrival`, and in the metadata at the end. Chunks are closed at least once per
//! second, so a file that is cut lacks little more than its last second.

mod black_box;
pub mod channels;
pub mod file;
mod info;
mod sink;

use std::collections::BTreeMap;
use std::fs::File;
use std::io::BufWriter;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crossbeam::channel::{Receiver, Sender, bounded};
use reflexarc_drivers::link::Drops;
use reflexarc_drivers::{Link, Tap, TapRecord};
use serde::{Deserialize, Serialize};

pub use info::{RUN_METADATA, RunInfo, file_sha256};
pub use sink::McapSink;

use crate::config::RecordConfig;
use crate::journal::{Journal, JournalEnds, ThoughtEntry, Tick, journal};
use crate::rt::Grant;
use black_box::{BlackBox, Frozen};

/// How often the thread empties the queues.
const PATIENCE: Duration = Duration::from_millis(20);
/// A quiet recording is flushed this often.
const FLUSH_PERIOD: Duration = Duration::from_secs(1);

/// Name of the metadata record with what the system granted the reflex.
pub const GRANTS_METADATA: &str = "reflexarc.realtime";

/// A metadata record: name and entries.
type Note = (&'static str, BTreeMap<String, String>);

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
    /// A journal entry has no JSON form.
    #[error("cannot write the recording's journal: {0}")]
    Json(serde_json::Error),
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
    /// The file; empty where only a black box was kept.
    pub path: String,
    /// Payloads written.
    pub messages: u64,
    /// Ticks written.
    pub ticks: u64,
    /// Thoughts written.
    pub thoughts: u64,
    /// Size of the payloads before compression, bytes.
    pub payload_bytes: u64,
    /// Payloads dropped because the disk was too slow.
    pub dropped: u64,
    /// Ticks dropped for the same reason.
    pub dropped_ticks: u64,
    /// Thoughts dropped for the same reason.
    pub dropped_thoughts: u64,
    /// Channels, one per topic and direction.
    pub channels: u64,
    /// The file into which the black box was written, if anything failed.
    pub black_box: Option<String>,
}

impl RecorderReport {
    /// Everything that was dropped.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.dropped + self.dropped_ticks + self.dropped_thoughts
    }
}

/// A recording that is drained by whoever holds it: each tick in lockstep, a [`Recorder`] in real time.
pub struct Recording {
    tap: Tap,
    journal: Journal,
    file: Option<McapSink<BufWriter<File>>>,
    black_box: Option<BlackBox>,
    /// What a black box, done or not, has become.
    frozen: Option<String>,
    /// The first error; the file is given up after it, the black box goes on.
    error: Option<RecordError>,
    ticks: Vec<Tick>,
    thoughts: Vec<ThoughtEntry>,
}

impl Recording {
    /// Begins a recording of everything that `link` sends and receives from now on, and gives the ends of the
    /// journal that the loop is to write; `None` if `config` asks for none. What subscriptions made before this have received already will be missing.
    ///
    /// # Errors
    /// [`RecordError`] if the file cannot be made.
    pub fn begin(
        config: &RecordConfig,
        link: &Link,
        info: &RunInfo,
    ) -> Result<Option<(Self, JournalEnds)>, RecordError> {
        let file = config.path.as_deref().map(|path| McapSink::create(path, info)).transpose()?;
        let black_box = BlackBox::new(config, info)?;
        if file.is_none() && black_box.is_none() {
            return Ok(None);
        }
        let (journal, ends) = journal();
        let recording = Self {
            tap: link.tap(config.queue),
            journal,
            file,
            black_box,
            frozen: None,
            error: None,
            ticks: Vec::new(),
            thoughts: Vec::new(),
        };
        Ok(Some((recording, ends)))
    }

    /// The count of dropped payloads, to be read elsewhere.
    #[must_use]
    pub fn drops(&self) -> Drops {
        self.tap.drops()
    }

    /// Writes all that waits. Errors are kept for [`Recording::finish`].
    pub fn drain(&mut self) {
        // Results are taken before what they depend on, and written after it: a tick is in the file only
        // behind the payloads and the thought that it used. Each of them was there before the tick was.
        while let Some(tick) = self.journal.ticks.take() {
            self.ticks.push(tick);
        }
        while let Some(entry) = self.journal.thoughts.take() {
            self.thoughts.push(entry);
        }
        // Only what waits now: a link that goes on sending must not keep the ticks from the disk.
        for _ in 0..self.tap.receiver().len() {
            let Some(record) = self.tap.try_recv() else { break };
            self.take(&record);
        }
        let thoughts = std::mem::take(&mut self.thoughts);
        let ticks = std::mem::take(&mut self.ticks);
        for entry in &thoughts {
            self.each(|sink| sink.thought(entry), |held| held.thought(entry));
        }
        for tick in &ticks {
            self.each(|sink| sink.tick(tick), |held| held.tick(tick));
        }
        (self.thoughts, self.ticks) = (thoughts, ticks);
        self.thoughts.clear();
        self.ticks.clear();
        self.count_dropped();
        self.turn_black_box(false);
    }

    fn take(&mut self, record: &TapRecord) {
        self.each(|sink| sink.payload(record), |held| held.payload(record));
    }

    /// Does the same to the file and to the black box, as far as they are there.
    fn each(
        &mut self,
        write: impl FnOnce(&mut McapSink<BufWriter<File>>) -> Result<(), RecordError>,
        hold: impl FnOnce(&mut BlackBox) -> Result<(), RecordError>,
    ) {
        if let Some(Err(error)) = self.file.as_mut().map(write) {
            self.file = None;
            self.error.get_or_insert(error);
        }
        if let Some(Err(error)) = self.black_box.as_mut().map(hold) {
            self.black_box = None;
            self.error.get_or_insert(error);
        }
    }

    fn turn_black_box(&mut self, end: bool) {
        match self.black_box.as_mut().map(|held| held.turn(end)) {
            None | Some(Ok(Frozen::NotYet)) => {}
            Some(Ok(Frozen::Written(path))) => {
                self.black_box = None;
                self.frozen = Some(path.display().to_string());
            }
            Some(Err(error)) => {
                self.black_box = None;
                self.error.get_or_insert(error);
            }
        }
    }

    fn count_dropped(&mut self) {
        let (ticks, thoughts) = (self.journal.ticks.lost(), self.journal.thoughts.lost());
        let payloads = self.tap.dropped();
        if let Some(sink) = &mut self.file {
            sink.dropped(payloads, ticks, thoughts);
        }
        if let Some(held) = &mut self.black_box {
            held.dropped(payloads, ticks, thoughts);
        }
    }

    fn flush(&mut self) {
        self.each(McapSink::flush, |_| Ok(()));
    }

    /// Writes what still waits and closes the file. A black box that saw a failure is written now at the
    /// latest.
    ///
    /// # Errors
    /// [`RecordError`] if writing failed at any time.
    pub fn finish(mut self) -> Result<RecorderReport, RecordError> {
        self.drain();
        self.turn_black_box(true);
        let written = self.file.take().map(McapSink::finish).transpose();
        if let Some(error) = self.error {
            return Err(error);
        }
        let report = written?.map(|(report, _)| report).unwrap_or_default();
        Ok(RecorderReport { black_box: self.frozen, ..report })
    }

    /// Hands the recording to a thread of its own, `recorder`.
    ///
    /// # Errors
    /// [`RecordError::Thread`].
    pub fn start(self) -> Result<Recorder, RecordError> {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let (notes, taken) = bounded(4);
        let thread = std::thread::Builder::new()
            .name("recorder".into())
            .spawn(move || record(self, &stopped, &taken))
            .map_err(RecordError::Thread)?;
        Ok(Recorder { stop, notes, thread: Some(thread) })
    }
}

/// A recording in progress on the thread `recorder`. Dropping it closes the file a little later.
pub struct Recorder {
    stop: Arc<AtomicBool>,
    notes: Sender<Note>,
    thread: Option<JoinHandle<Result<RecorderReport, RecordError>>>,
}

impl Drop for Recorder {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
    }
}

impl Recorder {
    /// Adds what the system granted the reflex to what the recording says about the run.
    pub fn describe_grants(&self, grants: &[Grant]) {
        let entries =
            grants.iter().map(|grant| (grant.facility.key().to_owned(), grant.to_string())).collect();
        // There is room for several, and this is called once.
        let _ = self.notes.try_send((GRANTS_METADATA, entries));
    }

    /// Writes what still waits, closes the file and ends the thread.
    ///
    /// # Errors
    /// [`RecordError`] if writing failed at any time.
    pub fn finish(mut self) -> Result<RecorderReport, RecordError> {
        self.stop.store(true, Ordering::Release);
        match self.thread.take().map(JoinHandle::join) {
            Some(Ok(result)) => result,
            Some(Err(_)) | None => Err(RecordError::Panicked),
        }
    }
}

fn record(
    mut recording: Recording,
    stop: &AtomicBool,
    notes: &Receiver<Note>,
) -> Result<RecorderReport, RecordError> {
    let mut flushed = Instant::now();
    while !stop.load(Ordering::Acquire) {
        std::thread::sleep(PATIENCE);
        recording.drain();
        while let Ok((name, entries)) = notes.try_recv() {
            recording.each(|sink| sink.describe(name, &entries), |held| held.describe(&entries));
        }
        if flushed.elapsed() >= FLUSH_PERIOD {
            flushed = Instant::now();
            recording.flush();
        }
    }
    recording.finish()
}
