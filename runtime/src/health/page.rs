//! The Prometheus text, format 0.0.4.
//!
//! Source: prometheus.io/docs/instrumenting/exposition_formats. All figures of a metric stand together under
//! its `HELP` and `TYPE`.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::figure::{Figure, Health, Kind, Metric, Value, gauge};

/// The media type of the page.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

const LEVEL: Metric = gauge("reflexarc_part_level", "How a part is: 0 ok, 1 warning, 2 error, 3 stale.");

const AGE: Metric = gauge("reflexarc_figures_age_seconds", "How long ago these figures were put together.");

/// The page of a table that was made `age_s` ago. Work and size are bounded by the number of figures.
#[must_use]
pub fn render(health: &Health, age_s: f64) -> String {
    let mut families: BTreeMap<&str, (Metric, Vec<String>)> = BTreeMap::new();
    let mut add = |metric: Metric, labels: &[(&str, String)], value: String| {
        let line = format!("{}{} {value}", metric.name, braces(labels));
        families.entry(metric.name).or_insert((metric, Vec::new())).1.push(line);
    };
    add(AGE, &[], age_s.to_string());
    for part in &health.parts {
        add(LEVEL, &[("part", part.name.clone())], (part.level as u8).to_string());
        for Figure { metric, labels, value, .. } in &part.figures {
            if let Some(metric) = metric {
                add(*metric, labels, number(value));
            }
        }
    }
    let mut text = String::new();
    for (metric, lines) in families.values() {
        let kind = match metric.kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
        };
        // Writing to a string cannot fail.
        let _ = writeln!(text, "# HELP {} {}", metric.name, escape(metric.help, false));
        let _ = writeln!(text, "# TYPE {} {kind}", metric.name);
        for line in lines {
            let _ = writeln!(text, "{line}");
        }
    }
    text
}

fn number(value: &Value) -> String {
    match value {
        Value::Count(count) => count.to_string(),
        Value::Number(number) if number.is_nan() => "NaN".into(),
        Value::Number(number) if number.is_infinite() => if *number > 0.0 { "+Inf" } else { "-Inf" }.into(),
        Value::Number(number) => number.to_string(),
        Value::Text(_) => "1".into(),
    }
}

fn braces(labels: &[(&str, String)]) -> String {
    if labels.is_empty() {
        return String::new();
    }
    let pairs: Vec<String> =
        labels.iter().map(|(name, value)| format!("{name}=\"{}\"", escape(value, true))).collect();
    format!("{{{}}}", pairs.join(","))
}

fn escape(text: &str, quotes: bool) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '"' if quotes => out.push_str("\\\""),
            c => out.push(c),
        }
    }
    out
}
