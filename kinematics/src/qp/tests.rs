#![allow(clippy::panic, reason = "tests fail by panicking")]

use super::*;
use proptest::prelude::*;
use proptest::test_runner::RngSeed;

const UNKNOWN: [Side; MAX_DOF] = [Side::Free; MAX_DOF];

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

/// Feasibility, and that no feasible direction along one active normal gains: the optimality conditions
/// with multipliers from a least-squares fit that shares nothing with the method.
fn check_optimal(problem: &Problem<'_>, x: &Column) {
    let Problem { h, g, lower, upper, rows, n } = *problem;
    for i in 0..n {
        assert!(x[i] >= lower[i] && x[i] <= upper[i], "x[{i}] = {} left the box", x[i]);
    }
    for row in rows {
        assert!(dot(&row.a, x, n) >= row.b - 1e-8, "a row is violated by {}", row.b - dot(&row.a, x, n));
    }
    // slope = Σ u a with u ≥ 0 over what is active; projected gradient on u, plenty of steps.
    let slope: Vec<f64> = (0..n).map(|i| dot(&h[i], x, n) - g[i]).collect();
    let mut normals: Vec<Vec<f64>> = Vec::new();
    for i in 0..n {
        let unit = |sign: f64| (0..n).map(|k| if k == i { sign } else { 0.0 }).collect::<Vec<_>>();
        if x[i] <= lower[i] + 1e-9 {
            normals.push(unit(1.0));
        }
        if x[i] >= upper[i] - 1e-9 {
            normals.push(unit(-1.0));
        }
    }
    for row in rows {
        let length = dot(&row.a, &row.a, n).sqrt();
        if length > 1e-9 && dot(&row.a, x, n) <= row.b + 1e-8 {
            normals.push(row.a[..n].iter().map(|a| a / length).collect());
        }
    }
    let residual = nonnegative_fit(&normals, &slope);
    let size = slope.iter().fold(1.0, |most: f64, s| most.max(s.abs()));
    assert!(
        residual < 1e-5 * size,
        "slope {slope:?} is off the cone of {} normals by {residual}",
        normals.len()
    );
}

/// Distance of `target` from the cone that the normals span: cyclic coordinate descent.
fn nonnegative_fit(normals: &[Vec<f64>], target: &[f64]) -> f64 {
    let mut rest = target.to_vec();
    let mut weights = vec![0.0; normals.len()];
    for _ in 0..2_000_000 {
        let mut moved: f64 = 0.0;
        for (normal, weight) in normals.iter().zip(&mut weights) {
            let along: f64 = normal.iter().zip(&rest).map(|(a, b)| a * b).sum();
            let change = along.max(-*weight);
            *weight += change;
            for (rest, a) in rest.iter_mut().zip(normal) {
                *rest -= change * a;
            }
            moved = moved.max(change.abs());
        }
        if moved < 1e-12 {
            break;
        }
    }
    rest.iter().map(|value| value * value).sum::<f64>().sqrt()
}

fn rows_through(point: &Column, numbers: &[f64], count: usize, n: usize) -> Vec<Row> {
    (0..count)
        .map(|k| {
            let mut row = Row::default();
            for i in 0..n {
                row.a[i] = numbers[(k * 11 + i * 5) % numbers.len()];
            }
            // Some rows are slack at the point, some tight.
            let slack = numbers[(k * 7 + 3) % numbers.len()].max(0.0);
            row.b = dot(&row.a, point, n) - slack;
            row
        })
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 3000, failure_persistence: None, rng_seed: RngSeed::Fixed(7), ..ProptestConfig::default() })]
    #[test]
    fn optimality_conditions_hold_in_a_box(
        n in 1_usize..=8,
        numbers in prop::collection::vec(-1.0_f64..1.0, 64),
        g in prop::array::uniform8(-3.0_f64..3.0),
        ends in prop::array::uniform8((-1.0_f64..1.0, 0.0_f64..1.0)),
        shift in prop::sample::select(vec![1e-3, 1e-1, 1.0]),
        guess in prop::array::uniform8(prop::sample::select(vec![Side::Free, Side::Lower, Side::Upper])),
    ) {
        let h = positive_definite(&numbers, n, shift);
        let lower = ends.map(|(lower, _)| lower);
        // Some boxes have an edge of no width.
        let upper = ends.map(|(lower, width)| lower + if width < 0.05 { 0.0 } else { width });
        let problem = Problem { h: &h, g: &g, lower: &lower, upper: &upper, rows: &[], n };
        let found = solve(&problem, &UNKNOWN);
        prop_assert_eq!(found.outcome, Outcome::Optimal);
        prop_assert!(found.factorisations <= 30, "{} factorisations", found.factorisations);
        for i in 0..n {
            let x = found.x[i];
            prop_assert!(x >= lower[i] && x <= upper[i]);
            let slope = dot(&h[i], &found.x, n) - g[i];
            if x > lower[i] { prop_assert!(slope < 1e-9, "slope {slope} could fall at {i}"); }
            if x < upper[i] { prop_assert!(slope > -1e-9, "slope {slope} could rise at {i}"); }
        }
        // From its own answer one factorisation does, and from any guess the answer is the same.
        let again = solve(&problem, &found.side);
        prop_assert_eq!(again.factorisations, 1);
        let misled = solve(&problem, &guess);
        prop_assert_eq!(misled.outcome, Outcome::Optimal);
        for i in 0..n {
            prop_assert!((again.x[i] - found.x[i]).abs() < 1e-9 && (misled.x[i] - found.x[i]).abs() < 1e-8);
        }
    }

    #[test]
    fn optimality_conditions_hold_with_rows(
        n in 1_usize..=8,
        count in 0_usize..=8,
        copies in 0_usize..=8,
        numbers in prop::collection::vec(-1.0_f64..1.0, 64),
        g in prop::array::uniform8(-3.0_f64..3.0),
        ends in prop::array::uniform8((-1.0_f64..1.0, 0.0_f64..1.0)),
        inside in prop::array::uniform8(0.0_f64..=1.0),
        shift in prop::sample::select(vec![1e-2, 1.0]),
    ) {
        let h = positive_definite(&numbers, n, shift);
        let lower = ends.map(|(lower, _)| lower);
        let upper = ends.map(|(lower, width)| lower + if width < 0.1 { 0.0 } else { width });
        let mut point = [0.0; MAX_DOF];
        for i in 0..n {
            // On faces and in corners of the box as often as inside.
            let share = if inside[i] < 0.25 { 0.0 } else if inside[i] > 0.75 { 1.0 } else { inside[i] };
            point[i] = lower[i] + share * (upper[i] - lower[i]);
        }
        let mut rows = rows_through(&point, &numbers, count, n);
        for k in 0..copies.min(rows.len()) {
            // The same row again, as it is, scaled, or a row of zeros.
            let mut copy = rows[k];
            let scale = [1.0, 3.0, 0.0][k % 3];
            copy.a.iter_mut().for_each(|a| *a *= scale);
            copy.b *= scale;
            rows.push(copy);
        }
        let problem = Problem { h: &h, g: &g, lower: &lower, upper: &upper, rows: &rows, n };
        let found = solve(&problem, &UNKNOWN);
        // With the feasible set a single point, rounding may make it empty.
        if found.outcome == Outcome::Infeasible {
            let relaxed: Vec<Row> = rows.iter().map(|row| Row { b: row.b - 1e-9, ..*row }).collect();
            let found = solve(&Problem { rows: &relaxed, ..problem }, &UNKNOWN);
            prop_assert_eq!(found.outcome, Outcome::Optimal);
        } else {
            prop_assert_eq!(found.outcome, Outcome::Optimal);
            check_optimal(&problem, &found.x);
        }
        prop_assert!(found.factorisations <= 60, "{} factorisations", found.factorisations);
    }

    #[test]
    fn conflicts_are_reported(
        n in 1_usize..=8,
        numbers in prop::collection::vec(-1.0_f64..1.0, 64),
        g in prop::array::uniform8(-3.0_f64..3.0),
        others in 0_usize..=8,
        kind in 0_u8..3,
        gap in prop::sample::select(vec![1e-6, 1e-2, 1.0]),
    ) {
        let h = positive_definite(&numbers, n, 0.1);
        let (lower, upper) = ([-0.5; MAX_DOF], [0.5; MAX_DOF]);
        let mut rows = rows_through(&[0.0; MAX_DOF], &numbers, others, n);
        let mut first = Row::default();
        first.a[..n].copy_from_slice(&numbers[..n]);
        let most: f64 = first.a[..n].iter().map(|a| 0.5 * a.abs()).sum();
        match kind {
            // Beyond the best corner of the box.
            0 => first.b = most + gap,
            // A row of zeros that asks for something.
            1 => first = Row { a: [0.0; MAX_DOF], b: gap },
            // Against its own opposite.
            _ => {
                first.b = 0.1 * most;
                rows.push(Row { a: first.a.map(|a| -a), b: gap - first.b });
            }
        }
        rows.push(first);
        let problem = Problem { h: &h, g: &g, lower: &lower, upper: &upper, rows: &rows, n };
        let found = solve(&problem, &UNKNOWN);
        prop_assert_eq!(found.outcome, Outcome::Infeasible);
        prop_assert!(found.x[..n].iter().all(|x| x.abs() <= 0.5));
    }

    #[test]
    fn nothing_makes_it_panic_or_leave_the_box(
        n in 1_usize..=8,
        h in prop::collection::vec(prop::num::f64::ANY, 64),
        g in prop::array::uniform8(prop::num::f64::ANY),
        ends in prop::array::uniform8((-1e3_f64..1e3, 0.0_f64..1e3)),
        a in prop::array::uniform8(prop::num::f64::ANY),
        b in prop::num::f64::ANY,
    ) {
        let mut square = [[0.0; MAX_DOF]; MAX_DOF];
        for i in 0..8 {
            square[i].copy_from_slice(&h[8 * i..8 * i + 8]);
        }
        let lower = ends.map(|(lower, _)| lower);
        let upper = ends.map(|(lower, width)| lower + width);
        let rows = [Row { a, b }];
        let found = solve(&Problem { h: &square, g: &g, lower: &lower, upper: &upper, rows: &rows, n }, &UNKNOWN);
        for i in 0..n {
            prop_assert!(found.x[i] >= lower[i] && found.x[i] <= upper[i]);
        }
    }
}

#[test]
fn infinite_bounds_give_the_plain_minimum() {
    let h = positive_definite(&[0.0; 64], 3, 2.0);
    let g = [1.0, -4.0, 6.0, 0.0, 0.0, 0.0, 0.0, 0.0];
    let (lower, upper) = ([f64::NEG_INFINITY; 8], [f64::INFINITY; 8]);
    for guess in [Side::Free, Side::Lower, Side::Upper] {
        let problem = Problem { h: &h, g: &g, lower: &lower, upper: &upper, rows: &[], n: 3 };
        let found = solve(&problem, &[guess; MAX_DOF]);
        assert_eq!(found.outcome, Outcome::Optimal);
        for (x, expected) in found.x.iter().zip([0.5, -2.0, 3.0]) {
            assert!((x - expected).abs() < 1e-14);
        }
    }
}

#[test]
fn a_row_cuts_a_known_corner() {
    // Nearest point to (1, 1) with x + y ≤ 1 and x ≤ 0.3.
    let h = positive_definite(&[0.0; 64], 2, 1.0);
    let g = [1.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0];
    let (lower, mut upper) = ([-5.0; 8], [5.0; 8]);
    upper[0] = 0.3;
    let rows = [Row { a: [-1.0, -1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0], b: -1.0 }];
    let found = solve(&Problem { h: &h, g: &g, lower: &lower, upper: &upper, rows: &rows, n: 2 }, &UNKNOWN);
    assert_eq!(found.outcome, Outcome::Optimal);
    assert!((found.x[0] - 0.3).abs() < 1e-14 && (found.x[1] - 0.7).abs() < 1e-14, "{:?}", found.x);
}
