//! A joint vector of fixed capacity, so that the control loop never allocates.

use std::fmt;
use std::ops::{Deref, DerefMut};

/// The most moving joints a [`Chain`](crate::Chain) may have.
pub const MAX_DOF: usize = 8;

/// Up to [`MAX_DOF`] joint values: positions (rad or m), velocities or accelerations, in chain order.
///
/// It is `Copy` and reads like a slice. Two vectors are equal when length and values are equal.
#[derive(Clone, Copy, Default)]
pub struct Joints {
    values: [f64; MAX_DOF],
    len: usize,
}

impl Joints {
    /// `len` zeros; a length above [`MAX_DOF`] is cut to it.
    #[must_use]
    pub fn zeros(len: usize) -> Self {
        debug_assert!(len <= MAX_DOF, "{len} joints, capacity {MAX_DOF}");
        Self { values: [0.0; MAX_DOF], len: len.min(MAX_DOF) }
    }

    /// Copies the values; what lies beyond [`MAX_DOF`] entries is dropped.
    #[must_use]
    pub fn from_slice(values: &[f64]) -> Self {
        let mut joints = Self::zeros(values.len());
        for (to, from) in joints.values.iter_mut().zip(values) {
            *to = *from;
        }
        joints
    }

    /// The value of each index below `len` from a function.
    #[must_use]
    pub fn from_fn(len: usize, mut value: impl FnMut(usize) -> f64) -> Self {
        let mut joints = Self::zeros(len);
        for (index, to) in joints.iter_mut().enumerate() {
            *to = value(index);
        }
        joints
    }

    /// Whether every value is finite (an empty vector is).
    #[must_use]
    pub fn is_finite(&self) -> bool {
        self.iter().all(|value| value.is_finite())
    }
}

impl Deref for Joints {
    type Target = [f64];

    fn deref(&self) -> &[f64] {
        self.values.get(..self.len).unwrap_or(&self.values)
    }
}

impl DerefMut for Joints {
    fn deref_mut(&mut self) -> &mut [f64] {
        let len = self.len.min(MAX_DOF);
        &mut self.values[..len]
    }
}

impl PartialEq for Joints {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl fmt::Debug for Joints {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

impl AsRef<[f64]> for Joints {
    fn as_ref(&self) -> &[f64] {
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_like_a_slice_and_keeps_its_length() {
        let joints = Joints::from_slice(&[1.0, -2.0, 3.5]);
        assert_eq!(joints.len(), 3);
        assert_eq!(&joints[..], &[1.0, -2.0, 3.5]);
        assert_ne!(joints, Joints::from_slice(&[1.0, -2.0, 3.5, 0.0]));
        assert!(joints.is_finite());
        assert!(!Joints::from_slice(&[f64::NAN]).is_finite());
    }
}
