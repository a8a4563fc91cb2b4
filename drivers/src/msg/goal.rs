//! `reflexarc_msgs`: our own message, defined in `msg/Goal.msg`.

use super::{Header, Message, header_definition, schema, time_definition};
use crate::cdr::{CdrError, Reader, Writer};

/// What the model wants to do: one message for each decision, `reflexarc_msgs/msg/Goal`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Goal {
    /// Time of the decision, and the frame of the target (the robot's base).
    pub header: Header,
    /// The instruction in the operator's words.
    pub instruction: String,
    /// The steps of the instruction in order; empty when infeasible.
    pub plan: Vec<String>,
    /// The current subtask of the current step.
    pub subtask: String,
    /// The decision, token by token.
    pub tokens: Vec<String>,
    /// Why nothing is done; empty when the instruction is feasible.
    pub infeasible_reason: String,
    /// Target of the tool, m.
    pub target_position_m: [f64; 3],
    /// Target orientation of the tool, a unit quaternion.
    pub target_orientation_xyzw: [f64; 4],
    /// Opening between the fingers, m.
    pub gripper_width_m: f64,
    /// Force between the fingers, N.
    pub gripper_force_n: f64,
    /// Where the model looks in the scene camera, 0 to 1 from the left.
    pub pixel_u: f32,
    /// Where the model looks in the scene camera, 0 to 1 from the top.
    pub pixel_v: f32,
    /// How sure the model is, 0 to 1.
    pub confidence: f32,
    /// Counts decisions since the start of the run.
    pub decision: u64,
    /// Time of the observation that the decision answers, nanoseconds since the Unix epoch.
    pub observation_stamp_ns: i64,
}

impl Message for Goal {
    const TYPE_NAME: &'static str = "reflexarc_msgs/msg/Goal";
    const TYPE_HASH: &'static str = "RIHS01_6999b25fa5f159814366d07b4396cf71fad36d50cda93affc8ecbcc3576661f9";
    const SCHEMA: &'static str = schema!(
        include_str!("../../msg/Goal.msg"),
        "std_msgs/Header" => header_definition!(),
        "builtin_interfaces/Time" => time_definition!(),
    );

    fn write(&self, writer: &mut Writer<'_>) {
        self.header.write(writer);
        writer.string(&self.instruction);
        writer.strings(&self.plan);
        writer.string(&self.subtask);
        writer.strings(&self.tokens);
        writer.string(&self.infeasible_reason);
        self.target_position_m.iter().for_each(|&value| writer.f64(value));
        self.target_orientation_xyzw.iter().for_each(|&value| writer.f64(value));
        writer.f64(self.gripper_width_m);
        writer.f64(self.gripper_force_n);
        writer.f32(self.pixel_u);
        writer.f32(self.pixel_v);
        writer.f32(self.confidence);
        writer.u64(self.decision);
        writer.i64(self.observation_stamp_ns);
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, CdrError> {
        let mut goal = Self {
            header: Header::read(reader)?,
            instruction: reader.string("instruction")?,
            plan: reader.strings("plan")?,
            subtask: reader.string("subtask")?,
            tokens: reader.strings("tokens")?,
            infeasible_reason: reader.string("infeasible_reason")?,
            ..Self::default()
        };
        for value in &mut goal.target_position_m {
            *value = reader.f64("target_position_m")?;
        }
        for value in &mut goal.target_orientation_xyzw {
            *value = reader.f64("target_orientation_xyzw")?;
        }
        goal.gripper_width_m = reader.f64("gripper_width_m")?;
        goal.gripper_force_n = reader.f64("gripper_force_n")?;
        goal.pixel_u = reader.f32("pixel_u")?;
        goal.pixel_v = reader.f32("pixel_v")?;
        goal.confidence = reader.f32("confidence")?;
        goal.decision = reader.u64("decision")?;
        goal.observation_stamp_ns = reader.i64("observation_stamp_ns")?;
        Ok(goal)
    }

    fn stamp_ns(&self) -> Option<u64> {
        Some(self.header.stamp_ns())
    }
}
