//! Who may let the robot move: the latched stop and the enable signal.
//!
//! A pure function of time and of the signals received. A stop latches within the tick that sees
//! its cause. Leaving it takes three things in this order: the cause is gone, someone says reset,
//! and then an `enable` = true that came after the reset. This is a software stop and not a
//! safety function: wire a hardware emergency stop as well.

use crate::config::SafetyConfig;
use crate::modes::StopCause;

/// What the signals allow at this moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gate {
    /// Motion is allowed.
    Open,
    /// Motion needs an `enable` first; nothing is latched.
    NotEnabled,
    /// Stopped until reset.
    Stop(StopCause),
}

/// Why a reset was not accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ResetRefused {
    /// There is nothing to reset.
    #[error("nothing is latched")]
    NotStopped,
    /// The cause is still there.
    #[error("cannot reset while the cause lasts: {cause}")]
    CauseLasts {
        /// The latched cause.
        cause: StopCause,
    },
}

/// The state of the stop and enable signals.
#[derive(Clone, Debug)]
pub struct Safety {
    require_enable: bool,
    enable_timeout_ns: u64,
    estop_timeout_ns: u64,
    latched: Option<StopCause>,
    /// Set by a reset: whatever the configuration says, one fresh enable is needed.
    needs_fresh_enable: bool,
    estop_pressed: bool,
    estop_heard_ns: Option<u64>,
    started_ns: Option<u64>,
    enabled_ns: Option<u64>,
    stops: u64,
}

impl Safety {
    /// Nothing latched, nothing enabled.
    #[must_use]
    pub fn new(config: &SafetyConfig) -> Self {
        Self {
            require_enable: config.require_enable,
            enable_timeout_ns: config.enable_timeout_ms.saturating_mul(1_000_000),
            estop_timeout_ns: config.estop_timeout_ms.saturating_mul(1_000_000),
            latched: None,
            needs_fresh_enable: false,
            estop_pressed: false,
            estop_heard_ns: None,
            started_ns: None,
            enabled_ns: None,
            stops: 0,
        }
    }

    /// Takes one message of the `estop` topic.
    pub fn on_estop(&mut self, pressed: bool, now_ns: u64) {
        self.estop_heard_ns = Some(now_ns);
        self.estop_pressed = pressed;
        if pressed {
            self.stop(StopCause::EmergencyStop);
        }
    }

    /// Takes one message of the `enable` topic. While stopped it counts for nothing.
    pub fn on_enable(&mut self, enabled: bool, now_ns: u64) {
        if self.latched.is_some() {
            return;
        }
        self.enabled_ns = enabled.then_some(now_ns);
        if enabled {
            self.needs_fresh_enable = false;
        }
    }

    /// Latches a stop. The first cause stays, except that an emergency stop overrides any other.
    pub fn stop(&mut self, cause: StopCause) {
        match self.latched {
            None => {
                self.stops += 1;
                self.latched = Some(cause);
            }
            Some(_) if cause == StopCause::EmergencyStop => self.latched = Some(cause),
            Some(_) => {}
        }
        self.enabled_ns = None;
    }

    /// Unlatches the stop; a fresh enable is needed afterwards.
    ///
    /// # Errors
    /// [`ResetRefused`] if nothing is latched or the cause lasts. A shutdown cannot be reset.
    pub fn reset(&mut self, now_ns: u64) -> Result<(), ResetRefused> {
        let cause = self.latched.ok_or(ResetRefused::NotStopped)?;
        let lasts = match cause {
            StopCause::EmergencyStop => self.estop_pressed,
            StopCause::EmergencyStopSilent => self.estop_silent(now_ns),
            StopCause::Shutdown => true,
        };
        if lasts {
            return Err(ResetRefused::CauseLasts { cause });
        }
        self.latched = None;
        self.needs_fresh_enable = true;
        self.enabled_ns = None;
        Ok(())
    }

    /// What is allowed now; latches a stop if `estop` has gone silent. Once per tick.
    pub fn gate(&mut self, now_ns: u64) -> Gate {
        self.started_ns.get_or_insert(now_ns);
        if self.latched.is_none() && self.estop_silent(now_ns) {
            self.stop(StopCause::EmergencyStopSilent);
        }
        if let Some(cause) = self.latched {
            return Gate::Stop(cause);
        }
        let enabled = match self.enabled_ns {
            Some(at_ns) if self.require_enable => now_ns.saturating_sub(at_ns) <= self.enable_timeout_ns,
            Some(_) => true,
            None => !self.require_enable && !self.needs_fresh_enable,
        };
        if enabled { Gate::Open } else { Gate::NotEnabled }
    }

    /// How often a stop was latched.
    #[must_use]
    pub fn stops(&self) -> u64 {
        self.stops
    }

    fn estop_silent(&self, now_ns: u64) -> bool {
        let heard_ns = self.estop_heard_ns.or(self.started_ns).unwrap_or(now_ns);
        self.estop_timeout_ns > 0 && now_ns.saturating_sub(heard_ns) > self.estop_timeout_ns
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests fail by panicking")]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    fn safety(require_enable: bool, estop_timeout_ms: u64) -> Safety {
        Safety::new(&SafetyConfig { require_enable, estop_timeout_ms, ..SafetyConfig::default() })
    }

    #[test]
    fn a_stop_needs_release_then_reset_then_a_fresh_enable() {
        let mut safety = safety(false, 0);
        assert_eq!(safety.gate(0), Gate::Open);
        safety.on_estop(true, MS);
        assert_eq!(safety.gate(MS), Gate::Stop(StopCause::EmergencyStop));
        safety.on_enable(true, 2 * MS);
        assert!(matches!(safety.reset(2 * MS), Err(ResetRefused::CauseLasts { .. })));
        safety.on_estop(false, 3 * MS);
        assert_eq!(safety.gate(3 * MS), Gate::Stop(StopCause::EmergencyStop));
        safety.reset(4 * MS).unwrap();
        // The enable from before the reset does not count.
        assert_eq!(safety.gate(4 * MS), Gate::NotEnabled);
        safety.on_enable(true, 5 * MS);
        assert_eq!(safety.gate(5 * MS), Gate::Open);
        assert_eq!(safety.reset(5 * MS), Err(ResetRefused::NotStopped));
        assert_eq!(safety.stops(), 1);
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
    fn silence_on_the_stop_topic_latches() {
        let mut safety = safety(false, 200);
        assert_eq!(safety.gate(1_000 * MS), Gate::Open);
        assert_eq!(safety.gate(1_200 * MS), Gate::Open);
        assert_eq!(safety.gate(1_201 * MS), Gate::Stop(StopCause::EmergencyStopSilent));
        assert!(safety.reset(1_300 * MS).is_err());
        safety.on_estop(false, 1_400 * MS);
        safety.reset(1_401 * MS).unwrap();
        safety.on_enable(true, 1_402 * MS);
        assert_eq!(safety.gate(1_402 * MS), Gate::Open);
    }

    #[test]
    fn a_shutdown_cannot_be_reset() {
        let mut safety = safety(false, 0);
        safety.stop(StopCause::Shutdown);
        assert!(safety.reset(0).is_err());
        safety.on_estop(true, 0);
        assert_eq!(safety.gate(0), Gate::Stop(StopCause::EmergencyStop));
    }
}
