//! What systemd is told (sd_notify(3)), where there is one; elsewhere nothing happens.
//!
//! `READY=1` after the first tick, `STATUS=` about once a second, `WATCHDOG=1` by [`super::Feeding`]'s rule,
//! `STOPPING=1` when the arm begins to come to rest. From then on there is no loop to watch, so the watchdog's
//! limit becomes 15 s: an ending that hangs is still ended.

use std::time::Duration;

use sd_notify::{NotifyState, notify, watchdog_enabled};

/// How long ending may take before systemd ends it, s: half a second of braking, two for a policy that is
/// still computing, the rest for the recording.
pub(super) const ENDING_S: u32 = 15;

/// The service manager that started this program, if one did.
#[derive(Clone, Copy, Debug)]
pub struct Service {
    watchdog: Option<Duration>,
}

impl Service {
    /// From the environment (`NOTIFY_SOCKET`, `WATCHDOG_USEC`, `WATCHDOG_PID`).
    #[must_use]
    pub fn from_env() -> Self {
        Self { watchdog: watchdog_enabled() }
    }

    /// How often the watchdog should be offered food: a quarter of its limit, so that one refusal is not yet
    /// the end. `None` without a watchdog.
    #[must_use]
    pub fn feeding_ns(&self) -> Option<u64> {
        self.watchdog.map(|limit| u64::try_from(limit.as_nanos() / 4).unwrap_or(u64::MAX))
    }

    /// The loop runs.
    pub fn ready(&self) {
        self.tell(&[NotifyState::Ready]);
    }

    /// One line for `systemctl status`.
    pub fn status(&self, line: &str) {
        self.tell(&[NotifyState::Status(line)]);
    }

    /// The loop is well.
    pub fn feed(&self) {
        self.tell(&[NotifyState::Watchdog]);
    }

    /// The end has begun.
    pub fn stopping(&self) {
        self.tell(&[NotifyState::Stopping]);
        if self.watchdog.is_some() {
            self.tell(&[NotifyState::WatchdogUsec(ENDING_S * 1_000_000), NotifyState::Watchdog]);
        }
    }

    fn tell(&self, state: &[NotifyState<'_>]) {
        // A manager that has gone is no reason to stop the robot; its watchdog notices by itself.
        let _ = notify(state);
    }
}
