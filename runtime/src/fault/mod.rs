//! Faults on purpose, for tests and evaluations: of links ([`reflexarc_drivers::link::LinkFaults`]) and
//! of the policy ([`FaultyPolicy`]), both described by one [`FaultProfile`].
//!
//! A profile is a TOML or JSON text, or one of those that ship ([`FaultProfile::names`], in
//! `runtime/faults.toml`). The same profile with the same seed does the same on every run in lockstep.
//!
//! ```
//! use reflexarc_drivers::{Bus, Clock, Link, link::LinkFaults};
//! use reflexarc_runtime::fault::FaultProfile;
//! let profile = FaultProfile::parse(r#"
//!     seed = 7
//!     [[link]]
//!     topics = ["camera/*"]
//!     loss = 0.3
//!     [[policy]]
//!     fault = "slow"
//!     delay_ms = 100
//!     jitter_ms = 50
//! "#)?;
//! let clock = Clock::manual(0);
//! let faults = LinkFaults::new(profile.link_plan(), clock.clone())?;
//! let robot = faults.wrap(&Link::in_process(&Bus::new(), clock));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod garbage;
mod policy;
mod profile;

pub use policy::{FaultyPolicy, Pace, PolicyFault, PolicyFaultCounts, PolicyFaults, PolicyRule};
pub use profile::{FaultProfile, ProfileError};
