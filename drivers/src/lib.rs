//! What a robot says and hears: message types, their bytes, topics, and the links that carry them.
//!
//! Who owns what:
//!
//! * [`msg`] has the message types. Each knows its ROS 2 name, its type hash and its definition text,
//!   and writes and reads itself as CDR through [`cdr`].
//! * [`topic`] names the topics and says how each is to be carried (priority, what happens under
//!   congestion, whether a late subscriber gets the last value).
//! * [`link`] moves messages: in one process through a [`link::Bus`] (synchronous, deterministic), or
//!   between processes and machines over zenoh, with the keys and attachments of `rmw_zenoh`, so that
//!   a ROS 2 node reads them without a bridge.
//! * [`arm`] drives arms on servo buses.
//! * [`camera`] publishes the frames of cameras, gel tactile sensors among them.
//! * [`power`] reads what the board says about its power and heat.
//! * [`serial`] says which serial ports there are, and [`tactile`] reads tactile pads on them.
//! * [`clock`] is the only place that reads a clock.
//!
//! Glossary: a *payload* is one encoded message; the *attachment* beside it carries the publisher's
//! sequence number, its time stamp and its identity (*gid*); a *tap* sees every payload of a link.
//!
//! ```
//! use reflexarc_drivers::{clock::Clock, link::{Bus, Link}, msg::StringMsg, topic::Topics};
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let bus = Bus::new();
//! let (robot, operator) = (Link::in_process(&bus, Clock::manual(0)), Link::in_process(&bus, Clock::manual(0)));
//! let topics = Topics::new("");
//! let mut instruction = robot.subscribe(&topics.instruction)?;
//! operator.publisher(&topics.instruction)?.put(&StringMsg::new("pick up the red mug"))?;
//! assert_eq!(instruction.latest().map(|s| s.value.data.clone()), Some("pick up the red mug".into()));
//! # Ok(())
//! # }
//! ```

pub mod arm;
pub mod attachment;
pub mod camera;
pub mod cdr;
pub mod clock;
pub mod link;
pub mod msg;
pub mod power;
pub mod serial;
pub mod tactile;
pub mod topic;

pub use attachment::Attachment;
pub use cdr::CdrError;
pub use clock::Clock;
pub use link::{
    Bus, Credentials, Exposure, Keeper, Link, LinkError, Publisher, PublisherStats, QueueSubscription, Ros,
    Sample, Secure, Subscription, SubscriptionStats, Tap, TapRecord, ZenohConfig,
};
pub use msg::Message;
pub use topic::{Qos, Topic, Topics};
