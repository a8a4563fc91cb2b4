//! What a figure is.

use reflexarc_drivers::msg::{DiagnosticArray, DiagnosticLevel, DiagnosticStatus, Header};

use crate::cost::Amount;
use crate::ledger::LatencySummary;

/// Whether a metric only grows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Grows, and begins anew with the program.
    Counter,
    /// Goes up and down.
    Gauge,
}

/// A metric of the page: all figures of one name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Metric {
    /// Its name, with the unit and `_total` for counters.
    pub name: &'static str,
    /// Whether it only grows.
    pub kind: Kind,
    /// What it is, one line.
    pub help: &'static str,
}

/// A metric that only grows.
#[must_use]
pub const fn counter(name: &'static str, help: &'static str) -> Metric {
    Metric { name, kind: Kind::Counter, help }
}

/// A metric that goes up and down.
#[must_use]
pub const fn gauge(name: &'static str, help: &'static str) -> Metric {
    Metric { name, kind: Kind::Gauge, help }
}

/// What a figure says.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// A count.
    Count(u64),
    /// A measurement.
    Number(f64),
    /// Words; on the page the value is 1 and the words are in the labels.
    Text(String),
}

impl std::fmt::Display for Value {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Count(count) => write!(f, "{count}"),
            Self::Number(number) => write!(f, "{number}"),
            Self::Text(text) => f.write_str(text),
        }
    }
}

/// One figure of one part.
#[derive(Clone, Debug, PartialEq)]
pub struct Figure {
    /// Its key in diagnostics, unique within the part, with the unit.
    pub key: String,
    /// Its metric; words mostly have none.
    pub metric: Option<Metric>,
    /// What tells it from the other figures of that metric.
    pub labels: Vec<(&'static str, String)>,
    /// What it says.
    pub value: Value,
}

/// One part of the robot: its level, why, and its figures.
#[derive(Clone, Debug, PartialEq)]
pub struct Part {
    /// The part.
    pub name: String,
    /// How it is.
    pub level: DiagnosticLevel,
    /// Why the level is what it is, or the state in a few words.
    pub message: String,
    /// Its figures.
    pub figures: Vec<Figure>,
}

impl Part {
    /// A part that is well.
    #[must_use]
    pub fn new(name: impl Into<String>, message: impl Into<String>) -> Self {
        Self { name: name.into(), level: DiagnosticLevel::Ok, message: message.into(), figures: Vec::new() }
    }

    /// Raises the level, never lowers it, and adds why.
    pub fn raise(&mut self, level: DiagnosticLevel, why: impl AsRef<str>) {
        self.level = self.level.max(level);
        if !self.message.is_empty() {
            self.message.push_str("; ");
        }
        self.message.push_str(why.as_ref());
    }

    /// The same with a count.
    #[must_use]
    pub fn count(self, key: &str, metric: Metric, count: u64) -> Self {
        self.with(key, Some(metric), &[], Value::Count(count))
    }

    /// The same with a count that has labels.
    #[must_use]
    pub fn count_of(self, key: &str, metric: Metric, labels: &[(&'static str, &str)], count: u64) -> Self {
        self.with(key, Some(metric), labels, Value::Count(count))
    }

    /// The same with a measurement.
    #[must_use]
    pub fn number(self, key: &str, metric: Metric, number: f64) -> Self {
        self.with(key, Some(metric), &[], Value::Number(number))
    }

    /// The same with a measurement that has labels.
    #[must_use]
    pub fn number_of(self, key: &str, metric: Metric, labels: &[(&'static str, &str)], number: f64) -> Self {
        self.with(key, Some(metric), labels, Value::Number(number))
    }

    /// The same with words that are in diagnostics only.
    #[must_use]
    pub fn text(self, key: &str, text: impl Into<String>) -> Self {
        self.with(key, None, &[], Value::Text(text.into()))
    }

    /// The same with words that are a label on the page; they should be few in kind.
    #[must_use]
    pub fn state(self, key: &str, metric: Metric, label: &'static str, text: &str) -> Self {
        self.with(key, Some(metric), &[(label, text)], Value::Text(text.to_owned()))
    }

    /// The same with an amount, or in diagnostics with the reason why there is none.
    #[must_use]
    pub fn amount(self, key: &str, metric: Metric, labels: &[(&'static str, &str)], amount: &Amount) -> Self {
        match amount {
            Amount::Is(value) => self.with(key, Some(metric), labels, Value::Number(*value)),
            Amount::NotComputed(_) => self.text(key, amount.to_string()),
        }
    }

    /// The same with the percentiles of a duration; nothing if it was never measured.
    #[must_use]
    pub fn latency(self, what: &str, summary: &LatencySummary) -> Self {
        const SECONDS: Metric = gauge("reflexarc_latency_seconds", "Durations: quantiles of the run so far.");
        const COUNT: Metric = counter("reflexarc_latency_measured_total", "Durations measured.");
        if summary.count == 0 {
            return self;
        }
        let mut part = self.count_of(&format!("{what}_count"), COUNT, &[("what", what)], summary.count);
        for (key, quantile, us) in [
            ("p50", "0.5", summary.p50_us),
            ("p99", "0.99", summary.p99_us),
            ("p999", "0.999", summary.p999_us),
            ("max", "1", summary.max_us),
        ] {
            let labels = vec![("what", what.to_owned()), ("quantile", quantile.to_owned())];
            let (key, value) = (format!("{what}_{key}_s"), Value::Number(us / 1e6));
            part.figures.push(Figure { key, metric: Some(SECONDS), labels, value });
        }
        part
    }

    fn with(
        mut self,
        key: &str,
        metric: Option<Metric>,
        labels: &[(&'static str, &str)],
        value: Value,
    ) -> Self {
        let labels = labels.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
        self.figures.push(Figure { key: key.to_owned(), metric, labels, value });
        self
    }
}

/// The whole table at one moment.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Health {
    /// When, by the clock that stamps messages, ns.
    pub now_ns: u64,
    /// All parts.
    pub parts: Vec<Part>,
}

impl Health {
    /// The worst level; a part that is stale counts as one that does not work.
    #[must_use]
    pub fn worst(&self) -> DiagnosticLevel {
        self.parts.iter().map(|part| part.level).max().unwrap_or(DiagnosticLevel::Stale)
    }

    /// The table as a ROS message.
    #[must_use]
    pub fn diagnostics(&self) -> DiagnosticArray {
        let status = self.parts.iter().map(|part| {
            let mut status = DiagnosticStatus::new(part.level, part.name.clone(), part.message.clone());
            for figure in &part.figures {
                status = status.with(figure.key.clone(), &figure.value);
            }
            status
        });
        DiagnosticArray { header: Header::new(self.now_ns, ""), status: status.collect() }
    }
}
