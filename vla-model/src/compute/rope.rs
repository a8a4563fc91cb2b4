//! Rotary positions (arXiv 2104.09864), halves turned against each other.

use super::device::RopeTable;
use super::rows::Data;
use super::{Backend, Kind, Rows};

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
        match (&mut rows.data, &self.table) {
            (Data::Cpu(values), _) => self.turn_values(values.as_mut_slice(), rows.width, from, heads),
            (Data::Device(tensor), Some(table)) => *tensor = table.turn(tensor.clone(), from, heads),
            (Data::Device(_), None) => unreachable!("rows of a device with a table of the CPU"),
        }
    }

    fn turn_values(&self, values: &mut [f32], width: usize, from: usize, heads: usize) {
        let half = self.head_dim / 2;
        for (token, row) in values.chunks_exact_mut(width).enumerate() {
            let cos = &self.cos[token * half..(token + 1) * half];
            let sin = &self.sin[token * half..(token + 1) * half];
            for head in row[from..from + heads * self.head_dim].chunks_exact_mut(self.head_dim) {
                let (low, high) = head.split_at_mut(half);
                for i in 0..half {
                    let (a, b) = (low[i], high[i]);
                    low[i] = a * cos[i] - b * sin[i];
                    high[i] = b * cos[i] + a * sin[i];
                }
            }
        }
    }
}
