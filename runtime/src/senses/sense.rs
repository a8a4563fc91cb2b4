//! One sense: a subscription, the newest good value, and the counters.

use std::sync::Arc;

use reflexarc_drivers::{Message, Sample, Subscription};

use super::content::Refused;
use super::stamps::{SourceClock, Stamp, StampRules};
use super::{Seen, SenseCounts, TopicStats};
use crate::modes::{SenseFault, SenseId};

/// The newest good value.
pub(super) struct Accepted<M, T> {
    pub(super) sample: Arc<Sample<M>>,
    /// Capture time by our clock, ns.
    pub(super) capture_ns: u64,
    pub(super) extract: T,
}

/// One subscription with its newest good value.
pub(super) struct Sense<M: Message, T> {
    pub(super) id: SenseId,
    pub(super) required: bool,
    subscription: Subscription<M>,
    examined: Option<Arc<Sample<M>>>,
    accepted: Option<Accepted<M, T>>,
    clock: SourceClock,
    rules: StampRules,
    pub(super) counts: SenseCounts,
    stale: bool,
    pub(super) last_refused: Option<Refused>,
}

/// What one look at a sense brought.
#[derive(Clone, Copy, Debug)]
pub(super) struct Look {
    /// Whether its newest good value is fresh.
    pub(super) health: Result<(), SenseFault>,
    /// Whether a new good value came.
    pub(super) new: bool,
    /// Whether its source's clock jumped, or has not settled since.
    pub(super) jumped: bool,
}

impl<M: Message, T> Sense<M, T> {
    pub(super) fn new(id: SenseId, required: bool, subscription: Subscription<M>, rules: StampRules) -> Self {
        Self {
            id,
            required,
            subscription,
            examined: None,
            accepted: None,
            clock: SourceClock::default(),
            rules,
            counts: SenseCounts::default(),
            stale: false,
            last_refused: None,
        }
    }

    /// The newest good value, fresh or not.
    pub(super) fn accepted(&self) -> Option<&Accepted<M, T>> {
        self.accepted.as_ref()
    }

    /// Whether the source's stamps are corrected.
    pub(super) fn corrected(&self) -> bool {
        self.clock.corrected()
    }

    /// Looks at the newest message if it is new; `check` judges its content and extracts what is needed.
    pub(super) fn look(&mut self, now_ns: u64, check: impl FnOnce(&M) -> Result<T, Refused>) -> Look {
        let jumps = self.clock.jumps;
        let mut new = false;
        if let Some(sample) = self.subscription.latest()
            && self.examined.as_ref().is_none_or(|old| !Arc::ptr_eq(old, &sample))
        {
            new = self.examine(now_ns, &sample, check);
            self.examined = Some(sample);
        }
        let health = self.health(now_ns);
        let stale = matches!(health, Err(SenseFault::Stale { .. }));
        self.counts.went_stale += u64::from(stale && !self.stale);
        self.stale = stale;
        Look { health, new, jumped: self.clock.unsettled() || self.clock.jumps > jumps }
    }

    fn examine(
        &mut self,
        now_ns: u64,
        sample: &Arc<Sample<M>>,
        check: impl FnOnce(&M) -> Result<T, Refused>,
    ) -> bool {
        // A header that was never filled in says nothing; the link's own stamp does.
        let header_ns = sample.value.stamp_ns().filter(|stamp_ns| *stamp_ns > 0);
        let stamp_ns = header_ns.unwrap_or(sample.source_ns);
        let capture_ns = match self.clock.judge(&self.rules, stamp_ns, sample.received_ns, now_ns) {
            Stamp::Good(capture_ns) => capture_ns,
            Stamp::Future => {
                self.counts.future += 1;
                return false;
            }
            Stamp::Backwards => {
                self.counts.backwards += 1;
                return false;
            }
            Stamp::Repeated => {
                self.counts.repeated += 1;
                return false;
            }
        };
        match check(&sample.value) {
            Ok(extract) => {
                self.counts.accepted += 1;
                self.accepted = Some(Accepted { sample: Arc::clone(sample), capture_ns, extract });
                self.last_refused = None;
                true
            }
            Err(refused) => {
                let counts = &mut self.counts;
                *match refused {
                    Refused::Shape => &mut counts.shape,
                    Refused::Names => &mut counts.names,
                    Refused::NonFinite => &mut counts.non_finite,
                    Refused::Range => &mut counts.range,
                } += 1;
                self.last_refused = Some(refused);
                false
            }
        }
    }

    /// Fresh by capture and by arrival: a source whose clock runs ahead cannot look fresh for ever.
    fn health(&self, now_ns: u64) -> Result<(), SenseFault> {
        let (which, limit_ns) = (self.id, self.rules.limit_ns);
        let Some(accepted) = &self.accepted else {
            return Err(SenseFault::NeverSeen { which });
        };
        let captured_ns = accepted.capture_ns.min(accepted.sample.received_ns);
        let age_ns = now_ns.saturating_sub(captured_ns);
        if age_ns > limit_ns { Err(SenseFault::Stale { which, age_ns, limit_ns }) } else { Ok(()) }
    }

    pub(super) fn seen(&self) -> Seen {
        Seen {
            arrival: self.examined.as_ref().map_or(0, |sample| sample.arrival),
            stamp_ns: self.accepted.as_ref().map_or(0, |accepted| accepted.capture_ns),
        }
    }

    pub(super) fn stats(&self) -> TopicStats {
        let sense = SenseCounts { jumps: self.clock.jumps, resyncs: self.clock.resyncs, ..self.counts };
        TopicStats {
            sense,
            link: self.subscription.stats(),
            newest_ns: self.accepted.as_ref().map(|accepted| accepted.capture_ns),
            limit_ns: self.rules.limit_ns,
        }
    }
}
