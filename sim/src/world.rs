//! The simulated table: physics, robot, objects and sensors behind one step function.

use nalgebra::{Isometry3, Quaternion, Translation3, UnitQuaternion};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use rapier3d::prelude as rp;
use sha2::{Digest, Sha256};

use crate::body::{ArmBody, BodyError};
use crate::object::Shape;
use crate::render::{Camera, Frame, Instance, Material, Mesh, RenderScene, Renderer, add_noise};
use crate::scene::{IMAGE_SIDE, Placed, Scene};
use crate::tactile;

/// Physics steps per second: two in each period of a 240 Hz command.
pub const PHYSICS_HZ: u32 = 480;

/// Render ids below this are the robot's; object `i` has id `OBJECT_ID + i`.
pub const OBJECT_ID: u16 = 100;

struct Thing {
    body: rp::RigidBodyHandle,
    collider: rp::ColliderHandle,
    mesh: Mesh,
}

/// A camera of the robot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum View {
    /// Looks at the table from the front.
    Scene,
    /// Rides on the hand.
    Wrist,
}

impl View {
    /// Both, in this order.
    pub const ALL: [Self; 2] = [Self::Scene, Self::Wrist];

    /// The name on the topics.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Scene => "scene",
            Self::Wrist => "wrist",
        }
    }
}

/// The state of one object.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ObjectState {
    /// Position of the footprint's middle, base frame, metres.
    pub position_m: [f64; 3],
    /// Turn about the vertical, rad.
    pub yaw_rad: f64,
    /// Angle between the object's axis and the vertical, rad.
    pub tilt_rad: f64,
    /// Normal force of the left and the right pad on it, newtons.
    pub pads_n: [f64; 2],
}

/// A scene brought to life.
pub struct World {
    physics: rp::PhysicsWorld,
    arm: ArmBody,
    table: rp::ColliderHandle,
    things: Vec<Thing>,
    scene: Scene,
    /// One for each view: a renderer keeps what does not change from frame to frame.
    renderers: [Renderer; 2],
    noise_rng: ChaCha8Rng,
}

fn isometry(pose: &rp::Pose) -> Isometry3<f32> {
    let (t, q) = (pose.translation, pose.rotation);
    Isometry3::from_parts(
        Translation3::new(t.x, t.y, t.z),
        UnitQuaternion::new_unchecked(Quaternion::new(q.w, q.x, q.y, q.z)),
    )
}

impl World {
    /// Builds the scene with the arm of `urdf` at `q_rad` and the gripper `width_m` open.
    /// `solver_iterations`: 4 is precise, 2 is enough for bulk demonstrations.
    ///
    /// # Errors
    /// When the URDF is not a 7-joint arm with a two-finger gripper.
    pub fn new(
        scene: Scene,
        urdf: &str,
        q_rad: &[f64; 7],
        width_m: f64,
        solver_iterations: usize,
    ) -> Result<Self, BodyError> {
        let mut physics = rp::PhysicsWorld::new();
        physics.gravity = rp::Vector::new(0.0, 0.0, -9.81);
        let p = &mut physics.integration_parameters;
        p.dt = 1.0 / PHYSICS_HZ as f32;
        p.num_solver_iterations = solver_iterations;
        p.num_internal_pgs_iterations = 1;
        p.num_internal_stabilization_iterations = 1;
        p.contact_softness = rp::SpringCoefficients::new(120.0, 2.0);
        p.static_contact_softness = rp::SpringCoefficients::new(240.0, 2.0);
        p.contact_clustering = true;
        p.contact_recycling = true;
        p.friction_in_bias_pass = false;
        p.normalized_prediction_distance = 0.02;
        p.normalized_contact_recycle_distance = 0.002;
        p.normalized_allowed_linear_error = 0.0005;
        p.friction_model = rp::FrictionModel::Coulomb;
        let table = physics.insert_collider(
            rp::ColliderBuilder::cuboid(0.9, 0.9, 0.05)
                .translation(rp::Vector::new(0.4, 0.0, -0.05))
                .friction(0.8)
                .restitution(0.0),
            None,
        );
        let arm = ArmBody::build(&mut physics, urdf, q_rad, width_m)?;
        let mut things = Vec::with_capacity(scene.objects.len());
        for placed in &scene.objects {
            let body = physics.insert_body(
                rp::RigidBodyBuilder::dynamic()
                    .pose(rp::Pose::new(
                        rp::Vector::new(placed.position_m[0], placed.position_m[1], 0.0005),
                        rp::Vector::new(0.0, 0.0, placed.yaw_rad),
                    ))
                    .can_sleep(false),
            );
            let collider = physics.insert_collider(placed.shape.collider(), Some(body));
            things.push(Thing { body, collider, mesh: placed.shape.mesh() });
        }
        let noise_rng = ChaCha8Rng::seed_from_u64(scene.seed ^ 0x006e_6f69_7365);
        Ok(Self {
            physics,
            arm,
            table,
            things,
            scene,
            renderers: [Renderer::new(1), Renderer::new(1)],
            noise_rng,
        })
    }

    /// The scene as it was laid out.
    #[must_use]
    pub fn scene(&self) -> &Scene {
        &self.scene
    }

    /// Sets the servos; see [`ArmBody::command`].
    pub fn command(&mut self, q_rad: &[f64; 7], qd_rad_s: &[f64; 7], width_m: f64, force_n: f64) {
        self.arm.command(&mut self.physics, q_rad, qd_rad_s, width_m, force_n);
    }

    /// One physics step of 1/[`PHYSICS_HZ`] s.
    pub fn step(&mut self) {
        self.arm.drive(&mut self.physics);
        self.physics.step();
    }

    /// Joint angles (rad) and speeds (rad/s).
    #[must_use]
    pub fn joints(&self) -> ([f64; 7], [f64; 7]) {
        self.arm.joints(&self.physics)
    }

    /// The gripper's opening (m) and its speed (m/s).
    #[must_use]
    pub fn gripper(&self) -> (f64, f64) {
        self.arm.gripper(&self.physics)
    }

    /// What the left and the right pad feel, see [`tactile::read`].
    #[must_use]
    pub fn tactile(&self) -> [[f32; tactile::TAXELS]; 2] {
        self.arm.pads.map(|pad| tactile::read(&self.physics, pad))
    }

    /// State of object `index`.
    #[must_use]
    pub fn object(&self, index: usize) -> ObjectState {
        let thing = &self.things[index];
        let pose = self.physics.bodies[thing.body].position();
        let axis = pose.transform_vector(rp::Vector::Z);
        let handle = pose.transform_vector(rp::Vector::X);
        let pads_n = self.arm.pads.map(|pad| {
            let pair = self.physics.narrow_phase.contact_pair(pad, thing.collider);
            pair.map_or(0.0, |pair| self.normal_force_n(pair))
        });
        ObjectState {
            position_m: [pose.translation.x, pose.translation.y, pose.translation.z].map(f64::from),
            yaw_rad: f64::from(handle.y.atan2(handle.x)),
            tilt_rad: f64::from(axis.z.clamp(-1.0, 1.0).acos()),
            pads_n,
        }
    }

    /// With how much force the hand and the fingers press on the table, newtons.
    #[must_use]
    pub fn arm_on_table_n(&self) -> f64 {
        let of_things = |pair: &rp::ContactPair| {
            self.things.iter().any(|thing| [pair.collider1, pair.collider2].contains(&thing.collider))
        };
        let pairs = self.physics.narrow_phase.contact_pairs_with(self.table);
        pairs.filter(|pair| !of_things(pair)).map(|pair| self.normal_force_n(pair)).sum()
    }

    /// Sum of the normal forces between two colliders, newtons.
    fn normal_force_n(&self, pair: &rp::ContactPair) -> f64 {
        let rapier3d::geometry::PairContacts::Rigid(contacts) = &pair.contacts else {
            return 0.0;
        };
        // Only active contacts carry current impulses; others keep stale ones.
        let impulse: f32 = contacts
            .solver_manifolds()
            .iter()
            .flat_map(|m| {
                m.data
                    .solver_contacts
                    .iter()
                    .filter_map(|c| m.points.get(c.contact_indices()[0] as usize).map(|p| p.data.impulse))
            })
            .sum();
        f64::from(impulse / self.physics.integration_parameters.dt)
    }

    /// Number of objects.
    #[must_use]
    pub fn object_count(&self) -> usize {
        self.things.len()
    }

    /// Shape and colour of object `index`.
    #[must_use]
    pub fn placed(&self, index: usize) -> &Placed {
        &self.scene.objects[index]
    }

    /// The shape of object `index`.
    #[must_use]
    pub fn shape(&self, index: usize) -> &Shape {
        &self.scene.objects[index].shape
    }

    /// One of the cameras, where it is now.
    #[must_use]
    pub fn camera(&self, view: View) -> Camera {
        let look = &self.scene.look;
        match view {
            View::Scene => look.scene_camera,
            View::Wrist => Camera {
                world_from_camera: self
                    .arm
                    .world_from_link(&self.physics, "hand")
                    .map_or_else(Isometry3::identity, |pose| isometry(&pose))
                    * look.hand_from_wrist_camera,
                width: IMAGE_SIDE,
                height: IMAGE_SIDE,
                vertical_fov_rad: look.wrist_fov_rad,
            },
        }
    }

    /// Pose of the tool in the base frame (world frame), as physics has it.
    #[must_use]
    pub fn base_from_tool(&self) -> Isometry3<f64> {
        self.arm
            .world_from_link(&self.physics, "tool")
            .map_or_else(Isometry3::identity, |pose| isometry(&pose).cast())
    }

    /// Renders what a camera sees into `frame`, with the sensor's noise.
    pub fn render(&mut self, view: View, frame: &mut Frame) {
        let camera = self.camera(view);
        let mut instances = Vec::with_capacity(self.things.len() + self.arm.visuals.len());
        for (i, thing) in self.things.iter().enumerate() {
            instances.push(Instance {
                mesh: &thing.mesh,
                world_from_mesh: isometry(self.physics.bodies[thing.body].position()),
                material: Material { rgb: self.scene.objects[i].rgb, specular: 0.15 },
                id: OBJECT_ID + i as u16,
                casts_shadow: true,
            });
        }
        for visual in &self.arm.visuals {
            instances.push(Instance {
                mesh: &visual.mesh,
                world_from_mesh: isometry(
                    &(*self.physics.bodies[visual.body].position() * visual.body_from_mesh),
                ),
                material: Material { rgb: visual.rgb.map(|c| c * 0.8), specular: 0.1 },
                id: 1,
                casts_shadow: true,
            });
        }
        let look = &self.scene.look;
        self.renderers[view as usize].render(
            &camera,
            &RenderScene {
                instances: &instances,
                light: &look.light,
                table: &look.table,
                background: look.background,
            },
            frame,
        );
        add_noise(frame, look.gain, look.noise, &mut self.noise_rng);
    }

    /// Hash of the whole physical state: equal states give equal digests.
    #[must_use]
    pub fn digest(&self) -> String {
        let mut hash = Sha256::new();
        let (q, qd) = self.joints();
        let (width, speed) = self.gripper();
        for value in q.iter().chain(&qd).chain([&width, &speed]) {
            hash.update(value.to_bits().to_le_bytes());
        }
        for thing in &self.things {
            let body = &self.physics.bodies[thing.body];
            let (pose, v) = (body.position(), body.linvel());
            for value in [
                pose.translation.x,
                pose.translation.y,
                pose.translation.z,
                pose.rotation.x,
                pose.rotation.y,
                pose.rotation.z,
                pose.rotation.w,
                v.x,
                v.y,
                v.z,
            ] {
                hash.update(value.to_bits().to_le_bytes());
            }
        }
        hash.finalize().iter().take(16).map(|b| format!("{b:02x}")).collect()
    }
}
