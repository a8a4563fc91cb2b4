//! An arm on a link: reads and writes its servos on a thread of its own, at a fixed rate.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use serialport::SerialPort;

use super::bus::ServoBus;
use super::calibration::Calibration;
use super::config::{ArmConfig, ArmConfigError};
use super::driver::{ArmDriver, ArmError, ArmState, ArmStats, Command, Malformed, StopCause};
use super::servo::ServoKind;
use super::simulator::{PtyBus, ServoSimulator, WireFaults};
use crate::clock::Clock;
use crate::link::{Link, LinkError, Publisher, QueueSubscription, Subscription};
use crate::msg::{BoolMsg, DiagnosticLevel, DiagnosticStatus, JointState, JointTrajectory};
use crate::topic::Topics;

/// The port of an arm that is not there: servos simulated on a pseudo terminal.
pub const SIMULATED: &str = "simulated";
/// Resets that may wait.
const RESETS: usize = 8;
/// How long the driver waits after an exclusive port was in use, and how often.
const BUSY: (Duration, usize) = (Duration::from_millis(100), 10);

/// Why an arm's node could not be started.
#[derive(Debug, thiserror::Error)]
pub enum ArmNodeError {
    /// The arm.
    #[error(transparent)]
    Arm(#[from] ArmError),
    /// The link.
    #[error(transparent)]
    Link(#[from] LinkError),
    /// The system has no thread left.
    #[error("cannot start the arm's thread: {0}")]
    Thread(std::io::Error),
}

/// What an arm's node counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ArmNodeStats {
    /// The driver's.
    pub arm: ArmStats,
    /// Periods that were skipped because a cycle took too long.
    pub skipped_periods: u64,
    /// Joint states published.
    pub published: u64,
    /// Joint states that could not be published.
    pub publish_errors: u64,
}

/// A running arm. Dropping it lets the motion come to rest, and leaves the torque as it is.
#[derive(Debug)]
pub struct ArmNode {
    ended: Arc<AtomicBool>,
    shown: Arc<Mutex<(ArmState, ArmNodeStats)>>,
    kind: ServoKind,
    port: String,
    thread: Option<JoinHandle<()>>,
    /// After the thread: it is dropped when nobody talks to it any more.
    _simulated: Option<PtyBus>,
}

/// Opens a serial port. One that is in use is tried again for a second: the node before may be ending.
///
/// # Errors
/// [`ArmError::Port`], with what to do about it.
pub fn open(config: &ArmConfig) -> Result<Box<dyn SerialPort>, ArmError> {
    let path = config.port.display().to_string();
    let mut attempts = BUSY.1;
    loop {
        let opened = serialport::new(&path, config.baud)
            .timeout(Duration::from_millis(config.reply_timeout_ms))
            .open();
        match opened {
            Ok(port) => return Ok(port),
            Err(error) => {
                let reason = error.to_string();
                let busy = reason.contains("busy");
                attempts -= 1;
                if busy && attempts > 0 {
                    std::thread::sleep(BUSY.0);
                    continue;
                }
                let hint = match error.kind() {
                    serialport::ErrorKind::Io(std::io::ErrorKind::PermissionDenied) => {
                        "; join the group dialout (sudo usermod -aG dialout $USER) and log in again"
                    }
                    _ if busy => "; another program has it open",
                    _ => "; `reflexarc devices` lists the ports there are",
                };
                return Err(ArmError::Port { port: path, reason, hint });
            }
        }
    }
}

impl ArmNode {
    /// Opens the port, checks the arm (see [`ArmDriver::start`]) and starts its thread. The port [`SIMULATED`] has
    /// simulated servos with that calibration.
    ///
    /// # Errors
    /// [`ArmNodeError`]; nothing has moved then.
    pub fn start(
        config: &ArmConfig,
        calibration: &Calibration,
        link: &Link,
        topics: &Topics,
    ) -> Result<Self, ArmNodeError> {
        config.validate().map_err(ArmError::from)?;
        let mut config = config.clone();
        let axes = config.axes(calibration).map_err(|error| ArmError::from(ArmConfigError::from(error)))?;
        let mut simulated = None;
        if config.port.as_os_str() == SIMULATED {
            let figures: Vec<_> = axes.iter().map(|axis| axis.figures).collect();
            let servos = ServoSimulator::new(config.servos, &figures, WireFaults::default());
            let bus = PtyBus::start(servos).map_err(|error| ArmError::Port {
                port: SIMULATED.to_owned(),
                reason: error.to_string(),
                hint: "",
            })?;
            config.port = bus.path().to_owned();
            simulated = Some(bus);
        }
        let config = &config;
        let ids = axes.iter().map(|axis| axis.figures.id).collect();
        let port = config.port.display().to_string();
        let timeout = Duration::from_millis(config.reply_timeout_ms);
        let bus = ServoBus::new(open(config)?, config.servos, ids, timeout)
            .map_err(|error| ArmError::Port { port: port.clone(), reason: error.to_string(), hint: "" })?;
        let driver = ArmDriver::start(bus, config, calibration, link.clock().now_ns())?;
        let calibrated = link.publisher(&topics.calibrated)?;
        calibrated.put(&BoolMsg::new(true))?;
        let ended = Arc::new(AtomicBool::new(false));
        let shown = Arc::new(Mutex::new((driver.state(), ArmNodeStats::default())));
        let mut work = Work {
            clock: link.clock().clone(),
            command: link.subscribe(&topics.joint_command)?,
            reset: link.subscribe_queue(&topics.reset, RESETS)?,
            torque_off: link.subscribe(&topics.torque_off)?,
            joint_states: link.publisher(&topics.joint_states)?,
            calibrated,
            newest: None,
            published_ns: 0,
            stats: ArmNodeStats::default(),
            shown: Arc::clone(&shown),
            ended: Arc::clone(&ended),
            period_ns: 1_000_000_000 / u64::from(config.rate_hz),
            brake_ns: config.brake_ms * 1_000_000,
            driver,
        };
        let thread = std::thread::Builder::new()
            .name("arm".to_owned())
            .spawn(move || work.run())
            .map_err(ArmNodeError::Thread)?;
        Ok(Self { ended, shown, kind: config.servos, port, thread: Some(thread), _simulated: simulated })
    }

    fn shown(&self) -> (ArmState, ArmNodeStats) {
        *self.shown.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What the arm does.
    #[must_use]
    pub fn state(&self) -> ArmState {
        self.shown().0
    }

    /// The counters.
    #[must_use]
    pub fn stats(&self) -> ArmNodeStats {
        self.shown().1
    }

    /// The arm's report.
    #[must_use]
    pub fn status(&self) -> DiagnosticStatus {
        let (state, stats) = self.shown();
        let (level, message) = match state {
            ArmState::Following => (DiagnosticLevel::Ok, "follows".to_owned()),
            ArmState::Holding(cause) => (DiagnosticLevel::Ok, format!("holds: {cause:?}")),
            ArmState::Released => (DiagnosticLevel::Warn, "released, no torque".to_owned()),
            ArmState::Stopped { cause, servo } => {
                let why = match cause {
                    StopCause::Dead => "does not answer",
                    StopCause::Jumped => "is where it cannot have got to",
                    StopCause::Hot => "is too hot",
                    StopCause::Alarm => "reports an alarm",
                };
                (DiagnosticLevel::Error, format!("stopped: servo {servo} {why}"))
            }
        };
        let (arm, bus) = (stats.arm, stats.arm.bus);
        let mut status = DiagnosticStatus::new(level, "arm", message);
        status.hardware_id = format!("{:?} on {}", self.kind, self.port);
        [
            ("cycles", arm.cycles),
            ("skipped_periods", stats.skipped_periods),
            ("published", stats.published),
            ("publish_errors", stats.publish_errors),
            ("obeyed", arm.obeyed),
            ("refused_late", arm.refused_late),
            ("refused_far", arm.refused_far),
            ("refused_malformed", arm.refused_malformed),
            ("oldest_obeyed_ns", arm.oldest_obeyed_ns),
            ("clamped", arm.clamped),
            ("missing", arm.missing),
            ("implausible", arm.implausible),
            ("stops", arm.stops),
            ("replies", bus.replies),
            ("timeouts", bus.timeouts),
            ("checksum_errors", bus.checksum_errors),
            ("malformed", bus.malformed),
            ("cut_off", bus.cut_off),
            ("port_errors", bus.port_errors),
            ("write_errors", bus.write_errors),
        ]
        .into_iter()
        .fold(status, |status, (key, value)| status.with(key, value))
    }
}

impl Drop for ArmNode {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Release);
        if let Some(thread) = self.thread.take() {
            // A panic there has been reported by itself.
            let _ended = thread.join();
        }
    }
}

/// What the thread works with.
struct Work {
    driver: ArmDriver,
    clock: Clock,
    command: Subscription<JointTrajectory>,
    reset: QueueSubscription<BoolMsg>,
    torque_off: Subscription<BoolMsg>,
    joint_states: Publisher<JointState>,
    calibrated: Publisher<BoolMsg>,
    /// The newest message as a command, if it is one.
    newest: Option<Result<Command, Malformed>>,
    published_ns: u64,
    stats: ArmNodeStats,
    shown: Arc<Mutex<(ArmState, ArmNodeStats)>>,
    ended: Arc<AtomicBool>,
    period_ns: u64,
    brake_ns: u64,
}

impl Work {
    fn run(&mut self) {
        let mut next_ns = self.clock.now_ns();
        let mut end_ns = None;
        loop {
            let now_ns = self.clock.now_ns();
            // The motion comes to rest before the thread ends.
            if self.ended.load(Ordering::Acquire) {
                match end_ns {
                    None => end_ns = Some(now_ns + self.brake_ns + self.period_ns),
                    Some(end_ns) if now_ns >= end_ns => return,
                    Some(_) => {}
                }
            }
            self.cycle(now_ns, end_ns.is_some());
            next_ns += self.period_ns;
            let done_ns = self.clock.now_ns();
            if done_ns >= next_ns {
                let late = (done_ns - next_ns) / self.period_ns + 1;
                self.stats.skipped_periods += late;
                next_ns += late * self.period_ns;
            }
            std::thread::sleep(Duration::from_nanos(next_ns - done_ns));
        }
    }

    fn cycle(&mut self, now_ns: u64, ending: bool) {
        if let Some(sample) = self.command.latest_unread() {
            let command = self.driver.command(&sample.value);
            if command.is_err() {
                self.driver.count_malformed();
            }
            self.newest = Some(command);
        }
        if let Some(sample) = self.torque_off.latest_unread() {
            // A servo that does not answer here is found dead by the next cycles.
            let _missed = self.driver.release(sample.value.data);
        }
        while let Some(sample) = self.reset.try_recv() {
            if sample.value.data {
                self.driver.reset(now_ns);
            }
        }
        let command = if ending {
            None
        } else {
            self.newest.as_ref().map(|newest| newest.as_ref().map_err(|none| *none))
        };
        let before = self.driver.state();
        self.driver.cycle(now_ns, command);
        self.publish(before);
        self.stats.arm = self.driver.stats();
        *self.shown.lock().unwrap_or_else(PoisonError::into_inner) = (self.driver.state(), self.stats);
    }

    fn publish(&mut self, before: ArmState) {
        let state = self.driver.joint_state();
        let stamp_ns = state.header.stamp_ns();
        // A servo that is not heard of makes the whole state old: readers see it by the stamp.
        if stamp_ns > self.published_ns {
            self.published_ns = stamp_ns;
            let published = self.joint_states.put(&state).is_ok();
            self.stats.published += u64::from(published);
            self.stats.publish_errors += u64::from(!published);
        }
        let doubtful = |state| matches!(state, ArmState::Stopped { cause: StopCause::Jumped, .. });
        let now = self.driver.state();
        if doubtful(before) != doubtful(now) && self.calibrated.put(&BoolMsg::new(!doubtful(now))).is_err() {
            self.stats.publish_errors += 1;
        }
    }
}
