//! Tactile pads from contact forces: each contact's normal force and shear, splatted over a grid
//! of taxels. The taxels of a pad sum to the pad's total force.

use rapier3d::geometry::PairContacts;
use rapier3d::prelude as rp;

/// Taxel rows of a pad, along the finger (towards the fingertip).
pub const ROWS: usize = 4;
/// Taxel columns of a pad, across the finger.
pub const COLUMNS: usize = 4;
/// Channels of a taxel: shear across, shear along, normal; newtons.
pub const CHANNELS: usize = 3;
/// Values of one pad.
pub const TAXELS: usize = ROWS * COLUMNS * CHANNELS;

/// Width of the splat, in taxel pitches.
const SIGMA: f32 = 0.6;
/// A pad reads no more than this per taxel, newtons.
const SATURATION_N: f32 = 40.0;

/// Half extents of the sensitive face: across (x) and along (z) the finger, metres.
const HALF_FACE_M: [f32; 2] = [0.010, 0.020];

/// What a pad feels, `[ROWS, COLUMNS, CHANNELS]` row-major, newtons.
#[must_use]
pub fn read(world: &rp::PhysicsWorld, pad: rp::ColliderHandle) -> [f32; TAXELS] {
    let mut taxels = [0.0; TAXELS];
    let Some(world_from_pad) = world.colliders.get(pad).map(|c| *c.position()) else { return taxels };
    let parameters = &world.integration_parameters;
    let per_substep = parameters.num_solver_iterations as f32 / parameters.dt;
    for pair in world.narrow_phase.contact_pairs_with(pad) {
        let PairContacts::Rigid(contacts) = &pair.contacts else { continue };
        let side = if pair.collider1 == pad { 1.0 } else { -1.0 };
        for manifold in contacts.solver_manifolds() {
            for contact in manifold.data.solver_contacts.iter() {
                // Only active contacts carry current impulses; others keep stale ones.
                let index = contact.contact_indices()[0] as usize;
                let Some(point) = manifold.points.get(index) else { continue };
                let normal_n = point.data.impulse / parameters.dt;
                if normal_n <= 0.0 {
                    continue;
                }
                let (on_1, on_2) = manifold.data.solver_contact_world_points(contact, &world.bodies);
                let at = world_from_pad.inverse_transform_point((on_1 + on_2) * 0.5);
                let shear_world = point.data.warmstart_tangent_world * (per_substep * side);
                let shear = world_from_pad.inverse_transform_vector(shear_world);
                splat(&mut taxels, [at.x, at.z], [shear.x, shear.z, normal_n]);
            }
        }
    }
    for value in &mut taxels {
        *value = value.clamp(-SATURATION_N, SATURATION_N);
    }
    taxels
}

/// Spreads one contact's force over the grid; the weights sum to one.
fn splat(taxels: &mut [f32; TAXELS], at_m: [f32; 2], force_n: [f32; CHANNELS]) {
    let cell = |value: f32, half: f32, count: usize| {
        ((value / half + 1.0) * 0.5 * count as f32 - 0.5).clamp(0.0, count as f32 - 1.0)
    };
    let column = cell(at_m[0], HALF_FACE_M[0], COLUMNS);
    let row = cell(at_m[1], HALF_FACE_M[1], ROWS);
    let mut weights = [0.0_f32; ROWS * COLUMNS];
    for r in 0..ROWS {
        for c in 0..COLUMNS {
            let d2 = (r as f32 - row).powi(2) + (c as f32 - column).powi(2);
            weights[r * COLUMNS + c] = (-d2 / (2.0 * SIGMA * SIGMA)).exp();
        }
    }
    let sum: f32 = weights.iter().sum();
    for (cell, weight) in weights.iter().enumerate() {
        for (channel, force) in force_n.iter().enumerate() {
            taxels[cell * CHANNELS + channel] += force * weight / sum;
        }
    }
}

/// Sum of the normal channel, newtons.
#[must_use]
pub fn normal_n(taxels: &[f32; TAXELS]) -> f32 {
    taxels.iter().skip(2).step_by(CHANNELS).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_splat_keeps_the_force() {
        for at in [[0.0, 0.0], [0.01, -0.02], [0.5, 0.5], [-0.003, 0.011]] {
            let mut taxels = [0.0; TAXELS];
            splat(&mut taxels, at, [1.0, -2.0, 15.0]);
            assert!((normal_n(&taxels) - 15.0).abs() < 1e-4);
        }
    }
}
