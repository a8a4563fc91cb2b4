//! Activations as arithmetic that compilers turn into vectors: no branches, no calls.
//!
//! All rest on `1 / (1 + 2ᵗ)`: `tanh` is a logistic function of twice its argument. Additions,
//! multiplications and fused multiply-adds only, so every processor gives the same bits.

use std::f32::consts::LOG2_E;

/// Adding it to a small float rounds that to an integer, ties to even, and leaves it in the low bits.
pub(super) const ROUND: f32 = 12_582_912.0;

/// `1 / (1 + 2ᵗ)`, relative error at most 4e-7 for `t` in -126..=120 (clamped to that, so the result is
/// at least 2⁻¹²⁰). A NaN gives some number in 0..=1.
#[inline(always)]
pub(super) fn logistic_exp2(t: f32) -> f32 {
    let t = if t < 120.0 { t } else { 120.0 };
    let t = if t > -126.0 { t } else { -126.0 };
    let whole = t + ROUND;
    let part = t - (whole - ROUND);
    // The polynomial for 2ᶠ on -0.5..=0.5 whose largest relative error is least.
    let mut power = EXP2[6];
    for factor in EXP2[..6].iter().rev() {
        power = power.mul_add(part, *factor);
    }
    let power = f32::from_bits(power.to_bits().wrapping_add(whole.to_bits() << 23));
    reciprocal(1.0 + power)
}

const EXP2: [f32; 7] =
    [1.0, 0.693_147_2, 0.240_226_46, 0.055_503_286, 0.009_618_489, 0.001_339_993_1, 0.000_153_458_12];

/// `1 / x` for `x` in 1..=2¹²¹: a linear guess through the exponent (12 %), then Newton's steps, each of
/// which squares the error. A division would take longer than all the rest.
#[inline(always)]
fn reciprocal(x: f32) -> f32 {
    let mut y = f32::from_bits(0x7EF3_11C7_u32.wrapping_sub(x.to_bits()));
    for _ in 0..3 {
        y = y * (-x).mul_add(y, 2.0);
    }
    y
}

/// `x / (1 + e⁻ˣ)`, within 4e-7 of `x`'s magnitude.
#[inline(always)]
pub(super) fn silu(x: f32) -> f32 {
    x * logistic_exp2(-LOG2_E * x)
}

/// `x/2 · (1 + tanh(√(2/π)(x + 0.044715x³)))`, within 4e-7 of `x`'s magnitude.
#[inline(always)]
pub(super) fn gelu_tanh(x: f32) -> f32 {
    // 2√(2/π) · log₂ e, and that times 0.044715.
    const LINEAR: f32 = -2.302_208_2;
    const CUBIC: f32 = -0.102_943_24;
    x * logistic_exp2(x * (x * x).mul_add(CUBIC, LINEAR))
}

/// Negative values become zero; NaN stays.
#[inline(always)]
pub(super) fn relu(x: f32) -> f32 {
    if x < 0.0 { 0.0 } else { x }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn each(check: impl Fn(f32)) {
        for step in -400_000..=400_000 {
            check(step as f32 * 1e-4);
        }
        [1e9, -1e9, 1e-30, -1e-30, 0.0, f32::MAX, f32::MIN, f32::MIN_POSITIVE].into_iter().for_each(check);
    }

    #[test]
    fn silu_and_gelu_are_within_what_they_promise() {
        each(|x| {
            let exact = f64::from(x);
            let logistic = |t: f64| 1.0 / (1.0 + (-t).exp());
            let cube = exact + 0.044_715 * exact.powi(3);
            let gelu = exact * logistic(2.0 * (2.0 / std::f64::consts::PI).sqrt() * cube);
            for (got, exact_value) in [(silu(x), exact * logistic(exact)), (gelu_tanh(x), gelu)] {
                let error = (f64::from(got) - exact_value).abs();
                assert!(error <= 4e-7 * exact.abs(), "{x}: {got} for {exact_value}");
            }
        });
    }

    #[test]
    fn nan_stays() {
        assert!(silu(f32::NAN).is_nan() && gelu_tanh(f32::NAN).is_nan() && relu(f32::NAN).is_nan());
    }
}
