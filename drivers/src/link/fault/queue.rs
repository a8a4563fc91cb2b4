//! Delayed messages, in the order in which they are to arrive.

use std::collections::BTreeMap;
use std::sync::{
    Arc, Condvar, Mutex, PoisonError, Weak,
    atomic::{AtomicUsize, Ordering},
};
use std::time::Duration;

use super::lane::Parcel;
use crate::clock::Clock;
use crate::link::lock;

/// Where a delayed message goes.
pub(super) trait Destination: Send + Sync {
    fn hand_over(&self, payload: Vec<u8>, attachment: Option<&[u8]>) -> Result<(), String>;
}

struct Entry {
    to: Weak<dyn Destination>,
    parcel: Parcel,
    /// The lane's count of messages in the queue, taken down after the delivery.
    waiting: Arc<AtomicUsize>,
}

#[derive(Default)]
struct State {
    /// By time, then by the order in which they were put here.
    entries: BTreeMap<(u64, u64), Entry>,
    next: u64,
    closed: bool,
}

/// Keeps messages until they are due.
#[derive(Default)]
pub(super) struct Queue {
    state: Mutex<State>,
    changed: Condvar,
}

impl Queue {
    pub(super) fn put(&self, to: Weak<dyn Destination>, parcel: Parcel, waiting: &Arc<AtomicUsize>) {
        waiting.fetch_add(1, Ordering::AcqRel);
        let mut state = lock(&self.state);
        let place = (parcel.due_ns, state.next);
        state.next += 1;
        state.entries.insert(place, Entry { to, parcel, waiting: Arc::clone(waiting) });
        drop(state);
        self.changed.notify_one();
    }

    /// Delivers all that is due at `now_ns`, also what comes to be due by these deliveries. Returns how
    /// many were delivered, and when the next is due.
    pub(super) fn deliver(&self, now_ns: u64) -> (usize, Option<u64>) {
        let mut delivered = 0;
        loop {
            let mut state = lock(&self.state);
            let next_ns = state.entries.keys().next().map(|(due_ns, _)| *due_ns);
            if next_ns.is_none_or(|due_ns| due_ns > now_ns) {
                return (delivered, next_ns);
            }
            let Some((_, Entry { to, parcel, waiting })) = state.entries.pop_first() else {
                return (delivered, None);
            };
            // Not held while delivering: a delivery may pass another wrapped link and come back here.
            drop(state);
            if let Some(to) = to.upgrade() {
                // The publisher has been told long ago; a transport that has ended takes nothing more.
                let _ended = to.hand_over(parcel.payload, parcel.attachment.as_deref());
                delivered += 1;
            }
            waiting.fetch_sub(1, Ordering::AcqRel);
        }
    }

    /// Delivers what is due until the queue is closed. What is not due by then is thrown away.
    pub(super) fn run(&self, clock: &Clock) {
        loop {
            let now_ns = clock.now_ns();
            let (_, next_ns) = self.deliver(now_ns);
            let state = lock(&self.state);
            if state.closed {
                return;
            }
            // Something may have been put here since.
            if state.entries.keys().next().map(|(due_ns, _)| *due_ns) != next_ns {
                continue;
            }
            match next_ns {
                Some(due_ns) => {
                    let wait = Duration::from_nanos(due_ns.saturating_sub(now_ns));
                    drop(self.changed.wait_timeout(state, wait).map_err(PoisonError::into_inner));
                }
                None => drop(self.changed.wait(state).map_err(PoisonError::into_inner)),
            }
        }
    }

    pub(super) fn close(&self) {
        lock(&self.state).closed = true;
        self.changed.notify_all();
    }

    /// Messages on their way, and when the last of them is due.
    pub(super) fn waiting(&self) -> (usize, Option<u64>) {
        let state = lock(&self.state);
        (state.entries.len(), state.entries.keys().next_back().map(|(due_ns, _)| *due_ns))
    }
}
