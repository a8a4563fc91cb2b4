//! What the kernel says about threads and memory in `/proc`.
//!
//! Read from there and not from the C library, which answers some of these questions from its own notes.

use std::fs;
use std::path::Path;

use serde::{Deserialize, Serialize};

/// The field `key` of a `status` file, such as `VmLck`, without its unit.
pub(crate) fn field<'a>(status: &'a str, key: &str) -> Option<&'a str> {
    let line = status.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'))?;
    Some(line.trim().trim_end_matches(" kB"))
}

/// How a thread is scheduled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Scheduling {
    /// Real-time priority, 1 to 99; 0 for ordinary threads.
    pub(crate) priority: u64,
    /// The kernel's number of the policy: 0 ordinary, 1 FIFO, 2 round robin.
    pub(crate) policy: u64,
}

/// The numbers after the name in a `stat` file; the name may contain anything, also brackets.
fn numbers(stat: &str) -> Option<Vec<&str>> {
    Some(stat.rsplit_once(')')?.1.split_whitespace().collect())
}

/// Fields 40 and 41 of a `stat` file (proc_pid_stat(5); the third is the first after the name).
pub(crate) fn scheduling(stat: &str) -> Option<Scheduling> {
    let numbers = numbers(stat)?;
    let number = |field: usize| numbers.get(field - 3)?.parse().ok();
    Some(Scheduling { priority: number(40)?, policy: number(41)? })
}

/// What a thread has used so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ThreadUse {
    /// Times that it waited for something: its deadline, or a lock that it should not have taken.
    pub waits: u64,
    /// Times that it was pushed off its CPU.
    pub preempted: u64,
    /// Pages that had to be found or made when it touched them.
    pub minor_faults: u64,
    /// Pages that had to be read from the disk.
    pub major_faults: u64,
}

impl ThreadUse {
    /// Of the thread `tid` of this process; `None` if it has ended or the system does not tell.
    #[must_use]
    pub fn read(tid: i32) -> Option<Self> {
        let task = Path::new("/proc/self/task").join(tid.to_string());
        let status = fs::read_to_string(task.join("status")).ok()?;
        let stat = fs::read_to_string(task.join("stat")).ok()?;
        Self::parse(&status, &stat)
    }

    /// What was used after `earlier`.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        Self {
            waits: self.waits.saturating_sub(earlier.waits),
            preempted: self.preempted.saturating_sub(earlier.preempted),
            minor_faults: self.minor_faults.saturating_sub(earlier.minor_faults),
            major_faults: self.major_faults.saturating_sub(earlier.major_faults),
        }
    }

    fn parse(status: &str, stat: &str) -> Option<Self> {
        let count = |key| field(status, key)?.parse().ok();
        let numbers = numbers(stat)?;
        let number = |field: usize| numbers.get(field - 3)?.parse().ok();
        Some(Self {
            waits: count("voluntary_ctxt_switches")?,
            preempted: count("nonvoluntary_ctxt_switches")?,
            minor_faults: number(10)?,
            major_faults: number(12)?,
        })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests fail by panicking")]
mod tests {
    use super::*;

    const STAT: &str = "7 (a) b) R 1 2 3 4 -1 4194304 101 0 5 0 0 0 0 0 -81 0 1 0 74184 3133440 383 1 1 1 1 1 1 0 0 0 0 0 0 0 17 1 80 1 0 0 0 0";
    const STATUS: &str =
        "Name:\treflex\nVmLck:\t    2048 kB\nvoluntary_ctxt_switches:\t240\nnonvoluntary_ctxt_switches:\t3\n";

    #[test]
    fn fields_are_found_behind_any_name() {
        assert_eq!(scheduling(STAT), Some(Scheduling { priority: 80, policy: 1 }));
        assert_eq!(field(STATUS, "VmLck"), Some("2048"));
        assert_eq!(field(STATUS, "Vm"), None);
        let used = ThreadUse { waits: 240, preempted: 3, minor_faults: 101, major_faults: 5 };
        assert_eq!(ThreadUse::parse(STATUS, STAT), Some(used));
        assert_eq!(scheduling("7 (short) R 1"), None);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn this_thread_can_be_read() {
        let tid = rustix::thread::gettid().as_raw_nonzero().get();
        assert!(ThreadUse::read(tid).is_some());
        assert!(ThreadUse::read(i32::MAX).is_none());
    }
}
