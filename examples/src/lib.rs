//! What the examples share: the rig that moves the simulated arm without a model, the scripted
//! expert's words translated into the policy's, and demonstrations.

pub mod dataset;
pub mod demo;
pub mod episode;
pub mod plot;
pub mod rig;
pub mod training;
pub mod translate;
pub mod wilson;
