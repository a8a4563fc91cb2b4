//! Demonstrations: rollouts of the scripted expert, disturbed on purpose, every frame labelled
//! with what the expert would do for every object in view. Labels come from the state, not from
//! the path, so a policy can also learn the way back from its own errors.

use anyhow::Result;
use rand::{Rng, RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use reflexarc_sim::expert::{self, Advice};
use reflexarc_sim::object::{Kind, Paint};
use reflexarc_sim::render::{Camera, Frame};
use reflexarc_sim::scene::{IMAGE_SIDE, Scene};
use reflexarc_sim::tactile::TAXELS;
use reflexarc_sim::world::{OBJECT_ID, View, World};
use reflexarc_vla_model::decision::ToolTarget;

use crate::rig::{Rig, TICK_HZ};
use crate::translate;

/// Cells per side of the scene camera's label grid.
pub const SCENE_CELLS: usize = 24;
/// Cells per side of the wrist camera's label grid.
pub const WRIST_CELLS: usize = 12;

/// One object in one frame.
#[derive(Debug, Clone)]
pub struct Seen {
    /// What it is.
    pub kind: Kind,
    /// Its colour.
    pub paint: Paint,
    /// What the expert would do to pick it up; `None` when it has no advice.
    pub advice: Option<Advice>,
    /// Where its grasp point appears in the scene image (0..1), clamped to the frame.
    pub scene_uv: [f32; 2],
    /// Is any of it visible in the scene image?
    pub in_scene: bool,
    /// Where its grasp point appears in the wrist image (0..1), when inside it.
    pub wrist_uv: Option<[f32; 2]>,
}

/// One labelled frame.
#[derive(Debug, Clone)]
pub struct Sample {
    /// Scene image, rgb8, [`IMAGE_SIDE`] squared.
    pub scene: Box<[u8]>,
    /// Wrist image, likewise.
    pub wrist: Box<[u8]>,
    /// Left and right pad, newtons.
    pub tactile: [[f32; TAXELS]; 2],
    /// Joint angles, rad.
    pub joints_rad: [f32; 7],
    /// The gripper's opening, metres.
    pub width_m: f32,
    /// Tool position, base frame, metres.
    pub tool_m: [f32; 3],
    /// Tool orientation in the base frame, quaternion x y z w.
    pub tool_xyzw: [f32; 4],
    /// Every object.
    pub objects: Vec<Seen>,
    /// The object that the rollout was after.
    pub target: usize,
    /// Which object each cell of the scene image shows, row-major; 255 for none.
    pub scene_cells: Box<[u8]>,
    /// Likewise for the wrist image.
    pub wrist_cells: Box<[u8]>,
}

/// Renders and labels the state that `world` is in.
#[must_use]
pub fn observe(world: &mut World, target: usize, frames: &mut [Frame; 2]) -> Sample {
    let cameras = View::ALL.map(|view| world.camera(view));
    for (view, frame) in View::ALL.into_iter().zip(frames.iter_mut()) {
        world.render(view, frame);
    }
    let uv = |camera: &Camera, point: [f64; 3]| {
        let point = nalgebra::Point3::from(point).cast::<f32>();
        camera.project(&point).map(|[x, y]| [x / IMAGE_SIDE as f32, y / IMAGE_SIDE as f32])
    };
    let objects = (0..world.object_count())
        .map(|i| {
            let placed = world.placed(i);
            let (point, _) = expert::grasp(&placed.shape, &world.object(i), 0.0);
            let inside = |p: &[f32; 2]| p.iter().all(|v| (0.0..1.0).contains(v));
            let id = OBJECT_ID + i as u16;
            Seen {
                kind: placed.kind(),
                paint: placed.paint,
                advice: expert::advise(world, i),
                scene_uv: uv(&cameras[0], point).unwrap_or([0.5; 2]).map(|v| v.clamp(0.0, 0.999)),
                in_scene: frames[0].id.iter().filter(|p| **p == id).count() >= 4,
                wrist_uv: uv(&cameras[1], point).filter(inside),
            }
        })
        .collect();
    let (q, _) = world.joints();
    let (width, _) = world.gripper();
    let pose = world.base_from_tool().cast::<f32>();
    let r = pose.rotation.coords;
    Sample {
        scene: frames[0].rgb.clone().into_boxed_slice(),
        wrist: frames[1].rgb.clone().into_boxed_slice(),
        tactile: world.tactile(),
        joints_rad: q.map(|v| v as f32),
        width_m: width as f32,
        tool_m: pose.translation.vector.into(),
        tool_xyzw: [r.x, r.y, r.z, r.w],
        objects,
        target,
        scene_cells: cells(&frames[0], SCENE_CELLS),
        wrist_cells: cells(&frames[1], WRIST_CELLS),
    }
}

/// Which object fills at least a quarter of each cell.
fn cells(frame: &Frame, side: usize) -> Box<[u8]> {
    let size = IMAGE_SIDE / side;
    let mut grid = vec![255_u8; side * side].into_boxed_slice();
    for (cell, label) in grid.iter_mut().enumerate() {
        let (row, column) = (cell / side, cell % side);
        let mut counts = [0_usize; 16];
        for y in row * size..(row + 1) * size {
            for x in column * size..(column + 1) * size {
                let id = frame.id[y * IMAGE_SIDE + x];
                if let Some(count) = id.checked_sub(OBJECT_ID).and_then(|i| counts.get_mut(usize::from(i))) {
                    *count += 1;
                }
            }
        }
        let most = (0..counts.len()).max_by_key(|i| counts[*i]).unwrap_or(0);
        if counts[most] * 4 >= size * size {
            *label = most as u8;
        }
    }
    grid
}

/// How a rollout is disturbed.
#[derive(Debug, Clone, Copy)]
pub struct Disturbance {
    /// Chance per second of a push off the path.
    pub pushes_per_s: f64,
    /// Chance that the rollout starts somewhere else than at home.
    pub random_start: f64,
}

/// The two image buffers of a rollout.
#[must_use]
pub fn frames() -> [Frame; 2] {
    std::array::from_fn(|_| Frame::default())
}

/// A random start: anywhere above the table, or near an object.
fn random_start(rng: &mut impl Rng, scene: &Scene) -> ToolTarget {
    use std::f64::consts::FRAC_PI_2;
    let near = rng.random_bool(0.6);
    let placed = &scene.objects
        [if rng.random_bool(0.7) { scene.target } else { rng.random_range(0..scene.objects.len()) }];
    let spread = rng.random_range(0.004..0.06);
    let mut offset = || rng.random_range(-spread..spread);
    let (x, y) = if near {
        (f64::from(placed.position_m[0]) + offset(), f64::from(placed.position_m[1]) + offset())
    } else {
        (rng.random_range(0.36..0.66), rng.random_range(-0.24..0.24))
    };
    // Below this the fingers could start inside an object.
    let floor = if near && spread < 0.012 { f64::from(placed.shape.grasp_height_m()) } else { 0.125 };
    let z = rng.random_range(floor..if near { 0.24 } else { 0.40 });
    let good_yaw = match placed.shape.kind {
        Kind::Cube => expert::fold_yaw(f64::from(placed.yaw_rad)),
        Kind::Mug | Kind::Bowl => 0.0,
    };
    let yaw_rad = if z < 0.125 || rng.random_bool(0.4) {
        good_yaw + rng.random_range(-0.15..0.15)
    } else {
        rng.random_range(-FRAC_PI_2..FRAC_PI_2)
    };
    let gripper_width_m = if z < 0.125 || rng.random_bool(0.75) { 0.08 } else { rng.random_range(0.0..0.08) };
    ToolTarget { position_m: [x, y, z], yaw_rad, gripper_width_m, gripper_force_n: 10.0 }
}

/// Who moves the arm in a rollout.
pub enum Driver<'a> {
    /// The scripted expert.
    Expert,
    /// A policy: shown each labelled frame, it answers with a target, or with none to hold.
    Policy(&'a mut dyn FnMut(&Sample) -> Option<ToolTarget>),
}

/// How long a rollout is, and how often a frame is kept.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    /// Longest duration, seconds.
    pub length_s: f64,
    /// Mean time between kept frames, seconds.
    pub frame_every_s: f64,
}

/// One disturbed rollout; calls `keep` with each labelled frame. Deterministic in `seed` (and in
/// the policy). Returns whether the object that it was after ended up lifted.
///
/// # Errors
/// When the built-in robot is refused.
pub fn rollout(
    seed: u64,
    disturbance: Disturbance,
    pace: Pace,
    mut driver: Driver<'_>,
    keep: &mut dyn FnMut(Sample),
) -> Result<bool> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed ^ 0x5eed);
    let scene = Scene::pick(seed);
    let start = rng.random_bool(disturbance.random_start).then(|| random_start(&mut rng, &scene));
    let after = if rng.random_bool(0.85) { scene.target } else { rng.random_range(0..scene.objects.len()) };
    let mut rig = Rig::new(scene, start.as_ref(), 2)?;
    let mut frames = frames();
    let ticks = (pace.length_s * TICK_HZ) as usize;
    let frame_ticks = ((pace.frame_every_s * TICK_HZ) as usize).max(2);
    let mut next_frame = rng.random_range(0..frame_ticks);
    let mut goal: Option<ToolTarget> = None;
    let mut push: Option<(ToolTarget, usize)> = None;
    let mut done_ticks = 0;
    for tick in 0..ticks {
        let thinks = match driver {
            // The expert thinks at 60 Hz, as the policy will on the robot; here the policy at 20.
            Driver::Expert => tick % 4 == 0,
            Driver::Policy(_) => tick % 12 == 0,
        };
        let keeps = tick >= next_frame;
        if thinks {
            let advice = expert::advise(&rig.world, after);
            if advice.is_some_and(|a| a.step == expert::Step::Done) {
                done_ticks += if matches!(driver, Driver::Expert) { 4 } else { 12 };
            }
            if done_ticks > 120 {
                break;
            }
            match &mut driver {
                Driver::Expert => goal = advice.as_ref().map(translate::target).or(goal),
                Driver::Policy(policy) => {
                    let sample = observe(&mut rig.world, after, &mut frames);
                    goal = policy(&sample).or(goal);
                    if keeps {
                        keep(sample);
                    }
                }
            }
            let chance = disturbance.pushes_per_s * if matches!(driver, Driver::Expert) { 4.0 } else { 12.0 }
                / TICK_HZ;
            if push.is_none()
                && rng.random_bool(chance.min(1.0))
                && let Some(base) = goal
            {
                push = Some((pushed(&mut rng, &rig.world, &base), tick + rng.random_range(30..130)));
            }
        }
        if keeps && (thinks || matches!(driver, Driver::Expert)) {
            if matches!(driver, Driver::Expert) {
                keep(observe(&mut rig.world, after, &mut frames));
            }
            next_frame = tick + rng.random_range(frame_ticks / 2..=frame_ticks * 3 / 2).max(1);
        }
        if push.is_some_and(|(_, until)| tick >= until) {
            push = None;
        }
        let tool_now = || {
            let pose = rig.world.base_from_tool();
            let (width, _) = rig.world.gripper();
            ToolTarget {
                position_m: pose.translation.vector.into(),
                yaw_rad: expert::tool_yaw(&pose),
                gripper_width_m: width,
                gripper_force_n: 10.0,
            }
        };
        let target = push.map(|(t, _)| t).or(goal).unwrap_or_else(tool_now);
        rig.tick(&target);
    }
    Ok(rig.world.object(after).position_m[2] >= reflexarc_sim::task::LIFT_M)
}

/// A target off the path: displaced, turned, or with the gripper doing the wrong thing.
fn pushed(rng: &mut impl Rng, world: &World, base: &ToolTarget) -> ToolTarget {
    let tool: [f64; 3] = world.base_from_tool().translation.vector.into();
    let size = rng.random_range(0.01..0.07);
    let mut by = |i: usize| tool[i] + rng.random_range(-size..size);
    let position_m = [by(0), by(1), by(2).max(0.024)];
    let mut target = ToolTarget { position_m, ..*base };
    if rng.random_bool(0.4) {
        target.yaw_rad = expert::fold_yaw(base.yaw_rad + rng.random_range(-0.7..0.7));
    }
    match rng.random_range(0..4) {
        0 => target.gripper_width_m = 0.0,
        1 => target.gripper_width_m = 0.08,
        _ => {}
    }
    target
}
