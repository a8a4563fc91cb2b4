//! Scaled dot-product attention, by its definition: the device's fusion joins what can be joined.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use burn::tensor::{Tensor, activation};

use super::TensorDevice;
use crate::compute::{Attention, Columns, KeysValues, Sight};

/// Added to the score of a key that a query does not see. Large enough to vanish, small enough for any shader.
const UNSEEN: f32 = -1e30;

/// What is added to scores, `[1, 1, rows, keys]`, kept for each sight and size: a policy uses few.
#[derive(Clone, Debug, Default)]
pub(super) struct Masks(Arc<Mutex<HashMap<MaskKey, Tensor<4>>>>);

/// Who sees whom, and the three lengths.
type MaskKey = (Sight, usize, usize, usize);

impl Masks {
    /// For `queries` queries, `group` times over, and `keys` keys; none where each query sees each key.
    fn get(
        &self,
        device: &TensorDevice,
        sight: Sight,
        [group, queries, keys]: [usize; 3],
    ) -> Option<Tensor<4>> {
        let last = last_seen(sight, queries, keys)?;
        // A map of tensors is sound wherever a panic left it.
        let mut masks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mask = masks.entry((sight, group, queries, keys)).or_insert_with(|| {
            let row = |last: usize| (0..keys).map(move |key| if key > last { UNSEEN } else { 0.0 });
            let values: Vec<f32> = last.iter().cycle().take(group * queries).copied().flat_map(row).collect();
            device.upload(&values, [1, 1, group * queries, keys])
        });
        Some(mask.clone())
    }
}

/// See [`Attention::forward`].
pub(crate) fn attention(
    device: &TensorDevice,
    shape: &Attention,
    queries: Columns<'_>,
    segments: &[KeysValues<'_>],
    sequences: usize,
    sight: Sight,
) -> Tensor<2> {
    let &Attention { heads, kv_heads, head_dim, .. } = shape;
    let count = queries.rows.count() / sequences;
    let group = heads / kv_heads;
    let side_by_side = |bands: Vec<Tensor<3>>| -> Tensor<4> {
        let band = Tensor::cat(bands, 1);
        let [_, keys, _] = band.dims();
        band.reshape([sequences, keys, kv_heads, head_dim]).swap_dims(1, 2)
    };
    let keys =
        side_by_side(segments.iter().map(|part| band(part.keys, sequences, kv_heads * head_dim)).collect());
    let values =
        side_by_side(segments.iter().map(|part| band(part.values, sequences, kv_heads * head_dim)).collect());
    let [_, _, seen, _] = keys.dims();
    // Query heads that share keys become more rows of one product.
    let scale = (head_dim as f32).sqrt().recip();
    let queries = (queries.rows.data.tensor().clone().narrow(1, queries.from, heads * head_dim) * scale)
        .reshape([sequences, count, heads, head_dim])
        .swap_dims(1, 2)
        .reshape([sequences, kv_heads, group * count, head_dim]);
    let mut scores = queries.matmul(keys.swap_dims(2, 3));
    if let Some(mask) = device.masks.get(device, sight, [group, count, seen]) {
        scores = scores + mask;
    }
    activation::softmax(scores, 3)
        .matmul(values)
        .reshape([sequences, heads, count, head_dim])
        .swap_dims(1, 2)
        .reshape([sequences * count, heads * head_dim])
}

/// `width` columns as `[sequences, tokens, width]`.
fn band(columns: Columns<'_>, sequences: usize, width: usize) -> Tensor<3> {
    let rows = columns.rows.data.tensor().clone();
    let [count, _] = rows.dims();
    rows.narrow(1, columns.from, width).reshape([sequences, count / sequences, width])
}

/// The last key that each of `queries` queries sees; none where each sees all `keys`.
fn last_seen(sight: Sight, queries: usize, keys: usize) -> Option<Vec<usize>> {
    match sight {
        Sight::All => None,
        Sight::Causal { before } => Some((0..queries).map(|query| before + query).collect()),
        Sight::LastHidden => {
            Some((0..queries).map(|query| keys - if query + 1 < queries { 2 } else { 1 }).collect())
        }
    }
}
