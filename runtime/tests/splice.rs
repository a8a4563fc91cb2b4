//! The splice: inference delay × chunk length → how hard the seams are, before the limiter and after it.
//!
//! A policy continues a smooth motion from wherever it sees the arm in it, each chunk off by its own error,
//! and is asked again as soon as it has answered. The table in `data/splice.txt` says what became of it. After a change of
//! behaviour, make it again and look at what changed:
//!
//! ```text
//! REWRITE_GOLDEN=1 cargo test --release -p reflexarc-runtime --test splice
//! ```
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests fail by panicking")]

use std::collections::VecDeque;
use std::fmt::Write as _;
use std::path::Path;

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use reflexarc_kinematics::{ARM7_HOME_RAD, ARM7_URDF, Chain, Joints};
use reflexarc_runtime::reflex::{Intent, Reflex};
use reflexarc_runtime::safety::Gate;
use reflexarc_runtime::senses::{Body, Snapshot};
use reflexarc_runtime::{Config, HoldReason, Mode};
use reflexarc_vla_model::chunk::ActionChunk;

const START_NS: u64 = 1_000_000_000;
const HZ: u64 = 240;
const TICKS: u64 = 5 * HZ;
/// A frame comes, and the policy may be asked, every so many ticks.
const FRAME: u64 = 4;
const RATE_HZ: f64 = 50.0;
/// Each chunk is off by up to so much, on every joint.
const ERROR_RAD: f64 = 0.03;

fn config() -> Config {
    let mut config = Config::default();
    config.chunk.rate_hz = RATE_HZ;
    // The joints' limits are what is looked at here.
    config.limits.workspace_min_m = [-2.0; 3];
    config.limits.workspace_max_m = [2.0; 3];
    config.limits.max_tool_speed_m_s = 5.0;
    config
}

fn now_ns(tick: u64) -> u64 {
    START_NS + tick * 1_000_000_000 / HZ
}

/// The motion to follow: each joint swings about its home by 0.2 rad, every one at its own pace.
fn reference(time_s: f64) -> [f64; 7] {
    std::array::from_fn(|joint| {
        let phase = (time_s / (1.8 + 0.3 * joint as f64)).fract() * 2.0;
        let x = if phase < 1.0 { phase } else { 2.0 - phase };
        ARM7_HOME_RAD[joint] + 0.2 * (x * x * x * (10.0 - x * (15.0 - 6.0 * x)) * 2.0 - 1.0)
    })
}

struct Policy {
    random: ChaCha8Rng,
    length: usize,
    error_rad: f64,
}

impl Policy {
    fn below(&mut self, bound: u64) -> u64 {
        self.random.next_u64() % bound.max(1)
    }

    /// `seen_s` is how far the motion has come in what the policy sees.
    fn answer(&mut self, observation_ns: u64, seen_s: f64) -> ActionChunk {
        let error: [f64; 7] =
            std::array::from_fn(|_| self.error_rad * (self.below(2001) as f64 / 1000.0 - 1.0));
        let action = |index: usize| {
            let q = reference(seen_s + index as f64 / RATE_HZ);
            let arm = (0..7).map(move |joint| (q[joint] + error[joint]) as f32);
            arm.chain([0.05])
        };
        ActionChunk {
            observation_ns,
            period_ns: (1e9 / RATE_HZ) as u64,
            width: 8,
            actions: (0..self.length).flat_map(action).collect(),
        }
    }
}

/// Largest share of a joint's velocity limit, and largest acceleration, of positions given tick by tick.
#[derive(Default)]
struct Peaks {
    last: VecDeque<Joints>,
    speed: f64,
    acceleration_rad_s2: f64,
}

impl Peaks {
    fn add(&mut self, q: Option<&Joints>, chain: &Chain) {
        let Some(q) = q else {
            self.last.clear();
            return;
        };
        self.last.push_back(*q);
        if self.last.len() > 3 {
            self.last.pop_front();
        }
        let hz = HZ as f64;
        for (joint, limits) in chain.limits().iter().enumerate() {
            let at = |age: usize| self.last.len().checked_sub(age + 1).map(|index| self.last[index][joint]);
            let (Some(now), Some(before)) = (at(0), at(1)) else { continue };
            self.speed = self.speed.max((now - before).abs() * hz / limits.velocity_rad_s);
            if let Some(first) = at(2) {
                let change = (now - 2.0 * before + first).abs();
                self.acceleration_rad_s2 = self.acceleration_rad_s2.max(change * hz * hz);
            }
        }
    }
}

#[derive(Default)]
struct Row {
    wanted: Peaks,
    commanded: Peaks,
    /// Ticks in which the limiter changed what was wanted.
    limited: u64,
    /// Ticks in which no action was consumed, for want of one.
    idle: u64,
    taken: u64,
    overtaken: u64,
}

/// Runs one cell. A delay is fixed, or drawn anew for each chunk from 0 to that.
fn run(length: usize, delay: u64, jitter: bool, error_rad: f64) -> (Row, Vec<u64>) {
    let config = config();
    let chain = Chain::from_urdf(ARM7_URDF, "base", "tool").unwrap();
    let mut reflex = Reflex::new(chain.clone(), &config);
    let seed = length as u64 * 1000 + delay * 10 + u64::from(jitter);
    let mut policy = Policy { random: ChaCha8Rng::seed_from_u64(seed), length, error_rad };
    let mut q = Joints::from_slice(&reference(0.0));
    let (mut row, mut bits) = (Row::default(), Vec::new());
    let mut pending: Option<(u64, ActionChunk)> = None;
    let mut chunk: Option<(u64, ActionChunk)> = None;
    // How far the motion had come where each chunk begins, and where it was seen last.
    let (mut begins_s, mut seen_s) = (vec![0.0], 0.0);
    for tick in 0..TICKS {
        if let Some((_, ready)) = pending.take_if(|(due, _)| *due <= tick) {
            chunk = Some((chunk.map_or(1, |(number, _)| number + 1), ready));
        }
        if pending.is_none() && tick % FRAME == 0 {
            let takes = if jitter { policy.below(delay + 1) } else { delay };
            if let Some(playing) = reflex.playing(now_ns(tick)) {
                let last = (length - 1) as f64;
                seen_s = begins_s[playing.number as usize] + playing.position.min(last) / RATE_HZ;
            }
            begins_s.push(seen_s);
            pending = Some((tick + takes, policy.answer(now_ns(tick), seen_s)));
        }
        let base_from_tool = chain.base_from_tip(&q);
        let body = Body { stamp_ns: now_ns(tick), q, gripper_width_m: 0.05, base_from_tool };
        let snapshot = Snapshot::of_body(now_ns(tick), body);
        let intent =
            chunk.as_ref().map_or(Intent::Nothing, |(number, chunk)| Intent::Execute(*number, chunk));
        let command = reflex.tick(now_ns(tick), &snapshot, Gate::Open, intent);
        row.wanted.add(reflex.wanted(), &chain);
        let Some(joints) = command.joints else { continue };
        q = joints.q;
        row.commanded.add(Some(&q), &chain);
        row.limited += u64::from(command.acted.any());
        row.idle += u64::from(command.mode == Mode::Holding(HoldReason::RanDry));
        bits.extend(q.iter().map(|q| q.to_bits()));
    }
    row.idle += reflex.play_stats().starved_ticks;
    (row.taken, row.overtaken) = (reflex.play_stats().taken, reflex.play_stats().late[3]);
    (row, bits)
}

#[test]
fn no_seam_leaves_the_limits_and_the_table_is_the_same_as_ever() {
    let limits = config().limits;
    let mut table = String::from(
        "# Seams at 50 actions/s and 240 commands/s, 5 s, chunks off by up to 0.03 rad. Limits: 100 % of each\n\
         # joint's velocity, 10 rad/s². Delays in ticks; jittered ones are drawn from 0 to that. Before and\n\
         # after: the loop's limiter. Idle: no action was left to consume. Exact: chunks without error.\n\
         #           |         | velocity, %    | acceleration   | ticks        | chunks\n\
         # length    | delay   | before   after | before   after | limited idle | taken overtaken\n",
    );
    let delays = [0, 1, 2, 4, 8, 12, 16, 20, 25, 30];
    let mut errors = vec![(100, 0.0)];
    errors.extend([4, 8, 16, 50, 100].map(|length| (length, ERROR_RAD)));
    for (length, error_rad) in errors {
        for jitter in [false, true] {
            // Without errors the delay makes no difference.
            for delay in delays.into_iter().filter(|delay| error_rad > 0.0 || (*delay == 20 && !jitter)) {
                let (row, _) = run(length, delay, jitter, error_rad);
                let mark = if jitter { "0 to " } else { "" };
                writeln!(
                    table,
                    "{:>11} | {:>7} | {:>6.1}  {:>6.1} | {:>6.2}  {:>6.2} | {:>7} {:>4} | {:>5} {:>4}",
                    if error_rad > 0.0 { length.to_string() } else { format!("{length} exact") },
                    format!("{mark}{delay}"),
                    row.wanted.speed * 100.0,
                    row.commanded.speed * 100.0,
                    row.wanted.acceleration_rad_s2,
                    row.commanded.acceleration_rad_s2,
                    row.limited,
                    row.idle,
                    row.taken,
                    row.overtaken,
                )
                .unwrap();
                for peaks in [&row.wanted, &row.commanded] {
                    assert!(peaks.speed <= 1.0 + 1e-9, "{}", table.lines().last().unwrap());
                    let most = limits.max_joint_acceleration_rad_s2 * (1.0 + 1e-6);
                    assert!(peaks.acceleration_rad_s2 <= most, "{}", table.lines().last().unwrap());
                }
            }
        }
    }
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/splice.txt");
    if std::env::var_os("REWRITE_GOLDEN").is_some() {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, &table).unwrap();
    }
    let golden = std::fs::read_to_string(&path).unwrap();
    for (line, (now, before)) in table.lines().zip(golden.lines()).enumerate() {
        assert_eq!(now, before, "line {} of {}", line + 1, path.display());
    }
    assert_eq!(table.lines().count(), golden.lines().count());
}

#[test]
fn the_same_events_give_the_same_bits() {
    for (length, delay) in [(8, 5), (50, 20)] {
        assert_eq!(run(length, delay, true, ERROR_RAD).1, run(length, delay, true, ERROR_RAD).1);
    }
}
