//! The arm as physics sees it: a multibody built from a URDF, with position servos.
//!
//! Only the hand and the fingers collide; the links above them stay clear of the table in every
//! pose that the workspace allows. Gravity is compensated on the arm (`gravity_scale` 0), as the
//! real arm's own controller does. Servo and grip parameters are those that held in a sweep over
//! contact stiffness, step size and finger mass.

use nalgebra::Vector3;
use rapier3d::dynamics::{Multibody, MultibodyDofCoupling};
use rapier3d::prelude as rp;
use thiserror::Error;

use crate::render::Mesh;

/// Stiffness of an arm servo, 1/s² (acceleration based).
const ARM_STIFFNESS: f32 = 4000.0;
/// Damping of an arm servo, 1/s.
const ARM_DAMPING: f32 = 120.0;
/// How much faster than its joint's limit a servo goes of its own accord to make up for what it is behind.
const CATCH_UP: f64 = 1.02;
/// Rotor inertia seen at each revolute joint, kg·m².
const ARM_ARMATURE: f32 = 0.1;
/// Stiffness of a finger servo, N/m: high, so that the force limit decides the grip.
const FINGER_STIFFNESS: f32 = 4000.0;
/// Damping of a finger servo, N·s/m.
const FINGER_DAMPING: f32 = 100.0;
/// Mass that the finger's drive adds, kg.
const FINGER_ARMATURE: f32 = 0.2;
/// Rounding of the rubber pads, metres.
const PAD_RADIUS_M: f32 = 0.002;

/// Why a robot description cannot become a body.
#[derive(Debug, Error)]
pub enum BodyError {
    /// The URDF text does not parse.
    #[error("robot description: {0}")]
    Urdf(String),
    /// The description lacks something that the simulator needs.
    #[error("robot description has no {what} named `{name}`")]
    Missing {
        /// Kind of element.
        what: &'static str,
        /// Its expected name.
        name: String,
    },
    /// The description has another number of actuated joints.
    #[error("robot description has {found} arm joints and {fingers} finger joints, expected 7 and 2")]
    Joints {
        /// Revolute joints found.
        found: usize,
        /// Prismatic joints found.
        fingers: usize,
    },
    /// A joint could turn at any speed.
    #[error("joint `{joint}` has a velocity limit of {found} rad/s, expected more than 0")]
    VelocityLimit {
        /// Its name.
        joint: String,
        /// What the description says; 0 where it says nothing.
        found: f64,
    },
}

/// One drawn piece of the robot.
pub(crate) struct Visual {
    pub(crate) body: rp::RigidBodyHandle,
    pub(crate) body_from_mesh: rp::Pose,
    pub(crate) mesh: Mesh,
    pub(crate) rgb: [f32; 3],
}

/// A link and the rigid body that carries it; links behind fixed joints share one.
struct Part {
    link: String,
    body: rp::RigidBodyHandle,
    body_from_link: rp::Pose,
    finger: bool,
}

/// The arm and its gripper inside a physics world.
pub struct ArmBody {
    joints: Vec<rp::MultibodyJointHandle>,
    /// Velocity limits of the joints, rad/s.
    speed_limits_rad_s: Vec<f64>,
    /// Where the joints shall be, rad, and how fast they shall be there, rad/s.
    goal: ([f64; 7], [f64; 7]),
    fingers: [rp::MultibodyJointHandle; 2],
    /// Collider of each finger's pad: left, right.
    pub(crate) pads: [rp::ColliderHandle; 2],
    parts: Vec<Part>,
    pub(crate) visuals: Vec<Visual>,
}

/// The goal (rad, rad/s) nearest to `q` and `qd` with which a servo that stands at `q_now` goes no faster than `limit`,
/// rad/s. Its velocity loop is given `qd` + (`q` - where it is) stiffness / damping, and on the average over a step of
/// `dt_s` it is half a step further than `q_now`.
fn within_speed(q_now: f64, q: f64, qd: f64, limit: f64, dt_s: f64) -> (f64, f64) {
    let qd = qd.clamp(-limit, limit);
    let reach = |speed: f64| q_now + (speed - qd) * (f64::from(ARM_DAMPING / ARM_STIFFNESS) + dt_s / 2.0);
    (q.max(reach(-limit)).min(reach(limit)), qd)
}

fn pose_of(origin: &urdf_rs::Pose) -> rp::Pose {
    let ([x, y, z], [roll, pitch, yaw]) = (origin.xyz.0, origin.rpy.0);
    let q = nalgebra::UnitQuaternion::<f64>::from_euler_angles(roll, pitch, yaw);
    rp::Pose::from_parts(
        rp::Vector::new(x as f32, y as f32, z as f32),
        rp::Rotation::from_xyzw(q.i as f32, q.j as f32, q.k as f32, q.w as f32),
    )
}

fn mesh_of(geometry: &urdf_rs::Geometry) -> Option<Mesh> {
    match geometry {
        urdf_rs::Geometry::Box { size } => {
            let [x, y, z] = size.0;
            Some(Mesh::cuboid(Vector3::new(x as f32, y as f32, z as f32) / 2.0))
        }
        urdf_rs::Geometry::Cylinder { radius, length } => {
            Some(Mesh::cylinder(*radius as f32, *length as f32 / 2.0, 18))
        }
        urdf_rs::Geometry::Sphere { radius } => Some(Mesh::sphere(*radius as f32, 16)),
        _ => None,
    }
}

fn missing(what: &'static str, name: &str) -> BodyError {
    BodyError::Missing { what, name: name.to_owned() }
}

fn link_of<'a>(robot: &'a urdf_rs::Robot, name: &str) -> Result<&'a urdf_rs::Link, BodyError> {
    robot.links.iter().find(|l| l.name == name).ok_or_else(|| missing("link", name))
}

fn velocity_limit(joint: &urdf_rs::Joint) -> Result<f64, BodyError> {
    let found = joint.limit.velocity;
    if found > 0.0 { Ok(found) } else { Err(BodyError::VelocityLimit { joint: joint.name.clone(), found }) }
}

/// A new body for the joint's child link, joined to `parent` with one free axis.
fn insert_joint(
    world: &mut rp::PhysicsWorld,
    parent: rp::RigidBodyHandle,
    parent_from_joint: rp::Pose,
    joint: &urdf_rs::Joint,
    link: &urdf_rs::Link,
) -> Result<(rp::RigidBodyHandle, rp::MultibodyJointHandle), BodyError> {
    let inertia = &link.inertial.inertia;
    let mass = rp::MassProperties::new(
        pose_of(&link.inertial.origin).translation,
        link.inertial.mass.value as f32,
        rp::Vector::new(inertia.ixx as f32, inertia.iyy as f32, inertia.izz as f32),
    );
    let body = world.insert_body(
        rp::RigidBodyBuilder::dynamic().gravity_scale(0.0).can_sleep(false).additional_mass_properties(mass),
    );
    // A multibody joint moves along or about its frame's x; the URDF's axes are any unit vectors.
    let [x, y, z] = joint.axis.xyz.0.map(|v| v as f32);
    let joint_from_axis =
        rp::Pose::from_rotation(rp::Rotation::from_rotation_arc(rp::Vector::X, rp::Vector::new(x, y, z)));
    let frames = |locked| {
        rp::GenericJointBuilder::new(locked)
            .local_frame1(parent_from_joint * joint_from_axis)
            .local_frame2(joint_from_axis)
    };
    let builder = if joint.joint_type == urdf_rs::JointType::Prismatic {
        frames(rp::JointAxesMask::LOCKED_PRISMATIC_AXES)
            .limits(rp::JointAxis::LinX, [joint.limit.lower as f32, joint.limit.upper as f32])
            .motor_model(rp::JointAxis::LinX, rp::MotorModel::ForceBased)
    } else {
        frames(rp::JointAxesMask::LOCKED_REVOLUTE_AXES)
            .motor_model(rp::JointAxis::AngX, rp::MotorModel::AccelerationBased)
    };
    let handle = world
        .insert_multibody_joint(parent, body, builder.build())
        .ok_or_else(|| missing("free place for joint", &joint.name))?;
    Ok((body, handle))
}

fn visual_of(part: &Part, visual: &urdf_rs::Visual) -> Option<Visual> {
    let color = visual.material.as_ref().and_then(|m| m.color.as_ref());
    Some(Visual {
        body: part.body,
        body_from_mesh: part.body_from_link * pose_of(&visual.origin),
        mesh: mesh_of(&visual.geometry)?,
        rgb: color.map_or([0.8; 3], |c| [c.rgba.0[0], c.rgba.0[1], c.rgba.0[2]].map(|v| v as f32)),
    })
}

/// Colliders for the link's boxes; gives the pad's, which is a finger's first box.
fn insert_colliders(
    world: &mut rp::PhysicsWorld,
    part: &Part,
    link: &urdf_rs::Link,
) -> Option<rp::ColliderHandle> {
    let mut found = None;
    for (index, collision) in link.collision.iter().enumerate() {
        let urdf_rs::Geometry::Box { size } = &collision.geometry else { continue };
        let [x, y, z] = size.0.map(|v| v as f32 / 2.0);
        let pad = part.finger && index == 0;
        let builder = if pad {
            let r = PAD_RADIUS_M;
            rp::ColliderBuilder::round_cuboid(x - r, y - r, z - r, r)
                .friction(1.2)
                .friction_combine_rule(rp::CoefficientCombineRule::Max)
        } else {
            rp::ColliderBuilder::cuboid(x, y, z).friction(0.3)
        };
        let pose = part.body_from_link * pose_of(&collision.origin);
        let handle =
            world.insert_collider(builder.density(0.0).restitution(0.0).position(pose), Some(part.body));
        if pad {
            found = Some(handle);
        }
    }
    found
}

impl ArmBody {
    /// Builds the arm described by `urdf` into `world`, its base at the world's origin, at the
    /// joint angles `q_rad` (7) with the gripper `width_m` open.
    ///
    /// # Errors
    /// When the description does not parse, is not a 7-joint arm with a two-finger gripper, or gives a joint no velocity
    /// limit.
    pub fn build(
        world: &mut rp::PhysicsWorld,
        urdf: &str,
        q_rad: &[f64; 7],
        width_m: f64,
    ) -> Result<Self, BodyError> {
        let robot = urdf_rs::read_from_string(urdf).map_err(|e| BodyError::Urdf(e.to_string()))?;
        let root = world.insert_body(rp::RigidBodyBuilder::fixed());
        let mut parts = vec![Part {
            link: "base".to_owned(),
            body: root,
            body_from_link: rp::Pose::identity(),
            finger: false,
        }];
        let (mut joints, mut speed_limits_rad_s, mut fingers) = (Vec::new(), Vec::new(), Vec::new());
        let mut pending: Vec<&urdf_rs::Joint> = robot.joints.iter().collect();
        while !pending.is_empty() {
            let ready = pending.iter().position(|j| parts.iter().any(|p| p.link == j.parent.link));
            let Some(index) = ready else {
                return Err(missing("path from `base` to the parent of joint", &pending[0].name));
            };
            let joint = pending.remove(index);
            let Some(parent) = parts.iter().find(|p| p.link == joint.parent.link) else { continue };
            let body_from_joint = parent.body_from_link * pose_of(&joint.origin);
            let finger = joint.joint_type == urdf_rs::JointType::Prismatic;
            let (body, body_from_link) = match joint.joint_type {
                urdf_rs::JointType::Revolute | urdf_rs::JointType::Prismatic => {
                    let link = link_of(&robot, &joint.child.link)?;
                    let (body, handle) = insert_joint(world, parent.body, body_from_joint, joint, link)?;
                    if finger {
                        fingers.push(handle);
                    } else {
                        joints.push(handle);
                        speed_limits_rad_s.push(velocity_limit(joint)?);
                    }
                    (body, rp::Pose::identity())
                }
                _ => (parent.body, body_from_joint),
            };
            parts.push(Part { link: joint.child.link.clone(), body, body_from_link, finger });
        }
        let (mut visuals, mut pads) = (Vec::new(), Vec::new());
        for part in &parts {
            let link = link_of(&robot, &part.link)?;
            visuals.extend(link.visual.iter().filter_map(|visual| visual_of(part, visual)));
            if part.finger || part.link == "hand" {
                pads.extend(insert_colliders(world, part, link));
            }
        }
        let (found, finger_count) = (joints.len(), fingers.len());
        let (Ok(fingers), Ok(pads), true) =
            (<[_; 2]>::try_from(fingers), <[_; 2]>::try_from(pads), found == 7)
        else {
            return Err(BodyError::Joints { found, fingers: finger_count });
        };
        let goal = (*q_rad, [0.0; 7]);
        let mut arm = Self { joints, speed_limits_rad_s, goal, fingers, pads, parts, visuals };
        arm.set_up(world, q_rad, width_m);
        Ok(arm)
    }

    fn set_up(&mut self, world: &mut rp::PhysicsWorld, q_rad: &[f64; 7], width_m: f64) {
        let finger_ids = self.fingers.map(|h| world.multibody_joints.get(h).map_or(0, |(_, id)| id));
        let Some((multibody, _)) = world.multibody_joints.get_mut(self.joints[0]) else { return };
        // The root turns from free to fixed only here; before that, displacements would shift.
        multibody.forward_kinematics(&world.bodies, true);
        multibody.set_self_contacts_enabled(false);
        multibody.add_dof_coupling(MultibodyDofCoupling {
            link1: finger_ids[0],
            dof1: 0,
            axis1: 0,
            link2: finger_ids[1],
            dof2: 0,
            axis2: 0,
            coeff: 1.0,
            offset: 0.0,
        });
        let half = (width_m / 2.0) as f32;
        let displacements: Vec<f32> = q_rad.iter().map(|q| *q as f32).chain([half, half]).collect();
        multibody.apply_displacements(&displacements);
        for (i, armature) in multibody.armature_mut().iter_mut().enumerate() {
            *armature = if i < 7 { ARM_ARMATURE } else { FINGER_ARMATURE };
        }
        multibody.forward_kinematics(&world.bodies, true);
        multibody.update_rigid_bodies(&mut world.bodies, true);
        self.command(world, q_rad, &[0.0; 7], width_m, 15.0);
    }

    /// Sets the servos: joint positions (rad) with velocity feed-forward (rad/s), the gripper's
    /// opening (m) and its largest force per finger (N).
    pub fn command(
        &mut self,
        world: &mut rp::PhysicsWorld,
        q_rad: &[f64; 7],
        qd_rad_s: &[f64; 7],
        width_m: f64,
        force_n: f64,
    ) {
        self.goal = (*q_rad, *qd_rad_s);
        for handle in self.fingers {
            if let Some((multibody, id)) = world.multibody_joints.get_mut(handle)
                && let Some(link) = multibody.link_mut(id)
            {
                let data = &mut link.joint.data;
                data.set_motor(
                    rp::JointAxis::LinX,
                    (width_m / 2.0).clamp(0.0, 0.04) as f32,
                    0.0,
                    FINGER_STIFFNESS,
                    FINGER_DAMPING,
                );
                data.set_motor_max_force(rp::JointAxis::LinX, force_n as f32);
            }
        }
    }

    /// The arm's servos before a step of `world`: each a position loop around a velocity loop, as in a real drive, and
    /// what the position loop asks for is cut to the joint's velocity limit. So a goal that jumps, as after commands
    /// that were lost, is made up for within the limit.
    pub fn drive(&self, world: &mut rp::PhysicsWorld) {
        let dt_s = f64::from(world.integration_parameters.dt);
        let goals = self.goal.0.iter().zip(&self.goal.1).zip(&self.speed_limits_rad_s);
        for (handle, ((q, qd), limit_rad_s)) in self.joints.iter().zip(goals) {
            let Some((multibody, id)) = world.multibody_joints.get_mut(*handle) else { continue };
            let (q_now, _) = Self::coordinate(multibody, id, 3);
            let (q, qd) = within_speed(q_now, *q, *qd, limit_rad_s * CATCH_UP, dt_s);
            if let Some(link) = multibody.link_mut(id) {
                link.joint.data.set_motor(
                    rp::JointAxis::AngX,
                    q as f32,
                    qd as f32,
                    ARM_STIFFNESS,
                    ARM_DAMPING,
                );
            }
        }
    }

    fn coordinate(multibody: &Multibody, id: usize, axis: usize) -> (f64, f64) {
        multibody.link(id).map_or((0.0, 0.0), |link| {
            let velocity = multibody.joint_velocity(link);
            (f64::from(link.joint.coords()[axis]), f64::from(velocity[0]))
        })
    }

    /// Joint angles (rad) and speeds (rad/s).
    #[must_use]
    pub fn joints(&self, world: &rp::PhysicsWorld) -> ([f64; 7], [f64; 7]) {
        let mut state = ([0.0; 7], [0.0; 7]);
        for (i, handle) in self.joints.iter().enumerate() {
            if let Some((multibody, id)) = world.multibody_joints.get(*handle) {
                (state.0[i], state.1[i]) = Self::coordinate(multibody, id, 3);
            }
        }
        state
    }

    /// The gripper's opening in metres and its speed in m/s.
    #[must_use]
    pub fn gripper(&self, world: &rp::PhysicsWorld) -> (f64, f64) {
        self.fingers.iter().filter_map(|h| world.multibody_joints.get(*h)).fold(
            (0.0, 0.0),
            |sum, (multibody, id)| {
                let (q, qd) = Self::coordinate(multibody, id, 0);
                (sum.0 + q, sum.1 + qd)
            },
        )
    }

    /// Pose of a named link in the world, when there is one.
    #[must_use]
    pub fn world_from_link(&self, world: &rp::PhysicsWorld, name: &str) -> Option<rp::Pose> {
        let part = self.parts.iter().find(|part| part.link == name)?;
        Some(*world.bodies.get(part.body)?.position() * part.body_from_link)
    }
}
