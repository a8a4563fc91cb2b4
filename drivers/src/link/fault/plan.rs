//! What shall go wrong, where and when.

use serde::{Deserialize, Serialize};

/// Faults of links, the same ones on every run with the same seed.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct FaultPlan {
    /// Where all chances come from. Every topic and direction has a stream of its own, so that what
    /// happens on one does not depend on the traffic of another.
    pub seed: u64,
    /// The faults. All that fit a message act on it, in this order.
    pub rules: Vec<FaultRule>,
}

/// One fault, or several that go together. The default does nothing.
///
/// Chances are per message, from 0 (never) to 1 (always). Times count from the start of the plan.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct FaultRule {
    /// Names of the topics, with the namespace; `*` stands for any letters, slashes too.
    pub topics: Vec<String>,
    /// Seen from the wrapped link.
    pub direction: Direction,
    /// When it begins, ms.
    pub from_ms: u64,
    /// How long it lasts, ms; absent: for ever.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub for_ms: Option<u64>,
    /// It comes back this long after each beginning, ms; absent: once only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub every_ms: Option<u64>,
    /// The topic is silent, or says the same again and again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub freeze: Option<Freeze>,
    /// Chance of never arriving.
    pub loss: f64,
    /// Every message arrives so much later, ms.
    pub delay_ms: u64,
    /// And up to so much later still, ms, evenly distributed; the order is kept.
    pub jitter_ms: u64,
    /// Chance of being overtaken by messages of up to `reorder_ms` later.
    pub reorder: f64,
    /// How long an overtaken message is kept back, ms.
    pub reorder_ms: u64,
    /// Chance of arriving twice.
    pub duplicate: f64,
    /// Chance of one to eight flipped bits in the payload.
    pub corrupt: f64,
    /// Chance of one to eight flipped bits in the attachment (number, time and publisher).
    pub corrupt_attachment: f64,
    /// Chance of losing a random part of its end.
    pub truncate: f64,
    /// Chance of a NaN or an infinity in the place of a number, in messages that have numbers.
    pub not_finite: f64,
    /// The publisher's clock is wrong by so much, ms: in the header's stamp and in the attachment.
    pub clock_shift_ms: i64,
}

impl Default for FaultRule {
    fn default() -> Self {
        Self {
            topics: vec!["*".to_owned()],
            direction: Direction::Both,
            from_ms: 0,
            for_ms: None,
            every_ms: None,
            freeze: None,
            loss: 0.0,
            delay_ms: 0,
            jitter_ms: 0,
            reorder: 0.0,
            reorder_ms: 20,
            duplicate: 0.0,
            corrupt: 0.0,
            corrupt_attachment: 0.0,
            truncate: 0.0,
            not_finite: 0.0,
            clock_shift_ms: 0,
        }
    }
}

/// Which way messages go, seen from the wrapped link.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Direction {
    /// Received by it.
    In,
    /// Published by it.
    Out,
    /// Both ways.
    #[default]
    Both,
}

/// How a topic freezes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Freeze {
    /// Nothing comes.
    Silent,
    /// The last message before it comes again, under new numbers: its header keeps the old stamp.
    Repeat,
    /// The same with fresh stamps: a sensor that is stuck and does not know it.
    Stuck,
}

/// When a fault is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// When it begins, ms.
    pub from_ms: u64,
    /// How long it lasts, ms; absent: for ever.
    pub for_ms: Option<u64>,
    /// It comes back this long after each beginning, ms.
    pub every_ms: Option<u64>,
}

impl Window {
    /// Whether the fault is there `elapsed_ns` after the start of the plan.
    #[must_use]
    pub fn contains(&self, elapsed_ns: u64) -> bool {
        let ns = |ms: u64| ms.saturating_mul(1_000_000);
        let Some(since_ns) = elapsed_ns.checked_sub(ns(self.from_ms)) else { return false };
        let since_ns = match self.every_ms {
            Some(every_ms) => since_ns % ns(every_ms).max(1),
            None => since_ns,
        };
        self.for_ms.is_none_or(|for_ms| since_ns < ns(for_ms))
    }
}

/// Why a plan of faults was refused.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum FaultError {
    /// A chance is not one.
    #[error("fault rule {rule}: {key} = {value}: expected a chance from 0 to 1")]
    Chance {
        /// The rule's place, from 1.
        rule: usize,
        /// The key.
        key: &'static str,
        /// The value found.
        value: f64,
    },
    /// A rule that fits no topic.
    #[error("fault rule {rule}: topics: expected at least one name or pattern, found none")]
    NoTopics {
        /// The rule's place, from 1.
        rule: usize,
    },
    /// A fault that comes back before it ends.
    #[error("fault rule {rule}: every_ms = {every_ms}: expected more than for_ms, which must be given")]
    Window {
        /// The rule's place, from 1.
        rule: usize,
        /// The value found.
        every_ms: u64,
    },
    /// The thread that delivers delayed messages could not be started.
    #[error("cannot start the thread `faults`: {reason}")]
    Thread {
        /// What the system said.
        reason: String,
    },
}

impl FaultPlan {
    /// Checks the values.
    ///
    /// # Errors
    /// [`FaultError`] with the rule and the key.
    pub fn validate(&self) -> Result<(), FaultError> {
        for (rule, fault) in (1..).zip(&self.rules) {
            fault.validate(rule)?;
        }
        Ok(())
    }
}

impl FaultRule {
    /// When it is there.
    #[must_use]
    pub fn window(&self) -> Window {
        Window { from_ms: self.from_ms, for_ms: self.for_ms, every_ms: self.every_ms }
    }

    fn validate(&self, rule: usize) -> Result<(), FaultError> {
        if self.topics.is_empty() {
            return Err(FaultError::NoTopics { rule });
        }
        for (key, value) in [
            ("loss", self.loss),
            ("reorder", self.reorder),
            ("duplicate", self.duplicate),
            ("corrupt", self.corrupt),
            ("corrupt_attachment", self.corrupt_attachment),
            ("truncate", self.truncate),
            ("not_finite", self.not_finite),
        ] {
            if !(0.0..=1.0).contains(&value) {
                return Err(FaultError::Chance { rule, key, value });
            }
        }
        match self.every_ms {
            Some(every_ms) if self.for_ms.is_none_or(|for_ms| for_ms >= every_ms) => {
                Err(FaultError::Window { rule, every_ms })
            }
            _ => Ok(()),
        }
    }

    /// Whether it acts on `topic` in `direction` ([`Direction::In`] or [`Direction::Out`]).
    pub(super) fn fits(&self, topic: &str, direction: Direction) -> bool {
        (self.direction == Direction::Both || self.direction == direction)
            && self.topics.iter().any(|pattern| matches(pattern, topic))
    }
}

/// Whether `name` has the form `pattern`, where `*` stands for any letters.
fn matches(pattern: &str, name: &str) -> bool {
    let mut parts = pattern.split('*');
    // A pattern has at least one part.
    let Some(rest) = parts.next().and_then(|first| name.strip_prefix(first)) else { return false };
    let Some(last) = parts.next_back() else { return rest.is_empty() };
    let mut rest = rest;
    for part in parts {
        let Some(at) = rest.find(part) else { return false };
        rest = &rest[at + part.len()..];
    }
    rest.ends_with(last)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests fail by panicking")]
    use super::*;

    #[test]
    fn stars_stand_for_any_letters() {
        for (pattern, name, fits) in [
            ("*", "camera/scene/image_raw", true),
            ("", "estop", false),
            ("estop", "estop", true),
            ("estop", "arm/estop", false),
            ("*estop", "arm/estop", true),
            ("camera/*", "camera/scene/image_raw", true),
            ("camera/*/image_raw", "camera/scene/image_raw", true),
            ("camera/*/image_raw", "camera/scene/image_raw/compressed", false),
            ("*a*a*", "aa", true),
            ("a*a", "a", false),
            ("*scene*", "camera/scene/image_raw", true),
        ] {
            assert_eq!(matches(pattern, name), fits, "{pattern} {name}");
        }
    }

    #[test]
    fn windows_begin_end_and_come_back() {
        let window = Window { from_ms: 100, for_ms: Some(20), every_ms: Some(50) };
        let there: Vec<u64> = (0..250).filter(|ms| window.contains(ms * 1_000_000)).collect();
        let expected: Vec<u64> = (100..120).chain(150..170).chain(200..220).collect();
        assert_eq!(there, expected);
        let always = Window { from_ms: 5, for_ms: None, every_ms: None };
        assert!(!always.contains(4_999_999) && always.contains(5_000_000) && always.contains(u64::MAX));
    }

    #[test]
    fn impossible_plans_are_named() {
        let plan = |rule| FaultPlan { seed: 0, rules: vec![FaultRule::default(), rule] };
        let error = |rule| plan(rule).validate().unwrap_err().to_string();
        let rule = FaultRule { loss: f64::NAN, ..FaultRule::default() };
        assert_eq!(error(rule), "fault rule 2: loss = NaN: expected a chance from 0 to 1");
        let rule = FaultRule { every_ms: Some(10), ..FaultRule::default() };
        assert_eq!(
            error(rule),
            "fault rule 2: every_ms = 10: expected more than for_ms, which must be given"
        );
        assert!(error(FaultRule { topics: Vec::new(), ..FaultRule::default() }).contains("topics"));
        assert_eq!(plan(FaultRule::default()).validate(), Ok(()));
    }
}
