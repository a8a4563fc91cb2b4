//! The two ways to a simulated bus: a port in memory, and a pseudo terminal.

use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use serialport::{SerialPort, TTYPort};

use super::ServoSimulator;

/// How long the servos listen on a pseudo terminal before they look at the clock again.
const LOOK: Duration = Duration::from_millis(1);

/// Both ends in one process, without a clock.
pub(super) struct MemoryPort {
    bus: ServoSimulator,
    ready: VecDeque<u8>,
    late: VecDeque<u8>,
    timeout: Duration,
    baud: u32,
}

impl MemoryPort {
    pub(super) fn new(bus: ServoSimulator) -> Self {
        let (ready, late) = Default::default();
        Self { bus, ready, late, timeout: Duration::ZERO, baud: 1_000_000 }
    }
}

impl Read for MemoryPort {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.ready.is_empty() {
            self.ready.append(&mut self.late);
            return Err(io::ErrorKind::TimedOut.into());
        }
        self.ready.read(buffer)
    }
}

impl Write for MemoryPort {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        for (late_ns, reply) in self.bus.receive(bytes) {
            let late = Duration::from_nanos(late_ns) > self.timeout;
            if late { &mut self.late } else { &mut self.ready }.extend(reply);
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// What a port in memory has no wires for.
fn unwired<T>() -> serialport::Result<T> {
    Err(serialport::Error::new(serialport::ErrorKind::InvalidInput, "a port in memory has no such thing"))
}

/// Both ports in memory: bytes wait in `ready`, and there are no wires beside.
macro_rules! memory_port {
    ($port:ty) => {
        impl SerialPort for $port {
            fn name(&self) -> Option<String> {
                None
            }
            fn baud_rate(&self) -> serialport::Result<u32> {
                Ok(self.baud)
            }
            fn data_bits(&self) -> serialport::Result<serialport::DataBits> {
                Ok(serialport::DataBits::Eight)
            }
            fn flow_control(&self) -> serialport::Result<serialport::FlowControl> {
                Ok(serialport::FlowControl::None)
            }
            fn parity(&self) -> serialport::Result<serialport::Parity> {
                Ok(serialport::Parity::None)
            }
            fn stop_bits(&self) -> serialport::Result<serialport::StopBits> {
                Ok(serialport::StopBits::One)
            }
            fn timeout(&self) -> Duration {
                self.timeout
            }
            fn set_baud_rate(&mut self, baud: u32) -> serialport::Result<()> {
                self.baud = baud;
                Ok(())
            }
            fn set_data_bits(&mut self, _: serialport::DataBits) -> serialport::Result<()> {
                unwired()
            }
            fn set_flow_control(&mut self, _: serialport::FlowControl) -> serialport::Result<()> {
                unwired()
            }
            fn set_parity(&mut self, _: serialport::Parity) -> serialport::Result<()> {
                unwired()
            }
            fn set_stop_bits(&mut self, _: serialport::StopBits) -> serialport::Result<()> {
                unwired()
            }
            fn set_timeout(&mut self, timeout: Duration) -> serialport::Result<()> {
                self.timeout = timeout;
                Ok(())
            }
            fn write_request_to_send(&mut self, _: bool) -> serialport::Result<()> {
                unwired()
            }
            fn write_data_terminal_ready(&mut self, _: bool) -> serialport::Result<()> {
                unwired()
            }
            fn read_clear_to_send(&mut self) -> serialport::Result<bool> {
                unwired()
            }
            fn read_data_set_ready(&mut self) -> serialport::Result<bool> {
                unwired()
            }
            fn read_ring_indicator(&mut self) -> serialport::Result<bool> {
                unwired()
            }
            fn read_carrier_detect(&mut self) -> serialport::Result<bool> {
                unwired()
            }
            fn bytes_to_read(&self) -> serialport::Result<u32> {
                Ok(u32::try_from(self.ready.len()).unwrap_or(u32::MAX))
            }
            fn bytes_to_write(&self) -> serialport::Result<u32> {
                Ok(0)
            }
            fn clear(&self, _: serialport::ClearBuffer) -> serialport::Result<()> {
                unwired()
            }
            fn try_clone(&self) -> serialport::Result<Box<dyn SerialPort>> {
                unwired()
            }
            fn set_break(&self) -> serialport::Result<()> {
                unwired()
            }
            fn clear_break(&self) -> serialport::Result<()> {
                unwired()
            }
        }
    };
}

memory_port!(MemoryPort);
memory_port!(Garbage);

/// A port that answers everything with the bytes that it was given, then falls silent: for fuzzing.
pub struct Garbage {
    unheard: VecDeque<u8>,
    ready: VecDeque<u8>,
    timeout: Duration,
    baud: u32,
}

impl Garbage {
    /// A port that answers each instruction with a part of `bytes`.
    #[must_use]
    pub fn new(bytes: &[u8]) -> Self {
        Self {
            unheard: bytes.iter().copied().collect(),
            ready: VecDeque::new(),
            timeout: Duration::ZERO,
            baud: 1_000_000,
        }
    }
}

impl Read for Garbage {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.ready.is_empty() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        self.ready.read(buffer)
    }
}

impl Write for Garbage {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        // What was left of the answer before is not heard any more.
        self.ready.clear();
        let part = self.unheard.len().min(96);
        self.ready.extend(self.unheard.drain(..part));
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Simulated servos behind a pseudo terminal, turning in real time on a thread of their own. Ends when dropped.
#[derive(Debug)]
pub struct PtyBus {
    path: PathBuf,
    ended: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl PtyBus {
    /// Puts `bus` behind a new pseudo terminal.
    ///
    /// # Errors
    /// When the system has none left.
    pub fn start(bus: ServoSimulator) -> Result<Self, serialport::Error> {
        let (mut servos, host) = TTYPort::pair()?;
        servos.set_timeout(LOOK)?;
        // Closed again here: a port is locked by whoever has it open.
        let path = PathBuf::from(host.name().unwrap_or_default());
        drop(host);
        let ended = Arc::new(AtomicBool::new(false));
        let end = Arc::clone(&ended);
        let thread = std::thread::Builder::new()
            .name("servos".to_owned())
            .spawn(move || serve(&bus, &mut servos, &end))
            .map_err(serialport::Error::from)?;
        Ok(Self { path, ended, thread: Some(thread) })
    }

    /// The path to open.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for PtyBus {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Release);
        if let Some(thread) = self.thread.take() {
            // A panic there has been reported by itself.
            let _ended = thread.join();
        }
    }
}

fn serve(bus: &ServoSimulator, port: &mut TTYPort, end: &AtomicBool) {
    let begun = Instant::now();
    let mut waiting: Vec<(Instant, Vec<u8>)> = Vec::new();
    let (mut turned, mut buffer) = (begun, [0; 1024]);
    while !end.load(Ordering::Acquire) {
        let heard = match port.read(&mut buffer) {
            Ok(heard) => heard,
            Err(error) if error.kind() == io::ErrorKind::TimedOut => 0,
            Err(_) => {
                // Nobody has the other end open.
                std::thread::sleep(LOOK);
                0
            }
        };
        let now = Instant::now();
        bus.advance(now.duration_since(turned).as_secs_f64());
        turned = now;
        for (late_ns, reply) in bus.receive(&buffer[..heard]) {
            waiting.push((now + Duration::from_nanos(late_ns), reply));
        }
        let due: Vec<_> = waiting.extract_if(.., |(due, _)| *due <= now).collect();
        for (_, reply) in due {
            // Nobody at the other end is no fault of the servos.
            let _unheard = port.write_all(&reply);
        }
    }
}
