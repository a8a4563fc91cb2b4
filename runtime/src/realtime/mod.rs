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
//! | `watch` | sees whether the reflex moves; feeds systemd's watchdog | a timer |
//! | the caller's | `on_progress` | telemetry |
//!
//! The reflex alone asks the system for real time ([`crate::rt`]), after all others run.
//!
//! Between them stand newest-value slots and bounded rings only (`wires`). A period that was missed is
//! skipped and counted, never made up. When `stop` becomes true the reflex brakes the arm, keeps
//! commanding until it rests ([`SHUTDOWN_NS`] at most), and then everything ends. A policy that is still
//! computing then is waited for two seconds; after that its thread is left behind, and that is a problem in
//! the report.

mod beside;
mod books;
mod health;
mod phase;
mod tick;
mod watching;
mod wires;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{Builder, JoinHandle};

use crossbeam::channel::bounded;
use reflexarc_drivers::Clock;

use crate::clockwork::{Schedule, monotonic_ns};
use crate::cost::{CostReport, Usage};
use crate::failsafe::FailsafeReport;
use crate::health::Teller;
use crate::health::server::Server;
use crate::progress::Progress;
use crate::recorder::{Recorder, Recording};
use crate::report::{ChunkReport, Report, TopicReport};
use crate::rt::{Grant, ProcessGrants, RealtimeReport, Service, ask, id};
use crate::runtime::{Runtime, RuntimeError};
use crate::senses::Senses;
use beside::{run_mind, send_commands};
use books::{Books, MIND_PATIENCE, keep_books};
use phase::Phase;
use tick::Reflexing;
pub use tick::SHUTDOWN_NS;
use watching::watch;
use wires::{Flags, SetOnDrop, read, wires};

/// The mind wakes this long after the tick whose snapshot it takes, ns.
const MIND_OFFSET_NS: u64 = 1_000_000;
/// From the decision to start to the first tick, ns.
const HEAD_START_NS: u64 = 5_000_000;

/// Runs until `stop` is true, then brakes and reports.
///
/// The policy is warmed up first. `clock` must be the clock that stamps the link's messages.
/// `on_progress` is called on the calling thread, a few times per second and at each change; it may
/// be slow, then some calls are left out. It may set `stop`.
///
/// # Errors
/// [`RuntimeError`] if the policy does not run, a thread or the recording cannot be started, or real time is
/// required and refused; nothing has been commanded then.
/// What goes wrong later is in [`Report::problems`].
pub fn run(
    mut runtime: Runtime,
    clock: &Clock,
    stop: &Arc<AtomicBool>,
    mut on_progress: impl FnMut(&Progress),
) -> Result<Report, RuntimeError> {
    let drops = runtime.recording.as_ref().map(Recording::drops);
    // Before the policy is warmed up, which takes large models longer than the recorder's queue lasts.
    let recorder = runtime.recording.take().map(Recording::start).transpose()?;
    runtime.warm_up()?;
    let server = runtime.config.metrics.address().map(Server::start).transpose()?;
    let diagnostics = runtime.link.publisher(&runtime.topics.diagnostics)?;
    let pinboard = server.as_ref().map(Server::pinboard);
    let teller = Teller::new(runtime.config.cost.clone(), diagnostics, pinboard, drops);
    let policy = runtime.policy_name().to_owned();
    let Runtime { config, spine, mut mind, mut writer, .. } = runtime;
    let names = Senses::names(&config.senses);
    let (mind_hz, reflex_hz) = (config.rates.mind_hz, config.rates.reflex_hz);
    let (reflex_ends, mind_ends, sender_ends, book_ends) = wires();
    let (progress_tx, progress_rx) = bounded::<Progress>(64);
    let (grants_tx, grants_rx) = bounded::<[Grant; 3]>(1);
    let service = Service::from_env();
    let flags = Arc::new(Flags::default());
    let mut problems = Vec::new();

    // A closure, so that what fails lets the threads already running end.
    let begin = || {
        let telemetry = spawn("telemetry", {
            let (flags, clock, names) = (Arc::clone(&flags), clock.clone(), names.clone());
            move || keep_books(book_ends, &flags, &clock, teller, &names, &progress_tx, service)
        })?;
        let sender = spawn("sender", {
            let (flags, clock) = (Arc::clone(&flags), clock.clone());
            move || {
                send_commands(sender_ends, &mut writer, &clock, &flags);
                writer.unsent()
            }
        })?;
        let minding = spawn("mind", {
            let (flags, clock, stop) = (Arc::clone(&flags), clock.clone(), Arc::clone(stop));
            move || {
                let _done = SetOnDrop(&flags.mind_done, None);
                if let Some(start_ns) = flags.await_start() {
                    let schedule = Schedule::new(start_ns + MIND_OFFSET_NS, mind_hz);
                    let phase = Phase::new(reflex_hz, mind_hz);
                    run_mind(&mut mind, mind_ends, schedule, phase, &clock, &stop, &flags);
                }
                mind.instruction().to_owned()
            }
        })?;
        let watching = spawn("watch", {
            let (flags, stop) = (Arc::clone(&flags), Arc::clone(stop));
            let limit_ns = config.realtime.stall_ms * 1_000_000;
            move || watch(&flags, limit_ns, service, &stop)
        })?;
        // From here on nothing starts but the reflex, which asks for itself alone.
        let process = ProcessGrants::ask(&config.realtime);
        let reflexing = spawn("reflex", {
            let (flags, stop, wanted) = (Arc::clone(&flags), Arc::clone(stop), config.realtime.clone());
            let sender = sender.thread().clone();
            let mut reflexing = Reflexing { spine, ends: reflex_ends, clock: clock.clone(), sender };
            move || {
                let _done = SetOnDrop(&flags.reflex_done, Some(reflexing.sender.clone()));
                // Set once, here, and read by whoever likes.
                let _ = flags.reflex_id.set(id());
                // Its receiver waits for it.
                let _ = grants_tx.send(ask(&wanted));
                drop(grants_tx);
                if let Some(start_ns) = flags.await_start() {
                    reflexing.run(Schedule::new(start_ns, reflex_hz), &stop, &flags);
                }
                reflexing
            }
        })?;
        let own = grants_rx.recv().map(Vec::from).unwrap_or_default();
        let grants: Vec<Grant> = own.into_iter().chain(process.grants.iter().cloned()).collect();
        let refused: Vec<String> =
            grants.iter().filter(|grant| grant.refused()).map(ToString::to_string).collect();
        if config.realtime.require_realtime && !refused.is_empty() {
            return Err(RuntimeError::RealtimeRefused { refused: refused.join("; ") });
        }
        if let Some(recorder) = &recorder {
            recorder.describe_grants(&grants);
        }
        // Set once, here.
        let _ = flags.grants.set(grants);
        Ok((telemetry, sender, minding, watching, reflexing, process))
    };
    let (telemetry, sender, minding, watching, reflexing, process) =
        begin().inspect_err(|_| flags.call_off())?;
    // Not set before: nobody else starts or calls off.
    let _ = flags.start.set(Some(monotonic_ns() + HEAD_START_NS));

    // Ends when telemetry does: the sending half is dropped with its thread.
    while let Ok(progress) = progress_rx.recv() {
        on_progress(&progress);
    }
    let Books { ledger, outcome, energy, thread } =
        joined("telemetry", telemetry, &mut problems).unwrap_or_default();
    let reflexing = joined("reflex", reflexing, &mut problems);
    let unsent = joined("sender", sender, &mut problems).unwrap_or_default();
    joined("watch", watching, &mut problems);
    drop(process);
    drop(server);
    let instruction = if flags.mind_done.load(Ordering::Acquire) {
        joined("mind", minding, &mut problems)
    } else {
        problems.push(format!(
            "the policy was still computing {} s after the arm had stopped: its thread was left behind",
            MIND_PATIENCE.as_secs()
        ));
        None
    };

    let recorder = match recorder.map(Recorder::finish) {
        Some(Ok(report)) => Some(report),
        Some(Err(error)) => {
            problems.push(error.to_string());
            None
        }
        None => None,
    };
    let realtime = RealtimeReport {
        grants: flags.grants.get().cloned().unwrap_or_default(),
        thread,
        late_ticks: read(&flags.late),
        stalls: read(&flags.stalls),
        longest_stall_ms: read(&flags.longest_stall_ns) / 1_000_000,
    };
    if realtime.stalls > 0 {
        problems.push(format!(
            "the reflex stood still {} times, {} ms at the longest (realtime.stall_ms = {})",
            realtime.stalls, realtime.longest_stall_ms, config.realtime.stall_ms
        ));
    }
    if ledger.lost > 0 {
        problems.push(format!("{} ledger records were lost: figures are incomplete", ledger.lost));
    }
    let mut report = Report {
        instruction: instruction.unwrap_or(config.policy.instruction),
        policy,
        commands_dropped: read(&flags.commands_dropped) + unsent,
        realtime,
        recorder,
        cost: CostReport::new(Usage::new(&ledger, &outcome, energy), &config.cost),
        problems,
        ..Report::from_ledger(&ledger, &outcome)
    };
    if let Some(Reflexing { spine, .. }) = reflexing {
        report.stops = spine.stops().0;
        report.failsafe = FailsafeReport::new(&ledger.failsafe, &spine);
        report.chunks = ChunkReport::new(&spine.play_stats(), &ledger.audit);
        let topics = names.iter().zip(spine.topic_stats());
        report.topics = topics.map(|(name, stats)| TopicReport::new(name, &stats)).collect();
    }
    Ok(report)
}

fn spawn<T: Send + 'static>(
    name: &'static str,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<JoinHandle<T>, RuntimeError> {
    Builder::new().name(name.into()).spawn(work).map_err(|source| RuntimeError::Thread { name, source })
}

fn joined<T>(name: &str, handle: JoinHandle<T>, problems: &mut Vec<String>) -> Option<T> {
    let result = handle.join();
    if result.is_err() {
        problems.push(format!("the thread `{name}` panicked"));
    }
    result.ok()
}
