//! Rotary positions.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use burn::tensor::{Int, Tensor, TensorData};

use super::TensorDevice;

/// Sines and cosines, and what becomes of them on a device: one pair of tables for each band of columns that is
/// turned, so that a turn is two products and a sum over whole rows, with nothing cut or joined.
#[derive(Clone, Debug)]
pub(crate) struct RopeTable {
    device: TensorDevice,
    /// `tokens × half`.
    cos: Vec<f32>,
    /// `tokens × half`.
    sin: Vec<f32>,
    half: usize,
    turns: Arc<Mutex<HashMap<Band, Turn>>>,
}

/// Which columns of which rows are turned.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Band {
    from: usize,
    heads: usize,
    width: usize,
}

/// `x · keep + x[partner] · cross`.
#[derive(Clone, Debug)]
struct Turn {
    /// `[tokens, width]`: cosines, one outside the band.
    keep: Tensor<2>,
    /// `[tokens, width]`: sines with their signs, zero outside the band.
    cross: Tensor<2>,
    /// `[width]`: the column that a column is turned against.
    partner: Tensor<1, Int>,
}

impl RopeTable {
    pub(crate) fn new(device: &TensorDevice, cos: &[f32], sin: &[f32], half: usize) -> Self {
        let turns = Arc::default();
        Self { device: device.clone(), cos: cos.to_vec(), sin: sin.to_vec(), half, turns }
    }

    /// `rows` with `heads` heads turned, which begin at column `from`.
    pub(crate) fn turn(&self, rows: Tensor<2>, from: usize, heads: usize) -> Tensor<2> {
        let [_, width] = rows.dims();
        let band = Band { from, heads, width };
        let Turn { keep, cross, partner } = {
            // A map of tensors is sound wherever a panic left it.
            let mut turns = self.turns.lock().unwrap_or_else(PoisonError::into_inner);
            turns.entry(band).or_insert_with(|| self.prepare(band)).clone()
        };
        rows.clone() * keep + rows.select(1, partner) * cross
    }

    fn prepare(&self, Band { from, heads, width }: Band) -> Turn {
        let (half, tokens) = (self.half, self.cos.len() / self.half);
        let mut keep = vec![1.0; tokens * width];
        let mut cross = vec![0.0; tokens * width];
        let mut partner: Vec<i32> = (0..width as i32).collect();
        for head in 0..heads {
            for pair in 0..half {
                let low = from + head * 2 * half + pair;
                let high = low + half;
                partner.swap(low, high);
                for token in 0..tokens {
                    let (cos, sin) = (self.cos[token * half + pair], self.sin[token * half + pair]);
                    keep[token * width + low] = cos;
                    keep[token * width + high] = cos;
                    cross[token * width + low] = -sin;
                    cross[token * width + high] = sin;
                }
            }
        }
        Turn {
            keep: self.device.upload(&keep, [tokens, width]),
            cross: self.device.upload(&cross, [tokens, width]),
            partner: Tensor::from_data(TensorData::new(partner, [width]), &self.device.device),
        }
    }
}
