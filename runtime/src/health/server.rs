//! The metrics page over HTTP, on this machine only unless told otherwise.
//!
//! One named thread serves one connection at a time. Nothing else of the runtime waits for it: the table is
//! handed over through a slot that is locked only to swap a pointer. A request has at most
//! [`MAX_REQUEST_BYTES`] and a connection at most [`PATIENCE`]; what is slower or longer is cut off and
//! counted. `GET /metrics` is the page, `GET /healthz` says `ok`, or with 503 what is wrong.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use reflexarc_drivers::msg::DiagnosticLevel;

use super::figure::{Health, Part, counter};
use super::page;

/// Longest head of a request, bytes.
pub const MAX_REQUEST_BYTES: usize = 4096;
/// Longest time for one connection, from its acceptance to its end.
pub const PATIENCE: Duration = Duration::from_secs(2);
/// A table older than this means that nobody keeps the books.
pub const FRESH: Duration = Duration::from_secs(5);
/// How often the thread looks whether someone knocks, or whether it should end.
const NAP: Duration = Duration::from_millis(50);

/// Why the page is not served.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The address cannot be listened on.
    #[error("configuration key `metrics.listen` = \"{address}\": cannot listen: {source}")]
    Listen {
        /// The address.
        address: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// The thread could not be started.
    #[error("cannot start the thread `metrics`: {0}")]
    Thread(std::io::Error),
}

/// Where the newest table lies, and how requests went.
#[derive(Debug, Default)]
pub struct Pinboard {
    newest: Mutex<Option<(Instant, Arc<Health>)>>,
    answered: AtomicU64,
    refused: AtomicU64,
    cut_off: AtomicU64,
}

impl Pinboard {
    /// Puts up a new table.
    pub fn put(&self, health: Health) {
        let entry = Some((Instant::now(), Arc::new(health)));
        // The old table is freed after the lock is gone.
        let old = std::mem::replace(&mut *self.newest.lock().unwrap_or_else(PoisonError::into_inner), entry);
        drop(old);
    }

    fn newest(&self) -> Option<(Instant, Arc<Health>)> {
        self.newest.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// How requests went so far, as a part of the table.
    #[must_use]
    pub fn part(&self) -> Part {
        const REQUESTS: super::Metric = counter(
            "reflexarc_metrics_requests_total",
            "Connections to the metrics page, by how they ended.",
        );
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Part::new("metrics", "")
            .count_of("answered", REQUESTS, &[("end", "answered")], count(&self.answered))
            .count_of("refused", REQUESTS, &[("end", "refused")], count(&self.refused))
            .count_of("cut_off", REQUESTS, &[("end", "cut_off")], count(&self.cut_off))
    }
}

/// The page in service. Dropping it ends its thread within [`NAP`] and a moment, whoever is connected.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    pinboard: Arc<Pinboard>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    /// Listens on `address` and starts the thread `metrics`. Whether the address may be used is for the
    /// configuration's check.
    ///
    /// # Errors
    /// [`ServeError`] if the address is taken, not ours or not allowed, or the thread cannot be started.
    pub fn start(address: SocketAddr) -> Result<Self, ServeError> {
        let failed = |source| ServeError::Listen { address: address.to_string(), source };
        let listener = TcpListener::bind(address).map_err(failed)?;
        listener.set_nonblocking(true).map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        let (pinboard, stop) = (Arc::new(Pinboard::default()), Arc::new(AtomicBool::new(false)));
        let thread = std::thread::Builder::new()
            .name("metrics".into())
            .spawn({
                let (pinboard, stop) = (Arc::clone(&pinboard), Arc::clone(&stop));
                move || serve(&listener, &pinboard, &stop)
            })
            .map_err(ServeError::Thread)?;
        Ok(Self { address, pinboard, stop, thread: Some(thread) })
    }

    /// The address listened on, with the port that the system chose if that was 0.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where to put new tables.
    #[must_use]
    pub fn pinboard(&self) -> Arc<Pinboard> {
        Arc::clone(&self.pinboard)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        if let Some(thread) = self.thread.take() {
            // A panic of the thread has been told on stderr; the run is not worse for it.
            let _ = thread.join();
        }
    }
}

fn serve(listener: &TcpListener, pinboard: &Pinboard, stop: &AtomicBool) {
    while !stop.load(Ordering::Acquire) {
        match listener.accept() {
            Ok((stream, _)) => {
                let end = converse(stream, pinboard, stop);
                let counter = match end {
                    End::Answered => &pinboard.answered,
                    End::Refused => &pinboard.refused,
                    End::CutOff => &pinboard.cut_off,
                };
                counter.fetch_add(1, Ordering::Relaxed);
            }
            // Nobody knocks; or the system is out of files, which passes.
            Err(_) => std::thread::sleep(NAP),
        }
    }
}

enum End {
    Answered,
    Refused,
    CutOff,
}

/// One connection: a request, an answer, the end.
fn converse(mut stream: TcpStream, pinboard: &Pinboard, stop: &AtomicBool) -> End {
    let deadline = Instant::now() + PATIENCE;
    let timely = || !stop.load(Ordering::Acquire) && Instant::now() < deadline;
    // Short naps in reading and writing, so that deadline and stop are looked at between them.
    let set = stream
        .set_nonblocking(false)
        .and_then(|()| stream.set_read_timeout(Some(NAP)))
        .and_then(|()| stream.set_write_timeout(Some(NAP)));
    if set.is_err() {
        return End::CutOff;
    }
    let (answer, end) = match read_head(&mut stream, timely) {
        Head::Request(head) => respond(&head, pinboard),
        Head::TooLong => {
            (http(431, "Request Header Fields Too Large", "text/plain", "too long\n", true), End::Refused)
        }
        Head::CutOff => return End::CutOff,
    };
    if write_all(&mut stream, answer.as_bytes(), timely) { end } else { End::CutOff }
}

enum Head {
    Request(String),
    TooLong,
    CutOff,
}

/// Whether an error means only that the nap is over.
fn is_nap(error: &std::io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted)
}

fn read_head(stream: &mut TcpStream, timely: impl Fn() -> bool) -> Head {
    let mut head = Vec::with_capacity(512);
    let mut block = [0_u8; 512];
    while timely() {
        match stream.read(&mut block) {
            Ok(0) => return Head::CutOff,
            Ok(count) => {
                head.extend_from_slice(&block[..count]);
                if head.windows(4).any(|four| four == b"\r\n\r\n")
                    || head.windows(2).any(|two| two == b"\n\n")
                {
                    return Head::Request(String::from_utf8_lossy(&head).into_owned());
                }
                if head.len() > MAX_REQUEST_BYTES {
                    return Head::TooLong;
                }
            }
            Err(error) if is_nap(&error) => {}
            Err(_) => return Head::CutOff,
        }
    }
    Head::CutOff
}

fn write_all(stream: &mut TcpStream, mut bytes: &[u8], timely: impl Fn() -> bool) -> bool {
    while !bytes.is_empty() {
        if !timely() {
            return false;
        }
        match stream.write(bytes) {
            Ok(0) => return false,
            Ok(count) => bytes = &bytes[count..],
            Err(error) if is_nap(&error) => {}
            Err(_) => return false,
        }
    }
    true
}

fn respond(head: &str, pinboard: &Pinboard) -> (String, End) {
    const PLAIN: &str = "text/plain; charset=utf-8";
    let mut words = head.lines().next().unwrap_or_default().split(' ');
    let (method, target, version) = (words.next(), words.next(), words.next());
    let (Some(method), Some(target), Some(version), None) = (method, target, version, words.next()) else {
        return (http(400, "Bad Request", PLAIN, "not a request\n", true), End::Refused);
    };
    if !version.starts_with("HTTP/1.") {
        return (http(505, "HTTP Version Not Supported", PLAIN, "HTTP/1.1 only\n", true), End::Refused);
    }
    let body = match method {
        "GET" => true,
        "HEAD" => false,
        _ => return (http(405, "Method Not Allowed", PLAIN, "GET only\n", true), End::Refused),
    };
    let path = target.split('?').next().unwrap_or_default();
    let newest = pinboard.newest();
    match path {
        "/metrics" => match newest {
            Some((since, health)) => (
                http(
                    200,
                    "OK",
                    page::CONTENT_TYPE,
                    &page::render(&health, since.elapsed().as_secs_f64()),
                    body,
                ),
                End::Answered,
            ),
            None => (http(503, "Service Unavailable", PLAIN, "no figures yet\n", body), End::Answered),
        },
        "/healthz" => match illness(newest) {
            None => (http(200, "OK", PLAIN, "ok\n", body), End::Answered),
            Some(why) => (http(503, "Service Unavailable", PLAIN, &why, body), End::Answered),
        },
        _ => (http(404, "Not Found", PLAIN, "/metrics or /healthz\n", body), End::Refused),
    }
}

/// What is wrong, a line for each part; `None` if nothing is worse than a warning.
fn illness(newest: Option<(Instant, Arc<Health>)>) -> Option<String> {
    let Some((since, health)) = newest else {
        return Some("no figures yet\n".into());
    };
    if since.elapsed() > FRESH {
        return Some(format!("the newest figures are {:.1} s old\n", since.elapsed().as_secs_f64()));
    }
    let ill = health.parts.iter().filter(|part| part.level >= DiagnosticLevel::Error);
    let lines: Vec<String> = ill.map(|part| format!("{}: {}\n", part.name, part.message)).collect();
    (!lines.is_empty()).then(|| lines.concat())
}

fn http(code: u16, reason: &str, kind: &str, text: &str, body: bool) -> String {
    format!(
        "HTTP/1.1 {code} {reason}\r\nContent-Type: {kind}\r\nContent-Length: {}\r\nCache-Control: no-store\r\nConnection: close\r\n\r\n{}",
        text.len(),
        if body { text } else { "" }
    )
}
