//! Threads that share one piece of work at a time.
//!
//! A kernel is short (tens of microseconds to a few milliseconds) and hundreds follow each other, so
//! waking a thread through the kernel for each would cost as much as the work. Workers therefore spin
//! for [`SPIN`] after their last task, then park: an idle robot burns nothing.
//!
//! One word, `state`, holds the life of a job: its number, whether it is open, and how many workers are
//! inside. A worker enters only while the job is open and the caller closes it before it waits, so a
//! worker that the operating system has put aside is never waited for unless it holds a task.
#![allow(unsafe_code, reason = "the task is borrowed across threads for the length of one call")]

use std::any::Any;
use std::cell::UnsafeCell;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{JoinHandle, Thread};
use std::time::{Duration, Instant};

/// How long a thread spins before it parks.
const SPIN: Duration = Duration::from_micros(50);

/// Set in `state` while workers may enter; the bits below count those inside, those above number the job.
const OPEN: u64 = 1 << 31;
const INSIDE: u64 = OPEN - 1;
const NUMBER: u64 = !(OPEN | INSIDE);

/// The worker threads of one backend; they end when it is dropped.
pub(super) struct Pool {
    shared: Arc<Shared>,
    workers: Vec<JoinHandle<()>>,
}

struct Shared {
    /// A caller has the pool.
    taken: AtomicBool,
    state: AtomicU64,
    /// The next task nobody has claimed.
    next: AtomicUsize,
    /// Written only by the caller that has the pool while the job is closed and empty; read only inside.
    job: UnsafeCell<Option<Job>>,
    panic: Mutex<Option<Box<dyn Any + Send>>>,
    stop: AtomicBool,
}

struct Job {
    task: *const (dyn Fn(usize) + Sync),
    tasks: usize,
    caller: Thread,
}

// SAFETY: `job` follows the protocol above; its pointer is to a `Sync` closure that outlives the job.
unsafe impl Sync for Shared {}
// SAFETY: as above; nothing in it belongs to one thread.
unsafe impl Send for Shared {}

impl Pool {
    /// Starts `workers` threads; fewer where the system refuses. They inherit the affinity and the
    /// scheduling class of the caller.
    pub(super) fn new(workers: usize) -> Self {
        let shared = Arc::new(Shared {
            taken: AtomicBool::new(false),
            state: AtomicU64::new(0),
            next: AtomicUsize::new(0),
            job: UnsafeCell::new(None),
            panic: Mutex::new(None),
            stop: AtomicBool::new(false),
        });
        let workers = (0..workers)
            .map_while(|at| {
                let shared = shared.clone();
                let name = format!("compute-{}", at + 1);
                std::thread::Builder::new().name(name).spawn(move || shared.work()).ok()
            })
            .collect();
        Self { shared, workers }
    }

    /// Calls `task` for each of `0..tasks` and returns when all are done. The caller takes part. A call
    /// from inside a task, or while another thread has the pool, runs on the caller's thread alone. A
    /// panic in a task drops the tasks not yet claimed and continues in the caller.
    pub(super) fn run(&self, tasks: usize, task: &(dyn Fn(usize) + Sync)) {
        if tasks < 2 || self.workers.is_empty() || self.shared.taken.swap(true, Ordering::Acquire) {
            return (0..tasks).for_each(task);
        }
        let shared = &*self.shared;
        // SAFETY: only the lifetime changes; the job is closed and empty before this call returns.
        let erased = unsafe {
            std::mem::transmute::<*const (dyn Fn(usize) + Sync), *const (dyn Fn(usize) + Sync + 'static)>(
                task,
            )
        };
        // SAFETY: `taken` is ours and the last job is closed and empty, so nobody else looks at it.
        unsafe { *shared.job.get() = Some(Job { task: erased, tasks, caller: std::thread::current() }) };
        shared.next.store(0, Ordering::Relaxed);
        let number = (shared.state.load(Ordering::Relaxed) & NUMBER).wrapping_add(OPEN << 1);
        // Release: whoever enters sees the job. A worker about to park sees it too, since `unpark` comes
        // after.
        shared.state.store(number | OPEN, Ordering::Release);
        for worker in self.workers.iter().take(tasks - 1) {
            worker.thread().unpark();
        }
        shared.take_tasks(task, tasks);
        shared.state.fetch_and(!OPEN, Ordering::AcqRel);
        wait(|| shared.state.load(Ordering::Acquire) & INSIDE == 0);
        let panic = shared.panic.lock().unwrap_or_else(PoisonError::into_inner).take();
        shared.taken.store(false, Ordering::Release);
        if let Some(panic) = panic {
            resume_unwind(panic);
        }
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Release);
        for worker in self.workers.drain(..) {
            worker.thread().unpark();
            // A worker catches every panic of a task; it has none of its own.
            let _ = worker.join();
        }
    }
}

impl Shared {
    /// A worker's life.
    fn work(&self) {
        let mut seen = 0;
        loop {
            let open = |state: u64| state & OPEN != 0 && state & NUMBER != seen;
            wait(|| open(self.state.load(Ordering::Relaxed)) || self.stop.load(Ordering::Relaxed));
            if self.stop.load(Ordering::Acquire) {
                return;
            }
            let enter = |state| open(state).then_some(state + 1);
            let Ok(state) = self.state.fetch_update(Ordering::AcqRel, Ordering::Relaxed, enter) else {
                continue;
            };
            seen = state & NUMBER;
            // SAFETY: we are counted inside, so the job stays until we leave.
            let Some(Job { task, tasks, caller }) = (unsafe { &*self.job.get() }) else { continue };
            let caller = caller.clone();
            // SAFETY: the closure outlives the job.
            self.take_tasks(unsafe { &**task }, *tasks);
            if self.state.fetch_sub(1, Ordering::AcqRel) & (OPEN | INSIDE) == 1 {
                caller.unpark();
            }
        }
    }

    fn take_tasks(&self, task: &(dyn Fn(usize) + Sync), tasks: usize) {
        let result = catch_unwind(AssertUnwindSafe(|| {
            loop {
                let at = self.next.fetch_add(1, Ordering::Relaxed);
                if at >= tasks {
                    return;
                }
                task(at);
            }
        }));
        if let Err(panic) = result {
            self.next.store(tasks, Ordering::Relaxed);
            self.panic.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(panic);
        }
    }
}

/// Spins until `ready`, then parks between looks.
fn wait(ready: impl Fn() -> bool) {
    let mut since = None;
    while !ready() {
        for _ in 0..32 {
            if ready() {
                return;
            }
            std::hint::spin_loop();
        }
        if since.get_or_insert_with(Instant::now).elapsed() > SPIN {
            std::thread::park();
        }
    }
}

impl std::fmt::Debug for Pool {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Pool({} workers)", self.workers.len())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests fail by panicking")]
    use super::*;

    fn each_once(pool: &Pool, tasks: usize) {
        let counts: Vec<AtomicUsize> = (0..tasks).map(|_| AtomicUsize::new(0)).collect();
        pool.run(tasks, &|at| {
            counts[at].fetch_add(1, Ordering::Relaxed);
        });
        assert!(counts.iter().all(|count| count.load(Ordering::Relaxed) == 1));
    }

    #[test]
    fn every_task_runs_once_before_the_call_returns() {
        for workers in [0, 1, 3, 16] {
            let pool = Pool::new(workers);
            for round in 0..2000 {
                each_once(&pool, round % 37);
                if round % 500 == 0 {
                    // Long enough for the workers to park.
                    std::thread::sleep(4 * SPIN);
                }
            }
        }
    }

    #[test]
    fn callers_share_a_pool_and_tasks_may_call_again() {
        let pool = Pool::new(3);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..500 {
                        let sum = AtomicUsize::new(0);
                        pool.run(9, &|i| {
                            pool.run(5, &|j| {
                                sum.fetch_add(i * 5 + j, Ordering::Relaxed);
                            });
                        });
                        assert_eq!(sum.into_inner(), 44 * 45 / 2);
                    }
                });
            }
        });
    }

    #[test]
    fn a_panic_reaches_the_caller_and_the_pool_lives_on() {
        let pool = Pool::new(3);
        for bad in [0, 5, 99] {
            let caught = catch_unwind(AssertUnwindSafe(|| {
                pool.run(100, &|at| assert!(at != bad, "task {at}"));
            }));
            let message = caught.unwrap_err();
            assert_eq!(message.downcast_ref::<String>(), Some(&format!("task {bad}")));
            each_once(&pool, 100);
        }
    }

    #[test]
    fn workers_end_with_the_pool() {
        let pool = Pool::new(4);
        let shared = Arc::downgrade(&pool.shared);
        each_once(&pool, 10);
        drop(pool);
        assert_eq!(shared.strong_count(), 0);
    }
}
