//! `trajectory_msgs`: what the joints shall do.

use super::{Duration, Header, Message, header_definition, schema, time_definition};
use crate::cdr::{CdrError, Reader, Writer};

/// One point of a trajectory. Arrays go by the order of the trajectory's `joint_names`, or are empty.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct JointTrajectoryPoint {
    /// Positions, rad or m.
    pub positions: Vec<f64>,
    /// Velocities, rad/s or m/s.
    pub velocities: Vec<f64>,
    /// Accelerations, rad/s² or m/s².
    pub accelerations: Vec<f64>,
    /// Efforts, N·m or N.
    pub effort: Vec<f64>,
    /// When the point is to be reached, counted from the trajectory's start.
    pub time_from_start: Duration,
}

/// A joint command or a chunk of them, `trajectory_msgs/msg/JointTrajectory`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct JointTrajectory {
    /// Time of the command.
    pub header: Header,
    /// The joints that it moves.
    pub joint_names: Vec<String>,
    /// The points, in order of time.
    pub points: Vec<JointTrajectoryPoint>,
}

/// Four counts and a duration: no point is shorter.
const MIN_POINT_BYTES: usize = 4 * 4 + 8;

macro_rules! point_definition {
    () => {
        concat!(
            "float64[] positions\nfloat64[] velocities\nfloat64[] accelerations\nfloat64[] effort\n",
            "builtin_interfaces/Duration time_from_start\n"
        )
    };
}

impl Message for JointTrajectoryPoint {
    const TYPE_NAME: &'static str = "trajectory_msgs/msg/JointTrajectoryPoint";
    const TYPE_HASH: &'static str = "RIHS01_de8907036d8bd45aac6f30cc9044a3d4a329c42cbf719aff7d95a584cfa532d7";
    const SCHEMA: &'static str = schema!(
        point_definition!(),
        "builtin_interfaces/Duration" => time_definition!(),
    );

    fn write(&self, writer: &mut Writer<'_>) {
        writer.f64s(&self.positions);
        writer.f64s(&self.velocities);
        writer.f64s(&self.accelerations);
        writer.f64s(&self.effort);
        self.time_from_start.write(writer);
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, CdrError> {
        Ok(Self {
            positions: reader.f64s("positions")?,
            velocities: reader.f64s("velocities")?,
            accelerations: reader.f64s("accelerations")?,
            effort: reader.f64s("effort")?,
            time_from_start: Duration::read(reader)?,
        })
    }
}

impl Message for JointTrajectory {
    const TYPE_NAME: &'static str = "trajectory_msgs/msg/JointTrajectory";
    const TYPE_HASH: &'static str = "RIHS01_179b33eba59d676f6d967ac71fe35e7ca2f64b2f3928f4a018cec115e213796e";
    const SCHEMA: &'static str = schema!(
        "std_msgs/Header header\nstring[] joint_names\ntrajectory_msgs/JointTrajectoryPoint[] points\n",
        "std_msgs/Header" => header_definition!(),
        "builtin_interfaces/Time" => time_definition!(),
        "trajectory_msgs/JointTrajectoryPoint" => point_definition!(),
        "builtin_interfaces/Duration" => time_definition!(),
    );

    fn write(&self, writer: &mut Writer<'_>) {
        self.header.write(writer);
        writer.strings(&self.joint_names);
        writer.sequence(&self.points, |writer, point| point.write(writer));
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, CdrError> {
        Ok(Self {
            header: Header::read(reader)?,
            joint_names: reader.strings("joint_names")?,
            points: reader.sequence("points", MIN_POINT_BYTES, JointTrajectoryPoint::read)?,
        })
    }

    fn stamp_ns(&self) -> Option<u64> {
        Some(self.header.stamp_ns())
    }
}
