//! Where the actions of a chunk lead the tool: each one inside the workspace and above the table.
//!
//! Forward kinematics for each of a hundred actions would cost more than the audit may. The tool cannot move
//! further than each joint's turn times the joint's *lever*, the greatest distance that the arm allows between
//! the joint and the tip. So an action that has turned the joints too little since the last look to use up
//! the room that was left then needs no look of its own. Nothing is missed by that.

use nalgebra::{Point3, Vector3};
use reflexarc_kinematics::{Chain, Joints};
use reflexarc_vla_model::chunk::ActionChunk;

use super::event::{Refusal, Rule};
use super::path::Path;

/// A little outside the box is how learned policies are, and the tool is kept inside; further is no motion, m.
pub const BOX_SLACK_M: f64 = 0.05;
/// The same for the fingers and the table, m: soft pads and tables give that much.
pub const TABLE_SLACK_M: f64 = 0.01;

/// The levers of one arm.
#[derive(Clone, Debug)]
pub(super) struct Levers {
    /// m per rad, or 1 for a joint that slides.
    each: Joints,
}

impl Levers {
    /// Reads the levers off the chain; the tip is `tool_reach_m` beyond its last frame.
    pub(super) fn new(chain: &Chain, tool_reach_m: f64) -> Self {
        let frames = |q: &Joints| {
            let mut frames = Vec::new();
            chain.visit_links(q, |_, base_from_link| frames.push(*base_from_link));
            frames
        };
        let zero = Joints::zeros(chain.dof());
        let straight = frames(&zero);
        // A joint moves all links from some place on; it slides if none of them turns.
        let moved = |joint: usize| {
            let mut q = zero;
            q[joint] = 0.1;
            let there = frames(&q);
            let first = straight.iter().zip(&there).position(|(a, b)| a != b).unwrap_or(straight.len());
            let turns = straight.iter().zip(&there).any(|(a, b)| a.rotation.angle_to(&b.rotation) > 0.01);
            (first, turns)
        };
        let mut lengths: Vec<f64> = straight
            .iter()
            .zip(straight.iter().skip(1))
            .map(|(a, b)| (b.translation.vector - a.translation.vector).norm())
            .collect();
        let joints: Vec<(usize, bool)> = (0..chain.dof()).map(moved).collect();
        for ((first, turns), limits) in joints.iter().zip(chain.limits()) {
            if let (false, Some(length)) = (*turns, first.checked_sub(1).and_then(|at| lengths.get_mut(at))) {
                *length += limits.lower_rad.abs().max(limits.upper_rad.abs());
            }
        }
        let each = Joints::from_fn(chain.dof(), |joint| match joints[joint] {
            (first, true) => lengths.iter().skip(first).sum::<f64>() + tool_reach_m.abs(),
            (_, false) => 1.0,
        });
        Self { each }
    }

    /// Looks at all actions of a chunk whose shape is in order. Work: one product for each value, and one
    /// forward kinematics for each action that may have used up its room.
    pub(super) fn judge(&self, chunk: &ActionChunk, chain: &Chain, path: &Path) -> Result<(), Refusal> {
        let dof = self.each.len();
        let (mut looked_at, mut room_m) = (Joints::zeros(dof), f64::NEG_INFINITY);
        for (index, action) in chunk.actions.chunks_exact(chunk.width.max(1)).enumerate() {
            let way_m: f64 = action
                .iter()
                .zip(looked_at.iter().zip(self.each.iter()))
                .map(|(q, (before, lever))| (f64::from(*q) - before).abs() * lever)
                .sum();
            if way_m <= room_m {
                continue;
            }
            looked_at = Joints::from_fn(dof, |joint| f64::from(action[joint]));
            room_m = room(&looked_at, chain, path, index)?;
        }
        Ok(())
    }
}

/// How far the tip may move before it could break a rule, m.
fn room(q: &Joints, chain: &Chain, path: &Path, index: usize) -> Result<f64, Refusal> {
    let base_from_tool = chain.base_from_tip(q);
    let tool_m = base_from_tool.translation.vector;
    let tip = base_from_tool * Point3::from(Vector3::z() * path.tool_reach_m());
    let tip_m = tip.z.min(tool_m.z);
    let (outside_m, below_m) = path.excess(tool_m.into(), tip_m);
    if outside_m > BOX_SLACK_M {
        return Err(Refusal::new(Rule::Workspace, index, outside_m, BOX_SLACK_M));
    }
    if below_m > TABLE_SLACK_M {
        return Err(Refusal::new(Rule::Table, index, tip_m, path.table_z_m() - TABLE_SLACK_M));
    }
    Ok((BOX_SLACK_M - outside_m).min(TABLE_SLACK_M - below_m))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests fail by panicking")]
mod tests {
    use super::*;
    use crate::config::Config;
    use proptest::prelude::*;
    use reflexarc_kinematics::{ARM5_URDF, ARM7_HOME_RAD, ARM7_URDF};

    fn judged(actions: Vec<f32>) -> Result<(), Refusal> {
        let chain = Chain::from_urdf(ARM7_URDF, "base", "tool").unwrap();
        let path = Path::new(&Config::default());
        let chunk = ActionChunk { observation_ns: 0, period_ns: 20_000_000, width: 8, actions };
        Levers::new(&chain, path.tool_reach_m()).judge(&chunk, &chain, &path)
    }

    /// Every action looked at by itself.
    fn each(actions: &[f32]) -> Option<(usize, Rule)> {
        let one = |action: &[f32]| judged(action.to_vec()).err().map(|refusal| refusal.rule);
        actions.chunks_exact(8).enumerate().find_map(|(index, action)| Some((index, one(action)?)))
    }

    #[test]
    fn a_lever_is_as_long_as_the_arm_beyond_its_joint() {
        let chain = Chain::from_urdf(ARM7_URDF, "base", "tool").unwrap();
        let levers = Levers::new(&chain, 0.02).each;
        // The flange, the hand and the fingers: nothing turns nearer to the tip.
        assert!((levers[6] - (0.107 + 0.1034 + 0.02)).abs() < 1e-9, "{}", levers[6]);
        assert!(levers.iter().zip(levers.iter().skip(1)).all(|(a, b)| a >= b), "{levers:?}");
        let jaw = Chain::from_urdf(ARM5_URDF, "base", "tool").unwrap();
        assert!(Levers::new(&jaw, 0.02).each.iter().all(|lever| *lever > 0.0 && *lever < 1.0));
    }

    proptest! {
        #[test]
        fn leaving_out_looks_misses_nothing(
            speed in prop::collection::vec(-0.03..0.03_f32, 7),
            bend in prop::collection::vec(-0.001..0.001_f32, 7),
        ) {
            let actions: Vec<f32> = (0..60)
                .flat_map(|index| {
                    let t = index as f32;
                    (0..7)
                        .map(|i| ARM7_HOME_RAD[i] as f32 + speed[i] * t + bend[i] * t * t)
                        .chain([0.04])
                        .collect::<Vec<f32>>()
                })
                .collect();
            let found = judged(actions.clone()).err().map(|refusal| (usize::from(refusal.place), refusal.rule));
            prop_assert_eq!(found, each(&actions));
        }
    }
}
