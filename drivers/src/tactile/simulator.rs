//! A pad without hardware: a pseudo terminal that speaks any of the formats, with seeded faults in its bytes.
//!
//! ```no_run
//! use reflexarc_drivers::tactile::simulator::{SimulatedPad, StreamFaults};
//! use reflexarc_drivers::tactile::{TactileConfig, TactileNode};
//! # use reflexarc_drivers::{Clock, link::{Bus, Link}, topic::Topics};
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let link = Link::in_process(&Bus::new(), Clock::system());
//! let config = TactileConfig { port: "/tmp/pad".into(), ..TactileConfig::default() };
//! let pad = SimulatedPad::start(&config, 100, StreamFaults::default())?;
//! let node = TactileNode::start("left", &config, &link, &Topics::new(""))?;
//! # Ok(())
//! # }
//! ```

use std::f32::consts::TAU;
use std::fmt::Write as _;
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use crossbeam::channel::{Receiver, RecvTimeoutError, Sender, bounded};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serialport::{SerialPort, TTYPort};

use super::taxels::{Encoding, encode as encode_taxels};
use super::{TactileConfig, TactileFormat};

/// A simulated pad is left alone for so long after it starts, ms.
const QUIET_MS: u64 = 2_000;
/// Then it is pressed each so many ms, for half of that.
const PRESS_MS: u64 = 4_000;
/// The force of a press in the middle of it, N (raw · scale).
const PRESS_N: f32 = 2.0;

/// What a simulated pad feels in its frame `number` at `rate_hz`: raw values as in
/// [`Frame::values`](super::Frame::values). The same for the same arguments, always.
///
/// Each value has an offset of its own and a little noise; from 2 s on a finger presses for 2 s of each 4 s,
/// with 2 N in all on the last channel and a quarter of that on each other one.
#[must_use]
pub fn felt(config: &TactileConfig, rate_hz: u32, number: u64) -> Vec<f32> {
    let time_ms = number.saturating_mul(1000) / u64::from(rate_hz.max(1));
    let phase = time_ms.saturating_sub(QUIET_MS) % PRESS_MS;
    let press = if phase < PRESS_MS / 2 {
        0.5 - 0.5 * (TAU * phase as f32 / (PRESS_MS / 2) as f32).cos()
    } else {
        0.0
    };
    let taxels = (config.rows * config.columns).max(1);
    let channels = config.channels.max(1);
    let mut noise = ChaCha8Rng::seed_from_u64(number);
    (0..taxels * channels)
        .map(|place| {
            let channel = place % channels;
            let part = if channel + 1 == channels { 1.0 } else { 0.25 };
            let scale = config.scale.get(channel as usize).copied().unwrap_or(1.0);
            let force = PRESS_N * press * part / (taxels as f32 * scale);
            let offset = 10.0 + place as f32;
            offset + 0.1 * config.spread() * noise.random_range(-1.0_f32..1.0) + force
        })
        .collect()
}

/// Appends a frame with the raw `values` to `out`, in the format of `config`; temperatures are 25 °C, taxels
/// are `f32`.
pub fn encode(config: &TactileConfig, number: u64, values: &[f32], out: &mut Vec<u8>) {
    const TEMPERATURE: f32 = 25.0;
    match config.format {
        TactileFormat::Taxels => {
            // A valid configuration has no side above 64.
            let shape = [config.rows as u8, config.columns as u8, config.channels as u8];
            encode_taxels(Encoding::F32, shape, number as u16, values, out);
        }
        TactileFormat::Anyskin => {
            for field in values.chunks(3) {
                out.extend_from_slice(&TEMPERATURE.to_le_bytes());
                out.extend(field.iter().flat_map(|value| value.to_le_bytes()));
            }
            out.extend_from_slice(b"\r\n");
        }
        TactileFormat::AnyskinAscii => {
            let mut line = String::new();
            for field in values.chunks(3) {
                let first = config.temperature.then_some(&TEMPERATURE);
                for value in first.into_iter().chain(field) {
                    // Writing to a string cannot fail.
                    let _ = write!(line, "{value:.2}\t");
                }
            }
            out.extend_from_slice(line.trim_end().as_bytes());
            out.extend_from_slice(b"\r\n");
        }
    }
}

/// What goes wrong on the wire. Chances are 0 to 1; the same seed gives the same faults.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct StreamFaults {
    /// Of the faults.
    pub seed: u64,
    /// Chance of each byte to get lost.
    pub drop_byte: f64,
    /// Chance of each byte to come out as another one.
    pub corrupt_byte: f64,
    /// Chance of each frame to come twice.
    pub duplicate_frame: f64,
    /// Chance of each frame that its end comes only with the next frame.
    pub delay_frame: f64,
    /// Chance of each frame to find the device unplugged, for [`StreamFaults::unplugged_ms`].
    pub unplug_frame: f64,
    /// How long it is unplugged then, ms.
    pub unplugged_ms: u64,
}

/// What has gone wrong.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FaultsDone {
    /// Frames sent, duplicates not counted.
    pub frames: u64,
    /// Frames that lost bytes or had them changed.
    pub damaged: u64,
    /// Bytes lost.
    pub dropped_bytes: u64,
    /// Bytes changed.
    pub corrupted_bytes: u64,
    /// Frames sent twice.
    pub duplicated: u64,
    /// Frames whose end came late.
    pub delayed: u64,
    /// Times unplugged.
    pub unplugged: u64,
    /// Frames that nobody took from the port in time.
    pub refused: u64,
}

/// Puts faults into a stream of frames.
#[derive(Clone, Debug)]
pub struct FaultInjector {
    faults: StreamFaults,
    rng: ChaCha8Rng,
    late: Vec<u8>,
    done: FaultsDone,
}

impl FaultInjector {
    /// Faults as in `faults`.
    #[must_use]
    pub fn new(faults: StreamFaults) -> Self {
        Self {
            faults,
            rng: ChaCha8Rng::seed_from_u64(faults.seed),
            late: Vec::new(),
            done: FaultsDone::default(),
        }
    }

    fn happens(&mut self, chance: f64) -> bool {
        chance > 0.0 && self.rng.random_bool(chance.min(1.0))
    }

    /// Appends to `out` what arrives when `frame` is sent, and before it what was late. Says whether the
    /// frame's bytes are all as they were.
    pub fn send(&mut self, frame: &[u8], out: &mut Vec<u8>) -> bool {
        out.append(&mut self.late);
        let start = out.len();
        let before = self.done.dropped_bytes + self.done.corrupted_bytes;
        for byte in frame {
            if self.happens(self.faults.drop_byte) {
                self.done.dropped_bytes += 1;
            } else if self.happens(self.faults.corrupt_byte) {
                self.done.corrupted_bytes += 1;
                out.push(byte ^ self.rng.random_range(1..=u8::MAX));
            } else {
                out.push(*byte);
            }
        }
        let whole = self.done.dropped_bytes + self.done.corrupted_bytes == before;
        self.done.frames += 1;
        self.done.damaged += u64::from(!whole);
        if self.happens(self.faults.duplicate_frame) {
            self.done.duplicated += 1;
            out.extend_from_within(start..);
        }
        if self.happens(self.faults.delay_frame) && out.len() > start + 1 {
            self.done.delayed += 1;
            self.late = out.split_off(self.rng.random_range(start + 1..out.len()));
        }
        whole
    }

    /// What has gone wrong so far.
    #[must_use]
    pub fn done(&self) -> FaultsDone {
        self.done
    }
}

/// A pad on a pseudo terminal. Dropping it takes the terminal away.
#[derive(Debug)]
pub struct SimulatedPad {
    path: PathBuf,
    done: Arc<Mutex<FaultsDone>>,
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl SimulatedPad {
    /// Sends frames of [`felt`] at `rate_hz` (1 to 1,000) from a thread of its own. `config.port` becomes a
    /// symbolic link to the terminal, as udev makes them; a link that is there already is replaced.
    ///
    /// # Errors
    /// When there is no terminal to be had, or something other than a symbolic link is at `config.port`.
    pub fn start(config: &TactileConfig, rate_hz: u32, faults: StreamFaults) -> std::io::Result<Self> {
        let rate_hz = rate_hz.clamp(1, 1000);
        let terminal = plug(&config.port)?;
        let done = Arc::new(Mutex::new(FaultsDone::default()));
        let (stop, stopped) = bounded(0);
        let wire = Wire { config: config.clone(), rate_hz, faults, done: Arc::clone(&done) };
        let thread = std::thread::Builder::new()
            .name("simulated-pad".into())
            .spawn(move || wire.run(terminal, &stopped))?;
        Ok(Self { path: config.port.clone(), done, stop: Some(stop), thread: Some(thread) })
    }

    /// What has gone wrong so far.
    #[must_use]
    pub fn done(&self) -> FaultsDone {
        *self.done.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for SimulatedPad {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // A panic there has been printed there.
            let _ = thread.join();
        }
        unplug(&self.path);
    }
}

/// Both ends of the terminal: with its own end closed, it would hang up before the first reader comes.
struct Terminal {
    device: TTYPort,
    _host: TTYPort,
}

fn plug(path: &Path) -> std::io::Result<Terminal> {
    let (mut device, host) = TTYPort::pair()?;
    // A device does not wait for its reader.
    device.set_timeout(Duration::ZERO)?;
    let terminal = host.name().ok_or_else(|| std::io::Error::from(ErrorKind::NotFound))?;
    unplug(path);
    std::os::unix::fs::symlink(terminal, path)?;
    Ok(Terminal { device, _host: host })
}

fn unplug(path: &Path) {
    if path.is_symlink() {
        // If it stays, the next opening says so.
        let _ = std::fs::remove_file(path);
    }
}

struct Wire {
    config: TactileConfig,
    rate_hz: u32,
    faults: StreamFaults,
    done: Arc<Mutex<FaultsDone>>,
}

impl Wire {
    fn run(self, terminal: Terminal, stop: &Receiver<()>) {
        let stopped = |wait| matches!(stop.recv_timeout(wait), Err(RecvTimeoutError::Disconnected));
        let mut injector = FaultInjector::new(self.faults);
        let mut terminal = Some(terminal);
        let (mut refused, mut unplugged) = (0, 0);
        let (mut frame, mut bytes) = (Vec::new(), Vec::new());
        let mut number = 0;
        let mut wait = Duration::from_secs(1) / self.rate_hz;
        while !stopped(wait) {
            wait = Duration::from_secs(1) / self.rate_hz;
            frame.clear();
            bytes.clear();
            let values = felt(&self.config, self.rate_hz, number);
            encode(&self.config, number, &values, &mut frame);
            number += 1;
            if injector.happens(self.faults.unplug_frame) {
                unplugged += 1;
                terminal = None;
                unplug(&self.config.port);
                wait = Duration::from_millis(self.faults.unplugged_ms);
            } else if let Some(terminal) = &mut terminal {
                injector.send(&frame, &mut bytes);
                // What is written in part is a fault too, which the reader has to bear.
                if terminal.device.write_all(&bytes).is_err() {
                    refused += 1;
                }
            } else {
                terminal = plug(&self.config.port).ok();
            }
            *self.done.lock().unwrap_or_else(PoisonError::into_inner) =
                FaultsDone { refused, unplugged, ..injector.done() };
        }
    }
}
