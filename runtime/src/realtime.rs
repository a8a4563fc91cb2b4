//! The runtime against the wall clock: each part on its own named thread.
//!
//! | thread | does | waits for |
//! |---|---|---|
//! | `reflex` | senses, safety, reflex at `reflex_hz` | its next deadline, nothing else |
//! | `sender` | puts commands on the link | the reflex |
//! | `mind` | policy and audit at `mind_hz`, puts goals on the link | its next deadline, the model |
//! | `recorder` | MCAP file | the link's tap, the disk |
//! | `telemetry` | ledger, the board at 5 Hz, `diagnostics` at 1 Hz | a 20 ms timer, the link, sysfs |
//! | `metrics` | the metrics page, if it is wanted | one client, two seconds at most |
//! | the caller's | `on_progress` | telemetry |
//!
//! Between them stand newest-value slots and bounded queues only. A period that was missed is
//! skipped and counted, never made up. When `stop` becomes true the reflex brakes the arm, keeps
//! commanding until it rests (half a second at most), and then everything ends.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{Builder, Scope, ScopedJoinHandle};
use std::time::Duration;

use crossbeam::channel::{Receiver, Sender, bounded};
use crossbeam::queue::ArrayQueue;
use reflexarc_drivers::Clock;

use crate::clockwork::{Schedule, monotonic_ns, sleep_until, tighten_timer_slack};
use crate::cost::{CostReport, Energy, Usage};
use crate::health::server::Server;
use crate::health::{News, Teller};
use crate::ledger::{Ledger, ThoughtRecord, TickRecord};
use crate::mind::{Mind, Thought};
use crate::modes::{Mode, StopCause, WaitReason};
use crate::outcome::OutcomeWatch;
use crate::progress::Progress;
use crate::recorder::{Recorder, RunInfo};
use crate::reflex::Command;
use crate::report::{ChunkReport, Report, TopicReport};
use crate::runtime::{Runtime, RuntimeError, tick_record};
use crate::senses::{MAX_SENSES, Senses, Snapshot, TopicStats};
use crate::spine::{CommandWriter, Spine};

/// The mind wakes this long after the tick whose snapshot it takes, ns.
const MIND_OFFSET_NS: u64 = 1_000_000;
/// How long the reflex keeps commanding a standstill at the end, at most, ns.
const SHUTDOWN_NS: u64 = 500_000_000;
/// How often the books are brought up to date.
const TELEMETRY_PERIOD: Duration = Duration::from_millis(20);
/// How often progress is told when nothing changes, ns.
const PROGRESS_NS: u64 = 250_000_000;
/// How often `diagnostics` is published, ns.
const DIAGNOSTICS_NS: u64 = 1_000_000_000;

/// What the threads share: slots, queues and flags.
struct Wires {
    snapshot: ArrayQueue<Snapshot>,
    thought: ArrayQueue<Thought>,
    /// Thoughts that have served, on their way back: the mind's thread frees them.
    served: ArrayQueue<Thought>,
    ticks: ArrayQueue<TickRecord>,
    thoughts: ArrayQueue<ThoughtRecord>,
    topics: ArrayQueue<[TopicStats; MAX_SENSES]>,
    reflex_done: AtomicBool,
    mind_done: AtomicBool,
}

/// Runs until `stop` is true, then brakes and reports.
///
/// The policy is warmed up first. `clock` must be the clock that stamps the link's messages.
/// `on_progress` is called on the calling thread, a few times per second and at each change; it may
/// be slow, then some calls are left out. It may set `stop`.
///
/// # Errors
/// [`RuntimeError`] if the policy does not run, or a thread or the recording cannot be started.
/// What goes wrong later is in [`Report::problems`].
pub fn run(
    mut runtime: Runtime,
    clock: &Clock,
    stop: &Arc<AtomicBool>,
    mut on_progress: impl FnMut(&Progress),
) -> Result<Report, RuntimeError> {
    runtime.warm_up()?;
    let info = RunInfo::new(&runtime.config, runtime.policy_name());
    let server = runtime.config.metrics.address().map(Server::start).transpose()?;
    let (recorder, drops) = match &runtime.config.record.path {
        Some(path) => {
            let tap = runtime.link.tap(runtime.config.record.queue);
            let drops = tap.drops();
            (Some(Recorder::start(path, tap, &info)?), Some(drops))
        }
        None => (None, None),
    };
    let diagnostics = runtime.link.publisher(&runtime.topics.diagnostics)?;
    let pinboard = server.as_ref().map(Server::pinboard);
    let teller = Teller::new(runtime.config.cost.clone(), diagnostics, pinboard, drops);
    let Runtime { config, mut spine, mut mind, mut writer, dof: _, .. } = runtime;
    let names = Senses::names(&config.senses);
    let wires = Wires {
        snapshot: ArrayQueue::new(1),
        thought: ArrayQueue::new(1),
        served: ArrayQueue::new(4),
        ticks: ArrayQueue::new(4096),
        thoughts: ArrayQueue::new(1024),
        topics: ArrayQueue::new(1),
        reflex_done: AtomicBool::new(false),
        mind_done: AtomicBool::new(false),
    };
    let (command_tx, command_rx) = bounded::<Command>(8);
    let (progress_tx, progress_rx) = bounded::<Progress>(64);
    let start_ns = monotonic_ns() + 5_000_000;
    let mut problems = Vec::new();

    let (ledger, watch, energy, dropped) = std::thread::scope(|scope| {
        let (wires, names) = (&wires, &names);
        let (spine, mind, writer) = (&mut spine, &mut mind, &mut writer);
        let (mind_hz, reflex_hz) = (config.rates.mind_hz, config.rates.reflex_hz);
        // A closure, so that a thread that cannot be started lets those already running end.
        let start = move || {
            let telemetry =
                spawn(scope, "telemetry", move || keep_books(wires, clock, teller, names, &progress_tx))?;
            let sender = spawn(scope, "sender", move || send_commands(&command_rx, writer))?;
            let minding = spawn(scope, "mind", move || {
                let _done = SetOnDrop(&wires.mind_done);
                let schedule = Schedule::new(start_ns + MIND_OFFSET_NS, mind_hz);
                run_mind(mind, schedule, clock, stop, wires);
            })?;
            let reflexing = spawn(scope, "reflex", move || {
                let _done = SetOnDrop(&wires.reflex_done);
                let schedule = Schedule::new(start_ns, reflex_hz);
                run_reflex(spine, schedule, clock, stop, wires, &command_tx)
            })?;
            Ok::<_, RuntimeError>((telemetry, sender, minding, reflexing))
        };
        let (telemetry, sender, minding, reflexing) = start().inspect_err(|_| {
            stop.store(true, Ordering::Release);
            wires.reflex_done.store(true, Ordering::Release);
            wires.mind_done.store(true, Ordering::Release);
        })?;
        // Ends when telemetry does: the sending half is dropped with its thread.
        while let Ok(progress) = progress_rx.recv() {
            on_progress(&progress);
        }
        let (dropped, lost) = joined("reflex", reflexing, &mut problems).unwrap_or_default();
        joined("sender", sender, &mut problems);
        joined("mind", minding, &mut problems);
        let (mut ledger, watch, energy) = joined("telemetry", telemetry, &mut problems).unwrap_or_default();
        ledger.lost = lost;
        Ok::<_, RuntimeError>((ledger, watch, energy, dropped))
    })?;

    drop(server);
    let recorder = match recorder.map(Recorder::finish) {
        Some(Ok(report)) => Some(report),
        Some(Err(error)) => {
            problems.push(error.to_string());
            None
        }
        None => None,
    };
    if ledger.lost > 0 {
        problems.push(format!("{} ledger records were lost: figures are incomplete", ledger.lost));
    }
    Ok(Report {
        instruction: mind.instruction().to_owned(),
        policy: mind.policy_name().to_owned(),
        commands_dropped: dropped + writer.unsent(),
        stops: spine.stops().0,
        chunks: ChunkReport::new(&spine.play_stats(), &ledger.audit),
        topics: names
            .iter()
            .zip(&spine.topic_stats())
            .map(|(name, stats)| TopicReport::new(name, stats))
            .collect(),
        recorder,
        cost: CostReport::new(Usage::new(&ledger, &watch, energy), &config.cost),
        problems,
        ..Report::from_ledger(&ledger, &watch)
    })
}

/// Sets a flag also when the thread that holds it panics, so that the others end.
struct SetOnDrop<'a>(&'a AtomicBool);

impl Drop for SetOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Release);
    }
}

fn spawn<'scope, 'env, T: Send + 'scope>(
    scope: &'scope Scope<'scope, 'env>,
    name: &'static str,
    work: impl FnOnce() -> T + Send + 'scope,
) -> Result<ScopedJoinHandle<'scope, T>, RuntimeError> {
    Builder::new()
        .name(name.into())
        .spawn_scoped(scope, work)
        .map_err(|source| RuntimeError::Thread { name, source })
}

fn joined<T>(name: &str, handle: ScopedJoinHandle<'_, T>, problems: &mut Vec<String>) -> Option<T> {
    let result = handle.join();
    if result.is_err() {
        problems.push(format!("the thread `{name}` panicked"));
    }
    result.ok()
}

/// Returns how many commands the sender, and how many records telemetry, was too slow for.
fn run_reflex(
    spine: &mut Spine,
    mut schedule: Schedule,
    clock: &Clock,
    stop: &AtomicBool,
    wires: &Wires,
    commands: &Sender<Command>,
) -> (u64, u64) {
    tighten_timer_slack();
    let (mut dropped, mut lost) = (0, 0);
    let mut thought: Option<Thought> = None;
    let mut stopping_ns: Option<u64> = None;
    loop {
        sleep_until(schedule.deadline_ns());
        let woke_ns = monotonic_ns();
        let wake = schedule.wake(woke_ns);
        let now_ns = clock.now_ns();
        if stop.load(Ordering::Acquire) {
            let since_ns = *stopping_ns.get_or_insert(woke_ns);
            spine.stop(StopCause::Shutdown);
            if woke_ns.saturating_sub(since_ns) > SHUTDOWN_NS || (since_ns != woke_ns && spine.at_rest()) {
                return (dropped, lost);
            }
        }
        if let Some(old) = wires.thought.pop().and_then(|newer| thought.replace(newer)) {
            // Only if the mind is far behind does this thread free it.
            drop(wires.served.push(old));
        }
        let snapshot = spine.sense(now_ns);
        let command = spine.act(now_ns, &snapshot, thought.as_ref());
        if commands.try_send(command).is_err() {
            dropped += 1;
        }
        drop(wires.snapshot.force_push(snapshot));
        if wake.slot.is_multiple_of(64) {
            let _ = wires.topics.force_push(spine.topic_stats());
        }
        let record = TickRecord {
            lateness_ns: wake.lateness_ns,
            execution_ns: monotonic_ns().saturating_sub(woke_ns),
            skipped: wake.skipped,
            ..tick_record(&command)
        };
        if wires.ticks.push(record).is_err() {
            lost += 1;
        }
    }
}

fn run_mind(mind: &mut Mind, mut schedule: Schedule, clock: &Clock, stop: &AtomicBool, wires: &Wires) {
    tighten_timer_slack();
    // Periods missed while there was something to decide about.
    let mut skipped = 0;
    while !stop.load(Ordering::Acquire) && !wires.reflex_done.load(Ordering::Acquire) {
        sleep_until(schedule.deadline_ns());
        skipped += schedule.wake(monotonic_ns()).skipped;
        while wires.served.pop().is_some() {}
        let Some(snapshot) = wires.snapshot.pop() else {
            continue;
        };
        match mind.think(clock.now_ns(), &snapshot, skipped) {
            Some((thought, record)) => {
                skipped = 0;
                drop(wires.thought.force_push(thought));
                // A full queue shows as missing decisions in the ledger's own count of losses.
                let _ = wires.thoughts.force_push(record);
            }
            None => skipped = 0,
        }
    }
}

fn send_commands(commands: &Receiver<Command>, writer: &mut CommandWriter) {
    while let Ok(command) = commands.recv() {
        writer.write(&command);
    }
}

fn keep_books(
    wires: &Wires,
    clock: &Clock,
    mut teller: Teller,
    names: &[String],
    progress: &Sender<Progress>,
) -> (Ledger, OutcomeWatch, Energy) {
    let mut ledger = Ledger::default();
    let mut watch = OutcomeWatch::default();
    let mut topics = [TopicStats::default(); MAX_SENSES];
    let mut mode = Mode::Waiting(WaitReason::NoDecision);
    let mut told: Option<(Mode, String)> = None;
    let (mut told_ns, mut healthy_ns) = (0, 0);
    let mut rate = Rate::default();
    loop {
        // Before the queues, so that what was queued last is still read.
        let done = wires.reflex_done.load(Ordering::Acquire) && wires.mind_done.load(Ordering::Acquire);
        while let Some(record) = wires.thoughts.pop() {
            ledger.thought(&record);
            watch.thought(&record);
        }
        while let Some(record) = wires.ticks.pop() {
            mode = record.mode;
            watch.mode(mode);
            ledger.tick(&record);
        }
        if let Some(newest) = wires.topics.pop() {
            topics = newest;
        }
        teller.look(monotonic_ns());
        let now_ns = clock.now_ns();
        let per_s = rate.update(now_ns, ledger.thoughts);
        let news = Progress::new(&ledger, &watch, mode, per_s);
        let changed = told.as_ref().is_none_or(|(mode_key, message)| {
            mode_key.key() != mode.key() || (mode == Mode::Active && *message != news.message)
        });
        if now_ns.saturating_sub(healthy_ns) >= DIAGNOSTICS_NS || done {
            healthy_ns = now_ns;
            let topics: Vec<_> = names.iter().cloned().zip(topics).collect();
            let (progress, ledger, watch) = (&news, &ledger, &watch);
            teller.tell(&News { now_ns, progress, ledger, watch, topics: &topics });
        }
        if changed || done || now_ns.saturating_sub(told_ns) >= PROGRESS_NS {
            told = Some((mode, news.message.clone()));
            told_ns = now_ns;
            // A slow listener misses some of the news, never the run.
            let _ = progress.try_send(news);
        }
        if done {
            return (ledger, watch, teller.finish(monotonic_ns()));
        }
        std::thread::sleep(TELEMETRY_PERIOD);
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
