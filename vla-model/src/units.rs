//! Between a robot's values and those that a policy was trained with.
//!
//! This workspace speaks of joints in radians and of grippers in metres. Demonstrations were often recorded in
//! other units; each of those that occur is a straight line away (degrees from the middle of a joint's range, parts
//! of that range, percent of a gripper's opening), some with an end where the recording program cut values off.

/// How one value of a state or action was recorded: `gain · value + offset`, kept within `low..=high`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Unit {
    /// Recorded units per rad or m; finite, not 0, of either sign.
    pub gain: f64,
    /// What is recorded at 0 rad or 0 m.
    pub offset: f64,
    /// Least value that is ever recorded; may be `-∞`.
    pub low: f64,
    /// Largest value that is ever recorded; may be `∞`.
    pub high: f64,
}

/// The units of all values of a state or action: the arm's joints from the base outwards, then the gripper. The
/// default is the robot's own: rad and m.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Units {
    values: Vec<Unit>,
}

impl Units {
    /// One unit for each value. `None` when a gain or an offset is no finite number, a gain is 0 or no value lies
    /// between `low` and `high`.
    #[must_use]
    pub fn new(values: Vec<Unit>) -> Option<Self> {
        let sound = |unit: &Unit| {
            unit.gain.is_finite() && unit.gain != 0.0 && unit.offset.is_finite() && unit.low <= unit.high
        };
        values.iter().all(sound).then_some(Self { values })
    }

    /// Whether states and actions of `len` values can have these units.
    #[must_use]
    pub fn fit(&self, len: usize) -> bool {
        self.values.is_empty() || self.values.len() == len
    }

    /// From rad and m to the policy's units, in place; `values` is one state or action.
    pub fn to_policy(&self, values: &mut [f32]) {
        for (value, unit) in values.iter_mut().zip(&self.values) {
            *value = (f64::from(*value) * unit.gain + unit.offset).clamp(unit.low, unit.high) as f32;
        }
    }

    /// From the policy's units to rad and m, in place; `values` is one state or action.
    pub fn from_policy(&self, values: &mut [f32]) {
        for (value, unit) in values.iter_mut().zip(&self.values) {
            *value = ((f64::from(*value).clamp(unit.low, unit.high) - unit.offset) / unit.gain) as f32;
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests fail by panicking")]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const DEGREES: Unit = Unit { gain: 57.3, offset: -12.0, low: f64::NEG_INFINITY, high: f64::INFINITY };
    const PERCENT: Unit = Unit { gain: 1250.0, offset: 0.0, low: 0.0, high: 100.0 };

    proptest! {
        #[test]
        fn there_and_back_is_the_same(angle_rad in -3.0_f32..3.0, width_m in 0.0_f32..0.08, turned: bool) {
            let joint = if turned { Unit { gain: -DEGREES.gain, ..DEGREES } } else { DEGREES };
            let units = Units::new(vec![joint, PERCENT]).unwrap();
            let mut values = [angle_rad, width_m];
            units.to_policy(&mut values);
            units.from_policy(&mut values);
            prop_assert!((values[0] - angle_rad).abs() < 1e-6 && (values[1] - width_m).abs() < 1e-7);
        }
    }

    #[test]
    fn values_are_cut_where_the_recorder_cut_them() {
        let units = Units::new(vec![DEGREES, PERCENT]).unwrap();
        let mut values = [2.0, 0.09];
        units.to_policy(&mut values);
        assert_eq!(values, [102.6, 100.0]);
        let mut values = [102.6, -3.0];
        units.from_policy(&mut values);
        assert!((values[0] - 2.0).abs() < 1e-6);
        assert_eq!(values[1], 0.0);
    }

    #[test]
    fn the_robots_own_units_change_nothing_and_fit_all() {
        let mut values = [1.0, f32::NAN];
        Units::default().to_policy(&mut values);
        assert!(values[0] == 1.0 && values[1].is_nan());
        assert!(Units::default().fit(6) && !Units::new(vec![DEGREES]).unwrap().fit(6));
    }

    #[test]
    fn units_that_cannot_be_are_refused() {
        for gain in [0.0, f64::NAN, f64::INFINITY] {
            assert_eq!(Units::new(vec![Unit { gain, ..DEGREES }]), None);
        }
        assert_eq!(Units::new(vec![Unit { low: 1.0, high: 0.0, ..PERCENT }]), None);
        assert_eq!(Units::new(vec![Unit { low: f64::NAN, ..PERCENT }]), None);
    }
}
