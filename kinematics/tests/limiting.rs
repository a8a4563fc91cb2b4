//! The limiter keeps every limit for every input, and changes nothing that keeps them already.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests fail by panicking")]
#![allow(clippy::print_stdout, reason = "the long run reports what it saw")]

mod common;

use common::{ARM7, Random, Robot, SO101, UR5};
use nalgebra::Vector3;
use proptest::prelude::*;
use proptest::test_runner::RngSeed;
use reflexarc_kinematics::limit::{JointLimiter, LimiterConfig};
use reflexarc_kinematics::track::{Tracker, TrackerConfig};
use reflexarc_kinematics::{ARM7_HOME_RAD, Chain, Joints};

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
        max_jerk_rad_s3: pick(random, &[50.0, 500.0, 2000.0, 20_000.0, f64::INFINITY]),
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

fn any_robot() -> impl Strategy<Value = Robot> {
    prop::sample::select(ROBOTS.to_vec())
}

/// A limiter at rest somewhere within the limits, and where.
fn at_rest(robot: &Robot, config: LimiterConfig, random: &mut Random) -> (JointLimiter, Chain, Vec<f64>) {
    let chain = robot.chain();
    let q = random.configuration(&chain);
    let mut limiter = JointLimiter::new(chain.clone(), config);
    assert!(limiter.reset(&q));
    (limiter, chain, q)
}

fn furthest(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).fold(0.0, |most, (a, b)| most.max((a - b).abs()))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 100, failure_persistence: None, rng_seed: RngSeed::Fixed(7), ..ProptestConfig::default() })]

    #[test]
    fn every_limit_holds_for_any_input(robot in any_robot(), seed: u64) {
        torment(&robot, any_config(&mut Random(seed)), seed, 1200);
    }

    #[test]
    fn what_came_out_once_passes_unchanged(robot in any_robot(), seed: u64) {
        let config = any_config(&mut Random(seed));
        let (mut first, chain, start) = at_rest(&robot, config, &mut Random(seed));
        let mut second = JointLimiter::new(chain.clone(), config);
        prop_assert!(second.reset(&start));
        let mut torment = Torment::new(seed);
        for tick in 0..600 {
            let wish = torment.next(&first, &chain, &config);
            let once = first.limit(&wish);
            let twice = second.limit(&once.q);
            let change = furthest(&once.q, &twice.q);
            prop_assert!(change < 1e-9, "tick {}: changed by {}, {:?}, {:?}", tick, change, twice.acted, config);
        }
    }

    #[test]
    fn a_smooth_motion_within_the_limits_passes_unchanged(robot in any_robot(), seed: u64) {
        let mut random = Random(seed);
        let config = LimiterConfig { max_tool_speed_m_s: 10.0, ..any_config(&mut random) };
        let (mut limiter, chain, start) = at_rest(&robot, config, &mut random);
        let waves: Vec<_> = chain.limits().iter().zip(&start).map(|(limits, start)| {
            let room = (start - limits.lower_rad).max(limits.upper_rad - start).min(1.0);
            let way = if limits.upper_rad - start < start - limits.lower_rad { -1.0 } else { 1.0 };
            let rate = random.between(0.2, 3.0);
            // Amplitude and start of `(1 − cos)`: half a jerk's, an acceleration's, a velocity's worth at most. Jerk
            // counts the first tick, where the wave begins from rest.
            let most = (config.max_acceleration_rad_s2 / rate.powi(2))
                .min(config.max_jerk_rad_s3 * config.dt_s / rate.powi(2))
                .min(limits.velocity_rad_s * config.velocity_scale / rate)
                .min(room);
            (way * 0.4 * most, rate)
        }).collect();
        for tick in 0..1500 {
            let t = f64::from(tick) * config.dt_s;
            let wish: Vec<_> = start.iter().zip(&waves)
                .map(|(start, (size, rate))| start + size * (1.0 - (rate * t).cos())).collect();
            let out = limiter.limit(&wish);
            prop_assert!(!out.acted.any(), "tick {}: {:?} {:?}", tick, out.acted, config);
            prop_assert!(furthest(&out.q, &wish) < 1e-12, "tick {}: {:?} for {:?}", tick, out.q, wish);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 20, failure_persistence: None, rng_seed: RngSeed::Fixed(7), ..ProptestConfig::default() })]

    #[test]
    fn a_jump_arrives_without_overshoot_and_in_time(robot in any_robot(), seed: u64, scale in -6.0_f64..0.0) {
        let mut random = Random(seed);
        let config = LimiterConfig { max_tool_speed_m_s: f64::INFINITY, ..any_config(&mut random) };
        let (mut limiter, chain, start) = at_rest(&robot, config, &mut random);
        let end = random.configuration(&chain);
        let share = 10.0_f64.powf(scale);
        let wish: Vec<_> = start.iter().zip(&end).map(|(from, to)| from + share * (to - from)).collect();
        let (a, j, dt_s) = (config.max_acceleration_rad_s2, config.max_jerk_rad_s3, config.dt_s);
        // What a jerk-limited motion from rest to rest takes at most: half the way at a time.
        let time_s = |way: f64, v: f64| {
            let (a, v) = (a.min(2.0 * v / dt_s), v.min((a * way).sqrt()).min((0.25 * j * way * way).cbrt()));
            if way > 0.0 { way / v + v / a + 2.0 * (v / j).sqrt() + a / j } else { 0.0 }
        };
        let slowest_s = chain.limits().iter().enumerate().fold(0.0_f64, |slowest, (i, limits)| {
            let v = (limits.velocity_rad_s * config.velocity_scale).min(1e3);
            slowest.max(time_s((wish[i] - start[i]).abs(), v))
        });
        let ticks = (1.2 * slowest_s / dt_s).ceil() as usize + 20;
        let slack = (j * dt_s.powi(3)).min(2.0 * a * dt_s.powi(2)) + 1e-11;
        for _ in 0..ticks {
            let out = limiter.limit(&wish);
            for i in 0..chain.dof() {
                let jump = wish[i] - start[i];
                // A smaller jump looks like the beginning of a motion.
                let allowed = if jump.abs() > 2.0 * slack { 1e-9 } else { slack };
                prop_assert!((out.q[i] - wish[i]) * jump.signum() <= allowed, "joint {} overshot to {} of {} from {}, {:?}", i, out.q[i], wish[i], start[i], config);
            }
        }
        let left = furthest(limiter.position(), &wish);
        prop_assert!(left < 1e-9, "{} left after {} ticks, {:?}", left, ticks, config);
        limiter.limit(&wish);
        let rest = *limiter.position();
        prop_assert_eq!(limiter.limit(&wish).q, rest);
    }

    #[test]
    fn from_outside_it_is_led_back_and_never_further_out(robot in any_robot(), seed: u64) {
        let mut random = Random(seed);
        let config = any_config(&mut random);
        let chain = robot.chain();
        let start: Vec<_> = chain.limits().iter().map(|limits| {
            let (low, high) = (limits.lower_rad.max(-3.0), limits.upper_rad.min(3.0));
            let (middle, half) = (0.5 * (low + high), 0.5 * (high - low));
            middle + random.between(-2.0, 2.0) * half
        }).collect();
        let mut limiter = JointLimiter::new(chain.clone(), config);
        prop_assert!(limiter.reset(&start));
        let mut observer = Observer::new(&chain, config, &start);
        let mut torment = Torment::new(seed);
        for _ in 0..600 {
            let wish = torment.next(&limiter, &chain, &config);
            let out = limiter.limit(&wish);
            observer.see(&out.q);
            for (i, limits) in chain.limits().iter().enumerate() {
                prop_assert!(out.q[i] <= start[i].max(limits.upper_rad), "joint {} further out", i);
                prop_assert!(out.q[i] >= start[i].min(limits.lower_rad), "joint {} further out", i);
            }
        }
        // Half way, whatever happened before.
        let wish = random.configuration(&chain);
        for _ in 0..100_000 {
            let out = limiter.limit(&wish);
            observer.see(&out.q);
            if furthest(&out.q, &wish) < 1e-9 {
                break;
            }
        }
        prop_assert!(furthest(limiter.position(), &wish) < 1e-9, "{:?}", config);
        observer.check_motion();
    }

    #[test]
    fn bad_input_brakes_to_rest_and_holds(robot in any_robot(), seed: u64) {
        let mut random = Random(seed);
        let config = any_config(&mut random);
        let (mut limiter, chain, start) = at_rest(&robot, config, &mut random);
        let mut observer = Observer::new(&chain, config, &start);
        let wish = random.configuration(&chain);
        for _ in 0..random.bits() % 200 {
            observer.see(&limiter.limit(&wish).q);
        }
        let mut spoilt = wish.clone();
        spoilt[0] = f64::NAN;
        let bad = [&spoilt[..], &wish[1..], &[]][(random.bits() % 3) as usize];
        let mut ticks = 0;
        while ticks == 0 || limiter.velocity().iter().any(|v| *v != 0.0) {
            let out = limiter.limit(bad);
            prop_assert!(out.acted.rejected);
            observer.see(&out.q);
            ticks += 1;
            prop_assert!(ticks <= 4096);
        }
        let held = *limiter.position();
        prop_assert_eq!(limiter.limit(bad).q, held);
        observer.check();
        // And is followed again.
        let mut left = f64::INFINITY;
        for _ in 0..100_000 {
            left = furthest(&limiter.limit(&wish).q, &wish);
            if left < 1e-9 { break; }
        }
        prop_assert!(left < 1e-9);
    }

    #[test]
    fn a_guard_holds_all_the_way_to_rest(robot in any_robot(), seed: u64) {
        let mut random = Random(seed);
        let config = any_config(&mut random);
        let (mut limiter, chain, start) = at_rest(&robot, config, &mut random);
        let mut observer = Observer::new(&chain, config, &start);
        let floor_m = chain.base_from_tip(&start).translation.z - 0.02;
        let mut torment = Torment::new(seed);
        for _ in 0..600 {
            let wish = torment.next(&limiter, &chain, &config);
            let above = |q: &Joints| chain.base_from_tip(q).translation.z >= floor_m;
            let out = limiter.limit_guarded(&wish, above);
            observer.see(&out.q);
            // Between the looks, every eighth tick, it may dip below by a little.
            let height_m = chain.base_from_tip(&out.q).translation.z;
            prop_assert!(height_m >= floor_m - 8.0 * DIP_M, "{} below, {:?}", floor_m - height_m, config);
        }
        observer.check();
    }
}

/// How far the tool of the slowest clock moves in a tick.
const DIP_M: f64 = 0.02;

#[test]
#[ignore = "takes a minute; run it with --ignored --nocapture after a change to the limiter"]
fn a_million_ticks_of_everything() {
    let mut random = Random(5);
    let mut worst = Worst::default();
    for _ in 0..200 {
        let config = any_config(&mut random);
        let robot = ROBOTS[(random.bits() % 4) as usize];
        let seen = torment(&robot, config, random.bits(), 5000);
        worst.velocity = worst.velocity.max(seen.velocity);
        worst.acceleration = worst.acceleration.max(seen.acceleration);
        worst.jerk = worst.jerk.max(seen.jerk);
        worst.tool = worst.tool.max(seen.tool);
    }
    println!("largest shares of the limits: {worst:?}");
}

#[test]
fn equal_inputs_give_equal_bits() {
    let run = || {
        let config = LimiterConfig { max_tool_speed_m_s: 0.3, ..LimiterConfig::default() };
        let (mut limiter, chain, _) = at_rest(&ARM7, config, &mut Random(1));
        let mut torment = Torment::new(2);
        (0..3000)
            .flat_map(|_| {
                let wish = torment.next(&limiter, &chain, &config);
                limiter.limit(&wish).q.iter().map(|q| q.to_bits()).collect::<Vec<_>>()
            })
            .collect::<Vec<_>>()
    };
    assert_eq!(run(), run());
}

#[test]
fn each_limit_that_acts_is_named() {
    let config = LimiterConfig { max_tool_speed_m_s: 0.1, ..LimiterConfig::default() };
    let (mut limiter, chain, _) = at_rest(&ARM7, config, &mut Random(1));
    limiter.reset(&ARM7_HOME_RAD);
    assert!(!limiter.limit(&ARM7_HOME_RAD).acted.any());
    assert!(limiter.limit(&[0.0; 3]).acted.rejected);
    let mut wish = ARM7_HOME_RAD;
    wish[6] += 1.0;
    let mut jerk_at_first = false;
    let (mut velocity, mut landing) = (false, false);
    for tick in 0..240 {
        let acted = limiter.limit(&wish).acted;
        jerk_at_first |= tick == 0 && acted.jerk;
        velocity |= acted.velocity;
        landing |= acted.landing;
        assert!(!acted.tool_speed && !acted.position, "the wrist alone does not move the tool");
    }
    assert!(jerk_at_first && velocity && landing);
    wish[6] = chain.limits()[6].upper_rad + 0.1;
    assert!(limiter.limit(&wish).acted.position);
    wish = ARM7_HOME_RAD;
    wish[0] += 1.0;
    assert!((0..120).any(|_| limiter.limit(&wish).acted.tool_speed));
    assert!(limiter.limit_guarded(&ARM7_HOME_RAD, |_| false).acted.guard);
}

#[test]
fn the_tool_arrives_at_its_own_speed() {
    let config = LimiterConfig { max_tool_speed_m_s: 0.2, ..LimiterConfig::default() };
    let (mut limiter, chain, start) = at_rest(&ARM7, config, &mut Random(1));
    let mut random = Random(4);
    let mut q = start;
    for _ in 0..20 {
        let wish = random.configuration(&chain);
        let mut way_m = 0.0;
        let mut ticks = 0;
        while furthest(&q, &wish) > 1e-9 {
            let next = limiter.limit(&wish).q.to_vec();
            let tool_m = |q: &[f64]| chain.base_from_tip(q).translation.vector;
            way_m += (tool_m(&next) - tool_m(&q)).norm();
            q = next;
            ticks += 1;
            assert!(ticks < 20_000);
        }
        // Most of the time at the limit, besides getting there and what the joints need.
        let share = way_m / (0.2 * f64::from(ticks) / 240.0);
        assert!(share > 0.6, "{share} of the tool's speed");
    }
}

#[test]
fn what_the_tracker_commands_passes_unchanged() {
    let chain = ARM7.chain();
    let config = TrackerConfig::default();
    let mut tracker = Tracker::new(chain.clone(), config, &ARM7_HOME_RAD);
    // The tracker keeps acceleration limits and knows no jerk.
    let limits = LimiterConfig { max_jerk_rad_s3: f64::INFINITY, ..LimiterConfig::default() };
    let mut limiter = JointLimiter::new(chain.clone(), limits);
    limiter.reset(&ARM7_HOME_RAD);
    let mut random = Random(3);
    let mut q = chain.clamp(&ARM7_HOME_RAD);
    for _ in 0..20 {
        let goal = chain.base_from_tip(&random.configuration(&chain));
        for _ in 0..300 {
            q = tracker.step(&q, &goal).q_next;
            let out = limiter.limit(&q);
            assert!(furthest(&out.q, &q) < 1e-9, "changed by {}", furthest(&out.q, &q));
        }
    }
}

#[test]
fn a_configuration_out_of_range_is_named_and_never_moves() {
    let good = LimiterConfig::default();
    assert!(good.check().is_ok());
    for (config, field) in [
        (LimiterConfig { dt_s: f64::NAN, ..good }, "dt_s"),
        (LimiterConfig { dt_s: 2.0, ..good }, "dt_s"),
        (LimiterConfig { velocity_scale: 1.5, ..good }, "velocity_scale"),
        (LimiterConfig { max_acceleration_rad_s2: 0.0, ..good }, "max_acceleration_rad_s2"),
        (LimiterConfig { max_jerk_rad_s3: f64::NAN, ..good }, "max_jerk_rad_s3"),
        (LimiterConfig { max_tool_speed_m_s: -1.0, ..good }, "max_tool_speed_m_s"),
    ] {
        assert_eq!(config.check().unwrap_err().field, field);
        let mut limiter = JointLimiter::new(ARM7.chain(), config);
        assert!(limiter.reset(&ARM7_HOME_RAD));
        let out = limiter.limit(&[0.0, 0.0, 0.0, -1.0, 0.0, 1.0, 0.0]);
        assert_eq!(out.q[..], ARM7_HOME_RAD);
        assert!(out.acted.any());
    }
}

#[test]
fn a_reset_to_what_cannot_be_is_refused() {
    let (mut limiter, _, start) = at_rest(&ARM7, LimiterConfig::default(), &mut Random(1));
    assert!(!limiter.reset(&[0.0]));
    assert!(!limiter.reset(&[f64::NAN; 7]));
    assert!(!limiter.reset(&[1e9; 7]));
    assert_eq!(limiter.position()[..], start[..]);
}
