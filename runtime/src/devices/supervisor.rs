//! Drivers as child processes: started, watched, started again, ended.

use std::io;
use std::path::Path;
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::Driver;
use crate::say;

/// How often the processes are looked at.
const LOOK: Duration = Duration::from_millis(50);
/// Time before an ended driver is started again, doubled each time up to the second figure.
const BACK_OFF: [Duration; 2] = [Duration::from_millis(500), Duration::from_secs(10)];
/// A driver that ran for this long has recovered.
const RECOVERED: Duration = Duration::from_secs(30);
/// Drivers bring their device to rest within this time, or are killed.
const PATIENCE: Duration = Duration::from_secs(3);

/// The drivers that run beside the runtime. They end with it: each reads its standard input, which ends when this
/// process does, however it does.
#[derive(Debug)]
pub struct Supervisor {
    end: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

/// One driver's process.
struct Running {
    driver: Driver,
    process: Option<(Child, Option<ChildStdin>)>,
    begun: Instant,
    wait: Duration,
}

impl Supervisor {
    /// Starts `drivers` of the configuration file `config`, each connected to `endpoint`. What they say goes to this
    /// process' standard error.
    ///
    /// # Errors
    /// When the first start of a driver's process fails.
    pub fn start(drivers: Vec<Driver>, config: &Path, endpoint: &str) -> io::Result<Self> {
        let program = std::env::current_exe()?;
        let (config, endpoint) = (config.to_owned(), endpoint.to_owned());
        let spawn = move |driver: &Driver| {
            let mut child = Command::new(&program)
                .arg("driver")
                .args(driver.words())
                .arg("--config")
                .arg(&config)
                .args(["--connect", &endpoint, "--until-stdin-ends"])
                .stdin(Stdio::piped())
                .stdout(Stdio::null())
                .spawn()?;
            let stdin = child.stdin.take();
            io::Result::Ok((child, stdin))
        };
        let mut running = Vec::new();
        for driver in drivers {
            let process = Some(spawn(&driver)?);
            running.push(Running { driver, process, begun: Instant::now(), wait: BACK_OFF[0] });
        }
        let end = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&end);
        let thread = std::thread::Builder::new().name("drivers".into()).spawn(move || {
            while !told.load(Ordering::Acquire) {
                for one in &mut running {
                    one.look(&spawn);
                }
                std::thread::sleep(LOOK);
            }
            end_all(&mut running);
        })?;
        Ok(Self { end, thread: Some(thread) })
    }
}

impl Drop for Supervisor {
    fn drop(&mut self) {
        self.end.store(true, Ordering::Release);
        if let Some(thread) = self.thread.take() {
            // A panic there has been reported by itself.
            let _ended = thread.join();
        }
    }
}

impl Running {
    fn look(&mut self, spawn: &impl Fn(&Driver) -> io::Result<(Child, Option<ChildStdin>)>) {
        match &mut self.process {
            Some((child, _)) => {
                let Ok(Some(status)) = child.try_wait() else { return };
                if self.begun.elapsed() > RECOVERED {
                    self.wait = BACK_OFF[0];
                }
                say::err(format_args!(
                    "reflexarc: the driver of {} ended ({}), starts again in {:.1} s",
                    self.driver,
                    words(status),
                    self.wait.as_secs_f64()
                ));
                self.process = None;
                self.begun = Instant::now();
            }
            None if self.begun.elapsed() >= self.wait => {
                self.wait = (self.wait * 2).min(BACK_OFF[1]);
                self.begun = Instant::now();
                match spawn(&self.driver) {
                    Ok(process) => self.process = Some(process),
                    Err(error) => {
                        eprintln!("reflexarc: the driver of {} does not start: {error}", self.driver)
                    }
                }
            }
            None => {}
        }
    }
}

fn words(status: ExitStatus) -> String {
    status.code().map_or_else(|| status.to_string(), |code| format!("exit code {code}"))
}

/// Closes every driver's input, and waits for all of them together.
fn end_all(running: &mut [Running]) {
    for one in running.iter_mut() {
        if let Some((_, stdin)) = &mut one.process {
            drop(stdin.take());
        }
    }
    let begun = Instant::now();
    for (child, _) in running.iter_mut().filter_map(|one| one.process.as_mut()) {
        while matches!(child.try_wait(), Ok(None)) && begun.elapsed() < PATIENCE {
            std::thread::sleep(LOOK);
        }
        if matches!(child.try_wait(), Ok(None)) {
            // Both fail only when it has just ended.
            let _killed = child.kill();
            let _reaped = child.wait();
        }
    }
}
