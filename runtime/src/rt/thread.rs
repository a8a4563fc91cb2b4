//! What is asked for the reflex's own thread: timer slack, a CPU, FIFO.
//!
//! Asked from inside that thread and for it alone: threads that it would start later, or that were started
//! by one that has asked already, would inherit policy and mask.

use std::num::NonZeroU64;

use rustix::process::Resource;
use rustix::thread::{
    CpuSet, current_timer_slack, gettid, sched_getaffinity, sched_setaffinity, set_current_timer_slack,
};
use thread_priority::{
    RealtimeThreadSchedulePolicy, ThreadPriority, ThreadSchedulePolicy, set_thread_priority_and_policy,
    thread_native_id,
};

use super::grant::{Facility, Grant};
use super::process::raise;
use super::procfs::{Scheduling, scheduling};
use crate::config::RealtimeConfig;

/// Stack that is touched beforehand; a tick uses less than a tenth of it.
const STACK_BYTES: usize = 256 * 1024;
/// The kernel's number of SCHED_FIFO (sched(7)).
const FIFO: u64 = 1;

const SLACK_REMEDY: &str = "this kernel does not let a thread set its timer slack; leave timer_slack_ns at 0";

/// Asks for what is configured, for the calling thread. Touches its stack, so that no page of it is new
/// later.
#[must_use]
pub fn ask(config: &RealtimeConfig) -> [Grant; 3] {
    touch_stack();
    // Before FIFO: the kernel ignores the slack of a real-time thread, and reads it back as 0.
    let slack = slack(config.timer_slack_ns);
    let cpu = pin(config.cpu);
    [fifo(config.fifo_priority), cpu, slack]
}

/// The kernel's number of the calling thread.
#[must_use]
pub fn id() -> i32 {
    gettid().as_raw_nonzero().get()
}

#[inline(never)]
fn touch_stack() {
    let stack = [0_u8; STACK_BYTES];
    std::hint::black_box(&stack);
}

fn slack(asked_ns: u64) -> Grant {
    let facility = Facility::TimerSlack;
    let Some(asked) = NonZeroU64::new(asked_ns) else {
        return Grant::not_asked(facility, current_timer_slack().ok());
    };
    let answer = set_current_timer_slack(Some(asked)).map_err(|error| error.to_string());
    let got = current_timer_slack().ok();
    Grant::judge(facility, asked_ns, answer, got, |got| got <= asked_ns, SLACK_REMEDY)
}

/// The only CPU of a mask, if it has but one.
fn only_cpu(mask: &CpuSet) -> Option<u64> {
    let mut set = (0..CpuSet::MAX_CPU).filter(|cpu| mask.is_set(*cpu));
    match (set.next(), set.next()) {
        (Some(cpu), None) => u64::try_from(cpu).ok(),
        _ => None,
    }
}

fn pin(cpu: Option<usize>) -> Grant {
    let now = || sched_getaffinity(None).ok().as_ref().and_then(only_cpu);
    let Some(cpu) = cpu else {
        return Grant::not_asked(Facility::Cpu, now());
    };
    let answer = if cpu < CpuSet::MAX_CPU {
        let mut mask = CpuSet::new();
        mask.set(cpu);
        sched_setaffinity(None, &mask).map_err(|error| error.to_string())
    } else {
        Err(format!("no system has CPU {cpu}"))
    };
    let online = std::fs::read_to_string("/sys/devices/system/cpu/online").unwrap_or_default();
    let remedy = format!(
        "take one of the CPUs {} that the process's cpuset allows (/proc/self/status, Cpus_allowed_list)",
        online.trim()
    );
    let asked = cpu as u64;
    Grant::judge(Facility::Cpu, asked, answer, now(), |got| got == asked, &remedy)
}

fn fifo(priority: u8) -> Grant {
    let now = || {
        let stat = std::fs::read_to_string("/proc/thread-self/stat").ok()?;
        let Scheduling { priority, policy } = scheduling(&stat)?;
        Some(if policy == FIFO { priority } else { 0 })
    };
    if priority == 0 {
        return Grant::not_asked(Facility::Fifo, now());
    }
    let asked = u64::from(priority);
    // Root and CAP_SYS_NICE need no limit; for everybody else the hard limit decides.
    raise(Resource::Rtprio, Some(asked));
    let policy = ThreadSchedulePolicy::Realtime(RealtimeThreadSchedulePolicy::Fifo);
    let answer = ThreadPriority::try_from(priority).map_err(ToString::to_string).and_then(|priority| {
        set_thread_priority_and_policy(thread_native_id(), priority, policy)
            .map_err(|error| error.to_string())
    });
    let remedy = format!(
        "give the process CAP_SYS_NICE or RLIMIT_RTPRIO {priority}: LimitRTPRIO={priority} or \
         AmbientCapabilities=CAP_SYS_NICE in the systemd unit, --cap-add SYS_NICE --ulimit rtprio={priority} for a \
         container, or `* - rtprio {priority}` in /etc/security/limits.conf; a kernel with RT_GROUP_SCHED also \
         needs cpu.rt_runtime_us in the cgroup"
    );
    Grant::judge(Facility::Fifo, asked, answer, now(), |got| got == asked, &remedy)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests fail by panicking")]
mod tests {
    use super::*;
    use crate::rt::Verdict;

    /// What a thread of its own was granted, so that nothing asked outlasts the test.
    fn asked(config: RealtimeConfig) -> [Grant; 3] {
        std::thread::Builder::new().spawn(move || ask(&config)).unwrap().join().unwrap()
    }

    #[test]
    fn nothing_asked_is_not_asked() {
        let config = RealtimeConfig { timer_slack_ns: 0, ..RealtimeConfig::default() };
        assert!(asked(config).iter().all(|grant| grant.verdict == Verdict::NotAsked));
    }

    #[test]
    fn slack_and_cpu_read_back_as_asked() {
        let allowed = sched_getaffinity(None).unwrap();
        let cpu = (0..CpuSet::MAX_CPU).rfind(|cpu| allowed.is_set(*cpu));
        let config = RealtimeConfig { timer_slack_ns: 7, cpu, ..RealtimeConfig::default() };
        let [_, pinned, slack] = asked(config);
        assert_eq!((pinned.got, pinned.verdict), (cpu.map(|cpu| cpu as u64), Verdict::Granted));
        assert_eq!((slack.got, slack.verdict), (Some(7), Verdict::Granted));
    }

    #[test]
    fn a_cpu_that_is_not_there_is_refused_with_those_that_are() {
        let config = RealtimeConfig { cpu: Some(1023), ..RealtimeConfig::default() };
        let [_, cpu, _] = asked(config);
        assert!(cpu.refused(), "{cpu}");
        assert!(cpu.to_string().contains("CPUs 0"), "{cpu}");
    }

    /// Granted or refused depends on the machine; that it is one or the other, and which, is what the
    /// kernel says.
    #[test]
    fn fifo_is_granted_exactly_when_the_kernel_says_so() {
        let [fifo, ..] = asked(RealtimeConfig { fifo_priority: 5, ..RealtimeConfig::default() });
        match fifo.verdict {
            Verdict::Granted => assert_eq!(fifo.got, Some(5)),
            Verdict::Refused { remedy, .. } => assert!(remedy.contains("LimitRTPRIO=5")),
            Verdict::NotAsked => unreachable!("it was asked"),
        }
    }
}
