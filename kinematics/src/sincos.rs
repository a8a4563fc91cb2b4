//! Sine and cosine by a table and short series.
//!
//! Half of forward kinematics is sine and cosine. The angle is split into a multiple of π/128, looked up, and a
//! remainder of at most π/256, for which three terms of the Taylor series do; the addition theorem puts them
//! together. That takes about half the time of a standard library's functions, and since only plain
//! multiplication and addition are used, the bits are the same on every processor (up to [`MOST_RAD`]).

use std::f64::consts::PI;

use wide::f64x4;

/// Entries of a whole turn.
const ENTRIES: usize = 256;
/// Entries of a quarter turn.
const QUARTER: usize = ENTRIES / 4;
const STEP_RAD: f64 = 2.0 * PI / ENTRIES as f64;
/// Beyond this the reduction loses digits; such angles take `libm`'s way.
const MOST_RAD: f64 = 5e4;
/// The step in three parts, the first two of 32 bits, so that their products with the number of steps are exact.
const STEP_HIGH: f64 = 3.141_592_653_468_251_2 / 128.0;
const STEP_MIDDLE: f64 = 1.215_420_101_260_793_2e-10 / 128.0;
const STEP_LOW: f64 = 4.044_532_497_591_901e-21 / 128.0;
/// Adding this to a small number rounds it to the nearest integer, which then stands in the lowest bits.
const ROUNDER: f64 = 6_755_399_441_055_744.0;

/// Sine and cosine of the multiples of the step.
static TABLE: [(f64, f64); ENTRIES] = table();

const fn table() -> [(f64, f64); ENTRIES] {
    let mut table = [(0.0, 1.0); ENTRIES];
    let mut i = 0;
    while i < ENTRIES {
        // Within a quarter turn by symmetry, from the nearer end of it.
        let (quarter, rest) = (i / QUARTER, i % QUARTER);
        let near = if rest <= QUARTER / 2 { rest } else { QUARTER - rest };
        let (a, b) = series(near as f64 * STEP_RAD);
        let (sine, cosine) = if rest <= QUARTER / 2 { (a, b) } else { (b, a) };
        table[i] = match quarter {
            0 => (sine, cosine),
            1 => (cosine, -sine),
            2 => (-sine, -cosine),
            _ => (-cosine, sine),
        };
        i += 1;
    }
    table
}

/// Sine and cosine of an angle of at most π/4, rad, to the last bit or two.
const fn series(angle: f64) -> (f64, f64) {
    let square = angle * angle;
    let (mut sine, mut cosine, mut k) = (0.0, 0.0, 9);
    while k > 0 {
        let factor = 2.0 * k as f64;
        sine = (1.0 + sine) * -square / (factor * (factor + 1.0));
        cosine = (1.0 + cosine) * -square / (factor * (factor - 1.0));
        k -= 1;
    }
    (angle + angle * sine, 1.0 + cosine)
}

/// Sine and cosine of an angle, rad; absolute error below 1e-15. NaN for what is not finite.
#[inline(always)]
pub(crate) fn sin_cos(angle: f64) -> (f64, f64) {
    if angle.abs() >= MOST_RAD || angle.is_nan() {
        return beyond(angle);
    }
    let rounded = angle * (1.0 / STEP_RAD) + ROUNDER;
    let steps = rounded - ROUNDER;
    let r = ((angle - steps * STEP_HIGH) - steps * STEP_MIDDLE) - steps * STEP_LOW;
    let square = r * r;
    let sine = r + r * square * (-1.0 / 6.0 + square * (1.0 / 120.0));
    // One less than the cosine.
    let versed = square * (-0.5 + square * (1.0 / 24.0 + square * (-1.0 / 720.0)));
    let (table_sine, table_cosine) = TABLE[rounded.to_bits() as usize % ENTRIES];
    (
        table_sine + (table_sine * versed + table_cosine * sine),
        table_cosine + (table_cosine * versed - table_sine * sine),
    )
}

/// [`sin_cos`] of four angles, to the same bits.
#[inline(always)]
pub(crate) fn sin_cos4(angle: f64x4) -> (f64x4, f64x4) {
    if !angle.abs().simd_lt(f64x4::splat(MOST_RAD)).all() {
        return beyond4(angle);
    }
    let of = f64x4::splat;
    let rounded = angle * of(1.0 / STEP_RAD) + of(ROUNDER);
    let steps = rounded - of(ROUNDER);
    let r = ((angle - steps * of(STEP_HIGH)) - steps * of(STEP_MIDDLE)) - steps * of(STEP_LOW);
    let square = r * r;
    let sine = r + r * square * (of(-1.0 / 6.0) + square * of(1.0 / 120.0));
    let versed = square * (of(-0.5) + square * (of(1.0 / 24.0) + square * of(-1.0 / 720.0)));
    let [a, b, c, d] = rounded.to_array().map(|rounded| TABLE[rounded.to_bits() as usize % ENTRIES]);
    let (table_sine, table_cosine) = (f64x4::new([a.0, b.0, c.0, d.0]), f64x4::new([a.1, b.1, c.1, d.1]));
    (
        table_sine + (table_sine * versed + table_cosine * sine),
        table_cosine + (table_cosine * versed - table_sine * sine),
    )
}

#[cold]
fn beyond4(angle: f64x4) -> (f64x4, f64x4) {
    let [a, b, c, d] = angle.to_array().map(sin_cos);
    (f64x4::new([a.0, b.0, c.0, d.0]), f64x4::new([a.1, b.1, c.1, d.1]))
}

#[cold]
fn beyond(angle: f64) -> (f64, f64) {
    libm::sincos(angle)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::f64::consts::FRAC_PI_2;

    #[test]
    fn agrees_with_the_standard_library() {
        let mut worst = 0.0_f64;
        for step in 0..400_000 {
            let angle = if step % 2 == 0 { f64::from(step) * 1e-4 - 20.0 } else { f64::from(step) * 0.1249 };
            let (sine, cosine) = sin_cos(angle);
            worst = worst.max((sine - angle.sin()).abs()).max((cosine - angle.cos()).abs());
        }
        assert!(worst < 1e-15, "{worst:e}");
        for angle in [0.0, 1e-300, -1e-12, PI, FRAC_PI_2, MOST_RAD - 1.0, -MOST_RAD, 1e9, 1e300] {
            let (sine, cosine) = sin_cos(angle);
            assert!((sine - angle.sin()).abs() < 1e-15 && (cosine - angle.cos()).abs() < 1e-15, "{angle}");
        }
        assert!(sin_cos(f64::NAN).0.is_nan() && sin_cos(f64::INFINITY).1.is_nan());
    }

    #[test]
    fn the_table_is_right_to_the_last_bit_or_two() {
        for (i, (sine, cosine)) in TABLE.iter().enumerate() {
            // Of the angle in the first quarter turn, which is rounded the least.
            let angle = (i % QUARTER) as f64 * STEP_RAD;
            let (a, b) = if (i / QUARTER).is_multiple_of(2) { (sine, cosine) } else { (cosine, sine) };
            assert!((a.abs() - angle.sin()).abs() < 3e-16 && (b.abs() - angle.cos()).abs() < 3e-16, "{i}");
            let whole = i as f64 * STEP_RAD;
            assert!((sine - whole.sin()).abs() < 1e-15 && (cosine - whole.cos()).abs() < 1e-15, "{i}");
        }
        assert_eq!((TABLE[0], TABLE[QUARTER]), ((0.0, 1.0), (1.0, 0.0)));
    }
}
