//! The thread that reads a pad's port and publishes what it says.

use std::io::{ErrorKind, Read};
use std::sync::{
    Arc, Mutex, MutexGuard, PoisonError,
    atomic::{AtomicBool, Ordering},
};
use std::time::Duration;

use crossbeam::channel::{Receiver, RecvTimeoutError};
use serialport::{ClearBuffer, SerialPort, TTYPort};

use super::baseline::{Baseline, BaselineState};
use super::{Decoder, TactileConfig, TactileStats};
use crate::attachment::Attachment;
use crate::link::{Link, LinkError, Publisher};
use crate::msg::{Float32MultiArray, Message};
use crate::serial::Access;
use crate::topic::Topic;

/// How long a read waits, and so how long stopping takes at most.
const READ_TIMEOUT: Duration = Duration::from_millis(50);
/// A port is tried again after this long, then twice as long each time.
const FIRST_WAIT: Duration = Duration::from_millis(100);
const LONGEST_WAIT: Duration = Duration::from_secs(2);
/// Bytes of one read; a full one means that more wait.
const READ_BYTES: usize = 1024;
/// So many full reads in a row, and the newest frame is published although more wait.
const MOST_FULL_READS: u32 = 16;

/// What the thread tells, and is told.
#[derive(Debug)]
pub(super) struct Shared {
    report: Mutex<Report>,
    pub(super) rebaseline: AtomicBool,
}

#[derive(Clone, Debug)]
pub(super) struct Report {
    pub(super) stats: TactileStats,
    pub(super) zero: BaselineState,
    /// Why the device is away, if it is.
    pub(super) away: Option<String>,
    /// When the last frame came.
    pub(super) frame_ns: Option<u64>,
    pub(super) found_shape: Option<[u8; 3]>,
}

impl Shared {
    pub(super) fn report(&self) -> MutexGuard<'_, Report> {
        // Each report is written whole.
        self.report.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

pub(super) fn open(config: &TactileConfig) -> Result<TTYPort, String> {
    serialport::new(config.port.to_string_lossy(), config.baud)
        .timeout(READ_TIMEOUT)
        .open_native()
        // What the kernel has kept since is too old.
        .and_then(|port| port.clear(ClearBuffer::Input).map(|()| port))
        .map_err(|error| match Access::of(&config.port) {
            Access::Denied { fix } => format!("{error}; {fix}"),
            Access::Granted | Access::Missing => error.to_string(),
        })
}

/// Says whether the node has been dropped, after waiting for that.
fn stopped(stop: &Receiver<()>, wait: Duration) -> bool {
    matches!(stop.recv_timeout(wait), Err(RecvTimeoutError::Disconnected))
}

/// What the thread owns.
pub(super) struct Reader {
    config: TactileConfig,
    decoder: Decoder,
    baseline: Baseline,
    newest: Newest,
    outlet: Outlet,
    stats: TactileStats,
    frame_ns: Option<u64>,
    /// Why the device is away, if it is.
    away: Option<String>,
    wait: Duration,
    shared: Arc<Shared>,
}

/// The newest frame that has not been published.
struct Newest {
    force: Vec<f32>,
    arrival_ns: u64,
    waits: bool,
}

/// Publishes with a stamp of its own: a [`Publisher`] would stamp with the time of the delivery.
pub(super) struct Outlet {
    link: Link,
    topic: Topic<Float32MultiArray>,
    /// Tells others of the topic, and lends its identity.
    publisher: Publisher<Float32MultiArray>,
    sequence: i64,
}

impl Outlet {
    pub(super) fn new(
        link: Link,
        topic: Topic<Float32MultiArray>,
        publisher: Publisher<Float32MultiArray>,
    ) -> Self {
        Self { link, topic, publisher, sequence: 0 }
    }

    fn put(&mut self, message: &Float32MultiArray, source_ns: u64) -> Result<(), LinkError> {
        self.sequence += 1;
        let attachment = Attachment { sequence: self.sequence, source_ns, gid: self.publisher.gid() };
        self.link.inject(&self.topic, &message.encode(), Some(&attachment.encode()))
    }
}

impl Reader {
    /// A reader that publishes through `outlet`, and where it tells how it is.
    pub(super) fn new(config: &TactileConfig, outlet: Outlet) -> (Self, Arc<Shared>) {
        let baseline =
            Baseline::new(config.values(), config.baseline_frames, config.spread(), config.baseline_attempts);
        let report = Report {
            stats: TactileStats::default(),
            zero: baseline.state(),
            away: None,
            frame_ns: None,
            found_shape: None,
        };
        let shared = Arc::new(Shared { report: Mutex::new(report), rebaseline: AtomicBool::new(false) });
        let reader = Self {
            config: config.clone(),
            decoder: Decoder::new(config),
            baseline,
            newest: Newest { force: Vec::with_capacity(config.values()), arrival_ns: 0, waits: false },
            outlet,
            stats: TactileStats::default(),
            frame_ns: None,
            away: None,
            wait: FIRST_WAIT,
            shared: Arc::clone(&shared),
        };
        (reader, shared)
    }

    /// Reads until the other end of `stop` is dropped.
    pub(super) fn run(mut self, port: TTYPort, stop: &Receiver<()>) {
        let mut port = Some(port);
        let mut buffer = [0; READ_BYTES];
        let mut full_reads = 0;
        while !stopped(stop, Duration::ZERO) {
            let Some(open_port) = &mut port else {
                if stopped(stop, self.wait) {
                    return;
                }
                port = self.reopen();
                self.tell();
                continue;
            };
            let read = open_port.read(&mut buffer);
            if self.shared.rebaseline.swap(false, Ordering::Relaxed) {
                self.baseline.restart();
            }
            match read {
                Ok(0) => port = self.lose("it has hung up".into()),
                Ok(bytes) => {
                    self.take(buffer.get(..bytes).unwrap_or_default());
                    full_reads += 1;
                    if bytes < READ_BYTES || full_reads == MOST_FULL_READS {
                        self.publish();
                        full_reads = 0;
                    }
                }
                Err(error) => match error.kind() {
                    ErrorKind::TimedOut | ErrorKind::WouldBlock | ErrorKind::Interrupted => self.publish(),
                    _ => port = self.lose(error.to_string()),
                },
            }
            self.tell();
        }
    }

    /// Reads what came now.
    fn take(&mut self, bytes: &[u8]) {
        let arrival_ns = self.outlet.link.clock().now_ns();
        self.stats.bytes += bytes.len() as u64;
        let Self { config, decoder, baseline, newest, stats, frame_ns, .. } = self;
        decoder.push(bytes, arrival_ns, |frame| {
            *frame_ns = Some(frame.arrival_ns);
            let Some(zero) = baseline.push(frame.values) else {
                stats.without_zero += 1;
                return;
            };
            stats.skipped_older += u64::from(newest.waits);
            let scale = config.scale.iter().copied().cycle().chain(std::iter::repeat(1.0));
            newest.force.clear();
            newest.force.extend(
                frame.values.iter().zip(zero).zip(scale).map(|((raw, zero), scale)| (raw - zero) * scale),
            );
            newest.arrival_ns = frame.arrival_ns;
            newest.waits = true;
        });
        if self.frame_ns.is_some() {
            self.wait = FIRST_WAIT;
        }
    }

    fn publish(&mut self) {
        if !std::mem::take(&mut self.newest.waits) {
            return;
        }
        let age_ns = self.outlet.link.clock().now_ns().saturating_sub(self.newest.arrival_ns);
        if age_ns > self.config.max_age_ms * 1_000_000 {
            self.stats.too_old += 1;
            return;
        }
        let axes = [
            ("rows", self.config.rows),
            ("columns", self.config.columns),
            ("channels", self.config.channels),
        ];
        let sent = Float32MultiArray::new(&axes, self.newest.force.clone())
            .is_ok_and(|message| self.outlet.put(&message, self.newest.arrival_ns).is_ok());
        let counter = if sent { &mut self.stats.published } else { &mut self.stats.publish_errors };
        *counter += 1;
    }

    /// The device has gone.
    fn lose(&mut self, reason: String) -> Option<TTYPort> {
        self.publish();
        self.stats.device_errors += 1;
        self.decoder.restart();
        self.frame_ns = None;
        self.away = Some(reason);
        None
    }

    fn reopen(&mut self) -> Option<TTYPort> {
        self.wait = (2 * self.wait).min(LONGEST_WAIT);
        match open(&self.config) {
            Ok(port) => {
                self.stats.reopened += 1;
                if self.config.rebaseline_on_reconnect || self.baseline.state() != BaselineState::Taken {
                    self.baseline.restart();
                }
                self.away = None;
                Some(port)
            }
            Err(reason) => {
                self.stats.device_errors += 1;
                self.away = Some(reason);
                None
            }
        }
    }

    fn tell(&mut self) {
        let counts = self.decoder.counts();
        self.stats = TactileStats {
            frames: counts.frames,
            discarded_bytes: counts.discarded_bytes,
            resyncs: counts.resyncs,
            crc_errors: counts.crc_errors,
            implausible: counts.implausible,
            sequence_gaps: counts.sequence_gaps,
            repeated: counts.repeated,
            wrong_shape: counts.wrong_shape,
            baseline_retries: self.baseline.retries(),
            ..self.stats
        };
        *self.shared.report() = Report {
            stats: self.stats,
            zero: self.baseline.state(),
            away: self.away.clone(),
            frame_ns: self.frame_ns,
            found_shape: self.decoder.found_shape(),
        };
    }
}
