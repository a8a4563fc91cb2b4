//! The limiter keeps every limit for every input, and changes nothing that keeps them already.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests fail by panicking")]

mod common;

use common::{ARM7, Random, Robot, SO101, UR5};
use nalgebra::Vector3;
use proptest::prelude::*;
use proptest::test_runner::RngSeed;
use reflexarc_kinematics::limit::{JointLimiter, LimiterConfig};
use reflexarc_kinematics::track::{Tracker, TrackerConfig};
use reflexarc_kinematics::{ARM7_HOME_RAD, Chain};

/// A slide, a joint without any limit, one with limits, and another slide.
const ODD: Robot = Robot {
    name: "odd",
    urdf: r#"<robot name="odd"><link name="a"/><link name="b"/><link name="c"/><link name="d"/><link name="e"/>
        <joint name="lift" type="prismatic"><parent link="a"/><child link="b"/><axis xyz="0 0 1"/>
            <limit lower="0" upper="0.5" velocity="0.3" effort="1"/></joint>
        <joint name="turn" type="continuous"><parent link="b"/><child link="c"/><axis xyz="0 0 1"/></joint>
        <joint name="fold" type="revolute"><parent link="c"/><child link="d"/><origin xyz="0.4 0 0"/><axis xyz="0 1 0"/>
            <limit lower="-1" upper="1.5" velocity="2" effort="1"/></joint>
        <joint name="reach" type="prismatic"><parent link="d"/><child link="e"/><origin xyz="0.1 0 0.05"/><axis xyz="1 0 0"/>
            <limit lower="-0.04" upper="0.04" velocity="0.2" effort="1"/></joint></robot>"#,
    base: "a",
    tip: "e",
};

const ROBOTS: [Robot; 4] = [ARM7, SO101, UR5, ODD];

/// Measures what comes out, as an observer of the commands would, in shares of the limits.
struct Observer {
    chain: Chain,
    config: LimiterConfig,
    /// The last four positions, newest first.
    seen: [Vec<f64>; 4],
    tool_m: Vector3<f64>,
    worst: Worst,
}

/// Largest share of each limit seen, rounding of the positions allowed for.
#[derive(Clone, Copy, Debug, Default)]
struct Worst {
    velocity: f64,
    acceleration: f64,
    jerk: f64,
    tool: f64,
    /// Furthest outside the position limits, rad (or m).
    outside: f64,
}

impl Observer {
    fn new(chain: &Chain, config: LimiterConfig, q: &[f64]) -> Self {
        let tool_m = chain.base_from_tip(q).translation.vector;
        let seen = std::array::from_fn(|_| q.to_vec());
        Self { chain: chain.clone(), config, seen, tool_m, worst: Worst::default() }
    }

    fn see(&mut self, q: &[f64]) {
        assert!(q.iter().all(|q| q.is_finite()), "{q:?}");
        self.seen.rotate_right(1);
        self.seen[0] = q.to_vec();
        let dt_s = self.config.dt_s;
        for (i, limits) in self.chain.limits().iter().enumerate() {
            let [q0, q1, q2, q3] = std::array::from_fn(|back| self.seen[back][i]);
            let rounding = q0.abs().max(q3.abs()) * f64::EPSILON;
            let share = |difference: f64, roundings: f64, limit: f64| {
                (difference.abs() - roundings * rounding).max(0.0) / limit
            };
            let velocity = share(q0 - q1, 1.0, limits.velocity_rad_s * self.config.velocity_scale * dt_s);
            let acceleration =
                share((q0 - q1) - (q1 - q2), 2.0, self.config.max_acceleration_rad_s2 * dt_s.powi(2));
            let jerk = share(
                (q0 - q1) - 2.0 * (q1 - q2) + (q2 - q3),
                4.0,
                self.config.max_jerk_rad_s3 * dt_s.powi(3),
            );
            self.worst.velocity = self.worst.velocity.max(velocity);
            self.worst.acceleration = self.worst.acceleration.max(acceleration);
            self.worst.jerk = self.worst.jerk.max(jerk);
            self.worst.outside = self.worst.outside.max(limits.lower_rad - q0).max(q0 - limits.upper_rad);
        }
        let tool_m = self.chain.base_from_tip(q).translation.vector;
        let moved_m = ((tool_m - self.tool_m).norm() - 1e-14).max(0.0);
        self.worst.tool = self.worst.tool.max(moved_m / (self.config.max_tool_speed_m_s * dt_s));
        self.tool_m = tool_m;
    }

    fn check_motion(&self) {
        let worst = &self.worst;
        let most = worst.velocity.max(worst.acceleration).max(worst.jerk).max(worst.tool);
        assert!(most <= 1.0 + 1e-9, "{worst:?} with {:?}", self.config);
    }

    fn check(&self) {
        self.check_motion();
        assert!(self.worst.outside <= 0.0, "{:?}", self.worst);
    }
}

/// Whatever one might send.
struct Torment {
    random: Random,
    kind: u64,
    from: Vec<f64>,
    to: Vec<f64>,
    tick: f64,
    rate: f64,
}

impl Torment {
    fn new(seed: u64) -> Self {
        Self { random: Random(seed), kind: 0, from: Vec::new(), to: Vec::new(), tick: 0.0, rate: 0.0 }
    }

    fn change_mind(&mut self, chain: &Chain) {
        self.kind = self.random.bits() % 11;
        (self.from, self.to) = (self.random.configuration(chain), self.random.configuration(chain));
        if self.random.bits().is_multiple_of(3) {
            // Limit to limit.
            for (i, limits) in chain.limits().iter().enumerate() {
                let (low, high) = (limits.lower_rad.max(-4.0), limits.upper_rad.min(4.0));
                (self.from[i], self.to[i]) =
                    if self.random.bits() & 1 == 0 { (low, high) } else { (high, low) };
            }
        }
        self.rate = self.random.between(-3.0, 1.0).exp();
        self.tick = 0.0;
    }

    fn next(&mut self, limiter: &JointLimiter, chain: &Chain, config: &LimiterConfig) -> Vec<f64> {
        if self.from.is_empty() || self.random.bits().is_multiple_of(150) {
            self.change_mind(chain);
        }
        self.tick += 1.0;
        let (n, q, v) = (chain.dof(), limiter.position(), limiter.velocity());
        let each = |value: &mut dyn FnMut(usize) -> f64| (0..n).map(value).collect::<Vec<_>>();
        let (from, to, random) = (&self.from, &self.to, &mut self.random);
        let phase = self.tick * self.rate;
        match self.kind {
            // A jump.
            0 => to.clone(),
            // Sines, most too fast.
            1 => each(&mut |i| from[i] + (to[i] - from[i]) * (0.5 - 0.5 * (0.1 * phase).cos())),
            // Bang-bang, slow or with every tick.
            2 => {
                if (phase % 2.0) < 1.0 {
                    from.clone()
                } else {
                    to.clone()
                }
            }
            // Noise around where it is, small or large.
            3 => {
                let size = random.between(-20.0, 2.0).exp();
                each(&mut |i| q[i] + random.between(-size, size))
            }
            // As fast as allowed, one way or the other.
            4 => each(&mut |i| {
                let dt_s = config.dt_s;
                let towards = (to[i] - from[i]).signum();
                q[i] + (v[i] + towards * config.max_acceleration_rad_s2.min(1e3) * dt_s) * dt_s
            }),
            // Beyond the limits.
            5 => each(&mut |i| to[i] * 3.0),
            6 => each(&mut |_| [1e300, -1e300, 1e9, f64::MIN_POSITIVE][(random.bits() % 4) as usize]),
            // Jerk one way, then the other: adversarial for a stop.
            7 => each(&mut |i| q[i] + (if random.bits() & 1 == 0 { 1.0 } else { -1.0 }) * (to[i] - from[i])),
            // What cannot be read, now and then or all the time.
            8 => {
                let mut wish = to.clone();
                if random.bits() & 3 != 0 {
                    wish[(random.bits() % n as u64) as usize] =
                        [f64::NAN, f64::INFINITY, f64::NEG_INFINITY][(random.bits() % 3) as usize];
                }
                wish
            }
            9 => {
                let mut wish = to.clone();
                wish.resize((random.bits() % 12) as usize, 0.0);
                wish
            }
            // A staircase of a slower clock.
            _ => each(&mut |i| from[i] + (to[i] - from[i]) * ((phase / 5.0).floor() / 20.0).min(1.0)),
        }
    }
}

fn any_config(random: &mut Random) -> LimiterConfig {
    let pick = |random: &mut Random, of: &[f64]| of[(random.bits() % of.len() as u64) as usize];
    LimiterConfig {
        dt_s: pick(random, &[1.0 / 60.0, 1.0 / 240.0, 1e-3]),
        velocity_scale: pick(random, &[1.0, 0.3]),
        max_acceleration_rad_s2: pick(random, &[2.0, 10.0, 50.0, f64::INFINITY]),
        max_jerk_rad_s3: pick(random, &[30.0, 500.0, 2000.0, 20_000.0, f64::INFINITY]),
        max_tool_speed_m_s: pick(random, &[0.05, 0.25, 1.0, f64::INFINITY]),
    }
}

/// Sends `ticks` of everything and returns the worst that came out.
fn torment(robot: &Robot, config: LimiterConfig, seed: u64, ticks: usize) -> Worst {
    let chain = robot.chain();
    let mut limiter = JointLimiter::new(chain.clone(), config);
    let mut torment = Torment::new(seed);
    let start = torment.random.configuration(&chain);
    assert!(limiter.reset(&start));
    let mut observer = Observer::new(&chain, config, &start);
    for _ in 0..ticks {
        let wish = torment.next(&limiter, &chain, &config);
        let readable = wish.len() == chain.dof() && wish.iter().all(|w| w.is_finite());
        let out = limiter.limit(&wish);
        assert_eq!(out.acted.rejected, !readable);
        observer.see(&out.q);
    }
    observer.check();
    observer.worst
}

#[test]
#[ignore = "exploration"]
fn hammer() {
    let mut random = Random(5);
    let mut ticks = 0;
    let mut worst = Worst::default();
    let started = std::time::Instant::now();
    while started.elapsed().as_secs() < 20 {
        let config = any_config(&mut random);
        let robot = ROBOTS[(random.bits() % 4) as usize];
        let seen = torment(&robot, config, random.bits(), 5000);
        ticks += 5000;
        worst.velocity = worst.velocity.max(seen.velocity);
        worst.acceleration = worst.acceleration.max(seen.acceleration);
        worst.jerk = worst.jerk.max(seen.jerk);
        worst.tool = worst.tool.max(seen.tool);
    }
    println!("{ticks} ticks {worst:?}, {:?} per tick", started.elapsed() / ticks);
}

#[test]
#[ignore = "exploration"]
fn speed() {
    for (dt_s, tool) in [(1.0 / 240.0, f64::INFINITY), (1.0 / 240.0, 0.5), (1e-3, f64::INFINITY), (1e-3, 0.5)]
    {
        let chain = ARM7.chain();
        let config = LimiterConfig { dt_s, max_tool_speed_m_s: tool, ..LimiterConfig::default() };
        let mut limiter = JointLimiter::new(chain.clone(), config);
        limiter.reset(&ARM7_HOME_RAD);
        // smooth
        let mut all = Vec::new();
        for tick in 0..100_000 {
            let t = f64::from(tick) * dt_s;
            let wish: [f64; 7] =
                std::array::from_fn(|i| ARM7_HOME_RAD[i] + 0.1 * (1.0 - (t * (0.5 + 0.1 * i as f64)).cos()));
            let started = std::time::Instant::now();
            let out = limiter.limit(&wish);
            all.push(started.elapsed().as_nanos());
            assert!(!out.acted.any() || tool < 1.0, "{:?}", out.acted);
        }
        all.sort();
        println!(
            "{dt_s} {tool} smooth: mean {} p50 {} p99 {} max {}",
            all.iter().sum::<u128>() / all.len() as u128,
            all[all.len() / 2],
            all[all.len() * 99 / 100],
            all[all.len() - 1]
        );
        let mut random = Random(3);
        let mut all = Vec::new();
        for _ in 0..100 {
            let wish = random.configuration(&chain);
            for _ in 0..1000 {
                let started = std::time::Instant::now();
                limiter.limit(&wish);
                all.push(started.elapsed().as_nanos());
            }
        }
        all.sort();
        println!(
            "{dt_s} {tool} jumps: mean {} p50 {} p99 {} max {}",
            all.iter().sum::<u128>() / all.len() as u128,
            all[all.len() / 2],
            all[all.len() * 99 / 100],
            all[all.len() - 1]
        );
    }
}

#[test]
#[ignore = "exploration"]
fn arrival() {
    for (dt_s, jerk) in [(1.0 / 240.0, 2000.0), (1e-3, 2000.0), (1e-3, 200.0), (1e-3, f64::INFINITY)] {
        let chain = ARM7.chain();
        let config = LimiterConfig { dt_s, max_jerk_rad_s3: jerk, ..LimiterConfig::default() };
        for jump in [1e-7, 1e-5, 1e-4, 1e-3, 0.1, 1.0] {
            let mut limiter = JointLimiter::new(chain.clone(), config);
            limiter.reset(&ARM7_HOME_RAD);
            let mut wish = ARM7_HOME_RAD;
            wish[0] += jump;
            let mut over = f64::MIN;
            let mut arrived = 0;
            for tick in 0..4000 {
                let out = limiter.limit(&wish);
                over = over.max(out.q[0] - wish[0]);
                if (out.q[0] - wish[0]).abs() > 1e-9 {
                    arrived = tick;
                }
            }
            println!(
                "{dt_s} {jerk} jump {jump}: over {over:e} = {} J, arrived after {} s, ideal~ {}",
                over / (jerk * dt_s.powi(3)),
                arrived as f64 * dt_s,
                2.0 * (jump / 10.0f64).sqrt() + 10.0 / jerk
            );
        }
        // onto a sine
        let mut limiter = JointLimiter::new(chain.clone(), config);
        limiter.reset(&ARM7_HOME_RAD);
        let (mut last, mut exact) = (0, 0);
        let mut peak = 0.0_f64;
        for tick in 0..8000 {
            let mut wish = ARM7_HOME_RAD;
            wish[0] += 0.5 + 0.3 * (2.0 * tick as f64 * dt_s).sin();
            let out = limiter.limit(&wish);
            let e = (out.q[0] - wish[0]).abs();
            if e > 1e-9 {
                last = tick;
            } else {
                exact += 1;
            }
            if tick as f64 * dt_s > 1.0 {
                peak = peak.max(e);
            }
        }
        println!("sine: inexact until {} s, exact ticks {exact} peak after 1 s {peak:e}", last as f64 * dt_s);
    }
}
