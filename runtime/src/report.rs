//! The report at the end of a run: for people as text, for programs as JSON.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde::{Deserialize, Serialize};

use crate::audit::AuditCounts;
use crate::chunk::{Late, PlayStats};
use crate::cost::CostReport;
use crate::failsafe::FailsafeReport;
use crate::ledger::{LatencySummary, Ledger};
use crate::modes::Rule;
use crate::outcome::{Outcome, OutcomeWatch, TimelineEntry};
use crate::recorder::RecorderReport;
use crate::rt::RealtimeReport;
use crate::senses::TopicStats;
use crate::stages::StageReport;

/// Counters of one topic.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TopicReport {
    /// The topic, without namespace.
    pub topic: String,
    /// Messages that arrived.
    pub received: u64,
    /// Messages looked at and used; a newer one may have replaced others before the loop looked.
    pub accepted: u64,
    /// Bytes that were no such message.
    pub malformed: u64,
    /// Messages lost on the way, by sequence number.
    pub gaps: u64,
    /// Messages that came twice.
    pub duplicates: u64,
    /// Messages that came after a later one.
    pub reordered: u64,
    /// Messages refused by their content: stamp, shape, names, NaN, range.
    pub refused: u64,
    /// What the sense itself counted, by name: why messages were refused, clock jumps, times gone stale. What never
    /// happened is absent.
    pub counts: BTreeMap<String, u64>,
}

impl TopicReport {
    /// The counters of one topic under its name.
    #[must_use]
    pub fn new(topic: &str, stats: &TopicStats) -> Self {
        Self {
            topic: topic.to_owned(),
            received: stats.link.received,
            accepted: stats.sense.accepted,
            malformed: stats.link.malformed,
            gaps: stats.link.gaps,
            duplicates: stats.link.duplicates,
            reordered: stats.link.reordered,
            refused: stats.sense.refused(),
            counts: stats
                .sense
                .named()
                .into_iter()
                .filter(|(_, count)| *count > 0)
                .map(|(name, count)| (name.to_owned(), count))
                .collect(),
        }
    }
}

/// What the audit did.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct AuditReport {
    /// Decisions passed.
    pub passed: u64,
    /// Decisions refused, by rule; rules that refused nothing are absent.
    pub refused: BTreeMap<String, u64>,
    /// The audit's time as a share of the policy's own time, percent; to stay below 0.01.
    pub cost_percent: f64,
    /// Inverse kinematics solutions that it needed, because the map of the arm's reach left a pose open.
    pub reach_solves: u64,
    /// Its duration, one reading of the clock included.
    pub time: LatencySummary,
    /// The newest refusals in words, the oldest first, and when they came, s after the first decision.
    pub refusals: Vec<TimelineEntry>,
}

/// What became of a policy's action chunks.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ChunkReport {
    /// Chunks taken up.
    pub taken: u64,
    /// Chunks that came too late, by reason; reasons without any are absent.
    pub late: BTreeMap<String, u64>,
    /// Actions skipped because they had been consumed already, on average for each chunk.
    pub skipped_each: f64,
    /// Most actions skipped at one seam.
    pub longest_delay: u64,
    /// Largest distance of one joint at a seam, rad (or m).
    pub widest_seam_rad: f64,
    /// Starts from rest.
    pub starts: u64,
    /// Ticks in motion or coming to rest in which no action was consumed, for want of one.
    pub starved_ticks: u64,
    /// Times that the arm came to rest because the actions had run out.
    pub ran_dry: u64,
    /// Values executed at a limit, because they lay a little outside.
    pub clamped: u64,
    /// Steps faster than a joint may go.
    pub fast_steps: u64,
}

impl ChunkReport {
    /// From the counters of player and audit; nothing if there were no chunks.
    #[must_use]
    pub fn new(play: &PlayStats, audit: &AuditCounts) -> Option<Self> {
        let late: BTreeMap<String, u64> = Late::ALL
            .iter()
            .zip(play.late)
            .filter(|(_, count)| *count > 0)
            .map(|(late, count)| (late.name().to_owned(), count))
            .collect();
        (play.taken > 0 || !late.is_empty()).then(|| Self {
            taken: play.taken,
            late,
            skipped_each: play.skipped_actions as f64 / play.taken.max(1) as f64,
            longest_delay: play.longest_delay,
            widest_seam_rad: play.widest_seam_rad,
            starts: play.starts,
            starved_ticks: play.starved_ticks,
            ran_dry: play.ran_dry,
            clamped: audit.clamped,
            fast_steps: audit.fast_steps,
        })
    }
}

/// All there is to say about a run.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// Whether the task succeeded, as the caller judged it; absent when nobody could tell.
    pub success: Option<bool>,
    /// How the task stood at the end, seen from the runtime.
    pub outcome: Outcome,
    /// What the robot was told.
    pub instruction: String,
    /// Name of the policy.
    pub policy: String,
    /// From the first to the last tick, s.
    pub duration_s: f64,
    /// From the first decision to the `done` that lasted, s.
    pub time_to_done_s: Option<f64>,
    /// Decisions, refused ones included.
    pub decisions: u64,
    /// Decisions per second.
    pub decisions_per_s: f64,
    /// Tokens decoded.
    pub tokens: u64,
    /// Periods in which the policy gave an error.
    pub policy_errors: u64,
    /// Panics of the policy; after three it is not asked any more.
    #[serde(default)]
    pub policy_panics: u32,
    /// Periods of the mind that were missed.
    pub mind_missed: u64,
    /// The same as a share of all its periods, percent.
    pub mind_missed_percent: f64,
    /// Periods of the mind with nothing to decide about: senses were bad, nothing new had come, or a chunk still lasts.
    #[serde(default)]
    pub mind_idle: u64,
    /// By how much the mind's periods were moved to keep step with the cameras, in all, ms; less than 0: earlier.
    #[serde(default)]
    pub mind_moved_ms: f64,
    /// Ticks of the reflex.
    pub ticks: u64,
    /// Periods of the reflex that were missed.
    pub reflex_missed: u64,
    /// The same as a share of all its periods, percent.
    pub reflex_missed_percent: f64,
    /// Commands sent.
    pub commands: u64,
    /// Commands that did not get onto the link.
    pub commands_dropped: u64,
    /// Ticks in which a limit changed what was wanted.
    pub limited_ticks: u64,
    /// From the oldest camera frame of an observation to the first command that followed from it.
    pub observation_to_command: LatencySummary,
    /// Where that time went, for the same commands; empty in lockstep.
    pub latency_split: Vec<StageReport>,
    /// Age of the observation behind each command.
    pub action_age: LatencySummary,
    /// Age of the newest observation in each tick, followed or not.
    pub observation_age: LatencySummary,
    /// From each command until the link had taken it; nothing in lockstep.
    pub publish: LatencySummary,
    /// The policy's own time.
    pub model: LatencySummary,
    /// How late the reflex woke.
    pub wake_lateness: LatencySummary,
    /// How long a tick took.
    pub tick_execution: LatencySummary,
    /// What the audit did.
    pub audit: AuditReport,
    /// What became of the policy's chunks, if it says any.
    pub chunks: Option<ChunkReport>,
    /// Changes of subtask.
    pub timeline: Vec<TimelineEntry>,
    /// Ticks by mode.
    pub modes: BTreeMap<String, u64>,
    /// Stops latched.
    pub stops: u64,
    /// What the failsafe did.
    pub failsafe: FailsafeReport,
    /// Counters by topic.
    pub topics: Vec<TopicReport>,
    /// What was asked of the system for the reflex and given, and whether it stood still.
    pub realtime: RealtimeReport,
    /// Ledger records lost.
    pub records_lost: u64,
    /// The recording, if there was one.
    pub recorder: Option<RecorderReport>,
    /// What the run cost.
    pub cost: CostReport,
    /// Anything else that went wrong, in words.
    pub problems: Vec<String>,
}

impl Report {
    /// The figures of a ledger and an outcome; names, topics and the like are for the caller.
    #[must_use]
    pub fn from_ledger(ledger: &Ledger, watch: &OutcomeWatch) -> Self {
        let percent = |part: u64, rest: u64| {
            if part + rest == 0 { 0.0 } else { 100.0 * part as f64 / (part + rest) as f64 }
        };
        let [model_ns, audit_ns] = ledger.cost_ns.map(|ns| ns as f64);
        let first_ns = ledger.thinking_ns.map_or(0, |(first_ns, _)| first_ns);
        let refused = Rule::ALL
            .iter()
            .zip(ledger.audit.refused)
            .filter(|(_, count)| *count > 0)
            .map(|(rule, count)| (rule.name().to_owned(), count));
        Self {
            outcome: watch.outcome(),
            duration_s: ledger.duration_s(),
            time_to_done_s: watch.time_to_done_s(),
            decisions: ledger.thoughts,
            decisions_per_s: ledger.decisions_per_s(),
            tokens: ledger.tokens,
            policy_errors: ledger.failed,
            policy_panics: ledger.policy_panics,
            mind_missed: ledger.thoughts_skipped,
            mind_missed_percent: percent(ledger.thoughts_skipped, ledger.thoughts),
            mind_idle: ledger.thoughts_idle,
            mind_moved_ms: ledger.mind_moved_ns as f64 / 1e6,
            ticks: ledger.ticks,
            reflex_missed: ledger.ticks_skipped,
            reflex_missed_percent: percent(ledger.ticks_skipped, ledger.ticks),
            commands: ledger.commands,
            limited_ticks: ledger.limited,
            observation_to_command: ledger.observation_to_command.summary(),
            latency_split: ledger.stages.summaries().filter(|stage| stage.latency.count > 0).collect(),
            action_age: ledger.action_age.summary(),
            observation_age: ledger.observation_age.summary(),
            publish: ledger.publish.summary(),
            model: ledger.model.summary(),
            wake_lateness: ledger.lateness.summary(),
            tick_execution: ledger.execution.summary(),
            audit: AuditReport {
                passed: ledger.audit.passed,
                refused: refused.collect(),
                cost_percent: if model_ns > 0.0 { 100.0 * audit_ns / model_ns } else { 0.0 },
                reach_solves: ledger.audit.reach_solves,
                time: ledger.audit_time.summary(),
                refusals: ledger
                    .refusals
                    .iter()
                    .map(|(now_ns, refusal)| TimelineEntry {
                        time_s: now_ns.saturating_sub(first_ns) as f64 / 1e9,
                        what: refusal.to_string(),
                    })
                    .collect(),
            },
            timeline: watch.timeline().to_vec(),
            modes: ledger.modes.iter().map(|(mode, count)| ((*mode).to_owned(), *count)).collect(),
            records_lost: ledger.lost,
            ..Self::default()
        }
    }

    /// Takes the word of someone who could see whether the task was done; it counts for the ledger as well.
    pub fn judge(&mut self, success: bool) {
        self.success = Some(success);
        let tasks = if success { self.cost.usage.tasks.max(1) } else { 0 };
        self.cost = self.cost.with_tasks(tasks);
    }

    /// The report for people, two dozen lines.
    #[must_use]
    pub fn to_text(&self) -> String {
        let mut text = String::new();
        // Writing to a string cannot fail.
        let _ = self.write_text(&mut text);
        text
    }

    fn write_text(&self, out: &mut String) -> std::fmt::Result {
        let success = match self.success {
            Some(true) => "SUCCESS",
            Some(false) => "FAILURE",
            None => "not judged",
        };
        writeln!(out, "result            {success} ({})", self.outcome)?;
        writeln!(out, "instruction       \"{}\" → {}", self.instruction, self.policy)?;
        let done = self.time_to_done_s.map_or("-".to_owned(), |s| format!("{s:.2} s"));
        writeln!(out, "time              {:.2} s run, done after {done}", self.duration_s)?;
        writeln!(
            out,
            "decisions         {} ({:.1}/s), {} tokens, {} policy errors, {} periods missed ({:.2} %), {} idle",
            self.decisions,
            self.decisions_per_s,
            self.tokens,
            self.policy_errors,
            self.mind_missed,
            self.mind_missed_percent,
            self.mind_idle
        )?;
        writeln!(
            out,
            "reflex            {} ticks, {} periods missed ({:.2} %), {} commands, {} not sent",
            self.ticks, self.reflex_missed, self.reflex_missed_percent, self.commands, self.commands_dropped
        )?;
        for (name, latency) in [
            ("observation→cmd", &self.observation_to_command),
            ("action age", &self.action_age),
            ("observation age", &self.observation_age),
            ("model", &self.model),
            ("wake lateness", &self.wake_lateness),
            ("tick execution", &self.tick_execution),
        ] {
            writeln!(
                out,
                "{name:<17} p50 {:.2} ms, p99 {:.2} ms, p99.9 {:.2} ms, max {:.2} ms",
                latency.p50_us / 1e3,
                latency.p99_us / 1e3,
                latency.p999_us / 1e3,
                latency.max_us / 1e3
            )?;
        }
        if !self.latency_split.is_empty() {
            let parts: Vec<String> = self
                .latency_split
                .iter()
                .map(|StageReport { stage, latency }| {
                    format!("{} {:.2}/{:.2}", stage.key(), latency.p50_us / 1e3, latency.p99_us / 1e3)
                })
                .collect();
            writeln!(out, "its parts         {} ms (p50/p99)", parts.join(", "))?;
        }
        for grant in self.realtime.grants.iter().filter(|grant| grant.asked.is_some()) {
            writeln!(out, "real time         {grant}")?;
        }
        if let Some(used) = &self.realtime.thread {
            writeln!(
                out,
                "reflex's thread   waited {} times, preempted {} times, {} page faults ({} from disk), {} stalls",
                used.waits,
                used.preempted,
                used.minor_faults + used.major_faults,
                used.major_faults,
                self.realtime.stalls
            )?;
        }
        let refused: u64 = self.audit.refused.values().sum();
        writeln!(
            out,
            "audit             {} passed, {refused} refused {:?}; {:.0} ns a decision (p99 {:.0} ns), {:.4} % of the model's time, {} reach solutions",
            self.audit.passed,
            self.audit.refused,
            self.audit.time.p50_us * 1e3,
            self.audit.time.p99_us * 1e3,
            self.audit.cost_percent,
            self.audit.reach_solves
        )?;
        for refusal in &self.audit.refusals {
            writeln!(out, "  refused         {:.2} s {}", refusal.time_s, refusal.what)?;
        }
        if let Some(chunks) = &self.chunks {
            writeln!(
                out,
                "chunks            {} taken, late {:?}; {:.1} actions skipped each (at most {}), widest seam {:.3} rad, {} starts, starved for {} ticks, ran dry {} times, {} values clamped, {} steps too fast",
                chunks.taken,
                chunks.late,
                chunks.skipped_each,
                chunks.longest_delay,
                chunks.widest_seam_rad,
                chunks.starts,
                chunks.starved_ticks,
                chunks.ran_dry,
                chunks.clamped,
                chunks.fast_steps
            )?;
        }
        let modes: Vec<String> = self.modes.iter().map(|(mode, count)| format!("{mode} {count}")).collect();
        writeln!(out, "modes (ticks)     {}; {} stops", modes.join(", "), self.stops)?;
        let failsafe = &self.failsafe;
        writeln!(
            out,
            "failsafe (ticks)  {:?}; decided by {:?}; {} slips, pads pressed for {} ticks, stops promised within {:.0} ms",
            failsafe.actions,
            failsafe.causes,
            failsafe.slips,
            failsafe.pressed_ticks,
            failsafe.promised_stop_ms
        )?;
        let steps: Vec<String> = self
            .timeline
            .iter()
            .take(12)
            .map(|entry| format!("{:.2} s {}", entry.time_s, entry.what))
            .collect();
        let more = self.timeline.len().saturating_sub(12);
        let more = if more > 0 { format!(" … {more} more") } else { String::new() };
        writeln!(out, "timeline          {}{more}", steps.join(" → "))?;
        for topic in &self.topics {
            writeln!(
                out,
                "  {:<24} {:>7} received, {} gaps, {} malformed, {} refused, {} duplicates, {} reordered",
                topic.topic,
                topic.received,
                topic.gaps,
                topic.malformed,
                topic.refused,
                topic.duplicates,
                topic.reordered
            )?;
            let odd: Vec<String> = topic
                .counts
                .iter()
                .filter(|(name, _)| *name != "accepted")
                .map(|(name, count)| format!("{name} {count}"))
                .collect();
            if !odd.is_empty() {
                writeln!(out, "  {:<24} {}", "", odd.join(", "))?;
            }
        }
        if let Some(recorder) = &self.recorder {
            if !recorder.path.is_empty() {
                writeln!(
                    out,
                    "recording         {} ({} messages, {:.1} MB, {} ticks, {} thoughts; dropped {} + {} + {})",
                    recorder.path,
                    recorder.messages,
                    recorder.payload_bytes as f64 / 1e6,
                    recorder.ticks,
                    recorder.thoughts,
                    recorder.dropped,
                    recorder.dropped_ticks,
                    recorder.dropped_thoughts
                )?;
            }
            if let Some(path) = &recorder.black_box {
                writeln!(
                    out,
                    "black box         {path} (something failed; `reflexarc replay --explain T` tells)"
                )?;
            }
        }
        self.cost.write_text(out)?;
        for problem in &self.problems {
            writeln!(out, "problem           {problem}")?;
        }
        Ok(())
    }
}
