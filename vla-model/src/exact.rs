//! Floating-point numbers as JSON without loss: what is recorded must read back as the same bits.
//!
//! `#[serde(with = "exact")]` writes a finite number as a number (an `f32` as the `f64` of the same value,
//! which needs no second rounding when it is read), and NaN and the infinities, which JSON does not have, as
//! a text with their bits: `"NaN 0x7ff8000000000000"`. It works for `f32`, `f64`, arrays and vectors of them.
//! Reading needs a parser that is exact for finite numbers, such as `serde_json` with `float_roundtrip`.

use std::fmt;
use std::marker::PhantomData;

use serde::de::{Error, SeqAccess, Visitor};
use serde::ser::SerializeSeq;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// What can be written without loss.
pub trait Exact: Sized {
    /// Writes the value.
    ///
    /// # Errors
    /// The serializer's.
    fn write<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error>;

    /// Reads what [`Exact::write`] wrote.
    ///
    /// # Errors
    /// The deserializer's, for anything else.
    fn read<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error>;
}

/// For `#[serde(with = "exact")]`.
///
/// # Errors
/// The serializer's.
pub fn serialize<T: Exact, S: Serializer>(value: &T, serializer: S) -> Result<S::Ok, S::Error> {
    value.write(serializer)
}

/// For `#[serde(with = "exact")]`.
///
/// # Errors
/// The deserializer's.
pub fn deserialize<'de, T: Exact, D: Deserializer<'de>>(deserializer: D) -> Result<T, D::Error> {
    T::read(deserializer)
}

fn name_of_special(value: f64) -> &'static str {
    if value.is_nan() {
        "NaN"
    } else if value > 0.0 {
        "inf"
    } else {
        "-inf"
    }
}

/// The bits at the end of a text such as `NaN 0x7fc00000`.
fn bits_in(text: &str) -> Option<u64> {
    u64::from_str_radix(text.split_once(" 0x")?.1, 16).ok()
}

enum Number {
    Finite(f64),
    Special(u64),
}

struct NumberVisitor;

impl Visitor<'_> for NumberVisitor {
    type Value = Number;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a number, or a text such as \"NaN 0x7ff8000000000000\"")
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Number, E> {
        Ok(Number::Finite(value))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Number, E> {
        Ok(Number::Finite(value as f64))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Number, E> {
        Ok(Number::Finite(value as f64))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Number, E> {
        bits_in(text)
            .map(Number::Special)
            .ok_or_else(|| E::invalid_value(serde::de::Unexpected::Str(text), &self))
    }
}

impl Exact for f64 {
    fn write<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.is_finite() {
            serializer.serialize_f64(*self)
        } else {
            serializer.collect_str(&format_args!("{} {:#x}", name_of_special(*self), self.to_bits()))
        }
    }

    fn read<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(match deserializer.deserialize_any(NumberVisitor)? {
            Number::Finite(value) => value,
            Number::Special(bits) => Self::from_bits(bits),
        })
    }
}

impl Exact for f32 {
    fn write<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.is_finite() {
            serializer.serialize_f64(f64::from(*self))
        } else {
            let name = name_of_special(f64::from(*self));
            serializer.collect_str(&format_args!("{name} {:#x}", self.to_bits()))
        }
    }

    fn read<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match deserializer.deserialize_any(NumberVisitor)? {
            Number::Finite(value) => Ok(value as Self),
            Number::Special(bits) => u32::try_from(bits)
                .map(Self::from_bits)
                .map_err(|_| D::Error::custom("expected the 32 bits of a number, found more")),
        }
    }
}

/// Lends an [`Exact`] value to code that wants [`Serialize`].
struct Lent<'a, T>(&'a T);

impl<T: Exact> Serialize for Lent<'_, T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.write(serializer)
    }
}

struct Owned<T>(T);

impl<'de, T: Exact> Deserialize<'de> for Owned<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        T::read(deserializer).map(Self)
    }
}

fn write_all<T: Exact, S: Serializer>(values: &[T], serializer: S) -> Result<S::Ok, S::Error> {
    let mut list = serializer.serialize_seq(Some(values.len()))?;
    for value in values {
        list.serialize_element(&Lent(value))?;
    }
    list.end()
}

struct ListVisitor<T>(PhantomData<T>);

impl<'de, T: Exact> Visitor<'de> for ListVisitor<T> {
    type Value = Vec<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of numbers")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Vec<T>, A::Error> {
        let mut values = Vec::new();
        while let Some(Owned(value)) = list.next_element()? {
            values.push(value);
        }
        Ok(values)
    }
}

impl<T: Exact> Exact for Vec<T> {
    fn write<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        write_all(self, serializer)
    }

    fn read<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(ListVisitor(PhantomData))
    }
}

impl<T: Exact, const N: usize> Exact for [T; N] {
    fn write<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        write_all(self, serializer)
    }

    fn read<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let values = Vec::read(deserializer)?;
        Self::try_from(values).map_err(|values: Vec<T>| {
            D::Error::invalid_length(values.len(), &format!("{N} numbers").as_str())
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests fail by panicking")]
    use super::*;
    use proptest::prelude::*;

    #[derive(Serialize, Deserialize)]
    struct Both {
        #[serde(with = "super")]
        wide: Vec<f64>,
        #[serde(with = "super")]
        narrow: [f32; 2],
    }

    proptest! {
        #[test]
        fn every_bit_pattern_survives(wide: Vec<u64>, narrow: [u32; 2]) {
            let written = serde_json::to_string(&Both {
                wide: wide.iter().map(|bits| f64::from_bits(*bits)).collect(),
                narrow: narrow.map(f32::from_bits),
            }).unwrap();
            let read: Both = serde_json::from_str(&written).unwrap();
            prop_assert_eq!(read.wide.iter().map(|value| value.to_bits()).collect::<Vec<_>>(), wide);
            prop_assert_eq!(read.narrow.map(f32::to_bits), narrow);
        }
    }

    #[test]
    fn specials_are_readable_and_nonsense_is_refused() {
        let both = Both { wide: vec![f64::NEG_INFINITY, -0.0], narrow: [f32::NAN, 0.5] };
        let text = serde_json::to_string(&both).unwrap();
        assert_eq!(text, r#"{"wide":["-inf 0xfff0000000000000",-0.0],"narrow":["NaN 0x7fc00000",0.5]}"#);
        for wrong in [r#"{"wide":["NaN"],"narrow":[0,0]}"#, r#"{"wide":[],"narrow":[0]}"#] {
            assert!(serde_json::from_str::<Both>(wrong).is_err(), "{wrong}");
        }
    }
}
