//! What the values of a [`Config`] may be.

use crate::chunk::MAX_ACTIONS;
use crate::config::{Config, ConfigError, MAX_CAMERAS, MAX_DOF, MAX_PADS};

fn ensure(
    holds: bool,
    key: &'static str,
    value: impl std::fmt::Debug,
    expected: impl Into<String>,
) -> Result<(), ConfigError> {
    if holds {
        return Ok(());
    }
    Err(ConfigError::Value { key, value: format!("{value:?}"), expected: expected.into() })
}

/// A finite number in `low..=high`.
fn within(key: &'static str, value: f64, low: f64, high: f64) -> Result<(), ConfigError> {
    ensure(value >= low && value <= high, key, value, format!("a number from {low} to {high}"))
}

fn names(key: &'static str, list: &[String], low: usize, high: usize) -> Result<(), ConfigError> {
    ensure((low..=high).contains(&list.len()), key, list, format!("{low} to {high} names"))?;
    for (index, name) in list.iter().enumerate() {
        let plain = !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
        ensure(plain, key, name, "names of ASCII letters, digits and underscores")?;
        ensure(!list[..index].contains(name), key, name, "each name once")?;
    }
    Ok(())
}

impl Config {
    /// Checks every value; [`Config::parse`] calls it, and so must code that edits a field.
    ///
    /// # Errors
    /// [`ConfigError::Value`] with the key, the value and what was expected.
    pub fn validate(&self) -> Result<(), ConfigError> {
        self.validate_robot()?;
        self.validate_senses()?;
        self.validate_limits()?;
        self.validate_chunk()?;
        self.validate_audit()?;
        let safety = &self.safety;
        within("safety.enable_timeout_ms", safety.enable_timeout_ms as f64, 20.0, 60_000.0)?;
        within("safety.estop_timeout_ms", safety.estop_timeout_ms as f64, 0.0, 60_000.0)?;
        within("safety.decision_max_age_ms", safety.decision_max_age_ms as f64, 10.0, 10_000.0)?;
        within("safety.infeasible_confirm_ms", safety.infeasible_confirm_ms as f64, 0.0, 60_000.0)?;
        let link = &self.link;
        ensure(link.domain <= 232, "link.domain", link.domain, "a ROS domain from 0 to 232")?;
        for endpoint in link.listen.iter().chain(&link.connect) {
            ensure(
                endpoint.contains('/') && endpoint.contains(':'),
                "link.listen / link.connect",
                endpoint,
                "an endpoint such as tcp/127.0.0.1:7447",
            )?;
        }
        let namespace_ok = link.namespace.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '/');
        ensure(
            namespace_ok,
            "link.namespace",
            &link.namespace,
            "ASCII letters, digits, underscores and slashes",
        )?;
        let words = self.policy.instruction.trim();
        ensure(
            !words.is_empty() && words.len() <= 512,
            "policy.instruction",
            &self.policy.instruction,
            "1 to 512 bytes of text",
        )?;
        within("record.queue", self.record.queue as f64, 16.0, 1_000_000.0)
    }

    fn validate_robot(&self) -> Result<(), ConfigError> {
        let robot = &self.robot;
        for (key, text) in [
            ("robot.urdf", &robot.urdf),
            ("robot.base", &robot.base),
            ("robot.tip", &robot.tip),
            ("robot.gripper_joint", &robot.gripper_joint),
        ] {
            ensure(!text.is_empty(), key, text, "a name")?;
        }
        let posture = &robot.posture_rad;
        ensure(
            (1..=MAX_DOF).contains(&posture.len()) && posture.iter().all(|q| q.is_finite()),
            "robot.posture_rad",
            posture,
            format!("1 to {MAX_DOF} finite angles, one per joint"),
        )?;
        within("robot.gripper_max_width_m", robot.gripper_max_width_m, 0.001, 1.0)?;
        let rates = &self.rates;
        ensure((1..=1000).contains(&rates.mind_hz), "rates.mind_hz", rates.mind_hz, "1 to 1000")?;
        ensure((60..=1000).contains(&rates.reflex_hz), "rates.reflex_hz", rates.reflex_hz, "60 to 1000")?;
        ensure(
            rates.reflex_hz.is_multiple_of(rates.mind_hz),
            "rates.reflex_hz",
            rates.reflex_hz,
            format!("a whole multiple of rates.mind_hz = {}", rates.mind_hz),
        )?;
        let delay_ms = rates.lockstep_delay_ms.unwrap_or(0);
        ensure(delay_ms <= 10_000, "rates.lockstep_delay_ms", delay_ms, "at most 10000 ms")
    }

    fn validate_chunk(&self) -> Result<(), ConfigError> {
        let chunk = &self.chunk;
        within("chunk.rate_hz", chunk.rate_hz, 1.0, 200.0)?;
        let horizon = chunk.execution_horizon;
        ensure(
            horizon <= MAX_ACTIONS,
            "chunk.execution_horizon",
            horizon,
            format!("0 to {MAX_ACTIONS} actions"),
        )?;
        // A knot of the motion lives for four periods; something must be left to execute after that.
        let shortest_ms = (8e3 / chunk.rate_hz).ceil();
        within("chunk.expiry_ms", chunk.expiry_ms as f64, shortest_ms, 10_000.0)?;
        within("chunk.blend_ms", chunk.blend_ms as f64, 10.0, 5_000.0)?;
        within("chunk.blend_max_ms", chunk.blend_max_ms as f64, chunk.blend_ms as f64, 10_000.0)?;
        within("chunk.grip_force_n", chunk.grip_force_n, 0.0, 500.0)
    }

    fn validate_senses(&self) -> Result<(), ConfigError> {
        let senses = &self.senses;
        names("senses.cameras", &senses.cameras, 1, MAX_CAMERAS)?;
        names("senses.tactile", &senses.tactile, 0, MAX_PADS)?;
        for (key, pixels) in [
            ("senses.camera_width_px", senses.camera_width_px),
            ("senses.camera_height_px", senses.camera_height_px),
        ] {
            ensure((8..=4096).contains(&pixels), key, pixels, "8 to 4096")?;
        }
        ensure(
            senses.tactile_shape.iter().all(|side| (1..=64).contains(side)),
            "senses.tactile_shape",
            senses.tactile_shape,
            "rows, columns and channels from 1 to 64",
        )?;
        for (key, age_ms) in [
            ("senses.camera_max_age_ms", senses.camera_max_age_ms),
            ("senses.tactile_max_age_ms", senses.tactile_max_age_ms),
            ("senses.joints_max_age_ms", senses.joints_max_age_ms),
        ] {
            ensure((1..=10_000).contains(&age_ms), key, age_ms, "1 to 10000 ms")?;
        }
        ensure(
            senses.future_tolerance_ms <= 1000,
            "senses.future_tolerance_ms",
            senses.future_tolerance_ms,
            "at most 1000 ms",
        )
    }

    fn validate_audit(&self) -> Result<(), ConfigError> {
        let audit = &self.audit;
        within("audit.table_z_m", audit.table_z_m, -10.0, 10.0)?;
        within("audit.tool_reach_m", audit.tool_reach_m, 0.0, 1.0)?;
        within("audit.clear_height_m", audit.clear_height_m, 0.0, 10.0)?;
        within("audit.sideways_max_m", audit.sideways_max_m, 0.001, 10.0)?;
        within("audit.near_m", audit.near_m, 0.001, 10.0)?;
        within("audit.view_tolerance", audit.view_tolerance, 0.0, 1.0)?;
        within("audit.camera_fov_rad", audit.camera_fov_rad, 0.01, 3.0)?;
        let away_m: [f64; 3] =
            std::array::from_fn(|i| audit.camera_looks_at_m[i] - audit.camera_position_m[i]);
        ensure(
            away_m.iter().all(|value| value.is_finite()) && away_m[0].hypot(away_m[1]) >= 0.01,
            "audit.camera_position_m / audit.camera_looks_at_m",
            (audit.camera_position_m, audit.camera_looks_at_m),
            "two points at least 0.01 m apart as seen from above",
        )
    }

    fn validate_limits(&self) -> Result<(), ConfigError> {
        let limits = &self.limits;
        for axis in 0..3 {
            let (low, high) = (limits.workspace_min_m[axis], limits.workspace_max_m[axis]);
            ensure(
                low.is_finite() && high.is_finite() && high - low >= 0.01,
                "limits.workspace_min_m / limits.workspace_max_m",
                (low, high),
                "finite corners at least 0.01 m apart on each axis",
            )?;
        }
        within("limits.speed_scale", limits.speed_scale, 0.01, 1.0)?;
        within("limits.max_tool_speed_m_s", limits.max_tool_speed_m_s, 0.001, 5.0)?;
        within("limits.max_tool_turn_rad_s", limits.max_tool_turn_rad_s, 0.001, 20.0)?;
        within("limits.max_joint_acceleration_rad_s2", limits.max_joint_acceleration_rad_s2, 0.1, 200.0)?;
        within("limits.max_joint_jerk_rad_s3", limits.max_joint_jerk_rad_s3, 1.0, 1e6)?;
        within("limits.grip_force_n", limits.grip_force_n, 0.0, 500.0)?;
        within("limits.gripper_speed_m_s", limits.gripper_speed_m_s, 0.001, 2.0)?;
        within("limits.pad_force_n", limits.pad_force_n, 0.1, 1000.0)?;
        within("limits.max_tracking_error_rad", limits.max_tracking_error_rad, 0.01, 3.0)?;
        within("limits.soft_start_ms", limits.soft_start_ms as f64, 0.0, 10_000.0)?;
        within("limits.target_filter_ms", limits.target_filter_ms as f64, 0.0, 1_000.0)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic, reason = "tests fail by panicking")]
mod tests {
    use super::*;

    #[test]
    fn an_empty_file_means_the_defaults() {
        assert_eq!(Config::parse("").unwrap(), Config::default());
    }

    #[test]
    fn the_sample_file_says_what_the_defaults_are() {
        let sample = include_str!("../reflexarc.toml");
        assert_eq!(Config::parse(sample).unwrap(), Config::default());
        // Every key must be shown, also those that are absent by default.
        for key in ["model =", "path =", "lockstep_delay_ms ="] {
            assert!(sample.contains(key), "{key} is not in the sample");
        }
        for line in Config::default().to_toml().unwrap().lines() {
            if let Some((key, _)) = line.split_once(" = ") {
                assert!(sample.contains(&format!("{key} =")), "{key} is not in the sample");
            }
        }
    }

    #[test]
    fn text_survives_the_round_trip() {
        let mut config = Config::default();
        config.record.path = Some("run.mcap".into());
        config.policy.model = Some("model.safetensors".into());
        assert_eq!(Config::parse(&config.to_toml().unwrap()).unwrap(), config);
    }

    #[test]
    fn an_unknown_key_is_named() {
        let error = Config::parse("[rates]\nmind_herz = 60\n").unwrap_err().to_string();
        assert!(error.contains("mind_herz") && error.contains("mind_hz"), "{error}");
    }

    #[test]
    fn a_wrong_value_names_key_value_and_expectation() {
        for (text, key, value, expected) in [
            ("[rates]\nreflex_hz = 250", "rates.reflex_hz", "250", "multiple of rates.mind_hz = 60"),
            ("[rates]\nmind_hz = 0", "rates.mind_hz", "0", "1 to 1000"),
            ("[limits]\nspeed_scale = nan", "limits.speed_scale", "NaN", "0.01 to 1"),
            ("[senses]\ncameras = []", "senses.cameras", "[]", "1 to 4 names"),
            ("[senses]\ncameras = [\"a\", \"a\"]", "senses.cameras", "a", "each name once"),
            ("[link]\nlisten = [\"7447\"]", "link.listen", "7447", "tcp/127.0.0.1:7447"),
            ("[chunk]\nrate_hz = 30.0\nexpiry_ms = 100", "chunk.expiry_ms", "100", "from 267 to 10000"),
            ("[policy]\ninstruction = \" \"", "policy.instruction", " ", "1 to 512 bytes"),
        ] {
            let error = Config::parse(text).unwrap_err().to_string();
            for part in [key, value, expected] {
                assert!(error.contains(part), "`{error}` lacks `{part}`");
            }
        }
    }
}
