//! One suite for every link: what holds in process must hold over zenoh.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests fail by panicking")]

use std::time::{Duration, Instant};

use reflexarc_drivers::link::{FaultPlan, FaultRule, LinkFaults};
use reflexarc_drivers::msg::{BoolMsg, Header, Image, StringMsg};
use reflexarc_drivers::{
    Attachment, Bus, Clock, Link, LinkError, Message, Publisher, Qos, SubscriptionStats, Topic, Topics,
    ZenohConfig,
};

/// How long anything may take to arrive.
const PATIENCE: Duration = Duration::from_secs(5);

/// Two nodes that hear each other.
struct Pair {
    a: Link,
    b: Link,
}

fn in_process() -> Pair {
    let bus = Bus::new();
    Pair { a: Link::in_process(&bus, Clock::manual(1_000)), b: Link::in_process(&bus, Clock::manual(2_000)) }
}

fn zenoh() -> Pair {
    let a = Link::zenoh(ZenohConfig::default(), Clock::manual(1_000)).unwrap();
    let config = ZenohConfig { connect: a.locators().to_vec(), ..ZenohConfig::default() };
    let b = Link::zenoh(config, Clock::manual(2_000)).unwrap();
    until("the peers meet", || (a.peers() == 1 && b.peers() == 1).then_some(()));
    Pair { a, b }
}

/// The same two through the injector of faults, whose only rule does nothing to any message.
fn faultless(Pair { a, b }: Pair, clock: Clock) -> Pair {
    let plan = FaultPlan { seed: 1, rules: vec![FaultRule::default()] };
    let faults = LinkFaults::new(plan, clock).unwrap();
    Pair { a: faults.wrap(&a), b: faults.wrap(&b) }
}

/// Waits for `condition`.
fn until<T>(what: &str, mut condition: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(value) = condition() {
            return value;
        }
        assert!(start.elapsed() < PATIENCE, "waited in vain until {what}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Publishes until the subscription hears it: over a network, a declaration takes a moment to arrive.
fn warm_up<M: Message>(publisher: &Publisher<M>, message: &M, heard: impl Fn() -> bool) {
    until("the first message arrives", || {
        publisher.put(message).unwrap();
        std::thread::sleep(Duration::from_millis(5));
        heard().then_some(())
    });
    // Let those on the way arrive, so that counts start from rest.
    std::thread::sleep(Duration::from_millis(50));
}

fn attachment(sequence: i64, publisher: u8) -> [u8; 33] {
    Attachment { sequence, source_ns: 500, gid: [publisher; 16] }.encode()
}

fn delivers_and_keeps_the_newest(Pair { a, b }: Pair) {
    let topic = Topics::new("arm").camera("scene");
    let mut subscription = b.subscribe(&topic).unwrap();
    let publisher = a.publisher(&topic).unwrap();
    assert!(subscription.latest().is_none());
    let frame = |shade: u8| Image::rgb8(Header::new(7, "scene"), 96, 96, vec![shade; 96 * 96 * 3]).unwrap();
    warm_up(&publisher, &frame(0), || subscription.stats().received > 0);
    let (before, sent_before) = (subscription.stats(), publisher.stats().sent);
    for shade in 1..=20 {
        publisher.put(&frame(shade)).unwrap();
        // Slower than a camera's worst: a transport may drop frames that come faster than it sends.
        std::thread::sleep(Duration::from_millis(2));
    }
    let mut waits = 0;
    let sample = until("the last frame arrives", || {
        // A busy machine may have dropped even the last one: that is a camera's right.
        waits += 1;
        if waits % 300 == 0 {
            publisher.put(&frame(20)).unwrap();
        }
        subscription.latest().filter(|sample| sample.value.data.first() == Some(&20))
    });
    assert_eq!(sample.value, frame(20));
    assert_eq!(sample.source_ns, 1_000, "stamped by the publisher's clock");
    assert_eq!(sample.received_ns, 2_000, "and by the subscriber's");
    assert_eq!(sample.age_ns(3_500), 2_500);
    let after = subscription.stats();
    let sent = publisher.stats().sent - sent_before;
    assert_eq!(after.received + after.gaps, before.received + before.gaps + sent);
    assert_eq!((after.malformed, after.duplicates, after.reordered), (0, 0, 0));
    // The newest value stays.
    assert_eq!(subscription.latest().unwrap().sequence, sample.sequence);
    assert!(subscription.latest_unread().is_none());
    publisher.put(&frame(21)).unwrap();
    let unread = until("one more frame arrives", || subscription.latest_unread());
    assert_eq!(unread.sequence, sample.sequence + 1);
    assert_eq!(publisher.stats().failed, 0);
}

fn counts_gaps_duplicates_and_late_ones(Pair { a, b }: Pair) {
    let topic = Topic::<StringMsg>::new("text");
    let mut newest = b.subscribe(&topic).unwrap();
    let mut queue = b.subscribe_queue(&topic, 64).unwrap();
    let publisher = a.publisher(&topic).unwrap();
    warm_up(&publisher, &StringMsg::new("warm"), || {
        newest.stats().received > 0 && queue.stats().received > 0
    });
    let (before, queue_before) = (newest.stats(), queue.stats());
    while queue.try_recv().is_some() {}
    // Publisher 1 counts from 5; publisher 2 is publisher 1 after a restart.
    for (sequence, from) in [(5, 1), (6, 1), (10, 1), (10, 1), (8, 1), (1, 2), (3, 2)] {
        let payload = StringMsg::new(format!("{from}:{sequence}")).encode();
        a.inject(&topic, &payload, Some(&attachment(sequence, from))).unwrap();
    }
    until("the last arrives", || (newest.stats().gaps > before.gaps + 3).then_some(()));
    until("the queue has it too", || (queue.stats().received >= queue_before.received + 6).then_some(()));
    let difference = |after: SubscriptionStats, before: SubscriptionStats| {
        (
            after.received - before.received,
            after.gaps - before.gaps,
            after.duplicates - before.duplicates,
            after.reordered - before.reordered,
            after.malformed - before.malformed,
        )
    };
    assert_eq!(difference(newest.stats(), before), (5, 4, 1, 1, 0));
    assert_eq!(difference(queue.stats(), queue_before), (6, 4, 1, 1, 0));
    assert_eq!(newest.latest().unwrap().value.data, "2:3");
    let texts: Vec<String> = std::iter::from_fn(|| queue.try_recv()).map(|s| s.value.data.clone()).collect();
    assert_eq!(texts, ["1:5", "1:6", "1:10", "1:8", "2:1", "2:3"]);
}

fn malformed_bytes_are_counted_and_named(Pair { a, b }: Pair) {
    let topic = Topic::<BoolMsg>::new("flag");
    let mut subscription = b.subscribe(&topic).unwrap();
    let publisher = a.publisher(&topic).unwrap();
    warm_up(&publisher, &BoolMsg::new(true), || subscription.stats().received > 0);
    let good = BoolMsg::new(false).encode();
    let wait =
        |count: u64| until("it is counted", || (subscription.stats().malformed == count).then_some(()));
    a.inject(&topic, &[0, 1, 0, 0, 2], Some(&attachment(1, 1))).unwrap();
    wait(1);
    assert_eq!(subscription.last_error().unwrap(), "topic flag: data: expected 0 or 1, found 2");
    a.inject(&topic, &[], Some(&attachment(2, 1))).unwrap();
    wait(2);
    a.inject(&topic, &good, None).unwrap();
    wait(3);
    assert_eq!(subscription.last_error().unwrap(), "topic flag: attachment: expected 33 bytes, found none");
    a.inject(&topic, &good, Some(&[1, 2, 3])).unwrap();
    wait(4);
    assert!(subscription.latest().unwrap().value.data, "the last good value stays");
    a.inject(&topic, &good, Some(&attachment(3, 1))).unwrap();
    until("the good one arrives", || (!subscription.latest().unwrap().value.data).then_some(()));
    assert_eq!(subscription.stats().gaps, 0, "malformed messages did arrive");
    // Another type on the same name is another key: it never reaches the subscription.
    a.publisher(&Topic::<StringMsg>::new("flag")).unwrap().put(&StringMsg::new("no")).unwrap();
    std::thread::sleep(Duration::from_millis(20));
    assert_eq!(subscription.stats().malformed, 4);
}

fn a_queue_loses_nothing_within_its_capacity(Pair { a, b }: Pair) {
    let topic = Topics::new("").estop;
    let mut queue = b.subscribe_queue(&topic, 600).unwrap();
    let mut small = b.subscribe_queue(&topic, 4).unwrap();
    let publisher = a.publisher(&topic).unwrap();
    warm_up(&publisher, &BoolMsg::new(false), || queue.stats().received > 0 && small.stats().received > 0);
    while queue.try_recv().is_some() {}
    while small.try_recv().is_some() {}
    let (before, small_before) = (queue.stats(), small.stats());
    for number in 0..500 {
        publisher.put(&BoolMsg::new(number % 3 == 0)).unwrap();
    }
    until("all arrive", || (queue.stats().received == before.received + 500).then_some(()));
    until("all arrive", || (small.stats().received == small_before.received + 500).then_some(()));
    let mut last = None;
    for number in 0..500 {
        let sample = queue.recv_timeout(PATIENCE).unwrap();
        assert_eq!(sample.value.data, number % 3 == 0);
        assert!(last.is_none_or(|last| sample.sequence == last + 1));
        last = Some(sample.sequence);
    }
    assert!(queue.try_recv().is_none());
    assert_eq!(queue.stats().overwritten_unread, before.overwritten_unread);
    // What comes past its capacity is lost, and that is said.
    assert_eq!(small.stats().overwritten_unread, small_before.overwritten_unread + 496);
    let kept: Vec<i64> = std::iter::from_fn(|| small.try_recv()).map(|sample| sample.sequence).collect();
    let first = last.unwrap() - 499;
    assert_eq!(kept, [first, first + 1, first + 2, first + 3]);
}

fn taps_record_both_directions(Pair { a, b }: Pair) {
    let topic = Topic::<StringMsg>::new("notes");
    let (tap_a, tap_b, full) = (a.tap(1000), b.tap(1000), b.tap(1));
    let mut subscription = b.subscribe(&topic).unwrap();
    let second = b.subscribe(&topic).unwrap();
    let publisher = a.publisher(&topic).unwrap();
    warm_up(&publisher, &StringMsg::new("warm"), || {
        subscription.stats().received > 1 && second.stats().received > 0
    });
    while tap_a.try_recv().is_some() {}
    while tap_b.try_recv().is_some() {}
    let before = [&subscription, &second].map(|subscription| subscription.stats().received);
    publisher.put(&StringMsg::new("x")).unwrap();
    let sequence = publisher.stats().sent as i64;
    let out = tap_a.recv_timeout(PATIENCE).unwrap();
    assert!(out.outgoing);
    assert_eq!(
        (&*out.topic_name, out.type_name, out.schema, out.log_ns, out.publish_ns, out.sequence),
        ("notes", "std_msgs/msg/String", StringMsg::SCHEMA, 1_000, 1_000, sequence)
    );
    let received = tap_b.recv_timeout(PATIENCE).unwrap();
    assert!(!received.outgoing);
    assert_eq!((received.log_ns, received.publish_ns, received.sequence), (2_000, 1_000, sequence));
    assert_eq!(
        Attachment::decode(received.attachment.as_ref().map(|bytes| &bytes[..])).unwrap().gid,
        publisher.gid()
    );
    let sample =
        until("the value is there", || subscription.latest().filter(|sample| sample.value.data == "x"));
    assert_eq!((out.arrival, received.arrival), (0, sample.arrival), "taps and readers count alike");
    assert_eq!(received.bytes, out.bytes);
    assert_eq!(&*received.bytes, StringMsg::new("x").encode());
    until("both subscriptions have it", || {
        ([&subscription, &second].map(|subscription| subscription.stats().received)
            == before.map(|count| count + 1))
        .then_some(())
    });
    assert!(tap_b.try_recv().is_none(), "two subscriptions, one record");
    // The other subscription takes over; malformed bytes are recorded too.
    drop(subscription);
    a.inject(&topic, &[1, 2, 3], None).unwrap();
    let malformed = tap_b.recv_timeout(PATIENCE).unwrap();
    assert_eq!((&*malformed.bytes, malformed.sequence), (&[1, 2, 3][..], 0));
    assert_eq!(tap_b.dropped(), 0);
    assert!(full.dropped() > 0, "a slow reader loses records, not the link");
    // A dropped tap costs and counts nothing more.
    drop(tap_a);
    publisher.put(&StringMsg::new("y")).unwrap();
    assert!(tap_b.recv_timeout(PATIENCE).is_some());
}

fn late_subscribers_get_latched_values(Pair { a, b }: Pair) {
    let topics = Topics::new("");
    let publisher = a.publisher(&topics.instruction).unwrap();
    publisher.put(&StringMsg::new("first")).unwrap();
    publisher.put(&StringMsg::new("pick up the red mug")).unwrap();
    for _ in 0..2 {
        let mut late = b.subscribe(&topics.instruction).unwrap();
        // The value before may still be under way when the subscription is made.
        let sample =
            until("the latched value arrives", || late.latest().filter(|sample| sample.sequence == 2));
        assert_eq!(sample.value.data, "pick up the red mug");
        assert_eq!(sample.source_ns, 1_000);
        assert_eq!(late.stats().gaps, 0);
    }
    let mut queue = b.subscribe_queue(&topics.instruction, 8).unwrap();
    assert_eq!(queue.recv_timeout(PATIENCE).unwrap().value.data, "pick up the red mug");
    publisher.put(&StringMsg::new("stop")).unwrap();
    assert_eq!(queue.recv_timeout(PATIENCE).unwrap().value.data, "stop");
    assert!(queue.recv_timeout(Duration::from_millis(50)).is_none(), "each value once");
    // A topic that is not latched has nothing for latecomers.
    let text = Topic::<StringMsg>::new("text");
    a.publisher(&text).unwrap().put(&StringMsg::new("gone")).unwrap();
    let mut late = b.subscribe(&text).unwrap();
    std::thread::sleep(Duration::from_millis(50));
    assert!(late.latest().is_none());
    // What a publisher latched goes with it.
    drop(publisher);
    std::thread::sleep(Duration::from_millis(50));
    let mut after = b.subscribe(&topics.instruction).unwrap();
    std::thread::sleep(Duration::from_millis(100));
    assert!(after.latest().is_none());
}

fn bad_requests_are_refused(Pair { a, .. }: Pair) {
    for name in ["", "a//b", "camera/*", "with space"] {
        let topic = Topic::<BoolMsg>::new(name);
        assert!(matches!(a.subscribe(&topic), Err(LinkError::Topic { .. })), "{name:?}");
        assert!(matches!(a.subscribe_queue(&topic, 1), Err(LinkError::Topic { .. })), "{name:?}");
        assert!(matches!(a.publisher(&topic), Err(LinkError::Topic { .. })), "{name:?}");
    }
    let publisher = a.publisher(&Topic::<StringMsg>::new("text")).unwrap();
    let error = publisher.put(&StringMsg::new("x".repeat(9 << 20))).unwrap_err();
    assert!(matches!(error, LinkError::TooLarge { .. }), "{error}");
    assert_eq!((publisher.stats().sent, publisher.stats().failed), (0, 1));
    publisher.put(&StringMsg::new("small")).unwrap();
}

fn goes_on_when_the_other_goes(Pair { a, b }: Pair) {
    let topic = Topic::<StringMsg>::new("text").with_qos(Qos::SAFETY);
    let mut subscription = b.subscribe(&topic).unwrap();
    let publisher = a.publisher(&topic).unwrap();
    let own = a.subscribe(&topic).unwrap();
    warm_up(&publisher, &StringMsg::new("warm"), || subscription.stats().received > 0);
    drop(b);
    assert!(subscription.latest().is_some(), "a subscription outlives its link");
    drop(subscription);
    let before = own.stats().received;
    for number in 0..50 {
        let start = Instant::now();
        publisher.put(&StringMsg::new(format!("{number}"))).unwrap();
        assert!(start.elapsed() < Duration::from_secs(1));
    }
    until("the own messages arrive", || (own.stats().received == before + 50).then_some(()));
}

macro_rules! suite {
    ($($case:ident),* $(,)?) => {
        mod in_process_link {
            $(#[test]
            fn $case() {
                super::$case(super::in_process());
            })*
        }
        mod zenoh_link {
            $(#[test]
            fn $case() {
                super::$case(super::zenoh());
            })*
        }
        mod faultless_in_process_link {
            $(#[test]
            fn $case() {
                super::$case(super::faultless(super::in_process(), super::Clock::manual(0)));
            })*
        }
        mod faultless_zenoh_link {
            $(#[test]
            fn $case() {
                super::$case(super::faultless(super::zenoh(), super::Clock::system()));
            })*
        }
    };
}

suite! {
    delivers_and_keeps_the_newest,
    counts_gaps_duplicates_and_late_ones,
    malformed_bytes_are_counted_and_named,
    a_queue_loses_nothing_within_its_capacity,
    taps_record_both_directions,
    late_subscribers_get_latched_values,
    bad_requests_are_refused,
    goes_on_when_the_other_goes,
}

/// In process, a value is there when `put` returns, and everything about it is the same in every run.
#[test]
fn in_process_is_synchronous_and_repeatable() {
    let run = || {
        let Pair { a, b } = in_process();
        let topics = Topics::new("");
        let mut subscription = b.subscribe(&topics.enable).unwrap();
        let publisher = a.publisher(&topics.enable).unwrap();
        let tap = b.tap(10);
        publisher.put(&BoolMsg::new(true)).unwrap();
        let sample = subscription.latest().unwrap();
        let record = tap.try_recv().unwrap();
        (publisher.gid(), (*sample).clone(), record.bytes, record.log_ns)
    };
    assert_eq!(run(), run());
}
