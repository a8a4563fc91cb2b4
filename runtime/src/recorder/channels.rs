//! The channels of a recording that are not the robot's own topics: JSON with a JSON schema each.

use serde::{Deserialize, Serialize};

/// A channel of our own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct OwnChannel {
    /// The topic in the file.
    pub topic: &'static str,
    /// Name of the schema.
    pub schema_name: &'static str,
    /// The schema, for viewers.
    pub schema: &'static str,
}

/// One [`crate::journal::Tick`] per tick of the reflex.
pub const TICK: OwnChannel = OwnChannel {
    topic: "/reflexarc/tick",
    schema_name: "reflexarc.Tick",
    schema: r#"{"title":"reflexarc.Tick","type":"object","properties":{
"inputs":{"type":"object","properties":{"tick":{"type":"integer"},"seen":{"type":"array","items":{"type":"object","properties":{"arrival":{"type":"integer"},"stamp_ns":{"type":"integer"}}}},"events":{"type":"object"},"calls":{"type":"array"}}},
"thought":{"type":"integer"},
"command":{"type":"object","properties":{"stamp_ns":{"type":"integer"},"joints":{"type":"object","properties":{"q":{"type":"array","items":{"type":"number"}},"qd":{"type":"array","items":{"type":"number"}},"gripper_width_m":{"type":"number"},"gripper_force_n":{"type":"number"}}},"acted":{"type":"object"},"observation_ns":{"type":"integer"},"first":{"type":"boolean"}}}}}"#,
};

/// One [`crate::journal::ThoughtEntry`] per thought.
pub const THOUGHT: OwnChannel = OwnChannel {
    topic: "/reflexarc/thought",
    schema_name: "reflexarc.Thought",
    schema: r#"{"title":"reflexarc.Thought","type":"object","properties":{
"number":{"type":"integer"},"tick":{"type":"integer"},"now_ns":{"type":"integer"},"instruction":{"type":"string"},
"instructions":{"type":"integer"},"told":{"type":"object"},"tokens":{"type":"string"},"said":{"type":"object"},"refused":{"type":"object"},
"chunk":{"type":"integer"},"model_ns":{"type":"integer"},"audit_ns":{"type":"integer"}}}"#,
};

/// An [`Arrival`] before each payload that does not simply follow the one before it on its topic.
pub const ARRIVAL: OwnChannel = OwnChannel {
    topic: "/reflexarc/arrival",
    schema_name: "reflexarc.Arrival",
    schema: r#"{"title":"reflexarc.Arrival","type":"object","properties":{
"topic":{"type":"string"},"arrival":{"type":"integer"},"attachment":{"type":"string"}}}"#,
};

/// The recorder's [`Counters`], about once per second.
pub const COUNTERS: OwnChannel = OwnChannel {
    topic: "/reflexarc/recorder",
    schema_name: "reflexarc.Recorder",
    schema: r#"{"title":"reflexarc.Recorder","type":"object","properties":{
"messages":{"type":"integer"},"ticks":{"type":"integer"},"thoughts":{"type":"integer"},
"dropped":{"type":"integer"},"dropped_ticks":{"type":"integer"},"dropped_thoughts":{"type":"integer"}}}"#,
};

/// What the next payload of a topic is, where that does not follow from the one before: it was not the next
/// to arrive (those between were dropped by the recorder), has another publisher, or has an attachment that
/// the MCAP header cannot hold.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Arrival {
    /// The topic, as in the file.
    pub topic: String,
    /// Number of arrival of the next payload on it.
    pub arrival: u64,
    /// What came beside it, hexadecimal; absent where it had not the size of an attachment.
    pub attachment: Option<String>,
}

/// What a recording has and lacks so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counters {
    /// Payloads written.
    pub messages: u64,
    /// Ticks written.
    pub ticks: u64,
    /// Thoughts written.
    pub thoughts: u64,
    /// Payloads dropped because the recorder or the disk was too slow.
    pub dropped: u64,
    /// Ticks dropped for the same reason.
    pub dropped_ticks: u64,
    /// Thoughts dropped for the same reason.
    pub dropped_thoughts: u64,
}

impl Counters {
    /// Whether anything was dropped.
    #[must_use]
    pub fn incomplete(&self) -> bool {
        self.dropped + self.dropped_ticks + self.dropped_thoughts > 0
    }
}

/// Bytes as hexadecimal digits.
#[must_use]
pub fn to_hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Hexadecimal digits as bytes; `None` for anything else, or for another number of bytes.
#[must_use]
pub fn from_hex<const N: usize>(text: &str) -> Option<[u8; N]> {
    if !text.is_ascii() || text.len() != 2 * N {
        return None;
    }
    let mut bytes = [0; N];
    for (byte, at) in bytes.iter_mut().zip((0..text.len()).step_by(2)) {
        *byte = u8::from_str_radix(&text[at..at + 2], 16).ok()?;
    }
    Some(bytes)
}
