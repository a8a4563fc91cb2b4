//! The part `realtime` of the table of figures.

use std::sync::atomic::Ordering;

use reflexarc_drivers::msg::DiagnosticLevel::{Error, Warn};

use super::wires::{Flags, read};
use crate::health::Part;
use crate::health::figure::{Metric, counter, gauge};
use crate::ledger::Ledger;
use crate::rt::ThreadUse;
use crate::stages::StageReport;

/// Grants, ages, stages and stalls. A warning as long as something that was asked for is refused or the
/// reflex has ever stood still; an error while it does.
pub(super) fn realtime_part(flags: &Flags, ledger: &Ledger, used: Option<ThreadUse>) -> Part {
    const GRANTED: Metric =
        gauge("reflexarc_realtime_granted", "1 for what was asked of the system and given, 0 if refused.");
    const USED: Metric =
        counter("reflexarc_reflex_thread_total", "What the reflex's thread has used, by what.");
    let mut part = Part::new("realtime", "");
    let stalls = read(&flags.stalls);
    if flags.stalled.load(Ordering::Relaxed) {
        part.raise(Error, "the reflex stands still");
    } else if stalls > 0 {
        part.raise(Warn, format!("the reflex has stood still {stalls} times"));
    }
    for grant in flags.grants.get().into_iter().flatten() {
        let key = grant.facility.key();
        if grant.refused() {
            part.raise(Warn, grant.to_string());
        }
        part = part.text(key, grant.to_string());
        if grant.asked.is_some() {
            let given = f64::from(u8::from(!grant.refused()));
            part = part.number_of(&format!("{key}_granted"), GRANTED, &[("what", key)], given);
        }
    }
    part = part
        .latency("observation_age", &ledger.observation_age.summary())
        .latency("publish", &ledger.publish.summary());
    for StageReport { stage, latency } in ledger.stages.summaries() {
        part = part.latency(&format!("stage_{}", stage.key()), &latency);
    }
    if let Some(used) = used {
        for (what, count) in [
            ("waits", used.waits),
            ("preempted", used.preempted),
            ("minor_faults", used.minor_faults),
            ("major_faults", used.major_faults),
        ] {
            part = part.count_of(&format!("thread_{what}"), USED, &[("what", what)], count);
        }
    }
    part.count(
        "late_ticks",
        counter("reflexarc_ticks_late_total", "Ticks that ended after the next one was due."),
        read(&flags.late),
    )
    .count("stalls", counter("reflexarc_stalls_total", "Times that the reflex stood still."), stalls)
}
