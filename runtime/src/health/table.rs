//! Which figures there are, and when a part is not well.

use reflexarc_drivers::msg::DiagnosticLevel::{Error, Stale, Warn};
use reflexarc_drivers::power::BoardReading;

use super::figure::{Health, Metric, Part, counter, gauge};
use crate::cost::{CostReport, Energy};
use crate::failsafe::{Action, Cause};
use crate::ledger::Ledger;
use crate::modes::{Mode, Rule};
use crate::outcome::Outcome;
use crate::progress::Progress;
use crate::senses::TopicStats;

/// A mind that has not answered for this long is stale, s.
const SILENT_S: f64 = 3.0;

/// Everything that the table is made from.
#[derive(Clone, Copy, Debug)]
pub struct Vitals<'a> {
    /// Time by the clock that stamps messages, ns.
    pub now_ns: u64,
    /// How the run stands.
    pub progress: &'a Progress,
    /// The books.
    pub ledger: &'a Ledger,
    /// Every sense's topic and counters.
    pub topics: &'a [(String, TopicStats)],
    /// What the run costs.
    pub cost: &'a CostReport,
    /// What the board told last; absent where nobody asks it.
    pub board: Option<&'a BoardReading>,
    /// Messages that the recorder has dropped so far; absent without a recording.
    pub recorder_dropped: Option<u64>,
}

/// Makes tables, and remembers of the one before what levels need.
#[derive(Clone, Debug, Default)]
pub struct Watcher {
    before: Before,
}

/// Counters at the time of the table before.
#[derive(Clone, Debug, Default)]
struct Before {
    ticks_skipped: u64,
    thoughts_skipped: u64,
    failed: u64,
    lost: u64,
    refused: Vec<u64>,
    topics: Vec<TopicStats>,
    recorder_dropped: u64,
}

impl Watcher {
    /// The table of this moment.
    #[must_use]
    pub fn table(&mut self, vitals: &Vitals<'_>) -> Health {
        let before = &self.before;
        let mut parts =
            vec![reflex(vitals, before), failsafe(vitals), mind(vitals, before), audit(vitals, before)];
        for (index, (name, stats)) in vitals.topics.iter().enumerate() {
            parts.push(sense(vitals.now_ns, name, stats, before.topics.get(index)));
        }
        parts.extend(vitals.recorder_dropped.map(|dropped| recorder(dropped, before.recorder_dropped)));
        parts.push(ledger(vitals, before));
        parts.extend(vitals.board.map(board));
        self.before = Before {
            ticks_skipped: vitals.ledger.ticks_skipped,
            thoughts_skipped: vitals.ledger.thoughts_skipped,
            failed: vitals.ledger.failed,
            lost: vitals.ledger.lost,
            refused: vitals.ledger.audit.refused.to_vec(),
            topics: vitals.topics.iter().map(|(_, stats)| *stats).collect(),
            recorder_dropped: vitals.recorder_dropped.unwrap_or(0),
        };
        Health { now_ns: vitals.now_ns, parts }
    }
}

fn reflex(vitals: &Vitals<'_>, before: &Before) -> Part {
    const MODE: Metric = gauge("reflexarc_mode", "1 for what the loop is doing now.");
    const MODE_TICKS: Metric = counter("reflexarc_mode_ticks_total", "Ticks of the reflex, by mode.");
    let (progress, ledger) = (vitals.progress, vitals.ledger);
    let mut part = Part::new("reflex", progress.mode.to_string());
    match progress.mode {
        Mode::Active => {}
        Mode::Waiting(_) | Mode::Holding(_) => part.level = Warn,
        Mode::Stopped(_) => part.level = Error,
    }
    let missed = ledger.ticks_skipped.saturating_sub(before.ticks_skipped);
    if missed > 0 {
        part.raise(Warn, format!("{missed} periods missed"));
    }
    part = part
        .state("mode", MODE, "mode", progress.mode.key())
        .number("time_s", gauge("reflexarc_run_seconds", "Time since the first tick."), progress.time_s)
        .count("ticks", counter("reflexarc_ticks_total", "Ticks of the reflex."), ledger.ticks)
        .count(
            "missed",
            counter("reflexarc_ticks_missed_total", "Periods of the reflex missed."),
            ledger.ticks_skipped,
        )
        .count("commands", counter("reflexarc_commands_total", "Commands sent."), ledger.commands)
        .count(
            "limited",
            counter("reflexarc_ticks_limited_total", "Ticks in which a limit acted."),
            ledger.limited,
        )
        .latency("wake_lateness", &ledger.lateness.summary())
        .latency("tick_execution", &ledger.execution.summary())
        .latency("action_age", &ledger.action_age.summary())
        .latency("observation_to_command", &progress.observation_to_command);
    for (mode, ticks) in &ledger.modes {
        part = part.count_of(&format!("ticks_{mode}"), MODE_TICKS, &[("mode", mode)], *ticks);
    }
    part
}

fn failsafe(vitals: &Vitals<'_>) -> Part {
    const ACTION: Metric = gauge("reflexarc_failsafe_action", "1 for what the failsafe asks for now.");
    const TICKS: Metric = counter("reflexarc_failsafe_ticks_total", "Ticks of the reflex, by action.");
    const CAUSES: Metric =
        counter("reflexarc_failsafe_causes_total", "Times that a cause became the one that decides.");
    const CHANGES: Metric = counter("reflexarc_failsafe_changes_total", "Changes of action or cause.");
    let book = &vitals.ledger.failsafe;
    let standing = book.standing;
    let mut part = Part::new("failsafe", standing.action.name());
    let since_s = vitals.now_ns.saturating_sub(standing.since_ns) as f64 / 1e9;
    if let Some(cause) = standing.cause {
        let why = format!("for {since_s:.1} s: {}", cause.condition());
        let level = if standing.action.latches() { Error } else { Warn };
        part.raise(level, why);
    }
    part = part
        .state("action", ACTION, "action", standing.action.name())
        .text("cause", standing.cause.map_or("-", Cause::name))
        .count("changes", CHANGES, book.count);
    for (action, ticks) in Action::ALL.iter().zip(book.actions) {
        part = part.count_of(&format!("ticks_{action}"), TICKS, &[("action", action.name())], ticks);
    }
    for (cause, count) in Cause::ALL.iter().zip(book.causes).filter(|(_, count)| *count > 0) {
        part = part.count_of(&format!("cause_{cause}"), CAUSES, &[("cause", cause.name())], count);
    }
    part
}

fn mind(vitals: &Vitals<'_>, before: &Before) -> Part {
    const OUTCOME: Metric = gauge("reflexarc_outcome", "1 for how the task stands.");
    const MISSED: Metric = counter("reflexarc_decisions_missed_total", "Periods of the mind missed.");
    const IDLE: Metric =
        counter("reflexarc_mind_idle_total", "Periods of the mind with nothing to decide about.");
    let (progress, ledger) = (vitals.progress, vitals.ledger);
    let mut part = Part::new("mind", progress.message.clone());
    let silent_s = ledger
        .thinking_ns
        .map_or(progress.time_s, |(_, last_ns)| vitals.now_ns.saturating_sub(last_ns) as f64 / 1e9);
    // Where the senses are not good enough, or nothing may move, the policy is not asked.
    let idle = matches!(progress.mode, Mode::Waiting(_) | Mode::Stopped(_));
    if silent_s > SILENT_S {
        part.raise(if idle { Warn } else { Stale }, format!("no decision for {silent_s:.1} s"));
    }
    let failed = ledger.failed.saturating_sub(before.failed);
    if failed > 0 {
        part.raise(Error, format!("the policy failed {failed} times"));
    }
    let missed = ledger.thoughts_skipped.saturating_sub(before.thoughts_skipped);
    if missed > 0 {
        part.raise(Warn, format!("{missed} periods missed"));
    }
    let outcome = match progress.outcome {
        Outcome::Running => "running",
        Outcome::Finished => "finished",
        Outcome::Infeasible(_) => "infeasible",
    };
    part.state("outcome", OUTCOME, "outcome", outcome)
        .count("decisions", counter("reflexarc_decisions_total", "Answers of the policy."), ledger.thoughts)
        .number(
            "decisions_per_s",
            gauge("reflexarc_decisions_per_second", "Answers of the policy over the last second or so."),
            progress.decisions_per_s,
        )
        .count("missed", MISSED, ledger.thoughts_skipped)
        .count("idle", IDLE, ledger.thoughts_idle)
        .count(
            "failed",
            counter("reflexarc_policy_errors_total", "Times that the policy failed."),
            ledger.failed,
        )
        .latency("model", &progress.model)
}

fn audit(vitals: &Vitals<'_>, before: &Before) -> Part {
    const REFUSED: Metric =
        counter("reflexarc_audit_refused_total", "Answers that the audit refused, by rule.");
    const SHARE: Metric =
        gauge("reflexarc_audit_share", "Time of the audit over the policy's own, by what was checked.");
    let ledger = vitals.ledger;
    let counts = &ledger.audit;
    let mut part = Part::new("audit", "").count(
        "passed",
        counter("reflexarc_audit_passed_total", "Answers that passed the audit."),
        counts.passed,
    );
    let mut news = Vec::new();
    for (index, (rule, refused)) in Rule::ALL.iter().zip(counts.refused).enumerate() {
        if refused > 0 {
            let name = rule.name();
            part = part.count_of(&format!("refused_{name}"), REFUSED, &[("rule", name)], refused);
        }
        let new = refused.saturating_sub(before.refused.get(index).copied().unwrap_or(0));
        if new > 0 {
            news.push(format!("{new} × {}", rule.name()));
        }
    }
    if !news.is_empty() {
        part.raise(Warn, format!("refused {}", news.join(", ")));
    }
    let [model_ns, audit_ns] = ledger.cost_ns.map(|ns| ns as f64);
    if model_ns > 0.0 {
        part = part.number("share", SHARE, audit_ns / model_ns);
    }
    part.latency("audit", &ledger.audit_time.summary())
}

fn sense(now_ns: u64, topic: &str, stats: &TopicStats, before: Option<&TopicStats>) -> Part {
    const AGE: Metric = gauge("reflexarc_sense_age_seconds", "Age of the newest usable value of a sense.");
    const LIMIT: Metric =
        gauge("reflexarc_sense_age_limit_seconds", "Oldest value of a sense that is usable.");
    const RECEIVED: Metric = counter("reflexarc_sense_received_total", "Messages that arrived, by topic.");
    const LOST: Metric =
        counter("reflexarc_sense_faults_total", "Messages lost, broken or refused, by topic and fault.");
    let mut part = Part::new(topic, "");
    match stats.newest_ns {
        None => part.raise(Stale, "never seen"),
        Some(newest_ns) => {
            let age_ns = now_ns.saturating_sub(newest_ns);
            if age_ns > stats.limit_ns {
                let (age_ms, limit_ms) = (age_ns / 1_000_000, stats.limit_ns / 1_000_000);
                part.raise(Stale, format!("{age_ms} ms old, at most {limit_ms} ms are usable"));
            }
            part = part.number_of("age_s", AGE, &[("topic", topic)], age_ns as f64 / 1e9);
        }
    }
    let before = before.copied().unwrap_or_default();
    let faults = |stats: &TopicStats| {
        [
            ("gaps", stats.link.gaps),
            ("malformed", stats.link.malformed),
            ("duplicates", stats.link.duplicates),
            ("reordered", stats.link.reordered),
            ("future", stats.sense.future),
            ("backwards", stats.sense.backwards),
            ("shape", stats.sense.shape),
            ("names", stats.sense.names),
            ("non_finite", stats.sense.non_finite),
            ("range", stats.sense.range),
            ("repeated", stats.sense.repeated),
            ("clock_jumps", stats.sense.jumps),
            ("clock_resyncs", stats.sense.resyncs),
            ("went_stale", stats.sense.went_stale),
            ("unaligned", stats.sense.unaligned),
        ]
    };
    let news: Vec<String> = faults(stats)
        .iter()
        .zip(faults(&before))
        .filter_map(|((fault, now), (_, then))| {
            let new = now.saturating_sub(then);
            (new > 0).then(|| format!("{new} × {fault}"))
        })
        .collect();
    if !news.is_empty() {
        part.raise(Warn, news.join(", "));
    }
    part = part.number_of("age_limit_s", LIMIT, &[("topic", topic)], stats.limit_ns as f64 / 1e9).count_of(
        "received",
        RECEIVED,
        &[("topic", topic)],
        stats.link.received,
    );
    for (fault, count) in faults(stats) {
        part = part.count_of(fault, LOST, &[("topic", topic), ("fault", fault)], count);
    }
    part
}

fn recorder(dropped: u64, before: u64) -> Part {
    let mut part = Part::new("recorder", "").count(
        "dropped",
        counter("reflexarc_recorder_dropped_total", "Messages that the recorder was too slow for."),
        dropped,
    );
    if dropped > before {
        part.raise(Warn, format!("{} messages dropped", dropped - before));
    }
    part
}

/// Money for the run, per hour of it and per completed task: by what it is for, all of it, and in a cloud.
const COST_PARTS: [Metric; 3] = [
    counter("reflexarc_cost_parts_total", "Money at the stated prices, by what it is for."),
    gauge("reflexarc_cost_parts_per_hour", "Money per hour of the run, by what it is for."),
    gauge("reflexarc_cost_parts_per_task", "Money per completed task, by what it is for."),
];
const COST: [Metric; 3] = [
    counter("reflexarc_cost_total", "Money at the stated prices."),
    gauge("reflexarc_cost_per_hour", "Money per hour of the run."),
    gauge("reflexarc_cost_per_task", "Money per completed task."),
];
const CLOUD_COST: [Metric; 3] = [
    counter("reflexarc_cloud_cost_total", "Price of the same calls in the stated cloud."),
    gauge("reflexarc_cloud_cost_per_hour", "Price of the same calls in the stated cloud per hour."),
    gauge("reflexarc_cloud_cost_per_task", "Price of the same calls in the stated cloud per completed task."),
];

fn ledger(vitals: &Vitals<'_>, before: &Before) -> Part {
    const ENERGY: Metric =
        counter("reflexarc_energy_joules_total", "Energy of the run. `basis` says whether it was measured.");
    const ENERGY_TASK: Metric = gauge("reflexarc_energy_joules_per_task", "Energy per completed task.");
    const POWER: Metric = gauge("reflexarc_power_watts", "Power now, where the board tells.");
    const UNCOVERED: Metric =
        gauge("reflexarc_energy_uncovered_seconds", "Time that the measured energy is not about.");
    let cost = vitals.cost;
    let usage = &cost.usage;
    let basis = usage.energy.basis();
    let mut part = Part::new("ledger", format!("energy {basis}"));
    let lost = vitals.ledger.lost.saturating_sub(before.lost);
    if lost > 0 {
        part.raise(Warn, format!("{lost} records lost: figures are incomplete"));
    }
    part = part
        .count("tasks_completed", counter("reflexarc_tasks_completed_total", "Tasks completed."), usage.tasks)
        .count("tokens", counter("reflexarc_tokens_total", "Tokens decoded."), usage.tokens)
        .number(
            "model_s",
            counter("reflexarc_model_seconds_total", "Time that the policy took."),
            usage.model_s,
        )
        .count(
            "records_lost",
            counter("reflexarc_records_lost_total", "Records lost by the books."),
            vitals.ledger.lost,
        )
        .text("energy_basis", usage.energy.to_string());
    if let Energy::Measured(reading) = &usage.energy {
        part = part.number("power_w", POWER, reading.power_w).number(
            "energy_uncovered_s",
            UNCOVERED,
            reading.uncovered_s,
        );
    }
    part = part.amount("energy_j", ENERGY, &[("basis", basis)], &cost.energy_j.run).amount(
        "energy_per_task_j",
        ENERGY_TASK,
        &[("basis", basis)],
        &cost.energy_j.per_task,
    );
    let currency = cost.prices.currency.as_str();
    for (what, row, metrics, basis) in [
        ("electricity", &cost.electricity, COST_PARTS, basis),
        ("hardware", &cost.hardware, COST_PARTS, "stated"),
        ("total", &cost.total, COST, basis),
        ("cloud", &cost.cloud, CLOUD_COST, "stated"),
    ] {
        let labels = [("currency", currency), ("basis", basis), ("for", what)];
        // The others are alone in their families: nothing tells them apart.
        let labels = if matches!(what, "electricity" | "hardware") { &labels[..] } else { &labels[..2] };
        part = part
            .amount(what, metrics[0], labels, &row.run)
            .amount(&format!("{what}_per_hour"), metrics[1], labels, &row.per_hour)
            .amount(&format!("{what}_per_task"), metrics[2], labels, &row.per_task);
    }
    part.amount(
        "cloud_over_total",
        gauge(
            "reflexarc_cloud_cost_ratio",
            "Price of the same calls in the stated cloud over the total here.",
        ),
        &[("basis", basis)],
        &cost.cloud_over_total,
    )
}

fn board(reading: &BoardReading) -> Part {
    const TEMPERATURE: Metric = gauge("reflexarc_temperature_celsius", "Temperature of a thermal zone.");
    const RAIL: Metric = gauge("reflexarc_rail_watts", "Power of a rail.");
    const THROTTLED: Metric = gauge("reflexarc_throttled", "1 while this holds the clocks back.");
    let mut part = Part::new("board", "");
    for temperature in &reading.temperatures {
        let (zone, now_c) = (temperature.zone.as_str(), temperature.temperature_c);
        match (temperature.critical_c, temperature.passive_c) {
            (Some(critical_c), _) if now_c >= critical_c => {
                part.raise(Error, format!("{zone} at {now_c:.1} °C, critical at {critical_c:.1} °C"));
            }
            (_, Some(passive_c)) if now_c >= passive_c => {
                part.raise(Warn, format!("{zone} at {now_c:.1} °C, slowed down from {passive_c:.1} °C on"));
            }
            _ => {}
        }
        part = part.number_of(&format!("{zone}_c"), TEMPERATURE, &[("zone", zone)], now_c);
    }
    for rail in &reading.rails {
        let labels = [("rail", rail.name.as_str()), ("source", rail.source.name())];
        part = part.number_of(&format!("{}_w", rail.name), RAIL, &labels, rail.power_w);
    }
    for throttle in &reading.throttles {
        let (kind, name) = (throttle.kind.name(), throttle.name.as_str());
        if throttle.active {
            part.raise(Warn, format!("throttled by {kind} {name}: {}", throttle.detail));
        }
        let labels = [("kind", kind), ("name", name)];
        let active = f64::from(u8::from(throttle.active));
        part = part.number_of(&format!("throttled_{kind} {name}"), THROTTLED, &labels, active);
    }
    part = part.count(
        "throttled_polls",
        counter("reflexarc_throttled_polls_total", "Readings of the board in which it was throttled."),
        reading.throttled_polls,
    );
    let silent = reading.temperatures.is_empty() && reading.rails.is_empty() && reading.throttles.is_empty();
    if silent {
        part.message = "the board tells nothing about heat, rails or throttling".into();
    }
    for (index, fault) in reading.unavailable.iter().take(8).enumerate() {
        part = part.text(&format!("not_available_{index}"), fault.to_string());
    }
    part
}
