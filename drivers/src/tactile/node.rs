//! A pad, as its owner sees it.

use std::path::PathBuf;
use std::sync::{Arc, atomic::Ordering};
use std::thread::JoinHandle;

use crossbeam::channel::{Sender, bounded};

use super::baseline::BaselineState;
use super::reader::{Outlet, Reader, Report, Shared, open};
use super::{TactileConfig, TactileConfigError, TactileStats};
use crate::clock::Clock;
use crate::link::{Link, LinkError};
use crate::msg::{DiagnosticLevel, DiagnosticStatus};
use crate::topic::Topics;

/// The longest name that Linux gives a thread.
const THREAD_NAME_BYTES: usize = 15;

/// Why a pad cannot be started.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TactileError {
    /// The configuration is wrong.
    #[error("tactile pad {name}: {source}")]
    Config {
        /// The pad.
        name: String,
        /// What is wrong.
        source: TactileConfigError,
    },
    /// The port cannot be opened.
    #[error("tactile pad {name}: cannot open {port:?}: {reason}")]
    Open {
        /// The pad.
        name: String,
        /// The port.
        port: PathBuf,
        /// The system's words, and what to do where that is known.
        reason: String,
    },
    /// The topic cannot be published on.
    #[error("tactile pad {name}: {source}")]
    Link {
        /// The pad.
        name: String,
        /// The link's error.
        source: LinkError,
    },
    /// The system gives no thread.
    #[error("tactile pad {name}: no thread: {source}")]
    Thread {
        /// The pad.
        name: String,
        /// The system's error.
        source: std::io::Error,
    },
}

/// A tactile pad. Dropping it stops its thread, within 50 ms or so.
#[derive(Debug)]
pub struct TactileNode {
    name: String,
    config: TactileConfig,
    clock: Clock,
    shared: Arc<Shared>,
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl TactileNode {
    /// Opens the port and publishes on `topics.tactile(name)` from the moment the zero has been taken, from
    /// a thread `tactile-NAME` (cut to 15 bytes).
    ///
    /// # Errors
    /// [`TactileError`]: a wrong configuration, a port that is not there or may not be opened, a name that
    /// cannot be a topic's. A device that goes away later is no error: it is tried again, after 0.1 s at
    /// first and every 2 s in the end.
    pub fn start(
        name: &str,
        config: &TactileConfig,
        link: &Link,
        topics: &Topics,
    ) -> Result<Self, TactileError> {
        let own = || name.to_owned();
        config.validate().map_err(|source| TactileError::Config { name: own(), source })?;
        let topic = topics.tactile(name);
        let publisher =
            link.publisher(&topic).map_err(|source| TactileError::Link { name: own(), source })?;
        let port = open(config).map_err(|reason| TactileError::Open {
            name: own(),
            port: config.port.clone(),
            reason,
        })?;
        let outlet = Outlet::new(link.clone(), topic, publisher);
        let (reader, shared) = Reader::new(config, outlet);
        let (stop, stopped) = bounded(0);
        let mut thread_name = format!("tactile-{name}");
        // Topic names are ASCII.
        thread_name.truncate(THREAD_NAME_BYTES);
        let thread = std::thread::Builder::new()
            .name(thread_name)
            .spawn(move || reader.run(port, &stopped))
            .map_err(|source| TactileError::Thread { name: own(), source })?;
        Ok(Self {
            name: own(),
            config: config.clone(),
            clock: link.clock().clone(),
            shared,
            stop: Some(stop),
            thread: Some(thread),
        })
    }

    /// Counters since the start.
    #[must_use]
    pub fn stats(&self) -> TactileStats {
        self.shared.report().stats
    }

    /// Takes the zero anew from the next frames on, for instance after it failed. Nothing may touch the pad.
    pub fn rebaseline(&self) {
        self.shared.rebaseline.store(true, Ordering::Relaxed);
    }

    /// How the pad is.
    #[must_use]
    pub fn status(&self) -> DiagnosticStatus {
        let report = self.shared.report().clone();
        let (level, message) = self.judge(&report);
        let mut status = DiagnosticStatus::new(level, format!("tactile: {}", self.name), message);
        status.hardware_id = self.config.port.display().to_string();
        report.stats.report(status)
    }

    fn judge(&self, report: &Report) -> (DiagnosticLevel, String) {
        let config = &self.config;
        if let Some(reason) = &report.away {
            return (DiagnosticLevel::Error, format!("The device is away ({reason}) and tried again."));
        }
        let age_ns = report.frame_ns.map(|frame_ns| self.clock.now_ns().saturating_sub(frame_ns));
        if age_ns.is_none_or(|age_ns| age_ns > config.max_age_ms * 1_000_000) {
            let age =
                age_ns.map_or("No frame yet".into(), |age| format!("No frame for {} ms", age / 1_000_000));
            let (rows, columns, channels) = (config.rows, config.columns, config.channels);
            let why = match report.found_shape {
                Some([r, c, n]) => format!(
                    "the device has sent {r} × {c} × {n} values instead of {rows} × {columns} × {channels}"
                ),
                None if report.stats.frames == 0 && report.stats.bytes > 0 => format!(
                    "what comes is not {} of {rows} × {columns}: check format, rows, columns and baud",
                    config.format.name()
                ),
                None => "the device is open".into(),
            };
            return (DiagnosticLevel::Stale, format!("{age}: {why}."));
        }
        match report.zero {
            BaselineState::Taken => (DiagnosticLevel::Ok, "Publishing.".into()),
            BaselineState::Taking { attempt, taken } => (
                DiagnosticLevel::Warn,
                format!(
                    "Taking the zero, {taken} of {} frames, attempt {attempt} of {}: do not touch the pad.",
                    config.baseline_frames, config.baseline_attempts
                ),
            ),
            BaselineState::Failed { spread } => (
                DiagnosticLevel::Error,
                format!(
                    "No zero, nothing is published: a value moved by {spread} within {} frames, expected \
                     {} at most; let go of the pad and ask for the zero anew.",
                    config.baseline_frames,
                    config.spread()
                ),
            ),
        }
    }
}

impl Drop for TactileNode {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // A panic there has been printed there.
            let _ = thread.join();
        }
    }
}
