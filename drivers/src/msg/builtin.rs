//! `builtin_interfaces`: parts of other messages.

use crate::cdr::{CdrError, Reader, Writer};

const NS_PER_S: u64 = 1_000_000_000;

/// A point in time since the Unix epoch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Time {
    /// Whole seconds.
    pub sec: i32,
    /// Nanoseconds on top, below 10⁹.
    pub nanosec: u32,
}

impl Time {
    /// From nanoseconds since the Unix epoch. ROS 2 times end in January 2038; later ones become that.
    #[must_use]
    pub fn from_ns(unix_ns: u64) -> Self {
        match i32::try_from(unix_ns / NS_PER_S) {
            // The remainder is below 10⁹ and fits.
            Ok(sec) => Self { sec, nanosec: (unix_ns % NS_PER_S) as u32 },
            Err(_) => Self { sec: i32::MAX, nanosec: 999_999_999 },
        }
    }

    /// Nanoseconds since the Unix epoch; a time before it is 0.
    #[must_use]
    pub fn as_ns(self) -> u64 {
        u64::try_from(self.sec).map_or(0, |sec| sec * NS_PER_S + u64::from(self.nanosec))
    }

    pub(crate) fn write(self, writer: &mut Writer<'_>) {
        writer.i32(self.sec);
        writer.u32(self.nanosec);
    }

    pub(crate) fn read(reader: &mut Reader<'_>) -> Result<Self, CdrError> {
        Ok(Self { sec: reader.i32("header.stamp.sec")?, nanosec: reader.u32("header.stamp.nanosec")? })
    }
}

/// A span of time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Duration {
    /// Whole seconds, rounded down.
    pub sec: i32,
    /// Nanoseconds on top, below 10⁹.
    pub nanosec: u32,
}

impl Duration {
    /// From nanoseconds; spans past 68 years become that.
    #[must_use]
    pub fn from_ns(ns: u64) -> Self {
        let Time { sec, nanosec } = Time::from_ns(ns);
        Self { sec, nanosec }
    }

    /// Nanoseconds; a negative span is 0.
    #[must_use]
    pub fn as_ns(self) -> u64 {
        Time { sec: self.sec, nanosec: self.nanosec }.as_ns()
    }

    pub(crate) fn write(self, writer: &mut Writer<'_>) {
        writer.i32(self.sec);
        writer.u32(self.nanosec);
    }

    pub(crate) fn read(reader: &mut Reader<'_>) -> Result<Self, CdrError> {
        Ok(Self { sec: reader.i32("time_from_start.sec")?, nanosec: reader.u32("time_from_start.nanosec")? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nanoseconds_survive_both_ways_and_ends_saturate() {
        for ns in [0, 1, 999_999_999, 1_000_000_000, 1_763_650_000_123_456_789] {
            assert_eq!(Time::from_ns(ns).as_ns(), ns);
            assert_eq!(Duration::from_ns(ns).as_ns(), ns);
        }
        assert_eq!(Time::from_ns(u64::MAX), Time { sec: i32::MAX, nanosec: 999_999_999 });
        assert_eq!(Time { sec: -1, nanosec: 5 }.as_ns(), 0);
        assert_eq!(Time { sec: i32::MAX, nanosec: u32::MAX }.as_ns(), 2_147_483_651_294_967_295);
    }
}
