//! From an observation to a chunk.

use std::collections::BTreeMap;
use std::path::Path;

use super::Precisions;
use super::ensemble::Ensemble;
use super::network::Network;
use super::probe::{Probe, Stage};
use crate::checkpoint::{self, ActConfig, Checkpoint, CheckpointError, Moments, Normaliser, PolicyConfig};
use crate::chunk::{ActionChunk, Ahead};
use crate::compute::Backend;
use crate::observation::{Camera, Observation};
use crate::policy::{Milestone, Output, Policy, PolicyError};
use crate::units::Units;

/// How a checkpoint is run.
#[derive(Clone, Debug, PartialEq)]
pub struct ActOptions {
    /// Numbers of each part; f32 by default.
    pub precision: Precisions,
    /// Coefficient of temporal ensembling in place of the checkpoint's own; see [`Ensemble`]. Ensembling
    /// wants a chunk every period.
    pub temporal_ensemble_coeff: Option<f64>,
    /// Time between two actions, ns: that of the training data. 30 Hz by default.
    pub period_ns: u64,
    /// The observation's camera for a camera of the checkpoint, where they have different names.
    pub cameras: BTreeMap<String, String>,
    /// Units of the training data's states and actions; rad and m by default.
    pub units: Units,
}

impl Default for ActOptions {
    fn default() -> Self {
        Self {
            precision: Precisions::default(),
            temporal_ensemble_coeff: None,
            period_ns: 1_000_000_000 / 30,
            cameras: BTreeMap::new(),
            units: Units::default(),
        }
    }
}

/// An ACT policy, ready on its backend.
#[derive(Debug)]
pub struct Act {
    network: Network,
    device: String,
    statistics: Normaliser,
    /// The normalised value of each of the 256 levels, for red, green and blue.
    levels: Vec<[[f32; 256]; 3]>,
    cameras: Vec<checkpoint::Camera>,
    state_len: usize,
    action_len: usize,
    period_ns: u64,
    units: Units,
    ensembling: Option<Ensembling>,
}

/// Temporal ensembling on the grid of periods that begins at the first observation.
#[derive(Debug)]
struct Ensembling {
    ensemble: Ensemble,
    /// Time of the first observation, ns, and periods from there to the newest.
    grid: Option<(u64, u64)>,
}

impl Ensembling {
    fn update(&mut self, time_ns: u64, period_ns: u64, chunk: &[f32]) -> Vec<f32> {
        let at = self.grid.and_then(|(first_ns, last)| {
            let at = (time_ns.checked_sub(first_ns)? + period_ns / 2) / period_ns;
            Some((first_ns, at, at.checked_sub(last)?))
        });
        let (first_ns, at, steps) = at.unwrap_or_else(|| {
            // The first observation, or one from before the last: another episode.
            self.ensemble.reset();
            (time_ns, 0, 0)
        });
        self.grid = Some((first_ns, at));
        self.ensemble.update(usize::try_from(steps).unwrap_or(usize::MAX), chunk)
    }
}

impl Act {
    /// Loads the checkpoint in the folder `dir`.
    ///
    /// # Errors
    /// When the folder holds no sound checkpoint, one of another kind, or options do not fit it.
    pub fn load(dir: &Path, backend: &Backend, options: ActOptions) -> Result<Self, CheckpointError> {
        let checkpoint = Checkpoint::open(dir)?;
        let config = act_config(&checkpoint)?;
        let network = Network::load(config, &checkpoint.tensors, backend, options.precision)?;
        checkpoint.tensors.release();

        let common = &config.common;
        checkpoint.check_units(&options.units)?;
        let mut cameras = common.cameras.clone();
        for camera in &mut cameras {
            if let Some(name) = options.cameras.get(&camera.name) {
                camera.name.clone_from(name);
            }
        }
        let statistics = checkpoint.statistics.clone();
        let coefficient = options.temporal_ensemble_coeff.or(config.temporal_ensemble_coeff);
        Ok(Self {
            levels: statistics
                .cameras
                .iter()
                .map(|moments| levels(moments.as_ref(), statistics.epsilon))
                .collect(),
            network,
            device: backend.description(),
            statistics,
            cameras,
            state_len: common.state_len,
            action_len: common.action_len,
            period_ns: options.period_ns.max(1),
            units: options.units,
            ensembling: coefficient.map(|coefficient| Ensembling {
                ensemble: Ensemble::new(coefficient, common.chunk_size, common.action_len),
                grid: None,
            }),
        })
    }

    /// The checkpoint's options.
    #[must_use]
    pub fn config(&self) -> &ActConfig {
        self.network.config()
    }

    /// Floating-point operations of a stage of one chunk, a multiply-add counting as two. Convolutions,
    /// matrices and attention alone, without what is computed at load.
    #[must_use]
    pub fn flops(&self, stage: Stage) -> u64 {
        self.network.flops(stage)
    }

    /// The chunk for an observation, `chunk_size` actions. With ensembling they are the means of all
    /// predictions so far, the first one for the moment of the observation.
    ///
    /// ACT does not continue the chunk before, so there is nothing to be told about it.
    ///
    /// # Errors
    /// [`PolicyError`] when a camera or joint is missing, of another size than in training or not finite,
    /// or the device fails.
    pub fn predict(&mut self, observation: &Observation) -> Result<ActionChunk, PolicyError> {
        self.predict_probed(observation, &mut Probe::default())
    }

    /// As [`Act::predict`]; calls `ended` when a stage has ended, so that the caller can measure it.
    ///
    /// # Errors
    /// As [`Act::predict`].
    pub fn predict_staged(
        &mut self,
        observation: &Observation,
        ended: &mut dyn FnMut(Stage),
    ) -> Result<ActionChunk, PolicyError> {
        self.predict_probed(observation, &mut Probe { trace: None, ended: Some(ended) })
    }

    fn predict_probed(
        &mut self,
        observation: &Observation,
        probe: &mut Probe<'_>,
    ) -> Result<ActionChunk, PolicyError> {
        let pixels = self.pixels(observation)?;
        let state = self.state(observation)?;
        if let Some(ended) = &mut probe.ended {
            ended(Stage::Images);
        }
        let failed = |reason| PolicyError::Device { device: self.device.clone(), reason };
        let mut actions =
            self.network.forward(&pixels, &state, probe).map_err(|error| failed(error.to_string()))?;
        if actions.iter().any(|value| !value.is_finite()) {
            return Err(failed("the chunk holds a value that is not finite".to_owned()));
        }
        if let Some(moments) = &self.statistics.action {
            actions.chunks_exact_mut(self.action_len).for_each(|action| moments.restore(action));
        }
        if let Some(ensembling) = &mut self.ensembling {
            actions = ensembling.update(observation.time_ns, self.period_ns, &actions);
        }
        actions.chunks_exact_mut(self.action_len).for_each(|action| self.units.from_policy(action));
        Ok(ActionChunk {
            observation_ns: observation.time_ns,
            period_ns: self.period_ns,
            width: self.action_len,
            actions,
        })
    }

    /// The normalised pixels of all cameras, one after another.
    fn pixels(&self, observation: &Observation) -> Result<Vec<f32>, PolicyError> {
        let mut pixels =
            Vec::with_capacity(self.cameras.iter().map(|camera| camera.height * camera.width * 3).sum());
        for (expected, levels) in self.cameras.iter().zip(&self.levels) {
            let camera: &Camera = observation.camera(&expected.name)?;
            if [camera.height, camera.width] != [expected.height, expected.width] {
                return Err(PolicyError::CameraSize {
                    name: camera.name.clone(),
                    expected_width: expected.width,
                    expected_height: expected.height,
                    actual_width: camera.width,
                    actual_height: camera.height,
                });
            }
            let (rgb, _) = camera.rgb.as_chunks::<3>();
            pixels.extend(rgb.iter().flat_map(|rgb| {
                let level = |colour: usize| levels[colour][usize::from(rgb[colour])];
                [level(0), level(1), level(2)]
            }));
        }
        Ok(pixels)
    }

    /// The normalised state: joint positions, then the gripper.
    fn state(&self, observation: &Observation) -> Result<Vec<f32>, PolicyError> {
        let Some(joints) = self.state_len.checked_sub(1) else { return Ok(Vec::new()) };
        observation.check_body(joints)?;
        let mut state = observation.joints_rad.clone();
        state.push(observation.gripper_width_m);
        self.units.to_policy(&mut state);
        if let Some(moments) = &self.statistics.state {
            moments.normalise(&mut state, self.statistics.epsilon);
        }
        Ok(state)
    }
}

impl Policy for Act {
    fn name(&self) -> &'static str {
        "act"
    }

    /// Begins a new episode; ACT takes no language.
    fn instruct(&mut self, _instruction: &str) {
        if let Some(ensembling) = &mut self.ensembling {
            ensembling.grid = None;
        }
    }

    fn decide(&mut self, observation: &Observation, _ahead: &Ahead) -> Result<Output, PolicyError> {
        self.predict(observation).map(Output::Chunk)
    }

    fn decide_staged(
        &mut self,
        observation: &Observation,
        _ahead: &Ahead,
        reached: &mut dyn FnMut(Milestone),
    ) -> Result<Output, PolicyError> {
        let mut ended = |stage| {
            if matches!(stage, Stage::Images) {
                reached(Milestone::Input);
            }
        };
        self.predict_staged(observation, &mut ended).map(Output::Chunk)
    }
}

pub(super) fn act_config(checkpoint: &Checkpoint) -> Result<&ActConfig, CheckpointError> {
    match &checkpoint.config {
        PolicyConfig::Act(config) => Ok(config),
        other => Err(CheckpointError::Option {
            file: "config.json",
            field: "type".to_owned(),
            expected: "act".to_owned(),
            actual: other.kind().to_owned(),
        }),
    }
}

/// What each level of each colour becomes.
fn levels(moments: Option<&Moments>, epsilon: f32) -> [[f32; 256]; 3] {
    let mut levels = [[0.0; 256]; 3];
    for level in 0..256 {
        let mut rgb = [level as f32 / 255.0; 3];
        if let Some(moments) = moments {
            moments.normalise(&mut rgb, epsilon);
        }
        levels.iter_mut().zip(rgb).for_each(|(levels, value)| levels[level] = value);
    }
    levels
}
