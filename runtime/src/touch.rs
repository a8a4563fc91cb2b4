//! The tactile reflex: what touch does by itself, in the loop's own tick, without waiting for the model.
//!
//! **Force.** A pad that feels more than `limits.pad_force_n` makes fingers and arm back off in that tick; the failsafe
//! has the row (`pad_force`), [`crate::reflex`] the motion.
//!
//! **Slip.** While a gripper holds something, the shear on a pad changes slowly: by what the arm's acceleration adds to
//! the object's weight. When the object slides, the shear jumps (it falls from what static friction bore to what
//! sliding friction does, or turns round), or the normal force drops. Either one, from one frame to the next and against
//! the normal force before it, is a slip. It tightens the grip in the same tick, by `touch.grip_step_n` up to the
//! limit, and is given back slowly. An order to open takes it all back at once.

use crate::config::{Config, MAX_PADS};
use crate::senses::Touch;

/// Frames in a row in which every pad must have felt something before it counts as a grip: closing is no slip.
const GRIP_FRAMES: u32 = 12;

/// Counters of the tactile reflex.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TouchCounts {
    /// Slips felt.
    pub slips: u64,
    /// Ticks in which a pad felt more than its limit.
    pub pressed_ticks: u64,
}

/// What was felt in one tick.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Felt {
    /// The pad that feels more than its limit.
    pub pressed: Option<u8>,
    /// Whether something slips.
    pub slips: bool,
}

/// The tactile reflex of one gripper.
#[derive(Clone, Debug)]
pub struct TouchReflex {
    on: bool,
    limit_n: f64,
    floor_n: f64,
    shear_share: f64,
    drop_share: f64,
    step_n: f64,
    most_n: f64,
    relax_n: f64,
    last: [Touch; MAX_PADS],
    grip_frames: u32,
    extra_n: f64,
    counts: TouchCounts,
}

impl TouchReflex {
    /// A reflex that has felt nothing yet.
    #[must_use]
    pub fn new(config: &Config) -> Self {
        let touch = &config.touch;
        Self {
            on: touch.slip_reflex,
            limit_n: config.limits.pad_force_n,
            floor_n: touch.grip_floor_n,
            shear_share: touch.slip_shear_share,
            drop_share: touch.slip_drop_share,
            step_n: touch.grip_step_n,
            most_n: config.limits.grip_force_n,
            relax_n: touch.grip_relax_n_s * config.dt_s(),
            last: [Touch::default(); MAX_PADS],
            grip_frames: 0,
            extra_n: 0.0,
            counts: TouchCounts::default(),
        }
    }

    /// One tick of touch. `opens`: whether the gripper is told to open. Constant time.
    pub fn feel(&mut self, touch: &[Touch; MAX_PADS], opens: bool) -> Felt {
        let pressed = touch.iter().position(|pad| pad.normal_n > self.limit_n);
        self.counts.pressed_ticks += u64::from(pressed.is_some());
        self.extra_n = if opens { 0.0 } else { (self.extra_n - self.relax_n).max(0.0) };
        let mut slips = false;
        let new = touch.iter().zip(&self.last).any(|(now, last)| now.frame != last.frame);
        if new {
            let seen = |pad: &&Touch| pad.frame > 0;
            let grips = self.last.iter().any(|pad| pad.frame > 0)
                && self.last.iter().filter(seen).all(|pad| pad.normal_n > self.floor_n);
            self.grip_frames = if grips && !opens { self.grip_frames.saturating_add(1) } else { 0 };
            if self.grip_frames >= GRIP_FRAMES {
                slips = touch.iter().zip(&self.last).any(|(now, last)| self.slides(now, last));
            }
            self.last = *touch;
        }
        if slips {
            self.counts.slips += 1;
            if self.on {
                self.extra_n = (self.extra_n + self.step_n).min(self.most_n);
            }
        }
        Felt { pressed: pressed.map(|pad| pad as u8), slips }
    }

    fn slides(&self, now: &Touch, last: &Touch) -> bool {
        if now.frame == last.frame || last.frame == 0 || now.frame == 0 {
            return false;
        }
        let [across_n, along_n] = [now.shear_n[0] - last.shear_n[0], now.shear_n[1] - last.shear_n[1]];
        (across_n * across_n + along_n * along_n).sqrt() > self.shear_share * last.normal_n
            || now.normal_n < (1.0 - self.drop_share) * last.normal_n
    }

    /// The grip that is commanded where `force_n` is asked for, N.
    #[must_use]
    pub fn grip_n(&self, force_n: f64) -> f64 {
        (force_n + self.extra_n).min(self.most_n)
    }

    /// The counters so far.
    #[must_use]
    pub fn counts(&self) -> TouchCounts {
        self.counts
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pads(frame: u64, normal_n: f64, shear_n: f64) -> [Touch; MAX_PADS] {
        let pad = Touch { normal_n, shear_n: [0.0, shear_n], frame };
        [pad, pad, Touch::default(), Touch::default()]
    }

    fn gripping(config: &Config) -> (TouchReflex, u64) {
        let mut reflex = TouchReflex::new(config);
        let mut frame = 0;
        // Closing, then lifting: the weight comes on slowly.
        for step in 0..60 {
            frame += 1;
            let normal_n = (f64::from(step) * 2.0).min(20.0);
            let felt = reflex.feel(&pads(frame, normal_n, f64::from(step) * 0.05), false);
            assert_eq!(felt, Felt::default(), "{step}");
        }
        (reflex, frame)
    }

    #[test]
    fn a_slip_tightens_in_the_same_tick_and_is_given_back() {
        let config = Config::default();
        for (normal_n, shear_n) in [(20.0, -9.0), (8.0, 2.95)] {
            let (mut reflex, frame) = gripping(&config);
            assert_eq!(reflex.grip_n(20.0), 20.0);
            assert!(reflex.feel(&pads(frame + 1, normal_n, shear_n), false).slips);
            assert_eq!(reflex.grip_n(20.0), 28.0);
            assert_eq!(reflex.grip_n(38.0), config.limits.grip_force_n);
            // The same frame again is no second slip.
            assert!(!reflex.feel(&pads(frame + 1, normal_n, shear_n), false).slips);
            for _ in 0..600 {
                reflex.feel(&pads(frame + 1, normal_n, shear_n), false);
            }
            assert_eq!(reflex.grip_n(20.0), 20.0);
            assert_eq!(reflex.counts().slips, 1);
        }
    }

    #[test]
    fn opening_is_no_slip_and_takes_the_extra_back() {
        let (mut reflex, frame) = gripping(&Config::default());
        assert!(reflex.feel(&pads(frame + 1, 20.0, -9.0), false).slips);
        assert!(!reflex.feel(&pads(frame + 2, 3.0, 0.0), true).slips);
        assert_eq!(reflex.grip_n(20.0), 20.0);
    }

    #[test]
    fn a_press_is_named() {
        let mut reflex = TouchReflex::new(&Config::default());
        let mut touch = pads(1, 3.0, 0.0);
        touch[1].normal_n = 61.0;
        assert_eq!(reflex.feel(&touch, false).pressed, Some(1));
        assert_eq!(reflex.counts().pressed_ticks, 1);
    }
}
