//! Topics: a name, a message type, and how it is to be carried.
//!
//! Keys have the form of `rmw_zenoh`, so that ROS 2 reads them; [`crate::link`] shows them to its graph.

use std::marker::PhantomData;

use crate::msg::{
    BoolMsg, CompressedImage, DiagnosticArray, Float32MultiArray, Goal, Image, JointState, JointTrajectory,
    Message, StringMsg,
};

/// Who goes first when payloads wait for the wire, the most urgent first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Priority {
    /// Commands and stops.
    RealTime,
    /// What closes the loop.
    InteractiveHigh,
    /// What follows from the loop.
    InteractiveLow,
    /// Small sensor data.
    DataHigh,
    /// Large sensor data.
    #[default]
    Data,
    /// Reports.
    DataLow,
}

/// How a topic is carried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Qos {
    /// What ROS 2 is told: reliable or best effort.
    pub reliable: bool,
    /// A late subscriber gets the last value (ROS 2's *transient local*).
    pub latched: bool,
    /// What ROS 2 is told about the history's depth.
    pub depth: u32,
    /// Urgency.
    pub priority: Priority,
    /// Under congestion a put waits (shortly) instead of dropping the payload.
    pub block: bool,
    /// Sent at once, without waiting for others to share a packet.
    pub express: bool,
}

impl Default for Qos {
    /// Reliable, depth 10, dropped under congestion, of ordinary urgency.
    fn default() -> Self {
        Self {
            reliable: true,
            latched: false,
            depth: 10,
            priority: Priority::Data,
            block: false,
            express: false,
        }
    }
}

impl Qos {
    /// Cameras: only the newest frame counts.
    pub const CAMERA: Self = Self {
        reliable: false,
        latched: false,
        depth: 1,
        priority: Priority::Data,
        block: false,
        express: false,
    };
    /// Tactile pads: small and frequent, only the newest counts.
    pub const TACTILE: Self = Self { priority: Priority::DataHigh, express: true, ..Self::CAMERA };
    /// Joint states.
    pub const JOINT_STATES: Self = Self {
        reliable: true,
        latched: false,
        depth: 10,
        priority: Priority::InteractiveHigh,
        block: false,
        express: true,
    };
    /// Commands: dropped rather than waited for, because a late command is worse than none.
    pub const COMMAND: Self = Self { depth: 1, priority: Priority::RealTime, ..Self::JOINT_STATES };
    /// Goals and action chunks.
    pub const DECISION: Self =
        Self { depth: 1, priority: Priority::InteractiveLow, express: false, ..Self::JOINT_STATES };
    /// Stop and enable: never dropped by the sender.
    pub const SAFETY: Self = Self { block: true, ..Self::COMMAND };
    /// A state that late subscribers get too, never dropped by the sender.
    pub const STATE: Self = Self { latched: true, ..Self::SAFETY };
    /// Instructions: an event that late subscribers get too.
    pub const INSTRUCTION: Self =
        Self { latched: true, block: true, priority: Priority::InteractiveHigh, ..Self::COMMAND };
    /// Reports.
    pub const DIAGNOSTICS: Self = Self {
        reliable: true,
        latched: false,
        depth: 10,
        priority: Priority::DataLow,
        block: false,
        express: false,
    };

    /// The form in liveliness keys, a field being empty where it has ROS 2's default.
    #[must_use]
    pub fn ros(&self) -> String {
        let reliability = if self.reliable { "" } else { "2" };
        let durability = if self.latched { "1" } else { "" };
        // rmw_zenoh's own default depth is 42; it leaves the field empty then.
        let depth = if self.depth == 42 { String::new() } else { self.depth.to_string() };
        format!("{reliability}:{durability}:,{depth}:,:,:,,")
    }
}

/// A topic that carries messages of the type `M`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Topic<M> {
    name: String,
    qos: Qos,
    message: PhantomData<fn() -> M>,
}

impl<M: Message> Topic<M> {
    /// The topic `name` (words joined by `/`; outer slashes are taken off), carried by [`Qos::default`].
    /// Links refuse a name that is empty or has other characters than letters, digits, `_` and `/`.
    #[must_use]
    pub fn new(name: &str) -> Self {
        Self { name: name.trim_matches('/').to_owned(), qos: Qos::default(), message: PhantomData }
    }

    /// The same topic, carried by `qos`.
    #[must_use]
    pub fn with_qos(self, qos: Qos) -> Self {
        Self { qos, ..self }
    }

    /// The name, without outer slashes.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// How it is carried.
    #[must_use]
    pub fn qos(&self) -> Qos {
        self.qos
    }

    /// The key of its payloads in the ROS domain `domain`: `domain/name/type/hash`.
    #[must_use]
    pub fn key_expr(&self, domain: u32) -> String {
        format!("{domain}/{}/{}/{}", self.name, dds_type(M::TYPE_NAME), M::TYPE_HASH)
    }

    /// Why the name cannot be a topic's, if it cannot.
    pub(crate) fn fault(&self) -> Option<&'static str> {
        let word_ok = |word: &str| {
            !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
        };
        if self.name.is_empty() {
            Some("expected a name, found none")
        } else if !self.name.split('/').all(word_ok) {
            Some("expected words of letters, digits and _ joined by single slashes")
        } else {
            None
        }
    }
}

/// `package/msg/Name` as DDS has it: `package::msg::dds_::Name_`.
pub(crate) fn dds_type(type_name: &str) -> String {
    match type_name.rsplit_once('/') {
        Some((path, name)) => format!("{}::dds_::{name}_", path.replace('/', "::")),
        None => format!("dds_::{type_name}_"),
    }
}

/// Who may publish on a topic where a link has credentials.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Writers {
    /// People who command the robot.
    Operators,
    /// The robot's own nodes.
    Robots,
    /// Either.
    Both,
}

/// All topics of one robot.
#[derive(Clone, Debug)]
pub struct Topics {
    namespace: String,
    /// Where the joints are, 50 to 500 Hz.
    pub joint_states: Topic<JointState>,
    /// What the operator wants, an event; late subscribers get the last one.
    pub instruction: Topic<StringMsg>,
    /// The decomposition, the current subtask and the target, one for each decision.
    pub goal: Topic<Goal>,
    /// What the joints shall do now: one point, at the loop's rate.
    pub joint_command: Topic<JointTrajectory>,
    /// A chunk of commands to come, 1 to 10 Hz.
    pub action_chunk: Topic<JointTrajectory>,
    /// True: stop. Repeated at 10 Hz or more.
    pub estop: Topic<BoolMsg>,
    /// True: the robot may move. Repeated at 10 Hz or more.
    pub enable: Topic<BoolMsg>,
    /// True: unlatch a stop whose cause is gone. An event.
    pub reset: Topic<BoolMsg>,
    /// True: an operator overrides what may be overridden. Repeated at 10 Hz or more.
    pub operator_override: Topic<BoolMsg>,
    /// True: the joints are calibrated. Late subscribers get the last one.
    pub calibrated: Topic<BoolMsg>,
    /// True: the drives shall let go. Late subscribers get the last one.
    pub torque_off: Topic<BoolMsg>,
    /// Reports, 1 Hz.
    pub diagnostics: Topic<DiagnosticArray>,
}

impl Topics {
    /// The topics of the robot `namespace`, each prefixed with it; the empty namespace has no prefix.
    #[must_use]
    pub fn new(namespace: &str) -> Self {
        let namespace = namespace.trim_matches('/').to_owned();
        let name = |topic: &str| join(&namespace, topic);
        Self {
            joint_states: Topic::new(&name("joint_states")).with_qos(Qos::JOINT_STATES),
            instruction: Topic::new(&name("instruction")).with_qos(Qos::INSTRUCTION),
            goal: Topic::new(&name("goal")).with_qos(Qos::DECISION),
            joint_command: Topic::new(&name("joint_command")).with_qos(Qos::COMMAND),
            action_chunk: Topic::new(&name("action_chunk")).with_qos(Qos::DECISION),
            estop: Topic::new(&name("estop")).with_qos(Qos::SAFETY),
            enable: Topic::new(&name("enable")).with_qos(Qos::SAFETY),
            reset: Topic::new(&name("reset")).with_qos(Qos::SAFETY),
            operator_override: Topic::new(&name("override")).with_qos(Qos::SAFETY),
            calibrated: Topic::new(&name("calibrated")).with_qos(Qos::STATE),
            torque_off: Topic::new(&name("torque_off")).with_qos(Qos::STATE),
            diagnostics: Topic::new(&name("diagnostics")).with_qos(Qos::DIAGNOSTICS),
            namespace,
        }
    }

    /// Who may publish what where a link has credentials: each topic's key in `domain`, cameras and pads by
    /// patterns. What is not listed, nobody may publish. No `..` below: a new topic does not compile until
    /// somebody has decided whom the robot takes it from.
    pub(crate) fn writers(&self, domain: u32) -> Vec<(Writers, String)> {
        let Self {
            namespace: _,
            joint_states,
            instruction,
            goal,
            joint_command,
            action_chunk,
            estop,
            enable,
            reset,
            operator_override,
            calibrated,
            torque_off,
            diagnostics,
        } = self;
        vec![
            (Writers::Operators, instruction.key_expr(domain)),
            (Writers::Operators, estop.key_expr(domain)),
            (Writers::Operators, enable.key_expr(domain)),
            (Writers::Operators, reset.key_expr(domain)),
            (Writers::Operators, operator_override.key_expr(domain)),
            // Obeyed by the drives or the runtime, and said by the robot's own nodes too.
            (Writers::Both, joint_command.key_expr(domain)),
            (Writers::Both, torque_off.key_expr(domain)),
            (Writers::Both, calibrated.key_expr(domain)),
            (Writers::Robots, joint_states.key_expr(domain)),
            (Writers::Robots, goal.key_expr(domain)),
            (Writers::Robots, action_chunk.key_expr(domain)),
            (Writers::Robots, diagnostics.key_expr(domain)),
            (Writers::Robots, self.camera("*").key_expr(domain)),
            (Writers::Robots, self.camera_compressed("*").key_expr(domain)),
            (Writers::Robots, self.tactile("*").key_expr(domain)),
        ]
    }

    /// The namespace, without outer slashes.
    #[must_use]
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    /// The frames of the camera `name`, 30 to 60 Hz.
    #[must_use]
    pub fn camera(&self, name: &str) -> Topic<Image> {
        Topic::new(&join(&self.namespace, &format!("camera/{name}/image_raw"))).with_qos(Qos::CAMERA)
    }

    /// The compressed frames of the camera `name`.
    #[must_use]
    pub fn camera_compressed(&self, name: &str) -> Topic<CompressedImage> {
        Topic::new(&join(&self.namespace, &format!("camera/{name}/image_raw/compressed")))
            .with_qos(Qos::CAMERA)
    }

    /// The taxels of the tactile pad `name`: rows, columns, channels, N; 60 to 400 Hz.
    #[must_use]
    pub fn tactile(&self, name: &str) -> Topic<Float32MultiArray> {
        Topic::new(&join(&self.namespace, &format!("tactile/{name}/taxels"))).with_qos(Qos::TACTILE)
    }
}

fn join(namespace: &str, topic: &str) -> String {
    if namespace.is_empty() { topic.to_owned() } else { format!("{namespace}/{topic}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_have_the_form_of_rmw_zenoh() {
        let topics = Topics::new("");
        assert_eq!(
            topics.joint_states.key_expr(0),
            "0/joint_states/sensor_msgs::msg::dds_::JointState_/\
             RIHS01_a13ee3a330e346c9d87b5aa18d24e11690752bd33a0350f11c5882bc9179260e"
        );
        assert_eq!(
            Topics::new("/arm/").camera("scene").key_expr(7),
            "7/arm/camera/scene/image_raw/sensor_msgs::msg::dds_::Image_/\
             RIHS01_d31d41a9a4c4bc8eae9be757b0beed306564f7526c88ea6a4588fb9582527d47"
        );
    }

    #[test]
    fn qos_leaves_defaults_empty() {
        assert_eq!(Qos::default().ros(), "::,10:,:,:,,");
        assert_eq!(Qos { depth: 5, ..Qos::CAMERA }.ros(), "2::,5:,:,:,,");
        assert_eq!(Qos::INSTRUCTION.ros(), ":1:,1:,:,:,,");
        assert_eq!(Qos { depth: 42, ..Qos::default() }.ros(), "::,:,:,:,,");
    }

    #[test]
    fn names_that_are_no_topics_are_found_out() {
        for name in ["", "a//b", "a b", "**", "a/*/b", "a$b", "é"] {
            assert!(Topic::<StringMsg>::new(name).fault().is_some(), "{name:?}");
        }
        assert_eq!(Topic::<StringMsg>::new("/camera/scene_1/image_raw/").fault(), None);
    }

    /// The fields of `Topics` cannot be forgotten in [`Topics::writers`]: that would not compile. Its methods
    /// that make topics by name are counted here.
    #[test]
    fn everybody_knows_who_may_publish_each_topic() {
        let (source, _tests) = include_str!("topic.rs").split_once("cfg(test)").unwrap_or_default();
        let methods = source.matches("(&self, name: &str) -> Topic<").count();
        let writers = Topics::new("**").writers(3);
        assert_eq!(writers.iter().filter(|(_, key)| key.contains("/*/")).count(), methods);
        let of = |wanted: Writers| -> Vec<&str> {
            let mine = writers.iter().filter(|(writers, _)| *writers == wanted);
            mine.map(|(_, key)| key.split('/').nth(2).unwrap_or("")).collect()
        };
        assert_eq!(of(Writers::Operators), ["instruction", "estop", "enable", "reset", "override"]);
        assert_eq!(of(Writers::Both), ["joint_command", "torque_off", "calibrated"]);
        assert!(writers.iter().all(|(_, key)| key.starts_with("3/**/")), "in every namespace");
        let mut keys: Vec<_> = writers.iter().map(|(_, key)| key).collect();
        keys.sort();
        keys.dedup();
        assert_eq!(keys.len(), writers.len());
    }
}
