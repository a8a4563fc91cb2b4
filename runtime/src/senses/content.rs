//! Whether a message says what it should: names, shapes, finite numbers, plausible ranges.

use reflexarc_drivers::msg::{Float32MultiArray, Image, JointState};
use reflexarc_kinematics::{Chain, Joints};

use super::{Body, Touch};
use crate::config::SenseConfig;

/// A joint reading further than this outside its limits is garbage, rad.
const RANGE_SLACK_RAD: f64 = 0.2;
/// The same for the gripper's opening, m.
const WIDTH_SLACK_M: f64 = 0.02;

/// Why a message's content is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refused {
    Shape,
    Names,
    NonFinite,
    Range,
}

pub(super) fn read_joints(
    chain: &Chain,
    gripper: &str,
    width_max_m: f64,
    state: &JointState,
) -> Result<Body, Refused> {
    if state.name.len() != state.position.len() {
        return Err(Refused::Shape);
    }
    let position = |wanted: &str| {
        let mut found = state.name.iter().zip(&state.position).filter(|(name, _)| *name == wanted);
        match (found.next(), found.next()) {
            (Some((_, position)), None) => Ok(*position),
            _ => Err(Refused::Names),
        }
    };
    let mut q = Joints::zeros(chain.dof());
    for (q, name) in q.iter_mut().zip(chain.joint_names()) {
        *q = position(name)?;
    }
    let width_m = position(gripper)?;
    if !q.is_finite() || !width_m.is_finite() {
        return Err(Refused::NonFinite);
    }
    let outside = q.iter().zip(chain.limits()).any(|(q, limits)| !limits.contains(*q, RANGE_SLACK_RAD));
    if outside || width_m < -WIDTH_SLACK_M || width_m > width_max_m + WIDTH_SLACK_M {
        return Err(Refused::Range);
    }
    Ok(Body {
        stamp_ns: 0,
        q,
        gripper_width_m: width_m.clamp(0.0, width_max_m),
        base_from_tool: chain.base_from_tip(&q),
    })
}

/// Whether the picture is black.
pub(super) fn read_image(config: &SenseConfig, image: &Image) -> Result<bool, Refused> {
    let (width, height) = (config.camera_width_px, config.camera_height_px);
    let row = u64::from(width) * 3;
    let right = image.encoding == "rgb8"
        && (image.width, image.height) == (width, height)
        && u64::from(image.step) == row
        && image.data.len() as u64 == row * u64::from(height);
    if !right {
        return Err(Refused::Shape);
    }
    Ok(image.data.iter().all(|byte| *byte < config.black_below))
}

/// What a pad feels as a whole. The last channel is the normal force; with three and more, the first two are shear.
pub(super) fn read_pad(config: &SenseConfig, array: &Float32MultiArray) -> Result<Touch, Refused> {
    let shape = config.tactile_shape;
    let dims = &array.layout.dim;
    let right = dims.len() == shape.len()
        && dims.iter().zip(shape).all(|(dim, side)| dim.size == side)
        && array.layout.data_offset == 0
        && array.data.len() == shape.iter().map(|side| *side as usize).product::<usize>();
    if !right {
        return Err(Refused::Shape);
    }
    if !array.data.iter().all(|value| value.is_finite()) {
        return Err(Refused::NonFinite);
    }
    let channels = shape[2] as usize;
    let sum = |channel: usize| -> f64 {
        array.data.iter().skip(channel).step_by(channels).map(|force_n| f64::from(*force_n)).sum()
    };
    let shear_n = if channels >= 3 { [sum(0), sum(1)] } else { [0.0; 2] };
    Ok(Touch { normal_n: sum(channels - 1), shear_n, frame: 0 })
}
