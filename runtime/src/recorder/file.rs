//! Reading a recording, whole or cut: messages and metadata in the order of the file, up to the first byte
//! that makes no sense.

use std::collections::BTreeMap;
use std::io::Read;
use std::sync::Arc;

use mcap::records::{MessageHeader, Record, op};
use mcap::sans_io::linear_reader::{LinearReadEvent, LinearReader, LinearReaderOptions};

/// No record is longer: a payload is at most eight megabytes.
const RECORD_BYTES: usize = 16 << 20;
/// How much is read at once at most, bytes: a length that lies must not cost its size in memory.
const STEP_BYTES: usize = 1 << 16;

/// A message's type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileSchema {
    /// Its name.
    pub name: String,
    /// How it is defined, such as `ros2msg`.
    pub encoding: String,
    /// The definition.
    pub data: Vec<u8>,
}

/// A channel of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileChannel {
    /// Its topic.
    pub topic: String,
    /// How messages are encoded, such as `cdr`.
    pub encoding: String,
    /// What else is said about it.
    pub metadata: BTreeMap<String, String>,
    /// The messages' type.
    pub schema: Arc<FileSchema>,
}

impl FileChannel {
    /// Whether the recording link received what is on it.
    #[must_use]
    pub fn received(&self) -> bool {
        self.metadata.get("direction").is_some_and(|direction| direction == "received")
    }
}

/// A message of a file.
#[derive(Clone, Debug)]
pub struct FileMessage<'a> {
    /// Its channel.
    pub channel: Arc<FileChannel>,
    /// Its number, the low 32 bits.
    pub sequence: u32,
    /// When it was recorded, ns.
    pub log_ns: u64,
    /// When it was published, ns.
    pub publish_ns: u64,
    /// The payload.
    pub data: &'a [u8],
}

/// How a file ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FileEnd {
    /// With its index, as it should.
    Whole,
    /// In the middle: it was cut, or its writer ended without closing it.
    Cut,
    /// With bytes that make no sense.
    Broken(String),
}

impl std::fmt::Display for FileEnd {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Whole => f.write_str("whole"),
            Self::Cut => f.write_str("cut in the middle, or not closed by its writer"),
            Self::Broken(why) => write!(f, "unreadable from some point on: {why}"),
        }
    }
}

/// Reads a file from front to back. Memory is bounded by the largest record; nothing that the bytes say
/// makes it panic.
pub struct RecordReader<R> {
    input: R,
    reader: LinearReader,
    schemas: BTreeMap<u16, Arc<FileSchema>>,
    channels: BTreeMap<u16, Arc<FileChannel>>,
    metadata: BTreeMap<String, BTreeMap<String, String>>,
    end: Option<FileEnd>,
    data: Vec<u8>,
}

impl<R: Read> RecordReader<R> {
    /// A reader at the start of `input`.
    pub fn new(input: R) -> Self {
        let options = LinearReaderOptions::default()
            .with_validate_chunk_crcs(true)
            .with_record_length_limit(RECORD_BYTES);
        Self {
            input,
            reader: LinearReader::new_with_options(options),
            schemas: BTreeMap::new(),
            channels: BTreeMap::new(),
            metadata: BTreeMap::new(),
            end: None,
            data: Vec::new(),
        }
    }

    /// The next message; `None` at the end, which [`RecordReader::end`] then describes.
    pub fn next_message(&mut self) -> Option<FileMessage<'_>> {
        let (channel, header) = loop {
            if self.end.is_some() {
                return None;
            }
            match self.step() {
                Ok(Some(found)) => break found,
                Ok(None) => {}
                Err(end) => self.end = Some(end),
            }
        };
        let MessageHeader { sequence, log_time: log_ns, publish_time: publish_ns, .. } = header;
        Some(FileMessage { channel, sequence, log_ns, publish_ns, data: &self.data })
    }

    /// One event of the reader: reads on, remembers what a record declares, or finds a message.
    fn step(&mut self) -> Result<Option<(Arc<FileChannel>, MessageHeader)>, FileEnd> {
        let broken = |error: mcap::McapError| FileEnd::Broken(error.to_string());
        match self.reader.next_event() {
            None => Err(FileEnd::Whole),
            Some(Err(mcap::McapError::UnexpectedEof)) => Err(FileEnd::Cut),
            Some(Err(error)) => Err(broken(error)),
            Some(Ok(LinearReadEvent::ReadRequest(wanted))) => {
                let read = self.input.read(self.reader.insert(wanted.min(STEP_BYTES)));
                self.reader.notify_read(read.map_err(|error| FileEnd::Broken(error.to_string()))?);
                Ok(None)
            }
            // Other records are for viewers.
            Some(Ok(LinearReadEvent::Record { opcode, data })) => {
                if !matches!(opcode, op::SCHEMA | op::CHANNEL | op::MESSAGE | op::METADATA) {
                    return Ok(None);
                }
                match mcap::parse_record(opcode, data).map_err(broken)? {
                    Record::Schema { header, data } => {
                        let schema = FileSchema {
                            name: header.name,
                            encoding: header.encoding,
                            data: data.into_owned(),
                        };
                        self.schemas.insert(header.id, Arc::new(schema));
                        Ok(None)
                    }
                    Record::Channel(channel) => {
                        let Some(schema) = self.schemas.get(&channel.schema_id) else {
                            let why = format!(
                                "channel {} has the unknown schema {}",
                                channel.id, channel.schema_id
                            );
                            return Err(FileEnd::Broken(why));
                        };
                        let known = FileChannel {
                            topic: channel.topic,
                            encoding: channel.message_encoding,
                            metadata: channel.metadata,
                            schema: Arc::clone(schema),
                        };
                        self.channels.insert(channel.id, Arc::new(known));
                        Ok(None)
                    }
                    Record::Metadata(metadata) => {
                        self.metadata.insert(metadata.name, metadata.metadata);
                        Ok(None)
                    }
                    Record::Message { header, data } => {
                        let Some(channel) = self.channels.get(&header.channel_id) else {
                            let why = format!("a message is on the unknown channel {}", header.channel_id);
                            return Err(FileEnd::Broken(why));
                        };
                        self.data.clear();
                        self.data.extend_from_slice(&data);
                        Ok(Some((Arc::clone(channel), header)))
                    }
                    _ => Ok(None),
                }
            }
        }
    }

    /// The metadata record `name`, if it has been passed.
    #[must_use]
    pub fn metadata(&self, name: &str) -> Option<&BTreeMap<String, String>> {
        self.metadata.get(name)
    }

    /// How the file ended; `None` while it goes on.
    #[must_use]
    pub fn end(&self) -> Option<&FileEnd> {
        self.end.as_ref()
    }
}
