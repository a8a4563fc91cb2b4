//! Which poses of the target tokens the arm reaches: a map made once, before anything moves.
//!
//! A target is quantised (128 bins for each of x, y, z and yaw), so whether the arm reaches it, and whether it
//! then touches itself, is a fact about bins. The map holds one bit for each cell of 16 bins a side
//! (62 × 87 × 62 mm × 22.5°): set where the cell is *surely* good, because inverse kinematics reaches all of its
//! sixteen corners the same way round, with [`MARGIN_RAD`] left to every joint limit and [`CLEARANCE_M`]
//! between the links. Along a cell's edge the joints' paths bend away from straight lines by far less than that
//! margin. Where the bit is not set (edges of the reach, mostly), one exact solution decides, and is remembered.
//!
//! Start-up costs one solution for each corner, memory is 512 bytes and the arm's description; all runtimes of a
//! process that have the same robot share one map ([`ReachMap::shared`]).

use std::f64::consts::PI;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use nalgebra::Isometry3;
use reflexarc_kinematics::collision::CollisionModel;
use reflexarc_kinematics::ik::{self, IkOptions, JointBox};
use reflexarc_kinematics::{Chain, Joints};
use reflexarc_vla_model::number::{Axis, NUMBER_BINS};

use super::base_from_tool;
use super::event::{Refusal, Rule};
use super::reading::{Act, X};

/// Left to every joint limit at the corners of a sure cell, rad (or m).
const MARGIN_RAD: f64 = 0.05;
/// Kept between the arm's own links at the corners of a sure cell, m.
const CLEARANCE_M: f64 = 0.005;
/// How far off the best joint angles may be for a target to count as reachable, m.
const TOLERANCE_M: f64 = 2e-3;
/// The same for the turn, rad.
const TOLERANCE_RAD: f64 = 0.02;
/// Cells along x, y and z.
const CELLS: usize = 8;
/// Cells of yaw in half a turn.
const TURNS: usize = 8;
/// Corners along x, y and z.
const CORNERS: usize = CELLS + 1;
/// Exact answers remembered.
const REMEMBERED: usize = 256;
/// Maps kept in a process; more robots than that are made anew.
const SHARED: usize = 8;

/// One bit for each cell: a word for each x and y, in which z and yaw are bits.
type Sure = [u64; CELLS.pow(2)];

/// One bit for each cell of x, y and z that is surely good whichever way the tool is turned: a byte for each x and y, in
/// which z is a bit. One cache line; of the arm that the simulator moves, it knows as much as the whole map.
pub(super) type AnyTurn = [u8; CELLS.pow(2)];

/// The map of one robot.
#[derive(Debug)]
pub struct ReachMap {
    chain: Chain,
    posture: Joints,
    shapes: Option<CollisionModel>,
    sure: Sure,
    built_ns: u64,
}

/// An exact answer for one pose.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Exact {
    Good,
    Unreachable { off_m: f64 },
    Touching { gap_m: f64 },
}

/// The map together with the exact answers that were needed so far.
#[derive(Clone, Debug)]
pub(super) struct Reach {
    map: Arc<ReachMap>,
    remembered: Box<[Option<(u32, Exact)>]>,
}

impl ReachMap {
    /// Makes the map for a chain, the posture that its solutions are near, and the arm's shapes (none: the
    /// arm is not kept from touching itself).
    #[must_use]
    pub fn new(chain: Chain, posture: &[f64], shapes: Option<CollisionModel>) -> Self {
        let begun = Instant::now();
        let mut map = Self { posture: Joints::from_slice(posture), chain, shapes, sure: [0; _], built_ns: 0 };
        map.fill();
        map.built_ns = u64::try_from(begun.elapsed().as_nanos()).unwrap_or(u64::MAX);
        map
    }

    /// The map of this robot, made at its first use in the process. `make` reads the robot's shapes.
    #[must_use]
    pub fn shared(
        chain: &Chain,
        posture: &[f64],
        make: impl FnOnce() -> Option<CollisionModel>,
    ) -> Arc<Self> {
        static MADE: Mutex<Vec<Arc<ReachMap>>> = Mutex::new(Vec::new());
        let mut made = MADE.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(map) = made.iter().find(|map| map.is_of(chain, posture)) {
            return Arc::clone(map);
        }
        let map = Arc::new(Self::new(chain.clone(), posture, make()));
        if made.len() == SHARED {
            made.remove(0);
        }
        made.push(Arc::clone(&map));
        map
    }

    /// Whether the map is of this robot: the same joints, limits, posture, and tool poses.
    fn is_of(&self, chain: &Chain, posture: &[f64]) -> bool {
        let probe: Vec<f64> = posture.iter().map(|q| q + 0.3).collect();
        self.chain.joint_names() == chain.joint_names()
            && self.chain.limits() == chain.limits()
            && *self.posture == *posture
            && [posture, probe.as_slice()]
                .iter()
                .all(|q| self.chain.base_from_tip(q) == chain.base_from_tip(q))
    }

    /// Which cells are surely good whichever way the tool is turned.
    pub(super) fn any_turn(&self) -> AnyTurn {
        let all = |word: u64, z: usize| word >> (z * TURNS) & 0xff == 0xff;
        self.sure.map(|word| (0..CELLS).fold(0, |cells, z| cells | u8::from(all(word, z)) << z))
    }

    /// How long making the map took, ns, and how much of it is surely good, 0..1.
    #[must_use]
    pub fn built(&self) -> (u64, f64) {
        let sure: u32 = self.sure.iter().map(|word| word.count_ones()).sum();
        (self.built_ns, f64::from(sure) / (CELLS.pow(3) * TURNS) as f64)
    }

    fn fill(&mut self) {
        let span = |lower: f64, upper: f64| (upper - lower > 4.0 * MARGIN_RAD).then_some(MARGIN_RAD);
        let inner = |bound: fn(&reflexarc_kinematics::JointLimits) -> f64, sign: f64| {
            let limits = self.chain.limits();
            Joints::from_fn(limits.len(), |i| {
                bound(&limits[i]) + sign * span(limits[i].lower_rad, limits[i].upper_rad).unwrap_or(0.0)
            })
        };
        let limits = JointBox {
            lower: inner(|joint| joint.lower_rad, 1.0),
            upper: inner(|joint| joint.upper_rad, -1.0),
        };
        // A corner that the seed does not lead to is not surely good, so no random starts.
        let options = IkOptions { limits: Some(limits), max_restarts: 0, ..IkOptions::default() };
        let corner = |[x, y, z, turn]: [usize; 4]| {
            let at = |axis: Axis, index: usize, of: usize| {
                let (low, high) = axis.range();
                low + (high - low) * index as f64 / of as f64
            };
            let position_m = [at(Axis::X, x, CELLS), at(Axis::Y, y, CELLS), at(Axis::Z, z, CELLS)];
            // Turns run over the whole circle, from -π/2 on.
            let yaw_rad = -PI / 2.0 + PI * turn as f64 / TURNS as f64;
            let yaw_rad = if yaw_rad > PI { yaw_rad - 2.0 * PI } else { yaw_rad };
            let solution =
                ik::solve(&self.chain, &base_from_tool(position_m, yaw_rad), &self.posture, &options);
            solution.reachable && self.gap_m(&solution.q) >= CLEARANCE_M
        };
        let mut corners = vec![None; CORNERS.pow(3) * 2 * TURNS];
        let mut good = |at: [usize; 4]| {
            let [x, y, z, turn] = at;
            let slot = &mut corners[((x * CORNERS + y) * CORNERS + z) * 2 * TURNS + turn];
            *slot.get_or_insert_with(|| corner(at))
        };
        let mut sure: Sure = [0; _];
        for index in 0..CELLS.pow(3) * TURNS {
            let (turn, z) = (index % TURNS, index / TURNS % CELLS);
            let (y, x) = (index / TURNS / CELLS % CELLS, index / TURNS / CELLS / CELLS);
            // Either way round will do: a parallel gripper turned by half a turn is the same.
            let all = [turn, turn + TURNS].into_iter().any(|turn| {
                (0..16).all(|bits| {
                    let turn = (turn + (bits >> 3 & 1)) % (2 * TURNS);
                    good([x + (bits & 1), y + (bits >> 1 & 1), z + (bits >> 2 & 1), turn])
                })
            });
            sure[index / 64] |= u64::from(all) << (index % 64);
        }
        self.sure = sure;
    }

    /// Distance between the arm's own links, m.
    fn gap_m(&self, q: &Joints) -> f64 {
        let closest = self.shapes.as_ref().and_then(|shapes| shapes.distance(q));
        closest.map_or(f64::INFINITY, |closest| closest.clearance.distance_m)
    }

    /// The exact answer for a pose: at most two solutions with a bounded number of starts.
    fn solve(&self, position_m: [f64; 3], yaw_rad: f64) -> (Exact, u32) {
        let options = IkOptions { max_restarts: 8, ..IkOptions::default() };
        let mut worst = Exact::Unreachable { off_m: f64::INFINITY };
        for (solves, turn) in (1..).zip([0.0, -PI.copysign(yaw_rad)]) {
            let pose: Isometry3<f64> = base_from_tool(position_m, yaw_rad + turn);
            let solution = ik::solve(&self.chain, &pose, &self.posture, &options);
            let reached =
                solution.position_error_m <= TOLERANCE_M && solution.rotation_error_rad <= TOLERANCE_RAD;
            worst = match (reached, self.gap_m(&solution.q), worst) {
                (true, gap_m, _) if gap_m >= 0.0 => return (Exact::Good, solves),
                (true, gap_m, _) => Exact::Touching { gap_m },
                (false, _, Exact::Unreachable { off_m }) => {
                    // A pose that is only turned wrongly is off by something, too.
                    let off_m = off_m.min(solution.position_error_m.max(TOLERANCE_M));
                    Exact::Unreachable { off_m }
                }
                (false, _, touching) => touching,
            };
        }
        (worst, 2)
    }
}

impl Reach {
    pub(super) fn new(map: Arc<ReachMap>) -> Self {
        Self { map, remembered: vec![None; REMEMBERED].into() }
    }

    pub(super) fn map(&self) -> &Arc<ReachMap> {
        &self.map
    }

    /// Whether the arm reaches the target without touching itself; adds the solutions that this took.
    pub(super) fn judge(&mut self, act: &Act, solves: &mut u32) -> Result<(), Refusal> {
        if is_sure(&self.map.sure, act.pose.map(u16::from)) {
            return Ok(());
        }
        match self.exact(act, solves) {
            Exact::Good => Ok(()),
            Exact::Unreachable { off_m } => Err(Refusal::new(Rule::Unreachable, X, off_m, TOLERANCE_M)),
            Exact::Touching { gap_m } => Err(Refusal::new(Rule::Collision, X, gap_m, 0.0)),
        }
    }

    fn exact(&mut self, act: &Act, solves: &mut u32) -> Exact {
        let key = u32::from_le_bytes(act.pose);
        // Neighbouring poses get slots of their own.
        let slot = (key.wrapping_mul(0x9e37_79b1) >> 24) as usize % REMEMBERED;
        let known = self.remembered[slot].filter(|(known, _)| *known == key);
        match known {
            Some((_, exact)) => exact,
            None => {
                let (exact, count) = self.map.solve(act.target.position_m, act.target.yaw_rad);
                *solves += count;
                self.remembered[slot] = Some((key, exact));
                exact
            }
        }
    }
}

/// The cell of a bin along its axis: the upper three of its seven bits. Written as a quotient this took a quarter more
/// code, and two constants from elsewhere, in the audit's first look.
#[inline(always)]
fn cell(bin: u16) -> usize {
    const { assert!(NUMBER_BINS == 128 && CELLS == 8 && TURNS == 8) };
    usize::from(bin >> 4 & 7)
}

/// Whether the pose with these bins of x, y, z and yaw lies in a cell that is surely good.
fn is_sure(sure: &Sure, bins: [u16; 4]) -> bool {
    let [x, y, z, turn] = bins.map(cell);
    sure[x * CELLS + y] >> (z * TURNS + turn) & 1 == 1
}

/// Whether the position with these bins of x, y and z lies in a cell that is surely good whichever way the tool is
/// turned. One load.
#[inline(always)]
pub(super) fn is_sure_any_turn(any_turn: &AnyTurn, bins: [u16; 3]) -> bool {
    let [x, y, z] = bins.map(cell);
    any_turn[x * CELLS + y] >> z & 1 == 1
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests fail by panicking")]
mod tests {
    use super::*;
    use rand_chacha::ChaCha8Rng;
    use rand_chacha::rand_core::{Rng, SeedableRng};
    use reflexarc_kinematics::collision::CollisionOptions;
    use reflexarc_kinematics::{ARM7_HOME_RAD, ARM7_URDF};
    use reflexarc_vla_model::number;

    fn arm7() -> Arc<ReachMap> {
        let chain = Chain::from_urdf(ARM7_URDF, "base", "tool").unwrap();
        ReachMap::shared(&chain, &ARM7_HOME_RAD, || {
            let options = CollisionOptions { reference_q: &ARM7_HOME_RAD, ..CollisionOptions::default() };
            Some(CollisionModel::from_urdf(ARM7_URDF, &chain, &options).unwrap())
        })
    }

    #[test]
    fn sure_any_turn_is_sure_at_every_turn() {
        let map = arm7();
        let any_turn = map.any_turn();
        let bins = || (0..NUMBER_BINS as u16).step_by(NUMBER_BINS / CELLS);
        let mut count = 0;
        for (x, y, z) in bins().flat_map(|x| bins().flat_map(move |y| bins().map(move |z| (x, y, z)))) {
            let every = bins().all(|turn| is_sure(&map.sure, [x, y, z, turn]));
            assert_eq!(is_sure_any_turn(&any_turn, [x, y, z]), every, "{x} {y} {z}");
            count += usize::from(every);
        }
        // This arm can turn its tool all the way round where it reaches at all.
        assert!(count > CELLS.pow(3) * 3 / 4, "{count}");
    }

    #[test]
    fn what_is_surely_good_is_good() {
        let map = arm7();
        let (built_ns, share) = map.built();
        eprintln!("map made in {:.0} ms, {:.1} % sure", built_ns as f64 / 1e6, 100.0 * share);
        assert!(share > 0.2, "{share}");
        let mut rng = ChaCha8Rng::seed_from_u64(5);
        let (mut sure, mut rest) = (0, [0; 2]);
        while sure < 1500 {
            let pose: [u8; 4] = std::array::from_fn(|_| (rng.next_u32() % NUMBER_BINS as u32) as u8);
            let value = |axis: Axis, i: usize| number::decode(axis, usize::from(pose[i]));
            let position_m = [value(Axis::X, 0), value(Axis::Y, 1), value(Axis::Z, 2)];
            let (exact, _) = map.solve(position_m, value(Axis::Yaw, 3));
            if is_sure(&map.sure, pose.map(u16::from)) {
                assert_eq!(exact, Exact::Good, "{pose:?}");
                sure += 1;
            } else {
                rest[usize::from(exact == Exact::Good)] += 1;
            }
        }
        eprintln!("of the rest {} are bad and {} good", rest[0], rest[1]);
        assert!(rest[0] > 20);
    }

    #[test]
    fn an_exact_answer_is_found_once() {
        let mut reach = Reach::new(arm7());
        let far = Act {
            subtask: reflexarc_vla_model::decision::Subtask::Reach,
            target: reflexarc_vla_model::decision::ToolTarget {
                position_m: [0.748, 0.347, 0.002],
                yaw_rad: 0.1,
                gripper_width_m: 0.08,
                gripper_force_n: 10.0,
            },
            pixel_uv: [0.5, 0.5],
            pose: [127, 127, 0, 68],
        };
        let mut solves = 0;
        assert_eq!(reach.judge(&far, &mut solves).unwrap_err().rule, Rule::Unreachable);
        assert_eq!(solves, 2);
        assert_eq!(reach.judge(&far, &mut solves).unwrap_err().rule, Rule::Unreachable);
        assert_eq!(solves, 2);
    }
}
