//! The audit put to the test: what is said in clean episodes, the same with tokens corrupted, and a judge
//! of harm that shares no code with the audit.

pub mod calibration;
pub mod corruption;
pub mod lines;
pub mod oracle;
pub mod stream;
pub mod tally;
