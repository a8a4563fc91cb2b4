//! Vision-language-action models.
//!
//! A policy turns an observation (camera images, tactile frames, the robot's own posture) and an
//! instruction in plain words into a decision. This crate owns the types at that boundary, the
//! small goal model that ships with Reflexarc, the language on both of its sides, and its weights.
//! It knows nothing of a robot's links, of messages or of clocks: times come in with the
//! observation.
//!
//! | module | owns |
//! |---|---|
//! | [`observation`] | what a policy sees |
//! | [`decision`] | what a policy says in goals |
//! | [`policy`] | the trait between the two |
//! | [`exact`] | numbers as JSON without losing a bit |
//! | [`instruction`] | an instruction's words as numbers |
//! | [`phrasing`] | instructions to train and to test on, with their meaning |
//! | [`token`], [`number`] | the vocabulary of decisions |
//! | [`grammar`] | which token sequences are decisions, and decoding that yields no others |
//! | [`chunk`] | what a policy says in joint targets |
//! | [`checkpoint`] | LeRobot's checkpoints: configuration, weights, statistics, tokenizer |
//! | [`compute`] | the arithmetic that models are made of |
//! | [`goal`] | the network that decides |
//! | [`smolvla`] | SmolVLA of LeRobot's checkpoints |
//! | [`image`] | camera images as models want them |
//! | [`trace`] | intermediate results, and how far they are from recorded ones |
//!
//! Glossary: a *goal* is one step of the decomposed instruction (`pick(red mug)`); a *subtask* is
//! the part of a goal that the robot is at (`reach`, `grasp`, …); a *slot* is one place of the
//! model's output; a *token* is one word of the decision's language; a *verdict* is what a whole
//! token sequence means.
//!
//! ```
//! use reflexarc_vla_model::decision::{Infeasible, Verdict};
//! use reflexarc_vla_model::{grammar, token};
//!
//! let tokens = token::tokens_from_text("PLAN infeasible unknown_action END")?;
//! assert_eq!(grammar::parse(&tokens)?, Verdict::Infeasible(Infeasible::UnknownAction));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

pub mod act;
pub mod checkpoint;
pub mod chunk;
pub mod compute;
pub mod decision;
pub mod device;
pub mod exact;
pub mod goal;
pub mod grammar;
pub mod image;
pub mod instruction;
pub mod number;
pub mod observation;
pub mod phrasing;
pub mod policy;
mod probe;
pub mod smolvla;
pub mod token;
pub mod trace;
pub mod units;
pub mod weights;
mod words;
