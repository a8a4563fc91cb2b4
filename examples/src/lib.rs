//! What the examples share: the rig that moves the simulated arm without a model, the scripted
//! expert's words translated into the policy's, demonstrations, and what the `ik` example computes and draws.

pub mod arm;
pub mod arm_view;
pub mod audited;
pub mod batch;
pub mod canvas;
pub mod casting;
pub mod chaos;
pub mod contender;
pub mod dataset;
pub mod demo;
pub mod episode;
pub mod failing;
pub mod filmstrip;
pub mod follow;
pub mod job;
pub mod lerobot;
pub mod lettering;
pub mod panel;
pub mod peaks;
pub mod peers;
pub mod plot;
pub mod puppet;
pub mod rig;
pub mod robot;
pub mod schedule;
pub mod scratch;
pub mod small_disk;
pub mod soak;
pub mod stage;
pub mod sweep;
pub mod training;
pub mod translate;
pub mod vitals;
pub mod wilson;
