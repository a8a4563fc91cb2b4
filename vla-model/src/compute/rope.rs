//! Rotary positions (arXiv 2104.09864), halves turned against each other.

use super::device::RopeTable;
use super::{Backend, Kind, Rows, cpu};

/// Sines and cosines of some tokens' positions.
#[derive(Clone, Debug)]
pub struct Rope {
    /// `tokens × head_dim / 2`.
    pub(crate) cos: Vec<f32>,
    /// `tokens × head_dim / 2`.
    pub(crate) sin: Vec<f32>,
    pub(crate) head_dim: usize,
    /// The same on a device, for rows there.
    table: Option<RopeTable>,
}

impl Rope {
    /// The table for tokens at `positions`; pair `i` turns by `position / base^(2i / head_dim)`.
    #[must_use]
    pub fn new(backend: &Backend, positions: &[u32], head_dim: usize, base: f64) -> Self {
        let half = head_dim / 2;
        let angles = positions.iter().flat_map(|position| {
            (0..half).map(move |i| f64::from(*position) / base.powf(2.0 * i as f64 / head_dim as f64))
        });
        let (sin, cos): (Vec<f32>, Vec<f32>) =
            angles.map(|angle| (angle.sin() as f32, angle.cos() as f32)).unzip();
        let table = match &backend.kind {
            Kind::Cpu(_) => None,
            Kind::Device(device) => Some(RopeTable::new(device, &cos, &sin, half)),
        };
        Self { cos, sin, head_dim, table }
    }

    /// Turns `heads` heads of each row, from column `from` on; row `i` is at position `i` of the table.
    pub fn turn(&self, rows: &mut Rows, from: usize, heads: usize) {
        match (&rows.backend.kind, &self.table) {
            (Kind::Cpu(cpu), _) => {
                cpu::turn(cpu, self, rows.data.as_mut_slice(), rows.width, from, heads);
            }
            (Kind::Device(_), Some(table)) => {
                rows.data = table.turn(rows.data.tensor().clone(), from, heads).into();
            }
            (Kind::Device(_), None) => unreachable!("rows of a device with a table of the CPU"),
        }
    }
}
