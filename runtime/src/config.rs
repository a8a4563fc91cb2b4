//! Configuration: one TOML file, every key optional, every unknown key an error.
//!
//! `Config::default()` is what an empty file means. The commented sample
//! `runtime/reflexarc.toml` is tested to say exactly the same.

use std::borrow::Cow;
use std::path::{Path, PathBuf};

use reflexarc_drivers::ZenohConfig;
use reflexarc_drivers::link::{Ros, Secure};
pub use reflexarc_vla_model::compute::Precision;
pub use reflexarc_vla_model::device::DeviceChoice;
use serde::{Deserialize, Serialize};

use crate::config_fault::{explain, keys_of, line_of};
use crate::devices::DriversConfig;
pub use crate::units::UnitsChoice;

/// Most joints a configuration may list (the kinematics crate's bound).
pub const MAX_DOF: usize = reflexarc_kinematics::MAX_DOF;
/// Most cameras one robot may have.
pub const MAX_CAMERAS: usize = 4;
/// Most tactile pads one robot may have.
pub const MAX_PADS: usize = 4;

/// Why a configuration was refused.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file could not be read.
    #[error("cannot read the configuration {path}: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The text is not TOML.
    #[error("the configuration{origin} does not parse: {message}")]
    Parse {
        /// ` FILE` or empty.
        origin: String,
        /// The parser's words, with the line.
        message: String,
    },
    /// A key is unknown, or its value has the wrong type or no sensible meaning.
    #[error("configuration key `{key}` = {value}{at}: expected {expected}")]
    Value {
        /// Dotted key.
        key: Cow<'static, str>,
        /// The value found.
        value: String,
        /// What would have been accepted.
        expected: String,
        /// ` (FILE, line N)`, as far as that is known; or empty.
        at: String,
    },
}

/// Everything the runtime can be told.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Which robot.
    pub robot: RobotConfig,
    /// How often the two loops run.
    pub rates: RateConfig,
    /// What is asked of the system for the reflex.
    pub realtime: RealtimeConfig,
    /// How action chunks are executed.
    pub chunk: ChunkConfig,
    /// What is sensed, and how old it may be.
    pub senses: SenseConfig,
    /// What no command may exceed.
    pub limits: LimitConfig,
    /// What the audit compares a decision with.
    pub audit: AuditConfig,
    /// When the robot may move at all.
    pub safety: SafetyConfig,
    /// What is done when something is wrong.
    pub failsafe: FailsafeConfig,
    /// What touch does by itself.
    pub touch: TouchConfig,
    /// Where messages go.
    pub link: LinkConfig,
    /// Which model, told to do what.
    pub policy: PolicyConfig,
    /// What is recorded.
    pub record: RecordConfig,
    /// What things cost, at the user's prices.
    pub cost: CostConfig,
    /// The metrics page.
    pub metrics: MetricsConfig,
    /// The robot's hardware, driven by processes that `reflexarc run` starts.
    #[serde(skip_serializing_if = "DriversConfig::is_empty")]
    pub drivers: DriversConfig,
}

/// Which robot the runtime drives.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RobotConfig {
    /// `arm7` for the built-in description, otherwise the path of a URDF file.
    pub urdf: String,
    /// Name of the link that all poses refer to.
    pub base: String,
    /// Name of the link that is steered; its z axis is the approach direction.
    pub tip: String,
    /// Posture preferred where the task leaves freedom, one angle per joint, rad.
    pub posture_rad: Vec<f64>,
    /// Name of the gripper's entry in `joint_states` and `joint_command`.
    pub gripper_joint: String,
    /// Widest opening of the gripper, m.
    pub gripper_max_width_m: f64,
}

/// How often the two loops run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RateConfig {
    /// Decisions per second.
    pub mind_hz: u32,
    /// Commands per second, a whole multiple of `mind_hz`.
    pub reflex_hz: u32,
    /// Simulated time from an observation to what the policy says about it, ms; in lockstep only.
    /// Absent: one period of the mind.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lockstep_delay_ms: Option<u64>,
}

/// What is asked of the system for the reflex, so that it wakes on time. Each is read back and reported as
/// granted or refused, see [`crate::rt`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RealtimeConfig {
    /// SCHED_FIFO priority of the reflex's thread, 1 to 99; 0: an ordinary thread.
    pub fifo_priority: u8,
    /// The CPU (by its number) that the reflex's thread stays on; absent: any.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu: Option<usize>,
    /// Lock all memory of the process, so that no tick waits for a page.
    pub lock_memory: bool,
    /// How much later than asked the kernel may wake the reflex in order to save power, ns; 0 leaves it as it
    /// is (50 µs on most systems). Without effect under FIFO, where it is 0.
    pub timer_slack_ns: u64,
    /// How long CPUs may take to leave their idle state, µs; absent: as long as they like. 0 keeps them
    /// awake, and warm.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu_dma_latency_us: Option<u32>,
    /// Whatever of the above is refused ends the program before it moves anything.
    pub require_realtime: bool,
    /// A reflex that does not tick for this long is stalled, ms: counted, reported, and the service's watchdog
    /// is not fed.
    pub stall_ms: u64,
}

/// How the chunks of policies that speak in joint targets are executed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ChunkConfig {
    /// Actions per second of the data that the policy was trained on; checkpoints do not say.
    pub rate_hz: f64,
    /// Actions of a chunk to execute before the next one is asked for; 0: ask as often as `mind_hz` and
    /// the policy's own pace allow. More saves computing, and reacts later.
    pub execution_horizon: usize,
    /// Oldest observation that an action may be about while it is executed, ms.
    pub expiry_ms: u64,
    /// Time in which the distance to a new chunk fades at the least, ms. Also how long braking before the
    /// last action takes. More is smoother and follows the new chunk later.
    pub blend_ms: u64,
    /// The same at the most, for wide seams, ms; what is wider still is left to the limits.
    pub blend_max_ms: u64,
    /// Force limit of the gripper while a chunk is followed, N; actions only say its opening. Never more than
    /// `limits.grip_force_n`.
    pub grip_force_n: f64,
}

/// What is sensed, and how old it may be before the robot holds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SenseConfig {
    /// Camera names, in the order in which the policy gets them.
    pub cameras: Vec<String>,
    /// Width of every camera image, pixels.
    pub camera_width_px: u32,
    /// Height of every camera image, pixels.
    pub camera_height_px: u32,
    /// Cameras that may go; the policy gets black images then. Not all of them.
    pub optional_cameras: Vec<String>,
    /// Oldest usable image, ms since its stamp and since its arrival.
    pub camera_max_age_ms: u64,
    /// Tactile pad names, in the order in which the policy gets them.
    pub tactile: Vec<String>,
    /// Rows, columns and channels of a pad; the last channel is the normal force.
    pub tactile_shape: [u32; 3],
    /// Pads that may go; the policy gets untouched ones then.
    pub optional_tactile: Vec<String>,
    /// Oldest usable tactile frame, ms since its stamp and since its arrival.
    pub tactile_max_age_ms: u64,
    /// Oldest usable joint state, ms since its stamp and since its arrival.
    pub joints_max_age_ms: u64,
    /// Furthest that the newest frames of two cameras may be apart in time, ms.
    pub camera_skew_ms: u64,
    /// A stamp further in the future than this is refused, ms.
    pub future_tolerance_ms: u64,
    /// A source's clock that alters by more than this has jumped, ms.
    pub clock_jump_ms: u64,
    /// A source whose clock jumped back is believed again after this long, ms.
    pub clock_resync_ms: u64,
    /// A frame is black when no byte reaches this value.
    pub black_below: u8,
}

/// What no command may exceed, whatever the policy says.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LimitConfig {
    /// Lower corner of the box that the tool may be in, base frame, m.
    pub workspace_min_m: [f64; 3],
    /// Upper corner of that box, base frame, m.
    pub workspace_max_m: [f64; 3],
    /// Share of each joint's own velocity limit that is used, 0..1.
    pub speed_scale: f64,
    /// Fastest the tool travels, m/s.
    pub max_tool_speed_m_s: f64,
    /// Fastest the tool turns, rad/s.
    pub max_tool_turn_rad_s: f64,
    /// Largest acceleration of any joint, rad/s².
    pub max_joint_acceleration_rad_s2: f64,
    /// Largest jerk of any joint, rad/s³. Less is gentler and slower by about acceleration / jerk.
    pub max_joint_jerk_rad_s3: f64,
    /// Strongest grip that may be commanded, N.
    pub grip_force_n: f64,
    /// Fastest change of the gripper's opening, m/s.
    pub gripper_speed_m_s: f64,
    /// A pad that feels more normal force than this stops the gripper closing, N.
    pub pad_force_n: f64,
    /// Command and measurement may differ by this much per joint before the arm holds, rad.
    pub max_tracking_error_rad: f64,
    /// Time from standstill to full speed when motion begins, ms.
    pub soft_start_ms: u64,
    /// Time constant that smooths the decisions' targets, ms; 0 switches it off.
    pub target_filter_ms: u64,
}

/// What the audit compares a decision with; lengths in the base frame. The defaults describe the reference
/// rig: the built-in arm at its table, with the scene camera in front of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AuditConfig {
    /// Height of the table, m.
    pub table_z_m: f64,
    /// How far the fingers reach beyond the tool's origin along its z axis, m.
    pub tool_reach_m: f64,
    /// Above the table by this much the tool is clear of what stands there, m.
    pub clear_height_m: f64,
    /// How far a way may lead sideways below that height, m.
    pub sideways_max_m: f64,
    /// The tool is at a subtask's place when it is no further off than this, m.
    pub near_m: f64,
    /// How far from its pixel the target may be seen, as a part of the image's side; 0: not compared, for a
    /// camera whose place is not known.
    pub view_tolerance: f64,
    /// Where the scene camera is, m.
    pub camera_position_m: [f64; 3],
    /// A point in the middle of its image, m; not straight above or below the camera. Up is up in the image.
    pub camera_looks_at_m: [f64; 3],
    /// Its opening angle from the top edge to the bottom edge, rad.
    pub camera_fov_rad: f64,
}

/// When the robot may move at all.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SafetyConfig {
    /// Motion needs `enable` = true, repeated; silence ends it.
    pub require_enable: bool,
    /// How long one `enable` lasts, ms (with `require_enable`).
    pub enable_timeout_ms: u64,
    /// Silence on `estop` for this long latches a stop, ms; 0 = the topic may be silent.
    pub estop_timeout_ms: u64,
    /// A decision about an observation older than this is not followed, ms.
    pub decision_max_age_ms: u64,
    /// The policy must say "infeasible" for this long before it is reported, ms.
    pub infeasible_confirm_ms: u64,
    /// No motion before the topic `calibrated` has said true.
    pub require_calibrated: bool,
    /// A chunk whose first action is further than this from the measured joints is not begun, rad.
    pub start_pose_rad: f64,
}

/// What is done when something is wrong: times of the table in [`crate::failsafe`]. 0 means never where it says so.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct FailsafeConfig {
    /// A required sense that is lost or black, a clock that is not settled, or overruns in a row become a stop
    /// after this long, ms; 0: never.
    pub sense_stop_ms: u64,
    /// A required sense must be back for this long before motion goes on, ms.
    pub sense_clear_ms: u64,
    /// An optional sense that is lost slows the arm after this long, ms.
    pub optional_slow_ms: u64,
    /// Share of the speed that is left then, 0..1.
    pub slow_share: f64,
    /// What happens in a moment (a clock's jump, a gap in the loop, a slip, an optional sense) must be over for this
    /// long, ms.
    pub clear_ms: u64,
    /// A policy that fails or is refused for this long becomes a stop, ms; 0: never.
    pub policy_stop_ms: u64,
    /// Good senses and no decision for this long become a stop, ms.
    pub mind_stall_ms: u64,
    /// A blocked joint becomes a stop after this long, ms; 0: never.
    pub blocked_stop_ms: u64,
    /// A pad beyond its limit becomes a stop after this long, ms; 0: never.
    pub pad_stop_ms: u64,
    /// A pad must be below its limit for this long before motion goes on, ms.
    pub pad_clear_ms: u64,
    /// A gap between two ticks longer than this is an overrun, ms.
    pub overrun_ms: u64,
    /// A stop that has been latched for this long, with the arm at rest, asks the drives to let go, ms; 0: never.
    pub torque_off_after_ms: u64,
    /// How long one `override` = true lasts, ms.
    pub override_timeout_ms: u64,
}

/// What touch does by itself, in the tick that feels it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TouchConfig {
    /// Whether a slip tightens the grip.
    pub slip_reflex: bool,
    /// A pad holds something when it feels more than this, N.
    pub grip_floor_n: f64,
    /// Shear that alters by more than this share of the normal force from one frame to the next is a slip.
    pub slip_shear_share: f64,
    /// So is a normal force that falls by more than this share while the gripper does not open.
    pub slip_drop_share: f64,
    /// What a slip adds to the grip, N; at most up to `limits.grip_force_n`.
    pub grip_step_n: f64,
    /// How quickly that is given back, N/s.
    pub grip_relax_n_s: f64,
    /// How far the arm backs off from what presses on a pad, m.
    pub retract_m: f64,
}

/// Where messages go. Nothing leaves the machine unless told to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LinkConfig {
    /// Endpoints to listen on, such as `tcp/127.0.0.1:7447`.
    pub listen: Vec<String>,
    /// Endpoints to connect to.
    pub connect: Vec<String>,
    /// Allows endpoints beyond this machine. Without `secure`, whoever reaches such an endpoint can command the
    /// robot.
    pub allow_remote: bool,
    /// Who is let in, and who may command; see docs/secure.md.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub secure: Option<Secure>,
    /// `off`; `join` the router of ROS 2, `rmw_zenohd`; or `host`: be it.
    pub ros: Ros,
    /// Where that router is.
    pub ros_router: String,
    /// ROS domain, 0..=232.
    pub domain: u32,
    /// Namespace of the robot's topics; empty for none.
    pub namespace: String,
}

/// Which model, told to do what.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PolicyConfig {
    /// A weights file of the goal model, or the folder of a LeRobot checkpoint; absent: the command line
    /// must name one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<PathBuf>,
    /// What the robot is told at the start; later messages on `instruction` replace it.
    pub instruction: String,
    /// `auto`, `cpu` or `gpu`.
    pub device: DeviceChoice,
    /// Numbers in which a checkpoint's large layers compute: `f32`, `bf16`, `int8` or `int4`. The goal
    /// model's file says its own.
    pub precision: Precision,
    /// Units that a checkpoint was trained in: `auto`, `radians`, `degrees` or `percent`. The goal model has none.
    pub units: UnitsChoice,
}

/// What is recorded.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RecordConfig {
    /// The MCAP file; absent: nothing is recorded.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<PathBuf>,
    /// Messages waiting for the disk at most; what comes beyond is dropped and counted.
    pub queue: usize,
    /// The folder in which the last seconds are written at the first failure, as `black-box-STAMP.mcap`;
    /// absent: they are not kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub black_box: Option<PathBuf>,
    /// How much is kept for that, s.
    pub black_box_s: u64,
    /// Memory for it at most, MB; less time is kept where it does not suffice.
    pub black_box_mb: usize,
}

/// The user's prices. None has a default: what has no price is not computed, and the report says so.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct CostConfig {
    /// Letters of the currency that all prices are in, such as `EUR`; needed as soon as there is a price.
    pub currency: String,
    /// Price of a kilowatt-hour.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub electricity_per_kwh: Option<f64>,
    /// Price of the hardware that the runtime runs on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hardware_price: Option<f64>,
    /// Hours that the hardware will run in its life; its price is spread evenly over them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hardware_life_hours: Option<f64>,
    /// Price of a million generated tokens in the cloud to compare with.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cloud_price_per_million_tokens: Option<f64>,
    /// Price of one call in that cloud; added to the price of the tokens where both are set.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cloud_price_per_call: Option<f64>,
    /// Power to assume where the board tells none, W. What follows from it is called assumed everywhere.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub assumed_watts: Option<f64>,
}

/// The metrics page for Prometheus.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct MetricsConfig {
    /// Address to serve it on, such as `127.0.0.1:9464`; empty: not served.
    pub listen: String,
    /// Allows an address beyond this machine. There is no authentication: whoever reaches it reads all.
    pub allow_remote: bool,
}

impl MetricsConfig {
    /// The address to serve the page on; `None` where it is not served.
    #[must_use]
    pub fn address(&self) -> Option<std::net::SocketAddr> {
        self.listen.parse().ok()
    }
}

impl Default for RobotConfig {
    fn default() -> Self {
        Self {
            urdf: "arm7".into(),
            base: "base".into(),
            tip: "tool".into(),
            posture_rad: reflexarc_kinematics::ARM7_HOME_RAD.to_vec(),
            gripper_joint: "gripper".into(),
            gripper_max_width_m: 0.08,
        }
    }
}

impl Default for RateConfig {
    fn default() -> Self {
        Self { mind_hz: 60, reflex_hz: 240, lockstep_delay_ms: None }
    }
}

impl Default for RealtimeConfig {
    fn default() -> Self {
        Self {
            fifo_priority: 0,
            cpu: None,
            lock_memory: false,
            timer_slack_ns: 1,
            cpu_dma_latency_us: None,
            require_realtime: false,
            stall_ms: 500,
        }
    }
}

impl Default for ChunkConfig {
    fn default() -> Self {
        Self {
            rate_hz: 30.0,
            execution_horizon: 0,
            expiry_ms: 2000,
            blend_ms: 200,
            blend_max_ms: 1000,
            grip_force_n: 20.0,
        }
    }
}

impl Default for SenseConfig {
    fn default() -> Self {
        Self {
            cameras: vec!["scene".into(), "wrist".into()],
            camera_width_px: 96,
            camera_height_px: 96,
            camera_max_age_ms: 100,
            tactile: vec!["left".into(), "right".into()],
            tactile_shape: [4, 4, 3],
            optional_cameras: Vec::new(),
            optional_tactile: Vec::new(),
            tactile_max_age_ms: 50,
            joints_max_age_ms: 20,
            camera_skew_ms: 100,
            future_tolerance_ms: 10,
            clock_jump_ms: 50,
            clock_resync_ms: 500,
            black_below: 8,
        }
    }
}

impl Default for LimitConfig {
    fn default() -> Self {
        Self {
            workspace_min_m: [0.25, -0.35, 0.0],
            workspace_max_m: [0.75, 0.35, 0.6],
            speed_scale: 1.0,
            max_tool_speed_m_s: 0.5,
            max_tool_turn_rad_s: 2.0,
            max_joint_acceleration_rad_s2: 10.0,
            max_joint_jerk_rad_s3: 2000.0,
            grip_force_n: 40.0,
            gripper_speed_m_s: 0.2,
            pad_force_n: 60.0,
            max_tracking_error_rad: 0.35,
            soft_start_ms: 300,
            target_filter_ms: 30,
        }
    }
}

impl Default for AuditConfig {
    fn default() -> Self {
        Self {
            table_z_m: 0.0,
            tool_reach_m: 0.02,
            clear_height_m: 0.10,
            sideways_max_m: 0.05,
            near_m: 0.15,
            view_tolerance: 0.25,
            camera_position_m: [1.06, 0.0, 0.62],
            camera_looks_at_m: [0.50, 0.0, 0.03],
            camera_fov_rad: 0.628,
        }
    }
}

impl Default for SafetyConfig {
    fn default() -> Self {
        Self {
            require_enable: false,
            enable_timeout_ms: 500,
            estop_timeout_ms: 0,
            decision_max_age_ms: 250,
            infeasible_confirm_ms: 300,
            require_calibrated: false,
            start_pose_rad: 0.8,
        }
    }
}

impl Default for FailsafeConfig {
    fn default() -> Self {
        Self {
            sense_stop_ms: 2000,
            sense_clear_ms: 50,
            optional_slow_ms: 500,
            slow_share: 0.3,
            clear_ms: 200,
            policy_stop_ms: 5000,
            mind_stall_ms: 10_000,
            blocked_stop_ms: 5000,
            pad_stop_ms: 1000,
            pad_clear_ms: 100,
            overrun_ms: 100,
            torque_off_after_ms: 0,
            override_timeout_ms: 500,
        }
    }
}

impl Default for TouchConfig {
    fn default() -> Self {
        Self {
            slip_reflex: true,
            grip_floor_n: 2.0,
            slip_shear_share: 0.5,
            slip_drop_share: 0.5,
            grip_step_n: 8.0,
            grip_relax_n_s: 4.0,
            retract_m: 0.02,
        }
    }
}

impl Default for LinkConfig {
    fn default() -> Self {
        let ZenohConfig { ros, ros_router, domain, .. } = ZenohConfig::default();
        Self {
            listen: Vec::new(),
            connect: Vec::new(),
            allow_remote: false,
            secure: None,
            ros,
            ros_router,
            domain,
            namespace: String::new(),
        }
    }
}

impl Default for PolicyConfig {
    fn default() -> Self {
        Self {
            model: None,
            instruction: "pick up the red mug".into(),
            device: DeviceChoice::Auto,
            precision: Precision::F32,
            units: UnitsChoice::Auto,
        }
    }
}

impl Default for RecordConfig {
    fn default() -> Self {
        Self { path: None, queue: 4096, black_box: None, black_box_s: 30, black_box_mb: 64 }
    }
}

impl Config {
    /// Reads and validates a file.
    ///
    /// # Errors
    /// [`ConfigError`], naming the file or the key.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        let text = std::fs::read_to_string(path)
            .map_err(|source| ConfigError::Read { path: path.into(), source })?;
        Self::parse(&text).map_err(|error| match error {
            ConfigError::Parse { message, .. } => {
                ConfigError::Parse { origin: format!(" {}", path.display()), message }
            }
            ConfigError::Value { key, value, expected, at } => {
                let line = at.trim_start_matches(" (").trim_end_matches(')');
                let comma = if line.is_empty() { "" } else { ", " };
                let at = format!(" ({}{comma}{line})", path.display());
                ConfigError::Value { key, value, expected, at }
            }
            other @ ConfigError::Read { .. } => other,
        })
    }

    /// Parses and validates a TOML text; the empty text gives the defaults.
    ///
    /// # Errors
    /// [`ConfigError::Parse`] or [`ConfigError::Value`].
    pub fn parse(text: &str) -> Result<Self, ConfigError> {
        let config: Self = toml::from_str(text).map_err(|error| explain(text, &error))?;
        config.validate().map_err(|error| match error {
            ConfigError::Value { key, value, expected, .. } => {
                let path: Vec<String> = key.split('.').map(str::to_owned).collect();
                let line = line_of(text, &path);
                let at = line.map_or_else(String::new, |line| format!(" (line {line})"));
                ConfigError::Value { key, value, expected, at }
            }
            other => other,
        })?;
        Ok(config)
    }

    /// All keys that may stand in the section `path`, and of the empty path all sections; nothing where there
    /// is no section.
    #[must_use]
    pub fn keys(path: &[String]) -> Vec<String> {
        keys_of(path)
    }

    /// The TOML text that parses to this configuration.
    ///
    /// # Errors
    /// [`ConfigError::Parse`] if a path is not Unicode.
    pub fn to_toml(&self) -> Result<String, ConfigError> {
        toml::to_string(self)
            .map_err(|error| ConfigError::Parse { origin: String::new(), message: error.to_string() })
    }

    /// Mind periods in reflex ticks (4 by default). At least 1 once validated.
    #[must_use]
    pub fn ticks_per_decision(&self) -> u64 {
        u64::from(self.rates.reflex_hz / self.rates.mind_hz.max(1)).max(1)
    }

    /// Ticks from an observation to what the policy says about it, in lockstep.
    #[must_use]
    pub fn lockstep_delay_ticks(&self) -> u64 {
        let ticks = |ms: u64| (ms * u64::from(self.rates.reflex_hz)).div_ceil(1000);
        self.rates.lockstep_delay_ms.map_or_else(|| self.ticks_per_decision(), ticks)
    }

    /// Length of one reflex tick, s.
    #[must_use]
    pub fn dt_s(&self) -> f64 {
        1.0 / f64::from(self.rates.reflex_hz.max(1))
    }
}
