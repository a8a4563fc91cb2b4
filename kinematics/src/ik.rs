//! Global inverse kinematics: Levenberg–Marquardt in the joint box, restarted from random configurations.
//!
//! Damping is proportional to the residual (as in Sugihara, "Solvability-unconcerned inverse kinematics by the
//! Levenberg–Marquardt method", 2011), joints at a bound that the gradient pushes outwards are frozen, and an
//! attempt that stalls is given up for a fresh start. Restarts are drawn from a seeded generator, so equal
//! inputs give equal answers, bit for bit.

use nalgebra::{Isometry3, Vector3};

use crate::chain::{Chain, Jacobian};
use crate::frame::{Frame, rotation_log};
use crate::joints::{Joints, MAX_DOF};
use crate::linalg::{Column, Square, factor, solve as solve_factored};

/// How far to search and when to be content.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct IkOptions {
    /// Random restarts after the attempt from the seed. Default 100. More finds rarer solutions; an
    /// unreachable target always costs all of them.
    pub max_restarts: usize,
    /// Steps of one attempt. Default 40.
    pub max_iterations: usize,
    /// Largest position error of a solution, m. Default 1e-5.
    pub position_tolerance_m: f64,
    /// Largest rotation error of a solution, rad. Default 1e-4.
    pub rotation_tolerance_rad: f64,
    /// What a squared radian weighs against a squared metre, m²/rad². Default 0.1; smaller prefers position
    /// where both cannot be had.
    pub rotation_weight_m2_per_rad2: f64,
    /// Seed of the restart generator. Default 1.
    pub seed_rng: u64,
}

impl Default for IkOptions {
    fn default() -> Self {
        Self {
            max_restarts: 100,
            max_iterations: 40,
            position_tolerance_m: 1e-5,
            rotation_tolerance_rad: 1e-4,
            rotation_weight_m2_per_rad2: 0.1,
            seed_rng: 1,
        }
    }
}

/// The best configuration found. It is always within the position limits.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct IkSolution {
    /// Joint positions, rad (or m).
    pub q: Joints,
    /// Distance of the tip from the target, m.
    pub position_error_m: f64,
    /// Angle between the tip and the target, rad.
    pub rotation_error_rad: f64,
    /// Whether both errors are within the tolerances. If not, `q` is the closest configuration met.
    pub reachable: bool,
    /// Random restarts that were used.
    pub restarts: usize,
    /// Steps over all attempts.
    pub iterations: usize,
}

/// Finds joint positions that put the chain's tip at `target` (`base_from_tip`).
///
/// The first attempt starts at `seed_q` (brought into the limits; missing or NaN entries start mid-range), so
/// a good seed gives a near solution. A target with a NaN or infinity is answered at once with the seed,
/// infinite errors and `reachable: false`. At most
/// `(max_restarts + 1) * max_iterations` steps and a final polish of 200, each one Jacobian and up to four
/// `dof × dof` factorisations.
#[must_use]
pub fn solve(chain: &Chain, target: &Isometry3<f64>, seed_q: &[f64], options: &IkOptions) -> IkSolution {
    let seed = chain.clamp(seed_q);
    let finite = target.translation.vector.iter().all(|value| value.is_finite())
        && target.rotation.coords.iter().all(|value| value.is_finite());
    if !finite {
        return IkSolution {
            q: seed,
            position_error_m: f64::INFINITY,
            rotation_error_rad: f64::INFINITY,
            reachable: false,
            restarts: 0,
            iterations: 0,
        };
    }
    let search = Search { chain, target: Frame::from_isometry(target), options };
    let mut random = XorShift::new(options.seed_rng);
    let mut iterations = 0;
    let mut best = search.at(seed);
    for restart in 0..=options.max_restarts {
        let start = if restart == 0 { seed } else { search.random_start(&mut random, &seed) };
        let (end, steps) = search.attempt(search.at(start), options.max_iterations, true);
        iterations += steps;
        if search.done(&end) {
            return search.answer(&end, restart, iterations);
        }
        if end.cost < best.cost {
            best = end;
        }
    }
    // Out of reach, as far as we can tell: settle exactly on the nearest point of the best valley.
    let (polished, steps) = search.attempt(best, 200, false);
    search.answer(&polished, options.max_restarts, iterations + steps)
}

/// A configuration with its pose error.
#[derive(Clone, Copy)]
struct Point {
    q: Joints,
    jacobian: Jacobian,
    position_error: Vector3<f64>,
    rotation_error: Vector3<f64>,
    cost: f64,
}

struct Search<'a> {
    chain: &'a Chain,
    target: Frame,
    options: &'a IkOptions,
}

impl Search<'_> {
    fn at(&self, q: Joints) -> Point {
        let (tip, jacobian) = self.chain.tip_and_jacobian(&q);
        let position_error = self.target.translation - tip.translation;
        let rotation_error = rotation_log(&(self.target.rotation * tip.rotation.transpose()));
        let cost = position_error.norm_squared()
            + self.options.rotation_weight_m2_per_rad2 * rotation_error.norm_squared();
        Point { q, jacobian, position_error, rotation_error, cost }
    }

    fn done(&self, point: &Point) -> bool {
        point.position_error.norm() <= self.options.position_tolerance_m
            && point.rotation_error.norm() <= self.options.rotation_tolerance_rad
    }

    fn answer(&self, point: &Point, restarts: usize, iterations: usize) -> IkSolution {
        IkSolution {
            q: point.q,
            position_error_m: point.position_error.norm(),
            rotation_error_rad: point.rotation_error.norm(),
            reachable: self.done(point),
            restarts,
            iterations,
        }
    }

    fn random_start(&self, random: &mut XorShift, seed: &Joints) -> Joints {
        Joints::from_fn(self.chain.dof(), |index| {
            let limits = &self.chain.limits()[index];
            let unit = random.unit();
            if limits.lower_rad.is_finite() && limits.upper_rad.is_finite() {
                limits.lower_rad + unit * (limits.upper_rad - limits.lower_rad)
            } else {
                seed[index] + (2.0 * unit - 1.0) * std::f64::consts::PI
            }
        })
    }

    /// Descends from `point`; with `give_up`, an attempt that gains little in six steps ends early.
    fn attempt(&self, mut point: Point, max_iterations: usize, give_up: bool) -> (Point, usize) {
        let mut damping = 1e-2;
        let mut checkpoint = point.cost;
        for iteration in 0..max_iterations {
            if self.done(&point) {
                return (point, iteration);
            }
            let Some(next) = self.improve(&point, &mut damping) else {
                return (point, iteration + 1);
            };
            let gain = point.cost - next.cost;
            point = next;
            if give_up && iteration % 6 == 5 {
                if point.cost > 0.3 * checkpoint {
                    return (point, iteration + 1);
                }
                checkpoint = point.cost;
            } else if !give_up && gain < 1e-15 * point.cost {
                return (point, iteration + 1);
            }
        }
        (point, max_iterations)
    }

    /// One accepted Levenberg–Marquardt step, or `None` when four dampings in a row gained nothing.
    fn improve(&self, point: &Point, damping: &mut f64) -> Option<Point> {
        let n = self.chain.dof();
        let limits = self.chain.limits();
        let (h, g) = normal_equations(
            &point.jacobian,
            &point.position_error,
            &point.rotation_error,
            self.options.rotation_weight_m2_per_rad2,
        );
        let mut frozen = [false; MAX_DOF];
        for i in 0..n {
            frozen[i] = (g[i] < 0.0 && point.q[i] <= limits[i].lower_rad)
                || (g[i] > 0.0 && point.q[i] >= limits[i].upper_rad);
        }
        for _ in 0..4 {
            let shift = *damping * point.cost + 1e-9;
            let (mut a, mut step) = (h, g);
            for i in 0..n {
                a[i][i] += shift;
                if frozen[i] {
                    a[i] = [0.0; MAX_DOF];
                    for row in &mut a {
                        row[i] = 0.0;
                    }
                    a[i][i] = 1.0;
                    step[i] = 0.0;
                }
            }
            if factor(&mut a, n).is_some() {
                solve_factored(&a, &mut step, n);
                let q = Joints::from_fn(n, |i| limits[i].clamp(point.q[i] + step[i]));
                let next = self.at(q);
                if next.cost < point.cost {
                    *damping = (*damping * 0.2).max(1e-6);
                    return Some(next);
                }
            }
            *damping *= 8.0;
        }
        None
    }
}

/// `JᵀWJ` and `JᵀWe` for weights 1 on position and `rotation_weight` on rotation.
pub(crate) fn normal_equations(
    jacobian: &Jacobian,
    position_error: &Vector3<f64>,
    rotation_error: &Vector3<f64>,
    rotation_weight: f64,
) -> (Square, Column) {
    let mut h = [[0.0; MAX_DOF]; MAX_DOF];
    let mut g = [0.0; MAX_DOF];
    let columns = jacobian.columns();
    for (i, a) in columns.iter().enumerate() {
        g[i] = a.x * position_error.x
            + a.y * position_error.y
            + a.z * position_error.z
            + rotation_weight * (a.w * rotation_error.x + a.a * rotation_error.y + a.b * rotation_error.z);
        for (k, b) in columns.iter().enumerate().take(i + 1) {
            let sum =
                a.x * b.x + a.y * b.y + a.z * b.z + rotation_weight * (a.w * b.w + a.a * b.a + a.b * b.b);
            h[i][k] = sum;
            h[k][i] = sum;
        }
    }
    (h, g)
}

/// Marsaglia's 64-bit xorshift with a multiplied output; plenty for drawing starts.
struct XorShift(u64);

impl XorShift {
    fn new(seed: u64) -> Self {
        // The state must not be zero, and neighbouring seeds should differ at once.
        Self((seed ^ 0x9E37_79B9_7F4A_7C15).wrapping_mul(0xBF58_476D_1CE4_E5B9) | 1)
    }

    /// Uniform in `[0, 1)`.
    fn unit(&mut self) -> f64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 11) as f64 / (1_u64 << 53) as f64
    }
}
