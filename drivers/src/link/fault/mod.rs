//! Faults on purpose: a [`Link`] whose messages get lost, late, mixed up or broken, the same way on
//! every run with the same seed.
//!
//! [`LinkFaults::wrap`] gives a second link on the session of the first one, in process or over zenoh.
//! What it publishes and what it receives passes the rules of a [`FaultPlan`] on its way; topics that no
//! rule names pass untouched. Taps of the wrapped link see what its own side sees: what was published
//! before the faults, and what was received after them.
//!
//! A message that is to arrive later waits in a queue. Under a manual clock [`LinkFaults::pump`]
//! delivers what is due; call it at each step, after the publishers and before the readers. Under a
//! system clock a thread named `faults` does. All chances come from the plan's seed and from nothing
//! else, so that in lockstep the same messages meet the same fate; between threads each topic's own
//! messages still do.
//!
//! ```
//! use reflexarc_drivers::link::{FaultPlan, FaultRule, LinkFaults};
//! use reflexarc_drivers::{Bus, Clock, Link, msg::BoolMsg, topic::Topics};
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let (bus, clock, topics) = (Bus::new(), Clock::manual(0), Topics::new(""));
//! let rule = FaultRule { topics: vec!["enable".into()], delay_ms: 30, ..FaultRule::default() };
//! let faults = LinkFaults::new(FaultPlan { seed: 1, rules: vec![rule] }, clock.clone())?;
//! let robot = faults.wrap(&Link::in_process(&bus, clock.clone()));
//! let mut enable = robot.subscribe(&topics.enable)?;
//! Link::in_process(&bus, clock.clone()).publisher(&topics.enable)?.put(&BoolMsg::new(true))?;
//! clock.set_ns(29_999_999);
//! faults.pump();
//! assert!(enable.latest().is_none());
//! clock.set_ns(30_000_000);
//! faults.pump();
//! assert!(enable.latest().is_some());
//! # Ok(())
//! # }
//! ```

mod damage;
mod lane;
mod plan;
mod queue;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError, RwLock, Weak, atomic::AtomicUsize};

pub use lane::FaultCounts;
pub use plan::{Direction, FaultError, FaultPlan, FaultRule, Freeze, Window};

use self::lane::Lane;
use self::queue::{Destination, Queue};
use super::tap::{TapHub, TopicInfo};
use super::{Advertisement, Guard, Interest, Link, Outlet, Shared, Sink, Transport, lock};
use crate::attachment::Attachment;
use crate::clock::Clock;
use crate::topic::Qos;

/// Makes the faults of a [`FaultPlan`] happen, and counts them. Clones are the same. It lives as long
/// as a link that it wrapped, or a publisher or subscription of one.
#[derive(Clone)]
pub struct LinkFaults {
    works: Arc<Works>,
}

/// What the wrapped links share.
struct Works {
    plan: FaultPlan,
    clock: Clock,
    start_ns: u64,
    queue: Arc<Queue>,
    lanes: RwLock<Vec<Arc<Mutex<Lane>>>>,
}

impl Drop for Works {
    fn drop(&mut self) {
        self.queue.close();
    }
}

impl std::fmt::Debug for LinkFaults {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LinkFaults").field("plan", &self.works.plan).finish_non_exhaustive()
    }
}

impl LinkFaults {
    /// Faults that begin now, by `clock`.
    ///
    /// # Errors
    /// [`FaultError`] for a plan that cannot be, and when the thread cannot be started.
    pub fn new(plan: FaultPlan, clock: Clock) -> Result<Self, FaultError> {
        plan.validate()?;
        let queue = Arc::<Queue>::default();
        if let Clock::System { .. } = clock {
            let (queue, clock) = (Arc::clone(&queue), clock.clone());
            std::thread::Builder::new()
                .name("faults".into())
                .spawn(move || queue.run(&clock))
                .map_err(|error| FaultError::Thread { reason: error.to_string() })?;
        }
        let start_ns = clock.now_ns();
        Ok(Self { works: Arc::new(Works { plan, clock, start_ns, queue, lanes: RwLock::default() }) })
    }

    /// The same session as `link`, through the faults. Several links may be wrapped by one.
    #[must_use]
    pub fn wrap(&self, link: &Link) -> Link {
        let inner = Arc::clone(&link.shared);
        Link {
            shared: Arc::new(Shared {
                clock: inner.clock.clone(),
                taps: Arc::new(TapHub::default()),
                domain: inner.domain,
                session: inner.session.clone(),
                node: inner.node.clone(),
                next_endpoint: Arc::clone(&inner.next_endpoint),
                transport: Box::new(FaultTransport { works: Arc::clone(&self.works), inner }),
            }),
        }
    }

    /// Delivers the delayed messages that are due by the clock. Returns how many there were. For manual
    /// clocks; under a system clock it only helps the thread.
    pub fn pump(&self) -> usize {
        self.works.queue.deliver(self.works.clock.now_ns()).0
    }

    /// Messages on their way, and when the last of them is due.
    #[must_use]
    pub fn waiting(&self) -> (usize, Option<u64>) {
        self.works.queue.waiting()
    }

    /// When the plan began, by its clock.
    #[must_use]
    pub fn start_ns(&self) -> u64 {
        self.works.start_ns
    }

    /// What was done so far, to all messages that a rule named.
    #[must_use]
    pub fn counts(&self) -> FaultCounts {
        let mut all = FaultCounts::default();
        for counts in self.counts_by_topic().values() {
            all.add(counts);
        }
        all
    }

    /// The same for each topic and direction.
    #[must_use]
    pub fn counts_by_topic(&self) -> BTreeMap<(String, Direction), FaultCounts> {
        let mut all = BTreeMap::<_, FaultCounts>::new();
        for lane in self.works.lanes.read().unwrap_or_else(PoisonError::into_inner).iter() {
            let lane = lock(lane);
            all.entry((lane.topic.name.to_string(), lane.direction)).or_default().add(&lane.counts);
        }
        all
    }
}

impl Works {
    /// A lane for a publisher or a subscription; none where nothing is ever done to the topic.
    fn lane(&self, topic: &TopicInfo, direction: Direction) -> Option<Arc<Mutex<Lane>>> {
        let mut lanes = self.lanes.write().unwrap_or_else(PoisonError::into_inner);
        let same = |lane: &&Arc<Mutex<Lane>>| {
            let lane = lock(lane);
            lane.topic.name == topic.name && lane.direction == direction
        };
        let number = lanes.iter().filter(same).count();
        let lane = Arc::new(Mutex::new(Lane::new(&self.plan, topic, direction, number)?));
        lanes.push(Arc::clone(&lane));
        Some(lane)
    }

    /// Passes a message through `lane` to `to`, now or later.
    fn pass(
        &self,
        lane: &Mutex<Lane>,
        to: &dyn Destination,
        later: Weak<dyn Destination>,
        payload: &[u8],
        attachment: Option<&[u8]>,
    ) -> Result<(), String> {
        let now_ns = self.clock.now_ns();
        // Held while handing over, so that two threads cannot swap two messages.
        let mut lane = lock(lane);
        let parcels = lane.take(now_ns, now_ns.saturating_sub(self.start_ns), payload, attachment);
        let mut result = Ok(());
        for parcel in parcels {
            if lane.may_pass(&parcel, now_ns) {
                result = result.and(to.hand_over(parcel.payload, parcel.attachment.as_deref()));
            } else {
                let waiting: &Arc<AtomicUsize> = &lane.waiting;
                self.queue.put(Weak::clone(&later), parcel, waiting);
            }
        }
        result
    }
}

/// A transport behind the faults.
struct FaultTransport {
    inner: Arc<Shared>,
    works: Arc<Works>,
}

impl Transport for FaultTransport {
    fn advertise(&self, advertisement: &Advertisement<'_>) -> Result<Box<dyn Outlet>, String> {
        let outlet = self.inner.transport.advertise(advertisement)?;
        let Some(lane) = self.works.lane(advertisement.topic, Direction::Out) else { return Ok(outlet) };
        let end = OutletEnd {
            outlet,
            key: advertisement.key.to_owned(),
            qos: advertisement.qos,
            session: Arc::clone(&self.inner),
        };
        Ok(Box::new(FaultOutlet { end: Arc::new(end), lane, works: Arc::clone(&self.works) }))
    }

    fn subscribe(&self, interest: &Interest<'_>, sink: Arc<dyn Sink>) -> Result<Guard, String> {
        match self.works.lane(interest.topic, Direction::In) {
            None => self.inner.transport.subscribe(interest, sink),
            Some(lane) => {
                let end = Arc::new(SinkEnd { sink });
                let sink = FaultSink { end, lane, works: Arc::clone(&self.works) };
                self.inner.transport.subscribe(interest, Arc::new(sink))
            }
        }
    }

    /// Bytes injected by a test or a replay are its own business: no fault is added.
    fn inject(&self, key: &str, qos: Qos, payload: &[u8], attachment: Option<&[u8]>) -> Result<(), String> {
        self.inner.transport.inject(key, qos, payload, attachment)
    }

    fn locators(&self) -> &[String] {
        self.inner.transport.locators()
    }

    fn peers(&self) -> usize {
        self.inner.transport.peers()
    }
}

/// Where a publisher's messages leave the faults.
struct OutletEnd {
    /// Before the session, which must outlive it.
    outlet: Box<dyn Outlet>,
    key: String,
    qos: Qos,
    session: Arc<Shared>,
}

impl Destination for OutletEnd {
    fn hand_over(&self, payload: Vec<u8>, attachment: Option<&[u8]>) -> Result<(), String> {
        match Attachment::decode(attachment) {
            Ok(attachment) => self.outlet.send(payload, &attachment),
            // What is no attachment any more goes past the publisher.
            Err(_) => self.session.transport.inject(&self.key, self.qos, &payload, attachment),
        }
    }
}

struct FaultOutlet {
    end: Arc<OutletEnd>,
    lane: Arc<Mutex<Lane>>,
    works: Arc<Works>,
}

impl Outlet for FaultOutlet {
    fn send(&self, payload: Vec<u8>, attachment: &Attachment) -> Result<(), String> {
        let later: Weak<OutletEnd> = Arc::downgrade(&self.end);
        self.works.pass(&self.lane, &*self.end, later, &payload, Some(&attachment.encode()))
    }
}

/// Where a subscription's messages leave the faults.
struct SinkEnd {
    sink: Arc<dyn Sink>,
}

impl Destination for SinkEnd {
    fn hand_over(&self, payload: Vec<u8>, attachment: Option<&[u8]>) -> Result<(), String> {
        self.sink.deliver(&payload, attachment);
        Ok(())
    }
}

struct FaultSink {
    end: Arc<SinkEnd>,
    lane: Arc<Mutex<Lane>>,
    works: Arc<Works>,
}

impl Sink for FaultSink {
    fn deliver(&self, payload: &[u8], attachment: Option<&[u8]>) {
        let later: Weak<SinkEnd> = Arc::downgrade(&self.end);
        // A subscription takes everything.
        let _always_ok = self.works.pass(&self.lane, &*self.end, later, payload, attachment);
    }
}
