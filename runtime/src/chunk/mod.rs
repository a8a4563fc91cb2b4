//! Chunk execution: from timed joint targets at the policy's rate to smooth motion at the loop's.
//!
//! ```text
//!  chunk ─▶ offer ─▶ stored ─▶ read at the position ─▶ + what is left ─▶ limiter ─▶ knots ─▶ spline
//!           late?    clamped   really consumed           of the seam      (joints)            │
//!                                   ▲                                                         ▼
//!                                   └──────────────── one tick consumed ◀────────── loop's limiter
//! ```
//!
//! **Knots.** Once per period of the policy the [`player`] lays a knot: the next joint target, passed through
//! a [`JointLimiter`](reflexarc_kinematics::limit::JointLimiter) that runs at this rate. Between knots goes a
//! uniform cubic B-spline ([`spline`]). Each of its derivatives lies within the hull of the knots' finite
//! differences, so what the limiter promises for the knots (position, velocity, acceleration, jerk) holds for
//! the whole curve, at any rate of the loop. The limiter of the loop comes after that and normally finds
//! nothing to do.
//!
//! **Seams.** Where a new chunk takes over, its distance from the motion in progress, in position and in
//! velocity, is taken along and fades within a window of bounded length ([`seam`]).
//!
//! **Time.** The position in a chunk is counted, never taken from a clock: it moves on with each tick that
//! was really executed, slower while the motion starts or nears the chunk's end. What a new chunk skips is
//! what was consumed since its observation. A hold, a missed period or a slow start therefore never makes it
//! skip too much.
//!
//! **Age.** No action is executed longer than the configured time after its observation. Towards that moment,
//! and towards the last action, the player slows down along the path and comes to rest.
//!
//! All of it is a function of the ticks and of the chunks offered; it reads no clock and, once built, does
//! not allocate.

pub mod bounds;
pub mod player;
pub mod seam;
pub mod spline;
pub mod spoken;
mod tally;

pub use player::{Player, Playing, Readiness, Sample};
pub use tally::{Late, PlayStats};

/// Most actions that one chunk may have.
pub const MAX_ACTIONS: usize = 512;
