//! `diagnostic_msgs`: how the parts of the robot are.

use super::{Header, Message, header_definition, schema, time_definition};
use crate::cdr::{CdrError, Reader, Writer};

/// One named figure of a report.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeyValue {
    /// What it is.
    pub key: String,
    /// Its value, as text.
    pub value: String,
}

/// The levels of a report, for [`DiagnosticStatus::level`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum DiagnosticLevel {
    /// All is well.
    Ok = 0,
    /// Works, with a fault.
    Warn = 1,
    /// Does not work.
    Error = 2,
    /// Has not been heard for too long.
    Stale = 3,
}

/// One part's report.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DiagnosticStatus {
    /// 0 ok, 1 warn, 2 error, 3 stale, see [`DiagnosticLevel`].
    pub level: u8,
    /// The part.
    pub name: String,
    /// Its state in a few words.
    pub message: String,
    /// The device's serial number or address; may be empty.
    pub hardware_id: String,
    /// Figures.
    pub values: Vec<KeyValue>,
}

/// The reports of all parts, `diagnostic_msgs/msg/DiagnosticArray`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DiagnosticArray {
    /// Time of the reports.
    pub header: Header,
    /// The reports.
    pub status: Vec<DiagnosticStatus>,
}

impl DiagnosticStatus {
    /// A report of the part `name`.
    #[must_use]
    pub fn new(level: DiagnosticLevel, name: impl Into<String>, message: impl Into<String>) -> Self {
        Self { level: level as u8, name: name.into(), message: message.into(), ..Self::default() }
    }

    /// The same report with one figure more.
    #[must_use]
    pub fn with(mut self, key: impl Into<String>, value: impl ToString) -> Self {
        self.values.push(KeyValue { key: key.into(), value: value.to_string() });
        self
    }
}

/// Two string lengths: no pair is shorter.
const MIN_KEY_VALUE_BYTES: usize = 8;
/// The level, three string lengths and a count.
const MIN_STATUS_BYTES: usize = 17;

macro_rules! status_definition {
    () => {
        concat!(
            "byte OK=0\nbyte WARN=1\nbyte ERROR=2\nbyte STALE=3\n",
            "byte level\nstring name\nstring message\nstring hardware_id\ndiagnostic_msgs/KeyValue[] values\n"
        )
    };
}
macro_rules! key_value_definition {
    () => {
        "string key\nstring value\n"
    };
}

impl Message for KeyValue {
    const TYPE_NAME: &'static str = "diagnostic_msgs/msg/KeyValue";
    const TYPE_HASH: &'static str = "RIHS01_d68081eaa540288c5440753baecef0c4e16e81a5f78ad68902ded5100413bb42";
    const SCHEMA: &'static str = key_value_definition!();

    fn write(&self, writer: &mut Writer<'_>) {
        writer.string(&self.key);
        writer.string(&self.value);
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, CdrError> {
        Ok(Self { key: reader.string("values.key")?, value: reader.string("values.value")? })
    }
}

impl Message for DiagnosticStatus {
    const TYPE_NAME: &'static str = "diagnostic_msgs/msg/DiagnosticStatus";
    const TYPE_HASH: &'static str = "RIHS01_b0e3e692ea2d54a8af2f4ef1930e81556a2db55216b771f8a7d2724ed47bf0e4";
    const SCHEMA: &'static str = schema!(
        status_definition!(),
        "diagnostic_msgs/KeyValue" => key_value_definition!(),
    );

    fn write(&self, writer: &mut Writer<'_>) {
        writer.u8(self.level);
        writer.string(&self.name);
        writer.string(&self.message);
        writer.string(&self.hardware_id);
        writer.sequence(&self.values, |writer, pair| pair.write(writer));
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, CdrError> {
        Ok(Self {
            level: reader.u8("status.level")?,
            name: reader.string("status.name")?,
            message: reader.string("status.message")?,
            hardware_id: reader.string("status.hardware_id")?,
            values: reader.sequence("status.values", MIN_KEY_VALUE_BYTES, KeyValue::read)?,
        })
    }
}

impl Message for DiagnosticArray {
    const TYPE_NAME: &'static str = "diagnostic_msgs/msg/DiagnosticArray";
    const TYPE_HASH: &'static str = "RIHS01_5a8a36efb05fb25070fa0fb3810290c0e6cd4862b54a8fb975a1ee8dc55a333e";
    const SCHEMA: &'static str = schema!(
        "std_msgs/Header header\ndiagnostic_msgs/DiagnosticStatus[] status\n",
        "std_msgs/Header" => header_definition!(),
        "builtin_interfaces/Time" => time_definition!(),
        "diagnostic_msgs/DiagnosticStatus" => status_definition!(),
        "diagnostic_msgs/KeyValue" => key_value_definition!(),
    );

    fn write(&self, writer: &mut Writer<'_>) {
        self.header.write(writer);
        writer.sequence(&self.status, |writer, status| status.write(writer));
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, CdrError> {
        Ok(Self {
            header: Header::read(reader)?,
            status: reader.sequence("status", MIN_STATUS_BYTES, DiagnosticStatus::read)?,
        })
    }

    fn stamp_ns(&self) -> Option<u64> {
        Some(self.header.stamp_ns())
    }
}
