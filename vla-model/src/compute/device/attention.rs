//! Scaled dot-product attention, by its definition: the device's fusion joins what can be joined.

use burn::tensor::{Int, Tensor, TensorData, activation};

use crate::compute::{Attention, Columns, KeysValues, Sight};

/// See [`Attention::forward`].
pub(crate) fn attention(
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
    let queries = band(queries, sequences, heads * head_dim)
        .reshape([sequences, count, heads, head_dim])
        .swap_dims(1, 2)
        .reshape([sequences, kv_heads, group * count, head_dim]);
    let scale = (head_dim as f32).sqrt().recip();
    let mut scores = (queries * scale).matmul(keys.swap_dims(2, 3));
    if let Some(last) = last_seen(sight, count, seen) {
        let last: Vec<i32> = last.iter().cycle().take(group * count).copied().collect();
        let device = scores.device();
        let last = Tensor::<4, Int>::from_data(TensorData::new(last, [1, 1, group * count, 1]), &device);
        let keys = Tensor::<1, Int>::arange(0..seen as i64, &device).reshape([1, 1, 1, seen]);
        let shape = [sequences, kv_heads, group * count, seen];
        scores = scores.mask_fill(keys.expand(shape).greater(last.expand(shape)), f32::NEG_INFINITY);
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
fn last_seen(sight: Sight, queries: usize, keys: usize) -> Option<Vec<i32>> {
    match sight {
        Sight::All => None,
        Sight::Causal { before } => Some((0..queries).map(|query| (before + query) as i32).collect()),
        Sight::LastHidden => {
            Some((0..queries).map(|query| keys as i32 - if query + 1 < queries { 2 } else { 1 }).collect())
        }
    }
}
