//! Activations on vectors: no branches, no calls, no divisions.
//!
//! All rest on `1 / (1 + 2ᵗ)`: `tanh` is a logistic function of twice its argument.

use std::f32::consts::{LN_2, LOG2_E};

use super::lanes::{Lanes, ROUND};

/// `1 / (1 + 2ᵗ)`, relative error at most 4e-7 near `t` = 0 and 1e-5 where the result is below 1e-30; `t`
/// is clamped to -126..=120. A NaN gives some number in 0..=1.
#[inline(always)]
fn logistic_exp2<L: Lanes>(t: L) -> L {
    // The polynomial for 2ᶠ on -0.5..=0.5 whose largest relative error is least (2e-9).
    const EXP2: [f32; 7] =
        [1.0, LN_2, 0.240_226_46, 0.055_503_286, 0.009_618_489, 0.001_339_993_1, 0.000_153_458_12];
    let t = t.at_most(L::splat(120.0)).or_greater(L::splat(-126.0));
    let whole = t.add(L::splat(ROUND));
    let part = t.add(whole.add(L::splat(-ROUND)).mul(L::splat(-1.0)));
    let mut power = L::splat(EXP2[6]);
    for factor in EXP2[..6].iter().rev() {
        power = power.mul_add(part, L::splat(*factor));
    }
    reciprocal(power.scale_exp2(whole).add(L::splat(1.0)))
}

/// `1 / x` for `x` in 1..=2¹²¹. Each of Newton's steps squares the error; a division would take longer
/// than all the rest.
#[inline(always)]
fn reciprocal<L: Lanes>(x: L) -> L {
    let minus = x.mul(L::splat(-1.0));
    let mut y = x.guess_reciprocal();
    for _ in 0..3 {
        y = y.mul(minus.mul_add(y, L::splat(2.0)));
    }
    y
}

/// `x / (1 + e⁻ˣ)`, within 4e-7 of `x`'s magnitude.
#[inline(always)]
pub(super) fn silu<L: Lanes>(x: L) -> L {
    x.mul(logistic_exp2(x.mul(L::splat(-LOG2_E))))
}

/// `x/2 · (1 + tanh(√(2/π)(x + 0.044715x³)))`, within 4e-7 of `x`'s magnitude.
#[inline(always)]
pub(super) fn gelu_tanh<L: Lanes>(x: L) -> L {
    // -2√(2/π) · log₂ e, and that times 0.044715.
    const LINEAR: f32 = -2.302_208_2;
    const CUBIC: f32 = -0.102_943_24;
    x.mul(logistic_exp2(x.mul(x.mul(x).mul_add(L::splat(CUBIC), L::splat(LINEAR)))))
}

/// Negative values become zero; NaN stays.
#[inline(always)]
pub(super) fn relu<L: Lanes>(x: L) -> L {
    x.or_greater(L::splat(0.0))
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
            for (got, exact_value) in [(silu([x; 8]), exact * logistic(exact)), (gelu_tanh([x; 8]), gelu)] {
                let error = (f64::from(got[0]) - exact_value).abs();
                assert!(error <= 4e-7 * exact.abs(), "{x}: {} for {exact_value}", got[0]);
            }
        });
    }

    #[test]
    fn nan_stays() {
        let nan = [f32::NAN; 8];
        assert!(silu(nan)[0].is_nan() && gelu_tanh(nan)[0].is_nan() && relu(nan)[0].is_nan());
    }
}
