//! The signals of people: `estop`, `enable`, `override`, each a dead-man.
//!
//! They say what is asked for *now*. What follows from it, and what stays latched, is the failsafe's
//! ([`crate::failsafe`]). A dead-man acts by silence: an `enable` runs out, an `override` runs out, and an `estop`
//! topic that has a timeout and falls silent is a stop.
//!
//! This is a software stop and not a safety function: wire a hardware emergency stop as well.

use crate::config::Config;
use crate::failsafe::{Cause, CauseSet};
use crate::modes::StopCause;

/// What the signals allow at this moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gate {
    /// Motion is allowed.
    Open,
    /// Motion needs an `enable` first.
    NotEnabled,
    /// Someone, or silence, orders a stop.
    Stop(StopCause),
}

impl Gate {
    /// The causes that it means.
    #[must_use]
    pub fn causes(self) -> CauseSet {
        match self {
            Self::Open => CauseSet::EMPTY,
            Self::NotEnabled => CauseSet::EMPTY.with(Cause::NotEnabled),
            Self::Stop(cause) => CauseSet::EMPTY.with(cause.cause()),
        }
    }
}

/// The state of the signals.
#[derive(Clone, Debug)]
pub struct Safety {
    require_enable: bool,
    enable_timeout_ns: u64,
    estop_timeout_ns: u64,
    override_timeout_ns: u64,
    estop_pressed: bool,
    /// A stop since the last look, however short.
    struck: bool,
    estop_heard_ns: Option<u64>,
    started_ns: Option<u64>,
    enabled_ns: Option<u64>,
    overridden_ns: Option<u64>,
    ending: bool,
}

impl Safety {
    /// Nothing pressed, nothing enabled.
    #[must_use]
    pub fn new(config: &Config) -> Self {
        let ns = |ms: u64| ms.saturating_mul(1_000_000);
        Self {
            require_enable: config.safety.require_enable,
            enable_timeout_ns: ns(config.safety.enable_timeout_ms),
            estop_timeout_ns: ns(config.safety.estop_timeout_ms),
            override_timeout_ns: ns(config.failsafe.override_timeout_ms),
            estop_pressed: false,
            struck: false,
            estop_heard_ns: None,
            started_ns: None,
            enabled_ns: None,
            overridden_ns: None,
            ending: false,
        }
    }

    /// Takes one message of the `estop` topic.
    pub fn on_estop(&mut self, pressed: bool, now_ns: u64) {
        self.estop_heard_ns = Some(now_ns);
        self.estop_pressed = pressed;
        self.struck |= pressed;
    }

    /// A stop that lasts for one look: one that was lost, or asked for by the program.
    pub fn strike(&mut self) {
        self.struck = true;
    }

    /// Takes one message of the `enable` topic.
    pub fn on_enable(&mut self, enabled: bool, now_ns: u64) {
        self.enabled_ns = enabled.then_some(now_ns);
    }

    /// Takes one message of the `override` topic.
    pub fn on_override(&mut self, overridden: bool, now_ns: u64) {
        self.overridden_ns = overridden.then_some(now_ns);
    }

    /// The program ends; this is never taken back.
    pub fn end(&mut self) {
        self.ending = true;
    }

    /// What is allowed at `now_ns`. Once per tick: a short stop is seen once.
    pub fn gate(&mut self, now_ns: u64) -> Gate {
        self.started_ns.get_or_insert(now_ns);
        let gate = self.look(now_ns);
        self.struck = false;
        gate
    }

    /// The same between two ticks, without taking note.
    #[must_use]
    pub fn look(&self, now_ns: u64) -> Gate {
        if self.struck || self.estop_pressed {
            return Gate::Stop(StopCause::EmergencyStop);
        }
        if self.estop_silent(now_ns) {
            return Gate::Stop(StopCause::EmergencyStopSilent);
        }
        if self.ending {
            return Gate::Stop(StopCause::Shutdown);
        }
        let enabled = !self.require_enable
            || self.enabled_ns.is_some_and(|at_ns| now_ns.saturating_sub(at_ns) <= self.enable_timeout_ns);
        if enabled { Gate::Open } else { Gate::NotEnabled }
    }

    /// Whether an operator overrides what may be overridden.
    #[must_use]
    pub fn overridden(&self, now_ns: u64) -> bool {
        self.overridden_ns.is_some_and(|at_ns| now_ns.saturating_sub(at_ns) <= self.override_timeout_ns)
    }

    fn estop_silent(&self, now_ns: u64) -> bool {
        let heard_ns = self.estop_heard_ns.or(self.started_ns).unwrap_or(now_ns);
        self.estop_timeout_ns > 0 && now_ns.saturating_sub(heard_ns) > self.estop_timeout_ns
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::SafetyConfig;

    const MS: u64 = 1_000_000;

    fn safety(require_enable: bool, estop_timeout_ms: u64) -> Safety {
        let safety = SafetyConfig { require_enable, estop_timeout_ms, ..SafetyConfig::default() };
        Safety::new(&Config { safety, ..Config::default() })
    }

    #[test]
    fn a_required_enable_runs_out() {
        let mut safety = safety(true, 0);
        assert_eq!(safety.gate(0), Gate::NotEnabled);
        safety.on_enable(true, 10 * MS);
        assert_eq!(safety.gate(510 * MS), Gate::Open);
        assert_eq!(safety.gate(511 * MS), Gate::NotEnabled);
        safety.on_enable(true, 600 * MS);
        safety.on_enable(false, 601 * MS);
        assert_eq!(safety.gate(601 * MS), Gate::NotEnabled);
    }

    #[test]
    fn silence_on_the_stop_topic_is_a_stop_where_it_has_a_timeout() {
        let mut patient = safety(false, 0);
        assert_eq!(patient.gate(1_000_000 * MS), Gate::Open);
        let mut safety = safety(false, 200);
        assert_eq!(safety.gate(1_000 * MS), Gate::Open);
        assert_eq!(safety.gate(1_200 * MS), Gate::Open);
        assert_eq!(safety.gate(1_201 * MS), Gate::Stop(StopCause::EmergencyStopSilent));
        safety.on_estop(false, 1_400 * MS);
        assert_eq!(safety.gate(1_600 * MS), Gate::Open);
        safety.on_estop(true, 1_601 * MS);
        assert_eq!(safety.gate(1_601 * MS), Gate::Stop(StopCause::EmergencyStop));
    }

    #[test]
    fn a_short_stop_is_seen_once() {
        let mut safety = safety(false, 0);
        safety.on_estop(true, MS);
        safety.on_estop(false, MS);
        assert_eq!(safety.gate(MS), Gate::Stop(StopCause::EmergencyStop));
        assert_eq!(safety.gate(2 * MS), Gate::Open);
    }

    #[test]
    fn an_override_is_a_dead_man_too() {
        let mut safety = safety(false, 0);
        assert!(!safety.overridden(0));
        safety.on_override(true, 0);
        assert!(safety.overridden(500 * MS) && !safety.overridden(501 * MS));
    }

    #[test]
    fn an_end_is_never_taken_back() {
        let mut safety = safety(false, 0);
        safety.end();
        safety.on_enable(true, 0);
        assert_eq!(safety.gate(0), Gate::Stop(StopCause::Shutdown));
        safety.on_estop(true, 0);
        assert_eq!(safety.gate(0), Gate::Stop(StopCause::EmergencyStop));
    }
}
