//! The thread `telemetry`: ledger, progress, `diagnostics`, and the service's status line.

use std::sync::atomic::Ordering;
use std::time::Duration;

use crossbeam::channel::Sender;
use reflexarc_drivers::Clock;

use super::health::realtime_part;
use super::wires::{BookEnds, Flags, read};
use crate::clockwork::monotonic_ns;
use crate::cost::Energy;
use crate::health::{News, Teller};
use crate::ledger::Ledger;
use crate::modes::{Mode, WaitReason};
use crate::outcome::OutcomeWatch;
use crate::progress::Progress;
use crate::rt::{Service, ThreadUse};

/// How often the books are brought up to date.
const PERIOD: Duration = Duration::from_millis(20);
/// How often progress is told when nothing changes, ns.
const PROGRESS_NS: u64 = 250_000_000;
/// How often `diagnostics` is published, ns.
const DIAGNOSTICS_NS: u64 = 1_000_000_000;
/// How long the end of a run waits for a policy that is still computing.
pub(super) const MIND_PATIENCE: Duration = Duration::from_secs(2);

/// What the books said at the end.
#[derive(Default)]
pub(super) struct Books {
    pub ledger: Ledger,
    pub outcome: OutcomeWatch,
    pub energy: Energy,
    pub thread: Option<ThreadUse>,
}

/// Keeps the books until reflex and mind are done, or the reflex is and the mind does not come back.
pub(super) fn keep_books(
    mut ends: BookEnds,
    flags: &Flags,
    clock: &Clock,
    mut teller: Teller,
    names: &[String],
    progress: &Sender<Progress>,
    service: Service,
) -> Books {
    let mut ledger = Ledger::default();
    let mut watch = OutcomeWatch::default();
    let mut mode = Mode::Waiting(WaitReason::NoDecision);
    let mut told: Option<(Mode, String)> = None;
    let (mut told_ns, mut healthy_ns) = (0, 0);
    let mut rate = Rate::default();
    let mut waited = Duration::ZERO;
    let mut thread = Usage::default();
    loop {
        // Before the rings, so that what was queued last is still read.
        let reflex_done = flags.reflex_done.load(Ordering::Acquire);
        let done = reflex_done && (flags.mind_done.load(Ordering::Acquire) || waited >= MIND_PATIENCE);
        while let Ok(record) = ends.thoughts.pop() {
            ledger.thought(&record);
            watch.thought(&record);
        }
        while let Ok(record) = ends.ticks.pop() {
            mode = record.mode;
            watch.mode(mode);
            ledger.tick(&record);
        }
        while let Ok(record) = ends.sent.pop() {
            ledger.sent(&record);
        }
        ledger.lost = read(&flags.records_lost);
        ledger.thoughts_idle = read(&flags.mind_idle);
        ledger.mind_moved_ns = flags.mind_moved_ns.load(Ordering::Relaxed);
        teller.look(monotonic_ns());
        let now_ns = clock.now_ns();
        let per_s = rate.update(now_ns, ledger.thoughts);
        let news = Progress::new(&ledger, &watch, mode, per_s);
        let changed = told.as_ref().is_none_or(|(mode_key, message)| {
            mode_key.key() != mode.key() || (mode == Mode::Active && *message != news.message)
        });
        if now_ns.saturating_sub(healthy_ns) >= DIAGNOSTICS_NS || done {
            healthy_ns = now_ns;
            let topics: Vec<_> = names.iter().cloned().zip(*ends.topics.read()).collect();
            let realtime = realtime_part(flags, &ledger, thread.update(flags));
            let (progress, ledger, watch) = (&news, &ledger, &watch);
            teller.tell(News { now_ns, progress, ledger, watch, topics: &topics, realtime });
            if flags.stalled.load(Ordering::Relaxed) {
                service.status("the reflex stands still");
            } else {
                service.status(&news.line());
            }
        }
        if changed || done || now_ns.saturating_sub(told_ns) >= PROGRESS_NS {
            told = Some((mode, news.message.clone()));
            told_ns = now_ns;
            // A slow listener misses some of the news, never the run.
            let _ = progress.try_send(news);
        }
        if done {
            let energy = teller.finish(monotonic_ns());
            return Books { ledger, outcome: watch, energy, thread: thread.used };
        }
        if reflex_done {
            waited += PERIOD;
        }
        std::thread::sleep(PERIOD);
    }
}

/// What the reflex's thread has used since it was first looked at.
#[derive(Default)]
struct Usage {
    first: Option<ThreadUse>,
    used: Option<ThreadUse>,
}

impl Usage {
    fn update(&mut self, flags: &Flags) -> Option<ThreadUse> {
        // Nothing any more once the thread has ended: the last look stays.
        if let Some(now) = flags.reflex_id.get().and_then(|id| ThreadUse::read(*id)) {
            self.used = Some(now.since(self.first.get_or_insert(now)));
        }
        self.used
    }
}

/// Decisions per second over about a second.
#[derive(Default)]
struct Rate {
    since: Option<(u64, u64)>,
    per_s: f64,
}

impl Rate {
    fn update(&mut self, now_ns: u64, count: u64) -> f64 {
        let (since_ns, since_count) = *self.since.get_or_insert((now_ns, count));
        let span_ns = now_ns.saturating_sub(since_ns);
        if span_ns >= 1_000_000_000 {
            self.per_s = (count - since_count) as f64 / (span_ns as f64 / 1e9);
            self.since = Some((now_ns, count));
        }
        self.per_s
    }
}
