//! Taps: every payload of a link, for recorders and viewers.

use std::collections::BTreeMap;
use std::sync::{
    Arc, Mutex, PoisonError, RwLock,
    atomic::{AtomicU64, AtomicUsize, Ordering},
};
use std::time::Duration;

use crossbeam::channel::{Receiver, Sender, TrySendError, bounded};

use super::lock;
use crate::attachment::{ATTACHMENT_BYTES, Attachment};
use crate::msg::Message;
use crate::topic::Topic;

/// One payload that a link published or received.
#[derive(Clone, Debug)]
pub struct TapRecord {
    /// The topic, without outer slashes.
    pub topic_name: Arc<str>,
    /// The type, `package/msg/Name`.
    pub type_name: &'static str,
    /// The definition, see [`Message::SCHEMA`].
    pub schema: &'static str,
    /// When the link published or received it, by the link's clock, nanoseconds since the Unix epoch.
    pub log_ns: u64,
    /// When its publisher published it, by the publisher's clock; `log_ns` where that is unknown.
    pub publish_ns: u64,
    /// Its number among its publisher's payloads; 0 where that is unknown.
    pub sequence: i64,
    /// Published (true) or received (false) by the link.
    pub outgoing: bool,
    /// Its number among all payloads that the recording subscription was given, from 1; 0 for one that the
    /// link published.
    pub arrival: u64,
    /// What came beside it, if that has an attachment's size; its content may still be unreadable.
    pub attachment: Option<[u8; ATTACHMENT_BYTES]>,
    /// The payload, as it was on the wire.
    pub bytes: Arc<[u8]>,
}

/// Receives the payloads of a link. Dropping it ends the tap.
#[derive(Debug)]
pub struct Tap {
    records: Receiver<TapRecord>,
    dropped: Arc<AtomicU64>,
    id: u64,
    hub: Arc<TapHub>,
}

impl Tap {
    /// The next record, if one waits.
    #[must_use]
    pub fn try_recv(&self) -> Option<TapRecord> {
        self.records.try_recv().ok()
    }

    /// The next record; waits for it for `timeout` at most.
    #[must_use]
    pub fn recv_timeout(&self, timeout: Duration) -> Option<TapRecord> {
        self.records.recv_timeout(timeout).ok()
    }

    /// The channel of the records, for a select over several.
    #[must_use]
    pub fn receiver(&self) -> &Receiver<TapRecord> {
        &self.records
    }

    /// How many records were dropped because the reader was too slow.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    /// The same count, to be read elsewhere.
    #[must_use]
    pub fn drops(&self) -> Drops {
        Drops(Arc::clone(&self.dropped))
    }
}

/// The count of what a tap has dropped, for someone who does not read the tap.
#[derive(Clone, Debug)]
pub struct Drops(Arc<AtomicU64>);

impl Drops {
    /// Records dropped so far.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

impl Drop for Tap {
    fn drop(&mut self) {
        let mut taps = self.hub.taps.write().unwrap_or_else(PoisonError::into_inner);
        taps.retain(|tap| tap.id != self.id);
        self.hub.active.store(taps.len(), Ordering::Release);
    }
}

/// What records say about a topic.
#[derive(Clone, Debug)]
pub(super) struct TopicInfo {
    pub(super) name: Arc<str>,
    pub(super) type_name: &'static str,
    pub(super) schema: &'static str,
}

impl TopicInfo {
    pub(super) fn new<M: Message>(topic: &Topic<M>) -> Self {
        Self { name: Arc::from(topic.name()), type_name: M::TYPE_NAME, schema: M::SCHEMA }
    }
}

#[derive(Debug)]
struct TapSender {
    id: u64,
    sender: Sender<TapRecord>,
    dropped: Arc<AtomicU64>,
}

/// The taps of one link.
#[derive(Debug, Default)]
pub(super) struct TapHub {
    /// How many taps there are: all that an untapped link looks at.
    active: AtomicUsize,
    next_id: AtomicU64,
    taps: RwLock<Vec<TapSender>>,
    /// The link's subscriptions of each topic; the first of them records.
    subscriptions: Mutex<BTreeMap<Arc<str>, Vec<u64>>>,
}

impl TapHub {
    pub(super) fn tap(hub: &Arc<Self>, capacity: usize) -> Tap {
        let (sender, records) = bounded(capacity.max(1));
        let dropped = Arc::new(AtomicU64::new(0));
        let id = hub.next_id.fetch_add(1, Ordering::Relaxed);
        let mut taps = hub.taps.write().unwrap_or_else(PoisonError::into_inner);
        taps.push(TapSender { id, sender, dropped: Arc::clone(&dropped) });
        hub.active.store(taps.len(), Ordering::Release);
        drop(taps);
        Tap { records, dropped, id, hub: Arc::clone(hub) }
    }

    /// Enters a subscription of the topic `name`; the number is for [`TapHub::received`].
    pub(super) fn enter(&self, name: &Arc<str>) -> u64 {
        let id = self.next_id.fetch_add(1, Ordering::Relaxed);
        lock(&self.subscriptions).entry(Arc::clone(name)).or_default().push(id);
        id
    }

    /// Takes a subscription out; the next of its topic records from then on.
    pub(super) fn leave(&self, name: &Arc<str>, subscription: u64) {
        let mut subscriptions = lock(&self.subscriptions);
        if let Some(ids) = subscriptions.get_mut(name) {
            ids.retain(|id| *id != subscription);
            if ids.is_empty() {
                subscriptions.remove(name);
            }
        }
    }

    /// Records what `subscription` received, unless another of the link's records this topic.
    pub(super) fn received(
        &self,
        topic: &TopicInfo,
        subscription: u64,
        arrival: u64,
        log_ns: u64,
        attachment: Option<&[u8]>,
        payload: &[u8],
    ) {
        if self.active.load(Ordering::Acquire) == 0 {
            return;
        }
        let first = lock(&self.subscriptions).get(&topic.name).and_then(|ids| ids.first().copied());
        if first == Some(subscription) {
            self.hand_out(topic, Some(arrival), log_ns, attachment, payload);
        }
    }

    /// Records what the link published.
    pub(super) fn sent(&self, topic: &TopicInfo, log_ns: u64, attachment: Option<&[u8]>, payload: &[u8]) {
        if self.active.load(Ordering::Acquire) != 0 {
            self.hand_out(topic, None, log_ns, attachment, payload);
        }
    }

    /// Hands a payload to all taps. Never waits for their readers; copies the payload once.
    fn hand_out(
        &self,
        topic: &TopicInfo,
        arrival: Option<u64>,
        log_ns: u64,
        raw_attachment: Option<&[u8]>,
        payload: &[u8],
    ) {
        let attachment = Attachment::decode(raw_attachment).ok();
        let record = TapRecord {
            topic_name: Arc::clone(&topic.name),
            type_name: topic.type_name,
            schema: topic.schema,
            log_ns,
            publish_ns: attachment.map_or(log_ns, |attachment| attachment.source_ns),
            sequence: attachment.map_or(0, |attachment| attachment.sequence),
            outgoing: arrival.is_none(),
            arrival: arrival.unwrap_or(0),
            attachment: raw_attachment.and_then(|bytes| bytes.try_into().ok()),
            bytes: Arc::from(payload),
        };
        let taps = self.taps.read().unwrap_or_else(PoisonError::into_inner);
        for tap in taps.iter() {
            match tap.sender.try_send(record.clone()) {
                Ok(()) => {}
                Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => {
                    tap.dropped.fetch_add(1, Ordering::Relaxed);
                }
            }
        }
    }
}
