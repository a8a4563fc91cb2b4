//! Sine and cosine of several angles at once.
//!
//! Half of forward kinematics is sine and cosine, so they are computed four at a time, from their Taylor
//! series after reduction to `[−π/2, π/2]`. Only plain multiplication and addition are used, so the bits are
//! the same on every processor, which a platform's own library does not promise.

use wide::f64x4;

/// Beyond this the reduction by three parts of π loses digits; such angles take the standard library's way.
const MOST_RAD: f64 = 1e6;
/// π in three parts, the first two of 32 bits, so that their products with the number of half turns are exact.
const PI_HIGH: f64 = 3.141_592_653_468_251_2;
const PI_MIDDLE: f64 = 1.215_420_101_260_793_2e-10;
const PI_LOW: f64 = 4.044_532_497_591_901e-21;
/// Adding and subtracting this rounds a small number to the nearest integer, ties to even.
const ROUNDER: f64 = 6_755_399_441_055_744.0;

/// `(−1)^k / (2k + 1)!` for k = 1…10.
const SINE: [f64; 10] = reciprocals(2);
/// `(−1)^k / (2k)!` for k = 1…10.
const COSINE: [f64; 10] = reciprocals(1);

/// Signed reciprocals of factorials, `first · (first + 1)` terms after 1 apart.
const fn reciprocals(first: u32) -> [f64; 10] {
    let mut terms = [0.0; 10];
    let (mut value, mut factor, mut k) = (1.0, first as f64, 0);
    while k < 10 {
        value *= -factor * (factor + 1.0);
        terms[k] = 1.0 / value;
        factor += 2.0;
        k += 1;
    }
    terms
}

/// The polynomial with these coefficients, the constant first; even and odd ones apart, which halves the wait.
#[inline(always)]
fn series(coefficients: &[f64; 10], x: f64x4) -> f64x4 {
    let square = x * x;
    let (mut even, mut odd) = (f64x4::splat(coefficients[8]), f64x4::splat(coefficients[9]));
    for k in (0..8).step_by(2).rev() {
        even = even * square + f64x4::splat(coefficients[k]);
        odd = odd * square + f64x4::splat(coefficients[k + 1]);
    }
    even + odd * x
}

/// Sine and cosine of four angles, rad; absolute error below 5e-16 up to [`MOST_RAD`], rubbish beyond.
#[inline(always)]
fn reduced(angle: f64x4) -> (f64x4, f64x4) {
    let rounder = f64x4::splat(ROUNDER);
    let turns = (angle * f64x4::splat(std::f64::consts::FRAC_1_PI) + rounder) - rounder;
    let r = angle - turns * f64x4::splat(PI_HIGH);
    let r = r - turns * f64x4::splat(PI_MIDDLE);
    let r = r - turns * f64x4::splat(PI_LOW);
    // −1 for an odd number of half turns, else 1.
    let even = (turns * f64x4::splat(0.5) + rounder) - rounder;
    let odd = (turns - (even + even)).abs();
    let sign = f64x4::splat(1.0) - (odd + odd);
    let square = r * r;
    let (sine, cosine) = (series(&SINE, square), series(&COSINE, square));
    (sign * (r + r * square * sine), sign * (f64x4::splat(1.0) + square * cosine))
}

/// Sine and cosine of four angles, rad, lane by lane; NaN for what is not finite.
#[inline(always)]
pub(crate) fn sin_cos4(angle: f64x4) -> (f64x4, f64x4) {
    // Written so that NaN takes the slow way too.
    if angle.abs().simd_lt(f64x4::splat(MOST_RAD)).all() { reduced(angle) } else { large(angle) }
}

#[cold]
fn large(angle: f64x4) -> (f64x4, f64x4) {
    let both = angle.to_array().map(|angle| match reduced(f64x4::splat(angle)) {
        (sine, cosine) if angle.abs() < MOST_RAD => (sine.to_array()[0], cosine.to_array()[0]),
        _ => angle.sin_cos(),
    });
    (f64x4::new(both.map(|(sine, _)| sine)), f64x4::new(both.map(|(_, cosine)| cosine)))
}

/// Sine and cosine of each angle, rad.
#[inline(always)]
pub(crate) fn sin_cos<const N: usize>(angles: &[f64; N]) -> [(f64, f64); N] {
    let mut both = [(0.0, 1.0); N];
    for (angles, both) in angles.chunks(4).zip(both.chunks_mut(4)) {
        let mut four = [0.0; 4];
        four[..angles.len()].copy_from_slice(angles);
        let (sine, cosine) = sin_cos4(f64x4::new(four));
        let (sine, cosine) = (sine.to_array(), cosine.to_array());
        for (lane, both) in both.iter_mut().enumerate() {
            *both = (sine[lane], cosine[lane]);
        }
    }
    both
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agrees_with_the_standard_library() {
        let mut worst = 0.0_f64;
        for step in 0..400_000 {
            let angle = if step % 2 == 0 { f64::from(step) * 1e-4 - 20.0 } else { f64::from(step) * 2.49 };
            let [(sine, cosine)] = sin_cos(&[angle]);
            worst = worst.max((sine - angle.sin()).abs()).max((cosine - angle.cos()).abs());
        }
        assert!(worst < 5e-16, "{worst:e}");
        for angle in [0.0, 1e-300, -1e-12, std::f64::consts::PI, 1e6 - 1.0, -1e6, 1e9, 1e300] {
            let [(sine, cosine), (again, _)] = sin_cos(&[angle, -angle]);
            assert!((sine - angle.sin()).abs() < 5e-16 && (cosine - angle.cos()).abs() < 5e-16, "{angle}");
            assert_eq!(sine, -again, "{angle}");
        }
    }

    #[test]
    fn one_wild_angle_does_not_touch_its_neighbours() {
        let alone = sin_cos(&[0.3, 1.1, -2.0]);
        let both = sin_cos(&[0.3, f64::NAN, 1.1, -2.0, f64::INFINITY, 1e12]);
        assert_eq!([both[0], both[2], both[3]], alone);
        assert!(both[1].0.is_nan() && both[4].1.is_nan());
        assert_eq!(both[5], 1e12_f64.sin_cos());
    }
}
