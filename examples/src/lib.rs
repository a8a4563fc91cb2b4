//! What the examples share: the rig that moves the simulated arm without a model, the scripted
//! expert's words translated into the policy's, and demonstrations.

pub mod casting;
pub mod dataset;
pub mod demo;
pub mod episode;
pub mod filmstrip;
pub mod job;
pub mod lettering;
pub mod plot;
pub mod rig;
pub mod stage;
pub mod training;
pub mod translate;
pub mod wilson;
