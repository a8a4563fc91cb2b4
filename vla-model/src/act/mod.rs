//! ACT, the action chunking transformer (arXiv 2304.13705), as LeRobot trains it: inference from its
//! checkpoints.
//!
//! Every camera goes through one residual network; each pixel of its last feature map is a token beside
//! one for the latent (zero at inference) and one for the robot's state. An encoder lets the tokens see
//! each other, a decoder asks them once for each action of the chunk.
//!
//! | file | owns |
//! |---|---|
//! | `policy` | observation to chunk: scaling, ensembling |
//! | [`ensemble`] | temporal ensembling |
//! | [`network`] | normalised numbers to normalised numbers |
//! | `backbone` | the residual network |
//! | `encoder`, `decoder`, `layers` | the transformer |
//! | `position` | where a pixel stands |
//! | [`probe`] | watching: intermediate values, times |
//! | [`verify`](mod@verify) | comparing with recorded values |
//!
//! What does not depend on the observation is computed when a checkpoint is loaded: the positions' part of
//! queries and keys, the decoder's first attention to itself, the latent's token.

mod backbone;
mod decoder;
mod encoder;
pub mod ensemble;
mod layers;
pub mod network;
mod policy;
mod position;
mod precision;
pub mod probe;
pub mod verify;

pub use ensemble::Ensemble;
pub use network::{Network, Operations};
pub use policy::{Act, ActOptions};
pub use precision::ActPrecision;
pub use probe::{Probe, StageTimes};
pub use verify::verify;
