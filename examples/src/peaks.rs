//! How hard an arm is driven: the largest velocity, acceleration and jerk of each joint's commands.

use serde::Serialize;

/// Joints of the arm.
const JOINTS: usize = 7;

/// Largest magnitudes so far, by finite differences of consecutive commands.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Peaks {
    /// rad/s.
    pub velocity_rad_s: [f64; JOINTS],
    /// rad/s².
    pub acceleration_rad_s2: [f64; JOINTS],
    /// rad/s³.
    pub jerk_rad_s3: [f64; JOINTS],
}

impl Peaks {
    /// The larger of both, joint by joint.
    #[must_use]
    pub fn max(&self, other: &Self) -> Self {
        let larger = |a: &[f64; JOINTS], b: &[f64; JOINTS]| std::array::from_fn(|i| a[i].max(b[i]));
        Self {
            velocity_rad_s: larger(&self.velocity_rad_s, &other.velocity_rad_s),
            acceleration_rad_s2: larger(&self.acceleration_rad_s2, &other.acceleration_rad_s2),
            jerk_rad_s3: larger(&self.jerk_rad_s3, &other.jerk_rad_s3),
        }
    }
}

/// Watches one arm's commands, tick by tick.
#[derive(Debug, Clone)]
pub struct PeakWatch {
    dt_s: f64,
    /// The last value of each: position, velocity, acceleration, as far as there were enough commands.
    last: [Option<[f64; JOINTS]>; 3],
    peaks: Peaks,
}

impl PeakWatch {
    /// For commands `dt_s` apart.
    #[must_use]
    pub fn new(dt_s: f64) -> Self {
        Self { dt_s, last: [None; 3], peaks: Peaks::default() }
    }

    /// Takes a tick's command. After a tick without one, differences begin anew: the arm was let go.
    pub fn look(&mut self, q: Option<&[f64]>) {
        let Some(q) = q.and_then(|q| <[f64; JOINTS]>::try_from(q).ok()) else {
            self.last = [None; 3];
            return;
        };
        let peaks = &mut self.peaks;
        let tops = [&mut peaks.velocity_rad_s, &mut peaks.acceleration_rad_s2, &mut peaks.jerk_rad_s3];
        let mut value = Some(q);
        for (last, top) in self.last.iter_mut().zip(tops) {
            let Some(now) = value else { return };
            value = last.map(|last| std::array::from_fn(|i| (now[i] - last[i]) / self.dt_s));
            *last = Some(now);
            for (top, rate) in top.iter_mut().zip(value.iter().flatten()) {
                *top = top.max(rate.abs());
            }
        }
    }

    /// What was seen.
    #[must_use]
    pub fn peaks(&self) -> &Peaks {
        &self.peaks
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn differences_of_a_known_motion() {
        let dt_s = 0.01;
        let mut watch = PeakWatch::new(dt_s);
        for tick in 0..200 {
            let t = f64::from(tick) * dt_s;
            let q: [f64; JOINTS] = std::array::from_fn(|joint| (joint as f64 + 1.0) * t.powi(3));
            watch.look(Some(&q));
        }
        let peaks = watch.peaks();
        for joint in 0..JOINTS {
            // 3 t², 6 t and 6 times the factor, at most at t = 1.99 s.
            let factor = joint as f64 + 1.0;
            assert!((peaks.jerk_rad_s3[joint] - 6.0 * factor).abs() < 1e-3 * factor);
            assert!((peaks.acceleration_rad_s2[joint] - 6.0 * 1.98 * factor).abs() < 0.02 * factor);
            assert!((peaks.velocity_rad_s[joint] - 3.0 * 1.985_f64.powi(2) * factor).abs() < 0.01 * factor);
        }
    }

    #[test]
    fn a_gap_is_no_motion() {
        let mut watch = PeakWatch::new(0.01);
        watch.look(Some(&[0.0; JOINTS]));
        watch.look(Some(&[0.0; JOINTS]));
        watch.look(None);
        watch.look(Some(&[3.0; JOINTS]));
        watch.look(Some(&[3.0; JOINTS]));
        assert_eq!(watch.peaks(), &Peaks::default());
        watch.look(Some(&[3.5; JOINTS]));
        assert_eq!(watch.peaks().max(&Peaks::default()).velocity_rad_s, [50.0; JOINTS]);
    }
}
