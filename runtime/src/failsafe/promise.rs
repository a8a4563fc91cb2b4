//! How long a stop may take, from the limits alone.

use reflexarc_kinematics::Chain;
use reflexarc_kinematics::limit::JointLimiter;

use super::table::Row;
use crate::config::Config;
use crate::motion::limiter_config;

/// The promised time of a stop. Computed once from the configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Promise {
    /// Ticks from the one that names the stop to the one in which the commands rest, at the most.
    pub stop_ticks: u32,
    /// Length of a tick, ns.
    pub tick_ns: u64,
}

impl Promise {
    /// From the joints' velocities and the acceleration and jerk limits: the slowest joint, braking from the
    /// worst motion that they allow.
    #[must_use]
    pub fn new(chain: &Chain, config: &Config) -> Self {
        let limiter = JointLimiter::new(chain.clone(), limiter_config(config, config.dt_s()));
        Self {
            // The tick in which it rests, and one more: velocities are differences of two positions.
            stop_ticks: u32::try_from(limiter.longest_stop_ticks()).unwrap_or(u32::MAX).saturating_add(1),
            tick_ns: 1_000_000_000 / u64::from(config.rates.reflex_hz.max(1)),
        }
    }

    /// The same in time, ns.
    #[must_use]
    pub fn stop_ns(&self) -> u64 {
        u64::from(self.stop_ticks) * self.tick_ns
    }

    /// From a cause that the loop sees to rest, ns: the row's delay, one tick to see it, and the stop.
    #[must_use]
    pub fn within_ns(&self, row: &Row) -> u64 {
        row.delay_ns + self.tick_ns + self.stop_ns()
    }
}
