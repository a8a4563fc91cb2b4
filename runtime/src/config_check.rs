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
    Err(ConfigError::Value {
        key: key.into(),
        value: format!("{value:?}"),
        expected: expected.into(),
        at: String::new(),
    })
}

/// A finite number in `low..=high`.
fn within(key: &'static str, value: f64, low: f64, high: f64) -> Result<(), ConfigError> {
    ensure(value >= low && value <= high, key, value, format!("a number from {low} to {high}"))
}

/// A whole number in `low..=high`.
fn whole(key: &'static str, value: u64, low: u64, high: u64) -> Result<(), ConfigError> {
    ensure((low..=high).contains(&value), key, value, format!("a whole number from {low} to {high}"))
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
        self.validate_realtime()?;
        self.validate_audit()?;
        let safety = &self.safety;
        whole("safety.enable_timeout_ms", safety.enable_timeout_ms, 20, 60_000)?;
        whole("safety.estop_timeout_ms", safety.estop_timeout_ms, 0, 60_000)?;
        whole("safety.decision_max_age_ms", safety.decision_max_age_ms, 10, 10_000)?;
        whole("safety.infeasible_confirm_ms", safety.infeasible_confirm_ms, 0, 60_000)?;
        within("safety.start_pose_rad", safety.start_pose_rad, 0.001, 100.0)?;
        self.validate_failsafe()?;
        self.drivers.validate(self)?;
        let link = &self.link;
        ensure(link.domain <= 232, "link.domain", link.domain, "a ROS domain from 0 to 232")?;
        let router = std::slice::from_ref(&link.ros_router);
        let all: [(_, &[String]); 3] =
            [("link.listen", &link.listen), ("link.connect", &link.connect), ("link.ros_router", router)];
        for (key, endpoints) in all {
            for endpoint in endpoints {
                let whole = endpoint.contains('/') && endpoint.contains(':');
                ensure(whole, key, endpoint, "an endpoint such as tcp/127.0.0.1:7447")?;
            }
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
        let model = self.policy.model.as_deref();
        ensure(
            model.is_none_or(|path| !path.as_os_str().is_empty()),
            "policy.model",
            model.unwrap_or_else(|| "".as_ref()),
            "the path of a file or folder",
        )?;
        let recording = self.record.path.as_deref();
        ensure(
            recording.is_none_or(|path| !path.as_os_str().is_empty()),
            "record.path",
            recording.unwrap_or_else(|| "".as_ref()),
            "the path of a file",
        )?;
        let black_box = self.record.black_box.as_deref();
        ensure(
            black_box.is_none_or(|path| !path.as_os_str().is_empty()),
            "record.black_box",
            black_box.unwrap_or_else(|| "".as_ref()),
            "the path of a folder",
        )?;
        whole("record.queue", self.record.queue as u64, 16, 1_000_000)?;
        whole("record.black_box_s", self.record.black_box_s, 1, 3_600)?;
        whole("record.black_box_mb", self.record.black_box_mb as u64, 8, 65_536)?;
        self.validate_cost()?;
        self.validate_metrics()
    }

    fn validate_cost(&self) -> Result<(), ConfigError> {
        let cost = &self.cost;
        for (key, value, low, high) in [
            ("cost.electricity_per_kwh", cost.electricity_per_kwh, 0.0, 1e6),
            ("cost.hardware_price", cost.hardware_price, 0.0, 1e9),
            ("cost.hardware_life_hours", cost.hardware_life_hours, 1.0, 1e6),
            ("cost.cloud_price_per_million_tokens", cost.cloud_price_per_million_tokens, 0.0, 1e9),
            ("cost.cloud_price_per_call", cost.cloud_price_per_call, 0.0, 1e6),
            ("cost.assumed_watts", cost.assumed_watts, 0.1, 10_000.0),
        ] {
            value.map_or(Ok(()), |value| within(key, value, low, high))?;
        }
        let letters = |c: char| c.is_ascii_alphabetic();
        ensure(
            cost.currency.len() <= 8 && cost.currency.chars().all(letters),
            "cost.currency",
            &cost.currency,
            "at most 8 letters, such as EUR",
        )?;
        let priced = [
            cost.electricity_per_kwh,
            cost.hardware_price,
            cost.cloud_price_per_million_tokens,
            cost.cloud_price_per_call,
        ];
        ensure(
            !cost.currency.is_empty() || priced.iter().all(Option::is_none),
            "cost.currency",
            &cost.currency,
            "the letters of your currency, such as EUR, because there are prices",
        )
    }

    fn validate_metrics(&self) -> Result<(), ConfigError> {
        let metrics = &self.metrics;
        let address = metrics.address();
        ensure(
            metrics.listen.is_empty() || address.is_some(),
            "metrics.listen",
            &metrics.listen,
            "an address with a port, such as 127.0.0.1:9464, or nothing",
        )?;
        ensure(
            metrics.allow_remote || address.is_none_or(|address| address.ip().is_loopback()),
            "metrics.listen",
            &metrics.listen,
            "an address of this machine alone, such as 127.0.0.1:9464; others need metrics.allow_remote = true",
        )
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
            (1..=MAX_DOF).contains(&posture.len()) && posture.iter().all(|q| (-100.0..=100.0).contains(q)),
            "robot.posture_rad",
            posture,
            format!("1 to {MAX_DOF} angles from -100 to 100 (rad), one per joint"),
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

    fn validate_realtime(&self) -> Result<(), ConfigError> {
        let realtime = &self.realtime;
        let priority = realtime.fifo_priority;
        ensure(priority <= 99, "realtime.fifo_priority", priority, "0 (off) to 99")?;
        let cpu = realtime.cpu.unwrap_or(0);
        ensure(cpu <= 1023, "realtime.cpu", cpu, "the number of a CPU, 0 to 1023")?;
        let slack_ns = realtime.timer_slack_ns;
        ensure(slack_ns <= 1_000_000, "realtime.timer_slack_ns", slack_ns, "0 (unchanged) to 1000000 ns")?;
        if let Some(us) = realtime.cpu_dma_latency_us {
            ensure(us <= 1_000_000, "realtime.cpu_dma_latency_us", us, "0 to 1000000 µs")?;
        }
        whole("realtime.stall_ms", realtime.stall_ms, 50, 60_000)
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
        let shortest_ms = (8e3 / chunk.rate_hz).ceil() as u64;
        whole("chunk.expiry_ms", chunk.expiry_ms, shortest_ms, 10_000)?;
        whole("chunk.blend_ms", chunk.blend_ms, 10, 5_000)?;
        whole("chunk.blend_max_ms", chunk.blend_max_ms, chunk.blend_ms, 10_000)?;
        within("chunk.grip_force_n", chunk.grip_force_n, 0.0, 500.0)
    }

    fn validate_failsafe(&self) -> Result<(), ConfigError> {
        let failsafe = &self.failsafe;
        for (key, ms) in [
            ("failsafe.sense_stop_ms", failsafe.sense_stop_ms),
            ("failsafe.sense_clear_ms", failsafe.sense_clear_ms),
            ("failsafe.optional_slow_ms", failsafe.optional_slow_ms),
            ("failsafe.clear_ms", failsafe.clear_ms),
            ("failsafe.policy_stop_ms", failsafe.policy_stop_ms),
            ("failsafe.blocked_stop_ms", failsafe.blocked_stop_ms),
            ("failsafe.pad_stop_ms", failsafe.pad_stop_ms),
            ("failsafe.pad_clear_ms", failsafe.pad_clear_ms),
            ("failsafe.torque_off_after_ms", failsafe.torque_off_after_ms),
        ] {
            whole(key, ms, 0, 3_600_000)?;
        }
        within("failsafe.slow_share", failsafe.slow_share, 0.05, 1.0)?;
        whole("failsafe.mind_stall_ms", failsafe.mind_stall_ms, 100, 3_600_000)?;
        whole("failsafe.overrun_ms", failsafe.overrun_ms, 5, 60_000)?;
        whole("failsafe.override_timeout_ms", failsafe.override_timeout_ms, 20, 60_000)?;
        let touch = &self.touch;
        within("touch.grip_floor_n", touch.grip_floor_n, 0.1, 100.0)?;
        within("touch.slip_shear_share", touch.slip_shear_share, 0.01, 10.0)?;
        within("touch.slip_drop_share", touch.slip_drop_share, 0.01, 1.0)?;
        within("touch.grip_step_n", touch.grip_step_n, 0.0, 100.0)?;
        within("touch.grip_relax_n_s", touch.grip_relax_n_s, 0.0, 1000.0)?;
        within("touch.retract_m", touch.retract_m, 0.0, 0.2)
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
        for (key, optional, all) in [
            ("senses.optional_cameras", &senses.optional_cameras, &senses.cameras),
            ("senses.optional_tactile", &senses.optional_tactile, &senses.tactile),
        ] {
            ensure(
                optional.iter().all(|name| all.contains(name)),
                key,
                optional,
                format!("some of {all:?}"),
            )?;
        }
        let required = senses.cameras.iter().any(|name| !senses.optional_cameras.contains(name));
        ensure(
            required,
            "senses.optional_cameras",
            &senses.optional_cameras,
            "at least one camera that is not optional",
        )?;
        whole("senses.camera_skew_ms", senses.camera_skew_ms, 1, 10_000)?;
        whole("senses.clock_jump_ms", senses.clock_jump_ms, 1, 60_000)?;
        whole("senses.clock_resync_ms", senses.clock_resync_ms, 10, 60_000)?;
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
        let (eye_m, middle_m) = (audit.camera_position_m, audit.camera_looks_at_m);
        for (key, point_m) in [("audit.camera_position_m", eye_m), ("audit.camera_looks_at_m", middle_m)] {
            let near = point_m.iter().all(|m| (-100.0..=100.0).contains(m));
            ensure(near, key, point_m, "three numbers from -100 to 100 (m)")?;
        }
        ensure(
            (middle_m[0] - eye_m[0]).hypot(middle_m[1] - eye_m[1]) >= 0.01,
            "audit.camera_looks_at_m",
            middle_m,
            "a point not straight below or above `audit.camera_position_m`, but at least 0.01 m beside it",
        )
    }

    fn validate_limits(&self) -> Result<(), ConfigError> {
        let limits = &self.limits;
        let (low, high) = (limits.workspace_min_m, limits.workspace_max_m);
        for (key, corner) in [("limits.workspace_min_m", low), ("limits.workspace_max_m", high)] {
            let near = corner.iter().all(|m| (-100.0..=100.0).contains(m));
            ensure(near, key, corner, "three numbers from -100 to 100 (m)")?;
        }
        ensure(
            low.iter().zip(high).all(|(low, high)| high - low >= 0.01),
            "limits.workspace_max_m",
            high,
            format!("at least 0.01 m more than limits.workspace_min_m = {low:?} on each axis"),
        )?;
        within("limits.speed_scale", limits.speed_scale, 0.01, 1.0)?;
        within("limits.max_tool_speed_m_s", limits.max_tool_speed_m_s, 0.001, 5.0)?;
        within("limits.max_tool_turn_rad_s", limits.max_tool_turn_rad_s, 0.001, 20.0)?;
        within("limits.max_joint_acceleration_rad_s2", limits.max_joint_acceleration_rad_s2, 0.1, 200.0)?;
        within("limits.max_joint_jerk_rad_s3", limits.max_joint_jerk_rad_s3, 1.0, 1e6)?;
        within("limits.grip_force_n", limits.grip_force_n, 0.0, 500.0)?;
        within("limits.gripper_speed_m_s", limits.gripper_speed_m_s, 0.001, 2.0)?;
        within("limits.pad_force_n", limits.pad_force_n, 0.1, 1000.0)?;
        within("limits.max_tracking_error_rad", limits.max_tracking_error_rad, 0.01, 3.0)?;
        whole("limits.soft_start_ms", limits.soft_start_ms, 0, 10_000)?;
        whole("limits.target_filter_ms", limits.target_filter_ms, 0, 1_000)
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
        for section in Config::keys(&[]) {
            for key in Config::keys(std::slice::from_ref(&section)) {
                assert!(sample.contains(&format!("{key} =")), "{section}.{key} is not in the sample");
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
            ("[realtime]\nfifo_priority = 100", "realtime.fifo_priority", "100", "0 (off) to 99"),
            ("[realtime]\nstall_ms = 1", "realtime.stall_ms", "1", "50 to 60000"),
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
