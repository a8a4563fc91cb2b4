//! What the injector of faults does to messages: each fault by itself, and all of them the same way
//! again.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests fail by panicking")]

use std::time::{Duration, Instant};

use reflexarc_drivers::link::{Direction, FaultCounts, FaultPlan, FaultRule, Freeze, LinkFaults};
use reflexarc_drivers::msg::{Header, JointState};
use reflexarc_drivers::{
    Bus, Clock, Link, Publisher, QueueSubscription, Subscription, Topic, Topics, ZenohConfig,
};

const MS: u64 = 1_000_000;

/// A robot's joints, heard through faults.
struct Rig {
    clock: Clock,
    faults: LinkFaults,
    robot: Publisher<JointState>,
    all: QueueSubscription<JointState>,
    newest: Subscription<JointState>,
    sent: u32,
}

/// What arrived: time, sequence number, header stamp in ms, first joint.
type Arrival = (u64, i64, u64, f64);

fn topic() -> Topic<JointState> {
    Topics::new("arm").joint_states
}

impl Rig {
    fn new(rule: FaultRule) -> Self {
        Self::with_plan(FaultPlan { seed: 7, rules: vec![rule] })
    }

    fn with_plan(plan: FaultPlan) -> Self {
        let (bus, clock) = (Bus::new(), Clock::manual(1_000 * MS));
        let faults = LinkFaults::new(plan, clock.clone()).unwrap();
        let robot = Link::in_process(&bus, clock.clone()).publisher(&topic()).unwrap();
        let link = faults.wrap(&Link::in_process(&bus, clock.clone()));
        let all = link.subscribe_queue(&topic(), 4096).unwrap();
        let newest = link.subscribe(&topic()).unwrap();
        Self { clock, faults, robot, all, newest, sent: 0 }
    }

    /// A message each 10 ms; what arrived in the queue, in its order.
    fn run(&mut self, messages: u32) -> Vec<Arrival> {
        let mut arrivals = Vec::new();
        for _ in 0..messages {
            let ms = 1_000 + 10 * u64::from(self.sent);
            self.clock.set_ns(ms * MS);
            let state = JointState {
                header: Header::new(ms * MS, "base"),
                position: vec![f64::from(self.sent), 1.0],
                ..JointState::default()
            };
            self.robot.put(&state).unwrap();
            self.faults.pump();
            self.sent += 1;
            while let Some(sample) = self.all.try_recv() {
                let first = sample.value.position.first().copied().unwrap_or(f64::NAN);
                arrivals.push((ms, sample.sequence, sample.value.header.stamp_ns() / MS, first));
            }
        }
        arrivals
    }

    fn counts(&self) -> FaultCounts {
        self.faults.counts_by_topic()[&("arm/joint_states".to_owned(), Direction::In)]
    }
}

fn rule() -> FaultRule {
    FaultRule { topics: vec!["arm/joint*".into()], direction: Direction::In, ..FaultRule::default() }
}

#[test]
fn losses_have_their_chance_and_show_as_gaps() {
    let mut rig = Rig::new(FaultRule { loss: 0.3, ..rule() });
    let arrived = rig.run(2000).len() as u64;
    // Two subscriptions, each with chances of its own.
    let counts = rig.counts();
    assert_eq!(counts.seen, 4000);
    assert!((1100..1300).contains(&counts.lost), "{counts:?}");
    let (all, newest) = (rig.all.stats(), rig.newest.stats());
    assert_eq!(all.received, arrived);
    assert_eq!(counts.lost, 4000 - all.received - newest.received);
    assert!(all.gaps > 500 && all.gaps + all.received <= 2000);
    assert_eq!(rig.robot.stats().failed, 0, "the publisher does not notice");
}

#[test]
fn a_delay_keeps_order_and_source_times_and_ends_when_due() {
    let mut rig = Rig::new(FaultRule { delay_ms: 25, jitter_ms: 40, ..rule() });
    let arrivals = rig.run(500);
    assert!(arrivals.len() > 480);
    for (index, (at_ms, sequence, stamp_ms, _)) in arrivals.iter().enumerate() {
        assert_eq!(*sequence, index as i64 + 1);
        let late_ms = at_ms - stamp_ms;
        assert!((25..=80).contains(&late_ms), "{late_ms}");
    }
    assert_eq!(rig.all.stats().gaps, 0);
    assert!(rig.faults.waiting().0 > 0);
    rig.clock.set_ns(rig.faults.waiting().1.unwrap());
    rig.faults.pump();
    assert_eq!(rig.all.stats().received, 500);
    assert_eq!(rig.faults.waiting(), (0, None));
}

#[test]
fn overtaken_messages_come_late_and_duplicates_twice() {
    let mut rig = Rig::new(FaultRule { reorder: 0.1, reorder_ms: 25, duplicate: 0.1, ..rule() });
    let arrivals = rig.run(1000);
    let (all, counts) = (rig.all.stats(), rig.counts());
    assert!(counts.reordered > 100 && counts.duplicated > 100, "{counts:?}");
    assert!(all.reordered > 50 && all.duplicates > 50, "{all:?}");
    assert!(arrivals.windows(2).any(|two| two[0].1 > two[1].1));
    // A newest-value subscription never goes back.
    assert!(rig.newest.stats().reordered > 0);
}

#[test]
fn broken_bytes_are_refused_and_spoilt_numbers_arrive() {
    let mut rig = Rig::new(FaultRule { truncate: 0.5, ..rule() });
    rig.run(400);
    let all = rig.all.stats();
    assert!(all.malformed > 150 && all.received + all.malformed == 400, "{all:?}");

    let mut rig = Rig::new(FaultRule { corrupt: 1.0, corrupt_attachment: 1.0, ..rule() });
    rig.run(400);
    assert_eq!(rig.counts().corrupted, 1600);
    assert!(rig.all.stats().malformed > 0);

    let mut rig = Rig::new(FaultRule { not_finite: 1.0, ..rule() });
    let arrivals = rig.run(100);
    assert_eq!(arrivals.len(), 100);
    assert_eq!(rig.counts().not_finite, 200);
    assert!(rig.newest.latest().unwrap().value.position.iter().any(|q| !q.is_finite()));
}

#[test]
fn freezes_are_silent_or_say_the_last_thing_again() {
    let window = FaultRule { from_ms: 200, for_ms: Some(100), ..rule() };
    let mut rig = Rig::new(FaultRule { freeze: Some(Freeze::Silent), ..window.clone() });
    let times: Vec<u64> = rig.run(100).iter().map(|(at_ms, ..)| at_ms - 1000).collect();
    let expected: Vec<u64> = (0..20).chain(30..100).map(|tick| tick * 10).collect();
    assert_eq!(times, expected);

    let mut rig = Rig::new(FaultRule { freeze: Some(Freeze::Repeat), ..window.clone() });
    let arrivals = rig.run(40);
    assert_eq!(arrivals.len(), 40);
    for (at_ms, _, stamp_ms, first) in &arrivals[20..30] {
        assert!(*stamp_ms == 1190 && *at_ms > 1190);
        assert!((first - 19.0).abs() < 1e-12);
    }
    assert!((arrivals[30].3 - 30.0).abs() < 1e-12);

    let mut rig = Rig::new(FaultRule { freeze: Some(Freeze::Stuck), ..window });
    for (at_ms, _, stamp_ms, first) in &rig.run(30)[20..30] {
        assert_eq!(stamp_ms, at_ms);
        assert!((first - 19.0).abs() < 1e-12);
    }
}

#[test]
fn a_wrong_clock_shows_in_header_and_attachment() {
    let mut rig = Rig::new(FaultRule { clock_shift_ms: -300, ..rule() });
    let arrivals = rig.run(5);
    assert_eq!(arrivals[4].2, 740);
    assert_eq!(rig.newest.latest().unwrap().source_ns, 740 * MS);
    let mut rig = Rig::new(FaultRule { clock_shift_ms: 300, ..rule() });
    assert_eq!(rig.run(1)[0].2, 1300);
}

#[test]
fn what_the_wrapped_link_publishes_passes_too_and_others_do_not() {
    let (bus, clock) = (Bus::new(), Clock::manual(0));
    let plan = FaultPlan {
        seed: 1,
        rules: vec![FaultRule { direction: Direction::Out, loss: 1.0, ..FaultRule::default() }],
    };
    let faults = LinkFaults::new(plan, clock.clone()).unwrap();
    let plain = Link::in_process(&bus, clock);
    let wrapped = faults.wrap(&plain);
    let mut heard = plain.subscribe(&topic()).unwrap();
    let (lossy, sound) = (wrapped.publisher(&topic()).unwrap(), plain.publisher(&topic()).unwrap());
    assert_ne!(lossy.gid(), sound.gid());
    lossy.put(&JointState::default()).unwrap();
    assert!(heard.latest().is_none());
    sound.put(&JointState::default()).unwrap();
    assert!(heard.latest().is_some());
    let counts = faults.counts_by_topic();
    assert_eq!(counts.len(), 1);
    assert_eq!(counts[&("arm/joint_states".to_owned(), Direction::Out)].lost, 1);
}

/// Everything at once.
fn wild(seed: u64) -> FaultPlan {
    let wild = FaultRule {
        loss: 0.1,
        delay_ms: 5,
        jitter_ms: 20,
        reorder: 0.1,
        duplicate: 0.1,
        corrupt: 0.05,
        corrupt_attachment: 0.05,
        truncate: 0.05,
        not_finite: 0.05,
        ..rule()
    };
    let frozen = FaultRule {
        from_ms: 300,
        for_ms: Some(100),
        every_ms: Some(500),
        freeze: Some(Freeze::Repeat),
        ..rule()
    };
    FaultPlan { seed, rules: vec![wild, frozen] }
}

#[test]
fn the_same_seed_does_the_same_again() {
    let run = |seed| {
        let mut rig = Rig::with_plan(wild(seed));
        let arrivals = rig.run(600);
        let bits: Vec<_> = arrivals.iter().map(|(at, n, stamp, q)| (*at, *n, *stamp, q.to_bits())).collect();
        (bits, rig.counts(), rig.all.stats(), rig.newest.stats())
    };
    assert_eq!(run(3), run(3));
    assert_ne!(run(3), run(4));
}

#[test]
fn plans_are_read_from_json_and_unknown_keys_are_refused() {
    let plan = wild(5);
    let text = serde_json::to_string(&plan).unwrap();
    assert_eq!(serde_json::from_str::<FaultPlan>(&text).unwrap(), plan);
    let short = r#"{"rules": [{"topics": ["camera/*"], "loss": 0.3, "freeze": "silent"}]}"#;
    let plan: FaultPlan = serde_json::from_str(short).unwrap();
    assert_eq!((plan.seed, plan.rules.len(), plan.rules[0].reorder_ms), (0, 1, 20));
    assert!(serde_json::from_str::<FaultPlan>(r#"{"rules": [{"lose": 0.3}]}"#).is_err());
}

#[test]
fn over_zenoh_a_thread_delivers_late_messages_in_order() {
    let clock = Clock::system();
    let server = Link::zenoh(ZenohConfig::default(), clock.clone()).unwrap();
    let connect = server.locators().to_vec();
    let plain = Link::zenoh(ZenohConfig { connect, ..ZenohConfig::default() }, clock.clone()).unwrap();
    let rule = FaultRule { delay_ms: 30, jitter_ms: 10, ..rule() };
    let faults = LinkFaults::new(FaultPlan { seed: 2, rules: vec![rule] }, clock.clone()).unwrap();
    let wrapped = faults.wrap(&plain);
    drop(plain);
    let mut all = wrapped.subscribe_queue(&topic(), 256).unwrap();
    let robot = server.publisher(&topic()).unwrap();
    let begun = Instant::now();
    while all.stats().received == 0 && begun.elapsed() < Duration::from_secs(5) {
        robot.put(&JointState::default()).unwrap();
        std::thread::sleep(Duration::from_millis(2));
    }
    let mut last = 0;
    for _ in 0..20 {
        robot.put(&JointState::default()).unwrap();
    }
    let sent = robot.stats().sent as i64;
    while last < sent {
        let sample = all.recv_timeout(Duration::from_secs(5)).unwrap();
        assert!(sample.sequence > last);
        assert!(sample.received_ns - sample.source_ns >= 30 * MS);
        last = sample.sequence;
    }
    // The thread goes when nobody needs it; a message on its way goes with its subscription.
    robot.put(&JointState::default()).unwrap();
    drop((all, wrapped, faults));
}
