//! The runtime: the fixed-rate loop between a robot's messages and a policy's decisions.
//!
//! ```text
//!  link ──▶ senses ──▶ snapshot ──┬──────────────▶ reflex ──▶ joint_command
//!                                 ▼                  ▲
//!                               mind ──▶ audit ──▶ thought ──▶ goal
//! ```
//!
//! The *mind* asks a policy 60 times per second; the *reflex* runs 240 times per second, never
//! waits for the mind, and turns the newest audited decision into limited joint commands, or into a
//! hold whose reason it names. Time is an argument everywhere but in [`realtime`].
//!
//! | module | owns |
//! |---|---|
//! | [`config`] | the TOML configuration |
//! | [`senses`] | newest values with their ages; what is refused and why; alignment in time |
//! | [`mind`] | the policy, asked once per period; a panic of its is an error |
//! | [`fault`] | faults on purpose, of links and policies |
//! | [`audit`] | every token against the grammar, its meaning against the world; every action of a chunk |
//! | [`chunk`] | action chunks → smooth joint motion |
//! | [`modes`] | what the loop can be doing, with the diagram |
//! | [`reflex`], [`motion`] | decision → smoothed target → joints, gripper, limits, workspace |
//! | [`failsafe`] | what is wrong → what is done about it; the latched stop; promised times |
//! | [`interlock`] | what must be there before the first motion |
//! | [`safety`] | the signals of people: stop, enable, override |
//! | [`touch`] | what touch does by itself |
//! | [`spine`] | senses, safety and reflex as one step |
//! | [`runtime`] | the whole robot, and the lockstep clock |
//! | [`realtime`] | the threads and the wall clock |
//! | [`rt`] | what is asked of the system for the reflex, and what it gave; stalls; systemd |
//! | [`stages`] | where the time from an observation to its command goes |
//! | [`clockwork`] | absolute schedules: skip and count, never burst |
//! | [`journal`] | what no second run would repeat, tick by tick |
//! | [`recorder`] | the MCAP file and the black box |
//! | [`replay`] | a recorded run again, bit for bit, and why it went as it did |
//! | [`ledger`], [`outcome`], [`progress`], [`report`] | what is said about a run |
//! | [`doctor`] | what a board grants, and how to change what it does not |
//! | [`watch`] | a judge of emitted commands, for tests and evaluations |
//! | [`cost`] | tokens, energy and money: per run, hour and task |
//! | [`health`] | the table of figures behind `diagnostics` and the metrics page |
//! | [`cli`] | the command line of the binary `reflexarc` |
//!
//! Glossary: a *snapshot* is one moment of all senses; a *thought* is what came of one period of
//! the mind; a *hold* is a braked standstill that ends with its reason; a *stop* is latched.
//!
//! ```no_run
//! use reflexarc_drivers::{Bus, Clock, Link};
//! use reflexarc_runtime::{Config, Runtime};
//! use reflexarc_vla_model::device::DeviceChoice;
//! use reflexarc_vla_model::goal::policy::GoalPolicy;
//!
//! let policy = GoalPolicy::load("vla-model/weights/goal.safetensors".as_ref(), DeviceChoice::Auto)?;
//! let (bus, clock) = (Bus::new(), Clock::manual(0));
//! let link = Link::in_process(&bus, clock.clone());
//! let mut runtime = Runtime::new(Config::default(), link, Box::new(policy))?;
//! for tick in 0..240_u64 {
//!     let now_ns = tick * 1_000_000_000 / 240;
//!     clock.set_ns(now_ns);
//!     // … here the robot, or a simulator on the same bus, publishes its senses …
//!     let command = runtime.step(now_ns);
//!     println!("{}", command.mode);
//! }
//! println!("{}", runtime.report().to_text());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

pub mod audit;
mod blind;
pub mod chunk;
pub mod cli;
pub mod clockwork;
pub mod config;
mod config_check;
mod config_fault;
pub mod cost;
pub mod devices;
pub mod doctor;
pub mod failsafe;
pub mod fault;
mod findings;
mod guarded;
pub mod health;
pub mod interlock;
pub mod journal;
pub mod ledger;
pub mod load;
pub mod mind;
pub mod modes;
pub mod motion;
pub mod outcome;
pub mod progress;
pub mod realtime;
pub mod recorder;
pub mod reflex;
pub mod replay;
pub mod report;
pub mod rt;
pub mod runtime;
pub mod safety;
mod say;
pub mod senses;
pub mod spine;
pub mod stages;
pub mod touch;
pub mod units;
pub mod watch;

pub use config::{Config, ConfigError};
pub use modes::{HoldReason, Mode, Rule, SenseFault, SenseId, StopCause, WaitReason};
pub use outcome::Outcome;
pub use progress::Progress;
pub use report::Report;
pub use runtime::{Runtime, RuntimeError, load_chain};
