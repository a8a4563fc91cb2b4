//! The arm as a state machine: one cycle reads every servo, judges the command, and writes every goal.
//!
//! ```text
//!             fresh command, near            command late, far, malformed
//!  Holding ─────────────────────▶ Following ───────────────────────────▶ Holding (comes to rest in brake_ms)
//!     │  ▲                            │
//!     │  │ reset, all servos well     │ a servo dead, hot, in alarm, or somewhere else than it can be
//!     ▼  │                            ▼
//!   Stopped ◀─────────────────────────┘ (all come to rest in brake_ms, and hold)
//!
//!  torque_off = true: Released from anywhere; false again: holds where the arm is then.
//! ```
//!
//! Promises: a command older than `command_max_age_ms` moves nothing; a goal never moves faster than an axis' speed,
//! and never leaves the calibrated range; one servo that fails stops them all, within `servo_dead_ms` + `brake_ms`
//! of its last reading; no reading is believed that is further from the last one than a servo turns in between.

use super::bus::{BusError, BusStats, ServoBus};
use super::calibration::Calibration;
use super::config::{ArmConfig, ArmConfigError, Axis, AxisKind};
use super::servo::{STEPS_PER_TURN, Telemetry};
use crate::msg::{Header, JointState, JointTrajectory};

/// Faster than any servo here turns unloaded, steps/s (the XL330 at 5 V: 103 rpm).
const FASTEST_STEPS_S: f64 = 2.0 * STEPS_PER_TURN as f64;
/// Beyond what its speed explains a reading may be off by this much, steps.
const SLACK_STEPS: f64 = 32.0;
/// Readings in a row that agree with each other and not with the last believed one: the servo is elsewhere.
const JUMP_READINGS: u32 = 5;
/// Attempts at a first reading of every servo.
const FIRST_READS: usize = 20;
/// A stamp further ahead than this is no command of now, ns.
const FUTURE_NS: u64 = 10_000_000;
/// Alarms and temperatures that last for this many readings are believed: the checksum of protocol 1 is a byte, so one
/// broken reply in 256 passes it.
const LASTING_READINGS: u32 = 10;
/// The torque limit of a servo with this value is all it has.
const FULL_TORQUE: f64 = 1000.0;
/// Weaker than this a gripper's servo does not move itself.
const LEAST_TORQUE: f64 = 50.0;

/// Why an arm could not be started.
#[derive(Debug, thiserror::Error)]
pub enum ArmError {
    /// The configuration or the calibration is at fault.
    #[error(transparent)]
    Config(#[from] ArmConfigError),
    /// The port could not be opened or set.
    #[error("serial port {port}: {reason}{hint}")]
    Port {
        /// The port.
        port: String,
        /// What the system said.
        reason: String,
        /// What to do, or empty.
        hint: &'static str,
    },
    /// A servo did not answer.
    #[error("{0}; is the arm powered, and is every cable in place? `reflexarc setup` looks at each servo")]
    Silent(BusError),
    /// A servo of another kind.
    #[error("servo {id} ({axis}): model {found}, expected {expected:?} for {kind:?}")]
    Model {
        /// The servo.
        id: u8,
        /// Its axis.
        axis: String,
        /// Its model number.
        found: i64,
        /// The numbers of the configured kind.
        expected: Vec<u16>,
        /// The configured kind.
        kind: super::servo::ServoKind,
    },
    /// The servos hold other figures than the calibration file: another arm's file, or an arm that has been
    /// calibrated since. Nothing moves.
    #[error(
        "the calibration file is not that of this arm: {}; take the right file, or run `reflexarc setup` to write \
         this one into the servos", differences.join("; ")
    )]
    CalibrationDiffers {
        /// Each register that differs, in words.
        differences: Vec<String>,
    },
    /// A servo is not in position mode.
    #[error(
        "servo {id} ({axis}): operating mode {found}, expected {expected} (position); `reflexarc setup` sets it"
    )]
    Mode {
        /// The servo.
        id: u8,
        /// Its axis.
        axis: String,
        /// Its mode.
        found: i64,
        /// Position mode.
        expected: i64,
    },
}

/// Why the arm holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HoldCause {
    /// No command has come yet.
    NoCommand,
    /// The newest command is too old.
    Late,
    /// The newest command is none for this arm.
    Malformed,
    /// The newest command is too far from where the arm is.
    Far,
}

/// Why the arm has stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StopCause {
    /// A servo does not answer any more.
    Dead,
    /// A servo is where it cannot have got to: it was restarted, or its calibration is gone.
    Jumped,
    /// A servo is too hot.
    Hot,
    /// A servo reports an alarm.
    Alarm,
}

/// What the arm does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ArmState {
    /// Comes to rest and stays.
    Holding(HoldCause),
    /// Follows commands.
    Following,
    /// Comes to rest and stays until a reset.
    Stopped {
        /// Why.
        cause: StopCause,
        /// The servo's number.
        servo: u8,
    },
    /// Without torque, as was asked.
    Released,
}

/// What an arm counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ArmStats {
    /// Cycles.
    pub cycles: u64,
    /// Cycles in which a fresh command was obeyed.
    pub obeyed: u64,
    /// Cycles in which the newest command was too old.
    pub refused_late: u64,
    /// Cycles in which the newest command was too far from the arm to begin with.
    pub refused_far: u64,
    /// Commands that were none for this arm.
    pub refused_malformed: u64,
    /// Age of the oldest command that was obeyed, ns.
    pub oldest_obeyed_ns: u64,
    /// Steps of a goal that were cut to an axis' speed.
    pub clamped: u64,
    /// Readings that did not come.
    pub missing: u64,
    /// Readings that came and were not believed.
    pub implausible: u64,
    /// Times that the arm was stopped.
    pub stops: u64,
    /// The wire.
    pub bus: BusStats,
}

/// A command in the order of the arm's axes.
#[derive(Clone, Debug, PartialEq)]
pub struct Command {
    /// When it was given, in the clock of the cycles, ns.
    pub stamp_ns: u64,
    /// Where to be, rad or m.
    pub values: Vec<f64>,
    /// Force limits, N; 0: as it is.
    pub effort: Vec<f64>,
}

/// A message that is no command for this arm.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed;

/// What is believed of one servo.
#[derive(Clone, Copy, Debug)]
struct Reading {
    telemetry: Telemetry,
    time_ns: u64,
    /// Readings in a row that were not believed, and the last of them.
    strange: u32,
    strange_position: i32,
    /// Readings in a row with an alarm, and that are too hot.
    alarms: u32,
    hot: u32,
}

/// A motion that comes to rest.
#[derive(Clone, Debug)]
struct Brake {
    since_ns: u64,
    velocity: Vec<f64>,
}

/// One arm.
#[derive(Debug)]
pub struct ArmDriver {
    bus: ServoBus,
    axes: Vec<Axis>,
    config: ArmConfig,
    state: ArmState,
    readings: Vec<Reading>,
    goal: Vec<f64>,
    velocity: Vec<f64>,
    brake: Option<Brake>,
    torque: Vec<Option<i64>>,
    cycle_ns: u64,
    stats: ArmStats,
    scratch: Vec<Option<Telemetry>>,
}

impl ArmDriver {
    /// Checks that the servos on `bus` are those of `calibration`, reads where they are, and switches their torque on
    /// there. Writes nothing that outlives the power. `bus` has the axes' servos in the axes' order.
    ///
    /// # Errors
    /// [`ArmError`]; nothing has moved then.
    pub fn start(
        mut bus: ServoBus,
        config: &ArmConfig,
        calibration: &Calibration,
        now_ns: u64,
    ) -> Result<Self, ArmError> {
        let axes = config.axes(calibration).map_err(ArmConfigError::from)?;
        verify(&mut bus, &axes)?;
        let mut readings: Vec<Option<Telemetry>> = vec![None; axes.len()];
        let mut fresh = readings.clone();
        for _ in 0..FIRST_READS {
            bus.read(&mut fresh);
            for (known, new) in readings.iter_mut().zip(&fresh) {
                *known = new.or(*known);
            }
            if fresh.iter().all(Option::is_some) {
                break;
            }
        }
        let mut known = Vec::new();
        for (axis, reading) in axes.iter().zip(&readings) {
            let telemetry = reading.ok_or_else(|| {
                ArmError::Silent(BusError {
                    id: axis.figures.id,
                    what: "read",
                    register: "present_position".to_owned(),
                    reason: format!("no answer in {FIRST_READS} cycles"),
                })
            })?;
            known.push(Reading {
                telemetry,
                time_ns: now_ns,
                strange: 0,
                strange_position: 0,
                alarms: 0,
                hot: 0,
            });
        }
        let mut driver = Self {
            bus,
            config: config.clone(),
            state: ArmState::Holding(HoldCause::NoCommand),
            goal: vec![0.0; axes.len()],
            velocity: vec![0.0; axes.len()],
            brake: None,
            torque: vec![None; axes.len()],
            cycle_ns: now_ns,
            stats: ArmStats::default(),
            scratch: vec![None; axes.len()],
            readings: known,
            axes,
        };
        driver.stand_here();
        driver.write_goals();
        driver.bus.set_torque(true).map_err(ArmError::Silent)?;
        driver.write_goals();
        Ok(driver)
    }

    /// The axes, in the order of all values.
    #[must_use]
    pub fn axes(&self) -> &[Axis] {
        &self.axes
    }

    /// What the arm does.
    #[must_use]
    pub fn state(&self) -> ArmState {
        self.state
    }

    /// The counters.
    #[must_use]
    pub fn stats(&self) -> ArmStats {
        ArmStats { bus: self.bus.stats(), ..self.stats }
    }

    /// What is believed of each servo, and since when, ns.
    pub fn readings(&self) -> impl Iterator<Item = (Telemetry, u64)> {
        self.readings.iter().map(|reading| (reading.telemetry, reading.time_ns))
    }

    /// A message as a command: it must name every axis once, and have a finite position for each in its first point.
    ///
    /// # Errors
    /// [`Malformed`] if it is none for this arm.
    pub fn command(&self, message: &JointTrajectory) -> Result<Command, Malformed> {
        let point = message.points.first().ok_or(Malformed)?;
        let count = self.axes.len();
        let given = |values: &[f64]| values.is_empty() || values.len() == count;
        if message.joint_names.len() != count || point.positions.len() != count || !given(&point.effort) {
            return Err(Malformed);
        }
        let mut values = Vec::with_capacity(count);
        let mut effort = Vec::with_capacity(count);
        for axis in &self.axes {
            let at = message.joint_names.iter().position(|name| *name == axis.name).ok_or(Malformed)?;
            values.push(point.positions[at]);
            effort.push(point.effort.get(at).copied().unwrap_or(0.0));
        }
        let finite = values.iter().chain(&effort).all(|value| value.is_finite());
        if finite {
            Ok(Command { stamp_ns: message.header.stamp_ns(), values, effort })
        } else {
            Err(Malformed)
        }
    }

    /// Counts a message that was no command; once for each.
    pub fn count_malformed(&mut self) {
        self.stats.refused_malformed += 1;
    }

    /// One cycle at `now_ns`: reads, judges, writes. `command` is the newest one, however old, or that the
    /// newest message is none. Takes at most one reply timeout for each servo and one more.
    pub fn cycle(&mut self, now_ns: u64, command: Option<Result<&Command, Malformed>>) {
        self.stats.cycles += 1;
        let period_s = 1.0 / f64::from(self.config.rate_hz);
        let since_s = now_ns.saturating_sub(self.cycle_ns) as f64 * 1e-9;
        let dt_s = since_s.clamp(0.0, 3.0 * period_s);
        self.cycle_ns = now_ns;
        self.read(now_ns);
        if self.state == ArmState::Released {
            return;
        }
        if let Some((servo, cause)) = self.fault(now_ns)
            && !matches!(self.state, ArmState::Stopped { .. })
        {
            self.stats.stops += 1;
            self.leave(ArmState::Stopped { cause, servo }, now_ns);
        }
        if !matches!(self.state, ArmState::Stopped { .. }) {
            match self.judge(now_ns, command) {
                Ok(command) => self.follow(command, dt_s),
                Err(cause) => self.leave(ArmState::Holding(cause), now_ns),
            }
        }
        if self.state != ArmState::Following {
            self.come_to_rest(now_ns, dt_s);
        }
        self.write_goals();
    }

    /// Leaves a stop if its cause is gone; says whether the arm is not stopped now. The arm then holds where it is.
    pub fn reset(&mut self, now_ns: u64) -> bool {
        if let ArmState::Stopped { cause, .. } = self.state {
            if cause == StopCause::Jumped {
                if verify(&mut self.bus, &self.axes).is_err() {
                    return false;
                }
                // Where it is said to be is where it is: its calibration is in place.
                for reading in self.readings.iter_mut().filter(|reading| reading.strange >= JUMP_READINGS) {
                    reading.telemetry.position = reading.strange_position;
                    reading.strange = 0;
                    reading.time_ns = now_ns;
                }
            }
            if self.fault(now_ns).is_some() {
                return false;
            }
            self.state = ArmState::Holding(HoldCause::NoCommand);
            self.stand_here();
        }
        true
    }

    /// Lets go of the arm, or holds it again where it is then. Letting go drops what is held, the arm included.
    ///
    /// # Errors
    /// The first servo's that did not answer; the others are switched.
    pub fn release(&mut self, released: bool) -> Result<(), BusError> {
        if released == (self.state == ArmState::Released) {
            return Ok(());
        }
        if !released {
            self.stand_here();
            self.write_goals();
        }
        self.brake = None;
        let switched = self.bus.set_torque(!released);
        // Let go of in part is let go of: nothing is commanded any more. Held in part is not held.
        self.state = match (released, &switched) {
            (false, Ok(())) => ArmState::Holding(HoldCause::NoCommand),
            _ => ArmState::Released,
        };
        switched
    }

    /// What the joints are, stamped with the oldest reading in it; efforts in N where the gripper's force is known,
    /// otherwise as a share of full torque.
    #[must_use]
    pub fn joint_state(&self) -> JointState {
        let stamp_ns = self.readings.iter().map(|reading| reading.time_ns).min().unwrap_or_default();
        let axes = || self.axes.iter().zip(&self.readings);
        JointState {
            header: Header::new(stamp_ns, "base"),
            name: self.axes.iter().map(|axis| axis.name.clone()).collect(),
            position: axes().map(|(axis, reading)| axis.value(reading.telemetry.position)).collect(),
            velocity: axes()
                .map(|(axis, reading)| axis.value_per_step() * reading.telemetry.velocity)
                .collect(),
            effort: axes()
                .map(|(axis, reading)| match axis.kind {
                    AxisKind::Width { full_force_n, .. } if full_force_n > 0.0 => {
                        reading.telemetry.load.abs() * full_force_n
                    }
                    _ => reading.telemetry.load,
                })
                .collect(),
        }
    }

    fn read(&mut self, now_ns: u64) {
        let mut fresh = std::mem::take(&mut self.scratch);
        self.bus.read(&mut fresh);
        for ((reading, axis), new) in self.readings.iter_mut().zip(&self.axes).zip(&fresh) {
            match new {
                None => self.stats.missing += 1,
                Some(telemetry) => {
                    let believed = reading.take(*telemetry, axis, now_ns);
                    self.stats.implausible += u64::from(!believed);
                    let hot = believed && telemetry.temperature_c > self.config.max_temperature_c;
                    reading.hot = if hot { reading.hot + 1 } else { 0 };
                }
            }
        }
        self.scratch = fresh;
    }

    /// What stops the arm, and which servo.
    fn fault(&self, now_ns: u64) -> Option<(u8, StopCause)> {
        let dead_ns = self.config.servo_dead_ms * 1_000_000;
        self.axes.iter().zip(&self.readings).find_map(|(axis, reading)| {
            let cause = if reading.strange >= JUMP_READINGS {
                StopCause::Jumped
            } else if now_ns.saturating_sub(reading.time_ns) > dead_ns {
                StopCause::Dead
            } else if reading.hot >= LASTING_READINGS {
                StopCause::Hot
            } else if reading.alarms >= LASTING_READINGS {
                StopCause::Alarm
            } else {
                return None;
            };
            Some((axis.figures.id, cause))
        })
    }

    /// The command, if it is one to obey now.
    fn judge<'a>(
        &mut self,
        now_ns: u64,
        command: Option<Result<&'a Command, Malformed>>,
    ) -> Result<&'a Command, HoldCause> {
        let command = command.ok_or(HoldCause::NoCommand)?.map_err(|Malformed| HoldCause::Malformed)?;
        let age_ns = now_ns.saturating_sub(command.stamp_ns);
        if age_ns > self.config.command_max_age_ms * 1_000_000
            || command.stamp_ns.saturating_sub(now_ns) > FUTURE_NS
        {
            self.stats.refused_late += 1;
            return Err(HoldCause::Late);
        }
        let near = |((axis, reading), value): ((&Axis, &Reading), &f64)| match axis.kind {
            AxisKind::Angle { .. } => {
                (value - axis.value(reading.telemetry.position)).abs() <= self.config.engage_rad
            }
            AxisKind::Width { .. } => true,
        };
        if self.state != ArmState::Following
            && !self.axes.iter().zip(&self.readings).zip(&command.values).all(near)
        {
            self.stats.refused_far += 1;
            return Err(HoldCause::Far);
        }
        self.stats.obeyed += 1;
        self.stats.oldest_obeyed_ns = self.stats.oldest_obeyed_ns.max(age_ns);
        Ok(command)
    }

    fn follow(&mut self, command: &Command, dt_s: f64) {
        if self.state != ArmState::Following {
            self.stand_here();
            self.state = ArmState::Following;
        }
        self.brake = None;
        for (i, axis) in self.axes.iter().enumerate() {
            let step = command.values[i] - self.goal[i];
            let bound = axis.max_speed * dt_s;
            let taken = step.clamp(-bound, bound);
            self.stats.clamped += u64::from(taken != step);
            self.goal[i] += taken;
            self.velocity[i] = if dt_s > 0.0 { taken / dt_s } else { 0.0 };
            if let AxisKind::Width { full_force_n, .. } = axis.kind
                && full_force_n > 0.0
                && command.effort[i] > 0.0
                && self.bus.kind().definition().info.eeprom_lock
            {
                let share = command.effort[i] / full_force_n * FULL_TORQUE;
                let limit = share.clamp(LEAST_TORQUE, FULL_TORQUE).round() as i64;
                if self.torque[i] != Some(limit) {
                    self.torque[i] = Some(limit);
                    self.bus.post_register(axis.figures.id, "torque_limit", limit);
                }
            }
        }
    }

    /// Into another state than following; a motion begins to come to rest.
    fn leave(&mut self, state: ArmState, now_ns: u64) {
        if self.state == ArmState::Following {
            let velocity = std::mem::replace(&mut self.velocity, vec![0.0; self.axes.len()]);
            self.brake = Some(Brake { since_ns: now_ns, velocity });
        }
        self.state = state;
    }

    /// The goals' velocities fall to zero evenly.
    fn come_to_rest(&mut self, now_ns: u64, dt_s: f64) {
        let Some(brake) = &self.brake else { return };
        let brake_ns = (self.config.brake_ms * 1_000_000) as f64;
        let left = 1.0 - now_ns.saturating_sub(brake.since_ns) as f64 / brake_ns;
        if left <= 0.0 {
            self.brake = None;
            return;
        }
        for (goal, velocity) in self.goal.iter_mut().zip(&brake.velocity) {
            *goal += velocity * left * dt_s;
        }
    }

    /// The goals become where the arm is.
    fn stand_here(&mut self) {
        for ((goal, axis), reading) in self.goal.iter_mut().zip(&self.axes).zip(&self.readings) {
            *goal = axis.value(reading.telemetry.position);
        }
        self.velocity.fill(0.0);
        self.brake = None;
    }

    fn write_goals(&mut self) {
        // A goal is never anything but a number; should it be, the servo is sent where it is.
        let steps: Vec<i32> = self
            .axes
            .iter()
            .zip(&self.goal)
            .zip(&self.readings)
            .map(|((axis, goal), reading)| axis.steps(*goal).unwrap_or(reading.telemetry.position))
            .collect();
        self.bus.write_goals(&steps);
    }
}

impl Reading {
    /// Believes a reading or not.
    fn take(&mut self, telemetry: Telemetry, axis: &Axis, now_ns: u64) -> bool {
        let elapsed_s = now_ns.saturating_sub(self.time_ns) as f64 * 1e-9;
        let reach = |from: i32, elapsed_s: f64| {
            f64::from((telemetry.position - from).abs()) <= SLACK_STEPS + FASTEST_STEPS_S * elapsed_s
        };
        let beyond = f64::from(axis.figures.range_min - telemetry.position)
            .max(f64::from(telemetry.position - axis.figures.range_max));
        if reach(self.telemetry.position, elapsed_s) && beyond <= f64::from(STEPS_PER_TURN / 8) {
            self.alarms = if telemetry.alarms == 0 { 0 } else { self.alarms + 1 };
            self.telemetry = telemetry;
            self.time_ns = now_ns;
            self.strange = 0;
            return true;
        }
        // Chance does not say the same thing twice.
        self.strange =
            if self.strange > 0 && reach(self.strange_position, 0.0) { self.strange + 1 } else { 1 };
        self.strange_position = telemetry.position;
        false
    }
}

/// Checks model, mode and calibration of every servo.
fn verify(bus: &mut ServoBus, axes: &[Axis]) -> Result<(), ArmError> {
    let kind = bus.kind();
    let position_mode = kind
        .definition()
        .info
        .operating_modes
        .iter()
        .find(|(name, _)| *name == "position")
        .map_or(0, |(_, mode)| i64::from(*mode));
    let mut differences = Vec::new();
    for axis in axes {
        let figures = axis.figures;
        let mut read = |name: &str| bus.register(figures.id, name).map_err(ArmError::Silent);
        let found = read("model_number")?;
        let expected = kind.models();
        if !expected.iter().any(|model| i64::from(*model) == found) {
            return Err(ArmError::Model { id: figures.id, axis: axis.name.clone(), found, expected, kind });
        }
        let found = read("operating_mode")?;
        if found != position_mode {
            let axis = axis.name.clone();
            return Err(ArmError::Mode { id: figures.id, axis, found, expected: position_mode });
        }
        for (register, expected) in calibration_registers(axis) {
            let found = read(register)?;
            if found != expected {
                differences.push(format!(
                    "servo {} ({}) has {register} {found}, the file {expected}",
                    figures.id, axis.name
                ));
            }
        }
    }
    if differences.is_empty() { Ok(()) } else { Err(ArmError::CalibrationDiffers { differences }) }
}

/// The registers that hold a calibration, and what the file says.
#[must_use]
pub fn calibration_registers(axis: &Axis) -> [(&'static str, i64); 3] {
    let figures = axis.figures;
    [
        ("homing_offset", figures.homing_offset.into()),
        ("min_position_limit", figures.range_min.into()),
        ("max_position_limit", figures.range_max.into()),
    ]
}
