//! How a pad is set up.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// Most values in one frame.
const MAX_VALUES: u32 = 4096;

/// How a pad's bytes are to be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TactileFormat {
    /// AnySkin and ReSkin in burst mode: per magnetometer temperature, Bx, By, Bz as little-endian `f32`,
    /// then `\r\n`. Source: `sensor.py` of raunaqbhirangi/anyskin.
    Anyskin,
    /// AnySkin and ReSkin without burst mode: the same numbers as text, one line each sample.
    AnyskinAscii,
    /// The frame of [`taxels`](super::taxels), for microcontrollers of your own.
    Taxels,
}

impl TactileFormat {
    /// Its name in configurations and reports.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Anyskin => "anyskin",
            Self::AnyskinAscii => "anyskin_ascii",
            Self::Taxels => "taxels",
        }
    }
}

/// One tactile pad.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TactileConfig {
    /// The serial port; a name below `/dev/serial/by-id` survives replugging.
    pub port: PathBuf,
    /// Bits per second, 1,200 to 4,000,000; default 115,200. USB devices with their own port ignore it.
    pub baud: u32,
    /// What the device sends; default `taxels`.
    pub format: TactileFormat,
    /// Rows, 1 to 64; default 4. AnySkin: rows · columns is the number of magnetometers, in their order.
    pub rows: u32,
    /// Columns, 1 to 64; default 4.
    pub columns: u32,
    /// Channels, 1 to 8; default 3. AnySkin has 3: Bx, By, Bz.
    pub channels: u32,
    /// `anyskin_ascii` only: each magnetometer's line part begins with its temperature; default true.
    pub temperature: bool,
    /// From the device's unit to newtons, one factor for each channel; empty (the default) for 1.
    pub scale: Vec<f32>,
    /// A frame with a raw value beyond ± this is refused. The device's unit; default 100,000 (twice the
    /// widest range of AnySkin's magnetometers, in µT).
    pub max_abs: f32,
    /// Frames whose mean is the zero, 0 to 10,000; default 50. 0: the device has its own zero.
    pub baseline_frames: u32,
    /// The most that a value may move (highest less lowest) while the zero is taken. The device's unit; not
    /// set: 50 for AnySkin (µT), 1 for taxels.
    pub baseline_spread: Option<f32>,
    /// Times that the zero is taken before the pad is given up, 1 to 100; default 5.
    pub baseline_attempts: u32,
    /// Take the zero anew after the device was away; default true. What the pad touches then is taken for
    /// nothing; what has drifted meanwhile is right again.
    pub rebaseline_on_reconnect: bool,
    /// A frame older than this when it is complete is refused, and a pad silent for longer is stale, ms, 1 to
    /// 60,000; default 100.
    pub max_age_ms: u64,
}

impl Default for TactileConfig {
    fn default() -> Self {
        Self {
            port: PathBuf::new(),
            baud: 115_200,
            format: TactileFormat::Taxels,
            rows: 4,
            columns: 4,
            channels: 3,
            temperature: true,
            scale: Vec::new(),
            max_abs: 100_000.0,
            baseline_frames: 50,
            baseline_spread: None,
            baseline_attempts: 5,
            rebaseline_on_reconnect: true,
            max_age_ms: 100,
        }
    }
}

/// Which key of a [`TactileConfig`] is wrong.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{key}: expected {expected}, found {found}")]
pub struct TactileConfigError {
    /// The key.
    pub key: &'static str,
    /// What it should be.
    pub expected: String,
    /// What it is.
    pub found: String,
}

impl TactileConfig {
    /// Whether the pad can be set up like this. The port need not exist.
    ///
    /// # Errors
    /// [`TactileConfigError`] for the first key that is wrong.
    pub fn validate(&self) -> Result<(), TactileConfigError> {
        let check = |right: bool, key: &'static str, expected: String, found: String| {
            if right { Ok(()) } else { Err(TactileConfigError { key, expected, found }) }
        };
        let whole = |key: &'static str, found: u64, low: u64, high: u64| {
            check((low..=high).contains(&found), key, format!("{low} to {high}"), found.to_string())
        };
        let port = format!("{:?}", self.port);
        check(!self.port.as_os_str().is_empty(), "port", "the path of a serial port".into(), port)?;
        whole("baud", self.baud.into(), 1_200, 4_000_000)?;
        whole("rows", self.rows.into(), 1, 64)?;
        whole("columns", self.columns.into(), 1, 64)?;
        if self.format == TactileFormat::Taxels {
            whole("channels", self.channels.into(), 1, 8)?;
        } else {
            let expected = format!("3 with the format {} (Bx, By, Bz)", self.format.name());
            check(self.channels == 3, "channels", expected, self.channels.to_string())?;
        }
        let values = self.rows * self.columns * self.channels;
        let expected = format!("at most {MAX_VALUES} values");
        check(values <= MAX_VALUES, "rows × columns × channels", expected, values.to_string())?;
        let scale_right = (self.scale.is_empty() || self.scale.len() == self.channels as usize)
            && self
                .scale
                .iter()
                .all(|factor| factor.is_normal() && (2.0 * self.max_abs * factor).is_finite());
        let expected = format!("none or {} finite factors other than 0", self.channels);
        check(scale_right, "scale", expected, format!("{:?}", self.scale))?;
        let positive = |key: &'static str, found: f32| {
            let right = found.is_normal() && found > 0.0;
            check(right, key, "a finite number above 0".into(), found.to_string())
        };
        positive("max_abs", self.max_abs)?;
        whole("baseline_frames", self.baseline_frames.into(), 0, 10_000)?;
        positive("baseline_spread", self.spread())?;
        whole("baseline_attempts", self.baseline_attempts.into(), 1, 100)?;
        whole("max_age_ms", self.max_age_ms, 1, 60_000)
    }

    /// Values in one frame.
    #[must_use]
    pub fn values(&self) -> usize {
        self.rows as usize * self.columns as usize * self.channels as usize
    }

    /// The most that a value may move while the zero is taken, the device's unit.
    #[must_use]
    pub fn spread(&self) -> f32 {
        self.baseline_spread.unwrap_or(if self.format == TactileFormat::Taxels { 1.0 } else { 50.0 })
    }
}
