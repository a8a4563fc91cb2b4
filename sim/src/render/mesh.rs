//! Triangle meshes: storage, checks, merging.

use nalgebra::{Isometry3, Point3, Vector3};

/// Why a mesh was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MeshError {
    /// Each vertex has exactly one normal.
    #[error("mesh has {actual} normals, expected one for each of its {expected} vertices")]
    NormalCount {
        /// Number of vertices.
        expected: usize,
        /// Number of normals.
        actual: usize,
    },
    /// A triangle names a vertex that does not exist.
    #[error("triangle {triangle} names vertex {actual}, expected less than {vertices}")]
    VertexIndex {
        /// Index of the triangle.
        triangle: usize,
        /// The vertex it names.
        actual: u32,
        /// Number of vertices.
        vertices: usize,
    },
    /// A coordinate is NaN or infinite.
    #[error("vertex {vertex} is not finite")]
    NotFinite {
        /// Index of the vertex.
        vertex: usize,
    },
}

/// A closed triangle mesh, in metres, with a normal and a share of open sky per vertex.
///
/// Triangles run counter-clockwise seen from outside; the other side is not drawn.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Mesh {
    vertices: Vec<Point3<f32>>,
    normals: Vec<Vector3<f32>>,
    /// How much of the light from above reaches the vertex: 1 in the open, less inside a cup.
    openness: Vec<f32>,
    triangles: Vec<[u32; 3]>,
    bound_centre: Point3<f32>,
    bound_radius_m: f32,
}

impl Mesh {
    /// A mesh of given vertices (metres), unit normals and triangles.
    ///
    /// # Errors
    /// When the counts differ, an index is out of range, or a number is not finite.
    pub fn new(
        vertices: Vec<Point3<f32>>,
        normals: Vec<Vector3<f32>>,
        triangles: Vec<[u32; 3]>,
    ) -> Result<Self, MeshError> {
        if normals.len() != vertices.len() {
            return Err(MeshError::NormalCount { expected: vertices.len(), actual: normals.len() });
        }
        for (triangle, corners) in triangles.iter().enumerate() {
            if let Some(&actual) = corners.iter().find(|&&corner| corner as usize >= vertices.len()) {
                return Err(MeshError::VertexIndex { triangle, actual, vertices: vertices.len() });
            }
        }
        let finite = |vertex: usize| {
            vertices[vertex].iter().chain(normals[vertex].iter()).all(|value| value.is_finite())
        };
        if let Some(vertex) = (0..vertices.len()).find(|&vertex| !finite(vertex)) {
            return Err(MeshError::NotFinite { vertex });
        }
        let openness = vec![1.0; vertices.len()];
        Ok(Self::assemble(vertices, normals, openness, triangles))
    }

    /// Several meshes as one, each moved by its pose in the whole.
    pub fn merge(parts: &[(&Self, Isometry3<f32>)]) -> Self {
        let mut whole = Self::default();
        for (part, whole_from_part) in parts {
            let base = whole.vertices.len() as u32;
            whole.vertices.extend(part.vertices.iter().map(|vertex| whole_from_part * vertex));
            whole.normals.extend(part.normals.iter().map(|normal| whole_from_part * normal));
            whole.openness.extend_from_slice(&part.openness);
            whole.triangles.extend(part.triangles.iter().map(|corners| corners.map(|corner| corner + base)));
        }
        Self::assemble(whole.vertices, whole.normals, whole.openness, whole.triangles)
    }

    /// Vertices in metres.
    pub fn vertices(&self) -> &[Point3<f32>] {
        &self.vertices
    }

    /// Unit normals, one per vertex.
    pub fn normals(&self) -> &[Vector3<f32>] {
        &self.normals
    }

    /// Triangles as vertex indices, counter-clockwise from outside.
    pub fn triangles(&self) -> &[[u32; 3]] {
        &self.triangles
    }

    /// Centre and radius (metres) of a sphere around the mesh.
    pub fn bounding_sphere(&self) -> (Point3<f32>, f32) {
        (self.bound_centre, self.bound_radius_m)
    }

    pub(super) fn openness(&self) -> &[f32] {
        &self.openness
    }

    /// Builds from parts whose indices and counts the caller guarantees.
    pub(super) fn assemble(
        vertices: Vec<Point3<f32>>,
        normals: Vec<Vector3<f32>>,
        openness: Vec<f32>,
        triangles: Vec<[u32; 3]>,
    ) -> Self {
        debug_assert!(vertices.len() == normals.len() && vertices.len() == openness.len());
        let mut low = Vector3::repeat(f32::INFINITY);
        let mut high = Vector3::repeat(f32::NEG_INFINITY);
        for vertex in &vertices {
            low = low.inf(&vertex.coords);
            high = high.sup(&vertex.coords);
        }
        let bound_centre =
            if vertices.is_empty() { Point3::origin() } else { Point3::from((low + high) * 0.5) };
        let bound_radius_m =
            vertices.iter().map(|vertex| (vertex - bound_centre).norm_squared()).fold(0.0, f32::max).sqrt();
        Self { vertices, normals, openness, triangles, bound_centre, bound_radius_m }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests fail by panicking")]
    use super::*;

    #[test]
    fn refuses_what_it_cannot_draw() {
        let vertices = vec![Point3::origin(); 3];
        let normals = vec![Vector3::z(); 3];
        assert!(Mesh::new(vertices.clone(), normals.clone(), vec![[0, 1, 2]]).is_ok());
        assert_eq!(
            Mesh::new(vertices.clone(), normals[..2].to_vec(), vec![]),
            Err(MeshError::NormalCount { expected: 3, actual: 2 })
        );
        assert_eq!(
            Mesh::new(vertices, normals.clone(), vec![[0, 1, 3]]),
            Err(MeshError::VertexIndex { triangle: 0, actual: 3, vertices: 3 })
        );
        let broken = vec![Point3::origin(), Point3::new(f32::NAN, 0.0, 0.0), Point3::origin()];
        assert_eq!(Mesh::new(broken, normals, vec![]), Err(MeshError::NotFinite { vertex: 1 }));
    }

    #[test]
    fn merging_moves_and_renumbers() {
        let cube = Mesh::cuboid(Vector3::repeat(0.5));
        let pair =
            Mesh::merge(&[(&cube, Isometry3::identity()), (&cube, Isometry3::translation(3.0, 0.0, 0.0))]);
        assert_eq!(pair.triangles().len(), 24);
        let (centre, radius_m) = pair.bounding_sphere();
        assert!((centre.x - 1.5).abs() < 1e-6);
        assert!((radius_m - (4.0f32 + 0.5).sqrt()).abs() < 1e-5);
        assert!(pair.triangles().iter().flatten().all(|&corner| (corner as usize) < pair.vertices().len()));
    }
}
