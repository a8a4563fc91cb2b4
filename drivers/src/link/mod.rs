//! Links: how messages get from publishers to subscriptions.
//!
//! Two transports behind one [`Link`], held to the same suite of tests:
//!
//! * [`Link::in_process`] delivers inside `put`, on the caller's thread, subscription by subscription
//!   in the order in which they were made: deterministic, for lockstep.
//! * [`Link::zenoh`] delivers over TCP, on zenoh's threads. It is closed by default: it listens on
//!   loopback only, looks for nobody, and refuses endpoints beyond loopback unless told otherwise. Its
//!   node, publishers and subscriptions show in the graph of ROS 2. With [`Secure`] it lets in only who
//!   proves who they are, and takes commands only from operators.
//!
//! [`LinkFaults`] wraps either, so that messages get lost, late or broken on purpose.
//!
//! A link, its publishers, its subscriptions and its taps may each be dropped in any order; the
//! session ends with the last of link, publishers and subscriptions.

mod bus;
mod fault;
mod graph;
mod keeper;
mod publisher;
mod sequence;
mod subscription;
mod tap;
mod zenoh;

use std::any::Any;
use std::sync::{
    Arc, Mutex, MutexGuard, PoisonError,
    atomic::{AtomicU64, Ordering},
};

pub use bus::Bus;
pub use fault::{Direction, FaultCounts, FaultError, FaultPlan, FaultRule, Freeze, LinkFaults, Window};
pub use keeper::Keeper;
pub use publisher::{Publisher, PublisherStats};
pub use subscription::{QueueSubscription, Sample, Subscription, SubscriptionStats};
pub use tap::{Drops, Tap, TapRecord};
pub use zenoh::{Credentials, Exposure, Ros, Secure, ZenohConfig};

use crate::attachment::Attachment;
use crate::clock::Clock;
use crate::msg::Message;
use crate::topic::{Qos, Topic};
use graph::{Kind, Node};
use tap::{TapHub, TopicInfo};

/// The largest payload that a link carries, bytes; larger ones are refused by `put` and dropped by
/// zenoh's receiver.
pub const MAX_MESSAGE_BYTES: usize = 8 << 20;

/// Why a link could not do what it was asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LinkError {
    /// The topic's name cannot be one.
    #[error("topic {name:?}: {reason}")]
    Topic {
        /// The name.
        name: String,
        /// What was expected.
        reason: &'static str,
    },
    /// An endpoint is not of the form that we speak.
    #[error(
        "endpoint {endpoint:?}: expected tcp/HOST:PORT with HOST an IP address or localhost, or tls/HOST:PORT where \
         and only where secure.credentials is tls"
    )]
    Endpoint {
        /// The endpoint.
        endpoint: String,
    },
    /// An endpoint lies beyond this machine, and that was not asked for.
    #[error(
        "endpoint {endpoint:?}: expected a loopback address; set allow_remote to let other machines command this one"
    )]
    NotLoopback {
        /// The endpoint.
        endpoint: String,
    },
    /// The node's name cannot be one in ROS 2.
    #[error("node {node:?}: expected letters, digits and _, not a digit first")]
    Node {
        /// The name.
        node: String,
    },
    /// What is to keep strangers out is not as it must be. Never says a key or a password.
    #[error("{key} = {value:?}: expected {expected}")]
    Secure {
        /// The key of the configuration.
        key: &'static str,
        /// Its value: a path or a name.
        value: String,
        /// What was expected, and what was found.
        expected: String,
    },
    /// zenoh refused a setting or could not start, for instance because the port is taken.
    #[error("zenoh session listening on {listen:?}, connecting to {connect:?}: {reason}")]
    Open {
        /// The endpoints to listen on.
        listen: Vec<String>,
        /// The endpoints to connect to.
        connect: Vec<String>,
        /// zenoh's words.
        reason: String,
    },
    /// A publisher or subscription could not be made.
    #[error("topic {topic}: cannot declare: {reason}")]
    Declare {
        /// The topic.
        topic: String,
        /// zenoh's words.
        reason: String,
    },
    /// A payload could not be handed to the transport.
    #[error("topic {topic}: cannot publish: {reason}")]
    Put {
        /// The topic.
        topic: String,
        /// zenoh's words.
        reason: String,
    },
    /// A payload is too large for the link.
    #[error("topic {topic}: expected at most {MAX_MESSAGE_BYTES} bytes, found {found_bytes}")]
    TooLarge {
        /// The topic.
        topic: String,
        /// The payload's size.
        found_bytes: usize,
    },
}

/// Takes what arrives on a key.
trait Sink: Send + Sync {
    /// Must be quick: it runs on the transport's thread, or inside the publisher's `put`.
    fn deliver(&self, payload: &[u8], attachment: Option<&[u8]>);
}

/// Sends what one publisher publishes. Dropping it takes the publisher back.
trait Outlet: Send + Sync {
    fn send(&self, payload: Vec<u8>, attachment: &Attachment) -> Result<(), String>;
}

/// What a transport needs to know of a new publisher.
struct Advertisement<'a> {
    topic: &'a TopicInfo,
    key: &'a str,
    qos: Qos,
    liveliness_key: &'a str,
    gid: [u8; 16],
}

/// What a transport needs to know of a new subscription.
struct Interest<'a> {
    topic: &'a TopicInfo,
    key: &'a str,
    qos: Qos,
    liveliness_key: &'a str,
}

/// Ends a subscription when dropped.
type Guard = Box<dyn Any + Send + Sync>;

/// Moves payloads. Failures are in the transport's words; the link adds the topic.
trait Transport: Send + Sync {
    fn advertise(&self, advertisement: &Advertisement<'_>) -> Result<Box<dyn Outlet>, String>;
    fn subscribe(&self, interest: &Interest<'_>, sink: Arc<dyn Sink>) -> Result<Guard, String>;
    fn inject(&self, key: &str, qos: Qos, payload: &[u8], attachment: Option<&[u8]>) -> Result<(), String>;
    fn locators(&self) -> &[String];
    fn peers(&self) -> usize;
}

/// One node's access to the messages. Clones are cheap and share the session.
#[derive(Clone)]
pub struct Link {
    shared: Arc<Shared>,
}

/// What a link shares with its publishers and subscriptions, which keep the session alive.
struct Shared {
    transport: Box<dyn Transport>,
    clock: Clock,
    taps: Arc<TapHub>,
    domain: u32,
    session: String,
    node: String,
    /// Counts publishers and subscriptions; shared with the links that wrap this one, so that no two have one
    /// identity. 0 is the node's.
    next_endpoint: Arc<AtomicU64>,
}

impl Shared {
    /// The key by which ROS 2 is to know a new publisher or subscription.
    fn liveliness_key<M: Message>(&self, kind: Kind, topic: &Topic<M>) -> String {
        let node = Node { domain: self.domain, session: &self.session, name: &self.node };
        node.endpoint_key(self.next_endpoint.fetch_add(1, Ordering::Relaxed), kind, topic)
    }
}

impl std::fmt::Debug for Link {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Link")
            .field("node", &self.shared.node)
            .field("session", &self.shared.session)
            .field("locators", &self.locators())
            .finish_non_exhaustive()
    }
}

impl Link {
    /// A node on the in-process `bus`. Its messages are stamped by `clock`.
    #[must_use]
    pub fn in_process(bus: &Bus, clock: Clock) -> Self {
        // Session names go by the order of creation, so that gids are the same in every run.
        let session = format!("{:x}", bus.next_session());
        Self::build(Box::new(bus.clone()), clock, 0, session, "reflexarc".to_owned())
    }

    /// A node of its own zenoh session, as a peer. Its messages are stamped by `clock`.
    ///
    /// Peers that are not there yet are no error: the session keeps trying to reach them.
    ///
    /// # Errors
    /// [`LinkError::Endpoint`] and [`LinkError::NotLoopback`] for endpoints that we do not speak or
    /// that were not allowed; [`LinkError::Node`]; [`LinkError::Secure`] for credentials that cannot be used;
    /// [`LinkError::Open`] when zenoh cannot start.
    pub fn zenoh(config: ZenohConfig, clock: Clock) -> Result<Self, LinkError> {
        let transport = zenoh::open(&config)?;
        let session = transport.id();
        Ok(Self::build(Box::new(transport), clock, config.domain, session, config.node))
    }

    fn build(
        transport: Box<dyn Transport>,
        clock: Clock,
        domain: u32,
        session: String,
        node: String,
    ) -> Self {
        let taps = Arc::new(TapHub::default());
        let next_endpoint = Arc::new(AtomicU64::new(1));
        Self { shared: Arc::new(Shared { transport, clock, taps, domain, session, node, next_endpoint }) }
    }

    /// A publisher on `topic`.
    ///
    /// # Errors
    /// [`LinkError::Topic`] for a name that cannot be a topic's, [`LinkError::Declare`].
    pub fn publisher<M: Message>(&self, topic: &Topic<M>) -> Result<Publisher<M>, LinkError> {
        check(topic)?;
        let shared = &self.shared;
        let liveliness_key = shared.liveliness_key(Kind::Publisher, topic);
        let gid = crate::attachment::gid(&liveliness_key);
        let info = TopicInfo::new(topic);
        let advertisement = Advertisement {
            topic: &info,
            key: &topic.key_expr(shared.domain),
            qos: topic.qos(),
            liveliness_key: &liveliness_key,
            gid,
        };
        let outlet = shared.transport.advertise(&advertisement).map_err(declare_error(topic))?;
        Ok(Publisher::new(outlet, info, gid, Arc::clone(shared)))
    }

    /// A subscription that keeps the newest value of `topic`.
    ///
    /// # Errors
    /// [`LinkError::Topic`] for a name that cannot be a topic's, [`LinkError::Declare`].
    pub fn subscribe<M: Message>(&self, topic: &Topic<M>) -> Result<Subscription<M>, LinkError> {
        check(topic)?;
        Subscription::new(topic, &self.shared)
    }

    /// A subscription that hands out every value of `topic` in the order of arrival, for events.
    /// Up to `capacity` (1 at the least) wait unread; what comes while they do is dropped and counted in
    /// [`SubscriptionStats::overwritten_unread`], which a reader of stops must treat as a fault.
    ///
    /// # Errors
    /// [`LinkError::Topic`] for a name that cannot be a topic's, [`LinkError::Declare`].
    pub fn subscribe_queue<M: Message>(
        &self,
        topic: &Topic<M>,
        capacity: usize,
    ) -> Result<QueueSubscription<M>, LinkError> {
        check(topic)?;
        QueueSubscription::new(topic, capacity, &self.shared)
    }

    /// Sees every payload that this link publishes or receives from now on, malformed ones included.
    /// At most `capacity` records wait; further ones are dropped and counted, so that a slow reader
    /// never slows the link. A topic that several subscriptions of this link receive is recorded once.
    #[must_use]
    pub fn tap(&self, capacity: usize) -> Tap {
        TapHub::tap(&self.shared.taps, capacity)
    }

    /// Publishes bytes as they are, with any attachment or none: for replay and for injecting faults.
    /// Neither payload nor attachment is checked, except for its size.
    ///
    /// # Errors
    /// [`LinkError::Topic`], [`LinkError::TooLarge`], [`LinkError::Put`].
    pub fn inject<M: Message>(
        &self,
        topic: &Topic<M>,
        payload: &[u8],
        attachment: Option<&[u8]>,
    ) -> Result<(), LinkError> {
        check(topic)?;
        if payload.len() > MAX_MESSAGE_BYTES {
            return Err(LinkError::TooLarge { topic: topic.name().to_owned(), found_bytes: payload.len() });
        }
        self.shared.taps.sent(&TopicInfo::new(topic), self.shared.clock.now_ns(), attachment, payload);
        self.shared
            .transport
            .inject(&topic.key_expr(self.shared.domain), topic.qos(), payload, attachment)
            .map_err(|reason| LinkError::Put { topic: topic.name().to_owned(), reason })
    }

    /// The endpoints on which this link can be reached, with the ports that were chosen for 0; a peer
    /// connects to one of them. Empty for the in-process link.
    #[must_use]
    pub fn locators(&self) -> &[String] {
        self.shared.transport.locators()
    }

    /// How many other sessions this one is connected to now; 0 for the in-process link.
    #[must_use]
    pub fn peers(&self) -> usize {
        self.shared.transport.peers()
    }

    /// The clock that stamps this link's messages.
    #[must_use]
    pub fn clock(&self) -> &Clock {
        &self.shared.clock
    }
}

fn check<M: Message>(topic: &Topic<M>) -> Result<(), LinkError> {
    match topic.fault() {
        Some(reason) => Err(LinkError::Topic { name: topic.name().to_owned(), reason }),
        None => Ok(()),
    }
}

fn declare_error<M: Message>(topic: &Topic<M>) -> impl Fn(String) -> LinkError {
    |reason| LinkError::Declare { topic: topic.name().to_owned(), reason }
}

/// Locks, also after a panic elsewhere: what these locks guard is whole between any two statements.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
