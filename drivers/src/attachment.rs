//! The 33 bytes that `rmw_zenoh` puts beside every payload: who sent it, when, and as which number.
//!
//! Layout (rmw_zenoh since April 2025): the sequence number and the source time stamp as
//! little-endian `i64`, the byte 16, and the 16 bytes of the gid.

use xxhash_rust::xxh3::xxh3_128;

/// The size of an attachment.
pub const ATTACHMENT_BYTES: usize = 33;

/// The length byte before the gid.
const GID_BYTES: u8 = 16;

/// What a publisher says about one payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attachment {
    /// Counts the publisher's payloads, from 1 as `rmw_zenoh` does. (Other clients count from 0.)
    pub sequence: i64,
    /// The publisher's time when it published, nanoseconds since the Unix epoch.
    pub source_ns: u64,
    /// The publisher's identity, see [`gid`]. A restarted publisher has another one.
    pub gid: [u8; 16],
}

/// Why bytes are not an attachment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AttachmentError {
    /// There is none.
    #[error("attachment: expected {ATTACHMENT_BYTES} bytes, found none")]
    Missing,
    /// It has another size.
    #[error("attachment: expected {ATTACHMENT_BYTES} bytes, found {found_bytes}")]
    Size {
        /// Its size.
        found_bytes: usize,
    },
    /// The byte before the gid is not the gid's length.
    #[error("attachment.gid: expected a length of 16, found {found}")]
    GidLength {
        /// The byte found.
        found: u8,
    },
    /// Sequence numbers count upwards.
    #[error("attachment.sequence: expected 0 or more, found {found}")]
    Sequence {
        /// The number found.
        found: i64,
    },
    /// The time stamp lies before 1970.
    #[error("attachment.source_timestamp: expected nanoseconds since 1970, found {found}")]
    Time {
        /// The stamp found.
        found: i64,
    },
}

impl Attachment {
    /// The bytes.
    #[must_use]
    pub fn encode(&self) -> [u8; ATTACHMENT_BYTES] {
        let mut bytes = [0; ATTACHMENT_BYTES];
        bytes[..8].copy_from_slice(&self.sequence.to_le_bytes());
        let source_ns = i64::try_from(self.source_ns).unwrap_or(i64::MAX);
        bytes[8..16].copy_from_slice(&source_ns.to_le_bytes());
        bytes[16] = GID_BYTES;
        bytes[17..].copy_from_slice(&self.gid);
        bytes
    }

    /// Reads the bytes that came with a payload, if any did.
    ///
    /// # Errors
    /// [`AttachmentError`] names what is wrong. A missing attachment is an error: without a sequence
    /// number and a time, neither loss nor age would be seen.
    pub fn decode(bytes: Option<&[u8]>) -> Result<Self, AttachmentError> {
        let bytes = bytes.ok_or(AttachmentError::Missing)?;
        let Ok(bytes) = <&[u8; ATTACHMENT_BYTES]>::try_from(bytes) else {
            return Err(AttachmentError::Size { found_bytes: bytes.len() });
        };
        let number = |start: usize| {
            let mut number = [0; 8];
            number.copy_from_slice(&bytes[start..start + 8]);
            i64::from_le_bytes(number)
        };
        let (sequence, stamp) = (number(0), number(8));
        if bytes[16] != GID_BYTES {
            return Err(AttachmentError::GidLength { found: bytes[16] });
        }
        if sequence < 0 {
            return Err(AttachmentError::Sequence { found: sequence });
        }
        let source_ns = u64::try_from(stamp).map_err(|_| AttachmentError::Time { found: stamp })?;
        let mut gid = [0; 16];
        gid.copy_from_slice(&bytes[17..]);
        Ok(Self { sequence, source_ns, gid })
    }
}

/// The identity of a publisher whose liveliness key is `liveliness_key`: its 128-bit XXH3 hash,
/// little-endian, as `rmw_zenoh` computes it.
#[must_use]
pub fn gid(liveliness_key: &str) -> [u8; 16] {
    xxh3_128(liveliness_key.as_bytes()).to_le_bytes()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests fail by panicking")]
    use super::*;

    #[test]
    fn bytes_are_those_of_rmw_zenoh() {
        let attachment =
            Attachment { sequence: 3, source_ns: 0x0102_0304_0506_0708, gid: *b"0123456789abcdef" };
        let bytes = attachment.encode();
        assert_eq!(
            bytes.as_slice(),
            b"\x03\0\0\0\0\0\0\0\x08\x07\x06\x05\x04\x03\x02\x01\x100123456789abcdef"
        );
        assert_eq!(Attachment::decode(Some(&bytes)), Ok(attachment));
    }

    #[test]
    fn wrong_bytes_are_named() {
        let good = Attachment { sequence: 1, source_ns: 1, gid: [7; 16] }.encode();
        assert_eq!(Attachment::decode(None), Err(AttachmentError::Missing));
        assert_eq!(Attachment::decode(Some(&good[..32])), Err(AttachmentError::Size { found_bytes: 32 }));
        let mut bytes = good;
        bytes[16] = 17;
        assert_eq!(Attachment::decode(Some(&bytes)), Err(AttachmentError::GidLength { found: 17 }));
        bytes = good;
        bytes[0] = 0;
        assert_eq!(Attachment::decode(Some(&bytes)).map(|attachment| attachment.sequence), Ok(0));
        bytes[..8].copy_from_slice(&(-5_i64).to_le_bytes());
        assert_eq!(Attachment::decode(Some(&bytes)), Err(AttachmentError::Sequence { found: -5 }));
        bytes = good;
        bytes[15] = 0x80;
        assert!(matches!(Attachment::decode(Some(&bytes)), Err(AttachmentError::Time { .. })));
    }

    #[test]
    fn gid_is_the_hash_of_the_key() {
        // The published XXH3-128 value of the empty input, as little-endian bytes.
        assert_eq!(gid(""), 0x99aa_06d3_0147_98d8_6001_c324_468d_497f_u128.to_le_bytes());
    }
}
