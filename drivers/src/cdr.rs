//! Plain CDR version 1 (XCDR1), little-endian: the bytes of ROS 2 messages.
//!
//! A payload is a four-byte header (`00 01 00 00`) and the body. A number of n bytes stands at a
//! multiple of n counted from the start of the body (n at most 8). A string is a `u32` length that
//! counts the closing NUL, the UTF-8 bytes, and the NUL; a sequence is a `u32` count and the elements;
//! an array is its elements. Source: OMG DDS-XTypes 1.3, section 7.4.
//!
//! Bytes from outside are never trusted: each length is checked against the bytes that remain before
//! anything is allocated for it, so that decoding costs time and memory linear in the payload.

/// The header of a little-endian payload.
const HEADER: [u8; 4] = [0x00, 0x01, 0x00, 0x00];

/// Bytes that may follow the last field: writers may pad the body to a multiple of four.
const MAX_PADDING_BYTES: usize = 3;

/// Why bytes are not a message. Each variant names the field that could not be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CdrError {
    /// The header is not the one of little-endian XCDR1.
    #[error("header: expected 00 01 (CDR, little-endian), found {}", hex(found))]
    Header {
        /// The first bytes of the payload, two at most.
        found: Vec<u8>,
    },
    /// The payload ends inside a field.
    #[error("{field}: expected {expected_bytes} more bytes, found {found_bytes}")]
    Truncated {
        /// The field that could not be read.
        field: &'static str,
        /// How many bytes the field needs at the least, from where it starts.
        expected_bytes: u64,
        /// How many bytes remain.
        found_bytes: u64,
    },
    /// A sequence announces more elements than the remaining bytes can hold.
    #[error(
        "{field}: expected at most {expected_at_most} elements in the bytes that remain, found a count of {found}"
    )]
    Count {
        /// The sequence.
        field: &'static str,
        /// The largest count that could be true.
        expected_at_most: u64,
        /// The announced count.
        found: u64,
    },
    /// A string does not end in NUL.
    #[error("{field}: expected a closing NUL, found byte {found:#04x}")]
    Terminator {
        /// The string.
        field: &'static str,
        /// The byte in the place of NUL.
        found: u8,
    },
    /// A string is not UTF-8.
    #[error("{field}: expected UTF-8, found an invalid sequence after {valid_bytes} bytes")]
    Utf8 {
        /// The string.
        field: &'static str,
        /// How many bytes were valid.
        valid_bytes: usize,
    },
    /// A truth value is neither 0 nor 1.
    #[error("{field}: expected 0 or 1, found {found}")]
    Bool {
        /// The field.
        field: &'static str,
        /// The byte found.
        found: u8,
    },
    /// Bytes are left over after the last field: the payload is of another type.
    #[error(
        "end of message: expected at most {MAX_PADDING_BYTES} bytes of padding, found {found_bytes} bytes"
    )]
    Trailing {
        /// How many bytes are left.
        found_bytes: usize,
    },
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().join(" ")
}

/// Appends fields to a payload.
#[derive(Debug)]
pub struct Writer<'a> {
    out: &'a mut Vec<u8>,
}

impl<'a> Writer<'a> {
    /// Starts a payload in `out`, replacing what it held and keeping its allocation.
    pub fn new(out: &'a mut Vec<u8>) -> Self {
        out.clear();
        out.extend_from_slice(&HEADER);
        Self { out }
    }

    /// Pads with zeros so that the next byte stands at a multiple of `size` (a power of two) in the body.
    fn align(&mut self, size: usize) {
        let body = self.out.len() - HEADER.len();
        self.out.resize(HEADER.len() + body.next_multiple_of(size), 0);
    }

    fn number<const N: usize>(&mut self, bytes: [u8; N]) {
        self.align(N);
        self.out.extend_from_slice(&bytes);
    }

    /// A length as CDR has it. Lengths past 4 GiB have no CDR form; links refuse such payloads long
    /// before, by [`crate::link::MAX_MESSAGE_BYTES`].
    fn length(&mut self, length: usize) {
        self.u32(u32::try_from(length).unwrap_or(u32::MAX));
    }

    /// One byte.
    pub fn u8(&mut self, value: u8) {
        self.out.push(value);
    }

    /// A truth value, one byte.
    pub fn bool(&mut self, value: bool) {
        self.out.push(u8::from(value));
    }

    /// A 32-bit signed number.
    pub fn i32(&mut self, value: i32) {
        self.number(value.to_le_bytes());
    }

    /// A 32-bit unsigned number.
    pub fn u32(&mut self, value: u32) {
        self.number(value.to_le_bytes());
    }

    /// A 64-bit signed number.
    pub fn i64(&mut self, value: i64) {
        self.number(value.to_le_bytes());
    }

    /// A 64-bit unsigned number.
    pub fn u64(&mut self, value: u64) {
        self.number(value.to_le_bytes());
    }

    /// A 32-bit floating-point number, bits kept as they are.
    pub fn f32(&mut self, value: f32) {
        self.number(value.to_le_bytes());
    }

    /// A 64-bit floating-point number, bits kept as they are.
    pub fn f64(&mut self, value: f64) {
        self.number(value.to_le_bytes());
    }

    /// A string.
    pub fn string(&mut self, value: &str) {
        self.length(value.len() + 1);
        self.out.extend_from_slice(value.as_bytes());
        self.out.push(0);
    }

    /// A sequence of bytes.
    pub fn bytes(&mut self, values: &[u8]) {
        self.length(values.len());
        self.out.extend_from_slice(values);
    }

    /// A sequence of 32-bit floating-point numbers.
    pub fn f32s(&mut self, values: &[f32]) {
        self.length(values.len());
        values.iter().for_each(|&value| self.f32(value));
    }

    /// A sequence of 64-bit floating-point numbers.
    pub fn f64s(&mut self, values: &[f64]) {
        self.length(values.len());
        values.iter().for_each(|&value| self.f64(value));
    }

    /// A sequence of strings.
    pub fn strings(&mut self, values: &[String]) {
        self.length(values.len());
        values.iter().for_each(|value| self.string(value));
    }

    /// A sequence of anything, each element written by `write`.
    pub fn sequence<T>(&mut self, values: &[T], mut write: impl FnMut(&mut Self, &T)) {
        self.length(values.len());
        values.iter().for_each(|value| write(self, value));
    }
}

/// Takes fields off a payload. Every method names the field that it reads, for the error.
#[derive(Debug)]
pub struct Reader<'a> {
    body: &'a [u8],
    position: usize,
}

impl<'a> Reader<'a> {
    /// Checks the header of `payload`.
    ///
    /// # Errors
    /// [`CdrError::Header`] for anything but little-endian XCDR1, big-endian included: `rmw_zenoh` and
    /// DDS on the machines that we support never write it.
    pub fn new(payload: &'a [u8]) -> Result<Self, CdrError> {
        match payload {
            // The last two bytes are options; their low bits may count padding, and nothing depends on them.
            [0x00, 0x01, _, _, body @ ..] => Ok(Self { body, position: 0 }),
            other => Err(CdrError::Header { found: other.iter().take(2).copied().collect() }),
        }
    }

    fn remaining(&self) -> usize {
        self.body.len().saturating_sub(self.position)
    }

    fn take(&mut self, field: &'static str, align: usize, bytes: usize) -> Result<&'a [u8], CdrError> {
        let start = self.position.next_multiple_of(align);
        let taken = start.checked_add(bytes).and_then(|end| self.body.get(start..end));
        match taken {
            Some(slice) => {
                self.position = start + bytes;
                Ok(slice)
            }
            None => Err(CdrError::Truncated {
                field,
                expected_bytes: (bytes as u64).saturating_add((start - self.position) as u64),
                found_bytes: self.remaining() as u64,
            }),
        }
    }

    fn number<const N: usize>(&mut self, field: &'static str) -> Result<[u8; N], CdrError> {
        let mut bytes = [0; N];
        bytes.copy_from_slice(self.take(field, N, N)?);
        Ok(bytes)
    }

    /// One byte.
    ///
    /// # Errors
    /// [`CdrError::Truncated`], as for all numbers.
    pub fn u8(&mut self, field: &'static str) -> Result<u8, CdrError> {
        self.number::<1>(field).map(|[byte]| byte)
    }

    /// A truth value.
    ///
    /// # Errors
    /// [`CdrError::Truncated`]; [`CdrError::Bool`] for a byte other than 0 and 1.
    pub fn bool(&mut self, field: &'static str) -> Result<bool, CdrError> {
        match self.u8(field)? {
            0 => Ok(false),
            1 => Ok(true),
            found => Err(CdrError::Bool { field, found }),
        }
    }

    /// A 32-bit signed number.
    ///
    /// # Errors
    /// [`CdrError::Truncated`].
    pub fn i32(&mut self, field: &'static str) -> Result<i32, CdrError> {
        self.number(field).map(i32::from_le_bytes)
    }

    /// A 32-bit unsigned number.
    ///
    /// # Errors
    /// [`CdrError::Truncated`].
    pub fn u32(&mut self, field: &'static str) -> Result<u32, CdrError> {
        self.number(field).map(u32::from_le_bytes)
    }

    /// A 64-bit signed number.
    ///
    /// # Errors
    /// [`CdrError::Truncated`].
    pub fn i64(&mut self, field: &'static str) -> Result<i64, CdrError> {
        self.number(field).map(i64::from_le_bytes)
    }

    /// A 64-bit unsigned number.
    ///
    /// # Errors
    /// [`CdrError::Truncated`].
    pub fn u64(&mut self, field: &'static str) -> Result<u64, CdrError> {
        self.number(field).map(u64::from_le_bytes)
    }

    /// A 32-bit floating-point number; NaN and infinity pass.
    ///
    /// # Errors
    /// [`CdrError::Truncated`].
    pub fn f32(&mut self, field: &'static str) -> Result<f32, CdrError> {
        self.number(field).map(f32::from_le_bytes)
    }

    /// A 64-bit floating-point number; NaN and infinity pass.
    ///
    /// # Errors
    /// [`CdrError::Truncated`].
    pub fn f64(&mut self, field: &'static str) -> Result<f64, CdrError> {
        self.number(field).map(f64::from_le_bytes)
    }

    /// A string. A length of zero, which some writers use, is read as the empty string.
    ///
    /// # Errors
    /// [`CdrError::Truncated`], [`CdrError::Terminator`], [`CdrError::Utf8`].
    pub fn string(&mut self, field: &'static str) -> Result<String, CdrError> {
        let bytes = self.u32(field)? as usize;
        match self.take(field, 1, bytes)? {
            [] => Ok(String::new()),
            [text @ .., 0] => match std::str::from_utf8(text) {
                Ok(text) => Ok(text.to_owned()),
                Err(error) => Err(CdrError::Utf8 { field, valid_bytes: error.valid_up_to() }),
            },
            [.., found] => Err(CdrError::Terminator { field, found: *found }),
        }
    }

    /// The count of a sequence whose elements take `element_bytes` each at the least; checked against
    /// what remains, so that the caller may allocate for it.
    fn count(&mut self, field: &'static str, element_bytes: usize) -> Result<usize, CdrError> {
        let found = self.u32(field)?;
        let expected_at_most = (self.remaining() / element_bytes.max(1)) as u64;
        if u64::from(found) > expected_at_most {
            return Err(CdrError::Count { field, expected_at_most, found: u64::from(found) });
        }
        Ok(found as usize)
    }

    /// A sequence of bytes.
    ///
    /// # Errors
    /// [`CdrError::Truncated`], [`CdrError::Count`], as for all sequences.
    pub fn bytes(&mut self, field: &'static str) -> Result<Vec<u8>, CdrError> {
        let count = self.count(field, 1)?;
        self.take(field, 1, count).map(<[u8]>::to_vec)
    }

    /// A sequence of 32-bit floating-point numbers.
    ///
    /// # Errors
    /// [`CdrError::Truncated`], [`CdrError::Count`].
    pub fn f32s(&mut self, field: &'static str) -> Result<Vec<f32>, CdrError> {
        self.sequence(field, 4, |reader| reader.f32(field))
    }

    /// A sequence of 64-bit floating-point numbers.
    ///
    /// # Errors
    /// [`CdrError::Truncated`], [`CdrError::Count`].
    pub fn f64s(&mut self, field: &'static str) -> Result<Vec<f64>, CdrError> {
        self.sequence(field, 8, |reader| reader.f64(field))
    }

    /// A sequence of strings.
    ///
    /// # Errors
    /// [`CdrError::Truncated`], [`CdrError::Count`], [`CdrError::Terminator`], [`CdrError::Utf8`].
    pub fn strings(&mut self, field: &'static str) -> Result<Vec<String>, CdrError> {
        self.sequence(field, 4, |reader| reader.string(field))
    }

    /// A sequence whose elements `read` takes, each of at least `element_bytes` bytes.
    ///
    /// # Errors
    /// [`CdrError::Truncated`], [`CdrError::Count`], and what `read` returns.
    pub fn sequence<T>(
        &mut self,
        field: &'static str,
        element_bytes: usize,
        mut read: impl FnMut(&mut Self) -> Result<T, CdrError>,
    ) -> Result<Vec<T>, CdrError> {
        let count = self.count(field, element_bytes)?;
        let mut values = Vec::with_capacity(count);
        for _ in 0..count {
            values.push(read(self)?);
        }
        Ok(values)
    }

    /// Checks that nothing but padding is left.
    ///
    /// # Errors
    /// [`CdrError::Trailing`] for more than three bytes.
    pub fn finish(self) -> Result<(), CdrError> {
        match self.remaining() {
            0..=MAX_PADDING_BYTES => Ok(()),
            found_bytes => Err(CdrError::Trailing { found_bytes }),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests fail by panicking")]
    use super::*;

    #[test]
    fn numbers_stand_at_multiples_of_their_size() {
        let mut out = vec![0xaa; 3];
        let mut writer = Writer::new(&mut out);
        writer.u8(1);
        writer.f64(1.0);
        writer.bool(true);
        writer.u32(7);
        writer.string("ab");
        assert_eq!(
            out,
            [
                &[0, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0][..],
                &1.0f64.to_le_bytes(),
                &[1, 0, 0, 0, 7, 0, 0, 0, 3, 0, 0, 0, b'a', b'b', 0],
            ]
            .concat()
        );
        let mut reader = Reader::new(&out).unwrap();
        assert_eq!(reader.u8("a"), Ok(1));
        assert_eq!(reader.f64("b"), Ok(1.0));
        assert_eq!(reader.bool("c"), Ok(true));
        assert_eq!(reader.u32("d"), Ok(7));
        assert_eq!(reader.string("e"), Ok("ab".to_owned()));
        assert_eq!(reader.finish(), Ok(()));
    }

    #[test]
    fn headers_other_than_little_endian_are_refused() {
        for header in [&[][..], &[0], &[0, 0, 0, 0], &[0, 3, 0, 0], &[0, 1, 0]] {
            assert!(matches!(Reader::new(header), Err(CdrError::Header { .. })), "{header:?}");
        }
        assert_eq!(
            Reader::new(&[0, 0, 0, 0]).unwrap_err().to_string(),
            "header: expected 00 01 (CDR, little-endian), found 00 00"
        );
    }

    #[test]
    fn impossible_lengths_are_refused_before_allocation() {
        let payload = [0, 1, 0, 0, 0xff, 0xff, 0xff, 0xff, 1, 2];
        let reader = || Reader::new(&payload).unwrap();
        assert_eq!(
            reader().f64s("x"),
            Err(CdrError::Count { field: "x", expected_at_most: 0, found: 0xffff_ffff })
        );
        assert_eq!(
            reader().bytes("x"),
            Err(CdrError::Count { field: "x", expected_at_most: 2, found: 0xffff_ffff })
        );
        assert_eq!(
            reader().string("x"),
            Err(CdrError::Truncated { field: "x", expected_bytes: 0xffff_ffff, found_bytes: 2 })
        );
    }

    #[test]
    fn strings_need_their_nul_and_utf8() {
        let read = |bytes: &[u8]| {
            let payload = [&[0, 1, 0, 0][..], bytes].concat();
            Reader::new(&payload).unwrap().string("s")
        };
        assert_eq!(read(&[2, 0, 0, 0, b'a', b'b']), Err(CdrError::Terminator { field: "s", found: b'b' }));
        assert_eq!(read(&[3, 0, 0, 0, b'a', 0xff, 0]), Err(CdrError::Utf8 { field: "s", valid_bytes: 1 }));
        assert_eq!(read(&[0, 0, 0, 0]), Ok(String::new()));
    }

    #[test]
    fn left_over_bytes_are_refused() {
        let mut reader = Reader::new(&[0, 1, 0, 0, 1, 0, 0, 0, 0, 0]).unwrap();
        assert_eq!(reader.u8("a"), Ok(1));
        assert_eq!(reader.finish(), Err(CdrError::Trailing { found_bytes: 5 }));
    }
}
