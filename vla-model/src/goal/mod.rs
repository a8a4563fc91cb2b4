//! The goal model: a small vision-language-action network that ships with Reflexarc.
//!
//! Two 96 × 96 cameras pass through small convolution towers. The instruction's words pass through
//! a two-layer transformer once, when the instruction changes; from it come the queries that look
//! for the target in both feature maps, and the memory that the main transformer attends to. Eight
//! visual tokens, three of posture and touch, and one for each slot of the decision pass through
//! four layers; every slot then scores the whole decision vocabulary, and the grammar reads the
//! scores from left to right.
//!
//! | module | owns |
//! |---|---|
//! | [`config`] | all sizes |
//! | [`features`] | observation to numbers |
//! | `vision`, `text`, `grounding`, `transformer` | the parts of the network |
//! | [`model`] | the network, its inputs, its forward pass |
//! | [`engine`] | the same network on the CPU's own kernels, for inference |
//! | `count` | parameters, and the arithmetic of a decision |
//! | [`policy`] | the model as a policy |
//! | `batch`, `loss`, `train` (feature `train`) | labelled batches, losses, the training step |

#[cfg(feature = "train")]
pub mod batch;
pub mod config;
mod count;
pub mod engine;
pub mod features;
mod grounding;
mod init;
#[cfg(feature = "train")]
pub mod loss;
pub mod model;
pub mod policy;
mod text;
#[cfg(feature = "train")]
pub mod train;
mod transformer;
mod vision;

pub use count::{flops, parameters};
