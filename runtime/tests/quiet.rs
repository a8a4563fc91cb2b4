//! After its first ticks the reflex neither allocates nor frees, and gives up the processor once per tick: to
//! sleep. Counted by an allocator of this test's own, and by the kernel.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests fail by panicking")]

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::Builder;
use std::time::Duration;

use common::{HZ, Plant, Script, reach};
use counting::{Counting, calls_of};
use reflexarc_drivers::msg::BoolMsg;
use reflexarc_drivers::{Bus, Clock, Link, Topics};
use reflexarc_runtime::{Config, Runtime, realtime};

/// Counts every call to the allocator by the thread that makes it.
#[allow(unsafe_code, reason = "an allocator cannot be written without")]
mod counting {
    use std::alloc::{GlobalAlloc, Layout, System};
    use std::cell::Cell;
    use std::sync::atomic::{AtomicI32, AtomicU64, AtomicUsize, Ordering};

    const THREADS: usize = 512;
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    static TIDS: [AtomicI32; THREADS] = [const { AtomicI32::new(0) }; THREADS];
    static CALLS: [AtomicU64; THREADS] = [const { AtomicU64::new(0) }; THREADS];

    thread_local! {
        static SLOT: Cell<usize> = const { Cell::new(usize::MAX) };
    }

    pub(super) struct Counting;

    fn count() {
        SLOT.with(|slot| {
            if slot.get() == usize::MAX {
                slot.set(NEXT.fetch_add(1, Ordering::Relaxed));
                let tid = rustix::thread::gettid().as_raw_nonzero().get();
                TIDS[slot.get()].store(tid, Ordering::Release);
            }
            CALLS[slot.get()].fetch_add(1, Ordering::Relaxed);
        });
    }

    /// Calls by the thread `tid` so far.
    pub(super) fn calls_of(tid: i32) -> u64 {
        let slot = TIDS.iter().position(|entry| entry.load(Ordering::Acquire) == tid);
        slot.map_or(0, |slot| CALLS[slot].load(Ordering::Relaxed))
    }

    // SAFETY: every call goes to the system's allocator unchanged; counting allocates nothing (a constant
    // thread local without a destructor, and atomics).
    unsafe impl GlobalAlloc for Counting {
        unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
            count();
            // SAFETY: the caller's promise is passed on.
            unsafe { System.alloc(layout) }
        }
        unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
            count();
            // SAFETY: the caller's promise is passed on.
            unsafe { System.alloc_zeroed(layout) }
        }
        unsafe fn realloc(&self, at: *mut u8, layout: Layout, size: usize) -> *mut u8 {
            count();
            // SAFETY: the caller's promise is passed on.
            unsafe { System.realloc(at, layout, size) }
        }
        unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
            count();
            // SAFETY: the caller's promise is passed on.
            unsafe { System.dealloc(at, layout) }
        }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// The thread `reflex` of this process.
fn reflex_tid() -> Option<i32> {
    let tasks = std::fs::read_dir("/proc/self/task").unwrap();
    tasks.flatten().find_map(|task| {
        let name = std::fs::read_to_string(task.path().join("comm")).ok()?;
        (name.trim() == "reflex").then(|| task.file_name().to_str().unwrap().parse().unwrap())
    })
}

/// How often a thread has given up the processor by itself.
fn waits_of(tid: i32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/self/task/{tid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
    line.unwrap().trim().parse().unwrap()
}

#[derive(Debug)]
struct Moment {
    commands: u64,
    resets: u64,
    calls: u64,
    waits: u64,
}

#[test]
fn the_reflex_neither_allocates_nor_waits_for_anything_but_its_deadline() {
    let (bus, clock) = (Bus::new(), Clock::system());
    let mut plant = Plant::new(Link::in_process(&bus, clock.clone()));
    let observer = Link::in_process(&bus, clock.clone());
    let commands = observer.subscribe(&Topics::new("").joint_command).unwrap();
    let path = std::env::temp_dir().join(format!("reflexarc-{}-quiet.mcap", std::process::id()));
    let mut config = Config::default();
    config.record.path = Some(path.clone());
    // Limits that a busy machine keeps.
    config.senses.camera_max_age_ms = 2_000;
    config.senses.tactile_max_age_ms = 2_000;
    config.senses.joints_max_age_ms = 2_000;
    config.safety.decision_max_age_ms = 2_000;
    let link = Link::in_process(&bus, clock.clone());
    let runtime = Runtime::new(config, link, Box::new(Script::new(reach()))).unwrap();
    let resets = Arc::new(AtomicU64::new(0));
    let (stop, ended) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
    let robot = Builder::new()
        .name("robot".into())
        .spawn({
            let (clock, ended, resets) = (clock.clone(), Arc::clone(&ended), Arc::clone(&resets));
            move || {
                let mut tick = 0;
                while !ended.load(Ordering::Acquire) {
                    plant.step(tick, clock.now_ns());
                    // A stop, its release, a reset and a fresh enable, four times a second.
                    match tick % 60 {
                        10 => plant.estop.put(&BoolMsg::new(true)).unwrap(),
                        20 => plant.estop.put(&BoolMsg::new(false)).unwrap(),
                        21 => {
                            plant.reset.put(&BoolMsg::new(true)).unwrap();
                            resets.fetch_add(1, Ordering::Relaxed);
                        }
                        22 => plant.enable.put(&BoolMsg::new(true)).unwrap(),
                        _ => {}
                    }
                    tick += 1;
                    std::thread::sleep(Duration::from_micros(1_000_000 / HZ));
                }
            }
        })
        .unwrap();

    // Every tick sends a command once the arm has been seen, but for the one between a reset and the enable
    // after it; so both together count ticks from outside.
    let moment = || {
        let tid = reflex_tid()?;
        for _ in 0..1000 {
            let waits = waits_of(tid);
            let (commands, resets) = (commands.stats().received, resets.load(Ordering::Relaxed));
            let moment = Moment { commands, resets, calls: calls_of(tid), waits };
            // Only if all three belong to the same tick or two.
            if waits_of(tid) <= waits + 1 {
                return Some(moment);
            }
        }
        None
    };
    let (mut first, mut last, mut first_s) = (None, None, 0.0);
    let report = realtime::run(runtime, &clock, &stop, |progress| {
        if first.is_none() && progress.time_s >= 0.7 {
            first = moment();
            first_s = progress.time_s;
        } else if last.is_none() && progress.time_s >= first_s + 1.5 {
            last = moment();
        }
        if last.is_some() || progress.time_s > 20.0 {
            stop.store(true, Ordering::Release);
        }
    })
    .unwrap();
    ended.store(true, Ordering::Release);
    robot.join().unwrap();
    std::fs::remove_file(&path).unwrap();

    assert!(report.problems.is_empty(), "{:?}", report.problems);
    assert!(report.stops >= 4, "{}", report.to_text());
    assert!(report.modes["active"] > 50, "{}", report.to_text());
    let (first, last) = (first.expect("a first look"), last.expect("a last look"));
    assert_eq!(first.calls, last.calls, "{first:?} {last:?}");
    let ticks = last.commands - first.commands + last.resets - first.resets;
    let waits = last.waits - first.waits;
    assert!(ticks > 100, "{first:?} {last:?}");
    // Two ticks of slack at each end, for the moment between reading one number and the other, and those whose
    // command a busy machine's sender was too slow for.
    assert!(waits <= ticks + report.commands_dropped + 4, "{waits} waits in {ticks} ticks");
}
