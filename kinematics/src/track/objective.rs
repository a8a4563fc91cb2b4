//! The least-squares objective of one tick: the task, and what spare motion is used for.

#![expect(clippy::needless_range_loop, reason = "small dense algebra reads best in index notation")]

use nalgebra::{Matrix3, Vector3, Vector6};

use crate::chain::Jacobian;
use crate::frame::{Frame, rotation_log};
use crate::joints::MAX_DOF;
use crate::linalg::{Column, Square, factor, solve};
use crate::task::Task;

/// What a squared radian weighs against a squared metre, m²/rad²: a lever of about 0.3 m.
pub(super) const ROTATION_WEIGHT: f64 = 0.1;
/// Regularisation of the projection into the null space, m².
const PROJECTION_DAMPING: f64 = 1e-6;
/// Below this squared pivot of the weighted Gram matrix (m²) the arm counts as near a singularity.
const SINGULAR_PIVOT: f64 = 1e-3;
/// Damping added at a singularity, m².
const SINGULAR_DAMPING: f64 = 5e-3;

/// Position and rotation that lead from `from` to `to`, as far as the task asks for them.
pub(super) fn task_error(task: Task, to: &Frame, from: &Frame) -> (Vector3<f64>, Vector3<f64>) {
    let rotation = match task {
        Task::Pose => rotation_log(&(to.rotation * from.rotation.transpose())),
        Task::PositionAndAxis => {
            let (axis, wanted) = (from.rotation.column(2), to.rotation.column(2));
            let cross = axis.cross(&wanted);
            let (sin, cos) = (cross.norm(), axis.dot(&wanted));
            if sin > 1e-9 {
                cross * (libm::atan2(sin, cos) / sin)
            } else if cos > 0.0 {
                cross
            } else {
                // Exactly opposite: any way round will do.
                from.rotation.column(0) * std::f64::consts::PI
            }
        }
        Task::Position => Vector3::zeros(),
    };
    (to.translation - from.translation, rotation)
}

/// The task's rows at one configuration, weighted so that all count in metres, and their factored Gram matrix.
pub(super) struct TaskRows {
    /// `√W J`, with the parts of the rotation that the task leaves free taken out.
    columns: [Vector6<f64>; MAX_DOF],
    n: usize,
    /// The part of the rotation that counts: none, all, or all but the turn about the tip's z axis.
    counts: Matrix3<f64>,
    /// Of `P Pᵀ + μ` (6 × 6) where joints are to spare, else of `Pᵀ P + μ` (n × n), factored.
    gram: Square,
    spare: bool,
    /// Its smallest squared pivot, m²; 0 when it could not be factored.
    pivot: f64,
}

impl TaskRows {
    pub(super) fn new(task: Task, jacobian: &Jacobian, tip: &Frame) -> Self {
        let n = jacobian.dof();
        let lever = ROTATION_WEIGHT.sqrt();
        let z = tip.rotation.column(2);
        let (counts, size) = match task {
            Task::Pose => (Matrix3::identity(), 6),
            Task::PositionAndAxis => (Matrix3::identity() - z * z.transpose(), 5),
            Task::Position => (Matrix3::zeros(), 3),
        };
        let mut columns = [Vector6::zeros(); MAX_DOF];
        for (to, from) in columns.iter_mut().zip(jacobian.columns()) {
            let turn = Vector3::new(from.w, from.a, from.b);
            let turn = if size == 6 { turn } else { counts * turn } * lever;
            *to = Vector6::new(from.x, from.y, from.z, turn.x, turn.y, turn.z);
        }
        let spare = n > size;
        let mut gram = [[0.0; MAX_DOF]; MAX_DOF];
        if spare {
            for column in &columns[..n] {
                for i in 0..6 {
                    for k in 0..=i {
                        gram[i][k] += column[i] * column[k];
                    }
                }
            }
            // What the task leaves free must not look like a singularity.
            for i in 0..3 {
                for k in 0..=i {
                    gram[3 + i][3 + k] += f64::from(u8::from(i == k)) - counts[(i, k)];
                }
            }
        } else {
            for i in 0..n {
                for k in 0..=i {
                    gram[i][k] = columns[i].dot(&columns[k]);
                }
            }
        }
        let order = if spare { 6 } else { n };
        for (i, row) in gram.iter_mut().enumerate().take(order) {
            row[i] += PROJECTION_DAMPING;
        }
        let pivot = factor(&mut gram, order).unwrap_or(0.0);
        Self { columns, n, counts, gram, spare, pivot }
    }

    /// `JᵀWJ` and `JᵀWe` for a wanted twist of the tip, m/s and rad/s.
    pub(super) fn normal_equations(&self, linear: &Vector3<f64>, angular: &Vector3<f64>) -> (Square, Column) {
        let mut h = [[0.0; MAX_DOF]; MAX_DOF];
        let mut g = [0.0; MAX_DOF];
        let angular = angular * ROTATION_WEIGHT.sqrt();
        let wanted = Vector6::new(linear.x, linear.y, linear.z, angular.x, angular.y, angular.z);
        for i in 0..self.n {
            g[i] = self.columns[i].dot(&wanted);
            for k in 0..=i {
                h[i][k] = self.columns[i].dot(&self.columns[k]);
                h[k][i] = h[i][k];
            }
        }
        (h, g)
    }

    /// Whether the arm has joints to spare for the task.
    pub(super) fn spare(&self) -> bool {
        self.spare
    }

    /// Damping that grows from 0 as the smallest pivot of the Gram matrix falls below its threshold, m².
    pub(super) fn singular_damping(&self) -> f64 {
        let depth = (1.0 - self.pivot / SINGULAR_PIVOT).max(0.0);
        SINGULAR_DAMPING * depth * depth
    }

    /// Projects joint velocities onto motions that leave the task alone: `I − P⁺P` in its damped form
    /// `μ (PᵀP + μ)⁻¹`.
    pub(super) fn project(&self, velocities: &mut Column) {
        if self.pivot == 0.0 {
            *velocities = [0.0; MAX_DOF];
        } else if self.spare {
            // The same matrix, by Woodbury's identity: I − Pᵀ (P Pᵀ + μ)⁻¹ P.
            let mut twist = Vector6::zeros();
            for (column, velocity) in self.columns.iter().zip(velocities.iter()).take(self.n) {
                twist += column * *velocity;
            }
            let twist = self.solve_rows(&twist);
            for (column, velocity) in self.columns.iter().zip(velocities.iter_mut()).take(self.n) {
                *velocity -= column.dot(&twist);
            }
        } else {
            for velocity in velocities.iter_mut() {
                *velocity *= PROJECTION_DAMPING;
            }
            solve(&self.gram, velocities, self.n);
        }
    }

    /// Gradient of `log √det(P Pᵀ)`, the logarithm of the measure of manipulability, 1/rad (Yoshikawa,
    /// "Manipulability of robotic mechanisms", 1985); zero without spare joints.
    ///
    /// `jacobian` is the one that the rows were made of. With `Y = (P Pᵀ)⁻¹ P` the derivative along joint `i`
    /// is `Σₖ Yₖ · ∂Pₖ/∂qᵢ`. A turn about axis `i` turns the whole of column `k` if `i` comes before `k`, else it
    /// moves the tip only; so sums from the tip down and from the base up give all derivatives at once.
    pub(super) fn manipulability_gradient(&self, jacobian: &Jacobian) -> Column {
        let mut gradient = [0.0; MAX_DOF];
        if !self.spare || self.pivot == 0.0 {
            return gradient;
        }
        let lever = ROTATION_WEIGHT.sqrt();
        let split = |v: &Vector6<f64>| (Vector3::new(v.x, v.y, v.z), Vector3::new(v.w, v.a, v.b));
        let mut whole = [Vector3::zeros(); MAX_DOF];
        let mut free_part = Vector3::zeros();
        // From the base up: what moving the tip does to the columns below.
        let mut below = Vector3::zeros();
        for (k, column) in jacobian.columns().iter().enumerate() {
            let (v, w) = split(column);
            let (y_v, y_w) = split(&self.solve_rows(&self.columns[k]));
            let y_w = y_w * lever;
            gradient[k] = v.dot(&below);
            below += y_v.cross(&w);
            whole[k] = v.cross(&y_v) + w.cross(&y_w);
            // The direction that the task leaves free turns along with the tip.
            free_part += (w - self.counts * w).cross(&y_w);
        }
        let mut above = -free_part;
        for (k, column) in jacobian.columns().iter().enumerate().rev() {
            above += whole[k];
            gradient[k] += split(column).1.dot(&above);
        }
        gradient
    }

    /// `(P Pᵀ + μ)⁻¹ v`.
    fn solve_rows(&self, v: &Vector6<f64>) -> Vector6<f64> {
        let mut x = [v.x, v.y, v.z, v.w, v.a, v.b, 0.0, 0.0];
        solve(&self.gram, &mut x, 6);
        Vector6::new(x[0], x[1], x[2], x[3], x[4], x[5])
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests fail by panicking")]
mod tests {
    use super::*;
    use crate::{ARM7_URDF, Chain};

    /// `log √det(J W Jᵀ)` over the rows that count, in coordinates of the tip so that the free one can be left out.
    fn log_measure(chain: &Chain, task: Task, q: &[f64]) -> f64 {
        let mut jacobian = Jacobian::default();
        let tip = chain.tip_and_jacobian(q, &mut jacobian);
        let size = match task {
            Task::Pose => 6,
            Task::PositionAndAxis => 5,
            Task::Position => 3,
        };
        let rows = nalgebra::DMatrix::from_fn(size, chain.dof(), |row, joint| {
            let column = jacobian.columns()[joint];
            let part =
                Vector3::new(column[3 * (row / 3)], column[3 * (row / 3) + 1], column[3 * (row / 3) + 2]);
            let weight = if row < 3 { 1.0 } else { ROTATION_WEIGHT.sqrt() };
            weight * (tip.rotation.transpose() * part)[row % 3]
        });
        let damping = nalgebra::DMatrix::identity(size, size) * PROJECTION_DAMPING;
        0.5 * (&rows * rows.transpose() + damping).determinant().ln()
    }

    #[test]
    fn the_manipulability_gradient_agrees_with_differences() {
        let chain = Chain::from_urdf(ARM7_URDF, "base", "tool").unwrap();
        let mut steepest: f64 = 0.0;
        for round in 0..60 {
            let q: Vec<f64> = (0..7)
                .map(|i| {
                    let limits = chain.limits()[i];
                    let unit = 0.5 + 0.45 * (f64::from(round) * 1.7 + i as f64 * 2.3).sin();
                    limits.lower_rad + unit * (limits.upper_rad - limits.lower_rad)
                })
                .collect();
            for task in [Task::Pose, Task::PositionAndAxis, Task::Position] {
                let mut jacobian = Jacobian::default();
                let tip = chain.tip_and_jacobian(&q, &mut jacobian);
                let rows = TaskRows::new(task, &jacobian, &tip);
                let gradient = rows.manipulability_gradient(&jacobian);
                for i in 0..7 {
                    let at = |change: f64| {
                        let mut q = q.clone();
                        q[i] += change;
                        log_measure(&chain, task, &q)
                    };
                    let expected = (at(1e-5) - at(-1e-5)) / 2e-5;
                    let error = (gradient[i] - expected).abs() / (1.0 + expected.abs());
                    steepest = steepest.max(expected.abs());
                    assert!(error < 1e-6, "{task:?}, joint {i}: {} instead of {expected}", gradient[i]);
                }
            }
        }
        assert!(steepest > 1.0);
    }

    #[test]
    fn the_axis_error_is_the_shortest_turn_between_the_axes() {
        let from = Frame::from_xyz_rpy([0.1, 0.0, 0.2], [0.3, -0.5, 1.0]);
        for (rpy, expected) in [
            ([0.3, -0.5, 1.0], 0.0),
            // The reader's turn about z comes first, so this is a turn about the tip's own x axis.
            ([0.3 + 0.7, -0.5, 1.0], 0.7),
        ] {
            let (_, error) = task_error(Task::PositionAndAxis, &Frame::from_xyz_rpy([0.0; 3], rpy), &from);
            assert!((error.norm() - expected).abs() < 1e-12, "{error} instead of {expected}");
        }
        let about_z = from.turned_about_z(1.3_f64.sin_cos());
        assert!(task_error(Task::PositionAndAxis, &about_z, &from).1.norm() < 1e-12);
        let flipped = Frame {
            rotation: from.rotation * Matrix3::from_diagonal(&Vector3::new(1.0, -1.0, -1.0)),
            translation: from.translation,
        };
        let (_, error) = task_error(Task::PositionAndAxis, &flipped, &from);
        assert!((error.norm() - std::f64::consts::PI).abs() < 1e-9);
    }
}
