//! What is asked for the whole process: locked memory, and CPUs that wake quickly.

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Write};
use std::path::Path;

use rustix::mm::{MlockAllFlags, mlockall, munlockall};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::grant::{Facility, Grant};
use super::procfs::field;
use crate::config::RealtimeConfig;

const MEMORY_REMEDY: &str = "give the process CAP_IPC_LOCK or an unlimited RLIMIT_MEMLOCK: \
LimitMEMLOCK=infinity in the systemd unit, --ulimit memlock=-1 for a container, \
or `* - memlock unlimited` in /etc/security/limits.conf";
const LATENCY_REMEDY: &str = "let the program write /dev/cpu_dma_latency: a udev rule that gives the \
file to its group, and DeviceAllow=/dev/cpu_dma_latency rw in a unit with DevicePolicy=closed";
const LATENCY_FILE: &str = "/dev/cpu_dma_latency";
/// The bit of CAP_IPC_LOCK (capabilities(7)).
const CAP_IPC_LOCK: u64 = 1 << 14;

/// What holds for the process; it is given back when this is dropped.
#[derive(Debug)]
pub struct ProcessGrants {
    /// Memory and CPU latency.
    pub grants: [Grant; 2],
    locked: bool,
    /// The kernel keeps the request as long as the file is open.
    _latency: Option<File>,
}

impl ProcessGrants {
    /// Raises the limits that stand in the way as far as allowed, then asks for what is configured. Call it
    /// when everything is built and all other threads run: what exists is locked at once, and takes as long
    /// as it takes to touch it.
    #[must_use]
    pub fn ask(config: &RealtimeConfig) -> Self {
        let memory = if config.lock_memory {
            lock_memory()
        } else {
            Grant::not_asked(Facility::Memory, locked_bytes())
        };
        let (latency, file) = match config.cpu_dma_latency_us {
            Some(us) => hold_latency(Path::new(LATENCY_FILE), us),
            None => (Grant::not_asked(Facility::CpuLatency, None), None),
        };
        let locked = config.lock_memory && !memory.refused();
        Self { grants: [memory, latency], locked, _latency: file }
    }
}

impl Drop for ProcessGrants {
    fn drop(&mut self) {
        if self.locked {
            // It never fails on Linux, and at the end of a run nothing could be done about it.
            let _ = munlockall();
        }
    }
}

/// Raises the soft limit to the hard one, and both to `enough` where the process may.
/// Returns the limit then in force; `None` is no limit.
pub(super) fn raise(resource: Resource, enough: Option<u64>) -> Option<u64> {
    let now = getrlimit(resource);
    let reached = |limit: Option<u64>| match (limit, enough) {
        (None, _) => true,
        (Some(_), None) => false,
        (Some(limit), Some(enough)) => limit >= enough,
    };
    if !reached(now.current) {
        let maximum = if reached(now.maximum) { now.maximum } else { enough };
        // Above the hard limit only with CAP_SYS_RESOURCE; up to it always.
        if setrlimit(resource, Rlimit { current: enough, maximum }).is_err() {
            let _ = setrlimit(resource, Rlimit { current: now.maximum, maximum: now.maximum });
        }
    }
    getrlimit(resource).current
}

fn locked_bytes() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    Some(field(&status, "VmLck")?.parse::<u64>().ok()? * 1024)
}

fn may_lock_without_limit() -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let effective = field(&status, "CapEff").and_then(|hex| u64::from_str_radix(hex, 16).ok());
    effective.is_some_and(|bits| bits & CAP_IPC_LOCK != 0)
}

fn lock_memory() -> Grant {
    let limit = raise(Resource::Memlock, None);
    let answer = match limit {
        // With FUTURE, the first allocation beyond the limit would fail and end the program in mid-motion.
        Some(bytes) if !may_lock_without_limit() => {
            Err(format!("at most {bytes} bytes may be locked, and later allocations would fail"))
        }
        _ => mlockall(MlockAllFlags::CURRENT | MlockAllFlags::FUTURE).map_err(|error| error.to_string()),
    };
    Grant::judge(Facility::Memory, 1, answer, locked_bytes(), |bytes| bytes > 0, MEMORY_REMEDY)
}

/// Asks for CPUs that wake within `us`; the file must stay open.
fn hold_latency(path: &Path, us: u32) -> (Grant, Option<File>) {
    let asked = u64::from(us);
    let request = i32::try_from(us).unwrap_or(i32::MAX).to_ne_bytes();
    let opened = OpenOptions::new().read(true).write(true).open(path);
    let written = opened.and_then(|mut file| file.write_all(&request).map(|()| file));
    let (answer, got, file) = match written {
        Ok(mut file) => {
            // Reading gives the smallest of everybody's requests.
            let mut now = [0; 4];
            let got =
                file.read_exact(&mut now).ok().and_then(|()| u64::try_from(i32::from_ne_bytes(now)).ok());
            (Ok(()), got, Some(file))
        }
        Err(error) => (Err(format!("{}: {error}", path.display())), None, None),
    };
    (Grant::judge(Facility::CpuLatency, asked, answer, got, |got| got <= asked, LATENCY_REMEDY), file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_latency_file_that_is_not_there_is_a_refusal_with_a_remedy() {
        let (grant, file) = hold_latency(Path::new("/nowhere/cpu_dma_latency"), 0);
        assert!(grant.refused() && file.is_none());
        assert!(grant.to_string().contains("udev"), "{grant}");
    }

    #[test]
    fn nothing_asked_changes_nothing() {
        let config = RealtimeConfig::default();
        let held = ProcessGrants::ask(&config);
        assert!(held.grants.iter().all(|grant| grant.asked.is_none() && !grant.refused()));
        assert!(!held.locked);
    }
}
