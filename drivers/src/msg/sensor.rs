//! `sensor_msgs`: cameras and joints.

use super::{Header, Message, header_definition, schema, time_definition};
use crate::cdr::{CdrError, Reader, Writer};

/// An uncompressed picture, `sensor_msgs/msg/Image`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Image {
    /// Time of exposure and the camera's frame.
    pub header: Header,
    /// Rows.
    pub height: u32,
    /// Columns.
    pub width: u32,
    /// What a pixel is, for instance `rgb8`.
    pub encoding: String,
    /// 1 when numbers of several bytes are big-endian.
    pub is_bigendian: u8,
    /// Bytes from the start of one row to the next.
    pub step: u32,
    /// The rows, from the top; `step * height` bytes.
    pub data: Vec<u8>,
}

/// Why an image is not the picture that was asked for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ImageError {
    /// Pixels of another kind.
    #[error("encoding: expected rgb8, found {found:?}")]
    Encoding {
        /// The kind found.
        found: String,
    },
    /// Rows with padding, or too short ones.
    #[error("step: expected {expected} bytes for {width} columns, found {found}")]
    Step {
        /// Three bytes for each column.
        expected: u64,
        /// The width found.
        width: u32,
        /// The step found.
        found: u32,
    },
    /// Too few or too many bytes.
    #[error("data: expected {expected} bytes for {width} x {height} pixels, found {found}")]
    Length {
        /// The bytes needed.
        expected: u64,
        /// Columns.
        width: u32,
        /// Rows.
        height: u32,
        /// The bytes present.
        found: usize,
    },
}

impl Image {
    /// A picture of red, green and blue bytes, row by row from the top, without padding.
    ///
    /// # Errors
    /// [`ImageError::Length`] when `data` is not `width * height * 3` bytes.
    pub fn rgb8(header: Header, width: u32, height: u32, data: Vec<u8>) -> Result<Self, ImageError> {
        let step = width.saturating_mul(3);
        let image = Self { header, height, width, encoding: "rgb8".to_owned(), is_bigendian: 0, step, data };
        image.rgb8_pixels()?;
        Ok(image)
    }

    /// The bytes of the picture, `[height, width, 3]`, when it is `rgb8` without padding.
    ///
    /// # Errors
    /// [`ImageError`] says which of encoding, step and size does not fit.
    pub fn rgb8_pixels(&self) -> Result<&[u8], ImageError> {
        if self.encoding != "rgb8" {
            return Err(ImageError::Encoding { found: self.encoding.clone() });
        }
        let expected = u64::from(self.width) * 3;
        if u64::from(self.step) != expected {
            return Err(ImageError::Step { expected, width: self.width, found: self.step });
        }
        let expected = expected.saturating_mul(u64::from(self.height));
        if self.data.len() as u64 != expected {
            return Err(ImageError::Length {
                expected,
                width: self.width,
                height: self.height,
                found: self.data.len(),
            });
        }
        Ok(&self.data)
    }
}

impl Message for Image {
    const TYPE_NAME: &'static str = "sensor_msgs/msg/Image";
    const TYPE_HASH: &'static str = "RIHS01_d31d41a9a4c4bc8eae9be757b0beed306564f7526c88ea6a4588fb9582527d47";
    const SCHEMA: &'static str = schema!(
        concat!(
            "std_msgs/Header header\nuint32 height\nuint32 width\nstring encoding\n",
            "uint8 is_bigendian\nuint32 step\nuint8[] data\n"
        ),
        "std_msgs/Header" => header_definition!(),
        "builtin_interfaces/Time" => time_definition!(),
    );

    fn write(&self, writer: &mut Writer<'_>) {
        self.header.write(writer);
        writer.u32(self.height);
        writer.u32(self.width);
        writer.string(&self.encoding);
        writer.u8(self.is_bigendian);
        writer.u32(self.step);
        writer.bytes(&self.data);
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, CdrError> {
        Ok(Self {
            header: Header::read(reader)?,
            height: reader.u32("height")?,
            width: reader.u32("width")?,
            encoding: reader.string("encoding")?,
            is_bigendian: reader.u8("is_bigendian")?,
            step: reader.u32("step")?,
            data: reader.bytes("data")?,
        })
    }

    fn stamp_ns(&self) -> Option<u64> {
        Some(self.header.stamp_ns())
    }
}

/// A compressed picture, `sensor_msgs/msg/CompressedImage`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CompressedImage {
    /// Time of exposure and the camera's frame.
    pub header: Header,
    /// How it is compressed, for instance `jpeg`.
    pub format: String,
    /// The compressed bytes.
    pub data: Vec<u8>,
}

impl Message for CompressedImage {
    const TYPE_NAME: &'static str = "sensor_msgs/msg/CompressedImage";
    const TYPE_HASH: &'static str = "RIHS01_15640771531571185e2efc8a100baf923961a4d15d5569652e6cb6691e8e371a";
    const SCHEMA: &'static str = schema!(
        "std_msgs/Header header\nstring format\nuint8[] data\n",
        "std_msgs/Header" => header_definition!(),
        "builtin_interfaces/Time" => time_definition!(),
    );

    fn write(&self, writer: &mut Writer<'_>) {
        self.header.write(writer);
        writer.string(&self.format);
        writer.bytes(&self.data);
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, CdrError> {
        Ok(Self {
            header: Header::read(reader)?,
            format: reader.string("format")?,
            data: reader.bytes("data")?,
        })
    }

    fn stamp_ns(&self) -> Option<u64> {
        Some(self.header.stamp_ns())
    }
}

/// Where the joints are, `sensor_msgs/msg/JointState`. The last three arrays may each be empty;
/// otherwise they go by the order of `name`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct JointState {
    /// Time of measurement.
    pub header: Header,
    /// The joints' names.
    pub name: Vec<String>,
    /// Positions, rad (revolute) or m (prismatic).
    pub position: Vec<f64>,
    /// Velocities, rad/s or m/s.
    pub velocity: Vec<f64>,
    /// Efforts, N·m or N.
    pub effort: Vec<f64>,
}

impl JointState {
    /// The place of the joint called `name` in the arrays. Linear in the number of joints.
    #[must_use]
    pub fn index_of(&self, name: &str) -> Option<usize> {
        self.name.iter().position(|other| other == name)
    }

    /// The position of the joint called `name`, rad or m; none when the message does not say.
    #[must_use]
    pub fn position_of(&self, name: &str) -> Option<f64> {
        self.position.get(self.index_of(name)?).copied()
    }
}

impl Message for JointState {
    const TYPE_NAME: &'static str = "sensor_msgs/msg/JointState";
    const TYPE_HASH: &'static str = "RIHS01_a13ee3a330e346c9d87b5aa18d24e11690752bd33a0350f11c5882bc9179260e";
    const SCHEMA: &'static str = schema!(
        "std_msgs/Header header\nstring[] name\nfloat64[] position\nfloat64[] velocity\nfloat64[] effort\n",
        "std_msgs/Header" => header_definition!(),
        "builtin_interfaces/Time" => time_definition!(),
    );

    fn write(&self, writer: &mut Writer<'_>) {
        self.header.write(writer);
        writer.strings(&self.name);
        writer.f64s(&self.position);
        writer.f64s(&self.velocity);
        writer.f64s(&self.effort);
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, CdrError> {
        Ok(Self {
            header: Header::read(reader)?,
            name: reader.strings("name")?,
            position: reader.f64s("position")?,
            velocity: reader.f64s("velocity")?,
            effort: reader.f64s("effort")?,
        })
    }

    fn stamp_ns(&self) -> Option<u64> {
        Some(self.header.stamp_ns())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests fail by panicking")]
    use super::*;

    #[test]
    fn pictures_say_what_does_not_fit() {
        let image = Image::rgb8(Header::new(1, "scene"), 2, 3, vec![9; 18]).unwrap();
        assert_eq!(image.rgb8_pixels(), Ok(&[9; 18][..]));
        assert!(Image::rgb8(Header::default(), 2, 3, vec![9; 17]).is_err());
        assert!(Image::rgb8(Header::default(), u32::MAX, u32::MAX, vec![]).is_err());
        let bgr = Image { encoding: "bgr8".into(), ..image.clone() };
        assert_eq!(bgr.rgb8_pixels().unwrap_err().to_string(), "encoding: expected rgb8, found \"bgr8\"");
        let padded = Image { step: 8, ..image };
        assert_eq!(padded.rgb8_pixels(), Err(ImageError::Step { expected: 6, width: 2, found: 8 }));
    }

    #[test]
    fn joints_are_found_by_name() {
        let joints = JointState {
            name: vec!["joint1".into(), "gripper".into()],
            position: vec![0.1, 0.08],
            ..JointState::default()
        };
        assert_eq!(joints.position_of("gripper"), Some(0.08));
        assert_eq!(joints.position_of("joint9"), None);
        let short = JointState { position: vec![0.1], ..joints };
        assert_eq!(short.position_of("gripper"), None);
    }
}
