//! One topic in one direction: what becomes of each message.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64;

use super::damage;
use super::plan::{Direction, FaultPlan, FaultRule, Freeze};
use crate::attachment::Attachment;
use crate::link::tap::TopicInfo;

/// What was done to messages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FaultCounts {
    /// Messages looked at.
    pub seen: u64,
    /// Never delivered, by chance.
    pub lost: u64,
    /// Never delivered, or replaced by the last one, because the topic was frozen.
    pub frozen: u64,
    /// Delivered later.
    pub delayed: u64,
    /// Kept back so that later ones could overtake.
    pub reordered: u64,
    /// Delivered twice.
    pub duplicated: u64,
    /// Bits flipped, in the payload or in the attachment.
    pub corrupted: u64,
    /// Cut short.
    pub truncated: u64,
    /// A number replaced by NaN or an infinity.
    pub not_finite: u64,
    /// Stamped by a wrong clock.
    pub clock_shifted: u64,
}

impl FaultCounts {
    /// Messages to which something was done, at the most: one that met two faults counts twice.
    #[must_use]
    pub fn done(&self) -> u64 {
        self.lost
            + self.frozen
            + self.delayed
            + self.reordered
            + self.duplicated
            + self.corrupted
            + self.truncated
            + self.not_finite
            + self.clock_shifted
    }

    pub(super) fn add(&mut self, other: &Self) {
        self.seen += other.seen;
        self.lost += other.lost;
        self.frozen += other.frozen;
        self.delayed += other.delayed;
        self.reordered += other.reordered;
        self.duplicated += other.duplicated;
        self.corrupted += other.corrupted;
        self.truncated += other.truncated;
        self.not_finite += other.not_finite;
        self.clock_shifted += other.clock_shifted;
    }
}

/// A message on its way.
#[derive(Debug)]
pub(super) struct Parcel {
    /// When it is to arrive.
    pub(super) due_ns: u64,
    pub(super) payload: Vec<u8>,
    pub(super) attachment: Option<Vec<u8>>,
}

/// One topic in one direction, for one publisher or one subscription.
pub(super) struct Lane {
    pub(super) topic: TopicInfo,
    pub(super) direction: Direction,
    pub(super) counts: FaultCounts,
    /// Messages in the queue of delayed ones. While there are any, no later one may go straight through.
    pub(super) waiting: Arc<AtomicUsize>,
    rules: Vec<FaultRule>,
    rng: ChaCha8Rng,
    /// The last message before a freeze, kept only where a rule needs it.
    kept: Option<Vec<u8>>,
    keeps: bool,
    last_due_ns: u64,
}

impl Lane {
    /// The lane number `number` of its topic and direction; none if the plan leaves it alone.
    pub(super) fn new(
        plan: &FaultPlan,
        topic: &TopicInfo,
        direction: Direction,
        number: usize,
    ) -> Option<Self> {
        let fits = |rule: &&FaultRule| rule.fits(&topic.name, direction);
        let rules: Vec<FaultRule> = plan.rules.iter().filter(fits).cloned().collect();
        if rules.is_empty() {
            return None;
        }
        let stream = format!("{} {} {direction:?} {number}", plan.seed, topic.name);
        let keeps = rules.iter().any(|rule| matches!(rule.freeze, Some(Freeze::Repeat | Freeze::Stuck)));
        Some(Self {
            topic: topic.clone(),
            direction,
            counts: FaultCounts::default(),
            waiting: Arc::default(),
            rules,
            rng: ChaCha8Rng::seed_from_u64(xxh3_64(stream.as_bytes())),
            kept: None,
            keeps,
            last_due_ns: 0,
        })
    }

    /// What becomes of a message: nothing, one parcel or two. `elapsed_ns` counts from the plan's start.
    pub(super) fn take(
        &mut self,
        now_ns: u64,
        elapsed_ns: u64,
        payload: &[u8],
        attachment: Option<&[u8]>,
    ) -> Vec<Parcel> {
        self.counts.seen += 1;
        let mut payload = payload.to_vec();
        let mut attachment = attachment.map(<[u8]>::to_vec);
        let (mut late_ns, mut overtaken_ns, mut twice, mut frozen) = (0_u64, 0_u64, false, false);
        let Self { rules, rng, counts, topic, .. } = self;
        for rule in rules.iter().filter(|rule| rule.window().contains(elapsed_ns)) {
            let ns = |ms: u64| ms.saturating_mul(1_000_000);
            match (rule.freeze, &self.kept) {
                (None, _) => {}
                (Some(Freeze::Silent), _) => {
                    counts.frozen += 1;
                    return Vec::new();
                }
                // Nothing came before: this one is what the topic freezes at.
                (Some(Freeze::Repeat | Freeze::Stuck), None) => {}
                (Some(freeze), Some(kept)) => {
                    counts.frozen += 1;
                    frozen = true;
                    let fresh = std::mem::replace(&mut payload, kept.clone());
                    if freeze == Freeze::Stuck {
                        damage::restamp(topic.schema, &mut payload, &fresh);
                    }
                }
            }
            if happens(rng, rule.loss) {
                counts.lost += 1;
                return Vec::new();
            }
            if rule.clock_shift_ms != 0 {
                counts.clock_shifted += 1;
                let shift_ns = rule.clock_shift_ms.saturating_mul(1_000_000);
                damage::shift_stamp(topic.schema, &mut payload, shift_ns);
                if let Ok(known) = Attachment::decode(attachment.as_deref()) {
                    let source_ns = known.source_ns.saturating_add_signed(shift_ns);
                    attachment = Some(Attachment { source_ns, ..known }.encode().to_vec());
                }
            }
            if happens(rng, rule.not_finite)
                && let Some(spoilt) = damage::not_finite(rng, topic.type_name, &payload)
            {
                counts.not_finite += 1;
                payload = spoilt;
            }
            if happens(rng, rule.corrupt) {
                counts.corrupted += 1;
                damage::flip_bits(rng, &mut payload);
            }
            if happens(rng, rule.corrupt_attachment)
                && let Some(attachment) = &mut attachment
            {
                counts.corrupted += 1;
                damage::flip_bits(rng, attachment);
            }
            if happens(rng, rule.truncate) {
                counts.truncated += 1;
                damage::truncate(rng, &mut payload);
            }
            if happens(rng, rule.duplicate) {
                counts.duplicated += 1;
                twice = true;
            }
            late_ns = late_ns.saturating_add(ns(rule.delay_ms));
            if rule.jitter_ms > 0 {
                late_ns = late_ns.saturating_add(rng.random_range(0..=ns(rule.jitter_ms)));
            }
            if happens(rng, rule.reorder) {
                counts.reordered += 1;
                overtaken_ns = overtaken_ns.max(ns(rule.reorder_ms));
            }
        }
        counts.delayed += u64::from(late_ns > 0);
        if self.keeps && !frozen {
            self.kept = Some(payload.clone());
        }
        // Never before an earlier one, unless one of the two was to be overtaken.
        let mut due_ns = now_ns.saturating_add(late_ns).max(self.last_due_ns);
        self.last_due_ns = due_ns;
        due_ns = due_ns.saturating_add(overtaken_ns);
        let again =
            twice.then(|| Parcel { due_ns, payload: payload.clone(), attachment: attachment.clone() });
        std::iter::once(Parcel { due_ns, payload, attachment }).chain(again).collect()
    }

    /// Whether a parcel may be handed over at once.
    pub(super) fn may_pass(&self, parcel: &Parcel, now_ns: u64) -> bool {
        parcel.due_ns <= now_ns && self.waiting.load(Ordering::Acquire) == 0
    }
}

fn happens(rng: &mut ChaCha8Rng, chance: f64) -> bool {
    chance > 0.0 && rng.random_bool(chance.min(1.0))
}
