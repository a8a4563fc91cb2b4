//! The convolution towers, on maps without padding: see [`crate::goal`]'s `vision`.

use super::load::Loader;
use crate::compute::{Backend, Conv2d, Dense, Maps, Rows};
use crate::goal::config::PATCH_LEN;
use crate::weights::WeightsError;

/// Patch embedding with learned positions, an optional merge of four neighbours, residual blocks.
#[derive(Debug)]
pub(super) struct Tower {
    embed: Embed,
    blocks: Vec<(Conv2d, Dense)>,
    /// `[cells × patches per cell, embedding]`.
    position: Rows,
    grid: usize,
}

/// How patches become cells.
#[derive(Debug)]
enum Embed {
    One(Dense),
    /// Rectified, then four to a cell.
    Four(Conv2d, Dense),
}

impl Tower {
    pub(super) fn load(
        load: &mut Loader<'_>,
        name: &str,
        grid: usize,
        embed: usize,
        merge_to: Option<usize>,
        blocks: usize,
    ) -> Result<Self, WeightsError> {
        let weight = load.weight(&format!("{name}.embed"), &[PATCH_LEN, embed])?;
        let (per_cell, channels, first) = match merge_to {
            None => (1, embed, Embed::One(load.dense(load.bare(weight)))),
            Some(channels) => {
                let merge = load.weight(&format!("{name}.merge"), &[4 * embed, channels])?;
                let merge = load.dense(load.bare(merge));
                (4, channels, Embed::Four(load.conv(weight, None, 1), merge))
            }
        };
        Ok(Self {
            embed: first,
            position: load.rows(&format!("{name}.position"), grid * grid * per_cell, embed)?,
            blocks: (0..blocks)
                .map(|at| {
                    let part = |field: &str| format!("{name}.blocks.{at}.{field}");
                    let conv = load.weight(&part("conv"), &[3, 3 * channels, channels])?;
                    let bias = load.floats(&part("bias"), &[channels])?;
                    let pointwise = load.weight(&part("pointwise"), &[channels, channels])?;
                    Ok((load.conv(conv, Some(bias), 3), load.dense(load.bare(pointwise))))
                })
                .collect::<Result<_, WeightsError>>()?,
            grid,
        })
    }

    /// `patches` lie on the padded grid; the result is `[cells, channels]`.
    pub(super) fn forward(&self, backend: &Backend, patches: &[f32], patch_len: usize) -> Rows {
        let patches = Rows::upload(backend, &self.without_padding(patches), self.position.count(), patch_len);
        let map = match &self.embed {
            Embed::One(embed) => embed.forward_plus(&patches, &self.position),
            Embed::Four(embed, merge) => {
                let row = |rows: Rows| Maps { images: 1, height: 1, width: rows.count(), rows };
                let embedded = embed.forward(&row(patches), Some(&row(self.position.clone()))).rows;
                let joined = 4 * embedded.width();
                merge.forward(&embedded.reshape(joined))
            }
        };
        let square = |rows| Maps { rows, images: 1, height: self.grid, width: self.grid };
        self.blocks
            .iter()
            .fold(square(map), |map, (conv, pointwise)| {
                square(pointwise.forward_plus(&conv.forward(&map, None).rows, &map.rows))
            })
            .rows
    }

    /// The real cells' values: a padded row has one cell more, and there is one padded row more.
    fn without_padding(&self, patches: &[f32]) -> Vec<f32> {
        let padded_row = patches.len() / (self.grid + 1);
        let row = padded_row / (self.grid + 1) * self.grid;
        patches.chunks_exact(padded_row).take(self.grid).flat_map(|cells| &cells[..row]).copied().collect()
    }
}
