//! The network: normalised images and state to a normalised chunk.

use std::ops::Range;

use super::Precisions;
use super::backbone::Backbone;
use super::decoder::Decoder;
use super::encoder::Encoder;
use super::layers::Source;
use super::position::sinusoid_2d;
use super::probe::{Probe, Stage};
use crate::checkpoint::{ActConfig, CheckpointError, Tensors};
use crate::compute::{Activation, Backend, ComputeError, Dense, Maps, Rows};

const COLOURS: usize = 3;

/// ACT's network, ready on its backend.
#[derive(Debug)]
pub(super) struct Network {
    backend: Backend,
    groups: Vec<Group>,
    backbone: Backbone,
    image_projection: Dense,
    /// The latent's token: the latent is zero at inference.
    latent: Rows,
    state_projection: Option<Dense>,
    positions: Rows,
    encoder: Encoder,
    decoder: Decoder,
    action_head: Dense,
    config: ActConfig,
}

/// Consecutive cameras of one size, which go through the backbone together.
#[derive(Debug)]
struct Group {
    cameras: Range<usize>,
    /// Height and width, pixels.
    size: [usize; 2],
}

impl Group {
    fn pixels(&self) -> usize {
        self.cameras.len() * self.size[0] * self.size[1]
    }
}

impl Network {
    /// Loads what inference needs; the variational encoder stays in the file.
    ///
    /// # Errors
    /// When a tensor is missing or does not fit the configuration, or the configuration wants an
    /// environment's state, which no observation has.
    pub(super) fn load(
        config: &ActConfig,
        tensors: &Tensors,
        backend: &Backend,
        precision: Precisions,
    ) -> Result<Self, CheckpointError> {
        let common = &config.common;
        let dim = config.dim_model;
        if common.environment_len > 0 {
            return Err(CheckpointError::Option {
                file: "config.json",
                field: "input_features.observation.environment_state".to_owned(),
                expected: "cameras and the robot's own state alone".to_owned(),
                actual: format!("{} values", common.environment_len),
            });
        }
        let source =
            Source { tensors, backend, dim, heads: config.n_heads, feed_forward: config.dim_feedforward };
        let backbone = Backbone::load(tensors, backend, precision.stem, precision.backbone)?;
        let image_projection = source.dense(
            "model.encoder_img_feat_input_proj",
            [backbone.channels(), dim],
            Activation::None,
            precision.encoder,
        )?;
        let latent = tensors.vector("model.encoder_latent_input_proj.bias", dim)?;
        let state_projection = (common.state_len > 0)
            .then(|| {
                let name = "model.encoder_robot_state_input_proj";
                source.dense(name, [common.state_len, dim], Activation::None, precision.ends)
            })
            .transpose()?;

        let groups = groups(config);
        let positions = positions(&source, usize::from(state_projection.is_some()), &groups)?;
        let encoder = Encoder::load(&source, config.n_encoder_layers, &positions, precision.encoder)?;
        let decoder = Decoder::load(
            &source,
            config.n_decoder_layers,
            common.chunk_size,
            &positions,
            precision.decoder,
        )?;
        let head = [dim, common.action_len];
        let action_head = source.dense("model.action_head", head, Activation::None, precision.ends)?;
        Ok(Self {
            latent: Rows::upload(backend, &latent, 1, dim),
            backend: backend.clone(),
            groups,
            backbone,
            image_projection,
            state_projection,
            positions,
            encoder,
            decoder,
            action_head,
            config: config.clone(),
        })
    }

    /// The checkpoint's options.
    #[must_use]
    pub(super) fn config(&self) -> &ActConfig {
        &self.config
    }

    /// Floating-point operations of `stage` for one chunk, a multiply-add counting as two. Convolutions,
    /// matrices and attention alone, without what is computed at load.
    #[must_use]
    pub(super) fn flops(&self, stage: Stage) -> u64 {
        let config = &self.config;
        let (tokens, chunk) = (self.positions.count(), config.common.chunk_size);
        let dim = config.dim_model;
        let matrix = |rows: usize, inputs: usize, outputs: usize| 2 * (rows * inputs * outputs) as u64;
        // Scores and sums.
        let attention = |queries: usize, keys: usize| 4 * (queries * keys * dim) as u64;
        let feed_forward = |rows: usize| 2 * matrix(rows, dim, config.dim_feedforward);
        let to_itself = |rows: usize| matrix(rows, dim, 4 * dim) + attention(rows, rows);
        match stage {
            Stage::Images => 0,
            Stage::Backbone => {
                let images = |group: &Group| group.cameras.len() as u64 * self.backbone.flops(group.size);
                self.groups.iter().map(images).sum()
            }
            Stage::Encoder => {
                let learned = 1 + usize::from(self.state_projection.is_some());
                matrix(tokens - learned, self.backbone.channels(), dim)
                    + matrix(1, config.common.state_len, dim)
                    + config.n_encoder_layers as u64 * (to_itself(tokens) + feed_forward(tokens))
            }
            Stage::Decoder => {
                let crossing = matrix(tokens, dim, 2 * dim)
                    + attention(chunk, tokens)
                    + matrix(chunk, dim, dim)
                    + feed_forward(chunk);
                let queries = to_itself(chunk) + matrix(chunk, dim, dim);
                let layers = config.n_decoder_layers as u64;
                layers * crossing + (layers - 1) * queries + matrix(chunk, dim, config.common.action_len)
            }
        }
    }

    /// `pixels`: red, green and blue of each pixel, row by row, camera after camera in the order of the
    /// configuration; `state`: its values. Both normalised. Gives `chunk_size × action_len` normalised
    /// values.
    ///
    /// # Errors
    /// [`ComputeError`] when the device fails.
    pub(super) fn forward(
        &self,
        pixels: &[f32],
        state: &[f32],
        probe: &mut Probe<'_>,
    ) -> Result<Vec<f32>, ComputeError> {
        let mut rest = pixels;
        let mut maps = Vec::with_capacity(self.groups.len());
        for group in &self.groups {
            let values;
            (values, rest) = rest.split_at(group.pixels() * COLOURS);
            maps.push(self.backbone.forward(&Maps {
                rows: Rows::upload(&self.backend, values, group.pixels(), COLOURS),
                images: group.cameras.len(),
                height: group.size[0],
                width: group.size[1],
            }));
        }
        if let Some(last) = maps.last() {
            probe.end(Stage::Backbone, &last.rows)?;
        }

        let projected: Vec<Rows> =
            maps.iter().map(|maps| self.image_projection.forward(&maps.rows)).collect();
        if probe.trace.is_some() {
            self.put_maps(&maps, &projected, probe)?;
        }
        let state = self
            .state_projection
            .as_ref()
            .map(|projection| projection.forward(&Rows::upload(&self.backend, state, 1, state.len())));
        let tokens: Vec<&Rows> = std::iter::once(&self.latent).chain(&state).chain(&projected).collect();
        let tokens = Rows::stack(&tokens);
        probe.put(|| "encoder.in".into(), &tokens)?;
        probe.put(|| "encoder.pos".into(), &self.positions)?;
        let memory = self.encoder.forward(tokens, probe)?;
        probe.end(Stage::Encoder, &memory)?;

        let hidden = self.decoder.forward(&memory, probe)?;
        let actions = self.action_head.forward(&hidden);
        probe.end(Stage::Decoder, &actions)?;
        if let Some(trace) = &mut probe.trace {
            trace.put("output.action_chunk", &actions)?;
        }
        actions.download()
    }

    fn put_maps(&self, maps: &[Maps], projected: &[Rows], probe: &mut Probe<'_>) -> Result<(), ComputeError> {
        let mut at = 1 + usize::from(self.state_projection.is_some());
        for (group, (maps, projected)) in self.groups.iter().zip(maps.iter().zip(projected)) {
            let size = [maps.height, maps.width];
            for (image, camera) in group.cameras.clone().enumerate() {
                let places = self.positions.narrow(at, maps.height * maps.width);
                at += places.count();
                let mut put = |what, rows, image| {
                    probe.put_map(|| format!("backbone.image{camera}.{what}"), rows, image, size)
                };
                put("feature_map", &maps.rows, image)?;
                put("projected", projected, image)?;
                put("pos_embed", &places, 0)?;
            }
        }
        Ok(())
    }
}

/// The cameras in runs of one size.
fn groups(config: &ActConfig) -> Vec<Group> {
    let mut groups: Vec<Group> = Vec::new();
    for (at, camera) in config.common.cameras.iter().enumerate() {
        let size = [camera.height, camera.width];
        match groups.last_mut() {
            Some(group) if group.size == size => group.cameras.end += 1,
            _ => groups.push(Group { cameras: at..at + 1, size }),
        }
    }
    groups
}

/// `[tokens, dim]`: learned positions of latent and state, then the pixels of each camera's feature map.
fn positions(source: &Source<'_>, states: usize, groups: &[Group]) -> Result<Rows, CheckpointError> {
    let (dim, backend) = (source.dim, source.backend);
    let mut parts = vec![source.table("model.encoder_1d_feature_pos_embed.weight", 1 + states)?];
    for group in groups {
        let [height, width] = Backbone::map_size(group.size);
        let map = Rows::upload(backend, &sinusoid_2d(height, width, dim), height * width, dim);
        parts.extend(std::iter::repeat_n(map, group.cameras.len()));
    }
    Ok(Rows::stack(&parts.iter().collect::<Vec<_>>()))
}
