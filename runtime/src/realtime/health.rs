//! The entry `realtime` of `diagnostics`.

use std::sync::atomic::Ordering;

use reflexarc_drivers::msg::{DiagnosticLevel, DiagnosticStatus};

use super::wires::{Flags, read};
use crate::ledger::Ledger;
use crate::rt::ThreadUse;
use crate::stages::StageReport;

/// Grants, lateness, ages and stalls. A warning as long as something that was asked for is refused or the
/// reflex has ever stood still; an error while it does.
pub(super) fn realtime_status(flags: &Flags, ledger: &Ledger, used: Option<ThreadUse>) -> DiagnosticStatus {
    let grants = flags.grants.get().map_or(&[][..], Vec::as_slice);
    let refused: Vec<_> = grants.iter().filter(|grant| grant.refused()).collect();
    let stalls = read(&flags.stalls);
    let (level, message) = if flags.stalled.load(Ordering::Relaxed) {
        (DiagnosticLevel::Error, "the reflex stands still".to_owned())
    } else if let Some(first) = refused.first() {
        (DiagnosticLevel::Warn, first.to_string())
    } else if stalls > 0 {
        (DiagnosticLevel::Warn, format!("the reflex has stood still {stalls} times"))
    } else {
        (DiagnosticLevel::Ok, String::new())
    };
    let mut status = DiagnosticStatus::new(level, "realtime", message);
    for grant in grants {
        status = status.with(grant.facility.key(), grant);
    }
    for (name, latency) in [
        ("wake_lateness", &ledger.lateness),
        ("execution", &ledger.execution),
        ("action_age", &ledger.action_age),
        ("observation_age", &ledger.observation_age),
        ("publish", &ledger.publish),
    ] {
        let summary = latency.summary();
        status = status
            .with(&format!("{name}_p50_us"), summary.p50_us)
            .with(&format!("{name}_p99_us"), summary.p99_us)
            .with(&format!("{name}_p999_us"), summary.p999_us)
            .with(&format!("{name}_max_us"), summary.max_us);
    }
    for StageReport { stage, latency } in ledger.stages.summaries() {
        status = status
            .with(&format!("latency_{}_p50_us", stage.key()), latency.p50_us)
            .with(&format!("latency_{}_p99_us", stage.key()), latency.p99_us);
    }
    if let Some(used) = used {
        status = status
            .with("thread_waits", used.waits)
            .with("thread_preempted", used.preempted)
            .with("thread_page_faults", used.minor_faults + used.major_faults);
    }
    status.with("late_ticks", read(&flags.late)).with("stalls", stalls)
}
