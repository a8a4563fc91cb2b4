//! The vision tower (SigLIP, arXiv 2303.15343) and the connector to the text tower.

use super::probe::Probe;
use super::source::{Source, reduced};
use crate::checkpoint::smolvla::{CONNECTOR, VISION};
use crate::checkpoint::{Backbone, CheckpointError};
use crate::compute::{
    Activation, Attention, Columns, ComputeError, Dense, DenseSpec, KeysValues, Norm, Precision, Rows, Sight,
    Weight,
};

#[derive(Debug)]
pub(super) struct VisionTower {
    patch_embedding: Dense,
    positions: Rows,
    layers: Vec<Layer>,
    attention: Attention,
    post_norm: Norm,
    connector: Dense,
    /// What the connector's weights are multiplied by.
    scale: f32,
    patches: usize,
    /// Rows of `patch_size` pixels that make each patch, for all cameras.
    patch_rows: Vec<u32>,
    patch_size: usize,
    /// Patches that make each token, for all cameras.
    shuffle: Vec<u32>,
    pixel_shuffle: usize,
}

#[derive(Debug)]
struct Layer {
    qkv: Dense,
    out: Dense,
    up: Dense,
    down: Dense,
}

impl VisionTower {
    /// Loads the tower for at most `cameras` images at once. Patches are embedded in `patches` precision,
    /// the connector works in `connector`.
    pub(super) fn load(
        source: &Source<'_>,
        sizes: &Backbone,
        cameras: usize,
        [patches, connector]: [Precision; 2],
    ) -> Result<Self, CheckpointError> {
        let (width, side) = (sizes.vision_hidden, sizes.patch_size);
        let patch_embedding = patch_embedding(source, width, side, patches)?;
        let positions = source.floats(
            &format!("{VISION}embeddings.position_embedding.weight"),
            sizes.patches(),
            width,
        )?;
        let layers = (0..sizes.vision_layers)
            .map(|layer| {
                let layer =
                    Layer::load(source, &format!("{VISION}encoder.layers.{layer}."), width, sizes.vision_mlp);
                source.tensors.release();
                layer
            })
            .collect::<Result<_, _>>()?;

        let scale = (sizes.hidden as f32).sqrt();
        let tokens_wide = width * sizes.pixel_shuffle * sizes.pixel_shuffle;
        let weight = source.tensors.weight(CONNECTOR, sizes.hidden, tokens_wide)?.scaled(scale);
        let connector = source.build(DenseSpec::new(weight, connector));
        source.tensors.release();
        Ok(Self {
            patch_embedding,
            positions: Rows::upload(source.backend, &positions, sizes.patches(), width),
            layers,
            attention: Attention {
                heads: sizes.vision_heads,
                kv_heads: sizes.vision_heads,
                head_dim: width / sizes.vision_heads,
                reduced: reduced(source.precision),
            },
            post_norm: source.layer_norm(&format!("{VISION}post_layernorm"), width)?,
            connector,
            scale,
            patches: sizes.patches(),
            patch_rows: patch_rows(sizes, cameras),
            patch_size: side,
            shuffle: shuffle(sizes, cameras),
            pixel_shuffle: sizes.pixel_shuffle,
        })
    }

    /// `pixels` of `images` square images, `[images × image_size × image_size / patch_size, patch_size × 3]`,
    /// to `[images × tokens_per_camera, hidden]`, already scaled as the prefix wants it.
    pub(super) fn forward(
        &self,
        pixels: &Rows,
        images: usize,
        probe: &mut Probe<'_>,
    ) -> Result<Rows, ComputeError> {
        let patches = images * self.patches;
        let pixels = pixels.gather(&self.patch_rows[..patches * self.patch_size], self.patch_size);
        let mut x = self.patch_embedding.forward(&pixels);
        x.add_repeated(&self.positions);
        self.record(probe, "embed", &x, images)?;
        for (at, layer) in self.layers.iter().enumerate() {
            x = layer.forward(&x, &self.attention, images);
            self.record(probe, &format!("layer{at}"), &x, images)?;
        }
        let x = self.post_norm.forward(&x);
        self.record(probe, "post_layernorm", &x, images)?;
        let tokens = self.connector.forward(&x.gather(&self.shuffle[..patches], self.pixel_shuffle.pow(2)));
        for image in 0..images {
            let rows = tokens.count() / images;
            probe.values(
                || format!("vision.image{image}.connector"),
                || {
                    let values = tokens.narrow(image * rows, rows).download()?;
                    let values = values.into_iter().map(|value| value / self.scale).collect();
                    Ok((vec![rows, tokens.width()], values))
                },
            )?;
        }
        Ok(tokens)
    }

    fn record(
        &self,
        probe: &mut Probe<'_>,
        name: &str,
        rows: &Rows,
        images: usize,
    ) -> Result<(), ComputeError> {
        if probe.traces() {
            for image in 0..images {
                let rows = rows.narrow(image * self.patches, self.patches);
                probe.rows(|| format!("vision.image{image}.{name}"), &rows)?;
            }
        }
        Ok(())
    }
}

impl Layer {
    fn load(source: &Source<'_>, prefix: &str, width: usize, mlp: usize) -> Result<Self, CheckpointError> {
        let norm = |name: &str| source.layer_norm(&format!("{prefix}{name}"), width).map(Some);
        let qkv = [("self_attn.q_proj", width), ("self_attn.k_proj", width), ("self_attn.v_proj", width)];
        let none = Activation::None;
        Ok(Self {
            qkv: source.dense_biased(prefix, &qkv, width, norm("layer_norm1")?, none)?,
            out: source.dense_biased(prefix, &[("self_attn.out_proj", width)], width, None, none)?,
            up: source.dense_biased(
                prefix,
                &[("mlp.fc1", mlp)],
                width,
                norm("layer_norm2")?,
                Activation::GeluTanh,
            )?,
            down: source.dense_biased(prefix, &[("mlp.fc2", width)], mlp, None, none)?,
        })
    }

    fn forward(&self, x: &Rows, attention: &Attention, images: usize) -> Rows {
        let width = x.width();
        let qkv = self.qkv.forward(x);
        let own = KeysValues { keys: Columns::new(&qkv, width), values: Columns::new(&qkv, 2 * width) };
        let mixed = attention.forward(Columns::new(&qkv, 0), &[own], images, Sight::All);
        let x = self.out.forward_plus(&mixed, x);
        self.down.forward_plus(&self.up.forward(&x), &x)
    }
}

/// The patch embedding as a matrix: a patch's pixels side by side, red, green and blue of each together.
fn patch_embedding(
    source: &Source<'_>,
    width: usize,
    side: usize,
    precision: Precision,
) -> Result<Dense, CheckpointError> {
    let name = format!("{VISION}embeddings.patch_embedding");
    let (pixels, inputs) = (side * side, 3 * side * side);
    let by_channel = source.floats(&format!("{name}.weight"), width, inputs)?;
    let mut by_pixel = Vec::with_capacity(by_channel.len());
    for row in by_channel.chunks_exact(inputs) {
        by_pixel.extend((0..inputs).map(|at| row[at % 3 * pixels + at / 3]));
    }
    let bias = Some(source.tensors.vector(&format!("{name}.bias"), width)?);
    let weight = Weight::float(width, inputs, by_pixel);
    Ok(source.build(DenseSpec { bias, ..DenseSpec::new(weight, precision) }))
}

/// For each patch, the runs of `patch_size` pixels that it is made of.
fn patch_rows(sizes: &Backbone, cameras: usize) -> Vec<u32> {
    let (side, grid) = (sizes.patch_size, sizes.image_size / sizes.patch_size);
    let patches =
        (0..cameras * sizes.patches()).map(|at| (at / sizes.patches(), at / grid % grid, at % grid));
    patches
        .flat_map(|(image, y, x)| {
            (0..side).map(move |row| (((image * grid + y) * side + row) * grid + x) as u32)
        })
        .collect()
}

/// For each token, its square of patches, row by row.
fn shuffle(sizes: &Backbone, cameras: usize) -> Vec<u32> {
    let (square, grid) = (sizes.pixel_shuffle, sizes.image_size / sizes.patch_size);
    let tokens = grid / square;
    let per_camera = tokens * tokens;
    let tokens =
        (0..cameras * per_camera).map(move |at| (at / per_camera, at / tokens % tokens, at % tokens));
    tokens
        .flat_map(|(image, y, x)| {
            (0..square * square).map(move |at| {
                let (row, column) = (y * square + at / square, x * square + at % square);
                ((image * grid + row) * grid + column) as u32
            })
        })
        .collect()
}
