//! Publishing.

use std::marker::PhantomData;
use std::sync::{
    Arc, Mutex,
    atomic::{AtomicU64, Ordering},
};

use super::tap::TopicInfo;
use super::{LinkError, MAX_MESSAGE_BYTES, Outlet, Shared, lock};
use crate::attachment::Attachment;
use crate::msg::Message;

/// Publishes messages on one topic.
pub struct Publisher<M> {
    /// Before `shared`: it must be gone when the session ends.
    outlet: Box<dyn Outlet>,
    shared: Arc<Shared>,
    topic: TopicInfo,
    gid: [u8; 16],
    /// The number of the last payload. Held while sending, so that numbers leave in order.
    sequence: Mutex<i64>,
    sent: AtomicU64,
    failed: AtomicU64,
    message: PhantomData<fn(M)>,
}

/// What became of a publisher's messages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PublisherStats {
    /// Handed to the transport. Under congestion it may still drop them; subscribers count the gaps.
    pub sent: u64,
    /// Refused: too large, or the session has ended.
    pub failed: u64,
}

impl<M> std::fmt::Debug for Publisher<M> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Publisher").field("topic", &self.topic.name).finish_non_exhaustive()
    }
}

impl<M: Message> Publisher<M> {
    pub(super) fn new(outlet: Box<dyn Outlet>, topic: TopicInfo, gid: [u8; 16], shared: Arc<Shared>) -> Self {
        Self {
            outlet,
            shared,
            topic,
            gid,
            sequence: Mutex::new(0),
            sent: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            message: PhantomData,
        }
    }

    /// Publishes `message`, with the next sequence number and the time of the link's clock.
    ///
    /// In process, all subscriptions have it when this returns. Over zenoh it is handed over; a topic
    /// that blocks under congestion waits for a stalled peer for half a second at most, any other topic
    /// for a few milliseconds, and a peer that has gone costs nothing.
    ///
    /// # Errors
    /// [`LinkError::TooLarge`], [`LinkError::Put`]; both are counted, and the publisher goes on.
    pub fn put(&self, message: &M) -> Result<(), LinkError> {
        let result = self.send(message.encode());
        let counter = if result.is_ok() { &self.sent } else { &self.failed };
        counter.fetch_add(1, Ordering::Relaxed);
        result
    }

    fn send(&self, payload: Vec<u8>) -> Result<(), LinkError> {
        if payload.len() > MAX_MESSAGE_BYTES {
            return Err(LinkError::TooLarge {
                topic: self.topic.name.to_string(),
                found_bytes: payload.len(),
            });
        }
        let mut sequence = lock(&self.sequence);
        *sequence += 1;
        let source_ns = self.shared.clock.now_ns();
        let attachment = Attachment { sequence: *sequence, source_ns, gid: self.gid };
        self.shared.taps.sent(&self.topic, source_ns, Some(&attachment.encode()), &payload);
        self.outlet
            .send(payload, &attachment)
            .map_err(|reason| LinkError::Put { topic: self.topic.name.to_string(), reason })
    }

    /// The topic's name.
    #[must_use]
    pub fn topic_name(&self) -> &str {
        &self.topic.name
    }

    /// This publisher's identity, as in its attachments.
    #[must_use]
    pub fn gid(&self) -> [u8; 16] {
        self.gid
    }

    /// What became of the messages so far.
    #[must_use]
    pub fn stats(&self) -> PublisherStats {
        PublisherStats {
            sent: self.sent.load(Ordering::Relaxed),
            failed: self.failed.load(Ordering::Relaxed),
        }
    }
}
