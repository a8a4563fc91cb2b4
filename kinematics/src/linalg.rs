//! Small dense solves on the stack: symmetric positive definite systems of at most [`MAX_DOF`] unknowns.

#![expect(clippy::needless_range_loop, reason = "triangular loops read best in index notation")]

use crate::joints::MAX_DOF;

/// A square matrix of which the leading `n × n` block is used.
pub(crate) type Square = [[f64; MAX_DOF]; MAX_DOF];
/// A vector of which the first `n` entries are used.
pub(crate) type Column = [f64; MAX_DOF];

/// Factors the leading `n × n` block as `L Lᵀ` in its lower triangle.
///
/// Returns the smallest squared pivot, or `None` when the block is not positive definite.
pub(crate) fn factor(a: &mut Square, n: usize) -> Option<f64> {
    let mut smallest = f64::INFINITY;
    for j in 0..n {
        let mut pivot = a[j][j];
        for k in 0..j {
            pivot -= a[j][k] * a[j][k];
        }
        // Written so that NaN is refused too.
        if !(pivot > 0.0 && pivot.is_finite()) {
            return None;
        }
        smallest = smallest.min(pivot);
        let root = pivot.sqrt();
        a[j][j] = root;
        for i in j + 1..n {
            let mut sum = a[i][j];
            for k in 0..j {
                sum -= a[i][k] * a[j][k];
            }
            a[i][j] = sum / root;
        }
    }
    Some(smallest)
}

/// Solves `L Lᵀ x = b` in place for a matrix that [`factor`] accepted.
pub(crate) fn solve(l: &Square, b: &mut Column, n: usize) {
    for i in 0..n {
        let mut sum = b[i];
        for k in 0..i {
            sum -= l[i][k] * b[k];
        }
        b[i] = sum / l[i][i];
    }
    for i in (0..n).rev() {
        let mut sum = b[i];
        for k in i + 1..n {
            sum -= l[k][i] * b[k];
        }
        b[i] = sum / l[i][i];
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn solves_a_known_system_and_refuses_an_indefinite_one() {
        let mut a = [[0.0; MAX_DOF]; MAX_DOF];
        let rows = [[4.0, 2.0, 0.6], [2.0, 5.0, 1.0], [0.6, 1.0, 3.0]];
        for (i, row) in rows.iter().enumerate() {
            a[i][..3].copy_from_slice(row);
        }
        let x = [1.0, -2.0, 0.5];
        let mut b = [0.0; MAX_DOF];
        for i in 0..3 {
            b[i] = (0..3).map(|k| rows[i][k] * x[k]).sum();
        }
        assert!(factor(&mut a, 3).is_some_and(|pivot| pivot > 0.0));
        solve(&a, &mut b, 3);
        for i in 0..3 {
            assert!((b[i] - x[i]).abs() < 1e-14);
        }
        let mut bad = [[0.0; MAX_DOF]; MAX_DOF];
        bad[0][0] = -1.0;
        assert_eq!(factor(&mut bad, 1), None);
        bad[0][0] = f64::NAN;
        assert_eq!(factor(&mut bad, 1), None);
    }
}
