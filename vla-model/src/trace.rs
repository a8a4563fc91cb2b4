//! What a model computed on the way, and how long each stage took: for parity checks and benchmarks.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::compute::Rows;

/// Intermediate values by name: shape and values.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Trace(pub BTreeMap<String, (Vec<usize>, Vec<f32>)>);

impl Trace {
    /// Records `[count, width]` values.
    pub fn put(&mut self, name: impl Into<String>, rows: &Rows) {
        // A device that fails here fails again, with its error, where the result is read.
        if let Ok(values) = rows.download() {
            self.0.insert(name.into(), (vec![rows.count(), rows.width()], values));
        }
    }

    /// Values of that name.
    #[must_use]
    pub fn values(&self, name: &str) -> Option<&[f32]> {
        self.0.get(name).map(|(_, values)| values.as_slice())
    }
}

/// Time by stage, in the order of the stages. Marked by the model as it goes.
#[derive(Clone, Debug)]
pub struct StageTimes {
    last: Instant,
    /// Each stage with its time.
    pub stages: Vec<(&'static str, Duration)>,
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
    pub(crate) fn put(&mut self, name: impl FnOnce() -> String, rows: &Rows) {
        if let Some(trace) = &mut self.trace {
            trace.put(name(), rows);
        }
    }

    pub(crate) fn end(&mut self, stage: &'static str) {
        if let Some(times) = &mut self.times {
            times.end(stage);
        }
    }
}
