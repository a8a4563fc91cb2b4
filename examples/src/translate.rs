//! The simulator's words and the policy's words for the same things. The two crates do not know
//! each other; only the examples know both.

use reflexarc_sim::expert::{Advice, Step};
use reflexarc_sim::object::{Kind, Paint};
use reflexarc_vla_model::decision::{Color, Object, Subtask, ToolTarget};

/// The policy's word for a kind of object.
#[must_use]
pub fn object(kind: Kind) -> Object {
    match kind {
        Kind::Mug => Object::Mug,
        Kind::Cube => Object::Cube,
        Kind::Bowl => Object::Bowl,
    }
}

/// The policy's word for a colour.
#[must_use]
pub fn color(paint: Paint) -> Color {
    match paint {
        Paint::Red => Color::Red,
        Paint::Green => Color::Green,
        Paint::Blue => Color::Blue,
        Paint::Yellow => Color::Yellow,
        Paint::Orange => Color::Orange,
        Paint::Purple => Color::Purple,
        Paint::White => Color::White,
        Paint::Black => Color::Black,
    }
}

/// The policy's word for a step of the expert.
#[must_use]
pub fn subtask(step: Step) -> Subtask {
    match step {
        Step::Reach => Subtask::Reach,
        Step::Approach => Subtask::Approach,
        Step::Grasp => Subtask::Grasp,
        Step::Lift => Subtask::Lift,
        Step::Retreat => Subtask::Retreat,
        Step::Done => Subtask::Done,
    }
}

/// The expert's advice as a tool target.
#[must_use]
pub fn target(advice: &Advice) -> ToolTarget {
    ToolTarget {
        position_m: advice.position_m,
        yaw_rad: advice.yaw_rad,
        gripper_width_m: advice.width_m,
        gripper_force_n: advice.force_n,
    }
}
