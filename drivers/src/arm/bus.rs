//! The servos of one arm on one serial port.
//!
//! Packets are rustypot's. What is added: one read brings position, speed, load, supply and temperature; a servo
//! that does not answer costs the others nothing from the next cycle on, because it is asked apart until it answers
//! again; and every reading must be plausible beside the one before.

use std::time::Duration;

use rustypot::servo::RegisterError;
use rustypot::{CommunicationErrorKind, DynamixelProtocolHandler, SyncReadError};
use serialport::SerialPort;

use super::servo::{ServoKind, Telemetry};

/// How often a register is asked for again at start-up, where nothing moves yet.
const REGISTER_RETRIES: usize = 4;

/// Why a register could not be read or written.
#[derive(Debug, thiserror::Error)]
#[error("servo {id}: cannot {what} {register}: {reason}")]
pub struct BusError {
    /// The servo's number.
    pub id: u8,
    /// `read` or `write`.
    pub what: &'static str,
    /// The register, by its name in the data sheet.
    pub register: String,
    /// What happened.
    pub reason: String,
}

/// What went wrong on the wire so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BusStats {
    /// Readings that came back whole.
    pub replies: u64,
    /// Replies that did not come in time, or only in part.
    pub timeouts: u64,
    /// Replies whose checksum does not fit.
    pub checksum_errors: u64,
    /// Replies that are none, or another servo's, or of another length.
    pub malformed: u64,
    /// Replies lost because one before them in the same read was.
    pub cut_off: u64,
    /// Errors of the port itself.
    pub port_errors: u64,
    /// Goals that could not be sent.
    pub write_errors: u64,
}

/// What kind of trouble an answer is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Trouble {
    Timeout,
    Checksum,
    Malformed,
    Port,
}

/// The servos on one port. All servos are of one kind.
pub struct ServoBus {
    port: Box<dyn SerialPort>,
    handler: DynamixelProtocolHandler,
    kind: ServoKind,
    ids: Vec<u8>,
    /// Of each servo: whether it is asked apart.
    apart: Vec<bool>,
    stats: BusStats,
}

impl std::fmt::Debug for ServoBus {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ServoBus").field("kind", &self.kind).field("ids", &self.ids).finish_non_exhaustive()
    }
}

impl ServoBus {
    /// The servos `ids` on `port`, whose read timeout is set to `reply_timeout`.
    ///
    /// # Errors
    /// When the port refuses the timeout.
    pub fn new(
        mut port: Box<dyn SerialPort>,
        kind: ServoKind,
        ids: Vec<u8>,
        reply_timeout: Duration,
    ) -> Result<Self, serialport::Error> {
        port.set_timeout(reply_timeout)?;
        let handler = match kind.definition().protocol {
            1 => DynamixelProtocolHandler::v1(),
            _ => DynamixelProtocolHandler::v2(),
        };
        let apart = vec![false; ids.len()];
        Ok(Self { port, handler, kind, ids, apart, stats: BusStats::default() })
    }

    /// The servos' numbers, in the order of all slices here.
    #[must_use]
    pub fn ids(&self) -> &[u8] {
        &self.ids
    }

    /// The kind of all servos.
    #[must_use]
    pub fn kind(&self) -> ServoKind {
        self.kind
    }

    /// The counters.
    #[must_use]
    pub fn stats(&self) -> BusStats {
        self.stats
    }

    /// Asks every servo once. `None` where no whole answer came. At most one reply timeout for the servos that
    /// are read together, and one for each that is asked apart.
    pub fn read(&mut self, out: &mut [Option<Telemetry>]) {
        out.fill(None);
        let block = self.kind.block();
        let together: Vec<usize> = (0..self.ids.len()).filter(|i| !self.apart[*i]).collect();
        let ids: Vec<u8> = together.iter().map(|i| self.ids[*i]).collect();
        if !ids.is_empty() {
            match self.handler.sync_read_with_error(&mut *self.port, &ids, block.first, block.bytes) {
                Ok(replies) => {
                    for (&i, (bytes, alarms)) in together.iter().zip(&replies) {
                        out[i] = self.accept(bytes, alarms.byte());
                    }
                }
                Err(error) => {
                    // The answers before the one that failed are lost with it.
                    let failed = error.downcast_ref::<SyncReadError>();
                    self.count(failed.map_or(error.as_ref(), |failed| failed.cause.as_ref()));
                    self.stats.cut_off += ids.len() as u64 - 1;
                    if let Some(at) =
                        failed.and_then(|failed| self.ids.iter().position(|id| *id == failed.id))
                    {
                        self.apart[at] = true;
                    }
                }
            }
        }
        for i in (0..self.ids.len()).filter(|i| !together.contains(i)) {
            match self.handler.read_with_error(&mut *self.port, self.ids[i], block.first, block.bytes) {
                Ok((bytes, alarms)) => {
                    out[i] = self.accept(&bytes, alarms.byte());
                    self.apart[i] = out[i].is_none();
                }
                Err(error) => {
                    self.count(error.as_ref());
                }
            }
        }
    }

    fn accept(&mut self, bytes: &[u8], alarms: u8) -> Option<Telemetry> {
        let telemetry = self.kind.telemetry(bytes, alarms);
        match telemetry {
            Some(_) => self.stats.replies += 1,
            None => self.stats.malformed += 1,
        }
        telemetry
    }

    /// Sends a goal position to every servo, steps, in one packet that nobody answers.
    pub fn write_goals(&mut self, goals: &[i32]) {
        let encoded: Result<Vec<_>, _> =
            goals.iter().map(|goal| self.kind.encode("goal_position", i64::from(*goal))).collect();
        let sent = encoded.ok().and_then(|encoded| {
            let first = encoded.first()?.0;
            let data: Vec<Vec<u8>> = encoded.into_iter().map(|(_, bytes)| bytes).collect();
            self.handler.sync_write(&mut *self.port, &self.ids, first, &data).ok()
        });
        if sent.is_none() {
            self.stats.write_errors += 1;
        }
    }

    /// Reads a register by its name, trying a few times; for start-up.
    ///
    /// # Errors
    /// [`BusError`] with the last attempt's fault.
    pub fn register(&mut self, id: u8, name: &str) -> Result<i64, BusError> {
        let definition = self.kind.definition();
        self.retried(id, "read", name, |bus| definition.read_register(&bus.handler, &mut *bus.port, id, name))
    }

    /// Writes a register by its name, trying a few times; for start-up. An alarm in the answer is no failure.
    ///
    /// # Errors
    /// [`BusError`] with the last attempt's fault.
    pub fn set_register(&mut self, id: u8, name: &str, value: i64) -> Result<(), BusError> {
        let definition = self.kind.definition();
        self.retried(id, "write", name, |bus| {
            definition.write_register(&bus.handler, &mut *bus.port, id, name, value)
        })
    }

    /// Writes a register of one servo in a packet that nobody answers; for the running loop.
    pub fn post_register(&mut self, id: u8, name: &str, value: i64) {
        let sent =
            self.kind.encode(name, value).ok().and_then(|(first, bytes)| {
                self.handler.sync_write(&mut *self.port, &[id], first, &[bytes]).ok()
            });
        if sent.is_none() {
            self.stats.write_errors += 1;
        }
    }

    /// Switches the torque of every servo, and the lock of Feetech's settings with it. Every servo is tried.
    ///
    /// # Errors
    /// The first servo's that could not be switched.
    pub fn set_torque(&mut self, on: bool) -> Result<(), BusError> {
        let lock = self.kind.definition().info.eeprom_lock;
        let mut result = Ok(());
        for id in self.ids.clone() {
            let mut switched = self.set_register(id, "torque_enable", on.into());
            if lock && switched.is_ok() {
                switched = self.set_register(id, "lock", on.into());
            }
            result = result.and(switched);
        }
        result
    }

    fn retried<T>(
        &mut self,
        id: u8,
        what: &'static str,
        register: &str,
        mut attempt: impl FnMut(&mut Self) -> Result<T, Box<dyn std::error::Error>>,
    ) -> Result<T, BusError> {
        let mut reason = String::new();
        for _ in 0..=REGISTER_RETRIES {
            match attempt(self) {
                Ok(value) => return Ok(value),
                Err(error) => {
                    reason = error.to_string();
                    if error.is::<RegisterError>() {
                        break;
                    }
                    self.count(error.as_ref());
                }
            }
        }
        Err(BusError { id, what, register: register.to_owned(), reason })
    }

    fn count(&mut self, error: &(dyn std::error::Error + 'static)) {
        match trouble(error) {
            Trouble::Timeout => self.stats.timeouts += 1,
            Trouble::Checksum => self.stats.checksum_errors += 1,
            Trouble::Malformed => self.stats.malformed += 1,
            Trouble::Port => self.stats.port_errors += 1,
        }
    }
}

fn trouble(error: &(dyn std::error::Error + 'static)) -> Trouble {
    use std::io::ErrorKind::{TimedOut, UnexpectedEof};
    if let Some(io) = error.downcast_ref::<std::io::Error>() {
        return if matches!(io.kind(), TimedOut | UnexpectedEof) { Trouble::Timeout } else { Trouble::Port };
    }
    match error.downcast_ref::<CommunicationErrorKind>() {
        Some(CommunicationErrorKind::TimeoutError) => Trouble::Timeout,
        Some(CommunicationErrorKind::ChecksumError) => Trouble::Checksum,
        Some(_) => Trouble::Malformed,
        None => Trouble::Port,
    }
}
