//! Seams: where a new chunk takes over from the one before.
//!
//! What lies between the two, in position and in velocity, is added to the new chunk and fades: a polynomial
//! of fifth order from there to zero, at rest at its end. Its window is as short as configured, or longer
//! where the seam is wide, so that the fading alone asks for no more than a quarter of a joint's velocity and
//! acceleration; and never longer than configured either.
//!
//! Seams that overlap add up. Of chunks that come faster than seams fade, the motion is so a smooth average,
//! whatever their errors; nothing is fed back that could swing.

use std::collections::VecDeque;

use reflexarc_kinematics::Joints;

/// Share of a joint's limits that a fading seam may ask for.
const SHARE: f64 = 0.25;
/// Largest slope of `1 − 10x³ + 15x⁴ − 6x⁵`.
const POSITION_SLOPE: f64 = 1.875;
/// Its largest curvature, `10/√3`.
const POSITION_CURVATURE: f64 = 5.773_502_691_896_258;
/// Largest curvature of `x − 6x³ + 8x⁴ − 3x⁵`, rounded up.
const VELOCITY_CURVATURE: f64 = 3.95;

/// Most seams that are kept; of more, the oldest is dropped.
const MAX_SEAMS: usize = 64;

/// What is still left of a seam.
#[derive(Clone, Copy, Debug, Default)]
pub struct Seam {
    offset: Joints,
    /// Velocity of the offset, per window.
    drift: Joints,
    window_s: f64,
    elapsed_s: f64,
}

impl Seam {
    /// A seam that begins with the given distances of position and velocity.
    ///
    /// `velocity_rad_s` and `acceleration_rad_s2` are the joints' limits; `shortest_s` and `longest_s` bound
    /// the window.
    #[must_use]
    pub fn new(
        offset_rad: Joints,
        drift_rad_s: &Joints,
        velocity_rad_s: &Joints,
        acceleration_rad_s2: f64,
        (shortest_s, longest_s): (f64, f64),
    ) -> Self {
        let acceleration = SHARE * acceleration_rad_s2;
        let needed_s = |i: usize| {
            let (offset, drift) = (offset_rad[i].abs(), drift_rad_s[i].abs());
            let by_velocity_s = POSITION_SLOPE * offset / (SHARE * velocity_rad_s[i]);
            // offset · curvature / window² + drift · curvature / window = acceleration
            let linear = VELOCITY_CURVATURE * drift;
            let by_acceleration_s = (linear
                + (linear * linear + 4.0 * acceleration * POSITION_CURVATURE * offset).sqrt())
                / (2.0 * acceleration);
            by_velocity_s.max(by_acceleration_s)
        };
        let window_s = (0..offset_rad.len()).map(needed_s).fold(shortest_s, f64::max).min(longest_s);
        let drift = Joints::from_fn(offset_rad.len(), |i| drift_rad_s[i] * window_s);
        Self { offset: offset_rad, drift, window_s, elapsed_s: 0.0 }
    }

    /// How long it takes to fade, s.
    #[must_use]
    pub fn window_s(&self) -> f64 {
        self.window_s
    }

    /// Whether it has faded.
    #[must_use]
    pub fn faded(&self) -> bool {
        self.elapsed_s >= self.window_s
    }

    /// Goes on by `dt_s` and says what is left then, rad.
    pub fn advance(&mut self, dt_s: f64) -> Joints {
        self.elapsed_s = (self.elapsed_s + dt_s).min(self.window_s);
        if self.faded() {
            return Joints::zeros(self.offset.len());
        }
        let x = self.elapsed_s / self.window_s;
        let cube = x * x * x;
        let position = 1.0 - cube * (10.0 - x * (15.0 - 6.0 * x));
        let velocity = x - cube * (6.0 - x * (8.0 - 3.0 * x));
        Joints::from_fn(self.offset.len(), |i| self.offset[i] * position + self.drift[i] * velocity)
    }
}

/// Seams that have not faded yet.
#[derive(Clone, Debug)]
pub struct Seams {
    open: VecDeque<Seam>,
    velocity_rad_s: Joints,
    acceleration_rad_s2: f64,
    window_s: (f64, f64),
}

impl Seams {
    /// None, for joints with these limits and windows between these bounds.
    #[must_use]
    pub fn new(velocity_rad_s: Joints, acceleration_rad_s2: f64, window_s: (f64, f64)) -> Self {
        Self { open: VecDeque::with_capacity(MAX_SEAMS), velocity_rad_s, acceleration_rad_s2, window_s }
    }

    /// Forgets all seams and begins one from rest.
    pub fn begin(&mut self, offset_rad: Joints) {
        self.open.clear();
        self.join(offset_rad, &Joints::zeros(offset_rad.len()));
    }

    /// Adds a seam: the chunk before less the new one, in position and velocity.
    pub fn join(&mut self, offset_rad: Joints, drift_rad_s: &Joints) {
        let (mut offset, mut drift) = (offset_rad, *drift_rad_s);
        // One that has not begun to fade goes up in the new one.
        if let Some(last) = self.open.pop_back_if(|last| last.elapsed_s == 0.0) {
            for i in 0..offset.len() {
                offset[i] += last.offset[i];
                drift[i] += last.drift[i] / last.window_s;
            }
        }
        // The oldest is the most faded.
        if self.open.len() == MAX_SEAMS {
            self.open.pop_front();
        }
        let (velocity, acceleration) = (&self.velocity_rad_s, self.acceleration_rad_s2);
        self.open.push_back(Seam::new(offset, &drift, velocity, acceleration, self.window_s));
    }

    /// Goes on by `dt_s` and says what is left of all then, rad.
    pub fn advance(&mut self, dt_s: f64) -> Joints {
        let mut sum = Joints::zeros(self.velocity_rad_s.len());
        for seam in &mut self.open {
            for (sum, left) in sum.iter_mut().zip(seam.advance(dt_s).iter()) {
                *sum += left;
            }
        }
        self.open.retain(|seam| !seam.faded());
        sum
    }

    /// Whether nothing is left.
    #[must_use]
    pub fn faded(&self) -> bool {
        self.open.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const DT_S: f64 = 0.001;

    /// Largest velocity and acceleration of a seam that fades, its first step included.
    fn peaks(seam: Seam, offset: f64, drift: f64) -> (f64, f64) {
        let (mut seam, mut last, mut speed) = (seam, offset, drift);
        let (mut fastest, mut hardest) = (0.0_f64, 0.0_f64);
        while !seam.faded() {
            let now = seam.advance(DT_S)[0];
            let speed_now = (now - last) / DT_S;
            hardest = hardest.max((speed_now - speed).abs() / DT_S);
            fastest = fastest.max(speed_now.abs());
            (last, speed) = (now, speed_now);
        }
        (fastest, hardest.max(speed.abs() / DT_S))
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn a_seam_fades_within_its_share_of_the_limits(offset in -1.0..1.0f64, drift in -1.0..1.0f64) {
            let one = |value: f64| Joints::from_slice(&[value]);
            let seam = Seam::new(one(offset), &one(drift), &one(2.0), 10.0, (0.2, 10.0));
            prop_assert!(seam.window_s() >= 0.2 && seam.window_s() < 10.0);
            let (fastest, hardest) = peaks(seam, offset, drift);
            prop_assert!(fastest <= 2.0 * SHARE + drift.abs() + 1e-6, "{fastest}");
            prop_assert!(hardest <= 10.0 * SHARE * 1.02, "{hardest}");
        }
    }

    #[test]
    fn its_window_is_bounded_on_both_sides() {
        let one = |value: f64| Joints::from_slice(&[value]);
        let seam = |offset: f64| Seam::new(one(offset), &one(0.0), &one(2.0), 10.0, (0.2, 1.0));
        assert_eq!(seam(0.0).window_s(), 0.2);
        assert_eq!(seam(100.0).window_s(), 1.0);
        assert!(seam(0.1).window_s() > 0.2 && seam(0.1).window_s() < 1.0);
        let mut wide = seam(100.0);
        for _ in 0..32 {
            wide.advance(1.0 / 32.0);
        }
        assert!(wide.faded());
        assert_eq!(wide.advance(0.1)[0], 0.0);
    }

    #[test]
    fn overlapping_seams_add_up_and_all_fade() {
        let one = |value: f64| Joints::from_slice(&[value]);
        let mut seams = Seams::new(one(2.0), 10.0, (0.2, 1.0));
        seams.begin(one(0.1));
        let alone = seams.clone().advance(0.02)[0];
        seams.join(one(0.01), &one(0.0));
        seams.join(one(-0.01), &one(0.0));
        // Two seams at the same knot are one.
        assert_eq!(seams.open.len(), 1);
        assert_eq!(seams.advance(0.02)[0], alone);
        for _ in 0..200 {
            seams.join(one(0.001), &one(0.0));
            assert!(seams.advance(0.02)[0] < 0.11);
        }
        assert!(seams.open.len() <= MAX_SEAMS);
        for _ in 0..50 {
            seams.advance(0.02);
        }
        assert!(seams.faded());
        assert_eq!(seams.advance(0.02)[0], 0.0);
    }
}
