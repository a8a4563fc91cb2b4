//! How a run is, as one table of figures: `diagnostics` and the metrics page are two renderings of it.
//!
//! | module | owns |
//! |---|---|
//! | [`figure`] | what a figure is: its key in diagnostics, its metric on the page, its value |
//! | [`table`] | which figures there are, and the level of each part with its reason |
//! | [`page`] | the Prometheus text |
//! | [`server`] | the page on loopback |
//! | `teller` | asks the board, tells the table |
//!
//! A part's level is `OK`, or `WARN`, `ERROR` or `STALE` with a message that says why. Levels that speak of
//! events (a missed period, a refused message) speak of those since the table before.

pub mod figure;
pub mod page;
pub mod server;
pub mod table;
mod teller;

pub use figure::{Figure, Health, Metric, Part};
pub use table::{Vitals, Watcher};
pub(crate) use teller::{News, SYSFS, Teller};
