//! Settings of the tracker.

use crate::task::Task;

/// Settings of a [`Tracker`](super::Tracker). All values must be finite and above 0 unless said otherwise.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TrackerConfig {
    /// Which part of the target's pose counts. Default the whole pose.
    pub task: Task,
    /// Length of a tick, s. Default 1/240.
    pub dt_s: f64,
    /// Share of each joint's velocity limit that may be used, in (0, 1]. Default 0.8.
    pub velocity_scale: f64,
    /// Weight of the posture, and base damping, against the task, m²/rad², ≥ 0. Default 1e-3. More is calmer
    /// near singularities and slower along weak directions; it does not bias where the tool comes to rest.
    pub posture_weight: f64,
    /// Rate at which the posture error closes where the task leaves room, 1/s, ≥ 0. Default 1.
    pub posture_gain_per_s: f64,
    /// How strongly spare motion climbs towards configurations from which the tool moves well, rad²/s, ≥ 0:
    /// the joint velocity per unit of gradient of log m, where m is Yoshikawa's measure of manipulability.
    /// Default 0, which costs nothing. It competes with the posture; 0.1 to 1 are sensible values. Without
    /// spare joints it has no effect.
    pub manipulability_gain_rad2_per_s: f64,
    /// Speed that the task may ask of the tool's origin, m/s. Default 0.5.
    pub max_tool_speed_m_s: f64,
    /// Turning speed that the task may ask of the tool, rad/s. Default 2.
    pub max_tool_turn_rad_s: f64,
    /// Deceleration of the tool's origin planned on arrival, m/s². Default 2. Above what the joints can do,
    /// the tool overshoots.
    pub tool_braking_m_s2: f64,
    /// Deceleration of the tool's turning planned on arrival, rad/s². Default 6.
    pub tool_braking_rad_s2: f64,
    /// Rate at which a small pose error closes, 1/s; at most one error per tick is asked. Default 40. Less is
    /// smoother with a noisy target and lags more behind a moving one (lag = speed / gain).
    pub task_gain_per_s: f64,
    /// Whether to move along with a target that moves no faster than the tool may, instead of lagging behind
    /// it. Default false: right for targets that come in steps or with noise. True needs a new, smooth target
    /// in every tick.
    pub follow_target_velocity: bool,
    /// Acceleration limit of every joint, rad/s² (or m/s²). Default 10.
    pub max_acceleration_rad_s2: f64,
}

impl Default for TrackerConfig {
    fn default() -> Self {
        Self {
            task: Task::Pose,
            dt_s: 1.0 / 240.0,
            velocity_scale: 0.8,
            posture_weight: 1e-3,
            posture_gain_per_s: 1.0,
            manipulability_gain_rad2_per_s: 0.0,
            max_tool_speed_m_s: 0.5,
            max_tool_turn_rad_s: 2.0,
            tool_braking_m_s2: 2.0,
            tool_braking_rad_s2: 6.0,
            task_gain_per_s: 40.0,
            follow_target_velocity: false,
            max_acceleration_rad_s2: 10.0,
        }
    }
}

/// A setting outside its range.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("{field} is {actual}, expected {expected}")]
pub struct ConfigError {
    /// The field's name.
    pub field: &'static str,
    /// What it must be.
    pub expected: &'static str,
    /// What it is.
    pub actual: f64,
}

impl TrackerConfig {
    /// Checks every field's range.
    ///
    /// # Errors
    /// The first field outside its range.
    pub fn check(&self) -> Result<(), ConfigError> {
        let positive = [
            ("dt_s", self.dt_s),
            ("max_tool_speed_m_s", self.max_tool_speed_m_s),
            ("max_tool_turn_rad_s", self.max_tool_turn_rad_s),
            ("tool_braking_m_s2", self.tool_braking_m_s2),
            ("tool_braking_rad_s2", self.tool_braking_rad_s2),
            ("task_gain_per_s", self.task_gain_per_s),
            ("max_acceleration_rad_s2", self.max_acceleration_rad_s2),
        ];
        for (field, actual) in positive {
            if !(actual.is_finite() && actual > 0.0) {
                return Err(ConfigError { field, expected: "a finite number above 0", actual });
            }
        }
        let scale = self.velocity_scale;
        if !(scale > 0.0 && scale <= 1.0) {
            return Err(ConfigError {
                field: "velocity_scale",
                expected: "above 0 and at most 1",
                actual: scale,
            });
        }
        for (field, actual) in [
            ("posture_weight", self.posture_weight),
            ("posture_gain_per_s", self.posture_gain_per_s),
            ("manipulability_gain_rad2_per_s", self.manipulability_gain_rad2_per_s),
        ] {
            if !(actual.is_finite() && actual >= 0.0) {
                return Err(ConfigError { field, expected: "a finite number of at least 0", actual });
            }
        }
        Ok(())
    }
}
