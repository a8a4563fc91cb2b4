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
//! | `ensemble` | temporal ensembling |
//! | `network` | normalised numbers to normalised numbers |
//! | `backbone` | the residual network |
//! | `encoder`, `decoder`, `layers` | the transformer |
//! | `position` | where a pixel stands |
//! | `precision` | in which numbers each part computes |
//! | `probe` | looking on: intermediate values, stages |
//! | `verify` | comparing with recorded values |
//!
//! What does not depend on the observation is computed when a checkpoint is loaded: the positions' part of
//! queries and keys, the decoder's first attention to itself, the latent's token.

mod backbone;
mod decoder;
mod encoder;
mod ensemble;
mod layers;
mod network;
mod policy;
mod position;
mod precision;
mod probe;
mod verify;

pub use ensemble::Ensemble;
pub use policy::{Act, ActOptions};
pub use precision::Precisions;
pub use probe::Stage;
pub use verify::verify;
