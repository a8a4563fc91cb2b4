//! Subscribing: the newest value, or every value.
//!
//! A subscription has one reader, and reading is wait-free: no lock, no allocation, nothing freed, and no
//! loop that waits for the transport. So a real-time thread may read. (crossbeam's queues are lock-free but
//! not wait-free: their reader spins while a writer is between its two steps. A reader that outranks the
//! writer on the same core would then spin until the kernel throttles it.) Messages are freed by the
//! transport's threads, see [`Keeper`].

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicU64, Ordering},
};
use std::time::{Duration, Instant};

use rtrb::{Consumer, Producer, RingBuffer};
use triple_buffer::{Input, Output, triple_buffer};

use super::graph::Kind;
use super::keeper::Keeper;
use super::sequence::{Tracker, Verdict};
use super::tap::{TapHub, TopicInfo};
use super::{Guard, Interest, LinkError, Shared, Sink, declare_error, lock};
use crate::attachment::Attachment;
use crate::clock::Clock;
use crate::msg::Message;
use crate::topic::Topic;

/// One received message.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample<M> {
    /// The message.
    pub value: M,
    /// Its number among its publisher's messages, from 1.
    pub sequence: i64,
    /// When it was published, by the publisher's clock, nanoseconds since the Unix epoch.
    pub source_ns: u64,
    /// When it arrived, by this link's clock.
    pub received_ns: u64,
    /// Its number among all payloads that came to this subscription, from 1, unreadable and repeated ones
    /// included; the same as in [`super::TapRecord::arrival`].
    pub arrival: u64,
}

impl<M> Sample<M> {
    /// How old the message is at `now_ns`, counted from its publication, or from its arrival where that
    /// is more: a publisher whose clock runs ahead cannot make old messages look fresh for ever.
    #[must_use]
    pub fn age_ns(&self, now_ns: u64) -> u64 {
        now_ns.saturating_sub(self.source_ns).max(now_ns.saturating_sub(self.received_ns))
    }
}

/// What became of the payloads on a topic, since the subscription was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SubscriptionStats {
    /// Messages taken.
    pub received: u64,
    /// Payloads or attachments that could not be read.
    pub malformed: u64,
    /// Messages that never came, by the publishers' sequence numbers.
    pub gaps: u64,
    /// Messages that came again, and were not taken again.
    pub duplicates: u64,
    /// Messages that came after a later one of the same publisher. They are not taken where only the
    /// newest counts (newest-value subscriptions and latched topics); a queue takes them. Each was
    /// counted among the gaps before.
    pub reordered: u64,
    /// Messages that were replaced before anybody read them; for a queue, those lost to its capacity.
    pub overwritten_unread: u64,
}

#[derive(Debug, Default)]
struct Counters {
    received: AtomicU64,
    malformed: AtomicU64,
    gaps: AtomicU64,
    duplicates: AtomicU64,
    reordered: AtomicU64,
    overwritten_unread: AtomicU64,
}

impl Counters {
    fn read(&self) -> SubscriptionStats {
        let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        SubscriptionStats {
            received: load(&self.received),
            malformed: load(&self.malformed),
            gaps: load(&self.gaps),
            duplicates: load(&self.duplicates),
            reordered: load(&self.reordered),
            overwritten_unread: load(&self.overwritten_unread),
        }
    }
}

fn add(counter: &AtomicU64, count: u64) {
    counter.fetch_add(count, Ordering::Relaxed);
}

/// How often [`QueueSubscription::recv_timeout`] looks.
const POLL: Duration = Duration::from_millis(1);

/// A slot of one value.
type Slot<M> = Option<Arc<Sample<M>>>;

/// The writer's end of where messages wait for their reader.
enum Store<M: Message> {
    Newest(Input<Slot<M>>),
    Queue(Producer<Arc<Sample<M>>>),
}

impl<M: Message> Store<M> {
    /// Puts a message there; returns how many were lost by that: the unread one that it replaces, or itself
    /// where there is no room.
    fn put(&mut self, sample: Arc<Sample<M>>) -> u64 {
        match self {
            Self::Newest(slot) => {
                *slot.input_buffer_mut() = Some(sample);
                u64::from(slot.publish())
            }
            Self::Queue(ring) => u64::from(ring.push(sample).is_err()),
        }
    }
}

/// What the transport's threads need to take a payload, one at a time.
struct Intake<M: Message> {
    tracker: Tracker,
    keeper: Keeper<Sample<M>>,
    store: Store<M>,
    arrivals: u64,
}

/// The transport's side of a subscription.
struct Inbox<M: Message> {
    topic: TopicInfo,
    /// Whether a message older than the newest is of no use.
    newest_only: bool,
    clock: Clock,
    taps: Arc<TapHub>,
    tap_id: u64,
    /// Held while a payload is taken, so that two threads of the transport cannot swap two messages.
    /// Readers never take it.
    intake: Mutex<Intake<M>>,
    counters: Counters,
    last_error: Mutex<Option<String>>,
}

impl<M: Message> Inbox<M> {
    fn malformed(&self, error: &dyn std::fmt::Display) {
        add(&self.counters.malformed, 1);
        *lock(&self.last_error) = Some(format!("topic {}: {error}", self.topic.name));
    }
}

impl<M: Message> Sink for Inbox<M> {
    fn deliver(&self, payload: &[u8], attachment: Option<&[u8]>) {
        let received_ns = self.clock.now_ns();
        let mut intake = lock(&self.intake);
        intake.arrivals += 1;
        let arrival = intake.arrivals;
        // Within the lock, so that taps see payloads in the order in which they are taken.
        self.taps.received(&self.topic, self.tap_id, arrival, received_ns, attachment, payload);
        let Attachment { sequence, source_ns, gid } = match Attachment::decode(attachment) {
            Ok(attachment) => attachment,
            Err(error) => return self.malformed(&error),
        };
        match intake.tracker.track(gid, sequence) {
            Verdict::New { lost } => add(&self.counters.gaps, lost),
            Verdict::Duplicate => return add(&self.counters.duplicates, 1),
            Verdict::Reordered => {
                add(&self.counters.reordered, 1);
                if self.newest_only {
                    return;
                }
            }
        }
        let value = match M::decode(payload) {
            Ok(value) => value,
            Err(error) => return self.malformed(&error),
        };
        let Intake { keeper, store, .. } = &mut *intake;
        let lost = store.put(keeper.keep(Sample { value, sequence, source_ns, received_ns, arrival }));
        add(&self.counters.received, 1);
        add(&self.counters.overwritten_unread, lost);
        drop(intake);
    }
}

/// What both kinds of subscription have in common. Dropping it ends the subscription.
struct Feed<M: Message> {
    /// Before `shared`: it must be gone when the session ends.
    guard: Option<Guard>,
    inbox: Arc<Inbox<M>>,
    shared: Arc<Shared>,
}

impl<M: Message> Feed<M> {
    fn new(topic: &Topic<M>, store: Store<M>, shared: &Arc<Shared>) -> Result<Self, LinkError> {
        let info = TopicInfo::new(topic);
        let tap_id = shared.taps.enter(&info.name);
        let inbox = Arc::new(Inbox {
            topic: info,
            newest_only: topic.qos().latched || matches!(store, Store::Newest(..)),
            clock: shared.clock.clone(),
            taps: Arc::clone(&shared.taps),
            tap_id,
            intake: Mutex::new(Intake {
                tracker: Tracker::default(),
                keeper: Keeper::default(),
                store,
                arrivals: 0,
            }),
            counters: Counters::default(),
            last_error: Mutex::default(),
        });
        // Made before the subscription, so that a failure takes the entry at the taps back too.
        let mut feed = Self { guard: None, inbox: Arc::clone(&inbox), shared: Arc::clone(shared) };
        let interest = Interest {
            topic: &feed.inbox.topic,
            key: &topic.key_expr(shared.domain),
            qos: topic.qos(),
            liveliness_key: &shared.liveliness_key(Kind::Subscription, topic),
        };
        let guard = shared.transport.subscribe(&interest, inbox).map_err(declare_error(topic))?;
        feed.guard = Some(guard);
        Ok(feed)
    }

    fn last_error(&self) -> Option<String> {
        lock(&self.inbox.last_error).clone()
    }
}

impl<M: Message> Drop for Feed<M> {
    fn drop(&mut self) {
        self.guard = None;
        self.shared.taps.leave(&self.inbox.topic.name, self.inbox.tap_id);
    }
}

/// Keeps the newest value of a topic.
pub struct Subscription<M: Message> {
    feed: Feed<M>,
    slot: Output<Slot<M>>,
}

impl<M: Message> std::fmt::Debug for Subscription<M> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Subscription")
            .field("topic", &self.topic_name())
            .field("stats", &self.stats())
            .finish_non_exhaustive()
    }
}

impl<M: Message> Subscription<M> {
    pub(super) fn new(topic: &Topic<M>, shared: &Arc<Shared>) -> Result<Self, LinkError> {
        let (writer, slot) = triple_buffer(&None);
        Ok(Self { feed: Feed::new(topic, Store::Newest(writer), shared)?, slot })
    }

    /// The newest value; none before the first. It stays until a newer one comes, however old it gets:
    /// see [`Sample::age_ns`]. Constant time; never waits for the transport.
    #[must_use]
    pub fn latest(&mut self) -> Option<Arc<Sample<M>>> {
        self.slot.read().clone()
    }

    /// The newest value if nobody has read it yet, by this or by [`Subscription::latest`].
    #[must_use]
    pub fn latest_unread(&mut self) -> Option<Arc<Sample<M>>> {
        if self.slot.update() { self.slot.output_buffer().clone() } else { None }
    }

    /// What became of the payloads so far.
    #[must_use]
    pub fn stats(&self) -> SubscriptionStats {
        self.feed.inbox.counters.read()
    }

    /// What was wrong with the last payload that could not be read.
    #[must_use]
    pub fn last_error(&self) -> Option<String> {
        self.feed.last_error()
    }

    /// The topic's name.
    #[must_use]
    pub fn topic_name(&self) -> &str {
        &self.feed.inbox.topic.name
    }
}

/// Hands out every value of a topic once, in the order of arrival.
pub struct QueueSubscription<M: Message> {
    feed: Feed<M>,
    ring: Consumer<Arc<Sample<M>>>,
}

impl<M: Message> std::fmt::Debug for QueueSubscription<M> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("QueueSubscription")
            .field("topic", &self.topic_name())
            .field("stats", &self.stats())
            .finish_non_exhaustive()
    }
}

impl<M: Message> QueueSubscription<M> {
    pub(super) fn new(topic: &Topic<M>, capacity: usize, shared: &Arc<Shared>) -> Result<Self, LinkError> {
        let (writer, ring) = RingBuffer::new(capacity.max(1));
        Ok(Self { feed: Feed::new(topic, Store::Queue(writer), shared)?, ring })
    }

    /// The oldest unread value, if there is one. Constant time; never waits for the transport.
    #[must_use]
    pub fn try_recv(&mut self) -> Option<Arc<Sample<M>>> {
        self.ring.pop().ok()
    }

    /// The oldest unread value; waits for one for `timeout` at most, looking every millisecond.
    #[must_use]
    pub fn recv_timeout(&mut self, timeout: Duration) -> Option<Arc<Sample<M>>> {
        let begun = Instant::now();
        loop {
            let sample = self.try_recv();
            if sample.is_some() || begun.elapsed() >= timeout {
                return sample;
            }
            std::thread::sleep(POLL);
        }
    }

    /// What became of the payloads so far.
    #[must_use]
    pub fn stats(&self) -> SubscriptionStats {
        self.feed.inbox.counters.read()
    }

    /// What was wrong with the last payload that could not be read.
    #[must_use]
    pub fn last_error(&self) -> Option<String> {
        self.feed.last_error()
    }

    /// The topic's name.
    #[must_use]
    pub fn topic_name(&self) -> &str {
        &self.feed.inbox.topic.name
    }
}
