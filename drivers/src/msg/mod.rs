//! The messages, as ROS 2 has them, and how each becomes bytes.
//!
//! One file per ROS package. Fields keep their ROS names; units are those of the ROS definitions
//! (metres, radians, newtons, seconds) and are said at each field.

mod builtin;
mod diagnostic;
mod goal;
mod sensor;
mod std_pkg;
mod trajectory;

pub use builtin::{Duration, Time};
pub use diagnostic::{DiagnosticArray, DiagnosticLevel, DiagnosticStatus, KeyValue};
pub use goal::Goal;
pub use sensor::{CompressedImage, Image, ImageError, JointState};
pub use std_pkg::{ArrayError, BoolMsg, Dimension, Float32MultiArray, Header, Layout, StringMsg};
pub use trajectory::{JointTrajectory, JointTrajectoryPoint};

use crate::cdr::{CdrError, Reader, Writer};

/// A message type that a link can carry.
pub trait Message: Sized + Clone + Send + Sync + 'static {
    /// The ROS 2 name, `package/msg/Name`.
    const TYPE_NAME: &'static str;
    /// The ROS 2 type hash (`RIHS01_` and 64 hexadecimal digits, REP-2016), a part of the key.
    const TYPE_HASH: &'static str;
    /// The definition with all definitions that it refers to, in the `ros2msg` form of MCAP.
    const SCHEMA: &'static str;

    /// Writes the fields, in order.
    fn write(&self, writer: &mut Writer<'_>);

    /// Reads the fields, in order.
    ///
    /// # Errors
    /// [`CdrError`] with the field that could not be read.
    fn read(reader: &mut Reader<'_>) -> Result<Self, CdrError>;

    /// The time that the content belongs to (`header.stamp`), nanoseconds since the Unix epoch.
    /// None for types without a header.
    fn stamp_ns(&self) -> Option<u64> {
        None
    }

    /// The payload. Linear in the message's size.
    fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        self.encode_into(&mut out);
        out
    }

    /// Replaces the content of `out` by the payload, keeping its allocation.
    fn encode_into(&self, out: &mut Vec<u8>) {
        self.write(&mut Writer::new(out));
    }

    /// Reads a payload. Time and memory are linear in its size, whatever it contains.
    ///
    /// # Errors
    /// [`CdrError`] with the field, what was expected and what was found.
    fn decode(payload: &[u8]) -> Result<Self, CdrError> {
        let mut reader = Reader::new(payload)?;
        let message = Self::read(&mut reader)?;
        reader.finish()?;
        Ok(message)
    }
}

/// Joins a definition and those it refers to, as the `ros2msg` schema encoding of MCAP wants it:
/// a line of 80 equals signs and `MSG: package/Name` before each further definition.
macro_rules! schema {
    ($own:expr $(, $name:literal => $definition:expr)* $(,)?) => {
        concat!(
            $own
            $(,
                "================================================================================\nMSG: ",
                $name, "\n", $definition
            )*
        )
    };
}
pub(crate) use schema;

/// Definitions that several types refer to. Macros, because `concat!` takes only literals.
macro_rules! time_definition {
    () => {
        "int32 sec\nuint32 nanosec\n"
    };
}
pub(crate) use time_definition;

macro_rules! header_definition {
    () => {
        "builtin_interfaces/Time stamp\nstring frame_id\n"
    };
}
pub(crate) use header_definition;
