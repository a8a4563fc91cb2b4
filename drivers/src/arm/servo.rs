//! Which servos an arm has, and what their registers mean.

use rustypot::servo::dynamixel::{xl330, xl430};
use rustypot::servo::feetech::sts3215;
use rustypot::servo::{RegisterError, ServoDefinition};
use serde::{Deserialize, Serialize};

/// Steps of one turn, of all servos here.
pub const STEPS_PER_TURN: i32 = 4096;

/// A kind of servo.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ServoKind {
    /// Feetech STS3215 (SO-100, SO-101): protocol 1, 1 Mbaud.
    #[default]
    Sts3215,
    /// Dynamixel XL330: protocol 2.
    Xl330,
    /// Dynamixel XL430: protocol 2.
    Xl430,
}

/// What a servo says about itself, from one read.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Telemetry {
    /// Position, steps.
    pub position: i32,
    /// Velocity, steps/s.
    pub velocity: f64,
    /// Load, as a share of the largest torque (Feetech) or of the largest current (Dynamixel), -1..=1.
    pub load: f64,
    /// Supply, V.
    pub supply_v: f64,
    /// Temperature, °C.
    pub temperature_c: u8,
    /// The alarm byte of the reply as it came; 0: none.
    pub alarms: u8,
}

/// Where the telemetry lies: one block from `first`, and in it the registers by name.
#[derive(Clone, Copy, Debug)]
pub(super) struct Block {
    pub(super) first: u8,
    pub(super) bytes: u8,
}

impl ServoKind {
    /// Registers, addresses and encodings.
    #[must_use]
    pub fn definition(self) -> ServoDefinition {
        match self {
            Self::Sts3215 => sts3215::DEFINITION,
            Self::Xl330 => xl330::DEFINITION,
            Self::Xl430 => xl430::DEFINITION,
        }
    }

    /// The model numbers that belong to this kind. (Feetech's data sheet has 777 for the STS3215; rustypot lists
    /// none.)
    #[must_use]
    pub fn models(self) -> Vec<u16> {
        match self {
            Self::Sts3215 => vec![777],
            Self::Xl330 | Self::Xl430 => self.definition().models.iter().map(|(_, number)| *number).collect(),
        }
    }

    /// From position to temperature in one piece.
    pub(super) fn block(self) -> Block {
        match self {
            // Position 56, speed 58, load 60, voltage 62, temperature 63.
            Self::Sts3215 => Block { first: 56, bytes: 8 },
            // Current 126, velocity 128, position 132, trajectories 136 and 140, voltage 144, temperature 146.
            Self::Xl330 | Self::Xl430 => Block { first: 126, bytes: 21 },
        }
    }

    /// Reads the block's bytes; `None` for another length than [`ServoKind::block`] has.
    pub(super) fn telemetry(self, bytes: &[u8], alarms: u8) -> Option<Telemetry> {
        let block = self.block();
        if bytes.len() != usize::from(block.bytes) {
            return None;
        }
        let definition = self.definition();
        let value = |name: &str| -> Option<i64> {
            let register = definition.register(name)?;
            let at = usize::from(register.addr.checked_sub(block.first)?);
            let field = bytes.get(at..at + usize::from(register.size))?;
            register.decode(definition.info.word_order, field).ok()
        };
        let position = i32::try_from(value("present_position")?).ok()?;
        let velocity = value("present_velocity")? as f64;
        let (velocity, load, supply_v) = match self {
            // Speed in steps/s, load in thousandths of the largest torque, voltage in tenths.
            Self::Sts3215 => {
                (velocity, value("present_load")? as f64 / 1000.0, value("present_voltage")? as f64 / 10.0)
            }
            // 0.229 rpm a unit, 1 mA of about 1.75 A (XL330) or thousandths of the load (XL430).
            Self::Xl330 | Self::Xl430 => {
                let full = if self == Self::Xl330 { 1750.0 } else { 1000.0 };
                (
                    velocity * 0.229 / 60.0 * f64::from(STEPS_PER_TURN),
                    value("present_current")? as f64 / full,
                    value("present_input_voltage")? as f64 / 10.0,
                )
            }
        };
        let temperature_c = u8::try_from(value("present_temperature")?).ok()?;
        Some(Telemetry { position, velocity, load: load.clamp(-1.0, 1.0), supply_v, temperature_c, alarms })
    }

    /// The bytes of a register's value.
    pub(super) fn encode(self, name: &str, value: i64) -> Result<(u8, Vec<u8>), RegisterError> {
        let definition = self.definition();
        let register = definition.register(name).ok_or_else(|| RegisterError::Unknown(name.to_owned()))?;
        Ok((register.addr, register.encode(definition.info.word_order, value)?))
    }

    /// Alarms that a servo puts into its reply, in words. Protocol 1: bits of the byte; protocol 2: bit 7, the
    /// cause being in another register.
    #[must_use]
    pub fn alarm_words(self, alarms: u8) -> String {
        match self {
            Self::Sts3215 => ["voltage", "sensor", "temperature", "current", "angle", "overload"]
                .iter()
                .enumerate()
                .filter(|(bit, _)| alarms >> bit & 1 == 1)
                .map(|(_, word)| *word)
                .collect::<Vec<_>>()
                .join(", "),
            Self::Xl330 | Self::Xl430 if alarms & 0x80 != 0 => "hardware error".to_owned(),
            Self::Xl330 | Self::Xl430 => String::new(),
        }
    }
}
