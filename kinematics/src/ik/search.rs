//! Many attempts, four abreast: which start where, when one is given up, and what became of each.

use std::ops::ControlFlow;

use wide::f64x4;

use crate::ik::kernel::{Kernel, LANES, Points};

/// Steps after which the progress of the attempts is judged.
const ROUND: usize = 5;
/// An attempt whose cost is still above this share of what it was a round before is given up.
const STALLED: f64 = 0.4;
/// Most steps towards the nearest point of a valley.
const SETTLING_STEPS: usize = 200;

/// How an attempt ended.
#[derive(Clone, Copy)]
pub(super) struct Attempt<const S: usize> {
    pub(super) q: [f64; S],
    pub(super) cost: f64,
    /// Whether it is within the tolerances.
    pub(super) reached: bool,
    /// Its number in the order of starting; 0 started at the seed.
    pub(super) number: usize,
}

/// Where random attempts start: uniform between two ends of each variable.
pub(super) struct Starts<const S: usize> {
    pub(super) low: [f64; S],
    pub(super) high: [f64; S],
    pub(super) random: XorShift,
}

impl<const S: usize> Starts<S> {
    fn draw(&mut self) -> [f64; S] {
        std::array::from_fn(|i| self.low[i] + self.random.unit() * (self.high[i] - self.low[i]))
    }
}

/// Attempts started and steps taken, a step being one of one attempt.
#[derive(Clone, Copy, Default)]
pub(super) struct Spent {
    pub(super) attempts: usize,
    pub(super) steps: usize,
}

/// Runs attempts from `seed` and then from random starts, at most `most_attempts` of at most `most_steps`
/// each, and tells `ended` of each until it breaks off. Some are cut short by that.
pub(super) fn search<const S: usize>(
    kernel: &Kernel<S>,
    seed: &[f64; S],
    starts: &mut Starts<S>,
    most_attempts: usize,
    most_steps: usize,
    ended: &mut dyn FnMut(&Attempt<S>) -> ControlFlow<()>,
) -> Spent {
    let mut lanes = Lanes::<S>::new(seed, starts, most_attempts.max(1));
    let (mut points, mut next) = (Points::EMPTY, Points::EMPTY);
    let mut steps = 0;
    loop {
        // Some attempts are new: all lanes are looked at afresh.
        lanes.place(&mut points);
        kernel.evaluate(&mut points);
        lanes.mark(&points.cost);
        let running = lanes.mask();
        let mut settled = kernel.reached(&points) & running;
        let mut taken = 0;
        // One round, or less if an attempt ends or its own round does.
        while !settled.any() && taken < lanes.left_in_round {
            kernel.step(&points, &mut next, &mut lanes.damping);
            std::mem::swap(&mut points, &mut next);
            settled = kernel.reached(&points) & running;
            taken += 1;
        }
        steps += taken * lanes.running();
        lanes.took(taken, &points);
        for lane in 0..LANES {
            let hit = settled.to_bitmask() & (1 << lane) != 0;
            let Some(attempt) = lanes.verdict(lane, hit, most_steps) else { continue };
            if ended(&attempt).is_break() {
                return Spent { attempts: lanes.started, steps };
            }
            lanes.restart(lane, starts);
        }
        if lanes.running() == 0 {
            return Spent { attempts: lanes.started, steps };
        }
    }
}

/// Descends from four configurations, without giving up, until none gets nearer. Returns the nearest.
pub(super) fn settle<const S: usize>(kernel: &Kernel<S>, from: &[[f64; S]; LANES]) -> ([f64; S], usize) {
    let (mut points, mut next) = (Points::<S>::EMPTY, Points::EMPTY);
    for i in 0..S {
        points.q[i] = f64x4::new(from.map(|q| q[i]));
    }
    kernel.evaluate(&mut points);
    let mut damping = Kernel::<S>::damping();
    let mut steps = 0;
    while steps < SETTLING_STEPS {
        kernel.step(&points, &mut next, &mut damping);
        std::mem::swap(&mut points, &mut next);
        steps += 1;
        // A refused step changes nothing and is tried again with more damping, up to a point.
        let gained = (next.cost - points.cost).simd_gt(next.cost * f64x4::splat(1e-14));
        let refused = next.cost.simd_eq(points.cost) & damping.simd_lt(f64x4::splat(1e3));
        if !(gained | refused).any() {
            break;
        }
    }
    let costs = points.cost.to_array();
    let best = (0..LANES).min_by(|&a, &b| costs[a].total_cmp(&costs[b])).unwrap_or(0);
    (points.q.map(|q| q.to_array()[best]), steps)
}

/// One attempt under way.
#[derive(Clone, Copy)]
struct Run {
    number: usize,
    steps: usize,
    steps_in_round: usize,
    /// Cost at the start of the round; not known before the first step.
    checkpoint: Option<f64>,
}

/// The attempts under way.
struct Lanes<const S: usize> {
    runs: [Option<Run>; LANES],
    q: [[f64; LANES]; S],
    cost: [f64; LANES],
    damping: f64x4,
    /// Steps until the next attempt has done a round.
    left_in_round: usize,
    started: usize,
    most: usize,
}

impl<const S: usize> Lanes<S> {
    fn new(seed: &[f64; S], starts: &mut Starts<S>, most: usize) -> Self {
        let mut lanes = Self {
            runs: [None; LANES],
            q: seed.map(|q| [q; LANES]),
            cost: [f64::INFINITY; LANES],
            damping: Kernel::<S>::damping(),
            left_in_round: ROUND,
            started: 1,
            most,
        };
        lanes.runs[0] = Some(Run { number: 0, steps: 0, steps_in_round: 0, checkpoint: None });
        for lane in 1..LANES {
            lanes.restart(lane, starts);
        }
        lanes
    }

    /// Starts the next attempt in a lane, or leaves it empty when all have been started.
    fn restart(&mut self, lane: usize, starts: &mut Starts<S>) {
        self.runs[lane] = None;
        if self.started < self.most {
            for (q, start) in self.q.iter_mut().zip(starts.draw()) {
                q[lane] = start;
            }
            let mut damping = self.damping.to_array();
            damping[lane] = Kernel::<S>::damping().to_array()[lane];
            self.damping = f64x4::new(damping);
            self.runs[lane] =
                Some(Run { number: self.started, steps: 0, steps_in_round: 0, checkpoint: None });
            self.started += 1;
        }
    }

    fn place(&self, points: &mut Points<S>) {
        for (to, from) in points.q.iter_mut().zip(&self.q) {
            *to = f64x4::new(*from);
        }
    }

    /// Notes the cost from which fresh attempts start.
    fn mark(&mut self, cost: &f64x4) {
        for (run, cost) in self.runs.iter_mut().zip(cost.to_array()) {
            if let Some(run) = run {
                run.checkpoint.get_or_insert(cost);
            }
        }
        let furthest = self.runs.iter().flatten().map(|run| run.steps_in_round).max().unwrap_or(0);
        self.left_in_round = ROUND - furthest.min(ROUND);
    }

    /// Notes where the attempts stand after some steps of each.
    fn took(&mut self, steps: usize, points: &Points<S>) {
        self.cost = points.cost.to_array();
        self.q = points.q.map(f64x4::to_array);
        for run in self.runs.iter_mut().flatten() {
            run.steps += steps;
            run.steps_in_round += steps;
        }
    }

    /// The attempt in a lane if it has ended: by reaching its target, by stalling, or by its number of steps.
    fn verdict(&mut self, lane: usize, hit: bool, most_steps: usize) -> Option<Attempt<S>> {
        let cost = self.cost[lane];
        let run = self.runs[lane].as_mut()?;
        if !hit && run.steps_in_round < ROUND {
            return None;
        }
        // Written so that NaN counts as stalled.
        let falls = run.checkpoint.is_some_and(|before| cost <= STALLED * before);
        if !hit && falls && run.steps < most_steps {
            *run = Run { steps_in_round: 0, checkpoint: Some(cost), ..*run };
            return None;
        }
        Some(Attempt { q: self.q.map(|q| q[lane]), cost, reached: hit, number: run.number })
    }

    fn running(&self) -> usize {
        self.runs.iter().flatten().count()
    }

    /// The mask of the lanes with an attempt under way.
    fn mask(&self) -> f64x4 {
        let one = f64x4::splat(1.0);
        f64x4::new(self.runs.map(|run| f64::from(u8::from(run.is_some())))).simd_eq(one)
    }
}

/// Marsaglia's 64-bit xorshift with a multiplied output; plenty for drawing starts.
pub(super) struct XorShift(u64);

impl XorShift {
    pub(super) fn new(seed: u64) -> Self {
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
