//! The program as a service: what it tells systemd, how signals end it, and what its exit codes say.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests fail by panicking")]

mod common;

use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{Builder, JoinHandle};
use std::time::{Duration, Instant};

use common::{HZ, Plant};
use reflexarc_drivers::{Clock, Link, ZenohConfig};
use rustix::process::{Pid, Signal, kill_process};

/// How long anything may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);
const MODEL: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../vla-model/weights/goal.safetensors");
/// Limits that a busy machine keeps.
const PATIENT: &str = "[senses]\ncamera_max_age_ms = 2000\ntactile_max_age_ms = 2000\njoints_max_age_ms = 2000\n\
                       [safety]\ndecision_max_age_ms = 2000\n";

/// A folder of a test's own.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("reflexarc-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.0.join(name);
        std::fs::write(&path, text).unwrap();
        path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn reflexarc() -> Command {
    Command::new(env!("CARGO_BIN_EXE_reflexarc"))
}

fn signal(child: &Child, signal: Signal) {
    kill_process(Pid::from_child(child), signal).unwrap();
}

/// A robot over zenoh, and the program that drives it, told about a service manager.
struct Driven {
    child: Child,
    manager: UnixDatagram,
    ended: Arc<AtomicBool>,
    robot: Option<JoinHandle<()>>,
    _folder: Folder,
}

impl Driven {
    fn start(name: &str) -> Self {
        let folder = Folder::new(name);
        let socket = folder.0.join("notify");
        let manager = UnixDatagram::bind(&socket).unwrap();
        manager.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
        let clock = Clock::system();
        let server = Link::zenoh(ZenohConfig::default(), clock.clone()).unwrap();
        let address = server.locators()[0].clone();
        let mut plant = Plant::new(server);
        let ended = Arc::new(AtomicBool::new(false));
        let robot = Builder::new()
            .name("robot".into())
            .spawn({
                let ended = Arc::clone(&ended);
                move || {
                    let mut tick = 0;
                    while !ended.load(Ordering::Acquire) {
                        plant.step(tick, clock.now_ns());
                        tick += 1;
                        std::thread::sleep(Duration::from_micros(1_000_000 / HZ));
                    }
                }
            })
            .unwrap();
        let child = reflexarc()
            .args([
                "run",
                "--keep-going",
                "--device",
                "cpu",
                "--model",
                MODEL,
                "--connect",
                &address,
                "--config",
            ])
            .arg(folder.write("robot.toml", PATIENT))
            .env("NOTIFY_SOCKET", &socket)
            .env("WATCHDOG_USEC", "1000000")
            .env_remove("WATCHDOG_PID")
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        Self { child, manager, ended, robot: Some(robot), _folder: folder }
    }

    /// Everything told until `last` is; each line one word for systemd.
    fn told_until(&mut self, last: &str) -> Vec<String> {
        let begun = Instant::now();
        let (mut told, mut bytes) = (Vec::new(), [0; 4096]);
        while !told.iter().any(|line: &String| line.starts_with(last)) {
            assert!(begun.elapsed() < PATIENCE, "never told {last}; only {told:?}");
            // Before the socket: what it said before it ended still waits there.
            let ended = self.child.try_wait().unwrap().is_some();
            match self.manager.recv(&mut bytes) {
                Ok(length) => {
                    let text = String::from_utf8_lossy(&bytes[..length]).into_owned();
                    told.extend(text.lines().map(str::to_owned));
                }
                Err(_) => assert!(!ended, "ended before {last}; told {told:?}"),
            }
        }
        told
    }

    fn code(&mut self) -> Option<i32> {
        let begun = Instant::now();
        while begun.elapsed() < PATIENCE {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status.code();
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        panic!("it does not end");
    }
}

impl Drop for Driven {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        self.ended.store(true, Ordering::Release);
        if let Some(robot) = self.robot.take() {
            let _ = robot.join();
        }
    }
}

#[test]
fn the_service_manager_hears_ready_status_watchdog_and_stopping() {
    let mut driven = Driven::start("service");
    let told = driven.told_until("READY=1");
    assert!(
        !told.iter().any(|line| line == "WATCHDOG=1"),
        "it must not be fed before the loop runs: {told:?}"
    );
    driven.told_until("WATCHDOG=1");
    driven.told_until("STATUS=");
    signal(&driven.child, Signal::TERM);
    driven.told_until("STOPPING=1");
    // Grey cameras show no mug: the model may well have said that it cannot be done.
    let code = driven.code();
    assert!(matches!(code, Some(0 | 3)), "{code:?}");
}

#[test]
fn a_second_signal_ends_it_at_once() {
    let mut driven = Driven::start("twice");
    driven.told_until("READY=1");
    // Both wait when it goes on, however the machine is shared: there is no time to end by the first one.
    signal(&driven.child, Signal::STOP);
    signal(&driven.child, Signal::TERM);
    signal(&driven.child, Signal::INT);
    signal(&driven.child, Signal::CONT);
    let code = driven.code();
    assert!(matches!(code, Some(130 | 143)), "{code:?}");
}

fn run(arguments: &[&str], config: &Path) -> Output {
    reflexarc().args(arguments).arg("--config").arg(config).output().unwrap()
}

#[test]
fn each_kind_of_failure_has_its_exit_code_and_its_words() {
    let folder = Folder::new("codes");
    let plain = folder.write("plain.toml", PATIENT);
    let drive = ["run", "--device", "cpu", "--seconds", "1", "--model", MODEL, "--listen", "tcp/127.0.0.1:0"];
    let without = |what: &str| drive.iter().copied().filter(|word| *word != what).collect::<Vec<_>>();
    let unknown_key = folder.write("unknown.toml", "[rates]\nmind_herz = 60\n");
    let exposed = folder.write("exposed.toml", "[link]\nlisten = [\"tcp/192.0.2.1:7447\"]\n");
    // A CPU that no machine of ours has: the one refusal that needs no particular machine.
    let demanding = folder.write("demanding.toml", "[realtime]\nrequire_realtime = true\ncpu = 1023\n");
    let mut wrong_model = drive.to_vec();
    wrong_model[6] = "Cargo.toml";
    for (arguments, config, code, words) in [
        (drive.to_vec(), &unknown_key, 4, "mind_herz"),
        (wrong_model, &plain, 5, "Cargo.toml"),
        (drive.to_vec(), &exposed, 6, "loopback"),
        (drive.to_vec(), &demanding, 7, "cpu = 1023 refused"),
        (without("run"), &plain, 2, "Usage"),
    ] {
        let output = run(&arguments, config);
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{said}");
        assert!(said.contains(words), "{said}");
    }
    // The demand that was refused says what to change.
    let said = run(&drive, &demanding).stderr;
    assert!(String::from_utf8_lossy(&said).contains("take one of the CPUs"));
}

#[test]
fn the_doctor_speaks_to_people_and_programs() {
    let output = reflexarc().args(["doctor", "--seconds", "0.1"]).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    for subject in ["kernel", "rt throttling", "memory locking", "link exposure", "wakes at 240 Hz"] {
        assert!(said.contains(subject), "{said}");
    }
    let output = reflexarc().args(["doctor", "--seconds", "0", "--json"]).output().unwrap();
    let findings: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(findings.as_array().unwrap().iter().all(|finding| finding["level"].is_string()));
    assert!(output.status.code().is_some_and(|code| code <= 1));
}
