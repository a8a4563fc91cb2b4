//! Rigid transforms as rotation matrix and translation: cheaper to chain than quaternions.

use nalgebra::{Isometry3, IsometryMatrix3, Matrix3, Rotation3, Translation3, UnitQuaternion, Vector3};

/// `parent_from_child`: `p_parent = rotation * p_child + translation`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Frame {
    pub(crate) rotation: Matrix3<f64>,
    pub(crate) translation: Vector3<f64>,
}

impl Frame {
    pub(crate) const IDENTITY: Self = Self {
        rotation: Matrix3::new(1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0),
        translation: Vector3::new(0.0, 0.0, 0.0),
    };

    /// From a URDF origin: fixed-axis roll, pitch, yaw.
    pub(crate) fn from_xyz_rpy(xyz: [f64; 3], rpy: [f64; 3]) -> Self {
        Self {
            rotation: Rotation3::from_euler_angles(rpy[0], rpy[1], rpy[2]).into_inner(),
            translation: Vector3::from(xyz),
        }
    }

    pub(crate) fn from_isometry(pose: &Isometry3<f64>) -> Self {
        Self {
            rotation: pose.rotation.to_rotation_matrix().into_inner(),
            translation: pose.translation.vector,
        }
    }

    pub(crate) fn to_isometry(self) -> Isometry3<f64> {
        let rotation = Rotation3::from_matrix_unchecked(self.rotation);
        Isometry3::from_parts(
            Translation3::from(self.translation),
            UnitQuaternion::from_rotation_matrix(&rotation),
        )
    }

    pub(crate) fn to_isometry_matrix(self) -> IsometryMatrix3<f64> {
        IsometryMatrix3::from_parts(
            Translation3::from(self.translation),
            Rotation3::from_matrix_unchecked(self.rotation),
        )
    }

    #[inline(always)]
    pub(crate) fn then(&self, next: &Self) -> Self {
        Self {
            rotation: self.rotation * next.rotation,
            translation: self.rotation * next.translation + self.translation,
        }
    }

    pub(crate) fn inverse(&self) -> Self {
        let rotation = self.rotation.transpose();
        Self { rotation, translation: -(rotation * self.translation) }
    }

    /// This frame turned about its own z axis by the angle of this sine and cosine.
    #[inline(always)]
    pub(crate) fn turned_about_z(&self, (sin, cos): (f64, f64)) -> Self {
        let (x, y) = (self.rotation.column(0), self.rotation.column(1));
        let rotation = Matrix3::from_columns(&[
            x * cos + y * sin,
            y * cos - x * sin,
            self.rotation.column(2).into_owned(),
        ]);
        Self { rotation, translation: self.translation }
    }

    /// This frame turned about its own x axis by the angle of this sine and cosine.
    #[inline(always)]
    pub(crate) fn tilted_about_x(&self, (sin, cos): (f64, f64)) -> Self {
        let (y, z) = (self.rotation.column(1), self.rotation.column(2));
        let rotation = Matrix3::from_columns(&[
            self.rotation.column(0).into_owned(),
            y * cos + z * sin,
            z * cos - y * sin,
        ]);
        Self { rotation, translation: self.translation }
    }

    /// This frame moved along its own axes, m.
    #[inline(always)]
    pub(crate) fn moved(&self, by: &Vector3<f64>) -> Self {
        Self { rotation: self.rotation, translation: self.translation + self.rotation * by }
    }
}

/// A rotation that takes the z axis to the unit vector `axis`; the identity for z itself.
pub(crate) fn z_to(axis: &Vector3<f64>) -> Matrix3<f64> {
    match Rotation3::rotation_between(&Vector3::z(), axis) {
        Some(rotation) => rotation.into_inner(),
        // Exactly opposite: half a turn about x.
        None => Matrix3::from_diagonal(&Vector3::new(1.0, -1.0, -1.0)),
    }
}

/// The rotation vector (axis times angle, rad, angle in 0..=π) of a rotation matrix.
pub(crate) fn rotation_log(r: &Matrix3<f64>) -> Vector3<f64> {
    let half_skew = Vector3::new(r[(2, 1)] - r[(1, 2)], r[(0, 2)] - r[(2, 0)], r[(1, 0)] - r[(0, 1)]) * 0.5;
    let sin = half_skew.norm();
    let cos = (r.trace() - 1.0) * 0.5;
    let angle = libm::atan2(sin, cos);
    if sin > 1e-6 {
        return half_skew * (angle / sin);
    }
    if cos > 0.0 {
        return half_skew;
    }
    // Near half a turn the skew part vanishes; the axis is in the symmetric part, cos + (1 − cos) a aᵀ.
    let outer = ((r + r.transpose()) * 0.5 - Matrix3::identity() * cos) / (1.0 - cos);
    let best = (0..3).max_by(|&i, &j| outer[(i, i)].total_cmp(&outer[(j, j)])).unwrap_or(0);
    let axis = outer.column(best).into_owned();
    let norm = axis.norm();
    if norm == 0.0 {
        return Vector3::zeros();
    }
    let sign = if axis.dot(&half_skew) < 0.0 { -1.0 } else { 1.0 };
    axis * (sign * angle / norm)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::f64::consts::PI;

    #[test]
    fn log_inverts_exp_up_to_half_a_turn() {
        let axis = Vector3::new(0.3, -0.8, 0.52).normalize();
        for angle in [0.0, 1e-12, 1e-8, 1e-4, 1.0, 3.0, PI - 6e-7, PI] {
            let log = rotation_log(&Rotation3::new(axis * angle).into_inner());
            assert!(
                (log - axis * angle).norm() < 1e-9 || (log + axis * angle).norm() < 1e-9,
                "{angle}: {log}"
            );
            if angle < PI - 1e-2 {
                assert!((log - axis * angle).norm() < 1e-9);
            }
        }
    }

    #[test]
    fn every_axis_is_reached_from_z() {
        for axis in
            [Vector3::x(), -Vector3::y(), Vector3::z(), -Vector3::z(), Vector3::new(1.0, 2.0, -2.0) / 3.0]
        {
            let r = z_to(&axis);
            assert!((r * Vector3::z() - axis).norm() < 1e-15);
            assert!((r.determinant() - 1.0).abs() < 1e-14);
        }
    }
}
