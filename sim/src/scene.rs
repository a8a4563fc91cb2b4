//! Random tabletop scenes: what stands where, and how it looks. A seed gives one scene, always.

use nalgebra::{Isometry3, Point3, UnitQuaternion, Vector3};
use rand::{Rng, RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::object::{Kind, Paint, Shape};
use crate::render::{Camera, Light, TableLook, TablePattern};

/// Side of both camera images, pixels.
pub const IMAGE_SIDE: usize = 96;

/// Where objects may stand, base frame: x and y ranges in metres.
pub const OBJECT_AREA_M: [[f64; 2]; 2] = [[0.39, 0.63], [-0.21, 0.21]];

/// Nominal place of the scene camera of the reference rig, base frame, metres. Each scene's camera is
/// mounted within 12 mm of it.
pub const SCENE_CAMERA_M: [f32; 3] = [1.06, 0.0, 0.62];
/// The point that it nominally looks at, base frame, metres; each scene's within 10 mm.
pub const SCENE_CAMERA_LOOKS_AT_M: [f32; 3] = [0.50, 0.0, 0.03];
/// Its nominal vertical opening angle, degrees; each scene's within 0.6.
pub const SCENE_CAMERA_FOV_DEG: f32 = 36.0;

/// Smallest distance between the middles of two objects, metres: the hand is 0.2 m wide and
/// must fit beside a neighbour.
const CLEARANCE_M: f32 = 0.118;

/// One object as placed at the start.
#[derive(Debug, Clone, PartialEq)]
pub struct Placed {
    /// Its dimensions.
    pub shape: Shape,
    /// The name of its colour.
    pub paint: Paint,
    /// Its exact shade, linear RGB.
    pub rgb: [f32; 3],
    /// Position of its footprint's middle on the table, base frame, metres.
    pub position_m: [f32; 2],
    /// Turn about z, rad.
    pub yaw_rad: f32,
}

impl Placed {
    /// What it is.
    #[must_use]
    pub fn kind(&self) -> Kind {
        self.shape.kind
    }
}

/// How a scene looks: light, table, cameras, sensor noise.
#[derive(Debug, Clone)]
pub struct Look {
    /// The light.
    pub light: Light,
    /// The table's surface.
    pub table: TableLook,
    /// Colour beyond the table.
    pub background: [f32; 3],
    /// The scene camera, jittered about its nominal mounting.
    pub scene_camera: Camera,
    /// The wrist camera's mounting on the hand, jittered.
    pub hand_from_wrist_camera: Isometry3<f32>,
    /// The wrist camera's vertical field of view, rad.
    pub wrist_fov_rad: f32,
    /// Gain of the sensor per channel.
    pub gain: [f32; 3],
    /// Standard deviation of pixel noise, 8-bit steps.
    pub noise: f32,
}

/// A scene: objects, one of them the target, and a look.
#[derive(Debug, Clone)]
pub struct Scene {
    /// The seed that made it.
    pub seed: u64,
    /// The objects; no two share kind and colour.
    pub objects: Vec<Placed>,
    /// Index of the object that the task is about.
    pub target: usize,
    /// The look.
    pub look: Look,
}

fn shade(rng: &mut impl Rng, paint: Paint) -> [f32; 3] {
    let gain = rng.random_range(0.85..1.15_f32);
    paint.rgb().map(|c| (c * gain + rng.random_range(-0.012..0.012_f32) * (0.2 + c)).clamp(0.0, 0.95))
}

impl Scene {
    /// A scene for "pick up the {colour} {mug|cube}": the target, one object of its shape in
    /// another colour, one of its colour in another shape, and up to two more.
    #[must_use]
    pub fn pick(seed: u64) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let rng = &mut rng;
        let kind = if rng.random_bool(0.5) { Kind::Mug } else { Kind::Cube };
        let paint = Paint::ALL[rng.random_range(0..Paint::ALL.len())];
        let other_kind = {
            let others: Vec<Kind> = Kind::ALL.into_iter().filter(|k| *k != kind).collect();
            others[rng.random_range(0..others.len())]
        };
        let other_paint = {
            let others: Vec<Paint> = Paint::ALL.into_iter().filter(|p| *p != paint).collect();
            others[rng.random_range(0..others.len())]
        };
        let mut wanted = vec![(kind, paint), (kind, other_paint), (other_kind, paint)];
        for _ in 0..rng.random_range(0..=2) {
            let extra = (
                Kind::ALL[rng.random_range(0..Kind::ALL.len())],
                Paint::ALL[rng.random_range(0..Paint::ALL.len())],
            );
            if !wanted.contains(&extra) {
                wanted.push(extra);
            }
        }
        let objects = place(rng, &wanted);
        Self { seed, objects, target: 0, look: Look::random(rng) }
    }

    /// A scene for "pick up the red cube" that is easy to learn: the cube alone, within 4 cm of the middle of
    /// the table and turned by at most 0.3 rad, always in the same light and on the same table.
    #[must_use]
    pub fn pick_one(seed: u64) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let cube = Placed {
            shape: Shape::new(Kind::Cube, 1.0),
            paint: Paint::Red,
            rgb: Paint::Red.rgb(),
            position_m: [rng.random_range(0.46..0.54), rng.random_range(-0.04..0.04)],
            yaw_rad: rng.random_range(-0.3..0.3),
        };
        let look = Look::random(&mut ChaCha8Rng::seed_from_u64(0));
        Self { seed, objects: vec![cube], target: 0, look }
    }

    /// The target.
    #[must_use]
    pub fn target(&self) -> &Placed {
        &self.objects[self.target]
    }
}

/// Places the wanted objects without overlap; an arrangement that gets stuck is started anew.
fn place(rng: &mut impl Rng, wanted: &[(Kind, Paint)]) -> Vec<Placed> {
    let [[x_min, x_max], [y_min, y_max]] = OBJECT_AREA_M.map(|r| r.map(|v| v as f32));
    loop {
        let mut placed: Vec<Placed> = Vec::with_capacity(wanted.len());
        'object: for (kind, paint) in wanted {
            let shape = Shape::new(*kind, rng.random_range(0.93..1.07));
            for _ in 0..60 {
                let position_m = [rng.random_range(x_min..x_max), rng.random_range(y_min..y_max)];
                let clear = placed.iter().all(|p| {
                    let gap = ((p.position_m[0] - position_m[0]).powi(2)
                        + (p.position_m[1] - position_m[1]).powi(2))
                    .sqrt();
                    gap > CLEARANCE_M.max(p.shape.footprint_m() + shape.footprint_m() + 0.02)
                });
                if clear {
                    placed.push(Placed {
                        shape,
                        paint: *paint,
                        rgb: shade(rng, *paint),
                        position_m,
                        yaw_rad: rng.random_range(-std::f32::consts::PI..std::f32::consts::PI),
                    });
                    continue 'object;
                }
            }
            break;
        }
        if placed.len() == wanted.len() {
            return placed;
        }
    }
}

impl Look {
    /// A random look: every quantity varies around a nominal studio.
    #[must_use]
    pub fn random(rng: &mut impl Rng) -> Self {
        let mut near = |middle: f32, spread: f32| middle + rng.random_range(-spread..=spread);
        let light = Light {
            direction_to_light: Vector3::new(near(0.3, 0.45), near(0.0, 0.6), near(1.0, 0.15)).normalize(),
            intensity: near(0.85, 0.15),
            ambient: near(0.42, 0.08),
            tint: [near(1.0, 0.05), near(1.0, 0.03), near(1.0, 0.05)],
        };
        let jitter = Vector3::new(near(0.0, 0.012), near(0.0, 0.012), near(0.0, 0.012));
        let aim = Vector3::new(near(0.0, 0.010), near(0.0, 0.010), 0.0);
        let scene_camera = Camera::look_at(
            Point3::from(SCENE_CAMERA_M) + jitter,
            Point3::from(SCENE_CAMERA_LOOKS_AT_M) + aim,
            Vector3::z(),
            IMAGE_SIDE,
            IMAGE_SIDE,
            near(SCENE_CAMERA_FOV_DEG.to_radians(), 0.6_f32.to_radians()),
        );
        let hand_from_wrist_camera = {
            // On the hand's front, looking past the fingertips. The image's x is the tool's y.
            let mount = Camera::look_at(
                Point3::new(0.076 + near(0.0, 0.002), near(0.0, 0.002), 0.030),
                Point3::new(0.026 + near(0.0, 0.002), near(0.0, 0.002), 0.150),
                -Vector3::x(),
                IMAGE_SIDE,
                IMAGE_SIDE,
                1.0,
            );
            let wobble =
                UnitQuaternion::from_euler_angles(near(0.0, 0.008), near(0.0, 0.008), near(0.0, 0.008));
            mount.world_from_camera * Isometry3::from_parts(Vector3::zeros().into(), wobble)
        };
        let wrist_fov_rad = near(72_f32.to_radians(), 0.8_f32.to_radians());
        let gain = [near(1.0, 0.06), near(1.0, 0.06), near(1.0, 0.06)];
        let noise = near(3.0, 2.0);
        let wood = rng.random_range(0.15..0.55_f32);
        let warm = rng.random_range(0.0..0.35_f32);
        let rgb_a = [wood, wood * (1.0 - 0.45 * warm), wood * (1.0 - warm)];
        let contrast = rng.random_range(0.75..1.0_f32);
        let scale_m = rng.random_range(0.03..0.12);
        let pattern = match rng.random_range(0..4) {
            0 => TablePattern::Plain,
            1 => TablePattern::Checker { scale_m },
            2 => TablePattern::Stripes { scale_m },
            _ => TablePattern::Noise { scale_m },
        };
        let table = TableLook {
            rgb_a,
            rgb_b: rgb_a.map(|c| c * contrast),
            pattern,
            half_extent_m: [0.48, 0.55],
            centre_m: [0.42, 0.0],
        };
        let floor = rng.random_range(0.08..0.5_f32);
        let background =
            [floor, floor * rng.random_range(0.85..1.1_f32), floor * rng.random_range(0.85..1.15_f32)];
        Self { light, table, background, scene_camera, hand_from_wrist_camera, wrist_fov_rad, gain, noise }
    }
}
