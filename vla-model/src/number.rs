//! Numbers as tokens: one shared set of bins, whose meaning depends on the place in the sequence.
//!
//! A bin stands for its centre, `low + (bin + 0.5) / 128 · (high − low)`, so the error of a value
//! within the range is at most half a bin (2 mm for x, 2.7 mm for y, 2 mm for z, 0.7° for yaw).

use serde::{Deserialize, Serialize};

/// How many bins each axis is cut into.
pub const NUMBER_BINS: usize = 128;

/// What a number at some place of the sequence measures.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Axis {
    /// Horizontal place in the scene image, fraction of the width from the left.
    U,
    /// Vertical place in the scene image, fraction of the height from the top.
    V,
    /// Tool position along the base's x, metres.
    X,
    /// Tool position along the base's y, metres.
    Y,
    /// Tool position along the base's z, metres.
    Z,
    /// Turn of the tool about the vertical, radians, modulo π.
    Yaw,
    /// Opening of the gripper, metres.
    Width,
    /// Force of the gripper, newtons.
    Force,
}

/// A value that cannot become a token.
#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
#[error("{axis:?} is {value}, which is not a finite number")]
pub struct NumberError {
    /// What the value would have measured.
    pub axis: Axis,
    /// The value.
    pub value: f64,
}

impl Axis {
    /// Every axis, in the order in which the sequence names them.
    pub const ALL: [Self; 8] =
        [Self::U, Self::V, Self::X, Self::Y, Self::Z, Self::Yaw, Self::Width, Self::Force];

    /// Lowest and highest value, in the axis's unit.
    #[must_use]
    pub const fn range(self) -> (f64, f64) {
        use std::f64::consts::FRAC_PI_2;
        match self {
            Self::U | Self::V => (0.0, 1.0),
            Self::X => (0.25, 0.75),
            Self::Y => (-0.35, 0.35),
            Self::Z => (0.0, 0.5),
            Self::Yaw => (-FRAC_PI_2, FRAC_PI_2),
            Self::Width => (0.0, 0.08),
            Self::Force => (0.0, 40.0),
        }
    }

    /// Whether the highest value is the lowest again. A parallel gripper turned by π is the same.
    #[must_use]
    pub const fn wraps(self) -> bool {
        matches!(self, Self::Yaw)
    }

    /// The letter that stands before the bin in the text form.
    #[must_use]
    pub const fn letter(self) -> char {
        match self {
            Self::U => 'u',
            Self::V => 'v',
            Self::X => 'x',
            Self::Y => 'y',
            Self::Z => 'z',
            Self::Yaw => 'r',
            Self::Width => 'w',
            Self::Force => 'f',
        }
    }

    /// Width of one bin, in the axis's unit.
    #[must_use]
    pub const fn resolution(self) -> f64 {
        let (low, high) = self.range();
        (high - low) / NUMBER_BINS as f64
    }

    /// Steps between two bins, the short way round where the axis wraps.
    #[must_use]
    pub const fn distance(self, a: usize, b: usize) -> usize {
        let straight = a.abs_diff(b);
        if self.wraps() && straight > NUMBER_BINS / 2 { NUMBER_BINS - straight } else { straight }
    }
}

/// The bin of a value. Values outside the range go to the nearest bin, yaw is taken modulo π.
///
/// # Errors
/// [`NumberError`] for NaN and infinities.
pub fn encode(axis: Axis, value: f64) -> Result<usize, NumberError> {
    if !value.is_finite() {
        return Err(NumberError { axis, value });
    }
    let (low, high) = axis.range();
    let bins = NUMBER_BINS as f64;
    let fraction = if axis.wraps() {
        (value - low).rem_euclid(high - low) / (high - low)
    } else {
        ((value - low) / (high - low)).clamp(0.0, 1.0)
    };
    // The cast saturates; a fraction of exactly one happens by clamping and by rounding.
    let bin = (fraction * bins) as usize;
    Ok(if axis.wraps() { bin % NUMBER_BINS } else { bin.min(NUMBER_BINS - 1) })
}

/// The centre of a bin, in the axis's unit; a bin past the last one counts as the last.
#[must_use]
pub fn decode(axis: Axis, bin: usize) -> f64 {
    let (low, high) = axis.range();
    let bin = bin.min(NUMBER_BINS - 1);
    low + (bin as f64 + 0.5) / NUMBER_BINS as f64 * (high - low)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests fail by panicking")]
    use super::*;
    use proptest::prelude::*;
    use std::f64::consts::PI;

    #[test]
    fn centres_encode_to_their_own_bin() {
        for axis in Axis::ALL {
            for bin in 0..NUMBER_BINS {
                assert_eq!(encode(axis, decode(axis, bin)).unwrap(), bin, "{axis:?}");
            }
        }
    }

    #[test]
    fn ends_and_beyond() {
        assert_eq!(encode(Axis::X, 0.25).unwrap(), 0);
        assert_eq!(encode(Axis::X, 0.75).unwrap(), 127);
        assert_eq!(encode(Axis::X, 9.0).unwrap(), 127);
        assert_eq!(encode(Axis::X, -f64::MAX).unwrap(), 0);
        assert_eq!(encode(Axis::Width, f64::MAX).unwrap(), 127);
    }

    #[test]
    fn yaw_wraps_at_half_a_turn() {
        assert_eq!(encode(Axis::Yaw, PI / 2.0).unwrap(), 0);
        assert_eq!(encode(Axis::Yaw, -PI / 2.0).unwrap(), 0);
        assert_eq!(encode(Axis::Yaw, 0.3).unwrap(), encode(Axis::Yaw, 0.3 + 5.0 * PI).unwrap());
        assert_eq!(encode(Axis::Yaw, -PI / 2.0 - 1e-18).unwrap(), 0);
        assert_eq!(Axis::Yaw.distance(1, 127), 2);
        assert_eq!(Axis::X.distance(1, 127), 126);
    }

    #[test]
    fn what_is_not_finite_is_refused() {
        for value in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            assert!(encode(Axis::Z, value).is_err());
        }
    }

    proptest! {
        #[test]
        fn the_error_within_the_range_is_at_most_half_a_bin(fraction in 0.0..1.0f64) {
            for axis in Axis::ALL {
                let (low, high) = axis.range();
                let value = low + fraction * (high - low);
                let back = decode(axis, encode(axis, value).unwrap());
                prop_assert!((back - value).abs() <= 0.5 * axis.resolution() + 1e-9);
            }
        }

        #[test]
        fn any_number_has_a_bin(value in prop::num::f64::ANY) {
            for axis in Axis::ALL {
                match encode(axis, value) {
                    Ok(bin) => prop_assert!(bin < NUMBER_BINS),
                    Err(_) => prop_assert!(!value.is_finite()),
                }
            }
        }
    }
}
