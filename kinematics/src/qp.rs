//! A small box-constrained quadratic programme, solved exactly by a primal active-set method.

use crate::joints::MAX_DOF;
use crate::linalg::{Column, Square, factor, solve};

/// What [`solve_box`] found.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BoxSolution {
    pub(crate) x: Column,
    /// Systems of equations that were solved.
    #[cfg_attr(not(test), expect(dead_code, reason = "read by the tests of the bound on work"))]
    pub(crate) solves: usize,
    /// Whether the optimality conditions hold; otherwise `x` is the best feasible point met.
    #[cfg_attr(not(test), expect(dead_code, reason = "read by the tests of optimality"))]
    pub(crate) optimal: bool,
}

#[derive(Clone, Copy, PartialEq)]
enum Side {
    Free,
    Lower,
    Upper,
}

/// The solver's work is bounded by this many factorisations of an `n × n` system.
const MAX_SOLVES: usize = 60;

/// Minimises `½ xᵀ H x − gᵀ x` over `lower ≤ x ≤ upper` for a symmetric positive definite `H`.
///
/// The first `n` entries count. Requires `lower ≤ upper` and finite `H`, `g`; bounds may be infinite. Each
/// round either takes a whole step on the free variables or binds the one that blocks it; at the minimum of a
/// face, the bound with the worst multiplier is released. The objective falls at every release, so no face
/// comes back, and with `n ≤ 8` a handful of rounds do.
pub(crate) fn solve_box(h: &Square, g: &Column, lower: &Column, upper: &Column, n: usize) -> BoxSolution {
    let mut side = [Side::Free; MAX_DOF];
    let mut x = [0.0; MAX_DOF];
    let scale = (0..n).fold(1e-300, |most: f64, i| most.max(g[i].abs()));

    // Start from the unconstrained minimum pushed into the box: usually the right face, or close to it.
    if let Some(free) = face_minimum(h, g, &x, &side, n) {
        for i in 0..n {
            x[i] = free[i].max(lower[i]).min(upper[i]);
            if free[i] < lower[i] {
                side[i] = Side::Lower;
            } else if free[i] > upper[i] {
                side[i] = Side::Upper;
            }
        }
        if side[..n].iter().all(|&s| s == Side::Free) {
            return BoxSolution { x, solves: 1, optimal: true };
        }
    } else {
        for i in 0..n {
            x[i] = 0.0_f64.max(lower[i]).min(upper[i]);
        }
        return BoxSolution { x, solves: 1, optimal: false };
    }

    for solves in 2..=MAX_SOLVES {
        let Some(goal) = face_minimum(h, g, &x, &side, n) else {
            return BoxSolution { x, solves, optimal: false };
        };
        let mut fraction = 1.0;
        let mut blocking = None;
        for i in (0..n).filter(|&i| side[i] == Side::Free) {
            let (bound, at) = if goal[i] < lower[i] {
                (lower[i], Side::Lower)
            } else if goal[i] > upper[i] {
                (upper[i], Side::Upper)
            } else {
                continue;
            };
            let allowed = ((bound - x[i]) / (goal[i] - x[i])).max(0.0);
            if blocking.is_none() || allowed < fraction {
                fraction = allowed;
                blocking = Some((i, bound, at));
            }
        }
        for i in (0..n).filter(|&i| side[i] == Side::Free) {
            let moved = if blocking.is_none() { goal[i] } else { x[i] + fraction * (goal[i] - x[i]) };
            x[i] = moved.max(lower[i]).min(upper[i]);
        }
        if let Some((i, bound, at)) = blocking {
            x[i] = bound;
            side[i] = at;
            continue;
        }
        // The minimum of this face. Release the bound whose gradient points back inside the most.
        let mut worst = 1e-12 * scale;
        let mut release = None;
        for i in (0..n).filter(|&i| side[i] != Side::Free && lower[i] < upper[i]) {
            let slope = (0..n).fold(-g[i], |sum, k| sum + h[i][k] * x[k]);
            let inward = if side[i] == Side::Lower { -slope } else { slope };
            if inward > worst {
                worst = inward;
                release = Some(i);
            }
        }
        match release {
            Some(i) => side[i] = Side::Free,
            None => return BoxSolution { x, solves, optimal: true },
        }
    }
    BoxSolution { x, solves: MAX_SOLVES, optimal: false }
}

/// The minimum over the free variables with the others held at `x`.
fn face_minimum(h: &Square, g: &Column, x: &Column, side: &[Side; MAX_DOF], n: usize) -> Option<Column> {
    let mut free = [0; MAX_DOF];
    let mut count = 0;
    for (i, _) in side.iter().enumerate().take(n).filter(|(_, s)| **s == Side::Free) {
        free[count] = i;
        count += 1;
    }
    let mut a = [[0.0; MAX_DOF]; MAX_DOF];
    let mut b = [0.0; MAX_DOF];
    for (row, &i) in free[..count].iter().enumerate() {
        b[row] = g[i];
        for k in (0..n).filter(|&k| side[k] != Side::Free) {
            b[row] -= h[i][k] * x[k];
        }
        for (column, &k) in free[..count].iter().enumerate() {
            a[row][column] = h[i][k];
        }
    }
    if count > 0 {
        factor(&mut a, count)?;
        solve(&a, &mut b, count);
    }
    let mut result = *x;
    for (row, &i) in free[..count].iter().enumerate() {
        result[i] = b[row];
    }
    Some(result)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use proptest::test_runner::RngSeed;

    /// `Aᵀ A + shift` from arbitrary numbers.
    fn positive_definite(numbers: &[f64], n: usize, shift: f64) -> Square {
        let mut h = [[0.0; MAX_DOF]; MAX_DOF];
        for i in 0..n {
            for k in 0..n {
                h[i][k] = (0..n).map(|r| numbers[r * 8 + i] * numbers[r * 8 + k]).sum();
            }
            h[i][i] += shift;
        }
        h
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, rng_seed: RngSeed::Fixed(7), ..ProptestConfig::default() })]
        #[test]
        fn optimality_conditions_hold(
            n in 1_usize..=8,
            numbers in prop::collection::vec(-1.0_f64..1.0, 64),
            g in prop::array::uniform8(-3.0_f64..3.0),
            ends in prop::array::uniform8((-1.0_f64..1.0, 0.0_f64..1.0)),
            shift in prop::sample::select(vec![1e-3, 1e-1, 1.0]),
        ) {
            let h = positive_definite(&numbers, n, shift);
            let lower = ends.map(|(lower, _)| lower);
            // A third of the boxes have an edge of no width.
            let upper = ends.map(|(lower, width)| lower + if width < 0.05 { 0.0 } else { width });
            let found = solve_box(&h, &g, &lower, &upper, n);
            prop_assert!(found.optimal);
            prop_assert!(found.solves <= 30, "{} solves", found.solves);
            for i in 0..n {
                let x = found.x[i];
                prop_assert!(x >= lower[i] && x <= upper[i]);
                let slope = (0..n).fold(-g[i], |sum, k| sum + h[i][k] * found.x[k]);
                if x > lower[i] { prop_assert!(slope < 1e-9, "slope {slope} could fall at {i}"); }
                if x < upper[i] { prop_assert!(slope > -1e-9, "slope {slope} could rise at {i}"); }
            }
        }
    }

    #[test]
    fn infinite_bounds_give_the_plain_minimum() {
        let h = positive_definite(&[0.0; 64], 3, 2.0);
        let g = [1.0, -4.0, 6.0, 0.0, 0.0, 0.0, 0.0, 0.0];
        let found = solve_box(&h, &g, &[f64::NEG_INFINITY; 8], &[f64::INFINITY; 8], 3);
        assert!(found.optimal);
        for (x, expected) in found.x.iter().zip([0.5, -2.0, 3.0]) {
            assert!((x - expected).abs() < 1e-14);
        }
    }
}
