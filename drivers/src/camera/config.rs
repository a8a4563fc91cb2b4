//! What a camera is asked to be.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::CameraError;
use crate::link::MAX_MESSAGE_BYTES;

/// Most columns or rows of a published frame, pixels.
pub const MAX_SIDE_PX: u32 = 4096;
/// Room for what an image message carries beside its pixels, bytes.
const HEADER_BYTES: usize = 4096;
/// The synthetic pattern has no room for its counter in anything smaller, pixels.
const MIN_SYNTHETIC_PX: (u32, u32) = (32, 8);

/// How a camera sends its pixels.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PixelFormat {
    /// Motion JPEG where the camera has it, because several cameras then share one USB bus; else YUYV.
    #[default]
    Auto,
    /// Motion JPEG.
    Mjpeg,
    /// YUV 4:2:2, packed.
    Yuyv,
}

/// Where frames come from.
#[derive(Clone, Debug, PartialEq)]
pub enum CameraSource {
    /// A camera of the Linux kernel (UVC and others).
    V4l2 {
        /// Its node: `/dev/video0`, or better a path that stays, such as `/dev/v4l/by-id/...`.
        device: PathBuf,
        /// How it is to send pixels.
        format: PixelFormat,
        /// Columns to ask the camera for, pixels; it may choose others near by.
        capture_width_px: u32,
        /// Rows to ask the camera for, pixels.
        capture_height_px: u32,
    },
    /// The PNG and JPEG files of a folder, in the order of their names.
    Folder {
        /// The folder.
        folder: PathBuf,
        /// Whether the first file follows the last; otherwise the camera ends there.
        repeat: bool,
    },
    /// A moving pattern with a counter in it, see [`super::synthetic`].
    Synthetic,
}

/// One camera. As TOML:
///
/// ```
/// # use reflexarc_drivers::camera::CameraConfig;
/// # fn main() -> Result<(), toml::de::Error> {
/// let config: CameraConfig = toml::from_str(
///     r#"
///     source = "v4l2"               # or "folder" (folder = "frames", repeat = true), or "synthetic"
///     device = "/dev/video0"
///     format = "mjpeg"              # or "yuyv", or "auto", the default
///     capture_width_px = 640        # what the camera is asked for; 640 x 480 by default
///     capture_height_px = 480
///     width_px = 224                # what is published; 224 x 224 by default
///     height_px = 224
///     rate_hz = 30
///     rotate_deg = 180              # clockwise; 0 by default
///     background_frames = 0         # gel tactile sensors only, see `camera::gel`
///     timeout_ms = 1000
///     "#,
/// )?;
/// # assert!(config.validate().is_ok());
/// # Ok(())
/// # }
/// ```
///
/// A key that the source does not know is an error, like an unknown one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Table", into = "Table")]
pub struct CameraConfig {
    /// Where frames come from.
    pub source: CameraSource,
    /// Columns of a published frame, pixels.
    pub width_px: u32,
    /// Rows of a published frame, pixels.
    pub height_px: u32,
    /// Frames per second. A camera is asked for it and takes the nearest rate that it has.
    pub rate_hz: f64,
    /// Turns the picture clockwise: 0, 90, 180 or 270 degrees.
    pub rotate_deg: u16,
    /// Frames whose mean is the background of a gel tactile sensor; 0: not a gel, frames as they are.
    pub background_frames: u32,
    /// Without a frame for this long (or three periods, if longer) a camera is frozen, and reopened, ms.
    pub timeout_ms: u64,
}

impl CameraConfig {
    /// A camera with the defaults: 224 × 224 pixels, 30 Hz, upright, no background, 1 s.
    #[must_use]
    pub fn new(source: CameraSource) -> Self {
        Self {
            source,
            width_px: 224,
            height_px: 224,
            rate_hz: 30.0,
            rotate_deg: 0,
            background_frames: 0,
            timeout_ms: 1000,
        }
    }

    /// Whether a camera can be that.
    ///
    /// # Errors
    /// [`CameraError::Config`] with the key, its value and what was expected.
    pub fn validate(&self) -> Result<(), CameraError> {
        let side =
            |key, value: u32| check((1..=MAX_SIDE_PX).contains(&value), key, value, "1 to 4096 pixels");
        side("width_px", self.width_px)?;
        side("height_px", self.height_px)?;
        let bytes = self.width_px as usize * self.height_px as usize * 3;
        let size = format!("{} x {}", self.width_px, self.height_px);
        let fits = bytes <= MAX_MESSAGE_BYTES - HEADER_BYTES;
        check(fits, "width_px x height_px", size, "at most 8 MiB of three bytes each")?;
        check((0.1..=1000.0).contains(&self.rate_hz), "rate_hz", self.rate_hz, "0.1 to 1000 Hz")?;
        let turn = matches!(self.rotate_deg, 0 | 90 | 180 | 270);
        check(turn, "rotate_deg", self.rotate_deg, "0, 90, 180 or 270 degrees")?;
        let frames = self.background_frames;
        check(frames <= 10_000, "background_frames", frames, "at most 10000 frames")?;
        let timeout = (10..=60_000).contains(&self.timeout_ms);
        check(timeout, "timeout_ms", self.timeout_ms, "10 to 60000 ms")?;
        match &self.source {
            CameraSource::V4l2 { device, capture_width_px, capture_height_px, .. } => {
                check(
                    !device.as_os_str().is_empty(),
                    "device",
                    device.display(),
                    "a path such as /dev/video0",
                )?;
                side("capture_width_px", *capture_width_px)?;
                side("capture_height_px", *capture_height_px)
            }
            CameraSource::Folder { folder, .. } => {
                check(!folder.as_os_str().is_empty(), "folder", folder.display(), "the path of a folder")
            }
            CameraSource::Synthetic => {
                let (width_px, height_px) = if self.swaps_sides() {
                    (self.height_px, self.width_px)
                } else {
                    (self.width_px, self.height_px)
                };
                let (least_width_px, least_height_px) = MIN_SYNTHETIC_PX;
                let fits = width_px >= least_width_px && height_px >= least_height_px;
                check(fits, "source", "synthetic", "at least 32 columns and 8 rows before it is turned")
            }
        }
    }

    /// Whether the turn makes columns of rows.
    pub(super) fn swaps_sides(&self) -> bool {
        matches!(self.rotate_deg, 90 | 270)
    }
}

fn check(
    holds: bool,
    key: &'static str,
    value: impl ToString,
    expected: &'static str,
) -> Result<(), CameraError> {
    if holds { Ok(()) } else { Err(CameraError::Config { key, value: value.to_string(), expected }) }
}

/// The flat form in files.
#[derive(Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Table {
    source: Kind,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    device: Option<PathBuf>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    format: Option<PixelFormat>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    capture_width_px: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    capture_height_px: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    folder: Option<PathBuf>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    repeat: Option<bool>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    width_px: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    height_px: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    rate_hz: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    rotate_deg: Option<u16>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    background_frames: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    timeout_ms: Option<u64>,
}

#[derive(Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Kind {
    V4l2,
    Folder,
    #[default]
    Synthetic,
}

impl TryFrom<Table> for CameraConfig {
    type Error = CameraError;

    fn try_from(table: Table) -> Result<Self, CameraError> {
        let kind = table.source;
        let foreign = |key, present: bool, owner: Kind, expected| {
            check(!present || kind == owner, key, "given for another source", expected)
        };
        for (key, present) in [
            ("device", table.device.is_some()),
            ("format", table.format.is_some()),
            ("capture_width_px", table.capture_width_px.is_some()),
            ("capture_height_px", table.capture_height_px.is_some()),
        ] {
            foreign(key, present, Kind::V4l2, "source = \"v4l2\" beside it")?;
        }
        for (key, present) in [("folder", table.folder.is_some()), ("repeat", table.repeat.is_some())] {
            foreign(key, present, Kind::Folder, "source = \"folder\" beside it")?;
        }
        let needed = |key, path: Option<PathBuf>| {
            path.ok_or(CameraError::Config { key, value: "none".to_owned(), expected: "a path" })
        };
        let new = Self::new(match kind {
            Kind::V4l2 => CameraSource::V4l2 {
                device: needed("device", table.device)?,
                format: table.format.unwrap_or_default(),
                capture_width_px: table.capture_width_px.unwrap_or(640),
                capture_height_px: table.capture_height_px.unwrap_or(480),
            },
            Kind::Folder => CameraSource::Folder {
                folder: needed("folder", table.folder)?,
                repeat: table.repeat.unwrap_or(false),
            },
            Kind::Synthetic => CameraSource::Synthetic,
        });
        Ok(Self {
            width_px: table.width_px.unwrap_or(new.width_px),
            height_px: table.height_px.unwrap_or(new.height_px),
            rate_hz: table.rate_hz.unwrap_or(new.rate_hz),
            rotate_deg: table.rotate_deg.unwrap_or(new.rotate_deg),
            background_frames: table.background_frames.unwrap_or(new.background_frames),
            timeout_ms: table.timeout_ms.unwrap_or(new.timeout_ms),
            source: new.source,
        })
    }
}

impl From<CameraConfig> for Table {
    fn from(config: CameraConfig) -> Self {
        let table = match config.source {
            CameraSource::V4l2 { device, format, capture_width_px, capture_height_px } => Self {
                source: Kind::V4l2,
                device: Some(device),
                format: Some(format),
                capture_width_px: Some(capture_width_px),
                capture_height_px: Some(capture_height_px),
                ..Self::default()
            },
            CameraSource::Folder { folder, repeat } => {
                Self { source: Kind::Folder, folder: Some(folder), repeat: Some(repeat), ..Self::default() }
            }
            CameraSource::Synthetic => Self { source: Kind::Synthetic, ..Self::default() },
        };
        Self {
            width_px: Some(config.width_px),
            height_px: Some(config.height_px),
            rate_hz: Some(config.rate_hz),
            rotate_deg: Some(config.rotate_deg),
            background_frames: Some(config.background_frames),
            timeout_ms: Some(config.timeout_ms),
            ..table
        }
    }
}
