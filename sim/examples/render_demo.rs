//! Renders a demonstration table from two cameras, writes PNG files and prints what a frame costs.
//!
//! `cargo run --release -p reflexarc-sim --example render_demo -- [FOLDER]`; the folder defaults to the system's
//! temporary one.
#![allow(
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a demonstration talks and reads the clock"
)]

use std::error::Error;
use std::path::PathBuf;
use std::time::Instant;

use nalgebra::{Isometry3, Point3, Translation3, UnitQuaternion, Vector3};
use rand::SeedableRng;
use reflexarc_sim::render::{
    Camera, Frame, Instance, Light, Material, Mesh, RenderScene, Renderer, SensorNoise, TableLook,
    TablePattern,
};

const COLOURS: [(&str, [f32; 3]); 8] = [
    ("red", [0.62, 0.03, 0.03]),
    ("green", [0.04, 0.36, 0.07]),
    ("blue", [0.03, 0.10, 0.58]),
    ("yellow", [0.83, 0.60, 0.03]),
    ("orange", [0.85, 0.22, 0.02]),
    ("purple", [0.23, 0.04, 0.38]),
    ("white", [0.82, 0.82, 0.80]),
    ("black", [0.015, 0.015, 0.018]),
];

/// Shapes of the demonstration, made once and placed often.
struct Shapes {
    mug: Mesh,
    cube: Mesh,
    bowl: Mesh,
    links: [Mesh; 4],
}

impl Shapes {
    fn new() -> Self {
        Self {
            mug: Mesh::mug(0.038, 0.034, 0.045, 0.006, 0.024, 0.0055, 32),
            cube: Mesh::cuboid(Vector3::repeat(0.022)),
            bowl: Mesh::bowl(0.065, 0.03, 0.024, 0.004, 32),
            links: [
                Mesh::rounded_cylinder(0.06, 0.15, 0.03, 32),
                Mesh::capsule(0.05, 0.16, 24),
                Mesh::capsule(0.04, 0.18, 24),
                Mesh::cuboid(Vector3::new(0.02, 0.01, 0.03)),
            ],
        }
    }

    fn place(&self) -> Vec<Instance<'_>> {
        let at = |x: f32, y: f32, z: f32, yaw_rad: f32| {
            Isometry3::from_parts(
                Translation3::new(x, y, z),
                UnitQuaternion::from_axis_angle(&Vector3::z_axis(), yaw_rad),
            )
        };
        let mut instances = Vec::new();
        let mut add = |mesh, world_from_mesh, colour: usize, specular| {
            let id = instances.len() as u16 + 1;
            let material = Material { rgb: COLOURS[colour].1, specular };
            instances.push(Instance { mesh, world_from_mesh, material, id, casts_shadow: true });
        };
        add(&self.mug, at(0.40, -0.16, 0.045, 0.6), 0, 0.5);
        add(&self.mug, at(0.55, 0.02, 0.045, -1.2), 2, 0.5);
        add(&self.mug, at(0.38, 0.16, 0.045, 2.4), 6, 0.5);
        add(&self.bowl, at(0.56, 0.17, 0.024, 0.0), 3, 0.4);
        add(&self.bowl, at(0.60, -0.15, 0.024, 0.0), 1, 0.4);
        add(&self.cube, at(0.46, -0.03, 0.022, 0.4), 4, 0.1);
        add(&self.cube, at(0.48, 0.09, 0.022, 1.0), 5, 0.1);
        add(&self.cube, at(0.50, -0.11, 0.022, 0.1), 7, 0.3);
        add(&self.cube, at(0.64, 0.03, 0.022, 0.7), 0, 0.1);
        let tilt = |pose: Isometry3<f32>, pitch_rad: f32| {
            pose * UnitQuaternion::from_axis_angle(&Vector3::y_axis(), pitch_rad)
        };
        add(&self.links[0], at(0.0, 0.0, 0.15, 0.0), 6, 0.3);
        add(&self.links[1], tilt(at(0.06, 0.0, 0.45, 0.0), 0.4), 6, 0.3);
        add(&self.links[2], tilt(at(0.26, 0.0, 0.52, 0.0), 1.9), 6, 0.3);
        add(&self.links[3], at(0.43, 0.0, 0.42, 0.0), 7, 0.3);
        instances
    }
}

fn save(frame: &Frame, path: &PathBuf) -> Result<(), Box<dyn Error>> {
    let image = image::RgbImage::from_raw(frame.width as u32, frame.height as u32, frame.rgb.clone());
    image.ok_or("the frame's bytes do not fill its size")?.save(path)?;
    println!("wrote {}", path.display());
    Ok(())
}

fn main() -> Result<(), Box<dyn Error>> {
    let folder = std::env::args_os().nth(1).map_or_else(std::env::temp_dir, PathBuf::from);
    std::fs::create_dir_all(&folder)?;
    let shapes = Shapes::new();
    let instances = shapes.place();
    let scene_camera = |size| {
        let eye = Point3::new(1.05, 0.0, 0.62);
        Camera::look_at(eye, Point3::new(0.46, 0.0, 0.03), Vector3::z(), size, size, 0.72)
    };
    let wrist_camera = |size| {
        let eye = Point3::new(0.47, 0.0, 0.30);
        Camera::look_at(eye, Point3::new(0.49, 0.0, 0.0), Vector3::x(), size, size, 1.2)
    };
    let tables = [
        ("noise", TableLook::default()),
        (
            "checker",
            TableLook {
                rgb_a: [0.45, 0.47, 0.48],
                rgb_b: [0.27, 0.31, 0.34],
                pattern: TablePattern::Checker { scale_m: 0.05 },
                ..TableLook::default()
            },
        ),
        (
            "stripes",
            TableLook {
                rgb_a: [0.50, 0.33, 0.18],
                rgb_b: [0.42, 0.26, 0.13],
                pattern: TablePattern::Stripes { scale_m: 0.03 },
                ..TableLook::default()
            },
        ),
    ];
    let light = Light::default();
    let mut frame = Frame::default();
    for (name, table) in &tables {
        let scene =
            RenderScene { instances: &instances, light: &light, table, background: [0.35, 0.38, 0.42] };
        for (view, size, supersample) in
            [("scene", 96, 1), ("scene", 384, 2), ("wrist", 96, 1), ("wrist", 384, 2)]
        {
            let camera = if view == "scene" { scene_camera(size) } else { wrist_camera(size) };
            Renderer::new(supersample).render(&camera, &scene, &mut frame);
            if size == 96 {
                let noise = SensorNoise { gain_rgb: [1.0; 3], sigma_counts: 3.0 };
                noise.apply(&mut frame, &mut rand_chacha::ChaCha8Rng::seed_from_u64(1));
            }
            save(&frame, &folder.join(format!("render_{name}_{view}_{size}.png")))?;
        }
    }

    let triangles: usize = instances.iter().map(|instance| instance.mesh.triangles().len()).sum();
    println!("{triangles} triangles, all casting shadows; one thread; milliseconds per frame");
    for (name, table) in &tables {
        let scene =
            RenderScene { instances: &instances, light: &light, table, background: [0.35, 0.38, 0.42] };
        for (size, supersample, moves) in
            [(96, 1, false), (96, 1, true), (96, 2, false), (128, 1, false), (128, 2, false)]
        {
            let mut renderer = Renderer::new(supersample);
            let mut camera = scene_camera(size);
            let mut times_ms: Vec<f64> = (0..300)
                .map(|frame_number| {
                    if moves {
                        camera.world_from_camera.translation.x = 1.05 + 1e-4 * (frame_number % 7) as f32;
                    }
                    let start = Instant::now();
                    renderer.render(&camera, &scene, &mut frame);
                    start.elapsed().as_secs_f64() * 1e3
                })
                .collect();
            times_ms.sort_by(f64::total_cmp);
            let (best, median) = (times_ms[0], times_ms[times_ms.len() / 2]);
            let motion = if moves { "moving" } else { "still" };
            println!(
                "{name:8} {size} px, supersample {supersample}, {motion:6} camera: best {best:.3}, median {median:.3}"
            );
        }
    }
    Ok(())
}
