//! Delivery within one process.

use std::collections::BTreeMap;
use std::sync::{
    Arc, Mutex, PoisonError, RwLock,
    atomic::{AtomicU64, Ordering},
};

use super::{Advertisement, Guard, Interest, Outlet, Sink, Transport, lock};
use crate::attachment::{ATTACHMENT_BYTES, Attachment};
use crate::topic::Qos;

/// Joins the in-process links of one process. Clones are the same bus.
#[derive(Clone, Default)]
pub struct Bus {
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    channels: Mutex<BTreeMap<String, Arc<Channel>>>,
    sessions: AtomicU64,
}

/// All that happens on one key.
#[derive(Default)]
struct Channel {
    sinks: RwLock<Vec<(u64, Arc<dyn Sink>)>>,
    next_sink: AtomicU64,
    latched: Mutex<Vec<Latched>>,
}

/// The last payload of one publisher.
struct Latched {
    gid: [u8; 16],
    payload: Vec<u8>,
    attachment: [u8; ATTACHMENT_BYTES],
}

impl std::fmt::Debug for Bus {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Bus").field("keys", &lock(&self.shared.channels).len()).finish()
    }
}

impl Bus {
    /// A bus without links.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Numbers the links from 1.
    pub(super) fn next_session(&self) -> u64 {
        self.shared.sessions.fetch_add(1, Ordering::Relaxed) + 1
    }

    fn channel(&self, key: &str) -> Arc<Channel> {
        Arc::clone(lock(&self.shared.channels).entry(key.to_owned()).or_default())
    }
}

impl Channel {
    fn deliver(&self, payload: &[u8], attachment: Option<&[u8]>) {
        let sinks = self.sinks.read().unwrap_or_else(PoisonError::into_inner);
        for (_, sink) in sinks.iter() {
            sink.deliver(payload, attachment);
        }
    }
}

impl Transport for Bus {
    fn advertise(&self, advertisement: &Advertisement<'_>) -> Result<Box<dyn Outlet>, String> {
        Ok(Box::new(BusOutlet {
            channel: self.channel(advertisement.key),
            latched: advertisement.qos.latched,
            gid: advertisement.gid,
        }))
    }

    fn subscribe(&self, interest: &Interest<'_>, sink: Arc<dyn Sink>) -> Result<Guard, String> {
        let channel = self.channel(interest.key);
        let id = channel.next_sink.fetch_add(1, Ordering::Relaxed);
        channel.sinks.write().unwrap_or_else(PoisonError::into_inner).push((id, Arc::clone(&sink)));
        // A payload published in between arrives twice; the sink knows it by its sequence number.
        for Latched { payload, attachment, .. } in lock(&channel.latched).iter() {
            sink.deliver(payload, Some(attachment));
        }
        Ok(Box::new(BusGuard { channel, id }))
    }

    fn inject(&self, key: &str, _: Qos, payload: &[u8], attachment: Option<&[u8]>) -> Result<(), String> {
        self.channel(key).deliver(payload, attachment);
        Ok(())
    }

    fn locators(&self) -> &[String] {
        &[]
    }

    fn peers(&self) -> usize {
        0
    }
}

struct BusOutlet {
    channel: Arc<Channel>,
    latched: bool,
    gid: [u8; 16],
}

impl Outlet for BusOutlet {
    fn send(&self, payload: Vec<u8>, attachment: &Attachment) -> Result<(), String> {
        let attachment = attachment.encode();
        if self.latched {
            let latest = Latched { gid: self.gid, payload: payload.clone(), attachment };
            let mut latched = lock(&self.channel.latched);
            match latched.iter_mut().find(|entry| entry.gid == self.gid) {
                Some(entry) => *entry = latest,
                None => latched.push(latest),
            }
        }
        self.channel.deliver(&payload, Some(&attachment));
        Ok(())
    }
}

impl Drop for BusOutlet {
    fn drop(&mut self) {
        lock(&self.channel.latched).retain(|entry| entry.gid != self.gid);
    }
}

struct BusGuard {
    channel: Arc<Channel>,
    id: u64,
}

impl Drop for BusGuard {
    fn drop(&mut self) {
        let mut sinks = self.channel.sinks.write().unwrap_or_else(PoisonError::into_inner);
        sinks.retain(|(id, _)| *id != self.id);
    }
}
