//! The scripted expert: from the simulator's full knowledge of a state, what a good policy would
//! do next. It labels demonstrations and bounds what can be learned; nothing in the runtime can
//! reach it. It is a pure function of the state, so any state can be labelled, not only those
//! on its own path.

use nalgebra::{Isometry3, UnitQuaternion, Vector3};

use crate::object::{Kind, Shape};
use crate::world::{ObjectState, World};

/// The gripper's full opening, metres.
pub const OPEN_M: f64 = 0.08;
/// Grip force of a grasp, newtons per finger.
pub const GRIP_N: f64 = 20.0;
/// Grip force of a free motion, newtons per finger.
pub const FREE_N: f64 = 10.0;
/// Rise of the object that counts as done, metres.
pub const LIFTED_M: f64 = 0.12;
/// Rise that the lift aims for, metres.
const LIFT_AIM_M: f64 = 0.16;

/// What to do next, named as the policy names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Step {
    /// Move above the object, gripper open.
    Reach,
    /// Descend around it.
    Approach,
    /// Close.
    Grasp,
    /// Raise it.
    Lift,
    /// Open, and rise clear: something is in the way or wrongly held.
    Retreat,
    /// Hold it up.
    Done,
}

/// The expert's answer for one state.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Advice {
    /// The subtask.
    pub step: Step,
    /// Target position of the tool, base frame, metres.
    pub position_m: [f64; 3],
    /// Target turn of the straight-down tool, rad in [−π/2, π/2).
    pub yaw_rad: f64,
    /// Target opening, metres.
    pub width_m: f64,
    /// Force per finger, newtons.
    pub force_n: f64,
}

/// Folds a grasp yaw into [−π/2, π/2): the gripper is symmetric under half a turn.
#[must_use]
pub fn fold_yaw(yaw_rad: f64) -> f64 {
    use std::f64::consts::{FRAC_PI_2, PI};
    (yaw_rad + FRAC_PI_2).rem_euclid(PI) - FRAC_PI_2
}

/// Pose of the straight-down tool at `position_m` turned by `yaw_rad`.
#[must_use]
pub fn base_from_grasp(position_m: [f64; 3], yaw_rad: f64) -> Isometry3<f64> {
    let turn = UnitQuaternion::from_axis_angle(&Vector3::z_axis(), yaw_rad)
        * UnitQuaternion::from_axis_angle(&Vector3::x_axis(), std::f64::consts::PI);
    Isometry3::from_parts(Vector3::from(position_m).into(), turn)
}

/// Yaw of a roughly straight-down tool, folded.
#[must_use]
pub fn tool_yaw(base_from_tool: &Isometry3<f64>) -> f64 {
    let x = base_from_tool.rotation * Vector3::x();
    fold_yaw(x.y.atan2(x.x))
}

/// Where and how a tool that is now turned by `yaw_now_rad` grasps an object that stands at
/// `object`: position, base frame, metres, and yaw, rad in [−π/2, π/2).
#[must_use]
pub fn grasp(shape: &Shape, object: &ObjectState, yaw_now_rad: f64) -> ([f64; 3], f64) {
    let [x, y, z] = object.position_m;
    let height = z + f64::from(shape.grasp_height_m());
    match shape.kind {
        // Round, and held above the handle: no turn is better than another.
        Kind::Mug => ([x, y, height], 0.0),
        // Of the four ways, the one nearest to the tool's present turn, so that a tool which has
        // begun to turn one way stays with it.
        Kind::Cube => {
            let quarter = std::f64::consts::FRAC_PI_2;
            let turn = (object.yaw_rad - yaw_now_rad + quarter / 2.0).rem_euclid(quarter) - quarter / 2.0;
            ([x, y, height], fold_yaw(yaw_now_rad + turn))
        }
        // Pinch the rim on the side of the table's middle line.
        Kind::Bowl => {
            let side = if y > 0.0 { -1.0 } else { 1.0 };
            ([x, y + side * (f64::from(shape.radius_m) - 0.0025), height], 0.0)
        }
    }
}

/// The expert's advice for picking up object `target` in the state that `world` is in. `None`
/// where it has none: the object has toppled or left the table.
#[must_use]
pub fn advise(world: &World, target: usize) -> Option<Advice> {
    let base_from_tool = world.base_from_tool();
    let tool: [f64; 3] = base_from_tool.translation.vector.into();
    let yaw_now = tool_yaw(&base_from_tool);
    let (width, _) = world.gripper();
    let object = world.object(target);
    let shape = world.shape(target);
    let ([gx, gy, gz], yaw) = grasp(shape, &object, yaw_now);

    let holds = |o: &ObjectState| o.pads_n.iter().all(|f| *f > 0.5);
    if holds(&object) {
        let rise = object.position_m[2];
        let lifted = Advice {
            step: if rise >= LIFTED_M { Step::Done } else { Step::Lift },
            position_m: [tool[0], tool[1], f64::from(shape.grasp_height_m()) + LIFT_AIM_M],
            yaw_rad: yaw_now,
            width_m: 0.0,
            force_n: GRIP_N,
        };
        return Some(lifted);
    }
    if object.tilt_rad > 0.35 || object.position_m[2] > 0.02 || object.position_m[2] < -0.02 {
        return None;
    }
    let open =
        |step, position_m, yaw_rad| Advice { step, position_m, yaw_rad, width_m: OPEN_M, force_n: FREE_N };
    let holds_other = (0..world.object_count()).filter(|i| *i != target).any(|i| holds(&world.object(i)));
    if holds_other {
        return Some(open(Step::Retreat, tool, yaw_now));
    }
    let above_z = gz.max(0.045) + 0.10;
    let (x_m, y_m) = (tool[0] - gx, tool[1] - gy);
    let miss_m = (x_m * x_m + y_m * y_m).sqrt();
    let turn_rad = fold_yaw(yaw_now - yaw).abs();
    let low = tool[2] < above_z - 0.035;
    let closing = width < OPEN_M - 0.008;
    let empty = width < 0.012 && shape.kind != Kind::Bowl;

    // The tolerances are what physics forgives: the gripper opens 24 mm wider than a mug and 38 mm
    // wider than a cube, and closing fingers turn a cube into line whatever its turn. Tighter ones
    // would ask a policy for more than it can see, and it would wait above the object for ever.
    let (over_limit_m, turn_limit_rad) = match shape.kind {
        Kind::Cube => (0.020, std::f64::consts::FRAC_PI_4),
        Kind::Mug | Kind::Bowl => (0.014, 0.45),
    };
    let over_limit_m = if closing { over_limit_m + 0.005 } else { over_limit_m };
    if !empty && miss_m < over_limit_m && (tool[2] - gz).abs() < 0.014 && turn_rad <= turn_limit_rad {
        return Some(Advice {
            step: Step::Grasp,
            position_m: [gx, gy, gz],
            yaw_rad: yaw,
            width_m: 0.0,
            force_n: GRIP_N,
        });
    }
    let miss_allowed_m = if low { 0.028 } else { 0.020 };
    if miss_m < miss_allowed_m && turn_rad <= turn_limit_rad && width > OPEN_M - 0.015 {
        return Some(open(Step::Approach, [gx, gy, gz], yaw));
    }
    if low {
        return Some(open(Step::Retreat, [tool[0], tool[1], above_z], yaw_now));
    }
    Some(open(Step::Reach, [gx, gy, above_z], yaw))
}
