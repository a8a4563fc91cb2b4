//! Looking on while a model computes: intermediate values and the ends of stages.

use crate::compute::{ComputeError, Rows};
use crate::trace::Trace;

/// Who wants to know what on the way; nobody and nothing by default. `Stage` is the model's own.
pub(crate) struct Probe<'a, Stage> {
    /// Where intermediate values go.
    pub(crate) trace: Option<&'a mut Trace>,
    /// Called when a stage has ended.
    pub(crate) ended: Option<&'a mut dyn FnMut(Stage)>,
}

impl<Stage> Default for Probe<'_, Stage> {
    fn default() -> Self {
        Self { trace: None, ended: None }
    }
}

impl<Stage> Probe<'_, Stage> {
    /// Whether intermediate values are wanted.
    pub(crate) fn traces(&self) -> bool {
        self.trace.is_some()
    }

    /// Records `rows` as `[count, width]`.
    pub(crate) fn rows(&mut self, name: impl FnOnce() -> String, rows: &Rows) -> Result<(), ComputeError> {
        match &mut self.trace {
            Some(trace) => trace.put(name(), rows),
            None => Ok(()),
        }
    }

    /// Records a shape and values that only a trace needs.
    pub(crate) fn values(
        &mut self,
        name: impl FnOnce() -> String,
        values: impl FnOnce() -> Result<(Vec<usize>, Vec<f32>), ComputeError>,
    ) -> Result<(), ComputeError> {
        if let Some(trace) = &mut self.trace {
            let (shape, values) = values()?;
            trace.put_values(name(), &shape, values);
        }
        Ok(())
    }

    /// Says that a stage has ended, once `result` has been computed: a device has only been told to.
    pub(crate) fn end(&mut self, stage: Stage, result: &Rows) -> Result<(), ComputeError> {
        if let Some(ended) = &mut self.ended {
            result.narrow(0, 1).download()?;
            ended(stage);
        }
        Ok(())
    }
}
