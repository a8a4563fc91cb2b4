//! Faults of the policy and of the link, seen from outside: the arm holds, the runtime lives, and what
//! happened is counted.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests fail by panicking")]

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::Builder;
use std::time::Duration;

use common::{HZ, Plant, Rig, START_NS, Say, Script, reach, tick_ns};
use reflexarc_drivers::link::{FaultRule, Freeze, LinkFaults};
use reflexarc_drivers::{Bus, Clock, Link};
use reflexarc_runtime::failsafe::Cause;
use reflexarc_runtime::fault::{FaultProfile, Pace, PolicyFault, PolicyFaults, PolicyRule};
use reflexarc_runtime::{Config, HoldReason, Mode, Runtime, SenseFault, StopCause, realtime};

/// A plant, and a runtime behind a profile of faults.
struct Faulty {
    rig: Rig,
    link: LinkFaults,
    policy: PolicyFaults,
}

impl Faulty {
    fn new(profile: &FaultProfile) -> Self {
        let (bus, clock) = (Bus::new(), Clock::manual(START_NS));
        let link = LinkFaults::new(profile.link_plan(), clock.clone()).unwrap();
        let script = Script::new(reach());
        let spoilt = profile.spoil(Box::new(script.clone()), START_NS, Pace::Lockstep);
        let policy = spoilt.faults();
        let wrapped = link.wrap(&Link::in_process(&bus, clock.clone()));
        let rig = Rig {
            plant: Plant::new(Link::in_process(&bus, clock.clone())),
            runtime: Runtime::new(Config::default(), wrapped, Box::new(spoilt)).unwrap(),
            clock,
            script,
            tick: 0,
        };
        Self { rig, link, policy }
    }

    fn with(fault: PolicyFault) -> Self {
        let rule = PolicyRule { from_ms: 500, ..PolicyRule::new(fault) };
        Self::new(&FaultProfile { policy: vec![rule], ..FaultProfile::default() })
    }

    fn run(&mut self, ticks: u64) -> Mode {
        for _ in 0..ticks {
            let now_ns = tick_ns(self.rig.tick);
            self.rig.clock.set_ns(now_ns);
            self.rig.plant.step(self.rig.tick, now_ns);
            self.link.pump();
            self.rig.tick += 1;
            self.rig.runtime.step(now_ns);
        }
        self.rig.runtime.mode()
    }
}

#[test]
fn a_policy_that_panics_is_held_counted_and_in_the_end_left_alone() {
    let mut faulty = Faulty::with(PolicyFault::Panic);
    assert_eq!(faulty.run(60), Mode::Active);
    assert_eq!(faulty.run(2 * HZ), Mode::Holding(HoldReason::PolicyFailed));
    let report = faulty.rig.runtime.report();
    assert_eq!(report.policy_panics, 3);
    assert!(report.policy_errors > 50, "still asked for, still an error");
    assert_eq!(faulty.policy.counts().of(PolicyFault::Panic), 3, "not called again");
    let q = faulty.rig.plant.q.clone();
    faulty.run(60);
    assert_eq!(faulty.rig.plant.q, q);
}

#[test]
fn one_panic_is_forgiven() {
    let rule = PolicyRule { from_ms: 500, for_ms: Some(10), ..PolicyRule::new(PolicyFault::Panic) };
    let mut faulty = Faulty::new(&FaultProfile { policy: vec![rule], ..FaultProfile::default() });
    assert_eq!(faulty.run(3 * HZ), Mode::Active);
    assert_eq!(faulty.rig.runtime.report().policy_panics, 1);
}

#[test]
fn a_policy_that_never_answers_leads_to_a_hold_and_then_to_a_stop() {
    let mut faulty = Faulty::with(PolicyFault::Hang);
    assert_eq!(faulty.run(60), Mode::Active);
    let mode = faulty.run(2 * HZ);
    assert!(!matches!(mode, Mode::Active | Mode::Waiting(_)), "{mode}");
    let q = faulty.rig.plant.q.clone();
    faulty.run(HZ);
    assert_eq!(faulty.rig.plant.q, q);
    assert_eq!(faulty.policy.counts().of(PolicyFault::Hang), 1, "never asked again");
    // Held for ten seconds, it is stopped for good, and that is said.
    assert_eq!(faulty.run(9 * HZ), Mode::Stopped(StopCause::Failsafe(Cause::MindStalled)));
    assert_eq!(faulty.rig.plant.q, q);
}

#[test]
fn a_slow_policy_answers_later_and_its_decisions_age() {
    let slow = |delay_ms| {
        let rule = PolicyRule { delay_ms, ..PolicyRule::new(PolicyFault::Slow) };
        let mut faulty = Faulty::new(&FaultProfile { policy: vec![rule], ..FaultProfile::default() });
        faulty.run(2 * HZ);
        faulty.rig.runtime.report()
    };
    // 100 ms and one period of the mind later, and asked for again when that is there.
    let report = slow(100);
    assert!((report.observation_to_command.p50_us - 116_667.0).abs() < 1_500.0);
    assert!((15..=20).contains(&report.decisions), "{}", report.decisions);
    assert!(report.modes["active"] > 300);
    // Slower than any decision may be old.
    assert!(!slow(300).modes.contains_key("active"));
}

#[test]
fn garbage_is_refused_by_name_and_frozen_answers_expire() {
    for (fault, modes) in [
        (PolicyFault::NotFinite, &["holding_refused"][..]),
        (PolicyFault::Stale, &["holding_refused"]),
        (PolicyFault::Future, &["holding_refused"]),
        (PolicyFault::Freeze, &["holding_refused", "holding_expired"]),
        (PolicyFault::Fail, &["holding_policy_failed"]),
    ] {
        let mut faulty = Faulty::with(fault);
        assert_eq!(faulty.run(100), Mode::Active, "{fault:?}");
        let mode = faulty.run(HZ);
        assert!(modes.contains(&mode.key()), "{fault:?}: {mode}");
    }
}

#[test]
fn a_camera_that_freezes_is_noticed_unless_it_lies() {
    let run = |freeze| {
        let rule = FaultRule {
            topics: vec!["camera/wrist/*".into()],
            from_ms: 500,
            freeze: Some(freeze),
            ..FaultRule::default()
        };
        let mut faulty = Faulty::new(&FaultProfile { link: vec![rule], ..FaultProfile::default() });
        assert_eq!(faulty.run(120), Mode::Active);
        faulty.run(120)
    };
    for freeze in [Freeze::Silent, Freeze::Repeat] {
        let mode = run(freeze);
        let Mode::Holding(HoldReason::Sense(SenseFault::Stale { .. })) = mode else {
            panic!("{freeze:?}: {mode}");
        };
    }
    // Fresh stamps on an old picture: nothing here can tell. The policy still sees the other camera.
    assert_eq!(run(Freeze::Stuck), Mode::Active);
}

#[test]
fn the_same_profile_gives_the_same_run() {
    let profile = FaultProfile::load("everything").unwrap();
    let run = || {
        let mut faulty = Faulty::new(&profile);
        let modes: Vec<&str> = (0..3 * HZ).map(|_| faulty.run(1).key()).collect();
        let bits: Vec<u64> = faulty.rig.plant.q.iter().map(|q| q.to_bits()).collect();
        (modes, bits, faulty.link.counts(), faulty.policy.counts())
    };
    let first = run();
    assert_eq!(first, run());
    assert!(first.2.done() > 100);
}

#[test]
fn between_threads_a_dead_policy_is_held_and_the_end_is_orderly() {
    let (bus, clock) = (Bus::new(), Clock::system());
    let mut plant = Plant::new(Link::in_process(&bus, clock.clone()));
    let mut config = Config::default();
    // A busy machine keeps these.
    config.senses.camera_max_age_ms = 2_000;
    config.senses.tactile_max_age_ms = 2_000;
    config.senses.joints_max_age_ms = 2_000;
    let script = Script::new(reach());
    script.says(Say::Verdict(reach()));
    let rule = PolicyRule { from_ms: 600, ..PolicyRule::new(PolicyFault::Hang) };
    let profile = FaultProfile { policy: vec![rule], ..FaultProfile::default() };
    let spoilt = profile.spoil(Box::new(script), clock.now_ns(), Pace::RealTime);
    let policy = spoilt.faults();
    let runtime = Runtime::new(config, Link::in_process(&bus, clock.clone()), Box::new(spoilt)).unwrap();
    let stop = Arc::new(AtomicBool::new(false));
    let ended = Arc::new(AtomicBool::new(false));
    let robot = Builder::new()
        .name("robot".into())
        .spawn({
            let (clock, ended) = (clock.clone(), Arc::clone(&ended));
            move || {
                let mut tick = 0;
                while !ended.load(Ordering::Acquire) {
                    plant.step(tick, clock.now_ns());
                    tick += 1;
                    std::thread::sleep(Duration::from_micros(1_000_000 / HZ));
                }
            }
        })
        .unwrap();
    let mut rests = 0;
    let report = realtime::run(runtime, &clock, &stop, |progress| {
        let hung = policy.counts().of(PolicyFault::Hang) > 0;
        rests += u32::from(hung && !matches!(progress.mode, Mode::Active | Mode::Waiting(_)));
        if rests >= 2 || progress.time_s > 20.0 {
            policy.release();
            stop.store(true, Ordering::Release);
        }
    })
    .unwrap();
    ended.store(true, Ordering::Release);
    robot.join().unwrap();
    assert!(rests >= 2, "{}", report.to_text());
    assert!(report.modes["active"] > 0, "{}", report.to_text());
}
