//! How fast the tool's origin moves while the joints come to rest.

use nalgebra::Vector3;

use crate::chain::{Chain, Jacobian};
use crate::joints::{Joints, MAX_DOF};
use crate::stop::{Brakes, Moving};

/// Bounds the tool's movement per tick along a stop, exactly only where cheaper bounds do not settle it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ToolSpeed {
    /// How far the tool may move per tick, m; infinite for no limit.
    pub(crate) step_m: f64,
    levers_m: [f64; MAX_DOF],
}

/// Where a [`ToolSpeed`] last looked: the tool there and the Jacobian, and the tool one tick before the next.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reference {
    q: Joints,
    jacobian: Jacobian,
    tool_before_m: Option<Vector3<f64>>,
}

impl Reference {
    pub(crate) fn at(chain: &Chain, q: &Joints) -> Self {
        let mut jacobian = Jacobian::default();
        let tip = chain.tip_and_jacobian(q, &mut jacobian);
        Self { q: *q, jacobian, tool_before_m: Some(tip.translation) }
    }
}

impl ToolSpeed {
    /// `furthest` bounds each joint's distance from zero.
    pub(crate) fn new(chain: &Chain, step_m: f64, furthest: &[f64]) -> Self {
        Self { step_m, levers_m: chain.lever_bounds_m(furthest) }
    }

    /// Whether the tool cannot become too fast from here to rest, by the joints' speeds alone.
    pub(crate) fn is_slow_to_the_end(&self, at: &[Moving], brakes: &[Brakes]) -> bool {
        if self.step_m == f64::INFINITY {
            return true;
        }
        let mut most_m = 0.0;
        for ((at, brakes), lever_m) in at.iter().zip(brakes).zip(&self.levers_m) {
            most_m += lever_m * brakes.peak_bound(at.step, at.change);
        }
        most_m <= self.step_m
    }

    /// A bound on the tool's movement in the tick from `before` to `here`, m: exact if it is above `step_m`.
    ///
    /// First by the Jacobian of the reference and a bound on how much it changes: no column by more than its lever
    /// times the movement of all joints. Where that is too much, exactly, and the reference moves here.
    pub(crate) fn movement_m(
        &self,
        chain: &Chain,
        before: &Joints,
        here: &Joints,
        at: &[Moving],
        reference: &mut Reference,
    ) -> f64 {
        let mut moved_m = Vector3::zeros();
        let (mut turned, mut swept_m) = (0.0, 0.0);
        for (i, (at, column)) in at.iter().zip(reference.jacobian.columns()).enumerate() {
            moved_m += column.fixed_rows::<3>(0) * at.step;
            // From the reference to either end of the tick.
            turned += (at.q - reference.q[i]).abs() + at.step.abs();
            swept_m += self.levers_m[i] * at.step.abs();
        }
        let bound_m = moved_m.norm() + turned * swept_m;
        if bound_m <= self.step_m {
            reference.tool_before_m = None;
            return bound_m;
        }
        let tool_before_m = reference.tool_before_m.unwrap_or_else(|| chain.tip_frame(before).translation);
        *reference = Reference::at(chain, here);
        reference.tool_before_m.map_or(0.0, |tool_m| (tool_m - tool_before_m).norm())
    }
}
