//! Draws what both cameras see in a dozen random scenes, four times enlarged, into one PNG:
//! `cargo run --release -p reflexarc-sim --example contact_sheet -- out.png`.
#![allow(clippy::print_stdout, reason = "an example speaks to its user")]

use reflexarc_kinematics::{ARM7_HOME_RAD, ARM7_URDF};
use reflexarc_sim::render::Frame;
use reflexarc_sim::scene::{IMAGE_SIDE, Scene};
use reflexarc_sim::world::{View, World};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let path = std::env::args().nth(1).unwrap_or_else(|| "contact_sheet.png".to_owned());
    let (columns, rows, zoom) = (4_usize, 3_usize, 2_usize);
    let side = IMAGE_SIDE * zoom;
    let mut sheet = image::RgbImage::new((columns * 2 * side) as u32, (rows * side) as u32);
    let mut frame = Frame::default();
    let mut spent = std::time::Duration::ZERO;
    for seed in 0..columns * rows {
        let scene = Scene::pick(seed as u64);
        let target = scene.target().clone();
        let q = if seed % 2 == 0 { ARM7_HOME_RAD } else { [0.1, 0.15, 0.0, -2.3, 0.0, 2.45, 0.9] };
        let mut world = World::new(scene, ARM7_URDF, &q, 0.08, 4)?;
        world.step();
        for camera in 0..2 {
            let view = View::ALL[camera];
            let start = std::time::Instant::now();
            world.render(view, &mut frame);
            spent += start.elapsed();
            let (left, top) = (((seed % columns) * 2 + camera) * side, (seed / columns) * side);
            for y in 0..side {
                for x in 0..side {
                    let at = ((y / zoom) * IMAGE_SIDE + x / zoom) * 3;
                    let rgb = [frame.rgb[at], frame.rgb[at + 1], frame.rgb[at + 2]];
                    sheet.put_pixel((left + x) as u32, (top + y) as u32, image::Rgb(rgb));
                }
            }
        }
        println!("{seed}: {} {}", target.paint.name(), target.shape.kind.name());
    }
    sheet.save(&path)?;
    println!("{path}: {:.3} ms a frame", spent.as_secs_f64() * 1e3 / (columns * rows * 2) as f64);
    Ok(())
}
