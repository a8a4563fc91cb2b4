//! What the examples share: the rig that moves the simulated arm without a model, the scripted
//! expert's words translated into the policy's, and demonstrations.

pub mod demo;
pub mod rig;
pub mod translate;
