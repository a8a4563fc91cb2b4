//! How values are scaled for the network, and back.

use super::config::{CommonConfig, Normalisation};
use super::error::{CheckpointError, MissingStatistics};
use super::tensors::Tensors;

/// Largest file of statistics; real ones have a few kilobytes.
pub const STATISTICS_LIMIT_BYTES: u64 = 16 << 20;

const STATE: &str = "observation.state";
const ACTION: &str = "action";

/// Mean and standard deviation of one feature.
#[derive(Clone, Debug, PartialEq)]
pub struct Moments {
    /// Means, in the units of the training data; of a camera one for each of red, green, blue (0..=1).
    pub mean: Vec<f32>,
    /// Standard deviations, all positive.
    pub std: Vec<f32>,
}

/// Least and largest value of one feature in the training data, in its units.
#[derive(Clone, Debug, PartialEq)]
pub struct Extent {
    /// Least values.
    pub min: Vec<f32>,
    /// Largest values, none below its least one.
    pub max: Vec<f32>,
}

/// How observations are scaled for the network: `(x - mean) / (std + epsilon)`; and its actions back:
/// `y * std + mean`. `None` is "unscaled by the configuration", never "not found".
#[derive(Clone, Debug, PartialEq)]
pub struct Normaliser {
    /// Of the state.
    pub state: Option<Moments>,
    /// Of an action.
    pub action: Option<Moments>,
    /// Of each camera, in the configuration's order.
    pub cameras: Vec<Option<Moments>>,
    /// What is added to a standard deviation before dividing.
    pub epsilon: f32,
    /// Between which values the training data's states lie; `None`: the checkpoint does not tell. Nothing is
    /// scaled by it.
    pub state_extent: Option<Extent>,
    /// The same of its actions.
    pub action_extent: Option<Extent>,
}

impl Moments {
    /// `(x - mean) / (std + epsilon)`, in place, value by value.
    pub fn normalise(&self, values: &mut [f32], epsilon: f32) {
        for ((value, mean), std) in values.iter_mut().zip(&self.mean).zip(&self.std) {
            *value = (*value - mean) / (std + epsilon);
        }
    }

    /// `y * std + mean`, in place, value by value.
    pub fn restore(&self, values: &mut [f32]) {
        for ((value, mean), std) in values.iter_mut().zip(&self.mean).zip(&self.std) {
            *value = *value * std + mean;
        }
    }

    fn check(&self, feature: &str) -> Result<(), CheckpointError> {
        match self.std.iter().position(|&std| std <= 0.0) {
            Some(index) => Err(CheckpointError::Statistics {
                feature: feature.to_owned(),
                reason: format!(
                    "the standard deviation of value {index} is {}, expected a positive number",
                    self.std[index]
                ),
            }),
            None => Ok(()),
        }
    }
}

/// A file of statistics and how it names them.
pub(super) struct Source<'a> {
    pub(super) tensors: &'a Tensors,
    pub(super) naming: Naming,
}

/// How a feature's statistics are called.
#[derive(Clone, Copy)]
pub(super) enum Naming {
    /// `observation.state.mean`, as the processors' files.
    Feature,
    /// `normalize_inputs.buffer_observation_state.mean`, as checkpoints before there were processors.
    Inputs,
    /// `unnormalize_outputs.buffer_action.mean`, likewise.
    Outputs,
}

/// Prefixes of the statistics in checkpoints from before there were processors.
pub(super) const OLD_BUFFERS: [&str; 3] = ["normalize_inputs.", "unnormalize_outputs.", "normalize_targets."];

impl Naming {
    fn name(self, feature: &str, statistic: &str) -> String {
        let buffer = || feature.replace('.', "_");
        match self {
            Self::Feature => format!("{feature}.{statistic}"),
            Self::Inputs => format!("normalize_inputs.buffer_{}.{statistic}", buffer()),
            Self::Outputs => format!("unnormalize_outputs.buffer_{}.{statistic}", buffer()),
        }
    }
}

impl Source<'_> {
    /// The moments of a feature, `None` when the file has none under its name.
    fn find(&self, feature: &str, len: usize, visual: bool) -> Result<Option<Moments>, CheckpointError> {
        let names = ["mean", "std"].map(|statistic| self.naming.name(feature, statistic));
        if names.iter().any(|name| !self.tensors.contains(name)) {
            return Ok(None);
        }
        let values = |name: &str| {
            // Images have their three values as [3, 1, 1], or flat.
            let flat = self.tensors.shape(name).is_some_and(|shape| shape.len() == 1);
            if visual && !flat {
                self.tensors.values(name, &[len, 1, 1])
            } else {
                self.tensors.vector(name, len)
            }
        };
        let [mean, std] = &names;
        let moments = Moments { mean: values(mean)?, std: values(std)? };
        moments.check(feature)?;
        Ok(Some(moments))
    }

    /// The extent of a feature, `None` when the file has none.
    fn extent(&self, feature: &str, len: usize) -> Result<Option<Extent>, CheckpointError> {
        let [min, max] = ["min", "max"].map(|statistic| self.naming.name(feature, statistic));
        if !self.tensors.contains(&min) || !self.tensors.contains(&max) {
            return Ok(None);
        }
        let extent = Extent { min: self.tensors.vector(&min, len)?, max: self.tensors.vector(&max, len)? };
        match extent.min.iter().zip(&extent.max).position(|(min, max)| min > max) {
            Some(index) => Err(CheckpointError::Statistics {
                feature: feature.to_owned(),
                reason: format!(
                    "the least of value {index} is {}, above its largest, {}",
                    extent.min[index], extent.max[index]
                ),
            }),
            None => Ok(Some(extent)),
        }
    }

    fn missing(&self, feature: &str) -> CheckpointError {
        let found = self
            .tensors
            .names()
            .filter(|name| match self.naming {
                Naming::Feature => true,
                Naming::Inputs | Naming::Outputs => OLD_BUFFERS.iter().any(|prefix| name.starts_with(prefix)),
            })
            .map(str::to_owned)
            .collect();
        CheckpointError::MissingStatistics(MissingStatistics {
            feature: feature.to_owned(),
            mode: Normalisation::MeanStd.to_string(),
            expected: ["mean", "std"].map(|statistic| self.naming.name(feature, statistic)).to_vec(),
            found,
            file: self.tensors.path().file_name().unwrap_or_default().to_string_lossy().into_owned(),
        })
    }

    fn moments(
        &self,
        feature: &str,
        len: usize,
        mode: Normalisation,
        visual: bool,
    ) -> Result<Option<Moments>, CheckpointError> {
        match mode {
            Normalisation::Identity => Ok(None),
            Normalisation::MeanStd => match self.find(feature, len, visual)? {
                Some(moments) => Ok(Some(moments)),
                None => Err(self.missing(feature)),
            },
        }
    }
}

impl Normaliser {
    /// Nothing is scaled, as the configuration says.
    pub(super) fn identity(common: &CommonConfig) -> Self {
        Self {
            state: None,
            action: None,
            cameras: vec![None; common.cameras.len()],
            epsilon: 0.0,
            state_extent: None,
            action_extent: None,
        }
    }

    /// Reads what the configuration asks for: of observations from `before`, of actions from `after`.
    /// What both files have must be the same.
    pub(super) fn read(
        common: &CommonConfig,
        before: &Source<'_>,
        after: &Source<'_>,
        epsilon: f32,
    ) -> Result<Self, CheckpointError> {
        let modes = common.normalisation;
        let state = if common.state_len > 0 {
            before.moments(STATE, common.state_len, modes.state, false)?
        } else {
            None
        };
        let cameras = common
            .cameras
            .iter()
            .map(|camera| before.moments(&camera.key, 3, modes.visual, true))
            .collect::<Result<_, _>>()?;
        let action = after.moments(ACTION, common.action_len, modes.action, false)?;
        let others = [
            (STATE, &state, after.find(STATE, common.state_len, false)),
            (ACTION, &action, before.find(ACTION, common.action_len, false)),
        ];
        for (feature, used, other) in others {
            if let Some(used) = used
                && let Some(other) = other?
                && other != *used
            {
                return Err(CheckpointError::Statistics {
                    feature: feature.to_owned(),
                    reason: format!(
                        "{} and {} disagree: mean {:?} and {:?}, std {:?} and {:?}",
                        before.tensors.path().display(),
                        after.tensors.path().display(),
                        used.mean,
                        other.mean,
                        used.std,
                        other.std,
                    ),
                });
            }
        }
        let state_extent = if common.state_len > 0 { before.extent(STATE, common.state_len)? } else { None };
        let action_extent = after.extent(ACTION, common.action_len)?;
        Ok(Self { state, action, cameras, epsilon, state_extent, action_extent })
    }

    /// Whether the configuration asks for any statistics.
    pub(super) fn needed(common: &CommonConfig) -> bool {
        let modes = common.normalisation;
        let scaled = |mode: Normalisation| mode == Normalisation::MeanStd;
        scaled(modes.action)
            || (scaled(modes.state) && common.state_len > 0)
            || (scaled(modes.visual) && !common.cameras.is_empty())
    }
}
