//! From an observation to the numbers that the network reads: patches, touch, posture.
//!
//! Everything here is plain host code without allocation beyond the given buffers, so that
//! training and the robot compute the same numbers by the same lines.
//!
//! The feature maps use a *padded grid*: a map of G × G cells is stored as (G+1) × (G+1) cells,
//! row-major, whose last column and last row are zero. A 3 × 3 neighbourhood of any real cell then
//! is three runs of three consecutive cells in memory, wherever the cell lies, because the zero
//! column that ends one row also starts the next.

use super::config::{PATCH_LEN, PATCH_PX};
use crate::observation::{Observation, TACTILE_LEN, ToolPose};

/// Numbers of both tactile pads together.
pub const TACTILE_PAIR_LEN: usize = 2 * TACTILE_LEN;
/// Joints of the arm that the model was made for.
pub const ARM_JOINTS: usize = 7;
/// Numbers that describe the arm's posture, see [`proprio`].
pub const PROPRIO_LEN: usize = ARM_JOINTS + 3 + 3 * 2 * POSITION_OCTAVES + 4 + 3 + 1 + 2 * WIDTH_OCTAVES;

const POSITION_OCTAVES: usize = 5;
const WIDTH_OCTAVES: usize = 4;
/// Centre of the tool's usual positions, base frame.
const POSITION_CENTRE_M: [f32; 3] = [0.5, 0.0, 0.25];
/// Half of the extent of the tool's usual positions.
const POSITION_HALF_M: [f32; 3] = [0.25, 0.35, 0.25];
const WIDTH_FULL_M: f32 = 0.08;
const TACTILE_UNIT_N: f32 = 5.0;
const TACTILE_LIMIT: f32 = 4.0;

/// Cells of the padded grid of a G × G map: (G+1)².
pub const fn padded_cells(grid: usize) -> usize {
    (grid + 1) * (grid + 1)
}

/// Index of the cell (`row`, `column`) in the padded grid of a `grid` × `grid` map.
pub const fn padded_index(grid: usize, row: usize, column: usize) -> usize {
    row * (grid + 1) + column
}

/// Cuts a square image into 4 × 4 patches on the padded grid of the scene tower.
///
/// `rgb` is `[px, px, 3]`; `out` is `[(g+1)², 48]` with `g = px / 4`, values (x/255 − 0.5) · 4.
/// The padding cells are zero. Returns `false`, writing nothing, when a length does not fit.
pub fn scene_patches(rgb: &[u8], image_px: usize, out: &mut [f32]) -> bool {
    let grid = image_px / PATCH_PX;
    if rgb.len() != image_px * image_px * 3 || out.len() != padded_cells(grid) * PATCH_LEN {
        return false;
    }
    out.fill(0.0);
    for row in 0..grid {
        for column in 0..grid {
            let cell = padded_index(grid, row, column) * PATCH_LEN;
            copy_patch(rgb, image_px, row, column, &mut out[cell..cell + PATCH_LEN]);
        }
    }
    true
}

/// Cuts a square image into 4 × 4 patches for the wrist tower: on the padded grid of 8 × 8-pixel
/// cells, each holding its four patches (upper left, upper right, lower left, lower right).
///
/// `rgb` is `[px, px, 3]`; `out` is `[(g+1)², 4, 48]` with `g = px / 8`, values (x/255 − 0.5) · 4.
/// Returns `false`, writing nothing, when a length does not fit.
pub fn wrist_patches(rgb: &[u8], image_px: usize, out: &mut [f32]) -> bool {
    let grid = image_px / (2 * PATCH_PX);
    if rgb.len() != image_px * image_px * 3 || out.len() != padded_cells(grid) * 4 * PATCH_LEN {
        return false;
    }
    out.fill(0.0);
    for row in 0..grid {
        for column in 0..grid {
            for quarter in 0..4 {
                let cell = (padded_index(grid, row, column) * 4 + quarter) * PATCH_LEN;
                let (fine_row, fine_column) = (2 * row + quarter / 2, 2 * column + quarter % 2);
                copy_patch(rgb, image_px, fine_row, fine_column, &mut out[cell..cell + PATCH_LEN]);
            }
        }
    }
    true
}

fn copy_patch(rgb: &[u8], image_px: usize, row: usize, column: usize, out: &mut [f32]) {
    let run = PATCH_PX * 3;
    for (y, line) in out.chunks_exact_mut(run).enumerate() {
        let start = ((row * PATCH_PX + y) * image_px + column * PATCH_PX) * 3;
        for (value, &byte) in line.iter_mut().zip(&rgb[start..start + run]) {
            *value = f32::from(byte) * (4.0 / 255.0) - 2.0;
        }
    }
}

/// Both tactile pads as the network reads them: newtons / 5, limited to ±4.
///
/// `left_n` and `right_n` hold [`TACTILE_LEN`] forces each; `out` holds [`TACTILE_PAIR_LEN`].
/// Returns `false`, writing nothing, when a length does not fit.
pub fn tactile_pair(left_n: &[f32], right_n: &[f32], out: &mut [f32]) -> bool {
    if left_n.len() != TACTILE_LEN || right_n.len() != TACTILE_LEN || out.len() != TACTILE_PAIR_LEN {
        return false;
    }
    for (value, &force_n) in out.iter_mut().zip(left_n.iter().chain(right_n)) {
        *value = (force_n / TACTILE_UNIT_N).clamp(-TACTILE_LIMIT, TACTILE_LIMIT);
    }
    true
}

/// The arm's posture as the network reads it: joints / 3; the tool's position scaled to about ±1
/// with five octaves of sine and cosine; sine and cosine of the tool's yaw and of twice that (the
/// yaw is the direction in which the fingers open, seen from above); the tool's approach axis; the
/// gripper's opening with four octaves.
///
/// Uses `joints_rad`, `gripper_width_m` and `base_from_tool` of the observation. Missing joints
/// count as zero and surplus ones are dropped: callers check the observation first.
pub fn proprio(observation: &Observation) -> [f32; PROPRIO_LEN] {
    let mut out = [0.0; PROPRIO_LEN];
    let mut at = 0;
    let mut push = |value: f32| {
        if let Some(slot) = out.get_mut(at) {
            *slot = value;
        }
        at += 1;
    };
    for joint in 0..ARM_JOINTS {
        push(observation.joints_rad.get(joint).copied().unwrap_or(0.0) / 3.0);
    }
    let pose = &observation.base_from_tool;
    for axis in 0..3 {
        let scaled = (pose.position_m[axis] - POSITION_CENTRE_M[axis]) / POSITION_HALF_M[axis];
        push(scaled);
        octaves(scaled, POSITION_OCTAVES, &mut push);
    }
    let (fingers, approach) = tool_axes(pose);
    let yaw = fingers[1].hypot(fingers[0]).max(1e-6);
    let (cos, sin) = (fingers[1] / yaw, -fingers[0] / yaw);
    for value in [sin, cos, 2.0 * sin * cos, cos * cos - sin * sin] {
        push(value);
    }
    approach.into_iter().for_each(&mut push);
    let width = 2.0 * observation.gripper_width_m / WIDTH_FULL_M - 1.0;
    push(width);
    octaves(width, WIDTH_OCTAVES, &mut push);
    out
}

fn octaves(value: f32, count: usize, push: &mut impl FnMut(f32)) {
    let mut angle = value * std::f32::consts::FRAC_PI_2;
    for _ in 0..count {
        let (sin, cos) = angle.sin_cos();
        push(sin);
        push(cos);
        angle *= 2.0;
    }
}

/// The tool's finger axis (sign chosen so that a straight-down grasp of yaw r gives
/// (−sin r, cos r)) and its approach axis, both in the base frame.
fn tool_axes(pose: &ToolPose) -> ([f32; 3], [f32; 3]) {
    let [x, y, z, w] = pose.rotation_xyzw;
    let tool_y = [2.0 * (x * y - w * z), 1.0 - 2.0 * (x * x + z * z), 2.0 * (y * z + w * x)];
    let tool_z = [2.0 * (x * z + w * y), 2.0 * (y * z - w * x), 1.0 - 2.0 * (x * x + y * y)];
    // Rz(r) Rx(π) maps the tool's y to (sin r, −cos r): turn it round, the fingers are symmetric.
    (tool_y.map(|value| -value), tool_z)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observation::Observation;

    fn at_yaw(yaw_rad: f32) -> Observation {
        let (sin, cos) = (yaw_rad / 2.0).sin_cos();
        Observation {
            time_ns: 0,
            cameras: vec![],
            tactile: vec![],
            joints_rad: vec![0.3; 7],
            gripper_width_m: 0.08,
            base_from_tool: ToolPose { position_m: [0.5, 0.35, 0.25], rotation_xyzw: [cos, sin, 0.0, 0.0] },
        }
    }

    #[test]
    fn the_yaw_of_a_straight_down_grasp_is_read_from_the_finger_axis() {
        for yaw in [-1.4_f32, -0.5, 0.0, 0.9, 1.5] {
            let features = proprio(&at_yaw(yaw));
            let at = ARM_JOINTS + 3 + 30;
            assert!((features[at] - yaw.sin()).abs() < 1e-5, "{yaw}: {}", features[at]);
            assert!((features[at + 1] - yaw.cos()).abs() < 1e-5);
            assert!((features[at + 2] - (2.0 * yaw).sin()).abs() < 1e-5);
            assert_eq!(
                &features[at + 4..at + 7].iter().map(|v| v.round()).collect::<Vec<_>>(),
                &[0.0, 0.0, -1.0]
            );
        }
    }

    #[test]
    fn all_posture_numbers_are_finite_and_the_last_one_is_filled() {
        let features = proprio(&at_yaw(0.2));
        assert!(features.iter().all(|value| value.is_finite() && value.abs() <= 2.0));
        assert!(features[PROPRIO_LEN - 1].abs() > 1e-3);
    }

    #[test]
    fn patches_land_where_the_padded_grid_wants_them() {
        let px = 16;
        let mut rgb = vec![0_u8; px * px * 3];
        // The pixel (row 5, column 14), green.
        rgb[(5 * px + 14) * 3 + 1] = 255;
        let mut scene = vec![9.0; padded_cells(4) * PATCH_LEN];
        assert!(scene_patches(&rgb, px, &mut scene));
        let inside = (4 + 2) * 3 + 1;
        assert!((scene[padded_index(4, 1, 3) * PATCH_LEN + inside] - 2.0).abs() < 1e-6);
        assert_eq!(scene.iter().filter(|value| **value > 1.0).count(), 1);
        assert!(scene[padded_index(4, 0, 4) * PATCH_LEN..][..PATCH_LEN].iter().all(|value| *value == 0.0));

        let mut wrist = vec![9.0; padded_cells(2) * 4 * PATCH_LEN];
        assert!(wrist_patches(&rgb, px, &mut wrist));
        let cell = (padded_index(2, 0, 1) * 4 + 3) * PATCH_LEN;
        assert!((wrist[cell + inside] - 2.0).abs() < 1e-6);
        assert!(!wrist_patches(&rgb[1..], px, &mut wrist));
    }
}
