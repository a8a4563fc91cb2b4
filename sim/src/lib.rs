//! A tabletop simulator that stands in for the robot's hardware on the very same topics.
//!
//! [`World`] holds the physics (rapier), the arm, the objects and the sensors. [`SimNode`] puts a
//! world on a link, where it is exactly what hardware would be: it publishes camera frames,
//! tactile frames and joint states, and obeys joint commands that are fresh. [`task`] judges
//! success. [`servo_side`] puts a real arm's driver and simulated servos between the link and the joints.
//! [`expert`] labels demonstrations; the runtime cannot reach it.
//!
//! Frames: the base frame of the arm is the world frame, x forward, y left, z up, the table's
//! top at z = 0. Units are SI.

pub mod body;
pub mod expert;
pub mod node;
pub mod object;
pub mod render;
pub mod scene;
pub mod servo_side;
pub mod tactile;
pub mod task;
pub mod world;

pub use node::SimNode;
pub use scene::Scene;
pub use world::World;
