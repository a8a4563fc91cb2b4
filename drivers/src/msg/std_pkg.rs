//! `std_msgs`: text, a truth value, a tensor, and the header that stamped messages share.

use super::{Message, Time, header_definition, schema, time_definition};
use crate::cdr::{CdrError, Reader, Writer};

/// When and in which frame a message's content was measured.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Header {
    /// The time of measurement.
    pub stamp: Time,
    /// The coordinate frame's name; empty where none applies.
    pub frame_id: String,
}

impl Header {
    /// A header of the time `stamp_ns` (since the Unix epoch) and the frame `frame_id`.
    #[must_use]
    pub fn new(stamp_ns: u64, frame_id: impl Into<String>) -> Self {
        Self { stamp: Time::from_ns(stamp_ns), frame_id: frame_id.into() }
    }

    /// The stamp in nanoseconds since the Unix epoch.
    #[must_use]
    pub fn stamp_ns(&self) -> u64 {
        self.stamp.as_ns()
    }
}

impl Message for Header {
    const TYPE_NAME: &'static str = "std_msgs/msg/Header";
    const TYPE_HASH: &'static str = "RIHS01_f49fb3ae2cf070f793645ff749683ac6b06203e41c891e17701b1cb597ce6a01";
    const SCHEMA: &'static str = schema!(
        header_definition!(),
        "builtin_interfaces/Time" => time_definition!(),
    );

    fn write(&self, writer: &mut Writer<'_>) {
        self.stamp.write(writer);
        writer.string(&self.frame_id);
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, CdrError> {
        Ok(Self { stamp: Time::read(reader)?, frame_id: reader.string("header.frame_id")? })
    }

    fn stamp_ns(&self) -> Option<u64> {
        Some(self.stamp.as_ns())
    }
}

/// A text, `std_msgs/msg/String`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StringMsg {
    /// The text.
    pub data: String,
}

impl StringMsg {
    /// A message with this text.
    #[must_use]
    pub fn new(data: impl Into<String>) -> Self {
        Self { data: data.into() }
    }
}

impl Message for StringMsg {
    const TYPE_NAME: &'static str = "std_msgs/msg/String";
    const TYPE_HASH: &'static str = "RIHS01_df668c740482bbd48fb39d76a70dfd4bd59db1288021743503259e948f6b1a18";
    const SCHEMA: &'static str = "string data\n";

    fn write(&self, writer: &mut Writer<'_>) {
        writer.string(&self.data);
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, CdrError> {
        Ok(Self { data: reader.string("data")? })
    }
}

/// A truth value, `std_msgs/msg/Bool`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BoolMsg {
    /// The value.
    pub data: bool,
}

impl BoolMsg {
    /// A message with this value.
    #[must_use]
    pub fn new(data: bool) -> Self {
        Self { data }
    }
}

impl Message for BoolMsg {
    const TYPE_NAME: &'static str = "std_msgs/msg/Bool";
    const TYPE_HASH: &'static str = "RIHS01_feb91e995ff9ebd09c0cb3d2aed18b11077585839fb5db80193b62d74528f6c9";
    const SCHEMA: &'static str = "bool data\n";

    fn write(&self, writer: &mut Writer<'_>) {
        writer.bool(self.data);
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, CdrError> {
        Ok(Self { data: reader.bool("data")? })
    }
}

/// One axis of a tensor.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Dimension {
    /// The axis' name.
    pub label: String,
    /// How many elements it has.
    pub size: u32,
    /// `size` times the sizes of all axes after it (this is how ROS defines the stride).
    pub stride: u32,
}

/// How a flat array is to be read as a tensor.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Layout {
    /// The axes, the slowest first.
    pub dim: Vec<Dimension>,
    /// Elements before the tensor's first.
    pub data_offset: u32,
}

/// A tensor of 32-bit floating-point numbers, `std_msgs/msg/Float32MultiArray`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Float32MultiArray {
    /// The axes.
    pub layout: Layout,
    /// The elements, the last axis fastest.
    pub data: Vec<f32>,
}

/// Why an array is not the tensor that was asked for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ArrayError {
    /// The layout has other axes.
    #[error("layout: expected axes of {expected:?}, found {found:?}")]
    Shape {
        /// The sizes asked for.
        expected: Vec<u32>,
        /// The sizes in the layout.
        found: Vec<u32>,
    },
    /// The number of elements does not fit the layout.
    #[error("data: expected {expected} elements after an offset of {offset}, found {found} in all")]
    Length {
        /// The product of the axes' sizes.
        expected: u64,
        /// `data_offset`.
        offset: u32,
        /// The elements present.
        found: usize,
    },
}

impl Float32MultiArray {
    /// A tensor with the given axes (name and size, the slowest first).
    ///
    /// # Errors
    /// [`ArrayError::Length`] when `data` has another number of elements.
    pub fn new(axes: &[(&str, u32)], data: Vec<f32>) -> Result<Self, ArrayError> {
        let mut stride = 1u64;
        let mut dim: Vec<Dimension> = axes
            .iter()
            .rev()
            .map(|&(label, size)| {
                stride = stride.saturating_mul(u64::from(size));
                Dimension { label: label.to_owned(), size, stride: u32::try_from(stride).unwrap_or(u32::MAX) }
            })
            .collect();
        dim.reverse();
        if stride != data.len() as u64 {
            return Err(ArrayError::Length { expected: stride, offset: 0, found: data.len() });
        }
        Ok(Self { layout: Layout { dim, data_offset: 0 }, data })
    }

    /// The elements, when the axes have exactly the sizes `expected` (the slowest first). Labels and
    /// strides are not looked at: writers disagree about them.
    ///
    /// # Errors
    /// [`ArrayError`] when the sizes differ or `data` is too short or too long for them.
    pub fn elements(&self, expected: &[u32]) -> Result<&[f32], ArrayError> {
        let sizes = || self.layout.dim.iter().map(|dim| dim.size);
        if !sizes().eq(expected.iter().copied()) {
            return Err(ArrayError::Shape { expected: expected.to_vec(), found: sizes().collect() });
        }
        let count = expected.iter().fold(1u64, |product, &size| product.saturating_mul(u64::from(size)));
        match self.data.get(self.layout.data_offset as usize..) {
            Some(elements) if elements.len() as u64 == count => Ok(elements),
            _ => Err(ArrayError::Length {
                expected: count,
                offset: self.layout.data_offset,
                found: self.data.len(),
            }),
        }
    }
}

impl Message for Float32MultiArray {
    const TYPE_NAME: &'static str = "std_msgs/msg/Float32MultiArray";
    const TYPE_HASH: &'static str = "RIHS01_0599f6f85b4bfca379873a0b4375a0aca022156bd2d7021275d116ed1fa8bfe0";
    const SCHEMA: &'static str = schema!(
        "std_msgs/MultiArrayLayout layout\nfloat32[] data\n",
        "std_msgs/MultiArrayLayout" => "std_msgs/MultiArrayDimension[] dim\nuint32 data_offset\n",
        "std_msgs/MultiArrayDimension" => "string label\nuint32 size\nuint32 stride\n",
    );

    fn write(&self, writer: &mut Writer<'_>) {
        writer.sequence(&self.layout.dim, |writer, dim| {
            writer.string(&dim.label);
            writer.u32(dim.size);
            writer.u32(dim.stride);
        });
        writer.u32(self.layout.data_offset);
        writer.f32s(&self.data);
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, CdrError> {
        let dim = reader.sequence("layout.dim", 12, |reader| {
            Ok(Dimension {
                label: reader.string("layout.dim.label")?,
                size: reader.u32("layout.dim.size")?,
                stride: reader.u32("layout.dim.stride")?,
            })
        })?;
        let data_offset = reader.u32("layout.data_offset")?;
        Ok(Self { layout: Layout { dim, data_offset }, data: reader.f32s("data")? })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests fail by panicking")]
    use super::*;

    #[test]
    fn tensors_know_their_strides_and_refuse_other_shapes() {
        let axes = [("rows", 2), ("columns", 3), ("channels", 1)];
        let array = Float32MultiArray::new(&axes, vec![0.5; 6]).unwrap();
        assert_eq!(array.layout.dim.iter().map(|dim| dim.stride).collect::<Vec<_>>(), [6, 3, 1]);
        assert_eq!(array.elements(&[2, 3, 1]), Ok(&[0.5; 6][..]));
        assert!(matches!(array.elements(&[3, 2, 1]), Err(ArrayError::Shape { .. })));
        assert!(matches!(Float32MultiArray::new(&axes, vec![0.0; 5]), Err(ArrayError::Length { .. })));
        let short = Float32MultiArray { data: vec![0.0; 5], ..array.clone() };
        assert_eq!(short.elements(&[2, 3, 1]), Err(ArrayError::Length { expected: 6, offset: 0, found: 5 }));
        let mut far = array;
        far.layout.data_offset = u32::MAX;
        assert!(far.elements(&[2, 3, 1]).is_err());
    }
}
