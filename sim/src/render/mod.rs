//! The camera renderer: a small software rasteriser for tabletop scenes.
//!
//! One thread, no graphics driver, no allocation once its buffers have grown, and the same bits for the same
//! scene every time. A frame takes four passes:
//!
//! 1. **visibility** ([`raster`]): every instance is projected once, clipped at [`NEAR_M`], culled by facing,
//!    and scanned into a buffer of inverse depth and triangle number;
//! 2. **shadow** ([`shadow`]): the casting instances, flattened along the light onto the table, are scanned into
//!    a mask, which is then blurred once for the shadow's edge and once for its surroundings;
//! 3. **shading** ([`shade`]): each pixel is lit once, for the triangle that won it. The table and the room have
//!    no triangles: they are computed from the pixel's ray, their pattern filtered over the pixel;
//! 4. **encoding**: linear light to sRGB bytes.
//!
//! Glossary: *world* is the robot's base frame, in metres, with the table top at `z = 0`; the *camera* frame is
//! the optical one (x right, y down, z forward); *depth* is the distance along the camera's z.
//!
//! ```
//! use nalgebra::{Isometry3, Point3, Vector3};
//! use reflexarc_sim::render::{Camera, Frame, Instance, Light, Material, Mesh, RenderScene, Renderer, TableLook};
//!
//! let mug = Mesh::mug(0.04, 0.035, 0.045, 0.006, 0.026, 0.006, 24);
//! let instances = [Instance {
//!     mesh: &mug,
//!     world_from_mesh: Isometry3::translation(0.5, 0.0, 0.045),
//!     material: Material { rgb: [0.7, 0.05, 0.04], specular: 0.3 },
//!     id: 1,
//!     casts_shadow: true,
//! }];
//! let camera = Camera::look_at(Point3::new(1.0, 0.0, 0.5), Point3::new(0.5, 0.0, 0.0), Vector3::z(), 96, 96, 0.8);
//! let scene = RenderScene {
//!     instances: &instances,
//!     light: &Light::default(),
//!     table: &TableLook::default(),
//!     background: [0.35, 0.38, 0.42],
//! };
//! let mut frame = Frame::default();
//! Renderer::new(1).render(&camera, &scene, &mut frame);
//! assert!(frame.id.contains(&1));
//! ```

mod camera;
mod mesh;
mod noise;
mod raster;
mod renderer;
mod shade;
mod shadow;
mod shapes;
mod table;

pub use camera::Camera;
pub use mesh::{Mesh, MeshError};
pub use noise::{SensorNoise, add_noise};
pub use raster::NEAR_M;
pub use renderer::{Frame, Renderer};
pub use table::{TableLook, TablePattern};

use nalgebra::{Isometry3, Vector3};

/// How a surface answers light.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Material {
    /// Diffuse reflectance per channel, linear, 0 to 1.
    pub rgb: [f32; 3],
    /// Strength of the highlight, 0 (chalk) to 1 (glazed).
    pub specular: f32,
}

/// One placed mesh.
#[derive(Clone, Copy, Debug)]
pub struct Instance<'a> {
    /// The shape, shared between instances and frames.
    pub mesh: &'a Mesh,
    /// Pose of the mesh in the world, metres.
    pub world_from_mesh: Isometry3<f32>,
    /// Surface of the whole mesh.
    pub material: Material,
    /// Written to [`Frame::id`] where this instance is visible; 0 is reserved for the table and the room.
    pub id: u16,
    /// Whether the instance darkens the table.
    pub casts_shadow: bool,
}

/// One distant light and the light of the room.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Light {
    /// From the scene towards the light; any length. At or below the horizon it casts no shadow.
    pub direction_to_light: Vector3<f32>,
    /// Strength of the direct light; about 0.6 to 1.1 is exposed well.
    pub intensity: f32,
    /// Strength of the room's light, from all sides; about 0.25 to 0.6.
    pub ambient: f32,
    /// Colour of the direct light, each channel around 1.
    pub tint: [f32; 3],
}

impl Default for Light {
    fn default() -> Self {
        Self {
            direction_to_light: Vector3::new(-0.35, 0.45, 1.0),
            intensity: 0.8,
            ambient: 0.42,
            tint: [1.0, 0.97, 0.92],
        }
    }
}

/// Everything a camera can see.
#[derive(Clone, Copy, Debug)]
pub struct RenderScene<'a> {
    /// The placed meshes; their order does not change the picture, except for surfaces at equal depth.
    pub instances: &'a [Instance<'a>],
    /// The light.
    pub light: &'a Light,
    /// The table top, in the plane `z = 0`.
    pub table: &'a TableLook,
    /// Linear colour of the wall behind the table; the floor is a darker shade of it.
    pub background: [f32; 3],
}
