//! One training step: forward, losses, backward, clipping, AdamW.
//!
//! On the CPU the batch is cut into shards, one for each thread, each with a thread pool of its
//! own: the backend's elementwise operations run on one thread, so two half batches side by side
//! are much faster than one whole batch over two threads. Gradients are added in the order of the
//! shards, so a run depends on the number of shards, and on nothing else.

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param, ParamId};
use burn::optim::{AdamWConfig, GradientsParams, ModuleOptimizer};
use burn::tensor::{Device, Int, Tensor, TensorData};

use super::batch::TrainBatch;
use super::config::{ConfigError, GoalModelConfig};
use super::loss::{self, Factors, LossWeights, Mean, StepReport};
use super::model::{Constants, DENSE_KINDS, ForwardError, GoalModel, GoalNet, check_words, read};
use super::transformer::Dense;
use super::vision::{Tower, TowerGrads};

/// How a model is trained.
#[derive(Clone, Debug, PartialEq)]
pub struct TrainerConfig {
    /// How much each loss counts.
    pub weights: LossWeights,
    /// Decoupled weight decay, per unit of learning rate.
    pub weight_decay: f32,
    /// Largest norm of the whole gradient.
    pub gradient_clip: f32,
    /// Shards of a batch, each on a thread of its own; 1 on a GPU.
    pub shards: usize,
    /// Decay of the moving average of the weights at each averaging, 0 to switch it off.
    pub average_decay: f32,
    /// Steps between averagings.
    pub average_every: u64,
}

impl Default for TrainerConfig {
    fn default() -> Self {
        let shards = std::thread::available_parallelism().map_or(1, usize::from);
        Self {
            weights: LossWeights::default(),
            weight_decay: 0.01,
            gradient_clip: 1.0,
            shards,
            average_decay: 0.98,
            average_every: 10,
        }
    }
}

/// Why a training step did not happen.
#[derive(Debug, thiserror::Error)]
pub enum TrainError {
    /// Sizes that describe no model.
    #[error("the model's sizes are wrong: {0}")]
    Config(#[from] ConfigError),
    /// The batch does not fit the model, or the device failed.
    #[error(transparent)]
    Forward(#[from] ForwardError),
    /// A worker's thread pool could not be made.
    #[error("could not start {shards} training threads: {reason}")]
    Threads {
        /// Threads asked for.
        shards: usize,
        /// What the system said.
        reason: String,
    },
    /// The gradient is NaN or infinite; the weights are as they were before the step.
    #[error("the gradient of step {step} is not finite")]
    Diverged {
        /// The step, counted from 1.
        step: u64,
    },
}

impl From<super::model::ShapeError> for TrainError {
    fn from(error: super::model::ShapeError) -> Self {
        Self::Forward(error.into())
    }
}

/// A learning rate that rises linearly and falls along a cosine.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Schedule {
    /// Highest learning rate.
    pub peak: f64,
    /// Learning rate at the end.
    pub floor: f64,
    /// Steps of the rise.
    pub warmup: u64,
    /// Steps of the whole training.
    pub total: u64,
}

impl Schedule {
    /// The learning rate of a step, counted from 0.
    pub fn at(&self, step: u64) -> f64 {
        if step < self.warmup {
            return self.peak * (step + 1) as f64 / self.warmup as f64;
        }
        let span = self.total.saturating_sub(self.warmup).max(1) as f64;
        let done = ((step - self.warmup) as f64 / span).min(1.0);
        self.floor + (self.peak - self.floor) * 0.5 * (1.0 + (std::f64::consts::PI * done).cos())
    }
}

/// A goal model in training.
pub struct Trainer {
    net: GoalNet,
    average: Option<Vec<(ParamId, Tensor<1>)>>,
    model: GoalModelConfig,
    config: TrainerConfig,
    constants: Constants,
    optimizer: ModuleOptimizer,
    pools: Vec<rayon::ThreadPool>,
    device: Device,
    step: u64,
}

impl Trainer {
    /// Starts from seeded random weights.
    ///
    /// # Errors
    /// [`TrainError::Config`] or [`TrainError::Threads`].
    pub fn new(
        model: &GoalModelConfig,
        config: TrainerConfig,
        device: &Device,
        seed: u64,
    ) -> Result<Self, TrainError> {
        model.check_build()?;
        Self::from_net(GoalNet::init(model, seed, device), model.clone(), config, device)
    }

    /// Goes on from a model's weights; the optimiser starts afresh.
    ///
    /// # Errors
    /// [`TrainError::Config`] or [`TrainError::Threads`].
    pub fn resume(model: GoalModel, config: TrainerConfig) -> Result<Self, TrainError> {
        model.config.check_build()?;
        let device = model.device.clone();
        Self::from_net(model.net, model.config, config, &device)
    }

    fn from_net(
        net: GoalNet,
        model: GoalModelConfig,
        config: TrainerConfig,
        device: &Device,
    ) -> Result<Self, TrainError> {
        let shards = config.shards;
        let pools =
            if shards > 1 { (0..shards).map(|_| pool(shards)).collect::<Result<_, _>>()? } else { vec![] };
        let optimizer = AdamWConfig::new()
            .with_beta_2(0.99)
            .with_epsilon(1e-8)
            .with_weight_decay(config.weight_decay)
            .init();
        Ok(Self {
            net,
            average: None,
            constants: Constants::new(&model, device),
            model,
            config,
            optimizer,
            pools,
            device: device.clone(),
            step: 0,
        })
    }

    /// Steps done so far.
    pub fn steps(&self) -> u64 {
        self.step
    }

    /// The weights as they are now, on the training device.
    pub fn model(&self) -> GoalModel {
        GoalModel::from_net(self.net.clone(), self.model.clone(), &self.device)
    }

    /// The moving average of the weights, which generalises a little better than the newest ones;
    /// those where averaging is off or has not begun.
    pub fn averaged_model(&self) -> GoalModel {
        let mut net = self.net.clone();
        if let Some(average) = &self.average {
            net = net.map(&mut Replace { values: average });
        }
        GoalModel::from_net(net, self.model.clone(), &self.device)
    }

    /// One step on `batch` with learning rate `lr`.
    ///
    /// # Errors
    /// [`TrainError::Forward`] for a batch that does not fit, [`TrainError::Diverged`] for a
    /// gradient that is not finite; the weights are then as they were.
    pub fn step(&mut self, batch: &TrainBatch, lr: f64) -> Result<StepReport, TrainError> {
        batch.check(&self.model)?;
        check_words(&batch.words, self.model.word_vocabulary)?;
        self.step += 1;
        let factors = Factors::new(batch, &self.config.weights);
        let worker = Worker {
            net: &self.net,
            model: &self.model,
            constants: &self.constants,
            background: self.config.weights.background,
            device: &self.device,
            factors,
            batch,
        };
        let results = worker.all_shards(&self.pools)?;
        let mut report = StepReport::default();
        let mut shards = Vec::with_capacity(results.len());
        for (grads, part) in results {
            report.merge(&part);
            shards.push(grads);
        }
        let mut merge = Merge { shards, merged: GradientsParams::new(), squares: Vec::new() };
        self.net.visit(&mut merge);
        let norm = read(Tensor::cat(merge.squares, 0).sum())?.first().map_or(0.0, |square| square.sqrt());
        if !norm.is_finite() {
            return Err(TrainError::Diverged { step: self.step });
        }
        report.gradient_norm = norm;
        let mut grads = merge.merged;
        if norm > self.config.gradient_clip {
            let mut scale =
                Scale { grads, factor: self.config.gradient_clip / norm, scaled: GradientsParams::new() };
            self.net.visit(&mut scale);
            grads = scale.scaled;
        }
        self.net = self.optimizer.step(lr, self.net.clone().train(), grads).valid();
        self.update_average();
        Ok(report)
    }

    /// Measures `batch` without learning from it.
    ///
    /// # Errors
    /// [`TrainError::Forward`] for a batch that does not fit.
    pub fn evaluate(&self, batch: &TrainBatch) -> Result<StepReport, TrainError> {
        evaluate(&self.model(), batch, &self.config.weights)
    }

    fn update_average(&mut self) {
        let decay = self.config.average_decay;
        if decay <= 0.0 || !self.step.is_multiple_of(self.config.average_every.max(1)) {
            return;
        }
        let mut flat = Flatten(Vec::new());
        self.net.visit(&mut flat);
        // Early on the average follows the weights closely: the first ones are worth nothing.
        let count = (self.step / self.config.average_every.max(1)) as f32;
        let decay = decay.min(count / (count + 9.0));
        self.average = Some(match self.average.take() {
            None => flat.0,
            Some(average) => average
                .into_iter()
                .zip(flat.0)
                .map(|((id, old), (_, new))| (id, old * decay + new * (1.0 - decay)))
                .collect(),
        });
    }
}

/// Measures a model on `batch` without learning.
///
/// # Errors
/// [`TrainError::Forward`] for a batch that does not fit.
pub fn evaluate(
    model: &GoalModel,
    batch: &TrainBatch,
    weights: &LossWeights,
) -> Result<StepReport, TrainError> {
    batch.check(&model.config)?;
    check_words(&batch.words, model.config.word_vocabulary)?;
    let worker = Worker {
        net: &model.net,
        model: &model.config,
        constants: &model.constants,
        background: weights.background,
        device: &model.device,
        factors: Factors::new(batch, weights),
        batch,
    };
    Ok(worker.measure(0, batch.inputs.batch)?)
}

fn pool(shards: usize) -> Result<rayon::ThreadPool, TrainError> {
    rayon::ThreadPoolBuilder::new()
        .num_threads(1)
        .thread_name(|_| "train-shard".to_owned())
        .build()
        .map_err(|error| TrainError::Threads { shards, reason: error.to_string() })
}

/// Everything that one shard of a step reads.
struct Worker<'a> {
    net: &'a GoalNet,
    model: &'a GoalModelConfig,
    constants: &'a Constants,
    background: f32,
    device: &'a Device,
    factors: Factors,
    batch: &'a TrainBatch,
}

type ShardResult = Result<(GradientsParams, StepReport), ForwardError>;

/// Gradients of the scores, computed on the host.
struct ScoreGrads {
    slots: Vec<f32>,
    scene_heat: Vec<f32>,
    wrist_heat: Vec<f32>,
}

impl Worker<'_> {
    fn all_shards(
        &self,
        pools: &[rayon::ThreadPool],
    ) -> Result<Vec<(GradientsParams, StepReport)>, ForwardError> {
        let batch = self.batch.inputs.batch;
        if pools.is_empty() || batch < pools.len() {
            return Ok(vec![self.shard(0, batch)?]);
        }
        let cut = |shard: usize| shard * batch / pools.len();
        std::thread::scope(|scope| {
            let threads: Vec<_> = pools
                .iter()
                .enumerate()
                .map(|(shard, pool)| {
                    scope.spawn(move || pool.install(|| self.shard(cut(shard), cut(shard + 1))))
                })
                .collect();
            threads
                .into_iter()
                .map(|thread| {
                    thread.join().unwrap_or_else(|_| {
                        Err(ForwardError::Device { reason: "a training thread panicked".to_owned() })
                    })
                })
                .collect()
        })
    }

    /// Gradients of samples `from..to`.
    fn shard(&self, from: usize, to: usize) -> ShardResult {
        let count = to - from;
        let inputs = self.batch.inputs.tensors(from, to, self.device);
        let (scene_map, scene_tape) = self.net.scene.forward_taped(inputs.scene.clone(), count);
        let (wrist_map, wrist_tape) = self.net.wrist.forward_taped(inputs.wrist.clone(), count);
        let mut report = StepReport::default();
        let scene_dense = self.scene_dense(&scene_map, from, to, &mut report)?;
        let wrist_dense = self.wrist_dense(&wrist_map, from, to, &mut report)?;

        // Fresh leaves, so that the tapes of the shards share nothing.
        let net = self.net.clone().train();
        let leaf = |map: &Tensor<2>, [cells, channels]: [usize; 2]| {
            Tensor::<3>::from_inner(map.clone().reshape([count, cells, channels])).require_grad()
        };
        let scene_leaf = leaf(&scene_map, self.net.scene_map_shape());
        let wrist_leaf = leaf(&wrist_map, self.net.wrist_map_shape());
        let (words, mask) = self.words(from, to);
        let context = net.context(words, Some(mask));
        let outputs = net.decide(scene_leaf.clone(), wrist_leaf.clone(), &inputs, &context, self.constants);
        let scene_scores = outputs.scene_scores.narrow(1, 0, 1);
        let wrist_scores = outputs.wrist_scores.narrow(1, 0, 1);
        let score_grads = self.score_grads(
            [outputs.logits.clone().inner(), scene_scores.clone().inner(), wrist_scores.clone().inner()],
            from,
            to,
            &mut report,
        )?;
        let weigh = |scores: Tensor<3>, grads: Vec<f32>| {
            let shape = scores.dims();
            (scores * Tensor::from_data(TensorData::new(grads, shape), self.device)).sum()
        };
        let surrogate = weigh(outputs.logits, score_grads.slots)
            + weigh(scene_scores, score_grads.scene_heat)
            + weigh(wrist_scores, score_grads.wrist_heat);
        let mut tape = surrogate.backward();
        let d_scene = scene_leaf.grad_remove(&mut tape);
        let d_wrist = wrist_leaf.grad_remove(&mut tape);
        let mut grads = GradientsParams::from_grads(tape, &net);
        let flat = |d: Option<Tensor<3>>, map: &Tensor<2>, dense: Tensor<2>| match d {
            Some(d) => d.reshape(map.dims()) + dense,
            None => dense,
        };
        let d_scene = flat(d_scene, &scene_map, scene_dense.register(&mut grads, &self.net.scene_dense));
        let d_wrist = flat(d_wrist, &wrist_map, wrist_dense.register(&mut grads, &self.net.wrist_dense));
        register_tower(&mut grads, &self.net.scene, self.net.scene.backward(scene_tape, d_scene, count));
        register_tower(&mut grads, &self.net.wrist, self.net.wrist.backward(wrist_tape, d_wrist, count));
        Ok((grads, report))
    }

    /// The report of samples `from..to`, without gradients.
    fn measure(&self, from: usize, to: usize) -> Result<StepReport, ForwardError> {
        let count = to - from;
        let inputs = self.batch.inputs.tensors(from, to, self.device);
        let scene_map = self.net.scene.forward(inputs.scene.clone(), count);
        let wrist_map = self.net.wrist.forward(inputs.wrist.clone(), count);
        let mut report = StepReport::default();
        self.scene_dense(&scene_map, from, to, &mut report)?;
        self.wrist_dense(&wrist_map, from, to, &mut report)?;
        let (words, mask) = self.words(from, to);
        let context = self.net.context(words, Some(mask));
        let [scene_cells, scene_channels] = self.net.scene_map_shape();
        let [wrist_cells, wrist_channels] = self.net.wrist_map_shape();
        let outputs = self.net.decide(
            scene_map.reshape([count, scene_cells, scene_channels]),
            wrist_map.reshape([count, wrist_cells, wrist_channels]),
            &inputs,
            &context,
            self.constants,
        );
        let scores =
            [outputs.logits, outputs.scene_scores.narrow(1, 0, 1), outputs.wrist_scores.narrow(1, 0, 1)];
        self.score_grads(scores, from, to, &mut report)?;
        Ok(report)
    }

    fn words(&self, from: usize, to: usize) -> (Tensor<2, Int>, Tensor<2>) {
        let longest = self.model.max_words;
        let range = from * longest..to * longest;
        let (words, mask) = (&self.batch.words[range.clone()], &self.batch.word_mask[range]);
        // Places that are padding in every sample change nothing and cost time.
        let used = mask
            .chunks_exact(longest)
            .filter_map(|row| row.iter().rposition(|real| *real > 0.0))
            .max()
            .map_or(1, |last| last + 1);
        let shape = [to - from, used];
        let ids: Vec<i32> = words.chunks_exact(longest).flat_map(|row| row[..used].iter().copied()).collect();
        let mask: Vec<f32> = mask.chunks_exact(longest).flat_map(|row| row[..used].iter().copied()).collect();
        (
            Tensor::from_data(TensorData::new(ids, shape), self.device),
            Tensor::from_data(TensorData::new(mask, shape), self.device),
        )
    }

    fn score_grads(
        &self,
        [slots, scene, wrist]: [Tensor<3>; 3],
        from: usize,
        to: usize,
        report: &mut StepReport,
    ) -> Result<ScoreGrads, ForwardError> {
        let batch = self.batch;
        let total = batch.inputs.batch.max(1);
        let part = |values: &[f32]| {
            let each = values.len() / total;
            from * each..to * each
        };
        let mut slots = read(slots)?;
        loss::slots(
            &mut slots,
            &batch.slot_targets[part(&batch.slot_targets)],
            &batch.slot_weights[part(&batch.slot_weights)],
            self.factors.slots,
            report,
        );
        let weights = &batch.heat_weights[part(&batch.heat_weights)];
        let mut scene = read(scene)?;
        loss::heat(
            &mut scene,
            &batch.scene_heat[part(&batch.scene_heat)],
            weights,
            (0, self.net.scene.grid),
            self.factors.scene_heat,
            (&mut report.scene_heat, &mut report.scene_hit),
        );
        let mut wrist = read(wrist)?;
        loss::heat(
            &mut wrist,
            &batch.wrist_heat[part(&batch.wrist_heat)],
            weights,
            (1, self.net.wrist.grid),
            self.factors.wrist_heat,
            (&mut report.wrist_heat, &mut report.wrist_hit),
        );
        Ok(ScoreGrads { slots, scene_heat: scene, wrist_heat: wrist })
    }

    fn scene_dense(
        &self,
        map: &Tensor<2>,
        from: usize,
        to: usize,
        report: &mut StepReport,
    ) -> Result<DenseGrads, ForwardError> {
        let labels = (self.batch.scene_kinds.as_slice(), self.batch.scene_colors.as_slice());
        self.dense(
            &self.net.scene_dense,
            map,
            labels,
            (from, to),
            self.factors.scene_dense,
            &mut report.scene_dense,
        )
    }

    fn wrist_dense(
        &self,
        map: &Tensor<2>,
        from: usize,
        to: usize,
        report: &mut StepReport,
    ) -> Result<DenseGrads, ForwardError> {
        let labels = (self.batch.wrist_kinds.as_slice(), self.batch.wrist_colors.as_slice());
        self.dense(
            &self.net.wrist_dense,
            map,
            labels,
            (from, to),
            self.factors.wrist_dense,
            &mut report.wrist_dense,
        )
    }

    fn dense(
        &self,
        head: &Dense,
        map: &Tensor<2>,
        (kinds, colors): (&[u8], &[u8]),
        (from, to): (usize, usize),
        factor: f32,
        report: &mut Mean,
    ) -> Result<DenseGrads, ForwardError> {
        let scores = head.forward(map.clone());
        let shape = scores.dims();
        let each = kinds.len() / self.batch.inputs.batch.max(1);
        let labels = (&kinds[from * each..to * each], &colors[from * each..to * each]);
        let mut scores = read(scores)?;
        loss::dense(&mut scores, labels, DENSE_KINDS, (factor, self.background), report);
        let d_scores = Tensor::<2>::from_data(TensorData::new(scores, shape), self.device);
        Ok(DenseGrads {
            weight: map.clone().transpose().matmul(d_scores.clone()),
            bias: d_scores.clone().sum_dim(0).reshape([shape[1]]),
            map: d_scores.matmul(head.weight.val().transpose()),
        })
    }
}

/// Gradients of a dense head and of the map that it read.
struct DenseGrads {
    weight: Tensor<2>,
    bias: Tensor<1>,
    map: Tensor<2>,
}

impl DenseGrads {
    /// Registers the head's gradients and gives the map's.
    fn register(self, grads: &mut GradientsParams, head: &Dense) -> Tensor<2> {
        grads.register(head.weight.id, self.weight);
        grads.register(head.bias.id, self.bias);
        self.map
    }
}

fn register_tower(grads: &mut GradientsParams, tower: &Tower, values: TowerGrads) {
    grads.register(tower.embed.id, values.embed);
    grads.register(tower.position.id, values.position);
    if let (Some(merge), Some(value)) = (&tower.merge, values.merge) {
        grads.register(merge.id, value);
    }
    for (block, (conv, bias, pointwise)) in tower.blocks.iter().zip(values.blocks) {
        grads.register(block.conv.id, conv);
        grads.register(block.bias.id, bias);
        grads.register(block.pointwise.id, pointwise);
    }
}

/// Adds the shards' gradients, in order, and squares the sums.
struct Merge {
    shards: Vec<GradientsParams>,
    merged: GradientsParams,
    squares: Vec<Tensor<1>>,
}

impl ModuleVisitor for Merge {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let parts = self.shards.iter_mut().filter_map(|shard| shard.remove::<D>(param.id));
        if let Some(sum) = parts.reduce(|sum, part| sum + part) {
            self.squares.push((sum.clone() * sum.clone()).sum());
            self.merged.register(param.id, sum);
        }
    }
}

/// Multiplies all gradients.
struct Scale {
    grads: GradientsParams,
    factor: f32,
    scaled: GradientsParams,
}

impl ModuleVisitor for Scale {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        if let Some(grad) = self.grads.remove::<D>(param.id) {
            self.scaled.register(param.id, grad * self.factor);
        }
    }
}

/// Collects all weights, flattened.
struct Flatten(Vec<(ParamId, Tensor<1>)>);

impl ModuleVisitor for Flatten {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let value = param.val();
        let count = value.shape().num_elements();
        self.0.push((param.id, value.reshape([count])));
    }
}

/// Puts flattened weights back into their shapes.
struct Replace<'a> {
    values: &'a [(ParamId, Tensor<1>)],
}

impl ModuleMapper for Replace<'_> {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        match self.values.iter().find(|(id, _)| *id == param.id) {
            Some((_, value)) => {
                let value = value.clone();
                param.map(|old| value.reshape(old.shape()))
            }
            None => param,
        }
    }
}
