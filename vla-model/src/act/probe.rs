//! Watching a model compute: the intermediate values, and the time of each stage.

use std::time::{Duration, Instant};

use crate::compute::{ComputeError, Rows};
use crate::trace::Trace;

/// Time by stage, in the order of the stages.
#[derive(Clone, Debug)]
pub struct StageTimes {
    last: Instant,
    stages: Vec<(&'static str, Duration)>,
}

impl StageTimes {
    /// Begins the first stage.
    #[must_use]
    pub fn begin() -> Self {
        Self { last: Instant::now(), stages: Vec::new() }
    }

    /// Ends `stage` and begins the next. Work that a device has not finished counts into the stage that
    /// first waits for it.
    pub fn end(&mut self, stage: &'static str) {
        let now = Instant::now();
        self.stages.push((stage, now.duration_since(self.last)));
        self.last = now;
    }

    /// Each stage with its time.
    #[must_use]
    pub fn stages(&self) -> &[(&'static str, Duration)] {
        &self.stages
    }

    /// Time of all stages.
    #[must_use]
    pub fn total(&self) -> Duration {
        self.stages.iter().map(|(_, time)| *time).sum()
    }
}

/// Who watches a forward pass. The default watches nothing and costs nothing.
#[derive(Debug, Default)]
pub struct Probe<'a> {
    /// Takes the intermediate values.
    pub trace: Option<&'a mut Trace>,
    /// Takes the times.
    pub times: Option<&'a mut StageTimes>,
}

impl Probe<'_> {
    /// Records tokens as `[tokens, 1, dim]`.
    pub(super) fn put(&mut self, name: impl FnOnce() -> String, tokens: &Rows) -> Result<(), ComputeError> {
        if let Some(trace) = &mut self.trace {
            trace.put_values(name(), &[tokens.count(), 1, tokens.width()], tokens.download()?);
        }
        Ok(())
    }

    /// Records feature map `image` of those in `rows`, `height × width` pixels each, as
    /// `[channels, height, width]`.
    pub(super) fn put_map(
        &mut self,
        name: impl FnOnce() -> String,
        rows: &Rows,
        image: usize,
        [height, width]: [usize; 2],
    ) -> Result<(), ComputeError> {
        if let Some(trace) = &mut self.trace {
            let channels = rows.width();
            let pixels = rows.narrow(image * height * width, height * width).download()?;
            let plane = |channel| pixels.iter().skip(channel).step_by(channels).copied();
            let values = (0..channels).flat_map(plane).collect();
            trace.put_values(name(), &[channels, height, width], values);
        }
        Ok(())
    }

    pub(super) fn end(&mut self, stage: &'static str) {
        if let Some(times) = &mut self.times {
            times.end(stage);
        }
    }
}
