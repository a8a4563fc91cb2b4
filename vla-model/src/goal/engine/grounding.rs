//! Grounding: where in an image the thing is that the instruction speaks of. See [`crate::goal`]'s
//! `grounding`; the geometry is done in f32 whatever the layers' precision.

use super::load::Loader;
use crate::compute::{Backend, ComputeError, Conv2d, Dense, DenseSpec, Maps, Precision, Rows, Weight};
use crate::goal::config::PIXEL_OCTAVES;
use crate::goal::grounding::{EXTRA, SHARPNESS};
use crate::weights::WeightsError;

/// The grounding head of one camera.
#[derive(Debug)]
pub(super) struct Grounding {
    query: Dense,
    absent: Dense,
    /// Rectified after its own row for each query is added.
    describe: Conv2d,
    /// `[queries, width]`.
    describe_bias: Rows,
    token: Dense,
    grid: usize,
    channels: usize,
}

/// What to look for: all that depends on the instruction alone.
#[derive(Debug)]
pub(super) struct Sought {
    /// A cell's features to its score for each query.
    score: Dense,
    /// Each query's score of "not in view".
    absent: Vec<f32>,
}

impl Grounding {
    pub(super) fn load(
        load: &mut Loader<'_>,
        name: &str,
        grid: usize,
        channels: usize,
    ) -> Result<Self, WeightsError> {
        let (width, queries) = (load.config().width, load.config().queries);
        let part = |field: &str| format!("{name}.{field}");
        let query = load.linear(&part("query"), width, queries * channels)?;
        let absent = load.linear(&part("absent"), width, queries)?;
        let describe = load.weight(&part("describe"), &[channels + EXTRA, width])?;
        let token = load.linear(&part("token"), width, width)?;
        Ok(Self {
            query: load.dense(query),
            absent: load.dense(absent),
            describe: load.conv(describe, None, 1),
            describe_bias: load.rows(&part("describe_bias"), queries, width)?,
            token: load.dense(token),
            grid,
            channels,
        })
    }

    /// `pooled` is the instruction's vector `[1, width]`.
    pub(super) fn seek(&self, backend: &Backend, pooled: &Rows) -> Result<Sought, ComputeError> {
        let scale = (self.channels as f32).sqrt().recip();
        let queries: Vec<f32> =
            self.query.forward(pooled).download()?.iter().map(|value| value * scale).collect();
        let weight = Weight::float(self.describe_bias.count(), self.channels, queries);
        Ok(Sought {
            score: Dense::new(backend, DenseSpec::new(weight, Precision::F32)),
            absent: self.absent.forward(pooled).download()?,
        })
    }

    /// `map` `[cells, channels]` to a token for each query, `[queries, width]`.
    pub(super) fn look(&self, backend: &Backend, map: &Rows, sought: &Sought) -> Result<Rows, ComputeError> {
        let scores = sought.score.forward(map).download()?;
        let features = map.download()?;
        let queries = sought.absent.len();
        let mut description = Vec::with_capacity(queries * (self.channels + EXTRA));
        for (query, absent) in sought.absent.iter().enumerate() {
            let scores = scores.iter().skip(query).step_by(queries).copied();
            self.describe(scores, *absent, &features, &mut description);
        }
        let row = |rows: Rows| Maps { images: 1, height: 1, width: queries, rows };
        let description = Rows::upload(backend, &description, queries, self.channels + EXTRA);
        let hidden = self.describe.forward(&row(description), Some(&row(self.describe_bias.clone())));
        Ok(self.token.forward(&hidden.rows))
    }

    /// What one query found, added to `out`: the features of the cells by their sharpened probability,
    /// where they are, and how sure it is that nothing is in view.
    fn describe(
        &self,
        scores: impl Iterator<Item = f32> + Clone,
        absent: f32,
        features: &[f32],
        out: &mut Vec<f32>,
    ) {
        let top = scores.clone().fold(f32::NEG_INFINITY, f32::max);
        let (mut all, mut sharp_all) = (0.0, 0.0);
        let mut pixel = [0.0; 2];
        let seen = out.len();
        out.resize(seen + self.channels, 0.0);
        for ((cell, score), features) in scores.enumerate().zip(features.chunks_exact(self.channels)) {
            let weight = (score - top).exp();
            let sharp = ((score - top) * SHARPNESS).exp();
            (all, sharp_all) = (all + weight, sharp_all + sharp);
            pixel[0] += sharp * ((cell % self.grid) as f32 + 0.5);
            pixel[1] += sharp * ((cell / self.grid) as f32 + 0.5);
            out[seen..].iter_mut().zip(features).for_each(|(sum, value)| *sum += sharp * value);
        }
        out[seen..].iter_mut().for_each(|sum| *sum /= sharp_all);
        let pixel = pixel.map(|sum| sum / (sharp_all * self.grid as f32));
        out.extend(pixel.map(|at| at * 2.0 - 1.0));
        for at in pixel {
            let angles =
                (0..PIXEL_OCTAVES).map(|octave| at * std::f32::consts::PI * (1_u32 << octave) as f32);
            out.extend(angles.clone().map(f32::sin));
            out.extend(angles.map(f32::cos));
        }
        let most = top.max(absent);
        let total = all * (top - most).exp() + (absent - most).exp();
        let absent_log = absent - most - total.ln();
        out.extend([absent_log.exp(), absent_log.max(-10.0) * 0.1]);
    }
}
