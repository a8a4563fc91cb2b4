//! A bus of simulated servos, down to the bytes: for tests, and for running an arm's driver without an arm.
//!
//! It is reached through a port in memory ([`ServoSimulator::port`]: no clock, answers at once, for lockstep), or
//! through a pseudo terminal ([`PtyBus`]: a path like that of a real adapter). Faults of the wire come from a seed.

mod port;
mod wire;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use serialport::SerialPort;

use super::calibration::JointCalibration;
use super::servo::{STEPS_PER_TURN, ServoKind};
pub use port::{Garbage, PtyBus};
use wire::Instruction;

/// Fastest that a simulated servo turns by itself, steps/s.
const SERVO_SPEED_STEPS_S: f64 = STEPS_PER_TURN as f64;
/// Time constant with which it closes in on its goal, s.
const SERVO_LAG_S: f64 = 0.03;

/// What happens to packets, each with its probability, 0..=1.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct WireFaults {
    /// Seed of all chances.
    pub seed: u64,
    /// An instruction is not heard.
    pub drop_instruction: f64,
    /// A reply is not sent.
    pub drop_reply: f64,
    /// One to three bytes of a reply are others.
    pub corrupt_reply: f64,
    /// A reply comes late.
    pub delay_reply: f64,
    /// How late at the most, ms.
    pub delay_max_ms: u32,
}

/// What has been done to packets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WireFaultCounts {
    /// Instructions heard.
    pub instructions: u64,
    /// Replies sent, whole or not.
    pub replies: u64,
    /// Instructions not heard.
    pub dropped_instructions: u64,
    /// Replies not sent.
    pub dropped_replies: u64,
    /// Replies with other bytes.
    pub corrupted_replies: u64,
    /// Replies that came late.
    pub delayed_replies: u64,
}

#[derive(Debug)]
struct SimulatedServo {
    id: u8,
    registers: [u8; 256],
    position: f64,
    dead: bool,
}

#[derive(Debug)]
struct Inner {
    kind: ServoKind,
    servos: Vec<SimulatedServo>,
    inbox: Vec<u8>,
    faults: WireFaults,
    chance: ChaCha8Rng,
    counts: WireFaultCounts,
}

/// Simulated servos on one bus. Clones share them.
#[derive(Clone, Debug)]
pub struct ServoSimulator {
    inner: Arc<Mutex<Inner>>,
}

/// A reply, and how late it comes, ns.
type Reply = (u64, Vec<u8>);

impl ServoSimulator {
    /// Servos with these calibrations in their registers, in the middle of their ranges, without torque.
    #[must_use]
    pub fn new(kind: ServoKind, servos: &[JointCalibration], faults: WireFaults) -> Self {
        let servos = servos.iter().map(|figures| SimulatedServo::new(kind, figures)).collect();
        let chance = ChaCha8Rng::seed_from_u64(faults.seed);
        let counts = WireFaultCounts::default();
        Self {
            inner: Arc::new(Mutex::new(Inner { kind, servos, inbox: Vec::new(), faults, chance, counts })),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What has been done to packets so far.
    #[must_use]
    pub fn counts(&self) -> WireFaultCounts {
        self.lock().counts
    }

    /// Other faults from now on; the chances go on where they were.
    pub fn set_faults(&self, faults: WireFaults) {
        self.lock().faults = faults;
    }

    /// A servo stops answering and turning, or comes back with its registers as they were.
    pub fn set_dead(&self, index: usize, dead: bool) {
        if let Some(servo) = self.lock().servos.get_mut(index) {
            servo.dead = dead;
        }
    }

    /// Writes a register, as a hand with another tool would.
    pub fn set_register(&self, index: usize, name: &str, value: i64) {
        let mut inner = self.lock();
        let kind = inner.kind;
        if let Some(servo) = inner.servos.get_mut(index) {
            servo.set(kind, name, value);
            if name == "present_position" {
                servo.position = value as f64;
            }
        }
    }

    /// A register's value; 0 for a servo or a register that is not there.
    #[must_use]
    pub fn register(&self, index: usize, name: &str) -> i64 {
        let inner = self.lock();
        inner.servos.get(index).map_or(0, |servo| servo.get(inner.kind, name))
    }

    /// Where a servo is sent, steps; `None` without torque, or dead.
    #[must_use]
    pub fn goal(&self, index: usize) -> Option<i32> {
        let inner = self.lock();
        let servo = inner.servos.get(index)?;
        (!servo.dead && servo.get(inner.kind, "torque_enable") == 1)
            .then(|| servo.get(inner.kind, "goal_position") as i32)
    }

    /// Where a servo is, steps.
    #[must_use]
    pub fn position(&self, index: usize) -> f64 {
        self.lock().servos.get(index).map_or(0.0, |servo| servo.position)
    }

    /// Puts a servo where another simulation has it: position, steps; velocity, steps/s; load, -1..=1.
    pub fn place(&self, index: usize, position: f64, velocity: f64, load: f64) {
        let mut inner = self.lock();
        let kind = inner.kind;
        if let Some(servo) = inner.servos.get_mut(index) {
            servo.position = position;
            servo.show(kind, velocity, load);
        }
    }

    /// Lets the servos turn by themselves for a while: towards their goals, at most a turn a second.
    pub fn advance(&self, elapsed_s: f64) {
        let mut inner = self.lock();
        let kind = inner.kind;
        for servo in &mut inner.servos {
            let mut velocity = 0.0;
            if !servo.dead && servo.get(kind, "torque_enable") == 1 && elapsed_s > 0.0 {
                let away = servo.get(kind, "goal_position") as f64 - servo.position;
                let bound = SERVO_SPEED_STEPS_S * elapsed_s;
                let step = (away * (1.0 - (-elapsed_s / SERVO_LAG_S).exp())).clamp(-bound, bound);
                servo.position += step;
                velocity = step / elapsed_s;
            }
            servo.show(kind, velocity, 0.0);
        }
    }

    /// Bytes from the host; what is answered, and how late.
    fn receive(&self, bytes: &[u8]) -> Vec<Reply> {
        let mut inner = self.lock();
        inner.inbox.extend_from_slice(bytes);
        let protocol = inner.kind.definition().protocol;
        let mut replies = Vec::new();
        loop {
            let inbox = &mut inner.inbox;
            let Some(instruction) = wire::take(protocol, inbox) else { return replies };
            inner.counts.instructions += 1;
            let unheard = inner.faults.drop_instruction;
            if inner.happens(unheard) {
                inner.counts.dropped_instructions += 1;
            } else {
                inner.obey(&instruction, &mut replies);
            }
        }
    }

    /// A port in memory. Replies are there at once; one that is late comes after the wait for it has timed out.
    #[must_use]
    pub fn port(&self) -> Box<dyn SerialPort> {
        Box::new(port::MemoryPort::new(self.clone()))
    }
}

impl Inner {
    fn happens(&mut self, probability: f64) -> bool {
        probability > 0.0 && f64::from(self.chance.next_u32()) < probability * (f64::from(u32::MAX) + 1.0)
    }

    fn obey(&mut self, instruction: &Instruction, replies: &mut Vec<Reply>) {
        let kind = self.kind;
        let protocol = kind.definition().protocol;
        let reached = |servo: &SimulatedServo, id: u8| !servo.dead && (servo.id == id || id == 254);
        let mut answers = Vec::new();
        match instruction {
            Instruction::Ping(id) => {
                answers.extend(
                    self.servos.iter().filter(|servo| reached(servo, *id)).map(|servo| (servo.id, vec![])),
                );
            }
            Instruction::Read { id, first, bytes } => {
                for servo in self.servos.iter().filter(|servo| reached(servo, *id)) {
                    answers.push((servo.id, servo.bytes(*first, *bytes)));
                }
            }
            Instruction::Write { id, first, data } => {
                for servo in self.servos.iter_mut().filter(|servo| reached(servo, *id)) {
                    servo.write(kind, *first, data);
                    answers.push((servo.id, Vec::new()));
                }
            }
            Instruction::SyncRead { ids, first, bytes } => {
                for id in ids {
                    if let Some(servo) = self.servos.iter().find(|servo| reached(servo, *id)) {
                        answers.push((servo.id, servo.bytes(*first, *bytes)));
                    }
                }
            }
            Instruction::SyncWrite { first, each } => {
                for (id, data) in each {
                    if let Some(servo) = self.servos.iter_mut().find(|servo| reached(servo, *id)) {
                        servo.write(kind, *first, data);
                    }
                }
            }
        }
        for (id, data) in answers {
            self.answer(wire::status(protocol, id, 0, &data), replies);
        }
    }

    fn answer(&mut self, mut packet: Vec<u8>, replies: &mut Vec<Reply>) {
        if self.happens(self.faults.drop_reply) {
            self.counts.dropped_replies += 1;
            return;
        }
        if self.happens(self.faults.corrupt_reply) {
            let before = packet.clone();
            for _ in 0..=self.chance.next_u32() % 3 {
                let at = self.chance.next_u32() as usize % packet.len();
                packet[at] = self.chance.next_u32() as u8;
            }
            self.counts.corrupted_replies += u64::from(packet != before);
        }
        let mut late_ns = 0;
        if self.happens(self.faults.delay_reply) {
            let most_us = (self.faults.delay_max_ms * 1000).max(1);
            late_ns = u64::from(self.chance.next_u32() % most_us) * 1000 + 1000;
            self.counts.delayed_replies += 1;
        }
        self.counts.replies += 1;
        replies.push((late_ns, packet));
    }
}

impl SimulatedServo {
    fn new(kind: ServoKind, figures: &JointCalibration) -> Self {
        let position = f64::from((figures.range_min + figures.range_max) / 2);
        let mut servo = Self { id: figures.id, registers: [0; 256], position, dead: false };
        let position_mode = if kind == ServoKind::Sts3215 { 0 } else { 3 };
        for (name, value) in [
            ("model_number", kind.models().first().map_or(0, |model| i64::from(*model))),
            ("id", figures.id.into()),
            ("operating_mode", position_mode),
            ("homing_offset", figures.homing_offset.into()),
            ("min_position_limit", figures.range_min.into()),
            ("max_position_limit", figures.range_max.into()),
            ("torque_limit", 1000),
            ("goal_position", position as i64),
            ("present_temperature", 31),
            ("present_voltage", 74),
            ("present_input_voltage", 74),
        ] {
            servo.set(kind, name, value);
        }
        servo.show(kind, 0.0, 0.0);
        servo
    }

    fn set(&mut self, kind: ServoKind, name: &str, value: i64) {
        if let Ok((first, bytes)) = kind.encode(name, value) {
            let first = usize::from(first);
            if let Some(field) = self.registers.get_mut(first..first + bytes.len()) {
                field.copy_from_slice(&bytes);
            }
        }
    }

    fn get(&self, kind: ServoKind, name: &str) -> i64 {
        let definition = kind.definition();
        let value = definition.register(name).and_then(|register| {
            let first = usize::from(register.addr);
            let field = self.registers.get(first..first + usize::from(register.size))?;
            register.decode(definition.info.word_order, field).ok()
        });
        value.unwrap_or_default()
    }

    /// Position, velocity and load into their registers, in the units of the kind.
    fn show(&mut self, kind: ServoKind, velocity: f64, load: f64) {
        self.set(kind, "present_position", self.position.round() as i64);
        match kind {
            ServoKind::Sts3215 => {
                self.set(kind, "present_velocity", velocity.round() as i64);
                self.set(kind, "present_load", (load.clamp(-1.0, 1.0) * 1000.0).round() as i64);
            }
            ServoKind::Xl330 | ServoKind::Xl430 => {
                let unit = 0.229 / 60.0 * f64::from(STEPS_PER_TURN);
                self.set(kind, "present_velocity", (velocity / unit).round() as i64);
                self.set(kind, "present_current", (load.clamp(-1.0, 1.0) * 1000.0).round() as i64);
            }
        }
    }

    fn bytes(&self, first: u16, bytes: u16) -> Vec<u8> {
        let (first, bytes) = (usize::from(first), usize::from(bytes));
        (first..first + bytes).map(|at| self.registers.get(at).copied().unwrap_or(0)).collect()
    }

    fn write(&mut self, kind: ServoKind, first: u16, data: &[u8]) {
        // Feetech's lasting settings lie below 40 and take nothing while locked.
        let locked = kind == ServoKind::Sts3215 && first < 40 && self.get(kind, "lock") == 1;
        let first = usize::from(first);
        if let (false, Some(field)) = (locked, self.registers.get_mut(first..first + data.len())) {
            field.copy_from_slice(data);
        }
    }
}
