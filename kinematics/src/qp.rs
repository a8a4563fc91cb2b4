//! A small strictly convex quadratic programme, solved exactly: a box and a few general inequalities.
//!
//! The method is the dual active set of Goldfarb and Idnani, "A numerically stable dual method for solving
//! strictly convex quadratic programs", Mathematical Programming 27 (1983): every iterate is the minimum over
//! an active set with multipliers of the right sign, the constraint that is violated most comes in, and those
//! whose multiplier runs out go. The dual objective rises with each of them, so no active set comes back, and
//! a constraint that can come in no further proves that there is no feasible point. With at most eight
//! unknowns the factors are made anew for each active set instead of being updated: no error accumulates.
//!
//! Any active set with multipliers of the right sign may be the first. So the method starts from a guess of
//! the bounds that hold, bettered by a few rounds that exchange all wrong ones at once; from tick to tick the
//! set hardly changes, and then one factorisation of the free variables is the whole work.

#![expect(clippy::needless_range_loop, reason = "small dense algebra reads best in index notation")]

use crate::joints::MAX_DOF;
use crate::linalg::{Column, Square, factor, solve as solve_factored};

/// The most general inequalities of one problem.
pub(crate) const MAX_ROWS: usize = 16;
/// The solver's work is bounded by this many pairs of factorisations: of `H` on the free variables, and of the
/// active rows.
const MAX_FACTORISATIONS: usize = 100;
/// Rounds in which the guess of the active bounds is bettered.
const GUESSES: usize = 4;
/// What may be left of a violation, relative to the size of the bound.
const TOLERANCE: f64 = 1e-11;

/// `a · x ≥ b`.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Row {
    pub(crate) a: Column,
    pub(crate) b: f64,
}

/// Where a variable stands in the box.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Side {
    #[default]
    Free,
    Lower,
    Upper,
}

/// Whether [`solve`] found the minimum.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// The optimality conditions hold.
    Optimal,
    /// No point of the box satisfies all rows.
    Infeasible,
    /// `H` is not positive definite, an input is not finite, or rounding kept the method from an end.
    Stalled,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Solution {
    /// The minimum; if there is none, some point of the box.
    pub(crate) x: Column,
    /// The bounds that hold at `x`: the guess for the next problem.
    pub(crate) side: [Side; MAX_DOF],
    pub(crate) outcome: Outcome,
    #[cfg_attr(not(test), expect(dead_code, reason = "read by the tests of the bound on work"))]
    pub(crate) factorisations: usize,
}

/// A convex quadratic objective `½ xᵀ H x − gᵀ x` over the box `lower ≤ x ≤ upper`; the first `n` entries count.
#[derive(Clone, Copy)]
pub(crate) struct Problem<'a> {
    pub(crate) h: &'a Square,
    pub(crate) g: &'a Column,
    pub(crate) lower: &'a Column,
    pub(crate) upper: &'a Column,
    /// At most [`MAX_ROWS`].
    pub(crate) rows: &'a [Row],
    pub(crate) n: usize,
}

/// Minimises over the box and the rows, for a symmetric positive definite `H`.
///
/// Requires `lower ≤ upper`; bounds may be infinite. `guess` only saves work: the minimum is unique.
pub(crate) fn solve(problem: &Problem<'_>, guess: &[Side; MAX_DOF]) -> Solution {
    let mut method = Method::new(problem, guess);
    let outcome = method.run();
    let mut x = method.x;
    let finite = x[..problem.n].iter().all(|value| value.is_finite());
    for i in 0..problem.n {
        // The box holds to the last bit, whatever rounding did.
        x[i] = if finite { x[i] } else { 0.0 }.max(problem.lower[i]).min(problem.upper[i]);
    }
    Solution {
        x,
        side: method.side,
        outcome: if finite { outcome } else { Outcome::Stalled },
        factorisations: method.factorisations,
    }
}

/// The free variables and active rows, factored.
struct Factors {
    free: [usize; MAX_DOF],
    count: usize,
    /// `H = L Lᵀ` on the free variables.
    l: Square,
    /// `L⁻¹ aₖ` for each active row.
    w: [Column; MAX_DOF],
    /// `Wᵀ W`, factored.
    s: Square,
}

/// One constraint on the way into the active set.
#[derive(Clone, Copy)]
enum Entering {
    Bound(usize, Side),
    Row(usize),
}

/// What stands in the way of a step.
#[derive(Clone, Copy)]
enum Leaving {
    Bound(usize),
    Row(usize),
}

struct Method<'a> {
    problem: Problem<'a>,
    x: Column,
    side: [Side; MAX_DOF],
    /// Indices of the active rows, and their multipliers.
    active: [usize; MAX_DOF],
    multiplier: Column,
    actives: usize,
    factorisations: usize,
}

impl<'a> Method<'a> {
    fn new(problem: &Problem<'a>, guess: &[Side; MAX_DOF]) -> Self {
        let mut side = *guess;
        for i in 0..problem.n {
            side[i] = match guess[i] {
                // An edge of no width is an equality and never leaves.
                _ if problem.lower[i] >= problem.upper[i] => Side::Lower,
                Side::Lower if problem.lower[i].is_finite() => Side::Lower,
                Side::Upper if problem.upper[i].is_finite() => Side::Upper,
                _ => Side::Free,
            };
        }
        Self {
            problem: *problem,
            x: [0.0; MAX_DOF],
            side,
            active: [0; MAX_DOF],
            multiplier: [0.0; MAX_DOF],
            actives: 0,
            factorisations: 0,
        }
    }

    fn run(&mut self) -> Outcome {
        if !self.start() {
            return Outcome::Stalled;
        }
        while let Some((entering, violation)) = self.most_violated() {
            match self.enter(entering, violation) {
                Ok(()) => {}
                Err(outcome) => return outcome,
            }
            let Some(factors) = self.factor() else { return Outcome::Stalled };
            self.minimise(&factors);
        }
        Outcome::Optimal
    }

    /// Finds a first set of bounds whose multipliers all have the right sign, rows left aside.
    fn start(&mut self) -> bool {
        let Problem { lower, upper, n, .. } = self.problem;
        for round in 0.. {
            let Some(factors) = self.factor() else { return false };
            self.minimise(&factors);
            let mut changed = false;
            for i in 0..n {
                if self.side[i] == Side::Free {
                    if round >= GUESSES {
                        continue;
                    }
                    if self.x[i] < lower[i] {
                        self.side[i] = Side::Lower;
                        changed = true;
                    } else if self.x[i] > upper[i] {
                        self.side[i] = Side::Upper;
                        changed = true;
                    }
                } else if lower[i] < upper[i] && self.bound_multiplier(i) < 0.0 {
                    self.side[i] = Side::Free;
                    changed = true;
                }
            }
            if !changed {
                return true;
            }
        }
        false
    }

    /// Factors for the current active set; `None` when it is not independent or the work is used up.
    fn factor(&mut self) -> Option<Factors> {
        let Problem { h, rows, n, .. } = self.problem;
        self.factorisations += 1;
        if self.factorisations > MAX_FACTORISATIONS {
            return None;
        }
        let mut factors = Factors {
            free: [0; MAX_DOF],
            count: 0,
            l: [[0.0; MAX_DOF]; MAX_DOF],
            w: [[0.0; MAX_DOF]; MAX_DOF],
            s: [[0.0; MAX_DOF]; MAX_DOF],
        };
        for i in 0..n {
            if self.side[i] == Side::Free {
                factors.free[factors.count] = i;
                factors.count += 1;
            }
        }
        let count = factors.count;
        for row in 0..count {
            for column in 0..=row {
                factors.l[row][column] = h[factors.free[row]][factors.free[column]];
            }
        }
        if count > 0 {
            factor(&mut factors.l, count)?;
        }
        if self.actives > 0 {
            for k in 0..self.actives {
                factors.w[k] = factors.half_solve(&rows[self.active[k]].a);
                for m in 0..=k {
                    factors.s[k][m] = dot(&factors.w[k], &factors.w[m], count);
                }
            }
            factor(&mut factors.s, self.actives)?;
        }
        Some(factors)
    }

    /// Puts `x` and the multipliers at the minimum over the active set.
    fn minimise(&mut self, factors: &Factors) {
        let Problem { h, g, lower, upper, rows, n } = self.problem;
        for i in 0..n {
            match self.side[i] {
                Side::Free => {}
                Side::Lower => self.x[i] = lower[i],
                Side::Upper => self.x[i] = upper[i],
            }
        }
        let mut pull = *g;
        for i in 0..n {
            if self.side[i] != Side::Free {
                for &k in &factors.free[..factors.count] {
                    pull[k] -= h[k][i] * self.x[i];
                }
            }
        }
        let mut y = factors.half_solve(&pull);
        if self.actives > 0 {
            for k in 0..self.actives {
                let row = &rows[self.active[k]];
                let mut missing = row.b - dot(&factors.w[k], &y, factors.count);
                for i in 0..n {
                    if self.side[i] != Side::Free {
                        missing -= row.a[i] * self.x[i];
                    }
                }
                self.multiplier[k] = missing;
            }
            solve_factored(&factors.s, &mut self.multiplier, self.actives);
            for k in 0..self.actives {
                for i in 0..factors.count {
                    y[i] += factors.w[k][i] * self.multiplier[k];
                }
            }
        }
        factors.finish(&mut y);
        for (i, &variable) in factors.free[..factors.count].iter().enumerate() {
            self.x[variable] = y[i];
        }
    }

    /// The multiplier of an active bound; negative when the minimum lies inside of it.
    fn bound_multiplier(&self, i: usize) -> f64 {
        let Problem { h, g, rows, n, .. } = self.problem;
        let mut slope = dot(&h[i], &self.x, n) - g[i];
        for k in 0..self.actives {
            slope -= self.multiplier[k] * rows[self.active[k]].a[i];
        }
        if self.side[i] == Side::Lower { slope } else { -slope }
    }

    /// The constraint violated most, and by how much.
    fn most_violated(&self) -> Option<(Entering, f64)> {
        let Problem { lower, upper, rows, n, .. } = self.problem;
        let mut worst = 0.0;
        let mut found = None;
        for i in 0..n {
            if self.side[i] != Side::Free {
                continue;
            }
            for (side, bound, violation) in
                [(Side::Lower, lower[i], lower[i] - self.x[i]), (Side::Upper, upper[i], self.x[i] - upper[i])]
            {
                if violation > worst && violation > TOLERANCE * (1.0 + bound.abs()) {
                    worst = violation;
                    found = Some((Entering::Bound(i, side), violation));
                }
            }
        }
        for (k, row) in rows.iter().enumerate() {
            if self.active[..self.actives].contains(&k) {
                continue;
            }
            let violation = row.b - dot(&row.a, &self.x, n);
            let length = dot(&row.a, &row.a, n).sqrt();
            if violation > worst * length && violation > TOLERANCE * (1.0 + row.b.abs()) {
                worst = if length > 0.0 { violation / length } else { f64::INFINITY };
                found = Some((Entering::Row(k), violation));
            }
        }
        found
    }

    /// Brings one constraint into the active set, dropping those whose multipliers run out on the way.
    fn enter(&mut self, entering: Entering, mut violation: f64) -> Result<(), Outcome> {
        let Problem { h, rows, n, .. } = self.problem;
        let normal = match entering {
            Entering::Row(k) => rows[k].a,
            Entering::Bound(i, side) => {
                let mut normal = [0.0; MAX_DOF];
                normal[i] = if side == Side::Lower { 1.0 } else { -1.0 };
                normal
            }
        };
        let stiffest = (0..n).fold(0.0, |most: f64, i| most.max(h[i][i]));
        let smallest = 1e-14 * dot(&normal, &normal, n) / stiffest;
        let mut entered = 0.0;
        loop {
            let factors = self.factor().ok_or(Outcome::Stalled)?;
            // Per unit of the entering multiplier, x moves by z and the active rows' multipliers by -r.
            let mut z = factors.half_solve(&normal);
            let reach = dot(&z, &z, factors.count);
            let mut r = [0.0; MAX_DOF];
            if self.actives > 0 {
                for k in 0..self.actives {
                    r[k] = dot(&factors.w[k], &z, factors.count);
                }
                solve_factored(&factors.s, &mut r, self.actives);
                for k in 0..self.actives {
                    for i in 0..factors.count {
                        z[i] -= factors.w[k][i] * r[k];
                    }
                }
            }
            let gain = dot(&z, &z, factors.count);
            factors.finish(&mut z);
            let mut step = [0.0; MAX_DOF];
            for (i, &variable) in factors.free[..factors.count].iter().enumerate() {
                step[variable] = z[i];
            }

            let whole = if gain > smallest.max(1e-12 * reach) {
                violation / gain
            } else {
                // The normal depends on the active ones: only multipliers can move.
                step = [0.0; MAX_DOF];
                f64::INFINITY
            };
            let (partial, leaving) = self.first_to_leave(&normal, entered, &step, &r);
            if whole.is_infinite() && partial.is_infinite() {
                return Err(Outcome::Infeasible);
            }
            if whole <= partial {
                match entering {
                    // An independent constraint more than variables cannot be: each takes a dimension.
                    Entering::Row(_) if self.actives == MAX_DOF => return Err(Outcome::Stalled),
                    Entering::Row(k) => {
                        self.active[self.actives] = k;
                        self.actives += 1;
                    }
                    Entering::Bound(i, side) => self.side[i] = side,
                }
                return Ok(());
            }
            entered += partial;
            for k in 0..self.actives {
                self.multiplier[k] -= partial * r[k];
            }
            for i in 0..n {
                self.x[i] += partial * step[i];
            }
            if whole.is_finite() {
                violation -= partial * gain;
            }
            match leaving {
                Some(Leaving::Bound(i)) => self.side[i] = Side::Free,
                Some(Leaving::Row(k)) => {
                    self.actives -= 1;
                    for later in k..self.actives {
                        self.active[later] = self.active[later + 1];
                        self.multiplier[later] = self.multiplier[later + 1];
                    }
                }
                None => return Err(Outcome::Stalled),
            }
        }
    }

    /// How far the entering multiplier can grow from `entered` until an active one runs out, and which.
    fn first_to_leave(
        &self,
        normal: &Column,
        entered: f64,
        step: &Column,
        r: &Column,
    ) -> (f64, Option<Leaving>) {
        let Problem { h, lower, upper, rows, n, .. } = self.problem;
        let mut first = (f64::INFINITY, None);
        for k in 0..self.actives {
            if r[k] > 0.0 {
                let length = (self.multiplier[k] / r[k]).max(0.0);
                if length < first.0 {
                    first = (length, Some(Leaving::Row(k)));
                }
            }
        }
        for i in 0..n {
            if self.side[i] == Side::Free || lower[i] >= upper[i] {
                continue;
            }
            let sign = if self.side[i] == Side::Lower { 1.0 } else { -1.0 };
            let mut rate = dot(&h[i], step, n) - normal[i];
            for k in 0..self.actives {
                rate += r[k] * rows[self.active[k]].a[i];
            }
            rate *= sign;
            if rate < 0.0 {
                let multiplier = self.bound_multiplier(i) - sign * entered * normal[i];
                let length = (multiplier / -rate).max(0.0);
                if length < first.0 {
                    first = (length, Some(Leaving::Bound(i)));
                }
            }
        }
        first
    }
}

impl Factors {
    /// `L⁻¹ v` on the free variables.
    fn half_solve(&self, v: &Column) -> Column {
        let mut y = [0.0; MAX_DOF];
        for i in 0..self.count {
            let mut sum = v[self.free[i]];
            for k in 0..i {
                sum -= self.l[i][k] * y[k];
            }
            y[i] = sum / self.l[i][i];
        }
        y
    }

    /// `L⁻ᵀ y` in place.
    fn finish(&self, y: &mut Column) {
        for i in (0..self.count).rev() {
            let mut sum = y[i];
            for k in i + 1..self.count {
                sum -= self.l[k][i] * y[k];
            }
            y[i] = sum / self.l[i][i];
        }
    }
}

fn dot(a: &Column, b: &Column, n: usize) -> f64 {
    let mut sum = 0.0;
    for i in 0..n.min(MAX_DOF) {
        sum += a[i] * b[i];
    }
    sum
}

#[cfg(test)]
mod tests;
