//! Global inverse kinematics: Levenberg–Marquardt in the joint box, from the seed and from random
//! configurations, four attempts abreast.
//!
//! Damping is proportional to the residual (as in Sugihara, "Solvability-unconcerned inverse kinematics by the
//! Levenberg–Marquardt method", 2011), joints at a bound that the gradient pushes outwards are held, and an
//! attempt that stalls is given up for a fresh start. The four attempts share vector registers, one in each
//! lane. Starts are drawn from a seeded generator, so equal inputs give equal answers, bit for bit.

mod kernel;
mod search;

use std::f64::consts::{PI, TAU};
use std::fmt;
use std::ops::ControlFlow;

use nalgebra::{Isometry3, Vector3};

use crate::chain::Chain;
use crate::forward::with_step_count;
use crate::frame::{Frame, rotation_log};
use crate::joints::Joints;
use crate::task::Task;
use kernel::{Goal, Kernel, LANES};
use search::{Attempt, Starts, XorShift, search, settle};

/// Distinct solutions that [`Prefer::NearestToSeed`] chooses from, and attempts made to find them.
const NEAREST_OF: usize = 8;
const NEAREST_ATTEMPTS: usize = 32;
/// Two solutions are distinct if some joint differs by more, rad (or m).
const DISTINCT: f64 = 0.1;
/// Attempts at a target so far away that no configuration can reach it.
const HOPELESS_ATTEMPTS: usize = 2 * LANES;

/// Which of several solutions to take.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Prefer {
    /// The one that the attempt from the seed arrives at; if that one fails, whichever came first.
    #[default]
    First,
    /// The nearest to the seed (Euclidean, over all joints) of up to eight distinct solutions from at most 32
    /// attempts, or of the first found after more. Several times the work of [`Prefer::First`].
    NearestToSeed,
}

/// Position limits for one call, in chain order; an entry that is missing or NaN is no limit.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct JointBox {
    /// Lowest positions, rad (or m).
    pub lower: Joints,
    /// Highest positions, rad (or m).
    pub upper: Joints,
}

/// What to look for, how far to search and when to be content.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct IkOptions {
    /// Which part of the target pose counts. Default [`Task::Pose`].
    pub task: Task,
    /// Random restarts after the attempt from the seed. Default 400. More finds rarer solutions; an
    /// unreachable target always costs all of them, unless it lies beyond the arm's length.
    pub max_restarts: usize,
    /// Steps of one attempt. Default 40.
    pub max_iterations: usize,
    /// Largest position error of a solution, m. Default 1e-5.
    pub position_tolerance_m: f64,
    /// Largest rotation error of a solution, rad. Default 1e-4.
    pub rotation_tolerance_rad: f64,
    /// What a squared radian weighs against a squared metre, m²/rad². Default 0.1; smaller prefers position
    /// where both cannot be had. An angle counts as its chord, `2 sin(angle / 2)`.
    pub rotation_weight_m2_per_rad2: f64,
    /// Which solution to take where there are several. Default [`Prefer::First`].
    pub prefer: Prefer,
    /// Limits for this call, intersected with the chain's own. Default none. Where the two do not overlap the
    /// target is unreachable.
    pub limits: Option<JointBox>,
    /// Seed of the restart generator. Default 1.
    pub seed_rng: u64,
}

impl Default for IkOptions {
    fn default() -> Self {
        Self {
            task: Task::Pose,
            max_restarts: 400,
            max_iterations: 40,
            position_tolerance_m: 1e-5,
            rotation_tolerance_rad: 1e-4,
            rotation_weight_m2_per_rad2: 0.1,
            prefer: Prefer::First,
            limits: None,
            seed_rng: 1,
        }
    }
}

/// The best configuration found. It is always within the position limits.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct IkSolution {
    /// Joint positions, rad (or m). A joint that may turn more than once is as near to the seed as whole
    /// turns bring it.
    pub q: Joints,
    /// Distance of the tip from the target, m.
    pub position_error_m: f64,
    /// Angle between the tip and the target, rad: between their z axes for [`Task::PositionAndAxis`], 0 for
    /// [`Task::Position`].
    pub rotation_error_rad: f64,
    /// Whether both errors are within the tolerances. If not, `q` is the closest configuration met.
    pub reachable: bool,
    /// Random restarts that were begun.
    pub restarts: usize,
    /// Steps over all attempts.
    pub iterations: usize,
}

impl fmt::Display for IkSolution {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = if self.reachable { "reached" } else { "unreachable, the closest is" };
        write!(f, "{word} {:.3e} m and {:.3e} rad off", self.position_error_m, self.rotation_error_rad)
    }
}

/// Finds joint positions that put the chain's tip at `base_from_target`.
///
/// The first attempt starts at `seed_q` (brought into the limits; missing or NaN entries start mid-range) and
/// is given the time to arrive, so a good seed gives a near solution. A target with a NaN or infinity is
/// answered at once with the seed, infinite errors and `reachable: false`. Of a target out of reach it gives
/// the closest configuration of those at which the attempts end: a local minimum, if not always the global
/// one.
///
/// At most `(max_restarts + 1) * max_iterations` steps (rounded up to whole rounds of five) and 200 more
/// towards the closest configuration, each one Jacobian and one `dof × dof` factorisation. Allocates nothing.
#[must_use]
pub fn solve(
    chain: &Chain,
    base_from_target: &Isometry3<f64>,
    seed_q: &[f64],
    options: &IkOptions,
) -> IkSolution {
    match Query::new(chain, base_from_target, seed_q, options) {
        Ok(query) => match options.prefer {
            Prefer::First => with_step_count!(chain.way(), first(&query)),
            Prefer::NearestToSeed => with_step_count!(chain.way(), nearest(&query)),
        },
        Err(answer) => answer,
    }
}

/// Up to `most` solutions of which any two differ by more than 0.1 rad (or m) in some joint, the nearest to
/// the seed first.
///
/// Same rules and bound on work as [`solve`]; empty if no solution was found. A redundant arm has a whole
/// curve of solutions, of which these are samples.
#[must_use]
pub fn solve_distinct(
    chain: &Chain,
    base_from_target: &Isometry3<f64>,
    seed_q: &[f64],
    options: &IkOptions,
    most: usize,
) -> Vec<IkSolution> {
    let mut found = Vec::new();
    if let Ok(query) = Query::new(chain, base_from_target, seed_q, options) {
        let visit = &mut |solution: &IkSolution| {
            if found.iter().all(|other: &IkSolution| distinct(&other.q, &solution.q)) && found.len() < most {
                found.push(*solution);
            }
            found.len() < most
        };
        with_step_count!(chain.way(), all(&query, query.attempts, visit));
    }
    found.sort_by(|a, b| distance(&a.q, seed_q).total_cmp(&distance(&b.q, seed_q)));
    found
}

fn distinct(a: &[f64], b: &[f64]) -> bool {
    a.iter().zip(b).any(|(a, b)| (a - b).abs() > DISTINCT)
}

fn distance(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| (a - b) * (a - b)).sum::<f64>().sqrt()
}

/// A question that can be answered: finite, with room between the limits.
struct Query<'a> {
    chain: &'a Chain,
    base_from_target: Frame,
    options: &'a IkOptions,
    lower: Joints,
    upper: Joints,
    seed: Joints,
    attempts: usize,
}

impl<'a> Query<'a> {
    /// The question, or the answer where there is nothing to search.
    fn new(
        chain: &'a Chain,
        target: &Isometry3<f64>,
        seed_q: &[f64],
        options: &'a IkOptions,
    ) -> Result<Self, IkSolution> {
        let base_from_target = Frame::from_isometry(target);
        let own = options.limits.unwrap_or_default();
        let bound = |ends: &Joints, i: usize, other: f64| {
            ends.get(i).copied().filter(|end| !end.is_nan()).unwrap_or(other)
        };
        let n = chain.dof();
        let lower =
            Joints::from_fn(n, |i| chain.limits()[i].lower_rad.max(bound(&own.lower, i, f64::NEG_INFINITY)));
        let upper =
            Joints::from_fn(n, |i| chain.limits()[i].upper_rad.min(bound(&own.upper, i, f64::INFINITY)));
        let inside = chain.clamp(seed_q);
        let seed = Joints::from_fn(n, |i| inside[i].max(lower[i]).min(upper[i]));
        let finite =
            target.translation.vector.iter().chain(target.rotation.coords.iter()).all(|v| v.is_finite());
        let beyond = base_from_target.translation.norm() > chain.reach_m() + options.position_tolerance_m;
        let attempts = options.max_restarts.saturating_add(1);
        let query = Self {
            chain,
            base_from_target,
            options,
            lower,
            upper,
            seed,
            attempts: if beyond { attempts.min(HOPELESS_ATTEMPTS) } else { attempts },
        };
        if !finite {
            return Err(IkSolution {
                q: seed,
                position_error_m: f64::INFINITY,
                rotation_error_rad: f64::INFINITY,
                reachable: false,
                restarts: 0,
                iterations: 0,
            });
        }
        if (0..n).any(|i| lower[i] > upper[i]) {
            return Err(IkSolution { reachable: false, ..query.answer(&chain.clamp(seed_q), 0, 0) });
        }
        Ok(query)
    }

    fn kernel<const S: usize>(&self) -> Kernel<S> {
        let goal = Goal {
            base_from_target: &self.base_from_target,
            task: self.options.task,
            rotation_weight_m2_per_rad2: self.options.rotation_weight_m2_per_rad2,
            position_tolerance_m: self.options.position_tolerance_m,
            rotation_tolerance_rad: self.options.rotation_tolerance_rad,
        };
        Kernel::new(self.chain, &goal, &self.lower, &self.upper)
    }

    fn starts<const S: usize>(&self) -> Starts<S> {
        let mut starts =
            Starts { low: [0.0; S], high: [0.0; S], random: XorShift::new(self.options.seed_rng) };
        for (i, seed) in self.seed.iter().enumerate().take(S) {
            let bounded = (self.upper[i] - self.lower[i]).is_finite();
            let (low, high) = if bounded { (self.lower[i], self.upper[i]) } else { (seed - PI, seed + PI) };
            starts.low[i] = low.max(self.lower[i]);
            starts.high[i] = high.min(self.upper[i]);
        }
        starts
    }

    fn seed<const S: usize>(&self) -> [f64; S] {
        std::array::from_fn(|i| self.seed.get(i).copied().unwrap_or(0.0))
    }

    /// The answer at `q`, with its errors computed apart from the search.
    fn answer(&self, q: &[f64], restarts: usize, iterations: usize) -> IkSolution {
        let q = Joints::from_fn(self.chain.dof(), |i| self.nearest_turn(i, q[i]));
        let tip = self.chain.tip_frame(&q);
        let target = &self.base_from_target;
        let position_error_m = (target.translation - tip.translation).norm();
        let rotation_error_rad = match self.options.task {
            Task::Pose => rotation_log(&(target.rotation * tip.rotation.transpose())).norm(),
            Task::PositionAndAxis => {
                let (a, b): (Vector3<f64>, Vector3<f64>) =
                    (tip.rotation.column(2).into_owned(), target.rotation.column(2).into_owned());
                libm::atan2(a.cross(&b).norm(), a.dot(&b))
            }
            Task::Position => 0.0,
        };
        IkSolution {
            q,
            position_error_m,
            rotation_error_rad,
            reachable: position_error_m <= self.options.position_tolerance_m
                && rotation_error_rad <= self.options.rotation_tolerance_rad,
            restarts,
            iterations,
        }
    }

    /// `position` moved by whole turns towards the seed as far as the limits allow.
    fn nearest_turn(&self, variable: usize, position: f64) -> f64 {
        if !self.chain.turns_freely(variable) {
            return position;
        }
        let turns = ((self.seed[variable] - position) / TAU).round();
        let moved = position + turns * TAU;
        if moved >= self.lower[variable] && moved <= self.upper[variable] { moved } else { position }
    }
}

/// The seed's own solution, else the first found, else the closest configuration.
fn first<const S: usize>(query: &Query<'_>) -> IkSolution {
    let kernel = query.kernel::<S>();
    let mut found: Option<Attempt<S>> = None;
    let mut seed_ended = false;
    let mut closest = [Attempt { q: query.seed(), cost: f64::INFINITY, reached: false, number: 0 }; LANES];
    let mut starts = query.starts();
    let spent = search(
        &kernel,
        &query.seed(),
        &mut starts,
        query.attempts,
        query.options.max_iterations,
        &mut |attempt| {
            seed_ended |= attempt.number == 0;
            if attempt.reached {
                if found.is_none() || attempt.number == 0 {
                    found = Some(*attempt);
                }
            } else {
                keep_closest(&mut closest, attempt);
            }
            if seed_ended && found.is_some() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        },
    );
    let restarts = spent.attempts - 1;
    match found {
        Some(attempt) => query.answer(&attempt.q, restarts, spent.steps),
        None => {
            let (q, steps) = settle(&kernel, &closest.map(|attempt| attempt.q));
            query.answer(&q, restarts, spent.steps + steps)
        }
    }
}

/// Puts `attempt` in the place of the worst kept, if it is better.
fn keep_closest<const S: usize>(kept: &mut [Attempt<S>; LANES], attempt: &Attempt<S>) {
    let worst = kept.iter_mut().max_by(|a, b| a.cost.total_cmp(&b.cost));
    if let Some(worst) = worst.filter(|worst| attempt.cost < worst.cost) {
        *worst = *attempt;
    }
}

/// The nearest to the seed of several solutions.
fn nearest<const S: usize>(query: &Query<'_>) -> IkSolution {
    let mut best: Option<IkSolution> = None;
    let mut found = 0;
    let visit = &mut |solution: &IkSolution| {
        let nearer =
            |other: &IkSolution| distance(&solution.q, &query.seed) < distance(&other.q, &query.seed);
        if best.as_ref().is_none_or(nearer) {
            best = Some(*solution);
        }
        found += 1;
        found < NEAREST_OF
    };
    all::<S>(query, query.attempts.min(NEAREST_ATTEMPTS), visit);
    best.unwrap_or_else(|| first::<S>(query))
}

/// Tells `visit` of every solution found until it returns false.
fn all<const S: usize>(query: &Query<'_>, attempts: usize, visit: &mut dyn FnMut(&IkSolution) -> bool) {
    let kernel = query.kernel::<S>();
    let mut ended = 0;
    search(
        &kernel,
        &query.seed(),
        &mut query.starts(),
        attempts,
        query.options.max_iterations,
        &mut |attempt| {
            ended += 1;
            if attempt.reached && !visit(&query.answer(&attempt.q, ended - 1, 0)) {
                ControlFlow::Break(())
            } else {
                ControlFlow::Continue(())
            }
        },
    );
}
