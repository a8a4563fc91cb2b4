//! Behaviour of the renderer, as a camera's user sees it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests fail by panicking")]

use nalgebra::{Isometry3, Point3, Vector3};
use reflexarc_sim::render::{
    Camera, Frame, Instance, Light, Material, Mesh, NEAR_M, RenderScene, Renderer, TableLook, TablePattern,
};
use sha2::{Digest, Sha256};

const GREY: [f32; 3] = [0.35, 0.38, 0.42];

fn instance(mesh: &Mesh, world_from_mesh: Isometry3<f32>, rgb: [f32; 3], id: u16) -> Instance<'_> {
    Instance { mesh, world_from_mesh, material: Material { rgb, specular: 0.3 }, id, casts_shadow: true }
}

fn camera(size: usize) -> Camera {
    Camera::look_at(Point3::new(1.05, 0.1, 0.6), Point3::new(0.46, 0.0, 0.03), Vector3::z(), size, size, 0.75)
}

fn render(camera: &Camera, instances: &[Instance<'_>], supersample: usize) -> Frame {
    let light = Light::default();
    let table = TableLook { pattern: TablePattern::Plain, ..TableLook::default() };
    let scene = RenderScene { instances, light: &light, table: &table, background: GREY };
    let mut frame = Frame::default();
    Renderer::new(supersample).render(camera, &scene, &mut frame);
    frame
}

#[test]
fn projection_agrees_with_the_picture() {
    let ball = Mesh::sphere(0.012, 24);
    for supersample in [1, 2] {
        for position in [[0.4, -0.15, 0.1], [0.55, 0.12, 0.02], [0.35, 0.15, 0.2], [0.5, 0.0, 0.012]] {
            let [x, y, z] = position;
            let camera = camera(128);
            let frame = render(
                &camera,
                &[instance(&ball, Isometry3::translation(x, y, z), [0.8, 0.1, 0.1], 7)],
                supersample,
            );
            let (pixel, depth_m) = camera.project_with_depth(&Point3::from(position)).unwrap();
            let hits: Vec<usize> = (0..frame.id.len()).filter(|&index| frame.id[index] == 7).collect();
            assert!(hits.len() > 8);
            let mean = |of: &dyn Fn(usize) -> usize| {
                hits.iter().map(|&index| of(index) as f32 + 0.5).sum::<f32>() / hits.len() as f32
            };
            let drawn = [mean(&|index| index % frame.width), mean(&|index| index / frame.width)];
            assert!(
                (drawn[0] - pixel[0]).abs() < 0.5 && (drawn[1] - pixel[1]).abs() < 0.5,
                "{drawn:?} {pixel:?}"
            );
            let nearest = hits.iter().map(|&index| frame.depth_m[index]).fold(f32::INFINITY, f32::min);
            assert!((nearest - (depth_m - 0.012)).abs() < 0.002, "{nearest} {depth_m}");
        }
    }
}

#[test]
fn nearer_things_hide_farther_ones_in_any_order() {
    let cube = Mesh::cuboid(Vector3::repeat(0.03));
    let near = instance(&cube, Isometry3::translation(0.56, 0.0, 0.03), [0.8, 0.1, 0.1], 1);
    let far = instance(&cube, Isometry3::translation(0.40, 0.0, 0.03), [0.1, 0.1, 0.8], 2);
    let camera =
        Camera::look_at(Point3::new(1.0, 0.0, 0.03), Point3::new(0.4, 0.0, 0.03), Vector3::z(), 96, 96, 0.6);
    let frame = render(&camera, &[near, far], 1);
    assert_eq!(frame, render(&camera, &[far, near], 1));
    assert!(frame.id.contains(&1) && !frame.id.contains(&2), "the near cube covers the far one wholly");
    let centre = 48 * 96 + 48;
    assert!((frame.depth_m[centre] - 0.41).abs() < 1e-3);
    assert!(frame.rgb[centre * 3] > 2 * frame.rgb[centre * 3 + 2], "and is red");
}

#[test]
fn the_table_hides_what_is_below_it() {
    let cube = Mesh::cuboid(Vector3::repeat(0.03));
    let frame = render(
        &camera(96),
        &[instance(&cube, Isometry3::translation(0.46, 0.0, -0.05), [0.8, 0.1, 0.1], 1)],
        1,
    );
    assert!(!frame.id.contains(&1));
    let half_sunk = render(
        &camera(96),
        &[instance(&cube, Isometry3::translation(0.46, 0.0, 0.0), [0.8, 0.1, 0.1], 1)],
        1,
    );
    let standing = render(
        &camera(96),
        &[instance(&cube, Isometry3::translation(0.46, 0.0, 0.03), [0.8, 0.1, 0.1], 1)],
        1,
    );
    let count = |frame: &Frame| frame.id.iter().filter(|&&id| id == 1).count();
    assert!(count(&half_sunk) > 0 && count(&half_sunk) < count(&standing));
}

#[test]
fn extreme_views_neither_panic_nor_leak_over_the_near_plane() {
    let slab = Mesh::cuboid(Vector3::new(2.0, 2.0, 0.01));
    let mug = Mesh::mug(0.04, 0.035, 0.045, 0.006, 0.026, 0.006, 24);
    let eyes = [
        [0.5, 0.0, 0.045],
        [0.5, 0.0, 0.011],
        [0.539, 0.0, 0.05],
        [0.5, 0.0, 0.0],
        [0.5, 0.0, -0.3],
        [0.5, 0.0, 1e4],
    ];
    for eye in eyes {
        for target in [[0.5, 0.0, -1.0], [1.0, 0.3, 0.02], [0.0, 0.0, 0.5], eye] {
            let camera = Camera::look_at(eye.into(), target.into(), Vector3::z(), 64, 48, 1.4);
            let instances = [
                instance(&slab, Isometry3::identity(), [0.5; 3], 1),
                instance(&mug, Isometry3::translation(0.5, 0.0, 0.045), [0.7, 0.1, 0.1], 2),
            ];
            for supersample in [1, 2] {
                let frame = render(&camera, &instances, supersample);
                assert!(
                    frame
                        .depth_m
                        .iter()
                        .zip(&frame.id)
                        .all(|(&depth_m, &id)| id == 0 || depth_m >= NEAR_M * 0.999)
                );
            }
        }
    }
}

#[test]
fn broken_input_is_drawn_as_far_as_it_can_be() {
    let cube = Mesh::cuboid(Vector3::repeat(0.03));
    let good = instance(&cube, Isometry3::translation(0.46, 0.0, 0.03), [0.8, 0.1, 0.1], 1);
    let lost = instance(&cube, Isometry3::translation(f32::NAN, 0.0, 0.03), [0.8, 0.1, 0.1], 2);
    let frame = render(&camera(64), &[lost, good], 1);
    assert!(frame.id.contains(&1) && !frame.id.contains(&2));
    render(&Camera { width: 0, ..camera(64) }, &[good], 2);
    render(&Camera { vertical_fov_rad: f32::NAN, ..camera(16) }, &[good], 1);
    let table = TableLook {
        pattern: TablePattern::Checker { scale_m: 0.0 },
        half_extent_m: [-1.0, f32::NAN],
        ..TableLook::default()
    };
    let light = Light {
        direction_to_light: Vector3::repeat(f32::NAN),
        intensity: f32::NAN,
        ambient: -1.0,
        tint: [1.0; 3],
    };
    let scene =
        RenderScene { instances: &[good], light: &light, table: &table, background: [f32::NAN, -3.0, 9.0] };
    Renderer::new(9).render(&camera(32), &scene, &mut Frame::default());
}

#[test]
fn shadows_darken_the_table_only() {
    let cube = Mesh::cuboid(Vector3::repeat(0.03));
    let casting = instance(&cube, Isometry3::translation(0.46, 0.0, 0.15), [0.8, 0.1, 0.1], 1);
    let floating = Instance { casts_shadow: false, ..casting };
    let (camera, light) = (camera(96), Light::default());
    let [with, without] = [casting, floating].map(|instance| render(&camera, &[instance], 1));
    let direction = light.direction_to_light / light.direction_to_light.z;
    let shadow = Point3::new(0.46, 0.0, 0.15) - direction * 0.15;
    let [x, y] = camera.project(&shadow).unwrap();
    let pixel = y as usize * with.width + x as usize;
    assert_eq!(with.id[pixel], 0);
    assert!(u32::from(with.rgb[pixel * 3]) * 10 < u32::from(without.rgb[pixel * 3]) * 8);
    for (pixel, &id) in with.id.iter().enumerate() {
        let [dark, bright] = [&with, &without].map(|frame| &frame.rgb[pixel * 3..pixel * 3 + 3]);
        assert!(dark.iter().zip(bright).all(|(dark, bright)| dark <= bright));
        assert!(id == 0 || dark == bright);
    }
}

#[test]
fn a_mug_is_hollow() {
    let mug = Mesh::mug(0.04, 0.035, 0.045, 0.006, 0.026, 0.006, 32);
    let frame = render(
        &Camera::look_at(Point3::new(0.5, 0.0, 0.6), Point3::new(0.5, 0.0, 0.0), Vector3::x(), 96, 96, 0.4),
        &[instance(&mug, Isometry3::translation(0.5, 0.0, 0.045), [0.7, 0.1, 0.1], 1)],
        1,
    );
    let depth_at = |x: usize, y: usize| frame.depth_m[y * 96 + x];
    assert!((depth_at(48, 48) - 0.594).abs() < 1e-3, "the floor inside, {}", depth_at(48, 48));
    assert!(
        frame.depth_m.iter().zip(&frame.id).any(|(&depth_m, &id)| id == 1 && (depth_m - 0.51).abs() < 2e-3),
        "the rim"
    );
}

#[test]
fn the_same_scene_gives_the_same_bytes() {
    let shapes = [
        Mesh::mug(0.04, 0.035, 0.045, 0.006, 0.026, 0.006, 24),
        Mesh::bowl(0.065, 0.03, 0.024, 0.004, 24),
        Mesh::capsule(0.03, 0.05, 16),
    ];
    let instances: Vec<Instance<'_>> = (0..12u16)
        .map(|index| {
            let place = f32::from(index);
            let position = Vector3::new(0.35 + 0.02 * place, -0.2 + 0.035 * place, 0.045);
            instance(
                &shapes[usize::from(index) % 3],
                Isometry3::new(position, Vector3::z() * place),
                [0.1 + 0.05 * place, 0.3, 0.2],
                index + 1,
            )
        })
        .collect();
    let light = Light::default();
    let table = TableLook::default();
    let scene = RenderScene { instances: &instances, light: &light, table: &table, background: GREY };
    for supersample in [1, 2] {
        let digest = |frame: &Frame| {
            let mut hash = Sha256::new();
            hash.update(&frame.rgb);
            frame.id.iter().for_each(|id| hash.update(id.to_le_bytes()));
            frame.depth_m.iter().for_each(|depth_m| hash.update(depth_m.to_bits().to_le_bytes()));
            hash.finalize()
        };
        let mut frame = Frame::default();
        let mut renderer = Renderer::new(supersample);
        renderer.render(&camera(96), &scene, &mut frame);
        let first = digest(&frame);
        // A used renderer and frame, of another size before, must not show.
        renderer.render(&camera(33), &RenderScene { instances: &instances[..3], ..scene }, &mut frame);
        renderer.render(&camera(96), &scene, &mut frame);
        assert_eq!(first, digest(&frame));
        let mut fresh = Frame::default();
        Renderer::new(supersample).render(&camera(96), &scene, &mut fresh);
        assert_eq!(first, digest(&fresh));
    }
}
